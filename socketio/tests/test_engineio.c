/* SPDX-License-Identifier: MIT
 *
 * The Engine.IO server: which requests get a session, which an error and which one, ids, limits. */
#include "engine_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_TRANSPORT "{\"code\":0,\"message\":\"Transport unknown\"}"
#define BAD_METHOD        "{\"code\":2,\"message\":\"Bad handshake method\"}"
#define UNSUPPORTED       "{\"code\":5,\"message\":\"Unsupported protocol version\"}"

/* --- the open packet -------------------------------------------------------------------------- */

static void expect_open_packet(const void *packet, size_t len, const char *upgrades,
                               const char *rest)
{
    char expected[256];

    assert_true(len > 29);
    snprintf(expected, sizeof expected, "0{\"sid\":\"%.20s\",\"upgrades\":%s,%s}",
             (const char *)packet + 9, upgrades, rest);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(packet, expected, len);
}

static void handshake_on_polling_is_answered_by_the_open_packet(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "handshake");
    ask(c, "GET", "EIO=4&transport=polling&t=abc", "", NULL, 0);
    raw_expect_status(c, &r, 200);
    expect_open_packet(r.body, r.body_len, "[\"websocket\"]",
                       "\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000");
}

static void websocket_begins_with_the_open_packet(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_frame frame;

    engine_echo(e, (struct eio_options){
                       .ping_interval_ms = 300000, .ping_timeout_ms = 200000, .max_payload = 5000});
    c = client(e->f, "websocket");
    raw_upgrade(c, "/engine.io/?EIO=4&transport=websocket");
    raw_read_frame(c, &frame);
    assert_int_equal(frame.head, RAW_TEXT);
    expect_open_packet(frame.payload, frame.len, "[]",
                       "\"pingInterval\":300000,\"pingTimeout\":200000,\"maxPayload\":5000");
}

static void open_packet_offers_no_upgrade_that_is_not_to_be_had(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.no_upgrade = true});
    c = client(e->f, "handshake");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    raw_expect_status(c, &r, 200);
    expect_open_packet(r.body, r.body_len, "[]",
                       "\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000");
}

static void send_hello(struct eio_session *s, const struct eio_handshake *h)
{
    engine_count_open(s, h);
    eio_send(s, WS_OP_TEXT, "hello", 5, 0);
}

/* On polling the open packet is alone in its answer: the reference's clients read it as one. */
static void what_on_open_sends_comes_right_after(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_handle(e, (struct eio_handlers){.on_open = send_hello});
    c = open_polling(e, sid);
    expect_poll(c, sid, "4hello");
    raw_expect_message(open_websocket(e, ""), "4hello");
}

static void note_handshake(struct eio_session *s, const struct eio_handshake *h)
{
    struct ws_str header = ws_request_header(h->request, "X-Who");
    struct ws_str query = ws_request_query(h->request);
    struct engine *e = engine_of(s);
    char token[32];

    eio_query_get(query, "token", token, sizeof token);
    note_text(e->f, token, strlen(token));
    note_text(e->f, header.data, header.len);
    note_text(e->f, h->address, 10);
    engine_count_open(s, h);
}

static void on_open_sees_the_request(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_handle(e, (struct eio_handlers){.on_open = note_handshake});
    c = client(e->f, "polling");
    ask(c, "GET", "EIO=4&transport=polling&token=a%20b", "X-Who: me\r\n", NULL, 0);
    raw_expect_status(c, &r, 200);
    wait_until(e->f, &e->f->seen.opened, 1, "sessions");
    assert_string_equal(e->f->seen.text, "a bme127.0.0.1:");
}

/* --- checks ----------------------------------------------------------------------------------- */

