/* SPDX-License-Identifier: MIT
 *
 * Out of memory on demand. In a test that links tests/oom, the linker wraps malloc, calloc and
 * realloc (see the Makefile), and they fail when they are told to. */
#ifndef TESTS_OOM_H
#define TESTS_OOM_H

#include <stdbool.h>

/* Let `n` allocations succeed and every one after them fail. Negative: none fails, as at the
 * start. */
void oom_after(long n);

/* Let only the allocation behind the next `n` fail. */
void oom_once(long n);

/* Has one failed since then? */
bool oom_came(void);

/* Bytes that this process holds by them. */
long oom_live(void);

#endif
