/* SPDX-License-Identifier: MIT
 *
 * Every call of the system that a bus over Redis makes fails once, in each way, and every
 * allocation: the bus is not made, or a call of it fails, or it comes up again by itself and
 * carries messages. The Redis is part of the test, and knows the few commands that are needed. */
#include "tests/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/calls.h"
#include "../bus_redis.h"
#include "../resp.h"

enum { CLIENTS = 32, TURNS = 3000, IN_SIZE = 4096 };

struct client {
    int fd; /* -1: none */
    bool subscribes;
    struct resp_reader reader;
    char in[IN_SIZE];
    size_t len;
};

/* One session: it is not a global of the product. */
static struct {
    int listener;
    uint16_t port;
    struct client clients[CLIENTS];
    struct ws_server *server;
    struct bus *bus;
    unsigned messages; /* that came back */
    unsigned answers;
} now;

static char now_failing[128];
static bool was_failed; /* in this session */
static struct {         /* what is to fail in it */
    enum call call;
    unsigned long n;
    int error; /* 0: nothing */
} plan;

/* Fail it from here on, unless that call has been made before. */
static void arm(void)
{
    unsigned long made = calls_made(plan.call);

    if (plan.error != 0 && plan.n >= made)
        calls_fail(plan.call, plan.n - made, plan.error);
}

static void disarm(void)
{
    was_failed |= calls_failed();
    calls_work();
}

/* --- the Redis -------------------------------------------------------------------------------- */

static void redis_begin(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;

    memset(&now, 0, sizeof now);
    for (size_t i = 0; i < CLIENTS; i++)
        now.clients[i].fd = -1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    now.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(now.listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(now.listener, CLIENTS), 0);
    assert_int_equal(getsockname(now.listener, (struct sockaddr *)&a, &len), 0);
    now.port = ntohs(a.sin_port);
}

static void redis_close(struct client *c)
{
    close(c->fd);
    *c = (struct client){.fd = -1};
}

static void redis_accept(void)
{
    int on = 1;

    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *c = &now.clients[i];

        if (c->fd < 0) {
            c->fd = accept4(now.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            c->reader.max_bytes = IN_SIZE;
            if (c->fd < 0)
                return;
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
    }
}

static void say(const struct client *c, const char *text)
{
    if (send(c->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* it is gone */
}

static void pass_on(struct ws_str channel, struct ws_str data)
{
    char text[512];

    snprintf(text, sizeof text, ">3\r\n+message\r\n+%.*s\r\n+%.*s\r\n", (int)channel.len,
             channel.data, (int)data.len, data.data);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (now.clients[i].subscribes)
            say(&now.clients[i], text);
    }
}

static void obey(struct client *c)
{
    const struct resp_value *v = c->reader.values;

    assert_int_equal(v[0].type, RESP_ARRAY);
    if (ws_str_is(v[1].text, "HELLO")) {
        say(c, "%1\r\n+role\r\n+master\r\n");
    } else if (ws_str_is(v[1].text, "SUBSCRIBE")) {
        c->subscribes = true;
        say(c, ">3\r\n+subscribe\r\n+a\r\n:1\r\n");
    } else if (ws_str_is(v[1].text, "PUBLISH")) {
        say(c, ":1\r\n");
        pass_on(v[2].text, v[3].text);
    } else if (ws_str_is(v[1].text, "PUBSUB")) {
        say(c, "*2\r\n+a\r\n:1\r\n");
    } else {
        assert_true(ws_str_is(v[1].text, "PING"));
        say(c, "+PONG\r\n");
    }
}

static void redis_read(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->len, IN_SIZE - c->len, MSG_DONTWAIT);
    ptrdiff_t used;

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        redis_close(c);
        return;
    }
    c->len += n > 0 ? (size_t)n : 0;
    while (c->len > 0 && (used = resp_read(&c->reader, c->in, c->len)) != 0) {
        assert_true(used > 0); /* whatever failed, no command is broken */
        obey(c);
        memmove(c->in, c->in + used, c->len - (size_t)used);
        c->len -= (size_t)used;
    }
}

static void redis_turn(void)
{
    redis_accept();
    for (size_t i = 0; i < CLIENTS; i++) {
        if (now.clients[i].fd >= 0)
            redis_read(&now.clients[i]);
    }
}

/* --- a session -------------------------------------------------------------------------------- */

static void message_came(void *arg, struct ws_str channel, struct ws_str data)
{
    (void)arg;
    assert_true(ws_str_is(channel, "a"));
    assert_true(data.len > 0);
    now.messages += ws_str_is(data, "last"); /* an earlier one may have been slow */
}

static void answer_came(void *arg, ptrdiff_t count)
{
    (void)arg;
    assert_true(count == 1 || count == WS_ERR_CLOSED);
    now.answers++;
}

/* Turns until a condition, which waits at most `ms` each. */
static void turns(unsigned most, int ms, const unsigned *until)
{
    for (unsigned i = 0; i < most && *until == 0; i++) {
        calls_watch(true);
        assert_true(ws_server_step(now.server, ms) >= 0);
        calls_watch(false);
        redis_turn();
    }
}

