/* exec.c - the executor: takes the record stream apart, keeps its order, runs its records and scripts.
 *
 * The life of an update:   expects (nothing is written) -> begin script -> records -> end script
 * Whatever fails first is the result; the end script runs all the same once preflight has passed.
 */
#include "exec.h"

#include <string.h>

static size_t align8(size_t n)
{
    return (n + 7u) & ~(size_t)7u;
}

size_t ota_exec_size(const struct ota_exec_options *o)
{
    size_t engine = ota_engine_size(OTA_ENGINE_BSDIFF, o->window);
    size_t full = ota_engine_size(OTA_ENGINE_FULL, o->window);
    if (engine == 0 || full == 0 || o->block_buffer < OTA_SMALL_BUFFER || o->block_buffer % 512u != 0 ||
        o->block_buffer > (1u << 26) || o->header_max < 256u || o->header_max > OTA_HEADER_MAX ||
        o->workspace > OTA_WORKSPACE_MAX || o->slot < OTA_SLOTS_NONE || o->slot > OTA_SLOTS_AUTO)
        return 0;
    if (full > engine)
        engine = full;
    if (o->workspace > engine)
        engine = o->workspace;
    return align8(sizeof(struct ota_exec)) + align8(engine) + align8(o->header_max) + o->block_buffer;
}

int ota_exec_init(void *workspace, size_t len, const struct ota_exec_options *options, const struct ota_port *port,
                  struct ota_exec **out)
{
    struct ota_exec *ex = workspace;
    uint8_t *at = workspace;
    size_t size = ota_exec_size(options);
    if (size == 0 || len < size)
        return ERR(USAGE);
    memset(ex, 0, sizeof *ex);
    ex->port = *port;
    ex->options = *options;
    ex->options.dry_run |= options->check_only;
    ex->report.script_exit = -1;
    ex->slot = -1;
    at += align8(sizeof *ex);
    ex->engine = at;
    ex->engine_len = size - align8(sizeof *ex) - align8(options->header_max) - options->block_buffer;
    at += ex->engine_len;
    ex->header = at;
    ex->block = at + align8(options->header_max);
    *out = ex;
    return 0;
}

const struct ota_report *ota_exec_report(const struct ota_exec *ex)
{
    return &ex->report;
}

/* ---- small services for the other files ------------------------------------------------------------------------- */

struct ota_path ota_exec_path(struct ota_text root, struct ota_text path)
{
    struct ota_path p;
    p.root = root.p;
    p.root_len = root.len;
    p.path = path.p;
    p.path_len = path.len;
    return p;
}

int ota_exec_tick(struct ota_exec *ex)
{
    if (ex->port.tick != NULL && ex->port.tick(ex->port.ctx, &ex->report) != 0)
        ex->cancel = 1;
    return 0;
}

/* Does errno explain this failure? Only where the system refused something: with other codes it is left over from a
 * call whose failure was expected. */
static int by_system(int status)
{
    return status == ERR(IO) || status == ERR(READONLY) || status == ERR(MISSING) || status == ERR(PATH) ||
           status == ERR(NODE) || status == ERR(SPACE);
}

int ota_exec_fail(struct ota_exec *ex, int status, const char *detail)
{
    if (status >= 0 || ex->report.status != 0)
        return status;
    ex->report.status = status;
    if (ex->port.last_error != NULL && by_system(status) && detail[0] == '\0' && ex->report.detail[0] == '\0')
        ex->report.os_error = ex->port.last_error(ex->port.ctx);
    if (ex->report.detail[0] == '\0')
        ota_put_text(ex->report.detail, sizeof ex->report.detail, detail);
    return status;
}

void ota_exec_target(struct ota_exec *ex, struct ota_text root, struct ota_text name)
{
    char *t = ex->report.target;
    size_t cap = sizeof ex->report.target;
    t[0] = '\0';
    ota_put_bytes(t, cap, root.p, root.len);
    if (name.len != 0 && root.len > 1)
        ota_put_text(t, cap, "/");
    ota_put_bytes(t, cap, name.p, name.len);
}

