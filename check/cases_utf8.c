/* SPDX-License-Identifier: MIT
 *
 * Text is UTF-8, RFC 6455 §5.6, §8.1, RFC 3629: each class of bytes by the table of RFC 3629 §4, at
 * its borders and one beyond them; characters cut by frames and segments; and how soon a server
 * notices. */
#include <stdio.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

/* A few bytes, in a case's `a`: the first one is the highest byte that is not 0, so a sequence may
 * not begin with a NUL. */
static size_t bytes_of(long packed, uint8_t out[8])
{
    size_t len = 0;

    for (int shift = 56; shift >= 0; shift -= 8)
        if (len > 0 || (packed >> shift & 0xff) != 0)
            out[len++] = (uint8_t)(packed >> shift);
    return len;
}

/* --- legal text ------------------------------------------------------------------------------- */

static void build_legal(struct script *s, const struct check_case *c)
{
    uint8_t text[8];
    size_t len = bytes_of(c->a, text);

    open_websocket(s);
    expect_echo(s, OP_TEXT, text, len);
}

static void build_text(struct script *s, const struct check_case *c)
{
    open_websocket(s);
    expect_echo(s, OP_TEXT, c->p, (size_t)c->a);
}

static void add_characters(struct suite *suite)
{
    static const struct {
        const char *name;
        long bytes;
    } rows[] = {
        {"U+0001", 0x01},        {"U+007F", 0x7f},         {"U+0080", 0xc280},
        {"U+00FF", 0xc3bf},      {"U+07FF", 0xdfbf},       {"U+0800", 0xe0a080},
        {"U+0FFF", 0xe0bfbf},    {"U+1000", 0xe18080},     {"U+CFFF", 0xecbfbf},
        {"U+D000", 0xed8080},    {"U+D7FF", 0xed9fbf},     {"U+E000", 0xee8080},
        {"U+FDD0", 0xefb790},    {"U+FEFF", 0xefbbbf},     {"U+FFFD", 0xefbfbd},
        {"U+FFFE", 0xefbfbe},    {"U+FFFF", 0xefbfbf},     {"U+10000", 0xf0908080},
        {"U+1F44B", 0xf09f918b}, {"U+1FFFE", 0xf09fbfbe},  {"U+1FFFF", 0xf09fbfbf},
        {"U+3FFFF", 0xf0bfbfbf}, {"U+40000", 0xf1808080},  {"U+80000", 0xf2808080},
        {"U+FFFFF", 0xf3bfbfbf}, {"U+100000", 0xf4808080}, {"U+10FFFF", 0xf48fbfbf},
    };
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = "RFC 3629 §3, §4",
                              .demand =
                                  "This character is legal in text, as any but the surrogates "
                                  "is; those called noncharacters, too.",
                              .build = build_legal};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.a = rows[i].bytes;
        suite_add(suite, &like, "utf8/character/%s", rows[i].name);
    }
    like.build = build_text;
    like.p = "a\0b\0";
    like.a = 4;
    suite_add(suite, &like, "utf8/character/U+0000");
    like.demand = "Text comes back byte for byte; it is not normalised.";
    like.p = "e\xcc\x81 \xc3\xa9 \xe2\x80\x8f \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 \r\n\t";
    like.a = (long)strlen(like.p);
    suite_add(suite, &like, "utf8/text/combining");
    like.p = "\xef\xbb\xbfwith a byte order mark";
    like.a = (long)strlen(like.p);
    suite_add(suite, &like, "utf8/text/byte-order-mark");
}

/* --- illegal text ----------------------------------------------------------------------------- */

static const char utf8_hint[] = "Check by the table of RFC 3629 §4: after E0, F0, ED and F4 the "
                                "second byte has a smaller range.";

/* The bytes stand between two letters. */
static void build_illegal(struct script *s, const struct check_case *c)
{
    uint8_t text[10] = {'a'};
    size_t len = 1 + bytes_of(c->a, text + 1);

    text[len++] = 'z';
    open_websocket(s);
    send_message(s, OP_TEXT, text, len);
    expect_failure(s, 1007);
}

