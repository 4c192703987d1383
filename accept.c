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
    SHARED_BATCH = 1,    /* the same where other processes accept, too */
    FULL_MS = 250,       /* for others to accept clients for whom there is no place here */
    PAUSE_MS = 50,       /* after the first error; each further pause is twice as long, */
    PAUSE_MAX_MS = 1000, /* at most */
    REFUSED_MAX = 16     /* clients that were refused and whose input is still read and
                            discarded */
};

struct listener {
    struct source source;
    struct listen_file file;    /* none for TCP */
    struct sockaddr_storage at; /* that it is bound to */
    bool checks_host;
    bool shared; /* other processes accept from it, too */
};

/* --- errors ----------------------------------------------------------------------------------- */

/* With EPOLLEXCLUSIVE one of the processes that share a socket wakes up for a client, not all. Such
 * a watch can only be made and ended, not changed. */
static bool watch_one(const struct ws_server *s, struct listener *l, int op, bool accepting)
{
    uint32_t events = l->shared ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
    struct epoll_event event = {.events = accepting ? events : 0, .data.ptr = l};

    if (l->shared)
        op = accepting ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    return epoll_ctl(s->epoll_fd, op, l->source.fd, &event) == 0 ||
           (l->shared && errno == (accepting ? EEXIST : ENOENT));
}

/* False when epoll refuses one of them. */
static bool watch_all(const struct ws_server *s, int op, bool accepting)
{
    bool done = true;

    for (size_t i = 0; i < s->listener_count; i++)
        done &= watch_one(s, &s->listeners[i], op, accepting);
    return done;
}

/* Accept again a little later, so that the loop does not spin. */
static void pause_accepting(struct ws_server *s)
{
    watch_all(s, EPOLL_CTL_MOD, false);
    timer_set(&s->timers, &s->accept_timer, s->now_ms + s->accept_pause_ms);
    s->accept_pause_ms =
        2 * s->accept_pause_ms < PAUSE_MAX_MS ? 2 * s->accept_pause_ms : PAUSE_MAX_MS;
}

static bool is_full(const struct ws_server *s)
{
    return s->conns.count - s->refused_count >= s->options.max_clients;
}

/* There is no place left here, but another process that accepts from the same sockets may have one.
 * So this one leaves the line, before the next client comes: the kernel would wake it for that one,
 * and then nobody else. Who still waits after FULL_MS is refused. */
static void leave_to_others(struct ws_server *s)
{
    s->accept_full = true;
    watch_all(s, EPOLL_CTL_MOD, false);
    timer_set(&s->timers, &s->accept_timer, server_now(s) + FULL_MS);
}

static bool accept_one(struct ws_server *s, const struct listener *l, int *error);

static bool shares(const struct ws_server *s)
{
    return s->listener_count > 0 && s->listeners[0].shared;
}

/* Nobody else has taken them: they are refused, unless there is a place by now. */
static void accept_left_over(struct ws_server *s)
{
    int error = 0;

    s->accept_full = false;
    for (size_t i = 0; i < s->listener_count; i++) {
        int n = 0;

        while (n < BATCH && accept_one(s, &s->listeners[i], &error))
            n++;
    }
}

