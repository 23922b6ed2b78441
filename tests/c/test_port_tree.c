// links: port core
/* The tree callbacks of the Linux port: what they do, and that nothing leads out of the apply root. */
#include <grp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "check.h"
#include "port_folder.h"

static void test_stat(void)
{
    struct folder f;
    struct ota_stat st;
    int status;
    check_case = "stat";
    folder_open(&f);
    put_file(&f, "root/file", "four");
    must(chmod(host(&f, "root/file"), 04751) == 0, "chmod");
    put_dir(&f, "root/dir");
    put_link(&f, "root/link", "dir");
    must(mkfifo(host(&f, "root/pipe"), 0600) == 0, "mkfifo");
    must(link(host(&f, "root/file"), host(&f, "root/dir/hard")) == 0, "link");

    st = stat_of(&f, at("file"), &status);
    CHECK_INT(status, 0);
    CHECK_INT(st.type, OTA_FILE);
    CHECK_INT(st.mode, 04751);
    CHECK_INT(st.size, 4);
    CHECK_INT(st.nlink, 2);
    CHECK_INT(st.ino, lstat_of(&f, "root/file").st_ino);
    CHECK_INT(st.dev, lstat_of(&f, "root/file").st_dev);
    CHECK_INT(st.uid, geteuid());
    CHECK_INT(stat_of(&f, at("dir"), &status).type, OTA_DIR);
    CHECK_INT(stat_of(&f, at("link"), &status).type, OTA_SYMLINK);
    CHECK_INT(stat_of(&f, at("pipe"), &status).type, OTA_OTHER);
    CHECK_INT(stat_of(&f, at("dir/hard"), &status).type, OTA_FILE);
    CHECK_INT(stat_of(&f, at("none"), &status).type, OTA_ABSENT);
    CHECK_INT(status, 0);
    /* whatever is wrong with a parent: the target is not there */
    CHECK_INT(stat_of(&f, at("none/x/y"), &status).type, OTA_ABSENT);
    CHECK_INT(status, 0);
    CHECK_INT(stat_of(&f, at("file/x"), &status).type, OTA_ABSENT);
    CHECK_INT(status, 0);
    CHECK_INT(stat_of(&f, at("link/hard"), &status).type, OTA_ABSENT);
    CHECK_INT(status, 0);
    CHECK_INT(stat_of(&f, at_root("/none", "x"), &status).type, OTA_ABSENT);
    CHECK_INT(status, 0);
    folder_close(&f);
}

static void test_bad_paths(void)
{
    static const char *const bad[] = {"",
                                      "/",
                                      "a//b",
                                      "a/",
                                      "/a",
                                      ".",
                                      "..",
                                      "../x",
                                      "a/..",
                                      "a/../b",
                                      "a/./b",
                                      "./a",
                                      ".otastream-new",
                                      "a/.otastream-new",
                                      ".otastream-new/a"};
    struct folder f;
    char deep[2 * OTA_DEPTH_MAX + 2];
    char wide[OTA_NAME_MAX + 2];
    struct ota_meta m = with_mode(0644);
    struct ota_path p;
    size_t i;
    int status;
    folder_open(&f);
    put_dir(&f, "root/a");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_case = bad[i];
        (void)stat_of(&f, at(bad[i]), &status);
        CHECK_INT(status, -OTA_E_PATH);
        CHECK_INT(stage(&f, at(bad[i]), "x", &m), -OTA_E_PATH);
    }
    check_case = "bad paths";
    p = at("a/b");
    p.path_len = 3;
    p.path = "a\0b";
    CHECK_INT(f.port.make_dir(f.port.ctx, &p, &m), -OTA_E_PATH);
    p = at("a");
    p.root = "a";
    CHECK_INT(f.port.make_dir(f.port.ctx, &p, &m), -OTA_E_PATH);

    for (i = 0; i <= OTA_DEPTH_MAX; i++) { /* one component too many */
        deep[2 * i] = 'd';
        deep[2 * i + 1] = '/';
    }
    deep[2 * OTA_DEPTH_MAX + 1] = '\0';
    (void)stat_of(&f, at(deep), &status);
    CHECK_INT(status, -OTA_E_PATH);
    memset(wide, 'w', sizeof(wide));
    wide[OTA_NAME_MAX + 1] = '\0';
    (void)stat_of(&f, at(wide), &status);
    CHECK_INT(status, -OTA_E_PATH);
    folder_close(&f);
}

