/* heap.c - there is no heap. The libraries that are linked in name malloc in paths that the program never takes; if one
 * is taken after all, it fails here in every test instead of eating memory on some board. Only part of the static
 * program: a sanitizer build needs a heap of its own.
 */
#include <errno.h>
#include <stdlib.h>

void *malloc(size_t size)
{
    (void)size;
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t count, size_t size)
{
    (void)count;
    return malloc(size);
}

void *realloc(void *old, size_t size)
{
    (void)old;
    return malloc(size);
}

void free(void *old)
{
    (void)old;
}
