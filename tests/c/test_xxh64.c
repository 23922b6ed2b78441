// links: core
/* XXH64 against vectors made with the xxhash package; every split of the input gives the same value. */
#include <string.h>

#include "check.h"
#include "otastream.h"

#define LEN 256u

/* XXH64, seed 0, of the first len bytes of 0, 7, 14, ... (modulo 256). */
static const struct {
    size_t len;
    uint64_t value;
} vectors[] = {
    {0, 0xef46db3751d8e999u},   {1, 0xe934a84adb052768u},   {3, 0x9ff70a635a6209abu},   {4, 0xae5acdc00a55ac41u},
    {5, 0x8ad58ce18a6fd093u},   {7, 0xd734a6b26f3da63eu},   {8, 0x87116b3365b924ebu},   {9, 0x340667a92c4324ffu},
    {11, 0x3a5d6dc1b218a5b6u},  {12, 0x14b8433b9a14e611u},  {15, 0x02c53ab1e360882fu},  {16, 0xed1dd2fac0a31fbcu},
    {20, 0x0c00910a628544d3u},  {31, 0x0f187c62b1e722b7u},  {32, 0x91b0cb0931a8c629u},  {33, 0x931b043cf8d65b94u},
    {36, 0xff889616afdd68c2u},  {40, 0x6bc927279e6a3044u},  {47, 0x980974feb2a7370du},  {63, 0x219110bf13e2fa26u},
    {64, 0xbf3052e3445775d0u},  {65, 0xed65e3510df3611du},  {95, 0xd0931963d68a40bdu},  {96, 0x0c1298bedcd0a493u},
    {100, 0x8e2272c08247d5dbu}, {127, 0x6a20762bbb901936u}, {128, 0x6bd66a757cf20d64u}, {200, 0x6daaa52505587dd5u},
    {256, 0x2104991804ccea01u},
};

static uint64_t hash(const uint8_t *data, size_t len, size_t piece)
{
    struct ota_xxh64 h;

    ota_xxh64_init(&h);
    for (size_t pos = 0; pos < len; pos += piece)
        ota_xxh64_update(&h, data + pos, len - pos < piece ? len - pos : piece);
    return ota_xxh64_value(&h);
}

int main(void)
{
    uint8_t data[LEN];

    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(7 * i);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        for (size_t piece = 1; piece <= vectors[i].len + 1; piece++)
            CHECK(hash(data, vectors[i].len, piece) == vectors[i].value);

    struct ota_xxh64 h;

    /* asking for the value changes nothing, and neither does adding nothing */
    ota_xxh64_init(&h);
    ota_xxh64_update(&h, data, 33);
    CHECK(ota_xxh64_value(&h) == ota_xxh64_value(&h));
    ota_xxh64_update(&h, NULL, 0);
    ota_xxh64_update(&h, data + 33, LEN - 33);
    CHECK(ota_xxh64_value(&h) == hash(data, LEN, LEN));
    return check_done();
}
