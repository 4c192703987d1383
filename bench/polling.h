/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO client on HTTP long polling. client.c calls it for connections whose protocol is
 * STREAM_POLLING. It does what a browser does: one connection holds a GET, which returns what the
 * server sends; another one sends POSTs, one at a time. Messages that become due during a POST are
 * sent with the next one. */
#ifndef POLLING_H
#define POLLING_H

#include "client.h"

/* The first connection is open: ask for a session, and then for the namespace. */
void polling_begin(struct client *c, struct client_plan *plan);

/* One of the two connections is ready: move bytes as far as they go. */
void polling_ready(struct client *c, struct client_plan *plan);

/* Send messages c->sent to c->started, unless a POST is under way: then they go with the next
 * one. */
void polling_flush(struct client *c, const struct client_plan *plan);

/* Close the connection of the POSTs, and free the rest. */
void polling_close(struct client *c);

#endif
