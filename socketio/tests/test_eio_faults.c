/* SPDX-License-Identifier: MIT
 *
 * Sessions to which things happen that no client can bring about: an allocation fails, time jumps.
 * Whatever fails, at most the session that it failed for may suffer, and nothing of it is left.
 *
 * Server and clients share one thread, so that the same call fails in the same place. */
#include "engine_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/faults.h"
#include "../../tests/oom.h"

enum { BIG = 20 * KIB, LACKS_MAX = 200, BREAK_S = 60 /* longer than any timeout */ };

static void disarm(void)
{
    oom_after(-1);
    faults_none();
}

/* Something has been sent to the server: wait for it, and serve it. */
static void serve_what_came(struct fixture *f)
{
    struct pollfd p = {.fd = ws_server_fd(f->server), .events = POLLIN};

    poll(&p, 1, PATIENCE_MS);
    let_serve(f);
}

static void let_pass(struct fixture *f, int seconds)
{
    faults_clock_jump(seconds);
    for (int i = 0; i < 5; i++) /* also when nothing looks ready */
        assert_int_equal(ws_server_step(f->server, 0), 1);
    let_serve(f);
}

static struct raw_client *dialled(struct engine *e, const char *label)
{
    struct raw_client *c = client(e->f, label);

    serve_what_came(e->f);
    return c;
}

/* A new session on polling. */
static struct raw_client *polling(struct engine *e, char sid[EIO_ID_SIZE])
{
    struct raw_client *c = dialled(e, "polling");

    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    serve_what_came(e->f);
    assert_non_null(e->session);
    memcpy(sid, eio_session_id(e->session), EIO_ID_SIZE);
    discard(c->fd);
    return c;
}

static void expect_served(struct engine *e, struct raw_client *c, const char *body)
{
    poll_until_readable(e->f, c);
    expect(c, 200, body);
}

/* A message goes to the server and comes back. */
static void expect_session_well(struct engine *e, struct raw_client *c, const char *sid)
{
    post(c, sid, "4still there?");
    expect_served(e, c, "ok");
    get(c, sid);
    expect_served(e, c, "4still there?");
}

static size_t buffered(const struct engine *e)
{
    return ws_server_stats(e->f->server).buffered;
}

/* All clients go, and the time of what waits for them passes: no session is left, no connection,
 * and of the memory the first buckets of a table at most. */
static void expect_all_given_back(struct engine *e)
{
    struct ws_stats now;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&e->f->clients[i]);
    for (int i = 0; i < 3; i++) {
        poll(NULL, 0, 1);
        let_pass(e->f, BREAK_S);
    }
    now = ws_server_stats(e->f->server);
    assert_int_equal(eio_session_count(e->server), 0);
    assert_int_equal(now.connections, 0);
    assert_in_range(now.buffered, 0, 4 * KIB);
    assert_int_equal(e->f->seen.opened, e->f->seen.closed);
}

/* --- a WebSocket that cannot be accepted ------------------------------------------------------ */

/* As many bytes as the query says. Behind them there is room in the last chunk of output or not:
 * then what follows needs memory, when the socket is full. */
static void respond_big(struct ws_conn *c, const struct ws_request *req)
{
    static const char body[BIG];
    struct ws_str size = ws_request_query(req);

    ws_respond(c, 200, NULL, 0, body, (size_t)strtoul(size.data, NULL, 10));
}

static void create_with_big(struct engine *e)
{
    engine_create(e, (struct eio_options){0}, (struct eio_handlers){0}, (struct ws_options){0});
    serve(e->f, "/big", (struct ws_handlers){.on_request = respond_big});
}

/* Ask for a WebSocket behind a response that the socket does not take, of `size` bytes, with
 * allocations failing as arm(n) has it. Returns whether one did. */
