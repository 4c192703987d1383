/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "exact.h"

/* RFC 4648 §10. */
static const struct {
    const char *plain;
    const char *encoded;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void published_vectors_encode(void **state)
{
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        size_t len = strlen(vectors[i].plain);
        void *copy = exact_copy(vectors[i].plain, len);

        assert_int_equal(base64_encode(out, copy, len), strlen(vectors[i].encoded));
        assert_memory_equal(out, vectors[i].encoded, strlen(vectors[i].encoded));
        assert_int_equal(BASE64_ENCODED_SIZE(len), strlen(vectors[i].encoded));
        free(copy);
    }
}

static ptrdiff_t decode(uint8_t *out, const char *text)
{
    void *copy = exact_copy(text, strlen(text));
    ptrdiff_t n = base64_decode(out, copy, strlen(text));

    free(copy);
    return n;
}

static void published_vectors_decode(void **state)
{
    uint8_t out[16];

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_int_equal(decode(out, vectors[i].encoded), strlen(vectors[i].plain));
        assert_memory_equal(out, vectors[i].plain, strlen(vectors[i].plain));
    }
}

static void anything_but_the_one_form_is_refused(void **state)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",   "Zg===",    "=",          "====",     "Z===",
        "Zh==", "Zm9=", "Zm9v=", "Zg==Zg==", "Zm8=Zg==",   "Zm 9v",    "Zm9v\n",
        "Zm-v", "Zm_v", "Z=g=",  "=Zg=",     "\xc3\xa9==", "Zm9vZg=v",
    };
    uint8_t out[16];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (decode(out, bad[i]) != -1)
            fail_msg("accepted \"%s\"", bad[i]);
    }
}

static void every_byte_survives_a_round_trip_in_place(void **state)
{
    uint8_t data[256];
    char text[BASE64_ENCODED_SIZE(256)];

    (void)state;
    for (size_t len = 0; len <= 256; len++) {
        size_t n;

        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)(i * 7 + len);
        n = base64_encode(text, data, len);
        assert_int_equal(base64_decode((uint8_t *)text, text, n), len);
        assert_memory_equal(text, data, len);
    }
}

#include "tests/test_base64.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
