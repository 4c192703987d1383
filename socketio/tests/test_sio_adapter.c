/* SPDX-License-Identifier: MIT
 *
 * The messages that Node's servers publish, as tests/e2e/adapter_messages.js caught them, and what
 * is none. */
#include "../../tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../../tests/oom.h"
#include "../sio_adapter.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { SIZE = 1024 };

/* A text that begins with a brace is itself; any other one is hexadecimal digits. */
static struct ws_str bytes_of(const char *text, char out[SIZE])
{
    size_t len = strlen(text);
    unsigned byte;

    if (text[0] == '{') {
        memcpy(out, text, len);
        return (struct ws_str){out, len};
    }
    for (size_t i = 0; i < len / 2; i++) {
        sscanf(text + 2 * i, "%2x", &byte);
        out[i] = (char)byte;
    }
    return (struct ws_str){out, len / 2};
}

static void append(char *out, const char *name, struct ws_str value)
{
    size_t at = strlen(out);

    if (value.data != NULL)
        snprintf(out + at, SIZE - at, " %s=%.*s", name, (int)value.len, value.data);
}

/* All fields that a message has, as text. */
static void describe(const struct sio_adapter_message *m, char out[SIZE])
{
    char rest[128];

    snprintf(out, SIZE, "%d", (int)m->type);
    append(out, "uid", m->uid);
    append(out, "nsp", m->nsp);
    append(out, "id", m->request_id);
    append(out, "rooms", m->rooms);
    append(out, "except", m->except);
    append(out, "sid", m->sid);
    append(out, "names", m->names);
    append(out, "list", m->list);
    snprintf(rest, sizeof rest, "%s%s", m->is_volatile ? " volatile" : "",
             m->close ? " close" : "");
    strcat(out, rest);
    if (m->timeout_ms != 0 || m->count != 0 || m->attachment_count != 0) {
        snprintf(rest, sizeof rest, " timeout=%lld count=%lld attachments=%zu",
                 (long long)m->timeout_ms, (long long)m->count, m->attachment_count);
        strcat(out, rest);
    }
}

#define UID   "\"aaaaaa\""
#define UID16 "\"aaaaaaaaaaaaaaaa\""

