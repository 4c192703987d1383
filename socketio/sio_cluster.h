/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO server in a cluster: with others over a bus, such as Redis (cluster/bus.h), it acts
 * as one server. Servers of Node may be among them, which have @socket.io/redis-adapter 8, and in
 * its classic dialect programs that only emit, by @socket.io/redis-emitter.
 *
 *     struct sio_server *io = sio_server_new(ws, &options);
 *     struct sio_cluster *cluster = sio_cluster_new(io, bus, &(struct sio_cluster_options){0});
 *     ...
 *     sio_cluster_free(cluster);
 *     bus_free(bus);
 *     ws_server_free(ws);
 *     sio_server_free(io);
 *
 * From then on what sio.h does for the sockets of a target it does in all servers: sio_publish(),
 * sio_emit_all(), sio_broadcast(), sio_request_all(), sio_join_all(), sio_leave_all(),
 * sio_disconnect_all(); and sio_fetch(), sio_rooms(), sio_server_emit(), sio_server_request() ask
 * them. A target that has `is_local` set is about this server alone. Messages come at most once,
 * those of one server in their order; while the bus is down they may be lost. docs/cluster.md */
#ifndef SOCKETIO_SIO_CLUSTER_H
#define SOCKETIO_SIO_CLUSTER_H

#include "../cluster/bus.h"
#include "sio.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sio_cluster;

/* All zero means what Node does without options. Borrowed until sio_cluster_new() returns. All
 * servers of a cluster need the same `prefix` and `sharded`; the others each may choose. */
struct sio_cluster_options {
    const char *prefix;   /* of all channels; NULL: "socket.io" */
    bool sharded;         /* speak as createShardedAdapter() of Node, which needs Redis 7 and a
                             bus that has shards. It cannot ask others for their rooms */
    bool private_answers; /* answer on a channel of the one who asks, and not on one of all:
                             publishOnSpecificResponseChannel of Node. Less work for all others */
    size_t max_owed;      /* broadcasts of others whose acknowledgements this server collects at the
                             same time; more are not sent to its clients. 0: 10,000 */
    size_t max_answer; /* bytes of the list in one answer about sockets or rooms; what is beyond is
                             left out. Where the bus does not take that much, the list is empty.
                             0: 8 MiB, half of what the bus takes by itself */
};

/* Join the cluster with all namespaces, those too that are opened later. Call it before clients
 * come: of those that are there already others see no auth. `bus` is borrowed until
 * sio_cluster_free(). NULL when out of memory, or when the server has been in a cluster before. */
struct sio_cluster *sio_cluster_new(struct sio_server *io, struct bus *bus,
                                    const struct sio_cluster_options *options);

/* Leave it, before bus_free() and sio_server_free(). Questions that wait for others end with their
 * timeout. Not from a callback of the bus. NULL is allowed. */
void sio_cluster_free(struct sio_cluster *c);

#ifdef __cplusplus
}
#endif

#endif
