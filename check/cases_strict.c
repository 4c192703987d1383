/* SPDX-License-Identifier: MIT
 *
 * What a client must not send, RFC 6455 §5: the server fails the connection, §7.1.7, with the
 * status that says why, and nothing that came with or behind the fault is handled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

static const struct {
    unsigned opcode;
    const char *name;
} opcodes[] = {{OP_CONTINUATION, "continuation"},
               {OP_TEXT, "text"},
               {OP_BINARY, "binary"},
               {OP_CLOSE, "close"},
               {OP_PING, "ping"},
               {OP_PONG, "pong"}};

enum { OPCODES = sizeof opcodes / sizeof opcodes[0] };

/* A legal payload for a frame of that opcode. */
static size_t payload_for(unsigned opcode, const char **payload)
{
    *payload = opcode == OP_CLOSE ? "\x03\xe8" : "payload";
    return opcode == OP_CLOSE ? 2 : 7;
}

/* A continuation is legal behind a fragment alone. */
static void send_begin(struct script *s, unsigned opcode)
{
    if (opcode == OP_CONTINUATION)
        send_part(s, OP_TEXT, false, "begun ");
}

/* --- reserved bits ---------------------------------------------------------------------------- */

static void build_rsv(struct script *s, const struct check_case *c)
{
    struct out_frame f = {.opcode = (unsigned)c->a, .fin = true, .rsv = (unsigned)c->b};
    const char *payload;

    f.len = payload_for(f.opcode, &payload);
    f.payload = payload;
    open_websocket(s);
    send_begin(s, f.opcode);
    send_frame(s, &f);
    expect_failure(s, 1002);
}

static void add_reserved_bits(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_STRICT,
                              .section = RFC "§5.2",
                              .demand = "A reserved bit that no extension was negotiated for fails "
                                        "the connection.",
                              .hint = "Look at the three bits behind FIN: they must be 0.",
                              .build = build_rsv};

    for (size_t i = 0; i < OPCODES; i++)
        for (like.b = 1; like.b < 8; like.b++) {
            like.a = (long)opcodes[i].opcode;
            suite_add(suite, &like, "strict/rsv/%s-%ld%ld%ld", opcodes[i].name, like.b >> 2 & 1,
                      like.b >> 1 & 1, like.b & 1);
        }
}

/* --- reserved opcodes ------------------------------------------------------------------------- */

enum form { FORM_EMPTY, FORM_PAYLOAD, FORM_FRAGMENT };

static void build_opcode(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_frame(s, &(struct out_frame){.opcode = (unsigned)c->a,
                                      .fin = c->b != FORM_FRAGMENT,
                                      .payload = "payload",
                                      .len = c->b == FORM_EMPTY ? 0 : 7});
    expect_failure(s, 1002);
}

static void add_reserved_opcodes(struct suite *suite)
{
    static const char *const forms[] = {"empty", "payload", "fragment"};
    struct check_case like = {.level = LEVEL_STRICT,
                              .section = RFC "§5.2",
                              .demand = "An opcode that is not defined fails the connection.",
                              .hint = "3 to 7 and 11 to 15 are reserved.",
                              .build = build_opcode};

    for (like.a = 3; like.a < 16; like.a++) {
        if (like.a >= OP_CLOSE && like.a <= OP_PONG)
            continue;
        for (like.b = FORM_EMPTY; like.b <= FORM_FRAGMENT; like.b++)
            suite_add(suite, &like, "strict/opcode/%ld-%s", like.a, forms[like.b]);
    }
}

/* --- masks and lengths ------------------------------------------------------------------------ */

/* b: bytes of payload, or -1 for the usual one. */
static void build_unmasked(struct script *s, const struct check_case *c)
{
    struct out_frame f = {.opcode = (unsigned)c->a, .fin = true, .unmasked = true};
    const char *payload;

    f.len = payload_for(f.opcode, &payload);
    f.payload = payload;
    if (c->b == 0)
        f.len = 0;
    open_websocket(s);
    send_begin(s, f.opcode);
    send_frame(s, &f);
    expect_failure(s, 1002);
}

/* a: the payload's length, b: the form in which it is written; p: "ping" or NULL. */
static void build_long_form(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, true);

    open_websocket(s);
    send_frame(s, &(struct out_frame){.opcode = c->p != NULL ? OP_PING : OP_TEXT,
                                      .fin = true,
                                      .form = (enum length_form)c->b,
                                      .payload = data,
                                      .len = (size_t)c->a});
    expect_failure(s, 1002)->should = true; /* §5.2 binds the sender */
    free(data);
}

