/* SPDX-License-Identifier: MIT
 *
 * A connection that speaks HTTP: requests in, responses out in their order (RFC 9112), and the
 * opening handshake (RFC 6455 §4.2) up to the 101. http and http_upgrade decide what is legal. */
#include "conn_http.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "conn_client.h"
#include "conn_end.h"
#include "conn_output.h"
#include "conn_ws.h"
#include "http_date.h"
#include "http_host.h"

enum { SHOWN = 280 /* bytes of an Origin or a Host in a refusal: more than the longest host */ };

/* --- responses -------------------------------------------------------------------------------- */

/* Is it a field that the server writes itself? A second one could contradict it about where the
 * response ends. */
static bool is_framing(struct ws_str name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Connection"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (http_is_nocase(name, names[i]))
            return true;
    return false;
}

/* The application's own fields. */
static void write_fields(struct http_writer *w, const struct ws_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        w->failed = w->failed || is_framing(headers[i].name);
        http_writer_field(w, headers[i].name, headers[i].value);
    }
}

/* The value of Connection, or NULL. A response with Upgrade, as a 426 must have, names it here: RFC
 * 9110 §7.8. */
static const char *connection_options(const struct ws_conn *c, int status, bool last)
{
    if (status == 426)
        return last ? "Upgrade, close" : c->req.http_1_0 ? "Upgrade, keep-alive" : "Upgrade";
    if (last)
        return "close";
    return c->req.http_1_0 ? "keep-alive" : NULL;
}

/* Write the head of a response into s->head. Returns its length, or -1. */
static ptrdiff_t write_head(struct ws_conn *c, int status, const struct ws_header *headers,
                            size_t count, size_t body_len, bool last)
{
    struct ws_server *s = c->server;
    const char *connection = connection_options(c, status, last);
    struct http_writer w;
    char date[HTTP_DATE_SIZE];

    http_writer_init(&w, s->head, sizeof s->head, status);
    http_date(date, http_date_now());
    http_writer_field(&w, ws_str("Date"), ws_str(date));
    write_fields(&w, headers, count);
    if (status != 204 && status != 304)
        http_writer_number(&w, "Content-Length", body_len);
    if (connection != NULL)
        http_writer_field(&w, ws_str("Connection"), ws_str(connection));
    return http_writer_end(&w);
}

static size_t length_of(const struct ws_str *pieces, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    return len;
}

/* Queue a response and move on to the next request, or to the end. */
static int respond(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
                   const struct ws_str *body, size_t pieces, bool last)
{
    ptrdiff_t head_len = write_head(c, status, headers, count, length_of(body, pieces), last);
    bool bodiless = c->req.head_only || status == 204 || status == 304;
    int error;

    if (head_len < 0)
        return WS_ERR_INVALID;
    c->state = CONN_HTTP;   /* answered, even if the append fails: on_abort must not follow */
    if (c->input != NULL) { /* nor is its body waited for */
        c->input->head_len = 0;
        c->input->due_ms = 0;
    }
    error = conn_append_response(c, c->server->head, (size_t)head_len, body, bodiless ? 0 : pieces);
    if (last || error != 0) {
        conn_linger(c);
        return error;
    }
    conn_client_answered(c);
    c->req.served = true;
    c->req.head_only = false; /* the next request may be refused before its method is known */
    server_deadline(c, c->server->options.handshake_timeout_ms);
    server_touch(c);
    return conn_send_result(c);
}

/* A request whose head was kept while its body comes: it is parsed again. */
static struct ws_request *kept_request(struct ws_conn *c)
{
    struct ws_request *req = &c->server->hand.request;
    const char *kept = (const char *)c->input->request.data;
    const char *why;

    http_request_parse(&req->http, kept, c->input->head_len, &why);
    req->body = (struct ws_str){kept + c->input->head_len, 0};
    return req;
}

