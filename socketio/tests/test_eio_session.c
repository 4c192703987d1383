/* SPDX-License-Identifier: MIT
 *
 * The life of an Engine.IO session on either transport: heartbeat, closing in every order, output
 * and its limits, no memory. What is special to a transport is in test_eio_polling.c and
 * test_eio_upgrade.c. */
#include "engine_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

#define UNKNOWN_SID "{\"code\":1,\"message\":\"Session ID unknown\"}"

/* --- what tests do on the loop ---------------------------------------------------------------- */

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

/* The pong may have been on its way by POST when the transport changed: the time starts again, but
 * it does not stop. */
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

/* --- closing ---------------------------------------------------------------------------------- */

static void closing_a_websocket_delivers_and_closes(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;

    engine_echo(e, (struct eio_options){0});
    ws = open_websocket(e, "");
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

/* While it upgrades, a client does not poll: it comes for the last words on the WebSocket. */
static void what_was_sent_before_closing_is_delivered_by_an_upgrade(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    open_polling(client(e->f, "polling"), sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
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
    struct raw_client *ws;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "polling");
    open_polling(c, sid);
    ws = open_probe(e, sid);
    raw_send_message(ws, "2probe");
    raw_expect_message(ws, "3probe");
    on_engine(e, send_and_close, NULL);
    raw_reset(ws);
    get(c, sid);
    expect(c, 200, "4last words");
    get(c, sid);
    expect(c, 200, "6" RS "1");
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

/* --- output ----------------------------------------------------------------------------------- */

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
    on_engine(e, engine_send_text, "again");
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
    engine_send_text(e, "first");
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

/* --- out of memory ---------------------------------------------------------------------------- */

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

/* There is no timer for its last words then, nor a post to report it: the next callback does
 * that. */
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
    engine_count_message(s, opcode, data, len);
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
        ENGINE_TEST(what_was_sent_before_closing_is_delivered_by_an_upgrade),
        ENGINE_TEST(what_was_sent_before_closing_is_delivered_without_the_upgrade),
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
