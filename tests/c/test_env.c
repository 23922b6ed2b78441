/* test_env.c - U-Boot's environment: reading, editing, and a power cut in every operation of a change.
 *
 * What U-Boot's own tools say of the result is tests/test_env.py's business.
 */
#include "board_model.c"
#include "check.h"
#include "crc32.h"
#include "env.h"
#include "flash_model.c"

#define SIZE 1024u
#define BLOCK 4096u
#define BLOCKS 8u

static struct board_model board;
static struct flash_model flash;
static uint8_t block[BLOCK];
static uint8_t changes_buf[1024];
static struct ota_text changes;
static struct ota_env env;

static struct ota_text text(const char *s)
{
    return (struct ota_text){s, strlen(s)};
}

/* "a=1 b= c=x y" with '|' between: an empty value deletes. */
static void set_changes(const char *list)
{
    size_t len = 0;
    while (*list != '\0') {
        size_t n = strcspn(list, "|");
        size_t eq = strcspn(list, "=");
        struct ota_text value = {n > eq + 1 ? list + eq + 1 : NULL, n > eq + 1 ? n - eq - 1 : 0};
        CHECK_INT(ota_env_put(changes_buf, sizeof changes_buf, &len, (struct ota_text){list, eq}, value), 0);
        list += n + (list[n] == '|');
    }
    changes.p = (const char *)changes_buf;
    changes.len = len;
}

/* A copy at `off` of the medium with these strings ('|' stands for NUL). copies: 1, 2. */
static void put_copy(uint64_t off, const char *strings, int flag, int copies)
{
    static uint8_t made[SIZE];
    unsigned head = copies == 2 ? 5 : 4;
    uint32_t crc;
    memset(made, 0, sizeof made);
    memcpy(made + head, strings, strlen(strings));
    for (unsigned i = head; i < SIZE; i++)
        made[i] = made[i] == '|' ? 0 : made[i];
    made[4] = copies == 2 ? (uint8_t)flag : made[4];
    crc = crc32_of(made + head, SIZE - head);
    for (unsigned i = 0; i < 4; i++)
        made[i] = (uint8_t)(crc >> 8 * i);
    model_fill(&flash, off, made, sizeof made);
}

static int get(const char *name, char *value, size_t cap)
{
    size_t len = 0;
    int st = ota_env_get(&env, text(name), value, cap - 1, &len);
    value[st == 1 ? len : 0] = '\0';
    return st;
}

static void check_value(const char *name, const char *want)
{
    char value[256];
    CHECK_INT(get(name, value, sizeof value), want != NULL);
    if (want == NULL || strcmp(value, want) != 0)
        CHECK_INT(strcmp(value, want != NULL ? want : ""), 0);
}

static int open_env(void)
{
    return ota_env_open(&env, &board.port, block, sizeof block);
}

static void setup(enum ota_flash_kind kind, const char *config)
{
    board_init(&board);
    model_init(&flash, kind, BLOCKS, BLOCK,
               kind == OTA_FLASH_NAND  ? 512
               : kind == OTA_FLASH_NOR ? 1
                                       : 512,
               BLOCK * BLOCKS);
    board_put_node(&board, "/dev/env", &flash);
    snprintf(board.identity[OTA_ID_ENV], sizeof board.identity[0], "%s", config);
}

static void teardown(void)
{
    model_free(&flash);
    board_free(&board);
}

#define TWO "/dev/env 0x0 0x400 0x1000 2\n/dev/env 0x2000 0x400 0x1000 2"
#define ONE "/dev/env 4096 1024"

