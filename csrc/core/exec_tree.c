/* exec_tree.c - records that change files and folders. All are idempotent: what is right already is left alone. */
#include "exec.h"

#include <string.h>

static struct ota_meta record_meta(const struct ota_record *r)
{
    struct ota_meta m;
    memset(&m, 0, sizeof m);
    if (r->has & OTA_HAS(MODE))
        m.set |= OTA_META_MODE;
    if (r->has & OTA_HAS(UID))
        m.set |= OTA_META_OWNER;
    if (r->has & OTA_HAS(XATTRS))
        m.set |= OTA_META_XATTRS;
    m.mode = r->mode;
    m.uid = r->uid;
    m.gid = r->gid;
    m.xattrs = r->xattrs;
    m.xattrs_len = r->xattrs_len;
    return m;
}

static int set_meta(struct ota_exec *ex, const struct ota_path *p)
{
    struct ota_meta m = record_meta(&ex->rec);
    return ota_exec_wrote(ex, ex->port.set_meta(ex->port.ctx, p, &m), 0);
}

/* Make the folders above a path that are missing, from the top. Folders that are there are left as they are. */
static int make_parents(struct ota_exec *ex, const struct ota_path *p)
{
    struct ota_path up = *p;
    struct ota_meta m;
    struct ota_stat st;
    int s = 0;
    memset(&m, 0, sizeof m);
    m.set = OTA_META_MODE;
    m.mode = 0755;
    for (up.path_len = 0; s == 0 && up.path_len < p->path_len; up.path_len++) {
        if (p->path[up.path_len] != '/')
            continue;
        if ((s = ex->port.stat(ex->port.ctx, &up, &st)) == 0 && st.type == OTA_ABSENT)
            s = ota_exec_wrote(ex, ex->port.make_dir(ex->port.ctx, &up, &m), 0);
        else if (s == 0 && st.type != OTA_DIR)
            s = ota_exec_fail(ex, ERR(TARGET), "something that is no folder is in the way");
    }
    return s;
}

int ota_exec_file_begin(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_path p = ota_exec_path(r->root, r->path);
    struct ota_stat st;
    int single = (r->has & OTA_HAS(LINKS)) != 0;
    int is;

    /* Preflight has just read every target. If none was new, none can be now, and reading them again is spared. */
    if (ex->resumed || r->engine < 0) {
        if ((is = ota_exec_file_is(ex, &p, r->size, r->digest, &st)) < 0)
            return is;
    } else {
        is = 0;
        if ((is = ex->port.stat(ex->port.ctx, &p, &st)) != 0)
            return is;
    }
    if (is == 1 && (!single || st.nlink == 1 || r->engine < 0)) {
        ex->sink = OTA_SINK_SKIP;
        ex->report.skipped++;
        return set_meta(ex, &p);
    }
    if (r->engine < 0)
        return ota_exec_fail(ex, st.type == OTA_ABSENT ? ERR(MISSING) : ERR(TARGET),
                             "its content is not the expected one");
    if (st.type == OTA_DIR)
        return ota_exec_fail(ex, ERR(TARGET), "a folder is in the way of a file");
    if ((r->has & OTA_HAS(PARENTS)) != 0 && (is = make_parents(ex, &p)) != 0)
        return is;
    ex->sink = OTA_SINK_STAGE;
    return ex->port.stage_begin(ex->port.ctx, &p, r->size);
}

int ota_exec_file_end(struct ota_exec *ex)
{
    struct ota_path p = ota_exec_path(ex->rec.root, ex->rec.path);
    struct ota_meta m = record_meta(&ex->rec);
    return ota_exec_wrote(ex, ex->port.stage_commit(ex->port.ctx, &p, &m), 0);
}

int ota_exec_delete(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_path p = ota_exec_path(r->root, r->path);
    struct ota_stat st;
    int dir = r->type == 2;
    int s = ex->port.stat(ex->port.ctx, &p, &st);
    if (s != 0)
        return s;
    /* A later record of this package may have put the other kind in its place before a cut: that is done already. */
    if (st.type == OTA_ABSENT || (st.type == OTA_DIR) != dir) {
        ex->report.skipped++;
        return 0;
    }
    s = ex->port.remove(ex->port.ctx, &p, dir);
    return s < 0 ? s : ota_exec_wrote(ex, 0, 0); /* 1: the folder is not empty and stays */
}

int ota_exec_dir(struct ota_exec *ex)
{
    struct ota_path p = ota_exec_path(ex->rec.root, ex->rec.path);
    struct ota_meta m = record_meta(&ex->rec);
    struct ota_stat st;
    int s = ex->port.stat(ex->port.ctx, &p, &st);
    if (s != 0)
        return s;
    if (st.type == OTA_DIR) {
        ex->report.skipped++;
        return set_meta(ex, &p);
    }
    if (st.type != OTA_ABSENT)
        return ota_exec_fail(ex, ERR(TARGET), "something else is in the way of a folder");
    return ota_exec_wrote(ex, ex->port.make_dir(ex->port.ctx, &p, &m), 0);
}

