/* SPDX-License-Identifier: MIT
 *
 * Listening sockets; see listen.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    FREE_PORT_TRIES = 16, /* before the error is that no port is free on all addresses */
    LOCK_WAIT_MS = 1000,  /* at a start; a stop never waits */
    LOCK_STEP_MS = 10,
    NAME_SIZE = 128 /* of an address in `why` */
};

/* Write which step failed, and close `fd` if it is open. Keeps the errno of the step. */
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

/* --- Unix sockets ----------------------------------------------------------------------------- */

/* Open the directory of `path`, and point `*name` at what follows it. One that may be searched but
 * not read gives a descriptor that cannot be locked. */
static int open_directory(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    char directory[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    int fd;

    *name = slash == NULL ? path : slash + 1;
    if (slash != NULL)
        snprintf(directory, sizeof directory, "%.*s", len == 0 ? 1 : (int)len, path);
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

/* Checking the file and then acting on it takes several calls, and between them another server may
 * do the same: two servers that start would both find a dead server's socket, and the second would
 * unlink the socket of the first. So starts and stops lock the directory, which leaves no file
 * behind as a lock file would. Where there is no lock within `wait_ms` the caller goes on without:
 * the file system may have no locks, or another process may hold the lock for long. */
static void lock_directory(int fd, int wait_ms)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK && wait_ms > 0) {
        poll(NULL, 0, LOCK_STEP_MS);
        wait_ms -= LOCK_STEP_MS;
    }
}

/* close() alone does not unlock: a forked child may have a duplicate of the descriptor. Keeps
 * errno. */
static void unlock_directory(int fd)
{
    int error = errno;

    flock(fd, LOCK_UN);
    errno = error;
}

/* A server that was killed leaves its socket file, and connecting to that is refused. With any
 * other result of connect() the file stays, and bind() fails with EADDRINUSE: EAGAIN is a server
 * whose backlog is full, EACCES a file of another user, EPROTOTYPE a socket of another type. */
static void remove_stale(const struct sockaddr_un *address, int directory, const char *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd >= 0 && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED)
        unlinkat(directory, name, 0);
    if (fd >= 0)
        close(fd);
}

