/* xref_split.c - engine xref: an image with programs inside becomes sections, of which each program has its own
 * addresses, regions and map. What lies between them is matched at once, with what lies between those of old. */
#include <stdlib.h>
#include <string.h>

#include "xref_host.h"

/* Stretches of an image that are compared as one, in their order. */
struct stretches {
    uint32_t count;
    uint32_t size;   /* of all together */
    uint32_t *start; /* in the image */
    uint32_t *at;    /* in what is compared; count + 1 of them, the last one is the size */
    uint8_t *bytes;
};

static int stretches_init(struct stretches *s, uint32_t most, uint32_t size)
{
    s->start = malloc(((size_t)most + 1) * sizeof *s->start);
    s->at = malloc(((size_t)most + 2) * sizeof *s->at);
    s->bytes = malloc((size_t)size + 1);
    return s->start != NULL && s->at != NULL && s->bytes != NULL ? 0 : -OTA_E_RAM;
}

static void stretches_add(struct stretches *s, const uint8_t *data, uint32_t start, uint32_t end)
{
    if (start == end)
        return;
    memcpy(s->bytes + s->size, data + start, end - start);
    s->start[s->count] = start;
    s->at[s->count++] = s->size;
    s->size += end - start;
    s->at[s->count] = s->size;
}

static void stretches_free(struct stretches *s)
{
    free(s->start);
    free(s->at);
    free(s->bytes);
}

/* The stretch that holds a position of what is compared. */
static uint32_t stretch_at(const struct stretches *s, uint32_t pos)
{
    uint32_t low = 0, high = s->count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (s->at[middle] <= pos)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- between the programs ---------------------------------------------------------------------------------------- */

struct between {
    struct stretches old, new;
    struct ota_xref_job **jobs; /* of each stretch of new */
};

/* A piece of what was compared: cut where stretches end, and given to the sections. */
static int take(void *ctx, const struct ota_piece *piece)
{
    struct between *b = ctx;
    uint32_t new_pos = (uint32_t)piece->new_pos, old_pos = (uint32_t)piece->old_pos, left = (uint32_t)piece->len;
    int status = 0;

    while (left > 0 && status == 0) {
        uint32_t i = stretch_at(&b->new, new_pos), k = stretch_at(&b->old, old_pos), n = left;
        struct ota_piece part;

        if (n > b->new.at[i + 1] - new_pos)
            n = b->new.at[i + 1] - new_pos;
        if (n > b->old.at[k + 1] - old_pos)
            n = b->old.at[k + 1] - old_pos;
        part.new_pos = new_pos - b->new.at[i];
        part.old_pos = b->old.start[k] + (old_pos - b->old.at[k]);
        part.len = n;
        status = ota_xref_take_piece(&b->jobs[i]->plan, &part);
        new_pos += n;
        old_pos += n;
        left -= n;
    }
    return status;
}

static int by_old(const void *a, const void *b)
{
    const struct ota_xref_pair *p = a, *q = b;

    return p->old_start < q->old_start ? -1 : p->old_start > q->old_start;
}

/* Old without the programs that new ones are made from. pairs: sorted by old_start afterwards. */
static void rest_of_old(struct stretches *s, const uint8_t *data, uint32_t size, struct ota_xref_pair *pairs,
                        uint32_t count)
{
    uint32_t at = 0;

    qsort(pairs, count, sizeof *pairs, by_old);
    for (uint32_t i = 0; i < count; i++) {
        if (pairs[i].old_start > at)
            stretches_add(s, data, at, pairs[i].old_start);
        if (pairs[i].old_start + pairs[i].old_len > at)
            at = pairs[i].old_start + pairs[i].old_len;
    }
    stretches_add(s, data, at, size);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

static struct ota_xref_job *add_job(struct ota_xref_jobs *jobs, uint32_t start, uint32_t len)
{
    struct ota_xref_job *job = &jobs->jobs[jobs->count++];

    job->new_start = start;
    job->section.new_len = len;
    return job;
}

/* old_data, new_data: where old and new begin. */
static int plan_program(const struct ota_sorter *sorter, const struct ota_xref_options *options,
                        const struct ota_long_parts *parts, const uint8_t *old_data, uint32_t old_start,
                        uint32_t old_len, const uint8_t *new_data, struct ota_xref_job *job)
{
    struct ota_image *images = malloc(2 * sizeof *images);
    struct ota_xref_plan *plan = &job->plan;
    int status = -OTA_E_RAM;

    plan->region_limit = options->regions_max;
    plan->regions = malloc(options->regions_max * sizeof *plan->regions);
    if (images != NULL && plan->regions != NULL) {
        ota_image_read(&images[0], old_data + old_start, old_len);
        ota_image_read(&images[1], new_data + job->new_start, job->section.new_len);
        status = ota_xref_plan_pair(sorter, options, parts, old_start, plan, images);
    }
    if (status == 0) {
        struct ota_xref_section *s = &job->section;
        struct ota_xref_region *regions = realloc(plan->regions, plan->region_count * sizeof *regions);

        if (regions != NULL)
            plan->regions = regions;
        s->segments =
            images[0].segment_count < images[1].segment_count ? images[0].segment_count : images[1].segment_count;
        s->regions = plan->region_count;
        s->spans = plan->span_count;
        memcpy(job->old_segments, images[0].segments, sizeof job->old_segments);
        memcpy(job->new_segments, images[1].segments, sizeof job->new_segments);
    }
    free(images);
    return status;
}

static void note_most(struct ota_xref_jobs *jobs)
{
    jobs->most.regions = 1;
    for (uint32_t i = 0; i < jobs->count; i++) {
        const struct ota_xref_section *s = &jobs->jobs[i].section;

        jobs->most.segments = s->segments > jobs->most.segments ? s->segments : jobs->most.segments;
        jobs->most.regions = s->regions > jobs->most.regions ? s->regions : jobs->most.regions;
        jobs->most.spans = s->spans > jobs->most.spans ? s->spans : jobs->most.spans;
    }
}

/* Sections in the order of new: programs, and what is between them, which goes into b as well. */
static void list_jobs(struct ota_xref_jobs *jobs, const uint8_t *new_data, uint32_t new_size,
                      const struct ota_xref_pair *pairs, uint32_t count, struct between *b)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i <= count; i++) {
        uint32_t end = i < count ? pairs[i].new_start : new_size;

        if (end > at) {
            stretches_add(&b->new, new_data, at, end);
            b->jobs[b->new.count - 1] = add_job(jobs, at, end - at);
        }
        if (i < count) {
            struct ota_xref_job *job = add_job(jobs, pairs[i].new_start, pairs[i].new_len);

            job->section.is_program = 1;
            job->section.old_start = pairs[i].old_start;
            job->section.old_len = pairs[i].old_len;
            at = pairs[i].new_start + pairs[i].new_len;
        }
    }
}

