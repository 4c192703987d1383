/* SPDX-License-Identifier: MIT
 *
 * The POST of a session when its packets are much work, or its client leaves much unread. */
#include "engine_fixture.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../tests/oom.h"

enum {
    PACKETS = 1000,    /* too much work for one turn, as each takes WORK_NS */
    WORK_NS = 100000,  /* or more */
    SOME = 300,        /* more than one turn takes: some have waited before */
    SIZE = 3 * PACKETS /* bytes of them */
};

/* --- packets that are much work --------------------------------------------------------------- */

static struct hold gate; /* in front of message SOME of a session */

/* Note the text of each, and work for a while. */
static void take_long(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    struct engine *e = engine_of(s);

    if (read_counter(e->f, &e->f->seen.messages) == SOME) {
        sem_post(&gate.held);
        while (sem_wait(&gate.go) != 0)
            continue;
    }
    note_text(e->f, data, len);
    engine_count_message(s, opcode, data, len);
    nanosleep(&(struct timespec){.tv_nsec = WORK_NS}, NULL);
}

static void make_gate(void)
{
    sem_init(&gate.held, 0, 0);
    sem_init(&gate.go, 0, 0);
}

static void start_slow(struct engine *e, struct eio_options options)
{
    make_gate();
    engine_start(e, options, (struct eio_handlers){.on_message = take_long},
                 (struct ws_options){0});
}

static void wait_at_gate(void)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(sem_timedwait(&gate.held, &end), 0);
}

static void open_gate(void)
{
    sem_post(&gate.go);
}

/* "4a", "4b", ..., and one packet of them is `odd`, if that is not NULL. */
static const char *make_packets(char out[SIZE + 1], const char *odd, int at)
{
    size_t len = 0;

    for (int i = 0; i < PACKETS; i++) {
        char packet[] = {'4', (char)('a' + i % 26), '\0'};

        len += (size_t)snprintf(out + len, SIZE + 1 - len, "%s%s", i == 0 ? "" : RS,
                                odd != NULL && i == at ? odd : packet);
    }
    return out;
}

/* Post them, and wait until message SOME is in front of the gate. */
static void post_to_gate(struct raw_client *c, const char *sid, const char *odd, int at)
{
    char packets[SIZE + 1];

    post(c, sid, make_packets(packets, odd, at));
    wait_at_gate();
}

/* A new server and a client of it whose POST is at the gate. */
static struct raw_client *start_at_gate(struct engine *e, char sid[EIO_ID_SIZE])
{
    struct raw_client *c;

    start_slow(e, (struct eio_options){0});
    c = open_polling(e, sid);
    post_to_gate(c, sid, NULL, 0);
    return c;
}

/* The texts of the first `n` have come in order. */
static void expect_in_order(struct engine *e, int n)
{
    assert_int_equal(read_counter(e->f, &e->f->seen.messages), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(e->f->seen.text[i], 'a' + i % 26);
}

static void packets_of_one_post_keep_nobody_waiting(void **state)
{
    struct engine *e = *state;
    struct raw_client *first;
    struct raw_client *second;
    char sids[2][EIO_ID_SIZE];
    const char *other;

    start_slow(e, (struct eio_options){0});
    first = open_polling(e, sids[0]);
    second = open_polling(e, sids[1]);
    second->label = "second";
    post_to_gate(first, sids[0], NULL, 0);
    post(second, sids[1], "4!");
    open_gate();
    expect(second, 200, "ok");
    expect(first, 200, "ok");
    other = strchr(e->f->seen.text, '!');
    assert_non_null(other);
    assert_in_range(other - e->f->seen.text, SOME, PACKETS - 1);
    memmove((char *)other, other + 1, strlen(other));
    e->f->seen.messages--;
    expect_in_order(e, PACKETS);
}

static void packets_behind_the_end_of_the_session_are_dropped(void **state)
{
    static const struct {
        const char *packet;
        int status;
        const char *body;
        enum eio_reason reason;
    } ends[] = {{"1", 200, "ok", EIO_TRANSPORT_CLOSE}, {"x", 400, "", EIO_PARSE_ERROR}};
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    start_slow(e, (struct eio_options){0});
    for (int i = 0; i < 2; i++) {
        struct raw_client *c = client(e->f, "client");

        e->f->seen.messages = 0;
        e->f->seen.text[0] = '\0';
        open_polling_on(c, sid);
        post_to_gate(c, sid, ends[i].packet, SOME + 100);
        open_gate();
        expect(c, ends[i].status, ends[i].body);
        expect_reason(e, i + 1, ends[i].reason);
        expect_in_order(e, SOME + 100);
    }
    expect_nothing_left(e);
}

static void packets_of_a_client_that_left_its_post_are_heard(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_at_gate(e, sid);

    raw_reset(c);
    open_gate();
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    expect_in_order(e, PACKETS);
    expect_nothing_left(e);
}

static void second_post_ends_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *first = start_at_gate(e, sid);
    struct raw_client *second = client(e->f, "second");

    post(second, sid, "4x");
    open_gate();
    expect(second, 400, "");
    expect(first, 200, "ok");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_in_range(read_counter(e->f, &e->f->seen.messages), SOME, PACKETS - 1);
    expect_nothing_left(e);
}

