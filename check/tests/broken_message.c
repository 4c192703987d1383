/* SPDX-License-Identifier: MIT
 *
 * Messages, control frames and the close, RFC 6455 §5.4 to §7; see broken.h. */
#include "broken_ws.h"

#include <string.h>

/* --- sending ---------------------------------------------------------------------------------- */

static void put_frame(struct ws *ws, unsigned opcode, const void *data, size_t len)
{
    frame_write(&ws->c->out,
                &(struct out_frame){
                    .opcode = opcode, .fin = true, .unmasked = true, .payload = data, .len = len});
}

/* A Close frame; then nothing more is handled. A status of 0: without one. */
static void put_close(struct ws *ws, unsigned status)
{
    const char *reason = fault_is(ws->fault, "close-reason") ? "\xff\xfe" : "";
    uint8_t payload[4] = {(uint8_t)(status >> 8), (uint8_t)status, (uint8_t)reason[0],
                          (uint8_t)(reason[0] == '\0' ? 0 : reason[1])};
    size_t len = status == 0 ? 0 : 2 + strlen(reason);

    if (fault_is(ws->fault, "close-payload-of-1"))
        len = 1;
    if (fault_is(ws->fault, "close-drops-output"))
        ws->c->out.len = 0;
    if (!fault_is(ws->fault, "ends-without-close"))
        put_frame(ws, OP_CLOSE, payload, len);
    if (fault_is(ws->fault, "frame-after-close"))
        put_frame(ws, OP_PING, "", 0);
    ws->closing = true;
}

void ws_fail(struct ws *ws, unsigned status)
{
    ws->failed = true;
    if (fault_is(ws->fault, "fails-without-close"))
        ws->closing = true;
    else
        put_close(ws, fault_is(ws->fault, "fails-with")
                          ? (unsigned)fault_number(ws->fault, "fails-with", 0)
                          : status);
    if (fault_is(ws->fault, "goes-on-after-a-fault"))
        ws->ignored = true;
    else
        ws->over = true;
}

/* --- messages --------------------------------------------------------------------------------- */

/* Some servers begin a message with the first frame only. */
void ws_begin_message(struct ws *ws)
{
    const struct frame *f = &ws->frame;

    ws->opcode = f->opcode == OP_CONTINUATION ? OP_TEXT : f->opcode;
    if (ws->first_type == 0)
        ws->first_type = ws->opcode;
    ws->open = ws->ever_open = true;
    ws->message.len = 0;
    ws->utf8 = (struct utf8){0};
}

static void put_message(struct ws *ws, unsigned opcode, const uint8_t *data, size_t len)
{
    const struct fault *fault = ws->fault;
    struct out_frame f = {
        .opcode = opcode, .fin = true, .unmasked = true, .payload = data, .len = len};

    if (fault_has(fault, "echo", "masked"))
        f.unmasked = false;
    if (fault_has(fault, "echo", "rsv"))
        f.rsv = 4;
    if (fault_has(fault, "echo", "opcode"))
        f.opcode = 3;
    if (fault_has(fault, "echo", "long-form"))
        f.form = len < 126 ? LENGTH_16 : LENGTH_64;
    if (fault_has(fault, "echo", "not-final"))
        f.fin = false;
    if (fault_has(fault, "echo", "continuation"))
        f.opcode = OP_CONTINUATION;
    frame_write(&ws->c->out, &f);
}

/* No mistake: a server may cut its messages as it likes, and send Pings and Pongs between. */
static void put_in_fragments(struct ws *ws, unsigned opcode, const uint8_t *data, size_t len)
{
    struct out_frame f = {.opcode = opcode, .unmasked = true, .payload = data, .len = len / 2};

    frame_write(&ws->c->out, &f);
    put_frame(ws, OP_PING, "between", 7);
    f = (struct out_frame){.unmasked = true};
    frame_write(&ws->c->out, &f);
    put_frame(ws, OP_PONG, "", 0);
    f = (struct out_frame){
        .fin = true, .unmasked = true, .payload = data + len / 2, .len = len - len / 2};
    frame_write(&ws->c->out, &f);
}

/* Mistakes with the bytes of an echo. Returns its length. */
static size_t spoil(const struct ws *ws, uint8_t *data, size_t len)
{
    const struct fault *fault = ws->fault;

    if (fault_at(fault, "echo-length", (long)len))
        return len - 1;
    if (len > (size_t)fault_number(fault, "echo-max", MESSAGE_MAX))
        return (size_t)fault_number(fault, "echo-max", 0);
    if (len > 0 && fault_is(fault, "nul-ends-text") && ws->opcode == OP_TEXT)
        return strnlen((const char *)data, len);
    if (fault_is(fault, "mark-dropped") && len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        memmove(data, data + 3, len - 3);
        return len - 3;
    }
    for (size_t i = 0; fault_is(fault, "crlf-to-lf") && i + 1 < len; i++)
        if (data[i] == '\r')
            data[i] = ' ';
    return len;
}

