/* coder.c - what decompresses the parts of old and compresses those of new (docs/SPEC.md section 6.5).
 *
 * Each direction has one block of memory, which begins with what stands here of it; the libraries get the rest through
 * their allocation hooks. Nothing outlives a part: begin starts with all of the memory again.
 */
#include "coder.h"

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

void *coder_take(void *memory, unsigned count, unsigned size)
{
    return board_memory_take(memory, (size_t)count * size);
}

void coder_drop(void *memory, void *p)
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
    c->z.zalloc = coder_take;
    c->z.zfree = coder_drop;
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

/* ---- parts that are compressed whole ------------------------------------------------------------------------------
 */

int coder_whole_init(struct coder_whole *w, struct board_memory *m, size_t room, size_t packed_room)
{
    w->room = room;
    w->packed_room = packed_room;
    w->raw = board_memory_take(m, room);
    w->packed = board_memory_take(m, packed_room);
    return w->raw != NULL && w->packed != NULL ? 0 : -OTA_E_RAM;
}

int coder_whole_take(struct coder_whole *w, struct ota_in *in, int last)
{
    size_t n = in->size - in->pos;
    if (n > w->room - w->fill) {
        return -OTA_E_DELTA;
    }
    if (n > 0) {
        memcpy(w->raw + w->fill, in->src + in->pos, n);
    }
    w->fill += n;
    in->pos += n;
    return last ? CODER_WHOLE_COMPLETE : OTA_WANT_INPUT;
}

int coder_whole_give(struct coder_whole *w, struct ota_out *out)
{
    size_t n = out->size - out->pos;
    if (n > w->packed_len - w->given) {
        n = w->packed_len - w->given;
    }
    memcpy(out->dst + out->pos, w->packed + w->given, n);
    w->given += n;
    out->pos += n;
    return w->given == w->packed_len ? OTA_DONE : OTA_WANT_OUTPUT;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* GNU gzip's deflate is read as any other. */
static uint64_t gnuzip_decoder(uint64_t params)
{
    return ota_gnuzip_size(params) == 0 ? 0 : 9u | 8u << 4 | 15u << 8;
}

static size_t coder_size(void *ctx, int encode, unsigned coding, uint64_t params)
{
    (void)ctx;
    switch (coding) {
    case OTA_CODING_GNUZIP:
        return encode ? ota_gnuzip_size(params) : zlib_size(0, gnuzip_decoder(params));
    case OTA_CODING_DEFLATE:
        return zlib_size(encode, params);
#ifdef OTA_BOARD_XZ
    case OTA_CODING_XZ:
        return coder_xz_size(encode, params);
#endif
#ifdef OTA_BOARD_ZSTD
    case OTA_CODING_ZSTD:
        return coder_zstd_size(encode, params);
#endif
    case OTA_CODING_JFFS2:
        return coder_block_size(coder_jffs2(), encode, params);
#ifdef OTA_BOARD_LZ4
    case OTA_CODING_LZ4:
        return coder_block_size(coder_lz4(), encode, params);
#endif
#ifdef OTA_BOARD_LZO
    case OTA_CODING_LZO:
        return coder_block_size(coder_lzo(), encode, params);
#endif
    default:
        return 0;
    }
}

#ifdef OTA_BOARD_XZ
#define XZ_BIT (1u << OTA_CODING_XZ)
#else
#define XZ_BIT 0u
#endif
#ifdef OTA_BOARD_ZSTD
#define ZSTD_BIT (1u << OTA_CODING_ZSTD)
#else
#define ZSTD_BIT 0u
#endif
#ifdef OTA_BOARD_LZ4
#define LZ4_BIT (1u << OTA_CODING_LZ4)
#else
#define LZ4_BIT 0u
#endif
#ifdef OTA_BOARD_LZO
#define LZO_BIT (1u << OTA_CODING_LZO)
#else
#define LZO_BIT 0u
#endif
#define CODINGS                                                                                                        \
    ((1u << OTA_CODING_DEFLATE) | (1u << OTA_CODING_GNUZIP) | (1u << OTA_CODING_JFFS2) | XZ_BIT | ZSTD_BIT | LZ4_BIT | \
     LZO_BIT)

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
    case OTA_CODING_GNUZIP:
        return encode ? ota_gnuzip_begin(memory, len, params) : zlib_begin(0, gnuzip_decoder(params), memory, len);
#ifdef OTA_BOARD_XZ
    case OTA_CODING_XZ:
        return coder_xz_begin(encode, params, raw, memory, len);
#endif
#ifdef OTA_BOARD_ZSTD
    case OTA_CODING_ZSTD:
        return coder_zstd_begin(encode, params, raw, memory, len);
#endif
    case OTA_CODING_JFFS2:
        return coder_block_begin(coder_jffs2(), encode, params, raw, memory, len);
#ifdef OTA_BOARD_LZ4
    case OTA_CODING_LZ4:
        return coder_block_begin(coder_lz4(), encode, params, raw, memory, len);
#endif
#ifdef OTA_BOARD_LZO
    case OTA_CODING_LZO:
        return coder_block_begin(coder_lzo(), encode, params, raw, memory, len);
#endif
    default:
        return -OTA_E_UNSUPPORTED;
    }
}