/* The text ends inside a character. */
static void build_cut_off(struct script *s, const struct check_case *c)
{
    uint8_t text[10] = {'a'};

    open_websocket(s);
    send_message(s, OP_TEXT, text, 1 + bytes_of(c->a, text + 1));
    expect_failure(s, 1007);
}

/* In binary all bytes are legal. */
static void build_binary(struct script *s, const struct check_case *c)
{
    uint8_t data[8];
    size_t len = bytes_of(c->a, data);

    open_websocket(s);
    expect_echo(s, OP_BINARY, data, len);
}

/* Bytes that begin no character: 80 to C1, F5 to FF. */
static void add_lone_bytes(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = RFC "§8.1, RFC 3629 §4",
                              .demand = "A byte that begins no character fails the connection with "
                                        "1007.",
                              .hint = utf8_hint,
                              .build = build_illegal};

    for (like.a = 0x80; like.a <= 0xff; like.a++)
        if (like.a <= 0xc1 || like.a >= 0xf5)
            suite_add(suite, &like, "utf8/first-byte/%02lx", (unsigned long)like.a);
}

/* For each first byte: its size, and the range of the second byte. */
struct range {
    long first, last;
    long low, high;
    int size;
};

static const struct range ranges[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static long sequence(long first, long second, int size)
{
    long packed = first << 8 | second;

    for (int i = 2; i < size; i++)
        packed = packed << 8 | 0x80;
    return packed;
}

static void add_second_bytes(struct suite *suite, const struct range *r, long first)
{
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = RFC "§8.1, RFC 3629 §4",
                              .demand = "A second byte one below the range of its first byte fails "
                                        "the connection with 1007.",
                              .hint = utf8_hint,
                              .build = build_illegal};
    unsigned long byte = (unsigned long)first;

    like.a = sequence(first, r->low - 1, r->size);
    suite_add(suite, &like, "utf8/second-byte/%02lx-below", byte);
    like.demand = "A second byte one above the range of its first byte fails the connection with "
                  "1007.";
    like.a = sequence(first, r->high + 1, r->size);
    suite_add(suite, &like, "utf8/second-byte/%02lx-above", byte);
    like.demand = "This first byte with the lowest and the highest second byte is legal.";
    like.build = build_legal;
    like.a = (long)((unsigned long)sequence(first, r->low, r->size) << 8 * r->size |
                    (unsigned long)sequence(first, r->high, r->size));
    suite_add(suite, &like, "utf8/second-byte/%02lx-legal", byte);
}

static void add_ranges(struct suite *suite)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        for (long first = ranges[i].first; first <= ranges[i].last; first++)
            add_second_bytes(suite, &ranges[i], first);
}