static int hard_link(struct ota_exec *ex, const struct ota_path *p, const struct ota_stat *st)
{
    struct ota_path to = ota_exec_path(ex->rec.root, ex->rec.to);
    struct ota_stat first;
    int s = ex->port.stat(ex->port.ctx, &to, &first);
    if (s != 0)
        return s;
    if (first.type != OTA_FILE)
        return ota_exec_fail(ex, ERR(MISSING), "the file that a hard link shares is not there");
    if (st->type == OTA_FILE && st->dev == first.dev && st->ino == first.ino) {
        ex->report.skipped++;
        return 0;
    }
    return ota_exec_wrote(ex, ex->port.hard_link(ex->port.ctx, p, &to), 0);
}

int ota_exec_link(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_path p = ota_exec_path(r->root, r->path);
    struct ota_meta m = record_meta(r);
    struct ota_stat st;
    size_t len = 0;
    int s = ex->port.stat(ex->port.ctx, &p, &st);
    if (s != 0)
        return s;
    if (st.type == OTA_DIR)
        return ota_exec_fail(ex, ERR(TARGET), "a folder is in the way of a link");
    if (r->type == 1)
        return hard_link(ex, &p, &st);
    if (st.type == OTA_SYMLINK) {
        if ((s = ex->port.read_link(ex->port.ctx, &p, (char *)ex->small, sizeof ex->small, &len)) != 0)
            return s;
        if (len == r->to.len && memcmp(ex->small, r->to.p, len) == 0) {
            ex->report.skipped++;
            return m.set != 0 ? set_meta(ex, &p) : 0;
        }
    }
    return ota_exec_wrote(ex, ex->port.symlink(ex->port.ctx, &p, r->to.p, r->to.len, &m), 0);
}

/* A move that rename cannot do, since something is mounted in between: copy, then delete. A cut leaves both, and the
 * next run deletes the old one. */
static int move_by_copy(struct ota_exec *ex, const struct ota_path *from, const struct ota_path *to)
{
    struct ota_meta m = record_meta(&ex->rec);
    uint64_t off = 0;
    uint64_t size;
    int st = ex->port.open(ex->port.ctx, OTA_SLOT_SOURCE, from, &size);
    if (st != 0 || (st = ex->port.stage_begin(ex->port.ctx, to, size)) != 0)
        return st;
    while (st == 0 && off < size) {
        size_t n = ex->options.block_buffer;
        if (n > size - off)
            n = (size_t)(size - off);
        if ((st = ex->port.read_at(ex->port.ctx, OTA_SLOT_SOURCE, off, ex->block, n)) == 0)
            st = ota_exec_wrote(ex, ex->port.stage_write(ex->port.ctx, ex->block, n), n);
        off += n;
        (void)ota_exec_tick(ex);
    }
    (void)ex->port.close(ex->port.ctx, OTA_SLOT_SOURCE);
    if (st != 0 || (st = ex->port.stage_commit(ex->port.ctx, to, &m)) != 0)
        return st;
    st = ex->port.remove(ex->port.ctx, from, 0);
    return st < 0 ? st : 0;
}

int ota_exec_move(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    struct ota_path p = ota_exec_path(r->root, r->path);
    struct ota_path from = ota_exec_path(r->source.root, r->source.path);
    struct ota_stat there;
    struct ota_stat st;
    int same;
    int is = ota_exec_file_is(ex, &p, r->size, r->digest, &there);
    if (is < 0)
        return is;
    if (is == 1) { /* moved already: make sure that the old name is gone, unless it is the same name by another way */
        if ((is = ex->port.stat(ex->port.ctx, &from, &st)) != 0)
            return is;
        ex->report.skipped++;
        same = st.dev == there.dev && st.ino == there.ino && st.nlink == 1;
        if (st.type == OTA_FILE && !same && (is = ex->port.remove(ex->port.ctx, &from, 0)) < 0)
            return is;
        return set_meta(ex, &p);
    }
    if ((is = ota_exec_file_is(ex, &from, r->source.size, r->source.digest, NULL)) < 0)
        return is;
    if (is == 0)
        return ota_exec_fail(ex, ERR(MISSING), "the file to be moved is not there");
    ex->report.changed = 1;
    is = ex->port.rename(ex->port.ctx, &from, &p);
    if (is == 1)
        return move_by_copy(ex, &from, &p);
    return is != 0 ? is : set_meta(ex, &p);
}
