/* SPDX-License-Identifier: MIT
 *
 * A connection that speaks WebSocket: frames in (RFC 6455 §5, §6.2), frames out (§6.1), the closing
 * handshake (§7), rooms. ws_frame and ws_message decide what is legal. */
#include "conn_ws.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "conn_client.h"
#include "conn_end.h"
#include "conn_output.h"
#include "conn_trace.h"

/* --- frames out ------------------------------------------------------------------------------- */

enum { SMALL_FRAME = 1024 /* bytes of payload up to which a frame is written to the stage */ };

/* A small frame is written straight to the stage: there is no separate copy of the header. Saves
 * 1/8 of the instructions of a pipelined echo (`make bench`, 32 B). */
static bool frame_staged(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    size_t max_len = WS_FRAME_SERVER_HEADER_MAX + len;
    uint8_t *at = len > SMALL_FRAME ? NULL : conn_stage(c, max_len);
    size_t header_len;

    if (at == NULL)
        return false;
    header_len = ws_frame_encode(at, opcode, len);
    if (len != 0)
        memcpy(at + header_len, data, len);
    conn_staged(c, header_len + len);
    return true;
}

/* A message that is sent as it came has room for the server's header where the client's was, which
 * was longer by the masking key: they leave as one piece, by send() instead of sendmsg(). Saves
 * 1/50 of an echo of 16 KiB (`make bench`). */
static int frame_append(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    size_t header_len = ws_frame_encode(header, opcode, len);
    uint8_t *payload = c->server->hand.in_place;

    if (payload == NULL || payload != data)
        return conn_append(c, header, header_len, data, len);
    assert(header_len < c->server->hand.in_front);
    memcpy(payload - header_len, header, header_len);
    return conn_append(c, header, 0, payload - header_len, header_len + len);
}

int conn_frame(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    int error = frame_staged(c, opcode, data, len) ? 0 : frame_append(c, opcode, data, len);

    if (error == 0 && conn_is_traced(c))
        conn_trace_sent(c, opcode, data, len);
    return error;
}

/* Queue a frame that other connections get, too. */
static int frame_shared(struct ws_conn *c, const struct output_slice *slice)
{
    int error = conn_refer(c, slice);

    if (error == 0 && conn_is_traced(c))
        conn_trace_wire(c, slice->chunk->data + slice->start, slice->end - slice->start);
    return error;
}

/* RFC 6455 §5.5.3: it is enough to answer the newest Ping. So a Pong that has to wait for the
 * socket waits behind all other output, and a newer Pong replaces it. */
static void send_pong(struct ws_conn *c, const uint8_t *data, size_t len)
{
    uint8_t frame[WS_FRAME_SERVER_HEADER_MAX + WS_CONTROL_MAX];
    size_t header_len;

    if (!c->out.blocked) {
        conn_frame(c, WS_OP_PONG, data, len);
        return;
    }
    header_len = ws_frame_encode(frame, WS_OP_PONG, len);
    if (len != 0)
        memcpy(frame + header_len, data, len);
    conn_defer(c, frame, header_len + len);
}

/* --- frames in -------------------------------------------------------------------------------- */

/* Fail the connection for what it sent, with the close code that the codec returned. */
COLD static void fail_message(struct ws_conn *c, int code)
{
    if (code == WS_CLOSE_INVALID)
        conn_fail(c, WS_CLOSE_INVALID, "text is not UTF-8", NULL);
    else if (code == WS_CLOSE_TOO_BIG)
        conn_fail(c, WS_CLOSE_TOO_BIG, "message too big", "ws_options.max_message");
    else
        conn_fail(c, (unsigned)code, "not a legal frame", NULL);
}

/* The allotment of `c` is used up, see rate.h: it goes on, is warned of, or fails. Of the default
 * limit, programs on this machine are free. */
