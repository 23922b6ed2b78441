/* xref_parts.c - engine xref in place: tables, then unit by unit of new in the order in which a board replaces them
 * (docs/SPEC.md section 6.4.1). */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "xref_host.h"

/* The encoder and, behind it, a decoder that does what a board does. */
struct maker {
    const struct ota_xref_options *options;
    struct ota_image images[2];
    struct ota_xref_plan plan; /* copies joined over units, for the map and the regions */
    struct ota_xref_span *cut; /* copies cut at units */
    uint32_t cut_count;
    uint32_t unit;
    struct ota_xref_machine *machine;
    void *board;
    struct ota_xref_coded coded;
    int fd;
    struct ota_xref_stats *stats;
};

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

int ota_diff_xref_pieces(const struct ota_sorter *sorter, const uint8_t *old_data, uint64_t old_size,
                         const uint8_t *new_data, uint64_t new_size, int fd, struct ota_xref_stats *stats)
{
    struct ota_image *images;
    struct ota_xref_plan plan = {0};
    int status = -OTA_E_RAM;

    memset(stats, 0, sizeof *stats);
    if (old_size > OTA_XREF_CONTENT_MAX || new_size > OTA_XREF_CONTENT_MAX)
        return -OTA_E_LIMIT;
    images = malloc(2 * sizeof *images);
    if (images != NULL) {
        ota_image_read(&images[0], old_data, (uint32_t)old_size);
        ota_image_read(&images[1], new_data, (uint32_t)new_size);
        status = ota_xref_find_copies(sorter, &plan, images);
    }
    for (uint32_t i = 0; status == 0 && i < plan.copy_count; i++) {
        const struct ota_xref_span *c = &plan.copies[i];
        const uint64_t numbers[3] = {c->new_pos, c->old_pos, c->len};

        status = ota_xref_write(fd, numbers, c->len > 0 ? sizeof numbers : 0, stats);
    }
    free(plan.copies);
    free(images);
    return status;
}

static int take_pieces(struct maker *m, const uint64_t *numbers, size_t pieces)
{
    uint64_t end = 0;

    m->cut = malloc((pieces + 1) * sizeof *m->cut);
    if (m->cut == NULL)
        return -OTA_E_RAM;
    for (size_t i = 0; i < pieces; i++) {
        struct ota_piece p = {numbers[3 * i], numbers[3 * i + 1], numbers[3 * i + 2]};
        int status;

        if (p.len == 0 || p.new_pos < end || p.new_pos > m->images[1].size || p.len > m->images[1].size - p.new_pos ||
            p.old_pos > m->images[0].size || p.len > m->images[0].size - p.old_pos ||
            p.new_pos / m->unit != (p.new_pos + p.len - 1) / m->unit)
            return -OTA_E_USAGE;
        end = p.new_pos + p.len;
        m->cut[m->cut_count].new_pos = (uint32_t)p.new_pos;
        m->cut[m->cut_count].old_pos = (uint32_t)p.old_pos;
        m->cut[m->cut_count++].len = (uint32_t)p.len;
        if ((status = ota_xref_take_piece(&m->plan, &p)) != 0)
            return status;
    }
    return 0;
}

/* The copies of a unit. */
static void tell_truth(struct maker *m, uint32_t start, uint32_t end)
{
    struct ota_xref_truth *t = &m->machine->truth;
    uint32_t low = 0, high = m->cut_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (m->cut[middle].new_pos < start)
            low = middle + 1;
        else
            high = middle;
    }
    t->copies = m->cut + low;
    t->copy_next = 0;
    for (t->copy_count = 0; low < m->cut_count && m->cut[low].new_pos < end; low++)
        t->copy_count++;
}

/* ---- the board --------------------------------------------------------------------------------------------------- */

/* Decode what was coded last; it makes `len` bytes of new from `start` on. OTA_DONE, OTA_WANT_INPUT or a failure. */
static int check(struct maker *m, const uint8_t *bytes, size_t n, uint32_t start, uint32_t len)
{
    struct ota_in in = {bytes, n, 0};
    uint8_t buf[4096];
    uint32_t done = 0;
    int status, right = 1;

    do {
        struct ota_out out = {buf, sizeof buf, 0};

        status = ota_engine_step(m->board, &in, &out);
        right = right && out.pos <= len - done && memcmp(buf, m->images[1].data + start + done, out.pos) == 0;
        done += (uint32_t)out.pos;
    } while (status == OTA_WANT_OUTPUT);
    if (!right || (status == OTA_DONE && done != len))
        return -OTA_E_INTERNAL;
    return status;
}

