/* xref.c - engine xref: the header and the order of things, docs/SPEC.md section 6.3.
 *
 * One machine for both directions: with x->truth set (and an encoder attached to the range coder) it codes what the
 * truth says, without it decodes. */
#include "xref.h"

enum number {
    N_ADDRESS = 0,
    N_OFFSET,
    N_SIZE,
    N_REGION,
    N_LITERAL,
    N_SEEK,
    N_LENGTH,
    N_SPAN_GAP,
    N_SPAN_SEEK,
    N_SPAN_LENGTH,
    N_BASE,
    N_SECTION
};

#define FLAG_OP OTA_XREF_OTHER_SET
#define FLAG_RECENT (OTA_XREF_OTHER_SET + 1u)
#define FLAG_BLOCK (OTA_XREF_OTHER_SET + 2u)

#define BLOCK_LOG_MIN 5u
#define BLOCK_LOG_MAX 12u
#define PLAIN_LEFT 16u  /* bytes of a clean block that are made unit by unit */
#define BLOCK_AFTER 32u /* units in a row as predicted, after which blocks are tried */

size_t ota_xref_memory(unsigned log, uint32_t spans, uint32_t regions)
{
    if (log < OTA_XREF_LOG_MIN || log > OTA_XREF_LOG_MAX || spans > OTA_XREF_SPANS_MAX ||
        regions > OTA_XREF_REGIONS_MAX || regions == 0)
        return 0;
    return ota_xref_model_size(log) + (sizeof(struct ota_xref_cached) << (log - 6)) +
           (sizeof(struct ota_xref_span) + sizeof(uint32_t)) * spans + sizeof(struct ota_xref_region) * regions;
}

static void forget_targets(struct ota_xref *x)
{
    for (uint32_t i = 0; i <= x->cache_mask; i++) {
        x->cache[i].key = 0;
        x->cache[i].shift = INT32_MIN;
    }
    x->last_shift = 0;
}