/* Its packets would overtake what waits. */
static void post_after_one_that_was_left_ends_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *first = start_at_gate(e, sid);
    struct raw_client *second = client(e->f, "second");

    raw_reset(first);
    sleep_ms(10);
    post(second, sid, "4x");
    open_gate();
    expect(second, 400, "");
    expect_reason(e, 1, EIO_TRANSPORT_ERROR);
    assert_in_range(read_counter(e->f, &e->f->seen.messages), SOME, PACKETS - 1);
    expect_nothing_left(e);
}

static void close_session(struct engine *e, void *arg)
{
    (void)arg;
    eio_close(e->session);
}

static void packets_that_wait_are_dropped_when_the_server_closes_the_session(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c = start_at_gate(e, sid);

    open_gate();
    on_engine(e, close_session, NULL);
    expect(c, 200, "ok");
    assert_in_range(read_counter(e->f, &e->f->seen.messages), SOME, PACKETS - 1);
    expect_poll(c, sid, "6" RS "1");
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_nothing_left(e);
}

static void close_own_session(struct eio_session *s, enum ws_opcode opcode, const void *data,
                              size_t len)
{
    if (read_counter(engine_of(s)->f, &engine_of(s)->f->seen.messages) == SOME)
        eio_close(s);
    take_long(s, opcode, data, len);
}

/* The packet that is handed over then lies in what waits. */
static void session_may_be_closed_by_a_packet_that_waited(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    make_gate();
    engine_handle(e, (struct eio_handlers){.on_message = close_own_session});
    c = open_polling(e, sid);
    post_to_gate(c, sid, NULL, 0);
    open_gate();
    expect(c, 200, "ok");
    expect_in_order(e, SOME + 1);
    expect_poll(c, sid, "6" RS "1");
    expect_nothing_left(e);
}

static void server_may_be_freed_while_packets_wait(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    start_at_gate(e, sid);
    ws_server_stop(e->f->server);
    ws_server_stop(e->f->server);
    open_gate();
    join(e->f);
    assert_in_range(read_counter(e->f, &e->f->seen.messages), SOME, PACKETS);
}

/* What the client sends on the WebSocket comes behind what it has posted. */
static void messages_of_a_websocket_wait_for_the_packets_of_a_post(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    start_slow(e, (struct eio_options){0});
    c = open_polling(e, sid);
    ws = answered_probe(e, sid);
    post_to_gate(c, sid, NULL, 0);
    raw_send_message(ws, "5");
    raw_send_message(ws, "4!");
    open_gate();
    expect(c, 200, "ok");
    wait_until(e->f, &e->f->seen.messages, PACKETS + 1, "messages");
    assert_int_equal(e->f->seen.text[PACKETS], '!');
    e->f->seen.messages--;
    expect_in_order(e, PACKETS);
}

/* Its place is behind all the others. */
static void pong_that_waits_for_its_turn_is_in_time(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    start_slow(e, (struct eio_options){.ping_interval_ms = 10, .ping_timeout_ms = 10});
    c = open_polling(e, sid);
    post_to_gate(c, sid, "3", PACKETS - 1);
    sleep_ms(30);
    open_gate();
    expect(c, 200, "ok");
    expect_in_order(e, PACKETS - 1);
    expect_reason(e, 1, EIO_PING_TIMEOUT);
}

