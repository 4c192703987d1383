/* SPDX-License-Identifier: MIT
 *
 * The socket of a connection: each system call that moves its bytes or ends it, and what their
 * errors mean. Knows a descriptor and nothing else. */
#ifndef CONN_SOCKET_H
#define CONN_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Receive into `count` places (1 or 2). Returns bytes, 0 at the peer's FIN, or -1 with errno:
 * EAGAIN when there is nothing, EINTR to call again, else the connection is lost. */
ssize_t socket_receive(int fd, const struct iovec *iov, int count);

/* Send `count` pieces, not empty together. Returns bytes, fewer than there are when the socket is
 * full, 0 when it takes none; or -1 when the connection is lost. */
ssize_t socket_send(int fd, struct iovec *iov, size_t count);

void socket_end_output(int fd); /* FIN behind all that was sent */
void socket_end(int fd);        /* nothing comes and nothing leaves any more; both sides see it */
void socket_close(int fd);

/* Bytes that were sent and that the peer has yet to acknowledge; our FIN counts as one. A Unix
 * socket counts the memory that they occupy, which is more. */
uint32_t socket_unacked(int fd);

/* Take at most `bytes` that can't be sent yet (TCP_NOTSENT_LOWAT); 0: as much as the system allows.
 * False where the socket has no such limit. */
bool socket_limit_unsent(int fd, int bytes);

#endif
