/* test_view.c - the view of parts: lists in any split, old by any offset through any cache, new to the last byte. */
#include <stdlib.h>

#include "check.h"
#include "records.h"
#include "toy_coder.h"
#include "view.h"

#define PARTS 5u
#define IMAGE_MAX 4096u

static uint8_t old_image[IMAGE_MAX];
static size_t old_size;
static uint8_t old_view[IMAGE_MAX];
static size_t old_view_size;
static unsigned reads;

static uint8_t front[1024];
static size_t front_len;

static uint64_t workspace[1 << 12];
static struct ota_view view;

static int read_old(void *ctx, uint64_t off, uint8_t *buf, size_t len)
{
    (void)ctx;
    if (off > old_size || len > old_size - off)
        abort();
    memcpy(buf, old_image + off, len);
    reads++;
    return 0;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static void number(uint64_t n)
{
    front_len += ota_varint_write(front + front_len, n);
}

static void zigzag(int64_t n)
{
    number(n >= 0 ? 2 * (uint64_t)n : 2 * (uint64_t)-n - 1);
}

static uint8_t letter(size_t i)
{
    return (uint8_t)((i * 37 + i / 11) % 127);
}

/* Plain bytes, then a part, five times, then plain bytes; parts of 1, 90, 179, ... bytes. */
static void make_old(void)
{
    old_size = old_view_size = 0;
    for (unsigned p = 0; p <= PARTS; p++) {
        uint8_t raw[600];
        size_t len = 1 + p * 89;

        for (size_t i = 0; i < 10 * p; i++)
            old_image[old_size++] = old_view[old_view_size++] = letter(i + p);
        if (p == PARTS)
            break;
        for (size_t i = 0; i < len; i++)
            raw[i] = old_view[old_view_size++] = letter(3 * i + p);
        old_size += toy_pack(old_image + old_size, raw, len);
    }
}

static void put_old(unsigned slots, unsigned slot)
{
    size_t last = 0;

    number(slots);
    number(slot);
    number(1);
    number(OTA_CODING_DEFLATE);
    number(1);
    number(PARTS);
    for (unsigned p = 0; p < PARTS; p++) {
        size_t raw = 1 + p * 89;

        number(10 * p);
        number(0);
        number(raw + 1);
        zigzag((int64_t)raw - (int64_t)last);
        last = raw;
    }
}

static void start(int old, int new_view, uint64_t new_size)
{
    struct ota_view_options o = {old,
                                 new_view,
                                 &toy_coder,
                                 1u << OTA_CODING_DEFLATE,
                                 {NULL, read_old, old_size},
                                 new_size,
                                 (uint8_t *)workspace,
                                 sizeof workspace};

    ota_view_init(&view, &o);
}

/* Give the front in pieces. */
static int take_front(size_t piece)
{
    size_t pos = 0;
    int st = OTA_WANT_INPUT;

    while (st == OTA_WANT_INPUT && pos < front_len) {
        struct ota_in in = {front + pos, front_len - pos < piece ? front_len - pos : piece, 0};

        st = ota_view_front(&view, &in);
        pos += in.pos;
    }
    if (st == OTA_DONE)
        CHECK_INT(pos, front_len);
    return st;
}

/* ---- old --------------------------------------------------------------------------------------------------------- */

/* The memory of an old view, with some restart points. */
static uint64_t memory_for(unsigned slots, unsigned slot, unsigned points)
{
    return 2u * OTA_VIEW_BUFFER + OTA_VIEW_ALIGN(slots * 12u) + OTA_VIEW_ALIGN((uint64_t)slots * slot) + TOY_MEMORY +
           PARTS * 16u + points * (16u + TOY_MEMORY) + 16u;
}

static void test_old(void)
{
    static const unsigned caches[][2] = {{1, 1}, {1, 7}, {3, 16}, {2, 100}, {20, 400}, {1, 4096}};
    uint8_t got[IMAGE_MAX];

    make_old();
    for (size_t c = 0; c < 4 * (sizeof caches / sizeof caches[0]); c++) {
        const unsigned *cache = caches[c / 4];

        front_len = 0;
        number(memory_for(cache[0], cache[1], (unsigned)(c % 4)));
        put_old(cache[0], cache[1]);
        start(1, 0, 1);
        CHECK_INT(take_front(1 + c), OTA_DONE);
        CHECK_INT(view.point_count, c % 4);
        struct ota_source s = ota_view_source(&view);

        CHECK_INT(s.size, old_view_size);
        CHECK_INT(ota_view_size(&view), 1);
        CHECK_INT(s.read_at(s.ctx, 0, got, old_view_size), 0);
        CHECK(memcmp(got, old_view, old_view_size) == 0);
        for (unsigned i = 0; i < 3000; i++) { /* everywhere, in an order that runs ahead of every cache */
            size_t at = (size_t)i * 1117 % old_view_size;
            size_t len = 1 + (size_t)i * 31 % 200;

            if (len > old_view_size - at)
                len = old_view_size - at;
            CHECK_INT(s.read_at(s.ctx, at, got, len), 0);
            CHECK(memcmp(got, old_view + at, len) == 0);
        }
    }
}

/* A chunk that is in a slot is not decoded again; going on costs no new beginning. */
static void test_cache(void)
{
    uint8_t got[16];
    unsigned begun;

    front_len = 0;
    number(30000);
    put_old(2, 16);
    start(1, 0, 1);
    CHECK_INT(take_front(100), OTA_DONE);
    struct ota_source s = ota_view_source(&view);
    size_t part = old_view_size - 50 - 357; /* the last one */

    begun = toy_begun[0];
    CHECK_INT(s.read_at(s.ctx, part, got, 16), 0);
    CHECK_INT(s.read_at(s.ctx, part + 16, got, 16), 0);
    CHECK_INT(s.read_at(s.ctx, part + 300, got, 16), 0);
    CHECK_INT(toy_begun[0] - begun, 1);
    CHECK_INT(s.read_at(s.ctx, part + 299, got, 10), 0);
    CHECK_INT(toy_begun[0] - begun, 1);
    CHECK_INT(s.read_at(s.ctx, part, got, 16), 0);
    CHECK_INT(toy_begun[0] - begun, 2);
}

/* With restart points the decoder neither begins anew nor goes a long way again; without them it does. */
static void test_points(void)
{
    size_t part = old_view_size - 50 - 357; /* 22 chunks and a bit */
    uint8_t got[16];

    for (unsigned points = 0; points <= 8; points += 4) {
        unsigned begun, before;

        front_len = 0;
        number(memory_for(1, 16, points));
        put_old(1, 16);
        start(1, 0, 1);
        CHECK_INT(take_front(100), OTA_DONE);
        struct ota_source s = ota_view_source(&view);

        CHECK_INT(s.read_at(s.ctx, part + 350, got, 7), 0);
        begun = toy_begun[0];
        before = reads;
        for (unsigned i = 0; i < 10; i++) { /* to and fro */
            size_t at = 170 + i % 3 * 16;

            CHECK_INT(s.read_at(s.ctx, part + at, got, 16), 0);
            CHECK(memcmp(got, old_view + part + at, 16) == 0);
            CHECK_INT(s.read_at(s.ctx, part + 330, got, 16), 0);
            CHECK(memcmp(got, old_view + part + 330, 16) == 0);
        }
        CHECK_INT(toy_begun[0] - begun, points == 0 ? 10 : 0);
        CHECK(reads - before <= 20);
        CHECK_INT(s.read_at(s.ctx, part - 100, got, 16), 0); /* another part, and back */
        CHECK_INT(s.read_at(s.ctx, part + 330, got, 16), 0);
        CHECK(memcmp(got, old_view + part + 330, 16) == 0);
        CHECK_INT(toy_begun[0] - begun, points == 0 ? 12 : 1);
    }
}

/* ---- new --------------------------------------------------------------------------------------------------------- */

static uint8_t list[256];
static size_t list_len;

static void segment(unsigned type, uint64_t size)
{
    list_len += ota_varint_write(list + list_len, size << 2 | type);
}

static void coded(uint64_t size, const uint8_t *packed, size_t packed_len)
{
    uint64_t check = xxh(packed, packed_len);

    segment(OTA_SEGMENT_CODED, size);
    list[list_len++] = 0;
    for (unsigned i = 0; i < 4; i++)
        list[list_len++] = (uint8_t)(check >> 8 * i);
}

static void put_new(void)
{
    number(1);
    number(OTA_CODING_DEFLATE);
    number(1);
    number(list_len);
    memcpy(front + front_len, list, list_len);
    front_len += list_len;
}

/* 20 plain bytes, a part of 300, 50 of old, a part of 1, 20 of old that stand before those, 5 plain bytes. */
static uint8_t new_image[IMAGE_MAX];
static size_t new_size;
static uint8_t new_view[IMAGE_MAX];
static size_t new_view_size;

static void make_new(void)
{
    uint8_t *image = new_image;

    for (size_t i = 0; i < 326; i++)
        new_view[i] = letter(i * 5);
    new_view_size = 326;
    list_len = 0;
    memcpy(image, new_view, 20);
    image += 20;
    segment(OTA_SEGMENT_PLAIN, 20);
    coded(300, image, toy_pack(image, new_view + 20, 300));
    image += 301;
    memcpy(image, old_image + 100, 50);
    image += 50;
    segment(OTA_SEGMENT_KEEP, 50);
    list_len += ota_varint_write(list + list_len, 200);
    coded(1, image, toy_pack(image, new_view + 320, 1));
    image += 2;
    memcpy(image, old_image + 80, 20);
    image += 20;
    segment(OTA_SEGMENT_KEEP, 20);
    list_len += ota_varint_write(list + list_len, 2 * 70 - 1);
    memcpy(image, new_view + 321, 5);
    image += 5;
    segment(OTA_SEGMENT_PLAIN, 5);
    new_size = (size_t)(image - new_image);
}

/* Run the engine's bytes through the view. */
static int make(size_t in_piece, size_t out_piece, size_t have, uint8_t *made, size_t *made_len)
{
    size_t pos = 0;
    int st;

    *made_len = 0;
    do {
        size_t room = IMAGE_MAX - *made_len < out_piece ? IMAGE_MAX - *made_len : out_piece;
        struct ota_in in = {new_view + pos, have - pos < in_piece ? have - pos : in_piece, 0};
        struct ota_out out = {made + *made_len, room, 0};

        st = ota_view_step(&view, &in, &out);
        pos += in.pos;
        *made_len += out.pos;
    } while (st == OTA_WANT_OUTPUT || (st == OTA_WANT_INPUT && pos < have));
    return st;
}

static void test_new(void)
{
    static const size_t pieces[] = {1, 3, 64, 1000};
    uint8_t made[IMAGE_MAX];
    size_t len;

    make_old();
    make_new();
    for (unsigned i = 0; i < 16; i++) {
        front_len = 0;
        number(30000);
        put_old(2, 100);
        put_new();
        start(1, 1, new_size);
        CHECK_INT(take_front(1 + i), OTA_DONE);
        CHECK_INT(ota_view_size(&view), new_view_size);
        CHECK_INT(make(pieces[i % 4], pieces[i / 4], new_view_size, made, &len), OTA_DONE);
        CHECK_INT(len, new_size);
        CHECK(memcmp(made, new_image, new_size) == 0);
    }
}

/* A part that comes out otherwise, and an image that is longer or shorter than it should be. */
static void test_results(void)
{
    uint8_t made[IMAGE_MAX];
    size_t len;

    for (int i = 0; i < 4; i++) {
        make_new();
        if (i == 0)
            list[4]++; /* the check of the first part */
        front_len = 0;
        number(30000);
        put_new();
        start(0, 1, new_size + (i == 1) - (i == 2));
        CHECK_INT(take_front(100), OTA_DONE);
        CHECK_INT(make(64, 64, new_view_size - (i == 3), made, &len), i == 0   ? -OTA_E_RESULT
                                                                      : i == 3 ? OTA_WANT_INPUT
                                                                               : -OTA_E_DELTA);
    }
}

/* ---- what is wrong ----------------------------------------------------------------------------------------------- */

struct bad {
    const char *name;
    int status;
    int old;
    unsigned count;
    uint64_t numbers[16];
};

static void test_bad(void)
{
    static const struct bad cases[] = {
        {"memory above the workspace", -OTA_E_LIMIT, 1, 1, {40000}},
        {"memory below the buffer", -OTA_E_LIMIT, 1, 1, {4000}},
        {"no slots", -OTA_E_LIMIT, 1, 2, {30000, 0}},
        {"65 slots", -OTA_E_LIMIT, 1, 2, {30000, 65}},
        {"slots of nothing", -OTA_E_DELTA, 1, 3, {30000, 1, 0}},
        {"slots without room", -OTA_E_LIMIT, 1, 3, {30000, 64, 1000}},
        {"a slot of 2 GiB", -OTA_E_DELTA, 1, 3, {30000, 1, 1u << 31}},
        {"17 codings", -OTA_E_LIMIT, 1, 4, {30000, 1, 8, 17}},
        {"a coding beyond 32 bits", -OTA_E_UNSUPPORTED, 1, 5, {30000, 1, 8, 1, UINT64_C(1) << 32}},
        {"a coding that was not announced", -OTA_E_FORMAT, 1, 7, {30000, 1, 8, 1, 2, 1, 0}},
        {"parameters that are not there", -OTA_E_UNSUPPORTED, 1, 7, {30000, 1, 8, 1, 1, 3, 0}},
        {"a table without room", -OTA_E_LIMIT, 1, 7, {30000, 1, 8, 1, 1, 1, 2000}},
        {"a table beyond all limits", -OTA_E_LIMIT, 1, 7, {30000, 1, 8, 1, 1, 1, UINT64_C(1) << 60}},
        {"a gap beyond old", -OTA_E_DELTA, 1, 8, {30000, 1, 8, 1, 1, 1, 1, 100000}},
        {"no such coding", -OTA_E_DELTA, 1, 9, {30000, 1, 8, 1, 1, 1, 1, 0, 1}},
        {"a part of nothing", -OTA_E_DELTA, 1, 10, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 0}},
        {"a part beyond old", -OTA_E_DELTA, 1, 10, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 100000}},
        {"a part to nothing", -OTA_E_DELTA, 1, 11, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 5, 0}},
        {"a part to less than nothing", -OTA_E_DELTA, 1, 11, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 5, 1}},
        {"a part to 4 GiB", -OTA_E_DELTA, 1, 11, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 5, UINT64_C(1) << 33}},
        {"a part to far more", -OTA_E_DELTA, 1, 11, {30000, 1, 8, 1, 1, 1, 1, 0, 0, 5, UINT64_C(1) << 62}},
        {"a list without room", -OTA_E_LIMIT, 0, 3, {30000, 0, 28000}},
        {"an unknown segment", -OTA_E_DELTA, 0, 4, {30000, 0, 1, 7}},
        {"a segment of nothing", -OTA_E_DELTA, 0, 4, {30000, 0, 1, 0}},
        {"a number that does not end", -OTA_E_DELTA, 0, 4, {30000, 0, 1, 0x80}},
        {"more plain bytes than new has", -OTA_E_DELTA, 0, 4, {30000, 0, 2, 401 << 2}},
        {"a keep before old", -OTA_E_DELTA, 0, 5, {30000, 0, 2, 1 << 2 | 1, 1}},
        {"a keep without its place", -OTA_E_DELTA, 0, 4, {30000, 0, 1, 1 << 2 | 1}},
        {"a keep beyond old", -OTA_E_DELTA, 0, 5, {30000, 0, 4, 2 << 2 | 1, 100000}},
        {"a part of no coding", -OTA_E_DELTA, 0, 9, {30000, 0, 6, 1 << 2 | 2, 0, 1, 1, 1, 1}},
        {"a part without its check", -OTA_E_DELTA, 0, 10, {30000, 1, 1, 1, 5, 1 << 2 | 2, 0, 1, 1, 1}},
    };

    make_old();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case = cases[i].name;
        front_len = 0;
        for (unsigned n = 0; n < cases[i].count; n++)
            number(cases[i].numbers[n]);
        start(cases[i].old, !cases[i].old, 400);
        CHECK_INT(take_front(1), cases[i].status);
    }
    check_case = "";
}

/* What old does not hold although the package says so: shorter parts, damaged ones. */
static void test_bad_parts(void)
{
    uint8_t got[IMAGE_MAX];

    for (uint64_t params = 1; params <= 2; params++) {
        front_len = 0;
        number(30000);
        number(1);
        number(64);
        number(1);
        number(OTA_CODING_DEFLATE);
        number(params);
        number(1);
        number(0);
        number(0);
        number(2);
        zigzag(5);
        start(1, 0, 1);
        CHECK_INT(take_front(100), OTA_DONE);
        struct ota_source s = ota_view_source(&view);

        CHECK_INT(s.read_at(s.ctx, 0, got, 1), -OTA_E_DELTA);
        CHECK_INT(s.read_at(s.ctx, 0, got, 1), -OTA_E_DELTA);
        CHECK_INT(s.read_at(s.ctx, 5, got, 10), 0);
    }
}

int main(void)
{
    make_old();
    test_old();
    test_cache();
    test_points();
    test_new();
    test_results();
    test_bad();
    test_bad_parts();
    return check_done();
}
