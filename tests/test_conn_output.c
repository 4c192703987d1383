/* SPDX-License-Identifier: MIT
 *
 * Output of one connection over a socket pair, without a loop and without a protocol. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../conn_output.h"
#include "oom.h"

enum {
    LARGE = 64 * 1024,      /* bytes that leave at once */
    MUCH = 4 * 1024 * 1024, /* bytes that the socket does not take */
};

struct line {
    struct ws_server *server;
    struct ws_conn conn, other;
    int peer, other_peer;
};

static void connect_pair(struct line *l, struct ws_conn *c, int *peer)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *c = (struct ws_conn){.source = {.fd = fds[0]}, .state = CONN_OPEN, .server = l->server};
    c->account.above = &l->server->budget.all;
    *peer = fds[1];
}

static int set_up(void **state)
{
    struct line *l = calloc(1, sizeof *l);

    l->server = calloc(1, sizeof *l->server);
    l->server->in_turn = true;
    l->server->options.max_queue = 2 * (size_t)MUCH;
    l->server->options.high_water = LARGE;
    budget_init(&l->server->budget, 8 * (size_t)MUCH);
    output_pool_init(&l->server->pool, &l->server->budget.all);
    connect_pair(l, &l->conn, &l->peer);
    connect_pair(l, &l->other, &l->other_peer);
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    struct line *l = *state;

    conn_drop_output(&l->conn);
    conn_drop_output(&l->other);
    assert_int_equal(l->server->budget.all.used, 0);
    budget_release(&l->server->budget);
    close(l->conn.source.fd);
    close(l->other.source.fd);
    close(l->peer);
    close(l->other_peer);
    free(l->server);
    free(l);
    return 0;
}

/* Read up to `size` bytes that are there. Returns how many. */
static size_t take(int fd, char *out, size_t size)
{
    size_t got = 0;
    ssize_t n;

    while (got < size && (n = read(fd, out + got, size - got)) > 0)
        got += (size_t)n;
    return got;
}

static void expect(int fd, const char *text)
{
    char got[256];
    size_t n = take(fd, got, sizeof got - 1);

    got[n] = '\0';
    assert_string_equal(got, text);
}

static void append(struct ws_conn *c, const char *text)
{
    assert_int_equal(conn_append(c, NULL, 0, text, strlen(text)), 0);
}

/* Fill the socket, so that output waits. Returns how many bytes are queued. */
static size_t block(struct line *l)
{
    char *much = calloc(1, MUCH);

    assert_int_equal(conn_append(&l->conn, NULL, 0, much, MUCH), 0);
    free(much);
    assert_true(l->conn.out.blocked);
    return conn_queued(&l->conn);
}

/* The peer reads all, and the socket has room again. Returns the last bytes of it. */
static void unblock(struct line *l, char *last, size_t size)
{
    char *much = malloc(MUCH + 1024);
    size_t got = 0;

    while (conn_queued(&l->conn) > 0 || l->conn.out.blocked) {
        got += take(l->peer, much + got, MUCH + 1024 - got);
        l->conn.out.blocked = false;
        conn_flush(&l->conn);
    }
    got += take(l->peer, much + got, MUCH + 1024 - got);
    memcpy(last, much + got - size, size);
    free(much);
}

static void small_output_is_staged_and_leaves_with_the_flush(void **state)
{
    struct line *l = *state;

    append(&l->conn, "one ");
    append(&l->conn, "two");
    assert_int_equal(conn_queued(&l->conn), 7);
    assert_null(l->conn.outbox);
    expect(l->peer, "");
    conn_flush(&l->conn);
    assert_int_equal(conn_queued(&l->conn), 0);
    expect(l->peer, "one two");
}

static void output_of_another_connection_is_queued_beside_the_stage(void **state)
{
    struct line *l = *state;

    append(&l->conn, "mine");
    append(&l->other, "yours");
    assert_non_null(l->other.outbox);
    conn_flush(&l->other);
    conn_flush(&l->conn);
    expect(l->peer, "mine");
    expect(l->other_peer, "yours");
}

static void large_body_leaves_at_once_behind_what_was_staged(void **state)
{
    struct line *l = *state;
    char *body = malloc(LARGE);
    char *got = malloc(LARGE + 16);

    memset(body, 'x', LARGE);
    append(&l->conn, "first ");
    assert_int_equal(conn_append(&l->conn, "head ", 5, body, LARGE), 0);
    assert_int_equal(take(l->peer, got, LARGE + 16), 11 + LARGE);
    assert_memory_equal(got, "first head xxx", 14);
    free(body);
    free(got);
}

