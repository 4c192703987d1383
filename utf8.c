/* SPDX-License-Identifier: MIT
 *
 * UTF-8 by RFC 3629 §4, as an automaton: nine states, and for each byte the state that follows.
 * Only the byte after E0, ED, F0 or F4 has a narrower range than 80..BF, and there overlong forms,
 * surrogates and numbers over U+10FFFF are found. */
#include "utf8.h"

#include <string.h>

#include "utf8_avx2.h"

/* The states. Each number is a bit position in the rows below, 6 bits apart. */
enum state {
    BETWEEN = 0,   /* between characters */
    DUE_1 = 6,     /* one more byte is due, 80..BF */
    DUE_2 = 12,    /* two */
    DUE_3 = 18,    /* three */
    AFTER_E0 = 24, /* two, the first of them A0..BF: else the form is overlong */
    AFTER_ED = 30, /* two, the first of them 80..9F: else it is a surrogate */
    AFTER_F0 = 36, /* three, the first of them 90..BF: else the form is overlong */
    AFTER_F4 = 42, /* three, the first of them 80..8F: else it is over U+10FFFF */
    BAD = 48       /* invalid, whatever comes next */
};

/* Bytes that have the same successor in every state. */
enum kind { ASCII, NEXT_8X, NEXT_9X, NEXT_AB, TWO, THREE, E0, ED, FOUR, F0, F4, NEVER };

#define KIND(b)                                                                                    \
    ((b) < 0x80    ? ASCII                                                                         \
     : (b) < 0x90  ? NEXT_8X                                                                       \
     : (b) < 0xa0  ? NEXT_9X                                                                       \
     : (b) < 0xc0  ? NEXT_AB                                                                       \
     : (b) < 0xc2  ? NEVER                                                                         \
     : (b) < 0xe0  ? TWO                                                                           \
     : (b) == 0xe0 ? E0                                                                            \
     : (b) == 0xed ? ED                                                                            \
     : (b) < 0xf0  ? THREE                                                                         \
     : (b) == 0xf0 ? F0                                                                            \
     : (b) < 0xf4  ? FOUR                                                                          \
     : (b) == 0xf4 ? F4                                                                            \
                   : NEVER)
#define KINDS_4(b)  KIND(b), KIND((b) + 1), KIND((b) + 2), KIND((b) + 3)
#define KINDS_16(b) KINDS_4(b), KINDS_4((b) + 4), KINDS_4((b) + 8), KINDS_4((b) + 12)
#define KINDS_64(b) KINDS_16(b), KINDS_16((b) + 16), KINDS_16((b) + 32), KINDS_16((b) + 48)

static const uint8_t kinds[256] = {KINDS_64(0x00), KINDS_64(0x40), KINDS_64(0x80), KINDS_64(0xc0)};

/* For one kind of byte, the state that follows each state, all in one word: the next state is then
 * a shift away instead of a load, and a byte takes one cycle instead of four. `make
 * bench-codecs` */
#define ROW(between, due_1, due_2, due_3, after_e0, after_ed, after_f0, after_f4)                  \
    ((uint64_t)(between) << BETWEEN | (uint64_t)(due_1) << DUE_1 | (uint64_t)(due_2) << DUE_2 |    \
     (uint64_t)(due_3) << DUE_3 | (uint64_t)(after_e0) << AFTER_E0 |                               \
     (uint64_t)(after_ed) << AFTER_ED | (uint64_t)(after_f0) << AFTER_F0 |                         \
     (uint64_t)(after_f4) << AFTER_F4 | (uint64_t)BAD << BAD)
/* The row of a byte that may come only between characters. */
#define FIRST(next) ROW(next, BAD, BAD, BAD, BAD, BAD, BAD, BAD)

static const uint64_t rows[] = {
    [ASCII] = FIRST(BETWEEN),
    [NEXT_8X] = ROW(BAD, BETWEEN, DUE_1, DUE_2, BAD, DUE_1, BAD, DUE_2),
    [NEXT_9X] = ROW(BAD, BETWEEN, DUE_1, DUE_2, BAD, DUE_1, DUE_2, BAD),
    [NEXT_AB] = ROW(BAD, BETWEEN, DUE_1, DUE_2, DUE_1, BAD, DUE_2, BAD),
    [TWO] = FIRST(DUE_1),
    [THREE] = FIRST(DUE_2),
    [E0] = FIRST(AFTER_E0),
    [ED] = FIRST(AFTER_ED),
    [FOUR] = FIRST(DUE_3),
    [F0] = FIRST(AFTER_F0),
    [F4] = FIRST(AFTER_F4),
    [NEVER] = FIRST(BAD),
};

/* The state after `data[0..len)`. Only the low 6 bits of the row are the state; the bits above are
 * masked off at the end. */
static uint8_t walk(uint8_t state, const uint8_t *data, size_t len)
{
    uint64_t row = state;

    for (size_t i = 0; i < len; i++)
        row = rows[kinds[data[i]]] >> (row & 63);
    return row & 63;
}

/* How many bytes from the start are ASCII for sure, in steps of 16. */
static size_t ascii_run(const uint8_t *data, size_t len)
{
    size_t n = 0;

    while (len - n >= 16) {
        uint64_t a;
        uint64_t b;

        memcpy(&a, data + n, 8);
        memcpy(&b, data + n + 8, 8);
        if (((a | b) & 0x8080808080808080u) != 0)
            break;
        n += 16;
    }
    return n;
}

bool utf8_feed_bytes(struct utf8 *u, const uint8_t *data, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n;

        if (u->state == BETWEEN)
            i += ascii_run(data + i, len - i);
        n = len - i < 16 ? len - i : 16;
        u->state = walk(u->state, data + i, n);
        i += n;
    }
    return u->state != BAD;
}

/* The same for at least 35 bytes, on a CPU with AVX2. */
static bool feed_wide(struct utf8 *u, const uint8_t *data, size_t len)
{
    size_t open;

    u->state = walk(u->state, data, UTF8_WIDE_BEFORE);
    if (u->state == BAD || !utf8_wide_check(data, len))
        return false;
    /* An unfinished character began with one of the last three bytes. */
    open = data[len - 1] >= 0xc0 ? 1 : data[len - 2] >= 0xe0 ? 2 : data[len - 3] >= 0xf0 ? 3 : 0;
    u->state = walk(BETWEEN, data + len - open, open);
    return u->state != BAD;
}

bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t len)
{
    if (len >= UTF8_WIDE_BEFORE + UTF8_WIDE_BLOCK && has_avx2())
        return feed_wide(u, data, len);
    return utf8_feed_bytes(u, data, len);
}