COLD static void meter_messages(struct ws_conn *c)
{
    struct ws_server *s = c->server;
    const struct rate_span *span = &s->message_span;
    char address[WS_ADDRESS_SIZE];

    c->source.allotment = span->allotment;
    if (span->allotment == 0 || c->state != CONN_OPEN ||
        (!s->given.message_rate && !conn_client_is_limited(server_host_of(c), false)))
        return;
    switch (rate_meter_spent(&c->source.meter, span, s->now_ms)) {
    case RATE_FINE:
        break;
    case RATE_WARN:
        server_log(s, WS_LOG_ERROR,
                   "#%llu %s sends over %u messages a second, and is closed if it goes on "
                   "(ws_options.message_rate)",
                   (unsigned long long)c->id, ws_conn_address(c, address), s->options.message_rate);
        break;
    case RATE_OVER:
        conn_fail(c, WS_CLOSE_POLICY, "too many messages", "ws_options.message_rate");
        return;
    }
    server_deadline_by(c, s->now_ms + (uint64_t)RATE_SPAN_UNITS * span->unit_ms);
}

/* One message, ping or pong has been handled. It is counted behind its callback, not before: then
 * nothing of it has to be kept in a register across the call. */
static inline void count_message(struct ws_conn *c)
{
    if (--c->source.allotment == 0)
        meter_messages(c);
}

unsigned conn_messages_metered(struct ws_conn *c)
{
    const struct rate_span *span = &c->server->message_span;
    unsigned left_ms;

    if (rate_meter_passed(&c->source.meter, span, c->server->now_ms, &left_ms))
        c->source.allotment = span->allotment;
    return left_ms;
}

/* An empty message may have come in fragments and so have no buffer: the application still gets an
 * address, since memcpy() and others must not get NULL. */
static void deliver(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    if (c->state == CONN_OPEN && c->endpoint->handlers.on_message != NULL)
        c->endpoint->handlers.on_message(c, opcode, data != NULL ? data : "", len);
}

/* RFC 6455 §5.5.1: answer the first Close with the same code, and the same reason, for a browser
 * gives its page those of the Close that it received, also where the page closed first (§7.1.6). If
 * the server has sent its Close already, the handshake is done. */
static void close_received(struct ws_conn *c, const uint8_t *payload, size_t len)
{
    struct ws_close_status status;
    int error = ws_close_decode(&status, payload, len);

    if (error != 0) {
        conn_fail(c, (unsigned)-error, "not a legal Close frame", NULL);
        return;
    }
    if (c->state == CONN_OPEN)
        conn_echo_close(c, status.code == WS_CLOSE_NO_STATUS ? WS_CLOSE_NONE : status.code,
                        status.reason, status.reason_len);
    conn_closed(c, status.code, status.reason, status.reason_len);
}

static void control_received(struct ws_conn *c, enum ws_opcode opcode, uint8_t *payload, size_t len)
{
    switch (opcode) {
    case WS_OP_CLOSE:
        close_received(c, payload, len);
        break;
    case WS_OP_PING:
        if (c->state == CONN_OPEN)
            send_pong(c, payload, len);
        count_message(c);
        break;
    default: /* a pong: it is only noted that the peer was heard */
        count_message(c);
        break;
    }
}

/* The frame in hand is complete. When it ends the message, hand the message over. */
static void frame_ended(struct ws_conn *c)
{
    struct input *in = c->input;
    int result = ws_message_frame_end(&in->message, &in->frame);
    struct buf payload = in->payload;

    in->in_frame = false;
    if (c->state != CONN_OPEN || result == 0)
        return;
    if (result < 0) {
        fail_message(c, -result);
        return;
    }
    in->payload = (struct buf){0};
    in->due_ms = 0;
    deliver(c, (enum ws_opcode)result, payload.data, payload.len);
    buf_release(&payload, &c->account);
    count_message(c);
}

/* `n` more bytes of the frame in hand have come, and are behind what the message has so far. Once
 * we are closing they are discarded. */
void conn_payload_came(struct ws_conn *c, size_t n)
{
    struct input *in = c->input;
    uint8_t *data;
    int error;

    if (c->state == CONN_OPEN && n > 0) {
        data = in->payload.data + in->payload.len;
        error = ws_message_unmask(&in->message, &in->frame, data, n, in->frame_got);
        if (error != 0) {
            fail_message(c, -error);
            return;
        }
        in->payload.len += n;
    }
    in->frame_got += n;
    if (in->frame_got == in->frame.len)
        frame_ended(c);
}

