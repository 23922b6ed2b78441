/* in_place.c - a node that is updated onto itself: what it and the journal say (docs/SPEC.md section 5.5).
 *
 * The node is seen as units of rec.unit bytes. The digest of many units is the XOR of the digests of each, so that it
 * can be kept up to date when one of them changes, and so that it can leave one out: the unit that was being written
 * when the power went may hold anything.
 */
#include "exec.h"

#include <string.h>

static const uint8_t magic[8] = {0x89, 'O', 'T', 'A', 'J', '\r', '\n', 0x01};

#define HANDED_IN_FRONT (UINT32_C(1) << 31)

/* ---- names and sizes --------------------------------------------------------------------------------------------- */

uint64_t ota_in_place_end(const struct ota_record *r)
{
    return r->size > r->source.size ? r->size : r->source.size;
}

uint64_t ota_in_place_units(const struct ota_record *r)
{
    return (r->size + r->unit - 1) / r->unit;
}

uint32_t ota_in_place_new_len(const struct ota_record *r, uint32_t unit)
{
    uint64_t left = r->size - (uint64_t)unit * r->unit;
    return left < r->unit ? (uint32_t)left : r->unit;
}

void ota_put_le(uint8_t *p, uint64_t v, unsigned bytes)
{
    unsigned i;
    for (i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

uint64_t ota_get_le(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

static uint64_t digest_of(const uint8_t *p, size_t len)
{
    struct ota_xxh64 h;
    ota_xxh64_init(&h);
    ota_xxh64_update(&h, p, len);
    return ota_xxh64_value(&h);
}

/* 0 is the journal, n + 1 the bytes that segment n keeps. The name holds all that must be the same to go on: another
 * package, or this one for another node, does not find these files. */
uint64_t ota_in_place_file(const struct ota_record *r, uint32_t number)
{
    uint8_t id[56];
    ota_put_le(id, r->source.size, 8);
    ota_put_le(id + 8, r->source.digest, 8);
    ota_put_le(id + 16, r->size, 8);
    ota_put_le(id + 24, r->digest, 8);
    ota_put_le(id + 32, r->plan, 8);
    ota_put_le(id + 40, digest_of((const uint8_t *)r->targets[0].p, r->targets[0].len), 8);
    ota_put_le(id + 48, r->unit, 4);
    ota_put_le(id + 52, number, 4);
    return digest_of(id, sizeof id);
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

void ota_journal_encode(const struct ota_record *r, const struct ota_journal *j, uint8_t out[OTA_JOURNAL_BYTES])
{
    memcpy(out, magic, 8);
    ota_put_le(out + 8, ota_in_place_file(r, 0), 8);
    ota_put_le(out + 16, j->seq, 4);
    ota_put_le(out + 20, j->unit, 4);
    ota_put_le(out + 24, j->ready, 4);
    ota_put_le(out + 28, j->handed.len | (j->handed.len > 0 && j->handed.in_front ? HANDED_IN_FRONT : 0), 4);
    ota_put_le(out + 32, j->rest, 8);
    ota_put_le(out + 40, j->digest, 8);
    ota_put_le(out + 48, r->size, 8);
    ota_put_le(out + 56, r->source.size, 8);
    ota_put_le(out + 64, digest_of(out, 64), 8);
}

/* 1: there is a journal for this record; 0: there is none that counts. */
int ota_journal_load(struct ota_exec *ex, struct ota_journal *j)
{
    const struct ota_record *r = &ex->rec;
    uint8_t raw[OTA_JOURNAL_BYTES];
    uint8_t want[OTA_JOURNAL_BYTES];
    uint64_t size = OTA_ANY_SIZE;
    int st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(r, 0), &size);
    ex->in_place.file_open = 0;
    if (st != 0)
        return st == ERR(MISSING) ? 0 : st;
    st = size < sizeof raw ? 0 : ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, 0, raw, sizeof raw);
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    if (st != 0 || size < sizeof raw)
        return st;
    j->seq = (uint32_t)ota_get_le(raw + 16, 4);
    j->unit = (uint32_t)ota_get_le(raw + 20, 4);
    j->ready = (uint32_t)ota_get_le(raw + 24, 4);
    j->handed.len = (uint32_t)ota_get_le(raw + 28, 4) & ~HANDED_IN_FRONT;
    j->handed.in_front = raw[31] >> 7;
    j->rest = ota_get_le(raw + 32, 8);
    j->digest = ota_get_le(raw + 40, 8);
    ota_journal_encode(r, j, want);
    if (memcmp(raw, want, sizeof raw) != 0 || size != sizeof raw + (uint64_t)j->ready + j->handed.len)
        return 0;
    return j->unit < ota_in_place_units(r) && j->seq < ota_in_place_units(r) &&
           (j->ready == 0 || j->ready == ota_in_place_new_len(r, j->unit));
}

/* ---- the node ---------------------------------------------------------------------------------------------------- */

static void unit_digest_begin(struct ota_xxh64 *h, uint64_t unit)
{
    uint8_t number[8];
    ota_put_le(number, unit, 8);
    ota_xxh64_init(h);
    ota_xxh64_update(h, number, sizeof number);
}

int ota_in_place_unit_digest(struct ota_exec *ex, struct ota_flash_reader *node, uint64_t unit, uint64_t *digest)
{
    uint64_t at = unit * ex->rec.unit;
    uint64_t end = ota_in_place_end(&ex->rec);
    struct ota_xxh64 h;
    if (end - at > ex->rec.unit)
        end = at + ex->rec.unit;
    unit_digest_begin(&h, unit);
    while (at < end) {
        size_t n = sizeof ex->small < end - at ? sizeof ex->small : (size_t)(end - at);
        int st = ota_flash_read_at(node, at, ex->small, n);
        if (st != 0)
            return st;
        ota_xxh64_update(&h, ex->small, n);
        at += n;
    }
    *digest = ota_xxh64_value(&h);
    return 0;
}

/* What one pass over the node tells. */
struct look {
    struct ota_xxh64 as_new;
    struct ota_xxh64 as_old;
    struct ota_xxh64 unit;
    struct ota_xxh64 journalled; /* the new bytes of the journal's unit */
    int readable;                /* all of it */
    int rest_readable;           /* all but the journal's unit */
};

static size_t below(uint64_t end, uint64_t at, size_t n)
{
    return at >= end ? 0 : end - at < n ? (size_t)(end - at) : n;
}

static int look_at_unit(struct ota_exec *ex, struct ota_flash_reader *node, uint64_t unit, int is_journals,
                        struct look *l)
{
    const struct ota_record *r = &ex->rec;
    uint64_t at = unit * r->unit;
    uint64_t end = ota_in_place_end(r);
    if (end - at > r->unit)
        end = at + r->unit;
    unit_digest_begin(&l->unit, unit);
    while (at < end) {
        size_t n = below(end, at, ex->options.block_buffer);
        if (ota_flash_read_at(node, at, ex->block, n) != 0) {
            l->readable = 0;
            l->rest_readable &= is_journals;
            return 0;
        }
        ota_xxh64_update(&l->as_new, ex->block, below(r->size, at, n));
        ota_xxh64_update(&l->as_old, ex->block, below(r->source.size, at, n));
        ota_xxh64_update(&l->unit, ex->block, n);
        if (is_journals)
            ota_xxh64_update(&l->journalled, ex->block, below(r->size, at, n));
        at += n;
        (void)ota_exec_tick(ex);
        if (ex->cancel && !ex->passed)
            return ERR(CANCELLED);
    }
    return 0;
}

/* The node is open and large enough. */
static int look(struct ota_exec *ex, const struct ota_flash *flash, int journal, enum ota_in_place_state *state)
{
    const struct ota_record *r = &ex->rec;
    struct ota_in_place *in = &ex->in_place;
    uint64_t units = (ota_in_place_end(r) + r->unit - 1) / r->unit;
    uint64_t unit;
    struct ota_flash_reader node;
    struct look l;
    memset(&l, 0, sizeof l);
    l.readable = l.rest_readable = 1;
    ota_xxh64_init(&l.as_new);
    ota_xxh64_init(&l.as_old);
    ota_xxh64_init(&l.journalled);
    ota_flash_reader_init(&node, flash);
    in->all = in->rest = 0;
    for (unit = 0; unit < units; unit++) {
        int is_journals = journal && unit == in->journal.unit;
        int st = look_at_unit(ex, &node, unit, is_journals, &l);
        if (st != 0)
            return st;
        in->all ^= ota_xxh64_value(&l.unit);
        if (!is_journals)
            in->rest ^= ota_xxh64_value(&l.unit);
    }
    *state = OTA_IS_OTHER;
    if (in->part.hole == OTA_NO_HOLE && l.readable && ota_xxh64_value(&l.as_new) == r->digest)
        *state = OTA_IS_NEW;
    else if (journal && l.rest_readable && in->rest == in->journal.rest &&
             (in->journal.ready != 0 || (l.readable && ota_xxh64_value(&l.journalled) == in->journal.digest)))
        *state = OTA_IS_MIDDLE;
    else if (in->part.hole == OTA_NO_HOLE && l.readable && ota_xxh64_value(&l.as_old) == r->source.digest)
        *state = OTA_IS_OLD;
    return 0;
}

/* The same, with the hole that the scratch knows of, if the node can only be understood with it. */
static int look_through(struct ota_exec *ex, const struct ota_flash *node, int journal, enum ota_in_place_state *state)
{
    struct ota_in_place *in = &ex->in_place;
    struct ota_flash flash;
    int st = journal && in->journal.ready != 0 ? ota_move_load(ex, node, &in->move) : 0;
    in->part.node = *node;
    in->part.hole = OTA_NO_HOLE;
    flash = ota_flash_of_part(&in->part, node->size);
    if (st < 0)
        return st;
    if (st > 0) {
        in->part.hole = in->move.hole;
        if ((st = look(ex, &flash, journal, state)) != 0 || *state != OTA_IS_OTHER)
            return st;
        in->part.hole = OTA_NO_HOLE;
    }
    return look(ex, &flash, journal, state);
}

int ota_in_place_look(struct ota_exec *ex, enum ota_node_use use, enum ota_in_place_state *state)
{
    const struct ota_record *r = &ex->rec;
    struct ota_flash flash;
    uint64_t room;
    int journal = ota_journal_load(ex, &ex->in_place.journal);
    int st;
    if (journal < 0)
        return journal;
    st = ex->port.node_open(ex->port.ctx, OTA_SLOT_SOURCE, r->targets[0].p, r->targets[0].len, use, &flash);
    if (st != 0)
        return st;
    if (flash.kind != OTA_FLASH_BLOCK && flash.erase_size > ex->options.block_buffer)
        st = ota_exec_fail(ex, ERR(RAM), "its erase block is larger than the block buffer");
    else if (flash.kind != OTA_FLASH_BLOCK && flash.erase_size > r->unit)
        st = ota_exec_fail(ex, ERR(NODE), "its erase block is larger than the unit of the update in place");
    room = st == 0 ? ota_flash_good_bytes(&flash, &st) : 0;
    if (st == 0 && room < ota_in_place_end(r))
        st = ota_exec_too_small(ex, ota_in_place_end(r), room);
    if (st == 0)
        st = look_through(ex, &flash, journal, state);
    (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_SOURCE);
    return st;
}

int ota_in_place_clear(struct ota_exec *ex)
{
    uint64_t n;
    int st = 0;
    /* the journal last: while it is there, a run that finds the node new comes here again */
    if ((st = ota_move_forget(ex)) != 0)
        return st;
    for (n = ota_in_place_units(&ex->rec); st == 0 && n > 0; n--)
        st = ex->port.image_remove(ex->port.ctx, ota_in_place_file(&ex->rec, (uint32_t)n));
    return st != 0 ? st : ex->port.image_remove(ex->port.ctx, ota_in_place_file(&ex->rec, 0));
}

/* ---- preflight --------------------------------------------------------------------------------------------------- */

/* Bytes of the scratch that an earlier run has left there, which its budget covers. */
static int scratch_used(struct ota_exec *ex, uint64_t *used)
{
    uint64_t n;
    *used = 0;
    for (n = 0; n <= ota_in_place_units(&ex->rec); n++) {
        uint64_t size = OTA_ANY_SIZE;
        int st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(&ex->rec, (uint32_t)n), &size);
        if (st == ERR(MISSING))
            continue;
        if (st != 0)
            return st;
        *used += size;
        (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    }
    return 0;
}

int ota_in_place_expect(struct ota_exec *ex, uint64_t *space)
{
    enum ota_in_place_state state = OTA_IS_OTHER;
    uint64_t used;
    int st = ota_in_place_look(ex, OTA_NODE_CHECK, &state);
    *space = 0;
    if (ex->rec.scratch > ex->scratch)
        ex->scratch = ex->rec.scratch;
    if (st != 0 || state == OTA_IS_NEW)
        return st != 0 ? st : 1;
    if (state == OTA_IS_OTHER)
        return ota_exec_fail(ex, ERR(TARGET), "it is neither old nor new, nor half updated by this package");
    if ((st = ex->port.tmp_keeps(ex->port.ctx)) < 0)
        return st;
    if (st == 0 && !ex->options.volatile_tmp)
        return ota_exec_fail(ex, ERR(CONFIG), "a power cut would lose the temporary folder, which is in memory");
    if ((st = scratch_used(ex, &used)) == 0 && used < ex->rec.scratch)
        *space = ex->rec.scratch - used;
    return st;
}
