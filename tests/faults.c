/* SPDX-License-Identifier: MIT
 *
 * System calls that fail on demand; see faults.h. The names are the linker's, for --wrap. */
#include "faults.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __real_bind(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t len);
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __real_fchmodat(int directory, const char *path, mode_t mode, int flags);
int __wrap_fchmodat(int directory, const char *path, mode_t mode, int flags);
int __real_fstatat(int directory, const char *path, struct stat *st, int flags);
int __wrap_fstatat(int directory, const char *path, struct stat *st, int flags);
int __real_unlinkat(int directory, const char *path, int flags);
int __wrap_unlinkat(int directory, const char *path, int flags);
int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
ssize_t __real_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);
ssize_t __real_readv(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count);
int __real_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value);
ssize_t __real_getrandom(void *data, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags);

struct fault {
    long left; /* calls that work before the one that fails; negative: none fails */
    int error;
    bool lasting; /* those behind it fail, too */
};

/* The wrapped functions have no argument to carry it in. */
static struct fault send_fault = {.left = -1};
static struct fault epoll_ctl_fault = {.left = -1};
static struct fault socket_fault = {.left = -1};
static struct fault bind_fault = {.left = -1};
static struct fault listen_fault = {.left = -1};
static struct fault chmod_fault = {.left = -1};
static struct fault fstatat_fault = {.left = -1};
static struct fault accept4_fault = {.left = -1};
static struct fault recv_fault = {.left = -1};
static struct fault epoll_wait_fault = {.left = -1};
static struct fault getrandom_fault = {.left = -1};
static struct fault eventfd_write_fault = {.left = -1};
static long accept4_calls;
static int delay_ms;
static unsigned bound_mode;
static const char *const *fake_addresses;
static size_t send_max = SIZE_MAX;
static int64_t clock_offset;  /* in seconds */
static int64_t jump_in_wait;  /* in seconds */
static bool clock_stopped;    /* at */
static struct timespec stood; /* without the offset */

void faults_none(void)
{
    send_fault.left = epoll_ctl_fault.left = -1;
    socket_fault.left = bind_fault.left = chmod_fault.left = listen_fault.left = -1;
    fstatat_fault.left = -1;
    accept4_calls = 0;
    accept4_fault.left = recv_fault.left = epoll_wait_fault.left = getrandom_fault.left = -1;
    eventfd_write_fault.left = -1;
    delay_ms = 0;
    fake_addresses = NULL;
    send_max = SIZE_MAX;
    clock_offset = jump_in_wait = 0;
    clock_stopped = false;
}

void faults_send_max(size_t bytes)
{
    send_max = bytes;
}

void faults_send_error(long n, int error)
{
    send_fault = (struct fault){n, error, false};
}

void faults_epoll_ctl_error(long n, int error)
{
    epoll_ctl_fault = (struct fault){n, error, false};
}

void faults_epoll_ctl_errors(int error)
{
    epoll_ctl_fault = (struct fault){error == 0 ? -1 : 0, error, true};
}

void faults_clock_jump(int64_t seconds)
{
    clock_offset += seconds;
}

void faults_clock_jump_in_wait(int64_t seconds)
{
    jump_in_wait = seconds;
}

void faults_clock_stop(void)
{
    __real_clock_gettime(CLOCK_MONOTONIC, &stood);
    clock_stopped = true;
}

void faults_clock_set(int64_t seconds)
{
    faults_clock_stop();
    stood.tv_nsec = 0;
    clock_offset = seconds - stood.tv_sec;
}

void faults_socket_error(long n, int error)
{
    socket_fault = (struct fault){n, error, false};
}

void faults_bind_error(long n, int error)
{
    bind_fault = (struct fault){n, error, false};
}

void faults_chmod_error(long n, int error)
{
    chmod_fault = (struct fault){n, error, false};
}

void faults_fstatat_error(long n, int error)
{
    fstatat_fault = (struct fault){n, error, false};
}

void faults_listen_error(long n, int error)
{
    listen_fault = (struct fault){n, error, false};
}

void faults_accept_errors(int error)
{
    accept4_fault = (struct fault){error == 0 ? -1 : 0, error, true};
}

long faults_accept_calls(void)
{
    return accept4_calls;
}

void faults_accept_error(long n, int error)
{
    accept4_fault = (struct fault){n, error, false};
}

void faults_recv_error(long n, int error)
{
    recv_fault = (struct fault){n, error, false};
}

void faults_epoll_wait_error(long n, int error)
{
    epoll_wait_fault = (struct fault){n, error, false};
}

void faults_eventfd_write_error(long n, int error)
{
    eventfd_write_fault = (struct fault){n, error, false};
}

void faults_getrandom_errors(int error)
{
    getrandom_fault = (struct fault){0, error, true};
}

void faults_delay_ms(int ms)
{
    delay_ms = ms;
}

void faults_addresses(const char *const *addresses)
{
    fake_addresses = addresses;
}

