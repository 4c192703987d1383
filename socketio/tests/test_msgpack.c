/* SPDX-License-Identifier: MIT */
#include "../../tests/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../../tests/oom.h"
#include "../msgpack.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { ROOM = 4 };

/* The bytes that a text of hexadecimal digits says; spaces between them are allowed. */
static struct ws_str from_hex(const char *hex, char *out)
{
    size_t len = 0;
    unsigned byte;

    for (; *hex != '\0'; hex += 2) {
        while (*hex == ' ')
            hex++;
        sscanf(hex, "%2x", &byte);
        out[len++] = (char)byte;
    }
    return (struct ws_str){out, len};
}

/* Convert an exact-size copy of `bytes`, so that any read past its end is seen. */
static int to_json(struct json_writer *w, struct ws_str bytes, struct ws_str *attachments,
                   size_t *count)
{
    char *copy = exact_copy(bytes.data, bytes.len);
    int error = msgpack_to_json(w, (struct ws_str){copy, bytes.len}, attachments, count);

    for (size_t i = 0; error == 0 && attachments != NULL && i < *count; i++)
        attachments[i].data = bytes.data + (attachments[i].data - copy);
    free(copy);
    return error;
}

static void expect_written(const struct json_writer *w, const char *expected, const char *what)
{
    if (w->len != strlen(expected) || memcmp(w->data, expected, w->len) != 0)
        fail_msg("%s: %.*s", what, (int)w->len, w->data);
}

static void expect_bytes(const struct json_writer *w, const char *hex, const char *what)
{
    char bytes[1024];
    struct ws_str expected = from_hex(hex, bytes);

    if (w->failed || w->len != expected.len || memcmp(w->data, expected.data, w->len) != 0) {
        for (size_t i = 0; i < w->len; i++)
            fprintf(stderr, "%02x ", (uint8_t)w->data[i]);
        fail_msg("%s: not %s", what, hex);
    }
}

/* Values as both sides of the way write them. */
static const struct {
    const char *json;
    const char *hex;
} both_ways[] = {
    {"null", "c0"},
    {"false", "c2"},
    {"true", "c3"},
    {"0", "00"},
    {"127", "7f"},
    {"128", "cc80"},
    {"255", "ccff"},
    {"256", "cd0100"},
    {"65535", "cdffff"},
    {"65536", "ce00010000"},
    {"4294967295", "ceffffffff"},
    {"4294967296", "cf0000000100000000"},
    {"9007199254740991", "cf001fffffffffffff"},
    {"18446744073709550000", "cffffffffffffff800"}, /* the largest double below 2^64 */
    {"-1", "ff"},
    {"-32", "e0"},
    {"-33", "d0df"},
    {"-128", "d080"},
    {"-129", "d1ff7f"},
    {"-32768", "d18000"},
    {"-32769", "d2ffff7fff"},
    {"-2147483648", "d280000000"},
    {"-2147483649", "d3ffffffff7fffffff"},
    {"-9223372036854776000", "d38000000000000000"},
    {"0.5", "cb3fe0000000000000"},
    {"-1.25", "cbbff4000000000000"},
    {"18446744073709552000", "cb43f0000000000000"}, /* 2^64 */
    {"1e+300", "cb7e37e43c8800759c"},
    {"\"\"", "a0"},
    {"\"hello\"", "a568656c6c6f"},
    {"\"1234567890123456789012345678901\"",
     "bf 31323334353637383930 31323334353637383930 31323334353637383930 31"},
    {"\"12345678901234567890123456789012\"",
     "d920 31323334353637383930 31323334353637383930 31323334353637383930 3132"},
    {"\"h\xc3\xa4\xf0\x9f\x90\x9f\"", "a7 68c3a4f09f909f"},
    {"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f/\"", "ab 225c080c0a0d09001f7f2f"},
    {"[]", "90"},
    {"[[],[[1]],2]", "9390919101 02"},
    {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]", "9f 0102030405060708090a0b0c0d0e0f"},
    {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "dc0010 0102030405060708090a0b0c0d0e0f10"},
    {"{}", "80"},
    {"{\"a\":{\"b\":[{}]},\"\":null}", "82 a161 81a162 9180 a0 c0"},
    {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,"
     "\"l\":1,\"m\":1,\"n\":1,\"o\":1}",
     "8f a16101 a16201 a16301 a16401 a16501 a16601 a16701 a16801 a16901 a16a01 a16b01 a16c01 "
     "a16d01 a16e01 a16f01"},
    {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,"
     "\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1}",
     "de0010 a16101 a16201 a16301 a16401 a16501 a16601 a16701 a16801 a16901 a16a01 a16b01 a16c01 "
     "a16d01 a16e01 a16f01 a17001"},
    {"{\"_placeholder\":true,\"num\":0}", "c403 010203"},
    {"[{\"_placeholder\":true,\"num\":0},{\"x\":{\"_placeholder\":true,\"num\":1}}]",
     "92 c400 81a178 c40109"},
};

