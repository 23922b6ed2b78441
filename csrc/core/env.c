/* env.c - U-Boot's environment as data.
 *
 * On the medium: CRC-32 of what follows the head, little-endian; with two copies a byte that says which is newer; then
 * NAME=VALUE strings, each ended by NUL, and an empty one behind the last.
 *
 * With two copies the one that is not in use is written, checked and only then becomes the one in use, so a cut leaves
 * the old environment. On NAND, block devices and volumes the byte is a number that counts up, and the new copy is the
 * one in use as soon as its CRC is right. On NOR it is 1 (in use) or 0: once the new copy is whole, a 0 is programmed
 * over that of the old one, which needs no erase.
 *
 * The environment is edited while it is copied: once to learn its CRC, which stands in front, and once to write it.
 */
#include "env.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

#define SIZE_MIN 64u
#define SIZE_LIMIT (1u << 24)
#define NOR_ACTIVE 1u
#define NOR_OBSOLETE 0u

static int fail(struct ota_env *e, const char *detail)
{
    e->detail = detail;
    return ERR(ENV);
}

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

/* Is there a change for this name? */
static int change_for(struct ota_text changes, struct ota_text name, struct ota_text *value)
{
    struct ota_text other;
    size_t pos = 0;
    while (ota_env_change(changes, &pos, &other, value) == 1)
        if (ota_text_order(other, name) == 0)
            return 1;
    return 0;
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
        return fail(e, "fw_env.config has more than two copies");
    copy->node = next_word(&p, end);
    if (ota_root_check(copy->node.p, copy->node.len, 0) != 0 || !number(next_word(&p, end), &copy->offset) ||
        !number(next_word(&p, end), &size) || size < SIZE_MIN || size > SIZE_LIMIT)
        return fail(e, "fw_env.config: a line is not NODE OFFSET SIZE");
    word = next_word(&p, end);
    if (word.len > 0 && !number(word, &unit))
        return fail(e, "fw_env.config: the size of an erase block is no number");
    word = next_word(&p, end);
    if (word.len > 0 && (!number(word, &units) || units > 4096))
        return fail(e, "fw_env.config: the number of erase blocks is no number");
    copy->size = (uint32_t)size;
    copy->room = unit > SIZE_LIMIT ? size : unit * units;
    if (copy->room < size)
        copy->room = size;
    e->count++;
    return 0;
}

static int parse_config(struct ota_env *e)
{
    size_t len = 0;
    const char *p = e->config;
    const char *end;
    int st = e->port->identity(e->port->ctx, OTA_ID_ENV, e->config, sizeof e->config, &len);
    if (st == ERR(MISSING))
        return fail(e, "this board has no /etc/fw_env.config, which says where the environment is");
    for (end = p + len; st == 0 && p < end; p++) {
        const char *line = p;
        while (p < end && *p != '\0')
            p++;
        st = parse_copy(e, line, p);
    }
    if (st != 0)
        return st;
    return e->count == 2 && e->copy[0].size != e->copy[1].size ? fail(e, "fw_env.config: the copies differ in size")
                                                               : 0;
}

/* ---- one copy through its window --------------------------------------------------------------------------------- */

static int view_read(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    const struct ota_env_view *v = ctx;
    return v->node.read(v->node.ctx, v->base + off, buf, len);
}

static int view_prog(void *ctx, uint64_t off, const uint8_t *buf, size_t len)
{
    const struct ota_env_view *v = ctx;
    return v->node.prog(v->node.ctx, v->base + off, buf, len);
}

static int view_erase(void *ctx, uint64_t off)
{
    const struct ota_env_view *v = ctx;
    return v->node.erase(v->node.ctx, v->base + off);
}

static int view_is_bad(void *ctx, uint64_t off)
{
    const struct ota_env_view *v = ctx;
    return v->node.is_bad(v->node.ctx, v->base + off);
}

static int view_mark_bad(void *ctx, uint64_t off)
{
    const struct ota_env_view *v = ctx;
    return v->node.mark_bad(v->node.ctx, v->base + off);
}

