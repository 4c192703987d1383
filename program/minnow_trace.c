/* SPDX-License-Identifier: MIT
 *
 * --trace: frames as lines of the log; see minnow_trace.h. */
#include "minnow_trace.h"

enum { SHOWN = 32 /* bytes of a payload */ };

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

void minnow_trace(void *arg, const struct ws_trace *frame)
{
    struct minnow_streams *streams = arg;

    minnow_log_add(&streams->log, "minnow: #%llu %s ", (unsigned long long)ws_conn_id(frame->conn),
                   frame->received ? "<-" : "->");
    if (frame->fault == NULL)
        add_legal(&streams->log, frame);
    else
        add_illegal(&streams->log, frame);
    minnow_streams_end_line(streams);
}
