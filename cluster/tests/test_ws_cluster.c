/* SPDX-License-Identifier: MIT
 *
 * Tests of ws_cluster.c: servers in one thread, each with a bus of its own in one net, and their
 * clients. */
#include "tests/unit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"
#include "../../tests/raw_client.h"
#include "../ws_cluster.h"
#include "loop_bus.h"

enum { NODES = 3, CLIENTS = 8 };

struct node {
    struct ws_server *server;
    struct bus *bus;
    struct ws_cluster *cluster;
    ptrdiff_t published; /* what the last publish returned */
    int joined;          /* and the last join */
    long allocations;    /* that work in the next join; negative: all */
    bool refused;        /* one did not */
};

struct fixture {
    struct loop_net net;
    struct node nodes[NODES];
    struct raw_client clients[CLIENTS];
    size_t client_count;
};

/* --- the servers ------------------------------------------------------------------------------ */

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    struct node *n = ws_user(c);

    oom_once(n->allocations);
    n->joined = ws_join(c, ws_request_path(req));
    n->refused |= oom_came();
    oom_after(-1);
}

/* "*...": to all; "-...": to the others of the room; else to the room. */
static void on_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct node *n = ws_user(c);
    const char *text = data;
    struct ws_conn *except = len != 0 && text[0] == '-' ? c : NULL;

    if (len != 0 && text[0] == '*')
        n->published = ws_broadcast(n->server, except, op, data, len);
    else
        n->published = ws_publish(n->server, ws_conn_room(c, 0), except, op, data, len);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    for (size_t i = 0; i < NODES; i++) {
        struct node *n = &f->nodes[i];
        struct ws_handlers handlers = {.on_open = on_open, .on_message = on_message, .user = n};

        n->server = ws_server_new(NULL);
        n->bus = loop_bus_new(&f->net, n->server);
        n->allocations = -1;
        if (n->bus == NULL || ws_server_handle(n->server, "/", &handlers) != 0)
            return -1;
    }
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
    for (size_t i = 0; i < NODES; i++) {
        ws_cluster_free(f->nodes[i].cluster);
        bus_free(f->nodes[i].bus);
        ws_server_free(f->nodes[i].server);
    }
    free(f);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Turns of all servers until nothing happens any more. */
static void turns(struct fixture *f)
{
    for (int i = 0; i < 10; i++) {
        for (size_t n = 0; n < NODES; n++)
            assert_int_equal(ws_server_step(f->nodes[n].server, 1), 1);
    }
}

static void join_cluster(struct fixture *f, size_t node, const char *name)
{
    f->nodes[node].cluster = ws_cluster_new(f->nodes[node].server, f->nodes[node].bus, name);
    assert_non_null(f->nodes[node].cluster);
    turns(f);
}

/* A client of a node, in the room `path`. */
static struct raw_client *connect_to(struct fixture *f, size_t node, const char *path)
{
    struct raw_client *c = &f->clients[f->client_count++];
    struct raw_response r;

    raw_connect(c, ws_server_port(f->nodes[node].server));
    raw_send_upgrade(c, path, "");
    turns(f);
    raw_expect_upgraded(c, &r);
    return c;
}

static void say(struct fixture *f, struct raw_client *c, const char *text)
{
    raw_send_message(c, text);
    turns(f);
}

static void expect_silence(const struct raw_client *c)
{
    if (raw_readable_within(c, 0))
        fail_msg("a client got a message that is not for it");
}

/* --- rooms ------------------------------------------------------------------------------------ */

static void a_message_reaches_the_members_on_all_servers_once(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c, *other;

    for (size_t i = 0; i < NODES; i++)
        join_cluster(f, i, NULL);
    a = connect_to(f, 0, "/room");
    b = connect_to(f, 1, "/room");
    c = connect_to(f, 1, "/room");
    other = connect_to(f, 2, "/rooms");
    say(f, a, "one");
    assert_int_equal(f->nodes[0].published, 1); /* here */
    raw_expect_message(a, "one");
    raw_expect_message(b, "one");
    raw_expect_message(c, "one");
    say(f, b, "two");
    assert_int_equal(f->nodes[1].published, 2);
    raw_expect_message(a, "two");
    raw_expect_message(b, "two");
    raw_expect_message(c, "two");
    expect_silence(a);
    expect_silence(b);
    expect_silence(c);
    expect_silence(other);
}

static void the_sender_may_be_left_out(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    join_cluster(f, 0, NULL);
    join_cluster(f, 1, NULL);
    a = connect_to(f, 0, "/room");
    b = connect_to(f, 0, "/room");
    c = connect_to(f, 1, "/room");
    say(f, a, "-not to me");
    raw_expect_message(b, "-not to me");
    raw_expect_message(c, "-not to me");
    expect_silence(a);
}

static void a_broadcast_reaches_all(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    join_cluster(f, 0, NULL);
    join_cluster(f, 1, NULL);
    a = connect_to(f, 0, "/room");
    b = connect_to(f, 1, "/other");
    c = connect_to(f, 2, "/room"); /* not in the cluster */
    say(f, a, "*to all");
    raw_expect_message(a, "*to all");
    raw_expect_message(b, "*to all");
    expect_silence(c);
}

static void bytes_and_opcode_arrive_as_they_were(void **state)
{
    static const char bytes[] = "\0\xff\r\n$3\r\n";
    struct fixture *f = *state;
    struct raw_client *a, *b;

    join_cluster(f, 0, NULL);
    join_cluster(f, 1, NULL);
    a = connect_to(f, 0, "/%00%ff");
    b = connect_to(f, 1, "/%00%ff");
    raw_send_frame(a, 0x82, bytes, sizeof bytes);
    turns(f);
    raw_expect_frame(b, 0x82, bytes, sizeof bytes);
    raw_send_frame(a, 0x82, "", 0);
    turns(f);
    raw_expect_frame(b, 0x82, "", 0);
    raw_send_frame(a, 0x81, "", 0);
    turns(f);
    raw_expect_frame(b, 0x81, "", 0);
}

