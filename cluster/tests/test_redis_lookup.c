/* SPDX-License-Identifier: MIT
 *
 * Unit tests of redis_lookup.c. Most have both sides in one thread: the questions wait in the
 * socket before somebody answers them. */
#include "tests/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/calls.h"
#include "../redis_lookup.h"

enum { PATIENCE_MS = 10000 };

static void make_pair(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

/* Ask for `host`, and answer it here, while call number `n` fails; negative: none does. Is there an
 * answer? */
static bool ask_and_answer(const char *host, enum call call, long n, int error,
                           struct redis_addresses *a)
{
    int ends[2];
    bool answered;

    make_pair(ends);
    assert_int_equal(redis_lookup_ask(ends[0], host), 0);
    assert_int_equal(shutdown(ends[0], SHUT_WR), 0);
    calls_reset();
    if (n >= 0)
        calls_fail(call, (unsigned long)n, error);
    calls_watch(true);
    redis_lookup_serve(ends[1]);
    calls_watch(false);
    assert_int_equal(calls_failed(), n >= 0);
    calls_work();
    assert_int_equal(fcntl(ends[1], F_GETFD), -1); /* it was closed */
    answered = redis_lookup_take(ends[0], a);
    close(ends[0]);
    return answered;
}

static void addresses_need_no_look_up(void **state)
{
    static const char *const names[] = {"", "localhost", "127.0.0", "::g", "1.2.3.4.5"};
    struct redis_addresses a;
    struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;

    (void)state;
    assert_true(redis_lookup_numeric("127.0.0.1", &a));
    assert_int_equal(a.count, 1);
    assert_int_equal(a.error, 0);
    assert_int_equal(a.items[0].ipv4.sin_family, AF_INET);
    assert_int_equal(a.items[0].ipv4.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_true(redis_lookup_numeric("::1", &a));
    assert_int_equal(a.count, 1);
    assert_int_equal(a.items[0].ipv6.sin6_family, AF_INET6);
    assert_memory_equal(&a.items[0].ipv6.sin6_addr, &loopback, sizeof loopback);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(redis_lookup_numeric(names[i], &a));
        assert_int_equal(a.count, 0);
    }
}

static void names_get_their_addresses(void **state)
{
    struct redis_addresses a;

    (void)state;
    assert_true(ask_and_answer("localhost", CALL_MEMORY, -1, 0, &a));
    assert_int_equal(a.error, 0);
    assert_in_range(a.count, 1, REDIS_ADDRESSES);
    for (size_t i = 0; i < a.count; i++)
        assert_true(a.items[i].any.sa_family == AF_INET || a.items[i].any.sa_family == AF_INET6);
}

static void name_that_cannot_be_looked_up_has_an_error(void **state)
{
    struct redis_addresses a;

    (void)state;
    assert_true(ask_and_answer("localhost", CALL_GETADDRINFO, 0, EMFILE, &a));
    assert_int_equal(a.error, EAI_SYSTEM);
    assert_int_equal(a.count, 0);
}

/* A signal must not cost a question or an answer: nobody would ask again. */
static void calls_that_are_interrupted_are_made_again(void **state)
{
    struct redis_addresses a;

    (void)state;
    assert_true(ask_and_answer("localhost", CALL_RECV, 0, EINTR, &a));
    assert_int_equal(a.error, 0);
    assert_true(ask_and_answer("localhost", CALL_SEND, 0, EINTR, &a));
    assert_int_equal(a.error, 0);
}

static void who_cannot_answer_ends(void **state)
{
    struct redis_addresses a;

    (void)state;
    assert_false(ask_and_answer("localhost", CALL_SEND, 0, ENOBUFS, &a));
    assert_false(ask_and_answer("localhost", CALL_RECV, 0, ENOMEM, &a));
}

static void questions_are_answered_in_order(void **state)
{
    struct redis_addresses a;
    int ends[2];

    (void)state;
    make_pair(ends);
    assert_int_equal(redis_lookup_ask(ends[0], "127.0.0.1"), 0);
    assert_int_equal(redis_lookup_ask(ends[0], "127.0.0.2"), 0);
    assert_int_equal(shutdown(ends[0], SHUT_WR), 0);
    redis_lookup_serve(ends[1]);
    for (uint32_t i = 1; i <= 2; i++) {
        assert_true(redis_lookup_take(ends[0], &a));
        assert_int_equal(a.count, 1);
        assert_int_equal(ntohl(a.items[0].ipv4.sin_addr.s_addr), INADDR_LOOPBACK - 1 + i);
    }
    assert_false(redis_lookup_take(ends[0], &a));
    assert_int_equal(redis_lookup_ask(ends[0], "127.0.0.1"), -1);
    close(ends[0]);
}

static void what_is_no_answer_is_none(void **state)
{
    struct redis_addresses a = {.count = REDIS_ADDRESSES + 1};
    int ends[2];

    (void)state;
    make_pair(ends);
    assert_int_equal(send(ends[1], &a, sizeof a - 1, 0), sizeof a - 1);
    assert_int_equal(send(ends[1], &a, sizeof a, 0), sizeof a);
    assert_false(redis_lookup_take(ends[0], &a));
    assert_false(redis_lookup_take(ends[0], &a));
    close(ends[0]);
    close(ends[1]);
}

static void thread_answers_until_the_socket_is_closed(void **state)
{
    struct redis_addresses a;
    struct pollfd ready = {.fd = redis_lookup_start(), .events = POLLIN};

    (void)state;
    assert_true(ready.fd >= 0);
    assert_int_equal(redis_lookup_ask(ready.fd, "127.0.0.1"), 0);
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    assert_true(redis_lookup_take(ready.fd, &a));
    assert_int_equal(a.count, 1);
    close(ready.fd);
}

static void thread_that_cannot_begin_leaves_nothing(void **state)
{
    static const struct {
        enum call call;
        int error;
    } cases[] = {{CALL_SOCKETPAIR, EMFILE}, {CALL_PTHREAD_CREATE, EAGAIN}};
    int before = dup(0);

    (void)state;
    close(before);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int after;

        calls_reset();
        calls_fail(cases[i].call, 0, cases[i].error);
        calls_watch(true);
        assert_int_equal(redis_lookup_start(), -1);
        assert_int_equal(errno, cases[i].error);
        calls_watch(false);
        calls_work();
        after = dup(0);
        assert_int_equal(after, before);
        close(after);
    }
}

#include "cluster/tests/test_redis_lookup.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
