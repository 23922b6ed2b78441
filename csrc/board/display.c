/* display.c - the program that shows the update on the framebuffer, started beside it.
 *
 * otadisplay reads progress lines from a pipe. Nothing here waits for it: a line that does not fit into the pipe is
 * dropped, a reader that has gone is forgotten, and nobody asks how it ended.
 */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DISPLAY_NAME "otadisplay"

extern char **environ;

static int display_fd = -1;

/* Say it with system calls only: the child of vfork runs in its parent's memory. */
static void say(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n;
}

/* The child's part: never comes back. It keeps the signals that the terminal sends away from the picture, and starts
 * the program that lies beside this one, else the first one on the path. */
static void become_display(int from, const char *beside, char *const argv[])
{
    if (dup2(from, STDIN_FILENO) == STDIN_FILENO) {
        (void)signal(SIGHUP, SIG_IGN);
        (void)signal(SIGINT, SIG_IGN);
        (void)execve(beside, argv, environ);
        if (errno == ENOENT) {
            (void)execvp(DISPLAY_NAME, argv);
        }
    }
    say(errno == ENOENT ? BOARD_PROGRAM ": warning: no display: " DISPLAY_NAME " is not installed\n"
                        : BOARD_PROGRAM ": warning: no display: " DISPLAY_NAME " cannot be started\n");
    _exit(127);
}

/* Where the program is that lies beside this one; empty when the system does not say. */
static void find_beside(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof(DISPLAY_NAME));
    char *end;
    path[n > 0 ? n : 0] = '\0';
    end = strrchr(path, '/');
    if (end != NULL) {
        memcpy(end + 1, DISPLAY_NAME, sizeof(DISPLAY_NAME));
    }
}

void board_display_start(const char *picture, const char *rotate)
{
    char beside[1024];
    char name[] = DISPLAY_NAME;
    char detach[] = "--detach";
    char option_picture[] = "-p";
    char option_rotate[] = "-s";
    char rotation[2] = {rotate != NULL ? rotate[0] : '0', '\0'};
    char path[1024];
    char *const argv[] = {name, detach, option_rotate, rotation, option_picture, path, NULL};
    int ends[2];
    pid_t pid;
    find_beside(beside, sizeof(beside));
    if (snprintf(path, sizeof(path), "%s", picture) >= (int)sizeof(path) || pipe2(ends, O_CLOEXEC) != 0) {
        say(BOARD_PROGRAM ": warning: no display: no pipe to it\n");
        return;
    }
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid = vfork();
    if (pid == 0) {
        become_display(ends[0], beside, argv);
    }
    (void)close(ends[0]);
    if (pid < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
        say(BOARD_PROGRAM ": warning: no display: no process for it\n");
        (void)close(ends[1]);
        return;
    }
    display_fd = ends[1];
}

int board_display_open(void)
{
    return display_fd >= 0;
}

void board_display_send(const char *line, size_t len)
{
    ssize_t n = -1;
    if (display_fd < 0) {
        return;
    }
    do {
        n = write(display_fd, line, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        board_display_close(); /* it has gone, and has said why */
    }
}

void board_display_close(void)
{
    if (display_fd >= 0) {
        (void)close(display_fd);
        display_fd = -1;
    }
}
