/* coder_xz.c - liblzma for the parts of views: an .xz stream of one block with both sizes in its header, as
 * lzma_stream_buffer_encode makes it and mksquashfs calls it; or the LZMA2 data of a block alone.
 *
 * Parameters: bits 0..3 preset, 4..9 the dictionary byte of LZMA2, 10..13 the id of a branch filter in front of it (0:
 * none), 14..18 log2 of the longest part, 19 LZMA2 data alone, which are made as they come.
 */
#include "coder.h"

#ifdef OTA_BOARD_XZ

#include <lzma.h>
#include <string.h>

#define XZ_OVERHEAD 4096u     /* of a stream beside its content */
#define XZ_UNTOLD_MORE 98304u /* what an encoder takes beyond what the library says: 62 KiB with 5.4 */

struct xz_params {
    lzma_options_lzma lzma;
    lzma_filter filters[3];
    size_t longest;
    int raw; /* LZMA2 data alone */
};

struct xz_coder {
    struct xz_params params;
    struct board_memory memory;
    lzma_allocator allocator;
    lzma_stream stream;
    struct coder_whole whole;
};

/* 0 when the parameters are out of range. */
static int xz_params(uint64_t params, struct xz_params *p)
{
    unsigned dictionary = (unsigned)(params >> 4 & 63u);
    unsigned branch = (unsigned)(params >> 10 & 15u);
    unsigned longest = (unsigned)(params >> 14 & 31u);
    lzma_filter *f = p->filters;
    memset(p, 0, sizeof(*p));
    if (params >> 20 != 0 || (params & 15u) > 9 || dictionary > 30 || longest < 12 || longest > 26 ||
        lzma_lzma_preset(&p->lzma, (uint32_t)(params & 15u)) || (branch != 0 && (branch < 4 || branch > 9))) {
        return 0;
    }
    p->lzma.dict_size = (2u | (dictionary & 1u)) << (dictionary / 2u + 11u);
    p->longest = (size_t)1 << longest;
    p->raw = (int)(params >> 19 & 1u);
    if (branch != 0) {
        f->id = branch;
        f++;
    }
    f->id = LZMA_FILTER_LZMA2;
    f->options = &p->lzma;
    f[1].id = LZMA_VLI_UNKNOWN;
    return 1;
}

size_t coder_xz_size(int encode, uint64_t params)
{
    struct xz_params p;
    uint64_t need;
    if (!xz_params(params, &p)) {
        return 0;
    }
    need = encode ? lzma_raw_encoder_memusage(p.filters) : lzma_raw_decoder_memusage(p.filters);
    if (need > SIZE_MAX / 4) {
        return 0;
    }
    return BOARD_ALIGN(sizeof(struct xz_coder)) + (size_t)need + XZ_OVERHEAD +
           (encode ? XZ_OVERHEAD + XZ_UNTOLD_MORE : 0) + (encode && !p.raw ? 2 * p.longest : 0);
}

static void *xz_take(void *memory, size_t count, size_t size)
{
    return board_memory_take(memory, count * size);
}

static void xz_drop(void *memory, void *p)
{
    (void)memory;
    (void)p;
}

int coder_xz_begin(int encode, uint64_t params, uint64_t raw, void *memory, size_t len)
{
    struct xz_coder *c = memory;
    size_t own = BOARD_ALIGN(sizeof(*c));
    static const lzma_stream fresh = LZMA_STREAM_INIT;
    lzma_ret r;
    if (len < coder_xz_size(encode, params)) {
        return -OTA_E_RAM;
    }
    memset(c, 0, sizeof(*c));
    (void)xz_params(params, &c->params);
    c->memory.base = (uint8_t *)memory + own;
    c->memory.size = len - own;
    c->allocator.alloc = xz_take;
    c->allocator.free = xz_drop;
    c->allocator.opaque = &c->memory;
    if (encode && !c->params.raw) {
        return raw > c->params.longest
                   ? -OTA_E_DELTA
                   : coder_whole_init(&c->whole, &c->memory, (size_t)raw, (size_t)raw + XZ_OVERHEAD);
    }
    c->stream = fresh;
    c->stream.allocator = &c->allocator;
    r = encode          ? lzma_raw_encoder(&c->stream, c->params.filters)
        : c->params.raw ? lzma_raw_decoder(&c->stream, c->params.filters)
                        : lzma_stream_decoder(&c->stream, UINT64_MAX, 0);
    return r == LZMA_OK ? 0 : -OTA_E_RAM;
}

static int xz_encode(struct xz_coder *c)
{
    struct coder_whole *w = &c->whole;
    return lzma_stream_buffer_encode(c->params.filters, LZMA_CHECK_CRC32, &c->allocator, w->raw, w->fill, w->packed,
                                     &w->packed_len, w->packed_room) == LZMA_OK
               ? 0
               : -OTA_E_RAM;
}

int coder_xz_step(int encode, void *memory, struct ota_in *in, struct ota_out *out, int last)
{
    struct xz_coder *c = memory;
    lzma_ret r;
    int st;
    if (encode && !c->params.raw) {
        st = coder_whole_take(&c->whole, in, last);
        if (st == CODER_WHOLE_COMPLETE && (c->whole.packed_len > 0 || (st = xz_encode(c)) == 0)) {
            st = coder_whole_give(&c->whole, out);
        }
        return st;
    }
    c->stream.next_in = in->src + in->pos;
    c->stream.avail_in = in->size - in->pos;
    c->stream.next_out = out->dst + out->pos;
    c->stream.avail_out = out->size - out->pos;
    r = lzma_code(&c->stream, encode && last ? LZMA_FINISH : LZMA_RUN);
    in->pos = in->size - c->stream.avail_in;
    out->pos = out->size - c->stream.avail_out;
    if (r == LZMA_STREAM_END) {
        return OTA_DONE;
    }
    if (r != LZMA_OK && r != LZMA_BUF_ERROR) {
        return -OTA_E_DELTA;
    }
    return out->pos == out->size ? OTA_WANT_OUTPUT : OTA_WANT_INPUT;
}

const char *coder_xz_library(void)
{
    return lzma_version_string();
}

#endif
