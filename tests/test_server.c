/* SPDX-License-Identifier: MIT
 *
 * The server as a whole: what callbacks may do, the loop, stopping, descriptors. Each test is named
 * by the behaviour that it shows. */
#include "server_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- callbacks may do anything ---------------------------------------------------------------- */

static void close_the_other(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct fixture *f = of(c);

    (void)op;
    (void)data;
    (void)len;
    for (uint64_t id = 1; id < 10; id++) {
        struct ws_conn *other = ws_conn_find(f->server, id);

        if (other != NULL && other != c)
            ws_close(other, 4002, "by another");
    }
    ws_send(c, WS_OP_TEXT, "done", 4);
    count(f, &f->seen.messages);
}

static void connection_closed_by_another_of_the_same_batch_hears_no_more(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c[4];
    struct raw_frame frame;
    struct hold hold;
    int killers = 0;

    start_serving(f, (struct ws_options){0}, "/kill",
                  (struct ws_handlers){.on_message = close_the_other});
    for (size_t i = 0; i < COUNT(c); i++)
        c[i] = upgraded(f, "/kill");
    wait_until(f, &f->seen.opened, 4, "calls of on_open");
    hold_loop(f, &hold);
    for (size_t i = 0; i < COUNT(c); i++)
        raw_send_message(c[i], "die");
    sem_post(&hold.go);
    for (size_t i = 0; i < COUNT(c); i++) {
        raw_read_frame(c[i], &frame);
        if (frame.head == RAW_TEXT) {
            killers++;
            continue;
        }
        if (frame.head != RAW_CLOSE || memcmp(frame.payload, "\x0f\xa2", 2) != 0)
            raw_fail(c[i], "expected Close 4002");
        raw_send_close(c[i], 4002);
        raw_expect_eof(c[i]);
    }
    expect_on_close(f, 3, 4002);
    assert_int_equal(killers, 1);
    assert_int_equal(f->seen.messages, 1);
    expect_well(f);
}

static void close_itself(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    count(of(c), &of(c)->seen.messages);
    ws_send(c, op, data, len);
    ws_leave(c, ws_str("room"));
    ws_leave(c, ws_str("room"));
    ws_close(c, 1000, "enough");
    ws_join(c, ws_str("other"));
}

static void connection_that_closes_itself_hears_no_more(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/self",
                  (struct ws_handlers){.on_open = join_room, .on_message = close_itself});
    c = upgraded(f, "/self");
    for (int i = 0; i < 100; i++)
        raw_bytes_frame(&f->out, RAW_TEXT, "enough?", 7);
    raw_bytes_close(&f->out, 1000, "");
    raw_send_bytes(c, &f->out);
    raw_expect_message(c, "enough?");
    raw_expect_closed(c, 1000);
    expect_on_close(f, 1, 1000);
    assert_int_equal(f->seen.messages, 1);
}

static void close_at_once(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_send(c, WS_OP_TEXT, "hello", 5);
    ws_close(c, 4003, "goodbye");
    count(of(c), &of(c)->seen.opened);
}

static void connection_may_be_closed_in_on_open(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/brief",
                  (struct ws_handlers){.on_open = close_at_once, .on_message = count_message});
    raw_bytes_upgrade(&f->out, "/brief", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    c = client(f, "brief");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "hello");
    raw_expect_close(c, 4003);
    raw_send_close(c, 4003);
    raw_expect_eof(c);
    expect_on_close(f, 1, 4003);
    assert_int_equal(f->seen.messages, 0);
}

/* The last words of a connection: it is gone, the others are there, and its rooms are known. */
static void on_close_tells_the_room(struct ws_conn *c, unsigned code, const char *reason,
                                    size_t len)
{
    struct fixture *f = of(c);

    note_result(f, 0, ws_send(c, WS_OP_TEXT, "x", 1));
    note_result(f, 1, ws_close(c, 1000, ""));
    note_result(f, 2, ws_str_is(ws_conn_room(c, 0), "room") && ws_conn_room(c, 1).data == NULL);
    note_result(f, 3, (int)ws_publish(f->server, ws_str("room"), c, WS_OP_TEXT, "left", 4));
    note_result(f, 4, ws_join(c, ws_str("afterlife")));
    count_close(c, code, reason, len);
}

static void on_close_may_speak_to_the_room(void **state)
{
    struct fixture *f = *state;
    struct raw_client *stays, *leaves;

    start_serving(f, (struct ws_options){0}, "/room",
                  (struct ws_handlers){.on_open = join_room, .on_close = on_close_tells_the_room});
    stays = upgraded(f, "/room");
    leaves = upgraded(f, "/room");
    wait_until(f, &f->seen.opened, 2, "calls of on_open");
    raw_reset(leaves);
    raw_expect_message(stays, "left");
    wait_until(f, &f->seen.closed, 1, "calls of on_close");
    assert_int_equal(f->seen.result[0], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[2], true);
    assert_int_equal(f->seen.result[3], 1);
    assert_int_equal(f->seen.result[4], WS_ERR_CLOSED);
}

static void stop_from_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    ws_send(c, op, data, len);
    ws_server_stop(ws_conn_server(c));
}

static void server_may_be_stopped_from_a_callback(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/stop",
                  (struct ws_handlers){.on_message = stop_from_message});
    c = upgraded(f, "/stop");
    raw_expect_echo(c, "last words");
    raw_expect_close(c, 1001);
    raw_send_close(c, 1001);
    raw_expect_eof(c);
    raw_close(c);
    join(f);
    assert_int_equal(f->run_result, 0);
}

/* --- the loop: posts, timers, foreign descriptors --------------------------------------------- */

enum { POSTERS = 4, POSTS = 2000 };

struct post {
    struct poster *poster;
    int number;
};

struct poster {
    struct fixture *fixture;
    struct post posts[POSTS];
    int next; /* on the loop */
    int disorder;
};

static void run_post(void *arg)
{
    struct post *post = arg;

    post->poster->disorder += post->number != post->poster->next++;
    count(post->poster->fixture, &post->poster->fixture->seen.ran);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++) {
        p->posts[i] = (struct post){p, i};
        ws_post(p->fixture->server, run_post, &p->posts[i]);
    }
    return NULL;
}

