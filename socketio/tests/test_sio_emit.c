/* SPDX-License-Identifier: MIT
 *
 * Events that the application emits, and acknowledgements both ways. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- emitting --------------------------------------------------------------------------------- */

static void emit_all_forms(struct sio_fixture *x, void *arg)
{
    const struct ws_str attachments[] = {{"\1\2", 2}, {NULL, 0}};
    struct json_writer w = {0};

    (void)arg;
    sio_emit(x->socket, "none", (struct sio_args){0});
    sio_emit(x->socket, "\"quoted\"\n", sio_args(" \t"));
    sio_emit(x->socket, NULL, sio_args("\"first\",1"));
    sio_emit(x->socket, NULL, sio_args("7"));
    json_write_string(&w, "two", 3);
    sio_write_binary(&w, 1);
    json_begin_array(&w);
    sio_write_binary(&w, 0);
    json_end_array(&w);
    sio_emit(x->socket, "binary",
             (struct sio_args){
                 .list = json_written(&w), .attachments = attachments, .attachment_count = 2});
    json_writer_release(&w);
    sio_emit(x->socket, "last", sio_args("1, 2"));
}

static void events_are_written_as_the_reference_does(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    on_sio(x, emit_all_forms, NULL);
    raw_expect_message(c, "42[\"none\"]");
    raw_expect_message(c, "42[\"\\\"quoted\\\"\\n\"]");
    raw_expect_message(c, "42[\"first\",1]");
    raw_expect_message(c, "42[7]");
    raw_expect_message(c, "452-[\"binary\",\"two\",{\"_placeholder\":true,\"num\":1},"
                          "[{\"_placeholder\":true,\"num\":0}]]");
    expect_binary(c, "\1\2", 2);
    expect_binary(c, "", 0);
    raw_expect_message(c, "42[\"last\",1, 2]");
}

static void emit_what_is_not_legal(struct sio_fixture *x, void *arg)
{
    const struct ws_str attachments[11] = {{"", 0}};
    const struct sio_target all = {.nsp = x->main};
    struct sio_args no_such = sio_args("{\"_placeholder\":true,\"num\":1}");
    struct sio_args many = sio_args("");
    struct json_writer failed = {.failed = true};
    struct sio_socket *s = x->socket;
    int *result = arg;

    no_such.attachments = many.attachments = attachments;
    no_such.attachment_count = 1;
    many.attachment_count = 11;
    result[0] = sio_emit(s, "a", sio_args("1,"));
    result[1] = sio_emit(s, "a", sio_args("\"\xff\""));
    result[2] = sio_emit(s, "disconnect", sio_args(""));
    result[3] = sio_emit(s, NULL, sio_args("\"connect\""));
    result[4] = sio_emit(s, NULL, sio_args(""));
    result[5] = sio_emit(s, NULL, sio_args("null"));
    result[6] = sio_emit(s, "a", no_such);
    result[7] = sio_emit(s, "a", many);
    result[8] = sio_emit_volatile(s, "a", sio_args("{"));
    result[9] = (int)sio_publish(&all, "newListener", sio_args(""));
    result[10] = sio_request(s, "a", sio_args("]"), 0, NULL, NULL);
    result[11] = (int)sio_request_all(&all, "a", sio_args("]"), 1000, NULL, NULL);
    result[12] = (int)sio_request_all(&all, "a", sio_args(""), 0, NULL, NULL);
    result[13] = sio_emit(s, "a", sio_args_written(&failed));
    result[14] = sio_answer(&(struct sio_ack){0}, sio_args(""));
}

static void what_clients_could_not_read_is_not_sent(void **state)
{
    struct sio_fixture *x = *state;
    int result[15];
    struct raw_client *c = start_client(x);

    on_sio(x, emit_what_is_not_legal, result);
    for (size_t i = 0; i < 14; i++)
        if (result[i] != WS_ERR_INVALID)
            fail_msg("number %zu: %d", i, result[i]);
    assert_int_equal(result[14], WS_ERR_CLOSED);
    expect_silence(c);
}

