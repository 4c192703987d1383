/* SPDX-License-Identifier: MIT
 *
 * One of several processes that serve, see --workers: what it gets from its parent, and what it
 * does when the parent tells it to. minnow_workers.h is the parent's side. */
#ifndef MINNOW_WORKER_H
#define MINNOW_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/bus_local.h"

struct minnow;

enum {
    MINNOW_SOCKETS_MAX = 512, /* listening sockets */
    MINNOW_PROTOCOL = 1       /* version of all that a parent and a worker agree on */
};

/* The parent tells a new process by this variable that it is a worker:
 * "PROTOCOL NUMBER SLOT WORKERS IS_FIRST BUS SOCKET...": where the last ones are descriptors. */
#define MINNOW_WORKER_VARIABLE "MINNOW_WORKER"

/* Frames of the bus between a parent and its worker. */
enum minnow_frame {
    MINNOW_FRAME_READY = BUS_FRAME_OWN, /* to the parent: [clients that it serves, as digits, a
                                           space, and what the sandbox says] */
    MINNOW_FRAME_STOP,                  /* to the worker: as the first or second SIGTERM */
    MINNOW_FRAME_DRAIN                  /* to the worker: [ms, 4 bytes] serve whom you have, and end
                                           when they have gone, at the latest then */
};

/* In place. All zero: this process is no worker. */
struct minnow_worker {
    struct minnow *minnow;
    bool is_worker;
    uint32_t number;  /* that no other worker has at the same time */
    unsigned slot;    /* from 0 to workers - 1 */
    unsigned workers; /* how many there are */
    bool is_first;    /* the others start when this one serves: should it fail, none of them does */
    int bus_fd;
    int sockets[MINNOW_SOCKETS_MAX + 1]; /* ends with -1 */
    struct bus *bus;
    struct ws_timer *drain_timer;
    uint64_t drain_until_ms;
};

/* Read the variable and take it out of the environment. False, and a line is on stderr, where it is
 * not of a parent that this program understands. */
bool minnow_worker_read(struct minnow_worker *w);

/* A worker's share of the limits in `o`, and its sockets in place of the addresses. */
void minnow_worker_limit(struct minnow *minnow);

/* Begin to listen to the parent; the server is there. False without memory. */
bool minnow_worker_begin(struct minnow *minnow);

/* It serves. `line`: what the sandbox says, for the parent to print. */
void minnow_worker_ready(struct minnow *minnow, const char *line);

void minnow_worker_release(struct minnow_worker *w); /* before the server is freed */

#endif
