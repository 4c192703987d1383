/* SPDX-License-Identifier: MIT
 *
 * Rooms, and the sockets that a target reaches. */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Three clients: a in "x", b in "x" and "y", c in "y". */
struct three {
    struct raw_client *a, *b, *c;
    char id_a[EIO_ID_SIZE], id_b[EIO_ID_SIZE];
};

static void start_three(struct sio_fixture *x, struct three *t)
{
    sio_start(x, (struct sio_options){.max_rooms = 3}, (struct sio_handlers){0});
    t->a = sio_client(x, t->id_a);
    t->b = sio_client(x, t->id_b);
    t->c = sio_client(x, NULL);
    order(t->a, "[\"join\",\"x\"]");
    order(t->b, "[\"join\",\"x\"]");
    order(t->b, "[\"join\",\"y\"]");
    order(t->c, "[\"join\",\"y\"]");
}

static void expect_silence_of_all(struct three *t)
{
    expect_silence(t->a);
    expect_silence(t->b);
    expect_silence(t->c);
}

static void events_to_a_room_reach_its_members_once(void **state)
{
    struct three t;

    start_three(*state, &t);
    raw_send_message(t.c, "42[\"to\",\"x\",1]"); /* from outside */
    raw_expect_message(t.a, "42[\"to\",1]");
    raw_expect_message(t.b, "42[\"to\",1]");
    raw_send_message(t.c, "42[\"to both\",\"x\",\"y\",2]"); /* b is in both */
    raw_expect_message(t.a, "42[\"to both\",2]");
    raw_expect_message(t.b, "42[\"to both\",2]");
    raw_expect_message(t.c, "42[\"to both\",2]");
    raw_send_message(t.c, "42[\"to\",\"nowhere\",3]");
    expect_silence_of_all(&t);
}

static void events_leave_out_the_sender_and_the_excepted(void **state)
{
    struct three t;

    start_three(*state, &t);
    raw_send_message(t.a, "42[\"broadcast\",1]");
    raw_expect_message(t.b, "42[\"broadcast\",1]");
    raw_expect_message(t.c, "42[\"broadcast\",1]");
    raw_send_message(t.a, "42[\"except\",\"x\",2]");
    raw_expect_message(t.c, "42[\"except\",2]");
    raw_send_message(t.a, "42[\"others in\",\"x\",3]");
    raw_expect_message(t.b, "42[\"others in\",3]");
    expect_silence_of_all(&t);
}

static void each_socket_is_in_a_room_of_its_own(void **state)
{
    struct three t;
    char text[128];

    start_three(*state, &t);
    snprintf(text, sizeof text, "42[\"to\",\"%s\",1]", t.id_a);
    raw_send_message(t.c, text);
    raw_expect_message(t.a, "42[\"to\",1]");
    snprintf(text, sizeof text, "42[\"except\",\"%s\",2]", t.id_a);
    raw_send_message(t.c, text);
    raw_expect_message(t.b, "42[\"except\",2]");
    raw_expect_message(t.c, "42[\"except\",2]");
    expect_silence_of_all(&t);
    raw_send_message(t.a, "42/custom,[\"x\"]"); /* not in there */
    expect_closed(t.a);
}

static void rooms_are_left_one_by_one_and_at_the_end(void **state)
{
    struct sio_fixture *x = *state;
    struct three t;

    start_three(x, &t);
    order(t.b, "[\"leave\",\"x\"]");
    order(t.b, "[\"leave\",\"x\"]"); /* again, and what it never was in */
    order(t.b, "[\"leave\",\"z\"]");
    raw_send_message(t.c, "42[\"to\",\"x\",1]");
    raw_expect_message(t.a, "42[\"to\",1]");
    raw_send_message(t.a, "41");
    sio_enter(t.a, "/", "", NULL); /* a new socket in no room */
    raw_send_message(t.c, "42[\"to\",\"x\",2]");
    expect_silence_of_all(&t);
}

static void rooms_of_one_namespace_are_not_those_of_another(void **state)
{
    struct sio_fixture *x = *state;
    struct three t;
    char text[128];

    start_three(x, &t);
    sio_enter(t.c, "/custom", "", NULL);
    raw_send_message(t.c, "42/custom,[\"to\",\"x\",1]");
    snprintf(text, sizeof text, "42/custom,[\"to\",\"%s\",1]", t.id_a);
    raw_send_message(t.c, text);
    expect_silence_of_all(&t);
}

static void ask_rooms(struct sio_fixture *x, void *arg)
{
    struct sio_socket *s = x->socket;
    char name[1026];
    int *result = arg;

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    result[0] = sio_join(s, name);
    name[sizeof name - 2] = '\0';
    result[1] = sio_join(s, name);
    result[2] = sio_join(s, name); /* in it already */
    result[3] = sio_join(s, "3");
    result[4] = sio_join(s, "4"); /* three at most */
    result[5] = sio_join(s, sio_socket_id(s));
    result[6] = sio_is_in(s, sio_socket_id(s)) && sio_is_in(s, "3") && !sio_is_in(s, "4");
    result[7] = sio_socket_room(s, 2) != NULL && sio_socket_room(s, 3) == NULL;
}

