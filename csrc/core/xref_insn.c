/* xref_insn.c - engine xref: which references old holds. */
#include "xref.h"
#include "xref_form.h"

/* Instructions behind one that may complete the address that it begins. */
#define PAIR_AHEAD 12u
#define PAIR_BYTES 128u

/* Groups of A64 instructions (bits 25..28) some of which refer to something. */
#define A64_GROUPS 0x5d00u

static uint64_t old_pc(const struct ota_xref *x, uint32_t pos, uint32_t bias)
{
    return ota_xref_old_address(&x->map, pos) + bias;
}

static void found(struct ota_xref *x, struct ota_xref_unit *u, enum ota_xref_form form, uint32_t bias)
{
    u->form = (uint8_t)form;
    u->old_pc = old_pc(x, u->old_pos, bias);
    u->new_pc = ota_xref_new_address(&x->map, u->new_pos) + bias;
    u->target = ota_xref_form_get(form, ota_xref_word(u->old), u->old_pc);
}

static const struct ota_xref_half *half_of(const struct ota_xref *x, const struct ota_xref_unit *u, uint32_t reg)
{
    const struct ota_xref_half *h = &x->refs.halves[reg & 31u];

    return h->valid && u->old_pos - h->old_pos <= PAIR_BYTES ? h : NULL;
}

static void find_a64(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there)
{
    uint32_t w = ota_xref_word(at), low;
    const struct ota_xref_half *h;

    if (!(A64_GROUPS >> (w >> 25 & 15u) & 1u)) {
        u->op = w & 0xffe00000u;
    } else if ((w & 0x7c000000u) == 0x14000000u) {
        found(x, u, OTA_XREF_A64_BRANCH26, 0);
        u->op = w & 0xfc000000u;
    } else if ((w & 0xff000010u) == 0x54000000u || (w & 0x7e000000u) == 0x34000000u ||
               (w & 0x3b000000u) == 0x18000000u) {
        found(x, u, OTA_XREF_A64_BRANCH19, 0);
        u->op = w & 0xff00001fu;
    } else if ((w & 0x7e000000u) == 0x36000000u) {
        found(x, u, OTA_XREF_A64_BRANCH14, 0);
        u->op = w & 0xfff8001fu;
    } else if ((w & 0x9f000000u) == 0x10000000u) {
        found(x, u, OTA_XREF_A64_ADR, 0);
        u->op = w & 0x9f00001fu;
    } else if ((w & 0x9f000000u) == 0x90000000u) {
        found(x, u, OTA_XREF_A64_ADRP, 0);
        u->op = w & 0x9f00001fu;
        for (size_t i = 4; i + 4 <= there && i <= PAIR_AHEAD * 4; i += 4) {
            uint32_t next = ota_xref_word(at + i);

            if ((next & 0x9f00001fu) == (w & 0x9f00001fu))
                break;
            if (ota_xref_a64_low12(next, &low) && (next >> 5 & 31u) == (w & 31u)) {
                u->target += low;
                break;
            }
        }
    } else if (ota_xref_a64_low12(w, &low) && (h = half_of(x, u, w >> 5)) != NULL) {
        u->form = OTA_XREF_A64_LOW12;
        u->target = h->old_part + low;
        u->old_pc = h->old_part;
        u->new_pc = h->new_part;
        u->op = w & 0xffc003ffu;
    } else {
        u->op = w & 0xffe00000u;
    }
}

/* movw and movt of one register: the other half of the address, in A32 (thumb 0) or Thumb. */
static int movt_ahead(const uint8_t *at, size_t there, int thumb, uint32_t reg, uint32_t *high)
{
    for (size_t i = 4; i + 4 <= there && i <= PAIR_AHEAD * 4; i += thumb ? 2 : 4) {
        uint32_t next = thumb ? ota_xref_thumb_word(at + i) : ota_xref_word(at + i);

        if (thumb ? (next & 0xfbf08000u) == 0xf2c00000u && (next >> 8 & 15u) == reg
                  : (next & 0x0ff00000u) == 0x03400000u && (next >> 12 & 15u) == reg) {
            *high = ota_xref_form_get(thumb ? OTA_XREF_T_MOVT : OTA_XREF_A32_MOVT, thumb ? ota_xref_word(at + i) : next,
                                      0) &
                    0xffffu;
            return 1;
        }
    }
    return 0;
}

