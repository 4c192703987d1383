/* SPDX-License-Identifier: MIT
 *
 * Frames as events of the trace; see conn_trace.h. */
#include "conn_trace.h"

#include <string.h>

static void trace(const struct ws_conn *c, const struct ws_trace *frame)
{
    c->server->options.trace(c->server->options.trace_arg, frame);
}

void conn_trace_received(const struct ws_conn *c, const struct ws_frame *f, const uint8_t *wire,
                         size_t header_len, size_t len)
{
    struct ws_trace frame = {.conn = c,
                             .received = true,
                             .fin = f->fin,
                             .opcode = (uint8_t)f->opcode,
                             .masked = true,
                             .len = f->len,
                             .header = wire,
                             .header_len = header_len,
                             .payload = wire + header_len,
                             .payload_len = len < f->len ? len : (size_t)f->len};

    memcpy(frame.mask, f->mask, sizeof frame.mask);
    trace(c, &frame);
}

/* The first byte is there, for without it nothing is illegal. */
void conn_trace_illegal(const struct ws_conn *c, const uint8_t *data, size_t len, const char *fault)
{
    struct ws_trace frame = {.conn = c,
                             .received = true,
                             .fault = fault,
                             .fin = (data[0] & 0x80) != 0,
                             .rsv = data[0] >> 4 & 7,
                             .opcode = data[0] & 15,
                             .masked = len > 1 && (data[1] & 0x80) != 0,
                             .header = data,
                             .header_len = len < WS_FRAME_HEADER_MAX ? len : WS_FRAME_HEADER_MAX};

    trace(c, &frame);
}

void conn_trace_wire(const struct ws_conn *c, const uint8_t *wire, size_t len)
{
    size_t header_len = wire[1] == 127 ? 10 : wire[1] == 126 ? 4 : 2;
    struct ws_trace frame = {.conn = c,
                             .fin = true,
                             .opcode = wire[0] & 15,
                             .len = len - header_len,
                             .header = wire,
                             .header_len = header_len,
                             .payload = wire + header_len,
                             .payload_len = len - header_len};

    trace(c, &frame);
}

void conn_trace_sent(const struct ws_conn *c, enum ws_opcode opcode, const uint8_t *payload,
                     size_t len)
{
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    struct ws_trace frame = {.conn = c,
                             .fin = true,
                             .opcode = (uint8_t)opcode,
                             .len = len,
                             .header = header,
                             .header_len = ws_frame_encode(header, opcode, len),
                             .payload = payload,
                             .payload_len = len};

    trace(c, &frame);
}
