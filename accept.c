/* SPDX-License-Identifier: MIT
 *
 * Accepting clients: the listening sockets of a server.
 *
 *     a client --> accept4() --> a place for it?   yes: a connection, see conn.c
 *                     |                            no: 503, or 429 if its address has too many
 *                     +--> an error: no accept4() for a while */
#define _GNU_SOURCE 1 /* accept4, and what -std=c11 hides; where this file is compiled alone */
#include "accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "conn_client.h"
#include "conn_http.h"
#include "conn_socket.h"
#include "listen.h"

enum {
    BATCH = 64,          /* clients accepted per turn and listener */
    PAUSE_MS = 50,       /* after the first error; each further pause is twice as long, */
    PAUSE_MAX_MS = 1000, /* at most */
    REFUSED_MAX = 16     /* clients that were refused and whose input is still read and
                            discarded */
};

struct listener {
    struct source source;
    struct listen_file file; /* none for TCP */
    bool checks_host;
};

/* --- errors ----------------------------------------------------------------------------------- */

/* False when epoll refuses one of them. */
static bool watch_all(const struct ws_server *s, int op, uint32_t events)
{
    bool done = true;

    for (size_t i = 0; i < s->listener_count; i++) {
        struct epoll_event event = {.events = events, .data.ptr = &s->listeners[i]};

        if (epoll_ctl(s->epoll_fd, op, s->listeners[i].source.fd, &event) != 0)
            done = false;
    }
    return done;
}

/* Accept again a little later, so that the loop does not spin. */
static void pause_accepting(struct ws_server *s)
{
    watch_all(s, EPOLL_CTL_MOD, 0);
    timer_set(&s->timers, &s->accept_timer, s->now_ms + s->accept_pause_ms);
    s->accept_pause_ms =
        2 * s->accept_pause_ms < PAUSE_MAX_MS ? 2 * s->accept_pause_ms : PAUSE_MAX_MS;
}

static void pause_ended(struct timer *t)
{
    struct ws_server *s = TIMER_OWNER(t, struct ws_server, accept_timer);

    if (s->spare_fd < 0)
        s->spare_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
    if (!watch_all(s, EPOLL_CTL_MOD, EPOLLIN))
        pause_accepting(s);
}

/* Close the spare descriptor, accept one client with it and close that, so that the client sees at
 * once that it is not served. */
static void close_one_client(struct ws_server *s, const struct listener *l)
{
    int fd;

    if (s->spare_fd < 0)
        return;
    close(s->spare_fd);
    fd = accept4(l->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    s->spare_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
}

static bool is_out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE;
}

/* Descriptors may become free at any moment; of other errors nothing is known, so the pauses get
 * longer. An error is logged once, until a client is accepted or another error comes. */
static void accept_failed(struct ws_server *s, const struct listener *l, int error)
{
    if (error != s->accept_error)
        server_log(s, WS_LOG_ERROR, "cannot let clients in (%zu are connected): accept4: %s",
                   s->conns.count, strerror(error));
    s->accept_error = error;
    if (is_out_of_descriptors(error)) {
        close_one_client(s, l);
        s->accept_pause_ms = PAUSE_MS;
    }
    pause_accepting(s);
}

/* --- clients ---------------------------------------------------------------------------------- */

/* The host of a peer; NULL for a Unix socket, and when out of memory: then no host's share
 * bounds the client, but it is accepted. */
static struct host *host_of(struct ws_server *s, const struct address *peer)
{
    return peer->len == 0 ? NULL : host_get(&s->hosts, host_key(peer->bytes, peer->len));
}

/* Why a client is not let in. */
struct refusal {
    int status;
    const char *why;
    const char *advice;
    const char *response; /* for a client that is closed at once */
};

#define RESPONSE(status)                                                                           \
    "HTTP/1.1 " status "\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"

static const struct refusal server_full = {503, "all places are taken", "ws_options.max_clients",
                                           RESPONSE("503 Service Unavailable")};
static const struct refusal address_full = {429, "too many connections from this address",
                                            "ws_options.max_per_ip",
                                            RESPONSE("429 Too Many Requests")};

/* The client gets a response, and then whatever it has sent must be read, or TCP resets the
 * connection and the client may never see it. Where too many are being refused already, it is
 * closed at once: that costs little, however many come. */
static void refuse_client(struct ws_server *s, int fd, struct host *host, const struct refusal *r)
{
    struct iovec piece = {(void *)r->response, strlen(r->response)};
    struct ws_conn *c;

    if (s->refused_count < REFUSED_MAX) {
        c = conn_new(s, fd, host, false);
        if (c == NULL)
            return;
        conn_client_refused(c);
        conn_refuse(c, r->status, r->why, r->advice);
        return;
    }
    server_log(s, WS_LOG_ERROR, "refused a client: %s (%s)", r->why, r->advice);
    host_release(&s->hosts, host);
    if (socket_send(fd, &piece, 1) < 0)
        server_log(s, WS_LOG_INFO, "a client that was refused has gone: %s", strerror(errno));
    socket_close(fd);
}

