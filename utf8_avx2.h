/* SPDX-License-Identifier: MIT
 *
 * UTF-8, 32 bytes at a time: the part of utf8.c that is written for one kind of CPU; only utf8.c
 * includes it. The idea is that of Keiser and Lemire, "Validating UTF-8 In Less Than One
 * Instruction Per Byte" (2021). Nearly all errors can be found from two adjacent bytes, by the high
 * half of the first, the low half of the first and the high half of the second. Each half byte is
 * looked up in a table of 16, one instruction for 32 of them. The result is the set of errors that
 * this half byte allows; an error that all three allow is present.
 *
 * No branch depends on the text, so that Chinese is as fast as English: 8 bytes per cycle, where
 * the loop of utf8.c takes one. `make bench-codecs` measures both. */
#ifndef UTF8_AVX2_H
#define UTF8_AVX2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avx2.h"

/* Bytes in front of the first that utf8_wide_check() judges, and the least it can judge. */
enum { UTF8_WIDE_BEFORE = 3, UTF8_WIDE_BLOCK = 32 };

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* The errors of a byte and the one behind it. A continuation is 80..BF. */
enum {
    TOO_SHORT = 0x01,     /* a first byte of several, then no continuation */
    TOO_LONG = 0x02,      /* ASCII, then a continuation */
    OVERLONG_2 = 0x04,    /* C0 or C1, then a continuation: less than U+0080 */
    OVERLONG_3 = 0x08,    /* E0, then 80..9F: less than U+0800 */
    SURROGATE = 0x10,     /* ED, then A0..BF: U+D800 to U+DFFF */
    BAD_8X = 0x20,        /* F0 (less than U+10000) or F5..FF (over U+10FFFF), then 80..8F */
    TOO_LARGE = 0x40,     /* F4..FF, then 90..BF: over U+10FFFF */
    CONTINUATIONS = 0x80, /* two: right as the last ones of three or four bytes, and nowhere else */

    ANY_LOW = TOO_SHORT | TOO_LONG | CONTINUATIONS,  /* whatever the first byte's low half */
    FROM_F5 = ANY_LOW | BAD_8X | TOO_LARGE,          /* its low half is 5 or more */
    IF_NEXT = TOO_LONG | OVERLONG_2 | CONTINUATIONS, /* whatever continuation the second byte is */
};

#define FOUR_TIMES(x) x, x, x, x

static const uint8_t utf8_first_high[16] = {
    FOUR_TIMES(TOO_LONG), /* 0. to 7. */
    FOUR_TIMES(TOO_LONG),
    FOUR_TIMES(CONTINUATIONS),          /* 8. to B. */
    TOO_SHORT | OVERLONG_2,             /* C. */
    TOO_SHORT,                          /* D. */
    TOO_SHORT | OVERLONG_3 | SURROGATE, /* E. */
    TOO_SHORT | BAD_8X | TOO_LARGE,     /* F. */
};

static const uint8_t utf8_first_low[16] = {
    ANY_LOW | OVERLONG_2 | OVERLONG_3 | BAD_8X, /* .0: C0, E0, F0 */
    ANY_LOW | OVERLONG_2,                       /* .1: C1 */
    ANY_LOW,                                    /* .2 */
    ANY_LOW,                                    /* .3 */
    ANY_LOW | TOO_LARGE,                        /* .4: F4 */
    FOUR_TIMES(FROM_F5),                        /* .5 to .C */
    FOUR_TIMES(FROM_F5),
    FROM_F5 | SURROGATE, /* .D: ED */
    FROM_F5,             /* .E */
    FROM_F5,             /* .F */
};

static const uint8_t utf8_second_high[16] = {
    FOUR_TIMES(TOO_SHORT), /* 0. to 7. */
    FOUR_TIMES(TOO_SHORT),
    IF_NEXT | OVERLONG_3 | BAD_8X,    /* 8. */
    IF_NEXT | OVERLONG_3 | TOO_LARGE, /* 9. */
    IF_NEXT | SURROGATE | TOO_LARGE,  /* A. */
    IF_NEXT | SURROGATE | TOO_LARGE,  /* B. */
    FOUR_TIMES(TOO_SHORT),            /* C. to F. */
};

#undef FOUR_TIMES

USES_AVX2 static inline __m256i utf8_load(const uint8_t *data)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)data);
}

/* Look up the low half of each byte. */
USES_AVX2 static inline __m256i utf8_look_up(const uint8_t table[16], __m256i bytes)
{
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)table);

    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(half), bytes & _mm256_set1_epi8(0x0f));
}

/* The errors of each of 32 bytes, given the three in front of it. It loads them from memory once
 * for each distance, which is cheaper than shifting them from vector to vector. */
USES_AVX2 static inline __m256i utf8_block_errors(const uint8_t *data)
{
    __m256i second = utf8_load(data), first = utf8_load(data - 1);
    __m256i errors = utf8_look_up(utf8_first_high, _mm256_srli_epi16(first, 4)) &
                     utf8_look_up(utf8_first_low, first) &
                     utf8_look_up(utf8_second_high, _mm256_srli_epi16(second, 4));
    /* The third byte of three, and the third and fourth of four: there and only there CONTINUATIONS
     * must be. A difference has bit 7 where the byte is at least E0 or F0; below 0 it stays 0. */
    __m256i third = _mm256_subs_epu8(utf8_load(data - 2), _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(utf8_load(data - 3), _mm256_set1_epi8(0xf0 - 0x80));

    return errors ^ ((third | fourth) & _mm256_set1_epi8((char)CONTINUATIONS));
}

/* Is data[3..len) valid behind data[0..3)? Not found: a character that is unfinished at the end, or
 * a last byte that cannot be a first byte. At least 35 bytes. The last block overlaps the one
 * before. */
USES_AVX2 static bool utf8_wide_check(const uint8_t *data, size_t len)
{
    __m256i errors = utf8_block_errors(data + len - UTF8_WIDE_BLOCK);

    for (size_t i = UTF8_WIDE_BEFORE; len - i > UTF8_WIDE_BLOCK; i += UTF8_WIDE_BLOCK)
        errors |= utf8_block_errors(data + i);
    return _mm256_testz_si256(errors, errors) != 0;
}

#else

/* Never called: has_avx2() is false. */
static inline bool utf8_wide_check(const uint8_t *data, size_t len)
{
    return data == NULL && len == 0;
}

#endif

#endif
