/* slots.c - A/B slots.
 *
 *     a NODE...                   nodes of slot a, on as many lines as it takes
 *     b NODE...
 *     select NAME A B             variable by which the boot loader chooses, its value for a and for b
 *     boot a WORD...              slot a runs if one of these words is on the kernel's command line; likewise b.
 *                                 Without such lines, root= is compared with the nodes
 *     trial NAME COUNTER          variable that makes the boot loader count its tries, and the counter; `trial none`.
 *                                 Without such a line: upgrade_available, bootcount
 *     good NAME MASK              variable that is a list of bytes in hexadecimal, one for each slot, and the bits in
 *                                 a byte that say that the slot has proved to work
 *
 * A word with blanks in it stands between double quotes.
 */
#include "slots.h"

#include <string.h>

#define ERR(name) (-(int)OTA_E_##name)

#define VALUE_MAX 128u

static struct ota_text text_of(const char *s)
{
    struct ota_text t;
    t.p = s;
    t.len = ota_text_len(s, 256);
    return t;
}

static int equal(struct ota_text a, struct ota_text b)
{
    return ota_text_order(a, b) == 0;
}

/* ---- lines and words --------------------------------------------------------------------------------------------- */

struct cursor {
    const char *p;
    const char *end;
};

static int next_line(const struct ota_slots *s, size_t *pos, struct cursor *line)
{
    if (*pos >= s->len)
        return 0;
    line->p = s->text + *pos;
    while (*pos < s->len && s->text[*pos] != '\0')
        (*pos)++;
    line->end = s->text + *pos;
    (*pos)++;
    return 1;
}

/* The next word, its quotes taken off; 0 at the end. */
static int next_word(struct cursor *c, struct ota_text *word)
{
    char stop = ' ';
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n'))
        c->p++;
    if (c->p < c->end && *c->p == '"')
        stop = *c->p++;
    word->p = c->p;
    while (c->p < c->end && *c->p != stop && (stop == '"' || (*c->p != '\t' && *c->p != '\n')))
        c->p++;
    word->len = (size_t)(c->p - word->p);
    if (stop == '"' && c->p < c->end)
        c->p++;
    return word->len > 0 || stop == '"';
}

/* The first line that begins with this word: its further words, at most three. Their number, -1 without a line. */
static int statement(const struct ota_slots *s, const char *key, struct ota_text words[3])
{
    struct cursor line;
    struct ota_text word;
    size_t pos = 0;
    int n = 0;
    while (next_line(s, &pos, &line)) {
        if (!next_word(&line, &word) || !equal(word, text_of(key)))
            continue;
        while (n < 3 && next_word(&line, &words[n]))
            n++;
        return n;
    }
    return -1;
}

static const char *const slot_names[2] = {"a", "b"};

static int check_line(struct cursor line)
{
    static const char *const known[] = {"a", "b", "select", "boot", "trial", "good"};
    struct ota_text word;
    size_t i;
    (void)next_word(&line, &word);
    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        if (equal(word, text_of(known[i])))
            return 1;
    return 0;
}

static int broken(struct ota_slots *s, const char *detail)
{
    s->detail = detail;
    return ERR(CONFIG);
}

int ota_slots_read(struct ota_slots *s, const struct ota_port *port)
{
    struct ota_text words[3];
    struct cursor line;
    size_t pos = 0;
    int n;
    int st;
    s->detail = NULL;
    s->len = 0;
    st = port->identity(port->ctx, OTA_ID_SLOTS, s->text, sizeof s->text, &s->len);
    if (st == ERR(MISSING))
        return broken(s, "this board has no /etc/otastream/slots, which says what its slots are");
    if (st != 0)
        return st;
    while (next_line(s, &pos, &line))
        if (!check_line(line))
            return broken(s, "/etc/otastream/slots: a line begins with none of a, b, select, boot, trial, good");
    if (statement(s, "a", words) < 1 || statement(s, "b", words) < 1)
        return broken(s, "/etc/otastream/slots: the nodes of a slot are missing: a NODE..., b NODE...");
    if (statement(s, "select", words) != 3 || words[0].len == 0 || words[1].len == 0 || words[2].len == 0 ||
        equal(words[1], words[2]))
        return broken(s, "/etc/otastream/slots: there is no line: select NAME VALUE-FOR-A VALUE-FOR-B");
    n = statement(s, "trial", words);
    if (n == 0 || (n == 1 && !equal(words[0], text_of("none"))))
        return broken(s, "/etc/otastream/slots: a line is not: trial NAME COUNTER");
    if (statement(s, "good", words) >= 0 && statement(s, "good", words) != 2)
        return broken(s, "/etc/otastream/slots: a line is not: good NAME MASK");
    return 0;
}

