/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "utf8.h"

typedef bool utf8_feed_fn(struct utf8 *u, const uint8_t *data, size_t len);

/* Whatever is true of one is true of the other. */
static utf8_feed_fn *const feeds[] = {utf8_feed, utf8_feed_bytes};

enum { FEEDS = sizeof feeds / sizeof feeds[0] };

/* How many bytes are taken until the first that is refused, fed in pieces of `step`; `len` when all
 * are. Each piece is an exact-size copy. */
static size_t taken(utf8_feed_fn *feed, const uint8_t *data, size_t len, size_t step,
                    bool *complete)
{
    struct utf8 u = {0};

    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *copy = exact_copy(data + at, n);
        bool ok = feed(&u, copy, n);

        free(copy);
        if (!ok) {
            *complete = false;
            return at;
        }
    }
    *complete = utf8_complete(&u);
    return len;
}

/* The oracle: build characters from numbers. Is `data[0..len)` the start of the encoding of a
 * Unicode scalar value? Written from RFC 3629 §3 without looking at bytes one by one. */
static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

/* legal[n][bytes]: the n-byte string begins (or is) the encoding of a character. n = 1 to 3. */
static uint8_t *legal_starts(size_t n)
{
    uint8_t *legal = calloc((size_t)1 << (8 * n), 1);
    uint8_t out[4];

    assert_non_null(legal);
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        size_t key = 0;

        if ((c >= 0xd800 && c <= 0xdfff) || encode(c, out) < n)
            continue;
        for (size_t i = 0; i < n; i++)
            key = key << 8 | out[i];
        legal[key] = encode(c, out) == n ? 2 : 1; /* 2: whole */
    }
    return legal;
}

/* Every string of `n` bytes that begins no character is refused, whether its start is one or
 * not. */
static void expect_starts(size_t n)
{
    uint8_t *legal = legal_starts(n);
    uint8_t *shorter = n > 1 ? legal_starts(n - 1) : NULL;

    for (size_t key = 0; key < (size_t)1 << (8 * n); key++) {
        struct utf8 u = {0};
        uint8_t bytes[4];
        bool ok;

        if (shorter != NULL && shorter[key >> 8] != 1)
            continue; /* its start is wrong or whole already: covered by the shorter strings */
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(key >> (8 * (n - 1 - i)));
        ok = utf8_feed_bytes(&u, bytes, n); /* as utf8_feed() does with so few */
        if (ok != (legal[key] != 0) || (ok && utf8_complete(&u) != (legal[key] == 2)))
            fail_msg("%zu bytes %06zx: fed %d, complete %d", n, key, ok, utf8_complete(&u));
    }
    free(legal);
    free(shorter);
}

static void strings_up_to_three_bytes_agree_with_unicode(void **state)
{
    (void)state;
    expect_starts(1);
    expect_starts(2);
    expect_starts(3);
}

static void every_character_is_accepted_at_every_split(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint8_t bytes[4];
        size_t len = encode(c, bytes);
        struct utf8 u = {0};
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        bool ok = true;

        for (size_t i = 0; i < len && ok; i++) {
            assert_int_equal(utf8_complete(&u), i == 0);
            ok = utf8_feed(&u, &bytes[i], 1);
        }
        if (ok == surrogate || (ok && !utf8_complete(&u)))
            fail_msg("U+%04X: fed %d", c, ok);
    }
}

/* `bad` bytes of `text` are good, and the one behind them is not. */
static void expect_refusal(utf8_feed_fn *feed, const uint8_t *text, size_t len, size_t bad)
{
    bool complete;

    for (size_t step = 1; step <= len; step++)
        assert_int_equal(taken(feed, text, len, step, &complete), bad - bad % step);
}

/* A message must fail as soon as the first impossible byte is there, RFC 6455 §8.1. */
static void refusal_comes_with_the_first_impossible_byte(void **state)
{
    static const struct {
        const char *bytes;
        size_t good; /* bytes before the impossible one */
    } cases[] = {
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xc2\x41", 1},
        {"\xc2\xc2", 1},
        {"\xe0\x9f\xbf", 1},
        {"\xe1\x80\x7f", 2},
        {"\xed\xa0\x80", 1},
        {"\xed\xbf\xbf", 1},
        {"\xf0\x8f\xbf", 1},
        {"\xf4\x90\x80", 1},
        {"\xf5\x80", 0},
        {"\xf8\x88", 0},
        {"\xfe", 0},
        {"\xff", 0},
        {"\xf1\x80\x80\xc0", 3},
    };
    static const char front[] = "0123456789abcdef0123456789abcdef\xe4\xbd\xa0";
    enum { FRONT = sizeof front - 1 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t text[FRONT + 4];
        size_t len = strlen(cases[i].bytes);

        memcpy(text, front, FRONT);
        memcpy(text + FRONT, cases[i].bytes, len);
        for (size_t k = 0; k < FEEDS; k++)
            expect_refusal(feeds[k], text, FRONT + len, FRONT + cases[i].good);
    }
}

