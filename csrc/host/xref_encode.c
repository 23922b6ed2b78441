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
    for (unsigned i = 0; i < OTA_RC_PADDING && e->coded->len > 0 && e->coded->bytes[e->coded->len - 1] == 0; i++)
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

int ota_xref_encode(const struct ota_xref_plan *plan, unsigned log, const struct ota_image *old_image,
                    const struct ota_image *new_image, struct ota_xref_coded *coded)
{
    size_t memory = ota_xref_memory(log, plan->span_count, plan->region_count);
    struct ota_xref *x = calloc(1, sizeof *x);
    void *tables = memory > 0 ? malloc(memory) : NULL;
    uint8_t *window = malloc(OTA_WINDOW);
    struct encoder e = {.range = 0xffffffffu, .coded = coded};
    struct ota_xref_truth truth = {new_image->data, plan->copies, plan->copy_count, 0};
    int status = -OTA_E_RAM;

    if (x != NULL && tables != NULL && window != NULL) {
        ota_xref_use_images(x, old_image, new_image);
        x->log = log;
        x->region_count = plan->region_count;
        x->map.count = plan->span_count;
        ota_xref_layout(x, tables);
        set_plan(x, plan);
        x->window.buf = window;
        x->window.cap = OTA_WINDOW;
        x->truth = &truth;
        x->state = OTA_XREF_SEGMENTS;
        e.rc = &x->model.rc;
        e.rc->put = put_bit;
        e.rc->encoder = &e;
        status = 0;
        while (status == 0 && e.status == 0 && x->state != OTA_XREF_END)
            status = ota_xref_advance(x);
        put_end(&e);
        if (status == 0)
            status = e.status;
    }
    free(window);
    free(tables);
    free(x);
    return status;
}
