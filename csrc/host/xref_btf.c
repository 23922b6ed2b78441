/* xref_btf.c - engine xref: the type information of Linux kernels (BTF, Documentation/bpf/btf.rst of Linux).
 *
 * It is a list of types that refer to each other by number and to their names by offset. A type that is put in moves
 * all numbers behind it, so that the list is like nothing in old. For the matcher each reference is replaced by a hash
 * of what it refers to; a board, which knows no format, then takes the words for numbers that move together. */
#include <stdlib.h>
#include <string.h>

#include "xref_form.h"
#include "xref_host.h"

#define HEADER 24u
#define MAGIC 0x0001eb9fu /* with version 1, without flags */
#define NAME_MAX 64u
#define ROUNDS 3u /* types without a name are told by what they refer to, and that by what it refers to, ... */

enum word { PLAIN = 0, NAME, TYPE };

/* What stands behind the three words of a type of each kind, again and again for each member it has. */
struct shape {
    uint8_t counted;  /* as often as the type says; else once */
    uint8_t count;    /* words */
    uint8_t words[3]; /* enum word */
    uint8_t refers;   /* the third word of the type is the number of a type, else a size */
};

static const struct shape shapes[20] = {
    [1] = {0, 1, {PLAIN, 0, 0}, 0},       /* int */
    [2] = {0, 0, {0, 0, 0}, 1},           /* pointer */
    [3] = {0, 3, {TYPE, TYPE, PLAIN}, 0}, /* array */
    [4] = {1, 3, {NAME, TYPE, PLAIN}, 0}, /* struct */
    [5] = {1, 3, {NAME, TYPE, PLAIN}, 0}, /* union */
    [6] = {1, 2, {NAME, PLAIN, 0}, 0},    /* enum */
    [8] = {0, 0, {0, 0, 0}, 1},           /* typedef, then volatile, const, restrict, function */
    [9] = {0, 0, {0, 0, 0}, 1},
    [10] = {0, 0, {0, 0, 0}, 1},
    [11] = {0, 0, {0, 0, 0}, 1},
    [12] = {0, 0, {0, 0, 0}, 1},
    [13] = {1, 2, {NAME, TYPE, 0}, 1},      /* prototype */
    [14] = {0, 1, {PLAIN, 0, 0}, 1},        /* variable */
    [15] = {1, 3, {TYPE, PLAIN, PLAIN}, 0}, /* section */
    [17] = {0, 1, {PLAIN, 0, 0}, 1},        /* tag of a declaration, then of a type */
    [18] = {0, 0, {0, 0, 0}, 1},
    [19] = {1, 3, {NAME, PLAIN, PLAIN}, 0}, /* enum of 64 bits */
};

struct btf {
    const uint8_t *types; /* type_words words */
    const uint8_t *names;
    uint32_t type_words, name_bytes;
    uint32_t count;  /* of types; their numbers begin at 1 */
    uint32_t *at;    /* where each begins, in words */
    uint32_t *label; /* what each is like */
};

static uint32_t word(const struct btf *b, uint32_t i)
{
    return ota_xref_word(b->types + 4 * (size_t)i);
}

static const struct shape *shape_of(uint32_t info)
{
    uint32_t kind = info >> 24 & 31u;

    return &shapes[kind < sizeof shapes / sizeof shapes[0] ? kind : 0];
}

static uint32_t length(uint32_t info)
{
    const struct shape *s = shape_of(info);

    return 3u + s->count * (s->counted ? info & 0xffffu : 1u);
}

static uint32_t name_label(const struct btf *b, uint32_t offset)
{
    uint32_t h = 0x1234567u;

    for (uint32_t i = offset; i < b->name_bytes && i - offset < NAME_MAX && b->names[i] != 0; i++)
        h = ota_xref_hash(h, b->names[i]);
    return h;
}

static uint32_t type_label(const struct btf *b, uint32_t number)
{
    return number == 0 || number > b->count ? 0x2545f491u : b->label[number - 1];
}

/* The next one at or behind *at; its header is sound. 0: there is none. */
static int find(const struct ota_image *image, uint32_t *at, struct btf *b)
{
    for (; image->size - *at >= HEADER; *at += 4) {
        const uint8_t *p = image->data + *at;
        uint64_t left = image->size - *at - HEADER;
        uint32_t types = ota_xref_word(p + 12), names = ota_xref_word(p + 16);

        if (ota_xref_word(p) != MAGIC || ota_xref_word(p + 4) != HEADER || ota_xref_word(p + 8) != 0)
            continue;
        b->name_bytes = ota_xref_word(p + 20);
        if (types % 4 != 0 || names < types || names > left || b->name_bytes > left - names)
            continue;
        b->types = p + HEADER;
        b->type_words = types / 4;
        b->names = p + HEADER + names;
        return 1;
    }
    return 0;
}

/* 0 or -OTA_E_RAM. */
static int list_types(struct btf *b)
{
    b->count = 0;
    b->at = malloc((b->type_words / 3 + 1) * sizeof *b->at);
    b->label = malloc((b->type_words / 3 + 1) * sizeof *b->label);
    if (b->at == NULL || b->label == NULL)
        return -OTA_E_RAM;
    for (uint32_t at = 0; b->type_words - at >= 3 && length(word(b, at + 1)) <= b->type_words - at;) {
        b->label[b->count] = ota_xref_hash(name_label(b, word(b, at)), word(b, at + 1) >> 24);
        b->at[b->count++] = at;
        at += length(word(b, at + 1));
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < b->count; i++) {
            uint32_t info = word(b, b->at[i] + 1), to = word(b, b->at[i] + 2);

            if (word(b, b->at[i]) == 0 && shape_of(info)->refers)
                b->label[i] = ota_xref_hash(info >> 24, type_label(b, to));
        }
    }
    return 0;
}

static void mask(const struct btf *b, uint8_t *copy)
{
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t at = b->at[i], info = word(b, at + 1), end = at + length(info);
        const struct shape *s = shape_of(info);

        ota_xref_word_put(copy + 4 * (size_t)at, name_label(b, word(b, at)));
        if (s->refers)
            ota_xref_word_put(copy + 4 * (size_t)(at + 2), type_label(b, word(b, at + 2)));
        for (uint32_t k = 0; at + 3 + k < end; k++) {
            uint32_t w = word(b, at + 3 + k), what = s->words[k % s->count];

            if (what != PLAIN)
                ota_xref_word_put(copy + 4 * (size_t)(at + 3 + k), what == NAME ? name_label(b, w) : type_label(b, w));
        }
    }
}

int ota_image_mask_btf(const struct ota_image *image, uint8_t *copy)
{
    struct btf b;
    uint32_t at = 0;
    int status = 0;

    while (status == 0 && find(image, &at, &b)) {
        status = list_types(&b);
        if (status == 0)
            mask(&b, copy + (b.types - image->data));
        free(b.at);
        free(b.label);
        at += HEADER + 4 * b.type_words;
    }
    return status;
}
