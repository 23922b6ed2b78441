/* xref_model.c - the probability model of engine xref. */
#include "xref_model.h"

#include <string.h>

#define FLAG_LIMIT 255u
#define WEIGHT_LOG 13
#define WEIGHT_MAX 30000
#define WEIGHT_FIRST 2458 /* 0.3 */
#define LEARN_LOG 5
#define BUCKET 16u
#define SLOT_EMPTY 0x8000u
#define RATIO_RATE 6
#define CONSTANT 256
#define SURE (1u << 16) /* a 64th */
#define FLAG_FIRST (1u << 31)
#define RATIO_FIRST 0xe000u

/* How much an input counts by the number of observations behind it, in 64ths. */
static const uint8_t confidence[16] = {0, 40, 50, 56, 60, 64, 66, 68, 70, 72, 74, 76, 78, 79, 80, 80};
/* How far a slot of a bucket moves, in 32768ths; odd as long as its count goes on. */
static const uint16_t bucket_rate[16] = {21845, 13107, 9363, 7281, 5957, 5041, 4369, 3855,
                                         3449,  3121,  2849, 2621, 2427, 2259, 2115, 1820};

/* 65536 / (1 + exp(-(i - 16) / 2)) */
static const uint16_t curve[33] = {22,    36,    60,    98,    162,   267,   439,   722,   1179,  1921,  3108,
                                   4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                                   62428, 63615, 64357, 64814, 65097, 65269, 65374, 65438, 65476, 65500, 65514};

size_t ota_xref_model_size(unsigned log)
{
    return (size_t)1 << log;
}

static inline uint32_t clamp(uint32_t p)
{
    if (p < OTA_RC_PROB_MIN)
        return OTA_RC_PROB_MIN;
    return p > 65536u - OTA_RC_PROB_MIN ? 65536u - OTA_RC_PROB_MIN : p;
}

static void fill_curves(struct ota_xref_model *m)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < 4096; i++) {
        uint32_t at = i / 128, part = i % 128;
        uint32_t p = (curve[at] * (128 - part) + curve[at + 1] * part + 64) / 128;

        m->squash[i] = (uint16_t)clamp(p);
        for (; next <= p / 16 && next < 4096; next++)
            m->stretch[next] = (int16_t)((int)i - 2048);
    }
    for (; next < 4096; next++)
        m->stretch[next] = 2047;
    for (uint32_t i = 0; i < 256; i++)
        m->rate[i] = (uint16_t)(16384 / (2 * i + 3));
}

void ota_xref_model_init(struct ota_xref_model *m, unsigned log, void *tables)
{
    uint32_t quarter = 1u << (log - 2), flags = quarter / 4, runs = quarter / 2, slots = quarter;

    fill_curves(m);
    m->flags = tables;
    m->flag_mask = flags - 1;
    m->runs = (uint16_t *)(m->flags + flags);
    m->run_shift = 32 - (log - 3);
    m->buckets = m->runs + runs;
    m->bucket_shift = 32 - (log - 6);
    for (uint32_t i = 0; i < flags; i++)
        m->flags[i] = FLAG_FIRST;
    memset(m->runs, 0, runs * sizeof *m->runs);
    for (uint32_t i = 0; i < slots; i++)
        m->buckets[i] = SLOT_EMPTY;
    for (unsigned i = 0; i < OTA_XREF_LEVELS; i++)
        for (unsigned k = 0; k <= OTA_XREF_LEVELS; k++)
            m->doubt[i][k] = FLAG_FIRST;
    for (unsigned i = 0; i < OTA_XREF_RUNS; i++) {
        for (unsigned k = 0; k < OTA_XREF_RUN_STATES; k++) {
            m->run_flag[i][k] = 65536 - RATIO_FIRST;
            m->run_flag[i][k + OTA_XREF_RUN_STATES] = RATIO_FIRST;
            m->run_bit[0][i][k] = m->run_bit[1][i][k] = RATIO_FIRST;
        }
    }
    for (unsigned i = 0; i < OTA_XREF_INPUTS; i++) {
        for (unsigned s = 0; s < OTA_XREF_FLAG_SETS; s++)
            m->flag_weights[s][i] = WEIGHT_FIRST;
        for (unsigned s = 0; s < OTA_XREF_BYTE_SETS; s++)
            m->byte_weights[s][i] = WEIGHT_FIRST;
    }
}

/* ---- mixing ------------------------------------------------------------------------------------------------------ */

static inline int mix(const int16_t *restrict weights, const int16_t *restrict inputs)
{
    int32_t sum = 0;
    int d;

    for (unsigned i = 0; i < OTA_XREF_INPUTS; i++)
        sum += weights[i] * inputs[i];
    d = sum >> WEIGHT_LOG;
    return d > 2047 ? 2047 : d < -2047 ? -2047 : d;
}

