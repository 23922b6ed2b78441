/* check.h - the checks of the C tests: each says where it failed, and main ends with `return check_done();`. */
#ifndef OTA_TESTS_CHECK_H
#define OTA_TESTS_CHECK_H

#include <stdio.h>

static int check_count;
static int check_failed;
static const char *check_case = ""; /* set it to the case at work, so that a failure names it */

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        check_count++;                                                                                                 \
        if (!(cond)) {                                                                                                 \
            check_failed++;                                                                                            \
            fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, check_case, #cond);                         \
        }                                                                                                              \
    } while (0)

/* Two integers, told in the message. */
#define CHECK_INT(got, want)                                                                                           \
    do {                                                                                                               \
        long long check_got = (long long)(got), check_want = (long long)(want);                                        \
        check_count++;                                                                                                 \
        if (check_got != check_want) {                                                                                 \
            check_failed++;                                                                                            \
            fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", __FILE__, __LINE__, check_case, #got, check_got,      \
                    check_want);                                                                                       \
        }                                                                                                              \
    } while (0)

static int check_done(void)
{
    printf("%d checks, %d failed\n", check_count, check_failed);
    return check_failed != 0;
}

#endif
