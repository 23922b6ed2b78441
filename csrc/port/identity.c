/* identity.c - what board this is, which version is installed, where its environment and slots are. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BOARD_FILE "/etc/otastream/board"
#define VERSION_FILE "/etc/otastream/version"
#define ACCEPTED_FILE OTA_ACCEPTED_ROOT "/" OTA_ACCEPTED_NAME
#define ENV_FILE "/etc/fw_env.config"
#define SLOTS_FILE "/etc/otastream/slots"
#define COMMAND_LINE_FILE "/proc/cmdline" /* beneath the root: a folder that only stands for a board has none */
#define TREE_FILE "/proc/device-tree/compatible"

/* Read all of a small file into the scratch buffer; one that does not fit is no identity file. */
static int read_small(struct ota_posix *p, int fd, size_t *len)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, p->scratch.text + n, sizeof(p->scratch.text) - n);
        if (got < 0 && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        if (got == 0) {
            *len = n;
            return 0;
        }
        if (got > 0) {
            n += (size_t)got;
        }
        if (n == sizeof(p->scratch.text)) {
            p->err = EFBIG;
            return -OTA_E_CONFIG;
        }
    }
}

static int read_inside(struct ota_posix *p, const char *name, size_t *len)
{
    struct ota_place at;
    struct stat st;
    int fd = -1;
    int status = ota_node_find(p, name, strlen(name), &at, &st);
    if (status == 0 && !S_ISREG(st.st_mode)) {
        status = ota_posix_fail(p, ENOENT);
    }
    if (status == 0) {
        status = ota_node_openat(p, &at, &st, O_RDONLY, &fd);
    }
    ota_place_close(&at);
    if (status == 0) {
        status = read_small(p, fd, len);
    }
    (void)ota_fd_close(&fd);
    return status == -OTA_E_PATH && p->err == ENOTDIR ? -OTA_E_MISSING : status;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* One entry per line (or per NUL), blanks around it and lines that start with # left out. Entries are copied to buf
 * with one NUL between them; at most `max` of them. */
static int take_lines(struct ota_posix *p, size_t len, size_t max, char *buf, size_t cap, size_t *out)
{
    const char *text = p->scratch.text;
    size_t at = 0;
    size_t count = 0;
    *out = 0;
    while (at < len && count < max) {
        size_t start = at;
        size_t end;
        while (at < len && text[at] != '\n' && text[at] != '\0') {
            at++;
        }
        end = at++;
        while (start < end && is_blank(text[start])) {
            start++;
        }
        while (end > start && is_blank(text[end - 1])) {
            end--;
        }
        if (start == end || text[start] == '#') {
            continue;
        }
        if (end - start + (count > 0) > cap - *out) {
            p->err = EFBIG;
            return -OTA_E_CONFIG;
        }
        if (count > 0) {
            buf[(*out)++] = '\0';
        }
        memcpy(buf + *out, text + start, end - start);
        *out += end - start;
        count++;
    }
    return count > 0 ? 0 : ota_posix_fail(p, ENOENT);
}

/* The device tree speaks for the running board, so it is asked only when that is what is being updated. */
static int read_device_tree(struct ota_posix *p, size_t *len)
{
    struct stat root;
    struct stat slash;
    int fd;
    int status;
    if (fstat(p->root_fd, &root) != 0 || stat("/", &slash) != 0) {
        return ota_posix_fail(p, errno);
    }
    if (root.st_dev != slash.st_dev || root.st_ino != slash.st_ino) {
        return ota_posix_fail(p, ENOENT);
    }
    fd = ota_fd_open(AT_FDCWD, TREE_FILE, O_RDONLY, 0);
    if (fd < 0) {
        return ota_posix_fail(p, errno);
    }
    status = read_small(p, fd, len);
    (void)ota_fd_close(&fd);
    return status;
}

int ota_identity_read(void *ctx, enum ota_identity what, char *buf, size_t cap, size_t *len)
{
    static const char *const names[] = {BOARD_FILE, VERSION_FILE,      ENV_FILE,
                                        SLOTS_FILE, COMMAND_LINE_FILE, ACCEPTED_FILE};
    struct ota_posix *p = ctx;
    size_t n = 0;
    int status = read_inside(p, names[what], &n);
    *len = 0;
    if (status == -OTA_E_MISSING && what == OTA_ID_BOARD) {
        status = read_device_tree(p, &n);
    }
    if (status == 0) {
        status = take_lines(p, n, what == OTA_ID_VERSION || what == OTA_ID_ACCEPTED ? 1 : SIZE_MAX, buf, cap, len);
        if (status == -OTA_E_MISSING && what == OTA_ID_ACCEPTED) {
            status = 0; /* it is there, and says nothing yet */
        }
    }
    return status;
}
