/* codec.c - zlib, libzstd and liblzma as step functions on supplied memory.
 *
 * zlib asks for its memory through zalloc: once for its state and once, at the first output, for the window. libzstd
 * takes one block of memory that is as large as it says for a window (ZSTD_estimateDStreamSize). liblzma asks through
 * its allocator, for everything when it begins.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include "board.h"

#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* What zlib takes beside the window: 1.2 and 1.3 want 7 to 10 KiB. docs/SPEC.md section 7 counts this. */
#define ZLIB_STATE 12288u

/* What liblzma takes beside the dictionary: 33 KiB with 5.4. docs/SPEC.md section 7 counts this. */
#define LZMA_STATE 40960u

/* The state of codec lzma, in front of what liblzma takes. */
struct lzma_codec {
    lzma_stream stream;
    lzma_allocator allocator;
};

size_t board_codec_size(enum board_codec_kind kind, uint64_t window)
{
    switch (kind) {
    case BOARD_GZIP:
        return BOARD_ALIGN(sizeof(z_stream)) + ZLIB_STATE + (size_t)window;
    case BOARD_ZSTD:
        return window > SIZE_MAX / 2 ? SIZE_MAX : BOARD_ALIGN(ZSTD_estimateDStreamSize((size_t)window));
    case BOARD_LZMA:
        return window > SIZE_MAX / 2 ? SIZE_MAX : BOARD_ALIGN(sizeof(struct lzma_codec)) + LZMA_STATE + (size_t)window;
    default:
        return 0;
    }
}

/* ---- memory of zlib and liblzma ---------------------------------------------------------------------------------- */

static void *take(void *memory, size_t count, size_t size)
{
    return board_memory_take(memory, count * size);
}

static void drop(void *memory, void *p)
{
    (void)memory;
    (void)p;
}

/* What is behind the first `own` bytes of mem is theirs. */
static void supply(struct board_codec *c, void *mem, size_t len, size_t own)
{
    c->memory.base = (uint8_t *)mem + BOARD_ALIGN(own);
    c->memory.size = len - BOARD_ALIGN(own);
    c->memory.used = 0;
}

/* ---- zlib -------------------------------------------------------------------------------------------------------- */

static voidpf gzip_take(voidpf memory, uInt count, uInt size)
{
    return take(memory, count, size);
}

static int gzip_init(struct board_codec *c, void *mem, size_t len)
{
    z_stream *z = mem;
    int bits = 0;
    while ((uint64_t)1 << bits < c->window) {
        bits++;
    }
    memset(z, 0, sizeof(*z));
    supply(c, mem, len, sizeof(*z));
    z->zalloc = gzip_take;
    z->zfree = drop;
    z->opaque = &c->memory;
    return inflateInit2(z, 16 + bits) == Z_OK ? 0 : -1; /* 16: the gzip wrapper and nothing else */
}

static int gzip_step(struct board_codec *c, struct ota_in *in, struct ota_out *out)
{
    z_stream *z = c->state;
    int r;
    z->next_in = (z_const Bytef *)(uintptr_t)(in->src + in->pos);
    z->avail_in = (uInt)(in->size - in->pos);
    z->next_out = out->dst + out->pos;
    z->avail_out = (uInt)(out->size - out->pos);
    r = inflate(z, Z_NO_FLUSH);
    in->pos = in->size - z->avail_in;
    out->pos = out->size - z->avail_out;
    if (r == Z_STREAM_END) {
        c->ended = 1;
    } else if (r != Z_OK && r != Z_BUF_ERROR) { /* Z_BUF_ERROR: nothing could be done, which is no failure */
        return -BOARD_DAMAGED;
    }
    return 0;
}

/* ---- zstd -------------------------------------------------------------------------------------------------------- */

int board_codec_zstd_window(const uint8_t *head, size_t len, uint64_t *window)
{
    ZSTD_frameHeader h;
    size_t r = ZSTD_getFrameHeader(&h, head, len);
    if (ZSTD_isError(r) || (r == 0 && h.frameType != ZSTD_frame)) {
        return -BOARD_DAMAGED;
    }
    if (r != 0) {
        return 1;
    }
    *window = h.windowSize;
    return 0;
}

/* Collect the frame header and check it before the library sees it: of a frame that fits the output whole, the library
 * would not look at the window. */