static void what_the_socket_does_not_take_is_queued_in_order(void **state)
{
    struct line *l = *state;
    char last[9];
    size_t queued = block(l);

    assert_true(queued > 0 && queued < MUCH);
    append(&l->conn, "and ");
    append(&l->conn, "more");
    assert_int_equal(conn_queued(&l->conn), queued + 8);
    unblock(l, last, 8);
    assert_memory_equal(last, "and more", 8);
}

static void deferred_bytes_leave_last_and_the_newest_alone(void **state)
{
    struct line *l = *state;
    char last[12];

    block(l);
    conn_defer(&l->conn, (const uint8_t *)"old", 3);
    conn_defer(&l->conn, (const uint8_t *)"newest", 6);
    append(&l->conn, "queued");
    unblock(l, last, 12);
    assert_memory_equal(last, "queuednewest", 12);
}

static void deferred_bytes_leave_before_the_last_ones(void **state)
{
    struct line *l = *state;
    char last[8];

    block(l);
    conn_defer(&l->conn, (const uint8_t *)"pong", 4);
    assert_int_equal(conn_append_last(&l->conn, "last", 4), 0);
    unblock(l, last, 8);
    assert_memory_equal(last, "ponglast", 8);
}

static void shared_slice_reaches_both(void **state)
{
    struct line *l = *state;
    struct output_slice slice;

    assert_int_equal(output_slice_new(&l->server->pool, &slice, "a ", 2, "frame", 5), 0);
    assert_int_equal(conn_refer(&l->conn, &slice), 0);
    assert_int_equal(conn_refer(&l->other, &slice), 0);
    output_slice_release(&l->server->pool, &slice);
    conn_flush(&l->conn);
    conn_flush(&l->other);
    expect(l->peer, "a frame");
    expect(l->other_peer, "a frame");
}

static void queue_has_a_limit_for_who_does_not_read(void **state)
{
    struct line *l = *state;
    size_t queued = block(l);

    l->server->turn++; /* what is queued was there before this turn */
    l->server->options.max_queue = queued;
    assert_int_equal(conn_append(&l->conn, NULL, 0, "x", 1), WS_ERR_FULL);
    assert_int_equal(conn_queued(&l->conn), queued);
}

static void connection_whose_send_fails_is_broken_and_shut_down(void **state)
{
    struct line *l = *state;
    char byte;

    close(l->peer);
    l->peer = -1;
    append(&l->conn, "lost");
    conn_flush(&l->conn);
    assert_true(l->conn.out.broken);
    assert_int_equal(conn_append(&l->conn, NULL, 0, "x", 1), WS_ERR_CLOSED);
    assert_int_equal(conn_append_last(&l->conn, "x", 1), WS_ERR_CLOSED);
    assert_int_equal(read(l->conn.source.fd, &byte, 1), 0);
}

/* Half of a body has left and there is no memory for the other half. */
static void connection_whose_output_cannot_be_kept_is_broken_and_shut_down(void **state)
{
    struct line *l = *state;
    char *much = calloc(1, MUCH);
    char byte;

    oom_after(0);
    assert_int_equal(conn_append(&l->conn, NULL, 0, much, MUCH), WS_ERR_NOMEM);
    oom_after(-1);
    free(much);
    assert_true(l->conn.out.broken);
    assert_int_equal(conn_queued(&l->conn), 0);
    assert_ptr_equal(l->server->touched, &l->conn);
    assert_int_equal(read(l->conn.source.fd, &byte, 1), 0);
}

/* The bytes since the mark are counted in 32 bits. */
static void peer_that_took_gigabytes_takes_output(void **state)
{
    struct line *l = *state;

    conn_mark_output(&l->conn);
    assert_false(conn_takes_output(&l->conn, 1));
    l->conn.unacked_base = INT32_MAX - 2; /* after as many bytes */
    append(&l->conn, "hello");
    conn_flush(&l->conn);
    expect(l->peer, "hello");
    assert_true(conn_takes_output(&l->conn, LARGE));
    assert_false(conn_takes_output(&l->conn, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#include "tests/test_conn_output.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
