// links: core
/* The engines full and bsdiff: what they make in every split of input and output, and what they refuse. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "otastream.h"

#define WINDOW 512u
#define OLD_SIZE 3000u
#define NEW_MAX 4000u

struct reader {
    const uint8_t *data;
    uint64_t size;
    uint64_t longest; /* largest read so far */
    int calls;
    int fail_at; /* this call fails, counted from 1; 0: none */
};

static int read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len)
{
    struct reader *r = ctx;

    r->calls++;
    if (r->calls == r->fail_at)
        return -OTA_E_IO;
    CHECK(len > 0 && offset <= r->size && len <= r->size - offset);
    if (len > r->longest)
        r->longest = len;
    memcpy(buf, r->data + offset, len);
    return 0;
}

static uint8_t old_data[OLD_SIZE];
static uint64_t workspace[(WINDOW + 1024) / 8];
static struct reader reader = {old_data, OLD_SIZE, 0, 0, 0};

/* ---- payloads ---- */

static uint8_t payload[8192];
static size_t payload_len;

static void number(uint64_t n)
{
    for (; n >= 128; n >>= 7)
        payload[payload_len++] = (uint8_t)(128 | (n & 127));
    payload[payload_len++] = (uint8_t)n;
}

static void bytes(const char *text, size_t len)
{
    memcpy(payload + payload_len, text, len);
    payload_len += len;
}

static int begin(int id, uint64_t new_size)
{
    struct ota_source source = {&reader, read_at, OLD_SIZE};

    reader.calls = 0;
    reader.fail_at = 0;
    reader.longest = 0;
    return ota_engine_init(workspace, sizeof workspace, id, WINDOW, &source, new_size);
}

/* Decode the payload in pieces of in_piece bytes into room of out_piece bytes; the status at its end. */
static int decode(size_t in_piece, size_t out_piece, uint8_t *made, size_t *made_len)
{
    int status = OTA_WANT_INPUT;
    size_t pos = 0;

    *made_len = 0;
    do {
        size_t n = payload_len - pos < in_piece ? payload_len - pos : in_piece;
        /* exactly as large as it says, so that the sanitizer sees a step too far */
        uint8_t *src = malloc(n + (n == 0));
        struct ota_in in = {src, n, 0};

        memcpy(src, payload + pos, n);
        do {
            uint8_t *dst = malloc(out_piece);
            struct ota_out out = {dst, out_piece, 0};

            status = ota_engine_step(workspace, &in, &out);
            CHECK(out.pos <= out_piece && *made_len + out.pos <= NEW_MAX);
            CHECK(status != OTA_WANT_OUTPUT || out.pos == out_piece);
            CHECK(status != OTA_WANT_INPUT || in.pos == in.size);
            memcpy(made + *made_len, dst, out.pos);
            *made_len += out.pos;
            free(dst);
        } while (status == OTA_WANT_OUTPUT);
        free(src);
        pos += n;
    } while (status == OTA_WANT_INPUT && pos < payload_len);
    return status;
}

/* ---- right ones ---- */

static const size_t pieces[] = {1, 2, 3, 7, 100, 511, 512, 513, 8192};
#define PIECES (sizeof pieces / sizeof pieces[0])

static void check_made(int id, const uint8_t *want, size_t want_len)
{
    uint8_t made[NEW_MAX];
    size_t made_len;

    for (size_t i = 0; i < PIECES; i++)
        for (size_t o = 0; o < PIECES; o++) {
            CHECK_INT(begin(id, want_len), 0);
            CHECK_INT(decode(pieces[i], pieces[o], made, &made_len), OTA_DONE);
            CHECK_INT(made_len, want_len);
            CHECK(memcmp(made, want, want_len) == 0);
        }
}

static void test_full(void)
{
    check_case = "full";
    payload_len = 0;
    bytes("some content", 12);
    check_made(OTA_ENGINE_FULL, payload, payload_len);
    payload_len = 0;
    check_made(OTA_ENGINE_FULL, payload, 0);
}

