/* xref_table.c - engine xref: tables of offsets in images without headers.
 *
 * A kernel knows its symbols by their offsets from the first one, in rising order (kallsyms_offsets of Linux). When a
 * function grows, all behind it change, so that nothing in old is like them unless they are taken for references. Such
 * a table is told by its rising words, and what they count from by the calls in the code, which lead to symbols. */
#include <stdlib.h>

#include "xref_form.h"
#include "xref_host.h"

#define WORDS_MIN 2048u    /* of a table */
#define STEP_MAX 0x10000u  /* from one word to the next */
#define BASE_STEP 0x1000u  /* bases that are tried are multiples of it */
#define BASE_MAX 0x400000u /* and below this */
#define LOOKS 1024u        /* words of a table that are looked up for each base, at most */
#define CALLED_MIN 8u      /* a base is right if calls lead to one of so many words */

/* How many words from `at` on rise as offsets do. */
static uint32_t rising(const struct ota_image *image, uint32_t at)
{
    uint32_t count = 0, last = 0;

    for (; image->size - at >= 4; at += 4, count++) {
        uint32_t w = ota_xref_word(image->data + at);

        if (w >= image->size || (count > 0 && (w < last || w - last > STEP_MAX)))
            break;
        last = w;
    }
    return count;
}

static void find_tables(struct ota_image *image)
{
    uint32_t at = 0;

    while (image->size - at >= 4 && image->table_count < OTA_STRETCHES_MAX) {
        uint32_t count = rising(image, at), first = ota_xref_word(image->data + at);

        if (count >= WORDS_MIN && ota_xref_word(image->data + at + 4 * (count - 1)) - first >= 4 * count)
            image->tables[image->table_count++] = (struct ota_stretch){at, at + 4 * count};
        at += 4 * (count > 0 ? count : 1);
    }
}

/* ---- what offsets count from ------------------------------------------------------------------------------------- */

/* Where the instruction at `at` calls; UINT64_MAX: it does not. */
static uint64_t callee(const struct ota_image *image, uint32_t at)
{
    uint32_t w = ota_xref_word(image->data + at);

    switch (image->code_kind) {
    case OTA_XREF_A64:
        return w >> 26 == 0x25u ? ota_xref_form_get(OTA_XREF_A64_BRANCH26, w, at) : UINT64_MAX;
    case OTA_XREF_A32:
        return w >> 24 == 0xebu ? ota_xref_form_get(OTA_XREF_A32_BRANCH24, w, at + 8u) : UINT64_MAX;
    case OTA_XREF_THUMB:
        return (w & 0xd000f800u) == 0xd000f000u ? ota_xref_form_get(OTA_XREF_T_BRANCH24, w, at + 4u) : UINT64_MAX;
    default:
        return UINT64_MAX;
    }
}

/* A bit for each 4 bytes of the image: whether a call leads there. NULL: no memory. */
static uint8_t *find_called(const struct ota_image *image)
{
    uint8_t *called = calloc(image->size / 32 + 1, 1);
    uint32_t step = image->code_kind == OTA_XREF_THUMB ? 2 : 4;

    for (uint32_t i = 0; called != NULL && i < image->code_count; i++) {
        for (uint32_t at = image->code[i].start; image->code[i].end - at >= 4; at += step) {
            uint64_t to = callee(image, at);

            if (to < image->size)
                called[to / 32] |= (uint8_t)(1u << (to / 4 % 8));
        }
    }
    return called;
}

/* Of the words that are looked up, how many are called if they count from base; *looks: of how many. */
static uint32_t calls(const struct ota_image *image, const uint8_t *called, const struct ota_stretch *table,
                      uint32_t base, uint32_t *looks)
{
    uint32_t words = (table->end - table->start) / 4, step = words / LOOKS + 1, sum = 0;

    *looks = 0;
    for (uint32_t i = 0; i < words; i += step, ++*looks) {
        uint64_t to = (uint64_t)base + ota_xref_word(image->data + table->start + 4 * i);

        sum += to < image->size ? (uint32_t)called[to / 32] >> (to / 4 % 8) & 1u : 0;
    }
    return sum;
}

/* One for all tables: that of the most calls. */
static void find_base(struct ota_image *image, const uint8_t *called)
{
    uint32_t most = 0, looks;

    for (uint32_t i = 0; i < image->table_count; i++) {
        for (uint32_t base = 0; base < BASE_MAX && base < image->size; base += BASE_STEP) {
            uint32_t sum = calls(image, called, &image->tables[i], base, &looks);

            if (sum > most) {
                most = sum;
                image->table_base = base;
            }
        }
    }
}

int ota_image_find_tables(struct ota_image *image)
{
    uint8_t *called;
    uint32_t kept = 0, looks;

    find_tables(image);
    if (image->table_count == 0)
        return 0;
    called = find_called(image);
    if (called == NULL)
        return -OTA_E_RAM;
    find_base(image, called);
    for (uint32_t i = 0; i < image->table_count; i++)
        if (calls(image, called, &image->tables[i], image->table_base, &looks) * CALLED_MIN >= looks)
            image->tables[kept++] = image->tables[i];
    image->table_count = kept;
    free(called);
    return 0;
}
