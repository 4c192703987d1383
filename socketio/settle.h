/* SPDX-License-Identifier: MIT
 *
 * A list of what is to be settled. Functions of the APIs of Engine.IO and Socket.IO never call back
 * and never free: they mark a session or a socket, and the outermost callback settles all that is
 * marked before it returns:
 *
 *     settle_enter(l);
 *     ...                                    settle_mark(l, item), in any function
 *     while ((item = settle_next(l)) != NULL)
 *         ...                                settle it: this may mark any item, this one too
 *     settle_leave(l);
 *
 * It allocates nothing, calls nothing and does no I/O. */
#ifndef SOCKETIO_SETTLE_H
#define SOCKETIO_SETTLE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

/* A member of the struct that can be marked. All zero means not marked. */
struct settle_item {
    struct settle_item *next; /* NULL: not marked; the last one of a list points to itself */
};

/* All zero is empty. */
struct settle_list {
    struct settle_item *first; /* NULL: nothing is marked */
    struct settle_item *last;  /* meaningless when nothing is marked */
    unsigned depth;            /* callbacks that run, one inside the other */
    bool requested; /* a call that settles is posted; the caller of settle_mark() sets this, and
                       that call clears it */
};

/* Around every callback. */
static inline void settle_enter(struct settle_list *l)
{
    l->depth++;
}

static inline void settle_leave(struct settle_list *l)
{
    assert(l->depth > 0);
    l->depth--;
}

static inline bool settle_is_marked(const struct settle_item *item)
{
    return item->next != NULL;
}

/* Is something marked, and is the callback that runs the outermost one, which settles it? */
static inline bool settle_is_due(const struct settle_list *l)
{
    return l->depth == 1 && l->first != NULL;
}

/* Put `item` at the end of the list; twice is the same as once. True when no callback runs and no
 * call is posted that would settle it: then the caller has to post one. */
bool settle_mark(struct settle_list *l, struct settle_item *item);

/* Take the first item off the list; it is not marked any more. NULL when the list is empty, or when
 * an outer callback will settle it. */
struct settle_item *settle_next(struct settle_list *l);

#endif
