/* SPDX-License-Identifier: MIT
 *
 * The life of a connection: bytes in, deadlines, the end. conn_http.c and conn_ws.c interpret the
 * bytes, conn_output.c sends them; the states are in server.h. */
#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "conn_client.h"
#include "conn_end.h"
#include "conn_http.h"
#include "conn_output.h"
#include "conn_socket.h"
#include "conn_ws.h"

/* The peer has shut down its sending side. What is queued for it, and the answer to a complete
 * request, are still sent. */
static void peer_shut_down(struct ws_conn *c)
{
    c->life.eof = true;
    server_touch(c);
    switch ((enum conn_state)c->state) {
    case CONN_ANSWERING:
        if (c->endpoint->handlers.on_abort != NULL) {
            conn_void(c);
            conn_linger(c);
        }
        break;
    case CONN_OPEN:
    case CONN_CLOSING:
        conn_closed(c, WS_CLOSE_ABNORMAL, "", 0);
        break;
    case CONN_HTTP: /* when what has come is answered, see conn_settle() */
    case CONN_BODY:
    case CONN_UPGRADING:
    case CONN_LINGERING:
    case CONN_DEAD:
        break;
    }
}

/* There is no memory for input that has to wait. */
COLD static void overload(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_HTTP:
    case CONN_BODY:
    case CONN_ANSWERING:
    case CONN_UPGRADING:
        conn_refuse_overload(c);
        break;
    case CONN_OPEN:
    case CONN_CLOSING:
        conn_frames_overload(c);
        break;
    case CONN_LINGERING:
    case CONN_DEAD:
        break;
    }
}

static bool has_stash(const struct ws_conn *c)
{
    return c->input != NULL && c->input->stash.len > 0;
}

/* A request that has begun to arrive is still answered; that answer is the last. */
void conn_stop(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_OPEN:
        if (conn_start_close(c, WS_CLOSE_GOING_AWAY, "the server stops") != 0)
            conn_lost(c);
        break;
    case CONN_HTTP:
        if (!has_stash(c))
            conn_linger(c);
        break;
    case CONN_BODY:
    case CONN_ANSWERING:
    case CONN_UPGRADING:
    case CONN_CLOSING:
    case CONN_LINGERING:
    case CONN_DEAD:
        break;
    }
}

/* The server closes first, RFC 6455 §7.1.1. A stopping server does not wait for the FIN of a peer
 * that has acknowledged ours and is silent: the peer may leave its side open for long. */
void conn_stop_waiting(struct ws_conn *c)
{
    if (c->state == CONN_LINGERING && c->out.fin_sent &&
        c->heard_ms + QUIET_MS <= c->server->now_ms && conn_all_taken(c))
        conn_lost(c);
}

/* --- input ------------------------------------------------------------------------------------ */

/* May this connection's input be worked on now? Not while more than the high-water mark is queued
 * for a peer that does not read. From the closing handshake on, input only ends the connection and
 * is no longer answered. */
static bool may_feed(struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (c->state == CONN_ANSWERING || (c->life.held && c->state < CONN_CLOSING))
        return false;
    if (conn_queued(c) <= high)
        return true;
    if (!c->out.blocked)
        conn_flush(c);
    return conn_queued(c) <= high || c->state >= CONN_CLOSING;
}

/* The peer sent bytes or took some: a peer that only reads slowly is alive. The timer is not moved,
 * unless it waits for the answer to a ping, which has now come. */
static void note_heard(struct ws_conn *c)
{
    c->heard_ms = c->server->now_ms;
    if (c->life.pinged && c->state == CONN_OPEN)
        server_deadline_by(c, c->heard_ms + c->server->options.ping_interval_ms);
    c->life.pinged = false;
}

/* Its share of the turn is used up, and `left` bytes wait for the next one. They are kept in the
 * stash; without memory for that, the work goes on now. */
