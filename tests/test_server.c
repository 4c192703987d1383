/* SPDX-License-Identifier: MIT
 *
 * A real server on a free port, met by a raw client that can send anything. Each test is named by the
 * behaviour that it shows; docs/rfc6455.md refers to these names.
 *
 * The server runs in a thread of its own. Its callbacks never assert, they count into the fixture;
 * the test's thread waits for the counts and asserts. Whatever else the test does to the server goes
 * through ws_post(), as in any program with threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../ws.h"
#include "raw_client.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { KIB = 1024, MIB = 1024 * 1024, CLIENTS = 16, PATIENCE_MS = 10000 };

/* --- fixture -------------------------------------------------------------------------------------- */

/* What the callbacks saw. Guarded by fixture.lock. */
struct seen {
    int opened, closed, messages, requests, aborted, drained, ran;
    unsigned close_code; /* of the last on_close */
    char reason[128];
    int result[8];   /* what calls inside callbacks returned */
    char text[1024]; /* whatever a test wants to remember */
    char log[512];   /* the last line */
};

struct fixture {
    struct ws_server *server;
    pthread_t thread;
    bool running;
    int run_result;
    uint16_t port;
    struct raw_client clients[CLIENTS];
    struct raw_bytes out; /* scratch, released by teardown */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct seen seen;
    struct ws_conn *conn; /* for the loop thread only: the connection that opened last */
};

static struct fixture *of(const struct ws_conn *c)
{
    return ws_user(c);
}

static void lock(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
}

static void unlock(struct fixture *f)
{
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void count(struct fixture *f, int *counter)
{
    lock(f);
    ++*counter;
    unlock(f);
}

static void note_result(struct fixture *f, size_t at, int result)
{
    lock(f);
    f->seen.result[at] = result;
    unlock(f);
}

/* Append to seen.text. */
static void note_text(struct fixture *f, const char *text, size_t len)
{
    lock(f);
    strncat(f->seen.text, text,
            len < sizeof f->seen.text - strlen(f->seen.text) - 1
                ? len
                : sizeof f->seen.text - strlen(f->seen.text) - 1);
    unlock(f);
}

static struct timespec deadline_in(int ms)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Wait until `*counter`, one of f->seen, is at least `least`. */
static void wait_until(struct fixture *f, const int *counter, int least, const char *what)
{
    struct timespec deadline = deadline_in(PATIENCE_MS);
    int error = 0;
    int value;

    pthread_mutex_lock(&f->lock);
    while (*counter < least && error == 0)
        error = pthread_cond_timedwait(&f->changed, &f->lock, &deadline);
    value = *counter;
    pthread_mutex_unlock(&f->lock);
    if (value < least) {
        print_error("ERROR: waited for %d %s, saw %d\n", least, what, value);
        fail();
    }
}

static int read_counter(struct fixture *f, const int *counter)
{
    int value;

    pthread_mutex_lock(&f->lock);
    value = *counter;
    pthread_mutex_unlock(&f->lock);
    return value;
}

/* Wait for `n` closed connections and check the last one's code. */
static void expect_on_close(struct fixture *f, int n, unsigned code)
{
    wait_until(f, &f->seen.closed, n, "calls of on_close");
    lock(f);
    if (f->seen.close_code != code)
        print_error("ERROR: on_close was told %u, not %u\n", f->seen.close_code, code);
    unlock(f);
    assert_int_equal(f->seen.close_code, code);
}

/* --- callbacks that many tests share --------------------------------------------------------------- */

static void count_open(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    of(c)->conn = c;
    count(of(c), &of(c)->seen.opened);
}

static void count_close(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    struct fixture *f = of(c);

    lock(f);
    f->seen.closed++;
    f->seen.close_code = code;
    snprintf(f->seen.reason, sizeof f->seen.reason, "%.*s", (int)reason_len,
             reason != NULL ? reason : "");
    unlock(f);
}

static void count_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    (void)op;
    (void)data;
    (void)len;
    count(of(c), &of(c)->seen.messages);
}

static void echo(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    ws_send(c, op, data, len);
    count(of(c), &of(c)->seen.messages);
}

static void count_drain(struct ws_conn *c)
{
    count(of(c), &of(c)->seen.drained);
}

/* Answer with everything that was asked: "METHOD /path?query [body]". */
static void mirror(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str parts[] = {
        ws_request_method(req), ws_str(" "),  ws_request_path(req), ws_str("?"),
        ws_request_query(req),  ws_str(" ["), ws_request_body(req), ws_str("]")};
    char text[2 * KIB];
    size_t len = 0;

    for (size_t i = 0; i < COUNT(parts); i++)
        for (size_t j = 0; j < parts[i].len && len < sizeof text; j++)
            text[len++] = parts[i].data[j];
    ws_respond(c, 200, NULL, 0, text, len);
    count(of(c), &of(c)->seen.requests);
}

static void keep_log(void *arg, enum ws_log_level level, const char *line)
{
    struct fixture *f = arg;

    (void)level;
    lock(f);
    snprintf(f->seen.log, sizeof f->seen.log, "%s", line);
    unlock(f);
}

/* --- the server under test -------------------------------------------------------------------------- */

static const char *const chat_versions[] = {"chat.v2", "chat.v1", NULL};

/* An endpoint whose callbacks are counted; the test adds what it is about. */
static void serve(struct fixture *f, const char *prefix, struct ws_handlers h)
{
    h.user = f;
    if (h.on_open == NULL)
        h.on_open = count_open;
    if (h.on_close == NULL)
        h.on_close = count_close;
    assert_int_equal(ws_server_handle(f->server, prefix, &h), 0);
}

static void create(struct fixture *f, struct ws_options options)
{
    if (options.close_timeout_ms == 0)
        options.close_timeout_ms = 2000;
    options.log = keep_log;
    options.log_arg = f;
    if (options.log_level == 0)
        options.log_level = WS_LOG_INFO;
    f->server = ws_server_new(&options);
    if (f->server == NULL) {
        print_error("ERROR: ws_server_new: %s; %s\n", ws_strerror(errno), f->seen.log);
        fail();
    }
    f->port = ws_server_port(f->server);
    serve(f, "/echo", (struct ws_handlers){.on_message = echo, .on_drain = count_drain});
    serve(f, "/small", (struct ws_handlers){.on_message = echo, .max_message = 1000});
    serve(f, "/chat", (struct ws_handlers){.on_message = echo, .subprotocols = chat_versions});
    serve(f, "/http", (struct ws_handlers){.on_request = mirror, .max_message = 1000});
}

static void *loop_main(void *arg)
{
    struct fixture *f = arg;

    f->run_result = ws_server_run(f->server);
    return NULL;
}

static void run(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
    f->running = true;
}

static void start(struct fixture *f, struct ws_options options)
{
    create(f, options);
    run(f);
}

