/* pieces.c - engine bsdiff in two steps: which pieces of new are like old, and the payload for a choice of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define PIECES_AT_ONCE 1024u

struct listing {
    int fd;
    int status;
    struct ota_diff_stats *stats;
    size_t fill;
    uint64_t numbers[3 * PIECES_AT_ONCE];
};

static void list_flush(struct listing *l)
{
    const char *at = (const char *)l->numbers;
    size_t left = l->fill * sizeof l->numbers[0];

    while (l->status == 0 && left > 0) {
        ssize_t n = write(l->fd, at, left);

        if (n >= 0) {
            at += n;
            left -= (size_t)n;
            l->stats->written += (uint64_t)n;
        } else if (errno != EINTR) {
            l->stats->os_error = errno;
            l->status = -OTA_E_OUTPUT;
        }
    }
    l->fill = 0;
}

static int list_piece(void *ctx, const struct ota_piece *piece)
{
    struct listing *l = ctx;

    if (piece->len == 0)
        return l->status;
    l->numbers[l->fill++] = piece->new_pos;
    l->numbers[l->fill++] = piece->old_pos;
    l->numbers[l->fill++] = piece->len;
    l->stats->triples++;
    l->stats->added += piece->len;
    if (l->fill == sizeof l->numbers / sizeof l->numbers[0])
        list_flush(l);
    return l->status;
}

int ota_diff_pieces(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                    const uint8_t *new_data, uint64_t new_size, int fd, struct ota_diff_stats *stats)
{
    struct listing *l;
    struct ota_sink sink;
    int status;

    memset(stats, 0, sizeof *stats);
    if (old_size > INT64_MAX || new_size > INT64_MAX)
        return -OTA_E_LIMIT;
    l = calloc(1, sizeof *l);
    if (l == NULL)
        return -OTA_E_RAM;
    l->fd = fd;
    l->stats = stats;
    sink.piece = list_piece;
    sink.ctx = l;
    status = ota_match(sorter, old_data, old_size, new_data, new_size, &sink);
    list_flush(l);
    if (status == 0)
        status = l->status;
    free(l);
    return status;
}

int ota_encode_pieces(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                      const uint64_t *numbers, size_t pieces, int fd, struct ota_diff_stats *stats)
{
    struct ota_payload *p;
    struct ota_piece piece;
    uint64_t end = 0;
    size_t i;
    int status;

    memset(stats, 0, sizeof *stats);
    p = malloc(sizeof *p);
    if (p == NULL)
        return -OTA_E_RAM;
    ota_payload_init(p, old_data, new_data, new_size, fd, stats);
    for (i = 0; i < pieces; i++) {
        piece.new_pos = numbers[3 * i];
        piece.old_pos = numbers[3 * i + 1];
        piece.len = numbers[3 * i + 2];
        if (piece.new_pos < end || piece.new_pos > new_size || piece.len > new_size - piece.new_pos ||
            piece.old_pos > old_size || piece.len > old_size - piece.old_pos) {
            free(p);
            return -OTA_E_USAGE;
        }
        end = piece.new_pos + piece.len;
        ota_payload_piece(p, &piece);
    }
    status = ota_payload_finish(p);
    free(p);
    return status;
}
