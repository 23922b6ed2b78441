/* view_new.c - new: plain bytes as the engine makes them, parts compressed again, stretches of old that stay as they
 * are.
 */
#include "view.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static int list_number(struct ota_view *v, uint64_t *n)
{
    struct ota_in in = {v->list, v->list_size, v->list_fill};
    struct ota_varint var;
    int st;

    memset(&var, 0, sizeof var);
    st = ota_varint_read(&var, &in);
    v->list_fill = in.pos;
    *n = var.value;
    return st == OTA_DONE ? 0 : ERR(DELTA);
}

/* The next segment of the list, checked; its sum with what came before is the caller's. */
static int next_segment(struct ota_view *v, struct ota_segment *s)
{
    uint64_t n;
    int st = list_number(v, &n);

    if (st != 0)
        return st;
    memset(s, 0, sizeof *s);
    if (n % 4 > OTA_SEGMENT_CODED || n / 4 == 0)
        return ERR(DELTA);
    s->type = (enum ota_segment_type)(n % 4);
    s->left = n / 4;
    if (s->type == OTA_SEGMENT_KEEP) {
        uint64_t away;

        if ((st = list_number(v, &n)) != 0)
            return st;
        away = n / 2 + n % 2;
        if (n % 2 != 0 ? away > v->keep_at : away > v->image.size - v->keep_at)
            return ERR(DELTA);
        s->from = n % 2 != 0 ? v->keep_at - away : v->keep_at + away;
        if (s->left > v->image.size - s->from)
            return ERR(DELTA);
        v->keep_at = s->from + s->left;
    } else if (s->type == OTA_SEGMENT_CODED) {
        if ((st = list_number(v, &n)) != 0)
            return st;
        if (n >= v->encodings.count || s->left > UINT32_MAX || v->list_size - v->list_fill < 4)
            return ERR(DELTA);
        s->coding = (unsigned)n;
        for (unsigned i = 0; i < 4; i++)
            s->check |= (uint32_t)v->list[v->list_fill++] << 8 * i;
    }
    return 0;
}

int ota_view_check_list(struct ota_view *v, uint64_t *size)
{
    uint64_t sum = 0;
    uint64_t plain = 0; /* bytes of the image that are known by their number */
    struct ota_segment s;

    v->list_fill = 0;
    while (v->list_fill < v->list_size) {
        int st = next_segment(v, &s);

        if (st != 0)
            return st;
        if (s.type != OTA_SEGMENT_KEEP) {
            if (s.left > OTA_CONTENT_MAX - sum)
                return ERR(DELTA);
            sum += s.left;
        }
        if (s.type != OTA_SEGMENT_CODED) {
            if (s.left > v->new_size - plain)
                return ERR(DELTA);
            plain += s.left;
        }
    }
    v->list_fill = 0;
    v->keep_at = 0;
    *size = sum;
    return 0;
}

/* ---- making the image -------------------------------------------------------------------------------------------- */

static int step_plain(struct ota_view *v, struct ota_in *in, struct ota_out *out)
{
    struct ota_segment *s = &v->segment;
    size_t n = ota_clip_size(ota_min_size(in->size - in->pos, out->size - out->pos), s->left);

    if (n > 0)
        memcpy(out->dst + out->pos, in->src + in->pos, n);
    in->pos += n;
    out->pos += n;
    s->left -= n;
    if (s->left == 0)
        return OTA_DONE;
    return out->pos == out->size ? OTA_WANT_OUTPUT : OTA_WANT_INPUT;
}

static int step_keep(struct ota_view *v, struct ota_out *out)
{
    struct ota_segment *s = &v->segment;
    size_t n = ota_clip_size(out->size - out->pos, s->left);
    int st = n == 0 ? 0 : v->image.read_at(v->image.ctx, s->from, out->dst + out->pos, n);

    if (st != 0)
        return st;
    out->pos += n;
    s->from += n;
    s->left -= n;
    return s->left == 0 ? OTA_DONE : OTA_WANT_OUTPUT;
}

static int step_coded(struct ota_view *v, struct ota_in *in, struct ota_out *out)
{
    struct ota_segment *s = &v->segment;
    const struct ota_coding *c = &v->encodings.item[s->coding];
    struct ota_in piece = {in->src + in->pos, ota_clip_size(in->size - in->pos, s->left), 0};
    size_t start = out->pos;
    int st;

    if (!v->coding_open) {
        st = v->coder->begin(v->coder->ctx, 1, c->id, c->params, s->left, v->encoder_memory, v->encoder_size);
        if (st != 0)
            return st;
        v->coding_open = 1;
        ota_xxh64_init(&v->hash);
    }
    st = v->coder->step(v->coder->ctx, 1, &piece, out, piece.size == s->left);
    if (st < 0)
        return st;
    in->pos += piece.pos;
    s->left -= piece.pos;
    ota_xxh64_update(&v->hash, out->dst + start, out->pos - start);
    if (st != OTA_DONE)
        return st;
    v->coding_open = 0;
    if (s->left > 0)
        return ERR(INTERNAL);
    return (uint32_t)ota_xxh64_value(&v->hash) == s->check ? OTA_DONE : ERR(RESULT);
}

static int step_segment(struct ota_view *v, struct ota_in *in, struct ota_out *out)
{
    switch (v->segment.type) {
    case OTA_SEGMENT_PLAIN:
        return step_plain(v, in, out);
    case OTA_SEGMENT_KEEP:
        return step_keep(v, out);
    default:
        return step_coded(v, in, out);
    }
}

int ota_view_step(struct ota_view *v, struct ota_in *in, struct ota_out *out)
{
    int st = OTA_DONE;

    while (st == OTA_DONE) {
        size_t start = out->pos;

        if (!v->in_segment) {
            if (v->list_fill == v->list_size)
                return v->made == v->new_size && in->pos == in->size ? OTA_DONE : ERR(DELTA);
            if ((st = next_segment(v, &v->segment)) != 0)
                return st;
            v->in_segment = 1;
        }
        st = step_segment(v, in, out);
        if (out->pos - start > v->new_size - v->made)
            return ERR(DELTA);
        v->made += out->pos - start;
        if (st == OTA_DONE)
            v->in_segment = 0;
    }
    return st;
}
