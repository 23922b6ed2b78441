/* care.c - what a board needs around an update: memory that is there, no OOM kill, no stray signal, a fed watchdog. */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* ---- what the kernel tells --------------------------------------------------------------------------------------- */

/* A small file of /proc or /sys as text. 0 or -1. */
static int read_text(const char *path, char *text, size_t cap)
{
    size_t fill = 0;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    text[0] = '\0';
    if (fd < 0) {
        return -1;
    }
    while (fill + 1 < cap && ((n = read(fd, text + fill, cap - 1 - fill)) > 0 || (n < 0 && errno == EINTR))) {
        fill += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    text[fill] = '\0';
    return n < 0 ? -1 : 0;
}

uint64_t board_memory_available(void)
{
    char text[2048];
    const char *at;
    if (read_text("/proc/meminfo", text, sizeof(text)) != 0 || (at = strstr(text, "MemAvailable:")) == NULL) {
        return UINT64_MAX;
    }
    return strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024u;
}

/* /proc/mtd: a title, then lines of "mtd0: SIZE ERASESIZE "name"", both in hex. */
uint32_t board_largest_erase_block(void)
{
    char text[8192];
    const char *at = text;
    unsigned long largest = 0;
    if (read_text("/proc/mtd", text, sizeof(text)) != 0) {
        return 0;
    }
    while ((at = strstr(at, "\nmtd")) != NULL) {
        char *end;
        at = strchr(at + 1, ':');
        if (at == NULL) {
            break;
        }
        (void)strtoull(at + 1, &end, 16);
        if (strtoul(end, NULL, 16) > largest) {
            largest = strtoul(end, NULL, 16);
        }
    }
    return largest > 64u << 20 ? 0 : (uint32_t)largest;
}

void board_oom_shield(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = write(fd, "-900", 4); /* not -1000: if nothing else helps, a hanging board helps nobody */
        (void)n;
        (void)close(fd);
    }
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t seen;

static void note_signal(int number)
{
    seen = number;
}

static void on_signal(int number, void (*handler)(int))
{
    struct sigaction before;
    struct sigaction after;
    memset(&after, 0, sizeof(after));
    after.sa_handler = handler; /* without SA_RESTART: a read of a pipe that nobody writes to must come back */
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        (void)sigaction(number, &after, NULL);
    }
}

void board_signals_install(void)
{
    on_signal(SIGPIPE, SIG_IGN); /* whoever watched has gone; the work goes on */
    on_signal(SIGXFSZ, SIG_IGN); /* a file that may not grow so large is an error of write */
    on_signal(SIGHUP, note_signal);
    on_signal(SIGINT, note_signal);
    on_signal(SIGTERM, note_signal);
}

void board_signals_writing(void)
{
    on_signal(SIGHUP, SIG_IGN);
    on_signal(SIGINT, SIG_IGN);
}

int board_signal_seen(void)
{
    return seen;
}

/* ---- watchdog ---------------------------------------------------------------------------------------------------- */

#define FEED_MS 500

static int watchdog_fd = -1;
static uint64_t watchdog_fed;

static void watchdog_put(const char *byte)
{
    ssize_t n = write(watchdog_fd, byte, 1); /* if it fails, there is nothing better to do than to go on */
    (void)n;
}

int board_watchdog_open(const char *device, struct board_failure *why)
{
    if (device == NULL) {
        return 0;
    }
    watchdog_fd = open(device, O_WRONLY | O_CLOEXEC);
    return watchdog_fd >= 0 ? 0 : board_fail(why, OTA_E_CONFIG, errno, "watchdog %s", device);
}

void board_watchdog_feed(void)
{
    struct timespec t;
    uint64_t now;
    if (watchdog_fd < 0) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    now = (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
    if (watchdog_fed == 0 || now - watchdog_fed >= FEED_MS) {
        watchdog_put("\n");
        watchdog_fed = now;
    }
}

void board_watchdog_close(void)
{
    if (watchdog_fd >= 0) {
        watchdog_put("V"); /* the magic character of the kernel's watchdog interface: stop */
        (void)close(watchdog_fd);
        watchdog_fd = -1;
    }
}

/* ---- warnings ---------------------------------------------------------------------------------------------------- */

static int (*inner_node_open)(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                              struct ota_flash *flash);
static const char *inner_root;

/* mtdblock knows nothing of bad blocks: on NAND it fails at the first one. */
static int warning_node_open(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                             struct ota_flash *flash)
{
    char path[1024];
    char type[16];
    struct stat st;
    if (use == OTA_NODE_WRITE && len < 512 &&
        snprintf(path, sizeof(path), "%s%.*s", inner_root[1] == '\0' ? "" : inner_root, (int)len, name) <
            (int)sizeof(path) &&
        stat(path, &st) == 0 && S_ISBLK(st.st_mode) && major(st.st_rdev) == MTD_BLOCK_MAJOR) {
        unsigned number = minor(st.st_rdev);
        (void)snprintf(path, sizeof(path), "/sys/class/mtd/mtd%u/type", number);
        if (read_text(path, type, sizeof(type)) == 0 && (strstr(type, "nand") != NULL)) {
            fprintf(stderr,
                    BOARD_PROGRAM ": warning: %.*s is NAND without regard to bad blocks; name /dev/mtd%u in "
                                  "the package instead\n",
                    (int)len, name, number);
        }
    }
    return inner_node_open(ctx, slot, name, len, use, flash);
}

void board_warnings_install(struct ota_port *port, const char *root)
{
    inner_node_open = port->node_open;
    inner_root = root;
    port->node_open = warning_node_open;
}
