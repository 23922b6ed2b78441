/* exec_node.c - records that write device nodes: partitions (block) and UBI volumes.
 *
 * The payload is decoded once, to the first target that is not also the source; every other target is copied from one
 * that is right, so that at most one slot is in flux at any time. A delta whose source is the only target is built in
 * the temporary folder first: writing would destroy what it reads. The built image stays until the target is right, so
 * a cut loses nothing.
 */
#include "exec.h"

#include <string.h>

static const struct ota_text no_name = {NULL, 0};

static int is_ubi(const struct ota_exec *ex)
{
    return ex->rec.kind == OTA_KIND_UBI;
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

int ota_exec_too_small(struct ota_exec *ex, uint64_t size, uint64_t room)
{
    ex->report.detail[0] = '\0';
    ota_put_number(ex->report.detail, sizeof ex->report.detail, size);
    ota_put_text(ex->report.detail, sizeof ex->report.detail, " bytes into ");
    ota_put_number(ex->report.detail, sizeof ex->report.detail, room);
    return ERR(TOO_SMALL);
}

int ota_exec_node_is(struct ota_exec *ex, struct ota_text name, enum ota_node_use use, uint64_t size, uint64_t digest)
{
    struct ota_flash flash;
    uint64_t room;
    uint64_t got = 0;
    /* in the source's slot: a source is checked while the target is open to be written already */
    int st = ex->port.node_open(ex->port.ctx, OTA_SLOT_SOURCE, name.p, name.len, use, &flash);
    if (st != 0)
        return st;
    if (use == OTA_NODE_CHECK && flash.kind != OTA_FLASH_BLOCK && flash.erase_size > ex->options.block_buffer)
        st = ota_exec_fail(ex, ERR(RAM), "its erase block is larger than the block buffer");
    room = st == 0 ? ota_flash_good_bytes(&flash, &st) : 0;
    if (st == 0 && room < size)
        st = ota_exec_too_small(ex, size, room);
    /* What cannot be read (a torn page, a volume whose update was cut) is not right, and no reason to give up. */
    if (st == 0) {
        st = ota_exec_node_digest(ex, &flash, size, &got);
        st = st == ERR(CANCELLED) ? st : st == 0 && got == digest;
    }
    (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_SOURCE);
    return st;
}

int ota_exec_image_is(struct ota_exec *ex, uint64_t size, uint64_t digest)
{
    uint64_t got = 0;
    int st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, digest, &size);
    if (st != 0)
        return st == ERR(MISSING) ? 0 : st;
    st = ota_exec_slot_digest(ex, OTA_SLOT_COPY, size, &got);
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    return st != 0 ? st : got == digest;
}

/* ---- writing one target ------------------------------------------------------------------------------------------ */

static int write_begin(struct ota_exec *ex, unsigned target)
{
    struct ota_text name = ex->rec.targets[target];
    int st;
    ota_exec_target(ex, name, no_name);
    ex->at_target = target;
    ex->report.changed = 1;
    if (is_ubi(ex))
        return ex->port.ubi_begin(ex->port.ctx, name.p, name.len, ex->rec.size);
    st = ex->port.node_open(ex->port.ctx, OTA_SLOT_TARGET, name.p, name.len, OTA_NODE_WRITE, &ex->target_flash);
    if (st != 0)
        return st;
    return ota_flash_writer_init(&ex->writer, &ex->target_flash, ex->rec.size, ex->block, ex->options.block_buffer);
}

static int write_end(struct ota_exec *ex)
{
    int st;
    if (is_ubi(ex)) {
        st = ex->port.ubi_end(ex->port.ctx);
    } else {
        st = ota_flash_writer_finish(&ex->writer);
        ex->report.bytes_written += ex->writer.written;
        (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_TARGET);
    }
    if (st != 0)
        return st;
    st = ota_exec_node_is(ex, ex->rec.targets[ex->at_target], OTA_NODE_READ, ex->rec.size, ex->rec.digest);
    if (st < 0)
        return st;
    if (st == 0)
        return ota_exec_fail(ex, ERR(VERIFY), "the whole image was read back");
    ex->wrong &= ~(1u << ex->at_target);
    return 0;
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

static int copy_read(struct ota_exec *ex, int from_node, uint64_t off, uint8_t *buf, size_t len)
{
    if (from_node)
        return ota_flash_read_at(&ex->copy_reader, off, buf, len);
    return ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, off, buf, len);
}