/* The request in hand, whose head may still be in the receive buffer. */
static struct ws_request *request_in_hand(struct ws_conn *c)
{
    bool kept = c->input != NULL && c->input->head_len != 0;

    return kept ? kept_request(c) : &c->server->hand.request;
}

/* A plain request is to be refused: on_refuse may write the response; on_abort is called if the
 * application knows of the request and has not answered it. */
static void tell_refusal(struct ws_conn *c, int status)
{
    c->req.keep_alive = false;
    if (c->state == CONN_BODY && c->endpoint->handlers.on_refuse != NULL)
        c->endpoint->handlers.on_refuse(c, request_in_hand(c), status);
    if (conn_owes_answer(c))
        conn_void(c);
}

void conn_refuse(struct ws_conn *c, int status, const char *why, const char *advice)
{
    struct ws_header headers[4] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")}, /* `why` may quote the request */
    };
    size_t count = 2;
    char address[WS_ADDRESS_SIZE];
    char text[SENTENCE_SIZE];
    struct ws_str body = {text, 0};

    snprintf(text, sizeof text, "%d %s: %s\n", status, http_status_phrase(status), why);
    body.len = strlen(text);

    server_log(c->server, WS_LOG_ERROR, "#%llu %s refused with %d %s: %s%s%s%s",
               (unsigned long long)c->id, ws_conn_address(c, address), status,
               http_status_phrase(status), why, advice == NULL ? "" : " (",
               advice == NULL ? "" : advice, advice == NULL ? "" : ")");
    tell_refusal(c, status);
    if (c->state >= CONN_LINGERING)
        return;        /* the application has answered */
    if (status == 405) /* RFC 9110 §15.5.6: only handshakes are refused with 405 */
        headers[count++] = (struct ws_header){ws_str("Allow"), ws_str("GET")};
    if (status == 426) { /* RFC 9110 §15.5.22, RFC 6455 §4.4 */
        headers[count++] = (struct ws_header){ws_str("Upgrade"), ws_str("websocket")};
        headers[count++] = (struct ws_header){ws_str("Sec-WebSocket-Version"), ws_str("13")};
    }
    if (status == 503 || status == 429)
        headers[count++] = (struct ws_header){ws_str("Retry-After"), ws_str("5")};
    respond(c, status, headers, count, &body, 1, true);
    conn_linger(c);
}

void conn_refuse_overload(struct ws_conn *c)
{
    conn_refuse(c, 503, "out of memory", "ws_options.max_memory");
}

/* --- the opening handshake -------------------------------------------------------------------- */

/* RFC 6455 §4.2.2, the 101. */
static int switch_protocols(struct ws_conn *c, const struct http_upgrade *u,
                            const char *subprotocol, const struct ws_header *headers, size_t count)
{
    struct ws_server *s = c->server;
    struct http_writer w;
    ptrdiff_t len;
    int error;

    http_writer_init(&w, s->head, sizeof s->head, 101);
    http_writer_field(&w, ws_str("Upgrade"), ws_str("websocket"));
    http_writer_field(&w, ws_str("Connection"), ws_str("Upgrade"));
    http_writer_field(&w, ws_str("Sec-WebSocket-Accept"),
                      (struct ws_str){u->accept, sizeof u->accept});
    if (subprotocol != NULL)
        http_writer_field(&w, ws_str("Sec-WebSocket-Protocol"), ws_str(subprotocol));
    write_fields(&w, headers, count);
    len = http_writer_end(&w);
    if (len < 0)
        return WS_ERR_INVALID;
    error = conn_append(c, s->head, (size_t)len, NULL, 0);
    if (error != 0)
        return error;
    c->state = CONN_OPEN;
    return 0;
}

