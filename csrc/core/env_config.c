/* env_config.c - what an environment is told from outside: where its copies lie (fw_env.config), and lists of changes.
 */
#include "env_parts.h"

#include <string.h>

#define SIZE_MIN 64u
#define SIZE_LIMIT (1u << 24)

/* ---- changes ----------------------------------------------------------------------------------------------------- */

int ota_env_change(struct ota_text changes, size_t *pos, struct ota_text *name, struct ota_text *value)
{
    struct ota_cbor c;
    uint64_t n;
    int st;
    if (changes.len == 0)
        return 0;
    c.p = (const uint8_t *)changes.p + *pos;
    c.end = (const uint8_t *)changes.p + changes.len;
    if (*pos == 0 && (st = ota_cbor_count(&c, 4, 0, SIZE_LIMIT, &n)) != 0)
        return st;
    if (c.p == c.end)
        return 0;
    value->p = NULL;
    value->len = 0;
    if ((st = ota_cbor_count(&c, 4, 1, 2, &n)) != 0 || (st = ota_cbor_string(&c, 2, 1, OTA_NAME_MAX, name)) != 0)
        return st;
    if (n == 2 && (st = ota_cbor_string(&c, 2, 1, SIZE_MAX, value)) != 0)
        return st;
    *pos = (size_t)(c.p - (const uint8_t *)changes.p);
    return 1;
}

static int put_string(uint8_t *buf, size_t cap, size_t *len, struct ota_text text)
{
    size_t head = text.len < 24 ? 1u : text.len < 256 ? 2u : 3u;
    uint8_t *at = buf + *len;
    if (text.len > 65535 || cap - *len < head + text.len)
        return ERR(LIMIT);
    at[0] = (uint8_t)(head == 1 ? 0x40u | text.len : head == 2 ? 0x58u : 0x59u);
    if (head == 3)
        at[1] = (uint8_t)(text.len >> 8);
    if (head > 1)
        at[head - 1] = (uint8_t)text.len;
    memcpy(at + head, text.p, text.len);
    *len += head + text.len;
    return 0;
}

int ota_env_put(uint8_t *buf, size_t cap, size_t *len, struct ota_text name, struct ota_text value)
{
    int st;
    if (cap < *len + 2u || (*len > 0 && buf[0] == 0x97))
        return ERR(LIMIT);
    if (*len == 0)
        buf[(*len)++] = 0x80;
    buf[0]++;
    buf[(*len)++] = value.p != NULL ? 0x82 : 0x81;
    st = put_string(buf, cap, len, name);
    return st != 0 || value.p == NULL ? st : put_string(buf, cap, len, value);
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static struct ota_text next_word(const char **p, const char *end)
{
    struct ota_text word;
    while (*p < end && (**p == ' ' || **p == '\t'))
        (*p)++;
    word.p = *p;
    while (*p < end && **p != ' ' && **p != '\t')
        (*p)++;
    word.len = (size_t)(*p - word.p);
    return word;
}

/* Decimal, or hexadecimal behind 0x; at most 2^48. */
static int number(struct ota_text word, uint64_t *value)
{
    unsigned base = word.len > 2 && word.p[0] == '0' && (word.p[1] | 32) == 'x' ? 16u : 10u;
    size_t i = base == 16 ? 2 : 0;
    *value = 0;
    if (word.len == 0)
        return 0;
    for (; i < word.len; i++) {
        char c = word.p[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                         : (c | 32) >= 'a'    ? (unsigned)((c | 32) - 'a') + 10u
                                              : 99u;
        if (digit >= base || *value >> 44 != 0)
            return 0;
        *value = *value * base + digit;
    }
    return 1;
}

/* NODE OFFSET SIZE [ERASE-BLOCK [BLOCKS]] */
static int parse_copy(struct ota_env *e, const char *p, const char *end)
{
    struct ota_env_copy *copy = &e->copy[e->count];
    struct ota_text word;
    uint64_t size = 0;
    uint64_t unit = 0;
    uint64_t units = 1;
    if (e->count == 2)
        return ota_env_fail(e, "fw_env.config has more than two copies");
    copy->node = next_word(&p, end);
    if (ota_root_check(copy->node.p, copy->node.len, 0) != 0 || !number(next_word(&p, end), &copy->offset) ||
        !number(next_word(&p, end), &size) || size < SIZE_MIN || size > SIZE_LIMIT)
        return ota_env_fail(e, "fw_env.config: a line is not NODE OFFSET SIZE");
    word = next_word(&p, end);
    if (word.len > 0 && !number(word, &unit))
        return ota_env_fail(e, "fw_env.config: the size of an erase block is no number");
    word = next_word(&p, end);
    if (word.len > 0 && (!number(word, &units) || units > 4096))
        return ota_env_fail(e, "fw_env.config: the number of erase blocks is no number");
    copy->size = (uint32_t)size;
    copy->room = unit > SIZE_LIMIT ? size : unit * units;
    if (copy->room < size)
        copy->room = size;
    e->count++;
    return 0;
}

int ota_env_configure(struct ota_env *e)
{
    size_t len = 0;
    const char *p = e->config;
    const char *end;
    int st = e->port->identity(e->port->ctx, OTA_ID_ENV, e->config, sizeof e->config, &len);
    if (st == ERR(MISSING))
        return ota_env_fail(e, "this board has no /etc/fw_env.config, which says where the environment is");
    for (end = p + len; st == 0 && p < end; p++) {
        const char *line = p;
        while (p < end && *p != '\0')
            p++;
        st = parse_copy(e, line, p);
    }
    if (st != 0)
        return st;
    return e->count == 2 && e->copy[0].size != e->copy[1].size
               ? ota_env_fail(e, "fw_env.config: the copies differ in size")
               : 0;
}