int ota_exec_wrote(struct ota_exec *ex, int status, uint64_t bytes)
{
    ex->report.changed = 1;
    if (status == 0)
        ex->report.bytes_written += bytes;
    return status;
}

void ota_exec_close(struct ota_exec *ex)
{
    int slot;
    ex->port.stage_abort(ex->port.ctx);
    for (slot = 0; slot < OTA_SLOTS; slot++) {
        (void)ex->port.close(ex->port.ctx, (enum ota_slot)slot);
        (void)ex->port.node_close(ex->port.ctx, (enum ota_slot)slot);
    }
}

/* ---- scripts ---------------------------------------------------------------------------------------------------- */

static int run_script(struct ota_exec *ex, enum ota_script_when when, int ota_status, int failed)
{
    int code = 0;
    int st;
    if (when != OTA_SCRIPT_END)
        ex->report.changed = 1;
    st = ex->port.script_run(ex->port.ctx, when, ota_status, &code);
    if (st < 0)
        return st;
    ex->report.script_exit = code;
    if (code != 0) {
        ex->report.detail[0] = '\0';
        ota_put_text(ex->report.detail, sizeof ex->report.detail, "exit code ");
        ota_put_number(ex->report.detail, sizeof ex->report.detail, (uint64_t)(unsigned)code);
        return failed;
    }
    return 0;
}

static int script_begin(struct ota_exec *ex)
{
    ex->sink = OTA_SINK_SCRIPT;
    if (ex->options.dry_run) {
        ex->sink = OTA_SINK_SKIP;
        return 0;
    }
    return ex->port.script_begin(ex->port.ctx, (enum ota_script_when)ex->rec.when);
}

