/* SPDX-License-Identifier: MIT
 *
 * Namespaces that clients ask for; the functions for applications are in sio.h. */
#ifndef SOCKETIO_SIO_NAMESPACE_H
#define SOCKETIO_SIO_NAMESPACE_H

#include "sio_server.h"

struct sio_namespace *sio_namespace_named(const struct sio_server *io, struct ws_str name);

/* Open a namespace for the client of `c`, if some rule allows it; else NULL. Its memory counts in
 * the client's account. */
struct sio_namespace *sio_namespace_by_rule(struct sio_conn *c, struct ws_str name,
                                            struct ws_str auth);

/* Free a namespace that a rule has opened, if nothing is left in it. */
void sio_namespace_free_unused(struct sio_namespace *n);

/* Free all namespaces and rules, at the end of the server. */
void sio_namespaces_free(struct sio_server *io);

#endif
