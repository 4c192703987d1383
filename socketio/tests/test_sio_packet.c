/* SPDX-License-Identifier: MIT */
#include "../../tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../sio_packet.h"
#include "counted.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Decode an exact-size copy, which the caller frees. */
static int decode(struct sio_packet *p, const char *text, size_t len, char **copy)
{
    *copy = exact_copy(text, len);
    return sio_packet_decode(p, (struct ws_str){*copy, len});
}

static bool slice_is(struct ws_str s, const char *expected)
{
    if (expected == NULL || s.data == NULL)
        return expected == NULL && s.data == NULL;
    return s.len == strlen(expected) && memcmp(s.data, expected, s.len) == 0;
}

static const struct {
    const char *text;
    enum sio_type type;
    unsigned attachments;
    const char *nsp;
    int64_t id;
    const char *json;
} packets[] = {
    {"0", SIO_CONNECT, 0, "/", -1, NULL},
    {"0{}", SIO_CONNECT, 0, "/", -1, "{}"},
    {"0{\"token\":\"x\"}", SIO_CONNECT, 0, "/", -1, "{\"token\":\"x\"}"},
    {"0/custom", SIO_CONNECT, 0, "/custom", -1, NULL},
    {"0/custom,", SIO_CONNECT, 0, "/custom", -1, NULL},
    {"0/a,{\"b\":1}", SIO_CONNECT, 0, "/a", -1, "{\"b\":1}"},
    {"0/a?x=1,", SIO_CONNECT, 0, "/a?x=1", -1, NULL},
    {"0/", SIO_CONNECT, 0, "/", -1, NULL},
    {"0/,", SIO_CONNECT, 0, "/", -1, NULL},
    {"1", SIO_DISCONNECT, 0, "/", -1, NULL},
    {"1/custom", SIO_DISCONNECT, 0, "/custom", -1, NULL},
    {"1/custom,", SIO_DISCONNECT, 0, "/custom", -1, NULL},
    {"2[\"a\"]", SIO_EVENT, 0, "/", -1, "[\"a\"]"},
    {"2 [ \"a\" , 1 ] ", SIO_EVENT, 0, "/", -1, "[ \"a\" , 1 ]"},
    {"2", SIO_EVENT, 0, "/", -1, NULL},
    {"212", SIO_EVENT, 0, "/", 12, NULL},
    {"212[1,2]", SIO_EVENT, 0, "/", 12, "[1,2]"},
    {"2007[\"a\"]", SIO_EVENT, 0, "/", 7, "[\"a\"]"},
    {"29007199254740991[\"a\"]", SIO_EVENT, 0, "/", 9007199254740991, "[\"a\"]"},
    {"2/admin,456[\"a\",{\"b\":[]}]", SIO_EVENT, 0, "/admin", 456, "[\"a\",{\"b\":[]}]"},
    {"2[\"error\",\"x\"]", SIO_EVENT, 0, "/", -1, "[\"error\",\"x\"]"},
    {"2[\"message\"]", SIO_EVENT, 0, "/", -1, "[\"message\"]"},
    {"2[\"connection\"]", SIO_EVENT, 0, "/", -1, "[\"connection\"]"},
    {"2[\"a\",{\"_placeholder\":true,\"num\":9}]", SIO_EVENT, 0, "/", -1,
     "[\"a\",{\"_placeholder\":true,\"num\":9}]"},
    {"30[]", SIO_ACK, 0, "/", 0, "[]"},
    {"3999[1]", SIO_ACK, 0, "/", 999, "[1]"},
    {"3/a,1[\"x\"]", SIO_ACK, 0, "/a", 1, "[\"x\"]"},
    {"4{\"message\":\"no\"}", SIO_CONNECT_ERROR, 0, "/", -1, "{\"message\":\"no\"}"},
    {"4/a,\"no\"", SIO_CONNECT_ERROR, 0, "/a", -1, "\"no\""},
    {"51-[\"a\",{\"_placeholder\":true,\"num\":0}]", SIO_BINARY_EVENT, 1, "/", -1,
     "[\"a\",{\"_placeholder\":true,\"num\":0}]"},
    {"52-/admin,7[\"baz\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
     SIO_BINARY_EVENT, 2, "/admin", 7,
     "[\"baz\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"},
    {"510-[\"m\"]", SIO_BINARY_EVENT, 10, "/", -1, "[\"m\"]"},
    {"61-3[{\"_placeholder\":true,\"num\":0}]", SIO_BINARY_ACK, 1, "/", 3,
     "[{\"_placeholder\":true,\"num\":0}]"},
};