/* error: in 2^16ths, below 2^16. The products and the sums with weights stay within 16 bits. */
static inline void learn(int16_t *restrict weights, const int16_t *restrict inputs, int error)
{
    int16_t e = (int16_t)((error + 256) >> 9);

    for (unsigned i = 0; i < OTA_XREF_INPUTS; i++) {
        int16_t step = (int16_t)((inputs[i] >> 4) * e + (1 << (LEARN_LOG - 1)));
        int16_t w = (int16_t)(weights[i] + (step >> LEARN_LOG));

        w = w > WEIGHT_MAX ? WEIGHT_MAX : w;
        weights[i] = w < -WEIGHT_MAX ? -WEIGHT_MAX : w;
    }
}

static inline void slot_learn(const struct ota_xref_model *m, uint32_t *slot, int bit)
{
    uint32_t n = *slot & 1023u;
    int32_t p = (int32_t)(*slot >> 10);
    int32_t step = ((bit ? (1 << 22) - 1 : 0) - p) >> 3;

    p += (step * (int32_t)m->rate[n]) >> 10;
    *slot = (uint32_t)p << 10 | (n < FLAG_LIMIT ? n + 1 : n);
}

/* Code a bit that the inputs bear on, and learn how much they do. */
static inline int code(struct ota_xref_model *m, int16_t *weights, const int16_t *inputs, int bit)
{
    uint32_t p = m->squash[mix(weights, inputs) + 2048];

    bit = ota_rc_bit(&m->rc, p, bit);
    learn(weights, inputs, (bit << 16) - (int)p);
    return bit;
}

static inline int16_t flag_input(const struct ota_xref_model *m, uint32_t slot)
{
    uint32_t n = slot & 1023u;

    return (int16_t)(m->stretch[slot >> 20] * confidence[n < 15 ? n : 15] >> 6);
}

static int mixed_flag(struct ota_xref_model *m, uint32_t *const *slots, unsigned count, unsigned set, int bit)
{
    int16_t inputs[OTA_XREF_INPUTS] = {0};

    for (unsigned i = 0; i < count; i++)
        inputs[i] = flag_input(m, *slots[i]);
    inputs[OTA_XREF_INPUTS - 1] = CONSTANT;
    bit = code(m, m->flag_weights[set], inputs, bit);
    for (unsigned i = 0; i < count; i++)
        slot_learn(m, slots[i], bit);
    return bit;
}

int ota_xref_flag(struct ota_xref_model *m, const uint32_t *contexts, unsigned count, unsigned set, int bit)
{
    uint32_t *slots[OTA_XREF_SLOTS];

    for (unsigned i = 0; i < count; i++)
        slots[i] = &m->flags[contexts[i] & m->flag_mask];
    return mixed_flag(m, slots, count, set, bit);
}

static uint32_t level(const struct ota_xref_model *m, uint32_t slot)
{
    return (uint32_t)(m->stretch[slot >> 20] + 2048) >> 7;
}

int ota_xref_doubt(struct ota_xref_model *m, struct ota_xref_doubt *doubt, uint32_t a, uint32_t b)
{
    uint32_t *first = &m->flags[a & m->flag_mask], *second = &m->flags[b & m->flag_mask];
    uint32_t *both = &m->doubt[level(m, *first)][(*second & 1023u) == 0 ? OTA_XREF_LEVELS : level(m, *second)];

    doubt->slots[0] = first;
    doubt->slots[1] = second;
    doubt->slots[2] = both;
    return *both >> 10 >= SURE;
}

int ota_xref_flag_sure(struct ota_xref_model *m, const struct ota_xref_doubt *doubt, int bit)
{
    bit = ota_rc_bit(&m->rc, clamp(*doubt->slots[2] >> 16), bit);
    for (unsigned i = 0; i < 3; i++)
        slot_learn(m, doubt->slots[i], bit);
    return bit;
}

