/* otastream.h - the public C API of the otastream core.
 *
 * The core is C99 without malloc, stdio or any call into the operating system. A caller asks how much memory an
 * object needs, supplies it, initialises it and then steps it. Everything the core wants from the outside (files,
 * flash, scripts) it asks of a port: a table of callbacks.
 *
 * One status rule everywhere: negative = failed (minus an OTA_E_* code, see ota_error_*), 0 = done, positive = the
 * function wants something (OTA_WANT_*). A failure is sticky: once an object has failed, every further call returns
 * the same status.
 *
 * All sizes and offsets of content are 64-bit. All text (paths, names) is bytes with a length; paths use '/'.
 *
 * The part between the cdef markers is the part that build_ffi.py hands to cffi, so that the Python binding cannot
 * drift from this header. Only plain declarations may stand there.
 */
#ifndef OTASTREAM_H
#define OTASTREAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors: one list makes the enum, the texts, the exit codes and the table in docs/errors.md ---------------- */

/* X(NAME, code, who, text): code is also the exit code of every program; who must act: caller, package, trust,
 * mismatch, device. Codes are part of the interface: never renumber, only add. */
#define OTA_ERRORS(X)                                                                                                  \
    X(USAGE, 2, "caller", "wrong arguments")                                                                           \
    X(CONFIG, 10, "caller", "the configuration is not valid")                                                          \
    X(INPUT, 11, "caller", "an input file or folder cannot be used")                                                   \
    X(CHANGED, 12, "caller", "an input changed while it was read")                                                     \
    X(OUTPUT, 13, "caller", "the output cannot be written")                                                            \
    X(LOCKED, 14, "caller", "another applier is at work on the same root")                                             \
    X(CANCELLED, 15, "caller", "stopped on request")                                                                   \
    X(HOOK, 16, "caller", "the hook program failed")                                                                   \
    X(MAGIC, 20, "package", "this is not an otastream package")                                                        \
    X(VERSION, 21, "package", "the package has a format version that this program does not know")                      \
    X(TRUNCATED, 22, "package", "the package ends too early")                                                          \
    X(CORRUPT, 23, "package", "the package is damaged: a digest does not match")                                       \
    X(FORMAT, 24, "package", "the package breaks the format")                                                          \
    X(UNSUPPORTED, 25, "package", "the package needs a feature that this program does not have")                       \
    X(LIMIT, 26, "package", "a size or count in the package is above the limit")                                       \
    X(PATH, 27, "package", "a path in the package is not safe")                                                        \
    X(CODEC, 28, "package", "the compressed stream is damaged")                                                        \
    X(DELTA, 29, "package", "a delta is damaged or does not fit its source")                                           \
    X(SCRIPT, 30, "package", "a script of the package failed")                                                         \
    X(BEGIN_SCRIPT, 31, "package", "the begin script failed; nothing was updated")                                     \
    X(END_SCRIPT, 32, "package", "the end script failed")                                                              \
    X(UNSIGNED, 40, "trust", "the package is not signed, and this board demands it")                                   \
    X(KEY, 41, "trust", "the package is signed by no key that this board trusts")                                      \
    X(SIGNATURE, 42, "trust", "a signature does not match")                                                            \
    X(ROLLBACK, 43, "trust", "the package is older than what this board has already run")                              \
    X(TARGET, 50, "mismatch", "a target is neither the old nor the new one")                                           \
    X(MISSING, 51, "mismatch", "a target or source is missing")                                                        \
    X(BOARD, 52, "mismatch", "the package is not for this board")                                                      \
    X(MIN_VERSION, 53, "mismatch", "the installed version is too old for this package")                                \
    X(TOO_SMALL, 54, "mismatch", "the image is larger than its target")                                                \
    X(RESULT, 55, "mismatch", "what was written is not what the package promises")                                     \
    X(ENV, 56, "mismatch", "the environment of the boot loader cannot be used")                                        \
    X(IO, 60, "device", "reading or writing failed")                                                                   \
    X(SPACE, 61, "device", "not enough free space")                                                                    \
    X(RAM, 62, "device", "not enough free memory")                                                                     \
    X(READONLY, 63, "device", "a target cannot be written: read-only or no permission")                                \
    X(BAD_BLOCKS, 64, "device", "too many bad blocks")                                                                 \
    X(VERIFY, 65, "device", "what was read back is not what was written")                                              \
    X(NODE, 66, "device", "a target is not of the kind that the record needs")                                         \
    X(INTERNAL, 70, "caller", "a bug in otastream: please report it")

