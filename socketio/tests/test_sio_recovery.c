/* SPDX-License-Identifier: MIT
 *
 * Connection state recovery: who comes back as what it was, and what it gets then. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

enum { LONG_MS = 600000 };

struct client {
    struct raw_client *c;
    char id[EIO_ID_SIZE];
    char pid[EIO_ID_SIZE];
};

static void start_recovery(struct sio_fixture *x, struct sio_options options)
{
    if (options.recovery_ms == 0)
        options.recovery_ms = LONG_MS;
    sio_start(x, options, (struct sio_handlers){0});
}

/* Read the answer to CONNECT. */
static void read_ids(struct client *who)
{
    struct raw_frame frame;

    raw_read_frame(who->c, &frame);
    if (frame.len != strlen("40{\"sid\":\"\",\"pid\":\"\"}") + 40)
        raw_fail(who->c, "not let in: '%.*s'", (int)frame.len, (const char *)frame.payload);
    snprintf(who->id, sizeof who->id, "%.20s", (const char *)frame.payload + 10);
    snprintf(who->pid, sizeof who->pid, "%.20s", (const char *)frame.payload + 39);
}

static void enter(struct sio_fixture *x, struct client *who)
{
    who->c = sio_open(x);
    raw_send_message(who->c, "40");
    read_ids(who);
}

/* Connect again as `before` was, from `offset` on; the answer is still to be read. */
static void come_back(struct sio_fixture *x, struct client *now, const struct client *before,
                      const char *offset)
{
    char text[128];

    now->c = sio_open(x);
    snprintf(text, sizeof text, "40{\"pid\":\"%s\",\"offset\":\"%s\"}", before->pid, offset);
    raw_send_message(now->c, text);
}

static void expect_recovered(struct client *now, const struct client *before)
{
    read_ids(now);
    assert_string_equal(now->id, before->id);
    assert_string_equal(now->pid, before->pid);
}

static void expect_new(struct client *now, const struct client *before)
{
    read_ids(now);
    assert_string_not_equal(now->id, before->id);
    assert_string_not_equal(now->pid, before->pid);
}

/* The next event as text, without its offset, which goes to `offset`. */
static void expect_event(struct raw_client *c, const char *event, char offset[32])
{
    struct raw_frame frame;
    size_t len = strlen(event);
    struct ws_str value;

    raw_read_frame(c, &frame);
    if (frame.len <= len || memcmp(frame.payload, event, len) != 0 || frame.payload[len] != ',')
        raw_fail(c, "expected %s, came %.*s", event, (int)frame.len, (const char *)frame.payload);
    value = (struct ws_str){(const char *)frame.payload + len + 1, frame.len - len - 2};
    assert_true(json_string(value, offset, 32) > 0);
}

/* Send an event that comes back with an offset. */
static void send_logged(struct raw_client *c, const char *event, char offset[32])
{
    char expected[64];

    raw_send_message(c, event);
    snprintf(expected, sizeof expected, "%.*s", (int)strlen(event) - 1, event); /* without "]" */
    expect_event(c, expected, offset);
}

static void cut(struct sio_fixture *x, struct client *who, int n)
{
    raw_reset(who->c);
    wait_until(x->f, &x->f->seen.closed, n, "disconnected sockets");
}

/* A client that has seen one event, whose offset goes to `offset`, and is cut off. */
static void enter_and_cut(struct sio_fixture *x, struct client *who, char offset[32])
{
    enter(x, who);
    send_logged(who->c, "42[\"echo\"]", offset);
    cut(x, who, 1);
}

