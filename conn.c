/* SPDX-License-Identifier: MIT
 *
 * The life of a connection: bytes in, deadlines, the end. What the bytes mean is the matter of
 * conn_http.c and conn_ws.c; how bytes leave, of conn_output.c; the states are in conn.h. */
#include "conn.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "listen.h"

/* --- the end of a connection ------------------------------------------------------------------ */

static void conn_drop_input(struct ws_conn *c)
{
    if (c->input == NULL)
        return;
    buf_release(&c->input->stash, &c->account);
    buf_release(&c->input->request, &c->account);
    buf_release(&c->input->payload, &c->account);
    account_free(&c->account, c->input, sizeof *c->input);
    c->input = NULL;
}

/* The memory stays until the turn ends, for the batch may name it still. Closing is not enough for
 * epoll to forget a descriptor: a child process that was forked meanwhile has a duplicate of it. */
void conn_kill(struct ws_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->abort_owed = conn_owes_answer(c);
    c->state = CONN_DEAD;
    timer_cancel(&c->server->timers, &c->timer);
    conn_narrow(c);
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_DEL, c->source.fd, NULL);
    close(c->source.fd);
    conn_drop_output(c);
    conn_touch(c);
}

void conn_free(struct ws_conn *c)
{
    room_leave_all(&c->server->rooms, &c->rooms);
    conn_drop_input(c);
    conn_drop_output(c);
    c->server->refused_count -= c->refused;
    server_remove(c->server, c->id);
    host_release(&c->server->hosts, conn_host(c));
    free(c);
}

void conn_deadline(struct ws_conn *c, unsigned ms)
{
    timer_set(&c->server->timers, &c->timer, server_now(c->server) + ms);
}

/* A deadline of an open connection, beside others: the timer runs to the first of them. */
static void conn_no_later(struct ws_conn *c, uint64_t at_ms)
{
    if (c->timer.link == NULL || c->timer.deadline > at_ms)
        timer_set(&c->server->timers, &c->timer, at_ms);
}

/* We wait for the peer's FIN so that no RST overtakes our last bytes. */
void conn_drain(struct ws_conn *c)
{
    if (c->state >= CONN_DRAINING)
        return;
    c->state = CONN_DRAINING;
    conn_deadline(c, c->server->options.close_timeout_ms);
    conn_mark_output(c);
    conn_touch(c);
}

void conn_report_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    if (!c->opened)
        return;
    c->opened = false;
    if (code == WS_CLOSE_ABNORMAL && c->overrun)
        code = WS_CLOSE_TRY_LATER;
    if (c->endpoint->handlers.on_close != NULL)
        c->endpoint->handlers.on_close(c, code, reason, len);
    room_leave_all(&c->server->rooms, &c->rooms);
}

void conn_ended(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    conn_drain(c);
    conn_report_close(c, code, reason, len);
}

void conn_lost(struct ws_conn *c)
{
    if (conn_owes_answer(c))
        conn_abort(c);
    conn_drain(c);
    conn_report_close(c, WS_CLOSE_ABNORMAL, "", 0);
    conn_kill(c);
}

/* The peer has shut down its sending side. It still gets what it is owed. */
static void conn_eof(struct ws_conn *c)
{
    c->eof = true;
    conn_touch(c);
    switch ((enum conn_state)c->state) {
    case CONN_ANSWERING:
        if (c->endpoint->handlers.on_abort != NULL) {
            conn_abort(c);
            conn_drain(c);
        }
        break;
    case CONN_OPEN:
    case CONN_CLOSING:
        conn_ended(c, WS_CLOSE_ABNORMAL, "", 0);
        break;
    case CONN_HTTP: /* when what has come is answered, see conn_settle() */
    case CONN_BODY:
    case CONN_UPGRADING:
    case CONN_DRAINING:
    case CONN_DEAD:
        break;
    }
}

