/* SPDX-License-Identifier: MIT
 *
 * Growable bytes under a shared budget; see buf.h. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>

enum { BUF_MIN = 64 };

bool buf_budget_take(struct buf_budget *budget, size_t n)
{
    if (n > budget->max - budget->used)
        return false;
    budget->used += n;
    return true;
}

void buf_budget_give(struct buf_budget *budget, size_t n)
{
    budget->used -= n;
}

/* The next capacity that holds `need` bytes: doubled when the budget has that much, else exact. */
static size_t next_cap(const struct buf *b, const struct buf_budget *budget, size_t need)
{
    size_t cap = b->cap < BUF_MIN ? BUF_MIN : b->cap <= SIZE_MAX / 2 ? b->cap * 2 : SIZE_MAX;

    if (cap < need || cap - b->cap > budget->max - budget->used)
        return need;
    return cap;
}

int buf_reserve(struct buf *b, struct buf_budget *budget, size_t n)
{
    size_t cap;
    uint8_t *data;

    if (n <= b->cap - b->len)
        return 0;
    if (n > SIZE_MAX - b->len)
        return BUF_FULL;
    cap = next_cap(b, budget, b->len + n);
    if (!buf_budget_take(budget, cap - b->cap))
        return BUF_FULL;
    data = realloc(b->data, cap);
    if (data == NULL) {
        buf_budget_give(budget, cap - b->cap);
        return BUF_NOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
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

void buf_release(struct buf *b, struct buf_budget *budget)
{
    buf_budget_give(budget, b->cap);
    free(b->data);
    *b = (struct buf){0};
}
