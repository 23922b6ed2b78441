/* wire.c - strict reader of the deterministic CBOR subset that records are made of (docs/SPEC.md section 5).
 *
 * Each key has one parser and one field of struct ota_record; each kind has a mask of keys that it may and must have.
 * Nothing is recursive: the grammar fixes the nesting.
 */
#include "wire.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

/* Text of a symbolic link: 1 .. OTA_PATH_MAX bytes without NUL. */
static int check_link_text(struct ota_text text)
{
    size_t i;
    for (i = 0; i < text.len; i++)
        if (text.p[i] == '\0')
            return ERR(FORMAT);
    return text.len == 0 || text.len > OTA_PATH_MAX ? ERR(FORMAT) : 0;
}

static int get_path(struct ota_cbor *c, struct ota_text *out)
{
    int st = ota_cbor_string(c, 2, 0, SIZE_MAX, out);
    return st != 0 ? st : ota_path_check(out->p, out->len);
}

static int get_root(struct ota_cbor *c, int allow_slash, struct ota_text *out)
{
    int st = ota_cbor_string(c, 2, 0, SIZE_MAX, out);
    return st != 0 ? st : ota_root_check(out->p, out->len, allow_slash);
}

/* ---- compound fields ------------------------------------------------------------------------------------------- */

#define SIZE_LIMIT (UINT64_MAX >> 1)

static int get_targets(struct ota_cbor *c, struct ota_record *rec)
{
    uint64_t n;
    unsigned i;
    unsigned k;
    int st = ota_cbor_count(c, 4, 1, OTA_TARGETS_MAX, &n);
    if (st != 0)
        return st;
    for (i = 0; i < n; i++) {
        if ((st = get_root(c, 0, &rec->targets[i])) != 0)
            return st;
        for (k = 0; k < i; k++)
            if (ota_text_order(rec->targets[k], rec->targets[i]) == 0)
                return ERR(FORMAT);
    }
    rec->target_count = (unsigned)n;
    return 0;
}

static int get_source(struct ota_cbor *c, struct ota_record_source *s)
{
    uint64_t pairs;
    uint64_t key;
    uint64_t one;
    uint64_t last = 0;
    uint64_t has = 0;
    int st = ota_cbor_count(c, 5, 1, 4, &pairs);

    for (; st == 0 && pairs > 0; pairs--) {
        if ((st = ota_cbor_uint(c, UINT64_MAX, &key)) != 0)
            return st;
        if (key != OTA_KEY_ROOT && key != OTA_KEY_PATH && key != OTA_KEY_SIZE && key != OTA_KEY_DIGEST &&
            key != OTA_KEY_TARGETS)
            return ERR(UNSUPPORTED);
        if (has != 0 && key <= last)
            return ERR(FORMAT);
        last = key;
        has |= UINT64_C(1) << key;
        if (key == OTA_KEY_ROOT)
            st = get_root(c, 1, &s->root);
        else if (key == OTA_KEY_PATH)
            st = get_path(c, &s->path);
        else if (key == OTA_KEY_SIZE)
            st = ota_cbor_uint(c, SIZE_LIMIT, &s->size);
        else if (key == OTA_KEY_DIGEST)
            st = ota_cbor_uint(c, UINT64_MAX, &s->digest);
        else if ((st = ota_cbor_count(c, 4, 1, 1, &one)) == 0)
            st = get_root(c, 0, &s->node);
    }
    if (st != 0)
        return st;
    if ((has & OTA_HAS(SIZE)) == 0 || ((has & OTA_HAS(ROOT)) && !(has & OTA_HAS(PATH))) ||
        ((has & OTA_HAS(TARGETS)) && (has & OTA_HAS(PATH))))
        return ERR(FORMAT);
    s->has_digest = (has & OTA_HAS(DIGEST)) != 0;
    s->type = (has & OTA_HAS(PATH)) ? OTA_SOURCE_PATH : (has & OTA_HAS(TARGETS)) ? OTA_SOURCE_NODE : OTA_SOURCE_SELF;
    return 0;
}

