/* main.c - otaunpack: what was asked for. */
#include "board.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#ifndef OTA_VERSION_TEXT
#define OTA_VERSION_TEXT "unknown"
#endif

/* A caller may have closed stdin, stdout or stderr. The next file to be opened would take its place, and what is meant
 * for people would be written into a partition. */
static int occupy_standard_files(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd < 0 ? -1 : close(fd);
}

/* The version, then one line for each library that can rebuild compressed parts of images. */
static void say_version(void)
{
    puts(BOARD_PROGRAM " " OTA_VERSION_TEXT);
    for (unsigned id = OTA_CODING_DEFLATE; id <= OTA_CODING_JFFS2; id++) {
        const char *library = board_coder_library((enum ota_coding_id)id);
        if (library != NULL) {
            printf("%s (%s)\n", board_coding_name((enum ota_coding_id)id), library);
        }
    }
}

int main(int argc, char **argv)
{
    struct board_options options;
    if (occupy_standard_files() != 0) {
        return OTA_E_INPUT;
    }
    if (board_options_parse(&options, argc, argv) != 0) {
        return OTA_E_USAGE;
    }
    switch (options.mode) {
    case BOARD_HELP:
        board_help();
        return 0;
    case BOARD_VERSION:
        say_version();
        return 0;
    case BOARD_SLOTS:
        return board_slots(&options);
    case BOARD_SELF_TEST:
        return board_self_test(&options);
    default:
        return board_apply(&options);
    }
}
