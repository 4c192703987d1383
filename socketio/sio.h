/* SPDX-License-Identifier: MIT
 *
 * Socket.IO, protocol 5, on engineio.h: events with arguments, acknowledgements, rooms and
 * namespaces for unmodified Socket.IO v4 clients. A chat room for everybody:
 *
 *     static void on_event(struct sio_socket *s, const struct sio_event *e)
 *     {
 *         if (sio_event_is(e, "message"))
 *             sio_emit_all(sio_socket_namespace(s), "message", e->args);
 *     }
 *
 *     struct ws_server *ws = ws_server_new(&(struct ws_options){.port = 3000});
 *     struct sio_server *io = sio_server_new(ws, &(struct sio_options){0});
 *     sio_namespace_new(io, "/", &(struct sio_handlers){.on_event = on_event});
 *     ws_server_run(ws);
 *     ws_server_free(ws);
 *     sio_server_free(io);
 *
 * The rules of ws.h hold here too. Everything runs on the loop's thread. Any function may be called
 * from any callback; none of them calls back, and none frees a socket. Functions return 0 or more
 * on success, a WS_ERR_ or SIO_ERR_ below 0 on failure.
 *
 * A `struct sio_socket *` is one client in one namespace: a client that joins three namespaces has
 * three sockets on one connection. It is valid from on_auth (or, without that, on_connect) until
 * on_disconnect or on_abort returns.
 *
 * Servers that act as one, Node's among them, are in sio_cluster.h. What is done for many sockets
 * here is done in all of them then, and the calls of "all processes" below ask them.
 *
 * Left out on purpose: the msgpack parser, the script of the client. */
#ifndef SOCKETIO_SIO_H
#define SOCKETIO_SIO_H

#include "engineio.h"
#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sio_server;
struct sio_namespace;
struct sio_socket;

enum sio_result {
    SIO_ERR_TIMEOUT = -16, /* not acknowledged in time */
};

/* --- arguments -------------------------------------------------------------------------------- */

/* The arguments of an event or an acknowledgement: a list of JSON values,
 * "1,\"two\",{\"three\":3}", and the binary values whose placeholders in it are
 * {"_placeholder":true,"num":0} and so on. json.h reads and writes such lists. */
struct sio_args {
    struct ws_str list;
    const struct ws_str *attachments; /* NULL: none */
    size_t attachment_count;          /* at most 10: clients take no more */
};

struct sio_args sio_args(const char *list); /* borrowed, without attachments; "" is no argument */

/* The list that was written, borrowed until the next write. If the writer ran out of memory,
 * emitting the list returns WS_ERR_INVALID. */
struct sio_args sio_args_written(const struct json_writer *w);

/* Argument number `index`, from 0: a slice of args->list; data is NULL when there is none. */
struct ws_str sio_arg(const struct sio_args *args, size_t index);

/* The bytes of a binary argument, valid as long as `args`; data is NULL when `value` is no
 * placeholder. */
struct ws_str sio_binary(const struct sio_args *args, struct ws_str value);

/* Write the placeholder for attachment `num`. */
void sio_write_binary(struct json_writer *w, unsigned num);

/* An acknowledgement that a client waits for. It may be copied and answered later: if the socket
 * has ended by then, nothing happens. */
struct sio_ack {
    struct sio_server *server; /* NULL: the client wants none, or it was answered */
    int64_t id;
    char socket_id[EIO_ID_SIZE];
};

/* An event that a client emitted. All of it is valid until the callback returns; to answer later,
 * copy `ack`. */
struct sio_event {
    struct ws_str name;   /* as JSON: a string with its quotes, or a number */
    struct sio_args args; /* without the name */
    struct sio_args all;  /* with the name as first value: sio_emit(s, NULL, e->all) sends it */
    struct sio_ack *ack;  /* sio_answer() it if ack->server is not NULL; never NULL itself */
};

bool sio_event_is(const struct sio_event *e, const char *name); /* without quotes and escapes */

/* Acknowledge an event with `args`, once: it sets ack->server to NULL. Returns as sio_emit(), or
 * WS_ERR_CLOSED if no client waits for it (any more). */
int sio_answer(struct sio_ack *ack, struct sio_args args);

/* --- server ----------------------------------------------------------------------------------- */

/* All zero means the defaults of the reference. Borrowed until sio_server_new() returns, except
 * lists and strings, which must live as long as the server. */
