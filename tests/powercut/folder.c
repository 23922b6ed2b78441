/* folder.c - the power-cut machine for files, and for nodes that files stand for.
 *
 *     folder [--thorough] [--seed N] [--mutant NAME] CASE...
 *
 * A case is a folder: `old` is the board before the update (with root and tmp in it), `new` what it shall be, `stream`
 * the record stream of a package. The real core on the real Linux port executes it once, while every change is written
 * down. Then the power goes before each of them, and of what was not synced by then any part may be lost: this is tried
 * out in full where it is little and by chance where it is much. Each time
 *
 *   - every path must hold its old or its new content, and one of the two slots of an image must be whole;
 *   - the same package, run again, must succeed and end in exactly `new`, with nothing left in tmp;
 *   - the power goes in that run as well, and once more after it.
 *
 * Also tried: killed without a power cut (what was done is visible but not durable), run again, then cut; a cut right
 * after success was said; what a case has of U-Boot's environment (environment.h); and boards that are not the old
 * ones, which must be refused and left alone: `touched` names the files whose content the package must check. `log`, if
 * it is there, is what the scripts write to tmp/log.
 *
 * The last line is `N cuts, M unrecovered`; the exit code is 1 if M is not 0.
 */
#include <stdarg.h>

#include "environment.h"
#include "exec.h"
#include "port_folder.h"
#include "trace.h"
#include "views.h"

#define ENUMERATED 6u /* so many open changes beside the last one are tried out in full, if thorough */
#define DEPTH 3
#define FAILURES_SHOWN 5u
#define LOG "tmp/log"

static struct {
    const char *name; /* of the case at work */
    int thorough;
    int skip_source_check; /* a mutant */
    uint64_t seed;
    unsigned long cuts;
    unsigned long boards;
    unsigned long unrecovered;
} machine;

static struct disk old_disk;
static struct disk new_disk;
static uint8_t *stream;
static size_t stream_len;
static char *script_log;
static char *touched;
static struct environment environment;
static int has_slots;
static char board_path[300];
static void *posix_space;
static uint64_t exec_space[1 << 18];
static struct history histories[DEPTH + 1];

int __real_ota_exec_source_is(struct ota_exec *ex, const struct ota_record_source *s, const struct ota_record *rec);
int __wrap_ota_exec_source_is(struct ota_exec *ex, const struct ota_record_source *s, const struct ota_record *rec);

/* Preflight asks through this one (link option --wrap). */
int __wrap_ota_exec_source_is(struct ota_exec *ex, const struct ota_record_source *s, const struct ota_record *rec)
{
    return machine.skip_source_check ? 1 : __real_ota_exec_source_is(ex, s, rec);
}

/* xorshift64 */
static uint32_t chance(uint32_t below)
{
    machine.seed ^= machine.seed << 13;
    machine.seed ^= machine.seed >> 7;
    machine.seed ^= machine.seed << 17;
    return (uint32_t)((machine.seed >> 11) % below);
}

