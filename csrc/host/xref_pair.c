/* xref_pair.c - engine xref: copies, regions and spans for one old and one new image. */
#include <stdlib.h>

#include "xref_host.h"

/* Images at lower addresses hold too many numbers that could be addresses. */
#define POINTER_BASE_MIN 0x10000u

int ota_xref_take_piece(void *ctx, const struct ota_piece *piece)
{
    struct ota_xref_plan *p = ctx;
    struct ota_xref_span *last = p->copy_count > 0 ? &p->copies[p->copy_count - 1] : NULL;

    if (last != NULL && last->new_pos + last->len == piece->new_pos && last->old_pos + last->len == piece->old_pos) {
        last->len += (uint32_t)piece->len;
        return 0;
    }
    if (p->copy_count == p->copy_room) {
        uint32_t room = p->copy_room * 2 + 1024;
        struct ota_xref_span *copies = realloc(p->copies, room * sizeof *copies);

        if (copies == NULL)
            return -OTA_E_RAM;
        p->copies = copies;
        p->copy_room = room;
    }
    last = &p->copies[p->copy_count++];
    last->new_pos = (uint32_t)piece->new_pos;
    last->old_pos = (uint32_t)piece->old_pos;
    last->len = (uint32_t)piece->len;
    return 0;
}

static int match(const struct ota_sorter *sorter, struct ota_xref_plan *plan, const struct ota_image *old_image,
                 const struct ota_image *new_image)
{
    struct ota_sink sink = {ota_xref_take_piece, plan};
    uint8_t *old_copy = malloc((size_t)old_image->size + 1), *new_copy = malloc((size_t)new_image->size + 1);
    int status = old_copy != NULL && new_copy != NULL ? 0 : -OTA_E_RAM;

    plan->copy_count = 0;
    if (status == 0)
        status = ota_image_mask(old_image, old_copy);
    if (status == 0)
        status = ota_image_mask(new_image, new_copy);
    if (status == 0)
        status = ota_match(sorter, old_copy, old_image->size, new_copy, new_image->size, &sink);
    free(old_copy);
    free(new_copy);
    return status;
}

/* The address of an image without headers is guessed from a first match; with it, pointers can be masked as well. */
static int match_again(const struct ota_sorter *sorter, struct ota_xref_plan *plan, struct ota_image *old_image,
                       struct ota_image *new_image)
{
    int status = ota_image_guess_base(old_image, new_image, plan->copies, plan->copy_count);

    if (status == 0 && old_image->segments[0].addr >= POINTER_BASE_MIN) {
        ota_image_find_data(old_image);
        ota_image_find_data(new_image);
        status = match(sorter, plan, old_image, new_image);
    }
    return status;
}

int ota_xref_find_copies(const struct ota_sorter *sorter, struct ota_xref_plan *plan, struct ota_image images[2])
{
    int status = 0;

    for (unsigned i = 0; i < 2 && status == 0 && !images[i].is_elf; i++)
        status = ota_image_find_tables(&images[i]);
    if (status == 0)
        status = match(sorter, plan, &images[0], &images[1]);
    if (status == 0 && !images[0].is_elf)
        status = match_again(sorter, plan, &images[0], &images[1]);
    return status;
}

int ota_xref_keep_near(struct ota_xref_plan *plan, const struct ota_long_parts *parts, uint32_t old_start, uint32_t at)
{
    struct ota_near *near;
    uint32_t count = plan->copy_count;
    int status = 0;

    if (parts == NULL)
        return 0;
    near = calloc(1, sizeof *near);
    if (near == NULL)
        return -OTA_E_RAM;
    near->sink = (struct ota_sink){ota_xref_take_piece, plan};
    near->slow = parts->old_parts;
    near->slow_count = parts->old_count;
    near->base = old_start;
    near->at = at;
    plan->copy_count = 0; /* those that stay are written over those that were read already */
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct ota_piece piece = {plan->copies[i].new_pos, plan->copies[i].old_pos, plan->copies[i].len};

        status = ota_near_piece(near, &piece);
    }
    free(near);
    return status;
}

int ota_xref_plan_pair(const struct ota_sorter *sorter, const struct ota_xref_options *options,
                       const struct ota_long_parts *parts, uint32_t old_start, struct ota_xref_plan *plan,
                       struct ota_image images[2])
{
    int status = ota_xref_find_copies(sorter, plan, images);

    if (status == 0)
        status = ota_xref_keep_near(plan, parts, old_start, old_start);
    if (status == 0)
        status = ota_xref_find_regions(plan, &images[0], &images[1]);
    if (status == 0)
        status = ota_xref_choose_spans(plan, images, 0, options->spans_max);
    return status;
}
