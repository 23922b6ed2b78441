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
    memcpy(x->regions, plan->regions, plan->region_count * sizeof *plan->regions);
    for (uint32_t i = 0, n = 0; i < plan->copy_count; i++)
        if (plan->copies[i].len >= plan->span_least)
            x->map.spans[n++] = plan->copies[i];
}

struct ota_xref_machine *ota_xref_machine_new(const struct ota_xref_plan *plan, unsigned log,
                                              const struct ota_image *old_image, const struct ota_image *new_image)
{
    size_t memory = ota_xref_memory(log, plan->span_count, plan->region_count);
    struct ota_xref_machine *m = calloc(1, sizeof *m);

    if (m == NULL)
        return NULL;
    m->tables = memory > 0 ? malloc(memory) : NULL;
    if (m->tables == NULL) {
        free(m);
        return NULL;
    }
    ota_xref_use_images(&m->x, old_image, new_image);
    m->x.log = log;
    m->x.region_count = plan->region_count;
    m->x.map.count = plan->span_count;
    ota_xref_layout(&m->x, m->tables);
    set_plan(&m->x, plan);
    m->x.window.buf = m->window;
    m->x.window.cap = sizeof m->window;
    m->truth.new_data = new_image->data;
    m->truth.copies = plan->copies;
    m->truth.copy_count = plan->copy_count;
    m->x.truth = &m->truth;
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
    while (status == 0 && e.status == 0 && m->x.state != OTA_XREF_END)
        status = ota_xref_advance(&m->x);
    put_end(&e);
    m->x.model.rc.encoder = NULL;
    return status == 0 ? e.status : status;
}

int ota_xref_encode(const struct ota_xref_plan *plan, unsigned log, const struct ota_image *old_image,
                    const struct ota_image *new_image, struct ota_xref_coded *coded)
{
    struct ota_xref_machine *m = ota_xref_machine_new(plan, log, old_image, new_image);
    int status = -OTA_E_RAM;

    if (m != NULL) {
        m->x.end = new_image->size;
        status = ota_xref_machine_run(m, coded);
    }
    ota_xref_machine_free(m);
    return status;
}