/* The handshake's request is parsed: 101 or a refusal, by the server or by the application. */
static void upgrade(struct ws_conn *c, const struct ws_request *req)
{
    const struct ws_handlers *h = &c->endpoint->handlers;
    const struct ws_options *o = &c->server->options;
    const struct http_upgrade_policy policy = {.origins =
                                                   h->origins != NULL ? h->origins : o->origins,
                                               .subprotocols = h->subprotocols,
                                               .scheme = http_scheme(ws_str(o->scheme)),
                                               .local_files = h->local_files,
                                               .allow_origin = h->allow_origin,
                                               .allow_origin_arg = h->user};
    struct http_upgrade u;
    int status = http_upgrade_check(&req->http, &policy, &u);
    char why[SENTENCE_SIZE];

    if (status == 403) {
        struct ws_str origin = http_request_field(&req->http, "Origin", NULL);
        int shown = origin.len < SHOWN ? (int)origin.len : SHOWN;

        snprintf(why, sizeof why, "%s (origin %.*s%s)", u.why, shown, origin.data,
                 origin.len > SHOWN ? "..." : "");
        conn_refuse(c, status, why, u.advice);
        return;
    }
    if (status != 101) {
        conn_refuse(c, status, u.why, u.advice);
        return;
    }
    if (c->server->stopping) {
        conn_refuse(c, 503, "the server stops", NULL);
        return;
    }
    c->state = CONN_UPGRADING;
    c->server->hand.upgrade = &u;
    c->server->hand.refusal_failed = false;
    c->req.deferred = false;
    c->server->hand.beginning = c;
    if (c->endpoint->handlers.on_upgrade != NULL)
        c->endpoint->handlers.on_upgrade(c, req);
    c->server->hand.beginning = NULL;
    if (c->state == CONN_UPGRADING && c->server->hand.refusal_failed)
        conn_refuse(c, 500, "the application's refusal is not a legal response", NULL);
    if (c->state == CONN_UPGRADING && switch_protocols(c, &u, u.subprotocol, NULL, 0) != 0)
        conn_refuse_overload(c);
    c->server->hand.upgrade = NULL;
    if (c->state == CONN_OPEN)
        conn_open(c, req);
}

/* --- requests --------------------------------------------------------------------------------- */

/* A plain request is complete, with its body. */
static void hand_over(struct ws_conn *c, const struct ws_request *req)
{
    assert(c->state == CONN_BODY);
    c->state = CONN_ANSWERING;
    timer_cancel(&c->server->timers, &c->timer);
    c->endpoint->handlers.on_request(c, req);
}

static bool speaks_websocket(const struct ws_handlers *h)
{
    return h->on_message != NULL || h->on_open != NULL || h->on_upgrade != NULL;
}

static void refuse_body_size(struct ws_conn *c)
{
    conn_refuse(c, 413, "request body over the limit", "ws_options.max_message");
}

/* There is no body, or it lies whole in the `behind` bytes that have come behind the head. */
static bool body_is_here(const struct ws_conn *c, const struct http_request *r, size_t behind)
{
    return r->framing != HTTP_BODY_CHUNKED && r->content_length <= behind &&
           r->content_length <= c->endpoint->handlers.max_message;
}

/* A body is announced: keep the head, since the body may come much later. */
static void body_begin(struct ws_conn *c, const struct http_request *r, const uint8_t *head,
                       size_t head_len, bool more_is_here)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct input *in = input_get(&c->input, &c->account);

    if (in == NULL ||
        buf_append(&in->request, &c->account, ACCOUNT_ESSENTIAL, head, head_len) != 0) {
        conn_refuse_overload(c);
        return;
    }
    if (http_body_begin(&in->body, r, c->endpoint->handlers.max_message) != 0) {
        refuse_body_size(c);
        return;
    }
    in->head_len = head_len;
    in->due_ms = 0;
    timer_cancel(&c->server->timers, &c->timer); /* from now on the body has its own deadline */
    if (r->expect_continue && !more_is_here)
        conn_append(c, go_on, sizeof go_on - 1, NULL, 0);
}