static int get_state(struct ota_cbor *c, struct ota_state *s)
{
    static const uint8_t items[5] = {1, 3, 1, 2, 1};
    uint64_t n;
    uint64_t type;
    int st = ota_cbor_count(c, 4, 1, 3, &n);
    if (st == 0)
        st = ota_cbor_uint(c, UINT64_MAX, &type);
    if (st != 0)
        return st;
    if (type > OTA_STATE_ANY)
        return ERR(UNSUPPORTED);
    if (n != items[type])
        return ERR(FORMAT);
    s->type = (enum ota_state_type)type;
    if (s->type == OTA_STATE_FILE) {
        if ((st = ota_cbor_uint(c, SIZE_LIMIT, &s->size)) == 0)
            st = ota_cbor_uint(c, UINT64_MAX, &s->digest);
    } else if (s->type == OTA_STATE_LINK) {
        if ((st = ota_cbor_string(c, 2, 0, SIZE_MAX, &s->text)) == 0)
            st = check_link_text(s->text);
    }
    return st;
}

int ota_xattr_next(const uint8_t *xattrs, size_t len, size_t *pos, const uint8_t **name, size_t *name_len,
                   const uint8_t **value, size_t *value_len)
{
    struct ota_cbor c;
    struct ota_text t;
    uint64_t n;
    int st;
    if (len == 0)
        return 0;
    c.p = xattrs + *pos;
    c.end = xattrs + len;
    if (*pos == 0 && (st = ota_cbor_count(&c, 4, 0, 1024, &n)) != 0)
        return st;
    if (c.p == c.end)
        return 0;
    if ((st = ota_cbor_count(&c, 4, 2, 2, &n)) != 0 || (st = ota_cbor_string(&c, 2, 1, OTA_NAME_MAX, &t)) != 0)
        return st;
    *name = (const uint8_t *)t.p;
    *name_len = t.len;
    if ((st = ota_cbor_string(&c, 2, 0, SIZE_MAX, &t)) != 0)
        return st;
    *value = (const uint8_t *)t.p;
    *value_len = t.len;
    *pos = (size_t)(c.p - xattrs);
    return 1;
}

/* Checks the array of pairs and remembers where it stands; ota_xattr_next walks it later. */
static int get_xattrs(struct ota_cbor *c, struct ota_record *rec)
{
    const uint8_t *start = c->p;
    struct ota_text last = {NULL, 0};
    struct ota_text name;
    struct ota_text value;
    uint64_t pairs;
    uint64_t two;
    size_t i;
    int st = ota_cbor_count(c, 4, 0, 1024, &pairs);

    for (; st == 0 && pairs > 0; pairs--) {
        if ((st = ota_cbor_count(c, 4, 2, 2, &two)) != 0 || (st = ota_cbor_string(c, 2, 1, OTA_NAME_MAX, &name)) != 0 ||
            (st = ota_cbor_string(c, 2, 0, SIZE_MAX, &value)) != 0)
            return st;
        for (i = 0; i < name.len; i++)
            if (name.p[i] == '\0')
                return ERR(FORMAT);
        if (last.p != NULL && ota_text_order(last, name) >= 0)
            return ERR(FORMAT);
        last = name;
    }
    rec->xattrs = start;
    rec->xattrs_len = (size_t)(c->p - start);
    return st;
}

static int get_compatible(struct ota_cbor *c, struct ota_record *rec)
{
    const uint8_t *start = c->p;
    struct ota_text t;
    uint64_t n;
    int st = ota_cbor_count(c, 4, 1, 64, &n);
    for (; st == 0 && n > 0; n--)
        st = ota_cbor_string(c, 3, 1, 255, &t);
    rec->compatible.p = (const char *)start;
    rec->compatible.len = (size_t)(c->p - start);
    return st;
}

