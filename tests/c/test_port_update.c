// links: port core
/* A whole package through the executor on real files, cut before every system call that changes something, or with
 * that call failing: a second run ends in new, every time. */
#include <sys/wait.h>

#include "check.h"
#include "port_folder.h"
#include "port_sim.h"
#include "records.h"
#include "wire.h"

#define IMAGE_SIZE 150000u
#define WINDOW 4096u

static const char begin_script[] = "test \"$OTA_STATUS\" = 0 || exit 1\necho begun >> \"$OTA_TMP/log\"\n";
static const char end_script[] = "echo ended $OTA_STATUS >> \"$OTA_TMP/log\"\n";
static const char *const needs[] = {"block", "bsdiff", "delete", "dir", "file", "full", "link", "move", "script"};

static uint8_t old_image[IMAGE_SIZE + 5000]; /* the "device" is larger than the image */
static uint8_t new_image[IMAGE_SIZE];
static struct bytes head;
static struct bytes *stream;
static uint64_t workspace[1 << 15];

/* ---- the package ----------------------------------------------------------------------------------------------- */

static void f_content(struct bytes *b, const void *data, size_t len)
{
    f_uint(b, OTA_KEY_SIZE, len);
    f_uint(b, OTA_KEY_DIGEST, xxh(data, len));
}

static struct bytes *tree_rec(unsigned kind, unsigned more, const char *path)
{
    rec(&head, kind, more + 2);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, path);
    return &head;
}

static void expect(const char *path, const char *old, const char *new)
{
    f_uint(tree_rec(OTA_KIND_EXPECT, 3, path), OTA_KEY_TYPE, 1);
    f_state(&head, OTA_KEY_OLD, old);
    f_state(&head, OTA_KEY_NEW, new);
    emit(stream, &head);
}

static void script(unsigned when, const char *text)
{
    f_content(rec(&head, OTA_KIND_SCRIPT, 4), text, strlen(text));
    f_uint(&head, OTA_KEY_ENGINE, OTA_ENGINE_FULL);
    f_uint(&head, OTA_KEY_WHEN, when);
    emit(stream, &head);
    payload(stream, text, strlen(text), 1000);
}

static void file(const char *path, const char *content, unsigned mode)
{
    f_content(tree_rec(OTA_KIND_FILE, 4, path), content, strlen(content));
    f_uint(&head, OTA_KEY_MODE, mode);
    f_uint(&head, OTA_KEY_ENGINE, OTA_ENGINE_FULL);
    emit(stream, &head);
    payload(stream, content, strlen(content), 4);
}

static void put_type(unsigned kind, const char *path, unsigned type)
{
    f_uint(tree_rec(kind, 1, path), OTA_KEY_TYPE, type);
    emit(stream, &head);
}

static void link_to(const char *path, unsigned type, const char *to)
{
    f_bytes(tree_rec(OTA_KIND_LINK, 2, path), OTA_KEY_TO, to);
    f_uint(&head, OTA_KEY_TYPE, type);
    emit(stream, &head);
}

static void move(const char *from, const char *path, const char *content)
{
    f_content(tree_rec(OTA_KIND_MOVE, 4, path), content, strlen(content));
    f_uint(&head, OTA_KEY_MODE, 0640);
    put_head(&head, 0, OTA_KEY_SOURCE);
    put_head(&head, 5, 4);
    f_bytes(&head, OTA_KEY_ROOT, "/config");
    f_bytes(&head, OTA_KEY_PATH, from);
    f_content(&head, content, strlen(content));
    emit(stream, &head);
}

static void targets(const char *node)
{
    put_head(&head, 0, OTA_KEY_TARGETS);
    put_head(&head, 4, 1);
    put_str(&head, 2, node);
}

/* The new image from the old one on the same device. */
static void image_source(int digest)
{
    put_head(&head, 0, OTA_KEY_SOURCE);
    put_head(&head, 5, digest ? 2 : 1);
    f_uint(&head, OTA_KEY_SIZE, IMAGE_SIZE);
    if (digest) {
        f_uint(&head, OTA_KEY_DIGEST, xxh(old_image, IMAGE_SIZE));
    }
}

static void expect_image(void)
{
    f_content(rec(&head, OTA_KIND_EXPECT, 5), new_image, IMAGE_SIZE);
    image_source(1);
    targets("/dev/part");
    f_uint(&head, OTA_KEY_TYPE, 2);
    emit(stream, &head);
}

