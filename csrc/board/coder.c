/* coder.c - what decompresses the parts of old and compresses those of new (docs/SPEC.md section 6.5).
 *
 * Each direction has one block of memory, which begins with what stands here of it; the libraries get the rest through
 * their allocation hooks. Nothing outlives a part: begin starts with all of the memory again.
 */
#include "board.h"

#include <string.h>
#include <zlib.h>

/* What deflate and inflate take beside their windows and tables, z_stream included: 6 and 8 KiB are used. */
#define DEFLATE_STATE 8192u
#define INFLATE_STATE 12288u

/* ---- deflate ----------------------------------------------------------------------------------------------------- */

struct zlib_params {
    int level;
    int memory;
    int window;
    int strategy;
    int wrapped; /* RFC 1950: header and checksum */
};

/* 0 when the parameters are out of range. */
static int zlib_params(uint64_t params, struct zlib_params *p)
{
    p->level = (int)(params & 15u);
    p->memory = (int)(params >> 4 & 15u);
    p->window = (int)(params >> 8 & 15u);
    p->strategy = (int)(params >> 12 & 7u);
    p->wrapped = (int)(params >> 15 & 1u);
    return params >> 16 == 0 && p->level >= 1 && p->level <= 9 && p->memory >= 1 && p->memory <= 9 && p->window >= 9 &&
           p->strategy <= 4;
}

struct zlib_coder {
    z_stream z;
    struct board_memory memory;
    int ended;
};

static voidpf zlib_take(voidpf memory, uInt count, uInt size)
{
    return board_memory_take(memory, (size_t)count * size);
}

static void zlib_drop(voidpf memory, voidpf p)
{
    (void)memory;
    (void)p;
}

static size_t zlib_size(int encode, uint64_t params)
{
    struct zlib_params p;
    if (!zlib_params(params, &p)) {
        return 0;
    }
    return encode ? DEFLATE_STATE + ((size_t)4 << p.window) + ((size_t)512 << p.memory)
                  : INFLATE_STATE + ((size_t)1 << p.window);
}

static int zlib_begin(int encode, uint64_t params, struct zlib_coder *c, size_t len)
{
    struct zlib_params p;
    size_t own = BOARD_ALIGN(sizeof(*c));
    int bits;
    if (!zlib_params(params, &p) || len < zlib_size(encode, params)) {
        return -OTA_E_RAM;
    }
    memset(c, 0, sizeof(*c));
    c->memory.base = (uint8_t *)c + own;
    c->memory.size = len - own;
    c->z.zalloc = zlib_take;
    c->z.zfree = zlib_drop;
    c->z.opaque = &c->memory;
    bits = p.wrapped ? p.window : -p.window;
    if (encode) {
        return deflateInit2(&c->z, p.level, Z_DEFLATED, bits, p.memory, p.strategy) == Z_OK ? 0 : -OTA_E_RAM;
    }
    return inflateInit2(&c->z, bits) == Z_OK ? 0 : -OTA_E_RAM;
}

static int zlib_step(int encode, struct zlib_coder *c, struct ota_in *in, struct ota_out *out, int last)
{
    z_stream *z = &c->z;
    int r;
    if (c->ended) {
        return OTA_DONE;
    }
    z->next_in = (z_const Bytef *)(uintptr_t)(in->src + in->pos);
    z->avail_in = (uInt)(in->size - in->pos);
    z->next_out = out->dst + out->pos;
    z->avail_out = (uInt)(out->size - out->pos);
    r = encode ? deflate(z, last ? Z_FINISH : Z_NO_FLUSH) : inflate(z, Z_NO_FLUSH);
    in->pos = in->size - z->avail_in;
    out->pos = out->size - z->avail_out;
    if (r == Z_STREAM_END) {
        c->ended = 1;
        return OTA_DONE;
    }
    if (r != Z_OK && r != Z_BUF_ERROR) { /* Z_BUF_ERROR: nothing could be done, which is no failure */
        return -OTA_E_DELTA;
    }
    return out->pos == out->size ? OTA_WANT_OUTPUT : OTA_WANT_INPUT;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static size_t coder_size(void *ctx, int encode, unsigned coding, uint64_t params)
{
    (void)ctx;
    switch (coding) {
    case OTA_CODING_DEFLATE:
        return zlib_size(encode, params);
    default:
        return 0;
    }
}

/* Which coding the memory of a direction is at work for. */
static unsigned at_work[2];
static void *memory_of[2];

static int coder_begin(void *ctx, int encode, unsigned coding, uint64_t params, uint64_t raw, void *memory, size_t len)
{
    (void)ctx;
    (void)raw;
    at_work[encode] = coding;
    memory_of[encode] = memory;
    switch (coding) {
    case OTA_CODING_DEFLATE:
        return zlib_begin(encode, params, memory, len);
    default:
        return -OTA_E_UNSUPPORTED;
    }
}

static int coder_step(void *ctx, int encode, struct ota_in *in, struct ota_out *out, int last)
{
    (void)ctx;
    switch (at_work[encode]) {
    case OTA_CODING_DEFLATE:
        return zlib_step(encode, memory_of[encode], in, out, last);
    default:
        return -OTA_E_INTERNAL;
    }
}

const struct ota_coder *board_coder(void)
{
    static const struct ota_coder coder = {NULL, 1u << OTA_CODING_DEFLATE, coder_size, coder_begin, coder_step};
    return &coder;
}

const char *board_coder_library(enum ota_coding_id id)
{
    switch (id) {
    case OTA_CODING_DEFLATE:
        return zlibVersion();
    default:
        return NULL;
    }
}
