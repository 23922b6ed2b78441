/* full.c - the engine whose payload is the new content itself. */
#include <string.h>

#include "engine.h"

int ota_full_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out)
{
    size_t n = ota_clip_size(ota_min_size(in->size - in->pos, out->size - out->pos), e->left);

    if (n > 0) {
        memcpy(out->dst + out->pos, in->src + in->pos, n);
        in->pos += n;
        out->pos += n;
        e->left -= n;
    }
    if (e->left == 0)
        return OTA_DONE;
    return in->pos == in->size ? OTA_WANT_INPUT : OTA_WANT_OUTPUT;
}
