/* flash.h - write an image to a medium and read one from it, bad blocks considered. Core internal. */
#ifndef OTA_CORE_FLASH_H
#define OTA_CORE_FLASH_H

#include "otastream.h"

/* Writes `size` bytes, handed over in order, to the start of a medium. The bytes of one erase block are held in the
 * caller's buffer until that block has verified, so a block that fails can be replayed into the next good one. */
struct ota_flash_writer {
    const struct ota_flash *flash;
    uint8_t *buf;     /* one erase block (media without erase: any multiple of 512) */
    uint32_t block;   /* bytes of buf in use as unit */
    uint32_t fill;    /* bytes in buf */
    uint64_t size;    /* bytes of the image */
    uint64_t taken;   /* bytes taken from the caller */
    uint64_t phys;    /* physical offset where the next block goes */
    uint64_t written; /* bytes that were programmed */
    uint32_t skipped; /* blocks that were right already */
    uint32_t new_bad; /* blocks that went bad on the way */
    int fixed;        /* what lies behind must stay where it is: a failing block is not replaced */
    int died;         /* fixed: the block at phys went on failing */
    int status;       /* sticky */
};

/* Check that the image fits (OTA_E_TOO_SMALL: larger than the medium, OTA_E_BAD_BLOCKS: larger than its good blocks)
 * before anything is erased. buf_len >= erase_size (without erase: >= 512), else OTA_E_RAM. A geometry that is no power
 * of two is OTA_E_NODE. Without erase, prog must take any length, and bytes behind the image keep what they were; with
 * erase, the rest of the last block is left 0xFF. */
int ota_flash_writer_init(struct ota_flash_writer *w, const struct ota_flash *flash, uint64_t size, uint8_t *buf,
                          uint32_t buf_len);
/* The same for `size` bytes from logical offset `off` on, a multiple of the erase size (without erase: of 512). As what
 * lies behind keeps its place, a NAND block that goes on failing ends it with OTA_E_BAD_BLOCKS and is not marked. */
int ota_flash_writer_init_at(struct ota_flash_writer *w, const struct ota_flash *flash, uint64_t off, uint64_t size,
                             uint8_t *buf, uint32_t buf_len);
/* Take len bytes; more than size in all is OTA_E_RESULT. OTA_E_VERIFY: a block reads back as something else.
 * NAND: failing blocks are marked bad and replaced; OTA_E_BAD_BLOCKS when the good ones run out or four fail in a row;
 * a block that cannot be marked is OTA_E_IO, as the image would be read with it in the middle. */
int ota_flash_writer_write(struct ota_flash_writer *w, const uint8_t *data, size_t len);
/* Write what is left, sync. Fewer bytes than size is OTA_E_RESULT. */
int ota_flash_writer_finish(struct ota_flash_writer *w);

/* Bring one erase block to these bytes, as the writer does. OTA_E_BAD_BLOCKS: it goes on failing. */
int ota_flash_put(const struct ota_flash *flash, uint64_t phys, uint8_t *buf);

#define OTA_NO_HOLE UINT64_MAX

/* A medium as somebody shall see it: `node` from `base` on, and the block at `hole`, an offset in the node, counts as
 * bad without being marked (OTA_NO_HOLE: none does). */
struct ota_flash_part {
    struct ota_flash node;
    uint64_t base;
    uint64_t hole;
};

/* `size` bytes of it as a medium, which sees what part holds at any time; part must live as long. */
struct ota_flash ota_flash_of_part(struct ota_flash_part *part, uint64_t size);

/* Reads logical bytes: bad blocks do not count. Going on is cheap; a jump either way costs one is_bad per block. */
struct ota_flash_reader {
    const struct ota_flash *flash;
    uint64_t logical; /* logical offset of the block at `physical` */
    uint64_t physical;
};

void ota_flash_reader_init(struct ota_flash_reader *r, const struct ota_flash *flash);
/* All of buf or a negative status; past the last good block is OTA_E_DELTA. */
int ota_flash_read_at(struct ota_flash_reader *r, uint64_t off, uint8_t *buf, size_t len);
/* Bytes in good blocks, or a negative status in *status. */
uint64_t ota_flash_good_bytes(const struct ota_flash *flash, int *status);

#endif
