/* SPDX-License-Identifier: MIT
 *
 * What leaves a session: messages of the application, pings, and answers to the GET and the POST
 * that are held.
 *
 *     eio_send(), eio_send_packet()      eio_output_ping()
 *          |               |                  |
 *     on a WebSocket   on polling         either way
 *          |               |
 *          |           the queue, a payload as it will be on the wire
 *          |               |
 *          |               +--- to the GET that is held or comes next
 *          |               +--- to the WebSocket that takes over
 *          |
 *     ws_send(): the queue is the connection's own
 *
 * The queue waits until the callback returns, so that all that was sent in it leaves together. The
 * bytes of a broadcast are copied into each queue: to share them was no faster (`make bench
 * BENCH=socketio`), since the copy is nothing beside the system calls of a response. */
#include "eio_session.h"

#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MIN = 256,     /* first allocation of a queue */
    CONTROL_ROOM = 8,    /* bytes over max_output that are kept for pings */
    SMALL_MESSAGE = 1024 /* encoded on the stack */
};

/* --- the queue -------------------------------------------------------------------------------- */

void eio_output_drop(struct eio_session *s)
{
    ws_memory_give(s->server->ws, s->out_cap);
    free(s->out);
    s->out = NULL;
    s->out_len = s->out_cap = 0;
    s->overflowed = false;
}

/* Returns 0, WS_ERR_FULL when max_memory does not allow it, or WS_ERR_NOMEM. */
static int queue_grow(struct eio_session *s, size_t cap)
{
    char *out;

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

/* Make room for a packet of `size` bytes and its separator, as long as no more than `limit` bytes
 * wait then. By doubling, but neither past the limit nor where only less is to be had. Returns as
 * queue_grow(). */
static int queue_reserve(struct eio_session *s, size_t size, size_t limit)
{
    size_t added = size + (s->out_len > 0);
    size_t need = s->out_len + added;
    size_t cap = s->out_cap < QUEUE_MIN / 2 ? QUEUE_MIN : s->out_cap * 2;

    if (s->out_len > limit || added > limit - s->out_len)
        return WS_ERR_FULL;
    if (need <= s->out_cap)
        return 0;
    if (cap > limit)
        cap = limit;
    if (cap > need && queue_grow(s, cap) == 0)
        return 0;
    return queue_grow(s, need);
}

/* The same for a message: without room for it there is a gap behind what is queued. */
static int queue_reserve_message(struct eio_session *s, size_t size)
{
    int error = queue_reserve(s, size, s->server->options.max_output);

    s->overflowed = s->overflowed || error != 0;
    return error;
}

/* The place for a packet that was made room for, behind a separator if it is not the first. */
static char *queue_add(struct eio_session *s, size_t size)
{
    char *place;

    if (s->out_len > 0)
        s->out[s->out_len++] = EIO_SEPARATOR;
    place = s->out + s->out_len;
    s->out_len += size;
    eio_session_mark(s);
    return place;
}

/* --- the requests that are held --------------------------------------------------------------- */

/* Afterwards it is not held any more. */
static int answer(struct eio_session *s, struct eio_asker *held, int status, enum eio_body type,
                  const char *body, size_t len)
{
    struct eio_asker to = *held;

    held->conn = NULL;
    ws_set_data(to.conn, NULL);
    return eio_reply(&s->server->options, &to, status, type, body, len, NULL);
}

void eio_output_answer_get(struct eio_session *s, const char *payload)
{
    if (s->get.conn != NULL)
        answer(s, &s->get, 200, EIO_BODY_TEXT, payload, strlen(payload));
}

void eio_output_answer_post(struct eio_session *s)
{
    if (s->post.conn != NULL && !s->uploading)
        answer(s, &s->post, 200, EIO_BODY_HTML, "ok", 2);
}

void eio_output_refuse_post(struct eio_session *s, int status)
{
    s->uploading = false;
    answer(s, &s->post, status, EIO_BODY_NONE, NULL, 0);
}

void eio_output_end_post(struct eio_session *s)
{
    if (s->uploading)
        eio_output_refuse_post(s, 400);
    eio_output_answer_post(s);
}

/* --- out of the queue ------------------------------------------------------------------------- */

/* One packet of the queue. Base64 of our own making is decoded where it lies. */
static int packet_to_websocket(struct eio_session *s, struct ws_str packet)
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
        result = packet_to_websocket(s, packet);
    return result;
}

