/* fuzz_exec.c - any record stream into the executor on a board in memory, in any split, cut anywhere, and again.
 *
 * The first byte gives the size of the pieces, the second the change before which the power goes (0: it stays), the
 * third what else the board does (another file system, a script that fails, a dry run). The board has what the golden
 * packages expect, and aborts on what the core must never ask of a port.
 */
#define BOARD_ENTRIES 512u
#include "board_model.c"
#include "flash_model.c"
#include "fuzz.h"
#include "toy_coder.h"

#define OLD "hello, bored\n"
#define HEAD 3u

static uint64_t workspace[1 << 16];
static struct flash_model flash[3];

static void make_board(struct board_model *b)
{
    static const char *const files[] = {"/a", "/config/old", "/config/a", "/etc/a", "/etc/b"};
    static const char *const names[] = {"/dev/mtd4", "/dev/mtd5", "/dev/mtd6"};
    static const enum ota_flash_kind kinds[] = {OTA_FLASH_NAND, OTA_FLASH_NOR, OTA_FLASH_BLOCK};
    board_init(b);
    board_put_dir(b, "/config");
    board_put_dir(b, "/etc");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        board_put(b, files[i], OLD, strlen(OLD));
    for (size_t i = 0; i < 3; i++) {
        model_init(&flash[i], kinds[i], 6, 4096, i == 1 ? 1 : 512, 6 * 4096);
        flash[i].bad[0] = i == 0;
        model_fill(&flash[i], i == 0 ? 4096 : 0, (const uint8_t *)OLD, strlen(OLD));
        flash[i].off = &b->dead;
        board_put_node(b, names[i], &flash[i]);
    }
    snprintf(b->identity[0], sizeof b->identity[0], "acme,ipc-4");
    snprintf(b->identity[1], sizeof b->identity[1], "1.2");
}

static void run(struct board_model *b, const uint8_t *data, size_t size, size_t step, int dry_run)
{
    struct ota_exec_options options = {0};
    struct ota_exec *ex;
    int st = OTA_WANT_INPUT;
    options.window = 512;
    options.block_buffer = 4096;
    options.header_max = OTA_HEADER_MAX;
    options.volatile_tmp = 1;
    options.workspace = 128 << 10; /* engine xref with a small model */
    options.coder = &toy_coder;
    options.dry_run = dry_run;
    MUST(ota_exec_init(workspace, sizeof workspace, &options, &b->port, &ex) == 0);
    for (size_t pos = 0; st == OTA_WANT_INPUT && pos < size; pos += step)
        st = ota_exec_feed(ex, data + pos, size - pos < step ? size - pos : step);
    st = ota_exec_finish(ex, 0);
    MUST(st <= 0 && ota_exec_report(ex)->status == st);
    MUST(st == 0 || ota_error_index(-st) >= 0);
    MUST(!dry_run || (b->ops == 0 && !ota_exec_report(ex)->changed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct board_model b;
    size_t step;

    if (size <= HEAD || size > 4096)
        return 0;
    step = data[0] == 0 ? size : data[0];
    make_board(&b);
    b.cut_at = data[1];
    b.other_fs = data[2] & 1;
    b.exit_code[data[2] >> 1 & 1] = data[2] >> 2 & 1;
    run(&b, data + HEAD, size - HEAD, step, data[2] >> 7);
    board_power_on(&b);
    run(&b, data + HEAD, size - HEAD, size, 0);
    for (int i = 0; i < 3; i++)
        model_free(&flash[i]);
    board_free(&b);
    return 0;
}
