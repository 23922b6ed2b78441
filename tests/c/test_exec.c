/* test_exec.c - the executor on a board in memory: order, preflight, effects, re-runs, a cut at every change. */
#include "board_model.c"
#include "check.h"
#include "flash_model.c"
#include "records.h"
#include "wire.h"

static const char NEEDS_ALL[][8] = {"block", "bsdiff", "delete", "dir", "file", "full", "link", "move", "script"};

static const char old_a[] = "the old content of a";
static const char new_a[] = "the new content of a, longer";
static const char new_b[] = "b is new";
static const char moved[] = "this content moves";
static const char gone[] = "gone soon";
static const char end_script[] = "echo end\n";
static uint8_t image[10000];
static uint8_t old_image[9000];

static struct ota_exec_options options;
static uint64_t workspace[1 << 15];

/* ---- building ---------------------------------------------------------------------------------------------------- */

static struct bytes head;

static void manifest(struct bytes *s)
{
    rec(&head, OTA_KIND_MANIFEST, 3);
    f_uint(&head, OTA_KEY_RECORDS, 9);
    f_uint(&head, OTA_KEY_BYTES, 100);
    put_head(&head, 0, OTA_KEY_NEEDS);
    put_head(&head, 4, sizeof NEEDS_ALL / sizeof NEEDS_ALL[0]);
    for (size_t i = 0; i < sizeof NEEDS_ALL / sizeof NEEDS_ALL[0]; i++)
        put_str(&head, 3, NEEDS_ALL[i]);
    emit(s, &head);
}

static void expect(struct bytes *s, const char *path, const char *old, const char *new)
{
    rec(&head, OTA_KIND_EXPECT, 5);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, OTA_KEY_TYPE, 1);
    f_state(&head, OTA_KEY_OLD, old);
    f_state(&head, OTA_KEY_NEW, new);
    emit(s, &head);
}

static void script(struct bytes *s, unsigned when, const char *text)
{
    rec(&head, OTA_KIND_SCRIPT, 4);
    f_uint(&head, OTA_KEY_SIZE, strlen(text));
    f_uint(&head, OTA_KEY_DIGEST, xxh(text, strlen(text)));
    f_uint(&head, OTA_KEY_ENGINE, 0);
    f_uint(&head, OTA_KEY_WHEN, when);
    emit(s, &head);
    payload(s, text, strlen(text), 7);
}

static void file_full(struct bytes *s, const char *path, const char *content)
{
    rec(&head, OTA_KIND_FILE, 6);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, OTA_KEY_SIZE, strlen(content));
    f_uint(&head, OTA_KEY_DIGEST, xxh(content, strlen(content)));
    f_uint(&head, OTA_KEY_MODE, 0600);
    f_uint(&head, OTA_KEY_ENGINE, 0);
    emit(s, &head);
    payload(s, content, strlen(content), 5);
}

/* `path` made from old_a, which is at `from` (NULL: at path itself), by one triple: 4 bytes as they are, then literals.
 */
static void file_delta(struct bytes *s, const char *path, const char *from)
{
    uint8_t delta[64] = {4, (uint8_t)(strlen(new_a) - 4), 0, 4, 0};
    rec(&head, OTA_KIND_FILE, 7);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, OTA_KEY_SIZE, strlen(new_a));
    f_uint(&head, OTA_KEY_DIGEST, xxh(new_a, strlen(new_a)));
    f_uint(&head, OTA_KEY_MODE, 0600);
    f_uint(&head, OTA_KEY_ENGINE, OTA_ENGINE_BSDIFF);
    put_head(&head, 0, OTA_KEY_SOURCE);
    put_head(&head, 5, from != NULL ? 3 : 1);
    if (from != NULL) {
        f_bytes(&head, OTA_KEY_ROOT, "/config");
        f_bytes(&head, OTA_KEY_PATH, from);
    }
    f_uint(&head, OTA_KEY_SIZE, strlen(old_a));
    emit(s, &head);
    memcpy(delta + 5, new_a + 4, strlen(new_a) - 4);
    payload(s, delta, 5 + strlen(new_a) - 4, 3);
}

static void simple(struct bytes *s, unsigned kind, const char *path, unsigned key, uint64_t value)
{
    rec(&head, kind, 3);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, key, value);
    emit(s, &head);
}