/* What came with the event in hand is not checked again; a part of it is no list. */
static void emit_what_came(struct sio_socket *s, const struct sio_event *e)
{
    const struct ws_str attachment = {"", 0};
    struct sio_args half = e->args;
    struct sio_args all = e->all;
    struct sio_args with_attachment = e->args;

    half.list.len--;
    all.list.len--;
    with_attachment.attachments = &attachment;
    with_attachment.attachment_count = 1;
    assert_int_equal(sio_emit(s, "a", half), WS_ERR_INVALID);
    assert_int_equal(sio_emit(s, NULL, all), WS_ERR_INVALID);
    assert_int_equal(sio_emit(s, "a", with_attachment), WS_ERR_INVALID);
    assert_int_equal(sio_emit(s, "disconnect", e->args), WS_ERR_INVALID);
    assert_int_equal(sio_emit(s, "again", e->args), WS_SENT);
    assert_int_equal(sio_emit(s, NULL, e->all), WS_SENT);
}

static void parts_of_what_came_are_checked_like_all_else(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){0}, (struct sio_handlers){.on_event = emit_what_came});
    c = sio_client(x, NULL);
    raw_send_message(c, "42[\"b\",{\"_placeholder\":true,\"num\":1}]");
    raw_expect_message(c, "42[\"again\",{\"_placeholder\":true,\"num\":1}]");
    raw_expect_message(c, "42[\"b\",{\"_placeholder\":true,\"num\":1}]");
}

static void emit_volatile(struct sio_fixture *x, void *arg)
{
    int *result = arg;

    result[0] = sio_emit_volatile(x->socket, "first", sio_args(""));
    result[1] = sio_emit_volatile(x->socket, "second", sio_args(""));
    result[2] = sio_emit(x->socket, "third", sio_args(""));
    result[3] = sio_emit_volatile(x->socket, "fourth", sio_args(""));
    result[4] = (int)sio_publish(&(struct sio_target){.nsp = x->main, .is_volatile = true}, "fifth",
                                 sio_args(""));
}

static void volatile_events_are_dropped_while_others_wait(void **state)
{
    static const int expected[] = {WS_SENT, EIO_DROPPED, WS_SENT, EIO_DROPPED, 0};
    struct sio_fixture *x = *state;
    int result[5];
    struct raw_client *c = start_client(x);

    for (int round = 0; round < 2; round++) { /* after a turn of the loop it is as before */
        on_sio(x, emit_volatile, result);
        for (size_t i = 0; i < COUNT(expected); i++)
            assert_int_equal(result[i], expected[i]);
        raw_expect_message(c, "42[\"first\"]");
        raw_expect_message(c, "42[\"third\"]");
        expect_silence(c);
    }
}

static void emit_binary_volatile(struct sio_fixture *x, void *arg)
{
    const struct ws_str attachments[] = {{"a", 1}, {"b", 1}};

    *(int *)arg = sio_emit_volatile(
        x->socket, "v",
        (struct sio_args){.attachments = attachments, .attachment_count = COUNT(attachments)});
}

static void parts_of_a_volatile_event_stay_together(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *c = start_client(x);

    on_sio(x, emit_binary_volatile, &result);
    assert_int_equal(result, WS_SENT);
    raw_expect_message(c, "452-[\"v\"]");
    expect_binary(c, "a", 1);
    expect_binary(c, "b", 1);
}

static void emit_3000(struct sio_fixture *x, void *arg)
{
    char list[3000];

    memset(list, '1', 2999);
    list[2999] = '\0';
    *(int *)arg = sio_emit(x->socket, "a", sio_args(list));
}

static void leave_polling(struct raw_client *c, const char *sid)
{
    expect_post(c, sid, "1");
}

static void count_socket_drain(struct sio_socket *s)
{
    struct sio_fixture *x = fixture_of(s);

    count(x->f, &x->f->seen.drained);
}

#define NUMBER_OF_10  "1234567890"
#define NUMBER_OF_50  NUMBER_OF_10 NUMBER_OF_10 NUMBER_OF_10 NUMBER_OF_10 NUMBER_OF_10
#define NUMBER_OF_100 NUMBER_OF_50 NUMBER_OF_50

static void emit_event(struct sio_fixture *x, void *arg)
{
    *(int *)arg = sio_emit(x->socket, "event", sio_args(NUMBER_OF_10));
}

static void emit_long_event(struct sio_fixture *x, void *arg)
{
    *(int *)arg = sio_emit(x->socket, "long", sio_args(NUMBER_OF_100));
}

static void nothing(struct sio_fixture *x, void *arg)
{
    (void)x;
    (void)arg;
}

/* What was emitted has been settled by then, and nobody has been told but who should be. */
static void expect_drained(struct sio_fixture *x, int n)
{
    on_sio(x, nothing, NULL);
    on_sio(x, nothing, NULL);
    assert_int_equal(read_counter(x->f, &x->f->seen.drained), n);
}

