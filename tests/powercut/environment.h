/* environment.h - what the power-cut machines know of U-Boot's environment, as its boot loader reads it.
 *
 * A case that has one has a file `environment`: the first line is `SIZE NODE OFFSET NODE OFFSET` for its two copies,
 * each further line the variables of a state in which a cut may leave it, `NAME=VALUE` with blanks between; the first
 * is that before the update, the last that after it. Which copy holds which, and in which order, is not compared: it
 * depends on how often the environment was written.
 *
 * The variable boot_slot, where there is one, says which slot is started: that of the node /dev/VALUE.
 */
#ifndef OTA_TESTS_POWERCUT_ENVIRONMENT_H
#define OTA_TESTS_POWERCUT_ENVIRONMENT_H

#include "crc32.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV_STATES 8u
#define ENV_HEAD 5u

struct environment {
    char *text; /* NULL: there is none */
    const char *state[ENV_STATES];
    unsigned states;
    size_t size; /* of a copy */
    char node[2][32];
    unsigned long offset[2];
};

/* Takes the text, which it cuts into lines; NULL: there is no environment. 0: it is not as it should be. */
static int environment_init(struct environment *e, char *text)
{
    char *line;
    memset(e, 0, sizeof *e);
    e->text = text;
    if (text == NULL)
        return 1;
    line = strtok(text, "\n");
    if (line == NULL ||
        sscanf(line, "%zu %31s %lu %31s %lu", &e->size, e->node[0], &e->offset[0], e->node[1], &e->offset[1]) != 5)
        return 0;
    while ((line = strtok(NULL, "\n")) != NULL && e->states < ENV_STATES)
        e->state[e->states++] = line;
    return e->size > ENV_HEAD && e->states > 1;
}

static int env_is_whole(const struct environment *e, const uint8_t *copy)
{
    uint32_t crc;
    if (copy == NULL)
        return 0;
    crc = crc32_of(copy + ENV_HEAD, e->size - ENV_HEAD);
    for (unsigned i = 0; i < 4; i++)
        if (copy[i] != (uint8_t)(crc >> 8 * i))
            return 0;
    return 1;
}

/* The copy that the boot loader uses, NULL: none. A copy that cannot be read is NULL. */
static const uint8_t *environment_used(const struct environment *e, const uint8_t *a, const uint8_t *b)
{
    int a_whole = env_is_whole(e, a);
    int b_whole = env_is_whole(e, b);
    if (!a_whole || !b_whole)
        return a_whole ? a : b_whole ? b : NULL;
    if (a[4] == 255 && b[4] == 0)
        return b;
    return b[4] > a[4] && !(b[4] == 255 && a[4] == 0) ? b : a;
}

/* Is the word among the strings of the copy? */
static int env_has(const struct environment *e, const uint8_t *copy, const char *word, size_t len)
{
    for (size_t at = ENV_HEAD; at < e->size && copy[at] != '\0';) {
        size_t n = strnlen((const char *)copy + at, e->size - at);
        if (n == len && memcmp(copy + at, word, n) == 0)
            return 1;
        at += n + 1;
    }
    return 0;
}

static int env_is_state(const struct environment *e, const uint8_t *copy, const char *state)
{
    unsigned words = 0;
    for (const char *at = state; *at != '\0'; words++) {
        size_t n = strcspn(at, " ");
        if (!env_has(e, copy, at, n))
            return 0;
        at += n + (at[n] == ' ');
    }
    for (size_t at = ENV_HEAD; at < e->size && copy[at] != '\0'; words--)
        at += strnlen((const char *)copy + at, e->size - at) + 1;
    return words == 0;
}

/* Number of the state that this copy is in, -1: it is in none of them. */
static int environment_state(const struct environment *e, const uint8_t *copy)
{
    for (unsigned i = 0; copy != NULL && i < e->states; i++)
        if (env_is_state(e, copy, e->state[i]))
            return (int)i;
    return -1;
}

/* The node of the slot that a state starts: 0, there is none. */
static int environment_starts(const struct environment *e, int state, char *node, size_t cap)
{
    static const char name[] = "boot_slot=";
    const char *at = strstr(e->state[state], name);
    if (at == NULL)
        return 0;
    at += sizeof name - 1;
    snprintf(node, cap, "/dev/%.*s", (int)strcspn(at, " "), at);
    return 1;
}

#endif
