/* magic.c - is one of a few byte strings anywhere in a content?
 *
 * Every second pair of bytes is looked up in a table of the pairs that a string of three bytes or more must have at an
 * even place, its first and second or its second and third byte. */
#include <string.h>

#include "otastream_host.h"

struct strings {
    const uint8_t *bytes;
    const uint8_t *lengths;
    uint32_t count;
};

static int stands_at(const struct strings *s, const uint8_t *data, uint64_t left)
{
    const uint8_t *string = s->bytes;

    for (uint32_t i = 0; i < s->count; i++) {
        if (s->lengths[i] <= left && memcmp(data, string, s->lengths[i]) == 0)
            return 1;
        string += s->lengths[i];
    }
    return 0;
}

static void mark(uint8_t *pairs, const uint8_t *pair)
{
    unsigned number = pair[0] | (unsigned)pair[1] << 8;

    pairs[number >> 3] = (uint8_t)(pairs[number >> 3] | 1u << (number & 7u));
}

int ota_holds_any(const uint8_t *data, uint64_t size, const uint8_t *bytes, const uint8_t *lengths, uint32_t count)
{
    struct strings s = {bytes, lengths, count};
    uint8_t pairs[65536 / 8];
    const uint8_t *string = bytes;

    memset(pairs, 0, sizeof pairs);
    for (uint32_t i = 0; i < count; i++) {
        if (lengths[i] < 3)
            return 1; /* it cannot be told */
        mark(pairs, string);
        mark(pairs, string + 1);
        string += lengths[i];
    }
    for (uint64_t i = 0; i + 1 < size; i += 2) {
        unsigned number = data[i] | (unsigned)data[i + 1] << 8;

        if (((unsigned)pairs[number >> 3] >> (number & 7u) & 1u) == 0)
            continue;
        if (stands_at(&s, data + i, size - i) || (i > 0 && stands_at(&s, data + i - 1, size - i + 1)))
            return 1;
    }
    return 0;
}
