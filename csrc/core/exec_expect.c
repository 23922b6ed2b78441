/* exec_expect.c - preflight: what must hold before anything is written. */
#include "exec.h"

#include <string.h>

/* ---- versions (docs/SPEC.md section 5.4) ------------------------------------------------------------------------- */

enum run_kind { RUN_LETTERS, RUN_NONE, RUN_DIGITS }; /* in rising order */

struct run {
    enum run_kind kind;
    const char *p;
    size_t len;
};

static enum run_kind char_kind(char c)
{
    if (c >= '0' && c <= '9')
        return RUN_DIGITS;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? RUN_LETTERS : RUN_NONE;
}

static struct run next_run(const char **p, const char *end)
{
    struct run r;
    while (*p < end && char_kind(**p) == RUN_NONE)
        (*p)++;
    r.p = *p;
    r.kind = *p < end ? char_kind(**p) : RUN_NONE;
    while (*p < end && r.kind != RUN_NONE && char_kind(**p) == r.kind)
        (*p)++;
    r.len = (size_t)(*p - r.p);
    while (r.kind == RUN_DIGITS && r.len > 1 && r.p[0] == '0') {
        r.p++;
        r.len--;
    }
    return r;
}

int ota_version_order(const char *a, size_t a_len, const char *b, size_t b_len)
{
    const char *a_end = a + a_len;
    const char *b_end = b + b_len;
    for (;;) {
        struct run x = next_run(&a, a_end);
        struct run y = next_run(&b, b_end);
        size_t n = x.len < y.len ? x.len : y.len;
        int d;
        if (x.kind != y.kind)
            return x.kind < y.kind ? -1 : 1;
        if (x.kind == RUN_NONE)
            return 0;
        if (x.kind == RUN_DIGITS && x.len != y.len)
            return x.len < y.len ? -1 : 1;
        d = memcmp(x.p, y.p, n);
        if (d != 0 || x.len != y.len)
            return d != 0 ? d : x.len < y.len ? -1 : 1;
    }
}

/* ---- board and version ------------------------------------------------------------------------------------------- */

static int expect_board(struct ota_exec *ex)
{
    struct ota_cbor c;
    struct ota_text want;
    uint64_t n;
    unsigned major;
    size_t len = 0;
    size_t at;
    size_t start;
    int st = ex->port.identity(ex->port.ctx, OTA_ID_BOARD, (char *)ex->small, sizeof ex->small, &len);
    if (st == ERR(MISSING))
        return ota_exec_fail(ex, ERR(BOARD), "this board has no identity: /etc/otastream/board is missing");
    if (st != 0)
        return st;
    c.p = (const uint8_t *)ex->rec.compatible.p;
    c.end = c.p + ex->rec.compatible.len;
    for (st = ota_cbor_head(&c, &major, &n); st == 0 && n > 0; n--) {
        if ((st = ota_cbor_string(&c, 3, 1, 255, &want)) != 0)
            return st;
        for (start = 0, at = 0; at <= len; at++) {
            if (at < len && ex->small[at] != '\0')
                continue;
            if (at - start == want.len && memcmp(ex->small + start, want.p, want.len) == 0)
                return 0;
            start = at + 1;
        }
    }
    ota_put_text(ex->report.detail, sizeof ex->report.detail, "this board is ");
    ota_put_bytes(ex->report.detail, sizeof ex->report.detail, (const char *)ex->small, len);
    return st != 0 ? st : ERR(BOARD);
}

