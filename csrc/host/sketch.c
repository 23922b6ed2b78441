/* sketch.c - a few numbers that tell whether two contents have pieces in common.
 *
 * Every piece of 8 bytes is hashed, and the smallest different hashes are kept: the share of them that two contents
 * have in common estimates the share of pieces that they have in common, wherever those are (Broder, "On the
 * resemblance and containment of documents", 1997). */
#include <string.h>

#include "otastream_host.h"

#define PIECE 8u

/* Put hash into the sorted numbers out[count], of which there may be `room`. Returns how many there are then. */
static uint32_t keep(uint32_t *out, uint32_t count, uint32_t room, uint32_t hash)
{
    uint32_t lo = 0, hi = count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (out[mid] < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < count && out[lo] == hash)
        return count;
    if (count == room)
        count--;
    memmove(out + lo + 1, out + lo, (size_t)(count - lo) * sizeof *out);
    out[lo] = hash;
    return count + 1;
}

uint32_t ota_sketch(const uint8_t *data, uint64_t size, uint32_t *out, uint32_t room)
{
    uint32_t count = 0;

    for (uint64_t i = 0; room > 0 && i + PIECE <= size; i++) {
        uint64_t piece = (uint64_t)data[i] | (uint64_t)data[i + 1] << 8 | (uint64_t)data[i + 2] << 16 |
                         (uint64_t)data[i + 3] << 24 | (uint64_t)data[i + 4] << 32 | (uint64_t)data[i + 5] << 40 |
                         (uint64_t)data[i + 6] << 48 | (uint64_t)data[i + 7] << 56;
        uint64_t mixed = (piece ^ piece >> 32) * 0x9E3779B97F4A7C15u;
        uint32_t hash = (uint32_t)(mixed >> 32);

        if (count < room || hash < out[count - 1])
            count = keep(out, count, room, hash);
    }
    return count;
}