static void echo(struct ws *ws)
{
    const struct fault *fault = ws->fault;
    unsigned opcode = ws->opcode;
    size_t len = ws->message.len;

    if (len == 0 && (fault_is(fault, "empty-unanswered") || fault_at(fault, "echo-length", 0)))
        return;
    if (fault_is(fault, "echo-as"))
        opcode = fault_has(fault, "echo-as", "text") ? OP_TEXT : OP_BINARY;
    if (fault_is(fault, "type-of-first-message"))
        opcode = ws->first_type;
    if (fault_is(fault, "type-of-last-frame") && ws->frame.opcode == OP_CONTINUATION)
        opcode = OP_BINARY;
    len = spoil(ws, ws->message.data, len);
    if (fault_is(fault, "legal-fragments"))
        put_in_fragments(ws, opcode, ws->message.data, len);
    else
        put_message(ws, opcode, ws->message.data, len);
}

static void end_message(struct ws *ws)
{
    bool must_be_whole = ws->opcode == OP_TEXT && !ws->unchecked &&
                         !fault_has(ws->fault, "utf8", "open-end") &&
                         !(fault_has(ws->fault, "utf8", "continuations-unchecked") &&
                           ws->frame.opcode == OP_CONTINUATION);

    ws->open = false;
    if (must_be_whole && !utf8_is_whole(&ws->utf8)) {
        ws_fail(ws, INVALID_DATA);
        return;
    }
    echo(ws);
    ws->message.len = 0;
    bytes_add(&ws->c->out, ws->late.data, ws->late.len);
    ws->late.len = 0;
}

/* Check text as soon as it is there, §8.1, or when the fault does. */
static bool is_text_legal(struct ws *ws, const uint8_t *data, size_t len, bool frame_ends)
{
    const struct fault *fault = ws->fault;
    bool ends = frame_ends && ws->frame.fin;

    if ((ws->opcode != OP_TEXT && !fault_has(fault, "utf8", "binary-too")) || ws->unchecked)
        return true;
    if (fault_has(fault, "utf8", "unchecked") ||
        (fault_has(fault, "utf8", "continuations-unchecked") && ws->frame.opcode == 0))
        return true;
    if (fault_has(fault, "utf8", "at-the-end") || fault_has(fault, "utf8", "at-end-of-frame")) {
        if (!(fault_has(fault, "utf8", "at-the-end") ? ends : frame_ends))
            return true;
        ws->utf8 = (struct utf8){0};
        data = ws->message.data;
        len = ws->message.len;
    }
    if (!utf8_feed(&ws->utf8, ws->c->rules, data, len))
        return false;
    if (fault_has(fault, "utf8", "each-fragment") && frame_ends)
        return utf8_is_whole(&ws->utf8);
    if (fault_has(fault, "utf8", "each-recv"))
        return utf8_is_whole(&ws->utf8);
    if (fault_has(fault, "utf8", "binary-too") && ends)
        return utf8_is_whole(&ws->utf8);
    return true;
}

void ws_take_data(struct ws *ws, const uint8_t *data, size_t len)
{
    bool frame_ends = ws->got + len == ws->frame.len;

    bytes_add(&ws->message, data, len);
    if (!is_text_legal(ws, data, len, frame_ends))
        ws_fail(ws, INVALID_DATA);
}

void ws_end_data(struct ws *ws)
{
    const struct fault *fault = ws->fault;
    bool fin = ws->frame.fin;

    if (fault_is(fault, "empty-continuation-ignored") && ws->frame.opcode == OP_CONTINUATION &&
        ws->frame.len == 0)
        return;
    if (fault_is(fault, "each-fragment-echoed"))
        fin = true;
    if (fin)
        end_message(ws);
    else if (fault_is(fault, "fragments-forgotten")) /* only the last one is left */
        ws->message.len = 0;
}

/* --- control frames --------------------------------------------------------------------------- */