static void values_are_the_same_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(both_ways); i++) {
        struct json_writer w = {0};
        struct ws_str attachments[ROOM];
        size_t count = ROOM;
        char bytes[1024];

        assert_int_equal(to_json(&w, from_hex(both_ways[i].hex, bytes), attachments, &count), 0);
        expect_written(&w, both_ways[i].json, both_ways[i].hex);
        json_writer_clear(&w);
        assert_int_equal(msgpack_write_json(&w, ws_str(both_ways[i].json), attachments, count), 0);
        expect_bytes(&w, both_ways[i].hex, both_ways[i].json);
        json_writer_release(&w);
    }
}

/* What others may send, but the writer does not. */
static const struct {
    const char *hex;
    const char *json;
} read_only[] = {
    {"cc01", "1"},
    {"cd0001", "1"},
    {"ce00000001", "1"},
    {"cf0000000000000001", "1"},
    {"cfffffffffffffffff", "18446744073709552000"},
    {"d0ff", "-1"},
    {"d1ffff", "-1"},
    {"d2ffffffff", "-1"},
    {"d3ffffffffffffffff", "-1"},
    {"d37fffffffffffffff", "9223372036854776000"},
    {"ca3fc00000", "1.5"},
    {"ca7f800000", "null"}, /* infinite */
    {"cb7ff8000000000000", "null"},
    {"cb8000000000000000", "0"},
    {"d90161", "\"a\""},
    {"da000161", "\"a\""},
    {"db0000000161", "\"a\""},
    {"a1ff", "\"\xef\xbf\xbd\""},
    {"a3eda080", "\"\\ud800\""},
    {"dc000101", "[1]"},
    {"dd0000000101", "[1]"},
    {"de0001a16101", "{\"a\":1}"},
    {"df00000001a16101", "{\"a\":1}"},
    {"82 0101 ff02", "{\"1\":1,\"-1\":2}"}, /* keys that are numbers */
    {"c50001ff", "{\"_placeholder\":true,\"num\":0}"},
    {"c600000001ff", "{\"_placeholder\":true,\"num\":0}"},
    {"d40000", "null"}, /* undefined */
    {"92d4000001", "[null,1]"},
    {"83 a161d40000 a16202 a163d40000", "{\"b\":2}"},
    {"d6ff00000000", "\"1970-01-01T00:00:00.000Z\""},
    {"d6ffffffffff", "\"2106-02-07T06:28:15.000Z\""},
    {"d6ff5e0be100", "\"2020-01-01T00:00:00.000Z\""},
    {"d6ff5e5aff80", "\"2020-03-01T00:19:12.000Z\""},
    {"d6ff38bc0a00", "\"2000-02-29T18:03:44.000Z\""},
    {"d7ff 07e15d00 5e0be100", "\"2020-01-01T00:00:00.033Z\""},
    {"d7ff 00000003 ffffffff", "\"2514-05-30T01:53:03.000Z\""},
    {"c70cff 00000000 ffffffffffffffff", "\"1969-12-31T23:59:59.000Z\""},
    {"c70cff 3b8b87c0 ffffffffffffffff", "\"1969-12-31T23:59:59.999Z\""},
    {"c70cff 00000000 fffffff1868b8400", "\"0000-01-01T00:00:00.000Z\""},
    {"c70cff 00000000 fffffff1868b83ff", "\"-000001-12-31T23:59:59.000Z\""},
    {"c70cff 00000000 000000 3afff44180", "\"+010000-01-01T00:00:00.000Z\""},
    {"c70cff 00000000 000007dba8218000", "\"+275760-09-13T00:00:00.000Z\""},
    {"c70cff 00000000 000007dba8218001", "null"}, /* beyond the last date of JavaScript */
    {"c70cff 00000000 7fffffffffffffff", "null"},
    {"d700 000001 6f5e66e800", "\"2020-01-01T00:00:00.000Z\""},
    {"c70200 0102", "{\"_placeholder\":true,\"num\":0}"},
    {"c8000100 01", "{\"_placeholder\":true,\"num\":0}"},
    {"c90000000100 01", "{\"_placeholder\":true,\"num\":0}"},
    {"d405 07", "[5,{\"_placeholder\":true,\"num\":0}]"},
    {"d500 0708", "[0,{\"_placeholder\":true,\"num\":0}]"},
    {"d8fe 000102030405060708090a0b0c0d0e0f", "[-2,{\"_placeholder\":true,\"num\":0}]"},
    {"c70380 010203", "[-128,{\"_placeholder\":true,\"num\":0}]"},
    {"d5ff 0102", "[-1,{\"_placeholder\":true,\"num\":0}]"}, /* no timestamp has this length */
};