static int split(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                 uint32_t old_size, const uint8_t *new_data, uint32_t new_size, const struct ota_long_parts *parts,
                 struct ota_xref_pair *pairs, uint32_t count, struct ota_xref_jobs *jobs)
{
    struct between b = {0};
    struct ota_sink sink = {take, &b};
    uint32_t at = 0;
    int status;

    jobs->sectioned = 1;
    jobs->jobs = calloc(2 * (size_t)count + 1, sizeof *jobs->jobs);
    b.jobs = malloc(((size_t)count + 1) * sizeof(struct ota_xref_job *));
    status = jobs->jobs != NULL && b.jobs != NULL ? 0 : -OTA_E_RAM;
    if (status == 0)
        status = stretches_init(&b.old, count + 1, old_size);
    if (status == 0)
        status = stretches_init(&b.new, count + 1, new_size);
    if (status == 0) {
        list_jobs(jobs, new_data, new_size, pairs, count, &b);
        rest_of_old(&b.old, old_data, old_size, pairs, count);
        status = ota_match(sorter, b.old.bytes, b.old.size, b.new.bytes, b.new.size, &sink);
    }
    stretches_free(&b.old);
    stretches_free(&b.new);
    free(b.jobs);
    for (uint32_t i = 0; i < jobs->count && status == 0; i++) {
        struct ota_xref_job *job = &jobs->jobs[i];

        if (job->section.is_program) {
            status = plan_program(sorter, options, parts, old_data, job->section.old_start, job->section.old_len,
                                  new_data, job);
            at = job->section.old_start + job->section.old_len;
        } else {
            status = ota_xref_keep_near(&job->plan, parts, 0, at);
        }
    }
    return status;
}

int ota_xref_split(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                   uint32_t old_size, const uint8_t *new_data, uint32_t new_size, const struct ota_long_parts *parts,
                   struct ota_xref_jobs *jobs)
{
    struct ota_xref_pair *pairs;
    uint32_t count;
    int status = ota_xref_find_pairs(old_data, old_size, new_data, new_size, parts, &pairs, &count);

    memset(jobs, 0, sizeof *jobs);
    if (status == 0 && count > 0) {
        status = split(sorter, options, old_data, old_size, new_data, new_size, parts, pairs, count, jobs);
    } else if (status == 0) {
        jobs->jobs = calloc(1, sizeof *jobs->jobs);
        status = jobs->jobs != NULL ? 0 : -OTA_E_RAM;
        if (status == 0)
            status = plan_program(sorter, options, parts, old_data, 0, old_size, new_data, add_job(jobs, 0, new_size));
    }
    free(pairs);
    note_most(jobs);
    return status;
}

void ota_xref_jobs_free(struct ota_xref_jobs *jobs)
{
    for (uint32_t i = 0; i < jobs->count; i++) {
        free(jobs->jobs[i].plan.copies);
        free(jobs->jobs[i].plan.spans);
        free(jobs->jobs[i].plan.regions);
    }
    free(jobs->jobs);
    jobs->jobs = NULL;
    jobs->count = 0;
}
