/* exec_choose.c - which targets of a record are written.
 *
 * A target can be left alone if its record is an image (block, ubi), or a file that its expect gives a label. In this
 * order: the package's mask, the mask of the options or the targets of the chosen slot in its place, then whoever is
 * asked. The answers are kept, since an expect and the record that it speaks of are two places in the stream; what they
 * do not decide follows from the record alone.
 */
#include "exec.h"

#include <string.h>

static uint64_t key_of(struct ota_text root, struct ota_text path)
{
    struct ota_xxh64 h;
    ota_xxh64_init(&h);
    if (root.len > 1)
        ota_xxh64_update(&h, (const uint8_t *)root.p, root.len);
    if (path.len > 0) {
        ota_xxh64_update(&h, (const uint8_t *)"/", 1);
        ota_xxh64_update(&h, (const uint8_t *)path.p, path.len);
    }
    return ota_xxh64_value(&h) & ~UINT64_C(1);
}

/* 1 yes, 0 no, -1: nobody was asked. */
static int answer(const struct ota_exec *ex, uint64_t key)
{
    unsigned i;
    for (i = 0; i < ex->answer_count; i++)
        if ((ex->answers[i] & ~UINT64_C(1)) == key)
            return (int)(ex->answers[i] & 1u);
    return -1;
}

/* Ask about the target that the report names. 1 yes, 0 no. */
static int ask(struct ota_exec *ex, uint64_t key, unsigned target)
{
    struct ota_asked a;
    int st;
    a.name = ex->report.target;
    a.name_len = ota_text_len(ex->report.target, sizeof ex->report.target);
    a.label = ex->rec.label.p;
    a.label_len = ex->rec.label.len;
    a.image = ex->asked;
    a.target = target;
    if (a.name_len + 1 == sizeof ex->report.target)
        return ota_exec_fail(ex, ERR(LIMIT), "a name that is too long to ask about");
    if (ex->answer_count == OTA_ANSWERS_MAX)
        return ota_exec_fail(ex, ERR(LIMIT), "more targets than can be asked about");
    if ((st = ex->port.allow(ex->port.ctx, &a)) < 0)
        return st;
    ex->answers[ex->answer_count++] = key | (uint64_t)(st != 0);
    return st != 0;
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

/* The targets of the chosen slot, and those of no slot as they were. */
static int slot_mask(struct ota_exec *ex)
{
    struct ota_record *r = &ex->rec;
    uint32_t ours = 0;
    uint32_t others = 0;
    unsigned other = OTA_TARGETS_MAX;
    unsigned i;
    for (i = 0; i < r->target_count; i++) {
        int slot = ota_slots_of(&ex->slots, r->targets[i]);
        if (slot == ex->slot)
            ours |= 1u << i;
        else if (slot >= 0)
            others |= 1u << i;
        if (slot >= 0 && slot != ex->slot && other == OTA_TARGETS_MAX)
            other = i;
    }
    if ((ours | others) == 0)
        return 0;
    if (ours == 0)
        return ota_exec_fail(ex, ERR(TARGET), "the image has no target in the slot that is written");
    ex->slot_used = 1;
    ex->slot_wrong |= r->unit != 0; /* whether it is new already, only its journal knows */
    r->mask = (r->mask & ~others) | ours;
    /* a delta from the image's own old content reads the slot that stays */
    if (r->source.type == OTA_SOURCE_SELF && other < OTA_TARGETS_MAX) {
        r->source.type = OTA_SOURCE_NODE;
        r->source.node = r->targets[other];
    }
    return 0;
}

static int choose_targets(struct ota_exec *ex)
{
    struct ota_record *r = &ex->rec;
    unsigned i;
    int yes;
    int st;
    if (ex->options.select != 0 && r->target_count > 1)
        r->mask = ex->options.select & ((1u << r->target_count) - 1u);
    if (ex->slot >= 0 && (st = slot_mask(ex)) != 0)
        return st;
    for (i = 0; ex->port.allow != NULL && i < r->target_count; i++) {
        uint64_t key = key_of(r->targets[i], (struct ota_text){NULL, 0});
        if ((r->mask >> i & 1u) == 0)
            continue;
        ota_exec_target(ex, r->targets[i], (struct ota_text){NULL, 0});
        yes = r->kind == OTA_KIND_EXPECT ? ask(ex, key, i) : answer(ex, key);
        if (yes < 0)
            return r->kind == OTA_KIND_EXPECT ? yes : ota_exec_fail(ex, ERR(FORMAT), "no expect has named this target");
        if (yes == 0)
            r->mask &= ~(1u << i);
    }
    if (r->kind != OTA_KIND_EXPECT)
        for (i = 0; i < r->target_count; i++)
            ex->report.left_out += (r->mask >> i & 1u) == 0;
    ota_exec_target(ex, r->targets[0], (struct ota_text){NULL, 0});
    return r->unit != 0 && r->mask == 0; /* one that is updated in place knows no mask */
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int choose_file(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    uint64_t key;
    int yes;
    if (ex->port.allow == NULL || (ex->answer_count == 0 && r->kind != OTA_KIND_EXPECT))
        return 0;
    key = key_of(r->root, r->path);
    if (r->kind == OTA_KIND_EXPECT) {
        yes = ask(ex, key, 0);
        return yes < 0 ? yes : !yes;
    }
    yes = answer(ex, key);
    ex->report.left_out += yes == 0;
    return yes == 0;
}

int ota_exec_choose(struct ota_exec *ex)
{
    const struct ota_record *r = &ex->rec;
    int expect = r->kind == OTA_KIND_EXPECT;
    int st = 0;
    if (ex->options.check_only)
        return 0;
    if (r->target_count > 0) {
        st = choose_targets(ex);
    } else if (expect ? r->type == OTA_EXPECT_TREE && r->label.len > 0 : r->path.len > 0) {
        st = choose_file(ex);
    } else {
        return 0;
    }
    ex->asked += (uint32_t)expect;
    return st;
}