static int zstd_head(struct board_codec *c, struct ota_in *in)
{
    ZSTD_frameHeader h;
    ZSTD_inBuffer i = {c->head, 0, 0};
    ZSTD_outBuffer o = {NULL, 0, 0};
    size_t r;
    while (c->head_wanted != 0) {
        while (c->head_fill < c->head_wanted && in->pos < in->size) {
            c->head[c->head_fill++] = in->src[in->pos++];
        }
        if (c->head_fill < c->head_wanted) {
            return OTA_WANT_INPUT;
        }
        r = ZSTD_getFrameHeader(&h, c->head, c->head_fill);
        if (ZSTD_isError(r) || r > sizeof(c->head)) {
            return -BOARD_DAMAGED;
        }
        c->head_wanted = (unsigned)r;
    }
    if (h.frameType != ZSTD_frame || (c->plain && (h.dictID != 0 || h.checksumFlag != 0))) {
        return -BOARD_DAMAGED;
    }
    if (h.windowSize > c->window) {
        return -BOARD_WINDOW;
    }
    i.size = c->head_fill;
    r = ZSTD_decompressStream(c->state, &o, &i);
    return ZSTD_isError(r) || i.pos != i.size ? -BOARD_DAMAGED : 0;
}

static int zstd_step(struct board_codec *c, struct ota_in *in, struct ota_out *out)
{
    ZSTD_inBuffer i;
    ZSTD_outBuffer o;
    size_t r;
    int status;
    if (c->head_wanted != 0 && (status = zstd_head(c, in)) != 0) {
        return status;
    }
    i.src = in->src;
    i.size = in->size;
    i.pos = in->pos;
    o.dst = out->dst;
    o.size = out->size;
    o.pos = out->pos;
    r = ZSTD_decompressStream(c->state, &o, &i);
    in->pos = i.pos;
    out->pos = o.pos;
    if (ZSTD_isError(r)) {
        return -BOARD_DAMAGED;
    }
    c->ended = r == 0;
    return 0;
}

/* ---- lzma -------------------------------------------------------------------------------------------------------- */

static int lzma_init(struct board_codec *c, void *mem, size_t len)
{
    static const lzma_stream fresh = LZMA_STREAM_INIT;
    struct lzma_codec *l = mem;
    lzma_options_lzma options;
    lzma_filter filters[2] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    memset(&options, 0, sizeof(options));
    options.dict_size = (uint32_t)c->window;
    supply(c, mem, len, sizeof(*l));
    l->allocator.alloc = take;
    l->allocator.free = drop;
    l->allocator.opaque = &c->memory;
    l->stream = fresh;
    l->stream.allocator = &l->allocator;
    return lzma_raw_decoder(&l->stream, filters) == LZMA_OK ? 0 : -1;
}

static int lzma_step(struct board_codec *c, struct ota_in *in, struct ota_out *out)
{
    lzma_stream *s = &((struct lzma_codec *)c->state)->stream;
    lzma_ret r;
    s->next_in = in->src + in->pos;
    s->avail_in = in->size - in->pos;
    s->next_out = out->dst + out->pos;
    s->avail_out = out->size - out->pos;
    r = lzma_code(s, LZMA_RUN);
    in->pos = in->size - s->avail_in;
    out->pos = out->size - s->avail_out;
    if (r == LZMA_STREAM_END) {
        c->ended = 1;
    } else if (r != LZMA_OK && r != LZMA_BUF_ERROR) { /* LZMA_BUF_ERROR: nothing could be done, which is no failure */
        return -BOARD_DAMAGED;
    }
    return 0;
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

int board_codec_init(struct board_codec *c, enum board_codec_kind kind, uint64_t window, int plain, void *mem,
                     size_t len)
{
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    c->window = window;
    c->plain = plain;
    if (kind == BOARD_PLAIN) {
        return 0;
    }
    if (mem == NULL || len < board_codec_size(kind, window)) {
        return -1;
    }
    c->state = mem;
    if (kind == BOARD_GZIP) {
        return gzip_init(c, mem, len);
    }
    if (kind == BOARD_LZMA) {
        return lzma_init(c, mem, len);
    }
    c->head_wanted = ZSTD_FRAMEHEADERSIZE_MIN(ZSTD_f_zstd1);
    c->state = ZSTD_initStaticDStream(mem, len);
    return c->state != NULL ? 0 : -1;
}

static int step(struct board_codec *c, struct ota_in *in, struct ota_out *out)
{
    switch (c->kind) {
    case BOARD_GZIP:
        return gzip_step(c, in, out);
    case BOARD_LZMA:
        return lzma_step(c, in, out);
    default:
        return zstd_step(c, in, out);
    }
}

int board_codec_step(struct board_codec *c, struct ota_in *in, struct ota_out *out)
{
    for (;;) {
        int status;
        if (c->ended) {
            return in->pos < in->size ? -BOARD_TRAILING : OTA_WANT_INPUT;
        }
        status = step(c, in, out);
        if (status != 0) {
            return status;
        }
        if (!c->ended && out->pos == out->size) {
            return OTA_WANT_OUTPUT;
        }
        if (!c->ended && in->pos == in->size) {
            return OTA_WANT_INPUT;
        }
    }
}

const char *board_codec_fault_text(int fault)
{
    switch (fault) {
    case BOARD_EARLY:
        return "ends early";
    case BOARD_WINDOW:
        return "needs a larger window";
    case BOARD_TRAILING:
        return "goes on after its end";
    default:
        return "does not decode";
    }
}
