/* SPDX-License-Identifier: MIT
 *
 * A Socket.IO server in a cluster whose other members say anything: whole messages, in parts made
 * of what a server is likely to react to, and raw bytes, on each of its channels. It has three
 * clients, who answer or go, while the application asks all that sio.h can ask. What must hold:
 *
 *   - each question gets its answers, and one end, also when the server ends before
 *   - when the clients have gone and the questions have ended, not a byte of max_memory is left
 *     but what there was before */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../cluster/tests/loop_bus.h"
#include "../../../tests/calls.h"
#include "../../../tests/peers.h"
#include "../../msgpack.h"
#include "../../sio_cluster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 4096,
    ACTIONS_MAX = 120,
    CLIENTS = 3,
    ASKED_MAX = 64,
    START_US = 1000000000,
    REQUEST_ID = 29, /* of the parts of messages, the ones behind which an id comes */
    OWN_ID = 32
};

static struct {
    struct loop_net net;
    struct ws_server *server;
    struct sio_server *io;
    struct bus *bus, *third;
    struct sio_cluster *cluster;
    struct sio_server_ack ack;
    bool sharded;
    char request_id[64]; /* of the last question that the third member has seen, as JSON, and */
    char own_id[64];     /* of the server */
    bool asked[ASKED_MAX];
} app;

static struct tape tape;
static volatile unsigned sink;

static void touch(struct ws_str s)
{
    for (size_t i = 0; i < s.len; i++)
        sink += (unsigned char)s.data[i];
}

/* --- the application -------------------------------------------------------------------------- */

static bool *ask(void)
{
    for (size_t i = 0; i < ASKED_MAX; i++)
        if (!app.asked[i])
            return &app.asked[i];
    return NULL;
}

static void replied(void *arg, const struct sio_reply *r)
{
    bool *asked = arg;

    CHECK(*asked && json_is_list(r->args.list));
    touch(r->args.list);
    for (size_t i = 0; i < r->args.attachment_count; i++)
        touch(r->args.attachments[i]);
    *asked = r->socket != NULL || r->is_remote;
}

static void fetched(void *arg, const struct sio_remote *s, int error)
{
    bool *asked = arg;

    (void)error;
    CHECK(*asked);
    *asked = s != NULL;
    if (s == NULL)
        return;
    touch(ws_str(s->id));
    touch(s->handshake);
    touch(s->data);
    CHECK(json_is_list(s->rooms));
}

static void room_told(void *arg, struct ws_str room, int error)
{
    bool *asked = arg;

    (void)error;
    CHECK(*asked);
    touch(room);
    *asked = room.data != NULL;
}

static void on_server_event(struct sio_namespace *n, const struct sio_server_event *e)
{
    (void)n;
    touch(e->name);
    touch(e->args.list);
    if (e->args.list.len % 2 == 0)
        sio_server_answer(e->ack, e->args);
    else
        app.ack = *e->ack;
}

static void write_data(struct sio_socket *s, struct json_writer *w)
{
    sio_leave(s, "b"); /* a walk over rooms may be under way */
    json_write_raw(w, ws_str("{]"));
}

static void join(struct sio_socket *s, struct ws_str auth)
{
    (void)auth;
    sio_join(s, "a");
    sio_join(s, "b");
}

static void act(unsigned what, unsigned how)
{
    static const char *const rooms[] = {"a", "b", "c", "12345678901234567890", ""};
    struct sio_namespace *n = sio_namespace_find(app.io, "/");
    const char *const to[] = {rooms[how % 5], NULL};
    const struct sio_target t = {.nsp = n,
                                 .to = (how & 8) != 0 ? to : NULL,
                                 .except = (how & 16) != 0 ? to : NULL,
                                 .sender = (how & 32) != 0 ? sio_first(n) : NULL,
                                 .is_local = (how & 64) != 0};
    bool *asked = ask();

    if (asked == NULL)
        return;
    switch (what % 10) {
    case 0:
        *asked = sio_fetch(&t, how, fetched, asked) == 0;
        break;
    case 1:
        *asked = sio_rooms(&t, how, room_told, asked) == 0;
        break;
    case 2:
        *asked = sio_server_request(n, "q", sio_args("1"), how, replied, asked) == 0;
        break;
    case 3:
        *asked = sio_request_all(&t, "q", sio_args("1"), 1 + how, replied, asked) >= 0;
        break;
    case 4:
        sio_publish(&t, "e", sio_args("1"));
        break;
    case 5:
        sio_join_all(&t, rooms[how % 5]);
        break;
    case 6:
        sio_leave_all(&t, rooms[how % 5]);
        break;
    case 7:
        sio_server_answer(&app.ack, sio_args(""));
        break;
    case 8:
        loop_bus_set_up(app.bus, how % 2 == 0);
        break;
    default:
        if (how == 7)
            sio_disconnect_all(&t, false);
        break;
    }
}

