/* SPDX-License-Identifier: MIT
 *
 * The life of a session: its output on either transport, its heartbeat, what comes in, the move
 * from polling to a WebSocket, and the end, in whatever order it comes. */
#include "eio_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    QUEUE_MIN = 256,      /* first allocation of a queue */
    CONTROL_ROOM = 8,     /* bytes over max_output that are kept for pings */
    SMALL_MESSAGE = 1024, /* encoded on the stack */
    LINGER_MS = 30000     /* for a client to fetch the last words */
};

/* --- marking ---------------------------------------------------------------------------------- */

static void settle_posted(void *arg)
{
    struct eio_server *e = arg;

    e->posted = false;
    eio_enter(e);
    eio_leave(e);
}

/* When no memory is left for the post, the next callback of any session settles this one too. */
void eio_session_mark(struct eio_session *s)
{
    struct eio_server *e = s->server;

    if (s->marked)
        return;
    s->marked = true;
    s->next_marked = e->marked;
    e->marked = s;
    if (e->depth == 0 && !e->posted)
        e->posted = ws_post(e->ws, settle_posted, e) == 0;
}

/* --- the queue -------------------------------------------------------------------------------- */

static void queue_release(struct eio_session *s)
{
    ws_memory_give(s->server->ws, s->out_cap);
    free(s->out);
    s->out = NULL;
    s->out_len = s->out_cap = 0;
}

/* Make room for `n` bytes more. Returns 0, WS_ERR_FULL or WS_ERR_NOMEM. */
static int queue_reserve(struct eio_session *s, size_t n)
{
    size_t need = s->out_len + n;
    size_t cap = s->out_cap < QUEUE_MIN / 2 ? QUEUE_MIN : s->out_cap * 2;
    char *out;

    if (need <= s->out_cap)
        return 0;
    if (cap < need)
        cap = need;
    if (!ws_memory_take(s->server->ws, cap - s->out_cap))
        return WS_ERR_FULL;
    out = realloc(s->out, cap);
    if (out == NULL) {
        ws_memory_give(s->server->ws, cap - s->out_cap);
        return WS_ERR_NOMEM;
    }
    s->out = out;
    s->out_cap = cap;
    return 0;
}

/* The place for a packet of `size` bytes, behind a separator. NULL with *error when there is
 * none. */
static char *queue_place(struct eio_session *s, size_t size, size_t limit, int *error)
{
    size_t separator = s->out_len > 0;
    char *place;

    *error = WS_ERR_FULL;
    if (s->out_len > limit || size + separator > limit - s->out_len)
        return NULL;
    *error = queue_reserve(s, size + separator);
    if (*error != 0)
        return NULL;
    if (separator)
        s->out[s->out_len] = EIO_SEPARATOR;
    place = s->out + s->out_len + separator;
    s->out_len += separator + size;
    eio_session_mark(s);
    return place;
}

