/* SPDX-License-Identifier: MIT
 *
 * Sends events to one socket or to many; acknowledgements in both directions. */
#include "sio_emit.h"

#include <stddef.h>
#include <string.h>

#include "sio_conn.h"
#include "sio_recovery.h"
#include "sio_room.h"

/* --- arguments -------------------------------------------------------------------------------- */

struct sio_args sio_args(const char *list)
{
    return (struct sio_args){.list = ws_str(list)};
}

/* After a failure the result is an illegal list, so that it is refused; an empty list would be
 * sent. */
struct sio_args sio_args_written(const struct json_writer *w)
{
    return w->failed ? sio_args("out of memory") : (struct sio_args){.list = json_written(w)};
}

struct ws_str sio_arg(const struct sio_args *args, size_t index)
{
    return json_at(args->list, index);
}

struct ws_str sio_binary(const struct sio_args *args, struct ws_str value)
{
    int num = sio_placeholder(value);

    if (num < 0 || (size_t)num >= args->attachment_count)
        return (struct ws_str){NULL, 0};
    return args->attachments[num];
}

void sio_write_binary(struct json_writer *w, unsigned num)
{
    json_begin_object(w);
    json_write_name(w, "_placeholder");
    json_write_bool(w, true);
    json_write_name(w, "num");
    json_write_integer(w, num);
    json_end_object(w);
}

bool sio_event_is(const struct sio_event *e, const char *name)
{
    return json_string_is(e->name, name);
}

static bool are_same(const struct sio_args *a, const struct sio_args *b)
{
    return a->list.data == b->list.data && a->list.len == b->list.len &&
           a->attachment_count == b->attachment_count;
}

/* The arguments of the event that is being handled need no check: they were checked when the event
 * came. */
bool sio_args_are_legal(const struct sio_server *io, const struct sio_args *args)
{
    const struct sio_event *e = io->in_hand;

    if (e != NULL && (are_same(args, &e->all) || are_same(args, &e->args)))
        return true;
    return args->attachment_count <= SIO_ATTACHMENTS_MAX && json_is_list(args->list) &&
           (args->attachment_count == 0 ||
            sio_placeholders_fit(args->list, (unsigned)args->attachment_count));
}

/* --- packets ---------------------------------------------------------------------------------- */

static bool legal_name(struct ws_str name)
{
    enum json_type type = json_type(name);

    return (type == JSON_STRING || type == JSON_NUMBER) && name.len <= SIO_NAME_MAX &&
           !sio_name_is_reserved(name);
}

static enum sio_type with_attachments(enum sio_type type, const struct sio_args *args)
{
    if (args->attachment_count == 0)
        return type;
    return type == SIO_EVENT ? SIO_BINARY_EVENT : SIO_BINARY_ACK;
}

static struct json_writer *begin(struct sio_namespace *n, enum sio_type type,
                                 const struct sio_args *args, int64_t id)
{
    struct json_writer *w = sio_scratch(n->server);

    sio_packet_begin(w, with_attachments(type, args), (unsigned)args->attachment_count,
                     sio_namespace_name(n), id);
    json_write_text(w, "[", 1);
    return w;
}

static int finish(struct json_writer *w, struct ws_str *text)
{
    json_end_array(w);
    *text = json_written(w);
    return text->data == NULL ? WS_ERR_NOMEM : 0;
}

/* An event as text, in the server's writer. `offset` NULL: none. */
static int encode_event(struct sio_namespace *n, const char *name, const struct sio_args *args,
                        int64_t id, const char *offset, struct ws_str *text)
{
    struct json_writer *w;
    struct ws_str first;
    size_t at;

    if (!sio_args_are_legal(n->server, args))
        return WS_ERR_INVALID;
    w = begin(n, SIO_EVENT, args, id);
    at = w->len;
    if (name != NULL)
        json_write_string(w, name, strlen(name));
    first = name != NULL && !w->failed ? (struct ws_str){w->data + at, w->len - at}
                                       : json_at(args->list, 0);
    if (!w->failed && !legal_name(first))
        return WS_ERR_INVALID;
    json_write_raw(w, args->list);
    if (offset != NULL)
        json_write_string(w, offset, strlen(offset));
    return finish(w, text);
}

/* Send the packet and its attachments. If an attachment cannot be sent, the client has got a part
 * of a packet, so its connection ends. */
