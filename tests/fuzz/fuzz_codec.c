/* fuzz_codec.c - any bytes to the decompressors, on exactly the memory that they are said to need, in any split.
 *
 * The first byte chooses the codec, the second its window, the third and fourth the size of the pieces. Output is
 * thrown away, so a bomb costs time and nothing else; what comes out must be the same in another split.
 */
#include "../../csrc/board/codec.c"
#include "../../csrc/board/memory.c"
#include "fuzz.h"

#define OUTPUT_MAX (8u << 20)

struct result {
    int status;
    uint64_t made;
    uint64_t sum;
};

static struct result decode(enum board_codec_kind kind, uint64_t window, const uint8_t *data, size_t size,
                            size_t in_piece, size_t out_piece)
{
    struct result r = {0, 0, 0};
    struct board_codec c;
    size_t need = board_codec_size(kind, window);
    void *memory = aligned_alloc(16, BOARD_ALIGN(need));
    uint8_t *out_buf = malloc(out_piece);
    MUST(memory != NULL && out_buf != NULL);
    MUST(board_codec_init(&c, kind, window, 1, memory, need) == 0);
    r.status = OTA_WANT_INPUT;
    for (size_t pos = 0; pos < size && r.status >= 0 && r.made < OUTPUT_MAX; pos += in_piece) {
        struct ota_in in = {data + pos, size - pos < in_piece ? size - pos : in_piece, 0};
        do {
            struct ota_out out = {out_buf, out_piece, 0};
            r.status = board_codec_step(&c, &in, &out);
            MUST(in.pos <= in.size && out.pos <= out.size);
            MUST(r.status != OTA_WANT_OUTPUT || out.pos == out.size);
            MUST(r.status != OTA_WANT_INPUT || in.pos == in.size);
            for (size_t i = 0; i < out.pos; i++)
                r.sum = r.sum * 31 + out_buf[i];
            r.made += out.pos;
        } while (r.status == OTA_WANT_OUTPUT && r.made < OUTPUT_MAX);
    }
    free(out_buf);
    free(memory);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum board_codec_kind kind;
    uint64_t window;
    struct result split;
    struct result whole;
    if (size < 5)
        return 0;
    kind = data[0] % 3 == 0 ? BOARD_ZSTD : data[0] % 3 == 1 ? BOARD_GZIP : BOARD_LZMA;
    window = (uint64_t)1 << (kind == BOARD_GZIP   ? 9 + data[1] % 7
                             : kind == BOARD_ZSTD ? 10 + data[1] % 9
                                                  : 12 + data[1] % 7);
    split = decode(kind, window, data + 4, size - 4, 1u + data[2], 1u + 16u * data[3]);
    whole = decode(kind, window, data + 4, size - 4, size, BOARD_PIECE);
    if (split.made < OUTPUT_MAX && whole.made < OUTPUT_MAX) {
        /* zlib lets a distance pass that is larger than the window if it stays in one piece of output */
        MUST((split.status < 0) == (whole.status < 0) || (kind == BOARD_GZIP && window < 32768));
        MUST(split.status < 0 || whole.status < 0 || (split.made == whole.made && split.sum == whole.sum));
    }
    return 0;
}