enum ota_error {
#define OTA_ERROR_ENUM(name, code, who, text) OTA_E_##name = code,
    OTA_ERRORS(OTA_ERROR_ENUM)
#undef OTA_ERROR_ENUM
};

/* cdef-begin */

/* The error list at run time: index 0 .. ota_error_count()-1. ota_error_name is "TRUNCATED", _who is "package",
 * _text the sentence. By code: -1 when there is no such code. */
int ota_error_count(void);
int ota_error_code(int index);
int ota_error_index(int code);
const char *ota_error_name(int index);
const char *ota_error_who(int index);
const char *ota_error_text(int index);

enum ota_want {
    OTA_DONE = 0,
    OTA_WANT_INPUT = 1,  /* give more input */
    OTA_WANT_OUTPUT = 2, /* make room in the output */
};

/* In and out cursors: a call advances pos, never past size. */
struct ota_in {
    const uint8_t *src;
    size_t size;
    size_t pos;
};

struct ota_out {
    uint8_t *dst;
    size_t size;
    size_t pos;
};

/* ---- XXH64 (seed 0): "is this the expected content"; not a defence against an attacker -------------------------- */

struct ota_xxh64 {
    uint64_t acc[4];
    uint64_t total;
    uint8_t buf[32];
    uint32_t fill;
};

void ota_xxh64_init(struct ota_xxh64 *h);
void ota_xxh64_update(struct ota_xxh64 *h, const uint8_t *data, size_t len);
uint64_t ota_xxh64_value(const struct ota_xxh64 *h);

/* ---- engines: payload of a record -> new content --------------------------------------------------------------- */

enum ota_engine_id {
    OTA_ENGINE_FULL = 0,   /* the bytes as they are */
    OTA_ENGINE_BSDIFF = 1, /* add/copy/seek triples, docs/SPEC.md section 6.2 */
    OTA_ENGINE_XREF = 2,   /* references followed, entropy-coded, docs/SPEC.md section 6.3 */
};

/* Random access to old content of `size` bytes. read_at fills all of buf or returns a negative status; the engine
 * never asks beyond size. */
struct ota_source {
    void *ctx;
    int (*read_at)(void *ctx, uint64_t offset, uint8_t *buf, size_t len);
    uint64_t size;
};

/* Workspace in bytes that engine `id` needs with the given window (bytes of old read at once, 512 .. 1 MiB); 0 when
 * the engine or the window is not supported. */
size_t ota_engine_size(int id, size_t window);

/* Prepare `workspace` (aligned for uint64_t, ota_engine_size bytes) to make new_size bytes. `source` may be NULL for
 * OTA_ENGINE_FULL; it is copied, its ctx must outlive the workspace. */
int ota_engine_init(void *workspace, size_t workspace_len, int id, size_t window, const struct ota_source *source,
                    uint64_t new_size);

/* Consume payload and produce new content, in any split. OTA_WANT_INPUT: in is used up. OTA_WANT_OUTPUT: out is full.
 * OTA_DONE: new_size bytes were made and the payload ended exactly there; payload after that is OTA_E_DELTA. */
int ota_engine_step(void *workspace, struct ota_in *in, struct ota_out *out);

/* Engine xref in place (docs/SPEC.md section 6.4.1): new is made part by part, in any order. After ota_engine_init for
 * all of new, ota_engine_in_parts says so; the payload to come is that of the tables, which make no content. When they
 * are done, and after each part, ota_engine_begin_part says that `coded` bytes follow which make new content
 * [start, start + len): 0, OTA_E_DELTA (what was before is not done), OTA_E_USAGE (beyond new). A part reads old where
 * it copies from, and nothing else of it matters. */
