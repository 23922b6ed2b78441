/* fuzz_display.c - any bytes as progress lines, in any split, drawn on a screen of any size and layout.
 *
 * The first bytes choose the screen and the size of the pieces. What the lines make of the state must not depend on the
 * split, and drawing must stay within the screen's memory (the sanitizers watch).
 */
#include "../../csrc/display/canvas.c"
#include "../../csrc/display/font.c"
#include "../../csrc/display/glyphs.c"
#include "../../csrc/display/lines.c"
#include "../../csrc/display/scene.c"
#include "fuzz.h"

#define HEAD 4u

static void read_all(struct display_state *s, const uint8_t *data, size_t size, size_t piece);

static const struct display_field fields[3][3] = {
    {{11, 5}, {5, 6}, {0, 5}}, {{16, 8}, {8, 8}, {0, 8}}, {{24, 8}, {16, 8}, {8, 8}}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct display_canvas c;
    struct display_scene scene;
    struct display_state one;
    struct display_state two;
    unsigned kind;
    if (size < HEAD)
        return 0;
    memset(&c, 0, sizeof c);
    kind = data[0] % 3u;
    c.rotate = data[0] / 3u % 4u;
    c.width = 16u + data[1];
    c.height = 16u + data[2];
    c.pixel_bits = 16u + 8u * kind;
    c.red = fields[kind][0];
    c.green = fields[kind][1];
    c.blue = fields[kind][2];
    c.stride = (size_t)c.width * c.pixel_bits / 8u;
    c.size = c.stride * c.height;
    read_all(&one, data + HEAD, size - HEAD, 1u + data[3]);
    read_all(&two, data + HEAD, size - HEAD, size);
    MUST(memcmp(&one, &two, sizeof one) == 0);
    MUST(one.phase == DISPLAY_SUCCESS || one.phase == DISPLAY_FAILURE);
    MUST(one.percent >= -1 && one.percent <= 100 && one.part >= -1 && one.part <= 100);
    MUST(display_canvas_check(&c) == NULL);
    c.pixels = calloc(1, c.size);
    MUST(c.pixels != NULL && display_scene_init(&scene, &c) == 0);
    display_scene_draw(&scene, &c, &one);
    display_scene_free(&scene);
    free(c.pixels);
    return 0;
}

static void read_all(struct display_state *s, const uint8_t *data, size_t size, size_t piece)
{
    static struct display_lines lines;
    memset(&lines, 0, sizeof lines);
    display_state_init(s);
    for (size_t at = 0; at < size; at += piece)
        (void)display_lines_feed(&lines, s, (const char *)data + at, size - at < piece ? size - at : piece, NULL);
    display_state_end(s);
}
