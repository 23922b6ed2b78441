/* memory.c - one mapping, handed out piece by piece; and failures. */
#include "board.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int board_memory_map(struct board_memory *m, size_t size, struct board_failure *why)
{
    m->used = 0;
    m->size = size;
    /* MAP_POPULATE: what the system does not have shall show now, not in the middle of a write */
    m->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (m->base == MAP_FAILED) {
        m->base = NULL;
        return board_fail(why, OTA_E_RAM, errno, "%llu bytes", (unsigned long long)size);
    }
    return 0;
}

void *board_memory_take(struct board_memory *m, size_t size)
{
    uint8_t *p = m->base + m->used;
    size_t whole = BOARD_ALIGN(size);
    if (whole < size || whole > m->size - m->used) {
        return NULL;
    }
    m->used += whole;
    return p;
}

int board_fail(struct board_failure *why, enum ota_error code, int os_error, const char *format, ...)
{
    va_list args;
    if (why->status == 0) {
        why->status = -(int)code;
        why->os_error = os_error;
        va_start(args, format);
        (void)vsnprintf(why->detail, sizeof(why->detail), format, args);
        va_end(args);
    }
    return -(int)code;
}

void board_printable(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            *text = '?';
        }
    }
}