static const struct {
    enum sio_source from;
    const char *message;
    const char *fields; /* behind the number of the type */
    enum sio_adapter_type type;
    bool same; /* it is written like this, too */
} caught[] = {
    {SIO_FROM_BROADCASTS,
     "93a661616161616183a47479706502a46461746194a568656c6c6f01a374776f81a5746872656593c0c3cbbfe0000"
     "000000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
     " uid=" UID " nsp=\"/\" rooms= except= list=\"hello\",1,\"two\",{\"three\":[null,true,-0.5]}",
     SIO_BROADCAST, true},
    {SIO_FROM_BROADCASTS,
     "93a661616161616183a47479706502a46461746193a362696ec402010203a36e7370a12f83a5726f6f6d7392a161a"
     "162a665786365707491a163a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
     " uid=" UID " nsp=\"/\" rooms=\"a\",\"b\" except=\"c\" "
     "list=\"bin\",{\"_placeholder\":true,\"num\":0},3 volatile timeout=0 count=0 attachments=1",
     SIO_BROADCAST, false},
    {SIO_FROM_BROADCASTS,
     "93a7656d697474657283a47479706502a46461746192a362696ec40109a36e7370a12f83a5726f6f6d7391a161a56"
     "66c61677381a8766f6c6174696c65c3a665786365707491a162",
     " uid=\"emitter\" nsp=\"/\" rooms=\"a\" except=\"b\" "
     "list=\"bin\",{\"_placeholder\":true,\"num\":0} volatile timeout=0 count=0 attachments=1",
     SIO_BROADCAST, false},
    {SIO_FROM_REQUESTS,
     "85a3756964a6616161616161a9726571756573744964a6646464646464a47479706507a67061636b657483a474797"
     "06502a46461746192a361736bc40107a36e7370a12fa46f70747383a5726f6f6d7391a161a665786365707490a566"
     "6c61677381a774696d656f7574cd03e8",
     " uid=" UID " nsp=\"/\" id=\"dddddd\" rooms=\"a\" except= "
     "list=\"ask\",{\"_placeholder\":true,\"num\":0} timeout=1000 count=0 attachments=1",
     SIO_BROADCAST, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"type\":2,\"opts\":{\"rooms\":[],\"except\":[]},\"rooms\":[\"r1\","
     "\"r2\"]}",
     " uid=" UID " rooms= except= names=\"r1\",\"r2\"", SIO_JOIN, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"type\":3,\"opts\":{\"rooms\":[\"a\"],\"except\":[\"b\"]},\"rooms\":["
     "\"r1\"]}",
     " uid=" UID " rooms=\"a\" except=\"b\" names=\"r1\"", SIO_LEAVE, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"type\":4,\"opts\":{\"rooms\":[\"a\"],\"except\":[]},\"close\":true}",
     " uid=" UID " rooms=\"a\" except= close", SIO_DISCONNECT_ALL, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"type\":4,\"opts\":{\"rooms\":[],\"except\":[]},\"close\":false}",
     " uid=" UID " rooms= except=", SIO_DISCONNECT_ALL, true},
    {SIO_FROM_REQUESTS, "{\"uid\":\"aaaaaa\",\"type\":6,\"data\":[\"ping\",1,{\"a\":\"b\"}]}",
     " uid=" UID " list=\"ping\",1,{\"a\":\"b\"}", SIO_SERVER_EMIT, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"requestId\":\"eeeeee\",\"type\":6,\"data\":[\"ping\",\"x\"]}",
     " uid=" UID " id=\"eeeeee\" list=\"ping\",\"x\"", SIO_SERVER_EMIT, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"requestId\":\"ffffff\",\"type\":5,\"opts\":{\"rooms\":[\"a\"],"
     "\"except\":[]}}",
     " uid=" UID " id=\"ffffff\" rooms=\"a\" except=", SIO_FETCH, true},
    {SIO_FROM_REQUESTS, "{\"uid\":\"aaaaaa\",\"requestId\":\"gggggg\",\"type\":1}",
     " uid=" UID " id=\"gggggg\"", SIO_LIST_ROOMS, true},
    {SIO_FROM_REQUESTS,
     "{\"uid\":\"aaaaaa\",\"requestId\":\"gggggg\",\"type\":0,\"rooms\":[\"a\"]}",
     " uid=" UID " id=\"gggggg\" rooms=\"a\"", SIO_LIST_SOCKETS, true},
    {SIO_FROM_REQUESTS,
     "{\"type\":2,\"opts\":{\"rooms\":[\"a\"],\"except\":[]},\"rooms\":[\"r1\"]}",
     " rooms=\"a\" except= names=\"r1\"", SIO_JOIN, true},
    {SIO_FROM_REQUESTS, "{\"uid\":\"emitter\",\"type\":6,\"data\":[\"ping\",1]}",
     " uid=\"emitter\" list=\"ping\",1", SIO_SERVER_EMIT, true},
    /* the forms of version 5 */
    {SIO_FROM_REQUESTS, "{\"requestId\":\"x\",\"type\":2,\"sid\":\"s\",\"room\":\"r\"}",
     " id=\"x\" sid=\"s\" names=\"r\"", SIO_JOIN, true},
    {SIO_FROM_REQUESTS, "{\"requestId\":\"x\",\"type\":4,\"sid\":\"s\",\"close\":true}",
     " id=\"x\" sid=\"s\" close", SIO_DISCONNECT_ALL, true},
    {SIO_FROM_REQUESTS, "{\"type\":99}", "", SIO_ADAPTER_OTHER, false},
    {SIO_FROM_ANSWERS, "{\"type\":8,\"requestId\":\"rq1\",\"clientCount\":3}",
     " id=\"rq1\" timeout=0 count=3 attachments=0", SIO_ANSWER_COUNT, true},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"rq2\",\"sockets\":[{\"id\":\"x\"}]}",
     " id=\"rq2\" names={\"id\":\"x\"}", SIO_ANSWER_SOCKETS, true},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"rq5\",\"rooms\":[\"a\",1]}", " id=\"rq5\" names=\"a\",1",
     SIO_ANSWER_ROOMS, true},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"rq5\"}", " id=\"rq5\"", SIO_ANSWER_DONE, true},
    {SIO_FROM_ANSWERS, "{\"type\":6,\"requestId\":\"rq3\",\"data\":{\"got\":1}}",
     " id=\"rq3\" list={\"got\":1}", SIO_ANSWER_SERVER, true},
    {SIO_FROM_ANSWERS, "{\"type\":6,\"requestId\":\"rq3\"}", " id=\"rq3\"", SIO_ANSWER_SERVER,
     true},
    {SIO_FROM_ANSWERS, "83a47479706509a9726571756573744964a3727131a67061636b6574c40101",
     " id=\"rq1\" list={\"_placeholder\":true,\"num\":0} timeout=0 count=0 attachments=1",
     SIO_ANSWER_CLIENT, true},
    {SIO_FROM_SHARDS,
     "{\"type\":3,\"data\":{\"packet\":{\"type\":2,\"data\":[\"hello\"]},\"opts\":{\"rooms\":["
     "\"room1\"],\"except\":[],\"flags\":{}}},\"uid\":\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" rooms=\"room1\" except= list=\"hello\"", SIO_BROADCAST, true},
    {SIO_FROM_SHARDS,
     "84a47479706503a46461746183a67061636b657482a47479706502a46461746192a361736bc40107a972657175657"
     "3744964b064646464646464646464646464646464a46f70747383a5726f6f6d7391a161a665786365707490a5666c"
     "61677381a774696d656f7574cd03e8a3756964b061616161616161616161616161616161a36e7370a12f",
     " uid=" UID16 " nsp=\"/\" id=\"dddddddddddddddd\" rooms=\"a\" except= "
     "list=\"ask\",{\"_placeholder\":true,\"num\":0} timeout=1000 count=0 attachments=1",
     SIO_BROADCAST, true},
    {SIO_FROM_SHARDS,
     "{\"type\":4,\"data\":{\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}},\"rooms\":[\"r1\","
     "\"r2\"]},\"uid\":\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" rooms= except= names=\"r1\",\"r2\"", SIO_JOIN, true},
    {SIO_FROM_SHARDS,
     "{\"type\":6,\"data\":{\"opts\":{\"rooms\":[\"a\"],\"except\":[],\"flags\":{}},\"close\":"
     "true},\"uid\":\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" rooms=\"a\" except= close", SIO_DISCONNECT_ALL, true},
    {SIO_FROM_SHARDS,
     "{\"type\":9,\"data\":{\"requestId\":\"eeeeeeeeeeeeeeee\",\"packet\":[\"ping\",\"x\"]},"
     "\"uid\":\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"eeeeeeeeeeeeeeee\" list=\"ping\",\"x\"", SIO_SERVER_EMIT, true},
    {SIO_FROM_SHARDS,
     "{\"type\":7,\"data\":{\"opts\":{\"rooms\":[\"a\"],\"except\":[],\"flags\":{}},"
     "\"requestId\":\"ffffffffffffffff\"},\"uid\":\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"ffffffffffffffff\" rooms=\"a\" except=", SIO_FETCH, true},
    {SIO_FROM_SHARDS,
     "{\"type\":11,\"data\":{\"requestId\":\"rq1\",\"clientCount\":2},\"uid\":"
     "\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"rq1\" timeout=0 count=2 attachments=0", SIO_ANSWER_COUNT, true},
    {SIO_FROM_SHARDS,
     "{\"type\":8,\"data\":{\"requestId\":\"rq2\",\"sockets\":[]},\"uid\":\"aaaaaaaaaaaaaaaa\","
     "\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"rq2\" names=", SIO_ANSWER_SOCKETS, true},
    {SIO_FROM_SHARDS,
     "{\"type\":10,\"data\":{\"requestId\":\"rq3\",\"packet\":{\"got\":1}},\"uid\":"
     "\"aaaaaaaaaaaaaaaa\",\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"rq3\" list={\"got\":1}", SIO_ANSWER_SERVER, true},
    {SIO_FROM_SHARDS,
     "{\"type\":12,\"data\":{\"requestId\":\"rq3\",\"packet\":1},\"uid\":\"aaaaaaaaaaaaaaaa\","
     "\"nsp\":\"/\"}",
     " uid=" UID16 " nsp=\"/\" id=\"rq3\" list=1", SIO_ANSWER_CLIENT, true},
    {SIO_FROM_SHARDS, "{\"type\":2,\"uid\":\"x\",\"nsp\":\"/\"}", " uid=\"x\" nsp=\"/\"",
     SIO_ADAPTER_OTHER, false},
    {SIO_FROM_SHARDS, "{\"type\":-1,\"data\":{},\"uid\":\"x\",\"nsp\":\"/\"}",
     " uid=\"x\" nsp=\"/\"", SIO_ADAPTER_OTHER, false},
};