static void every_form_of_packet_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        struct sio_packet p;
        char *copy;
        int error = decode(&p, packets[i].text, strlen(packets[i].text), &copy);

        if (error != 0 || p.type != packets[i].type || p.attachments != packets[i].attachments ||
            !slice_is(p.nsp, packets[i].nsp) || p.id != packets[i].id ||
            !slice_is(p.json, packets[i].json))
            fail_msg("%s: %d, type %d, id %lld", packets[i].text, error, (int)p.type,
                     (long long)p.id);
        free(copy);
    }
}

/* A packet that is cut short is refused or means what was cut; it never reads past its end, and its
 * JSON is never half a value. */
static void packets_cut_at_every_place_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        size_t len = strlen(packets[i].text);

        for (size_t n = 0; n < len; n++) {
            struct sio_packet p;
            char *copy;

            if (decode(&p, packets[i].text, n, &copy) == 0 && p.json.data != NULL)
                assert_int_equal(json_parse(p.json).len, p.json.len);
            free(copy);
        }
    }
}

static const struct {
    const char *text;
    int error;
} not_packets[] = {
    {"", SIO_BAD_TYPE},
    {"7", SIO_BAD_TYPE},
    {"9[\"a\"]", SIO_BAD_TYPE},
    {"x", SIO_BAD_TYPE},
    {" 2[\"a\"]", SIO_BAD_TYPE},
    {"0[]", SIO_BAD_PAYLOAD},
    {"0\"x\"", SIO_BAD_PAYLOAD},
    {"0null", SIO_BAD_PAYLOAD},
    {"0true", SIO_BAD_PAYLOAD},
    {"0/a,[]", SIO_BAD_PAYLOAD},
    {"1{}", SIO_BAD_PAYLOAD},
    {"1/a,\"x\"", SIO_BAD_PAYLOAD},
    {"2[]", SIO_BAD_PAYLOAD},
    {"2[null]", SIO_BAD_PAYLOAD},
    {"2[[\"a\"]]", SIO_BAD_PAYLOAD},
    {"2[{\"a\":1}]", SIO_BAD_PAYLOAD},
    {"2[true]", SIO_BAD_PAYLOAD},
    {"2{}", SIO_BAD_PAYLOAD},
    {"2\"a\"", SIO_BAD_PAYLOAD},
    {"2[\"connect\"]", SIO_BAD_PAYLOAD},
    {"2[\"connect_error\"]", SIO_BAD_PAYLOAD},
    {"2[\"disconnect\"]", SIO_BAD_PAYLOAD},
    {"2[\"disconnecting\"]", SIO_BAD_PAYLOAD},
    {"2[\"newListener\"]", SIO_BAD_PAYLOAD},
    {"2[\"removeListener\"]", SIO_BAD_PAYLOAD},
    {"2[\"\\u0064isconnect\"]", SIO_BAD_PAYLOAD},
    {"2[\"a\"]x", SIO_BAD_JSON},
    {"2[\"a\"", SIO_BAD_JSON},
    {"2[\"a\",]", SIO_BAD_JSON},
    {"2abc", SIO_BAD_JSON},
    {"2-1[\"a\"]", SIO_BAD_JSON},
    {"21.5[\"a\"]", SIO_BAD_JSON},
    {"21e3[\"a\"]", SIO_BAD_JSON},
    {"2 1[\"a\"]", SIO_BAD_JSON},
    {"29007199254740992[\"a\"]", SIO_BAD_ID},
    {"299999999999999999999999999999[\"a\"]", SIO_BAD_ID},
    {"3", SIO_BAD_PAYLOAD},
    {"31", SIO_BAD_PAYLOAD},
    {"312{}", SIO_BAD_PAYLOAD},
    {"312\"x\"", SIO_BAD_PAYLOAD},
    {"4", SIO_BAD_PAYLOAD},
    {"4[]", SIO_BAD_PAYLOAD},
    {"41", SIO_BAD_PAYLOAD},
    {"5", SIO_BAD_ATTACHMENTS},
    {"5[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"5-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"51[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"51", SIO_BAD_ATTACHMENTS},
    {"50-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"500-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"501-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"5-1-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"51.5-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"51e1-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"5x-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"511-[\"a\"]", SIO_BAD_ATTACHMENTS},
    {"51-", SIO_BAD_PAYLOAD},
    {"51-12", SIO_BAD_PAYLOAD},
    {"51-[]", SIO_BAD_PAYLOAD},
    {"51-[\"disconnect\"]", SIO_BAD_PAYLOAD},
    {"61-1{}", SIO_BAD_PAYLOAD},
    {"0/a\x1f,", SIO_BAD_NAMESPACE},
    {"0/a\nb", SIO_BAD_NAMESPACE},
};

static void what_is_no_packet_is_refused_for_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(not_packets); i++) {
        struct sio_packet p;
        char *copy;
        int error = decode(&p, not_packets[i].text, strlen(not_packets[i].text), &copy);

        if (error != not_packets[i].error)
            fail_msg("%s: %d instead of %d", not_packets[i].text, error, not_packets[i].error);
        free(copy);
    }
}

