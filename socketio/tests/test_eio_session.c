/* SPDX-License-Identifier: MIT
 *
 * The life of an Engine.IO session: polling, WebSocket, the move from one to the other, heartbeat,
 * closing in every order, output and its limits. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

#define UNKNOWN_SID "{\"code\":1,\"message\":\"Session ID unknown\"}"
#define BAD_REQUEST "{\"code\":3,\"message\":\"Bad request\"}"

/* --- what tests do on the loop ------------------------------------------------------------------- */

static void send_text(struct engine *e, void *arg)
{
    const char *text = arg;

    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, text, strlen(text), 0));
}

static void send_volatile(struct engine *e, void *arg)
{
    const char *text = arg;

    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, text, strlen(text), EIO_VOLATILE));
}

static void close_session(struct engine *e, void *arg)
{
    (void)arg;
    eio_close(e->session);
    eio_close(e->session); /* a second call does nothing */
    note_result(e->f, 1, eio_is_open(e->session));
    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, "late", 4, 0));
}

static void keep_session(struct engine *e, void *arg)
{
    (void)arg;
    eio_keep(e->session);
}

/* --- polling: messages --------------------------------------------------------------------------- */

static void messages_of_a_post_come_back_in_one_poll(void **state)
{
    static const char *const payloads[] = {
        "4hello",
        "4",
        "4test1" RS "4test2" RS "4test3",
        "4hello" RS "bAQIDBA==" RS "4\xe2\x82\xac" RS "b",
    };
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "echo");
    open_polling(c, sid);
    for (size_t i = 0; i < COUNT(payloads); i++) {
        post(c, sid, payloads[i]);
        expect(c, 200, "ok");
        get(c, sid);
        expect(c, 200, payloads[i]);
    }
}

static void packets_without_meaning_are_ignored(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "echo");
    open_polling(c, sid);
    post(c, sid, "0{}" RS "3" RS "5" RS "6" RS "4x");
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, "4x");
}

static void get_is_held_until_there_is_something_to_say(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    held = client(e->f, "held");
    open_polling(held, sid);
    for (int i = 0; i < 3; i++) {
        get_held(e, held, sid);
        assert_false(raw_readable_within(held, 5));
        on_engine(e, send_text, "now");
        expect(held, 200, "4now");
    }
}

static void send_three(struct engine *e, void *arg)
{
    (void)arg;
    eio_send(e->session, WS_OP_TEXT, "one", 3, 0);
    eio_send(e->session, WS_OP_BINARY, "\1\2", 2, 0);
    eio_send(e->session, WS_OP_TEXT, "", 0, 0);
}

static void all_that_one_callback_sends_leaves_together(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    held = client(e->f, "held");
    open_polling(held, sid);
    get_held(e, held, sid);
    on_engine(e, send_three, NULL);
    expect(held, 200, "4one" RS "bAQI=" RS "4");
}

static void body_may_come_in_chunks(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char head[256];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "chunked");
    open_polling(c, sid);
    snprintf(head, sizeof head,
             "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n" HOST
             "Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n1\r\n" RS "\r\n2\r\n4b\r\n0\r\n\r\n",
             sid);
    raw_send_chunks(c, head, strlen(head), 1);
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, "4a" RS "4b");
}

static void post_of_max_payload_is_taken_and_one_more_is_not(void **state)
{
    enum { MAX = 5000 };
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char sid[EIO_ID_SIZE];
    char payload[MAX + 2];

    engine_echo(e, (struct eio_options){.max_payload = MAX});
    c = client(e->f, "large");
    open_polling(c, sid);
    memset(payload, '4', sizeof payload);
    payload[MAX] = '\0';
    post(c, sid, payload);
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, payload);
    payload[MAX] = '4';
    payload[MAX + 1] = '\0';
    post(c, sid, payload);
    raw_expect_status(c, &r, 413);
    /* The session lives on. */
    raw_close(c);
    c = client(e->f, "after");
    post(c, sid, "4x");
    expect(c, 200, "ok");
}

static void count_only(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    (void)opcode;
    (void)data;
    (void)len;
    count(engine_of(s)->f, &engine_of(s)->f->seen.messages);
}

/* CVE-2020-36048: a body of nothing but small packets. */
static void post_of_half_a_million_packets_is_cheap(void **state)
{
    enum { PACKETS = 500000 };
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char *payload = malloc(2 * PACKETS);
    int64_t began;

    assert_non_null(payload);
    for (size_t i = 0; i < PACKETS; i++) {
        payload[2 * i] = '4';
        payload[2 * i + 1] = RS[0];
    }
    payload[2 * PACKETS - 1] = '\0';
    engine_start(e, (struct eio_options){0}, (struct eio_handlers){.on_message = count_only},
                 (struct ws_options){0});
    c = client(e->f, "packets");
    open_polling(c, sid);
    began = raw_now_ms();
    post(c, sid, payload);
    expect(c, 200, "ok");
    free(payload);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), PACKETS);
    assert_true(raw_now_ms() - began < PATIENCE_MS);
}

/* Sent on, it would end the WebSockets of others with 1007. */
static void text_of_a_post_must_be_utf8(void **state)
{
    static const char *const bad[] = {"4\xff", "4\xe2\x82", "4ok" RS "4\xed\xa0\x80", "4\xc0\x80"};
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "utf8");
    for (size_t i = 0; i < COUNT(bad); i++) {
        open_polling(c, sid);
        post(c, sid, bad[i]);
        expect(c, 400, "");
        expect_reason(e, (int)i + 1, EIO_PARSE_ERROR);
    }
}

/* --- polling: rules ------------------------------------------------------------------------------ */

