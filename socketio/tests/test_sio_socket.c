/* SPDX-License-Identifier: MIT
 *
 * The life of a socket: let in or refused, now or later; ended by either side, and for which
 * reason. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

/* --- on_auth ---------------------------------------------------------------------------------- */

/* {"answer":"yes"}, "no", "no data", "odd" (data that is not JSON), or nothing yet. */
static void judge(struct sio_socket *s, struct ws_str auth)
{
    struct sio_fixture *x = fixture_of(s);
    struct ws_str answer = json_member(auth, "answer");

    x->socket = s;
    sio_join(s, "early");
    if (json_string_is(answer, "yes"))
        note_result(x->f, 0, sio_accept(s));
    else if (json_string_is(answer, "no"))
        note_result(x->f, 0, sio_refuse(s, "not you", ws_str("{\"code\":1}")));
    else if (json_string_is(answer, "no data"))
        note_result(x->f, 0, sio_refuse(s, "\"quoted\"", (struct ws_str){NULL, 0}));
    else if (json_string_is(answer, "odd"))
        note_result(x->f, 0, sio_refuse(s, "odd", ws_str("{")));
    note_result(x->f, 1, sio_emit(s, "early", sio_args("")));
    count(x->f, &x->f->seen.requests);
}

static void count_abort(struct sio_socket *s)
{
    struct sio_fixture *x = fixture_of(s);

    x->socket = NULL;
    count(x->f, &x->f->seen.aborted);
}

static void emit_auth(struct sio_socket *s, struct ws_str auth)
{
    sio_count_connect(s, auth);
    sio_emit(s, "auth", (struct sio_args){.list = auth});
}

static const struct sio_handlers judging = {
    .on_auth = judge, .on_abort = count_abort, .on_connect = emit_auth};

static void accept_it(struct sio_fixture *x, void *arg)
{
    int *results = arg;

    results[0] = sio_accept(x->socket);
    results[1] = sio_accept(x->socket);
}

static struct raw_client *start_judging(struct sio_fixture *x)
{
    sio_start(x, (struct sio_options){0}, judging);
    return sio_open(x);
}

/* Send a CONNECT, and wait until the application has been asked `n` times. */
static void ask_to_connect(struct sio_fixture *x, struct raw_client *c, const char *packet, int n)
{
    raw_send_message(c, packet);
    wait_until(x->f, &x->f->seen.requests, n, "requests to connect");
}

/* Let in who asked last. */
static void let_in(struct sio_fixture *x)
{
    int results[2];

    on_sio(x, accept_it, results);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], WS_ERR_CLOSED);
}

/* The answer to a CONNECT with `auth`, and the event of on_connect. */
static void expect_let_in(struct raw_client *c, const char *auth)
{
    char text[64];

    raw_read_frame(c, &(struct raw_frame){0});
    snprintf(text, sizeof text, "42[\"auth\",%s]", auth);
    raw_expect_message(c, text);
}

static void a_socket_may_be_let_in_at_once(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    sio_enter(c, "/", "{\"answer\":\"yes\"}", NULL);
    raw_expect_message(c, "42[\"auth\",{\"answer\":\"yes\"}]");
    assert_int_equal(x->f->seen.result[1], WS_ERR_CLOSED); /* no events before it is let in */
    expect_silence(c);
    raw_send_message(c, "42[\"to\",\"early\",1]"); /* joined while it waited */
    raw_expect_message(c, "42[\"to\",1]");
}

static void a_socket_may_be_let_in_later(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    ask_to_connect(x, c, "40{\"token\":\"x\"}", 1);
    let_in(x);
    expect_let_in(c, "{\"token\":\"x\"}");
    expect_silence(c);
}

static void send_away(struct sio_socket *s, struct ws_str auth)
{
    sio_count_connect(s, auth);
    sio_disconnect(s, json_string_is(json_member(auth, "close"), "all"));
}