/* Sequences with names of their own. */
static void add_known_faults(struct suite *suite)
{
    static const struct {
        const char *name;
        long bytes;
        const char *demand;
    } rows[] = {
        {"overlong-slash-2", 0xc0af, "\"/\" in two bytes is not UTF-8: a shorter form exists."},
        {"overlong-slash-3", 0xe080af, "\"/\" in three bytes is not UTF-8: a shorter form exists."},
        {"overlong-slash-4", 0xf08080af,
         "\"/\" in four bytes is not UTF-8: a shorter form exists."},
        {"overlong-nul", 0xc080, "NUL in two bytes, as Java writes it, is not UTF-8."},
        {"overlong-max-2", 0xc1bf, "The highest overlong form of two bytes is not UTF-8."},
        {"overlong-max-3", 0xe09fbf, "The highest overlong form of three bytes is not UTF-8."},
        {"overlong-max-4", 0xf08fbfbf, "The highest overlong form of four bytes is not UTF-8."},
        {"surrogate-first", 0xeda080, "U+D800 is a surrogate and not a character."},
        {"surrogate-last", 0xedbfbf, "U+DFFF is a surrogate and not a character."},
        {"surrogate-pair", 0xeda0bdedb18b, "Two surrogates are not one character (CESU-8)."},
        {"above-10ffff", 0xf4908080, "Above U+10FFFF there is nothing."},
        {"five-bytes", 0xf888808080, "Five bytes for a character are not UTF-8 any more."},
        {"six-bytes", 0xfc8480808080, "Six bytes for a character are not UTF-8 any more."},
        {"third-byte-c0", 0xe282c0, "A third byte is from 80 to BF."},
        {"third-byte-7f", 0xe2827f, "A third byte is from 80 to BF."},
        {"fourth-byte-c0", 0xf09f91c0, "A fourth byte is from 80 to BF."},
        {"fourth-byte-7f", 0xf09f917f, "A fourth byte is from 80 to BF."},
        {"two-continuations", 0xe28280, NULL},
        {"latin-1", 0xe9, "Latin-1 is not UTF-8."},
        {"utf16-mark", 0xfffe, "UTF-16 is not UTF-8."},
    };
    struct check_case like = {.level = LEVEL_UTF8, .section = RFC "§8.1", .hint = utf8_hint};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like.build = rows[i].demand == NULL ? build_legal : build_illegal;
        like.demand = rows[i].demand == NULL ? "Two continuation bytes after E2 are a character."
                                             : rows[i].demand;
        like.a = rows[i].bytes;
        suite_add(suite, &like, "utf8/known/%s", rows[i].name);
    }
}

static void add_cut_off(struct suite *suite)
{
    static const long cut[] = {0xc2, 0xdf, 0xe0,   0xe282,   0xed,
                               0xef, 0xf0, 0xf09f, 0xf09f91, 0xf48fbf};
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = RFC "§8.1",
                              .demand =
                                  "Text that ends inside a character fails the connection with "
                                  "1007.",
                              .hint = "At the end of the message no character may be open.",
                              .build = build_cut_off};

    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        like.a = cut[i];
        suite_add(suite, &like, "utf8/cut-off/%lx", (unsigned long)cut[i]);
    }
    like.build = build_binary;
    like.demand = "Binary messages may hold any bytes.";
    like.hint = "Check text only.";
    for (size_t i = 0; i < 4; i++) {
        like.a = cut[i];
        suite_add(suite, &like, "utf8/binary/%lx", (unsigned long)cut[i]);
    }
}

/* --- characters and fragments ----------------------------------------------------------------- */

/* A character of b bytes, cut after a of them; p: a step between. */
static void build_split(struct script *s, const struct check_case *c)
{
    static const char *const characters[] = {"", "", "\xc3\xa9", "\xe2\x82\xac",
                                             "\xf0\x9f\x91\x8b"};
    const char *character = characters[c->b];
    char first[16], last[16], whole[32];

    snprintf(first, sizeof first, "a%.*s", (int)c->a, character);
    snprintf(last, sizeof last, "%sz", character + c->a);
    snprintf(whole, sizeof whole, "%s%s", first, last);
    open_websocket(s);
    send_part(s, OP_TEXT, false, first);
    if (c->p != NULL)
        send_ping(s, c->p);
    send_part(s, OP_CONTINUATION, true, last);
    expect_text(s, whole);
}

static void build_split_illegal(struct script *s, const struct check_case *c)
{
    const char *const *parts = c->p;

    open_websocket(s);
    send_part(s, OP_TEXT, false, parts[0]);
    send_part(s, OP_CONTINUATION, true, parts[1]);
    expect_failure(s, 1007);
}

static void build_pieces(struct script *s, const struct check_case *c)
{
    static const char text[] = "\xc2\xb5\xe2\x82\xac\xf0\x9f\x91\x8b\xf4\x8f\xbf\xbf";

    open_websocket(s);
    in_pieces(s, (size_t)c->a);
    expect_echo(s, OP_TEXT, text, sizeof text - 1);
}

