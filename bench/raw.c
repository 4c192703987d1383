/* SPDX-License-Identifier: MIT
 *
 * The limit: what the kernel costs for moving the bytes, without any protocol. A plain TCP server
 * on epoll, level-triggered, one recv() per readiness into one shared buffer of 128 KiB.
 *
 *     raw echo PORT      every byte is sent back to its sender
 *     raw chat PORT      what came in one turn is sent to all, with one send() for each
 *
 * The first bytes of a connection are sent back to their sender in both modes: they take the place
 * of a handshake. `--flip N` changes one bit of every Nth piece sent, to test that the load
 * generator notices. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_SIZE = 128 * 1024, EVENT_BATCH = 256, ACCEPT_BATCH = 64, BACKLOG = 4096 };

struct peer {
    int fd;
    bool greeted;
    bool watched_out; /* epoll watches for EPOLLOUT, not for EPOLLIN */
    uint8_t *waiting; /* what the socket did not take, or NULL */
    size_t waiting_len;
    size_t index; /* in server.peers */
};

struct server {
    int epoll_fd;
    int listen_fd;
    bool room;
    unsigned flip; /* 0: never */
    unsigned sends;
    struct peer **peers;
    size_t count;
    size_t cap;
    uint8_t *gathered; /* room: what came in this turn */
    size_t gathered_len;
    size_t gathered_cap;
    uint8_t received[RECEIVE_SIZE];
};

static void *grown(void *data, size_t size)
{
    void *bigger = realloc(data, size);

    if (bigger == NULL)
        err(EXIT_FAILURE, "realloc");
    return bigger;
}

/* --- output ----------------------------------------------------------------------------------- */

static void peer_watch(struct server *s, struct peer *p)
{
    bool out = p->waiting_len > 0;
    struct epoll_event event = {.events = out ? EPOLLOUT : EPOLLIN, .data.ptr = p};

    if (out == p->watched_out)
        return;
    epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, p->fd, &event);
    p->watched_out = out;
}

static void peer_keep(struct peer *p, const uint8_t *data, size_t len)
{
    p->waiting = grown(p->waiting, p->waiting_len + len);
    memcpy(p->waiting + p->waiting_len, data, len);
    p->waiting_len += len;
}

/* Send now, and keep what does not fit. If the connection is broken, the next recv() fails. */
static void peer_send(struct server *s, struct peer *p, uint8_t *data, size_t len)
{
    ssize_t n = 0;

    if (s->flip != 0 && ++s->sends % s->flip == 0)
        data[len / 2] ^= 0x10;
    if (p->waiting_len == 0)
        n = send(p->fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return;
    n = n < 0 ? 0 : n;
    if ((size_t)n == len)
        return;
    peer_keep(p, data + n, len - (size_t)n);
    peer_watch(s, p);
}

static void peer_flush(struct server *s, struct peer *p)
{
    ssize_t n = send(p->fd, p->waiting, p->waiting_len, MSG_NOSIGNAL);

    if (n <= 0)
        return;
    p->waiting_len -= (size_t)n;
    memmove(p->waiting, p->waiting + n, p->waiting_len);
    if (p->waiting_len == 0) {
        free(p->waiting);
        p->waiting = NULL;
    }
    peer_watch(s, p);
}

/* --- input ------------------------------------------------------------------------------------ */

static void peer_free(struct server *s, struct peer *p)
{
    struct peer *last = s->peers[--s->count];

    s->peers[p->index] = last;
    last->index = p->index;
    close(p->fd);
    free(p->waiting);
    free(p);
}

static void gather(struct server *s, const uint8_t *data, size_t len)
{
    if (s->gathered_cap - s->gathered_len < len) {
        s->gathered_cap = s->gathered_cap * 2 + len;
        s->gathered = grown(s->gathered, s->gathered_cap);
    }
    memcpy(s->gathered + s->gathered_len, data, len);
    s->gathered_len += len;
}

static void peer_receive(struct server *s, struct peer *p)
{
    ssize_t n = recv(p->fd, s->received, sizeof s->received, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        peer_free(s, p);
        return;
    }
    if (s->room && p->greeted)
        gather(s, s->received, (size_t)n);
    else
        peer_send(s, p, s->received, (size_t)n);
    p->greeted = true;
}

static void peer_ready(struct server *s, struct peer *p, uint32_t events)
{
    if ((events & EPOLLOUT) != 0)
        peer_flush(s, p);
    else
        peer_receive(s, p);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void peer_new(struct server *s, int fd)
{
    struct peer *p = grown(NULL, sizeof *p);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
    int on = 1;

    if (s->count == s->cap) {
        s->cap = s->cap * 2 + 64;
        s->peers = grown(s->peers, s->cap * sizeof(struct peer *));
    }
    *p = (struct peer){.fd = fd, .index = s->count};
    s->peers[s->count++] = p;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void accept_some(struct server *s)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        peer_new(s, fd);
    }
}

static void fan_out(struct server *s)
{
    for (size_t i = 0; i < s->count; i++)
        peer_send(s, s->peers[i], s->gathered, s->gathered_len);
    s->gathered_len = 0;
}

static void serve(struct server *s)
{
    struct epoll_event events[EVENT_BATCH];

    for (;;) {
        int n = epoll_wait(s->epoll_fd, events, EVENT_BATCH, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == s)
                accept_some(s);
            else
                peer_ready(s, events[i].data.ptr, events[i].events);
        }
        if (s->gathered_len > 0)
            fan_out(s);
    }
}

static void start(struct server *s, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    struct rlimit limit;
    int on = 1;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(s->listen_fd, BACKLOG) != 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) != 0)
        err(EXIT_FAILURE, "port %u", port);
}

int main(int argc, char **argv)
{
    struct server *s = calloc(1, sizeof *s);

    if (s == NULL || (argc != 3 && !(argc == 5 && strcmp(argv[3], "--flip") == 0)))
        errx(2, "usage: raw echo|chat PORT [--flip N]");
    s->room = strcmp(argv[1], "echo") != 0;
    s->flip = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    start(s, (unsigned)strtoul(argv[2], NULL, 10));
    serve(s);
}
