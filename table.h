/* SPDX-License-Identifier: MIT
 *
 * A hash table of things that peers name: rooms, hosts. Each has a `struct table_entry` as its
 * first member, and contains its own name; the table allocates only its buckets, which may be
 * counted. The hash is SipHash under a secret key. Pure. */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "siphash.h"

struct table_entry {
    struct table_entry *next; /* in the same bucket */
    uint64_t hash;
};

struct table {
    struct table_entry **buckets; /* NULL while there has been no entry */
    size_t size;                  /* a power of two, or 0 */
    size_t count;
    struct account *account;       /* NULL: the buckets are not counted */
    uint8_t key[SIPHASH_KEY_SIZE]; /* secret, so that a peer cannot find names that collide */
};

void table_init(struct table *t, struct account *account, const uint8_t key[SIPHASH_KEY_SIZE]);
void table_release(struct table *t); /* all entries have been removed */

uint64_t table_hash(const struct table *t, const void *name, size_t len);

/* The first entry that may have this hash; those behind it are its `next`. NULL: none. */
struct table_entry *table_first(const struct table *t, uint64_t hash);

/* Add an entry whose name is not in the table. Returns 0, or ACCOUNT_FULL or ACCOUNT_NOMEM with
 * nothing changed. Only the first entry can fail: later ones can do without more buckets. */
int table_add(struct table *t, struct table_entry *e, uint64_t hash);
void table_remove(struct table *t, struct table_entry *e);

#endif
