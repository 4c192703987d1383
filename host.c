/* SPDX-License-Identifier: MIT
 *
 * Hosts by their keys; see host.h. */
#include "host.h"

#include <assert.h>
#include <string.h>

#include "block.h"

/* IPv4 in the low 32 bits. No IPv6 prefix in use looks like that: 0::/32 is reserved; of it only
 * ::1 (key 0) and IPv4 in IPv6 notation occur. */
uint64_t host_key(const uint8_t *address, size_t len)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    size_t from = len == 16 && memcmp(address, mapped, sizeof mapped) == 0 ? sizeof mapped : 0;
    size_t to = from == 0 && len == 16 ? 8 : len;
    uint64_t key = 0;

    for (size_t i = from; i < to; i++)
        key = key << 8 | address[i];
    return key;
}

bool host_is_loopback(const struct host *h)
{
    return h->key == 0 || h->key >> 24 == 127;
}

void host_table_init(struct host_table *hosts, struct account *all,
                     const uint8_t key[SIPHASH_KEY_SIZE])
{
    *hosts = (struct host_table){.all = all};
    table_init(&hosts->table, NULL, key);
}

/* --- the recent ------------------------------------------------------------------------------- */

static void recent_add(struct host_table *hosts, struct host *h)
{
    h->older = hosts->newest;
    h->newer = NULL;
    *(h->older == NULL ? &hosts->oldest : &h->older->newer) = h;
    hosts->newest = h;
    hosts->recent_count++;
}

static void recent_remove(struct host_table *hosts, struct host *h)
{
    *(h->older == NULL ? &hosts->oldest : &h->older->newer) = h->newer;
    *(h->newer == NULL ? &hosts->newest : &h->newer->older) = h->older;
    hosts->recent_count--;
}

static void host_free(struct host_table *hosts, struct host *h)
{
    assert(h->account.used == 0 && h->connections == 0);
    table_remove(&hosts->table, &h->entry);
    block_free(h, sizeof *h);
}

static void forget(struct host_table *hosts, struct host *h)
{
    recent_remove(hosts, h);
    host_free(hosts, h);
}

void host_table_sweep(struct host_table *hosts, uint64_t now_ms)
{
    struct host *h = hosts->oldest;

    while (h != NULL) {
        struct host *next = h->newer;

        if (rate_is_full(&h->handshakes, now_ms))
            forget(hosts, h);
        h = next;
    }
}

void host_table_release(struct host_table *hosts)
{
    while (hosts->oldest != NULL)
        forget(hosts, hosts->oldest);
    table_release(&hosts->table);
}

/* --- hosts ------------------------------------------------------------------------------------ */

static struct host *host_new(struct host_table *hosts, uint64_t key, uint64_t hash)
{
    struct host *h = block_new(sizeof *h);

    if (h == NULL)
        return NULL;
    *h = (struct host){.account.above = hosts->all, .key = key};
    if (table_add(&hosts->table, &h->entry, hash) == 0)
        return h;
    block_free(h, sizeof *h);
    return NULL;
}

struct host *host_get(struct host_table *hosts, uint64_t key)
{
    uint64_t hash = table_hash(&hosts->table, &key, sizeof key);
    struct host *h = (struct host *)table_first(&hosts->table, hash);

    while (h != NULL && h->key != key)
        h = (struct host *)h->entry.next;
    if (h != NULL && h->references == 0)
        recent_remove(hosts, h);
    return host_keep(h != NULL ? h : host_new(hosts, key, hash));
}

struct host *host_keep(struct host *h)
{
    if (h != NULL)
        h->references++;
    return h;
}

void host_release(struct host_table *hosts, struct host *h)
{
    if (h == NULL || --h->references > 0)
        return;
    if (h->handshakes.full_ns == 0) {
        host_free(hosts, h);
        return;
    }
    recent_add(hosts, h);
    if (hosts->recent_count > HOST_RECENT_MAX)
        forget(hosts, hosts->oldest);
}
