/* SPDX-License-Identifier: MIT
 *
 * Engine.IO 4: takes requests and WebSockets from ws.h, checks them in the order of the reference,
 * and passes them to their session, which is found by its id or made. */
#include "engineio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eio_output.h"
#include "eio_post.h"
#include "eio_session.h"
#include "eio_waits.h"

/* --- settling --------------------------------------------------------------------------------- */

/* eio_server.settle_posted: sessions were marked outside of all callbacks. */
static void settle_posted(void *arg)
{
    struct eio_server *e = arg;

    e->marked.requested = false;
    eio_enter(e);
    eio_leave(e);
}

/* --- checks ----------------------------------------------------------------------------------- */

/* A request and the result of the checks, while its callback runs. */
struct received {
    const struct ws_request *req;
    struct eio_request query; /* what it asks for */
    struct eio_asker to;      /* the request to answer */
    bool upgrade;             /* it asks for a WebSocket */
    enum eio_error error;
    const char *name;               /* of a bad request, for on_connection_error */
    bool later;                     /* the application decides later */
    bool overload;                  /* there is no memory for that */
    const char *text;               /* of the application that refuses it; NULL: none */
    struct eio_session *session;    /* that it names; NULL: it wants a new one */
    struct eio_handshake handshake; /* of a new one */
    char address[WS_ADDRESS_SIZE];  /* that `handshake` refers to */
};

static const char transport_mismatch[] = "TRANSPORT_MISMATCH";
static const char protocol_mismatch[] = "PROTOCOL_MISMATCH";

static enum eio_error bad_request(struct received *r, const char *name)
{
    r->name = name;
    return EIO_BAD_REQUEST;
}

/* A request that names a session. */
static enum eio_error check_sid(struct received *r, const struct eio_server *e)
{
    struct eio_session *s = eio_server_find(e, r->query.sid);
    unsigned transport = r->query.transport;

    if (s == NULL)
        return EIO_UNKNOWN_SID;
    if (r->upgrade && transport == EIO_WEBSOCKET && (e->options.no_upgrade || s->ended))
        return bad_request(r, "TRANSPORT_HANDSHAKE_ERROR");
    if (r->upgrade ? transport != EIO_WEBSOCKET : transport != EIO_POLLING || s->on_websocket)
        return bad_request(r, transport_mismatch);
    if (!r->query.protocol_4) /* no session has another protocol */
        return bad_request(r, protocol_mismatch);
    r->session = s;
    return EIO_OK;
}

/* Ask the application, unless it has been asked and has decided since. */
static enum eio_error ask(struct received *r, struct eio_server *e)
{
    struct eio_wait *w = eio_wait_find(e, r->to.conn);

    e->wait_failed = false;
    if (w == NULL) {
        r->text = e->handlers.on_handshake(e, &r->handshake);
        w = eio_wait_find(e, r->to.conn);
    }
    if (w != NULL)
        r->text = w->refused ? w->text : NULL;
    r->later = w != NULL && !w->decided;
    r->overload = e->wait_failed;
    return r->text != NULL && !r->overload ? EIO_FORBIDDEN : EIO_OK;
}

/* A request for a new session. Only here the address is asked for, which costs a system call. */
static enum eio_error check_new(struct received *r, struct eio_server *e)
{
    if (r->query.method != EIO_GET)
        return EIO_BAD_METHOD;
    if ((r->query.transport == EIO_WEBSOCKET) != r->upgrade)
        return bad_request(r, "TRANSPORT_HANDSHAKE_ERROR");
    r->handshake =
        (struct eio_handshake){r->req, ws_conn_address(r->to.conn, r->address), r->to.conn};
    if (e->handlers.on_handshake != NULL && ask(r, e) != EIO_OK)
        return EIO_FORBIDDEN;
    if (r->later || r->overload)
        return EIO_OK;
    return r->query.protocol_4 ? EIO_OK : EIO_UNSUPPORTED_PROTOCOL;
}

/* The checks are in the order of the reference: the first that fails decides the error. */
static enum eio_error check(struct received *r, struct eio_server *e)
{
    if ((r->query.transport & e->options.transports) == 0)
        return EIO_UNKNOWN_TRANSPORT;
    return r->query.has_sid ? check_sid(r, e) : check_new(r, e);
}

