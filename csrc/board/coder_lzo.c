/* coder_lzo.c - LZO1X blocks by liblzo2, which is under the GNU General Public License: so is a program with it. */
#include "coder.h"

#ifdef OTA_BOARD_LZO

#include <lzo/lzo1x.h>

#if LZO_VERSION != 0x20a0
#error "coding lzo1x-2.10 promises the bytes of liblzo2 2.10"
#endif

#define FAST_TABLES 131072u
#define SLOW_TABLES 458752u

typedef char fast_tables_fit[LZO1X_1_MEM_COMPRESS <= FAST_TABLES ? 1 : -1];
typedef char slow_tables_fit[LZO1X_999_MEM_COMPRESS <= SLOW_TABLES ? 1 : -1];

static size_t encode(int level, void *tables, uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    lzo_uint used = room;
    lzo_uint raw = size;
    int slow = level % CODER_BLOCK_OPTIMIZED;
    int r = slow == 0 ? lzo1x_1_compress(src, size, dst, &used, tables)
                      : lzo1x_999_compress_level(src, size, dst, &used, tables, NULL, 0, NULL, slow);
    if (r == LZO_E_OK && level >= CODER_BLOCK_OPTIMIZED) {
        r = lzo1x_optimize(dst, used, src, &raw, NULL); /* decompresses into src as it goes */
    }
    return r == LZO_E_OK ? used : 0;
}

static size_t decode(void *tables, const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    lzo_uint used = room;
    (void)tables;
    return lzo1x_decompress_safe(src, size, dst, &used, NULL) == LZO_E_OK ? used : 0;
}

static size_t bound(size_t size)
{
    return size + size / 16 + 67;
}

const struct coder_block *coder_lzo(void)
{
    static const struct coder_block block = {9, 1, 0, FAST_TABLES, SLOW_TABLES, bound, encode, decode};
    return &block;
}

const char *coder_lzo_library(void)
{
    return LZO_VERSION_STRING;
}

#endif
