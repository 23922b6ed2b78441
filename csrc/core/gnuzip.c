/* gnuzip.c - the search of GNU gzip's encoder: window, hash chains, lazy matching, where blocks end.
 *
 * docs/SPEC.md section 6.5.1 says all that decides about bytes. Input is taken into the window in the same steps as
 * gzip takes it from a file, since bytes behind the end of the input are compared, too: which of two matches of the
 * same length within the input is taken can depend on what the window held there before.
 */
#include "gnuzip.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

#define WINDOW (2u * GNUZIP_HALF)
#define MASK (GNUZIP_HALF - 1u)
#define HASH_SHIFT 5u /* three bytes make a hash of 15 bits */
#define FAR 4096u     /* a match of 3 bytes that is farther away than that costs more than three literals */
#define BLOCK_CHECK 4096u
#define NEVER_MATCHED 0u /* also the first position of the window, at which nothing is found */

#define MEMORY 303104u /* the same everywhere, since packages state it */

typedef char fits[sizeof(struct ota_gnuzip) <= MEMORY ? 1 : -1];

enum run { RUN_INPUT, RUN_BLOCK, RUN_END };

static const struct {
    uint16_t good;
    uint16_t lazy;
    uint16_t nice;
    uint16_t depth;
} levels[9] = {
    {4, 4, 8, 4},      {4, 5, 16, 8},     {4, 6, 32, 32},       {4, 4, 16, 16},       {8, 16, 32, 32},
    {8, 16, 128, 128}, {8, 32, 128, 256}, {32, 128, 258, 1024}, {32, 258, 258, 4096},
};

/* ---- window ------------------------------------------------------------------------------------------------------ */

static void move_down(uint16_t *positions)
{
    for (uint32_t i = 0; i < GNUZIP_HALF; i++)
        positions[i] = (uint16_t)(positions[i] >= GNUZIP_HALF ? positions[i] - GNUZIP_HALF : NEVER_MATCHED);
}

/* A fill begins: make room, and say how much may come. */
static void begin_fill(struct ota_gnuzip *z)
{
    if (z->at >= GNUZIP_HALF + GNUZIP_MAX_DIST) {
        memcpy(z->window, z->window + GNUZIP_HALF, GNUZIP_HALF);
        z->match_at -= GNUZIP_HALF;
        z->at -= GNUZIP_HALF;
        z->block_at -= (int32_t)GNUZIP_HALF;
        move_down(z->head);
        move_down(z->chain);
    }
    z->want = WINDOW - z->ahead - z->at;
    z->got = 0;
}

static uint32_t hashed(uint32_t hash, uint8_t byte)
{
    return (hash << HASH_SHIFT ^ byte) & MASK;
}

static void end_fill(struct ota_gnuzip *z)
{
    z->want = 0;
    z->ahead += z->got;
    if (z->got == 0) {
        z->ended = 1;
        memset(z->window + z->at + z->ahead, 0, GNUZIP_MIN_MATCH - 1);
    }
    if (!z->started) {
        z->started = 1;
        z->hash = hashed(hashed(0, z->window[0]), z->window[1]);
    }
}

/* Take input until no more is needed before the next match; 0 when it is used up before that. */
static int fill(struct ota_gnuzip *z, struct ota_in *in, int last)
{
    while (z->ahead < GNUZIP_LOOKAHEAD && !z->ended) {
        size_t n = in->size - in->pos;

        if (z->want == 0)
            begin_fill(z);
        if (n > z->want - z->got)
            n = z->want - z->got;
        if (n > 0)
            memcpy(z->window + z->at + z->ahead + z->got, in->src + in->pos, n);
        in->pos += n;
        z->got += (uint32_t)n;
        if (z->got < z->want && !last)
            return 0;
        end_fill(z);
    }
    return 1;
}

/* ---- matches ----------------------------------------------------------------------------------------------------- */

