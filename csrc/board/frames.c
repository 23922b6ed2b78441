/* frames.c - preamble and frame chain, docs/SPEC.md sections 2 and 3. No byte of a frame leaves before the digest of
 * the frame was found right. The twin of FrameReader in otastream/container.py.
 */
#include "board.h"

#include <sodium/crypto_hash_sha256.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'O', 'T', 'A', '\r', '\n', 0x1a, '\n'};
static const uint8_t zeros[32];

static uint64_t little(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    while (n-- > 0) {
        v = v << 8 | p[n];
    }
    return v;
}

static int digest_is(const uint8_t *data, size_t len, const uint8_t *digest)
{
    uint8_t got[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256(got, data, len);
    return memcmp(got, digest, sizeof(got)) == 0;
}

void board_frames_init(struct board_frames *f)
{
    memset(f, 0, sizeof(*f));
    f->wanted = BOARD_HEAD + 1;
}

/* ---- preamble ---------------------------------------------------------------------------------------------------- */

/* What can be said of the bytes that are there: magic, version, number of signatures. Sets f->wanted. */
static int preamble_begin(struct board_frames *f, struct board_failure *why)
{
    size_t n = f->fill < sizeof(magic) ? f->fill : sizeof(magic);
    if (memcmp(f->first, magic, n) != 0) {
        return board_fail(why, OTA_E_MAGIC, 0, "offset 0");
    }
    if (f->fill >= 10 && little(f->first + 8, 2) != 1) {
        return board_fail(why, OTA_E_VERSION, 0, "version %u", (unsigned)little(f->first + 8, 2));
    }
    if (f->fill > BOARD_HEAD) {
        if (f->first[BOARD_HEAD] > BOARD_SIGNATURES) {
            return board_fail(why, OTA_E_LIMIT, 0, "%u signatures", f->first[BOARD_HEAD]);
        }
        f->wanted = BOARD_HEAD + 1 + 72u * f->first[BOARD_HEAD] + 32;
    }
    return 0;
}

static int codec_ranges(struct board_preamble *p, struct board_failure *why)
{
    static const unsigned low[] = {0, 9, 10, 12};
    static const unsigned high[] = {0, 15, 27, 27};
    unsigned codec = p->head[10];
    if (codec > BOARD_LZMA) {
        return board_fail(why, OTA_E_UNSUPPORTED, 0, "codec %u", codec);
    }
    if (p->head[11] < low[codec] || p->head[11] > high[codec]) {
        return board_fail(why, OTA_E_LIMIT, 0, "window log %u of codec %u", p->head[11], codec);
    }
    if (p->head[12] < 10 || p->head[12] > 16) {
        return board_fail(why, OTA_E_LIMIT, 0, "frame log %u", p->head[12]);
    }
    p->codec = (enum board_codec_kind)codec;
    p->window_log = p->head[11];
    p->frame_log = p->head[12];
    return 0;
}

static int preamble_parse(struct board_frames *f, struct board_failure *why)
{
    struct board_preamble *p = &f->preamble;
    const uint8_t *at = f->first + BOARD_HEAD + 1;
    unsigned i;
    int r;
    if (!digest_is(f->first, f->fill - 32, f->first + f->fill - 32)) {
        return board_fail(why, OTA_E_CORRUPT, 0, "the preamble");
    }
    memcpy(p->head, f->first, BOARD_HEAD);
    memcpy(p->digest, f->first + f->fill - 32, 32);
    if ((r = codec_ranges(p, why)) != 0) {
        return r;
    }
    p->ram = little(p->head + 16, 8);
    p->length = little(p->head + 24, 8);
    p->signatures = f->first[BOARD_HEAD];
    p->workspace = (uint32_t)little(p->head + 14, 2) * BOARD_WORKSPACE_UNIT;
    if (p->head[13] != 0) {
        return board_fail(why, OTA_E_FORMAT, 0, "a reserved byte of the preamble is not zero");
    }
    if (p->workspace > p->ram) {
        return board_fail(why, OTA_E_FORMAT, 0, "the workspace is larger than the memory that applying needs");
    }
    if (p->length <= BOARD_FRAME_HEAD) {
        return board_fail(why, OTA_E_FORMAT, 0, "frames of %u bytes in all", (unsigned)p->length);
    }
    for (i = 0; i < p->signatures; i++, at += 72) {
        memcpy(p->key_id[i], at, 8);
        memcpy(p->signature[i], at + 8, 64);
        if (i > 0 && memcmp(p->key_id[i - 1], p->key_id[i], 8) >= 0) {
            return board_fail(why, OTA_E_FORMAT, 0, "key ids do not rise");
        }
    }
    f->have_preamble = 1;
    f->offset = f->fill;
    f->left = p->length;
    memcpy(f->expected, p->head + 32, 32);
    f->fill = 0;
    f->wanted = BOARD_FRAME_HEAD;
    return BOARD_FRAMES_PREAMBLE;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static int frame_begin(struct board_frames *f, struct board_failure *why)
{
    uint32_t n = (uint32_t)little(f->buf, 4) & 0x7fffffffu;
    if (n < 1 || n > ((uint32_t)1 << f->preamble.frame_log) - BOARD_FRAME_HEAD) {
        return board_fail(why, OTA_E_CORRUPT, 0, "length of a frame, offset %llu", (unsigned long long)f->offset);
    }
    f->wanted = BOARD_FRAME_HEAD + n;
    return 0;
}

static int frame_end(struct board_frames *f, struct board_failure *why)
{
    unsigned long long at = f->offset;
    if (!digest_is(f->buf, f->fill, f->expected)) {
        return board_fail(why, OTA_E_CORRUPT, 0, "a frame, offset %llu", at);
    }
    f->last = (f->buf[3] & 0x80) != 0;
    if (f->last && memcmp(f->buf + 4, zeros, 32) != 0) {
        return board_fail(why, OTA_E_FORMAT, 0, "the last frame names a next one, offset %llu", at);
    }
    if (f->fill > f->left || (f->fill == f->left) != (f->last != 0)) {
        return board_fail(why, OTA_E_FORMAT, 0, "the frames are not as long as the preamble says, offset %llu", at);
    }
    f->left -= f->fill;
    f->offset += f->fill;
    memcpy(f->expected, f->buf + 4, 32);
    f->payload = f->buf + BOARD_FRAME_HEAD;
    f->payload_len = f->fill - BOARD_FRAME_HEAD;
    f->fill = 0;
    f->wanted = BOARD_FRAME_HEAD;
    return BOARD_FRAMES_PAYLOAD;
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

int board_frames_step(struct board_frames *f, struct ota_in *in, struct board_failure *why)
{
    uint8_t *buf = f->have_preamble ? f->buf : f->first;
    size_t n;
    int r;
    for (;;) {
        if (f->last) {
            if (in->pos < in->size) {
                return board_fail(why, OTA_E_FORMAT, 0, "bytes after the last frame, offset %llu",
                                  (unsigned long long)f->offset);
            }
            return BOARD_FRAMES_INPUT;
        }
        n = f->wanted - f->fill;
        if (n > in->size - in->pos) {
            n = in->size - in->pos;
        }
        memcpy(buf + f->fill, in->src + in->pos, n);
        f->fill += n;
        in->pos += n;
        if (!f->have_preamble && (r = preamble_begin(f, why)) != 0) {
            return r;
        }
        if (f->fill < f->wanted) {
            if (in->pos == in->size) {
                return BOARD_FRAMES_INPUT;
            }
        } else if (!f->have_preamble) {
            return preamble_parse(f, why);
        } else if (f->wanted > BOARD_FRAME_HEAD) {
            return frame_end(f, why);
        } else if ((r = frame_begin(f, why)) != 0) {
            return r;
        }
    }
}

int board_frames_end(const struct board_frames *f, struct board_failure *why)
{
    if (f->have_preamble && f->last) {
        return 0;
    }
    return board_fail(why, OTA_E_TRUNCATED, 0, "in the %s, offset %llu", f->have_preamble ? "frames" : "preamble",
                      (unsigned long long)(f->offset + f->fill));
}
