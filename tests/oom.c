/* SPDX-License-Identifier: MIT
 *
 * Allocation failures for tests; see oom.h. The names are the linker's, for --wrap. */
#include "oom.h"

#include <stddef.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);

/* The wrapped functions have no argument to carry it in. */
static long left = -1;

void oom_after(long n)
{
    left = n;
}

static int exhausted(void)
{
    if (left > 0)
        left--;
    else if (left == 0)
        return 1;
    return 0;
}

void *__wrap_malloc(size_t size)
{
    return exhausted() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return exhausted() ? NULL : __real_realloc(p, size);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
