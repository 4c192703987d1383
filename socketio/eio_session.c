/* SPDX-License-Identifier: MIT
 *
 * A session: heartbeat, input, the upgrade from polling to a WebSocket, and the end, which may come
 * in any state. eio_output.c sends. */
#include "eio_session.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "eio_codec.h"
#include "eio_output.h"

enum { LINGER_MS = 30000 /* for a client to fetch what is queued after eio_close() */ };

/* --- the end ---------------------------------------------------------------------------------- */

/* Count which form of a message this session gets, frame or text; see eio_packet_encode(). */
static void count_form(const struct eio_session *s, bool in)
{
    struct eio_server *e = s->server;

    if (s->on_websocket)
        e->websocket_count += in ? 1 : (size_t)-1;
    if (!s->on_websocket || s->no_binary)
        e->text_count += in ? 1 : (size_t)-1;
}

/* Close a connection, if there is one, and forget it. */
static void close_conn(struct ws_conn **c)
{
    if (*c == NULL)
        return;
    ws_set_data(*c, NULL);
    ws_close(*c, WS_CLOSE_NONE, NULL);
    *c = NULL;
}

static void stop_timer(struct ws_timer **t)
{
    ws_timer_cancel(*t);
    *t = NULL;
}

/* False when out of memory. */
static bool start_timer(struct eio_session *s, struct ws_timer **t, unsigned ms,
                        void (*fn)(void *arg))
{
    *t = ws_timer_new(s->server->ws, s->account, fn, s);
    if (*t != NULL)
        ws_timer_set(*t, ms);
    return *t != NULL;
}

static void stop_timers(struct eio_session *s)
{
    stop_timer(&s->heartbeat);
    stop_timer(&s->upgrade_timer);
    stop_timer(&s->connect_timer);
}

void eio_session_drop_post(struct eio_session *s)
{
    if (s->working)
        return;
    if (s->server->ws != NULL) /* else ws_server_free() has freed the timer */
        ws_timer_cancel(s->post_timer);
    s->post_timer = NULL;
    ws_account_give(s->account, s->rest, s->rest == NULL ? 0 : s->rest_size);
    s->rest = NULL;
}

/* End all connections and requests of the session; a held GET is answered with `payload`. Later
 * requests do not find the session. */
static void detach(struct eio_session *s, const char *payload)
{
    eio_output_answer_get(s, payload);
    eio_output_end_post(s);
    close_conn(&s->probe);
    close_conn(&s->ws);
    stop_timers(s);
    eio_session_drop_post(s);
    eio_output_drop(s);
    eio_server_forget(s);
    eio_server_mark(s);
}

static void end_with(struct eio_session *s, enum eio_reason reason, const char *payload)
{
    if (!s->ended) {
        s->ended = true;
        s->reason = (uint8_t)reason;
    }
    detach(s, payload);
}

void eio_session_end(struct eio_session *s, enum eio_reason reason)
{
    end_with(s, reason, EIO_CLOSE_PACKET);
}

/* Wait until the client has fetched the queue; the poll after that gets a close packet. A client
 * that upgrades does not poll meanwhile; it gets both on the WebSocket. */
static void linger(struct eio_session *s)
{
    stop_timer(&s->connect_timer);
    if (!s->upgrading) {
        stop_timer(&s->upgrade_timer);
        close_conn(&s->probe);
    }
    eio_output_end_post(s);
    eio_session_drop_post(s);
    ws_timer_set(s->heartbeat, LINGER_MS);
    eio_server_mark(s);
}

/* A client whose queue has overflowed is not waited for: the memory of the queue is needed. */
void eio_close(struct eio_session *s)
{
    bool at_once = s->ws != NULL || s->get.conn != NULL;

    if (s->ended)
        return;
    s->ended = true;
    s->reason = at_once ? EIO_FORCED_CLOSE : EIO_FORCED_SERVER_CLOSE;
    if ((at_once && s->queue.len == 0) || s->overflowed)
        detach(s, EIO_CLOSE_PACKET);
    else
        linger(s);
}

void eio_session_free(struct eio_session *s)
{
    struct ws_account *account = s->account;

    assert(s->ended && !s->report_owed);
    count_form(s, false);
    eio_host_sessions_remove(&s->server->host_sessions, s->host);
    eio_server_remove(s);
    eio_output_drop(s);
    eio_session_drop_post(s);
    ws_account_give(account, s, sizeof *s);
    ws_account_release(account);
}

void eio_session_report(struct eio_session *s)
{
    if (!s->report_owed)
        return;
    assert(s->ended);
    s->report_owed = false;
    s->server->open_count--;
    if (s->server->handlers.on_close != NULL)
        s->server->handlers.on_close(s, (enum eio_reason)s->reason);
}

