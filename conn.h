/* SPDX-License-Identifier: MIT
 *
 * The life of a connection, as the loop sees it. */
#ifndef CONN_H
#define CONN_H

#include "server.h"

/* Take over the accepted descriptor `fd`, whose peer is on `host` (NULL: unknown), and one
 * reference to `host`. `proxied`: the peer is a trusted proxy, and `host` is NULL. NULL: `fd` was
 * closed. */
struct ws_conn *conn_new(struct ws_server *s, int fd, struct host *host, bool proxied);
/* `data[0..len)` was received of a new connection before it came here. It is handled at the end of
 * the turn, not in this call. */
void conn_received(struct ws_conn *c, const void *data, size_t len);
void conn_ready(struct ws_conn *c, uint32_t events); /* one event of a batch */
/* The end of a turn for `c`, which was touched and is not dead: everything that a callback, an
 * event or a timer left to be done. Called by the loop alone, once for each time that `c` was
 * touched, and never from inside a callback; it calls back, and `c` may be CONN_DEAD after it, but
 * is not freed.
 * The steps, in an order that matters:
 *
 *   1. send what is queued         before input, whose answers might find a full queue
 *   2. decide whether it is paused by what is queued after that
 *   3. go on with input that had to wait, stashed since it was paused, or since its share of the
 *                                  turn was used up
 *   4. end it, if the peer has shut down its side and all that came before is answered
 *   5. on_drain, if it is owed     after the input, whose answers may have filled the queue again
 *   6. free the input that is empty, start the deadlines of input and output that are unfinished
 *   7. FIN, or the end, if it is lingering and nothing is queued
 *   8. tell epoll what to wait for
 *
 * What is sent in steps 3 and 5 touches `c` again and leaves at the end of the next turn. */
void conn_settle(struct ws_conn *c);
void conn_stop(struct ws_conn *c); /* the server stops */
/* The server waits no longer. Read what has come, then end the connection. */
void conn_give_up(struct ws_conn *c);
void conn_stop_waiting(struct ws_conn *c); /* end it, if the peer has acknowledged our FIN */

#endif
