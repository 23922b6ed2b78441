/* window.h - old content behind one buffer. */
#ifndef OTA_WINDOW_H
#define OTA_WINDOW_H

#include <string.h>

#include "otastream.h"

/* What lies in [start, start + len) is in buf. */
struct ota_window {
    struct ota_source source;
    uint8_t *buf;
    size_t cap;
    uint64_t start;
    size_t len;
};

/* How many bytes from pos on are in the window, at most want; *p is set to them. */
static inline size_t ota_window_peek(const struct ota_window *w, uint64_t pos, uint64_t want, const uint8_t **p)
{
    size_t skip, there;

    if (pos < w->start || pos - w->start >= w->len)
        return 0;
    skip = (size_t)(pos - w->start);
    there = w->len - skip;
    *p = w->buf + skip;
    return want < there ? (size_t)want : there;
}

/* Read the window anew from pos on, which is inside old. 0 or the failure of reading. */
static inline int ota_window_fill(struct ota_window *w, uint64_t pos)
{
    size_t n = w->source.size - pos < w->cap ? (size_t)(w->source.size - pos) : w->cap;
    int status;

    w->len = 0; /* a failed read leaves nothing that could be used */
    status = w->source.read_at(w->source.ctx, pos, w->buf, n);
    if (status < 0)
        return status;
    w->start = pos;
    w->len = n;
    return 0;
}

#endif