static void find_mov(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, int thumb, int top,
                     uint32_t reg)
{
    uint32_t high = 0;
    const struct ota_xref_half *h;
    enum ota_xref_form form =
        thumb ? (top ? OTA_XREF_T_MOVT : OTA_XREF_T_MOVW) : (top ? OTA_XREF_A32_MOVT : OTA_XREF_A32_MOVW);
    uint64_t imm = ota_xref_form_get(form, ota_xref_word(at), 0);

    if (!top && movt_ahead(at, there, thumb, reg, &high)) {
        u->form = (uint8_t)form;
        u->target = high << 16 | imm;
    } else if (top && (h = half_of(x, u, reg)) != NULL) {
        u->form = (uint8_t)form;
        u->target = h->old_part;
        u->new_pc = h->new_part;
    }
}

static struct ota_xref_pool *pool_at(struct ota_xref *x, uint32_t pos)
{
    return &x->refs.pools[pos / 4 % OTA_XREF_POOLS];
}

/* An instruction loads the word at `pos` into a register. */
static void note_load(struct ota_xref *x, uint32_t reg, uint64_t pos)
{
    struct ota_xref_pool *p = pool_at(x, (uint32_t)pos);

    x->refs.loads[reg & 15u] = (uint32_t)pos;
    p->pos = (uint32_t)pos;
    p->old_pc = 0;
    p->new_pc = 0;
}

/* An instruction adds itself to what was loaded into a register. */
static void note_add(struct ota_xref *x, const struct ota_xref_unit *u, uint32_t reg, uint32_t bias)
{
    struct ota_xref_pool *p = pool_at(x, x->refs.loads[reg & 15u]);

    if (p->pos == 0 || p->pos != x->refs.loads[reg & 15u] || p->old_pc != 0)
        return;
    p->old_pc = u->old_pos + bias;
    p->new_pc = u->new_pos + bias;
}

static int find_pool(struct ota_xref *x, struct ota_xref_unit *u)
{
    struct ota_xref_pool *p = pool_at(x, u->old_pos);

    if (u->old_pos % 4 != 0 || u->old_pos == 0 || p->pos != u->old_pos)
        return 0;
    if (p->old_pc == 0) {
        u->form = OTA_XREF_WORD32;
        u->target = ota_xref_word(u->old);
    } else {
        u->form = OTA_XREF_WORD_POOL;
        u->old_pc = ota_xref_old_address(&x->map, p->old_pc);
        u->new_pc = ota_xref_new_address(&x->map, p->new_pc);
        u->target = ota_xref_form_get(OTA_XREF_WORD_POOL, ota_xref_word(u->old), u->old_pc);
    }
    u->op = 0x7001u;
    return 1;
}

static void find_a32(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there)
{
    uint32_t w = ota_xref_word(at);

    if (find_pool(x, u))
        return;
    u->op = w & 0xfff00000u;
    if ((w & 0x0e000000u) == 0x0a000000u) {
        found(x, u, OTA_XREF_A32_BRANCH24, 8);
        u->op = w & 0xff000000u;
    } else if ((w & 0x0f7f0000u) == 0x051f0000u) {
        found(x, u, OTA_XREF_A32_LOAD, 8);
        note_load(x, w >> 12, u->old_pos + 8u + (w & 1u << 23 ? w & 0xfffu : 0u - (w & 0xfffu)));
    } else if ((w & 0x0fff0ff0u) == 0x008f0000u || (w & 0x0fff0ff0u) == 0x079f0000u) {
        note_add(x, u, w, 8);
    } else if ((w & 0x0ff00000u) == 0x03000000u || (w & 0x0ff00000u) == 0x03400000u) {
        find_mov(x, u, at, there, 0, (w & 0x0ff00000u) == 0x03400000u, w >> 12 & 15u);
    }
}