/* The head of a plain request is complete. The application may answer it now; an answer without the
 * body ends the connection, for what comes next is not a request (RFC 9112 §9.3). Returns how many
 * of the `behind` bytes were its body: the whole body, handed over where it lies, or 0. */
static size_t plain_head_received(struct ws_conn *c, struct ws_request *req, const uint8_t *head,
                                  size_t head_len, size_t behind)
{
    const struct ws_handlers *h = &c->endpoint->handlers;
    bool here = body_is_here(c, &req->http, behind);
    size_t body_len = here ? (size_t)req->http.content_length : 0;

    c->state = CONN_BODY;
    c->req.keep_alive = here && req->http.keep_alive;
    c->req.deferred = false;
    c->server->hand.beginning = c;
    if (h->on_head != NULL)
        h->on_head(c, req);
    c->server->hand.beginning = NULL;
    if (c->state != CONN_BODY)
        return body_len; /* answered, deferred or detached */
    if (c->life.held) {  /* where it is answered before its body is read, the body is no request */
        c->req.keep_alive = c->req.keep_alive && body_len == 0;
        here = false;
        body_len = 0;
    }
    req->body.len = body_len;
    if (h->on_request == NULL)
        conn_refuse(c, 426, "this path speaks WebSocket only", NULL);
    else if (here)
        hand_over(c, req);
    else
        body_begin(c, &req->http, head, head_len, behind > 0);
    return body_len;
}

static void refuse_address(struct ws_conn *c)
{
    conn_refuse(c, 429, "too many connections from this address", "ws_options.max_per_ip");
}

/* Is the request for a name that this server does not have? HTTP/1.0 may come without a name;
 * browsers always send it. */
static bool is_misdirected(const struct ws_conn *c, struct ws_str host)
{
    return c->req.checks_host && host.len > 0 && !http_host_is_local(host) &&
           !http_host_is_listed(host, c->server->options.hosts);
}

/* RFC 9110 §15.5.20. */
static void refuse_misdirected(struct ws_conn *c, struct ws_str host)
{
    char why[SENTENCE_SIZE];

    snprintf(why, sizeof why, "not a host of this server: %.*s%s",
             host.len < SHOWN ? (int)host.len : SHOWN, host.data, host.len > SHOWN ? "..." : "");
    conn_refuse(c, 421, why, "ws_options.hosts would allow it");
}

/* OPTIONS * asks whether the server is there, RFC 9110 §9.3.7. A body would not be read, so with
 * one the connection ends. */
static void answer_options(struct ws_conn *c, const struct http_request *r)
{
    bool body = r->framing == HTTP_BODY_CHUNKED || r->content_length != 0;

    respond(c, 204, NULL, 0, NULL, 0, body || !r->keep_alive);
}

/* The head of a request is complete. Returns how many of the `behind` bytes were its body. */
static size_t head_received(struct ws_conn *c, uint8_t *head, size_t head_len, size_t behind)
{
    struct ws_request *req = &c->server->hand.request;
    const struct endpoint *e;
    const char *why = "";
    int error = http_request_parse(&req->http, (const char *)head, head_len, &why);

    if (c->input != NULL)
        c->input->scan = (struct http_scan){0};
    if (error != 0) {
        conn_refuse(c, -error, why, NULL);
        return 0;
    }
    if (!c->req.deferred && !conn_client_named(c, &req->http)) {
        refuse_address(c);
        return 0;
    }
    if (is_misdirected(c, req->http.host)) {
        refuse_misdirected(c, req->http.host);
        return 0;
    }
    e = server_find_endpoint(c->server, req->http.path);
    c->req.head_only = ws_str_is(req->http.method, "HEAD");
    c->req.http_1_0 = req->http.minor == 0;
    req->body = (struct ws_str){(const char *)head + head_len, 0};
    if (e == NULL && ws_str_is(req->http.path, "*")) {
        answer_options(c, &req->http);
        return 0;
    }
    if (e == NULL) {
        conn_refuse(c, 404, "no such path", NULL);
        return 0;
    }
    c->endpoint = e;
    c->server->hand.received = (struct ws_str){(const char *)head, head_len + behind};
    if (!http_upgrade_wanted(&req->http) || !speaks_websocket(&e->handlers))
        return plain_head_received(c, req, head, head_len, behind);
    if (c->req.deferred || conn_client_may_shake(c))
        upgrade(c, req);
    else
        conn_refuse(c, 429, "too many handshakes from this address", "ws_options.handshake_rate");
    return 0;
}