static void rooms_are_bounded_in_number_and_name(void **state)
{
    static const int expected[] = {WS_ERR_INVALID, 0, 0, 0, WS_ERR_FULL, 0, true, true};
    struct sio_fixture *x = *state;
    struct three t;
    int result[8];

    start_three(x, &t);
    on_sio(x, ask_rooms, result);
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_int_equal(result[i], expected[i]);
}

enum { MANY_ROOMS = 4000 };

static const char *room_name(char out[64], int i)
{
    snprintf(out, 64, "rooms-with-a-long-common-prefix-%d", i);
    return out;
}

/* Seconds of processor time that joining, asking for and leaving one room take 1000 times, while
 * the socket is in `count` others that it joined later or before. */
static double time_membership(struct sio_socket *s, int count)
{
    struct timespec from;
    struct timespec to;
    char name[64];

    for (int i = 0; i < count; i++)
        assert_int_equal(sio_join(s, room_name(name, i)), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < 1000; i++) {
        assert_true(sio_is_in(s, room_name(name, i % 4)));
        sio_leave(s, name);
        assert_false(sio_is_in(s, name));
        assert_int_equal(sio_join(s, name), 0);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    for (int i = 0; i < count; i++)
        sio_leave(s, room_name(name, i));
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static void compare_memberships(struct sio_fixture *x, void *arg)
{
    double *seconds = arg;

    seconds[0] = time_membership(x->socket, 4);
    seconds[1] = time_membership(x->socket, MANY_ROOMS);
}

static void a_room_of_many_is_found_as_fast_as_one_of_few(void **state)
{
    struct sio_fixture *x = *state;
    double seconds[2];

    sio_start(x, (struct sio_options){.max_rooms = MANY_ROOMS}, (struct sio_handlers){0});
    sio_client(x, NULL);
    on_sio(x, compare_memberships, seconds);
    if (seconds[1] > 10 * seconds[0])
        fail_msg("%.1f ms with few rooms, %.1f ms with many", seconds[0] * 1e3, seconds[1] * 1e3);
}

/* Each room is left from the middle, the front and the end of both lists that it hangs in. */
static void leave_in_every_order(struct sio_fixture *x, void *arg)
{
    static const char *const names[] = {"a", "b", "c"};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct sio_socket *s = x->socket;

    (void)arg;
    for (size_t i = 0; i < COUNT(orders); i++) {
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(sio_join(s, names[k]), 0);
        for (size_t k = 0; k < 3; k++) {
            sio_leave(s, names[orders[i][k]]);
            for (size_t m = 0; m < 3; m++)
                assert_int_equal(sio_is_in(s, names[orders[i][m]]), m > k);
            assert_int_equal(sio_socket_room(s, 1) != NULL, k == 0);
            assert_int_equal(sio_socket_room(s, 0) != NULL, k < 2);
        }
    }
}

static void rooms_may_be_left_in_any_order(void **state)
{
    struct sio_fixture *x = *state;

    start_client(x);
    on_sio(x, leave_in_every_order, NULL);
}

static void select_and_move(struct sio_fixture *x, void *arg)
{
    const struct sio_target in_x = {.nsp = x->main, .to = SIO_ROOMS("x")};
    const struct sio_target all = {.nsp = x->main};
    const struct sio_target rest = {.nsp = x->main, .except = SIO_ROOMS("y")};
    struct sio_socket *out[2] = {NULL, NULL};
    size_t *result = arg;

    result[0] = sio_select(&all, out, 2);
    result[1] = out[0] != NULL && out[1] != NULL && out[0] != out[1];
    result[2] = sio_select(&in_x, NULL, 0);
    result[3] = sio_select(&rest, NULL, 0);
    result[4] = (size_t)sio_join_all(&in_x, "new");
    result[5] = sio_select(&(struct sio_target){.nsp = x->main, .to = SIO_ROOMS("new")}, NULL, 0);
    sio_leave_all(&in_x, "x");
    result[6] = sio_select(&in_x, NULL, 0);
    result[7] = sio_select(
        &(struct sio_target){.nsp = x->main, .to = SIO_ROOMS("new", "y"), .sender = x->socket},
        NULL, 0);
}

static void targets_may_be_listed_and_moved(void **state)
{
    static const size_t expected[] = {3, true, 2, 1, 0, 2, 0, 2};
    struct sio_fixture *x = *state;
    struct three t;
    size_t result[8];

    start_three(x, &t);
    on_sio(x, select_and_move, result);
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_int_equal(result[i], expected[i]);
}

#include "socketio/tests/test_sio_room.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
