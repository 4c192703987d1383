/* SPDX-License-Identifier: MIT
 *
 * A server in a cluster; see sio_cluster.h. For each namespace it has a *node*, with an id of its
 * own and these channels, where N is the namespace:
 *
 *   classic   prefix#N#*              broadcasts, those to one room on prefix#N#room#
 *             prefix-request#N#       requests; how many subscribe to it is how many servers there
 *                                     are
 *             prefix-response#N#      answers to anybody, and with #id# behind it to this node
 *   sharded   prefix#N#               broadcasts and requests
 *             prefix#N#id#            answers to this node
 *             prefix#N#room#          for each room that has a member here
 *
 * A server does for its own sockets what it tells others to do, and ignores its own messages. */
#include "sio_cluster.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "sio_adapter.h"
#include "sio_recovery.h"
#include "sio_remote.h"
#include "sio_room.h"

enum {
    KEPT = 1 << 16,           /* bytes of a writer that are kept while it is not in use */
    ACK_TIMEOUT_MS = 5000,    /* where the one who asks names no other, */
    ACK_TIMEOUT_MAX = 3600000 /* or one that is too long */
};

struct sio_cluster {
    struct sio_relay relay; /* first: a relay is a cluster */
    struct sio_server *io;
    struct bus *bus; /* NULL: the cluster was left */
    struct sio_cluster_options options;
    enum sio_dialect dialect;
    struct name_table nodes; /* by their numbers */
    struct name_table far;   /* questions to others, by their ids */
    uint64_t last_node;
    struct question *questions;
    size_t owed;                    /* of struct debt */
    struct sio_adapter_space space; /* of the message that is read */
    struct json_writer message;     /* that is written; none of these is used across a callback */
    struct json_writer text;
    struct json_writer rooms;
    struct json_writer except;
    struct json_writer list;
    struct json_writer channel;
    char prefix[];
};

enum { SUBSCRIPTIONS = 4, UID_SIZE = 20 };

struct sio_node {
    struct name_entry entry; /* in cluster->nodes, by `number` */
    struct sio_cluster *cluster;
    struct sio_namespace *nsp;
    uint64_t number;
    size_t size;        /* of this struct with `names` */
    char uid[UID_SIZE]; /* as JSON */
    struct bus_subscription *subscriptions[SUBSCRIPTIONS];
    const char *base; /* channels, in `names`, with a NUL each */
    const char *request;
    const char *response;
    const char *name; /* of the namespace, as JSON */
    char names[];
};

/* How many servers are there? It waits for the bus, while who asked may be gone. */
struct question {
    struct question *next;
    struct question *previous;
    struct sio_cluster *cluster;
    char id[SIO_FAR_ID_SIZE]; /* of the struct sio_far */
};

static struct sio_cluster *cluster_of(struct sio_relay *r)
{
    return (struct sio_cluster *)r;
}

static struct json_writer *empty(struct json_writer *w)
{
    if (w->cap > KEPT)
        json_writer_release(w);
    json_writer_clear(w);
    return w;
}

