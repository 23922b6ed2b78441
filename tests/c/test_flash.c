/* test_flash.c - the flash writer and reader on the strict model: every case compares the whole medium and its map of
 * bad blocks with what the table says. */
#include "check.h"
#include "flash.h"
#include "flash_model.c"

#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u
#define PAGE 1024u
#define BLOCKS 8u
#define MEDIUM (BLOCK * BLOCKS)

/* One character for each block of the medium:
 * before  F erased, o old content, 0..7 this block of the image, T the last block of the image with old bytes behind it
 * bad     1 marked bad
 * fault   enum model_fault
 * after   = unchanged, 0..7 this block of the image, e p f r w: what such a failure leaves of the block of the image
 *         that comes next
 * image   (by block of the image) r random, F all 0xFF, s every second page all 0xFF; NULL: all r */
struct flash_case {
    const char *name;
    enum ota_flash_kind kind;
    uint32_t size;
    const char *image;
    const char *before;
    const char *bad;
    const char *fault;
    enum model_mark mark;
    const char *after;
    const char *bad_after;
    int status; /* positive code */
    uint32_t skipped;
    uint32_t new_bad;
    uint64_t erases;
    uint32_t chunk;   /* bytes per call of write; 0: all at once */
    uint32_t buf_len; /* 0: one block */
    uint32_t medium;  /* size of the medium; 0: MEDIUM */
};

#define NONE "........"
#define GOOD "00000000"
#define ERASED "FFFFFFFF"
#define OLD "oooooooo"
#define NAND OTA_FLASH_NAND
#define NOR OTA_FLASH_NOR
#define BLK OTA_FLASH_BLOCK
#define E(x) OTA_E_##x

