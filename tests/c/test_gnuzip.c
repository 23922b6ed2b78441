/* test_gnuzip.c - deflate as GNU gzip writes it: known bytes, and the same ones in any split.
 *
 * tests/test_gnuzip.py compares with the gzip program; what is known here was made by it, too. */
#include <string.h>

#include "check.h"
#include "gnuzip.h"
#include "otastream.h"

#define RAW 150000u
#define PACKED 200000u

static uint8_t raw[RAW];
static uint8_t packed[PACKED];
static uint8_t again[PACKED];
static uint64_t memory[303104 / 8];

/* Runs, strings that come back, and noise, by a generator that needs nothing. */
static void make_raw(void)
{
    uint32_t state = 1;
    size_t n = 0;

    while (n < RAW) {
        uint32_t kind;

        state = state * 1103515245u + 12345u;
        kind = state >> 29;
        if (kind < 3 || n < 64) {
            raw[n++] = (uint8_t)(state >> 8);
        } else {
            size_t from = (state >> 4) % (n - 32);
            size_t len = 3 + (state >> 20) % 60;

            for (size_t i = 0; i < len && n < RAW; i++)
                raw[n++] = raw[from + i];
        }
    }
}

static size_t encode(unsigned level, size_t size, size_t in_piece, size_t out_piece, uint8_t *to)
{
    size_t pos = 0;
    size_t made = 0;
    int st;

    CHECK_INT(ota_gnuzip_begin(memory, sizeof memory, level), 0);
    do {
        struct ota_in in = {raw + pos, size - pos < in_piece ? size - pos : in_piece, 0};
        struct ota_out out = {to + made, PACKED - made < out_piece ? PACKED - made : out_piece, 0};

        st = ota_gnuzip_step(memory, &in, &out, pos + in.size == size);
        CHECK(st >= 0);
        pos += in.pos;
        made += out.pos;
    } while (st != OTA_DONE);
    CHECK_INT(pos, size);
    return made;
}

int main(void)
{
    static const uint64_t known[9] = {
        UINT64_C(0x905bf58566525ccc), UINT64_C(0xf028c55876071e8c), UINT64_C(0xdd09412beba27ea8),
        UINT64_C(0x77b37e1753d41375), UINT64_C(0xfd475469f966f664), UINT64_C(0x740f952bb3451e33),
        UINT64_C(0xa58e62cb152d6b24), UINT64_C(0xe8ec4820710e6b3d), UINT64_C(0xdf6611aa7a8e2883)};
    static const uint8_t nothing[2] = {3, 0};

    make_raw();
    for (unsigned level = 1; level <= 9; level++) {
        size_t len = encode(level, RAW, RAW, PACKED, packed);
        size_t pieces[3] = {1, 97, 40000};
        struct ota_xxh64 h;

        ota_xxh64_init(&h);
        ota_xxh64_update(&h, packed, len);
        CHECK(ota_xxh64_value(&h) == known[level - 1]);
        for (unsigned i = 0; i < 3; i++) {
            CHECK_INT(encode(level, RAW, pieces[i], pieces[2 - i], again), len);
            CHECK(memcmp(packed, again, len) == 0);
        }
        CHECK_INT(encode(level, 0, 1, 1, packed), 2);
        CHECK(memcmp(packed, nothing, 2) == 0);
    }
    CHECK_INT(ota_gnuzip_size(0), 0);
    CHECK_INT(ota_gnuzip_size(10), 0);
    CHECK_INT(ota_gnuzip_begin(memory, sizeof memory, 10), -OTA_E_UNSUPPORTED);
    CHECK_INT(ota_gnuzip_begin(memory, sizeof memory - 8, 9), -OTA_E_RAM);
    return check_done();
}
