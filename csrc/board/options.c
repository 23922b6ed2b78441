/* options.c - the command line of otaunpack. */
#include "board.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPT_ROOT = 256,
    OPT_PROGRESS,
    OPT_STATUS,
    OPT_WATCHDOG,
    OPT_SELF_TEST,
    OPT_VERSION,
    OPT_VERIFY,
    OPT_IGNORE_SPACE,
    OPT_VOLATILE,
    OPT_DOWNGRADE,
    OPT_SLOT,
    OPT_SELECT,
    OPT_TARGET,
    OPT_HOOK,
    OPT_SLOTS /* and the actions behind it */
};

static const struct option long_options[] = {
    {"allow-downgrade", no_argument, NULL, OPT_DOWNGRADE},
    {"dry-run", no_argument, NULL, 'n'},
    {"help", no_argument, NULL, 'h'},
    {"hook", required_argument, NULL, OPT_HOOK},
    {"ignore-space", no_argument, NULL, OPT_IGNORE_SPACE},
    {"keys", required_argument, NULL, 'k'},
    {"mark-good", no_argument, NULL, OPT_SLOTS + OTA_SLOTS_GOOD},
    {"picture", required_argument, NULL, 'p'},
    {"progress", required_argument, NULL, OPT_PROGRESS},
    {"rollback", no_argument, NULL, OPT_SLOTS + OTA_SLOTS_ROLLBACK},
    {"root", required_argument, NULL, OPT_ROOT},
    {"rotate", required_argument, NULL, 's'},
    {"select", required_argument, NULL, OPT_SELECT},
    {"self-test", no_argument, NULL, OPT_SELF_TEST},
    {"slot", required_argument, NULL, OPT_SLOT},
    {"slot-status", no_argument, NULL, OPT_SLOTS},
    {"status", required_argument, NULL, OPT_STATUS},
    {"target", required_argument, NULL, OPT_TARGET},
    {"tmp", required_argument, NULL, 't'},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"version", no_argument, NULL, OPT_VERSION},
    {"volatile-scratch", no_argument, NULL, OPT_VOLATILE},
    {"watchdog", required_argument, NULL, OPT_WATCHDOG},
    {NULL, 0, NULL, 0},
};

static const char *const progress_names[] = {"auto", "bar", "json", "numeric", "none"};

static int usage(const char *problem, const char *what)
{
    fprintf(stderr, BOARD_PROGRAM ": error: caller: wrong arguments: %s%s\n" BOARD_PROGRAM ": hint: see --help\n",
            problem, what);
    return -OTA_E_USAGE;
}

static int set_package(struct board_options *o, const char *name, int raw)
{
    if (o->package != NULL) {
        return usage("more than one package", "");
    }
    o->package = name;
    o->raw = raw;
    return 0;
}

static int set_progress(struct board_options *o, const char *name)
{
    size_t i;
    for (i = 0; i < sizeof(progress_names) / sizeof(progress_names[0]); i++) {
        if (strcmp(name, progress_names[i]) == 0) {
            o->progress = (enum board_progress)i;
            return 0;
        }
    }
    return usage("no such progress: ", name);
}

static int set_slot(struct board_options *o, const char *name)
{
    static const char *const names[] = {"a", "b", "auto"};
    unsigned i;
    for (i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            o->slot = (enum ota_slot_choice)(OTA_SLOTS_A + i);
            return 0;
        }
    }
    return usage("no such slot: ", name);
}

static int set_select(struct board_options *o, const char *text)
{
    char *end;
    unsigned long mask = strtoul(text, &end, 0);
    if (*text < '0' || *text > '9' || *end != '\0' || mask == 0 || mask >= 1u << OTA_TARGETS_MAX) {
        return usage("no mask of up to 8 targets: ", text);
    }
    o->select = (uint32_t)mask;
    return 0;
}

static int add_pattern(struct board_options *o, const char *pattern)
{
    if (o->pattern_count == BOARD_PATTERNS) {
        return usage("too many --target", "");
    }
    o->patterns[o->pattern_count++] = pattern;
    return 0;
}

/* Options that choose targets, and slots. */
static int take_choice(struct board_options *o, int option)
{
    switch (option) {
    case OPT_SLOT:
        return set_slot(o, optarg);
    case OPT_SELECT:
        return set_select(o, optarg);
    case OPT_TARGET:
        return add_pattern(o, optarg);
    case OPT_HOOK:
        o->hook = optarg;
        return access(optarg, X_OK) == 0 ? 0 : usage("not a program: ", optarg);
    case OPT_SLOTS + OTA_SLOTS_STATUS:
    case OPT_SLOTS + OTA_SLOTS_GOOD:
    case OPT_SLOTS + OTA_SLOTS_ROLLBACK:
        o->mode = BOARD_SLOTS;
        o->slots = (enum ota_slot_action)(option - OPT_SLOTS);
        return 0;
    default:
        return usage("unknown option, or one without its argument", "");
    }
}

