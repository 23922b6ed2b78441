/* status.c - the file that says after a reboot what happened: lines of KEY=VALUE that a shell can read line by line.
 *
 *   state=not-started | failed-before-write | writing | failed-after-write | done
 *   package=NAME      as the manifest says, may be empty
 *   version=VERSION   likewise
 *   code=NUMBER       exit code; 0 while at work
 *   error=NAME        e.g. TARGET; empty while at work and when done
 *   target=NAME       path or node at work when it failed
 *
 * It is replaced as a whole (written beside, synced, renamed, folder synced), so a cut leaves the old or the new one. A
 * state is written before what it announces begins.
 */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const state_names[] = {"not-started", "failed-before-write", "writing", "failed-after-write",
                                          "done"};

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* The folder of path, which gets cut off behind its last '/'. */
static int sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    const char *folder = ".";
    int fd;
    int r;
    if (slash != NULL) {
        slash[1] = '\0';
        folder = path;
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    r = fsync(fd);
    (void)close(fd);
    return r != 0 && errno != EINVAL ? -1 : 0;
}

static int replace(const char *path, const char *text, size_t len)
{
    char beside[1024];
    int fd;
    int r;
    if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -1;
    }
    r = write_all(fd, text, len);
    if (r == 0) {
        r = fsync(fd);
    }
    if (close(fd) != 0 || r != 0 || rename(beside, path) != 0) {
        return -1;
    }
    return sync_folder(beside);
}

int board_status_write(const char *path, enum board_state state, const struct ota_report *report, int code,
                       struct board_failure *why)
{
    char package[sizeof(report->package)] = "";
    char version[sizeof(report->version)] = "";
    char target[sizeof(report->target)] = "";
    char text[sizeof(package) + sizeof(version) + sizeof(target) + 256];
    int index = ota_error_index(code);
    int len;
    if (path == NULL) {
        return 0;
    }
    if (report != NULL) {
        memcpy(package, report->package, sizeof(package));
        memcpy(version, report->version, sizeof(version));
        if (code != 0) {
            memcpy(target, report->target, sizeof(target));
        }
    }
    board_printable(package);
    board_printable(version);
    board_printable(target);
    len = snprintf(text, sizeof(text), "state=%s\npackage=%s\nversion=%s\ncode=%d\nerror=%s\ntarget=%s\n",
                   state_names[state], package, version, code, code != 0 && index >= 0 ? ota_error_name(index) : "",
                   target);
    if (replace(path, text, (size_t)len) != 0) {
        return board_fail(why, OTA_E_OUTPUT, errno, "status file %s", path);
    }
    return 0;
}
