/* match.c - which parts of new are made from which parts of old.
 *
 * The frame is that of bsdiff (Colin Percival, "Naive differences of executable code", 2003): exact matches from a
 * suffix array are grown in both directions while enough bytes agree, and two that overlap are split where most bytes
 * agree. Ours are:
 * - while old and new agree along the present diagonal nothing is searched, and the beginning and the end that old and
 *   new share take no part at all;
 * - far shorter matches are looked at, but each has to pay: what it saves must be worth the triple that it costs.
 *   Whether a byte is cheap as a literal is estimated from how often it occurs in new.
 *
 * A diagonal is the set of pairs (position in old, position in new) of one distance. The constants below were chosen by
 * the size after zstd -19 with a window of 128 KiB, on ARM libraries, busybox and kernel modules; those of triples and
 * runs by that after LZMA2 with 256 KiB. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* A match elsewhere must agree in so many bytes more than the present diagonal does over the same stretch. */
#define SWITCH_GAIN 3u
/* Agreeing bytes on the present diagonal that are followed without a search: so many in a row, or so many of the next.
 * Fewer of the next (12 of 16) would suit tables of the same layout, but cost libraries more than that. */
#define FOLLOW_MIN 8u
#define FOLLOW_NEXT 16u
#define FOLLOW_AGREE 14u

/* Growing: what a byte that agrees is worth, and what one that does not costs; it ends for good this far below. */
#define AGREE 2
#define DIFFER 1
#define GROW_DROP 2048

/* Estimated size of parts of the payload once it is compressed, in sixteenths of a bit. */
#define TRIPLE_COST 768u
#define JUMP_COST 5u   /* whole bits for each doubling of the way from one diagonal to the next */
#define DIFF_COST 128u /* a byte that differs from old */
#define RUN_COST 64u   /* a stretch of them */
/* How far apart pieces may be to be weighed against each other: bounds the time. */
#define HORIZON 131072u

/* A diagonal at work: it makes new[new_pos .. end) from old[old_pos ..); it agrees for certain up to new position
 * `sure`, where it was found. end is known once the next diagonal is. */
struct track {
    uint64_t new_pos;
    uint64_t old_pos;
    uint64_t sure;
    uint64_t end;
};

