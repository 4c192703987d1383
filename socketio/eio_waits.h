/* SPDX-License-Identifier: MIT
 *
 * Handshakes about which the application decides later. Each is on a connection whose request is
 * deferred: it comes again when the decision is there. */
#ifndef SOCKETIO_EIO_WAITS_H
#define SOCKETIO_EIO_WAITS_H

#include "eio_server.h"

struct eio_wait {
    struct name_entry entry; /* in server->waits, by `conn_id`; first member */
    uint64_t conn_id;
    uint64_t number; /* of the handshake: a connection may have one after the other */
    struct ws_conn *conn;
    bool decided;
    bool refused; /* by `text` */
    char text[EIO_REFUSAL_MAX + 1];
};

/* NULL when the connection has none. */
struct eio_wait *eio_wait_find(const struct eio_server *e, const struct ws_conn *c);

/* The handshake of the connection is over, however it ended; there may be none. */
void eio_wait_end(struct eio_server *e, const struct ws_conn *c);

/* Let all come again, to be refused: the server accepts no new sessions. */
void eio_waits_close(struct eio_server *e);

void eio_waits_release(struct eio_server *e);

#endif