static bool ask_without_memory(struct engine *e, size_t size, const char *sid, void (*arm)(long n),
                               long n)
{
    struct raw_client *c = dialled(e, "WebSocket");
    char path[128];
    char big[64];
    bool came;

    snprintf(path, sizeof path, "/engine.io/?EIO=4&transport=websocket%s%s", *sid ? "&sid=" : "",
             sid);
    snprintf(big, sizeof big, "GET /big?%zu HTTP/1.1\r\n" HOST "\r\n", size);
    e->f->out.len = 0;
    raw_bytes_text(&e->f->out, big);
    raw_bytes_upgrade(&e->f->out, path, "");
    raw_send_bytes(c, &e->f->out);
    faults_send_max(0);
    arm(n);
    serve_what_came(e->f);
    came = oom_came();
    disarm();
    let_serve(e->f);
    raw_close(c);
    serve_what_came(e->f);
    return came;
}

static void session_whose_websocket_cannot_be_accepted_is_undone(void **state)
{
    static void (*const arms[])(long) = {oom_once, oom_after};
    struct engine *e = *state;
    size_t before;

    create_with_big(e);
    assert_false(ask_without_memory(e, BIG, "", oom_after, -1)); /* tables have their buckets now */
    before = buffered(e);
    for (size_t size = BIG; size > 15 * KIB; size -= size == BIG ? 4 * KIB : 50) {
        for (size_t i = 0; i < COUNT(arms); i++) {
            long n = 0;

            while (ask_without_memory(e, size, "", arms[i], n) && n < LACKS_MAX) {
                assert_int_equal(buffered(e), before);
                n++;
            }
            assert_in_range(n, 5, LACKS_MAX - 1);
        }
    }
    expect_all_given_back(e);
}

static void session_whose_probe_cannot_be_accepted_goes_on_by_polling(void **state)
{
    static void (*const arms[])(long) = {oom_once, oom_after};
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    create_with_big(e);
    c = polling(e, sid);
    for (size_t i = 0; i < COUNT(arms); i++) {
        long n = 0;

        while (ask_without_memory(e, BIG, sid, arms[i], n) && n < LACKS_MAX) {
            expect_session_well(e, c, sid);
            n++;
        }
        assert_in_range(n, 3, LACKS_MAX - 1);
    }
    expect_session_well(e, c, sid);
    assert_int_equal(eio_session_count(e->server), 1);
    assert_int_equal(e->f->seen.closed, 0);
    expect_all_given_back(e);
}

/* It is not the client's fault, which may come again. */
static void websocket_without_memory_gets_503(void **state)
{
    struct engine *e = *state;
    struct raw_response r;
    int refused = 0;

    create_with_big(e);
    for (long n = 0; n < 20; n++) {
        struct raw_client *c = dialled(e, "WebSocket");

        e->f->out.len = 0;
        raw_bytes_text(&e->f->out, "GET /big?20000 HTTP/1.1\r\n" HOST "\r\n");
        raw_bytes_upgrade(&e->f->out, "/engine.io/?EIO=4&transport=websocket", "");
        raw_send_bytes(c, &e->f->out);
        faults_send_max(0);
        oom_once(n);
        serve_what_came(e->f);
        disarm();
        let_serve(e->f);
        poll_until_readable(e->f, c);
        if (recv(c->fd, &(char){0}, 1, MSG_PEEK) == 1) { /* else the response before found none */
            raw_expect_status(c, &r, 200);
            poll_until_readable(e->f, c);
            raw_read_response(c, &r, false);
            assert_true(r.status == 503 || r.status == 101);
            refused += r.status == 503;
        }
        raw_close(c);
        serve_what_came(e->f);
    }
    assert_in_range(refused, 5, 20);
    expect_all_given_back(e);
}

/* --- last words that nobody fetches ----------------------------------------------------------- */

