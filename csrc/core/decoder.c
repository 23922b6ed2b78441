/* decoder.c - a record's payload as a whole: what its views have in front, the engine, the view of new behind it. */
#include "decoder.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

size_t ota_decoder_size(void)
{
    return sizeof(struct ota_decoder);
}

int ota_decoder_init(void *decoder, const struct ota_decoder_options *o)
{
    struct ota_decoder *p = decoder;
    struct ota_view_options v = {o->old_view != OTA_VIEW_IDENTITY,
                                 o->new_view != OTA_VIEW_IDENTITY,
                                 o->coder,
                                 o->codings,
                                 o->source,
                                 o->new_size,
                                 o->workspace,
                                 o->workspace_len};

    memset(p, 0, sizeof *p);
    p->engine = o->engine;
    p->window = o->window;
    p->memory = o->workspace;
    p->memory_len = o->workspace_len;
    p->new_view = v.new_view;
    if (v.old_view || v.new_view) {
        ota_view_init(&p->view, &v);
        return 0;
    }
    p->open = 1;
    return ota_engine_init(p->memory, p->memory_len, p->engine, p->window,
                           o->source.read_at != NULL ? &o->source : NULL, o->new_size);
}

/* What the views have in front; then the engine, with the memory that they leave. */
static int begin(struct ota_decoder *p, struct ota_in *in)
{
    struct ota_source source;
    int st = ota_view_front(&p->view, in);

    if (st != OTA_DONE)
        return st;
    source = ota_view_source(&p->view);
    p->open = 1;
    p->made.src = p->view.buffer;
    st = ota_engine_init(p->memory, p->memory_len - p->view.memory, p->engine, p->window, &source,
                         ota_view_size(&p->view));
    return st == ERR(USAGE) ? ERR(LIMIT) : st; /* the workspace has no room for both */
}

static int step(struct ota_decoder *p, struct ota_in *in, struct ota_out *out)
{
    int st;

    if (!p->open && (st = begin(p, in)) != OTA_DONE)
        return st;
    if (!p->new_view)
        return ota_engine_step(p->memory, in, out);
    for (;;) {
        struct ota_out made = {p->view.buffer, OTA_VIEW_BUFFER, 0};

        if (p->passing) { /* what the engine made last goes through the view of new */
            st = ota_view_step(&p->view, &p->made, out);
            if (st < 0 || st == OTA_WANT_OUTPUT)
                return st;
            p->passing = 0;
            if (p->engine_status == OTA_DONE)
                return st == OTA_DONE ? OTA_DONE : ERR(DELTA);
            if (p->engine_status == OTA_WANT_INPUT && in->pos == in->size)
                return OTA_WANT_INPUT;
        }
        p->engine_status = ota_engine_step(p->memory, in, &made);
        if (p->engine_status < 0)
            return p->engine_status;
        p->made.size = made.pos;
        p->made.pos = 0;
        p->passing = 1;
    }
}

int ota_decoder_step(void *decoder, struct ota_in *in, struct ota_out *out)
{
    struct ota_decoder *p = decoder;
    int st = p->status < 0 ? p->status : step(p, in, out);

    p->status = st < 0 ? st : 0;
    return st;
}
