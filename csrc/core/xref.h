/* xref.h - inside of engine xref: what its parts share. The engine is described in docs/SPEC.md section 6.3. */
#ifndef OTA_XREF_H
#define OTA_XREF_H

#include "varint.h"
#include "window.h"
#include "xref_model.h"

/* Bytes that the decoder needs beside its tables, with a window of OTA_WINDOW bytes; at most, on any machine. */
#define OTA_XREF_FIXED 45056u
#define OTA_WINDOW 4096u

#define OTA_XREF_SEGMENTS_MAX 8u
#define OTA_XREF_REGIONS_MAX 4096u
#define OTA_XREF_SPANS_MAX 262144u
#define OTA_XREF_CONTENT_MAX 0xffffff00u /* positions are 32 bits */
#define OTA_XREF_UNIT_MAX 8u
#define OTA_XREF_AHEAD 64u /* bytes of old that are looked at behind a unit */
#define OTA_XREF_RECENT 8u /* diagonals */
/* Coded bytes that one advance may take, but for units that it makes only while there are as many: at most 9 numbers
 * of 46 bits, 12 bits a bit. */
#define OTA_XREF_STEP_INPUT 700u
#define OTA_XREF_SECTIONED 32u /* in the head\'s first number: sections follow, each with tables of its own */

/* What a stretch of old holds. */
enum ota_xref_kind {
    OTA_XREF_RAW = 0,
    OTA_XREF_PTR32 = 1, /* addresses */
    OTA_XREF_PTR64 = 2,
    OTA_XREF_PC32 = 3,   /* addresses relative to the word itself */
    OTA_XREF_BASE32 = 4, /* addresses relative to the base of the region */
    OTA_XREF_PREL31 = 5, /* as PC32, 31 bits */
    OTA_XREF_A64 = 6,
    OTA_XREF_A32 = 7,
    OTA_XREF_THUMB = 8,
    OTA_XREF_X86 = 9,
    OTA_XREF_MIPS = 10,
    OTA_XREF_RISCV = 11,
    OTA_XREF_NUM32 = 12, /* numbers of things that stand in a row: when one is put in, all behind it are higher */
    OTA_XREF_KINDS = 13
};

struct ota_xref_region {
    uint32_t start; /* in old; ends where the next begins */
    uint32_t kind;
    uint32_t base; /* BASE32: position in old */
};

/* Content [off, off + file_size) of old or new is at address addr .. and is followed by zeros up to mem_size. */
struct ota_xref_segment {
    uint64_t addr;
    uint32_t off;
    uint32_t file_size;
    uint32_t mem_size;
};

struct ota_xref_span {
    uint32_t new_pos;
    uint32_t old_pos;
    uint32_t len;
};

/* How old and new lie to each other. */
struct ota_xref_map {
    struct ota_xref_span *spans; /* in the order of new_pos */
    uint32_t *by_old;            /* their numbers in the order of old_pos */
    uint32_t count;
    uint32_t segment_count;
    struct ota_xref_segment old_segments[OTA_XREF_SEGMENTS_MAX];
    struct ota_xref_segment new_segments[OTA_XREF_SEGMENTS_MAX];
    struct ota_xref_span here; /* where things are made now */
};

/* Spans in front of a position that are looked at: short ones may hide the long one they lie in. */
#define OTA_XREF_NEIGHBOURS 4u

/* The distance from a position in old to a span; 0: inside. */
static inline uint32_t ota_xref_distance(const struct ota_xref_span *s, uint32_t pos)
{
    if (pos < s->old_pos)
        return s->old_pos - pos;
    return pos - s->old_pos < s->len ? 0 : pos - s->old_pos - s->len + 1;
}

void ota_xref_map_sort(struct ota_xref_map *map);
/* Where the content that is at this position in old will be in new, at best knowledge. */
uint32_t ota_xref_map_position(const struct ota_xref_map *map, uint32_t old_pos);
/* The same for addresses. 1: *out is set; 0: not an address of old. */
int ota_xref_map_address(const struct ota_xref_map *map, uint64_t old_addr, uint64_t *out);
/* The address of a position; 0 when no segment has it: positions are addresses then. */
uint64_t ota_xref_old_address(const struct ota_xref_map *map, uint32_t pos);
uint64_t ota_xref_new_address(const struct ota_xref_map *map, uint32_t pos);