static int expect_version(struct ota_exec *ex)
{
    size_t len = 0;
    int st = ex->port.identity(ex->port.ctx, OTA_ID_VERSION, (char *)ex->small, sizeof ex->small, &len);
    if (st == ERR(MISSING))
        return ota_exec_fail(ex, ERR(MIN_VERSION),
                             "the installed version is not known: /etc/otastream/version is missing");
    if (st != 0)
        return st;
    if (ota_version_order((const char *)ex->small, len, ex->rec.version.p, ex->rec.version.len) >= 0)
        return 0;
    ota_put_text(ex->report.detail, sizeof ex->report.detail, "installed ");
    ota_put_bytes(ex->report.detail, sizeof ex->report.detail, (const char *)ex->small, len < 40 ? len : 40);
    ota_put_text(ex->report.detail, sizeof ex->report.detail, ", needed ");
    ota_put_bytes(ex->report.detail, sizeof ex->report.detail, ex->rec.version.p, ex->rec.version.len);
    return ERR(MIN_VERSION);
}

/* ---- rollback -----------------------------------------------------------------------------------------------------
 */

/* 1: the board keeps a version, which is in ex->small (len bytes); 0: it does not. */
static int read_accepted(struct ota_exec *ex, size_t *len)
{
    int st = ex->port.identity(ex->port.ctx, OTA_ID_ACCEPTED, (char *)ex->small, sizeof ex->small, len);
    return st == 0 ? 1 : st == ERR(MISSING) ? 0 : st;
}

int ota_exec_check_accepted(struct ota_exec *ex)
{
    const struct ota_text *version = &ex->rec.version;
    size_t len = 0;
    int st;
    if (ex->options.allow_downgrade || ex->options.check_only || (st = read_accepted(ex, &len)) == 0)
        return 0;
    if (st < 0)
        return st;
    ex->guarded = 1;
    if (len == 0 ||
        (version->len > 0 && ota_version_order(version->p, version->len, (const char *)ex->small, len) >= 0))
        return 0;
    ota_put_text(ex->report.detail, sizeof ex->report.detail, version->len > 0 ? "version " : "no version");
    ota_put_bytes(ex->report.detail, sizeof ex->report.detail, version->p, version->len < 40 ? version->len : 40);
    ota_put_text(ex->report.detail, sizeof ex->report.detail, ", and this board has run ");
    ota_put_bytes(ex->report.detail, sizeof ex->report.detail, (const char *)ex->small, len < 40 ? len : 40);
    return ERR(ROLLBACK);
}

int ota_exec_keep_accepted(struct ota_exec *ex)
{
    struct ota_text version = {ex->report.version, ota_text_len(ex->report.version, sizeof ex->report.version)};
    struct ota_path p = ota_exec_path((struct ota_text){OTA_ACCEPTED_ROOT, sizeof OTA_ACCEPTED_ROOT - 1},
                                      (struct ota_text){OTA_ACCEPTED_NAME, sizeof OTA_ACCEPTED_NAME - 1});
    struct ota_meta meta = {0};
    size_t len = 0;
    int st;
    if (!ex->guarded || version.len == 0)
        return 0;
    if ((st = read_accepted(ex, &len)) < 0)
        return st;
    if (len > 0 && ota_version_order(version.p, version.len, (const char *)ex->small, len) <= 0)
        return 0;
    ota_exec_target(ex, (struct ota_text){p.root, p.root_len}, (struct ota_text){p.path, p.path_len});
    meta.set = OTA_META_MODE;
    meta.mode = 0644;
    if ((st = ex->port.stage_begin(ex->port.ctx, &p, version.len + 1)) == 0 &&
        (st = ex->port.stage_write(ex->port.ctx, (const uint8_t *)version.p, version.len)) == 0 &&
        (st = ex->port.stage_write(ex->port.ctx, (const uint8_t *)"\n", 1)) == 0)
        st = ex->port.stage_commit(ex->port.ctx, &p, &meta);
    if (st != 0)
        ex->port.stage_abort(ex->port.ctx);
    return st;
}

/* ---- space ------------------------------------------------------------------------------------------------------- */

static int64_t round_up(uint64_t size, uint32_t unit)
{
    uint64_t u = unit == 0 ? 4096u : unit;
    uint64_t n = size > (uint64_t)INT64_MAX / 4 ? (uint64_t)INT64_MAX / 4 : size;
    return (int64_t)((n + u - 1) / u * u);
}

