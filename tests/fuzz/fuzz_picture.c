/* fuzz_picture.c - any bytes as JPEG or PNG, drawn on a screen of any size (the sanitizers watch its memory).
 *
 * The first two bytes choose the screen. Memory is bounded by what display.h says: libFuzzer's limit is below the sum
 * of what a decoder without limits would take.
 */
#include "../../csrc/display/canvas.c"
#include "../../csrc/display/picture.c"
#include "fuzz.h"

#define HEAD 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t png_mark[2] = {0x89, 'P'};
    struct display_canvas c;
    char problem[200] = "";
    int r;
    if (size < HEAD + 2)
        return 0;
    memset(&c, 0, sizeof c);
    c.width = 16u + data[0];
    c.height = 16u + data[1];
    c.pixel_bits = 16;
    c.red = (struct display_field){11, 5};
    c.green = (struct display_field){5, 6};
    c.blue = (struct display_field){0, 5};
    c.stride = (size_t)c.width * 2u;
    c.size = c.stride * c.height;
    c.pixels = calloc(1, c.size);
    MUST(c.pixels != NULL && display_canvas_check(&c) == NULL);
    if (memcmp(data + HEAD, png_mark, sizeof png_mark) == 0)
        r = draw_png(&c, data + HEAD, size - HEAD, problem, sizeof problem);
    else
        r = draw_jpeg(&c, data + HEAD, size - HEAD, problem, sizeof problem);
    MUST(r == 0 || problem[0] != '\0');
    free(c.pixels);
    return 0;
}