static void posts_of_many_threads_run_in_their_order(void **state)
{
    struct fixture *f = *state;
    struct poster *posters = calloc(POSTERS, sizeof *posters);
    pthread_t threads[POSTERS];
    int disorder = 0;

    assert_non_null(posters);
    start(f, (struct ws_options){0});
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i].fixture = f;
        pthread_create(&threads[i], NULL, post_many, &posters[i]);
    }
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    wait_until(f, &f->seen.ran, POSTERS * POSTS, "posts");
    for (size_t i = 0; i < POSTERS; i++)
        disorder += posters[i].disorder;
    free(posters);
    assert_int_equal(disorder, 0);
}

static void post_again(void *arg)
{
    struct fixture *f = arg;

    count(f, &f->seen.ran);
    ws_post(f->server, post_again, f);
}

/* A post that posts itself runs once per turn, and sockets are served meanwhile. */
static void posts_do_not_starve_sockets(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    assert_int_equal(ws_post(f->server, post_again, f), 0);
    expect_well(f);
}

struct alarm_clock {
    struct fixture *fixture;
    const char *name;
    unsigned delay_ms;
    int64_t begun;
    struct ws_timer *timer;
};

static void ring(void *arg)
{
    struct alarm_clock *a = arg;

    if (raw_now_ms() - a->begun < (int64_t)a->delay_ms - 1)
        note_text(a->fixture, "early ", 6);
    note_text(a->fixture, a->name, strlen(a->name));
    count(a->fixture, &a->fixture->seen.ran);
}

static void ring_and_start_another(void *arg)
{
    struct alarm_clock *a = arg;

    ring(a);
    a->begun = raw_now_ms();
    a->delay_ms = 0;
    a->name = "e";
    a->timer = ws_timer_start(a->fixture->server, 0, ring, a);
}

static void start_alarms(struct fixture *f, void *arg)
{
    struct alarm_clock *a = arg;

    for (size_t i = 0; i < 5; i++) {
        a[i].fixture = f;
        a[i].begun = raw_now_ms();
        a[i].timer =
            ws_timer_start(f->server, a[i].delay_ms, i == 4 ? ring_and_start_another : ring, &a[i]);
    }
    ws_timer_cancel(a[3].timer);
}

static void timers_ring_in_order_and_never_when_cancelled(void **state)
{
    struct fixture *f = *state;
    struct alarm_clock alarms[] = {
        {.name = "c", .delay_ms = 60},  {.name = "a", .delay_ms = 5},
        {.name = "b", .delay_ms = 20},  {.name = "x", .delay_ms = 30},
        {.name = "d", .delay_ms = 100},
    };

    start(f, (struct ws_options){0});
    on_loop(f, start_alarms, alarms);
    wait_until(f, &f->seen.ran, 5, "timers");
    assert_string_equal(f->seen.text, "abcde");
}

/* A callback that takes longer than the delay it starts a timer with. */
static void dawdle_and_start_alarm(struct fixture *f, void *arg)
{
    struct alarm_clock *a = arg;

    sleep_ms(3 * (int)a->delay_ms);
    a->begun = raw_now_ms();
    a->timer = ws_timer_start(f->server, a->delay_ms, ring, a);
}

static void timer_rings_no_earlier_for_a_callback_that_took_long(void **state)
{
    struct fixture *f = *state;
    struct alarm_clock a = {.name = "rung", .delay_ms = 50, .fixture = f};

    start(f, (struct ws_options){0});
    on_loop(f, dawdle_and_start_alarm, &a);
    wait_until(f, &f->seen.ran, 1, "timers");
    assert_string_equal(f->seen.text, "rung");
}

struct pipe_watch {
    struct fixture *fixture;
    struct pipes *all;
    int ends[2];
    int result;
};

static void pipe_ready(void *arg, uint32_t ready)
{
    struct pipe_watch *w = arg;
    char text[16];
    ssize_t n = (ready & EPOLLIN) != 0 ? read(w->ends[0], text, sizeof text) : -1;

    if (n > 0)
        note_text(w->fixture, text, (size_t)n);
    if (n > 0 && text[0] == '.') {
        ws_watch(w->fixture->server, w->ends[0], 0, NULL, NULL);
        close(w->ends[0]);
        w->ends[0] = -1;
    }
    count(w->fixture, &w->fixture->seen.ran);
}

static void start_watch(struct fixture *f, void *arg)
{
    struct pipe_watch *w = arg;

    w->result = ws_watch(f->server, w->ends[0], EPOLLIN, pipe_ready, w);
}

static void foreign_descriptor_is_watched(void **state)
{
    struct fixture *f = *state;
    struct pipe_watch w = {.fixture = f};

    assert_int_equal(pipe2(w.ends, O_CLOEXEC), 0);
    start(f, (struct ws_options){0});
    on_loop(f, start_watch, &w);
    assert_int_equal(w.result, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(write(w.ends[1], i < 3 ? "abc" : ".", i < 3 ? 3 : 1), i < 3 ? 3 : 1);
        wait_until(f, &f->seen.ran, i, "calls of the watch");
    }
    assert_string_equal(f->seen.text, "abcabc.");
    close(w.ends[1]);
    expect_well(f);
    assert_int_equal(f->seen.ran, 3);
}

static void watch_is_changed_in_place(void **state)
{
    struct fixture *f = *state;
    struct pipe_watch w = {.fixture = f}, anew;

    assert_int_equal(pipe2(w.ends, O_CLOEXEC), 0);
    anew = w;
    start(f, (struct ws_options){0});
    on_loop(f, start_watch, &w);
    on_loop(f, start_watch, &anew);
    assert_int_equal(anew.result, 0);
    assert_int_equal(write(w.ends[1], ".", 1), 1);
    wait_until(f, &f->seen.ran, 1, "call of the watch");
    assert_int_equal(anew.ends[0], -1);
    assert_int_not_equal(w.ends[0], -1);
    close(w.ends[1]);
    expect_well(f);
}

static void each_error_has_words_of_its_own(void **state)
{
    static const int errors[] = {
        0, WS_ERR_CLOSED, WS_ERR_FULL, WS_ERR_NOMEM, WS_ERR_INVALID, WS_ERR_SYSTEM, ENOENT};
    const size_t count = sizeof errors / sizeof errors[0];

    (void)state;
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            assert_string_not_equal(ws_strerror(errors[i]), ws_strerror(errors[j]));
    assert_string_equal(ws_strerror(ENOENT), strerror(ENOENT));
}

enum { PIPES = 8 };

struct pipes {
    struct pipe_watch watches[PIPES];
};

