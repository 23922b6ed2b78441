/* records.h - build record streams by hand for the C tests. Keys must be put in rising order by the caller. */
#ifndef OTA_TESTS_RECORDS_H
#define OTA_TESTS_RECORDS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "otastream.h"

struct bytes {
    uint8_t data[1 << 16];
    size_t len;
};

static inline void put(struct bytes *b, const void *p, size_t n)
{
    if (n > sizeof b->data - b->len)
        abort();
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
}

/* CBOR item head, shortest form. */
static inline void put_head(struct bytes *b, unsigned major, uint64_t v)
{
    unsigned info = v < 24 ? (unsigned)v : v < 0x100 ? 24 : v < 0x10000 ? 25 : v < 0x100000000u ? 26 : 27;
    uint8_t first = (uint8_t)(major << 5 | info);
    put(b, &first, 1);
    for (int i = info < 24 ? 0 : 1 << (info - 24); i-- > 0;) {
        uint8_t byte = (uint8_t)(v >> (8 * i));
        put(b, &byte, 1);
    }
}

static inline void put_str(struct bytes *b, unsigned major, const char *s)
{
    put_head(b, major, strlen(s));
    put(b, s, strlen(s));
}

/* One field each: key, then value. */
static inline void f_uint(struct bytes *b, unsigned key, uint64_t v)
{
    put_head(b, 0, key);
    put_head(b, 0, v);
}

static inline void f_bytes(struct bytes *b, unsigned key, const char *s)
{
    put_head(b, 0, key);
    put_str(b, 2, s);
}

static inline void f_text(struct bytes *b, unsigned key, const char *s)
{
    put_head(b, 0, key);
    put_str(b, 3, s);
}

static inline uint64_t xxh(const void *data, size_t len)
{
    struct ota_xxh64 h;
    ota_xxh64_init(&h);
    ota_xxh64_update(&h, data, len);
    return ota_xxh64_value(&h);
}

/* A state: "-" absent, "/" folder, "*" anything, "@text" link, else a file with that text as content. */
static inline void f_state(struct bytes *b, unsigned key, const char *s)
{
    unsigned type = strcmp(s, "-") == 0 ? 0 : strcmp(s, "/") == 0 ? 2 : strcmp(s, "*") == 0 ? 4 : s[0] == '@' ? 3 : 1;
    put_head(b, 0, key);
    put_head(b, 4, type == 1 ? 3 : type == 3 ? 2 : 1);
    put_head(b, 0, type);
    if (type == 3)
        put_str(b, 2, s + 1);
    if (type == 1) {
        put_head(b, 0, strlen(s));
        put_head(b, 0, xxh(s, strlen(s)));
    }
}

/* Begin a record: [kind, map of `pairs`]. */
static inline struct bytes *rec(struct bytes *b, unsigned kind, unsigned pairs)
{
    b->len = 0;
    put_head(b, 4, 2);
    put_head(b, 0, kind);
    put_head(b, 5, pairs);
    return b;
}

/* Add a finished header to the stream. */
static inline void emit(struct bytes *s, const struct bytes *header)
{
    put_head(s, 2, header->len);
    put(s, header->data, header->len);
}

/* Add a payload in chunks of at most `chunk` bytes. */
static inline void payload(struct bytes *s, const void *data, size_t len, size_t chunk)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t n = len < chunk ? len : chunk;
        put_head(s, 2, n);
        put(s, p, n);
        p += n;
        len -= n;
    }
    put_head(s, 2, 0);
}

#endif
