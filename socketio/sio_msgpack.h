/* SPDX-License-Identifier: MIT
 *
 * The packets of Socket.IO in MessagePack, as socket.io-msgpack-parser 3 has them: each is one
 * binary message, a map with the members type, data, nsp and at times id. Binary values stand in
 * its data. No I/O: the payload comes in as JSON with binary values beside it, which is what events
 * are here, and goes out from there. */
#ifndef SIO_MSGPACK_H
#define SIO_MSGPACK_H

#include "sio_packet.h"

/* Read one packet. Its name of the namespace points into `bytes`; its payload is written to `json`,
 * which is empty; binary values go to `attachments`, as slices of `bytes`, and p->attachments is
 * their number. The types BINARY_EVENT and BINARY_ACK do not exist here. Returns 0 or a
 * sio_packet_error: what is refused is the same as in the packets that are text, and also an event
 * without any payload. */
int sio_msgpack_decode(struct sio_packet *p, struct ws_str bytes, struct json_writer *json,
                       struct ws_str attachments[SIO_BINARY_MAX]);

/* Write packet `p`, whose JSON is known to be valid; p->json.len may be 0. Placeholders in it
 * become attachments[0] to attachments[p->attachments - 1]. Returns 0 or a msgpack_result. */
int sio_msgpack_encode(struct json_writer *w, const struct sio_packet *p,
                       const struct ws_str *attachments);

#endif