static void every_form_of_others_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(read_only); i++) {
        struct json_writer w = {0};
        struct ws_str attachments[ROOM];
        size_t count = ROOM;
        char bytes[64];

        if (to_json(&w, from_hex(read_only[i].hex, bytes), attachments, &count) != 0)
            fail_msg("%s is refused", read_only[i].hex);
        expect_written(&w, read_only[i].json, read_only[i].hex);
        json_writer_release(&w);
    }
}

static void values_cut_at_every_place_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(both_ways) + COUNT(read_only); i++) {
        char bytes[1024];
        struct ws_str whole = from_hex(
            i < COUNT(both_ways) ? both_ways[i].hex : read_only[i - COUNT(both_ways)].hex, bytes);

        for (size_t n = 0; n < whole.len; n++) {
            struct json_writer w = {0};
            struct ws_str attachments[ROOM];
            size_t count = ROOM;

            assert_int_equal(to_json(&w, (struct ws_str){bytes, n}, attachments, &count),
                             MSGPACK_BAD);
            json_writer_release(&w);
        }
    }
}

static const struct {
    const char *hex;
    int error;
} refused[] = {
    {"", MSGPACK_BAD},
    {"c1", MSGPACK_BAD}, /* never used */
    {"91c1", MSGPACK_BAD},
    {"0000", MSGPACK_BAD}, /* more behind it */
    {"8000", MSGPACK_BAD},
    {"ddffffffff", MSGPACK_BAD}, /* lengths of what is not there */
    {"ddffffffff 00", MSGPACK_BAD},
    {"dfffffffff", MSGPACK_BAD},
    {"dfffffffff a161 00", MSGPACK_BAD},
    {"dbffffffff 00", MSGPACK_BAD},
    {"c6ffffffff 00", MSGPACK_BAD},
    {"c9ffffffff00", MSGPACK_BAD},
    {"81c001", MSGPACK_BAD}, /* keys that are none */
    {"81c201", MSGPACK_BAD},
    {"81cb3ff8000000000000 01", MSGPACK_BAD},
    {"81c40161 01", MSGPACK_BAD},
    {"819001", MSGPACK_BAD},
    {"81d40000 01", MSGPACK_BAD},
    {"95 c400 c400 c400 c400 c400", MSGPACK_TOO_MANY}, /* ROOM is less */
};

