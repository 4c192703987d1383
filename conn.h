/* SPDX-License-Identifier: MIT
 *
 * The life of a connection, as the loop sees it. */
#ifndef CONN_H
#define CONN_H

#include "server.h"

/* Take over the accepted descriptor `fd`, whose peer is on `host` (NULL: on none that is known),
 * and one reference to that. NULL: it had to be closed. */
struct ws_conn *conn_new(struct ws_server *s, int fd, struct host *host);
void conn_ready(struct ws_conn *c, uint32_t events); /* one event of a batch */
/* The end of a turn for `c`: send what has gathered, go on with input that had to wait. */
void conn_settle(struct ws_conn *c);
void conn_stop(struct ws_conn *c); /* the server stops */
/* The server waits no longer. What came in time is heard before the connection is lost. */
void conn_give_up(struct ws_conn *c);
void conn_stop_waiting(struct ws_conn *c); /* if the peer has all that it is owed */

#endif
