/* SPDX-License-Identifier: MIT
 *
 * Sessions by host; see eio_census.h. */
#include "eio_census.h"

/* The table knows a host by the bytes of its key. */
static struct ws_str name_of(const uint64_t *key)
{
    return (struct ws_str){(const char *)key, sizeof *key};
}

static struct eio_host *host_new(struct eio_census *c, uint64_t key)
{
    struct eio_host *host = ws_account_take(c->hosts.account, sizeof *host);

    if (host == NULL)
        return NULL;
    host->count = 1;
    host->key = key;
    if (name_table_add(&c->hosts, &host->entry, name_of(&host->key)))
        return host;
    ws_account_give(c->hosts.account, host, sizeof *host);
    return NULL;
}

struct eio_host *eio_census_add(struct eio_census *c, uint64_t key, size_t max)
{
    struct eio_host *host = (struct eio_host *)name_table_find(&c->hosts, name_of(&key));

    if (host == NULL)
        return max == 0 ? NULL : host_new(c, key);
    if (host->count >= max)
        return NULL;
    host->count++;
    return host;
}

void eio_census_remove(struct eio_census *c, struct eio_host *host)
{
    if (host == NULL || --host->count > 0)
        return;
    name_table_remove(&c->hosts, &host->entry);
    ws_account_give(c->hosts.account, host, sizeof *host);
}

void eio_census_release(struct eio_census *c)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&c->hosts, &from)) != NULL)
        ws_account_give(c->hosts.account, e, sizeof(struct eio_host)); /* e is its first member */
    name_table_release(&c->hosts);
}