/* In the order of the reference: of two mistakes the earlier one is told. */
static void requests_are_checked_in_the_order_of_the_reference(void **state)
{
    static const struct {
        const char *method;
        const char *query;
        int status;
        const char *body;
    } cases[] = {
        {"GET", "", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=abc", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=Polling", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=polling2", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=polling%00", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=webtransport", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=polling&transport=abc", 400, UNKNOWN_TRANSPORT},
        {"POST", "EIO=9&transport=abc&sid=x", 400, UNKNOWN_TRANSPORT},
        {"GET", "EIO=4&transport=polling&sid=x", 400, UNKNOWN_SID},
        {"POST", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 400, UNKNOWN_SID},
        {"PUT", "EIO=9&transport=websocket&sid=x", 400, UNKNOWN_SID},
        {"GET", "EIO=4&transport=polling&sid=%00", 400, UNKNOWN_SID},
        {"POST", "EIO=9&transport=polling", 400, BAD_METHOD},
        {"PUT", "EIO=4&transport=polling", 400, BAD_METHOD},
        {"DELETE", "EIO=4&transport=websocket", 400, BAD_METHOD},
        {"POST", "EIO=4&transport=polling&sid=", 400, BAD_METHOD},
        {"GET", "EIO=4&transport=websocket", 400, BAD_REQUEST},
        {"GET", "EIO=9&transport=websocket", 400, BAD_REQUEST},
        {"GET", "transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=&transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=3&transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=04&transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=4.0&transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=4&EIO=5&transport=polling", 400, UNSUPPORTED},
        {"GET", "EIO=constructor&transport=polling", 400, UNSUPPORTED},
    };
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "checks");
    for (size_t i = 0; i < COUNT(cases); i++) {
        c->label = cases[i].query;
        ask(c, cases[i].method, cases[i].query, "", NULL, 0);
        expect(c, cases[i].status, cases[i].body);
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.opened), 0);
}

/* The last error as text: "code message name context". */
static void note_error(struct eio_server *s, const struct eio_connection_error *error)
{
    struct engine *e = eio_user(s);
    char address[WS_ADDRESS_SIZE];
    char text[512];

    snprintf(text, sizeof text, "%d %s %s '%.*s'%s", (int)error->code, error->message,
             error->name != NULL ? error->name : "-", (int)error->context.len,
             error->context.data != NULL ? error->context.data : "",
             strncmp(ws_conn_address(error->conn, address), "127.0.0.1:", 10) == 0 &&
                     ws_request_method(error->request).len != 0
                 ? ""
                 : " of nobody");
    lock(e->f);
    snprintf(e->f->seen.text, sizeof e->f->seen.text, "%s", text);
    unlock(e->f);
}

static const char *refuse_fools(struct eio_server *s, const struct eio_handshake *h)
{
    (void)s;
    return ws_request_query_value(h->request, "fool").data == NULL ? NULL : "no fools";
}

static void the_application_is_told_of_refused_requests(void **state)
{
    static const struct {
        const char *method, *query, *error;
        bool upgrade;
    } cases[] = {
        {"GET", "EIO=4", "0 Transport unknown - ''", false},
        {"GET", "EIO=4&transport=web%74ransport", "0 Transport unknown - 'webtransport'", false},
        {"GET", "EIO=4&transport=abc", "0 Transport unknown - 'abc'", true},
        {"GET", "EIO=4&transport=polling&sid=x%27y", "1 Session ID unknown - 'x'y'", false},
        {"POST", "EIO=4&transport=polling", "2 Bad handshake method - 'POST'", false},
        {"GET", "EIO=4&transport=websocket", "3 Bad request TRANSPORT_HANDSHAKE_ERROR ''", false},
        {"GET", "EIO=4&transport=polling", "3 Bad request TRANSPORT_HANDSHAKE_ERROR ''", true},
        {"GET", "EIO=4&transport=websocket&sid=%s", "3 Bad request TRANSPORT_MISMATCH 'websocket'",
         false},
        {"POST", "EIO=4&transport=websocket&sid=%s", "3 Bad request TRANSPORT_MISMATCH 'websocket'",
         false},
        {"GET", "EIO=4&transport=polling&sid=%s", "3 Bad request TRANSPORT_MISMATCH 'polling'",
         true},
        {"GET", "EIO=3&transport=polling&sid=%s", "3 Bad request PROTOCOL_MISMATCH '3'", false},
        {"GET", "transport=polling&sid=%s", "3 Bad request PROTOCOL_MISMATCH ''", false},
        {"GET", "EIO=4&transport=polling&fool=1", "4 Forbidden - 'no fools'", false},
        {"GET", "EIO=3&transport=websocket&fool=1", "4 Forbidden - 'no fools'", true},
        {"GET", "EIO=3&transport=polling", "5 Unsupported protocol version - '3'", false},
        {"GET", "EIO=3&transport=websocket", "5 Unsupported protocol version - '3'", true},
    };
    static const char *const any[] = {"*", NULL};
    struct engine *e = *state;
    char sid[EIO_ID_SIZE], query[256];

    engine_start(
        e, (struct eio_options){.origins = any},
        (struct eio_handlers){.on_connection_error = note_error, .on_handshake = refuse_fools},
        (struct ws_options){0});
    open_polling(e, sid);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = client(e->f, cases[i].query);
        const char *at = strstr(cases[i].query, "%s");

        snprintf(query, sizeof query, "%.*s%s", at == NULL ? 255 : (int)(at - cases[i].query),
                 cases[i].query, at == NULL ? "" : sid);
        ask(c, cases[i].method, query, cases[i].upgrade ? UPGRADE KEY VERSION : "", NULL, 0);
        raw_read_response(c, &(struct raw_response){0}, false);
        assert_string_equal(e->f->seen.text, cases[i].error);
        raw_close(c);
    }
}

