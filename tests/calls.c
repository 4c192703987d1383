/* SPDX-License-Identifier: MIT
 *
 * Calls that fail on demand; see calls.h. The names are the linker's, for --wrap. */
#include "calls.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

struct kind {
    const char *name;
    int errors[CALL_ERRORS_MAX];
};

static const struct kind kinds[CALL_COUNT] = {
    [CALL_MEMORY] = {"memory", {ENOMEM}},
    [CALL_ACCEPT4] = {"accept4",
                      {EAGAIN, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM}},
    [CALL_BIND] = {"bind", {EADDRINUSE, EACCES, ENOMEM}},
    [CALL_CLOSE] = {"close", {EINTR, EIO}},
    [CALL_CONNECT] = {"connect", {ECONNREFUSED, EAGAIN, EINTR, EPERM}},
    [CALL_EPOLL_CREATE1] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM, ENOSYS}},
    [CALL_EPOLL_CTL] = {"epoll_ctl", {ENOMEM, ENOSPC, EPERM}},
    [CALL_EPOLL_WAIT] = {"epoll_wait", {CALL_SHORT, EINTR, EPERM}},
    [CALL_EVENTFD] = {"eventfd", {EMFILE, ENFILE, ENOMEM, ENOSYS}},
    [CALL_EVENTFD_WRITE] = {"eventfd_write", {EAGAIN, EINTR}},
    [CALL_FCHMOD] = {"fchmod", {EPERM, EINTR}},
    [CALL_FCHMODAT] = {"fchmodat", {EPERM, ENOMEM}},
    [CALL_FCNTL] = {"fcntl", {EMFILE, ENFILE, EPERM}},
    [CALL_FLOCK] = {"flock", {EAGAIN, EINTR, ENOMEM}},
    [CALL_FSTATAT] = {"fstatat", {ENOMEM, EACCES}},
    [CALL_GETADDRINFO] = {"getaddrinfo", {EMFILE, ENOMEM}},
    [CALL_GETPEERNAME] = {"getpeername", {ENOTCONN, ENOBUFS}},
    [CALL_GETRANDOM] = {"getrandom", {CALL_SHORT, EINTR, ENOSYS, EPERM}},
    [CALL_GETRLIMIT] = {"getrlimit", {EPERM}},
    [CALL_GETSOCKNAME] = {"getsockname", {ENOBUFS}},
    [CALL_IOCTL] = {"ioctl", {EINVAL, EPERM}},
    [CALL_LISTEN] = {"listen", {EADDRINUSE, EPERM}},
    [CALL_MADVISE] = {"madvise", {ENOMEM, EAGAIN}},
    [CALL_MUNMAP] = {"munmap", {ENOMEM}},
    [CALL_OPEN] = {"open", {EMFILE, ENFILE, ENOMEM, EPERM, EINTR}},
    [CALL_POLL] = {"poll", {CALL_SHORT, EINTR, ENOMEM}},
    [CALL_PTHREAD_CREATE] = {"pthread_create", {EAGAIN, EPERM}},
    [CALL_READ] = {"read", {EAGAIN, EINTR}},
    [CALL_READV] = {"readv", {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM, ETIMEDOUT}},
    [CALL_RECV] = {"recv", {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM, ETIMEDOUT}},
    [CALL_RECVMSG] = {"recvmsg", {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM}},
    [CALL_SEND] = {"send", {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, EPIPE, ENOBUFS, ENOMEM, EPERM}},
    [CALL_SENDMSG] = {"sendmsg",
                      {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, EPIPE, ENOBUFS, ENOMEM, EPERM}},
    [CALL_SETSOCKOPT] = {"setsockopt", {ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM}},
    [CALL_SHUTDOWN] = {"shutdown", {ENOTCONN, ENOBUFS}},
    [CALL_SOCKET] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EAFNOSUPPORT}},
    [CALL_SOCKETPAIR] = {"socketpair", {EMFILE, ENFILE, EPERM}},
    [CALL_TIMERFD_CREATE] = {"timerfd_create", {EMFILE, ENFILE, ENOMEM, ENOSYS}},
    [CALL_TIMERFD_SETTIME] = {"timerfd_settime", {EPERM}},
    [CALL_UNLINKAT] = {"unlinkat", {EPERM, ENOMEM, EROFS}},
};

/* The wrapped functions have no argument to carry it in. */
static struct {
    bool watching;
    bool armed;
    bool failed;
    enum call call; /* that is to fail, */
    unsigned long left;
    int error;
    unsigned long made[CALL_COUNT];
    long blocks;
    uint64_t clock_us;
    unsigned clock_step_us;
    uint64_t random; /* state of the generator; 0: it is not used */
} plan;

const char *call_name(enum call call)
{
    return kinds[call].name;
}

const int *call_errors(enum call call)
{
    return kinds[call].errors;
}

size_t call_error_count(enum call call)
{
    size_t count = 1;

    while (count < CALL_ERRORS_MAX && kinds[call].errors[count] != 0)
        count++;
    return count;
}