/* Let everybody in but who says {"wait":true}. */
static void keep_some_waiting(struct sio_socket *s, struct ws_str auth)
{
    if (json_member(auth, "wait").data == NULL)
        sio_accept(s);
}

static void who_waits_for_a_slow_client_is_told_when_it_has_read(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    int result;

    sio_start(x, (struct sio_options){.engine.high_water = 100},
              (struct sio_handlers){.on_drain = count_socket_drain});
    c = sio_polling_client(x, sid);
    on_sio(x, emit_event, &result);
    assert_int_equal(result, WS_SENT);
    expect_poll(c, sid, "42[\"event\"," NUMBER_OF_10 "]");
    expect_drained(x, 0); /* nobody waited */
    on_sio(x, emit_long_event, &result);
    assert_int_equal(result, WS_QUEUED);
    expect_drained(x, 0); /* it has not read */
    expect_poll(c, sid, "42[\"long\"," NUMBER_OF_100 "]");
    wait_until(x->f, &x->f->seen.drained, 1, "calls of on_drain");
    on_sio(x, emit_event, &result);
    expect_poll(c, sid, "42[\"event\"," NUMBER_OF_10 "]");
    expect_drained(x, 1); /* once */
    leave_polling(c, sid);
}

static void all_connected_sockets_of_a_slow_client_are_told(void **state)
{
    static const struct {
        const char *enter;
        const char *answer; /* the beginning of it; NULL: none comes */
        int told;
    } cases[] = {{"40/custom,", "40/custom,", 2}, {"40/custom,{\"wait\":true}", NULL, 1}};
    struct sio_fixture *x = *state;
    struct raw_response r;
    int told = 0;

    sio_start(x, (struct sio_options){.engine.high_water = 100},
              (struct sio_handlers){.on_drain = count_socket_drain, .on_auth = keep_some_waiting});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = client(x->f, cases[i].enter);
        char sid[EIO_ID_SIZE];
        int result;

        sio_enter_polling(c, sid);
        expect_post(c, sid, cases[i].enter);
        if (cases[i].answer != NULL) {
            get(c, sid);
            raw_expect_status(c, &r, 200);
            assert_memory_equal(r.body, cases[i].answer, strlen(cases[i].answer));
        }
        on_sio(x, emit_long_event, &result);
        assert_int_equal(result, WS_QUEUED);
        get(c, sid);
        raw_expect_status(c, &r, 200);
        told += cases[i].told;
        wait_until(x->f, &x->f->seen.drained, told, "calls of on_drain");
        expect_drained(x, told);
        leave_polling(c, sid);
    }
}

/* The application is told; the client is not cut off, since it missed only what was not sent. */
static void output_of_a_client_that_does_not_read_is_bounded(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];
    int result;

    sio_start(x, (struct sio_options){.engine.max_output = 10000}, (struct sio_handlers){0});
    c = sio_polling_client(x, sid);
    for (int i = 0; i < 4; i++) /* in turns of their own */
        on_sio(x, emit_3000, &result);
    assert_int_equal(result, WS_ERR_FULL);
    get(c, sid);
    raw_expect_status(c, &(struct raw_response){0}, 200);
    leave_polling(c, sid);
}

static void emit_big_part(struct sio_fixture *x, void *arg)
{
    static const char big[20000];
    const struct ws_str part = {big, sizeof big};
    struct sio_args args = sio_args("{\"_placeholder\":true,\"num\":0}");

    args.attachments = &part;
    args.attachment_count = 1;
    *(int *)arg = sio_emit(x->socket, "a", args);
}

/* Behind what waits already. The client will have the text, and would wait for the rest. */
static void a_part_that_does_not_fit_ends_the_connection(void **state)
{
    struct sio_fixture *x = *state;
    char sid[EIO_ID_SIZE];
    int result;

    sio_start(x, (struct sio_options){.engine.max_output = 10000}, (struct sio_handlers){0});
    sio_polling_client(x, sid);
    on_sio(x, emit_3000, &result);
    assert_int_equal(result, WS_SENT);
    on_sio(x, emit_big_part, &result);
    assert_int_equal(result, WS_ERR_FULL);
    expect_disconnect(x, 1, "forced server close");
}

static void flood_all(struct sio_fixture *x, void *arg)
{
    char list[3000];

    memset(list, '1', 2999);
    list[2999] = '\0';
    *(int *)arg = (int)sio_emit_all(x->main, "a", sio_args(list));
}