void conn_overload(struct ws_conn *c)
{
    static const char why[] = "out of memory (--max-memory, ws_options.max_memory)";

    switch ((enum conn_state)c->state) {
    case CONN_OPEN:
        conn_fail(c, WS_CLOSE_TRY_LATER, why);
        break;
    case CONN_HTTP:
    case CONN_BODY:
    case CONN_ANSWERING:
    case CONN_UPGRADING:
        conn_refuse(c, 503, why);
        break;
    case CONN_CLOSING:
        conn_ended(c, WS_CLOSE_TRY_LATER, "", 0);
        break;
    case CONN_DRAINING:
    case CONN_DEAD:
        break;
    }
}

static bool has_stash(const struct ws_conn *c)
{
    return c->input != NULL && c->input->stash.len > 0;
}

/* A request that has begun to come is still answered, by what is then the last answer. */
void conn_stop(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_OPEN:
        if (conn_start_close(c, WS_CLOSE_GOING_AWAY, "the server stops") != 0)
            conn_lost(c);
        break;
    case CONN_HTTP:
        if (!has_stash(c))
            conn_drain(c);
        break;
    case CONN_BODY:
    case CONN_ANSWERING:
    case CONN_UPGRADING:
    case CONN_CLOSING:
    case CONN_DRAINING:
    case CONN_DEAD:
        break;
    }
}

/* The server closes first, RFC 6455 §7.1.1. That the peer has our FIN and all before it, and says
 * nothing more, is enough while the server stops: it may leave its side open for long. */
void conn_stop_waiting(struct ws_conn *c)
{
    if (c->state == CONN_DRAINING && c->fin_sent && c->heard_ms + QUIET_MS <= c->server->now_ms &&
        conn_all_taken(c))
        conn_lost(c);
}

/* --- input ------------------------------------------------------------------------------------ */

struct input *conn_input(struct ws_conn *c)
{
    int error;

    if (c->input != NULL)
        return c->input;
    c->input = account_new(&c->account, sizeof *c->input, ACCOUNT_ESSENTIAL, &error);
    if (c->input != NULL)
        *c->input = (struct input){.head_len = 0};
    return c->input;
}

/* May this connection's input be worked on now? Its output comes first: what the peer does not read
 * is not piled up. From the closing handshake on, input only ends the connection and is no longer
 * answered. */
static bool conn_may_feed(struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (c->state == CONN_ANSWERING || (c->held && c->state < CONN_CLOSING))
        return false;
    if (conn_queued(c) <= high)
        return true;
    if (!c->blocked)
        conn_flush(c);
    return conn_queued(c) <= high || c->state >= CONN_CLOSING;
}

/* The peer is alive: it sent bytes, or took some, for a slow reader is not a silent one. The timer
 * is not moved, unless it runs for the answer to a ping, which is here now. */
static void conn_heard(struct ws_conn *c)
{
    c->heard_ms = c->server->now_ms;
    if (c->pinged && c->state == CONN_OPEN)
        conn_no_later(c, c->heard_ms + c->server->options.ping_interval_ms);
    c->pinged = false;
}

/* Its share of the turn is used up, and `left` bytes wait for the next one. They need a place;
 * where there is no memory for one, the work goes on. */
static bool conn_rest(struct ws_conn *c, size_t left)
{
    struct input *in = conn_input(c);

    if (in == NULL || (in->stash.len == 0 && buf_reserve(&in->stash, &c->account,
                                                         account_kind_of(left), left, left) != 0))
        return false;
    in->rest_turn = c->server->turn;
    return true;
}

static bool conn_rests(const struct ws_conn *c)
{
    return c->input != NULL && c->input->rest_turn != 0;
}

/* What has been waiting is being worked on, which counts as if it came now. */
static void conn_end_rest(struct ws_conn *c)
{
    if (!conn_rests(c) || c->input->rest_turn == c->server->turn)
        return;
    c->input->rest_turn = 0;
    conn_heard(c);
}