static void unrecovered(const char *format, ...)
{
    va_list ap;
    if (machine.unrecovered++ < FAILURES_SHOWN) {
        fprintf(stderr, "%s: ", machine.name);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
    }
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

static void put_board(const struct disk *d)
{
    remove_all(AT_FDCWD, board_path);
    must(mkdir(board_path, 0755) == 0, board_path);
    disk_put(d, board_path, trace.real);
}

/* Execute the package on the board as it lies there. The final status. */
static int apply(void)
{
    struct ota_posix_options o = {0};
    struct ota_exec_options x = {0};
    struct ota_port port;
    struct ota_exec *ex;
    char root[400];
    char tmp[400];
    int status;
    snprintf(root, sizeof root, "%s/root", board_path);
    snprintf(tmp, sizeof tmp, "%s/tmp", board_path);
    o.root = root;
    o.tmp = tmp;
    x.window = 4096;
    x.block_buffer = 65536;
    x.header_max = OTA_HEADER_MAX;
    x.workspace = VIEW_WORKSPACE;
    x.coder = board_coder();
    x.volatile_tmp = 1;
    x.slot = has_slots ? OTA_SLOTS_AUTO : OTA_SLOTS_NONE;
    must(ota_exec_size(&x) <= sizeof exec_space, "the workspace is too small");
    must(ota_posix_init(posix_space, ota_posix_size(), &o, NULL) == 0, "ota_posix_init");
    ota_posix_port(posix_space, &port);
    must(ota_exec_init(exec_space, sizeof exec_space, &x, &port, &ex) == 0, "ota_exec_init");
    status = ota_exec_feed(ex, stream, stream_len);
    status = ota_exec_finish(ex, status < 0 ? status : 0);
    ota_posix_close(posix_space);
    return status;
}

/* The same, written down in h, which holds the board as it is. */
static int traced_apply(struct history *h)
{
    int status;
    trace.history = h;
    trace.late = -1;
    status = apply();
    trace.history = NULL;
    return status;
}

static void check_log(const char *when)
{
    char path[400];
    char got[256] = "";
    int fd;
    if (script_log == NULL)
        return;
    snprintf(path, sizeof path, "%s/" LOG, board_path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, got, sizeof got - 1) < 0 || strcmp(got, script_log) != 0)
        unrecovered("%s: the scripts wrote '%s'", when, got);
    (void)close(fd);
}

/* The state of the environment on this disk, -1: none of those that may be. */
static int env_state(const struct disk *d)
{
    const uint8_t *copy[2];
    for (unsigned i = 0; i < 2; i++) {
        char path[40];
        int at;
        snprintf(path, sizeof path, "root%s", environment.node[i]);
        at = disk_find(d, path);
        must(at >= 0 && d->inode[at].size >= environment.offset[i] + environment.size, path);
        copy[i] = d->inode[at].data + environment.offset[i];
    }
    return environment_state(&environment, environment_used(&environment, copy[0], copy[1]));
}

/* An environment that is new is equal to any other that is. */
static void settle_env(struct disk *d)
{
    for (unsigned i = 0; environment.text != NULL && env_state(d) + 1 == (int)environment.states && i < 2; i++) {
        char path[40];
        struct disk_inode *n;
        const struct disk_inode *want;
        snprintf(path, sizeof path, "root%s", environment.node[i]);
        n = &d->inode[disk_find(d, path)];
        want = &new_disk.inode[disk_find(&new_disk, path)];
        must(n->size == want->size, path);
        if (!n->owned) {
            n->data = malloc(want->size + 1);
            n->owned = 1;
        }
        memcpy(n->data, want->data, want->size);
    }
}

/* The board must be new now, and stay so if the power goes. */
static void check_success(const struct history *h, int status, const char *when)
{
    static struct disk d;
    static const uint8_t nothing[DISK_EVENTS];
    char why[512];
    if (status != 0) {
        unrecovered("%s: status %d", when, status);
        return;
    }
    disk_scan(&d, board_path);
    settle_env(&d);
    if (disk_differs(&d, &new_disk, "", LOG, why, sizeof why))
        unrecovered("%s: %s", when, why);
    disk_free(&d);
    check_log(when);
    machine.cuts++;
    history_cut(h, h->events, nothing, &d);
    settle_env(&d);
    if (disk_differs(&d, &new_disk, "root", "", why, sizeof why))
        unrecovered("%s, cut after success: %s", when, why);
    disk_free(&d);
}

/* ---- what must hold between old and new ----------------------------------------------------------------------------
 */

struct between {
    const struct disk *d;
    char why[256];
};

static int content_is(const struct disk_inode *n, const struct disk *other, const char *path)
{
    int at = disk_find(other, path);
    const struct disk_inode *o = at >= 0 ? &other->inode[at] : NULL;
    if (o == NULL || o->type != n->type)
        return 0;
    return n->type == DISK_DIR || (n->size == o->size && (n->size == 0 || memcmp(n->data, o->data, n->size) == 0));
}

static int is_ours(const char *path)
{
    size_t n = strlen(TRACE_STAGE);
    return strlen(path) > n && strcmp(path + strlen(path) - n, TRACE_STAGE) == 0;
}

