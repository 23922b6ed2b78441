/* xref_code.c - engine xref: what each bit is predicted from. docs/SPEC.md section 6.3.6. */
#include "xref.h"
#include "xref_form.h"

#define WRONG_SET (OTA_XREF_OTHER_SET + 3u) /* of each kind */

/* A context: a number of its own, then what it consists of. */
static uint32_t context(uint32_t id, uint32_t a, uint32_t b)
{
    return ota_xref_hash(ota_xref_hash(id << 24, a), b);
}

static uint32_t at_most(uint32_t v, uint32_t limit)
{
    return v < limit ? v : limit;
}

static uint32_t old_word(const struct ota_xref_unit *u)
{
    return ota_xref_word(u->old) & (u->len < 4 ? (1u << 8 * u->len) - 1u : 0xffffffffu);
}

int ota_xref_code_hit(struct ota_xref *x, const struct ota_xref_unit *u, int hit)
{
    uint32_t what = u->form * 4u + u->guess, shape = (uint32_t)u->kind << 8 | u->len, old = old_word(u);
    uint32_t changed = memcmp(u->pred, u->old, u->len) != 0, *history = &x->form_history[u->form];
    uint32_t recent = x->flag_history, left = at_most(x->copy_left / 4, 16);
    uint32_t c[7];
    int miss;

    c[0] = context(1, what * 2 + changed, (*history & 0xffu) | x->kind << 8 | (uint32_t)u->has_alt << 16);
    c[1] = context(2, u->form, (recent & 0x7ffu) | (uint32_t)u->kind << 16);
    c[2] = context(3, shape, old);
    c[3] = context(4, old ^ (recent & 3u) * 0x9e3779b1u, x->last_old);
    c[4] = context(5, recent & 7u, u->op ^ (uint32_t)u->kind << 24);
    c[5] = u->form != OTA_XREF_NONE ? context(6, what, (uint32_t)u->target) : context(7, x->last_new[0], old);
    c[6] = context(8, (x->hits > 64 ? 33 : at_most(x->hits, 32)) * 64 + u->kind,
                   left | changed << 8 | (uint32_t)u->guess << 9);
    x->model.rc.part = OTA_XREF_PART_FLAGS;
    miss = ota_xref_flag(&x->model, c, 7, what, !hit);
    x->flag_history = recent << 1 | (uint32_t)miss;
    *history = *history << 1 | (uint32_t)miss;
    x->hits = miss ? 0 : x->hits + 1;
    x->kind = u->kind;
    return !miss;
}

/* The i-th byte of a unit that is coded: of instructions and numbers the one with the highest bits is first. */
static uint32_t place(uint32_t kind, uint32_t len, uint32_t i)
{
    if (kind == OTA_XREF_RAW || kind == OTA_XREF_X86)
        return i;
    return kind == OTA_XREF_THUMB && len == 4 ? i ^ 1u : len - 1 - i;
}

void ota_xref_code_wrong(struct ota_xref *x, const struct ota_xref_unit *u, uint8_t *actual)
{
    uint32_t old = old_word(u), refers = u->form != OTA_XREF_NONE, done = 1, differ = 0;
    uint8_t *change = x->last_change[u->kind];

    x->model.rc.part = OTA_XREF_PART_WRONG;
    for (uint32_t i = 0; i < u->len; i++) {
        uint32_t at = place(u->kind, u->len, i), c[8], shape = (uint32_t)u->kind << 16 | (uint32_t)u->len << 8 | at;
        uint8_t p = u->pred[at], drift = (uint8_t)(p + change[at]);
        struct ota_xref_guess guess;
        int wrong;

        c[0] = context(16, shape, p | differ << 8 | refers << 10);
        c[1] = context(17, shape ^ old * 0x9e3779b1u, done);
        c[2] = context(18, shape ^ (p | (uint32_t)u->form << 8) * 0x9e3779b1u, done);
        c[3] = context(19, shape, drift | (uint32_t)p << 8 | differ << 16);
        c[4] = context(20, shape ^ x->last_new[0] * 0x9e3779b1u, done);
        c[5] = context(21, shape ^ u->op * 0x9e3779b1u, done ^ (uint32_t)p << 24);
        c[6] = context(22, shape ^ x->last_old * 0x9e3779b1u, ota_xref_hash(old, done));
        c[7] = context(23, shape ^ (refers ? (uint32_t)u->target * 0x9e3779b1u : 0), done);
        guess.set = (u->kind * 2u + refers) * 4u + (i & 3u);
        guess.expected = p;
        guess.expected_other = u->has_alt ? u->alt[at] : drift;
        if (i + 1 == u->len && differ == 0) /* some byte must be wrong */
            wrong = 1;
        else
            wrong = ota_xref_flag(&x->model, c, 8, WRONG_SET + u->kind, actual[at] != p);
        if (wrong)
            actual[at] = ota_xref_byte(&x->model, c, 8, &guess, actual[at]);
        else
            actual[at] = p;
        done = ota_xref_hash(done, actual[at]);
        differ |= (uint32_t)wrong;
        change[at] = (uint8_t)(actual[at] - p);
    }
}

