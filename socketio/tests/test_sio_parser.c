/* SPDX-License-Identifier: MIT
 *
 * A server whose clients have socket.io-msgpack-parser: the same events, each packet as one binary
 * message. Packets are written here in JSON, where {"_placeholder":true,"num":0} is the binary
 * value "hi". */
#include "sio_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"
#include "../msgpack.h"
#include "../sio_msgpack.h"

#define BINARY             "{\"_placeholder\":true,\"num\":0}"
#define PACKET(type, data) "{\"type\":" type ",\"data\":" data ",\"nsp\":\"/\"}"
#define EVENT(data)        PACKET("2", data)
#define REQUEST(data, id)  "{\"type\":2,\"data\":" data ",\"id\":" id ",\"nsp\":\"/\"}"
#define ACK(data, id)      "{\"type\":3,\"data\":" data ",\"id\":" id ",\"nsp\":\"/\"}"

static const struct ws_str hi = {"hi", 2};

static void start_packed(struct sio_fixture *x, struct sio_options options,
                         struct sio_handlers handlers)
{
    options.parser = SIO_PARSER_MSGPACK;
    sio_start(x, options, handlers);
}

static struct json_writer packed(const char *text)
{
    struct json_writer w = {0};

    assert_int_equal(msgpack_write_json(&w, ws_str(text), &hi, 1), 0);
    return w;
}

static void send_packet(struct raw_client *c, const char *text)
{
    struct json_writer w = packed(text);

    raw_send_frame(c, RAW_BINARY, w.data, w.len);
    json_writer_release(&w);
}

/* The next packet as JSON, until the next call. */
static const char *read_packet(struct raw_client *c)
{
    static char text[4096];
    struct json_writer w = {0};
    struct ws_str attachments[SIO_BINARY_MAX];
    size_t count = SIO_BINARY_MAX;
    struct raw_frame frame;

    raw_read_frame(c, &frame);
    if (frame.head != RAW_BINARY ||
        msgpack_to_json(&w, (struct ws_str){(const char *)frame.payload, frame.len}, attachments,
                        &count) != 0)
        raw_fail(c, "no packet: '%.*s'", (int)frame.len, (const char *)frame.payload);
    for (size_t i = 0; i < count; i++)
        if (attachments[i].len != hi.len || memcmp(attachments[i].data, hi.data, hi.len) != 0)
            raw_fail(c, "another binary value");
    assert_true(w.len < sizeof text);
    memcpy(text, w.data, w.len);
    text[w.len] = '\0';
    json_writer_release(&w);
    return text;
}

static void expect_packet(struct raw_client *c, const char *expected)
{
    const char *text = read_packet(c);

    if (strcmp(text, expected) != 0)
        raw_fail(c, "expected %s, came %s", expected, text);
}

/* Is it let in? The members behind "sid" go to `rest`. */
static void enter(struct raw_client *c, const char *connect, char id[EIO_ID_SIZE])
{
    static const char head[] = "{\"type\":0,\"data\":{\"sid\":\"";
    const char *text;

    send_packet(c, connect);
    text = read_packet(c);
    if (strncmp(text, head, strlen(head)) != 0)
        raw_fail(c, "not let in: %s", text);
    snprintf(id, EIO_ID_SIZE, "%.20s", text + strlen(head));
}

static struct raw_client *enter_main(struct sio_fixture *x, char id[EIO_ID_SIZE])
{
    struct raw_client *c = sio_open(x);

    enter(c, "{\"type\":0,\"nsp\":\"/\"}", id);
    return c;
}

static void events_and_acknowledgements_are_one_message_each(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE];
    struct raw_client *c;

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    c = enter_main(x, id);
    send_packet(c, EVENT("[\"echo\",1,-0.5,null,true,{\"a\":[\"h\xc3\xa4\"]}]"));
    expect_packet(c, EVENT("[\"echo\",1,-0.5,null,true,{\"a\":[\"h\xc3\xa4\"]}]"));
    send_packet(c, REQUEST("[\"any\",7]", "0"));
    expect_packet(c, ACK("[7]", "0"));
    send_packet(c, REQUEST("[\"any\"]", "9007199254740991"));
    expect_packet(c, ACK("[]", "9007199254740991"));
}

static void binary_values_stay_inside(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE];
    struct raw_client *c;

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    c = enter_main(x, id);
    send_packet(c, EVENT("[\"echo\"," BINARY ",{\"deep\":[\"x\"]}]"));
    expect_packet(c, EVENT("[\"echo\"," BINARY ",{\"deep\":[\"x\"]}]"));
    send_packet(c, REQUEST("[\"all\"," BINARY "]", "3"));
    expect_packet(c, EVENT("[\"all\"," BINARY "]"));
    expect_packet(c, ACK("[" BINARY "]", "3"));
}

