/* SPDX-License-Identifier: MIT
 *
 * How bytes leave a connection. All that is sent in one turn leaves in one system call, in one of
 * three ways:
 *
 *   staged   the small output of the connection that is being served: copied into the server's
 *            stage and sent from there. It needs no memory of its own, and is the way of every echo
 *   at once  a large body: sent from where it lies
 *   queued   all else: what the socket did not take, and what comes from others, as in a room
 *
 * Bytes stay in order because a connection that has a queue uses nothing but its queue.
 *
 * The kernel holds what a socket has taken: megabytes for each peer that does not read, which the
 * limits of the server do not count. So a socket takes at most LISTEN_UNSENT_MAX bytes that cannot
 * be sent yet (TCP_NOTSENT_LOWAT). A few sockets at a time are without that limit, called wide: a
 * message of 1 MiB to a peer that reads leaves in one call then, not in ten (`make bench`, echo of
 * 1 MiB). */
#include "conn_output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "conn_socket.h"
#include "conn_trace.h"
#include "listen.h"

enum {
    SPANS_MAX = 64,       /* slices sent in one system call */
    LARGE_BODY = 8 * 1024 /* bytes from which sending at once is cheaper than a copy */
};

/* Up to this size glibc's malloc uses its fastest lists; each delivery to a room makes an
 * outbox. */
_Static_assert(sizeof(struct outbox) <= 120, "an outbox costs more than it needs to");

int to_ws_error(int account_error)
{
    return account_error == ACCOUNT_FULL ? WS_ERR_FULL : WS_ERR_NOMEM;
}

static bool is_staged(const struct ws_conn *c)
{
    return c->server->stage.owner == c;
}

size_t conn_queued(const struct ws_conn *c)
{
    size_t staged = is_staged(c) ? c->server->stage.len : 0;

    return staged + (c->outbox == NULL ? 0 : c->outbox->queue.queued);
}

/* The queue, made when there is none; what was staged goes first. NULL when out of memory, and then
 * it is still staged. */
static struct outbox *conn_outbox(struct ws_conn *c)
{
    struct stage *stage = &c->server->stage;
    int error;

    if (c->outbox != NULL)
        return c->outbox;
    c->outbox = account_new(&c->account, sizeof *c->outbox, ACCOUNT_ESSENTIAL, &error);
    if (c->outbox == NULL)
        return NULL;
    c->outbox->deferred = NULL;
    c->outbox->backlog = 0;
    c->outbox->slow_ms = 0;
    c->outbox->turn = c->server->turn;
    output_init(&c->outbox->queue, &c->account);
    if (is_staged(c) && output_append(&c->outbox->queue, ACCOUNT_ESSENTIAL, stage->data, stage->len,
                                      NULL, 0) != 0) {
        account_free(&c->account, c->outbox, sizeof *c->outbox);
        c->outbox = NULL;
    } else if (is_staged(c)) {
        stage->owner = NULL;
    }
    return c->outbox;
}

void conn_drop_output(struct ws_conn *c)
{
    if (is_staged(c))
        c->server->stage.owner = NULL;
    if (c->outbox == NULL)
        return;
    output_release(&c->server->pool, &c->outbox->queue);
    account_free(&c->account, c->outbox->deferred, sizeof *c->outbox->deferred);
    account_free(&c->account, c->outbox, sizeof *c->outbox);
    c->outbox = NULL;
}