/* Note device and inode of the file that bind() has just made. */
static bool identify(struct listen_file *file)
{
    struct stat st;

    if (fstatat(file->directory, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    file->device = st.st_dev;
    file->inode = st.st_ino;
    return true;
}

/* Keeps errno. */
static void unlink_own(const struct listen_file *file)
{
    int error = errno;
    struct stat st;

    if (fstatat(file->directory, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == file->device && st.st_ino == file->inode)
        unlinkat(file->directory, file->name, 0);
    errno = error;
}

void listen_unlink(const struct listen_file *file)
{
    if (file->name[0] == '\0')
        return;
    lock_directory(file->directory, 0);
    unlink_own(file);
    unlock_directory(file->directory);
    close(file->directory);
}

/* The umask may have removed rights that were asked for. chmod() would follow a symbolic link that
 * another process puts in place of the file; AT_SYMLINK_NOFOLLOW needs Linux 6.6, or /proc. */
static bool widen_rights(const struct listen_file *file, unsigned mode)
{
    struct stat st;

    return mode == 0 ||
           (fstatat(file->directory, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (st.st_mode & LISTEN_MODE_MAX) == mode) ||
           fchmodat(file->directory, file->name, mode, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_unix(const char *address, const struct sockaddr_un *un, unsigned mode,
                     struct listen_file *file, char *why, size_t size)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *step;

    if (fd < 0)
        return failed(fd, "socket", address, why, size);
    /* bind() gives the file the rights of the descriptor, less the umask. Setting the umask instead
     * would affect all threads. */
    if (mode != 0 && fchmod(fd, mode) != 0)
        return failed(fd, "fchmod", address, why, size);
    if (bind(fd, (const struct sockaddr *)un, sizeof *un) != 0)
        return failed(fd, "bind", address, why, size);
    if (!identify(file)) {
        int error = errno;

        unlinkat(file->directory, file->name, 0);
        errno = error;
        return failed(fd, "fstatat", address, why, size);
    }
    if (!widen_rights(file, mode))
        step = "chmod";
    else if (listen(fd, BACKLOG) != 0)
        step = "listen";
    else
        return fd;
    unlink_own(file);
    return failed(fd, step, address, why, size);
}

int listen_unix(const char *address, unsigned mode, struct listen_file *file, char *why,
                size_t size)
{
    const char *path = listen_unix_path(address);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *name;
    int directory;
    int fd;

    errno = path[0] == '\0' ? EINVAL : ENAMETOOLONG;
    if (path[0] == '\0')
        return failed(-1, "no path", address, why, size);
    if (strlen(path) >= sizeof un.sun_path)
        return failed(-1, "path", address, why, size);
    strcpy(un.sun_path, path);
    directory = open_directory(path, &name);
    if (directory < 0)
        return failed(-1, "directory", address, why, size);
    *file = (struct listen_file){.directory = directory};
    strcpy(file->name, name);
    lock_directory(directory, LOCK_WAIT_MS);
    remove_stale(&un, directory, name);
    fd = open_unix(address, &un, mode, file, why, size); /* and listens, else it would look stale */
    unlock_directory(directory);
    if (fd < 0) {
        int error = errno;

        close(directory);
        errno = error;
    }
    return fd;
}

bool listen_unix_file(int fd, const char *address, struct listen_file *file)
{
    const char *path = listen_unix_path(address);
    struct sockaddr_un un = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof un;
    const char *name;

    if (path == NULL || getsockname(fd, (struct sockaddr *)&un, &len) != 0 ||
        un.sun_family != AF_UNIX || strncmp(un.sun_path, path, sizeof un.sun_path) != 0)
        return false;
    *file = (struct listen_file){.directory = open_directory(path, &name)};
    if (file->directory < 0)
        return false;
    snprintf(file->name, sizeof file->name, "%s", name);
    if (identify(file))
        return true;
    close(file->directory);
    return false;
}

/* --- TCP -------------------------------------------------------------------------------------- */

/* A socket address of either family. */
union tcp_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static uint16_t port_of(const union tcp_address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohs(a->v4.sin_port);
    return a->any.sa_family == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

static bool is_same_host(const union tcp_address *a, const union tcp_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0 &&
           a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

static bool local_address(int fd, union tcp_address *a)
{
    socklen_t len = sizeof *a;

    return getsockname(fd, &a->any, &len) == 0;
}

static bool is_open(const struct listen_set *set, const union tcp_address *a)
{
    union tcp_address other;

    for (size_t i = 0; i < set->count; i++) {
        if (local_address(set->fds[i], &other) && is_same_host(&other, a))
            return true;
    }
    return false;
}

void listen_close(struct listen_set *set)
{
    while (set->count > 0)
        close(set->fds[--set->count]);
}

/* "localhost (::1) port 8080", or "::1 port 8080" where that was asked for. */
static void describe(const char *address, const union tcp_address *a, char name[NAME_SIZE])
{
    char host[INET6_ADDRSTRLEN];

    if (a->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
    else
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
    if (strcmp(host, address) == 0)
        snprintf(name, NAME_SIZE, "%s port %u", address, port_of(a));
    else
        snprintf(name, NAME_SIZE, "%.64s (%s) port %u", address, host, port_of(a));
}

static int open_tcp(const char *address, const union tcp_address *a, bool shared, char *why,
                    size_t size)
{
    socklen_t len = a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    char name[NAME_SIZE];
    int on = 1;
    int unsent = LISTEN_UNSENT_MAX;

    describe(address, a, name);
    if (fd < 0)
        return failed(fd, "socket", name, why, size);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit this */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent); /* and this */
    if (a->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return failed(fd, "SO_REUSEPORT", name, why, size);
    if (bind(fd, &a->any, len) != 0)
        return failed(fd, "bind", name, why, size);
    if (listen(fd, BACKLOG) != 0)
        return failed(fd, "listen", name, why, size);
    return fd;
}

/* One address of a name. All results of getaddrinfo() with SOCK_STREAM are of these two
 * families. */
static int add_resolved(struct listen_set *set, const char *address, const struct addrinfo *ai,
                        bool shared, char *why, size_t size)
{
    union tcp_address a = {0};
    uint16_t port;
    int fd;

    memcpy(&a, ai->ai_addr, ai->ai_addrlen < sizeof a ? ai->ai_addrlen : sizeof a);
    if (is_open(set, &a))
        return 0;
    if (port_of(&a) == 0 && set->count > 0) { /* the port of the first socket */
        port = htons(listen_port(set->fds[0]));
        if (a.any.sa_family == AF_INET)
            a.v4.sin_port = port;
        else
            a.v6.sin6_port = port;
    }
    errno = E2BIG;
    if (set->count == LISTEN_MAX)
        return failed(-1, "too many addresses", address, why, size);
    fd = open_tcp(address, &a, shared, why, size);
    if (fd < 0)
        return -1;
    set->fds[set->count++] = fd;
    return 0;
}

/* All addresses of a name, except those that this system does not have. */
static int add_name(struct listen_set *set, const char *address, uint16_t port, bool shared,
                    char *why, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[8];
    bool works = false;
    int error;

    snprintf(service, sizeof service, "%u", port);
    error = getaddrinfo(address, service, &hints, &list);
    if (error != 0) {
        snprintf(why, size, "%s: %s", address, gai_strerror(error));
        errno = EADDRNOTAVAIL;
        return -1;
    }
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        if (add_resolved(set, address, ai, shared, why, size) == 0) {
            works = true;
            continue;
        }
        error = errno;
        if (error != EAFNOSUPPORT && error != EADDRNOTAVAIL) {
            works = false;
            break;
        }
    }
    freeaddrinfo(list);
    errno = error;
    return works ? 0 : -1;
}

static int add_all(struct listen_set *set, const char *const *addresses, uint16_t port, bool shared,
                   char *why, size_t size)
{
    for (size_t i = 0; addresses[i] != NULL; i++) {
        if (listen_unix_path(addresses[i]) == NULL &&
            add_name(set, addresses[i], port, shared, why, size) != 0)
            return -1;
    }
    return 0;
}

/* The port that is free on the first address may be in use on another; then try another port. */
int listen_tcp(struct listen_set *set, const char *const *addresses, uint16_t port, bool shared,
               char *why, size_t size)
{
    int error;

    for (int tries = port == 0 ? FREE_PORT_TRIES : 1; tries > 0; tries--) {
        if (add_all(set, addresses, port, shared, why, size) == 0)
            return 0;
        error = errno;
        listen_close(set);
        errno = error;
        if (error != EADDRINUSE)
            return -1;
    }
    return -1;
}

bool listen_is_loopback(int fd)
{
    union tcp_address a = {0};

    if (!local_address(fd, &a))
        return false;
    if (a.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
    return a.any.sa_family == AF_INET && ntohl(a.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool is_any(const union tcp_address *a)
{
    return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                       : IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr) != 0;
}

int listen_fits(const struct sockaddr_storage *listener, int fd)
{
    union tcp_address at;
    union tcp_address own = {0};

    memcpy(&at, listener, sizeof at);
    if (!local_address(fd, &own) || at.any.sa_family != own.any.sa_family ||
        port_of(&at) != port_of(&own))
        return 0;
    if (at.any.sa_family != AF_INET && at.any.sa_family != AF_INET6)
        return 0; /* no names are checked there */
    if (is_same_host(&at, &own))
        return 2;
    return is_any(&at) ? 1 : 0;
}

uint16_t listen_port(int fd)
{
    union tcp_address a = {0};

    return local_address(fd, &a) ? port_of(&a) : 0;
}

/* --- addresses as text ------------------------------------------------------------------------ */

struct address listen_address(const struct sockaddr_storage *storage)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)storage;

    if (storage->ss_family == AF_INET)
        return address_from((const uint8_t *)&v4->sin_addr, 4, ntohs(v4->sin_port));
    if (storage->ss_family == AF_INET6)
        return address_from((const uint8_t *)&v6->sin6_addr, 16, ntohs(v6->sin6_port));
    return (struct address){0};
}

void listen_write_address(const struct address *a, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN];

    inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->bytes, host, sizeof host);
    if (a->port == 0)
        snprintf(out, size, "%s", host);
    else
        snprintf(out, size, a->len == 4 ? "%s:%u" : "[%s]:%u", host, a->port);
}

void listen_peer(int fd, char *out, size_t size)
{
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof storage;
    struct address a;

    if (getpeername(fd, (struct sockaddr *)&storage, &len) != 0) {
        snprintf(out, size, "gone");
        return;
    }
    a = listen_address(&storage);
    if (a.len == 0)
        snprintf(out, size, "unix");
    else
        listen_write_address(&a, out, size);
}
