/* fuzz_slots.c - what a board says about itself: fw_env.config, an environment, the file of slots, the command line.
 *
 * The first byte says on what medium the environment is and whether its copies are made whole (their CRC is set right),
 * the second before which change the power goes while it is written (0: it stays), the third whether the copies share a
 * node. Then six texts with bytes fe between them: fw_env.config, slots, command line, the two copies ('|' stands for
 * NUL), changes (an encoded array, as a record has it). Texts go through the reader of such files that boards use.
 *
 * With two copies of which one was whole, one is whole after any cut.
 */
#include "../../csrc/port/identity.c"

#include "board_model.c"
#include "crc32.h"
#include "env.h"
#include "flash_model.c"
#include "fuzz.h"
#include "slots.h"

#define HEAD 3u
#define TEXTS 6u
#define BLOCK 1024u
#define BLOCKS 8u
#define COPY 512u

enum { CONFIG, SLOTS, COMMAND_LINE, COPY_A, COPY_B, CHANGES };

static struct ota_posix reader;
static struct board_model board;
static struct flash_model flash[2];
static struct ota_text texts[TEXTS];
static struct ota_env env;
static struct ota_slots slots;
static uint8_t block[BLOCK];

/* ---- the parts of the port that files are read with; here there are none ------------------------------------------
 */

int ota_posix_fail(struct ota_posix *p, int e)
{
    p->err = e;
    MUST(e == ENOENT);
    return -OTA_E_MISSING;
}

int ota_node_find(struct ota_posix *p, const char *name, size_t len, struct ota_place *at, struct stat *st)
{
    (void)p, (void)name, (void)len, (void)at, (void)st;
    abort();
}

int ota_node_openat(struct ota_posix *p, const struct ota_place *at, const struct stat *st, int flags, int *fd)
{
    (void)p, (void)at, (void)st, (void)flags, (void)fd;
    abort();
}

void ota_place_close(struct ota_place *at)
{
    (void)at;
    abort();
}

int ota_fd_open(int dir, const char *name, int flags, unsigned mode)
{
    (void)dir, (void)name, (void)flags, (void)mode;
    abort();
}

int ota_fd_close(int *fd)
{
    (void)fd;
    abort();
}

static int read_identity(void *ctx, enum ota_identity what, char *buf, size_t cap, size_t *len)
{
    struct ota_text t = texts[what == OTA_ID_ENV ? CONFIG : what == OTA_ID_SLOTS ? SLOTS : COMMAND_LINE];
    int st;
    (void)ctx;
    *len = 0;
    if (t.len > sizeof reader.scratch.text)
        return -OTA_E_CONFIG;
    memcpy(reader.scratch.text, t.p, t.len);
    st = take_lines(&reader, t.len, SIZE_MAX, buf, cap, len);
    MUST(st <= 0 && *len <= cap);
    return st;
}

/* ---- the board -----------------------------------------------------------------------------------------------------
 */

/* The first byte of the text is the one that says which copy is newer. */
static void put_copy(struct flash_model *m, uint64_t off, struct ota_text t, int whole)
{
    uint8_t made[COPY] = {0};
    size_t n = t.len < COPY - 4 ? t.len : COPY - 4;
    uint32_t crc;
    if (n > 0)
        memcpy(made + 4, t.p, n);
    for (size_t i = 5; i < COPY; i++)
        made[i] = made[i] == '|' ? 0 : made[i];
    crc = whole ? crc32_of(made + 5, COPY - 5) : 0;
    for (unsigned i = 0; i < 4; i++)
        made[i] = (uint8_t)(crc >> 8 * i);
    model_fill(m, off, made, COPY);
}

static void make_board(const uint8_t *head)
{
    static const enum ota_flash_kind kinds[] = {OTA_FLASH_BLOCK, OTA_FLASH_NOR, OTA_FLASH_NAND, OTA_FLASH_BLOCK};
    static const char *const names[2] = {"/dev/env", "/dev/env2"};
    enum ota_flash_kind kind = kinds[head[0] & 3];
    unsigned apart = head[2] & 1u;
    board_init(&board);
    board.port.identity = read_identity;
    for (unsigned i = 0; i < 2; i++) {
        model_init(&flash[i], kind, BLOCKS, BLOCK, kind == OTA_FLASH_NOR ? 1 : 512, BLOCK * BLOCKS);
        board_put_node(&board, names[i], &flash[i]);
        board.nodes[i].volume = (head[0] & 3) == 3;
        flash[i].off = &board.dead;
    }
    put_copy(&flash[0], 0, texts[COPY_A], head[0] >> 2 & 1);
    put_copy(&flash[apart], apart != 0 ? 0 : BLOCK * 4, texts[COPY_B], head[0] >> 3 & 1);
}

static void is_status(int st)
{
    MUST(st <= 1 && (st >= 0 || ota_error_index(-st) >= 0));
}

static int open_env(void)
{
    int st = ota_env_open(&env, &board.port, block, sizeof block);
    is_status(st);
    MUST(st <= 0);
    return st;
}

/* Change the environment while the power goes; what can be opened now, with two copies, can be opened then. */
static void change_env(struct ota_text changes, unsigned cut)
{
    unsigned copies = env.count;
    is_status(ota_env_check(&env, changes));
    board.cut_at = cut & 15u;
    flash[0].cut_at = cut >> 4;
    flash[0].torn = (enum model_torn)(cut % TORN_KINDS);
    is_status(ota_env_apply(&env, changes));
    ota_env_close(&env);
    board_power_on(&board);
    if (open_env() == 0) {
        is_status(ota_env_apply(&env, changes));
        ota_env_close(&env);
    } else {
        MUST(copies == 1);
    }
}

static void use_slots(void)
{
    struct ota_slot_status now;
    uint8_t buf[OTA_SLOT_CHANGES];
    struct ota_text changes;
    int st = ota_slots_read(&slots, &board.port);
    is_status(st);
    if (st != 0 || open_env() != 0)
        return;
    st = ota_slots_status(&slots, &board.port, &env, &now);
    is_status(st);
    MUST(now.running >= -1 && now.running <= 1 && now.selected >= -1 && now.selected <= 1 && now.good <= 3);
    for (int event = OTA_SLOT_BEGIN; event <= OTA_SLOT_RETREAT; event++) {
        st = ota_slots_changes(&slots, &env, (enum ota_slot_event)event, event & 1, buf, &changes);
        is_status(st);
        if (st == 0)
            is_status(ota_env_check(&env, changes));
    }
    ota_env_close(&env);
    for (int action = OTA_SLOTS_STATUS; action <= OTA_SLOTS_ROLLBACK; action++)
        is_status(ota_slots_run(&board.port, (enum ota_slot_action)action, block, sizeof block, &now));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data + HEAD;
    const char *end = (const char *)data + size;
    if (size <= HEAD)
        return 0;
    for (unsigned i = 0; i < TEXTS; i++) {
        const char *stop = at < end ? memchr(at, 0xfe, (size_t)(end - at)) : NULL;
        texts[i].p = at;
        texts[i].len = (size_t)((stop != NULL ? stop : end) - at);
        at = stop != NULL ? stop + 1 : end;
    }
    make_board(data);
    if (open_env() == 0)
        change_env(texts[CHANGES], data[1]);
    use_slots();
    for (unsigned i = 0; i < 2; i++)
        model_free(&flash[i]);
    board_free(&board);
    return 0;
}
