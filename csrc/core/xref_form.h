/* xref_form.h - engine xref: fields of instructions that hold a reference. */
#ifndef OTA_XREF_FORM_H
#define OTA_XREF_FORM_H

#include "xref.h"

static inline uint32_t ota_xref_word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void ota_xref_word_put(uint8_t *p, uint32_t w)
{
    p[0] = (uint8_t)w;
    p[1] = (uint8_t)(w >> 8);
    p[2] = (uint8_t)(w >> 16);
    p[3] = (uint8_t)(w >> 24);
}

/* Whether two units of this length are equal. */
static inline int ota_xref_equal(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    return len == 4 ? ota_xref_word(a) == ota_xref_word(b) : memcmp(a, b, len) == 0;
}

/* Two halfwords, the first one high, as the manuals number their bits. */
static inline uint32_t ota_xref_thumb_word(const uint8_t *p)
{
    return (uint32_t)p[1] << 24 | (uint32_t)p[0] << 16 | (uint32_t)p[3] << 8 | (uint32_t)p[2];
}

/* The part of an address that ADD or a load or store adds to the page in its base register. 0: no such instruction. */
int ota_xref_a64_low12(uint32_t w, uint32_t *low);
/* The signed 12 bits that an instruction adds to what auipc made. */
int ota_xref_riscv_low12(uint32_t w, uint32_t *low);

/* The address that word w refers to, made at pc (which the form's bias is part of); for halves of an address what
 * this half gives. */
uint64_t ota_xref_form_get(enum ota_xref_form form, uint32_t w, uint64_t pc);
/* Make w refer to target instead. 0: it cannot. */
int ota_xref_form_put(enum ota_xref_form form, uint32_t *w, uint64_t pc, uint64_t target);
/* Whether two words differ in their reference only. */
int ota_xref_form_same(enum ota_xref_form form, uint32_t a, uint32_t b);

#endif
