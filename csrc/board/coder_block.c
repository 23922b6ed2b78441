/* coder_block.c - parts that are a block without a frame: gathered whole, compressed or decompressed in one call.
 *
 * Parameters: bits 0..3 level, 4..8 log2 of the longest part, 9 optimized (where the coding has that).
 */
#include "coder.h"

#include <string.h>

struct block_coder {
    struct board_memory memory;
    const struct coder_block *block;
    void *tables;
    int encode;
    int level;
    size_t raw; /* bytes that the part has decompressed */
    struct coder_whole whole;
};

/* 0 when the parameters are out of range. */
static int block_params(const struct coder_block *b, uint64_t params, int *level, size_t *longest)
{
    unsigned log = (unsigned)(params >> 4 & 31u);
    int optimized = (int)(params >> 9 & 1u);
    *level = (int)(params & 15u) | (optimized ? CODER_BLOCK_OPTIMIZED : 0);
    *longest = (size_t)1 << log;
    return params >> 10 == 0 && optimized <= b->optimizes && (int)(params & 15u) <= b->levels && log >= 12 && log <= 26;
}

static size_t tables_size(const struct coder_block *b, int encode, int level)
{
    if (!encode) {
        return b->decode_tables;
    }
    return level % CODER_BLOCK_OPTIMIZED > 0 ? b->slow_tables : b->fast_tables;
}

size_t coder_block_size(const struct coder_block *b, int encode, uint64_t params)
{
    int level;
    size_t longest;
    if (!block_params(b, params, &level, &longest)) {
        return 0;
    }
    return BOARD_ALIGN(sizeof(struct block_coder)) + tables_size(b, encode, level) + longest +
           BOARD_ALIGN(b->bound(longest));
}

int coder_block_begin(const struct coder_block *b, int encode, uint64_t params, uint64_t raw, void *memory, size_t len)
{
    struct block_coder *c = memory;
    size_t own = BOARD_ALIGN(sizeof(*c));
    size_t longest;
    size_t packed;
    size_t size = coder_block_size(b, encode, params);
    if (size == 0 || len < size) {
        return -OTA_E_RAM;
    }
    memset(c, 0, sizeof(*c));
    (void)block_params(b, params, &c->level, &longest);
    if (raw > longest) {
        return -OTA_E_DELTA;
    }
    c->memory.base = (uint8_t *)memory + own;
    c->memory.size = len - own;
    c->block = b;
    c->encode = encode;
    c->raw = (size_t)raw;
    c->tables = board_memory_take(&c->memory, tables_size(b, encode, c->level));
    if (c->tables == NULL) {
        return -OTA_E_RAM;
    }
    packed = b->bound(longest);
    return encode ? coder_whole_init(&c->whole, &c->memory, c->raw, packed)
                  : coder_whole_init(&c->whole, &c->memory, packed, c->raw);
}

/* All of the part is there. */
static int block_run(struct block_coder *c)
{
    struct coder_whole *w = &c->whole;
    size_t n = c->encode ? c->block->encode(c->level, c->tables, w->raw, w->fill, w->packed, w->packed_room)
                         : c->block->decode(c->tables, w->raw, w->fill, w->packed, w->packed_room);
    if (n == 0 || (!c->encode && n != c->raw)) {
        return -OTA_E_DELTA;
    }
    w->packed_len = n;
    return 0;
}

int coder_block_step(void *memory, struct ota_in *in, struct ota_out *out, int last)
{
    struct block_coder *c = memory;
    int st = coder_whole_take(&c->whole, in, last);
    if (st == CODER_WHOLE_COMPLETE && (c->whole.packed_len > 0 || (st = block_run(c)) == 0)) {
        st = coder_whole_give(&c->whole, out);
    }
    return st;
}
