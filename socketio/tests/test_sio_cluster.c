/* SPDX-License-Identifier: MIT
 *
 * Servers in a cluster: each call of one reaches the clients of the other, what Node's servers ask
 * is answered as they expect, and what comes from others may be wrong in any way. */
#include "cluster_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/faults.h"
#include "../../tests/oom.h"

static const struct sio_cluster_options classic = {0};
static const struct sio_cluster_options sharded = {.sharded = true};
static const struct sio_handlers plain = {0};

/* Two clients: a of the first server in "x", b of the second in "x" and "y". */
struct clients {
    struct raw_client *a, *b;
    char id_a[EIO_ID_SIZE], id_b[EIO_ID_SIZE];
};

static void start_clients(struct pair *p, struct clients *c, struct sio_cluster_options options,
                          struct sio_handlers handlers)
{
    pair_start(p, options, handlers);
    c->a = pair_client(p, 0, c->id_a);
    c->b = pair_client(p, 1, c->id_b);
    order(c->a, "[\"join\",\"x\"]");
    order(c->b, "[\"join\",\"x\"]");
    order(c->b, "[\"join\",\"y\"]");
    settle_bus(p);
}

static void expect_silence_of_both(struct pair *p, struct clients *c)
{
    settle_bus(p);
    expect_silence(c->a);
    expect_silence(c->b);
}

/* --- events ----------------------------------------------------------------------------------- */

static void events_reach_the_clients_of_all_servers_once(struct pair *p,
                                                         struct sio_cluster_options options)
{
    struct clients c;

    start_clients(p, &c, options, plain);
    raw_send_message(c.a, "42[\"all\",1,\"two\"]");
    raw_expect_message(c.a, "42[\"all\",1,\"two\"]");
    raw_expect_message(c.b, "42[\"all\",1,\"two\"]");
    raw_send_message(c.b, "42[\"broadcast\",2]");
    raw_expect_message(c.a, "42[\"broadcast\",2]");
    raw_send_message(c.a, "42[\"to\",\"x\",3]");
    raw_expect_message(c.a, "42[\"to\",3]");
    raw_expect_message(c.b, "42[\"to\",3]");
    raw_send_message(c.a, "42[\"to\",\"y\",4]");
    raw_expect_message(c.b, "42[\"to\",4]");
    raw_send_message(c.b, "42[\"to both\",\"x\",\"y\",5]");
    raw_expect_message(c.a, "42[\"to both\",5]");
    raw_expect_message(c.b, "42[\"to both\",5]");
    raw_send_message(c.b, "42[\"except\",\"y\",6]");
    raw_expect_message(c.a, "42[\"except\",6]");
    raw_send_message(c.b, "42[\"others in\",\"x\",7]");
    raw_expect_message(c.a, "42[\"others in\",7]");
    raw_send_message(c.b, "42[\"to\",\"nowhere\",8]");
    expect_silence_of_both(p, &c);
}

static void events_reach_all_servers(void **state)
{
    events_reach_the_clients_of_all_servers_once(*state, classic);
}

static void events_reach_all_servers_that_have_shards(void **state)
{
    events_reach_the_clients_of_all_servers_once(*state, sharded);
}

static void a_socket_of_another_server_is_a_room(struct pair *p, struct sio_cluster_options options)
{
    struct clients c;
    char text[128];

    start_clients(p, &c, options, plain);
    snprintf(text, sizeof text, "42[\"to\",\"%s\",1]", c.id_b);
    raw_send_message(c.a, text);
    raw_expect_message(c.b, "42[\"to\",1]");
    snprintf(text, sizeof text, "42[\"except\",\"%s\",2]", c.id_b);
    raw_send_message(c.a, text);
    raw_expect_message(c.a, "42[\"except\",2]");
    expect_silence_of_both(p, &c);
}

static void a_socket_of_another_server_is_reached_by_its_id(void **state)
{
    a_socket_of_another_server_is_a_room(*state, classic);
}

static void a_socket_of_another_server_is_reached_by_its_id_with_shards(void **state)
{
    a_socket_of_another_server_is_a_room(*state, sharded);
}

static void send_binary(struct pair *p, struct sio_cluster_options options)
{
    struct clients c;

    start_clients(p, &c, options, plain);
    raw_send_message(c.a, "452-[\"all\",{\"_placeholder\":true,\"num\":1},{\"x\":{"
                          "\"_placeholder\":true,\"num\":0}}]");
    raw_send_frame(c.a, RAW_BINARY, "\1\2", 2);
    raw_send_frame(c.a, RAW_BINARY, "", 0);
    raw_expect_message(c.a, "452-[\"all\",{\"_placeholder\":true,\"num\":1},{\"x\":{"
                            "\"_placeholder\":true,\"num\":0}}]");
    expect_binary(c.a, "\1\2", 2);
    expect_binary(c.a, "", 0);
    /* what has crossed the bus is numbered anew */
    raw_expect_message(c.b, "452-[\"all\",{\"_placeholder\":true,\"num\":0},{\"x\":{"
                            "\"_placeholder\":true,\"num\":1}}]");
    expect_binary(c.b, "", 0);
    expect_binary(c.b, "\1\2", 2);
    expect_silence_of_both(p, &c);
}

static void binary_values_reach_all_servers(void **state)
{
    send_binary(*state, classic);
}

static void binary_values_reach_all_servers_that_have_shards(void **state)
{
    send_binary(*state, sharded);
}

static void events_come_in_the_order_in_which_they_were_sent(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char text[64];

    start_clients(p, &c, classic, plain);
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, i % 2 == 0 ? "42[\"all\",%d]" : "42[\"to\",\"x\",%d]", i);
        raw_send_message(c.a, text);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, i % 2 == 0 ? "42[\"all\",%d]" : "42[\"to\",%d]", i);
        raw_expect_message(c.b, text);
        raw_expect_message(c.a, text);
    }
    expect_silence_of_both(p, &c);
}

static void namespaces_know_nothing_of_each_other(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    sio_enter(c.a, "/custom", "", NULL);
    raw_send_message(c.a, "42/custom,[\"all\",1]");
    raw_expect_message(c.a, "42/custom,[\"all\",1]");
    expect_silence_of_both(p, &c);
}

/* What others send to the room of a client that is cut off is not lost to it. */
static void a_client_that_comes_back_gets_what_others_sent_to_its_room(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;
    struct raw_client *b;
    struct raw_frame frame;
    char pid[EIO_ID_SIZE];
    char text[128];

    p->first.recovery_ms = 600000;
    pair_start(p, classic, plain);
    a = sio_open(p->x);
    b = pair_client(p, 1, NULL);
    raw_send_message(a, "40");
    raw_read_frame(a, &frame);
    assert_int_equal(frame.len, strlen("40{\"sid\":\"\",\"pid\":\"\"}") + 2 * EIO_ID_LEN);
    snprintf(pid, sizeof pid, "%.20s", (const char *)frame.payload + 39);
    order(a, "[\"join\",\"mine\"]");
    raw_send_message(b, "42[\"all\",1]");
    raw_expect_message(a, "42[\"all\",1,\"0\"]");
    raw_reset(a);
    wait_connections(p->x->f, 1);
    raw_send_message(b, "42[\"to\",\"mine\",2]");
    raw_expect_message(b, "42[\"all\",1]");
    settle_bus(p);
    a = sio_open(p->x);
    snprintf(text, sizeof text, "40{\"pid\":\"%s\",\"offset\":\"0\"}", pid);
    raw_send_message(a, text);
    raw_expect_message(a, "42[\"to\",2,\"1\"]");
}

/* --- what Node sees --------------------------------------------------------------------------- */

static void publish_some(struct pair *p)
{
    struct sio_namespace *n = pair_main(p, 0);
    struct sio_socket *s = sio_first(n);
    const struct ws_str one = {"\7", 1};
    const struct sio_args binary = {ws_str("{\"_placeholder\":true,\"num\":0}"), &one, 1};

    sio_emit_all(n, "hello", sio_args("1"));
    sio_publish(&(struct sio_target){.nsp = n, .to = SIO_ROOMS("r")}, "hello", sio_args(""));
    sio_publish(
        &(struct sio_target){
            .nsp = n, .to = SIO_ROOMS("a", "b"), .except = SIO_ROOMS("c"), .is_volatile = true},
        "bin", binary);
    sio_broadcast(s, "others", sio_args(""));
    sio_join_all(&(struct sio_target){.nsp = n}, "r1");
    sio_leave_all(&(struct sio_target){.nsp = n, .to = SIO_ROOMS("a"), .except = SIO_ROOMS("b")},
                  "r1");
    sio_disconnect_all(&(struct sio_target){.nsp = n, .to = SIO_ROOMS("a")}, true);
    sio_server_emit(n, "ping", sio_args("1"));
}

static void messages_are_those_of_the_classic_adapter(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char others[256];

    start_clients(p, &c, classic, plain);
    on_pair(p, publish_some);
    settle_bus(p);
    snprintf(others, sizeof others, "\"except\":[\"%s\"]", c.id_a);
    assert_non_null(strstr(p->seen, others));
    p->seen[strstr(p->seen, c.id_a) - p->seen] = '\0';
    expect_seen(
        p, "socket.io#/# [\"*\",{\"type\":2,\"data\":[\"hello\",1],\"nsp\":\"/\"},{\"rooms\":[],"
           "\"except\":[],\"flags\":{}}]\n"
           "socket.io#/#r# [\"*\",{\"type\":2,\"data\":[\"hello\"],\"nsp\":\"/\"},{\"rooms\":["
           "\"r\"],\"except\":[],\"flags\":{}}]\n"
           "socket.io#/# [\"*\",{\"type\":2,\"data\":[\"bin\",{\"_placeholder\":true,\"num\":0}],"
           "\"nsp\":\"/\"},{\"rooms\":[\"a\",\"b\"],\"except\":[\"c\"],\"flags\":{\"volatile\":"
           "true}}]\n");
}