/* --- the third member ------------------------------------------------------------------------- */

static void overhear(void *arg, struct ws_str channel, struct ws_str data)
{
    struct json_writer w = {0};
    struct ws_str attachments[16];
    size_t count = 16;
    struct ws_str id;

    (void)arg;
    (void)channel;
    if (data.len == 0 || data.data[0] == '{')
        json_write_text(&w, data.data, data.len);
    else if (msgpack_to_json(&w, data, attachments, &count) != 0)
        json_writer_clear(&w);
    id = json_member(json_parse(json_written(&w)), "requestId");
    if (id.data == NULL)
        id = json_member(json_member(json_parse(json_written(&w)), "data"), "requestId");
    if (id.data != NULL && id.len < sizeof app.request_id)
        snprintf(app.request_id, sizeof app.request_id, "%.*s", (int)id.len, id.data);
    id = json_member(json_parse(json_written(&w)), "uid");
    if (id.data != NULL && id.len < sizeof app.own_id && !json_string_is(id, "u"))
        snprintf(app.own_id, sizeof app.own_id, "%.*s", (int)id.len, id.data);
    json_writer_release(&w);
}

/* A part of a message, chosen by a byte of the input; a byte over the number of parts is itself. */
static void write_part(struct json_writer *w, unsigned which)
{
    static const char *const parts[] = {
        "{\"type\":",
        ",\"uid\":\"u\"",
        ",\"requestId\":\"r\"",
        ",\"opts\":{\"rooms\":[",
        "\"a\"",
        "],\"except\":[",
        "]}",
        "],\"flags\":{\"timeout\":50,\"volatile\":true}}",
        ",\"rooms\":[",
        "]",
        "}",
        ",\"packet\":{\"type\":2,\"data\":[\"q\"",
        ",\"nsp\":\"/\"",
        ",\"data\":[\"q\",1",
        ",\"data\":{\"x\":0",
        ",\"sockets\":[{\"id\":\"s\",\"rooms\":[\"s\"]}",
        ",\"clientCount\":1",
        ",\"close\":true",
        "{\"_placeholder\":true,\"num\":0}",
        ",",
        "0",
        "1",
        "2",
        "3",
        "7",
        "8",
        "9",
        "\"\\u0000\"",
        "[\"u\",{\"type\":2,\"data\":[\"q\",1],\"nsp\":\"/\"},{\"rooms\":[",
        ",\"requestId\":",
        ",\"sid\":\"x\",\"room\":\"y\"",
        ",\"packet\":[1]",
        "",
    };
    char byte = (char)which;

    if (which < sizeof parts / sizeof *parts)
        json_write_text(w, parts[which], strlen(parts[which]));
    else
        json_write_text(w, &byte, 1);
    if (which == REQUEST_ID)
        json_write_text(w, app.request_id, strlen(app.request_id));
    if (which == OWN_ID)
        json_write_text(w, app.own_id, strlen(app.own_id));
}

static void publish(unsigned where, bool packed)
{
    static const char *const channels[] = {"socket.io#/#", "socket.io#/#a#", "socket.io-request#/#",
                                           "socket.io-response#/#"};
    static const struct ws_str one = {"\1", 1};
    struct json_writer text = {0};
    struct json_writer bytes = {0};
    size_t len;
    const uint8_t *input = tape_bytes(&tape, tape_byte(&tape) & 63, &len);

    for (size_t i = 0; i < len; i++)
        write_part(&text, input[i]);
    if (!packed || msgpack_write_json(&bytes, json_written(&text), &one, 1) != 0) {
        json_writer_clear(&bytes);
        json_write_text(&bytes, text.data, text.len);
    }
    bus_publish(app.third, app.sharded ? BUS_SHARD : BUS_CHANNEL, ws_str(channels[where & 3]),
                json_written(&bytes));
    json_writer_release(&text);
    json_writer_release(&bytes);
}

/* --- clients ---------------------------------------------------------------------------------- */

static const struct peer_events events = {NULL, NULL, NULL};

static void turn(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        peer_push(&peers[i], SIZE_MAX);
    CHECK(ws_server_step(app.server, 0) >= 0);
    for (size_t i = 0; i < CLIENTS; i++)
        while (peer_pull(&peers[i], SIZE_MAX, &events))
            continue;
}