/* A name: 1 .. 255 printable characters of ASCII but '='. A value: 1 .. 4096 bytes without control characters. */
static int env_text_ok(struct ota_text t, int is_name)
{
    size_t i;
    for (i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.p[i];
        if (c < 0x20 || c == 0x7f || (is_name && (c == ' ' || c == '=' || c > 0x7f)))
            return 0;
    }
    return t.len <= (is_name ? OTA_NAME_MAX : OTA_ENV_VALUE_MAX);
}

/* Pairs that set a variable, and names alone, which delete one; names rise. ota_env_change walks them later. */
static int get_env(struct ota_cbor *c, struct ota_record *rec)
{
    const uint8_t *start = c->p;
    struct ota_text last = {NULL, 0};
    struct ota_text name;
    struct ota_text value;
    uint64_t n;
    uint64_t parts;
    int st = ota_cbor_count(c, 4, 1, 256, &n);

    for (; st == 0 && n > 0; n--) {
        if ((st = ota_cbor_count(c, 4, 1, 2, &parts)) != 0 || (st = ota_cbor_string(c, 2, 1, SIZE_MAX, &name)) != 0)
            return st;
        if (parts == 2 && ((st = ota_cbor_string(c, 2, 1, SIZE_MAX, &value)) != 0 || !env_text_ok(value, 0)))
            return ERR(FORMAT);
        if (!env_text_ok(name, 1) || (last.p != NULL && ota_text_order(last, name) >= 0))
            return ERR(FORMAT);
        last = name;
    }
    rec->env.p = (const char *)start;
    rec->env.len = (size_t)(c->p - start);
    return st;
}

struct need_name {
    char name[20];
    uint64_t bit;
};

static const struct need_name need_names[] = {
    {"block", OTA_NEED_KIND(OTA_KIND_BLOCK)},
    {"bsdiff", OTA_NEED_ENGINE(OTA_ENGINE_BSDIFF)},
    {"deflate-gnu-gzip", OTA_NEED_CODING(OTA_CODING_GNUZIP)},
    {"deflate-jffs2", OTA_NEED_CODING(OTA_CODING_JFFS2)},
    {"deflate-zlib", OTA_NEED_CODING(OTA_CODING_DEFLATE)},
    {"delete", OTA_NEED_KIND(OTA_KIND_DELETE)},
    {"dir", OTA_NEED_KIND(OTA_KIND_DIR)},
    {"env", OTA_NEED_KIND(OTA_KIND_ENV)},
    {"fallback", OTA_NEED_FALLBACK},
    {"file", OTA_NEED_KIND(OTA_KIND_FILE)},
    {"full", OTA_NEED_ENGINE(OTA_ENGINE_FULL)},
    {"link", OTA_NEED_KIND(OTA_KIND_LINK)},
    {"lz4-1.9.4", OTA_NEED_CODING(OTA_CODING_LZ4)},
    {"lzo1x-2.10", OTA_NEED_CODING(OTA_CODING_LZO)},
    {"move", OTA_NEED_KIND(OTA_KIND_MOVE)},
    {"script", OTA_NEED_KIND(OTA_KIND_SCRIPT)},
    {"ubi", OTA_NEED_KIND(OTA_KIND_UBI)},
    {"view-parts", OTA_NEED_VIEW(OTA_VIEW_PARTS)},
    {"xref", OTA_NEED_ENGINE(OTA_ENGINE_XREF)},
    {"xz-liblzma", OTA_NEED_CODING(OTA_CODING_XZ)},
    {"zstd-1.5.4", OTA_NEED_CODING(OTA_CODING_ZSTD)},
};

const char *ota_need_name(uint64_t bits)
{
    for (size_t i = 0; i < sizeof need_names / sizeof need_names[0]; i++)
        if ((need_names[i].bit & bits) != 0)
            return need_names[i].name;
    return "";
}