/* The parameter of the query that is wrong; NULL: none is. */
static const char *wrong_parameter(const struct received *r)
{
    bool bad = r->error == EIO_BAD_REQUEST;

    if (r->error == EIO_UNKNOWN_SID)
        return "sid";
    if (r->error == EIO_UNKNOWN_TRANSPORT || (bad && strcmp(r->name, transport_mismatch) == 0))
        return "transport";
    if (r->error == EIO_UNSUPPORTED_PROTOCOL || (bad && strcmp(r->name, protocol_mismatch) == 0))
        return "EIO";
    return NULL;
}

/* What is wrong with it, for the application; see eio_connection_error.context. */
static struct ws_str context_of(const struct received *r, char *out, size_t size)
{
    const char *parameter = wrong_parameter(r);
    ptrdiff_t len;

    if (r->error == EIO_BAD_METHOD)
        return ws_request_method(r->req);
    if (r->error == EIO_FORBIDDEN)
        return ws_str(r->text);
    len = parameter == NULL ? -1 : eio_query_get(ws_request_query(r->req), parameter, out, size);
    if (len < 0)
        return (struct ws_str){NULL, 0};
    return (struct ws_str){out, (size_t)len < size ? (size_t)len : size - 1};
}

/* Tell the application of a request that is refused. */
static void report(const struct received *r, struct eio_server *e)
{
    char text[EIO_REFUSAL_MAX + 1];
    const struct eio_connection_error error = {.code = r->error,
                                               .message = eio_error_message(r->error),
                                               .name = r->name,
                                               .context = context_of(r, text, sizeof text),
                                               .request = r->req,
                                               .conn = r->to.conn};

    if (e->handlers.on_connection_error != NULL)
        e->handlers.on_connection_error(e, &error);
}

static void receive(struct received *r, struct eio_server *e, struct ws_conn *c,
                    const struct ws_request *req, bool upgrade)
{
    r->req = req;
    eio_request_read(&r->query, req);
    r->to = eio_asker(&e->options, c, req);
    r->upgrade = upgrade;
    r->name = NULL;
    r->later = false;
    r->overload = false;
    r->text = NULL;
    r->session = NULL;
    r->error = check(r, e);
}

/* A request whose session another process has is given to that one. It is answered there, or here
 * with 503. Where the process is not there any more, neither is the session. */
static bool is_handed_over(struct eio_server *e, struct ws_conn *c, const struct ws_request *req)
{
    struct eio_request query;
    struct eio_asker to;
    unsigned node;
    int result;

    if (e->options.hand_over == NULL)
        return false;
    eio_request_read(&query, req);
    if (!query.has_sid || query.method == EIO_OPTIONS || !eio_id_is_foreign(e, query.sid, &node))
        return false;
    result = e->options.hand_over(e->options.hand_over_arg, c, node);
    if (result == 0 || result == WS_ERR_CLOSED)
        return result == 0;
    to = eio_asker(&e->options, c, req);
    eio_reply(&e->options, &to, 503, EIO_BODY_NONE, NULL, 0, NULL);
    return true;
}

/* A handshake about which the application decides later comes again, to the same callback. Any
 * other one is over. */
static void put_off(struct received *r, struct eio_server *e)
{
    if (!r->later || ws_defer(r->to.conn) != 0)
        eio_wait_end(e, r->to.conn);
}

/* --- polling ---------------------------------------------------------------------------------- */

/* The response is the open packet alone, with the cookie if there is one. */
static int open_reply(const struct eio_session *s, const struct eio_asker *to)
{
    const struct eio_options *o = &s->server->options;
    const char *attributes =
        o->cookie_attributes != NULL ? o->cookie_attributes : "Path=/; HttpOnly; SameSite=Lax";
    struct ws_header cookie = {ws_str("Set-Cookie"), {NULL, 0}};
    char packet[EIO_OPEN_PACKET_SIZE];
    char value[512];
    int len;

    if (o->cookie != NULL) {
        len = snprintf(value, sizeof value, "%s=%s; %s", o->cookie, s->id, attributes);
        if (len < (int)sizeof value)
            cookie.value = (struct ws_str){value, (size_t)len};
    }
    return eio_reply(o, to, 200, EIO_BODY_TEXT, packet, eio_session_open_packet(s, packet),
                     cookie.value.data != NULL ? &cookie : NULL);
}