static int view_sync(void *ctx)
{
    const struct ota_env_view *v = ctx;
    return v->node.sync != NULL ? v->node.sync(v->node.ctx) : 0;
}

static int view_open(struct ota_env *e, struct ota_env_view *v, unsigned i, enum ota_slot slot, enum ota_node_use use)
{
    struct ota_env_copy *c = &e->copy[i];
    uint32_t unit;
    int st = e->port->node_open(e->port->ctx, slot, c->node.p, c->node.len, use, &v->node);
    if (st != 0)
        return st;
    unit = v->node.kind == OTA_FLASH_BLOCK ? 1u : v->node.erase_size;
    if (unit == 0 || c->offset % unit != 0)
        return fail(e, "fw_env.config: a copy does not begin at an erase block");
    if (v->node.kind == OTA_FLASH_BLOCK)
        c->room = c->size;
    c->room = (c->room + unit - 1) / unit * unit;
    if (unit > e->block_len)
        return fail(e, "the erase block of the environment is larger than the block buffer");
    if (c->offset > v->node.size || c->room > v->node.size - c->offset)
        return fail(e, "fw_env.config: a copy reaches beyond its node");
    c->kind = v->node.kind;
    v->base = c->offset;
    v->flash = v->node;
    v->flash.ctx = v;
    v->flash.size = c->room;
    v->flash.read = view_read;
    v->flash.prog = view_prog;
    v->flash.erase = view_erase;
    v->flash.is_bad = view_is_bad;
    v->flash.mark_bad = view_mark_bad;
    v->flash.sync = view_sync;
    ota_flash_reader_init(&v->reader, &v->flash);
    e->cache_len = 0;
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static uint32_t crc_of(uint32_t crc, const uint8_t *p, size_t n)
{
    /* CRC-32 of IEEE 802.3, reflected, four bits at a time */
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
    };
    size_t i;
    crc = ~crc;
    for (i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

static uint32_t head_size(const struct ota_env *e)
{
    return e->count == 2 ? 5u : 4u;
}

/* Bytes of the strings. */
static uint32_t data_size(const struct ota_env *e)
{
    return e->copy[0].size - head_size(e);
}

/* Read one copy's head and CRC. What cannot be read is not whole, and no reason to give up while the other one is. */
static int load(struct ota_env *e, unsigned i)
{
    struct ota_env_copy *c = &e->copy[i];
    uint32_t head = head_size(e);
    uint32_t off = head;
    uint32_t crc = 0;
    size_t n;
    int st = view_open(e, &e->from, i, OTA_SLOT_SOURCE, OTA_NODE_READ);
    if (st != 0)
        return st;
    c->valid = 0;
    st = ota_flash_read_at(&e->from.reader, 0, e->cache, head);
    c->crc = e->cache[0] | (uint32_t)e->cache[1] << 8 | (uint32_t)e->cache[2] << 16 | (uint32_t)e->cache[3] << 24;
    c->flags = head == 5 ? e->cache[4] : 0;
    for (; st == 0 && off < c->size; off += (uint32_t)n) {
        n = c->size - off < OTA_ENV_CACHE ? c->size - off : OTA_ENV_CACHE;
        st = ota_flash_read_at(&e->from.reader, off, e->cache, n);
        crc = crc_of(crc, e->cache, n);
    }
    c->valid = st == 0 && crc == c->crc;
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_SOURCE);
    return 0;
}

/* As the boot loader chooses: the newer one, where 0 is newer than 255; the first if they are alike. */
static int choose(struct ota_env *e)
{
    const struct ota_env_copy *a = &e->copy[0];
    const struct ota_env_copy *b = &e->copy[1];
    if (e->count == 0)
        return fail(e, "fw_env.config names no environment");
    if (!a->valid && (e->count == 1 || !b->valid))
        return fail(e, "no copy of the environment is whole");
    if (e->count == 1 || !b->valid)
        e->current = 0;
    else if (!a->valid)
        e->current = 1;
    else if (a->flags == 255 && b->flags == 0)
        e->current = 1;
    else
        e->current = b->flags > a->flags && !(b->flags == 255 && a->flags == 0);
    if (e->count == 1)
        return 0;
    if ((a->kind == OTA_FLASH_NOR) != (b->kind == OTA_FLASH_NOR))
        return fail(e, "fw_env.config: the copies are on different kinds of flash");
    if (ota_text_order(a->node, b->node) == 0 && a->offset < b->offset + b->room && b->offset < a->offset + a->room)
        return fail(e, "fw_env.config: the copies share an erase block");
    return 0;
}

int ota_env_open(struct ota_env *e, const struct ota_port *port, uint8_t *block, uint32_t block_len)
{
    unsigned i;
    int st;
    memset(e, 0, sizeof *e);
    e->port = port;
    e->block = block;
    e->block_len = block_len;
    st = parse_config(e);
    for (i = 0; st == 0 && i < e->count; i++)
        st = load(e, i);
    if (st == 0 && (st = choose(e)) == 0)
        st = view_open(e, &e->from, e->current, OTA_SLOT_SOURCE, OTA_NODE_READ);
    if (st != 0)
        ota_env_close(e);
    return st;
}

void ota_env_close(struct ota_env *e)
{
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_SOURCE);
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_TARGET);
}

