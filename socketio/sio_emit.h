/* SPDX-License-Identifier: MIT
 *
 * Acknowledgements that clients owe; the functions for applications are in sio.h. */
#ifndef SOCKETIO_SIO_EMIT_H
#define SOCKETIO_SIO_EMIT_H

#include "sio_server.h"

/* Are they a list of JSON, whose placeholders name attachments, of which there are not too many? */
bool sio_args_are_legal(const struct sio_server *io, const struct sio_args *args);

void sio_acked(struct sio_socket *s, int64_t id, const struct sio_args *args);
void sio_waits_end(struct sio_socket *s); /* its client cannot answer any more */
void sio_gathers_end(struct sio_server *io);

#endif
