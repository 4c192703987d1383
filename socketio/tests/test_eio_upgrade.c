/* SPDX-License-Identifier: MIT
 *
 * Engine.IO sessions on a WebSocket, and the move from polling to one. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- WebSocket -------------------------------------------------------------------------------- */

static void messages_come_back_on_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *c = start_websocket(e);

    raw_expect_echo(c, "4hello");
    raw_expect_echo(c, "4");
    raw_send_frame(c, RAW_BINARY, "\1\2\3", 3);
    raw_expect_frame(c, RAW_BINARY, "\1\2\3", 3);
    raw_send_message(c, "bAQIDBA");
    raw_expect_frame(c, RAW_BINARY, "\1\2\3\4", 4);
    raw_send_message(c, "0");
    raw_send_message(c, "3");
    raw_send_message(c, "5");
    raw_send_message(c, "6");
    raw_expect_echo(c, "4after");
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

/* Of a session that began on polling the WebSocket's own query counts, whatever the first one
 * said. */
static void base64_is_asked_for_by_the_request_of_the_websocket(void **state)
{
    static const char *const queries[2] = {"", "&b64=1"};
    struct engine *e = *state;

    engine_echo(e, (struct eio_options){0});
    for (int i = 0; i < 4; i++) {
        struct raw_client *polling = client(e->f, "polling");
        struct raw_client *c = client(e->f, queries[i % 2]);
        struct raw_response r;
        char text[128];
        char sid[EIO_ID_SIZE];

        snprintf(text, sizeof text, "EIO=4&transport=polling%s", queries[i / 2]);
        ask(polling, "GET", text, "", NULL, 0);
        raw_expect_status(polling, &r, 200);
        snprintf(sid, sizeof sid, "%.20s", (const char *)r.body + strlen("0{\"sid\":\""));
        snprintf(text, sizeof text, "/engine.io/?EIO=4&transport=websocket&sid=%s%s", sid,
                 queries[i % 2]);
        raw_upgrade(c, text);
        raw_send_message(c, "2probe");
        raw_expect_message(c, "3probe");
        raw_send_message(c, "5");
        raw_send_frame(c, RAW_BINARY, "\1\2\3", 3);
        if (i % 2 == 0)
            raw_expect_frame(c, RAW_BINARY, "\1\2\3", 3);
        else
            raw_expect_message(c, "bAQID");
    }
}

static void large_text_comes_back_on_a_websocket(void **state)
{
    struct engine *e = *state;
    uint8_t *text = make_payload(100000, true);
    struct raw_client *c = start_websocket(e);

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
    struct raw_client *c = start_websocket(e);

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

/* --- from polling to a WebSocket -------------------------------------------------------------- */

static void session_moves_to_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    get_held(e, c, sid);
    ws = open_probe(e, sid);
    assert_false(raw_readable_within(c, 5)); /* nothing has happened yet */
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    expect(c, 200, "6");
    expect_poll(c, sid, "6"); /* not held any more */
    expect_post(c, sid, "4by post");
    expect_poll(c, sid, "4by post");
    raw_send_message(ws, "5");
    raw_expect_echo(ws, "4hello");
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

    start_polling(e, sid);
    ws = open_probe(e, sid);
    for (int i = 0; i < 3; i++) {
        raw_send_message(ws, "2probe");
        raw_expect_message(ws, "3probe");
    }
    raw_send_message(ws, "5");
    raw_expect_echo(ws, "4x");
}

static void what_is_queued_moves_along_in_order(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
    ws = answered_probe(e, sid);
    on_engine(e, engine_send_three, NULL);
    on_engine(e, engine_send_text, "four");
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
    open_polling(e, sid);
    on_engine(e, engine_send_text, "long");
    assert_int_equal(e->f->seen.result[0], WS_QUEUED);
    ws = upgrade(e, sid);
    raw_expect_message(ws, "4long");
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
}

static void upgrade_without_a_probe_is_taken(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    get_held(e, c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "5");
    expect(c, 200, "1");
    raw_expect_echo(ws, "4x");
}

/* A GET is held, and answered with what the server sends. */
static void expect_on_polling(struct engine *e, struct raw_client *c, const char *sid)
{
    get_held(e, c, sid);
    on_engine(e, engine_send_text, "still here");
    expect(c, 200, "4still here");
}

static void bad_probe_leaves_the_session_on_polling(void **state)
{
    static const char *const bad[] = {"2", "2other", "4x", "", "3probe", "x"};
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    for (size_t i = 0; i < COUNT(bad); i++) {
        ws = answered_probe(e, sid);
        ws->label = bad[i];
        raw_send_message(ws, bad[i]);
        raw_expect_close(ws, 0);
        expect_on_polling(e, c, sid);
    }
    ws = open_probe(e, sid);
    raw_send_frame(ws, RAW_BINARY, "5", 1);
    raw_expect_close(ws, 0);
    ws = upgrade(e, sid);
    raw_expect_echo(ws, "4x");
}

static void second_websocket_is_sent_away(void **state)
{
    struct engine *e = *state;
    struct raw_client *first;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
    first = answered_probe(e, sid);
    raw_expect_close(open_probe(e, sid), 0); /* while upgrading */
    raw_send_message(first, "5");
    raw_expect_echo(first, "4x");
    raw_expect_close(open_probe(e, sid), 0); /* and after that */
    raw_expect_echo(first, "4y");
}

static void read_sid_of(struct engine *e, void *arg)
{
    memcpy(arg, eio_session_id(e->session), EIO_ID_SIZE);
}

/* Whoever learns the id of a session must not be able to take its messages over. */
static void session_of_a_websocket_is_not_taken_over(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    struct raw_client *ws = start_websocket(e);

    on_engine(e, read_sid_of, sid);
    raw_expect_close(open_probe(e, sid), 0);
    c = client(e->f, "polling");
    get(c, sid);
    expect(c, 400, BAD_REQUEST);
    raw_expect_echo(ws, "4x");
}

static void upgrade_that_stalls_is_dropped_alone(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.upgrade_timeout_ms = 20});
    c = open_polling(e, sid);
    ws = answered_probe(e, sid);
    raw_expect_close(ws, 0);
    expect_on_polling(e, c, sid);
}

static void probe_that_is_cut_leaves_the_session_on_polling(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *ws = answered_probe(e, sid);

    raw_reset(ws);
    wait_connections(e->f, 1);
    expect_on_polling(e, c, sid);
    assert_int_equal(read_counter(e->f, &e->f->seen.closed), 0);
}

static void probe_ends_with_its_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *ws = answered_probe(e, sid);

    expect_post(c, sid, "1");
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
    open_polling(e, sid);
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
    struct raw_client *ws;
    struct raw_frame frame;
    int next = 0;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

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

/* A client that upgrades does not poll, and waits for the answers to its POSTs: to hold one until
 * the client has read would be to wait for each other. */
static void posts_are_not_held_while_upgrading(void **state)
{
    struct engine *e = *state;
    struct raw_client *posting;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 8});
    posting = open_polling(e, sid);
    post(posting, sid, "4more than eight");
    wait_until(e->f, &e->f->seen.messages, 1, "messages");
    ws = answered_probe(e, sid);
    expect(posting, 200, "ok");
    expect_post(posting, sid, "4and again");
    raw_send_message(ws, "5");
    raw_expect_message(ws, "4more than eight");
    raw_expect_message(ws, "4and again");
}

#include "socketio/tests/test_eio_upgrade.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