static void put_varint(struct bytes *b, uint64_t v)
{
    do {
        uint8_t byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        put(b, &byte, 1);
        v >>= 7;
    } while (v > 0);
}

/* One triple: all but the last 1000 bytes are those of old, then literals. */
static void image(void)
{
    static struct bytes delta;
    delta.len = 0;
    put_varint(&delta, IMAGE_SIZE - 1000);
    put_varint(&delta, 1000);
    put_varint(&delta, 0);
    put_varint(&delta, IMAGE_SIZE - 1000);
    put_varint(&delta, 0);
    put(&delta, new_image + IMAGE_SIZE - 1000, 1000);
    f_content(rec(&head, OTA_KIND_BLOCK, 5), new_image, IMAGE_SIZE);
    f_uint(&head, OTA_KEY_ENGINE, OTA_ENGINE_BSDIFF);
    image_source(0);
    targets("/dev/part");
    emit(stream, &head);
    payload(stream, delta.data, delta.len, 333);
}

static void build(void)
{
    size_t i;
    for (i = 0; i < sizeof(old_image); i++) {
        old_image[i] = (uint8_t)(i * i / 251);
    }
    memcpy(new_image, old_image, IMAGE_SIZE);
    memset(new_image + IMAGE_SIZE - 1000, 0xa5, 1000);
    stream = calloc(1, sizeof(*stream));
    must(stream != NULL, "calloc");

    rec(&head, OTA_KIND_MANIFEST, 3);
    f_uint(&head, OTA_KEY_RECORDS, 11);
    f_uint(&head, OTA_KEY_BYTES, 1000);
    put_head(&head, 0, OTA_KEY_NEEDS);
    put_head(&head, 4, sizeof(needs) / sizeof(needs[0]));
    for (i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        put_str(&head, 3, needs[i]);
    }
    emit(stream, &head);
    expect("sub", "-", "/");
    expect("sub/new", "-", "new file");
    expect("a", "a was old", "a is new");
    expect("link", "@old", "@sub/new");
    expect("hard", "hard was old", "a is new");
    expect("from", "this moves", "-");
    expect("sub/to", "-", "this moves");
    expect("gone", "gone soon", "-");
    expect("dir", "/", "*");
    expect_image();
    script(OTA_SCRIPT_END, end_script);
    script(OTA_SCRIPT_BEGIN, begin_script);
    f_uint(tree_rec(OTA_KIND_DIR, 1, "sub"), OTA_KEY_MODE, 0751);
    emit(stream, &head);
    file("sub/new", "new file", 0600);
    file("a", "a is new", 0755);
    link_to("link", 0, "sub/new");
    link_to("hard", 1, "a");
    move("from", "sub/to", "this moves");
    put_type(OTA_KIND_DELETE, "gone", 1);
    put_type(OTA_KIND_DELETE, "dir", 2);
    image();
    emit(stream, rec(&head, OTA_KIND_END, 0));
}

/* ---- the board ------------------------------------------------------------------------------------------------- */

static void old_board(struct folder *f)
{
    int fd;
    put_dir(f, "root/flash");
    put_link(f, "root/config", "/flash");
    put_dir(f, "root/dev");
    put_file(f, "root/flash/a", "a was old");
    put_link(f, "root/flash/link", "old");
    put_file(f, "root/flash/hard", "hard was old");
    put_file(f, "root/flash/from", "this moves");
    put_file(f, "root/flash/gone", "gone soon");
    put_dir(f, "root/flash/dir");
    fd = open(host(f, "root/dev/part"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, old_image, sizeof(old_image)) == (ssize_t)sizeof(old_image) && close(fd) == 0, "part");
}

static int entries(const struct folder *f, const char *rel)
{
    DIR *d = opendir(host(f, rel));
    int n = 0;
    must(d != NULL, rel);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n - 2; /* . and .. */
}