struct sio_options {
    const char *path;            /* NULL: "/socket.io/" */
    struct eio_options engine;   /* transport, heartbeat, CORS; its `user` and connect_timeout_ms
                                      are not used */
    unsigned connect_timeout_ms; /* for a client to join its first namespace; 0: 45 s */
    unsigned recovery_ms;        /* for how long a client whose connection was cut can be
                                    recovered, with the events that it missed; 0: never. With it
                                    each event has one more argument at its end, a string with
                                    its offset, except requests and volatile events */
    bool recovery_asks;          /* call on_auth for recovered sockets too */
    size_t recovery_bytes;       /* of events kept in each namespace, and as many for its
                                    sockets; all namespaces that rules open share one such limit;
                                    0: 1 MiB */
    size_t max_binary;           /* bytes of one packet with all attachments; 0: 10 MiB */
    size_t max_namespaces;       /* that one client may be in; 0: limited only by its share of
                                    the memory */
    size_t max_rooms;            /* that one socket may be in; 0: 1024 */
    size_t max_acks;             /* that one socket may owe; 0: 1024 */
    const char *const *keep_headers; /* of the request of the handshake, for sio_socket_header();
                                        ends with NULL; NULL: none */

    /* May this client have a connection? As on_handshake in engineio.h. */
    const char *(*on_handshake)(struct sio_server *io, const struct eio_handshake *h);
    void *user; /* for sio_user() */
};

/* Serve Socket.IO. It has no namespace yet, not even "/". NULL when out of memory, or for a path or
 * an origin that ws_server_handle() does not take. sio_server_free() when done. */
struct sio_server *sio_server_new(struct ws_server *ws, const struct sio_options *options);

/* End every connection with "server shutting down" and accept no new ones. on_disconnect is called
 * later. For a clean end call it before ws_server_stop(). */
void sio_server_close(struct sio_server *io);

/* Call it after ws_server_free(), never before. For sockets that are left on_disconnect is called
 * from here; in it no function of ws.h may be called any more. */
void sio_server_free(struct sio_server *io);

void *sio_user(const struct sio_server *io);
struct ws_server *sio_ws_server(const struct sio_server *io);
struct eio_server *sio_engine(const struct sio_server *io);

/* --- namespaces ------------------------------------------------------------------------------- */

enum { SIO_FAR_ID_SIZE = 64 }; /* bytes of an id of another process as JSON, with a NUL */

/* An answer that another process waits for. It may be copied and answered later. */
struct sio_server_ack {
    struct sio_server *server; /* NULL: none is wanted, or it was given */
    uint64_t node;
    char request_id[SIO_FAR_ID_SIZE];
    char uid[SIO_FAR_ID_SIZE];
};

/* An event from another process; as struct sio_event. json_string_is(e->name, "x") tells which. */
struct sio_server_event {
    struct ws_str name;
    struct sio_args args;
    struct sio_args all;
    struct sio_server_ack *ack; /* sio_server_answer() it if ack->server is not NULL */
};

/* Callbacks of a namespace. Each may be NULL. */
struct sio_handlers {
    /* May this socket connect? Call sio_accept() or sio_refuse(), now or later. Until then it gets
     * and sends no events, and sio_find() does not return it, but it may join rooms and have data.
     * An application that answers later keeps `s`, and must forget it in on_abort. `auth` is the
     * JSON object that the client sent, "{}" if it sent none, valid until return. Without this
     * callback every socket is accepted. */
    void (*on_auth)(struct sio_socket *s, struct ws_str auth);

    /* The socket ended after on_auth and before on_connect, not by sio_refuse(): the connection
     * ended, or the client left the namespace or asked for it again, which calls on_auth for a new
     * socket. `s` is freed after return. */
    void (*on_abort)(struct sio_socket *s);

    /* The socket is connected, and CONNECT is sent to its client. `auth` as in on_auth. */
    void (*on_connect)(struct sio_socket *s, struct ws_str auth);

    /* The client emitted an event. `e` is valid until return. */
    void (*on_event)(struct sio_socket *s, const struct sio_event *e);

    /* After a send returned WS_QUEUED, or a broadcast reached the same mark: the client has read,
     * and more may be sent. */
    void (*on_drain)(struct sio_socket *s);