static void last_words_that_nobody_fetches_are_dropped_in_the_end(void **state)
{
    struct engine *e = *state;
    size_t empty, full;
    char sid[EIO_ID_SIZE];
    char text[1000] = "";

    memset(text, 'x', sizeof text - 1);
    engine_create(e, (struct eio_options){0}, (struct eio_handlers){0}, (struct ws_options){0});
    polling(e, sid);
    empty = buffered(e);
    for (int i = 0; i < 50; i++)
        assert_true(eio_send(e->session, WS_OP_TEXT, text, strlen(text), 0) >= 0);
    full = buffered(e);
    assert_true(full - empty > 50 * (sizeof text - 1));
    eio_close(e->session);
    let_serve(e->f);
    assert_int_equal(e->f->seen.closed, 1);
    assert_string_equal(e->f->seen.reason, eio_reason_text(EIO_FORCED_SERVER_CLOSE));
    let_pass(e->f, 29);
    assert_int_equal(buffered(e), full); /* it waits for its client */
    let_pass(e->f, 2);
    assert_in_range(buffered(e), 0, empty - 1);
    assert_int_equal(e->f->seen.closed, 1);
    expect_all_given_back(e);
}

/* Its id is forgotten with it. */
static void client_that_comes_too_late_for_the_last_words_is_told_so(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_create(e, (struct eio_options){0}, (struct eio_handlers){0}, (struct ws_options){0});
    c = polling(e, sid);
    assert_true(eio_send(e->session, WS_OP_TEXT, "last", 4, 0) >= 0);
    eio_close(e->session);
    let_pass(e->f, 31);
    raw_close(c);
    c = dialled(e, "too late");
    get(c, sid);
    poll_until_readable(e->f, c);
    expect(c, 400, UNKNOWN_SID);
    expect_all_given_back(e);
}

/* --- a script of everything ------------------------------------------------------------------- */

enum {
    ACTORS = 5,
    RUNS_MAX = 2000,
    PIECES = 10,  /* times four; of one answer; more than are listed on the stack */
    PACKETS = 200 /* of one POST; enough for some looks at the clock */
};

struct play {
    struct engine *e;
    struct raw_client *bystander; /* polls, and is idle meanwhile */
    char bystanders_sid[EIO_ID_SIZE];
    int fds[ACTORS];
    char sid[EIO_ID_SIZE]; /* of the session in hand, or "none" */
};

/* Write what the socket takes; a connection that has been ended may refuse. */
static void say(struct play *p, size_t actor)
{
    struct raw_bytes *out = &p->e->f->out;
    size_t done = 0;

    for (int i = 0; i < 100 && done < out->len; i++) {
        ssize_t n = write(p->fds[actor], out->data + done, out->len - done);

        if (n < 0 && errno != EAGAIN)
            break;
        done += n > 0 ? (size_t)n : 0;
        let_serve(p->e->f);
        discard(p->fds[actor]);
    }
    out->len = 0;
}

static void say_request(struct play *p, size_t actor, const char *method, const char *more,
                        const char *body)
{
    char head[512];

    snprintf(head, sizeof head,
             "%s /engine.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: localhost\r\n"
             "Origin: https://b.a.example\r\n",
             method, more);
    raw_bytes_text(&p->e->f->out, head);
    if (body != NULL) {
        snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", strlen(body));
        raw_bytes_text(&p->e->f->out, head);
        raw_bytes_text(&p->e->f->out, body);
    } else {
        raw_bytes_text(&p->e->f->out, "\r\n");
    }
    say(p, actor);
}

static void say_in_session(struct play *p, size_t actor, const char *method, const char *body)
{
    char more[64];

    snprintf(more, sizeof more, "&sid=%s", p->sid);
    say_request(p, actor, method, more, body);
}

static void say_upgrade(struct play *p, size_t actor, const char *more)
{
    char path[128];

    snprintf(path, sizeof path, "/engine.io/?EIO=4&transport=websocket%s", more);
    raw_bytes_upgrade(&p->e->f->out, path, "");
    say(p, actor);
}