static bool same(struct ws_str a, struct ws_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* --- ids -------------------------------------------------------------------------------------- */

/* As the adapters of Node make them: 6 characters of base64url, or 16 hexadecimal digits. */
static bool make_id(const struct sio_cluster *c, char out[UID_SIZE])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    size_t len = c->dialect == SIO_SHARDED ? 16 : 6;
    uint8_t mask = c->dialect == SIO_SHARDED ? 15 : 63;
    uint8_t bytes[16];

    if (ws_random(bytes, len) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = digits[bytes[i] & mask];
    out[len] = '\0';
    return true;
}

/* As JSON: with quotes, and a NUL. Returns the length. */
static size_t quote(const char *id, char *out)
{
    size_t len = strlen(id);

    out[0] = out[len + 1] = '"';
    out[len + 2] = '\0';
    memcpy(out + 1, id, len);
    return len + 2;
}

/* The own id of a node, without its quotes. */
static struct ws_str uid_of(const struct sio_node *node)
{
    return (struct ws_str){node->uid + 1, strlen(node->uid) - 2};
}

static struct ws_str number_name(const uint64_t *number)
{
    return (struct ws_str){(const char *)number, sizeof *number};
}

/* --- channels --------------------------------------------------------------------------------- */

/* The channel `base` with `name` and a '#' behind it. */
static struct ws_str channel_of(struct sio_cluster *c, const char *base, struct ws_str name)
{
    struct json_writer *w = empty(&c->channel);

    json_write_text(w, base, strlen(base));
    json_write_text(w, name.data, name.len);
    json_write_text(w, "#", 1);
    return json_written(w);
}

static enum bus_kind kind_of(const struct sio_cluster *c)
{
    return c->dialect == SIO_SHARDED ? BUS_SHARD : BUS_CHANNEL;
}

/* In UTF-16, as JavaScript counts. */
static size_t length_of(const char *text)
{
    size_t length = 0;

    for (; *text != '\0'; text++) {
        length += (*text & 0xc0) != 0x80;
        length += (*text & 0xf8) == 0xf0; /* two surrogates */
    }
    return length;
}

/* Does a room have a channel of its own in the sharded dialect? Not what looks like an id. */
static bool has_channel(const char *room)
{
    return length_of(room) != EIO_ID_LEN;
}

/* A broadcast to exactly one room goes to the channel of that room. */
static struct ws_str broadcast_channel(struct sio_node *node, const struct sio_call *call)
{
    struct sio_cluster *c = node->cluster;
    const char *const *to = call->target->to;

    if (to == NULL || to[0] == NULL || to[1] != NULL)
        return ws_str(node->base);
    if (c->dialect == SIO_SHARDED && !has_channel(to[0]))
        return ws_str(node->base);
    return channel_of(c, node->base, ws_str(to[0]));
}

static struct ws_str call_channel(struct sio_node *node, const struct sio_call *call)
{
    if (call->type == SIO_BROADCAST && call->far == NULL)
        return broadcast_channel(node, call);
    return ws_str(node->cluster->dialect == SIO_SHARDED ? node->base : node->request);
}

/* --- telling others --------------------------------------------------------------------------- */

static struct ws_str write_names(struct json_writer *w, const char *const *names)
{
    for (; names != NULL && *names != NULL; names++)
        json_write_string(w, *names, strlen(*names));
    return json_written(w);
}

/* The rooms of a target; the sender is left out by the room that its id names. */
static void set_target(struct sio_cluster *c, struct sio_adapter_message *m,
                       const struct sio_target *t)
{
    struct json_writer *except = empty(&c->except);

    m->rooms = write_names(empty(&c->rooms), t->to);
    if (t->sender != NULL)
        json_write_string(except, t->sender->id, EIO_ID_LEN);
    m->except = write_names(except, t->except);
    m->is_volatile = t->is_volatile;
}

/* What the call says besides: the values of an event, or the room to join or leave. */
static void set_list(struct sio_cluster *c, struct sio_adapter_message *m,
                     const struct sio_call *call)
{
    struct json_writer *w = empty(&c->list);

    if (call->room != NULL) {
        json_write_string(w, call->room, strlen(call->room));
        m->names = json_written(w);
    }
    if (call->args == NULL)
        return;
    if (call->name != NULL)
        json_write_string(w, call->name, strlen(call->name));
    json_write_raw(w, call->args->list);
    m->list = json_written(w);
    m->attachments = call->args->attachments;
    m->attachment_count = call->args->attachment_count;
}

static bool writers_failed(const struct sio_cluster *c)
{
    return c->rooms.failed || c->except.failed || c->list.failed || c->channel.failed;
}

/* Write a message, and publish it. */
static int publish(struct sio_cluster *c, struct ws_str channel,
                   const struct sio_adapter_message *m)
{
    struct json_writer *w = empty(&c->message);
    int error = sio_adapter_write(w, empty(&c->text), c->dialect, m);

    if (error != 0 || writers_failed(c))
        return error == SIO_ADAPTER_BAD ? WS_ERR_INVALID : WS_ERR_NOMEM;
    return bus_publish(c->bus, kind_of(c), channel, json_written(w));
}

static void question_free(struct question *q)
{
    struct sio_cluster *c = q->cluster;

    *(q->previous == NULL ? &c->questions : &q->previous->next) = q->next;
    if (q->next != NULL)
        q->next->previous = q->previous;
    ws_account_give(c->io->account, q, sizeof *q);
}

static struct sio_far *far_named(const struct sio_cluster *c, struct ws_str id)
{
    return (struct sio_far *)name_table_find(&c->far, id);
}

/* One of the servers is this one. */
static void counted(void *arg, ptrdiff_t count)
{
    struct question *q = arg;
    struct sio_cluster *c = q->cluster;
    struct sio_far *f = far_named(c, ws_str(q->id));

    question_free(q);
    if (f == NULL)
        return;
    f->error = count < 0 ? (int)count : 0;
    f->others = count > 0 ? count - 1 : 0;
    sio_callback_begin(c->io);
    f->heard(f, NULL);
    sio_callback_end(c->io);
}

static int ask_count(struct sio_node *node, const struct sio_far *f)
{
    struct sio_cluster *c = node->cluster;
    struct question *q = ws_account_take(c->io->account, sizeof *q);
    int error;

    if (q == NULL)
        return WS_ERR_NOMEM;
    q->cluster = c;
    memcpy(q->id, f->id, sizeof q->id);
    q->next = c->questions;
    if (q->next != NULL)
        q->next->previous = q;
    c->questions = q;
    error = bus_count(c->bus, kind_of(c),
                      ws_str(c->dialect == SIO_SHARDED ? node->base : node->request), counted, q);
    if (error != 0)
        question_free(q);
    return error;
}

static void forget(struct sio_relay *r, struct sio_far *f)
{
    name_table_remove(&cluster_of(r)->far, &f->entry);
    f->asked = false;
}

/* Give the question an id, and ask how many will answer. `m` gets the id. */
static int ask(struct sio_node *node, struct sio_far *f, struct sio_adapter_message *m,
               char quoted[SIO_FAR_ID_SIZE])
{
    struct sio_cluster *c = node->cluster;
    int error;

    if (!make_id(c, f->id) || far_named(c, ws_str(f->id)) != NULL ||
        !name_table_add(&c->far, &f->entry, ws_str(f->id)))
        return WS_ERR_NOMEM;
    f->asked = true;
    f->others = -1;
    m->request_id = (struct ws_str){quoted, quote(f->id, quoted)};
    error = ask_count(node, f);
    if (error != 0)
        forget(&c->relay, f);
    return error;
}

static int tell(struct sio_relay *r, const struct sio_call *call)
{
    struct sio_cluster *c = cluster_of(r);
    struct sio_node *node = call->target->nsp->node;
    struct sio_adapter_message m = {.type = call->type, .close = call->close};
    char quoted[SIO_FAR_ID_SIZE];
    int error = 0;

    if (c->bus == NULL || node == NULL)
        return 0;
    if (call->type == SIO_LIST_ROOMS && c->dialect == SIO_SHARDED)
        return 0;
    empty(&c->channel);
    m.uid = ws_str(node->uid);
    m.nsp = ws_str(node->name);
    m.timeout_ms = call->timeout_ms;
    set_target(c, &m, call->target);
    set_list(c, &m, call);
    if (call->far != NULL)
        error = ask(node, call->far, &m, quoted);
    if (error == 0)
        error = publish(c, call_channel(node, call), &m);
    if (error != 0 && call->far != NULL && call->far->asked)
        forget(r, call->far);
    return error;
}

/* --- answering others ------------------------------------------------------------------------- */

/* Publish an answer to the server that asked. `uid` is a string in JSON. */
static int send_answer(struct sio_node *node, struct ws_str uid, struct sio_adapter_message *m)
{
    struct sio_cluster *c = node->cluster;
    char name[SIO_FAR_ID_SIZE];
    ptrdiff_t len = uid.data == NULL ? -1 : json_string(uid, name, sizeof name);
    struct ws_str channel = ws_str(node->response);

    empty(&c->channel);
    m->uid = ws_str(node->uid);
    m->nsp = ws_str(node->name);
    if (c->dialect == SIO_SHARDED || (c->options.private_answers && len >= 0)) {
        if (len < 0)
            return WS_ERR_INVALID;
        channel = channel_of(c, c->dialect == SIO_SHARDED ? node->base : node->response,
                             (struct ws_str){name, (size_t)len});
    }
    empty(&c->rooms);
    empty(&c->except);
    empty(&c->list);
    return publish(c, channel, m);
}

/* A list that cannot be sent is answered by an empty one, so that nobody waits for it. */
static void reply(struct sio_node *node, const struct sio_adapter_message *to,
                  struct sio_adapter_message *m)
{
    m->request_id = to->request_id;
    if (send_answer(node, to->uid, m) == 0 || m->names.len == 0)
        return;
    m->names = (struct ws_str){NULL, 0};
    send_answer(node, to->uid, m);
}

static struct sio_node *node_numbered(const struct sio_cluster *c, uint64_t number)
{
    return (struct sio_node *)name_table_find(&c->nodes, number_name(&number));
}

/* The first value of the arguments, for there is room for one only. */
static int answer(struct sio_cluster *c, const struct sio_server_ack *ack,
                  enum sio_adapter_type type, const struct sio_args *args)
{
    struct sio_node *node = node_numbered(c, ack->node);
    struct sio_adapter_message m = {
        .type = type,
        .request_id = ws_str(ack->request_id),
        .list = sio_arg(args, 0),
        .attachments = args->attachments,
        .attachment_count = args->attachment_count,
    };

    if (c->bus == NULL || node == NULL)
        return WS_ERR_CLOSED;
    return send_answer(node, ack->uid[0] == '\0' ? (struct ws_str){NULL, 0} : ws_str(ack->uid), &m);
}

static int answer_event(struct sio_relay *r, const struct sio_server_ack *ack,
                        const struct sio_args *args)
{
    return answer(cluster_of(r), ack, SIO_ANSWER_SERVER, args);
}

/* A copy of `value` with a NUL, "" where it is missing; false if it is too long. */
static bool copy_id(char out[SIO_FAR_ID_SIZE], struct ws_str value)
{
    if (value.len >= SIO_FAR_ID_SIZE)
        return false;
    if (value.data != NULL)
        memcpy(out, value.data, value.len);
    out[value.data != NULL ? value.len : 0] = '\0';
    return true;
}

static bool make_ack(const struct sio_node *node, const struct sio_adapter_message *m,
                     struct sio_server_ack *ack)
{
    *ack = (struct sio_server_ack){.node = node->number};
    if (m->request_id.data != NULL)
        ack->server = node->cluster->io;
    return copy_id(ack->request_id, m->request_id) && copy_id(ack->uid, m->uid);
}

/* --- targets of others ------------------------------------------------------------------------ */

/* A list of names, as a target has them. */
struct names {
    const char **list; /* owned; NULL: it is not there */
    size_t size;       /* of the block */
};

/* A name, and a NUL. False for what cannot be the name of a room here. */
static bool copy_name(struct ws_str value, char *out)
{
    ptrdiff_t len;

    if (json_type(value) == JSON_NUMBER) {
        memcpy(out, value.data, value.len);
        out[value.len] = '\0';
        return true;
    }
    len = json_string(value, out, value.len);
    return len >= 0 && strlen(out) == (size_t)len;
}

/* Names that no room here can have are left out, so a list may become empty: then it names nobody,
 * while an empty list of others means all. */
static bool names_init(struct sio_cluster *c, struct names *names, struct ws_str list)
{
    struct ws_str rest = list;
    struct ws_str value;
    size_t count = 0;
    char *at;

    *names = (struct names){0};
    while (json_next(&rest, &value))
        count++;
    if (count == 0)
        return true;
    names->size = (count + 1) * sizeof *names->list + list.len + count;
    names->list = ws_account_take(c->io->account, names->size);
    if (names->list == NULL)
        return false;
    at = (char *)(names->list + count + 1);
    for (count = 0; json_next(&list, &value);) {
        if (!copy_name(value, at))
            continue;
        names->list[count++] = at;
        at += strlen(at) + 1;
    }
    names->list[count] = NULL;
    return true;
}

static void names_release(struct sio_cluster *c, struct names *names)
{
    if (names->list != NULL)
        ws_account_give(c->io->account, names->list, names->size);
}

struct far_target {
    struct sio_target target; /* of this server's sockets */
    struct names to;
    struct names except;
    struct names names; /* to join or leave */
};

static void target_release(struct sio_cluster *c, struct far_target *t)
{
    names_release(c, &t->to);
    names_release(c, &t->except);
    names_release(c, &t->names);
}

static bool target_init(struct sio_node *node, struct far_target *t,
                        const struct sio_adapter_message *m)
{
    struct sio_cluster *c = node->cluster;

    *t = (struct far_target){0};
    if (!names_init(c, &t->to, m->rooms) || !names_init(c, &t->except, m->except) ||
        !names_init(c, &t->names, m->names)) {
        target_release(c, t);
        return false;
    }
    t->target = (struct sio_target){.nsp = node->nsp,
                                    .to = t->to.list,
                                    .except = t->except.list,
                                    .is_volatile = m->is_volatile,
                                    .is_local = true};
    return true;
}

/* --- what others ask -------------------------------------------------------------------------- */

/* Acknowledgements of this server's clients that another one waits for. */
struct debt {
    struct sio_cluster *cluster;
    struct sio_server_ack ack;
};

static void debt_free(struct debt *d)
{
    d->cluster->owed--;
    ws_account_give(d->cluster->io->account, d, sizeof *d);
}

static void client_answered(void *arg, const struct sio_reply *reply)
{
    struct debt *d = arg;

    if (reply->socket != NULL)
        answer(d->cluster, &d->ack, SIO_ANSWER_CLIENT, &reply->args);
    else
        debt_free(d);
}

static struct debt *debt_new(struct sio_node *node, const struct sio_adapter_message *m)
{
    struct sio_cluster *c = node->cluster;
    struct debt *d;

    if (c->owed >= c->options.max_owed)
        return NULL;
    d = ws_account_take(c->io->account, sizeof *d);
    if (d == NULL)
        return NULL;
    d->cluster = c;
    c->owed++;
    if (make_ack(node, m, &d->ack))
        return d;
    debt_free(d);
    return NULL;
}

static unsigned ack_timeout(const struct sio_adapter_message *m)
{
    if (m->timeout_ms == 0)
        return ACK_TIMEOUT_MS;
    return m->timeout_ms > ACK_TIMEOUT_MAX ? ACK_TIMEOUT_MAX : (unsigned)m->timeout_ms;
}

/* The one who asks gets the number of clients at once, 0 where the event cannot be sent. */
static void broadcast_with_acks(struct sio_node *node, const struct sio_target *t,
                                const struct sio_adapter_message *m, struct sio_args args)
{
    struct sio_adapter_message count = {.type = SIO_ANSWER_COUNT};
    struct debt *d = debt_new(node, m);
    ptrdiff_t sent = 0;

    if (d != NULL)
        sent = sio_request_all(t, NULL, args, ack_timeout(m), client_answered, d);
    if (d != NULL && sent < 0)
        debt_free(d);
    count.count = sent > 0 ? sent : 0;
    reply(node, m, &count);
}

static void broadcast(struct sio_node *node, const struct sio_target *t,
                      const struct sio_adapter_message *m)
{
    const struct sio_args args = {m->list, m->attachments, m->attachment_count};

    if (m->request_id.data != NULL)
        broadcast_with_acks(node, t, m, args);
    else
        sio_publish(t, NULL, args);
}

static void join_or_leave(const struct far_target *t, enum sio_adapter_type type)
{
    for (const char **name = t->names.list; name != NULL && *name != NULL; name++) {
        if (type == SIO_JOIN)
            sio_join_all(&t->target, *name);
        else
            sio_leave_all(&t->target, *name);
    }
}

/* The first one that is too much for `max` bytes is taken back. */
static void write_sockets(struct json_writer *w, struct sio_socket **sockets, size_t count,
                          bool only_ids, size_t max)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = w->len;

        if (only_ids)
            json_write_string(w, sockets[i]->id, EIO_ID_LEN);
        else
            sio_write_socket(w, sockets[i]);
        if (w->len > max) {
            w->len = before;
            return;
        }
    }
}

