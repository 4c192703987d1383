/* SPDX-License-Identifier: MIT
 *
 * System calls that fail on demand; see faults.h. The names are the linker's, for --wrap. */
#include "faults.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

struct fault {
    long left; /* calls that work before the one that fails; negative: none fails */
    int error;
};

/* The wrapped functions have no argument to carry it in. */
static struct fault send_fault = {.left = -1};
static struct fault epoll_ctl_fault = {.left = -1};
static size_t send_max = SIZE_MAX;
static int clock_offset; /* in seconds */

void faults_none(void)
{
    send_fault.left = epoll_ctl_fault.left = -1;
    send_max = SIZE_MAX;
    clock_offset = 0;
}

void faults_send_max(size_t bytes)
{
    send_max = bytes;
}

void faults_send_error(long n, int error)
{
    send_fault = (struct fault){n, error};
}

void faults_epoll_ctl_error(long n, int error)
{
    epoll_ctl_fault = (struct fault){n, error};
}

void faults_clock_jump(int seconds)
{
    clock_offset += seconds;
}

static bool fails(struct fault *f)
{
    if (f->left < 0 || f->left-- > 0)
        return false;
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

    if (clock == CLOCK_MONOTONIC)
        ts->tv_sec += clock_offset;
    return result;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