static void a_broadcast_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *slow;
    char sid[EIO_ID_SIZE];
    int result[4];

    sio_start(x, (struct sio_options){.engine.max_output = 10000}, (struct sio_handlers){0});
    slow = sio_polling_client(x, sid);
    for (int i = 0; i < 4; i++)
        on_sio(x, flood_all, &result[i]);
    assert_int_equal(result[2], 1);
    assert_int_equal(result[3], 0); /* it was over the limit */
    expect_disconnect(x, 1, "forced server close");
    get(slow, sid); /* nor is it waited for afterwards */
    raw_expect_status(slow, &(struct raw_response){0}, 400);
}

static void emit_43000_to_all(struct sio_fixture *x, void *arg)
{
    enum { LEN = 43000 };
    char *list = malloc(LEN + 1);

    memset(list, '1', LEN);
    list[LEN] = '\0';
    *(int *)arg = (int)sio_emit_all(x->main, "a", sio_args(list));
    free(list);
}

/* Idle clients on polling hold one copy of what was sent to all, not one each. */
static void a_broadcast_is_held_once_for_all_who_poll_late(void **state)
{
    enum { SESSIONS = 200, LEN = 43000 };
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_response r;
    char sids[SESSIONS][EIO_ID_SIZE];
    size_t before;
    int result;

    start_plain(x);
    c = client(x->f, "polling");
    for (size_t i = 0; i < SESSIONS; i++)
        sio_enter_polling(c, sids[i]);
    before = stats(x->f).buffered;
    for (int i = 0; i < 3; i++) {
        on_sio(x, emit_43000_to_all, &result);
        assert_int_equal(result, SESSIONS);
    }
    assert_in_range(stats(x->f).buffered - before, 3 * LEN, 3 * LEN + SESSIONS * 1000);
    for (size_t i = 0; i < SESSIONS; i++) {
        get(c, sids[i]);
        raw_expect_status(c, &r, 200);
        assert_int_equal(r.body_len, 3 * (LEN + strlen("42[\"a\",]")) + 2);
        assert_memory_equal(r.body, "42[\"a\",111", 10);
        leave_polling(c, sids[i]);
    }
    assert_true(stats(x->f).buffered < before);
}

static void emit_without_memory(struct sio_fixture *x, void *arg)
{
    (void)arg;
    use_up_memory(x->f, x->max_memory, 3000);
    emit_43000_to_all(x, &x->f->seen.result[0]);
    give_back_memory(x->f);
    emit_43000_to_all(x, &x->f->seen.result[1]);
}

/* An event that cannot be encoded is an error of who emits it: nobody gets it, and nobody who was
 * to get it is cut off. */
static void an_event_without_memory_ends_no_recipient(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *polling;
    struct raw_client *c;
    struct raw_response r;
    struct raw_frame frame;
    char sid[EIO_ID_SIZE];

    x->max_memory = 1 * MIB;
    start_plain(x);
    polling = sio_polling_client(x, sid);
    c = sio_client(x, NULL);
    on_sio(x, emit_without_memory, NULL);
    assert_int_equal(x->f->seen.result[0], WS_ERR_NOMEM);
    assert_int_equal(x->f->seen.result[1], 2);
    raw_read_frame(c, &frame);
    assert_int_equal(frame.len, 43000 + strlen("42[\"a\",]"));
    get(polling, sid);
    raw_expect_status(polling, &r, 200);
    assert_int_equal(r.body_len, frame.len);
    expect_silence(c);
    leave_polling(polling, sid);
}

/* One on polling, one that wants base64, one on a WebSocket: the same event in three encodings. */
static void broadcasts_reach_every_transport(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *polling;
    struct raw_client *text;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    start_plain(x);
    polling = sio_polling_client(x, sid);
    text = open_websocket(x->e, "&b64=1");
    sio_enter(text, "/", "", NULL);
    c = sio_client(x, NULL);
    raw_send_message(c, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c, RAW_BINARY, "\1\2\3\4", 4);
    raw_expect_message(c, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]");
    expect_binary(c, "\1\2\3\4", 4);
    raw_expect_message(text, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]");
    raw_expect_message(text, "bAQIDBA==");
    expect_poll(polling, sid, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]" RS "bAQIDBA==");
    leave_polling(polling, sid);
}

/* --- acknowledging ---------------------------------------------------------------------------- */

