/* SPDX-License-Identifier: MIT
 *
 * How many sessions each host has. A handshake on polling is one cheap GET, so that without a limit
 * one host could take all that max_sessions allows. It allocates nothing but a struct eio_host for
 * each host and does no I/O. */
#ifndef SOCKETIO_EIO_HOST_SESSIONS_H
#define SOCKETIO_EIO_HOST_SESSIONS_H

#include <stddef.h>
#include <stdint.h>

#include "../cluster/name_table.h"

struct eio_host {
    struct name_entry entry; /* first member, so that an entry can be cast to its host */
    size_t count;            /* at least 1 */
    uint64_t key;            /* of ws_conn_host() */
};

struct eio_host_sessions {
    struct name_table hosts; /* the hosts count in its account */
};

/* Count one session more for host `key`. NULL when it has `max` already, or when memory is out. */
struct eio_host *eio_host_sessions_add(struct eio_host_sessions *t, uint64_t key, size_t max);
/* Count one less, of what eio_host_sessions_add() returned; NULL is allowed. */
void eio_host_sessions_remove(struct eio_host_sessions *t, struct eio_host *host);
void eio_host_sessions_release(struct eio_host_sessions *t);

#endif
