/* port_sim.h - fail or cut any system call with which the Linux port changes something.
 *
 * The functions of libc are replaced by ones of the test program, which count and then make the real system call.
 * Syncs are counted and logged but not made: nothing here outlives a power cut anyway, and tests stay fast. */
#ifndef OTA_TESTS_PORT_SIM_H
#define OTA_TESTS_PORT_SIM_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault { NO_FAULT, FAIL, CUT, INTERRUPT, SHORT };

static struct {
    enum fault fault;
    int error; /* errno of FAIL */
    int at;    /* at which call, from 1 */
    int count; /* calls so far; they count only while armed */
    int armed;
    char log[256]; /* one letter per call */
    size_t log_len;
} sim;

#define CUT_CODE 77

/* One call more. Non-zero: it fails, errno is set. */
static int step(char letter, int can_interrupt)
{
    if (!sim.armed || (letter == 'o' && sim.fault == CUT)) { /* a cut before an open is one before the next change */
        return 0;
    }
    if (letter != 'o' && sim.log_len + 1 < sizeof(sim.log)) { /* opening changes nothing: not in the log */
        sim.log[sim.log_len++] = letter;
    }
    sim.count++;
    if (sim.count != sim.at) {
        return 0;
    }
    if (sim.fault == CUT) {
        _exit(CUT_CODE);
    }
    if (sim.fault == FAIL) {
        errno = sim.error;
        return 1;
    }
    if (sim.fault == INTERRUPT && can_interrupt) {
        errno = EINTR;
        return 1;
    }
    return 0;
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
    return step((flags & O_CREAT) != 0 ? 'C' : 'o', 1) ? -1 : (int)syscall(SYS_openat, dir, name, flags, mode);
}

/* What openat is called where off_t is widened by _FILE_OFFSET_BITS. */
int openat64(int dir, const char *name, int flags, ...)
{
    unsigned mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, unsigned);
        va_end(ap);
    }
    return openat(dir, name, flags, mode);
}

/* A cut tears the write that it meets: half of it gets through. */
static int is_torn(void)
{
    return sim.armed && sim.fault == CUT && sim.count + 1 == sim.at;
}

ssize_t write(int fd, const void *buf, size_t len)
{
    if (is_torn()) {
        (void)syscall(SYS_write, fd, buf, len / 2);
    }
    if (step('w', 1)) {
        return -1;
    }
    if (sim.armed && sim.fault == SHORT && len > 1) {
        len = 1;
    }
    return syscall(SYS_write, fd, buf, len);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    if (is_torn()) {
        (void)syscall(SYS_pwrite64, fd, buf, len / 2, off);
    }
    if (step('P', 1)) {
        return -1;
    }
    if (sim.armed && sim.fault == SHORT && len > 1) {
        len = len / 2;
    }
    return syscall(SYS_pwrite64, fd, buf, len, off); /* a 64-bit host: the offset is one argument */
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
    return pwrite(fd, buf, len, (off_t)off);
}

static int sync_step(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && step(S_ISDIR(st.st_mode) ? 'D' : 'F', 1) ? -1 : 0;
}

int fsync(int fd)
{
    return sync_step(fd);
}

int fdatasync(int fd)
{
    return sync_step(fd);
}

static int synced; /* calls of syncfs */

int syncfs(int fd)
{
    (void)fd;
    synced++;
    return step('o', 0) ? -1 : 0; /* makes durable what was there before: not a part of what is done now */
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return step('R', 0) ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    return step('U', 0) ? -1 : (int)syscall(SYS_unlinkat, dir, name, flags);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    return step('K', 0) ? -1 : (int)syscall(SYS_mkdirat, dir, name, mode);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return step('L', 0) ? -1 : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int symlinkat(const char *text, int dir, const char *name)
{
    return step('S', 0) ? -1 : (int)syscall(SYS_symlinkat, text, dir, name);
}

int fchmod(int fd, mode_t mode)
{
    return step('M', 0) ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
    return step('O', 0) ? -1 : (int)syscall(SYS_fchown, fd, uid, gid);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    return step('X', 0) ? -1 : (int)syscall(SYS_fsetxattr, fd, name, value, size, flags);
}

#endif