static void do_for_all(struct pair *p)
{
    struct sio_namespace *n = pair_main(p, 0);

    sio_join_all(&(struct sio_target){.nsp = n}, "r1");
    sio_leave_all(&(struct sio_target){.nsp = n, .to = SIO_ROOMS("a"), .except = SIO_ROOMS("b")},
                  "r1");
    sio_disconnect_all(&(struct sio_target){.nsp = n, .to = SIO_ROOMS("a")}, true);
    sio_server_emit(n, "ping", sio_args("1"));
}

static void requests_are_those_of_the_classic_adapter(void **state)
{
    struct pair *p = *state;

    pair_start(p, classic, plain);
    on_pair(p, do_for_all);
    settle_bus(p);
    expect_seen(
        p,
        "socket.io-request#/# {\"uid\":\"*\",\"type\":2,\"opts\":{\"rooms\":[],\"except\":[]},"
        "\"rooms\":[\"r1\"]}\n"
        "socket.io-request#/# {\"uid\":\"*\",\"type\":3,\"opts\":{\"rooms\":[\"a\"],\"except\":["
        "\"b\"]},\"rooms\":[\"r1\"]}\n"
        "socket.io-request#/# {\"uid\":\"*\",\"type\":4,\"opts\":{\"rooms\":[\"a\"],\"except\":[]}"
        ",\"close\":true}\n"
        "socket.io-request#/# {\"uid\":\"*\",\"type\":6,\"data\":[\"ping\",1]}\n");
}

static void requests_are_those_of_the_sharded_adapter(void **state)
{
    struct pair *p = *state;

    p->counted = true;
    pair_start(p, sharded, plain);
    on_pair(p, do_for_all);
    settle_bus(p);
    expect_seen(
        p,
        "socket.io#/# {\"type\":4,\"data\":{\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}},"
        "\"rooms\":[\"r1\"]},\"uid\":\"*\",\"nsp\":\"/\"}\n"
        "socket.io#/# {\"type\":5,\"data\":{\"opts\":{\"rooms\":[\"a\"],\"except\":[\"b\"],"
        "\"flags\":{}},\"rooms\":[\"r1\"]},\"uid\":\"*\",\"nsp\":\"/\"}\n"
        "socket.io#/# {\"type\":6,\"data\":{\"opts\":{\"rooms\":[\"a\"],\"except\":[],\"flags\":"
        "{}},\"close\":true},\"uid\":\"*\",\"nsp\":\"/\"}\n"
        "socket.io#/# {\"type\":9,\"data\":{\"packet\":[\"ping\",1]},\"uid\":\"*\",\"nsp\":\"/\"}"
        "\n");
}

/* --- what Node says --------------------------------------------------------------------------- */

/* [uid, {type:2, data:["hello",1,...], nsp:"/"}, ...], as Node has published it. */
#define HELLO                                                                                      \
    "93a661616161616183a47479706502a46461746194a568656c6c6f01a374776f81a5746872656593c0c3cbbfe000" \
    "0000000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380"
/* to "x", except "y", volatile, with binary, of the emitter */
#define EMITTED                                                                                    \
    "93a7656d697474657283a47479706502a46461746192a362696ec40109a36e7370a12f83a5726f6f6d7391a178a5" \
    "666c61677381a8766f6c6174696c65c3a665786365707491a179"

static void broadcasts_of_node_arrive(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    third_publishes(p, "socket.io#/#", HELLO);
    raw_expect_message(c.a, "42[\"hello\",1,\"two\",{\"three\":[null,true,-0.5]}]");
    raw_expect_message(c.b, "42[\"hello\",1,\"two\",{\"three\":[null,true,-0.5]}]");
    third_publishes(p, "socket.io#/#x#", EMITTED);
    raw_expect_message(c.a, "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]");
    expect_binary(c.a, "\t", 1);
    expect_silence_of_both(p, &c);
}

static void requests_of_node_are_done(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char text[256];

    start_clients(p, &c, classic, plain);
    third_publishes(p, "socket.io-request#/#",
                    "{\"type\":2,\"opts\":{\"rooms\":[\"y\"],\"except\":[]},\"rooms\":[\"n1\",2]}");
    third_publishes(p, "socket.io-request#/#",
                    "{\"uid\":\"z\",\"type\":3,\"opts\":{\"rooms\":[],\"except\":[\"y\"]},"
                    "\"rooms\":[\"x\"]}");
    raw_send_message(c.a, "42[\"to\",\"n1\",1]");
    raw_expect_message(c.b, "42[\"to\",1]");
    raw_send_message(c.a, "42[\"to\",\"2\",2]");
    raw_expect_message(c.b, "42[\"to\",2]");
    raw_send_message(c.a, "42[\"to\",\"x\",3]");
    raw_expect_message(c.b, "42[\"to\",3]");
    expect_silence_of_both(p, &c);
    /* the old form */
    snprintf(text, sizeof text, "{\"requestId\":\"q\",\"type\":2,\"sid\":\"%s\",\"room\":\"old\"}",
             c.id_a);
    third_publishes(p, "socket.io-request#/#", text);
    raw_send_message(c.b, "42[\"to\",\"old\",4]");
    raw_expect_message(c.a, "42[\"to\",4]");
    snprintf(text, sizeof text, "{\"requestId\":\"q\",\"type\":3,\"sid\":\"%s\",\"room\":\"old\"}",
             c.id_a);
    third_publishes(p, "socket.io-request#/#", text);
    raw_send_message(c.b, "42[\"to\",\"old\",5]");
    expect_silence_of_both(p, &c);
    third_publishes(p, "socket.io-request#/#",
                    "{\"type\":4,\"opts\":{\"rooms\":[\"y\"],\"except\":[]},\"close\":true}");
    raw_expect_message(c.b, "41");
    expect_closed(c.b);
    snprintf(text, sizeof text, "{\"requestId\":\"q\",\"type\":4,\"sid\":\"%s\"}", c.id_a);
    third_publishes(p, "socket.io-request#/#", text);
    raw_expect_message(c.a, "41");
}

/* io.except(undefined) and the like: such a value is the name of no room, and nothing else. */
static void a_room_that_is_no_name_is_nobodys(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, sharded, plain);
    third_publishes(p, "socket.io#/#",
                    "{\"type\":3,\"data\":{\"packet\":{\"type\":2,\"data\":[\"e\",1]},\"opts\":{"
                    "\"rooms\":[],\"except\":[null,\"y\",{}]}},\"uid\":\"u\",\"nsp\":\"/\"}");
    raw_expect_message(c.a, "42[\"e\",1]");
    third_publishes(p, "socket.io#/#",
                    "{\"type\":3,\"data\":{\"packet\":{\"type\":2,\"data\":[\"e\",2]},\"opts\":{"
                    "\"rooms\":[null,\"y\",true],\"except\":[]}},\"uid\":\"u\",\"nsp\":\"/\"}");
    raw_expect_message(c.b, "42[\"e\",2]");
    third_publishes(p, "socket.io#/#",
                    "{\"type\":3,\"data\":{\"packet\":{\"type\":2,\"data\":[\"e\",3]},\"opts\":{"
                    "\"rooms\":[null],\"except\":[]}},\"uid\":\"u\",\"nsp\":\"/\"}");
    third_publishes(p, "socket.io#/#",
                    "{\"type\":4,\"data\":{\"opts\":{\"rooms\":[],\"except\":[]},\"rooms\":[null,"
                    "\"z\"]},\"uid\":\"u\",\"nsp\":\"/\"}");
    settle_bus(p);
    raw_send_message(c.a, "42[\"to\",\"z\",4]");
    raw_expect_message(c.a, "42[\"to\",4]");
    raw_expect_message(c.b, "42[\"to\",4]");
    expect_silence_of_both(p, &c);
}

static void what_is_not_meant_for_the_server_is_ignored(void **state)
{
    static const struct {
        const char *channel;
        const char *message;
    } ignored[] = {
        {"socket.io#/#nowhere#", HELLO},
        {"socket.io#/#", ""},
        {"socket.io#/#", "c1"},
        {"socket.io#/#", "93a161"},
        {"socket.io#/#", "{\"type\":2}"},
        /* another namespace */
        {"socket.io#/#", "93a661616161616183a47479706502a46461746191a178a36e7370a52f6368617483a5726"
                         "f6f6d7390a665786365707490a5666c61677380"},
        /* the reserved event "connect" */
        {"socket.io#/#", "93a661616161616183a47479706502a46461746191a7636f6e6e656374a36e7370a12f83a"
                         "5726f6f6d7390a665786365707490a5666c61677380"},
        /* to a room whose name has a NUL in it, which is not the room "x" */
        {"socket.io#/#", "93a661616161616183a47479706502a46461746191a178a36e7370a12f83a5726f6f6d739"
                         "1a27800a665786365707490a5666c61677380"},
        {"socket.io-request#/#", "{"},
        {"socket.io-request#/#", "{\"type\":2}"},
        {"socket.io-request#/#", "{\"type\":12}"},
        {"socket.io-request#/#", "{\"type\":4,\"sid\":\"nobody\",\"requestId\":\"q\"}"},
        {"socket.io-request#/#", "{\"type\":4,\"sid\":\"a name that is longer than any id\"}"},
        {"socket.io-request#/#", "{\"type\":3,\"opts\":{\"rooms\":[]},\"rooms\":[]}"},
        {"socket.io-response#/#", "{\"requestId\":\"unknown\",\"sockets\":[]}"},
        {"socket.io-response#/#", "{"},
    };
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        third_publishes(p, ignored[i].channel, ignored[i].message);
    expect_silence_of_both(p, &c);
}