/* What a unit refers to and in which form. */
enum ota_xref_form {
    OTA_XREF_NONE = 0,
    OTA_XREF_A64_BRANCH26,
    OTA_XREF_A64_BRANCH19,
    OTA_XREF_A64_BRANCH14,
    OTA_XREF_A64_ADR,
    OTA_XREF_A64_ADRP,
    OTA_XREF_A64_LOW12,
    OTA_XREF_A32_BRANCH24,
    OTA_XREF_A32_LOAD,
    OTA_XREF_A32_MOVW,
    OTA_XREF_A32_MOVT,
    OTA_XREF_T_BRANCH24,
    OTA_XREF_T_BRANCH20,
    OTA_XREF_T_BRANCH11,
    OTA_XREF_T_BRANCH8,
    OTA_XREF_T_CBZ,
    OTA_XREF_T_LOAD8,
    OTA_XREF_T_LOAD12,
    OTA_XREF_T_MOVW,
    OTA_XREF_T_MOVT,
    OTA_XREF_WORD32,
    OTA_XREF_WORD64,
    OTA_XREF_WORD_PC,
    OTA_XREF_WORD_BASE,
    OTA_XREF_WORD_PREL31,
    OTA_XREF_WORD_POOL,
    OTA_XREF_X86_REL32,
    OTA_XREF_MIPS_JUMP,
    OTA_XREF_RV_JAL,
    OTA_XREF_RV_AUIPC,
    OTA_XREF_RV_LOW12,
    OTA_XREF_WORD_NUMBER,
    OTA_XREF_FORMS
};

/* The smallest piece of old that is predicted at once. */
struct ota_xref_unit {
    uint32_t old_pos;
    uint32_t new_pos;
    uint8_t len;
    uint8_t kind;
    uint8_t form;
    uint8_t guess; /* 0: as old; 1: from the map, or as the last number; 2: from the cache; 3: as numbers near it */
    uint8_t has_alt;
    uint8_t old[OTA_XREF_UNIT_MAX];
    uint8_t pred[OTA_XREF_UNIT_MAX];
    uint8_t alt[OTA_XREF_UNIT_MAX];
    uint64_t target; /* in old; address */
    uint64_t old_pc; /* what the form is relative to */
    uint64_t new_pc;
    uint32_t op; /* the unit without its operands */
};

/* An address that one instruction begins and another completes. */
struct ota_xref_half {
    uint32_t old_pos; /* of the first */
    uint32_t valid;
    uint64_t old_part;
    uint64_t new_part;
};

/* A word that code loads relative to itself. */
struct ota_xref_pool {
    uint32_t pos;    /* of the word in old; 0: none */
    uint32_t old_pc; /* position of what it is added to; 0: the word is an address */
    uint32_t new_pc;
};

#define OTA_XREF_POOLS 256u

struct ota_xref_refs {
    struct ota_xref_half halves[32];
    uint32_t loads[16]; /* position of the word that was loaded last into each register, ARM */
    struct ota_xref_pool pools[OTA_XREF_POOLS];
};

struct ota_xref_cached {
    uint32_t key;
    int32_t shift;
};

enum ota_xref_state {
    OTA_XREF_HEAD = 0,
    OTA_XREF_START,
    OTA_XREF_SECTION,
    OTA_XREF_SEGMENTS,
    OTA_XREF_REGIONS,
    OTA_XREF_SPANS,
    OTA_XREF_OP,
    OTA_XREF_LITERAL,
    OTA_XREF_COPY,
    OTA_XREF_END
};

/* A stretch of new and what it is made from. A program's positions count from its own beginning and reach over its own
 * old content; those of anything else reach over all of old, and it has no tables. */
struct ota_xref_section {
    uint32_t is_program;
    uint32_t new_len;
    uint32_t old_start;
    uint32_t old_len;
    uint32_t segments;
    uint32_t regions;
    uint32_t spans;
};

/* What the encoder knows and the decoder is told. NULL when decoding. */
struct ota_xref_truth {
    struct ota_xref_section section;
    const uint8_t *new_data;            /* of the section */
    const struct ota_xref_span *copies; /* all, in the order of new_pos; NULL at the end */
    uint32_t copy_count;
    uint32_t copy_next;
};

struct ota_xref {
    enum ota_xref_state state;
    struct ota_window window;
    struct ota_varint var;
    struct ota_xref_truth *truth;
    uint32_t head_at;
    unsigned log;
    int sectioned;
    struct ota_xref_section section;
    struct ota_xref_section most; /* what the tables have room for */
    uint32_t new_left;            /* bytes of new behind the section */
    uint32_t old_all;             /* bytes of old */
    uint32_t old_after;           /* where in it the section before ended */
    uint32_t new_size;            /* of the section, as all positions below are */
    uint32_t region_count;
    uint64_t coded_left; /* bytes of payload that have not come yet */
    size_t memory;       /* for tables */

    struct ota_xref_model model;
    struct ota_xref_map map;
    struct ota_xref_refs refs;
    struct ota_xref_region *regions;
    struct ota_xref_cached *cache;
    uint32_t cache_mask;
    int32_t last_shift; /* of a number, that was learned */

