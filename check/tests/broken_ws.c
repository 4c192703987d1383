/* SPDX-License-Identifier: MIT
 *
 * The echo: frames, messages, control frames and the close, RFC 6455 §5 to §7; see broken.h. */
#include "broken.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum opcode_class { FIRST_CONTROL = 8 };
enum { MESSAGE_MAX = 64 * 1024 * 1024, OUT_MAX = 256 * 1024 };
enum status { NORMAL = 1000, PROTOCOL_ERROR = 1002, INVALID_DATA = 1007, TOO_BIG = 1009 };

struct frame {
    bool fin;
    bool masked;
    unsigned rsv;
    unsigned opcode;
    unsigned size; /* bytes of the extended length */
    uint64_t len;
    uint8_t key[4];
    size_t header_len;
};

struct ws {
    struct conn *c;
    const struct fault *fault;
    struct frame frame; /* the one that comes, with */
    bool in_frame;      /* this: its header has come */
    bool was_cut;       /* its first bytes came without the rest */
    bool unchecked;     /* the mistake: its faults are overlooked */
    bool ignored;       /* the mistake: a fault was told, but its input is not thrown away */
    uint64_t got;       /* bytes of its payload */
    uint64_t got_here;  /* those of the last recv() */
    uint64_t begun_ms;
    struct bytes control;
    unsigned control_open; /* the mistake: opcode of a control frame in fragments, or 0 */
    struct bytes message;
    unsigned opcode;     /* of the message */
    unsigned first_type; /* of the first one */
    bool open;           /* a message has begun and not ended */
    bool ever_open;
    struct utf8 utf8;
    struct bytes late; /* Pongs that are held back */
    unsigned pings;
    unsigned long frames;
    unsigned long frames_here; /* since the last recv() */
    bool closing;              /* Close was sent */
    bool over;                 /* nothing more is handled */
};

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
    return opcode >= FIRST_CONTROL;
}

static bool is_reserved(unsigned opcode)
{
    return (opcode > OP_BINARY && opcode < OP_CLOSE) || opcode > OP_PONG;
}

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

/* RFC 6455 §7.1.7: fail the connection, and throw away what else has come. */
static void fail(struct ws *ws, unsigned status)
{
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
    if (fault_has(fault, "long-form", "msb"))
        f->len &= ~(UINT64_C(1) << 63);
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
    if (f->len > MESSAGE_MAX - ws->message.len && !fault_is(ws->fault, "any-length-awaited"))
        return TOO_BIG;
    return 0;
}

/* --- messages --------------------------------------------------------------------------------- */

/* Some servers begin a message with the first frame only. */
static void begin_message(struct ws *ws)
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
    if (fault_is(fault, "nul-ends-text") && ws->opcode == OP_TEXT)
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
        fail(ws, INVALID_DATA);
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

static void take_data(struct ws *ws, const uint8_t *data, size_t len)
{
    bool frame_ends = ws->got + len == ws->frame.len;

    bytes_add(&ws->message, data, len);
    if (!is_text_legal(ws, data, len, frame_ends))
        fail(ws, INVALID_DATA);
}

static void end_data(struct ws *ws)
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
    if (len - 2 > (size_t)fault_number(ws->fault, "reason-max", 123))
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

    if (error != 0) {
        fail(ws, error);
        return;
    }
    if (fault_is(fault, "close-unanswered"))
        ws->closing = true;
    else
        put_close(ws, fault_is(fault, "close-always-1000") ? NORMAL : status);
    ws->over = !fault_is(fault, "goes-on-after-close");
}

static void end_control(struct ws *ws)
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
    ws->got = ws->got_here = 0;
    ws->ignored = false;
    ws->unchecked = overlooks(ws, left);
    conn_take(ws->c, ws->frame.header_len);
    status = check_frame(ws);
    if (status != 0)
        fail(ws, status);
    else if (!is_of_control(ws) && !is_reserved(ws->frame.opcode) &&
             (ws->frame.opcode != OP_CONTINUATION || !ws->open))
        begin_message(ws);
}

static void end_frame(struct ws *ws)
{
    ws->in_frame = ws->was_cut = false;
    ws->frames++;
    ws->frames_here++;
    if (ws->ignored || is_reserved(ws->frame.opcode))
        return;
    if (is_of_control(ws))
        end_control(ws);
    else
        end_data(ws);
    if (ws->frames == (unsigned long)fault_number(ws->fault, "frames-max", 0))
        fail(ws, 1011);
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
        take_data(ws, data, len);
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
    ws->frames_here = 0;
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
        return 50; /* it goes on after its Close, but not for ever */
    if (fault_is(ws->fault, "close-drops-output") && ws->c->out.len > 0)
        return 20; /* it gathers its output */
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
            poll(NULL, 0, 3000);
        return false;
    case MORE_TIMEOUT:
        conn_flush(ws->c);
        return timeout_ms == 20;
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
    if (ws.closing && fault_is(c->fault, "tcp-left-open"))
        poll(NULL, 0, 3000);
    if (ws.closing && ws.over && fault_is(c->fault, "tcp-left-open-after-failure"))
        poll(NULL, 0, 3000);
    bytes_release(&ws.control);
    bytes_release(&ws.message);
    bytes_release(&ws.late);
}
