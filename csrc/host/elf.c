/* elf.c - what kind of image old and new are: segments and stretches of instructions. */
#include <string.h>

#include "xref_form.h"
#include "xref_host.h"

#define PT_LOAD 1u
#define SHF_WRITE 1u
#define SHF_EXECINSTR 4u
#define SHT_SYMTAB 2u
#define SHT_RELA 4u
#define SHT_REL 9u
#define SHT_DYNSYM 11u
#define SHT_NOBITS 8u

struct elf {
    const uint8_t *p;
    uint64_t size;
    int wide;
};

static uint64_t field(const struct elf *e, uint64_t off, unsigned len)
{
    uint64_t v = 0;

    if (off > e->size || len > e->size - off)
        return 0;
    for (unsigned i = len; i-- > 0;)
        v = v << 8 | e->p[off + i];
    return v;
}

/* A field whose place and length differ between the two classes. */
static uint64_t either(const struct elf *e, uint64_t base, unsigned narrow, unsigned wide)
{
    return e->wide ? field(e, base + wide, 8) : field(e, base + narrow, 4);
}

static uint32_t code_kind(uint64_t machine)
{
    switch (machine) {
    case 3:
    case 62:
        return OTA_XREF_X86;
    case 8:
        return OTA_XREF_MIPS;
    case 40:
        return OTA_XREF_THUMB;
    case 183:
        return OTA_XREF_A64;
    case 243:
        return OTA_XREF_RISCV;
    default:
        return OTA_XREF_RAW;
    }
}

static void read_segments(struct ota_image *image, const struct elf *e)
{
    uint64_t table = either(e, 0, 28, 32), step = field(e, e->wide ? 54 : 42, 2),
             count = field(e, e->wide ? 56 : 44, 2);

    for (uint64_t i = 0; i < count && image->segment_count < OTA_XREF_SEGMENTS_MAX; i++) {
        uint64_t at = table + i * step, off, file_size, mem_size;
        struct ota_xref_segment *s = &image->segments[image->segment_count];

        if (at > e->size || field(e, at, 4) != PT_LOAD)
            continue;
        off = either(e, at, 4, 8);
        file_size = either(e, at, 16, 32);
        mem_size = either(e, at, 20, 40);
        if (file_size == 0 || off > e->size || file_size > e->size - off || mem_size < file_size ||
            mem_size > INT32_MAX)
            continue;
        s->addr = either(e, at, 8, 16);
        s->off = (uint32_t)off;
        s->file_size = (uint32_t)file_size;
        s->mem_size = (uint32_t)mem_size;
        image->segment_count++;
    }
}

static void add_stretch(struct ota_stretch *list, uint32_t *count, uint64_t start, uint64_t end)
{
    uint32_t i = *count;

    if (i == OTA_STRETCHES_MAX || start >= end)
        return;
    for (; i > 0 && list[i - 1].start > start; i--)
        list[i] = list[i - 1];
    list[i].start = (uint32_t)start;
    list[i].end = (uint32_t)end;
    *count += 1;
}

static int has_addresses(uint64_t type)
{
    return type == SHT_SYMTAB || type == SHT_RELA || type == SHT_REL || type == SHT_DYNSYM;
}

static void read_sections(struct ota_image *image, const struct elf *e)
{
    uint64_t table = either(e, 0, 32, 40), step = field(e, e->wide ? 58 : 46, 2),
             count = field(e, e->wide ? 60 : 48, 2);
    uint64_t names = field(e, e->wide ? 62 : 50, 2), strings;

    if (table == 0 || table > e->size)
        return;
    strings = either(e, table + names * step, 16, 24);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = table + i * step, flags, off, len, name;

        if (at > e->size || field(e, at + 4, 4) == SHT_NOBITS)
            continue;
        flags = either(e, at, 8, 8);
        off = either(e, at, 16, 24);
        len = either(e, at, 20, 32);
        if (off > e->size || len > e->size - off)
            continue;
        if ((flags & SHF_EXECINSTR) != 0)
            add_stretch(image->code, &image->code_count, off, off + len);
        else if ((flags & SHF_WRITE) != 0 || has_addresses(field(e, at + 4, 4)))
            add_stretch(image->pointers, &image->pointer_count, off, off + len);
        name = strings + field(e, at, 4);
        if (name <= e->size && e->size - name >= 14 && memcmp(e->p + name, ".eh_frame_hdr", 14) == 0)
            image->table_base = (uint32_t)off;
    }
}

static int is_elf(const uint8_t *data, uint64_t size)
{
    return size >= 64 && memcmp(data, "\177ELF", 4) == 0 && (data[4] == 1 || data[4] == 2) && data[5] == 1;
}

/* The end of a table, or of what it says that the file has; all ones when there is none. */
static uint64_t reach(const struct elf *e, uint64_t start, uint64_t len)
{
    return start > e->size || len > e->size - start ? UINT64_MAX : start + len;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint32_t ota_elf_size(const uint8_t *data, uint32_t left)
{
    struct elf e = {data, left, 0};
    uint64_t end, table, step, count;

    if (!is_elf(data, left))
        return 0;
    e.wide = data[4] == 2;
    end = e.wide ? 64 : 52;
    if (field(&e, 20, 4) != 1 || field(&e, e.wide ? 52 : 40, 2) != end)
        return 0;
    table = either(&e, 0, 28, 32);
    step = field(&e, e.wide ? 54 : 42, 2);
    count = field(&e, e.wide ? 56 : 44, 2);
    if (count > 0)
        end = later(end, reach(&e, table, step * count));
    for (uint64_t i = 0; i < count && end <= left; i++) {
        uint64_t at = table + i * step;

        if (field(&e, at, 4) == PT_LOAD)
            end = later(end, reach(&e, either(&e, at, 4, 8), either(&e, at, 16, 32)));
    }
    table = either(&e, 0, 32, 40);
    if (table != 0)
        end = later(end, reach(&e, table, field(&e, e.wide ? 58 : 46, 2) * field(&e, e.wide ? 60 : 48, 2)));
    return end <= left ? (uint32_t)end : 0;
}

void ota_image_read(struct ota_image *image, const uint8_t *data, uint32_t size)
{
    struct elf e = {data, size, 0};

    memset(image, 0, sizeof *image);
    image->data = data;
    image->size = size;
    if (is_elf(data, size)) {
        e.wide = image->wide = data[4] == 2;
        image->code_kind = code_kind(field(&e, 18, 2));
        read_segments(image, &e);
        read_sections(image, &e);
        image->is_elf = image->segment_count > 0;
    }
    if (!image->is_elf) {
        memset(image, 0, sizeof *image);
        image->data = data;
        image->size = size;
        image->segment_count = 1;
        image->segments[0].file_size = size;
        image->segments[0].mem_size = size;
        ota_image_find_code(image);
    }
}
