/* SPDX-License-Identifier: MIT
 *
 * Growable bytes, counted in an account; a call that exceeds the account fails, and the buffer
 * stays as it was. Pure.
 *
 * A buffer that is all zero is empty and owns nothing; _release brings it back there. All calls for
 * one buffer name the same account. */
#ifndef BUF_H
#define BUF_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"

struct buf {
    uint8_t *data; /* owned; NULL exactly when cap is 0 */
    size_t len;    /* bytes in use; len <= cap */
    size_t cap;    /* bytes allocated, and counted as what a block of this size takes */
};

/* Make room for `n` bytes behind b->len without changing the content.
 *
 *   most   bytes that are announced for the buffer; SIZE_MAX: not known. It grows by doubling, so
 *          that appending byte by byte is linear, but past `most` by a quarter of its size at a
 *          time, and only to what is needed where the account has no more
 *
 * Returns 0, ACCOUNT_FULL or ACCOUNT_NOMEM; on failure `b` is unchanged. */
int buf_reserve(struct buf *b, struct account *a, enum account_kind kind, size_t n, size_t most);

/* `n` bytes will come into `b`, which is empty: begin with a spare block that has room for all of
 * them, if there is one. Otherwise nothing happens: no new memory is taken for announced bytes. */
void buf_expect(struct buf *b, struct account *a, enum account_kind kind, size_t n);

/* Append a copy of `data[0..n)`. Returns as buf_reserve. */
int buf_append(struct buf *b, struct account *a, enum account_kind kind, const void *data,
               size_t n);

/* Drop the first `n` bytes (n <= b->len) by moving the rest to the front. Keeps the memory. */
void buf_consume(struct buf *b, size_t n);

void buf_release(struct buf *b, struct account *a); /* free the memory */

#endif