/* --- published attacks on the reference's parser ---------------------------------------------- */

static void expect_error(const char *text, int expected)
{
    struct sio_packet p;
    char *copy;
    int error = decode(&p, text, strlen(text), &copy);

    free(copy);
    if (error != expected)
        fail_msg("%s: %d instead of %d", text, error, expected);
}

static void cve_2022_2421_placeholder_num_is_no_index(void **state)
{
    static const char *const nums[] = {"\"splice\"", "\"0\"",      "1",     "-1",           "0.5",
                                       "1e9",        "null",       "[0]",   "true",         "{}",
                                       "-0.1",       "\"length\"", "9e999", "\"__proto__\""};
    char text[128];

    (void)state;
    for (size_t i = 0; i < COUNT(nums); i++) {
        snprintf(text, sizeof text, "51-[\"a\",{\"_placeholder\":true,\"num\":%s}]", nums[i]);
        expect_error(text, SIO_BAD_PLACEHOLDER);
    }
    expect_error("51-[\"a\",{\"_placeholder\":true}]", SIO_BAD_PLACEHOLDER);
    /* At the place of the name it is no name to begin with. */
    expect_error("51-[{\"_placeholder\":true,\"num\":\"splice\"}]", SIO_BAD_PAYLOAD);
}

static void cve_2023_32695_event_name_is_an_object(void **state)
{
    (void)state;
    expect_error("2[{\"toString\":\"foo\"}]", SIO_BAD_PAYLOAD);
    expect_error("2[{\"toString\":\"foo\"},\"x\"]", SIO_BAD_PAYLOAD);
    expect_error("51-[{\"toString\":\"foo\"}]", SIO_BAD_PAYLOAD);
}

static void cve_2026_33151_attachments_without_end(void **state)
{
    (void)state;
    expect_error("599999999-[\"x\"]", SIO_BAD_ATTACHMENTS);
    expect_error("511-[\"x\"]", SIO_BAD_ATTACHMENTS);
    expect_error("518446744073709551617-[\"x\"]", SIO_BAD_ATTACHMENTS); /* 2^64 + 1 */
    expect_error("54294967297-[\"x\"]", SIO_BAD_ATTACHMENTS);           /* 2^32 + 1 */
    expect_error("50-[\"x\"]", SIO_BAD_ATTACHMENTS);
}

static void cve_2024_38355_event_named_error_is_an_event(void **state)
{
    (void)state;
    expect_error("2[\"error\",\"x\"]", 0);
    expect_error("2[\"error\"]", 0);
    expect_error("2[\"__proto__\"]", 0);
    expect_error("2[\"constructor\",{\"__proto__\":{\"a\":1}}]", 0);
}

static void deep_json_is_refused(void **state)
{
    static char text[200000];
    struct sio_packet p;

    (void)state;
    memcpy(text, "2[\"a\",", 6);
    memset(text + 6, '[', sizeof text - 6);
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, sizeof text}), SIO_BAD_JSON);
    memset(text + 6, '[', JSON_DEPTH_MAX);
    memset(text + 6 + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, 7 + 2 * JSON_DEPTH_MAX}),
                     SIO_BAD_JSON);
}