/* The application writes the data of sockets, and may change rooms meanwhile: so the sockets are
 * selected first. */
static void answer_sockets(struct sio_node *node, const struct sio_target *t,
                           const struct sio_adapter_message *m)
{
    struct sio_cluster *c = node->cluster;
    struct sio_adapter_message answer = {.type = SIO_ANSWER_SOCKETS};
    size_t count = sio_select(t, NULL, 0);
    size_t size = count * sizeof(struct sio_socket *);
    struct sio_socket **sockets = count == 0 ? NULL : ws_account_take(c->io->account, size);
    struct json_writer w = {0};

    if (sockets != NULL) {
        sio_select(t, sockets, count);
        write_sockets(&w, sockets, count, m->type == SIO_LIST_SOCKETS, c->options.max_answer);
        ws_account_give(c->io->account, sockets, size);
    }
    answer.names = json_written(&w);
    reply(node, m, &answer);
    json_writer_release(&w);
}

static void answer_rooms(struct sio_node *node, const struct sio_adapter_message *m)
{
    struct sio_adapter_message rooms = {.type = SIO_ANSWER_ROOMS};
    struct json_writer w = {0};

    sio_write_rooms(&w, node->nsp, node->cluster->options.max_answer);
    rooms.names = json_written(&w);
    reply(node, m, &rooms);
    json_writer_release(&w);
}