static void namespaces_have_the_same_rules(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE];
    struct raw_client *c;

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    c = enter_main(x, id);
    enter(c, "{\"type\":0,\"data\":{\"token\":1},\"nsp\":\"/custom\"}", id);
    send_packet(c, "{\"type\":0,\"nsp\":\"/nowhere\"}");
    expect_packet(c,
                  "{\"type\":4,\"data\":{\"message\":\"Invalid namespace\"},\"nsp\":\"/nowhere\"}");
    send_packet(c, "{\"type\":2,\"data\":[\"kick\"],\"nsp\":\"/custom\"}");
    expect_packet(c, "{\"type\":1,\"nsp\":\"/custom\"}");
    send_packet(c, EVENT("[\"echo\"]"));
    expect_packet(c, EVENT("[\"echo\"]"));
    send_packet(c, "{\"type\":1,\"nsp\":\"/\"}");
    expect_disconnect(x, 2, "client namespace disconnect");
}

static void rooms_and_broadcasts_reach_both_transports(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE], sid[EIO_ID_SIZE];
    struct json_writer w = packed("{\"type\":0,\"nsp\":\"/\"}");
    struct json_writer event = packed(EVENT("[\"all\"," BINARY "]"));
    char post[256], poll[256];
    struct raw_client *c, *p;

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    c = enter_main(x, id);
    p = open_polling(x->e, sid);
    post[0] = poll[0] = 'b';
    post[1 + ws_base64_encode(post + 1, w.data, w.len)] = '\0';
    poll[1 + ws_base64_encode(poll + 1, event.data, event.len)] = '\0';
    expect_post(p, sid, post);
    get(p, sid);
    raw_expect_status(p, &(struct raw_response){0}, 200);
    send_packet(c, EVENT("[\"all\"," BINARY "]"));
    expect_packet(c, EVENT("[\"all\"," BINARY "]"));
    expect_poll(p, sid, poll);
    expect_post(p, sid, "1");
    json_writer_release(&w);
    json_writer_release(&event);
}

static const char *const bad[] = {
    "null",
    "{}",
    "{\"type\":7,\"nsp\":\"/\"}",
    "{\"type\":0,\"nsp\":\"/\"}", /* a second time */
    "{\"type\":0,\"data\":[],\"nsp\":\"/\"}",
    "{\"type\":1,\"data\":1,\"nsp\":\"/\"}",
    "{\"type\":2,\"data\":[\"x\"],\"nsp\":\"/other\"}",
    "{\"type\":2,\"data\":[\"x\"]}",
    EVENT("[]"),
    EVENT("[{}]"),
    EVENT("{}"),
    EVENT("[\"connect\"]"),
    REQUEST("[\"x\"]", "-1"),
    ACK("{}", "1"),
    "{\"type\":4,\"data\":{\"message\":\"x\"},\"nsp\":\"/\"}", /* only servers send it */
};

static void bad_packets_end_the_connection(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE];

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct raw_client *c = enter_main(x, id);

        c->label = bad[i];
        send_packet(c, bad[i]);
        expect_closed(c);
        expect_disconnect(x, (int)i + 1, "forced close");
        raw_close(c);
    }
}

static void bytes_that_are_no_packet_end_the_connection(void **state)
{
    static const char *const texts[] = {"40", "42[\"echo\"]", "4", "4{\"type\":0,\"nsp\":\"/\"}"};
    struct sio_fixture *x = *state;
    struct raw_client *c;
    char id[EIO_ID_SIZE];

    start_packed(x, (struct sio_options){0}, (struct sio_handlers){0});
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        c = enter_main(x, id);
        c->label = texts[i];
        raw_send_message(c, texts[i]);
        expect_closed(c);
        raw_close(c);
    }
    c = enter_main(x, id);
    raw_send_frame(c, RAW_BINARY, "", 0);
    expect_closed(c);
    raw_close(c);
    c = enter_main(x, id);
    raw_send_frame(c, RAW_BINARY, "\xdf\xff\xff\xff\xff\xa4type", 10);
    expect_closed(c);
}

/* What cannot be written to a packet is refused, and the client stays. */
static void emit_what_does_not_fit(struct sio_socket *s, const struct sio_event *e)
{
    struct ws_str attachments[SIO_BINARY_MAX + 1];
    char deep[2 * JSON_DEPTH_MAX + 1] = "";
    struct sio_args args = {.attachments = attachments, .attachment_count = SIO_BINARY_MAX};

    for (size_t i = 0; i <= SIO_BINARY_MAX; i++)
        attachments[i] = hi;
    assert_int_equal(sio_emit(s, "many", args), 0);
    args.attachment_count++;
    assert_int_equal(sio_emit(s, "many", args), WS_ERR_INVALID);
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(sio_emit(s, "deep", sio_args(deep)), WS_ERR_INVALID);
    assert_int_equal(sio_emit_all(sio_socket_namespace(s), "deep", sio_args(deep)), WS_ERR_INVALID);
    sio_emit(s, NULL, e->all);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE];
    struct raw_client *c;

    start_packed(x, (struct sio_options){0},
                 (struct sio_handlers){.on_event = emit_what_does_not_fit});
    c = enter_main(x, id);
    send_packet(c, EVENT("[\"go\"]"));
    expect_packet(c, EVENT("[\"many\"]"));
    expect_packet(c, EVENT("[\"go\"]"));
}

