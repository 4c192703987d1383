/* SPDX-License-Identifier: MIT
 *
 * How much of the memory that a server buffers is held for which peer. All of it together has a
 * limit, the budget; each connection has an account, which is below the account of its host (an
 * address):
 *
 *     budget <- host <- connection
 *                    <- room, session, ...
 *
 * Memory for no single peer, such as a frame that many share, is taken from the budget itself.
 * Three rules say whether memory may be taken:
 *
 *   1. The budget is not exceeded.
 *   2. The last 1/16 of it, the reserve, is for what is essential (below), so that heads, joins and
 *      small messages still find room where others have used up the rest.
 *   3. A share that depends on what is left: an account may hold half as much as is left to all, a
 *      host as much. So one host can take half of the budget and the next one a quarter: a later
 *      host gets less, but some. No constant has to be chosen for it, and a single host may have
 *      much. ("Dynamic queue length thresholds", Choudhury and Hahne, 1998.)
 *
 * A block counts as the bytes that it takes (block.h). Pure. */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ACCOUNT_FULL = -1, /* the budget, the reserve or a share would be passed */
    ACCOUNT_NOMEM = -2 /* the system has no memory */
};

/* Essential memory is for a peer that needs little: a request head, a membership, a frame or a
 * message under ACCOUNT_SMALL bytes. It is essential only while the account holds little. */
enum account_kind { ACCOUNT_ORDINARY, ACCOUNT_ESSENTIAL };
enum {
    ACCOUNT_SMALL = 1024,                 /* bytes below which a block is essential by its size */
    ACCOUNT_ESSENTIAL_MAX = 48 * 1024,    /* of one account */
    BUDGET_SPARE_TOTAL = 8 * 1024 * 1024, /* bytes of freed blocks that are kept for the next */
    BUDGET_SPARE_CLASSES = 16
};

struct account {
    struct account *above; /* NULL: this is the account of the budget */
    size_t used;           /* bytes, with those of the accounts below */
};

/* A freed block of whole pages. If it were unmapped, mapping new pages would cost more than all
 * other work for a message of 1 MiB (`make bench`). */
struct spare {
    struct spare *next;
    size_t size;
};

struct budget {
    struct account all; /* first: `above`, followed from any account, ends here */
    size_t max;         /* all.used <= max, always */
    struct spare
        *spares[BUDGET_SPARE_CLASSES]; /* by the power of 2 of their pages; the latest first */
    size_t spare_bytes;                /* which are not in use */
};

void budget_init(struct budget *b, size_t max);
void budget_release(struct budget *b); /* free the spares */

static inline enum account_kind account_kind_of(size_t size)
{
    return size < ACCOUNT_SMALL ? ACCOUNT_ESSENTIAL : ACCOUNT_ORDINARY;
}

/* Count `n` bytes for `a`. False, and nothing is counted, where a rule forbids it. */
bool account_take(struct account *a, size_t n, enum account_kind kind);
void account_give(struct account *a, size_t n);

/* Count what `a` holds below another account from now on, of the same budget. It may take that
 * over its share. */
void account_move(struct account *a, struct account *above);

/* A block of `size` bytes (not 0) for `a`, not cleared: counted, and taken from the spares if one
 * fits. NULL with ACCOUNT_FULL or ACCOUNT_NOMEM in `*error`. */
void *account_new(struct account *a, size_t size, enum account_kind kind, int *error);

/* As block_resize(), counted. NULL with `*error`, and then nothing has changed. */
void *account_resize(struct account *a, void *p, size_t size, size_t new_size,
                     enum account_kind kind, int *error);

/* A spare of `least` to `most` bytes for `a`, with its size in `*size`; NULL when there is none. It
 * takes no new memory, so it may be used for a message that is only announced. */
void *account_spare(struct account *a, size_t least, size_t most, enum account_kind kind,
                    size_t *size);

void account_free(struct account *a, void *p, size_t size); /* NULL and 0 are allowed */

#endif
