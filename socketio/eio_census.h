/* SPDX-License-Identifier: MIT
 *
 * How many sessions each host has. A handshake on polling is one cheap GET, so that without a limit
 * one host could take all that max_sessions allows. It keeps nothing else and does no I/O. */
#ifndef SOCKETIO_EIO_CENSUS_H
#define SOCKETIO_EIO_CENSUS_H

#include <stddef.h>
#include <stdint.h>

#include "name_table.h"

struct eio_host {
    struct name_entry entry; /* first, as the table wants it */
    size_t count;            /* at least 1 */
    uint64_t key;            /* of ws_conn_host() */
};

struct eio_census {
    struct name_table hosts; /* its account pays for all */
};

/* Count one session more for host `key`. NULL when it has `max` already, or when memory is out. */
struct eio_host *eio_census_add(struct eio_census *c, uint64_t key, size_t max);
void eio_census_remove(struct eio_census *c, struct eio_host *host); /* NULL is allowed */
void eio_census_release(struct eio_census *c);

#endif
