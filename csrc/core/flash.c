/* flash.c - write an image to a medium block by block, and read one back, with bad blocks left out.
 *
 * Per block: read it and skip it when it is right already (a re-run after a cut goes on where it stopped, and wear is
 * spared), else erase, program page by page, read back and compare. The bytes stay in the caller's buffer until they
 * have verified.
 *
 * NAND: a block that fails to erase, to program or to verify is marked bad, and the held bytes go to the next good
 * one. Whoever reads the image later (a boot loader, the kernel) finds its bytes by leaving out the marked blocks, so
 * two things end the update instead: a block that cannot be marked (it would be read as part of the image), and
 * FAILS_IN_ROW blocks failing one after the other (that is a sick device, and marking on would use up the chip).
 * Only OTA_E_IO counts as a failing block: a port reports a medium that refuses writes by other codes.
 *
 * A block is erased before it is programmed even if it reads as erased: an erase that was cut off can leave bits that
 * read as 1 without being stable.
 */
#include "flash.h"

#include <string.h>

#define COMPARE_BYTES 512u /* stack buffer for reading back */
#define NOR_PAGE 256u      /* unit of programming, and of skipping what is all 0xFF, where any length goes */
#define FAILS_IN_ROW 4u /* blocks that may fail for the same bytes; independent failures of 2 % give 1 in 6 million */

static int has_erase(const struct ota_flash *f)
{
    return f->kind != OTA_FLASH_BLOCK;
}

/* 0 good, 1 bad, negative status. */
static int block_bad(const struct ota_flash *f, uint64_t off)
{
    int r;

    if (f->kind != OTA_FLASH_NAND)
        return 0;
    r = f->is_bad(f->ctx, off);
    return r > 0 ? 1 : r;
}

/* 0, or why the geometry cannot be worked with: OTA_E_NODE. The arithmetic below relies on it. */
static int check_geometry(const struct ota_flash *f)
{
    uint32_t erase = f->erase_size;
    uint32_t prog = f->prog_size;

    if (!has_erase(f))
        return 0;
    if (erase == 0 || (erase & (erase - 1)) != 0 || prog == 0 || (prog & (prog - 1)) != 0 || prog > erase)
        return -OTA_E_NODE;
    if ((f->size & (erase - 1)) != 0)
        return -OTA_E_NODE;
    if (!f->erase || (f->kind == OTA_FLASH_NAND && (!f->is_bad || !f->mark_bad)))
        return -OTA_E_INTERNAL;
    return 0;
}

/* Bytes in the good blocks from `off` on; stops counting at `enough`. */
static int good_bytes_from(const struct ota_flash *f, uint64_t off, uint64_t enough, uint64_t *bytes)
{
    uint64_t sum = 0;
    int r;

    if (f->kind != OTA_FLASH_NAND) {
        *bytes = f->size - off;
        return 0;
    }
    for (; off < f->size && sum < enough; off += f->erase_size) {
        r = block_bad(f, off);
        if (r < 0)
            return r;
        if (r == 0)
            sum += f->erase_size;
    }
    *bytes = sum;
    return 0;
}

/* 1 when the medium holds exactly these bytes at `off`, 0 when not, negative when it cannot be read. */
static int holds(const struct ota_flash *f, uint64_t off, const uint8_t *data, uint32_t len)
{
    uint8_t back[COMPARE_BYTES];
    uint32_t at;
    uint32_t n;
    int r;

    for (at = 0; at < len; at += n) {
        n = len - at < COMPARE_BYTES ? len - at : COMPARE_BYTES;
        r = f->read(f->ctx, off + at, back, n);
        if (r < 0)
            return r;
        if (memcmp(back, data + at, n) != 0)
            return 0;
    }
    return 1;
}

static int all_ones(const uint8_t *data, uint32_t len)
{
    return data[0] == 0xff && (len == 1 || memcmp(data, data + 1, len - 1) == 0);
}

/* Program `len` bytes to an erased block, leaving out pages that stay erased. */
static int program_pages(struct ota_flash_writer *w, uint32_t len)
{
    const struct ota_flash *f = w->flash;
    uint32_t page = f->prog_size;
    uint32_t at;
    int r;

    if (f->kind == OTA_FLASH_NOR && page < NOR_PAGE)
        page = f->erase_size < NOR_PAGE ? f->erase_size : NOR_PAGE;
    for (at = 0; at < len; at += page) {
        if (all_ones(w->buf + at, page))
            continue;
        r = f->prog(f->ctx, w->phys + at, w->buf + at, page);
        if (r < 0)
            return r;
        w->written += page;
    }
    return 0;
}

/* Bring the block at phys to the held bytes. -OTA_E_VERIFY: it reads back as something else. */
static int write_block(struct ota_flash_writer *w, uint32_t len)
{
    const struct ota_flash *f = w->flash;
    int r;

    /* What cannot be read is not right; writing it anew may well heal it. */
    if (holds(f, w->phys, w->buf, len) == 1) {
        w->skipped++;
        return 0;
    }
    if (has_erase(f)) {
        r = f->erase(f->ctx, w->phys);
        if (r == 0)
            r = program_pages(w, len);
    } else {
        r = f->prog(f->ctx, w->phys, w->buf, len);
        if (r == 0)
            w->written += len;
    }
    if (r < 0)
        return r;
    r = holds(f, w->phys, w->buf, len);
    if (r < 0)
        return r;
    return r ? 0 : -OTA_E_VERIFY;
}

