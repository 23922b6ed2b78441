/* xref_map.c - engine xref: where what is in old will be in new. */
#include "xref.h"

static int before(const struct ota_xref_map *m, uint32_t a, uint32_t b)
{
    if (m->spans[a].old_pos != m->spans[b].old_pos)
        return m->spans[a].old_pos < m->spans[b].old_pos;
    return a < b;
}

static void sift(struct ota_xref_map *m, uint32_t at, uint32_t count)
{
    uint32_t *v = m->by_old;

    for (;;) {
        uint32_t child = 2 * at + 1, swap;

        if (child >= count)
            return;
        if (child + 1 < count && before(m, v[child], v[child + 1]))
            child++;
        if (!before(m, v[at], v[child]))
            return;
        swap = v[at];
        v[at] = v[child];
        v[child] = swap;
        at = child;
    }
}

void ota_xref_map_sort(struct ota_xref_map *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        m->by_old[i] = i;
    for (uint32_t i = m->count / 2; i-- > 0;)
        sift(m, i, m->count);
    for (uint32_t i = m->count; i-- > 1;) {
        uint32_t swap = m->by_old[0];

        m->by_old[0] = m->by_old[i];
        m->by_old[i] = swap;
        sift(m, 0, i);
    }
}

uint32_t ota_xref_map_position(const struct ota_xref_map *m, uint32_t pos)
{
    const struct ota_xref_span *best = &m->here;
    uint32_t low = 0, high = m->count, nearest = ota_xref_distance(best, pos);

    if (nearest == 0)
        return pos + (best->new_pos - best->old_pos);
    while (low < high) { /* the first span that begins behind pos */
        uint32_t middle = low + (high - low) / 2;

        if (m->spans[m->by_old[middle]].old_pos <= pos)
            low = middle + 1;
        else
            high = middle;
    }
    /* the one behind, then those in front, nearest first */
    for (uint32_t i = 0; i <= OTA_XREF_NEIGHBOURS && i <= low && nearest > 0; i++) {
        const struct ota_xref_span *s;
        uint32_t d;

        if (low - i == m->count)
            continue;
        s = &m->spans[m->by_old[low - i]];
        d = ota_xref_distance(s, pos);
        if (d < nearest) {
            nearest = d;
            best = s;
        }
    }
    return pos + (best->new_pos - best->old_pos);
}

static uint64_t address(const struct ota_xref_segment *segments, uint32_t count, uint32_t pos)
{
    for (uint32_t i = 0; i < count; i++)
        if (pos >= segments[i].off && pos - segments[i].off < segments[i].file_size)
            return segments[i].addr + (pos - segments[i].off);
    return pos;
}

uint64_t ota_xref_old_address(const struct ota_xref_map *m, uint32_t pos)
{
    return address(m->old_segments, m->segment_count, pos);
}

uint64_t ota_xref_new_address(const struct ota_xref_map *m, uint32_t pos)
{
    return address(m->new_segments, m->segment_count, pos);
}

int ota_xref_map_address(const struct ota_xref_map *m, uint64_t old_addr, uint64_t *out)
{
    for (uint32_t i = 0; i < m->segment_count; i++) {
        const struct ota_xref_segment *s = &m->old_segments[i];
        uint64_t at = old_addr - s->addr;
        uint32_t inside, pos;

        if (old_addr < s->addr || at >= s->mem_size)
            continue;
        if (s->file_size == 0)
            return 0;
        inside = at < s->file_size ? (uint32_t)at : s->file_size - 1; /* what has no content moves with the last byte */
        pos = ota_xref_map_position(m, s->off + inside);
        *out = m->new_segments[i].addr + (uint64_t)((int64_t)pos - (int64_t)m->new_segments[i].off) + (at - inside);
        return 1;
    }
    return 0;
}