/* Publish and ask while a call may fail: what was taken may be lost, but an answer comes. */
static void use_bus(void)
{
    unsigned asked = 0;
    const unsigned never = 0;

    calls_watch(true);
    bus_publish(now.bus, BUS_CHANNEL, ws_str("a"), ws_str("first"));
    asked += bus_count(now.bus, BUS_CHANNEL, ws_str("a"), answer_came, NULL) == 0;
    calls_watch(false);
    turns(20, 0, &never);
    calls_watch(true);
    bus_publish(now.bus, BUS_CHANNEL, ws_str("a"), ws_str("second"));
    asked += bus_count(now.bus, BUS_CHANNEL, ws_str("a"), answer_came, NULL) == 0;
    calls_watch(false);
    turns(20, 0, &never);
    disarm();
    if (asked != 0)
        for (unsigned i = 0; i < TURNS && now.answers < asked; i++)
            turns(1, 1, &never);
    if (now.answers != asked)
        print_error("ERROR: %u answers to %u questions: %s\n", now.answers, asked, now_failing);
    assert_int_equal(now.answers, asked);
}

/* Once nothing fails any more it carries messages again. */
static void expect_to_work(void)
{
    const unsigned never = 0;

    for (unsigned i = 0; i < TURNS && !bus_is_up(now.bus); i++)
        turns(1, 1, &never);
    assert_true(bus_is_up(now.bus));
    turns(20, 0, &never);
    now.messages = 0;
    assert_int_equal(bus_publish(now.bus, BUS_CHANNEL, ws_str("a"), ws_str("last")), 0);
    turns(TURNS, 1, &now.messages);
    assert_int_equal(now.messages, 1);
}

static void play(void)
{
    char url[64];
    const char *urls[] = {url, NULL};
    struct bus_redis_options options = {.urls = urls, .retry_ms = 2, .timeout_ms = 100};
    struct bus_subscription *s = NULL;
    const unsigned never = 0;

    snprintf(url, sizeof url, "redis://127.0.0.1:%u", now.port);
    calls_watch(true);
    now.bus = bus_redis_new(now.server, &options);
    if (now.bus != NULL)
        s = bus_subscribe(now.bus, BUS_CHANNEL, ws_str("a"), message_came, NULL);
    calls_watch(false);
    if (now.bus == NULL) {
        disarm();
        return;
    }
    for (unsigned i = 0; i < 50 && !bus_is_up(now.bus); i++)
        turns(1, 1, &never);
    use_bus();
    if (s != NULL)
        expect_to_work();
    arm();
    calls_watch(true);
    bus_free(now.bus);
    calls_watch(false);
    disarm();
}

static void session(void)
{
    was_failed = false;
    redis_begin();
    now.server = ws_server_new(NULL);
    assert_non_null(now.server);
    play();
    assert_int_equal(ws_server_stats(now.server).buffered, 0);
    ws_server_free(now.server);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (now.clients[i].fd >= 0)
            redis_close(&now.clients[i]);
    }
    close(now.listener);
}

/* --- the faults ------------------------------------------------------------------------------- */

/* Of the loop itself these end the server, which is its promise. */
static bool is_of_the_loop(enum call call, int error)
{
    return call == CALL_EPOLL_WAIT && error == EPERM;
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Returns how often it has failed. */
static unsigned fail_each(enum call call, unsigned long made)
{
    const int *errors = call_errors(call);
    unsigned failed = 0;

    for (size_t e = 0; e < call_error_count(call); e++) {
        for (unsigned long n = 0; n < made && n < 60; n++) {
            long blocks = calls_blocks();
            int descriptors = count_descriptors();

            if (is_of_the_loop(call, errors[e]))
                continue;
            calls_reset();
            plan.call = call;
            plan.n = n;
            plan.error = errors[e];
            arm();
            snprintf(now_failing, sizeof now_failing, "%s %lu: %s", call_name(call), n,
                     errors[e] == CALL_SHORT ? "short" : strerror(errors[e]));
            session();
            failed += was_failed;
            assert_int_equal(calls_blocks(), blocks);
            assert_int_equal(count_descriptors(), descriptors);
        }
    }
    return failed;
}

static void any_call_may_fail_once(void **state)
{
    static const enum call wanted[] = {CALL_MEMORY, CALL_SOCKET,   CALL_CONNECT,   CALL_SEND,
                                       CALL_RECV,   CALL_SENDMSG,  CALL_EPOLL_CTL, CALL_SETSOCKOPT,
                                       CALL_CLOSE,  CALL_GETRANDOM};
    unsigned long made[CALL_COUNT];
    unsigned failed[CALL_COUNT];

    (void)state;
    calls_reset();
    session();
    for (int call = 0; call < CALL_COUNT; call++)
        made[call] = calls_made((enum call)call);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_true(made[wanted[i]] > 0);
    for (int call = 0; call < CALL_COUNT; call++)
        failed[call] = fail_each((enum call)call, made[call]);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_true(failed[wanted[i]] >= call_error_count(wanted[i]));
}

#include "cluster/tests/test_bus_faults.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
