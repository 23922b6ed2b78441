// links: core host
/* Engine xref: range coder, references, map, and that the decoder makes new of any plan, in any split. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine.h"
#include "host/xref_host.h"
#include "xref_form.h"

static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return n == 0 ? 0 : (seed >> 8) % n;
}

/* ---- references ---- */

struct example {
    enum ota_xref_form form;
    uint32_t word;
    uint64_t pc;
    uint64_t target;
};

/* Words as assemblers make them. */
static const struct example examples[] = {
    {OTA_XREF_A64_BRANCH26, 0x94000002u, 0x1000, 0x1008},        /* bl .+8 */
    {OTA_XREF_A64_BRANCH26, 0x17ffffffu, 0x1000, 0xffc},         /* b .-4 */
    {OTA_XREF_A64_BRANCH19, 0x54ffffe0u, 0x1000, 0xffc},         /* b.eq .-4 */
    {OTA_XREF_A64_BRANCH19, 0xb4000040u, 0x1000, 0x1008},        /* cbz x0, .+8 */
    {OTA_XREF_A64_BRANCH19, 0x58000061u, 0x1000, 0x100c},        /* ldr x1, .+12 */
    {OTA_XREF_A64_BRANCH14, 0x36000080u, 0x1000, 0x1010},        /* tbz w0, #0, .+16 */
    {OTA_XREF_A64_ADR, 0x10000020u, 0x1000, 0x1004},             /* adr x0, .+4 */
    {OTA_XREF_A64_ADRP, 0xb0000000u, 0x1234, 0x2000},            /* adrp x0, .+0x1000 */
    {OTA_XREF_A64_LOW12, 0x91010000u, 0x5000, 0x5040},           /* add x0, x0, #0x40 */
    {OTA_XREF_A64_LOW12, 0xf9400400u, 0x5000, 0x5008},           /* ldr x0, [x0, #8] */
    {OTA_XREF_A32_BRANCH24, 0xeb000001u, 0x1008, 0x100c},        /* bl .+12 */
    {OTA_XREF_A32_LOAD, 0xe59f3010u, 0x1008, 0x1018},            /* ldr r3, [pc, #16] */
    {OTA_XREF_A32_LOAD, 0xe51f3010u, 0x1008, 0xff8},             /* ldr r3, [pc, #-16] */
    {OTA_XREF_A32_MOVW, 0xe3012234u, 0, 0x1234},                 /* movw r2, #0x1234 */
    {OTA_XREF_T_BRANCH24, 0xf802f000u, 0x1004, 0x1008},          /* bl .+8 */
    {OTA_XREF_T_BRANCH24, 0xfffef7ffu, 0x1004, 0x1000},          /* bl . */
    {OTA_XREF_T_BRANCH20, 0x8002f000u, 0x1004, 0x1008},          /* beq.w .+8 */
    {OTA_XREF_T_BRANCH11, 0xe7feu, 0x1004, 0x1000},              /* b . */
    {OTA_XREF_T_BRANCH8, 0xd0feu, 0x1004, 0x1000},               /* beq . */
    {OTA_XREF_T_CBZ, 0xb108u, 0x1004, 0x1006},                   /* cbz r0, .+6 */
    {OTA_XREF_T_LOAD8, 0x4b01u, 0x1006, 0x1008},                 /* ldr r3, [pc, #4] */
    {OTA_XREF_T_LOAD12, 0x3004f8dfu, 0x1006, 0x1008},            /* ldr.w r3, [pc, #4] */
    {OTA_XREF_T_MOVW, 0x2234f241u, 0, 0x1234},                   /* movw r2, #0x1234 */
    {OTA_XREF_WORD32, 0x12345678u, 0, 0x12345678u},              /* an address */
    {OTA_XREF_WORD_PC, 0xfffffffcu, 0x1000, 0xffc},              /* a distance */
    {OTA_XREF_WORD_PREL31, 0x7ffffffcu, 0x1000, 0xffc},          /* the same in 31 bits */
    {OTA_XREF_WORD_POOL, 0x10u, 0xfffffff8u, 8},                 /* wraps at 32 bits */
    {OTA_XREF_MIPS_JUMP, 0x0c000400u, 0x80001004u, 0x80001000u}, /* jal */
    {OTA_XREF_RV_JAL, 0x008000efu, 0x1000, 0x1008},              /* jal .+8 */
    {OTA_XREF_RV_AUIPC, 0x00001517u, 0x1000, 0x2000},            /* auipc a0, 1 */
    {OTA_XREF_RV_LOW12, 0x00850513u, 0x2000, 0x2008},            /* addi a0, a0, 8 */
};

