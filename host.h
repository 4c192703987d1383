/* SPDX-License-Identifier: MIT
 *
 * The hosts that a server's peers are on, each with an account of the memory held for all peers on
 * it. A host is an IPv4 address or the 64-bit prefix of an IPv6 one, since a user of one address of
 * a prefix commonly has all of them. The structs of hosts are not counted: connections, rooms and
 * the application's accounts bound their number. Pure. */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "table.h"

struct host {
    struct table_entry entry; /* first, as table.h requires */
    struct account account;   /* below the budget's */
    uint64_t key;
    size_t references; /* connections, rooms and accounts that keep it */
};

struct host_table {
    struct table table;
    struct account *all; /* the budget's */
};

void host_table_init(struct host_table *hosts, struct account *all,
                     const uint8_t key[SIPHASH_KEY_SIZE]);
void host_table_release(struct host_table *hosts); /* all hosts have been released */

/* The key of an address of `len` bytes, 4 or 16. An IPv4 address in IPv6 notation (::ffff:1.2.3.4)
 * is the IPv4 address. */
uint64_t host_key(const uint8_t *address, size_t len);

/* Find the host with that key, or make it, and add one reference. NULL when out of memory. */
struct host *host_get(struct host_table *hosts, uint64_t key);
struct host *host_keep(struct host *h); /* one reference more; NULL is allowed; returns `h` */
void host_release(struct host_table *hosts, struct host *h); /* one less; NULL is allowed */

#endif
