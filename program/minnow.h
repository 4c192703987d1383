/* SPDX-License-Identifier: MIT
 *
 * The state of the program, which callbacks get by ws_user(). */
#ifndef MINNOW_H
#define MINNOW_H

#include "minnow_cluster.h"
#include "minnow_options.h"
#include "minnow_page.h"
#include "minnow_sandbox.h"
#include "minnow_script.h"
#include "minnow_streams.h"
#include "socketio/sio.h"

struct minnow {
    const struct minnow_options *options;
    struct ws_server *server;
    struct sio_server *socketio; /* NULL: --no-socketio */
    struct minnow_cluster cluster;
    struct minnow_streams streams;
    struct minnow_page page;
    struct minnow_script script; /* all zero without --socketio-client */
    struct minnow_sandbox sandbox;
    bool serving;    /* from now on -q silences the log; before, the log says why the server cannot
                     start */
    bool complained; /* the log has an error */
    int signal_fd;
};

#endif
