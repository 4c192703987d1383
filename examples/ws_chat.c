/* SPDX-License-Identifier: MIT
 *
 * A chat room: each message is sent to all connected clients, including its sender. The server
 * itself removes clients that close. ws_chat.html is its page. */
#include <stdio.h>
#include <stdlib.h>

#include "ws.h"

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    ws_broadcast(ws_conn_server(c), NULL, opcode, data, len);
}

int main(int argc, char **argv)
{
    static const char *const any[] = {"*", NULL};
    struct ws_options options = {.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 8080),
                                 .origins = any};
    struct ws_server *s = ws_server_new(&options);

    if (s == NULL ||
        ws_server_handle(s, "/", &(struct ws_handlers){.on_message = on_message}) != 0) {
        perror("ws_chat");
        return 1;
    }
    return ws_server_run(s) != 0;
}