static void build_msb(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_frame(s, &(struct out_frame){.opcode = (unsigned)c->a,
                                      .fin = true,
                                      .claims = true,
                                      .claimed = UINT64_C(1) << 63 | (uint64_t)c->b});
    expect_failure(s, 1002)->other = 1009;
}

/* With what has come before it, 2 bytes of the message or the header of the frame, the length comes
 * to a small number in 64 bits. */
static void build_wrap(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    if (c->a == OP_CONTINUATION)
        send_part(s, OP_TEXT, false, "ab");
    send_frame(s, &(struct out_frame){.opcode = (unsigned)c->a,
                                      .fin = true,
                                      .claims = true,
                                      .claimed = UINT64_MAX,
                                      .payload = "a few bytes",
                                      .len = 11});
    expect_failure(s, 1002)->other = 1009;
}

static void add_headers(struct suite *suite)
{
    static const struct {
        long len;
        enum length_form form;
        const char *ping;
    } rows[] = {
        {0, LENGTH_16, NULL},     {1, LENGTH_16, NULL},     {100, LENGTH_16, NULL},
        {125, LENGTH_16, NULL},   {0, LENGTH_64, NULL},     {125, LENGTH_64, NULL},
        {126, LENGTH_64, NULL},   {1000, LENGTH_64, NULL},  {65535, LENGTH_64, NULL},
        {0, LENGTH_16, "ping"},   {125, LENGTH_16, "ping"}, {0, LENGTH_64, "ping"},
        {125, LENGTH_64, "ping"},
    };
    struct check_case like = {.level = LEVEL_STRICT,
                              .section = RFC "§5.1",
                              .demand =
                                  "A frame of a client that is not masked fails the connection.",
                              .hint = "Refuse it by the highest bit of the second byte.",
                              .build = build_unmasked};

    for (size_t i = 0; i < OPCODES; i++) {
        like.a = (long)opcodes[i].opcode;
        like.b = 1;
        suite_add(suite, &like, "strict/unmasked/%s", opcodes[i].name);
        like.b = 0;
        suite_add(suite, &like, "strict/unmasked/%s-empty", opcodes[i].name);
    }
    like.section = RFC "§5.2";
    like.demand = "A length is written in its shortest form, and a server should insist on it.";
    like.hint = "126 is for 126 to 65535, 127 for what is longer.";
    like.build = build_long_form;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.a = rows[i].len;
        like.b = rows[i].form;
        like.p = rows[i].ping;
        suite_add(suite, &like, "strict/length/%s-%ld-in-%d-bytes",
                  rows[i].ping != NULL ? "ping" : "text", rows[i].len,
                  rows[i].form == LENGTH_16 ? 2 : 8);
    }
    like.demand = "The highest bit of a length of 8 bytes is 0.";
    like.hint = NULL;
    like.build = build_msb;
    for (like.b = 0; like.b < 2; like.b++) {
        like.a = OP_TEXT;
        suite_add(suite, &like, "strict/length/text-2-to-the-63-and-%ld", like.b);
        like.a = OP_BINARY;
        suite_add(suite, &like, "strict/length/binary-2-to-the-63-and-%ld", like.b);
    }
    like.hint = "Compare by subtraction: a sum with a length of the client can wrap around to 0.";
    like.build = build_wrap;
    like.a = OP_BINARY;
    suite_add(suite, &like, "strict/length/binary-2-to-the-64-less-1");
    like.a = OP_CONTINUATION;
    suite_add(suite, &like, "strict/length/continuation-2-to-the-64-less-1");
}

/* --- control frames --------------------------------------------------------------------------- */

/* b: bytes of payload. */
static void build_long_control(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->b, true);

    if (c->a == OP_CLOSE) {
        data[0] = 0x03;
        data[1] = 0xe8;
    }
    open_websocket(s);
    send_message(s, (unsigned)c->a, data, (size_t)c->b);
    expect_failure(s, 1002);
    free(data);
}

/* b: 1 when its other half follows. */
static void build_part_control(struct script *s, const struct check_case *c)
{
    const char *payload;
    size_t len = payload_for((unsigned)c->a, &payload);

    open_websocket(s);
    send_frame(s, &(struct out_frame){.opcode = (unsigned)c->a, .payload = payload, .len = len});
    if (c->b != 0)
        send_part(s, OP_CONTINUATION, true, "rest");
    expect_failure(s, 1002);
}