static void second_get_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *first;
    struct raw_client *second;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    first = client(e->f, "first");
    second = client(e->f, "second");
    open_polling(first, sid);
    get_held(e, first, sid);
    get(second, sid);
    expect(second, 400, "");
    expect(first, 200, "1");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    get(second, sid);
    expect(second, 400, UNKNOWN_SID);
    expect_nothing_left(e);
}

/* A POST stays in flight while what it caused is not read. */
static void second_post_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *first;
    struct raw_client *second;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 4});
    first = client(e->f, "first");
    second = client(e->f, "second");
    open_polling(first, sid);
    post(first, sid, "4too much");
    wait_until(e->f, &e->f->seen.messages, 1, "messages");
    post(second, sid, "4x");
    expect(second, 400, "");
    expect(first, 200, "ok");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 1);
    expect_nothing_left(e);
}

static void post_is_answered_when_its_echo_has_been_read(void **state)
{
    struct engine *e = *state;
    struct raw_client *posting;
    struct raw_client *polling;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 8});
    posting = client(e->f, "posting");
    polling = client(e->f, "polling");
    open_polling(posting, sid);
    post(posting, sid, "4more than eight");
    wait_until(e->f, &e->f->seen.messages, 1, "messages");
    assert_false(raw_readable_within(posting, 5));
    get(polling, sid);
    expect(polling, 200, "4more than eight");
    expect(posting, 200, "ok");
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
}

static void client_that_leaves_its_get_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    for (int i = 1; i <= 2; i++) {
        held = client(e->f, "held");
        open_polling(held, sid);
        get_held(e, held, sid);
        (i == 1 ? raw_close : raw_reset)(held);
        expect_reason(e, i, EIO_TRANSPORT_ERROR);
    }
    expect_nothing_left(e);
}

static void client_that_leaves_its_post_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 1});
    c = client(e->f, "post");
    open_polling(c, sid);
    post(c, sid, "4xyz");
    wait_until(e->f, &e->f->seen.messages, 1, "messages");
    raw_reset(c);
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    expect_nothing_left(e);
}

/* It was never answered once, CVE-2026-59725. */
static void octet_stream_ends_the_session(void **state)
{
    static const char *const types[] = {"Content-Type: application/octet-stream\r\n",
                                        "Content-Type: Application/Octet-Stream; x=y\r\n"};
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char query[64];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "octets");
    for (size_t i = 0; i < COUNT(types); i++) {
        open_polling(c, sid);
        snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", sid);
        ask(c, "POST", query, types[i], "4x", 2);
        expect(c, 400, "");
        expect_reason(e, (int)i + 1, EIO_TRANSPORT_ERROR);
    }
    open_polling(c, sid);
    snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", sid);
    ask(c, "POST", query, "Content-Type: application/octet-streams\r\n", "4x", 2);
    expect(c, 200, "ok");
    ask(c, "POST", query, "", "4x", 2);
    expect(c, 200, "ok");
}

static void bad_packet_ends_the_session_after_the_good_ones(void **state)
{
    static const struct {
        const char *payload;
        int messages;
    } cases[] = {
        {"abc", 0},   {"7", 0},
        {"", 0},      {RS, 0},
        {"4a" RS, 1}, {"4a" RS "x" RS "4b", 1},
        {"é", 0},     {"4a" RS RS "4b", 1},
    };
    struct engine *e = *state;
    struct raw_client *held;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    int messages = 0;

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){.on_message = count_only},
                 (struct ws_options){0});
    held = client(e->f, "held");
    c = client(e->f, "post");
    for (size_t i = 0; i < COUNT(cases); i++) {
        c->label = cases[i].payload;
        open_polling(held, sid);
        get_held(e, held, sid);
        post(c, sid, cases[i].payload);
        expect(c, 400, "");
        expect(held, 200, "1");
        expect_reason(e, (int)i + 1, EIO_PARSE_ERROR);
        messages += cases[i].messages;
        assert_int_equal(read_counter(e->f, &e->f->seen.messages), messages);
        get(c, sid);
        expect(c, 400, UNKNOWN_SID);
    }
}

static void ping_of_the_client_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "ping");
    open_polling(c, sid);
    post(c, sid, "2" RS "4x");
    expect(c, 200, "ok");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
}

static void close_packet_ends_the_session_and_the_held_get(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    held = client(e->f, "held");
    c = client(e->f, "post");
    open_polling(held, sid);
    get_held(e, held, sid);
    post(c, sid, "1" RS "4x");
    expect(c, 200, "ok");
    expect(held, 200, "6");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
    expect_nothing_left(e);
}

static void other_methods_leave_the_session_alone(void **state)
{
    static const char *const methods[] = {"PUT", "DELETE", "PATCH", "OPTIONS"};
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char query[64];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "methods");
    open_polling(c, sid);
    snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", sid);
    for (size_t i = 0; i < COUNT(methods); i++) {
        ask(c, methods[i], query, "", NULL, 0);
        expect(c, 500, "");
    }
    post(c, sid, "4x");
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, "4x");
}

/* CVE-2026-59725's neighbour: the protocol may not change within a session. */
static void another_protocol_version_is_refused_in_a_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    char query[80];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "EIO=3");
    open_polling(c, sid);
    snprintf(query, sizeof query, "EIO=3&transport=polling&sid=%s", sid);
    ask(c, "GET", query, "", NULL, 0);
    expect(c, 400, BAD_REQUEST);
    ask(c, "POST", query, "", "4x", 2);
    expect(c, 400, BAD_REQUEST);
    ws = client(e->f, "upgrade with EIO=3");
    snprintf(query, sizeof query, "EIO=3&transport=websocket&sid=%s", sid);
    ask(ws, "GET", query, UPGRADE KEY VERSION, NULL, 0);
    expect(ws, 400, "Bad request");
    post(c, sid, "4x");
    expect(c, 200, "ok");
}