static void a_client_that_was_cut_off_gets_what_it_missed(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, b, again;
    char first[32], second[32], ignored[32];

    start_recovery(x, (struct sio_options){0});
    enter(x, &a);
    enter(x, &b);
    send_logged(a.c, "42[\"all\",1]", first);
    expect_event(b.c, "42[\"all\",1", ignored);
    assert_string_equal(first, ignored); /* encoded once */
    cut(x, &a, 1);
    send_logged(b.c, "42[\"all\",2]", second);
    assert_string_not_equal(first, second);
    raw_send_message(b.c, "451-[\"all\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(b.c, RAW_BINARY, "xyz", 3);
    expect_event(b.c, "451-[\"all\",{\"_placeholder\":true,\"num\":0}", ignored);
    expect_binary(b.c, "xyz", 3);
    come_back(x, &again, &a, first);
    expect_event(again.c, "42[\"all\",2", ignored); /* first what was missed, then the answer */
    expect_event(again.c, "451-[\"all\",{\"_placeholder\":true,\"num\":0}", ignored);
    expect_binary(again.c, "xyz", 3);
    expect_recovered(&again, &a);
    send_logged(again.c, "42[\"echo\",\"on\"]", ignored);
}

static void only_what_was_meant_for_it_is_replayed(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, b, again;
    char offset[32], ignored[32];
    char text[128];

    start_recovery(x, (struct sio_options){0});
    enter(x, &a);
    enter(x, &b);
    raw_send_message(a.c, "42[\"join\",\"mine\"]");
    send_logged(a.c, "42[\"echo\"]", offset);
    cut(x, &a, 1);
    raw_send_message(b.c, "42[\"to\",\"mine\",1]");
    raw_send_message(b.c, "42[\"to\",\"other\",2]");
    raw_send_message(b.c, "42[\"except\",\"mine\",3]");
    raw_send_message(b.c, "42[\"echo\",4]");
    snprintf(text, sizeof text, "42[\"to\",\"%s\",5]", a.id);
    raw_send_message(b.c, text);
    raw_send_message(b.c, "42[\"broadcast\",6]");
    expect_event(b.c, "42[\"except\",3", ignored);
    expect_event(b.c, "42[\"echo\",4", ignored);
    come_back(x, &again, &a, offset);
    expect_event(again.c, "42[\"to\",1", ignored);
    expect_event(again.c, "42[\"to\",5", ignored);
    expect_event(again.c, "42[\"broadcast\",6", ignored);
    expect_recovered(&again, &a);
    raw_send_message(b.c, "42[\"to\",\"mine\",7]"); /* it is in its rooms again */
    expect_event(again.c, "42[\"to\",7", ignored);
}

static void emit_much(struct sio_fixture *x, void *arg)
{
    char list[12000];

    (void)arg;
    memset(list, '1', sizeof list - 1);
    list[sizeof list - 1] = '\0';
    sio_emit_all(x->main, "missed", sio_args(list));
}

/* It would wait for the event that was not queued. One alone always fits, so the client has not
 * fetched its answer of another namespace. */
static void a_client_that_missed_more_than_its_output_holds_is_ended(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *again;
    struct client who;
    char offset[32], connect[128];
    char sid[EIO_ID_SIZE];

    start_recovery(x, (struct sio_options){.engine.max_output = 10000});
    enter_and_cut(x, &who, offset);
    on_sio(x, emit_much, NULL);
    again = client(x->f, "polling");
    open_polling_on(again, sid);
    expect_post(again, sid, "40/custom,");
    snprintf(connect, sizeof connect, "40{\"pid\":\"%s\",\"offset\":\"%s\"}", who.pid, offset);
    expect_post(again, sid, connect);
    expect_disconnect(x, 3, "forced server close");
}

static void a_recovered_client_may_be_recovered_again(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, again, third;
    char offset[32], ignored[32];

    start_recovery(x, (struct sio_options){0});
    enter(x, &a);
    send_logged(a.c, "42[\"all\",1]", offset);
    cut(x, &a, 1);
    come_back(x, &again, &a, offset);
    expect_recovered(&again, &a);
    send_logged(again.c, "42[\"all\",2]", ignored);
    cut(x, &again, 2);
    come_back(x, &third, &again, offset);
    expect_event(third.c, "42[\"all\",2", ignored);
    expect_recovered(&third, &a);
}

/* Or there would be two sockets with one id. */
static void a_pid_is_good_for_one_return(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, again, second;
    char offset[32];

    start_recovery(x, (struct sio_options){0});
    enter_and_cut(x, &a, offset);
    come_back(x, &again, &a, offset);
    expect_recovered(&again, &a);
    come_back(x, &second, &a, offset);
    expect_new(&second, &a);
}

static void strangers_begin_anew(void **state)
{
    static const char *const offsets[] = {"", "x", "99", "-1", "00", "0x", "18446744073709551616"};
    struct sio_fixture *x = *state;
    struct client a, now;
    char offset[32];

    start_recovery(x, (struct sio_options){0});
    enter(x, &a);
    send_logged(a.c, "42[\"all\",1]", offset);
    assert_string_equal(offset, "0");
    come_back(x, &now, &a, offset); /* while the old connection is still there */
    expect_new(&now, &a);
    cut(x, &a, 1);
    for (size_t i = 0; i < COUNT(offsets); i++) {
        come_back(x, &now, &a, offsets[i]);
        expect_new(&now, &a);
        raw_close(now.c);
    }
    now.c = sio_open(x);
    raw_send_message(now.c, "40{\"pid\":1,\"offset\":\"0\"}");
    expect_new(&now, &a);
    now.c = sio_open(x);
    raw_send_message(now.c, "40{\"pid\":\"01234567890123456789\",\"offset\":\"0\"}");
    expect_new(&now, &a);
    come_back(x, &now, &a, offset); /* all of that did it no harm */
    expect_recovered(&now, &a);
}

static void who_leaves_or_is_sent_away_does_not_come_back(void **state)
{
    static const char *const ends[] = {"41", "42[\"kick\"]", "7"};
    struct sio_fixture *x = *state;

    start_recovery(x, (struct sio_options){0});
    for (size_t i = 0; i < COUNT(ends); i++) {
        struct client a, now;
        char offset[32];

        enter(x, &a);
        send_logged(a.c, "42[\"echo\"]", offset);
        raw_send_message(a.c, ends[i]);
        wait_until(x->f, &x->f->seen.closed, (int)i + 1, "disconnected sockets");
        come_back(x, &now, &a, offset);
        expect_new(&now, &a);
    }
}

static void no_reply(void *arg, const struct sio_reply *reply)
{
    (void)arg;
    (void)reply;
}

static void emit_unlogged(struct sio_fixture *x, void *arg)
{
    (void)arg;
    sio_emit_volatile(x->socket, "volatile", sio_args(""));
    sio_request(x->socket, "request", sio_args(""), 0, no_reply, NULL);
}

static void volatile_events_and_requests_have_no_offset(void **state)
{
    struct sio_fixture *x = *state;
    struct client a;

    start_recovery(x, (struct sio_options){0});
    enter(x, &a);
    on_sio(x, emit_unlogged, NULL);
    raw_expect_message(a.c, "42[\"volatile\"]");
    raw_expect_message(a.c, "420[\"request\"]");
}

static void the_log_is_bounded_in_bytes(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, b, now;
    char first[32], offset[32];

    start_recovery(x, (struct sio_options){.recovery_bytes = 5000});
    enter(x, &a);
    enter(x, &b);
    send_logged(a.c, "42[\"all\",0]", first);
    expect_event(b.c, "42[\"all\",0", offset);
    cut(x, &a, 1);
    for (int i = 0; i < 50; i++)
        send_logged(b.c, "42[\"echo\"]", offset);
    come_back(x, &now, &a, first);
    expect_new(&now, &a);
}

static void sessions_are_bounded_in_bytes(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, now;
    char offset[32];

    start_recovery(x, (struct sio_options){.recovery_bytes = 2000});
    enter_and_cut(x, &a, offset);
    for (int i = 0; i < 40; i++) {
        struct client other;

        enter(x, &other);
        cut(x, &other, 2 + i);
    }
    come_back(x, &now, &a, offset);
    expect_new(&now, &a);
}

static void forget_it(struct sio_namespace *n, void *data)
{
    struct sio_fixture *x = sio_user(sio_namespace_server(n));

    free(data);
    count(x->f, &x->f->seen.ran);
}

static void keep_data(struct sio_socket *s, struct ws_str auth)
{
    if (sio_is_recovered(s))
        sio_emit(s, "data", sio_args(sio_data(s)));
    else
        sio_set_data(s, strdup("\"kept\""));
    sio_count_connect(s, auth);
}

static void data_comes_back_with_its_client(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, now;
    char offset[32];

    sio_start(x, (struct sio_options){.recovery_ms = LONG_MS},
              (struct sio_handlers){.on_connect = keep_data, .on_forget = forget_it});
    enter_and_cut(x, &a, offset);
    come_back(x, &now, &a, offset);
    expect_recovered(&now, &a);
    expect_event(now.c, "42[\"data\",\"kept\"", offset);
    assert_int_equal(read_counter(x->f, &x->f->seen.ran), 0);
    raw_send_message(now.c, "41");
    wait_until(x->f, &x->f->seen.ran, 1, "data to free");
}

static bool every_name(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)name;
    (void)auth;
    return true;
}

