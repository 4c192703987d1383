/* SPDX-License-Identifier: MIT
 *
 * Packets and payloads of Engine.IO, each on a heap copy of exactly its size. */
#include "../../tests/unit.h"

#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../eio_codec.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- packets ---------------------------------------------------------------------------------- */

static void every_type_is_its_digit(void **state)
{
    (void)state;
    for (int type = EIO_TYPE_OPEN; type <= (int)EIO_TYPE_NOOP; type++) {
        char text[] = {(char)('0' + type), 'x', '1'};
        char *packet = exact_copy(text, sizeof text);
        struct eio_decoded p;

        assert_true(eio_decode(&p, (struct ws_str){packet, sizeof text}));
        assert_int_equal(p.type, type);
        assert_false(p.binary);
        assert_int_equal(p.data.len, 2);
        assert_memory_equal(p.data.data, "x1", 2);
        free(packet);
    }
}

static void a_packet_may_have_no_data(void **state)
{
    char *packet = exact_copy("2", 1);
    struct eio_decoded p;
    (void)state;

    assert_true(eio_decode(&p, (struct ws_str){packet, 1}));
    assert_int_equal(p.type, EIO_TYPE_PING);
    assert_int_equal(p.data.len, 0);
    free(packet);
}

static void b_is_a_binary_message(void **state)
{
    char *packet = exact_copy("bAQIDBA==", 9);
    struct eio_decoded p;
    (void)state;

    assert_true(eio_decode(&p, (struct ws_str){packet, 9}));
    assert_int_equal(p.type, EIO_TYPE_MESSAGE);
    assert_true(p.binary);
    assert_int_equal(p.data.len, 8);
    assert_memory_equal(p.data.data, "AQIDBA==", 8);
    free(packet);
}

static void every_other_first_byte_is_refused(void **state)
{
    struct eio_decoded p;
    (void)state;

    assert_false(eio_decode(&p, (struct ws_str){"", 0}));
    for (int byte = 0; byte < 256; byte++) {
        char text[2] = {(char)byte, 'x'};

        assert_int_equal(eio_decode(&p, (struct ws_str){text, 2}),
                         (byte >= '0' && byte <= '6') || byte == 'b');
    }
}

/* --- payloads --------------------------------------------------------------------------------- */

/* Split `payload` and write its packets behind each other, each in brackets. */
static const char *split(char out[128], const char *payload, size_t len)
{
    char *copy = exact_copy(payload, len);
    struct ws_str rest = {len == 0 ? "" : copy, len};
    struct ws_str packet;

    out[0] = '\0';
    while (eio_payload_next(&rest, &packet)) {
        strcat(out, "[");
        strncat(out, packet.data, packet.len);
        strcat(out, "]");
    }
    free(copy);
    return out;
}

static void a_payload_is_split_at_each_separator(void **state)
{
    static const struct {
        const char *payload;
        const char *packets;
    } cases[] = {
        {"4hello", "[4hello]"},
        {"4a\x1e"
         "4bc\x1e"
         "bAQ==",
         "[4a][4bc][bAQ==]"},
        {"2\x1e"
         "3",
         "[2][3]"},
        {"", "[]"},
        {"4a\x1e", "[4a][]"},
        {"\x1e"
         "4a",
         "[][4a]"},
        {"\x1e", "[][]"},
        {"4a\x1e\x1e"
         "4b",
         "[4a][][4b]"},
    };
    char out[128];
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(split(out, cases[i].payload, strlen(cases[i].payload)),
                            cases[i].packets);
}

/* Wherever a payload is cut, what is in front of the cut is what was there. */
static void every_prefix_splits_into_the_same_packets(void **state)
{
    static const char payload[] = "4one\x1e"
                                  "bAQID\x1e"
                                  "3\x1e"
                                  "4";
    char whole[128];
    char part[128];
    (void)state;

    split(whole, payload, sizeof payload - 1);
    for (size_t n = 0; n < sizeof payload; n++) {
        size_t len = strlen(split(part, payload, n));

        assert_memory_equal(part, whole, len - 1); /* all but the last bracket */
    }
}

/* --- binary ----------------------------------------------------------------------------------- */

static size_t decode(void **out, const char *text)
{
    size_t len = strlen(text);
    char *copy = exact_copy(text, len);

    *out = malloc(EIO_BINARY_ROOM(len));
    len = eio_binary_decode(*out, (struct ws_str){copy, len});
    free(copy);
    return len;
}

/* What Node's Buffer.from(text, "base64") makes of it. */
static void base64_is_read_as_the_reference_reads_it(void **state)
{
    static const struct {
        const char *text;
        const char *bytes;
    } cases[] = {
        {"", ""},
        {"YQ==", "a"},
        {"YWI=", "ab"},
        {"YWJj", "abc"},
        {"YQ", "a"},
        {"YWI", "ab"},
        {"Y", ""},
        {"YWJjZ", "abc"},
        {"YR==", "a"},
        {"_-8=", "\xff\xef"},
        {"/+8=", "\xff\xef"},
        {"_-8", "\xff\xef"},
        {"!Y\nW I", "ab"},
        {"YQ==Yg==", "a"},
        {"Q=UJD", ""},
        {"====", ""},
        {"QUJD=", "ABC"},
        {"\xc3\xa9YWJj", "abc"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        void *out;
        size_t len = decode(&out, cases[i].text);

        assert_int_equal(len, strlen(cases[i].bytes));
        assert_memory_equal(out, cases[i].bytes, len);
        free(out);
    }
}

/* The queue of a session is decoded where it lies. */
static void base64_of_our_own_may_be_decoded_in_place(void **state)
{
    uint8_t data[64];
    (void)state;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(255 - i * 7);
    for (size_t n = 0; n <= sizeof data; n++) {
        size_t size = eio_message_size(WS_OP_BINARY, n);
        char *packet = malloc(size);

        assert_int_equal(eio_message_encode(packet, WS_OP_BINARY, data, n), size);
        assert_int_equal(packet[0], 'b');
        assert_int_equal(eio_binary_decode(packet, (struct ws_str){packet + 1, size - 1}), n);
        assert_memory_equal(packet, data, n);
        free(packet);
    }
}

static void text_is_encoded_behind_its_type(void **state)
{
    char *packet = malloc(eio_message_size(WS_OP_TEXT, 3));
    (void)state;

    assert_int_equal(eio_message_size(WS_OP_TEXT, 0), 1);
    assert_int_equal(eio_message_encode(packet, WS_OP_TEXT, NULL, 0), 1);
    assert_int_equal(packet[0], '4');
    assert_int_equal(eio_message_encode(packet, WS_OP_TEXT, "2[]", 3), 4);
    assert_memory_equal(packet, "42[]", 4);
    free(packet);
}

#include "socketio/tests/test_eio_codec.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