static bool begin_rest(struct ws_conn *c, size_t left)
{
    struct input *in = input_get(&c->input, &c->account);

    if (in == NULL || (in->stash.len == 0 && buf_reserve(&in->stash, &c->account,
                                                         account_kind_of(left), left, left) != 0))
        return false;
    in->rest_turn = c->server->turn;
    return true;
}

static bool is_resting(const struct ws_conn *c)
{
    return c->input != NULL && c->input->rest_turn != 0;
}

/* The waiting bytes are worked on now, and count as received now. */
static void end_rest(struct ws_conn *c)
{
    if (!is_resting(c) || c->input->rest_turn == c->server->turn)
        return;
    c->input->rest_turn = 0;
    note_heard(c);
}

/* Work on `data[0..len)`. Returns how much of it was consumed. */
static size_t feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;
    size_t step = 1;

    server_share_begin(c->server);
    while (used < len && step != 0 && may_feed(c)) {
        switch ((enum conn_state)c->state) {
        case CONN_HTTP:
            step = conn_requests_feed(c, data + used, len - used);
            break;
        case CONN_BODY:
            step = conn_body_feed(c, data + used, len - used);
            break;
        case CONN_OPEN:
        case CONN_CLOSING:
            step = conn_frames_feed(c, data + used, len - used);
            break;
        case CONN_ANSWERING: /* uncovered: may_feed() has looked for it */
        case CONN_UPGRADING:
            step = 0; /* uncovered: and this one lasts for a callback */
            break;    /* uncovered: the same */
        case CONN_LINGERING:
        case CONN_DEAD:
            step = len - used;
            break;
        }
        assert(step <= len - used);
        used += step;
        if (server_share_used(c->server, SHARE_STEP + step / SHARE_BYTES) && used < len &&
            c->state < CONN_CLOSING && begin_rest(c, len - used))
            break;
    }
    return used;
}

/* Bytes received of the unfinished message or body. */
static size_t unfinished_bytes(const struct ws_conn *c)
{
    const struct input *in = c->input;

    return c->state == CONN_BODY ? in->request.len : in->payload.len;
}

/* Start the deadline of an unfinished message or body. */
static void start_due(struct ws_conn *c)
{
    struct input *in = c->input;
    unsigned timeout_ms = c->server->options.message_timeout_ms;

    if (in->due_ms != 0 || timeout_ms == UINT_MAX ||
        (c->state != CONN_OPEN && c->state != CONN_BODY))
        return;
    in->due_ms = server_now(c->server) + timeout_ms;
    in->due_from = unfinished_bytes(c);
    server_deadline_by(c, in->due_ms);
}

/* An idle connection owns no input buffers, and neither does one that discards its input. */
static void tidy_input(struct ws_conn *c)
{
    const struct input *in = c->input;
    bool unfinished = in != NULL && (in->stash.len != 0 || in->head_len != 0 || in->in_frame ||
                                     in->message.state != MESSAGE_NONE);

    if (!unfinished || c->state >= CONN_LINGERING)
        input_release(&c->input, &c->account);
    else
        start_due(c);
}

/* Work on the stashed input. */
static void feed_stash(struct ws_conn *c)
{
    struct buf *stash = &c->input->stash;
    size_t used = feed(c, stash->data, stash->len);

    buf_consume(stash, used);
    if (stash->len == 0)
        buf_release(stash, &c->account);
}

/* Stash input. The head of a request counts as essential memory, and so does the start of a
 * frame. */
static void keep_input(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct input *in = input_get(&c->input, &c->account);
    enum account_kind kind = c->state == CONN_HTTP ? ACCOUNT_ESSENTIAL : account_kind_of(len);

    if (in == NULL || buf_append(&in->stash, &c->account, kind, data, len) != 0)
        overload(c);
}

/* New bytes; what has been stashed comes before them. */
static void input_received(struct ws_conn *c, uint8_t *data, size_t len)
{
    bool behind = has_stash(c);
    size_t used = behind ? 0 : feed(c, data, len);

    if (used < len)
        keep_input(c, data + used, len - used);
    if (behind)
        feed_stash(c);
}

