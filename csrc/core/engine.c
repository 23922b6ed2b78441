/* engine.c - one interface over all engines: size, init, step. */
#include <string.h>

#include "engine.h"
#include "xref.h"

size_t ota_engine_size(int id, size_t window)
{
    if (window < OTA_WINDOW_MIN || window > OTA_WINDOW_MAX)
        return 0;
    switch (id) {
    case OTA_ENGINE_FULL:
        return sizeof(struct ota_engine);
    case OTA_ENGINE_BSDIFF:
        return sizeof(struct ota_engine) + window;
    case OTA_ENGINE_XREF:
        return sizeof(struct ota_engine) + ota_xref_size(window);
    default:
        return 0;
    }
}

int ota_engine_init(void *workspace, size_t workspace_len, int id, size_t window, const struct ota_source *source,
                    uint64_t new_size)
{
    struct ota_engine *e = workspace;
    size_t need = ota_engine_size(id, window);

    if (workspace == NULL || need == 0 || (uintptr_t)workspace % sizeof(uint64_t) != 0)
        return -OTA_E_USAGE;
    if (workspace_len < need)
        return id == OTA_ENGINE_XREF ? -OTA_E_RAM : -OTA_E_USAGE;
    if (id != OTA_ENGINE_FULL && (source == NULL || source->read_at == NULL))
        return -OTA_E_USAGE;
    if (new_size > OTA_CONTENT_MAX || (source != NULL && source->size > OTA_CONTENT_MAX))
        return -OTA_E_LIMIT;

    memset(e, 0, sizeof *e);
    e->id = id;
    e->left = new_size;
    if (id == OTA_ENGINE_BSDIFF) {
        e->bs.window.source = *source;
        e->bs.window.buf = (uint8_t *)workspace + sizeof *e;
        e->bs.window.cap = window;
    }
    if (id == OTA_ENGINE_XREF)
        return ota_xref_init((struct ota_xref *)(void *)(e + 1), workspace_len - sizeof *e, window, source, new_size);
    return OTA_DONE;
}

static int step(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    switch (e->id) {
    case OTA_ENGINE_FULL:
        return ota_full_step(e, in, out);
    case OTA_ENGINE_BSDIFF:
        return ota_bspatch_step(e, in, out);
    default:
        return ota_xref_step(e, in, out);
    }
}

int ota_engine_step(void *workspace, struct ota_in *in, struct ota_out *out)
{
    struct ota_engine *e = workspace;
    int status;

    if (e->status < 0)
        return e->status;
    status = step(e, in, out);
    if (status == OTA_DONE && in->pos < in->size)
        status = -OTA_E_DELTA;
    if (status < 0)
        e->status = status;
    return status;
}
