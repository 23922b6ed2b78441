/* board.h - what the files of the board program share.
 *
 * otaunpack is the applier for boards: one static program around the C core and the Linux port. It adds what Python
 * adds on a build server: frames and signatures, decompression, options, progress, care for the board.
 *
 * Memory: there is no heap (heap.c). One mapping for an outer layer of compression, if there is one, and one for all
 * the rest are made once the preamble is known, and touched, before anything is written. Nothing is allocated later.
 *
 *   main.c      what was asked for
 *   apply.c     composition: check the package, then apply it
 *   options.c   the command line
 *   input.c     a file or a pipe, an outer gzip or zstd layer taken off
 *   frames.c    preamble and frames, authenticated (docs/SPEC.md sections 2 and 3)
 *   codec.c     zlib, libzstd and liblzma on supplied memory
 *   coder.c     the same libraries as coders of views
 *   keys.c      trusted keys, signatures
 *   status.c    the file that says after a reboot what happened
 *   progress.c  progress for people and programs
 *   display.c   the program that shows it on a screen
 *   care.c      memory, OOM score, signals, watchdog, warnings
 *   selftest.c  --self-test
 *   slots.c     --slot-status, --mark-good, --rollback
 */
#ifndef OTA_BOARD_H
#define OTA_BOARD_H

#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* this header comes first in every file of the program */
#endif

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "otastream.h"
#include "otastream_posix.h"

#define BOARD_PROGRAM "otaunpack"
#define BOARD_KEYS "/etc/otastream/keys" /* beneath the root */
#define BOARD_WORKSPACE_UNIT 4096u
#define BOARD_TMP "/tmp"

/* ---- failures: a status of the core with what exactly went wrong ------------------------------------------------ */

struct board_failure {
    int status; /* 0: none */
    int os_error;
    char detail[160];
};

