/* SPDX-License-Identifier: MIT
 *
 * Single frames, RFC 6455 §5.2, §5.3: lengths, masks, the bytes in any number of segments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

static const char *type_name(long opcode)
{
    return opcode == OP_TEXT ? "text" : "binary";
}

/* --- lengths ---------------------------------------------------------------------------------- */

/* a: the opcode, b: the length. */
static void build_length(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->b, c->a == OP_TEXT);

    open_websocket(s);
    expect_echo(s, (unsigned)c->a, data, (size_t)c->b);
    free(data);
}

static void add_lengths(struct suite *suite)
{
    static const long lengths[] = {0,    1,    2,    3,     4,     5,     7,     8,     15,
                                   16,   17,   31,   64,    100,   124,   125,   126,   127,
                                   128,  129,  255,  256,   257,   1000,  1024,  4095,  4096,
                                   4097, 8192, 9999, 16383, 16384, 32767, 32768, 65534, 65535};
    struct check_case like = {.level = LEVEL_FRAMES,
                              .section = RFC "§5.2",
                              .demand = "A message of this length is read whole, and the echo has "
                                        "the same bytes and the same type.",
                              .hint = "126 means that 2 bytes of length follow, 127 that 8 follow; "
                                      "both in network byte order. A buffer has to hold the whole "
                                      "frame, or the payload as it comes.",
                              .build = build_length};

    for (like.a = OP_TEXT; like.a <= OP_BINARY; like.a++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            like.b = lengths[i];
            suite_add(suite, &like, "frames/length/%s-%ld", type_name(like.a), like.b);
        }
    }
    for (like.a = OP_TEXT; like.a <= OP_BINARY; like.a++) {
        for (like.b = 65536; like.b <= 65537; like.b++)
            suite_add(suite, &like, "frames/length/%s-%ld", type_name(like.a), like.b);
    }
}

/* --- masks ------------------------------------------------------------------------------------ */

static const uint8_t keys[][4] = {
    {0, 0, 0, 0},         {0xff, 0xff, 0xff, 0xff},
    {1, 0, 0, 0},         {0, 1, 0, 0},
    {0, 0, 1, 0},         {0, 0, 0, 1},
    {0x80, 0, 0, 0},      {0xde, 0xad, 0xbe, 0xef},
    {'m', 'a', 's', 'k'}, {0x81, 0x85, 0x88, 0x8a},
};

static void build_mask(struct script *s, const struct check_case *c)
{
    struct out_frame f = {.opcode = OP_TEXT, .fin = true, .has_key = true};
    const char text[] = "masked, byte by byte";

    memcpy(f.key, c->p, sizeof f.key);
    f.payload = text;
    f.len = strlen(text) - (size_t)c->a; /* so that the key ends in each of its places */
    open_websocket(s);
    send_frame(s, &f);
    expect_message(s, OP_TEXT, f.payload, f.len);
}

static void add_masks(struct suite *suite)
{
    struct check_case like = {
        .level = LEVEL_FRAMES,
        .section = RFC "§5.3",
        .demand = "Byte i of the payload is unmasked with byte i mod 4 of the "
                  "key, whatever the key is.",
        .hint = "The index counts from the first byte of the payload, not from "
                "the start of the frame or of the message.",
        .build = build_mask};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        like.p = keys[i];
        like.a = (long)(i % 4);
        suite_add(suite, &like, "frames/mask/%02x%02x%02x%02x", keys[i][0], keys[i][1], keys[i][2],
                  keys[i][3]);
    }
}

/* --- segments --------------------------------------------------------------------------------- */

/* The frame is cut after byte b, and the rest comes later. */
static void build_cut(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, true);
    struct bytes frame = {0};

    frame_write(&frame, &(struct out_frame){
                            .opcode = OP_TEXT, .fin = true, .payload = data, .len = (size_t)c->a});
    open_websocket(s);
    send_bytes(s, frame.data, (size_t)c->b);
    wait_ms(s, 20);
    send_bytes(s, frame.data + c->b, frame.len - (size_t)c->b);
    expect_message(s, OP_TEXT, data, (size_t)c->a);
    bytes_release(&frame);
    free(data);
}

/* Two messages, in pieces of b bytes. */
static void build_pieces(struct script *s, const struct check_case *c)
{
    uint8_t *data = made_up((size_t)c->a, true);

    open_websocket(s);
    in_pieces(s, (size_t)c->b);
    expect_echo(s, OP_TEXT, data, (size_t)c->a);
    expect_echo(s, OP_BINARY, data, (size_t)c->a);
    free(data);
}

static void add_segments(struct suite *suite)
{
    static const struct {
        long len, header;
    } forms[] = {{5, 6}, {200, 8}, {65540, 14}};
    static const long pieces[] = {1, 2, 3, 5, 7, 11};
    struct check_case like = {.level = LEVEL_FRAMES,
                              .section = RFC "§5.2",
                              .demand = "A frame may come in any number of segments, cut anywhere.",
                              .hint =
                                  "TCP is a stream of bytes: keep what has come, and go on when "
                                  "more has. A header may be cut, too.",
                              .build = build_cut};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        like.a = forms[i].len;
        for (like.b = 1; like.b <= forms[i].header + 2; like.b++)
            suite_add(suite, &like, "frames/cut/%ld-after-%ld", like.a, like.b);
    }
    like.build = build_pieces;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        like.b = pieces[i];
        like.a = 20;
        suite_add(suite, &like, "frames/pieces-of-%ld/20", like.b);
        like.a = 300;
        suite_add(suite, &like, "frames/pieces-of-%ld/300", like.b);
    }
}

/* `a` messages in one segment. */
static void build_together(struct script *s, const struct check_case *c)
{
    struct bytes all = {0};
    char text[32];

    open_websocket(s);
    for (long i = 0; i < c->a; i++) {
        int len = snprintf(text, sizeof text, "message %ld", i);

        frame_write(&all, &(struct out_frame){.opcode = i % 2 == 0 ? OP_TEXT : OP_BINARY,
                                              .fin = true,
                                              .payload = text,
                                              .len = (size_t)len});
    }
    send_bytes(s, all.data, all.len);
    bytes_release(&all);
    for (long i = 0; i < c->a; i++) {
        int len = snprintf(text, sizeof text, "message %ld", i);

        expect_message(s, i % 2 == 0 ? OP_TEXT : OP_BINARY, text, (size_t)len);
    }
}

static void add_together(struct suite *suite)
{
    static const long counts[] = {2, 3, 10, 100, 500};
    struct check_case like = {.level = LEVEL_FRAMES,
                              .section = RFC "§5.2",
                              .demand = "One segment may hold many frames; each is answered, in "
                                        "order.",
                              .hint = "One recv() is not one frame: go on until too few bytes for "
                                      "another frame are left, and keep those.",
                              .build = build_together};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        like.a = counts[i];
        suite_add(suite, &like, "frames/together/%ld", like.a);
    }
}

void add_frame_cases(struct suite *suite)
{
    add_lengths(suite);
    add_masks(suite);
    add_segments(suite);
    add_together(suite);
}
