/* SPDX-License-Identifier: MIT
 *
 * The life of an Engine.IO session on either transport: heartbeat, closing in every order, no
 * memory. What is special to a transport is in test_eio_polling.c and test_eio_upgrade.c. */
#include "engine_fixture.h"

#include <stdio.h>
#include <string.h>

#include "../../tests/oom.h"

/* --- what tests do on the loop ---------------------------------------------------------------- */

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

/* --- heartbeat -------------------------------------------------------------------------------- */

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
    open_polling_on(c, sid);
    for (int i = 0; i < 3; i++) {
        expect_poll(c, sid, "2");
        assert_true(raw_now_ms() - began >= INTERVAL_MS);
        began = raw_now_ms();
        expect_post(c, sid, "3");
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

/* Else a POST of packets of one byte would set the timer, and read the clock, for each of them. */
static void pong_without_a_ping_does_not_delay_the_next_ping(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    int sent = 0;

    engine_echo(e, (struct eio_options){.ping_interval_ms = 300});
    ws = open_websocket(e, "");
    for (; sent < 200 && !raw_readable_within(ws, 20); sent++)
        raw_send_message(ws, "3");
    assert_in_range(sent, 1, 199);
    raw_expect_message(ws, "2");
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
    away = open_polling(e, sid);
    expect_reason(e, 2, EIO_PING_TIMEOUT);
    expect_gone(away, sid);
    held = open_polling(e, sid);
    held->label = "held";
    expect_poll(held, sid, "2");
    expect_poll(held, sid, "1");
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
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 50});
    open_polling(e, sid);
    ws = upgrade(e, sid);
    raw_expect_message(ws, "2");
    raw_send_message(ws, "3");
    raw_expect_message(ws, "2");
}

/* The pong may have been on its way by POST when the transport changed: the time starts again, but
 * it does not stop. */
static void pong_that_never_comes_ends_an_upgraded_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 20, .ping_timeout_ms = 1000});
    c = open_polling(e, sid);
    expect_poll(c, sid, "2");
    ws = upgrade(e, sid);
    raw_expect_close(ws, 0);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void closing_a_websocket_delivers_and_closes(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws = start_websocket(e);

    on_engine(e, engine_send_text, "last");
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
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    get_held(e, c, sid);
    on_engine(e, close_session, NULL);
    expect(c, 200, "1");
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    expect_gone(c, sid);
    expect_nothing_left(e);
}

static void closing_between_polls_is_told_by_the_next_one(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    on_engine(e, close_session, NULL);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_post(c, sid, "4dropped");
    expect_poll(c, sid, "6" RS "1");
    expect_gone(c, sid);
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
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    get_held(e, c, sid);
    on_engine(e, send_and_close, NULL);
    expect(c, 200, "4last words");
    expect_reason(e, 1, EIO_FORCED_CLOSE);
    expect_poll(c, sid, "6" RS "1");
    open_polling_on(c, sid);
    on_engine(e, send_and_close, NULL);
    expect_reason(e, 2, EIO_FORCED_SERVER_CLOSE);
    expect_poll(c, sid, "4last words");
    expect_poll(c, sid, "6" RS "1");
    expect_gone(c, sid);
    expect_nothing_left(e);
}

static void close_on_message(struct eio_session *s, enum ws_opcode opcode, const void *data,
                             size_t len)
{
    engine_count_message(s, opcode, data, len);
    eio_send(s, WS_OP_TEXT, "bye", 3, 0);
    eio_close(s);
}

static void session_that_closes_itself_hears_no_more(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_handle(e, (struct eio_handlers){.on_message = close_on_message});
    c = open_polling(e, sid);
    expect_post(c, sid, "4a" RS "4b" RS "x");
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_poll(c, sid, "4bye");
    expect_poll(c, sid, "6" RS "1");
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

    engine_handle(e, (struct eio_handlers){.on_open = close_on_open});
    c = open_polling(e, sid);
    expect_poll(c, sid, "6" RS "1");
    raw_expect_close(open_websocket(e, ""), 0);
    wait_until(e->f, &e->f->seen.closed, 2, "ended sessions");
    expect_nothing_left(e);
}

static void close_all(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    struct eio_server *server = eio_session_server(s);

    engine_count_message(s, opcode, data, len);
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

    engine_handle(e, (struct eio_handlers){.on_message = close_all});
    for (size_t i = 0; i < COUNT(ws); i++)
        ws[i] = open_websocket(e, "");
    c = open_polling(e, sid);
    raw_send_message(ws[1], "4now");
    for (size_t i = 0; i < COUNT(ws); i++)
        raw_expect_close(ws[i], 0);
    expect_poll(c, sid, "6" RS "1");
    wait_until(e->f, &e->f->seen.closed, 4, "ended sessions");
    assert_int_equal(e->f->seen.result[0], 1);
    expect_nothing_left(e);
}

/* While it upgrades, a client does not poll: it comes for the last words on the WebSocket. */
static void what_was_sent_before_closing_is_delivered_by_an_upgrade(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
    ws = answered_probe(e, sid);
    on_engine(e, send_and_close, NULL);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    raw_send_message(ws, "5");
    raw_expect_message(ws, "4last words");
    raw_expect_close(ws, 0);
    expect_nothing_left(e);
}

