/* xref_form.c - engine xref: fields of instructions that hold a reference. The encodings are those of the manuals:
 * Arm DDI 0487 (A64) and DDI 0406 (A32, Thumb), RISC-V unprivileged ISA, MIPS32. */
#include "xref_form.h"

static uint64_t sign(uint32_t value, unsigned bits)
{
    uint32_t top = 1u << (bits - 1);

    return (uint64_t)(int64_t)(int32_t)(((value & ((top << 1) - 1u)) ^ top) - top);
}

static int fits(uint64_t distance, unsigned bits)
{
    return distance + ((uint64_t)1 << (bits - 1)) < (uint64_t)1 << bits;
}

int ota_xref_a64_low12(uint32_t w, uint32_t *low)
{
    uint32_t imm = w >> 10 & 0xfffu;

    if ((w & 0x7fc00000u) == 0x11000000u) {
        *low = imm;
        return 1;
    }
    if ((w & 0x3b000000u) == 0x39000000u) {
        uint32_t size = w >> 30;

        if ((w & 0x04800000u) == 0x04800000u)
            size = 4;
        *low = imm << size;
        return *low < 4096;
    }
    return 0;
}

static int a64_put_low12(uint32_t *w, uint64_t low)
{
    uint32_t size = 0;

    if ((*w & 0x3b000000u) == 0x39000000u)
        size = (*w & 0x04800000u) == 0x04800000u ? 4 : *w >> 30;
    if (low >= 4096 || (low & ((1u << size) - 1u)) != 0)
        return 0;
    *w = (*w & ~0x003ffc00u) | (uint32_t)(low >> size) << 10;
    return 1;
}

int ota_xref_riscv_low12(uint32_t w, uint32_t *low)
{
    uint32_t op = w & 0x7fu;

    if (op == 0x13u && (w & 0x7000u) == 0) {
        *low = (uint32_t)sign(w >> 20, 12);
        return 1;
    }
    if (op == 0x03u || op == 0x67u || op == 0x07u) {
        *low = (uint32_t)sign(w >> 20, 12);
        return 1;
    }
    if (op == 0x23u || op == 0x27u) {
        *low = (uint32_t)sign((w >> 20 & 0xfe0u) | (w >> 7 & 31u), 12);
        return 1;
    }
    return 0;
}

/* ---- Thumb: words here hold the first halfword low, as in memory ------------------------------------------------- */

static uint32_t swap(uint32_t w)
{
    return w << 16 | w >> 16;
}

static uint64_t thumb_branch24(uint32_t w)
{
    uint32_t s = w >> 26 & 1u, j1 = w >> 13 & 1u, j2 = w >> 11 & 1u;

    return sign(s << 24 | (j1 ^ s ^ 1u) << 23 | (j2 ^ s ^ 1u) << 22 | (w >> 16 & 0x3ffu) << 12 | (w & 0x7ffu) << 1, 25);
}

static uint32_t thumb_put_branch24(uint32_t w, uint32_t d)
{
    uint32_t s = d >> 24 & 1u, j1 = (d >> 23 & 1u) ^ s ^ 1u, j2 = (d >> 22 & 1u) ^ s ^ 1u;

    return (w & 0xf800d000u) | s << 26 | j1 << 13 | j2 << 11 | (d >> 12 & 0x3ffu) << 16 | (d >> 1 & 0x7ffu);
}

static uint64_t thumb_branch20(uint32_t w)
{
    return sign((w >> 26 & 1u) << 20 | (w >> 11 & 1u) << 19 | (w >> 13 & 1u) << 18 | (w >> 16 & 0x3fu) << 12 |
                    (w & 0x7ffu) << 1,
                21);
}

static uint32_t thumb_put_branch20(uint32_t w, uint32_t d)
{
    return (w & 0xfbc0d000u) | (d >> 20 & 1u) << 26 | (d >> 19 & 1u) << 11 | (d >> 18 & 1u) << 13 |
           (d >> 12 & 0x3fu) << 16 | (d >> 1 & 0x7ffu);
}

static uint32_t thumb_imm16(uint32_t w)
{
    return (w >> 16 & 15u) << 12 | (w >> 26 & 1u) << 11 | (w >> 12 & 7u) << 8 | (w & 0xffu);
}

static uint32_t thumb_put_imm16(uint32_t w, uint32_t v)
{
    return (w & 0xfbf08f00u) | (v >> 12 & 15u) << 16 | (v >> 11 & 1u) << 26 | (v >> 8 & 7u) << 12 | (v & 0xffu);
}