static int queue_result(struct eio_session *s)
{
    if (s->out_len <= s->server->options.high_water)
        return WS_SENT;
    s->drain_owed = true;
    return WS_QUEUED;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Answer what is held; afterwards nothing is. */
static int answer(struct eio_session *s, struct eio_asker *held, enum eio_body type,
                  const char *body, size_t len)
{
    struct eio_asker to = *held;

    held->conn = NULL;
    ws_set_data(to.conn, NULL);
    return eio_reply(&s->server->options, &to, 200, type, body, len, NULL);
}

static void answer_poll(struct eio_session *s, const char *payload)
{
    if (s->poll.conn != NULL)
        answer(s, &s->poll, EIO_BODY_TEXT, payload, strlen(payload));
}

static void answer_post(struct eio_session *s)
{
    if (s->post.conn != NULL)
        answer(s, &s->post, EIO_BODY_HTML, "ok", 2);
}

/* All that is queued, to the GET that is held. */
static void queue_flush(struct eio_session *s)
{
    int result = answer(s, &s->poll, EIO_BODY_TEXT, s->out, s->out_len);

    queue_release(s);
    if (result < 0)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
}

static void count_out(struct eio_session *s)
{
    eio_census_remove(&s->server->census, s->host);
    s->host = NULL;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* A connection that is ours no more. */
static void let_go(struct ws_conn **c)
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

static void stop_timers(struct eio_session *s)
{
    stop_timer(&s->heartbeat);
    stop_timer(&s->upgrade_timer);
    stop_timer(&s->connect_timer);
}

/* Say goodbye on every way that is open, a held GET by `farewell`, and be forgotten. */
static void part(struct eio_session *s, const char *farewell)
{
    answer_poll(s, farewell);
    answer_post(s);
    let_go(&s->probe);
    let_go(&s->ws);
    stop_timers(s);
    queue_release(s);
    eio_server_forget(s);
    eio_session_mark(s);
}

static void end_with(struct eio_session *s, enum eio_reason reason, const char *farewell)
{
    if (!s->ended) {
        s->ended = true;
        s->reason = (uint8_t)reason;
    }
    part(s, farewell);
}

void eio_session_end(struct eio_session *s, enum eio_reason reason)
{
    end_with(s, reason, "1");
}

static void linger_over(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    s->heartbeat = NULL;
    eio_enter(e);
    part(s, "1");
    eio_leave(e);
}

/* The client will fetch what is queued, and then hear that this was all. While it moves to a
 * WebSocket it does not poll: then it fetches it there. */
static void linger(struct eio_session *s)
{
    stop_timer(&s->heartbeat);
    stop_timer(&s->connect_timer);
    if (!s->upgrading) {
        stop_timer(&s->upgrade_timer);
        let_go(&s->probe);
    }
    answer_post(s);
    s->heartbeat = ws_timer_start(s->server->ws, LINGER_MS, linger_over, s);
    if (s->heartbeat == NULL)
        part(s, "1");
    else if (s->poll.conn != NULL)
        queue_flush(s);
    eio_session_mark(s);
}

void eio_close(struct eio_session *s)
{
    bool at_once = s->ws != NULL || s->poll.conn != NULL;

    if (s->ended)
        return;
    s->ended = true;
    s->reason = at_once ? EIO_FORCED_CLOSE : EIO_FORCED_SERVER_CLOSE;
    if (at_once && s->out_len == 0)
        part(s, "1");
    else
        linger(s);
}

void eio_session_free(struct eio_session *s)
{
    struct ws_server *ws = s->server->ws;

    count_out(s);
    eio_server_remove(s);
    if (ws != NULL)
        ws_memory_give(ws, sizeof *s);
    free(s->out);
    free(s);
}

void eio_session_report(struct eio_session *s)
{
    if (!s->report_owed)
        return;
    s->report_owed = false;
    s->server->open_count--;
    if (s->server->handlers.on_close != NULL)
        s->server->handlers.on_close(s, (enum eio_reason)s->reason);
}

void eio_session_drained(struct eio_session *s)
{
    if (!s->drain_owed || s->ended)
        return;
    s->drain_owed = false;
    if (s->server->handlers.on_drain != NULL)
        s->server->handlers.on_drain(s);
}

/* What has gathered on polling leaves; the client gets its "ok" when it has read enough of it.
 * While it moves to a WebSocket it does not read, but waits for that "ok" before it goes on. */
static void settle_polling(struct eio_session *s)
{
    size_t low_water = s->server->options.high_water / 2;

    if (s->poll.conn != NULL && s->out_len > 0)
        queue_flush(s);
    if (s->out_len <= low_water || s->upgrading)
        answer_post(s);
    if (s->out_len <= low_water)
        eio_session_drained(s);
}

void eio_session_settle(struct eio_session *s)
{
    if (!s->ended && !s->on_websocket)
        settle_polling(s);
    if (s->ended)
        eio_session_report(s);
    if (s->ended && !s->known && !s->marked)
        eio_session_free(s);
}

/* --- the heartbeat ---------------------------------------------------------------------------- */

static void heartbeat_fired(void *arg);

/* (Re)start the timer. Without one the session would be immortal, so it ends when there is none. */
static void heartbeat_start(struct eio_session *s, unsigned ms)
{
    stop_timer(&s->heartbeat);
    s->heartbeat = ws_timer_start(s->server->ws, ms, heartbeat_fired, s);
    if (s->heartbeat == NULL)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
}

static void ping(struct eio_session *s)
{
    int error = 0;
    char *place;

    s->pinged = true;
    s->extended = false;
    heartbeat_start(s, s->server->options.ping_timeout_ms);
    if (s->ended)
        return;
    if (s->on_websocket) {
        ws_send(s->ws, WS_OP_TEXT, "2", 1); /* when it cannot be sent, the pong will be missing */
        return;
    }
    place = queue_place(s, 1, s->server->options.max_output + CONTROL_ROOM, &error);
    if (place != NULL)
        *place = '2';
}

static void heartbeat_fired(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    s->heartbeat = NULL;
    eio_enter(e);
    if (s->pinged)
        eio_session_end(s, EIO_PING_TIMEOUT);
    else
        ping(s);
    eio_leave(e);
}

static void pong(struct eio_session *s)
{
    s->pinged = false;
    heartbeat_start(s, s->server->options.ping_interval_ms);
}

/* Something other than the pong has come. A client whose pong waits behind a large upload is
 * alive. */
static void sign_of_life(struct eio_session *s)
{
    if (!s->pinged || s->extended)
        return;
    s->extended = true;
    heartbeat_start(s, s->server->options.ping_timeout_ms);
}

/* --- input ------------------------------------------------------------------------------------ */

static void deliver(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    if (!s->ended && s->server->handlers.on_message != NULL)
        s->server->handlers.on_message(s, opcode, data, len);
}

static void deliver_base64(struct eio_session *s, struct ws_str text)
{
    void *data = malloc(EIO_BINARY_ROOM(text.len));

    if (data == NULL) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        return;
    }
    deliver(s, WS_OP_BINARY, data, eio_binary_decode(data, text));
    free(data);
}

/* Text that is not UTF-8 must not get further: sent on, it would end the WebSockets of others. */
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
        sign_of_life(s);
        message(s, &p, checked);
        break;
    case EIO_TYPE_CLOSE:
        end_with(s, EIO_TRANSPORT_CLOSE, "6"); /* it knows already: a held GET just ends */
        break;
    case EIO_TYPE_PING: /* the server's to send, in this protocol */
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        break;
    case EIO_TYPE_OPEN:
    case EIO_TYPE_UPGRADE:
    case EIO_TYPE_NOOP:
        sign_of_life(s);
        break;
    }
}

