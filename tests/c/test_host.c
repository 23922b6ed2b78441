// links: core host
/* The delta encoder: what it writes decodes to new, for content made of pieces of old; and how it fails. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "host/host.h"

#define SIZE_MAX_TEST 3000u

/* ---- a plain sorter: slow, but independent of any library ---- */

static const uint8_t *sort_text;
static size_t sort_size;

static int compare_suffixes(size_t a, size_t b)
{
    size_t left = sort_size - a, right = sort_size - b;
    int order = memcmp(sort_text + a, sort_text + b, left < right ? left : right);

    return order != 0 ? order : (left > right) - (left < right);
}

static int compare32(const void *a, const void *b)
{
    return compare_suffixes((size_t) * (const int32_t *)a, (size_t) * (const int32_t *)b);
}

static int compare64(const void *a, const void *b)
{
    return compare_suffixes((size_t) * (const int64_t *)a, (size_t) * (const int64_t *)b);
}

static int32_t sort32(const uint8_t *text, int32_t *sa, int32_t n)
{
    sort_text = text;
    sort_size = (size_t)n;
    for (int32_t i = 0; i < n; i++)
        sa[i] = i;
    qsort(sa, (size_t)n, sizeof *sa, compare32);
    return 0;
}

static int32_t sort64(const uint8_t *text, int64_t *sa, int64_t n)
{
    sort_text = text;
    sort_size = (size_t)n;
    for (int64_t i = 0; i < n; i++)
        sa[i] = i;
    qsort(sa, (size_t)n, sizeof *sa, compare64);
    return 0;
}

static int32_t sort_without_memory(const uint8_t *text, int32_t *sa, int32_t n)
{
    (void)text, (void)sa, (void)n;
    return -2;
}

static int32_t sort_broken(const uint8_t *text, int32_t *sa, int32_t n)
{
    (void)text, (void)sa, (void)n;
    return -1;
}

/* ---- content ---- */

static uint32_t seed = 1;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return below == 0 ? 0 : (seed >> 8) % below;
}

static size_t fill(uint8_t *data, size_t len, uint32_t letters)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(chance(letters) * 85u);
    return len;
}

/* Pieces of old with a few bytes changed, and bytes of its own. */
static size_t derive(uint8_t *new_data, const uint8_t *old, size_t old_size, uint32_t letters)
{
    size_t len = 0;

    for (uint32_t pieces = chance(6); pieces > 0; pieces--) {
        size_t from = chance((uint32_t)old_size + 1);
        size_t n = chance((uint32_t)(old_size - from) + 1);

        if (len + n + 50 > SIZE_MAX_TEST)
            break;
        memcpy(new_data + len, old + from, n);
        for (uint32_t changes = chance(5); changes > 0 && n > 0; changes--)
            new_data[len + chance((uint32_t)n)] ^= 1;
        len += n;
        len += fill(new_data + len, chance(9), letters);
    }
    return len;
}

/* ---- encode, decode, compare ---- */

struct content {
    const uint8_t *data;
    size_t size;
};

static int read_at(void *ctx, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct content *c = ctx;

    CHECK(len > 0 && offset <= c->size && len <= c->size - offset);
    memcpy(buf, c->data + offset, len);
    return 0;
}

static void check_decodes(int fd, const struct content *old, const struct content *want,
                          const struct ota_diff_stats *stats)
{
    size_t need = ota_engine_size(OTA_ENGINE_BSDIFF, 512);
    uint8_t *payload = malloc(stats->written + 1), *made = malloc(want->size + 1);
    void *workspace = malloc(need), *ctx = malloc(sizeof *old);
    struct ota_source source = {ctx, read_at, old->size};
    struct ota_in in = {payload, stats->written, 0};
    struct ota_out out = {made, want->size, 0};

    memcpy(ctx, old, sizeof *old);
    CHECK_INT(pread(fd, payload, stats->written + 1, 0), stats->written);
    CHECK_INT(ota_engine_init(workspace, need, OTA_ENGINE_BSDIFF, 512, &source, want->size), 0);
    CHECK_INT(ota_engine_step(workspace, &in, &out), OTA_DONE);
    CHECK_INT(out.pos, want->size);
    CHECK(memcmp(made, want->data, want->size) == 0);
    CHECK_INT(stats->added + stats->literals, want->size);
    free(payload);
    free(made);
    free(workspace);
    free(ctx);
}

static void check_pair(const struct ota_sorter *sorter, int fd, const struct content *old, const struct content *want)
{
    struct ota_diff_stats stats;

    CHECK_INT(ftruncate(fd, 0), 0);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    CHECK_INT(ota_diff_bsdiff(sorter, old->data, old->size, want->data, want->size, NULL, fd, &stats), 0);
    check_decodes(fd, old, want, &stats);
}

