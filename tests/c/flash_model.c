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
    return m->cut_at == 0 || m->ops < m->cut_at;
}

/* Count an operation that changes the medium. How much of it is done: 2 all, 1 half, 0 nothing. */
static int begin_op(struct flash_model *m)
{
    if (!has_power(m))
        return 0;
    m->ops++;
    if (m->cut_at == 0 || m->ops < m->cut_at)
        return 2;
    return m->torn ? 1 : 0;
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
    int part = 0;

    check_prog(m, off, buf, len);
    if (m->fault[block] == FAULT_READONLY && f->kind == OTA_FLASH_BLOCK)
        return -OTA_E_READONLY;
    part = begin_op(m);
    if (part == 2 && m->fault[block] == FAULT_PROG && off % f->erase_size >= f->erase_size / 2)
        part = 1;
    memcpy(m->data + off, buf, part == 2 ? len : part == 1 ? len / 2 : 0);
    if (part > 0)
        m->next_page[block] = page + 1;
    if (part == 2 && m->fault[block] == FAULT_FLIP && (off + len) % f->erase_size == 0)
        m->data[off] ^= 0x10;
    if (part < 2)
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
        return -OTA_E_IO;
    }
    memset(m->data + off, 0xff, part == 2 ? f->erase_size : part == 1 ? f->erase_size / 2 : 0);
    if (part == 1)
        m->next_page[block] = m->pages; /* half erased is not erased */
    if (part < 2)
        return -OTA_E_IO;
    m->next_page[block] = 0;
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
}

void model_free(struct flash_model *m)
{
    free(m->data);
    m->data = NULL;
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
    m->ops = 0;
    m->progs = m->erases = m->marks = m->syncs = 0;
}