/* "a" is the first. */
static void lack_memory(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    struct engine *e = engine_of(s);

    if (read_counter(e->f, &e->f->seen.messages) == 0)
        oom_after(0);
    note_text(e->f, data, len);
    engine_count_message(s, opcode, data, len);
    nanosleep(&(struct timespec){.tv_nsec = WORK_NS}, NULL);
    if (read_counter(e->f, &e->f->seen.messages) == PACKETS) {
        note_result(e->f, 0, oom_came());
        oom_after(-1);
    }
}

static void without_memory_no_packet_waits(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char packets[SIZE + 1];
    char sid[EIO_ID_SIZE];

    engine_handle(e, (struct eio_handlers){.on_message = lack_memory});
    c = open_polling(e, sid);
    expect_post(c, sid, make_packets(packets, NULL, 0));
    assert_true(e->f->seen.result[0]);
    expect_in_order(e, PACKETS);
}

/* --- a client that leaves much unread --------------------------------------------------------- */

static void post_is_answered_before_its_echo_is_read(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 8});
    c = open_polling(e, sid);
    expect_post(c, sid, "4more than eight");
    expect_poll(c, sid, "4more than eight");
    wait_until(e->f, &e->f->seen.drained, 1, "calls of on_drain");
}

/* The second message would be in the first poll if it had been read. */
static void next_post_is_read_when_the_client_has_polled(void **state)
{
    struct engine *e = *state;
    struct raw_client *posting;
    struct raw_client *polling;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 8});
    posting = client(e->f, "posting");
    polling = client(e->f, "polling");
    open_polling_on(posting, sid);
    expect_post(posting, sid, "4more than eight");
    post(posting, sid, "4second");
    assert_false(raw_readable_within(posting, 5));
    expect_poll(polling, sid, "4more than eight");
    expect(posting, 200, "ok");
    expect_poll(polling, sid, "4second");
    expect_post(posting, sid, "4more than eight"); /* and nothing of the pause is left */
}

static void next_post_waits_for_a_poll_no_longer_than_a_second(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    int64_t begun;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.high_water = 8});
    c = open_polling(e, sid);
    expect_post(c, sid, "4more than eight");
    begun = raw_now_ms();
    expect_post(c, sid, "4second");
    assert_in_range(raw_now_ms() - begun, 1000, PATIENCE_MS);
    expect_poll(c, sid, "4more than eight" RS "4second");
}

/* A POST that is not read, of a session with one message queued. */
static struct raw_client *post_that_waits(struct engine *e, char sid[EIO_ID_SIZE])
{
    struct raw_client *c;

    engine_echo(e, (struct eio_options){.high_water = 8});
    c = open_polling(e, sid);
    expect_post(c, sid, "4more than eight");
    post(c, sid, "4second");
    return c;
}

/* As one that was read at once. */
static void post_that_waits_is_heard_though_its_client_leaves(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *polling;
    char sid[EIO_ID_SIZE];

    c = post_that_waits(e, sid);
    assert_false(raw_readable_within(c, 5));
    raw_reset(c);
    wait_until(e->f, &e->f->seen.messages, 2, "messages");
    polling = client(e->f, "polling");
    expect_poll(polling, sid, "4more than eight" RS "4second");
}

static void post_that_waits_is_refused_when_the_session_closes(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *polling;
    char sid[EIO_ID_SIZE];

    c = post_that_waits(e, sid);
    assert_false(raw_readable_within(c, 5));
    on_engine(e, close_session, NULL);
    expect(c, 400, "");
    polling = client(e->f, "polling");
    expect_poll(polling, sid, "4more than eight");
    expect_poll(polling, sid, "6" RS "1");
    expect_reason(e, 1, EIO_FORCED_SERVER_CLOSE);
    expect_nothing_left(e);
}

static void post_that_waits_is_read_when_the_client_moves_to_a_websocket(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    c = post_that_waits(e, sid);
    ws = answered_probe(e, sid);
    expect(c, 200, "ok");
    raw_send_message(ws, "5");
    raw_expect_message(ws, "4more than eight");
    raw_expect_message(ws, "4second");
}

#include "socketio/tests/test_eio_post.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
