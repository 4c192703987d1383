/* SPDX-License-Identifier: MIT
 *
 * Echo and chat for Socket.IO clients, in every namespace. */
#ifndef MINNOW_SOCKETIO_H
#define MINNOW_SOCKETIO_H

#include "minnow_worker.h"
#include "socketio/sio.h"

/* Serve /socket.io/. In echo mode each event is sent back to its sender, else to all sockets of its
 * namespace; an event with an acknowledgement is acknowledged with its own arguments. `options` are
 * those of the server: limits and times that are set there hold here too, and its origins may
 * connect. A request for a session of another worker is handed over to that one. NULL with errno on
 * failure. sio_server_free() when done. */
struct sio_server *minnow_socketio_new(struct ws_server *ws, const struct ws_options *options,
                                       struct minnow_worker *worker, bool echo);

#endif
