/* SPDX-License-Identifier: MIT
 *
 * What one connection has yet to send: a queue of slices of reference-counted chunks. A frame for
 * one peer is copied into a chunk of its own; a frame for a room is encoded once into a shared
 * chunk, and each member's queue only names the slice. Pure: the caller gathers with output_peek(),
 * makes the system call, and reports with output_sent().
 *
 * Memory of a queue is counted in its account, memory that is shared in the pool's. Functions
 * return 0, ACCOUNT_FULL or ACCOUNT_NOMEM, and on failure nothing has changed. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"

enum {
    OUTPUT_CHUNK_SIZE = 16384, /* bytes that a common chunk takes, with its head */
    /* Slices that need no allocation. With more of them malloc takes longer for the struct around
     * them (see conn_output.c), 1/50 of a room (`make bench`). */
    OUTPUT_INLINE = 2
};

struct output_chunk {
    struct account *account; /* in which it is counted; NULL: in none */
    size_t refs;             /* slices and owners that use it */
    size_t len;              /* bytes written; never rewritten while refs > 1 */
    size_t cap;
    uint8_t data[];
};

struct output_slice {
    struct output_chunk *chunk; /* one reference */
    size_t start;
    size_t end;
};

struct output_pool {
    struct account *account;
    struct output_chunk *shared; /* where shared frames are written next; may be NULL */
};

struct output {
    struct account *account;
    size_t queued;               /* bytes, the sum of all slices */
    struct output_slice *slices; /* inline_slices, or owned and counted */
    uint32_t head;               /* first slice in use */
    uint32_t count;              /* slices in use, none of them empty */
    uint32_t cap;                /* more than count until output_append_last() */
    struct output_slice inline_slices[OUTPUT_INLINE];
};

struct output_span {
    const uint8_t *data;
    size_t len;
};

void output_pool_init(struct output_pool *pool, struct account *account);

void output_init(struct output *o, struct account *account);
void output_release(struct output_pool *pool, struct output *o);

/* Append copies of `head` and then `body`; either may be empty. */
int output_append(struct output *o, enum account_kind kind, const void *head, size_t head_len,
                  const void *body, size_t body_len);

/* The same for a few bytes that must go out even when all memory is used up: a Close frame. The
 * caller appends at most one to a queue. A place for its slice is always kept. */
int output_append_last(struct output *o, const void *data, size_t len);

/* Encode once: copy `head` and `body`, not both empty, where many queues can refer to them. The
 * slice holds a reference until output_slice_release(). */
int output_slice_new(struct output_pool *pool, struct output_slice *slice, const void *head,
                     size_t head_len, const void *body, size_t body_len);
void output_slice_release(struct output_pool *pool, struct output_slice *slice);

/* Append a reference to `slice`, without copying. */
int output_refer(struct output *o, const struct output_slice *slice);

/* The first `max` spans to send, in order. Returns how many there are. */
size_t output_peek(const struct output *o, struct output_span *spans, size_t max);

/* `n` bytes have been sent. */
void output_sent(struct output_pool *pool, struct output *o, size_t n);

/* The socket takes no more for now: move the rest, if it is small, so that it does not hold a whole
 * chunk. */
void output_compact(struct output_pool *pool, struct output *o);

#endif