static void what_is_no_value_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct json_writer w = {0};
        struct ws_str attachments[ROOM];
        size_t count = ROOM;
        char bytes[64];

        if (to_json(&w, from_hex(refused[i].hex, bytes), attachments, &count) != refused[i].error)
            fail_msg("%s is not refused as it should be", refused[i].hex);
        json_writer_release(&w);
    }
}

/* `depth` arrays, the innermost around `inner`. */
static int read_nested(size_t depth, const char *inner, bool attached)
{
    char bytes[MSGPACK_DEPTH_MAX + 16];
    struct ws_str tail = from_hex(inner, bytes + depth);
    struct json_writer w = {0};
    struct ws_str attachments[ROOM];
    size_t count = ROOM;
    int error;

    memset(bytes, 0x91, depth);
    error = to_json(&w, (struct ws_str){bytes, depth + tail.len}, attached ? attachments : NULL,
                    attached ? &count : NULL);
    if (error == 0) /* json.h can read what was written */
        assert_int_equal(json_parse(json_written(&w)).len, w.len);
    json_writer_release(&w);
    return error;
}

static void nesting_has_a_limit(void **state)
{
    const size_t max = MSGPACK_DEPTH_MAX;

    (void)state;
    assert_int_equal(read_nested(max, "00", true), 0);
    assert_int_equal(read_nested(max - 1, "80", true), 0);
    assert_int_equal(read_nested(max + 1, "00", true), MSGPACK_TOO_DEEP);
    assert_int_equal(read_nested(max, "80", true), MSGPACK_TOO_DEEP);
    /* a binary value is an object in JSON, or an object with an array, or in an array as well */
    assert_int_equal(read_nested(max - 1, "c400", true), 0);
    assert_int_equal(read_nested(max, "c400", true), MSGPACK_TOO_DEEP);
    assert_int_equal(read_nested(max - 2, "c400", false), 0);
    assert_int_equal(read_nested(max - 1, "c400", false), MSGPACK_TOO_DEEP);
    assert_int_equal(read_nested(max - 2, "d40100", true), 0);
    assert_int_equal(read_nested(max - 1, "d40100", true), MSGPACK_TOO_DEEP);
}

static void binary_values_are_slices_of_the_message(void **state)
{
    char bytes[64];
    struct ws_str message = from_hex("93 c402 0102 81a161 c400 c70100 ff", bytes);
    struct json_writer w = {0};
    struct ws_str attachments[3];
    size_t count = COUNT(attachments);

    (void)state;
    assert_int_equal(msgpack_to_json(&w, message, attachments, &count), 0);
    assert_int_equal(count, 3);
    assert_ptr_equal(attachments[0].data, bytes + 3);
    assert_int_equal(attachments[0].len, 2);
    assert_int_equal(attachments[1].len, 0);
    assert_int_equal((uint8_t)attachments[2].data[0], 0xff);
    json_writer_release(&w);
}

static void binary_values_without_attachments_are_as_node_writes_them(void **state)
{
    char bytes[64];
    struct json_writer w = {0};

    (void)state;
    assert_int_equal(msgpack_to_json(&w, from_hex("92 c403 0180ff c400", bytes), NULL, NULL), 0);
    expect_written(
        &w, "[{\"type\":\"Buffer\",\"data\":[1,128,255]},{\"type\":\"Buffer\",\"data\":[]}]", "");
    json_writer_release(&w);
}

