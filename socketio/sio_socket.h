/* SPDX-License-Identifier: MIT
 *
 * Sockets, for socketio.c; the functions for applications are in sio.h. */
#ifndef SOCKETIO_SIO_SOCKET_H
#define SOCKETIO_SIO_SOCKET_H

#include "sio_server.h"

struct sio_socket *sio_socket_new(struct sio_conn *c, struct sio_namespace *n);

/* The client's socket in the namespace that has not ended, or NULL. */
struct sio_socket *sio_socket_of(const struct sio_conn *c, const struct sio_namespace *n);

void sio_socket_connect(struct sio_socket *s, struct ws_str auth); /* call on_auth, or accept it */
const char *sio_socket_auth(const struct sio_socket *s); /* as far as it is kept, else "{}" */
void sio_socket_end(struct sio_socket *s, const char *reason);

/* Settle the marked sockets, as many as this turn has time for. sio_server.settle points to it. */
void sio_sockets_settle(struct sio_server *io);

#endif