/* --- settling --------------------------------------------------------------------------------- */

/* Returns as ws_send(). A failure ends the session, since what was queued is lost. */
static int flush(struct eio_session *s)
{
    int result = eio_output_flush(s);

    if (result < 0)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    return result;
}

/* After a callback, for a session on polling: answer the held GET with the queue, and read the body
 * of a paused POST if the client has fetched enough. A client that upgrades does not fetch more: it
 * finishes the upgrade only when no request is held. */
static void settle_polling(struct eio_session *s)
{
    size_t low_water = s->server->options.high_water / 2;

    if (s->get.conn != NULL && s->queue.len > 0)
        flush(s);
    if (s->upgrading)
        eio_output_answer_get(s, EIO_NOOP_PACKET);
    if (s->upgrading || s->queue.len <= low_water)
        eio_output_resume_post(s);
    if (s->queue.len <= low_water)
        eio_output_drained(s);
}

/* A callback that is called here may mark the session again; then it is not freed yet. */
static void settle(struct eio_session *s)
{
    assert(s->server->marked.depth == 1);
    if (!s->on_websocket)
        settle_polling(s);
    if (s->ended)
        eio_session_report(s);
    if (!s->ended || s->known || settle_is_marked(&s->mark))
        return;
    assert(s->ws == NULL && s->probe == NULL && s->get.conn == NULL && s->post.conn == NULL);
    eio_session_free(s);
}

static struct eio_session *session_of(struct settle_item *mark)
{
    return (struct eio_session *)((char *)mark - offsetof(struct eio_session, mark));
}

void eio_enter(struct eio_server *e)
{
    settle_enter(&e->marked);
}

void eio_leave(struct eio_server *e)
{
    struct settle_item *mark;

    while ((mark = settle_next(&e->marked)) != NULL)
        settle(session_of(mark));
    settle_leave(&e->marked);
}

/* --- the heartbeat ---------------------------------------------------------------------------- */

static void ping(struct eio_session *s)
{
    assert(!s->ended && !s->pinged);
    s->pinged = true;
    s->extended = false;
    ws_timer_set(s->heartbeat, s->server->options.ping_timeout_ms);
    eio_output_ping(s);
}

static void heartbeat_fired(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    eio_enter(e);
    if (s->ended)
        detach(s, EIO_CLOSE_PACKET); /* the client has not fetched the queue in time */
    else if (s->pinged && s->rest == NULL)
        eio_session_end(s, EIO_PING_TIMEOUT);
    else if (s->pinged) /* the pong may be among the packets of `rest` */
        ws_timer_set(s->heartbeat, s->server->options.ping_timeout_ms);
    else
        ping(s);
    eio_leave(e);
}

/* A pong that answers no ping is ignored: setting the timer costs more than all else of a packet,
 * and a POST may have half a million of them. */
static void pong(struct eio_session *s)
{
    if (!s->pinged)
        return;
    s->pinged = false;
    ws_timer_set(s->heartbeat, s->server->options.ping_interval_ms);
}

/* Another packet has come instead of the pong. The pong may wait behind a large upload, so the ping
 * timeout starts again, but only once. */
static void extend_pong_time(struct eio_session *s)
{
    if (!s->pinged || s->extended)
        return;
    s->extended = true;
    ws_timer_set(s->heartbeat, s->server->options.ping_timeout_ms);
}

/* --- input ------------------------------------------------------------------------------------ */

static void deliver(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    if (!s->ended && s->server->handlers.on_message != NULL)
        s->server->handlers.on_message(s, opcode, data, len);
}

static void deliver_base64(struct eio_session *s, struct ws_str text)
{
    size_t size = EIO_BINARY_ROOM(text.len);
    void *data = ws_account_resize(s->account, NULL, 0, size);

    if (data == NULL) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        return;
    }
    deliver(s, WS_OP_BINARY, data, eio_binary_decode(data, text));
    ws_account_give(s->account, data, size);
}

/* Text that is not UTF-8 is not passed to the application: if the application sent it to other
 * clients, their WebSocket connections would fail. */
static void message(struct eio_session *s, const struct eio_decoded *p, bool checked)
{
    if (p->binary)
        deliver_base64(s, p->data);
    else if (checked || ws_utf8_valid(p->data.data, p->data.len))
        deliver(s, WS_OP_TEXT, p->data.data, p->data.len);
    else
        eio_session_end(s, EIO_PARSE_ERROR);
}

