/* SPDX-License-Identifier: MIT
 *
 * The closing handshake and the end of the connection, RFC 6455 §5.5.1, §7. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

/* --- our Close is answered -------------------------------------------------------------------- */

static void build_code(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_close(s, (unsigned)c->a, "");
    expect_close(s, (unsigned)c->a);
}

/* a: bytes of the reason; p: the reason itself, if not NULL. */
static void build_reason(struct script *s, const struct check_case *c)
{
    char reason[124];

    memset(reason, 'r', sizeof reason);
    reason[c->a] = '\0';
    open_websocket(s);
    send_close(s, 1000, c->p != NULL ? c->p : reason);
    expect_close(s, 1000);
}

static void build_pieces(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    in_pieces(s, (size_t)c->a);
    send_close(s, 1000, "in pieces");
    expect_close(s, 1000);
}

static void add_codes(struct suite *suite)
{
    static const unsigned codes[] = {0,    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                     1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const long reasons[] = {1, 2, 50, 122, 123};
    struct check_case like = {.level = LEVEL_CLOSING,
                              .section = RFC "§5.5.1, §7.1.1",
                              .demand =
                                  "A Close frame is answered with a Close frame, with the same "
                                  "status as a rule, and then the server ends the TCP "
                                  "connection.",
                              .hint = "The server is the one that closes the TCP connection first.",
                              .build = build_code};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        like.a = (long)codes[i];
        suite_add(suite, &like, codes[i] == 0 ? "closing/code/none" : "closing/code/%u", codes[i]);
    }
    like.build = build_reason;
    like.demand = "A Close frame may have a reason of up to 123 bytes.";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        like.a = reasons[i];
        suite_add(suite, &like, "closing/reason/%ld", like.a);
    }
    like.demand = "The reason of a Close frame is any UTF-8.";
    like.a = 0;
    like.p = "\xc2\xb5\xe2\x82\xac\xf0\x9f\x91\x8b \xe5\x86\x8d\xe8\xa7\x81";
    suite_add(suite, &like, "closing/reason/utf8");
    like.demand = "A Close frame may come in any segments.";
    like.build = build_pieces;
    like.a = 1;
    suite_add(suite, &like, "closing/pieces-of-1");
    like.a = 3;
    suite_add(suite, &like, "closing/pieces-of-3");
}

/* --- what stands before and behind it --------------------------------------------------------- */

static void build_message_first(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_text(s, "last words");
    send_close(s, 1000, "");
    expect_text(s, "last words")->should = true;
    expect_close(s, 1000);
}

static void build_many_first(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    for (long i = 0; i < c->a; i++)
        send_text(s, "one of many");
    send_close(s, 1000, "");
    for (long i = 0; i < c->a; i++)
        expect_text(s, "one of many")->should = true;
    expect_close(s, 1000);
}

static void build_in_message(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_part(s, OP_TEXT, false, "never ended");
    send_close(s, 1000, "");
    expect_close(s, 1000);
}

/* What follows a Close is not handled: no echo, no Pong. */
static void build_behind(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_close(s, 1000, "");
    send_message(s, (unsigned)c->a, "too late", 8);
    expect_close(s, 1000);
}

/* So much that the server cannot have read it when it answers. Where it calls close() then, its
 * side sends RST, and a client on a slower network loses the Close frame that came before. */
static void build_much_behind(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, false);

    open_websocket(s);
    send_close(s, 1000, "");
    send_message(s, OP_BINARY, data, (size_t)c->a);
    expect_close(s, 1000);
    free(data);
}

static void build_two(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_close(s, 1000, "");
    send_close(s, 1001, "");
    expect_close(s, 1000);
}

static void build_close_and_fin(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_close(s, 1000, "");
    send_fin(s);
    expect_close(s, 1000);
}

/* No Close at all. */
static void build_fin(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    if (c->p != NULL)
        send_bytes(s, c->p, (size_t)c->a);
    send_fin(s);
    expect_end(s)->may_answer = true;
}

static void add_around(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_CLOSING,
                              .section = RFC "§5.5.1",
                              .demand = "What came before the Close frame is answered before it.",
                              .build = build_message_first};

    suite_add(suite, &like, "closing/before/message");
    like.build = build_many_first;
    like.a = 50;
    suite_add(suite, &like, "closing/before/50-messages");
    like.demand = "A Close frame may stand inside a message, which is never ended then.";
    like.build = build_in_message;
    suite_add(suite, &like, "closing/before/fragment");
    like.demand = "What comes behind a Close frame is not handled any more.";
    like.build = build_behind;
    like.a = OP_TEXT;
    suite_add(suite, &like, "closing/behind/text");
    like.a = OP_BINARY;
    suite_add(suite, &like, "closing/behind/binary");
    like.a = OP_PING;
    suite_add(suite, &like, "closing/behind/ping");
    like.build = build_two;
    suite_add(suite, &like, "closing/behind/close");
    like.demand = "A client may shut down its side right behind its Close frame.";
    like.build = build_close_and_fin;
    suite_add(suite, &like, "closing/behind/fin");
    like.section = RFC "§7.1.1";
    like.demand =
        "The server ends the TCP connection cleanly: it reads and drops what comes behind "
        "the Close frame, and its side sends FIN, no RST.";
    like.hint = "close() while bytes are unread sends RST. Call shutdown(), and read until the "
                "client's FIN, for a limited time.";
    like.build = build_much_behind;
    like.a = 1024 * 1024;
    suite_add(suite, &like, "closing/behind/1-mib");
}

static void add_fins(struct suite *suite)
{
    static const struct {
        const char *name;
        const char *bytes;
        long len;
    } rows[] = {
        {"idle", NULL, 0},
        {"after-a-message", "\x81\x82\1\2\3\4\x69\x6b", 8},
        {"in-a-header", "\x81\xfe\0", 3},
        {"in-a-mask", "\x81\x82\1\2", 4},
        {"in-a-payload", "\x81\x85\1\2\3\4\x69", 7},
        {"in-a-message", "\x01\x82\1\2\3\4\x69\x6b", 8},
    };
    struct check_case like = {.level = LEVEL_CLOSING,
                              .section = RFC "§7.1.5, §7.1.1",
                              .demand = "When the client has shut down its side without a Close "
                                        "frame, the server ends the TCP connection, too.",
                              .hint =
                                  "recv() returns 0: the connection is over, and its descriptor "
                                  "has to be closed.",
                              .build = build_fin};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.p = rows[i].bytes;
        like.a = rows[i].len;
        suite_add(suite, &like, "closing/fin/%s", rows[i].name);
    }
}

void add_closing_cases(struct suite *suite)
{
    add_codes(suite);
    add_around(suite);
    add_fins(suite);
}