static void turns(int n)
{
    while (n-- > 0)
        turn();
}

static void connect_client(struct peer *p)
{
    peer_connect(p, app.server, 0);
    peer_put_text(p, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\n\r\n");
    peer_expect(p, (struct peer_request){.upgrade = true, .body_len = SIZE_MAX});
    turns(3);
    peer_put_frame(p, 0x81, "40{\"t\":1}", 9);
}

/* Acknowledge number `n`, or what looks like it. */
static void client_answers(struct peer *p, unsigned n)
{
    char text[64];
    int len = snprintf(text, sizeof text, "43%u[{\"x\":[%u]}]", n & 15, n);

    if (p->fd >= 0)
        peer_put_frame(p, 0x81, text, (size_t)len);
}

/* --- the program ------------------------------------------------------------------------------ */

static void one_action(void)
{
    unsigned what = tape_byte(&tape);
    struct peer *p = &peers[(what >> 4) % CLIENTS];

    switch (what & 7) {
    case 0:
    case 1:
    case 2:
        publish(what >> 4, (what & 8) != 0);
        break;
    case 3:
    case 4:
        act(what >> 4, tape_byte(&tape));
        break;
    case 5:
        client_answers(p, tape_byte(&tape));
        break;
    case 6:
        calls_clock(calls_clock_us() + tape_byte(&tape) * (uint64_t)3000, 0);
        break;
    default:
        if (what == 0xff)
            peer_close(p);
        break;
    }
    turns(what < 128 ? 1 : 2);
}

static void begin(unsigned how)
{
    static const char *const nowhere[] = {NULL};
    static const char *const shards[] = {"socket.io#/#", "socket.io#/#a#"};
    const struct ws_options options = {.bind = nowhere, .max_memory = 1 << 20};
    const struct sio_handlers handlers = {
        .on_connect = join, .on_server_event = on_server_event, .write_data = write_data};

    memset(&app, 0, sizeof app);
    app.sharded = (how & 1) != 0;
    app.server = ws_server_new(&options);
    app.io = sio_server_new(app.server, &(struct sio_options){.max_acks = 8});
    CHECK(app.io != NULL && sio_namespace_new(app.io, "/", &handlers) != NULL);
    app.bus = loop_bus_new(&app.net, app.server);
    app.third = loop_bus_new(&app.net, app.server);
    app.cluster = sio_cluster_new(app.io, app.bus,
                                  &(struct sio_cluster_options){.sharded = app.sharded,
                                                                .private_answers = (how & 2) != 0,
                                                                .max_owed = 4,
                                                                .max_answer = 300});
    CHECK(app.bus != NULL && app.third != NULL && app.cluster != NULL);
    if (app.sharded)
        for (int i = 0; i < 2; i++)
            bus_subscribe(app.third, BUS_SHARD, ws_str(shards[i]), overhear, NULL);
    else
        bus_subscribe(app.third, BUS_PATTERN, ws_str("*"), overhear, NULL);
}

static void end(size_t memory, bool early)
{
    for (size_t i = 0; i < CLIENTS; i++)
        peer_close(&peers[i]);
    loop_bus_set_up(app.bus, true);
    for (int i = 0; i < 20 && !early; i++) {
        calls_clock(calls_clock_us() + UINT64_C(1000000), 0);
        turns(4);
    }
    for (size_t i = 0; i < ASKED_MAX && !early; i++)
        CHECK(!app.asked[i]);
    if (!early)
        CHECK(ws_server_stats(app.server).buffered <= memory);
    sio_cluster_free(app.cluster);
    bus_free(app.bus);
    bus_free(app.third);
    ws_server_free(app.server);
    sio_server_free(app.io);
    for (size_t i = 0; i < ASKED_MAX; i++)
        CHECK(!app.asked[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned how;
    size_t memory;

    tape = (struct tape){data, size > INPUT_MAX ? INPUT_MAX : size};
    calls_reset();
    calls_random(1);
    calls_clock(START_US, 0);
    peers_reset();
    how = tape_byte(&tape);
    begin(how);
    turns(4);
    for (size_t i = 0; i < CLIENTS; i++)
        connect_client(&peers[i]);
    turns(6);
    memory = ws_server_stats(app.server).buffered; /* with the clients, so tables have grown */
    for (int i = 0; i < ACTIONS_MAX && tape.left > 0; i++)
        one_action();
    end(memory, (how & 4) != 0);
    return 0;
}
