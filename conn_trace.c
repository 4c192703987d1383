/* SPDX-License-Identifier: MIT
 *
 * Frames as lines of the log; see conn_trace.h. */
#include "conn_trace.h"

#include <stdio.h>

enum { TRACE_BYTES = 32 /* of a payload that a trace shows */ };

/* The fields of a legal frame and the start of its payload, as far as it has come. Fields with only
 * one legal value are shown, too: a trace is read beside §5.2. */
COLD static void trace_frame(const struct ws_conn *c, const char *arrow, const struct ws_frame *f,
                             const uint8_t *payload, size_t len)
{
    bool masked = arrow[0] == '<';
    char text[TRACE_BYTES + 1] = "";
    char code[16] = "";
    size_t n = len < TRACE_BYTES ? len : TRACE_BYTES;
    const char *quote = n > 0 || f->len == 0 ? "\"" : "";
    size_t skip = 0;

    for (size_t i = 0; i < n; i++)
        text[i] = (char)(masked ? payload[i] ^ f->mask[i & 3] : payload[i]);
    if (f->opcode == WS_OP_CLOSE && n >= 2) {
        skip = 2;
        snprintf(code, sizeof code, " code=%u",
                 (unsigned)(uint8_t)text[0] << 8 | (unsigned)(uint8_t)text[1]);
    }
    for (size_t i = 0; i < n; i++)
        text[i] = text[i] < ' ' || text[i] > '~' ? '.' : text[i];
    server_log(
        c->server, WS_LOG_TRACE, "#%llu %s %s fin=%d rsv=0 opcode=%d masked=%d len=%llu%s %s%s%s%s",
        (unsigned long long)c->id, arrow, ws_opcode_name(f->opcode), f->fin, f->opcode, masked,
        (unsigned long long)f->len, code, quote, text + skip, quote, f->len > n ? "..." : "");
}

void conn_trace_received(const struct ws_conn *c, const struct ws_frame *f, const uint8_t *payload,
                         size_t len)
{
    trace_frame(c, "<-", f, payload, len);
}

void conn_trace_illegal(const struct ws_conn *c, const uint8_t *data, size_t len)
{
    char hex[3 * WS_FRAME_HEADER_MAX + 1] = "";

    for (size_t i = 0; i < len && i < WS_FRAME_HEADER_MAX; i++)
        snprintf(hex + 3 * i, 4, " %02x", data[i]);
    server_log(c->server, WS_LOG_TRACE, "#%llu <- illegal fin=%d rsv=%d opcode=%d, bytes%s",
               (unsigned long long)c->id, data[0] >> 7, data[0] >> 4 & 7, data[0] & 15, hex);
}

void conn_trace_sent(const struct ws_conn *c, enum ws_opcode opcode, const uint8_t *payload,
                     size_t len)
{
    trace_frame(c, "->", &(struct ws_frame){.len = len, .opcode = opcode, .fin = true}, payload,
                len);
}
