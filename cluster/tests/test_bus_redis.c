/* SPDX-License-Identifier: MIT
 *
 * Tests of bus_redis.c and what is below it, with a Redis that does what a script says: it lives in
 * the thread of the test, which runs the server's turns while it waits for something. What a real
 * Redis does is in tests/e2e/test_redis.js. */
#include "tests/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/oom.h"
#include "../bus_redis.h"
#include "../redis_conn.h"
#include "../redis_lookup.h"

enum { PATIENCE_MS = 10000, SEEN = 4096 };

/* A place where a Redis listens. */
struct fake {
    int listener;
    uint16_t port;
    char url[64];
};

struct fixture {
    struct ws_server *server;
    struct bus *bus;
    struct fake redis;
    struct fake other;
    int commands; /* the connections of the bus */
    int subscriber;
    char seen[SEEN]; /* what subscribers and others were told */
    char log[SEEN];
    const char *urls[4];
};

/* --- the test's own loop ---------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void step(struct fixture *f)
{
    assert_int_equal(ws_server_step(f->server, 1), 1);
}

static void steps_for(struct fixture *f, uint64_t ms)
{
    uint64_t end = now_ms() + ms;

    while (now_ms() < end)
        step(f);
}

static void wait_for_text(struct fixture *f, const char *where, const char *text)
{
    uint64_t end = now_ms() + PATIENCE_MS;

    while (strstr(where, text) == NULL && now_ms() < end)
        step(f);
    if (strstr(where, text) == NULL)
        print_error("ERROR: '%s' is not in '%s'; log: %s\n", text, where, f->log);
    assert_non_null(strstr(where, text));
}

static void wait_until_up(struct fixture *f, bool up)
{
    uint64_t end = now_ms() + PATIENCE_MS;

    while (bus_is_up(f->bus) != up && now_ms() < end)
        step(f);
    if (bus_is_up(f->bus) != up)
        print_error("ERROR: not %s; log: %s\n", up ? "up" : "down", f->log);
    assert_int_equal(bus_is_up(f->bus), up);
}

/* --- the Redis -------------------------------------------------------------------------------- */

static void fake_listen(struct fake *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    socklen_t len = sizeof a;
    int on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(r->listener, 8), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&a, &len), 0);
    r->port = ntohs(a.sin_port);
    snprintf(r->url, sizeof r->url, "redis://127.0.0.1:%u", r->port);
}

static void close_if_open(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int fake_accept(struct fixture *f, const struct fake *r)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    int on = 1;
    int fd;

    do {
        step(f);
        fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && now_ms() < end);
    if (fd < 0)
        print_error("ERROR: nobody connects; log: %s\n", f->log);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* answers come one by one */
    return fd;
}

/* Exactly these bytes come next. */
static void expect_bytes(struct fixture *f, int fd, const char *bytes, size_t len)
{
    static char got[1 << 21];
    uint64_t end = now_ms() + PATIENCE_MS;
    size_t n = 0;

    assert_true(len <= sizeof got);
    while (n < len && now_ms() < end) {
        ssize_t r = recv(fd, got + n, len - n, MSG_DONTWAIT);

        if (r > 0)
            n += (size_t)r;
        else if (r == 0)
            break;
        else
            step(f);
    }
    if (n < len || memcmp(got, bytes, len) != 0)
        print_error("ERROR: wanted '%.*s', got '%.*s'; log: %s\n", (int)(len < 200 ? len : 200),
                    bytes, (int)(n < 200 ? n : 200), got, f->log);
    assert_int_equal(n, len);
    assert_memory_equal(got, bytes, len);
}

/* A command, as words; a word has no space in it. */
static void expect(struct fixture *f, int fd, const char *words)
{
    char text[1024], wire[2048], rest[2048];
    size_t count = 0;
    size_t len = 0;

    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "), count++)
        len +=
            (size_t)snprintf(rest + len, sizeof rest - len, "$%zu\r\n%s\r\n", strlen(word), word);
    len = (size_t)snprintf(wire, sizeof wire, "*%zu\r\n%s", count, rest);
    expect_bytes(f, fd, wire, len);
}

