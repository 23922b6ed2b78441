/* view_point.c - restart points: copies of the decoder, from which it can go on, in what memory is left for them.
 *
 * A delta reads a long part of old mostly forward, but jumps to other places and back a few hundred times. Points are
 * kept at even distances as the decoder goes, and wherever it leaves. When there is no more room, the one goes that
 * saves least: close behind another one, or not used for long.
 */
#include "view.h"

#include <string.h>

static struct ota_point *point(const struct ota_view *v, uint32_t i)
{
    return (struct ota_point *)(void *)(v->points + i * v->point_size);
}

static uint8_t *memory_of(struct ota_point *p)
{
    return (uint8_t *)(p + 1);
}

void ota_view_take_points(struct ota_view *v)
{
    size_t left = (size_t)(v->end - v->at);

    if (v->decoder_size == 0 || v->coder->save == NULL || v->coder->restore == NULL)
        return;
    v->point_size = (size_t)OTA_VIEW_ALIGN(sizeof(struct ota_point) + v->decoder_size);
    v->point_count = (uint32_t)ota_min_size(left / v->point_size, OTA_VIEW_SLOTS);
    v->points = ota_view_take(v, (uint64_t)v->point_count * v->point_size);
    for (uint32_t i = 0; i < v->point_count; i++)
        point(v, i)->used = 0;
}

/* The last point of a part at or before a chunk. */
static struct ota_point *nearest(const struct ota_view *v, uint32_t part, uint32_t chunk)
{
    struct ota_point *found = NULL;

    for (uint32_t i = 0; i < v->point_count; i++) {
        struct ota_point *p = point(v, i);

        if (p->used != 0 && p->part == part && p->chunk <= chunk && (found == NULL || p->chunk > found->chunk))
            found = p;
    }
    return found;
}

/* Chunks that a point spares. */
static uint64_t spared(const struct ota_view *v, const struct ota_point *p)
{
    const struct ota_point *before = nearest(v, p->part, p->chunk - 1); /* no point is at chunk 0 */

    return p->chunk - (before != NULL ? before->chunk : 0);
}

/* One that is free, or else the one that is worth least: what it spares, by how long it was not used. */
static struct ota_point *least(const struct ota_view *v)
{
    struct ota_point *found = NULL;
    uint64_t found_spared = 0;

    for (uint32_t i = 0; i < v->point_count; i++) {
        struct ota_point *p = point(v, i);
        uint64_t n;

        if (p->used == 0)
            return p;
        n = spared(v, p);
        if (found == NULL || n * (1u + v->clock - found->used) < found_spared * (1u + v->clock - p->used)) {
            found = p;
            found_spared = n;
        }
    }
    return found;
}

int ota_view_keep_point(struct ota_view *v, int leaves)
{
    const struct ota_view_decoder *d = &v->decoder;
    struct ota_point *p;
    uint32_t chunks;
    int st;

    if (v->point_count == 0 || !d->open || d->chunk == 0)
        return 0;
    chunks = v->parts[d->part].raw / v->slot_size;
    if (d->chunk > chunks || (!leaves && d->chunk % (chunks / (v->point_count + 1) + 1) != 0))
        return 0;
    p = nearest(v, d->part, d->chunk);
    if (p != NULL && p->chunk == d->chunk) {
        p->used = v->clock > 0 ? v->clock : 1;
        return 0;
    }
    p = least(v);
    p->used = 0;
    st = v->coder->save(v->coder->ctx, memory_of(p), v->decoder_size);
    if (st != 0)
        return st;
    p->part = d->part;
    p->chunk = d->chunk;
    p->left = d->left + (uint32_t)(d->in.size - d->in.pos);
    p->used = v->clock > 0 ? v->clock : 1;
    return 0;
}

int ota_view_seek(struct ota_view *v, uint32_t part, uint32_t chunk)
{
    struct ota_view_decoder *d = &v->decoder;
    struct ota_point *p = nearest(v, part, chunk);
    int st;

    if (d->open && d->part == part && d->chunk <= chunk && (p == NULL || p->chunk <= d->chunk))
        return 0;
    if ((st = ota_view_keep_point(v, 1)) != 0)
        return st;
    p = nearest(v, part, chunk); /* keeping one may have cost the one that was found */
    if (p == NULL)
        return ota_view_begin_part(v, part);
    st = v->coder->restore(v->coder->ctx, v->decodings.item[v->parts[part].packed >> 28].id, memory_of(p),
                           v->decoder_size);
    d->open = st == 0;
    d->part = part;
    d->chunk = p->chunk;
    d->left = p->left;
    memset(&d->in, 0, sizeof d->in);
    p->used = v->clock > 0 ? v->clock : 1;
    return st;
}
