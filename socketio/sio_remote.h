/* SPDX-License-Identifier: MIT
 *
 * Questions to all processes; the functions for applications are in sio.h. */
#ifndef SOCKETIO_SIO_REMOTE_H
#define SOCKETIO_SIO_REMOTE_H

#include "sio_server.h"

/* Write what another process is told of a socket: {"id","handshake","rooms","data"}. It calls
 * write_data. */
void sio_write_socket(struct json_writer *w, struct sio_socket *s);

/* Write the names of all rooms of a namespace as a list, those of single sockets first; what is
 * beyond `max` bytes is left out. */
void sio_write_rooms(struct json_writer *w, const struct sio_namespace *n, size_t max);

void sio_requests_end(struct sio_server *io); /* at the end of the server */

#endif
