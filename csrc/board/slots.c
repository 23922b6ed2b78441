/* slots.c - the board's slots: what is known of them, and what a running system says about itself. */
#include "board.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BUFFER 65536u

static const char *slot_name(int slot)
{
    return slot < 0 ? "" : slot == 0 ? "a" : "b";
}

/* Lines of KEY=VALUE, empty where something is not known. */
static void print_state(const struct ota_slot_status *s)
{
    static const char *const good[] = {"", "a", "b", "a,b"};
    printf("running=%s\nselected=%s\ntrial=%s\nbootcount=%u\nincomplete=%s\ngood=%s\n", slot_name(s->running),
           slot_name(s->selected),
           s->trial < 0    ? ""
           : s->trial == 0 ? "0"
                           : "1",
           (unsigned)s->boot_count, slot_name(s->incomplete), s->good < 0 ? "" : good[s->good & 3]);
}

/* The status file of the last update, each line behind "update.". */
static void print_status_file(const char *path)
{
    char text[2048];
    char *line = text;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    while (*line != '\0') {
        char *end = line + strcspn(line, "\n");
        int more = *end != '\0';
        *end = '\0';
        board_printable(line);
        printf("update.%s\n", line);
        line = end + more;
    }
}

static int run(const struct board_options *o, struct board_failure *why)
{
    struct ota_posix_options options = {o->root, o->tmp, NULL, NULL, NULL, NULL, 0, NULL};
    struct ota_slot_status state;
    struct board_memory memory;
    struct ota_port port;
    uint32_t erase = board_largest_erase_block();
    uint32_t block = erase > BLOCK_BUFFER ? erase : BLOCK_BUFFER;
    void *posix;
    int os_error = 0;
    int r = board_memory_map(&memory, BOARD_ALIGN(ota_posix_size()) + block, why);
    if (r != 0) {
        return r;
    }
    posix = board_memory_take(&memory, ota_posix_size());
    r = ota_posix_init(posix, ota_posix_size(), &options, &os_error);
    if (r != 0) {
        return board_folder_failed(o, r, os_error, why);
    }
    ota_posix_port(posix, &port);
    r = ota_slots_run(&port, o->slots, board_memory_take(&memory, block), block, &state);
    if (r != 0) {
        (void)board_fail(why, (enum ota_error) - r, state.detail[0] != '\0' ? 0 : port.last_error(port.ctx), "%s",
                         state.detail);
    } else {
        print_state(&state);
    }
    ota_posix_close(posix);
    return r;
}

int board_slots(const struct board_options *o)
{
    struct board_failure why = {0, 0, ""};
    int index;
    int r = run(o, &why);
    if (r == 0) {
        if (o->status != NULL) {
            print_status_file(o->status);
        }
        return fflush(stdout) == 0 ? 0 : OTA_E_OUTPUT;
    }
    index = ota_error_index(-r);
    fprintf(stderr, BOARD_PROGRAM ": error: %s: %s%s%s%s%s\n", ota_error_who(index), ota_error_text(index),
            why.detail[0] != '\0' ? ": " : "", why.detail, why.os_error != 0 ? ": " : "",
            why.os_error != 0 ? strerror(why.os_error) : "");
    return -r;
}
