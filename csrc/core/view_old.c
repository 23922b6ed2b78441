/* view_old.c - old, expanded on demand: a part that is asked for is decoded into a cache of slots.
 *
 * A slot holds one chunk of a part. Parts of up to a slot are decoded at once; longer ones go on where the decoder
 * stands, or at the restart point (view_point.c) that is nearest.
 */
#include "view.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

static uint32_t packed_of(const struct ota_part *p)
{
    return p->packed & OTA_VIEW_PACKED_MAX;
}

/* Number of parts that begin at or before offset off of the view. */
static uint32_t parts_before(const struct ota_view *v, uint64_t off)
{
    uint32_t low = 0;
    uint32_t high = v->part_count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (v->parts[mid].view_at <= off)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static struct ota_slot_state *find_slot(struct ota_view *v, uint32_t part, uint32_t chunk)
{
    for (uint32_t i = 0; i < v->slot_count; i++)
        if (v->slots[i].used != 0 && v->slots[i].part == part && v->slots[i].chunk == chunk)
            return &v->slots[i];
    return NULL;
}

static struct ota_slot_state *oldest_slot(struct ota_view *v)
{
    struct ota_slot_state *oldest = &v->slots[0];

    for (uint32_t i = 1; i < v->slot_count; i++)
        if (v->slots[i].used < oldest->used)
            oldest = &v->slots[i];
    return oldest;
}

static uint8_t *slot_bytes(const struct ota_view *v, const struct ota_slot_state *slot)
{
    return v->slot_bytes + (size_t)(slot - v->slots) * v->slot_size;
}

static void touch(struct ota_view *v, struct ota_slot_state *slot)
{
    if (v->clock == UINT32_MAX) { /* after so many uses the order may start anew */
        v->clock = 1;
        for (uint32_t i = 0; i < v->slot_count; i++)
            v->slots[i].used = v->slots[i].used != 0;
        for (uint32_t i = 0; i < v->point_count; i++) {
            struct ota_point *p = (struct ota_point *)(void *)(v->points + i * v->point_size);

            p->used = p->used != 0;
        }
    }
    slot->used = ++v->clock;
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

int ota_view_begin_part(struct ota_view *v, uint32_t part)
{
    const struct ota_part *p = &v->parts[part];
    const struct ota_coding *c = &v->decodings.item[p->packed >> 28];
    int st = v->coder->begin(v->coder->ctx, 0, c->id, c->params, p->raw, v->decoder_memory, v->decoder_size);

    v->decoder.open = st == 0;
    v->decoder.part = part;
    v->decoder.chunk = 0;
    v->decoder.left = packed_of(p);
    memset(&v->decoder.in, 0, sizeof v->decoder.in);
    return st;
}

static int decoder_fill(struct ota_view *v)
{
    struct ota_view_decoder *d = &v->decoder;
    const struct ota_part *p = &v->parts[d->part];
    uint32_t n = d->left < OTA_VIEW_BUFFER ? d->left : OTA_VIEW_BUFFER;
    uint64_t off = (uint64_t)p->image_at + packed_of(p) - d->left;
    int st = v->image.read_at(v->image.ctx, off, v->packed_buf, n);

    d->in.src = v->packed_buf;
    d->in.size = n;
    d->in.pos = 0;
    d->left -= n;
    return st;
}

/* Make the next chunk of the part at the decoder, len bytes. */
static int decode_chunk(struct ota_view *v, uint8_t *to, uint32_t len)
{
    struct ota_view_decoder *d = &v->decoder;
    struct ota_out out = {to, len, 0};

    while (out.pos < len) {
        size_t before = out.pos;
        size_t taken = d->in.pos;
        int st = 0;

        if (d->in.pos == d->in.size && d->left > 0 && (st = decoder_fill(v)) != 0)
            return st;
        taken = d->in.pos;
        st = v->coder->step(v->coder->ctx, 0, &d->in, &out, d->left == 0);
        if (st < 0)
            return st;
        if (out.pos < len && (st == OTA_DONE || (out.pos == before && d->in.pos == taken && d->left == 0)))
            return ERR(DELTA); /* the part is shorter than the package says */
    }
    d->chunk++;
    return 0;
}

/* The slot with a chunk of a part. */
static int get_chunk(struct ota_view *v, uint32_t part, uint32_t chunk, struct ota_slot_state **found)
{
    struct ota_view_decoder *d = &v->decoder;
    int st = 0;

    *found = find_slot(v, part, chunk);
    if (*found == NULL)
        st = ota_view_seek(v, part, chunk);
    while (st == 0 && *found == NULL && (st = ota_view_keep_point(v, 0)) == 0) {
        struct ota_slot_state *slot = oldest_slot(v);
        uint64_t start = (uint64_t)d->chunk * v->slot_size;
        uint32_t len = (uint32_t)ota_clip_size(v->slot_size, v->parts[part].raw - start);

        slot->used = 0; /* a failure leaves nothing that could be used */
        if ((st = decode_chunk(v, slot_bytes(v, slot), len)) != 0)
            break;
        slot->part = part;
        slot->chunk = d->chunk - 1;
        touch(v, slot);
        if (slot->chunk == chunk)
            *found = slot;
    }
    if (st != 0)
        d->open = 0;
    else
        touch(v, *found);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int read_part(struct ota_view *v, uint32_t part, uint32_t at, uint8_t *buf, size_t *len)
{
    struct ota_slot_state *slot = NULL;
    uint32_t chunk = at / v->slot_size;
    uint32_t skip = at % v->slot_size;
    int st = get_chunk(v, part, chunk, &slot);

    if (st != 0)
        return st;
    *len = ota_min_size(*len, v->slot_size - skip);
    memcpy(buf, slot_bytes(v, slot) + skip, *len);
    return 0;
}

static int view_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_view *v = ctx;

    while (len > 0) {
        uint32_t before = parts_before(v, off);
        const struct ota_part *p = before > 0 ? &v->parts[before - 1] : NULL;
        uint64_t view_end = p != NULL ? (uint64_t)p->view_at + p->raw : 0;
        size_t n;
        int st;

        if (off < view_end) {
            n = ota_clip_size(len, view_end - off);
            st = read_part(v, before - 1, (uint32_t)(off - p->view_at), buf, &n);
        } else {
            uint64_t image_at = (p != NULL ? (uint64_t)p->image_at + packed_of(p) : 0) + (off - view_end);

            n = before < v->part_count ? ota_clip_size(len, v->parts[before].view_at - off) : len;
            st = v->image.read_at(v->image.ctx, image_at, buf, n);
        }
        if (st != 0)
            return st;
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

struct ota_source ota_view_source(struct ota_view *v)
{
    struct ota_source source = v->image;

    if (v->old_view) {
        source.ctx = v;
        source.read_at = view_read;
        source.size = v->view_end + (v->image.size - v->image_end);
    }
    return source;
}