static void answer_twice(struct sio_fixture *x, void *arg)
{
    int *result = arg;

    result[0] = sio_answer(&x->ack, sio_args("1,\"two\""));
    result[1] = sio_answer(&x->ack, sio_args("again"));
}

static void an_event_may_be_acknowledged_later_and_once(void **state)
{
    struct sio_fixture *x = *state;
    int result[2];
    struct raw_client *c = start_client(x);

    raw_send_message(c, "4299[\"later\"]");
    expect_silence(c);
    on_sio(x, answer_twice, result);
    assert_int_equal(result[0], WS_SENT);
    assert_int_equal(result[1], WS_ERR_CLOSED);
    raw_expect_message(c, "4399[1,\"two\"]");
    expect_silence(c);
}

static void answer_with_half_a_list(struct sio_fixture *x, void *arg)
{
    int *result = arg;

    result[0] = sio_answer(&x->ack, sio_args("1,"));
    result[1] = sio_answer(&x->ack, sio_args("1"));
}

static void an_acknowledgement_that_is_no_list_is_not_sent(void **state)
{
    struct sio_fixture *x = *state;
    int result[2];
    struct raw_client *c = start_client(x);

    raw_send_message(c, "4299[\"later\"]");
    expect_silence(c);
    on_sio(x, answer_with_half_a_list, result);
    assert_int_equal(result[0], WS_ERR_INVALID);
    assert_int_equal(result[1], WS_ERR_CLOSED); /* it is used up */
    expect_silence(c);
}

static void an_acknowledgement_for_a_socket_that_ended_goes_nowhere(void **state)
{
    struct sio_fixture *x = *state;
    int result[2];
    struct raw_client *c = start_client(x);

    raw_send_message(c, "4299[\"later\"]");
    raw_send_message(c, "41");
    sio_enter(c, "/", "", NULL);
    on_sio(x, answer_twice, result);
    assert_int_equal(result[0], WS_ERR_CLOSED);
    expect_silence(c);
}

/* --- asking for acknowledgements -------------------------------------------------------------- */

static void note_reply(void *arg, const struct sio_reply *reply)
{
    struct sio_fixture *x = arg;
    char text[128];
    int len = snprintf(text, sizeof text, "%d %s %.*s %zu/%zu %zu;", reply->error,
                       reply->socket != NULL ? "socket" : "end", (int)reply->args.list.len,
                       reply->args.list.data == NULL ? "" : reply->args.list.data, reply->received,
                       reply->expected, reply->args.attachment_count);

    note_text(x->f, text, (size_t)len);
    count(x->f, &x->f->seen.ran);
}

static void request_soon(struct sio_fixture *x, void *arg)
{
    *(int *)arg = sio_request(x->socket, "ask", sio_args("1"), 50, note_reply, x);
}

static void request_whenever(struct sio_fixture *x, void *arg)
{
    *(int *)arg = sio_request(x->socket, "ask", sio_args("1"), 0, note_reply, x);
}

static void expect_replies(struct sio_fixture *x, int n, const char *text)
{
    wait_until(x->f, &x->f->seen.ran, n, "replies");
    lock(x->f);
    assert_string_equal(x->f->seen.text, text);
    unlock(x->f);
}

