/* trace.h - write down every call with which the Linux port changes a folder, while it makes it.
 *
 * The functions of libc are replaced by ones of this program. They make the real system call and add it to a history
 * (disk.h), by inode: what a path names when the power goes is for the history to say. A mutant makes them do what a
 * port with a certain mistake would do: the machine must notice each.
 */
#ifndef OTA_TESTS_TRACE_H
#define OTA_TESTS_TRACE_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk.h"

enum mutant {
    NO_MUTANT,
    NO_FILE_SYNC,    /* staged files are not synced */
    LATE_FILE_SYNC,  /* staged files are synced after the rename */
    NO_FOLDER_SYNC,  /* folders are not synced */
    NO_NODE_SYNC,    /* nodes are not synced */
    NO_IMAGE_SYNC,   /* images in the temporary folder are not synced */
    NO_SETTLE,       /* what a killed run left unsynced stays so */
    GONE_FIRST,      /* the target is removed before the rename */
    IN_PLACE,        /* content is written to the target, not beside it */
    BOTH_SLOTS,      /* the second slot is written along with the first */
    IMAGE_GONE_FIRST /* the built image is removed before it was copied */
};

static const char *const mutant_names[] = {
    "none",      "no-file-sync", "late-file-sync", "no-folder-sync", "no-node-sync",     "no-image-sync",
    "no-settle", "gone-first",   "in-place",       "both-slots",     "image-gone-first",
};

static struct {
    struct history *history; /* NULL: nothing is written down */
    uint64_t real[DISK_INODES];
    enum mutant mutant;
    int late;         /* LATE_FILE_SYNC: inode still to be synced, -1: none */
    char image[4096]; /* IMAGE_GONE_FIRST: the image that was built last */
} trace;

#define TRACE_STAGE ".otastream-new"

static void trace_stop(const char *what)
{
    fprintf(stderr, "the trace cannot follow: %s: %s\n", what, strerror(errno));
    abort();
}

/* Inode of the history; the newest one, as numbers are used again. */
static int traced_ino(uint64_t real)
{
    for (int i = trace.history->base.inodes; i-- > 0;)
        if (trace.real[i] == real)
            return i;
    trace_stop("a file that was not there in the beginning");
    return -1;
}

static int traced_fd(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        trace_stop("fstat");
    return traced_ino((uint64_t)st.st_ino);
}

static int traced_at(int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -1;
    return traced_ino((uint64_t)st.st_ino);
}

static void traced_name(char *to, const char *name)
{
    if (strlen(name) >= DISK_NAME || strchr(name, '/') != NULL)
        trace_stop(name);
    strcpy(to, name);
}

/* Something new stands at dir/name. */
static int traced_new(int dir, const char *name)
{
    struct event *e;
    struct stat st;
    int ino;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        trace_stop(name);
    ino = history_inode(trace.history,
                        S_ISREG(st.st_mode)   ? DISK_FILE
                        : S_ISDIR(st.st_mode) ? DISK_DIR
                                              : DISK_LINK,
                        S_ISLNK(st.st_mode) ? 0777 : st.st_mode & 07777, st.st_uid, st.st_gid);
    trace.real[ino] = (uint64_t)st.st_ino;
    e = history_add(trace.history, EVENT_ENTER);
    e->ino = ino;
    e->dir = traced_fd(dir);
    traced_name(e->name, name);
    return ino;
}

static void traced_leave(int dir, const char *name)
{
    int ino = traced_at(dir, name);
    struct event *e;
    if (ino < 0)
        return;
    e = history_add(trace.history, EVENT_LEAVE);
    e->ino = ino;
    e->dir = traced_fd(dir);
    traced_name(e->name, name);
}

static void traced_write(int fd, const void *buf, size_t len, uint64_t off)
{
    struct event *e = history_add(trace.history, EVENT_WRITE);
    e->ino = traced_fd(fd);
    e->off = off;
    e->len = len;
    e->data = malloc(len + 1);
    if (e->data == NULL)
        trace_stop("malloc");
    memcpy(e->data, buf, len);
}