static int get_needs(struct ota_cbor *c, struct ota_record *rec, char *detail, size_t cap)
{
    struct ota_text last = {NULL, 0};
    struct ota_text t;
    uint64_t n;
    size_t i;
    int st = ota_cbor_count(c, 4, 0, 256, &n);
    for (; st == 0 && n > 0; n--) {
        if ((st = ota_cbor_string(c, 3, 1, 32, &t)) != 0)
            return st;
        if (last.p != NULL && ota_text_order(last, t) >= 0)
            return ERR(FORMAT);
        last = t;
        for (i = 0; i < sizeof need_names / sizeof need_names[0]; i++)
            if (ota_text_len(need_names[i].name, sizeof need_names[i].name) == t.len &&
                memcmp(need_names[i].name, t.p, t.len) == 0)
                break;
        if (i == sizeof need_names / sizeof need_names[0]) {
            detail[0] = '\0';
            ota_put_bytes(detail, cap, t.p, t.len);
            return ERR(UNSUPPORTED);
        }
        rec->needs |= need_names[i].bit;
    }
    return st;
}

/* ---- fields and kinds ------------------------------------------------------------------------------------------ */

static int get_small(struct ota_cbor *c, uint64_t max, unsigned *out)
{
    uint64_t v;
    int st = ota_cbor_uint(c, UINT64_MAX, &v);
    if (st == 0 && v > max)
        st = ERR(UNSUPPORTED);
    *out = (unsigned)v;
    return st;
}

static int get_u32(struct ota_cbor *c, uint64_t max, uint32_t *out)
{
    uint64_t v;
    int st = ota_cbor_uint(c, max, &v);
    *out = (uint32_t)v;
    return st;
}

static int get_engine(struct ota_cbor *c, struct ota_record *rec)
{
    unsigned id;
    int st = get_small(c, OTA_ENGINE_XREF, &id);
    rec->engine = (int)id;
    return st;
}

/* Identity is never written. */
static int get_view(struct ota_cbor *c, unsigned *out)
{
    int st = get_small(c, OTA_VIEW_PARTS, out);
    return st == 0 && *out == OTA_VIEW_IDENTITY ? ERR(FORMAT) : st;
}

