/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"
#include "utf8.h"

/* How many bytes are taken until the first that is refused, fed in pieces of `step`; `len` when all
 * are. Each piece is an exact-size copy. */
static size_t taken(const uint8_t *data, size_t len, size_t step, bool *complete)
{
    struct utf8 u = {0};

    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *copy = exact_copy(data + at, n);
        bool ok = utf8_feed(&u, copy, n);

        free(copy);
        if (!ok) {
            *complete = false;
            return at;
        }
    }
    *complete = utf8_complete(&u);
    return len;
}

/* The oracle: build characters from numbers. Is `data[0..len)` the start of the encoding of a Unicode
 * scalar value? Written from RFC 3629 §3 without looking at bytes one by one. */
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

/* Every string of `n` bytes that begins no character is refused, whether its start is one or not. */
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
        ok = utf8_feed(&u, bytes, n);
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

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t text[64];
        size_t front_len = sizeof front - 1;
        size_t len = front_len + strlen(cases[i].bytes);
        bool complete;

        memcpy(text, front, front_len);
        memcpy(text + front_len, cases[i].bytes, len - front_len);
        assert_int_equal(taken(text, len, 1, &complete), front_len + cases[i].good);
        for (size_t step = 2; step <= len; step++) {
            size_t bad = front_len + cases[i].good;

            assert_int_equal(taken(text, len, step, &complete), bad - bad % step);
        }
    }
}

/* The ASCII path looks at 16 bytes at once: a bad byte must show at each place in it. */
static void a_bad_byte_is_seen_anywhere_in_a_long_text(void **state)
{
    uint8_t text[100];
    bool complete;

    (void)state;
    for (size_t len = 1; len <= sizeof text; len++) {
        for (size_t bad = 0; bad < len; bad++) {
            memset(text, 'x', len);
            assert_int_equal(taken(text, len, len, &complete), len);
            assert_true(complete);
            text[bad] = 0xff;
            assert_int_equal(taken(text, len, len, &complete), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_up_to_three_bytes_agree_with_unicode),
        cmocka_unit_test(every_character_is_accepted_at_every_split),
        cmocka_unit_test(refusal_comes_with_the_first_impossible_byte),
        cmocka_unit_test(a_bad_byte_is_seen_anywhere_in_a_long_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