static void traced_meta(int fd)
{
    struct event *e = history_add(trace.history, EVENT_META);
    struct stat st;
    if (fstat(fd, &st) != 0)
        trace_stop("fstat");
    e->ino = traced_fd(fd);
    e->mode = st.st_mode & 07777;
    e->uid = st.st_uid;
    e->gid = st.st_gid;
}

/* The name of an open file, as the kernel knows it. */
static const char *path_of(int fd)
{
    static char path[4096];
    char link[64];
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return path;
}

static int is_staged(int fd)
{
    return strstr(path_of(fd), TRACE_STAGE) != NULL;
}

static int is_node(int fd)
{
    return strstr(path_of(fd), "/root/dev/") != NULL;
}

static int is_image(int fd)
{
    return strstr(path_of(fd), "/tmp/otastream-") != NULL;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static int traced_openat(int dir, const char *name, int flags, unsigned mode)
{
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0 && trace.history != NULL && (flags & O_CREAT) != 0) {
        if ((flags & O_EXCL) == 0 || (flags & O_TRUNC) != 0)
            trace_stop("a file that is not made anew");
        (void)traced_new(dir, name);
    }
    return fd;
}

int openat(int dir, const char *name, int flags, ...)
{
    unsigned mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, unsigned);
        va_end(ap);
    }
    return traced_openat(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
{
    unsigned mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, unsigned);
        va_end(ap);
    }
    return traced_openat(dir, name, flags, mode);
}

int unlinkat(int dir, const char *name, int flags);

ssize_t write(int fd, const void *buf, size_t len)
{
    off_t at = trace.history != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_write, fd, buf, len);
    if (n > 0 && trace.history != NULL)
        traced_write(fd, buf, (size_t)n, (uint64_t)at);
    return n;
}

static void drop_image(void)
{
    char *slash = strrchr(trace.image, '/');
    int dir;
    *slash = '\0';
    dir = open(trace.image, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)unlinkat(dir, slash + 1, 0);
    history_sync(trace.history, traced_fd(dir));
    (void)close(dir);
    trace.image[0] = '\0';
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    ssize_t n = syscall(SYS_pwrite64, fd, buf, len, off);
    if (n > 0 && trace.history != NULL) {
        traced_write(fd, buf, (size_t)n, (uint64_t)off);
        if (trace.mutant == IMAGE_GONE_FIRST && is_node(fd) && trace.image[0] != '\0')
            drop_image();
        if (trace.mutant == BOTH_SLOTS && is_node(fd)) {
            char other[4096];
            int second;
            size_t end = strlen(strcpy(other, path_of(fd))) - 1;
            other[end] = other[end] == 'a' ? 'b' : 'a';
            second = open(other, O_RDWR | O_CLOEXEC);
            if (second >= 0 && syscall(SYS_pwrite64, second, buf, len, off) == n)
                traced_write(second, buf, (size_t)n, (uint64_t)off);
            (void)close(second);
        }
    }
    return n;
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
    return pwrite(fd, buf, len, (off_t)off);
}

static int traced_sync(int fd)
{
    struct stat st;
    if (trace.history == NULL)
        return 0;
    if (fstat(fd, &st) != 0)
        return -1;
    if (S_ISDIR(st.st_mode)
            ? trace.mutant == NO_FOLDER_SYNC
            : (trace.mutant == NO_FILE_SYNC && is_staged(fd)) || (trace.mutant == NO_NODE_SYNC && is_node(fd)) ||
                  (trace.mutant == NO_IMAGE_SYNC && is_image(fd)))
        return 0;
    if (trace.mutant == LATE_FILE_SYNC && S_ISREG(st.st_mode) && is_staged(fd))
        trace.late = traced_fd(fd);
    else
        history_sync(trace.history, traced_fd(fd));
    return 0;
}

int fsync(int fd)
{
    return traced_sync(fd);
}

int fdatasync(int fd)
{
    return traced_sync(fd);
}

