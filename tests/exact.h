/* SPDX-License-Identifier: MIT
 *
 * A copy of `len` bytes in an allocation of exactly that size, so that AddressSanitizer sees any
 * read past its end. The caller frees it. */
#ifndef TESTS_EXACT_H
#define TESTS_EXACT_H

#include <stdlib.h>
#include <string.h>

static inline void *exact_copy(const void *data, size_t len)
{
    void *copy = malloc(len);

    if (len != 0 && copy == NULL)
        abort();
    if (len != 0)
        memcpy(copy, data, len);
    return copy;
}

#endif