/* Everything of a path that a package could do to get out of the root. "outside" must stay as it is. */
static void test_escapes(void)
{
    struct folder f;
    struct ota_meta m = with_mode(0644);
    struct ota_path a;
    struct ota_path b;
    struct ota_port *o;
    uint64_t size;
    int status;
    folder_open(&f);
    o = &f.port;
    put_dir(&f, "outside");
    put_file(&f, "outside/secret", "secret");
    put_dir(&f, "root/real");
    put_file(&f, "root/mine", "mine");
    put_link(&f, "root/up", "../outside");
    put_link(&f, "root/abs", host(&f, "outside"));
    put_link(&f, "root/inner", "real");
    put_link(&f, "root/file", "../outside/secret");

    check_case = "a link as parent";
    CHECK_INT(stage(&f, at("up/new"), "x", &m), -OTA_E_PATH);
    CHECK_INT(stage(&f, at("abs/new"), "x", &m), -OTA_E_PATH);
    CHECK_INT(stage(&f, at("inner/new"), "x", &m), -OTA_E_PATH); /* even one that stays inside */
    a = at("up/dir");
    CHECK_INT(o->make_dir(o->ctx, &a, &m), -OTA_E_PATH);
    CHECK_INT(o->symlink(o->ctx, &a, "x", 1, NULL), -OTA_E_PATH);
    a = at("up/secret");
    CHECK_INT(o->set_meta(o->ctx, &a, &m), -OTA_E_PATH);
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &a, &size), -OTA_E_PATH);
    CHECK_INT(o->remove(o->ctx, &a, 0), 0); /* beneath the root there is no such file */
    b = at("mine");
    CHECK_INT(o->rename(o->ctx, &b, &a), -OTA_E_PATH);
    CHECK_INT(o->rename(o->ctx, &a, &b), -OTA_E_PATH);
    CHECK_INT(o->hard_link(o->ctx, &b, &a), -OTA_E_PATH);
    CHECK_INT(o->hard_link(o->ctx, &a, &b), -OTA_E_PATH);

    check_case = "a link as target";
    a = at("file");
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &a, &size), -OTA_E_TARGET);
    CHECK_INT(o->set_meta(o->ctx, &a, &m), 0); /* a link has no mode: nothing to do, and nothing outside is touched */
    CHECK_INT(stage(&f, at("file"), "new", &m), 0); /* the link is replaced, not followed */
    CHECK(holds(&f, "root/file", "new"));

    check_case = "outside is untouched";
    CHECK(holds(&f, "outside/secret", "secret"));
    CHECK_INT(lstat_of(&f, "outside/secret").st_nlink, 1);
    CHECK_INT(lstat_of(&f, "outside/secret").st_mode & 07777, 0644);
    CHECK(holds(&f, "outside/new", NULL));
    CHECK(holds(&f, "outside/dir", NULL));
    CHECK(no_leftover(&f, "outside"));
    CHECK(holds(&f, "root/mine", "mine"));
    CHECK(no_leftover(&f, "root"));
    CHECK(no_leftover(&f, "root/real"));

    check_case = "a link put under the staging name";
    put_link(&f, "root/.otastream-new", "../outside/secret");
    CHECK_INT(stage(&f, at("mine"), "new", &m), 0);
    CHECK(holds(&f, "root/mine", "new"));
    CHECK(holds(&f, "outside/secret", "secret"));

    check_case = "the folder is exchanged while a file is staged";
    a = at("real/f");
    CHECK_INT(o->stage_begin(o->ctx, &a, 1), 0);
    CHECK_INT(o->stage_write(o->ctx, (const uint8_t *)"x", 1), 0);
    must(rename(host(&f, "root/real"), host(&f, "root/moved")) == 0, "rename");
    put_link(&f, "root/real", "../outside");
    status = o->stage_commit(o->ctx, &a, &m);
    CHECK_INT(status, -OTA_E_PATH);
    CHECK(holds(&f, "outside/f", NULL));
    CHECK(no_leftover(&f, "root/moved"));
    must(unlink(host(&f, "root/real")) == 0, "unlink");
    put_dir(&f, "root/real");
    a = at("real/f");
    CHECK_INT(o->stage_begin(o->ctx, &a, 1), 0);
    must(rmdir(host(&f, "root/moved")) == 0 && rename(host(&f, "root/real"), host(&f, "root/moved")) == 0, "rename");
    put_dir(&f, "root/real");
    CHECK_INT(o->stage_commit(o->ctx, &a, &m), -OTA_E_CHANGED);
    CHECK(holds(&f, "root/real/f", NULL));
    CHECK(no_leftover(&f, "root/moved"));
    folder_close(&f);
}