static void add_control(struct suite *suite)
{
    static const long lengths[] = {126, 127, 1000, 65536};
    struct check_case like = {.level = LEVEL_STRICT, .section = RFC "§5.5"};

    for (size_t i = 3; i < OPCODES; i++) {
        like.a = (long)opcodes[i].opcode;
        like.demand = "A control frame has at most 125 bytes of payload.";
        like.hint = "A length of 126 or 127 in a control frame is enough to refuse it.";
        like.build = build_long_control;
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            like.b = lengths[k];
            suite_add(suite, &like, "strict/control/%s-%ld", opcodes[i].name, like.b);
        }
        like.demand = "A control frame must not be fragmented.";
        like.hint = NULL;
        like.build = build_part_control;
        like.b = 0;
        suite_add(suite, &like, "strict/control/%s-fragment", opcodes[i].name);
        like.b = 1;
        suite_add(suite, &like, "strict/control/%s-fragments", opcodes[i].name);
    }
}

/* --- the order of fragments ------------------------------------------------------------------- */

/* Letters: T, B begin a message, t, b are whole ones, C continues, c ends, P is a Ping. */
static void send_order(struct script *s, const char *order)
{
    for (; *order != '\0'; order++) {
        switch (*order) {
        case 'T':
        case 't':
            send_part(s, OP_TEXT, *order == 't', "text");
            break;
        case 'B':
        case 'b':
            send_part(s, OP_BINARY, *order == 'b', "data");
            break;
        case 'C':
        case 'c':
            send_part(s, OP_CONTINUATION, *order == 'c', "more");
            break;
        default:
            send_ping(s, "ping");
            break;
        }
    }
}

static void build_order(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_order(s, c->p);
    expect_failure(s, 1002)->may_answer = c->a != 0;
}

static void add_orders(struct suite *suite)
{
    static const struct {
        const char *name, *order;
        bool may_answer;
        const char *demand;
    } rows[] = {
        {"continues-nothing", "c", false, "A continuation frame continues a message that is open."},
        {"continues-nothing-with-more", "C", false,
         "A continuation frame continues a message that is open."},
        {"continues-nothing-twice", "Cc", false,
         "A continuation frame continues a message that is open."},
        {"continues-a-whole-text", "tc", true,
         "After a whole message there is nothing to continue."},
        {"continues-a-whole-binary", "bc", true,
         "After a whole message there is nothing to continue."},
        {"continues-what-has-ended", "Tcc", true,
         "After the last fragment there is nothing to continue."},
        {"text-in-text", "Tt", false, "No message begins before the last one has ended."},
        {"text-begun-in-text", "TT", false, "No message begins before the last one has ended."},
        {"binary-in-text", "Tb", false, "No message begins before the last one has ended."},
        {"text-in-binary", "Bt", false, "No message begins before the last one has ended."},
        {"binary-in-binary", "Bb", false, "No message begins before the last one has ended."},
        {"binary-begun-in-text", "TBc", false, "No message begins before the last one has ended."},
        {"text-after-two", "TCt", false, "No message begins before the last one has ended."},
        {"text-after-ping", "TPt", false,
         "A Ping between fragments ends no message: another must not begin."},
        {"continues-after-ping", "Pc", false, "A Ping is nothing that could be continued."},
    };
    struct check_case like = {.level = LEVEL_STRICT,
                              .section = RFC "§5.4",
                              .hint = "One state says whether a message is open; control frames do "
                                      "not change it.",
                              .build = build_order};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.demand = rows[i].demand;
        like.a = rows[i].may_answer;
        like.p = rows[i].order;
        suite_add(suite, &like, "strict/order/%s", rows[i].name);
    }
}

/* --- Close frames ----------------------------------------------------------------------------- */

static void build_bad_code(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_close(s, (unsigned)c->a, c->p != NULL ? c->p : "");
    expect_failure(s, 1002)->should = c->b != 0;
}

static void build_close_zero(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_message(s, OP_CLOSE, "\0\0", 2);
    expect_failure(s, 1002);
}

static void build_close_payload(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_message(s, OP_CLOSE, c->p, (size_t)c->a);
    expect_failure(s, (unsigned)c->b)->other = 1002;
}

/* A status that may not be sent is answered by an endpoint that checks it with 1002; one that is
 * merely not defined yet may be echoed. */
