/* SPDX-License-Identifier: MIT
 *
 * --trace: frames as lines of the log; see minnow_trace.h. */
#include "minnow_trace.h"

#include <stdio.h>

enum { SHOWN = 32 /* bytes of a payload */, HEX_SHOWN = 12 };

static uint8_t payload_byte(const struct ws_trace *frame, size_t i)
{
    return frame->masked ? frame->payload[i] ^ frame->mask[i & 3] : frame->payload[i];
}

/* The beginning of the payload, in quotes, as far as it has come. A byte that is not printable
 * ASCII is shown as a dot. The status of a Close is shown as a number. */
static void add_payload(struct minnow_log *log, const struct ws_trace *frame)
{
    size_t shown = frame->payload_len < SHOWN ? frame->payload_len : SHOWN;
    char text[SHOWN];
    size_t at = 0;

    if (frame->opcode == WS_OP_CLOSE && shown >= 2) {
        at = 2;
        minnow_log_add(log, " code=%d", payload_byte(frame, 0) << 8 | payload_byte(frame, 1));
    }
    for (size_t i = at; i < shown; i++) {
        char c = (char)payload_byte(frame, i);

        text[i - at] = c < ' ' || c > '~' ? '.' : c;
    }
    if (shown > 0 || frame->len == 0)
        minnow_log_add(log, " \"%.*s\"", (int)(shown - at), text);
    minnow_log_add(log, "%s", frame->len > shown ? shown > 0 ? "..." : " ..." : "");
}

static void add_legal(struct minnow_log *log, const struct ws_trace *frame)
{
    minnow_log_add(log, "%s fin=%d rsv=%d opcode=%d masked=%d len=%llu",
                   ws_opcode_name((enum ws_opcode)frame->opcode), frame->fin, frame->rsv,
                   frame->opcode, frame->masked, (unsigned long long)frame->len);
    add_payload(log, frame);
}

static void add_illegal(struct minnow_log *log, const struct ws_trace *frame)
{
    minnow_log_add(log, "illegal fin=%d rsv=%d opcode=%d, bytes", frame->fin, frame->rsv,
                   frame->opcode);
    for (size_t i = 0; i < frame->header_len; i++)
        minnow_log_add(log, " %02x", frame->header[i]);
}

/* For ws_options.trace, with a struct minnow_streams as `arg`. */
static void trace_line(void *arg, const struct ws_trace *frame)
{
    struct minnow_streams *streams = arg;

    minnow_log_add(minnow_streams_begin_line(streams), "#%llu %s ",
                   (unsigned long long)ws_conn_id(frame->conn), frame->received ? "<-" : "->");
    if (frame->fault == NULL)
        add_legal(&streams->log, frame);
    else
        add_illegal(&streams->log, frame);
    minnow_streams_end_line(streams);
}

/* --- with the bytes --------------------------------------------------------------------------- */

/* A part of the frame: its bytes at most HEX_SHOWN of them, and what they are. `mask`: to xor them
 * with, or NULL. */
static void hex_line(struct minnow_streams *streams, const struct ws_trace *frame,
                     const uint8_t *data, size_t len, const uint8_t *mask, const char *means)
{
    struct minnow_log *log = minnow_streams_begin_line(streams);
    size_t shown = len < HEX_SHOWN ? len : HEX_SHOWN;

    minnow_log_add(log, "#%llu   ", (unsigned long long)ws_conn_id(frame->conn));
    for (size_t i = 0; i < shown; i++)
        minnow_log_add(log, " %02x", mask != NULL ? data[i] ^ mask[i & 3] : data[i]);
    minnow_log_add(log, "%s%*s  %s", len > shown ? " ..." : "",
                   (int)(3 * (HEX_SHOWN - shown) + (len > shown ? 0 : 4)), "", means);
    minnow_streams_end_line(streams);
}

/* RFC 6455 §5.2: FIN, RSV and opcode; MASK and the length, which has 2 or 8 more bytes where its 7
 * bits are 126 or 127; the masking key; the payload. */
static void trace_hex(void *arg, const struct ws_trace *frame)
{
    size_t key_len = frame->masked ? 4 : 0;
    struct minnow_streams *streams = arg;
    char text[64];

    trace_line(arg, frame);
    if (frame->fault != NULL)
        return; /* its bytes are in the line */
    snprintf(text, sizeof text, "fin=%d rsv=%d opcode=%d", frame->fin, frame->rsv, frame->opcode);
    hex_line(streams, frame, frame->header, 1, NULL, text);
    snprintf(text, sizeof text, "masked=%d len=%llu", frame->masked,
             (unsigned long long)frame->len);
    hex_line(streams, frame, frame->header + 1, frame->header_len - key_len - 1, NULL, text);
    if (frame->masked)
        hex_line(streams, frame, frame->mask, key_len, NULL, "masking key");
    if (frame->payload_len == 0)
        return;
    hex_line(streams, frame, frame->payload, frame->payload_len, NULL,
             frame->masked ? "payload, masked" : "payload");
    if (frame->masked)
        hex_line(streams, frame, frame->payload, frame->payload_len, frame->mask,
                 "payload, unmasked");
}

minnow_trace_function *minnow_trace_of(enum minnow_trace_form form)
{
    switch (form) {
    case MINNOW_TRACE_LINES:
        return trace_line;
    case MINNOW_TRACE_HEX:
        return trace_hex;
    case MINNOW_TRACE_OFF:
        break;
    }
    return NULL;
}
