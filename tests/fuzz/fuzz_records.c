/* fuzz_records.c - any bytes as the header of a record.
 *
 * What is accepted must be whole: text inside the header, counts and numbers in their ranges, xattrs that can be
 * walked. The same bytes in a buffer that is one byte too long must be refused.
 */
#include "env.h"
#include "fuzz.h"
#include "wire.h"

static const uint8_t *from;
static size_t from_len;

static void inside(struct ota_text t, size_t max)
{
    if (t.p == NULL) {
        MUST(t.len == 0);
        return;
    }
    if (t.len == 1 && t.p[0] == '/') /* a root that the package leaves out */
        return;
    MUST(t.len <= max && (uintptr_t)t.p >= (uintptr_t)from && (uintptr_t)t.p + t.len <= (uintptr_t)from + from_len);
}

static void clean(struct ota_text t, int absolute)
{
    size_t start = absolute ? 1 : 0;
    inside(t, OTA_PATH_MAX + 1);
    if (t.len <= start)
        return;
    MUST(!absolute || t.p[0] == '/');
    MUST(memchr(t.p, '\0', t.len) == NULL);
    for (size_t i = start, begin = start; i <= t.len; i++)
        if (i == t.len || t.p[i] == '/') {
            size_t n = i - begin;
            MUST(n >= 1 && n <= OTA_NAME_MAX && !(n == 1 && t.p[begin] == '.') &&
                 !(n == 2 && t.p[begin] == '.' && t.p[begin + 1] == '.'));
            begin = i + 1;
        }
}

static void check(const struct ota_record *r)
{
    const uint8_t *name;
    const uint8_t *value;
    size_t name_len;
    size_t value_len;
    struct ota_text key;
    struct ota_text text;
    size_t pos = 0;
    int more;
    MUST((unsigned)r->kind < OTA_KINDS && r->engine >= -1 && r->engine <= OTA_ENGINE_XREF);
    clean(r->root, 1);
    clean(r->path, 0);
    clean(r->source.root, 1);
    clean(r->source.path, 0);
    clean(r->source.node, 1);
    MUST(r->target_count <= OTA_TARGETS_MAX && r->size <= INT64_MAX && r->source.size <= INT64_MAX);
    for (unsigned i = 0; i < r->target_count; i++) {
        clean(r->targets[i], 1);
        MUST(r->targets[i].len > 1 && (r->mask >> r->target_count) == 0);
    }
    if (r->kind == OTA_KIND_FILE || r->kind == OTA_KIND_DELETE || r->kind == OTA_KIND_DIR || r->kind == OTA_KIND_MOVE)
        MUST(r->path.len > 0);
    if (r->kind == OTA_KIND_LINK && r->type == 1)
        clean(r->to, 0);
    else
        inside(r->to, OTA_PATH_MAX);
    inside(r->before.text, OTA_PATH_MAX);
    inside(r->after.text, OTA_PATH_MAX);
    inside(r->name, 255);
    inside(r->version, 255);
    inside(r->label, 512);
    inside(r->env, from_len);
    inside(r->compatible, from_len);
    MUST(r->unit == 0 ||
         (r->unit >= 4096 && r->unit <= 1u << 26 && (r->unit & (r->unit - 1)) == 0 && r->target_count == 1));
    MUST(r->mode <= 07777);
    if (r->xattrs_len > 0)
        while ((more = ota_xattr_next(r->xattrs, r->xattrs_len, &pos, &name, &name_len, &value, &value_len)) != 0)
            MUST(more == 1 && name_len >= 1 && name_len <= 255 && pos <= r->xattrs_len);
    pos = 0;
    if (r->env.len > 0)
        while ((more = ota_env_change(r->env, &pos, &key, &text)) != 0) {
            MUST(more == 1 && key.len >= 1);
            inside(key, 255);
            inside(text, 4096);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ota_record r;
    char detail[128] = "";
    uint8_t *copy;
    int st;
    if (size > OTA_HEADER_MAX)
        return 0;
    copy = malloc(size + 1);
    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = 0;
    from = copy;
    from_len = size;
    st = ota_record_parse(copy, size, &r, detail, sizeof detail);
    MUST(st <= 0 && memchr(detail, '\0', sizeof detail) != NULL);
    if (st == 0) {
        check(&r);
        MUST(ota_record_parse(copy, size + 1, &r, detail, sizeof detail) == -OTA_E_FORMAT);
    }
    free(copy);
    return 0;
}