int ota_xref_flag_open(struct ota_xref_model *m, const struct ota_xref_doubt *doubt, const uint32_t *contexts,
                       unsigned count, unsigned set, int bit)
{
    uint32_t *slots[3 + OTA_XREF_SLOTS];

    for (unsigned i = 0; i < 3; i++)
        slots[i] = doubt->slots[i];
    for (unsigned i = 0; i < count; i++)
        slots[3 + i] = &m->flags[contexts[i] & m->flag_mask];
    return mixed_flag(m, slots, 3 + count, set, bit);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static inline void ratio_learn(uint16_t *p, int bit)
{
    *p = (uint16_t)(*p + (((bit ? 65535 : 0) - *p) >> RATIO_RATE));
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* The bucket of a context and the bits so far: one whose check value fits, or the less used of two, emptied. */
static uint16_t *bucket_of(const struct ota_xref_model *m, uint32_t context, uint32_t partial)
{
    uint32_t hash = (context + partial * 0x9e3779b1u) * 0x2c1b3c6du, index = hash >> m->bucket_shift;
    uint16_t check = (uint16_t)((hash ^ hash >> 15) | 1u);
    uint16_t *a = m->buckets + (size_t)index * BUCKET, *b = m->buckets + (size_t)(index ^ 1u) * BUCKET;

    if (a[0] == check)
        return a;
    if (b[0] == check)
        return b;
    if ((b[1] & 15u) < (a[1] & 15u)) {
        a[1] = (uint16_t)(a[1] - ((a[1] & 15u) > 0));
        a = b;
    } else if ((b[1] & 15u) > 0) {
        b[1]--;
    }
    for (unsigned i = 0; i < BUCKET; i++)
        a[i] = SLOT_EMPTY;
    a[0] = check;
    return a;
}

/* The probability moves in steps of 16, which leave the count alone. */
static inline void bucket_learn(uint16_t *slot, int bit)
{
    int32_t s = *slot, rate = bucket_rate[s & 15], step = ((bit ? 65535 : 15) - s) * rate >> 15;

    *slot = (uint16_t)(s + (step & ~15) + (rate & 1));
}

int ota_xref_differs(struct ota_xref_model *m, const struct ota_xref_guess *guess, const uint32_t *flags, unsigned set,
                     int bit)
{
    uint32_t *slots[2];
    uint16_t *ratios[OTA_XREF_RUNS];
    int16_t inputs[OTA_XREF_INPUTS] = {0};

    for (unsigned i = 0; i < 2; i++) {
        slots[i] = &m->flags[flags[i] & m->flag_mask];
        inputs[i] = flag_input(m, *slots[i]);
    }
    for (unsigned i = 0; i < OTA_XREF_RUNS; i++) {
        const struct ota_xref_run *run = &guess->runs[i];

        ratios[i] = &m->run_flag[i][run->state + (run->byte == guess->expected ? 0 : OTA_XREF_RUN_STATES)];
        if (run->state > 0)
            inputs[OTA_XREF_SLOTS - 1 + i] = m->stretch[*ratios[i] >> 4];
    }
    inputs[OTA_XREF_INPUTS - 1] = CONSTANT;
    bit = code(m, m->flag_weights[set], inputs, bit);
    for (unsigned i = 0; i < 2; i++)
        slot_learn(m, slots[i], bit);
    for (unsigned i = 0; i < OTA_XREF_RUNS; i++)
        ratio_learn(ratios[i], bit);
    return bit;
}

static inline int16_t slot_input(const struct ota_xref_model *m, uint32_t slot)
{
    return (int16_t)(m->stretch[slot >> 4] * confidence[slot & 15u] >> 6);
}

/* A byte that may come, as long as its bits so far did. */
struct hope {
    uint32_t byte; /* its next bit is bit 7 */
    uint32_t alive;
    uint16_t *ratio; /* of a run: how often such runs are right */
};

/* 0: nothing is hoped for, else 1 + the bit. */
static inline uint32_t hoped(const struct hope *h)
{
    return h->alive + (h->alive & h->byte >> 7);
}

static inline void hope_go_on(struct hope *h, uint32_t bit)
{
    h->alive &= ~(h->byte >> 7 ^ bit);
    h->byte <<= 1;
}

static inline struct hope hope_for(int byte)
{
    struct hope h = {(uint32_t)byte & 255u, byte >= 0, NULL};

    return h;
}

static inline void runs_say(const struct ota_xref_model *m, const struct hope *runs, int16_t *inputs)
{
    for (unsigned i = 0; i < OTA_XREF_RUNS; i++) {
        if (runs[i].alive) {
            int16_t d = m->stretch[*runs[i].ratio >> 4];

            inputs[i] = (int16_t)(runs[i].byte & 128u ? d : -d);
        }
    }
}

/* Returns how many are left. */
static inline uint32_t runs_learn(struct hope *runs, int16_t *inputs, uint32_t bit)
{
    uint32_t left = 0;

    for (unsigned i = 0; i < OTA_XREF_RUNS; i++) {
        if (runs[i].alive) {
            int right = (runs[i].byte >> 7 & 1u) == bit;

            ratio_learn(runs[i].ratio, right);
            runs[i].byte <<= 1;
            runs[i].alive = (uint32_t)right;
            left += (uint32_t)right;
            if (!right)
                inputs[i] = 0;
        }
    }
    return left;
}

static inline uint8_t code_byte(struct ota_xref_model *m, const struct ota_xref_guess *guess, uint32_t byte,
                                int literal)
{
    int16_t inputs[OTA_XREF_INPUTS] = {0}, *const run_inputs = inputs + OTA_XREF_SLOTS - 1;
    uint16_t *b0 = NULL, *b1 = NULL, *b2 = NULL;
    struct hope runs[OTA_XREF_RUNS], expected = hope_for(guess->expected), other = hope_for(guess->expected_other);
    uint32_t partial = 1, node = 1, live = 0, first = ota_xref_hash(0xe0000000u, guess->set);
    int16_t(*weights)[OTA_XREF_INPUTS] =
        m->byte_weights + (literal ? guess->set + OTA_XREF_WRONG_SETS : guess->set * 2);

    for (unsigned i = 0; i < OTA_XREF_RUNS; i++) {
        runs[i].byte = guess->runs[i].byte;
        runs[i].alive = guess->runs[i].state > 0;
        live |= runs[i].alive;
        runs[i].ratio = &m->run_bit[literal][i][guess->runs[i].state];
    }
    inputs[OTA_XREF_INPUTS - 1] = CONSTANT;
    for (unsigned k = 0; k < 8; k++, byte <<= 1) {
        int16_t *set = *weights;
        uint32_t *flag = NULL, bit;

        if ((k & 3u) == 0) {
            b0 = bucket_of(m, guess->contexts[0], partial);
            b1 = bucket_of(m, guess->contexts[1], partial);
            b2 = bucket_of(m, guess->contexts[2], partial);
            node = 1;
        }
        inputs[0] = slot_input(m, b0[node]);
        inputs[1] = slot_input(m, b1[node]);
        inputs[2] = slot_input(m, b2[node]);
        if (live)
            runs_say(m, runs, run_inputs);
        if (!literal) {
            flag = &m->flags[(first + k * 9 + hoped(&expected) * 3 + hoped(&other)) & m->flag_mask];
            inputs[6] = m->stretch[*flag >> 20];
            set = weights[expected.alive];
        }
        bit = (uint32_t)code(m, set, inputs, (int)(byte >> 7 & 1u));
        bucket_learn(&b0[node], (int)bit);
        bucket_learn(&b1[node], (int)bit);
        bucket_learn(&b2[node], (int)bit);
        if (live)
            live = runs_learn(runs, run_inputs, bit);
        if (!literal) {
            slot_learn(m, flag, (int)bit);
            hope_go_on(&expected, bit);
            hope_go_on(&other, bit);
        }
        node = node << 1 | bit;
        partial = partial << 1 | bit;
    }
    return (uint8_t)partial;
}

uint8_t ota_xref_byte(struct ota_xref_model *m, const struct ota_xref_guess *guess, uint8_t byte)
{
    return guess->set < OTA_XREF_WRONG_SETS ? code_byte(m, guess, byte, 0) : code_byte(m, guess, byte, 1);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* A bit of a number: the high ones with a context, the others for themselves. */
static int number_bit(struct ota_xref_model *m, uint32_t kind, uint32_t node, const uint32_t *context, int bit)
{
    uint32_t contexts[2], *slot;

    contexts[0] = ota_xref_hash(0xd0000000u + kind, node);
    if (context != NULL) {
        contexts[1] = ota_xref_hash(contexts[0], *context);
        return ota_xref_flag(m, contexts, 2, OTA_XREF_NUMBER_SET + kind, bit);
    }
    slot = &m->flags[contexts[0] & m->flag_mask];
    bit = ota_rc_bit(&m->rc, clamp(*slot >> 16), bit);
    slot_learn(m, slot, bit);
    return bit;
}

uint64_t ota_xref_number(struct ota_xref_model *m, unsigned kind, uint32_t context, uint64_t value)
{
    uint32_t bits = 0, node = 1;
    uint64_t v = 1;

    while (bits < 40 && (value + 1) >> (bits + 1) != 0)
        bits++;
    for (int i = 5; i >= 0; i--)
        node = node << 1 | (uint32_t)number_bit(m, kind, node, &context, (int)(bits >> i & 1u));
    bits = node & 63u;
    if (bits > 40)
        bits = 40;
    for (uint32_t i = bits; i-- > 0;) {
        uint32_t seen = bits - i - 1; /* bits after the first */
        uint32_t prefix = seen < 3 ? (uint32_t)v : 0;

        v = v << 1 | (uint64_t)number_bit(m, kind, 64 + (bits * 64 + i) * 16 + prefix, seen < 3 ? &context : NULL,
                                          (int)((value + 1) >> i & 1u));
    }
    return v - 1;
}
