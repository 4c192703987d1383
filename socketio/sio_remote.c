/* SPDX-License-Identifier: MIT
 *
 * Questions of the application to all processes: which sockets are there, which rooms, and what it
 * asks itself. This process answers in the next turn of the loop, so that nothing is called from
 * inside the call; the others by the relay (sio_server.h), if there is one. */
#define _GNU_SOURCE 1 /* memrchr; where this file is compiled alone */
#include "sio_remote.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sio_emit.h"
#include "sio_namespace.h"
#include "sio_room.h"
#include "sio_socket.h"

enum {
    TIMEOUT_MS = 5000,
    DEPTH_MAX = JSON_DEPTH_MAX - 8 /* of auth and data: they lie in an answer, which is bounded */
};

struct sio_request {
    struct sio_server *server;
    struct sio_request *next; /* of the server */
    struct sio_request *previous;
    struct sio_far far;
    enum sio_adapter_type type; /* SIO_FETCH, SIO_LIST_ROOMS or SIO_SERVER_EMIT */
    struct ws_timer *timer;     /* for the answer of this process, then for those of the others */
    unsigned timeout_ms;
    bool answered;            /* this process has */
    bool out_of_memory;       /* not all could be told */
    char (*ids)[EIO_ID_SIZE]; /* sockets of this process; NULL: none */
    size_t id_count;
    struct name_table seen; /* names of rooms, of which each is told once */
    sio_fetch_fn *fetch_fn;
    sio_rooms_fn *rooms_fn;
    sio_reply_fn *reply_fn;
    void *arg;
    size_t received;
    char nsp[]; /* its name, since the namespace may end before */
};

/* The name of a room that was told. */
struct seen_room {
    struct name_entry entry;
    char name[];
};

/* --- what is told of a socket ----------------------------------------------------------------- */

static bool is_too_deep(struct ws_str value)
{
    struct ws_str token;
    size_t depth = 0;

    while (json_token(&value, &token)) {
        if (token.data[0] == '[' || token.data[0] == '{')
            depth++;
        else if (token.data[0] == ']' || token.data[0] == '}')
            depth--;
        if (depth > DEPTH_MAX)
            return true;
    }
    return false;
}

/* A client decides how deep its auth is. An answer that is too deep would hide all its sockets. */
static void write_bounded(struct json_writer *w, struct ws_str value)
{
    json_write_raw(w, is_too_deep(value) ? ws_str("{}") : value);
}

/* As JavaScript writes a date: "Sat Nov 28 2026 15:03:25 GMT+0000 (Coordinated Universal Time)". */
static void write_time(struct json_writer *w, int64_t seconds)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t at = (time_t)seconds;
    struct tm tm = {0};
    char text[128];
    int len;

    gmtime_r(&at, &tm);
    len = snprintf(text, sizeof text,
                   "%s %s %02d %04d %02d:%02d:%02d GMT+0000 (Coordinated Universal Time)",
                   days[tm.tm_wday % 7], months[tm.tm_mon % 12], tm.tm_mday, tm.tm_year + 1900,
                   tm.tm_hour, tm.tm_min, tm.tm_sec);
    json_write_string(w, text, (size_t)len);
}

/* When it connected, in milliseconds since 1970. */
static int64_t issued_ms(const struct sio_conn *c)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 -
           (int64_t)(ws_now_ms(c->server->ws) - c->began_ms);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The headers that are kept, by their names in lower case, as Node has them. */
static void write_headers(struct json_writer *w, const struct sio_socket *s)
{
    const char *const *kept = s->nsp->server->options.keep_headers;
    char name[128];

    json_begin_object(w);
    for (; kept != NULL && *kept != NULL; kept++) {
        struct ws_str value = sio_socket_header(s, *kept);
        size_t len = strlen(*kept);

        if (value.data == NULL || len >= sizeof name)
            continue;
        for (size_t i = 0; i <= len; i++)
            name[i] = lower((*kept)[i]);
        json_write_name(w, name);
        json_write_string(w, value.data, value.len);
    }
    json_end_object(w);
}