static void test_edit(void)
{
    static const struct {
        const char *before, *change, *after;
    } cases[] = {
        {"a=1|b=2|c=3|", "b=x", "a=1|c=3|b=x|"},
        {"a=1|b=2|c=3|", "a=|c=", "b=2|"},
        {"a=1|", "a=", ""},
        {"", "a=1|b=2", "a=1|b=2|"},
        {"ab=1|a=2|abc=3|", "a=4", "ab=1|abc=3|a=4|"},
        {"a=1|a=2|b=3|", "a=2", "b=3|a=2|"},     /* twice: only one stays */
        {"strange|a=1|", "a=2", "strange|a=2|"}, /* no value: not ours to judge */
        {"a=b=c|", "d=e=f", "a=b=c|d=e=f|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[256];
        check_case = cases[i].change;
        setup(OTA_FLASH_BLOCK, TWO);
        put_copy(0, cases[i].before, 1, 2);
        CHECK_INT(open_env(), 0);
        set_changes(cases[i].change);
        CHECK_INT(ota_env_check(&env, changes), 0);
        CHECK_INT(ota_env_apply(&env, changes), 0);
        CHECK_INT(ota_env_apply(&env, changes), 1);
        ota_env_close(&env);
        snprintf(want, sizeof want, "%s", cases[i].after);
        for (char *p = want; *p != '\0'; p++)
            *p = *p == '|' ? '\0' : *p;
        CHECK_INT(memcmp(flash.data + 0x2000 + 5, want, strlen(cases[i].after) + 1), 0);
        CHECK_INT(flash.data[0x2000 + 4], 2);
        teardown();
    }
}

static void test_which_copy(void)
{
    static const struct {
        int first, second; /* flags; -1: not whole */
        int used;
    } cases[] = {{0, 1, 1}, {1, 0, 0}, {1, 1, 0}, {255, 0, 1}, {0, 255, 0}, {254, 255, 1}, {-1, 0, 1}, {7, -1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case = "which copy";
        setup(OTA_FLASH_BLOCK, TWO);
        if (cases[i].first >= 0)
            put_copy(0, "at=0|", cases[i].first, 2);
        if (cases[i].second >= 0)
            put_copy(0x2000, "at=1|", cases[i].second, 2);
        CHECK_INT(open_env(), 0);
        CHECK_INT(env.current, cases[i].used);
        check_value("at", cases[i].used ? "1" : "0");
        ota_env_close(&env);
        teardown();
    }
}

static void test_refused(void)
{
    static const struct {
        const char *config;
        int code;
    } cases[] = {
        {"", OTA_E_ENV},
        {"/dev/env 0 1024\n/dev/env 8192 1024\n/dev/env 16384 1024", OTA_E_ENV},
        {"/dev/env 0", OTA_E_ENV},
        {"dev/env 0 1024", OTA_E_ENV},
        {"/dev/env zero 1024", OTA_E_ENV},
        {"/dev/env 0 0x1000000000000000", OTA_E_ENV},
        {"/dev/env 0 32", OTA_E_ENV},
        {"/dev/env 0 1024 x", OTA_E_ENV},
        {"/dev/env 0 1024 4096 y", OTA_E_ENV},
        {"/dev/env -1024 1024", OTA_E_ENV},
        {"/dev/env 0 1024\n/dev/env 8192 2048", OTA_E_ENV},
        {"/dev/env 0 1024\n/dev/env 1024 1024", OTA_E_ENV}, /* not at an erase block */
        {"/dev/env 0 1024 4096 3\n/dev/env 8192 1024", OTA_E_ENV},
        {"/dev/env 0x7000 1024 4096 2", OTA_E_ENV},
        {"/dev/env 0x100000 1024", OTA_E_ENV},
        {"/dev/none 0 1024", OTA_E_MISSING},
        {TWO, OTA_E_ENV}, /* erased: no copy is whole */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case = cases[i].config;
        setup(OTA_FLASH_NOR, cases[i].config);
        CHECK_INT(open_env(), -cases[i].code);
        CHECK_INT(env.detail != NULL, cases[i].code == OTA_E_ENV);
        CHECK_INT((int)flash.ops, 0);
        teardown();
    }
}

static void test_room(void)
{
    static char value[SIZE];
    check_case = "room";
    setup(OTA_FLASH_BLOCK, ONE);
    put_copy(4096, "a=1|", 0, 1);
    CHECK_INT(open_env(), 0);
    memset(value, 'v', 800);
    value[0] = 'b';
    value[1] = '=';
    set_changes(value);
    CHECK_INT(ota_env_check(&env, changes), 0);
    ota_env_close(&env);
    static uint8_t small[300];
    size_t len = 0;
    CHECK_INT(ota_env_put(small, sizeof small, &len, text("b"), (struct ota_text){value, 295}), -OTA_E_LIMIT);
    teardown();

    setup(OTA_FLASH_BLOCK, ONE);
    value[700] = '|';
    memset(value + 701, 0, sizeof value - 701);
    put_copy(4096, value, 0, 1);
    CHECK_INT(open_env(), 0);
    memset(value, 'w', 400);
    value[1] = '=';
    value[400] = '\0';
    set_changes(value);
    CHECK_INT(ota_env_check(&env, changes), -OTA_E_ENV);
    CHECK_INT(ota_env_apply(&env, changes), -OTA_E_ENV);
    CHECK_INT((int)flash.ops, 0);
    ota_env_close(&env);
    teardown();
}

/* What else is in an erase block of NOR stays. */
static void test_tail(void)
{
    static const uint8_t tail[16] = "not environment";
    check_case = "tail";
    setup(OTA_FLASH_NOR, ONE);
    put_copy(4096, "a=1|", 0, 1);
    memcpy(flash.data + 4096 + SIZE, tail, sizeof tail);
    CHECK_INT(open_env(), 0);
    set_changes("a=2");
    CHECK_INT(ota_env_apply(&env, changes), 0);
    check_value("a", "2");
    ota_env_close(&env);
    CHECK_INT(memcmp(flash.data + 4096 + SIZE, tail, sizeof tail), 0);
    teardown();
}

/* ---- power cuts -------------------------------------------------------------------------------------------------- */

/* bad: of the blocks, '1' is marked bad; a copy has one to spare. */
static void start(enum ota_flash_kind kind, int newer, const char *bad)
{
    uint64_t at[2] = {bad[0] == '1' ? BLOCK : 0, bad[2] == '1' ? 3 * BLOCK : 2 * BLOCK};
    setup(kind, TWO);
    for (unsigned i = 0; i < 4; i++)
        flash.bad[i] = bad[i] == '1';
    put_copy(at[newer], "a=old|keep=this|", 1, 2);
    put_copy(at[!newer], "a=older|", 0, 2);
}

static void check_old_or_new(void)
{
    char value[16];
    CHECK_INT(open_env(), 0);
    CHECK_INT(get("a", value, sizeof value), 1);
    CHECK(strcmp(value, "old") == 0 || strcmp(value, "new") == 0);
    check_value("keep", "this");
    ota_env_close(&env);
}

static void cut_everywhere(enum ota_flash_kind kind, int newer, const char *bad)
{
    for (int torn = TORN_NOT; torn < TORN_KINDS; torn++) {
        for (uint64_t at = 1;; at++) {
            int st;
            start(kind, newer, bad);
            set_changes("a=new|b=1");
            CHECK_INT(open_env(), 0);
            flash.cut_at = at;
            flash.torn = (enum model_torn)torn;
            st = ota_env_apply(&env, changes);
            ota_env_close(&env);
            if (flash.ops < at) {
                CHECK_INT(st, 0);
                teardown();
                break;
            }
            model_power_on(&flash);
            check_old_or_new();
            CHECK_INT(open_env(), 0);
            st = ota_env_apply(&env, changes);
            CHECK(st == 0 || st == 1);
            ota_env_close(&env);
            CHECK_INT(open_env(), 0);
            check_value("a", "new");
            check_value("b", "1");
            check_value("keep", "this");
            ota_env_close(&env);
            teardown();
        }
    }
}

static void test_cuts(void)
{
    for (int newer = 0; newer < 2; newer++) {
        check_case = "cuts, rewritable";
        cut_everywhere(OTA_FLASH_BLOCK, newer, "....");
        check_case = "cuts, NOR";
        cut_everywhere(OTA_FLASH_NOR, newer, "....");
        check_case = "cuts, NAND";
        cut_everywhere(OTA_FLASH_NAND, newer, "....");
        check_case = "cuts, NAND with bad blocks";
        cut_everywhere(OTA_FLASH_NAND, newer, "1.1.");
    }
}

int main(void)
{
    test_edit();
    test_which_copy();
    test_refused();
    test_room();
    test_tail();
    test_cuts();
    return check_done();
}