void ota_engine_in_parts(void *workspace);
int ota_engine_begin_part(void *workspace, uint64_t start, uint64_t len, uint64_t coded);

/* ---- views: what a delta runs between (docs/SPEC.md section 6.5) ------------------------------------------------ */

enum ota_view_id {
    OTA_VIEW_IDENTITY = 0, /* the content itself */
    OTA_VIEW_PARTS = 1,    /* its compressed parts decompressed */
};

enum ota_coding_id {
    OTA_CODING_DEFLATE = 1, /* RFC 1951 and RFC 1950, as zlib writes it */
    OTA_CODING_XZ = 2,      /* an .xz stream of one block, as liblzma writes it */
    OTA_CODING_ZSTD = 3,    /* an RFC 8878 frame, as libzstd 1.5.4 writes it */
    OTA_CODING_GNUZIP = 4,  /* RFC 1951, as GNU gzip writes it */
    OTA_CODING_LZ4 = 5,     /* a block of LZ4, as liblz4 1.9.4 writes it on 64-bit machines */
    OTA_CODING_LZO = 6,     /* a block of LZO1X, as liblzo2 2.10 writes it */
    OTA_CODING_JFFS2 = 7,   /* RFC 1950, as mkfs.jffs2 writes it with zlib */
};

/* Decompressors and compressors: the core calls no library, the composer supplies them. At most one decoder and one
 * encoder are at work, each in its own memory; begin may be called again at any time. */
struct ota_coder {
    void *ctx;
    uint32_t codings; /* bit per enum ota_coding_id: both directions are there, byte for byte as the id promises */
    /* Bytes that begin needs, 16-byte aligned; 0: no such coding, or not with these parameters. */
    size_t (*size)(void *ctx, int encode, unsigned coding, uint64_t params);
    /* Start a part of raw bytes (decompressed). 0 or a negative status. */
    int (*begin)(void *ctx, int encode, unsigned coding, uint64_t params, uint64_t raw, void *memory, size_t len);
    /* last: in holds all that is left of the part. OTA_DONE: the part is complete; OTA_WANT_INPUT: in is used up;
     * OTA_WANT_OUTPUT: out is full; negative: OTA_E_DELTA for what does not decode. */
    int (*step)(void *ctx, int encode, struct ota_in *in, struct ota_out *out, int last);
    /* Copy the decoder at work to `to`, len bytes as it has them itself; later it may be at work again as it was then,
     * in the memory that it had. Both NULL: it cannot be copied. 0 or a negative status. */
    int (*save)(void *ctx, void *to, size_t len);
    int (*restore)(void *ctx, unsigned coding, const void *from, size_t len);
};

/* The encoder of OTA_CODING_GNUZIP, which no library has: what stands between header and trailer of a member that GNU
 * gzip 1.x made of a file. docs/SPEC.md section 6.5.1 has the algorithm. params: level, 1 to 9.
 *
 * size: bytes of memory, aligned to 8; 0: not with these parameters. begin: 0, -OTA_E_UNSUPPORTED or -OTA_E_RAM. step:
 * as ota_coder.step, in any split of input and output; any input can be encoded. */
size_t ota_gnuzip_size(uint64_t params);
int ota_gnuzip_begin(void *memory, size_t len, uint64_t params);
int ota_gnuzip_step(void *memory, struct ota_in *in, struct ota_out *out, int last);

/* ---- decoding: engine and views together ------------------------------------------------------------------------ */

struct ota_decoder_options {
    int engine;        /* enum ota_engine_id */
    unsigned old_view; /* enum ota_view_id */
    unsigned new_view;
    size_t window;                 /* as for ota_engine_size */
    const struct ota_coder *coder; /* for views; NULL: what needs one is refused. Must outlive the payload */
    uint32_t codings;              /* bit per enum ota_coding_id that may occur */
    struct ota_source source;      /* old content; read_at NULL: none, for OTA_ENGINE_FULL */
    uint64_t new_size;
    uint8_t *workspace; /* for engine and views, aligned for uint64_t, at least ota_engine_size bytes */
    size_t workspace_len;
};

