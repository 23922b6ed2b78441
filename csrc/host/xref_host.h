/* xref_host.h - the encoder of engine xref: what its parts share. */
#ifndef OTA_XREF_HOST_H
#define OTA_XREF_HOST_H

#include "host.h"
#include "xref.h"

/* ---- elf.c ---- */

#define OTA_STRETCHES_MAX 64u

struct ota_stretch {
    uint32_t start, end;
};

/* What of an image is known before it is compared. */
struct ota_image {
    const uint8_t *data;
    uint32_t size;
    int is_elf;
    uint32_t code_kind; /* enum ota_xref_kind of what it executes; RAW: not known */
    int wide;           /* 64-bit addresses */
    uint32_t segment_count;
    struct ota_xref_segment segments[OTA_XREF_SEGMENTS_MAX];
    uint32_t code_count; /* stretches that hold instructions, rising */
    struct ota_stretch code[OTA_STRETCHES_MAX];
    uint32_t pointer_count; /* the same for words that may be addresses */
    struct ota_stretch pointers[OTA_STRETCHES_MAX];
    uint32_t table_count; /* the same for words that are offsets from table_base, rising */
    struct ota_stretch tables[OTA_STRETCHES_MAX];
    uint32_t table_base; /* of those, or where .eh_frame_hdr is, whose offsets count from itself; 0: none */
};

/* Look at what the image is. Anything that is not a sound ELF file is one segment at address 0. */
void ota_image_read(struct ota_image *image, const uint8_t *data, uint32_t size);

/* Bytes of the ELF file that data begins with, of which at most `left` can belong to it; 0: there is none. */
uint32_t ota_elf_size(const uint8_t *data, uint32_t left);

/* ---- xref_mask.c ---- */

/* A copy of the content in which each reference is replaced by a hash of what it refers to: what only moved becomes
 * equal. copy: image->size bytes. 0 or -OTA_E_RAM. */
int ota_image_mask(const struct ota_image *image, uint8_t *copy);

/* ---- xref_btf.c ---- */

/* The same for type information of Linux kernels, where a sound header stands before it. 0 or -OTA_E_RAM. */
int ota_image_mask_btf(const struct ota_image *image, uint8_t *copy);

/* ---- xref_raw.c ---- */

/* Find the instructions of an image that is no ELF file. */
void ota_image_find_code(struct ota_image *image);
/* Everything else may hold addresses. */
void ota_image_find_data(struct ota_image *image);
/* Guess at which address such an image runs, for both, from what the copies carry over. 0 or -OTA_E_RAM. */
int ota_image_guess_base(struct ota_image *old_image, struct ota_image *new_image, struct ota_xref_span *copies,
                         uint32_t count);

/* ---- xref_table.c ---- */

/* Find tables of offsets in an image that is no ELF file, whose instructions are known. 0 or -OTA_E_RAM. */
int ota_image_find_tables(struct ota_image *image);

/* ---- xref_plan.c ---- */

struct ota_xref_plan {
    struct ota_xref_span *copies; /* in the order of new_pos; grows by itself */
    uint32_t copy_count;
    uint32_t copy_room;
    struct ota_xref_span *spans; /* those that make the map, in the order of new_pos */
    uint32_t span_count;
    struct ota_xref_region *regions; /* room for region_limit */
    uint32_t region_count;
    uint32_t region_limit;
};

int ota_image_is_code(const struct ota_image *image, uint32_t pos);
/* ota_source.read_at of content in memory. */
int ota_xref_read_memory(void *ctx, uint64_t off, uint8_t *buf, size_t len);
/* Tell a machine about old and new. */
void ota_xref_use_images(struct ota_xref *x, const struct ota_image *old_image, const struct ota_image *new_image);
#define OTA_XREF_PREDICTOR_CACHE 4096u /* as that of a model of the default size */

/* A decoder's machine that only predicts, with all copies of a plan as its map. The regions are still to be set. */
struct ota_xref_predictor {
    struct ota_xref x;
    struct ota_xref_cached cached[OTA_XREF_PREDICTOR_CACHE]; /* of which only numbers use more than one */
    uint8_t window[65536];
};

/* p: zeros; p->x.map.by_old is to be freed. 0 or -OTA_E_RAM. */
int ota_xref_predictor_init(struct ota_xref_predictor *p, const struct ota_xref_plan *plan,
                            const struct ota_image *old_image, const struct ota_image *new_image);
/* Find out what old holds, from how well it would be predicted. 0 or -OTA_E_RAM. */
int ota_xref_find_regions(struct ota_xref_plan *plan, const struct ota_image *old_image,
                          const struct ota_image *new_image);

/* ---- xref_pair.c ---- */

/* ota_sink.piece for a plan's copies; ctx: the plan. */
int ota_xref_take_piece(void *ctx, const struct ota_piece *piece);
/* Match old and new, without what they refer to; images of unknown address get one. 0 or a failure. */
int ota_xref_find_copies(const struct ota_sorter *sorter, struct ota_xref_plan *plan, struct ota_image images[2]);
/* Drop copies for which a long part of old would have to be decoded again. old_start: where positions in old count
 * from; at: where reading begins. 0 or -OTA_E_RAM. */