static void check_found(void *ctx, const char *path, int ino)
{
    struct between *b = ctx;
    const struct disk_inode *n = &b->d->inode[ino];
    if (strncmp(path, "root/", 5) != 0 || strncmp(path, "root/dev/", 9) == 0 || is_ours(path))
        return;
    if (!content_is(n, &old_disk, path) && !content_is(n, &new_disk, path))
        snprintf(b->why, sizeof b->why, "%.200s is neither old nor new", path);
}

/* What is there before and after must be there in between, unless it turns from or into a folder. */
static void check_not_lost(void *ctx, const char *path, int ino)
{
    struct between *b = ctx;
    int after = disk_find(&new_disk, path);
    if (after >= 0 && (old_disk.inode[ino].type == DISK_DIR) == (new_disk.inode[after].type == DISK_DIR) &&
        strncmp(path, "root", 4) == 0 && disk_find(b->d, path) < 0)
        snprintf(b->why, sizeof b->why, "%.200s is gone", path);
}

static int is_whole(const struct disk *d, const char *node)
{
    int at = disk_find(d, node);
    return at < 0 || content_is(&d->inode[at], &old_disk, node) || content_is(&d->inode[at], &new_disk, node);
}

/* The environment is in one of its states, and starts a slot that is whole. */
static void check_env(const struct disk *d, struct between *b)
{
    char name[40];
    char path[50];
    int state;
    if (environment.text == NULL)
        return;
    state = env_state(d);
    if (state < 0)
        snprintf(b->why, sizeof b->why, "the environment is neither old nor new");
    else if (environment_starts(&environment, state, name, sizeof name)) {
        snprintf(path, sizeof path, "root%s", name);
        if (!is_whole(d, path))
            snprintf(b->why, sizeof b->why, "the boot loader starts %s, which is not whole", name);
    }
}