static void expect_nothing(struct fixture *f, int fd)
{
    char byte;

    steps_for(f, 30);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static void expect_end(struct fixture *f, int fd)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    char bytes[1024];
    ssize_t n;

    do {
        step(f);
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while ((n > 0 || (n < 0 && errno == EAGAIN)) && now_ms() < end);
    if (n > 0 || (n < 0 && errno != ECONNRESET))
        print_error("ERROR: the connection goes on; log: %s\n", f->log);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static void reply_bytes(struct fixture *f, int fd, const char *bytes, size_t len)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    size_t n = 0;

    while (n < len && now_ms() < end) {
        ssize_t sent = send(fd, bytes + n, len - n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0)
            n += (size_t)sent;
        else if (errno == EAGAIN)
            step(f);
        else
            break;
    }
}

static void reply(struct fixture *f, int fd, const char *bytes)
{
    reply_bytes(f, fd, bytes, strlen(bytes));
}

#define TEXT(literal) (literal), sizeof(literal) - 1
#define HELLO         "HELLO 3 SETNAME minnow"
#define HELLO_MASTER  "%3\r\n+server\r\n+redis\r\n+role\r\n+master\r\n+modules\r\n*0\r\n"
#define UNKNOWN       "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"

static int greet(struct fixture *f, const struct fake *r)
{
    int fd = fake_accept(f, r);

    expect(f, fd, HELLO);
    reply(f, fd, HELLO_MASTER);
    return fd;
}

static void greet_both(struct fixture *f)
{
    close_if_open(&f->commands);
    close_if_open(&f->subscriber);
    f->commands = greet(f, &f->redis);
    f->subscriber = greet(f, &f->redis);
}

/* --- the fixture ------------------------------------------------------------------------------ */

static void keep_log(void *arg, enum ws_log_level level, const char *line)
{
    struct fixture *f = arg;

    (void)level;
    strncat(f->log, line, sizeof f->log - strlen(f->log) - 2);
    strcat(f->log, "\n");
}

static void note(struct fixture *f, const char *text)
{
    strncat(f->seen, text, sizeof f->seen - strlen(f->seen) - 1);
}

static void note_message(void *arg, struct ws_str channel, struct ws_str data)
{
    char text[100];

    snprintf(text, sizeof text, "%.*s=%.*s ", (int)channel.len, channel.data,
             data.len < 50 ? (int)data.len : 50, data.data);
    note(arg, text);
}

static void note_state(void *arg, bool up)
{
    note(arg, up ? "up " : "down ");
}

static void note_count(void *arg, ptrdiff_t count)
{
    char text[32];

    snprintf(text, sizeof text, "count %td ", count);
    note(arg, text);
}

static void subscribe(struct fixture *f, enum bus_kind kind, const char *name)
{
    assert_non_null(bus_subscribe(f->bus, kind, ws_str(name), note_message, f));
}

static void publish(struct fixture *f, const char *channel, const char *data)
{
    assert_int_equal(bus_publish(f->bus, BUS_CHANNEL, ws_str(channel), ws_str(data)), 0);
}

static void ask(struct fixture *f, const char *channel)
{
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str(channel), note_count, f), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->commands = f->subscriber = f->other.listener = -1;
    f->server = ws_server_new(NULL);
    fake_listen(&f->redis);
    f->urls[0] = f->redis.url;
    *state = f;
    return f->server == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bus_free(f->bus);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
    ws_server_free(f->server);
    close_if_open(&f->commands);
    close_if_open(&f->subscriber);
    close_if_open(&f->redis.listener);
    close_if_open(&f->other.listener);
    free(f);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void begin_with(struct fixture *f, struct bus_redis_options o)
{
    o.urls = f->urls;
    o.log = keep_log;
    o.log_arg = f;
    if (o.retry_ms == 0)
        o.retry_ms = 10;
    f->bus = bus_redis_new(f->server, &o);
    if (f->bus == NULL)
        print_error("ERROR: %s; log: %s\n", strerror(errno), f->log);
    assert_non_null(f->bus);
    assert_non_null(bus_listen(f->bus, note_state, f));
}

static void begin(struct fixture *f)
{
    begin_with(f, (struct bus_redis_options){0});
}

static void begin_up(struct fixture *f)
{
    begin(f);
    greet_both(f);
    wait_until_up(f, true);
    f->seen[0] = '\0';
}

/* --- connecting ------------------------------------------------------------------------------- */

static void it_is_up_when_all_subscriptions_are_acknowledged(void **state)
{
    struct fixture *f = *state;

    begin(f);
    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_PATTERN, "p*");
    subscribe(f, BUS_SHARD, "s");
    greet_both(f);
    expect(f, f->subscriber, "SUBSCRIBE a");
    expect(f, f->subscriber, "PSUBSCRIBE p*");
    expect(f, f->subscriber, "SSUBSCRIBE s");
    reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n>3\r\n+psubscribe\r\n+p*\r\n:2\r\n");
    steps_for(f, 20);
    assert_false(bus_is_up(f->bus));
    reply(f, f->subscriber, ">3\r\n+ssubscribe\r\n+s\r\n:1\r\n");
    wait_until_up(f, true);
    assert_string_equal(f->seen, "up ");
    assert_null(bus_redis_fault(f->bus));
}

static void messages_come_as_both_versions_say_them(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_PATTERN, "p*");
    subscribe(f, BUS_SHARD, "s");
    reply(f, f->subscriber,
          ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
          "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
          ">4\r\n+pmessage\r\n+p*\r\n+pa\r\n+1\r\n"
          ">3\r\n+smessage\r\n+s\r\n+2\r\n"
          ">3\r\n+message\r\n+b\r\n+nobody\r\n");
    wait_for_text(f, f->seen, "a=hi a=\r\n pa=1 s=2 ");
    assert_true(bus_is_up(f->bus));
}

static void what_is_published_in_a_turn_leaves_in_order(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    publish(f, "a", "1");
    publish(f, "b", "2");
    assert_int_equal(bus_publish(f->bus, BUS_SHARD, ws_str("s"), ws_str("3")), 0);
    publish(f, "a", "");
    expect(f, f->commands, "PUBLISH a 1");
    expect(f, f->commands, "PUBLISH b 2");
    expect(f, f->commands, "SPUBLISH s 3");
    expect_bytes(f, f->commands, TEXT("*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$0\r\n\r\n"));
    reply(f, f->commands, ":1\r\n:0\r\n:0\r\n:2\r\n");
    expect_nothing(f, f->commands);
    assert_true(bus_is_up(f->bus));
}

static void message_without_pieces_is_empty(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    assert_int_equal(bus_publish_pieces(f->bus, BUS_CHANNEL, ws_str("a"), NULL, 0), 0);
    expect_bytes(f, f->commands, TEXT("*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$0\r\n\r\n"));
}

static void changes_of_subscriptions_are_told(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *s;

    begin_up(f);
    s = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), note_message, f);
    expect(f, f->subscriber, "SUBSCRIBE a");
    reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n");
    bus_unsubscribe(s);
    expect(f, f->subscriber, "UNSUBSCRIBE a");
    reply(f, f->subscriber, ">3\r\n+unsubscribe\r\n+a\r\n:0\r\n");
    expect_nothing(f, f->subscriber);
    assert_true(bus_is_up(f->bus));
}

static void a_redis_before_6_is_spoken_to_in_version_2(void **state)
{
    struct fixture *f = *state;

    begin(f);
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO);
    reply(f, f->commands, UNKNOWN);
    expect(f, f->commands, "PING");
    reply(f, f->commands, "+PONG\r\n");
    f->subscriber = fake_accept(f, &f->redis);
    expect(f, f->subscriber, HELLO);
    reply(f, f->subscriber, "-NOPROTO unsupported protocol version\r\n");
    expect(f, f->subscriber, "PING");
    reply(f, f->subscriber, "+PONG\r\n");
    wait_until_up(f, true);
}

static void the_login_is_sent_in_either_version(void **state)
{
    struct fixture *f = *state;
    char url[100];

    snprintf(url, sizeof url, "redis://me:s%%20t@127.0.0.1:%u", f->redis.port);
    f->urls[0] = url;
    begin(f);
    f->commands = fake_accept(f, &f->redis);
    expect_bytes(f, f->commands,
                 TEXT("*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$7\r\nSETNAME\r\n$6\r\nminnow\r\n"
                      "$4\r\nAUTH\r\n$2\r\nme\r\n$3\r\ns t\r\n"));
    reply(f, f->commands, UNKNOWN);
    expect_bytes(f, f->commands,
                 TEXT("*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$3\r\ns t\r\n*1\r\n$4\r\nPING\r\n"));
    reply(f, f->commands, "+OK\r\n+PONG\r\n");
    close_if_open(&f->subscriber);
    f->subscriber = fake_accept(f, &f->redis);
}

static void a_password_alone_is_sent_alone_in_version_2(void **state)
{
    struct fixture *f = *state;
    char url[100];

    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%u", f->redis.port);
    f->urls[0] = url;
    begin(f);
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO " AUTH default secret");
    reply(f, f->commands, "-NOAUTH Authentication required.\r\n");
    expect(f, f->commands, "AUTH secret");
    expect(f, f->commands, "PING");
}

