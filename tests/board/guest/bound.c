/* bound [-a KIB] PROGRAM ARGS...: run a program within an address space, and say what it took.
 *
 * The proof of a memory bound is the limit itself (RLIMIT_AS: code, stack and everything mapped): the program succeeds
 * with it. Beside it stands the largest resident set as the kernel has it when the program is gone (ru_maxrss). Kernels
 * before 6.2 keep up to 64 pages of each kind in a count of the task, which is added when the task ends or now and then:
 * /proc/self/status lags behind, and what a program unmaps before its end may never be seen in ru_maxrss. Programs that
 * leave unmapping to their end are counted exactly. ru_maxrss begins with that of the parent at the fork, so this parent
 * is as small as can be: no stdio, static.
 *
 * Last line of output: "@@BOUND as=KIB rss=KIB ms=N code=N" (code 128 + n: killed by signal n).
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char line[128];
static size_t fill;

static void text(const char *s)
{
    size_t n = strlen(s);
    if (n < sizeof(line) - fill) {
        memcpy(line + fill, s, n);
        fill += n;
    }
}

static void number(const char *name, long value)
{
    char digits[24];
    size_t at = sizeof(digits);
    unsigned long v = value < 0 ? 0 : (unsigned long)value;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    text(name);
    text(digits + at);
}

int main(int argc, char **argv)
{
    long kib = 0;
    int first = 1;
    int status = 0;
    struct rusage used;
    pid_t child;
    if (argc > 3 && strcmp(argv[1], "-a") == 0) {
        kib = atol(argv[2]);
        first = 3;
    }
    if (first >= argc) {
        return 125;
    }
    child = fork();
    if (child == 0) {
        struct rlimit limit = {(rlim_t)kib * 1024, (rlim_t)kib * 1024};
        if (kib > 0 && setrlimit(RLIMIT_AS, &limit) != 0) {
            _exit(125);
        }
        (void)execv(argv[first], argv + first);
        _exit(126);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child) {
        return 125;
    }
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    number("@@BOUND as=", kib);
    number(" rss=", used.ru_maxrss);
    number(" ms=", (long)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
                       (long)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000);
    number(" code=", status);
    text("\n");
    return write(1, line, fill) == (ssize_t)fill ? status : 125;
}
