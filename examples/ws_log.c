/* SPDX-License-Identifier: MIT
 *
 * Print each message, and the code and reason with which a connection is closed. ws_log.html is its
 * page. */
#include <stdio.h>
#include <stdlib.h>

#include "ws.h"

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    (void)c;
    if (opcode == WS_OP_TEXT)
        printf("Received message: %.*s\n", (int)len, (const char *)data);
    else
        printf("Received binary message of %zu bytes\n", len);
    fflush(stdout);
}

static void on_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    (void)c;
    printf("Closed: %u %.*s\n", code, (int)len, reason);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const any[] = {"*", NULL};
    struct ws_options options = {.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 8080),
                                 .origins = any};
    struct ws_server *s = ws_server_new(&options);

    if (s == NULL ||
        ws_server_handle(
            s, "/", &(struct ws_handlers){.on_message = on_message, .on_close = on_close}) != 0) {
        perror("ws_log");
        return 1;
    }
    return ws_server_run(s) != 0;
}
