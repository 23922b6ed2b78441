/* canvas.c - pixels of any layout in memory, turned by 0, 90, 180 or 270 degrees. */
#include "display.h"

static int field_fits(const struct display_field *f, unsigned bits)
{
    return f->length >= 1 && f->length <= 16 && f->offset < bits && f->length <= bits - f->offset;
}

const char *display_canvas_check(const struct display_canvas *c)
{
    uint64_t line = (uint64_t)c->width * (c->pixel_bits / 8u);
    if (c->pixel_bits != 16 && c->pixel_bits != 24 && c->pixel_bits != 32) {
        return "not 16, 24 or 32 bits a pixel";
    }
    if (c->width < 16 || c->height < 16 || c->width > DISPLAY_SIDE_MAX || c->height > DISPLAY_SIDE_MAX) {
        return "a size that is not between 16 and 16384 pixels each way";
    }
    if (!field_fits(&c->red, c->pixel_bits) || !field_fits(&c->green, c->pixel_bits) ||
        !field_fits(&c->blue, c->pixel_bits)) {
        return "no red, green and blue in its pixels";
    }
    if (c->stride < line || c->stride > c->size || (uint64_t)c->stride * (c->height - 1u) + line > c->size) {
        return "lines that do not fit its memory";
    }
    return c->rotate < 4 ? NULL : "a rotation that is not 0 to 3";
}

unsigned display_canvas_width(const struct display_canvas *c)
{
    return c->rotate % 2 == 0 ? c->width : c->height;
}

unsigned display_canvas_height(const struct display_canvas *c)
{
    return c->rotate % 2 == 0 ? c->height : c->width;
}

/* Where the viewer's pixel is, or SIZE_MAX. */
static size_t position(const struct display_canvas *c, unsigned x, unsigned y)
{
    unsigned px = x;
    unsigned py = y;
    if (x >= display_canvas_width(c) || y >= display_canvas_height(c)) {
        return SIZE_MAX;
    }
    switch (c->rotate) {
    case 1:
        px = c->width - 1 - y;
        py = x;
        break;
    case 2:
        px = c->width - 1 - x;
        py = c->height - 1 - y;
        break;
    case 3:
        px = y;
        py = c->height - 1 - x;
        break;
    default:
        break;
    }
    return (size_t)py * c->stride + (size_t)px * (c->pixel_bits / 8u);
}

static uint32_t mask_of(unsigned length)
{
    return length >= 32 ? UINT32_MAX : ((uint32_t)1 << length) - 1u;
}

/* 8 bits of colour as a field holds them. Of what a field of fewer bits leaves out, `chance` of 255 decides whether it
 * is rounded up: ordered dithering, so that a smooth picture has no bands. */
static uint32_t to_field(const struct display_field *f, uint32_t value, uint32_t chance)
{
    return (value * mask_of(f->length) + chance) / 255u << f->offset;
}

static uint32_t from_field(const struct display_field *f, uint32_t pixel)
{
    uint32_t max = mask_of(f->length);
    return ((pixel >> f->offset & max) * 255u + max / 2u) / max;
}

void display_canvas_put(struct display_canvas *c, unsigned x, unsigned y, display_rgb colour)
{
    static const uint8_t order[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
    size_t at = position(c, x, y);
    uint32_t chance = order[y % 4u][x % 4u] * 16u + 7u;
    uint32_t fields = mask_of(c->red.length) << c->red.offset | mask_of(c->green.length) << c->green.offset |
                      mask_of(c->blue.length) << c->blue.offset;
    uint32_t pixel = ~fields | to_field(&c->red, colour >> 16 & 255u, chance) |
                     to_field(&c->green, colour >> 8 & 255u, chance) | to_field(&c->blue, colour & 255u, chance);
    unsigned i;
    if (at == SIZE_MAX) {
        return;
    }
    for (i = 0; i < c->pixel_bits / 8u; i++) {
        c->pixels[at + i] = (uint8_t)(pixel >> 8 * i);
    }
}

display_rgb display_canvas_get(const struct display_canvas *c, unsigned x, unsigned y)
{
    size_t at = position(c, x, y);
    uint32_t pixel = 0;
    unsigned i;
    if (at == SIZE_MAX) {
        return 0;
    }
    for (i = 0; i < c->pixel_bits / 8u; i++) {
        pixel |= (uint32_t)c->pixels[at + i] << 8 * i;
    }
    return from_field(&c->red, pixel) << 16 | from_field(&c->green, pixel) << 8 | from_field(&c->blue, pixel);
}

display_rgb display_mix(display_rgb a, display_rgb b, unsigned share)
{
    /* red and blue at once: 8 bits of room between them are enough for a product with 8 bits */
    uint32_t k = share > 255 ? 256 : share + (share >> 7);
    uint32_t rb = ((a & 0xff00ffu) * (256 - k) + (b & 0xff00ffu) * k) >> 8 & 0xff00ffu;
    uint32_t g = ((a & 0x00ff00u) * (256 - k) + (b & 0x00ff00u) * k) >> 8 & 0x00ff00u;
    return rb | g;
}
