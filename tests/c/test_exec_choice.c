/* test_exec_choice.c - a record that writes only some of its targets (mask), and one that makes its folders (parents).
 */
#include "board_model.c"
#include "check.h"
#include "flash_model.c"
#include "records.h"
#include "wire.h"

#define NODES 3u

static uint8_t image[6000];
static uint8_t old_image[6000];
static uint8_t other[6000];
static struct flash_model flash[NODES];
static const char *const names[NODES] = {"/dev/a", "/dev/b", "/dev/c"};
static struct bytes head;
static struct ota_exec_options options = {.window = 512, .block_buffer = 4096, .header_max = OTA_HEADER_MAX};
static uint64_t workspace[1 << 15];
static const struct ota_report *report;

/* source: -1 none, NODES the first target itself, else the number of a node */
static void source(struct bytes *b, unsigned node, int digest)
{
    put_head(b, 0, OTA_KEY_SOURCE);
    put_head(b, 5, 1u + (unsigned)digest + (node < NODES));
    f_uint(b, OTA_KEY_SIZE, sizeof old_image);
    if (digest)
        f_uint(b, OTA_KEY_DIGEST, xxh(old_image, sizeof old_image));
    if (node < NODES) {
        put_head(b, 0, OTA_KEY_TARGETS);
        put_head(b, 4, 1);
        put_str(b, 2, names[node]);
    }
}

static void targets(struct bytes *b)
{
    put_head(b, 0, OTA_KEY_TARGETS);
    put_head(b, 4, NODES);
    for (unsigned i = 0; i < NODES; i++)
        put_str(b, 2, names[i]);
}

/* One image for three nodes, as a delta if `from` >= 0: all of old but its last 1000 bytes, then literals. */
static void package(struct bytes *s, uint64_t mask, int from)
{
    static const uint8_t triple[] = {0x88, 0x27, 0xE8, 0x07, 0, 0x88, 0x27, 0}; /* 5000, 1000, 0, 5000, 0 */
    static uint8_t coded[sizeof triple + 1000];
    s->len = 0;
    rec(&head, OTA_KIND_MANIFEST, 3);
    f_uint(&head, OTA_KEY_RECORDS, 1);
    f_uint(&head, OTA_KEY_BYTES, sizeof image);
    put_head(&head, 0, OTA_KEY_NEEDS);
    put_head(&head, 4, 3);
    put_str(&head, 3, "block");
    put_str(&head, 3, "bsdiff");
    put_str(&head, 3, "full");
    emit(s, &head);

    rec(&head, OTA_KIND_EXPECT, from >= 0 ? 6 : 5);
    f_uint(&head, OTA_KEY_SIZE, sizeof image);
    f_uint(&head, OTA_KEY_DIGEST, xxh(image, sizeof image));
    if (from >= 0)
        source(&head, (unsigned)from, 1);
    targets(&head);
    f_uint(&head, OTA_KEY_TYPE, 2);
    f_uint(&head, OTA_KEY_MASK, mask);
    emit(s, &head);

    rec(&head, OTA_KIND_BLOCK, from >= 0 ? 6 : 5);
    f_uint(&head, OTA_KEY_SIZE, sizeof image);
    f_uint(&head, OTA_KEY_DIGEST, xxh(image, sizeof image));
    f_uint(&head, OTA_KEY_ENGINE, from >= 0 ? OTA_ENGINE_BSDIFF : OTA_ENGINE_FULL);
    if (from >= 0)
        source(&head, (unsigned)from, 0);
    targets(&head);
    f_uint(&head, OTA_KEY_MASK, mask);
    emit(s, &head);
    memcpy(coded, triple, sizeof triple);
    memcpy(coded + sizeof triple, image + 5000, 1000);
    payload(s, from >= 0 ? coded : image, from >= 0 ? sizeof coded : sizeof image, 700);
    emit(s, rec(&head, OTA_KIND_END, 0));
}

static int run(struct board_model *b, const struct bytes *s)
{
    struct ota_exec *ex;
    int st = ota_exec_init(workspace, sizeof workspace, &options, &b->port, &ex);
    CHECK_INT(st, 0);
    (void)ota_exec_feed(ex, s->data, s->len);
    report = ota_exec_report(ex);
    return ota_exec_finish(ex, 0);
}

static void start(struct board_model *b)
{
    board_init(b);
    for (unsigned i = 0; i < NODES; i++) {
        model_init(&flash[i], OTA_FLASH_NAND, 4, 4096, 512, 4 * 4096);
        model_fill(&flash[i], 0, old_image, sizeof old_image);
        board_put_node(b, names[i], &flash[i]);
    }
}

static void stop(struct board_model *b)
{
    for (unsigned i = 0; i < NODES; i++)
        model_free(&flash[i]);
    board_free(b);
}

static int holds(unsigned i, const uint8_t *data)
{
    return memcmp(flash[i].data, data, sizeof image) == 0;
}

/* Every mask, full and as a delta from the first target, from each node: chosen targets are new, the others untouched;
 * also after a cut at any moment. */
