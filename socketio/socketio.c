/* SPDX-License-Identifier: MIT
 *
 * Socket.IO 5: the server. It takes messages from engineio.h, decodes them to packets, and passes
 * them to the socket of their namespace. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sio_conn.h"
#include "sio_emit.h"
#include "sio_msgpack.h"
#include "sio_namespace.h"
#include "sio_remote.h"
#include "sio_socket.h"

enum { CONNECT_TIMEOUT_MS = 45000, PING_TIMEOUT_MS = 20000 };

/* --- connections ------------------------------------------------------------------------------ */

static struct sio_server *server_of(const struct eio_session *engine)
{
    return eio_user(eio_session_server(engine));
}

static void on_open(struct eio_session *engine, const struct eio_handshake *h)
{
    struct sio_conn *c = sio_conn_new(server_of(engine), engine, h);

    eio_set_data(engine, c);
    if (c == NULL)
        eio_close(engine);
}

static void on_close(struct eio_session *engine, enum eio_reason reason)
{
    struct sio_conn *c = eio_data(engine);
    struct sio_server *io = server_of(engine);

    if (c == NULL)
        return;
    sio_callback_begin(io);
    sio_pending_drop(c);
    c->engine = NULL;
    for (struct sio_socket *s = c->sockets; s != NULL; s = s->next_of_conn) {
        if (s->state == SIO_ENDED)
            continue;
        s->recoverable = reason != EIO_PARSE_ERROR && s->state == SIO_CONNECTED;
        sio_socket_end(s, eio_reason_text(reason));
    }
    sio_conn_free_unused(c);
    sio_callback_end(io); /* if sockets are left, the last of them frees the connection */
}

static const char *on_handshake(struct eio_server *e, const struct eio_handshake *h)
{
    struct sio_server *io = eio_user(e);

    return io->options.on_handshake(io, h);
}

static void on_connection_error(struct eio_server *e, const struct eio_connection_error *error)
{
    struct sio_server *io = eio_user(e);

    io->options.on_connection_error(io, error);
}

/* --- packets in ------------------------------------------------------------------------------- */

/* May this packet be late, that is, sent before the client knew that its socket has ended? The
 * reference drops what a client sends right behind its own DISCONNECT, if both are read
 * together. */
static bool may_be_late(const struct sio_conn *c)
{
    return c->crossed || c->left_turn == ws_server_turn(c->server->ws);
}

/* The connected socket for a packet other than CONNECT. If there is none, the packet is late, or it
 * breaks the rules. */
static struct sio_socket *addressee(struct sio_conn *c, const struct sio_packet *p)
{
    struct sio_socket *s = sio_socket_in(c, p->nsp);

    if (s != NULL && s->state == SIO_CONNECTED) {
        s->heard = true;
        return s;
    }
    if (!may_be_late(c))
        sio_conn_fail(c);
    return NULL;
}

static void event(struct sio_conn *c, const struct sio_packet *p, struct sio_args args)
{
    struct sio_socket *s = addressee(c, p);
    struct sio_ack ack = {.server = p->id == SIO_NO_ID ? NULL : c->server, .id = p->id};
    struct sio_event e = {.args = args, .all = args, .ack = &ack};

    if (s == NULL || s->nsp->handlers.on_event == NULL || !json_next(&e.args.list, &e.name))
        return;
    memcpy(ack.socket_id, s->id, sizeof ack.socket_id);
    c->server->in_hand = &e;
    s->nsp->handlers.on_event(s, &e);
    c->server->in_hand = NULL;
}

static void acknowledgement(struct sio_conn *c, const struct sio_packet *p,
                            const struct sio_args *args)
{
    struct sio_socket *s = addressee(c, p);

    if (s != NULL)
        sio_acked(s, p->id, args);
}

/* If packets may have crossed, a client may also leave a socket that is not connected yet. */
static void disconnect(struct sio_conn *c, const struct sio_packet *p)
{
    struct sio_socket *s = c->crossed ? sio_socket_in(c, p->nsp) : addressee(c, p);

    if (s == NULL)
        return;
    c->left_turn = ws_server_turn(c->server->ws);
    sio_socket_end(s, "client namespace disconnect");
}

/* Does the client know this socket? Not before the end of the turn in which it was accepted. If it
 * was accepted after on_auth had returned, the client certainly knows it only once it has sent a
 * packet to it. */
static bool is_known(const struct sio_socket *s)
{
    return s->state == SIO_CONNECTED &&
           (s->heard ||
            (!s->let_in_late && s->turn != (uint32_t)ws_server_turn(s->nsp->server->ws)));
}