void calls_reset(void)
{
    plan.watching = plan.armed = plan.failed = false;
    memset(plan.made, 0, sizeof plan.made);
    plan.clock_us = plan.random = 0;
}

void calls_work(void)
{
    plan.armed = false;
}

void calls_watch(bool on)
{
    plan.watching = on;
}

void calls_fail(enum call call, unsigned long n, int error)
{
    plan.armed = true;
    plan.failed = false;
    plan.call = call;
    plan.left = n;
    plan.error = error;
}

unsigned long calls_made(enum call call)
{
    return plan.made[call];
}

long calls_blocks(void)
{
    return plan.blocks;
}

bool calls_failed(void)
{
    return plan.failed;
}

void calls_clock(uint64_t us, unsigned step_us)
{
    plan.clock_us = us;
    plan.clock_step_us = step_us;
}

uint64_t calls_clock_us(void)
{
    return plan.clock_us;
}

void calls_random(uint64_t seed)
{
    plan.random = seed;
}

/* xorshift64 */
static ssize_t same_random(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        plan.random ^= plan.random << 13;
        plan.random ^= plan.random >> 7;
        plan.random ^= plan.random << 17;
        out[i] = (uint8_t)(plan.random >> 32);
    }
    return (ssize_t)len;
}

/* Is it the turn of this call to fail? Sets errno, unless it is to be short. */
static bool fails(enum call call)
{
    if (!plan.watching)
        return false;
    plan.made[call]++;
    if (!plan.armed || plan.call != call || plan.left-- > 0)
        return false;
    plan.armed = false;
    plan.failed = true;
    if (plan.error != CALL_SHORT)
        errno = plan.error;
    return true;
}

/* How many of `n` bytes a short call is to be about. */
static size_t half(size_t n)
{
    return n > 1 ? n / 2 : n;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* A call that works or fails, and nothing in between. */
#define WRAP(call, failure, type, name, parameters, arguments)                                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(call) ? failure : __real_##name arguments;                                    \
    }

WRAP(CALL_MEMORY, MAP_FAILED, void *, mmap,
     (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset))
WRAP(CALL_MUNMAP, -1, int, munmap, (void *p, size_t len), (p, len))
WRAP(CALL_MADVISE, -1, int, madvise, (void *p, size_t len, int advice), (p, len, advice))
WRAP(CALL_ACCEPT4, -1, int, accept4, (int fd, struct sockaddr *a, socklen_t *len, int flags),
     (fd, a, len, flags))
WRAP(CALL_BIND, -1, int, bind, (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len))
WRAP(CALL_CONNECT, -1, int, connect, (int fd, const struct sockaddr *a, socklen_t len),
     (fd, a, len))
WRAP(CALL_EPOLL_CREATE1, -1, int, epoll_create1, (int flags), (flags))
WRAP(CALL_EVENTFD, -1, int, eventfd, (unsigned value, int flags), (value, flags))
WRAP(CALL_FCHMOD, -1, int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(CALL_FCHMODAT, -1, int, fchmodat, (int dir, const char *path, mode_t mode, int flags),
     (dir, path, mode, flags))
WRAP(CALL_FLOCK, -1, int, flock, (int fd, int op), (fd, op))
WRAP(CALL_FSTATAT, -1, int, fstatat, (int dir, const char *path, struct stat *st, int flags),
     (dir, path, st, flags))
WRAP(CALL_GETADDRINFO, EAI_SYSTEM, int, getaddrinfo,
     (const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list),
     (name, service, hints, list))
WRAP(CALL_GETPEERNAME, -1, int, getpeername, (int fd, struct sockaddr *a, socklen_t *len),
     (fd, a, len))
WRAP(CALL_GETSOCKNAME, -1, int, getsockname, (int fd, struct sockaddr *a, socklen_t *len),
     (fd, a, len))
WRAP(CALL_GETRLIMIT, -1, int, getrlimit, (__rlimit_resource_t which, struct rlimit *limit),
     (which, limit))
WRAP(CALL_LISTEN, -1, int, listen, (int fd, int backlog), (fd, backlog))
WRAP(CALL_PTHREAD_CREATE, errno, int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg),
     (thread, attributes, fn, arg))
WRAP(CALL_SOCKETPAIR, -1, int, socketpair, (int family, int type, int protocol, int ends[2]),
     (family, type, protocol, ends))
WRAP(CALL_READ, -1, ssize_t, read, (int fd, void *data, size_t len), (fd, data, len))
WRAP(CALL_SETSOCKOPT, -1, int, setsockopt,
     (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len))
WRAP(CALL_SHUTDOWN, -1, int, shutdown, (int fd, int how), (fd, how))
WRAP(CALL_SOCKET, -1, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(CALL_TIMERFD_CREATE, -1, int, timerfd_create, (int clock, int flags), (clock, flags))
WRAP(CALL_UNLINKAT, -1, int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))