static void open_by_rule(struct sio_fixture *x, void *arg)
{
    const struct sio_handlers handlers = {.on_event = sio_obey,
                                          .on_disconnect = sio_count_disconnect};

    (void)arg;
    assert_int_equal(sio_namespace_rule(x->io, every_name, &handlers), 0);
    x->memory = ws_server_stats(x->f->server).buffered;
}

static void is_there(struct sio_fixture *x, void *arg)
{
    *(bool *)arg = sio_namespace_find(x->io, "/any") != NULL;
}

/* Or a client could fill a log, leave, and fill the next one. */
static void the_log_ends_with_a_namespace_that_nobody_comes_back_to(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_frame frame;
    struct raw_client *c;
    bool there = true;

    start_recovery(x, (struct sio_options){0});
    on_sio(x, open_by_rule, NULL);
    c = sio_open(x);
    raw_send_message(c, "40/any,");
    raw_read_frame(c, &frame);
    raw_send_message(c, "42/any,[\"all\"]");
    raw_read_frame(c, &frame);
    raw_send_message(c, "41/any,");
    wait_until(x->f, &x->f->seen.closed, 1, "disconnected sockets");
    on_sio(x, is_there, &there);
    assert_false(there);
}

static void buffered(struct sio_fixture *x, void *arg)
{
    *(size_t *)arg = ws_server_stats(x->f->server).buffered;
}

