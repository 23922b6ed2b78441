/* xref_scan.c - engine xref: programs inside of larger images, and which of old each of new is made from. */
#include <stdlib.h>
#include <string.h>

#include "xref_host.h"

#define SKETCH 64u
#define ALIKE 4u /* numbers that two sketches must share */
#define PROGRAM_MIN 1024u
#define SHARE_MIN 8u /* programs of new that are less than this fraction of it are left to the usual way */

struct program {
    uint32_t start, len;
    uint32_t count;
    uint32_t sketch[SKETCH];
};

struct programs {
    struct program *list;
    uint32_t count, room;
};

static struct program *add(struct programs *p)
{
    if (p->count == p->room) {
        uint32_t room = p->room * 2 + 64;
        struct program *list = realloc(p->list, room * sizeof *list);

        if (list == NULL)
            return NULL;
        p->list = list;
        p->room = room;
    }
    return &p->list[p->count++];
}

/* The first ELF file at or behind *at, at any offset: *at is set to where it is. Returns its length; 0: none. */
static uint32_t next_program(const uint8_t *data, uint32_t size, uint32_t *at)
{
    while (*at < size) {
        const uint8_t *next = memchr(data + *at, 0x7f, size - *at);
        uint32_t len;

        if (next == NULL)
            return 0;
        *at = (uint32_t)(next - data);
        len = ota_elf_size(next, size - *at);
        if (len >= PROGRAM_MIN)
            return len;
        *at += 1;
    }
    return 0;
}

/* All that are not inside of another one. 0 or -OTA_E_RAM. */
static int find_programs(const uint8_t *data, uint32_t size, struct programs *found)
{
    uint32_t len;

    for (uint32_t at = 0; (len = next_program(data, size, &at)) > 0; at += len) {
        struct program *p = add(found);

        if (p == NULL)
            return -OTA_E_RAM;
        p->start = at;
        p->len = len;
        p->count = ota_sketch(data + at, len, p->sketch, SKETCH);
    }
    return 0;
}

/* How many numbers two sketches share. */
static uint32_t shared(const struct program *a, const struct program *b)
{
    uint32_t i = 0, k = 0, n = 0;

    while (i < a->count && k < b->count) {
        if (a->sketch[i] == b->sketch[k]) {
            n++;
            i++;
            k++;
        } else if (a->sketch[i] < b->sketch[k]) {
            i++;
        } else {
            k++;
        }
    }
    return n;
}

static uint32_t apart(uint32_t a, uint32_t b)
{
    return a > b ? a - b : b - a;
}

/* The program of old that is most like p; of equally alike ones that of the nearest size, then the one that follows
 * what the program before was made from. NULL: none is like it. */
static const struct program *most_alike(const struct programs *old, const struct program *p, uint32_t after)
{
    const struct program *best = NULL;
    uint32_t most = ALIKE - 1;

    for (uint32_t i = 0; i < old->count; i++) {
        const struct program *q = &old->list[i];
        uint32_t n = shared(q, p);

        if (n < most || n < ALIKE)
            continue;
        if (best != NULL && n == most) {
            uint32_t was = apart(best->len, p->len), is = apart(q->len, p->len);

            if (is > was || (is == was && apart(q->start, after) >= apart(best->start, after)))
                continue;
        }
        best = q;
        most = n;
    }
    return best;
}

uint64_t ota_program_size(const uint8_t *data, uint64_t size)
{
    uint32_t len = ota_elf_size(data, size < OTA_XREF_CONTENT_MAX ? (uint32_t)size : OTA_XREF_CONTENT_MAX);

    return len < PROGRAM_MIN ? 0 : len;
}

int ota_xref_has_programs(const uint8_t *data, uint32_t size)
{
    uint64_t total = 0;
    uint32_t len;

    for (uint32_t at = 0; (len = next_program(data, size, &at)) > 0; at += len)
        total += len;
    return total > 0 && total >= size / SHARE_MIN;
}

static int pair_up(const struct programs *old, const struct programs *new, struct ota_xref_pair *pairs, uint64_t *total)
{
    uint32_t after = 0, count = 0;

    for (uint32_t i = 0; i < new->count; i++) {
        const struct program *p = &new->list[i], *q = most_alike(old, p, after);

        if (q == NULL)
            continue;
        after = q->start + q->len;
        pairs[count++] = (struct ota_xref_pair){p->start, p->len, q->start, q->len};
        *total += p->len;
    }
    return (int)count;
}

int ota_xref_find_pairs(const uint8_t *old_data, uint32_t old_size, const uint8_t *new_data, uint32_t new_size,
                        struct ota_xref_pair **pairs, uint32_t *count)
{
    struct programs old = {0}, new = {0};
    uint64_t total = 0;
    int status = 0;

    *pairs = NULL;
    *count = 0;
    if (new_size == 0 || ota_elf_size(new_data, new_size) > new_size / 2) /* it is a program itself */
        return 0;
    status = find_programs(new_data, new_size, &new);
    if (status == 0 && new.count > 0)
        status = find_programs(old_data, old_size, &old);
    if (status == 0 && new.count > 0) {
        *pairs = malloc(new.count * sizeof **pairs);
        status = *pairs != NULL ? 0 : -OTA_E_RAM;
    }
    if (status == 0 && new.count > 0)
        *count = (uint32_t)pair_up(&old, &new, *pairs, &total);
    if (total < new_size / SHARE_MIN)
        *count = 0;
    free(old.list);
    free(new.list);
    return status;
}