/* Each answer to HELLO, and to AUTH and PING behind it, with what the fault says. */
static void a_login_that_fails_is_named(void **state)
{
    static const char *const cases[][4] = {
        {"", "-NOAUTH HELLO must be called with the client already authenticated\r\n", NULL,
         "it wants a password: redis://:PASSWORD@HOST"},
        {":x@", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", NULL,
         "it says WRONGPASS invalid username-password pair"},
        {"", UNKNOWN, "-NOAUTH Authentication required.\r\n", "it wants a password"},
        {":x@", UNKNOWN, "-ERR invalid password\r\n", "it says ERR invalid password"},
        {"", "-ERR max number of clients reached\r\n", NULL, "it says ERR max number of clients"},
        {"", "-DENIED\033[31m protected mode\r\n", NULL, "it says DENIED?[31m protected mode"},
        {"", "+OK\r\n", NULL, "it does not answer HELLO as a Redis does"},
        {"", UNKNOWN, "+OK\r\n", "it does not answer AUTH and PING as a Redis does"},
        {":x@", UNKNOWN, "+OK\r\n:1\r\n", "it does not answer AUTH and PING as a Redis does"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char url[100];

        snprintf(url, sizeof url, "redis://%s127.0.0.1:%u", cases[i][0], f->redis.port);
        f->urls[0] = url;
        f->log[0] = '\0';
        begin(f);
        f->commands = fake_accept(f, &f->redis);
        expect_bytes(f, f->commands, "*", 1);
        reply(f, f->commands, cases[i][1]);
        if (cases[i][2] != NULL)
            reply(f, f->commands, cases[i][2]);
        wait_for_text(f, f->log, cases[i][3]);
        assert_non_null(strstr(bus_redis_fault(f->bus), cases[i][3]));
        bus_free(f->bus);
        f->bus = NULL;
        close_if_open(&f->commands);
        close_if_open(&f->redis.listener); /* with those that wait to be accepted */
        fake_listen(&f->redis);
    }
}

/* Before it has heard of the client. */
static void a_redis_that_refuses_clients_is_named(void **state)
{
    struct fixture *f = *state;
    int fd;

    begin(f);
    fd = accept(f->redis.listener, NULL, NULL);
    assert_int_equal(fd, -1);
    do { /* answer in the moment of the connection */
        ws_server_step(f->server, 0);
        fd = accept4(f->redis.listener, NULL, NULL, SOCK_CLOEXEC);
    } while (fd < 0);
    reply(f, fd, "-ERR max number of clients reached\r\n");
    wait_for_text(f, f->log, "it says ERR max number of clients");
    close(fd);
}

static void it_tries_until_somebody_listens(void **state)
{
    struct fixture *f = *state;

    close_if_open(&f->redis.listener);
    begin(f);
    wait_for_text(f, f->log, "Connection refused");
    assert_non_null(strstr(bus_redis_fault(f->bus), f->redis.url + strlen("redis://")));
    steps_for(f, 100);
    assert_null(strstr(strstr(f->log, "refused") + 1, "refused")); /* logged once */
    fake_listen(&f->redis);
    greet_both(f);
    wait_until_up(f, true);
    assert_null(bus_redis_fault(f->bus));
    wait_for_text(f, f->log, "connected to 127.0.0.1:");
    wait_for_text(f, f->log, "0 messages were dropped");
}

static void urls_are_tried_in_turn(void **state)
{
    struct fixture *f = *state;

    fake_listen(&f->other);
    f->urls[1] = f->other.url;
    close_if_open(&f->redis.listener);
    begin(f);
    f->commands = greet(f, &f->other);
    f->subscriber = greet(f, &f->other);
    wait_until_up(f, true);
    /* and the next time from the first on */
    fake_listen(&f->redis);
    close_if_open(&f->commands);
    greet_both(f);
    wait_until_up(f, true);
}

static void a_replica_is_passed_over_where_there_is_another(void **state)
{
    static const char replica[] = "%3\r\n+modules\r\n*1\r\n%1\r\n+role\r\n+master\r\n"
                                  "+role\r\n+replica\r\n+proto\r\n:3\r\n";
    struct fixture *f = *state;
    uint64_t start = now_ms();

    fake_listen(&f->other);
    f->urls[1] = f->other.url;
    begin(f);
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO);
    reply(f, f->commands, replica);
    expect_end(f, f->commands);
    close_if_open(&f->commands);
    assert_true(now_ms() - start < 3000); /* it is not the timeout that ended it */
    f->commands = greet(f, &f->other);
    f->subscriber = greet(f, &f->other);
    wait_until_up(f, true);
}

static void a_single_replica_is_used(void **state)
{
    struct fixture *f = *state;

    begin(f);
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO);
    reply(f, f->commands, "%1\r\n+role\r\n+replica\r\n");
    f->subscriber = greet(f, &f->redis);
    wait_until_up(f, true);
}

static void an_ipv6_address_is_used(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof a;
    char url[64];

    close_if_open(&f->redis.listener);
    f->redis.listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->redis.listener < 0 || bind(f->redis.listener, (struct sockaddr *)&a, sizeof a) != 0)
        skip(); /* this machine has no IPv6 */
    assert_int_equal(listen(f->redis.listener, 8), 0);
    assert_int_equal(getsockname(f->redis.listener, (struct sockaddr *)&a, &len), 0);
    snprintf(url, sizeof url, "redis://[::1]:%u", ntohs(a.sin6_port));
    f->urls[0] = url;
    begin(f);
    greet_both(f);
    wait_until_up(f, true);
    close_if_open(&f->commands);
    wait_for_text(f, f->log, "lost [::1]:");
    bus_free(f->bus);
    f->bus = NULL;
}

static void a_unix_socket_is_used(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char directory[] = "/tmp/test_bus_redis.XXXXXX";
    char url[160];

    assert_non_null(mkdtemp(directory));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/redis", directory);
    snprintf(url, sizeof url, "redis+unix://%s", a.sun_path);
    f->urls[0] = url;
    close_if_open(&f->redis.listener);
    f->redis.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->redis.listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->redis.listener, 8), 0);
    begin(f);
    greet_both(f);
    wait_until_up(f, true);
    unlink(a.sun_path);
    rmdir(directory);
    close_if_open(&f->commands);
    wait_for_text(f, f->log, "No such file or directory");
}

