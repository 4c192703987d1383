/* SPDX-License-Identifier: MIT
 *
 * Rooms over many processes: from ws_cluster_new() on, ws_publish() and ws_broadcast() reach the
 * members on all servers that have a cluster of that name on the same bus.
 *
 *     struct bus *bus = bus_redis_new(server, &options);
 *     struct ws_cluster *cluster = ws_cluster_new(server, bus, NULL);
 *
 * A message never comes back to the process that published it, so `except`, a connection of that
 * process, is kept. What ws_publish() returns counts the recipients of this process alone. Each
 * process encodes a message once. A room's channel is subscribed to while the room has members
 * here. What is promised, and what not: docs/cluster.md */
#ifndef CLUSTER_WS_CLUSTER_H
#define CLUSTER_WS_CLUSTER_H

#include "bus.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ws_cluster;

/* `name` is where the names of its channels begin, copied; NULL: "minnow". A server has one
 * cluster, which is its relay (ws_set_relay()). `b` belongs to the same server and must live
 * longer. NULL when out of memory or random bytes, and then nothing has changed. */
struct ws_cluster *ws_cluster_new(struct ws_server *s, struct bus *b, const char *name);

/* Before bus_free(). NULL is allowed. */
void ws_cluster_free(struct ws_cluster *c);

#ifdef __cplusplus
}
#endif

#endif