/* Where nobody listens, the one who asks gets an answer without a value. */
static void server_event(struct sio_node *node, const struct sio_adapter_message *m)
{
    const struct sio_handlers *h = &node->nsp->handlers;
    struct sio_server_ack ack;
    struct sio_server_event e = {.ack = &ack};

    if (!make_ack(node, m, &ack))
        return;
    e.all = (struct sio_args){m->list, m->attachments, m->attachment_count};
    e.args = e.all;
    if (h->on_server_event != NULL && json_next(&e.args.list, &e.name))
        h->on_server_event(node->nsp, &e);
    else if (ack.server != NULL)
        sio_server_answer(&ack, sio_args(""));
}

/* The forms of old servers, which are about one socket. */
static void serve_old_form(struct sio_node *node, const struct sio_adapter_message *m)
{
    struct sio_adapter_message done = {.type = SIO_ANSWER_DONE};
    char id[EIO_ID_SIZE];
    char room[SIO_NAME_MAX + 1];
    struct sio_socket *s;

    if (json_string(m->sid, id, sizeof id) < 0)
        return;
    s = sio_find(node->cluster->io, id);
    if (s == NULL || s->nsp != node->nsp)
        return;
    if (m->type == SIO_DISCONNECT_ALL) {
        sio_disconnect(s, m->close);
    } else if (m->names.len < sizeof room && copy_name(m->names, room)) {
        if (m->type == SIO_JOIN)
            sio_join(s, room);
        else
            sio_leave(s, room);
    }
    if (m->request_id.data != NULL)
        reply(node, m, &done);
}