/* Whoever cuts connections that were in new namespaces each time fills no more than one namespace
 * can. */
static void namespaces_of_clients_are_bounded_together(void **state)
{
    enum { CLIENTS_CUT = 20, EACH = 20 };
    struct sio_fixture *x = *state;
    struct raw_frame frame;
    char text[64];
    size_t in_use;

    start_recovery(x, (struct sio_options){.recovery_bytes = 10000});
    on_sio(x, open_by_rule, NULL);
    for (int i = 0; i < CLIENTS_CUT; i++) {
        struct raw_client *c = sio_open(x);

        for (int k = 0; k < EACH; k++) {
            snprintf(text, sizeof text, "40/%d-%d,", i, k);
            raw_send_message(c, text);
            raw_read_frame(c, &frame);
            snprintf(text, sizeof text, "42/%d-%d,[\"all\"]", i, k);
            raw_send_message(c, text);
            raw_read_frame(c, &frame);
        }
        raw_close(c);
        wait_until(x->f, &x->f->seen.closed, EACH * (i + 1), "disconnected sockets");
    }
    on_sio(x, buffered, &in_use);
    assert_in_range(in_use, x->memory, x->memory + 3 * 10000);
}

static void data_of_those_who_stay_away_is_freed_in_time(void **state)
{
    struct sio_fixture *x = *state;
    struct client a;

    sio_start(x, (struct sio_options){.recovery_ms = 50},
              (struct sio_handlers){.on_connect = keep_data, .on_forget = forget_it});
    enter(x, &a);
    cut(x, &a, 1);
    wait_until(x->f, &x->f->seen.ran, 1, "data to free"); /* and by teardown nothing is left */
}

