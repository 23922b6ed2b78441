/* views.h - the power-cut machines rebuild images as the board program does, with its coders and its zlib. */
#ifndef OTA_TESTS_POWERCUT_VIEWS_H
#define OTA_TESTS_POWERCUT_VIEWS_H

#include "otastream.h"

#define VIEW_WORKSPACE (1u << 20)

const struct ota_coder *board_coder(void);

#endif
