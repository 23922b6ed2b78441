/* exec_in_place.c - a node that is updated onto itself: its payload, segment after segment (docs/SPEC.md section 5.5).
 *
 * Each segment replaces one unit, by an engine run of its own. Before the unit is erased, three things are on durable
 * storage: the old bytes of it that later segments read, its new bytes, and the journal that says so. From then on the
 * unit may be written as often as it takes; until then nothing was erased, and the segment can be decoded again. In
 * both cases everything that later segments read is on the node still, or kept:
 *
 *   kept bytes of the unit -> new bytes behind the journal "n is ready" -> erase and program -> journal "n is done"
 *
 * where each arrow waits for a sync. What a segment hands over to the next one stands in both journals, until the next
 * one is ready. Kept bytes are dropped when the last segment that reads them is ready.
 */
#include "exec.h"

#include <string.h>

#define MOVES_MAX 4u /* blocks that may die for the same unit: more is a sick device */

/* ---- one unit ---------------------------------------------------------------------------------------------------- */

/* Bytes of the journal that the segment before has handed over, or this one hands over, into the new journal. */
static int copy_handed(struct ota_exec *ex, const struct ota_handed *from, uint32_t ready, int hash)
{
    uint64_t size = OTA_JOURNAL_BYTES + (uint64_t)ready + from->len;
    uint64_t at = OTA_JOURNAL_BYTES + (uint64_t)(from->in_front ? 0 : ready);
    uint32_t done = 0;
    int st;
    if (from->len == 0)
        return 0;
    ex->in_place.file_open = 0;
    st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(&ex->rec, 0), &size);
    while (st == 0 && done < from->len) {
        uint32_t n = from->len - done < sizeof ex->small ? from->len - done : (uint32_t)sizeof ex->small;
        st = ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, at + done, ex->small, n);
        if (st == 0)
            st = ex->port.image_write(ex->port.ctx, ex->small, n);
        if (hash)
            ota_xxh64_update(&ex->hash, ex->small, n);
        done += n;
    }
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    return st;
}

static int write_journal(struct ota_exec *ex, uint32_t ready)
{
    struct ota_in_place *in = &ex->in_place;
    uint8_t raw[OTA_JOURNAL_BYTES];
    struct ota_journal j;
    int st;
    j.seq = in->seq;
    j.unit = in->unit;
    j.ready = ready;
    j.rest = in->rest;
    j.digest = in->digest;
    j.handed = in->handed;
    ota_journal_encode(&ex->rec, &j, raw);
    ex->report.changed = 1;
    st = ex->port.image_begin(ex->port.ctx, ota_in_place_file(&ex->rec, 0),
                              sizeof raw + (uint64_t)ready + in->handed.len);
    return st != 0 ? st : ex->port.image_write(ex->port.ctx, raw, sizeof raw);
}

/* The new bytes go from the journal to their place. */
static int put_unit(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t at = (uint64_t)in->unit * ex->rec.unit;
    uint32_t len = ota_in_place_new_len(&ex->rec, in->unit);
    uint32_t done = 0;
    uint64_t from = OTA_JOURNAL_BYTES + (uint64_t)(in->handed.in_front ? in->handed.len : 0);
    uint64_t size = OTA_JOURNAL_BYTES + (uint64_t)len + in->handed.len;
    int st;
    in->file_open = 0;
    st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(&ex->rec, 0), &size);
    if (st == 0)
        st = ota_flash_writer_init_at(&ex->writer, &ex->target_flash, at, len, ex->block, ex->options.block_buffer);
    while (st == 0 && done < len) {
        uint32_t n = len - done < sizeof ex->small ? len - done : (uint32_t)sizeof ex->small;
        st = ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, from + done, ex->small, n);
        if (st == 0)
            st = ota_flash_writer_write(&ex->writer, ex->small, n);
        done += n;
        (void)ota_exec_tick(ex);
    }
    if (st == 0)
        st = ota_flash_writer_finish(&ex->writer);
    ex->report.bytes_written += ex->writer.written;
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    return st;
}

