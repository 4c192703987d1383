/* SPDX-License-Identifier: MIT
 *
 * A server of minnow: what its callbacks reach through ws_user(). */
#ifndef MINNOW_H
#define MINNOW_H

#include "minnow_options.h"
#include "minnow_page.h"
#include "minnow_streams.h"
#include "socketio/sio.h"

struct minnow {
    const struct minnow_options *options;
    struct ws_server *server;
    struct sio_server *socketio; /* NULL: --no-socketio */
    struct minnow_streams streams;
    struct minnow_page page;
    bool serving; /* from here on -q silences the log; before it, the log says why we can't start */
    bool complained; /* the log has said what is wrong */
    int signal_fd;
};

#endif
