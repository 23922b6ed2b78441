/* in_place_old.c - old content of a node that is updated onto itself: on the node still, or kept in the scratch. */
#include "exec.h"

static int read_kept(struct ota_exec *ex, const struct ota_kept *k, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_in_place *in = &ex->in_place;
    uint64_t size = OTA_ANY_SIZE;
    uint64_t pos = k->pos + (off - k->off);
    int st = 0;
    if (!in->file_open || in->file != k->seq) {
        st = ex->port.image_open(ex->port.ctx, OTA_SLOT_COPY, ota_in_place_file(&ex->rec, k->seq + 1), &size);
        if (st == ERR(MISSING) || (st == 0 && size < (uint64_t)k->pos + k->len)) {
            ex->report.lost = 1;
            return ota_exec_fail(ex, ERR(MISSING), "old content that was kept in the temporary folder is gone");
        }
        in->file_open = st == 0;
        in->file = k->seq;
    }
    return st != 0 ? st : ex->port.read_at(ex->port.ctx, OTA_SLOT_COPY, pos, buf, len);
}

/* Old content, as it was before the update. */
static int read_old(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_exec *ex = ctx;
    const struct ota_in_place *in = &ex->in_place;
    while (len > 0) {
        const struct ota_kept *from = NULL;
        size_t n = len;
        unsigned i;
        int st;
        for (i = 0; i < in->kept_count && from == NULL; i++) {
            const struct ota_kept *k = &in->kept[i];
            if (k->seq == in->seq)
                continue; /* of the unit that is still there */
            if (off >= k->off && off - k->off < k->len)
                from = k;
            else if (k->off > off && k->off - off < n)
                n = (size_t)(k->off - off);
        }
        if (from != NULL && from->len - (off - from->off) < len)
            n = (size_t)(from->len - (off - from->off));
        else if (from != NULL)
            n = len;
        st = from != NULL ? read_kept(ex, from, off, buf, n) : ota_flash_read_at(&ex->source_reader, off, buf, n);
        if (st != 0)
            return st;
        off += n;
        buf += n;
        len -= n;
    }
    return 0;
}

/* With views: a place in the ranges that the segment reads, one behind the other. */
static int read_joined(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    struct ota_exec *ex = ctx;
    const struct ota_in_place *in = &ex->in_place;
    uint64_t begin = 0;
    unsigned i;
    for (i = 0; len > 0 && i < in->read_count; begin = in->reads[i++].end) {
        const struct ota_read *r = &in->reads[i];
        size_t n;
        int st;
        if (off >= r->end)
            continue;
        n = r->end - off < len ? (size_t)(r->end - off) : len;
        if ((st = read_old(ex, r->off + (off - begin), buf, n)) != 0)
            return st;
        off += n;
        buf += n;
        len -= n;
    }
    return len == 0 ? 0 : ERR(INTERNAL);
}

struct ota_source ota_in_place_source(struct ota_exec *ex)
{
    const struct ota_in_place *in = &ex->in_place;
    struct ota_source source = {ex, read_old, ex->rec.source.size};
    if (ota_record_has_views(&ex->rec)) {
        source.read_at = read_joined;
        source.size = in->read_count > 0 ? in->reads[in->read_count - 1].end : 0;
    }
    return source;
}

int ota_in_place_drop(struct ota_exec *ex, uint32_t seq)
{
    struct ota_in_place *in = &ex->in_place;
    unsigned to = 0;
    unsigned i;
    int st = 0;
    for (i = 0; i < in->kept_count; i++) {
        const struct ota_kept *k = &in->kept[i];
        if (k->last_use > seq) {
            in->kept[to++] = *k;
            continue;
        }
        if (st == 0 && k->pos == 0) { /* the first range of a file stands for all of them */
            in->file_open = 0;
            (void)ex->port.close(ex->port.ctx, OTA_SLOT_COPY);
            st = ex->port.image_remove(ex->port.ctx, ota_in_place_file(&ex->rec, k->seq + 1));
        }
    }
    in->kept_count = to;
    return st;
}