int conn_send_result(struct ws_conn *c)
{
    if (conn_queued(c) <= c->server->options.high_water)
        return WS_SENT;
    c->out.drain_owed = true;
    return WS_QUEUED;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* One system call. Returns bytes sent, 0 when the socket is full, -1 when the connection is broken.
 * Then bytes are lost and none may follow, so the socket is shut down: after some errors (ENOBUFS)
 * it could still send. */
static ssize_t send_spans(struct ws_conn *c, struct iovec *iov, size_t count)
{
    ssize_t n = socket_send(c->source.fd, iov, count);

    if (n < 0) {
        c->out.broken = true;
        socket_end(c->source.fd);
        return n;
    }
    /* Less than 2^31, so that conn_takes_output() can subtract. */
    c->unacked_base =
        n < INT32_MAX - (int64_t)c->unacked_base ? c->unacked_base + (uint32_t)n : INT32_MAX;
    return n;
}

/* The socket has not taken `left` bytes. If they are many, make it wide. Returns whether it may now
 * take more. */
static bool widen(struct ws_conn *c, size_t left)
{
    struct ws_server *s = c->server;

    if (c->out.wide || left < LISTEN_UNSENT_MAX / 2 || s->wide_count >= s->wide_max ||
        !socket_limit_unsent(c->source.fd, 0))
        return false;
    c->out.wide = true;
    s->wide_count++;
    return true;
}

void conn_narrow(struct ws_conn *c)
{
    if (!c->out.wide)
        return;
    c->out.wide = false;
    c->server->wide_count--;
    if (c->state != CONN_DEAD)
        socket_limit_unsent(c->source.fd, LISTEN_UNSENT_MAX);
}

void conn_give_up_output(struct ws_conn *c)
{
    c->out.broken = true;
    c->out.blocked = false;
    conn_drop_output(c);
    server_touch(c);
}

/* Bytes are lost that belong to a frame or response of which a part was sent, or for which WS_SENT
 * was returned. */
COLD static void break_output(struct ws_conn *c)
{
    socket_end(c->source.fd);
    conn_give_up_output(c);
}

/* One system call for all that is queued, or as much of it as one call takes. */
static ssize_t send_gathered(struct ws_conn *c, const struct output *queue)
{
    struct output_span spans[SPANS_MAX];
    struct iovec iov[SPANS_MAX];
    size_t count = output_peek(queue, spans, SPANS_MAX);

    for (size_t i = 0; i < count; i++)
        iov[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)spans[i].data, .iov_len = spans[i].len};
    return send_spans(c, iov, count);
}

static int queue_append(struct ws_conn *c, enum account_kind kind, const void *head,
                        size_t head_len, const void *body, size_t body_len)
{
    int error = conn_outbox(c) == NULL
                    ? ACCOUNT_NOMEM
                    : output_append(&c->outbox->queue, kind, head, head_len, body, body_len);

    return error == 0 ? 0 : to_ws_error(error);
}

/* Nothing is queued: send a head, which may be empty, and a body from where they lie, and queue
 * what the socket does not take. Returns 0, also when the output is broken, for the next read ends
 * the connection; or what queueing returns. */
static int send_at_once(struct ws_conn *c, enum account_kind kind, const uint8_t *head,
                        size_t head_len, const uint8_t *body, size_t body_len)
{
    size_t sent = 0, len = head_len + body_len;
    size_t of_head = 0;
    int error;

    /* Adding even 0 to NULL is undefined in C. */
    head = head_len == 0 ? body : head;
    body = body_len == 0 ? head : body;
    do {
        struct iovec iov[] = {
            {.iov_base = (void *)(uintptr_t)(head + of_head), .iov_len = head_len - of_head},
            {.iov_base = (void *)(uintptr_t)(body + (sent - of_head)),
             .iov_len = len - sent - (head_len - of_head)}};
        ssize_t n = of_head == head_len ? send_spans(c, iov + 1, 1) : send_spans(c, iov, 2);

        sent = n < 0 ? len : sent + (size_t)n;
        of_head = sent < head_len ? sent : head_len;
    } while (sent < len && widen(c, len - sent));
    if (sent == len)
        return 0;
    c->out.blocked = true;
    error = queue_append(c, kind, head + of_head, head_len - of_head, body + (sent - of_head),
                         len - sent - (head_len - of_head));
    if (error != 0 && sent > 0)
        break_output(c); /* the peer has the beginning of something that will not come */
    return error;
}

static void flush_stage(struct ws_conn *c)
{
    struct stage *stage = &c->server->stage;

    assert(c->outbox == NULL && stage->owner == c);
    stage->owner = NULL;
    if (send_at_once(c, ACCOUNT_ESSENTIAL, stage->data, 0, stage->data, stage->len) != 0)
        break_output(c); /* WS_SENT was returned for these bytes, and they cannot be queued */
}

/* One system call. A broken connection is not ended here: its output is dropped, and the next read
 * ends it. */
static void send_queue(struct ws_conn *c)
{
    struct output *queue = &c->outbox->queue;
    bool all_offered = queue->count <= SPANS_MAX;
    ssize_t n = send_gathered(c, queue);

    if (n < 0) {
        conn_drop_output(c);
        return;
    }
    output_sent(&c->server->pool, queue, (size_t)n);
    c->outbox->backlog -= (size_t)n < c->outbox->backlog ? (size_t)n : c->outbox->backlog;
    if (n == 0 || (all_offered && queue->queued > 0)) {
        if (widen(c, queue->queued))
            return;
        c->out.blocked = true; /* after a short write, another call would fail with EAGAIN */
        output_compact(&c->server->pool, queue);
    }
}

