/* SPDX-License-Identifier: MIT
 *
 * Growable bytes with a hard cap that many buffers share. A server has one `struct buf_budget` for
 * all that it buffers; whatever would pass it is refused, and the buffer stays as it was. Pure.
 *
 * A buffer that is all zero is empty and owns nothing; _release brings it back there. */
#ifndef BUF_H
#define BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUF_FULL = -1, /* would pass the budget */
    BUF_NOMEM = -2 /* malloc failed */
};

/* A large block that was released and is kept for the next one: libc would give its pages back, and
 * taking them anew costs more than all that is done with a message of 1 MiB (`make bench`). */
struct buf_spare {
    struct buf_spare *next;
    size_t cap;
};

enum {
    BUF_LARGE = 64 * 1024, /* from here on a buffer may not grow into the last 1/16 of a budget */
    BUF_SPARE_MIN = 64 * 1024,        /* bytes of a block worth keeping */
    BUF_SPARE_TOTAL = 8 * 1024 * 1024 /* bytes kept at most */
};

/* Bytes of memory in use by all that share the budget: used <= max, always. Spares are not in
 * use. */
struct buf_budget {
    size_t used;
    size_t max;
    struct buf_spare *spares; /* most recent first */
    size_t spare_bytes;
};

void buf_budget_release(struct buf_budget *budget); /* free the spares */

struct buf {
    uint8_t *data; /* owned; NULL exactly when cap is 0 */
    size_t len;    /* bytes in use; len <= cap */
    size_t cap;    /* bytes allocated and counted in the budget */
};

/* Take `n` bytes out of the budget. Returns false, and takes nothing, when they are not there. */
bool buf_budget_take(struct buf_budget *budget, size_t n);
/* The same for a block whose size a peer decides: from BUF_LARGE on it leaves the last 1/16. */
bool buf_budget_take_block(struct buf_budget *budget, size_t n);
void buf_budget_give(struct buf_budget *budget, size_t n);

/* Make room for `n` bytes behind b->len without changing the content. Grows by doubling, so that
 * appending byte by byte is linear, but never past what the budget allows when less would do. Large
 * buffers leave the last 1/16 of the budget to small ones: whoever fills the memory with unfinished
 * messages does not silence the others.
 * Returns 0, BUF_FULL or BUF_NOMEM; on failure `b` is unchanged. */
int buf_reserve(struct buf *b, struct buf_budget *budget, size_t n);

/* `n` bytes will come into `b`, which is empty: begin with a spare that has room for all of them,
 * if there is one. Otherwise nothing happens: what is only announced gets no memory. */
void buf_expect(struct buf *b, struct buf_budget *budget, size_t n);

/* Append a copy of `data[0..n)`. Returns as buf_reserve. */
int buf_append(struct buf *b, struct buf_budget *budget, const void *data, size_t n);

/* Drop the first `n` bytes (n <= b->len) by moving the rest to the front. Keeps the memory. */
void buf_consume(struct buf *b, size_t n);

/* Free the memory and give it back to the budget. */
void buf_release(struct buf *b, struct buf_budget *budget);

#endif
