/* SPDX-License-Identifier: MIT
 *
 * stdout and stderr of a server; see minnow_streams.h. */
#include "minnow_streams.h"

#include <errno.h>
#include <unistd.h>

enum { RETRY_MS = 50 };

static void flush_streams(void *arg);

/* Called by ws_post(), since the log's callback may call nothing else. Without memory for the
 * timer, the next line of the log tries again. */
static void retry_later(void *arg)
{
    struct minnow_streams *streams = arg;

    if (ws_timer_start(streams->server, RETRY_MS, flush_streams, streams) == NULL)
        streams->retrying = false; /* uncovered: no test makes malloc() fail in the program */
}

/* Is the error temporary? For other errors, such as a closed pipe, there is no timer. */
static bool is_for_now(int error)
{
    return error == EAGAIN || error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* Write the kept lines of both streams; if some cannot be written now, try again later. */
static void flush_streams(void *arg)
{
    struct minnow_streams *streams = arg;
    int out = minnow_log_flush(&streams->out);
    int log = minnow_log_flush(&streams->log);

    streams->retrying = is_for_now(out) || is_for_now(log);
    if (streams->retrying &&
        (streams->server == NULL || ws_post(streams->server, retry_later, streams) != 0))
        streams->retrying = false; /* uncovered: the same, or the log is full before the start */
}

void minnow_streams_init(struct minnow_streams *streams)
{
    streams->server = NULL;
    streams->retrying = false;
    streams->worker = -1;
    minnow_log_init(&streams->out, STDOUT_FILENO);
    minnow_log_init(&streams->log, STDERR_FILENO);
}

void minnow_streams_release(struct minnow_streams *streams)
{
    minnow_log_release(&streams->out);
    minnow_log_release(&streams->log);
}

void minnow_streams_flush(struct minnow_streams *streams)
{
    flush_streams(streams);
}

struct minnow_log *minnow_streams_begin_line(struct minnow_streams *streams)
{
    if (streams->worker < 0)
        minnow_log_add(&streams->log, "minnow: ");
    else
        minnow_log_add(&streams->log, "minnow[%d]: ", streams->worker);
    return &streams->log;
}

void minnow_streams_end_line(struct minnow_streams *streams)
{
    minnow_log_end(&streams->log);
    if (!streams->retrying)
        flush_streams(streams);
    else
        minnow_log_flush(&streams->log);
}
