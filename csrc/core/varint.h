/* varint.h - the varint of docs/SPEC.md section 6: unsigned LEB128, shortest form, at most 2^63 - 1. */
#ifndef OTA_VARINT_H
#define OTA_VARINT_H

#include "otastream.h"

#define OTA_VARINT_MAX_BYTES 9u /* 9 groups of 7 bits hold 63 bits exactly */

/* A varint that is being read; zero it before each. */
struct ota_varint {
    uint64_t value;
    unsigned bytes;
};

/* Take bytes from `in`. OTA_DONE: v->value is complete. OTA_WANT_INPUT: go on later. -OTA_E_DELTA: too long, or not
 * the shortest form (a last group of zero). */
static inline int ota_varint_read(struct ota_varint *v, struct ota_in *in)
{
    while (in->pos < in->size) {
        uint8_t byte = in->src[in->pos++];

        v->value |= (uint64_t)(byte & 0x7fu) << (7u * v->bytes);
        v->bytes++;
        if (byte < 0x80u)
            return byte == 0 && v->bytes > 1 ? -OTA_E_DELTA : OTA_DONE;
        if (v->bytes == OTA_VARINT_MAX_BYTES)
            return -OTA_E_DELTA;
    }
    return OTA_WANT_INPUT;
}

/* Write v (at most 2^63 - 1) to buf, which has room for OTA_VARINT_MAX_BYTES; returns the number of bytes. */
static inline size_t ota_varint_write(uint8_t *buf, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80u; v >>= 7)
        buf[n++] = (uint8_t)(0x80u | (v & 0x7fu));
    buf[n++] = (uint8_t)v;
    return n;
}

#endif
