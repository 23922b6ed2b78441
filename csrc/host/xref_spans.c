/* xref_spans.c - engine xref: which copies make the map.
 *
 * The map is there for references. Copied code and tables hold them: each says of a position of old where it went in
 * new, which is a vote. A copy stays in the map if the votes that look it up come out better than they would without
 * it. Copies are given up a few at a time and never neighbours at once, and the votes are counted again: where several
 * wrong copies lie beside each other, none of them looks worse than the next until most are gone. */
#include <stdlib.h>

#include "xref_host.h"

#define SPAN_MIN 12u
/* Costs in bits, about: a reference that the map has wrong, and the same one again, which the cache has learned. */
#define FIRST_COST 20
#define NUMBER_COST 5 /* of a word that stayed as it was: it may be no address */
#define AGAIN_COST 4
#define LEN_SHARE 64u /* so many bytes of a copy speak for it like one bit */
/* A copy that misleads by more than DOUBT bits has to be worth DOUBT_COST, and a share of those bits. */
#define DOUBT 40
#define DOUBT_COST 16
#define DOUBT_SHARE 32
#define APART 2u      /* copies to each side of one that is given up which stay until the votes are counted again */
#define OVER_SHARE 8u /* of those that there is no room for, so many are given up at once */
#define ROUNDS 64u

struct vote {
    uint32_t pos;   /* in old */
    uint32_t shift; /* position in new - pos */
    uint32_t count;
    uint32_t number; /* all of them are words that stayed as they were */
};

struct votes {
    struct vote *list; /* by position once they are merged */
    uint32_t count, room;
};

struct choice {
    struct ota_xref_span span;
    int64_t gain;  /* bits that the votes save because it is in the map */
    int64_t right; /* bits of the votes that look it up, rightly and wrongly */
    int64_t wrong;
    int dropped;
};

/* ---- votes ------------------------------------------------------------------------------------------------------- */

static int add_vote(struct votes *v, uint32_t pos, uint32_t shift, int number)
{
    if (v->count == v->room) {
        uint32_t room = v->room * 2 + 4096;
        struct vote *list = realloc(v->list, room * sizeof *list);

        if (list == NULL)
            return -OTA_E_RAM;
        v->list = list;
        v->room = room;
    }
    v->list[v->count++] = (struct vote){pos, shift, 1, (uint32_t)number};
    return 0;
}

/* A unit refers to u->target, which moved. What lies in the copy that is made needs no map. */
static int vote(struct votes *v, const struct ota_xref_map *m, const struct ota_xref_unit *u, int32_t moved)
{
    for (uint32_t i = 0; i < m->segment_count; i++) {
        const struct ota_xref_segment *a = &m->old_segments[i], *b = &m->new_segments[i];
        uint64_t at = u->target - a->addr;
        int number = moved == 0 && (u->form == OTA_XREF_WORD32 || u->form == OTA_XREF_WORD64);
        uint32_t pos;

        if (u->target < a->addr || at >= a->mem_size)
            continue;
        if (a->file_size == 0)
            return 0;
        pos = a->off + (at < a->file_size ? (uint32_t)at : a->file_size - 1);
        if (pos - m->here.old_pos < m->here.len)
            return 0;
        return add_vote(v, pos, (uint32_t)moved + (uint32_t)(a->addr - b->addr) + (b->off - a->off), number);
    }
    return 0;
}

/* The votes of a stretch that is copied at once. */
static int collect_here(struct ota_xref_predictor *p, const uint8_t *new_data, struct votes *v)
{
    struct ota_xref *x = &p->x;
    int status = 0;

    for (uint32_t left = x->map.here.len; left > 0 && status == 0;) {
        struct ota_xref_unit u;

        (void)ota_xref_predict(x, &u, left); /* reading memory does not fail */
        if (u.form != OTA_XREF_NONE && u.form != OTA_XREF_WORD_NUMBER) {
            p->cached[0].shift = INT32_MIN;
            u.pred[0] = (uint8_t)~new_data[x->new_pos]; /* what is as predicted teaches nothing */
            ota_xref_observe(x, &u, new_data + x->new_pos);
            if (p->cached[0].shift != INT32_MIN)
                status = vote(v, &x->map, &u, p->cached[0].shift);
            p->cached[0].shift = INT32_MIN;
        }
        x->old_pos += u.len;
        x->new_pos += u.len;
        left -= u.len;
    }
    return status;
}

