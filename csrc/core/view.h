/* view.h - what a delta runs between, when that is not the content itself. Core internal; docs/SPEC.md section 6.5.
 *
 * The view `parts` takes an image for a row of plain bytes and of compressed parts, and shows the parts decompressed.
 * Which bytes are a part, and how it was compressed, is said by the package: the board knows no image format.
 *
 *   view.c      the lists in front of the payload
 *   view_old.c  old: expanded on demand, by offset
 *   view_point.c  restart points in long parts of old
 *   view_new.c  new: what the engine makes, compressed again
 */
#ifndef OTA_CORE_VIEW_H
#define OTA_CORE_VIEW_H

#include "engine.h"
#include "otastream.h"
#include "varint.h"

#define OTA_VIEW_CODINGS 16u
#define OTA_VIEW_SLOTS 64u
#define OTA_VIEW_BUFFER 4096u
#define OTA_VIEW_PACKED_MAX ((1u << 28) - 1u)
#define OTA_VIEW_ALIGN(n) (((n) + 15u) & ~(uint64_t)15u)

struct ota_coding {
    uint32_t id;
    uint64_t params;
};

struct ota_codings {
    unsigned count;
    struct ota_coding item[OTA_VIEW_CODINGS];
};

/* A compressed part of old: bytes [image_at, image_at + packed) of the image are [view_at, view_at + raw) of the view.
 */
struct ota_part {
    uint32_t image_at;
    uint32_t view_at;
    uint32_t raw;
    uint32_t packed; /* and in the upper four bits the index of the coding */
};

/* A piece of a part, decoded: bytes from chunk * slot size on. */
struct ota_slot_state {
    uint32_t part;
    uint32_t chunk;
    uint32_t used; /* when it was last used; 0: empty */
};

/* Restart point: a decoder as it was before a chunk; its memory stands behind. */
struct ota_point {
    uint32_t part;
    uint32_t chunk;
    uint32_t left; /* packed bytes that it had not taken */
    uint32_t used; /* as of a slot */
};

struct ota_view_decoder {
    int open;
    uint32_t part;
    uint32_t chunk; /* the next one that it makes */
    uint32_t left;  /* packed bytes not yet read */
    struct ota_in in;
};

enum ota_segment_type { OTA_SEGMENT_PLAIN = 0, OTA_SEGMENT_KEEP = 1, OTA_SEGMENT_CODED = 2 };

struct ota_segment {
    enum ota_segment_type type;
    uint64_t left;   /* plain, keep: bytes of the image; coded: bytes of the view */
    uint64_t from;   /* keep: offset in old */
    unsigned coding; /* coded: index */
    uint32_t check;  /* coded: lower half of the XXH64 of the packed bytes */
};

enum ota_view_state {
    OTA_VIEW_MEMORY,
    OTA_VIEW_SLOT_COUNT,
    OTA_VIEW_SLOT_SIZE,
    OTA_VIEW_OLD_CODINGS,
    OTA_VIEW_OLD_CODING,
    OTA_VIEW_OLD_PARAMS,
    OTA_VIEW_PARTS_COUNT,
    OTA_VIEW_PART_GAP,
    OTA_VIEW_PART_CODING,
    OTA_VIEW_PART_PACKED,
    OTA_VIEW_PART_RAW,
    OTA_VIEW_NEW_CODINGS,
    OTA_VIEW_NEW_CODING,
    OTA_VIEW_NEW_PARAMS,
    OTA_VIEW_LIST_SIZE,
    OTA_VIEW_LIST,
    OTA_VIEW_READY
};

struct ota_view {
    int old_view;
    int new_view;
    const struct ota_coder *coder; /* NULL: a package that needs one is refused */
    uint32_t codings;              /* bit per enum ota_coding_id: the package has said that it may use it */
    struct ota_source image;       /* old as it is */
    uint64_t new_size;             /* of the image to be made */

    enum ota_view_state state;
    struct ota_varint var;
    uint8_t *room; /* workspace; the view takes its end */
    size_t room_len;
    size_t memory; /* bytes that it takes */
    uint8_t *at;   /* next free byte of them */
    uint8_t *end;

    struct ota_codings decodings;
    struct ota_codings encodings;

    /* old */
    struct ota_part *parts;
    uint32_t part_count;
    uint32_t part_fill;
    struct ota_part part; /* being read */
    uint32_t last_raw;
    uint64_t image_end; /* of the parts so far */
    uint64_t view_end;
    struct ota_slot_state *slots;
    uint8_t *slot_bytes;
    uint32_t slot_count;
    uint32_t slot_size;
    uint32_t clock;
    uint8_t *packed_buf; /* OTA_VIEW_BUFFER bytes on their way to the decoder */
    uint8_t *decoder_memory;
    size_t decoder_size;
    struct ota_view_decoder decoder;
    uint8_t *points;
    uint32_t point_count;
    size_t point_size;

    /* new */
    uint8_t *list;
    size_t list_size;
    size_t list_fill;  /* while it arrives; then the next segment to be read */
    uint64_t keep_at;  /* where the last keep ended in old */
    uint64_t expanded; /* bytes that the engine makes */
    struct ota_segment segment;
    int in_segment;
    int coding_open;
    struct ota_xxh64 hash;
    uint64_t made;
    uint8_t *encoder_memory;
    size_t encoder_size;
    uint8_t *buffer; /* OTA_VIEW_BUFFER bytes on their way from the engine */
};

struct ota_view_options {
    int old_view;
    int new_view;
    const struct ota_coder *coder;
    uint32_t codings; /* bit per enum ota_coding_id that may occur */
    struct ota_source old;
    uint64_t new_size;
    uint8_t *workspace; /* aligned to 8 bytes */
    size_t workspace_len;
};

void ota_view_init(struct ota_view *v, const struct ota_view_options *options);

/* Take what stands in front of the engine's payload. OTA_WANT_INPUT, or OTA_DONE: in stands at the engine's payload,
 * and source, size and memory below are known. Errors: DELTA, FORMAT, LIMIT (also: the workspace is too small),
 * UNSUPPORTED. */
int ota_view_front(struct ota_view *v, struct ota_in *in);

/* Old as the engine sees it; v must stay where it is. */
struct ota_source ota_view_source(struct ota_view *v);
/* Bytes that the engine makes. */
uint64_t ota_view_size(const struct ota_view *v);

/* What the engine made -> bytes of the image. OTA_WANT_INPUT, OTA_WANT_OUTPUT or OTA_DONE: the image is complete.
 * Errors: DELTA, RESULT (a part came out otherwise than the packer saw it), and those of reading old. */
int ota_view_step(struct ota_view *v, struct ota_in *in, struct ota_out *out);

/* ---- between the files ------------------------------------------------------------------------------------------- */

/* Aligned bytes of the view's memory; NULL when there are not that many left. */
void *ota_view_take(struct ota_view *v, uint64_t size);
/* Take what is left of the memory for restart points. */
void ota_view_take_points(struct ota_view *v);
/* Keep the decoder as it stands, if it is worth it: it goes elsewhere, or has gone far enough since the last point. */
int ota_view_keep_point(struct ota_view *v, int leaves);
/* Let the decoder of a part go on from the best place at or before a chunk, which may be where it stands. */
int ota_view_seek(struct ota_view *v, uint32_t part, uint32_t chunk);
/* Start at the beginning of a part. */
int ota_view_begin_part(struct ota_view *v, uint32_t part);
/* Check the whole list of new and go back to its front; gives the bytes that the engine has to make. */
int ota_view_check_list(struct ota_view *v, uint64_t *size);

#endif