void conn_frames_overload(struct ws_conn *c)
{
    if (c->state == CONN_OPEN)
        conn_fail(c, WS_CLOSE_TRY_LATER, "out of memory", "ws_options.max_memory");
    else
        conn_closed(c, WS_CLOSE_TRY_LATER, "", 0);
}

/* The memory of a message is essential as long as its announced length is small. */
static enum account_kind payload_kind(const struct input *in)
{
    return account_kind_of(in->message.len);
}

/* More payload of the frame in hand, in the receive buffer. Returns bytes consumed. */
static size_t payload_feed(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct input *in = c->input;
    uint64_t left = in->frame.len - in->frame_got; /* 0 only for an empty frame, which ends here */
    size_t n = len < left ? len : (size_t)left;

    if (c->state == CONN_OPEN) {
        buf_expect(&in->payload, &c->account, payload_kind(in), (size_t)in->frame.len);
        if (buf_reserve(&in->payload, &c->account, payload_kind(in), n, in->message.len) != 0) {
            conn_frames_overload(c);
            return len;
        }
        if (n != 0)
            memcpy(in->payload.data + in->payload.len, data, n);
    }
    conn_payload_came(c, n);
    return c->state < CONN_LINGERING ? n : len;
}

/* Much of the frame in hand is still to come: receive it into the buffer of the message, which
 * saves a copy (`make bench`, echo of 1 MiB). Memory still grows with what came, by doubling. */
size_t conn_payload_space(struct ws_conn *c, uint8_t **space)
{
    struct buf *payload = c->input == NULL ? NULL : &c->input->payload;
    size_t left, room;

    if (c->state != CONN_OPEN || payload == NULL || !c->input->in_frame)
        return 0;
    left = (size_t)(c->input->frame.len - c->input->frame_got);
    if (left < RECEIVE_SIZE / 2 || payload->len == 0)
        return 0;
    if (c->input->stash.len > 0)
        return 0; /* uncovered: it comes first, and settle() in conn.c has fed it by now */
    if (payload->cap == payload->len &&
        buf_reserve(payload, &c->account, ACCOUNT_ORDINARY,
                    left < payload->len ? left : payload->len, c->input->message.len) != 0)
        return 0;
    *space = payload->data + payload->len;
    room = payload->cap - payload->len;
    return room < left ? room : left;
}

/* A message that lies whole in the receive buffer: no copy, no allocation. */
static void whole_message(struct ws_conn *c, const struct ws_frame *f, uint8_t *payload)
{
    int result = ws_message_whole(f, payload, c->endpoint->handlers.max_message);

    if (result < 0) {
        fail_message(c, -result);
        return;
    }
    c->server->hand.in_place = payload;
    c->server->hand.in_front = ws_frame_header_len(f->len);
    deliver(c, (enum ws_opcode)result, payload, (size_t)f->len);
    c->server->hand.in_place = NULL;
    count_message(c);
}

/* The header of a data frame has come, and `len` bytes behind it; the message does not lie whole in
 * the receive buffer. Returns how many it consumed. */
static size_t part_of_message(struct ws_conn *c, const struct ws_frame *f, uint8_t *payload,
                              size_t len)
{
    struct input *in = input_get(&c->input, &c->account);
    int error;

    if (in == NULL) {
        conn_frames_overload(c);
        return len;
    }
    error = c->state != CONN_OPEN
                ? 0
                : ws_message_admit(&in->message, f, c->endpoint->handlers.max_message);
    if (error != 0) {
        fail_message(c, -error);
        return len;
    }
    in->frame = *f;
    in->frame_got = 0;
    in->in_frame = true;
    return payload_feed(c, payload, len);
}

/* The header of a data frame has come, and `len` bytes behind it. Returns how many it consumed. */
static size_t data_frame(struct ws_conn *c, const struct ws_frame *f, uint8_t *payload, size_t len)
{
    bool open = c->input != NULL && c->input->message.state != MESSAGE_NONE;

    if (c->state != CONN_OPEN || open || !f->fin || f->opcode == WS_OP_CONTINUATION || f->len > len)
        return part_of_message(c, f, payload, len);
    whole_message(c, f, payload);
    return (size_t)f->len;
}

