/* SPDX-License-Identifier: MIT
 *
 * Step 2: many clients at once. epoll tells which of them have sent something; the others cost
 * nothing.
 *
 *     cc learn/02_epoll.c -o echo && ./echo 8080
 *     nc 127.0.0.1 8080                              in two terminals */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64 };

struct client {
    int fd;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A socket that listens on 127.0.0.1. */
static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* start again at once */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(fd, 128) != 0)
        fail("listen");
    return fd;
}

/* --- clients ---------------------------------------------------------------------------------- */

/* epoll gives the pointer back with each event, so no table of clients is needed. */
static void client_new(int epoll, int fd)
{
    struct client *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (c == NULL)
        fail("calloc");
    c->fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

static void client_free(struct client *c)
{
    close(c->fd); /* epoll forgets a closed descriptor by itself */
    free(c);
}

/* The client has sent something, or has closed its side: then read() returns 0. */
static void client_ready(struct client *c)
{
    char data[4096];
    ssize_t n = read(c->fd, data, sizeof data);

    if (n <= 0 || write(c->fd, data, (size_t)n) < 0)
        client_free(c);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void accept_client(int epoll, int listener)
{
    int fd = accept(listener, NULL, NULL);

    if (fd < 0)
        fail("accept");
    client_new(epoll, fd);
}

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 8080);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* no client: the listener */
    struct epoll_event events[EVENTS];

    signal(SIGPIPE, SIG_IGN); /* a write to a client that has gone is an error, not our end */
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll");
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_client(epoll, listener);
            else
                client_ready(events[i].data.ptr);
        }
    }
}
