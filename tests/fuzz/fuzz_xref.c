/* fuzz_xref.c - the xref decoder on any payload, old content and split.
 *
 * The first bytes choose sizes, splits and whether old comes next or is what is made here; the rest is payload. Models
 * are small, so that many inputs are tried.
 * Whatever it is, the decoder must stay inside old, new and its workspace (the sanitizers and read_at watch), must come
 * to an end, must keep a failure, and must make the same of it in another split. */
#include "decode.h"

#define NEW_MAX 4096u
#define TABLES 65536u
#define HEAD 7u
#define OLD_COMES 1u

/* Instructions and words of every kind that the engine knows. */
static void fill(uint8_t *data)
{
    static const uint32_t words[] = {0x94000010u, 0x54000081u, 0x90000003u, 0x91010063u, 0xf9400463u, 0x36000082u,
                                     0xeb000010u, 0xe59f3010u, 0xe3012234u, 0xe3402001u, 0xe08f3003u, 0xf802f000u,
                                     0x447b4b01u, 0x8002f000u, 0x3004f8dfu, 0x2234f241u, 0x2001f2c0u, 0x008000efu,
                                     0x00001517u, 0x00850513u, 0x0c000400u, 0x000010e8u, 0x00000800u, 0xfffffc00u};

    for (size_t i = 0; i + 4 <= OLD_MAX; i += 4) {
        uint32_t w = words[(i / 4 + i / 512) % (sizeof words / sizeof words[0])] + (uint32_t)(i / 1024 << 5);

        for (unsigned k = 0; k < 4; k++)
            data[i + k] = (uint8_t)(w >> 8 * k);
    }
}

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
    if ((data[6] & OLD_COMES) != 0) {
        if (size < HEAD + old.size)
            return 0;
        memcpy(old.data, data + HEAD, (size_t)old.size);
        data += old.size;
        size -= (size_t)old.size;
    } else {
        fill(old.data);
    }

    status =
        decode(OTA_ENGINE_XREF, TABLES, &old, new_size, data + HEAD, size - HEAD, in_piece, out_piece, one, &one_len);
    MUST(decode(OTA_ENGINE_XREF, TABLES, &old, new_size, data + HEAD, size - HEAD, size, NEW_MAX, two, &two_len) ==
         status);
    MUST(status < 0 || (one_len == two_len && memcmp(one, two, one_len) == 0));
    return 0;
}
