/* SPDX-License-Identifier: MIT
 *
 * Marked items, first in, first out; see settle.h. */
#include "settle.h"

bool settle_mark(struct settle_list *l, struct settle_item *item)
{
    if (item->next != NULL)
        return false;
    item->next = item;
    *(l->first == NULL ? &l->first : &l->last->next) = item;
    l->last = item;
    return l->depth == 0 && !l->requested;
}

struct settle_item *settle_next(struct settle_list *l)
{
    struct settle_item *item = l->first;

    if (!settle_is_due(l))
        return NULL;
    l->first = item->next == item ? NULL : item->next;
    item->next = NULL;
    return item;
}
