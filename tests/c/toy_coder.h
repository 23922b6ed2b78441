/* toy_coder.h - a coding for tests: every byte (0 .. 127) is turned over, and the end is marked. The core cannot tell
 * it from a library.
 *
 * params 1: as above; 2: the decoder says that it is damaged; anything else is not there.
 */
#ifndef OTA_TESTS_TOY_CODER_H
#define OTA_TESTS_TOY_CODER_H

#include <string.h>

#include "otastream.h"

#define TOY_END 0xEEu
#define TOY_TURN 0x5Au
#define TOY_MEMORY 64u

static struct toy {
    int ended;
    uint64_t params;
} toys[2];
static unsigned toy_begun[2];

static inline size_t toy_pack(uint8_t *to, const uint8_t *raw, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = raw[i] ^ TOY_TURN;
    to[len] = TOY_END;
    return len + 1;
}

static size_t toy_size(void *ctx, int encode, unsigned coding, uint64_t params)
{
    (void)ctx;
    (void)encode;
    return coding == OTA_CODING_DEFLATE && (params == 1 || params == 2) ? TOY_MEMORY : 0;
}

static int toy_begin(void *ctx, int encode, unsigned coding, uint64_t params, uint64_t raw, void *memory, size_t len)
{
    (void)ctx;
    (void)coding;
    (void)raw;
    if (len < TOY_MEMORY)
        return -OTA_E_INTERNAL;
    memset(memory, 0x77, TOY_MEMORY);
    memset(&toys[encode], 0, sizeof toys[encode]);
    toys[encode].params = params;
    toy_begun[encode]++;
    return 0;
}

static int toy_step(void *ctx, int encode, struct ota_in *in, struct ota_out *out, int last)
{
    struct toy *t = &toys[encode];
    (void)ctx;
    if (t->params == 2)
        return -OTA_E_DELTA;
    while (!t->ended && in->pos < in->size && (out->pos < out->size || (!encode && in->src[in->pos] == TOY_END))) {
        uint8_t byte = in->src[in->pos++];

        if (!encode && byte == TOY_END)
            t->ended = 1;
        else
            out->dst[out->pos++] = byte ^ TOY_TURN;
    }
    if (encode && last && in->pos == in->size && !t->ended && out->pos < out->size) {
        out->dst[out->pos++] = TOY_END;
        t->ended = 1;
    }
    if (t->ended)
        return OTA_DONE;
    return out->pos == out->size ? OTA_WANT_OUTPUT : OTA_WANT_INPUT;
}

static inline int toy_save(void *ctx, void *to, size_t len)
{
    (void)ctx;
    if (len != TOY_MEMORY)
        return -OTA_E_INTERNAL;
    memset(to, 0x77, TOY_MEMORY);
    memcpy(to, &toys[0], sizeof toys[0]);
    return 0;
}

static inline int toy_restore(void *ctx, unsigned coding, const void *from, size_t len)
{
    (void)ctx;
    if (len != TOY_MEMORY || coding != OTA_CODING_DEFLATE)
        return -OTA_E_INTERNAL;
    memcpy(&toys[0], from, sizeof toys[0]);
    return 0;
}

static const struct ota_coder toy_coder = {
    NULL, 1u << OTA_CODING_DEFLATE, toy_size, toy_begin, toy_step, toy_save, toy_restore};

#endif
