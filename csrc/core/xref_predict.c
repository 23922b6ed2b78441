/* xref_predict.c - engine xref: what a unit of old becomes, and what is learned from what it became. */
#include "xref.h"
#include "xref_form.h"

#define NEAR_LOG 8u /* numbers that differ in their lower bits only are near each other */

/* ---- the cache of learned targets -------------------------------------------------------------------------------- */

static struct ota_xref_cached *cached(struct ota_xref *x, uint64_t target)
{
    return &x->cache[ota_xref_hash((uint32_t)target, 0x51u) & x->cache_mask];
}

static int knows(const struct ota_xref_cached *c, uint32_t key)
{
    return c->shift != INT32_MIN && c->key == key;
}

static void keep(struct ota_xref_cached *c, uint32_t key, int32_t shift)
{
    c->key = key;
    c->shift = shift;
}

/* What numbers near this one have in common: their shift. */
static struct ota_xref_cached *cached_near(struct ota_xref *x, uint32_t number)
{
    return &x->cache[ota_xref_hash(number >> NEAR_LOG, 0x52u) & x->cache_mask];
}

static uint32_t near_key(uint32_t number)
{
    return number >> NEAR_LOG | 1u << 31;
}

/* Numbers are moved by as much as they themselves were last, those near them, or any: *best is
 * the first of these that is known, *next the second. */
static void shift_number(struct ota_xref *x, struct ota_xref_unit *u, uint64_t *best, uint64_t *next)
{
    const struct ota_xref_cached *same = cached(x, u->target), *near = cached_near(x, (uint32_t)u->target);
    int is_near = knows(near, near_key((uint32_t)u->target));
    int32_t shift = is_near ? near->shift : x->last_shift;

    u->guess = is_near ? 3 : 1;
    *best = (uint32_t)u->target + (uint32_t)shift;
    *next = (uint32_t)u->target + (uint32_t)x->last_shift;
    if (knows(same, (uint32_t)u->target)) {
        u->guess = 2;
        *next = *best;
        *best = (uint32_t)u->target + (uint32_t)same->shift;
    }
}

/* Where the target went: *best by what was learned, else by the map; *by_map by the map alone. Of numbers *by_map is
 * the second best. 0: nowhere known. */
static int translate(struct ota_xref *x, struct ota_xref_unit *u, uint64_t *by_map, uint64_t *best)
{
    struct ota_xref_cached *c;

    if (u->form == OTA_XREF_WORD_NUMBER) {
        shift_number(x, u, best, by_map);
        return 1;
    }
    if (!ota_xref_map_address(&x->map, u->target, by_map))
        return 0;
    *best = *by_map;
    u->guess = 1;
    c = cached(x, u->target);
    if (knows(c, (uint32_t)u->target)) {
        *best = u->target + (uint64_t)(int64_t)c->shift;
        u->guess = 2;
    }
    return 1;
}

/* ---- predicting -------------------------------------------------------------------------------------------------- */

static const uint8_t unit_len[OTA_XREF_KINDS] = {4, 4, 8, 4, 4, 4, 4, 4, 2, 1, 4, 2, 4};

static void put(const struct ota_xref_unit *u, uint64_t target, uint8_t *out, int *done)
{
    uint32_t w;

    *done = 0;
    memcpy(out, u->old, OTA_XREF_UNIT_MAX);
    switch (u->form) {
    case OTA_XREF_WORD64:
        ota_xref_word_put(out, (uint32_t)target);
        ota_xref_word_put(out + 4, (uint32_t)(target >> 32));
        *done = 1;
        return;
    case OTA_XREF_X86_REL32:
        ota_xref_word_put(out + 1, (uint32_t)(target - u->new_pc));
        *done = 1;
        return;
    default:
        w = ota_xref_word(u->old);
        *done = ota_xref_form_put((enum ota_xref_form)u->form, &w, u->new_pc, target);
        if (*done) {
            if (u->len == 2) {
                out[0] = (uint8_t)w;
                out[1] = (uint8_t)(w >> 8);
            } else {
                ota_xref_word_put(out, w);
            }
        }
    }
}

void ota_xref_seek_region(struct ota_xref *x)
{
    while (x->region + 1 < x->region_count && x->regions[x->region + 1].start <= x->old_pos)
        x->region++;
    while (x->region > 0 && x->regions[x->region].start > x->old_pos)
        x->region--;
    x->region_start = x->regions[x->region].start;
    x->region_end = x->region + 1 < x->region_count ? x->regions[x->region + 1].start : UINT32_MAX;
}

