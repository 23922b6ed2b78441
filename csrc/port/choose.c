/* choose.c - which targets the caller wants written: patterns of names, and a program that is asked. */
#include "port.h"

#include <errno.h>
#include <string.h>

/* '*' any number of bytes, '?' one. Going back only to the last '*' is enough. */
static int matches(const char *pattern, const char *text, size_t len)
{
    const char *star = NULL;
    size_t at = 0;
    size_t star_at = 0;
    while (at < len) {
        if (*pattern == '*') {
            star = pattern++;
            star_at = at;
        } else if (*pattern != '\0' && (*pattern == '?' || *pattern == text[at])) {
            pattern++;
            at++;
        } else if (star != NULL) {
            pattern = star + 1;
            at = ++star_at;
        } else {
            return 0;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

static int by_patterns(const struct ota_posix *p, const struct ota_asked *a)
{
    int wanted = 0;
    int found = 0;
    uint32_t i;
    for (i = 0; i < p->pattern_count; i++) {
        const char *pattern = p->patterns[i];
        int not = pattern[0] == '!';
        int hit = matches(pattern + not, a->name, a->name_len) ||
                  (a->label_len > 0 && matches(pattern + not, a->label, a->label_len));
        if (not &&hit) {
            return 0;
        }
        wanted |= !not ;
        found |= !not &&hit;
    }
    return !wanted || found;
}

static void put_number(char text[11], uint32_t value)
{
    char digits[10];
    size_t n = 0;
    size_t i;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (i = 0; i < n; i++) {
        text[i] = digits[n - 1 - i];
    }
    text[n] = '\0';
}

/* HOOK NAME IMAGE TARGET LABEL, without a shell. */
static int by_hook(struct ota_posix *p, const struct ota_asked *a)
{
    char image[11];
    char target[11];
    char label[OTA_LABEL_MAX + 1];
    char *argv[6];
    int code = 0;
    int status;
    if (a->name_len >= sizeof(p->script_path) || memchr(a->label, '\0', a->label_len) != NULL) {
        return ota_posix_refuse(p, OTA_E_PATH);
    }
    memcpy(p->script_path, a->name, a->name_len);
    p->script_path[a->name_len] = '\0';
    memcpy(label, a->label, a->label_len);
    label[a->label_len] = '\0';
    put_number(image, a->image);
    put_number(target, a->target);
    argv[0] = p->hook;
    argv[1] = p->script_path;
    argv[2] = image;
    argv[3] = target;
    argv[4] = label;
    argv[5] = NULL;
    memcpy(p->status_env, "OTA_STATUS=0", 13);
    status = ota_program_run(p, argv, &code);
    if (status != 0) {
        return status;
    }
    return code > 1 ? ota_posix_refuse(p, OTA_E_HOOK) : code == 0;
}

int ota_choose_allow(void *ctx, const struct ota_asked *asked)
{
    struct ota_posix *p = ctx;
    if (!by_patterns(p, asked)) {
        return 0;
    }
    return p->hook[0] == '\0' ? 1 : by_hook(p, asked);
}
