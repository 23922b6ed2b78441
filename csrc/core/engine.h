/* engine.h - what the engines share inside the core. The public interface is in otastream.h. */
#ifndef OTA_ENGINE_H
#define OTA_ENGINE_H

#include "otastream.h"
#include "varint.h"
#include "window.h"

#define OTA_WINDOW_MIN 512u
#define OTA_WINDOW_MAX (1u << 20)
#define OTA_CONTENT_MAX ((uint64_t)INT64_MAX)

enum ota_bspatch_state {
    OTA_BSPATCH_ADD_LEN = 0, /* between triples, or inside the first varint of one */
    OTA_BSPATCH_LITERAL_LEN,
    OTA_BSPATCH_SEEK,
    OTA_BSPATCH_ZEROS_LEN,
    OTA_BSPATCH_DIFF_LEN,
    OTA_BSPATCH_ZEROS,
    OTA_BSPATCH_DIFF,
    OTA_BSPATCH_LITERAL
};

struct ota_bspatch {
    enum ota_bspatch_state state;
    int first_run;         /* the next run is the first of its triple */
    struct ota_varint var; /* the varint at work */
    uint64_t old_pos;
    uint64_t add_left; /* bytes of this triple's add part not yet given to a run */
    uint64_t literal_left;
    uint64_t zeros_left;
    uint64_t diff_left;
    struct ota_window window;
};

struct ota_engine {
    int id;
    int status;            /* sticky: the first failure, else 0 */
    uint64_t left;         /* bytes of new content still to be made */
    struct ota_bspatch bs; /* OTA_ENGINE_BSDIFF only */
};

/* One step of an engine: like ota_engine_step, but without the sticky status and without the check for payload after
 * the end. */
int ota_full_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out);
int ota_bspatch_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out);
int ota_xref_step(struct ota_engine *e, struct ota_in *in, struct ota_out *out);

static inline size_t ota_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The smaller of a length that is in memory and one that is not. */
static inline size_t ota_clip_size(size_t a, uint64_t b)
{
    return b < a ? (size_t)b : a;
}

#endif
