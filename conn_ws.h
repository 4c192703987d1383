/* SPDX-License-Identifier: MIT
 *
 * A connection that speaks WebSocket: frames and messages in and out, rooms. */
#ifndef CONN_WS_H
#define CONN_WS_H

#include "server.h"

/* The 101 is queued: the WebSocket connection is open. */
void conn_open(struct ws_conn *c, const struct ws_request *req);
/* One step into the frames in `data`: a frame, or a part of one. Returns bytes consumed, 0 when it
 * needs more. */
size_t conn_frames_feed(struct ws_conn *c, uint8_t *data, size_t len);
/* Where payload may be received without a copy, behind what the message has so far: its size, or 0.
 * Then conn_payload_came() says how much of it has been filled. */
size_t conn_payload_space(struct ws_conn *c, uint8_t **space);
void conn_payload_came(struct ws_conn *c, size_t n);
/* A deadline of `c` has come: end the measuring of its message rate, if that is over. Returns how
 * long it still lasts, in ms; 0: there is none. */
unsigned conn_messages_metered(struct ws_conn *c);
/* Queue one whole frame. */
int conn_frame(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len);
/* There is no memory for the message that comes in: close this connection with 1013. */
COLD void conn_frames_overload(struct ws_conn *c);

#endif