static void references(void)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *e = &examples[i];
        uint32_t w = e->word;

        check_case = "a reference";
        CHECK_INT(ota_xref_form_get(e->form, w, e->pc), e->target);
        CHECK(ota_xref_form_put(e->form, &w, e->pc, e->target));
        CHECK_INT(w, e->word);
        CHECK(ota_xref_form_same(e->form, w, e->word));
    }
}

/* What cannot be reached is refused, and the word stays. */
static void out_of_reach(void)
{
    static const struct example far[] = {
        {OTA_XREF_A64_BRANCH26, 0x94000002u, 0x1000, 0x10000000},
        {OTA_XREF_A64_BRANCH26, 0x94000002u, 0x1000, 0x1009},
        {OTA_XREF_A64_BRANCH14, 0x36000080u, 0x10000, 0x20000},
        {OTA_XREF_A64_LOW12, 0xf9400400u, 0x5000, 0x5004},
        {OTA_XREF_A64_LOW12, 0x91010000u, 0x5000, 0x6000},
        {OTA_XREF_A32_LOAD, 0xe59f3010u, 0x1008, 0x2008},
        {OTA_XREF_T_CBZ, 0xb108u, 0x1004, 0x1002},
        {OTA_XREF_T_BRANCH8, 0xd0feu, 0x1004, 0x1104},
        {OTA_XREF_T_LOAD8, 0x4b01u, 0x1006, 0x1404},
        {OTA_XREF_RV_JAL, 0x008000efu, 0, 0x100000},
    };

    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        uint32_t w = far[i].word;

        check_case = "out of reach";
        CHECK(!ota_xref_form_put(far[i].form, &w, far[i].pc, far[i].target));
        CHECK_INT(w, far[i].word);
    }
}

/* Whatever the word: putting back what was got changes nothing. */
static void any_word(void)
{
    for (int form = OTA_XREF_A64_BRANCH26; form < OTA_XREF_FORMS; form++) {
        if (form == OTA_XREF_WORD64 || form == OTA_XREF_X86_REL32 || form == OTA_XREF_A64_LOW12 ||
            form == OTA_XREF_A32_MOVT || form == OTA_XREF_T_MOVT)
            continue; /* half addresses, and what is not in one word */
        for (int i = 0; i < 2000; i++) {
            uint32_t w = random_below(1u << 24) << 8 ^ random_below(1u << 24), now = w;
            uint64_t pc = form >= OTA_XREF_A32_BRANCH24 && form <= OTA_XREF_T_MOVT ? 0x40000000u : 0x7f0000000000u;
            uint64_t target = ota_xref_form_get((enum ota_xref_form)form, w, pc);

            check_case = "any word";
            if (ota_xref_form_put((enum ota_xref_form)form, &now, pc, target))
                CHECK(ota_xref_form_get((enum ota_xref_form)form, now, pc) == target);
        }
    }
}

/* ---- the map ---- */

static void map(void)
{
    struct ota_xref_span spans[] = {{0, 1000, 100}, {100, 0, 1000}, {1100, 400, 10}, {1200, 5000, 50}};
    uint32_t order[4];
    struct ota_xref_map m = {.spans = spans, .by_old = order, .count = 4};

    check_case = "the map";
    ota_xref_map_sort(&m);
    CHECK_INT(order[0], 1);
    CHECK_INT(order[1], 2);
    CHECK_INT(order[2], 0);
    CHECK_INT(order[3], 3);
    m.here.old_pos = 9000;
    CHECK_INT(ota_xref_map_position(&m, 0), 100);
    CHECK_INT(ota_xref_map_position(&m, 405), 1105); /* the short one inside */
    CHECK_INT(ota_xref_map_position(&m, 420), 520);  /* the long one around it */
    CHECK_INT(ota_xref_map_position(&m, 1050), 50);
    CHECK_INT(ota_xref_map_position(&m, 1200), 200);  /* behind the nearest */
    CHECK_INT(ota_xref_map_position(&m, 4900), 1100); /* in front of the nearest */
}