static int send_parts(struct sio_conn *c, struct ws_str text, const struct sio_args *args)
{
    int result = eio_send(c->engine, WS_OP_TEXT, text.data, text.len, 0);

    for (size_t i = 0; result >= 0 && i < args->attachment_count; i++) {
        const struct ws_str *part = &args->attachments[i];

        result = eio_send(c->engine, WS_OP_BINARY, part->data, part->len, 0);
        if (result < 0)
            sio_conn_fail(c);
    }
    return result;
}

static bool can_send(const struct sio_socket *s)
{
    return s->state == SIO_CONNECTED && s->conn->engine != NULL && s->nsp->server->ws != NULL;
}

int sio_emit(struct sio_socket *s, const char *name, struct sio_args args)
{
    const char *const own_room[] = {s->id, NULL};
    const struct sio_target target = {.nsp = s->nsp, .to = own_room};
    char offset[SIO_OFFSET_SIZE];
    bool logged;
    struct ws_str text;
    int result;

    if (!can_send(s))
        return WS_ERR_CLOSED;
    logged = sio_recovery_offset(s->nsp, offset);
    result = encode_event(s->nsp, name, &args, SIO_NO_ID, logged ? offset : NULL, &text);
    if (result == 0)
        result = send_parts(s->conn, text, &args);
    if (logged && result >= 0)
        sio_recovery_log(&target, text, &args);
    return result;
}

int sio_emit_volatile(struct sio_socket *s, const char *name, struct sio_args args)
{
    struct ws_str text;
    int result;

    if (!can_send(s))
        return WS_ERR_CLOSED;
    result = encode_event(s->nsp, name, &args, SIO_NO_ID, NULL, &text);
    if (result != 0)
        return result;
    return eio_writable(s->conn->engine) ? send_parts(s->conn, text, &args) : EIO_DROPPED;
}

/* --- waiting for acknowledgements ------------------------------------------------------------- */

/* One acknowledgement that one client owes. */
struct sio_wait {
    struct sio_socket *socket;
    struct sio_wait *next; /* of the socket */
    struct sio_wait *previous;
    struct sio_gather *gather; /* of the broadcast; NULL: of sio_request() */
    struct sio_wait *next_of_gather;
    struct sio_wait *previous_of_gather;
    int64_t id;
    sio_reply_fn *fn; /* these three without `gather` */
    void *arg;
    struct ws_timer *timer; /* NULL: none of its own */
};

/* The acknowledgements that are owed for one broadcast. */
struct sio_gather {
    struct sio_server *server;
    struct sio_gather *next; /* of the server */
    struct sio_gather *previous;
    struct sio_wait *waits; /* of the sockets that have not answered */
    sio_reply_fn *fn;
    void *arg;
    struct ws_timer *timer;
    size_t expected;
    size_t received;
    struct sio_far far;  /* of other processes: each reports to how many clients it was sent */
    size_t far_expected; /* of these clients; counted in `expected`, too */
    size_t far_received;
};

static struct sio_wait *wait_new(struct sio_socket *s, int64_t id)
{
    struct sio_server *io = s->nsp->server;
    struct sio_wait *w;

    if (s->wait_count >= io->options.max_acks)
        return NULL;
    w = ws_account_take(s->conn->account, sizeof *w);
    if (w == NULL)
        return NULL;
    w->socket = s;
    w->id = id;
    w->next = s->waits;
    if (s->waits != NULL)
        s->waits->previous = w;
    s->waits = w;
    s->wait_count++;
    return w;
}

static void wait_free(struct sio_wait *w)
{
    struct sio_socket *s = w->socket;
    struct sio_gather *g = w->gather;

    *(w->previous == NULL ? &s->waits : &w->previous->next) = w->next;
    if (w->next != NULL)
        w->next->previous = w->previous;
    s->wait_count--;
    if (g != NULL) {
        *(w->previous_of_gather == NULL ? &g->waits : &w->previous_of_gather->next_of_gather) =
            w->next_of_gather;
        if (w->next_of_gather != NULL)
            w->next_of_gather->previous_of_gather = w->previous_of_gather;
    }
    if (s->nsp->server->ws != NULL)
        ws_timer_cancel(w->timer);
    ws_account_give(s->conn->account, w, sizeof *w);
}

/* A wait of sio_request() is over. */
static void wait_end(struct sio_wait *w, int error, const struct sio_args *args)
{
    struct sio_reply reply = {.error = error, .socket = w->socket, .expected = 1};
    sio_reply_fn *fn = w->fn;
    void *arg = w->arg;

    if (args != NULL) {
        reply.args = *args;
        reply.received = 1;
    }
    wait_free(w);
    fn(arg, &reply);
}

