/* SPDX-License-Identifier: MIT
 *
 * --redis: the rooms of chat mode have members on all servers of a cluster, and so have the
 * namespaces of Socket.IO, Node's servers among them. And with --workers on all workers. */
#ifndef MINNOW_CLUSTER_H
#define MINNOW_CLUSTER_H

#include <stdbool.h>

#include "cluster/bus_redis.h"
#include "cluster/ws_cluster.h"
#include "socketio/sio_cluster.h"

struct minnow;

/* In place. All zero, and lookup_fd -1: there is none. */
struct minnow_cluster {
    struct bus *bus;
    struct ws_cluster *rooms;
    struct sio_cluster *socketio; /* NULL: --no-socketio */
    int lookup_fd;                /* to the process that looks up names; -1: none */
};

/* Join the cluster that the options name, if any, else that of the workers; before the sandbox,
 * and when the process is the user that it will be. Without --redis-optional it waits until a
 * Redis answers, or none does. False: the log says why. */
bool minnow_cluster_begin(struct minnow *minnow);

/* Before ws_server_free(). */
void minnow_cluster_end(struct minnow_cluster *c);

#endif
