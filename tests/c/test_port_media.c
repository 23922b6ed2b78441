// links: port core
/* Everything of the Linux port but the tree: init and lock, nodes, images, scripts, identity. */
#include <linux/loop.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "port_folder.h"

/* ---- init and lock --------------------------------------------------------------------------------------------- */

static int init_with(struct folder *f, const char *root, const char *tmp, int *os_error)
{
    struct ota_posix_options o;
    memset(&o, 0, sizeof(o));
    o.root = root;
    o.tmp = tmp;
    return ota_posix_init(f->workspace, ota_posix_size(), &o, os_error);
}

static void test_init(void)
{
    struct folder f;
    static char longest[5000];
    int e = -1;
    check_case = "init";
    folder_open(&f);
    ota_posix_close(f.workspace);
    ota_posix_close(f.workspace); /* twice is fine */
    ota_posix_close(NULL);
    CHECK_INT(init_with(&f, host(&f, "none"), f.tmp, &e), -OTA_E_USAGE);
    CHECK_INT(e, ENOENT);
    CHECK_INT(init_with(&f, f.root, host(&f, "none"), &e), -OTA_E_USAGE);
    CHECK_INT(e, ENOENT);
    CHECK_INT(init_with(&f, f.root, NULL, &e), -OTA_E_USAGE);
    CHECK_INT(init_with(&f, "", f.tmp, NULL), -OTA_E_USAGE);
    put_file(&f, "file", "x");
    CHECK_INT(init_with(&f, host(&f, "file"), f.tmp, &e), -OTA_E_USAGE);
    CHECK_INT(e, ENOTDIR);
    memset(longest, 'x', sizeof(longest) - 1);
    CHECK_INT(init_with(&f, longest, f.tmp, &e), -OTA_E_USAGE);
    CHECK_INT(e, ENAMETOOLONG);
    CHECK_INT(ota_posix_init(f.workspace, ota_posix_size() - 1, NULL, &e), -OTA_E_USAGE);
    ota_posix_close(f.workspace); /* after a failed init */
    CHECK_INT(init_with(&f, f.root, f.tmp, &e), 0);
    CHECK_INT(e, 0);
    folder_close(&f);
}

static void test_lock(void)
{
    struct folder f;
    struct folder g;
    int ready[2];
    int go[2];
    int e = 0;
    char c = 0;
    int wait_status = -1;
    pid_t pid;
    check_case = "lock";
    folder_open(&f);
    g = f;
    g.workspace = malloc(ota_posix_size());
    must(g.workspace != NULL && pipe(ready) == 0 && pipe(go) == 0, "pipe");
    CHECK_INT(init_with(&g, f.root, f.tmp, &e), -OTA_E_LOCKED); /* the same process, a second applier */
    ota_posix_close(g.workspace);
    ota_posix_close(f.workspace);

    pid = fork(); /* another process */
    if (pid == 0) {
        struct folder child = f;
        c = (char)init_with(&child, f.root, f.tmp, NULL);
        (void)!write(ready[1], &c, 1);
        (void)!read(go[0], &c, 1);
        _exit(0); /* dies without closing: the lock goes with it */
    }
    must(pid > 0 && read(ready[0], &c, 1) == 1, "child");
    CHECK_INT(c, 0);
    CHECK_INT(init_with(&g, f.root, f.tmp, &e), -OTA_E_LOCKED);
    CHECK_INT(e, EWOULDBLOCK);
    must(write(go[1], "", 1) == 1 && waitpid(pid, &wait_status, 0) == pid, "waitpid");
    CHECK_INT(init_with(&g, f.root, f.tmp, &e), 0);
    ota_posix_close(g.workspace);

    check_case = "a lock that is about to go";
    pid = fork(); /* what a killed applier leaves when it was just starting a script */
    if (pid == 0) {
        static const struct timespec moment = {0, 150000000};
        int fd = open(f.root, O_RDONLY | O_DIRECTORY);
        c = (char)flock(fd, LOCK_EX);
        (void)!write(ready[1], &c, 1);
        (void)nanosleep(&moment, NULL);
        _exit(0);
    }
    must(pid > 0 && read(ready[0], &c, 1) == 1 && c == 0, "child with the lock");
    e = -OTA_E_LOCKED;
    for (int tries = 0; tries < 60 && e == -OTA_E_LOCKED; tries++) /* on a busy machine it may need longer to go */
        e = init_with(&g, f.root, f.tmp, NULL);
    CHECK_INT(e, 0);
    must(waitpid(pid, &wait_status, 0) == pid, "waitpid");
    ota_posix_close(g.workspace);
    free(g.workspace);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
    folder_close(&f);
}

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

