/* decode.h - what the targets of the engines share: old content that watches its bounds, and a decoder in any split. */
#ifndef OTA_FUZZ_DECODE_H
#define OTA_FUZZ_DECODE_H

#include "fuzz.h"
#include "otastream.h"

#define OLD_MAX 5000u
#define WINDOW 512u

struct old_content {
    uint8_t data[OLD_MAX];
    uint64_t size;
};

static int read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct old_content *old = ctx;

    MUST(len > 0 && offset <= old->size && len <= old->size - offset);
    memcpy(buf, old->data + offset, len);
    return 0;
}

/* Decode all of payload with `engine`, which gets `extra` bytes of workspace beside its least; the last status. */
static int decode(int engine, size_t extra, struct old_content *old, size_t new_size, const uint8_t *payload,
                  size_t len, size_t in_piece, size_t out_piece, uint8_t *made, size_t *made_len)
{
    size_t need = ota_engine_size(engine, WINDOW) + extra;
    void *workspace = malloc(need);
    struct ota_source source = {old, read_at, old->size};
    int status = ota_engine_init(workspace, need, engine, WINDOW, &source, new_size);

    MUST(status == 0);
    *made_len = 0;
    for (size_t pos = 0;;) {
        size_t in_len = len - pos < in_piece ? len - pos : in_piece;
        size_t room = new_size - *made_len < out_piece ? new_size - *made_len : out_piece;
        struct ota_in in = {payload + pos, in_len, 0};
        struct ota_out out = {made + *made_len, room, 0};

        status = ota_engine_step(workspace, &in, &out);
        MUST(in.pos <= in.size && out.pos <= out.size);
        pos += in.pos;
        *made_len += out.pos;
        if (status < 0) {
            MUST(ota_engine_step(workspace, &in, &out) == status);
            break;
        }
        MUST(status != OTA_DONE || *made_len == new_size);
        MUST(status != OTA_WANT_OUTPUT || (out.pos == out.size && *made_len < new_size));
        if (pos == len && status != OTA_WANT_OUTPUT)
            break;
    }
    free(workspace);
    return status;
}

#endif