/* --- acknowledgements of broadcasts ----------------------------------------------------------- */

static void told_reply(void *arg, const struct sio_reply *reply)
{
    struct pair *p = arg;

    if (reply->socket != NULL || reply->is_remote)
        tell(p, "%s%.*s/%zu ", reply->is_remote ? "far:" : "", (int)reply->args.list.len,
             reply->args.list.data, reply->args.attachment_count);
    else
        tell(p, "end:%d %zu of %zu\n", reply->error, reply->received, reply->expected);
}

static void ask_all(struct pair *p)
{
    const struct sio_target all = {.nsp = pair_main(p, 0)};

    assert_true(sio_request_all(&all, "ask", sio_args("5"), 500, told_reply, p) >= 0);
}

static void ask_room_x(struct pair *p)
{
    const struct sio_target x = {.nsp = pair_main(p, 0), .to = SIO_ROOMS("x")};

    assert_true(sio_request_all(&x, "ask", sio_args("5"), 20000, told_reply, p) >= 0);
}

static void ask_nobody(struct pair *p)
{
    const struct sio_target nobody = {.nsp = pair_main(p, 0), .to = SIO_ROOMS("nowhere")};

    assert_int_equal(sio_request_all(&nobody, "ask", sio_args(""), 20000, told_reply, p), 0);
}

static void collect_acknowledgements(struct pair *p, struct sio_cluster_options options)
{
    struct clients c;

    start_clients(p, &c, options, plain);
    on_pair(p, ask_room_x);
    raw_expect_message(c.a, "420[\"ask\",5]");
    raw_expect_message(c.b, "420[\"ask\",5]");
    raw_send_message(c.b, "430[\"b\",2]");
    expect_told(p, "far:\"b\"/0 ");
    raw_send_message(c.a, "430[\"a\",1]");
    expect_told(p, "\"a\",1/0 end:0 2 of 2\n");
    on_pair(p, ask_room_x);
    raw_expect_message(c.a, "421[\"ask\",5]");
    raw_expect_message(c.b, "421[\"ask\",5]");
    raw_send_message(c.a, "431[]");
    raw_send_message(c.b, "461-1[{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(c.b, RAW_BINARY, "\7", 1);
    expect_told(p, "far:{\"_placeholder\":true,\"num\":0}/1 end:0 2 of 2\n");
    on_pair(p, ask_nobody);
    expect_told(p, "end:0 0 of 0\n");
    on_pair(p, ask_all); /* and one is silent */
    raw_expect_message(c.a, "423[\"ask\",5]");
    raw_expect_message(c.b, "423[\"ask\",5]");
    raw_send_message(c.a, "433[]");
    expect_told(p, "/0 end:-16 1 of 2\n");
}

static void acknowledgements_come_from_all_servers(void **state)
{
    collect_acknowledgements(*state, classic);
}

static void acknowledgements_come_from_all_servers_with_shards(void **state)
{
    collect_acknowledgements(*state, sharded);
}

static void acknowledgements_come_on_private_channels(void **state)
{
    collect_acknowledgements(*state, (struct sio_cluster_options){.private_answers = true});
}

/* The own client leaves, that of the other server answers: there is nobody left to wait for. */
static void acknowledgements_end_when_nobody_is_left_to_answer(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_pair(p, ask_room_x);
    raw_expect_message(c.a, "420[\"ask\",5]");
    raw_expect_message(c.b, "420[\"ask\",5]");
    raw_send_message(c.b, "430[1]");
    expect_told(p, "far:1/0 ");
    raw_send_message(c.a, "41");
    expect_told(p, "end:-1 1 of 2\n");
}

static void answer_as_third(struct pair *p, const char *format)
{
    char message[256];
    char id[64];

    lock(p->x->f);
    memcpy(id, p->id, sizeof id);
    unlock(p->x->f);
    snprintf(message, sizeof message, format, id);
    third_publishes(p, "socket.io-response#/#", message);
}

static void a_server_that_does_not_report_costs_the_timeout(void **state)
{
    struct pair *p = *state;

    pair_start(p, classic, plain);
    third_counts(p);
    on_pair(p, ask_all);
    expect_told(p, "end:-16 0 of 0\n");
    on_pair(p, ask_nobody);
    settle_bus(p);
    expect_seen(p, "\"flags\":{\"timeout\":20000}");
    answer_as_third(p, "{\"type\":9,\"requestId\":\"%s\",\"packet\":[1]}"); /* before its report */
    expect_told(p, "far:[1]/0 ");
    answer_as_third(p, "{\"type\":8,\"requestId\":\"%s\",\"clientCount\":2}");
    answer_as_third(p, "{\"type\":9,\"requestId\":\"%s\"}");
    expect_told(p, "far:/0 end:0 2 of 2\n");
    answer_as_third(p, "{\"type\":9,\"requestId\":\"%s\"}"); /* late */
    on_pair(p, ask_nobody);
    settle_bus(p);
    answer_as_third(p, "{\"type\":8,\"requestId\":\"%s\",\"clientCount\":9007199254740991}");
    answer_as_third(p, "{\"type\":8,\"requestId\":\"%s\",\"clientCount\":9007199254740991}");
    assert_string_equal(p->told, "");
}

#define ASK                                                                                        \
    "{\"uid\":\"me\",\"type\":7,\"requestId\":\"rq\",\"packet\":{\"type\":2,\"data\":[\"ask\",1]," \
    "\"nsp\":\"/\"},\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{\"timeout\":"

static void ask_as_third(struct fixture *f, void *arg)
{
    struct pair *p = arg;

    (void)f;
    bus_publish(p->third, BUS_CHANNEL, ws_str("socket.io-request#/#"), ws_str(ASK "5000}}}"));
}

static void clients_are_counted_and_their_answers_told(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_loop(p->x->f, ask_as_third, p);
    raw_expect_message(c.a, "420[\"ask\",1]");
    raw_expect_message(c.b, "420[\"ask\",1]");
    expect_seen(p, "socket.io-response#/# {\"type\":8,\"requestId\":\"*\",\"clientCount\":1}\n");
    raw_send_message(c.a, "430[{\"got\":1},2]");
    expect_seen(p, "socket.io-response#/# {\"type\":9,\"requestId\":\"*\",\"packet\":{\"got\":1}}");
    assert_string_equal(p->id, "rq");
    raw_send_message(c.b, "430[]");
    expect_seen(p, "socket.io-response#/# {\"type\":9,\"requestId\":\"*\"}");
}

static void what_is_owed_to_others_is_bounded(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, (struct sio_cluster_options){.max_owed = 1}, plain);
    on_loop(p->x->f, ask_as_third, p);
    raw_expect_message(c.a, "420[\"ask\",1]");
    raw_expect_message(c.b, "420[\"ask\",1]");
    expect_seen(p, "\"clientCount\":1}");
    settle_bus(p);
    lock(p->x->f);
    p->seen[0] = '\0';
    unlock(p->x->f);
    on_loop(p->x->f, ask_as_third, p); /* not sent, and nobody is waited for */
    expect_seen(p, "\"clientCount\":0}");
    expect_silence_of_both(p, &c);
}

static void a_late_client_is_not_waited_for(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, (struct sio_cluster_options){.max_owed = 1}, plain);
    a = pair_client(p, 0, NULL);
    third_publishes(p, "socket.io-request#/#", ASK "1}}}");
    raw_expect_message(a, "420[\"ask\",1]");
    sleep_ms(20);
    third_publishes(p, "socket.io-request#/#", ASK "1000000000000}}}"); /* there is room again */
    raw_expect_message(a, "421[\"ask\",1]");
    raw_send_message(a, "431[]");
    expect_seen(p, "\"type\":9");
    third_publishes(p, "socket.io-request#/#", ASK "0}}}");
    raw_expect_message(a, "422[\"ask\",1]");
    raw_send_message(a, "432[]");
    expect_seen(p, "\"type\":9");
}

/* What cannot be sent is not owed either. */
static void a_broadcast_that_cannot_be_sent_is_counted_as_none(void **state)
{
    static const char *const bad[] = {
        "{\"uid\":\"me\",\"type\":7,\"requestId\":\"rq\",\"packet\":{\"type\":2,\"data\":["
        "\"connect\"],\"nsp\":\"/\"},\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}}}",
        "{\"uid\":\"me\",\"type\":7,\"requestId\":\"an id of more than sixty-four characters, an "
        "id "
        "of more than sixty-four characters\",\"packet\":{\"type\":2,\"data\":[\"x\"],\"nsp\":\"/"
        "\"},\"opts\":{\"rooms\":[],\"except\":[],\"flags\":{}}}"};
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, (struct sio_cluster_options){.max_owed = 1}, plain);
    a = pair_client(p, 0, NULL);
    for (size_t i = 0; i < COUNT(bad); i++) {
        third_publishes(p, "socket.io-request#/#", bad[i]);
        expect_silence(a);
    }
    on_loop(p->x->f, ask_as_third, p);
    expect_seen(p, "\"clientCount\":1}");
    raw_expect_message(a, "421[\"ask\",1]");
    raw_send_message(a, "431[]");
    expect_seen(p, "\"type\":9");
}

