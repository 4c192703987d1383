/* SPDX-License-Identifier: MIT
 *
 * Much of everything: large messages, many small ones, floods that a server has to survive, and
 * clients that are slow. RFC 6455 §10.4 lets a server have limits: a case in which it closes with
 * 1008, 1009 or 1013 is skipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

enum { KIB = 1024, MIB = 1024 * 1024 };

/* --- large messages --------------------------------------------------------------------------- */

/* a: bytes, b: bytes of a fragment, 0 for one frame; p: "text" or NULL. */
static void build_large(struct script *s, const struct check_case *c)
{
    unsigned opcode = c->p != NULL ? OP_TEXT : OP_BINARY;
    size_t len = (size_t)c->a, part = c->b == 0 ? len : (size_t)c->b;
    uint8_t *data = made_up(len, c->p != NULL);
    struct bytes all = {0};

    for (size_t at = 0; at < len; at += part)
        frame_write(&all, &(struct out_frame){.opcode = at == 0 ? opcode : OP_CONTINUATION,
                                              .fin = len - at <= part,
                                              .payload = data + at,
                                              .len = len - at < part ? len - at : part});
    open_websocket(s);
    send_bytes(s, all.data, all.len);
    expect_message(s, opcode, data, len);
    bytes_release(&all);
    free(data);
}

static void add_large(struct suite *suite)
{
    static const struct {
        const char *name;
        long len, part;
    } rows[] = {
        {"128-kib", 128 * KIB, 0},
        {"256-kib", 256 * KIB, 0},
        {"1-mib", 1 * MIB, 0},
        {"1-mib-and-1", 1 * MIB + 1, 0},
        {"4-mib", 4 * MIB, 0},
        {"16-mib", 16 * MIB, 0},
        {"1-mib-in-64-kib", 1 * MIB, 64 * KIB},
        {"1-mib-in-4-kib", 1 * MIB, 4 * KIB},
        {"1-mib-in-100", 1 * MIB, 100},
        {"4-mib-in-64-kib", 4 * MIB, 64 * KIB},
        {"16-mib-in-1-mib", 16 * MIB, 1 * MIB},
        {"64-kib-in-1", 64 * KIB, 1},
    };
    struct check_case like = {.level = LEVEL_LIMITS,
                              .section = RFC "§5.2, §5.4",
                              .demand =
                                  "A large message comes back whole, or the server closes with "
                                  "1009.",
                              .hint = "send() takes only a part: keep the rest, and go on at "
                                      "EPOLLOUT.",
                              .build = build_large};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.a = rows[i].len;
        like.b = rows[i].part;
        like.p = NULL;
        suite_add(suite, &like, "limits/large/binary-%s", rows[i].name);
        like.p = "text";
        suite_add(suite, &like, "limits/large/text-%s", rows[i].name);
    }
}

/* --- many ------------------------------------------------------------------------------------- */

enum flood { FLOOD_TEXT, FLOOD_PING, FLOOD_PONG, FLOOD_EMPTY, FLOOD_EMPTY_FRAGMENTS, FLOOD_MIXED };

static void add_flood_frame(struct bytes *all, long kind, long i, long count)
{
    static const char text[] = "one of a great many";
    struct out_frame f = {.opcode = OP_TEXT, .fin = true, .payload = text, .len = sizeof text - 1};

    if (kind == FLOOD_PING || (kind == FLOOD_MIXED && i % 2 == 1))
        f.opcode = OP_PING;
    if (kind == FLOOD_PONG)
        f.opcode = OP_PONG;
    if (kind == FLOOD_EMPTY || kind == FLOOD_EMPTY_FRAGMENTS)
        f.len = 0;
    if (kind == FLOOD_EMPTY_FRAGMENTS) {
        f.fin = i + 1 == count;
        f.opcode = i == 0 ? OP_TEXT : OP_CONTINUATION;
    }
    frame_write(all, &f);
}

static long answers_to(long kind, long count)
{
    switch (kind) {
    case FLOOD_TEXT:
    case FLOOD_EMPTY:
        return count;
    case FLOOD_MIXED:
        return (count + 1) / 2;
    case FLOOD_EMPTY_FRAGMENTS:
        return 1;
    default:
        return 0;
    }
}

