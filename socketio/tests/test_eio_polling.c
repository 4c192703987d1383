/* SPDX-License-Identifier: MIT
 *
 * Engine.IO sessions on polling: messages, and the rules for requests that break them. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- polling: messages ------------------------------------------------------------------------ */

static void messages_of_a_post_come_back_in_one_poll(void **state)
{
    static const char *const payloads[] = {
        "4hello",
        "4",
        "4test1" RS "4test2" RS "4test3",
        "4hello" RS "bAQIDBA==" RS "4\xe2\x82\xac" RS "b",
    };
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    for (size_t i = 0; i < COUNT(payloads); i++) {
        expect_post(c, sid, payloads[i]);
        expect_poll(c, sid, payloads[i]);
    }
}

static void packets_without_meaning_are_ignored(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    expect_post(c, sid, "0{}" RS "3" RS "5" RS "6" RS "4x");
    expect_poll(c, sid, "4x");
}

static void get_is_held_until_there_is_something_to_say(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *held = start_polling(e, sid);

    for (int i = 0; i < 3; i++) {
        get_held(e, held, sid);
        assert_false(raw_readable_within(held, 5));
        on_engine(e, engine_send_text, "now");
        expect(held, 200, "4now");
    }
}

static void all_that_one_callback_sends_leaves_together(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *held = start_polling(e, sid);

    get_held(e, held, sid);
    on_engine(e, engine_send_three, NULL);
    expect(held, 200, "4one" RS "bAQI=" RS "4");
}

static void body_may_come_in_chunks(void **state)
{
    struct engine *e = *state;
    char head[256];
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    snprintf(head, sizeof head,
             "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n" HOST
             "Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n1\r\n" RS "\r\n2\r\n4b\r\n0\r\n\r\n",
             sid);
    raw_send_chunks(c, head, strlen(head), 1);
    expect(c, 200, "ok");
    expect_poll(c, sid, "4a" RS "4b");
}

static void post_of_max_payload_is_taken_and_one_more_ends_the_session(void **state)
{
    enum { MAX = 5000 };
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char sid[EIO_ID_SIZE];
    char payload[MAX + 2];

    engine_echo(e, (struct eio_options){.max_payload = MAX});
    c = open_polling(e, sid);
    memset(payload, '4', sizeof payload);
    payload[MAX] = '\0';
    expect_post(c, sid, payload);
    expect_poll(c, sid, payload);
    payload[MAX] = '4';
    payload[MAX + 1] = '\0';
    post(c, sid, payload);
    raw_expect_status(c, &r, 413);
    expect_reason(e, 1, EIO_TRANSPORT_ERROR); /* its packets are lost */
    raw_close(c);
    c = client(e->f, "after");
    post(c, sid, "4x");
    expect(c, 400, UNKNOWN_SID);
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
    engine_handle(e, (struct eio_handlers){.on_message = engine_count_message});
    c = open_polling(e, sid);
    began = raw_now_ms();
    expect_post(c, sid, payload);
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
        open_polling_on(c, sid);
        post(c, sid, bad[i]);
        expect(c, 400, "");
        expect_reason(e, (int)i + 1, EIO_PARSE_ERROR);
    }
}

/* --- polling: rules --------------------------------------------------------------------------- */

static void second_get_ends_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *first = start_polling(e, sid);
    struct raw_client *second = client(e->f, "second");

    get_held(e, first, sid);
    get(second, sid);
    expect(second, 400, "");
    expect(first, 200, "1");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    expect_gone(second, sid);
    expect_nothing_left(e);
}

static void client_that_leaves_its_get_ends_the_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    for (int i = 1; i <= 2; i++) {
        held = open_polling(e, sid);
        get_held(e, held, sid);
        (i == 1 ? raw_close : raw_reset)(held);
        expect_reason(e, i, EIO_TRANSPORT_ERROR);
    }
    expect_nothing_left(e);
}

/* It was never answered once, CVE-2026-59725. */
static void octet_stream_ends_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    ask_session(c, "POST", sid, "Content-Type: application/octet-stream\r\n", "4x", 2);
    expect(c, 400, "");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
}

static void any_other_content_type_is_text(void **state)
{
    static const char *const types[] = {
        "",
        "Content-Type: text/plain;charset=UTF-8\r\n",
        "Content-Type: image/png\r\n",
        "Content-Type: Application/Octet-Stream\r\n",
        "Content-Type: application/octet-stream; charset=UTF-8\r\n",
        "Content-Type: application/octet-streams\r\n",
    };
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    for (size_t i = 0; i < COUNT(types); i++) {
        ask_session(c, "POST", sid, types[i], "4x", 2);
        expect(c, 200, "ok");
    }
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

    engine_handle(e, (struct eio_handlers){.on_message = engine_count_message});
    held = client(e->f, "held");
    c = client(e->f, "post");
    for (size_t i = 0; i < COUNT(cases); i++) {
        c->label = cases[i].payload;
        open_polling_on(held, sid);
        get_held(e, held, sid);
        post(c, sid, cases[i].payload);
        expect(c, 400, "");
        expect(held, 200, "1");
        expect_reason(e, (int)i + 1, EIO_PARSE_ERROR);
        messages += cases[i].messages;
        assert_int_equal(read_counter(e->f, &e->f->seen.messages), messages);
        expect_gone(c, sid);
    }
}