static void clients_acknowledge(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *c = start_client(x);

    on_sio(x, request_whenever, &result);
    on_sio(x, request_whenever, &result);
    assert_int_equal(result, WS_SENT);
    raw_expect_message(c, "420[\"ask\",1]");
    raw_expect_message(c, "421[\"ask\",1]");
    raw_send_message(c, "431[\"b\",2]");
    raw_send_message(c, "431[\"again\"]");
    raw_send_message(c, "437[\"unasked\"]");
    raw_send_message(c, "461-0[{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c, RAW_BINARY, "x", 1);
    expect_silence(c);
    expect_replies(x, 2,
                   "0 socket \"b\",2 1/1 0;0 socket {\"_placeholder\":true,\"num\":0} 1/1 1;");
}

static void an_acknowledgement_may_be_missing_in_time(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *c = start_client(x);

    on_sio(x, request_soon, &result);
    raw_expect_message(c, "420[\"ask\",1]");
    expect_replies(x, 1, "-16 socket  0/1 0;");
    raw_send_message(c, "430[\"late\"]");
    expect_silence(c);
    expect_replies(x, 1, "-16 socket  0/1 0;");
}

static void who_waits_for_a_socket_that_ends_is_told(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *c = start_client(x);

    on_sio(x, request_whenever, &result);
    raw_send_message(c, "41");
    expect_replies(x, 1, "-1 socket  0/1 0;");
}

static void acknowledgements_owed_are_bounded(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    int result;

    sio_start(x, (struct sio_options){.max_acks = 1}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    on_sio(x, request_whenever, &result);
    assert_int_equal(result, WS_SENT);
    on_sio(x, request_whenever, &result);
    assert_int_equal(result, WS_ERR_FULL);
    raw_expect_message(c, "420[\"ask\",1]");
    raw_send_message(c, "430[]");
    expect_silence(c);
    on_sio(x, request_whenever, &result);
    assert_int_equal(result, WS_SENT);
}

static void request_all(struct sio_fixture *x, void *arg)
{
    *(int *)arg = (int)sio_request_all(&(struct sio_target){.nsp = x->main}, "ask", sio_args(""),
                                       60000, note_reply, x);
}

static void request_all_soon(struct sio_fixture *x, void *arg)
{
    *(int *)arg = (int)sio_request_all(&(struct sio_target){.nsp = x->main}, "ask", sio_args(""),
                                       3000, note_reply, x);
}

static void a_broadcast_gathers_acknowledgements(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *a = start_client(x);
    struct raw_client *b = sio_client(x, NULL);

    on_sio(x, request_all, &result);
    assert_int_equal(result, 2);
    raw_expect_message(a, "420[\"ask\"]"); /* one id for all */
    raw_expect_message(b, "420[\"ask\"]");
    raw_send_message(b, "430[\"b\"]");
    expect_silence(b);
    raw_send_message(a, "430[\"a\",1]");
    expect_replies(x, 3, "0 socket \"b\" 1/2 0;0 socket \"a\",1 2/2 0;0 end  2/2 0;");
}

static void a_gathering_broadcast_ends_in_time(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *a = start_client(x);

    sio_client(x, NULL);
    raw_reset(sio_client(x, NULL));
    expect_disconnect(x, 1, "transport close");
    on_sio(x, request_all_soon, &result);
    assert_int_equal(result, 2);
    raw_expect_message(a, "420[\"ask\"]");
    raw_send_message(a, "430[1]");
    expect_replies(x, 2, "0 socket 1 1/2 0;-16 end  1/2 0;");
}

static void a_gathering_broadcast_ends_when_nobody_is_left_to_answer(void **state)
{
    struct sio_fixture *x = *state;
    int result;
    struct raw_client *a = start_client(x);
    struct raw_client *b = sio_client(x, NULL);

    on_sio(x, request_all, &result);
    raw_expect_message(a, "420[\"ask\"]");
    raw_send_message(b, "41");
    raw_send_message(a, "430[1]");
    wait_until(x->f, &x->f->seen.ran, 2, "replies");
    assert_non_null(strstr(x->f->seen.text, "-1 end  1/2 0;"));
}

static void a_broadcast_to_nobody_ends_at_once(void **state)
{
    struct sio_fixture *x = *state;
    int result;

    start_plain(x);
    on_sio(x, request_all, &result);
    assert_int_equal(result, 0);
    expect_replies(x, 1, "0 end  0/0 0;");
}

static void a_server_may_be_freed_while_it_gathers(void **state)
{
    struct sio_fixture *x = *state;
    int result;

    start_client(x);
    on_sio(x, request_whenever, &result);
    on_sio(x, request_all, &result);
    stop_now(x->f);
    sio_free_servers(x);
    assert_string_equal(x->f->seen.text, "-1 end  0/1 0;-1 socket  0/1 0;");
}

static void binary_argument_is_the_attachment_that_it_names(void **state)
{
    static const struct ws_str attachments[] = {{"1234", 4}, {"56", 2}};
    const struct sio_args args = {.attachments = attachments, .attachment_count = 2};

    (void)state;
    assert_true(ws_str_is(sio_binary(&args, ws_str("{\"_placeholder\":true,\"num\":1}")), "56"));
    assert_null(sio_binary(&args, ws_str("{\"_placeholder\":true,\"num\":2}")).data);
    assert_null(sio_binary(&args, ws_str("{\"num\":1}")).data);
}

static void namespace_knows_its_user_and_the_server_what_it_is_on(void **state)
{
    struct sio_fixture *x = *state;

    sio_start(x, (struct sio_options){0}, (struct sio_handlers){.user = x});
    assert_ptr_equal(sio_namespace_user(x->main), x);
    assert_ptr_equal(sio_ws_server(x->io), x->f->server);
}

#include "socketio/tests/test_sio_emit.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
