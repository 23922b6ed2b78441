/* view.c - what stands in front of the engine's payload: memory, cache, the parts of old, the list of new. */
#include "view.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

void ota_view_init(struct ota_view *v, const struct ota_view_options *options)
{
    memset(v, 0, sizeof *v);
    v->old_view = options->old_view;
    v->new_view = options->new_view;
    v->coder = options->coder;
    v->codings = options->codings;
    v->image = options->old;
    v->new_size = options->new_size;
    v->room = options->workspace;
    v->room_len = options->workspace_len;
}

void *ota_view_take(struct ota_view *v, uint64_t size)
{
    uint8_t *p = v->at;

    size = OTA_VIEW_ALIGN(size);
    if (size > (uint64_t)(v->end - v->at))
        return NULL;
    v->at += (size_t)size;
    return p;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static int take_memory(struct ota_view *v, uint64_t n)
{
    size_t down;

    if (n > v->room_len)
        return ERR(LIMIT);
    v->end = v->room + v->room_len;
    down = (size_t)((uintptr_t)v->end % 16u); /* the pieces are aligned, whatever the workspace is */
    v->end -= down;
    if (n > v->room_len - down)
        return ERR(LIMIT);
    v->at = v->end - (size_t)(n & ~UINT64_C(15));
    v->memory = (size_t)n + down;
    v->buffer = ota_view_take(v, OTA_VIEW_BUFFER);
    v->state = v->old_view ? OTA_VIEW_SLOT_COUNT : OTA_VIEW_NEW_CODINGS;
    return v->buffer == NULL ? ERR(LIMIT) : 0;
}

static int take_slot_size(struct ota_view *v, uint64_t n)
{
    if (n == 0 || n > UINT32_MAX / 2)
        return ERR(DELTA);
    v->slot_size = (uint32_t)n;
    v->slots = ota_view_take(v, v->slot_count * sizeof *v->slots);
    v->slot_bytes = ota_view_take(v, v->slot_count * n);
    v->packed_buf = ota_view_take(v, OTA_VIEW_BUFFER);
    if (v->slots == NULL || v->slot_bytes == NULL || v->packed_buf == NULL)
        return ERR(LIMIT);
    memset(v->slots, 0, v->slot_count * sizeof *v->slots);
    v->state = OTA_VIEW_OLD_CODINGS;
    return 0;
}

/* A list of codings is complete: memory for the largest of them. */
static int take_coder(struct ota_view *v, const struct ota_codings *codings, int encode, uint8_t **memory, size_t *size)
{
    *size = 0;
    for (unsigned i = 0; i < codings->count; i++) {
        const struct ota_coding *c = &codings->item[i];
        size_t need;

        if (c->id > 31 || (v->codings >> c->id & 1u) == 0)
            return ERR(FORMAT); /* it is not in the manifest's needs, which the applier has checked */
        need = v->coder == NULL ? 0 : v->coder->size(v->coder->ctx, encode, c->id, c->params);
        if (need == 0)
            return ERR(UNSUPPORTED);
        if (need > *size)
            *size = need;
    }
    *memory = ota_view_take(v, *size);
    return *memory == NULL ? ERR(LIMIT) : 0;
}

static int take_coding_count(struct ota_codings *codings, uint64_t n)
{
    if (n > OTA_VIEW_CODINGS)
        return ERR(LIMIT);
    codings->count = (unsigned)n;
    return 0;
}

static int take_part_count(struct ota_view *v, uint64_t n)
{
    int st = take_coder(v, &v->decodings, 0, &v->decoder_memory, &v->decoder_size);

    if (st != 0)
        return st;
    if (n > UINT32_MAX / sizeof *v->parts)
        return ERR(LIMIT);
    v->part_count = (uint32_t)n;
    v->parts = ota_view_take(v, n * sizeof *v->parts);
    return v->parts == NULL ? ERR(LIMIT) : 0;
}

static int take_gap(struct ota_view *v, uint64_t n)
{
    if (n > v->image.size - v->image_end || v->image_end + n > UINT32_MAX || v->view_end + n > UINT32_MAX)
        return ERR(DELTA);
    v->part.image_at = (uint32_t)(v->image_end + n);
    v->part.view_at = (uint32_t)(v->view_end + n);
    return 0;
}

static int take_packed(struct ota_view *v, uint64_t n)
{
    if (n == 0 || n > OTA_VIEW_PACKED_MAX || n > v->image.size - v->part.image_at)
        return ERR(DELTA);
    v->part.packed |= (uint32_t)n;
    return 0;
}

static int take_raw(struct ota_view *v, uint64_t zigzag)
{
    int64_t change = (zigzag & 1) != 0 ? -(int64_t)(zigzag / 2) - 1 : (int64_t)(zigzag / 2);
    int64_t raw = (int64_t)v->last_raw + change;
    struct ota_part *p = &v->part;

    if (zigzag > UINT64_C(1) << 34 || raw <= 0 || raw > (int64_t)UINT32_MAX - p->view_at)
        return ERR(DELTA);
    p->raw = (uint32_t)raw;
    v->last_raw = p->raw;
    v->image_end = (uint64_t)p->image_at + (p->packed & OTA_VIEW_PACKED_MAX);
    v->view_end = (uint64_t)p->view_at + p->raw;
    if (v->image_end > UINT32_MAX)
        return ERR(DELTA);
    v->parts[v->part_fill++] = *p;
    p->packed = 0;
    return 0;
}

static int take_list_size(struct ota_view *v, uint64_t n)
{
    int st = take_coder(v, &v->encodings, 1, &v->encoder_memory, &v->encoder_size);

    if (st != 0)
        return st;
    v->list = ota_view_take(v, n);
    if (v->list == NULL)
        return ERR(LIMIT);
    v->list_size = (size_t)n;
    v->state = OTA_VIEW_LIST;
    return 0;
}

/* ---- the order of the numbers ------------------------------------------------------------------------------------ */

static enum ota_view_state after_old(const struct ota_view *v)
{
    return v->new_view ? OTA_VIEW_NEW_CODINGS : OTA_VIEW_READY;
}

/* A number of the old half has arrived. */
static int take_old(struct ota_view *v, uint64_t n)
{
    switch (v->state) {
    case OTA_VIEW_SLOT_COUNT:
        if (n == 0 || n > OTA_VIEW_SLOTS)
            return ERR(LIMIT);
        v->slot_count = (uint32_t)n;
        v->state = OTA_VIEW_SLOT_SIZE;
        return 0;
    case OTA_VIEW_SLOT_SIZE:
        return take_slot_size(v, n);
    case OTA_VIEW_OLD_CODINGS:
        v->state = n > 0 ? OTA_VIEW_OLD_CODING : OTA_VIEW_PARTS_COUNT;
        return take_coding_count(&v->decodings, n);
    case OTA_VIEW_PARTS_COUNT:
        v->state = n > 0 ? OTA_VIEW_PART_GAP : after_old(v);
        return take_part_count(v, n);
    case OTA_VIEW_PART_GAP:
        v->state = OTA_VIEW_PART_CODING;
        return take_gap(v, n);
    case OTA_VIEW_PART_CODING:
        if (n >= v->decodings.count)
            return ERR(DELTA);
        v->part.packed = (uint32_t)n << 28;
        v->state = OTA_VIEW_PART_PACKED;
        return 0;
    case OTA_VIEW_PART_PACKED:
        v->state = OTA_VIEW_PART_RAW;
        return take_packed(v, n);
    default: /* OTA_VIEW_PART_RAW */
        v->state = v->part_fill + 1 < v->part_count ? OTA_VIEW_PART_GAP : after_old(v);
        return take_raw(v, n);
    }
}

/* A number of one of the lists of codings has arrived; fill counts the entries, next comes behind the last one. */
static int take_coding(struct ota_view *v, struct ota_codings *codings, uint64_t n, enum ota_view_state next)
{
    int params = v->state == OTA_VIEW_OLD_PARAMS || v->state == OTA_VIEW_NEW_PARAMS;
    struct ota_coding *c = &codings->item[v->list_fill];

    if (!params) {
        if (n > UINT32_MAX)
            return ERR(UNSUPPORTED);
        c->id = (uint32_t)n;
        v->state = v->state == OTA_VIEW_OLD_CODING ? OTA_VIEW_OLD_PARAMS : OTA_VIEW_NEW_PARAMS;
        return 0;
    }
    c->params = n;
    v->state = v->state == OTA_VIEW_OLD_PARAMS ? OTA_VIEW_OLD_CODING : OTA_VIEW_NEW_CODING;
    if (++v->list_fill == codings->count) {
        v->list_fill = 0;
        v->state = next;
    }
    return 0;
}

static int take_number(struct ota_view *v, uint64_t n)
{
    switch (v->state) {
    case OTA_VIEW_MEMORY:
        return take_memory(v, n);
    case OTA_VIEW_OLD_CODING:
    case OTA_VIEW_OLD_PARAMS:
        return take_coding(v, &v->decodings, n, OTA_VIEW_PARTS_COUNT);
    case OTA_VIEW_NEW_CODING:
    case OTA_VIEW_NEW_PARAMS:
        return take_coding(v, &v->encodings, n, OTA_VIEW_LIST_SIZE);
    case OTA_VIEW_NEW_CODINGS:
        v->state = n > 0 ? OTA_VIEW_NEW_CODING : OTA_VIEW_LIST_SIZE;
        return take_coding_count(&v->encodings, n);
    case OTA_VIEW_LIST_SIZE:
        return take_list_size(v, n);
    default:
        return take_old(v, n);
    }
}

int ota_view_front(struct ota_view *v, struct ota_in *in)
{
    int st = 0;

    while (st == 0 && v->state != OTA_VIEW_READY) {
        if (v->state == OTA_VIEW_LIST) {
            size_t n = ota_min_size(v->list_size - v->list_fill, in->size - in->pos);

            if (n > 0)
                memcpy(v->list + v->list_fill, in->src + in->pos, n);
            v->list_fill += n;
            in->pos += n;
            if (v->list_fill < v->list_size)
                return OTA_WANT_INPUT;
            v->state = OTA_VIEW_READY;
            break;
        }
        st = ota_varint_read(&v->var, in);
        if (st == OTA_DONE) {
            st = take_number(v, v->var.value);
            memset(&v->var, 0, sizeof v->var);
        }
    }
    if (st == 0 && v->old_view)
        ota_view_take_points(v);
    if (st == 0 && v->new_view)
        st = ota_view_check_list(v, &v->expanded);
    return st;
}

uint64_t ota_view_size(const struct ota_view *v)
{
    return v->new_view ? v->expanded : v->new_size;
}
