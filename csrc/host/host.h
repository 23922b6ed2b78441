/* host.h - what the parts of the delta encoder share. */
#ifndef OTA_HOST_H
#define OTA_HOST_H

#include "otastream_host.h"

/* ---- compare.c -------------------------------------------------------------------------------------------------- */

/* Bytes at the front of a and b that are equal, at most len. */
uint64_t ota_common_prefix(const uint8_t *a, const uint8_t *b, uint64_t len);
/* The same from the end: a and b point behind their last byte. */
uint64_t ota_common_suffix(const uint8_t *a, const uint8_t *b, uint64_t len);
/* How many of the len bytes at a equal those at the same place of b. */
uint64_t ota_count_equal(const uint8_t *a, const uint8_t *b, uint64_t len);

/* ---- suffix.c: where in old does a piece of new occur ----------------------------------------------------------- */

/* new[new_pos .. new_pos + len) is made from old[old_pos ..); what no piece covers is literal. */
struct ota_piece {
    uint64_t new_pos;
    uint64_t old_pos;
    uint64_t len;
};

/* Pieces in the order of new_pos that do not overlap; grows by itself. */
struct ota_known {
    struct ota_piece *pieces;
    size_t count;
    size_t room;
};

/* Shorter matches are not looked for: they seldom pay, and most of the time went into them. */
#define OTA_MATCH_MIN 5u

/* The suffix array of old, 32 or 64 bits an entry, and where in it the suffixes with the same first bits begin. It is
 * made by the first search that needs it. */
struct ota_suffix {
    const struct ota_sorter *sorter;
    const uint8_t *text;
    uint64_t size;
    int status; /* of sorting; sticky */
    int32_t *sa32;
    int64_t *sa64;
    uint32_t *bucket; /* with sa32 only; 65536 >> bucket_shift entries, and the end */
    unsigned bucket_shift;
    uint8_t *grams; /* bits: which hashes of OTA_MATCH_MIN bytes occur in text */
    unsigned gram_log;
    uint8_t *packed;        /* text, when it is only a part of old; else NULL */
    uint32_t *origin;       /* then: the number in old of each of its blocks */
    struct ota_known known; /* long matches of new in old, which searching would not find again */
};

/* sorter and text must live as long as s. 0 or -OTA_E_RAM. */
int ota_suffix_init(struct ota_suffix *s, const struct ota_sorter *sorter, const uint8_t *text, uint64_t size);
/* The same without what ota_find_settled finds for this new content. */
int ota_suffix_init_for(struct ota_suffix *s, const struct ota_sorter *sorter, const uint8_t *old_data,
                        uint64_t old_size, const uint8_t *new_data, uint64_t new_size);
void ota_suffix_free(struct ota_suffix *s);

/* Length of the longest prefix of key[len] that occurs in text, and where in old (*pos). Of equally long ones it is the
 * one nearest to `near` among the few that lie together in the array. 0: not even OTA_MATCH_MIN bytes occur, or
 * s->status says why nothing could be found: -OTA_E_RAM, -OTA_E_USAGE, -OTA_E_INTERNAL as ota_diff_bsdiff has them. */
uint64_t ota_suffix_longest(struct ota_suffix *s, const uint8_t *key, uint64_t len, uint64_t near, uint64_t *pos);

/* ---- sort.c: the suffix array of a short text ------------------------------------------------------------------- */

/* Longer texts are for the library: measured on kernel modules, where it is the better one. */
#define OTA_SORT_SMALL 16384u

/* Fill sa[size] with the start positions of the suffixes of text in lexical order. Needs 9 bytes of memory for each
 * byte of text meanwhile. 0 or -OTA_E_RAM. */
int ota_sort_small(const uint8_t *text, uint32_t size, int32_t *sa);

/* ---- settled.c: what stays as it is ----------------------------------------------------------------------------- */

#define OTA_SETTLED_BLOCK 32u

/* Add long exact matches of new in old to `known`, and set settled[b] for the blocks b (32 bytes each) of old that lie
 * well inside of them; the rest of settled is not touched. 0 or -OTA_E_RAM. */
int ota_find_settled(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                     uint8_t *settled, struct ota_known *known);
/* The piece that covers new_pos, or NULL. */
const struct ota_piece *ota_known_at(const struct ota_known *known, uint64_t new_pos);

/* ---- payload.c: pieces to bytes --------------------------------------------------------------------------------- */

#define OTA_PAYLOAD_BUFFER 65536u

struct ota_payload {
    const uint8_t *old_data;
    const uint8_t *new_data;
    uint64_t new_size;
    uint64_t old_base;     /* where old_data begins in old */
    uint64_t old_pos;      /* where the decoder stands in old */
    uint64_t new_pos;      /* how far new is covered by what was written */
    struct ota_piece held; /* its triple is written once the next piece tells how many literals follow */
    int fd;
    int status; /* sticky */
    size_t fill;
    struct ota_diff_stats *stats;
    uint8_t buf[OTA_PAYLOAD_BUFFER];
};

void ota_payload_init(struct ota_payload *p, const uint8_t *old_data, const uint8_t *new_data, uint64_t new_size,
                      int fd, struct ota_diff_stats *stats);
/* Pieces come in the order of new_pos and do not overlap. */
void ota_payload_piece(struct ota_payload *p, const struct ota_piece *piece);
/* Write what is held, then all of the buffer. Returns the status. */
int ota_payload_finish(struct ota_payload *p);

/* ---- pieces as they are found ----------------------------------------------------------------------------------- */

/* Takes the pieces, in the order of new_pos and without overlap. 0, or a failure that ends the search. */
struct ota_sink {
    int (*piece)(void *ctx, const struct ota_piece *piece);
    void *ctx;
};

/* ---- near.c: old content in which going to and fro costs time --------------------------------------------------- */

/* Bytes that a run of pieces must have at most for going where it is. */
#define OTA_NEAR_RUN 4096u

/* A sink before another one. The fields up to `at` are the caller's to set, the rest is zero at first. */
struct ota_near {
    struct ota_sink sink; /* what stays goes to it */
    const uint64_t *slow; /* stretches of old, rising: start and length of each */
    size_t slow_count;
    uint64_t base; /* where positions of old in pieces count from */
    uint64_t at;   /* where the last piece in a slow stretch ended that stays; where reading begins */
    uint64_t run_end;
    uint64_t run_len;
    uint64_t run_least;
    uint32_t held_count; /* pieces of a run that is not long enough yet; one has a byte at least */
    struct ota_piece held[OTA_NEAR_RUN];
};

/* ota_sink.piece; ctx: the struct ota_near. Nothing has to be done at the end: what is held then does not stay. */
int ota_near_piece(void *ctx, const struct ota_piece *piece);

/* ---- diff.c ------------------------------------------------------------------------------------------------------ */

/* 0, or -OTA_E_USAGE: parts overlap, do not rise or leave old or new. parts: NULL if there are none. */
int ota_parts_check(const struct ota_long_parts *parts, uint64_t old_size, uint64_t new_size);

/* ---- match.c: old and new to pieces ----------------------------------------------------------------------------- */

/* Find pieces that make new from old and hand them to the sink. */
int ota_match(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data,
              uint64_t new_size, const struct ota_sink *sink);

#endif