/* A ban that is known only when the socket is let in: the answer to on_auth comes late, and
 * on_connect ends the socket that is just being settled. */
static void a_socket_let_in_late_may_be_ended_in_on_connect(void **state)
{
    struct sio_fixture *x = *state;
    struct sio_handlers handlers = judging;
    struct raw_client *c;

    handlers.on_connect = send_away;
    sio_start(x, (struct sio_options){0}, handlers);
    c = sio_open(x);
    for (int i = 1; i <= 3; i++) {
        ask_to_connect(x, c, "40", i);
        let_in(x);
        expect_disconnect(x, i, "server namespace disconnect");
        raw_read_frame(c, &(struct raw_frame){0});
        raw_expect_message(c, "41");
    }
    ask_to_connect(x, c, "40{\"close\":\"all\"}", 4);
    let_in(x);
    expect_disconnect(x, 4, "server namespace disconnect");
}

static void a_socket_may_be_refused_with_message_and_data(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    raw_send_message(c, "40{\"answer\":\"no\"}");
    raw_expect_message(c, "44{\"message\":\"not you\",\"data\":{\"code\":1}}");
    raw_send_message(c, "40/custom,{\"answer\":\"no data\"}");
    raw_expect_message(c, "44/custom,{\"message\":\"\\\"quoted\\\"\"}");
    sio_enter(c, "/", "{\"answer\":\"yes\"}", NULL); /* the connection stays, it may try again */
    raw_expect_message(c, "42[\"auth\",{\"answer\":\"yes\"}]");
    raw_send_message(c, "42[\"to\",\"early\",1]");
    raw_expect_message(c, "42[\"to\",1]"); /* one: those who were refused have left the room */
    expect_silence(c);
    assert_int_equal(read_counter(x->f, &x->f->seen.closed), 0);
    assert_int_equal(read_counter(x->f, &x->f->seen.aborted), 0);
}

static void data_of_a_refusal_must_be_json(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    ask_to_connect(x, c, "40{\"answer\":\"odd\"}", 1);
    assert_int_equal(x->f->seen.result[0], WS_ERR_INVALID);
    let_in(x); /* it still waits */
}

static void a_client_that_waits_must_not_send_events(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    raw_send_message(c, "40");
    raw_send_message(c, "42[\"echo\"]");
    expect_closed(c);
    wait_until(x->f, &x->f->seen.aborted, 1, "aborted sockets");
    assert_int_equal(read_counter(x->f, &x->f->seen.closed), 0);
}

/* React's StrictMode calls disconnect() and connect() with each effect. */
static void a_second_connect_ends_the_first_that_waits(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    sio_enter(c, "/custom", "{\"answer\":\"yes\"}", NULL);
    raw_expect_message(c, "42/custom,[\"auth\",{\"answer\":\"yes\"}]");
    ask_to_connect(x, c, "40{\"try\":1}", 2);
    ask_to_connect(x, c, "40{\"try\":2}", 3);
    assert_int_equal(read_counter(x->f, &x->f->seen.aborted), 1);
    let_in(x);                                    /* of the second one: on_abort came first */
    expect_let_in(c, "{\"try\":2}");              /* and nothing of the first one */
    raw_expect_echo(c, "42/custom,[\"echo\",1]"); /* which was disturbed by nothing */
    expect_silence(c);
    assert_int_equal(read_counter(x->f, &x->f->seen.closed), 0);
}

/* The answer to the first CONNECT crosses the second one, and so may what the client sends when it
 * gets that answer. */
