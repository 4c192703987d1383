/* SPDX-License-Identifier: MIT
 *
 * Bytes of the protocol: frames as a client writes them, legal or not, frames as a server writes
 * them, and what the opening handshake computes with. RFC 6455 §4, §5, RFC 3174, RFC 4648 §4.
 *
 * Written for a client that sends wrong things, from the RFC alone: it shares no code with the
 * server of this repository, so that the two readings of the RFC can be compared. */
#ifndef CHECK_WIRE_H
#define CHECK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growable bytes. All zero is empty. A program that has no memory left ends with status 2. */
struct bytes {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_add_text(struct bytes *b, const char *text);
void bytes_add_format(struct bytes *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void bytes_release(struct bytes *b); /* empty again */

enum opcode {
    OP_CONTINUATION = 0,
    OP_TEXT = 1,
    OP_BINARY = 2,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10
};

/* How the length of a payload is written, §5.2. */
enum length_form { LENGTH_MINIMAL, LENGTH_16, LENGTH_64 };

/* A frame to send. All zero but `opcode`: not final, masked, minimal length, without payload. */
struct out_frame {
    unsigned opcode; /* 0 to 15 */
    bool fin;
    unsigned rsv; /* RSV1 is 4, RSV2 2, RSV3 1 */
    bool unmasked;
    enum length_form form;
    uint64_t claimed;    /* a length for the header that is not the payload's, with */
    bool claims;         /* this */
    uint8_t key[4];      /* the masking key, with */
    bool has_key;        /* this; else one that differs from frame to frame */
    const void *payload; /* not yet masked */
    size_t len;
};

/* Append `f` to `b` as it is on the wire. */
void frame_write(struct bytes *b, const struct out_frame *f);

/* A frame of the server, as far as its bytes have come. */
struct in_frame {
    bool fin;
    unsigned rsv;
    unsigned opcode;
    bool masked;
    uint64_t len;
    size_t header_len;
    const uint8_t *payload;
};

/* Read a frame from `data[0..len)`. Returns its whole length, 0 when more bytes are needed, or -1
 * with `*fault` set to a sentence for a header that no server may send. RFC 6455 §5.1, §5.2,
 * §5.5 */
ptrdiff_t frame_read(struct in_frame *f, const uint8_t *data, size_t len, const char **fault);

/* Is this UTF-8, RFC 3629 §4? */
bool is_utf8(const uint8_t *data, size_t len);

/* Must no endpoint send this status in a Close frame? Statuses of 1016 to 2999 are for later
 * standards, and so are not forbidden. RFC 6455 §7.4 */
bool is_forbidden_status(unsigned code);

/* The value of Sec-WebSocket-Accept for a key, and a NUL. RFC 6455 §4.2.2 */
enum { ACCEPT_SIZE = 29 };
void accept_of(char out[ACCEPT_SIZE], const char *key);

#endif
