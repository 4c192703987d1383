/* SPDX-License-Identifier: MIT
 *
 * The life of a socket, for socketio.c; what applications call is in sio.h. */
#ifndef SOCKETIO_SIO_SOCKET_H
#define SOCKETIO_SIO_SOCKET_H

#include "sio_server.h"

struct sio_socket *sio_socket_new(struct sio_conn *c, struct sio_namespace *n);

/* The client's socket in the namespace that has not ended, or NULL. */
struct sio_socket *sio_socket_of(const struct sio_conn *c, const struct sio_namespace *n);

void sio_socket_connect(struct sio_socket *s, struct ws_str auth); /* ask on_auth, or let it in */
void sio_socket_end(struct sio_socket *s, const char *reason);

/* Settle what is marked, or as much of it as this turn has time for. It is sio_server.settle. */
void sio_sockets_settle(struct sio_server *io);

#endif
