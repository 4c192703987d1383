/* SPDX-License-Identifier: MIT
 *
 * The Engine.IO server that tests run against; see engine_fixture.h. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- callbacks -------------------------------------------------------------------------------- */

struct engine *engine_of(const struct eio_session *s)
{
    return eio_user(eio_session_server(s));
}

void engine_count_open(struct eio_session *s, const struct eio_handshake *h)
{
    struct engine *e = engine_of(s);

    (void)h;
    e->session = s;
    count(e->f, &e->f->seen.opened);
}

static void count_and_echo(struct eio_session *s, enum ws_opcode opcode, const void *data,
                           size_t len)
{
    eio_send(s, opcode, data, len, 0);
    count(engine_of(s)->f, &engine_of(s)->f->seen.messages);
}

static void count_drained(struct eio_session *s)
{
    count(engine_of(s)->f, &engine_of(s)->f->seen.drained);
}

static void count_closed(struct eio_session *s, enum eio_reason reason)
{
    struct engine *e = engine_of(s);

    lock(e->f);
    e->f->seen.closed++;
    snprintf(e->f->seen.reason, sizeof e->f->seen.reason, "%s", eio_reason_text(reason));
    if (e->session == s)
        e->session = NULL;
    unlock(e->f);
}

void engine_send_text(struct engine *e, void *arg)
{
    const char *text = arg;

    note_result(e->f, 0, eio_send(e->session, WS_OP_TEXT, text, strlen(text), 0));
}

void engine_send_three(struct engine *e, void *arg)
{
    (void)arg;
    eio_send(e->session, WS_OP_TEXT, "one", 3, 0);
    eio_send(e->session, WS_OP_BINARY, "\1\2", 2, 0);
    eio_send(e->session, WS_OP_TEXT, "", 0, 0);
}

void engine_count_message(struct eio_session *s, enum ws_opcode opcode, const void *data,
                          size_t len)
{
    (void)opcode;
    (void)data;
    (void)len;
    count(engine_of(s)->f, &engine_of(s)->f->seen.messages);
}

/* --- the server ------------------------------------------------------------------------------- */

int engine_setup(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    void *f = NULL;

    if (e == NULL || setup(&f) != 0) {
        free(e);
        return -1;
    }
    e->f = f;
    *state = e;
    return 0;
}

int engine_teardown(void **state)
{
    struct engine *e = *state;
    void *f = e->f;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&e->f->clients[i]);
    if (e->f->running)
        stop_now(e->f);
    ws_server_free(e->f->server);
    e->f->server = NULL;
    eio_server_free(e->server);
    free(e);
    return teardown(&f);
}

void engine_create(struct engine *e, struct eio_options options, struct eio_handlers handlers,
                   struct ws_options ws)
{
    if (handlers.on_open == NULL)
        handlers.on_open = engine_count_open;
    if (handlers.on_message == NULL)
        handlers.on_message = count_and_echo;
    if (handlers.on_drain == NULL)
        handlers.on_drain = count_drained;
    if (handlers.on_close == NULL)
        handlers.on_close = count_closed;
    options.user = e;
    create(e->f, ws);
    e->server = eio_server_new(e->f->server, "/engine.io/", &options, &handlers);
    assert_non_null(e->server);
}

void engine_start(struct engine *e, struct eio_options options, struct eio_handlers handlers,
                  struct ws_options ws)
{
    engine_create(e, options, handlers, ws);
    run(e->f);
}

void engine_handle(struct engine *e, struct eio_handlers handlers)
{
    engine_start(e, (struct eio_options){0}, handlers, (struct ws_options){0});
}

void engine_echo(struct engine *e, struct eio_options options)
{
    engine_start(e, options, (struct eio_handlers){0}, (struct ws_options){0});
}

struct raw_client *start_polling(struct engine *e, char sid[EIO_ID_SIZE])
{
    engine_echo(e, (struct eio_options){0});
    return open_polling(e, sid);
}

struct raw_client *start_websocket(struct engine *e)
{
    engine_echo(e, (struct eio_options){0});
    return open_websocket(e, "");
}

void expect_reason(struct engine *e, int n, enum eio_reason reason)
{
    char seen[sizeof e->f->seen.reason];

    wait_until(e->f, &e->f->seen.closed, n, "ended sessions");
    lock(e->f);
    memcpy(seen, e->f->seen.reason, sizeof seen);
    unlock(e->f);
    assert_string_equal(seen, eio_reason_text(reason));
    assert_int_equal(read_counter(e->f, &e->f->seen.closed), n);
}

static void count_sessions(struct engine *e, void *arg)
{
    *(size_t *)arg = eio_session_count(e->server);
}

void expect_nothing_left(struct engine *e)
{
    size_t sessions;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&e->f->clients[i]);
    wait_connections(e->f, 0);
    on_engine(e, count_sessions, &sessions);
    assert_int_equal(sessions, 0);
}

struct engine_call {
    struct engine *e;
    void (*fn)(struct engine *e, void *arg);
    void *arg;
};

