/* xref_diff.c - the delta encoder of engine xref: match, plan, code, and decode again to be sure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "xref_host.h"

/* ---- checking and writing ---------------------------------------------------------------------------------------- */

struct payload {
    uint8_t head[OTA_XREF_HEAD_MAX];
    size_t head_len;
    struct ota_xref_coded coded;
};

size_t ota_xref_head(uint8_t head[OTA_XREF_HEAD_MAX], unsigned first, const struct ota_xref_section *most, size_t coded)
{
    size_t n = ota_varint_write(head, first);

    n += ota_varint_write(head + n, most->spans);
    n += ota_varint_write(head + n, most->regions);
    n += ota_varint_write(head + n, most->segments);
    return n + ota_varint_write(head + n, coded);
}

/* Decode the payload as a board does. 0 if that makes new. */
static int verify(const struct payload *p, const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data,
                  uint64_t new_size, size_t workspace)
{
    struct ota_source source = {(void *)(uintptr_t)old_data, ota_xref_read_memory, old_size};
    struct ota_in in[2] = {{p->head, p->head_len, 0}, {p->coded.bytes, p->coded.len, 0}};
    void *memory = malloc(workspace);
    uint8_t *buf = malloc(OTA_WINDOW);
    uint64_t done = 0;
    int status = -OTA_E_RAM, right = 1;

    if (memory != NULL && buf != NULL)
        status = ota_engine_init(memory, workspace, OTA_ENGINE_XREF, OTA_WINDOW, &source, new_size);
    for (int i = 0; i < 2 && status >= 0; i++) {
        do {
            struct ota_out out = {buf, OTA_WINDOW, 0};

            status = ota_engine_step(memory, &in[i], &out);
            right = right && out.pos <= new_size - done && memcmp(buf, new_data + done, out.pos) == 0;
            done += out.pos;
        } while (status == OTA_WANT_OUTPUT);
    }
    free(buf);
    free(memory);
    if (status >= 0)
        status = status == OTA_DONE && right && done == new_size ? 0 : -OTA_E_INTERNAL;
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

static void fill_stats(struct ota_xref_stats *stats, const struct payload *p, const struct ota_xref_jobs *jobs,
                       uint64_t new_size)
{
    stats->literals = new_size;
    for (uint32_t k = 0; k < jobs->count; k++) {
        const struct ota_xref_plan *plan = &jobs->jobs[k].plan;

        stats->triples += plan->copy_count;
        stats->spans += plan->span_count;
        stats->regions += plan->region_count;
        for (uint32_t i = 0; i < plan->copy_count; i++)
            stats->literals -= plan->copies[i].len;
    }
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
        suits = image->is_elf || image->code_kind != OTA_XREF_RAW || ota_xref_has_programs(data, (uint32_t)size);
    }
    free(image);
    return suits;
}

int ota_diff_xref(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                  uint64_t old_size, const uint8_t *new_data, uint64_t new_size, const struct ota_long_parts *parts,
                  int fd, struct ota_xref_stats *stats)
{
    struct ota_xref_jobs jobs;
    struct payload p = {{0}, 0, {0}};
    int status;

    memset(stats, 0, sizeof *stats);
    if (old_size > OTA_XREF_CONTENT_MAX || new_size > OTA_XREF_CONTENT_MAX)
        return -OTA_E_LIMIT;
    if (ota_xref_workspace(options->model_log, options->spans_max, options->regions_max) == 0)
        return -OTA_E_USAGE;
    status = ota_parts_check(parts, old_size, new_size);
    if (status != 0)
        return status;
    status = ota_xref_split(sorter, options, old_data, (uint32_t)old_size, new_data, (uint32_t)new_size, parts, &jobs);
    if (status == 0)
        status = ota_xref_encode(&jobs, options->model_log, old_data, (uint32_t)old_size, new_data, (uint32_t)new_size,
                                 &p.coded);
    if (status == 0) {
        p.head_len = ota_xref_head(p.head, options->model_log | (jobs.sectioned ? OTA_XREF_SECTIONED : 0), &jobs.most,
                                   p.coded.len);
        stats->workspace = ota_xref_workspace(options->model_log, jobs.most.spans, jobs.most.regions);
        status = verify(&p, old_data, old_size, new_data, new_size, (size_t)stats->workspace);
        fill_stats(stats, &p, &jobs, new_size);
    }
    if (status == 0)
        status = ota_xref_write(fd, p.head, p.head_len, stats);
    if (status == 0)
        status = ota_xref_write(fd, p.coded.bytes, p.coded.len, stats);
    free(p.coded.bytes);
    ota_xref_jobs_free(&jobs);
    return status;
}
