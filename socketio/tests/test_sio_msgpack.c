/* SPDX-License-Identifier: MIT */
#include "../../tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../../tests/oom.h"
#include "../msgpack.h"
#include "../sio_msgpack.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { BYTES_MAX = 4096 };

/* A packet that was read, with all that it points into. */
struct read {
    int error;
    struct sio_packet packet;
    struct json_writer json;
    struct ws_str attachments[SIO_BINARY_MAX];
    char *bytes;
};

static void read_bytes(struct read *r, const void *bytes, size_t len)
{
    *r = (struct read){.bytes = exact_copy(bytes, len)};
    r->error =
        sio_msgpack_decode(&r->packet, (struct ws_str){r->bytes, len}, &r->json, r->attachments);
}

/* A packet that is written in JSON; {"_placeholder":true,"num":0} is the binary value "hi". */
static void read_text(struct read *r, const char *text)
{
    static const struct ws_str hi = {"hi", 2};
    struct json_writer w = {0};

    assert_int_equal(msgpack_write_json(&w, ws_str(text), &hi, 1), 0);
    read_bytes(r, w.data, w.len);
    json_writer_release(&w);
}

static void read_release(struct read *r)
{
    json_writer_release(&r->json);
    free(r->bytes);
}

static size_t from_hex(uint8_t *out, const char *hex)
{
    size_t n = 0;

    for (; hex[0] != '\0'; hex += 2) {
        char digits[3] = {hex[0], hex[1], '\0'};

        assert_true(n < BYTES_MAX);
        out[n++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

static bool slice_is(struct ws_str s, const char *expected)
{
    if (expected == NULL || s.data == NULL)
        return expected == NULL && s.data == NULL;
    return s.len == strlen(expected) && memcmp(s.data, expected, s.len) == 0;
}

#define BINARY "{\"_placeholder\":true,\"num\":0}"

/* What socket.io-msgpack-parser 3.0.2 writes for packets of clients (with "options", and data that
 * is undefined) and of servers. */
static const struct {
    const char *hex;
    enum sio_type type;
    const char *nsp;
    int64_t id;
    const char *json;
    unsigned attachments;
} packets[] = {
    {"84a47479706500a464617461d40000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f",
     SIO_CONNECT, "/", -1, NULL, 0},
    {"83a47479706500a46461746181a5746f6b656ea178a36e7370a62f61646d696e", SIO_CONNECT, "/admin", -1,
     "{\"token\":\"x\"}", 0},
    {"83a47479706501a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f", SIO_DISCONNECT, "/", -1,
     NULL, 0},
    {"84a47479706502a46461746196a16101cbbfe0000000000000c0c3a568c3a4c39fa76f7074696f6e7381a8636f6d"
     "7072657373c3a36e7370a12f",
     SIO_EVENT, "/", -1, "[\"a\",1,-0.5,null,true,\"h\xc3\xa4\xc3\x9f\"]", 0},
    {"85a47479706502a46461746192a161c4026869a76f7074696f6e7381a8636f6d7072657373c3a2696407a36e7370"
     "a12f",
     SIO_EVENT, "/", 7, "[\"a\"," BINARY "]", 1},
    /* an ArrayBuffer, a Date and undefined */
    {"84a47479706502a46461746194a161c702006869d7000000000000000000d40000a2696400a36e7370a12f",
     SIO_EVENT, "/", 0, "[\"a\"," BINARY ",\"1970-01-01T00:00:00.000Z\",null]", 1},
    {"84a47479706503a26964cf001fffffffffffffa46461746190a36e7370a72f637573746f6d", SIO_ACK,
     "/custom", 9007199254740991, "[]", 0},
    {"83a47479706504a46461746181a76d657373616765a26e6fa36e7370a12f", SIO_CONNECT_ERROR, "/", -1,
     "{\"message\":\"no\"}", 0},
    {"83a47479706504a464617461a26e6fa36e7370a12f", SIO_CONNECT_ERROR, "/", -1, "\"no\"", 0},
    {"84a2696401a36e7370a22f78a46461746191a161a47479706502", SIO_EVENT, "/x", 1, "[\"a\"]", 0},
};

static void packets_of_the_reference_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        uint8_t bytes[BYTES_MAX];
        struct read r;

        read_bytes(&r, bytes, from_hex(bytes, packets[i].hex));
        if (r.error != 0 || r.packet.type != packets[i].type || r.packet.id != packets[i].id ||
            !slice_is(r.packet.nsp, packets[i].nsp) || !slice_is(r.packet.json, packets[i].json) ||
            r.packet.attachments != packets[i].attachments)
            fail_msg("%zu: %d, type %d, id %lld, '%.*s'", i, r.error, (int)r.packet.type,
                     (long long)r.packet.id, (int)r.packet.json.len, r.packet.json.data);
        if (r.packet.attachments != 0)
            assert_true(slice_is(r.attachments[0], "hi"));
        read_release(&r);
    }
}

static void packets_cut_short_or_followed_by_more_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        uint8_t bytes[BYTES_MAX];
        size_t len = from_hex(bytes, packets[i].hex);
        struct read r;

        for (size_t n = 0; n < len; n++) {
            read_bytes(&r, bytes, n);
            assert_int_equal(r.error, SIO_BAD_JSON);
            read_release(&r);
        }
        bytes[len] = 0xc0;
        read_bytes(&r, bytes, len + 1);
        assert_int_equal(r.error, SIO_BAD_JSON);
        read_release(&r);
    }
}

