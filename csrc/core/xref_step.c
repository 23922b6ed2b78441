/* xref_step.c - engine xref: the decoder between its cursors. */
#include "engine.h"
#include "xref.h"

enum head { HEAD_LOG = 0, HEAD_SPANS, HEAD_REGIONS, HEAD_SEGMENTS, HEAD_CODED, HEAD_END };

size_t ota_xref_size(size_t window)
{
    return sizeof(struct ota_xref) + ((window + 7) & ~(size_t)7);
}

int ota_xref_init(struct ota_xref *x, size_t len, size_t window, const struct ota_source *source, uint64_t new_size)
{
    if (new_size > OTA_XREF_CONTENT_MAX || source->size > OTA_XREF_CONTENT_MAX)
        return -OTA_E_LIMIT;
    memset(x, 0, sizeof *x);
    x->window.source = *source;
    x->window.buf = (uint8_t *)(x + 1);
    x->window.cap = window;
    x->old_all = x->old_size = (uint32_t)source->size;
    x->new_size = (uint32_t)new_size;
    x->end = x->new_size;
    x->first = OTA_XREF_SEGMENTS;
    x->memory = len - ota_xref_size(window);
    return OTA_DONE;
}

static int take_head(struct ota_xref *x, uint64_t n)
{
    size_t need;

    switch ((enum head)x->head_at++) {
    case HEAD_LOG:
        x->sectioned = (n & OTA_XREF_SECTIONED) != 0;
        n &= ~(uint64_t)OTA_XREF_SECTIONED;
        if (n < OTA_XREF_LOG_MIN || n > OTA_XREF_LOG_MAX || (x->sectioned && x->in_parts))
            return -OTA_E_DELTA;
        x->log = (unsigned)n;
        break;
    case HEAD_SPANS:
        if (n > OTA_XREF_SPANS_MAX)
            return -OTA_E_DELTA;
        x->most.spans = x->map.count = (uint32_t)n;
        break;
    case HEAD_REGIONS:
        if (n == 0 || n > OTA_XREF_REGIONS_MAX)
            return -OTA_E_DELTA;
        x->most.regions = x->region_count = (uint32_t)n;
        break;
    case HEAD_SEGMENTS:
        if (n > OTA_XREF_SEGMENTS_MAX)
            return -OTA_E_DELTA;
        x->most.segments = x->map.segment_count = (uint32_t)n;
        break;
    default:
        x->coded_left = n;
        need = ota_xref_memory(x->log, x->most.spans, x->most.regions);
        if (need > x->memory)
            return -OTA_E_RAM;
        ota_xref_layout(x, x->window.buf + ((x->window.cap + 7) & ~(size_t)7));
        break;
    }
    return OTA_DONE;
}

static int read_head(struct ota_xref *x, struct ota_in *in)
{
    while (x->head_at < HEAD_END) {
        int status = ota_varint_read(&x->var, in);

        if (status == OTA_DONE)
            status = take_head(x, x->var.value);
        if (status != OTA_DONE)
            return status;
        memset(&x->var, 0, sizeof x->var);
    }
    return OTA_DONE;
}

/* Have enough coded bytes at hand for one advance, or all that are left. */
static int fill(struct ota_xref *x, struct ota_in *in)
{
    struct ota_rangecoder *rc = &x->model.rc;
    size_t n;

    if (rc->fill - rc->pos >= OTA_XREF_STEP_INPUT || x->coded_left == 0)
        return OTA_DONE;
    memmove(rc->buf, rc->buf + rc->pos, rc->fill - rc->pos);
    rc->fill -= rc->pos;
    rc->pos = 0;
    n = ota_clip_size(ota_min_size(in->size - in->pos, sizeof rc->buf - rc->fill), x->coded_left);
    if (n > 0)
        memcpy(rc->buf + rc->fill, in->src + in->pos, n);
    in->pos += n;
    rc->fill += (uint32_t)n;
    x->coded_left -= n;
    return rc->fill >= OTA_XREF_STEP_INPUT || x->coded_left == 0 ? OTA_DONE : OTA_WANT_INPUT;
}

static void drain(struct ota_engine *e, struct ota_xref *x, struct ota_out *out)
{
    size_t n = ota_min_size(out->size - out->pos, x->out_len - x->out_at);

    if (n > 0)
        memcpy(out->dst + out->pos, x->out + x->out_at, n);
    out->pos += n;
    x->out_at += (uint32_t)n;
    e->left -= n;
}

static struct ota_xref *machine(void *workspace)
{
    return (struct ota_xref *)(void *)((struct ota_engine *)workspace + 1);
}

void ota_engine_in_parts(void *workspace)
{
    struct ota_xref *x = machine(workspace);

    x->in_parts = 1;
    x->end = 0;
}

int ota_engine_begin_part(void *workspace, uint64_t start, uint64_t len, uint64_t coded)
{
    struct ota_engine *e = workspace;
    struct ota_xref *x = machine(workspace);

    if (e->status < 0)
        return e->status;
    if (x->state != OTA_XREF_END)
        return -OTA_E_DELTA;
    if (start > x->new_size || len > x->new_size - start)
        return -OTA_E_USAGE;
    ota_xref_begin_part(x, (uint32_t)start, (uint32_t)(start + len));
    e->left = len;
    x->model.rc.pos = x->model.rc.fill = x->model.rc.padding = 0;
    x->coded_left = coded;
    x->state = OTA_XREF_START;
    x->first = OTA_XREF_OP;
    return 0;
}

int ota_xref_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    struct ota_xref *x = (struct ota_xref *)(void *)(e + 1);
    struct ota_rangecoder *rc = &x->model.rc;
    int status;

    if (x->state == OTA_XREF_HEAD) {
        status = read_head(x, in);
        if (status != OTA_DONE)
            return status;
        x->state = OTA_XREF_START;
    }
    for (;;) {
        drain(e, x, out);
        if (x->out_at < x->out_len)
            return OTA_WANT_OUTPUT;
        if (x->state == OTA_XREF_END)
            return x->coded_left == 0 && rc->pos == rc->fill ? OTA_DONE : -OTA_E_DELTA;
        status = fill(x, in);
        if (status != OTA_DONE)
            return status;
        if (x->state == OTA_XREF_START) {
            ota_rc_start(rc);
            x->state = x->first;
            if (x->first == OTA_XREF_SEGMENTS)
                ota_xref_begin(x);
            continue; /* it may be the end already */
        }
        status = ota_xref_advance(x);
        if (status == OTA_DONE && rc->padding > OTA_RC_PADDING)
            status = -OTA_E_DELTA;
        if (status != OTA_DONE)
            return status;
    }
}
