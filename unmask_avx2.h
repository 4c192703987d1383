/* SPDX-License-Identifier: MIT
 *
 * Unmasking many bytes at once, for ws_frame.c: in words of 4 bytes, in vectors of 16 and, on CPUs
 * that can, of 32. Each function here unmasks `data[0..len)`, whose first byte has mask[0], and
 * returns the bits that are set in any of its words. */
#ifndef UNMASK_AVX2_H
#define UNMASK_AVX2_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "avx2.h"

/* A multiple of 4 bytes, under 16. */
static inline uint64_t unmask_few(uint8_t *data, size_t len, const uint8_t mask[4])
{
    uint32_t seen = 0, key, word;

    memcpy(&key, mask, sizeof key);
    for (size_t i = 0; i < len; i += 4) {
        memcpy(&word, data + i, sizeof word);
        word ^= key;
        memcpy(data + i, &word, sizeof word);
        seen |= word;
    }
    return seen;
}

/* A multiple of 4 bytes, 16 or more, in vectors that every 64-bit CPU has. The last 16 bytes are
 * read first, since the vector before them may overlap them. */
static inline uint64_t unmask_vectors(uint8_t *data, size_t len, const uint8_t mask[4])
{
    typedef uint32_t vector __attribute__((vector_size(16)));
    const size_t end = len - sizeof(vector);
    vector a, last, seen;
    uint64_t words[2];
    uint32_t key;

    memcpy(&key, mask, sizeof key);
    memcpy(&last, data + end, sizeof last);
    seen = last ^= key;
    for (size_t i = 0; i < end; i += sizeof a) {
        memcpy(&a, data + i, sizeof a);
        a ^= key;
        memcpy(data + i, &a, sizeof a);
        seen |= a;
    }
    memcpy(data + end, &last, sizeof last);
    memcpy(words, &seen, sizeof words);
    return words[0] | words[1];
}

/* A multiple of 64 bytes. Twice as fast from some 300 bytes on: `make bench-codecs`. */
USES_AVX2 static uint64_t unmask_wide(uint8_t *data, size_t len, const uint8_t mask[4])
{
    typedef uint32_t vector __attribute__((vector_size(32)));
    vector a, b, seen;
    uint64_t words[4];
    uint32_t key;

    memcpy(&key, mask, sizeof key);
    memset(&seen, 0, sizeof seen); /* gcc's analyzer does not follow `= {0}` of a vector */
    for (size_t i = 0; i < len; i += 64) {
        memcpy(&a, data + i, 32);
        memcpy(&b, data + i + 32, 32);
        a ^= key;
        b ^= key;
        seen |= a | b;
        memcpy(data + i, &a, 32);
        memcpy(data + i + 32, &b, 32);
    }
    memcpy(words, &seen, sizeof words);
    return words[0] | words[1] | words[2] | words[3];
}

/* All whole words of `data[0..len)`. Adds to `*seen`; returns how many bytes that were. */
static inline size_t unmask_words(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t *seen)
{
    size_t words = len / 4 * 4;
    size_t done = 0;

    if (len >= 128 && has_avx2()) {
        done = (len - 16) / 64 * 64;
        *seen |= unmask_wide(data, done, mask);
    }
    *seen |= words >= 16 ? unmask_vectors(data + done, words - done, mask)
                         : unmask_few(data, words, mask);
    return words;
}

#endif