static void test_bsdiff(void)
{
    uint8_t want[NEW_MAX];
    size_t n = 0;

    check_case = "bsdiff";
    payload_len = 0;
    /* 1500 bytes of old from 0 with 3 changed ones in two places, then 5 literals */
    number(1500), number(5), number(0);
    number(0), number(1), bytes("\x01", 1);
    number(1000), number(2), bytes("\xff\x80", 2);
    number(497), number(0);
    bytes("hello", 5);
    memcpy(want, old_data, 1500);
    want[0] = (uint8_t)(want[0] + 1);
    want[1001] = (uint8_t)(want[1001] - 1);
    want[1002] = (uint8_t)(want[1002] + 128);
    memcpy(want + 1500, "hello", 5);
    n = 1505;
    /* 2 literals alone, going back to 100 in old; then 2000 bytes from 1000 up to the end of old */
    number(0), number(2), number(2 * 1400 - 1), bytes("ab", 2);
    memcpy(want + n, "ab", 2);
    n += 2;
    number(2000), number(0), number(2 * 900), number(2000), number(0);
    memcpy(want + n, old_data + 1000, 2000);
    n += 2000;
    check_made(OTA_ENGINE_BSDIFF, want, n);

    check_case = "long runs are read in one go";
    CHECK_INT(begin(OTA_ENGINE_BSDIFF, n), 0);
    decode(8192, 8192, want, &n);
    CHECK(reader.longest > WINDOW);

    check_case = "bsdiff of nothing";
    payload_len = 0;
    check_made(OTA_ENGINE_BSDIFF, want, 0);
}

/* ---- wrong ones ---- */

#define MAX63 "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"