static void urls_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;
    struct bus_redis_options o = {.urls = f->urls, .log = keep_log, .log_arg = f};

    f->urls[1] = "redis://:secret@host:x";
    errno = 0;
    assert_null(bus_redis_new(f->server, &o));
    assert_int_equal(errno, EINVAL);
    assert_string_equal(f->log, "redis: host:x: not a port from 1 to 65535 behind the host\n");
    f->urls[0] = NULL;
    assert_null(bus_redis_new(f->server, &o));
    assert_int_equal(errno, EINVAL);
}

/* --- names ------------------------------------------------------------------------------------ */

static void a_name_is_looked_up_while_the_loop_goes_on(void **state)
{
    struct fixture *f = *state;
    char url[64];

    snprintf(url, sizeof url, "redis://localhost:%u", f->redis.port);
    f->urls[0] = url;
    begin(f);
    greet_both(f);
    wait_until_up(f, true);
}

/* The other side of the look-up is the test itself. */
static void begin_with_lookup(struct fixture *f, int ends[2], unsigned timeout_ms)
{
    static char url[64];

    snprintf(url, sizeof url, "redis://redis.example:%u", f->redis.port);
    f->urls[0] = url;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    begin_with(f, (struct bus_redis_options){.lookup_fd = ends[0], .timeout_ms = timeout_ms});
}

static void wait_for_question(struct fixture *f, int fd)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    char host[64] = "";

    while (recv(fd, host, sizeof host - 1, MSG_DONTWAIT) < 0 && now_ms() < end)
        step(f);
    assert_string_equal(host, "redis.example");
}

static void all_addresses_of_a_name_are_tried(void **state)
{
    struct fixture *f = *state;
    struct redis_addresses a;
    int ends[2];

    begin_with_lookup(f, ends, 0);
    wait_for_question(f, ends[1]);
    assert_true(redis_lookup_numeric("127.0.0.1", &a));
    a.items[1] = a.items[0];
    a.count = 2;
    inet_pton(AF_INET, "127.255.255.254", &a.items[0].ipv4.sin_addr); /* nobody listens there */
    assert_int_equal(send(ends[1], &a, sizeof a, 0), sizeof a);
    greet_both(f);
    wait_until_up(f, true);
    bus_free(f->bus);
    f->bus = NULL;
    close(ends[0]);
    close(ends[1]);
}

static void names_that_are_not_found_are_named(void **state)
{
    struct fixture *f = *state;
    struct redis_addresses a = {.error = -2 /* EAI_NONAME */};
    int ends[2];

    begin_with_lookup(f, ends, 0);
    wait_for_question(f, ends[1]);
    assert_int_equal(send(ends[1], &a, sizeof a, 0), sizeof a);
    wait_for_text(f, f->log, "redis.example:");
    wait_for_text(f, f->log, "nown"); /* "not known", or musl's "does not resolve" */
    close(ends[1]);
    wait_for_text(f, f->log, "nobody looks up names any more");
    close(ends[0]);
}

static void answer_with(int fd, const char *address)
{
    struct redis_addresses a;

    assert_true(redis_lookup_numeric(address, &a));
    assert_int_equal(send(fd, &a, sizeof a, 0), sizeof a);
}

static void end_lookup(struct fixture *f, const int ends[2])
{
    bus_free(f->bus);
    f->bus = NULL;
    close(ends[0]);
    close(ends[1]);
}

/* One try does not wait that long, but the answer is of use to the next: else a look-up that always
 * takes longer than a try may would never help. */
static void a_slow_look_up_is_given_up_and_its_answer_used_later(void **state)
{
    struct fixture *f = *state;
    char host[64];
    int ends[2];

    begin_with_lookup(f, ends, 50);
    wait_for_question(f, ends[1]);
    wait_for_text(f, f->log, "looking up its name takes too long");
    steps_for(f, 150);
    assert_int_equal(recv(ends[1], host, sizeof host, MSG_DONTWAIT), -1); /* asked once */
    answer_with(ends[1], "127.0.0.1");
    greet_both(f);
    wait_until_up(f, true);
    end_lookup(f, ends);
}

static void nobody_who_looks_up_is_a_fault(void **state)
{
    struct fixture *f = *state;
    int ends[2];

    begin_with_lookup(f, ends, 0);
    wait_for_question(f, ends[1]);
    close(ends[1]); /* while it waits for the answer */
    wait_for_text(f, f->log, "nobody looks up names any more");
    close(ends[0]);
}

static void question_that_cannot_be_sent_is_a_fault(void **state)
{
    struct fixture *f = *state;
    int ends[2];

    begin_with_lookup(f, ends, 0);
    assert_int_equal(shutdown(ends[0], SHUT_WR), 0);
    wait_for_text(f, f->log, "redis.example:");
    wait_for_text(f, f->log, "Broken pipe");
    end_lookup(f, ends);
}

/* While the second is waited for. */
static void answer_for_another_name_is_not_taken(void **state)
{
    struct redis_addresses none = {.error = -2 /* EAI_NONAME */};
    struct fixture *f = *state;
    char host[64] = "";
    int ends[2];

    f->urls[1] = "redis://second.example:1";
    begin_with_lookup(f, ends, 200);
    wait_for_question(f, ends[1]);
    steps_for(f, 300);
    assert_int_equal(send(ends[1], &none, sizeof none, 0), sizeof none);
    while (recv(ends[1], host, sizeof host - 1, MSG_DONTWAIT) < 0)
        step(f);
    assert_string_equal(host, "second.example");
    answer_with(ends[1], "127.255.255.254");
    wait_for_question(f, ends[1]); /* in the next round, the first one again */
    answer_with(ends[1], "127.0.0.1");
    greet_both(f);
    wait_until_up(f, true);
    end_lookup(f, ends);
}