static void build_fragments_of_one(struct script *s, const struct check_case *c)
{
    static const char text[] = "\xc2\xb5\xe2\x82\xac\xf0\x9f\x91\x8b\xf4\x8f\xbf\xbf";
    char byte[2] = "";

    (void)c;
    open_websocket(s);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        byte[0] = text[i];
        send_part(s, i == 0 ? OP_TEXT : OP_CONTINUATION, i == sizeof text - 2, byte);
    }
    expect_text(s, text);
}

static void add_splits(struct suite *suite)
{
    static const char *const illegal[][2] = {{"\xe2\x82", "z"},    {"\xf0\x9f\x91", "\xc0z"},
                                             {"\xed", "\xa0\x80"}, {"\xf4", "\x90\x80\x80"},
                                             {"ok", "\xe2\x82"},   {"\xe0", "\x9f\xbf"},
                                             {"\xc3", ""},         {"", "\x80"}};
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = RFC "§5.6, §8.1",
                              .demand =
                                  "A character may be cut by fragments: the message as a whole "
                                  "is UTF-8, not each fragment.",
                              .hint = "Keep the state of the check from one fragment to the next.",
                              .build = build_split};

    for (like.b = 2; like.b <= 4; like.b++)
        for (like.a = 1; like.a < like.b; like.a++) {
            like.p = NULL;
            suite_add(suite, &like, "utf8/split/%ld-of-%ld", like.a, like.b);
            like.p = "between";
            suite_add(suite, &like, "utf8/split/%ld-of-%ld-with-ping", like.a, like.b);
        }
    like.build = build_fragments_of_one;
    suite_add(suite, &like, "utf8/split/each-byte");
    like.build = build_pieces;
    like.demand = "A character may be cut by segments.";
    for (like.a = 1; like.a <= 3; like.a++)
        suite_add(suite, &like, "utf8/pieces-of-%ld", like.a);
    like.build = build_split_illegal;
    like.demand = "What is illegal only across fragments fails the connection with 1007, too.";
    for (size_t i = 0; i < sizeof illegal / sizeof illegal[0]; i++) {
        like.p = illegal[i];
        suite_add(suite, &like, "utf8/split-illegal/%zu", i + 1);
    }
}

/* --- how soon --------------------------------------------------------------------------------- */

/* The message is not ended: what has come is enough. */
static void build_fail_fast(struct script *s, const struct check_case *c)
{
    uint8_t text[10] = {'a'};
    size_t len = 1 + bytes_of(c->a, text + 1);

    open_websocket(s);
    if (c->b == 0)
        send_frame(s, &(struct out_frame){.opcode = OP_TEXT, .payload = text, .len = len});
    else
        send_frame(s, &(struct out_frame){.opcode = OP_TEXT,
                                          .fin = true,
                                          .payload = text,
                                          .len = len,
                                          .claims = true,
                                          .claimed = 100});
    expect_failure(s, 1007)->should = true;
}

static void add_fail_fast(struct suite *suite)
{
    static const long faults[] = {0xff, 0xc0af, 0xeda0, 0xf490, 0xe27f};
    struct check_case like = {.level = LEVEL_UTF8,
                              .section = RFC "§8.1",
                              .demand =
                                  "The connection fails as soon as a byte has come that is not "
                                  "UTF-8, before the message ends.",
                              .hint = "Check what has come, not what is whole.",
                              .build = build_fail_fast};

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        like.a = faults[i];
        like.b = 0;
        suite_add(suite, &like, "utf8/fail-fast/fragment-%lx", (unsigned long)faults[i]);
        like.b = 1;
        suite_add(suite, &like, "utf8/fail-fast/frame-%lx", (unsigned long)faults[i]);
    }
}

void add_utf8_cases(struct suite *suite)
{
    add_characters(suite);
    add_lone_bytes(suite);
    add_ranges(suite);
    add_known_faults(suite);
    add_cut_off(suite);
    add_splits(suite);
    add_fail_fast(suite);
}