/* A packet with data of the type that each case has. */
#define EVENT(data) "{\"type\":2,\"data\":" data ",\"nsp\":\"/\"}"

static const struct {
    const char *text;
    int error;
} not_packets[] = {
    {"null", SIO_BAD_JSON},
    {"[2,[\"a\"],\"/\"]", SIO_BAD_JSON},
    {"{}", SIO_BAD_TYPE},
    {"{\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":5,\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":6,\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":-1,\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":1.5,\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":1e300,\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":\"2\",\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":null,\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":[2],\"data\":[\"a\"],\"nsp\":\"/\"}", SIO_BAD_TYPE},
    {"{\"type\":2,\"data\":[\"a\"]}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"\"}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"a\"}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/a,b\"}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\\u0000\"}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":1}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":{\"toString\":1}}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":" BINARY "}", SIO_BAD_NAMESPACE},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":-1}", SIO_BAD_ID},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":0.5}", SIO_BAD_ID},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":9007199254740992}", SIO_BAD_ID},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":1e300}", SIO_BAD_ID},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":null}", SIO_BAD_ID},
    {"{\"type\":2,\"data\":[\"a\"],\"nsp\":\"/\",\"id\":\"1\"}", SIO_BAD_ID},
    {"{\"type\":0,\"data\":null,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":0,\"data\":[],\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":0,\"data\":\"x\",\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":1,\"data\":null,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":1,\"data\":{},\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":2,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {EVENT("{}"), SIO_BAD_PAYLOAD},
    {EVENT("[]"), SIO_BAD_PAYLOAD},
    {EVENT("[null]"), SIO_BAD_PAYLOAD},
    {EVENT("[{\"toString\":\"foo\"}]"), SIO_BAD_PAYLOAD},
    {EVENT("[" BINARY "]"), SIO_BAD_PAYLOAD},
    {EVENT("[\"disconnect\"]"), SIO_BAD_PAYLOAD},
    {"{\"type\":3,\"id\":1,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":3,\"data\":{},\"id\":1,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":4,\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
    {"{\"type\":4,\"data\":[],\"nsp\":\"/\"}", SIO_BAD_PAYLOAD},
};

static void what_is_no_packet_is_refused_for_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(not_packets); i++) {
        struct read r;

        read_text(&r, not_packets[i].text);
        if (r.error != not_packets[i].error)
            fail_msg("%s: %d instead of %d", not_packets[i].text, r.error, not_packets[i].error);
        read_release(&r);
    }
}

