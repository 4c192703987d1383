/* SPDX-License-Identifier: MIT
 *
 * The server that the official Engine.IO and Socket.IO protocol test suites expect, with their
 * short times: suite_server PORT. PING_INTERVAL and PING_TIMEOUT in the environment override two of
 * them.
 *
 *   /engine.io/           every message comes back
 *   /socket.io/  /        emits "auth" with what the client sent to authenticate; answers "message"
 *                         by "message-back", acknowledges "message-with-ack", with the same
 *                         arguments
 *                /custom  emits "auth" only */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../socketio/sio.h"

enum { PING_INTERVAL_MS = 300, PING_TIMEOUT_MS = 200, CONNECT_TIMEOUT_MS = 1000, GREETING_MS = 30 };

static void echo(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    eio_send(s, opcode, data, len, 0);
}

/* An "auth" that waits. */
struct greeting {
    struct sio_server *io;
    char socket_id[EIO_ID_SIZE];
    size_t len;
    char auth[];
};

static void greet(void *arg)
{
    struct greeting *g = arg;
    struct sio_socket *s = sio_find(g->io, g->socket_id);

    if (s != NULL)
        sio_emit(s, "auth", (struct sio_args){.list = {g->auth, g->len}});
    free(g);
}

/* "auth" leaves a moment after the answer to CONNECT, not in the same segment: the WebSocket client
 * that the suite of Socket.IO comes with (ws 8.5) hands on all messages of one read at once, while
 * its tests wait for one at a time, and lose the second. */
static void emit_auth(struct sio_socket *s, struct ws_str auth)
{
    struct sio_server *io = sio_namespace_server(sio_socket_namespace(s));
    struct greeting *g = malloc(sizeof *g + auth.len);

    if (g == NULL)
        return;
    g->io = io;
    memcpy(g->socket_id, sio_socket_id(s), sizeof g->socket_id);
    g->len = auth.len;
    memcpy(g->auth, auth.data, auth.len);
    if (ws_timer_start(sio_ws_server(io), GREETING_MS, greet, g) == NULL)
        free(g);
}

static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    if (sio_event_is(e, "message"))
        sio_emit(s, "message-back", e->args);
    else if (sio_event_is(e, "message-with-ack"))
        sio_answer(e->ack, e->args);
}

static struct sio_server *serve_socketio(struct ws_server *ws, const struct eio_options *engine)
{
    const struct sio_options options = {.engine = *engine,
                                        .connect_timeout_ms = CONNECT_TIMEOUT_MS};
    const struct sio_handlers main_handlers = {.on_connect = emit_auth, .on_event = on_event};
    const struct sio_handlers custom_handlers = {.on_connect = emit_auth};
    struct sio_server *io = sio_server_new(ws, &options);

    if (io == NULL || sio_namespace_new(io, "/", &main_handlers) == NULL ||
        sio_namespace_new(io, "/custom", &custom_handlers) == NULL)
        return NULL;
    return io;
}

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

/* The number in `text`, from 1 to `max`; 0 when it is none. */
static unsigned number(const char *text, unsigned long max)
{
    char *end = NULL;
    unsigned long n;

    errno = 0;
    n = strtoul(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && n <= max ? (unsigned)n : 0;
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    unsigned n = text == NULL ? 0 : number(text, INT_MAX);

    return n != 0 ? n : otherwise;
}

/* The one variable of this file: a signal handler has no argument of its own. */
static struct ws_server *signalled;

static void stop(int signal_number)
{
    (void)signal_number;
    ws_server_stop(signalled); /* NOLINT(bugprone-signal-handler,cert-sig30-c): ws.h allows it */
}

int main(int argc, char **argv)
{
    static const char *const any[] = {"*", NULL};
    struct ws_options options = {.log = log_line};
    const struct eio_options engine = {
        .ping_interval_ms = from_environment("PING_INTERVAL", PING_INTERVAL_MS),
        .ping_timeout_ms = from_environment("PING_TIMEOUT", PING_TIMEOUT_MS),
        .max_payload = 1000000,
        .origins = any,
    };
    struct ws_server *ws;
    struct eio_server *e;
    struct sio_server *io;
    int result;

    if (argc != 2 || (options.port = (uint16_t)number(argv[1], UINT16_MAX)) == 0) {
        fprintf(stderr, "usage: suite_server PORT\n");
        return 2;
    }
    ws = ws_server_new(&options);
    if (ws == NULL)
        return 1;
    e = eio_server_new(ws, "/engine.io/", &engine, &(struct eio_handlers){.on_message = echo});
    io = serve_socketio(ws, &engine);
    if (e == NULL || io == NULL) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    signalled = ws;
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    printf("listening on http://127.0.0.1:%u\n", ws_server_port(ws));
    fflush(stdout);
    result = ws_server_run(ws);
    ws_server_free(ws);
    eio_server_free(e);
    sio_server_free(io);
    return result == 0 ? 0 : 1;
}