/* The root part of a path passes through links, resolved inside the apply root. */
static void test_root_links(void)
{
    struct folder f;
    struct ota_meta m = with_mode(0644);
    char name[64];
    char text[64];
    int i;
    int status;
    folder_open(&f);
    check_case = "links in the root part";
    put_dir(&f, "root/mnt");
    put_dir(&f, "root/mnt/flash");
    put_dir(&f, "root/mnt/flash/config");
    put_link(&f, "root/config", "/mnt/flash/config"); /* absolute: from the apply root */
    put_link(&f, "root/mnt/rel", "../mnt/./flash//config/");
    put_link(&f, "root/mnt/out", "../../../../../../mnt/flash"); /* ".." stops at the apply root */
    put_link(&f, "root/top", "/");
    put_link(&f, "root/loop", "loop2");
    put_link(&f, "root/loop2", "/loop");
    put_file(&f, "root/plain", "x");

    CHECK_INT(stage(&f, at_root("/config", "a"), "1", &m), 0);
    CHECK(holds(&f, "root/mnt/flash/config/a", "1"));
    CHECK_INT(stage(&f, at_root("/mnt/rel", "b"), "2", &m), 0);
    CHECK(holds(&f, "root/mnt/flash/config/b", "2"));
    CHECK_INT(stage(&f, at_root("/mnt/out/config", "c"), "3", &m), 0);
    CHECK(holds(&f, "root/mnt/flash/config/c", "3"));
    CHECK_INT(stage(&f, at_root("/top/top/config", "d"), "4", &m), 0);
    CHECK(holds(&f, "root/mnt/flash/config/d", "4"));
    CHECK_INT(stage(&f, at_root("/loop", "e"), "5", &m), -OTA_E_PATH);
    CHECK_INT(f.port.last_error(f.port.ctx), ELOOP);
    CHECK_INT(stage(&f, at_root("/plain", "e"), "5", &m), -OTA_E_PATH);
    CHECK_INT(stage(&f, at_root("/absent", "e"), "5", &m), -OTA_E_MISSING);
    CHECK_INT(f.port.last_error(f.port.ctx), ENOENT);
    (void)stat_of(&f, at_root("/loop", "x"), &status);
    CHECK_INT(status, -OTA_E_PATH);

    check_case = "a chain of 40 links holds, one of 41 does not";
    put_link(&f, "root/l0", "mnt");
    for (i = 1; i <= 40; i++) {
        snprintf(name, sizeof(name), "root/l%d", i);
        snprintf(text, sizeof(text), "l%d", i - 1);
        put_link(&f, name, text);
    }
    CHECK_INT(stage(&f, at_root("/l39", "chain"), "6", &m), 0);
    CHECK(holds(&f, "root/mnt/chain", "6"));
    CHECK_INT(stage(&f, at_root("/l40", "chain"), "7", &m), -OTA_E_PATH);
    CHECK(holds(&f, "root/mnt/chain", "6"));
    folder_close(&f);
}

static void test_stage(void)
{
    struct folder f;
    struct ota_meta m = with_mode(04755);
    struct ota_port *o;
    struct ota_path p = at("d/f");
    mode_t old_mask = umask(077);
    folder_open(&f);
    o = &f.port;
    put_dir(&f, "root/d");

    check_case = "a new file, whatever the umask";
    CHECK_INT(stage(&f, p, "new", &m), 0);
    CHECK(holds(&f, "root/d/f", "new"));
    CHECK_INT(lstat_of(&f, "root/d/f").st_mode & 07777, 04755);
    CHECK(no_leftover(&f, "root/d"));

    check_case = "the staged file is private until it is complete";
    put_file(&f, "root/d/.otastream-new", "left by a cut");
    CHECK_INT(o->stage_begin(o->ctx, &p, 2), 0);
    CHECK_INT(lstat_of(&f, "root/d/.otastream-new").st_mode & 07777, 0600);
    CHECK_INT(lstat_of(&f, "root/d/.otastream-new").st_size, 0);
    CHECK_INT(o->stage_write(o->ctx, (const uint8_t *)"ab", 2), 0);
    CHECK(holds(&f, "root/d/f", "new"));
    o->stage_abort(o->ctx);
    o->stage_abort(o->ctx);
    CHECK(holds(&f, "root/d/f", "new"));
    CHECK(no_leftover(&f, "root/d"));
    CHECK_INT(o->stage_write(o->ctx, (const uint8_t *)"ab", 2), -OTA_E_INTERNAL);
    CHECK_INT(o->stage_commit(o->ctx, &p, &m), -OTA_E_INTERNAL);

    check_case = "without mode, that of the file that was there";
    m.set = 0;
    CHECK_INT(stage(&f, p, "two", &m), 0);
    CHECK_INT(lstat_of(&f, "root/d/f").st_mode & 07777, 04755);

    check_case = "another name of the old content keeps it";
    must(link(host(&f, "root/d/f"), host(&f, "root/d/other")) == 0, "link");
    CHECK_INT(stage(&f, p, "three", &m), 0);
    CHECK(holds(&f, "root/d/other", "two"));
    CHECK(holds(&f, "root/d/f", "three"));

    check_case = "a folder is not replaced by a file";
    put_dir(&f, "root/d/sub");
    CHECK_INT(stage(&f, at("d/sub"), "x", &m), -OTA_E_TARGET);
    CHECK(no_leftover(&f, "root/d"));
    CHECK_INT(stage(&f, at("none/f"), "x", &m), -OTA_E_MISSING);
    CHECK_INT(stage(&f, at("d/f/x"), "x", &m), -OTA_E_PATH);

    check_case = "close drops what is half made";
    CHECK_INT(o->stage_begin(o->ctx, &p, 2), 0);
    ota_posix_close(f.workspace);
    CHECK(no_leftover(&f, "root/d"));
    CHECK(holds(&f, "root/d/f", "three"));
    folder_close(&f);
    (void)umask(old_mask);
}

