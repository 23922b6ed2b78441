/* What otadisplay draws, into memory: pixel layouts, rotations, odd sizes; and what it makes of progress lines. */
#include "../../csrc/display/canvas.c"
#include "../../csrc/display/font.c"
#include "../../csrc/display/glyphs.c"
#include "../../csrc/display/lines.c"
#include "../../csrc/display/scene.c"
#include "check.h"

#define PADDING 0xa5

struct layout {
    const char *name;
    unsigned bits;
    struct display_field red, green, blue;
    uint8_t is_red[4], is_blue[4];
};

static const struct layout layouts[] = {
    {"rgb565", 16, {11, 5}, {5, 6}, {0, 5}, {0x00, 0xf8}, {0x1f, 0x00}},
    {"bgr565", 16, {0, 5}, {5, 6}, {11, 5}, {0x1f, 0x00}, {0x00, 0xf8}},
    {"xrgb1555", 16, {10, 5}, {5, 5}, {0, 5}, {0x00, 0xfc}, {0x1f, 0x80}},
    {"argb4444", 16, {8, 4}, {4, 4}, {0, 4}, {0x00, 0xff}, {0x0f, 0xf0}},
    {"rgb888", 24, {16, 8}, {8, 8}, {0, 8}, {0, 0, 0xff}, {0xff, 0, 0}},
    {"bgr888", 24, {0, 8}, {8, 8}, {16, 8}, {0xff, 0, 0}, {0, 0, 0xff}},
    {"xrgb8888", 32, {16, 8}, {8, 8}, {0, 8}, {0, 0, 0xff, 0xff}, {0xff, 0, 0, 0xff}},
    {"rgbx8888", 32, {24, 8}, {16, 8}, {8, 8}, {0xff, 0, 0, 0xff}, {0xff, 0xff, 0, 0}},
    {"xrgb2101010", 32, {20, 10}, {10, 10}, {0, 10}, {0, 0, 0xf0, 0xff}, {0xff, 0x03, 0, 0xc0}},
};
#define LAYOUTS (sizeof layouts / sizeof layouts[0])

/* Exactly the memory that it needs, with bytes behind each line that nobody may touch. */
static struct display_canvas make(const struct layout *l, unsigned width, unsigned height, unsigned rotate)
{
    struct display_canvas c;
    memset(&c, 0, sizeof c);
    c.width = width;
    c.height = height;
    c.pixel_bits = l->bits;
    c.stride = (size_t)width * l->bits / 8 + 6;
    c.size = c.stride * (height - 1u) + (size_t)width * l->bits / 8;
    c.red = l->red;
    c.green = l->green;
    c.blue = l->blue;
    c.rotate = rotate;
    c.pixels = malloc(c.size);
    memset(c.pixels, PADDING, c.size);
    return c;
}

static int padding_is_whole(const struct display_canvas *c)
{
    for (unsigned y = 0; y + 1 < c->height; y++)
        for (size_t i = (size_t)c->width * c->pixel_bits / 8; i < c->stride; i++)
            if (c->pixels[y * c->stride + i] != PADDING)
                return 0;
    return 1;
}

static void test_layouts(void)
{
    for (size_t i = 0; i < LAYOUTS; i++) {
        const struct layout *l = &layouts[i];
        struct display_canvas c = make(l, 17, 19, 0);
        check_case = l->name;
        CHECK(display_canvas_check(&c) == NULL);
        display_canvas_put(&c, 3, 2, 0xff0000);
        display_canvas_put(&c, 4, 2, 0x0000ff);
        CHECK(memcmp(c.pixels + 2 * c.stride + 3 * l->bits / 8, l->is_red, l->bits / 8) == 0);
        CHECK(memcmp(c.pixels + 2 * c.stride + 4 * l->bits / 8, l->is_blue, l->bits / 8) == 0);
        CHECK_INT(display_canvas_get(&c, 3, 2), 0xff0000);
        CHECK_INT(display_canvas_get(&c, 4, 2), 0x0000ff);
        for (unsigned grey = 0; grey < 256; grey++) {
            int step = l->red.length >= 8 ? 0 : 255 / ((1 << l->red.length) - 1) + 1;
            display_canvas_put(&c, 0, 0, grey << 16 | grey << 8 | grey);
            CHECK(abs((int)(display_canvas_get(&c, 0, 0) >> 16) - (int)grey) <= step);
        }
        display_canvas_put(&c, 17, 0, 0xffffff);
        display_canvas_put(&c, 0, 19, 0xffffff);
        display_canvas_put(&c, UINT32_MAX, UINT32_MAX, 0xffffff);
        CHECK_INT(display_canvas_get(&c, 17, 0), 0);
        CHECK(padding_is_whole(&c));
        free(c.pixels);
    }
}

