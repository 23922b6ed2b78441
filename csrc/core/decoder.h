/* decoder.h - the state behind ota_decoder_step. Core internal; the public interface is in otastream.h. */
#ifndef OTA_CORE_DECODER_H
#define OTA_CORE_DECODER_H

#include "view.h"

struct ota_decoder {
    struct ota_view view; /* when the payload has one */
    int status;           /* sticky: the first failure, else 0 */
    int new_view;
    int open; /* the payload has come to where the engine begins */
    int engine;
    size_t window;
    uint8_t *memory; /* the engine's, whose end the views take */
    size_t memory_len;
    int engine_status;  /* of its last step */
    int passing;        /* what it made then has not all gone through the view of new */
    struct ota_in made; /* that, in view.buffer */
};

#endif
