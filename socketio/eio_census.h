/* SPDX-License-Identifier: MIT
 *
 * How many sessions each host has on polling: a handshake there is one cheap GET, so that without a
 * limit one host could take all that max_sessions allows. A host is an IPv4 address or the 64-bit
 * prefix of an IPv6 one, since whoever has one address of a prefix commonly has them all. Pure. */
#ifndef SOCKETIO_EIO_CENSUS_H
#define SOCKETIO_EIO_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "name_table.h"

struct eio_host {
    struct name_entry entry; /* first, as the table wants it */
    size_t count;            /* at least 1 */
    uint64_t key;
};

/* All zero but for the key of the table is empty. */
struct eio_census {
    struct name_table hosts;
};

/* The host of an address ("1.2.3.4:80", "[2001:db8::1]:80") as a number. False for what is no IP
 * address: behind a Unix socket there are no hosts to tell apart. */
bool eio_host_key(const char *address, uint64_t *key);

/* Count one session more for host `key`. NULL when it has `max` already, or when memory is out. */
struct eio_host *eio_census_add(struct eio_census *c, uint64_t key, size_t max);
void eio_census_remove(struct eio_census *c, struct eio_host *host); /* NULL is allowed */
void eio_census_release(struct eio_census *c);

#endif