/* A timeout in Node may be any number, and a receiver there does not look at it. */
static void a_broadcast_with_an_odd_timeout_is_sent(void **state)
{
    static const char *const odd[] = {ASK "20000.5}}}", ASK "-1}}}", ASK "1e300}}}", ASK "null}}}",
                                      ASK "\"x\"}}}"};
    struct pair *p = *state;
    struct raw_client *a;
    char text[64];

    pair_start(p, classic, plain);
    a = pair_client(p, 0, NULL);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        third_publishes(p, "socket.io-request#/#", odd[i]);
        snprintf(text, sizeof text, "42%zu[\"ask\",1]", i);
        raw_expect_message(a, text);
        snprintf(text, sizeof text, "43%zu[]", i);
        raw_send_message(a, text);
        expect_seen(p, "\"type\":9");
    }
}

/* --- sockets of all servers ------------------------------------------------------------------- */

static void write_token(struct sio_socket *s, struct json_writer *w)
{
    (void)s;
    json_begin_object(w);
    json_write_name(w, "user");
    json_write_integer(w, 12);
    json_end_object(w);
}

static void told_socket(void *arg, const struct sio_remote *s, int error)
{
    struct pair *p = arg;
    int64_t issued = 0;

    if (s == NULL) {
        tell(p, "end:%d\n", error);
        return;
    }
    if (s->handshake.data != NULL)
        assert_true(json_integer(json_member(s->handshake, "issued"), &issued));
    tell(p, "%s %s rooms=%.*s data=%.*s auth=%.*s query=%.*s address=%.*s; ",
         s->socket != NULL ? "own" : "far", s->id, (int)s->rooms.len, s->rooms.data,
         (int)s->data.len, s->data.data, (int)json_member(s->handshake, "auth").len,
         json_member(s->handshake, "auth").data, (int)json_member(s->handshake, "query").len,
         json_member(s->handshake, "query").data, (int)json_member(s->handshake, "address").len,
         json_member(s->handshake, "address").data);
}

static void fetch_all(struct pair *p)
{
    assert_int_equal(sio_fetch(&(struct sio_target){.nsp = pair_main(p, 0)}, 300, told_socket, p),
                     0);
}

static void fetch_y(struct pair *p)
{
    const struct sio_target y = {.nsp = pair_main(p, 0), .to = SIO_ROOMS("y")};

    assert_int_equal(sio_fetch(&y, 0, told_socket, p), 0);
}

static void fetch_x(struct pair *p)
{
    const struct sio_target x = {.nsp = pair_main(p, 0), .to = SIO_ROOMS("x")};

    assert_int_equal(sio_fetch(&x, 0, told_socket, p), 0);
}

static void fetch_own(struct pair *p)
{
    const struct sio_target own = {.nsp = pair_main(p, 0), .is_local = true};

    assert_int_equal(sio_fetch(&own, 0, told_socket, p), 0);
}

static void fetch(struct pair *p, struct sio_cluster_options options)
{
    struct clients c;
    char own[512];
    char far[512];
    char all[1100];

    start_clients(p, &c, options, (struct sio_handlers){.write_data = write_token});
    snprintf(own, sizeof own,
             "own %s rooms=\"%s\",\"x\" data={\"user\":12} auth={} "
             "query={\"EIO\":\"4\",\"transport\":\"websocket\"} address=\"127.0.0.1\"; ",
             c.id_a, c.id_a);
    snprintf(far, sizeof far,
             "far %s rooms=\"%s\",\"y\",\"x\" data={\"user\":12} auth={\"token\":7} "
             "query={\"EIO\":\"4\",\"transport\":\"websocket\",\"name\":\"a b\"} "
             "address=\"127.0.0.1\"; ",
             c.id_b, c.id_b);
    snprintf(all, sizeof all, "%s%send:0\n", own, far);
    on_pair(p, fetch_all);
    expect_told(p, all);
    snprintf(all, sizeof all, "%send:0\n", far);
    on_pair(p, fetch_y);
    expect_told(p, all);
    snprintf(all, sizeof all, "%send:0\n", own);
    on_pair(p, fetch_own);
    expect_told(p, all);
}

static void sockets_of_all_servers_are_told(void **state)
{
    fetch(*state, classic);
}

static void sockets_of_all_servers_are_told_with_shards(void **state)
{
    fetch(*state, sharded);
}

static void told_handshake(void *arg, const struct sio_remote *s, int error)
{
    struct ws_str headers;
    struct ws_str address;

    if (s == NULL) {
        tell(arg, "end:%d\n", error);
        return;
    }
    headers = json_member(s->handshake, "headers");
    address = json_member(s->handshake, "address");
    tell(arg, "%.*s %.*s ", (int)headers.len, headers.data, (int)address.len, address.data);
}

static void fetch_handshakes(struct pair *p)
{
    const struct sio_target own = {.nsp = pair_main(p, 0), .is_local = true};

    assert_int_equal(sio_fetch(&own, 0, told_handshake, p), 0);
}

/* A name of 128 characters. */
#define LONG_NAME                                                                                  \
    "Long-name-Long-name-Long-name-Long-name-Long-name-Long-name-Long"                             \
    "Long-name-Long-name-Long-name-Long-name-Long-name-Long-name-Long"

static void headers_that_are_kept_are_told_in_lower_case(void **state)
{
    static const char *const kept[] = {"X-Name", "Nobody-Sends-It", LONG_NAME, NULL};
    static const char *const proxies[] = {"127.0.0.1", NULL};
    struct pair *p = *state;
    struct raw_client *c;
    struct raw_response response;
    struct raw_frame frame;

    p->first.keep_headers = kept;
    p->x->trust_proxy = proxies;
    pair_start(p, classic, plain);
    c = client(p->x->f, "behind a proxy");
    raw_send_upgrade(c, "/engine.io/?EIO=4&transport=websocket",
                     "X-NAME: Ann\r\nX-Forwarded-For: [2001:db8::7]:81\r\n" LONG_NAME ": x\r\n");
    raw_expect_upgraded(c, &response);
    raw_read_frame(c, &frame);
    sio_enter(c, "/", "", NULL);
    on_pair(p, fetch_handshakes);
    expect_told(p, "{\"x-name\":\"Ann\"} \"2001:db8::7\" end:0\n");
}

/* It ends the room that is walked, and walks others. */
static void leave_while_writing(struct sio_socket *s, struct json_writer *w)
{
    const struct sio_target all = {.nsp = sio_socket_namespace(s), .is_local = true};

    sio_leave_all(&all, "x");
    sio_publish(&all, "written", sio_args(""));
    json_write_integer(w, 1);
}

static void data_may_be_written_by_who_changes_rooms(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char expected[512];
    char id[EIO_ID_SIZE];

    start_clients(p, &c, classic, (struct sio_handlers){.write_data = leave_while_writing});
    order(pair_client(p, 1, id), "[\"join\",\"x\"]");
    on_pair(p, fetch_x);
    settle_bus(p);
    snprintf(expected, sizeof expected, "far %s rooms=\"%s\"", c.id_b, c.id_b);
    assert_non_null(strstr(p->told, expected));
    snprintf(expected, sizeof expected, "far %s rooms=\"%s\"", id, id);
    assert_non_null(strstr(p->told, expected));
    expect_told(p, "end:0\n");
}

enum { DEEP = 120 }; /* what is nested deeper does not fit into an answer */

/* An array of arrays; `out` has 2 * depth + 1 bytes. */
static char *nest(char *out, size_t depth)
{
    memset(out, '[', depth);
    memset(out + depth, ']', depth);
    out[2 * depth] = '\0';
    return out;
}

static void write_deep(struct sio_socket *s, struct json_writer *w)
{
    char deep[2 * DEEP + 3];

    (void)s;
    json_write_raw(w, ws_str(nest(deep, DEEP + 1)));
}

static void fetch_second(struct pair *p)
{
    const struct sio_target own = {.nsp = pair_main(p, 1), .is_local = true};

    assert_int_equal(sio_fetch(&own, 0, told_socket, p), 0);
}

static void enter_with_depth(struct pair *p, size_t depth)
{
    struct raw_client *c = client(p->x->f, "second");
    struct raw_frame frame;
    char deep[2 * JSON_DEPTH_MAX];
    char enter[2 * JSON_DEPTH_MAX + 16];

    snprintf(enter, sizeof enter, "40{\"x\":%s}", nest(deep, depth - 1));
    raw_upgrade(c, "/second/?EIO=4&transport=websocket");
    raw_read_frame(c, &frame);
    raw_send_message(c, enter);
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "40{\"sid\":", 9);
}

/* A client decides how deep its auth is nested. It neither hides itself nor the others so. */
static void what_is_nested_too_deep_hides_nobody(struct pair *p, struct sio_cluster_options options)
{
    char deep[2 * DEEP];
    char expected[2 * DEEP + 64];

    pair_start(p, options, (struct sio_handlers){.write_data = write_deep});
    enter_with_depth(p, DEEP);
    snprintf(expected, sizeof expected, " data={} auth={\"x\":%s} query=", nest(deep, DEEP - 1));
    on_pair(p, fetch_second);
    expect_told(p, expected);
    on_pair(p, fetch_all);
    expect_told(p, expected);
    enter_with_depth(p, JSON_DEPTH_MAX);
    on_pair(p, fetch_second);
    expect_told(p, " data={} auth={} query=");
    on_pair(p, fetch_all);
    settle_bus(p);
    assert_non_null(strstr(p->told, expected));
    expect_told(p, " data={} auth={} query=");
}

