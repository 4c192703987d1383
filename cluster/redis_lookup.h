/* SPDX-License-Identifier: MIT
 *
 * Looking up the addresses of a name, which may take many seconds and so must not be done on the
 * loop. Somebody else does it, a thread or another process, and both sides talk over a pair of
 * sockets: one message is a name, the next one back is its addresses. */
#ifndef CLUSTER_REDIS_LOOKUP_H
#define CLUSTER_REDIS_LOOKUP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REDIS_ADDRESSES = 8 };

/* The addresses of a name, in the order in which they are to be tried. */
struct redis_addresses {
    int error; /* EAI_...; 0: there is one at least */
    size_t count;
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } items[REDIS_ADDRESSES]; /* without a port */
};

/* Is `host` an address itself? Then it is in `a`. */
bool redis_lookup_numeric(const char *host, struct redis_addresses *a);

/* Answer questions at `fd`, a SOCK_SEQPACKET socket that waits, until its other end is closed. */
void redis_lookup_serve(int fd);

/* Start a thread that does this. Returns the other end, whose close() ends the thread, or -1 with
 * errno. */
int redis_lookup_start(void);

/* Ask, at the other end, for a name of less than 254 bytes; one question at a time. Returns 0 or -1
 * with errno. */
int redis_lookup_ask(int fd, const char *host);

/* Take the answer, once `fd` is readable. False where there is nobody any more who answers. */
bool redis_lookup_take(int fd, struct redis_addresses *a);

#endif
