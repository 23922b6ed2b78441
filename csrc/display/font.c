/* font.c - text at any size, from the strokes of glyphs.c.
 *
 * A glyph is a few lines on a grid. For each pixel its distance from the nearest of them is kept, in sixteenths of a
 * pixel; the stroke and a dark edge around it both follow from that, with smooth borders.
 */
#include "display.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GRID 16.0f      /* units in a line */
#define STROKE 0.78f    /* half the width of a stroke, in units */
#define CURVE_PIECES 6u /* straight pieces of one curve */
#define POINTS_MAX 24u  /* of one stroke in glyphs.c */
#define SIXTEENTHS 16.0f

struct point {
    float x, y;
};

/* One glyph being drawn. */
struct pen {
    uint8_t *drawn;
    unsigned width, height;
    float unit; /* pixels of a unit of the grid */
};

static float clamped(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* Distance of p from the line between a and b. */
static float distance(struct point p, struct point a, struct point b)
{
    float dx = b.x - a.x;
    float dy = b.y - a.y;
    float square = dx * dx + dy * dy;
    float along = square > 0 ? clamped(((p.x - a.x) * dx + (p.y - a.y) * dy) / square, 0, 1) : 0;
    float ex = p.x - (a.x + along * dx);
    float ey = p.y - (a.y + along * dy);
    return sqrtf(ex * ex + ey * ey);
}

static void draw_line(const struct pen *pen, struct point a, struct point b)
{
    const float reach = 255.0f / SIXTEENTHS;
    unsigned x;
    unsigned y;
    a.x *= pen->unit, a.y *= pen->unit, b.x *= pen->unit, b.y *= pen->unit;
    for (y = 0; y < pen->height; y++) {
        float py = (float)y + 0.5f;
        if (py < fminf(a.y, b.y) - reach || py > fmaxf(a.y, b.y) + reach) {
            continue;
        }
        for (x = 0; x < pen->width; x++) {
            struct point p = {(float)x + 0.5f, py};
            float d = distance(p, a, b) * SIXTEENTHS;
            uint8_t *at = &pen->drawn[(size_t)y * pen->width + x];
            if (d < (float)*at) {
                *at = (uint8_t)d;
            }
        }
    }
}

static struct point middle(struct point a, struct point b)
{
    struct point m = {(a.x + b.x) / 2, (a.y + b.y) / 2};
    return m;
}

/* A parabola from a to b, pulled towards c. */
static void draw_curve(const struct pen *pen, struct point a, struct point c, struct point b)
{
    struct point from = a;
    unsigned i;
    for (i = 1; i <= CURVE_PIECES; i++) {
        float t = (float)i / (float)CURVE_PIECES;
        float s = 1 - t;
        struct point to = {s * s * a.x + 2 * s * t * c.x + t * t * b.x, s * s * a.y + 2 * s * t * c.y + t * t * b.y};
        draw_line(pen, from, to);
        from = to;
    }
}

/* A quadratic B-spline: it touches the middle of each leg of its points. */
static void draw_smooth(const struct pen *pen, const struct point *p, unsigned n, int closed)
{
    unsigned i;
    struct point from = closed ? middle(p[n - 1], p[0]) : p[0];
    for (i = closed ? 0 : 1; i + (closed ? 0u : 1u) < n; i++) {
        struct point next = p[(i + 1) % n];
        struct point to = !closed && i + 2 == n ? next : middle(p[i], next);
        draw_curve(pen, from, p[i], to);
        from = to;
    }
}

static void draw_stroke(const struct pen *pen, char kind, const struct point *p, unsigned n)
{
    unsigned i;
    if (kind == 'P' || n < 3) {
        for (i = 0; i + 1 < n; i++) {
            draw_line(pen, p[i], p[i + 1]);
        }
    } else {
        draw_smooth(pen, p, n, kind == 'O');
    }
}

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10u;
}

static unsigned advance_of(const struct display_font *f, unsigned glyph)
{
    return (digit(display_glyphs[glyph][0]) * f->height + 8u) / 16u;
}

