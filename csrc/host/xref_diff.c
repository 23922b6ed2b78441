/* xref_diff.c - the delta encoder of engine xref: match, plan, code, and decode again to be sure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "xref_host.h"

/* Images at lower addresses hold too many numbers that could be addresses. */
#define POINTER_BASE_MIN 0x10000u
#define SPAN_MIN 16u

/* ---- copies ------------------------------------------------------------------------------------------------------ */

int ota_xref_take_piece(void *ctx, const struct ota_piece *piece)
{
    struct ota_xref_plan *p = ctx;
    struct ota_xref_span *last = p->copy_count > 0 ? &p->copies[p->copy_count - 1] : NULL;

    if (last != NULL && last->new_pos + last->len == piece->new_pos && last->old_pos + last->len == piece->old_pos) {
        last->len += (uint32_t)piece->len;
        return 0;
    }
    if (p->copy_count == p->copy_room) {
        uint32_t room = p->copy_room * 2 + 1024;
        struct ota_xref_span *copies = realloc(p->copies, room * sizeof *copies);

        if (copies == NULL)
            return -OTA_E_RAM;
        p->copies = copies;
        p->copy_room = room;
    }
    last = &p->copies[p->copy_count++];
    last->new_pos = (uint32_t)piece->new_pos;
    last->old_pos = (uint32_t)piece->old_pos;
    last->len = (uint32_t)piece->len;
    return 0;
}

static int match(const struct ota_sorter *sorter, struct ota_xref_plan *plan, const struct ota_image *old_image,
                 const struct ota_image *new_image)
{
    struct ota_sink sink = {ota_xref_take_piece, plan};
    uint8_t *old_copy = malloc((size_t)old_image->size + 1), *new_copy = malloc((size_t)new_image->size + 1);
    int status = old_copy != NULL && new_copy != NULL ? 0 : -OTA_E_RAM;

    plan->copy_count = 0;
    if (status == 0)
        status = ota_image_mask(old_image, old_copy);
    if (status == 0)
        status = ota_image_mask(new_image, new_copy);
    if (status == 0)
        status = ota_match(sorter, old_copy, old_image->size, new_copy, new_image->size, &sink);
    free(old_copy);
    free(new_copy);
    return status;
}

/* The address of an image without headers is guessed from a first match; with it, pointers can be masked as well. */
static int match_again(const struct ota_sorter *sorter, struct ota_xref_plan *plan, struct ota_image *old_image,
                       struct ota_image *new_image)
{
    int status = ota_image_guess_base(old_image, new_image, plan->copies, plan->copy_count);

    if (status == 0 && old_image->segments[0].addr >= POINTER_BASE_MIN) {
        ota_image_find_data(old_image);
        ota_image_find_data(new_image);
        status = match(sorter, plan, old_image, new_image);
    }
    return status;
}

/* The longest copies make the map, as many as there is room for. */
void ota_xref_choose_spans(struct ota_xref_plan *plan, uint32_t limit)
{
    plan->span_least = SPAN_MIN;
    for (;;) {
        plan->span_count = 0;
        for (uint32_t i = 0; i < plan->copy_count; i++)
            plan->span_count += plan->copies[i].len >= plan->span_least;
        if (plan->span_count <= limit)
            return;
        plan->span_least += plan->span_least / 8 + 1;
    }
}

/* ---- checking and writing ---------------------------------------------------------------------------------------- */

struct payload {
    uint8_t head[OTA_XREF_HEAD_MAX];
    size_t head_len;
    struct ota_xref_coded coded;
};

size_t ota_xref_head(uint8_t head[OTA_XREF_HEAD_MAX], const struct ota_xref_plan *plan, unsigned log,
                     const struct ota_image images[2], size_t coded)
{
    uint32_t a = images[0].segment_count, b = images[1].segment_count;
    size_t n = ota_varint_write(head, log);

    n += ota_varint_write(head + n, plan->span_count);
    n += ota_varint_write(head + n, plan->region_count);
    n += ota_varint_write(head + n, a < b ? a : b);
    return n + ota_varint_write(head + n, coded);
}

