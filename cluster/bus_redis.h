/* SPDX-License-Identifier: MIT
 *
 * A bus over Redis, or Valkey: any number of processes on any number of machines. docs/cluster.md
 *
 * It uses two connections, one to publish and one to subscribe, with RESP3, or RESP2 where the
 * Redis is older than 6. It connects by itself, and again when the connection is lost. */
#ifndef CLUSTER_BUS_REDIS_H
#define CLUSTER_BUS_REDIS_H

#include "bus.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All is borrowed for as long as the bus lives. What is 0 or NULL has the default. */
struct bus_redis_options {
    const char *const *urls; /* tried in turn, each time from the first; ends with NULL. Those who
                                are to hear of each other must be at the same Redis: so where there
                                are several, a replica is passed over. See redis_url.h */
    size_t queue_max;        /* bytes that wait to be sent, such as messages while it is down, with
                                some 40 for each that it takes to keep it; a message more pushes out
                                the oldest, a question more is refused; 16 MiB */
    size_t message_max;      /* bytes of a message that comes; a larger one ends the connection;
                                64 MiB */
    unsigned ping_ms;        /* of silence until it is asked whether it is still there; 10 s */
    unsigned timeout_ms;     /* for that answer, for connecting, and for looking up a name; 5 s */
    unsigned retry_ms;       /* until the second try to connect, on average three quarters of it;
                                doubles with each up to 10 s; 100 ms */
    int lookup_fd;           /* where names are looked up, see redis_lookup.h; it stays the caller's
                                and is to be open until bus_free(). 0: by a thread, which is started
                                here if a URL has a name in it */
    void (*log)(void *arg, enum ws_log_level level, const char *line); /* NULL: none */
    void *log_arg;
};

/* Make a bus, which begins to connect in the next turn. NULL with errno: EINVAL for no URL, or one
 * that is wrong, which the log names without its login; ENOMEM; that of a look-up that cannot
 * begin, such as EMFILE. */
struct bus *bus_redis_new(struct ws_server *s, const struct bus_redis_options *options);

/* Why the last try to connect has failed, once all URLs have been tried since the bus was up; else
 * NULL. Valid until the next turn. */
const char *bus_redis_fault(const struct bus *b);

#ifdef __cplusplus
}
#endif

#endif