/* Bytes of memory, aligned for uint64_t, that a payload takes beside its workspace. */
size_t ota_decoder_size(void);

/* Prepare to decode the payload of a record that makes new_size bytes. The source is copied, its ctx must outlive the
 * payload. 0 or a negative status. */
int ota_decoder_init(void *decoder, const struct ota_decoder_options *options);

/* As ota_engine_step, with what the views have in front of the engine's payload: OTA_DONE means that new_size bytes
 * were made. Errors besides: FORMAT, LIMIT, UNSUPPORTED, RESULT (docs/SPEC.md section 6.5). */
int ota_decoder_step(void *decoder, struct ota_in *in, struct ota_out *out);

/* ---- executor: records in, changes on the board out ------------------------------------------------------------- */

enum ota_phase {
    OTA_PHASE_PREFLIGHT = 0, /* checks; nothing is written */
    OTA_PHASE_BEGIN = 1,     /* begin script */
    OTA_PHASE_UPDATE = 2,    /* records are executed */
    OTA_PHASE_END = 3,       /* end script */
};

/* Counters and the place of a failure; valid from init until the workspace is dropped. target is the path or node at
 * work, as the package names it, cut to fit, NUL-terminated. */
struct ota_report {
    int status;             /* 0 or the first failure */
    int phase;              /* enum ota_phase at that moment */
    int os_error;           /* errno of the port, 0 when there is none */
    int script_exit;        /* exit code of the last script, -1 when none was run */
    int changed;            /* 1 as soon as anything may have been written */
    int lost;               /* 1: old content that the update needs exists nowhere; only the image in full helps */
    uint64_t record;        /* number of the record at work, from 0 */
    uint64_t records_done;  /* records executed */
    uint64_t records_total; /* as the manifest says, 0 when it does not */
    uint64_t skipped;       /* of these, targets that were right already */
    uint64_t fell_back;     /* of these, deltas that did not apply, in whose place their fallback was written */
    uint64_t left_out;      /* targets that somebody chose to leave alone */
    uint64_t bytes_done;    /* new bytes handled, for progress */
    uint64_t bytes_total;   /* as the manifest says, 0 when it does not */
    uint64_t bytes_written; /* bytes that reached a medium */
    uint64_t record_from;   /* bytes_done when the record at work began */
    uint64_t record_bytes;  /* bytes of new content that it makes, 0: none */
    char detail[128];       /* what exactly, in words; may be empty */
    char target[512];
    char package[256]; /* name and version of the package, UTF-8, NUL-terminated; empty when it has none */
    char version[256];
};

/* Which of two slots is written, and started next. */
enum ota_slot_choice {
    OTA_SLOTS_NONE = 0, /* targets are as the package says */
    OTA_SLOTS_A = 1,
    OTA_SLOTS_B = 2,
    OTA_SLOTS_AUTO = 3, /* the one that does not run */
};

enum ota_slot_action { OTA_SLOTS_STATUS = 0, OTA_SLOTS_GOOD = 1, OTA_SLOTS_ROLLBACK = 2 };

/* The two slots of a board. A slot is 0 (a), 1 (b) or -1 (not known, or none). */
struct ota_slot_status {
    int running;
    int selected;        /* what the boot loader starts next */
    int trial;           /* 1: it has not proved to work yet; -1: this board has no trials */
    int incomplete;      /* slot whose update began and did not end */
    int good;            /* bit 0: a has proved to work, bit 1: b has; -1: this board does not keep that */
    uint32_t boot_count; /* how often the boot loader has tried */
    char detail[128];    /* what is wrong, in words */
};

