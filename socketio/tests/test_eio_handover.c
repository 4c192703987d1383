/* SPDX-License-Identifier: MIT
 *
 * Engine.IO in two servers, as in two processes on one port: a request that lands on the one which
 * does not have its session is handed over. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct both {
    struct engine *a, *b;
    int result; /* what the next hand-over returns instead; 0: it is done */
    int asked;  /* by the servers; last node in: */
    unsigned node;
};

enum { NODE_A = 7, NODE_B = 0xfbff };

struct parcel {
    struct ws_server *to;
    int fd;
    size_t len;
    char bytes[];
};

static void unpack(void *arg)
{
    struct parcel *p = arg;

    ws_adopt(p->to, p->fd, p->bytes, p->len);
    free(p);
}

/* As a bus would carry it. */
static int hand_over(void *arg, struct ws_conn *c, unsigned node)
{
    struct both *both = arg;
    struct ws_str bytes[2];
    struct parcel *p;
    int fd;

    both->asked++;
    both->node = node;
    if (both->result != 0)
        return both->result;
    if (node != NODE_A && node != NODE_B)
        return WS_ERR_CLOSED;
    fd = ws_detach(c, bytes);
    if (fd < 0)
        return fd;
    p = malloc(sizeof *p + bytes[1].len);
    *p = (struct parcel){.fd = fd, .len = bytes[1].len};
    p->to = node == NODE_A ? both->a->f->server : both->b->f->server;
    memcpy(p->bytes, bytes[1].data, bytes[1].len);
    return ws_post(p->to, unpack, p);
}

static int setup_both(void **state)
{
    struct both *both = calloc(1, sizeof *both);
    void *e;

    engine_setup(&e);
    both->a = e;
    engine_setup(&e);
    both->b = e;
    *state = both;
    return 0;
}

static int teardown_both(void **state)
{
    struct both *both = *state;
    void *e = both->a;

    engine_teardown(&e);
    e = both->b;
    engine_teardown(&e);
    free(both);
    return 0;
}

static void start_both(struct both *both)
{
    struct eio_options o = {.hand_over = hand_over, .hand_over_arg = both, .node = NODE_A};

    engine_echo(both->a, o);
    o.node = NODE_B;
    engine_echo(both->b, o);
}

static void polling_goes_on_wherever_a_request_lands(void **state)
{
    struct both *both = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c;

    start_both(both);
    open_polling(both->b, sid);
    for (int i = 0; i < 4; i++) {
        c = client(i & 1 ? both->b->f : both->a->f, "anywhere");
        expect_post(c, sid, "4hello");
        raw_close(c);
        c = client(i & 2 ? both->b->f : both->a->f, "anywhere");
        expect_poll(c, sid, "4hello");
        raw_close(c);
    }
    assert_int_equal(both->asked, 4);
    assert_int_equal(both->node, NODE_B);
    assert_int_equal(read_counter(both->a->f, &both->a->f->seen.opened), 0);
}

/* Once handed over, a connection stays where its session is; and may go back for another one. */
static void connection_serves_sessions_of_both_one_after_the_other(void **state)
{
    struct both *both = *state;
    char of_a[EIO_ID_SIZE], of_b[EIO_ID_SIZE];
    struct raw_client *c;

    start_both(both);
    open_polling(both->a, of_a);
    open_polling(both->b, of_b);
    c = client(both->a->f, "both");
    for (int i = 0; i < 3; i++) {
        expect_post(c, of_b, "4to b");
        expect_poll(c, of_b, "4to b");
        expect_post(c, of_a, "4to a");
        expect_poll(c, of_a, "4to a");
    }
    assert_int_equal(both->asked, 6);
}

static void upgrade_goes_to_the_server_of_the_session(void **state)
{
    struct both *both = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c;

    start_both(both);
    open_polling(both->b, sid);
    c = upgrade(both->a, sid);
    raw_send_message(c, "4through a");
    raw_expect_message(c, "4through a");
    assert_int_equal(both->asked, 1);
    wait_connections(both->a->f, 0);
}

