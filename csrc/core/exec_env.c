/* exec_env.c - changes of the boot loader's environment: the record env, and what an update of a slot has to tell. */
#include "exec.h"

static void name_environment(struct ota_exec *ex)
{
    static const struct ota_text none = {NULL, 0};
    static const struct ota_text name = {"U-Boot environment", 18};
    ota_exec_target(ex, name, none);
}

static int failed(struct ota_exec *ex, const struct ota_env *e, int st)
{
    return ota_exec_fail(ex, st, e->detail != NULL ? e->detail : "");
}

static int open_env(struct ota_exec *ex, struct ota_env *e)
{
    int st = ota_env_open(e, &ex->port, ex->block, ex->options.block_buffer);
    name_environment(ex);
    return st == 0 ? 0 : failed(ex, e, st);
}

/* 0; *right: nothing had to be written. */
static int apply(struct ota_exec *ex, struct ota_env *e, struct ota_text changes, int *right)
{
    int st = ota_env_check(e, changes);
    *right = st == 1;
    if (st == 0) {
        ex->report.changed = 1;
        st = ota_env_apply(e, changes);
        ex->report.bytes_written += e->written;
    }
    return st < 0 ? failed(ex, e, st) : 0;
}

int ota_exec_expect_env(struct ota_exec *ex)
{
    struct ota_env e;
    int st = open_env(ex, &e);
    if (st != 0)
        return st;
    st = ota_env_check(&e, ex->rec.env);
    ota_env_close(&e);
    return st < 0 ? failed(ex, &e, st) : 0;
}

int ota_exec_env(struct ota_exec *ex)
{
    struct ota_env e;
    int right = 0;
    int st = open_env(ex, &e);
    if (st != 0)
        return st;
    st = apply(ex, &e, ex->rec.env, &right);
    ota_env_close(&e);
    ex->report.skipped += (uint64_t)right;
    return st;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static int choose_slot(struct ota_exec *ex, const struct ota_slot_status *now)
{
    int wanted = ex->options.slot == OTA_SLOTS_AUTO ? (now->running < 0 ? -1 : 1 - now->running) : ex->options.slot - 1;
    if (wanted < 0)
        return ota_exec_fail(ex, ERR(CONFIG),
                             now->trial == 1 ? "an update waits for its first start, so the slot that runs is not known"
                                             : "which slot runs is not known: say which one to write");
    if (wanted == now->running)
        return ota_exec_fail(ex, ERR(CONFIG), "the slot to write is the one that runs");
    ex->slot = wanted;
    return 0;
}

int ota_exec_slots_begin(struct ota_exec *ex)
{
    uint8_t buf[OTA_SLOT_CHANGES];
    struct ota_slot_status now;
    struct ota_text changes;
    struct ota_env e;
    int st;
    if (ex->options.slot == OTA_SLOTS_NONE || ex->options.check_only)
        return 0;
    if ((st = ota_slots_read(&ex->slots, &ex->port)) != 0)
        return ota_exec_fail(ex, st, ex->slots.detail != NULL ? ex->slots.detail : "");
    if ((st = open_env(ex, &e)) != 0)
        return st;
    st = ota_slots_status(&ex->slots, &ex->port, &e, &now);
    if (st == 0)
        st = choose_slot(ex, &now);
    if (st == 0)
        st = ota_slots_changes(&ex->slots, &e, OTA_SLOT_BEGIN, ex->slot, buf, &changes);
    if (st == 0) /* the larger of the two changes: if there is room for it, there is for the other */
        st = ota_env_check(&e, changes);
    ota_env_close(&e);
    return st < 0 ? ota_exec_fail(ex, st,
                                  e.detail != NULL           ? e.detail
                                  : ex->slots.detail != NULL ? ex->slots.detail
                                                             : "")
                  : 0;
}

int ota_exec_slots_event(struct ota_exec *ex, enum ota_slot_event event)
{
    uint8_t buf[OTA_SLOT_CHANGES];
    struct ota_text changes;
    struct ota_env e;
    int right;
    int st;
    if (ex->slot < 0 || !ex->slot_used)
        return 0;
    if ((st = open_env(ex, &e)) != 0)
        return st;
    if ((st = ota_slots_changes(&ex->slots, &e, event, ex->slot, buf, &changes)) == 0)
        st = apply(ex, &e, changes, &right);
    ota_env_close(&e);
    return st != 0 ? ota_exec_fail(ex, st, ex->slots.detail != NULL ? ex->slots.detail : "") : 0;
}
