/* SPDX-License-Identifier: MIT
 *
 * Socket.IO for a page from another origin: sio_hello.html, served at http://127.0.0.1:5500, may
 * send its own header and cookies. The server answers each "sendToServer" with "sendToClient". */
#include <stdio.h>
#include <stdlib.h>

#include "socketio/sio.h"

static void on_connect(struct sio_socket *s, struct ws_str auth)
{
    (void)auth;
    printf("%s connected\n", sio_socket_id(s));
    fflush(stdout);
}

static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    if (!sio_event_is(e, "sendToServer"))
        return;
    printf("%s sent %.*s\n", sio_socket_id(s), (int)e->args.list.len, e->args.list.data);
    fflush(stdout);
    sio_emit(s, "sendToClient", sio_args("{\"message\":\"Hello from the server\"}"));
}

int main(int argc, char **argv)
{
    static const char *const origins[] = {"http://127.0.0.1:5500", NULL};
    const struct sio_options options = {.engine = {.origins = origins,
                                                   .cors_headers = "my-custom-header",
                                                   .cors_credentials = true}};
    const struct sio_handlers handlers = {.on_connect = on_connect, .on_event = on_event};
    struct ws_server *ws =
        ws_server_new(&(struct ws_options){.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 3000)});
    struct sio_server *io = ws == NULL ? NULL : sio_server_new(ws, &options);

    if (io == NULL || sio_namespace_new(io, "/", &handlers) == NULL) {
        perror("sio_hello");
        return 1;
    }
    return ws_server_run(ws) != 0;
}