struct matcher {
    const uint8_t *old_data;
    const uint8_t *new_data;
    uint64_t old_size;
    uint64_t new_size;
    struct ota_suffix suffix;
    const struct ota_sink *sink;
    int status; /* of the sink; sticky */
    uint32_t literal_cost[256];
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t old_at(const struct track *t, uint64_t new_pos)
{
    return t->old_pos + (new_pos - t->new_pos);
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */

/* Bytes of new[from .. to) that agree with old along t. */
static uint64_t agreeing(const struct matcher *m, const struct track *t, uint64_t from, uint64_t to)
{
    uint64_t old_pos = old_at(t, from);

    if (old_pos >= m->old_size)
        return 0;
    return ota_count_equal(m->new_data + from, m->old_data + old_pos, min_u64(to - from, m->old_size - old_pos));
}

/* Length of the exact agreement of new[new_pos ..) with old[old_pos ..). */
static uint64_t follow(const struct matcher *m, uint64_t new_pos, uint64_t old_pos)
{
    if (old_pos >= m->old_size)
        return 0;
    return ota_common_prefix(m->new_data + new_pos, m->old_data + old_pos,
                             min_u64(m->new_size - new_pos, m->old_size - old_pos));
}

/* The longest match of new[at ..) that is known or can be found; of equally long ones one that is near to `here`. */
static uint64_t best_match(struct matcher *m, uint64_t at, uint64_t here, uint64_t *pos)
{
    const struct ota_piece *known = ota_known_at(&m->suffix.known, at);
    uint64_t len = ota_suffix_longest(&m->suffix, m->new_data + at, m->new_size - at, here, pos);

    if (len > 0) /* the text of the suffix array may have gaps: what counts is what old has there */
        len = follow(m, at, *pos);
    if (known != NULL && known->len - (at - known->new_pos) > len) {
        *pos = known->old_pos + (at - known->new_pos);
        len = follow(m, at, *pos);
    }
    return len;
}

/* The next place behind the sure end of t where another diagonal is better. 0: there is none. */
static int find_next(struct matcher *m, const struct track *t, struct track *next)
{
    uint64_t at = t->sure;

    while (at < m->new_size) {
        uint64_t here = old_at(t, at);
        uint64_t run = follow(m, at, here);
        uint64_t pos = 0, len;

        if (run >= FOLLOW_MIN) {
            at += run;
            continue;
        }
        if (agreeing(m, t, at, min_u64(at + FOLLOW_NEXT, m->new_size)) >= FOLLOW_AGREE) {
            at++;
            continue;
        }
        len = best_match(m, at, here, &pos);
        if (len > SWITCH_GAIN && len > agreeing(m, t, at, at + len) + SWITCH_GAIN) {
            next->new_pos = at;
            next->old_pos = pos;
            next->sure = at + len + follow(m, at + len, pos + len);
            next->end = next->sure;
            return 1;
        }
        at++;
    }
    return 0;
}

/* ---- growing ---------------------------------------------------------------------------------------------------- */

/* How many of the first bytes of new at `a` and old at `b` are worth taking, at most `room`; step -1: of those in front
 * of a and b, backwards. */
static uint64_t grow(const uint8_t *a, const uint8_t *b, uint64_t room, int step)
{
    uint64_t best = 0, i = 0;
    int64_t score = 0, top = 0;

    while (i < room && score + GROW_DROP > top) {
        int64_t at = step > 0 ? (int64_t)i : -1 - (int64_t)i;

        if (a[at] != b[at]) {
            score -= DIFFER;
            i++;
            continue;
        }
        uint64_t run = step > 0 ? ota_common_prefix(a + i, b + i, room - i) : ota_common_suffix(a - i, b - i, room - i);

        score += (int64_t)run * AGREE;
        i += run;
        if (score > top) {
            top = score;
            best = i;
        }
    }
    return best;
}

/* How far t is worth following from its sure end up to new position `limit`. */
static uint64_t grow_forward(const struct matcher *m, const struct track *t, uint64_t limit)
{
    uint64_t old_pos = old_at(t, t->sure);
    uint64_t room = min_u64(limit - t->sure, m->old_size - old_pos);

    return t->sure + grow(m->new_data + t->sure, m->old_data + old_pos, room, 1);
}

/* How far t is worth following backwards from its start, at most to new position `limit`. */
static uint64_t grow_backward(const struct matcher *m, const struct track *t, uint64_t limit)
{
    uint64_t room = min_u64(t->new_pos - limit, t->old_pos);

    return t->new_pos - grow(m->new_data + t->new_pos, m->old_data + t->old_pos, room, -1);
}

/* Both t and next could make new[from .. to): the position where to change over so that most bytes agree. */
static uint64_t split(const struct matcher *m, const struct track *t, const struct track *next, uint64_t from,
                      uint64_t to)
{
    const uint8_t *a = m->old_data + old_at(t, from);
    const uint8_t *b = m->old_data + (next->old_pos - (next->new_pos - from));
    uint64_t best = from;
    int64_t score = 0, top = 0;

    for (uint64_t i = 0; i < to - from; i++) {
        uint8_t byte = m->new_data[from + i];

        score += (a[i] == byte) - (b[i] == byte);
        if (score > top) {
            top = score;
            best = from + i + 1;
        }
    }
    return best;
}

/* Settle where t ends and where next, which begins where it was found, really begins: back to the start of t at most,
 * which may vanish then. */
static void join(const struct matcher *m, struct track *t, struct track *next)
{
    uint64_t end = grow_forward(m, t, next->new_pos);
    uint64_t begin = grow_backward(m, next, t->new_pos);

    if (begin < end)
        begin = end = split(m, t, next, begin, end);
    t->end = end;
    next->old_pos -= next->new_pos - begin;
    next->new_pos = begin;
}

/* ---- choosing --------------------------------------------------------------------------------------------------- */

/* 16 * log2(n) for n >= 1, rounded down: each squaring gives one more bit of the fraction. */
static uint32_t log2_16(uint64_t n)
{
    uint32_t whole = 0, fraction = 0;
    uint64_t x;

    while (n >> whole > 1)
        whole++;
    x = whole > 31 ? n >> (whole - 31) : n << (31 - whole); /* 2^31 is 1.0 */
    for (uint32_t bit = 8; bit > 0; bit /= 2) {
        x = (x * x) >> 31;
        if (x >> 32) {
            x >>= 1;
            fraction += bit;
        }
    }
    return 16 * whole + fraction;
}

static void estimate_literals(struct matcher *m, uint64_t from)
{
    uint64_t count[256];

    for (int i = 0; i < 256; i++)
        count[i] = 1;
    for (uint64_t i = from; i < m->new_size; i++)
        count[m->new_data[i]]++;
    for (int i = 0; i < 256; i++)
        m->literal_cost[i] = log2_16(m->new_size - from + 256) - log2_16(count[i]);
}

static uint64_t literal_cost(const struct matcher *m, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;

    for (uint64_t i = from; i < to; i++)
        sum += m->literal_cost[m->new_data[i]];
    return sum;
}

/* What new[from .. to) costs along t; t reaches to `to`. */
static uint64_t track_cost(const struct matcher *m, const struct track *t, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    int differs = 0;

    for (uint64_t i = from; i < to; i++) {
        int agrees = m->new_data[i] == m->old_data[t->old_pos + (i - t->new_pos)];

        if (!agrees)
            sum += DIFF_COST + (differs ? 0 : RUN_COST);
        differs = !agrees;
    }
    return sum;
}

/* What new[from .. to) costs when t goes on up to its end, literals follow, and then next up to `to`. */
static uint64_t pair_cost(const struct matcher *m, const struct track *t, const struct track *next, uint64_t from,
                          uint64_t to)
{
    return track_cost(m, t, from, t->end) + literal_cost(m, t->end, next->new_pos) +
           track_cost(m, next, next->new_pos, to);
}

static int same_diagonal(const struct track *a, const struct track *b)
{
    return a->old_pos - a->new_pos == b->old_pos - b->new_pos;
}

/* What it costs to go from the diagonal of a to that of b; log2_16 counts in sixteenths. */
static uint64_t jump_cost(const struct track *a, const struct track *b)
{
    uint64_t way = (b->old_pos - b->new_pos) - (a->old_pos - a->new_pos);

    return (uint64_t)JUMP_COST * log2_16(min_u64(way, 0 - way) + 1);
}

/* Nothing, at the start of t: stands in front of a track whose neighbour is out of reach. */
static struct track nothing_before(const struct track *t)
{
    struct track none = {t->new_pos, t->old_pos, t->new_pos, t->new_pos};

    return none;
}

static void give(struct matcher *m, const struct track *t)
{
    struct ota_piece piece = {t->new_pos, t->old_pos, t->end - t->new_pos};

    if (piece.len > 0 && m->status == 0)
        m->status = m->sink->piece(m->sink->ctx, &piece);
}

/* Three diagonals in a row, of which held is settled up to its end: is t in the middle worth its triple? Three ways:
 * keep it; drop it, and let its neighbours and literals fill the place; or, if the outer two are one diagonal, stay on
 * that. Afterwards held and t are the last two in front of what is still to be found. */
static void advance(struct matcher *m, struct track *held, struct track *t, const struct track *next)
{
    struct track kept = *t, after_kept = *next, reaching = *held, after_reaching = *next;
    uint64_t found = next->new_pos, keep = 0, drop = UINT64_MAX, along = UINT64_MAX;

    join(m, &kept, &after_kept);
    if (found - held->sure <= HORIZON) {
        uint64_t from;

        join(m, &reaching, &after_reaching);
        from = min_u64(min_u64(held->sure, held->end), reaching.end);
        keep = track_cost(m, held, from, held->end) + literal_cost(m, held->end, t->new_pos) +
               pair_cost(m, &kept, &after_kept, t->new_pos, found);
        drop = pair_cost(m, &reaching, &after_reaching, from, found);
        if (kept.end > kept.new_pos) {
            keep += TRIPLE_COST + jump_cost(held, t) + jump_cost(t, next);
            drop += jump_cost(held, next);
        }
        if (same_diagonal(held, next)) {
            along = track_cost(m, held, from, found);
            along -= min_u64(along, TRIPLE_COST); /* next needs none of its own then */
        }
    }

    if (along <= keep && along <= drop) {
        *t = *held;
        t->sure = next->sure;
        *held = nothing_before(t);
    } else if (drop <= keep) {
        *held = reaching;
        *t = after_reaching;
    } else {
        give(m, held);
        *held = kept;
        held->sure = held->end; /* grown as far as it pays; what may come is judged from here */
        *t = after_kept;
    }
}

/* Everything from the shared beginning on, which t covers. */
static int scan(struct matcher *m, struct track t)
{
    struct track held = nothing_before(&t), next;

    while (m->status == 0 && find_next(m, &t, &next))
        advance(m, &held, &t, &next);
    if (m->status == 0)
        m->status = m->suffix.status;
    if (m->status == 0) {
        give(m, &held);
        t.end = grow_forward(m, &t, m->new_size);
        give(m, &t);
    }
    return m->status;
}

int ota_match(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data,
              uint64_t new_size, const struct ota_sink *sink)
{
    struct matcher m = {.old_data = old_data, .new_data = new_data, .old_size = old_size, .sink = sink};
    uint64_t shorter = min_u64(old_size, new_size);
    uint64_t head = ota_common_prefix(old_data, new_data, shorter);
    uint64_t tail = ota_common_suffix(old_data + old_size, new_data + new_size, shorter - head);
    struct track first = {0, 0, head, head};
    struct track last = {new_size - tail, old_size - tail, new_size, new_size};
    int status = 0;

    m.new_size = new_size - tail;
    if (m.new_size > head) {
        status = ota_suffix_init_for(&m.suffix, sorter, old_data, old_size, new_data, new_size);
        estimate_literals(&m, head);
    }
    if (status == 0)
        status = scan(&m, first);
    if (status == 0) {
        give(&m, &last);
        status = m.status;
    }
    ota_suffix_free(&m.suffix);
    return status;
}