int ota_xref_predict(struct ota_xref *x, struct ota_xref_unit *u, uint32_t limit)
{
    const uint8_t *at = NULL;
    uint64_t by_map = 0, best = 0;
    uint32_t want = OTA_XREF_UNIT_MAX + OTA_XREF_AHEAD, to_end = x->old_size - x->old_pos, unit;
    size_t there;
    int done;

    if (want > to_end)
        want = to_end;
    if (x->in_parts && want > limit)
        want = limit;
    there = ota_window_peek(&x->window, (uint64_t)x->section.old_start + x->old_pos, want, &at);
    if (there < want) {
        int status = ota_window_fill(&x->window, (uint64_t)x->section.old_start + x->old_pos);

        if (status < 0)
            return status;
        there = ota_window_peek(&x->window, (uint64_t)x->section.old_start + x->old_pos, want, &at);
    }
    ota_xref_find_region(x);
    if (limit > x->region_end - x->old_pos)
        limit = x->region_end - x->old_pos;
    if (limit > OTA_XREF_UNIT_MAX)
        limit = OTA_XREF_UNIT_MAX;
    u->kind = (uint8_t)x->regions[x->region].kind;
    u->old_pos = x->old_pos;
    u->new_pos = x->new_pos;
    unit = unit_len[u->kind];
    u->len = (uint8_t)(unit - (x->old_pos & (unit - 1)));
    if (u->len > limit)
        u->len = (uint8_t)limit;
    u->guess = 0;
    u->has_alt = 0;
    u->target = u->old_pc = u->new_pc = 0;
    if (there >= OTA_XREF_UNIT_MAX) {
        memcpy(u->old, at, OTA_XREF_UNIT_MAX);
    } else {
        memset(u->old, 0, sizeof u->old);
        memcpy(u->old, at, there);
    }
    ota_xref_find(x, u, at, there, limit);
    if (u->form == OTA_XREF_NONE || !translate(x, u, &by_map, &best)) {
        u->form = OTA_XREF_NONE;
        memcpy(u->pred, u->old, sizeof u->pred);
        return 0;
    }
    put(u, best, u->pred, &done);
    if (!done && u->guess == 2) {
        u->guess = 1;
        best = by_map;
        put(u, best, u->pred, &done);
    }
    if (u->guess >= 2 && by_map != best) {
        put(u, by_map, u->alt, &done);
        u->has_alt = (uint8_t)done;
    }
    if (!u->has_alt && !ota_xref_equal(u->pred, u->old, u->len)) {
        memcpy(u->alt, u->old, sizeof u->alt);
        u->has_alt = 1;
    }
    return 0;
}

/* ---- learning ---------------------------------------------------------------------------------------------------- */

static void note_half(struct ota_xref *x, const struct ota_xref_unit *u, uint32_t reg, uint64_t old_part, int valid,
                      uint64_t new_part)
{
    struct ota_xref_half *h = &x->refs.halves[reg & 31u];

    h->old_pos = u->old_pos;
    h->valid = (uint32_t)valid;
    h->old_part = old_part;
    h->new_part = new_part;
}

static int leaves_half(uint32_t form)
{
    return form == OTA_XREF_A64_ADRP || form == OTA_XREF_RV_AUIPC || form == OTA_XREF_A32_MOVW ||
           form == OTA_XREF_T_MOVW;
}

static void learn_number(struct ota_xref *x, uint32_t number, int32_t shift)
{
    if (shift == INT32_MIN)
        return;
    keep(cached(x, number), number, shift);
    keep(cached_near(x, number), near_key(number), shift);
    x->last_shift = shift;
}

void ota_xref_observe(struct ota_xref *x, const struct ota_xref_unit *u, const uint8_t *actual)
{
    uint32_t old = ota_xref_word(u->old), now = ota_xref_word(actual);
    uint64_t target = 0;
    int as_predicted, same;

    if (u->form == OTA_XREF_NONE)
        return;
    as_predicted = ota_xref_equal(actual, u->pred, u->len);
    if (as_predicted && !leaves_half(u->form))
        return;
    same = ota_xref_form_same((enum ota_xref_form)u->form, old, now);
    switch (u->form) {
    case OTA_XREF_WORD64:
        target = now | (uint64_t)ota_xref_word(actual + 4) << 32;
        break;
    case OTA_XREF_X86_REL32:
        target = u->new_pc + (uint64_t)(int64_t)(int32_t)ota_xref_word(actual + 1);
        same = actual[0] == u->old[0];
        break;
    default:
        target = ota_xref_form_get((enum ota_xref_form)u->form, now, u->new_pc);
        break;
    }
    switch (u->form) {
    case OTA_XREF_A64_ADRP:
        note_half(x, u, old, u->target & ~(uint64_t)4095, same, target);
        if ((u->target & 4095u) != 0)
            return; /* its other half tells more */
        break;
    case OTA_XREF_RV_AUIPC:
        note_half(x, u, old >> 7, ota_xref_form_get(OTA_XREF_RV_AUIPC, old, u->old_pc), same, target);
        return;
    case OTA_XREF_A32_MOVW:
        note_half(x, u, old >> 12 & 15u, u->target, same, target);
        return;
    case OTA_XREF_T_MOVW:
        note_half(x, u, u->old[3] & 15u, u->target, same, target);
        return;
    case OTA_XREF_A32_MOVT:
    case OTA_XREF_T_MOVT:
        target = (target & 0xffffu) << 16 | (u->new_pc & 0xffffu);
        break;
    default:
        break;
    }
    if (as_predicted || !same)
        return;
    if (u->form == OTA_XREF_WORD_NUMBER) {
        learn_number(x, old, (int32_t)(now - old));
        return;
    }
    if ((int64_t)(target - u->target) <= INT32_MIN || (int64_t)(target - u->target) > INT32_MAX)
        return;
    keep(cached(x, u->target), (uint32_t)u->target, (int32_t)(target - u->target));
}
