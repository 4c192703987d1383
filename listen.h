/* SPDX-License-Identifier: MIT
 *
 * Listening sockets, and addresses in words. Knows sockets but no server. */
#ifndef LISTEN_H
#define LISTEN_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that a TCP socket which was accepted takes although it cannot send them yet, for the peer
 * does not read or the network is full. */
enum { LISTEN_UNSENT_MAX = 128 * 1024 };

/* Open a socket that listens on `address`: a numeric address or a host name, then `port` counts (0:
 * a free one), or "unix:PATH". It is non-blocking and close-on-exec.
 *
 * Returns the descriptor, the caller's; or -1 with errno set, and in `why` (of `size` bytes) what
 * failed on which address. */
int listen_open(const char *address, uint16_t port, char *why, size_t size);

/* The path of a "unix:PATH" address, else NULL. */
const char *listen_unix_path(const char *address);

/* The port that `fd` is bound to; 0 for a Unix socket. */
uint16_t listen_port(int fd);

/* Write who is on the other side of `fd`: "127.0.0.1:5000", "[::1]:5000", "unix", or "gone". */
void listen_peer(int fd, char *out, size_t size);

#endif