/* ---- all forms --------------------------------------------------------------------------------------------------- */

uint64_t ota_xref_form_get(enum ota_xref_form form, uint32_t w, uint64_t pc)
{
    uint32_t t = swap(w);

    switch (form) {
    case OTA_XREF_A64_BRANCH26:
        return pc + sign(w, 26) * 4;
    case OTA_XREF_A64_BRANCH19:
        return pc + sign(w >> 5, 19) * 4;
    case OTA_XREF_A64_BRANCH14:
        return pc + sign(w >> 5, 14) * 4;
    case OTA_XREF_A64_ADR:
        return pc + sign((w >> 5 & 0x7ffffu) << 2 | (w >> 29 & 3u), 21);
    case OTA_XREF_A64_ADRP:
        return (pc & ~(uint64_t)4095) + sign((w >> 5 & 0x7ffffu) << 2 | (w >> 29 & 3u), 21) * 4096;
    case OTA_XREF_A64_LOW12: {
        uint32_t low = 0;

        (void)ota_xref_a64_low12(w, &low);
        return pc + low;
    }
    case OTA_XREF_A32_BRANCH24:
        return pc + sign(w, 24) * 4;
    case OTA_XREF_A32_LOAD:
        return w & 1u << 23 ? pc + (w & 0xfffu) : pc - (w & 0xfffu);
    case OTA_XREF_A32_MOVW:
    case OTA_XREF_A32_MOVT:
        return (w >> 4 & 0xf000u) | (w & 0xfffu);
    case OTA_XREF_T_BRANCH24: /* blx goes to a word boundary */
        return ((t & 0xd000u) == 0xc000u ? pc & ~(uint64_t)3 : pc) + thumb_branch24(t);
    case OTA_XREF_T_BRANCH20:
        return pc + thumb_branch20(t);
    case OTA_XREF_T_BRANCH11:
        return pc + sign((w & 0x7ffu) << 1, 12);
    case OTA_XREF_T_BRANCH8:
        return pc + sign((w & 0xffu) << 1, 9);
    case OTA_XREF_T_CBZ:
        return pc + ((w >> 9 & 1u) << 6 | (w >> 3 & 31u) << 1);
    case OTA_XREF_T_LOAD8:
        return (pc & ~(uint64_t)3) + (w & 0xffu) * 4u;
    case OTA_XREF_T_LOAD12:
        return t & 1u << 23 ? (pc & ~(uint64_t)3) + (t & 0xfffu) : (pc & ~(uint64_t)3) - (t & 0xfffu);
    case OTA_XREF_T_MOVW:
    case OTA_XREF_T_MOVT:
        return thumb_imm16(t);
    case OTA_XREF_WORD32:
    case OTA_XREF_WORD_NUMBER:
        return w;
    case OTA_XREF_WORD_PC:
    case OTA_XREF_WORD_BASE:
        return pc + sign(w, 32);
    case OTA_XREF_WORD_POOL:
        return (pc + w) & 0xffffffffu;
    case OTA_XREF_WORD_PREL31:
        return pc + sign(w, 31);
    case OTA_XREF_MIPS_JUMP:
        return (pc & ~(uint64_t)0x0fffffff) | (w & 0x03ffffffu) << 2;
    case OTA_XREF_RV_JAL:
        return pc +
               sign((w >> 31) << 20 | (w >> 12 & 0xffu) << 12 | (w >> 20 & 1u) << 11 | (w >> 21 & 0x3ffu) << 1, 21);
    case OTA_XREF_RV_AUIPC:
        return pc + sign(w & 0xfffff000u, 32);
    case OTA_XREF_RV_LOW12: {
        uint32_t low = 0;

        (void)ota_xref_riscv_low12(w, &low);
        return pc + (uint64_t)(int64_t)(int32_t)low;
    }
    default:
        return 0;
    }
}

/* A signed distance of `bits` bits in units of 2^shift bytes. */
static int scaled(uint64_t d, unsigned bits, unsigned shift, uint32_t *field)
{
    if ((d & ((1u << shift) - 1u)) != 0 || !fits(d, bits + shift))
        return 0;
    *field = (uint32_t)(d >> shift) & (uint32_t)(((uint64_t)1 << bits) - 1u);
    return 1;
}

