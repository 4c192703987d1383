/* SPDX-License-Identifier: MIT
 *
 * The parent's side of the bus between the workers of one machine (bus_local.h is a worker's): it
 * forwards messages to the workers that subscribe to their channel, counts subscribers, and passes
 * connections on, each with its descriptor. It runs on the loop of a server, which needs no client.
 *
 * It never waits for a worker: what one does not read is dropped, the oldest first, and counted. A
 * worker may have gone wrong: one that sends what is no frame, or subscribes to more than it may,
 * is cut off, and the others notice nothing. */
#ifndef CLUSTER_BUS_HUB_H
#define CLUSTER_BUS_HUB_H

#include "bus_link.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bus_hub;

struct bus_hub_events {
    /* A frame of the application's own types has come from a worker. Valid until return. */
    void (*frame)(void *arg, uint32_t worker, unsigned type, struct ws_str content);
    /* The worker is no more: it has closed its end, or was cut off. */
    void (*over)(void *arg, uint32_t worker);
    void *arg;
};

struct bus_hub_options {
    struct bus_link_options link;
    size_t max_names; /* bytes of names that one worker may subscribe to; 0: 256 MiB */
};

/* `o` (NULL: the defaults) and `events` are copied. NULL: out of memory, or no random bytes. */
struct bus_hub *bus_hub_new(struct ws_server *s, const struct bus_hub_options *o,
                            const struct bus_hub_events *events);

/* A worker on the other side of `fd`, a non-blocking SOCK_STREAM Unix socket, which is taken in any
 * case. `worker` is a number that no other one has. Returns 0, or WS_ERR_NOMEM and then there is no
 * such worker. */
int bus_hub_add(struct bus_hub *h, uint32_t worker, int fd);
/* Cut it off. Nothing happens when there is none. Allowed in events. */
void bus_hub_remove(struct bus_hub *h, uint32_t worker);
/* The same for one whose process has ended: what it has sent until then is passed on first. Calls
 * the events, so it is not allowed in them. */
void bus_hub_ended(struct bus_hub *h, uint32_t worker);

/* Send a frame of the application's own type. Returns as bus_link_send(); WS_ERR_CLOSED where there
 * is no such worker. */
int bus_hub_tell(struct bus_hub *h, uint32_t worker, unsigned type, struct ws_str content);

struct bus_hub_stats {
    size_t workers;
    unsigned long long forwarded;   /* messages, once for each worker that got it */
    unsigned long long dropped;     /* frames */
    unsigned long long handed_over; /* connections */
    unsigned long long returned;    /* of them: to the worker that they came from */
    unsigned long long lost;        /* of them: closed */
};
struct bus_hub_stats bus_hub_stats(const struct bus_hub *h);

void bus_hub_free(struct bus_hub *h); /* before ws_server_free(); NULL is allowed */

#ifdef __cplusplus
}
#endif

#endif