static void send_all(struct ws_conn *c)
{
    if (is_staged(c))
        flush_stage(c);
    while (!c->out.blocked && c->outbox != NULL && c->outbox->queue.queued > 0)
        send_queue(c);
}

static void queue_deferred(struct ws_conn *c)
{
    struct deferred *d = c->outbox == NULL ? NULL : c->outbox->deferred;

    if (d == NULL)
        return;
    c->outbox->deferred = NULL;
    if (conn_append(c, d->data, d->len, NULL, 0) == 0 && conn_is_traced(c))
        conn_trace_wire(c, d->data, d->len);
    account_free(&c->account, d, sizeof *d);
}

void conn_flush(struct ws_conn *c)
{
    send_all(c);
    if (!c->out.blocked) {
        queue_deferred(c);
        send_all(c);
    }
    if (!c->out.blocked)
        conn_drop_output(c);
}

bool conn_all_taken(const struct ws_conn *c)
{
    return socket_unacked(c->source.fd) == 0;
}

static void mark_output(struct ws_conn *c, uint32_t left)
{
    c->unacked_base = left;
    c->out.behind = left > 0;
}

void conn_mark_output(struct ws_conn *c)
{
    mark_output(c, socket_unacked(c->source.fd));
}

/* A socket's buffer holds megabytes, so EPOLLOUT may not come for a long time although a slow peer
 * reads. The bytes that it has acknowledged show that it does. */
bool conn_takes_output(struct ws_conn *c, int32_t least)
{
    uint32_t left = socket_unacked(c->source.fd);

    if ((int32_t)(c->unacked_base - left) < least)
        return false;
    mark_output(c, left);
    return true;
}

/* --- queueing --------------------------------------------------------------------------------- */

size_t conn_backlog(const struct ws_conn *c)
{
    const struct outbox *o = c->outbox;

    if (o == NULL)
        return 0;
    return o->turn == c->server->turn ? o->backlog : o->queue.queued;
}

/* Something is about to be queued, perhaps for the first time in this turn. */
static void note_backlog(struct ws_conn *c)
{
    if (c->outbox == NULL || c->outbox->turn == c->server->turn)
        return;
    c->outbox->backlog = conn_backlog(c);
    c->outbox->turn = c->server->turn;
}

static bool is_within(size_t max, size_t queued, size_t len)
{
    return queued == 0 || (queued <= max && len <= max - queued);
}

/* max_queue is for what the socket does not take: when it is reached the queue is sent first. Of
 * what is left, only bytes that were queued before this turn count: output gathers until a callback
 * returns, so a burst of one callback, or one message that is larger than the queue, does not show
 * that the peer reads slowly. */
static __attribute__((cold, noinline)) bool fits_burst(struct ws_conn *c, size_t len)
{
    size_t max = c->server->options.max_queue;
    size_t burst = max < SIZE_MAX - WS_BURST_MAX ? max + WS_BURST_MAX : SIZE_MAX;

    if (!c->out.blocked)
        conn_flush(c);
    return !c->out.broken && is_within(max, conn_backlog(c), len) &&
           is_within(burst, conn_queued(c), len);
}

/* May `len` bytes be queued? */
static bool fits_queue(struct ws_conn *c, size_t len)
{
    note_backlog(c);
    return is_within(c->server->options.max_queue, conn_queued(c), len) || fits_burst(c, len);
}

/* One connection at a time may stage: the one being served. Saves the queue, and with it 0.1 us of
 * a small echo (`make bench`). */
bool conn_begin_stage(struct ws_conn *c)
{
    struct stage *stage = &c->server->stage;

    if (stage->owner != NULL || c->outbox != NULL || c->out.blocked || c->out.broken)
        return false;
    stage->owner = c;
    stage->len = 0;
    server_touch(c);
    return true;
}

static bool stage_append(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                         size_t body_len)
{
    uint8_t *at = conn_stage(c, head_len + body_len);

    if (at == NULL)
        return false;
    if (head_len != 0)
        memcpy(at, head, head_len);
    if (body_len != 0)
        memcpy(at + head_len, body, body_len);
    conn_staged(c, head_len + body_len);
    return true;
}

static bool has_nothing_queued(const struct ws_conn *c)
{
    return !c->out.blocked && !c->out.broken &&
           (c->outbox == NULL || (c->outbox->queue.queued == 0 && c->outbox->deferred == NULL));
}

/* Another connection owns the stage, or it is full, and there is no memory for a queue: send what
 * is staged now, and stage this. Costs a system call a connection, but a small message to a peer
 * that reads needs no memory then. */