/* The byte of the strings at `at`, or a negative status. Behind the last one there are NULs. */
static int byte_at(struct ota_env *e, uint32_t at)
{
    uint32_t size = data_size(e);
    int st;
    if (at >= size)
        return 0;
    if (e->cache_len == 0 || at < e->cache_at || at - e->cache_at >= e->cache_len) {
        size_t n = size - at < OTA_ENV_CACHE ? size - at : OTA_ENV_CACHE;
        e->cache_len = 0;
        if ((st = ota_flash_read_at(&e->from.reader, head_size(e) + at, e->cache, n)) != 0)
            return st;
        e->cache_at = at;
        e->cache_len = n;
    }
    return e->cache[at - e->cache_at];
}

/* One NAME=VALUE: where it begins, how long its name is (OTA_NAME_MAX at most; longer ones are no name of a change),
 * where its value begins and where its NUL is. */
struct entry {
    uint32_t at;
    uint32_t value;
    uint32_t end;
    size_t name_len;
    char name[OTA_NAME_MAX];
};

/* The entry at `at`: 1, or 0 behind the last. */
static int entry_at(struct ota_env *e, uint32_t at, struct entry *x)
{
    uint32_t size = data_size(e);
    int in_name = 1;
    int c = 0;
    x->at = at;
    x->name_len = 0;
    x->value = at;
    for (x->end = at; x->end < size && (c = byte_at(e, x->end)) > 0; x->end++) {
        if (in_name && c == '=') {
            in_name = 0;
            x->value = x->end + 1;
        } else if (in_name && x->name_len < OTA_NAME_MAX) {
            x->name[x->name_len++] = (char)c;
        } else if (in_name) {
            x->name_len = 0; /* longer than any that could be asked for */
            in_name = 0;
        }
    }
    return c < 0 ? c : x->end > at;
}

static struct ota_text entry_name(const struct entry *x)
{
    struct ota_text t;
    t.p = x->name;
    t.len = x->name_len;
    return t;
}

static int entry_value_is(struct ota_env *e, const struct entry *x, struct ota_text value)
{
    size_t i;
    int c;
    if (x->end - x->value != value.len)
        return 0;
    for (i = 0; i < value.len; i++) {
        if ((c = byte_at(e, x->value + (uint32_t)i)) < 0)
            return c;
        if (c != (uint8_t)value.p[i])
            return 0;
    }
    return 1;
}