static int node(struct folder *f, const char *name, int write, struct ota_flash *flash)
{
    return f->port.node_open(f->port.ctx, OTA_SLOT_TARGET, name, strlen(name), write, flash);
}

static void test_node_file(void)
{
    struct folder f;
    struct ota_flash fl;
    uint8_t buf[16];
    check_case = "a file that stands for a device";
    folder_open(&f);
    put_dir(&f, "root/dev");
    put_dir(&f, "root/dev/by-name");
    put_file(&f, "root/dev/part", "0123456789");
    put_link(&f, "root/dev/by-name/boot", "../part");
    put_link(&f, "root/dev/abs", "/dev/by-name/boot");
    put_file(&f, "secret", "secret");
    put_link(&f, "root/dev/out", host(&f, "secret"));
    put_link(&f, "root/dev/up", "../../secret");
    put_link(&f, "root/dev/self", "self");

    CHECK_INT(node(&f, "/dev/abs", 1, &fl), 0);
    CHECK_INT(fl.kind, OTA_FLASH_BLOCK);
    CHECK_INT(fl.size, 10);
    CHECK_INT(fl.prog_size, 1);
    CHECK(fl.erase == NULL && fl.is_bad == NULL && fl.mark_bad == NULL);
    CHECK_INT(fl.read(fl.ctx, 8, buf, 2), 0);
    CHECK(memcmp(buf, "89", 2) == 0);
    CHECK_INT(fl.prog(fl.ctx, 3, (const uint8_t *)"abc", 3), 0);
    CHECK_INT(fl.sync(fl.ctx), 0);
    CHECK_INT(fl.read(fl.ctx, 0, buf, 10), 0);
    CHECK(memcmp(buf, "012abc6789", 10) == 0);
    CHECK_INT(fl.prog(fl.ctx, 8, (const uint8_t *)"abc", 3), -OTA_E_TOO_SMALL);
    CHECK_INT(fl.prog(fl.ctx, UINT64_MAX, (const uint8_t *)"abc", 3), -OTA_E_TOO_SMALL);
    CHECK_INT(fl.read(fl.ctx, 8, buf, 3), -OTA_E_INTERNAL);
    CHECK_INT(f.port.node_close(f.port.ctx, OTA_SLOT_TARGET), 0);
    CHECK_INT(fl.prog(fl.ctx, 0, buf, 1), -OTA_E_INTERNAL);
    CHECK_INT(fl.read(fl.ctx, 0, buf, 1), -OTA_E_INTERNAL);
    CHECK_INT(fl.sync(fl.ctx), -OTA_E_INTERNAL);
    CHECK(holds(&f, "root/dev/part", "012abc6789")); /* it has not grown */

    check_case = "a node opened to read is not written";
    CHECK_INT(node(&f, "/dev/part", 0, &fl), 0);
    CHECK(fl.prog(fl.ctx, 0, (const uint8_t *)"x", 1) < 0);
    CHECK_INT(f.port.node_close(f.port.ctx, OTA_SLOT_TARGET), 0);
    CHECK(holds(&f, "root/dev/part", "012abc6789"));

    check_case = "a node never leaves the root";
    CHECK_INT(node(&f, "/dev/out", 1, &fl), -OTA_E_MISSING); /* that path does not exist beneath the root */
    CHECK_INT(node(&f, "/dev/up", 1, &fl), -OTA_E_MISSING);
    CHECK_INT(node(&f, "/dev/self", 1, &fl), -OTA_E_PATH);
    CHECK_INT(node(&f, "/dev/../../secret", 1, &fl), -OTA_E_PATH);
    CHECK_INT(node(&f, "dev/part", 1, &fl), -OTA_E_PATH);
    CHECK_INT(node(&f, "/", 1, &fl), -OTA_E_PATH);
    CHECK_INT(node(&f, "/dev/none", 1, &fl), -OTA_E_MISSING);
    CHECK_INT(node(&f, "/none/none", 1, &fl), -OTA_E_MISSING);
    CHECK_INT(node(&f, "/dev/part/x", 1, &fl), -OTA_E_PATH);
    CHECK(holds(&f, "secret", "secret"));

    check_case = "other kinds";
    must(mkfifo(host(&f, "root/dev/pipe"), 0600) == 0, "mkfifo");
    CHECK_INT(node(&f, "/dev/pipe", 1, &fl), -OTA_E_NODE);
    CHECK_INT(node(&f, "/dev/by-name", 1, &fl), -OTA_E_NODE);
    if (mknod(host(&f, "root/dev/null"), S_IFCHR | 0600, makedev(1, 3)) == 0) {
        CHECK_INT(node(&f, "/dev/null", 1, &fl), -OTA_E_NODE);
        CHECK_INT(node(&f, "/dev/null", 0, &fl), -OTA_E_NODE);
    }
    if (mknod(host(&f, "root/dev/nobody"), S_IFBLK | 0600, makedev(511, 77)) == 0) {
        CHECK_INT(node(&f, "/dev/nobody", 1, &fl), -OTA_E_NODE); /* a node without a driver behind it */
    }
    folder_close(&f);
}

