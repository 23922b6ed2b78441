/* suffix.c - the longest match of a piece of new in old, by binary search in a suffix array. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define PAIRS 65536u

/* Longest piece of new that is compared at once: bounds the time on long repeats. */
#define KEY_MAX 16384u

/* Neighbours in the array that are tried for a match as long as the best but nearer. */
#define NEIGHBOURS 8u

uint64_t ota_common_prefix(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t i = 0;

    for (; len - i >= 8; i += 8)
        if (memcmp(a + i, b + i, 8) != 0)
            break;
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

uint64_t ota_common_suffix(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t i = 0;

    for (; len - i >= 8; i += 8)
        if (memcmp(a - i - 8, b - i - 8, 8) != 0)
            break;
    while (i < len && a[-1 - (int64_t)i] == b[-1 - (int64_t)i])
        i++;
    return i;
}

static uint64_t entry(const struct ota_suffix *s, uint64_t index)
{
    return s->sa32 != NULL ? (uint64_t)s->sa32[index] : (uint64_t)s->sa64[index];
}

static unsigned pair(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* bucket[xy] = number of suffixes that sort before all those which begin with the bytes x y. */
static int fill_buckets(struct ota_suffix *s)
{
    uint32_t sum = 0;

    s->bucket = calloc(PAIRS, sizeof *s->bucket);
    if (s->bucket == NULL)
        return -OTA_E_RAM;
    for (uint64_t i = 0; i + 1 < s->size; i++)
        s->bucket[pair(s->text + i)]++;
    for (unsigned k = 0; k < PAIRS; k++) {
        uint32_t count = s->bucket[k];

        /* the suffix of one byte is in no pair; it sorts before all pairs that begin with it */
        if (k == (unsigned)s->text[s->size - 1] << 8)
            sum++;
        s->bucket[k] = sum;
        sum += count;
    }
    return 0;
}

int ota_suffix_init(struct ota_suffix *s, const struct ota_sorter *sorter, const uint8_t *text, uint64_t size)
{
    int failed;

    memset(s, 0, sizeof *s);
    s->text = text;
    s->size = size;
    if (size == 0)
        return 0;
    if (size < INT32_MAX && sorter->sort32 != NULL) {
        s->sa32 = malloc((size_t)size * sizeof *s->sa32);
        if (s->sa32 == NULL)
            return -OTA_E_RAM;
        failed = sorter->sort32(text, s->sa32, (int32_t)size);
        if (failed == 0)
            return fill_buckets(s);
    } else {
        if (sorter->sort64 == NULL)
            return -OTA_E_USAGE;
        if (size > SIZE_MAX / sizeof *s->sa64)
            return -OTA_E_RAM;
        s->sa64 = malloc((size_t)size * sizeof *s->sa64);
        if (s->sa64 == NULL)
            return -OTA_E_RAM;
        failed = sorter->sort64(text, s->sa64, (int64_t)size);
        if (failed == 0)
            return 0;
    }
    return failed == -2 ? -OTA_E_RAM : -OTA_E_INTERNAL; /* libdivsufsort: -1 wrong arguments, -2 no memory */
}

/* Copy what is not settled into s->packed. *size: how much that is. */
static int pack_text(struct ota_suffix *s, const uint8_t *old_data, uint64_t old_size, const uint8_t *settled,
                     uint64_t *size)
{
    uint64_t blocks = old_size / OTA_SETTLED_BLOCK, kept = old_size % OTA_SETTLED_BLOCK, from = 0;
    size_t count = 1;

    for (uint64_t b = 0; b < blocks; b++) {
        kept += settled[b] ? 0 : OTA_SETTLED_BLOCK;
        count += b > 0 && settled[b - 1] && !settled[b];
    }
    s->packed = malloc((size_t)kept + 1);
    s->stretches = malloc((count + 1) * sizeof *s->stretches);
    if (s->packed == NULL || s->stretches == NULL)
        return -OTA_E_RAM;
    *size = 0;
    while (from < old_size) {
        uint64_t first = from / OTA_SETTLED_BLOCK, last;

        while (first < blocks && settled[first])
            first++;
        for (last = first; last < blocks && !settled[last];)
            last++;
        from = first * OTA_SETTLED_BLOCK;

        uint64_t end = last == blocks ? old_size : last * OTA_SETTLED_BLOCK;

        if (end > from) {
            struct ota_stretch stretch = {*size, from};

            s->stretches[s->stretch_count++] = stretch;
            memcpy(s->packed + *size, old_data + from, (size_t)(end - from));
            *size += end - from;
        }
        from = end;
    }
    return 0;
}

int ota_suffix_init_for(struct ota_suffix *s, const struct ota_sorter *sorter, const uint8_t *old_data,
                        uint64_t old_size, const uint8_t *new_data, uint64_t new_size)
{
    struct ota_suffix part;
    uint64_t size = 0;
    uint8_t *settled;
    int status;

    if (old_size >= INT32_MAX)
        return ota_suffix_init(s, sorter, old_data, old_size);
    memset(&part, 0, sizeof part);
    memset(s, 0, sizeof *s);
    settled = calloc(1, (size_t)(old_size / OTA_SETTLED_BLOCK) + 1);
    if (settled == NULL)
        return -OTA_E_RAM;
    status = ota_find_settled(old_data, old_size, new_data, new_size, settled, &part.known);
    if (status == 0)
        status = pack_text(&part, old_data, old_size, settled, &size);
    free(settled);
    if (status == 0)
        status = ota_suffix_init(s, sorter, part.packed, size);
    s->packed = part.packed;
    s->stretches = part.stretches;
    s->stretch_count = part.stretch_count;
    s->known = part.known;
    return status;
}

/* Where in old a position of text is. */
static uint64_t to_old(const struct ota_suffix *s, uint64_t pos)
{
    size_t lo = 0, hi = s->stretch_count;

    if (s->packed == NULL)
        return pos;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->stretches[mid].text_pos <= pos)
            lo = mid;
        else
            hi = mid;
    }
    return s->stretches[lo].old_pos + (pos - s->stretches[lo].text_pos);
}

