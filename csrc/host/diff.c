/* diff.c - the delta encoder of engine bsdiff: match, then write. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

static int take_piece(void *payload, const struct ota_piece *piece)
{
    ota_payload_piece(payload, piece);
    return ((struct ota_payload *)payload)->status;
}

int ota_diff_bsdiff(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                    const uint8_t *new_data, uint64_t new_size, int fd, struct ota_diff_stats *stats)
{
    uint64_t old_pos = 0;

    return ota_diff_bsdiff_part(sorter, old_data, old_size, new_data, new_size, fd, 0, &old_pos, stats);
}

int ota_diff_bsdiff_part(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                         const uint8_t *new_data, uint64_t new_size, int fd, uint64_t old_base, uint64_t *old_pos,
                         struct ota_diff_stats *stats)
{
    struct ota_payload *p;
    struct ota_sink sink;
    int status;

    memset(stats, 0, sizeof *stats);
    if (old_size > INT64_MAX || new_size > INT64_MAX || old_base > INT64_MAX - old_size)
        return -OTA_E_LIMIT;
    p = malloc(sizeof *p);
    if (p == NULL)
        return -OTA_E_RAM;
    ota_payload_init(p, old_data, new_data, new_size, fd, stats);
    p->old_base = old_base;
    p->old_pos = *old_pos;
    sink.piece = take_piece;
    sink.ctx = p;
    status = ota_match(sorter, old_data, old_size, new_data, new_size, &sink);
    if (status == 0)
        status = ota_payload_finish(p);
    *old_pos = p->old_pos;
    free(p);
    return status;
}
