/* exec_payload.c - a record's payload: source and engine, decoded bytes to their sink, digests. */
#include "exec.h"

#include <string.h>

/* ---- digests ----------------------------------------------------------------------------------------------------- */

struct reader {
    int (*read_at)(void *ctx, uint64_t off, uint8_t *buf, size_t len);
    void *ctx;
};

static int digest_of(struct ota_exec *ex, struct reader r, uint64_t size, uint64_t *digest)
{
    struct ota_xxh64 h;
    uint64_t off = 0;
    int st;
    ota_xxh64_init(&h);
    while (off < size) {
        size_t n = ex->options.block_buffer;
        if (n > size - off)
            n = (size_t)(size - off);
        if ((st = r.read_at(r.ctx, off, ex->block, n)) != 0)
            return st;
        ota_xxh64_update(&h, ex->block, n);
        off += n;
        (void)ota_exec_tick(ex);
        if (ex->cancel && !ex->passed)
            return ERR(CANCELLED);
    }
    *digest = ota_xxh64_value(&h);
    return 0;
}

struct slot_ctx {
    struct ota_exec *ex;
    enum ota_slot slot;
};

static int slot_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct slot_ctx *s = ctx;
    return s->ex->port.read_at(s->ex->port.ctx, s->slot, off, buf, len);
}

static int node_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    return ota_flash_read_at(ctx, off, buf, len);
}

int ota_exec_slot_digest(struct ota_exec *ex, enum ota_slot slot, uint64_t size, uint64_t *digest)
{
    struct slot_ctx s;
    struct reader r;
    s.ex = ex;
    s.slot = slot;
    r.read_at = slot_read;
    r.ctx = &s;
    return digest_of(ex, r, size, digest);
}

int ota_exec_node_digest(struct ota_exec *ex, const struct ota_flash *flash, uint64_t size, uint64_t *digest)
{
    struct ota_flash_reader fr;
    struct reader r;
    ota_flash_reader_init(&fr, flash);
    r.read_at = node_read;
    r.ctx = &fr;
    return digest_of(ex, r, size, digest);
}

int ota_exec_file_is(struct ota_exec *ex, const struct ota_path *p, uint64_t size, uint64_t digest,
                     struct ota_stat *out)
{
    struct ota_stat st;
    uint64_t real;
    uint64_t got = 0;
    int r = ex->port.stat(ex->port.ctx, p, &st);
    if (out != NULL && r == 0)
        *out = st;
    if (r != 0)
        return r;
    if (st.type != OTA_FILE || st.size != size)
        return 0;
    /* in the source's slot, as in ota_exec_node_is */
    if ((r = ex->port.open(ex->port.ctx, OTA_SLOT_SOURCE, p, &real)) != 0)
        return r == ERR(MISSING) ? 0 : r;
    if (real == size)
        r = ota_exec_slot_digest(ex, OTA_SLOT_SOURCE, size, &got);
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_SOURCE);
    return r != 0 ? r : real == size && got == digest;
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

/* A source without path and node is the record's own (first) target. */
static struct ota_path source_path(const struct ota_record_source *s, const struct ota_record *rec)
{
    return s->type == OTA_SOURCE_PATH ? ota_exec_path(s->root, s->path) : ota_exec_path(rec->root, rec->path);
}

static int source_is_node(const struct ota_record_source *s, const struct ota_record *rec)
{
    return s->type == OTA_SOURCE_NODE || (s->type == OTA_SOURCE_SELF && rec->target_count > 0);
}

int ota_exec_source_is(struct ota_exec *ex, const struct ota_record_source *s, const struct ota_record *rec)
{
    struct ota_path p;
    int r;
    if (source_is_node(s, rec)) {
        r = ota_exec_node_is(ex, s->type == OTA_SOURCE_NODE ? s->node : rec->targets[0], OTA_NODE_READ, s->size,
                             s->digest);
        return r == ERR(TOO_SMALL) ? 0 : r;
    }
    p = source_path(s, rec);
    return ota_exec_file_is(ex, &p, s->size, s->digest, NULL);
}

static int source_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_exec *ex = ctx;
    if (ex->source_is_node)
        return ota_flash_read_at(&ex->source_reader, off, buf, len);
    return ex->port.read_at(ex->port.ctx, OTA_SLOT_SOURCE, off, buf, len);
}

static int open_source(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_text name = r->source.type == OTA_SOURCE_NODE ? r->source.node : r->targets[0];
    struct ota_path p;
    uint64_t size = 0;
    int st;

    ex->source.ctx = ex;
    ex->source.read_at = source_read;
    ex->source.size = r->source.size;
    ex->source_is_node = source_is_node(&r->source, r);
    if (r->source.has_digest) {
        st = ota_exec_source_is(ex, &r->source, r);
        if (st != 1)
            return st < 0 ? st : ota_exec_fail(ex, ERR(TARGET), "its source is not the expected old content");
    }
    if (ex->source_is_node) {
        st = ex->port.node_open(ex->port.ctx, OTA_SLOT_SOURCE, name.p, name.len, OTA_NODE_READ, &ex->source_flash);
        if (st != 0)
            return st;
        ota_flash_reader_init(&ex->source_reader, &ex->source_flash);
        size = ota_flash_good_bytes(&ex->source_flash, &st);
    } else {
        p = source_path(&r->source, r);
        st = ex->port.open(ex->port.ctx, OTA_SLOT_SOURCE, &p, &size);
    }
    if (st != 0)
        return st;
    return size < r->source.size ? ota_exec_fail(ex, ERR(TARGET), "its source is shorter than the old content") : 0;
}