static void find_thumb(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, uint32_t limit)
{
    uint32_t h = (uint32_t)(at[0] | at[1] << 8), w;

    if (limit >= 4 && there >= 4 && find_pool(x, u)) {
        u->len = 4;
        return;
    }
    u->op = h & 0xff00u;
    if (h >= 0xe800u && limit >= 4 && there >= 4) {
        u->len = 4;
        w = ota_xref_thumb_word(at);
        u->op = (w & 0xfff00000u) | (w >> 8 & 0xf0u);
        if ((w & 0xf800d000u) == 0xf000d000u || (w & 0xf800d000u) == 0xf0009000u) {
            found(x, u, OTA_XREF_T_BRANCH24, 4);
            u->op = w & 0xf800d000u;
        } else if ((w & 0xf800d001u) == 0xf000c000u) {
            found(x, u, OTA_XREF_T_BRANCH24, 4);
            u->op = w & 0xf800d000u;
        } else if ((w & 0xf800d000u) == 0xf0008000u && (w & 0x03800000u) != 0x03800000u) {
            found(x, u, OTA_XREF_T_BRANCH20, 4);
            u->op = w & 0xfbc0d000u;
        } else if ((w & 0xff7f0000u) == 0xf85f0000u) {
            found(x, u, OTA_XREF_T_LOAD12, 4);
            note_load(x, w >> 12, (u->old_pos & ~3u) + 4u + (w & 1u << 23 ? w & 0xfffu : 0u - (w & 0xfffu)));
        } else if ((w & 0xfbf08000u) == 0xf2400000u || (w & 0xfbf08000u) == 0xf2c00000u) {
            find_mov(x, u, at, there, 1, (w & 0x00800000u) != 0, w >> 8 & 15u);
        }
        return;
    }
    if ((h & 0xf800u) == 0xe000u) {
        found(x, u, OTA_XREF_T_BRANCH11, 4);
        u->op = 0xe000u;
    } else if ((h & 0xf000u) == 0xd000u && (h & 0x0e00u) != 0x0e00u) {
        found(x, u, OTA_XREF_T_BRANCH8, 4);
    } else if ((h & 0xf500u) == 0xb100u) {
        found(x, u, OTA_XREF_T_CBZ, 4);
    } else if ((h & 0xf800u) == 0x4800u) {
        found(x, u, OTA_XREF_T_LOAD8, 4);
        note_load(x, h >> 8 & 7u, (u->old_pos & ~3u) + 4u + (h & 0xffu) * 4u);
    } else if ((h & 0xff78u) == 0x4478u) {
        note_add(x, u, (h & 7u) | (h >> 4 & 8u), 4);
        u->op = h;
    }
}

static void find_x86(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, uint32_t limit)
{
    uint32_t skip;

    u->op = at[0];
    if (there < 5 || limit < 5)
        return;
    skip = (at[0] & 0xfeu) == 0xe8u || ((at[0] & 0xf0u) == 0x80u && there >= 5) || (at[0] & 0xc7u) == 0x05u;
    if (!skip)
        return;
    u->len = 5;
    u->form = OTA_XREF_X86_REL32;
    u->old_pc = old_pc(x, u->old_pos, 5);
    u->new_pc = ota_xref_new_address(&x->map, u->new_pos) + 5;
    u->target = u->old_pc + (uint64_t)(int64_t)(int32_t)ota_xref_word(at + 1);
}

static void find_riscv(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, uint32_t limit)
{
    uint32_t w, reg, low;
    const struct ota_xref_half *h;

    u->op = at[0];
    if ((at[0] & 3u) != 3u || there < 4 || limit < 4)
        return;
    u->len = 4;
    w = ota_xref_word(at);
    u->op = w & 0x707fu;
    reg = w >> 7 & 31u;
    if ((w & 0x7fu) == 0x6fu) {
        found(x, u, OTA_XREF_RV_JAL, 0);
    } else if ((w & 0x7fu) == 0x17u) {
        found(x, u, OTA_XREF_RV_AUIPC, 0);
        for (size_t i = 4; i + 4 <= there && i <= PAIR_AHEAD * 4; i += 2) {
            uint32_t next = ota_xref_word(at + i);

            if (ota_xref_riscv_low12(next, &low) && (next >> 15 & 31u) == reg) {
                u->target += (uint64_t)(int64_t)(int32_t)low;
                break;
            }
        }
    } else if (ota_xref_riscv_low12(w, &low) && (h = half_of(x, u, w >> 15)) != NULL) {
        u->form = OTA_XREF_RV_LOW12;
        u->target = h->old_part + (uint64_t)(int64_t)(int32_t)low;
        u->old_pc = h->old_part;
        u->new_pc = h->new_part;
    }
}

