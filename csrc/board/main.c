/* main.c - otaunpack: what was asked for. */
#include "board.h"

#include <stdio.h>

#ifndef OTA_VERSION_TEXT
#define OTA_VERSION_TEXT "unknown"
#endif

int main(int argc, char **argv)
{
    struct board_options options;
    if (board_options_parse(&options, argc, argv) != 0) {
        return OTA_E_USAGE;
    }
    switch (options.mode) {
    case BOARD_HELP:
        board_help();
        return 0;
    case BOARD_VERSION:
        puts(BOARD_PROGRAM " " OTA_VERSION_TEXT);
        return 0;
    case BOARD_SELF_TEST:
        return board_self_test(&options);
    default:
        return board_apply(&options);
    }
}