/* Wait for ws_server_run() to return. */
static void join(struct fixture *f)
{
    struct timespec deadline = deadline_in(PATIENCE_MS);

    if (pthread_timedjoin_np(f->thread, NULL, &deadline) != 0) {
        print_error("ERROR: ws_server_run() does not return after ws_server_stop()\n");
        abort(); /* the thread uses the fixture: there is no way to go on */
    }
    f->running = false;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        raw_init(&f->clients[i]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    if (f->running) {
        ws_server_stop(f->server);
        ws_server_stop(f->server); /* do not wait for anybody */
        join(f);
    }
    ws_server_free(f->server);
    raw_bytes_release(&f->out);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* --- from the test's thread to the loop ------------------------------------------------------------- */

struct call {
    void (*fn)(struct fixture *f, void *arg);
    struct fixture *fixture;
    void *arg;
    sem_t done;
};

static void run_call(void *arg)
{
    struct call *call = arg;

    call->fn(call->fixture, call->arg);
    sem_post(&call->done);
}

/* Run fn(f, arg) on the loop and wait until it has returned. */
static void on_loop(struct fixture *f, void (*fn)(struct fixture *f, void *arg), void *arg)
{
    struct call call = {.fn = fn, .fixture = f, .arg = arg};
    struct timespec deadline = deadline_in(PATIENCE_MS);

    sem_init(&call.done, 0, 0);
    assert_int_equal(ws_post(f->server, run_call, &call), 0);
    while (sem_timedwait(&call.done, &deadline) != 0) {
        if (errno == EINTR)
            continue;
        print_error("ERROR: the loop hangs: a post did not run\n");
        abort(); /* the loop may still come to `call`, which is on our stack */
    }
    sem_destroy(&call.done);
}

static void read_stats(struct fixture *f, void *arg)
{
    *(struct ws_stats *)arg = ws_server_stats(f->server);
}

static struct ws_stats stats(struct fixture *f)
{
    struct ws_stats s;

    on_loop(f, read_stats, &s);
    return s;
}

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Wait until the server holds exactly `n` connections. */
static void wait_connections(struct fixture *f, size_t n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (stats(f).connections != n && raw_now_ms() < deadline)
        sleep_ms(2);
    assert_int_equal(stats(f).connections, n);
}

/* Keep the loop busy, so that what happens meanwhile is all in its next batch. */
struct hold {
    sem_t held, go;
};

static void run_hold(void *arg)
{
    struct hold *h = arg;

    sem_post(&h->held);
    while (sem_wait(&h->go) != 0)
        continue;
}

static void hold_loop(struct fixture *f, struct hold *h)
{
    sem_init(&h->held, 0, 0);
    sem_init(&h->go, 0, 0);
    assert_int_equal(ws_post(f->server, run_hold, h), 0);
    while (sem_wait(&h->held) != 0)
        continue;
}

static int64_t loop_cpu_ms(struct fixture *f)
{
    struct timespec t = {0};
    clockid_t clock;

    assert_int_equal(pthread_getcpuclockid(f->thread, &clock), 0);
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void stop_and_join(struct fixture *f)
{
    ws_server_stop(f->server);
    join(f);
    assert_int_equal(f->run_result, 0);
}

/* --- clients ------------------------------------------------------------------------------------------ */

/* A place for one more client, closed by teardown. */
static struct raw_client *unconnected(struct fixture *f)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (f->clients[i].fd < 0)
            return &f->clients[i];
    fail_msg("more than %d clients", CLIENTS);
    return NULL;
}

static struct raw_client *client(struct fixture *f, const char *label)
{
    struct raw_client *c = unconnected(f);

    raw_connect(c, f->port);
    c->label = label;
    return c;
}

static struct raw_client *upgraded(struct fixture *f, const char *path)
{
    struct raw_client *c = client(f, path);

    raw_upgrade(c, path);
    return c;
}

static struct raw_client *slow_upgraded(struct fixture *f, const char *path)
{
    struct raw_client *c = unconnected(f);

    raw_connect_slow(c, f->port);
    c->label = path;
    raw_upgrade(c, path);
    return c;
}

/* The server is well: a new client gets its echo. */
static void expect_well(struct fixture *f)
{
    struct raw_client *c = upgraded(f, "/echo");

    raw_send_message(c, "still there?");
    raw_expect_message(c, "still there?");
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    raw_close(c);
}

/* Text that is not the same anywhere: position shows. The caller frees it. */
static uint8_t *make_payload(size_t len, bool text)
{
    uint8_t *data = malloc(len + 1);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        size_t v = i * 31 + i / 251 + i / 65537;

        data[i] = (uint8_t)(text ? 'a' + v % 26 : v);
    }
    data[len] = '\0';
    return data;
}

/* --- opening handshake, RFC 6455 §4.2 ------------------------------------------------------------------ */

#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define HOST    "Host: localhost\r\n"
#define GET     "GET /echo HTTP/1.1\r\n"

struct refusal {
    const char *label;
    const char *request; /* a whole head */
    int status;
};

static const struct refusal refusals[] = {
    {"no Connection", GET HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n", 400},
    {"Connection without upgrade",
     GET HOST "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY VERSION "\r\n", 400},
    {"no key", GET HOST UPGRADE VERSION "\r\n", 400},
    {"empty key", GET HOST UPGRADE VERSION "Sec-WebSocket-Key:\r\n\r\n", 400},
    {"key of 15 bytes", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n\r\n",
     400},
    {"key of 17 bytes",
     GET HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", 400},
    {"key that is not base64",
     GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n\r\n", 400},
    {"two keys", GET HOST UPGRADE VERSION KEY KEY "\r\n", 400},
    {"HTTP/1.0", "GET /echo HTTP/1.0\r\n" HOST UPGRADE KEY VERSION "\r\n", 400},
    {"a body", GET HOST UPGRADE KEY VERSION "Content-Length: 2\r\n\r\nab", 400},
    {"no Host", GET UPGRADE KEY VERSION "\r\n", 400},
    {"two Hosts", GET HOST HOST UPGRADE KEY VERSION "\r\n", 400},
    {"space before the colon", GET HOST UPGRADE KEY VERSION "A : b\r\n\r\n", 400},
    {"empty header name", GET HOST UPGRADE KEY VERSION ": b\r\n\r\n", 400},
    {"a folded line", GET HOST UPGRADE KEY VERSION "A: b\r\n c\r\n\r\n", 400},
    {"a bare LF", GET HOST UPGRADE KEY VERSION "A: b\n\r\n", 400},
    {"a bare CR", GET HOST UPGRADE KEY VERSION "A: b\rc\r\n\r\n", 400},
    {"a control character", GET HOST UPGRADE KEY VERSION "A: b\001c\r\n\r\n", 400},
    {"a CR in the subprotocol",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat\rX: y\r\n\r\n", 400},
    {"a subprotocol that is no token",
     "GET /chat HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a b\r\n\r\n", 400},
    {"differing Content-Lengths",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
    {"negative Content-Length", "POST /http HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
    {"Content-Length and Transfer-Encoding",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"a chunk without size",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
    {"not HTTP at all", "hello, who is there?\r\n\r\n", 400},
    {"a TLS greeting", "\x16\x03\x01\x02\x01\x01", 400},
    {"no such path", "GET /nowhere HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 405},
    {"version 8", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
    {"version 14", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 14\r\n\r\n", 426},
    {"version 0 through a proxy", /* a 101 here would be smuggled */
     GET HOST UPGRADE KEY "Sec-WebSocket-Version: 0\r\nX-Forwarded-For: ::1\r\n\r\n", 426},
    {"a body over the limit", "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413},
    {"a chunked body over the limit",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
    {"an unknown transfer coding", "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
     501},
    {"HTTP/2", "GET /echo HTTP/2.0\r\n" HOST UPGRADE KEY VERSION "\r\n", 505},
};

static void refused_handshake_gets_its_status_and_is_closed(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct raw_client *c = client(f, refusals[i].label);

        raw_send_text(c, refusals[i].request);
        raw_expect_status(c, &r, refusals[i].status);
        if (r.status == 426 && !raw_header_is(&r, "Sec-WebSocket-Version", "13"))
            raw_fail(c, "426 without Sec-WebSocket-Version: %s", r.head);
        raw_expect_eof(c);
        raw_close(c);
    }
    assert_int_equal(f->seen.opened, 0);
    wait_connections(f, 0);
    expect_well(f);
}

static void plain_get_of_a_websocket_path_gets_426(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = client(f, "plain GET");
    raw_send_text(c, GET HOST "\r\n");
    raw_expect_status(c, &r, 426);
    assert_true(raw_header_is(&r, "Upgrade", "websocket"));
    assert_true(raw_header_is(&r, "Sec-WebSocket-Version", "13"));
    raw_close(c);

    c = client(f, "upgrade to something else");
    raw_send_text(c, GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
    raw_expect_status(c, &r, 426);
}

/* A request head of `len` bytes, about what does not fit: one field, the target, or many fields. */
static void heads_over_the_limits_are_refused(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;
    char *big = (char *)make_payload(20000, true);
    static const struct {
        const char *label, *before;
        size_t len;
        const char *after;
        int status;
    } rows[] = {
        {"a long field", GET HOST "A: ", 20000, "\r\n\r\n", 431},
        {"a field name without end", GET HOST, 20000, "", 431},
        {"a long target", "GET /echo?", 8200, " HTTP/1.1\r\n" HOST "\r\n", 414},
        {"a target without end", "GET /", 20000, "", 414},
    };

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(rows); i++) {
        f->out.len = 0;
        raw_bytes_text(&f->out, rows[i].before);
        raw_bytes_add(&f->out, big, rows[i].len);
        raw_bytes_text(&f->out, rows[i].after);
        c = client(f, rows[i].label);
        raw_send_bytes(c, &f->out);
        raw_expect_status(c, &r, rows[i].status);
        raw_expect_eof(c);
        raw_close(c);
    }
    free(big);
    f->out.len = 0;
    raw_bytes_text(&f->out, GET HOST);
    for (int i = 0; i < 2000; i++)
        raw_bytes_text(&f->out, "A:b\r\n");
    raw_bytes_text(&f->out, UPGRADE KEY VERSION "\r\n");
    c = client(f, "2000 fields");
    raw_send_bytes(c, &f->out);
    raw_expect_status(c, &r, 431);
    raw_expect_eof(c);
}

/* A body is judged by what the endpoint allows, and not before it is over. */
static void request_body_up_to_the_limit_is_taken(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;
    uint8_t *body = make_payload(1000, true);

    start(f, (struct ws_options){0});
    c = client(f, "a body of 1000 bytes");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    raw_send(c, body, 1000);
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, strlen("POST /http? []") + 1000);
    assert_memory_equal(r.body + strlen("POST /http? ["), body, 1000);
    free(body);
}

struct origin {
    const char *host, *origin;
    int status;
};

/* The second half is on the list of server_judges_the_origin. */
static const struct origin origins[] = {
    {"example.com", "http://example.com", 101},
    {"example.com", "https://example.com", 101},
    {"example.com:8080", "http://example.com:8080", 101},
    {"example.com", "http://example.com:80", 101},
    {"example.com", "http://EXAMPLE.com", 101},
    {"EXAMPLE.com", "HTTP://example.COM", 101},
    {"[::1]:8080", "http://[::1]:8080", 101},
    {"example.com", "null", 403},
    {"example.com", "http://example.com:8080", 403},
    {"example.com:8080", "http://example.com", 403},
    {"example.com:8080", "http://example.com:8081", 403},
    {"example.com", "http://example.com.evil", 403},
    {"example.com", "http://evil.example.com", 403},
    {"example.com", "http://evilexample.com", 403},
    {"example.com", "http://evil?example.com", 403},
    {"example.com", "http://evil#example.com", 403},
    {"example.com", "http://evil/example.com", 403},
    {"example.com", "http://example.com@evil", 403},
    {"example.com", "http://evil@example.com", 403},
    {"example.com", "evil", 403},
    {"example.com", "http://", 403},
    {"example.com", "https://friend.example", 101},
    {"example.com", "https://friend.example:444", 403},
    {"example.com", "http://friend.example", 403},
    {"example.com", "https://friend.example.evil", 403},
};

static void try_origin(struct fixture *f, const struct origin *o)
{
    struct raw_client *c = client(f, o->origin);
    struct raw_response r;

    f->out.len = 0;
    raw_bytes_text(&f->out, GET UPGRADE KEY VERSION "Host: ");
    raw_bytes_text(&f->out, o->host);
    raw_bytes_text(&f->out, "\r\nOrigin: ");
    raw_bytes_text(&f->out, o->origin);
    raw_bytes_text(&f->out, "\r\n\r\n");
    raw_send_bytes(c, &f->out);
    if (o->status == 101) {
        raw_expect_upgraded(c, &r);
    } else {
        raw_expect_status(c, &r, o->status);
        raw_expect_eof(c);
    }
    raw_close(c);
}

static void origin_must_be_ours_or_listed(void **state)
{
    static const char *const friends[] = {"https://friend.example", NULL};
    struct fixture *f = *state;
    bool named;

    start(f, (struct ws_options){.origins = friends});
    for (size_t i = 0; i < COUNT(origins); i++)
        try_origin(f, &origins[i]);
    lock(f);
    f->seen.log[0] = '\0';
    unlock(f);
    try_origin(f, &(struct origin){"example.com", "null", 403});
    lock(f);
    named = strstr(f->seen.log, "origin") != NULL;
    unlock(f);
    if (!named)
        fail_msg("the log does not name the option: %s", f->seen.log);
}

static void star_allows_any_origin(void **state)
{
    static const char *const any[] = {"*", NULL};
    struct fixture *f = *state;

    start(f, (struct ws_options){.origins = any});
    try_origin(f, &(struct origin){"example.com", "null", 101});
    try_origin(f, &(struct origin){"example.com", "https://evil.example", 101});
}

static void endpoint_may_have_origins_of_its_own(void **state)
{
    static const char *const ours[] = {"https://friend.example", NULL};
    static const char *const its[] = {"https://other.example", NULL};
    struct fixture *f = *state;

    create(f, (struct ws_options){.origins = ours});
    serve(f, "/echo", (struct ws_handlers){.origins = its});
    run(f);
    try_origin(f, &(struct origin){"example.com", "https://other.example", 101});
    try_origin(f, &(struct origin){"example.com", "https://friend.example", 403});
}

/* Everything here is legal, if unusual: token lists, case, absolute-form, unknown extensions. */
static const struct {
    const char *label, *request;
} acceptable[] = {
    {"lists and case",
     GET HOST "UPGRADE: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY VERSION "\r\n"},
    {"repeated fields", GET HOST "Upgrade: websocket\r\nConnection: keep-alive\r\n"
                                 "Connection: Upgrade\r\n" KEY VERSION "\r\n"},
    {"a query", "GET /echo?a=b&c HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"},
    {"absolute-form", "GET http://localhost/echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"},
    {"an unknown extension",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
    {"a strange extension",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: constructor, a; b=\"c, ;;\r\n\r\n"},
    {"an empty line before", "\r\n" GET HOST UPGRADE KEY VERSION "\r\n"},
    {"an offered subprotocol that nobody asked for",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat.v1\r\n\r\n"},
};

static void legal_handshakes_of_any_form_are_accepted(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    char value[8];

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(acceptable); i++) {
        struct raw_client *c = client(f, acceptable[i].label);

        raw_send_text(c, acceptable[i].request);
        raw_expect_upgraded(c, &r);
        if (raw_header(&r, "Sec-WebSocket-Extensions", value, sizeof value))
            raw_fail(c, "an extension was accepted: %s", r.head);
        if (raw_header(&r, "Sec-WebSocket-Protocol", value, sizeof value))
            raw_fail(c, "a subprotocol was chosen: %s", r.head);
        raw_send_message(c, "hi");
        raw_expect_message(c, "hi");
        raw_close(c);
    }
}

static void subprotocol_is_our_first_that_was_offered(void **state)
{
    static const struct {
        const char *offer, *choice; /* NULL: none */
    } rows[] = {
        {"", NULL},
        {"Sec-WebSocket-Protocol: chat.v1\r\n", "chat.v1"},
        {"Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", "chat.v2"},
        {"Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: chat.v2\r\n", "chat.v2"},
        {"Sec-WebSocket-Protocol: x, y\r\n", NULL},
        {"Sec-WebSocket-Protocol: CHAT.V2\r\n", NULL},
        {"Sec-WebSocket-Protocol: chat.v22, chat\r\n", NULL},
    };
    struct fixture *f = *state;
    struct raw_response r;
    char found[64];

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct raw_client *c = client(f, rows[i].offer);

        f->out.len = 0;
        raw_bytes_upgrade(&f->out, "/chat", rows[i].offer);
        raw_send_bytes(c, &f->out);
        raw_expect_upgraded(c, &r);
        if (!raw_header(&r, "Sec-WebSocket-Protocol", found, sizeof found))
            found[0] = '\0';
        if (strcmp(found, rows[i].choice != NULL ? rows[i].choice : "") != 0)
            raw_fail(c, "chose %s", found);
        raw_close(c);
    }
}

/* must not take quadratic time either; 15,000 spaces still fit the head. */
static void subprotocol_with_many_spaces_is_cheap(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    char offer[15100];
    struct raw_client *c;
    int64_t before;

    snprintf(offer, sizeof offer, "Sec-WebSocket-Protocol: b%15000sx\r\n", "");
    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/chat", offer);
    c = client(f, "b<spaces>x");
    before = loop_cpu_ms(f);
    raw_send_bytes(c, &f->out);
    raw_expect_status(c, &r, 400);
    assert_in_range(loop_cpu_ms(f) - before, 0, 200);
}

static void frames_in_the_segment_of_the_handshake_are_served(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    raw_bytes_frame(&f->out, RAW_PING, "p", 1);
    c = client(f, "frames");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "early");
    raw_expect_frame(c, RAW_PONG, "p", 1);
    raw_close(c);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_bytes_add(&f->out, "\x83\x80", 2);
    c = client(f, "an illegal frame");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_closed(c, 1002);
    raw_close(c);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/nowhere", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    c = client(f, "frames behind a refused handshake");
    raw_send_bytes(c, &f->out);
    raw_expect_status(c, &r, 404);
    raw_expect_eof(c);
}

static void refuse_strangers(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_header challenge = {ws_str("WWW-Authenticate"), ws_str("Bearer")};
    struct ws_header mark = {ws_str("X-Mark"), ws_str("1")};
    struct ws_header broken = {ws_str("X-Mark"), ws_str("1\r\nX-Evil: 1")};

    if (ws_str_is(ws_request_query(req), "token=stranger"))
        ws_respond(c, 401, &challenge, 1, "who are you", 11);
    if (ws_str_is(ws_request_query(req), "token=friend")) {
        note_result(of(c), 0, ws_accept(c, "chat.v2", &broken, 1));
        note_result(of(c), 1, ws_accept(c, "not.offered", NULL, 0));
        note_result(of(c), 2, ws_accept(c, "chat.v1", &mark, 1));
    }
}

static void application_accepts_and_refuses_upgrades(void **state)
{
    struct fixture *f = *state;
    const char *offer = "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n";
    struct raw_response r;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/door",
          (struct ws_handlers){
              .on_upgrade = refuse_strangers, .on_message = echo, .subprotocols = chat_versions});
    run(f);
    raw_bytes_upgrade(&f->out, "/door?token=stranger", "");
    c = client(f, "a stranger");
    raw_send_bytes(c, &f->out);
    raw_expect_status(c, &r, 401);
    assert_true(raw_header_is(&r, "WWW-Authenticate", "Bearer"));
    assert_int_equal(r.body_len, 11);
    raw_expect_eof(c);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/door?token=friend", offer);
    c = client(f, "a friend");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    assert_true(raw_header_is(&r, "X-Mark", "1"));
    assert_true(raw_header_is(&r, "Sec-WebSocket-Protocol", "chat.v1"));
    assert_null(strstr(r.head, "Evil"));
    assert_int_equal(f->seen.result[0], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[1], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[2], 0);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/door", offer);
    c = client(f, "on the server's terms");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    assert_true(raw_header_is(&r, "Sec-WebSocket-Protocol", "chat.v2"));
}

static void note_open(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str path = ws_request_path(req);
    struct ws_str query = ws_request_query(req);
    struct ws_str agent = ws_request_header(req, "user-agent");
    char address[WS_ADDRESS_SIZE];
    struct ws_header first;

    note_text(of(c), path.data, path.len);
    note_text(of(c), "|", 1);
    note_text(of(c), query.data, query.len);
    note_text(of(c), "|", 1);
    note_text(of(c), agent.data, agent.len);
    note_text(of(c), "|", 1);
    ws_conn_address(c, address);
    note_text(of(c), address, strlen("127.0.0.1:"));
    note_result(of(c), 0, ws_conn_find(ws_conn_server(c), ws_conn_id(c)) == c);
    note_result(of(c), 1, ws_request_header_at(req, 0, &first) && ws_str_is(first.name, "Host"));
    note_result(of(c), 2, ws_request_header_at(req, 100, &first));
    count(of(c), &of(c)->seen.opened);
}

static void open_sees_the_request_of_its_endpoint(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/echo/deep", (struct ws_handlers){.on_open = note_open});
    assert_int_equal(ws_server_handle(f->server, "nowhere", &(struct ws_handlers){0}),
                     WS_ERR_INVALID);
    run(f);
    raw_bytes_upgrade(&f->out, "/echo/deep/%20x?a=1&b", "User-Agent: me\r\n");
    c = client(f, "the longest prefix");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    wait_until(f, &f->seen.opened, 1, "calls of on_open");
    assert_string_equal(f->seen.text, "/echo/deep/%20x|a=1&b|me|127.0.0.1:");
    assert_int_equal(f->seen.result[0], true);
    assert_int_equal(f->seen.result[1], true);
    assert_int_equal(f->seen.result[2], false);
}

/* --- frames and messages, RFC 6455 §5, §6, §8 ----------------------------------------------------------- */

static void expect_echo_of_size(struct raw_client *c, struct raw_bytes *out, size_t len, bool text)
{
    unsigned head = text ? RAW_TEXT : RAW_BINARY;
    uint8_t *payload = make_payload(len, text);
    char label[64];

    snprintf(label, sizeof label, "%zu bytes of %s", len, text ? "text" : "binary");
    c->label = label;
    out->len = 0;
    raw_bytes_frame(out, head, payload, len);
    raw_send_bytes(c, out);
    raw_expect_frame(c, head, payload, len);
    c->label = NULL;
    free(payload);
}

static void messages_of_all_sizes_come_back(void **state)
{
    static const size_t sizes[] = {0,     1,      2,           124,     125,          126,
                                   127,   128,    1000,        65534,   65535,        65536,
                                   65537, 100000, 1 * MIB - 1, 1 * MIB, 16 * MIB - 1, 16 * MIB};
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        expect_echo_of_size(c, &f->out, sizes[i], true);
        expect_echo_of_size(c, &f->out, sizes[i], false);
    }
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* RFC 6455 §5.7 and §5.3: any masking key will do, also one of zeros. */
static void every_masking_key_is_applied(void **state)
{
    static const uint8_t zero_key[] = {0x81, 0x82, 0, 0, 0, 0, 'h', 'i'};
    static const uint8_t other_key[] = {0x81, 0x82, 0xff, 0x01, 0x80, 0x7f, 'h' ^ 0xff, 'i' ^ 0x01};
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_send(c, zero_key, sizeof zero_key);
    raw_expect_message(c, "hi");
    raw_send(c, other_key, sizeof other_key);
    raw_expect_message(c, "hi");
}

struct attack {
    const char *label;
    const char *bytes;
    size_t len;
    unsigned code; /* what the server must close with */
};
/* The bytes of a string literal; the 4 zeros of MASK are a masking key that changes nothing. */
#define BYTES(literal) literal, sizeof(literal) - 1
#define MASK           "\0\0\0\0"

static const struct attack violations[] = {
    {"an unmasked frame", BYTES("\x81\x02hi"), 1002},
    {"an unmasked empty frame", BYTES("\x81\x00"), 1002},
    {"an unmasked ping", BYTES("\x89\x00"), 1002},
    {"an unmasked Close", BYTES("\x88\x02\x03\xe8"), 1002},
    {"RSV1", BYTES("\xc1\x80" MASK), 1002},
    {"RSV2", BYTES("\xa1\x80" MASK), 1002},
    {"RSV3", BYTES("\x91\x80" MASK), 1002},
    {"RSV1 on a ping", BYTES("\xc9\x80" MASK), 1002},
    {"opcode 3", BYTES("\x83\x80" MASK), 1002},
    {"opcode 4", BYTES("\x84\x80" MASK), 1002},
    {"opcode 5", BYTES("\x85\x80" MASK), 1002},
    {"opcode 6", BYTES("\x86\x80" MASK), 1002},
    {"opcode 7", BYTES("\x87\x80" MASK), 1002},
    {"opcode 11", BYTES("\x8b\x80" MASK), 1002},
    {"opcode 12", BYTES("\x8c\x80" MASK), 1002},
    {"opcode 13", BYTES("\x8d\x80" MASK), 1002},
    {"opcode 14", BYTES("\x8e\x80" MASK), 1002},
    {"opcode 15", BYTES("\x8f\x80" MASK), 1002},
    {"125 as 16 bits", BYTES("\x82\xfe\x00\x7d" MASK), 1002},
    {"0 as 16 bits", BYTES("\x82\xfe\x00\x00" MASK), 1002},
    {"65535 as 64 bits", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff" MASK), 1002},
    {"0 as 64 bits", BYTES("\x82\xff\0\0\0\0\0\0\0\0" MASK), 1002},
    {"bit 63", BYTES("\x82\xff\x80\0\0\0\0\0\0\x01" MASK), 1002},
    {"all bits", BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK), 1002},
    {"a ping of 126 bytes, 2 bytes of it sent", BYTES("\x89\xfe"), 1002},
    {"a pong of 126 bytes", BYTES("\x8a\xfe\x00\x7e" MASK), 1002},
    {"a Close of 126 bytes", BYTES("\x88\xfe\x00\x7e" MASK), 1002},
    {"a ping without FIN", BYTES("\x09\x80" MASK), 1002},
    {"a pong without FIN", BYTES("\x0a\x80" MASK), 1002},
    {"a Close without FIN", BYTES("\x08\x80" MASK), 1002},
    {"a continuation of nothing", BYTES("\x80\x80" MASK), 1002},
    {"a first part that continues nothing", BYTES("\x00\x80" MASK), 1002},
    {"a continuation after a whole message", BYTES("\x02\x80" MASK "\x80\x80" MASK "\x80\x80" MASK),
     1002},
    {"text inside a text", BYTES("\x01\x81" MASK "a\x81\x81" MASK "b"), 1002},
    {"binary inside a text", BYTES("\x01\x81" MASK "a\x82\x81" MASK "b"), 1002},
    {"text inside a binary", BYTES("\x02\x81" MASK "a\x01\x81" MASK "b"), 1002},
    {"a Close of one byte", BYTES("\x88\x81" MASK "\x03"), 1002},
    {"2^62 bytes", BYTES("\x82\xff\x40\0\0\0\0\0\0\0" MASK), 1009},
    {"2^63 - 1 bytes", BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK), 1009},
    {"16 MiB + 1", BYTES("\x82\xff\0\0\0\0\x01\0\0\x01" MASK), 1009},
    {"a sum that wraps", BYTES("\x02\x81" MASK "a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK),
     1009},
};

static void try_attack(struct fixture *f, const struct attack *a)
{
    struct raw_client *c = upgraded(f, "/sink");
    int closed = read_counter(f, &f->seen.closed);

    c->label = a->label;
    raw_send(c, a->bytes, a->len);
    raw_expect_closed(c, a->code);
    raw_close(c);
    expect_on_close(f, closed + 1, a->code);
}

static void protocol_violation_fails_the_connection(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    serve(f, "/sink", (struct ws_handlers){.on_message = count_message});
    run(f);
    for (size_t i = 0; i < COUNT(violations); i++)
        try_attack(f, &violations[i]);
    expect_well(f);
}

/* None of these waits for the rest of what its header announced. */
static const struct attack bad_texts[] = {
    {"a lone continuation byte", BYTES("\x81\x81" MASK "\x80"), 1007},
    {"0xff",
     BYTES("\x81\x83" MASK "a\xff"
           "b"),
     1007},
    {"overlong slash", BYTES("\x81\x82" MASK "\xc0\xaf"), 1007},
    {"overlong NUL", BYTES("\x81\x83" MASK "\xe0\x80\x80"), 1007},
    {"a surrogate", BYTES("\x81\x83" MASK "\xed\xa0\x80"), 1007},
    {"over U+10FFFF", BYTES("\x81\x84" MASK "\xf4\x90\x80\x80"), 1007},
    {"a character cut by the end of the message", BYTES("\x81\x82" MASK "\xe2\x82"), 1007},
    {"a character cut by the end of the last fragment",
     BYTES("\x01\x81" MASK "\xe2\x80\x81" MASK "\x82"), 1007},
    {"a bad byte in an unfinished frame", BYTES("\x81\xfe\x03\xe8" MASK "abc\xff"), 1007},
    {"a first byte that nothing can follow, frame unfinished",
     BYTES("\x81\xfe\x03\xe8" MASK "abc\xf5"), 1007},
    {"a second byte that cannot be, frame unfinished", BYTES("\x81\xfe\x03\xe8" MASK "\xed\xa0"),
     1007},
    {"a bad byte in a second fragment", BYTES("\x01\x81" MASK "a\x00\xfe\x03\xe8" MASK "\xc0"),
     1007},
    {"a bad byte behind a split character",
     BYTES("\x01\x82" MASK "\xe2\x82\x80\x82" MASK "\xac\xff"), 1007},
    {"a bad reason", BYTES("\x88\x84" MASK "\x03\xe8\xc3\x28"), 1007},
};

static void bad_utf8_fails_at_the_first_impossible_byte(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    serve(f, "/sink", (struct ws_handlers){.on_message = count_message});
    run(f);
    for (size_t i = 0; i < COUNT(bad_texts); i++)
        try_attack(f, &bad_texts[i]);
    assert_int_equal(f->seen.messages, 0);
}

static void characters_may_be_split_between_fragments(void **state)
{
    static const char text[] = "\xce\xba\xe1\xbd\xb9\xf0\x9f\x90\x9f\xf4\x8f\xbf\xbf\xee\x80\x80";
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    for (size_t i = 0; i < sizeof text - 1; i++)
        raw_bytes_frame(&f->out, i == 0 ? RAW_TEXT_PART : RAW_CONTINUATION_PART, text + i, 1);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "", 0);
    raw_send_bytes(c, &f->out);
    raw_expect_message(c, text);
    raw_send_frame(c, RAW_BINARY, "\xff\xfe", 2); /* binary is not looked at */
    raw_expect_frame(c, RAW_BINARY, "\xff\xfe", 2);
}

static void message_over_the_limit_fails_by_its_header_alone(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(1000, true);

    start(f, (struct ws_options){0});
    c = upgraded(f, "/small");
    raw_send_frame(c, RAW_TEXT, payload, 1000);
    raw_expect_frame(c, RAW_TEXT, payload, 1000);
    raw_bytes_header(&f->out, RAW_TEXT, 1001);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);

    c = upgraded(f, "/small");
    raw_send_frame(c, RAW_TEXT_PART, payload, 600);
    raw_send_frame(c, RAW_CONTINUATION, payload + 600, 400);
    raw_expect_frame(c, RAW_TEXT, payload, 1000);
    raw_send_frame(c, RAW_TEXT_PART, payload, 600);
    f->out.len = 0;
    raw_bytes_header(&f->out, RAW_CONTINUATION_PART, 401);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);
    expect_on_close(f, 2, 1009);
    free(payload);
}

/* 100 headers of 16 MiB each hold nothing. */
static void announced_bytes_take_no_memory(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    raw_bytes_header(&f->out, RAW_BINARY, 16 * MIB);
    raw_bytes_payload(&f->out, "0123456789", 10, 0);
    for (int i = 0; i < 15; i++) {
        c = upgraded(f, "/echo");
        raw_send_bytes(c, &f->out);
    }
    expect_well(f);
    assert_in_range(stats(f).buffered, 0, 16 * 4 * KIB);
}

static void fragments_may_have_control_frames_between_them(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_TEXT_PART, "frag", 4);
    raw_bytes_frame(&f->out, RAW_PING, "one", 3);
    raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_bytes_frame(&f->out, RAW_PONG, "nobody asked", 12);
    raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "men", 3);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_PONG, "one", 3);
    f->out.len = 0;
    raw_bytes_frame(&f->out, RAW_PING, "two", 3);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "ts", 2);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_PONG, "two", 3);
    raw_expect_message(c, "fragments");
    assert_int_equal(f->seen.messages, 1);

    raw_send_frame(c, RAW_TEXT_PART, "unfinished", 10); /* a Close may stand there too */
    raw_send_close(c, 1001);
    raw_expect_closed(c, 1001);
    expect_on_close(f, 1, 1001);
    assert_int_equal(f->seen.messages, 1);
}

static void message_of_65536_fragments_comes_back(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(65536, false);

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_BINARY_PART, payload, 1);
    for (size_t i = 1; i < 65535; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, payload + i, 1);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, payload + 65535, 1);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_BINARY, payload, 65536);
    free(payload);
}