/* A real block device: a loop device over a file. *loop is its file descriptor, -1 when there can be none here. */
static void loop_open(struct folder *f, int *loop)
{
    struct stat st;
    char name[32];
    int file;
    int n;
    int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    *loop = -1;
    if (ctl < 0) {
        return;
    }
    n = ioctl(ctl, LOOP_CTL_GET_FREE);
    close(ctl);
    snprintf(name, sizeof(name), "/dev/loop%d", n);
    file = open(host(f, "disk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(file >= 0 && ftruncate(file, 200 * 1024) == 0, "disk");
    if (n >= 0 && (*loop = open(name, O_RDWR | O_CLOEXEC)) >= 0) {
        if (ioctl(*loop, LOOP_SET_FD, file) != 0 || fstat(*loop, &st) != 0 ||
            mknod(host(f, "root/disk"), S_IFBLK | 0600, st.st_rdev) != 0) {
            close(*loop);
            *loop = -1;
        }
    }
    close(file);
}

static void test_node_block(void)
{
    struct folder f;
    struct ota_flash fl;
    uint8_t buf[4096];
    uint8_t raw[4096];
    int loop;
    int file;
    int holder;
    check_case = "a block device";
    folder_open(&f);
    loop_open(&f, &loop);
    if (loop < 0) {
        printf("skipped: no loop device can be made here, so no real block device is tested\n");
        folder_close(&f);
        return;
    }
    CHECK_INT(node(&f, "/disk", 1, &fl), 0);
    CHECK_INT(fl.size, 200 * 1024);
    memset(buf, 0x5a, sizeof(buf));
    CHECK_INT(fl.prog(fl.ctx, 150 * 1024 + 100, buf, sizeof(buf)), 0); /* no alignment is asked for */
    CHECK_INT(fl.sync(fl.ctx), 0);
    CHECK_INT(fl.read(fl.ctx, 150 * 1024 + 100, raw, sizeof(raw)), 0);
    CHECK(memcmp(buf, raw, sizeof(raw)) == 0);
    file = open(host(&f, "disk"), O_RDONLY | O_CLOEXEC);
    must(file >= 0, "disk");
    memset(raw, 0, sizeof(raw));
    CHECK_INT(pread(file, raw, sizeof(raw), 150 * 1024 + 100), (long long)sizeof(raw));
    CHECK(memcmp(buf, raw, sizeof(raw)) == 0); /* it is on the medium */
    close(file);
    CHECK_INT(fl.prog(fl.ctx, 200 * 1024 - 1, buf, 2), -OTA_E_TOO_SMALL);
    CHECK_INT(f.port.node_close(f.port.ctx, OTA_SLOT_TARGET), 0);

    check_case = "a block device that is in use";
    holder = open(host(&f, "root/disk"), O_RDONLY | O_EXCL | O_CLOEXEC); /* what a mount does */
    must(holder >= 0, "O_EXCL");
    CHECK_INT(node(&f, "/disk", 1, &fl), -OTA_E_NODE);
    CHECK_INT(f.port.last_error(f.port.ctx), EBUSY);
    CHECK_INT(node(&f, "/disk", 0, &fl), 0); /* reading it is fine */
    CHECK_INT(f.port.node_close(f.port.ctx, OTA_SLOT_TARGET), 0);
    close(holder);
    (void)ioctl(loop, LOOP_CLR_FD, 0);
    close(loop);
    folder_close(&f);
}

/* ---- images ---------------------------------------------------------------------------------------------------- */

static void test_image(void)
{
    const uint64_t digest = 0x00f1e2d3c4b5a697u;
    const char *name = "tmp/otastream-00f1e2d3c4b5a697.img";
    struct folder f;
    struct ota_port *o;
    uint8_t buf[8];
    check_case = "image";
    folder_open(&f);
    o = &f.port;
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){6}), -OTA_E_MISSING);
    CHECK_INT(o->image_remove(o->ctx, digest), 0);
    put_file(&f, "tmp/otastream-image.part", "left by a cut");
    CHECK_INT(o->image_begin(o->ctx, digest, 6), 0);
    CHECK_INT(o->image_write(o->ctx, (const uint8_t *)"abc", 3), 0);
    CHECK_INT(o->image_write(o->ctx, (const uint8_t *)"def", 3), 0);
    CHECK(holds(&f, name, NULL)); /* not before it is complete */
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){6}), -OTA_E_MISSING);
    CHECK_INT(o->image_commit(o->ctx), 0);
    CHECK(holds(&f, name, "abcdef"));
    CHECK(holds(&f, "tmp/otastream-image.part", NULL));
    CHECK_INT(o->image_commit(o->ctx), -OTA_E_INTERNAL);
    CHECK_INT(o->image_write(o->ctx, buf, 1), -OTA_E_INTERNAL);
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){7}), -OTA_E_MISSING); /* another size */
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){6}), 0);
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_COPY, 2, buf, 4), 0);
    CHECK(memcmp(buf, "cdef", 4) == 0);
    CHECK_INT(o->close(o->ctx, OTA_SLOT_COPY), 0);

    check_case = "an image survives, a half one does not";
    CHECK_INT(o->image_begin(o->ctx, digest + 1, 6), 0);
    CHECK_INT(o->image_write(o->ctx, (const uint8_t *)"abc", 3), 0);
    ota_posix_close(f.workspace);
    CHECK(holds(&f, name, "abcdef"));
    CHECK(holds(&f, "tmp/otastream-image.part", NULL));
    must(init_with(&f, f.root, f.tmp, NULL) == 0, "init");
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){6}), 0);
    CHECK_INT(o->close(o->ctx, OTA_SLOT_COPY), 0);
    CHECK_INT(o->image_remove(o->ctx, digest), 0);
    CHECK(holds(&f, name, NULL));

    check_case = "a link in place of an image";
    put_file(&f, "secret", "secret");
    put_link(&f, name, "../secret");
    put_link(&f, "tmp/otastream-image.part", "../secret");
    CHECK_INT(o->image_open(o->ctx, OTA_SLOT_COPY, digest, &(uint64_t){6}), -OTA_E_MISSING);
    CHECK_INT(o->image_begin(o->ctx, digest, 6), 0);
    CHECK_INT(o->image_write(o->ctx, (const uint8_t *)"abcdef", 6), 0);
    CHECK_INT(o->image_commit(o->ctx), 0);
    CHECK(holds(&f, name, "abcdef"));
    CHECK(holds(&f, "secret", "secret"));

    check_case = "an image that cannot fit is refused at once";
    CHECK_INT(o->image_begin(o->ctx, digest, UINT64_MAX / 2), -OTA_E_SPACE);
    folder_close(&f);
}

