/* SPDX-License-Identifier: MIT
 *
 * A hash table whose keys are names: sockets, namespaces, rooms, hosts. A name may be any bytes,
 * also those of pointers. A struct in a table has a `struct name_entry` for each table that it is
 * in, most often as its first member; the table allocates only its buckets. It keeps nothing else
 * and does no I/O; of the core it calls only ws_siphash(). */
#ifndef NAME_TABLE_H
#define NAME_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ws.h" /* struct ws_str */

struct name_entry {
    struct name_entry *next; /* in the same bucket */
    const char *name;        /* borrowed for as long as the entry is in the table */
    uint32_t len;
    uint32_t hash;
};

struct name_table {
    struct name_entry **buckets; /* owned; NULL while there has been no entry */
    size_t size;                 /* a power of two, or 0 */
    size_t count;
    struct ws_account *account;       /* that the buckets count in; borrowed */
    uint8_t key[WS_SIPHASH_KEY_SIZE]; /* secret, so that a peer cannot find names that collide */
};

/* Make an empty table; the key is copied. */
void name_table_init(struct name_table *t, struct ws_account *account,
                     const uint8_t key[WS_SIPHASH_KEY_SIZE]);

/* NULL when there is none of that name. */
struct name_entry *name_table_find(const struct name_table *t, struct ws_str name);

/* Add an entry whose name (shorter than 4 GiB) is not in the table. False when out of memory, which
 * can happen only for the first entry: if there is no memory for more buckets, the table keeps
 * those it has. */
bool name_table_add(struct name_table *t, struct name_entry *e, struct ws_str name);

/* Remove an entry. The table gets fewer buckets, if there is memory for them. */
void name_table_remove(struct name_table *t, struct name_entry *e);

/* Give an entry of the table another name, which is not in the table. */
void name_table_rename(struct name_table *t, struct name_entry *e, struct ws_str name);

/* Remove and return entries one after the other, in any order; NULL when none is left. `*from` is 0
 * at first; nothing may be added meanwhile. */
struct name_entry *name_table_pop(struct name_table *t, size_t *from);

/* Walk all entries in any order: first with NULL, then with the previous one, until NULL. Nothing
 * may be added or removed meanwhile. */
struct name_entry *name_table_next(const struct name_table *t, const struct name_entry *e);

void name_table_release(struct name_table *t); /* the entries are the caller's */

#endif