static void empty_fragments_without_end_are_cut_off(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_TEXT_PART, "", 0);
    for (int i = 0; i < 60000; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_send_bytes(c, &f->out);
    raw_send_frame(c, RAW_PING, "", 0);
    raw_expect_frame(c, RAW_PONG, "", 0);
    assert_in_range(stats(f).buffered, 0, 64 * KIB);
    f->out.len = 0;
    for (int i = 0; i < 10000; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);
}

/* the same stream in pieces of 1, 2, 3, 7 and 1000 bytes. */
static void delivery_in_pieces_changes_nothing(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1000};
    struct fixture *f = *state;
    uint8_t *payload = make_payload(300, true);

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/echo", "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    raw_bytes_frame(&f->out, RAW_TEXT, "hello", 5);
    raw_bytes_frame(&f->out, RAW_TEXT_PART, "\xe2", 1);
    raw_bytes_frame(&f->out, RAW_PING, "ping", 4);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "\x82\xac", 2);
    raw_bytes_frame(&f->out, RAW_TEXT, payload, 300);
    raw_bytes_frame(&f->out, RAW_BINARY, "", 0);
    raw_bytes_close(&f->out, 1000, "bye");
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct raw_client *c = client(f, "in pieces");
        struct raw_response r;

        raw_send_chunks(c, f->out.data, f->out.len, pieces[i]);
        raw_expect_upgraded(c, &r);
        raw_expect_message(c, "hello");
        raw_expect_frame(c, RAW_PONG, "ping", 4);
        raw_expect_message(c, "\xe2\x82\xac");
        raw_expect_frame(c, RAW_TEXT, payload, 300);
        raw_expect_frame(c, RAW_BINARY, "", 0);
        raw_expect_closed(c, 1000);
        raw_close(c);
    }
    free(payload);
}

