/* SPDX-License-Identifier: MIT
 *
 * A connection of Socket.IO: one Engine.IO session, and the packet that waits for its
 * attachments. */
#ifndef SOCKETIO_SIO_CONN_H
#define SOCKETIO_SIO_CONN_H

#include "sio_packet.h"
#include "sio_server.h"

/* Make the connection of a session that has just opened. NULL when out of memory. */
struct sio_conn *sio_conn_new(struct sio_server *io, struct eio_session *engine,
                              const struct eio_handshake *h);

/* End the connection, because the client breaks a rule or cannot be served. */
void sio_conn_fail(struct sio_conn *c);

/* Send packet `p` of the protocol itself, whose JSON has been written behind sio_message_begin().
 * If it cannot be queued, the connection ends. */
void sio_conn_send(struct sio_conn *c, struct sio_packet *p);

/* Send an error packet: the client may not enter namespace `nsp`. `data` may be all zero. */
void sio_conn_refuse(struct sio_conn *c, struct ws_str nsp, const char *message,
                     struct ws_str data);

/* Free it, if it has ended and has no sockets. */
void sio_conn_free_unused(struct sio_conn *c);

/* --- a packet whose attachments are still to come --------------------------------------------- */

struct sio_pending {
    struct sio_conn *conn;
    struct sio_assembly assembly;
    struct ws_timer *deadline; /* for the attachments; NULL once they have come */
};

/* Keep the packet `text` in c->pending until its attachments have come. False when out of memory;
 * then the caller calls sio_pending_drop(). */
bool sio_pending_begin(struct sio_conn *c, struct ws_str text, unsigned attachments);

/* Add the next attachment to c->pending. Returns as sio_assembly_add(), or SIO_TOO_LARGE when there
 * is no room for it. */
int sio_pending_add(struct sio_conn *c, const void *data, size_t len);

/* All attachments have come: take the packet from the connection, which can then receive the next
 * one. The caller frees it. */
struct sio_pending *sio_pending_take(struct sio_conn *c);
void sio_pending_free(struct sio_pending *p);

void sio_pending_drop(struct sio_conn *c); /* free c->pending, if there is one */

#endif
