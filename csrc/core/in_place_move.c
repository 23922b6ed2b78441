/* in_place_move.c - a NAND block that dies while its node is updated onto itself (docs/SPEC.md section 5.5).
 *
 * Who reads the node later leaves out the blocks that are marked bad. So marking one moves all that lies behind it, and
 * that must have been moved before: from the end on, each block is copied into the one behind it. At any moment one
 * block holds nothing that counts, the hole: first a spare block behind the image, at last the dead one. Whoever takes
 * the hole for a bad block reads the node as before, so the digests of the journal hold all the while. The scratch says
 * where the hole is; it is moved on there when the copy is complete, and the copy begins again after a cut.
 */
#include "exec.h"

#include <string.h>

#define MOVE_FILE UINT32_MAX /* its number in the scratch */

static const uint8_t magic[8] = {0x89, 'O', 'T', 'A', 'M', '\r', '\n', 1};

/* ---- what the scratch says of it --------------------------------------------------------------------------------- */

static void encode(const struct ota_record *r, const struct ota_move *m, uint8_t out[OTA_MOVE_BYTES])
{
    struct ota_xxh64 h;
    memcpy(out, magic, 8);
    ota_put_le(out + 8, ota_in_place_file(r, MOVE_FILE), 8);
    ota_put_le(out + 16, m->dead, 8);
    ota_put_le(out + 24, m->hole, 8);
    ota_xxh64_init(&h);
    ota_xxh64_update(&h, out, 32);
    ota_put_le(out + 32, ota_xxh64_value(&h), 8);
}

int ota_move_load(struct ota_exec *ex, const struct ota_flash *flash, struct ota_move *m)
{
    uint8_t raw[OTA_MOVE_BYTES];
    uint8_t want[OTA_MOVE_BYTES];
    uint64_t size = sizeof raw;
    int st;
    if (flash->kind != OTA_FLASH_NAND)
        return 0;
    st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(&ex->rec, MOVE_FILE), &size);
    ex->in_place.file_open = 0;
    if (st != 0)
        return st == ERR(MISSING) ? 0 : st;
    st = ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, 0, raw, sizeof raw);
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    if (st != 0)
        return st;
    m->dead = ota_get_le(raw + 16, 8);
    m->hole = ota_get_le(raw + 24, 8);
    encode(&ex->rec, m, want);
    return memcmp(raw, want, sizeof raw) == 0 && m->dead <= m->hole && m->hole < flash->size &&
           m->dead % flash->erase_size == 0 && m->hole % flash->erase_size == 0;
}

static int save(struct ota_exec *ex, const struct ota_move *m)
{
    uint8_t raw[OTA_MOVE_BYTES];
    int st;
    encode(&ex->rec, m, raw);
    ex->in_place.file_open = 0;
    st = ex->port.image_begin(ex->port.ctx, ota_in_place_file(&ex->rec, MOVE_FILE), sizeof raw);
    if (st == 0)
        st = ex->port.image_write(ex->port.ctx, raw, sizeof raw);
    return st != 0 ? st : ex->port.image_commit(ex->port.ctx);
}

int ota_move_forget(struct ota_exec *ex)
{
    return ex->port.image_remove(ex->port.ctx, ota_in_place_file(&ex->rec, MOVE_FILE));
}

/* ---- moving ------------------------------------------------------------------------------------------------------ */

/* The first good block behind all that is old or new. */
static int find_spare(struct ota_exec *ex, uint64_t *spare)
{
    const struct ota_flash *f = &ex->in_place.part.node;
    uint64_t left = ota_in_place_end(&ex->rec);
    uint64_t at;
    for (at = 0; at < f->size; at += f->erase_size) {
        int bad = f->is_bad(f->ctx, at);
        if (bad < 0)
            return bad;
        if (bad)
            continue;
        if (left == 0) {
            *spare = at;
            return 0;
        }
        left -= left < f->erase_size ? left : f->erase_size;
    }
    return ota_exec_fail(ex, ERR(BAD_BLOCKS), "a block of it died, and there is no spare one behind the image");
}

int ota_move_begin(struct ota_exec *ex, uint64_t dead)
{
    struct ota_in_place *in = &ex->in_place;
    int st;
    in->move.dead = dead;
    if ((st = find_spare(ex, &in->move.hole)) != 0 || (st = save(ex, &in->move)) != 0)
        return st;
    in->part.hole = in->move.hole;
    return 0;
}

/* Mark it, unless that was done before a cut. */
static int mark(const struct ota_flash *f, uint64_t off)
{
    int bad = f->is_bad(f->ctx, off);
    int st;
    if (bad != 0)
        return bad < 0 ? bad : 0;
    if ((st = f->mark_bad(f->ctx, off)) != 0)
        return st;
    bad = f->is_bad(f->ctx, off);
    return bad < 0 ? bad : bad ? 0 : ERR(IO); /* the mark did not stick */
}

/* The hole moves one good block towards the dead one, whose own content is in the journal. */
static int move_one(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    const struct ota_flash *f = &in->part.node;
    uint64_t from = in->move.hole;
    int bad = 1;
    int st;
    while (bad && from > in->move.dead) {
        from -= f->erase_size;
        if ((bad = f->is_bad(f->ctx, from)) < 0)
            return bad;
    }
    if (from != in->move.dead) {
        if ((st = f->read(f->ctx, from, ex->block, f->erase_size)) != 0 ||
            (st = ota_flash_put(f, in->move.hole, ex->block)) != 0)
            return st;
        ex->report.bytes_written += f->erase_size;
    }
    (void)ota_exec_tick(ex);
    in->move.hole = from;
    if ((st = save(ex, &in->move)) == 0)
        in->part.hole = from;
    return st;
}

int ota_move_go(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    const struct ota_flash *f = &in->part.node;
    int st;
    do {
        if ((st = f->is_bad(f->ctx, in->move.hole)) < 0)
            return st;
        if (st > 0 || in->move.hole == in->move.dead)
            break;
        st = move_one(ex);
    } while (st == 0);
    if (st < 0 && st != ERR(BAD_BLOCKS))
        return st;
    /* What lies behind it has been moved. It may be the hole that died on the way: then it is that block's place which
     * is left out, and the first one has its turn again. */
    if ((st = mark(f, in->move.hole)) != 0 || (st = ota_move_forget(ex)) != 0)
        return st;
    in->part.hole = OTA_NO_HOLE;
    ota_flash_reader_init(&ex->source_reader, &ex->target_flash);
    return 0;
}