/* So do they if blocks die on the way, for which the blocks behind them are moved; then the journal says so. */
static int replace_unit(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    unsigned moves = 0;
    uint64_t digest;
    int st;
    do {
        st = in->part.hole == OTA_NO_HOLE ? 0 : ota_move_go(ex);
        if (st == 0 && (st = put_unit(ex)) == ERR(BAD_BLOCKS) && ex->writer.died && ++moves < MOVES_MAX)
            st = ota_move_begin(ex, ex->writer.phys);
    } while (st == 0 && in->part.hole != OTA_NO_HOLE);
    if (st == 0)
        st = ota_in_place_unit_digest(ex, &ex->source_reader, in->unit, &digest);
    if (st == 0)
        st = write_journal(ex, 0);
    if (st == 0)
        st = copy_handed(ex, &in->handed, ota_in_place_new_len(&ex->rec, in->unit), 0);
    if (st == 0)
        st = ex->port.image_commit(ex->port.ctx);
    if (st == 0)
        in->all = in->rest ^ digest;
    return st;
}

/* ---- one segment ------------------------------------------------------------------------------------------------- */

/* What the segment needs of the scratch, with all that is kept for others, is no more than the package has said, in
 * an expect: that much was found free before anything was written. */
static int check_scratch(struct ota_exec *ex)
{
    const struct ota_in_place *in = &ex->in_place;
    uint64_t need = OTA_JOURNAL_BYTES + (uint64_t)ota_in_place_new_len(&ex->rec, in->unit);
    unsigned i;
    need += (uint64_t)in->handed.len + in->prior.len;
    for (i = 0; i < in->kept_count; i++)
        need += in->kept[i].len;
    return ex->scratch == 0 || need <= ex->scratch
               ? 0
               : ota_exec_fail(ex, ERR(LIMIT), "more scratch than the package has said");
}

/* Old bytes of the unit that later segments read go to a file of their own. */
static int keep_ranges(struct ota_exec *ex)
{
    const struct ota_in_place *in = &ex->in_place;
    unsigned i;
    int st;
    if (in->keeps == 0)
        return 0;
    ex->report.changed = 1;
    st = ex->port.image_begin(ex->port.ctx, ota_in_place_file(&ex->rec, in->seq + 1), in->keeps);
    for (i = 0; st == 0 && i < in->kept_count; i++) {
        const struct ota_kept *k = &in->kept[i];
        uint32_t done = 0;
        while (st == 0 && k->seq == in->seq && done < k->len) {
            uint32_t n = k->len - done < sizeof ex->small ? k->len - done : (uint32_t)sizeof ex->small;
            st = ota_flash_read_at(&ex->source_reader, k->off + done, ex->small, n);
            if (st == 0)
                st = ex->port.image_write(ex->port.ctx, ex->small, n);
            done += n;
        }
    }
    return st != 0 ? st : ex->port.image_commit(ex->port.ctx);
}

static int decoder_begin(struct ota_exec *ex, uint64_t size)
{
    ex->source = ota_in_place_source(ex);
    return ota_exec_decoder_begin(ex, &ex->source, size);
}

/* They stand in front of all segments, unless each of these has its own: between views all engines are begun anew. */
static int has_tables(const struct ota_record *r)
{
    return r->engine == OTA_ENGINE_XREF && !ota_record_has_views(r);
}

static int tables_begin(struct ota_exec *ex)
{
    int st = decoder_begin(ex, ex->rec.size);
    if (st == 0)
        ota_engine_in_parts(ex->engine);
    return st;
}

/* The tables of engine xref, which every segment needs, those that are in place already included. */
static int tables_feed(struct ota_exec *ex, struct ota_in *in)
{
    struct ota_out none = {ex->small, 0, 0};
    int st = ota_decoder_step(&ex->decoder, in, &none);
    if (st == OTA_DONE)
        ex->in_place.engine_done = 1;
    return st < 0 ? st : st == OTA_WANT_OUTPUT ? ERR(DELTA) : 0;
}

static int tables_end(struct ota_exec *ex)
{
    struct ota_in none = {NULL, 0, 0};
    int st = ex->in_place.engine_done ? 0 : tables_feed(ex, &none);
    if (st != 0)
        return st;
    if (!ex->in_place.engine_done)
        return ota_exec_fail(ex, ERR(DELTA), "the tables end early");
    ex->in_place.field = OTA_SEGMENT_UNIT;
    return 0;
}

