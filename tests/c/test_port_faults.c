// links: port core
/* Every system call that the Linux port makes while it changes something, failed or cut once: whatever happens, the
 * target is old or new, and doing it again ends in new without leftovers. What is on the disk after a real power
 * cut depends on the order of these calls, which test_order holds against what it must be. */
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"
#include "port_folder.h"
#include "port_sim.h"

/* ---- what is done, and what may come out ----------------------------------------------------------------------- */

static const uint64_t image_digest = 0x1122334455667788u;
static const char *const image_file = "tmp/otastream-1122334455667788.img";

struct scenario {
    const char *name;
    void (*prepare)(struct folder *f);
    int (*act)(struct folder *f);
    int (*is_old)(struct folder *f);
    int (*is_new)(struct folder *f);
    const char *order; /* of the calls that change something, without a fault */
};

static int mode_is(const struct folder *f, const char *rel, unsigned mode)
{
    return (lstat_of(f, rel).st_mode & 07777) == mode;
}

static int link_is(const struct folder *f, const char *rel, const char *text)
{
    char buf[256];
    ssize_t n = readlink(host(f, rel), buf, sizeof(buf));
    return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

static void old_file(struct folder *f)
{
    put_dir(f, "root/d");
    put_file(f, "root/d/f", "the old content");
    must(chmod(host(f, "root/d/f"), 0640) == 0, "chmod");
}

static int replace_file(struct folder *f)
{
    struct ota_meta m = with_mode(0755);
    return stage(f, at("d/f"), "new", &m);
}

static int file_is_old(struct folder *f)
{
    return holds(f, "root/d/f", "the old content") && mode_is(f, "root/d/f", 0640);
}

static int file_is_new(struct folder *f)
{
    return holds(f, "root/d/f", "new") && mode_is(f, "root/d/f", 0755);
}

/* with a leftover of a cut before, owner and xattrs (as root, on a file system that has them) */
static void old_file_leftover(struct folder *f)
{
    old_file(f);
    put_file(f, "root/d/.otastream-new", "half");
}

static int replace_all_meta(struct folder *f)
{
    static const uint8_t xattrs[] = {0x81, 0x82, 0x46, 'u', 's', 'e', 'r', '.', 'a', 0x41, '1'};
    struct ota_meta m = with_mode(0755);
    m.set |= OTA_META_OWNER | OTA_META_XATTRS;
    m.uid = 5;
    m.gid = 6;
    m.xattrs = xattrs;
    m.xattrs_len = sizeof(xattrs);
    return stage(f, at("d/f"), "new", &m);
}

static int all_meta_is_new(struct folder *f)
{
    char value[4];
    return file_is_new(f) && lstat_of(f, "root/d/f").st_uid == 5 &&
           getxattr(host(f, "root/d/f"), "user.a", value, sizeof(value)) == 1;
}

static void no_file(struct folder *f)
{
    put_dir(f, "root/d");
}

static int nothing_there(struct folder *f)
{
    return holds(f, "root/d/f", NULL);
}

static void old_link(struct folder *f)
{
    put_dir(f, "root/d");
    put_link(f, "root/d/f", "old/text");
}

static int replace_link(struct folder *f)
{
    struct ota_path p = at("d/f");
    return f->port.symlink(f->port.ctx, &p, "new/text", 8, NULL);
}

static int link_is_old(struct folder *f)
{
    return link_is(f, "root/d/f", "old/text");
}

static int link_is_new(struct folder *f)
{
    return link_is(f, "root/d/f", "new/text");
}

static void file_and_other(struct folder *f)
{
    old_file(f);
    put_file(f, "root/other", "other");
}

static int make_hard(struct folder *f)
{
    struct ota_path p = at("d/f");
    struct ota_path to = at("other");
    return f->port.hard_link(f->port.ctx, &p, &to);
}

static int hard_is_new(struct folder *f)
{
    return holds(f, "root/d/f", "other") && holds(f, "root/other", "other") &&
           lstat_of(f, "root/d/f").st_ino == lstat_of(f, "root/other").st_ino &&
           lstat_of(f, "root/other").st_nlink == 2;
}

static int hard_is_old(struct folder *f)
{
    return file_is_old(f) && holds(f, "root/other", "other");
}

/* as the executor does: what is moved already stays */
static int move(struct folder *f)
{
    struct ota_path p = at("d/f");
    struct ota_path from = at("other");
    int status;
    if (stat_of(f, from, &status).type == OTA_ABSENT) {
        return status;
    }
    return f->port.rename(f->port.ctx, &from, &p);
}

static int moved(struct folder *f)
{
    return holds(f, "root/d/f", "other") && holds(f, "root/other", NULL);
}

static void two_names(struct folder *f)
{
    put_dir(f, "root/d");
    put_file(f, "root/other", "other");
    must(link(host(f, "root/other"), host(f, "root/d/f")) == 0, "link");
}

static int both_names(struct folder *f)
{
    return holds(f, "root/d/f", "other") && holds(f, "root/other", "other");
}

static int make_folder(struct folder *f)
{
    struct ota_path p = at("d/f");
    struct ota_meta m = with_mode(0755);
    return f->port.make_dir(f->port.ctx, &p, &m);
}

static int folder_is_new(struct folder *f)
{
    return S_ISDIR(lstat_of(f, "root/d/f").st_mode) && mode_is(f, "root/d/f", 0755);
}

static int remove_file(struct folder *f)
{
    struct ota_path p = at("d/f");
    return f->port.remove(f->port.ctx, &p, 0);
}

static void old_folder(struct folder *f)
{
    put_dir(f, "root/d");
    put_dir(f, "root/d/f");
    put_file(f, "root/d/f/.otastream-new", "half");
}

static int remove_folder(struct folder *f)
{
    struct ota_path p = at("d/f");
    return f->port.remove(f->port.ctx, &p, 1);
}

static int is_folder(struct folder *f)
{
    return S_ISDIR(lstat_of(f, "root/d/f").st_mode) != 0;
}

static int set_file_meta(struct folder *f)
{
    struct ota_path p = at("d/f");
    struct ota_meta m = with_mode(0755);
    return f->port.set_meta(f->port.ctx, &p, &m);
}

static int meta_is_new(struct folder *f)
{
    return holds(f, "root/d/f", "the old content") && mode_is(f, "root/d/f", 0755);
}

static int build_image(struct folder *f)
{
    struct ota_port *o = &f->port;
    int status = o->image_begin(o->ctx, image_digest, 5);
    if (status == 0) {
        status = o->image_write(o->ctx, (const uint8_t *)"image", 5);
    }
    return status == 0 ? o->image_commit(o->ctx) : status;
}

static int image_is_old(struct folder *f)
{
    return holds(f, image_file, NULL);
}

static int image_is_new(struct folder *f)
{
    return holds(f, image_file, "image") && holds(f, "tmp/otastream-image.part", NULL);
}

static const struct scenario scenarios[] = {
    {"replace a file", old_file, replace_file, file_is_old, file_is_new, "UCwMFRD"},
    {"a new file", no_file, replace_file, nothing_there, file_is_new, "UCwMFRD"},
    {"replace a file, with owner and xattrs", old_file_leftover, replace_all_meta, file_is_old, all_meta_is_new,
     "UCwOXMFRD"},
    {"replace a link", old_link, replace_link, link_is_old, link_is_new, "USRD"},
    {"hard link", file_and_other, make_hard, hard_is_old, hard_is_new, "ULRD"},
    {"move", file_and_other, move, hard_is_old, moved, "RDD"},
    {"move between two names of one file", two_names, move, both_names, moved, "UDD"},
    {"make a folder", no_file, make_folder, nothing_there, folder_is_new, "UKMDRD"},
    {"remove a file", old_file, remove_file, file_is_old, nothing_there, "UD"},
    {"remove a folder", old_folder, remove_folder, is_folder, nothing_there, "UUD"},
    {"set meta data", old_file, set_file_meta, file_is_old, meta_is_new, "MF"},
    {"build an image", no_file, build_image, image_is_old, image_is_new, "UCwFRD"},
};

/* ---- walking --------------------------------------------------------------------------------------------------- */

#define CHILD_FAILED 1
#define CHILD_REACHED 2
#define CHILD_INIT 4

/* Do it in a child with one fault. Gives the child's exit code. */
static int act_with_fault(struct folder *f, const struct scenario *s, enum fault fault, int error, int n)
{
    int wait_status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        int status;
        if (folder_init_port(f, f->root) != 0) {
            _exit(CHILD_INIT);
        }
        sim.fault = fault;
        sim.error = error;
        sim.at = n;
        sim.count = 0;
        sim.armed = 1;
        status = s->act(f);
        sim.armed = 0;
        if (status == 0 || fault != FAIL || sim.count < n || f->port.last_error(f->port.ctx) == error) {
            _exit((status != 0 ? CHILD_FAILED : 0) | (sim.count >= n ? CHILD_REACHED : 0));
        }
        _exit(CHILD_INIT); /* it failed for another reason than the fault */
    }
    must(pid > 0 && waitpid(pid, &wait_status, 0) == pid, "waitpid");
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
}