static void wait_timeout(void *arg)
{
    struct sio_wait *w = arg;
    struct sio_server *io = w->socket->nsp->server;

    sio_callback_begin(io);
    wait_end(w, SIO_ERR_TIMEOUT, NULL);
    sio_callback_end(io);
}

/* False when out of memory. */
static bool wait_timer_start(struct sio_wait *w, unsigned timeout_ms)
{
    struct sio_socket *s = w->socket;

    w->timer = ws_timer_new(s->nsp->server->ws, s->conn->account, wait_timeout, w);
    if (w->timer != NULL)
        ws_timer_set(w->timer, timeout_ms);
    return w->timer != NULL;
}

/* No two requests of a namespace have the same id. */
static int64_t next_id(struct sio_namespace *n)
{
    return n->next_ack++;
}

int sio_request(struct sio_socket *s, const char *name, struct sio_args args, unsigned timeout_ms,
                sio_reply_fn *fn, void *arg)
{
    struct sio_wait *w;
    struct ws_str text;
    int result;

    if (!can_send(s))
        return WS_ERR_CLOSED;
    w = wait_new(s, next_id(s->nsp));
    if (w == NULL)
        return s->wait_count >= s->nsp->server->options.max_acks ? WS_ERR_FULL : WS_ERR_NOMEM;
    w->fn = fn;
    w->arg = arg;
    result = timeout_ms == 0 || wait_timer_start(w, timeout_ms)
                 ? encode_event(s->nsp, name, &args, w->id, NULL, &text)
                 : WS_ERR_NOMEM;
    if (result == 0)
        result = send_parts(s->conn, text, &args);
    if (result < 0)
        wait_free(w);
    return result;
}

/* --- broadcasts with acknowledgements --------------------------------------------------------- */

static void gather_timeout(void *arg);
static void far_heard(struct sio_far *f, const struct sio_adapter_message *m);

/* The timer is allocated first, so that setting it later cannot fail. */
static struct sio_gather *gather_new(struct sio_server *io, sio_reply_fn *fn, void *arg)
{
    struct sio_gather *g = ws_account_take(io->account, sizeof *g);

    if (g == NULL)
        return NULL;
    g->timer = ws_timer_new(io->ws, io->account, gather_timeout, g);
    if (g->timer == NULL) {
        ws_account_give(io->account, g, sizeof *g);
        return NULL;
    }
    g->server = io;
    g->fn = fn;
    g->arg = arg;
    g->far.heard = far_heard;
    g->next = io->gathers;
    if (io->gathers != NULL)
        io->gathers->previous = g;
    io->gathers = g;
    return g;
}

static void gather_free(struct sio_gather *g)
{
    struct sio_server *io = g->server;

    while (g->waits != NULL)
        wait_free(g->waits);
    if (g->far.asked)
        io->relay->forget(io->relay, &g->far);
    *(g->previous == NULL ? &io->gathers : &g->previous->next) = g->next;
    if (g->next != NULL)
        g->next->previous = g->previous;
    if (io->ws != NULL)
        ws_timer_cancel(g->timer);
    ws_account_give(io->account, g, sizeof *g);
}

static void gather_end(struct sio_gather *g, int error)
{
    struct sio_reply reply = {.error = error, .expected = g->expected, .received = g->received};
    sio_reply_fn *fn = g->fn;
    void *arg = g->arg;

    gather_free(g);
    fn(arg, &reply);
}

/* Have all processes reported? */
static bool all_reported(const struct sio_gather *g)
{
    const struct sio_far *f = &g->far;

    return !f->asked || (f->others >= 0 && f->reports >= (size_t)f->others);
}

static bool is_complete(const struct sio_gather *g)
{
    return g->received >= g->expected && all_reported(g);
}

static void gather_timeout(void *arg)
{
    struct sio_gather *g = arg;
    struct sio_server *io = g->server;

    sio_callback_begin(io);
    gather_end(g, is_complete(g) ? g->far.error : SIO_ERR_TIMEOUT);
    sio_callback_end(io);
}

static bool gather_add(struct sio_gather *g, struct sio_socket *s, int64_t id)
{
    struct sio_wait *w = wait_new(s, id);

    if (w == NULL)
        return false;
    w->gather = g;
    w->next_of_gather = g->waits;
    if (g->waits != NULL)
        g->waits->previous_of_gather = w;
    g->waits = w;
    return true;
}