/* Work on `data[0..len)`. Returns how much of it was consumed. */
static size_t conn_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;
    size_t step = 1;

    server_share_begin(c->server);
    while (used < len && step != 0 && conn_may_feed(c)) {
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
        case CONN_ANSWERING:
        case CONN_UPGRADING:
            step = 0;
            break;
        case CONN_DRAINING:
        case CONN_DEAD:
            step = len - used;
            break;
        }
        used += step;
        if (server_share_used(c->server, SHARE_STEP + step / SHARE_BYTES) && used < len &&
            c->state < CONN_CLOSING && conn_rest(c, len - used))
            break;
    }
    return used;
}

/* What has come of the message or the body that is coming. */
static size_t bytes_come(const struct ws_conn *c)
{
    const struct input *in = c->input;

    return c->state == CONN_BODY ? in->request.len : in->payload.len;
}

/* What is unfinished does not stay so for ever. */
static void conn_start_due(struct ws_conn *c)
{
    struct input *in = c->input;
    unsigned timeout_ms = c->server->options.message_timeout_ms;

    if (in->due_ms != 0 || timeout_ms == UINT_MAX ||
        (c->state != CONN_OPEN && c->state != CONN_BODY))
        return;
    in->due_ms = server_now(c->server) + timeout_ms;
    in->due_from = bytes_come(c);
    conn_no_later(c, in->due_ms);
}

/* An idle connection owns no buffers, and one that discards its input none for it. */
static void conn_tidy_input(struct ws_conn *c)
{
    const struct input *in = c->input;
    bool unfinished = in != NULL && (in->stash.len != 0 || in->head_len != 0 || in->in_frame ||
                                     in->message.state != MESSAGE_NONE);

    if (!unfinished || c->state >= CONN_DRAINING)
        conn_drop_input(c);
    else
        conn_start_due(c);
}

/* Go on with what had to wait. */
static void conn_feed_stash(struct ws_conn *c)
{
    struct buf *stash = &c->input->stash;
    size_t used = conn_feed(c, stash->data, stash->len);

    buf_consume(stash, used);
    if (stash->len == 0)
        buf_release(stash, &c->account);
}

/* The head of a request is essential, and so is the start of a frame. */
static void conn_stash(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct input *in = conn_input(c);
    enum account_kind kind = c->state == CONN_HTTP ? ACCOUNT_ESSENTIAL : account_kind_of(len);

    if (in == NULL || buf_append(&in->stash, &c->account, kind, data, len) != 0)
        conn_overload(c);
}

