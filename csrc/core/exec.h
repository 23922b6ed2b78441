/* exec.h - the executor's insides, shared by its files. Core internal.
 *
 * exec.c         the record stream: splitting, order of records, scripts, finish
 * exec_expect.c  preflight
 * exec_payload.c payload -> engine -> sink, digest check, commit
 * exec_tree.c    file, delete, dir, link, move
 * exec_node.c    block, ubi
 * in_place*.c, exec_in_place.c   block, a node onto itself
 * exec_env.c     env, and what an update of a slot tells the boot loader
 * exec_choose.c  which targets are written: slots, masks, whoever is asked
 */
#ifndef OTA_CORE_EXEC_H
#define OTA_CORE_EXEC_H

#include "decoder.h"
#include "flash.h"
#include "in_place.h"
#include "otastream.h"
#include "slots.h"
#include "wire.h"

#define ERR(name) (-(int)OTA_E_##name)

#define OTA_SMALL_BUFFER 4096u
#define OTA_FS_MAX 8u
#define OTA_ANSWERS_MAX 256u

/* Where decoded bytes go. */
enum ota_sink {
    OTA_SINK_SKIP,     /* nowhere: the target is right already */
    OTA_SINK_STAGE,    /* file beside its target */
    OTA_SINK_IMAGE,    /* image in the temporary folder */
    OTA_SINK_FLASH,    /* node */
    OTA_SINK_UBI,      /* volume */
    OTA_SINK_SCRIPT,   /* script */
    OTA_SINK_IN_PLACE, /* node that is its own source, unit by unit */
};

/* The order that docs/SPEC.md section 5.2 wants. */
enum ota_stage { OTA_AT_MANIFEST, OTA_AT_EXPECTS, OTA_AT_ACTIONS, OTA_AT_END };

/* What the splitter waits for. */
enum ota_split { OTA_SPLIT_HEAD, OTA_SPLIT_HEADER, OTA_SPLIT_CHUNK_HEAD, OTA_SPLIT_CHUNK };

/* Space that a file system must have at the worst moment, in bytes; see docs/SPEC.md section 5.3. */
struct ota_fs {
    uint64_t id;
    uint64_t free;
    int64_t now;
    int64_t peak;
};

struct ota_exec {
    struct ota_port port;
    struct ota_exec_options options;
    struct ota_report report;

    enum ota_split split;
    uint8_t item_head[9];
    uint8_t item_fill;
    uint64_t item_left;
    size_t header_fill;
    size_t header_len;

    enum ota_stage stage;
    int have_end_script;
    int passed;   /* preflight is over */
    int ended;    /* the end record was executed */
    int finished; /* ota_exec_finish was called */
    int cancel;   /* tick asked to stop */
    int resumed;  /* preflight saw a target that is new already */
    int guarded;  /* the board keeps the highest version that it has run */
    uint64_t needs;

    struct ota_record rec;
    enum ota_sink sink;
    int payload_done;
    int spare;   /* behind the payload at hand, a delta, stands the same content in full */
    int gave_up; /* the delta did not apply */
    struct ota_xxh64 hash;
    struct ota_source source;
    struct ota_decoder decoder;
    struct ota_flash source_flash;
    struct ota_flash_reader source_reader;
    int source_is_node;
    struct ota_flash target_flash;
    struct ota_flash_writer writer;
    struct ota_flash copy_flash;
    struct ota_flash_reader copy_reader;
    unsigned wrong;     /* bit per target that is not right */
    unsigned at_target; /* target that the payload goes to */
    struct ota_in_place in_place;
    uint64_t scratch; /* bytes that the expects in place have asked of the temporary folder, at most */

    struct ota_fs fs[OTA_FS_MAX];
    unsigned fs_count;

    int slot;       /* that is written: 0, 1; -1: slots do not matter */
    int slot_used;  /* a target of it is written */
    int slot_wrong; /* preflight saw one that is not new yet */
    struct ota_slots slots;
    uint32_t asked;                    /* images and labelled files in preflight so far */
    uint64_t answers[OTA_ANSWERS_MAX]; /* XXH64 of a target's name, with bit 0 the answer */
    unsigned answer_count;

    uint8_t *header;
    uint8_t *engine;
    size_t engine_len;
    uint8_t *block; /* options.block_buffer bytes */
    uint8_t small[OTA_SMALL_BUFFER];
};

/* exec.c */
int ota_exec_tick(struct ota_exec *ex);                                 /* progress; remembers a wish to stop */
int ota_exec_fail(struct ota_exec *ex, int status, const char *detail); /* adds detail to the report, gives status */
void ota_exec_target(struct ota_exec *ex, struct ota_text root, struct ota_text name); /* names the target at work */
int ota_exec_wrote(struct ota_exec *ex, int status, uint64_t bytes); /* counts what reached a medium */
struct ota_path ota_exec_path(struct ota_text root, struct ota_text path);
void ota_exec_close(struct ota_exec *ex); /* closes all slots, drops staged content */

/* exec_expect.c */
int ota_exec_expect(struct ota_exec *ex);
int ota_exec_space(struct ota_exec *ex);          /* compares what was summed up with what is free */
int ota_exec_check_accepted(struct ota_exec *ex); /* the package is not older than what the board has run */
int ota_exec_keep_accepted(struct ota_exec *ex);  /* after success: its version is what the board has run */
int ota_version_order(const char *a, size_t a_len, const char *b, size_t b_len); /* <0, 0, >0 */