/* The start of a frame that was kept goes in front of the new bytes, so that the frame lies
 * whole. */
static size_t take_frame_start(struct ws_conn *c, uint8_t *out)
{
    size_t kept = has_stash(c) ? c->input->stash.len : 0;

    if (kept == 0 || kept > FRAME_START_MAX || (c->state != CONN_OPEN && c->state != CONN_CLOSING))
        return 0;
    memcpy(out, c->input->stash.data, kept);
    buf_release(&c->input->stash, &c->account);
    return kept;
}

/* Bytes have come: `direct` of them are in the message's buffer, the others in `data`. */
static void bytes_came(struct ws_conn *c, size_t direct, uint8_t *data, size_t len)
{
    note_heard(c);
    server_touch(c);
    if (direct > 0)
        conn_payload_came(c, direct);
    if (len > 0)
        input_received(c, data, len);
}

/* One read per readiness, so that no connection starves another: epoll is level-triggered. Returns
 * whether something came. */
static bool read_input(struct ws_conn *c)
{
    uint8_t *shared = c->server->received;
    uint8_t *space = NULL;
    size_t kept = take_frame_start(c, shared);
    size_t direct = kept > 0 ? 0 : conn_payload_space(c, &space);
    struct iovec iov[] = {{.iov_base = space, .iov_len = direct},
                          {.iov_base = shared + kept, .iov_len = RECEIVE_SIZE}};
    ssize_t n = direct > 0 ? socket_receive(c->source.fd, iov, 2)
                           : socket_receive(c->source.fd, iov + 1, 1);

    if (n > 0) {
        direct = (size_t)n < direct ? (size_t)n : direct;
        bytes_came(c, direct, shared, kept + (size_t)n - direct);
    } else if (n == 0) {
        peer_shut_down(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_lost(c);
    } else if (kept > 0) {
        keep_input(c, shared, kept);
    }
    return n > 0;
}

/* One ready connection of a batch. The application may close any connection from a callback, even
 * one later in this batch, so closing only marks CONN_DEAD; the loop frees after the batch. */
void conn_ready(struct ws_conn *c, uint32_t events)
{
    bool over = (events & (EPOLLHUP | EPOLLERR)) != 0; /* on both sides, or by RST */

    if (c->state == CONN_DEAD)
        return; /* uncovered: a batch has one event of each, and others end none before its end */
    if (over && (c->life.eof || (c->life.paused && c->state == CONN_ANSWERING))) {
        conn_lost(c);
        return;
    }
    if (over && c->life.paused) {
        c->life.held = false;
        conn_give_up_output(c);
        return; /* what is stashed comes before what is still to be read */
    }
    /* Read before write, so that a reply leaves in the same turn. On HUP or ERR, recv() returns the
     * reason. */
    if (over || (events & EPOLLIN) != 0)
        read_input(c);
    if (c->state != CONN_DEAD && (events & EPOLLOUT) != 0) {
        c->out.blocked = false;
        note_heard(c);
        server_touch(c);
    }
}

/* --- settling --------------------------------------------------------------------------------- */

static bool is_paused(const struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (is_resting(c))
        return true;
    if (c->state == CONN_ANSWERING)
        return c->input != NULL && c->input->stash.len >= HTTP_HEAD_MAX;
    if (c->state >= CONN_CLOSING)
        return false;
    if (c->life.held)
        return true;
    return conn_queued(c) > (c->life.paused ? high / 2 : high);
}

static void finish_lingering(struct ws_conn *c)
{
    if (c->state != CONN_LINGERING || conn_queued(c) > 0)
        return;
    if (c->life.eof) {
        conn_kill(c);
    } else if (!c->out.fin_sent) {
        c->out.fin_sent = true;
        socket_end_output(c->source.fd);
    }
}

/* The peer has shut down its side, and all that came before is answered: the rest of its input will
 * never be a complete request. */
static void cut_short(struct ws_conn *c)
{
    if (conn_owes_answer(c))
        conn_void(c);
    conn_linger(c);
}

/* A burst may raise the queue over max_queue. The peer has close_timeout_ms to bring it down to
 * that, and gets another timeout if it acknowledges SLOWEST bytes in that time. */
static void note_slow(struct ws_conn *c)
{
    struct outbox *o = c->outbox;

    if (o == NULL || c->state != CONN_OPEN)
        return;
    if (o->queue.queued <= c->server->options.max_queue) {
        o->slow_ms = 0;
    } else if (o->slow_ms == 0) {
        o->slow_ms = server_now(c->server) + c->server->options.close_timeout_ms;
        conn_mark_output(c);
        server_deadline_by(c, o->slow_ms);
    }
}

/* Tell epoll what to wait for, if that has changed. */
static void update_interest(struct ws_conn *c)
{
    bool in = !c->life.eof && !c->life.paused;
    bool out = c->out.blocked;
    struct epoll_event event = {
        .events = (in ? (uint32_t)EPOLLIN : 0) | (out ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};

    if (in == c->life.watched_in && out == c->life.watched_out)
        return;
    if (epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->source.fd, &event) != 0) {
        server_log(c->server, WS_LOG_ERROR, "#%llu lost: epoll_ctl: %s", (unsigned long long)c->id,
                   strerror(errno));
        conn_lost(c); /* else it might wait for an event for ever */
        return;
    }
    c->life.watched_in = in;
    c->life.watched_out = out;
}

void conn_settle(struct ws_conn *c)
{
    assert(c->state != CONN_DEAD && !c->life.listed && c->server->in_turn);
    c->out.sent_at_once = false;
    if (!c->out.blocked)
        conn_flush(c);
    end_rest(c);
    c->life.paused = is_paused(c);
    if (!c->life.paused && has_stash(c))
        feed_stash(c);
    else if (!c->life.paused && c->state == CONN_BODY)
        conn_body_feed(c, (const uint8_t *)"", 0); /* a body of 0 bytes may have been paused */
    if (c->life.eof && c->state <= CONN_BODY && conn_queued(c) == 0 && !is_resting(c) &&
        !c->life.held)
        cut_short(c);
    if (c->out.drain_owed && conn_queued(c) <= c->server->options.high_water / 2) {
        c->out.drain_owed = false;
        if (c->state == CONN_OPEN && c->endpoint->handlers.on_drain != NULL)
            c->endpoint->handlers.on_drain(c);
    }
    tidy_input(c);
    note_slow(c);
    finish_lingering(c);
    c->life.paused = is_paused(c); /* again: the input fed above may have queued answers */
    if (c->state != CONN_DEAD && is_resting(c))
        server_touch(c);
    if (c->state != CONN_DEAD)
        update_interest(c);
}

/* --- deadlines -------------------------------------------------------------------------------- */

/* A socket holds more than one read takes. Bytes that are in it when a deadline comes were in time:
 * they are read before the deadline is judged. */
static void read_remaining(struct ws_conn *c)
{
    for (int i = 0; i < REMAINING_READS && c->state != CONN_DEAD && !c->life.eof; i++) {
        c->life.paused = is_paused(c);
        if (c->life.paused || !read_input(c))
            return;
    }
}

void conn_give_up(struct ws_conn *c)
{
    read_remaining(c);
    if (conn_owes_answer(c)) {
        conn_refuse(c, 503, "the server stops", NULL);
        conn_flush(c);
    }
    if (c->state != CONN_DEAD)
        conn_lost(c);
}

/* After ping_interval of silence send a ping; after ping_timeout of silence behind it end the
 * connection, unless the ping was sent behind unacknowledged output and the peer acknowledges some
 * of that. The timer is not moved for every byte; heard_ms is compared when it fires. RFC 6455
 * §5.5.2 */
static void check_alive(struct ws_conn *c)
{
    const struct ws_options *o = &c->server->options;
    uint64_t now = c->server->now_ms;

    if (c->life.held)
        c->heard_ms = now; /* its answer may be unread */
    if (o->ping_interval_ms == UINT_MAX || c->heard_ms + o->ping_interval_ms > now)
        return;
    if (c->life.pinged && !(c->out.behind && conn_takes_output(c, 1))) {
        conn_ping_timeout(c);
        return;
    }
    if (!c->life.pinged) {
        conn_mark_output(c);                              /* bytes in front of the ping */
        if (c->outbox != NULL && c->outbox->slow_ms != 0) /* slow_ms counts from that mark, too */
            c->outbox->slow_ms = now + o->close_timeout_ms;
        conn_frame(c, WS_OP_PING, NULL, 0);
    }
    c->life.pinged = true;
    c->heard_ms = now + o->ping_timeout_ms - o->ping_interval_ms;
}

/* Is the unfinished message or body late? Not while the connection is paused: then it is not
 * read. */
static bool input_is_late(struct ws_conn *c)
{
    struct input *in = c->input;
    uint64_t now = c->server->now_ms;

    if (in == NULL || in->due_ms == 0 || now < in->due_ms)
        return false;
    if (!c->life.paused && unfinished_bytes(c) - in->due_from < SLOWEST)
        return true;
    in->due_ms = now + c->server->options.message_timeout_ms;
    in->due_from = unfinished_bytes(c);
    return false;
}

/* Has the queue been over max_queue for too long? */
static bool output_is_late(struct ws_conn *c)
{
    struct outbox *o = c->outbox;
    uint64_t now = c->server->now_ms;

    if (o == NULL || o->slow_ms == 0 || now < o->slow_ms)
        return false;
    if (!conn_takes_output(c, SLOWEST))
        return true;
    o->slow_ms = now + c->server->options.close_timeout_ms;
    return false;
}

/* One of the deadlines of an open connection has come, perhaps one that was moved meanwhile. */
static void open_due(struct ws_conn *c)
{
    unsigned interval_ms = c->server->options.ping_interval_ms;
    unsigned metered_ms;

    conn_narrow(c); /* another connection may need a wide socket more */
    metered_ms = conn_messages_metered(c);
    check_alive(c);
    if (c->state == CONN_OPEN && input_is_late(c))
        conn_fail(c, WS_CLOSE_POLICY, "the message took too long to come in",
                  "ws_options.message_timeout_ms");
    if (c->state == CONN_OPEN && output_is_late(c))
        conn_overrun(c, ws_strerror(WS_ERR_FULL));
    if (c->state != CONN_OPEN)
        return;
    if (interval_ms != UINT_MAX)
        server_deadline_by(c, c->heard_ms + interval_ms);
    if (metered_ms != 0)
        server_deadline_by(c, c->server->now_ms + metered_ms);
    if (c->input != NULL && c->input->due_ms != 0)
        server_deadline_by(c, c->input->due_ms);
    if (c->outbox != NULL && c->outbox->slow_ms != 0)
        server_deadline_by(c, c->outbox->slow_ms);
}

/* The request has not come in time. While an earlier response is on its way, the client may be busy
 * reading that. */
static void request_late(struct ws_conn *c)
{
    if (c->life.held || (conn_takes_output(c, SLOWEST) && (c->out.behind || conn_queued(c) > 0)))
        server_deadline(c, c->server->options.handshake_timeout_ms);
    else if (c->input != NULL)
        conn_refuse(c, 408, "the request took too long to come in",
                    "ws_options.handshake_timeout_ms");
    else
        conn_linger(c);
}

static void body_due(struct ws_conn *c)
{
    if (input_is_late(c))
        conn_refuse(c, 408, "the request body took too long to come in",
                    "ws_options.message_timeout_ms");
    else if (c->input != NULL && c->input->due_ms != 0)
        server_deadline_by(c, c->input->due_ms);
}

/* The peer has not acknowledged the last output in time, or not answered our Close or our FIN. A
 * peer that acknowledges SLOWEST bytes per timeout gets another timeout, so that the total time is
 * bounded by the bytes that are queued; fewer bytes do not prolong it. */
static void end_late(struct ws_conn *c)
{
    if (conn_takes_output(c, SLOWEST))
        server_deadline(c, c->server->options.close_timeout_ms);
    else
        conn_lost(c);
}

/* The one deadline of a connection that is not open. */
static void deadline_due(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_HTTP:
        request_late(c);
        break;
    case CONN_BODY:
        body_due(c);
        break;
    case CONN_CLOSING:
    case CONN_LINGERING:
        end_late(c);
        break;
    case CONN_OPEN: /* see open_due() */
    case CONN_ANSWERING:
    case CONN_UPGRADING:
    case CONN_DEAD:
        break;
    }
}

