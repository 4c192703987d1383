/* SPDX-License-Identifier: MIT
 *
 * What leaves an Engine.IO session: messages, volatile ones, broadcasts, and the limits of its
 * output. How it leaves on polling is in test_eio_polling.c, how the queue moves to a WebSocket in
 * test_eio_upgrade.c. */
#include "engine_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

/* --- limits ----------------------------------------------------------------------------------- */

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

static void send_hundred(struct engine *e, void *arg)
{
    char text[100];

    memset(text, 'x', sizeof text);
    *(int *)arg = eio_send(e->session, WS_OP_TEXT, text, 100, 0);
}

static void send_ninety_binary(struct engine *e, void *arg)
{
    char text[90] = "";

    *(int *)arg = eio_send(e->session, WS_OP_BINARY, text, 90, 0);
}

static void note_queued(struct engine *e, void *arg)
{
    *(int *)arg = (int)eio_queued(e->session);
}

/* In turns of their own: what one turn sends is not held against anybody. */
static void fill_output(struct engine *e)
{
    for (size_t i = 0; i < 3; i++)
        on_engine(e, send_hundred, &e->f->seen.result[i]);
    on_engine(e, note_queued, &e->f->seen.result[3]);
    on_engine(e, send_ninety_binary, &e->f->seen.result[4]);
}

static void output_of_a_polling_session_is_bounded(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_output = 210, .high_water = 150});
    c = open_polling(e, sid);
    fill_output(e);
    assert_int_equal(e->f->seen.result[0], WS_SENT);
    assert_int_equal(e->f->seen.result[1], WS_QUEUED);
    assert_int_equal(e->f->seen.result[2], WS_ERR_FULL);
    assert_int_equal(e->f->seen.result[3], 203);
    assert_int_equal(e->f->seen.result[4], WS_ERR_FULL);
    get(c, sid);
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, 203);
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
    on_engine(e, engine_send_text, "again");
    assert_int_equal(e->f->seen.result[0], WS_SENT);
}

enum { BURST = 1000, BURST_SIZE = 3000 };

static void send_burst(struct engine *e, void *arg)
{
    static char text[10 * BURST_SIZE];
    int failed = 0;

    (void)arg;
    memset(text, 'x', sizeof text);
    for (int i = 0; i < BURST; i++)
        failed += eio_send(e->session, WS_OP_TEXT, text, BURST_SIZE, 0) < 0;
    failed += eio_send(e->session, WS_OP_TEXT, text, sizeof text, 0) < 0;
    note_result(e->f, 0, failed);
}

/* A snapshot or a history: nothing leaves before the callback returns. */
static void burst_of_one_callback_is_no_sign_of_a_slow_reader(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    struct raw_response r;
    struct raw_frame frame;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_output = 10000});
    c = open_polling(e, sid);
    on_engine(e, send_burst, NULL);
    assert_int_equal(e->f->seen.result[0], 0);
    get(c, sid);
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, BURST * (BURST_SIZE + 2) + 1 + 10 * BURST_SIZE);
    ws = open_websocket(e, "");
    on_engine(e, send_burst, NULL);
    for (int i = 0; i <= BURST; i++) {
        raw_read_frame(ws, &frame);
        assert_int_equal(frame.len, 1 + (i < BURST ? 1 : 10) * BURST_SIZE);
    }
    assert_int_equal(e->f->seen.result[0], 0);
}

static void close_session(struct engine *e, void *arg)
{
    (void)arg;
    eio_close(e->session);
}

/* Or sessions that nobody reads would hold their memory when they are over. */
static void queue_that_overflowed_is_dropped_with_its_session(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_output = 210});
    c = open_polling(e, sid);
    fill_output(e);
    on_engine(e, close_session, NULL);
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_gone(c, sid);
}

static void queue_that_was_fetched_is_as_good_as_before(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_output = 210});
    c = open_polling(e, sid);
    fill_output(e);
    get(c, sid);
    raw_expect_status(c, &(struct raw_response){0}, 200);
    on_engine(e, engine_send_text, "last words");
    on_engine(e, close_session, NULL);
    expect_poll(c, sid, "4last words");
}

static void queued_output_counts_in_max_memory(void **state)
{
    struct engine *e = *state;
    size_t before;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    before = stats(e->f).buffered;
    fill_output(e);
    assert_in_range(stats(e->f).buffered - before, 300, 2000);
    expect_post(c, sid, "1");
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    assert_true(stats(e->f).buffered < before);
}

static void send_one(struct engine *e, void *arg)
{
    note_result(e->f, *(size_t *)arg, eio_send(e->session, WS_OP_TEXT, "x", 1, 0));
}