static void test_owner(void)
{
    struct folder f;
    struct ota_meta m = with_mode(06755);
    struct ota_path p;
    struct stat st;
    check_case = "owner";
    if (geteuid() != 0) {
        printf("skipped: owners can only be tested as root\n");
        return;
    }
    folder_open(&f);
    put_file(&f, "root/f", "old");
    must(lchown(host(&f, "root/f"), 1234, 4321) == 0, "lchown");
    CHECK_INT(stage(&f, at("f"), "new", &m), 0);
    st = lstat_of(&f, "root/f");
    CHECK_INT(st.st_uid, 1234); /* that of the file that was there */
    CHECK_INT(st.st_gid, 4321);
    CHECK_INT(st.st_mode & 07777, 06755);
    m.set |= OTA_META_OWNER;
    m.uid = 5;
    m.gid = 6;
    CHECK_INT(stage(&f, at("f"), "three", &m), 0);
    st = lstat_of(&f, "root/f");
    CHECK_INT(st.st_uid, 5);
    CHECK_INT(st.st_gid, 6);
    CHECK_INT(st.st_mode & 07777, 06755); /* set after the owner, which clears setuid */
    m.uid = 7;
    m.set = OTA_META_OWNER; /* the mode that is there stays, setuid included */
    p = at("f");
    CHECK_INT(f.port.set_meta(f.port.ctx, &p, &m), 0);
    CHECK_INT(lstat_of(&f, "root/f").st_uid, 7);
    CHECK_INT(lstat_of(&f, "root/f").st_mode & 07777, 06755);
    p = at("dir");
    CHECK_INT(f.port.make_dir(f.port.ctx, &p, &m), 0);
    CHECK_INT(lstat_of(&f, "root/dir").st_uid, 7);
    p = at("link");
    CHECK_INT(f.port.symlink(f.port.ctx, &p, "f", 1, &m), 0);
    CHECK_INT(lstat_of(&f, "root/link").st_uid, 7);
    m.uid = 8;
    CHECK_INT(f.port.set_meta(f.port.ctx, &p, &m), 0);
    CHECK_INT(lstat_of(&f, "root/link").st_uid, 8);
    CHECK_INT(lstat_of(&f, "root/f").st_uid, 7);
    folder_close(&f);
}

static int has_xattr(const struct folder *f, const char *rel, const char *name, const char *value)
{
    char got[256];
    ssize_t n = getxattr(host(f, rel), name, got, sizeof(got));
    if (value == NULL) {
        return n < 0 && errno == ENODATA;
    }
    return n == (ssize_t)strlen(value) && memcmp(got, value, (size_t)n) == 0;
}

static void test_xattrs(void)
{
    /* CBOR: [[h'user.a', h'1'], [h'user.b', h'']] */
    static const uint8_t two[] = {0x82, 0x82, 0x46, 'u', 's', 'e', 'r', '.', 'a', 0x41,
                                  '1',  0x82, 0x46, 'u', 's', 'e', 'r', '.', 'b', 0x40};
    static const uint8_t none[] = {0x80};
    struct folder f;
    struct ota_meta m = with_mode(0644);
    struct ota_path p = at("f");
    struct stat before;
    struct stat after;
    struct timespec nap = {0, 20000000};
    check_case = "xattrs";
    folder_open(&f);
    put_file(&f, "root/f", "x");
    if (setxattr(host(&f, "root/f"), "user.old", "o", 1, 0) != 0) {
        printf("skipped: no extended attributes on the file system of the test\n");
        folder_close(&f);
        return;
    }
    must(setxattr(host(&f, "root/f"), "user.a", "0", 1, 0) == 0, "setxattr");
    m.set |= OTA_META_XATTRS;
    m.xattrs = two;
    m.xattrs_len = sizeof(two);
    CHECK_INT(f.port.set_meta(f.port.ctx, &p, &m), 0);
    CHECK(has_xattr(&f, "root/f", "user.a", "1"));
    CHECK(has_xattr(&f, "root/f", "user.b", ""));
    CHECK(has_xattr(&f, "root/f", "user.old", NULL));

    check_case = "what is right is not written again";
    before = lstat_of(&f, "root/f");
    nanosleep(&nap, NULL);
    CHECK_INT(f.port.set_meta(f.port.ctx, &p, &m), 0);
    after = lstat_of(&f, "root/f");
    CHECK(before.st_ctim.tv_sec == after.st_ctim.tv_sec && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec);

    check_case = "xattrs of a staged file";
    CHECK_INT(stage(&f, at("f"), "y", &m), 0);
    CHECK(has_xattr(&f, "root/f", "user.a", "1"));
    CHECK(has_xattr(&f, "root/f", "user.b", ""));
    if (geteuid() == 0 && setxattr(host(&f, "root/f"), "trusted.t", "t", 1, 0) == 0) {
        static const uint8_t cap[20] = {1, 0, 0, 2, 0, 4}; /* VFS_CAP_REVISION_2: cap_net_bind_service, permitted */
        must(setxattr(host(&f, "root/f"), "security.capability", cap, sizeof(cap), 0) == 0, "security.capability");
        must(setxattr(host(&f, "root/f"), "security.other", "s", 1, 0) == 0, "security.other");
        m.xattrs = none;
        m.xattrs_len = sizeof(none);
        CHECK_INT(f.port.set_meta(f.port.ctx, &p, &m), 0);
        CHECK(has_xattr(&f, "root/f", "trusted.t", NULL));
        CHECK(has_xattr(&f, "root/f", "security.capability", NULL));
        CHECK(has_xattr(&f, "root/f", "user.a", NULL));
        CHECK(has_xattr(&f, "root/f", "security.other", "s")); /* not ours to decide */
    }
    folder_close(&f);
}