/* Neither of these is a connection that was refused. */
static void the_application_is_told_of_nothing_else(void **state)
{
    static const char *const any[] = {"*", NULL};
    struct engine *e = *state;
    struct raw_response r;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){.origins = any, .max_sessions = 1},
                 (struct eio_handlers){.on_connection_error = note_error}, (struct ws_options){0});
    c = open_polling(e, sid);
    ask(c, "OPTIONS", "", "", NULL, 0);
    raw_expect_status(c, &r, 204);
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 503, "");
    expect_post(c, sid, "4x");
    expect_poll(c, sid, "4x");
    ask_session(c, "PUT", sid, "", NULL, 0);
    raw_expect_status(c, &r, 500);
    assert_string_equal(e->f->seen.text, "");
}

/* CVE-2023-31125 and its like: a name that is there in every JavaScript object. */
static void names_of_object_members_are_no_transports(void **state)
{
    static const char *const names[] = {"__proto__", "constructor", "toString", "hasOwnProperty"};
    struct engine *e = *state;
    struct raw_client *c;
    char query[64];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "names");
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(query, sizeof query, "EIO=4&transport=%s", names[i]);
        ask(c, "GET", query, "", NULL, 0);
        expect(c, 400, UNKNOWN_TRANSPORT);
        snprintf(query, sizeof query, "EIO=4&transport=polling&sid=%s", names[i]);
        ask(c, "GET", query, "", NULL, 0);
        expect(c, 400, UNKNOWN_SID);
    }
}

static void refused_upgrade_gets_the_message_and_is_closed(void **state)
{
    static const struct {
        const char *query;
        const char *message;
    } cases[] = {
        {"", "Transport unknown"},
        {"EIO=4&transport=abc", "Transport unknown"},
        {"EIO=4&transport=__proto__", "Transport unknown"},
        {"EIO=4&transport=websocket&sid=x", "Session ID unknown"},
        {"EIO=4&transport=polling", "Bad request"},
        {"EIO=3&transport=websocket", "Unsupported protocol version"},
        {"transport=websocket", "Unsupported protocol version"},
    };
    struct engine *e = *state;

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = client(e->f, cases[i].query);
        struct raw_response r;

        ask(c, "GET", cases[i].query, UPGRADE KEY VERSION, NULL, 0);
        raw_expect_status(c, &r, 400);
        assert_int_equal(r.body_len, strlen(cases[i].message));
        assert_memory_equal(r.body, cases[i].message, r.body_len);
        assert_true(raw_header_is(&r, "Content-Type", "text/html"));
        assert_true(raw_header_is(&r, "Connection", "close"));
        raw_expect_eof(c);
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.opened), 0);
}

/* CVE-2022-41940: the connection breaks while its upgrade is being refused. */
static void reset_during_a_refused_upgrade_disturbs_nobody(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    for (int i = 0; i < 100; i++) {
        struct raw_client *c = &e->f->clients[0];

        raw_connect(c, e->f->port);
        ask(c, "GET", i % 2 != 0 ? "EIO=4&transport=abc" : "EIO=5&transport=websocket",
            UPGRADE KEY VERSION, NULL, 0);
        raw_reset(c);
    }
    open_polling_on(client(e->f, "well"), sid);
}

