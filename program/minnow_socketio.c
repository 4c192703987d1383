/* SPDX-License-Identifier: MIT
 *
 * The program's Socket.IO side; see minnow_socketio.h. */
#include "minnow_socketio.h"

#include <errno.h>

static bool any_name(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)name;
    (void)auth;
    return true;
}

static void acknowledge(struct sio_socket *s, const struct sio_event *e)
{
    if (e->ack->server != NULL && sio_answer(e->ack, e->args) < 0)
        sio_disconnect(s, true);
}

/* If a client's output is full, the event is lost for it. So it is disconnected, and can connect
 * again. */
static void echo_event(struct sio_socket *s, const struct sio_event *e)
{
    if (sio_emit(s, NULL, e->all) < 0)
        sio_disconnect(s, true);
    acknowledge(s, e);
}

static void chat_event(struct sio_socket *s, const struct sio_event *e)
{
    if (sio_emit_all(sio_socket_namespace(s), NULL, e->all) < 0)
        sio_disconnect(s, true); /* uncovered: no test makes malloc() fail in the program */
    acknowledge(s, e);
}

static int hand_over(void *arg, struct ws_conn *c, unsigned node)
{
    const struct minnow_worker *worker = arg;

    return bus_local_hand_over(worker->bus, node, c);
}

struct sio_server *minnow_socketio_new(struct ws_server *ws, const struct ws_options *options,
                                       struct minnow_worker *worker, bool echo)
{
    const struct sio_handlers handlers = {.on_event = echo ? echo_event : chat_event};
    struct sio_options o = {
        .engine = {.max_payload = options->max_message,
                   .max_output = options->max_queue,
                   .high_water = options->high_water,
                   .ping_interval_ms = options->ping_interval_ms,
                   .ping_timeout_ms = options->ping_timeout_ms},
    };
    struct sio_server *io;

    if (options->origins != NULL && options->origins[0] != NULL)
        o.engine.origins = options->origins;
    if (worker->is_worker) {
        o.engine.hand_over = hand_over;
        o.engine.hand_over_arg = worker;
        o.engine.node = (uint16_t)worker->number;
    }
    errno = 0;
    io = sio_server_new(ws, &o);
    if (io != NULL && sio_namespace_rule(io, any_name, &handlers) == 0)
        return io;
    if (io != NULL || errno == 0) /* max_memory may be too small: no system call has failed */
        errno = ENOMEM;
    return NULL; /* its endpoint is in the server: it can only be freed after the server */
}
