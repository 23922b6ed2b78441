/* in_place.h - a node that is updated onto itself, docs/SPEC.md section 5.5. Core internal.
 *
 * in_place.c       what the node and the journal say: new, old, or in the middle
 * exec_in_place.c  the payload: segment after segment
 * in_place_head.c  what stands in front of a segment's payload
 * in_place_old.c   old content, where it stands still or was kept
 * in_place_move.c  a block of NAND that dies
 */
#ifndef OTA_CORE_IN_PLACE_H
#define OTA_CORE_IN_PLACE_H

#include "flash.h"
#include "otastream.h"
#include "varint.h"

#define OTA_KEPT_MAX 128u    /* ranges of old that are kept at a time */
#define OTA_READS_MAX 128u   /* ranges of old that a segment with views is made from */
#define OTA_JOURNAL_BYTES 72 /* what stands in front of the new bytes in a journal */

/* What the next bytes of the payload are. */
enum ota_segment_field {
    OTA_SEGMENT_TABLES_LENGTH = 0, /* in front of all segments, engine xref only */
    OTA_SEGMENT_TABLES,
    OTA_SEGMENT_UNIT,
    OTA_SEGMENT_DIGEST,
    OTA_SEGMENT_RANGES,
    OTA_SEGMENT_GAP,
    OTA_SEGMENT_LENGTH,
    OTA_SEGMENT_LAST_USE,
    OTA_SEGMENT_READS, /* from here on with views only */
    OTA_SEGMENT_READ_FROM,
    OTA_SEGMENT_READ_LENGTH,
    OTA_SEGMENT_BEFORE,
    OTA_SEGMENT_BEHIND,
    OTA_SEGMENT_HANDED,
    OTA_SEGMENT_PAYLOAD_LENGTH,
    OTA_SEGMENT_PAYLOAD
};

/* Old bytes that are kept in the temporary folder since their unit has new content. */
struct ota_kept {
    uint64_t off; /* in old */
    uint32_t len;
    uint32_t pos;      /* in the file */
    uint32_t seq;      /* the segment that they were kept before, which names the file */
    uint32_t last_use; /* the last segment that reads any of that file */
};

/* With views old is, for a segment, these ranges joined. */
struct ota_read {
    uint64_t off; /* in old */
    uint64_t end; /* in what they are joined to */
};

/* Bytes beyond its unit that a segment makes and the one that follows gets: the end of the unit in front of it, or the
 * beginning of the one behind it. They stand in the journal. */
struct ota_handed {
    uint32_t len;
    int in_front;
};

/* The journal: how far an update in place has come. */
struct ota_journal {
    uint32_t seq;    /* number of the segment */
    uint32_t unit;   /* the unit that it replaces */
    uint32_t ready;  /* new bytes that are in the journal and belong to that unit; 0: they are in place */
    uint64_t rest;   /* digest of all other units */
    uint64_t digest; /* digest of the new bytes */
    struct ota_handed handed;
};

#define OTA_MOVE_BYTES 40

/* Where a block died, and where the hole is that moves towards it: offsets in the node. */
struct ota_move {
    uint64_t dead;
    uint64_t hole;
};

enum ota_in_place_state { OTA_IS_OTHER = 0, OTA_IS_OLD, OTA_IS_MIDDLE, OTA_IS_NEW };

struct ota_in_place {
    enum ota_segment_field field;
    struct ota_varint number; /* the varint at work */
    unsigned digest_bytes;    /* of the digest, that were read */
    uint64_t digest;          /* of the unit's new content */
    uint64_t ranges;          /* that are still to be read */
    uint64_t range_end;       /* where the last one ends, in old */
    uint64_t payload;         /* bytes of it that are left */
    uint64_t before;          /* bytes that it makes in front of the unit's: of a part that the unit begins in */
    uint64_t behind;          /* and behind them */
    uint64_t part_made;       /* bytes that it has made, those included */
    struct ota_handed handed; /* of these, what the segment that follows gets */
    struct ota_handed prior;  /* what this one gets of the segment before */
    uint64_t made;            /* bytes of new in the segments so far */
    uint32_t seq;             /* number of the segment */
    uint32_t unit;            /* the unit that it replaces */
    uint32_t keeps;           /* bytes that it keeps */
    int decodes;              /* this segment's payload is needed */
    int engine_done;
    uint32_t resume;            /* segments up to and with this one less 1 are in place */
    struct ota_journal journal; /* counts while seq < resume */
    uint64_t rest;              /* digest of all units but the one at work */
    uint64_t all;               /* digest of all units */
    struct ota_move move;       /* counts while there is a hole */
    struct ota_flash_part part; /* the node; ex->target_flash is what it looks like with the hole */
    int file_open;              /* the file of kept bytes of segment `file` is open in the slot COPY */
    uint32_t file;
    unsigned kept_count;
    struct ota_kept kept[OTA_KEPT_MAX];
    unsigned read_count;
    struct ota_read reads[OTA_READS_MAX];
};

#endif
