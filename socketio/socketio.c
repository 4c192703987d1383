/* SPDX-License-Identifier: MIT
 *
 * Socket.IO 5: the server. Messages come in from engineio.h, become packets, and go to the socket
 * of their namespace; namespaces are found or made. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sio_server.h"

enum {
    CONNECT_TIMEOUT_MS = 45000,
    PING_TIMEOUT_MS = 20000,
    SCRATCH_KEPT = 1 << 16 /* bytes of the writer that stay when it is not in use */
};

/* A namespace for every name that `match` takes. */
struct sio_rule {
    struct sio_rule *next;
    bool (*match)(void *user, struct ws_str name, struct ws_str auth);
    struct sio_handlers handlers;
};

/* --- callbacks -------------------------------------------------------------------------------- */

void sio_callback_begin(struct sio_server *io)
{
    settle_enter(&io->marked);
}

static void settle_posted(void *arg);

/* When no memory is left for the post, the next callback settles. */
static void post_settling(struct sio_server *io)
{
    if (!io->marked.requested && io->ws != NULL)
        io->marked.requested = ws_post(io->ws, settle_posted, io) == 0;
}

static struct sio_socket *socket_of(struct settle_item *mark)
{
    return (struct sio_socket *)((char *)mark - offsetof(struct sio_socket, mark));
}

/* A client may be in any number of namespaces, and all of them end with its connection: what does
 * not fit into this turn waits for the next one. */
static void settle_marked(struct sio_server *io)
{
    struct settle_item *mark;

    while ((mark = settle_next(&io->marked)) != NULL) {
        sio_socket_settle(socket_of(mark));
        if (io->ws != NULL && ws_turn_over(io->ws, 0))
            break;
    }
    if (settle_is_due(&io->marked))
        post_settling(io);
}

void sio_callback_end(struct sio_server *io)
{
    settle_marked(io);
    settle_leave(&io->marked);
}

static void settle_posted(void *arg)
{
    struct sio_server *io = arg;

    io->marked.requested = false;
    sio_callback_begin(io);
    sio_callback_end(io);
}

void sio_socket_mark(struct sio_socket *s)
{
    struct sio_server *io = s->nsp->server;

    if (settle_mark(&io->marked, &s->mark))
        post_settling(io);
}

/* --- connections ------------------------------------------------------------------------------ */

struct json_writer *sio_scratch(struct sio_server *io)
{
    if (io->scratch.cap > SCRATCH_KEPT)
        json_writer_release(&io->scratch);
    json_writer_clear(&io->scratch);
    return &io->scratch;
}

void sio_conn_fail(struct sio_conn *c)
{
    if (c->engine != NULL)
        eio_close(c->engine);
}

void sio_conn_send(struct sio_conn *c, struct ws_str text)
{
    int result;

    if (c->engine == NULL || c->server->ws == NULL)
        return;
    result =
        text.data == NULL ? WS_ERR_NOMEM : eio_send(c->engine, WS_OP_TEXT, text.data, text.len, 0);
    if (result < 0 && result != WS_ERR_CLOSED)
        sio_conn_fail(c);
}

static void pending_drop(struct sio_conn *c)
{
    struct sio_server *io = c->server;
    struct sio_pending *p = c->pending;

    if (p == NULL)
        return;
    c->pending = NULL;
    if (io->ws != NULL)
        ws_timer_cancel(p->deadline);
    sio_assembly_release(&p->assembly, c->account);
    ws_account_give(c->account, p, sizeof *p);
}

void sio_conn_check(struct sio_conn *c)
{
    struct ws_account *account;

    if (c->engine != NULL || c->sockets != NULL)
        return;
    pending_drop(c);
    account = c->account;
    ws_account_give(account, c, c->size);
    ws_account_release(account);
}

static void add_text(struct json_writer *w, struct ws_str text)
{
    json_write_text(w, text.data, text.len);
    json_write_text(w, "", 1);
}

/* What sockets will be asked for later: address, query, and for each header that is kept "=value",
 * or nothing when there was none. */
