/* xref_model.c - the probability model of engine xref. */
#include "xref_model.h"

#include <string.h>

#define FLAG_LIMIT 255u
#define WEIGHT_ONE 65536
#define FLAG_RATE 6
#define BYTE_RATE 5
#define BUCKET 16u
#define CONSTANT 256

/* How much an input counts by the number of observations behind it, in 64ths. */
static const uint8_t confidence[16] = {0, 40, 50, 56, 60, 64, 66, 68, 70, 72, 74, 76, 78, 79, 80, 80};
/* How far a slot of a bucket moves, in 65536ths. */
static const uint16_t bucket_rate[16] = {43690, 26214, 18724, 14563, 11915, 10082, 8738, 7710,
                                         6898,  6241,  5698,  5242,  4854,  4519,  4228, 3640};

/* 65536 / (1 + exp(-(i - 16) / 2)) */
static const uint16_t curve[33] = {22,    36,    60,    98,    162,   267,   439,   722,   1179,  1921,  3108,
                                   4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
                                   62428, 63615, 64357, 64814, 65097, 65269, 65374, 65438, 65476, 65500, 65514};

size_t ota_xref_model_size(unsigned log)
{
    return (size_t)1 << log;
}

static void fill_curves(struct ota_xref_model *m)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < 4096; i++) {
        uint32_t at = i / 128, part = i % 128;
        uint32_t p = (curve[at] * (128 - part) + curve[at + 1] * part + 64) / 128;

        m->squash[i] = (uint16_t)p;
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
    uint32_t flags = 1u << (log - 4); /* a quarter of the memory; 4 bytes each */

    fill_curves(m);
    m->flags = tables;
    m->flag_mask = flags - 1;
    m->buckets = (uint16_t *)(m->flags + flags);
    m->bucket_count = (uint32_t)((((size_t)1 << log) - flags * 4) / (BUCKET * 2));
    for (uint32_t i = 0; i < flags; i++)
        m->flags[i] = 1u << 31;
    for (size_t i = 0; i < (size_t)m->bucket_count * BUCKET; i++)
        m->buckets[i] = i % BUCKET == 0 ? 0 : 0x8000u;
    for (unsigned s = 0; s < OTA_XREF_FLAG_SETS; s++)
        for (unsigned i = 0; i < OTA_XREF_INPUTS; i++)
            m->flag_weights[s][i] = WEIGHT_ONE * 3 / 10;
    for (unsigned s = 0; s < OTA_XREF_BYTE_SETS; s++)
        for (unsigned i = 0; i < OTA_XREF_INPUTS; i++)
            m->byte_weights[s][i] = WEIGHT_ONE * 3 / 10;
    for (unsigned s = 0; s < OTA_XREF_APMS; s++)
        for (unsigned i = 0; i < OTA_XREF_APM_STEPS; i++)
            m->apm[s][i] = curve[i];
}

/* ---- mixing ------------------------------------------------------------------------------------------------------ */

static inline int mix(const int32_t *weights, const int *inputs, unsigned count)
{
    int64_t sum = 0;
    int d;

    for (unsigned i = 0; i < count; i++)
        sum += (int64_t)weights[i] * inputs[i];
    d = (int)(sum >> 16);
    return d > 2047 ? 2047 : d < -2047 ? -2047 : d;
}

static inline void learn(int32_t *weights, const int *inputs, unsigned count, int error, int rate)
{
    for (unsigned i = 0; i < count; i++)
        weights[i] += (inputs[i] * error * rate + 0x2000) >> 14;
}

static inline uint32_t clamp(uint32_t p)
{
    if (p < OTA_RC_PROB_MIN)
        return OTA_RC_PROB_MIN;
    return p > 65536u - OTA_RC_PROB_MIN ? 65536u - OTA_RC_PROB_MIN : p;
}

/* What became of predictions like d in this context. *at is for apm_learn. */
static inline uint32_t apm(const struct ota_xref_model *m, unsigned context, int d, uint32_t *at)
{
    uint32_t x = (uint32_t)(d + 2048), low = x / 128, part = x % 128;

    *at = low + (part >= 64);
    return (m->apm[context][low] * (128 - part) + m->apm[context][low + 1] * part) / 128;
}

static inline void apm_learn(struct ota_xref_model *m, unsigned context, uint32_t at, int bit)
{
    int p = m->apm[context][at];

    m->apm[context][at] = (uint16_t)(p + (((bit ? 65535 : 0) - p) >> 6));
}

static inline void slot_learn(const struct ota_xref_model *m, uint32_t *slot, int bit)
{
    uint32_t n = *slot & 1023u;
    int32_t p = (int32_t)(*slot >> 10);
    int32_t step = ((bit ? (1 << 22) - 1 : 0) - p) >> 3;

    p += (step * (int32_t)m->rate[n]) >> 10;
    *slot = (uint32_t)p << 10 | (n < FLAG_LIMIT ? n + 1 : n);
}

/* Code a bit that was predicted as d, and learn from it. */
static inline int code(struct ota_xref_model *m, int32_t *weights, const int *inputs, unsigned count, unsigned context,
                       int rate, int bit)
{
    int d = mix(weights, inputs, count);
    uint32_t at, p = m->squash[d + 2048];

    bit = ota_rc_bit(&m->rc, clamp((p + apm(m, context, d, &at) + 1) / 2), bit);
    learn(weights, inputs, count, ((bit << 16) - (int)p) >> 4, rate);
    apm_learn(m, context, at, bit);
    return bit;
}