/* CVE-2022-21676: bytes that are no frame, in the segment of a handshake that is refused or not. */
static void garbage_behind_a_handshake_disturbs_nobody(void **state)
{
    static const char *const queries[] = {"EIO=4&transport=websocket", "EIO=5&transport=websocket",
                                          "EIO=4&transport=websocket&sid=x"};
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(queries); i++) {
        struct raw_client *c = client(e->f, queries[i]);
        struct raw_bytes b = {0};
        char head[256];

        snprintf(head, sizeof head,
                 "GET /engine.io/?%s HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", queries[i]);
        raw_bytes_text(&b, head);
        raw_bytes_add(&b, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"));
        raw_send_bytes(c, &b);
        raw_bytes_release(&b);
        assert_true(raw_gone_within(c, PATIENCE_MS));
    }
    open_polling_on(client(e->f, "well"), sid);
}

static const char *refuse(struct eio_server *server, const struct eio_handshake *h)
{
    char why[8] = "";
    (void)server;

    if (eio_query_get(ws_request_query(h->request), "why", why, sizeof why) < 0)
        return NULL;
    return why[0] == '\0' ? "" : "say \"no\"\n\\";
}

static void application_refuses_clients(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_handle(e, (struct eio_handlers){.on_handshake = refuse});
    c = client(e->f, "refused");
    ask(c, "GET", "EIO=4&transport=polling&why=", "", NULL, 0);
    expect(c, 403, "{\"code\":4,\"message\":\"Forbidden\"}");
    ask(c, "GET", "EIO=9&transport=polling&why=1", "", NULL, 0);
    expect(c, 403, "{\"code\":4,\"message\":\"say \\\"no\\\"\\u000a\\\\\"}");
    open_polling_on(c, sid);
    c = client(e->f, "refused upgrade");
    ask(c, "GET", "EIO=4&transport=websocket&why=", UPGRADE KEY VERSION, NULL, 0);
    expect(c, 400, "Forbidden");
}

static void transports_may_be_left_out(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){.transports = EIO_WEBSOCKET});
    c = client(e->f, "polling");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 400, UNKNOWN_TRANSPORT);
    open_websocket(e, "");
}

static void any_path_under_the_prefix_is_served(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "paths");
    raw_send_text(c, "GET /engine.io/any/thing?EIO=4&transport=polling HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 200);
    raw_send_text(c, "GET http://localhost/engine.io/?EIO=4&transport=polling HTTP/1.1\r\n" HOST
                     "\r\n");
    raw_expect_status(c, &r, 200); /* RFC 9112 §3.2.2 */
    raw_send_text(c, "GET /engine.io?EIO=4&transport=polling HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 404);
}

static void origin_with_a_control_character_is_refused(void **state)
{
    static const char *const origins[] = {"Origin: a\x01b\r\n", "Origin: a\x7f\r\n"};
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(origins); i++) {
        struct raw_client *c = client(e->f, "origin");

        ask(c, "GET", "EIO=4&transport=polling", origins[i], NULL, 0);
        raw_expect_status(c, &r, 400);
    }
    assert_int_equal(read_counter(e->f, &e->f->seen.opened), 0);
}

static void first_subprotocol_is_echoed(void **state)
{
    static const char *const offers[] = {
        "Sec-WebSocket-Protocol: my-protocol , other\r\n",
        "Sec-WebSocket-Protocol: ,, my-protocol\r\n",
        "Sec-WebSocket-Protocol:\r\nsec-websocket-protocol: my-protocol\r\n",
    };
    struct engine *e = *state;
    struct raw_response r;
    char more[256];

    engine_echo(e, (struct eio_options){0});
    for (size_t i = 0; i < COUNT(offers); i++) {
        struct raw_client *c = client(e->f, offers[i]);

        snprintf(more, sizeof more, UPGRADE KEY VERSION "%s", offers[i]);
        ask(c, "GET", "EIO=4&transport=websocket", more, NULL, 0);
        raw_expect_upgraded(c, &r);
        if (!raw_header_is(&r, "Sec-WebSocket-Protocol", "my-protocol"))
            raw_fail(c, "not my-protocol: %s", r.head);
    }
}

