/* SPDX-License-Identifier: MIT
 *
 * The client of a connection, and what is limited by its address: connections and handshakes. */
#ifndef CONN_CLIENT_H
#define CONN_CLIENT_H

#include "server.h"

void conn_client_init(struct ws_server *s);

/* Does the limit of connections let another one of `host` in? NULL: no host, no limit. */
bool conn_client_fits(const struct ws_server *s, const struct host *host);

/* A new connection takes over one reference to `host`, and counts for it. */
void conn_client_begin(struct ws_conn *c, struct host *host);
/* It was accepted to be refused: it counts for no limit. */
void conn_client_refused(struct ws_conn *c);
/* The connection is over. */
void conn_client_end(struct ws_conn *c);

/* Count an opening handshake. False: its address has made too many. */
bool conn_client_may_shake(struct ws_conn *c);

/* Does a limit hold for a client of `host`? Where the limit is the default, not for programs on
 * this machine: a proxy there brings the clients of many, and tests make thousands. Nor where the
 * address is not known. */
bool conn_client_is_limited(const struct host *host, bool given);

#endif