static void test_pairs(const struct ota_sorter *sorter, int fd, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        uint32_t letters = 1u + chance(4);
        /* of exactly their size, so that the sanitizer sees a step too far */
        uint8_t *old = malloc(SIZE_MAX_TEST), *new_data = malloc(SIZE_MAX_TEST);
        size_t old_size = fill(old, chance(round % 4 == 0 ? 4 : round % 16 == 1 ? SIZE_MAX_TEST - 100 : 600), letters);
        size_t new_size = derive(new_data, old, old_size, letters);
        struct content a = {realloc(old, old_size + (old_size == 0)), old_size};
        struct content b = {realloc(new_data, new_size + (new_size == 0)), new_size};

        check_pair(sorter, fd, &a, &b);
        free((void *)(uintptr_t)a.data);
        free((void *)(uintptr_t)b.data);
    }
}

static void test_longest(void)
{
    static const uint8_t text[] = "abracadabracad\xff\xff\xff\xff\xff\xff";
    struct ota_sorter sorter = {sort32, sort64};
    struct ota_suffix s;
    uint64_t pos = 99;

    check_case = "longest match";
    CHECK_INT(ota_suffix_init(&s, &sorter, text, sizeof text - 1), 0);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"xyzzy", 5, 0, &pos), 0);
    CHECK(s.sa32 == NULL); /* not sorted for what does not occur */
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"abracax", 7, 0, &pos), 6);
    CHECK_INT(pos, 0); /* the nearer one of 0 and 7 */
    CHECK(s.sa32 != NULL);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"abracax", 7, 6, &pos), 6);
    CHECK_INT(pos, 7);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"dabraq", 6, 7, &pos), 5);
    CHECK_INT(pos, 6);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"acad\xff\xffq", 7, 0, &pos), 6);
    CHECK_INT(pos, 10);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0, &pos), 6);
    CHECK_INT(pos, 14);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"\xff\xff\xff\xff\xff!", 6, 19, &pos), 5);
    CHECK_INT(pos, 15);
    CHECK_INT(ota_suffix_longest(&s, (const uint8_t *)"abra", 4, 0, &pos), 0);
    ota_suffix_free(&s);
}

/* The sorter for short texts against the plain one: repeats of every kind, and each length from none on. */
static void test_sort_small(void)
{
    static const uint32_t sizes[] = {1000, 5000, OTA_SORT_SMALL};
    int32_t *want = malloc(OTA_SORT_SMALL * sizeof *want), *got = malloc(OTA_SORT_SMALL * sizeof *got);

    check_case = "short text";
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t size = round < 390 ? round % 200 : sizes[round % 3], letters = 1 + round % 5;
        uint8_t *text = malloc(size + (size == 0));

        fill(text, size, letters);
        if (round % 7 == 0) /* a text of one word again and again */
            for (uint32_t i = 1 + round % 11; i < size; i++)
                text[i] = text[i - 1 - round % 11];
        if (letters > 1 || size < 1000)
            sort32(text, want, (int32_t)size);
        else /* all letters equal: the shorter suffix comes first */
            for (uint32_t i = 0; i < size; i++)
                want[i] = (int32_t)(size - 1 - i);
        CHECK_INT(ota_sort_small(text, size, got), 0);
        CHECK(memcmp(got, want, size * sizeof *got) == 0);
        free(text);
    }
    free(want);
    free(got);
}

static void test_failures(void)
{
    struct ota_sorter no_memory = {sort_without_memory, NULL}, broken = {sort_broken, NULL}, none = {NULL, NULL};
    struct ota_diff_stats stats;
    static uint8_t old[OTA_SORT_SMALL + 400];
    const uint8_t want[] = "another old content!";
    const struct ota_sorter *sorters[] = {&no_memory, &broken, &none};
    const int statuses[] = {-OTA_E_RAM, -OTA_E_INTERNAL, -OTA_E_USAGE};

    check_case = "failures";
    fill(old, sizeof old, 251);
    memcpy(old, "old content", 11);
    for (int i = 0; i < 3; i++)
        CHECK_INT(ota_diff_bsdiff(sorters[i], old, sizeof old, want, sizeof want, NULL, -1, &stats), statuses[i]);
    CHECK_INT(ota_diff_bsdiff(&none, old, sizeof old, old, sizeof old, NULL, -1, &stats), -OTA_E_OUTPUT);
    CHECK_INT(stats.os_error, EBADF);
    CHECK_INT(ota_diff_bsdiff(&none, old, (uint64_t)1 << 63, want, sizeof want, NULL, -1, &stats), -OTA_E_LIMIT);
    CHECK_INT(ota_diff_bsdiff(&none, old, sizeof old, want, (uint64_t)1 << 63, NULL, -1, &stats), -OTA_E_LIMIT);
}

int main(void)
{
    struct ota_sorter narrow = {sort32, sort64}, wide = {NULL, sort64};
    char name[] = "/tmp/test_host.XXXXXX";
    int fd = mkstemp(name);

    CHECK(fd >= 0 && unlink(name) == 0);
    check_case = "narrow suffix array";
    test_pairs(&narrow, fd, 3000);
    check_case = "wide suffix array";
    test_pairs(&wide, fd, 1000);
    test_longest();
    test_sort_small();
    test_failures();
    close(fd);
    return check_done();
}
