/* SPDX-License-Identifier: MIT
 *
 * The trace of frames: a line of the log for each frame that came or leaves.
 * The callers ask server_tracing() before. */
#ifndef CONN_TRACE_H
#define CONN_TRACE_H

#include "server.h"

/* A frame from the peer; `payload` is masked, as much of it as has come. */
COLD void conn_trace_received(const struct ws_conn *c, const struct ws_frame *f,
                              const uint8_t *payload, size_t len);
/* An illegal frame header, as far as it has come. */
COLD void conn_trace_illegal(const struct ws_conn *c, const uint8_t *data, size_t len);
/* A whole frame that the server sends. */
COLD void conn_trace_sent(const struct ws_conn *c, enum ws_opcode opcode, const uint8_t *payload,
                          size_t len);

#endif