static bool fails(struct fault *f)
{
    if (f->left != 0) {
        f->left -= f->left > 0;
        return false;
    }
    if (!f->lasting)
        f->left = -1;
    errno = f->error;
    return true;
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    if (fails(&send_fault))
        return -1;
    if (send_max == 0) {
        errno = EAGAIN;
        return -1;
    }
    return __real_send(fd, data, len < send_max ? len : send_max, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t first = 0;

    if (fails(&send_fault))
        return -1;
    if (send_max == SIZE_MAX)
        return __real_sendmsg(fd, message, flags);
    while (first + 1 < message->msg_iovlen && message->msg_iov[first].iov_len == 0)
        first++;
    return __wrap_send(fd, message->msg_iov[first].iov_base, message->msg_iov[first].iov_len,
                       flags);
}

int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    return fails(&epoll_ctl_fault) ? -1 : __real_epoll_ctl(epoll_fd, op, fd, event);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int result = __real_clock_gettime(clock, ts);

    if (clock == CLOCK_MONOTONIC && clock_stopped)
        *ts = stood;
    if (clock == CLOCK_MONOTONIC)
        ts->tv_sec = (time_t)(ts->tv_sec + clock_offset);
    return result;
}

int __wrap_socket(int family, int type, int protocol)
{
    return fails(&socket_fault) ? -1 : __real_socket(family, type, protocol);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    struct stat st;
    int result = fails(&bind_fault) ? -1 : __real_bind(fd, address, len);

    if (result == 0 && address->sa_family == AF_UNIX &&
        lstat(((const struct sockaddr_un *)address)->sun_path, &st) == 0)
        bound_mode = st.st_mode & 07777;
    return result;
}

unsigned faults_bound_mode(void)
{
    return bound_mode;
}

int __wrap_listen(int fd, int backlog)
{
    poll(NULL, 0, delay_ms);
    return fails(&listen_fault) ? -1 : __real_listen(fd, backlog);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return fails(&chmod_fault) ? -1 : __real_fchmod(fd, mode);
}

int __wrap_fchmodat(int directory, const char *path, mode_t mode, int flags)
{
    return fails(&chmod_fault) ? -1 : __real_fchmodat(directory, path, mode, flags);
}

int __wrap_fstatat(int directory, const char *path, struct stat *st, int flags)
{
    return fails(&fstatat_fault) ? -1 : __real_fstatat(directory, path, st, flags);
}

int __wrap_unlinkat(int directory, const char *path, int flags)
{
    poll(NULL, 0, delay_ms);
    return __real_unlinkat(directory, path, flags);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    accept4_calls++;
    return fails(&accept4_fault) ? -1 : __real_accept4(fd, address, len, flags);
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    return fails(&recv_fault) ? -1 : __real_recv(fd, data, len, flags);
}

ssize_t __wrap_readv(int fd, const struct iovec *iov, int count)
{
    return fails(&recv_fault) ? -1 : __real_readv(fd, iov, count);
}

int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    clock_offset += jump_in_wait;
    jump_in_wait = 0;
    return fails(&epoll_wait_fault) ? -1 : __real_epoll_wait(epoll_fd, events, max, timeout_ms);
}

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    return fails(&eventfd_write_fault) ? -1 : __real_eventfd_write(fd, value);
}

ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags)
{
    return fails(&getrandom_fault) ? -1 : __real_getrandom(data, len, flags);
}

/* One link of the list, with its address behind it in memory. */
struct fake_info {
    struct addrinfo info;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
};

static void fill(struct fake_info *fake, const char *text, uint16_t port)
{
    bool is_v6 = inet_pton(AF_INET6, text, &fake->address.v6.sin6_addr) == 1;

    if (is_v6) {
        fake->address.v6.sin6_family = AF_INET6;
        fake->address.v6.sin6_port = htons(port);
    } else {
        fake->address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        inet_pton(AF_INET, text, &fake->address.v4.sin_addr);
    }
    fake->info = (struct addrinfo){
        .ai_family = is_v6 ? AF_INET6 : AF_INET,
        .ai_socktype = SOCK_STREAM,
        .ai_addr = &fake->address.any,
        .ai_addrlen = is_v6 ? sizeof fake->address.v6 : sizeof fake->address.v4,
    };
}

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    struct fake_info *fakes;

    if (fake_addresses == NULL)
        return __real_getaddrinfo(name, service, hints, list);
    fakes = calloc(FAULTS_ADDRESSES_MAX, sizeof *fakes);
    if (fakes == NULL)
        return EAI_MEMORY;
    for (size_t i = 0; i < FAULTS_ADDRESSES_MAX && fake_addresses[i] != NULL; i++) {
        fill(&fakes[i], fake_addresses[i], (uint16_t)atoi(service));
        if (i > 0)
            fakes[i - 1].info.ai_next = &fakes[i].info;
    }
    *list = &fakes->info;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *list)
{
    if (fake_addresses == NULL)
        __real_freeaddrinfo(list);
    else
        free(list);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
