/* SPDX-License-Identifier: MIT
 *
 * Memory by the block. From half a page on a block is mapped by itself, so that its pages go back
 * to the kernel when it is freed: a heap keeps free pages wherever a smaller block behind them is
 * in use, and a peer that has every second block freed can make it keep several times what is used.
 * Knows no descriptor and no clock. */
#ifndef BLOCK_H
#define BLOCK_H

#include <stddef.h>

enum {
    BLOCK_PAGE = 4096,
    BLOCK_PAGED = BLOCK_PAGE / 2, /* a block of so many bytes or more is whole pages, mapped */
    BLOCK_WORD = 8 /* malloc's header of a smaller block; their sum is rounded up to 16 */
};

/* How much memory a block of `size` bytes takes; SIZE_MAX for sizes that are not possible. */
size_t block_size(size_t size);

/* A new block, not cleared; NULL when out of memory. `size` is not 0. */
void *block_new(size_t size);

/* Make `size` bytes at `p` into `new_size`; the content stays, as much of it as fits. Returns where
 * it lies now, or NULL when out of memory, and then nothing has changed. */
void *block_resize(void *p, size_t size, size_t new_size);

void block_free(void *p, size_t size); /* NULL and 0 are allowed */

/* Between these calls the memory must not be accessed: AddressSanitizer reports it. */
void block_hide(void *p, size_t size);
void block_show(void *p, size_t size);

#endif
