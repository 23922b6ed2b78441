/* rangecoder.h - the binary range coder of engine xref, docs/SPEC.md section 6.3.
 *
 * The scheme is that of LZMA (Igor Pavlov; G. N. N. Martin, "Range encoding", 1979) with 16-bit probabilities. One
 * coder serves both directions, so that the model is written once: with an encoder attached, a bit is handed to that,
 * else it is decoded. Input comes from a small buffer that the owner keeps filled; behind the end of the coded bytes
 * there are zeros, of which a sound stream needs at most four. */
#ifndef OTA_RANGECODER_H
#define OTA_RANGECODER_H

#include "otastream.h"

#define OTA_RC_BUFFER 2048u
/* Probabilities of a 1 are kept in [MIN, 65536 - MIN]: no bit costs more than 12 bits. */
#define OTA_RC_PROB_MIN 24u
#define OTA_RC_PADDING 4u
#define OTA_RC_TOP (1u << 24)

struct ota_rangecoder {
    void (*put)(void *encoder, uint32_t prob, int bit); /* NULL: decode */
    void *encoder;
    uint32_t part; /* of the payload that is being coded: for statistics */
    uint32_t range;
    uint32_t code;
    uint32_t pos; /* of the next byte in buf */
    uint32_t fill;
    uint32_t padding; /* bytes that were read behind the end */
    uint8_t buf[OTA_RC_BUFFER];
};

static inline uint8_t ota_rc_byte(struct ota_rangecoder *rc)
{
    if (rc->pos < rc->fill)
        return rc->buf[rc->pos++];
    rc->padding++;
    return 0;
}

/* To be called once the first four bytes are there. */
static inline void ota_rc_start(struct ota_rangecoder *rc)
{
    rc->range = 0xffffffffu;
    rc->code = 0;
    for (int i = 0; i < 4; i++)
        rc->code = rc->code << 8 | ota_rc_byte(rc);
}

/* Code a bit that is 1 with probability prob / 65536; `bit` counts only when encoding. Returns the bit. */
static inline int ota_rc_bit(struct ota_rangecoder *rc, uint32_t prob, int bit)
{
    uint32_t bound;

    if (rc->put != NULL) {
        rc->put(rc->encoder, prob, bit);
        return bit;
    }
    bound = (uint32_t)(((uint64_t)rc->range * prob) >> 16);
    if (rc->code < bound) {
        rc->range = bound;
        bit = 1;
    } else {
        rc->code -= bound;
        rc->range -= bound;
        bit = 0;
    }
    while (rc->range < OTA_RC_TOP) {
        rc->range <<= 8;
        rc->code = rc->code << 8 | ota_rc_byte(rc);
    }
    return bit;
}

#endif