void ota_xref_layout(struct ota_xref *x, void *tables)
{
    uint8_t *at = tables;
    uint32_t cached = 1u << (x->log - 6);

    ota_xref_model_init(&x->model, x->log, at);
    at += ota_xref_model_size(x->log);
    x->cache = (struct ota_xref_cached *)(void *)at;
    x->cache_mask = cached - 1;
    forget_targets(x);
    at += sizeof *x->cache * cached;
    x->map.spans = (struct ota_xref_span *)(void *)at;
    at += sizeof *x->map.spans * x->most.spans;
    x->map.by_old = (uint32_t *)(void *)at;
    at += sizeof *x->map.by_old * x->most.spans;
    x->regions = (struct ota_xref_region *)(void *)at;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static uint64_t number(struct ota_xref *x, enum number kind, uint32_t context, uint64_t value)
{
    return ota_xref_number(&x->model, (unsigned)kind, context, value);
}

static uint64_t number64(struct ota_xref *x, enum number kind, uint64_t value)
{
    uint64_t high = number(x, kind, 1, value >> 32);

    return high << 32 | (number(x, kind, 2, value & 0xffffffffu) & 0xffffffffu);
}

static uint32_t zigzag(uint32_t d)
{
    return d >> 31 ? ~(d << 1) : d << 1;
}

static uint32_t unzigzag(uint64_t v)
{
    uint32_t w = (uint32_t)v;

    return w & 1u ? ~(w >> 1) : w >> 1;
}

static int flag(struct ota_xref *x, uint32_t set, uint32_t context, uint32_t more, int bit)
{
    uint32_t c[2];

    c[0] = ota_xref_hash(0xc0000000u + set, context);
    c[1] = ota_xref_hash(c[0], more);
    return ota_xref_flag(&x->model, c, 2, set, bit);
}

/* The diagonal of a copy at new position `at`: one of the recent ones, or new. Returns its place in old. */
static uint32_t code_old(struct ota_xref *x, enum number kind, uint32_t at, uint32_t expected, uint32_t old_pos)
{
    uint32_t diagonal = old_pos - at, i = 0;

    for (; i < OTA_XREF_RECENT; i++)
        if (flag(x, FLAG_RECENT, i, kind, x->recent[i] == diagonal))
            break;
    if (i == OTA_XREF_RECENT) {
        old_pos = expected + unzigzag(number(x, kind, 0, zigzag(old_pos - expected)));
        i--;
    } else {
        old_pos = x->recent[i] + at;
    }
    diagonal = old_pos - at;
    for (; i > 0; i--)
        x->recent[i] = x->recent[i - 1];
    x->recent[0] = diagonal;
    return old_pos;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* What the section is, checked. */
static int code_section(struct ota_xref *x, struct ota_xref_section *s)
{
    uint64_t len, old_len;

    s->is_program = (uint32_t)number(x, N_SECTION, 0, s->is_program);
    len = number(x, N_SECTION, 1 + s->is_program, s->new_len - 1u) + 1;
    if (s->is_program > 1 || len > x->new_left)
        return -OTA_E_DELTA;
    s->new_len = (uint32_t)len;
    if (!s->is_program) {
        s->old_start = 0;
        s->old_len = x->old_all;
        s->segments = s->spans = 0;
        s->regions = 1;
        return 0;
    }
    s->old_start = x->old_after + unzigzag(number(x, N_SECTION, 3, zigzag(s->old_start - x->old_after)));
    old_len = s->new_len + unzigzag(number(x, N_SECTION, 4, zigzag(s->old_len - s->new_len)));
    s->segments = (uint32_t)number(x, N_SECTION, 5, s->segments);
    s->regions = (uint32_t)number(x, N_SECTION, 6, s->regions - 1u) + 1;
    s->spans = (uint32_t)number(x, N_SECTION, 7, s->spans);
    if (s->old_start > x->old_all || (uint32_t)old_len > x->old_all - s->old_start || s->segments > x->most.segments ||
        s->regions == 0 || s->regions > x->most.regions || s->spans > x->most.spans)
        return -OTA_E_DELTA;
    s->old_len = (uint32_t)old_len;
    return 0;
}

/* A segment of old, and that of new as its difference from it. */
static int code_segment(struct ota_xref *x, uint32_t i)
{
    struct ota_xref_segment *a = &x->map.old_segments[i], *b = &x->map.new_segments[i];
    uint64_t moved = b->addr >= a->addr ? (b->addr - a->addr) << 1 : ((a->addr - b->addr) << 1) - 1;

    a->addr = number64(x, N_ADDRESS, a->addr);
    a->off = (uint32_t)number(x, N_OFFSET, 0, a->off);
    a->file_size = (uint32_t)number(x, N_SIZE, 0, a->file_size);
    a->mem_size = a->file_size + (uint32_t)number(x, N_SIZE, 1, a->mem_size - a->file_size);
    moved = number64(x, N_ADDRESS, moved);
    b->addr = moved & 1u ? a->addr - (moved >> 1) - 1 : a->addr + (moved >> 1);
    b->off = a->off + unzigzag(number(x, N_OFFSET, 1, zigzag(b->off - a->off)));
    b->file_size = a->file_size + unzigzag(number(x, N_SIZE, 2, zigzag(b->file_size - a->file_size)));
    b->mem_size = b->file_size;
    return a->mem_size < a->file_size ? -OTA_E_DELTA : 0;
}

static int code_region(struct ota_xref *x, uint32_t i)
{
    struct ota_xref_region *r = &x->regions[i];
    uint32_t from = i > 0 ? x->regions[i - 1].start : 0;
    uint64_t start = from + number(x, N_REGION, 0, r->start - from);
    uint32_t kind = (uint32_t)number(x, N_REGION, 1 + (i > 0 ? x->regions[i - 1].kind : 0), r->kind);

    if (start > UINT32_MAX || (i == 0 ? start != 0 : start <= from) || kind >= OTA_XREF_KINDS)
        return -OTA_E_DELTA;
    r->start = (uint32_t)start;
    r->kind = kind;
    r->base = kind == OTA_XREF_BASE32 ? (uint32_t)number(x, N_BASE, 0, r->base) : 0;
    return 0;
}

static int code_span(struct ota_xref *x, uint32_t i)
{
    struct ota_xref_span *s = &x->map.spans[i];
    uint32_t made = i > 0 ? s[-1].new_pos + s[-1].len : 0, expected = i > 0 ? s[-1].old_pos + s[-1].len : 0;
    uint64_t gap = number(x, N_SPAN_GAP, 0, s->new_pos - made), len;

    if (gap > x->new_size - made)
        return -OTA_E_DELTA;
    s->new_pos = made + (uint32_t)gap;
    s->old_pos = code_old(x, N_SPAN_SEEK, s->new_pos, expected, s->old_pos);
    len = number(x, N_SPAN_LENGTH, 0, s->len - 1u) + 1;
    if (s->old_pos > x->old_size || len > x->old_size - s->old_pos || len > x->new_size - s->new_pos)
        return -OTA_E_DELTA;
    s->len = (uint32_t)len;
    return 0;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

/* What the map has next for what is made now; of no length at the end if it has nothing. */
static struct ota_xref_span next_span(const struct ota_xref *x)
{
    struct ota_xref_span s = {x->end, 0, 0};
    uint32_t before;

    if (x->span_next == x->map.count || x->map.spans[x->span_next].new_pos >= x->end)
        return s;
    s = x->map.spans[x->span_next];
    before = s.new_pos < x->new_pos ? x->new_pos - s.new_pos : 0; /* it begins in the part before */
    s.new_pos += before;
    s.old_pos += before;
    s.len -= before;
    if (s.len > x->end - s.new_pos)
        s.len = x->end - s.new_pos;
    return s;
}

/* What comes next: literals, then a copy; both lengths may be 0, not both. */
static int code_op(struct ota_xref *x)
{
    struct ota_xref_truth *t = x->truth;
    struct ota_xref_span copy = {x->end, 0, 0}, span = next_span(x);
    uint32_t room = span.new_pos - x->new_pos;
    uint64_t literals, len;
    int from_map;

    if (t != NULL && t->copy_next < t->copy_count)
        copy = t->copies[t->copy_next++];
    from_map = copy.new_pos == span.new_pos;
    from_map = room == 0 || flag(x, FLAG_OP, x->flag_history & 3u, room < 64 ? room / 4 : 16, from_map);
    if (from_map) {
        x->literal_left = room;
        x->then_len = span.len;
        x->then_old = span.old_pos;
        x->span_next++;
        return 0;
    }
    literals = number(x, N_LITERAL, 0, copy.new_pos - x->new_pos);
    if (literals >= room)
        return -OTA_E_DELTA;
    room -= (uint32_t)literals;
    x->literal_left = (uint32_t)literals;
    x->then_old = code_old(x, N_SEEK, x->new_pos + x->literal_left, x->old_pos, copy.old_pos);
    len = number(x, N_LENGTH, 0, copy.len - 1u) + 1;
    if (len > room || x->then_old > x->old_size || len > x->old_size - x->then_old)
        return -OTA_E_DELTA;
    x->then_len = (uint32_t)len;
    return 0;
}

static void begin_copy(struct ota_xref *x)
{
    x->copy_left = x->then_len;
    x->old_pos = x->then_old;
    x->clean_left = 0;
    x->hits = 0;
    x->map.here.new_pos = x->new_pos;
    x->map.here.old_pos = x->old_pos;
    x->map.here.len = x->copy_left;
}

/* Does the truth agree with what is predicted for the next `len` bytes? The state is as before afterwards. */
static int check_clean(struct ota_xref *x, uint32_t len)
{
    struct ota_xref_refs refs = x->refs;
    uint32_t old_pos = x->old_pos, new_pos = x->new_pos, done = 0;
    int clean = 1;

    while (clean && done < len) {
        struct ota_xref_unit u;

        if (ota_xref_predict(x, &u, x->copy_left - done) != 0)
            clean = 0;
        else if (memcmp(u.pred, x->truth->new_data + x->new_pos, u.len) != 0)
            clean = 0;
        else
            ota_xref_observe(x, &u, u.pred);
        x->old_pos += u.len;
        x->new_pos += u.len;
        done += u.len;
    }
    x->refs = refs;
    x->old_pos = old_pos;
    x->new_pos = new_pos;
    return clean;
}

static void try_block(struct ota_xref *x)
{
    uint32_t len = 1u << x->block_log, kind;
    int dirty;

    if (len > x->copy_left)
        len = x->copy_left;
    x->model.rc.part = OTA_XREF_PART_BLOCKS;
    dirty = x->truth != NULL && !check_clean(x, len);
    ota_xref_find_region(x);
    kind = x->regions[x->region].kind;
    dirty = flag(x, FLAG_BLOCK, x->block_log | (x->block_history & 7u) << 4 | kind << 8, len < x->copy_left, dirty);
    x->block_history = x->block_history << 1 | (uint32_t)dirty;
    if (dirty) {
        x->hits = x->block_log > BLOCK_LOG_MIN ? BLOCK_AFTER / 2 : 0;
        x->block_log = x->block_log > BLOCK_LOG_MIN + 1 ? x->block_log - 2 : BLOCK_LOG_MIN;
        return;
    }
    x->clean_left = len;
    if (x->block_log < BLOCK_LOG_MAX)
        x->block_log++;
}

static void made(struct ota_xref *x, uint32_t len)
{
    x->out_len += len;
    x->old_pos += len;
    x->new_pos += len;
    x->copy_left -= len;
}

/* Clean units that refer to nothing, many at a time. The last ones of a block are left to the usual way, which then
 * leaves the state as if it had made all of them. Returns whether there were any. */
static int copy_plain(struct ota_xref *x)
{
    uint32_t n = x->clean_left < x->copy_left ? x->clean_left : x->copy_left, done = 0, kind;
    const uint8_t *at = NULL;

    ota_xref_find_region(x);
    kind = x->regions[x->region].kind;
    if (n > x->region_end - x->old_pos)
        n = x->region_end - x->old_pos;
    if (n < PLAIN_LEFT + 4 || (x->old_pos & (kind == OTA_XREF_THUMB ? 1u : 3u)) != 0)
        return 0;
    n -= PLAIN_LEFT;
    if (n > sizeof x->out - x->out_len)
        n = (uint32_t)sizeof x->out - x->out_len;
    n = (uint32_t)ota_window_peek(&x->window, (uint64_t)x->section.old_start + x->old_pos, n, &at);
    if (kind == OTA_XREF_RAW) {
        done = n & ~3u;
    } else {
        while (n - done >= 4) {
            uint32_t len = 4;

            if (ota_xref_may_refer(x, kind, x->old_pos + done, at + done, &len))
                break;
            done += len;
        }
    }
    if (done == 0)
        return 0;
    memcpy(x->out + x->out_len, at, done);
    x->clean_left -= done;
    made(x, done);
    return 1;
}

static int copy_unit(struct ota_xref *x)
{
    struct ota_xref_unit u;
    const uint8_t *truth = x->truth != NULL ? x->truth->new_data + x->new_pos : NULL;
    uint8_t *out = x->out + x->out_len;
    int status, hit = 1;

    status = ota_xref_predict(x, &u, x->copy_left);
    if (status < 0)
        return status;
    memcpy(out, u.pred, OTA_XREF_UNIT_MAX);
    if (x->clean_left > 0) {
        x->clean_left -= u.len < x->clean_left ? u.len : x->clean_left;
    } else {
        if (truth != NULL)
            hit = memcmp(truth, u.pred, u.len) == 0;
        hit = ota_xref_code_hit(x, &u, hit);
        if (!hit) {
            if (truth != NULL)
                memcpy(out, truth, u.len);
            ota_xref_code_wrong(x, &u, out);
        }
    }
    if (u.form != OTA_XREF_NONE)
        ota_xref_observe(x, &u, out);
    ota_xref_made(x, out, u.len);
    made(x, u.len);
    return 0;
}

/* Whether there are room and coded bytes for another unit. */
static int goes_on(const struct ota_xref *x)
{
    const struct ota_rangecoder *rc = &x->model.rc;

    return sizeof x->out - x->out_len >= OTA_XREF_UNIT_MAX &&
           (x->coded_left == 0 || rc->fill - rc->pos >= OTA_XREF_STEP_INPUT);
}

static int step_copy(struct ota_xref *x)
{
    int status = 0;

    do {
        if (x->clean_left == 0 && x->hits >= BLOCK_AFTER)
            try_block(x);
        if (x->clean_left == 0 || !copy_plain(x))
            status = copy_unit(x);
    } while (status == 0 && x->copy_left > 0 && goes_on(x));
    return status;
}

static void step_literal(struct ota_xref *x)
{
    do {
        uint32_t len = 4 - x->new_pos % 4;
        uint8_t *out = x->out + x->out_len;

        if (x->kind == OTA_XREF_THUMB && len > 2)
            len -= 2;
        if (len > x->literal_left)
            len = x->literal_left;
        if (x->truth != NULL)
            memcpy(out, x->truth->new_data + x->new_pos, len);
        ota_xref_code_literal(x, len, out);
        ota_xref_made(x, out, len);
        x->out_len += len;
        x->new_pos += len;
        x->literal_left -= len;
    } while (x->literal_left > 0 && goes_on(x));
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

static void begin_spans(struct ota_xref *x)
{
    x->index = 0;
    x->state = OTA_XREF_SPANS;
    memset(x->recent, 0, sizeof x->recent);
}

static void begin_ops(struct ota_xref *x)
{
    ota_xref_map_sort(&x->map);
    memset(x->recent, 0, sizeof x->recent);
    x->block_log = BLOCK_LOG_MIN + 2;
    x->state = OTA_XREF_OP;
}

void ota_xref_begin_part(struct ota_xref *x, uint32_t start, uint32_t end)
{
    ota_xref_layout(x, x->model.flags);
    x->new_pos = start;
    x->end = end;
    x->old_pos = 0;
    x->span_next = 0;
    while (x->span_next < x->map.count && x->map.spans[x->span_next].new_pos + x->map.spans[x->span_next].len <= start)
        x->span_next++;
    x->literal_left = x->copy_left = x->clean_left = 0;
    x->region = x->region_start = x->region_end = x->kind = 0;
    x->flag_history = x->hits = x->block_history = 0;
    x->block_log = BLOCK_LOG_MIN + 2;
    x->tail = 0;
    x->out_at = x->out_len = 0;
    x->window.len = 0;
    memset(x->recent, 0, sizeof x->recent);
    memset(x->form_history, 0, sizeof x->form_history);
    memset(x->last_new, 0, sizeof x->last_new);
    memset(x->last_change, 0, sizeof x->last_change);
    memset(&x->refs, 0, sizeof x->refs);
    memset(&x->map.here, 0, sizeof x->map.here);
    x->state = OTA_XREF_OP;
}

/* The next section begins, without what positions and addresses of the one before have taught. */
static int begin_section(struct ota_xref *x)
{
    struct ota_xref_section *s = &x->section;
    int status;

    if (x->truth != NULL)
        *s = x->truth->section;
    x->model.rc.part = OTA_XREF_PART_TABLES;
    status = code_section(x, s);
    if (status != 0)
        return status;
    x->new_left -= s->new_len;
    x->new_size = x->end = s->new_len;
    x->old_size = s->old_len;
    x->map.segment_count = s->segments;
    x->map.count = s->spans;
    x->region_count = s->regions;
    x->new_pos = 0;
    x->old_pos = s->is_program ? 0 : x->old_after;
    x->region = x->region_start = x->region_end = 0;
    x->index = x->span_next = 0;
    memset(&x->refs, 0, sizeof x->refs);
    forget_targets(x);
    if (s->is_program) {
        x->state = OTA_XREF_SEGMENTS;
        return 0;
    }
    memset(&x->regions[0], 0, sizeof x->regions[0]);
    begin_ops(x);
    x->recent[0] = x->old_pos;
    return 0;
}

static void end_section(struct ota_xref *x)
{
    x->old_after = x->section.is_program ? x->section.old_start + x->section.old_len : x->old_pos;
    x->state = x->new_left > 0 ? OTA_XREF_SECTION : OTA_XREF_END;
}

void ota_xref_begin(struct ota_xref *x)
{
    x->state = OTA_XREF_SEGMENTS;
    if (!x->sectioned)
        return;
    x->new_left = x->new_size;
    x->state = x->new_left > 0 ? OTA_XREF_SECTION : OTA_XREF_END;
}

int ota_xref_advance(struct ota_xref *x)
{
    int status = 0;

    x->out_at = 0;
    x->out_len = 0;
    switch (x->state) {
    case OTA_XREF_SECTION:
        status = begin_section(x);
        break;
    case OTA_XREF_SEGMENTS:
        x->model.rc.part = OTA_XREF_PART_TABLES;
        if (x->index < x->map.segment_count) {
            status = code_segment(x, x->index++);
        } else {
            x->index = 0;
            x->state = OTA_XREF_REGIONS;
        }
        break;
    case OTA_XREF_REGIONS:
        status = code_region(x, x->index);
        if (++x->index == x->region_count)
            begin_spans(x);
        break;
    case OTA_XREF_SPANS:
        x->model.rc.part = OTA_XREF_PART_SPANS;
        if (x->index == x->map.count)
            begin_ops(x);
        else
            status = code_span(x, x->index++);
        break;
    case OTA_XREF_OP:
        if (x->new_pos == x->end) {
            end_section(x);
            break;
        }
        x->model.rc.part = OTA_XREF_PART_TRIPLES;
        status = code_op(x);
        x->state = OTA_XREF_LITERAL;
        break;
    case OTA_XREF_LITERAL:
        if (x->literal_left > 0) {
            step_literal(x);
        } else {
            begin_copy(x);
            x->state = OTA_XREF_COPY;
        }
        break;
    case OTA_XREF_COPY:
        if (x->copy_left > 0)
            status = step_copy(x);
        else
            x->state = OTA_XREF_OP;
        break;
    default:
        status = -OTA_E_INTERNAL;
        break;
    }
    return status;
}