static int script_end(struct ota_exec *ex)
{
    int st = ex->port.script_end(ex->port.ctx);
    if (st != 0)
        return st;
    if (ex->rec.when == OTA_SCRIPT_END)
        return 0; /* kept for ota_exec_finish */
    if (ex->rec.when == OTA_SCRIPT_BEGIN) {
        ex->report.phase = OTA_PHASE_BEGIN;
        st = run_script(ex, OTA_SCRIPT_BEGIN, 0, ERR(BEGIN_SCRIPT));
        ex->report.phase = OTA_PHASE_UPDATE;
        return st;
    }
    return run_script(ex, OTA_SCRIPT_INLINE, 0, ERR(SCRIPT));
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

/* May this kind come now? Preflight ends with the first record that is neither expect nor end script. */
static int check_order(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    int end_script = r->kind == OTA_KIND_SCRIPT && r->when == OTA_SCRIPT_END;
    int begin_script = r->kind == OTA_KIND_SCRIPT && r->when == OTA_SCRIPT_BEGIN;

    if ((r->kind == OTA_KIND_MANIFEST) != (ex->stage == OTA_AT_MANIFEST))
        return ERR(FORMAT);
    if (ex->stage == OTA_AT_ACTIONS && (r->kind == OTA_KIND_EXPECT || end_script || begin_script))
        return ERR(FORMAT);
    if (end_script) {
        if (ex->have_end_script)
            return ERR(FORMAT);
        ex->have_end_script = 1;
    }
    return 0;
}

static int check_needs(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    uint64_t used = 0;
    if (r->kind == OTA_KIND_MANIFEST) {
        uint64_t codings = r->needs & ~(OTA_NEED_CODING(0) - 1u);
        if (ex->options.coder != NULL)
            codings &= ~((uint64_t)ex->options.coder->codings << 48);
        if (codings != 0)
            return ota_exec_fail(ex, ERR(UNSUPPORTED), ota_need_name(codings));
        ex->needs = r->needs;
        ex->report.records_total = r->records;
        ex->report.bytes_total = r->bytes;
        ota_put_bytes(ex->report.package, sizeof ex->report.package, r->name.p, r->name.len);
        ota_put_bytes(ex->report.version, sizeof ex->report.version, r->version.p, r->version.len);
        return 0;
    }
    if (r->kind != OTA_KIND_EXPECT && r->kind != OTA_KIND_END)
        used |= OTA_NEED_KIND(r->kind);
    if (r->engine >= 0)
        used |= OTA_NEED_ENGINE(r->engine);
    if (r->old_view != OTA_VIEW_IDENTITY)
        used |= OTA_NEED_VIEW(r->old_view);
    if (r->new_view != OTA_VIEW_IDENTITY)
        used |= OTA_NEED_VIEW(r->new_view);
    if ((r->has & OTA_HAS(FALLBACK)) != 0)
        used |= OTA_NEED_FALLBACK | OTA_NEED_ENGINE(OTA_ENGINE_FULL);
    return (used & ~ex->needs) != 0 ? ERR(FORMAT) : 0;
}

static int pass_preflight(struct ota_exec *ex)
{
    int st = ota_exec_space(ex);
    if (st != 0)
        return st;
    ex->report.phase = OTA_PHASE_UPDATE;
    (void)ota_exec_tick(ex); /* the last moment to stop with nothing changed */
    if (ex->cancel) {
        ex->report.phase = OTA_PHASE_PREFLIGHT;
        return ERR(CANCELLED);
    }
    ex->passed = 1;
    ex->stage = OTA_AT_ACTIONS;
    return ex->options.dry_run || !ex->slot_wrong ? 0 : ota_exec_slots_event(ex, OTA_SLOT_BEGIN);
}

static int act(struct ota_exec *ex)
{
    int st;
    switch (ex->rec.kind) {
    case OTA_KIND_MANIFEST:
        ex->stage = OTA_AT_EXPECTS;
        st = ota_exec_check_accepted(ex);
        return st != 0 ? st : ota_exec_slots_begin(ex);
    case OTA_KIND_EXPECT:
        return ex->options.check_only ? 0 : ota_exec_expect(ex);
    case OTA_KIND_SCRIPT:
        return script_begin(ex);
    case OTA_KIND_BLOCK:
    case OTA_KIND_UBI:
        return ota_exec_node_begin(ex);
    case OTA_KIND_FILE:
        return ota_exec_file_begin(ex);
    case OTA_KIND_DELETE:
        return ota_exec_delete(ex);
    case OTA_KIND_DIR:
        return ota_exec_dir(ex);
    case OTA_KIND_LINK:
        return ota_exec_link(ex);
    case OTA_KIND_MOVE:
        return ota_exec_move(ex);
    case OTA_KIND_ENV:
        return ota_exec_env(ex);
    default:
        ex->ended = 1;
        ex->stage = OTA_AT_END;
        return ex->options.dry_run ? 0 : ota_exec_slots_event(ex, OTA_SLOT_SWITCH);
    }
}

static void record_done(struct ota_exec *ex)
{
    if (ex->rec.kind != OTA_KIND_MANIFEST && ex->rec.kind != OTA_KIND_EXPECT && ex->rec.kind != OTA_KIND_END) {
        ex->report.records_done++;
        if (ex->rec.engine < 0)
            ex->report.bytes_done += ex->rec.size;
    }
    ex->report.record++;
    ex->report.target[0] = '\0';
    ex->report.detail[0] = '\0';
    (void)ota_exec_tick(ex);
}

/* A delta with its fallback behind it may fail, for whatever reason: what is half made is dropped, and the fallback
 * makes the same content. Not so if somebody wants to stop. */
static int set_aside(struct ota_exec *ex, int st)
{
    if (st >= 0 || !ex->spare || st == ERR(CANCELLED))
        return st;
    ota_exec_close(ex);
    ex->report.status = 0;
    ex->report.os_error = 0;
    ex->report.detail[0] = '\0';
    ex->report.bytes_done = ex->report.record_from;
    ex->report.fell_back++;
    ex->gave_up = 1;
    ex->sink = OTA_SINK_SKIP;
    return 0;
}

static int record_begin(struct ota_exec *ex)
{
    struct ota_record *r = &ex->rec;
    int st = ota_record_parse(ex->header, ex->header_len, r, ex->report.detail, sizeof ex->report.detail);
    int early;
    if (st != 0 || (st = check_order(ex)) != 0 || (st = check_needs(ex)) != 0)
        return st;
    ex->report.record_from = ex->report.bytes_done;
    ex->report.record_bytes = r->engine >= 0 ? r->size : 0;
    ex->spare = (r->has & OTA_HAS(FALLBACK)) != 0;
    ex->gave_up = 0;
    early = r->kind == OTA_KIND_MANIFEST || r->kind == OTA_KIND_EXPECT ||
            (r->kind == OTA_KIND_SCRIPT && r->when == OTA_SCRIPT_END);
    if (!early && ex->stage == OTA_AT_EXPECTS && (st = pass_preflight(ex)) != 0)
        return st;
    if (ex->cancel && r->kind != OTA_KIND_END)
        return ERR(CANCELLED);
    if (r->target_count > 0)
        ota_exec_target(ex, r->targets[0], (struct ota_text){NULL, 0});
    else if (r->path.len > 0)
        ota_exec_target(ex, r->root, r->path);
    if ((st = ota_exec_choose(ex)) < 0)
        return st;
    if (st == 1 || (ex->passed && ex->options.dry_run && r->kind != OTA_KIND_END)) {
        ex->sink = OTA_SINK_SKIP;
        st = 0;
    } else {
        st = act(ex);
    }
    if (st == 0 && r->engine >= 0)
        st = ota_exec_payload_begin(ex);
    return set_aside(ex, st);
}

static int payload_end(struct ota_exec *ex)
{
    int st = ota_exec_payload_end(ex);
    if (st != 0 || ex->sink == OTA_SINK_SKIP)
        return st;
    if (ex->rec.kind == OTA_KIND_SCRIPT)
        return script_end(ex);
    return ex->rec.kind == OTA_KIND_FILE ? ota_exec_file_end(ex) : ota_exec_node_end(ex);
}

/* The delta is over, or was given up: its fallback comes, as the payload of the same record in full. */
static int delta_end(struct ota_exec *ex)
{
    struct ota_record *r = &ex->rec;
    int st = ex->gave_up ? 0 : set_aside(ex, payload_end(ex));
    ex->spare = 0;
    if (st != 0 || !ex->gave_up) {
        ex->sink = OTA_SINK_SKIP;
        return st;
    }
    r->engine = OTA_ENGINE_FULL;
    r->old_view = r->new_view = OTA_VIEW_IDENTITY;
    memset(&r->source, 0, sizeof r->source);
    if (r->target_count > 0 && (st = ex->port.image_remove(ex->port.ctx, r->digest)) != 0)
        return st; /* the delta may have built one, or an earlier run */
    st = act(ex);
    return st != 0 ? st : ota_exec_payload_begin(ex);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* Bytes of a byte string head that starts with `first`, itself included; 0 when it is not one. */
static unsigned item_head_len(uint8_t first)
{
    unsigned info = first & 31u;
    if (first >> 5 != 2 || info > 27)
        return 0;
    return info < 24 ? 1u : 1u + (1u << (info - 24));
}

/* A byte string head is complete. */
static int item_begin(struct ota_exec *ex)
{
    struct ota_cbor c;
    unsigned major;
    int st;
    c.p = ex->item_head;
    c.end = ex->item_head + ex->item_fill;
    ex->item_fill = 0;
    if ((st = ota_cbor_head(&c, &major, &ex->item_left)) != 0)
        return st;
    if (ex->split == OTA_SPLIT_HEAD) {
        if (ex->item_left == 0)
            return ERR(FORMAT);
        if (ex->item_left > ex->options.header_max)
            return ERR(LIMIT);
        ex->header_fill = 0;
        ex->header_len = (size_t)ex->item_left;
        ex->split = OTA_SPLIT_HEADER;
        return 0;
    }
    if (ex->item_left > OTA_CHUNK_MAX)
        return ERR(LIMIT);
    if (ex->item_left > 0) {
        ex->split = OTA_SPLIT_CHUNK;
        return 0;
    }
    if (ex->spare)
        return delta_end(ex); /* and the next chunk is the first one of the fallback */
    ex->split = OTA_SPLIT_HEAD;
    if ((st = payload_end(ex)) == 0)
        record_done(ex);
    return st;
}

static int take_header(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    int st;
    memcpy(ex->header + ex->header_fill, data, len);
    ex->header_fill += len;
    ex->item_left -= len;
    if (ex->item_left > 0)
        return 0;
    if ((st = record_begin(ex)) != 0)
        return st;
    ex->split = ex->rec.engine >= 0 ? OTA_SPLIT_CHUNK_HEAD : OTA_SPLIT_HEAD;
    if (ex->rec.engine < 0)
        record_done(ex);
    return 0;
}

static int take_chunk(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    int st = set_aside(ex, ota_exec_payload_feed(ex, data, len));
    ex->item_left -= len;
    if (ex->item_left == 0)
        ex->split = OTA_SPLIT_CHUNK_HEAD;
    if (st == 0 && ex->cancel && ex->sink != OTA_SINK_FLASH && ex->sink != OTA_SINK_UBI &&
        ex->sink != OTA_SINK_IN_PLACE)
        st = ERR(CANCELLED);
    return st;
}

int ota_exec_feed(struct ota_exec *ex, const uint8_t *data, size_t len)
{
    size_t pos = 0;
    size_t n;
    int st = ex->report.status;

    if (st == 0 && ex->finished)
        return ERR(USAGE);
    while (st == 0 && pos < len) {
        if (ex->ended) {
            st = ERR(FORMAT);
        } else if (ex->split == OTA_SPLIT_HEAD || ex->split == OTA_SPLIT_CHUNK_HEAD) {
            ex->item_head[ex->item_fill++] = data[pos++];
            n = item_head_len(ex->item_head[0]);
            if (n == 0)
                st = ERR(FORMAT);
            else if (ex->item_fill == n)
                st = item_begin(ex);
        } else {
            n = len - pos;
            if (n > ex->item_left)
                n = (size_t)ex->item_left;
            st = ex->split == OTA_SPLIT_HEADER ? take_header(ex, data + pos, n) : take_chunk(ex, data + pos, n);
            pos += n;
        }
    }
    if (st != 0)
        return ota_exec_fail(ex, st, "");
    return ex->ended ? OTA_DONE : OTA_WANT_INPUT;
}

int ota_exec_finish(struct ota_exec *ex, int why)
{
    int st = 0;
    if (ex->finished)
        return ex->report.status;
    ex->finished = 1;
    if (why < 0)
        (void)ota_exec_fail(ex, why, "");
    else if (!ex->ended)
        (void)ota_exec_fail(ex, ERR(FORMAT), "the record stream ends before its end record");
    ota_exec_close(ex);
    /* before the end script, which may start the board anew */
    if (ex->report.status == 0 && !ex->options.dry_run && (st = ota_exec_keep_accepted(ex)) != 0)
        st = ota_exec_fail(ex, st, "");
    if (ex->passed && ex->have_end_script && !ex->options.dry_run) {
        int phase = ex->report.phase;
        ex->report.phase = OTA_PHASE_END;
        if (ex->report.status == 0)
            st = run_script(ex, OTA_SCRIPT_END, 0, ERR(END_SCRIPT));
        else {
            int code = 0;
            (void)ex->port.script_run(ex->port.ctx, OTA_SCRIPT_END, -1, &code);
            ex->report.script_exit = code;
            ex->report.phase = phase; /* where it failed matters more */
        }
        if (st != 0)
            (void)ota_exec_fail(ex, st, "");
    }
    return ex->report.status;
}