struct ota_exec_options {
    int dry_run;           /* stop after preflight; nothing is written, no script is run */
    int check_only;        /* read all records, their order and their form; look at no target. Implies dry_run */
    int ignore_space;      /* do not compare free space in preflight */
    int allow_downgrade;   /* do not compare with the highest version that was run, and do not raise it */
    int volatile_tmp;      /* update in place even if a power cut would lose the temporary folder */
    uint32_t window;       /* bytes of old read at once, 512 .. 1 MiB */
    uint32_t block_buffer; /* bytes of the block buffer; at least the largest erase block, a multiple of 512 */
    uint32_t header_max;   /* longest record header accepted, at most OTA_HEADER_MAX */
    uint32_t workspace;    /* bytes for engines and views, as the preamble states them; a minimum is added by itself */
    const struct ota_coder *coder; /* for views; NULL: a package that needs one is refused. Must outlive the executor */
    int slot;                      /* enum ota_slot_choice */
    uint32_t select; /* not 0: the mask of every image that has several targets, in place of the package's */
};

/* cdef-end */

#define OTA_HEADER_MAX 16384u
#define OTA_CHUNK_MAX 65536u
#define OTA_PATH_MAX 4096u /* whole path beneath its root */
#define OTA_NAME_MAX 255u  /* one component */
#define OTA_TARGETS_MAX 8u /* nodes of one record */
#define OTA_UNIT_MIN 4096u /* in place: bytes that are replaced at once */
#define OTA_UNIT_MAX (1u << 26)
#define OTA_UNITS_MAX 65536u
#define OTA_DEPTH_MAX 64u /* components of a path */
#define OTA_SCRIPT_MAX (1u << 20)
#define OTA_LABEL_MAX 512u
#define OTA_ENV_VALUE_MAX 4096u
#define OTA_WORKSPACE_MAX (65535u * 4096u)

/* A path beneath a root: root is absolute ("/config"), path is relative with no empty, "." or ".." component. The
 * root may pass through symbolic links, which are resolved inside the apply root; the path below it never does. */
struct ota_path {
    const char *root;
    size_t root_len;
    const char *path;
    size_t path_len;
};

enum ota_node_type { OTA_ABSENT = 0, OTA_FILE = 1, OTA_DIR = 2, OTA_SYMLINK = 3, OTA_OTHER = 4 };

struct ota_stat {
    enum ota_node_type type;
    uint32_t mode; /* 12 bits */
    uint32_t uid;
    uint32_t gid;
    uint64_t size;
    uint64_t dev;
    uint64_t ino;
    uint64_t nlink;
};

#define OTA_META_MODE 1u
#define OTA_META_OWNER 2u
#define OTA_META_XATTRS 4u

/* What to set on a target; only the fields named in `set`. xattrs is the encoded CBOR array of [name, value] pairs,
 * already checked; read it with ota_xattr_next. */
struct ota_meta {
    uint32_t set;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    const uint8_t *xattrs;
    size_t xattrs_len;
};

/* Walk the pairs: *pos starts at 0; 1 = a pair was given, 0 = no more, negative = broken. */
int ota_xattr_next(const uint8_t *xattrs, size_t len, size_t *pos, const uint8_t **name, size_t *name_len,
                   const uint8_t **value, size_t *value_len);

enum ota_flash_kind {
    OTA_FLASH_BLOCK = 0, /* rewritable in place: block device, regular file, mtdblock */
    OTA_FLASH_NOR = 1,   /* erase before program; no bad blocks */
    OTA_FLASH_NAND = 2,  /* erase before program, page by page in order, bad blocks */
};

/* A medium. Offsets are physical. read/prog/erase return 0 or a negative status; is_bad 0/1/negative. prog on NAND is
 * one page at a time, rising within an erase block. erase, is_bad and mark_bad may be NULL where kind says so. */
struct ota_flash {
    void *ctx;
    enum ota_flash_kind kind;
    uint64_t size;
    uint32_t erase_size; /* unit of erase and of the block buffer; a power of two for NOR and NAND */
    uint32_t prog_size;  /* page; 1 where any length goes */
    int (*read)(void *ctx, uint64_t off, uint8_t *buf, size_t len);
    int (*prog)(void *ctx, uint64_t off, const uint8_t *buf, size_t len);
    int (*erase)(void *ctx, uint64_t off);
    int (*is_bad)(void *ctx, uint64_t off);
    int (*mark_bad)(void *ctx, uint64_t off);
    int (*sync)(void *ctx);
};