static void serve_target(struct sio_node *node, const struct far_target *t,
                         const struct sio_adapter_message *m)
{
    switch (m->type) {
    case SIO_BROADCAST:
        broadcast(node, &t->target, m);
        break;
    case SIO_JOIN:
    case SIO_LEAVE:
        join_or_leave(t, m->type);
        break;
    case SIO_DISCONNECT_ALL:
        sio_disconnect_all(&t->target, m->close);
        break;
    case SIO_FETCH:
    case SIO_LIST_SOCKETS:
        answer_sockets(node, &t->target, m);
        break;
    case SIO_LIST_ROOMS:
        answer_rooms(node, m);
        break;
    case SIO_SERVER_EMIT:
        server_event(node, m);
        break;
    default:
        break;
    }
}

static void serve(struct sio_node *node, const struct sio_adapter_message *m)
{
    struct far_target t;

    if (m->sid.data != NULL) {
        serve_old_form(node, m);
    } else if (target_init(node, &t, m)) {
        serve_target(node, &t, m);
        target_release(node->cluster, &t);
    }
}

/* --- what comes ------------------------------------------------------------------------------- */

static bool read_message(struct sio_node *node, enum sio_source from, struct ws_str data,
                         struct sio_adapter_message *m)
{
    struct sio_adapter_space *space = &node->cluster->space;

