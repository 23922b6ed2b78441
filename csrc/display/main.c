/* main.c - otadisplay: options, and the loop: lines in, frames out. */
#include "display.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef OTA_VERSION_TEXT
#define OTA_VERSION_TEXT "unknown"
#endif

#define FRAME_MS 150 /* between two frames: the update has the processor, not its picture */
#define NICE 10
#define OOM_SCORE "500"
#define EXIT_USAGE 2
#define EXIT_DEVICE 60 /* as otaunpack's for "reading or writing failed" */

struct options {
    const char *picture;
    const char *framebuffer;
    const char *geometry;
    unsigned rotate;
    int detach;       /* otaunpack does not wait for this program, and neither shall whoever waits for its stderr */
    int text_console; /* only give the screen back to the text console */
};

enum { OPT_FB = 256, OPT_GEOMETRY, OPT_DETACH, OPT_TEXT_CONSOLE, OPT_VERSION };

static const struct option long_options[] = {
    {"picture", required_argument, NULL, 'p'},
    {"rotate", required_argument, NULL, 's'},
    {"fb", required_argument, NULL, OPT_FB},
    {"geometry", required_argument, NULL, OPT_GEOMETRY},
    {"detach", no_argument, NULL, OPT_DETACH},
    {"text-console", no_argument, NULL, OPT_TEXT_CONSOLE},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void help(void)
{
    puts(
        "Usage: " DISPLAY_PROGRAM " [-p PICTURE] [-s 0|1|2|3] [options] < PROGRESS\n"
        "Show the progress of an update on the framebuffer: a picture over the whole screen, two bars, text.\n"
        "Reads the lines of otaunpack --progress json (or numeric) on stdin until it ends; the last picture stays.\n"
        "otaunpack -p PICTURE starts this program by itself.\n\n"
        "  -p, --picture FILE    JPEG or PNG, scaled to cover the screen as that lies; without one: plain\n"
        "  -s, --rotate N        turn bars and text clockwise: 0 not, 1 by 90, 2 by 180, 3 by 270 degrees\n"
        "      --fb FILE         framebuffer [$FRAMEBUFFER, else /dev/fb0]\n"
        "      --geometry WIDTHxHEIGHT,FORMAT[,STRIDE]\n"
        "                        what FILE holds, instead of asking it; FORMAT is rgb565, bgr565, xrgb1555, rgb888,\n"
        "                        bgr888, xrgb8888, xbgr8888, rgbx8888, bgrx8888 or xrgb2101010; STRIDE in bytes\n"
        "      --detach          once the screen is set up, let go of stderr; else lines that are no progress go there\n"
        "      --text-console    give the screen back to the kernel's text console, show nothing\n"
        "      --version, -h, --help\n\n"
        "Examples:\n"
        "  otaunpack -x update.ota -p upgrade.jpg -s 1\n"
        "  otaunpack -x update.ota --progress json 2>&1 >/dev/null | " DISPLAY_PROGRAM " -p upgrade.jpg\n\n"
        "Exit codes: 0 the end was shown; 2 wrong arguments; 60 no framebuffer that can be used.");
}

static int usage(const char *problem, const char *what)
{
    fprintf(stderr, DISPLAY_PROGRAM ": error: caller: wrong arguments: %s%s\n" DISPLAY_PROGRAM ": hint: see --help\n",
            problem, what);
    return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int take_options(struct options *o, int argc, char **argv)
{
    int option;
    memset(o, 0, sizeof(*o));
    o->framebuffer = getenv("FRAMEBUFFER");
    if (o->framebuffer == NULL || o->framebuffer[0] == '\0') {
        o->framebuffer = "/dev/fb0";
    }
    opterr = 0;
    while ((option = getopt_long(argc, argv, "p:s:h", long_options, NULL)) != -1) {
        switch (option) {
        case 'p':
            o->picture = optarg;
            break;
        case 's':
            if (optarg[0] < '0' || optarg[0] > '3' || optarg[1] != '\0') {
                return usage("-s is 0, 1, 2 or 3, not ", optarg);
            }
            o->rotate = (unsigned)(optarg[0] - '0');
            break;
        case OPT_FB:
            o->framebuffer = optarg;
            break;
        case OPT_GEOMETRY:
            o->geometry = optarg;
            break;
        case OPT_DETACH:
            o->detach = 1;
            break;
        case OPT_TEXT_CONSOLE:
            o->text_console = 1;
            break;
        case OPT_VERSION:
            puts(DISPLAY_PROGRAM " " OTA_VERSION_TEXT);
            return 0;
        case 'h':
            help();
            return 0;
        default:
            return usage("unknown option, or one without its argument", "");
        }
    }
    return optind < argc ? usage("not an option: ", argv[optind]) : -1;
}

/* ---- behave: the update comes first --------------------------------------------------------------------------------
 */

static void stand_back(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* out of memory, the picture goes before the update */
        ssize_t n = write(fd, OOM_SCORE, strlen(OOM_SCORE));
        (void)n;
        (void)close(fd);
    }
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN); /* a lost terminal ends neither the update nor its picture */
    (void)signal(SIGINT, SIG_IGN);
}

