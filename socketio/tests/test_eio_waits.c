/* SPDX-License-Identifier: MIT
 *
 * Handshakes about which the application decides later. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"

enum { DECISIONS_MAX = 8 };

#define POLLING   "EIO=4&transport=polling&user=5"
#define WEBSOCKET "EIO=4&transport=websocket&user=5"

/* What on_handshake has put off, for the loop's thread. */
static struct {
    struct eio_decision decisions[DECISIONS_MAX];
    int count;
    const char *at_once; /* decide before on_handshake returns: by this text, "+" accepts */
    int result;
} app;

/* The result must not count, so it says the opposite. */
static const char *later(struct eio_server *s, const struct eio_handshake *h)
{
    struct eio_decision d = eio_decide_later(s, h);
    struct eio_decision same = d.server == NULL ? d : eio_decide_later(s, h);

    app.decisions[app.count++ % DECISIONS_MAX] = d;
    if (same.number != d.number || same.connection != d.connection)
        abort();
    if (app.at_once == NULL)
        return "no";
    app.result = eio_decide(&d, strcmp(app.at_once, "+") == 0 ? NULL : app.at_once);
    return strcmp(app.at_once, "+") == 0 ? "no" : NULL;
}

static void see_open(struct eio_session *s, const struct eio_handshake *h)
{
    struct engine *e = engine_of(s);
    char user[8] = "";

    eio_query_get(ws_request_query(h->request), "user", user, sizeof user);
    note_text(e->f, user, strlen(user));
    engine_count_open(s, h);
}

static void start_later(struct engine *e)
{
    memset(&app, 0, sizeof app);
    engine_handle(e, (struct eio_handlers){.on_handshake = later, .on_open = see_open});
}

static void get_count(struct fixture *f, void *arg)
{
    (void)f;
    *(int *)arg = app.count;
}

/* Wait until on_handshake has been called `n` times. */
static void wait_for_asked(struct engine *e, int n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    int count = 0;

    while (count < n && raw_now_ms() < deadline)
        on_loop(e->f, get_count, &count);
    assert_int_equal(count, n);
}

static void decide_last(struct fixture *f, void *arg)
{
    struct eio_decision *d = &app.decisions[(app.count - 1) % DECISIONS_MAX];
    struct eio_decision copy = *d;

    (void)f;
    app.result = eio_decide(d, arg);
    if (d->server != NULL || eio_decide(d, NULL) != WS_ERR_CLOSED ||
        eio_decide(&copy, NULL) != WS_ERR_CLOSED) /* once, of all copies */
        abort();
}

static void expect_decided(struct engine *e, const char *refusal, int result)
{
    on_loop(e->f, decide_last, (void *)refusal);
    assert_int_equal(app.result, result);
}

static void polling_waits_for_the_decision(void **state)
{
    struct engine *e = *state;
    struct raw_response r;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    start_later(e);
    c = client(e->f, "waits");
    ask(c, "GET", POLLING, "", NULL, 0);
    wait_for_asked(e, 1);
    assert_false(raw_readable_within(c, 20));
    expect_decided(e, NULL, 0);
    raw_expect_status(c, &r, 200);
    assert_memory_equal(r.body, "0{\"sid\":\"", 9);
    snprintf(sid, sizeof sid, "%.20s", (const char *)r.body + 9);
    expect_post(c, sid, "4x");
    expect_poll(c, sid, "4x");
    assert_string_equal(e->f->seen.text, "5"); /* on_open sees the request */
    assert_int_equal(app.count, 1);
    expect_post(c, sid, "1");
}

/* The same connection: each handshake has its own decision. */
static void polling_is_refused_later_and_may_try_again(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char text[1000];

    start_later(e);
    c = client(e->f, "waits");
    for (int i = 1; i <= 3; i++) {
        ask(c, "GET", POLLING, "", NULL, 0);
        wait_for_asked(e, i);
        expect_decided(e, i == 1 ? "say \"no\"" : "", 0);
        expect(c, 403,
               i == 1 ? "{\"code\":4,\"message\":\"say \\\"no\\\"\"}"
                      : "{\"code\":4,\"message\":\"Forbidden\"}");
    }
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ask(c, "GET", POLLING, "", NULL, 0);
    wait_for_asked(e, 4);
    expect_decided(e, text, 0);
    memcpy(text, "{\"code\":4,\"message\":\"", 21);
    memcpy(text + 21 + 256, "\"}", 3);
    expect(c, 403, text);
    expect_nothing_left(e);
}