    /* The socket has ended, exactly once per on_connect. Its rooms are still there; `s` is freed
     * after return. `reason` is a text of the reference: "transport close", "ping timeout", "client
     * namespace disconnect", "server namespace disconnect" and so on. */
    void (*on_disconnect)(struct sio_socket *s, const char *reason);

    /* Another process of the cluster has called sio_server_emit() or sio_server_request(), or the
     * same of Node. `e` is valid until return. */
    void (*on_server_event)(struct sio_namespace *n, const struct sio_server_event *e);

    /* Write what another process that asks for sockets is to see of the data of `s`, as one JSON
     * value. Without this callback, and for what is not JSON or is nested deeper than 120, it is
     * {}. */
    void (*write_data)(struct sio_socket *s, struct json_writer *w);

    /* Gets the data of a socket that has ended, so that it can be freed: at once, or when the
     * socket cannot be recovered any more (recovery_ms). */
    void (*on_forget)(struct sio_namespace *n, void *data);

    void *user; /* for sio_namespace_user() */
};

/* Open namespace `name` ("/", "/admin"). Name and handlers are copied. NULL when out of memory,
 * when it exists already, or for a name that does not begin with '/', has a comma or control
 * characters or more than 1024 bytes. It exists as long as the server. */
struct sio_namespace *sio_namespace_new(struct sio_server *io, const char *name,
                                        const struct sio_handlers *handlers);

/* Open namespaces when clients ask for them: `match` decides whether a namespace with that name may
 * be opened for a client with that `auth`; `user` is that of the handlers, which are copied. Rules
 * are tried in the order in which they were made. Such a namespace ends with its last socket (and
 * its last recoverable one). Returns 0 or WS_ERR_NOMEM. */
int sio_namespace_rule(struct sio_server *io,
                       bool (*match)(void *user, struct ws_str name, struct ws_str auth),
                       const struct sio_handlers *handlers);

struct sio_namespace *sio_namespace_find(const struct sio_server *io,
                                         const char *name);      /* or NULL */
struct ws_str sio_namespace_name(const struct sio_namespace *n); /* valid as long as `n` */
struct sio_server *sio_namespace_server(const struct sio_namespace *n);
void *sio_namespace_user(const struct sio_namespace *n);
size_t sio_namespace_count(const struct sio_namespace *n); /* connected sockets */

/* Walk the connected sockets: sio_first(), then sio_next() until NULL. Emitting and disconnecting
 * on the way is allowed. */
struct sio_socket *sio_first(const struct sio_namespace *n);
struct sio_socket *sio_next(const struct sio_socket *s);

/* --- sockets ---------------------------------------------------------------------------------- */

/* Accept a socket whose on_auth has been called. on_connect follows. Returns 0, or WS_ERR_CLOSED if
 * it does not wait for an answer. */
int sio_accept(struct sio_socket *s);

/* Refuse the socket: the client gets an Error with that message, and `data` (one JSON value, or all
 * zero for none) in it; both are copied. `s` ends after the callback that is running, or soon.
 * Returns 0, WS_ERR_CLOSED, or WS_ERR_INVALID for data that is not JSON. */
int sio_refuse(struct sio_socket *s, const char *message, struct ws_str data);

/* Emit an event to one client.
 *
 *   name   of the event; NULL: the first of the arguments is the name
 *   args   copied before return
 *
 * Returns WS_SENT, WS_QUEUED (the client reads slowly); else nothing was sent: WS_ERR_CLOSED,
 * WS_ERR_FULL (engine.max_output), WS_ERR_NOMEM, WS_ERR_INVALID for arguments that are no list of
 * JSON, a placeholder without its attachment, too many of these, or a reserved name. */
int sio_emit(struct sio_socket *s, const char *name, struct sio_args args);

/* The same, but if it cannot be sent at once, it is dropped and EIO_DROPPED returned. */
int sio_emit_volatile(struct sio_socket *s, const char *name, struct sio_args args);

/* An answer to sio_request() or sio_request_all(). */
struct sio_reply {
    int error;                 /* 0, SIO_ERR_TIMEOUT, or WS_ERR_CLOSED: the socket has ended */
    struct sio_socket *socket; /* that answers; NULL: see sio_request_all() */
    bool is_remote;            /* it is the answer of another process, or of a client of one, and
                                  `socket` is NULL */
    struct sio_args args;      /* of the client's answer */
    size_t expected;           /* answers wanted, */
    size_t received;           /* and received so far, with this one */
};
typedef void sio_reply_fn(void *arg, const struct sio_reply *reply);