static int segment_begin(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    uint32_t len = ota_in_place_new_len(&ex->rec, in->unit);
    uint64_t digest;
    int st;
    in->decodes = in->seq >= in->resume;
    in->engine_done = 0;
    if (!in->decodes)
        return 0;
    if ((st = check_scratch(ex)) != 0)
        return st;
    if ((st = ota_in_place_unit_digest(ex, &ex->source_reader, in->unit, &digest)) != 0 || (st = keep_ranges(ex)) != 0)
        return st;
    in->rest = in->all ^ digest;
    if ((st = write_journal(ex, len)) != 0)
        return st;
    ota_xxh64_init(&ex->hash);
    in->part_made = 0;
    if (has_tables(&ex->rec))
        return ota_engine_begin_part(ex->engine, (uint64_t)in->unit * ex->rec.unit, len, in->payload);
    if (!in->prior.in_front && (st = copy_handed(ex, &in->prior, 0, 1)) != 0)
        return st;
    return decoder_begin(ex, in->before + (len - in->prior.len) + in->behind);
}

/* Bytes [from, to) of the payload's new content that are among the ones just made. */
static size_t among(const struct ota_in_place *in, size_t len, uint64_t from, uint64_t to, size_t *skip)
{
    uint64_t at = in->part_made;
    *skip = at < from ? ota_clip_size(len, from - at) : 0;
    at += *skip;
    return at < to ? ota_clip_size(len - *skip, to - at) : 0;
}

/* Of what was made the unit's bytes go to the journal, and those that are handed over; others of parts that cross the
 * unit's ends, to nobody. */
static int sink_unit(struct ota_exec *ex, const uint8_t *made, size_t len)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t from = in->before;
    uint64_t to = from + (ota_in_place_new_len(&ex->rec, in->unit) - in->prior.len);
    size_t skip;
    size_t n = among(in, len, from, to, &skip);
    if (n > 0)
        ota_xxh64_update(&ex->hash, made + skip, n);
    if (in->handed.in_front)
        from -= in->handed.len;
    else
        to += in->handed.len;
    n = among(in, len, from, to, &skip);
    in->part_made += len;
    (void)ota_exec_tick(ex);
    return n == 0 ? 0 : ota_exec_wrote(ex, ex->port.image_write(ex->port.ctx, made + skip, n), 0);
}

static int segment_feed(struct ota_exec *ex, struct ota_in *in)
{
    struct ota_out out;
    int st;
    int sunk;
    do {
        out.dst = ex->small;
        out.size = sizeof ex->small;
        out.pos = 0;
        st = ota_decoder_step(&ex->decoder, in, &out);
        if (out.pos > 0 && (sunk = sink_unit(ex, out.dst, out.pos)) != 0)
            return sunk;
    } while (st == OTA_WANT_OUTPUT);
    if (st == OTA_DONE)
        ex->in_place.engine_done = 1;
    return st < 0 ? st : in->pos < in->size ? ERR(DELTA) : 0;
}

