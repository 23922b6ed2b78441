/* rusage OUT CPU PROGRAM [ARG...]: run a program that may take CPU seconds of the processor (0: any); write
 * "seconds peak-RSS-in-KiB exit-status CPU-seconds" to OUT. One that takes longer ends with SIGXCPU.
 *
 * A program inherits the resident size of what executes it in its ru_maxrss: the kernel counts the image before exec. Started
 * from this small one, linked statically and setting the limit itself, the figure is the program's own unless that is below
 * what a fork of this one holds, some hundred KiB. Descendants that were waited for count by the largest. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
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
    long most;

    if (argc < 4)
        return 2;
    most = strtol(argv[2], NULL, 10);
    clock_gettime(CLOCK_MONOTONIC, &a);
    child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        struct rlimit limit = {(rlim_t)most, (rlim_t)most + 5}; /* the hard one would kill without saying why */
        if (most > 0 && setrlimit(RLIMIT_CPU, &limit) != 0)
            _exit(126);
        execvp(argv[3], argv + 3);
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