/* ---- scripts --------------------------------------------------------------------------------------------------- */

static int spool(struct folder *f, enum ota_script_when when, const char *text)
{
    struct ota_port *o = &f->port;
    int status = o->script_begin(o->ctx, when);
    if (status == 0) {
        status = o->script_write(o->ctx, (const uint8_t *)text, strlen(text));
    }
    return status == 0 ? o->script_end(o->ctx) : status;
}

/* Run a script and give its exit code; negative: the status. */
static int run(struct folder *f, enum ota_script_when when, int ota_status)
{
    int code = -1;
    int status = f->port.script_run(f->port.ctx, when, ota_status, &code);
    return status != 0 ? status : code;
}

static int ticks;

static int count_tick(void *ctx, const struct ota_report *report)
{
    (void)ctx;
    CHECK(report != NULL && report->record == 7);
    ticks++;
    return 1; /* a wish to stop: no script hears it */
}

static void test_scripts(void)
{
    struct folder f;
    struct ota_posix_options opt;
    struct ota_report report;
    char want[2048];
    char text[1024];
    mode_t old_mask = umask(022);
    int input[2];
    int old_stdin = dup(0);
    folder_open(&f);
    check_case = "script environment";
    /* the package itself may stand on stdin: a script must not read from it */
    must(pipe(input) == 0 && write(input[1], "package\n", 8) == 8, "pipe");
    must(dup2(input[0], 0) == 0 && close(input[0]) == 0 && close(input[1]) == 0, "dup2");
    must(setenv("OTA_STATUS", "from outside", 1) == 0 && setenv("OTA_TEST", "a b", 1) == 0, "setenv");
    snprintf(text, sizeof(text),
             "cd '%s'\n"
             "echo \"$OTA_STATUS|$OTA_ROOT|$OTA_TMP|$OTA_TEST|$OLDPWD|$0|$#\" > out\n"
             "cat >> out\n" /* ends at once: stdin is empty */
             "umask >> out\n",
             f.base);
    CHECK_INT(spool(&f, OTA_SCRIPT_BEGIN, text), 0);
    CHECK_INT(lstat_of(&f, "tmp/otastream-begin.sh").st_mode & 07777, 0600);
    CHECK_INT(run(&f, OTA_SCRIPT_BEGIN, 0), 0);
    snprintf(want, sizeof(want), "0|%s|%s|a b|/|%s/otastream-begin.sh|0\n0022\n", f.root, f.tmp, f.tmp);
    CHECK(holds(&f, "out", want));
    snprintf(text, sizeof(text), "echo \"$OTA_STATUS\" > '%s/out'\n", f.base);
    CHECK_INT(spool(&f, OTA_SCRIPT_END, text), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_END, -30), 0);
    CHECK(holds(&f, "out", "-1\n"));
    CHECK_INT(run(&f, OTA_SCRIPT_END, 0), 0);
    CHECK(holds(&f, "out", "0\n"));

    check_case = "exit codes";
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), -OTA_E_INTERNAL); /* none was spooled */
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "exit 0"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 0);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "exit 255"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 255);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "kill -9 $$"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 128 + SIGKILL);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, ""), 0); /* an empty one does nothing */
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 0);
    CHECK_INT(f.port.script_begin(f.port.ctx, OTA_SCRIPT_INLINE), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), -OTA_E_INTERNAL); /* not complete */
    CHECK_INT(f.port.script_end(f.port.ctx), 0);

    check_case = "signals start as usual, but a hang-up that is ignored stays so";
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "kill -TERM $$; exit 3"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 128 + SIGTERM);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "kill -PIPE $$; exit 3"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 128 + SIGPIPE);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "kill -HUP $$; exit 3"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 3);
    CHECK(signal(SIGTERM, SIG_DFL) == SIG_IGN); /* the caller's own are as they were */
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
    CHECK(signal(SIGHUP, SIG_DFL) == SIG_IGN);
    {
        sigset_t now;
        (void)sigprocmask(SIG_SETMASK, NULL, &now);
        CHECK(!sigismember(&now, SIGTERM) && !sigismember(&now, SIGCHLD));
    }

    check_case = "the lock does not leak into what a script leaves running";
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "sleep 2 >/dev/null 2>&1 &"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 0);
    ota_posix_close(f.workspace);
    memset(&opt, 0, sizeof(opt));
    opt.root = f.root;
    opt.tmp = f.tmp;
    opt.tick = count_tick;
    CHECK_INT(ota_posix_init(f.workspace, ota_posix_size(), &opt, NULL), 0);
    ota_posix_port(f.workspace, &f.port);

    check_case = "scripts are gone after close";
    CHECK(holds(&f, "tmp/otastream-begin.sh", NULL));
    CHECK(holds(&f, "tmp/otastream-inline.sh", NULL));
    CHECK(holds(&f, "tmp/otastream-end.sh", NULL));

    check_case = "tick while a script runs";
    memset(&report, 0, sizeof(report));
    report.record = 7;
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "sleep 1; exit 4"), 0);
    CHECK_INT(f.port.tick(f.port.ctx, &report), 1);
    ticks = 0;
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 4);
    CHECK(ticks >= 2);

    check_case = "a link in place of a script";
    put_file(&f, "secret", "secret");
    put_link(&f, "tmp/otastream-end.sh", "../secret");
    CHECK_INT(spool(&f, OTA_SCRIPT_END, "exit 5"), 0);
    CHECK(holds(&f, "secret", "secret"));
    CHECK_INT(run(&f, OTA_SCRIPT_END, 0), 5);

    check_case = "the shell";
    ota_posix_close(f.workspace);
    opt.tick = NULL;
    opt.shell = "/nowhere/sh";
    CHECK_INT(ota_posix_init(f.workspace, ota_posix_size(), &opt, NULL), 0);
    ota_posix_port(f.workspace, &f.port);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "exit 0"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 127);
    ota_posix_close(f.workspace);
    opt.shell = f.root; /* a folder cannot be run */
    CHECK_INT(ota_posix_init(f.workspace, ota_posix_size(), &opt, NULL), 0);
    ota_posix_port(f.workspace, &f.port);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, "exit 0"), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 126);
    if (old_stdin >= 0) {
        must(dup2(old_stdin, 0) == 0 && close(old_stdin) == 0, "dup2");
    }
    folder_close(&f);
    (void)umask(old_mask);
}

