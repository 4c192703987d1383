/* SPDX-License-Identifier: MIT
 *
 * The command line, the threads and the sockets of the broken server; see broken.h. */
#include "broken.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, LINGER_MS = 2000 };

/* --- the fault -------------------------------------------------------------------------------- */

bool fault_is(const struct fault *f, const char *name)
{
    return strcmp(f->name, name) == 0;
}

bool fault_has(const struct fault *f, const char *name, const char *value)
{
    return fault_is(f, name) && strcmp(f->value, value) == 0;
}

long fault_number(const struct fault *f, const char *name, long otherwise)
{
    return fault_is(f, name) ? strtol(f->value, NULL, 0) : otherwise;
}

bool fault_at(const struct fault *f, const char *name, long number)
{
    return fault_is(f, name) && strtol(f->value, NULL, 0) == number;
}

static void parse_fault(struct fault *f, const char *text)
{
    size_t len = strcspn(text, "=");

    snprintf(f->name, sizeof f->name, "%.*s", (int)len, text);
    if (text[len] == '=')
        snprintf(f->value, sizeof f->value, "%s", text + len + 1);
}

/* --- a connection ----------------------------------------------------------------------------- */

/* The mistake: it looks for the end of the input first, and what came before it is lost. The pause
 * lets the end come, as it would to a busy server. */
static bool sees_end_first(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

    if (!fault_is(c->fault, "fin-first"))
        return false;
    poll(NULL, 0, 5);
    return poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) != 0;
}

enum more conn_more(struct conn *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    uint8_t buffer[READ_SIZE];
    ssize_t n;

    if (poll(&p, 1, timeout_ms) == 0)
        return MORE_TIMEOUT;
    if (sees_end_first(c))
        return MORE_END;
    n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n <= 0)
        return MORE_END;
    bytes_add(&c->in, buffer, (size_t)n);
    return MORE_CAME;
}

void conn_take(struct conn *c, size_t len)
{
    c->at += len;
    if (c->at < c->in.len && c->at < READ_SIZE)
        return;
    memmove(c->in.data, c->in.data + c->at, conn_left(c));
    c->in.len -= c->at;
    c->at = 0;
}

void conn_flush(struct conn *c)
{
    /* The mistake: what send() does not take at once is lost. */
    int flags = MSG_NOSIGNAL | (fault_is(c->fault, "send-once") ? MSG_DONTWAIT : 0);
    size_t at = 0;

    while (at < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + at, c->out.len - at, flags);

        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
        if (fault_is(c->fault, "send-once"))
            break;
    }
    c->out.len = 0;
}

/* End our side first, and read what is still on its way: if it came to a closed socket, that would
 * answer with RST, and the client could lose our last words. RFC 6455 §7.1.1 */
static void linger(struct conn *c)
{
    conn_flush(c);
    shutdown(c->fd, SHUT_WR);
    do
        c->in.len = c->at = 0;
    while (conn_more(c, LINGER_MS) == MORE_CAME);
}

static void *serve(void *arg)
{
    struct conn *c = arg;

    if (http_serve(c))
        ws_serve(c);
    if (!fault_is(c->fault, "no-linger"))
        linger(c);
    close(c->fd);
    bytes_release(&c->in);
    bytes_release(&c->out);
    free(c);
    return NULL;
}

/* --- the listener ----------------------------------------------------------------------------- */

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "broken: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void start(int fd, const struct fault *fault, const struct utf8_rules *rules)
{
    struct conn *c = calloc(1, sizeof *c);
    pthread_attr_t attributes;
    pthread_t thread;
    int one = 1;

    if (c == NULL)
        die("calloc");
    *c = (struct conn){.fd = fd, .fault = fault, .rules = rules};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    if (pthread_create(&thread, &attributes, serve, c) != 0)
        die("pthread_create");
    pthread_attr_destroy(&attributes);
}

/* On a free port, which is told on stdout. */
static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct fault fault = {{0}, {0}};
    struct utf8_rules rules;
    int listener;

    if (argc == 3 && strcmp(argv[1], "--fault") == 0) {
        parse_fault(&fault, argv[2]);
    } else if (argc != 1) {
        fputs("usage: broken [--fault NAME[=VALUE]]\n", stderr);
        return 2;
    }
    utf8_rules_init(&rules, &fault);
    listener = listen_somewhere();
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0)
            start(fd, &fault, &rules);
    }
}