static int put_riscv(enum ota_xref_form form, uint32_t *w, uint64_t pc, uint64_t target)
{
    uint64_t d = target - pc;
    uint32_t f;

    if (form == OTA_XREF_RV_JAL) {
        if (!scaled(d, 20, 1, &f))
            return 0;
        *w = (*w & 0xfffu) | (f >> 19) << 31 | (f & 0x3ffu) << 21 | (f >> 10 & 1u) << 20 | (f >> 11 & 0xffu) << 12;
        return 1;
    }
    if (form == OTA_XREF_RV_AUIPC) {
        if (!fits(d, 32))
            return 0;
        *w = (*w & 0xfffu) | (((uint32_t)d + 0x800u) & 0xfffff000u);
        return 1;
    }
    if (!fits(d, 12))
        return 0;
    f = (uint32_t)d & 0xfffu;
    if ((*w & 0x7fu) == 0x23u || (*w & 0x7fu) == 0x27u)
        *w = (*w & 0x01fff07fu) | (f >> 5) << 25 | (f & 31u) << 7;
    else
        *w = (*w & 0x000fffffu) | f << 20;
    return 1;
}

static int put_thumb(enum ota_xref_form form, uint32_t *w, uint64_t pc, uint64_t target)
{
    uint32_t t = swap(*w), f;
    uint64_t word_pc = pc & ~(uint64_t)3;

    switch (form) {
    case OTA_XREF_T_BRANCH24:
        if (!scaled(target - ((t & 0xd000u) == 0xc000u ? word_pc : pc), 24, 1, &f))
            return 0;
        *w = swap(thumb_put_branch24(t, f << 1));
        return 1;
    case OTA_XREF_T_BRANCH20:
        if (!scaled(target - pc, 20, 1, &f))
            return 0;
        *w = swap(thumb_put_branch20(t, f << 1));
        return 1;
    case OTA_XREF_T_BRANCH11:
        if (!scaled(target - pc, 11, 1, &f))
            return 0;
        *w = (*w & ~0x7ffu) | f;
        return 1;
    case OTA_XREF_T_BRANCH8:
        if (!scaled(target - pc, 8, 1, &f))
            return 0;
        *w = (*w & ~0xffu) | f;
        return 1;
    case OTA_XREF_T_CBZ:
        if (target - pc >= 128 || (target - pc) % 2 != 0)
            return 0;
        f = (uint32_t)(target - pc);
        *w = (*w & ~0x2f8u) | (f >> 6) << 9 | (f >> 1 & 31u) << 3;
        return 1;
    case OTA_XREF_T_LOAD8:
        if (target - word_pc >= 1024 || (target - word_pc) % 4 != 0)
            return 0;
        *w = (*w & ~0xffu) | (uint32_t)(target - word_pc) / 4u;
        return 1;
    case OTA_XREF_T_LOAD12:
        if (target - word_pc < 4096)
            *w = swap((t & 0xfffff000u) | 1u << 23 | (uint32_t)(target - word_pc));
        else if (word_pc - target < 4096)
            *w = swap((t & 0xff7ff000u) | (uint32_t)(word_pc - target));
        else
            return 0;
        return 1;
    case OTA_XREF_T_MOVW:
        *w = swap(thumb_put_imm16(t, (uint32_t)target & 0xffffu));
        return 1;
    default:
        *w = swap(thumb_put_imm16(t, (uint32_t)(target >> 16) & 0xffffu));
        return 1;
    }
}

static int put_a64(enum ota_xref_form form, uint32_t *w, uint64_t pc, uint64_t target)
{
    uint32_t f;

    switch (form) {
    case OTA_XREF_A64_BRANCH26:
        if (!scaled(target - pc, 26, 2, &f))
            return 0;
        *w = (*w & 0xfc000000u) | f;
        return 1;
    case OTA_XREF_A64_BRANCH19:
        if (!scaled(target - pc, 19, 2, &f))
            return 0;
        *w = (*w & 0xff00001fu) | f << 5;
        return 1;
    case OTA_XREF_A64_BRANCH14:
        if (!scaled(target - pc, 14, 2, &f))
            return 0;
        *w = (*w & 0xfff8001fu) | f << 5;
        return 1;
    case OTA_XREF_A64_ADR:
    case OTA_XREF_A64_ADRP:
        if (form == OTA_XREF_A64_ADRP) {
            target &= ~(uint64_t)4095;
            pc &= ~(uint64_t)4095;
        }
        if (!scaled(target - pc, 21, form == OTA_XREF_A64_ADRP ? 12 : 0, &f))
            return 0;
        *w = (*w & 0x9f00001fu) | (f >> 2) << 5 | (f & 3u) << 29;
        return 1;
    default:
        return a64_put_low12(w, target - pc);
    }
}

