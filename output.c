/* SPDX-License-Identifier: MIT
 *
 * Queues of bytes to send; see output.h. Freed chunks of the common size are spares of the budget,
 * last freed first used, so that the hot path neither asks the kernel nor leaves the cache. */
#include "output.h"

#include <assert.h>
#include <string.h>

#include "block.h"

enum {
    SLOW_SLICES = 8,               /* a queue with so many belongs to a peer that does not read */
    SMALL = OUTPUT_CHUNK_SIZE / 16 /* a frame of fewer bytes should not hold a chunk */
};

static size_t chunk_bytes(size_t cap)
{
    return sizeof(struct output_chunk) + cap;
}

static struct output_chunk *chunk_alloc(struct account *account, size_t cap, enum account_kind kind,
                                        int *error)
{
    struct output_chunk *chunk = account_new(account, chunk_bytes(cap), kind, error);

    if (chunk != NULL)
        *chunk = (struct output_chunk){.account = account, .refs = 1, .cap = cap};
    return chunk;
}

/* A chunk for `size` bytes and for later ones behind them; when memory is short, for `size` bytes
 * only. `kind` is that of the bytes, also when the chunk is larger. */
static struct output_chunk *chunk_new(struct account *account, size_t size, enum account_kind kind,
                                      int *error)
{
    size_t common = OUTPUT_CHUNK_SIZE - sizeof(struct output_chunk);
    struct output_chunk *chunk = NULL;

    *error = ACCOUNT_FULL;
    if (size > SIZE_MAX - sizeof *chunk)
        return NULL;
    if (size < common)
        chunk = chunk_alloc(account, common, kind, error);
    return chunk != NULL ? chunk : chunk_alloc(account, size, kind, error);
}

static void chunk_release(struct output_pool *pool, struct output_chunk *chunk)
{
    chunk->refs--;
    if (chunk->refs == 1 && chunk == pool->shared) {
        pool->shared = NULL; /* no queue refers to it: an idle server holds no chunk */
        chunk->refs = 0;
    }
    if (chunk->refs > 0)
        return;
    if (chunk->account != NULL)
        account_free(chunk->account, chunk, chunk_bytes(chunk->cap));
    else
        block_free(chunk, chunk_bytes(chunk->cap));
}

static void chunk_write(struct output_chunk *chunk, const void *data, size_t len)
{
    if (len != 0)
        memcpy(chunk->data + chunk->len, data, len);
    chunk->len += len;
}

void output_pool_init(struct output_pool *pool, struct account *account)
{
    *pool = (struct output_pool){.account = account};
}

static void slices_init(struct output *o)
{
    o->slices = o->inline_slices;
    o->head = 0;
    o->count = 0;
    o->cap = OUTPUT_INLINE;
}

void output_init(struct output *o, struct account *account)
{
    o->account = account;
    o->queued = 0;
    slices_init(o);
}

static void slices_free(struct output *o)
{
    if (o->slices != o->inline_slices)
        account_free(o->account, o->slices, o->cap * sizeof *o->slices);
}

void output_release(struct output_pool *pool, struct output *o)
{
    for (size_t i = 0; i < o->count; i++)
        chunk_release(pool, o->slices[o->head + i].chunk);
    o->queued = 0;
    slices_free(o);
    slices_init(o);
}

static int slices_grow(struct output *o)
{
    uint32_t cap = o->cap * 2;
    size_t size = cap * sizeof *o->slices;
    struct output_slice *slices;
    int error;

    if (o->cap > UINT32_MAX / 2)
        return ACCOUNT_FULL; /* uncovered: so many slices take 48 GiB */
    slices = account_new(o->account, size, account_kind_of(size), &error);
    if (slices == NULL)
        return error;
    memcpy(slices, o->slices + o->head, o->count * sizeof *slices);
    slices_free(o);
    o->slices = slices;
    o->cap = cap;
    o->head = 0;
    return 0;
}

static void slices_to_front(struct output *o)
{
    memmove(o->slices, o->slices + o->head, o->count * sizeof *o->slices);
    o->head = 0;
}

/* Make room for one more slice at the end, and leave one place beside it for output_append_last().
 * Moves the slices to the front only when more than half of the array is free, so that each slice
 * is moved a bounded number of times. */
static int slices_reserve(struct output *o)
{
    if (o->head + o->count + 1 < o->cap)
        return 0;
    if (o->count >= o->cap / 2)
        return slices_grow(o);
    slices_to_front(o);
    return 0;
}

/* Append a slice, taking over its reference. There is room. */
static void slices_push(struct output *o, struct output_slice slice)
{
    o->slices[o->head + o->count++] = slice;
    o->queued += slice.end - slice.start;
}

static struct output_slice *tail(struct output *o)
{
    return o->count == 0 ? NULL : &o->slices[o->head + o->count - 1];
}

/* The last chunk when this queue alone uses it and may write behind its last slice. A chunk that
 * was shared may hold frames of others there, though they have long been sent. */
static struct output_chunk *writable_tail(struct output *o, size_t need)
{
    struct output_slice *last = tail(o);

    if (last == NULL || last->chunk->refs > 1 || last->end != last->chunk->len ||
        last->chunk->cap - last->chunk->len < need)
        return NULL;
    return last->chunk;
}

