/* suffix.c - the longest match of a piece of new in old, by binary search in a suffix array. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define PAIRS 65536u

/* Bits of the table of what occurs: 3 to 6 for each byte of text, 4 MiB at most. Four times as many save no time. */
#define GRAM_LOG_MIN 10u
#define GRAM_LOG_MAX 25u
#define GRAM_FACTOR 0x9E3779B97F4A7C15u

/* Longest piece of new that is compared at once: bounds the time on long repeats. */
#define KEY_MAX 16384u

/* Neighbours in the array that are tried for a match as long as the best but nearer. */
#define NEIGHBOURS 8u

static uint64_t entry(const struct ota_suffix *s, uint64_t index)
{
    return s->sa32 != NULL ? (uint64_t)s->sa32[index] : (uint64_t)s->sa64[index];
}

/* ---- what occurs at all ----------------------------------------------------------------------------------------- */

static uint32_t gram_bit(const uint8_t *p, unsigned gram_log)
{
    uint32_t front; /* the order of bytes in memory changes the hash only */
    uint64_t gram;

    /* not one memcpy of 5 bytes: a number that is read back from two writes stalls the processor each time */
    memcpy(&front, p, sizeof front);
    gram = front | (uint64_t)p[sizeof front] << 32;
    return (uint32_t)((gram * GRAM_FACTOR) >> (64 - gram_log));
}

static void set_grams(uint8_t *restrict grams, unsigned gram_log, const uint8_t *restrict text, uint64_t size)
{
    for (uint64_t i = 0; i + OTA_MATCH_MIN <= size; i++) {
        uint32_t bit = gram_bit(text + i, gram_log);

        grams[bit >> 3] |= (uint8_t)(1u << (bit & 7u));
    }
}

/* One bit for each hash of OTA_MATCH_MIN bytes of text: most of what does not occur is known without a search. */
static int fill_grams(struct ota_suffix *s)
{
    s->gram_log = GRAM_LOG_MIN;
    while (s->gram_log < GRAM_LOG_MAX && 3 * s->size >> s->gram_log != 0)
        s->gram_log++;
    s->grams = calloc((size_t)1 << (s->gram_log - 3), 1);
    if (s->grams == NULL)
        return -OTA_E_RAM;
    set_grams(s->grams, s->gram_log, s->text, s->size);
    return 0;
}

static int may_occur(const struct ota_suffix *s, const uint8_t *key)
{
    uint32_t bit = gram_bit(key, s->gram_log);

    return s->grams[bit >> 3] >> (bit & 7u) & 1;
}

/* ---- sorting ---------------------------------------------------------------------------------------------------- */

/* The bucket of a suffix: of its first two bytes (a last single byte counts as followed by 0) the first bits. */
static unsigned bucket_of(const struct ota_suffix *s, const uint8_t *p, uint64_t len)
{
    return ((unsigned)p[0] << 8 | (len > 1 ? p[1] : 0u)) >> s->bucket_shift;
}

/* bucket[k] = number of suffixes in the buckets before k. As many buckets as suffixes at most, or filling costs more
 * than it saves. */
static int fill_buckets(struct ota_suffix *s)
{
    uint32_t sum = 0;
    unsigned count;

    while (s->bucket_shift < 8 && PAIRS >> s->bucket_shift > s->size)
        s->bucket_shift++;
    count = PAIRS >> s->bucket_shift;
    s->bucket = calloc((size_t)count + 1, sizeof *s->bucket);
    if (s->bucket == NULL)
        return -OTA_E_RAM;
    for (uint64_t i = 0; i < s->size; i++)
        s->bucket[bucket_of(s, s->text + i, s->size - i)]++;
    for (unsigned k = 0; k <= count; k++) {
        uint32_t here = s->bucket[k];

        s->bucket[k] = sum;
        sum += here;
    }
    return 0;
}

