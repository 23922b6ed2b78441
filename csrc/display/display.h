/* display.h - what the files of otadisplay share.
 *
 * otadisplay shows the progress of an update on a Linux framebuffer: a picture over the whole screen, two bars, text.
 * It reads progress lines on stdin (docs/progress.md) and knows nothing else of the update: whatever happens to it,
 * the update goes on.
 *
 *   main.c      options, the loop: lines in, frames out
 *   lines.c     progress lines -> state
 *   scene.c     state -> what the bars and texts look like
 *   font.c      text at any size, from the strokes of glyphs.c
 *   picture.c   JPEG and PNG, scaled to the screen while they are decoded
 *   canvas.c    pixels of any layout in memory, turned by 0, 90, 180 or 270 degrees
 *   screen.c    the framebuffer device, or a file that stands for one
 *
 * canvas, font, lines and scene make no system calls; only main and screen look at the machine.
 */
#ifndef OTA_DISPLAY_H
#define OTA_DISPLAY_H

#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* this header comes first in every file of the program */
#endif

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DISPLAY_PROGRAM "otadisplay"
#define DISPLAY_SIDE_MAX 16384u /* pixels of a screen, each way */

typedef uint32_t display_rgb; /* 0xRRGGBB */

/* ---- canvas ------------------------------------------------------------------------------------------------------ */

/* Where a colour stands in a pixel, in bits from its least significant one. length 0: the pixel has no such field. */
struct display_field {
    unsigned offset;
    unsigned length;
};

/* Pixels in memory. Coordinates are those of the viewer, who sees the screen turned by `rotate` quarter turns clockwise
 * (as the kernel's fbcon=rotate: counts them). */
struct display_canvas {
    uint8_t *pixels; /* of the upper left corner of the screen, not turned */
    size_t size;     /* bytes from there on */
    unsigned width;  /* of the screen, not turned */
    unsigned height;
    size_t stride;       /* bytes from one line to the next */
    unsigned pixel_bits; /* 16, 24 or 32; least significant byte first */
    struct display_field red, green, blue;
    unsigned rotate; /* 0..3 */
};

/* NULL if all of it lies within its memory, else what is wrong with it, for people. */
const char *display_canvas_check(const struct display_canvas *c);
/* Size as the viewer sees it. */
unsigned display_canvas_width(const struct display_canvas *c);
unsigned display_canvas_height(const struct display_canvas *c);
/* Set one pixel; outside the canvas nothing happens. Bits of no colour are set: some hardware takes them for opacity,
 * whatever its driver says. */
void display_canvas_put(struct display_canvas *c, unsigned x, unsigned y, display_rgb colour);
/* What a pixel shows, to the precision that it has; 0 outside. */
display_rgb display_canvas_get(const struct display_canvas *c, unsigned x, unsigned y);
/* a with weight 255 - share, b with weight share (0..255). */
display_rgb display_mix(display_rgb a, display_rgb b, unsigned share);

/* ---- picture ----------------------------------------------------------------------------------------------------- */

#define DISPLAY_PICTURE_BYTES (16u << 20)  /* longest file */
#define DISPLAY_PICTURE_SIDE 8192u         /* longest side, in pixels */
#define DISPLAY_PICTURE_MEMORY (16u << 20) /* what decoding may take */

/* Draw a JPEG or PNG file over the whole screen as the screen lies (its rotation is not used): scaled so that it covers
 * it, what hangs over is cut off on both sides. 0, or -1 and what was wrong in problem; the canvas may then hold the
 * upper part. */
int display_picture_draw(struct display_canvas *c, const char *path, char *problem, size_t problem_size);
/* The background without a picture. */
void display_picture_plain(struct display_canvas *c);

/* ---- font -------------------------------------------------------------------------------------------------------- */

#define DISPLAY_GLYPHS 95u /* ASCII 32..126 */

/* Strokes of a glyph on a grid: x from its left edge; y 2 is the top of capitals, 5 of small letters, 12 the base line.
 * The first character is the advance, then strokes: P a polyline, S a smooth line, O a closed smooth line, followed by
 * points xy. Numbers are 0-9, a-f. */
