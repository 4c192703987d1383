/* SPDX-License-Identifier: MIT
 *
 * The server that tests run against; see server_fixture.h. */
#include "server_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct fixture *of(const struct ws_conn *c)
{
    return ws_user(c);
}

void lock(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
}

void unlock(struct fixture *f)
{
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void count(struct fixture *f, int *counter)
{
    lock(f);
    ++*counter;
    unlock(f);
}

void note_result(struct fixture *f, size_t at, int result)
{
    lock(f);
    f->seen.result[at] = result;
    unlock(f);
}

/* Append to seen.text. */
void note_text(struct fixture *f, const char *text, size_t len)
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
void wait_until(struct fixture *f, const int *counter, int least, const char *what)
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

int read_counter(struct fixture *f, const int *counter)
{
    int value;

    pthread_mutex_lock(&f->lock);
    value = *counter;
    pthread_mutex_unlock(&f->lock);
    return value;
}

/* Wait for `n` closed connections and check the last one's code. */
void expect_on_close(struct fixture *f, int n, unsigned code)
{
    wait_until(f, &f->seen.closed, n, "calls of on_close");
    lock(f);
    if (f->seen.close_code != code)
        print_error("ERROR: on_close was told %u, not %u\n", f->seen.close_code, code);
    unlock(f);
    assert_int_equal(f->seen.close_code, code);
}

/* --- callbacks -------------------------------------------------------------------------------- */

void count_open(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    of(c)->conn = c;
    count(of(c), &of(c)->seen.opened);
}

void count_close(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    struct fixture *f = of(c);

    lock(f);
    f->seen.closed++;
    f->seen.close_code = code;
    snprintf(f->seen.reason, sizeof f->seen.reason, "%.*s", (int)reason_len,
             reason != NULL ? reason : "");
    unlock(f);
}

void count_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    (void)op;
    (void)data;
    (void)len;
    count(of(c), &of(c)->seen.messages);
}

void echo(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    ws_send(c, op, data, len);
    count(of(c), &of(c)->seen.messages);
}

void count_drain(struct ws_conn *c)
{
    count(of(c), &of(c)->seen.drained);
}

/* Answer with everything that was asked: "METHOD /path?query [body]". */
void mirror(struct ws_conn *c, const struct ws_request *req)
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

void keep_log(void *arg, enum ws_log_level level, const char *line)
{
    struct fixture *f = arg;

    lock(f);
    f->seen.errors += level == WS_LOG_ERROR;
    snprintf(f->seen.log, sizeof f->seen.log, "%s", line);
    unlock(f);
}