/* exec_payload.c */
int ota_exec_payload_begin(struct ota_exec *ex); /* source and engine for the record's payload */
/* The decoder of a payload that makes new_size bytes from this source; one without read_at is none. */
int ota_exec_decoder_begin(struct ota_exec *ex, const struct ota_source *source, uint64_t new_size);
int ota_exec_payload_feed(struct ota_exec *ex, const uint8_t *data, size_t len);
int ota_exec_payload_end(struct ota_exec *ex); /* complete, digest right */
/* Digest of the first `size` bytes of an open slot (file) or of a node. */
int ota_exec_slot_digest(struct ota_exec *ex, enum ota_slot slot, uint64_t size, uint64_t *digest);
int ota_exec_node_digest(struct ota_exec *ex, const struct ota_flash *flash, uint64_t size, uint64_t *digest);
/* 1: a regular file with this size and digest is there; 0: not. st may be NULL. */
int ota_exec_file_is(struct ota_exec *ex, const struct ota_path *p, uint64_t size, uint64_t digest,
                     struct ota_stat *st);
/* 1: the source has its size and digest. */
int ota_exec_source_is(struct ota_exec *ex, const struct ota_record_source *s, const struct ota_record *rec);

/* exec_tree.c */
int ota_exec_file_begin(struct ota_exec *ex);
int ota_exec_file_end(struct ota_exec *ex);
int ota_exec_delete(struct ota_exec *ex);
int ota_exec_dir(struct ota_exec *ex);
int ota_exec_link(struct ota_exec *ex);
int ota_exec_move(struct ota_exec *ex);

/* exec_node.c */
int ota_exec_node_begin(struct ota_exec *ex);
int ota_exec_node_end(struct ota_exec *ex);
/* The first target that the payload can go to: any that is to be written and that the delta does not read. target_count
 * when there is none. */
unsigned ota_exec_free_target(const struct ota_record *r);
/* 1: the node's first `size` bytes have the digest; 0: not; OTA_E_TOO_SMALL when it cannot hold them. */
int ota_exec_node_is(struct ota_exec *ex, struct ota_text name, enum ota_node_use use, uint64_t size, uint64_t digest);
int ota_exec_image_is(struct ota_exec *ex, uint64_t size, uint64_t digest); /* 1: complete in the temporary folder */
int ota_exec_too_small(struct ota_exec *ex, uint64_t size, uint64_t room);  /* says so; gives OTA_E_TOO_SMALL */

/* in_place.c; for a record or expect that is in place */
uint64_t ota_in_place_end(const struct ota_record *r);                    /* bytes that are old or new content */
uint64_t ota_in_place_units(const struct ota_record *r);                  /* of new content */
uint32_t ota_in_place_new_len(const struct ota_record *r, uint32_t unit); /* bytes of new content in a unit */
uint64_t ota_in_place_file(const struct ota_record *r, uint32_t number);  /* name of a file of the scratch */
void ota_journal_encode(const struct ota_record *r, const struct ota_journal *j, uint8_t out[OTA_JOURNAL_BYTES]);
int ota_journal_load(struct ota_exec *ex, struct ota_journal *j); /* 1: there is one that counts */
int ota_in_place_unit_digest(struct ota_exec *ex, struct ota_flash_reader *node, uint64_t unit, uint64_t *digest);
/* Read all of the node: what it is, and (in_place) the journal and the digests of the units. */
int ota_in_place_look(struct ota_exec *ex, enum ota_node_use use, enum ota_in_place_state *state);
int ota_in_place_clear(struct ota_exec *ex); /* remove the scratch */
int ota_in_place_expect(struct ota_exec *ex,
                        uint64_t *space); /* preflight, the bytes that the scratch will take; 1: new already */

void ota_put_le(uint8_t *p, uint64_t v, unsigned bytes);
uint64_t ota_get_le(const uint8_t *p, unsigned bytes);

/* in_place_move.c */
int ota_move_load(struct ota_exec *ex, const struct ota_flash *flash, struct ota_move *m); /* 1: one was begun */
/* A block of the node died, and the unit at work is in the journal: the scratch says so. BAD_BLOCKS: none is spare. */
int ota_move_begin(struct ota_exec *ex, uint64_t dead);
int ota_move_go(struct ota_exec *ex); /* until the dead block, or one that died on the way, is marked and left out */
int ota_move_forget(struct ota_exec *ex);

/* in_place_head.c */
int ota_in_place_take(struct ota_exec *ex, uint64_t n); /* the next number, which in_place.field says */

/* in_place_old.c */
struct ota_source ota_in_place_source(struct ota_exec *ex); /* old content as the segment at work reads it */
int ota_in_place_drop(struct ota_exec *ex, uint32_t seq);   /* the files that no segment after `seq` reads */

/* exec_in_place.c */
int ota_in_place_begin(struct ota_exec *ex);
int ota_in_place_feed(struct ota_exec *ex, const uint8_t *data, size_t len);
int ota_in_place_finish(struct ota_exec *ex);

/* exec_env.c */
int ota_exec_expect_env(struct ota_exec *ex);
int ota_exec_env(struct ota_exec *ex);
int ota_exec_slots_begin(struct ota_exec *ex); /* before anything else: which slot, and can the boot loader be told? */
int ota_exec_slots_event(struct ota_exec *ex, enum ota_slot_event event); /* tell the boot loader, if it matters */

/* exec_choose.c */
/* The record's mask and source become what was chosen; in preflight whoever is to be asked is asked. 1: nothing of the
 * record is to be done. */
int ota_exec_choose(struct ota_exec *ex);

#endif
