/* flash.c - the power-cut machine for nodes that are flash.
 *
 *     flash [--thorough] [--seed N] [--chip NAME] [--mutant NAME] [--list] [--worn] CASE...
 *
 * A case is a folder as in folder.c; `images` names its nodes and the size of their image, one a line ("/dev/a 1000").
 * For each kind of chip below (or the one that --chip names), the real core executes the package on models of it
 * (tests/c/flash_model.h) and on a board in memory. Then the power goes in every operation of that run, on each chip
 * and in the temporary folder, and leaves of the operation nothing, half, garbage, pages that cannot be read, or an
 * erase that only looks done; often a second time in the run after it. Each time one of two slots must be whole, and
 * the package, run again, must succeed and leave the good blocks, in their order, as the run without a cut did, what
 * is behind the image as it was, and no mark on a block that never failed. What a case has of U-Boot's environment
 * (environment.h) is in one of its states after each cut, starts a slot that is whole, and ends in the last one.
 *
 * A case whose file `volumes` says so has UBI volumes for nodes: what the kernel does beneath them is not cut here, but
 * their update is, between any two writes.
 *
 * Which blocks those are may differ: when the power goes while a failing block is programmed, that may be the program
 * that completes it. The block then reads right, nobody has heard of a failure, and it stays in use.
 *
 * --worn cuts nothing either: on chips whose blocks die, without a spare one, a case in place must end with BAD_BLOCKS,
 * mark nothing, and go on from there when the block works again.
 *
 * --list says on which chips a case would run, and cuts nothing.
 *
 * The last line is `N cuts, M unrecovered`; the exit code is 1 if M is not 0. A model aborts on what no chip forgives.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board_model.c"
#include "environment.h"
#include "flash_model.c"
#include "views.h"

#define FAILURES_SHOWN 5u
#define NODES_MAX BOARD_NODES
#define MEDIA (1 + NODES_MAX) /* the board itself, then the nodes */

struct chip {
    const char *name;
    enum ota_flash_kind kind;
    uint32_t erase;
    uint32_t page;
    uint32_t spare;    /* blocks that the partition has more than it needs */
    const char *bad;   /* of the first blocks: '1' is marked bad */
    const char *fault; /* of the first blocks, see enum model_fault */
};

static const struct chip chips[] = {
    {"rewritable", OTA_FLASH_BLOCK, 65536, 512, 0, "", ""},
    {"NOR 4K", OTA_FLASH_NOR, 4096, 1, 0, "", ""},
    {"NOR 64K", OTA_FLASH_NOR, 65536, 1, 0, "", ""},
    {"NAND 512/16K", OTA_FLASH_NAND, 16384, 512, 2, "", ""},
    {"NAND 2K/32K", OTA_FLASH_NAND, 32768, 2048, 2, "", ""},
    {"NAND 2K/32K, bad blocks", OTA_FLASH_NAND, 32768, 2048, 4, "101", "...p..e"},
};

static const struct chip volumes[] = {{"UBI volumes", OTA_FLASH_BLOCK, 65536, 512, 0, "", ""}};

static struct {
    const char *case_name;
    const char *only; /* NULL: all chips */
    const struct chip *chip;
    int thorough;
    int volumes;         /* the nodes of the case are UBI volumes */
    unsigned unit;       /* of a case in place, which needs erase blocks that go into it */
    int blank_is_erased; /* a mutant: no erase of what reads as erased */
    int list;            /* of chips, nothing else */
    int worn;            /* chips without a spare block, nothing else */
    int no_hole;         /* a mutant: where the hole is never reaches the medium */
    int late_scratch;    /* a mutant: what is saved is durable only when the next thing is */
    int no_journal;      /* a mutant: a journal never reaches the medium */
    int marks_two;       /* a mutant: with a block, the one behind it is marked bad */
    int forgets_marks;   /* a mutant: marks last until the end of the run */
    uint64_t seed;
    unsigned long cuts;
    unsigned long unrecovered;
} machine;

struct node {
    char name[32];
    struct flash_model flash;
    int has_env; /* copies of the environment and nothing else */
    uint8_t *old;
    uint8_t *new;
    size_t size;
    size_t image;    /* bytes of them that are the image */
    uint8_t *before; /* the medium before the update */
    uint8_t *clean;  /* and after a run without a cut */
    uint8_t clean_bad[MODEL_BLOCKS_MAX];
    uint64_t ops;
};