/* Whoever is first of a batch ends all, and watches the last one anew. */
static void end_all(void *arg, uint32_t ready)
{
    struct pipe_watch *w = arg;
    struct pipes *p = w->all;
    struct ws_server *s = w->fixture->server;

    (void)ready;
    for (size_t i = 0; i < PIPES; i++)
        w->result |= ws_watch(s, p->watches[i].ends[0], 0, NULL, NULL);
    w->result |=
        ws_watch(s, p->watches[PIPES - 1].ends[0], EPOLLIN, pipe_ready, &p->watches[PIPES - 1]);
    note_result(w->fixture, 0, w->result);
    count(w->fixture, &w->fixture->seen.requests);
}

static void watch_all(struct fixture *f, void *arg)
{
    struct pipes *p = arg;

    for (size_t i = 0; i < PIPES; i++)
        ws_watch(f->server, p->watches[i].ends[0], EPOLLIN, end_all, &p->watches[i]);
}

static void watch_that_ends_in_a_batch_is_not_called_in_it(void **state)
{
    struct fixture *f = *state;
    struct pipes p = {0};
    struct hold hold;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < PIPES; i++) {
        p.watches[i] = (struct pipe_watch){.fixture = f, .all = &p};
        assert_int_equal(pipe2(p.watches[i].ends, O_CLOEXEC), 0);
    }
    on_loop(f, watch_all, &p);
    hold_loop(f, &hold);
    for (size_t i = 0; i < PIPES; i++)
        assert_int_equal(write(p.watches[i].ends[1], "abc", 3), 3);
    sem_post(&hold.go);
    wait_until(f, &f->seen.ran, 1, "calls of the new watch");
    assert_int_equal(f->seen.requests, 1);
    assert_int_equal(f->seen.result[0], 0);
    stats(f);
    assert_string_equal(f->seen.text, "abc");
    stop_and_join(f);
    for (size_t i = 0; i < PIPES; i++) {
        close(p.watches[i].ends[0]);
        close(p.watches[i].ends[1]);
    }
}

/* Turn after turn until the server has `n` connections. */
static void poll_until_accepted(struct fixture *f, size_t n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (ws_server_stats(f->server).connections != n && raw_now_ms() < deadline)
        assert_int_equal(ws_server_step(f->server, 10), 1);
    assert_int_equal(ws_server_stats(f->server).connections, n);
}

static void steps(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
}

/* epoll knows a descriptor by its file: it reports one that was closed as long as a duplicate of it
 * is open. */
static void watch_that_ends_after_its_descriptor_was_closed_is_not_called(void **state)
{
    struct fixture *f = *state;
    struct pipe_watch w = {.fixture = f};
    int duplicate;

    create(f, (struct ws_options){0});
    assert_int_equal(pipe2(w.ends, O_CLOEXEC), 0);
    start_watch(f, &w);
    duplicate = dup(w.ends[0]);
    close(w.ends[0]);
    assert_int_equal(ws_watch(f->server, w.ends[0], 0, NULL, NULL), WS_ERR_SYSTEM);
    steps(f, 3);
    assert_int_equal(write(w.ends[1], "abc", 3), 3);
    steps(f, 3);
    assert_int_equal(f->seen.ran, 0);
    close(duplicate);
    close(w.ends[1]);
}

static void watch_of_a_number_that_was_used_again_is_a_new_one(void **state)
{
    struct fixture *f = *state;
    struct pipe_watch old = {.fixture = f}, w = {.fixture = f};

    create(f, (struct ws_options){0});
    assert_int_equal(pipe2(old.ends, O_CLOEXEC), 0);
    start_watch(f, &old);
    assert_int_equal(pipe2(w.ends, O_CLOEXEC), 0);
    assert_int_equal(dup2(w.ends[0], old.ends[0]), old.ends[0]); /* closes the old one */
    close(w.ends[0]);
    w.ends[0] = old.ends[0];
    start_watch(f, &w);
    assert_int_equal(w.result, 0);
    assert_int_equal(write(w.ends[1], "abc", 3), 3);
    steps(f, 3);
    assert_string_equal(f->seen.text, "abc");
    assert_int_equal(ws_watch(f->server, w.ends[0], 0, NULL, NULL), 0);
    close(w.ends[0]);
    close(w.ends[1]);
    close(old.ends[1]);
}

/* A program that forks leaves duplicates of all its descriptors in its child, until that calls
 * exec(). This one never does. */
static pid_t fork_child(void)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return child;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void connection_that_ended_is_not_reported_though_a_child_has_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    pid_t child;

    create(f, (struct ws_options){0});
    c = client(f, "forked");
    raw_send_text(c, "GET /");
    poll_until_accepted(f, 1);
    child = fork_child();
    raw_half_close(c);
    poll_until_accepted(f, 0);
    steps(f, 5);
    end_child(child);
}

/* How many turns a foreign loop has in so many milliseconds. */
static int count_turns(struct fixture *f, int ms)
{
    struct pollfd p = {.fd = ws_server_fd(f->server), .events = POLLIN};
    int64_t begun = raw_now_ms();
    int turns = 0;

    for (; raw_now_ms() - begun < ms; turns++) {
        poll(&p, 1, ms);
        assert_int_equal(ws_server_step(f->server, 0), 1);
    }
    return turns;
}

/* The child's duplicate of a listener goes on to have clients that nobody takes in. */
static void listener_is_not_reported_after_a_stop_though_a_child_has_it(void **state)
{
    struct fixture *f = *state;
    pid_t child;

    create(f, (struct ws_options){0});
    raw_send_text(client(f, "waited for"), "GET /");
    poll_until_accepted(f, 1);
    child = fork_child();
    ws_server_stop(f->server);
    steps(f, 2);
    client(f, "of the child's listener");
    assert_in_range(count_turns(f, 150), 0, 20);
    end_child(child);
}

/* A WebSocket to a server whose turns are ours. */
static struct raw_client *upgraded_in_turns(struct fixture *f, const char *label)
{
    struct raw_client *c = client(f, label);
    struct raw_response r;

    raw_send_upgrade(c, "/echo", "");
    poll_until_readable(f, c);
    raw_expect_upgraded(c, &r);
    return c;
}

