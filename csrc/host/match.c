/* match.c - which parts of new are made from which parts of old.
 *
 * The method is that of bsdiff (Colin Percival, "Naive differences of executable code", 2003): exact matches from a
 * suffix array are grown in both directions as long as at least half of the bytes agree, and two that overlap are split
 * where most bytes agree. What differs from it: while old and new agree along the present diagonal nothing is searched,
 * and the beginning and the end that old and new share take no part at all.
 *
 * A diagonal is the set of pairs (position in old, position in new) of one distance. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* A match elsewhere must agree in so many bytes more than the present diagonal does over the same stretch. */
#define SWITCH_GAIN 8u
/* Agreeing bytes on the present diagonal that are followed without a search. */
#define FOLLOW_MIN 8u

/* A diagonal at work: it makes new[new_pos ..] from old[old_pos ..]; it holds for certain up to new position `sure`. */
struct track {
    uint64_t new_pos;
    uint64_t old_pos;
    uint64_t sure;
};

struct matcher {
    const uint8_t *old_data;
    const uint8_t *new_data;
    uint64_t old_size;
    uint64_t new_size;
    struct ota_suffix suffix;
    struct ota_payload *payload;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes of new[from .. to) that agree with old along t. */
static uint64_t agreeing(const struct matcher *m, const struct track *t, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    uint64_t old_pos = t->old_pos + (from - t->new_pos);

    if (old_pos >= m->old_size)
        return 0;
    to = min_u64(to, from + (m->old_size - old_pos));
    for (const uint8_t *a = m->new_data + from, *b = m->old_data + old_pos, *end = m->new_data + to; a < end; a++, b++)
        count += *a == *b;
    return count;
}

/* Length of the exact agreement along t from new position `from` on. */
static uint64_t follow(const struct matcher *m, const struct track *t, uint64_t from)
{
    uint64_t old_pos = t->old_pos + (from - t->new_pos);

    if (old_pos >= m->old_size)
        return 0;
    return ota_common_prefix(m->new_data + from, m->old_data + old_pos,
                             min_u64(m->new_size - from, m->old_size - old_pos));
}

/* The next place, from new position `from` on, where another diagonal is better than t. 0: there is none. */
static int find_next(const struct matcher *m, const struct track *t, uint64_t from, struct track *next)
{
    uint64_t at = from;

    while (at < m->new_size) {
        uint64_t run = follow(m, t, at);
        uint64_t pos = 0, len;

        if (run >= FOLLOW_MIN) {
            at += run;
            continue;
        }
        len = ota_suffix_longest(&m->suffix, m->new_data + at, m->new_size - at, t->old_pos + (at - t->new_pos), &pos);
        if (len > SWITCH_GAIN && len > agreeing(m, t, at, at + len) + SWITCH_GAIN) {
            len += ota_common_prefix(m->new_data + at + len, m->old_data + pos + len,
                                     min_u64(m->new_size - at - len, m->old_size - pos - len));
            next->new_pos = at;
            next->old_pos = pos;
            next->sure = at + len;
            return 1;
        }
        at++;
    }
    return 0;
}

/* How far t is worth following from its sure end up to new position `limit`. */
static uint64_t grow_forward(const struct matcher *m, const struct track *t, uint64_t limit)
{
    uint64_t old_pos = t->old_pos + (t->sure - t->new_pos);
    uint64_t room = min_u64(limit - t->sure, m->old_size - old_pos);
    const uint8_t *a = m->new_data + t->sure, *b = m->old_data + old_pos;
    uint64_t best = 0;
    int64_t score = 0, top = 0;

    for (uint64_t i = 0; i < room; i++) {
        score += a[i] == b[i] ? 1 : -1;
        if (score > top) {
            top = score;
            best = i + 1;
        }
    }
    return t->sure + best;
}

/* How far t is worth following backwards, at most to new position `limit`. */
static uint64_t grow_backward(const struct matcher *m, const struct track *t, uint64_t limit)
{
    uint64_t room = min_u64(t->new_pos - limit, t->old_pos);
    const uint8_t *a = m->new_data + t->new_pos, *b = m->old_data + t->old_pos;
    uint64_t best = 0;
    int64_t score = 0, top = 0;

    for (uint64_t i = 1; i <= room; i++) {
        score += *(a - i) == *(b - i) ? 1 : -1;
        if (score > top) {
            top = score;
            best = i;
        }
    }
    return t->new_pos - best;
}

/* Both t and next could make new[from .. to): the position where to change over so that most bytes agree. */
static uint64_t split(const struct matcher *m, const struct track *t, const struct track *next, uint64_t from,
                      uint64_t to)
{
    const uint8_t *a = m->old_data + (t->old_pos + (from - t->new_pos));
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

static void give(const struct matcher *m, const struct track *t, uint64_t end)
{
    struct ota_piece piece = {t->new_pos, t->old_pos, end - t->new_pos};

    if (piece.len > 0)
        ota_payload_piece(m->payload, &piece);
}

/* Everything between the shared beginning (which t covers) and `end`, then the shared tail. */
static int scan(struct matcher *m, struct track t)
{
    struct track next;

    while (m->payload->status == 0 && find_next(m, &t, t.sure, &next)) {
        uint64_t end = grow_forward(m, &t, next.new_pos);
        /* back to the start of t at most, which may vanish then */
        uint64_t begin = grow_backward(m, &next, t.new_pos);

        if (begin < end)
            begin = end = split(m, &t, &next, begin, end);
        give(m, &t, end);
        next.old_pos -= next.new_pos - begin;
        next.new_pos = begin;
        t = next;
    }
    if (m->payload->status == 0)
        give(m, &t, grow_forward(m, &t, m->new_size));
    return m->payload->status;
}

int ota_match(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data,
              uint64_t new_size, struct ota_payload *p)
{
    struct matcher m = {.old_data = old_data, .new_data = new_data, .old_size = old_size, .payload = p};
    uint64_t shorter = min_u64(old_size, new_size);
    uint64_t head = ota_common_prefix(old_data, new_data, shorter);
    uint64_t tail = ota_common_suffix(old_data + old_size, new_data + new_size, shorter - head);
    struct track start = {0, 0, head};
    int status = 0;

    m.new_size = new_size - tail;
    if (m.new_size > head)
        status = ota_suffix_init(&m.suffix, sorter, old_data, old_size);
    if (status == 0)
        status = scan(&m, start);
    if (status == 0 && tail > 0) {
        struct track last = {new_size - tail, old_size - tail, new_size};

        give(&m, &last, new_size);
    }
    ota_suffix_free(&m.suffix);
    return status;
}