static struct ws_str write_handshake(struct sio_server *io, const struct eio_handshake *h)
{
    struct json_writer *w = sio_scratch(io);
    const char *const *name = io->options.keep_headers;

    add_text(w, ws_str(h->address));
    add_text(w, ws_request_query(h->request));
    for (; name != NULL && *name != NULL; name++) {
        struct ws_str value = ws_request_header(h->request, *name);

        if (value.data != NULL)
            json_write_text(w, "=", 1);
        add_text(w, value);
    }
    return json_written(w);
}

static struct sio_conn *conn_new(struct sio_server *io, struct eio_session *engine,
                                 const struct eio_handshake *h)
{
    struct ws_str handshake = write_handshake(io, h);
    size_t size = sizeof(struct sio_conn) + handshake.len;
    struct ws_account *account = eio_session_account(engine);
    struct sio_conn *c = handshake.data == NULL ? NULL : ws_account_take(account, size);

    if (c == NULL)
        return NULL;
    c->server = io;
    c->engine = engine;
    c->account = ws_account_keep(account);
    c->size = size;
    memcpy(c->handshake, handshake.data, handshake.len);
    return c;
}

static struct sio_server *server_of(const struct eio_session *engine)
{
    return eio_user(eio_session_server(engine));
}

static void on_open(struct eio_session *engine, const struct eio_handshake *h)
{
    struct sio_conn *c = conn_new(server_of(engine), engine, h);

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
    pending_drop(c);
    c->engine = NULL;
    for (struct sio_socket *s = c->sockets; s != NULL; s = s->next_of_conn) {
        if (s->state == SIO_ENDED)
            continue;
        s->recoverable = reason != EIO_PARSE_ERROR && s->state == SIO_CONNECTED;
        sio_socket_end(s, eio_reason_text(reason));
    }
    if (c->sockets == NULL)
        sio_conn_check(c);
    sio_callback_end(io); /* the last socket frees the connection */
}

static const char *on_handshake(struct eio_server *e, const struct eio_handshake *h)
{
    struct sio_server *io = eio_user(e);

    return io->options.on_handshake(io, h);
}

/* --- packets in ------------------------------------------------------------------------------- */

/* Most clients are in one namespace, which is the first to look at. */
static struct sio_socket *socket_in(const struct sio_conn *c, struct ws_str nsp)
{
    struct sio_socket *s = c->sockets;
    struct sio_namespace *n;

    if (s != NULL && s->state != SIO_ENDED && s->nsp->entry.len == nsp.len &&
        memcmp(s->nsp->name, nsp.data, nsp.len) == 0)
        return s;
    n = sio_namespace_named(c->server, nsp);
    return n == NULL ? NULL : sio_socket_of(c, n);
}

/* May a packet have been under way when the socket that it was for ended? What a client sends right
 * behind its own DISCONNECT, the reference drops when both are read together. */
static bool may_be_late(const struct sio_conn *c)
{
    return c->crossed || c->left_turn == ws_server_turn(c->server->ws);
}

/* The connected socket that a packet other than CONNECT is for. When there is none the packet
 * breaks the rules, or is late. */
