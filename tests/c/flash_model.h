/* flash_model.h - NOR, NAND and rewritable media in memory, stricter than the real ones.
 *
 * What a medium may forgive is a bug in the writer, so the model aborts the test on it: programming a page twice
 * without an erase, out of order in its block, misaligned or not one page long (NAND), turning a 0 into a 1 (NOR),
 * touching a block that is marked bad, marking it twice, erasing a medium that has no erase, and leaving the medium.
 * Failures and power cuts are set up per test. A cut operation is done in part or, worse, looks done and is not: what
 * was programmed reads as garbage or not at all, what was erased reads as erased but must not be programmed.
 */
#ifndef OTA_TESTS_FLASH_MODEL_H
#define OTA_TESTS_FLASH_MODEL_H

#include "otastream.h"

#define MODEL_BLOCKS_MAX 128u

/* What goes wrong with a block. */
enum model_fault {
    FAULT_NONE = '.',
    FAULT_ERASE = 'e',    /* erase fails, what is in the block is garbage afterwards */
    FAULT_PROG = 'p',     /* programming the block's third page fails half way */
    FAULT_FLIP = 'f',     /* programming turns one bit of the block's last page wrong, and says nothing */
    FAULT_READ = 'r',     /* reading always fails */
    FAULT_READONLY = 'w', /* erase (without erase: prog) is refused */
    FAULT_IS_BAD = 'b',   /* asking whether it is bad fails */
};

/* What goes wrong with marking a block bad. */
enum model_mark { MARK_WORKS = 0, MARK_FAILS, MARK_LIES };

/* Has an erase or a program of a block failed by itself, not because the power went? */
enum model_failed { FAILED_NOT = 0, FAILED_EARLIER /* before the power was last gone */, FAILED_NOW };

/* What the power leaves of the operation in which it goes. */
enum model_torn {
    TORN_NOT = 0,    /* it was not begun */
    TORN_HALF,       /* the first half of the bytes */
    TORN_GARBAGE,    /* any bits of it (media without erase: the second half) */
    TORN_UNREADABLE, /* NAND: pages whose error correction fails until they are erased; else garbage */
    TORN_WEAK,       /* it reads as done; what was erased must be erased again */
    TORN_KINDS
};

struct flash_model {
    struct ota_flash flash; /* ready for the writer; ctx is the model */
    uint8_t *data;          /* flash.size bytes */
    uint32_t blocks;
    uint32_t pages; /* of one block */
    char fault[MODEL_BLOCKS_MAX];
    uint8_t bad[MODEL_BLOCKS_MAX];
    uint8_t failed[MODEL_BLOCKS_MAX];     /* enum model_failed */
    uint32_t next_page[MODEL_BLOCKS_MAX]; /* NAND: lowest page that may still be programmed */
    uint8_t weak[MODEL_BLOCKS_MAX];       /* its erase was cut: it must be erased before it is programmed */
    enum model_mark mark;
    uint64_t progs, erases, marks, syncs;
    uint64_t ops;         /* progs, erases and marks tried */
    uint64_t cut_at;      /* the power goes in this operation (from 1; 0: never); every later call fails */
    enum model_torn torn; /* what is left of it */
    int *off;             /* set when the power goes, obeyed when others set it; may be NULL */
    uint8_t *unreadable;  /* per page */
};

/* `blocks` blocks of `erase` bytes, erased. BLOCK media may have any size: `size` counts then. */
void model_init(struct flash_model *m, enum ota_flash_kind kind, uint32_t blocks, uint32_t erase, uint32_t page,
                uint64_t size);
void model_free(struct flash_model *m);

/* As it was made: erased, no block marked bad. */
void model_wipe(struct flash_model *m);

/* Set the content behind the writer's back; the block counts as programmed unless it is all 0xFF. */
void model_fill(struct flash_model *m, uint64_t off, const uint8_t *data, size_t len);

/* The power is back: the same content, no cut pending, counters at 0. */
void model_power_on(struct flash_model *m);

#endif
