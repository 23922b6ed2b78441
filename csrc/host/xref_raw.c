/* xref_raw.c - engine xref: images without headers. Where they hold instructions is told by how common the usual ones
 * are, and at which address they run by the pointers that changed between old and new. */
#include <stdlib.h>

#include "xref_form.h"
#include "xref_host.h"

#define BLOCK 4096u
#define GAP (4u * BLOCK) /* between stretches of code that are one */
#define PAGE_LOG 12u
#define PAGES (1u << (32 - PAGE_LOG))
#define PAIRS_MAX 16384u
#define VOTES_MAX 4096u
#define TRIES_MAX 256u

/* ---- instructions ------------------------------------------------------------------------------------------------ */

static int usual_a64(uint32_t w)
{
    static const uint8_t tops[] = {0x12, 0x14, 0x17, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x39, 0x52, 0x54, 0x6b, 0x71, 0x72,
                                   0x79, 0x8b, 0x90, 0x91, 0x92, 0x94, 0x97, 0xa8, 0xa9, 0xaa, 0xb0, 0xb4, 0xb5, 0xb9,
                                   0xcb, 0xd0, 0xd1, 0xd2, 0xd3, 0xd5, 0xd6, 0xeb, 0xf0, 0xf1, 0xf8, 0xf9};

    for (unsigned i = 0; i < sizeof tops; i++)
        if (w >> 24 == tops[i])
            return 1;
    return 0;
}

/* Whether 4 KiB hold instructions of this kind. */
static int holds(const uint8_t *p, uint32_t kind)
{
    uint32_t count = 0;

    if (kind == OTA_XREF_THUMB) {
        for (uint32_t at = 0; at + 4 <= BLOCK; at += 2)
            count += (ota_xref_thumb_word(p + at) & 0xf800d000u) == 0xf000d000u;
        return count >= 24;
    }
    for (uint32_t at = 0; at < BLOCK; at += 4) {
        uint32_t w = ota_xref_word(p + at);

        count += (uint32_t)(kind == OTA_XREF_A64 ? usual_a64(w) : w >> 28 == 0xeu);
    }
    return count >= BLOCK / 4 * 6 / 10;
}

void ota_image_find_code(struct ota_image *image)
{
    static const uint32_t kinds[] = {OTA_XREF_A64, OTA_XREF_A32, OTA_XREF_THUMB};
    uint32_t best = 0;

    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        uint32_t count = 0;

        for (uint32_t at = 0; at + BLOCK <= image->size; at += BLOCK)
            count += (uint32_t)holds(image->data + at, kinds[k]);
        if (count > best) {
            best = count;
            image->code_kind = kinds[k];
        }
    }
    image->wide = image->code_kind == OTA_XREF_A64;
    for (uint32_t at = 0; at + BLOCK <= image->size; at += BLOCK) {
        uint32_t n = image->code_count;

        if (image->code_kind == OTA_XREF_RAW || !holds(image->data + at, image->code_kind))
            continue;
        if (n > 0 && (at - image->code[n - 1].end <= GAP || n == OTA_STRETCHES_MAX)) {
            image->code[n - 1].end = at + BLOCK;
        } else {
            image->code[n].start = at;
            image->code[n].end = at + BLOCK;
            image->code_count++;
        }
    }
}

void ota_image_find_data(struct ota_image *image)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i <= image->code_count && image->pointer_count < OTA_STRETCHES_MAX; i++) {
        uint32_t end = i < image->code_count ? image->code[i].start : image->size;

        if (at < end)
            image->pointers[image->pointer_count++] = (struct ota_stretch){at, end};
        at = i < image->code_count ? image->code[i].end : end;
    }
}

/* ---- the address ------------------------------------------------------------------------------------------------- */

struct pair {
    uint32_t was, is; /* lower halves */
};

struct guess {
    const struct ota_image *old_image;
    const struct ota_image *new_image;
    struct ota_xref_map map;
    int64_t *page;  /* votes, as changes from one page to the next */
    uint64_t high;  /* upper half of all addresses */
    uint32_t count; /* of pairs */
    struct pair pairs[PAIRS_MAX];
};

static uint64_t word_of(const uint8_t *p, int wide)
{
    return ota_xref_word(p) | (wide ? (uint64_t)ota_xref_word(p + 4) << 32 : 0);
}

/* Could this be a pointer that changed? */
static int plausible(uint64_t was, uint64_t is, int wide)
{
    if (was == is || is - was + (1u << 22) > 1u << 23 || was >> 32 != is >> 32 || (uint32_t)was < 1u << 16)
        return 0;
    return !wide || was >> 48 == 0xffffu || (was >> 48 == 0 && was >> 32 != 0);
}