/* All at once; so much comes back that the server has to send while it receives. */
static void build_flood(struct script *s, const struct check_case *c)
{
    struct bytes all = {0};
    long answers = answers_to(c->a, c->b);
    bool empty = c->a == FLOOD_EMPTY || c->a == FLOOD_EMPTY_FRAGMENTS;

    for (long i = 0; i < c->b; i++)
        add_flood_frame(&all, c->a, i, c->b);
    open_websocket(s);
    send_bytes(s, all.data, all.len);
    for (long i = 0; i < answers; i++)
        expect_text(s, empty ? "" : "one of a great many");
    expect_alive(s);
    bytes_release(&all);
}

static void add_floods(struct suite *suite)
{
    static const struct {
        const char *name;
        enum flood kind;
        long count;
        const char *demand;
    } rows[] = {
        {"text-1000", FLOOD_TEXT, 1000, "A thousand messages at once are answered one by one."},
        {"text-5000", FLOOD_TEXT, 5000, "Five thousand messages at once are answered one by one."},
        {"empty-1000", FLOOD_EMPTY, 1000, "Empty messages are messages."},
        {"ping-1000", FLOOD_PING, 1000, "Many Pings do not disturb the messages behind them."},
        {"ping-20000", FLOOD_PING, 20000, "Many Pings do not disturb the messages behind them."},
        {"pong-20000", FLOOD_PONG, 20000, "Many Pongs that answer no Ping are ignored."},
        {"empty-fragments-500", FLOOD_EMPTY_FRAGMENTS, 500,
         "A message may have many empty fragments."},
        {"text-and-ping-1000", FLOOD_MIXED, 1000, "Messages and Pings may come in turns."},
    };
    struct check_case like = {.level = LEVEL_LIMITS, .section = RFC "§5", .build = build_flood};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.a = rows[i].kind;
        like.b = rows[i].count;
        like.demand = rows[i].demand;
        suite_add(suite, &like, "limits/flood/%s", rows[i].name);
    }
}

/* --- lengths that are announced --------------------------------------------------------------- */

/* A header that claims 2^a bytes, and a few of them. The server may wait for more or refuse, but
 * has to go on for others. */
static void build_claim(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    send_frame(s, &(struct out_frame){.opcode = OP_BINARY,
                                      .fin = true,
                                      .claims = true,
                                      .claimed = UINT64_C(1) << c->a,
                                      .payload = "a few bytes",
                                      .len = 11});
    expect_failure(s, 1009)->should = true;
}

static void add_claims(struct suite *suite)
{
    static const long exponents[] = {40, 62};
    struct check_case like = {.level = LEVEL_LIMITS,
                              .section = RFC "§10.4",
                              .demand =
                                  "A length that no server could hold is refused by its header, "
                                  "with 1009.",
                              .hint = "Never allocate what a header claims.",
                              .build = build_claim};

    for (size_t i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        like.a = exponents[i];
        suite_add(suite, &like, "limits/claim/2-to-the-%ld", like.a);
    }
}

/* --- slow ------------------------------------------------------------------------------------- */

static void build_idle(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    expect_quiet(s, (unsigned)c->a);
    expect_alive(s);
}

/* A message of a few bytes, one after the other. */
static void build_slow(struct script *s, const struct check_case *c)
{
    struct bytes frame = {0};

    frame_write(&frame,
                &(struct out_frame){.opcode = OP_TEXT, .fin = true, .payload = "slowly", .len = 6});
    open_websocket(s);
    for (size_t i = 0; i < frame.len; i++) {
        send_bytes(s, frame.data + i, 1);
        wait_ms(s, (unsigned)c->a);
    }
    expect_text(s, "slowly");
    bytes_release(&frame);
}

static void add_slow(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_LIMITS,
                              .section = RFC "§1.2",
                              .demand = "A connection stays open while nothing is said.",
                              .build = build_idle};

    like.a = 500;
    suite_add(suite, &like, "limits/slow/idle-500-ms");
    like.a = 2000;
    suite_add(suite, &like, "limits/slow/idle-2-s");
    like.demand = "A frame may come slowly, byte by byte.";
    like.build = build_slow;
    like.a = 50;
    suite_add(suite, &like, "limits/slow/byte-by-byte");
}

void add_limit_cases(struct suite *suite)
{
    add_large(suite);
    add_floods(suite);
    add_claims(suite);
    add_slow(suite);
}