/* The first name is looked up slowly, and nobody listens at the second. */
static void answers_are_taken_for_the_name_that_was_asked_for(void **state)
{
    struct fixture *f = *state;
    char host[64] = "";
    int ends[2];

    f->urls[1] = "redis://second.example:1";
    begin_with_lookup(f, ends, 50);
    wait_for_question(f, ends[1]);
    wait_for_text(f, f->log, "second.example:1: looking up its name takes too long");
    answer_with(ends[1], "127.0.0.1");
    for (int i = 0; i < 200 && f->commands < 0; i++) {
        step(f);
        if (recv(ends[1], host, sizeof host - 1, MSG_DONTWAIT) > 0)
            answer_with(ends[1], "127.255.255.254");
        f->commands = accept4(f->redis.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    expect(f, f->commands, HELLO);
    reply(f, f->commands, HELLO_MASTER);
    f->subscriber = greet(f, &f->redis);
    wait_until_up(f, true);
    end_lookup(f, ends);
}

static void a_look_up_that_cannot_begin_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct bus_redis_options o = {.urls = f->urls};
    struct rlimit limit, none;

    f->urls[0] = "redis://redis.example";
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_null(bus_redis_new(f->server, &o));
    assert_int_equal(errno, EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
}

/* --- questions -------------------------------------------------------------------------------- */

static void questions_are_answered_among_messages_and_pushes(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    publish(f, "a", "1");
    ask(f, "a");
    publish(f, "a", "2");
    assert_int_equal(bus_count(f->bus, BUS_SHARD, ws_str("s"), note_count, f), 0);
    ask(f, "b");
    expect(f, f->commands, "PUBLISH a 1");
    expect(f, f->commands, "PUBSUB NUMSUB a");
    expect(f, f->commands, "PUBLISH a 2");
    expect(f, f->commands, "PUBSUB SHARDNUMSUB s");
    expect(f, f->commands, "PUBSUB NUMSUB b");
    reply(f, f->commands,
          ":4\r\n>2\r\n+invalidate\r\n_\r\n*2\r\n$1\r\na\r\n:7\r\n:4\r\n"
          ">1\r\n+x\r\n*2\r\n+s\r\n:0\r\n-ERR no\r\n");
    wait_for_text(f, f->seen, "count 7 count 0 count -4 ");
    assert_true(bus_is_up(f->bus));
}

static void questions_end_with_the_connection(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    ask(f, "sent");
    expect(f, f->commands, "PUBSUB NUMSUB sent");
    ask(f, "queued");
    close_if_open(&f->commands);
    wait_for_text(f, f->seen, "down count -1 count -1 ");
    ask(f, "later");
    wait_for_text(f, f->seen, "count -1 count -1 count -1 ");
}

static void a_question_that_is_open_ends_with_the_bus(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    ask(f, "sent");
    expect(f, f->commands, "PUBSUB NUMSUB sent");
    ask(f, "queued");
    bus_free(f->bus);
    f->bus = NULL;
    assert_string_equal(f->seen, "");
}

/* --- a Redis that goes away ------------------------------------------------------------------- */

static void after_a_loss_all_is_subscribed_to_again(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *gone;

    begin_up(f);
    subscribe(f, BUS_CHANNEL, "a");
    gone = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("gone"), note_message, f);
    expect(f, f->subscriber, "SUBSCRIBE a");
    expect(f, f->subscriber, "SUBSCRIBE gone");
    reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n"); /* one of them is open */
    close_if_open(&f->subscriber);
    wait_until_up(f, false);
    assert_non_null(strstr(f->log, "redis: lost 127.0.0.1:"));
    expect_end(f, f->commands); /* both at the same time */
    bus_unsubscribe(gone);
    greet_both(f);
    expect(f, f->subscriber, "SUBSCRIBE a");
    steps_for(f, 10);
    assert_false(bus_is_up(f->bus));
    reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n");
    wait_until_up(f, true);
    assert_string_equal(f->seen, "down up ");
}

static void what_is_published_meanwhile_is_sent_later(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    close_if_open(&f->commands);
    wait_until_up(f, false);
    publish(f, "a", "1");
    publish(f, "a", "2");
    greet_both(f);
    expect(f, f->commands, "PUBLISH a 1");
    expect(f, f->commands, "PUBLISH a 2");
    assert_int_equal(bus_dropped(f->bus), 0);
}

static void what_was_published_last_leaves_with_the_bus(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    publish(f, "a", "1");
    ask(f, "a");
    publish(f, "a", "2");
    bus_free(f->bus);
    f->bus = NULL;
    expect(f, f->commands, "PUBLISH a 1");
    expect(f, f->commands, "PUBSUB NUMSUB a");
    expect(f, f->commands, "PUBLISH a 2");
    expect_end(f, f->commands);
    assert_string_equal(f->seen, "");
}

static void too_much_pushes_out_the_oldest(void **state)
{
    struct fixture *f = *state;
    static char large[2000];

    const int kept = 1000 / (int)(sizeof(struct redis_command) + 32); /* 32 bytes for each below */

    begin_with(f, (struct bus_redis_options){.queue_max = 1000});
    for (int i = 0; i < 40; i++) {
        char text[16];

        snprintf(text, sizeof text, "%02d", i);
        publish(f, "a", text);
    }
    assert_int_equal(bus_dropped(f->bus), 40 - kept);
    assert_int_equal(
        bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), (struct ws_str){large, sizeof large}),
        WS_ERR_FULL);
    assert_non_null(strstr(f->log, "the oldest messages are dropped"));
    assert_null(strstr(strstr(f->log, "dropped") + 1, "dropped")); /* logged once */
    greet_both(f);
    for (int i = 40 - kept; i < 40; i++) {
        char text[32];

        snprintf(text, sizeof text, "PUBLISH a %02d", i);
        expect(f, f->commands, text);
    }
}

/* Not only what is sent of them: small ones take more memory than that. */
static void memory_of_what_waits_is_bounded(void **state)
{
    struct fixture *f = *state;
    size_t before;

    begin_with(f, (struct bus_redis_options){.queue_max = 100000});
    before = ws_server_stats(f->server).buffered;
    for (int i = 0; i < 5000; i++)
        publish(f, "a", "");
    assert_in_range(ws_server_stats(f->server).buffered - before, 90000, 130000);
}

/* Whoever asks gets an answer: only messages are pushed out. */
static void questions_are_not_pushed_out(void **state)
{
    struct fixture *f = *state;
    int result = 0;

    begin_with(f, (struct bus_redis_options){.queue_max = 1000});
    greet_both(f);
    wait_until_up(f, true);
    ask(f, "x");
    for (int i = 0; i < 40; i++)
        publish(f, "a", i < 39 ? "old" : "new");
    assert_in_range(bus_dropped(f->bus), 26, 32);
    expect(f, f->commands, "PUBSUB NUMSUB x");
    for (unsigned long long i = bus_dropped(f->bus); i < 39; i++)
        expect(f, f->commands, "PUBLISH a old");
    expect(f, f->commands, "PUBLISH a new");
    while (result == 0)
        result = bus_count(f->bus, BUS_CHANNEL, ws_str("x"), note_count, f);
    assert_int_equal(bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), ws_str("a longer message")),
                     WS_ERR_FULL);
}

/* A Redis that reads nothing must not make questions pile up. */
static void questions_that_wait_are_bounded(void **state)
{
    struct fixture *f = *state;
    int asked = 0;
    int result = 0;

    begin_with(f, (struct bus_redis_options){.queue_max = 2000});
    greet_both(f);
    wait_until_up(f, true);
    while (result == 0 && asked < 100) {
        result = bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f);
        asked += result == 0;
    }
    assert_int_equal(result, WS_ERR_FULL);
    assert_in_range(asked, 10, 60);
    steps_for(f, 10);
    ask(f, "a"); /* they have been sent */
}