static void *count_block(void *p)
{
    plan.blocks += p != NULL;
    return p;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails(CALL_MEMORY) ? NULL : count_block(__real_malloc(size));
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails(CALL_MEMORY) ? NULL : count_block(__real_calloc(count, size));
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
    void *to;

    if (fails(CALL_MEMORY))
        return NULL;
    to = __real_realloc(p, size);
    return p == NULL ? count_block(to) : to;
}

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
    plan.blocks -= p != NULL;
    __real_free(p);
}

/* Where the clock stands still, a timer does not go off by the clock of the system: the one who has
 * the clock gives the server its turn. */
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
    static const struct itimerspec never;

    if (fails(CALL_TIMERFD_SETTIME))
        return -1;
    return __real_timerfd_settime(fd, flags, plan.clock_us != 0 ? &never : at, old);
}

/* As the kernel: a watch that is there can be ended. */
int __real_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    return op != EPOLL_CTL_DEL && fails(CALL_EPOLL_CTL) ? -1
                                                        : __real_epoll_ctl(epoll_fd, op, fd, event);
}

/* As the kernel: the descriptor is closed, whatever close() says. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int result = __real_close(fd);

    return fails(CALL_CLOSE) ? -1 : result;
}

/* EAGAIN means that the counter is full, so that the descriptor is readable. */
int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value)
{
    if (!fails(CALL_EVENTFD_WRITE))
        return __real_eventfd_write(fd, value);
    if (errno == EAGAIN)
        __real_eventfd_write(fd, value);
    errno = plan.error;
    return -1;
}

ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    if (!fails(CALL_SEND))
        return __real_send(fd, data, len, flags);
    return plan.error == CALL_SHORT ? __real_send(fd, data, half(len), flags) : -1;
}

/* Half of the first piece alone. */
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!fails(CALL_SENDMSG))
        return __real_sendmsg(fd, message, flags);
    return plan.error == CALL_SHORT ? __real_send(fd, message->msg_iov[0].iov_base,
                                                  half(message->msg_iov[0].iov_len), flags)
                                    : -1;
}

ssize_t __real_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    if (!fails(CALL_RECV))
        return __real_recv(fd, data, len, flags);
    return plan.error == CALL_SHORT ? __real_recv(fd, data, 1, flags) : -1;
}

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    size_t len = message->msg_iov[0].iov_len;
    ssize_t n;

    if (!fails(CALL_RECVMSG))
        return __real_recvmsg(fd, message, flags);
    if (plan.error != CALL_SHORT)
        return -1;
    message->msg_iov[0].iov_len = 1;
    n = __real_recvmsg(fd, message, flags);
    message->msg_iov[0].iov_len = len;
    return n;
}

ssize_t __real_readv(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count)
{
    if (!fails(CALL_READV))
        return __real_readv(fd, iov, count);
    return plan.error == CALL_SHORT ? __real_recv(fd, iov[0].iov_base, 1, 0) : -1;
}

/* One event at most, and the others with the next call. */
int __real_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    if (!fails(CALL_EPOLL_WAIT))
        return __real_epoll_wait(epoll_fd, events, max, timeout_ms);
    return plan.error == CALL_SHORT ? __real_epoll_wait(epoll_fd, events, 1, 0) : -1;
}

ssize_t __real_getrandom(void *data, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *data, size_t len, unsigned flags)
{
    if (fails(CALL_GETRANDOM)) {
        if (plan.error != CALL_SHORT)
            return -1;
        len = half(len);
    }
    return plan.random != 0 ? same_random(data, len) : __real_getrandom(data, len, flags);
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!fails(CALL_POLL))
        return __real_poll(fds, count, timeout_ms);
    return plan.error == CALL_SHORT ? 0 : -1;
}

/* Those with a variable argument have one of the size of a pointer, where they have one. */
int __real_fcntl(int fd, int op, ...);
int __wrap_fcntl(int fd, int op, ...);
int __wrap_fcntl(int fd, int op, ...)
{
    va_list args;
    void *argument;

    va_start(args, op);
    argument = va_arg(args, void *);
    va_end(args);
    return fails(CALL_FCNTL) ? -1 : __real_fcntl(fd, op, argument);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    return fails(CALL_IOCTL) ? -1 : __real_ioctl(fd, request, argument);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    return fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}

void *__real_mremap(void *p, size_t size, size_t new_size, int flags, ...);
void *__wrap_mremap(void *p, size_t size, size_t new_size, int flags, ...);
void *__wrap_mremap(void *p, size_t size, size_t new_size, int flags, ...)
{
    return fails(CALL_MEMORY) ? MAP_FAILED : __real_mremap(p, size, new_size, flags);
}

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (plan.clock_us == 0 || clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, ts);
    plan.clock_us += plan.clock_step_us;
    *ts = (struct timespec){(time_t)(plan.clock_us / 1000000),
                            (long)(plan.clock_us % 1000000) * 1000};
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
