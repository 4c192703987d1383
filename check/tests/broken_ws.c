/* SPDX-License-Identifier: MIT
 *
 * Frames, RFC 6455 §5.2 to §5.5, and when a connection is over; see broken.h. */
#include "broken_ws.h"

#include <poll.h>
#include <string.h>
#include <time.h>

enum { OUT_MAX = 256 * 1024, CLOSE_WAIT_MS = 50, GATHER_MS = 20, FORGOTTEN_MS = 3000 };

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static const char *name_of(unsigned opcode)
{
    static const char *const names[16] = {[OP_CONTINUATION] = "continuation",
                                          [OP_TEXT] = "text",
                                          [OP_BINARY] = "binary",
                                          [OP_CLOSE] = "close",
                                          [OP_PING] = "ping",
                                          [OP_PONG] = "pong"};

    return names[opcode] != NULL ? names[opcode] : "reserved";
}

static bool is_control(unsigned opcode)
{
    return opcode >= OP_CLOSE;
}

static bool is_reserved(unsigned opcode)
{
    return (opcode > OP_BINARY && opcode < OP_CLOSE) || opcode > OP_PONG;
}

/* --- the header ------------------------------------------------------------------------------- */

/* Returns whether it has come whole. */
static bool read_header(struct frame *f, const struct fault *fault, const uint8_t *data, size_t len)
{
    if (len < 2)
        return false;
    *f = (struct frame){.fin = (data[0] & 0x80) != 0,
                        .rsv = data[0] >> 4 & 7,
                        .opcode = data[0] & 15,
                        .masked = (data[1] & 0x80) != 0,
                        .len = data[1] & 0x7f};
    f->size = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
    f->header_len = 2 + f->size + (f->masked ? 4 : 0);
    if (len < f->header_len)
        return false;
    if (f->size != 0)
        f->len = 0;
    for (unsigned i = 0; i < f->size; i++)
        f->len = f->len << 8 | data[2 + i];
    if (fault_is(fault, "length-16-swapped") && f->size == 2)
        f->len = (f->len & 0xff) << 8 | f->len >> 8;
    if (fault_is(fault, "length-64-as-16") && f->size == 8)
        f->len &= 0xffff;
    if (f->masked)
        memcpy(f->key, data + 2 + f->size, 4);
    if (fault_is(fault, "mask-lacks"))
        f->key[fault_number(fault, "mask-lacks", 0) & 3] = 0;
    return true;
}

/* §5.2: reserved bits and opcodes, the mask, the form of the length. */
static bool is_header_legal(const struct frame *f, const struct fault *fault)
{
    bool is_short =
        f->size == 0 || (f->size == 2 && f->len > 125) || (f->size == 8 && f->len > 0xffff);

    if (f->rsv != 0 && !fault_at(fault, "rsv", (long)f->rsv) &&
        !fault_has(fault, "rsv-of", name_of(f->opcode)))
        return false;
    if (is_reserved(f->opcode) && !fault_at(fault, "opcode", (long)f->opcode))
        return false;
    if (!f->masked && !fault_has(fault, "unmasked", name_of(f->opcode)) &&
        !(fault_has(fault, "unmasked", "empty") && f->len == 0))
        return false;
    if (fault_is(fault, "mask-of-zeros") && memcmp(f->key, "\0\0\0\0", 4) == 0)
        return false;
    return is_short || fault_at(fault, "long-form", (long)f->size);
}

/* §5.5 */
static bool is_control_legal(const struct frame *f, const struct fault *fault)
{
    if (f->len > (uint64_t)fault_number(fault, "control-max", 125) &&
        !fault_has(fault, "control-long", name_of(f->opcode)))
        return false;
    return f->fin || fault_has(fault, "control-fragment", name_of(f->opcode));
}

/* §5.4: what may come depends on the message that is open. */
static bool is_order_legal(const struct ws *ws)
{
    const struct frame *f = &ws->frame;

    if (f->opcode != OP_CONTINUATION)
        return !ws->open || fault_has(ws->fault, "order", "begins-anew");
    if (fault_has(ws->fault, "order", "after-the-end"))
        return ws->open || ws->ever_open;
    if (fault_has(ws->fault, "order", "after-ping"))
        return ws->open || ws->pings > 0;
    if (fault_is(ws->fault, "open-if-not-empty"))
        return ws->message.len > 0;
    return ws->open || ws->control_open != 0 || fault_has(ws->fault, "order", "continues-nothing");
}

