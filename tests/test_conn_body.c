/* SPDX-License-Identifier: MIT
 *
 * Plain requests whose body is still to come: on_head, which may do without it; on_refuse and
 * on_abort, where it does not come. */
#include "server_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POST_DOOR(query) "POST /door" query " HTTP/1.1\r\n" HOST
#define CHUNKED          "Transfer-Encoding: chunked\r\n\r\n"

static void respond_marked(struct ws_conn *c, int status, const char *text)
{
    struct ws_header mark = {ws_str("X-Mark"), ws_str("1")};

    ws_respond(c, status, &mark, 1, text, strlen(text));
}

/* What is done at /door goes to seen.text: one word for each call. */
static void see_head(struct ws_conn *c, const struct ws_request *req)
{
    struct fixture *f = of(c);

    f->conn = c;
    ws_set_data(c, f);
    note_result(f, 0, (int)ws_request_body(req).len);
    note_text(f, "head ", 5);
    if (ws_str_is(ws_request_query(req), "no"))
        respond_marked(c, 403, "no");
}

static void see_request(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str body = ws_request_body(req);

    if (ws_data(c) == of(c))
        note_text(of(c), "request ", 8);
    ws_respond(c, 200, NULL, 0, body.data, body.len);
}

static void see_refusal(struct ws_conn *c, const struct ws_request *req, int status)
{
    struct ws_header broken = {ws_str("X-Mark"), ws_str("1\r\nX-Evil: 1")};
    struct ws_str query = ws_request_query(req);
    char word[16];

    snprintf(word, sizeof word, "refuse-%d ", status);
    note_text(of(c), word, strlen(word));
    if (ws_str_is(query, "own"))
        respond_marked(c, status, "own");
    if (ws_str_is(query, "broken"))
        note_result(of(c), 1, ws_respond(c, status, &broken, 1, "own", 3));
}

static void see_abort(struct ws_conn *c)
{
    note_result(of(c), 2, ws_respond(c, 200, NULL, 0, "", 0));
    note_text(of(c), "abort ", 6); /* last: the test waits for it */
}

static void start_door(struct fixture *f, struct ws_options options)
{
    start_serving(f, options, "/door",
                  (struct ws_handlers){.on_head = see_head,
                                       .on_request = see_request,
                                       .on_refuse = see_refusal,
                                       .on_abort = see_abort,
                                       .max_message = 1000});
}

/* Wait until the words in seen.text are these, and begin anew. */
static void expect_calls(struct fixture *f, const char *label, const char *words)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    char seen[sizeof f->seen.text] = "";

    do {
        lock(f);
        memcpy(seen, f->seen.text, sizeof seen);
        unlock(f);
    } while (strlen(seen) < strlen(words) && raw_now_ms() < deadline);
    if (strcmp(seen, words) != 0)
        fail_msg("%s: the calls are '%s', not '%s'", label, seen, words);
    lock(f);
    f->seen.text[0] = '\0';
    unlock(f);
}

/* A response with this header, and the end of the connection. */
static void expect_last_answer(struct raw_client *c, int status, const char *name,
                               const char *value)
{
    struct raw_response r;

    raw_expect_status(c, &r, status);
    assert_true(raw_header_is(&r, name, value));
    raw_expect_eof(c);
}

static void head_is_told_before_the_body_comes(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "a body that takes its time");
    raw_send_text(c, POST_DOOR("") "Content-Length: 4\r\n\r\nbo");
    expect_calls(f, "half a body", "head ");
    assert_int_equal(f->seen.result[0], 0);
    raw_send_text(c, "dy");
    expect_body(c, "body");
    expect_calls(f, "a body", "request ");
    raw_send_text(c, "GET /door HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "");
    expect_calls(f, "no body", "head request ");
}

static void head_is_told_once_however_it_comes(void **state)
{
    static const char requests[] = POST_DOOR("") "Content-Length: 4\r\n\r\nbody" POST_DOOR("")
        CHUNKED "4\r\nWiki\r\n0\r\n\r\n" POST_DOOR("") "Content-Length: 0\r\n\r\n"
                                                       "GET /door HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "pieces");
    for (size_t piece = sizeof requests - 1; piece != 0; piece = piece * 3 / 4) {
        raw_send_chunks(c, requests, sizeof requests - 1, piece);
        expect_body(c, "body");
        expect_body(c, "Wiki");
        expect_body(c, "");
        expect_body(c, "");
        expect_calls(f, "pieces", "head request head request head request head request ");
    }
}

