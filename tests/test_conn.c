/* SPDX-License-Identifier: MIT
 *
 * The life of a connection: half-closed and reset, slow readers and budgets, deadlines. Each test
 * is named by the behaviour that it shows; docs/rfc6455.md refers to them. */
#include "server_fixture.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* --- how a connection ends -------------------------------------------------------------------- */

static void half_closed_client_gets_its_echoes(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(4 * MIB, false);

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_TEXT, "owed", 4);
    raw_bytes_frame(&f->out, RAW_BINARY, payload, 4 * MIB);
    raw_bytes_frame(&f->out, RAW_TEXT, "last", 4);
    raw_bytes_header(&f->out, RAW_TEXT, 10); /* cut off: never a message */
    raw_exchange(c, f->out.data, f->out.len);
    raw_half_close(c);
    raw_expect_message(c, "owed");
    raw_expect_frame(c, RAW_BINARY, payload, 4 * MIB);
    raw_expect_message(c, "last");
    expect_end(c);
    raw_close(c);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    assert_int_equal(f->seen.messages, 3);
    free(payload);
}

static void reply_at_length(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[4 * KIB];

    (void)data;
    (void)len;
    for (int i = 0; i < 16; i++)
        ws_send(c, op, block, sizeof block);
    count(of(c), &of(c)->seen.messages);
}

static void respond_at_length(struct ws_conn *c, const struct ws_request *req)
{
    static const char body[60 * KIB];

    (void)req;
    ws_respond(c, 200, NULL, 0, body, sizeof body);
    count(of(c), &of(c)->seen.requests);
}

/* What has come is answered, though its turn comes only as the client reads, and though a FIN is
 * behind it. */
static void half_closed_slow_reader_gets_every_answer(void **state)
{
    enum { ASKED = 200 };
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/ask", (struct ws_handlers){.on_open = join_room, .on_message = reply_at_length});
    serve(f, "/get", (struct ws_handlers){.on_request = respond_at_length});
    run(f);
    c = slow_upgraded(f, "/ask");
    for (int i = 0; i < ASKED; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, "?", 1);
    raw_send_bytes(c, &f->out);
    raw_half_close(c);
    expect_end(c);
    assert_int_equal(f->seen.messages, ASKED);
    assert_true(c->came.total > ASKED * 64 * KIB);

    c = slow_client(f, NULL);
    f->out.len = 0;
    for (int i = 0; i < ASKED; i++)
        raw_bytes_text(&f->out, "GET /get HTTP/1.1\r\n" HOST "\r\n");
    raw_send_bytes(c, &f->out);
    raw_half_close(c);
    expect_end(c);
    assert_int_equal(f->seen.requests, ASKED);
    assert_true(c->came.total > ASKED * 60 * KIB);
}

static void keep_waiting(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    of(c)->conn = c;
    count(of(c), &of(c)->seen.requests);
}

static void respond_to_waiting(struct fixture *f, void *arg)
{
    (void)arg;
    respond_at_length(f->conn, NULL);
}

/* The same where the FIN is there before the first answer. */
static void half_closed_slow_reader_gets_the_answers_behind_a_late_one(void **state)
{
    enum { BEHIND = 200 };
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = keep_waiting});
    serve(f, "/get", (struct ws_handlers){.on_request = respond_at_length});
    run(f);
    c = slow_client(f, NULL);
    raw_bytes_text(&f->out, "GET /late HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < BEHIND; i++)
        raw_bytes_text(&f->out, "GET /get HTTP/1.1\r\n" HOST "\r\n");
    raw_send_bytes(c, &f->out);
    raw_half_close(c);
    wait_until(f, &f->seen.requests, 1, "requests");
    stats(f);
    stats(f); /* turns in which it has seen the FIN */
    on_loop(f, respond_to_waiting, NULL);
    expect_end(c);
    assert_int_equal(f->seen.requests, 2 + BEHIND); /* the late one counts twice */
}

/* Each prefix of a frame, then FIN. The loop must neither hang nor spin. */
static void frame_cut_by_fin_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    int64_t before;

    start(f, (struct ws_options){0});
    raw_bytes_header(&f->out, RAW_BINARY, 70000);
    raw_bytes_payload(&f->out, "abc", 3, 0);
    before = loop_cpu_ms(f);
    for (size_t n = 0; n <= f->out.len; n++) {
        struct raw_client *c = upgraded(f, "/echo");

        raw_send(c, f->out.data, n);
        raw_half_close(c);
        if (!raw_gone_within(c, PATIENCE_MS))
            raw_fail(c, "still open, %zu bytes of a frame and FIN", n);
        raw_close(c);
        expect_on_close(f, (int)n + 1, WS_CLOSE_ABNORMAL);
    }
    assert_in_range(loop_cpu_ms(f) - before, 0, 500);
    assert_int_equal(stats(f).buffered, 0);
}

