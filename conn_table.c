/* SPDX-License-Identifier: MIT
 *
 * Connections by id; see conn_table.h. */
#include "conn_table.h"

#include <stdlib.h>

enum { ENTRIES_MIN = 64 };

void conn_table_release(struct conn_table *t)
{
    free(t->entries);
    *t = (struct conn_table){0};
}

/* The place of the first entry with an id of at least `id`. */
static size_t position(const struct conn_table *t, uint64_t id)
{
    size_t low = 0;
    size_t high = t->size;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (t->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t conn_table_add(struct conn_table *t, struct ws_conn *c)
{
    if (t->size == t->cap) {
        size_t cap = t->cap == 0 ? ENTRIES_MIN : t->cap * 2;
        struct conn_entry *entries = realloc(t->entries, cap * sizeof *entries);

        if (entries == NULL)
            return 0;
        t->entries = entries;
        t->cap = cap;
    }
    t->last_id++;
    t->entries[t->size++] = (struct conn_entry){.id = t->last_id, .conn = c};
    t->count++;
    return t->last_id;
}

static void close_up(struct conn_table *t)
{
    size_t kept = 0;

    for (size_t i = 0; i < t->size; i++) {
        if (t->entries[i].conn != NULL)
            t->entries[kept++] = t->entries[i];
    }
    t->size = kept;
}

/* Holes are closed up when they are half of all, so that removing costs O(1) a connection. */
void conn_table_remove(struct conn_table *t, uint64_t id)
{
    t->entries[position(t, id)].conn = NULL;
    t->count--;
    if (t->size > ENTRIES_MIN && t->count < t->size / 2)
        close_up(t);
}

struct ws_conn *conn_table_find(const struct conn_table *t, uint64_t id)
{
    size_t i = position(t, id);

    return i < t->size && t->entries[i].id == id ? t->entries[i].conn : NULL;
}