/* a head of 16 KiB byte by byte is not parsed again for every byte. */
static void long_head_byte_by_byte_is_cheap(void **state)
{
    struct fixture *f = *state;
    char *filler = (char *)make_payload(15 * KIB, true);
    struct raw_client *c;
    struct raw_response r;
    int64_t before;

    start(f, (struct ws_options){0});
    raw_bytes_text(&f->out, GET HOST UPGRADE KEY VERSION "X: ");
    raw_bytes_add(&f->out, filler, 15 * KIB);
    raw_bytes_text(&f->out, "\r\n\r\n");
    c = client(f, "15 KiB");
    before = loop_cpu_ms(f);
    raw_send_chunks(c, f->out.data, f->out.len, 1);
    raw_expect_upgraded(c, &r);
    assert_in_range(loop_cpu_ms(f) - before, 0, 2000);
    free(filler);
}

static void pipelined_messages_come_back_in_order(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    char text[32];

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "message %d", i);
        raw_bytes_frame(&f->out, RAW_TEXT, text, strlen(text));
    }
    raw_send_bytes(c, &f->out);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "message %d", i);
        raw_expect_message(c, text);
    }
}

static void ping_is_answered_with_its_own_payload(void **state)
{
    static const size_t sizes[] = {0, 1, 124, 125}; /* 125 */
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(125, false);

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        raw_send_frame(c, RAW_PING, payload, sizes[i]);
        raw_expect_frame(c, RAW_PONG, payload, sizes[i]);
    }
    free(payload);
    raw_send_frame(c, RAW_PONG, "unsolicited", 11);
    raw_send_message(c, "fine");
    raw_expect_message(c, "fine");
}

/* --- closing, RFC 6455 §5.5.1 and §7 --------------------------------------------------------------------- */

static const struct {
    unsigned sent, answer;
} close_codes[] = {
    {1000, 1000}, {1001, 1001}, {1002, 1002}, {1003, 1003},  {1007, 1007}, {1008, 1008},
    {1009, 1009}, {1010, 1010}, {1011, 1011}, {1012, 1012},  {1013, 1013}, {1014, 1014},
    {3000, 3000}, {3999, 3999}, {4000, 4000}, {4999, 4999},  {1, 1002},    {999, 1002},
    {1004, 1002}, {1005, 1002}, {1006, 1002}, {1015, 1002},  {1016, 1002}, {1100, 1002},
    {2000, 1002}, {2999, 1002}, {5000, 1002}, {65535, 1002},
};

static void close_code_is_echoed_when_it_is_valid(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(close_codes); i++) {
        struct raw_client *c = upgraded(f, "/echo");

        raw_send_close(c, close_codes[i].sent);
        raw_expect_closed(c, close_codes[i].answer);
        raw_close(c);
        expect_on_close(f, (int)i + 1, close_codes[i].answer);
    }
}

/* Code 0 cannot be sent by raw_send_close(), where it means none. */
static void close_of_code_zero_is_a_violation(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_send_frame(c, RAW_CLOSE, "\0\0", 2);
    raw_expect_closed(c, 1002);
}

static void empty_close_is_answered_by_an_empty_close(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_send_close(c, 0);
    raw_expect_closed(c, 0);
    expect_on_close(f, 1, WS_CLOSE_NO_STATUS);
}

static void close_reason_reaches_the_application(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    char longest[124];

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_close(&f->out, 4001, "enough \xe2\x82\xac");
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 4001);
    expect_on_close(f, 1, 4001);
    assert_string_equal(f->seen.reason, "enough \xe2\x82\xac");

    memset(longest, 'r', 123);
    longest[123] = '\0';
    c = upgraded(f, "/echo");
    f->out.len = 0;
    raw_bytes_close(&f->out, 1000, longest);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1000);
    expect_on_close(f, 2, 1000);
    assert_string_equal(f->seen.reason, longest);
}

