/* SPDX-License-Identifier: MIT
 *
 * The trace: ws_options.trace is called for each frame that comes or is sent. Costs a comparison
 * where there is none. */
#ifndef CONN_TRACE_H
#define CONN_TRACE_H

#include "server.h"

static inline bool conn_is_traced(const struct ws_conn *c)
{
    return c->server->options.trace != NULL;
}

/* A frame from the peer: `header_len` bytes of header at `wire`, and behind them `len` bytes of
 * masked payload, which may be only the beginning of it. */
COLD void conn_trace_received(const struct ws_conn *c, const struct ws_frame *f,
                              const uint8_t *wire, size_t header_len, size_t len);
/* A frame header of the peer that is illegal: `len` bytes, from its first on, have come. `fault`
 * says why. */
COLD void conn_trace_illegal(const struct ws_conn *c, const uint8_t *data, size_t len,
                             const char *fault);
/* A whole frame of the server, of `len` bytes with its header, as it is on the wire. */
COLD void conn_trace_wire(const struct ws_conn *c, const uint8_t *wire, size_t len);
/* The same in parts: its header follows from the opcode and the payload. */
COLD void conn_trace_sent(const struct ws_conn *c, enum ws_opcode opcode, const uint8_t *payload,
                          size_t len);

#endif
