/* scene.c - what is on the screen: two bars over a darkened part of the background, texts in them.
 *
 * Main over sub, each 32 pixels high (more on large screens), 61.8 % of the width, from 75 % of the height on; green on
 * blue, red after a failure. Text is inside the bars, so that nothing else has to be drawn again.
 */
#include "display.h"

#include <stdlib.h>
#include <string.h>

#define BAR_PIXELS 32u  /* height of a bar */
#define SHORT_SIDE 600u /* up to here; larger screens get larger bars */
#define SMALLEST_BAR 8u
#define TEXT_MAX (DISPLAY_TARGET_MAX + 64u)
#define TEXT_LINE 11u    /* heights of a letter that a bar is long at least: the longest label fits */
#define SHORTEST_TAIL 5u /* letters of a target that still say something */
#define PANEL_SHADE 150u /* of 255 */

static const display_rgb SHADE = 0x050d18;
static const display_rgb BLUE = 0x1c4a94;
static const display_rgb GREEN = 0x1e8e3e;
static const display_rgb RED = 0xc5221f;

/* ---- layout ------------------------------------------------------------------------------------------------------ */

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void lay_out(struct display_scene *scene, unsigned width, unsigned height)
{
    unsigned side = smaller(width, height);
    unsigned bar = side > SHORT_SIDE ? BAR_PIXELS * side / SHORT_SIDE : BAR_PIXELS;
    unsigned gap;
    unsigned pad;
    unsigned top;
    bar = smaller(bar, height / 5u);
    bar = bar < SMALLEST_BAR ? smaller(SMALLEST_BAR, height * 2u / 5u) : bar;
    gap = bar / 3u;
    top = (unsigned)((uint64_t)height * 75u / 100u);
    pad = bar / 2u;
    top = smaller(top, height > 2u * bar + gap + pad ? height - 2u * bar - gap - pad : 0);
    scene->main.width = scene->sub.width = (unsigned)((uint64_t)width * 618u / 1000u);
    scene->main.x = scene->sub.x = (width - scene->main.width) / 2u;
    scene->main.height = scene->sub.height = bar;
    scene->main.y = top;
    scene->sub.y = top + bar + gap;
    pad = smaller(smaller(pad, scene->main.x), height - (scene->sub.y + bar));
    scene->panel.x = scene->main.x - pad;
    scene->panel.y = top - smaller(pad, top);
    scene->panel.width = scene->main.width + 2u * pad;
    scene->panel.height = scene->sub.y + bar + pad - scene->panel.y;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

/* How much of the pixel at x, y lies within a box of that size with round corners: 0..255. */
static unsigned cover(unsigned x, unsigned y, unsigned width, unsigned height, unsigned radius)
{
    /* in half pixels, from the nearest corner's centre; the corner itself is the circle's outside */
    unsigned fx = smaller(2u * x + 1u, 2u * (width - x) - 1u);
    unsigned fy = smaller(2u * y + 1u, 2u * (height - y) - 1u);
    unsigned r = 2u * radius;
    uint64_t inner;
    uint64_t outer;
    uint64_t square;
    if (fx >= r || fy >= r) {
        return 255;
    }
    square = (uint64_t)(r - fx) * (r - fx) + (uint64_t)(r - fy) * (r - fy);
    inner = (uint64_t)(r > 1u ? r - 1u : 0) * (r > 1u ? r - 1u : 0);
    outer = (uint64_t)(r + 1u) * (r + 1u);
    return square <= inner ? 255u : square >= outer ? 0u : (unsigned)((outer - square) * 255u / (outer - inner));
}

/* A colour at line y of a bar: light comes from above. */
static display_rgb lit(display_rgb colour, unsigned y, unsigned height)
{
    unsigned half = height / 2u;
    return y < half ? display_mix(colour, 0xffffff, (half - y) * 50u / (half + 1u))
                    : display_mix(colour, 0x000000, (y - half) * 60u / (half + 1u));
}

/* A bar, filled to share of 10000, into the panel being drawn. */
static void draw_bar(struct display_scene *scene, const struct display_box *bar, unsigned share, display_rgb colour)
{
    unsigned radius = bar->height / 4u;
    uint64_t filled = (uint64_t)bar->width * 255u * share / 10000u; /* in 255ths of a pixel */
    unsigned x;
    unsigned y;
    for (y = 0; y < bar->height; y++) {
        size_t row = (size_t)(bar->y - scene->panel.y + y) * scene->panel.width + (bar->x - scene->panel.x);
        display_rgb empty = lit(BLUE, y, bar->height);
        display_rgb full = lit(colour, y, bar->height);
        for (x = 0; x < bar->width; x++) {
            uint64_t from = (uint64_t)x * 255u;
            unsigned part = filled <= from ? 0u : filled >= from + 255u ? 255u : (unsigned)(filled - from);
            display_rgb *at = &scene->work[row + x];
            *at = display_mix(*at, display_mix(empty, full, part), cover(x, y, bar->width, bar->height, radius));
        }
    }
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* What fits into `room` pixels of "label target": of a path the end says more than its beginning. 1: all of it. */
static int fit(struct display_font *font, char *text, size_t size, const char *label, const char *target, unsigned room)
{
    const char *dots = "";
    size_t len;
    while (strlen(target) >= (dots[0] == '\0' ? 1u : SHORTEST_TAIL)) {
        (void)snprintf(text, size, "%s %s%s", label, dots, target);
        if (display_font_width(font, text) <= room) {
            return dots[0] == '\0';
        }
        dots = "...";
        target++;
    }
    (void)snprintf(text, size, "%.*s", (int)strcspn(label, ":"), label);
    for (len = strlen(text); len > 0 && display_font_width(font, text) > room; len--) {
        text[len - 1] = '\0';
    }
    return dots[0] == '\0';
}

/* spare: `right` is left out where it would shorten the target. */
static void draw_texts(struct display_scene *scene, const struct display_box *bar, const char *label,
                       const char *target, const char *right, int spare)
{
    struct display_font *font = &scene->font;
    char text[TEXT_MAX];
    unsigned inset = bar->height / 3u;
    unsigned room = bar->width > 2u * inset ? bar->width - 2u * inset : 0;
    unsigned taken = display_font_width(font, right);
    unsigned left = room > taken + inset ? room - taken - inset : 0;
    int x = (int)(bar->x - scene->panel.x);
    int y = (int)(bar->y - scene->panel.y) + ((int)bar->height - (int)font->height) / 2;
    if (!fit(font, text, sizeof(text), label, target, right[0] != '\0' ? left : room) && spare) {
        (void)fit(font, text, sizeof(text), label, target, room);
        right = "";
    }
    display_font_draw(font, scene->work, scene->panel.width, scene->panel.height, x + (int)inset, y, text);
    if (right[0] != '\0' && taken <= room) {
        display_font_draw(font, scene->work, scene->panel.width, scene->panel.height, x + (int)(inset + room - taken),
                          y, right);
    }
}

/* ---- state -> bars -------------------------------------------------------------------------------------------------
 */

/* What is shown of a state: the bars in per cent, -1: not known. */
struct shown {
    int main, sub;
    const char *label;
    char right[24];
};

static int main_percent(enum display_phase phase, const struct display_state *s)
{
    switch (phase) {
    case DISPLAY_UPDATE:
        return s->percent;
    case DISPLAY_FINISH:
    case DISPLAY_SUCCESS:
        return 100;
    default:
        return 0;
    }
}

static const char *failure_label(const struct display_state *s)
{
    switch (s->failed_in) {
    case DISPLAY_START:
    case DISPLAY_VERIFY:
        return s->lost ? "Verify interrupted" : "Verify failed:";
    case DISPLAY_PREPARE:
        return s->lost ? "Start interrupted" : "Start failed:";
    case DISPLAY_FINISH:
        return s->lost ? "Finish interrupted" : "Finish failed:";
    default:
        return s->lost ? "Update interrupted" : "Update failed:";
    }
}

static void show(const struct display_state *s, struct shown *out)
{
    static const char *const labels[] = {"Start", "Verifying", "Preparing", "Updating", "Finishing", "Success"};
    out->right[0] = '\0';
    if (s->phase == DISPLAY_FAILURE) {
        out->main = main_percent(s->failed_in, s);
        out->sub = 100;
        out->label = failure_label(s);
        if (s->code > 0) {
            (void)snprintf(out->right, sizeof(out->right), "Error %d", s->code);
        }
        return;
    }
    out->main = main_percent(s->phase, s);
    out->label = labels[s->phase];
    switch (s->phase) {
    case DISPLAY_VERIFY:
        out->sub = s->percent;
        break;
    case DISPLAY_UPDATE:
        out->sub = s->part >= 0 ? s->part : s->percent;
        break;
    case DISPLAY_SUCCESS:
        out->sub = 100;
        break;
    default:
        out->sub = -1;
        break;
    }
    if (out->sub >= 0) {
        (void)snprintf(out->right, sizeof(out->right), "%d%%", out->sub);
    }
}

static unsigned share(int percent)
{
    return percent < 0 ? 0u : percent > 100 ? 10000u : (unsigned)percent * 100u;
}

static void draw_state(struct display_scene *scene, const struct display_state *s)
{
    display_rgb colour = s->phase == DISPLAY_FAILURE ? RED : GREEN;
    struct shown shown;
    char steps[64] = "Update";
    char percent[16] = "";
    show(s, &shown);
    if (s->steps > 0) {
        (void)snprintf(steps, sizeof(steps), "Step %llu/%llu", (unsigned long long)s->step,
                       (unsigned long long)s->steps);
    }
    if (shown.main >= 0) {
        (void)snprintf(percent, sizeof(percent), "%d%%", shown.main);
    }
    draw_bar(scene, &scene->main, share(shown.main), colour);
    draw_bar(scene, &scene->sub, share(shown.sub), colour);
    draw_texts(scene, &scene->main, steps, "", percent, 0);
    draw_texts(scene, &scene->sub, shown.label, s->target, shown.right, s->phase == DISPLAY_FAILURE);
}

/* ---- the scene -----------------------------------------------------------------------------------------------------
 */

int display_scene_init(struct display_scene *scene, const struct display_canvas *c)
{
    struct display_box *panel = &scene->panel;
    size_t pixels;
    unsigned x;
    unsigned y;
    memset(scene, 0, sizeof(*scene));
    lay_out(scene, display_canvas_width(c), display_canvas_height(c));
    display_font_init(&scene->font, smaller(scene->main.height * 3u / 4u, scene->main.width / TEXT_LINE));
    pixels = (size_t)panel->width * panel->height;
    scene->under = malloc(pixels * sizeof(*scene->under));
    scene->work = malloc(pixels * sizeof(*scene->work));
    if (scene->under == NULL || scene->work == NULL) {
        display_scene_free(scene);
        return -1;
    }
    for (y = 0; y < panel->height; y++) {
        for (x = 0; x < panel->width; x++) {
            unsigned within = cover(x, y, panel->width, panel->height, scene->main.height / 2u);
            display_rgb behind = display_canvas_get(c, panel->x + x, panel->y + y);
            scene->under[(size_t)y * panel->width + x] = display_mix(behind, SHADE, within * PANEL_SHADE / 255u);
        }
    }
    return 0;
}

void display_scene_free(struct display_scene *scene)
{
    display_font_free(&scene->font);
    free(scene->under);
    free(scene->work);
    scene->under = NULL;
    scene->work = NULL;
}

void display_scene_draw(struct display_scene *scene, struct display_canvas *c, const struct display_state *s)
{
    const struct display_box *panel = &scene->panel;
    unsigned x;
    unsigned y;
    memcpy(scene->work, scene->under, (size_t)panel->width * panel->height * sizeof(*scene->work));
    draw_state(scene, s);
    for (y = 0; y < panel->height; y++) {
        for (x = 0; x < panel->width; x++) {
            display_canvas_put(c, panel->x + x, panel->y + y, scene->work[(size_t)y * panel->width + x]);
        }
    }
}
