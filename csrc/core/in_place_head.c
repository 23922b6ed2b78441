/* in_place_head.c - what stands in front of a segment's payload (docs/SPEC.md section 6.4): number after number. */
#include "exec.h"

/* A number is a distance from here, either way; the place that it leads to is at most `most`. */
static int go(uint64_t *place, uint64_t zigzag, uint64_t most)
{
    uint64_t distance = zigzag / 2 + zigzag % 2;
    if (zigzag % 2 != 0 ? distance > *place : distance > most) /* both are below 2^63 */
        return ERR(DELTA);
    *place = zigzag % 2 != 0 ? *place - distance : *place + distance;
    return *place <= most ? 0 : ERR(DELTA);
}

static int take_unit(struct ota_exec *ex, uint64_t zigzag)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t units = ota_in_place_units(&ex->rec);
    uint64_t unit = in->unit;
    if (in->seq >= units || go(&unit, zigzag, units - 1) != 0)
        return ERR(DELTA);
    if (in->prior.len > 0 && unit != in->unit - (in->prior.in_front ? 2u : 0u)) /* in->unit follows the one before */
        return ERR(DELTA);
    in->unit = (uint32_t)unit;
    in->digest = 0;
    in->digest_bytes = 0;
    in->keeps = 0;
    in->before = in->behind = 0;
    in->handed.len = 0;
    in->read_count = 0;
    in->range_end = unit * ex->rec.unit;
    in->field = OTA_SEGMENT_DIGEST;
    return 0;
}

static enum ota_segment_field after_ranges(const struct ota_exec *ex)
{
    return ota_record_has_views(&ex->rec) ? OTA_SEGMENT_READS : OTA_SEGMENT_PAYLOAD_LENGTH;
}

static int take_range(struct ota_exec *ex, uint64_t len)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t end = (uint64_t)(in->unit + 1) * ex->rec.unit;
    struct ota_kept *k;
    if (end > ex->rec.source.size)
        end = ex->rec.source.size;
    if (in->kept_count == OTA_KEPT_MAX)
        return ERR(DELTA);
    if (len == 0 || in->range_end > end || len > end - in->range_end)
        return ERR(DELTA);
    k = &in->kept[in->kept_count++];
    k->off = in->range_end;
    k->len = (uint32_t)len;
    k->pos = in->keeps;
    k->seq = in->seq;
    k->last_use = UINT32_MAX;
    in->keeps += (uint32_t)len;
    in->range_end += len;
    in->field = --in->ranges > 0 ? OTA_SEGMENT_GAP : OTA_SEGMENT_LAST_USE;
    return 0;
}

/* A range of old that the segment is made from. */
static int take_read(struct ota_exec *ex, uint64_t len)
{
    struct ota_in_place *in = &ex->in_place;
    struct ota_read *r = &in->reads[in->read_count];
    uint64_t size = ex->rec.source.size;
    uint64_t sum = in->read_count > 0 ? in->reads[in->read_count - 1].end : 0;
    if (len == 0 || len > size - in->range_end || len > OTA_CONTENT_MAX - sum)
        return ERR(DELTA);
    r->off = in->range_end;
    r->end = sum + len;
    in->range_end += len;
    in->read_count++;
    in->field = --in->ranges > 0 ? OTA_SEGMENT_READ_FROM : OTA_SEGMENT_BEFORE;
    return 0;
}

/* What the segment that follows gets of what this one makes: less than all of its unit. */
static int take_handed(struct ota_exec *ex, uint64_t zigzag)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t len = zigzag / 2 + zigzag % 2;
    in->handed.in_front = zigzag % 2 != 0;
    if (len > (in->handed.in_front ? in->before : in->behind))
        return ERR(DELTA);
    if (len > 0 && len >= ota_in_place_new_len(&ex->rec, in->handed.in_front ? in->unit - 1 : in->unit + 1))
        return ERR(DELTA);
    in->handed.len = (uint32_t)len;
    return 0;
}

/* A number that is there with views only. */
static int take_viewed(struct ota_exec *ex, uint64_t n)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t start = (uint64_t)in->unit * ex->rec.unit;
    switch (in->field) {
    case OTA_SEGMENT_READS:
        in->ranges = n;
        in->range_end = start < ex->rec.source.size ? start : ex->rec.source.size;
        in->field = n > 0 ? OTA_SEGMENT_READ_FROM : OTA_SEGMENT_BEFORE;
        return n > OTA_READS_MAX ? ERR(DELTA) : 0;
    case OTA_SEGMENT_READ_FROM:
        in->field = OTA_SEGMENT_READ_LENGTH;
        return go(&in->range_end, n, ex->rec.source.size);
    case OTA_SEGMENT_READ_LENGTH:
        return take_read(ex, n);
    case OTA_SEGMENT_BEFORE:
        in->before = n;
        in->field = OTA_SEGMENT_BEHIND;
        return n > start || (n > 0 && in->prior.len > 0 && !in->prior.in_front) ? ERR(DELTA) : 0;
    case OTA_SEGMENT_BEHIND:
        in->behind = n;
        in->field = OTA_SEGMENT_HANDED;
        start += ota_in_place_new_len(&ex->rec, in->unit);
        return n > ex->rec.size - start || (n > 0 && in->prior.len > 0 && in->prior.in_front) ? ERR(DELTA) : 0;
    default: /* OTA_SEGMENT_HANDED */
        in->field = OTA_SEGMENT_PAYLOAD_LENGTH;
        return take_handed(ex, n);
    }
}

int ota_in_place_take(struct ota_exec *ex, uint64_t n)
{
    struct ota_in_place *in = &ex->in_place;
    unsigned i;
    switch (in->field) {
    case OTA_SEGMENT_TABLES_LENGTH:
        in->payload = n;
        in->field = OTA_SEGMENT_TABLES;
        return 0;
    case OTA_SEGMENT_UNIT:
        return take_unit(ex, n);
    case OTA_SEGMENT_RANGES:
        in->ranges = n;
        in->field = n > 0 ? OTA_SEGMENT_GAP : after_ranges(ex);
        return n > OTA_KEPT_MAX ? ERR(DELTA) : 0;
    case OTA_SEGMENT_GAP:
        if (n > ex->rec.unit)
            return ERR(DELTA);
        in->range_end += n;
        in->field = OTA_SEGMENT_LENGTH;
        return 0;
    case OTA_SEGMENT_LENGTH:
        return take_range(ex, n);
    case OTA_SEGMENT_LAST_USE:
        if (n == 0 || n > ota_in_place_units(&ex->rec) - in->seq)
            return ERR(DELTA);
        for (i = 0; i < in->kept_count; i++)
            if (in->kept[i].seq == in->seq)
                in->kept[i].last_use = in->seq + (uint32_t)n;
        in->field = after_ranges(ex);
        return 0;
    case OTA_SEGMENT_PAYLOAD_LENGTH:
        in->payload = n;
        in->field = OTA_SEGMENT_PAYLOAD;
        return 0;
    default:
        return take_viewed(ex, n);
    }
}
