/* SPDX-License-Identifier: MIT
 *
 * A bus for tests, without any connection: servers of one process, in one thread. What is published
 * comes in the next turn of each server that subscribes, the publisher's too, as from Redis. */
#ifndef CLUSTER_TESTS_LOOP_BUS_H
#define CLUSTER_TESTS_LOOP_BUS_H

#include "../bus.h"

struct loop_bus;

/* All zero is empty. It must live longer than its buses. */
struct loop_net {
    struct loop_bus *first;
};

/* A bus that is up from the start. */
struct bus *loop_bus_new(struct loop_net *net, struct ws_server *s);

/* Lose the connection, or get it back. What is published meanwhile is lost. Calls back. */
void loop_bus_set_up(struct bus *b, bool up);

/* Subscriptions that others know, and how often they were told of one. */
size_t loop_bus_told(const struct bus *b);
size_t loop_bus_tellings(const struct bus *b);

/* The next calls of bus_publish() or bus_count() fail with this; 0: they do not. */
void loop_bus_fail(struct bus *b, int error);

/* A longer message is WS_ERR_FULL; 0: all are taken. */
void loop_bus_bound(struct bus *b, size_t max);

#endif