/* The broadcast ends when all have answered, or when no socket is left that could. A client of
 * another process that has gone cannot be told from a slow one. */
static void gather_check(struct sio_gather *g)
{
    if (is_complete(g))
        gather_end(g, g->far.error);
    else if (g->waits == NULL && all_reported(g) && g->far_received >= g->far_expected)
        gather_end(g, g->far.error != 0 ? g->far.error : WS_ERR_CLOSED);
}

/* A peer may claim any number. */
static void add_count(size_t *sum, int64_t count)
{
    const size_t most = SIZE_MAX / 2;

    *sum = (uint64_t)count > most - *sum ? most : *sum + (size_t)count;
}

static void far_heard(struct sio_far *f, const struct sio_adapter_message *m)
{
    struct sio_gather *g = (struct sio_gather *)((char *)f - offsetof(struct sio_gather, far));
    struct sio_reply reply = {.is_remote = true};

    if (m != NULL && m->type == SIO_ANSWER_COUNT) {
        f->reports++;
        add_count(&g->expected, m->count);
        add_count(&g->far_expected, m->count);
    } else if (m != NULL && m->type == SIO_ANSWER_CLIENT) {
        reply.args = (struct sio_args){m->list, m->attachments, m->attachment_count};
        reply.expected = g->expected;
        reply.received = ++g->received;
        g->far_received++;
        g->fn(g->arg, &reply);
    }
    gather_check(g);
}

static void gather_answer(struct sio_wait *w, const struct sio_args *args)
{
    struct sio_gather *g = w->gather;
    struct sio_reply reply = {.socket = w->socket, .args = *args, .expected = g->expected};

    reply.received = ++g->received;
    wait_free(w);
    g->fn(g->arg, &reply);
    gather_check(g);
}

void sio_acked(struct sio_socket *s, int64_t id, const struct sio_args *args)
{
    struct sio_wait *w = s->waits;

    while (w != NULL && w->id != id)
        w = w->next;
    if (w == NULL) /* late, or no request has this id */
        return;
    if (w->gather != NULL)
        gather_answer(w, args);
    else
        wait_end(w, 0, args);
}

/* A socket that was asked has ended without an answer. */
static void gather_drop(struct sio_wait *w)
{
    struct sio_gather *g = w->gather;

    wait_free(w);
    gather_check(g);
}

void sio_waits_end(struct sio_socket *s)
{
    while (s->waits != NULL) {
        if (s->waits->gather != NULL)
            gather_drop(s->waits);
        else
            wait_end(s->waits, WS_ERR_CLOSED, NULL);
    }
}

void sio_gathers_end(struct sio_server *io)
{
    while (io->gathers != NULL)
        gather_end(io->gathers, WS_ERR_CLOSED);
}

/* --- broadcasts ------------------------------------------------------------------------------- */

/* One encoded event that is sent to many sockets. */
struct publication {
    struct eio_packet *parts[1 + SIO_ATTACHMENTS_MAX];
    size_t count;
    bool is_volatile;
    struct sio_gather *gather; /* NULL: no acknowledgement is wanted */
    unsigned timeout_ms;       /* for them */
    int64_t id;
    ptrdiff_t sent;
};

static void publication_release(struct publication *p)
{
    for (size_t i = 0; i < p->count; i++)
        eio_packet_release(p->parts[i]);
}

static bool add_part(struct publication *p, struct eio_server *e, enum ws_opcode opcode,
                     struct ws_str data)
{
    struct eio_packet *part = eio_packet_new(e, opcode, data.data, data.len);

    if (part == NULL)
        return false;
    p->parts[p->count++] = part;
    return eio_packet_encode(part);
}

static bool publication_init(struct publication *p, struct sio_server *io, struct ws_str text,
                             const struct sio_args *args)
{
    bool ok = add_part(p, io->engine, WS_OP_TEXT, text);

    for (size_t i = 0; ok && i < args->attachment_count; i++)
        ok = add_part(p, io->engine, WS_OP_BINARY, args->attachments[i]);
    return ok;
}