static int start_board(struct maker *m)
{
    struct ota_source source = {(void *)(uintptr_t)m->images[0].data, ota_xref_read_memory, m->images[0].size};
    size_t need = ota_xref_workspace(m->options->model_log, m->plan.span_count, m->plan.region_count);
    int status;

    m->stats->workspace = need;
    m->board = malloc(need);
    if (m->board == NULL)
        return -OTA_E_RAM;
    status = ota_engine_init(m->board, need, OTA_ENGINE_XREF, OTA_WINDOW, &source, m->images[1].size);
    if (status == 0)
        ota_engine_in_parts(m->board);
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static int make_tables(struct maker *m, uint64_t *written)
{
    uint8_t head[OTA_XREF_HEAD_MAX];
    size_t n;
    int status;

    m->machine->x.in_parts = 1;
    m->machine->x.end = 0;
    if ((status = ota_xref_machine_run(m->machine, &m->coded)) != 0 || (status = start_board(m)) != 0)
        return status;
    n = ota_xref_head(head, m->options->model_log, &m->machine->x.most, m->coded.len);
    *written = n + m->coded.len;
    if ((status = ota_xref_write(m->fd, head, n, m->stats)) != 0 ||
        (status = ota_xref_write(m->fd, m->coded.bytes, m->coded.len, m->stats)) != 0)
        return status;
    status = check(m, head, n, 0, 0); /* the tables follow, unless they take no byte */
    return status == OTA_WANT_INPUT ? check(m, m->coded.bytes, m->coded.len, 0, 0) : status;
}

static int make_unit(struct maker *m, uint32_t unit, uint64_t *written)
{
    uint32_t start = unit * m->unit, left = m->images[1].size - start;
    uint32_t len = left < m->unit ? left : m->unit;
    int status;

    m->coded.len = 0;
    ota_xref_begin_part(&m->machine->x, start, start + len);
    tell_truth(m, start, start + len);
    if ((status = ota_xref_machine_run(m->machine, &m->coded)) != 0 ||
        (status = ota_engine_begin_part(m->board, start, len, m->coded.len)) != 0 ||
        (status = check(m, m->coded.bytes, m->coded.len, start, len)) != OTA_DONE)
        return status < 0 ? status : -OTA_E_INTERNAL;
    *written = m->coded.len;
    return ota_xref_write(m->fd, m->coded.bytes, m->coded.len, m->stats);
}

static int make_all(struct maker *m, const uint64_t *numbers, size_t pieces, const uint32_t *units, size_t count,
                    uint64_t *written)
{
    int status = take_pieces(m, numbers, pieces);

    if (status == 0 && !m->images[0].is_elf)
        status = ota_image_guess_base(&m->images[0], &m->images[1], m->plan.copies, m->plan.copy_count);
    if (status == 0)
        status = ota_xref_find_regions(&m->plan, &m->images[0], &m->images[1]);
    if (status == 0)
        status = ota_xref_choose_spans(&m->plan, m->images, m->unit, m->options->spans_max);
    if (status == 0) {
        m->machine = ota_xref_machine_new(&m->plan, m->options->model_log, &m->images[0], &m->images[1]);
        status = m->machine != NULL ? make_tables(m, written) : -OTA_E_RAM;
    }
    for (size_t i = 0; status == 0 && i < count; i++)
        status = units[i] > (m->images[1].size - 1) / m->unit ? -OTA_E_USAGE : make_unit(m, units[i], &written[i + 1]);
    return status;
}

int ota_encode_xref_units(const struct ota_xref_options *options, const uint8_t *old_data, uint64_t old_size,
                          const uint8_t *new_data, uint64_t new_size, const uint64_t *numbers, size_t pieces,
                          uint32_t unit_size, const uint32_t *units, size_t count, uint64_t *written, int fd,
                          struct ota_xref_stats *stats)
{
    struct maker *m;
    int status = -OTA_E_RAM;

    memset(stats, 0, sizeof *stats);
    if (old_size > OTA_XREF_CONTENT_MAX || new_size > OTA_XREF_CONTENT_MAX)
        return -OTA_E_LIMIT;
    if (new_size == 0 || unit_size == 0 ||
        ota_xref_workspace(options->model_log, options->spans_max, options->regions_max) == 0)
        return -OTA_E_USAGE;
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return status;
    m->options = options;
    m->unit = unit_size;
    m->fd = fd;
    m->stats = stats;
    m->plan.region_limit = options->regions_max;
    m->plan.regions = malloc(options->regions_max * sizeof *m->plan.regions);
    if (m->plan.regions != NULL) {
        ota_image_read(&m->images[0], old_data, (uint32_t)old_size);
        ota_image_read(&m->images[1], new_data, (uint32_t)new_size);
        status = make_all(m, numbers, pieces, units, count, written);
    }
    ota_xref_machine_free(m->machine);
    free(m->board);
    free(m->cut);
    free(m->coded.bytes);
    free(m->plan.copies);
    free(m->plan.spans);
    free(m->plan.regions);
    free(m);
    return status;
}