size_t conn_frames_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    struct ws_frame f;
    int header;

    assert(c->state == CONN_OPEN || c->state == CONN_CLOSING);
    if (c->input != NULL && c->input->in_frame)
        return payload_feed(c, data, len);
    header = ws_frame_decode(&f, data, len, 0);
    if (header == WS_NEED_MORE)
        return 0;
    if (header < 0) {
        const char *fault = ws_frame_fault(data, len, 0);

        if (conn_is_traced(c))
            conn_trace_illegal(c, data, len, fault);
        conn_fail(c, (unsigned)-header, fault, NULL);
        return len;
    }
    data += header;
    len -= (size_t)header;
    if (ws_opcode_is_control(f.opcode) && f.len > len)
        return 0;
    if (conn_is_traced(c))
        conn_trace_received(c, &f, data - header, (size_t)header, len);
    if (!ws_opcode_is_control(f.opcode))
        return (size_t)header + data_frame(c, &f, data, len);
    ws_frame_unmask(data, (size_t)f.len, f.mask, 0);
    control_received(c, f.opcode, data, (size_t)f.len);
    return (size_t)header + (size_t)f.len;
}

void conn_open(struct ws_conn *c, const struct ws_request *req)
{
    assert(c->state == CONN_OPEN && !c->life.opened);
    c->life.opened = true;
    assert(!c->life.pinged);
    c->source.allotment = c->server->message_span.allotment;
    c->heard_ms = c->server->now_ms;
    timer_cancel(&c->server->timers, &c->timer);
    if (c->server->options.ping_interval_ms != UINT_MAX)
        server_deadline(c, c->server->options.ping_interval_ms);
    if (c->endpoint->handlers.on_open != NULL)
        c->endpoint->handlers.on_open(c, req);
}

/* --- the API of connections ------------------------------------------------------------------- */

int ws_send(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    int error;

    if (opcode != WS_OP_TEXT && opcode != WS_OP_BINARY)
        return WS_ERR_INVALID;
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = conn_frame(c, opcode, data, len);
    return error != 0 ? error : conn_send_result(c);
}

int ws_ping(struct ws_conn *c, const void *data, size_t len)
{
    int error;

    if (len > WS_CONTROL_MAX)
        return WS_ERR_INVALID;
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = conn_frame(c, WS_OP_PING, data, len);
    return error != 0 ? error : conn_send_result(c);
}

int ws_close(struct ws_conn *c, unsigned code, const char *reason)
{
    if (code != WS_CLOSE_NONE && !ws_close_code_valid(code))
        return WS_ERR_INVALID;
    return conn_start_close(c, code, reason);
}

/* --- the API of rooms ------------------------------------------------------------------------- */

int ws_join(struct ws_conn *c, struct ws_str room)
{
    const struct room_member member = {c, &c->account, server_host_of(c)};
    int error;

    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = room_join(&c->server->rooms, &c->rooms, &member, room);
    return error != 0 ? to_ws_error(error) : 0;
}

void ws_leave(struct ws_conn *c, struct ws_str room)
{
    room_leave(&c->server->rooms, &c->rooms, room);
}

struct ws_str ws_conn_room(const struct ws_conn *c, size_t index)
{
    const struct room_seat *seat = c->rooms;

    while (seat != NULL && index-- > 0)
        seat = seat->next;
    return seat == NULL ? (struct ws_str){NULL, 0}
                        : (struct ws_str){seat->room->name, seat->room->name_len};
}

/* One recipient of a broadcast. Where its queue is full, or there is no memory for it, this
 * recipient is closed with 1013; the sender and the other recipients are not. */
static bool publish_to(struct ws_conn *c, const struct output_slice *slice)
{
    int error;

    if (c->state != CONN_OPEN || c->out.broken)
        return false;
    error = frame_shared(c, slice);
    if (error == 0)
        return true;
    if (error != WS_ERR_CLOSED) /* else the socket was found broken */
        conn_overrun(c, ws_strerror(error));
    return false;
}