/* New bytes; what has been stashed comes before them. */
static void conn_received(struct ws_conn *c, uint8_t *data, size_t len)
{
    bool behind = has_stash(c);
    size_t used = behind ? 0 : conn_feed(c, data, len);

    if (used < len)
        conn_stash(c, data + used, len - used);
    if (behind)
        conn_feed_stash(c);
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

/* Bytes have come: `direct` of them where the message is assembled, the others in `data`. */
static void conn_came(struct ws_conn *c, size_t direct, uint8_t *data, size_t len)
{
    conn_heard(c);
    conn_touch(c);
    if (direct > 0)
        conn_payload_came(c, direct);
    if (len > 0)
        conn_received(c, data, len);
}

/* One read per readiness, so that no connection starves another: epoll is level-triggered. Returns
 * whether something came. */
static bool conn_read(struct ws_conn *c)
{
    uint8_t *shared = c->server->received;
    uint8_t *space = NULL;
    size_t kept = take_frame_start(c, shared);
    size_t direct = kept > 0 ? 0 : conn_payload_space(c, &space);
    struct iovec iov[] = {{.iov_base = space, .iov_len = direct},
                          {.iov_base = shared, .iov_len = RECEIVE_SIZE}};
    ssize_t n = direct > 0 ? readv(c->source.fd, iov, 2)
                           : recv(c->source.fd, shared + kept, RECEIVE_SIZE, 0);

    if (n > 0) {
        direct = (size_t)n < direct ? (size_t)n : direct;
        conn_came(c, direct, shared, kept + (size_t)n - direct);
    } else if (n == 0) {
        conn_eof(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_lost(c);
    } else if (kept > 0) {
        conn_stash(c, shared, kept);
    }
    return n > 0;
}

/* One ready connection of a batch. The application may close any connection from a callback, even
 * one later in this batch, so closing only marks CONN_DEAD; the loop frees after the batch. */
void conn_ready(struct ws_conn *c, uint32_t events)
{
    bool over = (events & (EPOLLHUP | EPOLLERR)) != 0; /* on both sides, or by RST */

    if (c->state == CONN_DEAD)
        return;
    if (over && (c->eof || (c->paused && c->state == CONN_ANSWERING))) {
        conn_lost(c);
        return;
    }
    if (over && c->paused) {
        c->held = false;
        conn_give_up_output(c);
        return; /* what is stashed comes before what is still to be read */
    }
    /* Read before write, so that a reply leaves in the same turn. When it is over, recv() says
     * why. */
    if (over || (events & EPOLLIN) != 0)
        conn_read(c);
    if (c->state != CONN_DEAD && (events & EPOLLOUT) != 0) {
        c->blocked = false;
        conn_heard(c);
        conn_touch(c);
    }
}

/* --- settling --------------------------------------------------------------------------------- */

void conn_touch(struct ws_conn *c)
{
    struct ws_server *s = c->server;

    if (c->listed)
        return;
    c->listed = true;
    c->next_touched = s->touched;
    s->touched = c;
    if (!s->in_turn)
        eventfd_write(s->wake.fd, 1); /* called from outside the loop: have a turn */
}

static bool conn_is_paused(const struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (conn_rests(c))
        return true;
    if (c->state == CONN_ANSWERING)
        return c->input != NULL && c->input->stash.len >= HTTP_HEAD_MAX;
    if (c->state >= CONN_CLOSING)
        return false;
    if (c->held)
        return true;
    return conn_queued(c) > (c->paused ? high / 2 : high);
}

static void conn_finish(struct ws_conn *c)
{
    if (c->state != CONN_DRAINING || conn_queued(c) > 0)
        return;
    if (c->eof) {
        conn_kill(c);
    } else if (!c->fin_sent) {
        c->fin_sent = true;
        shutdown(c->source.fd, SHUT_WR);
    }
}

/* The peer has shut down its side, and all that came before is answered: what is left of its input
 * can never become a request. */
static void conn_cut_short(struct ws_conn *c)
{
    if (conn_owes_answer(c))
        conn_abort(c);
    conn_drain(c);
}

/* A burst may take the queue over max_queue; the peer has close_timeout_ms to take that, or as long
 * as it takes SLOWEST bytes each time. */
static void conn_note_slow(struct ws_conn *c)
{
    struct outbox *o = c->outbox;

    if (o == NULL || c->state != CONN_OPEN)
        return;
    if (o->queue.queued <= c->server->options.max_queue) {
        o->slow_ms = 0;
    } else if (o->slow_ms == 0) {
        o->slow_ms = server_now(c->server) + c->server->options.close_timeout_ms;
        conn_mark_output(c);
        conn_no_later(c, o->slow_ms);
    }
}

void conn_settle(struct ws_conn *c)
{
    c->sent_at_once = false;
    if (!c->blocked)
        conn_flush(c);
    if (c->state == CONN_DEAD)
        return;
    conn_end_rest(c);
    c->paused = conn_is_paused(c);
    if (!c->paused && has_stash(c))
        conn_feed_stash(c);
    else if (!c->paused && c->state == CONN_BODY)
        conn_body_feed(c, (const uint8_t *)"", 0); /* one of no bytes may have been paused */
    if (c->eof && c->state <= CONN_BODY && conn_queued(c) == 0 && !conn_rests(c) && !c->held)
        conn_cut_short(c);
    if (c->drain_owed && conn_queued(c) <= c->server->options.high_water / 2) {
        c->drain_owed = false;
        if (c->state == CONN_OPEN && c->endpoint->handlers.on_drain != NULL)
            c->endpoint->handlers.on_drain(c);
    }
    conn_tidy_input(c);
    conn_note_slow(c);
    conn_finish(c);
    c->paused = conn_is_paused(c); /* again: what was fed has been answered */
    if (c->state != CONN_DEAD && conn_rests(c))
        conn_touch(c);
    if (c->state != CONN_DEAD)
        conn_watch(c);
}

/* --- deadlines -------------------------------------------------------------------------------- */

/* A socket holds more than one read takes. What lies in it when a deadline comes was there in time:
 * it is read before that is judged. */
static void conn_read_rest(struct ws_conn *c)
{
    for (int i = 0; i < REST_READS && c->state != CONN_DEAD && !c->eof; i++) {
        c->paused = conn_is_paused(c);
        if (c->paused || !conn_read(c))
            return;
    }
}

void conn_give_up(struct ws_conn *c)
{
    conn_read_rest(c);
    if (conn_owes_answer(c)) {
        conn_refuse(c, 503, "the server stops");
        conn_flush(c);
    }
    if (c->state != CONN_DEAD)
        conn_lost(c);
}

/* Silence for ping_interval brings a ping, silence for ping_timeout after it the end, unless the
 * ping waits behind output that the peer had yet to take, and takes. The timer is not moved for
 * every byte; it looks at heard_ms when it fires. RFC 6455 §5.5.2 */
static void conn_check_alive(struct ws_conn *c)
{
    const struct ws_options *o = &c->server->options;
    uint64_t now = c->server->now_ms;

    if (c->held)
        c->heard_ms = now; /* it may have answered */
    if (o->ping_interval_ms == UINT_MAX || c->heard_ms + o->ping_interval_ms > now)
        return;
    if (c->pinged && !(c->behind && conn_takes_output(c, 1))) {
        conn_drain(c);
        conn_report_close(c, WS_CLOSE_ABNORMAL, "ping timeout", 12);
        conn_kill(c);
        return;
    }
    if (!c->pinged) {
        conn_mark_output(c);                              /* what is in front of the ping */
        if (c->outbox != NULL && c->outbox->slow_ms != 0) /* which counts from that mark, too */
            c->outbox->slow_ms = now + o->close_timeout_ms;
        conn_frame(c, WS_OP_PING, NULL, 0);
    }
    c->pinged = true;
    c->heard_ms = now + o->ping_timeout_ms - o->ping_interval_ms;
}

/* Is what has begun late? While the connection is not read, that is not the peer's fault. */
static bool conn_input_is_late(struct ws_conn *c)
{
    struct input *in = c->input;
    uint64_t now = c->server->now_ms;

    if (in == NULL || in->due_ms == 0 || now < in->due_ms)
        return false;
    if (!c->paused && bytes_come(c) - in->due_from < SLOWEST)
        return true;
    in->due_ms = now + c->server->options.message_timeout_ms;
    in->due_from = bytes_come(c);
    return false;
}

/* Has the peer left a queue over max_queue for too long? */
static bool conn_output_is_late(struct ws_conn *c)
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
static void conn_open_due(struct ws_conn *c)
{
    unsigned interval_ms = c->server->options.ping_interval_ms;

    conn_narrow(c); /* others may need it more */
    conn_check_alive(c);
    if (c->state == CONN_OPEN && conn_input_is_late(c))
        conn_fail(c, WS_CLOSE_POLICY, "the message took too long to come in");
    if (c->state == CONN_OPEN && conn_output_is_late(c))
        conn_overrun(c, ws_strerror(WS_ERR_FULL));
    if (c->state != CONN_OPEN)
        return;
    if (interval_ms != UINT_MAX)
        conn_no_later(c, c->heard_ms + interval_ms);
    if (c->input != NULL && c->input->due_ms != 0)
        conn_no_later(c, c->input->due_ms);
    if (c->outbox != NULL && c->outbox->slow_ms != 0)
        conn_no_later(c, c->outbox->slow_ms);
}

/* The request has not come in time. While an earlier response is on its way, the client may be busy
 * reading that. */
static void conn_request_late(struct ws_conn *c)
{
    if (c->held || (conn_takes_output(c, SLOWEST) && (c->behind || conn_queued(c) > 0)))
        conn_deadline(c, c->server->options.handshake_timeout_ms);
    else if (c->input != NULL)
        conn_refuse(c, 408, "the request took too long to come in");
    else
        conn_drain(c);
}

static void conn_body_due(struct ws_conn *c)
{
    if (conn_input_is_late(c))
        conn_refuse(c, 408, "the request body took too long to come in");
    else if (c->input != NULL && c->input->due_ms != 0)
        conn_no_later(c, c->input->due_ms);
}

/* The peer has not taken our last words in time, or not answered our Close or our FIN. Who reads on
 * at a fair pace gets them all: the time for that is bounded by what is queued. A trickle buys no
 * time. */
static void conn_end_late(struct ws_conn *c)
{
    if (conn_takes_output(c, SLOWEST))
        conn_deadline(c, c->server->options.close_timeout_ms);
    else
        conn_lost(c);
}

/* The one deadline of a connection that is not open. */
static void conn_due(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_HTTP:
        conn_request_late(c);
        break;
    case CONN_BODY:
        conn_body_due(c);
        break;
    case CONN_CLOSING:
    case CONN_DRAINING:
        conn_end_late(c);
        break;
    case CONN_OPEN: /* see conn_open_due() */
    case CONN_ANSWERING:
    case CONN_UPGRADING:
    case CONN_DEAD:
        break;
    }
}

static void conn_timer_fired(struct timer *t)
{
    struct ws_conn *c = TIMER_OWNER(t, struct ws_conn, timer);

    conn_read_rest(c);
    if (conn_rests(c))
        timer_set(&c->server->timers, t, c->server->now_ms + 1); /* there is more to hear */
    else if (c->state == CONN_OPEN)
        conn_open_due(c);
    else if (c->timer.link == NULL) /* else what was read has brought another deadline */
        conn_due(c);
}

/* --- the beginning ---------------------------------------------------------------------------- */

struct host *conn_host(const struct ws_conn *c)
{
    struct account *above = c->account.above;

    return above == &c->server->budget.all
               ? NULL
               : (struct host *)((char *)above - offsetof(struct host, account));
}

struct ws_conn *conn_new(struct ws_server *s, int fd, struct host *host)
{
    struct ws_conn *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (c == NULL || !server_add(s, c)) {
        server_log(s, WS_LOG_ERROR, "refused a client: out of memory");
        host_release(&s->hosts, host);
        free(c);
        close(fd);
        return NULL;
    }
    c->account.above = host == NULL ? &s->budget.all : &host->account;
    c->source = (struct source){.fd = fd, .kind = SOURCE_CONN};
    c->server = s;
    c->state = CONN_HTTP;
    c->watched_in = true;
    c->timer.fire = conn_timer_fired;
    conn_deadline(c, s->options.handshake_timeout_ms);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        server_log(s, WS_LOG_ERROR, "refused a client: epoll_ctl: %s", strerror(errno));
        conn_kill(c);
        return NULL;
    }
    return c;
}

/* --- the API ---------------------------------------------------------------------------------- */

void ws_pause(struct ws_conn *c)
{
    c->held = true;
    conn_touch(c);
}

void ws_resume(struct ws_conn *c)
{
    c->held = false;
    conn_touch(c);
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
    const struct host *h = conn_host(c);

    if (h != NULL)
        *host = h->key;
    return h != NULL;
}

const char *ws_conn_address(const struct ws_conn *c, char out[WS_ADDRESS_SIZE])
{
    /* A dead connection's descriptor is closed, and may be somebody else's by now. */
    listen_peer(c->state == CONN_DEAD ? -1 : c->source.fd, out, WS_ADDRESS_SIZE);
    return out;
}