static void full_output_has_room_for_a_ping(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    size_t place = 1;
    int64_t began;

    engine_start(e, (struct eio_options){.ping_interval_ms = 200, .max_output = 5},
                 (struct eio_handlers){0}, (struct ws_options){0});
    c = open_polling(e, sid);
    on_engine(e, engine_send_text, "full");
    on_engine(e, send_one, &place);
    began = raw_now_ms();
    do
        on_engine(e, note_queued, &e->f->seen.result[2]);
    while (e->f->seen.result[2] == 5 && raw_now_ms() - began < PATIENCE_MS);
    assert_int_equal(e->f->seen.result[0], WS_SENT);
    assert_int_equal(e->f->seen.result[1], WS_ERR_FULL);
    expect_poll(c, sid, "4full" RS "2");
}

/* An echo client that does not read is slowed by TCP, as on a plain WebSocket. */
static void slow_reader_on_a_websocket_loses_nothing(void **state)
{
    enum { MESSAGES = 200, SIZE = 20000 };
    struct engine *e = *state;
    struct raw_bytes b = {0};
    uint8_t *text = make_payload(SIZE, true);
    struct raw_client *ws = start_websocket(e);

    text[0] = '4';
    for (int i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&b, RAW_TEXT, text, SIZE);
    raw_exchange(ws, b.data, b.len);
    for (int i = 0; i < MESSAGES; i++)
        raw_expect_frame(ws, RAW_TEXT, text, SIZE);
    raw_bytes_release(&b);
    free(text);
}

/* The first may leave at once; the next two are over the mark whatever the socket takes. */
static void send_three_large(struct engine *e, void *arg)
{
    enum { SIZE = 40 * KIB };
    uint8_t *text = make_payload(SIZE, true);

    (void)arg;
    for (size_t i = 0; i < 3; i++)
        note_result(e->f, i, eio_send(e->session, WS_OP_TEXT, text, SIZE, 0));
    free(text);
}

static void who_waits_for_a_slow_websocket_is_told_when_it_has_read(void **state)
{
    struct engine *e = *state;
    struct raw_frame frame;
    struct raw_client *ws = start_websocket(e);

    raw_expect_echo(ws, "4nobody waits");
    assert_int_equal(read_counter(e->f, &e->f->seen.drained), 0);
    on_engine(e, send_three_large, NULL);
    assert_int_equal(e->f->seen.result[2], WS_QUEUED);
    for (int i = 0; i < 3; i++) {
        raw_read_frame(ws, &frame);
        assert_int_equal(frame.len, 1 + 40 * KIB);
    }
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
    raw_expect_echo(ws, "4and once");
    assert_int_equal(read_counter(e->f, &e->f->seen.drained), 1);
}

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
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    on_engine(e, send_without_memory, NULL);
    assert_int_equal(e->f->seen.result[0], WS_ERR_NOMEM);
    assert_int_equal(e->f->seen.result[1], 1);
    assert_int_equal(e->f->seen.result[2], 0);
    assert_int_equal(e->f->seen.result[3], WS_SENT);
    expect_poll(c, sid, "4kept");
}

/* --- volatile messages ------------------------------------------------------------------------ */

static void send_volatile(struct engine *e, void *arg)
{
    const char *text = arg;

    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, text, strlen(text), EIO_VOLATILE));
}

static void volatile_message_is_dropped_when_nobody_waits(void **state)
{
    struct engine *e = *state;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

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
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_polling(e, sid);

    get_held(e, c, sid);
    on_engine(e, send_both, "second");
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    assert_int_equal(e->f->seen.result[1], 0);
    expect(c, 200, "4first");
    ws = open_websocket(e, "");
    on_engine(e, send_both, "second");
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    raw_expect_message(ws, "4first");
    raw_expect_echo(ws, "4echo");
}

/* --- broadcasts ------------------------------------------------------------------------------- */

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

    polling = start_polling(e, sids[0]);
    held = open_polling(e, sids[1]);
    held->label = "held";
    get_held(e, held, sids[1]);
    ws[0] = open_websocket(e, "");
    ws[1] = open_websocket(e, "");
    base64 = open_websocket(e, "&b64=1");
    on_engine(e, broadcast, NULL);
    assert_int_equal(e->f->seen.result[0], EIO_DROPPED);
    expect(held, 200, "4all" RS "bAQID");
    expect_poll(polling, sids[0], "4all" RS "bAQID");
    for (size_t i = 0; i < COUNT(ws); i++) {
        raw_expect_message(ws[i], "4all");
        raw_expect_frame(ws[i], RAW_BINARY, "\1\2\3", 3);
    }
    raw_expect_message(base64, "4all");
    raw_expect_message(base64, "bAQID");
}

#include "socketio/tests/test_eio_output.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
