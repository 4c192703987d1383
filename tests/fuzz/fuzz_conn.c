/* SPDX-License-Identifier: MIT
 *
 * A whole server under a program of actions: its peers connect, send requests and messages cut
 * anywhere, read a little, half-close, reset; time passes; the application sends, publishes,
 * answers late, pauses, closes, stops, from callbacks too; and at times a system call or an
 * allocation fails. There may be limits by address and by connection, names that the server
 * answers to, and proxies that name the clients. The input is the program. What must hold whatever
 * happens:
 *
 *   - on_open and on_close come in pairs, and so do on_head and its answer, on_refuse or on_abort;
 *     what is deferred comes again, or on_abort; no callback comes behind the last one of a
 *     connection
 *   - what is sent is well-formed (peers.c); echoes are what was sent, in order, and all of them
 *     where the connection is still there; messages of the application come in order
 *   - without new input the server comes to rest within QUIET_TURNS turns
 *   - no address has more connections than max_per_ip, or handshakes than handshake_rate; no
 *     connection has more messages than message_rate allows; no request for another name is served
 *   - when all peers have gone, no connection and no byte of max_memory is left, and some seconds
 *     later no host
 *
 * Memory outside of max_memory is for LeakSanitizer. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../../conn_client.h"
#include "../actions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 4096,
    ACTIONS_MAX = 300,           /* of one program */
    APP_ACTIONS_MAX = 400,       /* of the application */
    DEPTH_MAX = 3,               /* of its actions inside each other */
    CONNS_MAX = ACTIONS_MAX + 1, /* that it remembers */
    ECHOES_MAX = 256,            /* that a peer waits for */
    PREPARED_MAX = 3,
    TIMERS_MAX = 4,
    BIG = 70000, /* bytes of the longest message */
    CLOSE_MS = 300,
    CLIENTS_MAX = 64, /* addresses whose handshakes are counted */
    START_US = 1000000000
};

/* What the application knows of a connection. */
enum app_state { APP_NONE, APP_DEFERRED, APP_HEAD, APP_REQUEST, APP_OPEN };

static struct {
    struct ws_server *server;
    struct {
        struct ws_conn *conn;
        enum app_state state;
        unsigned messages; /* while it is open */
        uint64_t opened_ms;
    } conns[CONNS_MAX];
    struct {
        uint64_t host;
        unsigned handshakes;
    } clients[CLIENTS_MAX];
    struct ws_prepared *prepared[PREPARED_MAX];
    struct ws_timer *timers[TIMERS_MAX];
    struct ws_account *account;
    void *block;
    struct script script;
    unsigned depth, actions_left;
    unsigned step_us; /* of the clock, at each reading */
    bool defers;      /* requests, when they come for the first time */
    unsigned sent;    /* number of the latest message of the application */
    int ends[2];      /* of a pipe that the server watches */
    bool stopped;
    bool limited; /* the options of begin_limits() are set: more of the program is about them */
} app;

/* What a peer waits for. */
static struct {
    struct {
        unsigned opcode;
        unsigned number;
        size_t len;
    } echoes[ECHOES_MAX]; /* the oldest first */
    size_t count;
    unsigned numbered;      /* messages and bodies that it has sent */
    unsigned pings, ponged; /* the numbers of the latest */
    unsigned last_app;      /* the number of the latest message of the application */
    bool no_echo;           /* its messages are published, or nothing comes back */
} views[PEERS];

static struct tape tape;
static volatile unsigned sink;

/* --- names ------------------------------------------------------------------------------------ */

/* What peers write in Host; the server answers to the first of them. */
static const char *const hosts[] = {
    "h",
    "H.:80",
    "a.example.org",
    "b.a.EXAMPLE.org.:8080",
    "[2001:db8::1]",
    "[2001:DB8:0:0::0:1]:443",
    "localhost",
    "x.localhost:80",
    "127.0.0.9",
    "[::1]:80",
    "[::ffff:127.0.0.1]",
    "example.org",
    "hh",
    "192.0.2.1",
    "[2001:db8::2]",
    ".",
};
static const char *const answered[] = {"h", "*.example.org", "[2001:db8::1]", NULL};
enum { HOSTS = sizeof hosts / sizeof *hosts, HOSTS_ANSWERED = 11 };

/* --- messages --------------------------------------------------------------------------------- */

/* Message `number` of a peer. Its text is also legal as binary. */
static void fill(uint8_t *out, unsigned number, size_t len)
{
    size_t i = 0;

    if (len > 0)
        out[i++] = 'E';
    for (; number % 3 == 0 && len - i >= 2 && len < 2000; i += 2)
        memcpy(out + i, "\xc3\xa9", 2);
    for (; i < len; i++)
        out[i] = (uint8_t)('a' + (i * 7 + number) % 26);
}

static bool is_filled(const uint8_t *data, unsigned number, size_t len)
{
    static uint8_t expected[BIG];

    CHECK(len <= sizeof expected);
    fill(expected, number, len);
    return len == 0 || memcmp(data, expected, len) == 0;
}

static size_t size_of(unsigned n)
{
    static const size_t sizes[] = {0,    1,     5,     125,   126,   1000, 1100,
                                   8192, 16384, 20000, 65535, 65536, BIG};

    return sizes[n % (sizeof sizes / sizeof *sizes)];
}