static void ping_of_the_client_ends_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    expect_post(c, sid, "2" RS "4x");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
}

static void close_packet_ends_the_session_and_the_held_get(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *held = start_polling(e, sid);
    struct raw_client *c = client(e->f, "post");

    get_held(e, held, sid);
    expect_post(c, sid, "1" RS "4x");
    expect(held, 200, "6");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
    expect_gone(c, sid);
    expect_nothing_left(e);
}

static void other_methods_leave_the_session_alone(void **state)
{
    static const char *const methods[] = {"PUT", "DELETE", "PATCH", "OPTIONS"};
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    for (size_t i = 0; i < COUNT(methods); i++) {
        ask_session(c, methods[i], sid, "", NULL, 0);
        expect(c, 500, "");
    }
    expect_post(c, sid, "4x");
    expect_poll(c, sid, "4x");
}

/* CVE-2026-59725's neighbour: the protocol may not change within a session. */
static void another_protocol_version_is_refused_in_a_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char query[80];
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    snprintf(query, sizeof query, "EIO=3&transport=polling&sid=%s", sid);
    ask(c, "GET", query, "", NULL, 0);
    expect(c, 400, BAD_REQUEST);
    ask(c, "POST", query, "", "4x", 2);
    expect(c, 400, BAD_REQUEST);
    ws = client(e->f, "upgrade with EIO=3");
    snprintf(query, sizeof query, "EIO=3&transport=websocket&sid=%s", sid);
    ask(ws, "GET", query, UPGRADE KEY VERSION, NULL, 0);
    expect(ws, 400, "Bad request");
    expect_post(c, sid, "4x");
}

/* --- polling: before the body of a POST ------------------------------------------------------- */

#define EXPECT "Expect: 100-continue\r\n"

/* Send the head of a request to a session; its header lines announce a body. */
static void send_head(struct raw_client *c, const char *method, const char *sid,
                      const char *body_headers)
{
    ask_session(c, method, sid, body_headers, NULL, 0);
}

/* A POST of 8 bytes whose head is known to have come, and its first bytes with it. */
static struct raw_client *begin_post(struct engine *e, const char *sid)
{
    struct raw_client *c = client(e->f, "uploading");
    struct raw_response r;

    send_head(c, "POST", sid, EXPECT "Content-Length: 8\r\n");
    raw_expect_status(c, &r, 100);
    raw_send_text(c, "4first");
    return c;
}

static void get_whose_body_does_not_come_begins_no_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "GET with a body");
    ask(c, "GET", "EIO=4&transport=polling", EXPECT "Content-Length: 8\r\n", NULL, 0);
    raw_expect_status(c, &r, 100);
    raw_send_text(c, "4first");
    raw_close(c);
    expect_nothing_left(e);
    assert_int_equal(e->f->seen.opened, 0);
}

static void post_is_read_when_its_head_is_in_order(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *uploading = begin_post(e, sid);

    assert_false(raw_readable_within(uploading, 5));
    get_held(e, c, sid); /* as it does not wait for the POST */
    raw_send_text(uploading, "!!");
    expect(uploading, 200, "ok");
    expect(c, 200, "4first!!");
    expect_post(uploading, sid, "4more");
}

/* By its head: nobody waits for a body to find that out. */
static void second_post_ends_the_session_while_the_first_is_uploading(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *first = begin_post(e, sid);

    send_head(c, "POST", sid, "Content-Length: 8\r\n");
    expect_last(c, 400, "");
    expect_last(first, 400, "");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
    expect_gone(client(e->f, "after"), sid);
    expect_nothing_left(e);
}