/* It may be what ended the connection, and would end the next one. */
static void a_message_that_is_cut_is_not_sent_again(void **state)
{
    struct fixture *f = *state;
    static char large[4 << 20];

    begin_up(f);
    memset(large, 'x', sizeof large);
    assert_int_equal(
        bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), (struct ws_str){large, sizeof large}), 0);
    publish(f, "a", "next");
    expect_bytes(f, f->commands, TEXT("*3\r\n$7\r\nPUBLISH\r\n"));
    steps_for(f, 20);
    close_if_open(&f->commands);
    greet_both(f);
    expect(f, f->commands, "PUBLISH a next");
    assert_int_equal(bus_dropped(f->bus), 1);
}

/* While the socket takes nothing, the message under way stays and the others go. */
static void a_slow_redis_gets_the_newest(void **state)
{
    struct fixture *f = *state;
    static char large[1 << 20];
    char head[64];
    unsigned count = 0;

    begin_with(f, (struct bus_redis_options){.queue_max = 3 * sizeof large});
    greet_both(f);
    wait_until_up(f, true);
    memset(large, 'x', sizeof large);
    for (; count < 100 && bus_dropped(f->bus) < 2; count++) {
        bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), (struct ws_str){large, sizeof large});
        steps_for(f, 5);
    }
    publish(f, "a", "last");
    assert_true(bus_dropped(f->bus) >= 2); /* else the sockets take more than that */
    for (unsigned long long i = bus_dropped(f->bus); i < count; i++) {
        int len =
            snprintf(head, sizeof head, "*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$%zu\r\n", sizeof large);

        expect_bytes(f, f->commands, head, (size_t)len);
        expect_bytes(f, f->commands, large, sizeof large);
        expect_bytes(f, f->commands, "\r\n", 2);
    }
    expect(f, f->commands, "PUBLISH a last");
}

static void a_silent_redis_is_asked_and_then_given_up(void **state)
{
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.ping_ms = 50, .timeout_ms = 100});
    greet_both(f);
    wait_until_up(f, true);
    for (int i = 0; i < 3; i++) {
        expect(f, f->commands, "PING");
        reply(f, f->commands, "+PONG\r\n");
        expect(f, f->subscriber, "PING");
        reply(f, f->subscriber, i == 0 ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n");
    }
    assert_true(bus_is_up(f->bus));
    expect(f, f->commands, "PING");
    reply(f, f->commands, "+PONG\r\n");
    expect(f, f->subscriber, "PING");
    wait_for_text(f, f->log, "it does not answer any more");
    assert_false(bus_is_up(f->bus));
}

/* Each of the two is asked when it has been silent, not when the other one has. */
static void only_a_connection_that_is_silent_is_asked(void **state)
{
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.ping_ms = 100});
    greet_both(f);
    wait_until_up(f, true);
    for (int i = 0; i < 8; i++) {
        steps_for(f, 20);
        publish(f, "a", "1");
        expect(f, f->commands, "PUBLISH a 1"); /* and no PING */
        reply(f, f->commands, ":0\r\n");
    }
    expect(f, f->subscriber, "PING");
}

static void one_that_reads_nothing_any_more_is_given_up(void **state)
{
    struct fixture *f = *state;
    static char large[8 << 20];

    begin_with(f, (struct bus_redis_options){.ping_ms = 30, .timeout_ms = 60});
    greet_both(f);
    wait_until_up(f, true);
    assert_int_equal(
        bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), (struct ws_str){large, sizeof large}), 0);
    publish(f, "a", "next");
    while (bus_is_up(f->bus)) {
        reply(f, f->subscriber, ">3\r\n+message\r\n+x\r\n+y\r\n"); /* this one is well */
        step(f);
    }
    assert_non_null(strstr(f->log, "it does not answer any more"));
    greet_both(f);
    expect(f, f->commands, "PUBLISH a next");
}

/* Many subscriptions take a while. */
static void acknowledgements_may_take_long_as_long_as_some_come(void **state)
{
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.timeout_ms = 200});
    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_CHANNEL, "b");
    subscribe(f, BUS_CHANNEL, "c");
    subscribe(f, BUS_CHANNEL, "d");
    greet_both(f);
    for (int i = 0; i < 4; i++) {
        steps_for(f, 80);
        assert_false(bus_is_up(f->bus));
        reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n");
    }
    wait_until_up(f, true);
    assert_null(strstr(f->log, "does not answer"));
}

static void one_that_does_not_answer_at_all_is_given_up(void **state)
{
    static const char *const steps[] = {"", HELLO_MASTER};
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.timeout_ms = 50});
    subscribe(f, BUS_CHANNEL, "a");
    for (size_t i = 0; i < 2; i++) {
        f->log[0] = '\0';
        close_if_open(&f->commands);
        f->commands = fake_accept(f, &f->redis);
        reply(f, f->commands, steps[i]);
        expect_end(f, f->commands);
        if (i == 0)
            wait_for_text(f, f->log, "it does not answer");
        else
            close(fake_accept(f, &f->redis));
    }
    f->log[0] = '\0';
    greet_both(f);
    wait_for_text(f, f->log, "it does not answer to subscriptions");
}

#define ACK "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
#define HI  ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"

/* As much of `text` as `*left` says. Is it all? */
static bool reply_part(struct fixture *f, int fd, const char *text, size_t *left)
{
    size_t len = strlen(text) < *left ? strlen(text) : *left;

    reply_bytes(f, fd, text, len);
    *left -= len;
    return len == strlen(text);
}

/* Say `left` bytes in all, as a Redis does. */
static void say_first_bytes(struct fixture *f, size_t left)
{
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO);
    if (!reply_part(f, f->commands, HELLO_MASTER, &left))
        return;
    f->subscriber = fake_accept(f, &f->redis);
    expect(f, f->subscriber, HELLO);
    if (!reply_part(f, f->subscriber, HELLO_MASTER, &left))
        return;
    expect(f, f->subscriber, "SUBSCRIBE a");
    if (reply_part(f, f->subscriber, ACK, &left))
        reply_part(f, f->subscriber, HI, &left);
}

