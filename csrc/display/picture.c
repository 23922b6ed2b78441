/* picture.c - JPEG and PNG, scaled to the screen while they are decoded.
 *
 * A picture is read line by line, and no more than a few lines of it are held (an interlaced PNG or a progressive JPEG
 * needs more, which is bounded). It comes from whoever prepared the board, but may have been damaged since: sizes have
 * limits, and any error leaves a plain background.
 */
#include "display.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
/* after jpeglib.h */
#include <jerror.h>
#include <png.h>

#define JPEG_SCANS_MAX 100
#define PNG_CHUNK_MAX (1u << 20)
#define PNG_CHUNKS_MAX 32

/* ---- lines of a picture -> the screen ---------------------------------------------------------------------------- */

struct column {
    unsigned from, to; /* pixels of the picture that fall on it */
    uint32_t sum[3];   /* red, green, blue of what came so far */
    uint32_t count;
};

/* Each pixel of the screen is the mean of the pixels of the picture that fall on it; where the picture is smaller, the
 * nearest one. Lines come from top to bottom. */
struct fill {
    struct display_canvas screen; /* as it lies */
    unsigned width, height;       /* of the picture */
    uint64_t shown_width;         /* the part of it that is shown, in 1/65536 pixels, and where that begins */
    uint64_t shown_height;
    uint64_t left;
    uint64_t top;
    unsigned line;          /* of the picture, that comes next */
    unsigned done;          /* lines of the screen that are complete */
    struct column *columns; /* of the screen */
};

/* Pixels of the picture that fall on line or column `at` of the screen: from `first` to before `end`, at least one. */
static void span(uint64_t start, uint64_t shown, unsigned size, unsigned limit, unsigned at, unsigned *first,
                 unsigned *end)
{
    uint64_t from = (start + shown * at / size) >> 16;
    uint64_t to = (start + shown * (at + 1u) / size) >> 16;
    from = from < limit ? from : limit - 1u;
    to = to <= from ? from + 1u : to;
    *first = (unsigned)from;
    *end = (unsigned)(to < limit ? to : limit);
}

static int fill_begin(struct fill *f, struct display_canvas *c, unsigned width, unsigned height)
{
    unsigned x;
    memset(f, 0, sizeof(*f));
    f->screen = *c;
    f->screen.rotate = 0;
    f->width = width;
    f->height = height;
    f->shown_width = (uint64_t)width << 16;
    f->shown_height = (uint64_t)height << 16;
    if ((uint64_t)width * c->height >
        (uint64_t)height * c->width) { /* wider than the screen: left and right hang over */
        f->shown_width = f->shown_height * c->width / c->height;
    } else {
        f->shown_height = f->shown_width * c->height / c->width;
    }
    f->left = (((uint64_t)width << 16) - f->shown_width) / 2;
    f->top = (((uint64_t)height << 16) - f->shown_height) / 2;
    f->columns = calloc(c->width, sizeof(*f->columns));
    for (x = 0; f->columns != NULL && x < c->width; x++) {
        span(f->left, f->shown_width, c->width, width, x, &f->columns[x].from, &f->columns[x].to);
    }
    return f->columns != NULL ? 0 : -1;
}

static void fill_add(struct fill *f, const uint8_t *rgb)
{
    unsigned x;
    for (x = 0; x < f->screen.width; x++) {
        struct column *column = &f->columns[x];
        const uint8_t *from = rgb + (size_t)column->from * 3u;
        const uint8_t *to = rgb + (size_t)column->to * 3u;
        for (; from < to; from += 3) {
            column->sum[0] += from[0];
            column->sum[1] += from[1];
            column->sum[2] += from[2];
            column->count++;
        }
    }
}

static void fill_put(struct fill *f)
{
    unsigned x;
    for (x = 0; x < f->screen.width; x++) {
        struct column *column = &f->columns[x];
        uint32_t n = column->count > 0 ? column->count : 1u;
        uint32_t half = n / 2u;
        display_rgb colour =
            (column->sum[0] + half) / n << 16 | (column->sum[1] + half) / n << 8 | (column->sum[2] + half) / n;
        display_canvas_put(&f->screen, x, f->done, colour);
        column->sum[0] = column->sum[1] = column->sum[2] = column->count = 0;
    }
}

/* Take the next line. */
static void fill_line(struct fill *f, const uint8_t *rgb)
{
    while (f->done < f->screen.height) {
        unsigned first;
        unsigned end;
        span(f->top, f->shown_height, f->screen.height, f->height, f->done, &first, &end);
        if (f->line < first) {
            break; /* hangs over */
        }
        fill_add(f, rgb);
        if (f->line + 1u < end) {
            break; /* more lines fall on this one */
        }
        fill_put(f);
        f->done++;
    }
    f->line++;
}

/* ---- JPEG ----------------------------------------------------------------------------------------------------------
 */

/* longjmp goes back into a function whose own variables may be lost by then, so all of it stands here. */
struct jpeg_work {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct d;
    jmp_buf back;
    struct fill fill;
    uint8_t *line;
    char *problem;
    size_t problem_size;
};

