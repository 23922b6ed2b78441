/* lines.c - progress lines (docs/progress.md) into the state that is shown.
 *
 * They come from a program of ours, or through somebody's pipe: anything else in them is passed over.
 */
#include "display.h"

#include <string.h>

void display_state_init(struct display_state *s)
{
    memset(s, 0, sizeof(*s));
    s->percent = -1;
    s->part = -1;
}

static const struct {
    const char *word;
    enum display_phase phase;
} phases[] = {
    {"check", DISPLAY_VERIFY}, {"preflight", DISPLAY_VERIFY}, {"begin", DISPLAY_PREPARE},   {"update", DISPLAY_UPDATE},
    {"end", DISPLAY_FINISH},   {"success", DISPLAY_SUCCESS},  {"failure", DISPLAY_FAILURE},
};

/* 1 if the word is a phase. */
static int phase_of(const char *word, size_t len, enum display_phase *phase)
{
    size_t i;
    for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (strlen(phases[i].word) == len && memcmp(phases[i].word, word, len) == 0) {
            *phase = phases[i].phase;
            return 1;
        }
    }
    return 0;
}

/* ---- the small part of JSON that a progress line is made of: one object of strings, numbers and null ------------- */

struct cursor {
    const char *at;
    const char *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r')) {
        c->at++;
    }
}

static int take(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at < c->end && *c->at == wanted) {
        c->at++;
        return 1;
    }
    return 0;
}

static int hex4(struct cursor *c, unsigned *value)
{
    unsigned i;
    *value = 0;
    for (i = 0; i < 4; i++, c->at++) {
        char h = c->at < c->end ? *c->at : '\0';
        unsigned d = h >= '0' && h <= '9'   ? (unsigned)(h - '0')
                     : h >= 'a' && h <= 'f' ? (unsigned)(h - 'a') + 10u
                     : h >= 'A' && h <= 'F' ? (unsigned)(h - 'A') + 10u
                                            : 16u;
        if (d == 16u) {
            return 0;
        }
        *value = *value << 4 | d;
    }
    return 1;
}

/* A string into text (cap bytes; what does not fit is left out). What ASCII does not have becomes '?'. */
static int take_string(struct cursor *c, char *text, size_t cap)
{
    size_t fill = 0;
    if (!take(c, '"')) {
        return 0;
    }
    while (c->at < c->end && *c->at != '"') {
        char ch = *c->at++;
        if ((unsigned char)ch < 0x20) {
            return 0;
        }
        if (ch == '\\') {
            unsigned value;
            char kind = c->at < c->end ? *c->at++ : '\0';
            if (kind == 'u') {
                if (!hex4(c, &value)) {
                    return 0;
                }
                ch = value >= 0x20 && value < 0x7f ? (char)value : '?';
            } else if (kind == '"' || kind == '\\' || kind == '/') {
                ch = kind;
            } else if (kind != '\0' && strchr("bfnrt", kind) != NULL) {
                ch = '?';
            } else {
                return 0;
            }
        }
        if (fill + 1 < cap) {
            text[fill++] = ch;
        }
    }
    text[fill] = '\0';
    return take(c, '"');
}

/* A number that is not negative; what stands behind a point is left out, what is too large is the largest. null is -1.
 */
static int take_number(struct cursor *c, int64_t *value)
{
    skip_space(c);
    *value = -1;
    if (c->end - c->at >= 4 && memcmp(c->at, "null", 4) == 0) {
        c->at += 4;
        return 1;
    }
    if (c->at >= c->end || *c->at < '0' || *c->at > '9') {
        return 0;
    }
    *value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        *value = *value > (INT64_MAX - 9) / 10 ? INT64_MAX : *value * 10 + (*c->at - '0');
    }
    if (c->at < c->end && *c->at == '.') {
        for (c->at++; c->at < c->end && *c->at >= '0' && *c->at <= '9';) {
            c->at++;
        }
    }
    return 1;
}

static int percent_from(int64_t value)
{
    return value < 0 ? -1 : value > 100 ? 100 : (int)value;
}

/* ---- state ---------------------------------------------------------------------------------------------------------
 */

struct heard {
    int have_phase;
    enum display_phase phase;
    int64_t percent, part, step, steps, code;
    char target[DISPLAY_TARGET_MAX];
};

