/* SPDX-License-Identifier: MIT
 *
 * A bus between the workers of one machine, each with a socket pair to their parent, which runs a
 * hub (bus_hub.h). It needs nothing else: no Redis, no file, no port. Its promise is that of bus.h;
 * a worker does not get its own messages back.
 *
 * The same socket passes connections to other workers: a request that belongs to a session of
 * another worker is handed over with its descriptor before it is answered. */
#ifndef CLUSTER_BUS_LOCAL_H
#define CLUSTER_BUS_LOCAL_H

#include "bus.h"
#include "bus_link.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bus_local_events {
    /* A frame of the application's own types has come from the parent. Valid until return. May be
     * NULL. */
    void (*frame)(void *arg, unsigned type, struct ws_str content);
    /* The parent is gone: the bus is down for good. May be NULL. */
    void (*over)(void *arg);
    void *arg;
};

/* Takes `fd`, a non-blocking SOCK_STREAM Unix socket, in any case. The bus is up when the hub has
 * answered, and down for good when the hub is gone. Connections that come over it get ws_adopt().
 * `o` (NULL: the defaults) and `events` (NULL: none) are copied. NULL: out of memory, no random
 * bytes, or epoll does not take `fd`. */
struct bus *bus_local_new(struct ws_server *s, int fd, const struct bus_link_options *o,
                          const struct bus_local_events *events);

/* Is there a worker of this number now? It may be this one. */
bool bus_local_has(const struct bus *b, uint32_t worker);

/* In on_head and on_upgrade of `c`: let another worker answer. Returns 0, and then `c` ends here
 * without another callback; should that worker be gone when the parent has the connection, it comes
 * back to this one as a new one, and bus_local_has() is false then. WS_ERR_CLOSED where there is no
 * such worker, or as ws_detach(); WS_ERR_FULL where too many are on their way: then the request is
 * still to be answered here. */
int bus_local_hand_over(struct bus *b, uint32_t worker, struct ws_conn *c);

/* Send the parent a frame of the application's own type. Returns as bus_link_send(). */
int bus_local_tell(struct bus *b, unsigned type, struct ws_str content);

/* Try to send all that waits, now; so does bus_free(). False when something waits still. */
bool bus_local_flush(struct bus *b);

#ifdef __cplusplus
}
#endif

#endif