static const struct {
    const char *list;
    const char *hex;
} lists[] = {
    {"", "90"},
    {" ", "90"},
    {"1", "9101"},
    {" 1 , [ 2 ] ,\"x\" ", "93 01 9102 a178"},
    {"{ \"a\" : 1.0 , \"b\":[ ] }", "91 82 a16101 a16290"},
    {"1e2,-0,1e400,0.1e1", "94 64 00 cb7ff0000000000000 01"},
    {"\"\\u00e4\\ud83d\\udc1f\\ud800\"", "91 a9 c3a4f09f909fefbfbd"},
    {"{\"\\u0061\":{\"a\":2}}", "9181a16181a16102"},
    {"{\"_placeholder\":true,\"num\":1},{\"num\":0,\"x\":[{},[1]],\"_placeholder\":true},3",
     "93 c40109 c403010203 03"},
    {"{\"_placeholder\":false,\"num\":7}", "91 82 ac5f706c616365686f6c646572c2 a36e756d07"},
    {"{\"_placeholder\":true,\"num\":9,\"_placeholder\":1}",
     "91 83 ac5f706c616365686f6c646572c3 a36e756d09 ac5f706c616365686f6c64657201"},
};

static const struct ws_str two[] = {{"\1\2\3", 3}, {"\t", 1}};

static void lists_become_arrays(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++) {
        struct json_writer w = {0};

        assert_int_equal(msgpack_write_list(&w, ws_str(lists[i].list), two, COUNT(two)), 0);
        expect_bytes(&w, lists[i].hex, lists[i].list);
        json_writer_release(&w);
    }
}

static void placeholders_without_attachments_stay_objects(void **state)
{
    struct json_writer w = {0};

    (void)state;
    assert_int_equal(msgpack_write_json(&w, ws_str("{\"_placeholder\":true,\"num\":0}"), NULL, 0),
                     0);
    expect_bytes(&w, "82 ac5f706c616365686f6c646572c3 a36e756d00", "");
    json_writer_release(&w);
}

static void lists_that_are_none_are_not_written(void **state)
{
    static const char *const bad[] = {"]",
                                      "[",
                                      "1,",
                                      ",",
                                      "{\"a\"}",
                                      "1 2",
                                      "\"\xff\"",
                                      "[1}",
                                      "{\"_placeholder\":true}",
                                      "{\"_placeholder\":true,\"num\":2}",
                                      "{\"_placeholder\":true,\"num\":-1}",
                                      "{\"_placeholder\":true,\"num\":\"0\"}",
                                      "{\"_placeholder\":true,\"num\":[0]}",
                                      "{\"_placeholder\":true,\"num\":0.5}"};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct json_writer w = {0};

        if (msgpack_write_list(&w, ws_str(bad[i]), two, COUNT(two)) != MSGPACK_BAD)
            fail_msg("%s is written", bad[i]);
        json_writer_release(&w);
    }
}

static void a_value_is_one_value(void **state)
{
    struct json_writer w = {0};

    (void)state;
    assert_int_equal(msgpack_write_json(&w, ws_str("1,2"), NULL, 0), MSGPACK_BAD);
    assert_int_equal(msgpack_write_json(&w, ws_str(""), NULL, 0), MSGPACK_BAD);
    assert_int_equal(msgpack_write_json(&w, ws_str(" [1,2] "), NULL, 0), 0);
    expect_bytes(&w, "920102", "[1,2]");
    json_writer_release(&w);
}

static void the_deepest_json_is_written_and_read_back(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 1] = "";
    struct json_writer w = {0};
    struct json_writer back = {0};
    size_t count = 0;

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(msgpack_write_json(&w, ws_str(text), NULL, 0), 0);
    assert_int_equal(msgpack_to_json(&back, json_written(&w), NULL, &count), 0);
    expect_written(&back, text, "back");
    json_writer_release(&w);
    json_writer_release(&back);
}