static void publish_one(void *arg, struct sio_socket *s)
{
    struct publication *p = arg;
    struct eio_session *engine = s->conn->engine;
    int result = 0;

    if (engine == NULL || !eio_is_open(engine) || (p->is_volatile && !eio_writable(engine)))
        return;
    if (p->gather != NULL && !gather_add(p->gather, s, p->id))
        result = WS_ERR_FULL;
    for (size_t i = 0; result >= 0 && i < p->count; i++)
        result = eio_send_packet(engine, p->parts[i], 0);
    if (result < 0)
        sio_conn_fail(s->conn); /* only this recipient's connection ends */
    else
        p->sent++;
}

/* Tell the other processes. */
static int publish_far(const struct sio_target *t, const struct publication *p, const char *name,
                       const struct sio_args *args)
{
    struct sio_relay *relay = SIO_RELAY(t);
    const struct sio_call call = {.type = SIO_BROADCAST,
                                  .target = t,
                                  .name = name,
                                  .args = args,
                                  .timeout_ms = p->timeout_ms,
                                  .far = p->gather == NULL ? NULL : &p->gather->far};

    return relay == NULL ? 0 : relay->tell(relay, &call);
}

/* `p` has the flags of this broadcast, and counts the recipients. */
static ptrdiff_t publish(const struct sio_target *t, struct publication *p, const char *name,
                         const struct sio_args *args)
{
    char offset[SIO_OFFSET_SIZE];
    bool logged;
    struct ws_str text;
    int error;

    if (t->nsp->server->ws == NULL)
        return WS_ERR_CLOSED;
    logged = p->id == SIO_NO_ID && !p->is_volatile && sio_recovery_offset(t->nsp, offset);
    error = encode_event(t->nsp, name, args, p->id, logged ? offset : NULL, &text);
    if (error == 0 && t->nsp->connected != 0 && !publication_init(p, t->nsp->server, text, args))
        error = WS_ERR_NOMEM;
    if (error == 0)
        error = publish_far(t, p, name, args);
    if (error == 0 && logged)
        sio_recovery_log(t, text, args);
    if (error == 0 && t->nsp->connected != 0)
        sio_visit(t, publish_one, p);
    publication_release(p);
    return error != 0 ? error : p->sent;
}

ptrdiff_t sio_publish(const struct sio_target *t, const char *name, struct sio_args args)
{
    struct publication p = {.is_volatile = t->is_volatile, .id = SIO_NO_ID};

    return publish(t, &p, name, &args);
}

ptrdiff_t sio_emit_all(struct sio_namespace *n, const char *name, struct sio_args args)
{
    return sio_publish(&(struct sio_target){.nsp = n}, name, args);
}

ptrdiff_t sio_broadcast(struct sio_socket *sender, const char *name, struct sio_args args)
{
    return sio_publish(&(struct sio_target){.nsp = sender->nsp, .sender = sender}, name, args);
}

ptrdiff_t sio_request_all(const struct sio_target *t, const char *name, struct sio_args args,
                          unsigned timeout_ms, sio_reply_fn *fn, void *arg)
{
    struct sio_server *io = t->nsp->server;
    struct publication p = {
        .is_volatile = t->is_volatile, .id = next_id(t->nsp), .timeout_ms = timeout_ms};
    ptrdiff_t sent;

    if (io->ws == NULL)
        return WS_ERR_CLOSED;
    if (timeout_ms == 0)
        return WS_ERR_INVALID;
    p.gather = gather_new(io, fn, arg);
    if (p.gather == NULL)
        return WS_ERR_NOMEM;
    sent = publish(t, &p, name, &args);
    if (sent >= 0) {
        p.gather->expected = (size_t)sent;
        /* When it was sent to no socket, and to no other process, it ends in the next turn of the
         * loop. */
        ws_timer_set(p.gather->timer, is_complete(p.gather) ? 0 : timeout_ms);
    } else {
        gather_free(p.gather);
    }
    return sent;
}

/* --- acknowledgements out --------------------------------------------------------------------- */

int sio_answer(struct sio_ack *ack, struct sio_args args)
{
    struct sio_server *io = ack->server;
    struct sio_socket *s = io == NULL ? NULL : sio_find(io, ack->socket_id);
    struct json_writer *w;
    struct ws_str text;
    int result;

    ack->server = NULL;
    if (s == NULL || !can_send(s))
        return WS_ERR_CLOSED;
    if (!sio_args_are_legal(io, &args))
        return WS_ERR_INVALID;
    w = begin(s->nsp, SIO_ACK, &args, ack->id);
    json_write_raw(w, args.list);
    result = finish(w, &text);
    return result != 0 ? result : send_parts(s->conn, text, &args);
}
