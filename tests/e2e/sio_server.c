/* SPDX-License-Identifier: MIT
 *
 * The server that real Socket.IO clients are tested against: sio_server PORT [recovery [MS]], or
 * sio_server PORT msgpack, for those with socket.io-msgpack-parser. It does what they ask for by
 * events, lets into /admin who knows the token, and keeps events for those who are cut off if told
 * so: events have one argument more then, and pings go out often, or each MS, so that the server
 * soon knows who was. About clients whose query has later=yes or later=no it decides a little
 * later. What it refuses goes to stdout. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../socketio/sio.h"

enum { LATER_MS = 50, NAME_SIZE = 64, RECOVERY_MS = 60000, HEARTBEAT_MS = 1000, STREAM_BATCH = 20 };

/* Numbers that one socket gets, some with every tick. */
struct stream {
    struct ws_server *ws;
    struct sio_server *io;
    char socket_id[EIO_ID_SIZE];
    int64_t next;
    int64_t end;
};

static const char *text_arg(const struct sio_event *e, size_t index, char out[NAME_SIZE])
{
    if (json_string(sio_arg(&e->args, index), out, NAME_SIZE) < 0)
        out[0] = '\0';
    return out;
}

static struct sio_args args_behind_first(const struct sio_event *e)
{
    struct sio_args args = e->args;
    struct ws_str value;

    json_next(&args.list, &value);
    return args;
}

static void stream_tick(void *arg)
{
    struct stream *stream = arg;
    struct sio_socket *s = sio_find(stream->io, stream->socket_id);
    char number[32];

    for (int i = 0; i < STREAM_BATCH && s != NULL && stream->next < stream->end; i++) {
        snprintf(number, sizeof number, "%lld", (long long)stream->next++);
        sio_emit(s, "number", sio_args(number));
    }
    if (s == NULL || stream->next == stream->end ||
        ws_timer_start(stream->ws, 1, stream_tick, stream) == NULL)
        free(stream);
}

/* ["stream", from, to] */
static void stream_start(struct sio_socket *s, const struct sio_event *e)
{
    struct stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL)
        return;
    stream->io = sio_namespace_server(sio_socket_namespace(s));
    stream->ws = sio_ws_server(stream->io);
    memcpy(stream->socket_id, sio_socket_id(s), sizeof stream->socket_id);
    json_integer(sio_arg(&e->args, 0), &stream->next);
    json_integer(sio_arg(&e->args, 1), &stream->end);
    stream_tick(stream);
}

/* What the client answered goes back to it, or the error. */
static void answered(void *arg, const struct sio_reply *reply)
{
    char error[32];

    (void)arg;
    snprintf(error, sizeof error, "%d", reply->error);
    if (reply->socket != NULL)
        sio_emit(reply->socket, "answered", reply->error == 0 ? reply->args : sio_args(error));
}

static void count_room(const struct sio_event *e, const struct sio_target *others)
{
    char number[32];

    snprintf(number, sizeof number, "%zu", sio_select(others, NULL, 0));
    sio_answer(e->ack, sio_args(number));
}

static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    char name[NAME_SIZE];
    struct sio_target others = {
        .nsp = sio_socket_namespace(s), .to = SIO_ROOMS(text_arg(e, 0, name)), .sender = s};

    if (sio_event_is(e, "echo"))
        sio_emit(s, "echo", e->args);
    else if (sio_event_is(e, "all"))
        sio_emit_all(others.nsp, "all", e->args);
    else if (sio_event_is(e, "join"))
        sio_join(s, name);
    else if (sio_event_is(e, "leave"))
        sio_leave(s, name);
    else if (sio_event_is(e, "to"))
        sio_publish(&others, "to", args_behind_first(e));
    else if (sio_event_is(e, "count others"))
        count_room(e, &others);
    else if (sio_event_is(e, "ask"))
        sio_request(s, "question", e->args, 200, answered, NULL);
    else if (sio_event_is(e, "stream"))
        stream_start(s, e);
    else if (sio_event_is(e, "kick"))
        sio_disconnect(s, false);
    else if (sio_event_is(e, "close"))
        sio_disconnect(s, true);
    sio_answer(e->ack, e->args);
}

static void on_auth(struct sio_socket *s, struct ws_str auth)
{
    if (json_string_is(json_member(auth, "token"), "secret"))
        sio_accept(s);
    else
        sio_refuse(s, "not authorized", ws_str("{\"content\":\"please retry later\"}"));
}

static void emit_auth(struct sio_socket *s, struct ws_str auth)
{
    sio_emit(s, "auth", (struct sio_args){.list = auth});
}

/* A client that waits. */
struct asked {
    struct eio_decision decision;
    bool accepted;
};

static void decide(void *arg)
{
    struct asked *asked = arg;

    eio_decide(&asked->decision, asked->accepted ? NULL : "not now");
    free(asked);
}

static const char *on_handshake(struct sio_server *io, const struct eio_handshake *h)
{
    struct ws_str later = ws_request_query_value(h->request, "later");
    struct asked *asked;

    if (later.data == NULL)
        return NULL;
    asked = calloc(1, sizeof *asked);
    if (asked == NULL)
        return "out of memory";
    asked->accepted = ws_str_is(later, "yes");
    asked->decision = eio_decide_later(sio_engine(io), h);
    if (ws_timer_start(sio_ws_server(io), LATER_MS, decide, asked) == NULL)
        decide(asked);
    return NULL;
}

static void on_connection_error(struct sio_server *io, const struct eio_connection_error *error)
{
    (void)io;
    printf("refused: %d %s %.*s\n", (int)error->code, error->message, (int)error->context.len,
           error->context.data == NULL ? "" : error->context.data);
    fflush(stdout);
}

static void on_signal(int number)
{
    (void)number;
    _Exit(0);
}

int main(int argc, char **argv)
{
    static const char *const any[] = {"*", NULL};
    const bool recovery = argc > 2 && strcmp(argv[2], "recovery") == 0;
    const bool msgpack = argc > 2 && strcmp(argv[2], "msgpack") == 0;
    const unsigned heartbeat_ms = argc > 3 ? (unsigned)atoi(argv[3]) : HEARTBEAT_MS;
    const struct sio_options options = {
        .engine = {.origins = any,
                   .ping_interval_ms = recovery ? heartbeat_ms : 0,
                   .ping_timeout_ms = recovery ? heartbeat_ms : 0},
        .parser = msgpack ? SIO_PARSER_MSGPACK : SIO_PARSER_DEFAULT,
        .recovery_ms = recovery ? RECOVERY_MS : 0,
        .on_handshake = on_handshake,
        .on_connection_error = on_connection_error,
    };
    const struct sio_handlers main_handlers = {.on_event = on_event};
    const struct sio_handlers admin_handlers = {
        .on_auth = on_auth, .on_connect = emit_auth, .on_event = on_event};
    struct ws_server *ws =
        ws_server_new(&(struct ws_options){.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 0)});
    struct sio_server *io = ws == NULL ? NULL : sio_server_new(ws, &options);

    if (io == NULL || sio_namespace_new(io, "/", &main_handlers) == NULL ||
        sio_namespace_new(io, "/admin", &admin_handlers) == NULL)
        return 1;
    signal(SIGTERM, on_signal);
    printf("listening on http://127.0.0.1:%u\n", ws_server_port(ws));
    fflush(stdout);
    return ws_server_run(ws) != 0;
}