/* The log has the packets as they were sent. */
static void what_was_missed_is_sent_again(void **state)
{
    struct sio_fixture *x = *state;
    char id[EIO_ID_SIZE], again[EIO_ID_SIZE], pid[EIO_ID_SIZE], connect[256];
    struct raw_client *c, *other;

    start_packed(x, (struct sio_options){.recovery_ms = 600000}, (struct sio_handlers){0});
    c = sio_open(x);
    send_packet(c, "{\"type\":0,\"nsp\":\"/\"}");
    assert_int_equal(
        sscanf(read_packet(c), "{\"type\":0,\"data\":{\"sid\":\"%20s\",\"pid\":\"%20s", id, pid),
        2);
    other = enter_main(x, again);
    send_packet(other, EVENT("[\"all\",1]"));
    expect_packet(c, EVENT("[\"all\",1,\"0\"]"));
    raw_reset(c);
    wait_until(x->f, &x->f->seen.closed, 1, "the cut");
    send_packet(other, EVENT("[\"all\"," BINARY "]"));
    expect_packet(other, EVENT("[\"all\",1,\"0\"]"));
    expect_packet(other, EVENT("[\"all\"," BINARY ",\"1\"]"));
    c = sio_open(x);
    snprintf(connect, sizeof connect,
             "{\"type\":0,\"data\":{\"pid\":\"%s\",\"offset\":\"0\"},\"nsp\":\"/\"}", pid);
    send_packet(c, connect);
    expect_packet(c, EVENT("[\"all\"," BINARY ",\"1\"]"));
    assert_int_equal(sscanf(read_packet(c), "{\"type\":0,\"data\":{\"sid\":\"%20s", again), 1);
    assert_string_equal(again, id);
}

/* --- without memory --------------------------------------------------------------------------- */

static void write_packet(struct raw_bytes *b, const char *text)
{
    struct json_writer w = packed(text);

    raw_bytes_frame(b, RAW_BINARY, w.data, w.len);
    json_writer_release(&w);
}

static void emit_and_answer(struct sio_socket *s, const struct sio_event *e)
{
    const struct sio_args binary = {
        .list = e->args.list, .attachments = &hi, .attachment_count = 1};

    sio_emit(s, "one", binary);
    sio_emit_all(sio_socket_namespace(s), "all", e->args);
    sio_answer(e->ack, binary);
}

static bool live_without(struct sio_fixture *x, const struct raw_bytes *life, long n)
{
    struct raw_client *c = &x->f->clients[0];
    bool came;

    raw_connect(c, x->f->port);
    raw_send_bytes(c, life);
    raw_half_close(c);
    oom_once(n);
    while (ws_server_stats(x->f->server).connections != 0 || c->label == NULL) {
        ws_server_step(x->f->server, 10);
        c->label = "has been accepted";
    }
    came = oom_came();
    oom_after(-1);
    raw_close(c);
    c->label = NULL;
    return came;
}

static void a_client_may_end_where_memory_does_but_nothing_else(void **state)
{
    struct sio_fixture *x = *state;
    struct raw_bytes life = {0};
    long n = 0;

    sio_create(x, (struct sio_options){.parser = SIO_PARSER_MSGPACK},
               (struct sio_handlers){.on_event = emit_and_answer});
    raw_bytes_upgrade(&life, "/engine.io/?EIO=4&transport=websocket", "");
    write_packet(&life, "{\"type\":0,\"nsp\":\"/\"}");
    write_packet(&life, REQUEST("[\"x\"," BINARY "]", "1"));
    write_packet(&life, "{\"type\":1,\"nsp\":\"/\"}");
    while (live_without(x, &life, n))
        if (++n > 1000)
            fail_msg("it never had enough");
    raw_bytes_release(&life);
    assert_true(n > 10);
    assert_int_equal(read_counter(x->f, &x->f->seen.opened),
                     read_counter(x->f, &x->f->seen.closed));
    assert_int_equal(ws_server_stats(x->f->server).buffered, x->memory);
}

#include "socketio/tests/test_sio_parser.list"

int main(void)
{
    return cmocka_run_group_tests_name("sio_parser", tests, NULL, NULL);
}