/* One case per key; the only place that knows which field of the struct a key fills. */
static int get_field(struct ota_cbor *c, uint64_t key, struct ota_record *rec, char *detail, size_t cap)
{
    struct ota_text ignored;
    uint64_t number;
    int st;
    switch (key) {
    case OTA_KEY_ROOT:
        return get_root(c, 1, &rec->root);
    case OTA_KEY_PATH:
        return get_path(c, &rec->path);
    case OTA_KEY_SIZE:
        return ota_cbor_uint(c, SIZE_LIMIT, &rec->size);
    case OTA_KEY_DIGEST:
        return ota_cbor_uint(c, UINT64_MAX, &rec->digest);
    case OTA_KEY_MODE:
        return get_u32(c, 07777, &rec->mode);
    case OTA_KEY_UID:
        return get_u32(c, 0xFFFFFFFEu, &rec->uid);
    case OTA_KEY_GID:
        return get_u32(c, 0xFFFFFFFEu, &rec->gid);
    case OTA_KEY_ENGINE:
        return get_engine(c, rec);
    case OTA_KEY_SOURCE:
        return get_source(c, &rec->source);
    case OTA_KEY_TARGETS:
        return get_targets(c, rec);
    case OTA_KEY_OLD_VIEW:
        return get_view(c, &rec->old_view);
    case OTA_KEY_NEW_VIEW:
        return get_view(c, &rec->new_view);
    case OTA_KEY_XATTRS:
        return get_xattrs(c, rec);
    case OTA_KEY_WHEN:
        return get_small(c, OTA_SCRIPT_END, &rec->when);
    case OTA_KEY_LABEL:
        return ota_cbor_string(c, 3, 1, OTA_LABEL_MAX, &rec->label);
    case OTA_KEY_NOTE:
        return ota_cbor_string(c, 3, 1, 255, &ignored);
    case OTA_KEY_TO:
        return ota_cbor_string(c, 2, 0, SIZE_MAX, &rec->to);
    case OTA_KEY_TYPE:
        return get_small(c, OTA_EXPECT_ENV, &rec->type);
    case OTA_KEY_OLD:
        return get_state(c, &rec->before);
    case OTA_KEY_NEW:
        return get_state(c, &rec->after);
    case OTA_KEY_NAME:
        return ota_cbor_string(c, 3, 1, 255, &rec->name);
    case OTA_KEY_VERSION:
        return ota_cbor_string(c, 3, 1, 255, &rec->version);
    case OTA_KEY_CREATED:
        return ota_cbor_uint(c, UINT64_MAX, &number);
    case OTA_KEY_RECORDS:
        return ota_cbor_uint(c, UINT32_MAX, &rec->records);
    case OTA_KEY_BYTES:
        return ota_cbor_uint(c, SIZE_LIMIT, &rec->bytes);
    case OTA_KEY_COMPATIBLE:
        return get_compatible(c, rec);
    case OTA_KEY_LINKS:
    case OTA_KEY_PARENTS:
    case OTA_KEY_FALLBACK:
        return ota_cbor_uint(c, 1, &number) != 0 || number != 1 ? ERR(FORMAT) : 0;
    case OTA_KEY_MASK: /* stands behind the targets, since keys rise */
        st = get_u32(c, (1u << OTA_TARGETS_MAX) - 1u, &rec->mask);
        return st != 0 ? st : rec->mask >> rec->target_count != 0 ? ERR(FORMAT) : 0;
    case OTA_KEY_UNIT:
        st = get_u32(c, OTA_UNIT_MAX, &rec->unit);
        return st != 0 ? st : rec->unit < OTA_UNIT_MIN || (rec->unit & (rec->unit - 1)) != 0 ? ERR(FORMAT) : 0;
    case OTA_KEY_SCRATCH:
        return ota_cbor_uint(c, SIZE_LIMIT, &rec->scratch);
    case OTA_KEY_PLAN:
        return ota_cbor_uint(c, UINT64_MAX, &rec->plan);
    case OTA_KEY_ENV:
        return get_env(c, rec);
    default:
        return get_needs(c, rec, detail, cap);
    }
}

#define K(name) OTA_HAS(name)
#define META (K(UID) | K(GID) | K(XATTRS))

struct kind_rule {
    char name[12];
    uint64_t must;
    uint64_t may;
};

static const struct kind_rule kind_rules[OTA_KINDS] = {
    {"end", 0, 0},
    {"manifest", K(RECORDS) | K(BYTES) | K(NEEDS), K(NAME) | K(VERSION) | K(CREATED)},
    {"expect", K(TYPE),
     K(ROOT) | K(PATH) | K(OLD) | K(NEW) | K(SOURCE) | K(TARGETS) | K(SIZE) | K(DIGEST) | K(COMPATIBLE) | K(VERSION) |
         K(MASK) | K(UNIT) | K(SCRATCH) | K(PLAN) | K(LABEL) | K(ENV)},
    {"script", K(WHEN) | K(ENGINE) | K(SIZE) | K(DIGEST), K(LABEL)},
    {"block", K(TARGETS) | K(SIZE) | K(DIGEST) | K(ENGINE),
     K(SOURCE) | K(OLD_VIEW) | K(NEW_VIEW) | K(LABEL) | K(MASK) | K(NOTE) | K(UNIT) | K(PLAN) | K(FALLBACK)},
    {"ubi", K(TARGETS) | K(SIZE) | K(DIGEST) | K(ENGINE),
     K(SOURCE) | K(OLD_VIEW) | K(NEW_VIEW) | K(LABEL) | K(MASK) | K(NOTE) | K(FALLBACK)},
    {"file", K(PATH) | K(SIZE) | K(DIGEST) | K(MODE),
     K(ROOT) | META | K(ENGINE) | K(SOURCE) | K(OLD_VIEW) | K(NEW_VIEW) | K(LINKS) | K(LABEL) | K(PARENTS) | K(NOTE) |
         K(FALLBACK)},
    {"delete", K(PATH) | K(TYPE), K(ROOT) | K(LABEL)},
    {"dir", K(PATH) | K(MODE), K(ROOT) | META | K(LABEL)},
    {"link", K(PATH) | K(TYPE) | K(TO), K(ROOT) | K(UID) | K(GID) | K(LABEL)},
    {"move", K(PATH) | K(SOURCE) | K(SIZE) | K(DIGEST) | K(MODE), K(ROOT) | META | K(LABEL)},
    {"env", K(ENV), K(LABEL)},
};