static void deep_values_do_not_hide_sockets(void **state)
{
    what_is_nested_too_deep_hides_nobody(*state, classic);
}

static void deep_values_do_not_hide_sockets_with_shards(void **state)
{
    what_is_nested_too_deep_hides_nobody(*state, sharded);
}

static void a_silent_server_costs_the_timeout_and_nothing_else(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    third_counts(p);
    a = pair_client(p, 0, NULL);
    on_pair(p, fetch_all);
    expect_told(p, "end:-16\n");
    expect_silence(a);
    on_pair(p, fetch_y);
    settle_bus(p);
    answer_as_third(
        p, "{\"requestId\":\"%s\",\"sockets\":[1,{},{\"id\":1},{\"id\":\"q\"},{\"id\":\"\",\"rooms"
           "\":[]},{\"id\":\"s\",\"rooms\":{}},{\"id\":\"good\",\"rooms\":[\"r\"]}]}");
    expect_told(p, "far good rooms=\"r\" data= auth= query= address=; end:0\n");
}

static void an_answer_to_another_question_does_not_count(void **state)
{
    struct pair *p = *state;

    pair_start(p, classic, plain);
    third_counts(p);
    on_pair(p, fetch_y);
    settle_bus(p);
    answer_as_third(p, "{\"requestId\":\"%s\",\"rooms\":[\"q\"]}");
    assert_string_equal(p->told, "");
    answer_as_third(p, "{\"requestId\":\"%s\",\"sockets\":[]}");
    expect_told(p, "end:0\n");
}

struct asking {
    struct pair *p;
    const char *channel;
    const char *message;
};

static void publish_now(struct fixture *f, void *arg)
{
    struct asking *a = arg;

    (void)f;
    bus_publish(a->p->third, BUS_CHANNEL, ws_str(a->channel), ws_str(a->message));
}

static void third_asks(struct pair *p, const char *message)
{
    struct asking a = {p, "socket.io-request#/#", message};

    lock(p->x->f);
    p->seen[0] = '\0';
    unlock(p->x->f);
    on_loop(p->x->f, publish_now, &a);
}

static void lists_for_node_are_those_of_node(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char expected[256];

    start_clients(p, &c, classic, plain);
    third_asks(p, "{\"uid\":\"me\",\"type\":0,\"requestId\":\"r0\",\"rooms\":[\"y\"]}");
    snprintf(expected, sizeof expected,
             "socket.io-response#/# {\"requestId\":\"*\",\"sockets\":[\"%s\"]}\n", c.id_b);
    expect_seen(p, expected);
    third_asks(p, "{\"uid\":\"me\",\"type\":1,\"requestId\":\"r1\"}");
    snprintf(expected, sizeof expected,
             "socket.io-response#/# {\"requestId\":\"*\",\"rooms\":[\"%s\",\"x\"]}\n", c.id_a);
    expect_seen(p, expected);
    third_asks(p, "{\"uid\":\"me\",\"type\":5,\"requestId\":\"r2\",\"opts\":{\"rooms\":[\"z\"]}}");
    expect_seen(p, "socket.io-response#/# {\"requestId\":\"*\",\"sockets\":[]}\n");
}

static void answers_are_bounded(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char id[EIO_ID_SIZE];
    char expected[256];

    start_clients(p, &c, (struct sio_cluster_options){.max_answer = 2 * EIO_ID_LEN}, plain);
    pair_client(p, 0, id);
    third_asks(p, "{\"uid\":\"me\",\"type\":1,\"requestId\":\"r1\"}");
    snprintf(expected, sizeof expected, "\"rooms\":[\"%s\"]}", c.id_a);
    expect_seen(p, expected);
    third_asks(p, "{\"uid\":\"me\",\"type\":0,\"requestId\":\"r2\",\"rooms\":[]}");
    snprintf(expected, sizeof expected, "\"sockets\":[\"%s\"]}", c.id_a);
    expect_seen(p, expected);
}

static void a_list_of_rooms_ends_before_a_name_for_which_there_is_no_space(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char expected[256];

    start_clients(p, &c, (struct sio_cluster_options){.max_answer = EIO_ID_LEN + 5}, plain);
    third_asks(p, "{\"uid\":\"me\",\"type\":1,\"requestId\":\"r1\"}");
    snprintf(expected, sizeof expected, "\"rooms\":[\"%s\"]}", c.id_a);
    expect_seen(p, expected);
}

static void bound_bus(struct pair *p)
{
    loop_bus_bound(p->bus[1], 100);
}

/* The bus may take less than max_answer. */
static void an_answer_that_the_bus_does_not_take_is_empty(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_pair(p, bound_bus);
    third_asks(p, "{\"uid\":\"me\",\"type\":5,\"requestId\":\"r1\",\"opts\":{\"rooms\":[\"y\"]}}");
    expect_seen(p, "socket.io-response#/# {\"requestId\":\"*\",\"sockets\":[]}\n"
                   "socket.io-response#/# {\"requestId\":\"*\",\"sockets\":[]}\n");
}

static void told_room(void *arg, struct ws_str room, int error)
{
    struct pair *p = arg;

    if (room.data != NULL)
        tell(p, "%.*s ", (int)(room.len == EIO_ID_LEN ? 2 : room.len),
             room.len == EIO_ID_LEN ? "id" : room.data);
    else
        tell(p, "end:%d\n", error);
}

static void ask_for_rooms(struct pair *p)
{
    const struct sio_target all = {.nsp = pair_main(p, 0)};

    assert_int_equal(sio_rooms(&all, 300, told_room, p), 0);
}

static void ask_for_own_rooms(struct pair *p)
{
    const struct sio_target own = {.nsp = pair_main(p, 0), .is_local = true};

    assert_int_equal(sio_rooms(&own, 300, told_room, p), 0);
}

static void rooms_of_all_servers_are_told_once(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_pair(p, ask_for_rooms);
    settle_bus(p);
    expect_told(p, "id x id y end:0\n");
    p->seen[0] = '\0';
    on_pair(p, ask_for_own_rooms);
    expect_told(p, "id x end:0\n");
    expect_nothing_seen(p);
    third_counts(p);
    on_pair(p, ask_for_rooms);
    settle_bus(p);
    answer_as_third(p, "{\"requestId\":\"%s\",\"rooms\":[\"x\",\"new\",3,\"new\"]}");
    expect_told(p, "new 3 end:0\n");
    on_pair(p, ask_for_rooms);
    expect_told(p, "end:-16\n");
}

static void fetch_own_and_disconnect(struct pair *p)
{
    fetch_own(p);
    sio_disconnect(sio_first(pair_main(p, 0)), false);
}

static void who_has_left_in_between_is_not_told(void **state)
{
    struct pair *p = *state;
    char ids[2][EIO_ID_SIZE];
    char expected[2][64];

    pair_start(p, classic, plain);
    for (int i = 0; i < 2; i++) {
        pair_client(p, 0, ids[i]);
        snprintf(expected[i], sizeof expected[i], "own %s ", ids[i]);
    }
    on_pair(p, fetch_own_and_disconnect);
    settle_bus(p);
    assert_true((strstr(p->told, expected[0]) != NULL) != (strstr(p->told, expected[1]) != NULL));
    expect_told(p, "end:0\n");
}

static void with_shards_only_own_rooms_are_told(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, sharded, plain);
    on_pair(p, ask_for_rooms);
    expect_told(p, "id x end:0\n");
}

/* --- events between servers ------------------------------------------------------------------- */

static struct pair *pair_of(struct sio_namespace *n)
{
    struct sio_fixture *x = sio_user(sio_namespace_server(n));

    return (struct pair *)x->f->account; /* the tests here use no account */
}

static void on_server_event(struct sio_namespace *n, const struct sio_server_event *e)
{
    struct pair *p = pair_of(n);

    tell(p, "%d:%.*s %.*s ", n == pair_main(p, 0) ? 0 : 1, (int)e->name.len, e->name.data,
         (int)e->args.list.len, e->args.list.data);
    if (json_string_is(e->name, "silent"))
        return;
    if (json_string_is(e->name, "wrong"))
        assert_int_equal(sio_server_answer(e->ack, sio_args("]")), WS_ERR_INVALID);
    else
        sio_server_answer(e->ack, e->args);
    assert_int_equal(sio_server_answer(e->ack, e->args), WS_ERR_CLOSED); /* only once */
}

static void emit_to_servers(struct pair *p)
{
    assert_int_equal(sio_server_emit(pair_main(p, 0), "ping", sio_args("1,[2]")), 0);
    assert_int_equal(sio_server_emit(pair_main(p, 0), NULL, sio_args("")), WS_ERR_INVALID);
    assert_int_equal(sio_server_emit(pair_main(p, 0), "x", sio_args("]")), WS_ERR_INVALID);
}

static void ask_servers(struct pair *p)
{
    assert_int_equal(sio_server_request(pair_main(p, 1), "sum", sio_args("1"), 300, told_reply, p),
                     0);
}

static void ask_servers_in_vain(struct pair *p)
{
    assert_int_equal(
        sio_server_request(pair_main(p, 1), "silent", sio_args("1"), 50, told_reply, p), 0);
}

