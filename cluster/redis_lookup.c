/* SPDX-License-Identifier: MIT
 *
 * Addresses of names; see redis_lookup.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "redis_lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_MAX_LEN = 254 };

bool redis_lookup_numeric(const char *host, struct redis_addresses *a)
{
    *a = (struct redis_addresses){.count = 1};
    if (inet_pton(AF_INET, host, &a->items[0].ipv4.sin_addr) == 1) {
        a->items[0].ipv4.sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, host, &a->items[0].ipv6.sin6_addr) == 1) {
        a->items[0].ipv6.sin6_family = AF_INET6;
        return true;
    }
    a->count = 0;
    return false;
}

static void look_up(const char *host, struct redis_addresses *a)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    memset(a, 0, sizeof *a); /* padding, too: it is written to a socket */
    a->error = getaddrinfo(host, NULL, &hints, &found);
    if (a->error != 0)
        return;
    for (const struct addrinfo *i = found; i != NULL && a->count < REDIS_ADDRESSES;
         i = i->ai_next) {
        if (i->ai_addrlen <= sizeof a->items[0])
            memcpy(&a->items[a->count++], i->ai_addr, i->ai_addrlen);
    }
    freeaddrinfo(found);
    if (a->count == 0)
        a->error = EAI_NONAME; /* uncovered: getaddrinfo() gives one at least */
}

static bool send_answer(int fd, const struct redis_addresses *a)
{
    ssize_t n;

    do
        n = send(fd, a, sizeof *a, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

void redis_lookup_serve(int fd)
{
    char host[NAME_MAX_LEN + 1];
    struct redis_addresses a;

    for (;;) {
        ssize_t n = recv(fd, host, sizeof host - 1, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        host[n] = '\0';
        look_up(host, &a);
        if (!send_answer(fd, &a))
            break;
    }
    close(fd);
}

static void *thread_main(void *arg)
{
    redis_lookup_serve((int)(intptr_t)arg);
    return NULL;
}

/* All signals stay with the threads that the application has for them. */
static int start_thread(int fd)
{
    pthread_t thread;
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, NULL, thread_main, (void *)(intptr_t)fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_detach(thread);
    return error;
}

int redis_lookup_start(void)
{
    int ends[2];
    int error;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    error = start_thread(ends[1]);
    if (error == 0)
        return ends[0];
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return -1;
}

int redis_lookup_ask(int fd, const char *host)
{
    return send(fd, host, strlen(host), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

bool redis_lookup_take(int fd, struct redis_addresses *a)
{
    ssize_t n = recv(fd, a, sizeof *a, MSG_DONTWAIT);

    return n == (ssize_t)sizeof *a && a->count <= REDIS_ADDRESSES;
}
