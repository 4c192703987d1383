/* SPDX-License-Identifier: MIT
 *
 * Allocation failures for tests; see oom.h. The names are the linker's, for --wrap. */
#include "oom.h"

#include <errno.h>
#include <stddef.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* The wrapped functions have no argument to carry it in. */
static long left = -1;
static bool once;
static bool came;

void oom_after(long n)
{
    left = n;
    once = false;
    came = false;
}

void oom_once(long n)
{
    oom_after(n);
    once = true;
}

bool oom_came(void)
{
    return came;
}

static bool exhausted(void)
{
    if (left > 0) {
        left--;
        return false;
    }
    if (left < 0)
        return false;
    came = true;
    errno = ENOMEM;
    if (once)
        left = -1;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return exhausted() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return exhausted() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return exhausted() ? NULL : __real_realloc(p, size);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
