/* flash_model.c - see flash_model.h */
#include "flash_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GARBAGE 0x5a

static void illegal(const char *what, uint64_t off)
{
    fprintf(stderr, "flash model: illegal: %s at %#llx\n", what, (unsigned long long)off);
    abort();
}

static void inside(const struct flash_model *m, uint64_t off, size_t len)
{
    if (len == 0)
        illegal("nothing asked for", off);
    if (off > m->flash.size || len > m->flash.size - off)
        illegal("outside of the medium", off);
}

static uint32_t block_of(const struct flash_model *m, uint64_t off)
{
    return (uint32_t)(off / m->flash.erase_size);
}

static int has_power(const struct flash_model *m)
{
    return (m->off == NULL || !*m->off) && (m->cut_at == 0 || m->ops < m->cut_at);
}

/* Count an operation that changes the medium. How much of it is done: 2 all, 1 some (m->torn says what), 0 nothing. */
static int begin_op(struct flash_model *m)
{
    if (!has_power(m))
        return 0;
    m->ops++;
    if (m->cut_at == 0 || m->ops < m->cut_at)
        return 2;
    if (m->off != NULL)
        *m->off = 1;
    return m->torn != TORN_NOT ? 1 : 0;
}

/* Bits by chance, the same in every run. */
static uint8_t torn_bits(uint64_t i)
{
    return (uint8_t)((i * 0x9e3779b97f4a7c15u) >> 56);
}

static void set_unreadable(struct flash_model *m, uint64_t off, size_t len, int value)
{
    if (m->flash.kind == OTA_FLASH_NAND)
        memset(m->unreadable + off / m->flash.prog_size, value, len / m->flash.prog_size);
}

/* What is left of programming buf, or of erasing when it is NULL. */
static void tear(struct flash_model *m, uint64_t off, const uint8_t *buf, size_t len)
{
    size_t i;
    enum model_torn torn = m->torn;

    if (m->flash.kind == OTA_FLASH_BLOCK && torn != TORN_HALF && torn != TORN_WEAK)
        memcpy(m->data + off + len / 2, buf + len / 2, len - len / 2);
    for (i = 0; i < len && (m->flash.kind != OTA_FLASH_BLOCK || torn == TORN_HALF || torn == TORN_WEAK); i++) {
        uint8_t want = buf != NULL ? buf[i] : 0xff;
        uint8_t *at = m->data + off + i;

        if (torn == TORN_WEAK || (torn == TORN_HALF && i < len / 2))
            *at = want;
        else if (torn != TORN_HALF) /* programming clears bits, erasing sets them */
            *at = buf != NULL ? (uint8_t)(*at & (want | torn_bits(off + i))) : (uint8_t)(*at | torn_bits(off + i));
    }
    if (torn == TORN_UNREADABLE)
        set_unreadable(m, off, len, 1);
}

static int model_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct flash_model *m = ctx;

    inside(m, off, len);
    if (block_of(m, off) != block_of(m, off + len - 1) && m->flash.kind == OTA_FLASH_NAND)
        illegal("read over the end of a block", off);
    if (m->bad[block_of(m, off)])
        illegal("read of a bad block", off);
    if (!has_power(m) || m->fault[block_of(m, off)] == FAULT_READ)
        return -OTA_E_IO;
    if (m->flash.kind == OTA_FLASH_NAND &&
        memchr(m->unreadable + off / m->flash.prog_size, 1,
               (size_t)((off + len - 1) / m->flash.prog_size - off / m->flash.prog_size + 1)) != NULL)
        return -OTA_E_IO;
    memcpy(buf, m->data + off, len);
    return 0;
}

static void check_prog(const struct flash_model *m, uint64_t off, const uint8_t *buf, size_t len)
{
    const struct ota_flash *f = &m->flash;
    uint32_t block = block_of(m, off);
    size_t i;

    inside(m, off, len);
    if (m->bad[block])
        illegal("prog of a bad block", off);
    if (f->kind == OTA_FLASH_BLOCK)
        return;
    if (m->weak[block])
        illegal("prog of a block whose erase was cut", off);
    if (off % f->prog_size != 0 || len % f->prog_size != 0)
        illegal("prog that is not aligned to a page", off);
    if (block_of(m, off + len - 1) != block)
        illegal("prog over the end of a block", off);
    for (i = 0; i < len && f->kind == OTA_FLASH_NOR; i++) {
        if ((m->data[off + i] & buf[i]) != buf[i])
            illegal("prog that would set a bit", off + i);
    }
    if (f->kind == OTA_FLASH_NAND) {
        if (len != f->prog_size)
            illegal("prog that is not one page", off);
        if (off % f->erase_size / f->prog_size < m->next_page[block])
            illegal("prog of a page that is not erased, or out of order", off);
    }
}

static int model_prog(void *ctx, uint64_t off, const uint8_t *buf, size_t len)
{
    struct flash_model *m = ctx;
    struct ota_flash *f = &m->flash;
    uint32_t block = block_of(m, off);
    uint32_t page = (uint32_t)(off % f->erase_size / f->prog_size);
    int part;
    int fails;

    check_prog(m, off, buf, len);
    if (m->fault[block] == FAULT_READONLY && f->kind == OTA_FLASH_BLOCK)
        return -OTA_E_READONLY;
    part = begin_op(m);
    fails = part == 2 && m->fault[block] == FAULT_PROG && off % f->erase_size >= f->erase_size / 2;
    if (part == 1)
        tear(m, off, buf, len);
    else
        memcpy(m->data + off, buf, part == 0 ? 0 : fails ? len / 2 : len);
    if (part > 0)
        m->next_page[block] = page + 1;
    if (part == 2 && m->fault[block] == FAULT_FLIP && (off + len) % f->erase_size == 0)
        m->data[off] ^= 0x10;
    if (fails)
        m->failed[block] = FAILED_NOW;
    if (part < 2 || fails)
        return -OTA_E_IO;
    m->progs++;
    return 0;
}

