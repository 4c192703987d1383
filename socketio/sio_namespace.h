/* SPDX-License-Identifier: MIT
 *
 * Namespaces as clients ask for them; what applications call is in sio.h. */
#ifndef SOCKETIO_SIO_NAMESPACE_H
#define SOCKETIO_SIO_NAMESPACE_H

#include "sio_server.h"

struct sio_namespace *sio_namespace_named(const struct sio_server *io, struct ws_str name);

/* Open one for the client of `c`, if some rule allows it, or NULL. Its memory is the client's. */
struct sio_namespace *sio_namespace_by_rule(struct sio_conn *c, struct ws_str name,
                                            struct ws_str auth);

/* Free it, if it is one that ends with its last socket, and nothing is left in it. */
void sio_namespace_free_unused(struct sio_namespace *n);

/* Free all namespaces and rules, at the end of the server. */
void sio_namespaces_free(struct sio_server *io);

#endif