static void messages_of_node_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(caught); i++) {
        char bytes[SIZE];
        struct ws_str message = bytes_of(caught[i].message, bytes);
        char *copy = exact_copy(message.data, message.len);
        struct sio_adapter_space space = {0};
        struct sio_adapter_message m;
        char expected[SIZE];
        char fields[SIZE];
        int error =
            sio_adapter_read(&m, caught[i].from, (struct ws_str){copy, message.len}, &space);

        if (error != 0)
            fail_msg("%s: %d", caught[i].message, error);
        snprintf(expected, sizeof expected, "%d%s", (int)caught[i].type, caught[i].fields);
        describe(&m, fields);
        assert_string_equal(fields, expected);
        json_writer_release(&space.text);
        free(copy);
    }
}

static void messages_are_written_as_node_writes_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(caught); i++) {
        char bytes[SIZE];
        struct ws_str message = bytes_of(caught[i].message, bytes);
        struct sio_adapter_space space = {0};
        struct sio_adapter_message m;
        struct json_writer w = {0};
        struct json_writer text = {0};

        if (!caught[i].same)
            continue;
        assert_int_equal(sio_adapter_read(&m, caught[i].from, message, &space), 0);
        assert_int_equal(
            sio_adapter_write(&w, &text,
                              caught[i].from == SIO_FROM_SHARDS ? SIO_SHARDED : SIO_CLASSIC, &m),
            0);
        if (w.len != message.len || memcmp(w.data, message.data, w.len) != 0)
            fail_msg("%s: %.*s", caught[i].message, (int)w.len, w.data);
        json_writer_release(&w);
        json_writer_release(&text);
        json_writer_release(&space.text);
    }
}