static void test_masks(void)
{
    static struct board_model b;
    static struct bytes s;
    static char name[48];
    check_case = name;
    for (unsigned mask = 0; mask < 1u << NODES; mask++) {
        for (int from = -1; from <= (int)NODES; from++) {
            for (uint64_t cut = 0; cut < 100; cut++) {
                int st;
                snprintf(name, sizeof name, "mask %u, from %d, cut %u", mask, from, (unsigned)cut);
                package(&s, mask, from);
                start(&b);
                for (unsigned i = 0; cut > 0 && i < NODES; i++)
                    flash[i].cut_at = cut;
                st = run(&b, &s);
                CHECK(cut > 0 || st == 0);
                if (st != 0) {
                    board_power_on(&b);
                    for (unsigned i = 0; i < NODES; i++)
                        flash[i].cut_at = 0;
                    CHECK_INT(run(&b, &s), 0);
                }
                for (unsigned i = 0; i < NODES; i++)
                    CHECK(holds(i, (mask >> i & 1u) != 0 ? image : old_image));
                CHECK_INT(board_images(&b), 0);
                stop(&b);
                if (cut > 0 && st == 0)
                    break;
            }
        }
    }
    check_case = "";
}

/* A target that is left out may hold anything, be too small, or even be the new one: nobody looks at it. */
static void test_left_out(void)
{
    static struct board_model b;
    static struct bytes s;
    package(&s, 2, -1);
    start(&b);
    model_free(&flash[2]);
    model_init(&flash[2], OTA_FLASH_NAND, 1, 4096, 512, 4096);
    CHECK_INT(run(&b, &s), 0);
    CHECK(holds(1, image));
    CHECK_INT(flash[0].ops + flash[2].ops, 0);
    stop(&b);

    start(&b); /* the new content in a target that was left out does not stand in for a source that is wrong */
    model_fill(&flash[0], 0, image, sizeof image);
    model_fill(&flash[2], 0, other, sizeof other);
    package(&s, 2, 2);
    CHECK_INT(run(&b, &s), ERR(TARGET));
    CHECK_INT(flash[1].ops, 0);
    package(&s, 0, 2); /* nothing is to be written: nothing is expected either */
    CHECK_INT(run(&b, &s), 0);
    CHECK_INT(report->skipped, 1);
    CHECK_INT(flash[0].ops + flash[1].ops + flash[2].ops, 0);
    stop(&b);
}

static void file(struct bytes *s, const char *path, int parents)
{
    s->len = 0;
    rec(&head, OTA_KIND_MANIFEST, 3);
    f_uint(&head, OTA_KEY_RECORDS, 1);
    f_uint(&head, OTA_KEY_BYTES, 3);
    put_head(&head, 0, OTA_KEY_NEEDS);
    put_head(&head, 4, 2);
    put_str(&head, 3, "file");
    put_str(&head, 3, "full");
    emit(s, &head);
    rec(&head, OTA_KIND_FILE, parents ? 7 : 6);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, OTA_KEY_SIZE, 3);
    f_uint(&head, OTA_KEY_DIGEST, xxh("new", 3));
    f_uint(&head, OTA_KEY_MODE, 0600);
    f_uint(&head, OTA_KEY_ENGINE, 0);
    if (parents)
        f_uint(&head, OTA_KEY_PARENTS, 1);
    emit(s, &head);
    payload(s, "new", 3, 2);
    emit(s, rec(&head, OTA_KIND_END, 0));
}

static void test_parents(void)
{
    static struct board_model b;
    static struct bytes s;
    for (uint64_t cut = 0; cut < 10; cut++) {
        start(&b);
        board_put_dir(&b, "/config");
        board_put_dir(&b, "/config/there");
        b.entries[board_get(&b, "/config/there")].mode = 0700;
        b.cut_at = cut;
        file(&s, "there/x/yy/file", 1);
        if (run(&b, &s) != 0) {
            CHECK(cut > 0);
            board_power_on(&b);
            CHECK_INT(run(&b, &s), 0);
        }
        CHECK(board_is(&b, "/config/there/x/yy/file", "new", 3));
        CHECK_INT(b.entries[board_get(&b, "/config/there")].mode, 0700);
        CHECK_INT(b.entries[board_get(&b, "/config/there/x")].mode, 0755);
        CHECK_INT(b.entries[board_get(&b, "/config/there/x/yy")].mode, 0755);
        stop(&b);
    }
    start(&b);
    board_put_dir(&b, "/config");
    board_put(&b, "/config/there", "a file", 6);
    file(&s, "there/x/file", 1);
    CHECK_INT(run(&b, &s), ERR(TARGET));
    CHECK(board_is(&b, "/config/there", "a file", 6));
    file(&s, "gone/file", 0);
    CHECK_INT(run(&b, &s), ERR(MISSING));
    CHECK_INT(board_get(&b, "/config/gone"), -1);
    stop(&b);
}

int main(void)
{
    for (size_t i = 0; i < sizeof image; i++) {
        old_image[i] = (uint8_t)(i * 7 + (i >> 8));
        image[i] = (uint8_t)(i < 5000 ? old_image[i] : i * 13 + 1);
        other[i] = (uint8_t)(i * 3);
    }
    test_masks();
    test_left_out();
    test_parents();
    return check_done();
}