static void test_rotation(void)
{
    /* the viewer's upper left corner, one pixel to the right of it: where they are on the screen */
    static const unsigned corners[4][2][2] = {
        {{0, 0}, {1, 0}}, {{30, 0}, {30, 1}}, {{30, 22}, {29, 22}}, {{0, 22}, {0, 21}}};
    for (unsigned rotate = 0; rotate < 4; rotate++) {
        struct display_canvas c = make(&layouts[4], 31, 23, rotate);
        CHECK_INT(display_canvas_width(&c), rotate % 2 == 0 ? 31 : 23);
        CHECK_INT(display_canvas_height(&c), rotate % 2 == 0 ? 23 : 31);
        for (unsigned i = 0; i < 2; i++) {
            const unsigned *at = corners[rotate][i];
            display_canvas_put(&c, i, 0, 0xffffff);
            CHECK_INT(c.pixels[at[1] * c.stride + at[0] * 3u], 0xff);
        }
        free(c.pixels);
    }
}

static void test_geometry_is_checked(void)
{
    struct display_canvas good = make(&layouts[0], 64, 48, 3);
    struct display_canvas c;
    check_case = "geometry";
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        c = good;                                                                                                      \
        change;                                                                                                        \
        CHECK(display_canvas_check(&c) != NULL);                                                                       \
    } while (0)
    CHECK(display_canvas_check(&good) == NULL);
    REFUSED(c.pixel_bits = 8);
    REFUSED(c.pixel_bits = 0);
    REFUSED(c.pixel_bits = 48);
    REFUSED(c.width = 0);
    REFUSED(c.height = 0);
    REFUSED(c.width = 100000);
    REFUSED(c.height = UINT32_MAX);
    REFUSED(c.width = 68);
    REFUSED(c.height = 49);
    REFUSED(c.size -= 1);
    REFUSED(c.size = 0);
    REFUSED(c.stride = 127);
    REFUSED(c.stride = SIZE_MAX);
    REFUSED(c.red.length = 0);
    REFUSED(c.green.offset = 16);
    REFUSED(c.green.offset = UINT32_MAX);
    REFUSED(c.blue.length = 17);
    REFUSED(c.blue.offset = 12);
    REFUSED(c.rotate = 4);
    free(good.pixels);
}

static struct display_state state_of(const char *line)
{
    struct display_state s;
    display_state_init(&s);
    if (line[0] != '\0')
        CHECK_INT(display_state_line(&s, line, strlen(line)), 1);
    return s;
}

static const char UPDATE[] = "{\"phase\": \"update\", \"percent\": 37, \"done\": 37, \"total\": 100, \"step\": 3, "
                             "\"steps\": 7, \"part\": 82, \"target\": \"/dev/mtd5\"}";

/* Any size, any layout, turned in any way: it stays within its memory, and within its panel. */
static void test_odd_sizes(void)
{
    static const unsigned sizes[][2] = {{16, 16},   {17, 31},   {16, 2000}, {2000, 16}, {128, 64},
                                        {801, 479}, {240, 321}, {33, 100},  {1366, 768}};
    struct display_state s = state_of(UPDATE);
    memset(s.target, 'W', sizeof s.target - 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (unsigned rotate = 0; rotate < 4; rotate++) {
            struct display_canvas c = make(&layouts[(i + rotate) % LAYOUTS], sizes[i][0], sizes[i][1], rotate);
            struct display_scene scene;
            unsigned changed = 0;
            check_case = "odd size";
            CHECK(display_canvas_check(&c) == NULL);
            CHECK_INT(display_scene_init(&scene, &c), 0);
            CHECK(scene.panel.x + scene.panel.width <= display_canvas_width(&c));
            CHECK(scene.panel.y + scene.panel.height <= display_canvas_height(&c));
            CHECK(scene.sub.y + scene.sub.height <= display_canvas_height(&c));
            CHECK(scene.main.y + scene.main.height <= scene.sub.y);
            display_scene_draw(&scene, &c, &s);
            for (unsigned y = 0; y < display_canvas_height(&c); y++)
                for (unsigned x = 0; x < display_canvas_width(&c); x++) {
                    const struct display_box *p = &scene.panel;
                    int inside = x >= p->x && x < p->x + p->width && y >= p->y && y < p->y + p->height;
                    changed += !inside && c.pixels[position(&c, x, y)] != PADDING;
                }
            CHECK_INT(changed, 0);
            CHECK(padding_is_whole(&c));
            display_scene_free(&scene);
            free(c.pixels);
        }
    }
}