/* Add one target (NULL: the temporary folder) to the sum of its file system. Beyond OTA_FS_MAX file systems nothing is
 * summed up: too little space is then found when it is met, with the old content still in place. */
static int add_space(struct ota_exec *ex, const struct ota_path *p, uint64_t gone, uint64_t made)
{
    uint64_t id;
    uint64_t free_bytes;
    uint32_t unit;
    unsigned i;
    struct ota_fs *fs;
    int st;
    if (ex->options.ignore_space)
        return 0;
    if ((st = ex->port.free_space(ex->port.ctx, p, &id, &free_bytes, &unit)) != 0)
        return st;
    for (i = 0; i < ex->fs_count && ex->fs[i].id != id; i++)
        ;
    if (i == OTA_FS_MAX)
        return 0;
    fs = &ex->fs[i];
    if (i == ex->fs_count) {
        ex->fs_count++;
        fs->id = id;
        fs->free = free_bytes;
        fs->now = 0;
        fs->peak = 0;
    }
    if (fs->now > INT64_MAX / 2 || fs->now < INT64_MIN / 2)
        return ERR(LIMIT);
    fs->now += round_up(made, unit);
    if (fs->now > fs->peak)
        fs->peak = fs->now;
    fs->now -= round_up(gone, unit);
    return 0;
}

int ota_exec_space(struct ota_exec *ex)
{
    unsigned i;
    for (i = 0; i < ex->fs_count; i++) {
        if (ex->fs[i].peak <= 0 || (uint64_t)ex->fs[i].peak <= ex->fs[i].free)
            continue;
        ex->report.detail[0] = '\0';
        ota_put_number(ex->report.detail, sizeof ex->report.detail, (uint64_t)ex->fs[i].peak);
        ota_put_text(ex->report.detail, sizeof ex->report.detail, " bytes needed, ");
        ota_put_number(ex->report.detail, sizeof ex->report.detail, ex->fs[i].free);
        ota_put_text(ex->report.detail, sizeof ex->report.detail, " free");
        return ERR(SPACE);
    }
    return 0;
}

/* ---- tree and node ----------------------------------------------------------------------------------------------- */

/* 1: the path is in this state; 0: it is not. */
static int state_holds(struct ota_exec *ex, const struct ota_path *p, const struct ota_stat *st,
                       const struct ota_state *s)
{
    size_t len = 0;
    int r;
    switch (s->type) {
    case OTA_STATE_ANY:
        return 1;
    case OTA_STATE_ABSENT:
        return st->type == OTA_ABSENT;
    case OTA_STATE_DIR:
        return st->type == OTA_DIR;
    case OTA_STATE_FILE:
        if (st->type != OTA_FILE || st->size != s->size)
            return 0;
        return ota_exec_file_is(ex, p, s->size, s->digest, NULL);
    default:
        if (st->type != OTA_SYMLINK)
            return 0;
        r = ex->port.read_link(ex->port.ctx, p, (char *)ex->small, sizeof ex->small, &len);
        return r != 0 ? r : len == s->text.len && memcmp(ex->small, s->text.p, len) == 0;
    }
}

/* A folder cannot replace a file or link in one step, nor the reverse: a cut can leave nothing there. */
static int passes_absent(const struct ota_record *r)
{
    enum ota_state_type a = r->before.type;
    enum ota_state_type b = r->after.type;
    return (a == OTA_STATE_DIR && (b == OTA_STATE_FILE || b == OTA_STATE_LINK)) ||
           (b == OTA_STATE_DIR && (a == OTA_STATE_FILE || a == OTA_STATE_LINK));
}

/* The report's target becomes the source of the record. */
static void name_source(struct ota_exec *ex)
{
    const struct ota_record_source *s = &ex->rec.source;
    if (s->type == OTA_SOURCE_PATH)
        ota_exec_target(ex, s->root, s->path);
    else if (s->type == OTA_SOURCE_NODE)
        ota_exec_target(ex, s->node, (struct ota_text){NULL, 0});
}

