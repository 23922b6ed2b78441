/* coder_jffs2.c - zlib streams as mkfs.jffs2 makes them: flushed 12 bytes before their end, and once more at the end.
 *
 * What a flush writes depends on the room that there is, so a part is made whole.
 */
#include "coder.h"

#include <string.h>
#include <zlib.h>

#define ENCODER_TABLES 270336u /* 8192 + 4 * 32768 + 512 * 256, as for deflate */
#define DECODER_TABLES 45056u  /* 12288 + 32768 */
#define TAIL 12u               /* what mkfs.jffs2 keeps of a node's room for the end of the stream */

static void begin(z_stream *z, struct board_memory *m, void *tables, size_t size)
{
    memset(z, 0, sizeof(*z));
    memset(m, 0, sizeof(*m));
    m->base = tables;
    m->size = size;
    z->zalloc = coder_take;
    z->zfree = coder_drop;
    z->opaque = m;
}

static size_t encode(int level, void *tables, uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    struct board_memory m;
    z_stream z;
    begin(&z, &m, tables, ENCODER_TABLES);
    if (size <= TAIL || deflateInit(&z, level) != Z_OK) {
        return 0;
    }
    z.next_in = src;
    z.avail_in = (uInt)(size - TAIL);
    z.next_out = dst;
    z.avail_out = (uInt)room;
    if (deflate(&z, Z_PARTIAL_FLUSH) != Z_OK || z.avail_out == 0) {
        return 0;
    }
    z.avail_in = TAIL;
    if (deflate(&z, Z_PARTIAL_FLUSH) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END) {
        return 0;
    }
    return room - z.avail_out;
}

static size_t decode(void *tables, const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    struct board_memory m;
    z_stream z;
    begin(&z, &m, tables, DECODER_TABLES);
    if (inflateInit(&z) != Z_OK) {
        return 0;
    }
    z.next_in = (z_const Bytef *)(uintptr_t)src;
    z.avail_in = (uInt)size;
    z.next_out = dst;
    z.avail_out = (uInt)room;
    return inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 ? room - z.avail_out : 0;
}

/* Room for a stream that does not compress, with its flushes. */
static size_t bound(size_t size)
{
    return size + size / 16 + 67;
}

const struct coder_block *coder_jffs2(void)
{
    static const struct coder_block block = {9,     0,      DECODER_TABLES, ENCODER_TABLES, ENCODER_TABLES,
                                             bound, encode, decode};
    return &block;
}
