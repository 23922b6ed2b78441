/* wire.h - encoded records to structs. Core internal. The twin of the record part of otastream/container.py. */
#ifndef OTA_CORE_WIRE_H
#define OTA_CORE_WIRE_H

#include "cbor.h"

enum ota_kind {
    OTA_KIND_END = 0,
    OTA_KIND_MANIFEST = 1,
    OTA_KIND_EXPECT = 2,
    OTA_KIND_SCRIPT = 3,
    OTA_KIND_BLOCK = 4,
    OTA_KIND_UBI = 5,
    OTA_KIND_FILE = 6,
    OTA_KIND_DELETE = 7,
    OTA_KIND_DIR = 8,
    OTA_KIND_LINK = 9,
    OTA_KIND_MOVE = 10,
    OTA_KIND_ENV = 11,
    OTA_KINDS = 12,
};

/* Keys of the fields, docs/SPEC.md section 5.1. */
enum ota_key {
    OTA_KEY_ROOT = 1,
    OTA_KEY_PATH = 2,
    OTA_KEY_SIZE = 3,
    OTA_KEY_DIGEST = 4,
    OTA_KEY_MODE = 5,
    OTA_KEY_UID = 6,
    OTA_KEY_GID = 7,
    OTA_KEY_ENGINE = 8,
    OTA_KEY_SOURCE = 9,
    OTA_KEY_TARGETS = 10,
    OTA_KEY_OLD_VIEW = 11,
    OTA_KEY_NEW_VIEW = 12,
    OTA_KEY_XATTRS = 13,
    OTA_KEY_WHEN = 14,
    OTA_KEY_LABEL = 15,
    OTA_KEY_TO = 16,
    OTA_KEY_TYPE = 17,
    OTA_KEY_OLD = 18,
    OTA_KEY_NEW = 19,
    OTA_KEY_NAME = 20,
    OTA_KEY_VERSION = 21,
    OTA_KEY_CREATED = 22,
    OTA_KEY_RECORDS = 23,
    OTA_KEY_BYTES = 24,
    OTA_KEY_COMPATIBLE = 25,
    OTA_KEY_LINKS = 26,
    OTA_KEY_NEEDS = 27,
    OTA_KEY_MASK = 28,
    OTA_KEY_PARENTS = 29,
    OTA_KEY_ENV = 30,
    OTA_KEY_UNIT = 32,
    OTA_KEY_SCRATCH = 33,
    OTA_KEY_PLAN = 34,
    OTA_KEY_NOTE = 35,
    OTA_KEY_FALLBACK = 36,
    OTA_KEYS = 37,
};

enum ota_expect_type {
    OTA_EXPECT_TREE = 1,
    OTA_EXPECT_NODE = 2,
    OTA_EXPECT_BOARD = 3,
    OTA_EXPECT_VERSION = 4,
    OTA_EXPECT_IN_PLACE = 5,
    OTA_EXPECT_ENV = 6,
};

enum ota_state_type {
    OTA_STATE_ABSENT = 0,
    OTA_STATE_FILE = 1,
    OTA_STATE_DIR = 2,
    OTA_STATE_LINK = 3,
    OTA_STATE_ANY = 4
};

struct ota_state {
    enum ota_state_type type;
    uint64_t size;
    uint64_t digest;
    struct ota_text text;
};

enum ota_source_type { OTA_SOURCE_NONE = 0, OTA_SOURCE_SELF, OTA_SOURCE_PATH, OTA_SOURCE_NODE };

struct ota_record_source {
    enum ota_source_type type;
    int has_digest;
    uint64_t size;
    uint64_t digest;
    struct ota_text root;
    struct ota_text path;
    struct ota_text node;
};

/* Bits of `needs`: kinds at their number (0..15), engines (16..30), that a second payload stands in for the first (31),
 * views (32..47) and codings of parts (48..63). */
#define OTA_NEED_KIND(kind) (UINT64_C(1) << (kind))
#define OTA_NEED_ENGINE(id) (UINT64_C(1) << (16 + (id)))
#define OTA_NEED_FALLBACK (UINT64_C(1) << 31)
#define OTA_NEED_VIEW(id) (UINT64_C(1) << (32 + (id)))
#define OTA_NEED_CODING(id) (UINT64_C(1) << (48 + (id)))

/* Bit of a key in `has`. */
#define OTA_HAS(name) (UINT64_C(1) << OTA_KEY_##name)

/* One record; text points into the header it was parsed from. has: bit per key that was present. */
struct ota_record {
    enum ota_kind kind;
    uint64_t has;
    struct ota_text root;
    struct ota_text path;
    uint64_t size;
    uint64_t digest;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    int engine; /* -1: no payload */
    unsigned old_view;
    unsigned new_view;
    struct ota_record_source source;
    struct ota_text targets[OTA_TARGETS_MAX];
    unsigned target_count;
    uint32_t mask;         /* bit n: target n is to be written; all targets where the package does not say */
    uint32_t unit;         /* in place: bytes that are replaced at once; 0: not in place */
    uint64_t scratch;      /* in place: bytes that the temporary folder must hold */
    uint64_t plan;         /* in place: digest of the payload */
    const uint8_t *xattrs; /* encoded array */
    size_t xattrs_len;
    unsigned when;
    unsigned type;
    struct ota_text to;
    struct ota_state before;
    struct ota_state after;
    struct ota_text name;
    struct ota_text version;
    uint64_t records;
    uint64_t bytes;
    struct ota_text compatible; /* encoded array */
    struct ota_text env;        /* encoded array */
    struct ota_text label;
    uint64_t needs;
};

static inline int ota_record_has_views(const struct ota_record *r)
{
    return r->old_view != OTA_VIEW_IDENTITY || r->new_view != OTA_VIEW_IDENTITY;
}

/* The name in `needs` of the lowest bit of these, "" when none has one. */
const char *ota_need_name(uint64_t bits);

/* Parse one header. On failure detail (at least 64 bytes) names what is wrong. */
int ota_record_parse(const uint8_t *header, size_t len, struct ota_record *rec, char *detail, size_t detail_cap);

#endif
