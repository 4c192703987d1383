/* SPDX-License-Identifier: MIT
 *
 * A connection under load; see client.h. */
#include "client.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "polling.h"

enum { CARRY_MAX = 4096, SOURCES = 8, CONTROL_MAX = 125 };

/* RFC 6455 §1.3: this key has this answer. The same key is used for all connections: the server
 * must compute the answer each time. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
static const char accept_value[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void client_fail(const struct client *c, const char *what)
{
    errx(EXIT_FAILURE, "connection %u after %llu replies: %s", c->index,
         (unsigned long long)c->done, what);
}

/* --- opening ---------------------------------------------------------------------------------- */

void client_plan_request(struct client_plan *plan, const char *path)
{
    const char *upgrade = plan->protocol == STREAM_POLLING ? "Accept: */*\r\n"
                                                           : "Upgrade: websocket\r\n"
                                                             "Connection: Upgrade\r\n"
                                                             "Sec-WebSocket-Key: " KEY "\r\n"
                                                             "Sec-WebSocket-Version: 13\r\n";
    int n = snprintf(plan->request, sizeof plan->request,
                     "GET %s HTTP/1.1\r\n"
                     "Host: 127.0.0.1:%u\r\n"
                     "%s\r\n",
                     path, ntohs(plan->server.sin_port), upgrade);

    if (n < 0 || (size_t)n >= sizeof plan->request)
        errx(EXIT_FAILURE, "the path is too long");
    plan->request_len = (size_t)n;
}

/* Connections use several source addresses of the loopback net, since one has too few ports. */
static void bind_source(int fd, unsigned index)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % SOURCES);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0)
        err(EXIT_FAILURE, "bind");
}

