/* SPDX-License-Identifier: MIT
 *
 * The hosts that a server's peers are on, each with an account of the memory held for all peers on
 * it, and with what is limited by address. A host is an IPv4 address or the 64-bit prefix of an
 * IPv6 one, since a user of one address of a prefix commonly has all of them. The structs of hosts
 * are not counted: connections, rooms and the application's accounts bound their number, and
 * HOST_RECENT_MAX does for those that nobody keeps any more. Pure. */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "rate.h"
#include "table.h"

/* Hosts that are kept for their buckets alone. Over that the one that was left first is forgotten:
 * limits of one address do not stop a client that has so many. */
enum { HOST_RECENT_MAX = 4096 };

struct host {
    struct table_entry entry; /* first, as table.h requires */
    struct account account;   /* below the budget's */
    uint64_t key;
    size_t references;             /* connections, rooms and accounts that keep it */
    size_t connections;            /* of them: those that count in max_per_ip */
    struct rate_bucket handshakes; /* all zero: none has been counted */
    struct host *newer;            /* while it is recent: nobody keeps it */
    struct host *older;
};

struct host_table {
    struct table table;
    struct account *all; /* the budget's */
    struct host *newest; /* of the recent */
    struct host *oldest;
    size_t recent_count;
};

void host_table_init(struct host_table *hosts, struct account *all,
                     const uint8_t key[SIPHASH_KEY_SIZE]);
void host_table_release(struct host_table *hosts); /* all hosts have been released */

/* Forget the recent hosts whose buckets are full again at `now_ms`. */
void host_table_sweep(struct host_table *hosts, uint64_t now_ms);

bool host_is_loopback(const struct host *h); /* 127.0.0.0/8, ::1 */

/* The key of an address of `len` bytes, 4 or 16. An IPv4 address in IPv6 notation (::ffff:1.2.3.4)
 * is the IPv4 address. */
uint64_t host_key(const uint8_t *address, size_t len);

/* Find the host with that key, or make it, and add one reference. NULL when out of memory. */
struct host *host_get(struct host_table *hosts, uint64_t key);
struct host *host_keep(struct host *h); /* one reference more; NULL is allowed; returns `h` */
/* One less; NULL is allowed. A host that nobody keeps any more is freed, or is recent if something
 * was taken from its bucket: else a client would get a full bucket with each connection. */
void host_release(struct host_table *hosts, struct host *h);

#endif
