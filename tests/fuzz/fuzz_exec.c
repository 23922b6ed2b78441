/* fuzz_exec.c - any record stream into the executor on a board in memory, in any split.
 *
 * The first byte gives the size of the pieces. The board aborts on what the core must never ask of a port.
 */
#define BOARD_ENTRIES 1024u
#include "board_model.c"
#include "flash_model.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct board_model b;
    static uint64_t workspace[1 << 15];
    static const char old_a[] = "the old content of a";
    struct ota_exec_options options = {0};
    struct flash_model flash;
    struct ota_exec *ex;
    size_t step;
    size_t pos = 1;
    int st = OTA_WANT_INPUT;

    if (size < 2 || size > 4096)
        return 0;
    options.window = 512;
    options.block_buffer = 4096;
    options.header_max = OTA_HEADER_MAX;
    step = data[0] == 0 ? size : data[0];
    board_init(&b);
    board_put_dir(&b, "/config");
    board_put(&b, "/config/a", old_a, strlen(old_a));
    snprintf(b.identity[0], sizeof b.identity[0], "acme,cam");
    snprintf(b.identity[1], sizeof b.identity[1], "1.2");
    model_init(&flash, OTA_FLASH_NAND, 4, 4096, 512, 4 * 4096);
    board_put_node(&b, "/dev/a", &flash);
    if (ota_exec_init(workspace, sizeof workspace, &options, &b.port, &ex) != 0)
        abort();
    while (st == OTA_WANT_INPUT && pos < size) {
        size_t n = size - pos < step ? size - pos : step;
        st = ota_exec_feed(ex, data + pos, n);
        pos += n;
    }
    st = ota_exec_finish(ex, 0);
    if (st > 0 || (st == 0 && ota_exec_report(ex)->status != 0))
        abort();
    model_free(&flash);
    board_free(&b);
    return 0;
}