/* What has opened since the last call is in hand. */
static void take_in_hand(struct play *p)
{
    snprintf(p->sid, sizeof p->sid, "%s",
             p->e->session == NULL ? "none" : eio_session_id(p->e->session));
}

/* Both as it comes and shared, to the session in hand. */
static void send_some(struct play *p, const void *data, size_t len)
{
    struct engine *e = p->e;

    for (int opcode = WS_OP_TEXT; opcode <= WS_OP_BINARY; opcode++) {
        struct eio_packet *packet = eio_packet_new(e->server, (enum ws_opcode)opcode, data, len);

        if (e->session != NULL)
            eio_send(e->session, (enum ws_opcode)opcode, data, len, 0);
        if (packet != NULL && e->session != NULL)
            eio_send_packet(e->session, packet, 0);
        eio_packet_release(packet);
        let_serve(e->f);
    }
}

/* The clock is looked at every now and then: what follows a message that takes long waits then. */
static void take_long(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len)
{
    if (len == 4 && memcmp(data, "long", 4) == 0)
        faults_clock_jump(1);
    eio_send(s, opcode, data, len, 0);
    engine_count_message(s, opcode, data, len);
}

static void post_for_long(struct play *p)
{
    static const char more[] = "4x" RS, middle[] = "4long";
    char packets[PACKETS * sizeof more + sizeof middle] = "";
    char *end = packets;

    for (int i = 0; i < PACKETS; i++) {
        if (i == PACKETS / 2)
            end += sprintf(end, "%s", middle);
        end += sprintf(end, "%s%s", i == PACKETS / 2 ? RS : "", more);
    }
    end[-1] = '\0'; /* nothing is behind the last one */
    say_in_session(p, 1, "POST", packets);
}

static void play_polling(struct play *p, const char *big)
{
    p->e->session = NULL;
    say_request(p, 0, "GET", "", NULL);
    take_in_hand(p);
    say_in_session(p, 0, "POST", "4a" RS "4b" RS "bAQI=");
    say_in_session(p, 0, "GET", NULL);
    say_in_session(p, 0, "GET", NULL); /* held */
    send_some(p, "x", 1);
    discard(p->fds[0]);
    send_some(p, big, BIG);
    say_in_session(p, 0, "GET", NULL);
    say_in_session(p, 1, "POST", big);
    say_in_session(p, 0, "GET", NULL);
    for (int i = 0; i < PIECES; i++)
        send_some(p, big, 2 * KIB);
    say_in_session(p, 0, "GET", NULL);
    post_for_long(p);
    say_in_session(p, 0, "GET", NULL);
}

/* The session of play_polling() moves to a WebSocket. */
static void play_upgrade(struct play *p, const char *big)
{
    struct raw_bytes *out = &p->e->f->out;
    char more[64];

    snprintf(more, sizeof more, "&sid=%s", p->sid);
    say_in_session(p, 0, "GET", NULL); /* held */
    say_upgrade(p, 2, more);
    raw_bytes_frame(out, RAW_TEXT, "2probe", 6);
    say(p, 2);
    send_some(p, "on its way", 10);
    raw_bytes_frame(out, RAW_TEXT, "5", 1);
    raw_bytes_frame(out, RAW_TEXT, big, BIG);
    raw_bytes_frame(out, RAW_BINARY, big, BIG);
    say(p, 2);
    send_some(p, big, BIG);
    discard(p->fds[2]);
    raw_bytes_frame(out, RAW_TEXT, "1", 1);
    say(p, 2);
}

static void play_websocket(struct play *p, const char *big)
{
    struct raw_bytes *out = &p->e->f->out;

    p->e->session = NULL;
    say_upgrade(p, 3, "&b64=1");
    take_in_hand(p);
    send_some(p, "hello", 5);
    send_some(p, big, BIG);
    discard(p->fds[3]);
    raw_bytes_frame(out, RAW_TEXT, "bAQI=", 5);
    raw_bytes_header(out, RAW_BINARY, BIG);
    raw_bytes_payload(out, big, 1000, 0);
    say(p, 3);
    if (p->e->session != NULL)
        eio_close(p->e->session);
    let_serve(p->e->f);
}

