/* SPDX-License-Identifier: MIT
 *
 * The Socket.IO server: what each packet does to a connection, namespaces, limits, and the
 * published attacks on the reference. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../tests/oom.h"

/* --- connecting ------------------------------------------------------------------------------- */

static void nothing_is_joined_until_the_client_asks(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_frame frame;

    start_plain(x);
    c = sio_open(x);
    raw_send_message(c, "40");
    raw_read_frame(c, &frame); /* nothing came before it */
    assert_int_equal(frame.len, strlen("40{\"sid\":\"01234567890123456789\"}"));
    assert_memory_equal(frame.payload, "40{\"sid\":\"", 10);
    assert_memory_equal(frame.payload + 30, "\"}", 2);
    for (size_t i = 10; i < 30; i++)
        assert_non_null(strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
                               frame.payload[i]));
}

static void every_form_of_connect_is_understood(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_frame frame;

    start_plain(x);
    c = sio_open(x);
    sio_enter(c, "/", "{}", NULL);
    sio_enter(c, "/custom", "{\"token\":\"abc\"}", NULL);
    c = sio_open(x);
    raw_send_message(c, "40/custom");
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "40/custom,{\"sid\":\"", 18);
}

static void emit_hello(struct sio_socket *s, struct ws_str auth)
{
    sio_count_connect(s, auth);
    sio_emit(s, "hello", (struct sio_args){.list = auth});
}

static void on_connect_comes_after_the_answer_and_sees_what_was_sent(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){0}, (struct sio_handlers){.on_connect = emit_hello});
    c = sio_open(x);
    sio_enter(c, "/", " {\"a\": 1} ", NULL);
    raw_expect_message(c, "42[\"hello\",{\"a\": 1}]");
    sio_enter(c, "/custom", "", NULL);
    raw_expect_message(c, "42/custom,[\"hello\",{}]");
}

static void unknown_namespaces_are_refused_and_the_connection_stays(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    start_plain(x);
    c = sio_open(x);
    raw_send_message(c, "40/nope,{}");
    raw_expect_message(c, "44/nope,{\"message\":\"Invalid namespace\"}");
    raw_send_message(c, "40/custom?x=1,{}");
    raw_expect_message(c, "44/custom?x=1,{\"message\":\"Invalid namespace\"}");
    sio_enter(c, "/", "", NULL);
    expect_silence(c);
}

static void namespaces_of_one_connection_are_apart(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char id[EIO_ID_SIZE];
    char other[EIO_ID_SIZE];

    start_plain(x);
    c = sio_client(x, id);
    sio_enter(c, "/custom", "", other);
    assert_string_not_equal(id, other);
    raw_expect_echo(c, "42/custom,[\"all\",1]");
    raw_expect_echo(c, "42[\"all\",2]");
    expect_silence(c);
}

static void connection_without_a_namespace_is_closed_in_time(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){.connect_timeout_ms = 50}, (struct sio_handlers){0});
    c = sio_open(x);
    expect_closed(c);
    c = sio_open(x);
    raw_send_message(c, "40/nope,");
    raw_expect_message(c, "44/nope,{\"message\":\"Invalid namespace\"}");
    expect_closed(c);
}

/* The first namespace ends the waiting for good, even when it is left again. */
static void connection_that_was_in_a_namespace_stays(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_client *idle;

    sio_start(x, (struct sio_options){.connect_timeout_ms = 1000}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    raw_send_message(c, "41");
    idle = sio_open(x); /* it has the same time, from later on */
    expect_closed(idle);
    sio_enter(c, "/", "", NULL);
    expect_silence(c);
}

static void namespaces_of_one_connection_are_bounded(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){.max_namespaces = 1}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    raw_send_message(c, "40/custom,");
    raw_expect_message(c, "44/custom,{\"message\":\"Too many namespaces\"}");
    expect_silence(c);
}

static bool not_secret(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    return name.len < 8 && json_member(auth, "no").data == NULL;
}

static void add_rule(struct sio_fixture *x, void *arg)
{
    const struct sio_handlers handlers = {.on_connect = sio_count_connect,
                                          .on_event = sio_obey,
                                          .on_disconnect = sio_count_disconnect};

    *(int *)arg = sio_namespace_rule(x->io, not_secret, &handlers);
    x->memory = ws_server_stats(x->f->server).buffered;
}

static void find_dynamic(struct sio_fixture *x, void *arg)
{
    struct sio_namespace *n = sio_namespace_find(x->io, "/any");

    *(size_t *)arg = n == NULL ? SIZE_MAX : sio_namespace_count(n);
}

static void rules_open_namespaces_that_end_with_their_last_socket(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *a;
    struct raw_client *b;
    size_t found;
    int result;

    start_plain(x);
    on_sio(x, add_rule, &result);
    assert_int_equal(result, 0);
    a = sio_open(x);
    b = sio_open(x);
    sio_enter(a, "/any", "", NULL);
    sio_enter(b, "/any", "", NULL);
    on_sio(x, find_dynamic, &found);
    assert_int_equal(found, 2);
    raw_expect_echo(a, "42/any,[\"all\"]");
    raw_expect_message(b, "42/any,[\"all\"]");
    raw_send_message(a, "40/too-long,");
    raw_expect_message(a, "44/too-long,{\"message\":\"Invalid namespace\"}");
    raw_send_message(a, "40/b,{\"no\":1}");
    raw_expect_message(a, "44/b,{\"message\":\"Invalid namespace\"}");
    raw_close(a);
    raw_send_message(b, "41/any,");
    wait_until(x->f, &x->f->seen.closed, 2, "disconnected sockets");
    on_sio(x, find_dynamic, &found);
    assert_true(found == SIZE_MAX);
}