/* As in JavaScript; and a key may be of any type. */
static void of_two_members_with_one_name_the_last_counts(void **state)
{
    static const char hex[] =
        "86a47479706500a47479706502c001a46461746191a161a36e7370a12fa36e7370a22f78";
    uint8_t bytes[BYTES_MAX];
    struct read r;

    (void)state;
    read_bytes(&r, bytes, from_hex(bytes, hex));
    assert_int_equal(r.error, 0);
    assert_int_equal(r.packet.type, SIO_EVENT);
    assert_true(slice_is(r.packet.nsp, "/x"));
    read_release(&r);
}

/* {"type":2,"data":["a", {"_placeholder":true,"num":1}, <binary>],"nsp":"/"} */
static void an_object_that_looks_like_a_placeholder_names_no_other_value(void **state)
{
    static const char forged[] =
        "83a47479706502a46461746193a16182ac5f706c616365686f6c646572c3a36e756d"
        "01c4026869a36e7370a12f";
    uint8_t bytes[BYTES_MAX];
    struct read r;

    (void)state;
    read_bytes(&r, bytes, from_hex(bytes, forged));
    assert_int_equal(r.error, SIO_BAD_PLACEHOLDER);
    read_release(&r);
}

/* Without a binary value it is an object like any other. */
static void an_object_that_looks_like_a_placeholder_stays_what_it_is(void **state)
{
    static const char hex[] =
        "83a47479706502a46461746192a16182ac5f706c616365686f6c646572c3a36e756d05a36e7370a12f";
    struct json_writer w = {0};
    uint8_t bytes[BYTES_MAX];
    size_t len = from_hex(bytes, hex);
    struct read r;

    (void)state;
    read_bytes(&r, bytes, len);
    assert_int_equal(r.error, 0);
    assert_int_equal(r.packet.attachments, 0);
    assert_int_equal(sio_msgpack_encode(&w, &r.packet, r.attachments), 0);
    assert_int_equal(w.len, len);
    assert_memory_equal(w.data, bytes, len);
    json_writer_release(&w);
    read_release(&r);
}

/* An event with `count` empty binary values. */
static int error_of_binaries(unsigned count)
{
    struct json_writer w = {0};
    struct read r;

    msgpack_write_map(&w, 3);
    msgpack_write_string(&w, "type", 4);
    msgpack_write_number(&w, SIO_EVENT);
    msgpack_write_string(&w, "nsp", 3);
    msgpack_write_string(&w, "/", 1);
    msgpack_write_string(&w, "data", 4);
    msgpack_write_array(&w, count + 1);
    msgpack_write_string(&w, "a", 1);
    for (unsigned i = 0; i < count; i++)
        msgpack_write_binary(&w, "", 0);
    read_bytes(&r, w.data, w.len);
    json_writer_release(&w);
    read_release(&r);
    return r.error;
}

static void binary_values_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(error_of_binaries(SIO_BINARY_MAX), 0);
    assert_int_equal(error_of_binaries(SIO_BINARY_MAX + 1), SIO_BAD_ATTACHMENTS);
}

/* Arrays in arrays, in the data or in a member that does not count. */
static int error_of_depth(const char *member, size_t depth)
{
    struct json_writer w = {0};
    struct read r;

    msgpack_write_map(&w, 4);
    msgpack_write_string(&w, "type", 4);
    msgpack_write_number(&w, SIO_EVENT);
    msgpack_write_string(&w, "nsp", 3);
    msgpack_write_string(&w, "/", 1);
    msgpack_write_string(&w, "data", 4);
    msgpack_write_array(&w, 1);
    msgpack_write_string(&w, "a", 1);
    msgpack_write_string(&w, member, strlen(member));
    msgpack_write_array(&w, 2);
    msgpack_write_string(&w, "a", 1);
    for (size_t i = 1; i < depth; i++)
        msgpack_write_array(&w, 1);
    msgpack_write_nil(&w);
    read_bytes(&r, w.data, w.len);
    json_writer_release(&w);
    read_release(&r);
    return r.error;
}