static int encode_once(struct ws_server *s, struct output_slice *slice, enum ws_opcode opcode,
                       const void *data, size_t len)
{
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    int error;

    if (opcode != WS_OP_TEXT && opcode != WS_OP_BINARY)
        return WS_ERR_INVALID;
    error =
        output_slice_new(&s->pool, slice, header, ws_frame_encode(header, opcode, len), data, len);
    return error != 0 ? to_ws_error(error) : 0;
}

ptrdiff_t ws_publish_local(struct ws_server *s, struct ws_str name, const struct ws_conn *except,
                           enum ws_opcode opcode, const void *data, size_t len)
{
    const struct room *room = room_find(&s->rooms, name);
    struct output_slice slice;
    ptrdiff_t sent = 0;
    int error = encode_once(s, &slice, opcode, data, len);

    if (error != 0)
        return error;
    for (size_t i = 0; room != NULL && i < room->count; i++) {
        struct ws_conn *c = room->seats[i]->member;

        if (c != except)
            sent += publish_to(c, &slice);
    }
    server_share_add(s, room == NULL ? 0 : room->count);
    output_slice_release(&s->pool, &slice);
    return sent;
}

ptrdiff_t ws_broadcast_local(struct ws_server *s, const struct ws_conn *except,
                             enum ws_opcode opcode, const void *data, size_t len)
{
    struct output_slice slice;
    ptrdiff_t sent = 0;
    int error = encode_once(s, &slice, opcode, data, len);

    if (error != 0)
        return error;
    for (size_t i = 0; i < s->conns.size; i++) {
        struct ws_conn *c = s->conns.entries[i].conn;

        if (c != NULL && c != except)
            sent += publish_to(c, &slice);
    }
    server_share_add(s, s->conns.size);
    output_slice_release(&s->pool, &slice);
    return sent;
}

/* What was sent to nobody for an error is not passed on. */
ptrdiff_t ws_publish(struct ws_server *s, struct ws_str room, const struct ws_conn *except,
                     enum ws_opcode opcode, const void *data, size_t len)
{
    ptrdiff_t sent = ws_publish_local(s, room, except, opcode, data, len);

    if (s->relay.publish != NULL && sent >= 0)
        s->relay.publish(s->relay.arg, &room, opcode, data, len);
    return sent;
}

ptrdiff_t ws_broadcast(struct ws_server *s, const struct ws_conn *except, enum ws_opcode opcode,
                       const void *data, size_t len)
{
    ptrdiff_t sent = ws_broadcast_local(s, except, opcode, data, len);

    if (s->relay.publish != NULL && sent >= 0)
        s->relay.publish(s->relay.arg, NULL, opcode, data, len);
    return sent;
}

int ws_set_relay(struct ws_server *s, const struct ws_relay *relay)
{
    const struct ws_relay none = {0};
    const struct ws_relay *next = relay == NULL ? &none : relay;
    const struct room_notice notice = {next->room_begins, next->room_ends, next->arg};

    if (!room_table_notify(&s->rooms, &notice))
        return WS_ERR_NOMEM;
    s->relay = *next;
    return 0;
}

/* --- prepared messages ------------------------------------------------------------------------ */

struct ws_prepared {
    struct ws_server *server;
    struct output_slice slice;
};

struct ws_prepared *ws_prepare(struct ws_server *s, enum ws_opcode opcode, const void *data,
                               size_t len)
{
    int error;
    struct ws_prepared *m = account_new(&s->budget.all, sizeof *m, ACCOUNT_ESSENTIAL, &error);

    if (m == NULL)
        return NULL;
    m->server = s;
    if (encode_once(s, &m->slice, opcode, data, len) == 0)
        return m;
    account_free(&s->budget.all, m, sizeof *m);
    return NULL;
}

int ws_send_prepared(struct ws_conn *c, const struct ws_prepared *m)
{
    int error;

    server_share_add(c->server, 1);
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = frame_shared(c, &m->slice);
    return error != 0 ? error : conn_send_result(c);
}

void ws_release_prepared(struct ws_prepared *m)
{
    if (m == NULL)
        return;
    output_slice_release(&m->server->pool, &m->slice);
    account_free(&m->server->budget.all, m, sizeof *m);
}
