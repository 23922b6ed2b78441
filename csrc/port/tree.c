/* tree.c - files, folders and links beneath the apply root: looking, meta data, folders, removing.
 *
 * Every removal and new folder is followed by a sync of the folder it is in.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat, nothing else */
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- looking --------------------------------------------------------------------------------------------------- */

static enum ota_node_type type_of(mode_t mode)
{
    if (S_ISREG(mode)) {
        return OTA_FILE;
    }
    if (S_ISDIR(mode)) {
        return OTA_DIR;
    }
    return S_ISLNK(mode) ? OTA_SYMLINK : OTA_OTHER;
}

/* No such thing, for whatever reason on the way: a missing folder, or a link or file where a folder should be. */
static int is_absent(const struct ota_posix *p, int status)
{
    return status == -OTA_E_MISSING || (status == -OTA_E_PATH && p->err == ENOTDIR);
}

int ota_tree_stat(void *ctx, const struct ota_path *path, struct ota_stat *st)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat s;
    int status;
    memset(st, 0, sizeof(*st));
    status = ota_place_find(p, path, &at);
    if (status == 0 && fstatat(at.dir, at.name, &s, AT_SYMLINK_NOFOLLOW) != 0) {
        status = ota_posix_fail(p, errno);
    }
    ota_place_close(&at);
    if (status != 0) {
        return is_absent(p, status) ? 0 : status;
    }
    st->type = type_of(s.st_mode);
    st->mode = (uint32_t)s.st_mode & 07777;
    st->uid = (uint32_t)s.st_uid;
    st->gid = (uint32_t)s.st_gid;
    st->size = (uint64_t)s.st_size;
    st->dev = (uint64_t)s.st_dev;
    st->ino = (uint64_t)s.st_ino;
    st->nlink = (uint64_t)s.st_nlink;
    return 0;
}

int ota_tree_read_link(void *ctx, const struct ota_path *path, char *buf, size_t cap, size_t *len)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    int status = ota_place_find(p, path, &at);
    *len = 0;
    if (status == 0) {
        ssize_t n = readlinkat(at.dir, at.name, buf, cap);
        if (n < 0) {
            status = errno == EINVAL ? ota_posix_refuse(p, OTA_E_TARGET) : ota_posix_fail(p, errno);
        } else if ((size_t)n >= cap) {
            status = ota_posix_fail(p, ENAMETOOLONG); /* it may have been cut */
        } else {
            *len = (size_t)n;
        }
    }
    ota_place_close(&at);
    return status;
}

/* Open a file or folder that is there already. Devices and pipes are refused unopened: opening one may act. */
static int open_existing(struct ota_posix *p, const struct ota_place *at, struct stat *st, int *fd)
{
    *fd = -1;
    if (fstatat(at->dir, at->name, st, AT_SYMLINK_NOFOLLOW) != 0) {
        return ota_posix_fail(p, errno);
    }
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) {
        return ota_posix_refuse(p, OTA_E_TARGET);
    }
    return ota_node_openat(p, at, st, O_RDONLY, fd);
}

int ota_tree_open(void *ctx, enum ota_slot slot, const struct ota_path *path, uint64_t *size)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat st;
    int fd = -1;
    int status = ota_slot_close(p, slot);
    if (status != 0) {
        return status;
    }
    status = ota_place_find(p, path, &at);
    if (status == 0) {
        status = open_existing(p, &at, &st, &fd);
    }
    ota_place_close(&at);
    if (status == 0 && !S_ISREG(st.st_mode)) {
        status = ota_posix_refuse(p, OTA_E_TARGET);
    }
    if (status != 0) {
        (void)ota_fd_close(&fd);
        return status;
    }
    *size = (uint64_t)st.st_size;
    p->slot[slot].fd = fd;
    p->slot[slot].size = (uint64_t)st.st_size;
    p->slot[slot].is_block = 0;
    return 0;
}

int ota_tree_free_space(void *ctx, const struct ota_path *path, uint64_t *fs_id, uint64_t *bytes, uint32_t *unit)
{
    struct ota_posix *p = ctx;
    struct statvfs vfs;
    struct stat st;
    int dir = -1;
    int fd = -1;
    int status = 0;
    if (path != NULL) {
        status = ota_path_nearest(p, path, &dir);
    }
    if (status == 0) {
        status = ota_dir_open(p, path != NULL ? dir : p->tmp_fd, &fd);
    }
    if (status == 0 && (fstatvfs(fd, &vfs) != 0 || fstat(fd, &st) != 0)) {
        status = ota_posix_fail(p, errno);
    }
    if (status == 0) {
        uint64_t block = vfs.f_frsize != 0 ? (uint64_t)vfs.f_frsize : 4096;
        uint64_t count = (uint64_t)vfs.f_bavail;
        *fs_id = (uint64_t)st.st_dev;
        *unit = block <= UINT32_MAX ? (uint32_t)block : UINT32_MAX;
        *bytes = count > UINT64_MAX / block ? UINT64_MAX : count * block;
    }
    (void)ota_fd_close(&fd);
    (void)ota_fd_close(&dir);
    return status;
}

