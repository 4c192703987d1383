/* SPDX-License-Identifier: MIT
 *
 * AVX2: vectors of 32 bytes, which nearly every x86-64 CPU since 2013 has, but not every one, so
 * the compiler may not use them by default. A function marked USES_AVX2 is compiled for them and
 * may run only where has_avx2() is true. On other machines USES_AVX2 is empty and has_avx2() is
 * false. */
#ifndef AVX2_H
#define AVX2_H

#include <stdbool.h>

#if defined(__x86_64__) && defined(__GNUC__)

#define USES_AVX2 __attribute__((target("avx2")))

/* The compiler's run-time library asked the CPU before main(): this is a load and a test. */
static inline bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

#else

#define USES_AVX2

static inline bool has_avx2(void)
{
    return false;
}

#endif

#endif
