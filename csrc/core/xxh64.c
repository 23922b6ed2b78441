/* xxh64.c - XXH64 with seed 0, after the algorithm description of the xxHash project (doc/xxhash_spec.md).
 *
 * Four lanes take 8 bytes each of a 32-byte stripe; what does not fill a stripe waits in buf. */
#include <string.h>

#include "otastream.h"

#define STRIPE 32u

static const uint64_t P1 = 0x9E3779B185EBCA87u;
static const uint64_t P2 = 0xC2B2AE3D27D4EB4Fu;
static const uint64_t P3 = 0x165667B19E3779F9u;
static const uint64_t P4 = 0x85EBCA77C2B2AE63u;
static const uint64_t P5 = 0x27D4EB2F165667C5u;

static uint64_t rotl(uint64_t v, unsigned bits)
{
    return (v << bits) | (v >> (64u - bits));
}

/* Byte by byte, so that neither alignment nor byte order matters; compilers make one load of it. */
static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static uint64_t mix_lane(uint64_t acc, uint64_t lane)
{
    return rotl(acc + lane * P2, 31) * P1;
}

/* Whole stripes only; returns what is left of len. */
static size_t take_stripes(uint64_t acc[4], const uint8_t *data, size_t len)
{
    uint64_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];

    for (; len >= STRIPE; len -= STRIPE, data += STRIPE) {
        a = mix_lane(a, le64(data));
        b = mix_lane(b, le64(data + 8));
        c = mix_lane(c, le64(data + 16));
        d = mix_lane(d, le64(data + 24));
    }
    acc[0] = a;
    acc[1] = b;
    acc[2] = c;
    acc[3] = d;
    return len;
}

void ota_xxh64_init(struct ota_xxh64 *h)
{
    memset(h, 0, sizeof *h);
    h->acc[0] = P1 + P2;
    h->acc[1] = P2;
    h->acc[3] = 0u - P1;
}

void ota_xxh64_update(struct ota_xxh64 *h, const uint8_t *data, size_t len)
{
    if (len == 0) /* data may be NULL then, and memcpy must not see that */
        return;
    h->total += len;
    if (h->fill != 0) {
        size_t n = STRIPE - h->fill;

        if (n > len)
            n = len;
        memcpy(h->buf + h->fill, data, n);
        h->fill += (uint32_t)n;
        data += n;
        len -= n;
        if (h->fill < STRIPE)
            return;
        take_stripes(h->acc, h->buf, STRIPE);
        h->fill = 0;
    }

    size_t rest = take_stripes(h->acc, data, len);

    memcpy(h->buf, data + (len - rest), rest);
    h->fill = (uint32_t)rest;
}

static uint64_t merge_lanes(const uint64_t acc[4])
{
    uint64_t v = rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18);

    for (int i = 0; i < 4; i++)
        v = (v ^ mix_lane(0, acc[i])) * P1 + P4;
    return v;
}

uint64_t ota_xxh64_value(const struct ota_xxh64 *h)
{
    const uint8_t *p = h->buf;
    size_t n = h->fill;
    uint64_t v = (h->total >= STRIPE ? merge_lanes(h->acc) : P5) + h->total;

    for (; n >= 8; n -= 8, p += 8)
        v = rotl(v ^ mix_lane(0, le64(p)), 27) * P1 + P4;
    if (n >= 4) {
        v = rotl(v ^ (uint64_t)le32(p) * P1, 23) * P2 + P3;
        n -= 4;
        p += 4;
    }
    for (; n > 0; n--, p++)
        v = rotl(v ^ (uint64_t)*p * P5, 11) * P1;
    v = (v ^ (v >> 33)) * P2;
    v = (v ^ (v >> 29)) * P3;
    return v ^ (v >> 32);
}