enum { LOG_ENTRIES = 30000 };

/* Fill both logs with what nobody was meant to get, but everybody is compared with. */
static void fill_logs(struct sio_fixture *x, void *arg)
{
    const char *to[33] = {NULL};
    const struct sio_target targets[] = {{.nsp = x->main, .to = to},
                                         {.nsp = sio_namespace_find(x->io, "/custom"), .to = to}};

    (void)arg;
    for (int i = 0; i < 32; i++)
        to[i] = "nowhere";
    for (int i = 0; i < 2 * LOG_ENTRIES; i++)
        sio_publish(&targets[i % 2], "e", sio_args(""));
}

static void note_turn(struct sio_socket *s, const struct sio_event *e)
{
    struct fixture *f = fixture_of(s)->f;

    if (sio_event_is(e, "turn"))
        note_result(f, 1, (int)ws_server_turn(f->server));
    sio_obey(s, e);
}

static void note_recovery(struct sio_socket *s, struct ws_str auth)
{
    struct fixture *f = fixture_of(s)->f;

    if (sio_is_recovered(s))
        note_result(f, 0, (int)ws_server_turn(f->server));
    sio_count_connect(s, auth);
}

/* Enter /custom and emit in it, so that its client may come back there. */
static void enter_custom(struct client *who, char pid[EIO_ID_SIZE], char offset[32])
{
    struct raw_frame frame;

    raw_send_message(who->c, "40/custom,");
    raw_read_frame(who->c, &frame);
    snprintf(pid, EIO_ID_SIZE, "%.20s", (const char *)frame.payload + frame.len - 22);
    raw_send_message(who->c, "42/custom,[\"echo\"]");
    expect_event(who->c, "42/custom,[\"echo\"", offset);
}

/* To look through both logs takes more than a client's share of a turn. */
static void a_long_recovery_uses_up_the_share_of_a_turn(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, now;
    struct raw_bytes *out = &x->f->out;
    struct raw_frame frame;
    char offset[32], offset_2[32], pid_2[EIO_ID_SIZE], text[128];

    sio_start(x, (struct sio_options){.recovery_ms = LONG_MS, .recovery_bytes = 64 << 20},
              (struct sio_handlers){.on_connect = note_recovery, .on_event = note_turn});
    enter(x, &a);
    send_logged(a.c, "42[\"echo\"]", offset);
    enter_custom(&a, pid_2, offset_2);
    cut(x, &a, 2);
    on_sio(x, fill_logs, NULL);
    now.c = sio_open(x);
    snprintf(text, sizeof text, "40{\"pid\":\"%s\",\"offset\":\"%s\"}", a.pid, offset);
    raw_bytes_frame(out, RAW_TEXT, text, strlen(text));
    snprintf(text, sizeof text, "40/custom,{\"pid\":\"%s\",\"offset\":\"%s\"}", pid_2, offset_2);
    raw_bytes_frame(out, RAW_TEXT, text, strlen(text));
    raw_bytes_frame(out, RAW_TEXT, "421[\"turn\"]", 11);
    raw_send_bytes(now.c, out);
    expect_recovered(&now, &a);
    raw_read_frame(now.c, &frame);
    assert_memory_equal(frame.payload, "40/custom,", 10);
    raw_expect_message(now.c, "431[]");
    assert_int_not_equal(read_counter(x->f, &x->f->seen.result[0]), 0);
    assert_true(read_counter(x->f, &x->f->seen.result[1]) >
                read_counter(x->f, &x->f->seen.result[0]));
}

static void refuse_all(struct sio_socket *s, struct ws_str auth)
{
    (void)auth;
    if (sio_is_recovered(s))
        sio_refuse(s, "not again", (struct ws_str){NULL, 0});
    else
        sio_accept(s);
}

