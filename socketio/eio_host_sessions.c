/* SPDX-License-Identifier: MIT
 *
 * Sessions by host; see eio_host_sessions.h. */
#include "eio_host_sessions.h"

/* The name of a host in the table: the bytes of its key. */
static struct ws_str name_of(const uint64_t *key)
{
    return (struct ws_str){(const char *)key, sizeof *key};
}

static struct eio_host *host_new(struct eio_host_sessions *t, uint64_t key)
{
    struct eio_host *host = ws_account_take(t->hosts.account, sizeof *host);

    if (host == NULL)
        return NULL;
    host->count = 1;
    host->key = key;
    if (name_table_add(&t->hosts, &host->entry, name_of(&host->key)))
        return host;
    ws_account_give(t->hosts.account, host, sizeof *host);
    return NULL;
}

struct eio_host *eio_host_sessions_add(struct eio_host_sessions *t, uint64_t key, size_t max)
{
    struct eio_host *host = (struct eio_host *)name_table_find(&t->hosts, name_of(&key));

    if (host == NULL)
        return max == 0 ? NULL : host_new(t, key);
    if (host->count >= max)
        return NULL;
    host->count++;
    return host;
}

void eio_host_sessions_remove(struct eio_host_sessions *t, struct eio_host *host)
{
    if (host == NULL || --host->count > 0)
        return;
    name_table_remove(&t->hosts, &host->entry);
    ws_account_give(t->hosts.account, host, sizeof *host);
}

void eio_host_sessions_release(struct eio_host_sessions *t)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&t->hosts, &from)) != NULL)
        ws_account_give(t->hosts.account, e, sizeof(struct eio_host)); /* e is its first member */
    name_table_release(&t->hosts);
}