int client_socket(struct client *c, const struct client_plan *plan, bool wait)
{
    const struct sockaddr_in *server = c->index == 0 ? &plan->first_server : &plan->server;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
    int on = 1;

    if (fd < 0)
        err(EXIT_FAILURE, "socket (see ulimit -n)");
    if (ntohl(plan->server.sin_addr.s_addr) >> 24 == 127)
        bind_source(fd, c->index);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) != 0 && errno != EINPROGRESS)
        err(EXIT_FAILURE, "connect");
    if (wait && fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        err(EXIT_FAILURE, "fcntl");
    if (epoll_ctl(plan->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        err(EXIT_FAILURE, "epoll_ctl");
    return fd;
}

void client_open(struct client *c, struct client_plan *plan, unsigned index)
{
    uint64_t *started_ns = c->started_ns;

    *c = (struct client){.state = CLIENT_CONNECTING, .index = index, .started_ns = started_ns};
    c->start = plan->shared_start != SIZE_MAX ? plan->shared_start
                                              : (size_t)index * 13 % plan->stream->count;
    c->fd = client_socket(c, plan, false);
}

void client_reset(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

void client_close(struct client *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    client_reset(c->fd);
    polling_close(c);
    free(c->carry);
    free(c->pong);
    c->carry = NULL;
    c->pong = NULL;
    c->state = CLIENT_CLOSED;
}

/* Send a small text that must leave whole: the handshake or a control frame. */
static void send_small(struct client *c, const void *data, size_t len)
{
    if (send(c->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
        client_fail(c, "cannot send");
}

static void connected(struct client *c, struct client_plan *plan)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        errx(EXIT_FAILURE, "connection %u: cannot connect: %s", c->index, strerror(error));
    if (plan->protocol == STREAM_POLLING) {
        polling_begin(c, plan);
        return;
    }
    send_small(c, plan->request, plan->request_len);
    c->state = CLIENT_UPGRADING;
}

/* The raw server sends the first bytes back, whatever they are. */
static size_t take_raw_hello(struct client *c, const struct client_plan *plan, const uint8_t *data,
                             size_t len)
{
    if (len < plan->request_len)
        return 0;
    if (memcmp(data, plan->request, plan->request_len) != 0)
        client_fail(c, "the greeting came back changed");
    c->state = CLIENT_READY;
    return plan->request_len;
}

static size_t take_upgrade(struct client *c, const struct client_plan *plan, const uint8_t *data,
                           size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    size_t head_len;

    if (plan->protocol == STREAM_RAW)
        return take_raw_hello(c, plan, data, len);
    if (end == NULL)
        return 0;
    head_len = (size_t)(end - data) + 4;
    if (memcmp(data, "HTTP/1.1 101", 12) != 0)
        errx(EXIT_FAILURE, "connection %u: not upgraded: %.*s", c->index, (int)head_len,
             (const char *)data);
    if (memmem(data, head_len, accept_value, sizeof accept_value - 1) == NULL)
        client_fail(c, "a wrong Sec-WebSocket-Accept");
    c->state = plan->protocol == STREAM_SOCKETIO ? CLIENT_JOINING : CLIENT_READY;
    return head_len;
}

/* One short frame of a server. Returns its length with `*payload` set, or 0 for more. */
static size_t take_short_frame(struct client *c, const uint8_t *data, size_t len,
                               const uint8_t **payload, size_t *payload_len)
{
    size_t header = len >= 2 && data[1] == 126 ? 4 : 2;

    if (len < header)
        return 0;
    if (data[1] > 126)
        client_fail(c, "an unexpected frame");
    *payload_len = header == 4 ? (size_t)data[2] << 8 | data[3] : data[1];
    *payload = data + header;
    return len - header < *payload_len ? 0 : header + *payload_len;
}

/* Socket.IO v5: "0{...}" opens the session, we send "40", the server answers "40{...}". */
static size_t take_join(struct client *c, const uint8_t *data, size_t len)
{
    const uint8_t *payload;
    size_t payload_len;
    size_t used = take_short_frame(c, data, len, &payload, &payload_len);
    uint8_t frame[STREAM_HEADER_MAX + 2];

    if (used == 0)
        return 0;
    if (payload_len > 0 && payload[0] == '0') {
        send_small(c, frame, stream_frame(frame, 1, (const uint8_t *)"40", 2, 0x12345678));
    } else if (payload_len >= 2 && memcmp(payload, "40", 2) == 0) {
        c->state = CLIENT_READY;
    } else {
        client_fail(c, "not a Socket.IO server");
    }
    return used;
}

/* --- replies ---------------------------------------------------------------------------------- */

static void owe_pong(struct client *c, uint8_t opcode, const uint8_t *payload, size_t len)
{
    free(c->pong);
    c->pong = malloc(STREAM_HEADER_MAX + len);
    if (c->pong == NULL)
        errx(EXIT_FAILURE, "out of memory");
    c->pong_len = stream_frame(c->pong, opcode, payload, len, 0x87654321);
}

void client_wrong_byte(const struct client *c, const struct stream *s, uint8_t is)
{
    size_t at = (c->start * s->reply_len + (size_t)(c->got % (s->count * s->reply_len))) %
                (s->count * s->reply_len);

    errx(EXIT_FAILURE, "connection %u: reply %llu, byte %llu of %zu: 0x%02x came for 0x%02x",
         c->index, (unsigned long long)(c->got / s->reply_len),
         (unsigned long long)(c->got % s->reply_len), s->reply_len, is, s->replies[at]);
}

/* Handle a byte that is not the next one of the replies. Only a frame of another kind may be
 * between two replies: a ping or a pong of the WebSocket, or the ping of Engine.IO. Returns bytes
 * used. */
static size_t take_between(struct client *c, const struct client_plan *plan, const uint8_t *data,
                           size_t len)
{
    const struct stream *s = plan->stream;
    uint64_t at = c->got % s->reply_len;
    const uint8_t *payload;
    size_t payload_len;
    size_t used;

    if (plan->protocol == STREAM_RAW || (at != 0 && at != s->reply_split))
        client_wrong_byte(c, s, data[0]);
    if (data[0] == 0x88)
        client_fail(c, "the server closes the connection");
    if (data[0] != 0x89 && data[0] != 0x8a &&
        !(plan->protocol == STREAM_SOCKETIO && data[0] == 0x81))
        client_wrong_byte(c, s, data[0]);
    used = take_short_frame(c, data, len, &payload, &payload_len);
    if (used == 0)
        return 0;
    if (data[0] == 0x81 && (payload_len != 1 || payload[0] != '2'))
        client_wrong_byte(c, s, data[1]);
    if (data[0] == 0x81)
        owe_pong(c, 1, (const uint8_t *)"3", 1);
    else if (data[0] == 0x89 && payload_len <= CONTROL_MAX)
        owe_pong(c, 10, payload, payload_len);
    return used;
}

static size_t equal_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t n = 0;

    while (n < len && a[n] == b[n])
        n++;
    return n;
}

/* Compare the received bytes with the cycle. Returns bytes used: all, except the start of a frame
 * between two replies. */
static size_t take_replies(struct client *c, const struct client_plan *plan, const uint8_t *data,
                           size_t len)
{
    const struct stream *s = plan->stream;
    size_t cycle = s->count * s->reply_len;
    size_t used = 0;

    while (used < len) {
        size_t at = (c->start * s->reply_len + (size_t)(c->got % cycle)) % cycle;
        size_t n = len - used < cycle - at ? len - used : cycle - at;
        bool equal = memcmp(data + used, s->replies + at, n) == 0;

        if (!equal)
            n = equal_bytes(data + used, s->replies + at, n);
        /* The ping of Engine.IO begins like a reply: with the byte of a text frame. */
        if (!equal && plan->protocol == STREAM_SOCKETIO && n > 0 &&
            ((c->got + n - 1) % s->reply_len == 0 ||
             (c->got + n - 1) % s->reply_len == s->reply_split))
            n--;
        c->got += n;
        used += n;
        if (!equal && (n = take_between(c, plan, data + used, len - used)) == 0)
            break;
        used += equal ? 0 : n;
    }
    return used;
}

static size_t take_some(struct client *c, const struct client_plan *plan, const uint8_t *data,
                        size_t len)
{
    switch ((enum client_state)c->state) {
    case CLIENT_UPGRADING:
        return take_upgrade(c, plan, data, len);
    case CLIENT_JOINING:
        return take_join(c, data, len);
    case CLIENT_READY:
        return take_replies(c, plan, data, len);
    case CLIENT_CONNECTING:
    case CLIENT_CLOSED:
        break;
    }
    client_fail(c, "bytes before the connection was open");
}

/* Keep bytes that are not handled yet. There are some only at the start and around a ping. */
static void carry(struct client *c, const uint8_t *data, size_t len)
{
    c->carry_len = len;
    if (len == 0 && c->carry == NULL)
        return;
    if (len == 0) {
        free(c->carry);
        c->carry = NULL;
        return;
    }
    if (len > CARRY_MAX)
        client_fail(c, "too much before the first reply");
    if (c->carry == NULL && (c->carry = malloc(CARRY_MAX)) == NULL)
        errx(EXIT_FAILURE, "out of memory");
    memcpy(c->carry, data, len);
}

static void take_all(struct client *c, struct client_plan *plan, size_t len)
{
    size_t used = 0;
    size_t n;

    do {
        n = take_some(c, plan, plan->buffer + used, len - used);
        used += n;
    } while (n > 0 && used < len);
    carry(c, plan->buffer + used, len - used);
}

/* Read until the socket is empty, since epoll is edge-triggered and reports only new bytes. A read
 * that did not fill the buffer has emptied the socket. */
static void receive(struct client *c, struct client_plan *plan)
{
    size_t room;
    ssize_t n;

    do {
        size_t kept = c->carry_len;

        if (kept > 0)
            memcpy(plan->buffer, c->carry, kept);
        room = sizeof plan->buffer - kept;
        n = recv(c->fd, plan->buffer + kept, room, 0);
        if (n == 0)
            client_fail(c, "the server has closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            client_fail(c, strerror(errno));
        if (n > 0)
            take_all(c, plan, kept + (size_t)n);
    } while (n == (ssize_t)room || (n < 0 && errno == EINTR));
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Send [c->sent, end) out of the cycle. Returns false when the socket takes no more. */
static bool send_until(struct client *c, const struct stream *s, uint64_t end)
{
    size_t cycle = s->count * s->request_len;

    while (c->sent < end) {
        size_t at = (c->start * s->request_len + (size_t)(c->sent % cycle)) % cycle;
        uint64_t left = end - c->sent;
        struct iovec iov[2];
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = 1};
        ssize_t n;

        iov[0] = (struct iovec){s->requests + at, left < cycle - at ? (size_t)left : cycle - at};
        left -= iov[0].iov_len;
        if (left > 0)
            iov[message.msg_iovlen++] =
                (struct iovec){s->requests, left < cycle ? (size_t)left : cycle};
        n = message.msg_iovlen == 1 ? send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
                                    : sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0 && errno != EINTR)
            client_fail(c, strerror(errno));
        c->sent += n < 0 ? 0 : (uint64_t)n;
    }
    return true;
}

void client_flush(struct client *c, const struct client_plan *plan)
{
    const struct stream *s = plan->stream;

    if (plan->protocol == STREAM_POLLING) {
        polling_flush(c, plan);
        return;
    }
    if (c->pong != NULL) {
        /* A pong is sent between two messages: first send the rest of the current one. */
        uint64_t boundary = (c->sent + s->request_len - 1) / s->request_len * s->request_len;

        c->blocked = !send_until(c, s, boundary);
        if (c->blocked)
            return;
        send_small(c, c->pong, c->pong_len);
        free(c->pong);
        c->pong = NULL;
    }
    c->blocked = !send_until(c, s, c->started * s->request_len);
}

static void websocket_ready(struct client *c, struct client_plan *plan, uint32_t events)
{
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        receive(c, plan);
    if (c->state == CLIENT_READY && (c->pong != NULL || (c->blocked && (events & EPOLLOUT) != 0)))
        client_flush(c, plan);
}

uint64_t client_ready(struct client *c, struct client_plan *plan, uint32_t events)
{
    uint64_t before = c->done;

    if (c->state == CLIENT_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(c, plan);
    if (c->state != CLIENT_CONNECTING && c->polling != NULL)
        polling_ready(c, plan);
    else if (c->state != CLIENT_CONNECTING)
        websocket_ready(c, plan, events);
    c->done = c->got / plan->stream->reply_len;
    return c->done - before;
}