int ota_xref_keep_near(struct ota_xref_plan *plan, const struct ota_long_parts *parts, uint32_t old_start, uint32_t at);
/* Copies, spans and up to as many regions as the options allow, for two images, of which the old one begins at
 * old_start of old. parts: NULL or long parts. 0 or a failure. */
int ota_xref_plan_pair(const struct ota_sorter *sorter, const struct ota_xref_options *options,
                       const struct ota_long_parts *parts, uint32_t old_start, struct ota_xref_plan *plan,
                       struct ota_image images[2]);

/* ---- xref_spans.c ---- */

/* Choose the copies that go into the map, at most `limit`: those that tell best where what copied code and tables refer
 * to went. Copies and regions are known. unit: bytes of new that are made at once, in place; 0: all. 0 or
 * -OTA_E_RAM. */
int ota_xref_choose_spans(struct ota_xref_plan *plan, const struct ota_image images[2], uint32_t unit, uint32_t limit);

/* ---- xref_scan.c ---- */

/* A program inside of old that one inside of new is made from. */
struct ota_xref_pair {
    uint32_t new_start, new_len;
    uint32_t old_start, old_len;
};

/* The programs in new that old has something like, in their order, if they are a part of new worth mentioning; count 0:
 * they are not. They are ELF files, and long parts that are images of instructions (parts NULL: there are none). *pairs
 * is the caller's to free. 0 or -OTA_E_RAM. */
int ota_xref_find_pairs(const uint8_t *old_data, uint32_t old_size, const uint8_t *new_data, uint32_t new_size,
                        const struct ota_long_parts *parts, struct ota_xref_pair **pairs, uint32_t *count);

/* Whether ELF files are a part of the image worth mentioning. */
int ota_xref_has_programs(const uint8_t *data, uint32_t size);

/* ---- xref_split.c ---- */

/* A section, planned. */
struct ota_xref_job {
    struct ota_xref_section section;
    uint32_t new_start;
    struct ota_xref_segment old_segments[OTA_XREF_SEGMENTS_MAX];
    struct ota_xref_segment new_segments[OTA_XREF_SEGMENTS_MAX];
    struct ota_xref_plan plan;
};

struct ota_xref_jobs {
    struct ota_xref_job *jobs;
    uint32_t count;
    int sectioned; /* else one job, which is all of old and new */
    struct ota_xref_section most;
};

/* Plan a delta as a whole, or by sections where new has programs inside. parts: NULL or long parts. 0 or a failure;
 * jobs is to be freed. */
int ota_xref_split(const struct ota_sorter *sorter, const struct ota_xref_options *options, const uint8_t *old_data,
                   uint32_t old_size, const uint8_t *new_data, uint32_t new_size, const struct ota_long_parts *parts,
                   struct ota_xref_jobs *jobs);
void ota_xref_jobs_free(struct ota_xref_jobs *jobs);

/* ---- xref_encode.c ---- */

/* Bytes that were coded; grows by itself. cost: of each part, in 65536ths of a bit. */
struct ota_xref_coded {
    uint8_t *bytes;
    size_t len;
    size_t room;
    uint64_t cost[OTA_XREF_PARTS];
};

/* The decoder's own machine, told the truth. */
struct ota_xref_machine {
    struct ota_xref x;
    struct ota_xref_truth truth;
    const struct ota_xref_jobs *jobs; /* sections to come; NULL: there are none */
    uint32_t next;                    /* of them */
    const uint8_t *new_data;
    void *tables;
    uint8_t window[OTA_WINDOW];
};

/* A machine that is about to code its tables. NULL: no memory. All arguments must outlive it. */
struct ota_xref_machine *ota_xref_machine_new(const struct ota_xref_plan *plan, unsigned log,
                                              const struct ota_image *old_image, const struct ota_image *new_image);
void ota_xref_machine_free(struct ota_xref_machine *m);
/* Code until x.end is reached, as bytes of their own behind those that are there. 0 or a failure. */
int ota_xref_machine_run(struct ota_xref_machine *m, struct ota_xref_coded *coded);

/* Code what was planned with a model of 2^log bytes. 0 or a failure. */
int ota_xref_encode(const struct ota_xref_jobs *jobs, unsigned log, const uint8_t *old_data, uint32_t old_size,
                    const uint8_t *new_data, uint32_t new_size, struct ota_xref_coded *coded);

/* ---- xref_diff.c ---- */

#define OTA_XREF_HEAD_MAX (1u + 4u * OTA_VARINT_MAX_BYTES)

/* The head of a payload of which `coded` bytes follow; first: its first number. Returns its length. */
size_t ota_xref_head(uint8_t head[OTA_XREF_HEAD_MAX], unsigned first, const struct ota_xref_section *most,
                     size_t coded);
/* 0 or -OTA_E_OUTPUT; counts in stats. */
int ota_xref_write(int fd, const void *bytes, size_t len, struct ota_xref_stats *stats);

#endif