static bool is_too_big(const struct ws *ws)
{
    const struct frame *f = &ws->frame;

    if (fault_is(ws->fault, "any-length-awaited"))
        return false;
    if (fault_has(ws->fault, "wraps", "size-of-frame"))
        return f->header_len + f->len > MESSAGE_MAX;
    if (fault_has(ws->fault, "wraps", "size-of-message"))
        return ws->message.len + f->len > MESSAGE_MAX;
    return f->len > MESSAGE_MAX - ws->message.len;
}

/* Returns 0, or the status to fail the connection with. */
static unsigned check_frame(const struct ws *ws)
{
    const struct frame *f = &ws->frame;

    if (ws->unchecked)
        return 0;
    if (!is_header_legal(f, ws->fault))
        return PROTOCOL_ERROR;
    if (is_reserved(f->opcode)) /* the mistake: it is ignored */
        return 0;
    if (is_control(f->opcode) ? !is_control_legal(f, ws->fault) : !is_order_legal(ws))
        return PROTOCOL_ERROR;
    if (fault_is(ws->fault, "empty-fragment-refused") && !is_control(f->opcode) && f->len == 0 &&
        (!f->fin || f->opcode == OP_CONTINUATION))
        return PROTOCOL_ERROR;
    if (fault_is(ws->fault, "pong-refused") && f->opcode == OP_PONG)
        return PROTOCOL_ERROR;
    return is_too_big(ws) ? TOO_BIG : 0;
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool is_of_control(const struct ws *ws)
{
    return is_control(ws->frame.opcode) ||
           (ws->control_open != 0 && ws->frame.opcode == OP_CONTINUATION);
}

/* The mistake: a check that is made only now and then. */
static bool overlooks(const struct ws *ws, size_t left)
{
    if (fault_has(ws->fault, "checks", "first-frame"))
        return ws->frames > 0;
    if (fault_has(ws->fault, "checks", "whole-frames"))
        return ws->was_cut || left - ws->frame.header_len < ws->frame.len;
    return false;
}

static void begin_frame(struct ws *ws, size_t left)
{
    unsigned status;

    ws->in_frame = true;
    ws->got = 0;
    ws->ignored = false;
    ws->unchecked = overlooks(ws, left);
    conn_take(ws->c, ws->frame.header_len);
    status = check_frame(ws);
    if (status != 0 && ws->frame.opcode <= OP_BINARY &&
        fault_is(ws->fault, "answers-before-it-fails")) {
        ws->pending = status;
        ws->unchecked = true;
        status = 0;
    }
    if (status != 0)
        ws_fail(ws, status);
    else if (!is_of_control(ws) && !is_reserved(ws->frame.opcode) &&
             (ws->frame.opcode != OP_CONTINUATION || !ws->open))
        ws_begin_message(ws);
}

static void end_frame(struct ws *ws)
{
    ws->in_frame = ws->was_cut = false;
    ws->frames++;
    if (ws->ignored || is_reserved(ws->frame.opcode))
        return;
    if (is_of_control(ws))
        ws_end_control(ws);
    else
        ws_end_data(ws);
    if (ws->pending != 0)
        ws_fail(ws, ws->pending);
    if (ws->frames == (unsigned long)fault_number(ws->fault, "frames-max", 0))
        ws_fail(ws, 1011);
}

/* Byte i of the payload with byte i mod 4 of the key, §5.3. */
static void unmask(const struct ws *ws, uint8_t *data, size_t len)
{
    const uint8_t *key = ws->frame.key;
    const uint8_t bits = fault_is(ws->fault, "mask-of-7-bits") ? 0x7f : 0xff;
    uint64_t at = ws->got;

    if (fault_is(ws->fault, "mask-starts-anew"))
        at = 0; /* in each piece that comes */
    if (fault_is(ws->fault, "mask-from-header"))
        at += ws->frame.header_len;
    for (size_t i = 0; i < len; i++)
        data[i] ^= key[(at + i) & 3] & bits;
}

static void take_payload(struct ws *ws)
{
    struct conn *c = ws->c;
    uint64_t missing = ws->frame.len - ws->got;
    size_t len = conn_left(c) < missing ? conn_left(c) : (size_t)missing;
    uint8_t *data = c->in.data + c->at;

    if (len > 0)
        unmask(ws, data, len);
    if (!ws->ignored && is_of_control(ws))
        bytes_add(&ws->control, data, len);
    else if (!ws->ignored && !is_reserved(ws->frame.opcode))
        ws_take_data(ws, data, len);
    ws->got += len;
    conn_take(c, len);
    if (ws->got == ws->frame.len && !ws->over)
        end_frame(ws);
}

/* Handle what is there of one frame. Returns whether there may be more to handle. */
static bool take_frame(struct ws *ws)
{
    struct conn *c = ws->c;

    if (!ws->in_frame) {
        if (conn_left(c) == 0)
            return false;
        if (!read_header(&ws->frame, ws->fault, c->in.data + c->at, conn_left(c))) {
            if (!ws->was_cut)
                ws->begun_ms = now_ms();
            ws->was_cut = true;
            return false;
        }
        begin_frame(ws, conn_left(c));
        if (ws->over)
            return false;
    }
    take_payload(ws);
    return !ws->in_frame && !ws->over;
}

/* --- the connection --------------------------------------------------------------------------- */

/* The mistake: where a frame is cut here, what has come of it is lost. */
static void lose_part(struct ws *ws)
{
    struct conn *c = ws->c;
    size_t left = conn_left(c);
    unsigned size = left < 2 ? 0 : ws->frame.size;
    const char *where = ws->in_frame      ? "payload"
                        : left == 0       ? "nowhere"
                        : left == 1       ? "first-byte"
                        : left < 2 + size ? "length"
                                          : "mask";

    if (!fault_has(ws->fault, "cut-in", where))
        return;
    conn_take(c, left);
    ws->in_frame = ws->was_cut = false;
    ws->open = false;
    ws->control.len = 0;
}

static void take_frames(struct ws *ws)
{
    while (take_frame(ws)) {
        if (ws->c->out.len > OUT_MAX && !fault_is(ws->fault, "close-drops-output"))
            conn_flush(ws->c);
        if (fault_is(ws->fault, "one-frame-per-recv")) {
            conn_take(ws->c, conn_left(ws->c));
            break;
        }
    }
    if (!ws->over)
        lose_part(ws);
}

/* How long to wait for more: some faults have no patience. */
static int patience_ms(const struct ws *ws)
{
    if (fault_is(ws->fault, "idle-max-ms"))
        return (int)fault_number(ws->fault, "idle-max-ms", 0);
    if (ws->closing)
        return CLOSE_WAIT_MS; /* it goes on after its Close, but not for ever */
    if (fault_is(ws->fault, "close-drops-output") && ws->c->out.len > 0)
        return GATHER_MS; /* it gathers its output */
    return -1;
}

static bool took_too_long(const struct ws *ws)
{
    return ws->was_cut &&
           now_ms() - ws->begun_ms > (uint64_t)fault_number(ws->fault, "frame-max-ms", INT32_MAX);
}

/* The mistakes: the client's FIN is not noticed. */
static bool overlooks_fin(const struct ws *ws)
{
    const char *where = ws->in_frame || ws->was_cut ? "in-a-frame"
                        : ws->open                  ? "in-a-message"
                                                    : "idle";

    return fault_has(ws->fault, "fin-ignored", where);
}

static bool wait_for_more(struct ws *ws)
{
    int timeout_ms = patience_ms(ws);

    switch (conn_more(ws->c, timeout_ms)) {
    case MORE_CAME:
        return !took_too_long(ws);
    case MORE_END:
        if (overlooks_fin(ws))
            poll(NULL, 0, FORGOTTEN_MS);
        return false;
    case MORE_TIMEOUT:
        conn_flush(ws->c);
        return timeout_ms == GATHER_MS;
    }
    return false;
}

void ws_serve(struct conn *c)
{
    struct ws ws = {.c = c, .fault = c->fault};

    do {
        take_frames(&ws);
        if (ws.over || !fault_is(c->fault, "close-drops-output"))
            conn_flush(c);
    } while (!ws.over && wait_for_more(&ws));
    conn_flush(c);
    if (ws.closing &&
        fault_has(c->fault, "tcp-left-open", ws.failed ? "after-fault" : "after-close"))
        poll(NULL, 0, FORGOTTEN_MS);
    bytes_release(&ws.control);
    bytes_release(&ws.message);
    bytes_release(&ws.late);
}
