/* xref_code.c - engine xref: what each bit is predicted from. docs/SPEC.md section 6.3.7. */
#include "xref.h"
#include "xref_form.h"

#define WRONG_SET (OTA_XREF_OTHER_SET + 3u) /* of each kind */

/* A context: a number of its own, then what it consists of. */
static uint32_t context(uint32_t id, uint32_t a, uint32_t b)
{
    return ota_xref_hash(id << 24 ^ a, b);
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
    uint32_t kind = u->kind, recent = x->flag_history, *history = &x->form_history[u->form];
    struct ota_xref_doubt doubt;
    int miss;

    x->model.rc.part = OTA_XREF_PART_FLAGS;
    if (ota_xref_doubt(&x->model, &doubt, context(5, recent & 7u, u->op ^ kind << 24),
                       context(3, kind << 8 | u->len, old_word(u)))) {
        uint32_t what = u->form * 4u + u->guess, changed = !ota_xref_equal(u->pred, u->old, u->len);
        uint32_t hits = x->hits > 64 ? 33 : at_most(x->hits, 32), left = at_most(x->copy_left / 4, 16), c[2];

        c[0] = context(1, what * 2 + changed, (*history & 0xffu) | x->kind << 8 | (uint32_t)u->has_alt << 16);
        c[1] = context(8, hits * 64 + kind, left | changed << 8 | (uint32_t)u->guess << 9);
        miss = ota_xref_flag_open(&x->model, &doubt, c, 2, what, !hit);
    } else {
        miss = ota_xref_flag_sure(&x->model, &doubt, !hit);
    }
    x->flag_history = recent << 1 | (uint32_t)miss;
    *history = *history << 1 | (uint32_t)miss;
    x->hits = miss ? 0 : x->hits + 1;
    x->kind = kind;
    return !miss;
}

/* The i-th byte of a unit that is coded: of instructions and numbers the one with the highest bits is first. */
static uint32_t place(uint32_t kind, uint32_t len, uint32_t i)
{
    if (kind == OTA_XREF_RAW || kind == OTA_XREF_X86)
        return i;
    return kind == OTA_XREF_THUMB && len == 4 ? i ^ 1u : len - 1 - i;
}

static void find_run(struct ota_xref *x, struct ota_xref_guess *guess, unsigned i, uint32_t about)
{
    ota_xref_run_find(&x->model, &guess->runs[i], about);
}

static void learn_runs(const struct ota_xref_guess *guess, uint8_t byte)
{
    for (unsigned i = 0; i < OTA_XREF_RUNS; i++)
        ota_xref_run_learn(&guess->runs[i], byte);
}

void ota_xref_code_wrong(struct ota_xref *x, const struct ota_xref_unit *u, uint8_t *actual)
{
    uint32_t old = old_word(u), refers = u->form != OTA_XREF_NONE, done = 1, differ = 0;
    uint32_t what = refers ? (uint32_t)u->target : x->last_new[0];
    uint8_t *change = x->last_change[u->kind];

    x->model.rc.part = OTA_XREF_PART_WRONG;
    for (uint32_t i = 0; i < u->len; i++) {
        uint32_t at = place(u->kind, u->len, i), shape = (uint32_t)u->kind << 16 | (uint32_t)u->len << 8 | at, flags[2];
        uint8_t p = u->pred[at], drift = (uint8_t)(p + change[at]);
        struct ota_xref_guess guess;
        int wrong = 1;

        find_run(x, &guess, 0, context(17, shape ^ old * 0x9e3779b1u, done));
        find_run(x, &guess, 1, context(21, shape ^ u->op * 0x9e3779b1u, done ^ (uint32_t)p << 24));
        find_run(x, &guess, 2, context(23, shape ^ what * 0x9e3779b1u, done));
        guess.set = (u->kind * 2u + refers) * 4u + (i & 3u);
        guess.expected = p;
        guess.expected_other = u->has_alt ? u->alt[at] : drift;
        flags[0] = context(16, shape, p | differ << 8 | refers << 10);
        flags[1] = context(25, shape, refers | differ << 1);
        if (i + 1 < u->len || differ != 0) /* else it must be wrong */
            wrong = ota_xref_differs(&x->model, &guess, flags, WRONG_SET + u->kind, actual[at] != p);
        if (wrong) {
            guess.contexts[0] = flags[0];
            guess.contexts[1] = context(19, shape, drift | (uint32_t)p << 8 | differ << 16);
            guess.contexts[2] = context(25, shape, 0);
            actual[at] = ota_xref_byte(&x->model, &guess, actual[at]);
        } else {
            actual[at] = p;
        }
        learn_runs(&guess, actual[at]);
        done = ota_xref_hash(done, actual[at]);
        differ |= (uint32_t)wrong;
        change[at] = (uint8_t)(actual[at] - p);
    }
}

