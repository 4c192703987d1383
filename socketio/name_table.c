/* SPDX-License-Identifier: MIT
 *
 * A chained hash table; see name_table.h. */
#include "name_table.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 8 };

/* FNV-1a from a secret start, stirred at the end because buckets use the low bits only. */
static uint32_t hash_name(const struct name_table *t, struct ws_str name)
{
    uint64_t h = t->seed ^ 0xcbf29ce484222325u;

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (uint8_t)name.data[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static struct name_entry **bucket(const struct name_table *t, uint32_t hash)
{
    return &t->buckets[hash & (t->size - 1)];
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

static bool grow(struct name_table *t)
{
    struct name_table larger = {
        .size = t->size == 0 ? BUCKETS_MIN : t->size * 2, .count = t->count, .seed = t->seed};

    larger.buckets = calloc(larger.size, sizeof *larger.buckets);
    if (larger.buckets == NULL)
        return t->size != 0;
    for (size_t i = 0; i < t->size; i++) {
        while (t->buckets[i] != NULL) {
            struct name_entry *e = t->buckets[i];

            t->buckets[i] = e->next;
            put(&larger, e);
        }
    }
    free(t->buckets);
    *t = larger;
    return true;
}

bool name_table_add(struct name_table *t, struct name_entry *e, struct ws_str name)
{
    if (t->count >= t->size && !grow(t))
        return false;
    e->name = name.data;
    e->len = (uint32_t)name.len;
    e->hash = hash_name(t, name);
    put(t, e);
    t->count++;
    return true;
}

void name_table_remove(struct name_table *t, struct name_entry *e)
{
    struct name_entry **link = bucket(t, e->hash);

    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    t->count--;
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

void name_table_release(struct name_table *t)
{
    free(t->buckets);
    *t = (struct name_table){.seed = t->seed};
}
