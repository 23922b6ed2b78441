/* stage.c - new content beneath the apply root: staged files, links, moves.
 *
 * Whatever is made is made beside its target under OTA_STAGE_NAME and renamed, so a reader (and a power cut) sees the
 * old or the new, never less. Every rename is followed by a sync of the folder it is in.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat, nothing else */
#include <string.h>
#include <unistd.h>

/* ---- staged files ---------------------------------------------------------------------------------------------- */

int ota_stage_drop(struct ota_posix *p, int dir)
{
    if (unlinkat(dir, OTA_STAGE_NAME, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno == EISDIR && unlinkat(dir, OTA_STAGE_NAME, AT_REMOVEDIR) == 0) {
        return 0;
    }
    return ota_posix_fail(p, errno);
}

int ota_tree_stage_begin(void *ctx, const struct ota_path *path, uint64_t size)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    int status;
    (void)size; /* preflight has compared it with the free space; the file system says the rest */
    ota_tree_stage_abort(p);
    status = ota_place_find(p, path, &at);
    if (status == 0) {
        status = ota_stage_drop(p, at.dir);
    }
    if (status == 0) {
        /* 0600: nobody else reads it before owner and mode are right */
        p->stage_fd = ota_fd_open(at.dir, OTA_STAGE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (p->stage_fd < 0) {
            status = ota_posix_fail(p, errno);
        }
    }
    if (status != 0) {
        ota_place_close(&at);
        return status;
    }
    p->stage_dir = at.dir; /* the folder stays open: whatever happens to its path, the rename stays in it */
    return 0;
}

int ota_tree_stage_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct ota_posix *p = ctx;
    return p->stage_fd >= 0 ? ota_fd_write(p, p->stage_fd, buf, len) : ota_posix_refuse(p, OTA_E_INTERNAL);
}

/* Owner and mode that the package does not give are those of the file that is replaced. */
static int commit_meta(struct ota_posix *p, const char *name, const struct ota_meta *meta)
{
    struct ota_meta full = *meta;
    struct stat old;
    struct stat now;
    int changed = 0;
    if (fstatat(p->stage_dir, name, &old, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(old.st_mode)) {
        if (fstat(p->stage_fd, &now) != 0) {
            return ota_posix_fail(p, errno);
        }
        if ((meta->set & OTA_META_OWNER) == 0 && (old.st_uid != now.st_uid || old.st_gid != now.st_gid) &&
            fchown(p->stage_fd, old.st_uid, old.st_gid) != 0 && errno != EPERM) {
            return ota_posix_fail(p, errno); /* EPERM: not root, so the files cannot be anybody else's anyway */
        }
        if ((meta->set & OTA_META_MODE) == 0) {
            full.set |= OTA_META_MODE;
            full.mode = (uint32_t)old.st_mode & 07777;
        }
    }
    return ota_meta_apply(p, p->stage_fd, &full, &changed);
}

int ota_tree_stage_commit(void *ctx, const struct ota_path *path, const struct ota_meta *meta)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat held;
    struct stat now;
    int e;
    int status;
    if (p->stage_fd < 0) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    status = ota_place_find(p, path, &at);
    if (status == 0 &&
        (fstatat(p->stage_dir, "", &held, AT_EMPTY_PATH) != 0 || fstatat(at.dir, "", &now, AT_EMPTY_PATH) != 0)) {
        status = ota_posix_fail(p, errno);
    }
    if (status == 0 && (held.st_dev != now.st_dev || held.st_ino != now.st_ino)) {
        status = ota_posix_refuse(p, OTA_E_CHANGED); /* somebody exchanged the folder while we wrote */
    }
    if (status == 0) {
        status = commit_meta(p, at.name, meta);
    }
    if (status == 0) {
        status = ota_fd_sync(p, p->stage_fd);
    }
    if (status == 0) {
        e = ota_fd_close(&p->stage_fd);
        status = e != 0 ? ota_posix_fail(p, e) : 0;
    }
    if (status == 0 && renameat(p->stage_dir, OTA_STAGE_NAME, p->stage_dir, at.name) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status == 0) {
        status = ota_dir_sync(p, p->stage_dir);
        (void)ota_fd_close(&p->stage_dir); /* nothing is left to abort */
    }
    ota_place_close(&at);
    if (status != 0) {
        e = p->err;
        ota_tree_stage_abort(p);
        p->err = e;
    }
    return status;
}

void ota_tree_stage_abort(void *ctx)
{
    struct ota_posix *p = ctx;
    (void)ota_fd_close(&p->stage_fd);
    if (p->stage_dir >= 0) {
        (void)unlinkat(p->stage_dir, OTA_STAGE_NAME, 0);
        (void)ota_fd_close(&p->stage_dir);
    }
}

/* ---- links and moves ------------------------------------------------------------------------------------------- */