/* --- WebSocket ----------------------------------------------------------------------------------- */

static void messages_come_back_on_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){0});
    c = open_websocket(e, "");
    raw_send_message(c, "4hello");
    raw_expect_message(c, "4hello");
    raw_send_message(c, "4");
    raw_expect_message(c, "4");
    raw_send_frame(c, RAW_BINARY, "\1\2\3", 3);
    raw_expect_frame(c, RAW_BINARY, "\1\2\3", 3);
    raw_send_message(c, "bAQIDBA");
    raw_expect_frame(c, RAW_BINARY, "\1\2\3\4", 4);
    raw_send_message(c, "0");
    raw_send_message(c, "3");
    raw_send_message(c, "5");
    raw_send_message(c, "6");
    raw_send_message(c, "4after");
    raw_expect_message(c, "4after");
}

/* b64 in the query: the client cannot take binary messages. */
static void binary_is_base64_for_a_client_that_asks_for_it(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){0});
    c = open_websocket(e, "&b64=1");
    raw_send_frame(c, RAW_BINARY, "\1\2\3", 3);
    raw_expect_message(c, "bAQID");
}

static void large_text_comes_back_on_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    uint8_t *text = make_payload(100000, true);

    engine_echo(e, (struct eio_options){0});
    c = open_websocket(e, "");
    text[0] = '4';
    raw_send_frame(c, RAW_TEXT, text, 100000);
    raw_expect_frame(c, RAW_TEXT, text, 100000);
    free(text);
}

static void bad_packet_closes_the_websocket_without_status(void **state)
{
    static const struct {
        const char *packet;
        enum eio_reason reason;
    } cases[] = {
        {"abc", EIO_PARSE_ERROR},   {"", EIO_PARSE_ERROR},           {"7", EIO_PARSE_ERROR},
        {"2", EIO_TRANSPORT_ERROR}, {"2probe", EIO_TRANSPORT_ERROR}, {"1", EIO_TRANSPORT_CLOSE},
    };
    struct engine *e = *state;

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = open_websocket(e, "");

        c->label = cases[i].packet;
        raw_send_message(c, cases[i].packet);
        raw_send_message(c, "4ignored");
        raw_expect_close(c, 0);
        expect_reason(e, (int)i + 1, cases[i].reason);
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
}

static void end_of_a_websocket_is_the_end_of_its_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){0});
    c = open_websocket(e, "");
    raw_send_close(c, 1001);
    raw_expect_close(c, 1001);
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    c = open_websocket(e, "");
    raw_close(c);
    expect_reason(e, 2, EIO_TRANSPORT_CLOSE);
    c = open_websocket(e, "");
    raw_reset(c);
    expect_reason(e, 3, EIO_TRANSPORT_CLOSE);
    c = open_websocket(e, "");
    raw_send(c, "\x81\x01x", 3); /* without a mask */
    raw_expect_close(c, 1002);
    expect_reason(e, 4, EIO_TRANSPORT_ERROR);
    c = open_websocket(e, "");
    raw_send_frame(c, RAW_TEXT, "4\xff", 2);
    raw_expect_close(c, 1007);
    expect_reason(e, 5, EIO_TRANSPORT_ERROR);
    expect_nothing_left(e);
}

static void websocket_message_over_max_payload_is_1009(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char text[1001];

    engine_echo(e, (struct eio_options){.max_payload = 1000});
    memset(text, '4', sizeof text);
    c = open_websocket(e, "");
    raw_send_frame(c, RAW_TEXT, text, 1000);
    raw_expect_frame(c, RAW_TEXT, text, 1000);
    raw_send_frame(c, RAW_TEXT, text, 1001);
    raw_expect_close(c, 1009);
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
}

/* --- from polling to a WebSocket ----------------------------------------------------------------- */

static void session_moves_to_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    get_held(e, c, sid);
    ws = open_probe(e, sid);
    assert_false(raw_readable_within(c, 5)); /* nothing has happened yet */
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    expect(c, 200, "6");
    get(c, sid); /* not held any more */
    expect(c, 200, "6");
    post(c, sid, "4by post");
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, "4by post");
    raw_send_message(ws, "5");
    raw_send_message(ws, "4hello");
    raw_expect_message(ws, "4hello");
    get(c, sid);
    expect(c, 400, BAD_REQUEST);
    post(c, sid, "4lost");
    expect(c, 400, BAD_REQUEST);
    raw_close(ws);
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    assert_int_equal(read_counter(e->f, &e->f->seen.opened), 1);
    expect_nothing_left(e);
}

static void probe_may_be_repeated(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    open_polling(client(e->f, "polling"), sid);
    ws = open_probe(e, sid);
    for (int i = 0; i < 3; i++) {
        raw_send_message(ws, "2probe");
        raw_expect_message(ws, "3probe");
    }
    raw_send_message(ws, "5");
    raw_send_message(ws, "4x");
    raw_expect_message(ws, "4x");
}

static void what_is_queued_moves_along_in_order(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    open_polling(client(e->f, "polling"), sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    on_engine(e, send_three, NULL);
    on_engine(e, send_text, "four");
    raw_send_message(ws, "5");
    raw_send_message(ws, "4five");
    raw_expect_message(ws, "4one");
    raw_expect_frame(ws, RAW_BINARY, "\1\2", 2);
    raw_expect_message(ws, "4");
    raw_expect_message(ws, "4four");
    raw_expect_message(ws, "4five");
}

static void upgrade_drains_what_was_queued(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 2});
    open_polling(client(e->f, "polling"), sid);
    on_engine(e, send_text, "long");
    assert_int_equal(e->f->seen.result[0], WS_QUEUED);
    ws = upgrade(e, sid);
    raw_expect_message(ws, "4long");
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
}

