/* SPDX-License-Identifier: MIT
 *
 * A chained hash table; see name_table.h. */
#include "name_table.h"

#include <string.h>

enum { BUCKETS_MIN = 8 };

static uint32_t hash_name(const struct name_table *t, struct ws_str name)
{
    return (uint32_t)ws_siphash(t->key, name.data, name.len);
}

static struct name_entry **bucket(const struct name_table *t, uint32_t hash)
{
    return &t->buckets[hash & (t->size - 1)];
}

void name_table_init(struct name_table *t, struct ws_account *account,
                     const uint8_t key[WS_SIPHASH_KEY_SIZE])
{
    *t = (struct name_table){.account = account};
    memcpy(t->key, key, sizeof t->key);
}

struct name_entry *name_table_find(const struct name_table *t, struct ws_str name)
{
    uint32_t hash = hash_name(t, name);
    struct name_entry *e = t->size == 0 ? NULL : *bucket(t, hash);

    while (e != NULL && (e->hash != hash || e->len != name.len ||
                         (e->len != 0 && memcmp(e->name, name.data, e->len) != 0)))
        e = e->next;
    return e;
}

static void put(struct name_table *t, struct name_entry *e)
{
    struct name_entry **place = bucket(t, e->hash);

    e->next = *place;
    *place = e;
}

/* False, and nothing has changed, when out of memory. */
static bool resize(struct name_table *t, size_t size)
{
    struct name_table other = *t;

    other.size = size;
    other.buckets = ws_account_take(t->account, size * sizeof(struct name_entry *));
    if (other.buckets == NULL)
        return false;
    for (size_t i = 0; i < t->size; i++) {
        while (t->buckets[i] != NULL) {
            struct name_entry *e = t->buckets[i];

            t->buckets[i] = e->next;
            put(&other, e);
        }
    }
    name_table_release(t);
    *t = other;
    return true;
}

static void set_name(struct name_table *t, struct name_entry *e, struct ws_str name)
{
    e->name = name.data;
    e->len = (uint32_t)name.len;
    e->hash = hash_name(t, name);
    put(t, e);
}

bool name_table_add(struct name_table *t, struct name_entry *e, struct ws_str name)
{
    if (t->count >= t->size && !resize(t, t->size == 0 ? BUCKETS_MIN : t->size * 2) && t->size == 0)
        return false;
    set_name(t, e, name);
    t->count++;
    return true;
}

static void take_out(struct name_table *t, struct name_entry *e)
{
    struct name_entry **link = bucket(t, e->hash);

    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
}

void name_table_remove(struct name_table *t, struct name_entry *e)
{
    take_out(t, e);
    if (--t->count == 0)
        name_table_release(t); /* an empty table owns no memory */
    else if (t->size > BUCKETS_MIN && t->count <= t->size / 4)
        resize(t, t->size / 2);
}

void name_table_rename(struct name_table *t, struct name_entry *e, struct ws_str name)
{
    take_out(t, e);
    set_name(t, e, name);
}

struct name_entry *name_table_pop(struct name_table *t, size_t *from)
{
    for (; *from < t->size; ++*from) {
        struct name_entry *e = t->buckets[*from];

        if (e == NULL)
            continue;
        t->buckets[*from] = e->next;
        t->count--;
        return e;
    }
    return NULL;
}

struct name_entry *name_table_next(const struct name_table *t, const struct name_entry *e)
{
    size_t i = 0;

    if (e != NULL && e->next != NULL)
        return e->next;
    if (e != NULL)
        i = (e->hash & (t->size - 1)) + 1;
    while (i < t->size && t->buckets[i] == NULL)
        i++;
    return i < t->size ? t->buckets[i] : NULL;
}

void name_table_release(struct name_table *t)
{
    ws_account_give(t->account, t->buckets, t->size * sizeof(struct name_entry *));
    t->buckets = NULL;
    t->size = t->count = 0;
}