static void check_between(const struct disk *d, const char *when)
{
    static struct between b;
    b.d = d;
    b.why[0] = '\0';
    disk_walk(d, check_found, &b);
    disk_walk(&old_disk, check_not_lost, &b);
    if (!is_whole(d, "root/dev/a") && !is_whole(d, "root/dev/b"))
        snprintf(b.why, sizeof b.why, "none of the slots is whole");
    check_env(d, &b);
    if (b.why[0] != '\0')
        unrecovered("%s: %s", when, b.why);
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

static void keep_by_chance(const struct history *h, int cut, uint8_t *keep)
{
    for (int i = 0; i < cut; i++)
        keep[i] = (uint8_t)(h->event[i].kind == EVENT_WRITE ? chance(4) : chance(2));
}

/* This is what the power cut has left: run again; cut that run as well as long as depth lasts. */
static void recover(struct disk *left, int depth, const char *when)
{
    struct history *h = &histories[depth];
    static uint8_t keep[DISK_EVENTS];
    struct disk again;
    char name[200];
    int cut;
    machine.cuts++;
    check_between(left, when);
    put_board(left);
    history_start(h, left);
    check_success(h, traced_apply(h), when);
    if (depth > 1 && h->events > 0) {
        cut = 1 + (int)chance((uint32_t)h->events);
        keep_by_chance(h, cut, keep);
        history_cut(h, cut, keep, &again);
        snprintf(name, sizeof name, "%.150s, then at %d", when, cut);
        recover(&again, depth - 1, name);
    }
    history_free(h);
}

static void try_cut(const struct history *h, int cut, const uint8_t *keep)
{
    struct disk left;
    char name[64];
    history_cut(h, cut, keep, &left);
    snprintf(name, sizeof name, "cut at %d", cut);
    recover(&left, chance(machine.thorough ? 2 : 4) == 0 ? DEPTH - 1 : 1, name);
}

/* The last change is there, whole or in part: without it, it is the cut before. */
static void try_last(const struct history *h, int cut, uint8_t *keep)
{
    const struct event *last = &h->event[cut - 1];
    int kinds = last->kind == EVENT_WRITE && last->len > 1 ? 3 : 1;
    for (int k = 0; k < kinds; k++) {
        keep[cut - 1] = (uint8_t)(machine.thorough ? KEEP_ALL + k : KEEP_ALL + (int)chance((uint32_t)kinds));
        try_cut(h, cut, keep);
        if (!machine.thorough)
            break;
    }
}

static void cut_at(const struct history *h, int cut)
{
    static uint8_t keep[DISK_EVENTS];
    int open[DISK_EVENTS];
    unsigned count = 0;
    if (h->event[cut - 1].kind >= EVENT_SYNC)
        return; /* what may be lost after it might have been lost before it */
    for (int i = 0; i < cut - 1; i++)
        if (history_open(h, i, cut))
            open[count++] = i;
    memset(keep, KEEP_ALL, sizeof keep);
    if (machine.thorough && count <= ENUMERATED) {
        for (unsigned subset = 0; subset < 1u << count; subset++) {
            for (unsigned i = 0; i < count; i++)
                keep[open[i]] = subset >> i & 1u ? KEEP_ALL : KEEP_NOT;
            try_last(h, cut, keep);
        }
        return;
    }
    try_last(h, cut, keep);
    for (unsigned i = 0; i < count; i++)
        keep[open[i]] = KEEP_NOT;
    if (count > 0)
        try_last(h, cut, keep);
    for (unsigned round = 0; count > 1 && round < (machine.thorough ? 16u : 1u); round++) {
        keep_by_chance(h, cut, keep);
        try_last(h, cut, keep);
    }
}

/* Killed before event `cut`, run again, then the power goes: what the first run left unsynced may be lost even now. */
static void kill_at(const struct history *whole, int cut)
{
    static struct history h;
    static uint8_t keep[DISK_EVENTS];
    struct disk d;
    char name[64];
    int then;
    snprintf(name, sizeof name, "killed at %d", cut);
    memset(keep, KEEP_ALL, sizeof keep);
    history_cut(whole, cut, keep, &d);
    put_board(&d);
    disk_free(&d);
    history_copy(&h, whole, cut);
    check_success(&h, traced_apply(&h), name);
    then = cut + (int)chance((uint32_t)(h.events - cut + 1));
    keep_by_chance(&h, then, keep);
    history_cut(&h, then, keep, &d);
    snprintf(name, sizeof name, "killed at %d, then cut at %d", cut, then);
    recover(&d, 1, name);
    history_free(&h);
}

/* ---- boards that are not the old ones -----------------------------------------------------------------------------
 */

static void foreign_board(const char *path)
{
    static struct history h;
    struct disk d;
    char why[512];
    struct disk_inode *n;
    int at = disk_find(&old_disk, path);
    int status;
    must(at >= 0 && old_disk.inode[at].size > 0, path);
    d = old_disk;
    for (int i = 0; i < d.inodes; i++)
        d.inode[i].owned = 0;
    history_start(&h, &d);
    n = &h.base.inode[at];
    n->data[n->size / 2] ^= 1;
    put_board(&h.base);
    status = traced_apply(&h);
    machine.boards++;
    disk_scan(&d, board_path);
    if (status >= 0)
        unrecovered("%s is not old: status %d", path, status);
    else if (disk_differs(&d, &h.base, "", "", why, sizeof why))
        unrecovered("%s is not old, but %s", path, why);
    disk_free(&d);
    history_free(&h);
}

/* ---- a case ------------------------------------------------------------------------------------------------------ */

static char *load_file(const char *folder, const char *name, size_t *len)
{
    char path[1024];
    struct stat st;
    char *data;
    int fd;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    must(fstat(fd, &st) == 0 && (data = malloc((size_t)st.st_size + 1)) != NULL, path);
    must(read(fd, data, (size_t)st.st_size) == st.st_size && close(fd) == 0, path);
    data[st.st_size] = '\0';
    if (len != NULL)
        *len = (size_t)st.st_size;
    return data;
}

static void begin_case(const char *folder)
{
    char path[1024];
    machine.name = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
    stream = (uint8_t *)load_file(folder, "stream", &stream_len);
    must(stream != NULL, folder);
    script_log = load_file(folder, "log", NULL);
    touched = load_file(folder, "touched", NULL);
    must(environment_init(&environment, load_file(folder, "environment", NULL)), "environment");
    snprintf(path, sizeof path, "%s/old/root/etc/otastream/slots", folder);
    has_slots = access(path, R_OK) == 0;
    snprintf(path, sizeof path, "%s/old", folder);
    disk_scan(&old_disk, path);
    snprintf(path, sizeof path, "%s/new", folder);
    disk_scan(&new_disk, path);
}

static void end_case(void)
{
    disk_free(&old_disk);
    disk_free(&new_disk);
    free(stream);
    free(script_log);
    free(touched);
    free(environment.text);
}

/* What was written down must lead to what is there: else a change was missed, and all of this would prove nothing. */
static void check_trace(const struct history *h)
{
    static uint8_t keep[DISK_EVENTS];
    struct disk made;
    struct disk there;
    char why[512];
    memset(keep, KEEP_ALL, sizeof keep);
    history_cut(h, h->events, keep, &made);
    disk_scan(&there, board_path);
    if (disk_differs(&there, &made, "", LOG, why, sizeof why)) {
        fprintf(stderr, "%s: a change was not written down: %s\n", machine.name, why);
        exit(2);
    }
    disk_free(&made);
    disk_free(&there);
}

static void run_case(const char *folder)
{
    static struct history h;
    struct disk d;
    unsigned long before = machine.cuts;
    unsigned long bad = machine.unrecovered;
    begin_case(folder);
    put_board(&old_disk);
    d = old_disk;
    for (int i = 0; i < d.inodes; i++)
        d.inode[i].owned = 0;
    history_start(&h, &d);
    check_success(&h, traced_apply(&h), "a clean run");
    if (machine.unrecovered == bad || trace.mutant != NO_MUTANT)
        check_trace(&h);
    for (int cut = 1; cut <= h.events; cut++)
        cut_at(&h, cut);
    for (int cut = 1; cut <= h.events; cut += machine.thorough ? 1 : 1 + (int)chance(12))
        kill_at(&h, cut);
    for (char *path = touched != NULL ? strtok(touched, "\n") : NULL; path != NULL; path = strtok(NULL, "\n"))
        foreign_board(path);
    printf("%-24s %4d calls, %6lu cuts, %lu unrecovered\n", machine.name, h.events, machine.cuts - before,
           machine.unrecovered - bad);
    fflush(stdout);
    history_free(&h);
    end_case();
}

static int choose_mutant(const char *name)
{
    if (strcmp(name, "no-source-check") == 0)
        return machine.skip_source_check = 1;
    for (size_t i = 0; i < sizeof mutant_names / sizeof mutant_names[0]; i++)
        if (strcmp(name, mutant_names[i]) == 0) {
            trace.mutant = (enum mutant)i;
            return 1;
        }
    return 0;
}

int main(int argc, char **argv)
{
    char base[256];
    int i = 1;
    const char *where = getenv("TMPDIR");
    if (where == NULL)
        where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* memory, where there is such a place */
    snprintf(base, sizeof base, "%s/ota-cuts-XXXXXX", where);
    machine.seed = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        int last = i + 1 == argc;
        if (strcmp(argv[i], "--thorough") == 0)
            machine.thorough = 1;
        else if (!last && strcmp(argv[i], "--seed") == 0)
            machine.seed = strtoull(argv[++i], NULL, 10) * 2654435761u + 1;
        else if (last || strcmp(argv[i], "--mutant") != 0 || !choose_mutant(argv[++i]))
            break;
    }
    if (i >= argc || argv[i][0] == '-') {
        fprintf(stderr, "usage: folder [--thorough] [--seed N] [--mutant NAME] CASE...\n");
        return 2;
    }
    must(mkdtemp(base) != NULL, base);
    snprintf(board_path, sizeof board_path, "%s/board", base);
    posix_space = malloc(ota_posix_size());
    must(posix_space != NULL, "malloc");
    for (; i < argc; i++)
        run_case(argv[i]);
    remove_all(AT_FDCWD, base);
    free(posix_space);
    printf("%lu boards that are not old\n%lu cuts, %lu unrecovered\n", machine.boards, machine.cuts,
           machine.unrecovered);
    return machine.unrecovered != 0;
}