static void recover_with_on_auth(struct sio_fixture *x, bool asks, struct client *a,
                                 struct client *now)
{
    char offset[32];

    sio_start(x, (struct sio_options){.recovery_ms = LONG_MS, .recovery_asks = asks},
              (struct sio_handlers){.on_auth = refuse_all});
    enter_and_cut(x, a, offset);
    come_back(x, now, a, offset);
}

static void recovered_clients_are_not_asked_again(void **state)
{
    struct client a, now;

    recover_with_on_auth(*state, false, &a, &now);
    expect_recovered(&now, &a);
}

static void recovered_clients_may_be_asked_again(void **state)
{
    struct client a, now;

    recover_with_on_auth(*state, true, &a, &now);
    raw_expect_message(now.c, "44{\"message\":\"not again\"}");
}

static void keep_waiting(struct sio_socket *s, struct ws_str auth)
{
    struct sio_fixture *x = fixture_of(s);

    (void)auth;
    if (!sio_is_recovered(s)) {
        sio_accept(s);
        return;
    }
    x->socket = s;
    count(x->f, &x->f->seen.ran);
}

static void accept_it(struct sio_fixture *x, void *arg)
{
    (void)arg;
    assert_int_equal(sio_accept(x->socket), 0);
}

/* Or it would believe that it has missed nothing. */
static void a_client_that_waits_too_long_for_on_auth_begins_anew(void **state)
{
    struct sio_fixture *x = *state;
    struct client a, b, now;
    char offset[32], ignored[32];

    sio_start(
        x,
        (struct sio_options){.recovery_ms = LONG_MS, .recovery_asks = true, .recovery_bytes = 5000},
        (struct sio_handlers){.on_auth = keep_waiting});
    enter(x, &a);
    enter(x, &b);
    send_logged(a.c, "42[\"echo\"]", offset);
    cut(x, &a, 1);
    come_back(x, &now, &a, offset);
    wait_until(x->f, &x->f->seen.ran, 1, "sockets that wait");
    for (int i = 0; i < 50; i++)
        send_logged(b.c, "42[\"echo\"]", ignored);
    on_sio(x, accept_it, NULL);
    expect_closed(now.c);
    wait_until(x->f, &x->f->seen.closed, 2, "disconnected sockets");
    come_back(x, &now, &a, offset);
    expect_new(&now, &a);
}

/* --- out of memory ---------------------------------------------------------------------------- */

/* Step until there are as many connections. Server and clients share one thread. */
static void step_until(struct sio_fixture *x, size_t connections)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (ws_server_stats(x->f->server).connections != connections && raw_now_ms() < deadline)
        ws_server_step(x->f->server, 10);
    assert_int_equal(ws_server_stats(x->f->server).connections, connections);
}

/* Connect to the server and to "/", and say `then`, which ends with NULL. */
static struct raw_client *speak(struct sio_fixture *x, const char *connect, const char *const *then)
{
    struct raw_client *c = client(x->f, "client");
    struct raw_bytes b = {0};

    raw_bytes_upgrade(&b, "/engine.io/?EIO=4&transport=websocket", "");
    raw_bytes_frame(&b, RAW_TEXT, connect, strlen(connect));
    for (; *then != NULL; then++)
        raw_bytes_frame(&b, RAW_TEXT, *then, strlen(*then));
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
    return c;
}

/* Let the server answer, and read what comes before the answer to CONNECT. */
static void hear(struct sio_fixture *x, struct raw_client *c)
{
    struct raw_response r;
    struct raw_frame frame;

    poll_until_readable(x->f, c);
    let_serve(x->f);
    raw_expect_upgraded(c, &r);
    raw_read_frame(c, &frame); /* of Engine.IO */
}