static void jpeg_give_up(j_common_ptr info)
{
    struct jpeg_work *w = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    (void)snprintf(w->problem, w->problem_size, "%s", text);
    longjmp(w->back, 1);
}

/* Damage that a decoder could hide is an error: no picture is better than a broken one. Bytes between its parts are
 * what some cameras and editors leave there. */
static void jpeg_message(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) {
        jpeg_give_up(info);
    }
}

/* Each scan of a progressive picture goes over all of it; a small file can ask for very many. */
static void jpeg_watch(j_common_ptr info)
{
    struct jpeg_work *w = info->client_data;
    if (w->d.input_scan_number > JPEG_SCANS_MAX) {
        (void)snprintf(w->problem, w->problem_size, "too many scans");
        longjmp(w->back, 1);
    }
}

/* Let the decoder leave out detail that the screen does not have. */
static void jpeg_shrink(struct jpeg_decompress_struct *d, const struct display_canvas *c)
{
    d->scale_num = 1;
    d->scale_denom = 1;
    while (d->scale_denom < 8u && d->image_width / (2u * d->scale_denom) >= c->width &&
           d->image_height / (2u * d->scale_denom) >= c->height) {
        d->scale_denom *= 2u;
    }
}

static int jpeg_draw(struct jpeg_work *w, struct display_canvas *c, const uint8_t *data, size_t len)
{
    struct jpeg_decompress_struct *d = &w->d;
    if (setjmp(w->back) != 0) {
        return -1;
    }
    jpeg_create_decompress(d);
    d->progress = &w->progress;
    d->mem->max_memory_to_use = (long)DISPLAY_PICTURE_MEMORY;
    jpeg_mem_src(d, data, (unsigned long)len);
    (void)jpeg_read_header(d, TRUE);
    if (d->image_width > DISPLAY_PICTURE_SIDE || d->image_height > DISPLAY_PICTURE_SIDE) {
        (void)snprintf(w->problem, w->problem_size, "%u x %u pixels are too many", d->image_width, d->image_height);
        return -1;
    }
    d->out_color_space = JCS_RGB;
    jpeg_shrink(d, c);
    (void)jpeg_start_decompress(d);
    w->line = malloc((size_t)d->output_width * 3u);
    if (w->line == NULL || fill_begin(&w->fill, c, d->output_width, d->output_height) != 0) {
        (void)snprintf(w->problem, w->problem_size, "no memory");
        return -1;
    }
    while (d->output_scanline < d->output_height) {
        JSAMPROW row = w->line;
        (void)jpeg_read_scanlines(d, &row, 1);
        fill_line(&w->fill, w->line);
    }
    (void)jpeg_finish_decompress(d);
    return 0;
}

static int draw_jpeg(struct display_canvas *c, const uint8_t *data, size_t len, char *problem, size_t problem_size)
{
    struct jpeg_work w;
    int r;
    memset(&w, 0, sizeof(w));
    w.problem = problem;
    w.problem_size = problem_size;
    w.d.err = jpeg_std_error(&w.errors);
    w.d.client_data = &w;
    w.errors.error_exit = jpeg_give_up;
    w.errors.emit_message = jpeg_message;
    w.progress.progress_monitor = jpeg_watch;
    r = jpeg_draw(&w, c, data, len);
    jpeg_destroy_decompress(&w.d);
    free(w.fill.columns);
    free(w.line);
    return r;
}

/* ---- PNG -----------------------------------------------------------------------------------------------------------
 */

struct png_work {
    png_structp png;
    png_infop info;
    const uint8_t *data; /* what was not read yet */
    size_t left;
    int passes;     /* over the picture, 1 if it is not interlaced */
    size_t line;    /* bytes */
    uint8_t *lines; /* one, or all of an interlaced picture */
    struct fill fill;
    jmp_buf back;
    char *problem;
    size_t problem_size;
};

/* Not libpng's own way back: its jmp_buf is that of another C library. */
static void png_give_up(png_structp png, png_const_charp text)
{
    struct png_work *w = png_get_error_ptr(png);
    (void)snprintf(w->problem, w->problem_size, "%s", text);
    longjmp(w->back, 1);
}