/* Write the content of the open COPY slot to one target. */
static int copy_to(struct ota_exec *ex, unsigned target, int from_node)
{
    uint64_t off = 0;
    int st = write_begin(ex, target);
    while (st == 0 && off < ex->rec.size) {
        size_t n = sizeof ex->small;
        if (n > ex->rec.size - off)
            n = (size_t)(ex->rec.size - off);
        if ((st = copy_read(ex, from_node, off, ex->small, n)) != 0)
            break;
        st = is_ubi(ex) ? ex->port.ubi_write(ex->port.ctx, ex->small, n)
                        : ota_flash_writer_write(&ex->writer, ex->small, n);
        if (is_ubi(ex) && st == 0)
            ex->report.bytes_written += n;
        off += n;
        (void)ota_exec_tick(ex);
    }
    return st != 0 ? st : write_end(ex);
}

/* Bring all targets that are still wrong to the image in the temporary folder or to a target that is right. A target
 * that the mask leaves out is no source either: nobody has looked at it. */
static int copy_all(struct ota_exec *ex, int from_image)
{
    uint64_t size = ex->rec.size;
    unsigned good = 0;
    unsigned i;
    int st;
    if (ex->wrong == 0)
        return 0;
    while (!from_image && ((ex->rec.mask & ~ex->wrong) >> good & 1u) == 0)
        good++;
    if (from_image)
        st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ex->rec.digest, &size);
    else
        st = ex->port.node_open(ex->port.ctx, OTA_SLOT_COPY, ex->rec.targets[good].p, ex->rec.targets[good].len,
                                OTA_NODE_READ, &ex->copy_flash);
    if (st == 0 && !from_image)
        ota_flash_reader_init(&ex->copy_reader, &ex->copy_flash);
    for (i = 0; st == 0 && i < ex->rec.target_count; i++)
        if ((ex->wrong >> i & 1u) != 0)
            st = copy_to(ex, i, !from_image);
    if (from_image)
        (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
    else
        (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_COPY);
    return st;
}

/* ---- the record -------------------------------------------------------------------------------------------------- */

unsigned ota_exec_free_target(const struct ota_record *r)
{
    struct ota_text source = r->source.type == OTA_SOURCE_SELF ? r->targets[0] : r->source.node;
    int on_node = r->source.type == OTA_SOURCE_SELF || r->source.type == OTA_SOURCE_NODE;
    unsigned i;
    for (i = 0; i < r->target_count; i++) {
        if ((r->mask >> i & 1u) == 0)
            continue;
        if (!on_node || r->targets[i].len != source.len || memcmp(r->targets[i].p, source.p, source.len) != 0)
            break;
    }
    return i;
}

int ota_exec_node_begin(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    unsigned first = ota_exec_free_target(r);
    unsigned i;
    int is;

    if (r->unit != 0 && r->mask != 0)
        return ota_in_place_begin(ex);
    ex->wrong = 0;
    for (i = 0; i < r->target_count; i++) {
        if ((r->mask >> i & 1u) == 0)
            continue;
        ota_exec_target(ex, r->targets[i], no_name);
        if ((is = ota_exec_node_is(ex, r->targets[i], OTA_NODE_READ, r->size, r->digest)) < 0)
            return is;
        ex->wrong |= is == 0 ? 1u << i : 0u;
    }
    ex->sink = OTA_SINK_SKIP;
    if (ex->wrong == 0) {
        ex->report.skipped++;
        return r->mask != 0 && first == r->target_count ? ex->port.image_remove(ex->port.ctx, r->digest) : 0;
    }
    if (ex->wrong != r->mask)
        return copy_all(ex, 0);
    if (first < r->target_count) {
        ex->sink = is_ubi(ex) ? OTA_SINK_UBI : OTA_SINK_FLASH;
        return write_begin(ex, first);
    }
    if ((is = ota_exec_image_is(ex, r->size, r->digest)) < 0)
        return is;
    if (is == 1) {
        if ((is = copy_all(ex, 1)) != 0)
            return is;
        return ex->port.image_remove(ex->port.ctx, r->digest);
    }
    ex->sink = OTA_SINK_IMAGE;
    return ex->port.image_begin(ex->port.ctx, r->digest, r->size);
}

int ota_exec_node_end(struct ota_exec *ex)
{
    int st;
    if (ex->sink == OTA_SINK_IN_PLACE)
        return ota_in_place_finish(ex);
    if (ex->sink == OTA_SINK_IMAGE) {
        if ((st = ex->port.image_commit(ex->port.ctx)) != 0 || (st = copy_all(ex, 1)) != 0)
            return st;
        return ex->port.image_remove(ex->port.ctx, ex->rec.digest);
    }
    if ((st = write_end(ex)) != 0)
        return st;
    return copy_all(ex, 0);
}
