/* SPDX-License-Identifier: MIT
 *
 * Messages in fragments, RFC 6455 §5.4, Ping and Pong, §5.5.2, §5.5.3, also between fragments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

static const char fragments_hint[] =
    "The first frame has the opcode, the others have opcode 0; only the last one has FIN.";

/* Send `data[0..len)` in `count` fragments of nearly one size. */
static void send_fragments(struct script *s, unsigned opcode, const uint8_t *data, size_t len,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t from = len * i / count, to = len * (i + 1) / count;

        send_frame(s, &(struct out_frame){.opcode = i == 0 ? opcode : OP_CONTINUATION,
                                          .fin = i + 1 == count,
                                          .payload = data + from,
                                          .len = to - from});
    }
}

/* a: bytes, b: fragments; p: "binary" or NULL. */
static void build_fragments(struct script *s, const struct check_case *c)
{
    unsigned opcode = c->p == NULL ? OP_TEXT : OP_BINARY;
    uint8_t *data = made_up((size_t)c->a, c->p == NULL);

    open_websocket(s);
    send_fragments(s, opcode, data, (size_t)c->a, (size_t)c->b);
    expect_message(s, opcode, data, (size_t)c->a);
    expect_alive(s);
    free(data);
}

static void add_fragments(struct suite *suite)
{
    static const struct {
        long len, count;
    } rows[] = {{5, 2},     {10, 2},     {10, 3},     {10, 10},     {100, 4},   {250, 2},
                {252, 2},   {126, 3},    {500, 500},  {1000, 7},    {4096, 64}, {65535, 2},
                {65536, 3}, {131072, 2}, {131072, 9}, {200000, 100}};
    struct check_case like = {.level = LEVEL_MESSAGES,
                              .section = RFC "§5.4",
                              .demand = "The fragments of a message are put together, and the echo "
                                        "is one message of the same type.",
                              .hint = fragments_hint,
                              .build = build_fragments};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.a = rows[i].len;
        like.b = rows[i].count;
        like.p = NULL;
        suite_add(suite, &like, "messages/fragments/text-%ld-in-%ld", like.a, like.b);
        like.p = "binary";
        suite_add(suite, &like, "messages/fragments/binary-%ld-in-%ld", like.a, like.b);
    }
}

/* "Hello" is cut after byte a. */
static void build_cut(struct script *s, const struct check_case *c)
{
    char first[8];

    snprintf(first, sizeof first, "%.*s", (int)c->a, "Hello");
    open_websocket(s);
    send_part(s, OP_TEXT, false, first);
    if (c->b != 0)
        wait_ms(s, (unsigned)c->b);
    send_part(s, OP_CONTINUATION, true, &"Hello"[c->a]);
    expect_text(s, "Hello");
}

/* Which of three fragments are empty: a bit for each. */
static void build_empty(struct script *s, const struct check_case *c)
{
    static const char *const parts[] = {"one", "two", "three"};
    char whole[32] = "";

    open_websocket(s);
    for (int i = 0; i < 3; i++) {
        const char *part = (c->a >> i & 1) != 0 ? "" : parts[i];

        send_part(s, i == 0 ? OP_TEXT : OP_CONTINUATION, i == 2, part);
        strcat(whole, part);
    }
    expect_text(s, whole);
    expect_alive(s);
}

static void add_cuts(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_MESSAGES,
                              .section = RFC "§5.4",
                              .demand = "A message may be cut into fragments anywhere.",
                              .hint = fragments_hint,
                              .build = build_cut};

    for (like.a = 0; like.a <= 5; like.a++)
        suite_add(suite, &like, "messages/cut/after-%ld", like.a);
    like.b = 100;
    for (like.a = 1; like.a <= 4; like.a++)
        suite_add(suite, &like, "messages/cut/later-after-%ld", like.a);
    like.demand = "A fragment may be empty, and all of them may be.";
    like.hint = NULL;
    like.build = build_empty;
    for (like.a = 1; like.a < 8; like.a++)
        suite_add(suite, &like, "messages/empty/%ld%ld%ld", like.a & 1, like.a >> 1 & 1,
                  like.a >> 2 & 1);
}

/* --- control frames between fragments --------------------------------------------------------- */

/* a: where the control frame stands, before fragment a; b: its opcode. */
static void build_between(struct script *s, const struct check_case *c)
{
    static const char *const parts[] = {"one ", "two ", "three"};

    open_websocket(s);
    for (int i = 0; i < 3; i++) {
        if (c->a == i || c->a == 3)
            send_message(s, (unsigned)c->b, "between", 7);
        send_part(s, i == 0 ? OP_TEXT : OP_CONTINUATION, i == 2, parts[i]);
    }
    if (c->b == OP_PING)
        expect_pong(s, "between");
    expect_text(s, "one two three");
}

/* The Pong comes before the message is whole. */
static void build_at_once(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    send_part(s, OP_TEXT, false, "first ");
    send_ping(s, "now");
    expect_pong(s, "now");
    send_part(s, OP_CONTINUATION, true, "last");
    expect_text(s, "first last");
}

static void build_in_pieces(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    in_pieces(s, (size_t)c->a);
    send_part(s, OP_TEXT, false, "cut ");
    send_ping(s, "into");
    send_part(s, OP_CONTINUATION, false, "small ");
    send_part(s, OP_CONTINUATION, true, "pieces");
    expect_pong(s, "into");
    expect_text(s, "cut small pieces");
}

