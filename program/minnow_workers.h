/* SPDX-License-Identifier: MIT
 *
 * --workers: the parent of several processes that serve. It keeps the listening sockets and accepts
 * nobody; it starts workers and replaces those that crash, forwards a stop, and on SIGHUP replaces
 * all of them by new ones of the program that lies in its place then. What passes between workers
 * passes through it (cluster/bus_hub.h). docs/cluster.md */
#ifndef MINNOW_WORKERS_H
#define MINNOW_WORKERS_H

#include "minnow.h"

/* Serve with options->workers of them until a signal stops it. Returns the exit status. */
int minnow_workers_serve(struct minnow *minnow);

#endif