static void close_source(struct ota_exec *ex)
{
    if (ex->rec.source.type == OTA_SOURCE_NONE)
        return;
    if (ex->source_is_node)
        (void)ex->port.node_close(ex->port.ctx, OTA_SLOT_SOURCE);
    else
        (void)ex->port.close(ex->port.ctx, OTA_SLOT_SOURCE);
}

/* ---- payload ----------------------------------------------------------------------------------------------------- */

int ota_exec_decoder_begin(struct ota_exec *ex, const struct ota_source *source, uint64_t new_size)
{
    const struct ota_record *r = &ex->rec;
    struct ota_decoder_options o;
    memset(&o, 0, sizeof o);
    o.engine = r->engine;
    o.old_view = r->old_view;
    o.new_view = r->new_view;
    o.window = ex->options.window;
    o.coder = ex->options.coder;
    o.codings = (uint32_t)(ex->needs >> 48);
    if (ex->spare && o.coder != NULL) /* a delta that may fail does not ask for its codings in the manifest */
        o.codings = o.coder->codings;
    o.source = *source;
    o.new_size = new_size;
    o.workspace = ex->engine;
    o.workspace_len = ex->engine_len;
    return ota_decoder_init(&ex->decoder, &o);
}

int ota_exec_payload_begin(struct ota_exec *ex)
{
    static const struct ota_source none = {NULL, NULL, 0};
    int with_source = ex->rec.source.type != OTA_SOURCE_NONE;
    int st;
    ex->payload_done = 0;
    if (ex->sink == OTA_SINK_SKIP || ex->sink == OTA_SINK_IN_PLACE)
        return 0;
    if (with_source && (st = open_source(ex)) != 0)
        return st;
    ota_xxh64_init(&ex->hash);
    return ota_exec_decoder_begin(ex, with_source ? &ex->source : &none, ex->rec.size);
}

static int sink_write(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    switch (ex->sink) {
    case OTA_SINK_STAGE:
        return ota_exec_wrote(ex, ex->port.stage_write(ex->port.ctx, data, len), len);
    case OTA_SINK_IMAGE:
        return ota_exec_wrote(ex, ex->port.image_write(ex->port.ctx, data, len), len);
    case OTA_SINK_UBI:
        return ota_exec_wrote(ex, ex->port.ubi_write(ex->port.ctx, data, len), len);
    case OTA_SINK_FLASH:
        ex->report.changed = 1;
        return ota_flash_writer_write(&ex->writer, data, len);
    case OTA_SINK_SCRIPT:
        return ex->port.script_write(ex->port.ctx, data, len);
    default:
        return 0;
    }
}

/* Bytes of the new content are there. */
static int sink(struct ota_exec *ex, const struct ota_out *out)
{
    int st;
    if (out->pos == 0)
        return 0;
    ota_xxh64_update(&ex->hash, out->dst, out->pos);
    if ((st = sink_write(ex, out->dst, out->pos)) != 0)
        return st;
    ex->report.bytes_done += out->pos;
    (void)ota_exec_tick(ex);
    return 0;
}

int ota_exec_payload_feed(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    struct ota_in in;
    struct ota_out out;
    int st;
    int sunk;

    if (ex->sink == OTA_SINK_SKIP)
        return 0;
    if (ex->sink == OTA_SINK_IN_PLACE)
        return ota_in_place_feed(ex, data, len);
    in.src = data;
    in.size = len;
    in.pos = 0;
    out.dst = ex->sink == OTA_SINK_FLASH ? ex->small : ex->block; /* the flash writer holds the block buffer */
    out.size = ex->sink == OTA_SINK_FLASH ? sizeof ex->small : ex->options.block_buffer;
    do {
        out.pos = 0;
        st = ota_decoder_step(&ex->decoder, &in, &out);
        if ((sunk = sink(ex, &out)) != 0)
            return sunk;
    } while (st == OTA_WANT_OUTPUT);
    if (st < 0)
        return st;
    if (st == OTA_DONE) {
        ex->payload_done = 1;
        return in.pos < in.size ? ERR(DELTA) : 0;
    }
    return 0;
}

int ota_exec_payload_end(struct ota_exec *ex)
{
    int st;
    if (ex->sink == OTA_SINK_SKIP) {
        ex->report.bytes_done = ex->report.record_from + ex->rec.size; /* once, whatever stands in for what */
        return 0;
    }
    if (ex->sink == OTA_SINK_IN_PLACE)
        return 0;
    if (!ex->payload_done && (st = ota_exec_payload_feed(ex, ex->small, 0)) != 0)
        return st;
    close_source(ex);
    if (!ex->payload_done)
        return ota_exec_fail(ex, ERR(DELTA), "the payload ends before the content is complete");
    if (ota_xxh64_value(&ex->hash) != ex->rec.digest)
        return ota_exec_fail(ex, ERR(RESULT), "the digest of the new content differs");
    return 0;
}
