/* SPDX-License-Identifier: MIT
 *
 * A chained hash table; see table.h. */
#include "table.h"

#include <string.h>

#include "block.h"

enum { BUCKETS_MIN = 16 };

void table_init(struct table *t, struct account *account, const uint8_t key[SIPHASH_KEY_SIZE])
{
    *t = (struct table){.account = account};
    memcpy(t->key, key, sizeof t->key);
}

void table_release(struct table *t)
{
    size_t size = t->size * sizeof(struct table_entry *);

    if (t->account != NULL)
        account_free(t->account, t->buckets, size);
    else
        block_free(t->buckets, size);
    t->buckets = NULL;
    t->size = 0;
}

uint64_t table_hash(const struct table *t, const void *name, size_t len)
{
    return siphash(t->key, name, len);
}

static struct table_entry **bucket(const struct table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->size - 1)];
}

struct table_entry *table_first(const struct table *t, uint64_t hash)
{
    return t->size == 0 ? NULL : *bucket(t, hash);
}

static void put(struct table *t, struct table_entry *e)
{
    struct table_entry **place = bucket(t, e->hash);

    e->next = *place;
    *place = e;
}

static int grow(struct table *t)
{
    struct table larger = *t;
    int error = ACCOUNT_NOMEM;
    size_t size;

    larger.size = t->size == 0 ? BUCKETS_MIN : t->size * 2;
    size = larger.size * sizeof(struct table_entry *);
    larger.buckets = t->account == NULL ? block_new(size)
                                        : account_new(t->account, size, ACCOUNT_ESSENTIAL, &error);
    if (larger.buckets == NULL)
        return t->size == 0 ? error : 0;
    memset(larger.buckets, 0, size);
    for (size_t i = 0; i < t->size; i++) {
        while (t->buckets[i] != NULL) {
            struct table_entry *e = t->buckets[i];

            t->buckets[i] = e->next;
            put(&larger, e);
        }
    }
    table_release(t);
    *t = larger;
    return 0;
}

int table_add(struct table *t, struct table_entry *e, uint64_t hash)
{
    int error = t->count >= t->size ? grow(t) : 0;

    if (error != 0)
        return error;
    e->hash = hash;
    put(t, e);
    t->count++;
    return 0;
}

void table_remove(struct table *t, struct table_entry *e)
{
    struct table_entry **link = bucket(t, e->hash);

    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    if (--t->count == 0)
        table_release(t); /* an idle server holds nothing */
}