/* The glyph's distances, drawn now if they are not there; NULL without memory, and nothing is shown then. */
static const uint8_t *drawn(struct display_font *f, unsigned glyph)
{
    const char *at = display_glyphs[glyph] + 1;
    struct pen pen = {NULL, f->advance[glyph] + f->height / 8u, f->height, (float)f->height / GRID};
    if (f->drawn[glyph] != NULL) {
        return f->drawn[glyph];
    }
    pen.drawn = malloc((size_t)pen.width * pen.height);
    if (pen.drawn == NULL) {
        return NULL;
    }
    memset(pen.drawn, 255, (size_t)pen.width * pen.height);
    while (*at != '\0') {
        struct point p[POINTS_MAX];
        char kind = *at++;
        unsigned n = 0;
        while (*at != '\0' && *at != 'P' && *at != 'S' && *at != 'O' && n < POINTS_MAX) {
            p[n].x = (float)digit(at[0]) + 0.25f;
            p[n].y = (float)digit(at[1]) + 0.5f;
            n++;
            at += 2;
        }
        draw_stroke(&pen, kind, p, n);
    }
    f->drawn[glyph] = pen.drawn;
    return pen.drawn;
}

void display_font_init(struct display_font *f, unsigned height)
{
    unsigned i;
    memset(f, 0, sizeof(*f));
    f->height = height < 4 ? 4 : height;
    for (i = 0; i < DISPLAY_GLYPHS; i++) {
        f->advance[i] = advance_of(f, i);
    }
}

void display_font_free(struct display_font *f)
{
    unsigned i;
    for (i = 0; i < DISPLAY_GLYPHS; i++) {
        free(f->drawn[i]);
        f->drawn[i] = NULL;
    }
}

/* Number of the glyph for the next character, which text is moved behind. */
static unsigned next_glyph(const char **text)
{
    unsigned char c = (unsigned char)*(*text)++;
    if (c >= 0x80) {
        while (((unsigned char)**text & 0xc0u) == 0x80u) { /* the rest of a UTF-8 character */
            (*text)++;
        }
    }
    return c >= 32 && c < 127 ? c - 32u : '?' - 32u;
}

unsigned display_font_width(struct display_font *f, const char *text)
{
    unsigned width = 0;
    while (*text != '\0') {
        width += f->advance[next_glyph(&text)];
    }
    return width;
}

static void draw_glyph(struct display_font *f, display_rgb *pixels, unsigned width, unsigned height, int x, int y,
                       unsigned glyph)
{
    const uint8_t *from = drawn(f, glyph);
    unsigned own_width = f->advance[glyph] + f->height / 8u;
    float unit = (float)f->height / GRID;
    float stroke = (STROKE * unit + 0.5f) * SIXTEENTHS; /* nothing is white from here on */
    float edge = stroke + fmaxf(unit * 0.7f, 1.0f) * SIXTEENTHS;
    unsigned i;
    unsigned j;
    for (j = 0; from != NULL && j < f->height; j++) {
        for (i = 0; i < own_width; i++) {
            float d = (float)from[(size_t)j * own_width + i];
            int px = x + (int)i;
            int py = y + (int)j;
            display_rgb *at;
            if (d >= edge || px < 0 || py < 0 || px >= (int)width || py >= (int)height) {
                continue;
            }
            at = &pixels[(size_t)py * width + (size_t)px];
            *at = display_mix(*at, 0x04101f, (unsigned)(clamped((edge - d) / SIXTEENTHS, 0, 1) * 150));
            *at = display_mix(*at, 0xffffff, (unsigned)(clamped((stroke - d) / SIXTEENTHS, 0, 1) * 255));
        }
    }
}

void display_font_draw(struct display_font *f, display_rgb *pixels, unsigned width, unsigned height, int x, int y,
                       const char *text)
{
    while (*text != '\0' && x < (int)width) {
        unsigned glyph = next_glyph(&text);
        draw_glyph(f, pixels, width, height, x, y, glyph);
        x += (int)f->advance[glyph];
    }
}
