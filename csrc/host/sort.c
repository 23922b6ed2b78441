/* sort.c - the suffix array of a short text, by induced sorting.
 *
 * libdivsufsort has a fixed cost of about two million instructions, for its tables of pairs of bytes; half of the
 * modules of a kernel have less than 4 KiB to sort, which takes a fraction of that. This is the algorithm SA-IS (Nong,
 * Zhang and Chan, "Linear suffix array construction by almost pure induced-sorting", 2009): linear whatever the text
 * holds.
 *
 * Words of the paper: a suffix is S when it is smaller than the one that follows it, else L; LMS is an S suffix behind
 * an L one. The order of the LMS suffixes gives that of all others in two passes. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define EMPTY (-1)

enum { LARGER, SMALLER, LEFTMOST }; /* what a suffix is: L, S, or the S that is LMS */

/* A string of numbers below `letters`; the last one is 0 and the only 0. */
struct level {
    const int32_t *s;
    int32_t n;
    int32_t letters;
    uint8_t *type; /* [n] */
    int32_t *lms;  /* [n / 2] LMS positions, the last one first */
    int32_t lms_count;
    int32_t *count; /* [letters] how often a letter occurs */
    int32_t *at;    /* [letters] where the next suffix goes in the bucket of a letter */
};

static void classify(struct level *v)
{
    v->lms_count = 0;
    v->type[v->n - 1] = SMALLER;
    v->count[v->s[v->n - 1]]++;
    for (int32_t i = v->n - 1; i-- > 0;) {
        int smaller = v->s[i] < v->s[i + 1] || (v->s[i] == v->s[i + 1] && v->type[i + 1] != LARGER);

        v->type[i] = smaller ? SMALLER : LARGER;
        v->count[v->s[i]]++;
        if (!smaller && v->type[i + 1] == SMALLER) {
            v->type[i + 1] = LEFTMOST;
            v->lms[v->lms_count++] = i + 1;
        }
    }
}

static void to_starts(const struct level *v)
{
    int32_t sum = 0;

    for (int32_t k = 0; k < v->letters; k++) {
        v->at[k] = sum;
        sum += v->count[k];
    }
}

static void to_ends(const struct level *v)
{
    int32_t sum = 0;

    for (int32_t k = 0; k < v->letters; k++) {
        sum += v->count[k];
        v->at[k] = sum;
    }
}

/* From LMS suffixes at the ends of their buckets: all L suffixes from the left, then all S suffixes from the right. */
static void induce(const struct level *v, int32_t *sa)
{
    to_starts(v);
    for (int32_t i = 0; i < v->n; i++) {
        int32_t j = sa[i] - 1;

        if (j >= 0 && v->type[j] == LARGER)
            sa[v->at[v->s[j]]++] = j;
    }
    to_ends(v);
    for (int32_t i = v->n; i-- > 0;) {
        int32_t j = sa[i] - 1;

        if (j >= 0 && v->type[j] != LARGER)
            sa[--v->at[v->s[j]]] = j;
    }
}

static void clear(int32_t *sa, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++)
        sa[i] = EMPTY;
}

/* Whether the strings from one LMS position to the next are equal. */
static int same_lms(const struct level *v, int32_t a, int32_t b)
{
    for (int32_t d = 0;; d++) {
        if (v->s[a + d] != v->s[b + d] || v->type[a + d] != v->type[b + d])
            return 0;
        if (d > 0 && v->type[a + d] == LEFTMOST)
            return 1;
    }
}

/* Sort the LMS strings and number them. Afterwards sa[n - lms_count .. n) holds their numbers in the order of the text.
 * Returns how many numbers there are. */
static int32_t name_lms(const struct level *v, int32_t *sa)
{
    int32_t count = 0, names = 0, last = EMPTY, to = v->n;

    clear(sa, 0, v->n);
    to_ends(v);
    for (int32_t i = 0; i < v->lms_count; i++)
        sa[--v->at[v->s[v->lms[i]]]] = v->lms[i];
    induce(v, sa);
    for (int32_t i = 0; i < v->n; i++)
        if (v->type[sa[i]] == LEFTMOST)
            sa[count++] = sa[i];
    clear(sa, count, v->n);
    for (int32_t i = 0; i < count; i++) { /* two LMS positions are at least 2 apart: half of them has room */
        if (last == EMPTY || !same_lms(v, sa[i], last))
            names++;
        last = sa[i];
        sa[count + last / 2] = names - 1;
    }
    for (int32_t i = v->n; i-- > count;)
        if (sa[i] != EMPTY)
            sa[--to] = sa[i];
    return names;
}

/* sa[0 .. lms_count) is the order of the LMS suffixes by number: make it the order of all suffixes. */
static void place_all(const struct level *v, int32_t *sa)
{
    for (int32_t i = 0; i < v->lms_count; i++)
        sa[i] = v->lms[v->lms_count - 1 - sa[i]];
    clear(sa, v->lms_count, v->n);
    to_ends(v);
    for (int32_t i = v->lms_count; i-- > 0;) {
        int32_t j = sa[i];

        sa[i] = EMPTY;
        sa[--v->at[v->s[j]]] = j;
    }
    induce(v, sa);
}

/* One level; the string of LMS numbers is at most half as long, so this goes log2(n) deep. 0 or -OTA_E_RAM. */
static int sort_level(const int32_t *s, int32_t *sa, int32_t n, int32_t letters)
{
    size_t buckets = (size_t)letters * sizeof(int32_t);
    struct level v = {s,
                      n,
                      letters,
                      malloc((size_t)n),
                      malloc(((size_t)n / 2 + 1) * sizeof(int32_t)),
                      0,
                      calloc(1, buckets),
                      malloc(buckets)};
    int status = 0;

    if (v.type == NULL || v.lms == NULL || v.count == NULL || v.at == NULL) {
        status = -OTA_E_RAM;
    } else {
        int32_t names, *numbers;

        classify(&v);
        names = name_lms(&v, sa);
        numbers = sa + n - v.lms_count;
        if (names < v.lms_count)
            status = sort_level(numbers, sa, v.lms_count, names);
        else
            for (int32_t i = 0; i < v.lms_count; i++)
                sa[numbers[i]] = i;
        if (status == 0)
            place_all(&v, sa);
    }
    free(v.type);
    free(v.lms);
    free(v.count);
    free(v.at);
    return status;
}

int ota_sort_small(const uint8_t *text, uint32_t size, int32_t *sa)
{
    int32_t n = (int32_t)size + 1;
    int32_t *work; /* the text as numbers, its end as 0; its suffix array */
    int status;

    if (size == 0)
        return 0;
    work = malloc(2 * (size_t)n * sizeof *work);
    if (work == NULL)
        return -OTA_E_RAM;
    for (uint32_t i = 0; i < size; i++)
        work[i] = text[i] + 1;
    work[size] = 0;
    status = sort_level(work, work + n, n, 257);
    if (status == 0)
        memcpy(sa, work + n + 1, (size_t)size * sizeof *sa); /* the empty suffix comes first */
    free(work);
    return status;
}