/* Emit an event and ask for an acknowledgement. fn(arg, reply) is called exactly once, never from
 * inside this call, unless this call fails; `reply` is valid until it returns. `timeout_ms` 0 waits
 * as long as the socket lives. Returns as sio_emit(); WS_ERR_FULL too when the client owes max_acks
 * answers. */
int sio_request(struct sio_socket *s, const char *name, struct sio_args args, unsigned timeout_ms,
                sio_reply_fn *fn, void *arg);

/* Leave this namespace ("server namespace disconnect"), or with `close` all namespaces and then the
 * connection. on_disconnect is called later, never from inside this call. A socket whose on_auth is
 * not answered stays, unless the connection ends: call sio_refuse() for it. */
void sio_disconnect(struct sio_socket *s, bool close);

bool sio_is_connected(const struct sio_socket *s);
bool sio_is_recovered(const struct sio_socket *s); /* it has its previous rooms, id and data */

/* 20 characters; public, unlike a session's. */
const char *sio_socket_id(const struct sio_socket *s);
struct sio_socket *sio_find(const struct sio_server *io, const char *id); /* connected, or NULL */
struct sio_namespace *sio_socket_namespace(const struct sio_socket *s);
/* NULL once the connection has ended, so in most on_disconnect and on_abort. */
struct eio_session *sio_socket_session(const struct sio_socket *s);

/* Parts of the request of the handshake. Valid as long as the socket. */
const char *sio_socket_address(const struct sio_socket *s); /* "127.0.0.1:5000" */
struct ws_str sio_socket_query(const struct sio_socket *s); /* for eio_query_get() */
/* One of keep_headers. */
struct ws_str sio_socket_header(const struct sio_socket *s, const char *name);

void sio_set_data(struct sio_socket *s, void *data); /* yours; NULL at first */
void *sio_data(const struct sio_socket *s);

/* --- rooms ------------------------------------------------------------------------------------ */

/* A room of a namespace exists while a socket is in it. Joining twice is the same as joining once.
 * Each socket is also in a room of its own, which is named by its id and is not counted. Names are
 * copied. Returns 0, WS_ERR_CLOSED, WS_ERR_NOMEM, WS_ERR_FULL (max_rooms) or WS_ERR_INVALID for a
 * name over 1024 bytes. */
int sio_join(struct sio_socket *s, const char *room);
void sio_leave(struct sio_socket *s, const char *room);
bool sio_is_in(const struct sio_socket *s, const char *room);

/* Room number `index`, the latest first, without the socket's own room; NULL behind the last one.
 * Valid until the socket leaves it. */
const char *sio_socket_room(const struct sio_socket *s, size_t index);

/* --- many sockets ----------------------------------------------------------------------------- */

/* Some of a namespace's connected sockets: those in any of the rooms `to`, or all; without those in
 * any of the rooms `except`, and without `sender`. No socket is in it twice. In a cluster they may
 * be in any process; a socket of another one is reached by the room that its id names. */
struct sio_target {
    struct sio_namespace *nsp;
    const char *const *to;     /* ends with NULL; NULL: all. SIO_ROOMS() makes such a list */
    const char *const *except; /* the same; NULL: none */
    struct sio_socket *sender; /* left out; NULL: none */
    bool is_volatile;          /* drop it for each socket to which it cannot be sent at once */
    bool is_local;             /* only sockets of this process */
};
#define SIO_ROOMS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Emit an event to all of them. It is encoded once for each transport. A client whose output is
 * full is disconnected; this does not affect the others. Returns to how many of this process it was
 * sent, or WS_ERR_NOMEM, WS_ERR_INVALID as sio_emit(). In a cluster the arguments may not be nested
 * deeper than 120, and WS_ERR_FULL means that the bus cannot take it; then nobody gets it. */
ptrdiff_t sio_publish(const struct sio_target *t, const char *name, struct sio_args args);

/* The same to all sockets of a namespace. */
ptrdiff_t sio_emit_all(struct sio_namespace *n, const char *name, struct sio_args args);

/* The same to all sockets of the sender's namespace except the sender. */
ptrdiff_t sio_broadcast(struct sio_socket *sender, const char *name, struct sio_args args);

