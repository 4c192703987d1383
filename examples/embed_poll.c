/* SPDX-License-Identifier: MIT
 *
 * minnow inside an event loop of the application, here one that uses poll(). Each line that is
 * typed is sent to every client, messages of clients are printed, and the end of the input (Ctrl-D)
 * stops the server.
 *
 *     ./build/examples/embed_poll 8080
 *
 * The same two calls work in any loop: wait until ws_server_fd() is readable, then call
 * ws_server_step(). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ws.h"

static void on_message(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    (void)opcode;
    printf("#%llu: %.*s\n", (unsigned long long)ws_conn_id(c), (int)len, (const char *)data);
    fflush(stdout);
}

/* Send a piece of the input to all clients. Returns false at its end. */
static bool read_input(struct ws_server *s)
{
    char text[4096];
    ssize_t n = read(STDIN_FILENO, text, sizeof text);

    if (n > 0)
        ws_broadcast(s, NULL, WS_OP_BINARY, text, (size_t)n); /* binary: it need not be UTF-8 */
    return n > 0;
}

static int loop(struct ws_server *s)
{
    struct pollfd fds[2] = {{.fd = ws_server_fd(s), .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    int going_on = 1;

    while (going_on > 0) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        if (fds[1].revents != 0 && !read_input(s)) {
            ws_server_stop(s);
            fds[1].fd = -1; /* poll() ignores it */
        }
        going_on = ws_server_step(s, 0); /* 0: poll() has waited already */
    }
    return going_on;
}

int main(int argc, char **argv)
{
    struct ws_options options = {.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 8080};
    struct ws_server *s = ws_server_new(&options);
    int result;

    if (s == NULL ||
        ws_server_handle(s, "/", &(struct ws_handlers){.on_message = on_message}) != 0) {
        perror("embed_poll");
        return 1;
    }
    result = loop(s);
    ws_server_free(s);
    return result != 0;
}
