/* SPDX-License-Identifier: MIT
 *
 * One connection of the load generator: it opens, upgrades, sends its part of the cycle of
 * messages, and compares every byte that comes back with what must come. Only load.c uses it: that
 * file owns the epoll loop, decides when to send, and measures the time. Any error ends the program
 * with a line that says what and where: results of a server that answers wrongly are worth
 * nothing. */
#ifndef CLIENT_H
#define CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

enum { CLIENT_BUFFER_SIZE = 256 * 1024 };

enum client_state {
    CLIENT_CLOSED,
    CLIENT_CONNECTING,
    CLIENT_UPGRADING, /* the HTTP request is sent */
    CLIENT_JOINING,   /* Socket.IO: the WebSocket or the session is open, the namespace is not */
    CLIENT_READY
};

/* What all connections have in common. */
struct client_plan {
    struct sockaddr_in server;
    struct sockaddr_in first_server; /* of the client with index 0 */
    enum stream_protocol protocol;
    const struct stream *stream;
    int epoll_fd;
    char request[512]; /* the opening handshake */
    size_t request_len;
    size_t shared_start; /* where in the cycle all connections start, for a room; SIZE_MAX: each
                            at another place */
    uint8_t buffer[CLIENT_BUFFER_SIZE];
};

struct client {
    int fd;
    uint8_t state; /* enum client_state */
    bool blocked;  /* the socket took less than all */
    unsigned index;
    size_t start;     /* its first message in the cycle */
    uint64_t started; /* messages to send so far */
    uint64_t done;    /* messages that came back whole */
    uint64_t sent;    /* bytes of messages sent, in total */
    uint64_t got;     /* bytes of replies received, in total */
    uint64_t opened_ns;
    uint64_t *started_ns; /* when each message in flight was started: a ring, owned by load.c */
    uint8_t *carry;       /* received and not handled yet, or NULL */
    size_t carry_len;
    uint8_t *pong; /* a frame to send after the current message; or NULL */
    size_t pong_len;
    struct polling *polling; /* owned; NULL with another protocol */
};

/* Write the opening handshake for `path` into the plan. */
void client_plan_request(struct client_plan *plan, const char *path);

/* Begin to connect, and watch the socket in plan->epoll_fd (edge-triggered, data.ptr = c). */
void client_open(struct client *c, struct client_plan *plan, unsigned index);

/* Close at once with RST, so that no port stays in TIME_WAIT and the server sends nothing more. */
void client_close(struct client *c);

/* The socket is ready: send and receive as much as possible. Returns how many replies are now
 * complete. */
uint64_t client_ready(struct client *c, struct client_plan *plan, uint32_t events);

/* Send messages c->sent to c->started, as far as the socket takes them. */
void client_flush(struct client *c, const struct client_plan *plan);

/* For polling.c. A socket that connects to the server, watched in plan->epoll_fd; with `wait`,
 * connected. */
int client_socket(struct client *c, const struct client_plan *plan, bool wait);
void client_reset(int fd);
_Noreturn void client_fail(const struct client *c, const char *what);
/* The byte `is` came instead of the next byte of the replies. */
_Noreturn void client_wrong_byte(const struct client *c, const struct stream *s, uint8_t is);

#endif
