/* SPDX-License-Identifier: MIT
 *
 * The connections of a server by their ids. Ids rise, so that an array stays sorted when each new
 * connection is put at its end: looking one up is a binary search, and walking all of them walks
 * memory in order. A connection that ends leaves a hole. Pure: it only keeps the pointers. */
#ifndef CONN_TABLE_H
#define CONN_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct ws_conn;

struct conn_entry {
    uint64_t id;
    struct ws_conn *conn; /* NULL: a hole */
};

struct conn_table {
    struct conn_entry *entries; /* by rising id */
    size_t size;                /* entries in use, with holes */
    size_t cap;
    size_t count; /* connections */
    uint64_t last_id;
};

/* A table of zeros is an empty one. */
void conn_table_release(struct conn_table *t);

/* Put `c` at the end. Returns its id, which was never given before; 0 when out of memory. */
uint64_t conn_table_add(struct conn_table *t, struct ws_conn *c);

/* Take the connection with `id`, which is there, out of the table. May move entries: not allowed
 * while the table is walked by index. */
void conn_table_remove(struct conn_table *t, uint64_t id);

/* The connection with `id`, or NULL. */
struct ws_conn *conn_table_find(const struct conn_table *t, uint64_t id);

#endif