static void a_second_connect_may_cross_the_answer_to_the_first(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    ask_to_connect(x, c, "40{\"try\":1}", 1);
    let_in(x);
    expect_let_in(c, "{\"try\":1}");
    raw_send_message(c, "40{\"try\":2}");
    raw_send_message(c, "42[\"echo\",\"for the first\"]");
    raw_send_message(c, "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c, RAW_BINARY, "x", 1);
    expect_disconnect(x, 1, "client namespace disconnect");
    wait_until(x->f, &x->f->seen.requests, 2, "requests to connect");
    let_in(x);
    expect_let_in(c, "{\"try\":2}");
    expect_silence(c);
    raw_send_message(c, "40"); /* it has spoken, so it knows that it is in there */
    expect_closed(c);
}

static void a_client_may_leave_what_followed_a_socket_that_crossed(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    ask_to_connect(x, c, "40{\"try\":1}", 1);
    let_in(x);
    expect_let_in(c, "{\"try\":1}");
    raw_send_message(c, "40{\"try\":2}");
    raw_send_message(c, "41"); /* for the first one, but meant for good */
    wait_until(x->f, &x->f->seen.aborted, 1, "aborted sockets");
    sio_enter(c, "/", "{\"answer\":\"yes\"}", NULL);
    raw_expect_message(c, "42[\"auth\",{\"answer\":\"yes\"}]");
    expect_silence(c);
}

static void a_client_may_go_while_it_waits(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_judging(x);

    ask_to_connect(x, c, "40", 1);
    raw_reset(c);
    wait_until(x->f, &x->f->seen.aborted, 1, "aborted sockets");
    assert_int_equal(read_counter(x->f, &x->f->seen.closed), 0);
}

/* --- the end and its reasons ------------------------------------------------------------------ */

static void server_may_end_one_namespace(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    raw_send_message(c, "42/custom,[\"kick\"]");
    raw_expect_message(c, "41/custom,");
    expect_disconnect(x, 1, "server namespace disconnect");
    expect_silence(c);
    raw_send_message(c, "42[\"kick\"]");
    raw_expect_message(c, "41");
    sio_enter(c, "/", "", NULL); /* in no namespace any more, the connection stayed */
    expect_silence(c);
}

static void server_may_end_the_whole_connection(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    raw_send_message(c, "42[\"close\"]");
    raw_expect_message(c, "41/custom,");
    raw_expect_message(c, "41");
    expect_closed(c);
    expect_disconnect(x, 2, "server namespace disconnect");
}

static void everybody_may_be_disconnected_at_once(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *a = start_client(x);
    struct raw_client *b = sio_client(x, NULL);

    sio_enter(b, "/custom", "", NULL);
    raw_send_message(a, "42[\"kick all\"]");
    raw_expect_message(a, "41");
    raw_expect_message(b, "41");
    expect_disconnect(x, 2, "server namespace disconnect");
    raw_expect_echo(b, "42/custom,[\"echo\"]");
}

static void cut_connections_end_with_transport_close(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    start_plain(x);
    raw_reset(sio_client(x, NULL));
    expect_disconnect(x, 1, "transport close");
    c = sio_client(x, NULL);
    raw_send_close(c, 1000);
    expect_disconnect(x, 2, "transport close");
}

static void broken_transports_end_with_transport_error(void **state)
{
    struct sio_fixture *x = *state;

    start_plain(x);
    raw_send_message(sio_client(x, NULL), "2"); /* pings are the server's to send */
    expect_disconnect(x, 1, "transport error");
}

static void packets_of_no_known_kind_end_with_parse_error(void **state)
{
    struct sio_fixture *x = *state;

    start_plain(x);
    raw_send_message(sio_client(x, NULL), "7");
    expect_disconnect(x, 1, "parse error");
}

static void silent_clients_end_with_ping_timeout(void **state)
{
    struct sio_fixture *x = *state;

    sio_start(x, (struct sio_options){.engine = {.ping_interval_ms = 50, .ping_timeout_ms = 50}},
              (struct sio_handlers){0});
    sio_client(x, NULL);
    expect_disconnect(x, 1, "ping timeout");
}

static void broken_rules_end_with_forced_close(void **state)
{
    struct sio_fixture *x = *state;

    start_plain(x);
    raw_send_message(sio_client(x, NULL), "42[]");
    expect_disconnect(x, 1, "forced close");
}

/* Between two polls nobody can be told at once. */
static void broken_rules_between_polls_end_with_forced_server_close(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    start_plain(x);
    c = open_polling(x->e, sid);
    expect_post(c, sid, "40" RS "42[]");
    expect_disconnect(x, 1, "forced server close");
    get(c, sid);
    raw_expect_status(c, &(struct raw_response){0}, 200); /* the answer to 40 */
    expect_poll(c, sid, "6" RS "1");
}

static void rejoin(struct sio_socket *s, const char *reason)
{
    struct sio_fixture *x = fixture_of(s);
    const char *room = sio_socket_room(s, 0);

    if (room == NULL) {
        sio_count_disconnect(s, reason);
        return;
    }
    note_text(x->f, room, strlen(room));
    note_result(x->f, 0, sio_join(s, "too late"));
    note_result(x->f, 1, sio_emit(s, "too late", sio_args("")));
    note_result(x->f, 2, sio_is_connected(s));
    note_result(x->f, 3, (int)sio_broadcast(s, "bye", sio_args("")));
    note_result(x->f, 4, sio_find(x->io, sio_socket_id(s)) != NULL);
    sio_disconnect(s, false);
    sio_count_disconnect(s, reason);
}

static void on_disconnect_still_sees_the_rooms_and_may_say_goodbye(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *a;
    struct raw_client *b;

    sio_start(x, (struct sio_options){0}, (struct sio_handlers){.on_disconnect = rejoin});
    a = sio_client(x, NULL);
    b = sio_client(x, NULL);
    order(a, "[\"join\",\"r\"]");
    raw_send_message(a, "41");
    raw_expect_message(b, "42[\"bye\"]");
    wait_until(x->f, &x->f->seen.closed, 1, "disconnected sockets");
    assert_string_equal(x->f->seen.text, "r");
    assert_int_equal(x->f->seen.result[0], WS_ERR_CLOSED);
    assert_int_equal(x->f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(x->f->seen.result[2], false);
    assert_int_equal(x->f->seen.result[3], 1);
    assert_int_equal(x->f->seen.result[4], false);
    b->label = "whoever is left"; /* closing in on_disconnect did not matter */
    expect_silence(b);
}

static void keep_number(struct sio_socket *s, struct ws_str auth)
{
    sio_set_data(s, malloc(1));
    sio_count_connect(s, auth);
}

static void free_number(struct sio_namespace *n, void *data)
{
    struct sio_fixture *x = sio_user(sio_namespace_server(n));

    free(data);
    count(x->f, &x->f->seen.ran);
}

static void data_comes_back_to_be_freed(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){0},
              (struct sio_handlers){.on_connect = keep_number, .on_forget = free_number});
    c = sio_client(x, NULL);
    raw_send_message(c, "41");
    wait_until(x->f, &x->f->seen.ran, 1, "data to free");
    raw_reset(sio_client(x, NULL));
    wait_until(x->f, &x->f->seen.ran, 2, "data to free");
}

