/* cbor.h - items of the deterministic CBOR subset that records are made of. Core internal.
 *
 * Every function takes one item off the cursor, and gives OTA_E_FORMAT for what the subset does not allow.
 */
#ifndef OTA_CORE_CBOR_H
#define OTA_CORE_CBOR_H

#include "text.h"

/* Cursor over encoded CBOR. */
struct ota_cbor {
    const uint8_t *p;
    const uint8_t *end;
};

/* Next item head; shortest form enforced. OTA_E_FORMAT when broken or cut. */
int ota_cbor_head(struct ota_cbor *c, unsigned *major, uint64_t *value);
/* A byte (2) or text (3, UTF-8 checked) string of min..max bytes. */
int ota_cbor_string(struct ota_cbor *c, unsigned major, size_t min, size_t max, struct ota_text *out);
/* An unsigned integer up to max. */
int ota_cbor_uint(struct ota_cbor *c, uint64_t max, uint64_t *out);
/* The head of an array (4) or map (5) of min..max items or pairs. */
int ota_cbor_count(struct ota_cbor *c, unsigned major, uint64_t min, uint64_t max, uint64_t *out);

#endif