static void check_new(const struct folder *f)
{
    static uint8_t part[sizeof(old_image) + 1];
    char text[64];
    int fd = open(host(f, "root/dev/part"), O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, part, sizeof(part));
    close(fd);
    CHECK_INT(n, (long long)sizeof(old_image)); /* it has neither grown nor shrunk */
    CHECK(memcmp(part, new_image, IMAGE_SIZE) == 0);
    CHECK(memcmp(part + IMAGE_SIZE, old_image + IMAGE_SIZE, sizeof(old_image) - IMAGE_SIZE) == 0);
    CHECK(holds(f, "root/flash/a", "a is new"));
    CHECK_INT(lstat_of(f, "root/flash/a").st_mode & 07777, 0755);
    CHECK(holds(f, "root/flash/sub/new", "new file"));
    CHECK_INT(lstat_of(f, "root/flash/sub").st_mode & 07777, 0751);
    CHECK_INT(lstat_of(f, "root/flash/hard").st_ino, lstat_of(f, "root/flash/a").st_ino);
    CHECK_INT(lstat_of(f, "root/flash/a").st_nlink, 2);
    CHECK(holds(f, "root/flash/sub/to", "this moves"));
    CHECK_INT(lstat_of(f, "root/flash/sub/to").st_mode & 07777, 0640);
    CHECK(readlink(host(f, "root/flash/link"), text, sizeof(text)) == 7 && memcmp(text, "sub/new", 7) == 0);
    CHECK_INT(entries(f, "root/flash"), 4); /* a, hard, link, sub: nothing else is left */
    CHECK_INT(entries(f, "root/flash/sub"), 2);
    CHECK_INT(entries(f, "root"), 3);
}

/* ---- running --------------------------------------------------------------------------------------------------- */

/* The status of the whole update. */
static int apply(struct folder *f)
{
    struct ota_exec_options o = {0};
    struct ota_exec *ex;
    int status;
    o.window = WINDOW;
    o.block_buffer = 65536;
    o.header_max = OTA_HEADER_MAX;
    must(ota_exec_size(&o) <= sizeof(workspace), "the workspace is too small");
    if (ota_posix_exec_init(workspace, sizeof(workspace), &o, f->workspace, &ex) != 0) {
        return -OTA_E_INTERNAL;
    }
    status = ota_exec_feed(ex, stream->data, stream->len);
    if (status != OTA_DONE && sim.fault == NO_FAULT) {
        const struct ota_report *r = ota_exec_report(ex);
        fprintf(stderr, "%d at %s: %s (errno %d)\n", r->status, r->target, r->detail, r->os_error);
    }
    return ota_exec_finish(ex, status < 0 ? status : 0);
}

/* Exit code of a child that applies with one fault; CUT_CODE when it was cut. */
static int apply_with_fault(struct folder *f, enum fault fault, int n)
{
    int wait_status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        int status;
        if (folder_init_port(f, f->root) != 0) {
            _exit(3);
        }
        sim.fault = fault;
        sim.error = EIO;
        sim.at = n;
        sim.armed = 1;
        status = apply(f);
        ota_posix_close(f->workspace);
        sim.armed = 0;
        _exit(sim.count < n ? 0 : status == 0 ? 1 : 2);
    }
    must(pid > 0 && waitpid(pid, &wait_status, 0) == pid, "waitpid");
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
}

/* 0 when a clean run has fewer than n calls. */
static int walk(enum fault fault, int n)
{
    static char name[64];
    struct folder f;
    int code;
    snprintf(name, sizeof(name), "fault %d at call %d", (int)fault, n);
    check_case = name;
    folder_open(&f);
    old_board(&f);
    ota_posix_close(f.workspace);
    code = apply_with_fault(&f, fault, n);
    if (fault == CUT) {
        CHECK(code == CUT_CODE || code == 0);
    } else {
        CHECK(code >= 0 && code <= 2);
    }
    if (code == 0 || code == 1) {
        check_new(&f); /* success is only said when everything is done */
    }
    (void)unlink(host(&f, "tmp/log"));
    must(folder_init_port(&f, f.root) == 0, "init");
    memset(&sim, 0, sizeof(sim));
    CHECK_INT(apply(&f), 0);
    check_new(&f);
    CHECK(holds(&f, "tmp/log", "begun\nended 0\n"));
    ota_posix_close(f.workspace);
    CHECK_INT(entries(&f, "tmp"), 1); /* the log: no image, no script is left */
    folder_close(&f);
    return code != 0;
}

int main(void)
{
    int cuts = 1;
    int fails = 1;
    build();
    while (walk(CUT, cuts)) {
        cuts++;
    }
    CHECK(cuts > 60);
    while (walk(FAIL, fails)) {
        fails++;
    }
    CHECK(fails > 150);
    printf("cut at %d calls, failed %d\n", cuts - 1, fails - 1);
    free(stream);
    return check_done();
}
