/* test_exec_fallback.c - a delta with the same content in full behind it: whatever is wrong with the delta, new comes.
 */
#include "board_model.c"
#include "check.h"
#include "flash_model.c"
#include "records.h"
#include "wire.h"

#define OLD_BYTES 6000u
#define NEW_BYTES 6000u

enum wrong { NOTHING, OLD_OTHER, OLD_GONE, DELTA_SHORT, DELTA_BAD, RESULT_BAD, ALL_BAD };
static const char *const wrongs[] = {"nothing", "old other", "old gone", "delta short", "delta bad", "result bad"};

enum place { BLOCK_FROM_OTHER, BLOCK_ONTO_ITSELF, UBI_FROM_OTHER, A_FILE };

static uint8_t image[NEW_BYTES];
static uint8_t old_image[OLD_BYTES];
static uint8_t other[OLD_BYTES];
static struct flash_model flash[2];
static struct bytes head;
static struct ota_exec_options options = {.window = 512, .block_buffer = 4096, .header_max = OTA_HEADER_MAX};
static uint64_t workspace[1 << 15];
static const struct ota_report *report;

static void source(struct bytes *b, const char *node)
{
    put_head(b, 0, OTA_KEY_SOURCE);
    put_head(b, 5, node != NULL ? 3 : 2);
    f_uint(b, OTA_KEY_SIZE, OLD_BYTES);
    f_uint(b, OTA_KEY_DIGEST, xxh(old_image, OLD_BYTES));
    if (node != NULL) {
        put_head(b, 0, OTA_KEY_TARGETS);
        put_head(b, 4, 1);
        put_str(b, 2, node);
    }
}

static void record(struct bytes *s, enum place place)
{
    unsigned kind = place == A_FILE ? OTA_KIND_FILE : place == UBI_FROM_OTHER ? OTA_KIND_UBI : OTA_KIND_BLOCK;
    rec(&head, kind, place == A_FILE ? 7 : 6);
    if (place == A_FILE)
        f_bytes(&head, OTA_KEY_PATH, "a");
    f_uint(&head, OTA_KEY_SIZE, NEW_BYTES);
    f_uint(&head, OTA_KEY_DIGEST, xxh(image, NEW_BYTES));
    if (place == A_FILE)
        f_uint(&head, OTA_KEY_MODE, 0600);
    f_uint(&head, OTA_KEY_ENGINE, OTA_ENGINE_BSDIFF);
    source(&head, place == BLOCK_ONTO_ITSELF || place == A_FILE ? NULL : "/dev/b");
    if (place != A_FILE) {
        put_head(&head, 0, OTA_KEY_TARGETS);
        put_head(&head, 4, 1);
        put_str(&head, 2, "/dev/a");
    }
    f_uint(&head, OTA_KEY_FALLBACK, 1);
    emit(s, &head);
}

/* What tells a later run that the file is new already. */
static void expect_file(struct bytes *s)
{
    rec(&head, OTA_KIND_EXPECT, 4);
    f_bytes(&head, OTA_KEY_PATH, "a");
    f_uint(&head, OTA_KEY_TYPE, 1);
    f_state(&head, OTA_KEY_OLD, "*");
    put_head(&head, 0, OTA_KEY_NEW);
    put_head(&head, 4, 3);
    put_head(&head, 0, 1);
    put_head(&head, 0, NEW_BYTES);
    put_head(&head, 0, xxh(image, NEW_BYTES));
    emit(s, &head);
}

/* The delta: all of old but its last 1000 bytes, then literals. */
static void package(struct bytes *s, enum place place, enum wrong wrong)
{
    static const uint8_t triple[] = {0x88, 0x27, 0xE8, 0x07, 0, 0x88, 0x27, 0}; /* 5000, 1000, 0, 5000, 0 */
    static const char *const needs[] = {"block", "bsdiff", "fallback", "file", "full", "ubi"};
    static uint8_t coded[sizeof triple + 1000];
    s->len = 0;
    rec(&head, OTA_KIND_MANIFEST, 3);
    f_uint(&head, OTA_KEY_RECORDS, 1);
    f_uint(&head, OTA_KEY_BYTES, NEW_BYTES);
    put_head(&head, 0, OTA_KEY_NEEDS);
    put_head(&head, 4, 6);
    for (size_t i = 0; i < 6; i++)
        put_str(&head, 3, needs[i]);
    emit(s, &head);
    if (place == A_FILE)
        expect_file(s);
    record(s, place);
    memcpy(coded, triple, sizeof triple);
    memcpy(coded + sizeof triple, image + 5000, 1000);
    if (wrong == DELTA_BAD)
        coded[4] = 0xff; /* a seek of which the end is far beyond old */
    if (wrong == RESULT_BAD || wrong == ALL_BAD)
        coded[sizeof coded - 1] ^= 1;
    payload(s, coded, wrong == DELTA_SHORT ? sizeof coded - 300 : sizeof coded, 700);
    payload(s, wrong == ALL_BAD ? old_image : image, NEW_BYTES, 500);
    emit(s, rec(&head, OTA_KIND_END, 0));
}

static int run(struct board_model *b, const struct bytes *s, size_t step)
{
    struct ota_exec *ex;
    int st = ota_exec_init(workspace, sizeof workspace, &options, &b->port, &ex);
    CHECK_INT(st, 0);
    st = OTA_WANT_INPUT;
    for (size_t pos = 0; st == OTA_WANT_INPUT && pos < s->len; pos += step)
        st = ota_exec_feed(ex, s->data + pos, s->len - pos < step ? s->len - pos : step);
    report = ota_exec_report(ex);
    return ota_exec_finish(ex, 0);
}

