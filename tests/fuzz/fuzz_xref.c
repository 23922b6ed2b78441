/* fuzz_xref.c - the xref decoder on any payload, old size and split.
 *
 * The first bytes choose sizes and splits, the rest is payload; models are small, so that many inputs are tried.
 * Whatever it is, the decoder must stay inside old, new and its workspace (the sanitizers and read_at watch), must come
 * to an end, must keep a failure, and must make the same of it in another split. */
#include "fuzz.h"
#include "otastream.h"

#define OLD_MAX 5000u
#define NEW_MAX 2048u
#define WINDOW 512u
#define TABLES 65536u
#define HEAD 6u

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

/* Decode all of payload; the last status. */
static int decode(struct old_content *old, size_t new_size, const uint8_t *payload, size_t len, size_t in_piece,
                  size_t out_piece, uint8_t *made, size_t *made_len)
{
    size_t need = ota_engine_size(OTA_ENGINE_XREF, WINDOW) + TABLES;
    void *workspace = malloc(need);
    struct ota_source source = {old, read_at, old->size};
    int status = ota_engine_init(workspace, need, OTA_ENGINE_XREF, WINDOW, &source, new_size);

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

/* Instructions and words of every kind that the engine knows. */
static void fill(uint8_t *data)
{
    static const uint32_t words[] = {0x94000010u, 0x54000081u, 0x90000003u, 0x91010063u, 0xf9400463u, 0x36000082u,
                                     0xeb000010u, 0xe59f3010u, 0xe3012234u, 0xe3402001u, 0xe08f3003u, 0xf802f000u,
                                     0x447b4b01u, 0x8002f000u, 0x3004f8dfu, 0x2234f241u, 0x2001f2c0u, 0x008000efu,
                                     0x00001517u, 0x00850513u, 0x0c000400u, 0x000010e8u, 0x00000800u, 0xfffffc00u};

    for (size_t i = 0; i + 4 <= OLD_MAX; i += 4) {
        uint32_t w = words[(i / 4 + i / 512) % (sizeof words / sizeof words[0])] + (uint32_t)(i / 1024 << 5);

        for (unsigned k = 0; k < 4; k++)
            data[i + k] = (uint8_t)(w >> 8 * k);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct old_content old;
    static uint8_t one[NEW_MAX], two[NEW_MAX];
    size_t new_size, in_piece, out_piece, one_len, two_len;
    int status;

    if (size < HEAD)
        return 0;
    old.size = ((uint64_t)data[0] << 8 | data[1]) % (OLD_MAX + 1);
    new_size = ((size_t)data[2] << 8 | data[3]) % (NEW_MAX + 1);
    in_piece = 1u + data[4];
    out_piece = 1u + 8u * data[5];
    fill(old.data);

    status = decode(&old, new_size, data + HEAD, size - HEAD, in_piece, out_piece, one, &one_len);
    MUST(decode(&old, new_size, data + HEAD, size - HEAD, size, NEW_MAX, two, &two_len) == status);
    MUST(status < 0 || (one_len == two_len && memcmp(one, two, one_len) == 0));
    return 0;
}