static void upgrade_without_a_probe_is_taken(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    get_held(e, c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "5");
    expect(c, 200, "1");
    raw_send_message(ws, "4x");
    raw_expect_message(ws, "4x");
}

static void bad_probe_leaves_the_session_on_polling(void **state)
{
    static const char *const bad[] = {"2", "2other", "4x", "", "3probe", "x"};
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    for (size_t i = 0; i < COUNT(bad); i++) {
        ws = open_probe(e, sid);
        ws->label = bad[i];
        raw_send_message(ws, "2probe");
        raw_expect_message(ws, "3probe");
        raw_send_message(ws, bad[i]);
        raw_expect_close(ws, 0);
        get_held(e, c, sid); /* held again */
        on_engine(e, send_text, "still here");
        expect(c, 200, "4still here");
    }
    ws = open_probe(e, sid);
    raw_send_frame(ws, RAW_BINARY, "5", 1);
    raw_expect_close(ws, 0);
    ws = upgrade(e, sid);
    raw_send_message(ws, "4x");
    raw_expect_message(ws, "4x");
}

static void second_websocket_is_sent_away(void **state)
{
    struct engine *e = *state;
    struct raw_client *first;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    open_polling(client(e->f, "polling"), sid);
    first = open_probe(e, sid);
    raw_send_message(first, "2probe");
    raw_expect_message(first, "3probe");
    raw_expect_close(open_probe(e, sid), 0); /* while upgrading */
    raw_send_message(first, "5");
    raw_send_message(first, "4x");
    raw_expect_message(first, "4x");
    raw_expect_close(open_probe(e, sid), 0); /* and after that */
    raw_send_message(first, "4y");
    raw_expect_message(first, "4y");
}

static void read_sid_of(struct engine *e, void *arg)
{
    memcpy(arg, eio_session_id(e->session), EIO_ID_SIZE);
}

/* Whoever learns the id of a session must not be able to take its messages over. */
static void session_of_a_websocket_is_not_taken_over(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    ws = open_websocket(e, "");
    on_engine(e, read_sid_of, sid);
    raw_expect_close(open_probe(e, sid), 0);
    c = client(e->f, "polling");
    get(c, sid);
    expect(c, 400, BAD_REQUEST);
    raw_send_message(ws, "4x");
    raw_expect_message(ws, "4x");
}

static void upgrade_that_stalls_is_dropped_alone(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.upgrade_timeout_ms = 20});
    c = client(e->f, "polling");
    open_polling(c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    raw_expect_close(ws, 0);
    get_held(e, c, sid);
    on_engine(e, send_text, "x");
    expect(c, 200, "4x");
}

static void probe_that_is_cut_leaves_the_session_on_polling(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    raw_reset(ws);
    wait_connections(e->f, 1);
    get_held(e, c, sid);
    on_engine(e, send_text, "x");
    expect(c, 200, "4x");
    assert_int_equal(read_counter(e->f, &e->f->seen.closed), 0);
}

static void probe_ends_with_its_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    post(c, sid, "1");
    expect(c, 200, "ok");
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    expect_nothing_left(e);
}

static void upgrade_may_be_forbidden(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    char query[80];

    engine_echo(e, (struct eio_options){.no_upgrade = true});
    open_polling(client(e->f, "polling"), sid);
    ws = client(e->f, "upgrade");
    snprintf(query, sizeof query, "EIO=4&transport=websocket&sid=%s", sid);
    ask(ws, "GET", query, UPGRADE KEY VERSION, NULL, 0);
    expect(ws, 400, "Bad request");
}

/* A stream of numbered messages from the server, while the client polls, upgrades and goes on. */
struct stream {
    struct engine *e;
    int next, end;
};

static void send_next(void *arg)
{
    struct stream *stream = arg;
    char text[16];

    for (int i = 0; i < 7 && stream->next < stream->end; i++) {
        snprintf(text, sizeof text, "%d", stream->next++);
        eio_send(stream->e->session, WS_OP_TEXT, text, strlen(text), 0);
    }
    if (stream->next < stream->end)
        ws_timer_start(stream->e->f->server, 1, send_next, stream);
}

static void start_stream(struct engine *e, void *arg)
{
    (void)e;
    send_next(arg);
}

/* The numbers in a payload go on where the last one ended. Noops are passed over. */
static void check_numbers(const char *payload, size_t len, int *next)
{
    const char *end = payload + len;

    while (payload < end) {
        const char *separator = memchr(payload, RS[0], (size_t)(end - payload));
        const char *stop = separator == NULL ? end : separator;

        if (*payload == '4') {
            char text[16] = "";

            memcpy(text, payload + 1, (size_t)(stop - payload - 1));
            assert_int_equal(atoi(text), *next);
            ++*next;
        } else {
            assert_int_equal(*payload, '6');
        }
        payload = stop + 1;
    }
}

static void poll_numbers(struct raw_client *c, const char *sid, int *next)
{
    struct raw_response r;

    get(c, sid);
    raw_expect_status(c, &r, 200);
    check_numbers((const char *)r.body, r.body_len, next);
}

static void no_message_is_lost_or_reordered_by_an_upgrade(void **state)
{
    struct engine *e = *state;
    struct stream stream = {.e = e, .end = 3000};
    struct raw_client *c;
    struct raw_client *ws;
    struct raw_frame frame;
    char sid[EIO_ID_SIZE];
    int next = 0;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    on_engine(e, start_stream, &stream);
    while (next < 500)
        poll_numbers(c, sid, &next);
    ws = open_probe(e, sid);
    poll_numbers(c, sid, &next);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    poll_numbers(c, sid, &next);
    poll_numbers(c, sid, &next);
    raw_send_message(ws, "5");
    while (next < stream.end) {
        raw_read_frame(ws, &frame);
        assert_int_equal(frame.head, RAW_TEXT);
        check_numbers((const char *)frame.payload, frame.len, &next);
    }
}