static struct node nodes[NODES_MAX];
static unsigned node_count;
static struct board_model board;
static uint8_t *stream;
static size_t stream_len;
static struct environment environment;
static char identity[6][512]; /* by enum ota_identity */
static uint64_t workspace[1 << 18];

static uint32_t chance(uint32_t below)
{
    machine.seed ^= machine.seed << 13;
    machine.seed ^= machine.seed >> 7;
    machine.seed ^= machine.seed << 17;
    return (uint32_t)((machine.seed >> 11) % below);
}

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(2);
    }
}

static void unrecovered(const char *when, const char *what, long long number)
{
    if (machine.unrecovered++ < FAILURES_SHOWN)
        fprintf(stderr, "%s on %s: %s: %s %lld\n", machine.case_name, machine.chip->name, when, what, number);
}

/* ---- the board --------------------------------------------------------------------------------------------------- */

static int erase_unless_blank(void *ctx, uint64_t off)
{
    const struct flash_model *m = ctx;
    for (uint32_t i = 0; i < m->flash.erase_size; i++)
        if (m->data[off + i] != 0xff)
            return model_erase(ctx, off);
    return 0;
}

static int mark_two(void *ctx, uint64_t off)
{
    struct flash_model *m = ctx;
    uint64_t next = off + m->flash.erase_size;
    if (next < m->flash.size && !m->bad[next / m->flash.erase_size])
        (void)model_mark_bad(ctx, next);
    return model_mark_bad(ctx, off);
}

static int has_env(const char *node)
{
    return environment.text != NULL &&
           (strcmp(environment.node[0], node) == 0 || strcmp(environment.node[1], node) == 0);
}

static int made_bad(uint32_t block)
{
    return block < strlen(machine.chip->bad) && machine.chip->bad[block] == '1';
}

/* Bytes of the node's old content, from there on, in good blocks. */
static void fill_range(struct node *n, size_t from, size_t size)
{
    struct flash_model *m = &n->flash;
    uint32_t unit = m->flash.erase_size;
    uint32_t block = (uint32_t)(from / unit);
    for (size_t at = 0; at < size; block++) {
        size_t len = size - at < unit ? size - at : unit;
        must(block < m->blocks, "the chip is too small for the case");
        if (m->bad[block])
            continue;
        model_fill(m, (uint64_t)block * unit, n->old + from + at, len);
        at += len;
    }
}

static void fill(struct node *n)
{
    struct flash_model *m = &n->flash;
    model_wipe(m);
    for (uint32_t i = 0; i < m->blocks; i++) {
        m->bad[i] = (uint8_t)made_bad(i);
        m->fault[i] = i < strlen(machine.chip->fault) ? machine.chip->fault[i] : (char)FAULT_NONE;
    }
    if (!n->has_env)
        fill_range(n, 0, n->size);
    for (unsigned i = 0; n->has_env && i < 2; i++)
        if (strcmp(environment.node[i], n->name) == 0)
            fill_range(n, environment.offset[i], environment.size);
}

static void old_board(void)
{
    board_free(&board);
    board_init(&board);
    board.late_scratch = machine.late_scratch;
    board.no_journal = machine.no_journal;
    board.no_hole = machine.no_hole;
    memcpy(board.identity, identity, sizeof identity);
    for (unsigned i = 0; i < node_count; i++) {
        fill(&nodes[i]);
        model_power_on(&nodes[i].flash);
        nodes[i].flash.off = &board.dead;
        board_put_node(&board, nodes[i].name, &nodes[i].flash);
        board.nodes[i].volume = machine.volumes;
    }
}