/* A caller may have closed stdin, stdout or stderr; the framebuffer must not take their place. */
static int occupy_standard_files(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd < 0 ? -1 : close(fd);
}

static void let_go_of_stderr(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)close(fd);
    }
}

static void warn(const char *problem, const char *then)
{
    fprintf(stderr, DISPLAY_PROGRAM ": warning: %s; %s\n", problem, then);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------
 */

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until stdin ends. other: gets the lines that are no progress, or NULL. */
static void watch(struct display_scene *scene, struct display_canvas *c, FILE *other)
{
    static struct display_lines lines;
    static struct display_state state;
    int64_t next = 0;
    int dirty = 1;
    ssize_t n = 1;
    display_state_init(&state);
    while (n != 0) {
        struct pollfd in = {STDIN_FILENO, POLLIN, 0};
        char buf[DISPLAY_LINE_MAX];
        int64_t left = next - now_ms();
        if (dirty && left <= 0) {
            display_scene_draw(scene, c, &state);
            dirty = 0;
            next = now_ms() + FRAME_MS;
        }
        if (poll(&in, 1, dirty ? (int)left : -1) <= 0) {
            continue;
        }
        n = read(STDIN_FILENO, buf, sizeof(buf));
        if (n > 0) {
            dirty |= display_lines_feed(&lines, &state, buf, (size_t)n, other);
        } else if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            n = 1;
        } else {
            n = 0;
        }
    }
    display_state_end(&state);
    display_scene_draw(scene, c, &state);
}

static int run(const struct options *o)
{
    struct display_screen screen;
    struct display_scene scene;
    char problem[256];
    stand_back();
    if (display_screen_open(&screen, o->framebuffer, o->geometry, problem, sizeof(problem)) != 0) {
        warn(problem, "nothing is shown");
        return EXIT_DEVICE;
    }
    if (o->geometry == NULL) {
        (void)display_console(1);
    }
    screen.canvas.rotate = o->rotate;
    if (o->picture == NULL) {
        display_picture_plain(&screen.canvas);
    } else if (display_picture_draw(&screen.canvas, o->picture, problem, sizeof(problem)) != 0) {
        fprintf(stderr, DISPLAY_PROGRAM ": warning: %s: %s; a plain background instead\n", o->picture, problem);
        display_picture_plain(&screen.canvas);
    }
    if (display_scene_init(&scene, &screen.canvas) != 0) {
        warn("no memory", "nothing is shown");
        display_screen_close(&screen);
        return EXIT_DEVICE;
    }
    if (o->detach) {
        let_go_of_stderr();
    }
    watch(&scene, &screen.canvas, o->detach ? NULL : stderr);
    display_scene_free(&scene);
    display_screen_close(&screen);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    int r = occupy_standard_files() == 0 ? take_options(&options, argc, argv) : EXIT_DEVICE;
    if (r >= 0) {
        return r;
    }
    if (options.text_console) {
        if (display_console(0) == 0) {
            return 0;
        }
        warn("no text console here", "nothing was changed");
        return EXIT_DEVICE;
    }
    return run(&options);
}
