/* SPDX-License-Identifier: MIT
 *
 * The hosts that a server's peers are on, each with an account of what is held for all of them
 * together. A host is an IPv4 address or the 64-bit prefix of an IPv6 one, since whoever has one
 * address of a prefix commonly has them all. The hosts themselves are counted nowhere: there are no
 * more of them than connections. Pure. */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "table.h"

struct host {
    struct table_entry entry; /* first, as the table wants it */
    struct account account;   /* below the budget's */
    uint64_t key;
    size_t references; /* connections and rooms that keep it */
};

struct host_table {
    struct table table;
    struct account *all; /* the budget's */
};

void host_table_init(struct host_table *hosts, struct account *all,
                     const uint8_t key[SIPHASH_KEY_SIZE]);
void host_table_release(struct host_table *hosts); /* all have been released */

/* The key of an address of `len` bytes, 4 or 16. An IPv4 address in IPv6 notation (::ffff:1.2.3.4)
 * is the IPv4 address. */
uint64_t host_key(const uint8_t *address, size_t len);

/* Find the host with that key, or make it: with one reference more. NULL when out of memory. */
struct host *host_get(struct host_table *hosts, uint64_t key);
struct host *host_keep(struct host *h); /* one reference more; NULL is allowed; returns `h` */
void host_release(struct host_table *hosts, struct host *h); /* one less; NULL is allowed */

#endif