int ota_slots_of(const struct ota_slots *s, struct ota_text node)
{
    struct cursor line;
    struct ota_text word;
    size_t pos = 0;
    int slot;
    while (next_line(s, &pos, &line)) {
        (void)next_word(&line, &word);
        for (slot = 0; slot < 2; slot++) {
            if (!equal(word, text_of(slot_names[slot])))
                continue;
            while (next_word(&line, &word))
                if (equal(word, node))
                    return slot;
            break;
        }
    }
    return -1;
}

/* ---- which slot runs --------------------------------------------------------------------------------------------- */

/* The slot of a root device: its node, or the node that it is the block device of. */
static int slot_of_root(const struct ota_slots *s, struct ota_text root)
{
    static const char *const block[2] = {"/dev/mtdblock", "/dev/ubiblock"};
    static const char *const raw[2] = {"/dev/mtd", "/dev/ubi"};
    char name[64] = "";
    unsigned i;
    for (i = 0; i < 2; i++) {
        struct ota_text head = text_of(block[i]);
        if (root.len > head.len && root.len < sizeof name && memcmp(root.p, head.p, head.len) == 0) {
            ota_put_text(name, sizeof name, raw[i]);
            ota_put_bytes(name, sizeof name, root.p + head.len, root.len - head.len);
        }
    }
    return name[0] != '\0' && ota_slots_of(s, root) < 0 ? ota_slots_of(s, text_of(name)) : ota_slots_of(s, root);
}

static int on_command_line(struct cursor line, struct ota_text wanted)
{
    struct ota_text word;
    while (next_word(&line, &word))
        if (equal(word, wanted))
            return 1;
    return 0;
}

/* By the lines `boot`: bits of the slots that they name; *any: there are such lines. */
static unsigned slots_by_words(const struct ota_slots *s, struct cursor command, int *any)
{
    struct cursor line;
    struct ota_text word;
    size_t pos = 0;
    unsigned found = 0;
    *any = 0;
    while (next_line(s, &pos, &line)) {
        int slot;
        if (!next_word(&line, &word) || !equal(word, text_of("boot")) || !next_word(&line, &word))
            continue;
        *any = 1;
        slot = equal(word, text_of("b"));
        while (next_word(&line, &word))
            if (on_command_line(command, word))
                found |= 1u << slot;
    }
    return found;
}

/* 0, 1, or -1: the command line does not say. */
static int running_slot(const struct ota_slots *s, const struct ota_port *port)
{
    char buf[2048];
    struct cursor command;
    struct ota_text word;
    size_t len = 0;
    unsigned found;
    int any;
    if (port->identity(port->ctx, OTA_ID_COMMAND_LINE, buf, sizeof buf, &len) != 0)
        return -1;
    command.p = buf;
    command.end = buf + len;
    found = slots_by_words(s, command, &any);
    if (any)
        return found == 1 ? 0 : found == 2 ? 1 : -1;
    while (next_word(&command, &word)) {
        if (word.len <= 5 || memcmp(word.p, "root=", 5) != 0)
            continue;
        word.p += 5;
        word.len -= 5;
        return slot_of_root(s, word);
    }
    return -1;
}

/* ---- variables --------------------------------------------------------------------------------------------------- */

static const struct ota_text incomplete_name = {"ota_incomplete", 14};

/* The names of the trial's variables; 0: there is no trial. */
static int trial_names(const struct ota_slots *s, struct ota_text words[3])
{
    int n = statement(s, "trial", words);
    if (n == 1)
        return 0;
    if (n < 0) {
        words[0] = text_of("upgrade_available");
        words[1] = text_of("bootcount");
    }
    return 1;
}

