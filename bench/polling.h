/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO client on HTTP long polling, as a kind of connection of the load generator: it stands
 * behind client.h, which calls this where the protocol is STREAM_POLLING. A browser polls so: one
 * connection holds a GET that brings what the server has to say, another one carries the POSTs, one
 * at a time, and what has gathered while one was under way goes into the next. */
#ifndef POLLING_H
#define POLLING_H

#include "client.h"

/* The first connection is there: ask for a session, and then for the namespace. */
void polling_begin(struct client *c, struct client_plan *plan);

/* One of the two connections is ready: move bytes as far as they go. */
void polling_ready(struct client *c, struct client_plan *plan);

/* Send messages c->sent to c->started, unless a POST is under way: then they go with the next
 * one. */
void polling_flush(struct client *c, const struct client_plan *plan);

/* Close the connection of the POSTs, and forget all else. */
void polling_close(struct client *c);

#endif