extern const char *const display_glyphs[DISPLAY_GLYPHS];

struct display_font {
    unsigned height;                /* of a line, in pixels; 16 units of the grid */
    uint8_t *drawn[DISPLAY_GLYPHS]; /* distance of each pixel from the stroke, made when first used */
    unsigned advance[DISPLAY_GLYPHS];
};

/* height: 4 pixels and more. */
void display_font_init(struct display_font *f, unsigned height);
void display_font_free(struct display_font *f);
/* Pixels that a text takes. What is not ASCII counts as one '?' a character. */
unsigned display_font_width(struct display_font *f, const char *text);
/* Draw white text with a dark edge into pixels (width x height, row by row), its upper left corner at x, y. What lies
 * outside is left out. */
void display_font_draw(struct display_font *f, display_rgb *pixels, unsigned width, unsigned height, int x, int y,
                       const char *text);

/* ---- progress lines ---------------------------------------------------------------------------------------------- */

#define DISPLAY_LINE_MAX 4096u
#define DISPLAY_TARGET_MAX 256u

enum display_phase {
    DISPLAY_START,
    DISPLAY_VERIFY,
    DISPLAY_PREPARE, /* begin script */
    DISPLAY_UPDATE,
    DISPLAY_FINISH, /* end script */
    DISPLAY_SUCCESS,
    DISPLAY_FAILURE
};

struct display_state {
    enum display_phase phase;
    enum display_phase failed_in; /* with DISPLAY_FAILURE: where it happened */
    int lost;                     /* with DISPLAY_FAILURE: nobody said how it ended */
    int code;                     /* exit code, 0: not said */
    int percent;                  /* of the phase, -1: not known */
    int part;                     /* of the record at work, -1: not known */
    uint64_t step;                /* number of the record at work, from 1 */
    uint64_t steps;               /* 0: not known */
    char target[DISPLAY_TARGET_MAX];
};

void display_state_init(struct display_state *s);
/* Take one line without its end. 1: it was progress; 0: it was not, the state stays. */
int display_state_line(struct display_state *s, const char *line, size_t len);
/* No more lines come. */
void display_state_end(struct display_state *s);

/* Splits a stream into lines; those longer than DISPLAY_LINE_MAX are dropped. */
struct display_lines {
    size_t fill;
    int dropping;
    char buf[DISPLAY_LINE_MAX];
};

/* Take bytes into the state. 1 if there was progress. other, if not NULL, gets lines that are no progress, made
 * printable. */
int display_lines_feed(struct display_lines *l, struct display_state *s, const char *data, size_t len, FILE *other);

/* ---- scene ------------------------------------------------------------------------------------------------------- */

struct display_box {
    unsigned x, y, width, height;
};

struct display_scene {
    struct display_box panel; /* darkened part of the background that holds the bars */
    struct display_box main;
    struct display_box sub;
    struct display_font font;
    display_rgb *under; /* the panel without bars */
    display_rgb *work;  /* the panel being drawn */
};

/* Lay out for a canvas that holds the background already, and take what is beneath the bars from it. 0, or -1: no
 * memory. */
int display_scene_init(struct display_scene *scene, const struct display_canvas *c);
void display_scene_free(struct display_scene *scene);
void display_scene_draw(struct display_scene *scene, struct display_canvas *c, const struct display_state *s);

/* ---- screen ------------------------------------------------------------------------------------------------------ */

struct display_screen {
    struct display_canvas canvas;
    uint8_t *mapping;
    size_t mapping_size;
};

/* Open and map a framebuffer; geometry NULL: ask the device, else "WIDTHxHEIGHT,FORMAT[,STRIDE]" says what the file or
 * device holds. 0, or -1 and what was wrong in problem. */
int display_screen_open(struct display_screen *s, const char *path, const char *geometry, char *problem,
                        size_t problem_size);
void display_screen_close(struct display_screen *s);
/* Keep the kernel's text console from drawing over the picture (1), or give it back its screen (0). -1: there is no
 * such console. */
int display_console(int graphics);

#endif