static void add_closes(struct suite *suite)
{
    static const struct {
        unsigned code;
        bool should;
    } codes[] = {{1, false},    {999, false}, {1004, true}, {1005, false}, {1006, false},
                 {1015, false}, {1016, true}, {1100, true}, {2000, true},  {2999, true},
                 {5000, true},  {9999, true}, {65535, true}};
    struct check_case like = {.level = LEVEL_STRICT,
                              .section = RFC "§7.4",
                              .demand = "A Close frame with a status that must not be sent is a "
                                        "fault of the client.",
                              .build = build_bad_code};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        like.a = (long)codes[i].code;
        like.b = codes[i].should;
        suite_add(suite, &like, "strict/close/%u", codes[i].code);
        like.p = "with a reason";
        suite_add(suite, &like, "strict/close/%u-with-reason", codes[i].code);
        like.p = NULL;
    }
    like.build = build_close_zero;
    suite_add(suite, &like, "strict/close/0");
    like.section = RFC "§5.5.1";
    like.demand = "If a Close frame has a payload, that begins with 2 bytes of status.";
    like.hint = "A payload of one byte has half a status.";
    like.build = build_close_payload;
    like.p = "\x03";
    like.a = 1;
    like.b = 1002;
    suite_add(suite, &like, "strict/close/half-a-status");
    like.demand = "The reason of a Close frame is UTF-8.";
    like.hint = NULL;
    like.b = 1007;
    like.a = 4;
    like.p = "\x03\xe8\xc0\xaf";
    suite_add(suite, &like, "strict/close/reason-overlong");
    like.p = "\x03\xe8\xff\xfe";
    suite_add(suite, &like, "strict/close/reason-not-utf8");
    like.p = "\x03\xe8\xe2\x82";
    suite_add(suite, &like, "strict/close/reason-cut-off");
}

/* --- with and behind a fault ------------------------------------------------------------------ */

/* Faulty frames, written out. */
static const struct {
    const char *name;
    struct out_frame frame;
    unsigned code;
    bool should;
} faults[] = {
    {"rsv", {.opcode = OP_TEXT, .fin = true, .rsv = 4, .payload = "fault", .len = 5}, 1002, false},
    {"opcode", {.opcode = 3, .fin = true, .payload = "fault", .len = 5}, 1002, false},
    {"unmasked",
     {.opcode = OP_TEXT, .fin = true, .unmasked = true, .payload = "fault", .len = 5},
     1002,
     false},
    {"continuation",
     {.opcode = OP_CONTINUATION, .fin = true, .payload = "fault", .len = 5},
     1002,
     false},
    {"long-form",
     {.opcode = OP_TEXT, .fin = true, .form = LENGTH_16, .payload = "fault", .len = 5},
     1002,
     true},
    {"ping-fragment", {.opcode = OP_PING, .payload = "fault", .len = 5}, 1002, false},
    {"utf8", {.opcode = OP_TEXT, .fin = true, .payload = "fau\xfft", .len = 5}, 1007, false},
};

static void build_behind(struct script *s, const struct check_case *c)
{
    struct bytes all = {0};

    frame_write(&all, &faults[c->a].frame);
    frame_write(&all, &(struct out_frame){
                          .opcode = OP_TEXT, .fin = true, .payload = "behind it", .len = 9});
    open_websocket(s);
    send_bytes(s, all.data, all.len);
    expect_failure(s, faults[c->a].code)->should = faults[c->a].should;
    bytes_release(&all);
}

static void build_in_front(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    expect_echo(s, OP_TEXT, "before it", 9);
    send_frame(s, &faults[c->a].frame);
    expect_failure(s, faults[c->a].code)->should = faults[c->a].should;
}

static void build_pieces(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    in_pieces(s, 1);
    send_frame(s, &faults[c->a].frame);
    expect_failure(s, faults[c->a].code)->should = faults[c->a].should;
}

static void add_positions(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_STRICT, .section = RFC "§7.1.7"};

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        like.a = (long)i;
        like.demand = "After a fault nothing that follows is handled, even if it came in the same "
                      "segment.";
        like.hint = "Throw away the rest of the input when the connection fails.";
        like.build = build_behind;
        suite_add(suite, &like, "strict/behind/%s", faults[i].name);
        like.demand = "A fault is noticed on a connection that has worked before, too.";
        like.hint = NULL;
        like.build = build_in_front;
        suite_add(suite, &like, "strict/later/%s", faults[i].name);
        like.demand = "A fault is noticed however its bytes come.";
        like.build = build_pieces;
        suite_add(suite, &like, "strict/pieces-of-1/%s", faults[i].name);
    }
}

void add_strict_cases(struct suite *suite)
{
    add_reserved_bits(suite);
    add_reserved_opcodes(suite);
    add_headers(suite);
    add_control(suite);
    add_orders(suite);
    add_closes(suite);
    add_positions(suite);
}