static void polling_handshake(struct eio_server *e, const struct received *r)
{
    struct eio_session *s = r->overload ? NULL : eio_session_new(e, &r->query, r->to.conn);

    if (s == NULL)
        eio_reply(&e->options, &r->to, 503, EIO_BODY_NONE, NULL, 0, NULL);
    else if (open_reply(s, &r->to) < 0)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    else
        eio_session_opened(s, &r->handshake);
}

static void refuse(const struct received *r, struct eio_server *e)
{
    report(r, e);
    eio_reply_error(&e->options, &r->to, r->error, r->text);
}

static void get_received(struct eio_server *e, struct ws_conn *c, const struct ws_request *req)
{
    struct received r;

    receive(&r, e, c, req, false);
    if (r.error != EIO_OK)
        refuse(&r, e);
    else if (r.session != NULL)
        eio_session_poll(r.session, &r.to);
    else if (!r.later)
        polling_handshake(e, &r);
    put_off(&r, e);
}

/* Does it ask for a session, and has the application a say in that? */
static bool is_for_application(const struct eio_server *e, const struct ws_request *req)
{
    struct eio_request query;

    if (e->handlers.on_handshake == NULL)
        return false;
    eio_request_read(&query, req);
    return !query.has_sid;
}

/* A GET is handled in on_request, since it may be held, but one that may be put off here. A POST
 * that is accepted has its body read first; all other requests are answered now, so that their body
 * is not read. */
static void head_received(struct eio_server *e, struct ws_conn *c, const struct ws_request *req)
{
    struct received r;

    if (ws_str_is(ws_request_method(req), "GET")) {
        if (is_for_application(e, req))
            get_received(e, c, req);
        return;
    }
    receive(&r, e, c, req, false);
    if (r.query.method == EIO_OPTIONS && eio_has_cors(&e->options))
        eio_reply_preflight(&e->options, &r.to, req);
    else if (r.error != EIO_OK)
        refuse(&r, e);
    else if (r.query.method == EIO_POST)
        eio_post_admit(r.session, &r.to, req);
    else
        eio_reply(&e->options, &r.to, 500, EIO_BODY_NONE, NULL, 0, NULL);
}

static void on_head(struct ws_conn *c, const struct ws_request *req)
{
    struct eio_server *e = ws_user(c);

    eio_enter(e);
    ws_set_data(c, NULL); /* the connection may have had a request of another session before */
    if (!is_handed_over(e, c, req))
        head_received(e, c, req);
    eio_leave(e);
}

/* A GET, or a POST that was accepted by eio_post_admit(). */
static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);

    eio_enter(e);
    if (s != NULL)
        eio_post_come(s, ws_request_body(req));
    else
        get_received(e, c, req);
    eio_leave(e);
}

/* The server refuses the body of a POST. Its packets are lost, so the session ends. */
static void on_refuse(struct ws_conn *c, const struct ws_request *req, int status)
{
    struct eio_server *e = ws_user(c);
    struct eio_asker to = eio_asker(&e->options, c, req);
    struct eio_session *s = ws_data(c);

    eio_enter(e);
    if (s != NULL) {
        eio_output_refuse_post(s, status);
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    } else {
        eio_reply(&e->options, &to, status, EIO_BODY_NONE, NULL, 0, NULL);
    }
    eio_leave(e);
}

/* Packets of a POST that have arrived are handled before the session ends. */
static void abandoned(struct eio_session *s, const struct ws_conn *c)
{
    if (s->get.conn == c)
        eio_asker_release(&s->get, s->account);
    else if (!eio_post_left(s))
        return;
    eio_session_end(s, EIO_TRANSPORT_ERROR);
}

/* The client has abandoned a request that was held, or a body that it had begun to send. */
static void on_abort(struct ws_conn *c)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);

    if (s == NULL) {
        eio_wait_end(e, c);
        return;
    }
    eio_enter(e);
    abandoned(s, c);
    eio_leave(e);
}

/* --- WebSocket -------------------------------------------------------------------------------- */

/* The request asks for a session that already has a WebSocket, or one that is upgrading. It is
 * accepted and then closed: clients of the reference and its test suite fail on an HTTP error. */