static const struct kind_rule expect_rules[OTA_EXPECT_ENV + 1] = {
    {"", 0, 0},
    {"tree", K(TYPE) | K(PATH) | K(OLD) | K(NEW), K(ROOT) | K(SOURCE) | K(LABEL)},
    {"node", K(TYPE) | K(TARGETS) | K(SIZE) | K(DIGEST), K(SOURCE) | K(MASK) | K(LABEL)},
    {"board", K(TYPE) | K(COMPATIBLE), 0},
    {"version", K(TYPE) | K(VERSION), 0},
    {"in place", K(TYPE) | K(TARGETS) | K(SIZE) | K(DIGEST) | K(SOURCE) | K(UNIT) | K(SCRATCH) | K(PLAN), K(LABEL)},
    {"environment", K(TYPE) | K(ENV), 0},
};

/* In place: one target, which is the source too, with its digest; both ends are not empty. */
static int check_in_place(const struct ota_record *rec)
{
    if (((rec->has & K(UNIT)) != 0) != ((rec->has & K(PLAN)) != 0))
        return ERR(FORMAT);
    if (rec->unit == 0)
        return 0;
    if (rec->target_count != 1 || rec->source.type != OTA_SOURCE_SELF || !rec->source.has_digest ||
        (rec->has & (K(MASK) | K(FALLBACK))) != 0 || rec->size == 0 || rec->source.size == 0)
        return ERR(FORMAT);
    return (rec->size > rec->source.size ? rec->size : rec->source.size) / rec->unit >= OTA_UNITS_MAX ? ERR(LIMIT) : 0;
}