/* Emit and ask each for an acknowledgement. fn(arg, reply) is called for every answer, and one
 * last time with reply->socket NULL (and not is_remote): without error when all have answered,
 * with SIO_ERR_TIMEOUT after `timeout_ms` (not 0), with WS_ERR_CLOSED when all sockets that have
 * not answered have ended. It is never called from inside this call, and not at all if this call
 * fails. A client that owes max_acks answers already is disconnected. In a cluster answers come
 * from clients of others, too (reply->is_remote); it ends without error when each process has said
 * how many clients got it, and all of these have answered; with WS_ERR_CLOSED, too, when the bus is
 * down and all clients of this process have answered. Of a client of another process it is not
 * known whether it has ended. Returns as sio_publish(). */
ptrdiff_t sio_request_all(const struct sio_target *t, const char *name, struct sio_args args,
                          unsigned timeout_ms, sio_reply_fn *fn, void *arg);

/* Write the first `max` of them that are in this process to `out`, an array of the caller. Returns
 * how many there are, even if that is more. They are valid until their on_disconnect returns. */
size_t sio_select(const struct sio_target *t, struct sio_socket **out, size_t max);

/* As sio_join(), sio_leave(), sio_disconnect() for each of them. sio_join_all() stops at the first
 * error; before, it tells the other processes of a cluster, and where these cannot be told
 * (WS_ERR_NOMEM, WS_ERR_FULL) no socket joins. The other two act here in any case. */
int sio_join_all(const struct sio_target *t, const char *room);
void sio_leave_all(const struct sio_target *t, const char *room);
void sio_disconnect_all(const struct sio_target *t, bool close);

/* --- all processes ---------------------------------------------------------------------------- */

/* These ask all processes of the cluster (sio_cluster.h); without one only this process answers.
 *
 * Each takes a function that is called for every answer, and once more for the end, never from
 * inside the call: with 0 when all processes have answered; with SIO_ERR_TIMEOUT when some were
 * silent for `timeout_ms` (0: 5 s); with WS_ERR_CLOSED when the bus is down, so that the others
 * could not be asked, or when the server is freed; with WS_ERR_NOMEM when some of the answers were
 * lost. What has come before is right in any case. They return 0; or WS_ERR_NOMEM, WS_ERR_INVALID,
 * WS_ERR_FULL as sio_publish(), or WS_ERR_CLOSED in sio_server_free(), and then the function is not
 * called. */

/* A socket in any process. All is valid until the callback returns. What another process has said
 * is legal JSON, and is not checked further: `handshake` may be missing (data NULL) or no object,
 * and `data` missing. */
struct sio_remote {
    const char *id;            /* for `to` and `except` of a target */
    struct ws_str handshake;   /* a JSON object: headers, time, address, query, auth and more */
    struct ws_str rooms;       /* a list of JSON strings, its id among them; of Node numbers, too */
    struct ws_str data;        /* a JSON value; see write_data */
    struct sio_socket *socket; /* NULL: it is in another process */
};

/* The sockets of a target; `socket` NULL: the end. */
typedef void sio_fetch_fn(void *arg, const struct sio_remote *socket, int error);
int sio_fetch(const struct sio_target *t, unsigned timeout_ms, sio_fetch_fn *fn, void *arg);

/* The names of all rooms of a namespace, each one once, also those that are named by the ids of
 * sockets; data NULL: the end. Of the target only `nsp` and `is_local` count. */
typedef void sio_rooms_fn(void *arg, struct ws_str room, int error);
int sio_rooms(const struct sio_target *t, unsigned timeout_ms, sio_rooms_fn *fn, void *arg);

/* Emit an event to all other processes, to on_server_event there, and not to clients; `name` and
 * `args` as in sio_emit(), and any name is allowed. Without a cluster there are none. The second
 * one asks for an answer: fn(arg, reply) gets each one (reply->is_remote), and the end. The first
 * one returns 0 when it is published, not when it has come; else as the others. */
int sio_server_emit(struct sio_namespace *n, const char *name, struct sio_args args);
int sio_server_request(struct sio_namespace *n, const char *name, struct sio_args args,
                       unsigned timeout_ms, sio_reply_fn *fn, void *arg);

/* Answer an event of another process, once: it sets ack->server to NULL. Only the first of `args`
 * goes there. Returns 0, WS_ERR_CLOSED if nobody waits for it (any more), or as
 * sio_server_emit(). */
int sio_server_answer(struct sio_server_ack *ack, struct sio_args args);

#ifdef __cplusplus
}
#endif

#endif