static void reset_at_any_step_disturbs_nobody(void **state)
{
    struct fixture *f = *state;
    struct raw_bytes steps = {0};
    size_t head;

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&steps, "/echo", "");
    head = steps.len;
    raw_bytes_frame(&steps, RAW_TEXT, "hello", 5);
    raw_bytes_frame(&steps, RAW_TEXT_PART, "half", 4);
    raw_bytes_frame(&steps, RAW_CONTINUATION, "whole", 5);
    raw_bytes_close(&steps, 1000, "");
    for (size_t n = 0; n <= steps.len; n += n + 16 < head ? 16 : 1) {
        struct raw_client *c = client(f, "reset");

        raw_send(c, steps.data, n);
        if (n % 2 == 0) /* with and without the server knowing what came */
            stats(f);
        raw_reset(c);
    }
    raw_bytes_release(&steps);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    expect_well(f);
    assert_int_equal(f->seen.opened, f->seen.closed);
}

static void reset_under_a_full_queue_frees_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(8 * MIB, false);

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_BINARY, payload, 8 * MIB);
    raw_send_bytes(c, &f->out);
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_true(stats(f).buffered > 0);
    raw_reset(c);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    free(payload);
}

/* Send a large block and then take more, which the peer does not read. */
static void send_block(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[MIB];
    struct fixture *f = of(c);

    (void)data;
    if (len == 0)
        ws_send(c, op, block, sizeof block);
    f->conn = c;
    count(f, &f->seen.messages);
}

static void note_queued(struct fixture *f, void *arg)
{
    (void)arg;
    note_result(f, 0, (int)ws_conn_queued(f->conn));
}

static void connect_unix(struct raw_client *c, const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    snprintf(un.sun_path, sizeof un.sun_path, "%s", address + strlen("unix:"));
    raw_connect_to(c, (struct sockaddr *)&un, sizeof un, 0);
}

/* That it is over shows at once, also where nothing is read for backpressure. What came before is
 * a message all the same: some of it is in the socket, some waits in the server. */
static void what_came_before_the_end_is_delivered(void **state)
{
    enum { ASKED = 8, BEHIND = 50 };
    struct fixture *f = *state;
    char bind_unix[64];
    const char *const addresses[] = {"127.0.0.1", bind_unix, NULL};

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-test-%d.sock", (int)getpid());
    start_serving(f, (struct ws_options){.bind = addresses}, "/block",
                  (struct ws_handlers){.on_message = send_block});
    for (int i = 0; i < 2; i++) {
        struct raw_client *c = unconnected(f);

        if (i == 0)
            connect_unix(c, bind_unix);
        else
            raw_connect_slow(c, f->port);
        raw_upgrade(c, "/block");
        f->out.len = 0;
        for (int j = 0; j < ASKED; j++)
            raw_bytes_frame(&f->out, RAW_BINARY, "", 0);
        f->seen.messages = 0;
        raw_send_bytes(c, &f->out);
        wait_until(f, &f->seen.messages, 1, "messages");
        on_loop(f, note_queued, NULL);
        assert_in_range(f->seen.result[0], MIB / 16, ASKED * MIB);
        f->out.len = 0;
        for (int j = 0; j < BEHIND; j++)
            raw_bytes_frame(&f->out, RAW_BINARY, "last words", 10);
        raw_send_bytes(c, &f->out);
        raw_close(c);
        expect_on_close(f, i + 1, WS_CLOSE_ABNORMAL);
        assert_int_equal(f->seen.messages, ASKED + BEHIND);
    }
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* --- backpressure and budgets ----------------------------------------------------------------- */

static void slow_reader_is_slowed_and_loses_nothing(void **state)
{
    enum { MESSAGES = 2048, SIZE = 4 * KIB };
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(SIZE + MESSAGES, false);
    size_t sent;

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    for (size_t i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload + i, SIZE);
    sent = raw_send_some(c, f->out.data, f->out.len, 50);
    assert_in_range(stats(f).buffered, 0, 1 * MIB);
    raw_exchange(c, f->out.data + sent, f->out.len - sent);
    for (size_t i = 0; i < MESSAGES; i++)
        raw_expect_frame(c, RAW_BINARY, payload + i, SIZE);
    assert_int_equal(stats(f).buffered, 0);
    assert_int_equal(f->seen.messages, MESSAGES);
    raw_expect_echo(c, "on we go");
    free(payload);
}

/* A queue that holds less than one read brings in: what has gathered leaves before it is full. */
static void small_queue_loses_nothing_of_who_reads(void **state)
{
    enum { MESSAGES = 5000, SIZE = 100 };
    struct fixture *f = *state;
    struct raw_client *c;
    struct hold h;
    uint8_t *payload = make_payload(SIZE + MESSAGES, false);
    size_t sent;

    start(f, (struct ws_options){.max_queue = 64 * KIB});
    c = upgraded(f, "/echo");
    for (size_t i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload + i, SIZE);
    hold_loop(f, &h);
    sent = raw_send_some(c, f->out.data, f->out.len, 50);
    sem_post(&h.go);
    raw_exchange(c, f->out.data + sent, f->out.len - sent);
    for (size_t i = 0; i < MESSAGES; i++)
        raw_expect_frame(c, RAW_BINARY, payload + i, SIZE);
    free(payload);
}

/* Pongs are not queued without bound, and the newest one comes. The high-water mark is far away:
 * where the share of a turn ends between two Pings, 33 KB of Pongs in the queue would stop the
 * reading. While on_message runs, the rest of one read, 256 KiB, may still be in memory. */
static void ping_flood_keeps_memory_flat_and_the_newest_pong(void **state)
{
    enum { PINGS = 50000 };
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_frame frame;
    char payload[126];
    long newest = -1;
    bool texts = false;

    start(f, (struct ws_options){.high_water = MIB});
    c = slow_upgraded(f, "/echo");
    for (int i = 0; i < PINGS; i++) {
        snprintf(payload, sizeof payload, "%0125d", i);
        raw_bytes_frame(&f->out, RAW_PING, payload, 125);
    }
    raw_bytes_frame(&f->out, RAW_TEXT, "end", 3);
    raw_send_bytes(c, &f->out); /* without reading: nothing of it may block */
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_in_range(stats(f).buffered, 0, (256 + 128) * KIB);
    while (!texts || newest != PINGS - 1) {
        raw_read_frame(c, &frame);
        if (frame.head == RAW_TEXT) {
            texts = true;
            continue;
        }
        assert_int_equal(frame.head, RAW_PONG);
        assert_int_equal(frame.len, 125);
        memcpy(payload, frame.payload, 125);
        payload[125] = '\0';
        if (strtol(payload, NULL, 10) <= newest)
            raw_fail(c, "pong %s came after %ld", payload, newest);
        newest = strtol(payload, NULL, 10);
    }
}

static void fill_until_full(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[64 * KIB];
    int r = WS_SENT;
    int sent = -1;

    (void)op;
    (void)data;
    (void)len;
    for (; r >= 0 && sent < 10000; sent++) {
        r = ws_send(c, WS_OP_BINARY, block, sizeof block);
        if (r == WS_QUEUED)
            note_result(of(c), 0, WS_QUEUED);
    }
    note_result(of(c), 1, r);
    note_result(of(c), 2, sent);
    note_result(of(c), 3, ws_conn_queued(c) <= 1 * MIB + WS_BURST_MAX);
    count(of(c), &of(c)->seen.messages);
}

static void sender_is_told_when_the_queue_is_full_and_when_it_drained(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){.max_queue = 1 * MIB}, "/fill",
                  (struct ws_handlers){.on_message = fill_until_full, .on_drain = count_drain});
    c = slow_upgraded(f, "/fill");
    raw_send_message(c, "go");
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_int_equal(f->seen.result[0], WS_QUEUED);
    assert_int_equal(f->seen.result[1], WS_ERR_FULL);
    assert_true(f->seen.result[3]);
    assert_in_range(stats(f).buffered, 0, 4 * MIB + WS_BURST_MAX);
    for (int i = 0; i < f->seen.result[2]; i++) {
        struct raw_frame frame;

        raw_read_frame(c, &frame);
        assert_int_equal(frame.len, 64 * KIB);
    }
    wait_until(f, &f->seen.drained, 1, "calls of on_drain");
    assert_int_equal(f->seen.drained, 1);
    assert_int_equal(stats(f).buffered, 0);
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
}