int syncfs(int fd)
{
    (void)fd;
    if (trace.history != NULL && trace.mutant != NO_SETTLE)
        history_sync(trace.history, -1);
    return 0;
}

int unlinkat(int dir, const char *name, int flags)
{
    struct stat st;
    if (trace.history != NULL && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode) == ((flags & AT_REMOVEDIR) != 0)) {
        int at = trace.history->events;
        traced_leave(dir, name);
        if (syscall(SYS_unlinkat, dir, name, flags) == 0)
            return 0;
        history_shorten(trace.history, at); /* a folder that is not empty */
        return -1;
    }
    return (int)syscall(SYS_unlinkat, dir, name, flags);
}

/* What stands under the staging name is poured into the target. */
static int pour(int dir, const char *from, int to_dir, const char *to)
{
    static uint8_t data[1 << 20];
    struct stat st;
    int source = (int)syscall(SYS_openat, dir, from, O_RDONLY | O_CLOEXEC, 0);
    int target = (int)syscall(SYS_openat, to_dir, to, O_RDWR | O_CLOEXEC, 0);
    ssize_t n = read(source, data, sizeof data);
    if (fstat(source, &st) != 0 || n < 0 || pwrite(target, data, (size_t)n, 0) != n)
        trace_stop("pour");
    if (fchmod(target, st.st_mode & 07777) != 0)
        trace_stop("pour");
    (void)fsync(target);
    (void)close(source);
    (void)close(target);
    return unlinkat(dir, from, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct event *e;
    struct stat st;
    struct stat now;
    int ino;
    if (trace.history == NULL)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    if (trace.mutant == IN_PLACE && strcmp(from, TRACE_STAGE) == 0 &&
        fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
        fstatat(to_dir, to, &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(now.st_mode) && st.st_size >= now.st_size)
        return pour(from_dir, from, to_dir, to);
    if (trace.mutant == GONE_FIRST)
        (void)unlinkat(to_dir, to, 0);
    ino = traced_at(from_dir, from);
    if (syscall(SYS_renameat2, from_dir, from, to_dir, to, 0) != 0)
        return -1;
    e = history_add(trace.history, EVENT_RENAME);
    e->ino = ino;
    e->dir = traced_fd(from_dir);
    e->to = traced_fd(to_dir);
    traced_name(e->name, from);
    traced_name(e->to_name, to);
    if (strcmp(to + (strlen(to) > 4 ? strlen(to) - 4 : 0), ".img") == 0)
        snprintf(trace.image, sizeof trace.image, "%.3800s/%.255s", path_of(to_dir), to);
    if (trace.late >= 0)
        history_sync(trace.history, trace.late);
    trace.late = -1;
    return 0;
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    int r = (int)syscall(SYS_mkdirat, dir, name, mode);
    if (r == 0 && trace.history != NULL)
        (void)traced_new(dir, name);
    return r;
}

int symlinkat(const char *text, int dir, const char *name)
{
    int r = (int)syscall(SYS_symlinkat, text, dir, name);
    if (r == 0 && trace.history != NULL) {
        struct disk_inode *n = &trace.history->base.inode[traced_new(dir, name)];
        n->size = strlen(text);
        n->data = (uint8_t *)strdup(text);
        n->owned = 1;
    }
    return r;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    int r = (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (r == 0 && trace.history != NULL) {
        struct event *e = history_add(trace.history, EVENT_ENTER);
        e->ino = traced_at(from_dir, from);
        e->dir = traced_fd(to_dir);
        traced_name(e->name, to);
    }
    return r;
}

int fchmod(int fd, mode_t mode)
{
    int r = (int)syscall(SYS_fchmod, fd, mode);
    if (r == 0 && trace.history != NULL)
        traced_meta(fd);
    return r;
}

int fchown(int fd, uid_t uid, gid_t gid)
{
    int r = (int)syscall(SYS_fchown, fd, uid, gid);
    if (r == 0 && trace.history != NULL)
        traced_meta(fd);
    return r;
}

#endif