static void session_of_no_server_is_unknown(void **state)
{
    struct both *both = *state;
    char sid[EIO_ID_SIZE], wrong[EIO_ID_SIZE];
    struct raw_client *c;

    start_both(both);
    open_polling(both->b, sid);
    c = client(both->a->f, "wrong ids");
    memcpy(wrong, sid, sizeof wrong);
    wrong[10] = wrong[10] == 'A' ? 'B' : 'A';
    get(c, wrong); /* of b, which does not have it */
    expect(c, 400, UNKNOWN_SID);
    assert_int_equal(both->asked, 1);
    raw_close(c);
    c = client(both->a->f, "wrong ids");
    wrong[0] = 'z';
    get(c, wrong); /* of nobody */
    expect(c, 400, UNKNOWN_SID);
    assert_int_equal(both->asked, 2);
    get(c, "short");
    expect(c, 400, UNKNOWN_SID);
    get(c, "++++++++++++++++++++");
    expect(c, 400, UNKNOWN_SID);
    assert_int_equal(both->asked, 2);
    post(c, wrong, "4x");
    expect(c, 400, UNKNOWN_SID);
}

static void server_that_cannot_hand_over_now_answers_503(void **state)
{
    struct both *both = *state;
    char sid[EIO_ID_SIZE];
    struct raw_client *c;

    start_both(both);
    open_polling(both->b, sid);
    both->result = WS_ERR_FULL;
    c = client(both->a->f, "full");
    get(c, sid);
    expect(c, 503, "");
    both->result = 0;
    c = client(both->a->f, "again");
    expect_post(c, sid, "4still there");
    expect_poll(c, sid, "4still there");
}

static void preflight_is_answered_where_it_lands(void **state)
{
    static const char *const origins[] = {"*", NULL};
    struct both *both = *state;
    char sid[EIO_ID_SIZE] = "zzzzzzzzzzzzzzzzzzzz";
    struct raw_response r;
    struct raw_client *c;

    engine_echo(both->a, (struct eio_options){.hand_over = hand_over,
                                              .hand_over_arg = both,
                                              .node = NODE_A,
                                              .origins = origins});
    c = client(both->a->f, "preflight");
    ask_session(c, "OPTIONS", sid, "Origin: http://x\r\n", NULL, 0);
    raw_expect_status(c, &r, 204);
    assert_int_equal(both->asked, 0);
}

static void ids_say_whose_they_are(void **state)
{
    static const uint16_t nodes[] = {0, 1, 0x00ff, 0xfbf0, 0xffff};
    struct both *both = *state;
    char first[EIO_ID_SIZE], second[EIO_ID_SIZE];

    for (size_t i = 0; i < COUNT(nodes); i++) {
        struct raw_client *c;
        void *e;

        engine_setup(&e);
        engine_create(
            e,
            (struct eio_options){.hand_over = hand_over, .hand_over_arg = both, .node = nodes[i]},
            (struct eio_handlers){0}, (struct ws_options){0});
        assert_true(eio_id_new(((struct engine *)e)->server, first));
        assert_true(eio_id_new(((struct engine *)e)->server, second));
        assert_int_equal(memcmp(first, second, 2), 0);
        assert_string_not_equal(first, second);
        assert_int_equal(strlen(first), EIO_ID_LEN);
        run(((struct engine *)e)->f);
        c = client(((struct engine *)e)->f, "of its own");
        both->asked = 0;
        get(c, first);
        expect(c, 400, UNKNOWN_SID);
        assert_int_equal(both->asked, 0);
        engine_teardown(&e);
    }
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_both, teardown_both)

#include "socketio/tests/test_eio_handover.list"

int main(void)
{
    return cmocka_run_group_tests_name("eio_handover", tests, NULL, NULL);
}