/* What the viewer sees does not depend on how the screen is mounted. */
static void test_the_viewer_sees_the_same(void)
{
    struct display_state s = state_of(UPDATE);
    struct display_canvas first = make(&layouts[6], 400, 240, 0);
    struct display_scene scene;
    CHECK_INT(display_scene_init(&scene, &first), 0);
    display_scene_draw(&scene, &first, &s);
    display_scene_free(&scene);
    for (unsigned rotate = 1; rotate < 4; rotate++) {
        struct display_canvas c = make(&layouts[6], rotate % 2 == 0 ? 400 : 240, rotate % 2 == 0 ? 240 : 400, rotate);
        unsigned differ = 0;
        CHECK_INT(display_scene_init(&scene, &c), 0);
        display_scene_draw(&scene, &c, &s);
        for (unsigned y = 0; y < 240; y++)
            for (unsigned x = 0; x < 400; x++)
                differ += display_canvas_get(&c, x, y) != display_canvas_get(&first, x, y);
        CHECK_INT(differ, 0);
        display_scene_free(&scene);
        free(c.pixels);
    }
    free(first.pixels);
}

/* 'r', 'g' or 'b': the strongest colour in the middle line of a bar, per mille from its left. */
static char colour_at(const struct display_canvas *c, const struct display_box *bar, unsigned mille)
{
    display_rgb p = display_canvas_get(c, bar->x + bar->width * mille / 1000u, bar->y + bar->height / 6u);
    unsigned r = p >> 16, g = p >> 8 & 255u, b = p & 255u;
    return r > g && r > b ? 'r' : g > b ? 'g' : 'b';
}