static void send_more(struct ws_conn *c)
{
    static const char block[4 * KIB];

    sleep_ms(1); /* it is made from something, slower than the client reads */
    while (ws_send(c, WS_OP_BINARY, block, sizeof block) == WS_SENT)
        continue;
}

static void begin_stream(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    (void)op;
    (void)data;
    (void)len;
    send_more(c);
    count(of(c), &of(c)->seen.messages);
}

static void *read_for_ever(void *arg)
{
    struct raw_client *c = arg;
    char *sink = malloc(1 * MIB);
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    while (poll(&p, 1, PATIENCE_MS) > 0 && recv(c->fd, sink, 1 * MIB, 0) > 0)
        continue;
    free(sink);
    return NULL;
}

/* An endless stream that refills itself in on_drain, to a client that reads as fast as it comes. */
static void stream_that_refills_itself_starves_nobody(void **state)
{
    struct fixture *f = *state;
    struct raw_client *greedy;
    pthread_t reader;

    start_serving(f, (struct ws_options){0}, "/stream",
                  (struct ws_handlers){.on_message = begin_stream, .on_drain = send_more});
    greedy = upgraded(f, "/stream");
    assert_int_equal(pthread_create(&reader, NULL, read_for_ever, greedy), 0);
    raw_send_message(greedy, "go");
    wait_until(f, &f->seen.messages, 1, "messages");
    for (int i = 0; i < 20; i++)
        expect_well(f);
    shutdown(greedy->fd, SHUT_RDWR);
    pthread_join(reader, NULL);
}

struct publication {
    struct ws_str room;
    const uint8_t *data;
    size_t len;
    ptrdiff_t recipients;
};

static void publish(struct fixture *f, void *arg)
{
    struct publication *p = arg;

    p->recipients = ws_publish(f->server, p->room, NULL, WS_OP_BINARY, p->data, p->len);
}