static int take(struct board_options *o, int option)
{
    switch (option) {
    case 'x':
        return set_package(o, optarg, 0);
    case 'r':
        return set_package(o, optarg, 1);
    case 't':
        o->tmp = optarg;
        return 0;
    case 'k':
        o->keys = optarg;
        return 0;
    case 'p':
        o->picture = optarg;
        return 0;
    case 's':
        if (optarg[0] < '0' || optarg[0] > '3' || optarg[1] != '\0') {
            return usage("-s is 0, 1, 2 or 3, not ", optarg);
        }
        o->rotate = optarg;
        return 0;
    case 'n':
        o->dry_run = 1;
        return 0;
    case 'h':
        o->mode = BOARD_HELP;
        return 0;
    case OPT_ROOT:
        o->root = optarg;
        return 0;
    case OPT_PROGRESS:
        return set_progress(o, optarg);
    case OPT_STATUS:
        o->status = optarg;
        return 0;
    case OPT_WATCHDOG:
        o->watchdog = optarg;
        return 0;
    case OPT_IGNORE_SPACE:
        o->ignore_space = 1;
        return 0;
    case OPT_DOWNGRADE:
        o->allow_downgrade = 1;
        return 0;
    case OPT_VOLATILE:
        o->volatile_tmp = 1;
        return 0;
    case OPT_SELF_TEST:
        o->mode = BOARD_SELF_TEST;
        return 0;
    case OPT_VERIFY:
        o->verify = 1;
        return 0;
    case OPT_VERSION:
        o->mode = BOARD_VERSION;
        return 0;
    default:
        return take_choice(o, option);
    }
}

int board_folder_failed(const struct board_options *o, int status, int os_error, struct board_failure *why)
{
    int of_tmp = status == -OTA_E_USAGE && access(o->root, R_OK | X_OK) == 0;
    return board_fail(why, (enum ota_error) - status, os_error, "%s %s", of_tmp ? "--tmp" : "--root",
                      of_tmp ? o->tmp : o->root);
}

int board_options_parse(struct board_options *o, int argc, char **argv)
{
    int option;
    memset(o, 0, sizeof(*o));
    o->root = "/";
    o->tmp = BOARD_TMP;
    opterr = 0; /* our own words, in the form of every other error */
    while ((option = getopt_long(argc, argv, "x:r:t:k:p:s:nh", long_options, NULL)) != -1) {
        if (take(o, option) != 0) {
            return -OTA_E_USAGE;
        }
        if (o->mode == BOARD_HELP || o->mode == BOARD_VERSION) {
            return 0;
        }
    }
    if (optind < argc) {
        return usage("not an option: ", argv[optind]);
    }
    if (o->mode == BOARD_APPLY && o->package == NULL) {
        return usage("no package: give -x FILE, or -x - for stdin", "");
    }
    if (o->rotate != NULL && o->picture == NULL) {
        return usage("-s turns the display, which -p PICTURE asks for", "");
    }
    return 0;
}

void board_help(void)
{
    static const char *const groups[] = {"caller", "package", "trust", "mismatch", "device"};
    size_t g;
    int i;
    printf(
        "Usage: " BOARD_PROGRAM " -x FILE [options]\n"
        "Apply an otastream package to this board. Nothing is written before the whole package was checked (a file)\n"
        "or everything it expects was found (a pipe). After a cut or a failure run the same package again.\n\n"
        "  -x FILE               the package, also gzip or zstd compressed from outside; -: stdin\n"
        "  -r FILE               the same, but refuse outer compression\n"
        "  -t, --tmp DIR         writable folder for scripts and built images [" BOARD_TMP "];\n"
        "                        on flash for packages that update in place\n"
        "  -k, --keys PATH       trusted keys, a PEM file or a folder of them [" BOARD_KEYS "\n"
        "                        beneath the root]; with any key, packages without a signature by one of them\n"
        "                        are refused\n"
        "  -n, --dry-run         check everything that can be checked, write nothing, run no script\n"
        "      --verify          read the whole package and check it; look at no target\n"
        "  -p, --picture FILE    show the update on the framebuffer, over this JPEG or PNG (needs otadisplay)\n"
        "  -s, --rotate N        turn its bars and text clockwise: 0 not, 1 by 90, 2 by 180, 3 by 270 degrees\n"
        "      --ignore-space    do not compare free space before writing\n"
        "      --allow-downgrade  take a package that is older than what this board has run; only without keys\n"
        "      --slot a|b|auto   write this slot (auto: the one that does not run) and start it next; what the slots\n"
        "                        are says /etc/otastream/slots\n"
        "      --select MASK     which targets of an image that has several are written; bit 0: the first\n"
        "      --target PATTERN  only targets whose path or label matches (*, ?); !PATTERN: not those; repeatable\n"
        "      --hook PROG       asked before anything is written: PROG PATH IMAGE TARGET LABEL exits with 0 to write\n"
        "                        a target, with 1 to leave it alone\n"
        "      --slot-status     show which slot runs, which is next, and what is known of them\n"
        "      --mark-good       the slot that runs works: end its trial\n"
        "      --rollback        start the other slot again\n"
        "      --volatile-scratch  update in place even if -t is in memory: a power cut then costs the target\n"
        "      --root DIR        folder that stands for / of the board [/]\n"
        "      --progress HOW    auto, bar, json, numeric or none; on stderr [auto: bar on a terminal]\n"
        "      --status FILE     file that says what happened, also after a reboot: state=not-started,\n"
        "                        failed-before-write, writing, failed-after-write or done; package, version, code\n"
        "      --watchdog DEV    watchdog to feed while at work\n"
        "      --self-test       check this program on this board; writes only beneath -t\n"
        "      --version, -h, --help\n\n"
        "SIGHUP and SIGINT stop only before the first write; SIGTERM also later, where nothing is half written.\n\n"
        "Exit codes, by who must act (0: all went well):\n");
    for (g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        printf("%s\n", groups[g]);
        for (i = 0; i < ota_error_count(); i++) {
            if (strcmp(ota_error_who(i), groups[g]) == 0) {
                printf("  %3d %s\n", ota_error_code(i), ota_error_text(i));
            }
        }
    }
}