static void run_engine_call(struct fixture *f, void *arg)
{
    struct engine_call *call = arg;

    (void)f;
    call->fn(call->e, call->arg);
}

void on_engine(struct engine *e, void (*fn)(struct engine *e, void *arg), void *arg)
{
    struct engine_call call = {e, fn, arg};

    on_loop(e->f, run_engine_call, &call);
}

/* --- requests --------------------------------------------------------------------------------- */

void ask(struct raw_client *c, const char *method, const char *query, const char *more,
         const void *body, size_t len)
{
    struct raw_bytes b = {0};
    char head[1024];

    snprintf(head, sizeof head, "%s /engine.io/?%s HTTP/1.1\r\nHost: localhost\r\n%s", method,
             query, more);
    raw_bytes_text(&b, head);
    if (body != NULL) {
        snprintf(head, sizeof head, "Content-Length: %zu\r\n", len);
        raw_bytes_text(&b, head);
    }
    raw_bytes_text(&b, "\r\n");
    raw_bytes_add(&b, body, len);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
}

void ask_session(struct raw_client *c, const char *method, const char *sid, const char *more,
                 const void *body, size_t len)
{
    char query[64];

    snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", sid);
    ask(c, method, query, more, body, len);
}

void get(struct raw_client *c, const char *sid)
{
    ask_session(c, "GET", sid, "", NULL, 0);
}

void post(struct raw_client *c, const char *sid, const char *payload)
{
    ask_session(c, "POST", sid, "Content-Type: text/plain;charset=UTF-8\r\n", payload,
                strlen(payload));
}

void expect(struct raw_client *c, int status, const char *body)
{
    struct raw_response r;

    raw_expect_status(c, &r, status);
    if (r.body_len != strlen(body) || (r.body_len != 0 && memcmp(r.body, body, r.body_len) != 0))
        raw_fail(c, "expected the body '%s', came '%.*s'", body, (int)r.body_len,
                 (const char *)r.body);
}

void expect_last(struct raw_client *c, int status, const char *body)
{
    expect(c, status, body);
    raw_expect_eof(c);
}

void expect_poll(struct raw_client *c, const char *sid, const char *payload)
{
    get(c, sid);
    expect(c, 200, payload);
}

void expect_post(struct raw_client *c, const char *sid, const char *payload)
{
    post(c, sid, payload);
    expect(c, 200, "ok");
}

void expect_gone(struct raw_client *c, const char *sid)
{
    get(c, sid);
    expect(c, 400, UNKNOWN_SID);
}

static void read_writable(struct engine *e, void *arg)
{
    *(bool *)arg = e->session != NULL && eio_writable(e->session);
}

void wait_for_get(struct engine *e)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    bool held = false;

    while (!held && raw_now_ms() < deadline)
        on_engine(e, read_writable, &held);
    assert_true(held);
}

void get_held(struct engine *e, struct raw_client *c, const char *sid)
{
    get(c, sid);
    wait_for_get(e);
}

static void read_sid(const char *open_packet, char sid[EIO_ID_SIZE])
{
    assert_memory_equal(open_packet, "0{\"sid\":\"", 9);
    memcpy(sid, open_packet + 9, EIO_ID_LEN);
    sid[EIO_ID_LEN] = '\0';
    assert_int_equal(open_packet[9 + EIO_ID_LEN], '"');
}

struct raw_client *open_polling(struct engine *e, char sid[EIO_ID_SIZE])
{
    struct raw_client *c = client(e->f, "polling");

    open_polling_on(c, sid);
    return c;
}

void open_polling_on(struct raw_client *c, char sid[EIO_ID_SIZE])
{
    struct raw_response r;

    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    raw_expect_status(c, &r, 200);
    assert_true(r.body_len > 9 + EIO_ID_LEN);
    read_sid((const char *)r.body, sid);
}

struct raw_client *open_websocket(struct engine *e, const char *more)
{
    struct raw_client *c = client(e->f, "websocket");
    char sid[EIO_ID_SIZE];
    struct raw_frame frame;
    char path[256];

    snprintf(path, sizeof path, "/engine.io/?EIO=4&transport=websocket%s", more);
    raw_upgrade(c, path);
    raw_read_frame(c, &frame);
    assert_int_equal(frame.head, RAW_TEXT);
    assert_true(frame.len > 9 + EIO_ID_LEN);
    read_sid((const char *)frame.payload, sid);
    return c;
}

struct raw_client *open_probe(struct engine *e, const char *sid)
{
    struct raw_client *c = client(e->f, "probe");
    char path[256];

    snprintf(path, sizeof path, "/engine.io/?EIO=4&transport=websocket&sid=%s", sid);
    raw_upgrade(c, path);
    return c;
}

struct raw_client *answered_probe(struct engine *e, const char *sid)
{
    struct raw_client *c = open_probe(e, sid);

    raw_send_message(c, "2probe");
    raw_expect_message(c, "3probe");
    return c;
}

struct raw_client *upgrade(struct engine *e, const char *sid)
{
    struct raw_client *c = answered_probe(e, sid);

    raw_send_message(c, "5");
    return c;
}
