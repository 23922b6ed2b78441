/* rusage OUT PROGRAM [ARG...]: run a program; write "seconds peak-RSS-in-KiB exit-status CPU-seconds"
 * to OUT.
 *
 * A program that is started by Python inherits Python's own resident size in its ru_maxrss: the kernel counts the image before
 * exec. Started from this small one, the figure is its own. Descendants that were waited for count by the largest. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec a, b;
    struct rusage use;
    int status;
    pid_t child;
    FILE *out;

    if (argc < 3)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &a);
    child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (wait4(child, &status, 0, &use) != child)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    out = fopen(argv[1], "w");
    if (out == NULL)
        return 1;
    fprintf(out, "%.3f %ld %d %.3f\n", (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9,
            use.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    return fclose(out) == 0 ? 0 : 1;
}