void eio_session_packet(struct eio_session *s, struct ws_str packet, bool checked)
{
    struct eio_decoded p;

    if (!eio_decode(&p, packet)) {
        eio_session_end(s, EIO_PARSE_ERROR);
        return;
    }
    switch (p.type) {
    case EIO_TYPE_PONG:
        pong(s);
        break;
    case EIO_TYPE_MESSAGE:
        extend_pong_time(s);
        message(s, &p, checked);
        break;
    case EIO_TYPE_CLOSE:
        end_with(s, EIO_TRANSPORT_CLOSE,
                 EIO_NOOP_PACKET); /* the client itself has closed: it needs no close packet */
        break;
    case EIO_TYPE_PING: /* in protocol 4 only the server sends it */
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        break;
    case EIO_TYPE_OPEN:
    case EIO_TYPE_UPGRADE:
    case EIO_TYPE_NOOP:
        extend_pong_time(s);
        break;
    }
}

void eio_session_binary(struct eio_session *s, const void *data, size_t len)
{
    extend_pong_time(s);
    deliver(s, WS_OP_BINARY, data, len);
}

/* --- polling ---------------------------------------------------------------------------------- */

void eio_session_hold(struct eio_session *s, struct eio_asker *place, const struct eio_asker *to)
{
    assert(place->conn == NULL);
    *place = *to;
    eio_asker_keep(place, s->account);
    ws_set_data(to->conn, s);
    eio_server_mark(s);
}

/* The response is what is queued; it is sent when the session is settled. */
void eio_session_poll(struct eio_session *s, const struct eio_asker *to)
{
    if (s->get.conn != NULL) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        eio_reply(&s->server->options, to, 400, EIO_BODY_NONE, NULL, 0, NULL);
        return;
    }
    eio_session_hold(s, &s->get, to);
    if (s->ended && s->queue.len == 0)
        detach(s, EIO_NOOP_PACKET "\x1e" EIO_CLOSE_PACKET);
}

void eio_session_carry(struct eio_session *s, struct ws_conn *c)
{
    s->ws = c;
    ws_set_data(c, s);
}

/* --- from polling to a WebSocket -------------------------------------------------------------- */

void eio_session_unprobe(struct eio_session *s)
{
    stop_timer(&s->upgrade_timer);
    s->upgrading = false;
    close_conn(&s->probe);
}

static void upgrade_timeout(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    eio_enter(e);
    eio_session_unprobe(s);
    eio_leave(e);
}

/* A client that asks for base64 on polling does not ask for it on the WebSocket: the query of the
 * WebSocket's own request counts. */
bool eio_session_probe(struct eio_session *s, struct ws_conn *c, const struct eio_request *r)
{
    assert(s->probe == NULL && !s->on_websocket && !s->ended);
    if (!start_timer(s, &s->upgrade_timer, s->server->options.upgrade_timeout_ms, upgrade_timeout))
        return false;
    s->probe = c;
    s->no_binary = r->no_binary;
    ws_set_data(c, s);
    return true;
}

/* The client has finished polling: from now on both sides send on the WebSocket only. A pong that
 * is due may have been sent by POST and be late, so the ping timeout starts again (the reference
 * has no limit here). */
static void take_over(struct eio_session *s)
{
    int result;

    assert(s->probe != NULL && s->ws == NULL && !s->on_websocket);
    s->ws = s->probe;
    s->probe = NULL;
    count_form(s, false);
    s->on_websocket = true;
    count_form(s, true);
    eio_session_unprobe(s);
    eio_output_answer_get(s, EIO_CLOSE_PACKET);
    eio_output_end_post(s);
    if (s->rest != NULL)
        ws_pause(s->ws); /* its messages must be handled after the packets of `rest` */
    result = flush(s);
    if (s->ended) {
        detach(s, EIO_CLOSE_PACKET); /* it was lingering, and its queue has just been sent */
        return;
    }
    if (s->pinged)
        ws_timer_set(s->heartbeat, s->server->options.ping_timeout_ms);
    if (result == WS_SENT)
        eio_output_drained(s);
}

static void probe_answer(struct eio_session *s)
{
    ws_send(s->probe, WS_OP_TEXT, "3probe", 6);
    s->upgrading = true;
    eio_server_mark(s); /* settling answers the requests that are held */
}

void eio_session_probed(struct eio_session *s, enum ws_opcode opcode, struct ws_str packet)
{
    struct eio_decoded p;

    if (opcode == WS_OP_TEXT && ws_str_is(packet, "2probe"))
        probe_answer(s);
    else if (opcode == WS_OP_TEXT && eio_decode(&p, packet) && p.type == EIO_TYPE_UPGRADE)
        take_over(s);
    else
        eio_session_unprobe(s);
}

/* --- opening ---------------------------------------------------------------------------------- */

static struct eio_session *session_alloc(struct eio_server *e, const struct ws_conn *c)
{
    struct ws_account *account = ws_account_new(e->ws, c);
    struct eio_session *s = account == NULL ? NULL : ws_account_take(account, sizeof *s);