/* A variable as text; empty when there is none. A value that is longer than any we know is none of ours. */
static int get(struct ota_env *e, struct ota_text name, char buf[VALUE_MAX], struct ota_text *value)
{
    int st = ota_env_get(e, name, buf, VALUE_MAX, &value->len);
    value->p = buf;
    if (st == 1 || st == ERR(LIMIT)) {
        value->len = st == 1 ? value->len : 0;
        return 0;
    }
    value->len = 0;
    return st;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Byte `slot` of a list such as "80,00" or "0x80,0x0": where its digits are, and its value. 0: the list is shorter. */
static int list_byte(struct ota_text list, int slot, size_t *at, size_t *len, unsigned *value)
{
    size_t i = 0;
    for (; slot > 0; slot--) {
        while (i < list.len && list.p[i] != ',')
            i++;
        i++;
    }
    while (i < list.len && list.p[i] == ' ')
        i++;
    if (i + 1 < list.len && list.p[i] == '0' && (list.p[i + 1] | 32) == 'x')
        i += 2;
    *at = i;
    *value = 0;
    for (; i < list.len && hex_digit(list.p[i]) >= 0 && i - *at < 2; i++)
        *value = *value << 4 | (unsigned)hex_digit(list.p[i]);
    *len = i < list.len || i > *at ? i - *at : 0;
    return *len > 0;
}

static unsigned mask_of(struct ota_text word)
{
    size_t at;
    size_t len;
    unsigned value = 0;
    return list_byte(word, 0, &at, &len, &value) ? value : 0;
}

int ota_slots_status(struct ota_slots *s, const struct ota_port *port, struct ota_env *e, struct ota_slot_status *out)
{
    struct ota_text words[3];
    struct ota_text value;
    char buf[VALUE_MAX];
    size_t at;
    size_t i;
    int slot;
    int st;
    memset(out, 0, sizeof *out);
    (void)statement(s, "select", words);
    if ((st = get(e, words[0], buf, &value)) != 0)
        return st;
    out->selected = equal(value, words[1]) ? 0 : equal(value, words[2]) ? 1 : -1;
    if ((st = get(e, incomplete_name, buf, &value)) != 0)
        return st;
    out->incomplete = equal(value, text_of("a")) ? 0 : equal(value, text_of("b")) ? 1 : -1;
    out->trial = -1;
    if (trial_names(s, words)) {
        if ((st = get(e, words[0], buf, &value)) != 0)
            return st;
        out->trial = value.len > 0 && !equal(value, text_of("0"));
        if ((st = get(e, words[1], buf, &value)) != 0)
            return st;
        for (i = 0; i < value.len && i < 9 && buf[i] >= '0' && buf[i] <= '9'; i++)
            out->boot_count = out->boot_count * 10u + (uint32_t)(buf[i] - '0');
    }
    out->good = -1;
    if (statement(s, "good", words) == 2) {
        unsigned mask = mask_of(words[1]);
        if ((st = get(e, words[0], buf, &value)) != 0)
            return st;
        for (out->good = 0, slot = 0; slot < 2; slot++) {
            unsigned byte;
            if (list_byte(value, slot, &at, &i, &byte) && (byte & mask) == mask)
                out->good |= 1 << slot;
        }
    }
    out->running = running_slot(s, port);
    /* The variable says what starts next. That is what runs, too, unless an update waits for its first start. */
    if (out->running < 0 && out->trial == 0)
        out->running = out->selected;
    return 0;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

struct builder {
    uint8_t *buf;
    size_t len;
    int st;
};

static void put(struct builder *b, struct ota_text name, struct ota_text value)
{
    if (b->st == 0)
        b->st = ota_env_put(b->buf, OTA_SLOT_CHANGES, &b->len, name, value);
}

/* Set or clear the bits of a slot in the list. A list that is not there yet is made. */
static void put_good(struct ota_slots *s, struct ota_env *e, struct builder *b, int slot, int good)
{
    static const char hex[] = "0123456789abcdef";
    struct ota_text words[3];
    struct ota_text value;
    char buf[VALUE_MAX];
    unsigned byte;
    unsigned mask;
    size_t at;
    size_t len;
    if (statement(s, "good", words) != 2)
        return;
    b->st = b->st != 0 ? b->st : get(e, words[0], buf, &value);
    if (b->st != 0)
        return;
    if (value.len == 0) {
        memcpy(buf, "00,00", 5);
        value.len = 5;
    }
    mask = mask_of(words[1]);
    if (!list_byte(value, slot, &at, &len, &byte)) {
        b->st = broken(s, "the variable of the line good is no list of two bytes in hexadecimal");
        return;
    }
    byte = good ? byte | mask : byte & ~mask;
    if (len == 1 && byte < 16) {
        buf[at] = hex[byte];
    } else {
        if (len == 1) {
            if (value.len == VALUE_MAX) {
                b->st = ERR(LIMIT);
                return;
            }
            memmove(buf + at + 1, buf + at, value.len - at);
            value.len++;
        }
        buf[at] = hex[byte >> 4 & 15u];
        buf[at + 1] = hex[byte & 15u];
    }
    put(b, words[0], value);
}

int ota_slots_changes(struct ota_slots *s, struct ota_env *e, enum ota_slot_event event, int slot, uint8_t *buf,
                      struct ota_text *changes)
{
    const struct ota_text none = {NULL, 0};
    struct ota_text words[3];
    struct builder b = {buf, 0, 0};
    int started = event == OTA_SLOT_BEGIN ? 1 - slot : slot; /* the slot that the boot loader shall start */
    (void)statement(s, "select", words);
    put(&b, words[0], words[1 + started]);
    if (trial_names(s, words)) {
        put(&b, words[0], text_of(event == OTA_SLOT_SWITCH ? "1" : "0"));
        put(&b, words[1], text_of("0"));
    }
    if (event == OTA_SLOT_BEGIN)
        put(&b, incomplete_name, text_of(slot_names[slot]));
    else if (event == OTA_SLOT_SWITCH)
        put(&b, incomplete_name, none);
    if (event == OTA_SLOT_BEGIN)
        put_good(s, e, &b, slot, 0);
    else if (event == OTA_SLOT_GOOD)
        put_good(s, e, &b, slot, 1);
    changes->p = (const char *)buf;
    changes->len = b.len;
    return b.st;
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

static int act(struct ota_slots *s, struct ota_env *e, enum ota_slot_action action, const struct ota_slot_status *st)
{
    uint8_t buf[OTA_SLOT_CHANGES];
    struct ota_text changes;
    int slot = action == OTA_SLOTS_GOOD ? st->selected : 1 - st->selected;
    int r;
    if (action == OTA_SLOTS_STATUS)
        return 0;
    if (st->selected < 0)
        return broken(s, "the variable that selects a slot has neither of its two values");
    if (action == OTA_SLOTS_GOOD && st->running >= 0 && st->running != st->selected)
        return broken(s, "the slot that runs is not the one that is selected: start it first, or roll back");
    if (slot == st->incomplete)
        return broken(s, "that slot is half written: run the update again");
    if (action == OTA_SLOTS_ROLLBACK && st->good >= 0 && (st->good >> slot & 1) == 0)
        return broken(s, "that slot has never proved to work");
    r = ota_slots_changes(s, e, action == OTA_SLOTS_GOOD ? OTA_SLOT_GOOD : OTA_SLOT_RETREAT, slot, buf, &changes);
    if (r == 0)
        r = ota_env_apply(e, changes);
    return r < 0 ? r : 0;
}

int ota_slots_run(const struct ota_port *port, enum ota_slot_action action, uint8_t *block, uint32_t block_len,
                  struct ota_slot_status *out)
{
    struct ota_slots s;
    struct ota_env e;
    int st;
    memset(out, 0, sizeof *out);
    out->running = out->selected = out->trial = out->incomplete = out->good = -1;
    e.detail = NULL;
    if ((st = ota_slots_read(&s, port)) == 0 && (st = ota_env_open(&e, port, block, block_len)) == 0) {
        if ((st = ota_slots_status(&s, port, &e, out)) == 0 && (st = act(&s, &e, action, out)) == 0 &&
            action != OTA_SLOTS_STATUS)
            st = ota_slots_status(&s, port, &e, out);
        ota_env_close(&e);
    }
    if (st != 0 && s.detail != NULL)
        ota_put_text(out->detail, sizeof out->detail, s.detail);
    else if (st != 0 && e.detail != NULL)
        ota_put_text(out->detail, sizeof out->detail, e.detail);
    return st;
}