/* Put what stands under the staging name over the target. */
static int swap_in(struct ota_posix *p, const struct ota_place *at)
{
    int status = 0;
    if (renameat(at->dir, OTA_STAGE_NAME, at->dir, at->name) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status == 0) {
        status = ota_dir_sync(p, at->dir);
    } else {
        (void)unlinkat(at->dir, OTA_STAGE_NAME, 0);
    }
    return status;
}

int ota_tree_symlink(void *ctx, const struct ota_path *path, const char *text, size_t len, const struct ota_meta *meta)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat st;
    int status = ota_place_find(p, path, &at);
    if (status == 0 && (len == 0 || len >= OTA_PATH_MAX || memchr(text, '\0', len) != NULL)) {
        status = ota_posix_refuse(p, OTA_E_PATH);
    }
    if (status == 0) {
        status = ota_stage_drop(p, at.dir);
    }
    if (status == 0) {
        memcpy(p->scratch.text, text, len);
        p->scratch.text[len] = '\0';
        if (symlinkat(p->scratch.text, at.dir, OTA_STAGE_NAME) != 0) {
            status = ota_posix_fail(p, errno);
        }
    }
    if (status == 0 && meta != NULL && (meta->set & OTA_META_OWNER) != 0) {
        if (fstatat(at.dir, OTA_STAGE_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            ((st.st_uid != meta->uid || st.st_gid != meta->gid) &&
             fchownat(at.dir, OTA_STAGE_NAME, meta->uid, meta->gid, AT_SYMLINK_NOFOLLOW) != 0)) {
            status = ota_posix_fail(p, errno);
            (void)unlinkat(at.dir, OTA_STAGE_NAME, 0);
        }
    }
    if (status == 0) {
        status = swap_in(p, &at);
    }
    ota_place_close(&at);
    return status;
}

/* Do both places hold the same object? 0 or a negative status; *links is its link count. */
static int same_object(struct ota_posix *p, const struct ota_place *a, const struct ota_place *b, int *same,
                       uint64_t *links)
{
    struct stat sa;
    struct stat sb;
    *same = 0;
    *links = 0;
    if (fstatat(a->dir, a->name, &sa, AT_SYMLINK_NOFOLLOW) != 0) {
        return ota_posix_fail(p, errno);
    }
    *links = (uint64_t)sa.st_nlink;
    if (fstatat(b->dir, b->name, &sb, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : ota_posix_fail(p, errno);
    }
    *same = sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
    return 0;
}

int ota_tree_hard_link(void *ctx, const struct ota_path *path, const struct ota_path *to)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct ota_place source;
    uint64_t links;
    int same = 0;
    int status;
    source.dir = -1;
    status = ota_place_find(p, path, &at);
    if (status == 0) {
        status = ota_place_find(p, to, &source);
    }
    if (status == 0) {
        status = ota_stage_drop(p, at.dir);
    }
    if (status == 0) {
        status = same_object(p, &source, &at, &same, &links);
    }
    /* A rename between two names of one file does nothing and leaves both, so it must not come to that. */
    if (status == 0 && !same) {
        if (linkat(source.dir, source.name, at.dir, OTA_STAGE_NAME, 0) != 0) {
            status = ota_posix_fail(p, errno);
        } else {
            status = swap_in(p, &at);
        }
    }
    ota_place_close(&source);
    ota_place_close(&at);
    return status;
}

/* Are these two entries one and the same (by whatever path)? */
static int same_entry(const struct ota_place *a, const struct ota_place *b)
{
    struct stat sa;
    struct stat sb;
    return strcmp(a->name, b->name) == 0 && fstatat(a->dir, "", &sa, AT_EMPTY_PATH) == 0 &&
           fstatat(b->dir, "", &sb, AT_EMPTY_PATH) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int ota_tree_rename(void *ctx, const struct ota_path *from, const struct ota_path *to)
{
    struct ota_posix *p = ctx;
    struct ota_place source;
    struct ota_place at;
    uint64_t links = 0;
    int same = 0;
    int status;
    at.dir = -1;
    status = ota_place_find(p, from, &source);
    if (status == 0) {
        status = ota_place_find(p, to, &at);
    }
    if (status == 0) {
        status = same_object(p, &source, &at, &same, &links);
    }
    if (status == 0 && !(same && same_entry(&source, &at))) {
        /* Two names of one file: rename would do nothing, so the old name is taken away. With a single link it is a
         * file system that does not tell upper from lower case, and there rename does what is wanted. */
        int failed = same && links > 1 ? unlinkat(source.dir, source.name, 0)
                                       : renameat(source.dir, source.name, at.dir, at.name);
        if (failed != 0) {
            status = errno == EXDEV ? 1 : ota_posix_fail(p, errno);
        } else {
            status = ota_dir_sync(p, at.dir);
        }
        if (failed == 0 && status == 0) {
            status = ota_dir_sync(p, source.dir);
        }
    }
    ota_place_close(&at);
    ota_place_close(&source);
    return status;
}