void join_room(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_join(c, ws_str("room"));
    ws_join(c, ws_str("room")); /* joining twice is joining once */
    of(c)->conn = c;
    count(of(c), &of(c)->seen.opened);
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

void take_late(struct ws_conn *c, const struct ws_request *req)
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

void abort_late(struct ws_conn *c)
{
    struct late *late = ws_data(c);

    if (late != NULL)
        ws_timer_cancel(late->timer);
    free(late);
    count(of(c), &of(c)->seen.aborted);
}

/* --- the server under test -------------------------------------------------------------------- */

const char *const chat_versions[] = {"chat.v2", "chat.v1", NULL};

/* An endpoint whose callbacks are counted; the test adds what it is about. */
void serve(struct fixture *f, const char *prefix, struct ws_handlers h)
{
    h.user = f;
    if (h.on_open == NULL)
        h.on_open = count_open;
    if (h.on_close == NULL)
        h.on_close = count_close;
    assert_int_equal(ws_server_handle(f->server, prefix, &h), 0);
}

void create(struct fixture *f, struct ws_options options)
{
    if (options.close_timeout_ms == 0)
        options.close_timeout_ms = 10000;
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

void run(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
    f->running = true;
}

void start(struct fixture *f, struct ws_options options)
{
    create(f, options);
    run(f);
}

void start_serving(struct fixture *f, struct ws_options options, const char *prefix,
                   struct ws_handlers h)
{
    create(f, options);
    serve(f, prefix, h);
    run(f);
}

struct raw_client *start_echo(struct fixture *f)
{
    start(f, (struct ws_options){0});
    return upgraded(f, "/echo");
}

struct raw_client *start_with_client(struct fixture *f, const char *label)
{
    start(f, (struct ws_options){0});
    return client(f, label);
}

/* Wait for ws_server_run() to return. */
void join(struct fixture *f)
{
    struct timespec deadline = deadline_in(PATIENCE_MS);

    if (pthread_timedjoin_np(f->thread, NULL, &deadline) != 0) {
        print_error("ERROR: ws_server_run() does not return after ws_server_stop()\n");
        abort(); /* the thread uses the fixture: there is no way to go on */
    }
    f->running = false;
}

int setup(void **state)
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

int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    if (f->running)
        stop_now(f);
    ws_server_free(f->server);
    give_back_memory(f);
    raw_bytes_release(&f->out);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* --- from the test's thread to the loop ------------------------------------------------------- */

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
void on_loop(struct fixture *f, void (*fn)(struct fixture *f, void *arg), void *arg)
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

struct ws_stats stats(struct fixture *f)
{
    struct ws_stats s;

    on_loop(f, read_stats, &s);
    return s;
}

enum { TAKEN = 1000 /* small enough for what is kept for small things */ };

void use_up_memory(struct fixture *f, size_t max_memory, size_t left)
{
    f->account = ws_account_new(f->server, NULL);
    while (ws_server_stats(f->server).buffered + left + TAKEN + 16 <= max_memory &&
           f->taken_count < COUNT(f->taken))
        f->taken[f->taken_count++] = ws_account_take(f->account, TAKEN);
}

void give_back_memory(struct fixture *f)
{
    while (f->taken_count > 0)
        ws_account_give(f->account, f->taken[--f->taken_count], TAKEN);
    ws_account_release(f->account);
    f->account = NULL;
}

void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Wait until the server holds exactly `n` connections. */
void wait_connections(struct fixture *f, size_t n)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;

    while (stats(f).connections != n && raw_now_ms() < deadline)
        sleep_ms(2);
    assert_int_equal(stats(f).connections, n);
}

static void run_hold(void *arg)
{
    struct hold *h = arg;

    sem_post(&h->held);
    while (sem_wait(&h->go) != 0)
        continue;
}

void hold_loop(struct fixture *f, struct hold *h)
{
    sem_init(&h->held, 0, 0);
    sem_init(&h->go, 0, 0);
    assert_int_equal(ws_post(f->server, run_hold, h), 0);
    while (sem_wait(&h->held) != 0)
        continue;
}

int64_t loop_cpu_ms(struct fixture *f)
{
    struct timespec t = {0};
    clockid_t clock;

    assert_int_equal(pthread_getcpuclockid(f->thread, &clock), 0);
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void stop_and_join(struct fixture *f)
{
    ws_server_stop(f->server);
    join(f);
    assert_int_equal(f->run_result, 0);
}

void stop_now(struct fixture *f)
{
    ws_server_stop(f->server);
    ws_server_stop(f->server); /* do not wait for anybody */
    join(f);
}

/* One turn after another as a foreign poll loop does it, until `c` has something to read. */
void poll_until_readable(struct fixture *f, struct raw_client *c)
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

/* --- server and clients in one thread --------------------------------------------------------- */

/* Turn after turn until nothing is ready, or a stop has ended. */
void let_serve(struct fixture *f)
{
    struct pollfd p = {.fd = ws_server_fd(f->server), .events = POLLIN};
    int result = 1;

    for (int i = 0; i < 1000 && result == 1 && poll(&p, 1, 0) > 0; i++)
        result = ws_server_step(f->server, 0);
    assert_true(result >= 0);
}

/* Everything that has come for `fd`, thrown away. */
void discard(int fd)
{
    static uint8_t sink[64 * KIB];
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (poll(&p, 1, 0) > 0 && read(fd, sink, sizeof sink) > 0)
        continue;
}

int dial(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* --- clients ---------------------------------------------------------------------------------- */

/* A place for one more client, closed by teardown. */
struct raw_client *unconnected(struct fixture *f)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (f->clients[i].fd < 0)
            return &f->clients[i];
    fail_msg("more than %d clients", CLIENTS);
    return NULL;
}

struct raw_client *client(struct fixture *f, const char *label)
{
    struct raw_client *c = unconnected(f);

    raw_connect(c, f->port);
    c->label = label;
    return c;
}

struct raw_client *upgraded(struct fixture *f, const char *path)
{
    struct raw_client *c = client(f, path);

    raw_upgrade(c, path);
    return c;
}

struct raw_client *slow_client(struct fixture *f, const char *label)
{
    struct raw_client *c = unconnected(f);

    raw_connect_slow(c, f->port);
    c->label = label;
    return c;
}

struct raw_client *slow_upgraded(struct fixture *f, const char *path)
{
    struct raw_client *c = slow_client(f, path);

    raw_upgrade(c, path);
    return c;
}

/* The server is well: a new client gets its echo. */
void expect_well(struct fixture *f)
{
    struct raw_client *c = upgraded(f, "/echo");

    raw_expect_echo(c, "still there?");
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    raw_close(c);
}

/* Text that is not the same anywhere: position shows. The caller frees it. */
uint8_t *make_payload(size_t len, bool text)
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

void expect_body(struct raw_client *c, const char *body)
{
    struct raw_response r;

    raw_expect_status(c, &r, 200);
    if (r.body_len != strlen(body) || memcmp(r.body, body, r.body_len) != 0)
        raw_fail(c, "expected body %s, came %.*s", body, (int)r.body_len, (const char *)r.body);
}

void expect_last_response(struct raw_client *c, int status)
{
    struct raw_response r;

    raw_expect_status(c, &r, status);
    raw_expect_eof(c);
}

void expect_end(struct raw_client *c)
{
    if (!raw_gone_within(c, PATIENCE_MS))
        raw_fail(c, "the connection stays open");
}

/* One of a thousand: nothing sent, half a head, a handshake, a handshake and half a message. */
int open_one(uint16_t port, const struct raw_bytes *wire, size_t head, size_t i)
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