static void add_between(struct suite *suite)
{
    static const long pieces[] = {1, 2, 3, 5, 8};
    struct check_case like = {.level = LEVEL_MESSAGES,
                              .section = RFC "§5.4, §5.5",
                              .demand = "Control frames may stand between the fragments of a "
                                        "message, and are not part of it.",
                              .hint = "Handle a control frame at once, and keep the message as it "
                                      "is meanwhile.",
                              .build = build_between};

    for (like.a = 0; like.a <= 3; like.a++) {
        like.b = OP_PING;
        suite_add(suite, &like, "messages/ping-between/%ld", like.a);
        like.b = OP_PONG;
        suite_add(suite, &like, "messages/pong-between/%ld", like.a);
    }
    like.demand = "A Ping between fragments is answered before the message is whole.";
    like.build = build_at_once;
    suite_add(suite, &like, "messages/ping-between/at-once");
    like.demand = "Fragments and control frames may come in any segments.";
    like.build = build_in_pieces;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        like.a = pieces[i];
        suite_add(suite, &like, "messages/pieces-of-%ld", like.a);
    }
}

/* --- one message after another ---------------------------------------------------------------- */

static void build_sequence(struct script *s, const struct check_case *c)
{
    (void)c;
    open_websocket(s);
    expect_echo(s, OP_TEXT, "whole", 5);
    send_part(s, OP_BINARY, false, "in ");
    send_part(s, OP_CONTINUATION, true, "parts");
    expect_message(s, OP_BINARY, "in parts", 8);
    expect_echo(s, OP_BINARY, "whole", 5);
    send_part(s, OP_TEXT, false, "in ");
    send_part(s, OP_CONTINUATION, true, "parts");
    expect_message(s, OP_TEXT, "in parts", 8);
    expect_echo(s, OP_TEXT, "", 0);
}

static void build_many(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    for (long i = 0; i < c->a; i++) {
        send_part(s, i % 2 == 0 ? OP_TEXT : OP_BINARY, false, "left ");
        send_part(s, OP_CONTINUATION, true, "right");
    }
    for (long i = 0; i < c->a; i++)
        expect_message(s, i % 2 == 0 ? OP_TEXT : OP_BINARY, "left right", 10);
}

static void add_sequences(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_MESSAGES,
                              .section = RFC "§5.4",
                              .demand =
                                  "Whole messages and messages in fragments follow each other "
                                  "in any order.",
                              .hint = "The type of a message ends with it.",
                              .build = build_sequence};

    suite_add(suite, &like, "messages/sequence/mixed");
    like.build = build_many;
    like.a = 2;
    suite_add(suite, &like, "messages/sequence/2-in-fragments");
    like.a = 50;
    suite_add(suite, &like, "messages/sequence/50-in-fragments");
}

/* --- Ping and Pong ---------------------------------------------------------------------------- */

static void build_ping(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, c->b != 0);
    struct step *step;

    open_websocket(s);
    send_message(s, OP_PING, data, (size_t)c->a);
    step = expect_pong(s, "");
    bytes_add(&step->bytes, data, (size_t)c->a);
    expect_alive(s);
    free(data);
}

static void build_pong(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, false);

    open_websocket(s);
    send_message(s, OP_PONG, data, (size_t)c->a);
    expect_alive(s);
    free(data);
}

/* §5.5.3: it is enough to answer the last one. */
static void build_pings(struct script *s, const struct check_case *c)
{
    char text[32];

    open_websocket(s);
    for (long i = 0; i < c->a; i++) {
        snprintf(text, sizeof text, "ping %ld", i);
        send_ping(s, text);
    }
    expect_pong(s, text);
    expect_alive(s);
}

static void build_ping_in_pieces(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    in_pieces(s, (size_t)c->a);
    send_ping(s, "cut up");
    expect_pong(s, "cut up");
}

static void add_pings(struct suite *suite)
{
    static const long lengths[] = {0, 1, 2, 60, 124, 125};
    struct check_case like = {.level = LEVEL_MESSAGES,
                              .section = RFC "§5.5.2, §5.5.3",
                              .demand = "A Ping gets a Pong with the same payload.",
                              .hint = "Copy the payload, unmasked, into the Pong; it may be empty.",
                              .build = build_ping};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        like.a = lengths[i];
        like.b = 1;
        suite_add(suite, &like, "messages/ping/%ld", like.a);
    }
    like.b = 0;
    suite_add(suite, &like, "messages/ping/125-binary");
    like.build = build_ping_in_pieces;
    like.a = 1;
    suite_add(suite, &like, "messages/ping/in-pieces");
    like.build = build_pings;
    like.demand = "Of several Pings at least the last one gets its Pong.";
    like.a = 10;
    suite_add(suite, &like, "messages/ping/10-at-once");
    like.build = build_pong;
    like.section = RFC "§5.5.3";
    like.demand = "A Pong that answers no Ping changes nothing.";
    like.hint = NULL;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        like.a = lengths[i];
        suite_add(suite, &like, "messages/pong/%ld", like.a);
    }
}

void add_message_cases(struct suite *suite)
{
    add_fragments(suite);
    add_cuts(suite);
    add_between(suite);
    add_sequences(suite);
    add_pings(suite);
}