/* Keep the bytes of the body that have come. Returns 1 when it is whole, HTTP_NEED_MORE, or a
 * negated status. */
static int body_keep(struct ws_conn *c, const uint8_t *data, size_t len, size_t *used)
{
    struct input *in = c->input;
    enum account_kind kind = account_kind_of(in->request.len - in->head_len + len);
    int result;

    *used = 0;
    do {
        const char *piece;
        size_t piece_len, step;

        result = http_body_decode(&in->body, (const char *)data + *used, len - *used, &step, &piece,
                                  &piece_len);
        *used += step;
        if (result >= 0 && buf_append(&in->request, &c->account, kind, piece, piece_len) != 0)
            return -503;
    } while (result == HTTP_NEED_MORE && *used < len);
    return result;
}

/* The body is whole. */
static void body_received(struct ws_conn *c)
{
    struct input *in = c->input;
    struct ws_request *req = kept_request(c);

    req->body.len = in->request.len - in->head_len;
    c->req.keep_alive = req->http.keep_alive;
    in->head_len = 0;
    hand_over(c, req);
}

size_t conn_body_feed(struct ws_conn *c, const uint8_t *data, size_t len)
{
    size_t used;
    int result;

    assert(c->state == CONN_BODY && c->input->head_len != 0);
    result = body_keep(c, data, len, &used);
    if (result > 0)
        body_received(c);
    else if (result == -503)
        conn_refuse_overload(c);
    else if (result == -413)
        refuse_body_size(c);
    else if (result != HTTP_NEED_MORE)
        conn_refuse(c, -result, "malformed request body", NULL);
    return result < 0 ? len : used;
}

/* A trusted proxy sends the PROXY protocol first. */
static size_t proxy_header_feed(struct ws_conn *c, const uint8_t *data, size_t len)
{
    int used = conn_client_header(c, data, len);

    if (used >= 0)
        return (size_t)used;
    if (used == -429)
        refuse_address(c);
    else
        conn_refuse(c, -used, "not a PROXY protocol header, which this proxy has to send",
                    "ws_options.proxy_header");
    return len;
}

size_t conn_requests_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    struct http_scan fresh = {0};
    struct http_scan *scan = c->input == NULL ? &fresh : &c->input->scan;
    size_t body_len;
    int head_len;

    assert(c->state == CONN_HTTP);
    if (conn_client_header_due(c))
        return proxy_header_feed(c, data, len);
    if (scan->at == 0 && !c->req.deferred)
        conn_client_forget(c);
    if (c->input != NULL)
        buf_release(&c->input->request, &c->account); /* of the previous request */
    if (scan->at == 0 && c->req.served) /* the first request's time runs from the accept */
        server_deadline(c, c->server->options.handshake_timeout_ms);
    head_len = http_head_scan(scan, (const char *)data, len);
    if (head_len < 0) {
        conn_refuse(c, -head_len, "not a legal request head", NULL);
        return len;
    }
    if (head_len == HTTP_NEED_MORE && scan == &fresh) {
        if (input_get(&c->input, &c->account) == NULL) {
            conn_refuse_overload(c);
            return len;
        }
        c->input->scan = fresh;
    }
    if (head_len == HTTP_NEED_MORE)
        return 0;
    body_len = head_received(c, data, (size_t)head_len, len - (size_t)head_len);
    return c->req.deferred ? 0 : (size_t)head_len + body_len; /* deferred: it stays for later */
}