/* A message of the application: its number in ten characters, then filling. */
static uint8_t *numbered(char kind, size_t *len)
{
    static uint8_t message[BIG + 16];

    snprintf((char *)message, 16, "%c%08x.", kind, ++app.sent);
    memset(message + 10, 'p', sizeof message - 10);
    *len = *len < 10 ? 10 : *len;
    return message;
}

/* --- the application -------------------------------------------------------------------------- */

static size_t find(const struct ws_conn *c)
{
    size_t i = 0;

    while (i < CONNS_MAX && (app.conns[i].state == APP_NONE || app.conns[i].conn != c))
        i++;
    return i;
}

static void expect_state(const struct ws_conn *c, enum app_state state)
{
    size_t i = find(c);

    CHECK(i < CONNS_MAX && app.conns[i].state == state);
}

static void remember(struct ws_conn *c, enum app_state state)
{
    size_t i = 0;

    CHECK(find(c) == CONNS_MAX);
    while (i < CONNS_MAX && app.conns[i].state != APP_NONE)
        i++;
    CHECK(i < CONNS_MAX);
    app.conns[i].conn = c;
    app.conns[i].state = state;
}

static void forget(const struct ws_conn *c)
{
    size_t i = find(c);

    CHECK(i < CONNS_MAX);
    app.conns[i].state = APP_NONE;
}

/* One of the connections in that state, or NULL. */
static struct ws_conn *pick(enum app_state state, enum app_state or, unsigned n)
{
    for (size_t i = 0; i < CONNS_MAX; i++) {
        size_t at = (n + i) % CONNS_MAX;

        if (app.conns[at].state == state || app.conns[at].state == or)
            return app.conns[at].conn;
    }
    return NULL;
}

static void act(unsigned what, unsigned a, unsigned b);

static void act_from_callback(void)
{
    if (app.depth == 0)
        script_next(&app.script, act);
}

static void timer_fired(void *arg)
{
    *(struct ws_timer **)arg = NULL;
    act_from_callback();
}

static void posted(void *arg)
{
    (void)arg;
    act_from_callback();
}

static void pipe_ready(void *arg, uint32_t ready)
{
    char byte;

    (void)arg;
    CHECK(ready != 0);
    sink += read(app.ends[0], &byte, 1) > 0;
    act_from_callback();
}

static void answer(struct ws_conn *c, unsigned how)
{
    const struct ws_header headers[] = {{ws_str("X-A"), ws_str(how & 1 ? "v\r\n" : "v")},
                                        {ws_str("Content-Length"), ws_str("3")}};
    size_t count = (how & 4) != 0 ? 2 : (how & 2) / 2;
    size_t len = size_of(how >> 3);
    const struct ws_str pieces[] = {{(char *)numbered('H', &len), len}, {"tail", 4}};

    ws_resume(c); /* later it is not known any more */
    if (ws_respond_pieces(c, (how & 8) != 0 ? 204 : 200, headers, count, pieces, 2) !=
        WS_ERR_INVALID)
        forget(c);
}

static void send_one(struct ws_conn *c, size_t len)
{
    const uint8_t *message = numbered('A', &len);

    ws_send(c, len % 2 == 0 ? WS_OP_TEXT : WS_OP_BINARY, message, len);
}

static void flood(struct ws_conn *c, size_t len)
{
    for (int i = 0; i < 40; i++) {
        const uint8_t *message = numbered('A', &len);

        if (ws_send(c, WS_OP_BINARY, message, len) < 0 || ws_turn_over(app.server, 1))
            return;
    }
}

static void act_on_open(struct ws_conn *c, unsigned what, unsigned b)
{
    char address[WS_ADDRESS_SIZE];
    struct ws_str room = ws_str(b & 1 ? "a" : b & 2 ? "/room" : "");
    uint64_t host;

    switch (what) {
    case 0:
        send_one(c, size_of(b));
        break;
    case 1:
        ws_ping(c, "application", b % 12);
        break;
    case 2:
        ws_close(c, b & 1 ? 1000 : 0, b & 2 ? "bye" : NULL);
        break;
    case 3:
        ws_join(c, room);
        break;
    case 4:
        ws_leave(c, room);
        break;
    case 5:
        ws_pause(c);
        break;
    case 6:
        ws_resume(c);
        break;
    case 7:
        if (app.prepared[b % PREPARED_MAX] != NULL)
            ws_send_prepared(c, app.prepared[b % PREPARED_MAX]);
        break;
    case 8:
        flood(c, size_of(b));
        break;
    default:
        touch(ws_str(ws_conn_address(c, address)));
        touch(ws_conn_room(c, b % 4));
        CHECK(ws_conn_backlog(c) <= ws_conn_queued(c));
        sink += ws_conn_host(c, &host);
        CHECK(ws_conn_find(app.server, ws_conn_id(c)) == c || c->state != CONN_OPEN);
        break;
    }
}

/* Prepare a message, or release it. */
static void prepare(struct ws_prepared **place, unsigned b)
{
    size_t len = size_of(b);
    const uint8_t *message = numbered('F', &len);

    ws_release_prepared(*place);
    *place = b & 1 ? ws_prepare(app.server, WS_OP_BINARY, message, len) : NULL;
}

static void set_timer(struct ws_timer **place, unsigned b)
{
    ws_timer_cancel(*place);
    *place = b & 1 ? ws_timer_start(app.server, b * 5, timer_fired, place) : NULL;
}

static void give_block(void)
{
    ws_account_give(app.account, app.block, 1000);
    app.block = NULL;
}

