/* apply.c - check the package, then apply it. Composition of the other files. */
#include "board.h"

#include <stdio.h>
#include <string.h>

#define ENGINE_WINDOW 4096u
#define BLOCK_BUFFER 65536u

struct board {
    struct board_options options;
    struct board_failure why;
    struct board_keys keys;
    struct board_input input;
    struct board_frames frames;
    struct board_codec codec;
    struct board_memory memory;
    uint8_t *frame;
    void *codec_memory;
    size_t codec_size;
    uint8_t *piece; /* decoded bytes on their way */
    void *posix;
    void *exec_memory;
    size_t exec_size;
    struct ota_exec_options exec_options;
    struct ota_exec *exec; /* of the pass at work */
    struct ota_report report;
    uint8_t preamble_digest[32];
    int have_preamble;
    int have_posix;
    int writing;   /* preflight has passed: the status file says so, signals are held off */
    uint64_t read; /* bytes of the package, for progress of the check */
};

/* One program, one update: what the callbacks of the port need stands here. */
static struct board board;

/* ---- ticks ------------------------------------------------------------------------------------------------------- */

static const char *phase_name(const struct board *b, int phase)
{
    static const char *const names[] = {"preflight", "begin", "update", "end"};
    return b->exec_options.check_only ? "check" : names[phase];
}

/* What progress counts: bytes of the package while it is checked, then bytes of new content. */
static void counters(const struct board *b, const struct ota_report *report, uint64_t *done, uint64_t *total)
{
    const struct board_preamble *p = &b->frames.preamble;
    *done = report->bytes_done;
    *total = report->bytes_total;
    if (b->exec_options.check_only) {
        *done = b->read;
        *total = p->length > 0 ? p->length + sizeof(b->frames.first) - 72u * (BOARD_SIGNATURES - p->signatures) : 0;
    }
}

static int on_tick(void *ctx, const struct ota_report *report)
{
    struct board *b = ctx;
    uint64_t done;
    uint64_t total;
    counters(b, report, &done, &total);
    board_watchdog_feed();
    board_progress_show(b->options.progress, phase_name(b, report->phase), done, total, report);
    if (board_signal_seen() != 0) {
        return 1; /* from the first write on only SIGTERM gets here */
    }
    if (!b->writing && !b->exec_options.dry_run && report->phase != OTA_PHASE_PREFLIGHT) {
        struct board_failure why = {0, 0, ""};
        if (board_status_write(b->options.status, BOARD_WRITING, report, 0, &why) != 0) {
            (void)board_fail(&b->why, OTA_E_OUTPUT, why.os_error, "%s", why.detail);
            return 1; /* nothing was written yet, and later nobody could know what happened */
        }
        b->writing = 1;
        board_signals_writing();
    }
    return 0;
}

/* ---- the port of the checking pass: there is nothing to look at -----------------------------------------------------
 */

static int check_tick(void *ctx, const struct ota_report *report)
{
    return on_tick(ctx, report);
}

static void no_abort(void *ctx)
{
    (void)ctx;
}

static int no_close(void *ctx, enum ota_slot slot)
{
    (void)ctx;
    (void)slot;
    return 0;
}

