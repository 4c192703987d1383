/* SPDX-License-Identifier: MIT
 *
 * Engine.IO 4 packets and polling payloads: decode and encode. It keeps nothing and does no I/O; of
 * the core it calls only the base64 of ws.h.
 *
 * A packet is a digit, its type, and data. On HTTP polling a message with binary data is 'b' and
 * base64 instead, and a payload is packets joined by the byte 0x1e. On a WebSocket binary data is a
 * binary message without a type, which does not pass here. */
#ifndef SOCKETIO_EIO_CODEC_H
#define SOCKETIO_EIO_CODEC_H

#include "../ws.h"

enum { EIO_SEPARATOR = 0x1e };

enum eio_type {
    EIO_TYPE_OPEN,
    EIO_TYPE_CLOSE,
    EIO_TYPE_PING,
    EIO_TYPE_PONG,
    EIO_TYPE_MESSAGE,
    EIO_TYPE_UPGRADE,
    EIO_TYPE_NOOP
};

/* Packets that have no data. */
#define EIO_CLOSE_PACKET "1"
#define EIO_PING_PACKET  "2"
#define EIO_NOOP_PACKET  "6"

struct eio_decoded {
    enum eio_type type;
    bool binary; /* `data` is base64, for eio_binary_decode(); the type is EIO_TYPE_MESSAGE */
    struct ws_str data; /* behind the type, inside the packet */
};

/* Decode one packet. False for an empty one and for an unknown type. */
bool eio_decode(struct eio_decoded *p, struct ws_str packet);

/* Take the next packet off the payload `*rest`. False when none is left. Each separator divides two
 * packets, so that an empty payload is one empty packet. Begin with rest->data not NULL. */
bool eio_payload_next(struct ws_str *rest, struct ws_str *packet);

/* Bytes that eio_binary_decode() may write for `len` characters, scratch included. */
#define EIO_BINARY_ROOM(len) ((len) + 3)

/* Decode base64 as the reference does: digits of either alphabet (RFC 4648 §4 and §5) up to the
 * first '=', which may be missing; other characters are skipped. Returns the number of bytes. */
size_t eio_binary_decode(void *out, struct ws_str text);

/* The length of a message in its text form. The caller keeps len under SIZE_MAX / 2. */
size_t eio_message_size(enum ws_opcode opcode, size_t len);

/* Write that form: '4' and the text, or 'b' and base64. Returns its length. */
size_t eio_message_encode(char *out, enum ws_opcode opcode, const void *data, size_t len);

#endif