/* One is closed while a message is queued, and one whose POST never ends. */
static void play_ends(struct play *p)
{
    p->e->session = NULL;
    say_request(p, 4, "GET", "", NULL);
    take_in_hand(p);
    send_some(p, "last words", 10);
    if (p->e->session != NULL)
        eio_close(p->e->session);
    let_serve(p->e->f);
    say_in_session(p, 4, "GET", NULL);
    p->e->session = NULL;
    say_request(p, 4, "GET", "", NULL);
    take_in_hand(p);
    raw_bytes_text(&p->e->f->out, "POST /engine.io/?EIO=4&transport=polling&sid=");
    raw_bytes_text(&p->e->f->out, p->sid);
    raw_bytes_text(&p->e->f->out, " HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n4half");
    say(p, 4);
}

/* Play it with call number `n` failing as arm(n) has it. Returns whether an allocation did. */
static bool run_play(struct engine *e, void (*arm)(long n), long n)
{
    static const char *const origins[] = {"https://*.a.example", NULL};
    struct play p = {.e = e};
    uint8_t *big = make_payload(BIG, true);
    bool came;

    big[0] = '4';
    memset(&e->f->seen, 0, sizeof e->f->seen);
    engine_create(e, (struct eio_options){.origins = origins, .connect_timeout_ms = 10000},
                  (struct eio_handlers){.on_message = take_long}, (struct ws_options){0});
    p.bystander = polling(e, p.bystanders_sid);
    eio_keep(e->session);
    for (size_t i = 0; i < ACTORS; i++)
        p.fds[i] = dial(e->f->port);
    for (int i = 0; i < 3; i++) /* so that it grows no more when memory is out */
        raw_bytes_add(&e->f->out, big, BIG);
    e->f->out.len = 0;
    arm(n);
    play_polling(&p, (const char *)big);
    play_upgrade(&p, (const char *)big);
    play_websocket(&p, (const char *)big);
    play_ends(&p);
    came = oom_came();
    disarm();
    for (size_t i = 0; i < ACTORS; i++)
        close(p.fds[i]);
    expect_session_well(e, p.bystander, p.bystanders_sid);
    expect_all_given_back(e);
    ws_server_free(e->f->server);
    e->f->server = NULL;
    eio_server_free(e->server);
    e->server = NULL;
    free(big);
    return came;
}

static void whole_script_is_played_when_nothing_fails(void **state)
{
    struct engine *e = *state;

    assert_false(run_play(e, oom_after, -1));
    assert_int_equal(e->f->seen.opened, 5);
    assert_int_equal(e->f->seen.messages, 9 + PACKETS);
}

static void any_single_allocation_may_fail(void **state)
{
    long n = 0;

    while (run_play(*state, oom_once, n) && n < RUNS_MAX)
        n++;
    assert_in_range(n, 50, RUNS_MAX - 1);
}

static void memory_may_run_out_at_any_time(void **state)
{
    long n = 0;

    while (run_play(*state, oom_after, n) && n < RUNS_MAX)
        n++;
    assert_in_range(n, 50, RUNS_MAX - 1);
}

static void send_fails(long n)
{
    faults_send_error(n, ENOBUFS);
}

static void recv_fails(long n)
{
    faults_recv_error(n, ETIMEDOUT);
}

static void epoll_ctl_fails(long n)
{
    faults_epoll_ctl_error(n, ENOMEM);
}

static void any_system_call_may_fail(void **state)
{
    for (long n = 0; n < 50; n++) {
        run_play(*state, send_fails, n);
        run_play(*state, recv_fails, n);
        run_play(*state, epoll_ctl_fails, n);
    }
}

#include "socketio/tests/test_eio_faults.list"

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* write() to what the server has ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
