/* SPDX-License-Identifier: MIT
 *
 * The program's Socket.IO side: every namespace is there, and what clients emit goes to where their
 * messages on plain WebSockets go. */
#ifndef MINNOW_SOCKETIO_H
#define MINNOW_SOCKETIO_H

#include "socketio/sio.h"

/* Serve /socket.io/. In echo mode each event goes back to its sender, else to everybody in its
 * namespace; an event that wants an acknowledgement gets one with its arguments. `options` are the
 * server's: limits and times that they give hold here too, its origins may read and connect. NULL
 * with errno on failure. sio_server_free() when done. */
struct sio_server *minnow_socketio_new(struct ws_server *ws, const struct ws_options *options,
                                       bool echo);

#endif