int output_append(struct output *o, enum account_kind kind, const void *head, size_t head_len,
                  const void *body, size_t body_len)
{
    struct output_chunk *chunk;
    struct output_slice *last;
    size_t len = head_len + body_len;
    int error;

    if (body_len > SIZE_MAX - head_len)
        return ACCOUNT_FULL;
    if (len == 0)
        return 0; /* no slice is empty */
    chunk = writable_tail(o, len);
    if (chunk == NULL) {
        if ((error = slices_reserve(o)) != 0)
            return error;
        if ((chunk = chunk_new(o->account, len, kind, &error)) == NULL)
            return error;
        slices_push(o, (struct output_slice){.chunk = chunk});
    }
    chunk_write(chunk, head, head_len);
    chunk_write(chunk, body, body_len);
    last = tail(o);
    assert(last != NULL); /* a slice of `chunk` */
    last->end = chunk->len;
    o->queued += len;
    return 0;
}

/* Not counted: one connection can cause only one of these, of some 130 bytes. */
int output_append_last(struct output *o, const void *data, size_t len)
{
    struct output_chunk *chunk = writable_tail(o, len);
    struct output_slice *last;

    if (chunk == NULL) {
        if (o->count == o->cap)
            return ACCOUNT_FULL; /* the place is in use */
        if (o->head + o->count == o->cap)
            slices_to_front(o);
        if ((chunk = block_new(chunk_bytes(len))) == NULL)
            return ACCOUNT_NOMEM;
        *chunk = (struct output_chunk){.refs = 1, .cap = len};
        slices_push(o, (struct output_slice){.chunk = chunk});
    }
    chunk_write(chunk, data, len);
    last = tail(o);
    assert(last != NULL); /* a slice of `chunk` */
    last->end = chunk->len;
    o->queued += len;
    return 0;
}

/* A shared chunk is only ever appended to: other queues may be sending bytes before its end. */
static struct output_chunk *shared_chunk(struct output_pool *pool, size_t len, int *error)
{
    struct output_chunk *chunk = pool->shared;

    if (chunk != NULL && chunk->cap - chunk->len >= len)
        return chunk;
    chunk = chunk_new(pool->account, len, account_kind_of(len), error);
    if (chunk == NULL)
        return NULL;
    if (pool->shared != NULL)
        pool->shared->refs--; /* queues refer to it, or it would have been freed */
    pool->shared = chunk;
    return chunk;
}

int output_slice_new(struct output_pool *pool, struct output_slice *slice, const void *head,
                     size_t head_len, const void *body, size_t body_len)
{
    struct output_chunk *chunk;
    int error;

    if (body_len > SIZE_MAX - head_len)
        return ACCOUNT_FULL;
    chunk = shared_chunk(pool, head_len + body_len, &error);
    if (chunk == NULL)
        return error;
    chunk->refs++;
    slice->chunk = chunk;
    slice->start = chunk->len;
    chunk_write(chunk, head, head_len);
    chunk_write(chunk, body, body_len);
    slice->end = chunk->len;
    return 0;
}

void output_slice_release(struct output_pool *pool, struct output_slice *slice)
{
    chunk_release(pool, slice->chunk);
    slice->chunk = NULL;
}

int output_refer(struct output *o, const struct output_slice *slice)
{
    struct output_slice *last = tail(o);
    size_t len = slice->end - slice->start;
    int error;

    /* Frames published one after the other lie one after the other: one slice for all of them. */
    if (o->count > 0 && last->chunk == slice->chunk && last->end == slice->start) {
        last->end = slice->end;
        o->queued += len;
        return 0;
    }
    /* Few bytes could hold a whole chunk that no other queue needs any more. Copies lie close
     * together, so that the memory stays in proportion to what is queued. */
    if (o->count >= SLOW_SLICES && len < SMALL)
        return output_append(o, account_kind_of(len), slice->chunk->data + slice->start, len, NULL,
                             0);
    if ((error = slices_reserve(o)) != 0)
        return error;
    slice->chunk->refs++;
    slices_push(o, *slice);
    return 0;
}

size_t output_peek(const struct output *o, struct output_span *spans, size_t max)
{
    size_t n = o->count < max ? o->count : max;

    for (size_t i = 0; i < n; i++) {
        const struct output_slice *slice = &o->slices[o->head + i];

        spans[i].data = slice->chunk->data + slice->start;
        spans[i].len = slice->end - slice->start;
    }
    return n;
}

void output_sent(struct output_pool *pool, struct output *o, size_t n)
{
    o->queued -= n;
    while (n > 0) {
        struct output_slice *first = &o->slices[o->head];
        size_t len = first->end - first->start;

        if (n < len) {
            first->start += n;
            return;
        }
        n -= len;
        chunk_release(pool, first->chunk);
        o->head++;
        o->count--;
    }
    if (o->count == 0)
        output_release(pool, o);
}

void output_compact(struct output_pool *pool, struct output *o)
{
    struct output_slice *only = tail(o);
    struct output_chunk *small;
    size_t len = o->queued;
    int error;

    if (o->count != 1 || only->chunk->refs > 1 || only->chunk->account == NULL ||
        only->chunk->cap / 2 < len)
        return;
    small = chunk_alloc(o->account, len, account_kind_of(len), &error);
    if (small == NULL)
        return;
    chunk_write(small, only->chunk->data + only->start, len);
    chunk_release(pool, only->chunk);
    *only = (struct output_slice){.chunk = small, .end = len};
}