/* --- ids and limits --------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, EIO_ID_SIZE);
}

/* CVE-2017-16031: ids that could be guessed. These are random, and looked up whole. */
static void ids_are_20_characters_and_never_the_same(void **state)
{
    static char ids[2000][EIO_ID_SIZE];
    struct engine *e = *state;

    engine_create(e, (struct eio_options){0}, (struct eio_handlers){0}, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(ids); i++) {
        assert_true(eio_id_new(e->server, ids[i]));
        assert_int_equal(strlen(ids[i]), EIO_ID_LEN);
        assert_int_equal(strspn(ids[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789-_"),
                         EIO_ID_LEN);
    }
    qsort(ids, COUNT(ids), sizeof ids[0], compare_ids);
    for (size_t i = 1; i < COUNT(ids); i++)
        assert_int_not_equal(memcmp(ids[i - 1], ids[i], EIO_ID_SIZE), 0);
}

static void read_id(struct engine *e, void *arg)
{
    memcpy(arg, eio_session_id(e->session), EIO_ID_SIZE);
}

static void every_one_of_many_sessions_is_found(void **state)
{
    static char sids[500][EIO_ID_SIZE];
    struct engine *e = *state;
    struct raw_client *c;
    char id[EIO_ID_SIZE];
    char text[24];

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "many");
    for (size_t i = 0; i < COUNT(sids); i++)
        open_polling_on(c, sids[i]);
    on_engine(e, read_id, id);
    assert_string_equal(id, sids[COUNT(sids) - 1]);
    for (size_t i = 0; i < COUNT(sids); i++) {
        snprintf(text, sizeof text, "4%zu", i);
        expect_post(c, sids[i], text);
    }
    for (size_t i = COUNT(sids); i-- > 0;) {
        snprintf(text, sizeof text, "4%zu", i);
        expect_poll(c, sids[i], text);
        expect_post(c, sids[i], "1");
    }
    expect_reason(e, COUNT(sids), EIO_TRANSPORT_CLOSE);
    expect_nothing_left(e);
}

static void handshakes_over_max_sessions_get_503(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_sessions = 2, .max_sessions_per_host = 2});
    c = open_polling(e, sid);
    ws = open_websocket(e, "");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 503, "");
    ask(client(e->f, "websocket"), "GET", "EIO=4&transport=websocket", UPGRADE KEY VERSION, NULL,
        0);
    expect(&e->f->clients[2], 503, "");
    raw_close(ws);
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    open_polling_on(c, sid);
}

static void one_host_has_so_many_sessions(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *ws;
    char sids[2][EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.max_sessions_per_host = 3});
    c = open_polling(e, sids[0]);
    open_polling_on(c, sids[1]);
    ws = open_websocket(e, "");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 503, "");
    raw_close(upgrade(e, sids[0]));
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    open_polling_on(c, sids[0]);
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 503, "");
    raw_close(ws);
    expect_reason(e, 2, EIO_TRANSPORT_CLOSE);
    expect_post(c, sids[1], "1");
    open_polling_on(c, sids[1]);
    open_polling_on(c, sids[1]);
}

/* A connection from another address of the loopback network. */
static struct raw_client *client_from(struct engine *e, const char *address)
{
    struct raw_client *c = unconnected(e->f);
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(e->f->port)};

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->label = address;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_int_equal(bind(c->fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    return c;
}

/* However many hosts take as many sessions as they get, the next one gets some. */
static void hosts_leave_sessions_to_others(void **state)
{
    enum { MAX = 64, HOSTS = 5 };
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];
    int before = 0;

    engine_echo(e, (struct eio_options){.max_sessions = MAX});
    for (int host = 2; host < 2 + HOSTS; host++) {
        char address[24];
        struct raw_client *c;
        struct raw_response r;
        int got = 0;

        snprintf(address, sizeof address, "127.0.0.%d", host);
        c = client_from(e, address);
        for (bool more = true; more; got += more) {
            ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
            raw_read_response(c, &r, false);
            more = r.status == 200;
        }
        assert_int_equal(r.status, 503);
        assert_in_range(got, 1, before == 0 ? MAX / 4 + 1 : before);
        before = got;
    }
    assert_true(eio_session_count(e->server) < MAX * 3 / 4 + HOSTS);
    open_polling_on(client_from(e, "127.0.0.99"), sid);
    open_websocket(e, "");
}

/* The memory of the sessions themselves counts: cheap handshakes do not make the process grow. What
 * is refused may not even get its 503, for there is no memory for an answer either. */