static void slow_recipient_is_closed_with_1013_and_the_others_lose_nothing(void **state)
{
    enum { SIZE = 64 * KIB, ROUNDS = 300 };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(SIZE + ROUNDS, false);
    struct publication p = {.room = ws_str("room"), .len = SIZE, .recipients = 3};
    struct raw_client *good[2], *slow;
    struct raw_frame frame;
    int after = 0;

    start_serving(f, (struct ws_options){.max_queue = 512 * KIB}, "/room",
                  (struct ws_handlers){.on_open = join_room});
    good[0] = upgraded(f, "/room");
    slow = slow_upgraded(f, "/room");
    good[1] = upgraded(f, "/room");
    wait_until(f, &f->seen.opened, 3, "calls of on_open");
    for (size_t i = 0; i < ROUNDS && after < 10; i++) {
        p.data = payload + i;
        on_loop(f, publish, &p);
        for (size_t j = 0; j < 2; j++)
            raw_expect_frame(good[j], RAW_BINARY, payload + i, SIZE);
        after += p.recipients == 2;
    }
    assert_int_equal(after, 10);
    assert_in_range(stats(f).buffered, 0, 512 * KIB + SIZE);
    do
        raw_read_frame(slow, &frame);
    while (frame.head == RAW_BINARY && frame.len == SIZE);
    if (frame.head != RAW_CLOSE || memcmp(frame.payload, "\x03\xf5", 2) != 0)
        raw_fail(slow, "expected Close 1013, came %02x", frame.head);
    raw_send_close(slow, 1013);
    raw_expect_eof(slow);
    raw_close(slow);
    expect_on_close(f, 1, WS_CLOSE_TRY_LATER);
    free(payload);
}

/* RFC 6455 §7.1.5: what counts is the Close frame that came; only without one it is ours. */
static void slow_recipient_may_have_the_last_word(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(256 * KIB, false);
    struct publication p = {.room = ws_str("room"), .data = payload, .len = 256 * KIB};

    start_serving(f, (struct ws_options){.max_queue = 512 * KIB}, "/room",
                  (struct ws_handlers){.on_open = join_room});
    for (int i = 1; i <= 2; i++) {
        struct raw_client *slow = slow_upgraded(f, "/room");

        wait_until(f, &f->seen.opened, i, "calls of on_open");
        do
            on_loop(f, publish, &p);
        while (p.recipients == 1);
        if (i == 1)
            raw_send_close(slow, 4001);
        else
            raw_reset(slow);
        expect_on_close(f, i, i == 1 ? 4001 : WS_CLOSE_TRY_LATER);
    }
    free(payload);
}

static void whoever_passes_max_memory_is_closed_with_1013(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(600 * KIB, false);
    struct raw_client *c[5];
    int refused = 0;

    start(f, (struct ws_options){.max_memory = 4 * MIB});
    for (size_t i = 0; i < COUNT(c); i++)
        c[i] = upgraded(f, "/echo");
    raw_bytes_header(&f->out, RAW_BINARY, 700 * KIB);
    raw_bytes_payload(&f->out, payload, 600 * KIB, 0);
    for (size_t i = 0; i < COUNT(c); i++) {
        raw_send_bytes(c[i], &f->out);
        assert_in_range(stats(f).buffered, 0, 2 * MIB);
    }
    wait_until(f, &f->seen.closed, 2, "refusals"); /* their host may have half of it */
    stats(f);
    stats(f); /* one turn later: the Close frames have left */
    for (size_t i = 0; i < COUNT(c); i++) {
        if (!raw_readable_within(c[i], 200))
            continue;
        raw_expect_closed(c[i], 1013);
        raw_close(c[i]);
        refused++;
    }
    assert_in_range(refused, 2, 4); /* not everybody */
    for (size_t i = 0; i < COUNT(c); i++)
        raw_close(c[i]);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    expect_well(f);
    free(payload);
}

/* --- deadlines -------------------------------------------------------------------------------- */

enum { TIMEOUT_MS = 300 }; /* long enough to tell it from a stumble of the machine */

static void send_to_all(struct fixture *f, void *arg)
{
    int sent = 0;

    for (uint64_t id = 1; id <= CLIENTS; id++) {
        struct ws_conn *c = ws_conn_find(f->server, id);

        sent += c != NULL && ws_send(c, WS_OP_TEXT, arg, strlen(arg)) == WS_SENT;
    }
    note_result(f, 0, sent);
}

/* A few bytes to each of many clients in one turn are a few bytes, not a chunk for each. */
static void small_messages_to_many_need_no_memory(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){.max_memory = 64 * KIB});
    for (size_t i = 0; i < CLIENTS; i++)
        upgraded(f, "/echo");
    for (int round = 0; round < 3; round++) {
        on_loop(f, send_to_all, "few");
        assert_int_equal(f->seen.result[0], CLIENTS);
        for (size_t i = 0; i < CLIENTS; i++)
            raw_expect_message(&f->clients[i], "few");
    }
}

/* What is left holds no chunk. */
static void leave_little_memory(struct fixture *f, void *arg)
{
    use_up_memory(f, *(size_t *)arg, 8 * KIB);
}