static void data_after_close_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_TEXT, "before", 6);
    raw_bytes_close(&f->out, 1000, "");
    raw_bytes_frame(&f->out, RAW_TEXT, "after", 5);
    raw_bytes_frame(&f->out, RAW_PING, "after", 5);
    raw_bytes_add(&f->out, "\xff\xff\xff", 3); /* not even judged */
    raw_send_bytes(c, &f->out);
    raw_expect_message(c, "before");
    raw_expect_closed(c, 1000);
    raw_close(c);
    expect_on_close(f, 1, 1000);
    assert_int_equal(f->seen.messages, 1);
}

static void data_after_a_violation_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
    raw_bytes_add(&f->out, "\x83\x80" MASK, 6);
    for (int i = 0; i < 1000; i++)
        raw_bytes_frame(&f->out, RAW_TEXT, "after", 5);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1002);
    raw_send_bytes(c, &f->out); /* nobody is disturbed, and no RST eats the Close */
    raw_close(c);
    expect_on_close(f, 1, 1002);
    assert_int_equal(f->seen.messages, 0);
}

static void close_by_order(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    char reason[201];
    char order[16];

    (void)op;
    memset(reason, 'x', 200);
    reason[200] = '\0';
    snprintf(order, sizeof order, "%.*s", (int)len, (const char *)data);
    note_result(of(c), 0, ws_close(c, (unsigned)atoi(order), len > 4 ? reason : "why"));
    note_result(of(c), 1, ws_close(c, 1000, ""));
    note_result(of(c), 2, ws_send(c, WS_OP_TEXT, "x", 1));
    count(of(c), &of(c)->seen.messages);
}

static void server_closes_with_the_code_of_the_application(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_frame frame;

    create(f, (struct ws_options){0});
    serve(f, "/close", (struct ws_handlers){.on_message = close_by_order});
    run(f);
    c = upgraded(f, "/close");
    raw_bytes_frame(&f->out, RAW_TEXT, "4000", 4);
    raw_bytes_frame(&f->out, RAW_TEXT, "4000", 4); /* discarded: the close has begun */
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_CLOSE, "\x0f\xa0why", 5);
    raw_send_close(c, 4000);
    raw_expect_eof(c);
    raw_close(c);
    expect_on_close(f, 1, 4000);
    assert_int_equal(f->seen.messages, 1);
    assert_int_equal(f->seen.result[0], 0);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);

    c = upgraded(f, "/close");
    raw_send_message(c, "0");
    raw_expect_close(c, 0);
    raw_send_close(c, 0);
    raw_expect_eof(c);

    c = upgraded(f, "/close");
    raw_send_message(c, "1000 and a long reason"); /* cut, not refused */
    raw_read_frame(c, &frame);
    assert_int_equal(frame.head, RAW_CLOSE);
    assert_int_equal(frame.len, 125);
}

static void try_bad_arguments(struct ws_conn *c, const struct ws_request *req)
{
    static const unsigned bad[] = {1, 999, 1004, 1005, 1006, 1015, 5000, 70000};
    static const char zeros[126];
    int refused = 0;

    (void)req;
    for (size_t i = 0; i < COUNT(bad); i++)
        refused += ws_close(c, bad[i], NULL) == WS_ERR_INVALID;
    note_result(of(c), 0, refused);
    note_result(of(c), 1, ws_send(c, WS_OP_PING, "x", 1));
    note_result(of(c), 2, ws_send(c, (enum ws_opcode)3, "x", 1));
    note_result(of(c), 3, ws_ping(c, zeros, 126));
    note_result(of(c), 4, ws_ping(c, zeros, 125));
    note_result(of(c), 5, ws_respond(c, 200, NULL, 0, "x", 1));
    note_result(of(c), 6, ws_accept(c, NULL, NULL, 0));
    note_result(of(c), 7, ws_send(c, WS_OP_TEXT, NULL, 0));
    count(of(c), &of(c)->seen.opened);
}

static void illegal_arguments_are_refused(void **state)
{
    static const char zeros[125];
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/bad", (struct ws_handlers){.on_open = try_bad_arguments});
    run(f);
    c = upgraded(f, "/bad");
    raw_expect_frame(c, RAW_PING, zeros, 125);
    raw_expect_message(c, "");
    wait_until(f, &f->seen.opened, 1, "calls of on_open");
    assert_int_equal(f->seen.result[0], 8);
    assert_int_equal(f->seen.result[1], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[2], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[3], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[4], 0);
    assert_int_equal(f->seen.result[5], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[6], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[7], 0);
}

static void half_closed_client_gets_its_echoes(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(4 * MIB, false);

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_TEXT, "owed", 4);
    raw_bytes_frame(&f->out, RAW_BINARY, payload, 4 * MIB);
    raw_bytes_frame(&f->out, RAW_TEXT, "last", 4);
    raw_bytes_header(&f->out, RAW_TEXT, 10); /* cut off: never a message */
    raw_exchange(c, f->out.data, f->out.len);
    raw_half_close(c);
    raw_expect_message(c, "owed");
    raw_expect_frame(c, RAW_BINARY, payload, 4 * MIB);
    raw_expect_message(c, "last");
    if (!raw_gone_within(c, PATIENCE_MS))
        raw_fail(c, "the connection stays open after FIN");
    raw_close(c);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    assert_int_equal(f->seen.messages, 3);
    free(payload);
}

/* each prefix of a frame, then FIN. The loop must neither hang nor spin. */
static void frame_cut_by_fin_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    int64_t before;

    start(f, (struct ws_options){0});
    raw_bytes_header(&f->out, RAW_BINARY, 70000);
    raw_bytes_payload(&f->out, "abc", 3, 0);
    before = loop_cpu_ms(f);
    for (size_t n = 0; n <= f->out.len; n++) {
        struct raw_client *c = upgraded(f, "/echo");

        raw_send(c, f->out.data, n);
        raw_half_close(c);
        if (!raw_gone_within(c, PATIENCE_MS))
            raw_fail(c, "still open, %zu bytes of a frame and FIN", n);
        raw_close(c);
        expect_on_close(f, (int)n + 1, WS_CLOSE_ABNORMAL);
    }
    assert_in_range(loop_cpu_ms(f) - before, 0, 500);
    assert_int_equal(stats(f).buffered, 0);
}

static void reset_at_any_step_disturbs_nobody(void **state)
{
    struct fixture *f = *state;
    struct raw_bytes steps = {0};
    size_t head;

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&steps, "/echo", "");
    head = steps.len;
    raw_bytes_frame(&steps, RAW_TEXT, "hello", 5);
    raw_bytes_frame(&steps, RAW_TEXT_PART, "half", 4);
    raw_bytes_frame(&steps, RAW_CONTINUATION, "whole", 5);
    raw_bytes_close(&steps, 1000, "");
    for (size_t n = 0; n <= steps.len; n += n + 16 < head ? 16 : 1) {
        struct raw_client *c = client(f, "reset");

        raw_send(c, steps.data, n);
        if (n % 2 == 0) /* with and without the server knowing what came */
            stats(f);
        raw_reset(c);
    }
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct raw_client *c = client(f, refusals[i].label);

        raw_send_text(c, refusals[i].request);
        raw_reset(c);
    }
    raw_bytes_release(&steps);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    expect_well(f);
    assert_int_equal(f->seen.opened, f->seen.closed);
}

static void reset_under_a_full_queue_frees_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(8 * MIB, false);

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    raw_bytes_frame(&f->out, RAW_BINARY, payload, 8 * MIB);
    raw_send_bytes(c, &f->out);
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_true(stats(f).buffered > 0);
    raw_reset(c);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    free(payload);
}

/* --- backpressure and budgets ---------------------------------------------------------------------------- */

static void slow_reader_is_slowed_and_loses_nothing(void **state)
{
    enum { MESSAGES = 2048, SIZE = 4 * KIB };
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(SIZE + MESSAGES, false);
    size_t sent;

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    for (size_t i = 0; i < MESSAGES; i++)
        raw_bytes_frame(&f->out, RAW_BINARY, payload + i, SIZE);
    sent = raw_send_some(c, f->out.data, f->out.len, 50);
    assert_in_range(stats(f).buffered, 0, 1 * MIB);
    raw_exchange(c, f->out.data + sent, f->out.len - sent);
    for (size_t i = 0; i < MESSAGES; i++)
        raw_expect_frame(c, RAW_BINARY, payload + i, SIZE);
    assert_int_equal(stats(f).buffered, 0);
    assert_int_equal(f->seen.messages, MESSAGES);
    raw_send_message(c, "on we go");
    raw_expect_message(c, "on we go");
    free(payload);
}

/* pongs are not queued without bound, and the newest one comes. */
static void ping_flood_keeps_memory_flat_and_the_newest_pong(void **state)
{
    enum { PINGS = 50000 };
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_frame frame;
    char payload[126];
    long newest = -1;
    bool texts = false;

    start(f, (struct ws_options){0});
    c = slow_upgraded(f, "/echo");
    for (int i = 0; i < PINGS; i++) {
        snprintf(payload, sizeof payload, "%0125d", i);
        raw_bytes_frame(&f->out, RAW_PING, payload, 125);
    }
    raw_bytes_frame(&f->out, RAW_TEXT, "end", 3);
    raw_send_bytes(c, &f->out); /* without reading: nothing of it may block */
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_in_range(stats(f).buffered, 0, 128 * KIB);
    while (!texts || newest != PINGS - 1) {
        raw_read_frame(c, &frame);
        if (frame.head == RAW_TEXT) {
            texts = true;
            continue;
        }
        assert_int_equal(frame.head, RAW_PONG);
        assert_int_equal(frame.len, 125);
        memcpy(payload, frame.payload, 125);
        payload[125] = '\0';
        if (strtol(payload, NULL, 10) <= newest)
            raw_fail(c, "pong %s came after %ld", payload, newest);
        newest = strtol(payload, NULL, 10);
    }
}

static void fill_until_full(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static const char block[64 * KIB];
    int r = WS_SENT;
    int sent = -1;

    (void)op;
    (void)data;
    (void)len;
    for (; r >= 0 && sent < 10000; sent++) {
        r = ws_send(c, WS_OP_BINARY, block, sizeof block);
        if (r == WS_QUEUED)
            note_result(of(c), 0, WS_QUEUED);
    }
    note_result(of(c), 1, r);
    note_result(of(c), 2, sent);
    note_result(of(c), 3, ws_conn_queued(c) <= 1 * MIB);
    count(of(c), &of(c)->seen.messages);
}

static void sender_is_told_when_the_queue_is_full_and_when_it_drained(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){.max_queue = 1 * MIB});
    serve(f, "/fill", (struct ws_handlers){.on_message = fill_until_full, .on_drain = count_drain});
    run(f);
    c = slow_upgraded(f, "/fill");
    raw_send_message(c, "go");
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_int_equal(f->seen.result[0], WS_QUEUED);
    assert_int_equal(f->seen.result[1], WS_ERR_FULL);
    assert_true(f->seen.result[3]);
    assert_in_range(stats(f).buffered, 0, 1 * MIB + 64 * KIB);
    for (int i = 0; i < f->seen.result[2]; i++) {
        struct raw_frame frame;

        raw_read_frame(c, &frame);
        assert_int_equal(frame.len, 64 * KIB);
    }
    wait_until(f, &f->seen.drained, 1, "calls of on_drain");
    assert_int_equal(f->seen.drained, 1);
    assert_int_equal(stats(f).buffered, 0);
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
}