    uint32_t old_pos;
    uint32_t new_pos;
    uint32_t old_size;
    uint32_t end;              /* of what is made now: new_size, or that of a part */
    int in_parts;              /* a copy does not look at old behind itself: that may have been replaced */
    enum ota_xref_state first; /* what follows the range coder's first bytes */
    uint32_t index;            /* of the table entry that comes next */
    uint32_t span_next;
    uint32_t literal_left;
    uint32_t copy_left;
    uint32_t clean_left; /* bytes of the copy that are known to be as predicted */
    uint32_t then_len;   /* the copy that follows the literals */
    uint32_t then_old;
    uint32_t region; /* at old_pos, if that is in [region_start, region_end) */
    uint32_t region_start;
    uint32_t region_end;
    uint32_t kind;                    /* of the last unit */
    uint32_t recent[OTA_XREF_RECENT]; /* diagonals: old_pos - new_pos */

    uint32_t flag_history; /* 1: not as predicted */
    uint32_t form_history[OTA_XREF_FORMS];
    uint32_t hits; /* units as predicted in a row */
    uint32_t block_log;
    uint32_t block_history;
    uint32_t last_new[3]; /* the units made last */
    uint8_t last_change[OTA_XREF_KINDS][OTA_XREF_UNIT_MAX];
    uint64_t tail; /* bytes made last, the newest lowest */

    uint8_t out[256]; /* made, not yet given out */
    uint32_t out_at;
    uint32_t out_len;
};

/* Parts of a payload, for statistics. */
enum ota_xref_part {
    OTA_XREF_PART_TABLES = 0,
    OTA_XREF_PART_SPANS,
    OTA_XREF_PART_TRIPLES,
    OTA_XREF_PART_BLOCKS,
    OTA_XREF_PART_FLAGS,
    OTA_XREF_PART_WRONG,
    OTA_XREF_PART_LITERALS,
    OTA_XREF_PARTS
};

/* ---- xref_insn.c ---- */

/* Set form, target, pcs and operation of the unit, and its length where that depends on the content. at: `there` bytes
 * of old from the unit on; limit: bytes that the unit may have. */
void ota_xref_find(struct ota_xref *x, struct ota_xref_unit *u, const uint8_t *at, size_t there, uint32_t limit);

/* Whether a unit that begins like this may refer to something, in a region of code of a kind that has a quick answer;
 * at: 4 bytes of old. What it answers no to has 4 bytes, in Thumb *len. */
int ota_xref_may_refer(const struct ota_xref *x, uint32_t kind, uint32_t old_pos, const uint8_t *at, uint32_t *len);

/* ---- xref_predict.c ---- */

/* Set x->region for x->old_pos. */
void ota_xref_seek_region(struct ota_xref *x);
static inline void ota_xref_find_region(struct ota_xref *x)
{
    if (x->old_pos < x->region_start || x->old_pos >= x->region_end)
        ota_xref_seek_region(x);
}

/* Find the unit at x->old_pos, at most `limit` bytes long, and predict it. 0 or a failure of reading. */
int ota_xref_predict(struct ota_xref *x, struct ota_xref_unit *u, uint32_t limit);
/* Take in what the unit became. */
void ota_xref_observe(struct ota_xref *x, const struct ota_xref_unit *u, const uint8_t *actual);

/* ---- xref_code.c ---- */

/* Whether the unit is as predicted. */
int ota_xref_code_hit(struct ota_xref *x, const struct ota_xref_unit *u, int hit);
/* The bytes of a unit that is not as predicted. */
void ota_xref_code_wrong(struct ota_xref *x, const struct ota_xref_unit *u, uint8_t *actual);
/* Up to 4 literal bytes. */
void ota_xref_code_literal(struct ota_xref *x, uint32_t len, uint8_t *actual);
/* Remember bytes that were made. */
void ota_xref_made(struct ota_xref *x, const uint8_t *bytes, uint32_t len);

/* ---- xref_step.c ---- */

/* Bytes of the decoder without its tables. */
size_t ota_xref_size(size_t window);
/* len: bytes at x; what is beyond ota_xref_size(window) is for tables. */
int ota_xref_init(struct ota_xref *x, size_t len, size_t window, const struct ota_source *source, uint64_t new_size);

/* ---- xref.c ---- */

/* Memory for tables, given the head's numbers; 0: out of range. */
size_t ota_xref_memory(unsigned log, uint32_t spans, uint32_t regions);
/* Lay the tables out, with room for x->most. */
void ota_xref_layout(struct ota_xref *x, void *tables);
/* Head and tables are ready: coding begins. */
void ota_xref_begin(struct ota_xref *x);
/* One step in coding; the encoder drives it too. OTA_DONE: a unit is in out, or the state went on. */
int ota_xref_advance(struct ota_xref *x);
/* Make new content [start, end) next, with the tables and a model that has learned nothing. */
void ota_xref_begin_part(struct ota_xref *x, uint32_t start, uint32_t end);

#endif
