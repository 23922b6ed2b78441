/* progress.c - where the work is: on stderr a bar for people or lines for programs, on the display a picture of it. The
 * same lines as the Python program; docs/progress.md says what is in them.
 */
#include "board.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define PAUSE_MS 100   /* between two lines of the same phase and percentage */
#define LINE_MAX 4096u /* bytes of a line; a pipe takes so much in one piece */

/* What a place was told last. */
struct told {
    char phase[16];
    int percent;
    uint64_t done;
    uint64_t at_ms;
    int drawn;
};

static struct told on_stderr = {"", -2, 0, 0, 0};
static struct told on_display = {"", -2, 0, 0, 0};

/* ---- lines ------------------------------------------------------------------------------------------------------- */

struct line {
    size_t fill;
    char text[LINE_MAX];
};

static void put(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *l, const char *format, ...)
{
    va_list args;
    int n;
    va_start(args, format);
    n = vsnprintf(l->text + l->fill, sizeof(l->text) - l->fill, format, args);
    va_end(args);
    if (n > 0) {
        l->fill += (size_t)n < sizeof(l->text) - l->fill ? (size_t)n : sizeof(l->text) - 1 - l->fill;
    }
}

/* JSON text: what could end the string or is no plain character is escaped; bytes above ASCII stay as they are. */
static void put_json_text(struct line *l, const char *text)
{
    put(l, "\"");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(l, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            put(l, "\\u%04x", c);
        } else {
            put(l, "%c", c);
        }
    }
    put(l, "\"");
}

/* A number that 0 says nothing for. */
static void put_json_count(struct line *l, const char *name, uint64_t value)
{
    if (value > 0) {
        put(l, ", \"%s\": %llu", name, (unsigned long long)value);
    } else {
        put(l, ", \"%s\": null", name);
    }
}

static void put_json_percent(struct line *l, const char *name, int percent)
{
    if (percent >= 0) {
        put(l, ", \"%s\": %d", name, percent);
    } else {
        put(l, ", \"%s\": null", name);
    }
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

/* All of a line but its end. */
static void put_json(struct line *l, const char *phase, uint64_t done, uint64_t total, const struct ota_report *r)
{
    int updating = r->phase == OTA_PHASE_UPDATE;
    uint64_t step = r->records_done + (updating && r->records_done < r->records_total ? 1u : 0u);
    uint64_t part = r->bytes_done - r->record_from;
    l->fill = 0;
    put(l, "{\"phase\": \"%s\"", phase);
    put_json_percent(l, "percent", percent_of(done, total));
    put(l, ", \"done\": %llu", (unsigned long long)done);
    put_json_count(l, "total", total);
    put_json_count(l, "step", r->phase > OTA_PHASE_BEGIN ? step : 0);
    put_json_count(l, "steps", r->records_total);
    put_json_percent(l, "part", updating ? percent_of(part, r->record_bytes) : -1);
    put(l, ", \"target\": ");
    put_json_text(l, r->target);
}

/* ---- where they go ----------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* 1: it is worth telling. patient: not before the pause is over, unless the phase is another one. */
static int worth(struct told *last, const char *phase, int percent, uint64_t done, int patient)
{
    int same_phase = strcmp(phase, last->phase) == 0;
    uint64_t now = now_ms();
    int soon = now - last->at_ms < PAUSE_MS;
    if (same_phase && (patient ? soon : percent == last->percent && (done == last->done || soon))) {
        return 0;
    }
    (void)snprintf(last->phase, sizeof(last->phase), "%s", phase);
    last->percent = percent;
    last->done = done;
    last->at_ms = now;
    return 1;
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
    on_stderr.drawn = 1;
}

static enum board_progress chosen(enum board_progress mode)
{
    if (mode == BOARD_PROGRESS_AUTO) {
        mode = isatty(STDERR_FILENO) ? BOARD_PROGRESS_BAR : BOARD_PROGRESS_NONE;
    }
    return mode;
}

void board_progress_show(enum board_progress mode, const char *phase, uint64_t done, uint64_t total,
                         const struct ota_report *report)
{
    static struct line line;
    int percent = percent_of(done, total);
    int numeric = mode == BOARD_PROGRESS_NUMERIC;
    if (board_display_open() && worth(&on_display, phase, percent, done, 1)) {
        put_json(&line, phase, done, total, report);
        put(&line, "}\n");
        board_display_send(line.text, line.fill);
    }
    mode = chosen(mode);
    if (mode == BOARD_PROGRESS_NONE || !worth(&on_stderr, phase, percent, numeric ? 0 : done, 0)) {
        return;
    }
    if (mode == BOARD_PROGRESS_BAR) {
        bar_line(phase, percent, done, report->target);
    } else if (mode == BOARD_PROGRESS_JSON) {
        put_json(&line, phase, done, total, report);
        fprintf(stderr, "%s}\n", line.text);
    } else if (percent < 0) {
        fprintf(stderr, "%s\n", phase);
    } else {
        fprintf(stderr, "%d\n", percent);
    }
}

void board_progress_end(enum board_progress mode, uint64_t done, uint64_t total, const struct ota_report *report,
                        int code)
{
    static struct line line;
    const char *phase = code == 0 ? "success" : "failure";
    int index = ota_error_index(code);
    put_json(&line, phase, done, total, report);
    put(&line, ", \"code\": %d", code);
    if (code != 0) {
        put(&line, ", \"error\": ");
        put_json_text(&line, index >= 0 ? ota_error_text(index) : "a bug");
    }
    put(&line, "}\n");
    board_display_send(line.text, line.fill);
    board_display_close();
    mode = chosen(mode);
    if (mode == BOARD_PROGRESS_JSON) {
        fputs(line.text, stderr);
    } else if (mode == BOARD_PROGRESS_NUMERIC) {
        fprintf(stderr, "%s\n", phase);
    } else if (on_stderr.drawn) {
        fputs("\r\033[K", stderr);
        on_stderr.drawn = 0;
    }
}
