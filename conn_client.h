/* SPDX-License-Identifier: MIT
 *
 * The client of a connection, and what is limited by its address: connections and handshakes. */
#ifndef CONN_CLIENT_H
#define CONN_CLIENT_H

#include "server.h"

/* Read ws_options.trust_proxy, whose items have no fault. False: out of memory. */
bool conn_client_init(struct ws_server *s);
void conn_client_release(struct ws_server *s);

/* --- by its socket ---------------------------------------------------------------------------- */

/* Is a peer with this address (len 0: of a Unix socket) a trusted proxy? It has no host of its own:
 * its clients have. */
bool conn_client_is_proxy(const struct ws_server *s, const struct address *peer);

/* Does the limit of connections let another one of `host` in? NULL: no host, no limit. */
bool conn_client_fits(const struct ws_server *s, const struct host *host);

/* A new connection takes over one reference to `host`, and counts for it. */
void conn_client_begin(struct ws_conn *c, struct host *host);
/* It was accepted to be refused: it counts for no limit. */
void conn_client_refused(struct ws_conn *c);
/* The connection is over. */
void conn_client_end(struct ws_conn *c);

/* --- by a trusted proxy ----------------------------------------------------------------------- */

/* The first byte of a request has come: it is not known whose it is. */
void conn_client_forget(struct ws_conn *c);
/* The head of a request has come: note whom the proxy names. False: the address has too many
 * connections. */
bool conn_client_named(struct ws_conn *c, const struct http_request *r);
/* The request is answered, and the connection may be used for another client's: it does not count
 * for this one any more, whose address is still known. */
void conn_client_answered(struct ws_conn *c);

/* Is the header of the PROXY protocol due, or a part of it? */
bool conn_client_header_due(const struct ws_conn *c);
/* Take what comes of it. Returns how many bytes were consumed, 0 when it needs more, or a negated
 * status to refuse with. */
int conn_client_header(struct ws_conn *c, const uint8_t *data, size_t len);
/* A header like the one that came, for whoever gets the connection next; empty where the peer has
 * to send none. Valid until a response is written. */
struct ws_str conn_client_header_again(struct ws_conn *c);

/* --- limits ----------------------------------------------------------------------------------- */

/* Count an opening handshake. False: its address has made too many. */
bool conn_client_may_shake(struct ws_conn *c);

/* Does a limit hold for a client of `host`? Where the limit is the default, not for programs on
 * this machine: a proxy there brings the clients of many, and tests make thousands. Nor where the
 * address is not known. */
bool conn_client_is_limited(const struct host *host, bool given);

#endif