static struct sio_socket *addressee(struct sio_conn *c, const struct sio_packet *p)
{
    struct sio_socket *s = socket_in(c, p->nsp);

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

/* Where packets may have crossed, a client leaves what is not connected yet. */
static void disconnect(struct sio_conn *c, const struct sio_packet *p)
{
    struct sio_socket *s = c->crossed ? socket_in(c, p->nsp) : addressee(c, p);

    if (s == NULL)
        return;
    c->left_turn = ws_server_turn(c->server->ws);
    sio_socket_end(s, "client namespace disconnect");
}

/* Does the client know of this socket? Not before the turn is over in which it was let in; nor for
 * sure while it is silent, when it had to wait for that turn. */
static bool is_known(const struct sio_socket *s)
{
    return s->state == SIO_CONNECTED &&
           (s->heard ||
            (!s->let_in_late && s->turn != (uint32_t)ws_server_turn(s->nsp->server->ws)));
}

/* A client whose disconnect() and connect() come before the answer to its CONNECT sends nothing but
 * a second one, which ends what the first one began: the reference lets both in. A socket that the
 * client knows of must not be asked for again. */
static bool make_way(struct sio_conn *c, struct sio_socket *s)
{
    if (is_known(s))
        return false;
    c->crossed = c->crossed || s->state == SIO_CONNECTED;
    sio_socket_end(s, "client namespace disconnect");
    settle_marked(c->server); /* on_abort before the next on_auth, unless very many end just now */
    return true;
}

/* A namespace that some rule opens, or NULL. */
static struct sio_namespace *by_rule(struct sio_conn *c, struct ws_str name, struct ws_str auth);

static void connect_to(struct sio_conn *c, const struct sio_packet *p)
{
    static const struct ws_str nothing = {"{}", 2};
    static const struct ws_str no_data = {NULL, 0};
    struct ws_str auth = p->json.data != NULL ? p->json : nothing;
    struct sio_socket *s = socket_in(c, p->nsp);
    struct sio_namespace *n;

    if (s != NULL && !make_way(c, s)) {
        sio_conn_fail(c);
        return;
    }
    if (c->socket_count >= c->server->options.max_namespaces) {
        sio_refuse_namespace(c, p->nsp, "Too many namespaces", no_data);
        return;
    }
    n = sio_namespace_named(c->server, p->nsp);
    if (n == NULL)
        n = by_rule(c, p->nsp, auth);
    if (n == NULL) {
        sio_refuse_namespace(c, p->nsp, "Invalid namespace", no_data);
        return;
    }
    s = sio_socket_new(c, n);
    if (s == NULL) {
        sio_namespace_check(n);
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
    case SIO_CONNECT_ERROR: /* the server's to send */
        sio_conn_fail(c);
        break;
    }
}

static void deadline_passed(void *arg)
{
    struct sio_pending *p = arg;
    struct sio_conn *c = p->conn;

    pending_drop(c);
    sio_conn_fail(c);
}

/* Attachments will follow: keep the packet until the last one has come. */
static bool pending_begin(struct sio_conn *c, struct ws_str text, unsigned attachments)
{
    struct sio_server *io = c->server;
    struct sio_pending *p = ws_account_take(c->account, sizeof *p);

    if (p == NULL)
        return false;
    c->pending = p;
    p->conn = c;
    if (sio_assembly_begin(&p->assembly, c->account, text, attachments) != 0)
        return false;
    p->deadline = ws_timer_new(io->ws, c->account, deadline_passed, p);
    if (p->deadline == NULL)
        return false;
    ws_timer_set(p->deadline, io->options.engine.ping_timeout_ms);
    return true;
}

/* The attachments of a packet that is late may come in a later turn: these are dropped, too. */
static void begin_binary(struct sio_conn *c, const struct sio_packet *p, struct ws_str text)
{
    bool wanted = addressee(c, p) != NULL;

    c->crossed = c->crossed || (!wanted && may_be_late(c));
    if ((wanted || c->crossed) && pending_begin(c, text, p->attachments))
        return;
    pending_drop(c);
    sio_conn_fail(c);
}

static void on_text(struct sio_conn *c, struct ws_str text)
{
    struct sio_packet p;

    if (c->pending != NULL || sio_packet_decode(&p, text) != 0) {
        pending_drop(c);
        sio_conn_fail(c);
    } else if (p.attachments != 0) {
        begin_binary(c, &p, text);
    } else {
        dispatch(c, &p, (struct sio_args){.list = json_inside(p.json)});
    }
}

/* Everything has come: `pending` is the caller's now. */
static void pending_complete(struct sio_conn *c, const struct sio_assembly *a)
{
    struct ws_str attachments[SIO_ATTACHMENTS_MAX];
    struct sio_args args = {.attachments = attachments, .attachment_count = a->have};
    struct sio_packet p;

    for (unsigned i = 0; i < a->have; i++)
        attachments[i] = sio_assembly_attachment(a, i);
    if (sio_packet_decode(&p, sio_assembly_text(a)) != 0)
        return;
    args.list = json_inside(p.json);
    dispatch(c, &p, args);
}

/* Returns as sio_assembly_add(), below 0 when there is no room for it. */
static int pending_add(struct sio_conn *c, const void *data, size_t len)
{
    struct sio_assembly *a = &c->pending->assembly;

    if (a->len > c->server->options.max_binary || len > c->server->options.max_binary - a->len)
        return SIO_TOO_LARGE;
    return sio_assembly_add(a, c->account, data, len);
}

static void on_binary(struct sio_conn *c, const void *data, size_t len)
{
    int result = c->pending == NULL ? SIO_BAD_ORDER : pending_add(c, data, len);

    if (result < 0) {
        pending_drop(c);
        sio_conn_fail(c);
    } else if (result > 0) {
        struct sio_pending *p = c->pending;

        c->pending = NULL; /* callbacks see a connection that is ready for the next packet */
        ws_timer_cancel(p->deadline);
        p->deadline = NULL;
        pending_complete(c, &p->assembly);
        c->pending = p;
        pending_drop(c);
    }
}

static void on_message(struct eio_session *engine, enum ws_opcode opcode, const void *data,
                       size_t len)
{
    struct sio_conn *c = eio_data(engine);
    struct sio_server *io = server_of(engine);

    if (c == NULL)
        return;
    sio_callback_begin(io);
    if (opcode == WS_OP_TEXT)
        on_text(c, (struct ws_str){data, len});
    else
        on_binary(c, data, len);
    sio_callback_end(io);
}

/* One output for all sockets of a connection: whoever sent too much, all may go on. */
static void on_drain(struct eio_session *engine)
{
    struct sio_conn *c = eio_data(engine);
    struct sio_server *io = server_of(engine);

    if (c == NULL)
        return;
    sio_callback_begin(io);
    for (struct sio_socket *s = c->sockets; s != NULL; s = s->next_of_conn)
        if (s->state == SIO_CONNECTED && s->nsp->handlers.on_drain != NULL)
            s->nsp->handlers.on_drain(s);
    sio_callback_end(io);
}

/* --- namespaces ------------------------------------------------------------------------------- */

static bool is_namespace_name(struct ws_str name)
{
    if (name.len == 0 || name.len > SIO_NAME_MAX || name.data[0] != '/')
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == ',')
            return false;
    return true;
}