/* Enter the string at a position; the last one with the same hash. */
static uint32_t enter(struct ota_gnuzip *z, uint32_t at)
{
    uint32_t found;

    z->hash = hashed(z->hash, z->window[at + GNUZIP_MIN_MATCH - 1]);
    found = z->head[z->hash];
    z->chain[at & MASK] = (uint16_t)found;
    z->head[z->hash] = (uint16_t)at;
    return found;
}

static int worth_looking(const struct ota_gnuzip *z, uint32_t found)
{
    return found != NEVER_MATCHED && z->at - found <= GNUZIP_MAX_DIST && z->at <= WINDOW - GNUZIP_LOOKAHEAD;
}

/* Equal bytes of two strings, of which the first two are. */
static uint32_t equal_bytes(const uint8_t *a, const uint8_t *b)
{
    uint32_t n = 2;

    for (; n < GNUZIP_MAX_MATCH; n += 4) {
        uint32_t x;
        uint32_t y;

        memcpy(&x, a + n, 4);
        memcpy(&y, b + n, 4);
        if (x != y)
            break;
    }
    while (n < GNUZIP_MAX_MATCH && a[n] == b[n])
        n++;
    return n;
}

/* The longest match at the chain that begins with found, if it is longer than best; else best. Sets match_at. */
static uint32_t longest(struct ota_gnuzip *z, uint32_t found, uint32_t best)
{
    const uint8_t *here = z->window + z->at;
    uint32_t limit = z->at > GNUZIP_MAX_DIST ? z->at - GNUZIP_MAX_DIST : NEVER_MATCHED;
    uint32_t left = best >= z->good ? z->depth >> 2 : z->depth;

    do {
        const uint8_t *there = z->window + found;

        if (there[best] == here[best] && there[best - 1] == here[best - 1] && there[0] == here[0] &&
            there[1] == here[1]) {
            uint32_t len = equal_bytes(here, there);

            if (len > best) {
                z->match_at = found;
                best = len;
                if (len >= z->nice)
                    break;
            }
        }
        found = z->chain[found & MASK];
    } while (found > limit && --left != 0);
    return best;
}

/* ---- symbols ----------------------------------------------------------------------------------------------------- */

/* Would a block end well here? Its symbols are compared with what they stand for, codes taken for 8 and 5 bits. */
static int well_compressed(const struct ota_gnuzip *z)
{
    uint32_t bits = z->symbols * 8;
    uint32_t size = (uint32_t)((int32_t)z->at - z->block_at);

    for (unsigned i = 0; i < GNUZIP_DIST_CODES; i++)
        bits += z->dist_freq[i] * (5u + ota_gnuzip_dist_extra[i]);
    return z->matches < z->symbols / 2 && bits / 8 < size / 2;
}

/* Add a literal (dist 0) or a match (value: length - 3); 1: the block ends with it. */
static int add(struct ota_gnuzip *z, uint32_t dist, uint32_t value)
{
    z->literal[z->symbols] = (uint8_t)value;
    z->dist[z->symbols++] = (uint16_t)dist;
    if (dist == 0) {
        z->lit_freq[value]++;
    } else {
        z->matches++;
        z->lit_freq[GNUZIP_END + 1 + z->length_symbol[value]]++;
        z->dist_freq[gnuzip_dist_symbol(z, dist - 1)]++;
    }
    if (z->level > 2 && z->symbols % BLOCK_CHECK == 0 && well_compressed(z))
        return 1;
    return z->symbols == GNUZIP_SYMBOLS - 1;
}

