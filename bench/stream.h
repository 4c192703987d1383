/* SPDX-License-Identifier: MIT
 *
 * What a load client sends and what must come back, byte for byte, made before the run: a cycle of
 * a few messages that all differ and all have the same length, one after the other as they are
 * sent. Message number n of a connection is message (start + n) % count of the cycle. So a reply
 * that is lost, doubled, late or of another connection is found like a wrong bit, and sending or
 * checking costs only a send() or a memcmp(). Pure. */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stream_protocol {
    STREAM_WS,       /* masked frames out, frames back, RFC 6455 §5 */
    STREAM_RAW,      /* the bytes of a masked frame out, the same bytes back */
    STREAM_SOCKETIO, /* the event ["m", payload] of Socket.IO v5 in WebSocket frames */
    STREAM_POLLING   /* the same in bodies of HTTP; text only: the byte 0x1e behind each packet */
};

enum stream_kind { STREAM_BINARY, STREAM_ASCII, STREAM_CHINESE, STREAM_MIXED };

struct stream {
    size_t count;       /* messages in the cycle */
    size_t request_len; /* bytes on the wire of each */
    size_t reply_len;
    size_t reply_split; /* where a second frame begins in a reply, or 0 */
    uint8_t *requests;  /* count * request_len bytes, owned */
    uint8_t *replies;   /* count * reply_len bytes, owned */
};

/* Make the cycle for messages of `size` payload bytes. Returns false when out of memory.
 * stream_release() when done. */
bool stream_init(struct stream *s, enum stream_protocol protocol, enum stream_kind kind,
                 size_t size);
void stream_release(struct stream *s);

/* Write one masked frame with FIN into `out`, which has room for STREAM_HEADER_MAX + len bytes.
 * `key` is the masking key. Returns the frame's length. RFC 6455 §5.2. */
enum { STREAM_HEADER_MAX = 14 };
size_t stream_frame(uint8_t *out, uint8_t opcode, const uint8_t *payload, size_t len, uint32_t key);

/* Fill `out[0..len)` with text of this kind: valid UTF-8 that ends on a character, without anything
 * that JSON would escape. Binary is any bytes. `*random` is the state of the generator, not 0. */
void stream_payload(uint8_t *out, size_t len, enum stream_kind kind, uint64_t *random);

#endif
