/* SPDX-License-Identifier: MIT
 *
 * Output of a session: messages of the application, pings, and the responses to its GET and POST.
 *
 *     eio_send(), eio_send_packet()      eio_output_ping()
 *          |               |                  |
 *     on a WebSocket   on polling         either way
 *          |               |
 *          |           the queue: a payload as it is sent
 *          |               |
 *          |               +--- to the GET that is held, or the next one
 *          |               +--- to the WebSocket, after an upgrade
 *          |
 *     ws_send(): the queue of the connection
 *
 * The queue is sent when the callback has returned, so that all messages of one callback leave
 * together. */
#include "eio_output.h"

#include <assert.h>

#include "eio_codec.h"
#include "eio_packet.h"

enum {
    SMALL_MESSAGE = 1024, /* bytes up to which a message is encoded on the stack */
    PIECES = 33           /* of a payload, up to which they are listed on the stack */
};

void eio_output_drop(struct eio_session *s)
{
    eio_queue_release(&s->queue, s->account);
    s->overflowed = false;
    s->backlog = 0;
}

/* --- the requests that are held --------------------------------------------------------------- */

/* Answer a held request; it is not held any more then. */
static int answer_pieces(struct eio_session *s, struct eio_asker *held, int status,
                         enum eio_body type, const struct ws_str *pieces, size_t count)
{
    struct eio_asker to = *held;
    int result;

    assert(to.conn != NULL);
    *held = (struct eio_asker){.conn = NULL};
    ws_set_data(to.conn, NULL);
    result = eio_reply_pieces(&s->server->options, &to, status, type, pieces, count);
    eio_asker_release(&to, s->account);
    return result;
}

static int answer(struct eio_session *s, struct eio_asker *held, int status, enum eio_body type,
                  const char *body)
{
    struct ws_str piece = ws_str(body);

    return answer_pieces(s, held, status, type, &piece, body == NULL ? 0 : 1);
}

void eio_output_answer_get(struct eio_session *s, const char *payload)
{
    if (s->get.conn != NULL)
        answer(s, &s->get, 200, EIO_BODY_TEXT, payload);
}

void eio_output_answer_post(struct eio_session *s)
{
    if (s->post.conn != NULL && !s->uploading && !s->working)
        answer(s, &s->post, 200, EIO_BODY_HTML, "ok");
}

void eio_output_resume_post(struct eio_session *s)
{
    if (!s->waiting)
        return;
    assert(s->post.conn != NULL && s->uploading);
    s->waiting = false;
    ws_timer_stop(s->post_timer);
    ws_resume(s->post.conn);
}

void eio_output_refuse_post(struct eio_session *s, int status)
{
    eio_output_resume_post(s);
    s->uploading = false;
    answer(s, &s->post, status, EIO_BODY_NONE, NULL);
}

void eio_output_end_post(struct eio_session *s)
{
    if (s->uploading)
        eio_output_refuse_post(s, 400);
    eio_output_answer_post(s);
}

/* --- out of the queue ------------------------------------------------------------------------- */

/* Answer the GET with the queue. The pieces are not copied into one buffer first. */
static int queue_to_get(struct eio_session *s)
{
    struct ws_str few[PIECES];
    size_t size = (2 * s->queue.share_count + 1) * sizeof few[0];
    struct ws_str *pieces = size <= sizeof few ? few : ws_account_resize(s->account, NULL, 0, size);
    struct eio_cursor cursor = {0};
    size_t count = 0;
    int result;

    if (pieces == NULL)
        return WS_ERR_NOMEM;
    while (eio_queue_next(&s->queue, &cursor, &pieces[count]))
        count++;
    result = answer_pieces(s, &s->get, 200, EIO_BODY_TEXT, pieces, count);
    if (pieces != few)
        ws_account_give(s->account, pieces, size);
    return result;
}

static int base64_to_websocket(struct eio_session *s, struct ws_str base64)
{
    size_t size = EIO_BINARY_ROOM(base64.len);
    void *data = ws_account_resize(s->account, NULL, 0, size);
    int result;

    if (data == NULL)
        return WS_ERR_NOMEM;
    result = ws_send(s->ws, WS_OP_BINARY, data, eio_binary_decode(data, base64));
    ws_account_give(s->account, data, size);
    return result;
}

static int packet_to_websocket(struct eio_session *s, struct ws_str packet)
{
    if (packet.data[0] == 'b' && !s->no_binary)
        return base64_to_websocket(s, (struct ws_str){packet.data + 1, packet.len - 1});
    return ws_send(s->ws, WS_OP_TEXT, packet.data, packet.len);
}

/* Send packets of the queue's own bytes between two shared packets. The separators next to shared
 * packets are among these bytes, so that empty packets appear, which are skipped. */
static int own_to_websocket(struct eio_session *s, struct ws_str rest)
{
    struct ws_str packet;
    int result = WS_SENT;

    while (result >= 0 && eio_payload_next(&rest, &packet))
        result = packet.len == 0 ? WS_SENT : packet_to_websocket(s, packet);
    return result;
}