static void timer_fired(struct timer *t)
{
    struct ws_conn *c = TIMER_OWNER(t, struct ws_conn, timer);

    read_remaining(c);
    if (is_resting(c))
        timer_set(&c->server->timers, t, c->server->now_ms + 1); /* more input waits */
    else if (c->state == CONN_OPEN)
        open_due(c);
    else if (c->timer.link == NULL) /* else what was read has brought another deadline */
        deadline_due(c);
}

/* --- the beginning ---------------------------------------------------------------------------- */

struct ws_conn *conn_new(struct ws_server *s, int fd, struct host *host, bool proxied)
{
    struct ws_conn *c = calloc(1, sizeof *c + (proxied ? sizeof(struct conn_proxied) : 0));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (c != NULL)
        c->id = conn_table_add(&s->conns, c);
    if (c == NULL || c->id == 0) {
        server_log(s, WS_LOG_ERROR, "refused a client: out of memory");
        host_release(&s->hosts, host);
        free(c);
        socket_close(fd);
        return NULL;
    }
    c->source = (struct source){.fd = fd, .kind = SOURCE_CONN};
    c->server = s;
    c->req.proxied = proxied;
    conn_client_begin(c, host);
    c->state = CONN_HTTP;
    c->life.watched_in = true;
    c->timer.fire = timer_fired;
    server_deadline(c, s->options.handshake_timeout_ms);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        server_log(s, WS_LOG_ERROR, "refused a client: epoll_ctl: %s", strerror(errno));
        conn_kill(c);
        return NULL;
    }
    return c;
}

