/* env_write.c - editing the environment, and writing it so that a power cut leaves the old one or the new one. */
#include "env_parts.h"

#include <string.h>

#define NOR_ACTIVE 1u
#define NOR_OBSOLETE 0u

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
    s->crc = ota_env_crc(s->crc, s->buf, n);
    return sink_raw(s, s->buf, n);
}

static int sink_put(struct sink *s, const char *data, size_t len)
{
    size_t i;
    int st = 0;
    if (len > ota_env_data_size(s->e) - s->made)
        return ota_env_fail(s->e, "the environment has no room for the changes");
    for (i = 0; st == 0 && i < len; i++) {
        s->buf[s->fill++] = (uint8_t)data[i];
        if (s->fill == sizeof s->buf)
            st = sink_flush(s);
    }
    s->made += (uint32_t)len;
    return st;
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

/* The old strings without those that change, those that are set, an empty string, and NULs to the end. */
static int produce(struct sink *s, struct ota_text changes)
{
    struct ota_env *e = s->e;
    struct ota_text name;
    struct ota_text value;
    struct ota_env_entry x;
    uint32_t at;
    size_t pos = 0;
    char c = 0;
    int b;
    int st;
    for (at = 0; (st = ota_env_entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (x.name_len > 0 && change_for(changes, ota_env_entry_name(&x), &value))
            continue;
        for (at = x.at; at <= x.end; at++) {
            if ((b = at < x.end ? ota_env_byte(e, at) : 0) < 0)
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
    while (st == 0 && s->made < ota_env_data_size(e))
        st = sink_put(s, "", 1);
    return st != 0 ? st : sink_flush(s);
}

static void sink_init(struct sink *s, struct ota_env *e)
{
    memset(s, 0, sizeof *s);
    s->e = e;
}

static int entry_value_is(struct ota_env *e, const struct ota_env_entry *x, struct ota_text value)
{
    size_t i;
    int c;
    if (x->end - x->value != value.len)
        return 0;
    for (i = 0; i < value.len; i++) {
        if ((c = ota_env_byte(e, x->value + (uint32_t)i)) < 0)
            return c;
        if (c != (uint8_t)value.p[i])
            return 0;
    }
    return 1;
}

/* 1: nothing of the environment has to change. */
static int is_right(struct ota_env *e, struct ota_text changes)
{
    struct ota_text name;
    struct ota_text value;
    struct ota_env_entry x;
    uint32_t at;
    unsigned wanted = 0;
    size_t pos = 0;
    int st;
    while ((st = ota_env_change(changes, &pos, &name, &value)) == 1)
        wanted += value.p != NULL;
    if (st < 0)
        return st;
    for (at = 0; (st = ota_env_entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (x.name_len == 0 || !change_for(changes, ota_env_entry_name(&x), &value))
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
    int st = ota_env_view_open(e, &e->to, to, OTA_SLOT_TARGET, OTA_NODE_WRITE);
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
    int st = ota_env_view_open(e, &e->to, old, OTA_SLOT_TARGET, OTA_NODE_WRITE);
    if (st != 0)
        return st;
    page = e->to.flash.prog_size;
    at = 4u - 4u % page;
    e->cache_len = 0;
    if (page > OTA_ENV_CACHE)
        return ota_env_fail(e, "the pages of this NOR flash are too large");
    if ((st = e->to.flash.read(e->to.flash.ctx, at, e->cache, page)) != 0)
        return st;
    e->cache[4u - at] = NOR_OBSOLETE;
    e->written += page;
    return e->to.flash.prog(e->to.flash.ctx, at, e->cache, page);
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
    if ((st = sink_raw(s, head, ota_env_head_size(e))) != 0 || (st = produce(s, changes)) != 0)
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
    if (st != 0 || (st = ota_env_load(e, to)) != 0)
        return st;
    if (!e->copy[to].valid || e->copy[to].crc != crc) {
        e->detail = "the environment was read back";
        return ERR(VERIFY);
    }
    if (e->count == 2 && e->copy[to].kind == OTA_FLASH_NOR) {
        st = obsolete(e, old);
        ota_env_close(e);
        if (st != 0 || (st = ota_env_load(e, old)) != 0)
            return st;
    }
    if ((st = ota_env_choose(e)) != 0 || e->current != to)
        return st != 0 ? st : ERR(VERIFY);
    return ota_env_view_open(e, &e->from, to, OTA_SLOT_SOURCE, OTA_NODE_READ);
}