/* Small things still work for everybody. */
static void exhausted_memory_does_not_stop_small_messages(void **state)
{
    struct fixture *f = *state;
    size_t max_memory = 256 * KIB;

    start(f, (struct ws_options){.max_memory = max_memory});
    for (size_t i = 0; i < CLIENTS; i++)
        upgraded(f, "/echo");
    on_loop(f, leave_little_memory, &max_memory);
    on_loop(f, send_to_all, "few");
    assert_int_equal(f->seen.result[0], CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        raw_expect_message(&f->clients[i], "few");
    assert_true(stats(f).buffered >= 244 * KIB);
    assert_int_equal(f->seen.closed, 0);
    raw_send_chunks(&f->clients[0], "\x81\x83" MASK "abc", 9, 4); /* also in pieces */
    raw_expect_message(&f->clients[0], "abc");
}

static void prepare_something(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_set_data(c, ws_prepare(ws_conn_server(c), WS_OP_TEXT, "ready!", 6));
    count(of(c), &of(c)->seen.opened);
}

static void send_both(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    note_result(of(c), 0, ws_send(c, op, data, len));
    note_result(of(c), 1, ws_send_prepared(c, ws_data(c)));
    count(of(c), &of(c)->seen.messages);
}

static void release_it(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    ws_release_prepared(ws_data(c));
    count_close(c, code, reason, len);
}

/* A reply that waits for the end of the turn is not given up when something else needs memory to
 * follow. */
static void exhausted_memory_does_not_undo_what_was_sent(void **state)
{
    struct fixture *f = *state;
    size_t max_memory = 256 * KIB;
    struct raw_client *c;

    start_serving(f, (struct ws_options){.max_memory = max_memory}, "/both",
                  (struct ws_handlers){.on_open = prepare_something,
                                       .on_message = send_both,
                                       .on_close = release_it});
    c = upgraded(f, "/both");
    on_loop(f, leave_little_memory, &max_memory);
    for (int i = 0; i < 3; i++) {
        raw_expect_echo(c, "reply");
        raw_expect_message(c, "ready!");
    }
    assert_int_equal(f->seen.result[0], WS_SENT);
    assert_int_equal(f->seen.result[1], WS_SENT);
    raw_close(c);
    wait_connections(f, 0);
}

/* Send a byte every 5 ms, the last one over and over, until the server ends it: after the timeout,
 * whatever comes meanwhile. */
static void expect_drip_ends(struct raw_client *c, const char *text, int64_t begun)
{
    const char *at = text;

    while (!raw_gone_within(c, 5)) {
        if (raw_now_ms() - begun > PATIENCE_MS)
            raw_fail(c, "still open after %d ms", PATIENCE_MS);
        if (send(c->fd, at, 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
        if (at[1] != '\0')
            at++;
    }
    if (raw_now_ms() - begun < TIMEOUT_MS / 2)
        raw_fail(c, "over after %d ms", (int)(raw_now_ms() - begun));
}

/* Whatever of a message has come is held until the rest comes: not for ever. The ping interval is
 * short, so that the byte that answers it does not count as progress. */
static void unfinished_message_ends_at_the_message_timeout(void **state)
{
    static const struct {
        const char *label;
        const char *wire;
        size_t len;
    } cases[] = {
        {"half a header", BYTES("\x82\xfe")},
        {"a frame without its end", BYTES("\x82\xfe\x10\0" MASK "xxxx")},
        {"a message without its last frame", BYTES("\x02\x83" MASK "abc")},
        {"a message that has no byte yet", BYTES("\x02\x80" MASK)},
    };
    struct fixture *f = *state;

    start(f, (struct ws_options){
                 .message_timeout_ms = TIMEOUT_MS, .ping_interval_ms = 50, .close_timeout_ms = 50});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = upgraded(f, "/echo");
        int64_t begun = raw_now_ms();

        c->label = cases[i].label;
        raw_send(c, cases[i].wire, cases[i].len);
        while (!raw_gone_within(c, 5)) {
            if (raw_now_ms() - begun > PATIENCE_MS)
                raw_fail(c, "still open after %d ms", PATIENCE_MS);
            /* Pongs between the fragments, or more of the frame. */
            if (i >= 2)
                send(c->fd, "\x8a\x80" MASK, 6, MSG_NOSIGNAL);
            else if (i == 1)
                send(c->fd, "x", 1, MSG_NOSIGNAL);
        }
        if (raw_now_ms() - begun < TIMEOUT_MS / 2)
            raw_fail(c, "over after %d ms", (int)(raw_now_ms() - begun));
        raw_close(c);
        expect_on_close(f, (int)i + 1, 1008);
        assert_int_equal(stats(f).buffered, 0);
    }
}

/* 64 KiB and more for each timeout are a slow upload, but one that comes to its end. */
static void slow_message_that_goes_on_is_taken(void **state)
{
    enum { PIECES = 10, PIECE = 70 * KIB };
    struct fixture *f = *state;
    uint8_t *payload = make_payload((size_t)PIECES * PIECE, false);
    struct raw_client *c;

    start(f, (struct ws_options){.message_timeout_ms = TIMEOUT_MS});
    c = upgraded(f, "/echo");
    raw_bytes_header(&f->out, RAW_BINARY, (size_t)PIECES * PIECE);
    raw_bytes_payload(&f->out, payload, (size_t)PIECES * PIECE, 0);
    raw_send(c, f->out.data, 14);
    for (size_t i = 0; i < PIECES; i++) {
        sleep_ms(TIMEOUT_MS / 2); /* a gap is at most half of the timeout, all of it five */
        raw_send(c, f->out.data + 14 + i * PIECE, PIECE);
    }
    raw_expect_frame(c, RAW_BINARY, payload, (size_t)PIECES * PIECE);
    free(payload);
}

/* While a connection is not read, since its own output waits, its message cannot come. */
static void message_of_a_paused_connection_is_not_late(void **state)
{
    enum { SIZE = 200 * KIB, MESSAGES = 120 };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(SIZE, false);
    struct raw_client *c;
    size_t sent;

    start(f, (struct ws_options){.message_timeout_ms = TIMEOUT_MS, .ping_interval_ms = UINT_MAX});
    c = slow_upgraded(f, "/echo");
    for (size_t i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload, SIZE);
    sent = raw_send_some(c, f->out.data, f->out.len, 3 * TIMEOUT_MS);
    assert_true(sent < f->out.len); /* it is paused, and has been for three timeouts */
    raw_exchange(c, f->out.data + sent, f->out.len - sent);
    for (size_t i = 0; i < MESSAGES; i++)
        raw_expect_frame(c, RAW_BINARY, payload, SIZE);
    free(payload);
}

/* What a message takes is bounded by what it has announced, though its buffer doubles. */
static void unfinished_message_takes_no_more_than_it_has_announced(void **state)
{
    enum { ANNOUNCED = 9 * MIB, COME = 8 * MIB + 5 };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(COME, false);
    size_t buffered;
    int64_t begun;

    start(f, (struct ws_options){0});
    raw_bytes_header(&f->out, RAW_BINARY, ANNOUNCED);
    raw_bytes_payload(&f->out, payload, COME, 0);
    raw_send_bytes(upgraded(f, "/echo"), &f->out);
    begun = raw_now_ms();
    do { /* while the block moves, there are two of it */
        sleep_ms(2);
        buffered = stats(f).buffered;
    } while ((buffered < COME || buffered > ANNOUNCED + 8 * KIB) &&
             raw_now_ms() - begun < PATIENCE_MS);
    if (buffered < COME || buffered > ANNOUNCED + 8 * KIB)
        fail_msg("%zu bytes are buffered; the log: %s", buffered, f->seen.log);
    free(payload);
}

/* Bytes in the send queues of the server's sockets, as the system tells it. */
static size_t bytes_in_send_queues(uint16_t port)
{
    FILE *file = fopen("/proc/net/tcp", "r");
    char line[256];
    size_t sum = 0;

    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned local, queue;

        if (sscanf(line, "%*d: %*8x:%4x %*8x:%*4x %*2x %8x:", &local, &queue) == 2 && local == port)
            sum += queue;
    }
    fclose(file);
    return sum;
}

/* The kernel's memory is in no limit of ours: a client that does not read must not hold much of
 * it. */
static void slow_reader_holds_little_in_the_kernel(void **state)
{
    enum { SIZE = 50000 };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(SIZE, false);
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    for (size_t i = 0; i < 200; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload, SIZE);
    raw_send_some(c, f->out.data, f->out.len, 200);
    assert_in_range(bytes_in_send_queues(f->port), 1, 300 * KIB);
    free(payload);
}

/* Few sockets may take as much as they can; others get theirs in pieces, and all of it. */
static void many_who_read_get_large_messages(void **state)
{
    enum { SIZE = 2 * MIB };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(SIZE, false);

    start(f, (struct ws_options){.max_memory = 64 * MIB}); /* five of them */
    raw_bytes_frame(&f->out, RAW_BINARY, payload, SIZE);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < CLIENTS; i++) {
            struct raw_client *c = round == 0 ? upgraded(f, "/echo") : &f->clients[i];

            raw_exchange(c, f->out.data, f->out.len);
            raw_expect_frame(c, RAW_BINARY, payload, SIZE);
        }
    free(payload);
}