static size_t namespace_size(size_t name_len)
{
    return sizeof(struct sio_namespace) + name_len + 1;
}

size_t sio_namespace_size(const struct sio_namespace *n)
{
    return namespace_size(n->entry.len);
}

/* It is not in the table any more, or not yet. */
static void namespace_free(struct sio_namespace *n)
{
    struct ws_account *account = n->account;

    sio_recovery_free(n);
    name_table_release(&n->rooms);
    name_table_release(&n->seats);
    ws_account_give(account, n, sio_namespace_size(n));
    ws_account_release(account);
}

/* `account` is that of the client that asks for it, or the server's own. */
static struct sio_namespace *namespace_open(struct sio_server *io, struct ws_account *account,
                                            struct ws_str name, const struct sio_handlers *handlers)
{
    struct sio_namespace *n;

    if (!is_namespace_name(name) || sio_namespace_named(io, name) != NULL)
        return NULL;
    n = ws_account_take(account, namespace_size(name.len));
    if (n == NULL)
        return NULL;
    n->account = ws_account_keep(account);
    n->entry.len = (uint32_t)name.len;
    memcpy(n->name, name.data, name.len);
    n->server = io;
    n->handlers = *handlers;
    n->by_rule = account != io->account;
    name_table_init(&n->rooms, io->account, io->sockets.key); /* filled by all who come */
    name_table_init(&n->seats, io->account, io->sockets.key);
    if (!sio_recovery_init(n) ||
        !name_table_add(&io->namespaces, &n->entry, (struct ws_str){n->name, name.len})) {
        namespace_free(n);
        return NULL;
    }
    return n;
}

struct sio_namespace *sio_namespace_new(struct sio_server *io, const char *name,
                                        const struct sio_handlers *handlers)
{
    return namespace_open(io, io->account, ws_str(name), handlers);
}

