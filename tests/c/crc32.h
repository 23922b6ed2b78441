/* crc32.h - the checksum of U-Boot's environment, bit by bit: what the table in csrc/core/env.c is held to. */
#ifndef OTA_TESTS_CRC32_H
#define OTA_TESTS_CRC32_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

#endif