/* A client that calls disconnect() and connect() before its CONNECT is answered sends only a second
 * CONNECT. It ends the first socket; the reference accepts both. A second CONNECT for a socket that
 * the client knows is an error. */
static bool end_previous(struct sio_conn *c, struct sio_socket *s)
{
    if (is_known(s))
        return false;
    c->crossed = c->crossed || s->state == SIO_CONNECTED;
    sio_socket_end(s, "client namespace disconnect");
    /* on_abort comes before the next on_auth, unless very many sockets end at the same time */
    sio_sockets_settle(c->server);
    return true;
}

static void connect_to(struct sio_conn *c, const struct sio_packet *p)
{
    static const struct ws_str nothing = {"{}", 2};
    static const struct ws_str no_data = {NULL, 0};
    struct ws_str auth = p->json.data != NULL ? p->json : nothing;
    struct sio_socket *s = sio_socket_in(c, p->nsp);
    struct sio_namespace *n;

    if (s != NULL && !end_previous(c, s)) {
        sio_conn_fail(c);
        return;
    }
    if (c->socket_count >= c->server->options.max_namespaces) {
        sio_conn_refuse(c, p->nsp, "Too many namespaces", no_data);
        return;
    }
    n = sio_namespace_named(c->server, p->nsp);
    if (n == NULL)
        n = sio_namespace_by_rule(c, p->nsp, auth);
    if (n == NULL) {
        sio_conn_refuse(c, p->nsp, "Invalid namespace", no_data);
        return;
    }
    s = sio_socket_new(c, n);
    if (s == NULL) {
        sio_namespace_free_unused(n);
        sio_conn_fail(c);
        return;
    }
    sio_socket_connect(s, auth);
}

static void dispatch(struct sio_conn *c, const struct sio_packet *p, struct sio_args args)
{
    switch (p->type) {
    case SIO_CONNECT:
        connect_to(c, p);
        break;
    case SIO_DISCONNECT:
        disconnect(c, p);
        break;
    case SIO_EVENT:
    case SIO_BINARY_EVENT:
        event(c, p, args);
        break;
    case SIO_ACK:
    case SIO_BINARY_ACK:
        acknowledgement(c, p, &args);
        break;
    case SIO_CONNECT_ERROR: /* only servers send it */
        sio_conn_fail(c);
        break;
    }
}

/* The attachments of a late packet may come in a later turn: they are dropped, too. */
static void begin_binary(struct sio_conn *c, const struct sio_packet *p, struct ws_str text)
{
    bool wanted = addressee(c, p) != NULL;

    c->crossed = c->crossed || (!wanted && may_be_late(c));
    if ((wanted || c->crossed) && sio_pending_begin(c, text, p->attachments))
        return;
    sio_pending_drop(c);
    sio_conn_fail(c);
}

static void on_text(struct sio_conn *c, struct ws_str text)
{
    struct sio_packet p;

    if (c->pending != NULL || sio_packet_decode(&p, text) != 0) {
        sio_pending_drop(c);
        sio_conn_fail(c);
    } else if (p.attachments != 0) {
        begin_binary(c, &p, text);
    } else {
        dispatch(c, &p, (struct sio_args){.list = json_inside(p.json)});
    }
}

/* A packet and all its attachments have come. */
static void dispatch_assembled(struct sio_conn *c, const struct sio_assembly *a)
{
    struct ws_str attachments[SIO_ATTACHMENTS_MAX];
    struct sio_args args = {.attachments = attachments, .attachment_count = a->have};
    struct sio_packet p;

    for (unsigned i = 0; i < a->have; i++)
        attachments[i] = sio_assembly_attachment(a, i);
    if (sio_packet_decode(&p, sio_assembly_text(a)) != 0)
        return; /* uncovered: on_text() has decoded the same text */
    args.list = json_inside(p.json);
    dispatch(c, &p, args);
}

static void on_binary(struct sio_conn *c, const void *data, size_t len)
{
    int result = c->pending == NULL ? SIO_BAD_ORDER : sio_pending_add(c, data, len);

    if (result < 0) {
        sio_pending_drop(c);
        sio_conn_fail(c);
    } else if (result > 0) {
        struct sio_pending *p = sio_pending_take(c);

        dispatch_assembled(c, &p->assembly);
        sio_pending_free(p);
    }
}

static void on_packed(struct sio_conn *c, struct ws_str bytes)
{
    struct json_writer *json = &c->server->unpacked;
    struct ws_str attachments[SIO_BINARY_MAX];
    struct sio_packet p;

    json_writer_clear(json);
    if (sio_msgpack_decode(&p, bytes, json, attachments) == 0)
        dispatch(c, &p,
                 (struct sio_args){json_inside(p.json), p.attachments == 0 ? NULL : attachments,
                                   p.attachments});
    else
        sio_conn_fail(c);
    sio_writer_empty(json); /* the peer chose its size */
}

