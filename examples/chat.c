/* SPDX-License-Identifier: MIT
 *
 * Rooms: all clients that connect to the same path get each other's messages, and are told who
 * joins and who leaves.
 *
 *     ./build/examples/chat 8080
 *
 * Then, in the console of two browser tabs that show http://127.0.0.1:8080/ (an error page will
 * do):
 *
 *     s = new WebSocket("ws://127.0.0.1:8080/tea"); s.onmessage = m => console.log(m.data)
 *     s.send("milk?") */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws.h"

enum { SENTENCE_MAX = 1000 }; /* bytes of one message */

/* Send "#7 <text>" to all members of the room of `c` except `except`. The frame is encoded once,
 * however many members there are; a member who reads too slowly is closed by the server, and the
 * others do not wait for it. */
static void tell_room(struct ws_conn *c, const struct ws_conn *except, const char *text, size_t len)
{
    char line[SENTENCE_MAX + 32];
    size_t n = (size_t)snprintf(line, sizeof line, "#%llu ", (unsigned long long)ws_conn_id(c));

    memcpy(line + n, text, len);
    ws_publish(ws_conn_server(c), ws_conn_room(c, 0), except, WS_OP_TEXT, line, n + len);
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    if (ws_join(c, ws_request_path(req)) != 0)
        ws_close(c, WS_CLOSE_TRY_LATER, "no room");
    else
        tell_room(c, c, "came", strlen("came"));
}

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    if (opcode != WS_OP_TEXT)
        ws_close(c, WS_CLOSE_UNSUPPORTED, "text only");
    else
        tell_room(c, NULL, data, len); /* at most .max_message bytes, see below */
}

static void on_close(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    (void)code;
    (void)reason;
    (void)reason_len;
    tell_room(c, c, "left", strlen("left")); /* still a member of its room */
}

int main(int argc, char **argv)
{
    struct ws_options options = {.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 8080};
    struct ws_handlers handlers = {.on_open = on_open,
                                   .on_message = on_message,
                                   .on_close = on_close,
                                   .max_message = SENTENCE_MAX};
    struct ws_server *s = ws_server_new(&options);

    if (s == NULL || ws_server_handle(s, "/", &handlers) != 0) {
        perror("chat");
        return 1;
    }
    return ws_server_run(s) != 0;
}