/* Note -code (only the first failure is kept) and give it. os_error: errno or 0. */
int board_fail(struct board_failure *why, enum ota_error code, int os_error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Bytes that can neither confuse a terminal nor break a line: in place, what is not printable becomes '?'. UTF-8 stays.
 */
void board_printable(char *text);

/* ---- memory: one mapping, handed out piece by piece -------------------------------------------------------------- */

struct board_memory {
    uint8_t *base;
    size_t size;
    size_t used;
};

#define BOARD_ALIGN(n) (((n) + 15u) & ~(size_t)15u)

/* Map and touch size bytes; -OTA_E_RAM when the system does not have them. */
int board_memory_map(struct board_memory *m, size_t size, struct board_failure *why);
/* 16-byte aligned; NULL when not that much is left. */
void *board_memory_take(struct board_memory *m, size_t size);

/* ---- options ----------------------------------------------------------------------------------------------------- */

enum board_mode { BOARD_APPLY, BOARD_HELP, BOARD_VERSION, BOARD_SELF_TEST, BOARD_SLOTS };

#define BOARD_PATTERNS 16u
enum board_progress {
    BOARD_PROGRESS_AUTO,
    BOARD_PROGRESS_BAR,
    BOARD_PROGRESS_JSON,
    BOARD_PROGRESS_NUMERIC,
    BOARD_PROGRESS_NONE
};

struct board_options {
    enum board_mode mode;
    const char *package; /* "-": stdin */
    int raw;             /* -r: an outer layer of compression is not looked for */
    const char *root;
    const char *tmp;
    const char *keys; /* NULL: BOARD_KEYS; trust belongs to the board that is updated */
    int dry_run;
    int verify; /* only read the package */
    int ignore_space;
    int volatile_tmp;
    int allow_downgrade;
    int quiet; /* say nothing at the end */
    enum board_progress progress;
    const char *status;         /* NULL: none */
    const char *watchdog;       /* NULL: none */
    const char *picture;        /* NULL: no display */
    const char *rotate;         /* NULL or "0" to "3" */
    enum ota_slot_action slots; /* BOARD_SLOTS */
    enum ota_slot_choice slot;
    uint32_t select;  /* 0: as the package says */
    const char *hook; /* NULL: none */
    uint32_t pattern_count;
    const char *patterns[BOARD_PATTERNS];
};

/* 0 or -OTA_E_USAGE, said on stderr. */
int board_options_parse(struct board_options *o, int argc, char **argv);
void board_help(void);
/* Put down, like board_fail, that the port could not begin (negative status): at --tmp if the root can be used. */
int board_folder_failed(const struct board_options *o, int status, int os_error, struct board_failure *why);

/* ---- codecs ------------------------------------------------------------------------------------------------------ */

/* numbers of docs/SPEC.md section 2 */
enum board_codec_kind { BOARD_PLAIN = 0, BOARD_GZIP = 1, BOARD_ZSTD = 2, BOARD_LZMA = 3 };

/* What is wrong with compressed data; what that means depends on the layer. */
enum board_codec_fault { BOARD_DAMAGED = 1, BOARD_EARLY, BOARD_WINDOW, BOARD_TRAILING };

#define BOARD_ZSTD_HEAD 18u /* longest zstd frame header */

struct board_codec {
    enum board_codec_kind kind;
    uint64_t window;
    int plain; /* zstd: refuse a dictionary and a checksum */
    int ended;
    void *state;
    struct board_memory memory; /* gzip, lzma: where the library takes from */
    uint8_t head[BOARD_ZSTD_HEAD];
    unsigned head_fill;
    unsigned head_wanted; /* 0: the frame header was seen */
};

/* Memory for a window of that many bytes (gzip: 512..32768, a power of two; zstd: 1024 and more; lzma: 4096 and
 * more, a power of two). */
size_t board_codec_size(enum board_codec_kind kind, uint64_t window);
/* mem: 16-byte aligned, board_codec_size bytes. 0 or -1. */
int board_codec_init(struct board_codec *c, enum board_codec_kind kind, uint64_t window, int plain, void *mem,
                     size_t len);
/* OTA_WANT_INPUT: in is used up; OTA_WANT_OUTPUT: out is full, there may be more; negative: -enum board_codec_fault. */
int board_codec_step(struct board_codec *c, struct ota_in *in, struct ota_out *out);
/* Window that a zstd frame needs, from its first bytes. 0, 1 (more bytes are needed) or -BOARD_DAMAGED. */
int board_codec_zstd_window(const uint8_t *head, size_t len, uint64_t *window);
const char *board_codec_fault_text(int fault);

/* ---- coders of views --------------------------------------------------------------------------------------------- */

/* Decoders and encoders of the parts of images (docs/SPEC.md section 6.5), on supplied memory. There is one. */
const struct ota_coder *board_coder(void);
/* Its name in the needs of a manifest. */
const char *board_coding_name(enum ota_coding_id id);
/* Name and version of the library behind a coding, NULL when this program was built without it. */
const char *board_coder_library(enum ota_coding_id id);

/* ---- input ------------------------------------------------------------------------------------------------------- */

#define BOARD_PIECE 16384u
#define BOARD_OUTER_WINDOW (8u << 20)

struct board_input {
    const char *name;
    int fd;
    int regular;  /* can be read again */
    off_t start;  /* where reading begins, and */
    off_t offset; /* where it is */
    int ended;
    size_t fill;
    size_t pos;
    struct board_memory memory; /* of the outer layer */
    struct board_codec codec;
    uint8_t *unpacked;
    uint8_t buf[BOARD_PIECE];
};

/* Open and look at the first bytes: -OTA_E_INPUT, and as for board_input_next. stop: asked when a signal comes. */
int board_input_open(struct board_input *in, const char *name, int raw, struct board_failure *why);
/* The next piece of the package, valid until the next call; *len 0: the end. Errors: INPUT, CANCELLED; of an outer
 * layer CORRUPT, TRUNCATED, LIMIT, FORMAT, RAM. */
int board_input_next(struct board_input *in, const uint8_t **data, size_t *len, struct board_failure *why);
/* Back to the front. */
int board_input_rewind(struct board_input *in, struct board_failure *why);
void board_input_close(struct board_input *in);

/* ---- frames ------------------------------------------------------------------------------------------------------ */

#define BOARD_SIGNATURES 4u
#define BOARD_HEAD 64u /* signed part of the preamble */
#define BOARD_FRAME_HEAD 36u

struct board_preamble {
    uint8_t head[BOARD_HEAD];
    enum board_codec_kind codec;
    unsigned window_log;
    unsigned frame_log;
    uint64_t ram;
    uint32_t workspace; /* bytes of ram that are for engines and views */
    uint64_t length;
    unsigned signatures;
    uint8_t key_id[BOARD_SIGNATURES][8];
    uint8_t signature[BOARD_SIGNATURES][64];
    uint8_t digest[32]; /* of the preamble */
};

enum board_frames_event { BOARD_FRAMES_INPUT = 1, BOARD_FRAMES_PREAMBLE = 2, BOARD_FRAMES_PAYLOAD = 3 };

struct board_frames {
    struct board_preamble preamble;
    int have_preamble;
    int last;             /* the last frame was seen */
    uint8_t expected[32]; /* digest of the next frame */
    uint64_t left;        /* bytes of frames to come */
    uint64_t offset;      /* in the package, of what is collected */
    uint8_t *buf;         /* frame being collected; the preamble has its own */
    size_t fill;
    size_t wanted;
    const uint8_t *payload; /* after BOARD_FRAMES_PAYLOAD, until the next step */
    size_t payload_len;
    uint8_t first[BOARD_HEAD + 1 + 72 * BOARD_SIGNATURES + 32];
};

void board_frames_init(struct board_frames *f);
/* Take input until something is complete. After BOARD_FRAMES_PREAMBLE set f->buf to 2^frame_log bytes. Errors: MAGIC,
 * VERSION, CORRUPT, UNSUPPORTED, LIMIT, FORMAT. */
int board_frames_step(struct board_frames *f, struct ota_in *in, struct board_failure *why);
/* The input is over: 0, or -OTA_E_TRUNCATED or -OTA_E_MAGIC. */
int board_frames_end(const struct board_frames *f, struct board_failure *why);

/* ---- keys -------------------------------------------------------------------------------------------------------- */

#define BOARD_KEYS_MAX 32u

struct board_keys {
    unsigned count;
    uint8_t id[BOARD_KEYS_MAX][8];
    uint8_t key[BOARD_KEYS_MAX][32];
};

/* Read a PEM file, or all files of a folder that do not begin with a dot. A folder that is not there is no key at all,
 * unless `required`. -OTA_E_CONFIG for anything that is not a public Ed25519 key: a key that is dropped silently could
 * leave the board without any, and then unsigned packages would pass. */
int board_keys_load(struct board_keys *k, const char *path, int required, struct board_failure *why);
/* Without keys: 0. Else one signature at least must be by a trusted key, and all those must be right: UNSIGNED, KEY,
 * SIGNATURE. */
int board_keys_check(const struct board_keys *k, const struct board_preamble *p, struct board_failure *why);

/* ---- status file ------------------------------------------------------------------------------------------------- */

enum board_state {
    BOARD_NOT_STARTED = 0,   /* reading and checking; found after a reboot: cut before the first write */
    BOARD_FAILED_BEFORE = 1, /* failed before the first write: nothing was changed */
    BOARD_WRITING = 2,       /* found after a reboot: cut after the first write; run the package again */
    BOARD_FAILED_AFTER = 3,  /* failed after the first write; run the package again */
    BOARD_DONE = 4,
};

/* Replace the file at path (NULL: do nothing) as a whole and durably. 0 or -OTA_E_OUTPUT. */
int board_status_write(const char *path, enum board_state state, const struct ota_report *report, int code,
                       struct board_failure *why);

/* ---- progress ---------------------------------------------------------------------------------------------------- */

/* Show where the work is, on stderr and on the display, as often as is useful. phase: one word. */
void board_progress_show(enum board_progress mode, const char *phase, uint64_t done, uint64_t total,
                         const struct ota_report *report);
/* Say how it ended (code 0: well), to whoever reads lines; clear what a bar left; let the display go. */
void board_progress_end(enum board_progress mode, uint64_t done, uint64_t total, const struct ota_report *report,
                        int code);

/* ---- display ----------------------------------------------------------------------------------------------------- */

/* Start otadisplay, which lies beside this program or on the path. Whatever goes wrong is said on stderr, and the
 * update goes on without it. rotate: "0" to "3" or NULL. SIGPIPE must be ignored. */
void board_display_start(const char *picture, const char *rotate);
/* 1: somebody may be listening. */
int board_display_open(void);
/* One line with its end, at most 4096 bytes; never waits. */
void board_display_send(const char *line, size_t len);
void board_display_close(void);

/* ---- care for the board ------------------------------------------------------------------------------------------ */

/* Bytes that the system can give (MemAvailable); UINT64_MAX when it does not say. */
uint64_t board_memory_available(void);
/* Bytes of the largest erase block of any MTD device, 0 without one. */
uint32_t board_largest_erase_block(void);
/* Be the last one that the OOM killer takes; without the right to ask for that, nothing happens. */
void board_oom_shield(void);
/* SIGPIPE and SIGXFSZ are ignored; SIGHUP, SIGINT and SIGTERM ask to stop (unless they were ignored already, as under
 * nohup). */
void board_signals_install(void);
/* From the first write on: SIGHUP and SIGINT no longer stop anything, here and in scripts. SIGTERM still does, where
 * nothing is half written. */
void board_signals_writing(void);
/* The signal that asked to stop, 0: none. */
int board_signal_seen(void);
/* NULL: no watchdog. -OTA_E_CONFIG when it cannot be opened. */
int board_watchdog_open(const char *device, struct board_failure *why);
void board_watchdog_feed(void);
/* Close it so that it stops (unless the driver does not allow that). */
void board_watchdog_close(void);
/* Let the port warn about targets that are legal but unwise. */
void board_warnings_install(struct ota_port *port, const char *root);

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* The whole run, messages and status file included; the exit code. One at a time. */
int board_apply(const struct board_options *options);
/* Do what is asked to the board's slots and print their state; the exit code. */
int board_slots(const struct board_options *o);
/* Check this program on this machine, beneath options->tmp; the exit code. */
int board_self_test(const struct board_options *o);

#endif