static bool is_taken(const struct received *r)
{
    const struct eio_session *s = r->session;

    return s != NULL && (s->on_websocket || s->probe != NULL);
}

/* Give the WebSocket to the session that it names, or to `made`, which is new. */
static void websocket_accept(struct eio_server *e, const struct received *r,
                             struct eio_session *made)
{
    bool ready = true;

    if (is_taken(r)) {
        eio_accept_upgrade(&e->options, &r->to, r->req);
        return;
    }
    if (made == NULL)
        ready = eio_session_probe(r->session, r->to.conn, &r->query);
    else
        eio_session_carry(made, r->to.conn);
    if (ready && eio_accept_upgrade(&e->options, &r->to, r->req) == 0)
        return;
    ws_set_data(r->to.conn, NULL);
    eio_reply(&e->options, &r->to, 503, EIO_BODY_NONE, NULL, 0, NULL); /* out of memory */
    if (made == NULL)
        eio_session_unprobe(r->session);
    else
        eio_session_end(made, EIO_TRANSPORT_ERROR);
}

static void upgrade_allowed(struct eio_server *e, const struct received *r)
{
    struct eio_session *made = NULL;

    if (r->session == NULL && !r->overload)
        made = eio_session_new(e, &r->query, r->to.conn);
    if (r->session == NULL && made == NULL)
        eio_reply(&e->options, &r->to, 503, EIO_BODY_NONE, NULL, 0, NULL);
    else
        websocket_accept(e, r, made);
}

static void upgrade_received(struct eio_server *e, struct ws_conn *c, const struct ws_request *req)
{
    struct received r;

    receive(&r, e, c, req, true);
    if (r.error != EIO_OK) {
        report(&r, e);
        eio_refuse_upgrade(&e->options, &r.to, r.error, r.text);
    } else if (!r.later) {
        upgrade_allowed(e, &r);
    }
    put_off(&r, e);
}

static void on_upgrade(struct ws_conn *c, const struct ws_request *req)
{
    struct eio_server *e = ws_user(c);

    eio_enter(e);
    ws_set_data(c, NULL);
    if (!is_handed_over(e, c, req))
        upgrade_received(e, c, req);
    eio_leave(e);
}

/* Send the open packet first, so that messages of the application come after it. */
static void websocket_opened(struct eio_session *s, const struct ws_request *req)
{
    char address[WS_ADDRESS_SIZE];
    char packet[EIO_OPEN_PACKET_SIZE];
    struct eio_handshake h = {req, ws_conn_address(s->ws, address), s->ws};

    if (ws_send(s->ws, WS_OP_TEXT, packet, eio_session_open_packet(s, packet)) < 0)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    else
        eio_session_opened(s, &h);
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);

    eio_enter(e);
    if (s == NULL)
        ws_close(c, WS_CLOSE_NONE, NULL);
    else if (s->ws == c)
        websocket_opened(s, req);
    eio_leave(e);
}

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);
    struct ws_str packet = {data, len};

    eio_enter(e);
    if (s == NULL)
        ws_close(c, WS_CLOSE_NONE, NULL); /* an earlier Close had no memory */
    else if (c == s->probe)
        eio_session_probed(s, opcode, packet);
    else if (opcode == WS_OP_BINARY)
        eio_session_binary(s, data, len);
    else
        eio_session_packet(s, packet, true);
    eio_leave(e);
}

static void on_drain(struct ws_conn *c)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);

    eio_enter(e);
    if (s != NULL && c == s->ws)
        eio_output_drained(s);
    eio_leave(e);
}

/* These codes are sent when the server fails the connection, since the client broke a rule or a
 * limit. */
static enum eio_reason reason_of(unsigned code)
{
    switch (code) {
    case WS_CLOSE_PROTOCOL:
    case WS_CLOSE_INVALID:
    case WS_CLOSE_TOO_BIG:
    case WS_CLOSE_TRY_LATER:
        return EIO_TRANSPORT_ERROR;
    default:
        return EIO_TRANSPORT_CLOSE;
    }
}