/* Not an idle gap but a total. */
static void dripping_request_ends_at_the_handshake_timeout(void **state)
{
    static const char *const drips[] = {
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t begun;

    start(f, (struct ws_options){.handshake_timeout_ms = TIMEOUT_MS, .close_timeout_ms = 50});
    for (size_t i = 0; i < COUNT(drips); i++) {
        begun = raw_now_ms();
        expect_drip_ends(client(f, drips[i]), drips[i], begun);
    }
    begun = raw_now_ms();
    c = client(f, "a body that drips");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\n");
    expect_drip_ends(c, "body", begun);
    c = client(f, "nothing at all");
    expect_end(c);
    wait_connections(f, 0);
}

/* What is open has no deadline, and neither has a message in the middle. */
static void handshake_timeout_ends_with_the_handshake(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.handshake_timeout_ms = 1000});
    c = upgraded(f, "/echo");
    raw_send_frame(c, RAW_TEXT_PART, "slow", 4);
    sleep_ms(1200);
    raw_send_frame(c, RAW_CONTINUATION, "poke", 4);
    raw_expect_message(c, "slowpoke");
}

static void close_conn(struct fixture *f, void *arg)
{
    ws_close(f->conn, *(unsigned *)arg, "bye");
}

static void unanswered_close_ends_at_the_close_timeout(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    unsigned code = 1000;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = TIMEOUT_MS});
    c = upgraded(f, "/echo");
    begun = raw_now_ms();
    on_loop(f, close_conn, &code);
    raw_expect_close(c, 1000);
    expect_drip_ends(c, "\x82\xfe\xff\xff a message that never ends", begun);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* A peer that is failed and stays is dropped too. */
