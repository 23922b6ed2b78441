/* screen.c - the framebuffer device, or a file that stands for one. */
#include "display.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fb.h>
#include <linux/kd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONSOLE "/dev/tty0"

static int trouble(char *problem, size_t size, const char *what, const char *why)
{
    (void)snprintf(problem, size, "%s: %s", what, why);
    return -1;
}

/* ---- what a framebuffer looks like ------------------------------------------------------------------------------- */

static struct display_field field(const struct fb_bitfield *f)
{
    struct display_field made = {f->offset, f->msb_right == 0 ? f->length : 0};
    return made;
}

/* Ask the device. *offset: bytes before the part that is shown; *total: bytes that can be mapped. */
static int ask_device(int fd, struct display_canvas *c, size_t *offset, size_t *total, char *problem, size_t size)
{
    struct fb_var_screeninfo var;
    struct fb_fix_screeninfo fix;
    memset(&var, 0, sizeof(var));
    memset(&fix, 0, sizeof(fix));
    if (ioctl(fd, FBIOGET_VSCREENINFO, &var) != 0 || ioctl(fd, FBIOGET_FSCREENINFO, &fix) != 0) {
        return trouble(problem, size, "not a framebuffer", strerror(errno));
    }
    if (fix.type != FB_TYPE_PACKED_PIXELS || var.nonstd != 0 || var.grayscale != 0 ||
        (fix.visual != FB_VISUAL_TRUECOLOR && fix.visual != FB_VISUAL_DIRECTCOLOR)) {
        return trouble(problem, size, "not a framebuffer of colour pixels", "other kinds are not known here");
    }
    c->width = var.xres;
    c->height = var.yres;
    c->pixel_bits = var.bits_per_pixel;
    c->stride = fix.line_length;
    c->red = field(&var.red);
    c->green = field(&var.green);
    c->blue = field(&var.blue);
    *total = fix.smem_len;
    *offset = SIZE_MAX;
    if (var.xoffset <= DISPLAY_SIDE_MAX && var.yoffset <= 8u * DISPLAY_SIDE_MAX) {
        uint64_t at = (uint64_t)var.yoffset * fix.line_length + (uint64_t)var.xoffset * (var.bits_per_pixel / 8u);
        *offset = at < SIZE_MAX ? (size_t)at : SIZE_MAX;
    }
    (void)ioctl(fd, FBIOBLANK, FB_BLANK_UNBLANK); /* a driver that cannot blank was not blank */
    return 0;
}

/* Pixel formats by the names that the kernel's DRM gives them. */
static const struct {
    const char *name;
    unsigned bits;
    struct display_field red, green, blue;
} formats[] = {
    {"rgb565", 16, {11, 5}, {5, 6}, {0, 5}},    {"bgr565", 16, {0, 5}, {5, 6}, {11, 5}},
    {"xrgb1555", 16, {10, 5}, {5, 5}, {0, 5}},  {"rgb888", 24, {16, 8}, {8, 8}, {0, 8}},
    {"bgr888", 24, {0, 8}, {8, 8}, {16, 8}},    {"xrgb8888", 32, {16, 8}, {8, 8}, {0, 8}},
    {"xbgr8888", 32, {0, 8}, {8, 8}, {16, 8}},  {"rgbx8888", 32, {24, 8}, {16, 8}, {8, 8}},
    {"bgrx8888", 32, {8, 8}, {16, 8}, {24, 8}}, {"xrgb2101010", 32, {20, 10}, {10, 10}, {0, 10}},
};

/* A whole number of at most 9 digits, text is moved behind it; 0 if there is none. */
static unsigned take_number(const char **text)
{
    unsigned value = 0;
    unsigned digits;
    for (digits = 0; **text >= '0' && **text <= '9' && digits < 9; digits++) {
        value = value * 10u + (unsigned)(*(*text)++ - '0');
    }
    return value;
}

static int take_geometry(struct display_canvas *c, const char *text, char *problem, size_t size)
{
    const char *at = text;
    size_t i;
    c->width = take_number(&at);
    if (*at++ != 'x') {
        return trouble(problem, size, text, "not WIDTHxHEIGHT,FORMAT");
    }
    c->height = take_number(&at);
    if (*at++ != ',') {
        return trouble(problem, size, text, "not WIDTHxHEIGHT,FORMAT");
    }
    for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        size_t len = strlen(formats[i].name);
        if (strncmp(at, formats[i].name, len) == 0 && (at[len] == '\0' || at[len] == ',')) {
            c->pixel_bits = formats[i].bits;
            c->red = formats[i].red;
            c->green = formats[i].green;
            c->blue = formats[i].blue;
            at += len;
            break;
        }
    }
    if (c->pixel_bits == 0) {
        return trouble(problem, size, text, "no such pixel format");
    }
    c->stride = (size_t)c->width * (c->pixel_bits / 8u);
    if (*at == ',') {
        at++;
        c->stride = take_number(&at);
    }
    return *at == '\0' ? 0 : trouble(problem, size, text, "not WIDTHxHEIGHT,FORMAT,STRIDE");
}

/* ---- open and close ------------------------------------------------------------------------------------------------
 */

static int map(struct display_screen *s, int fd, size_t offset, size_t total, char *problem, size_t size)
{
    const char *wrong;
    if (offset >= total) {
        return trouble(problem, size, "framebuffer", "no memory behind it");
    }
    s->canvas.size = total - offset;
    wrong = display_canvas_check(&s->canvas);
    if (wrong != NULL) {
        return trouble(problem, size, "framebuffer", wrong);
    }
    s->mapping = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s->mapping == MAP_FAILED) {
        s->mapping = NULL;
        return trouble(problem, size, "framebuffer cannot be mapped", strerror(errno));
    }
    s->mapping_size = total;
    s->canvas.pixels = s->mapping + offset;
    return 0;
}

int display_screen_open(struct display_screen *s, const char *path, const char *geometry, char *problem,
                        size_t problem_size)
{
    struct stat st;
    size_t offset = 0;
    size_t total = 0;
    int fd;
    int r;
    memset(s, 0, sizeof(*s));
    fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return trouble(problem, problem_size, path, strerror(errno));
    }
    if (geometry == NULL) {
        r = ask_device(fd, &s->canvas, &offset, &total, problem, problem_size);
    } else {
        r = take_geometry(&s->canvas, geometry, problem, problem_size);
        total = S_ISREG(st.st_mode) ? (size_t)st.st_size : s->canvas.stride * s->canvas.height;
    }
    if (r == 0) {
        r = map(s, fd, offset, total, problem, problem_size);
    }
    (void)close(fd);
    return r;
}

void display_screen_close(struct display_screen *s)
{
    if (s->mapping != NULL) {
        (void)munmap(s->mapping, s->mapping_size);
        s->mapping = NULL;
    }
}

int display_console(int graphics)
{
    int fd = open(CONSOLE, O_RDWR | O_CLOEXEC | O_NOCTTY);
    int r = -1;
    if (fd >= 0) {
        r = ioctl(fd, KDSETMODE, graphics ? KD_GRAPHICS : KD_TEXT);
        (void)close(fd);
    }
    return r == 0 ? 0 : -1;
}