static void join_room(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_join(c, ws_str("room"));
    ws_join(c, ws_str("room")); /* joining twice is joining once */
    of(c)->conn = c;
    count(of(c), &of(c)->seen.opened);
}

struct publication {
    struct ws_str room;
    const uint8_t *data;
    size_t len;
    ptrdiff_t recipients;
};

static void publish(struct fixture *f, void *arg)
{
    struct publication *p = arg;

    p->recipients = ws_publish(f->server, p->room, NULL, WS_OP_BINARY, p->data, p->len);
}

/* ATTACKS 30, 33 */
static void slow_recipient_is_closed_with_1013_and_the_others_lose_nothing(void **state)
{
    enum { SIZE = 64 * KIB, ROUNDS = 300 };
    struct fixture *f = *state;
    uint8_t *payload = make_payload(SIZE + ROUNDS, false);
    struct publication p = {.room = ws_str("room"), .len = SIZE, .recipients = 3};
    struct raw_client *good[2], *slow;
    struct raw_frame frame;
    int after = 0;

    create(f, (struct ws_options){.max_queue = 512 * KIB});
    serve(f, "/room", (struct ws_handlers){.on_open = join_room});
    run(f);
    good[0] = upgraded(f, "/room");
    slow = slow_upgraded(f, "/room");
    good[1] = upgraded(f, "/room");
    wait_until(f, &f->seen.opened, 3, "calls of on_open");
    for (size_t i = 0; i < ROUNDS && after < 10; i++) {
        p.data = payload + i;
        on_loop(f, publish, &p);
        for (size_t j = 0; j < 2; j++)
            raw_expect_frame(good[j], RAW_BINARY, payload + i, SIZE);
        after += p.recipients == 2;
    }
    assert_int_equal(after, 10);
    assert_in_range(stats(f).buffered, 0, 512 * KIB + SIZE);
    do
        raw_read_frame(slow, &frame);
    while (frame.head == RAW_BINARY && frame.len == SIZE);
    if (frame.head != RAW_CLOSE || memcmp(frame.payload, "\x03\xf5", 2) != 0)
        raw_fail(slow, "expected Close 1013, came %02x", frame.head);
    raw_expect_eof(slow);
    raw_close(slow);
    expect_on_close(f, 1, WS_CLOSE_TRY_LATER);
    free(payload);
}

static void whoever_passes_max_memory_is_closed_with_1013(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(400 * KIB, false);
    struct raw_client *c[5];
    int refused = 0;

    start(f, (struct ws_options){.max_memory = 1 * MIB});
    for (size_t i = 0; i < COUNT(c); i++)
        c[i] = upgraded(f, "/echo");
    raw_bytes_header(&f->out, RAW_BINARY, 500 * KIB);
    raw_bytes_payload(&f->out, payload, 400 * KIB, 0);
    for (size_t i = 0; i < COUNT(c); i++) {
        raw_send_bytes(c[i], &f->out);
        assert_in_range(stats(f).buffered, 0, 1 * MIB);
    }
    for (size_t i = 0; i < COUNT(c); i++) {
        if (!raw_readable_within(c[i], 100))
            continue;
        raw_expect_closed(c[i], 1013);
        raw_close(c[i]);
        refused++;
    }
    assert_in_range(refused, 1, 4); /* neither nobody nor everybody */
    expect_well(f);
    assert_in_range(stats(f).buffered, 0, 1 * MIB);
    free(payload);
}

/* --- deadlines ----------------------------------------------------------------------------------------------- */

/* Send a byte every 5 ms until the server ends it. Returns the milliseconds that took. */
static int64_t drip(struct raw_client *c, const char *text)
{
    int64_t begun = raw_now_ms();

    for (const char *at = text; raw_now_ms() - begun < PATIENCE_MS;
         at = at[1] != '\0' ? at + 1 : at) {
        if (send(c->fd, at, 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
        if (raw_gone_within(c, 5))
            break;
    }
    return raw_now_ms() - begun;
}

/* not an idle gap but a total. */
static void dripping_request_ends_at_the_handshake_timeout(void **state)
{
    static const char *const drips[] = {
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.handshake_timeout_ms = 100, .close_timeout_ms = 50});
    for (size_t i = 0; i < COUNT(drips); i++)
        assert_in_range(drip(client(f, drips[i]), drips[i]), 90, 1000);
    c = client(f, "a body that drips");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\n");
    assert_in_range(drip(c, "body"), 90, 1000);
    c = client(f, "nothing at all");
    if (!raw_gone_within(c, 1000))
        raw_fail(c, "still open");
    wait_connections(f, 0);
}

/* What is open has no deadline, and neither has a message in the middle. */
static void handshake_timeout_ends_with_the_handshake(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.handshake_timeout_ms = 50});
    c = upgraded(f, "/echo");
    raw_send_frame(c, RAW_TEXT_PART, "slow", 4);
    sleep_ms(150);
    raw_send_frame(c, RAW_CONTINUATION, "poke", 4);
    raw_expect_message(c, "slowpoke");
}

static void close_conn(struct fixture *f, void *arg)
{
    ws_close(f->conn, *(unsigned *)arg, "bye");
}

static void unanswered_close_ends_at_the_close_timeout(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    unsigned code = 1000;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = 100});
    c = upgraded(f, "/echo");
    begun = raw_now_ms();
    on_loop(f, close_conn, &code);
    raw_expect_close(c, 1000);
    for (int i = 0; i < 10; i++) { /* chatter does not prolong it */
        raw_send_frame(c, RAW_PING, "", 0);
        sleep_ms(5);
    }
    wait_until(f, &f->seen.closed, 1, "calls of on_close");
    assert_in_range(raw_now_ms() - begun, 90, 1000);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* A peer that is failed and stays is dropped too. */
static void violator_that_stays_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.close_timeout_ms = 100});
    c = upgraded(f, "/echo");
    raw_send(c, "\x81\x00", 2);
    raw_expect_closed(c, 1002);
    wait_connections(f, 0);
    c = client(f, "a refused handshake");
    raw_send_text(c, "nonsense\r\n\r\n");
    wait_connections(f, 0);
}

static void silent_peer_is_pinged_and_dropped(void **state)
{
    struct fixture *f = *state;
    struct raw_client *silent, *answering, *talking;
    struct raw_frame frame;
    int64_t begun;
    int pings = 0;

    start(f, (struct ws_options){.ping_interval_ms = 60, .ping_timeout_ms = 60});
    silent = upgraded(f, "/echo");
    answering = upgraded(f, "/echo");
    talking = upgraded(f, "/echo");
    for (begun = raw_now_ms(); raw_now_ms() - begun < 400;) {
        raw_send_message(talking, "x");
        raw_expect_message(talking, "x"); /* and no ping: it is not silent */
        if (!raw_readable_within(answering, 10))
            continue;
        raw_read_frame(answering, &frame);
        if (frame.head != RAW_PING)
            raw_fail(answering, "expected a ping");
        raw_send_frame(answering, RAW_PONG, frame.payload, frame.len);
        pings++;
    }
    assert_in_range(pings, 2, 8);
    expect_on_close(f, 1, WS_CLOSE_ABNORMAL);
    raw_read_frame(silent, &frame);
    assert_int_equal(frame.head, RAW_PING);
    if (!raw_gone_within(silent, 100))
        raw_fail(silent, "still open");
    raw_send_message(answering, "here");
    raw_expect_message(answering, "here");
    assert_int_equal(f->seen.closed, 1);
}

static void ping_interval_uint_max_never_pings(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.ping_interval_ms = UINT32_MAX, .ping_timeout_ms = 10});
    c = upgraded(f, "/echo");
    if (raw_readable_within(c, 100))
        raw_fail(c, "something came");
}

/* --- HTTP ------------------------------------------------------------------------------------------------------ */

static void expect_body(struct raw_client *c, const char *body)
{
    struct raw_response r;

    raw_expect_status(c, &r, 200);
    if (r.body_len != strlen(body) || memcmp(r.body, body, r.body_len) != 0)
        raw_fail(c, "expected body %s, came %.*s", body, (int)r.body_len, (const char *)r.body);
}

static void requests_share_a_connection(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = client(f, "keep-alive");
    for (int i = 0; i < 3; i++) {
        raw_send_text(c, "GET /http/a?b=c HTTP/1.1\r\n" HOST "\r\n");
        expect_body(c, "GET /http/a?b=c []");
    }
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
    expect_body(c, "POST /http? [body]");
    raw_send_text(c, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 404);
    raw_bytes_upgrade(&f->out, "/echo", ""); /* and end in a WebSocket */
    c = client(f, "keep-alive, then upgrade");
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_send_bytes(c, &f->out);
    expect_body(c, "GET /http? []");
    raw_expect_upgraded(c, &r);
    raw_send_message(c, "hi");
    raw_expect_message(c, "hi");
}

static void head_gets_the_head_alone(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = client(f, "HEAD");
    raw_send_text(c, "HEAD /http HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_read_response(c, &r, true);
    assert_int_equal(r.status, 200);
    assert_true(raw_header_is(&r, "Content-Length", "14"));
    expect_body(c, "GET /http? []");
}

static void connection_ends_when_the_client_says_so(void **state)
{
    static const char *const requests[] = {
        "GET /http HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /http HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n",
        "GET /http HTTP/1.0\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_response r;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct raw_client *c = client(f, requests[i]);

        raw_send_text(c, requests[i]);
        raw_expect_status(c, &r, 200);
        if (!raw_header_is(&r, "Connection", "close"))
            raw_fail(c, "no Connection: close in %s", r.head);
        raw_expect_eof(c);
        raw_close(c);
    }
    wait_connections(f, 0);
}

static void chunked_body_is_decoded_however_it_comes(void **state)
{
    static const char request[] =
        "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "4\r\nWiki\r\n5;ext=1\r\npedia\r\n0\r\nTrailer: x\r\n\r\n"
        "GET /http HTTP/1.1\r\n" HOST "\r\n";
    static const size_t pieces[] = {1, 2, 5, sizeof request - 1};
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct raw_client *c = client(f, "chunked");

        raw_send_chunks(c, request, sizeof request - 1, pieces[i]);
        expect_body(c, "POST /http? [Wikipedia]");
        expect_body(c, "GET /http? []");
    }
}

static void expectation_gets_100_continue_or_a_refusal(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = client(f, "Expect");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST
                     "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    raw_expect_status(c, &r, 100);
    raw_send_text(c, "body");
    expect_body(c, "POST /http? [body]");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST
                     "Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
    raw_expect_status(c, &r, 413);
    raw_expect_eof(c);
}

/* A request that is answered after "?<milliseconds>". */
struct late {
    struct ws_conn *conn;
    struct ws_timer *timer;
    char query[16];
};

static void answer_late(void *arg)
{
    struct late *late = arg;

    ws_set_data(late->conn, NULL);
    ws_respond(late->conn, 200, NULL, 0, late->query, strlen(late->query));
    free(late);
}

static void take_late(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str query = ws_request_query(req);
    struct late *late = calloc(1, sizeof *late);

    count(of(c), &of(c)->seen.requests);
    if (late == NULL)
        return;
    snprintf(late->query, sizeof late->query, "%.*s", (int)query.len, query.data);
    late->conn = c;
    late->timer = ws_timer_start(ws_conn_server(c), (unsigned)atoi(late->query), answer_late, late);
    ws_set_data(c, late);
}

