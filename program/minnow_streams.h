/* SPDX-License-Identifier: MIT
 *
 * stdout and stderr of a server: what cannot be written now is tried again every 50 ms, by the
 * server's own timers, and with each line. */
#ifndef MINNOW_STREAMS_H
#define MINNOW_STREAMS_H

#include "minnow_log.h"
#include "ws.h"

struct minnow_streams {
    struct ws_server *server; /* whose timers try again; NULL while there is none */
    bool retrying;            /* a retry is posted, or its timer runs */
    struct minnow_log out;    /* stdout */
    struct minnow_log log;    /* stderr */
};

void minnow_streams_init(struct minnow_streams *streams);

/* Write what can be written, and forget the rest. The server is gone by then. */
void minnow_streams_release(struct minnow_streams *streams);

/* Write what is kept of both. May be called inside the log and the trace of the server. */
void minnow_streams_flush(struct minnow_streams *streams);

/* The line of `log` is complete. It is written now, or later, or dropped. May be called inside the
 * log and the trace, too. */
void minnow_streams_end_line(struct minnow_streams *streams);

#endif
