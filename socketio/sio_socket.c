/* SPDX-License-Identifier: MIT
 *
 * A socket: a client asks for it, the application accepts or refuses it, it is connected, either
 * side ends it, and it is freed after on_disconnect or on_abort. */
#include "sio_socket.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "sio_conn.h"
#include "sio_emit.h"
#include "sio_namespace.h"
#include "sio_recovery.h"
#include "sio_room.h"

/* --- marking ---------------------------------------------------------------------------------- */

static void mark(struct sio_socket *s)
{
    struct sio_server *io = s->nsp->server;

    if (settle_mark(&io->marked, &s->mark))
        sio_server_post(io);
}

/* --- connecting ------------------------------------------------------------------------------- */

static bool is_in(const struct sio_socket *s, struct ws_str nsp)
{
    return s->nsp->entry.len == nsp.len && memcmp(s->nsp->name, nsp.data, nsp.len) == 0;
}

struct sio_socket *sio_socket_in(const struct sio_conn *c, struct ws_str nsp)
{
    struct name_entry *e;

    if (c->first != NULL && is_in(c->first, nsp))
        return c->first;
    e = name_table_find(&c->members, nsp);
    return e == NULL ? NULL
                     : (struct sio_socket *)((char *)e - offsetof(struct sio_socket, member));
}

/* From now on sio_socket_in() finds it. False when out of memory. */
static bool member_add(struct sio_socket *s)
{
    struct sio_conn *c = s->conn;

    if (c->first != NULL)
        return name_table_add(&c->members, &s->member, sio_namespace_name(s->nsp));
    c->first = s;
    return true;
}

static void member_remove(struct sio_socket *s)
{
    struct sio_conn *c = s->conn;

    if (c->first == s)
        c->first = NULL;
    else
        name_table_remove(&c->members, &s->member);
}

static void link_socket(struct sio_socket *s)
{
    struct sio_namespace *n = s->nsp;

    s->next_of_conn = s->conn->sockets;
    if (s->next_of_conn != NULL)
        s->next_of_conn->previous_of_conn = s;
    s->conn->sockets = s;
    s->conn->socket_count++;
    s->previous = n->last;
    *(n->last == NULL ? &n->first : &n->last->next) = s;
    n->last = s;
}

struct sio_socket *sio_socket_new(struct sio_conn *c, struct sio_namespace *n)
{
    struct sio_server *io = c->server;
    struct sio_socket *s = ws_account_take(c->account, sizeof *s);

    if (s == NULL)
        return NULL;
    s->nsp = n;
    s->conn = c;
    if (!eio_id_new(io->engine, s->id) || !member_add(s)) {
        ws_account_give(c->account, s, sizeof *s);
        return NULL;
    }
    if (!name_table_add(&io->sockets, &s->entry, (struct ws_str){s->id, EIO_ID_LEN})) {
        member_remove(s);
        ws_account_give(c->account, s, sizeof *s);
        return NULL;
    }
    link_socket(s);
    return s;
}

static struct ws_str auth_of(const struct sio_socket *s)
{
    return ws_str(sio_socket_auth(s));
}

static void forget_auth(struct sio_socket *s)
{
    if (s->auth != NULL)
        ws_account_give(s->conn->account, s->auth, strlen(s->auth) + 1);
    s->auth = NULL;
}

/* on_auth is answered later, and on_connect gets the same object: copy it. Valid JSON has no
 * NUL. */
static bool remember_auth(struct sio_socket *s, struct ws_str auth)
{
    s->auth = ws_account_take(s->conn->account, auth.len + 1);
    if (s->auth != NULL)
        memcpy(s->auth, auth.data, auth.len);
    return s->auth != NULL;
}

static void send_connected(struct sio_socket *s)
{
    struct sio_packet p = {.type = SIO_CONNECT, .nsp = sio_namespace_name(s->nsp), .id = SIO_NO_ID};
    struct json_writer *w = sio_message_begin(s->nsp->server, &p);

    json_write_text(w, "{", 1);
    json_write_name(w, "sid");
    json_write_string(w, s->id, EIO_ID_LEN);
    if (s->pid != NULL) {
        json_write_name(w, "pid");
        json_write_string(w, s->pid, EIO_ID_LEN);
    }
    json_end_object(w);
    sio_conn_send(s->conn, &p);
}