static int coder_step(void *ctx, int encode, struct ota_in *in, struct ota_out *out, int last)
{
    (void)ctx;
    switch (at_work[encode]) {
    case OTA_CODING_GNUZIP:
        if (encode) {
            return ota_gnuzip_step(memory_of[1], in, out, last);
        }
        return zlib_step(0, memory_of[0], in, out, last);
    case OTA_CODING_DEFLATE:
        return zlib_step(encode, memory_of[encode], in, out, last);
#ifdef OTA_BOARD_XZ
    case OTA_CODING_XZ:
        return coder_xz_step(encode, memory_of[encode], in, out, last);
#endif
#ifdef OTA_BOARD_ZSTD
    case OTA_CODING_ZSTD:
        return coder_zstd_step(encode, memory_of[encode], in, out, last);
#endif
    case OTA_CODING_LZ4:
    case OTA_CODING_LZO:
    case OTA_CODING_JFFS2:
        return coder_block_step(memory_of[encode], in, out, last);
    default:
        return -OTA_E_INTERNAL;
    }
}

/* A decoder is nothing but its memory: with these bytes in the same place again it is what it was. */
static int coder_save(void *ctx, void *to, size_t len)
{
    (void)ctx;
    memcpy(to, memory_of[0], len);
    return 0;
}

static int coder_restore(void *ctx, unsigned coding, const void *from, size_t len)
{
    (void)ctx;
    memcpy(memory_of[0], from, len);
    at_work[0] = coding;
    return 0;
}

const struct ota_coder *board_coder(void)
{
    static const struct ota_coder coder = {NULL,       CODINGS,    coder_size,   coder_begin,
                                           coder_step, coder_save, coder_restore};
    return &coder;
}

const char *board_coding_name(enum ota_coding_id id)
{
    static const char *const names[] = {"",          "deflate-zlib", "xz-liblzma",   "zstd-1.5.4", "deflate-gnu-gzip",
                                        "lz4-1.9.4", "lzo1x-2.10",   "deflate-jffs2"};
    return names[id];
}

const char *board_coder_library(enum ota_coding_id id)
{
    switch (id) {
    case OTA_CODING_GNUZIP:
        return "own";
    case OTA_CODING_DEFLATE:
    case OTA_CODING_JFFS2:
        return zlibVersion();
#ifdef OTA_BOARD_XZ
    case OTA_CODING_XZ:
        return coder_xz_library();
#endif
#ifdef OTA_BOARD_ZSTD
    case OTA_CODING_ZSTD:
        return coder_zstd_library();
#endif
#ifdef OTA_BOARD_LZ4
    case OTA_CODING_LZ4:
        return coder_lz4_library();
#endif
#ifdef OTA_BOARD_LZO
    case OTA_CODING_LZO:
        return coder_lzo_library();
#endif
    default:
        return NULL;
    }
}