/* The ASCII path looks at 16 bytes at once: a bad byte must show at each place in it. */
static void a_bad_byte_is_seen_anywhere_in_a_long_text(void **state)
{
    uint8_t text[100];
    bool complete;

    (void)state;
    for (size_t len = 1; len <= sizeof text; len++) {
        for (size_t at = 0; at < len * FEEDS; at++) {
            utf8_feed_fn *feed = feeds[at / len];

            memset(text, 'x', len);
            assert_int_equal(taken(feed, text, len, len, &complete), len);
            assert_true(complete);
            text[at % len] = 0xff;
            assert_int_equal(taken(feed, text, len, len, &complete), 0);
        }
    }
}

/* --- the wide path ----------------------------------------------------------------------------- *
 *
 * On a CPU that has it, utf8_feed() judges 35 bytes and more by other means. It must not show: the
 * tests above hold for utf8_feed_bytes(), and these hold the two against each other. */

/* The answer to `data`, and where the text then stands, are the same from `start` on. */
static void expect_agreement(struct utf8 start, const uint8_t *data, size_t len)
{
    struct utf8 wide = start, bytes = start;
    bool ok = utf8_feed(&wide, data, len);

    if (utf8_feed_bytes(&bytes, data, len) != ok)
        fail_msg("%zu bytes: %s at once, not byte by byte", len, ok ? "taken" : "refused");
    if (ok && wide.state != bytes.state)
        fail_msg("%zu bytes: stands at %d, not at %d", len, wide.state, bytes.state);
}

/* The same of a copy that ends where its memory ends, and begins `shift` bytes behind a multiple of
 * the alignment of malloc(). */
static void expect_agreement_exactly(const uint8_t *data, size_t len, size_t shift)
{
    uint8_t *copy = malloc(shift + len);

    assert_non_null(copy);
    memcpy(copy + shift, data, len);
    expect_agreement((struct utf8){0}, copy + shift, len);
    free(copy);
}

/* Characters of each length, over and over; what is left is cut off, perhaps inside a character. */
static void fill(uint8_t *text, size_t len, size_t n)
{
    static const char *const texts[] = {"plain ASCII ", "\xc3\xa4\xd0\x96\xdf\xbf",
                                        "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbf\xbf\xe0\xa0\x80",
                                        "\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf",
                                        "a\xc3\xa4 \xe4\xbd\xa0, \xf0\x9f\x98\x80\xed\x9f\xbf!"};
    const char *from = texts[n];

    for (size_t i = 0; i < len; i++)
        text[i] = (uint8_t)from[i % strlen(from)];
}

enum { FILLS = 5 };

static void a_long_text_is_judged_alike_at_every_length_and_alignment(void **state)
{
    uint8_t text[200];

    (void)state;
    for (size_t n = 0; n < FILLS; n++) {
        fill(text, sizeof text, n);
        for (size_t len = 0; len <= sizeof text; len++)
            for (size_t shift = 0; shift < 64; shift += len % 35 == 0 ? 1 : 13)
                expect_agreement_exactly(text, len, shift);
    }
}

static void a_wrong_byte_shows_at_every_place_of_a_long_text(void **state)
{
    static const uint8_t wrong[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2,
                                    0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
    static const size_t lens[] = {35, 36, 66, 67, 68, 99, 128, 131};
    uint8_t text[131];

    (void)state;
    for (size_t n = 0; n < FILLS; n++) {
        for (size_t at = 0; at < sizeof text; at++) {
            for (size_t i = 0; i < sizeof wrong; i++) {
                fill(text, sizeof text, n);
                text[at] = wrong[i];
                for (size_t k = 0; k < sizeof lens / sizeof lens[0]; k++)
                    if (at < lens[k])
                        expect_agreement_exactly(text, lens[k], at % 32);
            }
        }
    }
}

/* Every byte that begins or ends a range of RFC 3629 §4, in all strings of four: at the start of a
 * piece, where one block ends and the next begins, inside a block, and at the end. */
static void four_bytes_are_judged_alike_wherever_they_stand(void **state)
{
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                    0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                    0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    enum { EDGES = sizeof edges, LEN = 70 };
    static const size_t places[] = {0, 1, 2, 10, 33, 34, LEN - 4};
    uint8_t text[LEN];

    (void)state;
    for (size_t key = 0; key < (size_t)EDGES * EDGES * EDGES * EDGES; key++) {
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            uint8_t *at = text + places[i];

            memset(text, 'x', sizeof text);
            at[0] = edges[key % EDGES];
            at[1] = edges[key / EDGES % EDGES];
            at[2] = edges[key / EDGES / EDGES % EDGES];
            at[3] = edges[key / EDGES / EDGES / EDGES];
            expect_agreement((struct utf8){0}, text, sizeof text);
        }
    }
}

/* A piece begins wherever the one before it has ended. */
static void a_long_text_may_be_split_anywhere(void **state)
{
    uint8_t text[150];

    (void)state;
    for (size_t n = 0; n < FILLS; n++) {
        fill(text, sizeof text, n);
        for (size_t split = 0; split <= sizeof text; split++) {
            uint8_t *rest = exact_copy(text + split, sizeof text - split);
            struct utf8 u = {0};

            assert_true(utf8_feed(&u, text, split));
            expect_agreement(u, rest, sizeof text - split);
            for (size_t bad = 0; bad < 8 && split + bad < sizeof text; bad++) {
                uint8_t was = rest[bad];

                rest[bad] = 0xc3;
                expect_agreement(u, rest, sizeof text - split);
                rest[bad] = was;
            }
            free(rest);
        }
    }
}

#include "tests/test_utf8.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
