/* text.h - pieces of text that are not NUL-terminated, and what is built of them. Core internal. */
#ifndef OTA_CORE_TEXT_H
#define OTA_CORE_TEXT_H

#include "otastream.h"

/* A piece of a buffer that somebody else keeps; not NUL-terminated. */
struct ota_text {
    const char *p;
    size_t len;
};

/* Length of a text that ends with NUL, at most cap. */
size_t ota_text_len(const char *s, size_t cap);
/* Bytewise order: negative when a comes first, shorter first among equal beginnings. */
int ota_text_order(struct ota_text a, struct ota_text b);

/* A relative path as SPEC section 5.1 wants it; OTA_E_PATH otherwise. */
int ota_path_check(const char *path, size_t len);
/* An absolute folder or node; "/" alone only if allowed. */
int ota_root_check(const char *root, size_t len, int allow_slash);

/* Small text builder for details: appends, always terminated, cut to fit. */
void ota_put_text(char *buf, size_t cap, const char *text);
void ota_put_bytes(char *buf, size_t cap, const char *text, size_t len);
void ota_put_number(char *buf, size_t cap, uint64_t value);

#endif