static bool is_first(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)auth;
    return ws_str_is(name, "/first");
}

static void answer_by_rule(struct sio_socket *s, const struct sio_event *e)
{
    const char *rule = sio_namespace_user(sio_socket_namespace(s));

    (void)e;
    sio_emit(s, rule, sio_args(""));
}

static void add_two_rules(struct sio_fixture *x, void *arg)
{
    static char names[][8] = {"first", "second"};
    struct sio_handlers handlers = {.on_event = answer_by_rule, .user = names[0]};
    int *result = arg;

    result[0] = sio_namespace_rule(x->io, is_first, &handlers);
    handlers.user = names[1];
    result[1] = sio_namespace_rule(x->io, not_secret, &handlers);
    x->memory = ws_server_stats(x->f->server).buffered;
}

static void first_rule_that_matches_counts(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    int results[2];

    start_plain(x);
    on_sio(x, add_two_rules, results);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], 0);
    c = sio_open(x);
    sio_enter(c, "/first", "", NULL);
    sio_enter(c, "/other", "", NULL);
    raw_send_message(c, "42/first,[\"?\"]");
    raw_expect_message(c, "42/first,[\"first\"]");
    raw_send_message(c, "42/other,[\"?\"]");
    raw_expect_message(c, "42/other,[\"second\"]");
}

static void start_rule(struct sio_fixture *x)
{
    int result;

    start_plain(x);
    on_sio(x, add_rule, &result);
    assert_int_equal(result, 0);
}

static void enter(struct raw_client *c, const char *nsp)
{
    struct raw_frame frame;
    char text[32];

    snprintf(text, sizeof text, "40%s,", nsp);
    raw_send_message(c, text);
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, text, strlen(text));
}

/* Enter `count` namespaces "/n0", "/n1" and so on that a rule opens. */
static struct raw_client *enter_many(struct sio_fixture *x, int count)
{
    struct raw_client *c = sio_open(x);
    char nsp[16];

    for (int i = 0; i < count; i++) {
        snprintf(nsp, sizeof nsp, "/n%d", i);
        enter(c, nsp);
    }
    return c;
}

static void a_client_may_be_in_as_many_namespaces_as_it_asks_for(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    start_rule(x);
    c = enter_many(x, 1000);
    raw_expect_echo(c, "42/n0,[\"echo\",1]");
    raw_send_message(c, "41/n500,");
    wait_until(x->f, &x->f->seen.closed, 1, "disconnected sockets");
    raw_expect_echo(c, "42/n999,[\"echo\",2]");
    raw_close(c);
    wait_until(x->f, &x->f->seen.closed, 1000, "disconnected sockets");
}

/* Which of its sockets is the first, and which are in the table of its connection, depends on what
 * it has left before. */
static void a_client_may_leave_namespaces_in_any_order_and_come_back(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    start_rule(x);
    c = enter_many(x, 3);
    raw_send_message(c, "41/n0,");
    wait_until(x->f, &x->f->seen.closed, 1, "disconnected sockets");
    raw_expect_echo(c, "42/n1,[\"echo\",1]");
    raw_expect_echo(c, "42/n2,[\"echo\",2]");
    enter(c, "/n3");
    enter(c, "/n0");
    raw_expect_echo(c, "42/n3,[\"echo\",3]");
    raw_expect_echo(c, "42/n0,[\"echo\",4]");
    raw_expect_echo(c, "42/n1,[\"echo\",5]");
    raw_send_message(c, "41/n2,");
    raw_send_message(c, "41/n3,");
    wait_until(x->f, &x->f->seen.closed, 3, "disconnected sockets");
    raw_expect_echo(c, "42/n0,[\"echo\",6]");
    raw_expect_echo(c, "42/n1,[\"echo\",7]");
    raw_send_message(c, "42/n3,[\"echo\",8]"); /* it is not in there any more */
    raw_expect_frame(c, RAW_CLOSE, "", 0);
    wait_until(x->f, &x->f->seen.closed, 5, "disconnected sockets");
}

