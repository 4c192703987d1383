/* SPDX-License-Identifier: MIT
 *
 * SHA-1, RFC 3174, of a message that lies in memory whole. The opening handshake needs it (RFC 6455
 * §4.2.2) as a checksum that only a WebSocket server computes; it protects nothing. Pure. */
#ifndef SHA1_H
#define SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20 };

/* Digest `data[0..len)`, borrowed, into `out`. */
void sha1(uint8_t out[SHA1_SIZE], const void *data, size_t len);

#endif