static void messages_cut_at_every_place_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(caught); i++) {
        char bytes[SIZE];
        struct ws_str message = bytes_of(caught[i].message, bytes);

        for (size_t n = 0; n < message.len; n++) {
            char *copy = exact_copy(bytes, n);
            struct sio_adapter_space space = {0};
            struct sio_adapter_message m;

            assert_int_equal(sio_adapter_read(&m, caught[i].from, (struct ws_str){copy, n}, &space),
                             SIO_ADAPTER_BAD);
            sio_adapter_sender((struct ws_str){copy, n});
            json_writer_release(&space.text);
            free(copy);
        }
    }
}

static const struct {
    enum sio_source from;
    const char *message;
} refused[] = {
    {SIO_FROM_REQUESTS, "{}"},
    {SIO_FROM_REQUESTS, "{\"type\":\"2\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":null}"},
    {SIO_FROM_REQUESTS, "{\"type\":1,\"uid\":1,\"requestId\":\"x\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":1}"}, /* a question without an id */
    {SIO_FROM_REQUESTS, "{\"type\":1,\"requestId\":7}"},
    {SIO_FROM_REQUESTS, "{\"type\":0,\"requestId\":\"x\",\"rooms\":\"a\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":5,\"requestId\":\"x\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":5,\"opts\":{}}"},
    {SIO_FROM_REQUESTS, "{\"type\":2}"},
    {SIO_FROM_REQUESTS, "{\"type\":2,\"sid\":\"x\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":2,\"sid\":1,\"room\":\"x\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":2,\"opts\":[],\"rooms\":[]}"},
    {SIO_FROM_REQUESTS, "{\"type\":3,\"opts\":{\"except\":{}},\"rooms\":[]}"},
    {SIO_FROM_REQUESTS, "{\"type\":3,\"opts\":{},\"rooms\":\"r\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":4}"},
    {SIO_FROM_REQUESTS, "{\"type\":4,\"opts\":\"x\"}"},
    {SIO_FROM_REQUESTS, "{\"type\":6}"},
    {SIO_FROM_REQUESTS, "{\"type\":6,\"data\":[]}"},
    {SIO_FROM_REQUESTS, "{\"type\":6,\"data\":{}}"},
    {SIO_FROM_REQUESTS, "{\"type\":7,\"packet\":{\"type\":2,\"data\":[\"x\"]},\"opts\":{}}"},
    {SIO_FROM_REQUESTS, "{\"type\":7,\"requestId\":\"x\",\"packet\":{\"type\":2,\"data\":[]},"
                        "\"opts\":{}}"},
    {SIO_FROM_REQUESTS, "{\"type\":7,\"requestId\":\"x\",\"packet\":{\"type\":1,\"data\":[\"x\"]},"
                        "\"opts\":{}}"},
    {SIO_FROM_REQUESTS, "c0"},
    {SIO_FROM_REQUESTS, "90"},
    {SIO_FROM_REQUESTS, "80"},
    {SIO_FROM_ANSWERS, "{}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":1}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"x\",\"type\":[]}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"x\",\"sockets\":{}}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"x\",\"type\":8,\"clientCount\":-1}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"x\",\"type\":8,\"clientCount\":\"1\"}"},
    {SIO_FROM_ANSWERS, "{\"requestId\":\"x\",\"type\":8,\"clientCount\":1e300}"},
    {SIO_FROM_BROADCASTS, "{\"type\":2}"}, /* JSON is not spoken there */
    {SIO_FROM_BROADCASTS, "90"},
    {SIO_FROM_BROADCASTS, "93010101"},
    {SIO_FROM_BROADCASTS, "93a1618080"},
    {SIO_FROM_SHARDS, "{\"type\":3}"},
    {SIO_FROM_SHARDS, "{\"type\":2,\"uid\":\"x\"}"},
    {SIO_FROM_SHARDS, "{\"type\":2,\"nsp\":\"/\"}"},
    {SIO_FROM_SHARDS, "{\"type\":7,\"uid\":\"x\",\"nsp\":\"/\"}"},
    {SIO_FROM_SHARDS, "{\"type\":7,\"uid\":\"x\",\"nsp\":\"/\",\"data\":[]}"},
    {SIO_FROM_SHARDS, "{\"type\":7,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"opts\":{}}}"},
    {SIO_FROM_SHARDS, "{\"type\":10,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"packet\":1}}"},
    {SIO_FROM_SHARDS, "{\"type\":8,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"requestId\":\"y\"}}"},
    {SIO_FROM_SHARDS, "{\"type\":9,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"packet\":1}}"},
};

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        char bytes[SIZE];
        struct sio_adapter_space space = {0};
        struct sio_adapter_message m;

        if (sio_adapter_read(&m, refused[i].from, bytes_of(refused[i].message, bytes), &space) !=
            SIO_ADAPTER_BAD)
            fail_msg("%s is read", refused[i].message);
        json_writer_release(&space.text);
    }
}

