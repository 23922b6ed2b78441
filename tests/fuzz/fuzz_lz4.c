/* fuzz_lz4.c - any bytes to the decompressor of LZ4 blocks, into exactly the room that there is; and through its
 * compressor and back.
 *
 * The first two bytes are the room.
 */
#include "../../csrc/board/coder_lz4.c"
#include "fuzz.h"

#define TABLES 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct coder_block *lz4 = coder_lz4();
    size_t room = size > 1 ? (size_t)(data[0] << 8 | data[1]) : 0;
    size_t most = lz4->bound(size);
    uint8_t *out = malloc(room + 1);
    uint8_t *raw = malloc(size + 1);
    uint8_t *packed = malloc(most);
    void *tables = aligned_alloc(16, TABLES);
    size_t n;
    MUST(out != NULL && raw != NULL && packed != NULL && tables != NULL && lz4->fast_tables == TABLES);
    if (size > 1)
        MUST(lz4->decode(NULL, data + 2, size - 2, out, room) <= room);
    if (size > 0) {
        memcpy(raw, data, size);
        n = lz4->encode(0, tables, raw, size, packed, most);
        MUST(n > 0 && n <= most);
        MUST(lz4->decode(NULL, packed, n, raw, size) == size && memcmp(raw, data, size) == 0);
        MUST(lz4->encode(0, tables, raw, size, packed, n - 1) == 0);
    }
    free(tables);
    free(packed);
    free(raw);
    free(out);
    return 0;
}