static void violator_that_stays_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){.close_timeout_ms = 100});
    c = upgraded(f, "/echo");
    raw_send(c, "\x81\x00", 2);
    raw_expect_closed(c, 1002);
    wait_connections(f, 0);
    c = client(f, "a refused handshake");
    raw_send_text(c, "nonsense\r\n\r\n");
    raw_expect_status(c, &r, 400);
    wait_connections(f, 0);
}

static void silent_peer_is_pinged_and_dropped(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.ping_interval_ms = 50, .ping_timeout_ms = 50});
    c = upgraded(f, "/echo");
    raw_expect_frame(c, RAW_PING, "", 0);
    expect_end(c);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    wait_connections(f, 0);
}

/* Any sign of life will do: a pong, a message, a part of one. */
static void peer_that_answers_its_pings_stays(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.ping_interval_ms = 20, .ping_timeout_ms = PATIENCE_MS});
    c = upgraded(f, "/echo");
    for (int i = 0; i < 5; i++) {
        raw_expect_frame(c, RAW_PING, "", 0);
        raw_send_frame(c, RAW_PONG, "", 0);
    }
    raw_bytes_frame(&f->out, RAW_TEXT, "alive", 5);
    for (size_t i = 0; i < f->out.len; i++) {
        raw_expect_frame(c, RAW_PING, "", 0);
        raw_send(c, f->out.data + i, 1);
    }
    raw_expect_message(c, "alive");
    assert_int_equal(f->seen.closed, 0);
}

/* Talk for longer than the ping interval. False when the machine made us pause for half of it. */
static bool talk(struct raw_client *c, int interval_ms)
{
    int64_t begun = raw_now_ms();
    int64_t last = begun;

    while (raw_now_ms() - begun < interval_ms * 2) {
        if (raw_now_ms() - last > interval_ms / 2)
            return false;
        last = raw_now_ms();
        raw_expect_echo(c, "x"); /* and no ping */
        sleep_ms(5);
    }
    return true;
}

static void peer_that_talks_is_not_pinged(void **state)
{
    struct fixture *f = *state;
    int tries = 0;

    start(f, (struct ws_options){.ping_interval_ms = 500});
    while (!talk(upgraded(f, "/echo"), 500) && ++tries < 10)
        continue;
    if (tries == 10)
        print_message("the machine is too slow to tell\n");
}

static void respond_big(struct ws_conn *c, const struct ws_request *req)
{
    static const char body[8 * MIB];

    (void)req;
    ws_respond(c, 200, NULL, 0, body, sizeof body);
}

static void expect_slowly(struct raw_client *c, size_t n, size_t step, int pause_ms)
{
    static uint8_t sink[256 * KIB];

    while (n > 0) {
        ssize_t got;

        if (!raw_readable_within(c, PATIENCE_MS))
            raw_fail(c, "nothing came: %zu bytes are missing", n);
        got = recv(c->fd, sink, n < step ? n : step, 0);
        if (got <= 0)
            raw_fail(c, "cut off: %zu bytes are missing", n);
        n -= (size_t)got;
        sleep_ms(pause_ms);
    }
}

/* Deadlines are for what the client owes us. While it takes what we owe, there is none. */
static void response_goes_out_as_long_as_the_client_takes_it(void **state)
{
    static const char *const requests[] = {
        "GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /big HTTP/1.1\r\n" HOST "\r\n",
    };
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){.handshake_timeout_ms = 500, .close_timeout_ms = 500},
                  "/big", (struct ws_handlers){.on_request = respond_big});
    for (size_t i = 0; i < COUNT(requests); i++) {
        int rcvbuf = 64 * KIB;

        c = client(f, requests[i]);
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
        raw_send_text(c, requests[i]);
        expect_slowly(c, 8 * MIB, 64 * KIB, 10); /* the head makes it a little more */
    }
    c = slow_client(f, NULL);
    raw_send_text(c, requests[0]); /* and this one takes nothing at all */
    raw_close(&f->clients[0]);
    raw_close(&f->clients[1]);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

static void send_big_and_close(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[8 * MIB];

    (void)data;
    (void)len;
    ws_send(c, op, block, sizeof block);
    ws_close(c, 1000, "that is all");
}