/* --- what is known of a socket ---------------------------------------------------------------- */

static void tell_all(struct sio_socket *s, struct ws_str auth)
{
    struct json_writer w = {0};
    struct ws_str header = sio_socket_header(s, "x-who");
    struct ws_str empty = sio_socket_header(s, "X-Empty");
    struct ws_str missing = sio_socket_header(s, "X-Missing");
    struct ws_str unkept = sio_socket_header(s, "Host");
    char token[16];

    eio_query_get(sio_socket_query(s), "token", token, sizeof token);
    json_write_string(&w, token, strlen(token));
    json_write_string(&w, sio_socket_address(s), strlen("127.0.0.1:"));
    json_write_string(&w, header.data, header.len);
    json_write_bool(&w, empty.data != NULL && empty.len == 0);
    json_write_bool(&w, missing.data == NULL && unkept.data == NULL);
    json_write_bool(&w, sio_find(fixture_of(s)->io, sio_socket_id(s)) == s);
    json_write_bool(&w, eio_is_open(sio_socket_session(s)));
    sio_emit(s, "all", sio_args_written(&w));
    json_writer_release(&w);
    sio_count_connect(s, auth);
}

static void a_socket_knows_its_handshake(void **state)
{
    static const char *const kept[] = {"X-Missing", "X-Who", "X-Empty", NULL};
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_bytes b = {0};
    struct raw_response r;

    sio_start(x, (struct sio_options){.keep_headers = kept},
              (struct sio_handlers){.on_connect = tell_all});
    c = client(x->f, "headers");
    raw_bytes_upgrade(&b, "/engine.io/?EIO=4&transport=websocket&token=a%20b",
                      "X-Who: me\r\nX-Empty:\r\n");
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
    raw_expect_upgraded(c, &r);
    raw_read_frame(c, &(struct raw_frame){0});
    sio_enter(c, "/", "", NULL);
    raw_expect_message(c, "42[\"all\",\"a b\",\"127.0.0.1:\",\"me\",true,true,true,true]");
}

