/* fuzz_bspatch.c - the bsdiff decoder on any payload, old size and split.
 *
 * The first bytes choose sizes and splits, the rest is payload. Whatever it is, the decoder must stay inside old, new
 * and its workspace (the sanitizers and read_at watch), must come to an end, must keep a failure, and must make the
 * same of it in another split. */
#include "decode.h"

#define NEW_MAX 8192u
#define HEAD 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct old_content old;
    static uint8_t one[NEW_MAX], two[NEW_MAX];
    size_t new_size, in_piece, out_piece, one_len, two_len;
    int status;

    if (size < HEAD)
        return 0;
    old.size = ((uint64_t)data[0] << 8 | data[1]) % (OLD_MAX + 1);
    new_size = ((size_t)data[2] << 8 | data[3]) % (NEW_MAX + 1);
    in_piece = 1u + data[4];
    out_piece = 1u + 8u * data[5];
    for (size_t i = 0; i < OLD_MAX; i++)
        old.data[i] = (uint8_t)(i ^ (i >> 8));

    status = decode(OTA_ENGINE_BSDIFF, 0, &old, new_size, data + HEAD, size - HEAD, in_piece, out_piece, one, &one_len);
    MUST(decode(OTA_ENGINE_BSDIFF, 0, &old, new_size, data + HEAD, size - HEAD, size, NEW_MAX, two, &two_len) ==
         status);
    MUST(status < 0 || (one_len == two_len && memcmp(one, two, one_len) == 0));
    return 0;
}