static void ask_servers_wrongly(struct pair *p)
{
    struct sio_namespace *n = pair_main(p, 1);

    assert_int_equal(sio_server_request(n, "wrong", sio_args("1"), 50, told_reply, p), 0);
    assert_int_equal(sio_server_request(n, "sum", sio_args("]"), 50, told_reply, p),
                     WS_ERR_INVALID);
}

static void ask_servers_with_binary(struct pair *p)
{
    const struct ws_str one = {"\7\0", 2};
    const struct sio_args args = {ws_str("{\"_placeholder\":true,\"num\":0}"), &one, 1};

    assert_int_equal(sio_server_request(pair_main(p, 1), "bin", args, 300, told_reply, p), 0);
}

static void speak_with_servers(struct pair *p, struct sio_cluster_options options)
{
    p->x->f->account = (struct ws_account *)p;
    pair_start(p, options, (struct sio_handlers){.on_server_event = on_server_event});
    on_pair(p, emit_to_servers);
    expect_told(p, "1:\"ping\" 1,[2] ");
    on_pair(p, ask_servers);
    expect_told(p, "0:\"sum\" 1 far:1/0 end:0 1 of 1\n");
    on_pair(p, ask_servers_in_vain);
    expect_told(p, "0:\"silent\" 1 end:-16 0 of 1\n");
    on_pair(p, ask_servers_wrongly);
    expect_told(p, "0:\"wrong\" 1 end:-16 0 of 1\n");
    on_pair(p, ask_servers_with_binary);
    expect_told(p, "0:\"bin\" {\"_placeholder\":true,\"num\":0} "
                   "far:{\"_placeholder\":true,\"num\":0}/1 end:0 1 of 1\n");
    p->x->f->account = NULL;
}

static void servers_speak_with_each_other(void **state)
{
    speak_with_servers(*state, classic);
}

static void servers_speak_with_each_other_by_shards(void **state)
{
    speak_with_servers(*state, sharded);
}

static void a_question_that_nobody_hears_is_answered(void **state)
{
    struct pair *p = *state;

    pair_start(p, classic, plain);
    on_pair(p, ask_servers);
    expect_told(p, "far:/0 end:0 1 of 1\n");
    third_asks(p, "{\"uid\":\"me\",\"type\":6,\"requestId\":\"r\",\"data\":[\"ping\"]}");
    expect_seen(p, "socket.io-response#/# {\"type\":6,\"requestId\":\"*\"}\n");
    /* an id that is too long is not answered */
    third_asks(p, "{\"uid\":\"me\",\"type\":6,\"requestId\":\"1234567890123456789012345678901234567"
                  "890123456789012345678901234567890\",\"data\":[\"ping\"]}");
    settle_bus(p);
    assert_null(strstr(p->seen, "response"));
}

/* --- joining, leaving, disconnecting ---------------------------------------------------------- */

static void join_both(struct pair *p)
{
    const struct sio_target all = {.nsp = pair_main(p, 0)};
    char name[1026];

    assert_int_equal(sio_join_all(&all, "j"), 0);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(sio_join_all(&all, name), WS_ERR_INVALID);
}

static void leave_of_second(struct pair *p)
{
    sio_leave_all(&(struct sio_target){.nsp = pair_main(p, 0), .to = SIO_ROOMS("y")}, "j");
}

static void join_own(struct pair *p)
{
    const struct sio_target own = {.nsp = pair_main(p, 0), .is_local = true};

    assert_int_equal(sio_join_all(&own, "own"), 0);
    sio_publish(&own, "local", sio_args("1"));
}

static void disconnect_both(struct pair *p)
{
    sio_disconnect_all(&(struct sio_target){.nsp = pair_main(p, 0)}, false);
}

static void act_on_all(struct pair *p, struct sio_cluster_options options)
{
    struct clients c;

    start_clients(p, &c, options, plain);
    on_pair(p, join_both);
    settle_bus(p);
    raw_send_message(c.a, "42[\"to\",\"j\",1]");
    raw_expect_message(c.a, "42[\"to\",1]");
    raw_expect_message(c.b, "42[\"to\",1]");
    on_pair(p, leave_of_second);
    settle_bus(p);
    raw_send_message(c.a, "42[\"to\",\"j\",2]");
    raw_expect_message(c.a, "42[\"to\",2]");
    on_pair(p, join_own);
    settle_bus(p);
    raw_expect_message(c.a, "42[\"local\",1]");
    raw_send_message(c.b, "42[\"to\",\"own\",3]");
    raw_expect_message(c.a, "42[\"to\",3]");
    expect_silence_of_both(p, &c);
    on_pair(p, disconnect_both);
    raw_expect_message(c.a, "41");
    raw_expect_message(c.b, "41");
}

static void sockets_of_all_servers_join_and_leave(void **state)
{
    act_on_all(*state, classic);
}

static void sockets_of_all_servers_join_and_leave_with_shards(void **state)
{
    act_on_all(*state, sharded);
}

static void what_is_local_is_not_published(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    a = pair_client(p, 0, NULL);
    on_pair(p, join_own);
    raw_expect_message(a, "42[\"local\",1]");
    expect_nothing_seen(p);
}

/* --- the bus ---------------------------------------------------------------------------------- */

static void bus_down(struct pair *p)
{
    loop_bus_set_up(p->bus[0], false);
}

static void bus_up(struct pair *p)
{
    loop_bus_set_up(p->bus[0], true);
}

static void without_the_bus_all_that_is_local_goes_on(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_pair(p, bus_down);
    raw_send_message(c.a, "42[\"all\",1]");
    raw_expect_message(c.a, "42[\"all\",1]");
    on_pair(p, fetch_own);
    expect_told(p, "end:0\n");
    on_pair(p, fetch_all);
    expect_told(p, "end:-1\n");
    on_pair(p, ask_nobody);
    expect_told(p, "end:-1 0 of 0\n");
    on_pair(p, bus_up);
    settle_bus(p);
    raw_send_message(c.a, "42[\"all\",2]");
    raw_expect_message(c.a, "42[\"all\",2]");
    raw_expect_message(c.b, "42[\"all\",2]");
    expect_silence_of_both(p, &c);
}

static void publish_when_full(struct pair *p)
{
    struct sio_namespace *n = pair_main(p, 0);
    char deep[2 * 126 + 1] = "";

    memset(deep, '[', 126);
    memset(deep + 126, ']', 126);
    assert_int_equal(sio_emit_all(n, "deep", sio_args(deep)), WS_ERR_INVALID);
    loop_bus_fail(p->bus[0], WS_ERR_FULL);
    assert_int_equal(sio_emit_all(n, "x", sio_args("")), WS_ERR_FULL);
    assert_int_equal(sio_join_all(&(struct sio_target){.nsp = n}, "j"), WS_ERR_FULL);
    assert_int_equal(sio_fetch(&(struct sio_target){.nsp = n}, 0, told_socket, p), WS_ERR_FULL);
    assert_int_equal(sio_rooms(&(struct sio_target){.nsp = n}, 0, told_room, p), WS_ERR_FULL);
    assert_int_equal(sio_server_emit(n, "x", sio_args("")), WS_ERR_FULL);
    assert_int_equal(sio_server_request(n, "x", sio_args(""), 0, told_reply, p), WS_ERR_FULL);
    assert_int_equal(
        sio_request_all(&(struct sio_target){.nsp = n}, "x", sio_args(""), 1, told_reply, p),
        WS_ERR_FULL);
    loop_bus_fail(p->bus[0], 0);
}

static void what_the_bus_does_not_take_is_sent_to_nobody(void **state)
{
    struct pair *p = *state;
    struct clients c;

    start_clients(p, &c, classic, plain);
    on_pair(p, publish_when_full);
    expect_silence_of_both(p, &c);
    assert_string_equal(p->told, "");
}

/* --- coming and going ------------------------------------------------------------------------- */

static bool any_name(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    (void)auth;
    return name.len > 1 && name.data[1] == '[';
}

static void add_rule(struct pair *p)
{
    const struct sio_handlers h = {.on_event = sio_obey};

    assert_int_equal(sio_namespace_rule(p->io[0], any_name, &h), 0);
}

static void remember_memory(struct pair *p)
{
    p->x->memory = ws_server_stats(p->x->f->server).buffered;
}

static void count_subscriptions(struct pair *p)
{
    tell(p, "%zu", loop_bus_told(p->bus[0]));
}

/* The last socket of "/[once]" leaves, so that it ends. */
static void ask_for_rooms_and_disconnect(struct pair *p)
{
    const struct sio_target own = {.nsp = sio_namespace_find(p->io[0], "/[once]"),
                                   .is_local = true};

    assert_int_equal(sio_rooms(&own, 300, told_room, p), 0);
    sio_disconnect(sio_first(own.nsp), false);
}

static void a_namespace_that_has_ended_in_between_has_no_rooms(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    on_pair(p, add_rule);
    a = pair_client(p, 0, NULL);
    sio_enter(a, "/[once]", "", NULL);
    on_pair(p, ask_for_rooms_and_disconnect);
    raw_expect_message(a, "41/[once],");
    expect_told(p, "end:0\n");
    settle_bus(p);
    p->x->keeps = true; /* tables that have grown */
}