static void clusters_of_other_names_do_not_meet(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    join_cluster(f, 0, "x");
    join_cluster(f, 1, "y");
    join_cluster(f, 2, "x");
    a = connect_to(f, 0, "/room");
    b = connect_to(f, 1, "/room");
    c = connect_to(f, 2, "/room");
    say(f, a, "one");
    say(f, a, "*two");
    raw_expect_message(c, "one");
    raw_expect_message(c, "*two");
    expect_silence(b);
}

/* --- subscriptions ---------------------------------------------------------------------------- */

static void a_room_is_subscribed_to_while_it_has_members_here(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b;

    join_cluster(f, 0, NULL);
    assert_int_equal(loop_bus_told(f->nodes[0].bus), 1); /* the broadcasts */
    a = connect_to(f, 0, "/room");
    assert_int_equal(loop_bus_told(f->nodes[0].bus), 2);
    b = connect_to(f, 0, "/room");
    assert_int_equal(loop_bus_told(f->nodes[0].bus), 2);
    raw_reset(a);
    turns(f);
    assert_int_equal(loop_bus_told(f->nodes[0].bus), 2);
    raw_reset(b);
    turns(f);
    assert_int_equal(loop_bus_told(f->nodes[0].bus), 1);
}

static void rooms_that_are_there_already_are_joined_and_left_with_the_cluster(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b;

    a = connect_to(f, 0, "/room");
    b = connect_to(f, 1, "/room");
    join_cluster(f, 0, NULL);
    join_cluster(f, 1, NULL);
    say(f, a, "one");
    raw_expect_message(b, "one");
    ws_cluster_free(f->nodes[1].cluster);
    f->nodes[1].cluster = NULL;
    turns(f);
    assert_int_equal(loop_bus_told(f->nodes[1].bus), 0);
    say(f, a, "two");
    expect_silence(b);
}

static void local_members_are_served_while_the_bus_is_down(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    join_cluster(f, 0, NULL);
    join_cluster(f, 1, NULL);
    a = connect_to(f, 0, "/room");
    b = connect_to(f, 0, "/room");
    loop_bus_set_up(f->nodes[0].bus, false);
    say(f, a, "one");
    raw_expect_message(a, "one");
    raw_expect_message(b, "one");
    c = connect_to(f, 1, "/room");
    loop_bus_set_up(f->nodes[0].bus, true);
    say(f, c, "two");
    raw_expect_message(c, "two");
    raw_expect_message(b, "two");
}

/* --- what others send ------------------------------------------------------------------------- */

static void what_no_process_like_this_one_has_sent_is_ignored(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } cases[] = {
        {"", 0},
        {"0123456789abcdef", 16},
        {"0123456789abcdefxhello", 22},
        {"0123456789abcdef\1hello", 22},
        {"0123456789abcdeft\xff", 18},
        {"0123456789abcdeft\xe2\x82", 19},
    };
    struct fixture *f = *state;
    struct bus *stranger = f->nodes[2].bus;
    struct raw_client *a;

    join_cluster(f, 0, NULL);
    a = connect_to(f, 0, "/room");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ws_str data = {cases[i].data, cases[i].len};

        assert_int_equal(bus_publish(stranger, BUS_CHANNEL, ws_str("minnow#room#/room"), data), 0);
        assert_int_equal(bus_publish(stranger, BUS_CHANNEL, ws_str("minnow#all"), data), 0);
    }
    turns(f);
    expect_silence(a);
    bus_publish(stranger, BUS_CHANNEL, ws_str("minnow#room#/room"),
                ws_str("0123456789abcdeft\xe2\x82\xac"));
    turns(f);
    raw_expect_message(a, "\xe2\x82\xac");
}

/* --- memory ----------------------------------------------------------------------------------- */

static void without_memory_there_is_no_cluster(void **state)
{
    struct fixture *f = *state;
    struct node *n = &f->nodes[0];
    size_t buffered;
    bool failed = true;

    connect_to(f, 0, "/room");
    buffered = ws_server_stats(n->server).buffered;
    for (long i = 0; failed; i++) {
        struct ws_cluster *c;

        oom_once(i);
        c = ws_cluster_new(n->server, n->bus, NULL);
        failed = oom_came();
        oom_after(-1);
        assert_int_equal(c == NULL, failed);
        ws_cluster_free(c);
        turns(f);
        assert_int_equal(ws_server_stats(n->server).buffered, buffered);
    }
}

/* A room that cannot be subscribed to would hear of nothing: the join fails instead. */
static void a_member_without_memory_for_its_subscription_cannot_join(void **state)
{
    struct fixture *f = *state;
    struct node *n = &f->nodes[0];

    join_cluster(f, 0, NULL);
    do {
        struct raw_client *a;

        n->refused = false;
        n->allocations++;
        f->client_count = 0;
        a = connect_to(f, 0, "/room");
        assert_int_equal(n->joined, n->refused ? WS_ERR_NOMEM : 0);
        assert_int_equal(loop_bus_told(n->bus), n->refused ? 1 : 2);
        raw_close(a);
        turns(f);
        assert_int_equal(loop_bus_told(n->bus), 1);
    } while (n->refused);
    assert_true(n->allocations > 3);
}

#include "cluster/tests/test_ws_cluster.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