/* One fault, then the same again without. 0 when the scenario has fewer than n calls. */
static int one_fault(const struct scenario *s, enum fault fault, int error, int n)
{
    static char name[128];
    struct folder f;
    int code;
    snprintf(name, sizeof(name), "%s, fault %d (errno %d) at call %d", s->name, (int)fault, error, n);
    check_case = name;
    folder_open(&f);
    s->prepare(&f);
    ota_posix_close(f.workspace);
    code = act_with_fault(&f, s, fault, error, n);
    if (fault == CUT) {
        CHECK(code == CUT_CODE || code == 0);
    } else if (fault == FAIL) {
        CHECK(code == CHILD_REACHED || code == (CHILD_REACHED | CHILD_FAILED) || code == 0);
    } else {
        CHECK(code == CHILD_REACHED || code == 0); /* an interrupted call is made again, a short one goes on */
    }
    CHECK(s->is_old(&f) || s->is_new(&f));
    if (code == 0 || code == CHILD_REACHED) {
        CHECK(s->is_new(&f)); /* success is only said when it is done */
    }
    must(folder_init_port(&f, f.root) == 0, "init");
    CHECK_INT(s->act(&f), 0);
    CHECK(s->is_new(&f));
    CHECK(no_leftover(&f, "root"));
    CHECK(no_leftover(&f, "root/d"));
    folder_close(&f);
    return code != 0;
}

