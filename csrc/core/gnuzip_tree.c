/* gnuzip_tree.c - Huffman codes of bounded length.
 *
 * Huffman's algorithm on a binary heap. Symbols of equal count are ordered by the height of what hangs beneath them,
 * and then by where the heap happens to have them; so the steps of the heap are part of what is promised. Codes that
 * became too long are shortened as D. A. Huffman's successors do: one leaf moves down where there is room.
 */
#include "gnuzip.h"

#include <string.h>

static int comes_first(const struct ota_gnuzip *z, const uint16_t *freq, unsigned a, unsigned b)
{
    return freq[a] < freq[b] || (freq[a] == freq[b] && z->height[a] <= z->height[b]);
}

/* Let the entry at place sink until both below it come later. */
static void sink(struct ota_gnuzip *z, const uint16_t *freq, uint32_t place)
{
    uint16_t item = z->heap[place];
    uint32_t below;

    for (below = 2 * place; below <= z->heap_len; below = 2 * place) {
        if (below < z->heap_len && comes_first(z, freq, z->heap[below + 1], z->heap[below]))
            below++;
        if (comes_first(z, freq, item, z->heap[below]))
            break;
        z->heap[place] = z->heap[below];
        place = below;
    }
    z->heap[place] = item;
}

/* The symbols that are used, at least two of them. */
static void gather(struct ota_gnuzip *z, struct gnuzip_code *c, unsigned (*fixed)(unsigned symbol))
{
    z->heap_len = 0;
    z->heap_max = GNUZIP_NODES;
    c->used = 0;
    for (unsigned n = 0; n < c->count; n++) {
        c->len[n] = 0;
        if (c->freq[n] != 0) {
            z->heap[++z->heap_len] = (uint16_t)n;
            z->height[n] = 0;
            c->used = n + 1;
        }
    }
    while (z->heap_len < 2) {
        unsigned n = c->used < 3 ? c->used++ : 0; /* a code needs two; those that are added cost nothing */

        z->heap[++z->heap_len] = (uint16_t)n;
        c->freq[n] = 1;
        z->height[n] = 0;
        z->coded_bits--;
        if (fixed != NULL)
            z->fixed_bits -= fixed(n);
    }
}

/* Join the two that come first, until there is one. Behind heap_max stands every node, each above what hangs on it. */
static void join(struct ota_gnuzip *z, struct gnuzip_code *c)
{
    unsigned node = c->count;

    for (uint32_t place = z->heap_len / 2; place > 0; place--)
        sink(z, c->freq, place);
    while (z->heap_len >= 2) {
        unsigned a = z->heap[1];
        unsigned b;

        z->heap[1] = z->heap[z->heap_len--];
        sink(z, c->freq, 1);
        b = z->heap[1];
        z->heap[--z->heap_max] = (uint16_t)a;
        z->heap[--z->heap_max] = (uint16_t)b;
        c->freq[node] = (uint16_t)(c->freq[a] + c->freq[b]);
        z->height[node] = (uint8_t)((z->height[a] > z->height[b] ? z->height[a] : z->height[b]) + 1);
        z->parent[a] = z->parent[b] = (uint16_t)node;
        z->heap[1] = (uint16_t)node++;
        sink(z, c->freq, 1);
    }
    z->heap[--z->heap_max] = z->heap[1];
}

static void measure(struct ota_gnuzip *z, struct gnuzip_code *c, unsigned (*fixed)(unsigned symbol))
{
    uint16_t of_length[16] = {0};
    unsigned too_long = 0;

    c->len[z->heap[z->heap_max]] = 0; /* the root */
    for (uint32_t place = z->heap_max + 1; place < GNUZIP_NODES; place++) {
        unsigned n = z->heap[place];
        unsigned bits = c->len[z->parent[n]] + 1u;
        unsigned extra;

        if (bits > c->longest) {
            bits = c->longest;
            too_long++;
        }
        c->len[n] = (uint8_t)bits;
        if (n >= c->count)
            continue;
        of_length[bits]++;
        extra = c->extra != NULL && n >= c->base ? c->extra[n - c->base] : 0;
        z->coded_bits += c->freq[n] * (bits + extra);
        if (fixed != NULL)
            z->fixed_bits += c->freq[n] * (fixed(n) + extra);
    }
    if (too_long == 0)
        return;
    for (int left = (int)too_long; left > 0; left -= 2) {
        unsigned bits = c->longest - 1;

        while (of_length[bits] == 0)
            bits--;
        of_length[bits]--; /* this leaf becomes an inner node, with one of those that were too long beside it */
        of_length[bits + 1] = (uint16_t)(of_length[bits + 1] + 2);
        of_length[c->longest]--;
    }
    /* The rarest symbols get the longest codes, in the order in which they were joined. */
    for (unsigned bits = c->longest, place = GNUZIP_NODES; bits > 0; bits--)
        for (unsigned left = of_length[bits]; left > 0;) {
            unsigned n = z->heap[--place];

            if (n >= c->count)
                continue;
            z->coded_bits += (bits - c->len[n]) * c->freq[n];
            c->len[n] = (uint8_t)bits;
            left--;
        }
}

void ota_gnuzip_assign(uint16_t *code, const uint8_t *len, unsigned count)
{
    uint16_t of_length[16] = {0};
    uint16_t next[16];
    unsigned value = 0;

    for (unsigned n = 0; n < count; n++)
        of_length[len[n]]++;
    of_length[0] = 0;
    for (unsigned bits = 1; bits < 16; bits++) {
        value = (value + of_length[bits - 1]) << 1;
        next[bits] = (uint16_t)value;
    }
    for (unsigned n = 0; n < count; n++) {
        unsigned turned = 0;

        if (len[n] == 0)
            continue;
        value = next[len[n]]++;
        for (unsigned bit = 0; bit < len[n]; bit++)
            turned |= (value >> bit & 1u) << (len[n] - 1u - bit);
        code[n] = (uint16_t)turned;
    }
}

void ota_gnuzip_build(struct ota_gnuzip *z, struct gnuzip_code *c, unsigned (*fixed)(unsigned symbol))
{
    gather(z, c, fixed);
    join(z, c);
    measure(z, c, fixed);
    ota_gnuzip_assign(c->code, c->len, c->used);
}