static void check_port(struct board *b, struct ota_port *port)
{
    memset(port, 0, sizeof(*port));
    port->ctx = b;
    port->tick = check_tick;
    port->stage_abort = no_abort;
    port->close = no_close;
    port->node_close = no_close;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* All that will be needed, in one mapping, from what the preamble says. */
static int allocate(struct board *b)
{
    const struct board_preamble *p = &b->frames.preamble;
    size_t frame = (size_t)1 << p->frame_log;
    uint32_t erase = board_largest_erase_block();
    size_t all;
    int r;
    b->exec_options.window = ENGINE_WINDOW;
    b->exec_options.block_buffer = erase > BLOCK_BUFFER ? erase : BLOCK_BUFFER;
    b->exec_options.header_max = OTA_HEADER_MAX;
    b->exec_options.workspace = p->workspace;
    b->exec_options.coder = board_coder();
    b->exec_options.slot = (int)b->options.slot;
    b->exec_options.select = b->options.select;
    b->exec_size = ota_exec_size(&b->exec_options);
    b->codec_size = board_codec_size(p->codec, (uint64_t)1 << p->window_log);
    if (b->exec_size == 0) {
        return board_fail(&b->why, OTA_E_RAM, 0, "an erase block of %u bytes", (unsigned)erase);
    }
    all = BOARD_ALIGN(frame) + BOARD_ALIGN(b->codec_size) + BOARD_PIECE + BOARD_ALIGN(ota_posix_size()) +
          BOARD_ALIGN(b->exec_size);
    if ((r = board_memory_map(&b->memory, all, &b->why)) != 0) {
        return r;
    }
    b->frame = board_memory_take(&b->memory, frame);
    b->codec_memory = board_memory_take(&b->memory, b->codec_size);
    b->piece = board_memory_take(&b->memory, BOARD_PIECE);
    b->posix = board_memory_take(&b->memory, ota_posix_size());
    b->exec_memory = board_memory_take(&b->memory, b->exec_size);
    return b->exec_memory != NULL ? 0 : board_fail(&b->why, OTA_E_INTERNAL, 0, "memory plan");
}

/* ---- one pass over the package -------------------------------------------------------------------------------------
 */

static int begin_exec(struct board *b)
{
    struct ota_port port;
    int r;
    if (b->exec_options.check_only) {
        check_port(b, &port);
    } else {
        struct ota_posix_options o = {b->options.root,     b->options.tmp,           NULL,           on_tick, b,
                                      b->options.patterns, b->options.pattern_count, b->options.hook};
        int os_error = 0;
        r = ota_posix_init(b->posix, ota_posix_size(), &o, &os_error);
        if (r != 0) {
            return board_folder_failed(&b->options, r, os_error, &b->why);
        }
        b->have_posix = 1;
        ota_posix_port(b->posix, &port);
        board_warnings_install(&port, b->options.root);
    }
    r = ota_exec_init(b->exec_memory, b->exec_size, &b->exec_options, &port, &b->exec);
    return r == 0 ? 0 : board_fail(&b->why, (enum ota_error) - r, 0, "executor");
}

static int on_preamble(struct board *b)
{
    const struct board_preamble *p = &b->frames.preamble;
    uint64_t available = board_memory_available();
    int r = board_keys_check(&b->keys, p, &b->why);
    if (r != 0) {
        return r;
    }
    if (!b->have_preamble) {
        if (p->ram > available) {
            return board_fail(&b->why, OTA_E_RAM, 0, "applying needs %llu bytes, %llu are available",
                              (unsigned long long)p->ram, (unsigned long long)available);
        }
        if ((r = allocate(b)) != 0) {
            return r;
        }
        memcpy(b->preamble_digest, p->digest, sizeof(b->preamble_digest));
        b->have_preamble = 1;
    } else if (memcmp(b->preamble_digest, p->digest, sizeof(b->preamble_digest)) != 0) {
        return board_fail(&b->why, OTA_E_CHANGED, 0, "%s", b->options.package);
    }
    b->frames.buf = b->frame;
    if (board_codec_init(&b->codec, p->codec, (uint64_t)1 << p->window_log, 1, b->codec_memory, b->codec_size) != 0) {
        return board_fail(&b->why, OTA_E_RAM, 0, "for the codec");
    }
    return begin_exec(b);
}

static int on_payload(struct board *b)
{
    struct ota_in in = {b->frames.payload, b->frames.payload_len, 0};
    int r;
    if (b->codec.kind == BOARD_PLAIN) {
        r = ota_exec_feed(b->exec, in.src, in.size);
        return r < 0 ? r : 0;
    }
    do {
        struct ota_out out = {b->piece, BOARD_PIECE, 0};
        int fault = board_codec_step(&b->codec, &in, &out);
        r = out.pos > 0 ? ota_exec_feed(b->exec, b->piece, out.pos) : 0;
        if (r < 0) {
            return r;
        }
        if (fault < 0) {
            return board_fail(&b->why, OTA_E_CODEC, 0, "the stream %s", board_codec_fault_text(-fault));
        }
        r = fault;
    } while (r == OTA_WANT_OUTPUT);
    return 0;
}

static int feed_frames(struct board *b, const uint8_t *data, size_t len)
{
    struct ota_in in = {data, len, 0};
    for (;;) {
        int r = board_frames_step(&b->frames, &in, &b->why);
        if (r == BOARD_FRAMES_INPUT || r < 0) {
            return r < 0 ? r : 0;
        }
        r = r == BOARD_FRAMES_PREAMBLE ? on_preamble(b) : on_payload(b);
        if (r < 0) {
            return r;
        }
    }
}

/* Read the package to its end; the executor is told how that went. The final status. */
static int pass(struct board *b, int check_only, int dry_run)
{
    const uint8_t *data;
    size_t len;
    int r;
    b->exec = NULL;
    b->read = 0;
    b->exec_options.check_only = check_only;
    b->exec_options.dry_run = dry_run;
    b->exec_options.ignore_space = b->options.ignore_space;
    b->exec_options.volatile_tmp = b->options.volatile_tmp;
    b->exec_options.allow_downgrade = b->options.allow_downgrade;
    board_frames_init(&b->frames);
    do {
        r = board_input_next(&b->input, &data, &len, &b->why);
        if (r == 0 && len > 0) {
            b->read += len;
            board_watchdog_feed();
            r = feed_frames(b, data, len);
        }
    } while (r == 0 && len > 0);
    if (r == 0) {
        r = board_frames_end(&b->frames, &b->why);
    }
    if (r == 0 && b->codec.kind != BOARD_PLAIN && !b->codec.ended) {
        r = board_fail(&b->why, OTA_E_CODEC, 0, "the stream %s", board_codec_fault_text(BOARD_EARLY));
    }
    if (b->exec != NULL) {
        r = ota_exec_finish(b->exec, r);
        b->report = *ota_exec_report(b->exec);
    }
    return r;
}

/* ---- the update ---------------------------------------------------------------------------------------------------
 */

/* The keys that were named, which must be there, or those that the board itself keeps. */
static int load_keys(struct board *b)
{
    char path[OTA_PATH_MAX];
    if (b->options.keys != NULL) {
        return board_keys_load(&b->keys, b->options.keys, 1, &b->why);
    }
    if (snprintf(path, sizeof(path), "%s" BOARD_KEYS, b->options.root) >= (int)sizeof(path)) {
        return board_fail(&b->why, OTA_E_USAGE, 0, "the name of the root is too long");
    }
    return board_keys_load(&b->keys, path, 0, &b->why);
}

/* A run that changes nothing does not speak about the update. */
static int keeps_status(const struct board *b)
{
    return !b->options.dry_run && !b->options.verify;
}

static int update(struct board *b)
{
    int r;
    board_signals_install();
    if (b->options.picture != NULL) {
        board_display_start(b->options.picture, b->options.rotate); /* before the shield, which it shall not have */
    }
    board_oom_shield();
    if ((r = board_watchdog_open(b->options.watchdog, &b->why)) != 0 || (r = load_keys(b)) != 0) {
        return r;
    }
    if (b->options.allow_downgrade && b->keys.count > 0) {
        return board_fail(&b->why, OTA_E_USAGE, 0, "--allow-downgrade is for boards without keys");
    }
    if (keeps_status(b) && (r = board_status_write(b->options.status, BOARD_NOT_STARTED, NULL, 0, &b->why)) != 0) {
        return r;
    }
    if ((r = board_input_open(&b->input, b->options.package, b->options.raw, &b->why)) != 0) {
        return r;
    }
    if (b->options.verify) {
        return pass(b, 1, 1);
    }
    if (b->input.regular && ((r = pass(b, 1, 1)) != 0 || (r = board_input_rewind(&b->input, &b->why)) != 0)) {
        return r;
    }
    return pass(b, 0, b->options.dry_run);
}

static void say_failure(const struct board *b, int status)
{
    const struct ota_report *report = &b->report;
    int index = ota_error_index(-status);
    int ours = b->why.status == status; /* else the executor knows more */
    const char *detail = ours ? b->why.detail : report->detail;
    int os_error = ours ? b->why.os_error : report->os_error;
    char target[sizeof(report->target)] = "";
    memcpy(target, report->target, sizeof(target));
    board_printable(target);
    fprintf(stderr, BOARD_PROGRAM ": error: %s: %s", index >= 0 ? ota_error_who(index) : "caller",
            index >= 0 ? ota_error_text(index) : "a bug");
    if (detail[0] != '\0') {
        fprintf(stderr, ": %s", detail);
    }
    if (os_error != 0) {
        fprintf(stderr, ": %s", strerror(os_error));
    }
    if (target[0] != '\0') {
        fprintf(stderr, ": %s", target);
    }
    if (b->exec != NULL) {
        fprintf(stderr, " (record %llu)", (unsigned long long)report->record);
    }
    fputc('\n', stderr);
    if (report->lost) { /* otastream/native/executor.py says the same */
        fputs(BOARD_PROGRAM ": hint: running it again cannot help; ", stderr);
        fputs("take a package with the whole image of this target\n", stderr);
    } else if (report->changed) {
        fputs(BOARD_PROGRAM ": hint: the update is not complete; run the same package again\n", stderr);
    } else {
        fputs(BOARD_PROGRAM ": hint: nothing was changed\n", stderr);
    }
}

/* As the Python program says it, but for bytes, which stay whole here. */
static void say_success(const struct board *b)
{
    const struct ota_report *r = &b->report;
    unsigned long long total = r->records_total;
    unsigned long long done = r->records_done;
    if (r->left_out > 0) {
        fprintf(stderr, "%llu targets left alone; ", (unsigned long long)r->left_out);
    }
    if (b->options.verify) {
        fprintf(stderr, "the package is whole: %llu record%s\n", total, total == 1 ? "" : "s");
    } else if (b->options.dry_run) {
        fprintf(stderr, "%llu record%s would be executed; nothing was changed\n", total, total == 1 ? "" : "s");
    } else {
        fprintf(stderr, "%llu record%s executed", done, done == 1 ? "" : "s");
        if (r->skipped > 0) {
            fprintf(stderr, ", %llu of them %s right already", (unsigned long long)r->skipped,
                    r->skipped == 1 ? "was" : "were");
        }
        if (r->fell_back > 0) {
            fprintf(stderr, ", %llu of them in full: the delta did not apply", (unsigned long long)r->fell_back);
        }
        fprintf(stderr, "; %llu bytes written\n", (unsigned long long)r->bytes_written);
    }
}

/* Tell everybody how it ended; the exit code. */
static int finish(struct board *b, int status)
{
    struct board_failure why = {0, 0, ""};
    uint64_t done;
    uint64_t total;
    enum board_state state = status == 0 ? BOARD_DONE : b->report.changed ? BOARD_FAILED_AFTER : BOARD_FAILED_BEFORE;
    if (b->why.status == -OTA_E_OUTPUT && status == -OTA_E_CANCELLED) {
        status = -OTA_E_OUTPUT; /* the tick stopped the update, because of the status file */
    }
    counters(b, &b->report, &done, &total);
    if (!b->options.quiet) {
        board_progress_end(b->options.progress, done, total, &b->report, -status);
    }
    if (keeps_status(b) && board_status_write(b->options.status, state, &b->report, -status, &why) != 0) {
        fprintf(stderr, BOARD_PROGRAM ": warning: %s: %s\n", why.detail, strerror(why.os_error));
    }
    if (status == 0 && !b->options.quiet) {
        say_success(b);
    } else if (!b->options.quiet) {
        say_failure(b, status);
    }
    if (b->have_posix) {
        ota_posix_close(b->posix);
    }
    board_input_close(&b->input);
    /* The memory goes with the process: given back here, the kernel's figure for the peak would miss a part of it. */
    board_watchdog_close();
    return -status;
}

int board_apply(const struct board_options *options)
{
    struct board *b = &board;
    memset(b, 0, sizeof(*b));
    b->options = *options;
    return finish(b, update(b));
}