static int expect_tree(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_path p = ota_exec_path(r->root, r->path);
    struct ota_stat st;
    int is = ex->port.stat(ex->port.ctx, &p, &st);
    if (is != 0)
        return is;
    if ((is = state_holds(ex, &p, &st, &r->after)) < 0)
        return is;
    if (is == 1) {
        if (r->after.type != r->before.type || r->after.digest != r->before.digest)
            ex->resumed = 1;
        return 0;
    }
    if ((is = state_holds(ex, &p, &st, &r->before)) < 0)
        return is;
    if (is == 0 && st.type == OTA_ABSENT && passes_absent(r))
        ex->resumed = is = 1;
    if (is == 0)
        return ota_exec_fail(ex, st.type == OTA_ABSENT ? ERR(MISSING) : ERR(TARGET), "");
    if (r->source.type != OTA_SOURCE_NONE) {
        if ((is = ota_exec_source_is(ex, &r->source, r)) < 0)
            return is;
        if (is == 0) {
            name_source(ex);
            return ota_exec_fail(ex, ERR(TARGET), "another file is made from it, and it is not the old one");
        }
    }
    return add_space(ex, &p, st.type == OTA_FILE ? st.size : 0, r->after.type == OTA_STATE_FILE ? r->after.size : 0);
}

static int expect_node(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    unsigned i;
    int right = 0;
    int is = 0;
    for (i = 0; i < r->target_count; i++) {
        if ((r->mask >> i & 1u) == 0)
            continue;
        ota_exec_target(ex, r->targets[i], (struct ota_text){NULL, 0});
        if ((is = ota_exec_node_is(ex, r->targets[i], OTA_NODE_CHECK, r->size, r->digest)) < 0)
            return is;
        right |= is;
        if (is == 0 && ex->slot >= 0 && ota_slots_of(&ex->slots, r->targets[i]) == ex->slot)
            ex->slot_wrong = 1;
    }
    /* One right target is enough: the others are copied from it, whatever a cut has left of them. */
    if (r->source.type == OTA_SOURCE_NONE || right || r->mask == 0)
        return 0;
    if ((is = ota_exec_image_is(ex, r->size, r->digest)) != 0)
        return is < 0 ? is : 0;
    if ((is = ota_exec_source_is(ex, &r->source, r)) < 0)
        return is;
    if (is == 0) {
        ex->report.detail[0] = '\0'; /* a source that is too small has left its sizes there */
        name_source(ex);
        return ota_exec_fail(ex, ERR(TARGET), "the source of the delta is not the old image");
    }
    /* no target is free of the delta: the image is built in the temporary folder and removed afterwards */
    return ota_exec_free_target(r) == r->target_count ? add_space(ex, NULL, r->size, r->size) : 0;
}

static int expect_in_place(struct ota_exec *ex)
{
    uint64_t space;
    int st;
    if (ex->rec.mask == 0)
        return 0;
    if ((st = ota_in_place_expect(ex, &space)) != 0)
        return st < 0 ? st : 0;
    if (ex->slot >= 0 && ota_slots_of(&ex->slots, ex->rec.targets[0]) == ex->slot)
        ex->slot_wrong = 1;
    return space == 0 ? 0 : add_space(ex, NULL, space, space);
}

int ota_exec_expect(struct ota_exec *ex)
{
    switch (ex->rec.type) {
    case OTA_EXPECT_TREE:
        return expect_tree(ex);
    case OTA_EXPECT_NODE:
        return expect_node(ex);
    case OTA_EXPECT_BOARD:
        return expect_board(ex);
    case OTA_EXPECT_IN_PLACE:
        return expect_in_place(ex);
    case OTA_EXPECT_ENV:
        return ota_exec_expect_env(ex);
    default:
        return expect_version(ex);
    }
}