static void read_processor_time(struct sio_fixture *x, void *arg)
{
    struct timespec t;

    (void)x;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    *(double *)arg = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds of processor time for 1000 events in a namespace. */
static double time_events(struct sio_fixture *x, struct raw_client *c, const char *nsp)
{
    double from;
    double to;
    char text[64];

    x->f->out.len = 0;
    snprintf(text, sizeof text, "42%s,[\"nothing\"]", nsp);
    for (int i = 0; i < 1000; i++)
        raw_bytes_frame(&x->f->out, RAW_TEXT, text, strlen(text));
    snprintf(text, sizeof text, "42%s,[\"echo\"]", nsp);
    raw_bytes_frame(&x->f->out, RAW_TEXT, text, strlen(text));
    on_sio(x, read_processor_time, &from);
    raw_send_bytes(c, &x->f->out);
    raw_expect_message(c, text);
    on_sio(x, read_processor_time, &to);
    return to - from;
}

static void an_event_costs_the_same_in_any_of_many_namespaces(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    double latest;
    double oldest;

    start_rule(x);
    c = enter_many(x, 4000);
    latest = time_events(x, c, "/n3999");
    oldest = time_events(x, c, "/n0");
    if (oldest > 3 * latest)
        fail_msg("%.1f ms in the latest namespace, %.1f ms in the oldest", latest * 1e3,
                 oldest * 1e3);
}

/* The first and the last turn that ended a socket; each takes 0.1 ms. */
static void disconnect_slowly(struct sio_socket *s, const char *reason)
{
    struct fixture *f = fixture_of(s)->f;
    double from;
    double now;
    int turn = (int)ws_server_turn(f->server);

    read_processor_time(NULL, &from);
    do
        read_processor_time(NULL, &now);
    while (now - from < 1e-4);
    if (f->seen.result[0] == 0)
        note_result(f, 0, turn);
    note_result(f, 1, turn);
    sio_count_disconnect(s, reason);
}

static void many_sockets_of_a_connection_end_over_several_turns(void **state)
{
    struct sio_fixture *x = *state;
    const struct sio_handlers handlers = {.on_disconnect = disconnect_slowly};
    struct raw_client *c;

    sio_create(x, (struct sio_options){0}, (struct sio_handlers){0});
    assert_int_equal(sio_namespace_rule(x->io, not_secret, &handlers), 0);
    x->memory = ws_server_stats(x->f->server).buffered;
    run(x->f);
    c = enter_many(x, 1000);
    raw_close(c);
    wait_until(x->f, &x->f->seen.closed, 1000, "disconnected sockets");
    assert_true(read_counter(x->f, &x->f->seen.result[1]) >
                read_counter(x->f, &x->f->seen.result[0]) + 3);
}

/* The first client goes, and another one is sent away. */
static void cut_and_disconnect(void *arg)
{
    struct sio_fixture *x = arg;

    raw_close(&x->f->clients[0]);
    sio_disconnect(x->socket, false);
}

/* In a timer, since the event of a post would come before that of the client. */
static void cut_and_disconnect_soon(struct sio_fixture *x, void *arg)
{
    (void)arg;
    assert_non_null(ws_timer_start(x->f->server, 5, cut_and_disconnect, x));
}

/* The end of the connection comes first, and settles until its share of the turn is used up. What
 * is left is settled by the call that sio_disconnect() has posted. */
static void sockets_that_are_left_are_settled_by_what_is_posted_already(void **state)
{
    struct sio_fixture *x = *state;
    const struct sio_handlers handlers = {.on_disconnect = disconnect_slowly};

    sio_create(x, (struct sio_options){0}, (struct sio_handlers){0});
    assert_int_equal(sio_namespace_rule(x->io, not_secret, &handlers), 0);
    x->memory = ws_server_stats(x->f->server).buffered;
    run(x->f);
    assert_ptr_equal(enter_many(x, 1000), &x->f->clients[0]);
    sio_client(x, NULL);
    on_sio(x, cut_and_disconnect_soon, NULL);
    wait_until(x->f, &x->f->seen.closed, 1001, "disconnected sockets");
}

static void make_odd_namespaces(struct sio_fixture *x, void *arg)
{
    const struct sio_handlers handlers = {0};
    char name[1026];

    (void)arg;
    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    assert_null(sio_namespace_new(x->io, name, &handlers));
    assert_null(sio_namespace_new(x->io, "/", &handlers));
    assert_null(sio_namespace_new(x->io, "", &handlers));
    assert_null(sio_namespace_new(x->io, "a", &handlers));
    assert_null(sio_namespace_new(x->io, "/a,b", &handlers));
    assert_null(sio_namespace_new(x->io, "/a\n", &handlers));
    assert_null(sio_namespace_find(x->io, "/a"));
    assert_ptr_equal(sio_namespace_find(x->io, "/"), x->main);
}

static void names_that_no_client_could_ask_for_are_refused(void **state)
{
    struct sio_fixture *x = *state;

    start_plain(x);
    on_sio(x, make_odd_namespaces, NULL);
}

/* --- packets ---------------------------------------------------------------------------------- */

/* What npm's reference does with each of these was observed; "close" may be stricter here. */
static const struct {
    const char *packets[3];
    const char *answer; /* NULL: the connection is closed; "": nothing, and it lives */
} probes[] = {
    {{"40"}, NULL},
    {{"40[]"}, NULL},
    {{"40\"x\""}, NULL},
    {{"40null"}, NULL},
    {{"42/other,[\"x\"]"}, NULL},
    {{"41{}"}, NULL},
    {{"41/nope"}, NULL},
    {{"42"}, ""},
    {{"42[]"}, NULL},
    {{"4212[1,2]"}, "4312[2]"},
    {{"42[null]"}, NULL},
    {{"42[\"disconnect\"]"}, NULL},
    {{"42[\"connect\"]"}, NULL},
    {{"42[\"error\",\"x\"]"}, ""},
    {{"42[\"message\"]"}, ""},
    {{"42007[\"x\",1]"}, "437[1]"},
    {{"43999[1]"}, ""},
    {{"4312{}"}, NULL},
    {{"42-1[\"x\"]"}, NULL},
    {{"421.5[\"x\"]"}, NULL},
    {{"421e3[\"x\"]"}, NULL},
    {{"42abc[\"x\"]"}, NULL},
    {{"42[\"a\"]x"}, NULL},
    {{"42[\"echo\", 1 ,{ }]"}, "42[\"echo\", 1 ,{ }]"},
    {{"42[\"echo\",1e400]"}, "42[\"echo\",1e400]"}, /* null from the reference */
    {{"44{\"message\":\"x\"}"}, NULL},
    {{"47"}, NULL},
    {{"4"}, NULL},
    {{""}, NULL},
    {{"7"}, NULL},
    {{"2"}, NULL},
    {{"2probe"}, NULL},
    {{"0"}, ""},
    {{"3"}, ""},
    {{"5"}, ""},
    {{"6"}, ""},
    {{"451-[\"a\",{\"_placeholder\":true,\"num\":0}]", "42[\"a\"]"}, NULL},
    {{"451-[\"a\",{\"_placeholder\":true,\"num\":1}]"}, NULL},
    {{"451-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]"}, NULL},
    {{"450-[\"a\"]"}, NULL},
    {{"4511-[\"m\"]"}, NULL},
    {{"42[\"echo\",{\"_placeholder\":true,\"num\":0}]"},
     "42[\"echo\",{\"_placeholder\":true,\"num\":0}]"},
    {{"42[\"kick\"]", "42[\"x\"]", "41"}, "41"}, /* these were under way */
};

static void probe(struct sio_fixture *x, size_t i)
{
    struct raw_client *c = sio_client(x, NULL);

    c->label = probes[i].packets[0];
    for (size_t k = 0; k < 3 && probes[i].packets[k] != NULL; k++)
        raw_send_message(c, probes[i].packets[k]);
    if (probes[i].answer == NULL) {
        expect_closed(c);
    } else if (probes[i].answer[0] == '\0') {
        expect_silence(c);
    } else {
        raw_expect_message(c, probes[i].answer);
        if (strcmp(probes[i].answer, "41") == 0)
            sio_enter(c, "/", "", NULL);
        expect_silence(c);
    }
    raw_close(c);
}

static void packets_do_what_they_do_in_the_reference(void **state)
{
    struct sio_fixture *x = *state;

    start_plain(x);
    for (size_t i = 0; i < COUNT(probes); i++)
        probe(x, i);
}

static void only_connect_may_come_first(void **state)
{
    static const char *const packets[] = {"42[\"x\"]", "41",          "430[]",
                                          "44{}",      "451-[\"a\"]", "42/custom,[\"x\"]"};
    struct sio_fixture *x = *state;

    start_plain(x);
    for (size_t i = 0; i < COUNT(packets); i++) {
        struct raw_client *c = sio_open(x);

        c->label = packets[i];
        raw_send_message(c, packets[i]);
        expect_closed(c);
        raw_close(c);
    }
}

static void ids_of_acknowledgements_are_the_clients_own(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    raw_send_message(c, "420[\"a\"]");
    raw_expect_message(c, "430[]");
    raw_send_message(c, "42/custom,9007199254740991[\"a\",{\"b\":[null]}]");
    raw_expect_message(c, "43/custom,9007199254740991[{\"b\":[null]}]");
}

static void the_client_may_leave_and_come_back(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char id[EIO_ID_SIZE];
    char again[EIO_ID_SIZE];

    start_plain(x);
    c = sio_client(x, id);
    raw_send_message(c, "41");
    sio_enter(c, "/", "", again); /* right behind it */
    assert_string_not_equal(id, again);
    expect_disconnect(x, 1, "client namespace disconnect");
    expect_silence(c);
}

static void add_message(struct sio_fixture *x, const char *text)
{
    raw_bytes_frame(&x->f->out, RAW_TEXT, text, strlen(text));
}

/* What an application sends right behind disconnect(), or for it. */
static void packets_right_behind_the_clients_disconnect_are_dropped(void **state)
{
    static const char *const packets[] = {"42[\"echo\",1]", "41", "421[\"echo\",2]", "430[]"};
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    add_message(x, "42[\"echo\",0]");
    add_message(x, "41");
    for (size_t i = 0; i < COUNT(packets); i++)
        add_message(x, packets[i]);
    raw_send_bytes(c, &x->f->out);
    raw_expect_message(c, "42[\"echo\",0]");
    raw_expect_echo(c, "42/custom,[\"echo\",3]");
    expect_disconnect(x, 1, "client namespace disconnect");
    raw_send_message(c, "42[\"echo\",4]"); /* but not later */
    expect_closed(c);
}

static void a_binary_event_right_behind_the_clients_disconnect_is_dropped(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    add_message(x, "41");
    add_message(x, "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_bytes(c, &x->f->out);
    expect_disconnect(x, 1, "client namespace disconnect");
    raw_send_frame(c, RAW_BINARY, "x", 1); /* in a later turn */
    raw_expect_echo(c, "42/custom,[\"echo\"]");
}

/* Before the client can have got the answer to the first: its connect(), disconnect() and connect()
 * leave together. */
static void two_connects_that_come_together_are_one_after_the_other(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    add_message(x, "40/custom,");
    add_message(x, "40/custom,");
    raw_send_bytes(c, &x->f->out);
    for (int i = 0; i < 2; i++) {
        struct raw_frame frame;

        raw_read_frame(c, &frame);
        assert_memory_equal(frame.payload, "40/custom,{\"sid\":\"", 18);
    }
    expect_disconnect(x, 1, "client namespace disconnect");
    raw_expect_echo(c, "42/custom,[\"echo\",1]");
    expect_silence(c);
    raw_send_message(c, "40/custom,"); /* but not when it has been let in */
    expect_closed(c);
}

/* --- attachments ------------------------------------------------------------------------------ */

static void binary_events_come_back_as_they_went(void **state)
{
    struct sio_fixture *x = *state;
    static const char text[] = "452-[\"echo\",{\"_placeholder\":true,\"num\":1},\"x\","
                               "{\"a\":[{\"_placeholder\":true,\"num\":0}]}]";
    struct raw_client *c = start_client(x);

    raw_send_message(c, text);
    raw_send_frame(c, RAW_BINARY, "\0\1\2", 3);
    raw_send_message(c, "3"); /* heartbeats may come between */
    raw_send_frame(c, RAW_BINARY, "", 0);
    raw_expect_message(c, text);
    expect_binary(c, "\0\1\2", 3);
    expect_binary(c, "", 0);
    expect_silence(c);
}

static void binary_acknowledgements_carry_attachments(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    start_plain(x);
    c = sio_open(x);
    sio_enter(c, "/custom", "", NULL);
    raw_send_message(c, "451-/custom,5[\"a\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c, RAW_BINARY, "xyz", 3);
    raw_expect_message(c, "461-/custom,5[{\"_placeholder\":true,\"num\":0}]");
    expect_binary(c, "xyz", 3);
}

static void binary_goes_through_polling(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    start_plain(x);
    c = sio_polling_client(x, sid);
    post(c, sid,
         "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]" RS "bAQIDBA==" RS "42[\"echo\",1]");
    expect(c, 200, "ok");
    get(c, sid);
    expect(c, 200,
           "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]" RS "bAQIDBA==" RS "42[\"echo\",1]");
    expect_post(c, sid, "1");
}

static void binary_without_a_packet_closes(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    raw_send_frame(c, RAW_BINARY, "x", 1);
    expect_closed(c);
    expect_disconnect(x, 1, "forced close");
}

static void one_binary_too_many_closes(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    raw_send_message(c, "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c, RAW_BINARY, "x", 1);
    raw_send_frame(c, RAW_BINARY, "y", 1);
    raw_expect_message(c, "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    expect_binary(c, "x", 1);
    expect_closed(c);
}

static void attachments_must_come_in_time(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){.engine.ping_timeout_ms = 50}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    raw_send_message(c, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]");
    expect_closed(c);
    expect_disconnect(x, 1, "forced close");
}

static void attachments_that_came_in_time_have_no_deadline(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    struct raw_client *late;
    struct raw_bytes b = {0};

    sio_start(x, (struct sio_options){.engine.ping_timeout_ms = 50}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    raw_bytes_frame(&b, RAW_TEXT, "451-[\"echo\"]", 12);
    raw_bytes_frame(&b, RAW_BINARY, "x", 1);
    raw_send_bytes(c, &b); /* in one piece, so that it is in time on any machine */
    raw_bytes_release(&b);
    raw_expect_message(c, "451-[\"echo\"]");
    expect_binary(c, "x", 1);
    late = sio_client(x, NULL); /* its deadline is a later one */
    raw_send_message(late, "451-[\"echo\"]");
    expect_closed(late);
    expect_silence(c);
}

static void attachments_are_bounded_together(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char data[600] = {0};

    sio_start(x, (struct sio_options){.max_binary = 1000}, (struct sio_handlers){0});
    c = sio_client(x, NULL);
    raw_send_message(c, "452-[\"a\"]");
    raw_send_frame(c, RAW_BINARY, data, 600);
    raw_send_frame(c, RAW_BINARY, data, 393); /* with the packet: 1001 */
    expect_closed(c);
}

static void a_client_may_go_while_attachments_are_due(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    raw_send_message(c, "452-[\"a\"]");
    raw_send_frame(c, RAW_BINARY, "x", 1);
    expect_silence(sio_client(x, NULL));
    raw_reset(c);
    expect_disconnect(x, 1, "transport close"); /* teardown sees that nothing is left */
}

/* --- published attacks on the reference ------------------------------------------------------- */

/* Whatever it was, others are still served. */
static void expect_refused(struct sio_fixture *x, const char *packet)
{
    struct raw_client *c = sio_client(x, NULL);

    c->label = packet;
    raw_send_message(c, packet);
    expect_closed(c);
    raw_close(c);
    c = sio_client(x, NULL);
    expect_silence(c);
    raw_close(c);
}

static void cve_2022_2421_placeholder_that_names_a_method(void **state)
{
    start_plain(*state);
    expect_refused(*state, "451-[{\"_placeholder\":true,\"num\":\"splice\"}]");
    expect_refused(*state, "451-[\"a\",{\"_placeholder\":true,\"num\":\"splice\"}]");
    expect_refused(*state, "461-0[{\"_placeholder\":true,\"num\":\"constructor\"}]");
}

static void cve_2023_32695_event_named_by_an_object(void **state)
{
    start_plain(*state);
    expect_refused(*state, "42[{\"toString\":\"foo\"}]");
    expect_refused(*state, "451-[{\"toString\":\"foo\"}]");
}

static void cve_2026_33151_endless_attachments(void **state)
{
    start_plain(*state);
    expect_refused(*state, "4599999999-[\"x\"]");
    expect_refused(*state, "4511-[\"x\"]");
}

static void cve_2026_69185_no_attachments_announced_and_binaries_sent(void **state)
{
    start_plain(*state);
    expect_refused(*state, "450-[\"x\"]");
    expect_refused(*state, "460-[\"x\"]");
}

static void cve_2020_36049_packet_that_is_all_digits(void **state)
{
    struct sio_fixture *x = *state;
    size_t len = 900000;
    char *text = malloc(len + 1);

    start_plain(x);
    assert_non_null(text);
    memset(text, '1', len);
    memcpy(text, "42", 2);
    text[len] = '\0';
    expect_refused(x, text);
    memcpy(text, "45", 2);
    expect_refused(x, text);
    memcpy(text, "40/", 3);
    expect_refused(x, text);
    free(text);
}

static void cve_2024_38355_event_named_error(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    raw_send_message(c, "42[\"error\",\"x\"]");
    raw_send_message(c, "42[\"error\"]");
    raw_send_message(c, "421[\"__proto__\",{\"__proto__\":{\"toString\":1}}]");
    raw_expect_message(c, "431[{\"__proto__\":{\"toString\":1}}]");
}

static void deep_json_is_refused(void **state)
{
    struct sio_fixture *x = *state;
    size_t len = 500000;
    char *text = malloc(len + 1);

    start_plain(x);
    assert_non_null(text);
    memset(text, '[', len);
    memcpy(text, "42[\"a\",", 7);
    text[len] = '\0';
    expect_refused(x, text);
    memcpy(text, "40", 2);
    expect_refused(x, text);
    free(text);
}

static void names_of_objects_are_names_of_namespaces_and_rooms(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_client(x);

    raw_send_message(c, "40/__proto__,");
    raw_expect_message(c, "44/__proto__,{\"message\":\"Invalid namespace\"}");
    order(c, "[\"join\",\"__proto__\"]");
    raw_send_message(c, "42[\"to\",\"__proto__\",1]");
    raw_expect_message(c, "42[\"to\",1]");
}

/* --- the end ---------------------------------------------------------------------------------- */

static void server_may_be_freed_while_clients_are_connected(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c = start_in_both(x);

    order(c, "[\"join\",\"r\"]");
    raw_send_message(c, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]");
    expect_silence(sio_client(x, NULL));
    stop_now(x->f);
    sio_free_servers(x);
    assert_int_equal(x->f->seen.closed, 3);
}

static void wait_for_later(struct sio_socket *s, struct ws_str auth)
{
    struct sio_fixture *x = fixture_of(s);

    (void)auth;
    x->socket = s;
    count(x->f, &x->f->seen.requests);
}

static void count_abort(struct sio_socket *s)
{
    struct sio_fixture *x = fixture_of(s);

    count(x->f, &x->f->seen.aborted);
}

/* Two on polling, where no connection ends with the ws_server: the end of the first settles the
 * second, which has just been accepted. */
static void nobody_is_let_in_when_the_server_is_freed(void **state)
{
    struct sio_fixture *x = *state;

    sio_start(x, (struct sio_options){0},
              (struct sio_handlers){.on_auth = wait_for_later, .on_abort = count_abort});
    for (int i = 1; i <= 2; i++) {
        struct raw_client *c = client(x->f, "polling");
        char sid[EIO_ID_SIZE];

        open_polling_on(c, sid);
        expect_post(c, sid, "40");
        wait_until(x->f, &x->f->seen.requests, i, "requests to connect");
    }
    stop_now(x->f);
    assert_int_equal(sio_accept(x->socket), 0);
    sio_free_servers(x);
    assert_int_equal(x->f->seen.aborted, 2);
    assert_int_equal(x->f->seen.opened, 0);
}

static void act_at_the_end(struct sio_socket *s, const char *reason)
{
    struct sio_fixture *x = fixture_of(s);
    const struct sio_target all = {.nsp = sio_socket_namespace(s)};

    if (x->f->seen.closed == 0) {
        note_result(x->f, 0, (int)sio_publish(&all, "bye", sio_args("1")));
        note_result(x->f, 1, (int)sio_request_all(&all, "bye", sio_args(""), 1, NULL, NULL));
        note_result(x->f, 2, sio_fetch(&all, 1, NULL, NULL));
        note_result(x->f, 3, sio_rooms(&all, 1, NULL, NULL));
        note_result(x->f, 4, sio_server_emit(all.nsp, "bye", sio_args("")));
        note_result(x->f, 5, sio_server_request(all.nsp, "bye", sio_args(""), 1, NULL, NULL));
        sio_disconnect_all(&all, false);
    }
    sio_count_disconnect(s, reason);
}

/* On polling, too: the other one is still connected when the first is reported. */
static void nothing_can_be_sent_when_the_server_is_freed(void **state)
{
    struct sio_fixture *x = *state;
    char sid[EIO_ID_SIZE];

    sio_start(x, (struct sio_options){0}, (struct sio_handlers){.on_disconnect = act_at_the_end});
    sio_polling_client(x, sid);
    sio_polling_client(x, sid);
    stop_now(x->f);
    sio_free_servers(x);
    assert_int_equal(x->f->seen.closed, 2);
    for (int i = 0; i < 6; i++)
        assert_int_equal(x->f->seen.result[i], WS_ERR_CLOSED);
}

static void note_refusal(struct sio_server *io, const struct eio_connection_error *error)
{
    struct sio_fixture *x = sio_user(io);

    note_text(x->f, error->message, strlen(error->message));
    count(x->f, &x->f->seen.aborted);
}

static void requests_that_are_refused_are_told(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *c;

    sio_start(x, (struct sio_options){.on_connection_error = note_refusal},
              (struct sio_handlers){0});
    c = client(x->f, "a session of nobody");
    raw_send_text(c, "GET /engine.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\n" HOST "\r\n");
    wait_until(x->f, &x->f->seen.aborted, 1, "refused requests");
    assert_string_equal(x->f->seen.text, "Session ID unknown");
}

static void closing_the_server_ends_every_connection(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_client *a = start_client(x);
    struct raw_client *b = sio_client(x, NULL);

    raw_send_message(a, "42[\"shut down\"]");
    expect_closed(a); /* no 41: clients will try to come back */
    expect_closed(b);
    expect_disconnect(x, 2, "server shutting down");
}

/* --- memory ----------------------------------------------------------------------------------- */

static void ignore_reply(void *arg, const struct sio_reply *reply)
{
    (void)arg;
    (void)reply;
}

/* Memory that was taken from an account, each piece with its size. */
struct piece {
    struct piece *next;
    size_t size;
};

static struct piece *take_all(struct ws_account *a)
{
    static const size_t sizes[] = {1000, sizeof(struct piece)};
    struct piece *all = NULL;
    struct piece *p;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        while ((p = ws_account_take(a, sizes[i])) != NULL) {
            *p = (struct piece){.next = all, .size = sizes[i]};
            all = p;
        }
    }
    return all;
}

static void give_all(struct ws_account *a, struct piece *all)
{
    while (all != NULL) {
        struct piece *next = all->next;

        ws_account_give(a, all, all->size);
        all = next;
    }
}

/* Who opened a namespace, and what it was for it and for another one to join rooms there. */
struct opener {
    struct sio_socket *socket;
    int own_result;
    int others_result;
    size_t first_bytes;  /* counted for the first room, with the tables that it needs, */
    size_t second_bytes; /* and for another one */
};

static void remember_opener(struct sio_fixture *x, void *arg)
{
    ((struct opener *)arg)->socket = x->socket;
}

/* How many bytes more of max_memory are in use when the latest socket has joined. */
static size_t join_and_count(struct sio_fixture *x, const char *room, int *result)
{
    size_t before = ws_server_stats(x->f->server).buffered;

    *result = sio_join(x->socket, room);
    return ws_server_stats(x->f->server).buffered - before;
}

static void join_while_the_opener_has_no_memory(struct sio_fixture *x, void *arg)
{
    struct opener *o = arg;
    struct ws_account *account = eio_session_account(sio_socket_session(o->socket));
    struct piece *all = take_all(account);

    o->own_result = sio_join(o->socket, "room");
    o->first_bytes = join_and_count(x, "room", &o->others_result);
    give_all(account, all);
    o->second_bytes = join_and_count(x, "hall", &(int){0});
}

/* All who come fill the tables of its rooms, so these count, but for nobody in particular. */
static void a_namespace_has_rooms_though_who_opened_it_has_no_memory_left(void **state)
{
    struct sio_fixture *x = *state;
    struct opener o = {0};
    struct raw_client *c;

    x->max_memory = 1 * MIB;
    start_rule(x);
    sio_enter(sio_open(x), "/any", "", NULL);
    on_sio(x, remember_opener, &o);
    c = sio_open(x);
    sio_enter(c, "/any", "", NULL);
    on_sio(x, join_while_the_opener_has_no_memory, &o);
    assert_int_equal(o.own_result, WS_ERR_NOMEM);
    assert_int_equal(o.others_result, 0);
    assert_true(o.first_bytes > o.second_bytes);
    assert_true(o.second_bytes > 0);
    raw_send_message(c, "42/any,[\"to\",\"room\",1]");
    raw_expect_message(c, "42/any,[\"to\",1]");
}

/* One of everything that takes memory. */
static void use_memory(struct sio_socket *s, const struct sio_event *e)
{
    const struct ws_str attachments[] = {{"1234", 4}, {"5678", 4}};
    const struct sio_args binary = {
        .list = e->args.list, .attachments = attachments, .attachment_count = COUNT(attachments)};
    const struct sio_target all = {.nsp = sio_socket_namespace(s)};

    sio_join(s, "room");
    sio_emit(s, "one", binary);
    sio_emit_all(all.nsp, "two", binary);
    sio_publish(&(struct sio_target){.nsp = all.nsp, .to = SIO_ROOMS("room"), .sender = s}, "three",
                e->args);
    sio_request(s, "four", e->args, 60000, ignore_reply, NULL);
    sio_request_all(&all, "five", e->args, 60000, ignore_reply, NULL);
    sio_answer(e->ack, binary);
    sio_leave(s, "room");
    sio_join(s, "another room");
}

/* The main namespace accepts at once, the other one never answers. */
static void accept_some(struct sio_socket *s, struct ws_str auth)
{
    (void)auth;
    if (sio_namespace_name(sio_socket_namespace(s)).len == 1)
        sio_accept(s);
}

/* More than what is kept for encoding has room for. */
static void write_large(struct raw_bytes *b)
{
    enum { LARGE = 70 * KIB };
    static const char head[] = "42[\"use\",\"", tail[] = "\"]";
    static char text[sizeof head - 1 + LARGE + sizeof tail];

    memset(text, 'x', sizeof text);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof text - sizeof tail, tail, sizeof tail);
    raw_bytes_frame(b, RAW_TEXT, text, sizeof text - 1);
}

/* The whole life of a client in one piece. */
static void write_life(struct raw_bytes *b)
{
    static const char *const before[] = {"40{\"token\":\"x\"}", "40/custom,{\"token\":\"y\"}",
                                         "420[\"use\",1]",
                                         "451-[\"use\",{\"_placeholder\":true,\"num\":0}]"};
    static const char *const after[] = {"430[1]", "431[2]", "41", "40", "42[\"use\",2]"};

    raw_bytes_upgrade(b, "/engine.io/?EIO=4&transport=websocket", "");
    for (size_t i = 0; i < COUNT(before); i++)
        raw_bytes_frame(b, RAW_TEXT, before[i], strlen(before[i]));
    raw_bytes_frame(b, RAW_BINARY, "attachment", 10);
    write_large(b);
    for (size_t i = 0; i < COUNT(after); i++)
        raw_bytes_frame(b, RAW_TEXT, after[i], strlen(after[i]));
}

/* Let a client live while allocation number `n` fails. False when there was none. */
static bool live_without(struct sio_fixture *x, const struct raw_bytes *life, long n)
{
    struct raw_client *c = &x->f->clients[0];
    bool came;

    raw_connect(c, x->f->port);
    raw_send_bytes(c, life);
    raw_half_close(c);
    oom_once(n);
    do {
        ws_server_step(x->f->server, 10);
        discard(c->fd);
    } while (ws_server_stats(x->f->server).connections != 0 || !raw_readable_within(c, 0));
    came = oom_came();
    oom_after(-1);
    raw_close(c);
    while (ws_server_stats(x->f->server).connections != 0)
        ws_server_step(x->f->server, 10);
    return came;
}

static void live_without_memory(struct sio_fixture *x, unsigned recovery_ms)
{
    struct raw_bytes life = {0};
    long n = 0;

    sio_create(x, (struct sio_options){.recovery_ms = recovery_ms},
               (struct sio_handlers){.on_auth = accept_some, .on_event = use_memory});
    write_life(&life);
    while (live_without(x, &life, n))
        if (++n > 10000)
            fail_msg("it never had enough");
    raw_bytes_release(&life);
    assert_true(n > 20);
    assert_int_equal(read_counter(x->f, &x->f->seen.opened),
                     read_counter(x->f, &x->f->seen.closed));
}

static void a_client_may_end_where_memory_does_but_nothing_else(void **state)
{
    struct sio_fixture *x = *state;

    live_without_memory(x, 0);
    for (int i = 0; i < 1000 && ws_server_stats(x->f->server).buffered != x->memory; i++)
        ws_server_step(x->f->server, 10); /* what ended last is freed a little later */
    assert_int_equal(ws_server_stats(x->f->server).buffered, x->memory);
}

static void recovery_may_end_where_memory_does_but_nothing_else(void **state)
{
    live_without_memory(*state, 600000);
}

static bool match_none(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)name;
    (void)auth;
    return false;
}

/* Make a server with all it may have, with allocation `n` failing. Returns whether all is there. */
static bool make_without(struct sio_fixture *x, long n)
{
    const struct sio_options options = {.recovery_ms = 1000};
    const struct sio_handlers handlers = {.on_auth = accept_some};
    bool named = false, ruled = false, came;

    create(x->f, (struct ws_options){0});
    oom_once(n);
    x->io = sio_server_new(x->f->server, &options);
    if (x->io != NULL) {
        named = sio_namespace_new(x->io, "/", &handlers) != NULL;
        ruled = sio_namespace_rule(x->io, match_none, &handlers) == 0;
    }
    came = oom_came();
    oom_after(-1);
    assert_int_equal(came, x->io == NULL || !named || !ruled);
    sio_free_servers(x);
    return !came;
}

/* The sanitizer sees what it leaves. */
static void server_that_cannot_be_made_leaves_nothing(void **state)
{
    long n = 0;

    while (!make_without(*state, n))
        n++;
    assert_in_range(n, 8, 100);
}

#include "socketio/tests/test_socketio.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
