/* SPDX-License-Identifier: MIT
 *
 * Listening sockets; see listen.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; for those who copy this file */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* Say which step failed, and close what there is. errno is the step's. */
static int failed(int fd, const char *step, const char *address, char *why, size_t size)
{
    int error = errno;

    snprintf(why, size, "%s: %s: %s", address, step, strerror(error));
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

const char *listen_unix_path(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

/* A socket that a dead server has left behind is in the way, and nobody answers on it. */
static void remove_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED)
        unlink(address->sun_path);
    if (fd >= 0)
        close(fd);
}

static int open_unix(const char *address, char *why, size_t size)
{
    const char *path = listen_unix_path(address);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;

    errno = path[0] == '\0' ? EINVAL : ENAMETOOLONG;
    if (path[0] == '\0')
        return failed(-1, "no path", address, why, size);
    if (strlen(path) >= sizeof un.sun_path)
        return failed(-1, "path", address, why, size);
    strcpy(un.sun_path, path);
    remove_stale(&un);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(fd, "socket", address, why, size);
    if (bind(fd, (const struct sockaddr *)&un, sizeof un) != 0)
        return failed(fd, "bind", address, why, size);
    if (listen(fd, BACKLOG) != 0)
        return failed(fd, "listen", address, why, size);
    return fd;
}

static int open_resolved(const struct addrinfo *ai, const char *name, char *why, size_t size)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    int unsent = LISTEN_UNSENT_MAX;

    if (fd < 0)
        return failed(fd, "socket", name, why, size);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* what it accepts inherits this */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent); /* and this */
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0)
        return failed(fd, "bind", name, why, size);
    if (listen(fd, BACKLOG) != 0)
        return failed(fd, "listen", name, why, size);
    return fd;
}

static int open_tcp(const char *address, uint16_t port, char *why, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *ai = NULL;
    char service[8];
    char name[128];
    int error;
    int fd;

    snprintf(service, sizeof service, "%u", port);
    error = getaddrinfo(address, service, &hints, &ai);
    if (error != 0) {
        snprintf(why, size, "%s: %s", address, gai_strerror(error));
        errno = EADDRNOTAVAIL;
        return -1;
    }
    snprintf(name, sizeof name, "%s port %s", address, service);
    fd = open_resolved(ai, name, why, size);
    freeaddrinfo(ai);
    return fd;
}

int listen_open(const char *address, uint16_t port, char *why, size_t size)
{
    return listen_unix_path(address) != NULL ? open_unix(address, why, size)
                                             : open_tcp(address, port, why, size);
}

uint16_t listen_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

void listen_peer(int fd, char *out, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN];

    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
        snprintf(out, size, "gone");
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, size, "unix");
    }
}