/* --- heartbeat ----------------------------------------------------------------------------------- */

static void pings_come_one_interval_after_the_pong(void **state)
{
    enum { INTERVAL_MS = 40 };
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    int64_t began;

    engine_echo(e, (struct eio_options){.ping_interval_ms = INTERVAL_MS});
    c = client(e->f, "polling");
    began = raw_now_ms();
    open_polling(c, sid);
    for (int i = 0; i < 3; i++) {
        get(c, sid);
        expect(c, 200, "2");
        assert_true(raw_now_ms() - began >= INTERVAL_MS);
        began = raw_now_ms();
        post(c, sid, "3");
        expect(c, 200, "ok");
    }
    ws = client(e->f, "websocket");
    began = raw_now_ms();
    raw_upgrade(ws, "/engine.io/?EIO=4&transport=websocket");
    raw_read_frame(ws, &(struct raw_frame){0});
    for (int i = 0; i < 3; i++) {
        raw_expect_message(ws, "2");
        assert_true(raw_now_ms() - began >= INTERVAL_MS);
        began = raw_now_ms();
        raw_send_message(ws, "3");
    }
}

static void silence_after_a_ping_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *away;
    struct raw_client *held;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 20, .ping_timeout_ms = 20});
    ws = open_websocket(e, "");
    raw_expect_message(ws, "2");
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
    away = client(e->f, "between polls");
    open_polling(away, sid);
    expect_reason(e, 2, EIO_PING_TIMEOUT);
    get(away, sid);
    expect(away, 400, UNKNOWN_SID);
    held = client(e->f, "held");
    open_polling(held, sid);
    get(held, sid);
    expect(held, 200, "2");
    get(held, sid);
    expect(held, 200, "1");
    expect_reason(e, 3, EIO_PING_TIMEOUT);
    expect_nothing_left(e);
}

/* A client that is busy uploading cannot send its pong in time: other packets buy it more, once. */
static void another_packet_restarts_the_timeout_once(void **state)
{
    enum { TIMEOUT_MS = 300 };
    struct engine *e = *state;
    struct raw_client *ws;
    int64_t pinged;
    int64_t ended;
    int sent = 0;

    engine_echo(e, (struct eio_options){.ping_interval_ms = 20, .ping_timeout_ms = TIMEOUT_MS});
    ws = open_websocket(e, "");
    raw_expect_message(ws, "2");
    pinged = raw_now_ms();
    /* The first one counts; the others buy nothing, or the end would never come. */
    for (; sent < 50 && !raw_readable_within(ws, TIMEOUT_MS * 2 / 3); sent++)
        raw_send_message(ws, "6");
    assert_in_range(sent, 1, 49);
    raw_expect_close(ws, 0);
    ended = raw_now_ms();
    expect_reason(e, 1, EIO_PING_TIMEOUT);
    assert_true(ended - pinged >= TIMEOUT_MS * 5 / 3 - 5);
}

static void heartbeat_goes_on_after_an_upgrade(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 50});
    c = client(e->f, "polling");
    open_polling(c, sid);
    ws = upgrade(e, sid);
    raw_expect_message(ws, "2");
    raw_send_message(ws, "3");
    raw_expect_message(ws, "2");
}

/* The pong may have been on its way by POST when the transport changed: the time starts again, but it
 * does not stop. */
static void pong_that_never_comes_ends_an_upgraded_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 20, .ping_timeout_ms = 1000});
    c = client(e->f, "polling");
    open_polling(c, sid);
    get(c, sid);
    expect(c, 200, "2");
    ws = upgrade(e, sid);
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
}

/* --- closing ------------------------------------------------------------------------------------- */

static void closing_a_websocket_delivers_and_closes(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;

    engine_echo(e, (struct eio_options){0});
    ws = open_websocket(e, "");
    on_engine(e, send_text, "last");
    on_engine(e, close_session, NULL);
    raw_expect_message(ws, "4last");
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    assert_int_equal(e->f->seen.result[0], WS_ERR_CLOSED);
    assert_int_equal(e->f->seen.result[1], false);
    expect_nothing_left(e);
}

static void closing_answers_the_held_get(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "held");
    open_polling(c, sid);
    get_held(e, c, sid);
    on_engine(e, close_session, NULL);
    expect(c, 200, "1");
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
    expect_nothing_left(e);
}

static void closing_between_polls_is_told_by_the_next_one(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "between polls");
    open_polling(c, sid);
    on_engine(e, close_session, NULL);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    post(c, sid, "4dropped");
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200, "6" RS "1");
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
    expect_nothing_left(e);
}

static void send_and_close(struct engine *e, void *arg)
{
    eio_send(e->session, WS_OP_TEXT, "last words", 10, 0);
    close_session(e, arg);
}

static void what_was_sent_before_closing_is_delivered(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "held");
    open_polling(c, sid);
    get_held(e, c, sid);
    on_engine(e, send_and_close, NULL);
    expect(c, 200, "4last words");
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    get(c, sid);
    expect(c, 200, "6" RS "1");
    open_polling(c, sid);
    on_engine(e, send_and_close, NULL);
    expect_reason(e, 2, EIO_FORCED_SERVER_CLOSE);
    get(c, sid);
    expect(c, 200, "4last words");
    get(c, sid);
    expect(c, 200, "6" RS "1");
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
    expect_nothing_left(e);
}

static void close_on_message(struct eio_session *s, enum ws_opcode opcode, const void *data,
                             size_t len)
{
    count_only(s, opcode, data, len);
    eio_send(s, WS_OP_TEXT, "bye", 3, 0);
    eio_close(s);
}

