/* SPDX-License-Identifier: MIT
 *
 * A message on its way to many sessions, encoded once for each transport; see engineio.h. */
#ifndef SOCKETIO_EIO_PACKET_H
#define SOCKETIO_EIO_PACKET_H

#include "eio_queue.h"
#include "engineio.h"

/* The text form is what polling and text messages need; binary messages on WebSockets are the
 * data. */
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

/* May a message of this kind be sent at all? */
bool eio_message_is_legal(enum ws_opcode opcode, const void *data, size_t len);

/* Make a form, if it is not there yet: the frame for WebSockets, or the text form. False when out
 * of memory. */
bool eio_packet_prepare(struct eio_packet *p);
bool eio_packet_write(struct eio_packet *p);

#endif
