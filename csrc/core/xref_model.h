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

#define OTA_XREF_INPUTS 10u     /* at most 8 contexts, what became of expectations, a constant */
#define OTA_XREF_FLAG_SETS 156u /* 124 forms and guesses, then numbers, then questions about copies and bytes */
#define OTA_XREF_NUMBER_SET 124u
#define OTA_XREF_OTHER_SET 140u
#define OTA_XREF_WRONG_SETS 96u   /* kind, whether it refers, place */
#define OTA_XREF_LITERAL_SETS 48u /* kind, place */
#define OTA_XREF_BYTE_SETS (2u * OTA_XREF_WRONG_SETS + OTA_XREF_LITERAL_SETS)
#define OTA_XREF_APM_STEPS 33u
#define OTA_XREF_APMS (OTA_XREF_FLAG_SETS + 3u * 256u)

struct ota_xref_model {
    struct ota_rangecoder rc;
    int16_t stretch[4096]; /* ln(p / (1 - p)) * 256 of p / 4096 */
    uint16_t squash[4096]; /* the inverse: d - 2048 to p / 65536 */
    uint16_t rate[256];    /* how far a slot with n observations moves */
    uint32_t *flags;       /* 22 bits probability, 10 bits count */
    uint32_t flag_mask;
    uint16_t *buckets; /* of 16: a check value, then 15 slots of 12 bits probability, 4 bits count */
    uint32_t bucket_count;
    int32_t flag_weights[OTA_XREF_FLAG_SETS][OTA_XREF_INPUTS];
    int32_t byte_weights[OTA_XREF_BYTE_SETS][OTA_XREF_INPUTS];
    uint16_t apm[OTA_XREF_APMS][OTA_XREF_APM_STEPS];
};

/* Bytes of tables for a model of 2^log bytes, beside the struct. */
size_t ota_xref_model_size(unsigned log);
/* tables: ota_xref_model_size(log) bytes, aligned for uint32_t. rc is left alone. */
void ota_xref_model_init(struct ota_xref_model *m, unsigned log, void *tables);

/* A yes-or-no question. contexts: count (at most 8) hashes of what may bear on the answer. set: which weights, below
 * OTA_XREF_FLAG_SETS. bit: the answer, when encoding. */
int ota_xref_flag(struct ota_xref_model *m, const uint32_t *contexts, unsigned count, unsigned set, int bit);

/* What is thought of a byte beforehand. */
struct ota_xref_guess {
    unsigned set;       /* wrong bytes: below OTA_XREF_WRONG_SETS; literals: that many and above */
    int expected;       /* what it most likely is, -1: nothing is */
    int expected_other; /* the next likely; -1 */
};

/* A byte; `byte` counts only when encoding. */
uint8_t ota_xref_byte(struct ota_xref_model *m, const uint32_t *contexts, unsigned count,
                      const struct ota_xref_guess *guess, uint8_t byte);

/* A number below 2^40; kind (below 16) tells numbers of different meaning apart, context what may bear on it. */
uint64_t ota_xref_number(struct ota_xref_model *m, unsigned kind, unsigned context, uint64_t value);

static inline uint32_t ota_xref_hash(uint32_t a, uint32_t b)
{
    uint32_t h = a * 0x9e3779b1u ^ (b + 0x7f4a7c15u) * 0x85ebca6bu;

    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    return h ^ h >> 13;
}

#endif