static void pause_ended(struct timer *t)
{
    struct ws_server *s = TIMER_OWNER(t, struct ws_server, accept_timer);

    if (s->accept_full)
        accept_left_over(s);
    if (is_full(s) && shares(s)) {
        leave_to_others(s);
        return;
    }
    if (s->spare_fd < 0)
        s->spare_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
    if (!watch_all(s, EPOLL_CTL_MOD, true))
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

/* Let it in, or refuse it. NULL: it got no place; `*result` says why. */
static struct ws_conn *client_came(struct ws_server *s, int fd, const struct address *peer,
                                   int *result)
{
    bool proxied = conn_client_is_proxy(s, peer);
    struct host *host = proxied ? NULL : host_of(s, peer);
    struct ws_conn *c;

    *result = WS_ERR_FULL;
    if (is_full(s)) {
        refuse_client(s, fd, host, &server_full);
        return NULL;
    }
    if (!conn_client_fits(s, host)) {
        refuse_client(s, fd, host, &address_full);
        return NULL;
    }
    c = conn_new(s, fd, host, proxied);
    *result = c == NULL ? WS_ERR_NOMEM : 0;
    return c;
}

/* Either a client has come, or *error says why not; EAGAIN: there is none. */
static bool accept_one(struct ws_server *s, const struct listener *l, int *error)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof storage;
    int fd = accept4(l->source.fd, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct address peer;
    struct ws_conn *c;
    int result;

    if (fd < 0) {
        *error = errno;
        return false;
    }
    peer = listen_address(&storage);
    c = client_came(s, fd, &peer, &result);
    if (c != NULL)
        c->req.checks_host = l->checks_host;
    return true;
}

/* Of the processes that wait for a shared socket the kernel wakes the one that has waited for it
 * longest. Whoever has accepted goes to the end of that line, so that they take turns. */
static void let_others_accept(struct ws_server *s, struct listener *l)
{
    watch_one(s, l, EPOLL_CTL_DEL, false);
    if (!watch_one(s, l, EPOLL_CTL_ADD, true))
        pause_accepting(s);
}

/* Some errors mean that one client has gone again (ECONNABORTED), and the next call works. When no
 * call of the batch works, accepting is paused. accept(2) */
void accept_ready(struct ws_server *s, struct listener *l)
{
    int batch = l->shared ? SHARED_BATCH : BATCH;
    bool some = false;
    int error = 0;

    if (s->accept_timer.link != NULL || s->draining)
        return; /* paused, but epoll_ctl() could not end the watch; or ended in this turn */
    if (l->shared && is_full(s)) {
        leave_to_others(s);
        return;
    }
    for (int i = 0; i < batch && !s->stopping && !is_out_of_descriptors(error); i++) {
        if (accept_one(s, l, &error))
            some = true;
        else if (error == EAGAIN || error == EWOULDBLOCK)
            break;
    }
    if (some) {
        s->accept_error = 0;
        s->accept_pause_ms = PAUSE_MS;
        if (l->shared && is_full(s))
            leave_to_others(s);
        else if (l->shared)
            let_others_accept(s, l);
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
    struct listener *l = &s->listeners[s->listener_count++];
    socklen_t len = sizeof l->at;

    *l = (struct listener){.source = {.fd = fd, .kind = SOURCE_LISTENER}, .file = *file};
    if (getsockname(fd, (struct sockaddr *)&l->at, &len) != 0)
        l->at.ss_family = AF_UNSPEC;
    s->listeners_known = s->listener_count;
}

static bool listen_all(struct ws_server *s, const char *const *bind_to)
{
    static const struct listen_file no_file;
    struct listen_set tcp = {0};
    char why[SENTENCE_SIZE / 2];
    size_t count = 0;

    if (listen_tcp(&tcp, bind_to, s->options.port, s->options.reuse_port, why, sizeof why) != 0)
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

/* The sockets listen already. */
static bool listen_given(struct ws_server *s, const char *const *bind_to)
{
    static const struct listen_file no_file;
    const int *fds = s->options.sockets;
    size_t count = 0;

    while (fds[count] >= 0)
        count++;
    s->listeners = calloc(count + 1, sizeof *s->listeners);
    if (s->listeners == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        listener_add(s, fds[i], &no_file);
        s->listeners[i].checks_host = listen_port(fds[i]) != 0 && checks_host(s, fds[i]);
        s->listeners[i].shared = true;
        for (size_t j = 0; bind_to != NULL && bind_to[j] != NULL; j++) {
            if (listen_unix_file(fds[i], bind_to[j], &s->listeners[i].file))
                break;
        }
    }
    return true;
}

bool accept_begin(struct ws_server *s)
{
    static const char *const loopback[] = {"127.0.0.1", NULL};
    bool listening;

    s->accept_timer.fire = pause_ended;
    s->accept_pause_ms = PAUSE_MS;
    s->spare_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
    /* epoll keeps pointers into the array, so it is complete before it is watched. */
    if (s->spare_fd < 0)
        return false;
    if (s->options.sockets != NULL)
        listening = listen_given(s, s->options.bind);
    else
        listening = listen_all(s, s->options.bind != NULL ? s->options.bind : loopback);
    return listening && (s->options.no_accept || watch_all(s, EPOLL_CTL_ADD, true));
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

void accept_give_back(struct ws_server *s)
{
    if (s->options.sockets == NULL)
        return;
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].file.name[0] != '\0')
            close(s->listeners[i].file.directory);
    }
    s->listener_count = 0;
}

/* As the listening socket that it came from says, also where that is closed: a draining server
 * answers by the same names as before. */
static bool adopted_checks_host(const struct ws_server *s, int fd)
{
    const struct listener *best = NULL;
    int best_fit = 0;

    for (size_t i = 0; i < s->listeners_known; i++) {
        int fit = listen_fits(&s->listeners[i].at, fd);

        if (fit > best_fit) {
            best = &s->listeners[i];
            best_fit = fit;
        }
    }
    return best != NULL ? best->checks_host : listen_port(fd) != 0 && checks_host(s, fd);
}

static bool become_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && ((flags & O_NONBLOCK) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

int ws_adopt(struct ws_server *s, int fd, const void *bytes, size_t len)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof storage;
    struct address peer;
    struct ws_conn *c;
    int result = s->stopped ? WS_ERR_CLOSED : WS_ERR_SYSTEM;

    if (s->stopped || getpeername(fd, (struct sockaddr *)&storage, &size) != 0 ||
        !become_nonblocking(fd)) {
        int error = errno;

        socket_close(fd);
        errno = error;
        return result;
    }
    peer = listen_address(&storage);
    c = client_came(s, fd, &peer, &result);
    if (c == NULL)
        return result;
    c->req.checks_host = adopted_checks_host(s, fd);
    conn_received(c, bytes, len);
    if (is_full(s) && shares(s) && s->accept_timer.link == NULL)
        leave_to_others(s);
    return 0;
}

void ws_server_drain(struct ws_server *s)
{
    s->draining = true;
    accept_close(s);
}

int ws_server_socket(const struct ws_server *s, size_t index)
{
    return index < s->listener_count ? s->listeners[index].source.fd : -1;
}

uint16_t ws_server_port(const struct ws_server *s)
{
    uint16_t port = 0;

    for (size_t i = 0; i < s->listener_count && port == 0; i++)
        port = listen_port(s->listeners[i].source.fd);
    return port;
}
