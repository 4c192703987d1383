/* SPDX-License-Identifier: MIT
 *
 * Sessions by host; see eio_census.h. */
#include "eio_census.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* IPv4 in the low 32 bits. No IPv6 prefix looks like that: 0::/32 is IPv4 in another notation, and
 * is taken for what it means. */
static uint64_t ipv6_key(const struct in6_addr *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    size_t from = memcmp(address->s6_addr, mapped, sizeof mapped) == 0 ? 12 : 0;
    uint64_t key = 0;

    for (size_t i = from; i < (from == 0 ? 8u : 16u); i++)
        key = key << 8 | address->s6_addr[i];
    return key;
}

bool eio_host_key(const char *address, uint64_t *key)
{
    const char *colon = strrchr(address, ':');
    bool bracketed = address[0] == '[' && colon != NULL && colon > address && colon[-1] == ']';
    size_t len = colon == NULL ? 0 : (size_t)(colon - address) - (bracketed ? 2 : 0);
    char host[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    struct in_addr v4;

    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, address + bracketed, len);
    host[len] = '\0';
    if (!bracketed && inet_pton(AF_INET, host, &v4) == 1) {
        *key = ntohl(v4.s_addr);
        return true;
    }
    if (!bracketed || inet_pton(AF_INET6, host, &v6) != 1)
        return false;
    *key = ipv6_key(&v6);
    return true;
}

/* The table knows a host by the bytes of its key. */
static struct ws_str name_of(const uint64_t *key)
{
    return (struct ws_str){(const char *)key, sizeof *key};
}

static struct eio_host *host_new(struct eio_census *c, uint64_t key)
{
    struct eio_host *host = malloc(sizeof *host);

    if (host == NULL)
        return NULL;
    *host = (struct eio_host){.count = 1, .key = key};
    if (name_table_add(&c->hosts, &host->entry, name_of(&host->key)))
        return host;
    free(host);
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
    free(host);
}

void eio_census_release(struct eio_census *c)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&c->hosts, &from)) != NULL)
        free(e); /* the host's first member */
    name_table_release(&c->hosts);
}