/* Folders given by relative names reach a script as absolute ones, since it starts in "/". */
static void test_relative(void)
{
    struct folder f;
    char want[1024];
    char text[512];
    char was[4096];
    check_case = "relative folders";
    folder_open(&f);
    ota_posix_close(f.workspace);
    must(getcwd(was, sizeof(was)) != NULL && chdir(f.base) == 0, "chdir");
    CHECK_INT(init_with(&f, "root", "tmp", NULL), 0);
    ota_posix_port(f.workspace, &f.port);
    snprintf(text, sizeof(text), "echo \"$OTA_ROOT|$OTA_TMP\" > '%s/out'\n", f.base);
    CHECK_INT(spool(&f, OTA_SCRIPT_INLINE, text), 0);
    CHECK_INT(run(&f, OTA_SCRIPT_INLINE, 0), 0);
    snprintf(want, sizeof(want), "%s|%s\n", f.root, f.tmp);
    CHECK(holds(&f, "out", want));
    must(chdir(was) == 0, "chdir");
    folder_close(&f);
}

/* ---- identity -------------------------------------------------------------------------------------------------- */

static void test_identity(void)
{
    struct folder f;
    struct ota_port *o;
    char buf[64];
    size_t len = 99;
    check_case = "identity";
    folder_open(&f);
    o = &f.port;
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, sizeof(buf), &len), -OTA_E_MISSING);
    CHECK_INT(len, 0);
    CHECK_INT(o->identity(o->ctx, OTA_ID_VERSION, buf, sizeof(buf), &len), -OTA_E_MISSING);
    put_dir(&f, "root/etc");
    put_dir(&f, "root/mnt");
    put_link(&f, "root/etc/otastream", "/mnt"); /* within the apply root */
    put_file(&f, "root/mnt/board", "# boards\n\n  cam-a \t\r\ncam b\n#x\nlast");
    put_file(&f, "root/mnt/version", "1.2.3\nmore\n");
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, sizeof(buf), &len), 0);
    CHECK(len == 16 && memcmp(buf, "cam-a\0cam b\0last", 16) == 0);
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, 16, &len), 0);
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, 15, &len), -OTA_E_CONFIG);
    CHECK_INT(o->identity(o->ctx, OTA_ID_VERSION, buf, sizeof(buf), &len), 0);
    CHECK(len == 5 && memcmp(buf, "1.2.3", 5) == 0);
    put_file(&f, "root/mnt/board", "# nothing\n \n");
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, sizeof(buf), &len), -OTA_E_MISSING);
    must(truncate(host(&f, "root/mnt/board"), 20000) == 0, "truncate");
    CHECK_INT(o->identity(o->ctx, OTA_ID_BOARD, buf, sizeof(buf), &len), -OTA_E_CONFIG);
    folder_close(&f);
}

int main(void)
{
    test_init();
    test_lock();
    test_node_file();
    test_node_block();
    test_image();
    test_scripts();
    test_relative();
    test_identity();
    return check_done();
}