static void a_redis_may_go_at_any_moment(void **state)
{
    const size_t all = 2 * strlen(HELLO_MASTER) + strlen(ACK) + strlen(HI);
    struct fixture *f = *state;

    for (size_t n = 0; n < all; n++) {
        begin_with(f, (struct bus_redis_options){.retry_ms = 1});
        subscribe(f, BUS_CHANNEL, "a");
        say_first_bytes(f, n);
        step(f);
        greet_both(f); /* which ends those before */
        expect(f, f->subscriber, "SUBSCRIBE a");
        reply(f, f->subscriber, ACK);
        wait_until_up(f, true);
        reply(f, f->subscriber, HI);
        wait_for_text(f, f->seen, "a=hi ");
        assert_null(strstr(strstr(f->seen, "a=hi ") + 1, "a=hi "));
        bus_free(f->bus);
        f->bus = NULL;
        f->seen[0] = f->log[0] = '\0';
        close_if_open(&f->commands);
        close_if_open(&f->subscriber);
    }
}

static void reply_bytewise(struct fixture *f, int fd, const char *text)
{
    for (; *text != '\0'; text++) {
        reply_bytes(f, fd, text, 1);
        step(f);
    }
}

static void a_redis_may_say_everything_byte_by_byte(void **state)
{
    struct fixture *f = *state;

    begin(f);
    subscribe(f, BUS_CHANNEL, "a");
    f->commands = fake_accept(f, &f->redis);
    expect(f, f->commands, HELLO);
    reply_bytewise(f, f->commands, HELLO_MASTER);
    f->subscriber = fake_accept(f, &f->redis);
    expect(f, f->subscriber, HELLO);
    reply_bytewise(f, f->subscriber, HELLO_MASTER);
    expect(f, f->subscriber, "SUBSCRIBE a");
    reply_bytewise(f, f->subscriber, ACK HI HI);
    assert_string_equal(f->seen, "up a=hi a=hi ");
    ask(f, "a");
    expect(f, f->commands, "PUBSUB NUMSUB a");
    reply_bytewise(f, f->commands, ">1\r\n+x\r\n*2\r\n$1\r\na\r\n:12\r\n");
    assert_string_equal(f->seen, "up a=hi a=hi count 12 ");
}

/* --- a hostile one ---------------------------------------------------------------------------- */

static void what_is_no_answer_of_a_redis_ends_the_connection(void **state)
{
    static const struct {
        bool to_subscriber;
        const char *bytes, *why;
    } cases[] = {
        {false, "HTTP/1.1 400 Bad Request\r\n\r\n", "not the protocol of Redis"},
        {false, ":1\r\n", "a reply that nobody asked for"},
        {false, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "nested too deeply"},
        {false, "$9223372036854775807\r\n", "too large"},
        {false, "*9223372036854775807\r\n", "too large"},
        {false, "$-2\r\n", "number or length"},
        {true, "*?\r\n", "unknown length"},
        {true, ":1\r\n", "neither a message nor"},
        {true, "+OK\r\n", "neither a message nor"},
        {true, "*0\r\n", "neither a message nor"},
        {true, ">0\r\n", "neither a message nor"},
        {true, "*1\r\n+message\r\n", "neither a message nor"},
        {true, "*3\r\n+message\r\n+a\r\n:1\r\n", "neither a message nor"},
        {true, "*3\r\n+message\r\n*0\r\n+a\r\n", "neither a message nor"},
        {true, "*4\r\n+message\r\n+a\r\n+b\r\n+c\r\n", "neither a message nor"},
        {true, "*3\r\n+pmessage\r\n+a\r\n+b\r\n", "neither a message nor"},
        {true, "%3\r\n+message\r\n+a\r\n+b\r\n+c\r\n+d\r\n+e\r\n", "neither a message nor"},
        {true, "*3\r\n*1\r\n+message\r\n+a\r\n+b\r\n", "neither a message nor"},
        {true, "*3\r\n+subscribe\r\n+a\r\n:1\r\n", "neither a message nor"}, /* nobody did */
        {true, "-NOPERM no permissions\r\n", "it refuses a subscription: NOPERM"},
        {true, "!14\r\nERR\r\nforged\x1b[m\r\n", "subscription: ERR??forged?[m"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bus_free(f->bus); /* else the next try would come later each time */
        begin_up(f);
        f->log[0] = '\0';
        reply(f, cases[i].to_subscriber ? f->subscriber : f->commands, cases[i].bytes);
        wait_for_text(f, f->log, cases[i].why);
        assert_false(bus_is_up(f->bus));
    }
}

/* It was up for a moment only: the next tries do not begin anew. */
static void one_that_ends_each_connection_is_not_tried_without_end(void **state)
{
    struct fixture *f = *state;
    uint64_t start = now_ms();

    begin_with(f, (struct bus_redis_options){.retry_ms = 10});
    for (int i = 0; i < 6; i++) {
        greet_both(f);
        wait_until_up(f, true);
        close_if_open(&f->commands);
    }
    assert_true(now_ms() - start >= 5 + 10 + 20 + 40 + 80);
}

static void a_message_that_is_refused_is_counted(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    publish(f, "a", "1");
    publish(f, "a", "2");
    expect(f, f->commands, "PUBLISH a 1");
    reply(f, f->commands, "-NOPERM this user has no permissions\r\n-NOPERM again\r\n");
    wait_for_text(f, f->log, "refuses messages: NOPERM this user");
    steps_for(f, 10);
    assert_int_equal(bus_dropped(f->bus), 2);
    assert_null(strstr(f->log, "again"));
    assert_true(bus_is_up(f->bus));
}

/* It goes to a log of lines. */
static void what_a_redis_says_is_shown_without_control_characters(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    publish(f, "a", "1");
    expect(f, f->commands, "PUBLISH a 1");
    reply_bytes(f, f->commands, TEXT("!8\r\nno\nx: \x80y\r\n"));
    wait_for_text(f, f->log, "refuses messages: no?x: ?y");
}

static void large_messages_come_in_pieces(void **state)
{
    struct fixture *f = *state;
    static char wire[(1 << 20) + 64];
    size_t len = (size_t)sprintf(wire, ">3\r\n+message\r\n+a\r\n$%d\r\n", 1 << 20);

    begin_up(f);
    subscribe(f, BUS_CHANNEL, "a");
    memset(wire + len, 'x', 1 << 20);
    memcpy(wire + len + (1 << 20), "\r\n", 2);
    reply_bytes(f, f->subscriber, wire, len + (1 << 20) + 2);
    wait_for_text(f, f->seen, "a=xxxxxxxx");
    reply(f, f->subscriber, ">3\r\n+message\r\n+a\r\n+after\r\n");
    wait_for_text(f, f->seen, "a=after ");
    steps_for(f, 5);
    assert_true(ws_server_stats(f->server).buffered < 64 * 1024);
}

static void bytes_of_a_message_are_bounded(void **state)
{
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.message_max = 10000});
    greet_both(f);
    wait_until_up(f, true);
    reply(f, f->subscriber, ">3\r\n+message\r\n+a\r\n$10000\r\n");
    wait_for_text(f, f->log, "too large");
    greet_both(f);
    wait_until_up(f, true);
}

