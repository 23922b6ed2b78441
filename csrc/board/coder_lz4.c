/* coder_lz4.c - LZ4 blocks: the fast compressor and the decompressor stand here, the slow one is liblz4's.
 *
 * The fast one is written out because liblz4's gives other bytes on 32-bit machines for parts of 64 KiB and more, and
 * images are made on 64-bit ones. Format: lz4_Block_format.md of the LZ4 project; the search (one hash table without
 * chains, steps that grow while nothing is found) does what LZ4_compress_default of 1.9.4 does.
 */
#include "coder.h"

#ifdef OTA_BOARD_LZ4

#define LZ4_HC_STATIC_LINKING_ONLY
#include <lz4hc.h>
#include <string.h>

#if LZ4_VERSION_NUMBER != 10904
#error "coding lz4-1.9.4 promises the bytes of liblz4 1.9.4"
#endif

#define FAST_TABLES 16384u  /* 4096 positions of 32 bits, or 8192 of 16 */
#define SLOW_TABLES 262400u /* LZ4_sizeofStateHC() is 262200 at most */
#define LEAST_MATCH 4u
#define LAST_LITERALS 5u /* a block ends with so many */
#define NO_MATCH 12u     /* and none begins in so many last ones */
#define FAR 65535u
#define SMALL 65547u /* shorter parts have a table of 16-bit positions */

struct fast {
    const uint8_t *src;
    uint32_t size;
    uint16_t *small; /* one of the two */
    uint32_t *large;
    uint8_t *dst;
    size_t room;
    size_t used;
};

static uint64_t little(const uint8_t *p, unsigned bytes)
{
    uint64_t n = 0;
    for (unsigned i = bytes; i > 0; i--) {
        n = n << 8 | p[i - 1];
    }
    return n;
}

static uint32_t hash(const struct fast *f, uint32_t at)
{
    if (f->small != NULL) {
        return (uint32_t)little(f->src + at, 4) * UINT32_C(2654435761) >> 19;
    }
    return (uint32_t)((little(f->src + at, 5) << 24) * UINT64_C(889523592379) >> 52);
}

/* What stood there before. */
static uint32_t swap(struct fast *f, uint32_t h, uint32_t at)
{
    uint32_t before = f->small != NULL ? f->small[h] : f->large[h];
    if (f->small != NULL) {
        f->small[h] = (uint16_t)at;
    } else {
        f->large[h] = at;
    }
    return before;
}

static int matches(const struct fast *f, uint32_t match, uint32_t at)
{
    return at - match <= FAR && memcmp(f->src + match, f->src + at, LEAST_MATCH) == 0;
}

static int put_length(struct fast *f, uint32_t n)
{
    for (; n >= 255; n -= 255) {
        if (f->used == f->room) {
            return -1;
        }
        f->dst[f->used++] = 255;
    }
    if (f->used == f->room) {
        return -1;
    }
    f->dst[f->used++] = (uint8_t)n;
    return 0;
}

/* Literals from anchor on and a match that is LEAST_MATCH + more bytes long; away 0: there is no match, the block ends.
 */
static int put_sequence(struct fast *f, uint32_t anchor, uint32_t literals, uint32_t away, uint32_t more)
{
    uint32_t low = away == 0 ? 0 : (more < 15 ? more : 15);
    if (f->used == f->room) {
        return -1;
    }
    f->dst[f->used++] = (uint8_t)((literals < 15 ? literals : 15) << 4 | low);
    if (literals >= 15 && put_length(f, literals - 15) != 0) {
        return -1;
    }
    if (literals > f->room - f->used) {
        return -1;
    }
    memcpy(f->dst + f->used, f->src + anchor, literals);
    f->used += literals;
    if (away == 0) {
        return 0;
    }
    if (f->room - f->used < 2) {
        return -1;
    }
    f->dst[f->used++] = (uint8_t)away;
    f->dst[f->used++] = (uint8_t)(away >> 8);
    return low == 15 ? put_length(f, more - 15) : 0;
}

/* The next position with a match from at on, or the size of the part; the first look is where at is. */
static uint32_t search(struct fast *f, uint32_t at, uint32_t *match)
{
    uint32_t limit = f->size - NO_MATCH + 1; /* no position from here on begins a match */
    uint32_t next = at;
    uint32_t tries = 64;
    uint32_t step = 1;
    uint32_t h = hash(f, at);
    do {
        uint32_t here = h;
        at = next;
        next += step;
        step = tries++ >> 6;
        if (next > limit) {
            return f->size;
        }
        h = hash(f, next);
        *match = swap(f, here, at);
    } while (!matches(f, *match, at));
    return at;
}

