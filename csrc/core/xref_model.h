/* xref_model.h - the probability model of engine xref, docs/SPEC.md section 6.3.4.
 *
 * Bits are predicted by a few contexts each. What a context has seen is kept in a slot of a hashed table; the
 * predictions are mixed in the logistic domain by weights that learn (M. Mahoney, "Adaptive weighing of context models
 * for lossless data compression", 2005), and corrected by what came of such predictions before. Integers only: every
 * machine comes to the same probability. */
#ifndef OTA_XREF_MODEL_H
#define OTA_XREF_MODEL_H

#include "rangecoder.h"

#define OTA_XREF_LOG_MIN 12u
#define OTA_XREF_LOG_MAX 22u

#define OTA_XREF_INPUTS 8u /* at most: OTA_XREF_SLOTS contexts, OTA_XREF_RUNS runs, an expectation, a constant */
#define OTA_XREF_SLOTS 4u
#define OTA_XREF_LEVELS 32u /* of doubt */
#define OTA_XREF_RUNS 3u
#define OTA_XREF_RUN_STATES 8u
#define OTA_XREF_FLAG_SETS 160u /* 128 forms and guesses, then numbers, then questions about copies and bytes */
#define OTA_XREF_NUMBER_SET 128u
#define OTA_XREF_OTHER_SET 144u
#define OTA_XREF_WRONG_SETS 104u  /* kind, whether it refers, place */
#define OTA_XREF_LITERAL_SETS 52u /* kind, place */
#define OTA_XREF_BYTE_SETS (2u * OTA_XREF_WRONG_SETS + OTA_XREF_LITERAL_SETS)

struct ota_xref_model {
    struct ota_rangecoder rc;
    int16_t stretch[4096]; /* ln(p / (1 - p)) * 256 of p / 4096 */
    uint16_t squash[4096]; /* the inverse: d - 2048 to p / 65536 */
    uint16_t rate[256];    /* how far a slot with n observations moves */
    uint32_t *flags;       /* 22 bits probability, 10 bits count */
    uint32_t flag_mask;
    uint16_t *runs; /* 5 bits check value, 3 bits state, 8 bits byte */
    uint32_t run_shift;
    uint16_t *buckets; /* of 16: a check value, then 15 slots of 12 bits probability, 4 bits count */
    uint32_t bucket_shift;
    int16_t flag_weights[OTA_XREF_FLAG_SETS][OTA_XREF_INPUTS];
    int16_t byte_weights[OTA_XREF_BYTE_SETS][OTA_XREF_INPUTS];
    uint32_t doubt[OTA_XREF_LEVELS][OTA_XREF_LEVELS + 1];
    uint16_t run_flag[OTA_XREF_RUNS][2 * OTA_XREF_RUN_STATES]; /* p of a yes, by whether a run says so */
    uint16_t run_bit[2][OTA_XREF_RUNS][OTA_XREF_RUN_STATES];   /* p of a run being right about a bit */
};

/* Bytes of tables for a model of 2^log bytes, beside the struct. */
size_t ota_xref_model_size(unsigned log);
/* tables: ota_xref_model_size(log) bytes, aligned for uint32_t. rc is left alone. */
void ota_xref_model_init(struct ota_xref_model *m, unsigned log, void *tables);

/* What came last in a context that is seen seldom. */
struct ota_xref_run {
    uint16_t *entry;
    uint8_t check;
    uint8_t state; /* how often the byte came in a row; 0: nothing is known */
    uint8_t byte;
};

static inline void ota_xref_run_find(const struct ota_xref_model *m, struct ota_xref_run *run, uint32_t context)
{
    uint32_t entry;

    run->entry = m->runs + (context >> m->run_shift);
    run->check = (uint8_t)(context & 31u);
    entry = *run->entry;
    run->state = (uint8_t)(entry >> 11 == run->check ? entry >> 8 & 7u : 0);
    run->byte = (uint8_t)entry;
}

static inline void ota_xref_run_learn(const struct ota_xref_run *run, uint8_t byte)
{
    uint32_t entry = *run->entry, state = entry >> 8 & 7u;

    if (run->state > 0 && run->byte == byte) {
        state += state < OTA_XREF_RUN_STATES - 1;
    } else if (state > 1) {
        *run->entry = (uint16_t)(entry - (state / 2 << 8)); /* what was often so is not given up at once */
        return;
    } else {
        state = 1;
    }
    *run->entry = (uint16_t)((uint32_t)run->check << 11 | state << 8 | byte);
}

/* A yes-or-no question. contexts: count (at most OTA_XREF_SLOTS) hashes of what may bear on the answer. set: which
 * weights, below OTA_XREF_FLAG_SETS. bit: the answer, when encoding. */
int ota_xref_flag(struct ota_xref_model *m, const uint32_t *contexts, unsigned count, unsigned set, int bit);

/* Two contexts and what became of questions that they answer alike. */
struct ota_xref_doubt {
    uint32_t *slots[3];
};

/* Look both up. 0: the answer almost certainly is no; code it by ota_xref_flag_sure, else by ota_xref_flag_open. */
int ota_xref_doubt(struct ota_xref_model *m, struct ota_xref_doubt *doubt, uint32_t a, uint32_t b);
int ota_xref_flag_sure(struct ota_xref_model *m, const struct ota_xref_doubt *doubt, int bit);
/* contexts: count (at most OTA_XREF_SLOTS) more. */
int ota_xref_flag_open(struct ota_xref_model *m, const struct ota_xref_doubt *doubt, const uint32_t *contexts,
                       unsigned count, unsigned set, int bit);

/* What is thought of a byte beforehand. */
struct ota_xref_guess {
    uint32_t contexts[OTA_XREF_SLOTS - 1]; /* hashes of what may bear on it */
    struct ota_xref_run runs[OTA_XREF_RUNS];
    unsigned set;       /* wrong bytes: below OTA_XREF_WRONG_SETS; literals: that many and above */
    int expected;       /* what it most likely is, -1: nothing is */
    int expected_other; /* the next likely; -1 */
};

/* Whether a byte is another one than expected; flags: two contexts. */
int ota_xref_differs(struct ota_xref_model *m, const struct ota_xref_guess *guess, const uint32_t *flags, unsigned set,
                     int bit);
/* A byte; `byte` counts only when encoding. */
uint8_t ota_xref_byte(struct ota_xref_model *m, const struct ota_xref_guess *guess, uint8_t byte);

/* A number below 2^40; kind (below 16) tells numbers of different meaning apart, context what may bear on it. */
uint64_t ota_xref_number(struct ota_xref_model *m, unsigned kind, uint32_t context, uint64_t value);

static inline uint32_t ota_xref_hash(uint32_t a, uint32_t b)
{
    uint32_t h = a * 0x9e3779b1u ^ (b + 0x7f4a7c15u) * 0x85ebca6bu;

    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    return h ^ h >> 13;
}

#endif
