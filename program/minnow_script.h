/* SPDX-License-Identifier: MIT
 *
 * The script of Socket.IO's client, from a file of the user: --socketio-client. */
#ifndef MINNOW_SCRIPT_H
#define MINNOW_SCRIPT_H

#include "minnow_static.h"

/* In place. */
struct minnow_script {
    struct minnow_static file;
};

/* Read the file, whole and once: what becomes of it later does not matter. NULL, or why it cannot
 * be served. minnow_script_release() when done; an all-zero struct is allowed there, too. */
const char *minnow_script_read(struct minnow_script *script, const char *path);
void minnow_script_release(struct minnow_script *script);

/* Serve it at /socket.io/socket.io.js. `script` is borrowed. Returns as ws_server_handle(). */
int minnow_script_handle(struct minnow_script *script, struct ws_server *server);

#endif