static bool stage_instead(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                          size_t body_len)
{
    struct ws_conn *owner = c->server->stage.owner;

    if (!has_nothing_queued(c))
        return false;
    if (owner != NULL)
        flush_stage(owner);
    if (!has_nothing_queued(c))
        return false; /* `c` owned the stage, and not all of it was sent */
    conn_drop_output(c);
    return stage_append(c, head, head_len, body, body_len);
}

static int append_small(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                        size_t body_len)
{
    int error;

    if (stage_append(c, head, head_len, body, body_len))
        return 0;
    error = queue_append(c, account_kind_of(head_len + body_len), head, head_len, body, body_len);
    return error == 0 || stage_instead(c, head, head_len, body, body_len) ? 0 : error;
}

/* The first large body of a turn leaves at once. Those after it are queued: else an application
 * that sends as long as it gets WS_SENT would not return while the peer reads. */
static int append_large(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                        size_t body_len)
{
    if (c->out.sent_at_once || c->out.blocked)
        return queue_append(c, ACCOUNT_ORDINARY, head, head_len, body, body_len);
    c->out.sent_at_once = true;
    conn_flush(c);
    if (c->out.broken)
        return WS_ERR_CLOSED;
    return c->out.blocked ? queue_append(c, ACCOUNT_ORDINARY, head, head_len, body, body_len)
                          : send_at_once(c, ACCOUNT_ORDINARY, head, head_len, body, body_len);
}

int conn_append(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                size_t body_len)
{
    int error;

    if (c->out.broken)
        return WS_ERR_CLOSED;
    if (body_len > SIZE_MAX - head_len || !fits_queue(c, head_len + body_len))
        return c->out.broken ? WS_ERR_CLOSED : WS_ERR_FULL; /* fits_queue() may have sent */
    error = body_len >= LARGE_BODY ? append_large(c, head, head_len, body, body_len)
                                   : append_small(c, head, head_len, body, body_len);
    if (error == 0)
        server_touch(c);
    return error;
}

/* A connection gets one response per request. What another connection has staged is sent first, so
 * that this response can be staged: 500 long polls that are answered in one turn need no queues. */
int conn_append_response(struct ws_conn *c, const void *head, size_t head_len,
                         const struct ws_str *body, size_t count)
{
    struct ws_conn *owner = c->server->stage.owner;
    int error;

    if (owner != NULL && owner != c && c->outbox == NULL)
        flush_stage(owner);
    error = conn_append(c, head, head_len, count > 0 ? body[0].data : NULL,
                        count > 0 ? body[0].len : 0);
    for (size_t i = 1; i < count && error == 0; i++) {
        error = conn_append(c, NULL, 0, body[i].data, body[i].len);
        if (error != 0)
            break_output(c); /* the peer has the beginning of something that will not come */
    }
    return error;
}

int conn_append_last(struct ws_conn *c, const void *data, size_t len)
{
    if (c->out.broken)
        return WS_ERR_CLOSED;
    queue_deferred(c);
    if (!stage_append(c, data, len, NULL, 0) &&
        (conn_outbox(c) == NULL || output_append_last(&c->outbox->queue, data, len) != 0))
        return WS_ERR_NOMEM;
    server_touch(c);
    return 0;
}

int conn_refer(struct ws_conn *c, const struct output_slice *slice)
{
    int error;

    if (c->out.broken)
        return WS_ERR_CLOSED;
    if (!fits_queue(c, slice->end - slice->start))
        return c->out.broken ? WS_ERR_CLOSED : WS_ERR_FULL;
    if (c->outbox == NULL) {
        if (conn_outbox(c) == NULL && is_staged(c))
            flush_stage(c); /* no memory for a queue: send what is staged now */
        if (c->out.broken)
            return WS_ERR_CLOSED;
        if (conn_outbox(c) == NULL)
            return WS_ERR_NOMEM;
    }
    error = output_refer(&c->outbox->queue, slice);
    if (error != 0)
        return to_ws_error(error);
    server_touch(c);
    return 0;
}

void conn_defer(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct outbox *outbox = conn_outbox(c);
    int error;

    if (outbox == NULL)
        return;
    if (outbox->deferred == NULL)
        outbox->deferred =
            account_new(&c->account, sizeof *outbox->deferred, ACCOUNT_ESSENTIAL, &error);
    if (outbox->deferred == NULL)
        return;
    memcpy(outbox->deferred->data, data, len);
    outbox->deferred->len = (uint8_t)len;
}