    empty(&space->text);
    return sio_adapter_read(m, from, data, space) == 0;
}

static bool is_own(const struct sio_node *node, const struct sio_adapter_message *m)
{
    return m->uid.data != NULL && same(m->uid, ws_str(node->uid));
}

static bool is_for_namespace(const struct sio_node *node, struct ws_str nsp)
{
    return nsp.data == NULL ? strcmp(node->nsp->name, "/") == 0
                            : json_string_is(nsp, node->nsp->name);
}

static void heard(struct sio_cluster *c, const struct sio_adapter_message *m)
{
    char id[SIO_FAR_ID_SIZE];
    ptrdiff_t len = json_string(m->request_id, id, sizeof id);
    struct sio_far *f = len <= 0 ? NULL : far_named(c, (struct ws_str){id, (size_t)len});

    if (f != NULL)
        f->heard(f, m);
}

/* Whether a broadcast concerns this server is seen by the channel and the sender, before the
 * message is read. The rooms of sockets that are kept for recovery are not known here, so that all
 * rooms concern them. */
static bool is_broadcast_here(const struct sio_node *node, struct ws_str channel,
                              struct ws_str data)
{
    size_t base = strlen(node->base);
    bool kept = !sio_recovery_is_idle(node->nsp);
    struct ws_str sender;

    if (node->nsp->connected == 0 && !kept)
        return false;
    if (channel.len < base || memcmp(channel.data, node->base, base) != 0)
        return false; /* uncovered: no bus of ours takes what does not begin so for a match */
    if (!kept && channel.len > base + 1 &&
        !sio_room_exists(node->nsp, (struct ws_str){channel.data + base, channel.len - base - 1}))
        return false;
    sender = sio_adapter_sender(data);
    return sender.data != NULL && !same(sender, uid_of(node));
}

static void on_broadcast(void *arg, struct ws_str channel, struct ws_str data)
{
    struct sio_node *node = arg;
    struct sio_server *io = node->cluster->io;
    struct sio_adapter_message m;

    if (!is_broadcast_here(node, channel, data))
        return;
    sio_callback_begin(io);
    if (read_message(node, SIO_FROM_BROADCASTS, data, &m) && is_for_namespace(node, m.nsp))
        serve(node, &m);
    sio_callback_end(io);
}

static void on_request(void *arg, struct ws_str channel, struct ws_str data)
{
    struct sio_node *node = arg;
    struct sio_server *io = node->cluster->io;
    struct sio_adapter_message m;

    (void)channel;
    sio_callback_begin(io);
    if (read_message(node, SIO_FROM_REQUESTS, data, &m) && !is_own(node, &m))
        serve(node, &m);
    sio_callback_end(io);
}

static void on_answer(void *arg, struct ws_str channel, struct ws_str data)
{
    struct sio_node *node = arg;
    struct sio_server *io = node->cluster->io;
    struct sio_adapter_message m;

    (void)channel;
    if (node->cluster->far.count == 0)
        return;
    sio_callback_begin(io);
    if (read_message(node, SIO_FROM_ANSWERS, data, &m))
        heard(node->cluster, &m);
    sio_callback_end(io);
}