#define OTA_ANY_SIZE UINT64_MAX
/* Where a board keeps OTA_ID_ACCEPTED; the executor replaces it through the callbacks for files. */
#define OTA_ACCEPTED_ROOT "/etc/otastream"
#define OTA_ACCEPTED_NAME "accepted"

enum ota_script_when { OTA_SCRIPT_INLINE = 0, OTA_SCRIPT_BEGIN = 1, OTA_SCRIPT_END = 2 };

/* What a node is opened for. CHECK fails where writing would be refused (read-only, mounted, beneath UBI) and takes UBI
 * volumes too; nothing is written through it. */
enum ota_node_use { OTA_NODE_READ = 0, OTA_NODE_WRITE = 1, OTA_NODE_CHECK = 2 };

/* Small texts of the board: what it is, which version is installed, where the boot loader's environment lies, which
 * slots there are, what the kernel was started with. ACCEPTED: the highest
 * version that this board has run; present and of no length: none yet. */
enum ota_identity {
    OTA_ID_BOARD = 0,
    OTA_ID_VERSION = 1,
    OTA_ID_ENV = 2,
    OTA_ID_SLOTS = 3,
    OTA_ID_COMMAND_LINE = 4,
    OTA_ID_ACCEPTED = 5,
};

/* A target that may be left alone. image: which image or labelled file of the package, from 0; target: which of its
 * targets, from 0; label: empty where the package gives none. */
struct ota_asked {
    const char *name; /* absolute */
    size_t name_len;
    const char *label;
    size_t label_len;
    uint32_t image;
    uint32_t target;
};

/* Three things can be open at once: the old content of a delta, the target, and a built image that is copied. */
enum ota_slot { OTA_SLOT_SOURCE = 0, OTA_SLOT_TARGET = 1, OTA_SLOT_COPY = 2, OTA_SLOTS = 3 };

/* The port: everything the executor wants from the world. Every function returns 0 (or what its line says) or a
 * negative status, and sets *os_error through last_error. Names are not NUL-terminated unless said. */
struct ota_port {
    void *ctx;
    int (*last_error)(void *ctx); /* errno of the last failure, 0 = none */

    /* tree: stat never follows the last component; a missing parent is OTA_ABSENT, not an error */
    int (*stat)(void *ctx, const struct ota_path *p, struct ota_stat *st);
    int (*read_link)(void *ctx, const struct ota_path *p, char *buf, size_t cap, size_t *len);
    int (*open)(void *ctx, enum ota_slot slot, const struct ota_path *p, uint64_t *size); /* regular file, to read */
    int (*read_at)(void *ctx, enum ota_slot slot, uint64_t off, uint8_t *buf, size_t len);
    int (*close)(void *ctx, enum ota_slot slot);
    int (*stage_begin)(void *ctx, const struct ota_path *p, uint64_t size); /* a new file beside p */
    int (*stage_write)(void *ctx, const uint8_t *buf, size_t len);
    int (*stage_commit)(void *ctx, const struct ota_path *p, const struct ota_meta *m); /* meta, fsync, rename, dir */
    void (*stage_abort)(void *ctx); /* forget it, and an image or a volume that is half made; always safe */
    int (*set_meta)(void *ctx, const struct ota_path *p, const struct ota_meta *m); /* only what differs */
    int (*make_dir)(void *ctx, const struct ota_path *p, const struct ota_meta *m); /* one level; exists is fine */
    int (*remove)(void *ctx, const struct ota_path *p, int dir); /* gone is fine; a dir that is not empty stays: 1 */
    int (*symlink)(void *ctx, const struct ota_path *p, const char *text, size_t len, const struct ota_meta *m);
    int (*hard_link)(void *ctx, const struct ota_path *p, const struct ota_path *to);
    int (*rename)(void *ctx, const struct ota_path *from,
                  const struct ota_path *to); /* 1: other file system, not done */
    /* bytes that can be written in the file system that holds (the nearest existing parent of) p; p NULL: in the
     * temporary folder */
    int (*free_space)(void *ctx, const struct ota_path *p, uint64_t *fs_id, uint64_t *bytes, uint32_t *unit);