static void answer_ping(struct ws *ws)
{
    const struct fault *fault = ws->fault;
    size_t len = ws->control.len;

    ws->pings++;
    if (fault_has(fault, "pong", "never") || fault_at(fault, "pong-lacks", (long)len) ||
        (fault_has(fault, "pong", "first-only") && ws->pings > 1) ||
        (fault_has(fault, "pong", "not-in-message") && ws->open))
        return;
    if (fault_has(fault, "pong", "empty"))
        len = 0;
    if (fault_has(fault, "pong", "as-string") && len > 0)
        len = strnlen((const char *)ws->control.data, len);
    if (fault_has(fault, "pong", "ping"))
        put_frame(ws, OP_PING, ws->control.data, len);
    else if (fault_has(fault, "pong", "after-message") && ws->open)
        frame_write(&ws->late, &(struct out_frame){.opcode = OP_PONG,
                                                   .fin = true,
                                                   .unmasked = true,
                                                   .payload = ws->control.data,
                                                   .len = len});
    else
        put_frame(ws, OP_PONG, ws->control.data, len);
}

/* The table of RFC 6455 §7.4. */
static bool is_status_legal(const struct fault *fault, unsigned status)
{
    if (fault_at(fault, "status-taken", (long)status))
        return true;
    if (fault_at(fault, "status-lacks", (long)status))
        return false;
    if (fault_is(fault, "status-undefined-taken") && status >= 1000 && status < 3000)
        return status != 1004 && status != 1005 && status != 1006 && status != 1015;
    if (status >= 3000 && status < 5000)
        return true;
    return status >= 1000 && status <= 1014 && (status < 1004 || status > 1006);
}

static bool is_reason_legal(const struct ws *ws, const uint8_t *reason, size_t len)
{
    struct utf8 utf8 = {0};

    if (fault_is(ws->fault, "reason-unchecked"))
        return true;
    for (size_t i = 0; fault_is(ws->fault, "reason-ascii") && i < len; i++)
        if (reason[i] > 0x7f)
            return false;
    if (!utf8_feed(&utf8, ws->c->rules, reason, len))
        return false;
    return utf8_is_whole(&utf8) || fault_is(ws->fault, "reason-open-end");
}

/* Returns 0, or the status to fail the connection with. */
static unsigned check_close(const struct ws *ws)
{
    const uint8_t *data = ws->control.data;
    size_t len = ws->control.len;

    if (len == 1)
        return fault_is(ws->fault, "half-a-status") ? 0 : PROTOCOL_ERROR;
    if (len == 0)
        return fault_at(ws->fault, "status-lacks", 0) ? PROTOCOL_ERROR : 0;
    if (!is_status_legal(ws->fault, (unsigned)data[0] << 8 | data[1]))
        return PROTOCOL_ERROR;
    if (len - 2 > (size_t)fault_number(ws->fault, "reason-max", MESSAGE_MAX))
        return PROTOCOL_ERROR;
    if (fault_is(ws->fault, "close-in-message") && ws->open)
        return PROTOCOL_ERROR;
    return is_reason_legal(ws, data + 2, len - 2) ? 0 : INVALID_DATA;
}

static void answer_close(struct ws *ws)
{
    const struct fault *fault = ws->fault;
    unsigned status =
        ws->control.len < 2 ? 0 : (unsigned)ws->control.data[0] << 8 | ws->control.data[1];
    unsigned error = check_close(ws);

    if (ws->failed) { /* by mistake it goes on, but this is the answer to our Close */
        ws->over = true;
        return;
    }
    if (error != 0) {
        ws_fail(ws, error);
        return;
    }
    if (fault_is(fault, "close-unanswered"))
        ws->closing = true;
    else
        put_close(ws, fault_is(fault, "close-always-1000") ? NORMAL : status);
    ws->over = !fault_is(fault, "goes-on-after-close");
}

void ws_end_control(struct ws *ws)
{
    unsigned opcode = ws->control_open != 0 ? ws->control_open : ws->frame.opcode;

    if (!ws->frame.fin) { /* only by mistake */
        ws->control_open = opcode;
        return;
    }
    ws->control_open = 0;
    if (opcode == OP_PING)
        answer_ping(ws);
    if (opcode == OP_CLOSE)
        answer_close(ws);
    if (opcode == OP_PONG && fault_is(ws->fault, "pong-echoed"))
        put_message(ws, OP_BINARY, ws->control.data, ws->control.len);
    if (fault_is(ws->fault, "control-ends-message"))
        ws->open = false;
    if (fault_is(ws->fault, "control-in-message"))
        bytes_add(&ws->message, ws->control.data, ws->control.len);
    if (fault_is(ws->fault, "control-resets-utf8"))
        ws->utf8 = (struct utf8){0};
    ws->control.len = 0;
}