static void start(struct board_model *b, enum place place, enum wrong wrong)
{
    const uint8_t *held = wrong == OLD_OTHER ? other : old_image;
    int ubi = place == UBI_FROM_OTHER;
    board_init(b);
    for (unsigned i = 0; i < 2; i++) {
        model_init(&flash[i], ubi ? OTA_FLASH_BLOCK : OTA_FLASH_NAND, 4, 4096, 512, 4 * 4096);
        model_fill(&flash[i], 0, held, OLD_BYTES);
    }
    board_put_node(b, "/dev/a", &flash[0]);
    if (wrong != OLD_GONE)
        board_put_node(b, "/dev/b", &flash[1]);
    b->nodes[0].volume = ubi;
    b->nodes[1].volume = ubi;
    if (wrong != OLD_GONE || place != A_FILE)
        board_put(b, "/a", held, OLD_BYTES);
}

static void stop(struct board_model *b)
{
    model_free(&flash[0]);
    model_free(&flash[1]);
    board_free(b);
}

static int target_is(const struct board_model *b, enum place place, const uint8_t *data)
{
    return place == A_FILE ? board_is(b, "/a", data, NEW_BYTES) : memcmp(flash[0].data, data, NEW_BYTES) == 0;
}

static void test_new_comes(enum place place, enum wrong wrong, size_t step)
{
    static struct board_model b;
    static struct bytes s;
    char name[64];
    /* a node that is its own source has it even where the other one is gone */
    int applies = wrong == NOTHING || (wrong == OLD_GONE && place == BLOCK_ONTO_ITSELF);
    start(&b, place, wrong);
    package(&s, place, wrong);
    snprintf(name, sizeof name, "place %d, %s", (int)place, wrongs[wrong]);
    check_case = name;
    CHECK_INT(run(&b, &s, step), 0);
    CHECK(target_is(&b, place, image));
    CHECK_INT(report->fell_back, !applies);
    CHECK_INT(report->records_done, 1);
    CHECK_INT(report->bytes_done, NEW_BYTES);
    CHECK_INT(report->os_error, 0);
    CHECK_INT(board_images(&b), 0);
    CHECK_INT(b.nodes[0].updating, 0);
    if (place != A_FILE && wrong != OLD_GONE)
        CHECK(memcmp(flash[1].data, wrong == OLD_OTHER ? other : old_image, OLD_BYTES) == 0);

    CHECK_INT(run(&b, &s, step), 0); /* again: it is new already */
    CHECK_INT(report->fell_back, 0);
    CHECK_INT(report->skipped, 1);
    CHECK_INT(report->bytes_done, NEW_BYTES);
    CHECK_INT(report->bytes_written, 0);
    stop(&b);
}

static void test_nothing_is_right(enum place place)
{
    static struct board_model b;
    static struct bytes s;
    start(&b, place, ALL_BAD);
    package(&s, place, ALL_BAD);
    CHECK_INT(run(&b, &s, 1000), -OTA_E_RESULT);
    CHECK_INT(report->fell_back, 1);
    CHECK(strcmp(report->target, place == A_FILE ? "/a" : "/dev/a") == 0);
    stop(&b);
}

static int no_room(void *ctx, uint64_t digest, uint64_t size)
{
    (void)ctx;
    (void)digest;
    (void)size;
    return ERR(SPACE);
}

/* Without room for the new image beside the only copy, the delta cannot be built there. */
static void test_no_room_in_the_temporary_folder(void)
{
    static struct board_model b;
    static struct bytes s;
    start(&b, BLOCK_ONTO_ITSELF, NOTHING);
    package(&s, BLOCK_ONTO_ITSELF, NOTHING);
    b.port.image_begin = no_room;
    CHECK_INT(run(&b, &s, 1000), 0);
    CHECK(target_is(&b, BLOCK_ONTO_ITSELF, image));
    CHECK_INT(report->fell_back, 1);
    stop(&b);
}

/* Whoever wants to stop is not kept up by a fallback. */
static void test_stop(void)
{
    static struct board_model b;
    static struct bytes s;
    start(&b, A_FILE, NOTHING);
    package(&s, A_FILE, NOTHING);
    b.stop = 1;
    CHECK_INT(run(&b, &s, 100), -OTA_E_CANCELLED);
    CHECK_INT(report->fell_back, 0);
    CHECK(board_is(&b, "/a", old_image, OLD_BYTES));
    stop(&b);
}

int main(void)
{
    for (size_t i = 0; i < OLD_BYTES; i++) {
        old_image[i] = (uint8_t)(i * 7 + i / 256);
        other[i] = (uint8_t)(i * 3 + 1);
        image[i] = i < 5000 ? old_image[i] : (uint8_t)(i * 11);
    }
    for (int place = BLOCK_FROM_OTHER; place <= A_FILE; place++) {
        for (int wrong = NOTHING; wrong < ALL_BAD; wrong++) {
            test_new_comes((enum place)place, (enum wrong)wrong, 1000);
            test_new_comes((enum place)place, (enum wrong)wrong, 1);
        }
        test_nothing_is_right((enum place)place);
    }
    test_no_room_in_the_temporary_folder();
    test_stop();
    return check_done();
}
