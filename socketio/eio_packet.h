/* SPDX-License-Identifier: MIT
 *
 * A message for many sessions, encoded once for each transport; see engineio.h. */
#ifndef SOCKETIO_EIO_PACKET_H
#define SOCKETIO_EIO_PACKET_H

#include "eio_queue.h"
#include "engineio.h"

/* Polling and text messages on WebSockets use the text form; binary messages on WebSockets are
 * `data`. */
struct eio_packet {
    struct eio_server *server;
    struct ws_account *account;
    unsigned references;
    bool binary;
    struct ws_prepared *prepared; /* for WebSockets; NULL: not made yet */
    struct eio_text *text;        /* the text form; NULL: not made yet */
    size_t len;
    uint8_t data[]; /* of a binary message */
};

/* May this message be sent? */
bool eio_message_is_legal(enum ws_opcode opcode, const void *data, size_t len);

/* Make a form, if it is not made yet: the frame for WebSockets, or the text form. False when out of
 * memory. */
bool eio_packet_prepare(struct eio_packet *p);
bool eio_packet_write(struct eio_packet *p);

#endif