static void what_was_sent_before_a_close_goes_out_as_long_as_the_peer_takes_it(void **state)
{
    struct fixture *f = *state;
    int rcvbuf = 64 * KIB;
    struct raw_client *c;

    start_serving(f, (struct ws_options){.close_timeout_ms = 500}, "/big",
                  (struct ws_handlers){.on_message = send_big_and_close});
    c = upgraded(f, "/big");
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    raw_send_frame(c, RAW_BINARY, "go", 2);
    expect_slowly(c, 10 + 8 * MIB, 64 * KIB, 10); /* a header of 10 bytes and what it announces */
    raw_expect_close(c, 1000);
    c = slow_upgraded(f, "/big"); /* and this one takes nothing at all */
    raw_send_frame(c, RAW_BINARY, "go", 2);
    raw_close(&f->clients[0]);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* A server, and a slow reader that has said something to /block: when it is "" a block comes. */
static struct raw_client *start_block(struct fixture *f, struct ws_options options,
                                      const char *said)
{
    struct raw_client *c;

    start_serving(f, options, "/block", (struct ws_handlers){.on_message = send_block});
    c = slow_upgraded(f, "/block");
    raw_send_frame(c, RAW_BINARY, said, strlen(said));
    wait_until(f, &f->seen.messages, 1, "messages");
    return c;
}

enum { BLOCKS = 8 };

static void send_blocks_and_close(struct fixture *f, void *arg)
{
    for (int i = 0; i < BLOCKS; i++)
        ws_send(f->conn, WS_OP_BINARY, arg, MIB);
    note_result(f, 0, ws_close(f->conn, 1000, "that is all"));
}

/* RFC 6455 §7.1.5: both have said Close, and each has sent data that the other comes to later. */
static void closes_that_cross_lose_no_data(void **state)
{
    struct fixture *f = *state;
    uint8_t *zeros = calloc(1, MIB);
    struct raw_client *c;

    assert_non_null(zeros);
    c = start_block(f, (struct ws_options){0}, "hello");
    on_loop(f, send_blocks_and_close, zeros);
    assert_int_equal(f->seen.result[0], 0);
    raw_send_frame(c, RAW_BINARY_PART, "too late", 8);
    raw_send_close(c, 4001);
    for (int i = 0; i < BLOCKS; i++)
        raw_expect_frame(c, RAW_BINARY, zeros, MIB);
    raw_expect_closed(c, 1000);
    expect_on_close(f, 1, 4001);
    assert_int_equal(f->seen.messages, 1);
    free(zeros);
}

static void answer_of_who_reads_all_before_it_counts(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    c = start_block(f, (struct ws_options){.close_timeout_ms = 2000}, "");
    on_loop(f, close_conn, &(unsigned){1000});
    expect_slowly(c, 10 + MIB, 16 * KIB, 60); /* all of it is in the socket */
    raw_expect_close(c, 1000);
    raw_send_close(c, 1000);
    expect_on_close(f, 1, 1000);
}

/* What is queued for others counts in the memory of all: 50 KB/s are not enough to keep it. */
static void trickle_buys_no_time_for_last_words(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t begun;
    char sink[KIB];

    start_serving(f, (struct ws_options){.close_timeout_ms = 1000}, "/big",
                  (struct ws_handlers){.on_request = respond_big});
    c = slow_client(f, NULL);
    raw_send_text(c, "GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    begun = raw_now_ms();
    if (!raw_readable_within(c, PATIENCE_MS))
        raw_fail(c, "no response");
    while (stats(f).connections != 0) {
        if (raw_now_ms() - begun > PATIENCE_MS)
            raw_fail(c, "still served");
        if (raw_readable_within(c, 0) && recv(c->fd, sink, sizeof sink, 0) <= 0)
            break;
        sleep_ms(20);
    }
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* Socket buffers hold megabytes: a slow reader may make no room in them for longer than the
 * timeout. */
static void slow_reader_is_not_taken_for_a_silent_one(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(8 * MIB, false);
    struct raw_client *c;

    start(f, (struct ws_options){.ping_interval_ms = 1000, .ping_timeout_ms = 1000});
    c = unconnected(f);
    raw_connect(c, f->port);
    raw_upgrade(c, "/echo");
    raw_bytes_frame(&f->out, RAW_BINARY, payload, 8 * MIB);
    raw_send_bytes(c, &f->out);
    expect_slowly(c, 3 * MIB, 16 * KIB, 20);
    expect_slowly(c, 5 * MIB, 256 * KIB, 0);
    assert_int_equal(f->seen.closed, 0);
    free(payload);
}

/* Nor one for whom the kernel has taken everything: the ping waits in its buffer, behind what the
 * peer has yet to read. */
static void peer_that_empties_a_socket_buffer_is_not_taken_for_a_silent_one(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    c = start_block(f, (struct ws_options){.ping_interval_ms = 200, .ping_timeout_ms = 2000}, "");
    on_loop(f, note_queued, NULL);
    if (f->seen.result[0] != 0)
        print_message("%d bytes are not in the socket\n", f->seen.result[0]);
    expect_slowly(c, MIB, 8 * KIB, 40);
    assert_int_equal(f->seen.closed, 0);
}

/* Its kernel takes what others send, but nobody answers the ping. */
static void hung_peer_is_dropped_though_others_speak_to_it(void **state)
{
    struct fixture *f = *state;
    struct publication p = {
        .room = ws_str("room"), .data = (const uint8_t *)"news", .len = 4, .recipients = 1};
    int64_t begun = raw_now_ms();

    start_serving(f, (struct ws_options){.ping_interval_ms = 50, .ping_timeout_ms = 50}, "/room",
                  (struct ws_handlers){.on_open = join_room});
    upgraded(f, "/room");
    wait_until(f, &f->seen.opened, 1, "calls of on_open");
    while (p.recipients == 1) {
        if (raw_now_ms() - begun > PATIENCE_MS)
            raw_fail(&f->clients[0], "still open");
        on_loop(f, publish, &p);
        sleep_ms(5);
    }
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
}

static void ping_interval_uint_max_never_pings(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.ping_interval_ms = UINT32_MAX, .ping_timeout_ms = 10});
    c = upgraded(f, "/echo");
    if (raw_readable_within(c, 100))
        raw_fail(c, "something came");
}

#include "tests/test_conn.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