static void link_to(struct bytes *s, const char *path, unsigned type, const char *to)
{
    rec(&head, OTA_KIND_LINK, 4);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_bytes(&head, OTA_KEY_TO, to);
    f_uint(&head, OTA_KEY_TYPE, type);
    emit(s, &head);
}

static void move(struct bytes *s, const char *from, const char *path, const char *content)
{
    rec(&head, OTA_KIND_MOVE, 6);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    f_uint(&head, OTA_KEY_SIZE, strlen(content));
    f_uint(&head, OTA_KEY_DIGEST, xxh(content, strlen(content)));
    f_uint(&head, OTA_KEY_MODE, 0644);
    put_head(&head, 0, OTA_KEY_SOURCE);
    put_head(&head, 5, 4);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, from);
    f_uint(&head, OTA_KEY_SIZE, strlen(content));
    f_uint(&head, OTA_KEY_DIGEST, xxh(content, strlen(content)));
    emit(s, &head);
}

static void nodes(struct bytes *b, const char *first, const char *second)
{
    put_head(b, 0, OTA_KEY_TARGETS);
    put_head(b, 4, second != NULL ? 2 : 1);
    put_str(b, 2, first);
    if (second != NULL)
        put_str(b, 2, second);
}

/* The source of a block delta: `node`, or the target itself. */
static void node_source(struct bytes *b, const char *node, int digest)
{
    put_head(b, 0, OTA_KEY_SOURCE);
    put_head(b, 5, 1u + (unsigned)digest + (node != NULL));
    f_uint(b, OTA_KEY_SIZE, sizeof old_image);
    if (digest)
        f_uint(b, OTA_KEY_DIGEST, xxh(old_image, sizeof old_image));
    if (node != NULL)
        nodes(b, node, NULL);
}

static void expect_node(struct bytes *s, const char *first, const char *second, int delta, const char *source)
{
    rec(&head, OTA_KIND_EXPECT, delta ? 5 : 4);
    f_uint(&head, OTA_KEY_SIZE, sizeof image);
    f_uint(&head, OTA_KEY_DIGEST, xxh(image, sizeof image));
    if (delta)
        node_source(&head, source, 1);
    nodes(&head, first, second);
    f_uint(&head, OTA_KEY_TYPE, 2);
    emit(s, &head);
}

/* The delta is: the first 8000 bytes of the old image, then literals. */
static void block(struct bytes *s, const char *first, const char *second, int delta, const char *source)
{
    static uint8_t coded[sizeof image + 16];
    size_t n = 0;
    rec(&head, OTA_KIND_BLOCK, delta ? 5 : 4);
    f_uint(&head, OTA_KEY_SIZE, sizeof image);
    f_uint(&head, OTA_KEY_DIGEST, xxh(image, sizeof image));
    f_uint(&head, OTA_KEY_ENGINE, delta ? OTA_ENGINE_BSDIFF : OTA_ENGINE_FULL);
    if (delta)
        node_source(&head, source, 0);
    nodes(&head, first, second);
    emit(s, &head);
    if (delta) {
        static const uint8_t triple[] = {0xC0, 0x3E, 0xD0, 0x0F, 0, 0xC0, 0x3E, 0}; /* 8000, 2000, 0, 8000, 0 */
        memcpy(coded, triple, sizeof triple);
        n = sizeof triple;
    }
    memcpy(coded + n, image + (delta ? 8000 : 0), sizeof image - (delta ? 8000 : 0));
    payload(s, coded, n + sizeof image - (delta ? 8000 : 0), 4000);
}