void sio_namespace_check(struct sio_namespace *n)
{
    if (!n->by_rule || n->first != NULL || !sio_recovery_is_idle(n))
        return;
    name_table_remove(&n->server->namespaces, &n->entry);
    namespace_free(n);
}

int sio_namespace_rule(struct sio_server *io,
                       bool (*match)(void *user, struct ws_str name, struct ws_str auth),
                       const struct sio_handlers *handlers)
{
    struct sio_rule *rule = ws_account_take(io->account, sizeof *rule);
    struct sio_rule **end = &io->rules;

    if (rule == NULL)
        return WS_ERR_NOMEM;
    rule->match = match;
    rule->handlers = *handlers;
    while (*end != NULL)
        end = &(*end)->next;
    *end = rule;
    return 0;
}

static struct sio_namespace *by_rule(struct sio_conn *c, struct ws_str name, struct ws_str auth)
{
    struct sio_rule *rule = c->server->rules;

    while (rule != NULL && !rule->match(rule->handlers.user, name, auth))
        rule = rule->next;
    return rule == NULL ? NULL : namespace_open(c->server, c->account, name, &rule->handlers);
}

struct sio_namespace *sio_namespace_named(const struct sio_server *io, struct ws_str name)
{
    return (struct sio_namespace *)name_table_find(&io->namespaces, name);
}

struct sio_namespace *sio_namespace_find(const struct sio_server *io, const char *name)
{
    return sio_namespace_named(io, ws_str(name));
}

struct ws_str sio_namespace_name(const struct sio_namespace *n)
{
    return (struct ws_str){n->name, n->entry.len};
}

struct sio_server *sio_namespace_server(const struct sio_namespace *n)
{
    return n->server;
}

void *sio_namespace_user(const struct sio_namespace *n)
{
    return n->handlers.user;
}

size_t sio_namespace_count(const struct sio_namespace *n)
{
    return n->connected;
}

static struct sio_socket *from(struct sio_socket *s)
{
    while (s != NULL && s->state != SIO_CONNECTED)
        s = s->next;
    return s;
}

struct sio_socket *sio_first(const struct sio_namespace *n)
{
    return from(n->first);
}

struct sio_socket *sio_next(const struct sio_socket *s)
{
    return from(s->next);
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

/* One key for all: what collides in one table collides in none without it. */
static bool tables_init(struct sio_server *io)
{
    uint8_t key[WS_SIPHASH_KEY_SIZE];

    if (ws_random(key, sizeof key) != 0)
        return false;
    name_table_init(&io->sockets, io->account, key);
    name_table_init(&io->members, io->account, key);
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
    io->options = *options;
    fill_options(&io->options);
    io->options.engine.user = io;
    if (io->options.on_handshake != NULL)
        handlers.on_handshake = on_handshake;
    io->account = ws_account_new(ws, NULL);
    if (io->account != NULL && tables_init(io))
        io->engine = eio_server_new(ws, io->options.path, &io->options.engine, &handlers);
    if (io->engine == NULL) {
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

static void free_rules(struct sio_server *io)
{
    while (io->rules != NULL) {
        struct sio_rule *rule = io->rules;

        io->rules = rule->next;
        ws_account_give(io->account, rule, sizeof *rule);
    }
}

static void free_namespaces(struct sio_server *io)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&io->namespaces, &from)) != NULL)
        namespace_free((struct sio_namespace *)e);
    name_table_release(&io->namespaces);
}

void sio_server_free(struct sio_server *io)
{
    if (io == NULL)
        return;
    io->ws = NULL;
    eio_server_free(io->engine);
    sio_callback_begin(io); /* what was marked, and no post came for it any more */
    sio_callback_end(io);
    sio_gathers_end(io);
    free_namespaces(io);
    free_rules(io);
    name_table_release(&io->sockets);
    name_table_release(&io->members);
    json_writer_release(&io->scratch);
    ws_account_release(io->account);
    free(io);
}

void *sio_user(const struct sio_server *io)
{
    return io->options.user;
}

struct ws_server *sio_ws_server(const struct sio_server *io)
{
    return io->ws;
}

struct eio_server *sio_engine(const struct sio_server *io)
{
    return io->engine;
}