/* clang-format off */
static const struct flash_case cases[] = {
    /* name, kind, size, image, before, bad, fault, mark, after, bad after, status, skipped, new bad, erases, ... */
    {"nand: erased medium", NAND, 3 * BLOCK, NULL, ERASED, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nand: over old content", NAND, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nand: last block in part", NAND, 2 * BLOCK + 1500, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nand: one byte", NAND, 1, NULL, OLD, GOOD, NONE, 0, "0=======", GOOD, 0, 0, 0, 1, 0, 0, 0},
    {"nand: nothing", NAND, 0, NULL, OLD, GOOD, NONE, 0, "========", GOOD, 0, 0, 0, 0, 0, 0, 0},
    {"nand: as large as the medium", NAND, MEDIUM, NULL, OLD, GOOD, NONE, 0, "01234567", GOOD, 0, 0, 0, 8, 0, 0, 0},
    {"nand: byte by byte", NAND, 2 * BLOCK + 7, NULL, OLD, "01000000", NONE, 0, "0=12====", "01000000", 0, 0, 0, 3, 1, 0, 0},
    {"nand: chunks that straddle blocks", NAND, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 5000, 0, 0},
    {"nand: buffer larger than a block", NAND, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 3 * BLOCK + 512, 0},
    {"nand: first blocks bad", NAND, 2 * BLOCK, NULL, OLD, "11000000", NONE, 0, "==01====", "11000000", 0, 0, 0, 2, 0, 0, 0},
    {"nand: bad blocks between", NAND, 4 * BLOCK, NULL, OLD, "01011000", NONE, 0, "0=1==23=", "01011000", 0, 0, 0, 4, 0, 0, 0},
    {"nand: exactly as many good blocks as needed", NAND, 5 * BLOCK - 1, NULL, OLD, "10010010", NONE, 0, "=01=23=4", "10010010", 0, 0, 0, 5, 0, 0, 0},
    {"nand: one known bad block too many", NAND, 5 * BLOCK + 1, NULL, OLD, "10010010", NONE, 0, "========", "10010010", E(BAD_BLOCKS), 0, 0, 0, 0, 0, 0},
    {"nand: larger than the medium", NAND, MEDIUM + 1, NULL, OLD, "10000000", NONE, 0, "========", "10000000", E(TOO_SMALL), 0, 0, 0, 0, 0, 0},
    {"nand: all right already", NAND, 3 * BLOCK, NULL, "012ooooo", GOOD, NONE, 0, "========", GOOD, 0, 3, 0, 0, 0, 0, 0},
    {"nand: all right already, one block bad", NAND, 3 * BLOCK, NULL, "0o12oooo", "01000000", NONE, 0, "========", "01000000", 0, 3, 0, 0, 0, 0, 0},
    {"nand: goes on where it stopped", NAND, 4 * BLOCK, NULL, "01Fooooo", GOOD, NONE, 0, "==23====", GOOD, 0, 2, 0, 2, 0, 0, 0},
    {"nand: the same blocks at other places", NAND, 3 * BLOCK, NULL, "120ooooo", GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nand: old bytes behind the image", NAND, BLOCK + 100, NULL, "0Toooooo", GOOD, NONE, 0, "=1======", GOOD, 0, 1, 0, 1, 0, 0, 0},
    {"nand: pages of ones are left out", NAND, 3 * BLOCK, "srs", OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nand: image of ones on old content", NAND, 2 * BLOCK, "FF", OLD, GOOD, NONE, 0, "01======", GOOD, 0, 0, 0, 2, 0, 0, 0},
    {"nand: image of ones on an erased medium", NAND, 2 * BLOCK, "FF", ERASED, GOOD, NONE, 0, "========", GOOD, 0, 2, 0, 0, 0, 0, 0},
    {"nand: erase fails", NAND, 3 * BLOCK, NULL, OLD, GOOD, ".e......", 0, "0e12====", "01000000", 0, 0, 1, 3, 0, 0, 0},
    {"nand: program fails within a block", NAND, 3 * BLOCK, NULL, OLD, GOOD, "p.......", 0, "p012====", "10000000", 0, 0, 1, 4, 0, 0, 0},
    {"nand: reads back as something else", NAND, 3 * BLOCK, NULL, OLD, GOOD, "..f.....", 0, "01f2====", "00100000", 0, 0, 1, 4, 0, 0, 0},
    {"nand: cannot be read back", NAND, 2 * BLOCK, NULL, OLD, GOOD, "r.......", 0, "r01=====", "10000000", 0, 0, 1, 3, 0, 0, 0},
    {"nand: replayed over a known bad block", NAND, 3 * BLOCK, NULL, OLD, "00100000", ".p......", 0, "0p=12===", "01100000", 0, 0, 1, 4, 0, 0, 0},
    {"nand: three failures in a row", NAND, 2 * BLOCK, NULL, OLD, GOOD, ".epf....", 0, "0epf1===", "01110000", 0, 0, 3, 4, 0, 0, 0},
    {"nand: four failures in a row", NAND, 2 * BLOCK, NULL, OLD, GOOD, ".epfe...", 0, "0epfe===", "01111000", E(BAD_BLOCKS), 0, 4, 3, 0, 0, 0},
    {"nand: failures apart from each other", NAND, 4 * BLOCK, NULL, OLD, GOOD, "e.p.f.e.", 0, "e0p1f2e3", "10101010", 0, 0, 4, 6, 0, 0, 0},
    {"nand: last part fails and moves", NAND, BLOCK + 3000, NULL, OLD, GOOD, ".p......", 0, "0p1=====", "01000000", 0, 0, 1, 3, 0, 0, 0},
    {"nand: good blocks run out at once", NAND, MEDIUM, NULL, OLD, GOOD, ".e......", 0, "0e======", "01000000", E(BAD_BLOCKS), 0, 1, 1, 0, 0, 0},
    {"nand: good blocks run out at the end", NAND, 7 * BLOCK, NULL, OLD, GOOD, "..e....p", 0, "01e2345p", "00100001", E(BAD_BLOCKS), 0, 2, 7, 0, 0, 0},
    {"nand: marking bad fails", NAND, 3 * BLOCK, NULL, OLD, GOOD, ".e......", MARK_FAILS, "0e======", GOOD, E(IO), 0, 0, 1, 0, 0, 0},
    {"nand: marking bad has no effect", NAND, 3 * BLOCK, NULL, OLD, GOOD, ".e......", MARK_LIES, "0e======", GOOD, E(IO), 0, 0, 1, 0, 0, 0},
    {"nand: erase refused", NAND, 3 * BLOCK, NULL, OLD, GOOD, ".w......", 0, "0=======", GOOD, E(READONLY), 0, 0, 1, 0, 0, 0},
    {"nand: the map of bad blocks cannot be read", NAND, 3 * BLOCK, NULL, OLD, GOOD, "..b.....", 0, "========", GOOD, E(IO), 0, 0, 0, 0, 0, 0},
    {"nand: buffer too small", NAND, BLOCK, NULL, OLD, GOOD, NONE, 0, "========", GOOD, E(RAM), 0, 0, 0, 0, BLOCK - 1, 0},
    {"nor: over old content", NOR, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nor: last block in part", NOR, BLOCK + 1, NULL, OLD, GOOD, NONE, 0, "01======", GOOD, 0, 0, 0, 2, 0, 0, 0},
    {"nor: goes on where it stopped", NOR, 4 * BLOCK, NULL, "0oFooooo", GOOD, NONE, 0, "=123====", GOOD, 0, 1, 0, 3, 0, 0, 0},
    {"nor: pages of ones are left out", NOR, 3 * BLOCK, "sFs", OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 3, 0, 0, 0},
    {"nor: reads back as something else", NOR, 3 * BLOCK, NULL, OLD, GOOD, ".f......", 0, "0f======", GOOD, E(VERIFY), 0, 0, 2, 0, 0, 0},
    {"nor: erase fails", NOR, 3 * BLOCK, NULL, OLD, GOOD, ".e......", 0, "0e======", GOOD, E(IO), 0, 0, 1, 0, 0, 0},
    {"nor: program fails within a block", NOR, 3 * BLOCK, NULL, OLD, GOOD, "..p.....", 0, "01p=====", GOOD, E(IO), 0, 0, 3, 0, 0, 0},
    {"nor: larger than the medium", NOR, MEDIUM + 1, NULL, OLD, GOOD, NONE, 0, "========", GOOD, E(TOO_SMALL), 0, 0, 0, 0, 0, 0},
    {"block: over old content", BLK, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 0, 0, 0, 0},
    {"block: bytes behind the image stay", BLK, BLOCK + 1001, NULL, OLD, GOOD, NONE, 0, "01======", GOOD, 0, 0, 0, 0, 0, 0, 0},
    {"block: old bytes behind the image are no reason to write", BLK, BLOCK + 1001, NULL, "0Toooooo", GOOD, NONE, 0, "========", GOOD, 0, 2, 0, 0, 0, 0, 0},
    {"block: goes on where it stopped", BLK, 3 * BLOCK, NULL, "0o2ooooo", GOOD, NONE, 0, "=1======", GOOD, 0, 2, 0, 0, 777, 0, 0},
    {"block: odd size, filled to the last byte", BLK, MEDIUM - 77, NULL, OLD, GOOD, NONE, 0, "01234567", GOOD, 0, 0, 0, 0, 0, 0, MEDIUM - 77},
    {"block: one byte too large", BLK, MEDIUM - 76, NULL, OLD, GOOD, NONE, 0, "========", GOOD, E(TOO_SMALL), 0, 0, 0, 0, 0, MEDIUM - 77},
    {"block: buffer of no multiple of 512", BLK, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "012=====", GOOD, 0, 0, 0, 0, 0, BLOCK + 511, 0},
    {"block: buffer too small", BLK, 3 * BLOCK, NULL, OLD, GOOD, NONE, 0, "========", GOOD, E(RAM), 0, 0, 0, 0, 511, 0},
    {"block: reads back as something else", BLK, 3 * BLOCK, NULL, OLD, GOOD, ".f......", 0, "0f======", GOOD, E(VERIFY), 0, 0, 0, 0, 0, 0},
    {"block: cannot be read back", BLK, 3 * BLOCK, NULL, OLD, GOOD, ".r......", 0, "0r======", GOOD, E(IO), 0, 0, 0, 0, 0, 0},
    {"block: write refused", BLK, 3 * BLOCK, NULL, OLD, GOOD, ".w......", 0, "0=======", GOOD, E(READONLY), 0, 0, 0, 0, 0, 0},
};
/* clang-format on */

static uint32_t seed = 1;

static uint8_t noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 24);
}

static void make_image(uint8_t *image, uint32_t len, const char *kinds)
{
    uint32_t i;
    char k;

    for (i = 0; i < len; i++) {
        k = kinds && i / BLOCK < strlen(kinds) ? kinds[i / BLOCK] : 'r';
        image[i] = noise();
        if (k == 'F' || (k == 's' && i / PAGE % 2 == 0))
            image[i] = 0xff;
    }
}

/* What the medium's block holds when it holds block n of the image: on flash 0xFF behind it, else what was there. */
static void image_block(const struct flash_case *c, const uint8_t *image, uint32_t n, const uint8_t *was, uint8_t *out)
{
    uint32_t have = c->size > n * BLOCK ? c->size - n * BLOCK : 0;

    if (have > BLOCK)
        have = BLOCK;
    if (c->kind == BLK)
        memcpy(out, was, BLOCK);
    else
        memset(out, 0xff, BLOCK);
    memcpy(out, image + (size_t)n * BLOCK, have);
}

static void set_up(const struct flash_case *c, struct flash_model *m, const uint8_t *image)
{
    uint8_t old[BLOCK];
    uint8_t blk[BLOCK];
    uint32_t i;
    uint32_t j;

    for (i = 0; i < BLOCKS; i++) {
        for (j = 0; j < BLOCK; j++)
            old[j] = noise();
        memset(blk, 0xff, sizeof blk);
        if (c->before[i] == 'o')
            memcpy(blk, old, BLOCK);
        else if (c->before[i] == 'T') {
            memcpy(blk, old, BLOCK);
            memcpy(blk, image + i * BLOCK, c->size % BLOCK);
        } else if (c->before[i] != 'F')
            image_block(c, image, (uint32_t)(c->before[i] - '0'), old, blk);
        model_fill(m, i * BLOCK, blk, BLOCK);
        m->bad[i] = c->bad[i] == '1';
        m->fault[i] = c->fault[i];
    }
    m->mark = c->mark;
}

/* The whole medium as the case wants it, from what it was before. */
static void expected(const struct flash_case *c, const uint8_t *image, uint8_t *data)
{
    uint32_t unit = c->kind == NAND ? PAGE : 256;
    uint32_t next = 0;
    uint8_t blk[BLOCK];
    uint32_t i;

    for (i = 0; i < BLOCKS; i++) {
        uint8_t *at = data + (size_t)i * BLOCK;

        if (c->after[i] == '=') {
            if (c->before[i] >= '0' && c->before[i] <= '7')
                next = (uint32_t)(c->before[i] - '0') + 1;
            continue;
        }
        if (c->after[i] >= '0' && c->after[i] <= '7')
            next = (uint32_t)(c->after[i] - '0');
        image_block(c, image, next, at, blk);
        if (c->after[i] >= '0' && c->after[i] <= '7')
            next++;
        if (c->after[i] == 'f')
            blk[c->kind == BLK ? 0 : BLOCK - unit] ^= 0x10;
        if (c->after[i] == 'e' && c->fault[i] == 'e')
            memset(blk, 0x5a, BLOCK);
        if (c->after[i] == 'p')
            memset(blk + BLOCK / 2 + unit / 2, 0xff, BLOCK / 2 - unit / 2);
        memcpy(at, blk, BLOCK);
    }
}

static int run(struct ota_flash_writer *w, const struct flash_case *c, struct flash_model *m, const uint8_t *image)
{
    uint32_t buf_len = c->buf_len ? c->buf_len : BLOCK;
    uint8_t *buf = malloc(buf_len); /* exactly as long, so that the sanitizer sees a step beyond it */
    uint32_t at;
    uint32_t n;
    int r;

    r = ota_flash_writer_init(w, &m->flash, c->size, buf, buf_len);
    for (at = 0; r == 0 && at < c->size; at += n) {
        n = c->chunk && c->chunk < c->size - at ? c->chunk : c->size - at;
        r = ota_flash_writer_write(w, image + at, n);
    }
    if (r == 0)
        r = ota_flash_writer_finish(w);
    CHECK_INT(ota_flash_writer_finish(w), r); /* sticky, and finishing twice changes nothing */
    free(buf);
    return r;
}

static void test_case(const struct flash_case *c)
{
    struct flash_model m;
    struct ota_flash_writer w;
    uint8_t *image = malloc(MEDIUM + BLOCK);
    uint8_t *want = malloc(MEDIUM);
    char bad[BLOCKS + 1];
    uint32_t i;

    check_case = c->name;
    model_init(&m, c->kind, BLOCKS, BLOCK, c->kind == NAND ? PAGE : 1, c->medium ? c->medium : MEDIUM);
    make_image(image, MEDIUM + BLOCK, c->image);
    set_up(c, &m, image);
    memcpy(want, m.data, MEDIUM);
    expected(c, image, want);

    CHECK_INT(run(&w, c, &m, image), -c->status);
    CHECK_INT(w.skipped, c->skipped);
    CHECK_INT(w.new_bad, c->new_bad);
    CHECK_INT(m.erases, c->erases);
    CHECK(c->status != 0 || m.syncs > 0);
    for (i = 0; i < BLOCKS; i++)
        bad[i] = m.bad[i] ? '1' : '0';
    bad[BLOCKS] = 0;
    CHECK(strcmp(bad, c->bad_after) == 0);
    for (i = 0; i < MEDIUM && m.data[i] == want[i]; i++)
        ;
    CHECK_INT(i, MEDIUM); /* else: the first byte that differs */

    free(want);
    free(image);
    model_free(&m);
}

/* Pages that hold nothing but ones are not programmed: counted, since the result is the same. */
static void test_pages_of_ones(void)
{
    static const struct flash_case c = {
        "pages of ones", NAND, 3 * BLOCK, "sFr", OLD, GOOD, NONE, 0, "", GOOD, 0, 0, 0, 0, 0, 0, 0};
    struct flash_model m;
    struct ota_flash_writer w;
    uint8_t image[3 * BLOCK];

    check_case = c.name;
    make_image(image, sizeof image, c.image);
    model_init(&m, NAND, BLOCKS, BLOCK, PAGE, MEDIUM);
    CHECK_INT(run(&w, &c, &m, image), 0);
    CHECK_INT(m.progs, 2 + 4);
    CHECK_INT(w.written, 6 * PAGE);
    CHECK_INT(m.erases, 2);
    CHECK_INT(w.skipped, 1);
    model_free(&m);
}

static void test_sizes(void)
{
    struct flash_model m;
    struct ota_flash_writer w;
    uint8_t buf[BLOCK];
    uint8_t data[100] = {1, 2, 3};

    check_case = "more bytes than said";
    model_init(&m, NAND, BLOCKS, BLOCK, PAGE, MEDIUM);
    CHECK_INT(ota_flash_writer_init(&w, &m.flash, 99, buf, sizeof buf), 0);
    CHECK_INT(ota_flash_writer_write(&w, data, 60), 0);
    CHECK_INT(ota_flash_writer_write(&w, data, 40), -OTA_E_RESULT);
    CHECK_INT(ota_flash_writer_write(&w, data, 1), -OTA_E_RESULT);
    CHECK_INT(ota_flash_writer_finish(&w), -OTA_E_RESULT);
    check_case = "fewer bytes than said";
    CHECK_INT(ota_flash_writer_init(&w, &m.flash, 99, buf, sizeof buf), 0);
    CHECK_INT(ota_flash_writer_write(&w, data, 98), 0);
    CHECK_INT(ota_flash_writer_finish(&w), -OTA_E_RESULT);
    CHECK_INT(m.ops, 0);
    model_free(&m);
}

static void test_geometry(void)
{
    struct flash_model m;
    struct ota_flash_writer w;
    struct ota_flash bad;
    uint8_t buf[BLOCK];

    model_init(&m, NAND, BLOCKS, BLOCK, PAGE, MEDIUM);
    check_case = "geometry";
#define REFUSED(set, code)                                                                                             \
    do {                                                                                                               \
        bad = m.flash;                                                                                                 \
        set;                                                                                                           \
        CHECK_INT(ota_flash_writer_init(&w, &bad, 1, buf, sizeof buf), -(code));                                       \
    } while (0)
    REFUSED(bad.erase_size = 0, OTA_E_NODE);
    REFUSED(bad.erase_size = 3 * PAGE, OTA_E_NODE);
    REFUSED(bad.prog_size = 0, OTA_E_NODE);
    REFUSED(bad.prog_size = 768, OTA_E_NODE);
    REFUSED(bad.prog_size = 2 * BLOCK, OTA_E_NODE);
    REFUSED(bad.size -= PAGE, OTA_E_NODE);
    REFUSED(bad.erase = NULL, OTA_E_INTERNAL);
    REFUSED(bad.is_bad = NULL, OTA_E_INTERNAL);
    REFUSED(bad.mark_bad = NULL, OTA_E_INTERNAL);
    CHECK_INT(m.ops, 0);
    model_free(&m);
}

/* Cut the power at every operation of an update, clean and torn; run it again; compare the whole medium. A second
 * cut in the run after the first one is tried as well. */
static void cut_sweep(const struct flash_case *c)
{
    struct flash_model m;
    struct ota_flash_writer w;
    uint8_t *image = malloc(MEDIUM);
    uint8_t *before = malloc(MEDIUM);
    uint8_t *want = malloc(MEDIUM);
    uint64_t ops;
    uint64_t cut;
    int torn;
    int survived = 0;

    check_case = c->name;
    model_init(&m, c->kind, BLOCKS, BLOCK, c->kind == NAND ? PAGE : 1, MEDIUM);
    make_image(image, MEDIUM, c->image);
    set_up(c, &m, image);
    memcpy(before, m.data, MEDIUM);
    memcpy(want, m.data, MEDIUM);
    expected(c, image, want);
    CHECK_INT(run(&w, c, &m, image), 0);
    CHECK(memcmp(m.data, want, MEDIUM) == 0);
    ops = m.ops;
    CHECK(ops > 15);
    for (torn = TORN_NOT; torn < TORN_KINDS; torn++) {
        for (cut = 1; cut <= ops; cut++) {
            model_power_on(&m);
            model_wipe(&m);
            set_up(c, &m, image);
            model_fill(&m, 0, before, MEDIUM);
            m.torn = (enum model_torn)torn;
            m.cut_at = cut;
            survived += run(&w, c, &m, image) == 0;
            model_power_on(&m);
            m.cut_at = cut / 2;
            if (m.cut_at)
                run(&w, c, &m, image);
            model_power_on(&m);
            CHECK_INT(run(&w, c, &m, image), 0);
            CHECK(memcmp(m.data, want, MEDIUM) == 0);
        }
    }
    CHECK_INT(survived, 0);
    free(want);
    free(before);
    free(image);
    model_free(&m);
}

static void test_cuts(void)
{
    static const struct flash_case nand = {
        "cuts: nand", NAND, 4 * BLOCK + 9, "rsrrr", OLD, "01000000", NONE, 0, "0=1234==", "", 0, 0, 0, 0, 3000, 0, 0};
    static const struct flash_case worn = {"cuts: nand with a dying block",
                                           NAND,
                                           4 * BLOCK,
                                           NULL,
                                           OLD,
                                           GOOD,
                                           "..e.....",
                                           0,
                                           "01e23===",
                                           "",
                                           0,
                                           0,
                                           0,
                                           0,
                                           0,
                                           0,
                                           0};
    static const struct flash_case nor = {
        "cuts: nor", NOR, 3 * BLOCK + 9, NULL, OLD, GOOD, NONE, 0, "0123====", "", 0, 0, 0, 0, 0, 0, 0};

    cut_sweep(&nand);
    cut_sweep(&worn);
    cut_sweep(&nor);
}

static void test_reader(void)
{
    static const char bad[] = "10011010";
    struct flash_model m;
    struct ota_flash_reader r;
    uint8_t logical[MEDIUM];
    uint8_t buf[3 * BLOCK];
    uint32_t good = 0;
    uint32_t i;
    int status;

    check_case = "reader";
    model_init(&m, NAND, BLOCKS, BLOCK, PAGE, MEDIUM);
    for (i = 0; i < MEDIUM; i++)
        m.data[i] = noise();
    for (i = 0; i < BLOCKS; i++) {
        m.bad[i] = bad[i] == '1';
        if (!m.bad[i])
            memcpy(logical + BLOCK * good++, m.data + i * BLOCK, BLOCK);
    }
    CHECK_INT(ota_flash_good_bytes(&m.flash, &status), good * BLOCK);
    CHECK_INT(status, 0);
    ota_flash_reader_init(&r, &m.flash);
    for (i = 0; i < 2000; i++) {
        uint32_t off = (uint32_t)(noise() << 8 | noise()) % (good * BLOCK);
        uint32_t len = (uint32_t)(noise() << 8 | noise()) % sizeof buf;

        if (len > good * BLOCK - off)
            len = good * BLOCK - off;
        CHECK_INT(ota_flash_read_at(&r, off, buf, len), 0);
        CHECK(memcmp(buf, logical + off, len) == 0);
    }
    CHECK_INT(ota_flash_read_at(&r, good * BLOCK - 1, buf, 1), 0);
    CHECK_INT(buf[0], logical[good * BLOCK - 1]);
    CHECK_INT(ota_flash_read_at(&r, good * BLOCK - 1, buf, 2), -OTA_E_DELTA);
    CHECK_INT(ota_flash_read_at(&r, good * BLOCK, buf, 1), -OTA_E_DELTA);
    CHECK_INT(ota_flash_read_at(&r, UINT64_MAX, buf, 1), -OTA_E_DELTA);
    CHECK_INT(ota_flash_read_at(&r, 5, buf, 10), 0); /* a failure is not sticky: an engine may ask again */
    CHECK(memcmp(buf, logical + 5, 10) == 0);
    m.fault[2] = FAULT_READ;
    CHECK_INT(ota_flash_read_at(&r, BLOCK - 1, buf, 2), -OTA_E_IO);
    m.fault[2] = FAULT_IS_BAD;
    CHECK_INT(ota_flash_read_at(&r, 2 * BLOCK, buf, 2), -OTA_E_IO);
    CHECK_INT(ota_flash_good_bytes(&m.flash, &status), 0);
    CHECK_INT(status, -OTA_E_IO);
    model_free(&m);
}

static void test_reader_block(void)
{
    struct flash_model m;
    struct ota_flash_reader r;
    uint8_t buf[8];
    int status;

    check_case = "reader: no bad blocks";
    model_init(&m, BLK, BLOCKS, BLOCK, 1, MEDIUM - 3);
    model_fill(&m, MEDIUM - 8, (const uint8_t *)"abcde", 5);
    CHECK_INT(ota_flash_good_bytes(&m.flash, &status), MEDIUM - 3);
    ota_flash_reader_init(&r, &m.flash);
    CHECK_INT(ota_flash_read_at(&r, MEDIUM - 8, buf, 5), 0);
    CHECK(memcmp(buf, "abcde", 5) == 0);
    CHECK_INT(ota_flash_read_at(&r, MEDIUM - 8, buf, 6), -OTA_E_DELTA);
    CHECK_INT(ota_flash_read_at(&r, MEDIUM - 3, buf, 0), 0);
    CHECK_INT(ota_flash_read_at(&r, MEDIUM - 2, buf, 0), -OTA_E_DELTA);
    CHECK_INT(ota_flash_read_at(&r, UINT64_MAX, buf, 2), -OTA_E_DELTA);
    model_free(&m);
}

int main(void)
{
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
        test_case(&cases[i]);
    test_pages_of_ones();
    test_sizes();
    test_geometry();
    test_cuts();
    test_reader();
    test_reader_block();
    return check_done();
}