/* Move phys on to the next good block. */
static int find_good(struct ota_flash_writer *w)
{
    const struct ota_flash *f = w->flash;
    int r;

    for (; w->phys < f->size; w->phys += f->erase_size) {
        r = block_bad(f, w->phys);
        if (r <= 0)
            return r;
    }
    return -OTA_E_BAD_BLOCKS;
}

/* Mark the block at phys bad for good, and see that the good ones behind it hold the rest of the image. */
static int retire_block(struct ota_flash_writer *w)
{
    const struct ota_flash *f = w->flash;
    uint64_t rest = w->size - (w->taken - w->fill);
    uint64_t good;
    int r;

    r = f->mark_bad(f->ctx, w->phys);
    if (r < 0)
        return r;
    r = block_bad(f, w->phys);
    if (r <= 0)
        return r < 0 ? r : -OTA_E_IO; /* the mark did not stick */
    w->new_bad++;
    w->phys += f->erase_size;
    r = good_bytes_from(f, w->phys, rest, &good);
    if (r < 0)
        return r;
    return good < rest ? -OTA_E_BAD_BLOCKS : 0;
}

/* Write the block at phys, as often as it takes. */
static int insist(struct ota_flash_writer *w, uint32_t len)
{
    uint32_t fails;
    int r = 0;

    for (fails = 0; fails < FAILS_IN_ROW; fails++) {
        r = write_block(w, len);
        if (w->flash->kind != OTA_FLASH_NAND || (r != -OTA_E_IO && r != -OTA_E_VERIFY))
            return r;
    }
    w->died = 1;
    return -OTA_E_BAD_BLOCKS;
}

int ota_flash_put(const struct ota_flash *flash, uint64_t phys, uint8_t *buf)
{
    struct ota_flash_writer w;

    memset(&w, 0, sizeof w);
    w.flash = flash;
    w.buf = buf;
    w.block = flash->erase_size;
    w.phys = phys;
    return insist(&w, w.block);
}

/* Write what the buffer holds: a whole block, or the last part of the image. */
static int flush_buffer(struct ota_flash_writer *w)
{
    const struct ota_flash *f = w->flash;
    uint32_t len = w->fill;
    uint32_t fails = 0;
    int r;

    if (has_erase(f)) {
        memset(w->buf + w->fill, 0xff, w->block - w->fill);
        len = w->block;
    }
    for (;;) {
        if (f->kind == OTA_FLASH_NAND) {
            r = find_good(w);
            if (r < 0)
                return r;
        }
        r = w->fixed ? insist(w, len) : write_block(w, len);
        if (r == 0)
            break;
        if (w->fixed || f->kind != OTA_FLASH_NAND || (r != -OTA_E_IO && r != -OTA_E_VERIFY))
            return r;
        r = retire_block(w);
        if (r < 0)
            return r;
        if (++fails == FAILS_IN_ROW)
            return -OTA_E_BAD_BLOCKS;
    }
    w->phys += len;
    w->fill = 0;
    return 0;
}

static int writer_check(struct ota_flash_writer *w, uint64_t off, uint32_t buf_len)
{
    const struct ota_flash *f = w->flash;
    uint64_t good;
    int r;

    r = check_geometry(f);
    if (r < 0)
        return r;
    w->block = has_erase(f) ? f->erase_size : buf_len & ~511u;
    if (w->block == 0 || w->block > buf_len)
        return -OTA_E_RAM;
    if (off > f->size || w->size > f->size - off)
        return -OTA_E_TOO_SMALL;
    if (off % w->block % 512u != 0 || (has_erase(f) && off % w->block != 0))
        return -OTA_E_INTERNAL;
    r = good_bytes_from(f, 0, off + w->size, &good);
    if (r < 0)
        return r;
    return good < off + w->size ? -OTA_E_BAD_BLOCKS : 0;
}

int ota_flash_writer_init(struct ota_flash_writer *w, const struct ota_flash *flash, uint64_t size, uint8_t *buf,
                          uint32_t buf_len)
{
    memset(w, 0, sizeof *w);
    w->flash = flash;
    w->buf = buf;
    w->size = size;
    w->status = writer_check(w, 0, buf_len);
    return w->status;
}

int ota_flash_writer_init_at(struct ota_flash_writer *w, const struct ota_flash *flash, uint64_t off, uint64_t size,
                             uint8_t *buf, uint32_t buf_len)
{
    int bad;

    memset(w, 0, sizeof *w);
    w->flash = flash;
    w->buf = buf;
    w->size = size;
    w->fixed = 1;
    w->status = writer_check(w, off, buf_len);
    if (w->status != 0 || flash->kind != OTA_FLASH_NAND) {
        w->phys = off;
        return w->status;
    }
    for (;; w->phys += w->block) { /* as many good blocks are left out as lie before off */
        bad = block_bad(flash, w->phys);
        if (bad < 0)
            return w->status = bad;
        if (bad)
            continue;
        if (off == 0)
            return 0;
        off -= w->block;
    }
}

