/* SPDX-License-Identifier: MIT
 *
 * stdout and stderr of a server: lines that cannot be written now are tried again every 50 ms, by a
 * timer of the server, and with each new line. */
#ifndef MINNOW_STREAMS_H
#define MINNOW_STREAMS_H

#include "minnow_log.h"
#include "ws.h"

struct minnow_streams {
    struct ws_server *server; /* for the timer; NULL: there is no server yet, or no more */
    bool retrying;            /* a post or a timer will try again */
    int worker;               /* the number in front of its lines; -1: it is no worker */
    struct minnow_log out;    /* stdout */
    struct minnow_log log;    /* stderr */
};

void minnow_streams_init(struct minnow_streams *streams);

/* Write what can be written, and drop the rest. The server must be freed before. */
void minnow_streams_release(struct minnow_streams *streams);

/* Write the kept lines of both. May be called inside the log callback and the trace callback of the
 * server. */
void minnow_streams_flush(struct minnow_streams *streams);

/* Begin a line of `log` with the name of the program, "minnow: ", or "minnow[2]: " in a worker: the
 * numbers of connections begin at 1 in each of them. Returns `log`. */
struct minnow_log *minnow_streams_begin_line(struct minnow_streams *streams);

/* End the line of `log`. It is written now or later, or dropped. May be called inside the server's
 * log callback and trace callback. */
void minnow_streams_end_line(struct minnow_streams *streams);

#endif