/* One value of the object. */
static int take_value(struct cursor *c, const char *key, struct heard *h)
{
    static const char *const names[] = {"percent", "part", "step", "steps", "code"};
    int64_t *const numbers[] = {&h->percent, &h->part, &h->step, &h->steps, &h->code};
    char text[DISPLAY_TARGET_MAX] = ""; /* whole, so that equal lines make equal states */
    int64_t number;
    size_t i;
    skip_space(c);
    if (c->at < c->end && *c->at == '"') {
        if (!take_string(c, text, sizeof(text))) {
            return 0;
        }
        if (strcmp(key, "phase") == 0) {
            h->have_phase = phase_of(text, strlen(text), &h->phase);
        } else if (strcmp(key, "target") == 0) {
            memcpy(h->target, text, sizeof(text));
        }
        return 1;
    }
    if (!take_number(c, &number)) {
        return 0;
    }
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(key, names[i]) == 0) {
            *numbers[i] = number;
        }
    }
    return 1;
}

static int take_object(struct cursor *c, struct heard *h)
{
    char key[16];
    if (!take(c, '{')) {
        return 0;
    }
    do {
        if (!take_string(c, key, sizeof(key)) || !take(c, ':') || !take_value(c, key, h)) {
            return 0;
        }
    } while (take(c, ','));
    if (!take(c, '}')) {
        return 0;
    }
    skip_space(c);
    return c->at == c->end && h->have_phase;
}

static void enter(struct display_state *s, enum display_phase phase)
{
    if (phase == DISPLAY_FAILURE && s->phase != DISPLAY_FAILURE) {
        s->failed_in = s->phase;
    }
    s->phase = phase;
}

static int take_json(struct display_state *s, const char *line, size_t len)
{
    struct cursor c = {line, line + len};
    struct heard h;
    memset(&h, 0, sizeof(h));
    h.percent = h.part = h.step = h.steps = h.code = -1;
    if (!take_object(&c, &h)) {
        return 0;
    }
    enter(s, h.phase);
    s->percent = percent_from(h.percent);
    s->part = percent_from(h.part);
    s->step = h.step > 0 ? (uint64_t)h.step : 0;
    s->steps = h.steps > 0 ? (uint64_t)h.steps : 0;
    s->code = h.code > 0 && h.code < 256 ? (int)h.code : 0;
    memcpy(s->target, h.target, sizeof(s->target));
    return 1;
}

int display_state_line(struct display_state *s, const char *line, size_t len)
{
    struct cursor c = {line, line + len};
    enum display_phase phase;
    int64_t number;
    if (s->phase == DISPLAY_SUCCESS || s->phase == DISPLAY_FAILURE) {
        return 0; /* how it ended was said; nothing comes after that */
    }
    skip_space(&c);
    while (c.end > c.at && (c.end[-1] == '\r' || c.end[-1] == ' ')) {
        c.end--;
    }
    if (c.at < c.end && *c.at == '{') {
        return take_json(s, c.at, (size_t)(c.end - c.at));
    }
    if (phase_of(c.at, (size_t)(c.end - c.at), &phase)) {
        enter(s, phase);
        return 1;
    }
    if (c.end - c.at <= 3 && take_number(&c, &number) && c.at == c.end && number >= 0 && number <= 100) {
        if (s->phase == DISPLAY_START) {
            s->phase = DISPLAY_UPDATE; /* a stream of numbers does not say what is done */
        }
        s->percent = (int)number;
        return 1;
    }
    return 0;
}

void display_state_end(struct display_state *s)
{
    if (s->phase != DISPLAY_SUCCESS && s->phase != DISPLAY_FAILURE) {
        enter(s, DISPLAY_FAILURE);
        s->lost = 1;
    }
}

static int take_line(struct display_lines *l, struct display_state *s, FILE *other)
{
    size_t i;
    int was = display_state_line(s, l->buf, l->fill);
    if (!was && other != NULL && l->fill > 0) {
        for (i = 0; i < l->fill; i++) {
            unsigned char c = (unsigned char)l->buf[i];
            (void)fputc(c < 0x20 || c == 0x7f ? '?' : c, other);
        }
        (void)fputc('\n', other);
    }
    return was;
}

int display_lines_feed(struct display_lines *l, struct display_state *s, const char *data, size_t len, FILE *other)
{
    int progress = 0;
    size_t i;
    for (i = 0; i < len; i++) {
        if (data[i] == '\n') {
            progress |= !l->dropping && take_line(l, s, other);
            l->fill = 0;
            l->dropping = 0;
        } else if (l->fill == sizeof(l->buf)) {
            l->dropping = 1;
        } else {
            l->buf[l->fill++] = data[i];
        }
    }
    return progress;
}