static void test_bars(void)
{
    static const char check[] = "{\"phase\": \"check\", \"percent\": 50}";
    static const char success[] = "{\"phase\": \"success\", \"percent\": 100, \"code\": 0}";
    static const char failure[] = "{\"phase\": \"failure\", \"percent\": 37, \"code\": 65, \"target\": \"/dev/mtd5\"}";
    /* lines, main bar at 36 % and 38 %, sub bar at 49 % and 99 % */
    static const struct {
        const char *first, *then, want[5];
    } cases[] = {
        {"", "", "bbbb"},          {check, "", "bbgb"},       {UPDATE, "", "gbgb"},
        {UPDATE, success, "gggg"}, {UPDATE, failure, "rbrr"}, {check, failure, "bbrr"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct display_canvas c = make(&layouts[6], 640, 480, 0);
        struct display_scene scene;
        struct display_state s = state_of(cases[i].first);
        char got[5] = "";
        check_case = cases[i].then[0] != '\0' ? cases[i].then : cases[i].first;
        if (cases[i].then[0] != '\0')
            CHECK_INT(display_state_line(&s, cases[i].then, strlen(cases[i].then)), 1);
        CHECK_INT(display_scene_init(&scene, &c), 0);
        CHECK_INT(scene.main.height, 32);
        CHECK_INT(scene.main.y, 360);
        CHECK_INT(scene.main.width, 395);
        display_scene_draw(&scene, &c, &s);
        got[0] = colour_at(&c, &scene.main, 360);
        got[1] = colour_at(&c, &scene.main, 385);
        got[2] = colour_at(&c, &scene.sub, 490);
        got[3] = colour_at(&c, &scene.sub, 990);
        CHECK(strcmp(got, cases[i].want) == 0);
        display_scene_free(&scene);
        free(c.pixels);
    }
}

static void test_font(void)
{
    struct display_font font;
    display_rgb pixels[64 * 64];
    check_case = "font";
    display_font_init(&font, 40);
    CHECK_INT(display_font_width(&font, "0"), display_font_width(&font, "9"));
    CHECK_INT(display_font_width(&font, "\xc3\xa4"), display_font_width(&font, "?"));
    CHECK_INT(display_font_width(&font, "\n\x7f"), display_font_width(&font, "??"));
    for (unsigned c = 33; c < 127; c++) { /* every one leaves a trace, and no two the same */
        static uint64_t seen[128];
        char text[2] = {(char)c, '\0'};
        uint64_t sum = 0;
        memset(pixels, 0x55, sizeof pixels);
        display_font_draw(&font, pixels, 64, 64, 8, 8, text);
        for (size_t i = 0; i < 64 * 64; i++)
            sum = sum * 31 + pixels[i];
        for (unsigned other = 32; other < c; other++)
            CHECK(seen[other] != sum);
        seen[c] = sum;
    }
    display_font_draw(&font, pixels, 64, 64, -30, -30, "WWWWWWWWWW");
    display_font_draw(&font, pixels, 64, 64, 60, 60, "WWWWWWWWWW");
    display_font_free(&font);
}

static void test_lines(void)
{
    static const char *const refused[] = {
        "",
        " ",
        "x",
        "101",
        "-1",
        "1000",
        "{",
        "{}",
        "[]",
        "null",
        "{\"phase\": \"update\"",
        "{\"phase\": \"nope\"}",
        "{\"phase\": update}",
        "{\"phase\": \"update\",}",
        "{\"phase\": \"update\"} x",
        "{\"phase\" \"update\"}",
        "{\"phase\": \"update\", \"percent\": -5}",
        "{\"phase\": \"update\", \"target\": \"\\u12\"}",
        "{\"phase\": \"update\", \"target\": \"\\x\"}",
        "{\"phase\": \"update\", \"target\": \"open",
        "{\"phase\": \"update\", \"a\": {}}",
        "{\"percent\": 5}",
        "otaunpack: error: device: reading failed",
    };
    struct display_state s = state_of(UPDATE);
    check_case = "lines";
    CHECK(s.phase == DISPLAY_UPDATE && s.percent == 37 && s.part == 82 && s.step == 3 && s.steps == 7);
    CHECK(strcmp(s.target, "/dev/mtd5") == 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct display_state before = s;
        check_case = refused[i];
        CHECK_INT(display_state_line(&s, refused[i], strlen(refused[i])), 0);
        CHECK(memcmp(&before, &s, sizeof s) == 0);
    }
}

static void test_values(void)
{
    struct display_state s =
        state_of("{\"phase\":\"check\",\"percent\":99999999999999999999,\"part\":7.9,\"code\":300}");
    check_case = "values";
    CHECK_INT(s.percent, 100);
    CHECK_INT(s.part, 7);
    CHECK_INT(s.code, 0);
    s = state_of("{\"phase\": \"update\", \"percent\": null, \"target\": \"a\\u0041\\u00e9\\n\\\"\\\\/\"}\r");
    CHECK_INT(s.percent, -1);
    CHECK(strcmp(s.target, "aA??\"\\/") == 0);
    s = state_of("42");
    CHECK(s.phase == DISPLAY_UPDATE && s.percent == 42);
    s = state_of("preflight");
    CHECK(s.phase == DISPLAY_VERIFY);
    display_state_end(&s);
    CHECK(s.phase == DISPLAY_FAILURE && s.failed_in == DISPLAY_VERIFY && s.lost);
    s = state_of("success");
    CHECK_INT(display_state_line(&s, "failure", 7), 0);
    display_state_end(&s);
    CHECK(s.phase == DISPLAY_SUCCESS);
}

static void test_stream(void)
{
    static struct display_lines lines;
    struct display_state s;
    char longest[DISPLAY_LINE_MAX + 100];
    check_case = "stream";
    display_state_init(&s);
    for (size_t i = 0; i < sizeof UPDATE - 1; i++)
        CHECK_INT(display_lines_feed(&lines, &s, UPDATE + i, 1, NULL), 0);
    CHECK_INT(display_lines_feed(&lines, &s, "\n", 1, NULL), 1);
    CHECK_INT(s.percent, 37);
    memset(longest, '7', sizeof longest);
    CHECK_INT(display_lines_feed(&lines, &s, longest, sizeof longest, NULL), 0);
    CHECK_INT(display_lines_feed(&lines, &s, "\n50\n", 4, NULL), 1);
    CHECK_INT(s.percent, 50);
}

int main(void)
{
    test_layouts();
    test_rotation();
    test_geometry_is_checked();
    test_odd_sizes();
    test_the_viewer_sees_the_same();
    test_bars();
    test_font();
    test_lines();
    test_values();
    test_stream();
    return check_done();
}
