/* fuzz_gnuzip.c - any data through the encoder that writes deflate as GNU gzip does, on exactly its memory: the same
 * bytes in any split, and zlib gets the data back.
 *
 * The first byte chooses the level, the next two the sizes of the pieces; the fourth how often the data comes, so that
 * small inputs reach the end of the window. */
#include <zlib.h>

#include "fuzz.h"
#include "otastream.h"

#define HEAD 4u
#define RAW_MAX (4096u * 64u)
#define PACKED_MAX (RAW_MAX + RAW_MAX / 1000u + 64u) /* what is larger than its data is stored */

static size_t encode(unsigned level, const uint8_t *raw, size_t size, size_t in_piece, size_t out_piece,
                     uint8_t *packed)
{
    size_t need = ota_gnuzip_size(level);
    void *memory = malloc(need);
    size_t pos = 0;
    size_t made = 0;
    int status;

    MUST(memory != NULL && ota_gnuzip_begin(memory, need - 1, level) < 0);
    MUST(ota_gnuzip_begin(memory, need, level) == 0);
    do {
        struct ota_in in = {raw + pos, size - pos < in_piece ? size - pos : in_piece, 0};
        struct ota_out out = {packed + made, PACKED_MAX - made < out_piece ? PACKED_MAX - made : out_piece, 0};

        status = ota_gnuzip_step(memory, &in, &out, pos + in.size == size);
        MUST(in.pos <= in.size && out.pos <= out.size && status >= 0);
        MUST(status != OTA_WANT_OUTPUT || out.pos == out.size);
        MUST(status != OTA_WANT_INPUT || (in.pos == in.size && pos + in.size < size));
        pos += in.pos;
        made += out.pos;
        MUST(made < PACKED_MAX);
    } while (status != OTA_DONE);
    MUST(pos == size);
    free(memory);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t raw[RAW_MAX];
    static uint8_t again[RAW_MAX];
    static uint8_t one[PACKED_MAX];
    static uint8_t two[PACKED_MAX];
    size_t raw_len = 0;
    size_t len;
    unsigned level;
    z_stream z = {0};

    if (size < HEAD || size > 4096)
        return 0;
    level = 1u + data[0] % 9u;
    for (unsigned i = 0; i <= data[3] % 64u; i++) {
        memcpy(raw + raw_len, data + HEAD, size - HEAD);
        raw_len += size - HEAD;
        if (raw_len > 0)
            raw[raw_len - 1] ^= (uint8_t)i;
    }
    len = encode(level, raw, raw_len, 1u + 16u * data[1], 1u + 16u * data[2], one);
    MUST(encode(level, raw, raw_len, RAW_MAX, PACKED_MAX, two) == len && memcmp(one, two, len) == 0);
    MUST(inflateInit2(&z, -15) == Z_OK);
    z.next_in = one;
    z.avail_in = (uInt)len;
    z.next_out = again;
    z.avail_out = RAW_MAX;
    MUST(inflate(&z, Z_FINISH) == Z_STREAM_END);
    MUST(z.avail_in == 0 && z.total_out == raw_len && memcmp(raw, again, raw_len) == 0);
    MUST(inflateEnd(&z) == Z_OK);
    return 0;
}
