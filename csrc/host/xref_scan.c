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

/* Whether a long part is an image of instructions, as kernels are: no ELF file, nor does it hold much of them. */
static int is_image(const uint8_t *data, uint32_t size)
{
    struct ota_image *image = malloc(sizeof *image);
    int found = -OTA_E_RAM;

    if (image != NULL) {
        ota_image_read(image, data, size);
        found = !image->is_elf && image->code_kind != OTA_XREF_RAW && !ota_xref_has_programs(data, size);
    }
    free(image);
    return found;
}

static int add_program(struct programs *found, const uint8_t *data, uint32_t start, uint32_t len)
{
    struct program *p = add(found);

    if (p == NULL)
        return -OTA_E_RAM;
    p->start = start;
    p->len = len;
    p->count = ota_sketch(data + start, len, p->sketch, SKETCH);
    return 0;
}

/* ELF files that are not inside of another program, and long parts (start and length of `count`) that are images. 0 or
 * -OTA_E_RAM. */
static int find_programs(const uint8_t *data, uint32_t size, const uint64_t *parts, size_t count,
                         struct programs *found)
{
    uint32_t at = 0, next = 0, len = next_program(data, size, &next);
    int status = 0;

    while (status == 0) {
        if (count > 0 && (len == 0 || parts[0] <= next)) {
            uint32_t start = (uint32_t)parts[0], part_len = (uint32_t)parts[1];

            status = start < at ? 0 : is_image(data + start, part_len);
            parts += 2;
            count--;
            if (status <= 0)
                continue;
            status = add_program(found, data, start, part_len);
            at = start + part_len;
        } else if (len > 0) {
            status = add_program(found, data, next, len);
            at = next + len;
        } else {
            break;
        }
        if (next < at) {
            next = at;
            len = next_program(data, size, &next);
        }
    }
    return status;
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
                        const struct ota_long_parts *parts, struct ota_xref_pair **pairs, uint32_t *count)
{
    static const struct ota_long_parts none;
    struct programs old = {0}, new = {0};
    uint64_t total = 0;
    int status = 0;

    *pairs = NULL;
    *count = 0;
    parts = parts != NULL ? parts : &none;
    if (new_size == 0 || ota_elf_size(new_data, new_size) > new_size / 2) /* it is a program itself */
        return 0;
    status = find_programs(new_data, new_size, parts->new_parts, parts->new_count, &new);
    if (status == 0 && new.count > 0)
        status = find_programs(old_data, old_size, parts->old_parts, parts->old_count, &old);
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