static void test_dirs_and_remove(void)
{
    struct folder f;
    struct ota_port *o;
    struct ota_meta m = with_mode(02775);
    struct ota_path p = at("d");
    mode_t old_mask = umask(077);
    folder_open(&f);
    o = &f.port;
    check_case = "make_dir";
    CHECK_INT(o->make_dir(o->ctx, &p, &m), 0);
    CHECK_INT(lstat_of(&f, "root/d").st_mode & 07777, 02775);
    m.mode = 0700;
    CHECK_INT(o->make_dir(o->ctx, &p, &m), 0); /* there already: its meta data is set */
    CHECK_INT(lstat_of(&f, "root/d").st_mode & 07777, 0700);
    p = at("none/d");
    CHECK_INT(o->make_dir(o->ctx, &p, &m), -OTA_E_MISSING);
    put_file(&f, "root/file", "x");
    p = at("file");
    CHECK_INT(o->make_dir(o->ctx, &p, &m), -OTA_E_TARGET);
    put_link(&f, "root/link", "d");
    p = at("link");
    CHECK_INT(o->make_dir(o->ctx, &p, &m), -OTA_E_TARGET);

    check_case = "remove";
    p = at("file");
    CHECK_INT(o->remove(o->ctx, &p, 1), 0); /* not a folder: nothing of that type is there */
    CHECK(holds(&f, "root/file", "x"));
    CHECK_INT(o->remove(o->ctx, &p, 0), 0);
    CHECK(holds(&f, "root/file", NULL));
    CHECK_INT(o->remove(o->ctx, &p, 0), 0);
    CHECK_INT(o->remove(o->ctx, &p, 1), 0);
    p = at("link");
    CHECK_INT(o->remove(o->ctx, &p, 0), 0);
    CHECK(holds(&f, "root/link", NULL));
    p = at("d");
    CHECK_INT(o->remove(o->ctx, &p, 0), 0);
    CHECK(S_ISDIR(lstat_of(&f, "root/d").st_mode));
    put_file(&f, "root/d/.otastream-new", "left by a cut");
    put_file(&f, "root/d/kept", "k");
    CHECK_INT(o->remove(o->ctx, &p, 1), 1);
    CHECK(holds(&f, "root/d/kept", "k"));
    must(unlink(host(&f, "root/d/kept")) == 0, "unlink");
    put_file(&f, "root/d/.otastream-new", "left by a cut");
    CHECK_INT(o->remove(o->ctx, &p, 1), 0);
    CHECK(holds(&f, "root/d", NULL));
    p = at("none/x");
    CHECK_INT(o->remove(o->ctx, &p, 0), 0);
    folder_close(&f);
    (void)umask(old_mask);
}