static void nesting_is_bounded_where_it_is_read(void **state)
{
    (void)state;
    assert_int_equal(error_of_depth("data", MSGPACK_DEPTH_MAX), 0);
    assert_int_equal(error_of_depth("data", MSGPACK_DEPTH_MAX + 1), SIO_BAD_JSON);
    assert_int_equal(error_of_depth("options", 1000000), 0);
}

/* An array of 2^32 - 1 arrays of as many, and so on: each takes 5 bytes, and nothing follows. */
static void counts_that_no_memory_holds_are_refused(void **state)
{
    struct json_writer w = {0};
    struct read r;

    (void)state;
    msgpack_write_map(&w, 1);
    msgpack_write_string(&w, "x", 1);
    for (int i = 0; i < 100000; i++)
        json_write_text(&w, "\xdf\xff\xff\xff\xff\xc0", 6);
    read_bytes(&r, w.data, w.len);
    assert_int_equal(r.error, SIO_BAD_JSON);
    json_writer_release(&w);
    read_release(&r);
}

/* In the order in which Node writes them: type, data, id, nsp. */
static void packets_are_written_as_the_reference_does(void **state)
{
    static const char *const expected[] = {
        "82a47479706501a36e7370a12f", /* DISCONNECT */
        "84a47479706502a46461746192a161c4026869a2696407a36e7370a22f78",
    };
    static const struct sio_packet out[] = {
        {.type = SIO_DISCONNECT, .nsp = {"/", 1}, .id = SIO_NO_ID},
        {.type = SIO_EVENT,
         .nsp = {"/x", 2},
         .id = 7,
         .attachments = 1,
         .json = {"[\"a\"," BINARY "]", sizeof "[\"a\"," BINARY "]" - 1}},
    };
    static const struct ws_str hi = {"hi", 2};

    (void)state;
    for (size_t i = 0; i < COUNT(out); i++) {
        struct json_writer w = {0};
        uint8_t bytes[BYTES_MAX];
        size_t len = from_hex(bytes, expected[i]);

        assert_int_equal(sio_msgpack_encode(&w, &out[i], &hi), 0);
        assert_int_equal(w.len, len);
        assert_memory_equal(w.data, bytes, len);
        json_writer_release(&w);
    }
}

static void a_packet_that_cannot_be_written_is_an_error(void **state)
{
    struct json_writer deep = {0};
    struct json_writer w = {0};
    struct sio_packet p = {.type = SIO_EVENT, .nsp = {"/", 1}, .id = SIO_NO_ID};

    (void)state;
    json_write_text(&deep, "[\"a\",", 5);
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        json_write_text(&deep, "[", 1);
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        json_write_text(&deep, "]", 1);
    p.json = json_written(&deep);
    assert_int_equal(sio_msgpack_encode(&w, &p, NULL), MSGPACK_TOO_DEEP);
    json_writer_release(&w);
    json_writer_release(&deep);
}

/* Each allocation fails once. */
static void without_memory_nothing_is_read_or_written(void **state)
{
    uint8_t bytes[BYTES_MAX];
    size_t len = from_hex(bytes, packets[4].hex);

    (void)state;
    for (long n = 0;; n++) {
        struct json_writer json = {0};
        struct json_writer w = {0};
        struct ws_str attachments[SIO_BINARY_MAX];
        struct sio_packet p;
        int error;

        oom_after(n);
        error = sio_msgpack_decode(&p, (struct ws_str){(char *)bytes, len}, &json, attachments);
        assert_true(error == 0 || error == SIO_PACKET_NOMEM);
        if (error == 0)
            error = sio_msgpack_encode(&w, &p, attachments);
        oom_after(-1);
        json_writer_release(&json);
        json_writer_release(&w);
        if (error == 0)
            break;
        assert_true(n < 100);
    }
}

#include "socketio/tests/test_sio_msgpack.list"

int main(void)
{
    return cmocka_run_group_tests_name("sio_msgpack", tests, NULL, NULL);
}