static void post_that_will_not_do_is_refused_before_its_body(void **state)
{
    static const struct {
        const char *method;
        const char *query;
        int status;
        const char *body;
    } cases[] = {
        {"POST", "EIO=4&transport=polling&sid=aaaaaaaaaaaaaaaaaaaa", 400, UNKNOWN_SID},
        {"POST", "EIO=4&transport=polling", 400,
         "{\"code\":2,\"message\":\"Bad handshake method\"}"},
        {"PUT", "EIO=4&transport=polling", 400,
         "{\"code\":2,\"message\":\"Bad handshake method\"}"},
        {"POST", "EIO=4&transport=smoke", 400, "{\"code\":0,\"message\":\"Transport unknown\"}"},
        {"OPTIONS", "", 204, ""},
    };
    static const char *const bodies[] = {"Content-Length: 8\r\n", EXPECT "Content-Length: 8\r\n",
                                         "Content-Length: 99999999999\r\n",
                                         "Transfer-Encoding: chunked\r\n"};
    static const char *const any[] = {"*", NULL};
    struct engine *e = *state;

    engine_echo(e, (struct eio_options){.origins = any});
    for (size_t i = 0; i < COUNT(cases) * COUNT(bodies); i++) {
        struct raw_client *c = client(e->f, bodies[i % COUNT(bodies)]);
        size_t k = i / COUNT(bodies);

        ask(c, cases[k].method, cases[k].query, bodies[i % COUNT(bodies)], NULL, 0);
        expect_last(c, cases[k].status, cases[k].body);
        raw_close(c);
    }
    expect_nothing_left(e);
}

static void rules_of_a_session_hold_before_the_body(void **state)
{
    static const struct {
        const char *method;
        const char *headers;
        int status;
        bool ends;
    } cases[] = {
        {"PUT", "Content-Length: 8\r\n", 500, false},
        {"GET", "Content-Length: 99999999\r\n", 413, false},
        {"POST", "Content-Length: 8\r\nContent-Type: application/octet-stream\r\n", 400, true},
    };
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *other = client(e->f, cases[i].headers);

        send_head(other, cases[i].method, sid, cases[i].headers);
        expect_last(other, cases[i].status, "");
        if (!cases[i].ends)
            expect_post(c, sid, "4x");
    }
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    expect_nothing_left(e);
}

static void client_that_leaves_its_upload_ends_the_session(void **state)
{
    void (*const leave[])(struct raw_client *) = {raw_close, raw_reset, raw_half_close};
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(leave); i++) {
        c = open_polling(e, sid);
        leave[i](begin_post(e, sid));
        expect_reason(e, (int)i + 1, EIO_TRANSPORT_ERROR);
        expect_gone(c, sid);
        raw_close(c);
    }
    expect_nothing_left(e);
}

/* Nothing of what could not be read is lost unseen: only too large a message may be sent anew. */
static void session_ends_with_an_upload_that_fails(void **state)
{
    static const struct {
        const char *headers;
        const char *body;
        int status;
    } cases[] = {
        {"Transfer-Encoding: chunked\r\n", "4\r\n4bodyx", 400},
        {"Content-Length: 8\r\n", "4x", 408},
        {"Content-Length: 1000000\r\n", NULL, 503},
    };
    struct engine *e = *state;
    uint8_t *large = make_payload(1000000, true);
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){0},
                 (struct ws_options){.message_timeout_ms = 2000, .max_memory = 256 * KIB});
    for (size_t i = 0; i < COUNT(cases); i++) {
        c = client(e->f, cases[i].headers);
        open_polling_on(c, sid);
        send_head(c, "POST", sid, cases[i].headers);
        if (cases[i].body != NULL)
            raw_send_text(c, cases[i].body);
        else
            raw_send(c, large, 1000000);
        expect_last(c, cases[i].status, "");
        raw_close(c);
        expect_reason(e, (int)i + 1, EIO_TRANSPORT_ERROR);
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 0);
    free(large);
    expect_nothing_left(e);
}

static void upload_of_a_session_that_ends_is_refused(void **state)
{
    struct engine *e = *state;
    struct raw_client *uploading;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 1000, .ping_timeout_ms = 1000});
    open_polling(e, sid);
    uploading = begin_post(e, sid);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
    expect_last(uploading, 400, "");
    expect_nothing_left(e);
}

static void close_opened(struct engine *e, void *arg)
{
    (void)arg;
    eio_close(e->session);
}

static void upload_of_a_session_that_is_closed_is_refused(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *uploading = begin_post(e, sid);

    on_engine(e, close_opened, NULL);
    expect_last(uploading, 400, "");
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_poll(c, sid, "6" RS "1");
    expect_nothing_left(e);
}

/* A client finishes its POST first; one that does not has dropped it. */
static void upload_is_dropped_when_a_websocket_takes_over(void **state)
{
    struct engine *e = *state;
    struct raw_client *uploading;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
    uploading = begin_post(e, sid);
    ws = upgrade(e, sid);
    expect_last(uploading, 400, "");
    raw_expect_echo(ws, "4still here");
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 1);
}

static void upload_to_a_server_that_stops_is_refused(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *uploading;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){0},
                 (struct ws_options){.close_timeout_ms = 50});
    c = open_polling(e, sid);
    raw_close(c);
    uploading = begin_post(e, sid);
    ws_server_stop(e->f->server);
    expect_last(uploading, 503, "");
    raw_close(uploading);
    join(e->f);
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
}

#include "socketio/tests/test_eio_polling.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