static void message(struct sio_conn *c, enum ws_opcode opcode, struct ws_str data)
{
    bool packed = c->server->options.parser == SIO_PARSER_MSGPACK;

    if (packed && opcode == WS_OP_BINARY)
        on_packed(c, data);
    else if (packed)
        sio_conn_fail(c);
    else if (opcode == WS_OP_TEXT)
        on_text(c, data);
    else
        on_binary(c, data.data, data.len);
}

static void on_message(struct eio_session *engine, enum ws_opcode opcode, const void *data,
                       size_t len)
{
    struct sio_conn *c = eio_data(engine);
    struct sio_server *io = server_of(engine);

    assert(c != NULL); /* else on_open has closed the session: its input is dropped */
    sio_callback_begin(io);
    message(c, opcode, (struct ws_str){data, len});
    sio_callback_end(io);
}

/* All sockets of a connection share its output, so all of them may send again. */
static void on_drain(struct eio_session *engine)
{
    struct sio_conn *c = eio_data(engine);
    struct sio_server *io = server_of(engine);

    assert(c != NULL); /* else nothing was sent */
    sio_callback_begin(io);
    for (struct sio_socket *s = c->sockets; s != NULL; s = s->next_of_conn)
        if (s->state == SIO_CONNECTED && s->nsp->handlers.on_drain != NULL)
            s->nsp->handlers.on_drain(s);
    sio_callback_end(io);
}

/* --- the server ------------------------------------------------------------------------------- */

static void set_default(size_t *value, size_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void fill_options(struct sio_options *o)
{
    if (o->path == NULL)
        o->path = "/socket.io/";
    o->engine.connect_timeout_ms =
        o->connect_timeout_ms != 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    if (o->engine.ping_timeout_ms == 0)
        o->engine.ping_timeout_ms = PING_TIMEOUT_MS;
    set_default(&o->recovery_bytes, 1 << 20);
    set_default(&o->max_binary, 10 << 20);
    set_default(&o->max_namespaces, SIZE_MAX);
    set_default(&o->max_rooms, 1024);
    set_default(&o->max_acks, 1024);
}

/* The tables share one key: a peer that does not know it cannot find names that collide. */
static bool tables_init(struct sio_server *io)
{
    uint8_t key[WS_SIPHASH_KEY_SIZE];

    if (ws_random(key, sizeof key) != 0)
        return false;
    name_table_init(&io->sockets, io->account, key);
    name_table_init(&io->namespaces, io->account, key);
    return true;
}

struct sio_server *sio_server_new(struct ws_server *ws, const struct sio_options *options)
{
    struct eio_handlers handlers = {
        .on_open = on_open, .on_message = on_message, .on_drain = on_drain, .on_close = on_close};
    struct sio_server *io = calloc(1, sizeof *io);

    if (io == NULL)
        return NULL;
    io->ws = ws;
    io->settle = sio_sockets_settle;
    io->options = *options;
    fill_options(&io->options);
    io->max_attachments =
        options->parser == SIO_PARSER_MSGPACK ? SIO_BINARY_MAX : SIO_ATTACHMENTS_MAX;
    io->options.engine.user = io;
    if (io->options.on_handshake != NULL)
        handlers.on_handshake = on_handshake;
    if (io->options.on_connection_error != NULL)
        handlers.on_connection_error = on_connection_error;
    io->account = ws_account_new(ws, NULL);
    io->settle_timer = ws_timer_new(ws, NULL, sio_settle_posted, io);
    if (io->account != NULL && io->settle_timer != NULL && tables_init(io))
        io->engine = eio_server_new(ws, io->options.path, &io->options.engine, &handlers);
    if (io->engine == NULL) {
        ws_timer_cancel(io->settle_timer);
        ws_account_release(io->account);
        free(io);
        return NULL;
    }
    return io;
}

void sio_server_close(struct sio_server *io)
{
    eio_server_close(io->engine);
}

void sio_server_free(struct sio_server *io)
{
    if (io == NULL)
        return;
    io->ws = NULL;
    eio_server_free(io->engine);
    sio_callback_begin(io); /* settle what was marked: no post will be called any more */
    sio_callback_end(io);
    sio_gathers_end(io);
    sio_requests_end(io);
    sio_namespaces_free(io);
    if (io->relay != NULL)
        io->relay->free(io->relay);
    name_table_release(&io->sockets);
    json_writer_release(&io->scratch);
    json_writer_release(&io->packed);
    json_writer_release(&io->unpacked);
    ws_account_release(io->account);
    free(io);
}