static void names_are_bounded(void **state)
{
    char text[2 * SIO_NAME_MAX];
    struct sio_packet p;

    (void)state;
    memset(text, 'x', sizeof text);
    text[0] = '0';
    text[1] = '/';
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, 1 + SIO_NAME_MAX}), 0);
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, 2 + SIO_NAME_MAX}),
                     SIO_BAD_NAMESPACE);
    memcpy(text, "2[\"", 3);
    memcpy(text + 1 + SIO_NAME_MAX, "\"]", 2);
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, 3 + SIO_NAME_MAX}), 0);
    memcpy(text + 1 + SIO_NAME_MAX, "x\"]", 3);
    assert_int_equal(sio_packet_decode(&p, (struct ws_str){text, 4 + SIO_NAME_MAX}),
                     SIO_BAD_PAYLOAD);
}

/* --- placeholders ----------------------------------------------------------------------------- */

static void placeholders_are_found_at_any_depth(void **state)
{
    static const struct {
        const char *list;
        bool fits; /* two attachments */
    } cases[] = {
        {"", true},
        {"\"a\",1,null", true},
        {"{\"_placeholder\":true,\"num\":0}", true},
        {"{\"num\":1,\"_placeholder\":true}", true},
        {"{\"_placeholder\":true,\"num\":2}", false},
        {"{\"_placeholder\":false,\"num\":2}", true},
        {"{\"_placeholder\":\"true\",\"num\":2}", true},
        {"{\"_placeholder\":1,\"num\":2}", true},
        {"{\"_placeholder\":[true],\"num\":2}", true},
        {"{\"_placeholder\":true,\"num\":2,\"_placeholder\":false}", true},
        {"{\"_placeholder\":false,\"num\":2,\"_placeholder\":true}", false},
        {"{\"_placeholder\":true,\"num\":0,\"num\":2}", false},
        {"{\"_placeholder\":true,\"num\":0,\"num\":{}}", false},
        {"{\"_placeholder\":true,\"num\":2,\"num\":0}", true},
        {"{\"_placeholder\":true,\"x\":{\"num\":0}}", false},
        {"{\"_placeholder\":true,\"num\":0,\"x\":{\"num\":5}}", true},
        {"{\"_placeholder\":true,\"num\":0,\"x\":{\"_placeholder\":true,\"num\":5}}", false},
        {"{\"\\u005fplaceholder\":true,\"num\":2}", false},
        {"{\"a\":[1,{\"b\":{\"_placeholder\":true,\"num\":2}}]}", false},
        {"{\"a\":[1,{\"b\":{\"_placeholder\":true,\"num\":1}}]}", true},
        {"[[[{\"_placeholder\":true,\"num\":-1}]]]", false},
        {"\"{\\\"_placeholder\\\":true}\"", true},
        {"[\"_placeholder\",true,\"num\",2]", true},
        {"{\"a\":{}},{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":3}", false},
        {"]", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i].list);
        char *copy = exact_copy(cases[i].list, len);

        if (sio_placeholders_fit((struct ws_str){copy, len}, 2) != cases[i].fits)
            fail_msg("%s", cases[i].list);
        free(copy);
    }
}

/* What sio_packet_decode() has read is never so deep. */
static void lists_that_are_too_deep_fit_nothing(void **state)
{
    char text[2 * (JSON_DEPTH_MAX + 1)];

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_true(sio_placeholders_fit((struct ws_str){text, 2 * (size_t)JSON_DEPTH_MAX}, 0));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_false(sio_placeholders_fit((struct ws_str){text, sizeof text}, 0));
}

static int placeholder(const char *json)
{
    return sio_placeholder((struct ws_str){json, strlen(json)});
}

