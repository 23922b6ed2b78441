/* diff.c - the delta encoder of engine bsdiff: match, then write. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

static int take_piece(void *payload, const struct ota_piece *piece)
{
    ota_payload_piece(payload, piece);
    return ((struct ota_payload *)payload)->status;
}

/* Whether stretches rise, do not overlap and are inside of `size` bytes. */
static int in_order(const uint64_t *stretches, size_t count, uint64_t size)
{
    uint64_t end = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t start = stretches[2 * i], len = stretches[2 * i + 1];

        if (start < end || start > size || len > size - start)
            return 0;
        end = start + len;
    }
    return 1;
}

int ota_parts_check(const struct ota_long_parts *parts, uint64_t old_size, uint64_t new_size)
{
    if (parts == NULL)
        return 0;
    return in_order(parts->old_parts, parts->old_count, old_size) &&
                   in_order(parts->new_parts, parts->new_count, new_size)
               ? 0
               : -OTA_E_USAGE;
}

/* The pieces for a payload, in front of which there may be a choice. */
struct making {
    struct ota_payload payload;
    struct ota_near near;
};

static int make(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data,
                uint64_t new_size, const struct ota_long_parts *parts, int fd, uint64_t old_base, uint64_t *old_pos,
                struct ota_diff_stats *stats)
{
    struct making *m;
    struct ota_sink sink;
    int status;

    memset(stats, 0, sizeof *stats);
    if (old_size > INT64_MAX || new_size > INT64_MAX || old_base > INT64_MAX - old_size)
        return -OTA_E_LIMIT;
    status = ota_parts_check(parts, old_size, new_size);
    if (status != 0)
        return status;
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return -OTA_E_RAM;
    ota_payload_init(&m->payload, old_data, new_data, new_size, fd, stats);
    m->payload.old_base = old_base;
    m->payload.old_pos = *old_pos;
    sink.piece = take_piece;
    sink.ctx = &m->payload;
    if (parts != NULL) {
        m->near.sink = sink;
        m->near.slow = parts->old_parts;
        m->near.slow_count = parts->old_count;
        sink.piece = ota_near_piece;
        sink.ctx = &m->near;
    }
    status = ota_match(sorter, old_data, old_size, new_data, new_size, &sink);
    if (status == 0)
        status = ota_payload_finish(&m->payload);
    *old_pos = m->payload.old_pos;
    free(m);
    return status;
}

int ota_diff_bsdiff(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                    const uint8_t *new_data, uint64_t new_size, const struct ota_long_parts *parts, int fd,
                    struct ota_diff_stats *stats)
{
    uint64_t old_pos = 0;

    return make(sorter, old_data, old_size, new_data, new_size, parts, fd, 0, &old_pos, stats);
}

int ota_diff_bsdiff_part(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                         const uint8_t *new_data, uint64_t new_size, int fd, uint64_t old_base, uint64_t *old_pos,
                         struct ota_diff_stats *stats)
{
    return make(sorter, old_data, old_size, new_data, new_size, NULL, fd, old_base, old_pos, stats);
}