static void server_runs_inside_a_foreign_loop(void **state)
{
    struct fixture *f = *state;
    struct alarm_clock a = {.name = "ring", .delay_ms = 50, .fixture = f};
    struct pollfd p;
    struct raw_client *c;

    create(f, (struct ws_options){.close_timeout_ms = 50});
    c = upgraded_in_turns(f, "foreign loop");
    raw_send_message(c, "hi");
    poll_until_readable(f, c);
    raw_expect_message(c, "hi");

    a.begun = raw_now_ms();
    assert_non_null(ws_timer_start(f->server, a.delay_ms, ring, &a));
    p = (struct pollfd){.fd = ws_server_fd(f->server), .events = POLLIN};
    while (f->seen.ran == 0 && raw_now_ms() - a.begun < PATIENCE_MS) {
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1); /* also for a timer */
        assert_int_equal(ws_server_step(f->server, 0), 1);
    }
    assert_string_equal(f->seen.text, "ring");
    assert_true(raw_now_ms() - a.begun >= a.delay_ms);

    ws_server_stop(f->server);
    while (ws_server_step(f->server, 1000) == 1)
        continue;
    assert_int_equal(ws_server_step(f->server, 0), 0);
    raw_expect_close(c, 1001);
}

/* What is done between turns may be done long after the last one. */
static void deadline_set_between_turns_runs_from_then(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){.close_timeout_ms = 1500});
    c = upgraded_in_turns(f, "foreign loop");
    sleep_ms(1600);
    assert_int_equal(ws_close(f->conn, 4000, ""), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(f->seen.closed, 0); /* it has its time to answer */
    raw_expect_close(c, 4000);
}

static void idle_foreign_loop_does_not_spin(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    upgraded_in_turns(f, "idle");
    assert_in_range(count_turns(f, 150), 0, 20);
}

static void step_waits_no_longer_than_it_was_told(void **state)
{
    struct fixture *f = *state;
    int64_t begun = raw_now_ms();

    create(f, (struct ws_options){0});
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(ws_server_step(f->server, 30), 1);
    assert_in_range(raw_now_ms() - begun, 29, PATIENCE_MS);
}

/* --- stopping --------------------------------------------------------------------------------- */

/* Until the server keeps `n` unfinished requests, and nothing else. */
static void wait_for_input(struct fixture *f, size_t n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (stats(f).buffered < n * 200 && raw_now_ms() < deadline)
        sleep_ms(1);
    assert_true(stats(f).buffered >= n * 200);
}