/* Literals among instructions and numbers: what came before in the unit, and the units before. */
static unsigned word_contexts(const struct ota_xref *x, uint32_t shape, uint32_t done, uint32_t *c)
{
    uint32_t a = x->last_new[0], b = x->last_new[1];

    c[0] = context(32, shape, 0);
    c[1] = context(33, shape, done);
    c[2] = context(34, shape ^ a * 0x9e3779b1u, done);
    c[3] = context(35, shape ^ ota_xref_hash(a, b), done);
    c[4] = context(36, shape ^ (a >> 24 | b >> 24 << 8) * 0x9e3779b1u, done);
    c[5] = context(37, shape ^ ota_xref_hash(a >> 21 | b >> 21 << 11, x->last_new[2] >> 24), done);
    c[6] = context(38, shape ^ b * 0x9e3779b1u, done);
    c[7] = context(39, shape ^ (a & 0x3ffu) * 0x9e3779b1u, done);
    return 8;
}

/* Literals elsewhere: the bytes before, newest first. */
static unsigned byte_contexts(uint32_t shape, uint32_t kind, const uint8_t *before, uint32_t *c)
{
    uint32_t four = ota_xref_word(before);

    c[0] = context(40, kind, 0);
    c[1] = context(41, kind, before[0]);
    c[2] = context(42, kind, four & 0xffffu);
    c[3] = context(43, kind, four & 0xffffffu);
    c[4] = context(44, kind, four);
    c[5] = context(45, four, before[4] | (uint32_t)before[5] << 8);
    c[6] = context(46, shape, before[3] | (uint32_t)before[7] << 8);
    c[7] = context(47, shape, before[0] | (uint32_t)before[3] << 8);
    return 8;
}

void ota_xref_code_literal(struct ota_xref *x, uint32_t len, uint8_t *actual)
{
    uint32_t done = 1, kind = x->kind;

    x->model.rc.part = OTA_XREF_PART_LITERALS;
    for (uint32_t i = 0; i < len; i++) {
        uint32_t at = place(kind, len, i), shape = kind << 16 | len << 8 | at, c[8];
        struct ota_xref_guess guess = {OTA_XREF_WRONG_SETS + kind * 4u + (i & 3u), -1, -1};
        uint8_t before[8];
        unsigned n;

        if (kind == OTA_XREF_RAW || kind == OTA_XREF_X86) {
            for (uint32_t k = 0; k < 8; k++)
                before[k] = (uint8_t)(k < i ? actual[i - 1 - k] : x->tail >> 8 * (k - i));
            n = byte_contexts(shape, kind, before, c);
        } else {
            n = word_contexts(x, shape, done, c);
        }
        actual[at] = ota_xref_byte(&x->model, c, n, &guess, actual[at]);
        done = ota_xref_hash(done, actual[at]);
    }
}

void ota_xref_made(struct ota_xref *x, const uint8_t *bytes, uint32_t len)
{
    uint32_t w = 0;

    for (uint32_t i = 0; i < len; i++)
        x->tail = x->tail << 8 | bytes[i];
    if (len >= 4)
        w = ota_xref_word(bytes);
    else
        for (uint32_t i = len; i-- > 0;)
            w = w << 8 | bytes[i];
    x->last_new[2] = x->last_new[1];
    x->last_new[1] = x->last_new[0];
    x->last_new[0] = w;
}