static void a_value_tells_which_attachment_it_stands_for(void **state)
{
    (void)state;
    assert_int_equal(placeholder("{\"_placeholder\":true,\"num\":0}"), 0);
    assert_int_equal(placeholder("{\"num\":255,\"_placeholder\":true}"), 255);
    assert_int_equal(placeholder("{\"_placeholder\":true,\"num\":256}"), -1);
    assert_int_equal(placeholder("{\"_placeholder\":false,\"num\":0}"), -1);
    assert_int_equal(placeholder("{\"_placeholder\":true}"), -1);
    assert_int_equal(placeholder("{}"), -1);
    assert_int_equal(placeholder("[]"), -1);
    assert_int_equal(placeholder("7"), -1);
    assert_int_equal(sio_placeholder((struct ws_str){NULL, 0}), -1);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void packets_are_written_as_they_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(packets); i++) {
        struct json_writer w = {0};
        struct sio_packet p;
        struct sio_packet again;
        struct ws_str text = {packets[i].text, strlen(packets[i].text)};

        assert_int_equal(sio_packet_decode(&p, text), 0);
        sio_packet_begin(&w, p.type, p.attachments, p.nsp, p.id);
        json_write_text(&w, p.json.data, p.json.len);
        assert_int_equal(sio_packet_decode(&again, json_written(&w)), 0);
        assert_int_equal(again.type, p.type);
        assert_int_equal(again.attachments, p.attachments);
        assert_int_equal(again.id, p.id);
        assert_int_equal(again.nsp.len, p.nsp.len);
        assert_memory_equal(again.nsp.data, p.nsp.data, p.nsp.len);
        assert_true(slice_is(again.json, packets[i].json));
        json_writer_release(&w);
    }
}

static void expect_begin(enum sio_type type, unsigned attachments, const char *nsp, int64_t id,
                         const char *expected)
{
    struct json_writer w = {0};

    sio_packet_begin(&w, type, attachments, (struct ws_str){nsp, strlen(nsp)}, id);
    json_write_text(&w, "[", 1);
    assert_true(slice_is(json_written(&w), expected));
    json_writer_release(&w);
}

static void the_comma_is_written_behind_every_other_namespace(void **state)
{
    (void)state;
    expect_begin(SIO_EVENT, 0, "/", SIO_NO_ID, "2[");
    expect_begin(SIO_EVENT, 0, "/", 0, "20[");
    expect_begin(SIO_ACK, 0, "/a", 13, "3/a,13[");
    expect_begin(SIO_CONNECT, 0, "/a", SIO_NO_ID, "0/a,[");
    expect_begin(SIO_BINARY_EVENT, 10, "/", SIO_NO_ID, "510-[");
    expect_begin(SIO_BINARY_ACK, 2, "/admin", 7, "62-/admin,7[");
}

/* --- attachments ------------------------------------------------------------------------------ */

static void attachments_are_collected_in_order(void **state)
{
    static const char *const parts[] = {"one", "", "three"};
    struct sio_assembly a = {0};
    struct counted counted;

    (void)state;
    counted_begin(&counted, 0);
    assert_int_equal(sio_assembly_begin(&a, counted.account, (struct ws_str){"53-[\"a\"]", 8}, 3),
                     0);
    for (unsigned i = 0; i < 3; i++) {
        char *copy = exact_copy(parts[i], strlen(parts[i]));

        assert_int_equal(sio_assembly_add(&a, counted.account, copy, strlen(parts[i])), i == 2);
        free(copy);
    }
    assert_int_equal(a.len, 16);
    assert_true(slice_is(sio_assembly_text(&a), "53-[\"a\"]"));
    for (unsigned i = 0; i < 3; i++)
        assert_true(slice_is(sio_assembly_attachment(&a, i), parts[i]));
    assert_true(counted_used(&counted) >= a.len);
    sio_assembly_release(&a, counted.account);
    assert_null(a.data);
    counted_end(&counted);
}

/* The length is checked before a byte is read. */
static void an_attachment_of_any_length_takes_no_memory(void **state)
{
    volatile size_t len = SIZE_MAX;
    struct sio_assembly a = {0};
    struct counted counted;

    (void)state;
    counted_begin(&counted, 0);
    assert_int_equal(sio_assembly_begin(&a, counted.account, (struct ws_str){"51-[\"a\"]", 8}, 1),
                     0);
    assert_int_equal(sio_assembly_add(&a, counted.account, "", len), SIO_PACKET_NOMEM);
    assert_int_equal(a.len, 8);
    sio_assembly_release(&a, counted.account);
    counted_end(&counted);
}

#include "socketio/tests/test_sio_packet.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
