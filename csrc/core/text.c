/* text.c - pieces of text: building messages, comparing names, checking paths (docs/SPEC.md section 5.1). */
#include "text.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

size_t ota_text_len(const char *s, size_t cap)
{
    size_t n = 0;
    while (n < cap && s[n] != '\0')
        n++;
    return n;
}

void ota_put_bytes(char *buf, size_t cap, const char *text, size_t len)
{
    size_t at = ota_text_len(buf, cap);
    size_t i;
    for (i = 0; i < len && at + 1 < cap; i++)
        buf[at++] = text[i];
    if (at < cap)
        buf[at] = '\0';
}

void ota_put_text(char *buf, size_t cap, const char *text)
{
    ota_put_bytes(buf, cap, text, ota_text_len(text, 1024));
}

void ota_put_number(char *buf, size_t cap, uint64_t value)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    ota_put_bytes(buf, cap, digits + n, sizeof digits - n);
}

int ota_text_order(struct ota_text a, struct ota_text b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int d = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return d != 0 ? d : a.len < b.len ? -1 : a.len > b.len;
}

static int component_ok(const char *p, size_t n)
{
    static const char staging[] = ".otastream-new";
    if (n == 0 || n > OTA_NAME_MAX || (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.'))))
        return 0;
    return n != sizeof staging - 1 || memcmp(p, staging, n) != 0;
}

int ota_path_check(const char *path, size_t len)
{
    size_t start = 0;
    size_t depth = 0;
    size_t i;
    if (len == 0 || len > OTA_PATH_MAX)
        return ERR(PATH);
    for (i = 0; i <= len; i++) {
        if (i < len && path[i] == '\0')
            return ERR(PATH);
        if (i < len && path[i] != '/')
            continue;
        if (!component_ok(path + start, i - start) || ++depth > OTA_DEPTH_MAX)
            return ERR(PATH);
        start = i + 1;
    }
    return 0;
}

int ota_root_check(const char *root, size_t len, int allow_slash)
{
    if (len == 0 || root[0] != '/')
        return ERR(PATH);
    return len == 1 ? (allow_slash ? 0 : ERR(PATH)) : ota_path_check(root + 1, len - 1);
}