    /* nodes: devices named by absolute path beneath the apply root; flash->ctx is good until node_close */
    int (*node_open)(void *ctx, enum ota_slot slot, const char *name, size_t len, enum ota_node_use use,
                     struct ota_flash *flash);
    int (*node_close)(void *ctx, enum ota_slot slot);

    /* ubi volumes: the kernel replaces the whole volume; begin makes the old content unreadable */
    int (*ubi_begin)(void *ctx, const char *name, size_t len, uint64_t size);
    int (*ubi_write)(void *ctx, const uint8_t *buf, size_t len);
    int (*ubi_end)(void *ctx);

    /* images built in the temporary folder, named by digest; complete ones survive a cut. The scratch of an update in
     * place is such images too. */
    /* OTA_E_MISSING when there is none of this size; OTA_ANY_SIZE becomes the size that it has */
    int (*image_open)(void *ctx, enum ota_slot slot, uint64_t digest, uint64_t *size);
    int (*image_begin)(void *ctx, uint64_t digest, uint64_t size);
    int (*image_write)(void *ctx, const uint8_t *buf, size_t len);
    int (*image_commit)(void *ctx);                  /* fsync, rename */
    int (*image_remove)(void *ctx, uint64_t digest); /* gone is fine */
    int (*tmp_keeps)(void *ctx); /* 1: the temporary folder survives a power cut; 0: it is in memory */

    /* scripts: spooled to the temporary folder; run gives the exit code (0..255, 128+n for signal n) */
    int (*script_begin)(void *ctx, enum ota_script_when when);
    int (*script_write)(void *ctx, const uint8_t *buf, size_t len);
    int (*script_end)(void *ctx);
    int (*script_run)(void *ctx, enum ota_script_when when, int ota_status, int *exit_code);

    /* strings (lines) with one NUL between them, none at the end; OTA_E_MISSING when the board does not say */
    int (*identity)(void *ctx, enum ota_identity what, char *buf, size_t cap, size_t *len);
    /* at least once an erase block, and when preflight has passed, before the first write (phase is no longer
     * OTA_PHASE_PREFLIGHT then); non-zero asks to stop, which is done where nothing is half written */
    int (*tick)(void *ctx, const struct ota_report *report);
    /* 1: write this target, 0: leave it alone. Asked in preflight, once for each; NULL: all are written */
    int (*allow)(void *ctx, const struct ota_asked *asked);
};

struct ota_exec; /* lives in the caller's workspace; no field is public */

/* Bytes of workspace for these options (0: an option is out of range). */
size_t ota_exec_size(const struct ota_exec_options *options);
/* The port is copied; its ctx must outlive the executor. *ex is inside workspace (8-byte aligned). */
int ota_exec_init(void *workspace, size_t len, const struct ota_exec_options *options, const struct ota_port *port,
                  struct ota_exec **ex);

/* Feed the record stream (docs/SPEC.md section 4), in any split: consumes all of data. OTA_WANT_INPUT: go on;
 * OTA_DONE: the end record was executed (data after it is OTA_E_FORMAT). On failure the caller stops feeding. */
int ota_exec_feed(struct ota_exec *ex, const uint8_t *data, size_t len);

/* To be called once after the stream ended or anything failed. why: 0, or the negative status of whoever failed
 * (reader, decompressor). Runs the end script if the update had begun, drops what is half made, closes everything.
 * Returns the final status of the whole update: 0 only if the end record was reached and nothing failed. */
int ota_exec_finish(struct ota_exec *ex, int why);
const struct ota_report *ota_exec_report(const struct ota_exec *ex);

/* Tell the state of the board's slots after doing what is asked: nothing, mark the slot that runs as proved to work, or
 * start the other one next. block: an erase block of the board's raw flash at least. OTA_E_CONFIG: the board has no
 * slots, or this cannot be done now; OTA_E_ENV and those of nodes; detail says what. */
int ota_slots_run(const struct ota_port *port, enum ota_slot_action action, uint8_t *block, uint32_t block_len,
                  struct ota_slot_status *out);

#ifdef __cplusplus
}
#endif
#endif