static void session_that_closes_itself_hears_no_more(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){.on_message = close_on_message},
                 (struct ws_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    post(c, sid, "4a" RS "4b" RS "x");
    expect(c, 200, "ok");
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    get(c, sid);
    expect(c, 200, "4bye");
    get(c, sid);
    expect(c, 200, "6" RS "1");
    ws = open_websocket(e, "");
    raw_send_message(ws, "4a");
    raw_send_message(ws, "4b");
    raw_expect_message(ws, "4bye");
    raw_expect_close(ws, 0);
    expect_reason(e, 2, EIO_FORCED_CLOSE);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 2);
    expect_nothing_left(e);
}

static void close_on_open(struct eio_session *s, const struct eio_handshake *h)
{
    engine_count_open(s, h);
    eio_close(s);
}

static void session_may_be_closed_in_on_open(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){.on_open = close_on_open},
                 (struct ws_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    get(c, sid);
    expect(c, 200, "6" RS "1");
    raw_expect_close(open_websocket(e, ""), 0);
    wait_until(e->f, &e->f->seen.closed, 2, "ended sessions");
    expect_nothing_left(e);
}

static void close_all(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    struct eio_server *server = eio_session_server(s);

    count_only(s, opcode, data, len);
    for (struct eio_session *i = eio_first(server); i != NULL; i = eio_next(i))
        eio_close(i);
    note_result(engine_of(s)->f, 0, eio_first(server) == NULL);
}

static void session_may_close_all_others(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws[3];
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){.on_message = close_all},
                 (struct ws_options){0});
    for (size_t i = 0; i < COUNT(ws); i++)
        ws[i] = open_websocket(e, "");
    c = client(e->f, "polling");
    open_polling(c, sid);
    raw_send_message(ws[1], "4now");
    for (size_t i = 0; i < COUNT(ws); i++)
        raw_expect_close(ws[i], 0);
    get(c, sid);
    expect(c, 200, "6" RS "1");
    wait_until(e->f, &e->f->seen.closed, 4, "ended sessions");
    assert_int_equal(e->f->seen.result[0], 1);
    expect_nothing_left(e);
}

static void closing_a_session_closes_its_probe(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    open_polling(client(e->f, "polling"), sid);
    ws = open_probe(e, sid);
    on_engine(e, close_session, NULL);
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
}

static void session_that_is_not_kept_ends_at_the_connect_timeout(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.connect_timeout_ms = 20});
    raw_expect_close(open_websocket(e, ""), 0);
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    c = client(e->f, "polling");
    open_polling(c, sid);
    expect_reason(e, 2, EIO_FORCED_SERVER_CLOSE);
    get(c, sid);
    expect(c, 200, "6" RS "1");
}

static void session_that_is_kept_has_no_connect_timeout(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;

    engine_echo(e, (struct eio_options){.connect_timeout_ms = 2000});
    ws = open_websocket(e, "");
    on_engine(e, keep_session, NULL);
    assert_false(raw_readable_within(ws, 2100));
    raw_send_message(ws, "4x");
    raw_expect_message(ws, "4x");
}

/* --- output -------------------------------------------------------------------------------------- */

static void illegal_messages_are_refused(struct engine *e, void *arg)
{
    (void)arg;
    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, "a" RS "b", 3, 0));
    note_result(e->f, 1, eio_send(e->session, WS_OP_CLOSE, "", 0, 0));
    note_result(e->f, 2, eio_packet_new(e->server, WS_OP_TEXT, RS, 1) == NULL);
    note_result(e->f, 3, eio_packet_new(e->server, WS_OP_PING, "", 0) == NULL);
}

static void separator_in_a_text_is_refused(void **state)
{
    struct engine *e = *state;

    engine_echo(e, (struct eio_options){0});
    open_websocket(e, "");
    on_engine(e, illegal_messages_are_refused, NULL);
    assert_int_equal(e->f->seen.result[0], WS_ERR_INVALID);
    assert_int_equal(e->f->seen.result[1], WS_ERR_INVALID);
    assert_int_equal(e->f->seen.result[2], 1);
    assert_int_equal(e->f->seen.result[3], 1);
}

static void fill_output(struct engine *e, void *arg)
{
    char text[100];

    (void)arg;
    memset(text, 'x', sizeof text);
    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, text, 100, 0));
    note_result(e->f, 1, eio_send(e->session, WS_OP_TEXT, text, 100, 0));
    note_result(e->f, 2, eio_send(e->session, WS_OP_TEXT, text, 100, 0));
    note_result(e->f, 3, (int)eio_queued(e->session));
    note_result(e->f, 4, eio_send(e->session, WS_OP_BINARY, text, 90, 0));
}

static void output_of_a_polling_session_is_bounded(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_output = 210, .high_water = 150});
    c = client(e->f, "polling");
    open_polling(c, sid);
    on_engine(e, fill_output, NULL);
    assert_int_equal(e->f->seen.result[0], WS_SENT);
    assert_int_equal(e->f->seen.result[1], WS_QUEUED);
    assert_int_equal(e->f->seen.result[2], WS_ERR_FULL);
    assert_int_equal(e->f->seen.result[3], 203);
    assert_int_equal(e->f->seen.result[4], WS_ERR_FULL); /* it is larger as base64 */
    get(c, sid);
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, 203);
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
    on_engine(e, send_text, "again");
    assert_int_equal(e->f->seen.result[0], WS_SENT);
}

static void queued_output_counts_in_max_memory(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    size_t before;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    before = stats(e->f).buffered;
    on_engine(e, fill_output, NULL);
    assert_in_range(stats(e->f).buffered - before, 300, 2000);
    post(c, sid, "1");
    expect(c, 200, "ok");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    assert_true(stats(e->f).buffered < before);
}

