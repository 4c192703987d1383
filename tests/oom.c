/* SPDX-License-Identifier: MIT
 *
 * Allocation failures for tests; see oom.h. The names are the linker's, for --wrap. */
#include "oom.h"

#include <errno.h>
#include <malloc.h>
#include <stddef.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);

/* The wrapped functions have no argument to carry it in. */
static long left = -1;
static bool once;
static bool came;
static _Atomic long live; /* bytes */

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

long oom_live(void)
{
    return live;
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

static void *born(void *p)
{
    live += p == NULL ? 0 : (long)malloc_usable_size(p);
    return p;
}

void *__wrap_malloc(size_t size)
{
    return exhausted() ? NULL : born(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return exhausted() ? NULL : born(__real_calloc(count, size));
}

void *__wrap_realloc(void *p, size_t size)
{
    long before = p == NULL ? 0 : (long)malloc_usable_size(p);
    void *to;

    if (exhausted())
        return NULL;
    to = __real_realloc(p, size);
    live -= to == NULL ? 0 : before;
    return born(to);
}

void __wrap_free(void *p)
{
    live -= p == NULL ? 0 : (long)malloc_usable_size(p);
    __real_free(p);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