/* Twelve binary values: more than a client takes. */
static void binary_values_are_bounded_but_in_the_data_of_sockets(void **state)
{
    static const char head[] =
        "84a47479706508a46461746182a9726571756573744964a178a7736f636b6574739c";
    static const char tail[] = "a3756964a161a36e7370a12f";
    struct sio_adapter_space space = {0};
    struct sio_adapter_message m;
    char message[SIZE];
    char bytes[SIZE];

    (void)state;
    snprintf(message, sizeof message, "%s%s%s", head,
             "c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101", tail);
    assert_int_equal(sio_adapter_read(&m, SIO_FROM_SHARDS, bytes_of(message, bytes), &space), 0);
    assert_int_equal(m.type, SIO_ANSWER_SOCKETS);
    assert_int_equal(m.attachment_count, 0);
    assert_true(memcmp(m.names.data, "{\"type\":\"Buffer\",\"data\":[1]},", 29) == 0);
    /* the same as the answer of a server */
    snprintf(message, sizeof message, "%s%s%s",
             "84a4747970650aa46461746182a9726571756573744964a178a67061636b65749c",
             "c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101c40101", tail);
    assert_int_equal(sio_adapter_read(&m, SIO_FROM_SHARDS, bytes_of(message, bytes), &space),
                     SIO_ADAPTER_BAD);
    json_writer_release(&space.text);
}