int ota_xref_form_put(enum ota_xref_form form, uint32_t *w, uint64_t pc, uint64_t target)
{
    uint32_t f;

    switch (form) {
    case OTA_XREF_A32_BRANCH24:
        if (!scaled(target - pc, 24, 2, &f))
            return 0;
        *w = (*w & 0xff000000u) | f;
        return 1;
    case OTA_XREF_A32_LOAD:
        if (target - pc < 4096)
            *w = (*w & 0xfffff000u) | 1u << 23 | (uint32_t)(target - pc);
        else if (pc - target < 4096)
            *w = (*w & 0xff7ff000u) | (uint32_t)(pc - target);
        else
            return 0;
        return 1;
    case OTA_XREF_A32_MOVW:
        *w = (*w & 0xfff0f000u) | ((uint32_t)target & 0xf000u) << 4 | ((uint32_t)target & 0xfffu);
        return 1;
    case OTA_XREF_A32_MOVT:
        f = (uint32_t)(target >> 16);
        *w = (*w & 0xfff0f000u) | (f & 0xf000u) << 4 | (f & 0xfffu);
        return 1;
    case OTA_XREF_WORD32:
    case OTA_XREF_WORD_NUMBER:
        *w = (uint32_t)target;
        return 1;
    case OTA_XREF_WORD_PC:
    case OTA_XREF_WORD_BASE:
    case OTA_XREF_WORD_POOL:
        *w = (uint32_t)(target - pc);
        return 1;
    case OTA_XREF_WORD_PREL31:
        *w = (*w & 0x80000000u) | ((uint32_t)(target - pc) & 0x7fffffffu);
        return 1;
    case OTA_XREF_MIPS_JUMP:
        *w = (*w & 0xfc000000u) | ((uint32_t)(target >> 2) & 0x03ffffffu);
        return 1;
    case OTA_XREF_RV_JAL:
    case OTA_XREF_RV_AUIPC:
    case OTA_XREF_RV_LOW12:
        return put_riscv(form, w, pc, target);
    case OTA_XREF_A64_BRANCH26:
    case OTA_XREF_A64_BRANCH19:
    case OTA_XREF_A64_BRANCH14:
    case OTA_XREF_A64_ADR:
    case OTA_XREF_A64_ADRP:
    case OTA_XREF_A64_LOW12:
        return put_a64(form, w, pc, target);
    default:
        return put_thumb(form, w, pc, target);
    }
}

int ota_xref_form_same(enum ota_xref_form form, uint32_t a, uint32_t b)
{
    uint32_t mask;

    switch (form) {
    case OTA_XREF_A64_BRANCH26:
    case OTA_XREF_MIPS_JUMP:
        mask = 0xfc000000u;
        break;
    case OTA_XREF_A64_BRANCH19:
        mask = 0xff00001fu;
        break;
    case OTA_XREF_A64_BRANCH14:
        mask = 0xfff8001fu;
        break;
    case OTA_XREF_A64_ADR:
    case OTA_XREF_A64_ADRP:
        mask = 0x9f00001fu;
        break;
    case OTA_XREF_A64_LOW12:
        mask = 0xffc003ffu;
        break;
    case OTA_XREF_A32_BRANCH24:
        mask = 0xff000000u;
        break;
    case OTA_XREF_A32_LOAD:
        mask = 0xff7ff000u;
        break;
    case OTA_XREF_A32_MOVW:
    case OTA_XREF_A32_MOVT:
        mask = 0xfff0f000u;
        break;
    case OTA_XREF_T_BRANCH24:
        mask = 0xd000f800u;
        break;
    case OTA_XREF_T_BRANCH20:
        mask = 0xd000fbc0u;
        break;
    case OTA_XREF_T_MOVW:
    case OTA_XREF_T_MOVT:
        mask = 0x8f00fbf0u;
        break;
    case OTA_XREF_T_LOAD12:
        mask = 0xf000ff7fu;
        break;
    case OTA_XREF_T_BRANCH11:
    case OTA_XREF_T_BRANCH8:
    case OTA_XREF_T_LOAD8:
        mask = form == OTA_XREF_T_BRANCH11 ? 0xf800u : 0xff00u;
        break;
    case OTA_XREF_T_CBZ:
        mask = 0xfd07u;
        break;
    case OTA_XREF_WORD_PREL31:
        mask = 0x80000000u;
        break;
    case OTA_XREF_RV_JAL:
    case OTA_XREF_RV_AUIPC:
        mask = 0xfffu;
        break;
    case OTA_XREF_RV_LOW12:
        mask = 0x7fu;
        break;
    default:
        return 1;
    }
    return (a & mask) == (b & mask);
}