static void websocket_waits_for_the_decision(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_frame frame;

    start_later(e);
    c = client(e->f, "waits");
    ask(c, "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
    raw_send_message(c, "4early");
    wait_for_asked(e, 1);
    assert_false(raw_readable_within(c, 20));
    expect_decided(e, NULL, 0);
    raw_expect_upgraded(c, &(struct raw_response){0});
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "0{\"sid\":\"", 9);
    raw_expect_message(c, "4early");
    assert_string_equal(e->f->seen.text, "5");
    raw_close(c);
    c = client(e->f, "is refused");
    ask(c, "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
    wait_for_asked(e, 2);
    expect_decided(e, "not you", 0);
    expect_last(c, 400, "not you");
    expect_nothing_left(e);
}

/* What follows a session is not asked about: polls, upgrades, mistakes. */
static void only_handshakes_are_asked_about(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c;

    start_later(e);
    app.at_once = "+";
    c = upgrade(e, (open_polling(e, sid), sid));
    raw_send_message(c, "4x");
    raw_expect_message(c, "4x");
    c = client(e->f, "mistakes");
    ask(c, "GET", "EIO=4&transport=x", "", NULL, 0);
    expect(c, 400, "{\"code\":0,\"message\":\"Transport unknown\"}");
    ask(c, "GET", "EIO=4&transport=websocket", "", NULL, 0);
    expect(c, 400, BAD_REQUEST);
    assert_int_equal(app.count, 1);
}

static void a_decision_may_be_there_before_on_handshake_returns(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c;

    start_later(e);
    app.at_once = "+";
    c = open_polling(e, sid);
    assert_int_equal(app.result, 0);
    expect_post(c, sid, "1");
    app.at_once = "at once";
    ask(c, "GET", POLLING, "", NULL, 0);
    expect(c, 403, "{\"code\":4,\"message\":\"at once\"}");
    assert_int_equal(app.result, 0);
    expect_nothing_left(e);
}

static void a_client_that_has_gone_is_decided_about_in_vain(void **state)
{
    static void (*const go[])(struct raw_client *) = {raw_close, raw_reset};
    struct engine *e = *state;

    start_later(e);
    for (int i = 0; i < 4; i++) {
        struct raw_client *c = client(e->f, "goes");

        if (i < 2)
            ask(c, "GET", POLLING, "", NULL, 0);
        else
            ask(c, "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
        wait_for_asked(e, i + 1);
        go[i % 2](c);
        wait_connections(e->f, 0);
        expect_decided(e, NULL, WS_ERR_CLOSED);
    }
    expect_nothing_left(e);
}

/* Many at a time, decided in another order. */
static void decide_all(struct fixture *f, void *arg)
{
    (void)f;
    (void)arg;
    for (int i = DECISIONS_MAX - 1; i >= 0; i--)
        if (eio_decide(&app.decisions[i], i % 2 == 0 ? NULL : "odd") != 0)
            abort();
}

static void each_has_its_own_decision(void **state)
{
    struct raw_client *c[DECISIONS_MAX];
    struct engine *e = *state;

    start_later(e);
    for (int i = 0; i < DECISIONS_MAX; i++) {
        c[i] = client(e->f, "one of many");
        ask(c[i], "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
        wait_for_asked(e, i + 1);
    }
    on_loop(e->f, decide_all, NULL);
    for (int i = 0; i < DECISIONS_MAX; i++) {
        if (i % 2 == 0)
            raw_expect_upgraded(c[i], &(struct raw_response){0});
        else
            expect_last(c[i], 400, "odd");
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.opened), DECISIONS_MAX / 2);
}

static void close_server(struct fixture *f, void *arg)
{
    struct engine *e = arg;

    (void)f;
    eio_server_close(e->server);
}

static void a_server_that_is_closed_refuses_what_waits(void **state)
{
    struct engine *e = *state;
    struct raw_client *c, *w;

    start_later(e);
    c = client(e->f, "polling");
    ask(c, "GET", POLLING, "", NULL, 0);
    wait_for_asked(e, 1);
    w = client(e->f, "websocket");
    ask(w, "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
    wait_for_asked(e, 2);
    on_loop(e->f, close_server, e);
    expect(c, 503, "");
    expect_last(w, 503, "");
    expect_decided(e, NULL, WS_ERR_CLOSED);
    expect_nothing_left(e);
}

/* Teardown frees the server while they wait. */
static void what_waits_at_the_end_is_forgotten(void **state)
{
    struct engine *e = *state;

    start_later(e);
    ask(client(e->f, "polling"), "GET", POLLING, "", NULL, 0);
    wait_for_asked(e, 1);
    ask(client(e->f, "websocket"), "GET", WEBSOCKET, UPGRADE KEY VERSION, NULL, 0);
    wait_for_asked(e, 2);
    stop_now(e->f);
    app.result = eio_decide(&app.decisions[0], NULL);
    assert_int_equal(app.result, WS_ERR_CLOSED);
}

/* Each allocation of a handshake fails once; the application would accept it. */
static void without_memory_nobody_is_let_in_unasked(void **state)
{
    struct engine *e = *state;
    long n = 0;
    bool came;

    memset(&app, 0, sizeof app);
    engine_create(e, (struct eio_options){0},
                  (struct eio_handlers){.on_handshake = later, .on_open = see_open},
                  (struct ws_options){0});
    e->f->port = ws_server_port(e->f->server);
    do {
        struct raw_client *c = &e->f->clients[0];
        int before = app.count;

        raw_connect(c, e->f->port);
        ask(c, "GET", POLLING, "", NULL, 0);
        oom_once(n++);
        for (int i = 0; i < 100 && app.count == before && !raw_readable_within(c, 0); i++)
            ws_server_step(e->f->server, 10);
        let_serve(e->f);
        came = oom_came();
        oom_after(-1);
        if (app.count > before && app.decisions[(app.count - 1) % DECISIONS_MAX].server == NULL) {
            poll_until_readable(e->f, c);
            expect(c, 503, "");
        }
        assert_int_equal(e->f->seen.opened, 0);
        raw_close(c);
        while (ws_server_stats(e->f->server).connections != 0)
            ws_server_step(e->f->server, 10);
        assert_true(n < 100);
    } while (came);
    assert_true(n > 3);
}

#include "socketio/tests/test_eio_waits.list"

int main(void)
{
    return cmocka_run_group_tests_name("eio_waits", tests, NULL, NULL);
}