static void write_decoded(struct json_writer *w, struct ws_str raw)
{
    char text[1024];
    size_t len = eio_query_decode(text, sizeof text, raw);

    json_write_string(w, text, len < sizeof text ? len : sizeof text);
}

static void write_query(struct json_writer *w, struct ws_str query)
{
    struct ws_str name;
    struct ws_str value;

    json_begin_object(w);
    while (eio_query_next(&query, &name, &value)) {
        write_decoded(w, name);
        json_write_text(w, ":", 1);
        write_decoded(w, value);
    }
    json_end_object(w);
}

static void write_url(struct json_writer *w, const struct sio_socket *s)
{
    const char *path = s->nsp->server->options.path;
    struct ws_str query = sio_socket_query(s);
    struct json_writer url = {0};

    json_write_text(&url, path, strlen(path));
    json_write_text(&url, "?", 1);
    json_write_text(&url, query.data, query.len);
    json_write_string(w, url.data, url.len);
    json_writer_release(&url);
}

/* "127.0.0.1:5000" and "[::1]:5000" without the port and the brackets. */
static void write_host(struct json_writer *w, struct ws_str address)
{
    const char *colon = memrchr(address.data, ':', address.len);
    bool bracket = address.len != 0 && address.data[0] == '[';
    bool one = colon != NULL && memchr(address.data, ':', address.len) == colon;

    if (colon != NULL && (bracket || one))
        address.len = (size_t)(colon - address.data);
    if (bracket && address.len >= 2)
        address = (struct ws_str){address.data + 1, address.len - 2};
    json_write_string(w, address.data, address.len);
}

static void write_handshake(struct json_writer *w, const struct sio_socket *s)
{
    int64_t issued = issued_ms(s->conn);

    json_begin_object(w);
    json_write_name(w, "headers");
    write_headers(w, s);
    json_write_name(w, "time");
    write_time(w, issued / 1000);
    json_write_name(w, "address");
    write_host(w, ws_str(sio_socket_address(s)));
    json_write_name(w, "xdomain");
    json_write_bool(w, sio_socket_header(s, "Origin").data != NULL);
    json_write_name(w, "secure");
    json_write_bool(w, false);
    json_write_name(w, "issued");
    json_write_integer(w, issued);
    json_write_name(w, "url");
    write_url(w, s);
    json_write_name(w, "query");
    write_query(w, sio_socket_query(s));
    json_write_name(w, "auth");
    write_bounded(w, ws_str(sio_socket_auth(s)));
    json_end_object(w);
}

static void write_rooms(struct json_writer *w, const struct sio_socket *s)
{
    json_begin_array(w);
    json_write_string(w, s->id, EIO_ID_LEN);
    for (const struct sio_seat *seat = s->seats; seat != NULL; seat = sio_next_seat(seat)) {
        const char *room = sio_room_of(seat);

        json_write_string(w, room, strlen(room));
    }
    json_end_array(w);
}

/* The application may have written anything. */
static void write_data(struct json_writer *w, struct sio_socket *s)
{
    struct json_writer data = {0};

    if (s->nsp->handlers.write_data != NULL)
        s->nsp->handlers.write_data(s, &data);
    if (data.len != 0 && json_parse(json_written(&data)).data != NULL)
        write_bounded(w, json_written(&data));
    else
        json_write_raw(w, ws_str("{}"));
    json_writer_release(&data);
}

void sio_write_socket(struct json_writer *w, struct sio_socket *s)
{
    json_begin_object(w);
    json_write_name(w, "id");
    json_write_string(w, s->id, EIO_ID_LEN);
    json_write_name(w, "handshake");
    write_handshake(w, s);
    json_write_name(w, "rooms");
    write_rooms(w, s);
    json_write_name(w, "data");
    write_data(w, s);
    json_end_object(w);
}

/* False if that is more than `max` bytes: then nothing is written. */
static bool write_within(struct json_writer *w, const char *text, size_t max)
{
    size_t before = w->len;

    json_write_string(w, text, strlen(text));
    if (w->len <= max)
        return true;
    w->len = before;
    return false;
}