static int model_erase(void *ctx, uint64_t off)
{
    struct flash_model *m = ctx;
    struct ota_flash *f = &m->flash;
    uint32_t block = block_of(m, off);
    int part;

    inside(m, off, f->erase_size);
    if (f->kind == OTA_FLASH_BLOCK)
        illegal("erase of a medium without erase", off);
    if (off % f->erase_size != 0)
        illegal("misaligned erase", off);
    if (m->bad[block])
        illegal("erase of a bad block", off);
    if (m->fault[block] == FAULT_READONLY)
        return -OTA_E_READONLY;
    part = begin_op(m);
    if (part == 2 && m->fault[block] == FAULT_ERASE) {
        memset(m->data + off, GARBAGE, f->erase_size);
        m->next_page[block] = m->pages;
        m->failed[block] = FAILED_NOW;
        return -OTA_E_IO;
    }
    if (part == 1) {
        tear(m, off, NULL, f->erase_size);
        m->next_page[block] = m->pages; /* half erased is not erased */
        m->weak[block] = 1;
    }
    if (part < 2)
        return -OTA_E_IO;
    memset(m->data + off, 0xff, f->erase_size);
    set_unreadable(m, off, f->erase_size, 0);
    m->next_page[block] = 0;
    m->weak[block] = 0;
    m->erases++;
    return 0;
}

static int model_is_bad(void *ctx, uint64_t off)
{
    struct flash_model *m = ctx;

    inside(m, off, 1);
    if (off % m->flash.erase_size != 0)
        illegal("misaligned is_bad", off);
    if (!has_power(m) || m->fault[block_of(m, off)] == FAULT_IS_BAD)
        return -OTA_E_IO;
    return m->bad[block_of(m, off)];
}

static int model_mark_bad(void *ctx, uint64_t off)
{
    struct flash_model *m = ctx;

    inside(m, off, 1);
    if (off % m->flash.erase_size != 0)
        illegal("misaligned mark_bad", off);
    if (m->bad[block_of(m, off)])
        illegal("mark_bad of a bad block", off);
    if (begin_op(m) < 2 || m->mark == MARK_FAILS)
        return -OTA_E_IO;
    m->marks++;
    if (m->mark == MARK_WORKS)
        m->bad[block_of(m, off)] = 1;
    return 0;
}

static int model_sync(void *ctx)
{
    struct flash_model *m = ctx;

    m->syncs++;
    return has_power(m) ? 0 : -OTA_E_IO;
}

void model_init(struct flash_model *m, enum ota_flash_kind kind, uint32_t blocks, uint32_t erase, uint32_t page,
                uint64_t size)
{
    memset(m, 0, sizeof *m);
    m->blocks = blocks;
    m->pages = erase / page;
    m->flash.ctx = m;
    m->flash.kind = kind;
    m->flash.size = size;
    m->flash.erase_size = erase;
    m->flash.prog_size = page;
    m->flash.read = model_read;
    m->flash.prog = model_prog;
    m->flash.sync = model_sync;
    if (kind != OTA_FLASH_BLOCK)
        m->flash.erase = model_erase;
    if (kind == OTA_FLASH_NAND) {
        m->flash.is_bad = model_is_bad;
        m->flash.mark_bad = model_mark_bad;
    }
    memset(m->fault, FAULT_NONE, sizeof m->fault);
    m->data = malloc((size_t)blocks * erase);
    if (!m->data || blocks > MODEL_BLOCKS_MAX || size > (uint64_t)blocks * erase)
        illegal("model that cannot be made", size);
    memset(m->data, 0xff, (size_t)blocks * erase);
    m->unreadable = calloc((size_t)blocks * m->pages, 1);
    if (!m->unreadable)
        illegal("model that cannot be made", size);
}

void model_wipe(struct flash_model *m)
{
    memset(m->data, 0xff, (size_t)m->blocks * m->flash.erase_size);
    memset(m->unreadable, 0, (size_t)m->blocks * m->pages);
    memset(m->next_page, 0, sizeof m->next_page);
    memset(m->weak, 0, sizeof m->weak);
    memset(m->bad, 0, sizeof m->bad);
    memset(m->failed, FAILED_NOT, sizeof m->failed);
}

void model_free(struct flash_model *m)
{
    free(m->data);
    free(m->unreadable);
    m->data = m->unreadable = NULL;
}

void model_fill(struct flash_model *m, uint64_t off, const uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        m->data[off + i] = data[i];
        if (data[i] != 0xff)
            m->next_page[block_of(m, off + i)] = m->pages;
    }
}

void model_power_on(struct flash_model *m)
{
    m->cut_at = 0;
    m->torn = TORN_NOT;
    m->ops = 0;
    for (uint32_t i = 0; i < m->blocks; i++)
        m->failed[i] = m->failed[i] != FAILED_NOT ? FAILED_EARLIER : FAILED_NOT;
    m->progs = m->erases = m->marks = m->syncs = 0;
}