static void abort_late(struct ws_conn *c)
{
    struct late *late = ws_data(c);

    if (late != NULL)
        ws_timer_cancel(late->timer);
    free(late);
    count(of(c), &of(c)->seen.aborted);
}

static void pipelined_requests_are_answered_in_order_also_late_ones(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    run(f);
    c = client(f, "pipelined");
    raw_send_text(c, "GET /late?60 HTTP/1.1\r\n" HOST "\r\n"
                     "GET /http HTTP/1.1\r\n" HOST "\r\n"
                     "GET /late?1 HTTP/1.1\r\n" HOST "\r\n"
                     "GET /late?20 HTTP/1.1\r\n" HOST "\r\n"
                     "POST /http?x HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n!");
    expect_body(c, "60");
    expect_body(c, "GET /http? []");
    expect_body(c, "1");
    expect_body(c, "20");
    expect_body(c, "POST /http?x [!]");
    raw_send_text(c, "GET /late?30 HTTP/1.1\r\n" HOST "\r\n"); /* and the connection is as before */
    expect_body(c, "30");
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(f->seen.aborted, 0);
}

static void late_answer_has_no_handshake_deadline(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){.handshake_timeout_ms = 50});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    run(f);
    c = client(f, "late");
    raw_send_text(c, "GET /late?150 HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "150");
}

static void client_that_leaves_a_late_request_aborts_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t before;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    run(f);
    for (int i = 1; i <= 3; i++) {
        c = client(f, "leaves");
        raw_send_text(c, "GET /late?60000 HTTP/1.1\r\n" HOST "\r\n");
        wait_until(f, &f->seen.requests, i, "requests");
        if (i == 1)
            raw_reset(c);
        else if (i == 2)
            raw_close(c);
        else
            raw_half_close(c);
        wait_until(f, &f->seen.aborted, i, "calls of on_abort");
    }
    wait_connections(f, 0);

    /* A client that pipelines more than is read meanwhile must not make the loop spin. */
    c = client(f, "pipelines behind a late request");
    raw_send_text(c, "GET /late?150 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 4, "requests");
    before = loop_cpu_ms(f);
    expect_body(c, "150");
    assert_in_range(loop_cpu_ms(f) - before, 0, 60);
    expect_body(c, "GET /http? []");
}

static void half_closed_client_gets_its_late_answer(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t before;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late});
    run(f);
    c = client(f, "half-closed");
    raw_send_text(c, "GET /late?150 HTTP/1.1\r\n" HOST "\r\n");
    raw_half_close(c);
    wait_until(f, &f->seen.requests, 1, "requests");
    before = loop_cpu_ms(f);
    expect_body(c, "150");
    assert_in_range(loop_cpu_ms(f) - before, 0, 60);
    raw_expect_eof(c);
}

static void respond_with_injections(struct ws_conn *c, const struct ws_request *req)
{
    static const struct {
        const char *name, *value;
        size_t value_len;
    } bad[] = {
        {"X", "a\r\nEvil: 1", 10}, {"X", "a\nb", 3}, {"X", "a\rb", 3}, {"X", "a\0b", 3},
        {"X\r\nEvil", "a", 1},     {"X:", "a", 1},   {"", "a", 1},     {"X Y", "a", 1},
    };
    int refused = 0;

    (void)req;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct ws_header h = {ws_str(bad[i].name), {bad[i].value, bad[i].value_len}};

        refused += ws_respond(c, 200, &h, 1, "", 0) == WS_ERR_INVALID;
    }
    refused += ws_respond(c, 99, NULL, 0, "", 0) == WS_ERR_INVALID;
    refused += ws_respond(c, 1000, NULL, 0, "", 0) == WS_ERR_INVALID;
    note_result(of(c), 0, refused);
    ws_respond(c, 200, NULL, 0, "clean", 5);
    note_result(of(c), 1, ws_respond(c, 200, NULL, 0, "twice", 5));
    count(of(c), &of(c)->seen.requests);
}

static void response_headers_cannot_be_injected(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/inject", (struct ws_handlers){.on_request = respond_with_injections});
    run(f);
    c = client(f, "inject");
    raw_send_text(c, "GET /inject HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "clean");
    wait_until(f, &f->seen.requests, 1, "requests");
    assert_int_equal(f->seen.result[0], 10);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "GET /http? []");
}

static void respond_not_modified(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_respond(c, 304, NULL, 0, NULL, 0);
}

static void not_modified_has_no_body(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/304", (struct ws_handlers){.on_request = respond_not_modified});
    run(f);
    c = client(f, "304");
    raw_send_text(c, "GET /304 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 304);
    expect_body(c, "GET /http? []");
}

/* --- callbacks may do anything ----------------------------------------------------------------------------------- */

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

    create(f, (struct ws_options){0});
    serve(f, "/kill", (struct ws_handlers){.on_message = close_the_other});
    run(f);
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

    create(f, (struct ws_options){0});
    serve(f, "/self", (struct ws_handlers){.on_open = join_room, .on_message = close_itself});
    run(f);
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

    create(f, (struct ws_options){0});
    serve(f, "/brief", (struct ws_handlers){.on_open = close_at_once, .on_message = count_message});
    run(f);
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
    note_result(f, 2, ws_str_is(ws_conn_room(c, 0), "room"));
    note_result(f, 3, (int)ws_publish(f->server, ws_str("room"), c, WS_OP_TEXT, "left", 4));
    note_result(f, 4, ws_join(c, ws_str("afterlife")));
    count_close(c, code, reason, len);
}

static void on_close_may_speak_to_the_room(void **state)
{
    struct fixture *f = *state;
    struct raw_client *stays, *leaves;

    create(f, (struct ws_options){0});
    serve(f, "/room",
          (struct ws_handlers){.on_open = join_room, .on_close = on_close_tells_the_room});
    run(f);
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

/* "join X", "leave X", "say X", "all": what a room is to its members. */
static void room_orders(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct fixture *f = of(c);
    const char *order = data;
    struct ws_str room = {order + 1, len - 1};

    switch (order[0]) {
    case 'j':
        note_result(f, 0, ws_join(c, room));
        break;
    case 'l':
        ws_leave(c, room);
        break;
    case 's':
        note_result(f, 0, (int)ws_publish(f->server, room, NULL, op, data, len));
        break;
    case 'o': /* all but the sender */
        note_result(f, 0, (int)ws_publish(f->server, room, c, op, data, len));
        break;
    default:
        note_result(f, 0, (int)ws_broadcast(f->server, c, op, data, len));
        break;
    }
    count(f, &f->seen.messages);
}

static int order(struct fixture *f, struct raw_client *c, const char *text)
{
    int before = read_counter(f, &f->seen.messages);

    raw_send_message(c, text);
    wait_until(f, &f->seen.messages, before + 1, "messages");
    return f->seen.result[0];
}

static void rooms_reach_their_members_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    create(f, (struct ws_options){0});
    serve(f, "/rooms", (struct ws_handlers){.on_message = room_orders});
    run(f);
    a = upgraded(f, "/rooms");
    b = upgraded(f, "/rooms");
    c = upgraded(f, "/echo"); /* another endpoint, the same server */
    assert_int_equal(order(f, a, "sred"), 0);
    assert_int_equal(order(f, a, "jred"), 0);
    assert_int_equal(order(f, b, "jred"), 0);
    assert_int_equal(order(f, b, "jblue"), 0);
    assert_int_equal(order(f, a, "sred"), 2);
    assert_int_equal(order(f, a, "ored"), 1);
    assert_int_equal(order(f, a, "sblue"), 1);
    order(f, b, "lred");
    assert_int_equal(order(f, a, "sred"), 1);
    assert_int_equal(order(f, a, "*"), 2);
    raw_expect_message(a, "sred");
    raw_expect_message(a, "sred");
    raw_expect_message(b, "sred");
    raw_expect_message(b, "ored");
    raw_expect_message(b, "sblue");
    raw_expect_message(b, "*");
    raw_expect_message(c, "*");
    raw_reset(b);
    wait_connections(f, 2);
    assert_int_equal(order(f, a, "sblue"), 0);
    if (raw_readable_within(a, 20) || raw_readable_within(c, 20))
        fail_msg("somebody got a message too many");
}

/* Freezes what came, sends it twice to everybody who is open, and forgets it before it has left. */
static void send_frozen(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct ws_server *s = ws_conn_server(c);
    struct ws_frozen *m = ws_freeze(s, op, data, len);
    struct ws_conn *to;

    for (uint64_t id = 1; m != NULL && id <= ws_conn_id(of(c)->conn); id++) {
        if ((to = ws_conn_find(s, id)) == NULL)
            continue;
        ws_send_frozen(to, m);
        note_result(of(c), 0, ws_send_frozen(to, m));
    }
    ws_thaw(m);
    ws_close(c, WS_CLOSE_NORMAL, "");
    m = ws_freeze(s, op, data, len);
    note_result(of(c), 1, ws_send_frozen(c, m));
    ws_thaw(m);
    note_result(of(c), 2, ws_freeze(s, WS_OP_PING, data, len) == NULL);
    count(of(c), &of(c)->seen.messages);
}

static void frozen_message_reaches_each_it_is_sent_to(void **state)
{
    static const size_t sizes[] = {0, 5, 20000};
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    serve(f, "/frozen", (struct ws_handlers){.on_message = send_frozen});
    run(f);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct raw_client *a = upgraded(f, "/frozen");
        struct raw_client *b = upgraded(f, "/frozen");
        uint8_t *data = calloc(1, sizes[i] + 1);

        assert_non_null(data);
        raw_send_frame(a, RAW_BINARY, data, sizes[i]);
        for (int k = 0; k < 2; k++) {
            raw_expect_frame(a, RAW_BINARY, data, sizes[i]);
            raw_expect_frame(b, RAW_BINARY, data, sizes[i]);
        }
        raw_expect_close(a, 1000);
        free(data);
    }
    wait_until(f, &f->seen.messages, COUNT(sizes), "messages");
    assert_int_equal(f->seen.result[0], WS_SENT);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[2], true);
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

    create(f, (struct ws_options){0});
    serve(f, "/stop", (struct ws_handlers){.on_message = stop_from_message});
    run(f);
    c = upgraded(f, "/stop");
    raw_send_message(c, "last words");
    raw_expect_message(c, "last words");
    raw_expect_close(c, 1001);
    raw_send_close(c, 1001);
    raw_expect_eof(c);
    raw_close(c);
    join(f);
    assert_int_equal(f->run_result, 0);
}

/* --- the loop: posts, timers, foreign descriptors ------------------------------------------------------------------ */

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
    int64_t begun = raw_now_ms();

    start(f, (struct ws_options){0});
    on_loop(f, start_alarms, alarms);
    wait_until(f, &f->seen.ran, 5, "timers");
    assert_string_equal(f->seen.text, "abcde");
    assert_in_range(raw_now_ms() - begun, 95, 600);
}

struct pipe_watch {
    struct fixture *fixture;
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

/* One turn after another as a foreign poll loop does it, until `c` has something to read. */
static void poll_until_readable(struct fixture *f, struct raw_client *c)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (!raw_readable_within(c, 0)) {
        struct pollfd p[] = {{.fd = ws_server_fd(f->server), .events = POLLIN},
                             {.fd = c->fd, .events = POLLIN}};

        if (raw_now_ms() > deadline || poll(p, 2, PATIENCE_MS) <= 0)
            raw_fail(c, "the server's descriptor is not ready");
        if (p[0].revents != 0)
            assert_int_equal(ws_server_step(f->server, 0), 1);
    }
}

