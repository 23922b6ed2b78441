/* musl.c - what Debian's libjpeg and libpng, compiled against glibc, ask of a link against musl beyond
 * csrc/board/fortify.c. Only part of a musl build.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void __longjmp_chk(jmp_buf where, int value);
int __isoc99_sscanf(const char *text, const char *format, ...);

/* libpng's own way back, which picture.c does not use: a jmp_buf of glibc is not one of musl. */
void __longjmp_chk(jmp_buf where, int value)
{
    (void)where;
    (void)value;
    abort();
}

/* libjpeg asks the environment for a memory limit that way; picture.c sets one. */
int __isoc99_sscanf(const char *text, const char *format, ...)
{
    (void)text;
    (void)format;
    return 0;
}