static void on_shard(void *arg, struct ws_str channel, struct ws_str data)
{
    struct sio_node *node = arg;
    struct sio_server *io = node->cluster->io;
    struct sio_adapter_message m;

    (void)channel;
    sio_callback_begin(io);
    if (read_message(node, SIO_FROM_SHARDS, data, &m) && is_for_namespace(node, m.nsp) &&
        !is_own(node, &m)) {
        if (m.type >= SIO_ANSWER_SOCKETS)
            heard(node->cluster, &m);
        else
            serve(node, &m);
    }
    sio_callback_end(io);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* Write the channels of a namespace, each with a NUL, and its name as JSON. */
static void write_channels(struct json_writer *w, const struct sio_cluster *c,
                           const struct sio_namespace *n)
{
    static const char *const middles[] = {"#", "-request#", "-response#"};

    for (size_t i = 0; i < sizeof middles / sizeof *middles; i++) {
        json_write_text(w, c->prefix, strlen(c->prefix));
        json_write_text(w, middles[i], strlen(middles[i]));
        json_write_text(w, n->name, n->entry.len);
        json_write_text(w, "#", 2); /* with its NUL */
    }
}

static struct sio_node *node_alloc(struct sio_cluster *c, struct sio_namespace *n)
{
    struct json_writer *w = empty(&c->channel);
    struct json_writer *name = empty(&c->text);
    struct sio_node *node;

    write_channels(w, c, n);
    json_write_string(name, n->name, n->entry.len);
    json_write_text(name, "", 1);
    if (w->failed || name->failed)
        return NULL;
    node = ws_account_take(n->account, sizeof *node + w->len + name->len);
    if (node == NULL)
        return NULL;
    node->size = sizeof *node + w->len + name->len;
    memcpy(node->names, w->data, w->len);
    memcpy(node->names + w->len, name->data, name->len);
    node->base = node->names;
    node->request = node->base + strlen(node->base) + 1;
    node->response = node->request + strlen(node->request) + 1;
    node->name = node->response + strlen(node->response) + 1;
    return node;
}

/* A pattern for all channels that begin with `base`. */
static struct ws_str pattern_of(struct sio_cluster *c, const char *base)
{
    struct json_writer *w = empty(&c->channel);

    for (; *base != '\0'; base++) {
        if (strchr("*?[]\\^-", *base) != NULL)
            json_write_text(w, "\\", 1);
        json_write_text(w, base, 1);
    }
    json_write_text(w, "*", 1);
    return json_written(w);
}

/* The channel for answers to this node alone. */
static struct ws_str own_channel(struct sio_node *node, const char *base)
{
    return channel_of(node->cluster, base, uid_of(node));
}

static bool subscribe(struct sio_node *node)
{
    struct sio_cluster *c = node->cluster;
    struct bus_subscription **s = node->subscriptions;

    if (c->dialect == SIO_SHARDED) {
        s[0] = bus_subscribe(c->bus, BUS_SHARD, ws_str(node->base), on_shard, node);
        s[1] = bus_subscribe(c->bus, BUS_SHARD, own_channel(node, node->base), on_shard, node);
        return s[0] != NULL && s[1] != NULL && !c->channel.failed;
    }
    s[0] = bus_subscribe(c->bus, BUS_PATTERN, pattern_of(c, node->base), on_broadcast, node);
    s[1] = bus_subscribe(c->bus, BUS_CHANNEL, ws_str(node->request), on_request, node);
    s[2] = bus_subscribe(c->bus, BUS_CHANNEL, ws_str(node->response), on_answer, node);
    if (c->channel.failed)
        return false;
    s[3] = bus_subscribe(c->bus, BUS_CHANNEL, own_channel(node, node->response), on_answer, node);
    return s[0] != NULL && s[1] != NULL && s[2] != NULL && s[3] != NULL && !c->channel.failed;
}

static void unsubscribe(struct sio_node *node)
{
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        bus_unsubscribe(node->subscriptions[i]);
        node->subscriptions[i] = NULL;
    }
}

/* A room that is called as this node needs no subscription: the channel for answers is the same. */
static bool room_changed(struct sio_relay *r, struct sio_namespace *n, const char *name,
                         bool exists)
{
    struct sio_cluster *c = cluster_of(r);
    struct ws_str channel;

    if (c->bus == NULL || n->node == NULL || c->dialect != SIO_SHARDED || !has_channel(name) ||
        same(ws_str(name), uid_of(n->node)))
        return true;
    channel = channel_of(c, n->node->base, ws_str(name));
    if (c->channel.failed)
        return false;
    if (exists)
        return bus_subscribe(c->bus, BUS_SHARD, channel, on_shard, n->node) != NULL;
    bus_unsubscribe(bus_find(c->bus, BUS_SHARD, channel, on_shard, n->node));
    return true;
}

