/* SPDX-License-Identifier: MIT
 *
 * Sessions by host, in a hash table of chains. */
#include "eio_census.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

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

static struct eio_host **bucket(const struct eio_census *c, uint64_t key)
{
    uint64_t h = (key ^ c->seed) * 0x9e3779b97f4a7c15u;

    return &c->buckets[(h >> 32 ^ h) & (c->bucket_count - 1)];
}

/* Twice the buckets. When there is no memory for them the old ones do; the first ones must be
 * had. */
static bool grow(struct eio_census *c)
{
    struct eio_census larger = *c;

    if (c->host_count < c->bucket_count)
        return true;
    larger.bucket_count = c->bucket_count == 0 ? BUCKETS_MIN : c->bucket_count * 2;
    larger.buckets = calloc(larger.bucket_count, sizeof(struct eio_host *));
    if (larger.buckets == NULL)
        return c->bucket_count != 0;
    for (size_t i = 0; i < c->bucket_count; i++) {
        while (c->buckets[i] != NULL) {
            struct eio_host *host = c->buckets[i];
            struct eio_host **place = bucket(&larger, host->key);

            c->buckets[i] = host->next;
            host->next = *place;
            *place = host;
        }
    }
    free(c->buckets);
    *c = larger;
    return true;
}

static struct eio_host *host_new(struct eio_census *c, uint64_t key)
{
    struct eio_host *host = malloc(sizeof *host);
    struct eio_host **place = bucket(c, key);

    if (host == NULL)
        return NULL;
    *host = (struct eio_host){.next = *place, .count = 1, .key = key};
    *place = host;
    c->host_count++;
    return host;
}

struct eio_host *eio_census_add(struct eio_census *c, uint64_t key, size_t max)
{
    struct eio_host *host;

    if (max == 0 || !grow(c))
        return NULL;
    host = *bucket(c, key);
    while (host != NULL && host->key != key)
        host = host->next;
    if (host == NULL)
        return host_new(c, key);
    if (host->count >= max)
        return NULL;
    host->count++;
    return host;
}

void eio_census_remove(struct eio_census *c, struct eio_host *host)
{
    struct eio_host **link;

    if (host == NULL || --host->count > 0)
        return;
    link = bucket(c, host->key);
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    c->host_count--;
    free(host);
}

void eio_census_release(struct eio_census *c)
{
    for (size_t i = 0; i < c->bucket_count; i++) {
        while (c->buckets[i] != NULL) {
            struct eio_host *host = c->buckets[i];

            c->buckets[i] = host->next;
            free(host);
        }
    }
    free(c->buckets);
    *c = (struct eio_census){0};
}