    if (s == NULL) {
        ws_account_release(account);
        return NULL;
    }
    s->account = account;
    s->server = e;
    return s;
}

/* A host may have a third of the sessions that are still free, so a quarter of all; the next host
 * gets a quarter of the rest. So even when many hosts take all that they may, a new one still gets
 * some. */
static bool count_in(struct eio_session *s, const struct ws_conn *c)
{
    struct eio_server *e = s->server;
    size_t max = e->options.max_sessions_per_host;
    uint64_t key;

    if (!ws_conn_host(c, &key))
        return true;
    if (max == 0)
        max = (e->options.max_sessions - e->session_count + 2) / 3;
    s->host = eio_host_sessions_add(&e->host_sessions, key, max);
    return s->host != NULL;
}

struct eio_session *eio_session_new(struct eio_server *e, const struct eio_request *r,
                                    const struct ws_conn *c)
{
    struct eio_session *s;

    if (e->closing || e->session_count >= e->options.max_sessions)
        return NULL;
    s = session_alloc(e, c);
    if (s == NULL)
        return NULL;
    s->on_websocket = r->transport == EIO_WEBSOCKET;
    s->no_binary = r->no_binary;
    s->heartbeat = ws_timer_new(e->ws, s->account, heartbeat_fired, s);
    if (s->heartbeat == NULL || !eio_id_new(e, s->id) || !count_in(s, c) || !eio_server_add(e, s)) {
        struct ws_account *account = s->account;

        stop_timer(&s->heartbeat);
        eio_host_sessions_remove(&e->host_sessions, s->host);
        ws_account_give(account, s, sizeof *s);
        ws_account_release(account);
        return NULL;
    }
    count_form(s, true);
    ws_timer_set(s->heartbeat, e->options.ping_interval_ms);
    return s;
}

size_t eio_session_open_packet(const struct eio_session *s, char out[EIO_OPEN_PACKET_SIZE])
{
    const struct eio_options *o = &s->server->options;
    bool may_upgrade = !s->on_websocket && !o->no_upgrade && (o->transports & EIO_WEBSOCKET) != 0;
    int len = snprintf(out, EIO_OPEN_PACKET_SIZE,
                       "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%u,"
                       "\"pingTimeout\":%u,\"maxPayload\":%zu}",
                       s->id, may_upgrade ? "\"websocket\"" : "", o->ping_interval_ms,
                       o->ping_timeout_ms, o->max_payload);

    return (size_t)len;
}

static void connect_timeout(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    eio_enter(e);
    stop_timer(&s->connect_timer);
    eio_close(s);
    eio_leave(e);
}

void eio_session_opened(struct eio_session *s, const struct eio_handshake *h)
{
    struct eio_server *e = s->server;

    if (e->options.connect_timeout_ms != 0 &&
        !start_timer(s, &s->connect_timer, e->options.connect_timeout_ms, connect_timeout)) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        return;
    }
    s->report_owed = true;
    e->open_count++;
    if (e->handlers.on_open != NULL)
        e->handlers.on_open(s, h);
}

void eio_keep(struct eio_session *s)
{
    if (!s->ended)
        stop_timer(&s->connect_timer);
}

/* --- what is known of a session --------------------------------------------------------------- */

void eio_set_data(struct eio_session *s, void *data)
{
    s->data = data;
}

void *eio_data(const struct eio_session *s)
{
    return s->data;
}

struct eio_server *eio_session_server(const struct eio_session *s)
{
    return s->server;
}

bool eio_is_open(const struct eio_session *s)
{
    return !s->ended;
}

struct ws_account *eio_session_account(const struct eio_session *s)
{
    return s->account;
}

enum eio_transport eio_session_transport(const struct eio_session *s)
{
    return s->on_websocket ? EIO_WEBSOCKET : EIO_POLLING;
}

const char *eio_transport_name(enum eio_transport transport)
{
    return transport == EIO_WEBSOCKET ? "websocket" : "polling";
}

const char *eio_reason_text(enum eio_reason reason)
{
    switch (reason) {
    case EIO_TRANSPORT_CLOSE:
        break;
    case EIO_TRANSPORT_ERROR:
        return "transport error";
    case EIO_PING_TIMEOUT:
        return "ping timeout";
    case EIO_PARSE_ERROR:
        return "parse error";
    case EIO_FORCED_CLOSE:
        return "forced close";
    case EIO_FORCED_SERVER_CLOSE:
        return "forced server close";
    case EIO_SHUTTING_DOWN:
        return "server shutting down";
    }
    return "transport close";
}

const char *eio_session_id(const struct eio_session *s)
{
    return s->id;
}
