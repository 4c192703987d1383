/* SPDX-License-Identifier: MIT */
#include "ws.h"
#include <stdlib.h>
static void echo(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    ws_send(c, opcode, data, len);
}
int main(int argc, char **argv)
{
    uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 8080;
    struct ws_server *s = ws_server_new(&(struct ws_options){.port = port});
    if (s == NULL || ws_server_handle(s, "/", &(struct ws_handlers){.on_message = echo}) != 0)
        return 1;
    return ws_server_run(s) != 0;
}