static void keep_memory(unsigned b)
{
    if (app.account == NULL)
        app.account = ws_account_new(app.server, pick(APP_OPEN, APP_OPEN, b));
    else if (app.block == NULL)
        app.block = ws_account_take(app.account, 1000);
    else
        give_block();
}

static void act_on_server(unsigned what, unsigned a, unsigned b)
{
    struct ws_str room = ws_str(b & 1 ? "a" : b & 2 ? "/room" : "");
    const struct ws_conn *except = b & 4 ? pick(APP_OPEN, APP_OPEN, a) : NULL;
    size_t len = size_of(b);
    const uint8_t *message;

    switch (what) {
    case 0:
        message = numbered('A', &len);
        ws_publish(app.server, room, except, WS_OP_TEXT, message, len);
        break;
    case 1:
        message = numbered('A', &len);
        ws_broadcast(app.server, except, WS_OP_BINARY, message, len);
        break;
    case 2:
        prepare(&app.prepared[a % PREPARED_MAX], b);
        break;
    case 3:
        set_timer(&app.timers[a % TIMERS_MAX], b);
        break;
    case 4:
        ws_post(app.server, posted, NULL);
        break;
    case 5:
        keep_memory(b);
        break;
    case 6:
        ws_watch(app.server, app.ends[0], b & 1 ? EPOLLIN : 0, pipe_ready, NULL);
        sink += b & 2 && write(app.ends[1], "x", 1) < 0;
        break;
    default:
        if (b == 77)
            ws_server_stop(app.server);
        break;
    }
}

/* One action of the application. */
static void act(unsigned what, unsigned a, unsigned b)
{
    struct ws_conn *open = pick(APP_OPEN, APP_OPEN, a);
    struct ws_conn *asked = pick(APP_HEAD, APP_REQUEST, a);
    struct ws_conn *deferred = pick(APP_DEFERRED, APP_DEFERRED, a);

    if (app.depth >= DEPTH_MAX || app.actions_left == 0)
        return;
    app.actions_left--;
    app.depth++;
    what %= 22;
    if (what < 10 && open != NULL)
        act_on_open(open, what, b);
    else if (what < 13 && asked != NULL)
        answer(asked, b);
    else if (what == 13 && deferred != NULL && (b & 2) != 0)
        ws_retry(deferred);
    else if (what == 13 && asked != NULL)
        (b & 1 ? ws_pause : ws_resume)(asked);
    else if (what >= 14)
        act_on_server(what - 14, a, b);
    app.depth--;
}

/* --- its callbacks ---------------------------------------------------------------------------- */

static void expect_name(const struct ws_request *r)
{
    for (size_t i = HOSTS_ANSWERED; app.limited && i < HOSTS; i++)
        CHECK(!ws_str_is(r->http.host, hosts[i]));
}

static void touch_request(const struct ws_request *r)
{
    struct ws_header h;

    expect_name(r);
    touch(ws_request_method(r));
    touch(ws_request_path(r));
    touch(ws_request_query(r));
    touch(ws_request_query_value(r, "a"));
    touch(ws_request_header(r, "host"));
    for (size_t i = 0; ws_request_header_at(r, i, &h); i++) {
        touch(h.name);
        touch(h.value);
    }
}

/* Is it deferred? When it comes again it is served. */
static bool is_put_off(struct ws_conn *c)
{
    if (find(c) < CONNS_MAX) {
        expect_state(c, APP_DEFERRED);
        forget(c);
        return false;
    }
    if (!app.defers)
        return false;
    CHECK(ws_defer(c) == 0);
    CHECK(ws_respond(c, 200, NULL, 0, "", 0) == WS_ERR_CLOSED);
    remember(c, APP_DEFERRED);
    act_from_callback();
    return true;
}

static void on_head(struct ws_conn *c, const struct ws_request *r)
{
    touch_request(r);
    if (is_put_off(c))
        return;
    remember(c, APP_HEAD);
    act_from_callback();
}

static void on_late_request(struct ws_conn *c, const struct ws_request *r)
{
    touch_request(r);
    touch(ws_request_body(r));
    expect_state(c, APP_HEAD);
    app.conns[find(c)].state = APP_REQUEST;
    act_from_callback();
}

static void on_refuse(struct ws_conn *c, const struct ws_request *r, int status)
{
    touch_request(r);
    CHECK(status >= 400 && status <= 503);
    expect_state(c, APP_HEAD);
    if ((status & 1) != 0 && ws_respond(c, status, NULL, 0, "no", 2) != WS_ERR_INVALID)
        forget(c);
    act_from_callback();
}

static void on_abort(struct ws_conn *c)
{
    forget(c);
    act_from_callback();
}

/* The body comes back. */
static void on_request(struct ws_conn *c, const struct ws_request *r)
{
    struct ws_str body = ws_request_body(r);

    touch_request(r);
    ws_respond(c, 200, NULL, 0, body.data, body.len);
    act_from_callback();
}

/* The length of the query says what becomes of the handshake. */
static void on_upgrade(struct ws_conn *c, const struct ws_request *r)
{
    touch_request(r);
    if (c->endpoint->handlers.on_abort != NULL && is_put_off(c))
        return;
    switch (ws_request_query(r).len % 5) {
    case 1:
        ws_respond(c, 401, NULL, 0, "x", 1);
        break;
    case 2:
        ws_accept(c, NULL, NULL, 0);
        break;
    case 3:
        ws_respond(c, 99, NULL, 0, NULL, 0);
        break;
    case 4:
        ws_accept(c, "chat", NULL, 0);
        break;
    default:
        break;
    }
    act_from_callback();
}