/* What the masks cannot say. */
static int check_relations(const struct ota_record *rec)
{
    const struct kind_rule *er;
    int payload_source;

    if (((rec->has & K(UID)) != 0) != ((rec->has & K(GID)) != 0))
        return ERR(FORMAT);
    switch (rec->kind) {
    case OTA_KIND_EXPECT:
        if (expect_rules[rec->type].must == 0)
            return ERR(UNSUPPORTED);
        er = &expect_rules[rec->type];
        if ((rec->has & er->must) != er->must)
            return ERR(FORMAT);
        if ((rec->has & ~(er->must | er->may)) != 0)
            return ERR(UNSUPPORTED);
        if (rec->type == OTA_EXPECT_TREE && rec->source.type == OTA_SOURCE_NODE)
            return ERR(FORMAT);
        if (rec->source.type != OTA_SOURCE_NONE && !rec->source.has_digest)
            return ERR(FORMAT);
        return check_in_place(rec);
    case OTA_KIND_SCRIPT:
        if (rec->engine != OTA_ENGINE_FULL)
            return ERR(UNSUPPORTED);
        return rec->size > OTA_SCRIPT_MAX ? ERR(LIMIT) : 0;
    case OTA_KIND_BLOCK:
    case OTA_KIND_UBI:
    case OTA_KIND_FILE:
        payload_source = rec->engine > OTA_ENGINE_FULL;
        if (!payload_source && (rec->old_view != OTA_VIEW_IDENTITY || rec->new_view != OTA_VIEW_IDENTITY))
            return ERR(FORMAT);
        if (rec->kind == OTA_KIND_FILE && rec->source.type == OTA_SOURCE_NODE)
            return ERR(FORMAT);
        if (payload_source != (rec->source.type != OTA_SOURCE_NONE))
            return ERR(FORMAT);
        /* only a delta has something to stand in for; without the digest nobody would see that it does not fit */
        if ((rec->has & K(FALLBACK)) != 0 && !rec->source.has_digest)
            return ERR(FORMAT);
        return check_in_place(rec);
    case OTA_KIND_DELETE:
        return rec->type != 1 && rec->type != 2 ? ERR(UNSUPPORTED) : 0;
    case OTA_KIND_LINK:
        if (rec->type > 1)
            return ERR(UNSUPPORTED);
        return rec->type == 1 ? ota_path_check(rec->to.p, rec->to.len) : check_link_text(rec->to);
    case OTA_KIND_MOVE:
        return rec->source.type != OTA_SOURCE_PATH || !rec->source.has_digest ? ERR(FORMAT) : 0;
    default:
        return 0;
    }
}

static int parse_fields(struct ota_cbor *c, struct ota_record *rec, char *detail, size_t cap)
{
    const struct kind_rule *rule = &kind_rules[rec->kind];
    uint64_t pairs;
    uint64_t key;
    uint64_t last = 0;
    int st = ota_cbor_count(c, 5, 0, OTA_KEYS, &pairs);

    for (; st == 0 && pairs > 0; pairs--) {
        if ((st = ota_cbor_uint(c, UINT64_MAX, &key)) != 0)
            return st;
        ota_put_text(detail, cap, rule->name);
        ota_put_text(detail, cap, ", field ");
        ota_put_number(detail, cap, key);
        if (rec->has != 0 && key < OTA_KEYS && key <= last)
            return ERR(FORMAT);
        if (key >= OTA_KEYS || ((UINT64_C(1) << key) & (rule->must | rule->may)) == 0)
            return ERR(UNSUPPORTED);
        last = key;
        rec->has |= UINT64_C(1) << key;
        if ((st = get_field(c, key, rec, detail, cap)) != 0)
            return st;
        detail[0] = '\0';
    }
    if (st != 0)
        return st;
    if (!(rec->has & K(MASK)))
        rec->mask = (1u << rec->target_count) - 1u;
    ota_put_text(detail, cap, rule->name);
    if (c->p != c->end || (rec->has & rule->must) != rule->must)
        return ERR(FORMAT);
    return check_relations(rec);
}

int ota_record_parse(const uint8_t *header, size_t len, struct ota_record *rec, char *detail, size_t detail_cap)
{
    struct ota_cbor c;
    uint64_t n;
    uint64_t kind;
    int st;

    memset(rec, 0, sizeof *rec);
    rec->engine = -1;
    rec->root.p = "/";
    rec->root.len = 1;
    rec->source.root = rec->root;
    detail[0] = '\0';
    c.p = header;
    c.end = header + len;
    if ((st = ota_cbor_count(&c, 4, 2, 2, &n)) != 0 || (st = ota_cbor_uint(&c, UINT64_MAX, &kind)) != 0)
        return st;
    if (kind >= OTA_KINDS) {
        ota_put_text(detail, detail_cap, "record kind ");
        ota_put_number(detail, detail_cap, kind);
        return ERR(UNSUPPORTED);
    }
    rec->kind = (enum ota_kind)kind;
    st = parse_fields(&c, rec, detail, detail_cap);
    if (st == 0)
        detail[0] = '\0';
    return st;
}