void sio_write_rooms(struct json_writer *w, const struct sio_namespace *n, size_t max)
{
    for (const struct sio_socket *s = sio_first(n); s != NULL; s = sio_next(s))
        if (!write_within(w, s->id, max))
            return;
    for (const char *room = NULL; (room = sio_next_room(n, room)) != NULL;)
        if (!write_within(w, room, max))
            return;
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct sio_request *request_of(struct sio_far *f)
{
    return (struct sio_request *)((char *)f - offsetof(struct sio_request, far));
}

/* One socket, as sio_write_socket() writes it. What is no such object is passed over. */
static void tell_socket(struct sio_request *r, struct ws_str json, struct sio_socket *s)
{
    struct ws_str id_value = json_member(json, "id");
    struct ws_str rooms = json_member(json, "rooms");
    char id[SIO_NAME_MAX + 1];
    struct sio_remote remote = {.id = id,
                                .handshake = json_member(json, "handshake"),
                                .rooms = json_inside(rooms),
                                .data = json_member(json, "data"),
                                .socket = s};

    if (json_string(id_value, id, sizeof id) > 0 && json_type(rooms) == JSON_ARRAY)
        r->fetch_fn(r->arg, &remote, 0);
}

static void tell_sockets(struct sio_request *r, struct ws_str list)
{
    struct ws_str value;

    while (json_next(&list, &value))
        if (json_type(value) == JSON_OBJECT)
            tell_socket(r, value, NULL);
}

static bool is_new_room(struct sio_request *r, struct ws_str name)
{
    struct ws_account *account = r->server->account;
    struct seen_room *room;

    if (name_table_find(&r->seen, name) != NULL)
        return false;
    room = ws_account_take(account, sizeof *room + name.len + 1);
    if (room == NULL) {
        r->out_of_memory = true;
        return false;
    }
    room->entry.len = (uint32_t)name.len;
    memcpy(room->name, name.data, name.len);
    if (name_table_add(&r->seen, &room->entry, (struct ws_str){room->name, name.len}))
        return true;
    ws_account_give(account, room, sizeof *room + name.len + 1);
    r->out_of_memory = true;
    return false;
}

static void tell_room(struct sio_request *r, struct ws_str name)
{
    if (name.len <= SIO_NAME_MAX && is_new_room(r, name))
        r->rooms_fn(r->arg, name, 0);
}

/* Names in JSON: strings, or numbers. */
static void tell_rooms(struct sio_request *r, struct ws_str list)
{
    struct ws_str value;

    while (json_next(&list, &value)) {
        char name[SIO_NAME_MAX + 1];
        ptrdiff_t len = json_string(value, name, sizeof name);

        if (len >= 0)
            tell_room(r, (struct ws_str){name, (size_t)len});
        else if (json_type(value) == JSON_NUMBER)
            tell_room(r, value);
    }
}

static void tell_reply(struct sio_request *r, const struct sio_adapter_message *m)
{
    const struct sio_reply reply = {
        .is_remote = true,
        .args = {m->list, m->attachments, m->attachment_count},
        .expected = r->far.others < 0 ? r->received + 1 : (size_t)r->far.others,
        .received = ++r->received,
    };

    r->reply_fn(r->arg, &reply);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void forget_rooms(struct sio_request *r)
{
    struct name_entry *e;
    size_t from = 0;

    while ((e = name_table_pop(&r->seen, &from)) != NULL)
        ws_account_give(r->server->account, e, sizeof(struct seen_room) + e->len + 1);
    name_table_release(&r->seen);
}

static void request_free(struct sio_request *r)
{
    struct sio_server *io = r->server;

    if (r->far.asked)
        io->relay->forget(io->relay, &r->far);
    *(r->previous == NULL ? &io->requests : &r->previous->next) = r->next;
    if (r->next != NULL)
        r->next->previous = r->previous;
    if (io->ws != NULL)
        ws_timer_cancel(r->timer);
    forget_rooms(r);
    if (r->id_count != 0)
        ws_account_give(io->account, r->ids, r->id_count * sizeof *r->ids);
    ws_account_give(io->account, r, sizeof *r + strlen(r->nsp) + 1);
}

static void request_end(struct sio_request *r, int error)
{
    const struct sio_request copy = *r;
    const struct sio_reply reply = {
        .error = error,
        .expected = r->far.others > 0 ? (size_t)r->far.others : 0,
        .received = r->received,
    };

    request_free(r);
    if (copy.fetch_fn != NULL)
        copy.fetch_fn(copy.arg, NULL, error);
    else if (copy.rooms_fn != NULL)
        copy.rooms_fn(copy.arg, (struct ws_str){NULL, 0}, error);
    else
        copy.reply_fn(copy.arg, &reply);
}

static void request_check(struct sio_request *r)
{
    const struct sio_far *f = &r->far;

    if (!r->answered || (f->asked && (f->others < 0 || f->reports < (size_t)f->others)))
        return;
    request_end(r, f->error != 0 ? f->error : r->out_of_memory ? WS_ERR_NOMEM : 0);
}

/* An answer of the right kind counts, whatever is in it. */
static void far_heard(struct sio_far *f, const struct sio_adapter_message *m)
{
    struct sio_request *r = request_of(f);

    if (m != NULL) {
        if (r->fetch_fn != NULL && m->type == SIO_ANSWER_SOCKETS)
            tell_sockets(r, m->names);
        else if (r->rooms_fn != NULL && m->type == SIO_ANSWER_ROOMS)
            tell_rooms(r, m->names);
        else if (r->reply_fn != NULL && m->type == SIO_ANSWER_SERVER)
            tell_reply(r, m);
        else
            return;
        f->reports++;
    }
    request_check(r);
}

/* --- this process ----------------------------------------------------------------------------- */

static void tell_own_sockets(struct sio_request *r)
{
    for (size_t i = 0; i < r->id_count; i++) {
        struct sio_socket *s = sio_find(r->server, r->ids[i]);
        struct json_writer w = {0};

        if (s == NULL)
            continue;
        sio_write_socket(&w, s);
        if (w.failed)
            r->out_of_memory = true;
        else
            tell_socket(r, json_written(&w), s);
        json_writer_release(&w);
    }
}

/* In two steps, for the application may open and end rooms when it is told of one. */
static void tell_own_rooms(struct sio_request *r)
{
    const struct sio_namespace *n = sio_namespace_named(r->server, ws_str(r->nsp));
    struct json_writer names = {0};

    if (n == NULL)
        return;
    sio_write_rooms(&names, n, SIZE_MAX);
    r->out_of_memory = r->out_of_memory || names.failed;
    tell_rooms(r, json_written(&names));
    json_writer_release(&names);
}

static void timer_fired(void *arg)
{
    struct sio_request *r = arg;
    struct sio_server *io = r->server;

    sio_callback_begin(io);
    if (r->answered) {
        request_end(r, SIO_ERR_TIMEOUT);
    } else {
        r->answered = true;
        ws_timer_set(r->timer, r->timeout_ms);
        if (r->type == SIO_FETCH)
            tell_own_sockets(r);
        else if (r->type == SIO_LIST_ROOMS)
            tell_own_rooms(r);
        request_check(r);
    }
    sio_callback_end(io);
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct sio_request *request_new(struct sio_namespace *n, enum sio_adapter_type type,
                                       unsigned timeout_ms, void *arg)
{
    struct sio_server *io = n->server;
    struct sio_request *r = ws_account_take(io->account, sizeof *r + n->entry.len + 1);

    if (r == NULL)
        return NULL;
    r->timer = ws_timer_new(io->ws, io->account, timer_fired, r);
    if (r->timer == NULL) {
        ws_account_give(io->account, r, sizeof *r + n->entry.len + 1);
        return NULL;
    }
    memcpy(r->nsp, n->name, n->entry.len);
    r->server = io;
    r->type = type;
    r->timeout_ms = timeout_ms != 0 ? timeout_ms : TIMEOUT_MS;
    r->arg = arg;
    r->far.heard = far_heard;
    name_table_init(&r->seen, io->account, io->sockets.key);
    r->next = io->requests;
    if (r->next != NULL)
        r->next->previous = r;
    io->requests = r;
    return r;
}

/* Ask the others, and let this process answer soon. */
static int request_start(struct sio_request *r, struct sio_call *call)
{
    struct sio_relay *relay = SIO_RELAY(call->target);
    int error = 0;

    call->type = r->type;
    call->far = &r->far;
    if (relay != NULL)
        error = relay->tell(relay, call);
    if (error == 0)
        ws_timer_set(r->timer, 0);
    else
        request_free(r);
    return error;
}

struct collecting {
    struct sio_request *request;
    size_t count;
};

static void collect(void *arg, struct sio_socket *s)
{
    struct collecting *c = arg;

    memcpy(c->request->ids[c->count++], s->id, EIO_ID_SIZE);
}

static bool collect_ids(struct sio_request *r, const struct sio_target *t)
{
    struct collecting c = {.request = r};
    size_t count = sio_select(t, NULL, 0);

    if (count == 0)
        return true;
    r->ids = ws_account_take(r->server->account, count * sizeof *r->ids);
    if (r->ids == NULL)
        return false;
    r->id_count = count;
    sio_visit(t, collect, &c);
    return true;
}

int sio_fetch(const struct sio_target *t, unsigned timeout_ms, sio_fetch_fn *fn, void *arg)
{
    struct sio_request *r;

    if (t->nsp->server->ws == NULL)
        return WS_ERR_CLOSED;
    r = request_new(t->nsp, SIO_FETCH, timeout_ms, arg);
    if (r == NULL)
        return WS_ERR_NOMEM;
    r->fetch_fn = fn;
    if (!collect_ids(r, t)) {
        request_free(r);
        return WS_ERR_NOMEM;
    }
    return request_start(r, &(struct sio_call){.target = t});
}

int sio_rooms(const struct sio_target *t, unsigned timeout_ms, sio_rooms_fn *fn, void *arg)
{
    const struct sio_target all = {.nsp = t->nsp, .is_local = t->is_local};
    struct sio_request *r;

    if (t->nsp->server->ws == NULL)
        return WS_ERR_CLOSED;
    r = request_new(t->nsp, SIO_LIST_ROOMS, timeout_ms, arg);
    if (r == NULL)
        return WS_ERR_NOMEM;
    r->rooms_fn = fn;
    return request_start(r, &(struct sio_call){.target = &all});
}

/* Servers may have events of any name. */
static bool is_legal(struct sio_namespace *n, const char *name, const struct sio_args *args)
{
    return sio_args_are_legal(n->server, args) &&
           (name != NULL || json_at(args->list, 0).data != NULL);
}

int sio_server_emit(struct sio_namespace *n, const char *name, struct sio_args args)
{
    struct sio_relay *relay = n->server->relay;
    const struct sio_target all = {.nsp = n};

    if (n->server->ws == NULL)
        return WS_ERR_CLOSED;
    if (!is_legal(n, name, &args))
        return WS_ERR_INVALID;
    if (relay == NULL)
        return 0;
    return relay->tell(
        relay,
        &(struct sio_call){.type = SIO_SERVER_EMIT, .target = &all, .name = name, .args = &args});
}

int sio_server_request(struct sio_namespace *n, const char *name, struct sio_args args,
                       unsigned timeout_ms, sio_reply_fn *fn, void *arg)
{
    const struct sio_target all = {.nsp = n};
    struct sio_request *r;

    if (n->server->ws == NULL)
        return WS_ERR_CLOSED;
    if (!is_legal(n, name, &args))
        return WS_ERR_INVALID;
    r = request_new(n, SIO_SERVER_EMIT, timeout_ms, arg);
    if (r == NULL)
        return WS_ERR_NOMEM;
    r->reply_fn = fn;
    return request_start(r, &(struct sio_call){.target = &all, .name = name, .args = &args});
}

int sio_server_answer(struct sio_server_ack *ack, struct sio_args args)
{
    struct sio_server *io = ack->server;

    ack->server = NULL;
    if (io == NULL || io->ws == NULL || io->relay == NULL)
        return WS_ERR_CLOSED;
    if (!sio_args_are_legal(io, &args))
        return WS_ERR_INVALID;
    return io->relay->answer(io->relay, ack, &args);
}

void sio_requests_end(struct sio_server *io)
{
    while (io->requests != NULL)
        request_end(io->requests, WS_ERR_CLOSED);
}
