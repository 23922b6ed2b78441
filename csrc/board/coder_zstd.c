/* coder_zstd.c - libzstd for the parts of views: a frame by one call, as mksquashfs makes it and the program zstd.
 *
 * Parameters: bits 0..4 level, 5..9 log2 of the longest part, 10 with a checksum of the content.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include "coder.h"

#ifdef OTA_BOARD_ZSTD

#include <string.h>
#include <zstd.h>

#if ZSTD_VERSION_NUMBER != 10504
#error "coding zstd-1.5.4 promises the bytes of libzstd 1.5.4; other versions write others"
#endif

struct zstd_coder {
    struct board_memory memory;
    ZSTD_CCtx *encoder;
    ZSTD_DStream *decoder;
    int level;
    int checked;
    int ended;
    struct coder_whole whole;
};

static int zstd_checked(uint64_t params)
{
    return (int)(params >> 10 & 1u);
}

static int zstd_params(uint64_t params, int *level, size_t *longest)
{
    unsigned log = (unsigned)(params >> 5 & 31u);
    *level = (int)(params & 31u);
    *longest = (size_t)1 << log;
    return params >> 11 == 0 && *level >= 1 && *level <= ZSTD_maxCLevel() && log >= 12 && log <= 26;
}

size_t coder_zstd_size(int encode, uint64_t params)
{
    int level;
    size_t longest;
    size_t own = BOARD_ALIGN(sizeof(struct zstd_coder));
    if (!zstd_params(params, &level, &longest)) {
        return 0;
    }
    if (!encode) {
        return own + BOARD_ALIGN(ZSTD_estimateDStreamSize(longest));
    }
    return own + BOARD_ALIGN(ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, longest, 0))) +
           BOARD_ALIGN(longest) + BOARD_ALIGN(ZSTD_compressBound(longest));
}

int coder_zstd_begin(int encode, uint64_t params, uint64_t raw, void *memory, size_t len)
{
    struct zstd_coder *c = memory;
    size_t own = BOARD_ALIGN(sizeof(*c));
    size_t longest;
    if (len < coder_zstd_size(encode, params)) {
        return -OTA_E_RAM;
    }
    memset(c, 0, sizeof(*c));
    (void)zstd_params(params, &c->level, &longest);
    c->checked = zstd_checked(params);
    c->memory.base = (uint8_t *)memory + own;
    c->memory.size = len - own;
    if (!encode) {
        c->decoder = ZSTD_initStaticDStream(c->memory.base, c->memory.size);
        return c->decoder != NULL ? 0 : -OTA_E_RAM;
    }
    if (raw > longest) {
        return -OTA_E_DELTA;
    }
    if (coder_whole_init(&c->whole, &c->memory, (size_t)raw, ZSTD_compressBound((size_t)raw)) != 0) {
        return -OTA_E_RAM;
    }
    c->encoder = ZSTD_initStaticCCtx(c->memory.base + c->memory.used, c->memory.size - c->memory.used);
    return c->encoder != NULL ? 0 : -OTA_E_RAM;
}

static int zstd_encode(struct zstd_coder *c)
{
    struct coder_whole *w = &c->whole;
    /* a context on supplied memory begins without the defaults */
    size_t r = ZSTD_CCtx_reset(c->encoder, ZSTD_reset_session_and_parameters);
    if (!ZSTD_isError(r)) {
        r = ZSTD_CCtx_setParameter(c->encoder, ZSTD_c_compressionLevel, c->level);
    }
    if (!ZSTD_isError(r)) {
        r = ZSTD_CCtx_setParameter(c->encoder, ZSTD_c_checksumFlag, c->checked);
    }
    if (!ZSTD_isError(r)) {
        r = ZSTD_compress2(c->encoder, w->packed, w->packed_room, w->raw, w->fill);
    }
    if (ZSTD_isError(r)) {
        return -OTA_E_RAM;
    }
    w->packed_len = r;
    return 0;
}

int coder_zstd_step(int encode, void *memory, struct ota_in *in, struct ota_out *out, int last)
{
    struct zstd_coder *c = memory;
    ZSTD_inBuffer i = {in->src, in->size, in->pos};
    ZSTD_outBuffer o = {out->dst, out->size, out->pos};
    size_t r;
    int st;
    if (encode) {
        st = coder_whole_take(&c->whole, in, last);
        if (st == CODER_WHOLE_COMPLETE && (c->whole.packed_len > 0 || (st = zstd_encode(c)) == 0)) {
            st = coder_whole_give(&c->whole, out);
        }
        return st;
    }
    if (c->ended) {
        return OTA_DONE;
    }
    r = ZSTD_decompressStream(c->decoder, &o, &i);
    in->pos = i.pos;
    out->pos = o.pos;
    if (ZSTD_isError(r)) {
        return -OTA_E_DELTA;
    }
    c->ended = r == 0;
    if (c->ended) {
        return OTA_DONE;
    }
    return out->pos == out->size ? OTA_WANT_OUTPUT : OTA_WANT_INPUT;
}

const char *coder_zstd_library(void)
{
    return ZSTD_versionString();
}

#endif