/* The name has a special meaning in a pattern, which must not matter. */
static void namespaces_of_rules_come_and_go(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    on_pair(p, add_rule);
    sio_enter(pair_client(p, 0, NULL), "/[once]", "", NULL);
    raw_close(&p->x->f->clients[0]);
    wait_connections(p->x->f, 0);
    settle_bus(p);
    on_pair(p, remember_memory); /* with tables that have grown */
    a = pair_client(p, 0, NULL);
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "8");
    sio_enter(a, "/[a*]", "", NULL);
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "12");
    third_publishes(p, "socket.io#/[a*]#",
                    "93a661616161616183a47479706502a46461746191a178a36e7370a52f5b612a5d83a5726f6f6d"
                    "7390a665786365707490a5666c61677380");
    raw_expect_message(a, "42/[a*],[\"x\"]");
    third_publishes(p, "socket.io#/a#", HELLO);
    raw_send_message(a, "41/[a*],");
    expect_silence(a);
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "8");
}

static void with_shards_rooms_are_subscribed_to_while_they_exist(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, sharded, plain);
    a = pair_client(p, 0, NULL);
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "4");
    order(a, "[\"join\",\"r\"]");
    order(a, "[\"join\",\"12345678901234567890\"]"); /* is taken for an id */
    order(a, "[\"join\",\"123456789012345678\xf0\x9f\x90\x9f\"]");
    order(a, "[\"join\",\"1234567890123456789\xc3\xa4\xc3\xa4\"]");
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "6");
    third_publishes(p, "socket.io#/#r#",
                    "{\"type\":3,\"data\":{\"packet\":{\"type\":2,\"data\":[\"hi\"]},\"opts\":{"
                    "\"rooms\":[\"r\"],\"except\":[],\"flags\":{}}},\"uid\":\"u\",\"nsp\":\"/\"}");
    raw_expect_message(a, "42[\"hi\"]");
    order(a, "[\"leave\",\"r\"]");
    settle_bus(p);
    on_pair(p, count_subscriptions);
    expect_told(p, "5");
}

static void note_uid(void *arg, struct ws_str channel, struct ws_str data)
{
    struct ws_str uid = json_member(json_parse(data), "uid");

    (void)channel;
    tell(arg, "%.*s", (int)uid.len, uid.data);
}

static void note_uids(struct pair *p)
{
    bus_subscribe(p->third, BUS_SHARD, ws_str("socket.io#/#"), note_uid, p);
}

static void ping(struct pair *p)
{
    assert_int_equal(sio_server_emit(pair_main(p, 0), "ping", sio_args("")), 0);
}

static void stop_noting(struct pair *p)
{
    bus_unsubscribe(bus_find(p->third, BUS_SHARD, ws_str("socket.io#/#"), note_uid, p));
}

/* A room that is called as the server itself: its channel is there already, and stays. */
static void with_shards_a_room_may_have_the_id_of_the_server(void **state)
{
    struct pair *p = *state;
    struct clients c;
    char uid[32];
    char text[256];

    start_clients(p, &c, sharded, plain);
    on_pair(p, note_uids);
    settle_bus(p);
    on_pair(p, ping);
    settle_bus(p);
    snprintf(uid, sizeof uid, "%.20s", p->told);
    assert_int_equal(strlen(uid), 18);
    p->told[0] = '\0';
    on_pair(p, stop_noting);
    snprintf(text, sizeof text,
             "{\"type\":4,\"data\":{\"opts\":{\"rooms\":[],\"except\":[]},\"rooms\":[%s]},"
             "\"uid\":\"u\",\"nsp\":\"/\"}",
             uid);
    third_publishes(p, "socket.io#/#", text);
    snprintf(text, sizeof text, "42[\"to\",%s,1]", uid);
    raw_send_message(c.b, text);
    raw_expect_message(c.a, "42[\"to\",1]");
    raw_expect_message(c.b, "42[\"to\",1]");
    expect_silence_of_both(p, &c);
    snprintf(text, sizeof text,
             "{\"type\":5,\"data\":{\"opts\":{\"rooms\":[],\"except\":[]},\"rooms\":[%s]},"
             "\"uid\":\"u\",\"nsp\":\"/\"}",
             uid);
    third_publishes(p, "socket.io#/#", text);
    on_pair(p, fetch_y); /* the answer comes by the channel */
    expect_told(p, "end:0\n");
}

static void leave_first(struct pair *p)
{
    sio_cluster_free(p->cluster[0]);
    p->cluster[0] = NULL;
    p->x->memory = 0;
}

static void whoever_leaves_the_cluster_is_alone(void **state)
{
    struct pair *p = *state;
    struct clients c;

    pair_start(p, classic, plain);
    on_pair(p, leave_first);
    settle_bus(p);
    on_pair(p, remember_memory);
    c.a = pair_client(p, 0, NULL);
    c.b = pair_client(p, 1, NULL);
    raw_send_message(c.a, "42[\"all\",1]");
    raw_expect_message(c.a, "42[\"all\",1]");
    raw_send_message(c.b, "42[\"all\",2]");
    raw_expect_message(c.b, "42[\"all\",2]");
    on_pair(p, fetch_all);
    expect_told(p, "end:0\n");
    expect_silence_of_both(p, &c);
}

static void an_acknowledgement_after_leaving_is_told_to_nobody(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    a = pair_client(p, 0, NULL);
    on_loop(p->x->f, ask_as_third, p);
    raw_expect_message(a, "420[\"ask\",1]");
    on_pair(p, leave_first);
    settle_bus(p);
    p->seen[0] = '\0';
    raw_send_message(a, "430[1]");
    expect_silence(a);
    expect_nothing_seen(p);
    p->x->keeps = true;
}

static void add_namespace(struct pair *p)
{
    const struct sio_handlers h = {.on_event = sio_obey};

    assert_non_null(sio_namespace_new(p->io[0], "/late", &h));
}

static void whoever_left_the_cluster_may_have_new_namespaces(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    on_pair(p, leave_first);
    on_pair(p, add_namespace);
    a = pair_client(p, 0, NULL);
    sio_enter(a, "/late", "", NULL);
    raw_send_message(a, "42/late,[\"all\",1]");
    raw_expect_message(a, "42/late,[\"all\",1]");
    p->x->keeps = true;
}

/* Its channel for answers would be nobody's. */
static void with_shards_an_id_that_is_too_long_gets_no_answer(void **state)
{
    struct pair *p = *state;

    pair_start(p, sharded, plain);
    third_publishes(
        p, "socket.io#/#",
        "{\"uid\":\"an id of more than sixty-four characters, an id of more than "
        "sixty-four characters\",\"nsp\":\"/\",\"type\":7,\"data\":{\"requestId\":\"r\","
        "\"opts\":{\"rooms\":[],\"except\":[]}}}");
    expect_nothing_seen(p);
    third_publishes(p, "socket.io#/#",
                    "{\"uid\":\"me\",\"nsp\":\"/\",\"type\":7,\"data\":{"
                    "\"requestId\":\"r\",\"opts\":{\"rooms\":[],\"except\":[]}}}");
}

/* A client that comes later does not get what was sent before. */
static void a_server_without_clients_keeps_no_broadcasts(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    third_publishes(p, "socket.io#/#", HELLO);
    a = pair_client(p, 0, NULL);
    expect_silence(a);
    third_publishes(p, "socket.io#/#", HELLO);
    raw_expect_message(a, "42[\"hello\",1,\"two\",{\"three\":[null,true,-0.5]}]");
}

/* All kinds of questions wait when the servers end; each is told once. */
static void questions_end_with_the_server(void **state)
{
    struct pair *p = *state;
    struct sio_fixture *x = p->x;

    pair_create(p, classic, plain);
    fetch_y(p);
    ask_nobody(p);
    ask_for_rooms(p);
    ask_servers(p);
    for (int i = 0; i < 2; i++) {
        sio_cluster_free(p->cluster[i]);
        bus_free(p->bus[i]);
        p->cluster[i] = NULL;
        p->bus[i] = NULL;
    }
    bus_free(p->third);
    p->third = NULL;
    sio_free_servers(x);
    assert_string_equal(p->told, "end:-1 0 of 0\nend:-1\nend:-1\n");
    p->told[0] = '\0';
    sio_server_free(p->io[1]);
    p->io[1] = NULL;
    assert_string_equal(p->told, "end:-1 0 of 0\n");
}

static void a_server_alone_answers_itself(void **state)
{
    struct pair *p = *state;
    struct sio_fixture *x = p->x;

    sio_create(x, (struct sio_options){0}, plain);
    p->io[0] = x->io;
    run(x->f);
    sio_client(x, NULL);
    on_pair(p, fetch_own);
    expect_told(p, "end:0\n");
    on_pair(p, fetch_all);
    expect_told(p, "end:0\n");
    on_pair(p, ask_for_rooms);
    expect_told(p, "id end:0\n");
    p->io[1] = x->io;
    on_pair(p, ask_servers);
    expect_told(p, "end:0 0 of 0\n");
    on_pair(p, emit_to_servers); /* to nobody */
    p->io[1] = NULL;
}

static void a_cluster_is_joined_once(void **state)
{
    struct pair *p = *state;

    pair_create(p, classic, plain);
    assert_null(sio_cluster_new(p->io[0], p->bus[0], &classic));
    sio_cluster_free(NULL);
}

/* Any single allocation fails: the cluster is not joined, and nothing is left of it. */
static void join_without_memory(struct pair *p, struct sio_cluster_options options)
{
    struct sio_fixture *x = p->x;
    size_t before;

    sio_create(x, (struct sio_options){0}, plain);
    p->bus[0] = loop_bus_new(&p->net, x->f->server);
    before = ws_server_stats(x->f->server).buffered;
    for (long n = 0; p->cluster[0] == NULL; n++) {
        oom_once(n);
        p->cluster[0] = sio_cluster_new(x->io, p->bus[0], &options);
        oom_after(-1);
        for (int i = 0; i < 3; i++)
            ws_server_step(x->f->server, 1);
        if (p->cluster[0] == NULL)
            assert_int_equal(ws_server_stats(x->f->server).buffered, before);
    }
    p->started = true;
}

