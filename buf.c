/* SPDX-License-Identifier: MIT
 *
 * Growable bytes in an account; see buf.h. */
#include "buf.h"

#include <string.h>

#include "block.h"

enum { BUF_MIN = 64 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Large capacities are whole pages, since the blocks take whole pages in any case. */
static size_t whole(size_t cap)
{
    return cap < BLOCK_PAGED ? cap : block_size(cap);
}

/* The next capacity that holds `need` bytes: doubled, but past `most` only by a quarter. */
static size_t next_cap(const struct buf *b, size_t need, size_t most)
{
    size_t doubled = b->cap < BUF_MIN ? BUF_MIN : b->cap <= SIZE_MAX / 2 ? b->cap * 2 : SIZE_MAX;
    size_t quarter = b->cap + b->cap / 4;
    size_t cap = smaller(doubled, most > quarter ? most : quarter);

    return whole(cap > need ? cap : need);
}

/* Move into a block of `cap` bytes. */
static void move_to(struct buf *b, struct account *a, void *to, size_t cap)
{
    if (b->len != 0)
        memcpy(to, b->data, b->len);
    account_free(a, b->data, b->cap);
    b->data = to;
    b->cap = cap;
}

/* Into a spare block that is not much larger than what is needed. */
static bool move_to_spare(struct buf *b, struct account *a, enum account_kind kind, size_t need)
{
    size_t cap;
    void *to = account_spare(a, need, need <= SIZE_MAX / 2 ? need + need / 4 : need, kind, &cap);

    if (to == NULL)
        return false;
    move_to(b, a, to, cap);
    return true;
}

static int set_cap(struct buf *b, struct account *a, enum account_kind kind, size_t cap)
{
    int error;
    void *data = b->data == NULL ? account_new(a, cap, kind, &error)
                                 : account_resize(a, b->data, b->cap, cap, kind, &error);

    if (data == NULL)
        return error;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_reserve(struct buf *b, struct account *a, enum account_kind kind, size_t n, size_t most)
{
    size_t need, cap;
    int error;

    if (n <= b->cap - b->len)
        return 0;
    if (n > SIZE_MAX - b->len)
        return ACCOUNT_FULL;
    need = b->len + n;
    if (move_to_spare(b, a, kind, need))
        return 0;
    cap = next_cap(b, need, most);
    error = set_cap(b, a, kind, cap);
    return error == ACCOUNT_FULL && whole(need) < cap ? set_cap(b, a, kind, whole(need)) : error;
}

void buf_expect(struct buf *b, struct account *a, enum account_kind kind, size_t n)
{
    if (b->cap == 0)
        move_to_spare(b, a, kind, n);
}

int buf_append(struct buf *b, struct account *a, enum account_kind kind, const void *data, size_t n)
{
    int error = buf_reserve(b, a, kind, n, SIZE_MAX);

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

void buf_release(struct buf *b, struct account *a)
{
    account_free(a, b->data, b->cap);
    *b = (struct buf){0};
}