static int run(void)
{
    struct ota_exec_options options = {0};
    struct ota_exec *ex;
    int st;
    options.window = 4096;
    options.block_buffer = 65536;
    options.header_max = OTA_HEADER_MAX;
    options.workspace = VIEW_WORKSPACE;
    options.coder = board_coder();
    options.volatile_tmp = 1;
    options.slot = identity[OTA_ID_SLOTS][0] != '\0' ? OTA_SLOTS_AUTO : OTA_SLOTS_NONE;
    must(ota_exec_init(workspace, sizeof workspace, &options, &board.port, &ex) == 0, "ota_exec_init");
    st = ota_exec_feed(ex, stream, stream_len);
    st = ota_exec_finish(ex, st < 0 ? st : 0);
    for (unsigned i = 0; machine.forgets_marks && i < node_count; i++)
        for (uint32_t b = 0; b < nodes[i].flash.blocks; b++)
            nodes[i].flash.bad[b] = (uint8_t)made_bad(b);
    return st;
}

/* Does the node hold these bytes, bad blocks left out? */
static int holds(const struct node *n, const uint8_t *data)
{
    const struct flash_model *m = &n->flash;
    uint32_t unit = m->flash.erase_size;
    size_t at = 0;
    for (uint32_t block = 0; block < m->blocks && at < n->size; block++) {
        size_t len = n->size - at < unit ? n->size - at : unit;
        const uint8_t *pages = m->unreadable + (size_t)block * m->pages;
        if (m->bad[block])
            continue;
        if (memchr(pages, 1, m->pages) != NULL || memcmp(m->data + (size_t)block * unit, data + at, len) != 0)
            return 0;
        at += len;
    }
    return at == n->size;
}

/* What is behind the image is erased with its last block. */
static int is_new(const struct node *n)
{
    struct node front = *n;
    front.size = n->image;
    return holds(&front, n->new);
}

static int is_whole(const struct node *n)
{
    struct node front = *n;
    front.size = n->image;
    return !board.nodes[n - nodes].updating && (holds(&front, n->old) || is_new(n));
}

static struct node *node_named(const char *name)
{
    for (unsigned i = 0; i < node_count; i++)
        if (strcmp(nodes[i].name, name) == 0)
            return &nodes[i];
    must(0, name);
    return NULL;
}

/* Copy i of the environment as the boot loader reads it, bad blocks left out. NULL: it cannot be read. */
static uint8_t *read_copy(unsigned i, uint8_t *buf)
{
    const struct node *n = node_named(environment.node[i]);
    const struct flash_model *m = &n->flash;
    uint32_t unit = m->flash.erase_size;
    size_t at = 0;
    for (uint32_t block = (uint32_t)(environment.offset[i] / unit); at < environment.size; block++) {
        size_t len = environment.size - at < unit ? environment.size - at : unit;
        must(block < m->blocks, "the environment is larger than its node");
        if (m->bad[block])
            continue;
        if (board.nodes[n - nodes].updating || memchr(m->unreadable + (size_t)block * m->pages, 1, m->pages) != NULL)
            return NULL;
        memcpy(buf + at, m->data + (size_t)block * unit, len);
        at += len;
    }
    return buf;
}

static int env_state(void)
{
    static uint8_t copies[2][1 << 16];
    must(environment.size <= sizeof copies[0], "the environment is too large for the machine");
    return environment_state(&environment,
                             environment_used(&environment, read_copy(0, copies[0]), read_copy(1, copies[1])));
}

/* The environment is in one of its states, and starts a slot that is whole. */
static void check_env(const char *when)
{
    char name[40];
    int state;
    if (environment.text == NULL)
        return;
    state = env_state();
    if (state < 0)
        unrecovered(when, "the environment is neither old nor new", 0);
    else if (environment_starts(&environment, state, name, sizeof name) && !is_whole(node_named(name)))
        unrecovered(when, "the boot loader starts a slot that is not whole, in state", state);
}

static void check_slots(const char *when)
{
    int any = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < node_count; i++) {
        any |= !nodes[i].has_env && is_whole(&nodes[i]);
        count += !nodes[i].has_env;
    }
    if (count > 1 && !any)
        unrecovered(when, "none of the slots is whole", 0);
    check_env(when);
}

/* Marks first: the blocks without one are the image and what is behind it. */
static void check_marks(const char *when, const struct flash_model *m)
{
    for (uint32_t b = 0; b < m->blocks; b++) {
        if (m->bad[b] && !made_bad(b) && m->failed[b] == FAILED_NOT)
            unrecovered(when, "marked bad without a failure: block", b);
        if (!m->bad[b] && (made_bad(b) || m->failed[b] == FAILED_NOW))
            unrecovered(when, "in use although it failed: block", b);
    }
}

