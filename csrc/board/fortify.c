/* fortify.c - what Debian's static libraries, compiled against glibc's fortified headers, ask of a link against musl.
 * Only part of a musl build. The libraries are used for pure computation, so nothing else of glibc's ABI is touched.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__memcpy_chk(void *dst, const void *src, size_t n, size_t room);
void *__memmove_chk(void *dst, const void *src, size_t n, size_t room);
void *__memset_chk(void *dst, int c, size_t n, size_t room);
void __explicit_bzero_chk(void *dst, size_t n, size_t room);
int __snprintf_chk(char *buf, size_t n, int flag, size_t room, const char *format, ...);
int __vsnprintf_chk(char *buf, size_t n, int flag, size_t room, const char *format, va_list args);
int __fprintf_chk(FILE *f, int flag, const char *format, ...);

static void fits(size_t n, size_t room)
{
    if (n > room) {
        abort();
    }
}

void *__memcpy_chk(void *dst, const void *src, size_t n, size_t room)
{
    fits(n, room);
    return memcpy(dst, src, n);
}

void *__memmove_chk(void *dst, const void *src, size_t n, size_t room)
{
    fits(n, room);
    return memmove(dst, src, n);
}

void *__memset_chk(void *dst, int c, size_t n, size_t room)
{
    fits(n, room);
    return memset(dst, c, n);
}

void __explicit_bzero_chk(void *dst, size_t n, size_t room)
{
    fits(n, room);
    explicit_bzero(dst, n);
}

int __vsnprintf_chk(char *buf, size_t n, int flag, size_t room, const char *format, va_list args)
{
    (void)flag;
    fits(n, room);
    return vsnprintf(buf, n, format, args);
}

int __snprintf_chk(char *buf, size_t n, int flag, size_t room, const char *format, ...)
{
    va_list args;
    int r;
    va_start(args, format);
    r = __vsnprintf_chk(buf, n, flag, room, format, args);
    va_end(args);
    return r;
}

int __fprintf_chk(FILE *f, int flag, const char *format, ...)
{
    va_list args;
    int r;
    (void)flag;
    va_start(args, format);
    r = vfprintf(f, format, args);
    va_end(args);
    return r;
}