static bool rooms_changed(struct sio_node *node, bool exist)
{
    bool ok = true;

    for (const char *room = NULL; (room = sio_next_room(node->nsp, room)) != NULL;)
        ok = room_changed(&node->cluster->relay, node->nsp, room, exist) && ok;
    return ok;
}

static void closing(struct sio_relay *r, struct sio_namespace *n)
{
    struct sio_cluster *c = cluster_of(r);
    struct sio_node *node = n->node;

    if (node == NULL)
        return;
    if (c->bus != NULL) {
        unsubscribe(node);
        rooms_changed(node, false);
    }
    name_table_remove(&c->nodes, &node->entry);
    ws_account_give(n->account, node, node->size);
    n->node = NULL;
}

static bool opened(struct sio_relay *r, struct sio_namespace *n)
{
    struct sio_cluster *c = cluster_of(r);
    struct sio_node *node;
    char id[UID_SIZE];

    if (c->bus == NULL)
        return true;
    node = node_alloc(c, n);
    if (node == NULL)
        return false;
    node->cluster = c;
    node->nsp = n;
    node->number = ++c->last_node;
    if (!make_id(c, id) || !name_table_add(&c->nodes, &node->entry, number_name(&node->number))) {
        ws_account_give(n->account, node, node->size);
        return false;
    }
    quote(id, node->uid);
    n->node = node;
    return subscribe(node) && rooms_changed(node, true); /* else closing() follows */
}

/* --- the cluster ------------------------------------------------------------------------------ */

static void cluster_free(struct sio_relay *r)
{
    struct sio_cluster *c = cluster_of(r);

    assert(c->bus == NULL && c->nodes.count == 0 && c->far.count == 0 && c->owed == 0);
    while (c->questions != NULL)
        question_free(c->questions);
    json_writer_release(&c->space.text);
    json_writer_release(&c->message);
    json_writer_release(&c->text);
    json_writer_release(&c->rooms);
    json_writer_release(&c->except);
    json_writer_release(&c->list);
    json_writer_release(&c->channel);
    name_table_release(&c->nodes);
    name_table_release(&c->far);
    ws_account_give(c->io->account, c, sizeof *c + strlen(c->prefix) + 1);
}

static bool open_all(struct sio_cluster *c)
{
    const struct name_table *t = &c->io->namespaces;

    for (struct name_entry *e = NULL; (e = name_table_next(t, e)) != NULL;)
        if (!opened(&c->relay, (struct sio_namespace *)e))
            return false;
    return true;
}

static void close_all(struct sio_cluster *c)
{
    const struct name_table *t = &c->io->namespaces;

    for (struct name_entry *e = NULL; (e = name_table_next(t, e)) != NULL;)
        closing(&c->relay, (struct sio_namespace *)e);
}

struct sio_cluster *sio_cluster_new(struct sio_server *io, struct bus *bus,
                                    const struct sio_cluster_options *options)
{
    const char *prefix = options->prefix != NULL ? options->prefix : "socket.io";
    struct sio_cluster *c;

    if (io->relay != NULL)
        return NULL;
    c = ws_account_take(io->account, sizeof *c + strlen(prefix) + 1);
    if (c == NULL)
        return NULL;
    c->relay =
        (struct sio_relay){tell, forget, answer_event, opened, closing, room_changed, cluster_free};
    c->io = io;
    c->space.attachments_max = io->max_attachments;
    c->bus = bus;
    c->options = *options;
    c->options.max_owed = options->max_owed != 0 ? options->max_owed : 10000;
    c->options.max_answer = options->max_answer != 0 ? options->max_answer : 8 << 20;
    c->dialect = options->sharded ? SIO_SHARDED : SIO_CLASSIC;
    memcpy(c->prefix, prefix, strlen(prefix));
    name_table_init(&c->nodes, io->account, io->sockets.key);
    name_table_init(&c->far, io->account, io->sockets.key);
    if (open_all(c)) {
        io->relay = &c->relay;
        return c;
    }
    close_all(c);
    c->bus = NULL;
    cluster_free(&c->relay);
    return NULL;
}

/* The struct stays until the end of the server: questions may still be answered by the bus, and the
 * owners of others are told at the end. */
void sio_cluster_free(struct sio_cluster *c)
{
    if (c == NULL)
        return;
    close_all(c);
    c->bus = NULL;
}
