/* SPDX-License-Identifier: MIT
 *
 * Growable bytes under a shared budget; see buf.h. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>

enum { BUF_MIN = 64 };

/* Bytes of the budget that a buffer may have which is to hold `need`. */
static size_t budget_left(const struct buf_budget *budget, size_t need)
{
    size_t left = budget->max - budget->used;
    size_t kept = need < BUF_LARGE ? 0 : budget->max / 16;

    return left < kept ? 0 : left - kept;
}

bool buf_budget_take(struct buf_budget *budget, size_t n)
{
    if (n > budget->max - budget->used)
        return false;
    budget->used += n;
    return true;
}

bool buf_budget_take_block(struct buf_budget *budget, size_t n)
{
    return n <= budget_left(budget, n) && buf_budget_take(budget, n);
}

void buf_budget_give(struct buf_budget *budget, size_t n)
{
    budget->used -= n;
}

void buf_budget_release(struct buf_budget *budget)
{
    while (budget->spares != NULL) {
        struct buf_spare *spare = budget->spares;

        budget->spares = spare->next;
        free(spare);
    }
    budget->spare_bytes = 0;
}

/* The spare that was kept last of those that have `size` bytes; NULL when there is none, or when so
 * few bytes are wanted that it would be a waste. */
static struct buf_spare *spare_take(struct buf_budget *budget, size_t size)
{
    struct buf_spare **link = &budget->spares;
    struct buf_spare *spare;

    if (size < BUF_SPARE_MIN)
        return NULL;
    while (*link != NULL && ((*link)->cap < size || (*link)->cap > budget_left(budget, size)))
        link = &(*link)->next;
    spare = *link;
    if (spare == NULL)
        return NULL;
    *link = spare->next;
    budget->spare_bytes -= spare->cap;
    budget->used += spare->cap;
    return spare;
}

/* The next capacity that holds `need` bytes: doubled when the budget has that much, else exact. */
static size_t next_cap(const struct buf *b, const struct buf_budget *budget, size_t need)
{
    size_t cap = b->cap < BUF_MIN ? BUF_MIN : b->cap <= SIZE_MAX / 2 ? b->cap * 2 : SIZE_MAX;

    if (cap < need || cap - b->cap > budget_left(budget, cap))
        return need;
    return cap;
}

/* Move into a larger block. */
static void move(struct buf *b, struct buf_budget *budget, struct buf_spare *to)
{
    struct buf moved = {.data = (uint8_t *)to, .len = b->len, .cap = to->cap};

    if (b->len != 0)
        memcpy(moved.data, b->data, b->len);
    buf_release(b, budget);
    *b = moved;
}

int buf_reserve(struct buf *b, struct buf_budget *budget, size_t n)
{
    struct buf_spare *spare;
    size_t cap;
    uint8_t *data;

    if (n <= b->cap - b->len)
        return 0;
    if (n > SIZE_MAX - b->len)
        return BUF_FULL;
    spare = spare_take(budget, b->len + n);
    if (spare != NULL) {
        move(b, budget, spare);
        return 0;
    }
    cap = next_cap(b, budget, b->len + n);
    if (cap - b->cap > budget_left(budget, cap))
        return BUF_FULL;
    data = realloc(b->data, cap);
    if (data == NULL)
        return BUF_NOMEM;
    budget->used += cap - b->cap;
    b->data = data;
    b->cap = cap;
    return 0;
}

void buf_expect(struct buf *b, struct buf_budget *budget, size_t n)
{
    struct buf_spare *spare = b->cap != 0 ? NULL : spare_take(budget, n);

    if (spare != NULL)
        move(b, budget, spare);
}

int buf_append(struct buf *b, struct buf_budget *budget, const void *data, size_t n)
{
    int error = buf_reserve(b, budget, n);

    if (error != 0 || n == 0)
        return error;
    memcpy(b->data + b->len, data, n);
    b->len += n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    b->len -= n;
    if (n != 0 && b->len != 0)
        memmove(b->data, b->data + n, b->len);
}

static bool is_worth_keeping(const struct buf *b, const struct buf_budget *budget)
{
    return b->cap >= BUF_SPARE_MIN && b->cap <= BUF_SPARE_TOTAL - budget->spare_bytes;
}

void buf_release(struct buf *b, struct buf_budget *budget)
{
    struct buf_spare *spare = (struct buf_spare *)(void *)b->data;

    buf_budget_give(budget, b->cap);
    if (is_worth_keeping(b, budget)) {
        *spare = (struct buf_spare){.next = budget->spares, .cap = b->cap};
        budget->spares = spare;
        budget->spare_bytes += b->cap;
    } else {
        free(b->data);
    }
    *b = (struct buf){0};
}
