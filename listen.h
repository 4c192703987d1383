/* SPDX-License-Identifier: MIT
 *
 * Listening sockets, and addresses as text. Knows sockets but no server. Every descriptor made here
 * is non-blocking and close-on-exec. */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "address.h"

/* Bytes that an accepted TCP socket takes although it cannot send them yet, because the peer does
 * not read or the network is full. */
enum { LISTEN_UNSENT_MAX = 128 * 1024 };

enum { LISTEN_MAX = 256 };

/* TCP sockets that listen, all on one port. All zero is none. */
struct listen_set {
    int fds[LISTEN_MAX]; /* the caller closes them */
    size_t count;
};

/* Listen on each of `addresses`, numeric ones or host names; the list ends with NULL, and
 * "unix:PATH" is skipped. A name stands for all its addresses, in the order of RFC 6724. An address
 * that comes twice is opened once. An address that the system does not have (IPv6 may be off) is
 * left out, as long as its name has another one.
 *
 *   port        0: a free one, the same for all
 *   shared      SO_REUSEPORT: other sockets of the same user may listen there, too
 *   set         empty; filled on success
 *   why, size   text: what failed on which address
 *
 * Returns 0; or -1 with errno set and `why` written, and then nothing is open. */
int listen_tcp(struct listen_set *set, const char *const *addresses, uint16_t port, bool shared,
               char *why, size_t size);

/* Close all sockets of the set, which is empty then. */
void listen_close(struct listen_set *set);

/* The file of a Unix socket. The file is this server's as long as device and inode are the same: it
 * may have been removed, and another server may have made its own file in that place. The directory
 * stays open, so that the file is found wherever the process, or the directory, has gone. */
struct listen_file {
    int directory;
    char name[sizeof((struct sockaddr_un *)0)->sun_path]; /* in the directory; "" for no file */
    dev_t device;
    ino_t inode;
};

enum { LISTEN_MODE_MAX = 0777 };

/* Listen on `address`, "unix:PATH". A socket that a dead server has left there is removed; any
 * other file is left alone and is an error.
 *
 *   mode        the file's rights, at most LISTEN_MODE_MAX; at no moment are they wider. 0: what
 *               the umask leaves of that
 *   file        filled on success, for listen_unlink()
 *   why, size   as for listen_tcp()
 *
 * Returns the descriptor, the caller's; or -1 with errno set and `why` written, and then this call
 * has left no file: EADDRINUSE where another server listens, or where the existing file may not be
 * removed.
 *
 * Of several that start at once on one path, one listens and the others get EADDRINUSE: starts and
 * stops lock the directory (flock). A lock that another process keeps delays a start by a second at
 * most, and then the start goes on without it. */
int listen_unix(const char *address, unsigned mode, struct listen_file *file, char *why,
                size_t size);

/* Fill in `file` for `fd`, a socket that listens already, if it is bound to the path of `address`.
 * False, and then nothing is open: it is not, or the file is gone. */
bool listen_unix_file(int fd, const char *address, struct listen_file *file);

/* Remove the file, if device and inode are still the same, and close its directory. To be called
 * once, and before the descriptor of the socket is closed: while that is open, no other file can
 * get that inode number. It opens nothing: a server that may open no file any more can stop. */
void listen_unlink(const struct listen_file *file);

/* The path of a "unix:PATH" address, else NULL. */
const char *listen_unix_path(const char *address);

/* Is `fd` bound to a loopback address, which only programs on this machine reach? */
bool listen_is_loopback(int fd);

/* Was the connected socket `fd` accepted from a listener that is bound to `at`, by their addresses?
 * 2: exactly its address; 1: it listens on all addresses of that family; 0: no, or they are no TCP
 * sockets. */
int listen_fits(const struct sockaddr_storage *at, int fd);

/* The port that `fd` is bound to; 0 for a Unix socket. */
uint16_t listen_port(int fd);

/* The address in `storage`; len 0 where it is a Unix socket's. */
struct address listen_address(const struct sockaddr_storage *storage);

/* Write an address: as above, or without brackets where its port is not known. */
void listen_write_address(const struct address *a, char *out, size_t size);

/* Write the address of the peer of `fd`: "127.0.0.1:5000", "[::1]:5000", "unix", or "gone". */
void listen_peer(int fd, char *out, size_t size);

#endif
