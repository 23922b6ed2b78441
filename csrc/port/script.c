/* script.c - scripts of a package: spooled to the temporary folder, run by the board's shell. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 200 /* longest time between two ticks while a script runs; watchdogs count in seconds */

extern char **environ;

static const char *const script_names[3] = {
    "otastream-inline.sh", /* OTA_SCRIPT_INLINE */
    "otastream-begin.sh",  /* OTA_SCRIPT_BEGIN */
    "otastream-end.sh",    /* OTA_SCRIPT_END */
};

/* ---- spooling -------------------------------------------------------------------------------------------------- */

int ota_script_begin(void *ctx, enum ota_script_when when)
{
    struct ota_posix *p = ctx;
    (void)ota_fd_close(&p->script_fd);
    if (unlinkat(p->tmp_fd, script_names[when], 0) != 0 && errno != ENOENT) {
        return ota_posix_fail(p, errno);
    }
    p->script_fd = ota_fd_open(p->tmp_fd, script_names[when], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (p->script_fd < 0) {
        return ota_posix_fail(p, errno);
    }
    p->script_open = when;
    p->script_spooled[when] = -1;
    return 0;
}

int ota_script_write(void *ctx, const uint8_t *buf, size_t len)
{
    struct ota_posix *p = ctx;
    return p->script_fd >= 0 ? ota_fd_write(p, p->script_fd, buf, len) : ota_posix_refuse(p, OTA_E_INTERNAL);
}

int ota_script_end(void *ctx)
{
    struct ota_posix *p = ctx;
    int e;
    if (p->script_fd < 0) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    /* no sync: after a power cut no script goes on, a new run spools its own */
    e = ota_fd_close(&p->script_fd);
    if (e != 0) {
        return ota_posix_fail(p, e);
    }
    p->script_spooled[p->script_open] = 1;
    return 0;
}

void ota_script_cleanup(struct ota_posix *p)
{
    int i;
    (void)ota_fd_close(&p->script_fd);
    for (i = 0; i < 3; i++) {
        if (p->script_spooled[i] != 0) {
            (void)unlinkat(p->tmp_fd, script_names[i], 0);
            p->script_spooled[i] = 0;
        }
    }
}

/* ---- running --------------------------------------------------------------------------------------------------- */

/* The environment of the caller with our three variables, in the scratch buffer. 0 or a negative status. */
static int make_environment(struct ota_posix *p)
{
    const size_t max = sizeof(p->scratch.pointers) / sizeof(p->scratch.pointers[0]);
    char **from;
    size_t n = 0;
    p->scratch.pointers[n++] = p->status_env;
    p->scratch.pointers[n++] = p->root_env;
    p->scratch.pointers[n++] = p->tmp_env;
    for (from = environ; from != NULL && *from != NULL; from++) {
        if (strncmp(*from, "OTA_STATUS=", 11) == 0 || strncmp(*from, "OTA_ROOT=", 9) == 0 ||
            strncmp(*from, "OTA_TMP=", 8) == 0) {
            continue;
        }
        if (n == max - 1) {
            return ota_posix_fail(p, E2BIG);
        }
        p->scratch.pointers[n++] = *from;
    }
    p->scratch.pointers[n] = NULL;
    return 0;
}

/* The child's part, after vfork: it runs in the parent's memory, so it touches nothing but its own stack and makes
 * only system calls. Signals are blocked, so no handler of the parent runs here. */
static void exec_child(const char *program, char *const argv[], char *const envp[], const sigset_t *mask)
{
    struct sigaction act;
    struct sigaction def;
    int sig;
    int null;
    memset(&def, 0, sizeof(def));
    def.sa_handler = SIG_DFL;
    (void)sigemptyset(&def.sa_mask);
    for (sig = 1; sig < NSIG; sig++) {
        /* A caller that has itself protected against a terminal that hangs up means the script as well: it runs in
         * the middle of an update. Everything else starts as usual. */
        int keep = (sig == SIGHUP || sig == SIGINT || sig == SIGQUIT) && sigaction(sig, NULL, &act) == 0 &&
                   act.sa_handler == SIG_IGN;
        if (!keep && sig != SIGKILL && sig != SIGSTOP) {
            (void)sigaction(sig, &def, NULL);
        }
    }
    null = open("/dev/null", O_RDONLY);
    if (null > 0) {
        (void)dup2(null, 0);
        (void)close(null);
    } else if (null < 0) {
        (void)close(0);
    }
    if (chdir("/") == 0) {
        (void)sigprocmask(SIG_SETMASK, mask, NULL);
        (void)execve(program, argv, envp);
    }
    _exit(errno == ENOENT ? 127 : 126); /* as a shell says it: not found, not executable */
}

/* vfork and not fork: no copy of the page tables of a large caller, no doubled memory on a small board, none of the
 * caller's fork handlers. And not posix_spawn, which may allocate. */
static pid_t start(struct ota_posix *p, char *const argv[])
{
    sigset_t all;
    sigset_t mask;
    pid_t pid;
    int e;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &mask) != 0) {
        return -1;
    }
    pid = vfork();
    if (pid == 0) {
        exec_child(argv[0], argv, p->scratch.pointers, &mask);
    }
    e = errno;
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    errno = e;
    return pid;
}

/* Wait for the program, ticking. A wish to stop is not heard here: a script is never interrupted. */
static int wait_for(struct ota_posix *p, pid_t pid, int *wait_status)
{
    long ms = 1;
    long since_tick = 0;
    for (;;) {
        struct timespec nap;
        pid_t got = waitpid(pid, wait_status, WNOHANG);
        if (got == pid) {
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            return ota_posix_fail(p, errno);
        }
        nap.tv_sec = 0;
        nap.tv_nsec = ms * 1000000L;
        (void)nanosleep(&nap, NULL);
        since_tick += ms;
        ms = ms < TICK_MS / 2 ? ms * 2 : TICK_MS; /* short scripts are not slowed down, long ones cost nothing */
        if (since_tick >= TICK_MS) {
            since_tick = 0;
            if (p->tick != NULL && p->report != NULL) {
                (void)p->tick(p->tick_ctx, p->report);
            }
        }
    }
}

int ota_program_run(struct ota_posix *p, char *const argv[], int *exit_code)
{
    int wait_status = 0;
    pid_t pid;
    int status = make_environment(p);
    *exit_code = -1;
    if (status != 0) {
        return status;
    }
    pid = start(p, argv);
    if (pid < 0) {
        return ota_posix_fail(p, errno);
    }
    status = wait_for(p, pid, &wait_status);
    if (status == 0) {
        *exit_code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    }
    return status;
}

int ota_script_run(void *ctx, enum ota_script_when when, int ota_status, int *exit_code)
{
    struct ota_posix *p = ctx;
    const char *tmp = p->tmp_env + 8; /* behind "OTA_TMP=" */
    size_t len = strlen(tmp);
    char *argv[3];
    *exit_code = -1;
    if (p->script_spooled[when] != 1) {
        return ota_posix_refuse(p, OTA_E_INTERNAL);
    }
    memcpy(p->script_path, tmp, len);
    p->script_path[len] = '/';
    memcpy(p->script_path + len + 1, script_names[when], strlen(script_names[when]) + 1);
    memcpy(p->status_env, ota_status == 0 ? "OTA_STATUS=0" : "OTA_STATUS=-1", ota_status == 0 ? 13 : 14);
    argv[0] = p->shell;
    argv[1] = p->script_path;
    argv[2] = NULL;
    return ota_program_run(p, argv, exit_code);
}