/* A client with rooms is cut off and misses two events. */
static void miss_something(struct sio_fixture *x, struct client *who, char offset[32])
{
    static const char *const then[] = {"42[\"join\",\"one\"]", "42[\"join\",\"two\"]",
                                       "42[\"echo\"]", NULL};

    who->c = speak(x, "40", then);
    hear(x, who->c);
    read_ids(who);
    expect_event(who->c, "42[\"echo\"", offset);
    raw_reset(who->c);
    step_until(x, 0);
    sio_publish(&(struct sio_target){.nsp = x->main, .to = SIO_ROOMS("two")}, "missed",
                (struct sio_args){.list = ws_str("1")});
    sio_emit_all(x->main, "missed", (struct sio_args){.list = ws_str("2")});
    let_serve(x->f);
}

/* It comes back while allocation number `n` fails. It is what it was, or new; when it did not get
 * in it tries again. Returns whether an allocation failed. */
static bool come_back_without(struct sio_fixture *x, long n)
{
    static const char *const nothing[] = {NULL};
    struct client who, now;
    char offset[32], connect[128];
    bool came;

    miss_something(x, &who, offset);
    snprintf(connect, sizeof connect, "40{\"pid\":\"%s\",\"offset\":\"%s\"}", who.pid, offset);
    assert_null(x->socket);
    now.c = speak(x, connect, nothing);
    oom_once(n);
    poll_until_readable(x->f, now.c);
    let_serve(x->f);
    came = oom_came();
    oom_after(-1);
    if (x->socket == NULL) {
        raw_close(now.c);
        step_until(x, 0);
        now.c = speak(x, connect, nothing);
        let_serve(x->f);
    }
    hear(x, now.c);
    assert_non_null(x->socket);
    if (sio_is_recovered(x->socket)) {
        assert_true(sio_is_in(x->socket, "one") && sio_is_in(x->socket, "two"));
        expect_event(now.c, "42[\"missed\",1", offset);
        expect_event(now.c, "42[\"missed\",2", offset);
        expect_recovered(&now, &who);
    } else {
        expect_new(&now, &who);
    }
    raw_close(now.c);
    step_until(x, 0);
    return came;
}

/* It is cut off while allocation number `n` fails, and comes back. Then it leaves, so that nothing
 * of it is kept. Returns whether an allocation failed. */
static bool be_cut_without(struct sio_fixture *x, long n, int *strangers)
{
    static const char *const echo[] = {"42[\"echo\"]", NULL};
    struct client who, now;
    char offset[32], connect[128];
    bool came;

    who.c = speak(x, "40", echo);
    hear(x, who.c);
    read_ids(&who);
    expect_event(who.c, "42[\"echo\"", offset);
    raw_reset(who.c);
    oom_once(n);
    step_until(x, 0);
    came = oom_came();
    oom_after(-1);
    snprintf(connect, sizeof connect, "40{\"pid\":\"%s\",\"offset\":\"%s\"}", who.pid, offset);
    now.c = speak(x, connect, echo + 1);
    hear(x, now.c);
    if (sio_is_recovered(x->socket)) {
        expect_recovered(&now, &who);
    } else {
        expect_new(&now, &who);
        ++*strangers;
    }
    raw_send_message(now.c, "41");
    let_serve(x->f);
    raw_close(now.c);
    step_until(x, 0);
    return came;
}

static void who_cannot_be_kept_for_want_of_memory_begins_anew(void **state)
{
    struct sio_fixture *x = *state;
    int strangers = 0;
    long n = 0;

    sio_create(x, (struct sio_options){.recovery_ms = LONG_MS}, (struct sio_handlers){0});
    while (be_cut_without(x, n, &strangers))
        n++;
    assert_in_range(n, 2, 50);
    assert_int_equal(strangers, 2); /* what is kept needs memory, and so does the table of all */
}

static void who_comes_back_without_memory_misses_nothing_unawares(void **state)
{
    struct sio_fixture *x = *state;
    long n = 0;

    sio_create(x, (struct sio_options){.recovery_ms = LONG_MS}, (struct sio_handlers){0});
    while (come_back_without(x, n))
        n++;
    assert_in_range(n, 8, 200);
}

#include "socketio/tests/test_sio_recovery.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
