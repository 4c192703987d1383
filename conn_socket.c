/* SPDX-License-Identifier: MIT
 *
 * System calls on the socket of a connection; see conn_socket.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "conn_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t socket_receive(int fd, const struct iovec *iov, int count)
{
    return count == 1 ? recv(fd, iov->iov_base, iov->iov_len, 0) : readv(fd, iov, count);
}

ssize_t socket_send(int fd, struct iovec *iov, size_t count)
{
    struct msghdr message = {.msg_iov = iov};
    ssize_t n;

    message.msg_iovlen = (uint16_t)count; /* a size_t in glibc, an int in musl */
    do {
        n = count == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

void socket_end_output(int fd)
{
    shutdown(fd, SHUT_WR);
}

void socket_end(int fd)
{
    shutdown(fd, SHUT_RDWR);
}

void socket_close(int fd)
{
    close(fd);
}

uint32_t socket_unacked(int fd)
{
    int n = 0;

    return ioctl(fd, TIOCOUTQ, &n) != 0 || n < 0 ? 0 : (uint32_t)n;
}

bool socket_limit_unsent(int fd, int bytes)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes) == 0;
}