int eio_output_flush(struct eio_session *s)
{
    int result = s->on_websocket ? queue_to_websocket(s)
                                 : answer(s, &s->get, 200, EIO_BODY_TEXT, s->out, s->out_len);

    eio_output_drop(s);
    if (result < 0)
        eio_session_end(s, EIO_TRANSPORT_ERROR);
    return result;
}

void eio_output_drained(struct eio_session *s)
{
    if (!s->drain_owed || s->ended)
        return;
    s->drain_owed = false;
    if (s->server->handlers.on_drain != NULL)
        s->server->handlers.on_drain(s);
}

/* A client that moves to a WebSocket reads no more, and goes on when nothing is held. */
void eio_output_settle(struct eio_session *s)
{
    size_t low_water = s->server->options.high_water / 2;

    if (s->get.conn != NULL && s->out_len > 0)
        eio_output_flush(s);
    if (s->upgrading)
        eio_output_answer_get(s, EIO_NOOP_PACKET);
    if (s->upgrading || s->out_len <= low_water)
        eio_output_answer_post(s);
    if (s->out_len <= low_water)
        eio_output_drained(s);
}

/* --- sending ---------------------------------------------------------------------------------- */

size_t eio_queued(const struct eio_session *s)
{
    return s->ws != NULL ? ws_conn_queued(s->ws) : s->out_len;
}

bool eio_writable(const struct eio_session *s)
{
    if (s->ended)
        return false;
    if (s->on_websocket)
        return ws_conn_queued(s->ws) == 0;
    return s->get.conn != NULL && s->out_len == 0;
}

/* May a message of `len` bytes be sent now? Returns 0, EIO_DROPPED or what is against it. */
static int admit(struct eio_session *s, size_t len, unsigned flags)
{
    size_t max = s->server->options.max_output;

    if (s->ended)
        return WS_ERR_CLOSED;
    if ((flags & EIO_VOLATILE) != 0 && !eio_writable(s))
        return EIO_DROPPED;
    if (eio_queued(s) <= max && len <= max - eio_queued(s))
        return 0;
    s->overflowed = true;
    return WS_ERR_FULL;
}

static bool legal_message(enum ws_opcode opcode, const void *data, size_t len)
{
    if (opcode == WS_OP_TEXT)
        return len == 0 || memchr(data, EIO_SEPARATOR, len) == NULL;
    return opcode == WS_OP_BINARY;
}

/* The result of a send on either transport: WS_QUEUED owes an on_drain. */
static int sent(struct eio_session *s, int result)
{
    if (result == WS_QUEUED)
        s->drain_owed = true;
    return result;
}

static int queued(struct eio_session *s)
{
    return sent(s, s->out_len <= s->server->options.high_water ? WS_SENT : WS_QUEUED);
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

static int queue_message(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    size_t size = eio_message_size(opcode, len);
    int error = queue_reserve_message(s, size);

    if (error != 0)
        return error;
    eio_message_encode(queue_add(s, size), opcode, data, len);
    return queued(s);
}

int eio_send(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len,
             unsigned flags)
{
    int error;

    if (!legal_message(opcode, data, len))
        return WS_ERR_INVALID;
    error = admit(s, len, flags);
    if (error != 0)
        return error;
    if (!s->on_websocket)
        return queue_message(s, opcode, data, len);
    if (opcode == WS_OP_BINARY && !s->no_binary)
        return sent(s, ws_send(s->ws, opcode, data, len));
    return sent(s, send_as_text(s, opcode, data, len));
}

/* When there is no room for it the pong will be missing, which ends the session. */
void eio_output_ping(struct eio_session *s)
{
    if (s->on_websocket)
        ws_send(s->ws, WS_OP_TEXT, EIO_PING_PACKET, 1);
    else if (queue_reserve(s, 1, s->server->options.max_output + CONTROL_ROOM) == 0)
        memcpy(queue_add(s, 1), EIO_PING_PACKET, 1);
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
    return sent(s, ws_send_frozen(s->ws, p->frozen));
}

int eio_send_packet(struct eio_session *s, struct eio_packet *p, unsigned flags)
{
    int error = admit(s, p->len, flags);

    if (error != 0)
        return error;
    if (s->on_websocket && !(p->binary && s->no_binary))
        return send_frozen(s, p);
    if (p->text == NULL && !packet_make_text(p, WS_OP_BINARY, p->data))
        return WS_ERR_NOMEM;
    if (s->on_websocket)
        return sent(s, ws_send(s->ws, WS_OP_TEXT, p->text, p->text_len));
    error = queue_reserve_message(s, p->text_len);
    if (error != 0)
        return error;
    memcpy(queue_add(s, p->text_len), p->text, p->text_len);
    return queued(s);
}