static int collect(struct ota_xref_predictor *p, const struct ota_xref_plan *plan, const uint8_t *new_data,
                   uint32_t unit, struct votes *v)
{
    struct ota_xref *x = &p->x;
    int status = 0;

    for (uint32_t i = 0; i < plan->copy_count; i++) {
        uint32_t left = plan->copies[i].len;

        x->old_pos = plan->copies[i].old_pos;
        x->new_pos = plan->copies[i].new_pos;
        while (left > 0 && status == 0) {
            uint32_t to_end = unit > 0 ? unit - x->new_pos % unit : left;

            x->map.here = (struct ota_xref_span){x->new_pos, x->old_pos, left < to_end ? left : to_end};
            left -= x->map.here.len;
            status = collect_here(p, new_data, v);
        }
    }
    return status;
}

static int by_pos(const void *a, const void *b)
{
    const struct vote *x = a, *y = b;

    if (x->pos != y->pos)
        return x->pos < y->pos ? -1 : 1;
    return x->shift < y->shift ? -1 : x->shift > y->shift;
}

static void merge(struct votes *v)
{
    uint32_t n = 0;

    if (v->count > 0)
        qsort(v->list, v->count, sizeof *v->list, by_pos);
    for (uint32_t i = 0; i < v->count; i++) {
        if (n > 0 && by_pos(&v->list[n - 1], &v->list[i]) == 0) {
            v->list[n - 1].count++;
            v->list[n - 1].number &= v->list[i].number;
        } else {
            v->list[n++] = v->list[i];
        }
    }
    v->count = n;
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static int by_old(const void *a, const void *b)
{
    const struct ota_xref_span *x = &((const struct choice *)a)->span, *y = &((const struct choice *)b)->span;

    if (x->old_pos != y->old_pos)
        return x->old_pos < y->old_pos ? -1 : 1;
    return x->new_pos < y->new_pos ? -1 : 1;
}

/* What ota_xref_map_position would choose without `skip`. behind: the first choice that begins behind pos. */
static struct choice *look_up(struct choice *c, uint32_t count, uint32_t behind, uint32_t pos,
                              const struct choice *skip)
{
    uint32_t nearest = UINT32_MAX, seen = 0, i = behind;
    struct choice *best = NULL;

    i += i < count && &c[i] == skip;
    if (i < count) {
        nearest = ota_xref_distance(&c[i].span, pos);
        best = &c[i];
    }
    for (i = behind; i-- > 0 && seen < OTA_XREF_NEIGHBOURS && nearest > 0;) {
        uint32_t d = ota_xref_distance(&c[i].span, pos);

        if (&c[i] == skip)
            continue;
        seen++;
        if (d < nearest) {
            nearest = d;
            best = &c[i];
        }
    }
    return best;
}

static int is_right(const struct choice *c, const struct vote *w)
{
    return c != NULL && c->span.new_pos - c->span.old_pos == w->shift;
}

static void count_votes(struct choice *c, uint32_t count, const struct votes *v)
{
    uint32_t behind = 0;

    for (uint32_t i = 0; i < count; i++)
        c[i].gain = c[i].right = c[i].wrong = 0;
    for (uint32_t i = 0; i < v->count && count > 0; i++) {
        const struct vote *w = &v->list[i];
        int64_t cost = (w->number ? NUMBER_COST : FIRST_COST) + (int64_t)AGAIN_COST * (w->count - 1);
        struct choice *best;

        while (behind < count && c[behind].span.old_pos <= w->pos)
            behind++;
        best = look_up(c, count, behind, w->pos, NULL);
        if (is_right(best, w)) {
            best->right += cost;
            best->gain += is_right(look_up(c, count, behind, w->pos, best), w) ? 0 : cost;
        } else {
            best->wrong += cost;
            best->gain -= is_right(look_up(c, count, behind, w->pos, best), w) ? cost : 0;
        }
    }
    for (uint32_t i = 0; i < count; i++)
        c[i].gain += c[i].span.len / LEN_SHARE;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static int by_gain(const void *a, const void *b)
{
    const struct choice *x = *(struct choice *const *)a, *y = *(struct choice *const *)b;

    if (x->gain != y->gain)
        return x->gain < y->gain ? -1 : 1;
    return x < y ? -1 : 1;
}

static int is_bad(const struct choice *c)
{
    int64_t misled = c->wrong - c->right;

    return c->gain < (misled > DOUBT ? DOUBT_COST + misled / DOUBT_SHARE : 0);
}

static int dropped_near(const struct choice *c, uint32_t count, uint32_t at)
{
    uint32_t end = count - at > APART ? at + APART + 1 : count;

    for (uint32_t k = at > APART ? at - APART : 0; k < end; k++)
        if (c[k].dropped)
            return 1;
    return 0;
}

/* Give up those that are bad, and at least `least` of those that are worth the least. Returns how many are left. */
static uint32_t drop(struct choice *c, struct choice **order, uint32_t count, uint32_t least, int apart)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        c[i].dropped = 0;
        order[i] = &c[i];
    }
    if (count > 0)
        qsort(order, count, sizeof(struct choice *), by_gain);
    for (uint32_t i = 0; i < count; i++) {
        if ((!is_bad(order[i]) && n >= least) || (apart && dropped_near(c, count, (uint32_t)(order[i] - c))))
            continue;
        order[i]->dropped = 1;
        n++;
    }
    n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!c[i].dropped)
            c[n++] = c[i];
    return n;
}