/* A recovered client treats the events before its CONNECT packet as those that it has missed. If
 * some of them are not in the log any more, its connection ends, and the client starts as a new
 * socket with its next one. */
static void let_in(struct sio_socket *s, struct ws_str auth)
{
    assert(s->state <= SIO_ACCEPTED && s->conn->engine != NULL);
    s->state = SIO_CONNECTED;
    s->turn = (uint32_t)ws_server_turn(s->nsp->server->ws);
    s->abort_owed = false;
    s->disconnect_owed = true;
    s->nsp->connected++;
    eio_keep(s->conn->engine);
    if (s->recovered && !sio_recovery_replay(s))
        sio_conn_fail(s->conn);
    send_connected(s);
    if (s->auth == NULL && s->nsp->server->relay != NULL)
        remember_auth(s, auth); /* without memory other processes do not see it */
    if (s->nsp->handlers.on_connect != NULL)
        s->nsp->handlers.on_connect(s, auth);
}

static void ask(struct sio_socket *s, struct ws_str auth)
{
    assert(s->state == SIO_NEW);
    s->state = SIO_WAITING;
    s->abort_owed = true;
    s->nsp->handlers.on_auth(s, auth);
    if (s->state == SIO_ACCEPTED)
        let_in(s, auth);
    else if (s->state == SIO_WAITING && !remember_auth(s, auth))
        sio_conn_fail(s->conn);
}

void sio_socket_connect(struct sio_socket *s, struct ws_str auth)
{
    struct sio_server *io = s->nsp->server;

    if (!sio_recovery_begin(s, auth)) {
        sio_socket_end(s, "");
        sio_conn_fail(s->conn);
    } else if (s->nsp->handlers.on_auth != NULL && !(s->recovered && !io->options.recovery_asks)) {
        ask(s, auth);
    } else {
        let_in(s, auth);
    }
}

int sio_accept(struct sio_socket *s)
{
    if (s->state != SIO_WAITING)
        return WS_ERR_CLOSED;
    s->state = SIO_ACCEPTED;
    mark(s);
    return 0;
}