static void test_links(void)
{
    struct folder f;
    struct ota_port *o;
    struct ota_path p = at("link");
    struct ota_path q;
    char buf[OTA_PATH_MAX];
    char longest[OTA_PATH_MAX];
    size_t len;
    folder_open(&f);
    o = &f.port;
    check_case = "symbolic links";
    CHECK_INT(o->symlink(o->ctx, &p, "some/where", 10, NULL), 0);
    CHECK_INT(o->read_link(o->ctx, &p, buf, sizeof(buf), &len), 0);
    CHECK(len == 10 && memcmp(buf, "some/where", 10) == 0);
    CHECK_INT(o->read_link(o->ctx, &p, buf, 10, &len), -OTA_E_PATH); /* it might have been cut */
    CHECK_INT(o->symlink(o->ctx, &p, "other", 5, NULL), 0);          /* over a link */
    CHECK_INT(o->read_link(o->ctx, &p, buf, sizeof(buf), &len), 0);
    CHECK(len == 5 && memcmp(buf, "other", 5) == 0);
    memset(longest, 'l', sizeof(longest));
    CHECK_INT(o->symlink(o->ctx, &p, longest, OTA_PATH_MAX - 1, NULL), 0);
    CHECK_INT(o->read_link(o->ctx, &p, buf, sizeof(buf), &len), 0);
    CHECK_INT(len, OTA_PATH_MAX - 1);
    CHECK_INT(o->symlink(o->ctx, &p, longest, OTA_PATH_MAX, NULL), -OTA_E_PATH);
    CHECK_INT(o->symlink(o->ctx, &p, "a\0b", 3, NULL), -OTA_E_PATH);
    CHECK_INT(o->symlink(o->ctx, &p, "", 0, NULL), -OTA_E_PATH);
    put_file(&f, "root/file", "f");
    q = at("file");
    CHECK_INT(o->read_link(o->ctx, &q, buf, sizeof(buf), &len), -OTA_E_TARGET);
    q = at("none");
    CHECK_INT(o->read_link(o->ctx, &q, buf, sizeof(buf), &len), -OTA_E_MISSING);
    put_dir(&f, "root/dir");
    q = at("dir");
    CHECK_INT(o->symlink(o->ctx, &q, "x", 1, NULL), -OTA_E_TARGET);
    CHECK(no_leftover(&f, "root"));

    check_case = "hard links";
    p = at("dir/h");
    q = at("file");
    put_file(&f, "root/dir/.otastream-new", "left by a cut");
    CHECK_INT(o->hard_link(o->ctx, &p, &q), 0);
    CHECK_INT(lstat_of(&f, "root/dir/h").st_ino, lstat_of(&f, "root/file").st_ino);
    /* once more: a rename between two names of one file would do nothing and leave the staging name */
    put_file(&f, "root/dir/.otastream-new", "left by a cut");
    CHECK_INT(o->hard_link(o->ctx, &p, &q), 0);
    CHECK_INT(lstat_of(&f, "root/file").st_nlink, 2);
    CHECK(no_leftover(&f, "root/dir"));
    put_file(&f, "root/dir/h2", "other");
    p = at("dir/h2");
    CHECK_INT(o->hard_link(o->ctx, &p, &q), 0);
    CHECK(holds(&f, "root/dir/h2", "f"));
    CHECK_INT(lstat_of(&f, "root/file").st_nlink, 3);
    q = at("gone");
    CHECK_INT(o->hard_link(o->ctx, &p, &q), -OTA_E_MISSING);
    CHECK(holds(&f, "root/dir/h2", "f"));
    CHECK(no_leftover(&f, "root/dir"));

    check_case = "rename";
    p = at("dir/h2");
    q = at("file");
    CHECK_INT(o->rename(o->ctx, &p, &q), 0); /* two names of one file: the old one goes */
    CHECK(holds(&f, "root/dir/h2", NULL));
    CHECK(holds(&f, "root/file", "f"));
    CHECK_INT(o->rename(o->ctx, &q, &q), 0); /* onto itself: it stays */
    CHECK(holds(&f, "root/file", "f"));
    put_link(&f, "root/again", "/");
    p = at_root("/again", "file");
    CHECK_INT(o->rename(o->ctx, &p, &q), 0); /* the same by another path, and it has a second name */
    CHECK(holds(&f, "root/file", "f"));
    put_file(&f, "root/new", "n");
    p = at("new");
    CHECK_INT(o->rename(o->ctx, &p, &q), 0);
    CHECK(holds(&f, "root/file", "n"));
    CHECK(holds(&f, "root/new", NULL));
    CHECK_INT(o->rename(o->ctx, &p, &q), -OTA_E_MISSING);
    p = at("dir");
    CHECK_INT(o->rename(o->ctx, &q, &p), -OTA_E_TARGET);
    folder_close(&f);
}

static void test_open(void)
{
    struct folder f;
    struct ota_port *o;
    struct ota_path p = at("f");
    uint64_t size = 0;
    uint8_t buf[16];
    check_case = "open";
    folder_open(&f);
    o = &f.port;
    put_file(&f, "root/f", "0123456789");
    put_dir(&f, "root/d");
    must(mkfifo(host(&f, "root/pipe"), 0600) == 0, "mkfifo");
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &p, &size), 0);
    CHECK_INT(size, 10);
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_SOURCE, 7, buf, 3), 0);
    CHECK(memcmp(buf, "789", 3) == 0);
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_SOURCE, 8, buf, 3), -OTA_E_INTERNAL);
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_SOURCE, UINT64_MAX, buf, 3), -OTA_E_INTERNAL);
    must(truncate(host(&f, "root/f"), 8) == 0, "truncate");
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_SOURCE, 7, buf, 3), -OTA_E_CHANGED);
    CHECK_INT(o->close(o->ctx, OTA_SLOT_SOURCE), 0);
    CHECK_INT(o->close(o->ctx, OTA_SLOT_SOURCE), 0);
    CHECK_INT(o->read_at(o->ctx, OTA_SLOT_SOURCE, 0, buf, 3), -OTA_E_INTERNAL);
    p = at("d");
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &p, &size), -OTA_E_TARGET);
    p = at("pipe"); /* opening it would hang */
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &p, &size), -OTA_E_TARGET);
    CHECK_INT(o->set_meta(o->ctx, &p, &(struct ota_meta){.set = OTA_META_MODE, .mode = 0644}), -OTA_E_TARGET);
    p = at("none");
    CHECK_INT(o->open(o->ctx, OTA_SLOT_SOURCE, &p, &size), -OTA_E_MISSING);
    CHECK_INT(o->last_error(o->ctx), ENOENT);
    folder_close(&f);
}