static int segment_end(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    struct ota_in none = {NULL, 0, 0};
    int st = 0;
    if (in->decodes) {
        if (!in->engine_done && (st = segment_feed(ex, &none)) != 0)
            return st;
        if (!in->engine_done)
            return ota_exec_fail(ex, ERR(DELTA), "the payload of a segment ends before its unit is complete");
        if (in->prior.in_front && (st = copy_handed(ex, &in->prior, 0, 1)) != 0)
            return st;
        if (ota_xxh64_value(&ex->hash) != in->digest)
            return ota_exec_fail(ex, ERR(RESULT), "the digest of a unit differs");
        in->file_open = 0;
        (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
        if ((st = ex->port.image_commit(ex->port.ctx)) == 0 && (st = ota_in_place_drop(ex, in->seq)) == 0)
            st = replace_unit(ex);
    } else if (in->seq + 1 == in->resume) {
        if (in->unit != in->journal.unit || in->digest != in->journal.digest ||
            in->handed.len != in->journal.handed.len || in->handed.in_front != in->journal.handed.in_front)
            return ota_exec_fail(ex, ERR(FORMAT), "the journal is of another payload");
        st = ota_in_place_drop(ex, in->seq);
        in->rest = in->journal.rest;
        if (st == 0 && in->journal.ready != 0)
            st = replace_unit(ex);
    } else {
        st = ota_in_place_drop(ex, in->seq);
    }
    in->made += ota_in_place_new_len(&ex->rec, in->unit);
    ex->report.bytes_done += ota_in_place_new_len(&ex->rec, in->unit);
    in->prior = in->handed;
    in->seq++;
    in->unit++;
    in->field = OTA_SEGMENT_UNIT;
    return st;
}

int ota_in_place_feed(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    struct ota_in_place *in = &ex->in_place;
    struct ota_in all = {data, len, 0};
    struct ota_in part;
    int st = 0;
    while (st == 0 && all.pos < all.size) {
        if (in->field == OTA_SEGMENT_DIGEST) {
            in->digest |= (uint64_t)all.src[all.pos++] << (8 * in->digest_bytes);
            if (++in->digest_bytes == 8)
                in->field = OTA_SEGMENT_RANGES;
        } else if (in->field == OTA_SEGMENT_PAYLOAD || in->field == OTA_SEGMENT_TABLES) {
            part.src = all.src + all.pos;
            part.size = all.size - all.pos < in->payload ? all.size - all.pos : (size_t)in->payload;
            part.pos = 0;
            if (in->field == OTA_SEGMENT_TABLES)
                st = tables_feed(ex, &part);
            else if (in->decodes && part.size > 0)
                st = segment_feed(ex, &part);
            in->payload -= part.size;
            all.pos += part.size;
        } else if ((st = ota_varint_read(&in->number, &all)) == OTA_DONE) {
            uint64_t n = in->number.value;
            memset(&in->number, 0, sizeof in->number);
            st = ota_in_place_take(ex, n);
            if (st == 0 && in->field == OTA_SEGMENT_TABLES)
                st = tables_begin(ex);
            else if (st == 0 && in->field == OTA_SEGMENT_PAYLOAD)
                st = segment_begin(ex);
        } else if (st == OTA_WANT_INPUT) {
            return 0;
        }
        if (st == 0 && in->field == OTA_SEGMENT_TABLES && in->payload == 0)
            st = tables_end(ex);
        if (st == 0 && in->field == OTA_SEGMENT_PAYLOAD && in->payload == 0)
            st = segment_end(ex);
    }
    return st;
}

/* ---- the record -------------------------------------------------------------------------------------------------- */

int ota_in_place_begin(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_in_place *in = &ex->in_place;
    enum ota_in_place_state state = OTA_IS_OTHER;
    int st;
    memset(in, 0, sizeof *in);
    in->field = has_tables(r) ? OTA_SEGMENT_TABLES_LENGTH : OTA_SEGMENT_UNIT;
    if ((st = ota_in_place_look(ex, OTA_NODE_READ, &state)) != 0)
        return st;
    ex->sink = OTA_SINK_SKIP;
    if (state == OTA_IS_NEW) {
        ex->report.skipped++;
        return ota_in_place_clear(ex);
    }
    if (state == OTA_IS_OTHER)
        return ota_exec_fail(ex, ERR(TARGET), "it is neither old nor new, nor half updated by this package");
    if (state == OTA_IS_MIDDLE)
        in->resume = in->journal.seq + 1;
    else if ((st = ota_in_place_clear(ex)) != 0) /* of a run that came to nothing, or whose node was written since */
        return st;
    st = ex->port.node_open(ex->port.ctx, OTA_SLOT_TARGET, r->targets[0].p, r->targets[0].len, OTA_NODE_WRITE,
                            &in->part.node);
    if (st != 0)
        return st;
    ex->target_flash = ota_flash_of_part(&in->part, in->part.node.size);
    ota_flash_reader_init(&ex->source_reader, &ex->target_flash);
    ex->sink = OTA_SINK_IN_PLACE;
    return 0;
}

int ota_in_place_finish(struct ota_exec *ex)
{
    struct ota_in_place *in = &ex->in_place;
    enum ota_in_place_state state = OTA_IS_OTHER;
    int st;
    if (in->field != OTA_SEGMENT_UNIT || in->number.bytes != 0)
        return ota_exec_fail(ex, ERR(DELTA), "the payload ends within a segment");
    if (in->prior.len > 0)
        return ota_exec_fail(ex, ERR(DELTA), "the last segment hands bytes over");
    ex->report.bytes_done += ex->rec.size - (in->made < ex->rec.size ? in->made : ex->rec.size);
    (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_TARGET);
    if ((st = ota_in_place_look(ex, OTA_NODE_READ, &state)) != 0)
        return st;
    if (state != OTA_IS_NEW)
        return ota_exec_fail(ex, ERR(VERIFY), "the whole image was read back");
    return ota_in_place_clear(ex);
}