/* Literals among instructions and numbers: what came before in the unit, and the units before. */
static void guess_word(struct ota_xref *x, uint32_t shape, uint32_t done, struct ota_xref_guess *guess)
{
    uint32_t a = x->last_new[0], b = x->last_new[1], tops = a >> 21 | b >> 21 << 11;

    guess->contexts[0] = context(32, shape, 0);
    guess->contexts[1] = context(33, shape, done);
    guess->contexts[2] = context(36, shape ^ (a >> 24 | b >> 24 << 8) * 0x9e3779b1u, done);
    find_run(x, guess, 0, context(34, shape ^ a * 0x9e3779b1u, done));
    find_run(x, guess, 1, context(35, shape ^ ota_xref_hash(a, b), done));
    find_run(x, guess, 2, context(37, shape ^ ota_xref_hash(tops, x->last_new[2] >> 24), done));
}

/* Literals elsewhere: the bytes before, newest first. */
static void guess_byte(struct ota_xref *x, uint32_t shape, const uint8_t *before, struct ota_xref_guess *guess)
{
    uint32_t four = ota_xref_word(before), kind = x->kind;

    guess->contexts[0] = context(40, kind, 0);
    guess->contexts[1] = context(41, kind, before[0]);
    guess->contexts[2] = context(42, kind, four & 0xffffu);
    find_run(x, guess, 0, context(43, kind, four & 0xffffffu));
    find_run(x, guess, 1, context(44, four, before[4]));
    find_run(x, guess, 2, context(46, shape, before[3] | (uint32_t)before[7] << 8));
}

void ota_xref_code_literal(struct ota_xref *x, uint32_t len, uint8_t *actual)
{
    uint32_t done = 1, kind = x->kind;

    x->model.rc.part = OTA_XREF_PART_LITERALS;
    for (uint32_t i = 0; i < len; i++) {
        uint32_t at = place(kind, len, i), shape = kind << 16 | len << 8 | at;
        struct ota_xref_guess guess;
        uint8_t before[8];

        guess.set = OTA_XREF_WRONG_SETS + kind * 4u + (i & 3u);
        guess.expected = guess.expected_other = -1;
        if (kind == OTA_XREF_RAW || kind == OTA_XREF_X86) {
            for (uint32_t k = 0; k < 8; k++)
                before[k] = (uint8_t)(k < i ? actual[i - 1 - k] : x->tail >> 8 * (k - i));
            guess_byte(x, shape, before, &guess);
        } else {
            guess_word(x, shape, done, &guess);
        }
        actual[at] = ota_xref_byte(&x->model, &guess, actual[at]);
        learn_runs(&guess, actual[at]);
        done = ota_xref_hash(done, actual[at]);
    }
}

void ota_xref_made(struct ota_xref *x, const uint8_t *bytes, uint32_t len)
{
    uint32_t w = 0;

    if (len == 4) {
        w = ota_xref_word(bytes);
        x->tail =
            x->tail << 32 | (uint64_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    } else {
        for (uint32_t i = 0; i < len; i++)
            x->tail = x->tail << 8 | bytes[i];
        if (len > 4)
            w = ota_xref_word(bytes);
        else
            for (uint32_t i = len; i-- > 0;)
                w = w << 8 | bytes[i];
    }
    x->last_new[2] = x->last_new[1];
    x->last_new[1] = x->last_new[0];
    x->last_new[0] = w;
}