static void handshakes_stop_at_max_memory(void **state)
{
    enum { MEMORY = 100 * KIB };
    struct engine *e = *state;

    engine_start(e, (struct eio_options){0}, (struct eio_handlers){0},
                 (struct ws_options){.max_memory = MEMORY});
    for (int i = 0; i < 1000; i++) {
        struct raw_client *c = &e->f->clients[0];

        raw_connect(c, e->f->port);
        ask(c, "GET", "EIO=4&transport=polling", "Connection: close\r\n", NULL, 0);
        assert_true(raw_gone_within(c, PATIENCE_MS));
        raw_close(c);
    }
    assert_in_range(read_counter(e->f, &e->f->seen.opened), 100, MEMORY / 100);
    assert_in_range(stats(e->f).buffered, MEMORY / 2, MEMORY);
}

static void arguments_of_a_server_are_checked(void **state)
{
    struct engine *e = *state;

    create(e->f, (struct ws_options){0});
    assert_null(eio_server_new(e->f->server, "engine.io", &(struct eio_options){0},
                               &(struct eio_handlers){0}));
    eio_server_free(NULL);
}

static void reasons_and_transports_have_names(void **state)
{
    (void)state;
    assert_string_equal(eio_reason_text(EIO_TRANSPORT_CLOSE), "transport close");
    assert_string_equal(eio_reason_text(EIO_TRANSPORT_ERROR), "transport error");
    assert_string_equal(eio_reason_text(EIO_PING_TIMEOUT), "ping timeout");
    assert_string_equal(eio_reason_text(EIO_PARSE_ERROR), "parse error");
    assert_string_equal(eio_reason_text(EIO_FORCED_CLOSE), "forced close");
    assert_string_equal(eio_reason_text(EIO_FORCED_SERVER_CLOSE), "forced server close");
    assert_string_equal(eio_reason_text(EIO_SHUTTING_DOWN), "server shutting down");
    assert_string_equal(eio_transport_name(EIO_POLLING), "polling");
    assert_string_equal(eio_transport_name(EIO_WEBSOCKET), "websocket");
}

/* --- the end of the server -------------------------------------------------------------------- */

static void close_server(struct engine *e, void *arg)
{
    (void)arg;
    eio_server_close(e->server);
}

static void closing_the_server_tells_every_client(void **state)
{
    struct engine *e = *state;
    struct raw_client *held;
    struct raw_client *away;
    struct raw_client *ws;
    char sids[2][EIO_ID_SIZE];

    away = start_polling(e, sids[0]);
    ws = open_websocket(e, "");
    held = open_polling(e, sids[1]);
    held->label = "held";
    get_held(e, held, sids[1]);
    on_engine(e, close_server, NULL);
    expect_reason(e, 3, EIO_SHUTTING_DOWN);
    expect(held, 200, "1");
    raw_expect_close(ws, 0);
    expect_gone(away, sids[0]);
    ask(away, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(away, 503, "");
    expect_nothing_left(e);
}

static void keep_open(struct eio_session *s, const struct eio_handshake *h)
{
    eio_send(s, WS_OP_TEXT, "queued", 6, 0);
    engine_count_open(s, h);
}

/* Whatever is left when the ws_server goes gets its on_close from eio_server_free(). */
static void freeing_the_server_reports_each_session_once(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    char sid[EIO_ID_SIZE];

    engine_start(e, (struct eio_options){.connect_timeout_ms = 100000},
                 (struct eio_handlers){.on_open = keep_open}, (struct ws_options){0});
    c = open_polling(e, sid);
    open_polling_on(c, sid);
    open_websocket(e, "");
    expect_poll(c, sid, "4queued");
    get_held(e, c, sid);
    wait_until(e->f, &e->f->seen.opened, 3, "sessions");
    stop_now(e->f);
    ws_server_free(e->f->server);
    e->f->server = NULL;
    eio_server_free(e->server);
    e->server = NULL;
    assert_int_equal(e->f->seen.closed, 3);
}

static void note_transport(struct engine *e, void *arg)
{
    (void)arg;
    note_result(e->f, 0, (int)eio_session_transport(e->session));
    note_result(e->f, 1, eio_ws_server(e->server) == e->f->server);
}

static void session_knows_its_transport_and_its_server(void **state)
{
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    start_polling(e, sid);
    on_engine(e, note_transport, NULL);
    assert_int_equal(e->f->seen.result[0], EIO_POLLING);
    assert_int_equal(e->f->seen.result[1], 1);
    open_websocket(e, "");
    on_engine(e, note_transport, NULL);
    assert_int_equal(e->f->seen.result[0], EIO_WEBSOCKET);
}

#include "socketio/tests/test_engineio.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