static void end(struct bytes *s)
{
    emit(s, rec(&head, OTA_KIND_END, 0));
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static const struct ota_report *report;

/* Feed the stream in pieces of `step` bytes; the final status. */
static int run(struct board_model *b, const struct bytes *s, size_t step)
{
    struct ota_exec *ex;
    size_t pos = 0;
    int st = ota_exec_init(workspace, sizeof workspace, &options, &b->port, &ex);
    CHECK_INT(st, 0);
    st = OTA_WANT_INPUT;
    while (st == OTA_WANT_INPUT && pos < s->len) {
        size_t n = s->len - pos < step ? s->len - pos : step;
        st = ota_exec_feed(ex, s->data + pos, n);
        pos += n;
    }
    report = ota_exec_report(ex);
    return ota_exec_finish(ex, 0);
}

static struct flash_model flash[2];

static void old_board(struct board_model *b)
{
    board_init(b);
    board_put_dir(b, "/config");
    board_put_dir(b, "/config/was-dir");
    board_put(b, "/config/a", old_a, strlen(old_a));
    board_put(b, "/config/from", moved, strlen(moved));
    board_put(b, "/config/gone", gone, strlen(gone));
    for (int i = 0; i < 2; i++) {
        model_init(&flash[i], OTA_FLASH_NAND, 4, 4096, 512, 4 * 4096);
        model_fill(&flash[i], 0, old_image, sizeof old_image);
    }
    board_put_node(b, "/dev/a", &flash[0]);
    board_put_node(b, "/dev/b", &flash[1]);
}

static void free_board(struct board_model *b)
{
    model_free(&flash[0]);
    model_free(&flash[1]);
    board_free(b);
}

/* One package with every kind of record; delta: 0 full, 1 from the other slot, 2 onto itself. */
static void whole(struct bytes *s, int delta)
{
    const char *second = delta == 2 ? NULL : "/dev/b";
    const char *source = delta == 1 ? "/dev/b" : NULL;
    s->len = 0;
    manifest(s);
    expect(s, "dir", "-", "/");
    expect(s, "dir/copy", "-", new_a);
    expect(s, "a", old_a, new_a);
    expect(s, "b", "-", new_b);
    expect(s, "sym", "-", "@a");
    expect(s, "hard", "-", new_b);
    expect(s, "from", moved, "-");
    expect(s, "dir/to", "-", moved);
    expect(s, "gone", gone, "-");
    expect(s, "was-dir", "/", new_b);
    expect_node(s, "/dev/a", second, delta, source);
    script(s, OTA_SCRIPT_END, end_script);
    script(s, OTA_SCRIPT_BEGIN, "begin\n");
    simple(s, OTA_KIND_DIR, "dir", OTA_KEY_MODE, 0750);
    file_delta(s, "dir/copy", "a");
    file_delta(s, "a", NULL);
    file_full(s, "b", new_b);
    link_to(s, "sym", 0, "a");
    link_to(s, "hard", 1, "b");
    move(s, "from", "dir/to", moved);
    simple(s, OTA_KIND_DELETE, "gone", OTA_KEY_TYPE, 1);
    simple(s, OTA_KIND_DELETE, "was-dir", OTA_KEY_TYPE, 2);
    file_full(s, "was-dir", new_b);
    block(s, "/dev/a", second, delta, source);
    script(s, OTA_SCRIPT_INLINE, "inline\n");
    end(s);
}

static int flash_is(const struct flash_model *f, const uint8_t *data, size_t len)
{
    return memcmp(f->data, data, len) == 0;
}

static void check_new(struct board_model *b, int delta)
{
    int hard = board_get(b, "/config/hard");
    int plain = board_get(b, "/config/b");
    int sym = board_get(b, "/config/sym");
    CHECK(board_is(b, "/config/a", new_a, strlen(new_a)));
    CHECK(board_is(b, "/config/dir/copy", new_a, strlen(new_a)));
    CHECK(board_is(b, "/config/b", new_b, strlen(new_b)));
    CHECK(board_is(b, "/config/was-dir", new_b, strlen(new_b)));
    CHECK(board_is(b, "/config/dir/to", moved, strlen(moved)));
    CHECK_INT(board_get(b, "/config/from"), -1);
    CHECK_INT(board_get(b, "/config/gone"), -1);
    CHECK(hard >= 0 && plain >= 0 && b->entries[hard].inode == b->entries[plain].inode);
    CHECK(sym >= 0 && strcmp(b->entries[sym].text, "a") == 0);
    CHECK(flash_is(&flash[0], image, sizeof image));
    CHECK(flash_is(&flash[1], delta == 2 ? old_image : image, delta == 2 ? sizeof old_image : sizeof image));
    CHECK_INT(board_images(b), 0);
}

static void test_whole(int delta, size_t step)
{
    static struct board_model b;
    static struct bytes s;
    old_board(&b);
    whole(&s, delta);
    CHECK_INT(run(&b, &s, step), 0);
    check_new(&b, delta);
    CHECK(strcmp(b.ran, "begin:0 inline:0 end:0 ") == 0);
    CHECK_INT(report->phase, OTA_PHASE_END);
    CHECK_INT(report->records_done, 14);

    /* again: nothing is written but script runs and meta data */
    board_power_on(&b);
    CHECK_INT(run(&b, &s, step), 0);
    check_new(&b, delta);
    CHECK_INT(flash[0].ops + flash[1].ops, 0);
    CHECK_INT(report->bytes_written, 0);
    CHECK(report->skipped >= 9);
    free_board(&b);
}

/* The power goes at every change of a clean run, in files and in flash, whole or torn; the same package runs again. */
static unsigned test_cuts(int delta, int other_fs)
{
    static struct board_model b;
    static struct bytes s;
    unsigned cuts = 0;
    whole(&s, delta);
    for (int medium = 0; medium < 5; medium++) {
        for (uint64_t at = 1; at < 1000; at++) {
            struct flash_model *f = medium == 0 ? NULL : &flash[(medium - 1) / 2];
            char name[64];
            int st;
            old_board(&b);
            b.other_fs = other_fs;
            if (f != NULL) {
                f->cut_at = at;
                f->torn = (medium - 1) % 2 ? TORN_HALF : TORN_NOT;
            } else {
                b.cut_at = at;
            }
            snprintf(name, sizeof name, "delta %d, medium %d, cut %u", delta, medium, (unsigned)at);
            check_case = name;
            st = run(&b, &s, 1000);
            if (st == 0) {
                free_board(&b);
                break;
            }
            cuts++;
            board_power_on(&b);
            CHECK_INT(run(&b, &s, 1000), 0);
            check_new(&b, delta);
            free_board(&b);
        }
    }
    check_case = "";
    return cuts;
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

/* The package is refused with `status`, and nothing at all was changed. */
static void refused(struct board_model *b, const struct bytes *s, int status)
{
    CHECK_INT(run(b, s, 64), status);
    CHECK_INT(b->ops, 0);
    CHECK_INT(report->changed, 0);
    CHECK_INT(flash[0].ops + flash[1].ops, 0);
    CHECK(b->ran[0] == '\0');
}

static void test_preflight(void)
{
    static struct board_model b;
    static struct bytes s;

    check_case = "old content differs";
    old_board(&b);
    whole(&s, 0);
    board_put(&b, "/config/gone", "something else", 14);
    refused(&b, &s, ERR(TARGET));
    CHECK(strcmp(report->target, "/config/gone") == 0);
    check_case = "target missing";
    drop(&b, board_get(&b, "/config/gone"));
    drop(&b, board_get(&b, "/config/a"));
    refused(&b, &s, ERR(MISSING));
    free_board(&b);

    check_case = "something is where nothing should be";
    old_board(&b);
    board_put(&b, "/config/b", "mine", 4);
    refused(&b, &s, ERR(TARGET));
    free_board(&b);

    check_case = "node too small";
    old_board(&b);
    flash[1].flash.size = 8192;
    flash[1].blocks = 2;
    refused(&b, &s, ERR(TOO_SMALL));
    free_board(&b);

    check_case = "node read-only";
    old_board(&b);
    b.nodes[1].readonly = 1;
    refused(&b, &s, ERR(READONLY));
    CHECK(strcmp(report->target, "/dev/b") == 0);
    free_board(&b);

    check_case = "erase block larger than the buffer";
    old_board(&b);
    flash[0].flash.erase_size = 8192;
    refused(&b, &s, ERR(RAM));
    free_board(&b);

    check_case = "source of a block delta is wrong";
    old_board(&b);
    whole(&s, 2);
    flash[0].data[5] ^= 1;
    refused(&b, &s, ERR(TARGET));
    free_board(&b);

    check_case = "no space";
    old_board(&b);
    whole(&s, 0);
    b.free_bytes = 40;
    refused(&b, &s, ERR(SPACE));
    CHECK(strstr(report->detail, "40 free") != NULL);
    free_board(&b);

    check_case = "no space for the image that must be built";
    old_board(&b);
    whole(&s, 2);
    b.tmp_bytes = sizeof image - 1;
    refused(&b, &s, ERR(SPACE));
    free_board(&b);

    check_case = "dry run";
    old_board(&b);
    options.dry_run = 1;
    CHECK_INT(run(&b, &s, 64), 0);
    CHECK_INT(b.ops, 0);
    CHECK(b.ran[0] == '\0');
    options.dry_run = 0;
    free_board(&b);

    check_case = "asked to stop in preflight";
    old_board(&b);
    b.stop = 1;
    refused(&b, &s, ERR(CANCELLED));
    free_board(&b);
    check_case = "";
}

static void expect_text(struct bytes *s, unsigned type, const char *text)
{
    rec(&head, OTA_KIND_EXPECT, 2);
    f_uint(&head, OTA_KEY_TYPE, type);
    if (type == 3) {
        head.len = 0;
        rec(&head, OTA_KIND_EXPECT, 2);
        f_uint(&head, OTA_KEY_TYPE, type);
        put_head(&head, 0, OTA_KEY_COMPATIBLE);
        put_head(&head, 4, 2);
        put_str(&head, 3, "other,board");
        put_str(&head, 3, text);
    } else {
        f_text(&head, OTA_KEY_VERSION, text);
    }
    emit(s, &head);
}

static void test_identity(void)
{
    static const struct {
        unsigned type;
        const char *is;
        const char *want;
        int status;
    } cases[] = {
        {3, "acme,cam2", "acme,cam2", 0},
        {3, "acme,cam2", "acme,cam", ERR(BOARD)},
        {3, "", "acme,cam", ERR(BOARD)},
        {4, "1.2.3", "1.2.3", 0},
        {4, "1.10", "1.9", 0},
        {4, "1.9", "1.10", ERR(MIN_VERSION)},
        {4, "1.0rc1", "1.0", ERR(MIN_VERSION)},
        {4, "1.0", "1.0rc1", 0},
        {4, "1.0.1", "1.0", 0},
        {4, "1.0", "1.0.0", ERR(MIN_VERSION)},
        {4, "v2", "1", ERR(MIN_VERSION)},
        {4, "007", "7", 0},
        {4, "", "1", ERR(MIN_VERSION)},
    };
    static struct board_model b;
    static struct bytes s;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case = cases[i].want;
        old_board(&b);
        snprintf(b.identity[cases[i].type - 3], sizeof b.identity[0], "%s", cases[i].is);
        s.len = 0;
        manifest(&s);
        expect_text(&s, cases[i].type, cases[i].want);
        file_full(&s, "b", new_b);
        end(&s);
        if (cases[i].status != 0)
            refused(&b, &s, cases[i].status);
        else
            CHECK_INT(run(&b, &s, 64), 0);
        free_board(&b);
    }
    check_case = "";
}

static void test_scripts(void)
{
    static struct board_model b;
    static struct bytes s;

    check_case = "begin script fails";
    old_board(&b);
    whole(&s, 0);
    b.exit_code[OTA_SCRIPT_BEGIN] = 3;
    CHECK_INT(run(&b, &s, 64), ERR(BEGIN_SCRIPT));
    CHECK(strcmp(b.ran, "begin:0 end:-1 ") == 0);
    CHECK(board_is(&b, "/config/a", old_a, strlen(old_a)));
    CHECK(strcmp(report->detail, "exit code 3") == 0);
    free_board(&b);

    check_case = "inline script fails";
    old_board(&b);
    b.exit_code[OTA_SCRIPT_INLINE] = 1;
    CHECK_INT(run(&b, &s, 64), ERR(SCRIPT));
    CHECK(strcmp(b.ran, "begin:0 inline:0 end:-1 ") == 0);
    free_board(&b);

    check_case = "end script fails";
    old_board(&b);
    b.exit_code[OTA_SCRIPT_END] = 9;
    CHECK_INT(run(&b, &s, 64), ERR(END_SCRIPT));
    free_board(&b);

    check_case = "the stream breaks off";
    old_board(&b);
    s.len -= 30;
    CHECK_INT(run(&b, &s, 64), ERR(FORMAT));
    CHECK(strcmp(b.ran, "begin:0 end:-1 ") == 0);
    free_board(&b);
    check_case = "";
}

/* A stream of one thing that must not be. */
static void test_order(void)
{
    static struct board_model b;
    static struct bytes s;
    int st;

    old_board(&b);
    check_case = "no manifest";
    s.len = 0;
    file_full(&s, "b", new_b);
    refused(&b, &s, ERR(FORMAT));

    check_case = "move onto itself by another root";
    s.len = 0;
    manifest(&s);
    rec(&head, OTA_KIND_MOVE, 5);
    f_bytes(&head, OTA_KEY_PATH, "config/from");
    f_uint(&head, OTA_KEY_SIZE, strlen(moved));
    f_uint(&head, OTA_KEY_DIGEST, xxh(moved, strlen(moved)));
    f_uint(&head, OTA_KEY_MODE, 0644);
    put_head(&head, 0, OTA_KEY_SOURCE);
    put_head(&head, 5, 4);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, "from");
    f_uint(&head, OTA_KEY_SIZE, strlen(moved));
    f_uint(&head, OTA_KEY_DIGEST, xxh(moved, strlen(moved)));
    emit(&s, &head);
    end(&s);
    CHECK_INT(run(&b, &s, 64), 0);
    CHECK(board_is(&b, "/config/from", moved, strlen(moved)));
    board_power_on(&b);

    check_case = "two manifests";
    s.len = 0;
    manifest(&s);
    manifest(&s);
    refused(&b, &s, ERR(FORMAT));

    check_case = "two end scripts";
    s.len = 0;
    manifest(&s);
    script(&s, OTA_SCRIPT_END, end_script);
    script(&s, OTA_SCRIPT_END, end_script);
    refused(&b, &s, ERR(FORMAT));

    check_case = "bytes after the end";
    s.len = 0;
    manifest(&s);
    end(&s);
    put_head(&s, 2, 1);
    refused(&b, &s, ERR(FORMAT));

    check_case = "not a byte string";
    s.len = 0;
    put_head(&s, 3, 5);
    refused(&b, &s, ERR(FORMAT));

    check_case = "header too long";
    s.len = 0;
    put_head(&s, 2, OTA_HEADER_MAX + 1);
    refused(&b, &s, ERR(LIMIT));

    check_case = "empty header";
    s.len = 0;
    put_head(&s, 2, 0);
    refused(&b, &s, ERR(FORMAT));

    check_case = "unknown kind";
    s.len = 0;
    manifest(&s);
    emit(&s, rec(&head, 99, 0));
    refused(&b, &s, ERR(UNSUPPORTED));
    CHECK(strcmp(report->detail, "record kind 99") == 0);

    check_case = "path escapes";
    s.len = 0;
    manifest(&s);
    simple(&s, OTA_KIND_DELETE, "../x", OTA_KEY_TYPE, 1);
    refused(&b, &s, ERR(PATH));

    check_case = "expect after the first record";
    s.len = 0;
    manifest(&s);
    simple(&s, OTA_KIND_DELETE, "nothing", OTA_KEY_TYPE, 1);
    expect(&s, "a", old_a, new_a);
    end(&s);
    refused(&b, &s, ERR(FORMAT));

    check_case = "payload too short";
    s.len = 0;
    manifest(&s);
    file_full(&s, "b", new_b);
    s.len -= 4; /* the end of the payload and the last chunk of 3 bytes */
    s.data[s.len - 1] = 0x40;
    st = run(&b, &s, 64);
    CHECK(st < 0 && board_get(&b, "/config/b") == -1);

    check_case = "wrong digest";
    board_power_on(&b);
    s.len = 0;
    manifest(&s);
    file_full(&s, "b", new_b);
    s.data[s.len - 2] ^= 1;
    CHECK_INT(run(&b, &s, 64), ERR(RESULT));
    CHECK_INT(board_get(&b, "/config/b"), -1);
    free_board(&b);
    check_case = "";
}

int main(void)
{
    unsigned cuts = 0;
    options.window = 512;
    options.block_buffer = 4096;
    options.header_max = OTA_HEADER_MAX;
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)(i < 8000 ? i * 7 + (i >> 8) : i * 13 + 1);
    for (size_t i = 0; i < sizeof old_image; i++)
        old_image[i] = (uint8_t)(i * 7 + (i >> 8));
    CHECK(ota_exec_size(&options) <= sizeof workspace);
    for (int delta = 0; delta < 3; delta++) {
        test_whole(delta, 1);
        test_whole(delta, 100000);
        cuts += test_cuts(delta, 0);
    }
    cuts += test_cuts(0, 1);
    printf("%u cuts\n", cuts);
    CHECK(cuts > 200);
    test_preflight();
    test_identity();
    test_scripts();
    test_order();
    return check_done();
}