static void messages_may_be_of_any_size(void **state)
{
    struct fixture *f = *state;
    static char wire[(64 << 10) + 64];
    size_t len = (size_t)sprintf(wire, ">3\r\n+message\r\n+a\r\n$%d\r\n", 64 << 10);

    begin_with(f, (struct bus_redis_options){.message_max = SIZE_MAX});
    subscribe(f, BUS_CHANNEL, "a");
    greet_both(f);
    memset(wire + len, 'x', 64 << 10);
    memcpy(wire + len + (64 << 10), "\r\n", 2);
    reply_bytes(f, f->subscriber, wire, len + (64 << 10) + 2);
    wait_for_text(f, f->seen, "a=xxxxxxxx");
}

/* What is announced takes no memory, and what comes is bounded by max_memory. */
static void without_memory_the_connection_is_given_up(void **state)
{
    struct fixture *f = *state;
    static char part[256 * 1024];

    ws_server_free(f->server);
    f->server = ws_server_new(&(struct ws_options){.max_memory = 1 << 20});
    assert_non_null(f->server);
    begin_up(f);
    reply(f, f->subscriber, ">3\r\n+message\r\n+a\r\n$60000000\r\n");
    steps_for(f, 10);
    assert_true(ws_server_stats(f->server).buffered < 64 * 1024);
    for (int i = 0; i < 8 && bus_is_up(f->bus); i++)
        reply_bytes(f, f->subscriber, part, sizeof part);
    wait_for_text(f, f->log, "there is no memory for its reply");
    greet_both(f);
    wait_until_up(f, true);
}

/* --- many ------------------------------------------------------------------------------------- */

static void note_slowly(void *arg, struct ws_str channel, struct ws_str data)
{
    struct timespec pause = {.tv_nsec = 200 * 1000};

    nanosleep(&pause, NULL);
    note_message(arg, channel, data);
}

/* Those that came at once and take long do not make others wait until all are done. */
static void messages_have_a_share_of_a_turn(void **state)
{
    struct fixture *f = *state;
    static char wire[400 * 40];
    char seen[SEEN] = "";
    uint64_t first, last;

    begin_up(f);
    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), note_slowly, f));
    for (int i = 100; i < 500; i++) {
        sprintf(wire + strlen(wire), ">3\r\n+message\r\n+a\r\n+%d\r\n", i);
        sprintf(seen + strlen(seen), "a=%d ", i);
    }
    reply(f, f->subscriber, wire);
    while (f->seen[0] == '\0')
        step(f);
    first = ws_server_turn(f->server);
    wait_for_text(f, f->seen, seen);
    last = ws_server_turn(f->server);
    assert_in_range(last - first, 2, 20);
    assert_string_equal(f->seen, seen);
}

/* As many as are subscribed to at once do not wait in memory as commands: there is no room for all
 * of them. */
static void many_subscriptions_are_told_in_portions(void **state)
{
    struct fixture *f = *state;
    char name[16], words[32], ack[64];
    static void *blocks[8192];
    struct ws_account *account;
    size_t taken = 0;

    ws_server_free(f->server);
    f->server = ws_server_new(&(struct ws_options){.max_memory = 8 << 20});
    assert_non_null(f->server);
    account = ws_account_new(f->server, NULL);
    begin(f);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "room%05d", i);
        subscribe(f, BUS_CHANNEL, name);
    }
    while (ws_server_stats(f->server).buffered < (8 << 20) - (900 << 10))
        blocks[taken++] = ws_account_take(account, 1000);
    greet_both(f);
    for (int i = 0; i < 20000; i++) { /* in no order that is known */
        expect_bytes(f, f->subscriber, TEXT("*2\r\n$9\r\nSUBSCRIBE\r\n$9\r\nroom"));
        for (int tries = 0; recv(f->subscriber, words, 7, MSG_PEEK) < 7 && tries < 100; tries++)
            step(f);
        assert_int_equal(recv(f->subscriber, words, 7, 0), 7);
        snprintf(ack, sizeof ack, ">3\r\n+subscribe\r\n+room%.5s\r\n:%d\r\n", words, i + 1);
        reply(f, f->subscriber, ack);
    }
    wait_until_up(f, true);
    while (taken > 0)
        ws_account_give(account, blocks[--taken], 1000);
    ws_account_release(account);
}

/* --- memory of the process -------------------------------------------------------------------- */

static void without_memory_there_is_no_bus(void **state)
{
    struct fixture *f = *state;
    struct bus_redis_options o = {.urls = f->urls, .log = keep_log, .log_arg = f};
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct bus *b;

        oom_once(n);
        b = bus_redis_new(f->server, &o);
        failed = oom_came();
        oom_after(-1);
        assert_int_equal(b == NULL, failed);
        bus_free(b);
        assert_int_equal(ws_server_stats(f->server).buffered, 0);
    }
}

static void a_call_without_memory_fails_alone(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    oom_once(0);
    assert_int_equal(bus_publish(f->bus, BUS_CHANNEL, ws_str("a"), ws_str("1")), WS_ERR_NOMEM);
    for (long n = 0; n < 2; n++) {
        oom_once(n);
        assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f), WS_ERR_NOMEM);
    }
    oom_after(-1);
    publish(f, "a", "2");
    expect(f, f->commands, "PUBLISH a 2");
    assert_string_equal(f->seen, "");
}

/* What is subscribed to would not be known to Redis: it begins anew. */
static void without_memory_to_subscribe_the_connection_is_given_up(void **state)
{
    struct fixture *f = *state;

    begin_up(f);
    subscribe(f, BUS_CHANNEL, "a");
    oom_once(0);
    wait_for_text(f, f->log, "there is no memory to subscribe");
    oom_after(-1);
    greet_both(f);
    expect(f, f->subscriber, "SUBSCRIBE a");
    reply(f, f->subscriber, ">3\r\n+subscribe\r\n+a\r\n:1\r\n");
    wait_until_up(f, true);
}

/* A Redis that could not be asked is not one that does not answer. */
static void without_memory_for_a_ping_the_connection_stays(void **state)
{
    struct fixture *f = *state;

    begin_with(f, (struct bus_redis_options){.ping_ms = 30, .timeout_ms = 40});
    greet_both(f);
    wait_until_up(f, true);
    oom_after(0);
    steps_for(f, 150);
    oom_after(-1);
    assert_true(bus_is_up(f->bus));
    expect(f, f->commands, "PING");
    expect(f, f->subscriber, "PING");
}

#include "cluster/tests/test_bus_redis.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