int ota_env_get(struct ota_env *e, struct ota_text name, char *buf, size_t cap, size_t *len)
{
    struct entry x;
    uint32_t at;
    int found = 0;
    int st = 1;
    int c;
    *len = 0;
    for (at = 0; (st = entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (ota_text_order(entry_name(&x), name) != 0)
            continue;
        found = 1; /* the last one counts, as it does for the boot loader */
        if (x.end - x.value > cap)
            return ERR(LIMIT);
        for (*len = 0; *len < x.end - x.value; (*len)++) {
            if ((c = byte_at(e, x.value + (uint32_t)*len)) < 0)
                return c;
            buf[*len] = (char)c;
        }
    }
    return st < 0 ? st : found;
}

/* ---- editing ----------------------------------------------------------------------------------------------------- */

/* Takes the new content piece by piece: its CRC, and if `writing`, to the writer or the volume that is being made. */
struct sink {
    struct ota_env *e;
    int writing;
    int volume;
    struct ota_flash_writer writer;
    uint32_t crc;
    uint32_t made;
    size_t fill;
    uint8_t buf[256];
};

static int sink_raw(struct sink *s, const uint8_t *data, size_t len)
{
    if (!s->writing)
        return 0;
    if (s->volume)
        return s->e->port->ubi_write(s->e->port->ctx, data, len);
    return ota_flash_writer_write(&s->writer, data, len);
}

static int sink_flush(struct sink *s)
{
    size_t n = s->fill;
    s->fill = 0;
    s->crc = crc_of(s->crc, s->buf, n);
    return sink_raw(s, s->buf, n);
}

static int sink_put(struct sink *s, const char *data, size_t len)
{
    size_t i;
    int st = 0;
    if (len > data_size(s->e) - s->made)
        return fail(s->e, "the environment has no room for the changes");
    for (i = 0; st == 0 && i < len; i++) {
        s->buf[s->fill++] = (uint8_t)data[i];
        if (s->fill == sizeof s->buf)
            st = sink_flush(s);
    }
    s->made += (uint32_t)len;
    return st;
}

/* The old strings without those that change, those that are set, an empty string, and NULs to the end. */
static int produce(struct sink *s, struct ota_text changes)
{
    struct ota_env *e = s->e;
    struct ota_text name;
    struct ota_text value;
    struct entry x;
    uint32_t at;
    size_t pos = 0;
    char c = 0;
    int b;
    int st;
    for (at = 0; (st = entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (x.name_len > 0 && change_for(changes, entry_name(&x), &value))
            continue;
        for (at = x.at; at <= x.end; at++) {
            if ((b = at < x.end ? byte_at(e, at) : 0) < 0)
                return b;
            c = (char)b;
            if ((st = sink_put(s, &c, 1)) != 0)
                return st;
        }
    }
    while (st == 0 && (st = ota_env_change(changes, &pos, &name, &value)) == 1) {
        st = 0;
        if (value.p != NULL && ((st = sink_put(s, name.p, name.len)) != 0 || (st = sink_put(s, "=", 1)) != 0 ||
                                (st = sink_put(s, value.p, value.len)) != 0 || (st = sink_put(s, "", 1)) != 0))
            return st;
    }
    if (st == 0)
        st = sink_put(s, "", 1);
    while (st == 0 && s->made < data_size(e))
        st = sink_put(s, "", 1);
    return st != 0 ? st : sink_flush(s);
}

static void sink_init(struct sink *s, struct ota_env *e)
{
    memset(s, 0, sizeof *s);
    s->e = e;
}

/* 1: nothing of the environment has to change. */
static int is_right(struct ota_env *e, struct ota_text changes)
{
    struct ota_text name;
    struct ota_text value;
    struct entry x;
    uint32_t at;
    unsigned wanted = 0;
    size_t pos = 0;
    int st;
    while ((st = ota_env_change(changes, &pos, &name, &value)) == 1)
        wanted += value.p != NULL;
    if (st < 0)
        return st;
    for (at = 0; (st = entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (x.name_len == 0 || !change_for(changes, entry_name(&x), &value))
            continue;
        if (value.p == NULL || wanted-- == 0)
            return 0;
        if ((st = entry_value_is(e, &x, value)) != 1)
            return st;
    }
    return st < 0 ? st : wanted == 0;
}

int ota_env_check(struct ota_env *e, struct ota_text changes)
{
    struct sink s;
    int st = is_right(e, changes);
    if (st != 0)
        return st;
    sink_init(&s, e);
    return produce(&s, changes);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Open copy `to` for writing: a flash writer, or an update of the volume. */
static int write_begin(struct sink *s, unsigned to)
{
    struct ota_env *e = s->e;
    struct ota_env_copy *c = &e->copy[to];
    uint64_t size;
    int st = view_open(e, &e->to, to, OTA_SLOT_TARGET, OTA_NODE_WRITE);
    s->writing = 1;
    if (st == ERR(NODE) && c->offset == 0) { /* a volume is not written as a node */
        s->volume = 1;
        return e->port->ubi_begin(e->port->ctx, c->node.p, c->node.len, c->size);
    }
    if (st != 0)
        return st;
    size = c->kind == OTA_FLASH_NOR ? c->room : c->size; /* what else a NOR block holds stays; on NAND nothing does */
    return ota_flash_writer_init(&s->writer, &e->to.flash, size, e->block, e->block_len);
}

static int write_end(struct sink *s)
{
    struct ota_env *e = s->e;
    int st;
    if (s->volume)
        return e->port->ubi_end(e->port->ctx);
    while (s->writer.taken < s->writer.size) { /* nothing but NOR gets here; see write_begin */
        size_t n = s->writer.size - s->writer.taken < sizeof s->buf ? (size_t)(s->writer.size - s->writer.taken)
                                                                    : sizeof s->buf;
        if ((st = ota_flash_read_at(&e->to.reader, s->writer.taken, s->buf, n)) != 0 ||
            (st = sink_raw(s, s->buf, n)) != 0)
            return st;
    }
    st = ota_flash_writer_finish(&s->writer);
    e->written += s->writer.written;
    return st;
}

/* Program the old copy's byte to "not in use": only 1 bits become 0, so nothing is erased. */
static int obsolete(struct ota_env *e, unsigned old)
{
    uint32_t page;
    uint32_t at;
    int st = view_open(e, &e->to, old, OTA_SLOT_TARGET, OTA_NODE_WRITE);
    if (st != 0)
        return st;
    page = e->to.flash.prog_size;
    at = 4u - 4u % page;
    e->cache_len = 0;
    if (page > OTA_ENV_CACHE)
        return fail(e, "the pages of this NOR flash are too large");
    if ((st = view_read(&e->to, at, e->cache, page)) != 0)
        return st;
    e->cache[4u - at] = NOR_OBSOLETE;
    e->written += page;
    return view_prog(&e->to, at, e->cache, page);
}

static int write_copy(struct sink *s, struct ota_text changes, unsigned to, uint32_t crc)
{
    struct ota_env *e = s->e;
    uint8_t head[5];
    int st;
    unsigned i;
    for (i = 0; i < 4; i++)
        head[i] = (uint8_t)(crc >> 8 * i);
    if ((st = write_begin(s, to)) != 0)
        return st;
    head[4] = (uint8_t)(e->copy[to].kind == OTA_FLASH_NOR ? NOR_ACTIVE : e->copy[e->current].flags + 1u);
    if ((st = sink_raw(s, head, head_size(e))) != 0 || (st = produce(s, changes)) != 0)
        return st;
    return write_end(s);
}

int ota_env_apply(struct ota_env *e, struct ota_text changes)
{
    struct sink s;
    unsigned old = e->current;
    unsigned to = e->count == 2 ? 1u - old : 0u;
    uint32_t crc;
    int st = ota_env_check(e, changes);
    if (st != 0)
        return st;
    sink_init(&s, e);
    if ((st = produce(&s, changes)) != 0)
        return st;
    crc = s.crc;
    sink_init(&s, e);
    st = write_copy(&s, changes, to, crc);
    ota_env_close(e);
    if (st != 0 || (st = load(e, to)) != 0)
        return st;
    if (!e->copy[to].valid || e->copy[to].crc != crc) {
        e->detail = "the environment was read back";
        return ERR(VERIFY);
    }
    if (e->count == 2 && e->copy[to].kind == OTA_FLASH_NOR) {
        st = obsolete(e, old);
        ota_env_close(e);
        if (st != 0 || (st = load(e, old)) != 0)
            return st;
    }
    if ((st = choose(e)) != 0 || e->current != to)
        return st != 0 ? st : ERR(VERIFY);
    return view_open(e, &e->from, to, OTA_SLOT_SOURCE, OTA_NODE_READ);
}