static const char *only_friends(struct sio_server *io, const struct eio_handshake *h)
{
    struct sio_fixture *x = sio_user(io);
    char token[16];

    count(x->f, &x->f->seen.requests);
    return eio_query_get(ws_request_query(h->request), "token", token, sizeof token) < 0
               ? "who are you?"
               : NULL;
}

static void on_handshake_may_refuse_connections(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){.on_handshake = only_friends}, (struct sio_handlers){0});
    c = client(x->f, "stranger");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 403, "{\"code\":4,\"message\":\"who are you?\"}");
    c = open_websocket(x->e, "&token=x");
    sio_enter(c, "/", "", NULL);
    expect_silence(c);
}

static void walk(struct sio_fixture *x, void *arg)
{
    size_t *counts = arg;

    for (struct sio_socket *s = sio_first(x->main); s != NULL; s = sio_next(s)) {
        if (counts[0]++ == 0)
            sio_disconnect(s, false); /* allowed on the way */
    }
    for (struct sio_socket *s = sio_first(x->main); s != NULL; s = sio_next(s))
        counts[1]++;
    counts[2] = sio_namespace_count(x->main);
}

static void sockets_may_be_walked_and_ended_on_the_way(void **state)
{
    struct sio_fixture *x = *state;
    size_t counts[3] = {0};

    start_client(x);
    sio_client(x, NULL);
    sio_client(x, NULL);
    on_sio(x, walk, counts);
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 2);
    expect_disconnect(x, 1, "server namespace disconnect");
}

static void disconnect_all(struct sio_fixture *x, void *arg)
{
    (void)arg;
    sio_disconnect_all(&(struct sio_target){.nsp = x->main}, false);
}

/* One post settles both. */
static void sockets_that_end_outside_of_a_callback_are_reported_together(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *a = start_client(x);
    struct raw_client *b = sio_client(x, NULL);

    on_sio(x, disconnect_all, NULL);
    raw_expect_message(a, "41");
    raw_expect_message(b, "41");
    expect_disconnect(x, 2, "server namespace disconnect");
}

static void disconnect_without_memory(struct sio_fixture *x, void *arg)
{
    (void)arg;
    oom_after(0);
    sio_disconnect(x->socket, false);
    oom_after(-1);
}

/* Though there is no memory for a post, and no other callback comes. */
static void socket_that_is_disconnected_without_memory_is_reported(void **state)
{
    struct sio_fixture *x = *state;

    start_client(x);
    on_sio(x, disconnect_without_memory, NULL);
    expect_disconnect(x, 1, "server namespace disconnect");
}

#include "socketio/tests/test_sio_socket.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