void eio_session_binary(struct eio_session *s, const void *data, size_t len)
{
    sign_of_life(s);
    deliver(s, WS_OP_BINARY, data, len);
}

/* --- polling ---------------------------------------------------------------------------------- */

static void hold(struct eio_session *s, struct eio_asker *place, const struct eio_asker *to)
{
    *place = *to;
    ws_set_data(to->conn, s);
    eio_session_mark(s);
}

void eio_session_poll(struct eio_session *s, const struct eio_asker *to)
{
    if (s->poll.conn != NULL) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        eio_reply(&s->server->options, to, 400, EIO_BODY_NONE, NULL, 0, NULL);
        return;
    }
    hold(s, &s->poll, to);
    if (s->out_len > 0)
        queue_flush(s);
    else if (s->ended)
        part(s, "6\x1e"
                "1");
    else if (s->upgrading)
        answer_poll(s, "6");
}

/* "application/octet-stream" is how protocol 3 sent binary payloads. */
static bool is_octet_stream(struct ws_str type)
{
    static const char name[] = "application/octet-stream";
    size_t len = sizeof name - 1;

    return type.len >= len && strncasecmp(type.data, name, len) == 0 &&
           (type.len == len || strchr("; \t", type.data[len]) != NULL);
}

static void packets(struct eio_session *s, struct ws_str payload)
{
    struct ws_str packet;

    while (!s->ended && eio_payload_next(&payload, &packet))
        eio_session_packet(s, packet, false);
}