static void server_runs_inside_a_foreign_loop(void **state)
{
    struct fixture *f = *state;
    struct alarm_clock a = {.name = "ring", .delay_ms = 50, .fixture = f};
    struct pollfd p;
    struct raw_client *c;
    struct raw_response r;

    create(f, (struct ws_options){.close_timeout_ms = 50});
    c = client(f, "foreign loop");
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_send_bytes(c, &f->out);
    poll_until_readable(f, c);
    raw_expect_upgraded(c, &r);
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
    assert_in_range(raw_now_ms() - a.begun, 49, 500);

    ws_server_stop(f->server);
    while (ws_server_step(f->server, 1000) == 1)
        continue;
    assert_int_equal(ws_server_step(f->server, 0), 0);
    raw_expect_close(c, 1001);
}

static void idle_foreign_loop_does_not_spin(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;
    struct pollfd p;
    int turns = 0;
    int64_t begun;

    create(f, (struct ws_options){0});
    c = client(f, "idle");
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_send_bytes(c, &f->out);
    poll_until_readable(f, c);
    raw_expect_upgraded(c, &r);
    p = (struct pollfd){.fd = ws_server_fd(f->server), .events = POLLIN};
    for (begun = raw_now_ms(); raw_now_ms() - begun < 150; turns++) {
        poll(&p, 1, 150);
        ws_server_step(f->server, 0);
    }
    assert_in_range(turns, 0, 20);
}

static void step_waits_no_longer_than_it_was_told(void **state)
{
    struct fixture *f = *state;
    int64_t begun = raw_now_ms();

    create(f, (struct ws_options){0});
    assert_int_equal(ws_server_step(f->server, 0), 1);
    assert_int_equal(ws_server_step(f->server, 30), 1);
    assert_in_range(raw_now_ms() - begun, 29, 500);
}

/* --- stopping -------------------------------------------------------------------------------------------------------- */

static void stop_says_1001_to_everybody_and_returns(void **state)
{
    struct fixture *f = *state;
    struct raw_client *open[3], *half, *late;
    struct raw_client probe;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    run(f);
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
    if (!raw_gone_within(half, PATIENCE_MS))
        raw_fail(half, "still open");
    if (!raw_gone_within(late, PATIENCE_MS))
        raw_fail(late, "still open");
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

    start(f, (struct ws_options){.close_timeout_ms = 5000});
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

static void stop_waits_no_longer_than_the_close_timeout(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = 100});
    c = upgraded(f, "/echo");
    begun = raw_now_ms();
    stop_and_join(f);
    assert_in_range(raw_now_ms() - begun, 90, 1000);
    raw_expect_close(c, 1001);
}

static void second_stop_ends_the_waiting(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t begun;

    start(f, (struct ws_options){.close_timeout_ms = 60000});
    c = upgraded(f, "/echo");
    begun = raw_now_ms();
    ws_server_stop(f->server);
    raw_expect_close(c, 1001);
    stop_and_join(f);
    assert_in_range(raw_now_ms() - begun, 0, 2000);
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
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/echo");
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
    struct raw_response r;

    create(f, (struct ws_options){0});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    c = client(f, "open");
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_send_bytes(c, &f->out);
    poll_until_readable(f, c);
    raw_expect_upgraded(c, &r);
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
    if (!raw_gone_within(c, 100) || !raw_gone_within(late, 100))
        fail_msg("a connection outlived its server");
}

/* --- listening, descriptors ---------------------------------------------------------------------------------------------- */

static void check_echo_at(struct fixture *f, const struct sockaddr *address, socklen_t len)
{
    struct raw_client *c = unconnected(f);

    raw_connect_to(c, address, len, 0);
    raw_upgrade(c, "/echo");
    raw_send_message(c, "hello");
    raw_expect_message(c, "hello");
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
    options = (struct ws_options){.port = f->port, .log = keep_log, .log_arg = f};
    errno = 0;
    assert_null(ws_server_new(&options));
    assert_int_equal(errno, EADDRINUSE);
    snprintf(port, sizeof port, "%u", f->port);
    assert_non_null(strstr(f->seen.log, port));
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
    if (!raw_gone_within(extra, 100)) { /* told to go, or left waiting */
        assert_int_equal(stats(f).connections, 3);
        raw_bytes_upgrade(&f->out, "/echo", "");
        raw_send_bytes(extra, &f->out);
        assert_false(raw_readable_within(extra, 50));
        raw_reset(c[0]);
        raw_expect_upgraded(extra, &r);
    } else {
        assert_int_equal(stats(f).connections, 3);
        raw_reset(c[0]);
        wait_connections(f, 2);
        extra = upgraded(f, "/echo");
    }
    raw_send_message(extra, "at last");
    raw_expect_message(extra, "at last");
    raw_send_message(c[1], "undisturbed");
    raw_expect_message(c[1], "undisturbed");
}

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* One of a thousand: nothing sent, half a head, a handshake, a handshake and half a message. */
static int open_one(uint16_t port, const struct raw_bytes *wire, size_t head, size_t i)
{
    const size_t lengths[] = {0, head / 2, head, wire->len};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = lengths[i % 4];

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        send(fd, wire->data, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail_msg("connection %zu: %s", i, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    return fd;
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
    few.rlim_cur = (rlim_t)(count_descriptors() + 8);
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

/* with accept() failing by EMFILE the server must not spin, and must recover. */
static void descriptors_may_run_out(void **state)
{
    enum { CROWD = 40 };
    struct fixture *f = *state;
    int port[2], life[2], status;
    struct raw_bytes nothing = {0};
    int fds[CROWD];
    int64_t cpu;
    pid_t child;

    assert_int_equal(pipe2(port, O_CLOEXEC), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(life[1]);
        serve_with_few_descriptors(f, port[1], life[0]);
    }
    close(life[0]);
    close(port[1]);
    assert_int_equal(read(port[0], &f->port, sizeof f->port), sizeof f->port);
    close(port[0]);
    for (size_t i = 0; i < CROWD; i++)
        fds[i] = open_one(f->port, &nothing, 0, i);
    sleep_ms(50);
    cpu = process_cpu_ms(child);
    sleep_ms(300);
    cpu = process_cpu_ms(child) - cpu;
    for (size_t i = 0; i < CROWD; i++)
        close(fds[i]);
    sleep_ms(50);
    expect_well(f);
    close(life[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_in_range(cpu, 0, 100);
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
    assert_in_range(loop_cpu_ms(f) - before, 0, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_handshake_gets_its_status_and_is_closed),
        TEST(plain_get_of_a_websocket_path_gets_426),
        TEST(heads_over_the_limits_are_refused),
        TEST(request_body_up_to_the_limit_is_taken),
        TEST(origin_must_be_ours_or_listed),
        TEST(star_allows_any_origin),
        TEST(endpoint_may_have_origins_of_its_own),
        TEST(legal_handshakes_of_any_form_are_accepted),
        TEST(subprotocol_is_our_first_that_was_offered),
        TEST(subprotocol_with_many_spaces_is_cheap),
        TEST(frames_in_the_segment_of_the_handshake_are_served),
        TEST(application_accepts_and_refuses_upgrades),
        TEST(open_sees_the_request_of_its_endpoint),
        TEST(messages_of_all_sizes_come_back),
        TEST(every_masking_key_is_applied),
        TEST(protocol_violation_fails_the_connection),
        TEST(bad_utf8_fails_at_the_first_impossible_byte),
        TEST(characters_may_be_split_between_fragments),
        TEST(message_over_the_limit_fails_by_its_header_alone),
        TEST(announced_bytes_take_no_memory),
        TEST(fragments_may_have_control_frames_between_them),
        TEST(message_of_65536_fragments_comes_back),
        TEST(empty_fragments_without_end_are_cut_off),
        TEST(delivery_in_pieces_changes_nothing),
        TEST(long_head_byte_by_byte_is_cheap),
        TEST(pipelined_messages_come_back_in_order),
        TEST(ping_is_answered_with_its_own_payload),
        TEST(close_code_is_echoed_when_it_is_valid),
        TEST(close_of_code_zero_is_a_violation),
        TEST(empty_close_is_answered_by_an_empty_close),
        TEST(close_reason_reaches_the_application),
        TEST(data_after_close_is_ignored),
        TEST(data_after_a_violation_is_ignored),
        TEST(server_closes_with_the_code_of_the_application),
        TEST(illegal_arguments_are_refused),
        TEST(half_closed_client_gets_its_echoes),
        TEST(frame_cut_by_fin_ends_the_connection),
        TEST(reset_at_any_step_disturbs_nobody),
        TEST(reset_under_a_full_queue_frees_it),
        TEST(slow_reader_is_slowed_and_loses_nothing),
        TEST(ping_flood_keeps_memory_flat_and_the_newest_pong),
        TEST(sender_is_told_when_the_queue_is_full_and_when_it_drained),
        TEST(slow_recipient_is_closed_with_1013_and_the_others_lose_nothing),
        TEST(whoever_passes_max_memory_is_closed_with_1013),
        TEST(dripping_request_ends_at_the_handshake_timeout),
        TEST(handshake_timeout_ends_with_the_handshake),
        TEST(unanswered_close_ends_at_the_close_timeout),
        TEST(violator_that_stays_is_dropped),
        TEST(silent_peer_is_pinged_and_dropped),
        TEST(ping_interval_uint_max_never_pings),
        TEST(requests_share_a_connection),
        TEST(head_gets_the_head_alone),
        TEST(connection_ends_when_the_client_says_so),
        TEST(chunked_body_is_decoded_however_it_comes),
        TEST(expectation_gets_100_continue_or_a_refusal),
        TEST(pipelined_requests_are_answered_in_order_also_late_ones),
        TEST(late_answer_has_no_handshake_deadline),
        TEST(client_that_leaves_a_late_request_aborts_it),
        TEST(half_closed_client_gets_its_late_answer),
        TEST(response_headers_cannot_be_injected),
        TEST(not_modified_has_no_body),
        TEST(connection_closed_by_another_of_the_same_batch_hears_no_more),
        TEST(connection_that_closes_itself_hears_no_more),
        TEST(connection_may_be_closed_in_on_open),
        TEST(on_close_may_speak_to_the_room),
        TEST(rooms_reach_their_members_and_nobody_else),
        TEST(frozen_message_reaches_each_it_is_sent_to),
        TEST(server_may_be_stopped_from_a_callback),
        TEST(posts_of_many_threads_run_in_their_order),
        TEST(posts_do_not_starve_sockets),
        TEST(timers_ring_in_order_and_never_when_cancelled),
        TEST(foreign_descriptor_is_watched),
        TEST(server_runs_inside_a_foreign_loop),
        TEST(idle_foreign_loop_does_not_spin),
        TEST(step_waits_no_longer_than_it_was_told),
        TEST(stop_says_1001_to_everybody_and_returns),
        TEST(stop_under_load_loses_no_reply_and_returns),
        TEST(stop_waits_no_longer_than_the_close_timeout),
        TEST(second_stop_ends_the_waiting),
        TEST(server_may_be_stopped_from_a_signal_handler),
        TEST(free_closes_what_is_open),
        TEST(server_listens_on_ipv4_ipv6_and_unix_at_once),
        TEST(address_that_cannot_be_bound_is_named),
        TEST(clients_over_max_clients_are_not_served_until_one_leaves),
        TEST(ten_thousand_resets_leak_nothing),
        TEST(descriptors_may_run_out),
        TEST(idle_server_uses_no_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