/* Either a client has come, or *error says why not; EAGAIN: there is none. */
static bool accept_one(struct ws_server *s, const struct listener *l, int *error)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof storage;
    int fd = accept4(l->source.fd, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct address peer;
    struct host *host;
    struct ws_conn *c;
    bool proxied;

    if (fd < 0) {
        *error = errno;
        return false;
    }
    peer = listen_address(&storage);
    proxied = conn_client_is_proxy(s, &peer);
    host = proxied ? NULL : host_of(s, &peer);
    if (s->conns.count - s->refused_count >= s->options.max_clients) {
        refuse_client(s, fd, host, &server_full);
    } else if (!conn_client_fits(s, host)) {
        refuse_client(s, fd, host, &address_full);
    } else {
        c = conn_new(s, fd, host, proxied);
        if (c != NULL)
            c->req.checks_host = l->checks_host;
    }
    return true;
}

/* Some errors mean that one client has gone again (ECONNABORTED), and the next call works. When no
 * call of the batch works, accepting is paused. accept(2) */
void accept_ready(struct ws_server *s, struct listener *l)
{
    bool some = false;
    int error = 0;

    if (s->accept_timer.link != NULL)
        return; /* paused, but epoll_ctl() could not end the watch */
    for (int i = 0; i < BATCH && !s->stopping && !is_out_of_descriptors(error); i++) {
        if (accept_one(s, l, &error))
            some = true;
        else if (error == EAGAIN || error == EWOULDBLOCK)
            break;
    }
    if (some) {
        s->accept_error = 0;
        s->accept_pause_ms = PAUSE_MS;
    }
    if (is_out_of_descriptors(error) ||
        (!some && error != 0 && error != EAGAIN && error != EWOULDBLOCK))
        accept_failed(s, l, error);
}

/* --- listening -------------------------------------------------------------------------------- */

/* Keeps errno, whatever the log callback does. */
static bool listen_failed(struct ws_server *s, const char *why)
{
    int error = errno;

    server_log(s, WS_LOG_ERROR, "cannot listen on %s", why);
    errno = error;
    return false;
}

/* Only programs on this machine reach a socket on loopback, and browsers are such programs: so
 * there the page of another host, whose name is pointed here, is refused also where no names are
 * given. */
static bool checks_host(const struct ws_server *s, int fd)
{
    const char *const *hosts = s->options.hosts;

    return (hosts != NULL && hosts[0] != NULL) || listen_is_loopback(fd);
}

/* The array has room for it. */
static void listener_add(struct ws_server *s, int fd, const struct listen_file *file)
{
    s->listeners[s->listener_count++] =
        (struct listener){.source = {.fd = fd, .kind = SOURCE_LISTENER}, .file = *file};
}

static bool listen_all(struct ws_server *s, const char *const *bind_to)
{
    static const struct listen_file no_file;
    struct listen_set tcp = {0};
    char why[SENTENCE_SIZE / 2];
    size_t count = 0;

    if (listen_tcp(&tcp, bind_to, s->options.port, why, sizeof why) != 0)
        return listen_failed(s, why);
    while (bind_to[count] != NULL)
        count++;
    s->listeners = calloc(tcp.count + count + 1, sizeof *s->listeners);
    if (s->listeners == NULL) {
        listen_close(&tcp);
        return false;
    }
    for (size_t i = 0; i < tcp.count; i++) {
        listener_add(s, tcp.fds[i], &no_file);
        s->listeners[i].checks_host = checks_host(s, tcp.fds[i]);
    }
    for (size_t i = 0; i < count; i++) {
        struct listen_file file;
        int fd;

        if (listen_unix_path(bind_to[i]) == NULL)
            continue;
        fd = listen_unix(bind_to[i], s->options.unix_mode, &file, why, sizeof why);
        if (fd < 0)
            return listen_failed(s, why);
        listener_add(s, fd, &file);
    }
    return true;
}

bool accept_begin(struct ws_server *s)
{
    static const char *const loopback[] = {"127.0.0.1", NULL};

    s->accept_timer.fire = pause_ended;
    s->accept_pause_ms = PAUSE_MS;
    s->spare_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
    /* epoll keeps pointers into the array, so it is complete before it is watched. */
    return s->spare_fd >= 0 &&
           listen_all(s, s->options.bind != NULL ? s->options.bind : loopback) &&
           watch_all(s, EPOLL_CTL_ADD, EPOLLIN);
}

void accept_close(struct ws_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        listen_unlink(&s->listeners[i].file);
        /* A forked child may have a duplicate: close() would not end the watch. */
        epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->listeners[i].source.fd, NULL);
        close(s->listeners[i].source.fd);
    }
    s->listener_count = 0;
    timer_cancel(&s->timers, &s->accept_timer);
}

uint16_t ws_server_port(const struct ws_server *s)
{
    uint16_t port = 0;

    for (size_t i = 0; i < s->listener_count && port == 0; i++)
        port = listen_port(s->listeners[i].source.fd);
    return port;
}
