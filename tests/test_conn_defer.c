/* SPDX-License-Identifier: MIT
 *
 * Requests that the application decides about later: ws_defer() and ws_retry(). */
#include "server_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATER "/later HTTP/1.1\r\n" HOST

/* What is done at /later goes to seen.text: one word for each call. The first time a request is
 * deferred, and the second time it is served; with the query "twice" the third time. */
static bool put_off(struct ws_conn *c, const struct ws_request *req)
{
    struct fixture *f = of(c);
    uintptr_t times = (uintptr_t)ws_data(c);

    if (times == (ws_str_is(ws_request_query(req), "twice") ? 2 : 1)) {
        ws_set_data(c, NULL);
        return false;
    }
    f->conn = c;
    ws_set_data(c, (void *)(times + 1));
    note_result(f, 0, ws_defer(c));
    note_result(f, 1, ws_defer(c));
    note_result(f, 2, ws_respond(c, 200, NULL, 0, "", 0));
    if (ws_str_is(ws_request_query(req), "inside"))
        note_result(f, 3, ws_retry(c));
    note_text(f, "defer ", 6);
    return true;
}

static void defer_head(struct ws_conn *c, const struct ws_request *req)
{
    if (!put_off(c, req))
        note_text(of(c), "head ", 5);
}

static void answer(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str body = ws_request_body(req);
    char address[WS_ADDRESS_SIZE];

    if (ws_str_is(ws_request_query(req), "address"))
        body = ws_str(ws_conn_address(c, address));
    note_result(of(c), 4, ws_defer(c));
    note_text(of(c), "request ", 8);
    ws_respond(c, 200, NULL, 0, body.data, body.len);
}

static void defer_upgrade(struct ws_conn *c, const struct ws_request *req)
{
    if (!put_off(c, req))
        note_text(of(c), "upgrade ", 8);
}

static void note_open(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str query = ws_request_query(req);

    count_open(c, req);
    note_text(of(c), "open ", 5);
    note_text(of(c), query.data, query.len);
}

static void note_abort(struct ws_conn *c)
{
    note_result(of(c), 5, ws_retry(c));
    note_result(of(c), 6, ws_respond(c, 200, NULL, 0, "", 0));
    note_text(of(c), "abort ", 6);
}

static void start_later(struct fixture *f, struct ws_options options)
{
    start_serving(f, options, "/later",
                  (struct ws_handlers){.on_head = defer_head,
                                       .on_request = answer,
                                       .on_abort = note_abort,
                                       .on_upgrade = defer_upgrade,
                                       .on_open = note_open,
                                       .on_message = echo});
}

static void retry(struct fixture *f, void *arg)
{
    (void)arg;
    note_result(f, 3, ws_retry(f->conn));
}

/* Wait until the words in seen.text are these, and begin anew. */
static void expect_calls(struct fixture *f, const char *words)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    char seen[sizeof f->seen.text] = "";

    do {
        lock(f);
        memcpy(seen, f->seen.text, sizeof seen);
        unlock(f);
    } while (strlen(seen) < strlen(words) && raw_now_ms() < deadline);
    assert_string_equal(seen, words);
    lock(f);
    f->seen.text[0] = '\0';
    unlock(f);
}

static void expect_deferred(struct fixture *f)
{
    expect_calls(f, "defer ");
    assert_int_equal(f->seen.result[0], 0);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED); /* it is already */
    assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);
}

static void a_deferred_request_comes_again_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){0});
    c = client(f, "a GET");
    raw_send_text(c, "GET " LATER "\r\n");
    expect_deferred(f);
    on_loop(f, retry, NULL);
    expect_body(c, "");
    expect_calls(f, "head request ");
    assert_int_equal(f->seen.result[3], 0);
    assert_int_equal(f->seen.result[4], WS_ERR_CLOSED); /* in on_request */
}

static void it_may_be_deferred_again_and_retried_at_once(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){0});
    c = client(f, "twice");
    raw_send_text(c, "GET /later?twice HTTP/1.1\r\n" HOST "\r\n");
    expect_deferred(f);
    on_loop(f, retry, NULL);
    expect_deferred(f);
    on_loop(f, retry, NULL);
    expect_body(c, "");
    expect_calls(f, "head request ");
    raw_send_text(c, "GET /later?inside HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "");
    expect_calls(f, "defer head request ");
    assert_int_equal(f->seen.result[3], 0);
}

/* Requests behind it wait; its body may come before the retry or after it, in any pieces. */
static void bodies_and_pipelined_requests_wait_behind_it(void **state)
{
    static const char requests[] = "POST " LATER "Content-Length: 4\r\n\r\nbodyPOST " LATER
                                   "Transfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n0\r\n\r\n"
                                   "GET " LATER "\r\n";
    static const char *const bodies[] = {"body", "Wiki", ""};
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){0});
    c = client(f, "pieces");
    for (size_t piece = sizeof requests - 1; piece != 0; piece = piece * 3 / 4) {
        size_t sent = piece < 80 ? 80 : piece; /* the whole first head */

        raw_send_chunks(c, requests, sent, piece);
        expect_deferred(f);
        for (size_t i = 0; i < COUNT(bodies); i++) {
            on_loop(f, retry, NULL);
            if (i == 0)
                raw_send_chunks(c, requests + sent, sizeof requests - 1 - sent, piece);
            expect_body(c, bodies[i]);
            expect_calls(f, i + 1 < COUNT(bodies) ? "head request defer " : "head request ");
        }
    }
}

static void a_deferred_handshake_is_accepted_later(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_later(f, (struct ws_options){.handshake_rate = 1});
    c = client(f, "a WebSocket");
    raw_send_text(c, "GET /later?who=1 HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n");
    raw_send_frame(c, RAW_TEXT, "early", 5);
    expect_deferred(f);
    on_loop(f, retry, NULL);
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "early");
    expect_calls(f, "upgrade open who=1");
}