void ota_suffix_free(struct ota_suffix *s)
{
    free(s->packed);
    free(s->stretches);
    free(s->known.pieces);
    free(s->sa32);
    free(s->sa64);
    free(s->bucket);
    memset(s, 0, sizeof *s);
}

/* The entries that begin with the first two bytes of key: [*lo, *hi). Returns how many bytes all of them share with
 * key. */
static uint64_t narrow(const struct ota_suffix *s, const uint8_t *key, uint64_t *lo, uint64_t *hi)
{
    unsigned k = pair(key);

    *lo = 0;
    *hi = s->size;
    if (s->bucket == NULL)
        return 0;
    *lo = s->bucket[k];
    if (k + 1 < PAIRS) {
        *hi = s->bucket[k + 1];
        /* the suffix of one byte stands between two pairs */
        if ((k & 0xffu) == 0xffu && s->text[s->size - 1] == key[0] + 1)
            *hi -= 1;
    }
    return 2;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* Equally long matches lie together: look left and right of index for one that is nearer. */
static uint64_t nearest(const struct ota_suffix *s, const uint8_t *key, uint64_t len, uint64_t index, uint64_t near)
{
    uint64_t best = to_old(s, entry(s, index));

    for (int up = 0; up < 2; up++) {
        uint64_t i = index;

        for (unsigned n = 0; n < NEIGHBOURS; n++) {
            uint64_t at;

            if (up ? i + 1 >= s->size : i == 0)
                break;
            i = up ? i + 1 : i - 1;
            at = entry(s, i);
            if (s->size - at < len || memcmp(s->text + at, key, (size_t)len) != 0)
                break;
            at = to_old(s, at);
            if (distance(at, near) < distance(best, near))
                best = at;
        }
    }
    return best;
}

uint64_t ota_suffix_longest(const struct ota_suffix *s, const uint8_t *key, uint64_t len, uint64_t near, uint64_t *pos)
{
    uint64_t lo, hi, left, right, best = 0, index = 0;

    if (s->size < 2 || len < 2)
        return 0;
    if (len > KEY_MAX)
        len = KEY_MAX;
    left = right = narrow(s, key, &lo, &hi);
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        uint64_t at = entry(s, mid);
        uint64_t room = s->size - at < len ? s->size - at : len;
        uint64_t n = left < right ? left : right; /* all entries between lo and hi share at least this with key */

        n += ota_common_prefix(s->text + at + n, key + n, room - n);
        if (n > best) {
            best = n;
            index = mid;
        }
        if (n == len)
            break;
        if (at + n == s->size || s->text[at + n] < key[n]) {
            lo = mid + 1;
            left = n;
        } else {
            hi = mid;
            right = n;
        }
    }
    if (best < 2)
        return 0;
    *pos = nearest(s, key, best, index, near);
    return best;
}