int ota_flash_writer_write(struct ota_flash_writer *w, const uint8_t *data, size_t len)
{
    uint32_t n;

    if (w->status < 0)
        return w->status;
    if (len > w->size - w->taken) {
        w->status = -OTA_E_RESULT;
        return w->status;
    }
    while (len > 0) {
        n = w->block - w->fill;
        if (len < n)
            n = (uint32_t)len;
        memcpy(w->buf + w->fill, data, n);
        w->fill += n;
        w->taken += n;
        data += n;
        len -= n;
        if (w->fill == w->block) {
            w->status = flush_buffer(w);
            if (w->status < 0)
                return w->status;
        }
    }
    return 0;
}

int ota_flash_writer_finish(struct ota_flash_writer *w)
{
    if (w->status < 0)
        return w->status;
    if (w->taken != w->size)
        w->status = -OTA_E_RESULT;
    else if (w->fill > 0)
        w->status = flush_buffer(w);
    if (w->status == 0 && w->flash->sync)
        w->status = w->flash->sync(w->flash->ctx);
    return w->status;
}

void ota_flash_reader_init(struct ota_flash_reader *r, const struct ota_flash *flash)
{
    r->flash = flash;
    r->logical = 0;
    r->physical = 0;
}

/* Bring r to the good block that holds the logical offset. Always true: `logical` bytes are good before `physical`. */
static int reader_seek(struct ota_flash_reader *r, uint64_t off)
{
    const struct ota_flash *f = r->flash;
    int bad;

    while (off < r->logical) {
        bad = block_bad(f, r->physical - f->erase_size);
        if (bad < 0)
            return bad;
        r->physical -= f->erase_size;
        if (!bad)
            r->logical -= f->erase_size;
    }
    while (r->physical < f->size) {
        bad = block_bad(f, r->physical);
        if (bad < 0)
            return bad;
        if (!bad) {
            if (off - r->logical < f->erase_size)
                return 0;
            r->logical += f->erase_size;
        }
        r->physical += f->erase_size;
    }
    return -OTA_E_DELTA;
}

int ota_flash_read_at(struct ota_flash_reader *r, uint64_t off, uint8_t *buf, size_t len)
{
    const struct ota_flash *f = r->flash;
    size_t n;
    int status;

    if (f->kind != OTA_FLASH_NAND) {
        if (off > f->size || len > f->size - off)
            return -OTA_E_DELTA;
        return len ? f->read(f->ctx, off, buf, len) : 0;
    }
    status = check_geometry(f);
    if (status < 0)
        return status;
    while (len > 0) {
        status = reader_seek(r, off);
        if (status < 0)
            return status;
        n = f->erase_size - (size_t)(off - r->logical);
        if (len < n)
            n = len;
        status = f->read(f->ctx, r->physical + (off - r->logical), buf, n);
        if (status < 0)
            return status;
        off += n;
        buf += n;
        len -= n;
    }
    return 0;
}

uint64_t ota_flash_good_bytes(const struct ota_flash *flash, int *status)
{
    uint64_t bytes = 0;

    *status = check_geometry(flash);
    if (*status == 0)
        *status = good_bytes_from(flash, 0, flash->size, &bytes);
    return bytes;
}

/* ---- a part of a medium ------------------------------------------------------------------------------------------ */

static int part_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    const struct ota_flash_part *p = ctx;

    return p->node.read(p->node.ctx, p->base + off, buf, len);
}

static int part_prog(void *ctx, uint64_t off, const uint8_t *buf, size_t len)
{
    const struct ota_flash_part *p = ctx;

    return p->node.prog(p->node.ctx, p->base + off, buf, len);
}

static int part_erase(void *ctx, uint64_t off)
{
    const struct ota_flash_part *p = ctx;

    return p->node.erase(p->node.ctx, p->base + off);
}

static int part_is_bad(void *ctx, uint64_t off)
{
    const struct ota_flash_part *p = ctx;

    return p->base + off == p->hole ? 1 : p->node.is_bad(p->node.ctx, p->base + off);
}

static int part_mark_bad(void *ctx, uint64_t off)
{
    const struct ota_flash_part *p = ctx;

    return p->node.mark_bad(p->node.ctx, p->base + off);
}

static int part_sync(void *ctx)
{
    const struct ota_flash_part *p = ctx;

    return p->node.sync != NULL ? p->node.sync(p->node.ctx) : 0;
}

struct ota_flash ota_flash_of_part(struct ota_flash_part *part, uint64_t size)
{
    struct ota_flash flash = part->node;

    flash.ctx = part;
    flash.size = size;
    flash.read = part_read;
    flash.prog = part_prog;
    flash.erase = part_erase;
    flash.is_bad = part_is_bad;
    flash.mark_bad = part_mark_bad;
    flash.sync = part_sync;
    return flash;
}