/* Pairs of changed pointers, evenly from all of the data. */
static void collect(struct guess *g, const struct ota_xref_span *copies, uint32_t count)
{
    uint32_t step = g->old_image->wide ? 8 : 4, seen = 0, keep = 1;

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *old_at = g->old_image->data + copies[i].old_pos;
        const uint8_t *new_at = g->new_image->data + copies[i].new_pos;

        for (uint32_t at = (0u - copies[i].old_pos) & (step - 1u); at + step <= copies[i].len; at += step) {
            uint64_t was = word_of(old_at + at, g->old_image->wide), is = word_of(new_at + at, g->old_image->wide);

            if (!plausible(was, is, g->old_image->wide) || ota_image_is_code(g->old_image, copies[i].old_pos + at))
                continue;
            if (g->count == 0)
                g->high = was >> 32;
            if (was >> 32 != g->high || seen++ % keep != 0)
                continue;
            if (g->count == PAIRS_MAX) { /* every second one of those that are there and of those that come */
                for (uint32_t k = 0; k < PAIRS_MAX / 2; k++)
                    g->pairs[k] = g->pairs[2 * k];
                g->count = PAIRS_MAX / 2;
                keep *= 2;
            }
            g->pairs[g->count++] = (struct pair){(uint32_t)was, (uint32_t)is};
        }
    }
}

/* Which bases put `was` into a copy that moved just as far as the pointer did? */
static void vote(struct guess *g, struct pair pair)
{
    for (uint32_t i = 0; i < g->map.count; i++) {
        const struct ota_xref_span *c = &g->map.spans[i];
        uint32_t first, last;
        int64_t weight;

        if (c->new_pos - c->old_pos != pair.is - pair.was || pair.was < c->old_pos)
            continue;
        last = (pair.was - c->old_pos) >> PAGE_LOG;
        first = pair.was - c->old_pos < c->len ? 0 : (pair.was - c->old_pos - c->len) >> PAGE_LOG;
        weight = 65536 / (last - first + 1);
        g->page[first] += weight;
        g->page[last + 1] -= weight;
    }
}

/* How many pairs this base explains. */
static uint32_t explained(const struct guess *g, uint32_t base)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < g->count; i++) {
        uint32_t pos = g->pairs[i].was - base;

        sum += pos < g->old_image->size && ota_xref_map_position(&g->map, pos) == g->pairs[i].is - base;
    }
    return sum;
}

/* How many zero bits a page number ends in, 8 at most. */
static uint32_t roundness(uint32_t page)
{
    uint32_t n = 0;

    while (n < 8 && (page >> n & 1u) == 0)
        n++;
    return n;
}

static uint32_t best_base(const struct guess *g)
{
    int64_t sum = 0, most = 0;
    uint32_t tried = 0, best = 0, best_count = 0;

    for (uint32_t p = 0; p < PAGES; p++) {
        sum += g->page[p];
        most = sum > most ? sum : most;
    }
    sum = 0;
    for (uint32_t p = 0; p < PAGES && tried < TRIES_MAX; p++) {
        uint32_t count;

        sum += g->page[p];
        if (sum < most - most / 8 || most == 0)
            continue;
        tried++;
        count = explained(g, p << PAGE_LOG);
        count += count / 32 * roundness(p); /* images run at round addresses */
        if (count > best_count) {
            best_count = count;
            best = p << PAGE_LOG;
        }
    }
    return best;
}

int ota_image_guess_base(struct ota_image *old_image, struct ota_image *new_image, struct ota_xref_span *copies,
                         uint32_t count)
{
    struct guess *g = calloc(1, sizeof *g);
    int status = -OTA_E_RAM;

    if (g == NULL)
        return status;
    g->old_image = old_image;
    g->new_image = new_image;
    g->map.spans = copies;
    g->map.count = count;
    g->map.by_old = malloc(((size_t)count + 1) * sizeof *g->map.by_old);
    g->page = calloc(PAGES + 2, sizeof *g->page);
    if (g->map.by_old != NULL && g->page != NULL) {
        ota_xref_map_sort(&g->map);
        collect(g, copies, count);
        for (uint32_t i = 0; i < g->count; i += 1 + g->count / VOTES_MAX)
            vote(g, g->pairs[i]);
        old_image->segments[0].addr = new_image->segments[0].addr = g->high << 32 | best_base(g);
        status = 0;
    }
    free(g->page);
    free(g->map.by_old);
    free(g);
    return status;
}