/* Those of an address are bound by its bucket. */
static void count_handshake(const struct ws_conn *c)
{
    unsigned rate = app.server->options.handshake_rate;
    uint64_t seconds = (calls_clock_us() - START_US) / 1000000 + 1;
    uint64_t host;
    size_t i = 0;

    if (!app.limited || rate == UINT_MAX || !ws_conn_host(c, &host))
        return;
    while (app.clients[i].handshakes > 0 && app.clients[i].host != host)
        CHECK(++i < CLIENTS_MAX);
    app.clients[i].host = host;
    CHECK(++app.clients[i].handshakes <= rate * (RATE_SECONDS + seconds));
}

/* In each span, a unit of which may be missing: one that is not measured, one that is, and one
 * behind the warning. */
static void count_message(const struct ws_conn *c)
{
    const struct rate_span *span = &app.server->message_span;
    size_t i = find(c);
    uint64_t ms = calls_clock_us() / 1000 - app.conns[i].opened_ms;
    uint64_t spans = ms / ((RATE_SPAN_UNITS - 1) * (uint64_t)span->unit_ms) + 1;

    if (app.limited && app.server->given.message_rate && span->allotment != 0)
        CHECK(++app.conns[i].messages <= 3 * span->allotment * spans);
}

static void on_open(struct ws_conn *c, const struct ws_request *r)
{
    touch_request(r);
    remember(c, APP_OPEN);
    app.conns[find(c)].messages = 0;
    app.conns[find(c)].opened_ms = calls_clock_us() / 1000;
    count_handshake(c);
    if (ws_str_is(ws_request_path(r), "/room"))
        ws_join(c, ws_request_path(r));
    act_from_callback();
}

static void on_echo(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    expect_state(c, APP_OPEN);
    count_message(c);
    if (ws_send(c, opcode, data, len) < 0)
        ws_close(c, 1013, NULL);
    act_from_callback();
}

static void on_published(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    static uint8_t marked[10 + BIG]; /* in the room may be peers that wait for echoes */

    expect_state(c, APP_OPEN);
    count_message(c);
    CHECK(len <= BIG);
    memcpy(marked, "F12345678.", 10);
    memcpy(marked + 10, data, len);
    act_from_callback();
    ws_publish(app.server, ws_conn_room(c, 0), NULL, opcode, marked, 10 + len);
}

static void on_drain(struct ws_conn *c)
{
    expect_state(c, APP_OPEN);
    act_from_callback();
}

static void on_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    CHECK(code >= 1000 && code <= 4999);
    CHECK(ws_utf8_valid(reason, len));
    forget(c);
    act_from_callback();
}

static void on_trace(void *arg, const struct ws_trace *t)
{
    (void)arg;
    touch((struct ws_str){(const char *)t->header, t->header_len});
    touch((struct ws_str){(const char *)t->payload, t->payload_len});
}

/* --- what comes back -------------------------------------------------------------------------- */

static size_t index_of(const struct peer *p)
{
    return (size_t)(p - peers);
}

static void echo_came(struct peer *p, unsigned opcode, const uint8_t *data, size_t len)
{
    size_t i = index_of(p);

    if (!p->orderly || views[i].no_echo)
        return;
    CHECK(views[i].count > 0 && views[i].echoes[0].len == len &&
          views[i].echoes[0].opcode == opcode && is_filled(data, views[i].echoes[0].number, len));
    views[i].count--;
    memmove(views[i].echoes, views[i].echoes + 1, views[i].count * sizeof *views[i].echoes);
}

static void message_back(struct peer *p, unsigned opcode, const uint8_t *data, size_t len)
{
    size_t i = index_of(p);
    unsigned number;

    CHECK(opcode != WS_OP_TEXT || ws_utf8_valid(data, len));
    if (len < 10 || (data[0] != 'A' && data[0] != 'F') || data[9] != '.') {
        echo_came(p, opcode, data, len);
        return;
    }
    number = (unsigned)strtoul((const char *)data + 1, NULL, 16);
    if (data[0] == 'A' && p->orderly && !views[i].no_echo) {
        CHECK(number > views[i].last_app && number <= app.sent);
        views[i].last_app = number;
    }
}

static void response_back(struct peer *p, int status, const char *head, const uint8_t *body,
                          size_t len, const struct peer_request *r)
{
    CHECK(strstr(head, "\r\nDate: ") != NULL || status == 101 || status == 503);
    /* else it was asked for */
    CHECK(r->number != 0 || status == 408 || status == 503 || (app.limited && status == 429));
    CHECK(status != 421 || app.limited);
    if (status == 200 && r->body_len != SIZE_MAX && !r->head_only)
        CHECK(len == r->body_len && is_filled(body, r->number, len));
    (void)p;
}

static void pong_back(struct peer *p, const uint8_t *data, size_t len)
{
    size_t i = index_of(p);

    if (!p->orderly)
        return;
    CHECK(len == 4);
    CHECK((unsigned)data[0] << 8 >= views[i].ponged >> 8 << 8);
    views[i].ponged = (unsigned)data[0] << 8 | data[1];
    CHECK(views[i].ponged <= views[i].pings);
}

static const struct peer_events events = {
    .on_response = response_back, .on_message = message_back, .on_pong = pong_back};