static void volatile_message_is_dropped_when_nobody_waits(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    on_engine(e, send_volatile, "lost");
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    get_held(e, c, sid);
    on_engine(e, send_volatile, "kept");
    assert_int_equal(e->f->seen.result[0], WS_SENT);
    expect(c, 200, "4kept");
    ws = open_websocket(e, "");
    on_engine(e, send_volatile, "kept");
    raw_expect_message(ws, "4kept");
}

static void send_both(struct engine *e, void *arg)
{
    send_text(e, "first");
    send_volatile(e, arg);
    note_result(e->f, 1, eio_writable(e->session));
}

static void volatile_message_right_after_another_is_dropped(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    get_held(e, c, sid);
    on_engine(e, send_both, "second");
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    assert_int_equal(e->f->seen.result[1], 0);
    expect(c, 200, "4first");
    ws = open_websocket(e, "");
    on_engine(e, send_both, "second");
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    raw_expect_message(ws, "4first");
    raw_send_message(ws, "4echo");
    raw_expect_message(ws, "4echo");
}

static void broadcast(struct engine *e, void *arg)
{
    struct eio_packet *text = eio_packet_new(e->server, WS_OP_TEXT, "all", 3);
    struct eio_packet *binary = eio_packet_new(e->server, WS_OP_BINARY, "\1\2\3", 3);
    struct eio_packet *kept = eio_packet_keep(text);

    (void)arg;
    for (struct eio_session *s = eio_first(e->server); s != NULL; s = eio_next(s)) {
        eio_send_packet(s, text, 0);
        eio_send_packet(s, binary, 0);
        note_result(e->f, 0, eio_send_packet(s, text, EIO_VOLATILE));
    }
    eio_packet_release(text);
    eio_packet_release(kept);
    eio_packet_release(binary);
    eio_packet_release(NULL);
}

static void packet_reaches_sessions_of_every_kind(void **state)
{
    struct engine *e = *state;
    struct raw_client *polling;
    struct raw_client *held;
    struct raw_client *ws[2];
    struct raw_client *base64;
    char sids[2][EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    polling = client(e->f, "polling");
    open_polling(polling, sids[0]);
    held = client(e->f, "held");
    open_polling(held, sids[1]);
    get_held(e, held, sids[1]);
    ws[0] = open_websocket(e, "");
    ws[1] = open_websocket(e, "");
    base64 = open_websocket(e, "&b64=1");
    on_engine(e, broadcast, NULL);
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    expect(held, 200, "4all" RS "bAQID");
    get(polling, sids[0]);
    expect(polling, 200, "4all" RS "bAQID");
    for (size_t i = 0; i < COUNT(ws); i++) {
        raw_expect_message(ws[i], "4all");
        raw_expect_frame(ws[i], RAW_BINARY, "\1\2\3", 3);
    }
    raw_expect_message(base64, "4all");
    raw_expect_message(base64, "bAQID");
}

/* An echo client that does not read is slowed by TCP, as on a plain WebSocket. */
static void slow_reader_on_a_websocket_loses_nothing(void **state)
{
    enum { MESSAGES = 200, SIZE = 20000 };
    struct engine *e = *state;
    struct raw_client *ws;
    struct raw_bytes b = {0};
    uint8_t *text = make_payload(SIZE, true);

    engine_echo(e, (struct eio_options){0});
    ws = open_websocket(e, "");
    text[0] = '4';
    for (int i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&b, RAW_TEXT, text, SIZE);
    raw_exchange(ws, b.data, b.len);
    for (int i = 0; i < MESSAGES; i++)
        raw_expect_frame(ws, RAW_TEXT, text, SIZE);
    raw_bytes_release(&b);
    free(text);
}

/* --- out of memory ------------------------------------------------------------------------------- */

static void send_without_memory(struct engine *e, void *arg)
{
    (void)arg;
    oom_after(0);
    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, "lost", 4, 0));
    note_result(e->f, 1, eio_packet_new(e->server, WS_OP_TEXT, "lost", 4) == NULL);
    oom_after(-1);
    note_result(e->f, 2, (int)eio_queued(e->session));
    note_result(e->f, 3, eio_send(e->session, WS_OP_TEXT, "kept", 4, 0));
}

static void message_without_memory_is_not_taken(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    on_engine(e, send_without_memory, NULL);
    assert_int_equal(e->f->seen.result[0], WS_ERR_NOMEM);
    assert_int_equal(e->f->seen.result[1], 1);
    assert_int_equal(e->f->seen.result[2], 0);
    assert_int_equal(e->f->seen.result[3], WS_SENT);
    get(c, sid);
    expect(c, 200, "4kept");
}

static void close_without_memory(struct engine *e, void *arg)
{
    (void)arg;
    oom_after(0);
    eio_close(e->session);
    oom_after(-1);
}

/* There is no timer for its last words then, nor a post to report it: the next callback does that. */
static void session_that_closes_without_memory_ends_at_once(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    on_engine(e, close_without_memory, NULL);
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_nothing_left(e);
}

static void run_out_of_memory(struct eio_session *s, enum ws_opcode opcode, const void *data,
                              size_t len)
{
    count_only(s, opcode, data, len);
    oom_after(0);
}

static void have_memory_again(struct eio_session *s, enum eio_reason reason)
{
    oom_after(-1);
    note_text(engine_of(s)->f, eio_reason_text(reason), strlen(eio_reason_text(reason)));
    count(engine_of(s)->f, &engine_of(s)->f->seen.closed);
}