static uint32_t choose(struct choice *c, struct choice **order, uint32_t count, const struct votes *v, uint32_t limit)
{
    for (uint32_t round = 0, before = count + 1; count < before && round < ROUNDS; round++) {
        before = count;
        count_votes(c, count, v);
        count = drop(c, order, count, count > limit ? (count - limit) / OVER_SHARE + 1 : 0, 1);
    }
    if (count > limit) {
        count_votes(c, count, v);
        count = drop(c, order, count, count - limit, 0);
    }
    return count;
}

static int by_new(const void *a, const void *b)
{
    const struct ota_xref_span *x = a, *y = b;

    return x->new_pos < y->new_pos ? -1 : 1;
}

int ota_xref_choose_spans(struct ota_xref_plan *plan, const struct ota_image images[2], uint32_t unit, uint32_t limit)
{
    struct ota_xref_predictor *p = calloc(1, sizeof *p);
    struct choice *c = malloc(((size_t)plan->copy_count + 1) * sizeof *c);
    struct choice **order = malloc(((size_t)plan->copy_count + 1) * sizeof(struct choice *));
    struct votes v = {0};
    uint32_t n = 0;
    int status = -OTA_E_RAM;

    plan->span_count = 0;
    plan->spans = malloc(((size_t)plan->copy_count + 1) * sizeof *plan->spans);
    if (p != NULL && c != NULL && order != NULL && plan->spans != NULL)
        status = ota_xref_predictor_init(p, plan, &images[0], &images[1]);
    if (status == 0) {
        p->x.regions = plan->regions;
        p->x.region_count = plan->region_count;
        status = collect(p, plan, images[1].data, unit, &v);
    }
    if (status == 0) {
        merge(&v);
        for (uint32_t i = 0; i < plan->copy_count; i++)
            if (plan->copies[i].len >= SPAN_MIN)
                c[n++].span = plan->copies[i];
        if (n > 0)
            qsort(c, n, sizeof *c, by_old);
        n = choose(c, order, n, &v, limit);
        for (uint32_t i = 0; i < n; i++)
            plan->spans[i] = c[i].span;
        if (n > 0)
            qsort(plan->spans, n, sizeof *plan->spans, by_new);
        plan->span_count = n;
    }
    if (p != NULL)
        free(p->x.map.by_old);
    free(p);
    free(c);
    free(order);
    free(v.list);
    return status;
}