static int can_run(const struct scenario *s)
{
    struct folder f;
    int ok;
    if (s->act != replace_all_meta) {
        return 1;
    }
    folder_open(&f);
    put_file(&f, "root/f", "x");
    ok = geteuid() == 0 && setxattr(host(&f, "root/f"), "user.a", "1", 1, 0) == 0;
    folder_close(&f);
    if (!ok) {
        printf("skipped: %s (needs root and extended attributes)\n", s->name);
    }
    return ok;
}

/* What is durable after a power cut depends on this: content and meta data before the rename, the folder after it. */
static void test_order(const struct scenario *s)
{
    struct folder f;
    check_case = s->name;
    folder_open(&f);
    s->prepare(&f);
    memset(&sim, 0, sizeof(sim));
    sim.armed = 1;
    CHECK_INT(s->act(&f), 0);
    sim.armed = 0;
    CHECK(s->is_new(&f) && !s->is_old(&f));
    CHECK(strcmp(sim.log, s->order) == 0);
    if (strcmp(sim.log, s->order) != 0) {
        fprintf(stderr, "    made: %s, must be: %s\n", sim.log, s->order);
    }
    memset(&sim, 0, sizeof(sim));
    folder_close(&f);
}

/* What a killed run left in the page cache is brought to the medium before it is compared: a target that looks right
 * is skipped, and the image it was copied from is then deleted. */
static void test_before_skipping(void)
{
    struct folder f;
    struct ota_flash fl;
    check_case = "sync before a target is looked at";
    folder_open(&f);
    put_file(&f, "root/part", "content");
    must(build_image(&f) == 0, "image");
    memset(&sim, 0, sizeof(sim));
    sim.armed = 1;
    CHECK_INT(f.port.node_open(f.port.ctx, OTA_SLOT_TARGET, "/part", 5, 0, &fl), 0);
    CHECK(strcmp(sim.log, "F") == 0);
    CHECK_INT(fl.sync(fl.ctx), 0);
    CHECK(strcmp(sim.log, "FF") == 0);
    CHECK_INT(f.port.image_open(f.port.ctx, OTA_SLOT_COPY, image_digest, &(uint64_t){5}), 0);
    CHECK(strcmp(sim.log, "FFFD") == 0);
    sim.armed = 0;
    CHECK_INT(f.port.node_close(f.port.ctx, OTA_SLOT_TARGET), 0);
    memset(&sim, 0, sizeof(sim));
    sim.fault = FAIL;
    sim.error = EIO;
    sim.at = 3; /* after the root is passed: the node itself, then its sync */
    sim.armed = 1;
    CHECK_INT(f.port.node_open(f.port.ctx, OTA_SLOT_TARGET, "/part", 5, 0, &fl), -OTA_E_IO);
    sim.armed = 0;
    memset(&sim, 0, sizeof(sim));
    folder_close(&f);
}

/* The first look at a file system syncs all of it, the second does not. */
static void test_settle(void)
{
    struct folder f;
    int status;
    int i;
    check_case = "a file system is synced when it is first looked at";
    folder_open(&f);
    synced = 0;
    for (i = 0; i < 3; i++) {
        (void)stat_of(&f, at("x"), &status);
        CHECK_INT(status, 0);
        CHECK_INT(synced, 1);
    }
    folder_close(&f);
}

int main(void)
{
    static const struct {
        enum fault fault;
        int error;
    } faults[] = {{FAIL, EIO}, {FAIL, ENOSPC}, {CUT, 0}, {INTERRUPT, 0}, {SHORT, 0}};
    size_t i;
    size_t k;
    for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (!can_run(&scenarios[i])) {
            continue;
        }
        test_order(&scenarios[i]);
        for (k = 0; k < sizeof(faults) / sizeof(faults[0]); k++) {
            int n = 1;
            while (one_fault(&scenarios[i], faults[k].fault, faults[k].error, n) && faults[k].fault != SHORT) {
                n++;
            }
            CHECK(n > 2 || faults[k].fault == SHORT); /* the walk has walked */
        }
    }
    test_before_skipping();
    test_settle();
    return check_done();
}