static uint32_t match_length(const struct fast *f, uint32_t match, uint32_t at)
{
    uint32_t end = f->size - LAST_LITERALS;
    uint32_t n = LEAST_MATCH;
    while (at + n < end && f->src[at + n] == f->src[match + n]) {
        n++;
    }
    return n;
}

/* All matches of a part that is long enough to have some; *anchor: where the last literals begin. */
static int fast_matches(struct fast *f, uint32_t *anchor)
{
    uint32_t match = 0;
    uint32_t at;
    int again = 0; /* a match follows the one before at once */
    (void)swap(f, hash(f, 0), 0);
    at = search(f, 1, &match);
    while (at < f->size) {
        uint32_t n;
        while (!again && at > *anchor && match > 0 && f->src[at - 1] == f->src[match - 1]) {
            at--;
            match--;
        }
        n = match_length(f, match, at);
        if (put_sequence(f, *anchor, at - *anchor, at - match, n - LEAST_MATCH) != 0) {
            return -1;
        }
        at += n;
        *anchor = at;
        if (at > f->size - NO_MATCH) {
            return 0;
        }
        (void)swap(f, hash(f, at - 2), at - 2);
        match = swap(f, hash(f, at), at);
        again = matches(f, match, at);
        if (!again) {
            at = search(f, at + 1, &match);
        }
    }
    return 0;
}

static size_t fast(void *tables, const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    struct fast f = {src, (uint32_t)size, NULL, NULL, dst, room, 0};
    uint32_t anchor = 0;
    memset(tables, 0, FAST_TABLES);
    if (size < SMALL) {
        f.small = tables;
    } else {
        f.large = tables;
    }
    if (size > NO_MATCH && fast_matches(&f, &anchor) != 0) {
        return 0;
    }
    return put_sequence(&f, anchor, f.size - anchor, 0, 0) == 0 ? f.used : 0;
}

static size_t encode(int level, void *tables, uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    int n;
    if (level == 0) {
        return fast(tables, src, size, dst, room);
    }
    n = LZ4_compress_HC_extStateHC(tables, (const char *)src, (char *)dst, (int)size, (int)room, level);
    return n > 0 ? (size_t)n : 0;
}

/* ---- decompression ----------------------------------------------------------------------------------------------- */

/* A length of which the token has n; 0 when the block ends inside of it or it is larger than any part. */
static int get_length(const uint8_t *src, size_t size, size_t *at, size_t *n)
{
    uint8_t more = 255;
    if (*n < 15) {
        return 1;
    }
    while (more == 255) {
        if (*at == size || *n > (size_t)1 << 28) {
            return 0;
        }
        more = src[(*at)++];
        *n += more;
    }
    return 1;
}

static size_t decode(void *tables, const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    size_t at = 0;
    size_t used = 0;
    (void)tables;
    while (at < size) {
        uint8_t token = src[at++];
        size_t n = token >> 4;
        size_t away;
        if (!get_length(src, size, &at, &n) || n > size - at || n > room - used) {
            return 0;
        }
        memcpy(dst + used, src + at, n);
        used += n;
        at += n;
        if (at == size) {
            return used; /* the last sequence has no match */
        }
        if (size - at < 2) {
            return 0;
        }
        away = src[at] | (size_t)src[at + 1] << 8;
        at += 2;
        n = token & 15u;
        if (!get_length(src, size, &at, &n) || away == 0 || away > used || (n += LEAST_MATCH) > room - used) {
            return 0;
        }
        for (; n > 0; n--, used++) {
            dst[used] = dst[used - away]; /* they may overlap */
        }
    }
    return 0;
}

static size_t bound(size_t size)
{
    return size + size / 255 + 16;
}

const struct coder_block *coder_lz4(void)
{
    static const struct coder_block block = {LZ4HC_CLEVEL_MAX, 0, 0, FAST_TABLES, SLOW_TABLES, bound, encode, decode};
    return &block;
}

const char *coder_lz4_library(void)
{
    return LZ4_VERSION_STRING;
}

#endif