int sio_refuse(struct sio_socket *s, const char *message, struct ws_str data)
{
    if (s->state != SIO_WAITING)
        return WS_ERR_CLOSED;
    if (data.data != NULL && json_parse(data).data == NULL)
        return WS_ERR_INVALID;
    sio_conn_refuse(s->conn, sio_namespace_name(s->nsp), message, data);
    s->abort_owed = false;
    sio_socket_end(s, "");
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

void sio_socket_end(struct sio_socket *s, const char *reason)
{
    assert(s->state != SIO_ENDED);
    if (s->state == SIO_CONNECTED)
        s->nsp->connected--;
    s->state = SIO_ENDED;
    s->reason = reason;
    s->conn->socket_count--;
    member_remove(s);
    mark(s);
}

static void send_disconnect(struct sio_socket *s)
{
    struct sio_packet p = {
        .type = SIO_DISCONNECT, .nsp = sio_namespace_name(s->nsp), .id = SIO_NO_ID};

    sio_message_begin(s->nsp->server, &p);
    sio_conn_send(s->conn, &p);
}

static void disconnect_one(struct sio_socket *s)
{
    if (s->state != SIO_CONNECTED)
        return;
    send_disconnect(s);
    s->conn->crossed = true;
    sio_socket_end(s, "server namespace disconnect");
}

void sio_disconnect(struct sio_socket *s, bool close)
{
    struct sio_conn *c = s->conn;

    if (!close) {
        disconnect_one(s);
        return;
    }
    for (struct sio_socket *each = c->sockets; each != NULL; each = each->next_of_conn)
        disconnect_one(each);
    sio_conn_fail(c);
}

static void disconnect_member(void *arg, struct sio_socket *s)
{
    sio_disconnect(s, *(const bool *)arg);
}

void sio_disconnect_all(const struct sio_target *t, bool close)
{
    struct sio_relay *relay = SIO_RELAY(t);

    if (relay != NULL)
        relay->tell(relay,
                    &(struct sio_call){.type = SIO_DISCONNECT_ALL, .target = t, .close = close});
    sio_visit(t, disconnect_member, &close);
}

static void report(struct sio_socket *s)
{
    const struct sio_handlers *h = &s->nsp->handlers;

    if (s->disconnect_owed && h->on_disconnect != NULL)
        h->on_disconnect(s, s->reason);
    else if (s->abort_owed && h->on_abort != NULL)
        h->on_abort(s);
}

static void unlink_socket(struct sio_socket *s)
{
    struct sio_namespace *n = s->nsp;

    *(s->previous_of_conn == NULL ? &s->conn->sockets : &s->previous_of_conn->next_of_conn) =
        s->next_of_conn;
    if (s->next_of_conn != NULL)
        s->next_of_conn->previous_of_conn = s->previous_of_conn;
    *(s->previous == NULL ? &n->first : &s->previous->next) = s->next;
    *(s->next == NULL ? &n->last : &s->next->previous) = s->previous;
    name_table_remove(&n->server->sockets, &s->entry);
}

static void socket_free(struct sio_socket *s)
{
    struct sio_namespace *n = s->nsp;
    struct sio_conn *c = s->conn;

    assert(s->state == SIO_ENDED && s->waits == NULL && !settle_is_marked(&s->mark));
    sio_leave_rooms(s);
    unlink_socket(s);
    forget_auth(s);
    ws_account_give(c->account, s->pid, EIO_ID_SIZE);
    ws_account_give(c->account, s, sizeof *s);
    sio_conn_free_unused(c);
    sio_namespace_free_unused(n);
}

/* on_connect may end the socket, which marks it again. Then it is settled once more, since a marked
 * socket must not be freed. When the ws_server may be freed, no socket is accepted: its connection
 * ends next. */
static void settle(struct sio_socket *s)
{
    if (s->state == SIO_ACCEPTED && s->nsp->server->ws != NULL) {
        s->let_in_late = true;
        let_in(s, auth_of(s));
        if (s->nsp->server->relay == NULL)
            forget_auth(s);
    }
    if (s->state != SIO_ENDED || settle_is_marked(&s->mark))
        return;
    sio_waits_end(s);
    report(s);
    sio_recovery_end(s);
    socket_free(s);
}

static struct sio_socket *socket_of(struct settle_item *item)
{
    return (struct sio_socket *)((char *)item - offsetof(struct sio_socket, mark));
}

/* A client may be in any number of namespaces, and all its sockets end with its connection. So this
 * stops when the share of the turn is used up, and goes on in the next turn. */
void sio_sockets_settle(struct sio_server *io)
{
    struct settle_item *item;

    while ((item = settle_next(&io->marked)) != NULL) {
        settle(socket_of(item));
        if (io->ws != NULL && ws_turn_over(io->ws, 0))
            break;
    }
    if (settle_is_due(&io->marked))
        sio_server_post(io);
}

/* --- what is known of a socket ---------------------------------------------------------------- */

bool sio_is_connected(const struct sio_socket *s)
{
    return s->state == SIO_CONNECTED;
}

bool sio_is_recovered(const struct sio_socket *s)
{
    return s->recovered;
}

const char *sio_socket_id(const struct sio_socket *s)
{
    return s->id;
}

struct sio_namespace *sio_socket_namespace(const struct sio_socket *s)
{
    return s->nsp;
}

struct eio_session *sio_socket_session(const struct sio_socket *s)
{
    return s->conn->engine;
}

const char *sio_socket_address(const struct sio_socket *s)
{
    return s->conn->handshake;
}

const char *sio_socket_auth(const struct sio_socket *s)
{
    return s->auth != NULL ? s->auth : "{}";
}

/* Text number `index` of the connection's `handshake`. */
static struct ws_str handshake_text(const struct sio_socket *s, size_t index)
{
    const char *text = s->conn->handshake;

    while (index-- != 0)
        text += strlen(text) + 1;
    return ws_str(text);
}

struct ws_str sio_socket_query(const struct sio_socket *s)
{
    return handshake_text(s, 1);
}

struct ws_str sio_socket_header(const struct sio_socket *s, const char *name)
{
    const char *const *kept = s->nsp->server->options.keep_headers;
    struct ws_str text;

    for (size_t i = 0; kept != NULL && kept[i] != NULL; i++) {
        if (strcasecmp(kept[i], name) != 0)
            continue;
        text = handshake_text(s, 2 + i);
        return text.len == 0 ? (struct ws_str){NULL, 0}
                             : (struct ws_str){text.data + 1, text.len - 1};
    }
    return (struct ws_str){NULL, 0};
}

void sio_set_data(struct sio_socket *s, void *data)
{
    s->data = data;
}

void *sio_data(const struct sio_socket *s)
{
    return s->data;
}
