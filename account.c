/* SPDX-License-Identifier: MIT
 *
 * Accounts of memory and the blocks that they count; see account.h. */
#include "account.h"

#include <assert.h>
#include <stdint.h>

#include "block.h"

enum {
    RESERVE = 16,     /* 1/16 of the budget is for essential memory */
    SPARES_TRIED = 16 /* of one class, before a new block is made */
};

void budget_init(struct budget *b, size_t max)
{
    *b = (struct budget){.max = max};
}

static struct budget *budget_of(struct account *a)
{
    while (a->above != NULL)
        a = a->above;
    return (struct budget *)a;
}

/* --- spares ----------------------------------------------------------------------------------- */

static void spare_free_one(struct budget *b, size_t class)
{
    struct spare *spare = b->spares[class];

    b->spares[class] = spare->next;
    b->spare_bytes -= spare->size;
    block_free(spare, spare->size);
}

void budget_release(struct budget *b)
{
    for (size_t class = 0; class < BUDGET_SPARE_CLASSES; class ++)
        while (b->spares[class] != NULL)
            spare_free_one(b, class);
}

/* Free spares, until the memory in use and the spares are within the budget together. */
static void spares_trim(struct budget *b)
{
    if (b->spare_bytes <= b->max - b->all.used)
        return;
    for (size_t class = BUDGET_SPARE_CLASSES; class -- > 0;)
        while (b->spares[class] != NULL && b->spare_bytes > b->max - b->all.used)
            spare_free_one(b, class);
}

/* --- counting --------------------------------------------------------------------------------- */

static size_t left_for(const struct budget *b, enum account_kind kind)
{
    size_t limit = kind == ACCOUNT_ESSENTIAL ? b->max : b->max - b->max / RESERVE;

    return b->all.used < limit ? limit - b->all.used : 0;
}

/* May `a` take `n` bytes more, after which `left` bytes are left to all? */
static bool is_in_share(const struct account *a, size_t n, size_t left)
{
    const struct account *host = a->above;

    if (host == NULL)
        return true;
    if (a->used > left / 2 || n > left / 2 - a->used)
        return false;
    return host->above == NULL || (host->used <= left && n <= left - host->used);
}

static bool holds_little(const struct account *a, size_t n)
{
    return a->above == NULL ||
           (a->used <= ACCOUNT_ESSENTIAL_MAX && n <= ACCOUNT_ESSENTIAL_MAX - a->used);
}

bool account_take(struct account *a, size_t n, enum account_kind kind)
{
    enum account_kind judged = holds_little(a, n) ? kind : ACCOUNT_ORDINARY;
    struct budget *b = budget_of(a);
    size_t left = left_for(b, judged);

    if (n > left || !is_in_share(a, n, left - n))
        return false;
    for (struct account *each = a; each != NULL; each = each->above)
        each->used += n;
    assert(b->all.used <= b->max);
    spares_trim(b);
    return true;
}

void account_give(struct account *a, size_t n)
{
    for (; a != NULL; a = a->above) {
        assert(n <= a->used);
        a->used -= n;
    }
}

void account_move(struct account *a, struct account *above)
{
    if (a->above == above)
        return;
    account_give(a->above, a->used);
    a->above = above;
    for (; above != NULL; above = above->above)
        above->used += a->used;
}

/* --- reuse of blocks -------------------------------------------------------------------------- */

/* The class of a block of whole pages: sizes from 2^i to 2^(i+1) pages. */
static size_t class_of(size_t size)
{
    size_t pages = size / BLOCK_PAGE;
    size_t class = 0;

    while (pages > 1 && class < BUDGET_SPARE_CLASSES - 1) {
        pages /= 2;
        class ++;
    }
    return class;
}

/* Take a spare of `least` to `most` bytes off its list. */
static struct spare *spare_find(struct budget *b, size_t class, size_t least, size_t most)
{
    struct spare **link = &b->spares[class];

    for (int i = 0; *link != NULL && i < SPARES_TRIED; i++) {
        struct spare *spare = *link;

        if (spare->size >= least && spare->size <= most) {
            *link = spare->next;
            b->spare_bytes -= spare->size;
            block_show(spare, spare->size);
            return spare;
        }
        link = &spare->next;
    }
    return NULL;
}

static void spare_keep(struct budget *b, void *p, size_t size)
{
    struct spare *spare = p;
    size_t class = class_of(size);

    *spare = (struct spare){.next = b->spares[class], .size = size};
    b->spares[class] = spare;
    b->spare_bytes += size;
    block_hide(spare + 1, size - sizeof *spare);
}

void *account_spare(struct account *a, size_t least, size_t most, enum account_kind kind,
                    size_t *size)
{
    struct budget *b = budget_of(a);
    struct spare *spare;

    if (least < BLOCK_PAGED || b->spare_bytes == 0)
        return NULL;
    spare = spare_find(b, class_of(least), least, most);
    if (spare == NULL && class_of(most) > class_of(least))
        spare = spare_find(b, class_of(least) + 1, least, most);
    if (spare != NULL && !account_take(a, spare->size, kind)) {
        spare_keep(b, spare, spare->size);
        spare = NULL;
    }
    if (spare != NULL)
        *size = spare->size;
    return spare;
}

/* --- blocks ----------------------------------------------------------------------------------- */

void *account_new(struct account *a, size_t size, enum account_kind kind, int *error)
{
    size_t takes = block_size(size);
    void *p = NULL;

    if (takes >= BLOCK_PAGED && (p = account_spare(a, takes, takes, kind, &size)) != NULL)
        return p;
    *error = ACCOUNT_FULL;
    if (!account_take(a, takes, kind))
        return NULL;
    p = block_new(size);
    if (p == NULL) {
        *error = ACCOUNT_NOMEM;
        account_give(a, takes);
    }
    return p;
}

void *account_resize(struct account *a, void *p, size_t size, size_t new_size,
                     enum account_kind kind, int *error)
{
    size_t takes = block_size(new_size), took = block_size(size);
    void *moved;

    *error = ACCOUNT_FULL;
    if (takes > took && !account_take(a, takes - took, kind))
        return NULL;
    moved = block_resize(p, size, new_size);
    if (moved == NULL)
        *error = ACCOUNT_NOMEM;
    if (moved == NULL && takes > took)
        account_give(a, takes - took);
    if (moved != NULL && takes < took)
        account_give(a, took - takes);
    return moved;
}

void account_free(struct account *a, void *p, size_t size)
{
    size_t took = block_size(size);
    struct budget *b;

    if (p == NULL)
        return;
    b = budget_of(a);
    account_give(a, took);
    if (size >= BLOCK_PAGED && took <= BUDGET_SPARE_TOTAL - b->spare_bytes)
        spare_keep(b, p, took);
    else
        block_free(p, size);
}