/* Lengths at which the form changes, by their heads. */
static void long_values_have_long_heads(void **state)
{
    static const struct {
        size_t len;
        const char *string;
        const char *binary;
    } heads[] = {
        {255, "d9ff", "c4ff"},
        {256, "da0100", "c50100"},
        {65535, "daffff", "c5ffff"},
        {65536, "db00010000", "c600010000"},
    };
    char *text = calloc(1, 65536);
    char bytes[16];

    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct json_writer w = {0};
        struct ws_str head = from_hex(heads[i].string, bytes);

        msgpack_write_string(&w, text, heads[i].len);
        assert_int_equal(w.len, head.len + heads[i].len);
        assert_memory_equal(w.data, head.data, head.len);
        json_writer_clear(&w);
        head = from_hex(heads[i].binary, bytes);
        msgpack_write_binary(&w, text, heads[i].len);
        assert_int_equal(w.len, head.len + heads[i].len);
        assert_memory_equal(w.data, head.data, head.len);
        json_writer_release(&w);
    }
    free(text);
}

static void large_containers_have_large_heads(void **state)
{
    struct json_writer w = {0};

    (void)state;
    msgpack_write_array(&w, 65535);
    msgpack_write_array(&w, 65536);
    msgpack_write_map(&w, 65535);
    msgpack_write_map(&w, 65536);
    expect_bytes(&w, "dcffff dd00010000 deffff df00010000", "heads");
    json_writer_release(&w);
}

/* As notepack.io writes them. */
static void dates_are_the_shortest_timestamps(void **state)
{
    static const struct {
        int64_t ms;
        const char *hex;
    } dates[] = {
        {0, "d6ff00000000"},
        {1577836800000, "d6ff5e0be100"},
        {4294967295000, "d6ffffffffff"},
        {4294967296000, "d7ff0000000100000000"},
        {1577836800033, "d7ff07de2900 5e0be100"},
        {17179869183999, "d7ffee2e1f03 ffffffff"},
        {17179869184000, "c70cff 00000000 0000000400000000"},
        {-1, "c70cff 3b8b87c0 ffffffffffffffff"},
        {-1000, "c70cff 00000000 ffffffffffffffff"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(dates); i++) {
        struct json_writer w = {0};

        msgpack_write_date(&w, dates[i].ms);
        expect_bytes(&w, dates[i].hex, dates[i].hex);
        json_writer_release(&w);
    }
}

static void numbers_that_json_cannot_say_are_floats(void **state)
{
    struct json_writer w = {0};

    (void)state;
    msgpack_write_number(&w, (double)INFINITY);
    msgpack_write_number(&w, -(double)INFINITY);
    msgpack_write_number(&w, -1e300);
    expect_bytes(&w, "cb7ff0000000000000 cbfff0000000000000 cbfe37e43c8800759c", "floats");
    json_writer_release(&w);
}

static void without_memory_both_directions_say_so(void **state)
{
    static const char list[] =
        "\"\\n\",[{\"a\":[1,2,3]},\"some text that is long enough to grow\"]";
    struct json_writer msgpack = {0};
    char bytes[128];
    struct ws_str copy = {bytes, 0};

    (void)state;
    assert_int_equal(msgpack_write_list(&msgpack, ws_str(list), NULL, 0), 0);
    copy.len = msgpack.len;
    memcpy(bytes, msgpack.data, msgpack.len);
    json_writer_release(&msgpack);
    for (long n = 0, came = 1; came != 0; n++) {
        struct json_writer w = {0};
        int error;

        oom_once(n);
        error = msgpack_write_list(&w, ws_str(list), NULL, 0);
        came = oom_came();
        oom_after(-1);
        assert_int_equal(error, came ? MSGPACK_NOMEM : 0);
        json_writer_release(&w);
    }
    oom_after(0);
    assert_int_equal(msgpack_to_json(&msgpack, copy, NULL, NULL), MSGPACK_NOMEM);
    oom_after(-1);
}

#include "socketio/tests/test_msgpack.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
