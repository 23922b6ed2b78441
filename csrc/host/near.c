/* near.c - which pieces stay where going to and fro in old costs time.
 *
 * A board decodes a long part of old forward; what lies before is decoded again from a restart point (view_point.c). So
 * in such a part a run of pieces, each near to where the one before ended, has to be worth going there: the longer the
 * part, the longer the run. What does not stay becomes literals.
 *
 * The constants were chosen by how often a kernel and an initramfs of 20 MB are decoded with two restart points: 1.1
 * times for engine xref, 1.0 times for bsdiff. All of its pieces make that 39 and 2.0 times for xref, and for bsdiff
 * more than 50. It costs no bytes with xref, 0.5 % with bsdiff. */
#include "host.h"

#define FAR 16384u
#define RUN_SHIFT 12 /* a run has this fraction of the part that it begins in, or OTA_NEAR_RUN */

static uint64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* Length of the stretch that a position is in; 0: it is in none. */
static uint64_t slow_len(const struct ota_near *n, uint64_t pos)
{
    size_t low = 0, high = n->slow_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (n->slow[2 * middle] + n->slow[2 * middle + 1] <= pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n->slow_count && n->slow[2 * low] <= pos ? n->slow[2 * low + 1] : 0;
}

static int pass(const struct ota_near *n, const struct ota_piece *piece)
{
    return n->sink.piece(n->sink.ctx, piece);
}

/* The run has become long enough: all of it stays. */
static int keep_run(struct ota_near *n)
{
    int status = 0;

    for (uint32_t i = 0; i < n->held_count && status == 0; i++)
        status = pass(n, &n->held[i]);
    n->held_count = 0;
    n->at = n->run_end;
    return status;
}

int ota_near_piece(void *ctx, const struct ota_piece *piece)
{
    struct ota_near *n = ctx;
    uint64_t pos = n->base + piece->old_pos, end = pos + piece->len, slow = slow_len(n, pos);

    if (piece->len == 0)
        return 0;
    if (slow == 0) {
        n->held_count = 0;
        return pass(n, piece);
    }
    if (apart(pos, n->at) <= FAR) {
        n->held_count = 0;
        n->at = end;
        return pass(n, piece);
    }
    if (n->held_count > 0 && apart(pos, n->run_end) > FAR)
        n->held_count = 0;
    if (n->held_count == 0) {
        n->run_len = 0;
        n->run_least = slow >> RUN_SHIFT < OTA_NEAR_RUN ? slow >> RUN_SHIFT : OTA_NEAR_RUN;
    }
    n->held[n->held_count++] = *piece;
    n->run_len += piece->len;
    n->run_end = end;
    return n->run_len >= n->run_least ? keep_run(n) : 0;
}
