/* progress.c - where the work is, on stderr: a bar for people, lines for programs. The same lines as the Python
 * program.
 */
#include "board.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define PAUSE_MS 100 /* between two lines of the same phase and percentage */

static struct {
    char phase[16];
    int percent;
    uint64_t done;
    uint64_t shown_ms;
    int drawn;
} last = {"", -2, 0, 0, 0};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* -1: not known. done and total are below 2^63, so the division comes first where the product could overflow. */
static int percent_of(uint64_t done, uint64_t total)
{
    uint64_t p;
    if (total == 0) {
        return -1;
    }
    p = total > UINT64_MAX / 128 ? done / (total / 100) : done * 100 / total;
    return p > 100 ? 100 : (int)p;
}

/* JSON text: what could end the string or is no plain character is escaped; bytes above ASCII stay as they are. */
static void put_json_text(FILE *f, const char *text)
{
    (void)fputc('"', f);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(f, "\\u%04x", c);
        } else {
            (void)fputc(c, f);
        }
    }
    (void)fputc('"', f);
}

static void json_line(const char *phase, int percent, uint64_t done, uint64_t total, const char *target)
{
    fprintf(stderr, "{\"phase\": \"%s\", \"percent\": ", phase);
    if (percent < 0) {
        fprintf(stderr, "null, \"done\": %llu, \"total\": null, \"target\": ", (unsigned long long)done);
    } else {
        fprintf(stderr, "%d, \"done\": %llu, \"total\": %llu, \"target\": ", percent, (unsigned long long)done,
                (unsigned long long)total);
    }
    put_json_text(stderr, target);
    fputs("}\n", stderr);
}

static void bar_line(const char *phase, int percent, uint64_t done, const char *target)
{
    char bar[BAR_WIDTH + 1];
    char name[41];
    size_t len = strlen(target);
    int i;
    for (i = 0; i < BAR_WIDTH; i++) {
        bar[i] = percent >= 0 && i * 100 < percent * BAR_WIDTH ? '#' : ' ';
    }
    bar[BAR_WIDTH] = '\0';
    if (len < sizeof(name)) {
        memcpy(name, target, len + 1);
    } else { /* the end of a path says more than its beginning */
        (void)snprintf(name, sizeof(name), "...%s", target + len - (sizeof(name) - 4));
    }
    board_printable(name);
    fprintf(stderr, "\r%-9s [%s] ", phase, bar);
    if (percent >= 0) {
        fprintf(stderr, "%3d%% %s\033[K", percent, name);
    } else {
        fprintf(stderr, "%llu KiB %s\033[K", (unsigned long long)(done >> 10), name);
    }
    last.drawn = 1;
}

void board_progress_show(enum board_progress mode, const char *phase, uint64_t done, uint64_t total, const char *target)
{
    int percent = percent_of(done, total);
    int same = strcmp(phase, last.phase) == 0 && percent == last.percent;
    uint64_t now;
    if (mode == BOARD_PROGRESS_AUTO) {
        mode = isatty(STDERR_FILENO) ? BOARD_PROGRESS_BAR : BOARD_PROGRESS_NONE;
    }
    if (mode == BOARD_PROGRESS_NONE) {
        return;
    }
    now = now_ms();
    if (same && (done == last.done || now - last.shown_ms < PAUSE_MS || mode == BOARD_PROGRESS_NUMERIC)) {
        return;
    }
    (void)snprintf(last.phase, sizeof(last.phase), "%s", phase);
    last.percent = percent;
    last.done = done;
    last.shown_ms = now;
    if (mode == BOARD_PROGRESS_BAR) {
        bar_line(phase, percent, done, target);
    } else if (mode == BOARD_PROGRESS_JSON) {
        json_line(phase, percent, done, total, target);
    } else if (percent < 0) {
        fprintf(stderr, "%s\n", phase);
    } else {
        fprintf(stderr, "%d\n", percent);
    }
}

void board_progress_end(void)
{
    if (last.drawn) {
        fputs("\r\033[K", stderr);
        last.drawn = 0;
    }
}