/* Sort when the first search comes: often there is none. */
static int sort(struct ota_suffix *s)
{
    int failed;

    if (s->size < INT32_MAX && s->sorter->sort32 != NULL) {
        s->sa32 = malloc((size_t)s->size * sizeof *s->sa32);
        if (s->sa32 == NULL)
            return -OTA_E_RAM;
        if (s->size <= OTA_SORT_SMALL)
            failed = ota_sort_small(s->text, (uint32_t)s->size, s->sa32) == 0 ? 0 : -2;
        else
            failed = s->sorter->sort32(s->text, s->sa32, (int32_t)s->size);
        if (failed == 0)
            return fill_buckets(s);
    } else {
        if (s->sorter->sort64 == NULL)
            return -OTA_E_USAGE;
        if (s->size > SIZE_MAX / sizeof *s->sa64)
            return -OTA_E_RAM;
        s->sa64 = malloc((size_t)s->size * sizeof *s->sa64);
        if (s->sa64 == NULL)
            return -OTA_E_RAM;
        failed = s->sorter->sort64(s->text, s->sa64, (int64_t)s->size);
        if (failed == 0)
            return 0;
    }
    return failed == -2 ? -OTA_E_RAM : -OTA_E_INTERNAL; /* libdivsufsort: -1 wrong arguments, -2 no memory */
}

int ota_suffix_init(struct ota_suffix *s, const struct ota_sorter *sorter, const uint8_t *text, uint64_t size)
{
    memset(s, 0, sizeof *s);
    s->sorter = sorter;
    s->text = text;
    s->size = size;
    return fill_grams(s);
}

/* Copy what is not settled into s->packed, and note where each block of it comes from. *size: how much that is. */
static int pack_text(struct ota_suffix *s, const uint8_t *old_data, uint64_t old_size, const uint8_t *settled,
                     uint64_t *size)
{
    uint64_t blocks = old_size / OTA_SETTLED_BLOCK, kept = 1; /* the last one, which is shorter */

    for (uint64_t b = 0; b < blocks; b++)
        kept += !settled[b];
    s->packed = malloc((size_t)kept * OTA_SETTLED_BLOCK);
    s->origin = malloc((size_t)kept * sizeof *s->origin);
    if (s->packed == NULL || s->origin == NULL)
        return -OTA_E_RAM;
    *size = 0;
    for (uint64_t b = 0; b <= blocks; b++) {
        uint64_t pos = b * OTA_SETTLED_BLOCK;
        uint64_t len = b < blocks ? OTA_SETTLED_BLOCK : old_size - pos;

        if (b < blocks && settled[b])
            continue;
        s->origin[*size / OTA_SETTLED_BLOCK] = (uint32_t)b;
        memcpy(s->packed + *size, old_data + pos, (size_t)len);
        *size += len;
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
    s->origin = part.origin;
    s->known = part.known;
    return status;
}

/* Where in old a position of text is. */
static uint64_t to_old(const struct ota_suffix *s, uint64_t pos)
{
    if (s->origin == NULL)
        return pos;
    return (uint64_t)s->origin[pos / OTA_SETTLED_BLOCK] * OTA_SETTLED_BLOCK + pos % OTA_SETTLED_BLOCK;
}

void ota_suffix_free(struct ota_suffix *s)
{
    free(s->packed);
    free(s->origin);
    free(s->known.pieces);
    free(s->grams);
    free(s->sa32);
    free(s->sa64);
    free(s->bucket);
    memset(s, 0, sizeof *s);
}

/* ---- searching -------------------------------------------------------------------------------------------------- */

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

uint64_t ota_suffix_longest(struct ota_suffix *s, const uint8_t *key, uint64_t len, uint64_t near, uint64_t *pos)
{
    uint64_t lo = 0, hi, left = 0, right = 0, best = 0, index = 0;

    if (s->status != 0 || s->size < OTA_MATCH_MIN || len < OTA_MATCH_MIN || !may_occur(s, key))
        return 0;
    if (s->sa32 == NULL && s->sa64 == NULL)
        s->status = sort(s);
    if (s->status != 0)
        return 0;
    if (len > KEY_MAX)
        len = KEY_MAX;
    hi = s->size;
    if (s->bucket != NULL) {
        lo = s->bucket[bucket_of(s, key, len)];
        hi = s->bucket[bucket_of(s, key, len) + 1];
    }
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
    if (best < OTA_MATCH_MIN)
        return 0;
    *pos = nearest(s, key, best, index, near);
    return best;
}
