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
#include "minnow_worker.h"
#include "socketio/sio.h"

struct minnow {
    struct minnow_options *options;
    char **argv;
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
    uint16_t port; /* of all TCP addresses; 0: there is none */
    struct minnow_worker worker;
};

/* For minnow_worker.c and minnow_workers.c: */

/* Stop as at the first signal; a second call does not wait for clients. */
void minnow_stop(struct minnow *minnow);

/* "minnow: WHAT: why" on stderr. Returns false. */
bool minnow_complain(struct minnow *minnow, const char *what, int error);

/* --user. What only root may do is done by now, apart from giving files away. */
bool minnow_become_user(struct minnow *minnow);

/* Call fn(arg, ...) when minnow->signal_fd has one of these signals, unless it is ignored, or
 * `always`, unless that is 0. Returns 0 or WS_ERR_SYSTEM. */
int minnow_watch_signals(struct minnow *minnow, const int *numbers, size_t count, int always,
                         void (*fn)(void *arg, uint32_t ready), void *arg);

/* Set minnow->port, which the first line on stdout says. False with errno where it is not known. */
bool minnow_find_port(struct minnow *minnow);

/* Print the address first: programs wait for this line and read the port from it. `sandbox`: what a
 * sandbox says, or NULL to enter it now. False when stdout cannot be written to. If its reader has
 * not read yet, the server starts all the same. */
bool minnow_print_start(struct minnow *minnow, size_t max_clients, unsigned workers,
                        const char *sandbox);

#endif
