/* xref_mask.c - engine xref: copies of old and new that the matcher compares instead of them. */
#include <stdlib.h>
#include <string.h>

#include "xref_form.h"
#include "xref_host.h"

#define LABEL_BYTES 8u
#define POINTER_MIN 0x1000u /* lower ones are numbers */

/* The position of an address; 0: it has none, *inside tells whether it is an address at all. */
static uint32_t position(const struct ota_image *image, uint64_t addr, int *inside)
{
    *inside = 0;
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct ota_xref_segment *s = &image->segments[i];

        if (addr < s->addr || addr - s->addr >= s->mem_size)
            continue;
        *inside = 1;
        return addr - s->addr < s->file_size ? s->off + (uint32_t)(addr - s->addr) : 0;
    }
    return 0;
}

/* What is at the address, as far as it does not depend on where things are. bare: the image without references. */
static uint32_t label(const struct ota_image *image, const uint8_t *bare, uint64_t addr)
{
    int inside;
    uint32_t pos = position(image, addr, &inside), h = 0x1234567u;

    if (pos == 0 || image->size - pos < LABEL_BYTES)
        return 0x2545f491u;
    h = ota_xref_hash(ota_xref_word(bare + pos), ota_xref_word(bare + pos + 4));
    return ota_xref_hash(h, (uint32_t)addr & 3u);
}

static uint64_t pc_of(const struct ota_image *image, uint32_t pos)
{
    for (uint32_t i = 0; i < image->segment_count; i++)
        if (pos >= image->segments[i].off && pos - image->segments[i].off < image->segments[i].file_size)
            return image->segments[i].addr + (pos - image->segments[i].off);
    return pos;
}

/* Replace the operand of the instruction at pos by a label, or blank it when bare is NULL. Returns its length. */
static uint32_t mask_instruction(const struct ota_image *image, const uint8_t *bare, uint8_t *copy, uint32_t pos)
{
    uint32_t w = ota_xref_word(image->data + pos), t;

    switch (image->code_kind) {
    case OTA_XREF_A64:
        if ((w & 0x7c000000u) == 0x14000000u) {
            t = bare ? label(image, bare, ota_xref_form_get(OTA_XREF_A64_BRANCH26, w, pc_of(image, pos))) : 0;
            ota_xref_word_put(copy + pos, (w & 0xfc000000u) | (t & 0x03ffffffu));
        } else if ((w & 0x1f000000u) == 0x10000000u) {
            ota_xref_word_put(copy + pos, w & 0x9f00001fu);
        }
        return 4;
    case OTA_XREF_A32:
        if ((w & 0x0f000000u) == 0x0b000000u) {
            t = bare ? label(image, bare, ota_xref_form_get(OTA_XREF_A32_BRANCH24, w, pc_of(image, pos) + 8)) : 0;
            ota_xref_word_put(copy + pos, (w & 0xff000000u) | (t & 0x00ffffffu));
        }
        return 4;
    case OTA_XREF_THUMB:
        if ((w & 0xc000f800u) == 0xc000f000u) { /* bl, blx */
            /* a label here loses: too many short functions begin alike */
            ota_xref_word_put(copy + pos, w & 0xd000f800u);
            return 4;
        }
        return (w & 0xf800u) >= 0xe800u ? 4 : 2;
    default:
        return 4;
    }
}

static void mask_code(const struct ota_image *image, const uint8_t *bare, uint8_t *copy)
{
    uint32_t unit = image->code_kind == OTA_XREF_THUMB ? 2 : 4;

    for (uint32_t i = 0; i < image->code_count; i++) {
        uint32_t at = (image->code[i].start + unit - 1) & ~(unit - 1), end = image->code[i].end;

        while (at < end && end - at >= 4)
            at += mask_instruction(image, bare, copy, at);
    }
}

static void mask_pointers(const struct ota_image *image, const uint8_t *bare, uint8_t *copy)
{
    uint32_t step = image->wide ? 8 : 4;

    for (uint32_t i = 0; i < image->pointer_count; i++) {
        uint32_t at = (image->pointers[i].start + step - 1) & ~(step - 1), end = image->pointers[i].end;

        for (; at < end && end - at >= step; at += step) {
            uint64_t v = ota_xref_word(image->data + at) |
                         (image->wide ? (uint64_t)ota_xref_word(image->data + at + 4) << 32 : 0);
            int inside = 0;

            if (v >= POINTER_MIN)
                (void)position(image, v, &inside);
            if (inside)
                ota_xref_word_put(copy + at, bare ? label(image, bare, v) : 0);
        }
    }
}

static void mask_tables(const struct ota_image *image, const uint8_t *bare, uint8_t *copy)
{
    uint64_t base = image->segments[0].addr + image->table_base;

    for (uint32_t i = 0; i < image->table_count; i++)
        for (uint32_t at = image->tables[i].start; at < image->tables[i].end; at += 4)
            ota_xref_word_put(copy + at, bare ? label(image, bare, base + ota_xref_word(image->data + at)) : 0);
}

/* Distances of words to what they refer to are told by how many there are together: half of BLOCK words at least. Near
 * ones could be any small number, and are none. */
#define BLOCK 16u
#define NEAR 0x10000

static int is_distance(const struct ota_image *image, uint32_t at)
{
    int32_t d = (int32_t)ota_xref_word(image->data + at);

    return (d >= NEAR || d <= -NEAR) && (uint64_t)((int64_t)at + d) < image->size;
}

/* Jump labels, exported symbols, exceptions, ... of kernels. */
static void mask_distances(const struct ota_image *image, const uint8_t *bare, uint8_t *copy)
{
    for (uint32_t at = 0; image->size - at >= 4 * BLOCK; at += 4 * BLOCK) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < BLOCK; i++)
            count += (uint32_t)is_distance(image, at + 4 * i);
        if (count < BLOCK / 2 || ota_image_is_code(image, at))
            continue;
        for (uint32_t i = at; i < at + 4 * BLOCK; i += 4)
            if (is_distance(image, i))
                ota_xref_word_put(
                    copy + i, bare ? label(image, bare,
                                           pc_of(image, i) + (uint64_t)(int64_t)(int32_t)ota_xref_word(image->data + i))
                                   : 0);
    }
}

/* bare NULL: blank everything. Distances stay as long as the address of an image without headers is not known: it is
 * guessed from what the first match makes of the pointers among them. */
static void mask(const struct ota_image *image, const uint8_t *bare, uint8_t *copy)
{
    memcpy(copy, image->data, image->size);
    mask_code(image, bare, copy);
    if (!image->is_elf && image->pointer_count > 0)
        mask_distances(image, bare, copy);
    mask_pointers(image, bare, copy);
    mask_tables(image, bare, copy);
}

int ota_image_mask(const struct ota_image *image, uint8_t *copy)
{
    uint8_t *bare = malloc((size_t)image->size + 1);

    if (bare == NULL)
        return -OTA_E_RAM;
    mask(image, NULL, bare);
    mask(image, bare, copy);
    free(bare);
    return ota_image_mask_btf(image, copy);
}