/* Returns the result of the last ws_send(). */
static int queue_to_websocket(struct eio_session *s)
{
    struct eio_cursor cursor = {0};
    struct ws_str piece;
    int result = WS_SENT;

    while (result >= 0 && eio_queue_next(&s->queue, &cursor, &piece))
        result = cursor.shared ? packet_to_websocket(s, piece) : own_to_websocket(s, piece);
    return result;
}

int eio_output_flush(struct eio_session *s)
{
    int result;

    assert(s->on_websocket ? s->ws != NULL : s->get.conn != NULL);
    result = s->on_websocket ? queue_to_websocket(s) : queue_to_get(s);
    eio_output_drop(s);
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

/* --- sending ---------------------------------------------------------------------------------- */

size_t eio_queued(const struct eio_session *s)
{
    return s->ws != NULL ? ws_conn_queued(s->ws) : s->queue.len;
}

bool eio_writable(const struct eio_session *s)
{
    if (s->ended)
        return false;
    if (s->on_websocket)
        return ws_conn_queued(s->ws) == 0;
    return s->get.conn != NULL && s->queue.len == 0;
}

/* Unsent bytes from earlier turns: the client has had time to fetch them. */
static size_t backlog(struct eio_session *s)
{
    uint64_t turn = ws_server_turn(s->server->ws);

    if (s->on_websocket)
        return ws_conn_backlog(s->ws);
    if (s->turn != turn)
        s->backlog = s->queue.len;
    s->turn = turn;
    return s->backlog;
}

static bool is_within(size_t max, size_t queued, size_t len)
{
    return queued == 0 || (queued <= max && len <= max - queued);
}

/* Bytes that were sent in this turn do not count against max_output, up to WS_BURST_MAX: they
 * cannot leave before the turn ends. */
static bool fits_output(struct eio_session *s, size_t len)
{
    size_t max = s->server->options.max_output;
    size_t burst = max < SIZE_MAX - WS_BURST_MAX ? max + WS_BURST_MAX : SIZE_MAX;

    return is_within(max, backlog(s), len) &&
           (s->on_websocket || is_within(burst, s->queue.len, len));
}

/* May a message of `len` bytes be sent now? Returns 0, EIO_DROPPED or an error. */
static int admit(struct eio_session *s, size_t len, unsigned flags)
{
    if (s->ended)
        return WS_ERR_CLOSED;
    if ((flags & EIO_VOLATILE) != 0 && !eio_writable(s))
        return EIO_DROPPED;
    if (fits_output(s, len))
        return 0;
    s->overflowed = true;
    return WS_ERR_FULL;
}

/* The result of a send on either transport. After WS_QUEUED an on_drain is owed. */
static int sent(struct eio_session *s, int result)
{
    if (result == WS_QUEUED)
        s->drain_owed = true;
    return result;
}

/* The result of queueing a message. If there was no memory, this message is missing in the output,
 * so the session is marked as `overflowed`. */
static int queued(struct eio_session *s, bool done)
{
    s->overflowed = s->overflowed || !done;
    if (!done)
        return WS_ERR_NOMEM;
    s->server->queued_count++;
    eio_server_mark(s);
    return sent(s, s->queue.len <= s->server->options.high_water ? WS_SENT : WS_QUEUED);
}

/* Send the text form of a message on a WebSocket. */
static int send_as_text(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    size_t size = eio_message_size(opcode, len);
    char small[SMALL_MESSAGE];
    char *text = size <= sizeof small ? small : ws_account_resize(s->account, NULL, 0, size);
    int result;

    if (text == NULL)
        return WS_ERR_NOMEM;
    eio_message_encode(text, opcode, data, len);
    result = ws_send(s->ws, WS_OP_TEXT, text, size);
    if (text != small)
        ws_account_give(s->account, text, size);
    return result;
}

static int queue_message(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    char *place = eio_queue_add(&s->queue, s->account, eio_message_size(opcode, len));

    if (place != NULL)
        eio_message_encode(place, opcode, data, len);
    return queued(s, place != NULL);
}

int eio_send(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len,
             unsigned flags)
{
    int error;

    if (!eio_message_is_legal(opcode, data, len))
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

/* If there is no memory for the ping, no pong comes, and the session ends by the ping timeout. */
void eio_output_ping(struct eio_session *s)
{
    char *place;

    if (s->on_websocket) {
        ws_send(s->ws, WS_OP_TEXT, EIO_PING_PACKET, 1);
        return;
    }
    place = eio_queue_add(&s->queue, s->account, 1);
    if (place != NULL)
        *place = EIO_PING_PACKET[0];
    eio_server_mark(s);
}

static int send_shared(struct eio_session *s, struct eio_packet *p)
{
    bool as_text = !s->on_websocket || (p->binary && s->no_binary);

    if (!(as_text ? eio_packet_write(p) : eio_packet_prepare(p)))
        return WS_ERR_NOMEM;
    if (!s->on_websocket)
        return queued(s, eio_queue_refer(&s->queue, s->account, p->text));
    return sent(s, as_text ? ws_send(s->ws, WS_OP_TEXT, p->text->data, p->text->len)
                           : ws_send_prepared(s->ws, p->prepared));
}

int eio_send_packet(struct eio_session *s, struct eio_packet *p, unsigned flags)
{
    int error = admit(s, p->len, flags);

    return error != 0 ? error : send_shared(s, p);
}
