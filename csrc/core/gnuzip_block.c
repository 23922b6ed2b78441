/* gnuzip_block.c - blocks of deflate: stored, with the fixed codes, or with codes of their own. */
#include "gnuzip.h"

#include <string.h>

static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
const uint8_t ota_gnuzip_dist_extra[GNUZIP_DIST_CODES] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                                          6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
static const uint8_t run_extra[GNUZIP_LENGTH_CODES] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7};
/* RFC 1951 section 3.2.7: the order in which the lengths of the code of code lengths are sent. */
static const uint8_t order[GNUZIP_LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

enum { STORED = 0, FIXED = 1, CODED = 2 };

void ota_gnuzip_tables(struct ota_gnuzip *z)
{
    unsigned at = 0;

    for (unsigned symbol = 0; symbol < 28; symbol++)
        for (unsigned n = 0; n < 1u << length_extra[symbol]; n++)
            z->length_symbol[at++] = (uint8_t)symbol;
    z->length_symbol[255] = 28; /* the longest has a symbol of its own */
    at = 0;
    for (unsigned symbol = 0; symbol < 16; symbol++)
        for (unsigned n = 0; n < 1u << ota_gnuzip_dist_extra[symbol]; n++)
            z->dist_symbol[at++] = (uint8_t)symbol;
    z->dist_symbol[256] = z->dist_symbol[257] = 0;
    at = 258;
    for (unsigned symbol = 16; symbol < GNUZIP_DIST_CODES; symbol++)
        for (unsigned n = 0; n < 1u << (ota_gnuzip_dist_extra[symbol] - 7); n++)
            z->dist_symbol[at++] = (uint8_t)symbol;
}

void ota_gnuzip_new_block(struct ota_gnuzip *z)
{
    memset(z->lit_freq, 0, sizeof z->lit_freq);
    memset(z->dist_freq, 0, sizeof z->dist_freq);
    memset(z->length_freq, 0, sizeof z->length_freq);
    z->lit_freq[GNUZIP_END] = 1;
    z->symbols = z->matches = 0;
    z->coded_bits = z->fixed_bits = 0;
}

/* ---- the codes of a block ---------------------------------------------------------------------------------------- */

static unsigned fixed_literal(unsigned symbol)
{
    return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

static unsigned fixed_dist(unsigned symbol)
{
    (void)symbol;
    return 5;
}

static void add_run(struct ota_gnuzip *z, unsigned symbol, unsigned extra)
{
    struct gnuzip_run *run = &z->runs[z->run_count++];

    run->symbol = (uint8_t)symbol;
    run->extra = (uint8_t)extra;
    z->length_freq[symbol]++;
}

/* count code lengths of this value; again: it is also that of the run before */
static void add_lengths(struct ota_gnuzip *z, unsigned len, unsigned count, int again)
{
    unsigned least = len == 0 || again ? 3 : 4;

    if (count < least) {
        while (count-- > 0)
            add_run(z, len, 0);
    } else if (len != 0) {
        if (!again) {
            add_run(z, len, 0);
            count--;
        }
        add_run(z, 16, count - 3);
    } else if (count <= 10) {
        add_run(z, 17, count - 3);
    } else {
        add_run(z, 18, count - 11);
    }
}

/* The lengths of one code as runs; those of the two codes are kept apart. */
static void add_code(struct ota_gnuzip *z, const struct gnuzip_code *c)
{
    unsigned last = 16; /* no length */
    unsigned count;

    for (unsigned n = 0; n < c->used; n += count) {
        unsigned len = c->len[n];
        unsigned most = len == 0 ? 138 : len == last ? 6 : 7;

        for (count = 1; count < most && n + count < c->used && c->len[n + count] == len;)
            count++;
        add_lengths(z, len, count, len == last);
        last = len;
    }
}

static void make_codes(struct ota_gnuzip *z, struct gnuzip_code *lit, struct gnuzip_code *dist)
{
    struct gnuzip_code lengths = {
        z->length_freq, z->length_len, z->length_code, GNUZIP_LENGTH_CODES, 7, run_extra, 0, 0};

    ota_gnuzip_build(z, lit, fixed_literal);
    ota_gnuzip_build(z, dist, fixed_dist);
    z->run_count = 0;
    add_code(z, lit);
    add_code(z, dist);
    ota_gnuzip_build(z, &lengths, NULL);
    z->order_count = GNUZIP_LENGTH_CODES;
    while (z->order_count > 4 && z->length_len[order[z->order_count - 1]] == 0)
        z->order_count--;
    z->coded_bits += 3 * z->order_count + 14;
}

static void take_fixed_codes(struct ota_gnuzip *z)
{
    for (unsigned n = 0; n < GNUZIP_FIXED_CODES; n++)
        z->lit_len[n] = (uint8_t)fixed_literal(n);
    ota_gnuzip_assign(z->lit_code, z->lit_len, GNUZIP_FIXED_CODES);
    memset(z->dist_len, 5, GNUZIP_DIST_CODES);
    ota_gnuzip_assign(z->dist_code, z->dist_len, GNUZIP_DIST_CODES);
}

/* ---- bits -------------------------------------------------------------------------------------------------------- */

/* Bits that are sent once put_bytes has made room: up to 56 at a time. */
static void put(struct ota_gnuzip *z, uint64_t value, unsigned count)
{
    z->bits |= value << z->bit_count;
    z->bit_count += count;
}

/* Whole bytes; 0 when out is full before all of them are out. */
static int put_bytes(struct ota_gnuzip *z, struct ota_out *out)
{
    while (z->bit_count >= 8) {
        if (out->pos == out->size)
            return 0;
        out->dst[out->pos++] = (uint8_t)z->bits;
        z->bits >>= 8;
        z->bit_count -= 8;
    }
    return 1;
}

static void put_symbol(struct ota_gnuzip *z, uint32_t number)
{
    unsigned lit = z->literal[number];
    unsigned dist = z->dist[number];
    unsigned symbol;
    unsigned extra;

    if (dist == 0) {
        put(z, z->lit_code[lit], z->lit_len[lit]);
        return;
    }
    symbol = z->length_symbol[lit];
    extra = length_extra[symbol];
    put(z, z->lit_code[GNUZIP_END + 1 + symbol], z->lit_len[GNUZIP_END + 1 + symbol]);
    if (extra > 0) /* the length without that with which its symbol begins: a multiple of 2^extra, from 3 + 8 on */
        put(z, lit & ((1u << extra) - 1u), extra);
    symbol = gnuzip_dist_symbol(z, --dist);
    extra = ota_gnuzip_dist_extra[symbol];
    put(z, z->dist_code[symbol], z->dist_len[symbol]);
    if (extra > 0)
        put(z, dist & ((1u << extra) - 1u), extra);
}

/* ---- a block ----------------------------------------------------------------------------------------------------- */

void ota_gnuzip_end_block(struct ota_gnuzip *z, int last)
{
    struct gnuzip_code lit = {z->lit_freq, z->lit_len,   z->lit_code,    GNUZIP_LIT_CODES,
                              15,          length_extra, GNUZIP_END + 1, 0};
    struct gnuzip_code dist = {
        z->dist_freq, z->dist_len, z->dist_code, GNUZIP_DIST_CODES, 15, ota_gnuzip_dist_extra, 0, 0};
    uint32_t stored = (uint32_t)((int32_t)z->block_end - z->block_at);
    uint32_t coded;
    uint32_t fixed;

    make_codes(z, &lit, &dist);
    coded = (z->coded_bits + 10) / 8;
    fixed = (z->fixed_bits + 10) / 8;
    z->last_block = last;
    z->next = 0;
    if (z->block_at >= 0 && stored + 4 <= (fixed < coded ? fixed : coded)) {
        put(z, (unsigned)last | STORED << 1, 3);
        put(z, 0, (8 - z->bit_count % 8) % 8);
        z->emit = GNUZIP_STORED_HEAD;
    } else if (fixed <= coded) {
        put(z, (unsigned)last | FIXED << 1, 3);
        take_fixed_codes(z);
        z->emit = GNUZIP_DATA;
    } else {
        put(z, (unsigned)last | CODED << 1, 3);
        put(z, lit.used - 257, 5);
        put(z, dist.used - 1, 5);
        put(z, z->order_count - 4, 4);
        z->emit = GNUZIP_ORDER;
    }
}

/* The next item of what is sent; there is room for it. */
static void emit_next(struct ota_gnuzip *z)
{
    switch (z->emit) {
    case GNUZIP_STORED_HEAD: {
        uint32_t len = (uint32_t)((int32_t)z->block_end - z->block_at);

        put(z, len | (uint64_t)(~len & 0xffffu) << 16, 32);
        z->emit = GNUZIP_STORED;
        break;
    }
    case GNUZIP_ORDER:
        put(z, z->length_len[order[z->next]], 3);
        if (++z->next == z->order_count) {
            z->next = 0;
            z->emit = GNUZIP_LENGTHS;
        }
        break;
    case GNUZIP_LENGTHS: {
        const struct gnuzip_run *run = &z->runs[z->next];

        put(z, z->length_code[run->symbol], z->length_len[run->symbol]);
        put(z, run->extra, run_extra[run->symbol]);
        if (++z->next == z->run_count) {
            z->next = 0;
            z->emit = GNUZIP_DATA;
        }
        break;
    }
    default: /* GNUZIP_DATA */
        if (z->next < z->symbols) {
            put_symbol(z, z->next++);
        } else {
            put(z, z->lit_code[GNUZIP_END], z->lit_len[GNUZIP_END]);
            z->emit = GNUZIP_FLUSH;
        }
    }
}

/* Bytes of the window as they are. */
static int emit_stored(struct ota_gnuzip *z, struct ota_out *out)
{
    uint32_t from = (uint32_t)z->block_at + z->next;
    size_t n = z->block_end - from;

    if (n > out->size - out->pos)
        n = out->size - out->pos;
    if (n > 0)
        memcpy(out->dst + out->pos, z->window + from, n);
    out->pos += n;
    z->next += (uint32_t)n;
    return from + n == z->block_end;
}

int ota_gnuzip_emit(struct ota_gnuzip *z, struct ota_out *out)
{
    while (z->emit != GNUZIP_IDLE) {
        if (!put_bytes(z, out))
            return OTA_WANT_OUTPUT;
        if (z->emit == GNUZIP_STORED) {
            if (!emit_stored(z, out))
                return OTA_WANT_OUTPUT;
            z->emit = GNUZIP_FLUSH;
        } else if (z->emit != GNUZIP_FLUSH) {
            emit_next(z);
        } else if (z->last_block && z->bit_count > 0) {
            z->bit_count = 8; /* the last byte is filled up with zeros */
        } else {
            z->emit = GNUZIP_IDLE;
        }
    }
    return OTA_DONE;
}
