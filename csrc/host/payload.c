/* payload.c - writes the payload of engine bsdiff, docs/SPEC.md section 6.2, from pieces. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "varint.h"

/* Bytes equal to old that end a run of differing ones. A run costs two numbers; fewer zeros than this are cheaper when
 * they are sent as differences of 0. Measured: see docs/DESIGN.md. */
#define ZERO_RUN_MIN 2u

void ota_payload_init(struct ota_payload *p, const uint8_t *old_data, const uint8_t *new_data, uint64_t new_size,
                      int fd, struct ota_diff_stats *stats)
{
    memset(p, 0, sizeof *p - sizeof p->buf);
    p->old_data = old_data;
    p->new_data = new_data;
    p->new_size = new_size;
    p->fd = fd;
    p->stats = stats;
}

static void flush(struct ota_payload *p)
{
    size_t done = 0;

    while (p->status == 0 && done < p->fill) {
        ssize_t n = write(p->fd, p->buf + done, p->fill - done);

        if (n >= 0) {
            done += (size_t)n;
            p->stats->written += (uint64_t)n;
        } else if (errno != EINTR) {
            p->stats->os_error = errno;
            p->status = -OTA_E_OUTPUT;
        }
    }
    p->fill = 0;
}

static void put_number(struct ota_payload *p, uint64_t n)
{
    if (sizeof p->buf - p->fill < OTA_VARINT_MAX_BYTES)
        flush(p);
    p->fill += ota_varint_write(p->buf + p->fill, n);
}

/* new[0 .. len), minus old when old is not NULL. */
static void put_bytes(struct ota_payload *p, const uint8_t *new_data, const uint8_t *old_data, uint64_t len)
{
    while (len > 0) {
        size_t n = sizeof p->buf - p->fill;

        if (n > len)
            n = (size_t)len;
        if (old_data == NULL) {
            memcpy(p->buf + p->fill, new_data, n);
        } else {
            for (size_t i = 0; i < n; i++)
                p->buf[p->fill + i] = (uint8_t)(new_data[i] - old_data[i]);
            old_data += n;
        }
        p->fill += n;
        new_data += n;
        len -= n;
        if (p->fill == sizeof p->buf)
            flush(p);
    }
}

/* Bytes from the front that differ, up to a stretch of equal ones that is worth a run of its own (or the end: equal
 * bytes there belong to the next run in any case, as there is nothing after them that a run would cost). */
static uint64_t differing(const uint8_t *a, const uint8_t *b, uint64_t len, uint64_t *nonzero)
{
    uint64_t end = 0;

    for (;;) {
        uint64_t equal;

        while (end < len && a[end] != b[end]) {
            end++;
            *nonzero += 1;
        }
        if (end == len)
            return end;
        equal = ota_common_prefix(a + end, b + end, len - end);
        if (equal >= ZERO_RUN_MIN || end + equal == len)
            return end;
        end += equal;
    }
}

static void put_runs(struct ota_payload *p, const uint8_t *new_data, const uint8_t *old_data, uint64_t len)
{
    uint64_t pos = 0;

    while (pos < len && p->status == 0) {
        uint64_t zeros = ota_common_prefix(new_data + pos, old_data + pos, len - pos);
        uint64_t diff;

        put_number(p, zeros);
        pos += zeros;
        diff = differing(new_data + pos, old_data + pos, len - pos, &p->stats->nonzero);
        put_number(p, diff);
        put_bytes(p, new_data + pos, old_data + pos, diff);
        pos += diff;
    }
}

/* The triple of the held piece: everything of new from where the payload stands up to `end`. */
static void put_triple(struct ota_payload *p, uint64_t end)
{
    const struct ota_piece *h = &p->held;
    uint64_t literals = end - p->new_pos - h->len;
    uint64_t to = p->old_base + h->old_pos, seek = 0;

    if (h->len + literals == 0)
        return;
    if (h->len > 0) /* without an add part there is nowhere to go in old */
        seek = to >= p->old_pos ? 2 * (to - p->old_pos) : 2 * (p->old_pos - to) - 1;
    put_number(p, h->len);
    put_number(p, literals);
    put_number(p, seek);
    if (h->len > 0) {
        put_runs(p, p->new_data + p->new_pos, p->old_data + h->old_pos, h->len);
        p->old_pos = to + h->len;
    }
    put_bytes(p, p->new_data + p->new_pos + h->len, NULL, literals);
    p->new_pos = end;
    p->stats->triples++;
    p->stats->added += h->len;
    p->stats->literals += literals;
}

void ota_payload_piece(struct ota_payload *p, const struct ota_piece *piece)
{
    put_triple(p, piece->new_pos);
    p->held = *piece;
}

int ota_payload_finish(struct ota_payload *p)
{
    put_triple(p, p->new_size);
    p->held.len = 0;
    flush(p);
    return p->status;
}