static void test_odd_names(void)
{
    static const char *const names[] = {
        " ", " lead and trail ", "new\nline",   "tab\there", "\xff\xfe\x80", "...", "-rf",
        "*", "quote'\"",         "back\\slash", "\xc3\xa4",  "$(reboot)"};
    struct folder f;
    struct ota_meta m = with_mode(0640);
    struct ota_meta dir = with_mode(0750);
    struct ota_path p;
    char widest[OTA_NAME_MAX + 1];
    char text[600];
    uint64_t size;
    size_t i;
    int status;
    folder_open(&f);
    memset(widest, '\xe9', OTA_NAME_MAX);
    widest[OTA_NAME_MAX] = '\0';
    for (i = 0; i <= sizeof(names) / sizeof(names[0]); i++) {
        const char *name = i < sizeof(names) / sizeof(names[0]) ? names[i] : widest;
        check_case = name;
        p = at(name);
        CHECK_INT(f.port.make_dir(f.port.ctx, &p, &dir), 0);
        snprintf(text, sizeof(text), "%s/%s", name, name);
        CHECK_INT(stage(&f, at(text), name, &m), 0);
        p = at(text);
        CHECK_INT(f.port.open(f.port.ctx, OTA_SLOT_SOURCE, &p, &size), 0);
        CHECK_INT(size, strlen(name));
        CHECK_INT(stat_of(&f, p, &status).mode, 0640);
        CHECK_INT(f.port.remove(f.port.ctx, &p, 0), 0);
        p = at(name);
        CHECK_INT(f.port.remove(f.port.ctx, &p, 1), 0);
        CHECK_INT(stat_of(&f, p, &status).type, OTA_ABSENT);
    }
    folder_close(&f);
}

static void test_deep_tree(void)
{
    struct folder f;
    struct ota_meta m = with_mode(0755);
    struct ota_path p;
    char deep[2 * OTA_DEPTH_MAX];
    unsigned i;
    check_case = "64 components";
    folder_open(&f);
    for (i = 0; i < OTA_DEPTH_MAX; i++) {
        deep[2 * i] = 'd';
        deep[2 * i + 1] = '\0';
        p = at(deep);
        if (i + 1 < OTA_DEPTH_MAX) {
            CHECK_INT(f.port.make_dir(f.port.ctx, &p, &m), 0);
            deep[2 * i + 1] = '/';
        }
    }
    CHECK_INT(stage(&f, at(deep), "deep", &m), 0);
    check_case = "nothing stays open";
    {
        int fd = dup(0);
        CHECK(fd >= 0 && fd < 12); /* stdio, the two folders, and what a sanitizer may hold */
        close(fd);
    }
    folder_close(&f);
}

static void test_free_space(void)
{
    struct folder f;
    struct ota_path p = at("not/yet/there");
    uint64_t fs = 0;
    uint64_t bytes = 0;
    uint32_t unit = 0;
    check_case = "free space";
    folder_open(&f);
    put_link(&f, "root/loop", "loop");
    CHECK_INT(f.port.free_space(f.port.ctx, &p, &fs, &bytes, &unit), 0);
    CHECK_INT(fs, lstat_of(&f, "root").st_dev);
    CHECK(bytes > 0 && unit >= 512);
    p = at_root("/missing", "x");
    CHECK_INT(f.port.free_space(f.port.ctx, &p, &fs, &bytes, &unit), 0);
    p = at_root("/", "../x");
    CHECK_INT(f.port.free_space(f.port.ctx, &p, &fs, &bytes, &unit), -OTA_E_PATH);
    CHECK_INT(f.port.free_space(f.port.ctx, NULL, &fs, &bytes, &unit), 0);
    CHECK_INT(fs, lstat_of(&f, "tmp").st_dev);
    folder_close(&f);
}

/* A file system that is really full. Needs a mount of its own; without that right, a limit on file sizes makes the
 * same calls fail, with another errno. */
