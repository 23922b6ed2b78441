/* gnuzip.h - an encoder of deflate (RFC 1951) that writes what GNU gzip writes. Core internal; docs/SPEC.md 6.5.1.
 *
 * The bytes of a deflate stream depend on how its encoder searches, where it ends blocks and how it breaks ties, so all
 * of that is fixed here and described in the specification.
 *
 *   gnuzip.c        window, hash chains, which strings are matched, where a block ends
 *   gnuzip_tree.c   the Huffman codes of a block
 *   gnuzip_block.c  a block: which of the three forms it takes, and its bits
 */
#ifndef OTA_CORE_GNUZIP_H
#define OTA_CORE_GNUZIP_H

#include "otastream.h"

#define GNUZIP_HALF 32768u /* the window of deflate; two of them are held */
#define GNUZIP_MIN_MATCH 3u
#define GNUZIP_MAX_MATCH 258u
#define GNUZIP_LOOKAHEAD (GNUZIP_MAX_MATCH + GNUZIP_MIN_MATCH + 1u) /* held before a match is looked for */
#define GNUZIP_MAX_DIST (GNUZIP_HALF - GNUZIP_LOOKAHEAD)
#define GNUZIP_SYMBOLS 32768u /* of a block, one more than it may have */

#define GNUZIP_LIT_CODES 286u
#define GNUZIP_FIXED_CODES 288u
#define GNUZIP_DIST_CODES 30u
#define GNUZIP_LENGTH_CODES 19u
#define GNUZIP_END 256u
#define GNUZIP_NODES (2u * GNUZIP_LIT_CODES + 1u) /* of the largest tree, and one that is not used */

/* An alphabet: what its symbols and the inner nodes above them count, and the code that came out of it. */
struct gnuzip_code {
    uint16_t *freq;
    uint8_t *len; /* bits; 0: not used */
    uint16_t *code;
    unsigned count; /* symbols */
    unsigned longest;
    const uint8_t *extra; /* bits that follow a symbol, from symbol base on */
    unsigned base;
    unsigned used; /* symbols up to the last that is used */
};

/* A code length of a code, or a repetition, on its way into the block. */
struct gnuzip_run {
    uint8_t symbol;
    uint8_t extra;
};

enum gnuzip_emit {
    GNUZIP_IDLE,
    GNUZIP_STORED_HEAD,
    GNUZIP_STORED,
    GNUZIP_ORDER,   /* lengths of the code of code lengths */
    GNUZIP_LENGTHS, /* code lengths */
    GNUZIP_DATA,
    GNUZIP_FLUSH
};

struct ota_gnuzip {
    int level;
    /* search */
    uint32_t good;  /* a match so long makes the next search a quarter as deep */
    uint32_t lazy;  /* one so long is taken at once; levels 1 to 3: one longer is not inserted */
    uint32_t nice;  /* one so long ends a search */
    uint32_t depth; /* of the chains */
    uint32_t hash;
    uint32_t at; /* in the window */
    uint32_t ahead;
    uint32_t want; /* bytes still to come in the fill at work; 0: none is */
    uint32_t got;
    uint32_t match_at;
    uint32_t match_len;
    uint32_t before_len; /* the match at the byte before */
    int started;
    int pending; /* the byte before is neither sent nor part of a match */
    int ended;   /* input */
    int finished;
    int32_t block_at; /* negative: its beginning has left the window */
    uint32_t block_end;

    /* block */
    uint32_t symbols;
    uint32_t matches;
    uint32_t coded_bits; /* of the block with its own codes, and with the fixed ones */
    uint32_t fixed_bits;
    uint16_t lit_freq[GNUZIP_NODES];
    uint16_t dist_freq[2u * GNUZIP_DIST_CODES + 1u];
    uint16_t length_freq[2u * GNUZIP_LENGTH_CODES + 1u];
    uint8_t lit_len[GNUZIP_NODES];
    uint8_t dist_len[2u * GNUZIP_DIST_CODES + 1u];
    uint8_t length_len[2u * GNUZIP_LENGTH_CODES + 1u];
    uint16_t lit_code[GNUZIP_FIXED_CODES];
    uint16_t dist_code[GNUZIP_DIST_CODES];
    uint16_t length_code[GNUZIP_LENGTH_CODES];
    struct gnuzip_run runs[GNUZIP_LIT_CODES + GNUZIP_DIST_CODES];
    uint32_t run_count;
    uint32_t order_count;
    uint16_t heap[GNUZIP_NODES];
    uint16_t parent[GNUZIP_NODES];
    uint8_t height[GNUZIP_NODES];
    uint32_t heap_len;
    uint32_t heap_max;

    /* output */
    enum gnuzip_emit emit;
    int last_block;
    uint32_t next; /* item of what is sent */
    uint64_t bits;
    unsigned bit_count;

    uint8_t length_symbol[GNUZIP_MAX_MATCH - GNUZIP_MIN_MATCH + 1u];
    uint8_t dist_symbol[512]; /* of distance - 1 below 256, then of its upper bits */
    uint16_t dist[GNUZIP_SYMBOLS];
    uint8_t literal[GNUZIP_SYMBOLS]; /* or length - 3 */
    uint16_t head[GNUZIP_HALF];
    uint16_t chain[GNUZIP_HALF];
    uint8_t window[2u * GNUZIP_HALF + 8u];
};

extern const uint8_t ota_gnuzip_dist_extra[GNUZIP_DIST_CODES];

/* ---- gnuzip_tree.c */

/* Work out the code of an alphabet from its counts; adds what the symbols take to coded_bits, and what they would take
 * with fixed lengths to fixed_bits (fixed NULL: not). */
void ota_gnuzip_build(struct ota_gnuzip *z, struct gnuzip_code *c, unsigned (*fixed)(unsigned symbol));
/* Canonical codes of lengths len, first bit lowest. */
void ota_gnuzip_assign(uint16_t *code, const uint8_t *len, unsigned count);

/* ---- gnuzip_block.c */

void ota_gnuzip_tables(struct ota_gnuzip *z);
void ota_gnuzip_new_block(struct ota_gnuzip *z);
/* The block that ends at block_end is complete: choose its form and begin to send it. */
void ota_gnuzip_end_block(struct ota_gnuzip *z, int last);
/* Send it: OTA_DONE or OTA_WANT_OUTPUT. */
int ota_gnuzip_emit(struct ota_gnuzip *z, struct ota_out *out);

static inline unsigned gnuzip_dist_symbol(const struct ota_gnuzip *z, unsigned dist)
{
    return dist < 256 ? z->dist_symbol[dist] : z->dist_symbol[256 + (dist >> 7)];
}

#endif