/* ---- any plan ---- */

#define OLD_MAX 4096u
#define NEW_MAX 6000u
#define COPIES 40u
#define REGIONS 9u

static uint8_t old_data[OLD_MAX], new_data[NEW_MAX];

static uint32_t random_code(uint32_t kind)
{
    static const uint32_t a64[] = {0x94000000u, 0x54000001u, 0x90000000u, 0x91000000u, 0xf9400000u, 0x36000000u};
    static const uint32_t a32[] = {0xeb000000u, 0xe59f3000u, 0xe3002000u, 0xe3402000u, 0xe08f3003u};
    static const uint32_t thumb[] = {0xf800f000u, 0x447b4b01u, 0x8000f000u, 0x3004f8dfu, 0x2000f240u, 0x2000f2c0u};
    static const uint32_t other[] = {0xe8u, 0x000000efu, 0x00000517u, 0x00050513u, 0x0c000000u, 0x05u};

    if (random_below(3) == 0)
        return random_below(1u << 24) << 8 ^ random_below(1u << 16);
    if (kind == OTA_XREF_A64)
        return a64[random_below(6)] | random_below(256) << 5;
    if (kind == OTA_XREF_A32)
        return a32[random_below(5)] | random_below(64);
    if (kind == OTA_XREF_THUMB)
        return thumb[random_below(6)] | random_below(4) << 16;
    if (kind >= OTA_XREF_X86)
        return other[random_below(6)] | random_below(256) << 12;
    return random_below(8192);
}

#define SECTIONS 4u

struct scene {
    struct ota_xref_jobs jobs;
    struct ota_xref_job job[SECTIONS];
    struct ota_xref_span copies[SECTIONS][COPIES];
    struct ota_xref_span spans[SECTIONS][COPIES];
    struct ota_xref_region regions[SECTIONS][REGIONS];
};

static void segments(struct ota_xref_job *j)
{
    uint32_t count = random_below(3), half = j->section.old_len / 2;

    j->section.segments = count;
    for (uint32_t i = 0; i < count; i++) {
        struct ota_xref_segment *a = &j->old_segments[i];

        a->off = i * half;
        a->file_size = half;
        a->mem_size = half + random_below(100);
        a->addr = (random_below(2) ? UINT64_C(0xffff800008000000) : 0) + i * 0x2000u + random_below(5) * 16u;
        j->new_segments[i] = *a;
        j->new_segments[i].addr += random_below(64) * 4u;
    }
}

static void regions(struct ota_xref_job *j)
{
    uint32_t at = 0, size = j->section.old_len;
    uint8_t *old = old_data + j->section.old_start;

    for (uint32_t i = 0; i < REGIONS && (i == 0 || at < size); i++) {
        struct ota_xref_region *r = &j->plan.regions[i];

        r->start = at;
        r->kind = random_below(OTA_XREF_KINDS);
        r->base = r->kind == OTA_XREF_BASE32 ? random_below(size + 1) : 0;
        at += 1 + random_below(700);
        j->plan.region_count++;
        for (uint32_t k = r->start; k + 4 <= size && k < at; k += 4)
            ota_xref_word_put(old + k, random_code(r->kind));
    }
    j->section.regions = j->plan.region_count;
}

static void copies(struct ota_xref_job *j)
{
    uint32_t at = random_below(3) * random_below(20), size = j->section.old_len;
    uint8_t *new = new_data + j->new_start;

    while (j->plan.copy_count < COPIES && at < j->section.new_len) {
        struct ota_xref_span *c = &j->plan.copies[j->plan.copy_count];
        uint32_t room = j->section.new_len - at;

        c->new_pos = at;
        c->old_pos = random_below(size);
        c->len = 1 + random_below(random_below(4) ? 60 : 1500);
        if (c->len > room)
            c->len = room;
        if (c->len > size - c->old_pos)
            c->len = size - c->old_pos;
        memcpy(new + at, old_data + j->section.old_start + c->old_pos, c->len);
        if (random_below(3) == 0)
            new[at + random_below(c->len)] ^= (uint8_t)(1 + random_below(255));
        at += c->len + random_below(3) * random_below(30);
        j->plan.copy_count++;
    }
    for (uint32_t i = 0, least = random_below(100); i < j->plan.copy_count; i++)
        if (j->plan.copies[i].len >= least)
            j->plan.spans[j->plan.span_count++] = j->plan.copies[i];
    j->section.spans = j->plan.span_count;
}