/* Levels 1 to 3: every match is taken. */
static enum run run_fast(struct ota_gnuzip *z)
{
    while (z->ahead > 0) {
        uint32_t found;
        uint32_t len = GNUZIP_MIN_MATCH - 1;
        int full;

        if (z->ahead < GNUZIP_LOOKAHEAD && !z->ended)
            return RUN_INPUT;
        found = enter(z, z->at);
        if (worth_looking(z, found)) {
            len = longest(z, found, len);
            if (len > z->ahead)
                len = z->ahead;
        }
        if (len < GNUZIP_MIN_MATCH) {
            len = 1;
            full = add(z, 0, z->window[z->at++]);
        } else {
            uint32_t end = z->at + len;

            full = add(z, z->at - z->match_at, len - GNUZIP_MIN_MATCH);
            if (len <= z->lazy) {
                while (++z->at < end)
                    (void)enter(z, z->at);
            } else {
                z->at = end;
                z->hash = hashed(hashed(0, z->window[end]), z->window[end + 1]);
            }
        }
        z->ahead -= len;
        if (full) {
            z->block_end = z->at;
            return RUN_BLOCK;
        }
    }
    return RUN_END;
}

/* Levels 4 to 9: a match is taken when the one at the next byte is not longer. */
static enum run run_lazy(struct ota_gnuzip *z)
{
    while (z->ahead > 0) {
        uint32_t found;
        uint32_t before_at = z->match_at;
        uint32_t before = z->match_len;
        uint32_t len = GNUZIP_MIN_MATCH - 1;
        int full = 0;

        if (z->ahead < GNUZIP_LOOKAHEAD && !z->ended)
            return RUN_INPUT;
        found = enter(z, z->at);
        if (before < z->lazy && worth_looking(z, found)) {
            len = longest(z, found, before);
            if (len > z->ahead)
                len = z->ahead;
            if (len == GNUZIP_MIN_MATCH && z->at - z->match_at > FAR)
                len--;
        }
        z->match_len = len;
        if (before >= GNUZIP_MIN_MATCH && len <= before) {
            uint32_t end = z->at + before - 1;

            full = add(z, z->at - 1 - before_at, before - GNUZIP_MIN_MATCH);
            z->ahead -= before - 1;
            while (++z->at < end)
                (void)enter(z, z->at);
            z->pending = 0;
            z->match_len = GNUZIP_MIN_MATCH - 1;
            z->block_end = z->at;
        } else {
            if (z->pending)
                full = add(z, 0, z->window[z->at - 1]);
            z->pending = 1;
            z->block_end = z->at; /* this byte is not in the block yet */
            z->at++;
            z->ahead--;
        }
        if (full)
            return RUN_BLOCK;
    }
    if (z->pending)
        (void)add(z, 0, z->window[z->at - 1]);
    z->pending = 0;
    return RUN_END;
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

size_t ota_gnuzip_size(uint64_t params)
{
    return params >= 1 && params <= 9 ? MEMORY : 0;
}

int ota_gnuzip_begin(void *memory, size_t len, uint64_t params)
{
    struct ota_gnuzip *z = memory;

    if (ota_gnuzip_size(params) == 0)
        return ERR(UNSUPPORTED);
    if (len < MEMORY)
        return ERR(RAM);
    memset(z, 0, sizeof *z);
    z->level = (int)params;
    z->good = levels[params - 1].good;
    z->lazy = levels[params - 1].lazy;
    z->nice = levels[params - 1].nice;
    z->depth = levels[params - 1].depth;
    z->match_len = GNUZIP_MIN_MATCH - 1;
    ota_gnuzip_tables(z);
    ota_gnuzip_new_block(z);
    return 0;
}

int ota_gnuzip_step(void *memory, struct ota_in *in, struct ota_out *out, int last)
{
    struct ota_gnuzip *z = memory;

    for (;;) {
        enum run run;

        if (z->emit != GNUZIP_IDLE) {
            int st = ota_gnuzip_emit(z, out);

            if (st != OTA_DONE)
                return st;
            z->block_at = (int32_t)z->block_end;
            ota_gnuzip_new_block(z);
        }
        if (z->finished)
            return OTA_DONE;
        if (!fill(z, in, last))
            return OTA_WANT_INPUT;
        run = z->level <= 3 ? run_fast(z) : run_lazy(z);
        if (run == RUN_INPUT)
            continue;
        if (run == RUN_END) {
            z->finished = 1;
            z->block_end = z->at;
        }
        ota_gnuzip_end_block(z, run == RUN_END);
    }
}