int ota_xref_flag(struct ota_xref_model *m, const uint32_t *contexts, unsigned count, unsigned set, int bit)
{
    uint32_t *slots[OTA_XREF_INPUTS];
    int inputs[OTA_XREF_INPUTS];

    for (unsigned i = 0; i < count; i++) {
        uint32_t n;

        slots[i] = &m->flags[contexts[i] & m->flag_mask];
        n = *slots[i] & 1023u;
        inputs[i] = m->stretch[*slots[i] >> 20] * confidence[n < 15 ? n : 15] >> 6;
    }
    inputs[count] = CONSTANT;
    bit = code(m, m->flag_weights[set], inputs, count + 1, set, FLAG_RATE, bit);
    for (unsigned i = 0; i < count; i++)
        slot_learn(m, slots[i], bit);
    return bit;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* The bucket of a context: one whose check value fits, or the less used of two, emptied. */
static uint16_t *bucket_of(struct ota_xref_model *m, uint32_t hash)
{
    uint32_t index = (uint32_t)(((uint64_t)hash * m->bucket_count) >> 32);
    uint16_t check = (uint16_t)(hash * 0x9e3779b1u >> 16 | 1u);
    uint16_t *a = m->buckets + (size_t)index * BUCKET;
    uint16_t *b = m->buckets + (size_t)(index ^ (index + 1 < m->bucket_count || index % 2 != 0)) * BUCKET;

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
    a[0] = check;
    for (unsigned i = 1; i < BUCKET; i++)
        a[i] = 0x8000u;
    return a;
}

static inline void bucket_learn(uint16_t *slot, int bit)
{
    uint32_t n = *slot & 15u;
    int32_t p = *slot >> 4;

    p += (((bit ? 4095 : 0) - p) * (int32_t)bucket_rate[n]) >> 16;
    *slot = (uint16_t)((uint32_t)p << 4 | (n < 15 ? n + 1 : n));
}

/* The bit that an expected byte has next, as 1 or 2; 0 when its bits so far came out otherwise. */
static uint32_t wanted(int expected, uint32_t partial, unsigned k)
{
    if (expected < 0 || (uint32_t)(expected | 256) >> (8 - k) != partial)
        return 0;
    return 1u + ((uint32_t)expected >> (7 - k) & 1u);
}

uint8_t ota_xref_byte(struct ota_xref_model *m, const uint32_t *contexts, unsigned count,
                      const struct ota_xref_guess *guess, uint8_t byte)
{
    uint16_t *buckets[OTA_XREF_INPUTS];
    int inputs[OTA_XREF_INPUTS];
    uint32_t partial = 1; /* a 1, then the bits so far */

    for (unsigned k = 0; k < 8; k++) {
        uint32_t node = 1u << (k & 3u) | (partial & ((1u << (k & 3u)) - 1u));
        uint32_t want = wanted(guess->expected, partial, k), other = wanted(guess->expected_other, partial, k);
        unsigned set =
            guess->set < OTA_XREF_WRONG_SETS ? guess->set * 2 + (want != 0) : guess->set + OTA_XREF_WRONG_SETS;
        uint32_t *flag = &m->flags[ota_xref_hash(0xe0000000u + guess->set * 16 + k, want * 3 + other) & m->flag_mask];
        int bit;

        if ((k & 3u) == 0)
            for (unsigned i = 0; i < count; i++)
                buckets[i] = bucket_of(m, ota_xref_hash(contexts[i], partial));
        for (unsigned i = 0; i < count; i++) {
            uint32_t s = buckets[i][node];

            inputs[i] = m->stretch[s >> 4] * confidence[s & 15u] >> 6;
        }
        inputs[count] = m->stretch[*flag >> 20];
        inputs[count + 1] = CONSTANT;
        bit = code(m, m->byte_weights[set], inputs, count + 2, OTA_XREF_FLAG_SETS + want * 256u + partial, BYTE_RATE,
                   byte >> (7 - k) & 1);
        for (unsigned i = 0; i < count; i++)
            bucket_learn(&buckets[i][node], bit);
        slot_learn(m, flag, bit);
        partial = partial << 1 | (uint32_t)bit;
    }
    return (uint8_t)partial;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static int number_bit(struct ota_xref_model *m, uint32_t kind, uint32_t node, uint32_t context, int bit)
{
    uint32_t contexts[2];

    contexts[0] = ota_xref_hash(0xd0000000u + kind, node);
    contexts[1] = ota_xref_hash(contexts[0], context);
    return ota_xref_flag(m, contexts, 2, OTA_XREF_NUMBER_SET + kind, bit);
}

uint64_t ota_xref_number(struct ota_xref_model *m, unsigned kind, unsigned context, uint64_t value)
{
    uint32_t bits = 0, node = 1;
    uint64_t v = 1;

    while (bits < 40 && (value + 1) >> (bits + 1) != 0)
        bits++;
    for (int i = 5; i >= 0; i--)
        node = node << 1 | (uint32_t)number_bit(m, kind, node, context, (int)(bits >> i & 1u));
    bits = node & 63u;
    if (bits > 40)
        bits = 40;
    for (uint32_t i = bits; i-- > 0;) {
        uint32_t seen = bits - i - 1; /* bits after the first */
        uint32_t prefix = seen < 3 ? (uint32_t)v : 0;

        v = v << 1 | (uint64_t)number_bit(m, kind, 64 + (bits * 64 + i) * 16 + prefix, seen < 3 ? context : 0,
                                          (int)((value + 1) >> i & 1u));
    }
    return v - 1;
}
