/* xref_encode.c - engine xref: a range encoder, and the decoder's own machine that drives it. */
#include <stdlib.h>
#include <string.h>

#include "xref_host.h"

/* ---- the range encoder ------------------------------------------------------------------------------------------- */

struct encoder {
    struct ota_rangecoder *rc;
    uint64_t low;
    uint32_t range;
    uint8_t cache;
    uint64_t pending; /* bytes of 0xff behind cache that a carry would change */
    int started;      /* the first byte, always zero, is left out */
    int status;       /* sticky */
    struct ota_xref_coded *coded;
    size_t begin; /* where in coded this run begins */
};

static void out_byte(struct encoder *e, uint8_t byte)
{
    struct ota_xref_coded *c = e->coded;

    if (!e->started) {
        e->started = 1;
        return;
    }
    if (c->len == c->room) {
        size_t room = c->room * 2 + 4096;
        uint8_t *bytes = realloc(c->bytes, room);

        if (bytes == NULL) {
            e->status = -OTA_E_RAM;
            return;
        }
        c->bytes = bytes;
        c->room = room;
    }
    c->bytes[c->len++] = byte;
}

static void shift_low(struct encoder *e)
{
    if (e->low < 0xff000000u || e->low > 0xffffffffu) {
        uint8_t carry = (uint8_t)(e->low >> 32);

        out_byte(e, (uint8_t)(e->cache + carry));
        for (; e->pending > 0; e->pending--)
            out_byte(e, (uint8_t)(0xff + carry));
        e->cache = (uint8_t)(e->low >> 24);
    } else {
        e->pending++;
    }
    e->low = (e->low & 0x00ffffffu) << 8;
}

/* 65536 * -log2(p / 65536) */
static uint32_t cost_of(uint32_t p)
{
    uint32_t whole = 0, fraction = 0;
    uint64_t v = (uint64_t)p << 15;

    while (v < (uint64_t)1 << 31) {
        v <<= 1;
        whole++;
    }
    for (uint32_t bit = 32768; bit > 0; bit /= 2) {
        v = (v * v) >> 31;
        if (v >> 32) {
            v >>= 1;
            fraction += bit;
        }
    }
    return (whole << 16) - fraction;
}

static void put_bit(void *ctx, uint32_t prob, int bit)
{
    struct encoder *e = ctx;
    uint32_t bound = (uint32_t)(((uint64_t)e->range * prob) >> 16);

    e->coded->cost[e->rc->part] += cost_of(bit ? prob : 65536u - prob);
    if (bit) {
        e->range = bound;
    } else {
        e->low += bound;
        e->range -= bound;
    }
    while (e->range < OTA_RC_TOP) {
        e->range <<= 8;
        shift_low(e);
    }
}

/* The shortest end: any value in [low, low + range) will do, and zeros behind the end are implied. */
static void put_end(struct encoder *e)
{
    for (unsigned zeros = 32; zeros > 0; zeros -= 8) {
        uint64_t unit = (uint64_t)1 << zeros, value = (e->low + unit - 1) & ~(unit - 1);

        if (value < e->low + e->range) {
            e->low = value;
            break;
        }
    }
    for (int i = 0; i < 5; i++)
        shift_low(e);
    for (unsigned i = 0; i < OTA_RC_PADDING && e->coded->len > e->begin && e->coded->bytes[e->coded->len - 1] == 0; i++)
        e->coded->len--;
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

static void set_plan(struct ota_xref *x, const struct ota_xref_plan *plan)
{
    if (plan->region_count > 0)
        memcpy(x->regions, plan->regions, plan->region_count * sizeof *plan->regions);
    if (plan->span_count > 0)
        memcpy(x->map.spans, plan->spans, plan->span_count * sizeof *plan->spans);
    x->truth->copies = plan->copies;
    x->truth->copy_count = plan->copy_count;
    x->truth->copy_next = 0;
}

/* Tell what the next job is made of. */
static void set_job(struct ota_xref_machine *m)
{
    const struct ota_xref_job *job = &m->jobs->jobs[m->next++];

    memcpy(m->x.map.old_segments, job->old_segments, sizeof job->old_segments);
    memcpy(m->x.map.new_segments, job->new_segments, sizeof job->new_segments);
    m->truth.section = job->section;
    m->truth.new_data = m->new_data + job->new_start;
    set_plan(&m->x, &job->plan);
}

static struct ota_xref_machine *allocate(unsigned log, const struct ota_xref_section *most)
{
    size_t memory = ota_xref_memory(log, most->spans, most->regions);
    struct ota_xref_machine *m = calloc(1, sizeof *m);

    if (m == NULL)
        return NULL;
    m->tables = memory > 0 ? malloc(memory) : NULL;
    if (m->tables == NULL) {
        free(m);
        return NULL;
    }
    m->x.log = log;
    m->x.most = *most;
    m->x.region_count = most->regions;
    m->x.map.count = most->spans;
    m->x.map.segment_count = most->segments;
    ota_xref_layout(&m->x, m->tables);
    m->x.window.buf = m->window;
    m->x.window.cap = sizeof m->window;
    m->x.truth = &m->truth;
    return m;
}

struct ota_xref_machine *ota_xref_machine_new(const struct ota_xref_plan *plan, unsigned log,
                                              const struct ota_image *old_image, const struct ota_image *new_image)
{
    uint32_t a = old_image->segment_count, b = new_image->segment_count;
    struct ota_xref_section most = {
        .segments = a < b ? a : b, .regions = plan->region_count, .spans = plan->span_count};
    struct ota_xref_machine *m = allocate(log, &most);

    if (m == NULL)
        return NULL;
    ota_xref_use_images(&m->x, old_image, new_image);
    set_plan(&m->x, plan);
    m->truth.new_data = new_image->data;
    m->x.state = OTA_XREF_SEGMENTS;
    return m;
}

void ota_xref_machine_free(struct ota_xref_machine *m)
{
    if (m != NULL)
        free(m->tables);
    free(m);
}

int ota_xref_machine_run(struct ota_xref_machine *m, struct ota_xref_coded *coded)
{
    struct encoder e = {.range = 0xffffffffu, .coded = coded, .rc = &m->x.model.rc, .begin = coded->len};
    int status = 0;

    m->x.model.rc.put = put_bit;
    m->x.model.rc.encoder = &e;
    while (status == 0 && e.status == 0 && m->x.state != OTA_XREF_END) {
        if (m->x.state == OTA_XREF_SECTION)
            set_job(m);
        status = ota_xref_advance(&m->x);
    }
    put_end(&e);
    m->x.model.rc.encoder = NULL;
    return status == 0 ? e.status : status;
}

int ota_xref_encode(const struct ota_xref_jobs *jobs, unsigned log, const uint8_t *old_data, uint32_t old_size,
                    const uint8_t *new_data, uint32_t new_size, struct ota_xref_coded *coded)
{
    struct ota_xref_machine *m = allocate(log, &jobs->most);
    struct ota_source source = {(void *)(uintptr_t)old_data, ota_xref_read_memory, old_size};
    int status = -OTA_E_RAM;

    if (m != NULL) {
        m->jobs = jobs;
        m->new_data = new_data;
        m->x.window.source = source;
        m->x.sectioned = jobs->sectioned;
        m->x.old_all = m->x.old_size = old_size;
        m->x.new_size = m->x.end = new_size;
        ota_xref_begin(&m->x);
        if (!jobs->sectioned)
            set_job(m);
        status = ota_xref_machine_run(m, coded);
    }
    ota_xref_machine_free(m);
    return status;
}