/* Payloads for 100 new bytes of 3000 old ones that must be refused. */
static const struct {
    const char *name;
    const char *bytes;
    size_t len;
} bad[] = {
#define BAD(name, text)                                                                                                \
    {                                                                                                                  \
        name, text, sizeof text - 1                                                                                    \
    }
    BAD("add past new", "\x65\x00\x00"),
    BAD("add of 2^63-1", MAX63),
    BAD("literal past new", "\x00\x65"),
    BAD("add and literal past new", "\x01\x64"),
    BAD("literal of 2^63-1", "\x01" MAX63),
    BAD("triple of nothing", "\x00\x00"),
    BAD("seek before old", "\x01\x63\x01"),
    BAD("seek far before old", "\x01\x63" MAX63),
    BAD("seek past old", "\x00\x64\xf2\x2e"),                   /* 3001 */
    BAD("seek past old for what is added", "\x64\x00\xaa\x2d"), /* 2901 */
    BAD("seek of 2^62", "\x01\x63\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"),
    BAD("zeros past the triple", "\x0a\x5a\x00\x0b"),
    BAD("zeros of 2^63-1", "\x0a\x5a\x00" MAX63),
    BAD("differences past the triple", "\x0a\x5a\x00\x05\x06"),
    BAD("differences of 2^63-1", "\x0a\x5a\x00\x00" MAX63),
    BAD("empty first run", "\x0a\x5a\x00\x00\x00"),
    BAD("no differences before the end", "\x0a\x5a\x00\x05\x00"),
    BAD("no zeros in a later run", "\x0a\x5a\x00\x01\x01z\x00"),
    BAD("varint that could be shorter", "\xe4\x00"),
    BAD("varint of zero in two bytes", "\x80\x00"),
    BAD("varint of ten bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
};

static void test_bad(void)
{
    uint8_t made[NEW_MAX];
    size_t made_len;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (size_t p = 0; p < PIECES; p++) {
            struct ota_in in = {payload, 0, 0};
            struct ota_out out = {made, 0, 0};

            check_case = bad[i].name;
            payload_len = 0;
            bytes(bad[i].bytes, bad[i].len);
            CHECK_INT(begin(OTA_ENGINE_BSDIFF, 100), 0);
            CHECK_INT(decode(pieces[p], pieces[p], made, &made_len), -OTA_E_DELTA);
            CHECK_INT(ota_engine_step(workspace, &in, &out), -OTA_E_DELTA); /* and stays so */
        }
}

/* The bounds themselves are fine: one less than each of the bad ones. */
static void test_bounds(void)
{
    uint8_t want[NEW_MAX];

    check_case = "last 100 bytes of old";
    payload_len = 0;
    number(100), number(0), number(2 * 2900), number(100), number(0);
    check_made(OTA_ENGINE_BSDIFF, old_data + 2900, 100);

    check_case = "literals behind a seek to the end of old";
    payload_len = 0;
    number(0), number(100), number(2 * 3000);
    memset(want, 'x', 100);
    memset(payload + payload_len, 'x', 100);
    payload_len += 100;
    check_made(OTA_ENGINE_BSDIFF, want, 100);
}

static void test_ends(void)
{
    uint8_t made[NEW_MAX];
    size_t made_len, whole;

    check_case = "payload that goes on";
    for (int id = OTA_ENGINE_FULL; id <= OTA_ENGINE_BSDIFF; id++) {
        payload_len = 0;
        if (id == OTA_ENGINE_BSDIFF)
            number(0), number(5), number(0);
        bytes("hello!", 6);
        CHECK_INT(begin(id, 5), 0);
        CHECK_INT(decode(8192, 8192, made, &made_len), -OTA_E_DELTA);
        payload_len--;
        CHECK_INT(begin(id, 5), 0);
        CHECK_INT(decode(8192, 8192, made, &made_len), OTA_DONE);

        struct ota_in more = {payload, 1, 0};
        struct ota_out room = {made, sizeof made, 0};

        CHECK_INT(ota_engine_step(workspace, &more, &room), -OTA_E_DELTA);
    }

    check_case = "payload that ends early";
    payload_len = 0;
    number(10), number(5), number(20), number(4), number(2), bytes("\1\2", 2), number(4), number(0), bytes("hello", 5);
    whole = payload_len;
    for (payload_len = 1; payload_len < whole; payload_len++) {
        CHECK_INT(begin(OTA_ENGINE_BSDIFF, 15), 0);
        CHECK_INT(decode(3, 3, made, &made_len), OTA_WANT_INPUT);
        CHECK(made_len < 15);
    }
    CHECK_INT(begin(OTA_ENGINE_BSDIFF, 15), 0);
    CHECK_INT(decode(3, 3, made, &made_len), OTA_DONE);
}

static void test_read_failure(void)
{
    uint8_t made[NEW_MAX];
    size_t made_len;
    struct ota_in in = {payload, 0, 0};
    struct ota_out out = {made, sizeof made, 0};

    check_case = "old cannot be read";
    payload_len = 0;
    number(2000), number(0), number(0), number(1000), number(1), bytes("x", 1), number(999), number(0);
    for (int call = 1; call <= 3; call++) {
        CHECK_INT(begin(OTA_ENGINE_BSDIFF, 2000), 0);
        reader.fail_at = call;
        CHECK_INT(decode(100, 600, made, &made_len), -OTA_E_IO);
        CHECK_INT(ota_engine_step(workspace, &in, &out), -OTA_E_IO);
        CHECK_INT(reader.calls, call);
    }
}

static void test_arguments(void)
{
    struct ota_source source = {&reader, read_at, OLD_SIZE};
    struct ota_source huge = {&reader, read_at, (uint64_t)1 << 63};
    size_t need = ota_engine_size(OTA_ENGINE_BSDIFF, WINDOW);

    check_case = "arguments";
    CHECK(need > WINDOW && need <= sizeof workspace);
    CHECK_INT(ota_engine_size(OTA_ENGINE_BSDIFF, 511), 0);
    CHECK_INT(ota_engine_size(OTA_ENGINE_BSDIFF, (1u << 20) + 1), 0);
    CHECK(ota_engine_size(OTA_ENGINE_BSDIFF, 1u << 20) > 1u << 20);
    CHECK_INT(ota_engine_size(3, WINDOW), 0);
    CHECK_INT(ota_engine_size(-1, WINDOW), 0);
    CHECK_INT(ota_engine_init(workspace, need - 1, OTA_ENGINE_BSDIFF, WINDOW, &source, 1), -OTA_E_USAGE);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_BSDIFF, WINDOW, &source, 1), 0);
    CHECK_INT(ota_engine_init((uint8_t *)workspace + 4, need, OTA_ENGINE_BSDIFF, WINDOW, &source, 1), -OTA_E_USAGE);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_BSDIFF, WINDOW, NULL, 1), -OTA_E_USAGE);
    CHECK_INT(ota_engine_init(NULL, need, OTA_ENGINE_BSDIFF, WINDOW, &source, 1), -OTA_E_USAGE);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_FULL, WINDOW, NULL, 1), 0);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_FULL, WINDOW, NULL, (uint64_t)1 << 63), -OTA_E_LIMIT);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_BSDIFF, WINDOW, &huge, 1), -OTA_E_LIMIT);
}

static void test_errors(void)
{
    check_case = "error list";
    for (int i = 0; i < ota_error_count(); i++) {
        CHECK_INT(ota_error_index(ota_error_code(i)), i);
        CHECK(ota_error_name(i)[0] != 0 && ota_error_who(i)[0] != 0 && ota_error_text(i)[0] != 0);
    }
    CHECK_INT(ota_error_code(ota_error_index(OTA_E_DELTA)), 29);
    CHECK_INT(ota_error_index(0), -1);
    CHECK_INT(ota_error_code(-1), -1);
    CHECK_INT(ota_error_code(ota_error_count()), -1);
    CHECK(ota_error_name(ota_error_count())[0] == 0);
}

int main(void)
{
    for (size_t i = 0; i < OLD_SIZE; i++)
        old_data[i] = (uint8_t)(i * i / 3 + i);
    test_full();
    test_bsdiff();
    test_bad();
    test_bounds();
    test_ends();
    test_read_failure();
    test_arguments();
    test_errors();
    return check_done();
}