/* RFC 9112 §9.3: what comes next on the connection would be a body, not a request. */
static void answer_without_the_body_is_the_last(void **state)
{
    static const char *const requests[] = {
        POST_DOOR("?no") "Content-Length: 4\r\n\r\n",
        POST_DOOR("?no") "Content-Length: 4\r\n\r\nbod",
        POST_DOOR("?no") "Content-Length: 1001\r\n\r\n",
        POST_DOOR("?no") "Content-Length: 18446744073709551615\r\n\r\n",
        POST_DOOR("?no") "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        POST_DOOR("?no") CHUNKED,
        POST_DOOR("?no") CHUNKED "4\r\nbody\r\n0\r\n\r\n" POST_DOOR("") "\r\n",
        "GET /door?no HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_response r;

    start_door(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct raw_client *c = client(f, requests[i]);

        raw_send_text(c, requests[i]);
        raw_expect_status(c, &r, 403);
        if (!raw_header_is(&r, "X-Mark", "1") || !raw_header_is(&r, "Connection", "close"))
            raw_fail(c, "not the application's last answer: %s", r.head);
        raw_expect_eof(c);
        expect_calls(f, requests[i], "head ");
        raw_close(c);
    }
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

static void answer_to_a_head_without_a_body_to_come_is_one_of_many(void **state)
{
    static const char *const requests[] = {
        "GET /door?no HTTP/1.1\r\n" HOST "\r\n",
        POST_DOOR("?no") "\r\n",
        POST_DOOR("?no") "Content-Length: 0\r\n\r\n",
        POST_DOOR("?no") "Content-Length: 4\r\n\r\nbody",
        POST_DOOR("?no") "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    };
    struct fixture *f = *state;
    struct raw_response r;

    start_door(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct raw_client *c = client(f, requests[i]);
        char value[8];

        f->out.len = 0;
        raw_bytes_text(&f->out, requests[i]);
        raw_bytes_text(&f->out, POST_DOOR("") "Content-Length: 5\r\n\r\nafter");
        raw_send_bytes(c, &f->out);
        raw_expect_status(c, &r, 403);
        if (raw_header(&r, "Connection", value, sizeof value))
            raw_fail(c, "the last answer: %s", r.head);
        expect_body(c, "after");
        expect_calls(f, requests[i], "head head request ");
        raw_close(c);
    }
}

static void answer_to_a_head_obeys_connection_close(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "close");
    raw_send_text(c, "GET /door?no HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    expect_last_answer(c, 403, "Connection", "close");
    expect_calls(f, "close", "head ");
    c = client(f, "close, with a body");
    raw_send_text(c, POST_DOOR("") "Connection: close\r\nContent-Length: 4\r\n\r\n");
    expect_calls(f, "close, with a body", "head ");
    raw_send_text(c, "body");
    expect_last_answer(c, 200, "Connection", "close");
}

/* A client that sends all before it reads: it gets its answer, and no RST overtakes that. */
static void upload_that_nobody_wants_is_discarded(void **state)
{
    struct fixture *f = *state;
    uint8_t *body = make_payload(8 * MIB, false);
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "8 MiB");
    raw_send_text(c, POST_DOOR("?no") "Content-Length: 8388608\r\n\r\n");
    raw_send(c, body, 8 * MIB);
    assert_int_equal(stats(f).buffered, 0);
    expect_last_response(c, 403);
    expect_calls(f, "8 MiB", "head ");
    free(body);
}

static void head_that_is_let_in_is_told_to_continue(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "Expect");
    raw_send_text(c, POST_DOOR("") "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    raw_expect_status(c, &r, 100);
    expect_calls(f, "Expect", "head ");
    raw_send_text(c, "body");
    expect_body(c, "body");
}

static void respond_now(struct fixture *f, void *arg)
{
    (void)arg;
    respond_marked(f->conn, 409, "never mind");
    note_result(f, 3, ws_respond(f->conn, 200, NULL, 0, "", 0));
}

/* Something else has happened meanwhile, and the body does not matter any more. */
static void request_may_be_answered_while_its_body_comes(void **state)
{
    static const char *const requests[] = {
        POST_DOOR("") "Content-Length: 10\r\n\r\nbody",
        POST_DOOR("") CHUNKED "a\r\nbody",
    };
    struct fixture *f = *state;

    start_door(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct raw_client *c = client(f, requests[i]);

        raw_send_text(c, requests[i]);
        expect_calls(f, requests[i], "head ");
        on_loop(f, respond_now, NULL);
        raw_send_text(c, "behind");
        expect_last_answer(c, 409, "Connection", "close");
        assert_int_equal(f->seen.result[3], WS_ERR_CLOSED);
        raw_close(c);
        wait_connections(f, 0);
        expect_calls(f, requests[i], "");
    }
    assert_int_equal(stats(f).buffered, 0);
}

/* Where there is no on_head, a body is no secret that on_abort must hear of. */
static void client_that_leaves_its_body_aborts_what_on_head_began(void **state)
{
    void (*const leave[])(struct raw_client *) = {raw_reset, raw_close, raw_half_close};
    struct fixture *f = *state;

    create(f, (struct ws_options){.handshake_timeout_ms = 10 * PATIENCE_MS});
    serve(f, "/door",
          (struct ws_handlers){
              .on_head = see_head, .on_request = see_request, .on_abort = see_abort});
    serve(f, "/blind", (struct ws_handlers){.on_request = see_request, .on_abort = see_abort});
    run(f);
    for (size_t i = 0; i < COUNT(leave); i++) {
        struct raw_client *c = client(f, "leaves");

        raw_send_text(c, POST_DOOR("") "Content-Length: 10\r\n\r\nbody");
        expect_calls(f, "a body", "head ");
        leave[i](c);
        expect_calls(f, "no body", "abort ");
        assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);
        raw_close(c);
        c = client(f, "leaves unseen");
        raw_send_text(c, "POST /blind HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nbody");
        wait_connections(f, 1);
        leave[i](c);
        raw_close(c);
        wait_connections(f, 0);
        expect_calls(f, "unseen", "");
    }
    assert_int_equal(stats(f).buffered, 0);
}

/* What the client had sent before it shut its side down is a request all the same. */
static void half_closed_client_with_a_whole_body_is_answered(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_door(f, (struct ws_options){0});
    c = client(f, "half-closed");
    raw_send_text(c, POST_DOOR("") "Content-Length: 4\r\n\r\n");
    expect_calls(f, "the head", "head ");
    raw_send_text(c, "body");
    raw_half_close(c);
    expect_body(c, "body");
    raw_expect_eof(c);
    expect_calls(f, "the body", "request ");
}

static const struct {
    const char *rest; /* of a head, and what follows it */
    int status;
} unreadable[] = {
    {"Content-Length: 1001\r\n\r\n", 413},
    {"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413},
    {CHUNKED "3e9\r\n", 413},
    {CHUNKED "1\r\na\r\n3e8\r\nbc", 413},
    {CHUNKED "4\r\nbodyx", 400},
    {CHUNKED "x\r\n", 400},
};

/* Send a request with `query` whose body cannot be read, and read its answer. */
static void send_unreadable(struct fixture *f, const char *query, size_t i, struct raw_response *r)
{
    struct raw_client *c = client(f, unreadable[i].rest);

    f->out.len = 0;
    raw_bytes_text(&f->out, "POST /door");
    raw_bytes_text(&f->out, query);
    raw_bytes_text(&f->out, " HTTP/1.1\r\n" HOST);
    raw_bytes_text(&f->out, unreadable[i].rest);
    raw_send_chunks(c, f->out.data, f->out.len, i % 2 == 0 ? f->out.len : 1);
    raw_expect_status(c, r, unreadable[i].status);
    if (!raw_header_is(r, "Connection", "close"))
        raw_fail(c, "not the last answer: %s", r->head);
    raw_expect_eof(c);
    raw_close(c);
}

static void application_may_word_a_refusal(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    char calls[32];

    start_door(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(unreadable); i++) {
        send_unreadable(f, "?own", i, &r);
        assert_true(raw_header_is(&r, "X-Mark", "1"));
        snprintf(calls, sizeof calls, "head refuse-%d ", unreadable[i].status);
        expect_calls(f, unreadable[i].rest, calls);
    }
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

static void refusal_that_nobody_words_is_a_line_of_text(void **state)
{
    static const char *const queries[] = {"", "?broken"};
    struct fixture *f = *state;
    struct raw_response r;
    char calls[32];

    start_door(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(unreadable) * COUNT(queries); i++) {
        send_unreadable(f, queries[i % 2], i / 2, &r);
        assert_true(raw_header_is(&r, "Content-Type", "text/plain; charset=utf-8"));
        assert_null(strstr(r.head, "Evil"));
        snprintf(calls, sizeof calls, "head refuse-%d abort ", unreadable[i / 2].status);
        expect_calls(f, unreadable[i / 2].rest, calls);
        assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);
    }
    assert_int_equal(f->seen.result[1], WS_ERR_INVALID);
    assert_non_null(strstr(f->seen.log, "refused with "));
}

static void body_that_never_comes_is_refused_with_408(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_door(f, (struct ws_options){.message_timeout_ms = 1000});
    c = client(f, "half a body");
    raw_send_text(c, POST_DOOR("?own") "Content-Length: 4\r\n\r\nbo");
    expect_last_answer(c, 408, "X-Mark", "1");
    expect_calls(f, "half a body", "head refuse-408 ");
}

static void body_that_is_not_there_when_the_stop_is_over_is_refused_with_503(void **state)
{
    static const char *const queries[] = {"?own", ""};
    struct fixture *f = *state;
    struct raw_client *c[COUNT(queries)];
    struct raw_response r;

    start_door(f, (struct ws_options){.close_timeout_ms = 50});
    for (size_t i = 0; i < COUNT(queries); i++) {
        c[i] = client(f, queries[i]);
        f->out.len = 0;
        raw_bytes_text(&f->out, "POST /door");
        raw_bytes_text(&f->out, queries[i]);
        raw_bytes_text(&f->out, " HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbo");
        raw_send_bytes(c[i], &f->out);
        expect_calls(f, "half a body", "head ");
    }
    ws_server_stop(f->server);
    for (size_t i = 0; i < COUNT(queries); i++) {
        raw_expect_status(c[i], &r, 503);
        assert_int_equal(raw_header_is(&r, "X-Mark", "1"), i == 0);
        raw_expect_eof(c[i]);
        raw_close(c[i]);
    }
    join(f);
    expect_calls(f, "the stop", "refuse-503 refuse-503 abort ");
}

static void body_without_memory_is_refused_with_503(void **state)
{
    struct fixture *f = *state;
    uint8_t *body = make_payload(1 * MIB, false);
    struct raw_client *c;

    start_serving(f, (struct ws_options){.max_memory = 256 * KIB}, "/door",
                  (struct ws_handlers){.on_head = see_head,
                                       .on_request = see_request,
                                       .on_refuse = see_refusal,
                                       .on_abort = see_abort});
    c = client(f, "1 MiB");
    raw_send_text(c, POST_DOOR("?own") "Content-Length: 1048576\r\n\r\n");
    raw_send(c, body, 1 * MIB);
    expect_last_answer(c, 503, "X-Mark", "1");
    expect_calls(f, "1 MiB", "head refuse-503 ");
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    free(body);
}

/* An endpoint that answers to heads alone; what it leaves gets the 426, before any body. */
static void head_may_be_all_that_an_endpoint_answers_to(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_serving(
        f, (struct ws_options){0}, "/door",
        (struct ws_handlers){.on_head = see_head, .on_refuse = see_refusal, .on_abort = see_abort});
    c = client(f, "answered");
    raw_send_text(c, "GET /door?no HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 403);
    expect_calls(f, "answered", "head ");
    raw_send_text(c, POST_DOOR("") "Content-Length: 4\r\n\r\n");
    expect_last_response(c, 426);
    expect_calls(f, "left", "head refuse-426 abort ");
    c = client(f, "left, without a body");
    raw_send_text(c, "GET /door?own HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 426);
    assert_true(raw_header_is(&r, "X-Mark", "1"));
    assert_true(raw_header_is(&r, "Connection", "Upgrade, close"));
    raw_expect_eof(c);
}

#include "tests/test_conn_body.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