static void on_close(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    struct eio_server *e = ws_user(c);
    struct eio_session *s = ws_data(c);

    (void)reason;
    (void)reason_len;
    if (s == NULL)
        return;
    eio_enter(e);
    if (c == s->probe) {
        s->probe = NULL;
        eio_session_unprobe(s);
    } else {
        s->ws = NULL;
        eio_session_end(s, reason_of(code));
    }
    eio_leave(e);
}

/* --- making and freeing ----------------------------------------------------------------------- */

static void default_ms(unsigned *option, unsigned value)
{
    if (*option == 0)
        *option = value;
}

static void default_size(size_t *option, size_t value)
{
    if (*option == 0)
        *option = value;
}

static void fill_in_defaults(struct eio_options *o, const struct ws_server *ws)
{
    size_t clients = ws_server_stats(ws).max_clients;

    default_ms(&o->ping_interval_ms, 25000);
    default_ms(&o->ping_timeout_ms, 20000);
    default_ms(&o->upgrade_timeout_ms, 10000);
    default_size(&o->max_payload, 1000000);
    default_size(&o->max_output, ws_server_stats(ws).max_queue);
    default_size(&o->high_water, 64u << 10);
    default_size(&o->max_sessions, clients < SIZE_MAX / 2 ? clients * 2 : SIZE_MAX);
    if (o->transports == 0)
        o->transports = EIO_POLLING | EIO_WEBSOCKET;
}

static bool allow_origin(void *user, struct ws_str origin)
{
    const struct eio_server *e = user;

    return e->options.allow_origin(e->options.allow_origin_arg, origin);
}

struct eio_server *eio_server_new(struct ws_server *ws, const char *prefix,
                                  const struct eio_options *options,
                                  const struct eio_handlers *handlers)
{
    static const char *const no_origins[] = {NULL};
    struct eio_server *e = calloc(1, sizeof *e);
    struct ws_handlers h = {.on_head = on_head,
                            .on_request = on_request,
                            .on_refuse = on_refuse,
                            .on_abort = on_abort,
                            .on_upgrade = on_upgrade,
                            .on_open = on_open,
                            .on_message = on_message,
                            .on_drain = on_drain,
                            .on_close = on_close,
                            .user = e};
    uint8_t key[WS_SIPHASH_KEY_SIZE];

    if (e == NULL)
        return NULL;
    e->ws = ws;
    e->options = *options;
    e->handlers = *handlers;
    e->settle_posted = settle_posted;
    fill_in_defaults(&e->options, ws);
    h.max_message = e->options.max_payload;
    h.origins = e->options.origins;
    if (e->options.allow_origin != NULL) {
        h.origins = h.origins != NULL ? h.origins : no_origins;
        h.allow_origin = allow_origin;
    }
    h.local_files = !eio_has_cors(&e->options); /* the reference checks no Origin */
    e->account = ws_account_new(ws, NULL);
    e->settle_timer = ws_timer_new(ws, NULL, settle_posted, e);
    if (e->account != NULL && e->settle_timer != NULL && ws_random(key, sizeof key) == 0 &&
        ws_server_handle(ws, prefix, &h) == 0) {
        name_table_init(&e->sessions, e->account, key);
        name_table_init(&e->host_sessions.hosts, e->account, key);
        name_table_init(&e->waits, e->account, key);
        return e;
    }
    ws_timer_cancel(e->settle_timer);
    ws_account_release(e->account);
    free(e);
    return NULL;
}

void eio_server_close(struct eio_server *e)
{
    e->closing = true;
    for (struct eio_session *s = e->first; s != NULL; s = s->next)
        eio_session_end(s, EIO_SHUTTING_DOWN);
    eio_waits_close(e);
}

/* ws_server_free() has called on_close for all connections and freed the timers. Only memory is
 * left to free. */
void eio_server_free(struct eio_server *e)
{
    if (e == NULL)
        return;
    e->ws = NULL;
    for (struct eio_session *s = e->first; s != NULL; s = s->next) {
        if (!s->ended)
            s->reason = EIO_SHUTTING_DOWN;
        s->ended = true;
    }
    for (struct eio_session *s = e->first; s != NULL; s = s->next)
        eio_session_report(s);
    while (e->first != NULL)
        eio_session_free(e->first);
    eio_host_sessions_release(&e->host_sessions);
    eio_waits_release(e);
    name_table_release(&e->sessions);
    ws_account_release(e->account);
    free(e);
}
