/* coder.h - one coding each in its own file, behind the table in coder.c.
 *
 * Every function gets one direction's memory: size bytes that begin with the state of the coder. OTA_BOARD_XZ,
 * OTA_BOARD_ZSTD, OTA_BOARD_LZ4 and OTA_BOARD_LZO say what the program is built with (scripts/boardbuild.py
 * --encoders).
 */
#ifndef OTA_BOARD_CODER_H
#define OTA_BOARD_CODER_H

#include "board.h"

/* An encoder that wants all of a part at once: it is gathered, compressed whole, and given piece by piece. */
struct coder_whole {
    uint8_t *raw; /* room bytes */
    size_t room;
    size_t fill;
    uint8_t *packed; /* packed_room bytes */
    size_t packed_room;
    size_t packed_len; /* 0: not compressed yet */
    size_t given;
};

/* Take raw and packed from m; 0 or -OTA_E_RAM. */
int coder_whole_init(struct coder_whole *w, struct board_memory *m, size_t room, size_t packed_room);
/* Take input; 1: the part is complete and waits to be compressed into packed. Otherwise as ota_coder.step. */
int coder_whole_take(struct coder_whole *w, struct ota_in *in, int last);
/* Give output; OTA_WANT_OUTPUT or OTA_DONE. */
int coder_whole_give(struct coder_whole *w, struct ota_out *out);
#define CODER_WHOLE_COMPLETE 3

size_t coder_xz_size(int encode, uint64_t params);
int coder_xz_begin(int encode, uint64_t params, uint64_t raw, void *memory, size_t len);
int coder_xz_step(int encode, void *memory, struct ota_in *in, struct ota_out *out, int last);
const char *coder_xz_library(void);

size_t coder_zstd_size(int encode, uint64_t params);
int coder_zstd_begin(int encode, uint64_t params, uint64_t raw, void *memory, size_t len);
int coder_zstd_step(int encode, void *memory, struct ota_in *in, struct ota_out *out, int last);
const char *coder_zstd_library(void);

/* A coding of blocks without a frame: each is made in one call, both ways. */
struct coder_block {
    int levels;           /* the highest; 0 is another algorithm, which is fast */
    int optimizes;        /* it knows CODER_BLOCK_OPTIMIZED */
    size_t decode_tables; /* bytes of memory that its decoder takes, a multiple of 16 */
    size_t fast_tables;   /* bytes of memory that its encoder takes, a multiple of 16 */
    size_t slow_tables;   /* and that of all other levels */
    /* The most that so many bytes may become. */
    size_t (*bound)(size_t size);
    /* Both give the bytes that they wrote, 0 when it cannot be done in room bytes. What encode reads is lost. */
    size_t (*encode)(int level, void *tables, uint8_t *src, size_t size, uint8_t *dst, size_t room);
    size_t (*decode)(void *tables, const uint8_t *src, size_t size, uint8_t *dst, size_t room);
};

/* Set in a level: the block is gone over once more. */
#define CODER_BLOCK_OPTIMIZED 16

size_t coder_block_size(const struct coder_block *b, int encode, uint64_t params);
int coder_block_begin(const struct coder_block *b, int encode, uint64_t params, uint64_t raw, void *memory, size_t len);
int coder_block_step(void *memory, struct ota_in *in, struct ota_out *out, int last);

/* For zlib: memory from a struct board_memory, which is never given back. */
void *coder_take(void *memory, unsigned count, unsigned size);
void coder_drop(void *memory, void *p);

const struct coder_block *coder_jffs2(void);
const struct coder_block *coder_lz4(void);
const char *coder_lz4_library(void);
const struct coder_block *coder_lzo(void);
const char *coder_lzo_library(void);

#endif
