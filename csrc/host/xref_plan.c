/* xref_plan.c - engine xref: what old holds, found out by trying.
 *
 * Nothing here trusts names or types of sections: every kind is tried on all copies, block by block of old, and the
 * cheapest sequence of kinds is chosen by dynamic programming. What is known about code only tips the scale. */
#include <stdlib.h>
#include <string.h>

#include "xref_host.h"

#define BLOCK 64u
/* Costs in bits, about: a unit that is not as predicted, and 1 for each byte of it; another region; a kind that does
 * not suit what the block is known to be. */
#define MISS_COST 12u
#define CHANGE_COST 120u
#define CHANGE_COST_MAX (1u << 24)
#define NO_CODE_COST 16u
#define CODE_COST 4u
#define NUMBER_COST 8u /* a number that is as predicted, but not as in old */
#define NUMBER_MISS_COST 4u
#define NEVER (1u << 20)
#define CANDIDATES 8u

struct candidate {
    uint32_t kind;
    uint32_t base;
};

struct trial {
    struct ota_xref_predictor p;
    const struct ota_image *old_image;
    const uint8_t *new_data;
    struct candidate candidates[CANDIDATES];
    uint32_t count;
    uint32_t blocks;
    uint32_t *cost; /* of each block, one candidate behind the other */
    uint8_t *from;  /* the candidate that the block before has when this one has this candidate */
    struct ota_xref_region region;
};