/* What all have room for. */
static void note_most(struct ota_xref_section *most, const struct ota_xref_section *s)
{
    most->segments = s->segments > most->segments ? s->segments : most->segments;
    most->regions = s->regions > most->regions ? s->regions : most->regions;
    most->spans = s->spans > most->spans ? s->spans : most->spans;
}

/* One job, or several of both kinds. */
static void jobs(struct scene *s, uint32_t old_size, uint32_t new_size)
{
    uint32_t at = 0;

    s->jobs.jobs = s->job;
    s->jobs.sectioned = random_below(2) != 0;
    s->jobs.most.regions = 1;
    while (s->jobs.count < SECTIONS && (at < new_size || (at == 0 && !s->jobs.sectioned))) {
        struct ota_xref_job *j = &s->job[s->jobs.count];
        int last = !s->jobs.sectioned || s->jobs.count == SECTIONS - 1;

        j->new_start = at;
        j->section.new_len = last ? new_size - at : 1 + random_below(new_size - at);
        j->section.old_len = old_size;
        j->section.is_program = s->jobs.sectioned && random_below(3) > 0;
        if (j->section.is_program) {
            j->section.old_start = random_below(old_size);
            j->section.old_len = 1 + random_below(old_size - j->section.old_start);
        }
        j->plan.copies = s->copies[s->jobs.count];
        j->plan.spans = s->spans[s->jobs.count];
        j->plan.regions = s->regions[s->jobs.count];
        at += j->section.new_len;
        if (j->section.is_program || !s->jobs.sectioned) {
            segments(j);
            regions(j);
        }
        copies(j);
        if (s->jobs.sectioned && !j->section.is_program)
            j->plan.span_count = j->section.spans = 0;
        note_most(&s->jobs.most, &j->section);
        s->jobs.count++;
    }
}

static size_t head(uint8_t *p, const struct scene *s, unsigned log, size_t coded)
{
    size_t n = ota_varint_write(p, s->jobs.sectioned ? log | OTA_XREF_SECTIONED : log);

    n += ota_varint_write(p + n, s->jobs.most.spans);
    n += ota_varint_write(p + n, s->jobs.most.regions);
    n += ota_varint_write(p + n, s->jobs.most.segments);
    return n + ota_varint_write(p + n, coded);
}

/* Decode; the last status. made: NEW_MAX bytes. */
static int decode(const uint8_t *payload, size_t len, uint32_t old_size, uint32_t new_size, size_t memory,
                  size_t in_step, size_t out_step, uint8_t *made)
{
    struct ota_source source = {old_data, ota_xref_read_memory, old_size};
    void *workspace = malloc(memory);
    struct ota_in in = {payload, 0, 0};
    struct ota_out out = {made, 0, 0};
    int status = ota_engine_init(workspace, memory, OTA_ENGINE_XREF, 512, &source, new_size);

    while (status >= 0) {
        if (in.pos == in.size)
            in.size = len - in.size < in_step ? len : in.size + in_step;
        out.size = new_size - out.pos < out_step ? new_size : out.pos + out_step;
        status = ota_engine_step(workspace, &in, &out);
        if (status == OTA_DONE || (status == OTA_WANT_INPUT && in.size == len))
            break;
    }
    if (status < 0)
        CHECK_INT(ota_engine_step(workspace, &in, &out), status);
    free(workspace);
    return status;
}