/* Decode the payload as a board does. 0 if that makes new. */
static int verify(const struct payload *p, const struct ota_image *old_image, const struct ota_image *new_image,
                  size_t workspace)
{
    struct ota_source source = {(void *)(uintptr_t)old_image->data, ota_xref_read_memory, old_image->size};
    struct ota_in in[2] = {{p->head, p->head_len, 0}, {p->coded.bytes, p->coded.len, 0}};
    void *memory = malloc(workspace);
    uint8_t *buf = malloc(OTA_WINDOW);
    uint64_t done = 0;
    int status = -OTA_E_RAM, right = 1;

    if (memory != NULL && buf != NULL)
        status = ota_engine_init(memory, workspace, OTA_ENGINE_XREF, OTA_WINDOW, &source, new_image->size);
    for (int i = 0; i < 2 && status >= 0; i++) {
        do {
            struct ota_out out = {buf, OTA_WINDOW, 0};

            status = ota_engine_step(memory, &in[i], &out);
            right = right && out.pos <= new_image->size - done && memcmp(buf, new_image->data + done, out.pos) == 0;
            done += out.pos;
        } while (status == OTA_WANT_OUTPUT);
    }
    free(buf);
    free(memory);
    if (status >= 0)
        status = status == OTA_DONE && right && done == new_image->size ? 0 : -OTA_E_INTERNAL;
    return status;
}

int ota_xref_write(int fd, const void *bytes, size_t len, struct ota_xref_stats *stats)
{
    const uint8_t *data = bytes;

    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            stats->os_error = errno;
            return -OTA_E_OUTPUT;
        }
        data += n;
        len -= (size_t)n;
        stats->written += (uint64_t)n;
    }
    return 0;
}

static void fill_stats(struct ota_xref_stats *stats, const struct payload *p, const struct ota_xref_plan *plan,
                       uint64_t new_size)
{
    stats->triples = plan->copy_count;
    stats->spans = plan->span_count;
    stats->regions = plan->region_count;
    stats->literals = new_size;
    for (uint32_t i = 0; i < plan->copy_count; i++)
        stats->literals -= plan->copies[i].len;
    for (unsigned i = 0; i < OTA_XREF_PARTS; i++)
        stats->parts[i] = p->coded.cost[i] >> 19;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

size_t ota_xref_workspace(unsigned model_log, uint32_t spans, uint32_t regions)
{
    size_t tables = ota_xref_memory(model_log, spans, regions);

    return tables == 0 ? 0 : OTA_XREF_FIXED + tables;
}

int ota_xref_suits(const uint8_t *data, uint64_t size)
{
    struct ota_image *image = size <= OTA_XREF_CONTENT_MAX ? malloc(sizeof *image) : NULL;
    int suits = 0;

    if (image != NULL) {
        ota_image_read(image, data, (uint32_t)size);
        suits = image->is_elf || image->code_kind != OTA_XREF_RAW;
    }
    free(image);
    return suits;
}

int ota_xref_find_copies(const struct ota_sorter *sorter, struct ota_xref_plan *plan, struct ota_image images[2])
{
    int status = match(sorter, plan, &images[0], &images[1]);

    if (status == 0 && !images[0].is_elf)
        status = match_again(sorter, plan, &images[0], &images[1]);
    return status;
}

int ota_diff_xref(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                  uint64_t old_size, const uint8_t *new_data, uint64_t new_size, int fd, struct ota_xref_stats *stats)
{
    struct ota_image *images;
    struct ota_xref_plan plan = {0};
    struct payload p = {{0}, 0, {0}};
    int status = -OTA_E_RAM;

    memset(stats, 0, sizeof *stats);
    if (old_size > OTA_XREF_CONTENT_MAX || new_size > OTA_XREF_CONTENT_MAX)
        return -OTA_E_LIMIT;
    if (ota_xref_workspace(options->model_log, options->spans_max, options->regions_max) == 0)
        return -OTA_E_USAGE;
    images = malloc(2 * sizeof *images);
    plan.region_limit = options->regions_max;
    plan.regions = malloc(options->regions_max * sizeof *plan.regions);
    if (images != NULL && plan.regions != NULL) {
        ota_image_read(&images[0], old_data, (uint32_t)old_size);
        ota_image_read(&images[1], new_data, (uint32_t)new_size);
        status = ota_xref_find_copies(sorter, &plan, images);
        if (status == 0)
            status = ota_xref_find_regions(&plan, &images[0], &images[1]);
        ota_xref_choose_spans(&plan, options->spans_max);
    }
    if (status == 0)
        status = ota_xref_encode(&plan, options->model_log, &images[0], &images[1], &p.coded);
    if (status == 0) {
        p.head_len = ota_xref_head(p.head, &plan, options->model_log, images, p.coded.len);
        stats->workspace = ota_xref_workspace(options->model_log, plan.span_count, plan.region_count);
        status = verify(&p, &images[0], &images[1], (size_t)stats->workspace);
        fill_stats(stats, &p, &plan, new_size);
    }
    if (status == 0)
        status = ota_xref_write(fd, p.head, p.head_len, stats);
    if (status == 0)
        status = ota_xref_write(fd, p.coded.bytes, p.coded.len, stats);
    free(p.coded.bytes);
    free(plan.copies);
    free(plan.regions);
    free(images);
    return status;
}