static void find_word(struct ota_xref *x, struct ota_xref_unit *u)
{
    uint32_t w = ota_xref_word(u->old);

    u->op = u->old_pos / 4 % 2;
    switch (u->kind) {
    case OTA_XREF_PTR32:
        u->form = OTA_XREF_WORD32;
        u->target = w;
        break;
    case OTA_XREF_PTR64:
        u->form = OTA_XREF_WORD64;
        u->target = w | (uint64_t)ota_xref_word(u->old + 4) << 32;
        break;
    case OTA_XREF_NUM32:
        u->form = w != 0 ? OTA_XREF_WORD_NUMBER : OTA_XREF_NONE;
        u->target = w;
        break;
    case OTA_XREF_PC32:
        if (w != 0)
            found(x, u, OTA_XREF_WORD_PC, 0);
        break;
    case OTA_XREF_PREL31:
        if (w >> 31 == 0 && w != 1)
            found(x, u, OTA_XREF_WORD_PREL31, 0);
        break;
    case OTA_XREF_BASE32: {
        uint32_t base = x->regions[x->region].base;

        u->form = OTA_XREF_WORD_BASE;
        u->old_pc = ota_xref_old_address(&x->map, base);
        u->new_pc = ota_xref_new_address(&x->map, ota_xref_map_position(&x->map, base));
        u->target = ota_xref_form_get(OTA_XREF_WORD_BASE, w, u->old_pc);
        break;
    }
    default:
        break;
    }
}

void ota_xref_find(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, uint32_t limit)
{
    u->form = OTA_XREF_NONE;
    u->op = 0;
    switch (u->kind) {
    case OTA_XREF_THUMB:
        if (u->len == 2)
            find_thumb(x, u, at, there, limit);
        break;
    case OTA_XREF_X86:
        find_x86(x, u, at, there, limit);
        break;
    case OTA_XREF_RISCV:
        if (u->len == 2)
            find_riscv(x, u, at, there, limit);
        break;
    case OTA_XREF_PTR64:
        if (u->len == 8)
            find_word(x, u);
        break;
    default:
        if (u->len != 4)
            break;
        if (u->kind == OTA_XREF_A64)
            find_a64(x, u, at, there);
        else if (u->kind == OTA_XREF_A32)
            find_a32(x, u, at, there);
        else if (u->kind == OTA_XREF_MIPS && (ota_xref_word(at) >> 27) == 1)
            found(x, u, OTA_XREF_MIPS_JUMP, 4);
        else if (u->kind != OTA_XREF_MIPS)
            find_word(x, u);
        break;
    }
}

/* Which may refer, by bits 20..27 of A32 instructions and the high byte of the first halfword of Thumb ones. */
static const uint32_t a32_refers[8] = {0x00000100, 0x00110000, 0x02020000, 0x02000000, 0, 0xffffffff, 0, 0};
static const uint32_t thumb_refers[8] = {0, 0, 0x0000ff10, 0, 0, 0x0a0a0000, 0xffff0000, 0x01ff00ff};

/* Of those groups, loads and stores with an offset from a register are many and seldom part of an address. */
static int a64_may_refer(const struct ota_xref *x, uint32_t old_pos, uint32_t w)
{
    const struct ota_xref_half *h = &x->refs.halves[w >> 5 & 31u];

    if ((w & 0x0a000000u) != 0x08000000u || (w & 0x3b000000u) == 0x18000000u)
        return 1;
    return (w & 0x3b000000u) == 0x39000000u && h->valid && old_pos - h->old_pos <= PAIR_BYTES;
}

int ota_xref_may_refer(const struct ota_xref *x, uint32_t kind, uint32_t old_pos, const uint8_t *at, uint32_t *len)
{
    uint32_t w = ota_xref_word(at);

    switch (kind) {
    case OTA_XREF_A64:
        return (A64_GROUPS >> (w >> 25 & 15u) & 1u) != 0 && a64_may_refer(x, old_pos, w);
    case OTA_XREF_A32:
        return (a32_refers[w >> 25 & 7u] >> (w >> 20 & 31u) & 1u) != 0 ||
               x->refs.pools[old_pos / 4 % OTA_XREF_POOLS].pos == old_pos;
    case OTA_XREF_THUMB:
        *len = (w & 0xffffu) >= 0xe800u ? 4 : 2;
        return (thumb_refers[w >> 13 & 7u] >> (w >> 8 & 31u) & 1u) != 0 ||
               (old_pos % 4 == 0 && x->refs.pools[old_pos / 4 % OTA_XREF_POOLS].pos == old_pos);
    default:
        return 1;
    }
}