/* --- the API ---------------------------------------------------------------------------------- */

int ws_respond_pieces(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
                      const struct ws_str *body, size_t pieces)
{
    bool refusing = c->state == CONN_UPGRADING && c->server->hand.upgrade != NULL;

    if ((c->state != CONN_ANSWERING && c->state != CONN_BODY && !refusing) || c->req.deferred)
        return WS_ERR_CLOSED;
    /* Failed until it succeeds: a refusal with a mistake in it must not turn into a 101. */
    if (refusing)
        c->server->hand.refusal_failed = true;
    if (status < 200 || status > 599)
        return WS_ERR_INVALID;
    if (refusing) {
        char address[WS_ADDRESS_SIZE];

        server_log(c->server, WS_LOG_ERROR, "#%llu %s refused with %d by the application",
                   (unsigned long long)c->id, ws_conn_address(c, address), status);
    }
    return respond(c, status, headers, count, body, pieces,
                   refusing || !c->req.keep_alive || c->server->draining);
}

int ws_respond(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
               const void *body, size_t len)
{
    struct ws_str whole = {body, len};

    return ws_respond_pieces(c, status, headers, count, &whole, 1);
}

int ws_accept(struct ws_conn *c, const char *subprotocol, const struct ws_header *headers,
              size_t count)
{
    if (c->state != CONN_UPGRADING || c->server->hand.upgrade == NULL)
        return WS_ERR_CLOSED;
    if (subprotocol != NULL && !http_upgrade_offers(&c->server->hand.request.http, subprotocol))
        return WS_ERR_INVALID;
    return switch_protocols(c, c->server->hand.upgrade, subprotocol, headers, count);
}

int ws_detach(struct ws_conn *c, struct ws_str bytes[2])
{
    struct in_hand *hand = &c->server->hand;

    if (hand->beginning != c || (c->state != CONN_BODY && c->state != CONN_UPGRADING))
        return WS_ERR_CLOSED;
    if (conn_queued(c) > 0 && !c->out.blocked) /* responses to requests in front of this one */
        conn_flush(c);
    if (c->out.broken)
        return WS_ERR_CLOSED;
    if (conn_queued(c) > 0)
        return WS_ERR_FULL;
    bytes[0] = conn_client_header_again(c);
    bytes[1] = hand->received;
    hand->beginning = NULL;
    conn_let_go(c);
    return c->source.fd;
}

int ws_defer(struct ws_conn *c)
{
    if (c->server->hand.beginning != c || (c->state != CONN_BODY && c->state != CONN_UPGRADING))
        return WS_ERR_CLOSED;
    c->state = CONN_ANSWERING;
    c->req.deferred = true;
    timer_cancel(&c->server->timers, &c->timer);
    return 0;
}

int ws_retry(struct ws_conn *c)
{
    if (c->state != CONN_ANSWERING || !c->req.deferred)
        return WS_ERR_CLOSED;
    c->state = CONN_HTTP;
    server_touch(c);
    return 0;
}

struct ws_str ws_request_method(const struct ws_request *req)
{
    return req->http.method;
}

struct ws_str ws_request_path(const struct ws_request *req)
{
    return req->http.path;
}

struct ws_str ws_request_query(const struct ws_request *req)
{
    return req->http.query;
}

struct ws_str ws_request_query_value(const struct ws_request *req, const char *name)
{
    return http_query_value(req->http.query, name);
}

struct ws_str ws_request_body(const struct ws_request *req)
{
    return req->body;
}

struct ws_str ws_request_header(const struct ws_request *req, const char *name)
{
    return http_request_field(&req->http, name, NULL);
}

bool ws_request_header_at(const struct ws_request *req, size_t index, struct ws_header *header)
{
    if (index >= req->http.field_count)
        return false;
    header->name = req->http.fields[index].name;
    header->value = req->http.fields[index].value;
    return true;
}
