/* posix.c - one applier's hold on the board: folders, lock, errors, the table of callbacks. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES 50 /* 20 ms apart */

size_t ota_posix_size(void)
{
    return sizeof(struct ota_posix);
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

int ota_posix_fail(struct ota_posix *p, int e)
{
    p->err = e;
    switch (e) {
    case ENOSPC:
    case EDQUOT:
        return -OTA_E_SPACE;
    case EROFS:
    case EACCES:
    case EPERM:
        return -OTA_E_READONLY;
    case ENOENT:
        return -OTA_E_MISSING;
    case ELOOP:
    case ENOTDIR:
    case ENAMETOOLONG:
        return -OTA_E_PATH;
    case EISDIR:
    case EEXIST:
    case ENOTEMPTY: /* a folder stands where something else was expected, or the reverse */
        return -OTA_E_TARGET;
    default:
        return -OTA_E_IO;
    }
}

int ota_posix_refuse(struct ota_posix *p, enum ota_error code)
{
    p->err = 0;
    return -(int)code;
}

static int last_error(void *ctx)
{
    const struct ota_posix *p = ctx;
    return p->err;
}

/* ---- file descriptors ------------------------------------------------------------------------------------------ */

int ota_fd_close(int *fd)
{
    int e = 0;
    if (*fd >= 0 && close(*fd) != 0 && errno != EINTR) {
        e = errno;
    }
    *fd = -1;
    return e;
}

int ota_fd_open(int dir, const char *name, int flags, unsigned mode)
{
    int fd;
    do {
        fd = openat(dir, name, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int ota_fd_read_at(struct ota_posix *p, int fd, uint64_t off, uint8_t *buf, size_t len)
{
    size_t done = 0;
    if (off > INT64_MAX || len > (uint64_t)INT64_MAX - off) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    while (done < len) {
        ssize_t n = pread(fd, buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        if (n == 0) {
            return ota_posix_refuse(p, OTA_E_CHANGED);
        }
        if (n > 0) {
            done += (size_t)n;
        }
    }
    return 0;
}

int ota_fd_write(struct ota_posix *p, int fd, const uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, buf + done, len - done);
        if (n < 0 && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        if (n == 0) {
            return ota_posix_fail(p, EIO);
        }
        if (n > 0) {
            done += (size_t)n;
        }
    }
    return 0;
}

int ota_fd_write_at(struct ota_posix *p, int fd, uint64_t off, const uint8_t *buf, size_t len)
{
    size_t done = 0;
    if (off > INT64_MAX || len > (uint64_t)INT64_MAX - off) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    while (done < len) {
        ssize_t n = pwrite(fd, buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        if (n == 0) {
            return ota_posix_fail(p, EIO);
        }
        if (n > 0) {
            done += (size_t)n;
        }
    }
    return 0;
}

int ota_fd_sync(struct ota_posix *p, int fd)
{
    while (fsync(fd) != 0) {
        if (errno == EINTR) {
            continue;
        }
        /* What cannot be synced at all (some FUSE and network file systems) is as durable as it gets. */
        return errno == EINVAL || errno == ENOSYS ? 0 : ota_posix_fail(p, errno);
    }
    return 0;
}

int ota_fd_ioctl(int fd, unsigned long request, void *arg)
{
#ifdef __GLIBC__
    return ioctl(fd, request, arg);
#else
    return ioctl(fd, (int)request, arg);
#endif
}

/* ---- init ------------------------------------------------------------------------------------------------------ */

/* dst = prefix + absolute form of path. Scripts start in "/", so a relative path would name something else there. */
static int set_absolute(char *dst, size_t cap, const char *prefix, const char *path)
{
    size_t at = strlen(prefix);
    size_t len = strlen(path);
    memcpy(dst, prefix, at);
    if (path[0] != '/') {
        if (getcwd(dst + at, cap - at) == NULL) {
            return errno;
        }
        at += strlen(dst + at);
        if (at + 1 >= cap) {
            return ENAMETOOLONG;
        }
        if (dst[at - 1] != '/') {
            dst[at++] = '/';
        }
    }
    if (len >= cap - at) {
        return ENAMETOOLONG;
    }
    memcpy(dst + at, path, len + 1);
    return 0;
}

static int init_text(struct ota_posix *p, const struct ota_posix_options *o)
{
    const char *shell = o->shell != NULL ? o->shell : "/bin/sh";
    int e;
    if (o->root == NULL || o->tmp == NULL || o->root[0] == '\0' || o->tmp[0] == '\0') {
        p->err = EINVAL;
        return -OTA_E_USAGE;
    }
    p->patterns = o->patterns;
    p->pattern_count = o->pattern_count;
    e = set_absolute(p->root_env, sizeof(p->root_env), "OTA_ROOT=", o->root);
    if (e == 0) {
        e = set_absolute(p->tmp_env, sizeof(p->tmp_env), "OTA_TMP=", o->tmp);
    }
    if (e == 0) {
        e = set_absolute(p->shell, sizeof(p->shell), "", shell);
    }
    if (e == 0 && o->hook != NULL) {
        e = set_absolute(p->hook, sizeof(p->hook), "", o->hook);
    }
    p->err = e;
    return e == 0 ? 0 : -OTA_E_USAGE;
}

/* The folder itself is locked: no lock file is left behind, and the lock dies with its holder. It dies a moment later
 * if the holder was killed just when it started a script: the child holds it until it has become the shell. */
static int take_lock(struct ota_posix *p)
{
    int tries = LOCK_TRIES;
    while (flock(p->root_fd, LOCK_EX | LOCK_NB) != 0) {
        const struct timespec nap = {0, 20000000};
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        if (--tries == 0) {
            p->err = EWOULDBLOCK;
            return -OTA_E_LOCKED;
        }
        (void)nanosleep(&nap, NULL);
    }
    return 0;
}

static int init_folders(struct ota_posix *p, const struct ota_posix_options *o)
{
    p->root_fd = ota_fd_open(AT_FDCWD, o->root, O_RDONLY | O_DIRECTORY, 0);
    if (p->root_fd >= 0) {
        p->tmp_fd = ota_fd_open(AT_FDCWD, o->tmp, O_RDONLY | O_DIRECTORY, 0);
    }
    if (p->root_fd < 0 || p->tmp_fd < 0) {
        p->err = errno;
        return -OTA_E_USAGE;
    }
    return take_lock(p);
}

int ota_posix_init(void *workspace, size_t len, const struct ota_posix_options *options, int *os_error)
{
    struct ota_posix *p = workspace;
    int i;
    int status;
    if (os_error != NULL) {
        *os_error = 0;
    }
    if (p == NULL || options == NULL || len < sizeof(*p) || (uintptr_t)workspace % sizeof(uint64_t) != 0) {
        return -OTA_E_USAGE;
    }
    memset(p, 0, sizeof(*p));
    p->root_fd = -1;
    p->tmp_fd = -1;
    for (i = 0; i < OTA_SLOTS; i++) {
        p->slot[i].owner = p;
        p->slot[i].fd = -1;
    }
    p->stage_dir = -1;
    p->stage_fd = -1;
    p->image_fd = -1;
    p->script_fd = -1;
    p->ubi_fd = -1;
    p->tick = options->tick;
    p->tick_ctx = options->tick_ctx;
    status = init_text(p, options);
    if (status == 0) {
        status = init_folders(p, options);
    }
    if (status != 0) {
        if (os_error != NULL) {
            *os_error = p->err;
        }
        ota_posix_close(p);
    }
    return status;
}

/* What is half made. */
static void abort_all(void *ctx)
{
    struct ota_posix *p = ctx;
    ota_tree_stage_abort(p);
    ota_ubi_abort(p);
    ota_image_abort(p);
}

void ota_posix_close(void *workspace)
{
    struct ota_posix *p = workspace;
    int i;
    if (p == NULL) {
        return;
    }
    abort_all(p);
    ota_script_cleanup(p);
    for (i = 0; i < OTA_SLOTS; i++) {
        (void)ota_fd_close(&p->slot[i].fd);
    }
    (void)ota_fd_close(&p->tmp_fd);
    (void)ota_fd_close(&p->root_fd); /* drops the lock, last */
}

/* ---- callbacks ------------------------------------------------------------------------------------------------- */

static int tick(void *ctx, const struct ota_report *report)
{
    struct ota_posix *p = ctx;
    p->report = report;
    return p->tick != NULL ? p->tick(p->tick_ctx, report) : 0;
}

void ota_posix_port(void *workspace, struct ota_port *port)
{
    struct ota_posix *p = workspace;
    p->report = NULL; /* a report belongs to the executor that is now being made */
    memset(port, 0, sizeof(*port));
    port->ctx = p;
    port->last_error = last_error;
    port->stat = ota_tree_stat;
    port->read_link = ota_tree_read_link;
    port->open = ota_tree_open;
    port->read_at = ota_slot_read_at;
    port->close = ota_slot_close;
    port->stage_begin = ota_tree_stage_begin;
    port->stage_write = ota_tree_stage_write;
    port->stage_commit = ota_tree_stage_commit;
    port->stage_abort = abort_all;
    port->set_meta = ota_tree_set_meta;
    port->make_dir = ota_tree_make_dir;
    port->remove = ota_tree_remove;
    port->symlink = ota_tree_symlink;
    port->hard_link = ota_tree_hard_link;
    port->rename = ota_tree_rename;
    port->free_space = ota_tree_free_space;
    port->node_open = ota_block_node_open;
    port->node_close = ota_block_node_close;
    port->ubi_begin = ota_ubi_begin;
    port->ubi_write = ota_ubi_write;
    port->ubi_end = ota_ubi_end;
    port->image_open = ota_image_open;
    port->image_begin = ota_image_begin;
    port->image_write = ota_image_write;
    port->image_commit = ota_image_commit;
    port->image_remove = ota_image_remove;
    port->tmp_keeps = ota_image_tmp_keeps;
    port->script_begin = ota_script_begin;
    port->script_write = ota_script_write;
    port->script_end = ota_script_end;
    port->script_run = ota_script_run;
    port->identity = ota_identity_read;
    port->allow = p->pattern_count > 0 || p->hook[0] != '\0' ? ota_choose_allow : NULL;
    port->tick = tick;
}