void conn_received(struct ws_conn *c, const void *data, size_t len)
{
    assert(c->state == CONN_HTTP && !has_stash(c));
    server_touch(c);
    if (len > 0)
        keep_input(c, data, len);
}

/* --- the API ---------------------------------------------------------------------------------- */

void ws_pause(struct ws_conn *c)
{
    c->life.held = true;
    server_touch(c);
}

void ws_resume(struct ws_conn *c)
{
    c->life.held = false;
    server_touch(c);
}

void ws_set_data(struct ws_conn *c, void *data)
{
    c->data = data;
}

void *ws_data(const struct ws_conn *c)
{
    return c->data;
}

void *ws_user(const struct ws_conn *c)
{
    return c->endpoint->handlers.user;
}

struct ws_server *ws_conn_server(const struct ws_conn *c)
{
    return c->server;
}

uint64_t ws_conn_id(const struct ws_conn *c)
{
    return c->id;
}

size_t ws_conn_queued(const struct ws_conn *c)
{
    return conn_queued(c);
}

size_t ws_conn_backlog(const struct ws_conn *c)
{
    return conn_backlog(c);
}

bool ws_conn_host(const struct ws_conn *c, uint64_t *host)
{
    const struct host *h = server_host_of(c);

    if (h != NULL)
        *host = h->key;
    return h != NULL;
}
