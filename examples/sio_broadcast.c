/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO chat: each message is sent to all clients. sio_broadcast.html is its page. */
#include <stdlib.h>

#include "socketio/sio.h"

static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    if (sio_event_is(e, "message"))
        sio_emit_all(sio_socket_namespace(s), "message", e->args);
}

int main(int argc, char **argv)
{
    static const char *const any[] = {"*", NULL};
    struct ws_options options = {.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 3000)};
    struct ws_server *ws = ws_server_new(&options);
    struct sio_server *io =
        ws == NULL ? NULL : sio_server_new(ws, &(struct sio_options){.engine.origins = any});

    if (io == NULL || !sio_namespace_new(io, "/", &(struct sio_handlers){.on_event = on_event}))
        return 1;
    return ws_server_run(ws) != 0;
}
