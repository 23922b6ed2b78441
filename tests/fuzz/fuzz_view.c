/* fuzz_view.c - any front of a payload with views, any old: reading it, expanding old, making new.
 *
 * The first bytes choose sizes and splits, the rest is front, then what the engine makes. Whatever it is, the view must
 * stay inside old, its workspace and new, must come to an end, and must make the same of it in another split. */
#include "fuzz.h"
#include "toy_coder.h"
#include "view.h"

#define OLD_MAX 5000u
#define NEW_MAX 8192u
#define WORKSPACE 60000u
#define HEAD 6u

static uint8_t old[OLD_MAX];

static int read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct ota_source *source = ctx;

    MUST(len > 0 && offset <= source->size && len <= source->size - offset);
    memcpy(buf, old + offset, len);
    return 0;
}

struct result {
    int status;
    uint64_t old_size; /* of the view */
    uint64_t old_digest;
    size_t len;
    uint8_t made[NEW_MAX];
};

/* Read all of old's view in pieces of an odd length, up to a bound: parts can be declared to be long. */
static int read_view(struct ota_source source, uint64_t *digest)
{
    struct ota_xxh64 h;
    uint8_t buf[777];
    int status = 0;

    ota_xxh64_init(&h);
    for (uint64_t at = 0; status == 0 && at < source.size && at < 100000; at += sizeof buf) {
        size_t n = source.size - at < sizeof buf ? (size_t)(source.size - at) : sizeof buf;

        status = source.read_at(source.ctx, at, buf, n);
        if (status == 0)
            ota_xxh64_update(&h, buf, n);
    }
    *digest = status == 0 ? ota_xxh64_value(&h) : (uint64_t)status;
    return status;
}

static void run(const uint8_t *head, const uint8_t *data, size_t size, size_t piece, struct result *r)
{
    static struct ota_view view;
    uint8_t *workspace = malloc(WORKSPACE);
    struct ota_source source = {NULL, read_at, ((uint64_t)head[0] << 8 | head[1]) % (OLD_MAX + 1)};
    struct ota_view_options o = {head[2] & 1, head[2] >> 1 & 1,
                                 &toy_coder,  1u << OTA_CODING_DEFLATE,
                                 source,      ((uint64_t)head[3] << 8 | head[4]) % (NEW_MAX + 1),
                                 workspace,   WORKSPACE};
    size_t pos = 0;

    MUST(workspace != NULL);
    o.old.ctx = &source;
    ota_view_init(&view, &o);
    r->status = OTA_WANT_INPUT;
    r->len = 0;
    while (r->status == OTA_WANT_INPUT && pos < size) {
        struct ota_in in = {data + pos, size - pos < piece ? size - pos : piece, 0};

        r->status = ota_view_front(&view, &in);
        MUST(in.pos <= in.size && (r->status != OTA_WANT_INPUT || in.pos == in.size));
        pos += in.pos;
    }
    if (r->status == OTA_DONE) {
        MUST(view.memory <= WORKSPACE);
        r->old_size = ota_view_source(&view).size;
        (void)read_view(ota_view_source(&view), &r->old_digest);
        r->status = o.new_view ? OTA_WANT_INPUT : OTA_DONE;
        while (r->status == OTA_WANT_OUTPUT || (r->status == OTA_WANT_INPUT && (pos < size || r->len == 0))) {
            struct ota_in in = {data + pos, size - pos < piece ? size - pos : piece, 0};
            struct ota_out out = {r->made + r->len, NEW_MAX - r->len < piece ? NEW_MAX - r->len : piece, 0};
            size_t before = pos + r->len;

            r->status = ota_view_step(&view, &in, &out);
            MUST(in.pos <= in.size && out.pos <= out.size);
            pos += in.pos;
            r->len += out.pos;
            MUST(r->status < 0 || r->len <= o.new_size);
            if (pos + r->len == before && r->status != OTA_DONE)
                break; /* nothing left to give, or no room */
        }
        MUST(r->status != OTA_DONE || !o.new_view || r->len == o.new_size);
        if (r->status == OTA_DONE && o.new_view && pos < size)
            r->status = -OTA_E_DELTA; /* an engine makes no more than the view asks for: seen only if it comes in one */
    }
    free(workspace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result one, two;

    if (size < HEAD)
        return 0;
    for (size_t i = 0; i < OLD_MAX; i++)
        old[i] = i % 50 == 49 ? TOY_END : (uint8_t)(i % 128);
    run(data, data + HEAD, size - HEAD, 1u + data[5], &one);
    run(data, data + HEAD, size - HEAD, size, &two);
    MUST(one.status == two.status);
    MUST(one.status != OTA_DONE || (one.old_size == two.old_size && one.old_digest == two.old_digest &&
                                    one.len == two.len && memcmp(one.made, two.made, one.len) == 0));
    return 0;
}