/* --- what the peers send ---------------------------------------------------------------------- */

#define UPGRADE " HTTP/1.1\r\nHost: h\r\n" PEER_UPGRADE

/* Requests whose answers are known, each whole. */
static const struct {
    const char *head;
    bool upgrade, head_only, echoes;
} requests[] = {
    {"GET /echo" UPGRADE "\r\n", true, false, true},
    {"GET /room" UPGRADE "\r\n", true, false, false},
    {"GET /door" UPGRADE "\r\n", true, false, true},
    {"GET /door?a" UPGRADE "\r\n", true, false, true},
    {"GET /door?ab" UPGRADE "Origin: http://h\r\n\r\n", true, false, true},
    {"GET /door?abc" UPGRADE "\r\n", true, false, true},
    {"GET /door?abcd" UPGRADE "Sec-WebSocket-Protocol: x, chat\r\n\r\n", true, false, true},
    {"GET /echo" UPGRADE "Origin: http://evil\r\n\r\n", true, false, true},
    {"GET /late?a=b HTTP/1.1\r\nHost: h\r\n\r\n", false, false, false},
    {"HEAD /late HTTP/1.1\r\nHost: h\r\n\r\n", false, true, false},
    {"HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n", false, true, false},
    {"GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, false, false},
    {"GET /now HTTP/1.0\r\n\r\n", false, false, false},
    {"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n", false, false, false},
    {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", false, false, false},
    {"GET /small HTTP/1.1\r\nHost: h\r\n\r\n", false, false, false},
};
enum { REQUESTS = sizeof requests / sizeof *requests };

/* Parts of requests, in any order and cut anywhere: the answers are not known. */
static const char *const parts[] = {
    "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n",
    "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nabcdefghi",
    "POST /late HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n",
    "POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n",
    "a;x=y\r\n0123456789\r\n",
    "0\r\n\r\n",
    "0\r\nT: x\r\n\r\n",
    "0123456789",
    "\r\n",
    "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n",
    "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    "\x82\xff",
    "\x82\xfe\x10",
    "\x01\x80mask",
    "\x88\x82mask\x6e\x89",
};
enum { PARTS = sizeof parts / sizeof *parts };

/* What proxies and their clients write. */
static const char *const forwarded[] = {
    "",
    "X-Forwarded-For: 192.0.2.1\r\n",
    "X-Forwarded-For: 192.0.2.2, 10.0.0.2\r\n",
    "X-Forwarded-For: unknown, 192.0.2.1:8080\r\nX-Forwarded-Proto: https\r\n",
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: [2001:db8::7]:80,,\r\n",
    "X-Forwarded-For: 10.0.0.1, unix\r\n",
    "X-Forwarded-For: ::ffff:127.0.0.1\r\n",
    "X-Forwarded-For: 2001:db8::7%1\r\n",
    "Forwarded: for=192.0.2.1\r\n",
    "Forwarded: for=192.0.2.2;proto=https, FOR=\"10.0.0.2:80\"\r\n",
    "Forwarded: by=x;for=\"[2001:db8::7]:_p\", for=10.0.0.1 , \r\n",
    "Forwarded: for=unknown, for=_hidden\r\n",
    "Forwarded: for=192.0.2.1;for=192.0.2.2\r\n",
    "Forwarded: for=\"192.0.2.1, for=10.0.0.2\r\n",
    "Forwarded: for=127.0.0.1\r\nForwarded: for=\"10.0.0.2\"\r\n",
    "Forwarded: for=\"192.0.2.1\\\"\r\nX-Forwarded-For: 192.0.2.1\r\n",
};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };

/* A head with another Host and fields of proxies, where the program says so. */
static const char *dressed(const char *head)
{
    static const char plain[] = "Host: h\r\n";
    static char out[1024];
    const char *at = strstr(head, plain);
    unsigned how;

    if (!app.limited || at == NULL)
        return head;
    how = tape_byte(&tape);
    snprintf(out, sizeof out, "%.*sHost: %s\r\n%s%s", (int)(at - head), head,
             hosts[how / 16 % HOSTS], forwarded[how % FORWARDED], at + sizeof plain - 1);
    return out;
}

static void put_request(struct peer *p, unsigned which)
{
    size_t i = index_of(p);
    unsigned n = which % REQUESTS;

    if (p->websocket || (p->request_count > 0 && p->requests[p->request_count - 1].upgrade))
        p->orderly = false;
    if (!peer_put_text(p, dressed(requests[n].head)))
        return;
    peer_expect(p, (struct peer_request){.upgrade = requests[n].upgrade,
                                         .head_only = requests[n].head_only,
                                         .number = ++views[i].numbered,
                                         .body_len = SIZE_MAX});
    views[i].no_echo = !requests[n].echoes;
}

/* A POST with a body, which comes back from /now. */
static void put_post(struct peer *p, unsigned how)
{
    static uint8_t body[BIG];
    static char head[128];
    size_t i = index_of(p);
    size_t len = size_of(how);
    unsigned number = views[i].numbered + 1;
    const char *path = (how & 64) != 0 ? "late" : "now";
    bool chunked = (how & 16) != 0 && len > 0;

    if (p->websocket || (p->request_count > 0 && p->requests[p->request_count - 1].upgrade))
        p->orderly = false;
    if (PEER_OUT_MAX - (p->out_len - p->out_at) < len + 8 * sizeof head)
        return;
    fill(body, number, len);
    if (chunked)
        snprintf(head, sizeof head,
                 "POST /%s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s\r\n%zx\r\n",
                 path, (how & 32) != 0 ? "Expect: 100-continue\r\n" : "", len);
    else
        snprintf(head, sizeof head, "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                 path, len);
    if (!peer_put_text(p, dressed(head)))
        return;
    peer_put(p, body, len);
    if (chunked)
        peer_put_text(p, "\r\n0\r\n\r\n");
    views[i].numbered = number;
    peer_expect(
        p, (struct peer_request){.number = number, .body_len = (how & 64) != 0 ? SIZE_MAX : len});
}

/* A message, in one frame or in several with a ping in between. */
static void put_message(struct peer *p, unsigned how)
{
    static uint8_t message[BIG];
    size_t i = index_of(p);
    size_t len = (how & 0x10) != 0 ? size_of(tape_byte(&tape)) : (how & 15);
    unsigned opcode = (how & 0x20) != 0 ? WS_OP_TEXT : WS_OP_BINARY;
    size_t cut = (how & 0x40) != 0 ? tape_byte(&tape) : len;

    if (!p->websocket && (p->request_count == 0 || !p->requests[p->request_count - 1].upgrade))
        p->orderly = false;
    if (PEER_OUT_MAX - (p->out_len - p->out_at) < len + 64 || views[i].count == ECHOES_MAX ||
        p->sent_close)
        return;
    fill(message, ++views[i].numbered, len);
    views[i].echoes[views[i].count].number = views[i].numbered;
    views[i].echoes[views[i].count].opcode = opcode;
    views[i].echoes[views[i].count++].len = len;
    if (cut >= len) {
        peer_put_frame(p, 0x80 | opcode, message, len);
        return;
    }
    peer_put_frame(p, opcode, message, cut);
    if ((how & 0x80) != 0) {
        unsigned number = ++views[i].pings;
        const uint8_t ping[] = {(uint8_t)(number >> 8), (uint8_t)number, 0, 0};

        peer_put_frame(p, 0x80 | WS_OP_PING, ping, sizeof ping);
    }
    peer_put_frame(p, 0x80 | WS_OP_CONTINUATION, message + cut, len - cut);
}

static void put_close(struct peer *p, unsigned how)
{
    static const uint8_t status[] = {0x03, 0xe8, 'b', 'y', 'e'};

    if (!p->websocket)
        p->orderly = false;
    peer_put_frame(p, 0x80 | WS_OP_CLOSE, status, how % 3 == 0 ? 0 : how % 3 == 1 ? 2 : 5);
    p->sent_close = true;
}

/* A frame of which anything may be wrong. */
static void put_odd_frame(struct peer *p)
{
    unsigned head = tape_byte(&tape);
    size_t len;
    const uint8_t *payload = tape_bytes(&tape, tape_byte(&tape) & 31, &len);

    p->orderly = false;
    peer_put_frame(p, head, payload, len);
}

static void put_raw(struct peer *p)
{
    size_t len;
    const uint8_t *bytes = tape_bytes(&tape, tape_byte(&tape), &len);

    p->orderly = false;
    peer_put(p, bytes, len);
}

/* --- the program ------------------------------------------------------------------------------ */

/* Each connection counts once, for the address that its client has now. */
static void check_hosts(void)
{
    const struct ws_server *s = app.server;

    for (size_t i = 0; i < s->conns.size; i++) {
        const struct ws_conn *c = s->conns.entries[i].conn;
        const struct host *h = c == NULL ? NULL : server_host_of(c);
        size_t count = 0;

        for (size_t n = 0; h != NULL && n < s->conns.size; n++) {
            const struct ws_conn *other = s->conns.entries[n].conn;

            count += other != NULL && !other->req.refused && server_host_of(other) == h;
        }
        CHECK(h == NULL || h->connections == count);
        CHECK(!app.limited || !s->given.max_per_ip || count <= s->options.max_per_ip);
    }
}

static void take_turn(void)
{
    turn(app.server, &app.stopped);
    check_hosts();
}

static void rest(void)
{
    come_to_rest(app.server, &app.stopped, &events);
    check_hosts();
}

static void choose_one_fault(void)
{
    static const enum call some[] = {CALL_MEMORY,        CALL_MEMORY,      CALL_MEMORY,
                                     CALL_RECV,          CALL_READV,       CALL_SEND,
                                     CALL_SENDMSG,       CALL_EPOLL_CTL,   CALL_EPOLL_WAIT,
                                     CALL_EVENTFD_WRITE, CALL_GETPEERNAME, CALL_READ};

    choose_fault(&tape, some, sizeof some / sizeof *some);
}

static void pass_time(unsigned n)
{
    calls_clock(calls_clock_us() + n * (uint64_t)5000, app.step_us);
}

/* The start of a connection through a proxy. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(s)  s, sizeof(s) - 1
static const struct {
    bool legal;
    const char *text;
    size_t len;
} proxy_headers[] = {
    {true, BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1234 80\r\n")},
    {true, BYTES("PROXY TCP6 2001:db8::7 2001:db8::8 1234 65535\r\n")},
    {true, BYTES("PROXY UNKNOWN ffff::1 whatever\r\n")},
    {true, BYTES("PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n")},
    {true, BYTES("PROXY TCP4 10.0.0.2 10.0.0.1 1 1\r\n")},
    {true, BYTES(SIGNATURE "\x20\x00\0\0")},
    {true, BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\0\x50\0\x51")},
    {true, BYTES(SIGNATURE "\x21\x11\0\x10\xc0\0\x02\x02\xc6\x33\x64\x01\0\x50\0\x51\x04\0\x01x")},
    {true, BYTES(SIGNATURE "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                           "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08\0\x50\0\x51")},
    {true, BYTES(SIGNATURE "\x21\x12\0\x03udp")},
    {false, BYTES(SIGNATURE "\x21\x11\0\x03udp")},
    {false, BYTES(SIGNATURE "\x31\x11\0\x0c")},
    {false, BYTES(SIGNATURE "\x21\x11\xff\xff")},
    {false, BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 1234\r\n")},
    {false, BYTES("PROXY TCP5 a b c d\r\n")},
    {false, BYTES("PROXY ")},
    {false, BYTES("")},
};
enum { PROXY_HEADERS = sizeof proxy_headers / sizeof *proxy_headers };

/* Two peers come through a Unix socket, two each from another address. */
static struct address address_of(const struct peer *p)
{
    const uint8_t bytes[4] = {10, 0, 0, (uint8_t)(index_of(p) / 2)};
    struct address from = {0};

    if (bytes[3] != 0)
        from = address_from(bytes, sizeof bytes, 1000);
    return from;
}

static void put_proxy_header(struct peer *p)
{
    struct address from = address_of(p);
    unsigned n;

    if (app.server->options.proxy_header != WS_PROXY_PROTOCOL ||
        !conn_client_is_proxy(app.server, &from))
        return;
    n = tape_byte(&tape) % PROXY_HEADERS;
    p->orderly = proxy_headers[n].legal;
    peer_put(p, proxy_headers[n].text, proxy_headers[n].len);
}

static void connect_anew(struct peer *p)
{
    const struct address from = address_of(p);
    bool fresh = p->fd < 0;

    if (app.limited)
        peer_arrive(p, app.server, &from);
    else
        peer_connect(p, app.server, (unsigned)index_of(p) / 2);
    if (!fresh || p->fd < 0)
        return;
    memset(&views[index_of(p)], 0, sizeof *views);
    put_proxy_header(p);
}

/* What a peer puts, to be sent later. */
static void put_something(struct peer *p, unsigned what)
{
    switch (what & 15) {
    case 0:
    case 1:
        put_request(p, tape_byte(&tape));
        if ((what & 15) == 0)
            peer_push(p, SIZE_MAX);
        break;
    case 2:
        put_post(p, tape_byte(&tape));
        break;
    case 3:
    case 4:
        put_message(p, tape_byte(&tape));
        break;
    case 5:
        if ((what & 0x80) != 0)
            put_close(p, tape_byte(&tape));
        else
            put_odd_frame(p);
        break;
    case 6:
        put_raw(p);
        break;
    default:
        p->orderly = false;
        peer_put_text(p, parts[tape_byte(&tape) % PARTS]);
        break;
    }
}

static void one_action(void)
{
    unsigned what = tape_byte(&tape);
    struct peer *p = &peers[(what >> 4) % PEERS];

    switch (what & 15) {
    case 8:
        peer_push(p, choose_amount(&tape));
        break;
    case 9:
        peer_pull(p, choose_amount(&tape), &events);
        break;
    case 10:
        pass_time(tape_byte(&tape));
        take_turn();
        break;
    case 11:
        act_now(&tape, act);
        break;
    case 12:
        script_choose(&app.script, &tape);
        break;
    case 13:
        choose_one_fault();
        break;
    case 14:
        (what & 0x80 ? peer_half_close : peer_close)(p);
        break;
    case 15:
        peer_push(p, SIZE_MAX);
        take_turn();
        break;
    default:
        if ((what & 15) < 3 || (what & 15) > 5)
            connect_anew(p);
        put_something(p, what);
        break;
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void answer_all(void)
{
    struct ws_conn *c;

    for (size_t i = 0; i < CONNS_MAX; i++)
        if (app.conns[i].state != APP_NONE)
            ws_resume(app.conns[i].conn);
    for (size_t i = 0; i < CONNS_MAX; i++)
        if (app.conns[i].state == APP_DEFERRED)
            ws_retry(app.conns[i].conn);
    while ((c = pick(APP_REQUEST, APP_REQUEST, 0)) != NULL)
        answer(c, 0);
}

/* Who has done nothing wrong and is still connected, has got all that it has to get. */
static void check_views(void)
{
    for (size_t i = 0; i < PEERS; i++) {
        const struct peer *p = &peers[i];

        if (p->fd < 0 || !p->orderly || p->gone || p->closing || p->sent_close || p->last_answer)
            continue;
        CHECK(p->out_at == p->out_len);
        CHECK(p->request_count == 0);
        CHECK(!p->websocket || views[i].no_echo || views[i].count == 0);
    }
}

static void release_all(void)
{
    for (size_t i = 0; i < PREPARED_MAX; i++)
        ws_release_prepared(app.prepared[i]);
    for (size_t i = 0; i < TIMERS_MAX; i++)
        ws_timer_cancel(app.timers[i]);
    if (app.block != NULL)
        give_block();
    ws_account_release(app.account);
    memset(app.prepared, 0, sizeof app.prepared);
    memset(app.timers, 0, sizeof app.timers);
    app.account = NULL;
}

/* Everybody goes, with requests and messages unfinished; nothing may be left. */
static void end(void)
{
    for (size_t i = 0; i < PEERS; i++)
        peer_close(&peers[i]);
    release_all();
    for (int i = 0; i < 100 && !app.stopped && app.server->conns.count > 0; i++) {
        pass_time(CLOSE_MS / 5);
        answer_all();
        rest();
    }
    pass_time(2 * RATE_SECONDS * 1000 / 5);
    rest();
    CHECK(app.server->conns.count == 0);
    CHECK(app.server->hosts.recent_count == 0 || app.stopped);
    for (size_t i = 0; i < CONNS_MAX; i++)
        CHECK(app.conns[i].state == APP_NONE);
    CHECK(app.server->budget.all.used == 0);
    for (int i = 0; i < 3 && !app.stopped; i++) {
        pass_time(RATE_SECONDS * 1000 / 5 + 1);
        rest();
    }
    CHECK(app.stopped || app.server->hosts.table.count == 0);
}

static void finish(void)
{
    calls_work();
    app.script.len = 0;
    app.step_us = 0;
    pass_time(0);
    do {
        answer_all();
        /* This brings the next of the pipelined requests. */
        rest();
    } while (!app.stopped && pick(APP_REQUEST, APP_DEFERRED, 0) != NULL);
    check_views();
    end();
}

static void serve(unsigned how)
{
    static const char *const subprotocols[] = {"chat", NULL};
    const struct ws_handlers echo = {.on_upgrade = (how & 32) != 0 ? on_upgrade : NULL,
                                     .on_open = on_open,
                                     .on_message = on_echo,
                                     .on_drain = on_drain,
                                     .on_close = on_close};
    struct ws_handlers room = echo;
    struct ws_handlers door = echo;
    struct ws_handlers small = echo;

    room.on_message = on_published;
    room.on_upgrade = NULL;
    door.on_upgrade = on_upgrade;
    door.on_abort = on_abort;
    door.subprotocols = subprotocols;
    small.max_message = 50;
    CHECK(ws_server_handle(app.server, "/echo", &echo) == 0 &&
          ws_server_handle(app.server, "/room", &room) == 0 &&
          ws_server_handle(app.server, "/door", &door) == 0 &&
          ws_server_handle(app.server, "/small", &small) == 0 &&
          ws_server_handle(app.server, "/now", &(struct ws_handlers){.on_request = on_request}) ==
              0 &&
          ws_server_handle(app.server, "/late",
                           &(struct ws_handlers){.on_head = on_head,
                                                 .on_request = on_late_request,
                                                 .on_refuse = on_refuse,
                                                 .on_abort = on_abort}) == 0);
}

static void begin_limits(struct ws_options *o)
{
    static const char *const unix_proxy[] = {"unix", NULL};
    static const char *const both[] = {"10.0.0.2", "unix", NULL};
    static const char *const ranges[] = {"10.0.0.0/8", "2001:db8::/64", NULL};
    static const char *const *const trusted[] = {NULL, unix_proxy, both, ranges};
    static const size_t per_ip[] = {0, 1, 2, 3};
    static const unsigned handshakes[] = {0, 1, 2, UINT_MAX};
    static const unsigned messages[] = {0, 1, 3, 20};
    unsigned who = tape_byte(&tape), rates = tape_byte(&tape);

    o->trust_proxy = trusted[who % 4];
    o->proxy_header = (enum ws_proxy_header)(who / 4 % 4 % 3);
    o->hosts = answered;
    o->max_per_ip = per_ip[rates % 4];
    o->handshake_rate = handshakes[rates / 4 % 4];
    o->message_rate = messages[rates / 16 % 4];
}

static void begin(unsigned how)
{
    static const char *const nowhere[] = {NULL};
    struct ws_options options = {
        .bind = nowhere,
        .log = on_log,
        .log_level = WS_LOG_INFO,
        .trace = (how & 1) != 0 ? on_trace : NULL,
        .max_memory = (how & 2) != 0 ? 150000 : 2000000,
        .max_message = (how & 4) != 0 ? 1000 : BIG,
        .max_queue = (how & 8) != 0 ? 9000 : 200000,
        .high_water = (how & 16) != 0 ? 2000 : 0,
        .handshake_timeout_ms = 500,
        .close_timeout_ms = CLOSE_MS,
        .ping_interval_ms = 400,
        .ping_timeout_ms = 200,
        .message_timeout_ms = 600,
        .max_clients = 100,
    };

    memset(&app, 0, sizeof app);
    memset(views, 0, sizeof views);
    peers_reset();
    calls_reset();
    app.step_us = (how & 64) != 0 ? 100 : 0; /* so that shares of a turn are used up */
    calls_clock(START_US, app.step_us);
    calls_random(1);
    app.actions_left = APP_ACTIONS_MAX;
    app.limited = (how & 128) != 0;
    if (app.limited)
        begin_limits(&options);
    app.defers = (how & 33) == 33; /* no bit is left for it alone */
    app.server = ws_server_new(&options);
    CHECK(app.server != NULL && pipe(app.ends) == 0);
    serve(how);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned how;

    if (size > INPUT_MAX)
        return 0;
    tape = (struct tape){data, size};
    how = tape_byte(&tape);
    begin(how);
    for (int i = 0; i < ACTIONS_MAX && tape.left > 0 && !app.stopped; i++)
        one_action();
    finish();
    ws_server_free(app.server);
    close(app.ends[0]);
    close(app.ends[1]);
    calls_reset();
    return 0;
}