void eio_session_post(struct eio_session *s, const struct eio_asker *to,
                      const struct ws_request *req)
{
    bool legal = s->post.conn == NULL && !is_octet_stream(ws_request_header(req, "Content-Type"));

    if (!legal)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    else
        packets(s, ws_request_body(req));
    if (!s->ended)
        hold(s, &s->post, to);
    else if (!legal || s->reason == EIO_PARSE_ERROR)
        eio_reply(&s->server->options, to, 400, EIO_BODY_NONE, NULL, 0, NULL);
    else
        eio_reply(&s->server->options, to, 200, EIO_BODY_HTML, "ok", 2, NULL);
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
    let_go(&s->probe);
}

static void upgrade_timeout(void *arg)
{
    struct eio_session *s = arg;
    struct eio_server *e = s->server;

    s->upgrade_timer = NULL;
    eio_enter(e);
    eio_session_unprobe(s);
    eio_leave(e);
}

bool eio_session_probe(struct eio_session *s, struct ws_conn *c)
{
    s->upgrade_timer =
        ws_timer_start(s->server->ws, s->server->options.upgrade_timeout_ms, upgrade_timeout, s);
    if (s->upgrade_timer == NULL)
        return false;
    s->probe = c;
    ws_set_data(c, s);
    return true;
}

/* One packet of the queue, on the WebSocket. Base64 of our own making is decoded where it lies. */
static int send_queued(struct eio_session *s, struct ws_str packet)
{
    char *place = s->out + (packet.data - s->out);
    struct ws_str base64 = {packet.data + 1, packet.len - 1};

    if (packet.data[0] != 'b' || s->no_binary)
        return ws_send(s->ws, WS_OP_TEXT, packet.data, packet.len);
    return ws_send(s->ws, WS_OP_BINARY, place, eio_binary_decode(place, base64));
}

/* Returns as ws_send() did for the last one. */
static int queue_to_websocket(struct eio_session *s)
{
    struct ws_str rest = {s->out, s->out_len};
    struct ws_str packet;
    int result = WS_SENT;

    while (result >= 0 && eio_payload_next(&rest, &packet))
        result = send_queued(s, packet);
    queue_release(s);
    return result;
}

/* The client has finished its polling and will send on the WebSocket alone: so do we. A pong that
 * is awaited may have been on its way by POST; it gets its whole time again (the reference waits
 * for ever). */
static void take_over(struct eio_session *s)
{
    int result;

    s->ws = s->probe;
    s->probe = NULL;
    s->on_websocket = true;
    count_out(s);
    eio_session_unprobe(s);
    answer_poll(s, "1");
    answer_post(s);
    result = queue_to_websocket(s);
    if (result < 0 || s->ended) {
        eio_session_end(s, EIO_TRANSPORT_ERROR);
        return;
    }
    if (s->pinged)
        heartbeat_start(s, s->server->options.ping_timeout_ms);
    if (result == WS_SENT)
        eio_session_drained(s);
}

