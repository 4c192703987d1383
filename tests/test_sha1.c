/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "sha1.h"

/* Digest an exact-size copy and compare in hexadecimal. */
static void expect_digest(const void *data, size_t len, const char *hex)
{
    void *copy = exact_copy(data, len);
    uint8_t digest[SHA1_SIZE];
    char text[2 * SHA1_SIZE + 1];

    sha1(digest, copy, len);
    free(copy);
    for (size_t i = 0; i < SHA1_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, hex);
}

/* RFC 3174 §7.3, and FIPS 180's empty message. */
static void published_vectors_are_met(void **state)
{
    (void)state;
    expect_digest("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect_digest("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

static void a_million_letters_are_digested(void **state)
{
    char *data = malloc(1000000);

    (void)state;
    assert_non_null(data);
    memset(data, 'a', 1000000);
    expect_digest(data, 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    free(data);
}

/* 55, 56, 63 and 64 bytes are where the padding needs one block or two; digests by sha1sum. */
static void padding_is_right_around_a_block(void **state)
{
    static const struct {
        size_t len;
        const char *hex;
    } cases[] = {
        {55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"},
        {56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"},
        {63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"},
        {64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"},
        {65, "11655326c708d70319be2610e8a57d9a5b959d3b"},
        {119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56"},
        {120, "f34c1488385346a55709ba056ddd08280dd4c6d6"},
    };
    char data[120];

    (void)state;
    memset(data, 'a', sizeof data);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_digest(data, cases[i].len, cases[i].hex);
}

#include "tests/test_sha1.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