static void check_blocks(const char *when, const struct node *n)
{
    const struct flash_model *m = &n->flash;
    uint32_t unit = machine.chip->erase;
    uint32_t clean = 0; /* the block that held the same bytes after the run without a cut */
    size_t at = 0;
    for (uint32_t b = 0; b < m->blocks; b++) {
        const uint8_t *want = n->before + (size_t)b * unit;
        if (m->bad[b])
            continue;
        while (at < n->image && clean < m->blocks && n->clean_bad[clean])
            clean++;
        if (at < n->image && clean < m->blocks)
            want = n->clean + (size_t)clean++ * unit;
        at += unit;
        if (memchr(m->unreadable + (size_t)b * m->pages, 1, m->pages) != NULL ||
            memcmp(m->data + (size_t)b * unit, want, unit) != 0)
            unrecovered(when, "the medium differs in block", b);
    }
    if (at < n->image)
        unrecovered(when, "bytes of the image that fit in no block:", (long long)(n->image - at));
}

static void check_end(const char *when, int status)
{
    if (status != 0)
        unrecovered(when, "status", status);
    for (unsigned i = 0; i < node_count; i++) {
        check_marks(when, &nodes[i].flash);
        if (!nodes[i].has_env)
            check_blocks(when, &nodes[i]);
        if (board.nodes[i].updating)
            unrecovered(when, "the update of a volume was not finished: node", i);
    }
    if (environment.text != NULL && env_state() + 1 != (int)environment.states)
        unrecovered(when, "the environment is not new: state", env_state());
    for (unsigned i = 0; i < BOARD_IMAGES; i++)
        if (board.images[i].there)
            unrecovered(when, "something is left in the temporary folder, of bytes", (long long)board.images[i].size);
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

static void set_cut(unsigned medium, uint64_t at, enum model_torn torn)
{
    if (medium == 0) {
        board.cut_at = at;
    } else {
        nodes[medium - 1].flash.cut_at = at;
        nodes[medium - 1].flash.torn = torn;
    }
}

static void one_cut(unsigned medium, uint64_t at, enum model_torn torn, const uint64_t *ops)
{
    char when[96];
    unsigned again = chance(machine.thorough ? 3 : 2); /* cuts in the runs after it */
    int st;
    old_board();
    set_cut(medium, at, torn);
    st = run();
    machine.cuts++;
    snprintf(when, sizeof when, "medium %u, operation %u, torn %d", medium, (unsigned)at, (int)torn);
    if (st == 0)
        unrecovered(when, "success in spite of the cut", st);
    board_power_on(&board);
    check_slots(when);
    while (again-- > 0) {
        medium = chance(node_count + 1);
        at = 1 + chance((uint32_t)ops[medium] + 1);
        torn = (enum model_torn)chance(TORN_KINDS);
        set_cut(medium, at, torn);
        snprintf(when + strlen(when), sizeof when - strlen(when), ", then %u:%u:%d", medium, (unsigned)at, (int)torn);
        st = run();
        machine.cuts++;
        if (!board.dead) /* it had less to do than the cut waited for */
            check_end(when, st);
        board_power_on(&board);
        check_slots(when);
    }
    check_end(when, run());
}

static void all_cuts(void)
{
    uint64_t ops[MEDIA] = {0};
    int st;
    old_board();
    for (unsigned i = 0; i < node_count; i++)
        memcpy(nodes[i].before, nodes[i].flash.data, (size_t)nodes[i].flash.blocks * machine.chip->erase);
    st = run();
    for (unsigned i = 0; i < node_count; i++) {
        struct node *n = &nodes[i];
        memcpy(n->clean, n->flash.data, (size_t)n->flash.blocks * machine.chip->erase);
        memcpy(n->clean_bad, n->flash.bad, sizeof n->clean_bad);
        ops[i + 1] = n->flash.ops;
        if (!n->has_env && !is_new(n))
            unrecovered("a clean run", "not new: node", i);
    }
    check_end("a clean run", st); /* that is: it left alone what is behind the image */
    ops[0] = board.ops;
    for (unsigned medium = 0; medium <= node_count; medium++)
        for (uint64_t at = 1; at <= ops[medium]; at += machine.thorough ? 1 : 1 + chance(30)) {
            if (!machine.thorough || medium == 0) {
                one_cut(medium, at, (enum model_torn)chance(TORN_KINDS), ops);
                continue;
            }
            for (int torn = TORN_NOT; torn < TORN_KINDS; torn++)
                one_cut(medium, at, (enum model_torn)torn, ops);
        }
}

static void worn_out(void)
{
    int st;
    old_board();
    if ((st = run()) != -OTA_E_BAD_BLOCKS)
        unrecovered("a block died, and none is spare", "status", st);
    for (unsigned i = 0; i < node_count; i++)
        for (uint32_t b = 0; b < nodes[i].flash.blocks; b++) {
            if (nodes[i].flash.bad[b] && !made_bad(b))
                unrecovered("a block died, and none is spare", "it was marked: block", b);
            nodes[i].flash.fault[b] = FAULT_NONE;
        }
    if ((st = run()) != 0)
        unrecovered("the block works again", "status", st);
    for (unsigned i = 0; i < node_count; i++)
        if (!is_new(&nodes[i]))
            unrecovered("the block works again", "not new: node", i);
}

/* ---- a case ------------------------------------------------------------------------------------------------------ */

static uint8_t *load_file(const char *folder, const char *name, size_t *len)
{
    char path[1024];
    struct stat st;
    uint8_t *data = NULL;
    int fd;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    must(fstat(fd, &st) == 0 && (data = malloc((size_t)st.st_size + 1)) != NULL, path);
    must(read(fd, data, (size_t)st.st_size) == st.st_size && close(fd) == 0, path);
    data[st.st_size] = '\0';
    *len = (size_t)st.st_size;
    return data;
}

static void begin_node(const char *folder, const char *name, size_t image)
{
    const struct chip *c = machine.chip;
    struct node *n = &nodes[node_count++];
    char path[1024];
    uint32_t blocks;
    must(node_count <= NODES_MAX && strlen(name) < sizeof n->name, "nodes");
    strcpy(n->name, name);
    snprintf(path, sizeof path, "old/root%s", name);
    n->old = load_file(folder, path, &n->size);
    snprintf(path, sizeof path, "new/root%s", name);
    n->new = load_file(folder, path, &n->size);
    must(n->old != NULL && n->new != NULL &&image > 0 && image <= n->size, path);
    n->image = image;
    n->has_env = has_env(name);
    if (machine.worn) /* the chip ends with the image */
        n->size = image;
    blocks = (uint32_t)((n->size + c->erase - 1) / c->erase) + c->spare;
    for (uint32_t i = 0; machine.worn && i < c->spare; i++)
        blocks -= !made_bad(i);
    model_init(&n->flash, c->kind, blocks, c->erase, c->page,
               c->kind == OTA_FLASH_BLOCK ? n->size : (uint64_t)blocks * c->erase);
    if (machine.blank_is_erased && c->kind != OTA_FLASH_BLOCK)
        n->flash.flash.erase = erase_unless_blank;
    if (machine.marks_two && c->kind == OTA_FLASH_NAND)
        n->flash.flash.mark_bad = mark_two;
    n->before = malloc((size_t)blocks * c->erase);
    n->clean = malloc((size_t)blocks * c->erase);
    must(n->before != NULL && n->clean != NULL, "malloc");
}

static void end_nodes(void)
{
    while (node_count > 0) {
        struct node *n = &nodes[--node_count];
        model_free(&n->flash);
        free(n->old);
        free(n->new);
        free(n->before);
        free(n->clean);
    }
}

static unsigned load_number(const char *folder, const char *name)
{
    size_t len;
    char *text = (char *)load_file(folder, name, &len);
    unsigned value = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
    free(text);
    return value;
}

/* What the board says about itself, beneath its root. */
static void load_identity(const char *folder)
{
    static const struct {
        enum ota_identity what;
        const char *file;
    } files[] = {{OTA_ID_ENV, "old/root/etc/fw_env.config"},
                 {OTA_ID_SLOTS, "old/root/etc/otastream/slots"},
                 {OTA_ID_COMMAND_LINE, "old/root/proc/cmdline"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t len;
        char *text = (char *)load_file(folder, files[i].file, &len);
        char *to = identity[files[i].what];
        must(text == NULL || len < sizeof identity[0], files[i].file);
        snprintf(to, sizeof identity[0], "%s", text != NULL ? text : "");
        if (text != NULL && len > 0 && to[len - 1] == '\n')
            to[len - 1] = '\0';
        free(text);
    }
}

static void run_case(const char *folder)
{
    size_t len;
    const struct chip *kinds;
    size_t count;
    char *names = (char *)load_file(folder, "images", &len);
    machine.case_name = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
    if (names == NULL)
        return;
    machine.unit = load_number(folder, "unit");
    machine.volumes = load_number(folder, "volumes") != 0;
    kinds = machine.volumes ? volumes : chips;
    count = machine.volumes ? sizeof volumes / sizeof volumes[0] : sizeof chips / sizeof chips[0];
    load_identity(folder);
    must(environment_init(&environment, (char *)load_file(folder, "environment", &len)), "environment");
    stream = load_file(folder, "stream", &stream_len);
    must(stream != NULL, folder);
    for (size_t i = 0; i < count; i++) {
        unsigned long before = machine.cuts;
        unsigned long bad = machine.unrecovered;
        machine.chip = &kinds[i];
        if (machine.only != NULL && strcmp(machine.chip->name, machine.only) != 0)
            continue;
        if (machine.unit != 0 && machine.chip->kind != OTA_FLASH_BLOCK && machine.chip->erase > machine.unit)
            continue;
        if (machine.worn && machine.chip->fault[0] == '\0')
            continue;
        if (machine.list) {
            printf("%s\t%s\n", machine.case_name, machine.chip->name);
            continue;
        }
        for (char *at = names; *at != '\0'; at += strcspn(at, "\n") + 1) {
            char name[64];
            size_t image = 0;
            must(sscanf(at, "%63s %zu", name, &image) == 2, "images");
            begin_node(folder, name, image);
        }
        if (machine.worn)
            worn_out();
        else
            all_cuts();
        printf("%-24s %-24s %6lu cuts, %lu unrecovered\n", machine.case_name, machine.chip->name, machine.cuts - before,
               machine.unrecovered - bad);
        fflush(stdout);
        board_free(&board);
        board_init(&board);
        end_nodes();
    }
    free(names);
    free(stream);
    free(environment.text);
}

/* 0: there is no such mutant. */
static int set_mutant(const char *name)
{
    static const struct {
        const char *name;
        int *flag;
    } mutants[] = {
        {"blank-is-erased", &machine.blank_is_erased}, {"late-scratch", &machine.late_scratch},
        {"no-journal", &machine.no_journal},           {"marks-two", &machine.marks_two},
        {"forgets-marks", &machine.forgets_marks},     {"no-hole", &machine.no_hole},
    };
    for (size_t i = 0; i < sizeof mutants / sizeof mutants[0]; i++)
        if (strcmp(name, mutants[i].name) == 0)
            return *mutants[i].flag = 1;
    return 0;
}

int main(int argc, char **argv)
{
    int i = 1;
    machine.seed = 1;
    board_init(&board);
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--thorough") == 0)
            machine.thorough = 1;
        else if (strcmp(argv[i], "--worn") == 0)
            machine.worn = 1;
        else if (strcmp(argv[i], "--list") == 0)
            machine.list = 1;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            machine.seed = strtoull(argv[++i], NULL, 10) * 2654435761u + 1;
        else if (i + 1 < argc && strcmp(argv[i], "--chip") == 0)
            machine.only = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--mutant") == 0 && set_mutant(argv[i + 1]))
            i++;
        else
            break;
    }
    if (i >= argc || argv[i][0] == '-') {
        fprintf(stderr,
                "usage: flash [--thorough] [--seed N] [--chip NAME] [--mutant NAME] [--list] [--worn] CASE...\n");
        return 2;
    }
    for (; i < argc; i++)
        run_case(argv[i]);
    board_free(&board);
    printf("%lu cuts, %lu unrecovered\n", machine.cuts, machine.unrecovered);
    return machine.unrecovered != 0;
}