static void probe_answer(struct eio_session *s)
{
    ws_send(s->probe, WS_OP_TEXT, "3probe", 6);
    s->upgrading = true;
    answer_poll(s, "6"); /* nothing is queued, or it would have been answered before */
    eio_session_mark(s); /* a POST that is held */
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

/* --- sending ---------------------------------------------------------------------------------- */

bool eio_writable(const struct eio_session *s)
{
    if (s->ended)
        return false;
    if (s->on_websocket)
        return ws_conn_queued(s->ws) == 0;
    return s->poll.conn != NULL && s->out_len == 0;
}

/* May a message of `len` bytes be sent now? Returns 0, EIO_DROPPED or what is against it. */
static int admit(const struct eio_session *s, size_t len, unsigned flags)
{
    size_t max = s->server->options.max_output;

    if (s->ended)
        return WS_ERR_CLOSED;
    if ((flags & EIO_VOLATILE) != 0 && !eio_writable(s))
        return EIO_DROPPED;
    if (eio_queued(s) > max || len > max - eio_queued(s))
        return WS_ERR_FULL;
    return 0;
}

static bool legal_message(enum ws_opcode opcode, const void *data, size_t len)
{
    if (opcode == WS_OP_TEXT)
        return len == 0 || memchr(data, EIO_SEPARATOR, len) == NULL;
    return opcode == WS_OP_BINARY;
}

static int sent_on_websocket(struct eio_session *s, int result)
{
    if (result == WS_QUEUED)
        s->drain_owed = true;
    return result;
}

/* The text form of a message, as a text message. */
static int send_as_text(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    size_t size = eio_message_size(opcode, len);
    char small[SMALL_MESSAGE];
    char *text = size <= sizeof small ? small : malloc(size);
    int result;

    if (text == NULL)
        return WS_ERR_NOMEM;
    eio_message_encode(text, opcode, data, len);
    result = ws_send(s->ws, WS_OP_TEXT, text, size);
    if (text != small)
        free(text);
    return result;
}

int eio_send(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len,
             unsigned flags)
{
    int error;
    char *place;

    if (!legal_message(opcode, data, len))
        return WS_ERR_INVALID;
    error = admit(s, len, flags);
    if (error != 0)
        return error;
    if (s->on_websocket && opcode == WS_OP_BINARY && !s->no_binary)
        return sent_on_websocket(s, ws_send(s->ws, opcode, data, len));
    if (s->on_websocket)
        return sent_on_websocket(s, send_as_text(s, opcode, data, len));
    place = queue_place(s, eio_message_size(opcode, len), s->server->options.max_output, &error);
    if (place == NULL)
        return error;
    eio_message_encode(place, opcode, data, len);
    return queue_result(s);
}

/* --- broadcasts ------------------------------------------------------------------------------- */

/* The text form is what polling and text messages need; binary messages on WebSockets are the
 * data. */
struct eio_packet {
    struct eio_server *server;
    unsigned references;
    bool binary;
    struct ws_frozen *frozen; /* for WebSockets; NULL: not needed yet */
    char *text;               /* the text form; NULL: not needed yet */
    size_t text_len;
    size_t len;
    uint8_t data[]; /* of a binary message */
};

static bool packet_make_text(struct eio_packet *p, enum ws_opcode opcode, const void *data)
{
    size_t size = eio_message_size(opcode, p->len);

    if (!ws_memory_take(p->server->ws, size))
        return false;
    p->text = malloc(size);
    if (p->text == NULL) {
        ws_memory_give(p->server->ws, size);
        return false;
    }
    p->text_len = eio_message_encode(p->text, opcode, data, p->len);
    return true;
}

struct eio_packet *eio_packet_new(struct eio_server *e, enum ws_opcode opcode, const void *data,
                                  size_t len)
{
    bool binary = opcode == WS_OP_BINARY;
    size_t size = sizeof(struct eio_packet) + (binary ? len : 0);
    struct eio_packet *p;

    if (!legal_message(opcode, data, len) || len > e->options.max_output ||
        !ws_memory_take(e->ws, size))
        return NULL;
    p = calloc(1, size);
    if (p == NULL) {
        ws_memory_give(e->ws, size);
        return NULL;
    }
    p->server = e;
    p->references = 1;
    p->binary = binary;
    p->len = len;
    if (binary && len != 0)
        memcpy(p->data, data, len);
    if (!binary && !packet_make_text(p, opcode, data)) {
        eio_packet_release(p);
        return NULL;
    }
    return p;
}

struct eio_packet *eio_packet_keep(struct eio_packet *p)
{
    p->references++;
    return p;
}

void eio_packet_release(struct eio_packet *p)
{
    struct ws_server *ws;

    if (p == NULL || --p->references > 0)
        return;
    ws = p->server->ws;
    if (p->frozen != NULL)
        ws_thaw(p->frozen);
    if (p->text != NULL)
        ws_memory_give(ws, p->text_len);
    ws_memory_give(ws, sizeof *p + (p->binary ? p->len : 0));
    free(p->text);
    free(p);
}

static int send_frozen(struct eio_session *s, struct eio_packet *p)
{
    if (p->frozen == NULL)
        p->frozen = p->binary ? ws_freeze(s->server->ws, WS_OP_BINARY, p->data, p->len)
                              : ws_freeze(s->server->ws, WS_OP_TEXT, p->text, p->text_len);
    if (p->frozen == NULL)
        return WS_ERR_NOMEM;
    return sent_on_websocket(s, ws_send_frozen(s->ws, p->frozen));
}

int eio_send_packet(struct eio_session *s, struct eio_packet *p, unsigned flags)
{
    int error = admit(s, p->len, flags);
    char *place;

    if (error != 0)
        return error;
    if (s->on_websocket && !(p->binary && s->no_binary))
        return send_frozen(s, p);
    if (p->text == NULL && !packet_make_text(p, WS_OP_BINARY, p->data))
        return WS_ERR_NOMEM;
    if (s->on_websocket)
        return sent_on_websocket(s, ws_send(s->ws, WS_OP_TEXT, p->text, p->text_len));
    place = queue_place(s, p->text_len, s->server->options.max_output, &error);
    if (place == NULL)
        return error;
    memcpy(place, p->text, p->text_len);
    return queue_result(s);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* A place in the limits, and memory that counts in one of them. */
static struct eio_session *session_alloc(struct eio_server *e)
{
    struct eio_session *s;

    if (e->closing || e->session_count >= e->options.max_sessions ||
        !ws_memory_take(e->ws, sizeof *s))
        return NULL;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        ws_memory_give(e->ws, sizeof *s);
    return s;
}

/* On polling a session counts for its host; a WebSocket is limited by its connection. */
static bool count_in(struct eio_session *s, const char *address)
{
    struct eio_server *e = s->server;
    uint64_t key;

    if (s->on_websocket || !eio_host_key(address, &key))
        return true;
    s->host = eio_census_add(&e->census, key, e->options.max_polling_per_host);
    return s->host != NULL;
}

struct eio_session *eio_session_new(struct eio_server *e, const struct eio_request *r,
                                    const char *address)
{
    struct eio_session *s = session_alloc(e);

    if (s == NULL)
        return NULL;
    s->server = e;
    s->on_websocket = r->transport == EIO_WEBSOCKET;
    s->no_binary = r->no_binary;
    if (!eio_id_new(s->id) || !count_in(s, address)) {
        ws_memory_give(e->ws, sizeof *s);
        free(s);
        return NULL;
    }
    eio_server_add(e, s);
    heartbeat_start(s, e->options.ping_interval_ms);
    return s->ended ? NULL : s; /* when it has ended it is marked, and freed by that */
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

    s->connect_timer = NULL;
    eio_enter(e);
    eio_close(s);
    eio_leave(e);
}

void eio_session_opened(struct eio_session *s, const struct eio_handshake *h)
{
    struct eio_server *e = s->server;

    if (e->options.connect_timeout_ms != 0) {
        s->connect_timer = ws_timer_start(e->ws, e->options.connect_timeout_ms, connect_timeout, s);
        if (s->connect_timer == NULL) {
            eio_session_end(s, EIO_TRANSPORT_ERROR);
            return;
        }
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

enum eio_transport eio_session_transport(const struct eio_session *s)
{
    return s->on_websocket ? EIO_WEBSOCKET : EIO_POLLING;
}

const char *eio_transport_name(enum eio_transport transport)
{
    return transport == EIO_WEBSOCKET ? "websocket" : "polling";
}

size_t eio_queued(const struct eio_session *s)
{
    return s->ws != NULL ? ws_conn_queued(s->ws) : s->out_len;
}

const char *eio_session_id(const struct eio_session *s)
{
    return s->id;
}
