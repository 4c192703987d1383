/* SPDX-License-Identifier: MIT
 *
 * One WebSocket frame header, RFC 6455 §5.2 and §5.3: decode what a client sends, encode what a
 * server sends, and unmask. Pure and stateless: a header is at most 14 bytes, so a partial one is
 * simply decoded again when more has come. ws_message decides what is legal *between* frames. */
#ifndef WS_FRAME_H
#define WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_protocol.h"

enum {
    WS_NEED_MORE = 0,               /* not an error: the header is incomplete */
    WS_FRAME_HEADER_MAX = 14,       /* from a client: 2, a 64-bit length, the masking key */
    WS_FRAME_SERVER_HEADER_MAX = 10 /* to a client: no masking key */
};

struct ws_frame {
    uint64_t len;    /* payload bytes that the header announces; bit 63 is clear */
    uint8_t mask[4]; /* masking key */
    enum ws_opcode opcode;
    uint8_t rsv; /* RSV1 to RSV3 as they are in the first byte: 0x40, 0x20, 0x10 */
    bool fin;
};

/* Decode the header of a frame from a client out of `buf[0..len)`, which is borrowed.
 *
 *   rsv    the reserved bits that a negotiated extension uses, as in struct ws_frame; 0: no
 *          extension was negotiated
 *
 * Returns the header's length in bytes (6 to 14) with `f` filled in, WS_NEED_MORE, or
 * -WS_CLOSE_PROTOCOL as soon as the bytes so far cannot begin a legal frame: another reserved bit
 * set, opcode unknown, not masked, a length not in its shortest form or with bit 63 set, a control
 * frame with a reserved bit, without FIN or over 125 bytes. RFC 6455 §5.1, §5.2, §5.5. */
int ws_frame_decode(struct ws_frame *f, const uint8_t *buf, size_t len, uint8_t rsv);

/* What is wrong with a header that ws_frame_decode() refused, in a few words for the peer and the
 * log. */
const char *ws_frame_fault(const uint8_t *buf, size_t len, uint8_t rsv);

/* Write the header of an unfragmented, unmasked frame with `len` bytes of payload.
 * Returns its length: 2, 4 or 10. RFC 6455 §5.2. */
size_t ws_frame_encode(uint8_t out[WS_FRAME_SERVER_HEADER_MAX], enum ws_opcode opcode,
                       uint64_t len);

/* Unmask `data[0..len)` in place. `offset` is how many bytes of this frame's payload came before
 * data[0], so that a payload may be unmasked in pieces. RFC 6455 §5.3.
 *
 * Returns whether all of the unmasked bytes are ASCII. This costs nothing here, and such a text
 * need not go through utf8_feed(). */
bool ws_frame_unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t offset);

/* Bytes of the header of a client's frame with that payload: 6, 8 or 14. */
static inline size_t ws_frame_header_len(uint64_t len)
{
    return len < 126 ? 6 : len <= 0xffff ? 8 : WS_FRAME_HEADER_MAX;
}

static inline bool ws_opcode_is_control(enum ws_opcode opcode)
{
    return (opcode & 0x8) != 0;
}

#endif