int ota_image_is_code(const struct ota_image *image, uint32_t at)
{
    uint32_t low = 0, high = image->code_count;

    while (low < high) { /* the first stretch that ends behind it */
        uint32_t middle = (low + high) / 2;

        if (image->code[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->code_count && image->code[low].start <= at;
}

int ota_xref_read_memory(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)ctx + off, len);
    return 0;
}

void ota_xref_use_images(struct ota_xref *x, const struct ota_image *old_image, const struct ota_image *new_image)
{
    struct ota_xref_map *m = &x->map;

    x->window.source.ctx = (void *)(uintptr_t)old_image->data;
    x->window.source.read_at = ota_xref_read_memory;
    x->window.source.size = old_image->size;
    x->old_size = old_image->size;
    x->new_size = new_image->size;
    m->segment_count = old_image->segment_count;
    if (new_image->segment_count < m->segment_count)
        m->segment_count = new_image->segment_count;
    memcpy(m->old_segments, old_image->segments, sizeof old_image->segments);
    memcpy(m->new_segments, new_image->segments, sizeof new_image->segments);
}

int ota_xref_predictor_init(struct ota_xref_predictor *p, const struct ota_xref_plan *plan,
                            const struct ota_image *old_image, const struct ota_image *new_image)
{
    struct ota_xref_map *m = &p->x.map;

    m->spans = plan->copies;
    m->count = plan->copy_count;
    m->by_old = malloc(((size_t)plan->copy_count + 1) * sizeof *m->by_old);
    if (m->by_old == NULL)
        return -OTA_E_RAM;
    p->x.window.buf = p->window;
    p->x.window.cap = sizeof p->window;
    p->x.cache = p->cached;
    p->cached[0].shift = INT32_MIN;
    ota_xref_use_images(&p->x, old_image, new_image);
    ota_xref_map_sort(m);
    return 0;
}

static void add_candidate(struct trial *t, uint32_t kind, uint32_t base)
{
    t->candidates[t->count].kind = kind;
    t->candidates[t->count++].base = base;
}

static void list_candidates(struct trial *t)
{
    const struct ota_image *image = t->old_image;

    add_candidate(t, OTA_XREF_RAW, 0);
    add_candidate(t, OTA_XREF_PTR32, 0);
    add_candidate(t, image->wide ? OTA_XREF_PTR64 : OTA_XREF_PREL31, 0);
    add_candidate(t, OTA_XREF_PC32, 0);
    add_candidate(t, OTA_XREF_NUM32, 0);
    add_candidate(t, OTA_XREF_BASE32, image->table_base);
    if (image->code_kind == OTA_XREF_THUMB)
        add_candidate(t, OTA_XREF_A32, 0);
    if (image->code_kind != OTA_XREF_RAW)
        add_candidate(t, image->code_kind, 0);
}

/* Numbers are learned here from all of the image, but by a board only where they are said to be: so they look better
 * than they are. */
static uint32_t cost_of(const struct ota_xref_unit *u, const uint8_t *actual)
{
    int number = u->kind == OTA_XREF_NUM32;

    if (memcmp(u->pred, actual, u->len) != 0)
        return MISS_COST + (number ? NUMBER_MISS_COST : 0) + u->len;
    return number && memcmp(u->pred, u->old, u->len) != 0 ? NUMBER_COST : 0;
}

/* Add up what every block of old would cost, were all of it of this kind. */
static void try_kind(struct trial *t, const struct ota_xref_plan *plan, uint32_t *cost)
{
    struct ota_xref *x = &t->p.x;

    memset(&x->refs, 0, sizeof x->refs);
    x->cache_mask = t->region.kind == OTA_XREF_NUM32 ? OTA_XREF_PREDICTOR_CACHE - 1 : 0;
    for (uint32_t i = 0; i <= x->cache_mask; i++)
        t->p.cached[i] = (struct ota_xref_cached){0, INT32_MIN};
    x->last_shift = 0;
    for (uint32_t i = 0; i < plan->copy_count; i++) {
        uint32_t left = plan->copies[i].len;

        x->map.here = plan->copies[i];
        x->old_pos = plan->copies[i].old_pos;
        x->new_pos = plan->copies[i].new_pos;
        while (left > 0) {
            struct ota_xref_unit u;

            (void)ota_xref_predict(x, &u, left); /* reading memory does not fail */
            cost[x->old_pos / BLOCK] += cost_of(&u, t->new_data + x->new_pos);
            if (u.form != OTA_XREF_WORD_NUMBER || !ota_image_is_code(t->old_image, x->old_pos))
                ota_xref_observe(x, &u, t->new_data + x->new_pos);
            x->old_pos += u.len;
            x->new_pos += u.len;
            left -= u.len;
        }
    }
}

static int is_code(uint32_t kind)
{
    return kind >= OTA_XREF_A64 && kind <= OTA_XREF_RISCV;
}

/* The candidate of the last block on the cheapest way; the way is in t->from. */
static uint32_t cheapest(struct trial *t, uint32_t change_cost)
{
    uint64_t total[CANDIDATES] = {0}, before[CANDIDATES];
    uint32_t best = 0;

    for (uint32_t b = 0; b < t->blocks; b++) {
        int code = ota_image_is_code(t->old_image, b * BLOCK + BLOCK / 2);

        memcpy(before, total, sizeof before);
        for (uint32_t k = 0; k < t->count; k++) {
            uint64_t stay = before[k], change = before[best] + change_cost;
            int suits = code == is_code(t->candidates[k].kind);

            t->from[(size_t)k * t->blocks + b] = (uint8_t)(change < stay ? best : k);
            total[k] = (change < stay ? change : stay) + t->cost[(size_t)k * t->blocks + b];
            total[k] += suits ? 0 : !code ? CODE_COST : t->candidates[k].kind == OTA_XREF_NUM32 ? NEVER : NO_CODE_COST;
        }
        for (uint32_t k = 0; k < t->count; k++)
            if (total[k] < total[best])
                best = k;
    }
    return best;
}

/* The regions on the way that ends with this candidate; returns how many there are, of which as many are set as there
 * is room for. */
static uint32_t set_regions(struct trial *t, struct ota_xref_plan *plan, uint32_t last)
{
    uint8_t *chosen = t->from; /* the first row is not looked at any more once its block is behind */
    uint32_t count = 0;

    for (uint32_t b = t->blocks; b-- > 0;) {
        uint32_t before = t->from[(size_t)last * t->blocks + b];

        chosen[b] = (uint8_t)last;
        last = before;
    }
    for (uint32_t b = 0; b < t->blocks; b++) {
        struct ota_xref_region *r;

        if ((b > 0 && chosen[b] == chosen[b - 1]) || count++ >= plan->region_limit)
            continue;
        r = &plan->regions[count - 1];
        r->start = b * BLOCK;
        r->kind = t->candidates[chosen[b]].kind;
        r->base = t->candidates[chosen[b]].base;
    }
    plan->region_count = count < plan->region_limit ? count : plan->region_limit;
    return count;
}

/* Regions that there is room for: the dearer another one, the fewer there are. */
static void choose_regions(struct trial *t, struct ota_xref_plan *plan)
{
    uint32_t cost = CHANGE_COST;

    while (set_regions(t, plan, cheapest(t, cost)) > plan->region_limit && cost < CHANGE_COST_MAX)
        cost += cost / 2;
}

int ota_xref_find_regions(struct ota_xref_plan *plan, const struct ota_image *old_image,
                          const struct ota_image *new_image)
{
    struct trial *t = calloc(1, sizeof *t);
    int status = -OTA_E_RAM;

    if (t == NULL)
        return status;
    t->old_image = old_image;
    t->new_data = new_image->data;
    t->blocks = old_image->size / BLOCK + 1;
    list_candidates(t);
    t->cost = calloc((size_t)t->count * t->blocks, sizeof *t->cost);
    t->from = calloc((size_t)t->count * t->blocks, 1);
    t->p.x.regions = &t->region;
    t->p.x.region_count = 1;
    if (t->cost != NULL && t->from != NULL)
        status = ota_xref_predictor_init(&t->p, plan, old_image, new_image);
    if (status == 0) {
        for (uint32_t k = 0; k < t->count; k++) {
            t->region.kind = t->candidates[k].kind;
            t->region.base = t->candidates[k].base;
            try_kind(t, plan, t->cost + (size_t)k * t->blocks);
        }
        choose_regions(t, plan);
    }
    free(t->p.x.map.by_old);
    free(t->from);
    free(t->cost);
    free(t);
    return status;
}
