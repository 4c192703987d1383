/* SPDX-License-Identifier: MIT
 *
 * How a connection ends; see the table in conn_end.h. */
#include "conn_end.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "conn_client.h"
#include "conn_output.h"
#include "conn_socket.h"
#include "conn_trace.h"

/* --- the closing handshake -------------------------------------------------------------------- */

/* A Close frame is sent even when the limits are used up: it tells the peer why. */
static int close_frame(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    uint8_t frame[WS_FRAME_SERVER_HEADER_MAX + WS_CONTROL_MAX];
    uint8_t payload[WS_CONTROL_MAX];
    size_t len = ws_close_encode(payload, code, reason, reason_len);
    size_t header_len = ws_frame_encode(frame, WS_OP_CLOSE, len);
    int error;

    memcpy(frame + header_len, payload, len);
    error = conn_append_last(c, frame, header_len + len);
    if (error == 0 && conn_is_traced(c))
        conn_trace_sent(c, WS_OP_CLOSE, payload, len);
    return error;
}

int conn_start_close(struct ws_conn *c, unsigned code, const char *reason)
{
    int error;

    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = close_frame(c, code, reason, reason == NULL ? 0 : strlen(reason));
    if (error != 0)
        return error;
    c->state = CONN_CLOSING;
    server_deadline(c, c->server->options.close_timeout_ms);
    conn_mark_output(c);
    return 0;
}

void conn_echo_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    close_frame(c, code, reason, len);
}

void conn_fail(struct ws_conn *c, unsigned code, const char *why, const char *advice)
{
    char address[WS_ADDRESS_SIZE];

    server_log(c->server, WS_LOG_INFO, "#%llu %s failed with %u: %s%s%s%s",
               (unsigned long long)c->id, ws_conn_address(c, address), code, why,
               advice == NULL ? "" : " (", advice == NULL ? "" : advice, advice == NULL ? "" : ")");
    if (c->state == CONN_OPEN)
        close_frame(c, code, why, strlen(why));
    conn_closed(c, code, why, strlen(why));
}

void conn_overrun(struct ws_conn *c, const char *why)
{
    char address[WS_ADDRESS_SIZE];

    server_log(c->server, WS_LOG_ERROR,
               "#%llu %s closed with 1013: %s (ws_options.max_queue, ws_options.max_memory)",
               (unsigned long long)c->id, ws_conn_address(c, address), why);
    c->out.overrun = true;
    if (conn_start_close(c, WS_CLOSE_TRY_LATER, "reads too slowly") != 0)
        conn_kill(c);
}

/* --- lingering, and the end ------------------------------------------------------------------- */

void conn_linger(struct ws_conn *c)
{
    if (c->state >= CONN_LINGERING)
        return;
    c->state = CONN_LINGERING;
    server_deadline(c, c->server->options.close_timeout_ms);
    conn_mark_output(c);
    server_touch(c);
}

/* Tell the application, once, that an opened connection is over. */
static void report_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    if (!c->life.opened)
        return;
    c->life.opened = false;
    if (code == WS_CLOSE_ABNORMAL && c->out.overrun)
        code = WS_CLOSE_TRY_LATER;
    if (c->endpoint->handlers.on_close != NULL)
        c->endpoint->handlers.on_close(c, code, reason, len);
    room_leave_all(&c->server->rooms, &c->rooms);
}

void conn_closed(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    conn_linger(c);
    report_close(c, code, reason, len);
}

bool conn_owes_answer(const struct ws_conn *c)
{
    return c->state == CONN_ANSWERING || c->req.deferred ||
           (c->state == CONN_BODY && c->endpoint->handlers.on_head != NULL);
}

void conn_void(struct ws_conn *c)
{
    assert(conn_owes_answer(c));
    c->state = CONN_HTTP; /* no request is open for ws_respond() any more */
    c->req.deferred = false;
    if (c->endpoint->handlers.on_abort != NULL)
        c->endpoint->handlers.on_abort(c);
}

static void lose(struct ws_conn *c, const char *reason)
{
    if (conn_owes_answer(c))
        conn_void(c);
    conn_linger(c);
    report_close(c, WS_CLOSE_ABNORMAL, reason, strlen(reason));
    conn_kill(c);
}

void conn_lost(struct ws_conn *c)
{
    lose(c, "");
}

void conn_ping_timeout(struct ws_conn *c)
{
    lose(c, "ping timeout");
}

/* The memory stays until the turn ends, for an event of the batch may still point at it. close()
 * alone does not make epoll forget a descriptor: a child process that was forked meanwhile has a
 * duplicate. */
static void forget_descriptor(struct ws_conn *c)
{
    c->state = CONN_DEAD;
    timer_cancel(&c->server->timers, &c->timer);
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_DEL, c->source.fd, NULL);
    server_touch(c);
}

void conn_kill(struct ws_conn *c)
{
    if (c->state == CONN_DEAD)
        return; /* uncovered: no caller ends one twice, as things are */
    assert(!conn_owes_answer(c));
    forget_descriptor(c);
    conn_narrow(c);
    socket_close(c->source.fd);
    conn_drop_output(c);
}

void conn_let_go(struct ws_conn *c)
{
    assert(c->state == CONN_BODY || c->state == CONN_UPGRADING);
    assert(conn_queued(c) == 0);
    conn_narrow(c);
    forget_descriptor(c);
    conn_drop_output(c);
}

void conn_free(struct ws_conn *c)
{
    assert(c->state == CONN_DEAD && !c->life.listed && c->timer.link == NULL);
    report_close(c, WS_CLOSE_ABNORMAL, "", 0);
    room_leave_all(&c->server->rooms, &c->rooms);
    input_release(&c->input, &c->account);
    conn_drop_output(c);
    conn_table_remove(&c->server->conns, c->id);
    conn_client_end(c);
    free(c);
}
