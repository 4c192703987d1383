/* SPDX-License-Identifier: MIT
 *
 * Queues of bytes to send; see output.h. Chunks of the common size are kept on a list of spares,
 * last freed first used, so that the hot path neither allocates nor leaves the cache. */
#include "output.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOW_SLICES = 8, /* a queue that has so many is that of a peer that does not read */
    SMALL = OUTPUT_CHUNK_SIZE / 16 /* bytes of a frame that it should not keep a chunk alive for */
};

/* A reused chunk is counted while it is in use; a spare one is not. */
static struct output_chunk *chunk_new(struct output_pool *pool, size_t size, int *error)
{
    size_t cap = size <= OUTPUT_CHUNK_SIZE ? OUTPUT_CHUNK_SIZE : size;
    struct output_chunk *chunk = cap == OUTPUT_CHUNK_SIZE ? pool->spares : NULL;

    *error = BUF_FULL;
    if (!buf_budget_take(pool->budget, cap))
        return NULL;
    if (chunk != NULL) {
        pool->spares = chunk->next;
        pool->spare_count--;
    } else if (cap > SIZE_MAX - sizeof *chunk || (chunk = malloc(sizeof *chunk + cap)) == NULL) {
        *error = BUF_NOMEM;
        buf_budget_give(pool->budget, cap);
        return NULL;
    }
    *chunk = (struct output_chunk){.refs = 1, .cap = cap, .counted = true};
    return chunk;
}

static void chunk_release(struct output_pool *pool, struct output_chunk *chunk)
{
    chunk->refs--;
    if (chunk->refs == 1 && chunk == pool->shared) {
        pool->shared = NULL; /* nobody refers to it: an idle server holds nothing */
        chunk->refs = 0;
    }
    if (chunk->refs > 0)
        return;
    if (chunk->counted)
        buf_budget_give(pool->budget, chunk->cap);
    if (chunk->counted && chunk->cap == OUTPUT_CHUNK_SIZE && pool->spare_count < OUTPUT_SPARE_MAX) {
        chunk->next = pool->spares;
        pool->spares = chunk;
        pool->spare_count++;
    } else {
        free(chunk);
    }
}

static void chunk_write(struct output_chunk *chunk, const void *data, size_t len)
{
    if (len != 0)
        memcpy(chunk->data + chunk->len, data, len);
    chunk->len += len;
}

void output_pool_init(struct output_pool *pool, struct buf_budget *budget)
{
    *pool = (struct output_pool){.budget = budget};
}

void output_pool_release(struct output_pool *pool)
{
    while (pool->spares != NULL) {
        struct output_chunk *chunk = pool->spares;

        pool->spares = chunk->next;
        free(chunk);
    }
    *pool = (struct output_pool){.budget = pool->budget};
}

void output_init(struct output *o)
{
    *o = (struct output){.cap = OUTPUT_INLINE};
    o->slices = o->inline_slices;
}

static void slices_free(struct output_pool *pool, struct output *o)
{
    if (o->slices == o->inline_slices)
        return;
    buf_budget_give(pool->budget, o->cap * sizeof *o->slices);
    free(o->slices);
}

void output_release(struct output_pool *pool, struct output *o)
{
    for (size_t i = 0; i < o->count; i++)
        chunk_release(pool, o->slices[o->head + i].chunk);
    slices_free(pool, o);
    output_init(o);
}

static int slices_grow(struct output_pool *pool, struct output *o)
{
    size_t cap = o->cap * 2;
    struct output_slice *slices;

    if (!buf_budget_take(pool->budget, cap * sizeof *slices))
        return BUF_FULL;
    slices = malloc(cap * sizeof *slices);
    if (slices == NULL) {
        buf_budget_give(pool->budget, cap * sizeof *slices);
        return BUF_NOMEM;
    }
    memcpy(slices, o->slices + o->head, o->count * sizeof *slices);
    slices_free(pool, o);
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
static int slices_reserve(struct output_pool *pool, struct output *o)
{
    if (o->head + o->count + 1 < o->cap)
        return 0;
    if (o->count >= o->cap / 2)
        return slices_grow(pool, o);
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

int output_append(struct output_pool *pool, struct output *o, const void *head, size_t head_len,
                  const void *body, size_t body_len)
{
    struct output_chunk *chunk;
    size_t len = head_len + body_len;
    int error;

    if (body_len > SIZE_MAX - head_len)
        return BUF_FULL;
    if (len == 0)
        return 0; /* every slice has something to send */
    chunk = writable_tail(o, len);
    if (chunk == NULL) {
        if ((error = slices_reserve(pool, o)) != 0)
            return error;
        if ((chunk = chunk_new(pool, len, &error)) == NULL)
            return error;
        slices_push(o, (struct output_slice){.chunk = chunk});
    }
    chunk_write(chunk, head, head_len);
    chunk_write(chunk, body, body_len);
    tail(o)->end = chunk->len;
    o->queued += len;
    return 0;
}

/* Not counted in the budget: one connection can cause only one of these, of some 130 bytes. */
int output_append_last(struct output *o, const void *data, size_t len)
{
    struct output_chunk *chunk = writable_tail(o, len);

    if (chunk == NULL) {
        if (o->count == o->cap)
            return BUF_FULL; /* the place was taken before */
        if (o->head + o->count == o->cap)
            slices_to_front(o);
        if ((chunk = malloc(sizeof *chunk + len)) == NULL)
            return BUF_NOMEM;
        *chunk = (struct output_chunk){.refs = 1, .cap = len};
        slices_push(o, (struct output_slice){.chunk = chunk});
    }
    chunk_write(chunk, data, len);
    tail(o)->end = chunk->len;
    o->queued += len;
    return 0;
}

/* A shared chunk is only ever appended to: others may be sending what is before its end. */
static struct output_chunk *shared_chunk(struct output_pool *pool, size_t len, int *error)
{
    struct output_chunk *chunk = pool->shared;

    if (chunk != NULL && chunk->cap - chunk->len >= len)
        return chunk;
    chunk = chunk_new(pool, len, error);
    if (chunk == NULL)
        return NULL;
    if (pool->shared != NULL)
        pool->shared->refs--; /* its readers keep it: it would be gone otherwise */
    pool->shared = chunk;
    return chunk;
}

int output_slice_new(struct output_pool *pool, struct output_slice *slice, const void *head,
                     size_t head_len, const void *body, size_t body_len)
{
    struct output_chunk *chunk;
    int error;

    if (body_len > SIZE_MAX - head_len)
        return BUF_FULL;
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

int output_refer(struct output_pool *pool, struct output *o, const struct output_slice *slice)
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
    /* Each few bytes could hold a chunk that nobody else needs any more. Copies lie close together,
     * so that the memory stays in proportion to what is queued. */
    if (o->count >= SLOW_SLICES && len < SMALL)
        return output_append(pool, o, slice->chunk->data + slice->start, len, NULL, 0);
    if ((error = slices_reserve(pool, o)) != 0)
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

    if (o->count != 1 || only->chunk->refs > 1 || !only->chunk->counted ||
        only->chunk->cap / 2 < len || !buf_budget_take(pool->budget, len))
        return;
    small = malloc(sizeof *small + len);
    if (small == NULL) {
        buf_budget_give(pool->budget, len);
        return;
    }
    *small = (struct output_chunk){.refs = 1, .cap = len, .counted = true};
    chunk_write(small, only->chunk->data + only->start, len);
    chunk_release(pool, only->chunk);
    *only = (struct output_slice){.chunk = small, .end = len};
}