static void test_no_space(void)
{
    struct folder f;
    struct ota_meta m = with_mode(0644);
    struct ota_path p = at("small/f");
    struct ota_port *o;
    static uint8_t block[65536];
    uint64_t fs;
    uint64_t bytes;
    uint32_t unit;
    int status = 0;
    int i;
    check_case = "no space";
    memset(block, 7, sizeof(block));
    folder_open(&f);
    o = &f.port;
    put_dir(&f, "root/small");
    if (mount("none", host(&f, "root/small"), "tmpfs", 0, "size=256k") == 0) {
        put_file(&f, "root/small/f", "old");
        CHECK_INT(o->free_space(o->ctx, &p, &fs, &bytes, &unit), 0);
        CHECK(bytes <= 256 * 1024 && bytes > 128 * 1024);
        CHECK_INT(fs, lstat_of(&f, "root/small").st_dev);
        CHECK_INT(o->stage_begin(o->ctx, &p, 8 * sizeof(block)), 0);
        for (i = 0; i < 8 && status == 0; i++) {
            status = o->stage_write(o->ctx, block, sizeof(block));
        }
        CHECK_INT(status, -OTA_E_SPACE);
        CHECK_INT(o->last_error(o->ctx), ENOSPC);
        o->stage_abort(o->ctx);
        CHECK(holds(&f, "root/small/f", "old"));
        CHECK(no_leftover(&f, "root/small"));
        CHECK_INT(stage(&f, p, "new", &m), 0); /* the room is free again */
        check_case = "moving to another file system";
        put_file(&f, "root/outer", "o");
        {
            struct ota_path from = at("outer");
            CHECK_INT(o->rename(o->ctx, &from, &p), 1);
            CHECK(holds(&f, "root/outer", "o"));
        }
        check_case = "read-only file system";
        must(mount("none", host(&f, "root/small"), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=256k") == 0, "remount");
        CHECK_INT(stage(&f, p, "x", &m), -OTA_E_READONLY);
        CHECK_INT(o->last_error(o->ctx), EROFS);
        CHECK(holds(&f, "root/small/f", "new"));
        must(umount2(host(&f, "root/small"), MNT_DETACH) == 0, "umount");
    } else {
        struct rlimit was;
        struct rlimit low;
        printf("no tmpfs can be mounted here: a limit on file sizes stands for a full file system\n");
        put_file(&f, "root/small/f", "old");
        must(getrlimit(RLIMIT_FSIZE, &was) == 0, "getrlimit");
        low = was;
        low.rlim_cur = 100000;
        signal(SIGXFSZ, SIG_IGN);
        must(setrlimit(RLIMIT_FSIZE, &low) == 0, "setrlimit");
        CHECK_INT(o->stage_begin(o->ctx, &p, 8 * sizeof(block)), 0);
        for (i = 0; i < 8 && status == 0; i++) {
            status = o->stage_write(o->ctx, block, sizeof(block));
        }
        CHECK_INT(status, -OTA_E_IO);
        CHECK_INT(o->last_error(o->ctx), EFBIG);
        o->stage_abort(o->ctx);
        must(setrlimit(RLIMIT_FSIZE, &was) == 0, "setrlimit");
        CHECK(holds(&f, "root/small/f", "old"));
        CHECK(no_leftover(&f, "root/small"));
    }
    folder_close(&f);
}

/* As somebody who may not write there. A child does it, so that the rest of the test stays who it is. */
static void test_not_allowed(void)
{
    struct folder f;
    int wait_status = -1;
    pid_t pid;
    check_case = "not allowed";
    folder_open(&f);
    put_dir(&f, "root/d");
    put_file(&f, "root/d/f", "old");
    put_dir(&f, "root/open");
    put_file(&f, "root/open/f", "root's");
    must(chmod(f.base, 0755) == 0 && chmod(host(&f, "root/d"), 0555) == 0, "chmod");
    must(chmod(host(&f, "root/open"), 0777) == 0, "chmod");
    pid = fork();
    if (pid == 0) {
        struct ota_meta m = with_mode(0600);
        struct ota_path p = at("d/f");
        if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(99);
        }
        check_failed = 0;
        CHECK_INT(stage(&f, p, "new", &m), -OTA_E_READONLY);
        CHECK_INT(f.port.last_error(f.port.ctx), EACCES);
        CHECK_INT(f.port.remove(f.port.ctx, &p, 0), -OTA_E_READONLY);
        /* the owner that was there cannot be kept: fine. One that the package demands cannot be given: an error. */
        CHECK_INT(stage(&f, at("open/f"), "mine", &m), 0);
        CHECK(holds(&f, "root/open/f", "mine"));
        m.set |= OTA_META_OWNER;
        CHECK_INT(stage(&f, at("open/f"), "yours", &m), -OTA_E_READONLY);
        CHECK(holds(&f, "root/open/f", "mine"));
        CHECK(no_leftover(&f, "root/open"));
        _exit(check_failed);
    }
    must(pid > 0 && waitpid(pid, &wait_status, 0) == pid, "waitpid");
    CHECK_INT(wait_status, 0);
    CHECK(holds(&f, "root/d/f", "old"));
    must(chmod(host(&f, "root/d"), 0755) == 0, "chmod");
    folder_close(&f);
}

int main(void)
{
    test_stat();
    test_bad_paths();
    test_escapes();
    test_root_links();
    test_stage();
    test_owner();
    test_xattrs();
    test_dirs_and_remove();
    test_links();
    test_open();
    test_odd_names();
    test_deep_tree();
    test_free_space();
    test_no_space();
    test_not_allowed();
    return check_done();
}