static void any_plan(void)
{
    struct scene *s = calloc(1, sizeof *s);
    struct ota_xref_coded coded = {0};
    uint8_t *payload, *made = malloc(NEW_MAX);
    unsigned log = 12 + random_below(3);
    uint32_t old_size = 1 + random_below(OLD_MAX), new_size = random_below(NEW_MAX);
    const struct ota_xref_section *most = &s->jobs.most;
    size_t len, memory;

    for (uint32_t i = 0; i < OLD_MAX; i++)
        old_data[i] = (uint8_t)random_below(random_below(2) ? 256 : 4);
    for (uint32_t i = 0; i < NEW_MAX; i++)
        new_data[i] = (uint8_t)random_below(random_below(2) ? 256 : 4);
    jobs(s, old_size, new_size);
    check_case = "any plan";
    CHECK_INT(ota_xref_encode(&s->jobs, log, old_data, old_size, new_data, new_size, &coded), 0);
    payload = malloc(64 + coded.len);
    len = head(payload, s, log, coded.len);
    memcpy(payload + len, coded.bytes, coded.len);
    len += coded.len;
    memory = ota_xref_workspace(log, most->spans, most->regions);
    for (size_t step = 1; step < 20000; step = step * 7 + random_below(3)) {
        memset(made, 0, NEW_MAX);
        CHECK_INT(decode(payload, len, old_size, new_size, memory, step, 1 + random_below(3000), made), OTA_DONE);
        CHECK(memcmp(made, new_data, new_size) == 0);
    }
    check_case = "too little memory";
    memory = ota_engine_size(OTA_ENGINE_XREF, 512) + ota_xref_memory(log, most->spans, most->regions);
    CHECK_INT(decode(payload, len, old_size, new_size, memory, len, NEW_MAX, made), OTA_DONE);
    CHECK_INT(decode(payload, len, old_size, new_size, memory - 8, len, NEW_MAX, made), -OTA_E_RAM);
    check_case = "damage"; /* never more than an error */
    for (int i = 0; i < 10; i++) {
        size_t at = random_below((uint32_t)len);

        payload[at] ^= (uint8_t)(1u << random_below(8));
        (void)decode(payload, len, old_size, new_size, memory, len, NEW_MAX, made);
    }
    free(payload);
    free(coded.bytes);
    free(made);
    free(s);
}

/* ---- limits ---- */

static void limits(void)
{
    static uint64_t workspace[(1 << 20) / 8];
    static const struct {
        const char *head;
        int status;
    } heads[] = {
        {"\x0b\x00\x01\x00\x00", -OTA_E_DELTA},         /* a model of 2 KiB */
        {"\x17\x00\x01\x00\x00", -OTA_E_DELTA},         /* of 8 MiB */
        {"\x0c\x00\x00\x00\x00", -OTA_E_DELTA},         /* no region */
        {"\x0c\x00\x81\x20\x00\x00", -OTA_E_DELTA},     /* 4097 regions */
        {"\x0c\x81\x80\x10\x01\x00\x00", -OTA_E_DELTA}, /* 262145 spans */
        {"\x0c\x00\x01\x09\x00", -OTA_E_DELTA},         /* 9 segments */
        {"\x16\x00\x01\x00\x00", -OTA_E_RAM},           /* 4 MiB */
        {"\x0c\x80\x80\x04\x01\x00\x00", -OTA_E_RAM},   /* a map of 1 MiB */
    };
    struct ota_source source = {old_data, ota_xref_read_memory, 100};
    uint8_t out_buf[8];

    CHECK(ota_engine_size(OTA_ENGINE_XREF, OTA_WINDOW) <= OTA_XREF_FIXED);
    CHECK_INT(ota_engine_init(workspace, 1000, OTA_ENGINE_XREF, 4096, &source, 5), -OTA_E_RAM);
    CHECK_INT(ota_engine_init(workspace, sizeof workspace, OTA_ENGINE_XREF, 4096, &source, UINT64_C(1) << 32),
              -OTA_E_LIMIT);
    CHECK_INT(ota_engine_init(workspace, sizeof workspace, OTA_ENGINE_XREF, 4096, NULL, 5), -OTA_E_USAGE);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct ota_in in = {(const uint8_t *)heads[i].head, 7, 0};
        struct ota_out out = {out_buf, sizeof out_buf, 0};

        check_case = "a head";
        CHECK_INT(ota_engine_init(workspace, sizeof workspace, OTA_ENGINE_XREF, 4096, &source, 5), 0);
        CHECK_INT(ota_engine_step(workspace, &in, &out), heads[i].status);
    }
}

int main(void)
{
    references();
    out_of_reach();
    any_word();
    map();
    limits();
    for (uint32_t i = 0; i < 250; i++) {
        seed = i;
        any_plan();
    }
    return check_done();
}