/* The pong behind the message finds no memory for the next ping's timer. */
static void session_without_a_heartbeat_ends(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(
        e, (struct eio_options){0},
        (struct eio_handlers){.on_message = run_out_of_memory, .on_close = have_memory_again},
        (struct ws_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    post(c, sid, "4x" RS "3" RS "4y");
    wait_until(e->f, &e->f->seen.closed, 1, "ended sessions");
    assert_string_equal(e->f->seen.text, "transport error");
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 1);
}

/* --- resets -------------------------------------------------------------------------------------- */

/* A session at each stage of its life, cut off by RST. */
static void reset_at_any_stage_disturbs_nobody(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 50, .ping_timeout_ms = 50});
    for (int stage = 0; stage < 6; stage++) {
        c = client(e->f, "polling");
        open_polling(c, sid);
        if (stage == 1)
            get_held(e, c, sid);
        ws = stage >= 2 ? open_probe(e, sid) : NULL;
        if (stage >= 3)
            raw_send_message(ws, "2probe");
        if (stage >= 4)
            raw_send_message(ws, "5");
        if (stage >= 5)
            raw_send_message(ws, "4x");
        if (ws != NULL)
            raw_reset(ws);
        raw_reset(c);
    }
    wait_until(e->f, &e->f->seen.closed, 6, "ended sessions");
    expect_nothing_left(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(messages_of_a_post_come_back_in_one_poll),
        ENGINE_TEST(packets_without_meaning_are_ignored),
        ENGINE_TEST(get_is_held_until_there_is_something_to_say),
        ENGINE_TEST(all_that_one_callback_sends_leaves_together),
        ENGINE_TEST(body_may_come_in_chunks),
        ENGINE_TEST(post_of_max_payload_is_taken_and_one_more_is_not),
        ENGINE_TEST(post_of_half_a_million_packets_is_cheap),
        ENGINE_TEST(text_of_a_post_must_be_utf8),
        ENGINE_TEST(second_get_ends_the_session),
        ENGINE_TEST(second_post_ends_the_session),
        ENGINE_TEST(post_is_answered_when_its_echo_has_been_read),
        ENGINE_TEST(client_that_leaves_its_get_ends_the_session),
        ENGINE_TEST(client_that_leaves_its_post_ends_the_session),
        ENGINE_TEST(octet_stream_ends_the_session),
        ENGINE_TEST(bad_packet_ends_the_session_after_the_good_ones),
        ENGINE_TEST(ping_of_the_client_ends_the_session),
        ENGINE_TEST(close_packet_ends_the_session_and_the_held_get),
        ENGINE_TEST(other_methods_leave_the_session_alone),
        ENGINE_TEST(another_protocol_version_is_refused_in_a_session),
        ENGINE_TEST(messages_come_back_on_a_websocket),
        ENGINE_TEST(binary_is_base64_for_a_client_that_asks_for_it),
        ENGINE_TEST(large_text_comes_back_on_a_websocket),
        ENGINE_TEST(bad_packet_closes_the_websocket_without_status),
        ENGINE_TEST(end_of_a_websocket_is_the_end_of_its_session),
        ENGINE_TEST(websocket_message_over_max_payload_is_1009),
        ENGINE_TEST(session_moves_to_a_websocket),
        ENGINE_TEST(probe_may_be_repeated),
        ENGINE_TEST(what_is_queued_moves_along_in_order),
        ENGINE_TEST(upgrade_drains_what_was_queued),
        ENGINE_TEST(upgrade_without_a_probe_is_taken),
        ENGINE_TEST(bad_probe_leaves_the_session_on_polling),
        ENGINE_TEST(second_websocket_is_sent_away),
        ENGINE_TEST(session_of_a_websocket_is_not_taken_over),
        ENGINE_TEST(upgrade_that_stalls_is_dropped_alone),
        ENGINE_TEST(probe_that_is_cut_leaves_the_session_on_polling),
        ENGINE_TEST(probe_ends_with_its_session),
        ENGINE_TEST(upgrade_may_be_forbidden),
        ENGINE_TEST(no_message_is_lost_or_reordered_by_an_upgrade),
        ENGINE_TEST(pings_come_one_interval_after_the_pong),
        ENGINE_TEST(silence_after_a_ping_ends_the_session),
        ENGINE_TEST(another_packet_restarts_the_timeout_once),
        ENGINE_TEST(heartbeat_goes_on_after_an_upgrade),
        ENGINE_TEST(pong_that_never_comes_ends_an_upgraded_session),
        ENGINE_TEST(closing_a_websocket_delivers_and_closes),
        ENGINE_TEST(closing_answers_the_held_get),
        ENGINE_TEST(closing_between_polls_is_told_by_the_next_one),
        ENGINE_TEST(what_was_sent_before_closing_is_delivered),
        ENGINE_TEST(session_that_closes_itself_hears_no_more),
        ENGINE_TEST(session_may_be_closed_in_on_open),
        ENGINE_TEST(session_may_close_all_others),
        ENGINE_TEST(closing_a_session_closes_its_probe),
        ENGINE_TEST(session_that_is_not_kept_ends_at_the_connect_timeout),
        ENGINE_TEST(session_that_is_kept_has_no_connect_timeout),
        ENGINE_TEST(separator_in_a_text_is_refused),
        ENGINE_TEST(output_of_a_polling_session_is_bounded),
        ENGINE_TEST(queued_output_counts_in_max_memory),
        ENGINE_TEST(volatile_message_is_dropped_when_nobody_waits),
        ENGINE_TEST(volatile_message_right_after_another_is_dropped),
        ENGINE_TEST(packet_reaches_sessions_of_every_kind),
        ENGINE_TEST(slow_reader_on_a_websocket_loses_nothing),
        ENGINE_TEST(message_without_memory_is_not_taken),
        ENGINE_TEST(session_that_closes_without_memory_ends_at_once),
        ENGINE_TEST(session_without_a_heartbeat_ends),
        ENGINE_TEST(reset_at_any_stage_disturbs_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