static void without_memory_the_cluster_is_not_joined(void **state)
{
    join_without_memory(*state, sharded);
}

/* Of a channel whose name is long no space is kept, so that each needs memory anew. */
static void without_memory_a_cluster_with_long_channels_is_not_joined(void **state)
{
    char *prefix = calloc(1, (1 << 16) + 1);

    memset(prefix, 'p', 1 << 16);
    join_without_memory(*state, (struct sio_cluster_options){.prefix = prefix});
    free(prefix);
}

static void without_random_numbers_the_cluster_is_not_joined(void **state)
{
    struct pair *p = *state;
    struct sio_fixture *x = p->x;
    size_t before;

    sio_create(x, (struct sio_options){0}, plain);
    p->bus[0] = loop_bus_new(&p->net, x->f->server);
    p->started = true;
    before = ws_server_stats(x->f->server).buffered;
    faults_getrandom_errors(EIO);
    assert_null(sio_cluster_new(x->io, p->bus[0], &classic));
    faults_none();
    assert_int_equal(ws_server_stats(x->f->server).buffered, before);
}

static void join_long_room(struct pair *p)
{
    char room[1001];
    int result = WS_ERR_NOMEM;
    int refused = 0;

    memset(room, 'r', sizeof room - 1);
    room[sizeof room - 1] = '\0';
    for (long n = 0; result != 0; n++) {
        oom_once(n);
        result = sio_join(sio_first(pair_main(p, 0)), room);
        oom_after(-1);
        assert_true(result == 0 || result == WS_ERR_NOMEM);
        refused += result != 0;
        if (result != 0)
            assert_null(sio_socket_room(sio_first(pair_main(p, 0)), 0));
    }
    assert_true(refused > 2);
    sio_leave(sio_first(pair_main(p, 0)), room);
}

static void with_shards_no_room_is_joined_whose_channel_finds_no_memory(void **state)
{
    struct pair *p = *state;

    pair_start(p, sharded, plain);
    pair_client(p, 0, NULL);
    on_pair(p, join_long_room);
    p->x->keeps = true;
}

static void step(struct pair *p)
{
    for (int i = 0; i < 6; i++)
        ws_server_step(p->x->f->server, 2);
}

/* Let each allocation fail, one at a time, while the message of another server is done. Nothing of
 * it is left, and later the same is answered. */
static void serve_without_memory(struct pair *p, const char *message, const char *answer)
{
    bool came = true;

    for (long n = 0; came; n++) {
        size_t before = ws_server_stats(p->x->f->server).buffered;

        bus_publish(p->third, BUS_CHANNEL, ws_str("socket.io-request#/#"), ws_str(message));
        oom_once(n);
        step(p);
        came = oom_came();
        oom_after(-1);
        assert_int_equal(ws_server_stats(p->x->f->server).buffered, before);
        p->seen[0] = '\0';
    }
    bus_publish(p->third, BUS_CHANNEL, ws_str("socket.io-request#/#"), ws_str(message));
    step(p);
    assert_non_null(strstr(p->seen, answer));
}

static void without_memory_nothing_is_left_of_what_others_ask(void **state)
{
    struct pair *p = *state;

    pair_create(p, (struct sio_cluster_options){.max_owed = 1}, plain);
    serve_without_memory(p,
                         "{\"uid\":\"me\",\"type\":5,\"requestId\":\"r\",\"opts\":{\"rooms\":["
                         "\"x\"],\"except\":[\"y\"]}}",
                         "\"sockets\":[]");
    serve_without_memory(p, ASK "1}}}", "\"clientCount\":0");
}

static void publish_small(struct pair *p)
{
    sio_emit_all(pair_main(p, 0), "small", sio_args("1"));
    step(p);
}

static void space_for_long_messages_is_not_kept(void **state)
{
    enum { LONG = 1 << 20 };
    struct pair *p = *state;
    char *text = calloc(1, LONG + 1);
    long before;

    pair_create(p, classic, plain);
    publish_small(p);
    before = oom_live();
    memset(text, '1', LONG);
    assert_int_equal(sio_emit_all(pair_main(p, 0), "long", sio_args(text)), 0);
    step(p);
    publish_small(p);
    assert_true(oom_live() < before + LONG / 4);
    free(text);
}

/* Whatever fails, calls say so or do it all, and nothing is told twice. The bus is down, since that
 * of the tests cannot be without memory. */
static void any_single_allocation_may_fail(void **state)
{
    struct pair *p = *state;
    struct sio_fixture *x = p->x;

    pair_create(p, classic, plain);
    bus_down(p);
    for (long n = 0, came = 1; came != 0; n++) {
        int asked = 0;

        p->told[0] = '\0';
        oom_once(n);
        asked += sio_fetch(&(struct sio_target){.nsp = pair_main(p, 0)}, 300, told_socket, p) == 0;
        asked += sio_rooms(&(struct sio_target){.nsp = pair_main(p, 0)}, 300, told_room, p) == 0;
        asked += sio_request_all(&(struct sio_target){.nsp = pair_main(p, 0)}, "x", sio_args(""),
                                 300, told_reply, p) == 0;
        asked += sio_server_request(pair_main(p, 0), "x", sio_args(""), 300, told_reply, p) == 0;
        for (int i = 0; i < 8; i++)
            ws_server_step(x->f->server, 2);
        came = oom_came();
        oom_after(-1);
        for (int64_t end = raw_now_ms() + 400; asked != 0 && raw_now_ms() < end;) {
            const char *at = p->told;
            int told = 0;

            for (; (at = strstr(at, "end:")) != NULL; at++)
                told++;
            assert_true(told <= asked);
            if (told == asked)
                asked = 0;
            else
                ws_server_step(x->f->server, 5);
        }
        assert_int_equal(asked, 0);
    }
}

/* A question while one allocation fails. All that matters is on the loop's thread. */
struct scarce {
    struct pair *p;
    long n; /* allocations that succeed */
    int result;
    bool came;
};

static void end_scarcity(struct scarce *s)
{
    s->came = oom_came();
    oom_after(-1);
}

static void told_socket_in_scarcity(void *arg, const struct sio_remote *socket, int error)
{
    struct scarce *s = arg;

    if (socket == NULL)
        end_scarcity(s);
    tell(s->p, "%s%d ", socket == NULL ? "end:" : "socket", error);
}

static void told_room_in_scarcity(void *arg, struct ws_str room, int error)
{
    struct scarce *s = arg;

    if (room.data == NULL)
        end_scarcity(s);
    tell(s->p, "%s%d ", room.data == NULL ? "end:" : "room", error);
}

static void fetch_in_scarcity(struct fixture *f, void *arg)
{
    struct scarce *s = arg;
    const struct sio_target own = {.nsp = pair_main(s->p, 0), .is_local = true};

    (void)f;
    oom_once(s->n);
    s->result = sio_fetch(&own, 0, told_socket_in_scarcity, s);
    if (s->result != 0)
        end_scarcity(s);
}

static void ask_for_rooms_in_scarcity(struct fixture *f, void *arg)
{
    struct scarce *s = arg;
    const struct sio_target own = {.nsp = pair_main(s->p, 0), .is_local = true};

    (void)f;
    oom_once(s->n);
    s->result = sio_rooms(&own, 0, told_room_in_scarcity, s);
    if (s->result != 0)
        end_scarcity(s);
}

/* Wait for the end, and forget it. Was it told as `all`, or else that memory is missing? */
static bool was_told_all(struct pair *p, const char *all)
{
    int64_t deadline = raw_now_ms() + PATIENCE_MS;
    bool ended = false;
    bool is_all = false;
    bool is_incomplete = false;

    while (!ended && raw_now_ms() < deadline) {
        sleep_ms(1);
        lock(p->x->f);
        ended = strstr(p->told, "end:") != NULL;
        is_all = strcmp(p->told, all) == 0;
        is_incomplete = strstr(p->told, "end:-3 ") != NULL;
        if (ended)
            p->told[0] = '\0';
        unlock(p->x->f);
    }
    assert_true(is_all || is_incomplete);
    return is_all;
}

/* Let each allocation fail, one at a time. Either the call or the end says so, or `all` is told. */
static void ask_in_scarcity(struct pair *p, void (*question)(struct fixture *f, void *arg),
                            const char *all)
{
    struct scarce s = {.p = p, .came = true};
    int refused = 0;
    int incomplete = 0;

    for (; s.came; s.n++) {
        on_loop(p->x->f, question, &s);
        if (s.result == 0) {
            incomplete += !was_told_all(p, all);
        } else {
            assert_int_equal(s.result, WS_ERR_NOMEM);
            refused++;
        }
    }
    assert_true(refused > 1);
    assert_true(incomplete > 1);
}

static void without_memory_answers_are_known_to_be_incomplete(void **state)
{
    struct pair *p = *state;
    struct raw_client *a;

    pair_start(p, classic, plain);
    a = pair_client(p, 0, NULL);
    order(a, "[\"join\",\"x\"]");
    ask_in_scarcity(p, fetch_in_scarcity, "socket0 end:0 ");
    ask_in_scarcity(p, ask_for_rooms_in_scarcity, "room0 room0 end:0 ");
}

#include "socketio/tests/test_sio_cluster.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