static void the_sender_is_known_before_the_message_is_read(void **state)
{
    char bytes[SIZE];
    struct ws_str sender = sio_adapter_sender(bytes_of(caught[0].message, bytes));

    (void)state;
    assert_int_equal(sender.len, 6);
    assert_memory_equal(sender.data, "aaaaaa", 6);
    assert_null(sio_adapter_sender(bytes_of("9301", bytes)).data);
    assert_null(sio_adapter_sender(bytes_of("92a161c0", bytes)).data);
    assert_null(sio_adapter_sender(bytes_of("{", bytes)).data);
}

static void what_cannot_be_a_message_is_not_written(void **state)
{
    static const struct ws_str one = {"x", 1};
    const struct sio_adapter_message bad[] = {
        {.type = SIO_SERVER_EMIT,
         .list = {"{\"_placeholder\":true,\"num\":1}", 29},
         .attachments = &one,
         .attachment_count = 1},
    };
    char deep[2 * JSON_DEPTH_MAX];
    struct sio_adapter_message m = {.type = SIO_SERVER_EMIT, .list = {deep, sizeof deep}};
    struct json_writer w = {0};
    struct json_writer text = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        json_writer_clear(&w);
        assert_int_equal(sio_adapter_write(&w, &text, SIO_CLASSIC, &bad[i]), SIO_ADAPTER_BAD);
    }
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    json_writer_clear(&w);
    assert_int_equal(sio_adapter_write(&w, &text, SIO_CLASSIC, &m), SIO_ADAPTER_BAD);
    m.list = (struct ws_str){deep + 2, sizeof deep - 4}; /* in two more */
    json_writer_clear(&w);
    assert_int_equal(sio_adapter_write(&w, &text, SIO_CLASSIC, &m), 0);
    json_writer_release(&w);
    json_writer_release(&text);
}

static void without_memory_messages_are_neither_read_nor_written(void **state)
{
    char bytes[SIZE];
    struct ws_str message = bytes_of(caught[0].message, bytes);
    struct sio_adapter_space space = {0};
    struct sio_adapter_message m;
    struct json_writer w = {0};
    struct json_writer text = {0};

    (void)state;
    oom_after(0);
    assert_int_equal(sio_adapter_read(&m, SIO_FROM_BROADCASTS, message, &space), SIO_ADAPTER_NOMEM);
    oom_after(-1);
    assert_int_equal(sio_adapter_read(&m, SIO_FROM_BROADCASTS, message, &space), 0);
    for (long n = 0, came = 1; came != 0; n++) {
        int error;

        oom_once(n);
        error = sio_adapter_write(&w, &text, SIO_CLASSIC, &m);
        came = oom_came();
        assert_int_equal(error, came ? SIO_ADAPTER_NOMEM : 0);
        oom_after(-1);
        json_writer_release(&w);
        json_writer_release(&text);
    }
    json_writer_release(&space.text);
}

#include "socketio/tests/test_sio_adapter.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