/* ---- meta data and folders ------------------------------------------------------------------------------------- */

int ota_tree_set_meta(void *ctx, const struct ota_path *path, const struct ota_meta *meta)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat st;
    int fd = -1;
    int changed = 0;
    int status = ota_place_find(p, path, &at);
    if (status == 0 && fstatat(at.dir, at.name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status == 0 && S_ISLNK(st.st_mode)) {
        /* a symbolic link has an owner and nothing else that a package can say */
        if ((meta->set & OTA_META_OWNER) != 0 && (st.st_uid != meta->uid || st.st_gid != meta->gid)) {
            status = fchownat(at.dir, at.name, meta->uid, meta->gid, AT_SYMLINK_NOFOLLOW) != 0
                         ? ota_posix_fail(p, errno)
                         : ota_dir_sync(p, at.dir);
        }
        ota_place_close(&at);
        return status;
    }
    if (status == 0) {
        status = open_existing(p, &at, &st, &fd);
    }
    if (status == 0) {
        status = ota_meta_apply(p, fd, meta, &changed);
    }
    if (status == 0 && changed) {
        status = ota_fd_sync(p, fd);
    }
    (void)ota_fd_close(&fd);
    ota_place_close(&at);
    return status;
}

/* A folder that is there already. */
static int change_dir(struct ota_posix *p, const struct ota_place *at, const struct ota_meta *meta)
{
    struct stat st;
    int changed = 0;
    int fd;
    int status = open_existing(p, at, &st, &fd);
    if (status == 0 && !S_ISDIR(st.st_mode)) {
        status = ota_posix_fail(p, EEXIST);
    }
    if (status == 0) {
        status = ota_meta_apply(p, fd, meta, &changed);
    }
    if (status == 0 && changed) {
        status = ota_fd_sync(p, fd);
    }
    (void)ota_fd_close(&fd);
    return status;
}

/* A new folder is made under the staging name and renamed when its mode and owner are right: whoever finds it later
 * (a run after a cut that only wants it to be there) need not ask. */
static int new_dir(struct ota_posix *p, const struct ota_place *at, const struct ota_meta *meta)
{
    struct ota_place staged = {at->dir, OTA_STAGE_NAME};
    struct ota_meta full = *meta;
    int status = ota_stage_drop(p, at->dir);
    if (status != 0) {
        return status;
    }
    if ((full.set & OTA_META_MODE) == 0) {
        full.set |= OTA_META_MODE;
        full.mode = 0755;
    }
    if (mkdirat(at->dir, OTA_STAGE_NAME, 0700) != 0) {
        return ota_posix_fail(p, errno);
    }
    status = change_dir(p, &staged, &full);
    if (status == 0 && renameat(at->dir, OTA_STAGE_NAME, at->dir, at->name) != 0) {
        status = ota_posix_fail(p, errno);
    }
    if (status != 0) {
        (void)unlinkat(at->dir, OTA_STAGE_NAME, AT_REMOVEDIR);
        return status;
    }
    return ota_dir_sync(p, at->dir);
}

int ota_tree_make_dir(void *ctx, const struct ota_path *path, const struct ota_meta *meta)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    struct stat st;
    int status = ota_place_find(p, path, &at);
    if (status != 0) {
        return status;
    }
    if (fstatat(at.dir, at.name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        status = change_dir(p, &at, meta);
    } else if (errno == ENOENT) {
        status = new_dir(p, &at, meta);
    } else {
        status = ota_posix_fail(p, errno);
    }
    ota_place_close(&at);
    return status;
}

/* ---- removing -------------------------------------------------------------------------------------------------- */

/* Take away what a cut run left in a folder that is to go. No such folder, or nothing left in it: fine. */
static int drop_leftover_in(struct ota_posix *p, const struct ota_place *at)
{
    int status;
    int fd = ota_fd_open(at->dir, at->name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : ota_posix_fail(p, errno);
    }
    status = ota_stage_drop(p, fd);
    if (status == -OTA_E_TARGET) {
        status = 0; /* a folder of that name with something in it is none of ours */
    }
    (void)ota_fd_close(&fd);
    return status;
}

int ota_tree_remove(void *ctx, const struct ota_path *path, int dir)
{
    struct ota_posix *p = ctx;
    struct ota_place at;
    int status = ota_place_find(p, path, &at);
    if (status != 0) {
        return is_absent(p, status) ? 0 : status;
    }
    if (dir) {
        status = drop_leftover_in(p, &at);
    }
    if (status != 0) {
        /* told below */
    } else if (unlinkat(at.dir, at.name, dir ? AT_REMOVEDIR : 0) == 0) {
        status = ota_dir_sync(p, at.dir);
    } else if (dir && (errno == ENOTEMPTY || errno == EEXIST)) {
        status = 1;
    } else if (errno != ENOENT && errno != (dir ? ENOTDIR : EISDIR)) {
        /* (something of the other type: what was to be removed is not there) */
        status = ota_posix_fail(p, errno);
    }
    ota_place_close(&at);
    return status;
}
