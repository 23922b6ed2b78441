/* compare.c - how far and how often two stretches of bytes agree, eight bytes at a time. */
#include <string.h>

#include "host.h"

#define ONES 0x0101010101010101u
#define HIGH 0x8080808080808080u

static uint64_t load(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof value);
    return value;
}

/* The number of bytes that are zero at the front of x in memory, and at its end; x is not 0. */
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ZEROS_FRONT(x) ((unsigned)__builtin_ctzll(x) / 8)
#define ZEROS_END(x) ((unsigned)__builtin_clzll(x) / 8)
#elif defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ZEROS_FRONT(x) ((unsigned)__builtin_clzll(x) / 8)
#define ZEROS_END(x) ((unsigned)__builtin_ctzll(x) / 8)
#else
#error "this code needs gcc or clang"
#endif

uint64_t ota_common_prefix(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t i = 0;

    for (; len - i >= 8; i += 8) {
        uint64_t differs = load(a + i) ^ load(b + i);

        if (differs != 0)
            return i + ZEROS_FRONT(differs);
    }
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

uint64_t ota_common_suffix(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t i = 0;

    for (; len - i >= 8; i += 8) {
        uint64_t differs = load(a - i - 8) ^ load(b - i - 8);

        if (differs != 0)
            return i + ZEROS_END(differs);
    }
    while (i < len && a[-1 - (int64_t)i] == b[-1 - (int64_t)i])
        i++;
    return i;
}

uint64_t ota_count_equal(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t count = 0, i = 0;

    for (; len - i >= 8; i += 8) {
        uint64_t x = load(a + i) ^ load(b + i);
        uint64_t equal = ~(((x & ~HIGH) + ~HIGH) | x) & HIGH; /* the high bit of each byte that is 0 */

        count += ((equal >> 7) * ONES) >> 56;
    }
    for (; i < len; i++)
        count += a[i] == b[i];
    return count;
}
