/* bspatch.c - the streaming decoder of engine bsdiff, docs/SPEC.md section 6.2.
 *
 * The idea of a delta as (add, literal, seek) triples is Colin Percival's ("Naive differences of executable code",
 * 2003); the interleaved coding is our own, so that one forward pass with one window of old is enough.
 *
 * Every number is checked against what is left of old and new as soon as it is known, before anything is read or
 * written with it; the functions that move bytes can then rely on it:
 *   add_left + zeros_left + diff_left + literal_left <= left          (nothing is written past new)
 *   old_pos + zeros_left + diff_left + add_left <= old size           (nothing is read past old)
 */
#include <string.h>

#include "engine.h"

/* ---- moving bytes ----------------------------------------------------------------------------------------------- */

/* zeros_left bytes of old as they are. A stretch that is longer than the window goes to the output directly. */
static int copy_old(struct ota_engine *e, struct ota_out *out)
{
    struct ota_bspatch *s = &e->bs;

    while (s->zeros_left > 0) {
        size_t room = ota_clip_size(out->size - out->pos, s->zeros_left);
        uint8_t *dst = out->dst + out->pos;
        const uint8_t *old = NULL;
        size_t n;
        int status;

        if (room == 0)
            return OTA_WANT_OUTPUT;
        n = ota_window_peek(&s->window, s->old_pos, room, &old);
        if (n > 0) {
            memcpy(dst, old, n);
        } else if (room >= s->window.cap) {
            status = s->window.source.read_at(s->window.source.ctx, s->old_pos, dst, room);
            if (status < 0)
                return status;
            n = room;
        } else {
            status = ota_window_fill(&s->window, s->old_pos);
            if (status < 0)
                return status;
            continue;
        }
        out->pos += n;
        s->old_pos += n;
        s->zeros_left -= n;
        e->left -= n;
    }
    return OTA_DONE;
}

/* diff_left bytes of input, each added to one of old. */
static int add_old(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    struct ota_bspatch *s = &e->bs;

    while (s->diff_left > 0) {
        size_t n = ota_clip_size(ota_min_size(in->size - in->pos, out->size - out->pos), s->diff_left);
        const uint8_t *old = NULL;

        if (n == 0)
            return in->pos == in->size ? OTA_WANT_INPUT : OTA_WANT_OUTPUT;
        n = ota_window_peek(&s->window, s->old_pos, n, &old);
        if (n == 0) {
            int status = ota_window_fill(&s->window, s->old_pos);

            if (status < 0)
                return status;
            continue;
        }
        for (size_t i = 0; i < n; i++)
            out->dst[out->pos + i] = (uint8_t)(old[i] + in->src[in->pos + i]);
        in->pos += n;
        out->pos += n;
        s->old_pos += n;
        s->diff_left -= n;
        e->left -= n;
    }
    return OTA_DONE;
}

static int copy_literal(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    struct ota_bspatch *s = &e->bs;
    size_t n = ota_clip_size(ota_min_size(in->size - in->pos, out->size - out->pos), s->literal_left);

    if (n > 0) {
        memcpy(out->dst + out->pos, in->src + in->pos, n);
        in->pos += n;
        out->pos += n;
        s->literal_left -= n;
        e->left -= n;
    }
    if (s->literal_left == 0)
        return OTA_DONE;
    return in->pos == in->size ? OTA_WANT_INPUT : OTA_WANT_OUTPUT;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

/* Where a triple goes on after a run, or after its seek. */
static enum ota_bspatch_state after_run(const struct ota_bspatch *s)
{
    if (s->add_left > 0)
        return OTA_BSPATCH_ZEROS_LEN;
    return s->literal_left > 0 ? OTA_BSPATCH_LITERAL : OTA_BSPATCH_ADD_LEN;
}

static int take_seek(struct ota_bspatch *s, uint64_t zigzag)
{
    uint64_t distance = zigzag / 2 + zigzag % 2;

    if (zigzag % 2 != 0) {
        if (distance > s->old_pos)
            return -OTA_E_DELTA;
        s->old_pos -= distance;
    } else {
        if (distance > s->window.source.size - s->old_pos)
            return -OTA_E_DELTA;
        s->old_pos += distance;
    }
    if (s->add_left > s->window.source.size - s->old_pos)
        return -OTA_E_DELTA;
    s->first_run = 1;
    s->state = after_run(s);
    return OTA_DONE;
}

/* The varint that the state was waiting for has arrived. */
static int take_number(struct ota_engine *e, uint64_t n)
{
    struct ota_bspatch *s = &e->bs;

    switch (s->state) {
    case OTA_BSPATCH_ADD_LEN:
        if (n > e->left)
            return -OTA_E_DELTA;
        s->add_left = n;
        s->state = OTA_BSPATCH_LITERAL_LEN;
        return OTA_DONE;
    case OTA_BSPATCH_LITERAL_LEN:
        if (n > e->left - s->add_left || (n == 0 && s->add_left == 0))
            return -OTA_E_DELTA;
        s->literal_left = n;
        s->state = OTA_BSPATCH_SEEK;
        return OTA_DONE;
    case OTA_BSPATCH_SEEK:
        return take_seek(s, n);
    case OTA_BSPATCH_ZEROS_LEN:
        if (n > s->add_left || (n == 0 && !s->first_run))
            return -OTA_E_DELTA;
        s->first_run = 0;
        s->add_left -= n;
        s->zeros_left = n;
        s->state = OTA_BSPATCH_DIFF_LEN;
        return OTA_DONE;
    case OTA_BSPATCH_DIFF_LEN:
        if (n > s->add_left || (n == 0 && s->add_left > 0))
            return -OTA_E_DELTA;
        s->add_left -= n;
        s->diff_left = n;
        s->state = OTA_BSPATCH_ZEROS;
        return OTA_DONE;
    default:
        return -OTA_E_INTERNAL;
    }
}

/* ---- the machine ------------------------------------------------------------------------------------------------ */

int ota_bspatch_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    struct ota_bspatch *s = &e->bs;
    int status = OTA_DONE;

    /* Done exactly between triples: inside one there always is something left to make or to read. */
    while (status == OTA_DONE && !(e->left == 0 && s->state == OTA_BSPATCH_ADD_LEN)) {
        switch (s->state) {
        case OTA_BSPATCH_ZEROS:
            status = copy_old(e, out);
            if (status == OTA_DONE)
                s->state = OTA_BSPATCH_DIFF;
            break;
        case OTA_BSPATCH_DIFF:
            status = add_old(e, in, out);
            if (status == OTA_DONE)
                s->state = after_run(s);
            break;
        case OTA_BSPATCH_LITERAL:
            status = copy_literal(e, in, out);
            if (status == OTA_DONE)
                s->state = OTA_BSPATCH_ADD_LEN;
            break;
        default:
            status = ota_varint_read(&s->var, in);
            if (status == OTA_DONE) {
                status = take_number(e, s->var.value);
                memset(&s->var, 0, sizeof s->var);
            }
            break;
        }
    }
    return status;
}
