/* input.c - the bytes of the package from a file or a pipe, an outer gzip or zstd layer taken off. */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fill the buffer behind what is in it; in->ended at the end. */
static int fill(struct board_input *in, struct board_failure *why)
{
    ssize_t n;
    if (in->ended || in->fill == sizeof(in->buf)) {
        return 0;
    }
    for (;;) {
        if (in->regular) {
            n = pread(in->fd, in->buf + in->fill, sizeof(in->buf) - in->fill, in->offset);
        } else {
            n = read(in->fd, in->buf + in->fill, sizeof(in->buf) - in->fill);
        }
        if (n >= 0) {
            break;
        }
        if (errno != EINTR) {
            return board_fail(why, OTA_E_INPUT, errno, "%s", in->name);
        }
        if (board_signal_seen() != 0) {
            return board_fail(why, OTA_E_CANCELLED, 0, "signal %d while waiting for input", board_signal_seen());
        }
    }
    in->fill += (size_t)n;
    in->offset += (off_t)n;
    in->ended = n == 0;
    return 0;
}

/* ---- the outer layer --------------------------------------------------------------------------------------------- */

static int outer_fault(int fault, struct board_failure *why)
{
    switch (fault) {
    case BOARD_EARLY:
        return board_fail(why, OTA_E_TRUNCATED, 0, "in the outer compression");
    case BOARD_WINDOW:
        return board_fail(why, OTA_E_LIMIT, 0, "the outer compression needs a window above %u MiB",
                          BOARD_OUTER_WINDOW >> 20);
    case BOARD_TRAILING:
        return board_fail(why, OTA_E_FORMAT, 0, "bytes after the outer compression");
    default:
        return board_fail(why, OTA_E_CORRUPT, 0, "the outer compression");
    }
}

/* What the first bytes say: the kind of layer and its window. */
static int outer_kind(struct board_input *in, enum board_codec_kind *kind, uint64_t *window, struct board_failure *why)
{
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    int r;
    while (in->fill < BOARD_ZSTD_HEAD && !in->ended) {
        if ((r = fill(in, why)) != 0) {
            return r;
        }
    }
    *kind = BOARD_PLAIN;
    if (in->fill >= 2 && in->buf[0] == 0x1f && in->buf[1] == 0x8b) {
        *kind = BOARD_GZIP;
        *window = 32768;
    } else if (in->fill >= sizeof(zstd) && memcmp(in->buf, zstd, sizeof(zstd)) == 0) {
        *kind = BOARD_ZSTD;
        r = board_codec_zstd_window(in->buf, in->fill, window);
        if (r != 0) {
            return outer_fault(r < 0 ? BOARD_DAMAGED : BOARD_EARLY, why);
        }
        if (*window > BOARD_OUTER_WINDOW) {
            return outer_fault(BOARD_WINDOW, why);
        }
    }
    return 0;
}

static int outer_begin(struct board_input *in, enum board_codec_kind kind, uint64_t window, struct board_failure *why)
{
    size_t size = board_codec_size(kind, window);
    void *state;
    if (kind == BOARD_PLAIN) {
        return 0;
    }
    if (in->memory.base == NULL) {
        int r = board_memory_map(&in->memory, size + BOARD_PIECE, why);
        if (r != 0) {
            return r;
        }
    }
    in->memory.used = 0;
    in->unpacked = board_memory_take(&in->memory, BOARD_PIECE);
    state = board_memory_take(&in->memory, size);
    if (board_codec_init(&in->codec, kind, window, 0, state, size) != 0) {
        return board_fail(why, OTA_E_RAM, 0, "for the outer compression");
    }
    return 0;
}

static int outer_next(struct board_input *in, const uint8_t **data, size_t *len, struct board_failure *why)
{
    struct ota_out out = {in->unpacked, BOARD_PIECE, 0};
    for (;;) {
        struct ota_in piece = {in->buf, in->fill, in->pos};
        int r = board_codec_step(&in->codec, &piece, &out);
        in->pos = piece.pos;
        if (r < 0) {
            return outer_fault(-r, why);
        }
        if (out.pos > 0) {
            *data = in->unpacked;
            *len = out.pos;
            return 0;
        }
        if (in->ended) {
            *len = 0;
            return in->codec.ended ? 0 : outer_fault(BOARD_EARLY, why);
        }
        in->fill = in->pos = 0;
        if ((r = fill(in, why)) != 0) {
            return r;
        }
    }
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

static int begin(struct board_input *in, int raw, struct board_failure *why)
{
    enum board_codec_kind kind = BOARD_PLAIN;
    uint64_t window = 0;
    int r = 0;
    if (!raw) {
        r = outer_kind(in, &kind, &window, why);
    }
    return r != 0 ? r : outer_begin(in, kind, window, why);
}

int board_input_open(struct board_input *in, const char *name, int raw, struct board_failure *why)
{
    struct stat st;
    memset(in, 0, sizeof(*in));
    in->name = name;
    in->fd = STDIN_FILENO;
    if (strcmp(name, "-") != 0) {
        in->fd = open(name, O_RDONLY | O_CLOEXEC);
    }
    if (in->fd < 0 || fstat(in->fd, &st) != 0) {
        return board_fail(why, OTA_E_INPUT, errno, "%s", name);
    }
    in->regular = S_ISREG(st.st_mode);
    if (in->regular && (in->start = lseek(in->fd, 0, SEEK_CUR)) < 0) {
        return board_fail(why, OTA_E_INPUT, errno, "%s", name);
    }
    in->offset = in->start;
    return begin(in, raw, why);
}

int board_input_rewind(struct board_input *in, struct board_failure *why)
{
    enum board_codec_kind kind = in->codec.kind;
    in->offset = in->start;
    in->ended = 0;
    in->fill = in->pos = 0;
    return outer_begin(in, kind, in->codec.window, why);
}

int board_input_next(struct board_input *in, const uint8_t **data, size_t *len, struct board_failure *why)
{
    int r;
    if (in->codec.kind != BOARD_PLAIN) {
        return outer_next(in, data, len, why);
    }
    if (in->pos == in->fill) {
        in->fill = in->pos = 0;
        if ((r = fill(in, why)) != 0) {
            return r;
        }
    }
    *data = in->buf + in->pos;
    *len = in->fill - in->pos;
    in->pos = in->fill;
    return 0;
}

void board_input_close(struct board_input *in)
{
    if (in->fd > STDIN_FILENO) {
        (void)close(in->fd);
    }
    in->fd = -1;
}