/* ... unless that fails, and it polls again. */
static void what_was_sent_before_closing_is_delivered_without_the_upgrade(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);
    struct raw_client *ws = answered_probe(e, sid);

    on_engine(e, send_and_close, NULL);
    raw_reset(ws);
    expect_poll(c, sid, "4last words");
    expect_poll(c, sid, "6" RS "1");
    expect_nothing_left(e);
}

static void closing_a_session_closes_its_probe(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
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
    c = open_polling(e, sid);
    expect_reason(e, 2, EIO_FORCED_SERVER_CLOSE);
    expect_poll(c, sid, "6" RS "1");
}

static void session_that_is_kept_has_no_connect_timeout(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;

    engine_echo(e, (struct eio_options){.connect_timeout_ms = 2000});
    ws = open_websocket(e, "");
    on_engine(e, keep_session, NULL);
    assert_false(raw_readable_within(ws, 2100));
    raw_expect_echo(ws, "4x");
}

/* --- out of memory ---------------------------------------------------------------------------- */

/* The allocation that the query names by its number is the one that fails from here on. */
static const char *lack_one(struct eio_server *e, const struct eio_handshake *h)
{
    struct ws_str n = ws_request_query_value(h->request, "lack");

    (void)e;
    if (n.len == 1)
        oom_once(n.data[0] - '0');
    return NULL;
}

/* The session, its host, and the first buckets for both. */
static void handshake_without_memory_gets_503_and_leaves_nothing(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char query[] = "EIO=4&transport=polling&lack=0";

    engine_start(e, (struct eio_options){.max_sessions_per_host = 1},
                 (struct eio_handlers){.on_handshake = lack_one}, (struct ws_options){0});
    c = client(e->f, "polling");
    for (; query[sizeof query - 2] < '5'; query[sizeof query - 2]++) {
        ask(c, "GET", query, "", NULL, 0);
        expect(c, 503, "");
    }
    open_polling_on(c, sid);
    expect_post(c, sid, "1");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    expect_nothing_left(e);
}

static void close_without_memory(struct engine *e, void *arg)
{
    (void)arg;
    oom_after(0);
    eio_close(e->session);
    oom_after(-1);
}

/* Though there is no memory for a post, and no other callback comes. */
static void session_that_closes_without_memory_is_reported_and_has_last_words(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    on_engine(e, close_without_memory, NULL);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_poll(c, sid, "6" RS "1");
    expect_nothing_left(e);
}

/* "x" takes all memory, "y" gives it back. */
static void run_out_of_memory(struct eio_session *s, enum ws_opcode opcode, const void *data,
                              size_t len)
{
    oom_after(len == 1 && *(const char *)data == 'x' ? 0 : -1);
    engine_count_message(s, opcode, data, len);
}

static void lack_the_next(struct eio_session *s, enum ws_opcode opcode, const void *data,
                          size_t len)
{
    (void)s;
    (void)opcode;
    (void)data;
    (void)len;
    oom_once(0);
}

/* The GET comes in one piece with the POST that makes memory short, so that nothing is allocated
 * before its origin. */
static void held_request_without_memory_for_its_origin_is_answered_without_it(void **state)
{
    static const char *const rules[] = {"https://*.a.example", NULL};
    struct engine *e = *state;
    struct raw_response r;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    char requests[512];

    engine_start(e, (struct eio_options){.origins = rules},
                 (struct eio_handlers){.on_message = lack_the_next}, (struct ws_options){0});
    c = open_polling(e, sid);
    snprintf(requests, sizeof requests,
             "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n" HOST
             "Content-Length: 2\r\n\r\n4x"
             "GET /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n" HOST
             "Origin: https://b.a.example\r\n\r\n",
             sid, sid);
    raw_send_text(c, requests);
    expect(c, 200, "ok");
    on_engine(e, engine_send_text, "later");
    raw_expect_status(c, &r, 200);
    assert_true(oom_came());
    assert_null(strstr(r.head, "Access-Control-Allow-Origin"));
    assert_true(raw_header_is(&r, "Vary", "Origin"));
    expect_post(c, sid, "1");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    expect_nothing_left(e);
}

/* Its timer is there from the handshake on, so the pong behind the message needs no memory. */
static void session_keeps_its_heartbeat_without_memory(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){.ping_interval_ms = 50, .ping_timeout_ms = 50},
                 (struct eio_handlers){.on_message = run_out_of_memory}, (struct ws_options){0});
    c = open_polling(e, sid);
    expect_post(c, sid, "4x" RS "3" RS "4y");
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), 2);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
}

/* --- resets ----------------------------------------------------------------------------------- */

/* A session at each stage of its life, cut off by RST. */
static void reset_at_any_stage_disturbs_nobody(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.ping_interval_ms = 50, .ping_timeout_ms = 50});
    for (int stage = 0; stage < 6; stage++) {
        c = open_polling(e, sid);
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

#include "socketio/tests/test_eio_session.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