static void stop_says_1001_to_everybody_and_returns(void **state)
{
    struct fixture *f = *state;
    struct raw_client *open[3], *half, *late;
    struct raw_client probe;

    start_serving(f, (struct ws_options){.close_timeout_ms = 200}, "/late",
                  (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    for (size_t i = 0; i < COUNT(open); i++)
        open[i] = upgraded(f, "/echo");
    half = client(f, "half a request");
    raw_send_text(half, "GET /echo HT");
    late = client(f, "a late request");
    raw_send_text(late, "GET /late?100000 HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 1, "requests");
    ws_server_stop(f->server);
    for (size_t i = 0; i < COUNT(open); i++) {
        raw_expect_close(open[i], 1001);
        raw_send_close(open[i], 1001);
        raw_expect_eof(open[i]);
        raw_close(open[i]);
    }
    expect_end(half);
    expect_end(late);
    raw_close(half);
    raw_close(late);
    join(f);
    assert_int_equal(f->run_result, 0);
    assert_int_equal(f->seen.closed, 3);
    assert_int_equal(f->seen.close_code, 1001);
    ws_server_free(f->server);
    f->server = NULL;
    assert_int_equal(f->seen.aborted, 1);
    raw_init(&probe);
    probe.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(probe.fd,
                (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
                                                         .sin_port = htons(f->port),
                                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                sizeof(struct sockaddr_in)),
        -1);
    raw_close(&probe);
}

static void stop_under_load_loses_no_reply_and_returns(void **state)
{
    enum { MESSAGES = 500, SIZE = 1000 };
    struct fixture *f = *state;
    struct raw_client *c[4];
    uint8_t *payload = make_payload(SIZE + MESSAGES, true);

    start(f, (struct ws_options){.close_timeout_ms = PATIENCE_MS / 2});
    for (size_t i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&f->out, RAW_TEXT, payload + i, SIZE);
    for (size_t i = 0; i < COUNT(c); i++)
        c[i] = slow_upgraded(f, "/echo");
    for (size_t i = 0; i < COUNT(c); i++)
        raw_send_some(c[i], f->out.data, f->out.len, 5);
    ws_server_stop(f->server);
    for (size_t i = 0; i < COUNT(c); i++) {
        struct raw_frame frame;
        size_t n = 0;

        for (raw_read_frame(c[i], &frame); frame.head == RAW_TEXT; raw_read_frame(c[i], &frame)) {
            if (frame.len != SIZE || memcmp(frame.payload, payload + n++, SIZE) != 0)
                raw_fail(c[i], "message %zu is not what was sent", n);
        }
        if (frame.head != RAW_CLOSE || memcmp(frame.payload, "\x03\xe9", 2) != 0)
            raw_fail(c[i], "expected Close 1001, came %02x", frame.head);
        raw_close(c[i]);
    }
    join(f);
    assert_int_equal(f->run_result, 0);
    assert_int_equal(f->seen.closed, (int)COUNT(c));
    free(payload);
}

/* They leave TCP open: a client that has answered our Close, one that has had an answer and none
 * that waits for more. */
static void stop_does_not_wait_for_who_is_owed_nothing(void **state)
{
    struct fixture *f = *state;
    struct raw_client *closed[3], *idle[3], *silent;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = 10 * PATIENCE_MS});
    silent = client(f, "silent");
    for (size_t i = 0; i < COUNT(closed); i++) {
        closed[i] = upgraded(f, "/echo");
        idle[i] = client(f, "keep-alive");
        raw_send_text(idle[i], "GET /http HTTP/1.1\r\n" HOST "\r\n");
        expect_body(idle[i], "GET /http? []");
    }
    begun = raw_now_ms();
    ws_server_stop(f->server);
    for (size_t i = 0; i < COUNT(closed); i++) {
        raw_expect_close(closed[i], 1001);
        raw_send_close(closed[i], 1001);
        raw_expect_eof(closed[i]);
    }
    join(f);
    assert_in_range(raw_now_ms() - begun, 0, PATIENCE_MS);
    assert_int_equal(f->run_result, 0);
    assert_int_equal(f->seen.closed, 3);
    assert_int_equal(f->seen.close_code, 1001);
    raw_expect_eof(silent);
}

/* A request that has begun is answered, and the connection closed behind that. */
static void stop_waits_for_requests_that_have_begun(void **state)
{
    struct fixture *f = *state;
    struct raw_client *half, *body, *late, *open;
    struct raw_response r;

    start_serving(f, (struct ws_options){.close_timeout_ms = 10 * PATIENCE_MS}, "/late",
                  (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    half = client(f, "half a head");
    body = client(f, "half a body");
    late = client(f, "late");
    raw_send_text(half, "GET /http HT");
    raw_send_text(body, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nab");
    raw_send_text(late, "GET /late?500 HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 1, "requests");
    wait_for_input(f, 2);
    open = upgraded(f, "/echo");
    ws_server_stop(f->server);
    raw_expect_close(open, 1001);
    raw_send_close(open, 1001);
    raw_expect_status(late, &r, 200);
    assert_true(raw_header_is(&r, "Connection", "close"));
    raw_expect_eof(late);
    raw_send_text(half, "TP/1.1\r\n" HOST "\r\n");
    expect_body(half, "GET /http? []");
    raw_expect_eof(half);
    raw_send_text(body, "cd");
    expect_body(body, "POST /http? [abcd]");
    raw_expect_eof(body);
    join(f);
    assert_int_equal(f->seen.aborted, 0);
}

static void upgrade_to_a_server_that_stops_is_refused(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c, *open;

    start(f, (struct ws_options){.close_timeout_ms = 10 * PATIENCE_MS});
    c = client(f, "half a handshake");
    open = upgraded(f, "/echo");
    raw_send_text(c, GET HOST UPGRADE);
    wait_for_input(f, 1);
    ws_server_stop(f->server);
    raw_expect_close(open, 1001); /* so it has begun to stop */
    raw_send_close(open, 1001);
    raw_send_text(c, KEY VERSION "\r\n");
    expect_last_response(c, 503);
    join(f);
    assert_int_equal(f->seen.opened, 1);
}

static void request_that_takes_too_long_for_a_stop_gets_503(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_serving(f, (struct ws_options){.close_timeout_ms = 50}, "/late",
                  (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    c = client(f, "late");
    raw_send_text(c, "GET /late?1000000 HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 1, "requests");
    stop_and_join(f);
    raw_expect_status(c, &r, 503);
    assert_int_equal(f->seen.aborted, 1);
}

static void stop_waits_no_longer_than_the_close_timeout(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = 100});
    c = upgraded(f, "/echo");
    begun = raw_now_ms();
    stop_and_join(f);
    assert_in_range(raw_now_ms() - begun, 50, PATIENCE_MS);
    raw_expect_close(c, 1001);
}

static void second_stop_ends_the_waiting(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.close_timeout_ms = 10 * PATIENCE_MS});
    c = upgraded(f, "/echo");
    ws_server_stop(f->server);
    raw_expect_close(c, 1001);
    stop_and_join(f);
}

/* For the signal handler, which gets no argument. The only state at file scope. */
static struct ws_server *signalled_server;

static void stop_signalled_server(int signal_number)
{
    (void)signal_number;
    ws_server_stop(signalled_server);
}

static void server_may_be_stopped_from_a_signal_handler(void **state)
{
    struct fixture *f = *state;
    struct sigaction act = {.sa_handler = stop_signalled_server};
    struct sigaction old;
    struct raw_client *c = start_echo(f);

    signalled_server = f->server;
    sigaction(SIGUSR1, &act, &old);
    pthread_kill(f->thread, SIGUSR1); /* interrupts epoll_wait too */
    raw_expect_close(c, 1001);
    raw_send_close(c, 1001);
    raw_expect_eof(c);
    raw_close(c);
    join(f);
    sigaction(SIGUSR1, &old, NULL);
    assert_int_equal(f->run_result, 0);
}

/* ws_server_free() calls on_close for whoever is open, and on_abort for whoever waits. */
static void free_closes_what_is_open(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c, *late;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    c = upgraded_in_turns(f, "open");
    late = client(f, "waits");
    raw_send_text(late, "GET /late?100000 HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 100 && f->seen.requests == 0; i++)
        ws_server_step(f->server, 10);
    assert_int_equal(f->seen.requests, 1);
    assert_int_equal(ws_post(f->server, post_again, f), 0); /* dropped */
    ws_server_free(f->server);
    f->server = NULL;
    assert_int_equal(f->seen.opened, 1);
    assert_int_equal(f->seen.closed, 1);
    assert_int_equal(f->seen.aborted, 1);
    assert_int_equal(f->seen.ran, 0);
    if (!raw_gone_within(c, PATIENCE_MS) || !raw_gone_within(late, PATIENCE_MS))
        fail_msg("a connection outlived its server");
}

/* --- listening, descriptors ------------------------------------------------------------------- */

static void check_echo_at(struct fixture *f, const struct sockaddr *address, socklen_t len)
{
    struct raw_client *c = unconnected(f);

    raw_connect_to(c, address, len, 0);
    raw_upgrade(c, "/echo");
    raw_expect_echo(c, "hello");
    raw_close(c);
}

static void server_listens_on_ipv4_ipv6_and_unix_at_once(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char bind_unix[64];
    const char *const addresses[] = {"127.0.0.1", bind_unix, "::1", NULL};

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-test-%d.sock", (int)getpid());
    snprintf(un.sun_path, sizeof un.sun_path, "%s", bind_unix + strlen("unix:"));
    start(f, (struct ws_options){.bind = addresses});
    expect_well(f);
    check_echo_at(f, (struct sockaddr *)&un, sizeof un);
    in6.sin6_port = htons(f->port);
    check_echo_at(f, (struct sockaddr *)&in6, sizeof in6);
    stop_and_join(f);
    ws_server_free(f->server);
    f->server = NULL;
    assert_int_equal(access(un.sun_path, F_OK), -1); /* the socket file is gone */

    start(f, (struct ws_options){.bind = (const char *const[]){bind_unix, NULL}});
    assert_int_equal(f->port, 0);
    check_echo_at(f, (struct sockaddr *)&un, sizeof un);
}

static void note_address(struct ws_conn *c, const struct ws_request *req)
{
    char address[WS_ADDRESS_SIZE];

    (void)req;
    ws_conn_address(c, address);
    note_text(of(c), address, strlen(address));
    count(of(c), &of(c)->seen.opened);
}

/* Connect to `to`, and check that the server calls us by what `format` makes of our port. */
static void check_address_at(struct fixture *f, const struct sockaddr *to, socklen_t len,
                             const char *format)
{
    struct raw_client *c = unconnected(f);
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } us = {0};
    socklen_t size = sizeof us;
    char expected[WS_ADDRESS_SIZE];

    f->seen.text[0] = '\0';
    raw_connect_to(c, to, len, 0);
    raw_upgrade(c, "/note");
    wait_until(f, &f->seen.opened, read_counter(f, &f->seen.closed) + 1, "calls of on_open");
    assert_int_equal(getsockname(c->fd, &us.any, &size), 0);
    snprintf(expected, sizeof expected, "%s", format);
    if (to->sa_family != AF_UNIX) /* the port is in the same place for both */
        snprintf(expected, sizeof expected, "%s:%u", format, ntohs(us.v4.sin_port));
    assert_string_equal(f->seen.text, expected);
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    raw_close(c);
    wait_connections(f, 0);
}

static void peer_has_the_address_that_it_came_from(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char bind_unix[64];
    const char *const addresses[] = {"127.0.0.1", bind_unix, "::1", NULL};

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-test-%d.sock", (int)getpid());
    snprintf(un.sun_path, sizeof un.sun_path, "%s", bind_unix + strlen("unix:"));
    start_serving(f, (struct ws_options){.bind = addresses}, "/note",
                  (struct ws_handlers){.on_open = note_address});
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = in6.sin6_port = htons(f->port);
    check_address_at(f, (struct sockaddr *)&in, sizeof in, "127.0.0.1");
    check_address_at(f, (struct sockaddr *)&in6, sizeof in6, "[::1]");
    check_address_at(f, (struct sockaddr *)&un, sizeof un, "unix");
}

static void server_without_options_listens_on_loopback(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct fixture *f = *state;

    f->server = ws_server_new(NULL);
    assert_non_null(f->server);
    serve(f, "/echo", (struct ws_handlers){.on_message = echo});
    run(f);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(ws_server_port(f->server));
    check_echo_at(f, (struct sockaddr *)&a, sizeof a);
}

static void expect_no_server(struct fixture *f, const struct ws_options *options,
                             const char *logged)
{
    errno = 0;
    assert_null(ws_server_new(options));
    assert_int_equal(errno, EINVAL);
    assert_non_null(strstr(f->seen.log, logged));
}

static void option_that_makes_no_sense_is_named(void **state)
{
    static const char *const origins[] = {"null", "https://a.example/", NULL};
    static const char *const subprotocols[] = {"chat", "chat/2", NULL};
    struct fixture *f = *state;
    struct ws_options options = {.scheme = "ftp", .log = keep_log, .log_arg = f};

    expect_no_server(f, &options, "scheme 'ftp'");

    options.scheme = "http";
    options.unix_mode = 01777;
    expect_no_server(f, &options, "rights 01777");

    options.unix_mode = 0;
    options.origins = origins;
    expect_no_server(f, &options, "origin 'https://a.example/'");
    assert_non_null(strstr(f->seen.log, ws_origin_fault(origins[1])));

    create(f, (struct ws_options){0});
    f->seen.log[0] = '\0';
    assert_int_equal(ws_server_handle(f->server, "/x", &(struct ws_handlers){.origins = origins}),
                     WS_ERR_INVALID);
    assert_non_null(strstr(f->seen.log, "origin 'https://a.example/'"));
    assert_int_equal(
        ws_server_handle(f->server, "/x", &(struct ws_handlers){.subprotocols = subprotocols}),
        WS_ERR_INVALID);
    assert_non_null(strstr(f->seen.log, "subprotocol 'chat/2'"));
}

static void origins_can_be_compared_by_whoever_needs_it(void **state)
{
    static const char *const list[] = {"https://*.a.example", NULL}, *const any[] = {"*", NULL};
    (void)state;

    assert_true(ws_origin_allowed(ws_str("https://b.a.example"), list));
    assert_false(ws_origin_allowed(ws_str("https://a.example"), list));
    assert_false(ws_origin_allowed(ws_str(NULL), list));
    assert_false(ws_origin_allowed(ws_str("https://b.a.example"), NULL));
    assert_true(ws_origin_allowed(ws_str(NULL), any));
    assert_null(ws_origin_fault(list[0]));
    assert_non_null(ws_origin_fault("https://*"));
}

/* As a log that writes to a full disk. */
static void keep_log_and_spoil_errno(void *arg, enum ws_log_level level, const char *line)
{
    keep_log(arg, level, line);
    errno = ENOSPC;
}

static void address_that_cannot_be_bound_is_named(void **state)
{
    static const char *const bad[] = {"192.0.2.1", "unix:/nonexistent/dir/socket", "no such host!"};
    struct fixture *f = *state;
    struct ws_options options = {.log = keep_log, .log_arg = f};
    char port[8];

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *const addresses[] = {bad[i], NULL};

        options.bind = addresses;
        f->seen.log[0] = '\0';
        assert_null(ws_server_new(&options));
        if (strstr(f->seen.log, bad[i]) == NULL)
            fail_msg("the log does not name %s: %s", bad[i], f->seen.log);
    }
    options = (struct ws_options){.port = f->port, .log = keep_log_and_spoil_errno, .log_arg = f};
    errno = 0;
    assert_null(ws_server_new(&options));
    assert_int_equal(errno, EADDRINUSE);
    snprintf(port, sizeof port, "%u", f->port);
    assert_non_null(strstr(f->seen.log, port));
}

/* Another server is there, and so busy that its backlog is full: it is alive, and must be let
 * be. */
static void busy_unix_socket_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char bind_unix[64];
    const char *const addresses[] = {bind_unix, NULL};
    struct ws_options options = {.bind = addresses, .log = keep_log, .log_arg = f};
    int fds[8];
    size_t n = 1;

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-test-%d.busy", (int)getpid());
    snprintf(un.sun_path, sizeof un.sun_path, "%s", bind_unix + strlen("unix:"));
    fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    do
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    while (connect(fds[n++], (struct sockaddr *)&un, sizeof un) == 0 && n < COUNT(fds));
    assert_int_equal(errno, EAGAIN);
    alarm(PATIENCE_MS / 1000); /* instead of hanging for ever */
    errno = 0;
    assert_null(ws_server_new(&options));
    alarm(0);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    while (n > 0)
        close(fds[--n]);
    unlink(un.sun_path);
}

/* Somebody removed its socket while it ran, and the next server is there already. */
static void stop_leaves_the_unix_socket_of_a_successor(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char bind_unix[64];
    struct ws_options options = {.bind = (const char *const[]){bind_unix, NULL}};
    struct ws_server *old;

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-test-%d.next", (int)getpid());
    snprintf(un.sun_path, sizeof un.sun_path, "%s", bind_unix + strlen("unix:"));
    old = ws_server_new(&options);
    assert_non_null(old);
    assert_int_equal(unlink(un.sun_path), 0);
    start(f, options);
    ws_server_free(old);
    check_echo_at(f, (struct sockaddr *)&un, sizeof un);
    stop_and_join(f);
    assert_int_equal(access(un.sun_path, F_OK), -1);
}

static void clients_over_max_clients_are_not_served_until_one_leaves(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c[3], *extra;
    struct raw_response r;

    start(f, (struct ws_options){.max_clients = 3});
    for (size_t i = 0; i < COUNT(c); i++)
        c[i] = upgraded(f, "/echo");
    assert_int_equal(stats(f).max_clients, 3);
    extra = client(f, "one too many");
    raw_expect_status(extra, &r, 503);
    assert_true(raw_header_is(&r, "Retry-After", "5"));
    raw_expect_eof(extra);
    assert_int_equal(stats(f).connections, 3);
    raw_reset(c[0]);
    wait_connections(f, 2);
    extra = upgraded(f, "/echo");
    raw_expect_echo(extra, "at last");
    raw_expect_echo(c[1], "undisturbed");
}

/* Whatever it sends: to close before that is read would be a reset. */
static void client_that_is_refused_sees_why_though_it_sends_much(void **state)
{
    enum { SIZE = 4 * MIB };
    static const uint8_t zeros[64 * KIB];
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.max_clients = 1});
    upgraded(f, "/echo");
    for (int i = 0; i < 3; i++) {
        c = client(f, "one too many");
        raw_bytes_text(&f->out, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
        for (int sent = 0; sent < SIZE; sent += 64 * KIB)
            raw_bytes_add(&f->out, zeros, sizeof zeros);
        raw_send_bytes(c, &f->out);
        expect_last_response(c, 503);
        raw_close(c);
    }
}

/* Those who are refused have few places themselves, and none of the others'. */
static void many_who_are_refused_take_nobodys_place(void **state)
{
    enum { MANY = 40 };
    struct fixture *f = *state;
    struct raw_client *served;
    struct raw_bytes nothing = {0};
    struct raw_response r;
    int fds[MANY];
    int open;

    start(f, (struct ws_options){.max_clients = 1, .close_timeout_ms = 3600 * 1000});
    served = upgraded(f, "/echo");
    open = count_descriptors();
    for (size_t i = 0; i < MANY; i++)
        fds[i] = open_one(f->port, &nothing, 0, i);
    raw_expect_status(client(f, "the last"), &r, 503);
    assert_int_equal(stats(f).connections, 1);
    assert_in_range(count_descriptors() - open, MANY + 1, MANY + 1 + 16);
    raw_reset(served);
    wait_connections(f, 0);
    expect_well(f);
    for (size_t i = 0; i < MANY; i++)
        close(fds[i]);
}

static void ten_thousand_resets_leak_nothing(void **state)
{
    enum { BATCHES = 10, BATCH = 1000 };
    struct fixture *f = *state;
    int fds[BATCH];
    int before;
    size_t head;

    start(f, (struct ws_options){0});
    expect_well(f);
    wait_connections(f, 0);
    before = count_descriptors();
    raw_bytes_upgrade(&f->out, "/echo", "");
    head = f->out.len;
    raw_bytes_header(&f->out, RAW_BINARY, 1000);
    raw_bytes_payload(&f->out, f->out.data, 500 < head ? 100 : 50, 0);
    for (int batch = 0; batch < BATCHES; batch++) {
        for (size_t i = 0; i < BATCH; i++)
            fds[i] = open_one(f->port, &f->out, head, i);
        if (batch % 2 == 0)
            wait_connections(f, BATCH);
        for (size_t i = 0; i < BATCH; i++)
            close(fds[i]);
    }
    wait_connections(f, 0);
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(stats(f).buffered, 0);
    assert_int_equal(f->seen.opened, f->seen.closed);
    expect_well(f);
}

/* The child of descriptors_may_run_out: a server that finds the limit lowered under its feet. */
static void stop_on_eof(void *arg, uint32_t ready)
{
    struct fixture *f = arg;

    (void)ready;
    ws_server_stop(f->server);
    ws_server_stop(f->server);
}

static _Noreturn void serve_with_few_descriptors(struct fixture *f, int port_out, int life_in)
{
    struct ws_options options = {0};
    struct rlimit few;

    create(f, options);
    getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = (rlim_t)count_descriptors() + 8;
    if (setrlimit(RLIMIT_NOFILE, &few) != 0 ||
        ws_watch(f->server, life_in, EPOLLIN, stop_on_eof, f) != 0 ||
        write(port_out, &f->port, sizeof f->port) != sizeof f->port)
        _exit(2);
    _exit(ws_server_run(f->server) == 0 ? 0 : 1);
}

static int64_t process_cpu_ms(pid_t pid)
{
    struct timespec t = {0};
    clockid_t clock;

    assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the server has seen that descriptors are free, it may hang up on us. */
static void expect_well_again(struct fixture *f)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    raw_bytes_upgrade(&f->out, "/echo", "");
    while (raw_now_ms() < deadline) {
        struct raw_client *c = client(f, "again");
        bool served = send(c->fd, f->out.data, f->out.len, MSG_NOSIGNAL) > 0 &&
                      raw_readable_within(c, PATIENCE_MS) &&
                      recv(c->fd, &(char){0}, 1, MSG_PEEK) == 1;

        raw_close(c);
        if (served)
            break;
    }
    expect_well(f);
}

/* A server in a child process, which stops when `*life` is closed. */
static pid_t fork_with_few_descriptors(struct fixture *f, int *life)
{
    int port[2], ends[2];
    pid_t child;

    assert_int_equal(pipe2(port, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[1]);
        serve_with_few_descriptors(f, port[1], ends[0]);
    }
    close(ends[0]);
    close(port[1]);
    assert_int_equal(read(port[0], &f->port, sizeof f->port), sizeof f->port);
    close(port[0]);
    *life = ends[1];
    return child;
}

static void expect_clean_exit(pid_t child, int life)
{
    int status;

    close(life);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* With accept() failing by EMFILE the server must not spin, and must recover. */
static void descriptors_may_run_out(void **state)
{
    enum { CROWD = 40 };
    struct fixture *f = *state;
    struct raw_bytes nothing = {0};
    int fds[CROWD];
    int life;
    pid_t child = fork_with_few_descriptors(f, &life);
    int64_t cpu;

    for (size_t i = 0; i < CROWD; i++)
        fds[i] = open_one(f->port, &nothing, 0, i);
    sleep_ms(50);
    cpu = process_cpu_ms(child);
    sleep_ms(300);
    cpu = process_cpu_ms(child) - cpu;
    for (size_t i = 0; i < CROWD; i++)
        close(fds[i]);
    expect_well_again(f);
    expect_clean_exit(child, life);
    assert_in_range(cpu, 0, 100);
}

/* Whoever finds no descriptor is not left waiting for one: it sees its connection end, one client
 * after the other. */
static void client_without_a_descriptor_is_hung_up_on(void **state)
{
    enum { CROWD = 30 };
    struct fixture *f = *state;
    struct raw_bytes request = {0};
    int fds[CROWD];
    int life;
    int served = 0;
    pid_t child = fork_with_few_descriptors(f, &life);

    raw_bytes_text(&request, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    for (size_t i = 0; i < CROWD; i++)
        fds[i] = open_one(f->port, &request, request.len, 2);
    for (size_t i = 0; i < CROWD; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLIN};

        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        served += recv(fds[i], &(char){0}, 1, 0) == 1; /* else EOF or RST */
    }
    assert_in_range(served, 1, CROWD - 10);
    for (size_t i = 0; i < CROWD; i++)
        close(fds[i]);
    expect_well_again(f);
    expect_clean_exit(child, life);
    raw_bytes_release(&request);
}

/* An idle server with open clients sleeps. */
static void idle_server_uses_no_cpu(void **state)
{
    struct fixture *f = *state;
    int64_t before;

    start(f, (struct ws_options){0});
    for (int i = 0; i < 10; i++)
        upgraded(f, "/echo");
    stats(f);
    before = loop_cpu_ms(f);
    sleep_ms(100);
    assert_in_range(loop_cpu_ms(f) - before, 0, 30);
}

/* What protocols above ws.h share with the core. The codecs have tests of their own. */
static void base64_and_utf8_are_served(void **state)
{
    char text[WS_BASE64_SIZE(4)];
    char data[8];
    (void)state;

    assert_int_equal(ws_base64_encode(text, "\1\2\3\4", 4), 8);
    assert_memory_equal(text, "AQIDBA==", 8);
    assert_int_equal(ws_base64_decode(data, text, 8), 4);
    assert_memory_equal(data, "\1\2\3\4", 4);
    assert_int_equal(ws_base64_decode(data, "AQIDBA", 6), WS_ERR_INVALID);
    assert_true(ws_utf8_valid("\xe2\x82\xac", 3));
    assert_true(ws_utf8_valid("", 0));
    assert_false(ws_utf8_valid("\xe2\x82", 2));
    assert_false(ws_utf8_valid("\xff", 1));
}

static void memory_of_the_application_counts_in_max_memory(void **state)
{
    struct fixture *f = *state;
    struct ws_account *a;
    size_t before;
    uint8_t *p;

    create(f, (struct ws_options){.max_memory = 64 * KIB});
    a = ws_account_new(f->server, NULL);
    assert_non_null(a);
    before = ws_server_stats(f->server).buffered;
    p = ws_account_take(a, 20 * KIB);
    assert_non_null(p);
    for (size_t i = 0; i < 20 * KIB; i++)
        assert_int_equal(p[i], 0);
    assert_int_equal(ws_server_stats(f->server).buffered, before + 20 * KIB);
    memset(p, 'x', 20 * KIB);
    assert_null(ws_account_take(a, 50 * KIB));
    assert_null(ws_account_resize(a, p, 20 * KIB, 100 * KIB));
    p = ws_account_resize(a, p, 20 * KIB, 40 * KIB);
    assert_non_null(p);
    for (size_t i = 0; i < 20 * KIB; i++)
        assert_int_equal(p[i], 'x');
    assert_int_equal(ws_server_stats(f->server).buffered, before + 40 * KIB);
    ws_account_give(a, p, 40 * KIB);
    ws_account_give(a, NULL, 0);
    assert_int_equal(ws_server_stats(f->server).buffered, before);
    assert_ptr_equal(ws_account_keep(a), a);
    ws_account_release(a);
    ws_account_release(a);
    ws_account_release(NULL);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

/* What a connection was the reason for may be kept longer than it, and longer than the server. */
static void an_account_outlives_its_connection_and_its_server(void **state)
{
    struct fixture *f = *state;
    struct ws_account *a;
    struct raw_client *c;
    void *p;

    create(f, (struct ws_options){0});
    c = client(f, "short");
    raw_send_upgrade(c, "/echo", "");
    poll_until_readable(f, c);
    a = ws_account_new(f->server, f->conn);
    assert_non_null(a);
    p = ws_account_take(a, 10 * KIB);
    assert_non_null(p);
    raw_reset(c);
    poll_until_accepted(f, 0);
    assert_true(ws_server_stats(f->server).buffered >= 10 * KIB);
    p = ws_account_resize(a, p, 10 * KIB, 20 * KIB);
    assert_non_null(p);
    ws_server_free(f->server);
    f->server = NULL;
    assert_null(ws_account_take(a, 1));
    assert_null(ws_account_resize(a, p, 20 * KIB, 30 * KIB));
    ws_account_give(a, p, 20 * KIB);
    ws_account_release(a);
}

/* Whoever has sessions that hold much must not silence the others. */
static void large_memory_of_the_application_leaves_some_to_small(void **state)
{
    struct fixture *f = *state;
    struct ws_account *a;
    void *p, *small;

    create(f, (struct ws_options){.max_memory = 16 * MIB});
    a = ws_account_new(f->server, NULL);
    p = ws_account_resize(a, NULL, 0, 15 * MIB - 64 * KIB);
    assert_non_null(p);
    assert_null(ws_account_take(a, 64 * KIB));
    small = ws_account_take(a, 1000);
    assert_non_null(small);
    ws_account_give(a, p, 15 * MIB - 64 * KIB);
    ws_account_give(a, small, 1000);
    ws_account_release(a);
}

#include "tests/test_server.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
