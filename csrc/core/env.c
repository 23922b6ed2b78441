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
#include "env_parts.h"

#include <string.h>

int ota_env_fail(struct ota_env *e, const char *detail)
{
    e->detail = detail;
    return ERR(ENV);
}

/* ---- one copy through its window --------------------------------------------------------------------------------- */

int ota_env_view_open(struct ota_env *e, struct ota_env_view *v, unsigned i, enum ota_slot slot, enum ota_node_use use)
{
    struct ota_env_copy *c = &e->copy[i];
    uint32_t unit;
    int st = e->port->node_open(e->port->ctx, slot, c->node.p, c->node.len, use, &v->part.node);
    if (st != 0)
        return st;
    unit = v->part.node.kind == OTA_FLASH_BLOCK ? 1u : v->part.node.erase_size;
    if (unit == 0 || c->offset % unit != 0)
        return ota_env_fail(e, "fw_env.config: a copy does not begin at an erase block");
    if (v->part.node.kind == OTA_FLASH_BLOCK)
        c->room = c->size;
    c->room = (c->room + unit - 1) / unit * unit;
    if (unit > e->block_len)
        return ota_env_fail(e, "the erase block of the environment is larger than the block buffer");
    if (c->offset > v->part.node.size || c->room > v->part.node.size - c->offset)
        return ota_env_fail(e, "fw_env.config: a copy reaches beyond its node");
    c->kind = v->part.node.kind;
    v->part.base = c->offset;
    v->part.hole = OTA_NO_HOLE;
    v->flash = ota_flash_of_part(&v->part, c->room);
    ota_flash_reader_init(&v->reader, &v->flash);
    e->cache_len = 0;
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

uint32_t ota_env_crc(uint32_t crc, const uint8_t *p, size_t n)
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

uint32_t ota_env_head_size(const struct ota_env *e)
{
    return e->count == 2 ? 5u : 4u;
}

uint32_t ota_env_data_size(const struct ota_env *e)
{
    return e->copy[0].size - ota_env_head_size(e);
}

int ota_env_load(struct ota_env *e, unsigned i)
{
    struct ota_env_copy *c = &e->copy[i];
    uint32_t head = ota_env_head_size(e);
    uint32_t off = head;
    uint32_t crc = 0;
    size_t n;
    int st = ota_env_view_open(e, &e->from, i, OTA_SLOT_SOURCE, OTA_NODE_READ);
    if (st != 0)
        return st;
    c->valid = 0;
    st = ota_flash_read_at(&e->from.reader, 0, e->cache, head);
    c->crc = e->cache[0] | (uint32_t)e->cache[1] << 8 | (uint32_t)e->cache[2] << 16 | (uint32_t)e->cache[3] << 24;
    c->flags = head == 5 ? e->cache[4] : 0;
    for (; st == 0 && off < c->size; off += (uint32_t)n) {
        n = c->size - off < OTA_ENV_CACHE ? c->size - off : OTA_ENV_CACHE;
        st = ota_flash_read_at(&e->from.reader, off, e->cache, n);
        crc = ota_env_crc(crc, e->cache, n);
    }
    c->valid = st == 0 && crc == c->crc;
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_SOURCE);
    return 0;
}

int ota_env_choose(struct ota_env *e)
{
    const struct ota_env_copy *a = &e->copy[0];
    const struct ota_env_copy *b = &e->copy[1];
    if (e->count == 0)
        return ota_env_fail(e, "fw_env.config names no environment");
    if (!a->valid && (e->count == 1 || !b->valid))
        return ota_env_fail(e, "no copy of the environment is whole");
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
        return ota_env_fail(e, "fw_env.config: the copies are on different kinds of flash");
    if (ota_text_order(a->node, b->node) == 0 && a->offset < b->offset + b->room && b->offset < a->offset + a->room)
        return ota_env_fail(e, "fw_env.config: the copies share an erase block");
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
    st = ota_env_configure(e);
    for (i = 0; st == 0 && i < e->count; i++)
        st = ota_env_load(e, i);
    if (st == 0 && (st = ota_env_choose(e)) == 0)
        st = ota_env_view_open(e, &e->from, e->current, OTA_SLOT_SOURCE, OTA_NODE_READ);
    if (st != 0)
        ota_env_close(e);
    return st;
}

void ota_env_close(struct ota_env *e)
{
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_SOURCE);
    (void)e->port->node_close(e->port->ctx, OTA_SLOT_TARGET);
}

int ota_env_byte(struct ota_env *e, uint32_t at)
{
    uint32_t size = ota_env_data_size(e);
    int st;
    if (at >= size)
        return 0;
    if (e->cache_len == 0 || at < e->cache_at || at - e->cache_at >= e->cache_len) {
        size_t n = size - at < OTA_ENV_CACHE ? size - at : OTA_ENV_CACHE;
        e->cache_len = 0;
        if ((st = ota_flash_read_at(&e->from.reader, ota_env_head_size(e) + at, e->cache, n)) != 0)
            return st;
        e->cache_at = at;
        e->cache_len = n;
    }
    return e->cache[at - e->cache_at];
}

int ota_env_entry_at(struct ota_env *e, uint32_t at, struct ota_env_entry *x)
{
    uint32_t size = ota_env_data_size(e);
    int in_name = 1;
    int c = 0;
    x->at = at;
    x->name_len = 0;
    x->value = at;
    for (x->end = at; x->end < size && (c = ota_env_byte(e, x->end)) > 0; x->end++) {
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

struct ota_text ota_env_entry_name(const struct ota_env_entry *x)
{
    struct ota_text t;
    t.p = x->name;
    t.len = x->name_len;
    return t;
}

int ota_env_get(struct ota_env *e, struct ota_text name, char *buf, size_t cap, size_t *len)
{
    struct ota_env_entry x;
    uint32_t at;
    int found = 0;
    int st = 1;
    int c;
    *len = 0;
    for (at = 0; (st = ota_env_entry_at(e, at, &x)) == 1; at = x.end + 1) {
        if (ota_text_order(ota_env_entry_name(&x), name) != 0)
            continue;
        found = 1; /* the last one counts, as it does for the boot loader */
        if (x.end - x.value > cap)
            return ERR(LIMIT);
        for (*len = 0; *len < x.end - x.value; (*len)++) {
            if ((c = ota_env_byte(e, x.value + (uint32_t)*len)) < 0)
                return c;
            buf[*len] = (char)c;
        }
    }
    return st < 0 ? st : found;
}