/* handshake_rate 1 allows 5 at once: a retry is no handshake more. */
static void a_retry_counts_for_no_limit(void **state)
{
    struct fixture *f = *state;

    start_later(f, (struct ws_options){.handshake_rate = 1, .max_per_ip = 5});
    for (int i = 0; i < 5; i++) {
        struct raw_client *c = client(f, "a WebSocket");
        struct raw_response r;

        raw_send_text(c, "GET " LATER UPGRADE KEY VERSION "\r\n");
        expect_deferred(f);
        on_loop(f, retry, NULL);
        raw_expect_upgraded(c, &r);
        expect_calls(f, "upgrade open ");
    }
}

/* Behind a proxy that keeps its connections: the client counts once, until it is answered. */
static void a_client_of_a_proxy_counts_once(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){.trust_proxy = proxies, .max_per_ip = 1});
    c = client(f, "a proxy");
    for (int i = 0; i < 3; i++) {
        raw_send_text(c,
                      "GET /later?address HTTP/1.1\r\n" HOST "X-Forwarded-For: 192.0.2.1\r\n\r\n");
        expect_deferred(f);
        on_loop(f, retry, NULL);
        expect_body(c, "192.0.2.1");
        expect_calls(f, "head request ");
    }
}

static void no_time_runs_out_while_it_waits(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){.handshake_timeout_ms = 20, .message_timeout_ms = 20});
    c = client(f, "a late answer");
    raw_send_text(c, "POST " LATER "Content-Length: 4\r\n\r\nbo");
    expect_deferred(f);
    assert_false(raw_readable_within(c, 200));
    on_loop(f, retry, NULL);
    expect_calls(f, "head ");
    raw_send_text(c, "dy"); /* if it came too late there is another answer */
    raw_read_response(c, &(struct raw_response){0}, false);
}

static void on_abort_tells_that_the_client_has_gone(void **state)
{
    static void (*const go[])(struct raw_client *) = {raw_close, raw_reset, raw_half_close};
    struct fixture *f = *state;

    start_later(f, (struct ws_options){0});
    for (size_t i = 0; i < 2 * COUNT(go); i++) {
        struct raw_client *c = client(f, "a client that goes");

        raw_send_text(c, "GET " LATER);
        if (i >= COUNT(go))
            raw_send_text(c, UPGRADE KEY VERSION);
        raw_send_text(c, "\r\n");
        expect_deferred(f);
        go[i % COUNT(go)](c);
        expect_calls(f, "abort ");
        assert_int_equal(f->seen.result[5], WS_ERR_CLOSED);
        assert_int_equal(f->seen.result[6], WS_ERR_CLOSED);
        raw_close(c);
        wait_connections(f, 0);
    }
}

/* As many bytes behind it as are kept, so that the server does not read on. */
static void on_abort_tells_that_a_client_that_is_not_read_has_gone(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    char more[64 * KIB];

    memset(more, 'x', sizeof more);
    start_later(f, (struct ws_options){0});
    c = client(f, "a client that sends on");
    raw_send_text(c, "POST " LATER "Content-Length: 1000000\r\n\r\n");
    raw_send(c, more, sizeof more);
    expect_deferred(f);
    raw_reset(c);
    expect_calls(f, "abort ");
    wait_connections(f, 0);
}

/* The retry and the client's end in one turn: it is told once, either way. */
static void retry_and_close(struct fixture *f, void *arg)
{
    retry(f, NULL);
    raw_reset(arg);
}

static void a_client_that_goes_with_the_retry_is_told_of_once(void **state)
{
    struct fixture *f = *state;

    start_later(f, (struct ws_options){0});
    for (int i = 0; i < 20; i++) {
        struct raw_client *c = client(f, "a client that goes");

        raw_send_text(c, "GET " LATER "\r\n");
        expect_deferred(f);
        on_loop(f, retry_and_close, c);
        wait_connections(f, 0);
        expect_calls(f, "head request ");
    }
}

static void stop(struct fixture *f, void *arg)
{
    (void)arg;
    ws_server_stop(f->server);
}

/* A plain request is answered when the server stops; a WebSocket is refused, and on_abort tells. */
static void a_stop_refuses_a_handshake_that_comes_again(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_later(f, (struct ws_options){0});
    c = client(f, "a WebSocket");
    raw_send_text(c, "GET " LATER UPGRADE KEY VERSION "\r\n");
    expect_deferred(f);
    on_loop(f, stop, NULL);
    on_loop(f, retry, NULL);
    raw_expect_status(c, &r, 503);
    expect_calls(f, "abort ");
    raw_close(c);
    join(f);
}

static void a_stop_ends_what_waits_when_its_time_is_up(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_later(f, (struct ws_options){.close_timeout_ms = 50});
    c = client(f, "a GET");
    raw_send_text(c, "GET " LATER "\r\n");
    expect_deferred(f);
    ws_server_stop(f->server);
    raw_expect_status(c, &r, 503);
    expect_calls(f, "abort ");
    raw_close(c);
    join(f);
}

/* What waits when the server is freed is told of, too: teardown frees it. */
static void what_waits_at_the_end_is_given_back(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_later(f, (struct ws_options){0});
    c = client(f, "a GET");
    raw_send_text(c, "GET " LATER "\r\n");
    expect_deferred(f);
    stop_now(f);
    expect_calls(f, "abort ");
    raw_close(c);
}

#include "tests/test_conn_defer.list"

int main(void)
{
    return cmocka_run_group_tests_name("conn_defer", tests, NULL, NULL);
}