static void png_quiet(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void png_input(png_structp png, png_bytep to, png_size_t len)
{
    struct png_work *w = png_get_io_ptr(png);
    if (len > w->left) {
        png_error(png, "ends too early");
    }
    memcpy(to, w->data, len);
    w->data += len;
    w->left -= len;
}

/* Whatever the file holds, lines of red, green and blue bytes come out; what is transparent lies on black. */
static void png_as_rgb(png_structp png, png_infop info)
{
    png_color_16 black;
    memset(&black, 0, sizeof(black));
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    if ((png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0) {
        png_set_background(png, &black, PNG_BACKGROUND_GAMMA_SCREEN, 0, 1.0);
    }
}

/* Limits, what is wanted, memory for lines. 0, or -1 with the problem. */
static int png_begin(struct png_work *w)
{
    png_structp png = w->png;
    size_t all;
    png_set_user_limits(png, DISPLAY_PICTURE_SIDE, DISPLAY_PICTURE_SIDE);
    png_set_chunk_malloc_max(png, PNG_CHUNK_MAX);
    png_set_chunk_cache_max(png, PNG_CHUNKS_MAX);
    png_set_read_fn(png, w, png_input);
    png_read_info(png, w->info);
    png_as_rgb(png, w->info);
    w->passes = png_set_interlace_handling(png);
    png_read_update_info(png, w->info);
    w->line = png_get_rowbytes(png, w->info);
    all = w->passes == 1 ? w->line : w->line * png_get_image_height(png, w->info); /* below 2^28 by the limits above */
    if (w->line != (size_t)png_get_image_width(png, w->info) * 3u) {
        (void)snprintf(w->problem, w->problem_size, "an unknown kind of pixel");
        return -1;
    }
    if (all > DISPLAY_PICTURE_MEMORY) {
        (void)snprintf(w->problem, w->problem_size, "interlaced and too large");
        return -1;
    }
    w->lines = malloc(all);
    return w->lines != NULL ? 0 : -1;
}

static int png_draw(struct png_work *w, struct display_canvas *c)
{
    unsigned height;
    unsigned y;
    int pass;
    if (setjmp(w->back) != 0) {
        return -1;
    }
    w->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, w, png_give_up, png_quiet);
    w->info = w->png != NULL ? png_create_info_struct(w->png) : NULL;
    if (w->info == NULL || png_begin(w) != 0) {
        return -1;
    }
    height = png_get_image_height(w->png, w->info);
    if (fill_begin(&w->fill, c, png_get_image_width(w->png, w->info), height) != 0) {
        return -1;
    }
    for (pass = 1; pass < w->passes; pass++) { /* all but the last one only make the lines more complete */
        for (y = 0; y < height; y++) {
            png_read_row(w->png, w->lines + y * w->line, NULL);
        }
    }
    for (y = 0; y < height; y++) {
        uint8_t *row = w->lines + (w->passes == 1 ? 0 : y * w->line);
        png_read_row(w->png, row, NULL);
        fill_line(&w->fill, row);
    }
    png_read_end(w->png, NULL);
    return 0;
}

static int draw_png(struct display_canvas *c, const uint8_t *data, size_t len, char *problem, size_t problem_size)
{
    struct png_work w;
    int r;
    memset(&w, 0, sizeof(w));
    w.data = data;
    w.left = len;
    w.problem = problem;
    w.problem_size = problem_size;
    (void)snprintf(problem, problem_size, "no memory");
    r = png_draw(&w, c);
    if (w.png != NULL) {
        png_destroy_read_struct(&w.png, &w.info, NULL);
    }
    free(w.fill.columns);
    free(w.lines);
    return r;
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static int failed(int fd, char *problem, size_t problem_size, const char *text)
{
    (void)snprintf(problem, problem_size, "%s", text);
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

/* The whole file, to be freed, or NULL. */
static uint8_t *read_file(const char *path, size_t *len, char *problem, size_t problem_size)
{
    struct stat st;
    uint8_t *data;
    size_t fill = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)failed(fd, problem, problem_size, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > (off_t)DISPLAY_PICTURE_BYTES) {
        (void)failed(fd, problem, problem_size, "not a file of 1 byte to 16 MiB");
        return NULL;
    }
    data = malloc((size_t)st.st_size);
    while (data != NULL && fill < (size_t)st.st_size) {
        ssize_t n = read(fd, data + fill, (size_t)st.st_size - fill);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            break; /* shorter than it was: the decoder will say so */
        }
        fill += n > 0 ? (size_t)n : 0;
    }
    (void)failed(fd, problem, problem_size, "no memory");
    *len = fill;
    return data;
}

int display_picture_draw(struct display_canvas *c, const char *path, char *problem, size_t problem_size)
{
    static const uint8_t png_mark[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    size_t len = 0;
    uint8_t *data = read_file(path, &len, problem, problem_size);
    int r = -1;
    if (data == NULL) {
        return -1;
    }
    if (len >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff) {
        r = draw_jpeg(c, data, len, problem, problem_size);
    } else if (len >= sizeof(png_mark) && memcmp(data, png_mark, sizeof(png_mark)) == 0) {
        r = draw_png(c, data, len, problem, problem_size);
    } else {
        (void)snprintf(problem, problem_size, "neither JPEG nor PNG");
    }
    free(data);
    return r;
}

void display_picture_plain(struct display_canvas *c)
{
    unsigned width = display_canvas_width(c);
    unsigned height = display_canvas_height(c);
    unsigned x;
    unsigned y;
    for (y = 0; y < height; y++) {
        display_rgb colour = display_mix(0x16375f, 0x060d1a, (unsigned)((uint64_t)y * 255u / height));
        for (x = 0; x < width; x++) {
            display_canvas_put(c, x, y, colour);
        }
    }
}
