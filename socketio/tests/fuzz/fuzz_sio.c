/* SPDX-License-Identifier: MIT
 *
 * A whole Socket.IO server under a program of actions, as tests/fuzz/fuzz_conn.c does it for
 * WebSocket and HTTP: clients on polling and on WebSockets, that upgrade, join and leave
 * namespaces, emit, acknowledge, come back after a cut, or send what no client sends; time passes;
 * the application emits, asks, accepts late, changes rooms, disconnects, from callbacks too; and at
 * times a call or an allocation fails. What must hold whatever happens:
 *
 *   - on_connect and on_disconnect come in pairs, and so do on_auth and its answer or on_abort;
 *     each request gets its one answer, or its last one; on_forget gets each socket's data once
 *   - a client's events come back in order and once, across an upgrade, too; and all of them where
 *     the session is still there
 *   - without new input the server comes to rest within QUIET_TURNS turns
 *   - when all peers have gone and what may be recovered is forgotten, no connection, session,
 *     socket and no byte of max_memory is left */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../tests/actions.h"
#include "../../eio_server.h"
#include "../../sio_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 4096,
    ACTIONS_MAX = 250,
    APP_ACTIONS_MAX = 300,
    DEPTH_MAX = 3,
    SOCKETS_MAX = 128,   /* that the application remembers */
    CLIENTS = PEERS / 2, /* each has a connection for polls and one for all else */
    ASKED_MAX = 64,      /* requests of the application */
    SEPARATOR = 0x1e,
    START_US = 1000000000
};

enum app_state { APP_NONE, APP_WAITING, APP_CONNECTED };

static struct {
    struct ws_server *server;
    struct sio_server *io;
    struct {
        struct sio_socket *socket;
        enum app_state state;
    } sockets[SOCKETS_MAX];
    struct sio_ack acks[4];
    struct eio_decision decisions[4]; /* about the latest handshakes */
    unsigned decision_at;
    char pids[4][EIO_ID_SIZE]; /* of the latest sockets */
    unsigned pid_at;
    bool asked[ASKED_MAX]; /* requests whose last answer is still to come */
    unsigned data_set, forgotten;
    struct script script;
    unsigned depth, actions_left, step_us;
    bool freeing; /* no function of ws.h may be called */
    bool stopped;
} app;

/* One client: a session of Engine.IO as it sees it. */
static struct client {
    struct peer *poll, *other;
    bool polling, websocket; /* how the session began; neither: it has none */
    enum { PROBE_NONE, PROBE_ASKED, PROBE_SENT, PROBE_ANSWERED, PROBE_DONE } probe;
    char sid[EIO_ID_SIZE]; /* "": not known yet */
    unsigned sent, back;   /* numbers of the latest events of "e" */
    bool odd;              /* it did what may cost it events */
    bool over;
} clients[CLIENTS];

static struct tape tape;
static volatile unsigned sink;
static char big_list[3000];

static const char *const rooms[] = {"", "a", "bb", "room", "c", "d", "e", "f"};
static const char *const lists[] = {
    "",
    "1",
    "1,\"two\",{\"three\":[3]}",
    "{\"_placeholder\":true,\"num\":0}",
    "[[[",
    "\"x\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}",
    "\"connect\"",
    big_list,
};

static void touch_args(const struct sio_args *args)
{
    touch(args->list);
    for (size_t i = 0; i < args->attachment_count; i++)
        touch(args->attachments[i]);
}

/* --- the application -------------------------------------------------------------------------- */

static size_t find(const struct sio_socket *s)
{
    size_t i = 0;

    while (i < SOCKETS_MAX && (app.sockets[i].state == APP_NONE || app.sockets[i].socket != s))
        i++;
    return i;
}

static void remember(struct sio_socket *s, enum app_state state)
{
    size_t i = 0;

    CHECK(find(s) == SOCKETS_MAX);
    while (i < SOCKETS_MAX && app.sockets[i].state != APP_NONE)
        i++;
    CHECK(i < SOCKETS_MAX);
    app.sockets[i].socket = s;
    app.sockets[i].state = state;
}

static void expect_state(const struct sio_socket *s, enum app_state state)
{
    size_t i = find(s);

    CHECK(i < SOCKETS_MAX && app.sockets[i].state == state);
}

static void forget(const struct sio_socket *s, enum app_state state)
{
    expect_state(s, state);
    app.sockets[find(s)].state = APP_NONE;
}

static struct sio_socket *pick(enum app_state state, unsigned n)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        size_t at = (n + i) % SOCKETS_MAX;

        if (app.sockets[at].state == state)
            return app.sockets[at].socket;
    }
    return NULL;
}

static void act(unsigned what, unsigned a, unsigned b);

static void act_from_callback(void)
{
    if (app.depth == 0 && !app.freeing)
        script_next(&app.script, act);
}

static void posted(void *arg)
{
    (void)arg;
    act_from_callback();
}

static struct sio_args make_args(unsigned n)
{
    static const struct ws_str attachments[2] = {{"bin\0ary", 7}, {"", 0}};
    struct sio_args args = sio_args(lists[n & 7]);

    if ((n & 8) != 0) {
        args.attachments = attachments;
        args.attachment_count = (n & 16) != 0 ? 2 : 1;
    }
    return args;
}

/* A place for one more request, or NULL. */
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

    CHECK(*asked);
    touch_args(&r->args);
    CHECK(r->received <= r->expected);
    *asked = false;
    act_from_callback();
}

static void replied_by_one(void *arg, const struct sio_reply *r)
{
    bool *asked = arg;

    CHECK(*asked);
    touch_args(&r->args);
    *asked = r->socket != NULL;
    act_from_callback();
}

/* Requests whose call fails are not answered. */
static void request_one(struct sio_socket *s, unsigned a, unsigned b)
{
    bool *asked = ask();

    if (asked != NULL)
        *asked = sio_request(s, "ask", make_args(b), (a & 3) * 100, replied, asked) >= 0;
}

static void request_all(const struct sio_target *t, unsigned a, unsigned b)
{
    bool *asked = ask();

    if (asked != NULL)
        *asked =
            sio_request_all(t, "ask all", make_args(a & 7), 100 + b, replied_by_one, asked) >= 0;
}

static void set_data(struct sio_socket *s)
{
    void *data = sio_data(s) == NULL ? malloc(1) : NULL;

    if (data == NULL)
        return;
    sio_set_data(s, data);
    app.data_set++;
}

static void look(struct sio_socket *s, unsigned b)
{
    const char *room = sio_socket_room(s, b & 3);

    sink += sio_is_in(s, rooms[b & 7]) + sio_is_recovered(s);
    touch(ws_str(room == NULL ? "" : room));
    CHECK(sio_find(app.io, sio_socket_id(s)) == (sio_is_connected(s) ? s : NULL));
    touch(sio_socket_query(s));
    touch(sio_socket_header(s, "X-K"));
    touch(ws_str(sio_socket_address(s)));
}

static void flood(struct sio_socket *s)
{
    for (int i = 0; i < 30 && sio_emit(s, "flood", sio_args(big_list)) >= 0; i++)
        continue;
}

static void close_session(unsigned a)
{
    struct eio_session *e = eio_first(sio_engine(app.io));

    for (unsigned i = 0; e != NULL && i < (a & 3) && eio_next(e) != NULL; i++)
        e = eio_next(e);
    if (e != NULL)
        eio_close(e);
}

static void act_on_socket(struct sio_socket *s, unsigned what, unsigned a, unsigned b)
{
    switch (what) {
    case 0:
        sio_emit(s, (a & 4) != 0 ? NULL : "ev", make_args(b));
        break;
    case 1:
        sio_emit_volatile(s, "volatile", make_args(b));
        break;
    case 2:
        request_one(s, a, b);
        break;
    case 3:
        sio_join(s, rooms[b & 7]);
        break;
    case 4:
        sio_leave(s, rooms[b & 7]);
        break;
    case 5:
        sio_disconnect(s, b & 1);
        break;
    case 6:
        sio_broadcast(s, "broadcast", make_args(b));
        break;
    case 7:
        look(s, b);
        break;
    case 8:
        flood(s);
        break;
    default:
        set_data(s);
        break;
    }
}

static void act_on_waiting(struct sio_socket *s, unsigned what, unsigned b)
{
    static const struct ws_str data[] = {{NULL, 0}, {"{\"a\":1}", 7}, {"{bad", 4}};

    switch (what) {
    case 10:
    case 11:
        sio_accept(s);
        break;
    case 12:
        if (sio_refuse(s, "no", data[b % 3]) == 0)
            forget(s, APP_WAITING);
        break;
    default:
        sio_join(s, rooms[b & 7]);
        set_data(s);
        break;
    }
}

static void act_on_all(unsigned what, unsigned a, unsigned b)
{
    struct sio_socket *s = pick(APP_CONNECTED, a);
    struct sio_namespace *n = sio_namespace_find(app.io, (b & 1) != 0 ? "/" : "/adm");
    const char *const to[] = {rooms[b & 7], (a & 8) != 0 && s != NULL ? sio_socket_id(s) : NULL,
                              NULL};
    const char *const except[] = {rooms[a & 7], NULL};
    const struct sio_target t = {.nsp = n,
                                 .to = (b & 16) != 0 ? to : NULL,
                                 .except = (b & 32) != 0 ? except : NULL,
                                 .sender = (b & 64) != 0 && s != NULL && s->nsp == n ? s : NULL,
                                 .is_volatile = (b & 128) != 0};
    struct sio_socket *some[4];

    switch (what) {
    case 14:
        sio_publish(&t, "publish", make_args(a));
        break;
    case 15:
        request_all(&t, a, b);
        break;
    case 16:
        sink += sio_select(&t, some, 4) > 0;
        break;
    case 17:
        sio_join_all(&t, rooms[a & 7]);
        break;
    case 18:
        sio_leave_all(&t, rooms[a & 7]);
        break;
    case 19:
        sio_disconnect_all(&t, a & 1);
        break;
    default:
        sio_emit_all(n, "all", make_args(a));
        break;
    }
}

static void act_on_server(unsigned what, unsigned a, unsigned b)
{
    struct sio_ack *ack = &app.acks[a & 3];

    switch (what) {
    case 21:
        ws_post(app.server, posted, NULL);
        break;
    case 22:
        close_session(a);
        break;
    case 23:
        if (ack->server != NULL)
            sio_answer(ack, make_args(b));
        break;
    case 24:
        if (b == 98)
            sio_server_close(app.io);
        break;
    default:
        if (b == 99)
            ws_server_stop(app.server);
        break;
    }
}

/* One action of the application. */
static void act(unsigned what, unsigned a, unsigned b)
{
    struct eio_decision *d = &app.decisions[a % 4];
    struct sio_socket *s = pick(APP_CONNECTED, a);
    struct sio_socket *waiting = pick(APP_WAITING, a);

    if (app.depth >= DEPTH_MAX || app.actions_left == 0)
        return;
    app.actions_left--;
    app.depth++;
    if (d->server != NULL && !app.freeing)
        eio_decide(d, b % 8 == 0 ? "no" : NULL);
    what %= 26;
    if (what < 10 && s != NULL)
        act_on_socket(s, what, a, b);
    else if (what >= 10 && what < 14 && waiting != NULL)
        act_on_waiting(waiting, what, b);
    else if (what >= 14 && what < 21)
        act_on_all(what, a, b);
    else if (what >= 21)
        act_on_server(what, a, b);
    app.depth--;
}

/* --- its callbacks ---------------------------------------------------------------------------- */

/* Some are decided about later: at the latest when their place is needed, or at the end. */
static const char *on_handshake(struct sio_server *io, const struct eio_handshake *h)
{
    struct eio_decision *d = &app.decisions[app.decision_at % 4];

    touch(ws_request_path(h->request));
    touch(ws_str(h->address));
    if (app.script.len % 2 == 1) {
        app.decision_at++;
        eio_decide(d, NULL);
        *d = eio_decide_later(sio_engine(io), h);
        return "its result does not count";
    }
    return ws_request_query_value(h->request, "no").data != NULL ? "no" : NULL;
}

static bool match(void *user, struct ws_str name, struct ws_str auth)
{
    (void)user;
    touch(auth);
    return name.len < 12;
}

/* A longer auth is let in at once. */
static void on_auth(struct sio_socket *s, struct ws_str auth)
{
    touch(auth);
    remember(s, APP_WAITING);
    if (auth.len > 4)
        CHECK(sio_accept(s) == 0);
    act_from_callback();
}

static void on_abort(struct sio_socket *s)
{
    forget(s, APP_WAITING);
    act_from_callback();
}

static void on_connect(struct sio_socket *s, struct ws_str auth)
{
    size_t i = find(s);

    touch(auth);
    if (i < SOCKETS_MAX) {
        expect_state(s, APP_WAITING);
        app.sockets[i].state = APP_CONNECTED;
    } else {
        remember(s, APP_CONNECTED);
    }
    if (s->pid != NULL)
        memcpy(app.pids[app.pid_at++ & 3], s->pid, EIO_ID_SIZE);
    act_from_callback();
}

/* Every event comes back; "all" goes to all; "late" is acknowledged late. */
static void on_event(struct sio_socket *s, const struct sio_event *e)
{
    expect_state(s, APP_CONNECTED);
    touch(e->name);
    touch_args(&e->all);
    for (size_t i = 0; i < 3; i++)
        touch(sio_binary(&e->args, sio_arg(&e->args, i)));
    if (sio_event_is(e, "late"))
        app.acks[e->args.list.len & 3] = *e->ack;
    else if (e->ack->server != NULL)
        sio_answer(e->ack, e->args);
    if (sio_event_is(e, "all"))
        sio_emit_all(sio_socket_namespace(s), NULL, e->all);
    else if (sio_emit(s, NULL, e->all) < 0)
        sio_disconnect(s, true);
    act_from_callback();
}

static void on_drain(struct sio_socket *s)
{
    expect_state(s, APP_CONNECTED);
    act_from_callback();
}

static void on_disconnect(struct sio_socket *s, const char *reason)
{
    touch(ws_str(reason));
    forget(s, APP_CONNECTED);
    act_from_callback();
}

static void on_forget(struct sio_namespace *n, void *data)
{
    (void)n;
    free(data);
    app.forgotten++;
    act_from_callback();
}

/* --- what comes back -------------------------------------------------------------------------- */

static struct client *client_of(const struct peer *p)
{
    return &clients[(size_t)(p - peers) / 2];
}

/* 42["e",5] and perhaps an offset behind the 5. */
static void event_back(struct client *c, struct ws_str packet)
{
    static const char start[] = "42[\"e\",";
    size_t len = sizeof start - 1;
    unsigned number = 0;

    if (packet.len <= len || memcmp(packet.data, start, len) != 0)
        return;
    for (; len < packet.len && packet.data[len] >= '0' && packet.data[len] <= '9'; len++)
        number = number * 10 + (unsigned)(packet.data[len] - '0');
    if (c->odd)
        return;
    CHECK(number == c->back + 1 && number <= c->sent);
    c->back = number;
}

static void packet_back(struct peer *p, struct ws_str packet)
{
    struct client *c = client_of(p);
    const char *sid;

    CHECK(packet.len > 0 && packet.data != NULL && ws_utf8_valid(packet.data, packet.len));
    switch (packet.data[0]) {
    case '0':
        sid = memmem(packet.data, packet.len, "\"sid\":\"", 7);
        CHECK(sid != NULL &&
              json_parse((struct ws_str){packet.data + 1, packet.len - 1}).len == packet.len - 1);
        memcpy(c->sid, sid + 7, EIO_ID_LEN);
        break;
    case '1':
        c->over = true;
        break;
    case '3':
        CHECK(packet.len == 6 && memcmp(packet.data, "3probe", 6) == 0);
        if (c->probe == PROBE_SENT && p == c->other)
            c->probe = PROBE_ANSWERED;
        break;
    case '4':
        CHECK(packet.len >= 2 && packet.data[1] >= '0' && packet.data[1] <= '6');
        c->odd = c->odd || packet.data[1] == '1' || packet.data[1] == '4';
        event_back(c, packet);
        break;
    default:
        CHECK(packet.data[0] == '2' || packet.data[0] == '6' || packet.data[0] == 'b');
        break;
    }
}

static void message_back(struct peer *p, unsigned opcode, const uint8_t *data, size_t len)
{
    if (opcode == WS_OP_TEXT)
        packet_back(p, (struct ws_str){(const char *)data, len});
}

static void response_back(struct peer *p, int status, const char *head, const uint8_t *body,
                          size_t len, const struct peer_request *r)
{
    struct client *c = client_of(p);
    const char *at = (const char *)body;

    (void)head;
    if (status != 200 && status != 101)
        c->over = true;
    if (status != 200 || r->number == 0)
        return; /* not of a poll */
    while (len > 0) {
        const char *end = memchr(at, SEPARATOR, len);
        size_t n = end == NULL ? len : (size_t)(end - at);

        packet_back(p, (struct ws_str){at, n});
        at += end == NULL ? n : n + 1;
        len -= end == NULL ? n : n + 1;
    }
}

static const struct peer_events events = {.on_response = response_back, .on_message = message_back};

/* --- what the clients send -------------------------------------------------------------------- */

#define PATH    "/socket.io/?EIO=4&transport="
#define UPGRADE " HTTP/1.1\r\nHost: h\r\n" PEER_UPGRADE "\r\n"

static const char *const packets[] = {
    "40",
    "40/adm,",
    "40/adm,{\"token\":1}",
    "40{\"token\":12}",
    "41",
    "41/adm,",
    "42[\"m\",1]",
    "42[\"all\",1]",
    "42/adm,[\"m\",{\"a\":[]}]",
    "420[\"ask\",1]",
    "421[\"late\",2]",
    "430[1]",
    "431[2]",
    "43/adm,0[1]",
    "432[]",
    "451-[\"b\",{\"_placeholder\":true,\"num\":0}]",
    "452-0[\"b\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]",
    "461-0[{\"_placeholder\":true,\"num\":0}]",
    "bAAEC",
    "b",
    "3",
    "2",
    "1",
    "2probe",
    "5",
    "6",
    "40/dyn1,",
    "42/dyn1,[\"x\"]",
    "41/dyn1,",
    "40/dyn2,{\"token\":1}",
    "42[\"connect\"]",
    "44{}",
    "4",
    "42[1,2]",
    "40/toolongforrule12,",
};
enum { PACKETS = sizeof packets / sizeof *packets };

/* A packet of a client that may be odd. */
static const char *any_packet(struct client *c, unsigned which)
{
    static char text[400];
    size_t len;
    const char *raw;

    c->odd = c->odd || which % 64 != 6; /* "m" is of no effect on the others */
    if (which % 64 < PACKETS)
        return packets[which % 64];
    if (which % 64 < PACKETS + 12) {
        snprintf(text, sizeof text, "40%s{\"pid\":\"%s\",\"offset\":\"%u\"}",
                 (which & 64) != 0 ? "/adm," : "", app.pids[which >> 6], tape_byte(&tape) & 15);
        return text;
    }
    raw = (const char *)tape_bytes(&tape, tape_byte(&tape), &len);
    snprintf(text, sizeof text, (which & 1) != 0 ? "42[\"%.*s\"]" : "%.*s", (int)len, raw);
    return text;
}

static void connect_to(struct peer *p)
{
    peer_connect(p, app.server, (unsigned)((size_t)(p - peers) / 2));
}

/* A poll, which begins a session where there is none. */
static void put_poll(struct client *c)
{
    char text[256];

    connect_to(c->poll);
    c->polling = c->polling || !c->websocket;
    c->odd = c->odd || c->poll->request_count > 0 || c->poll->websocket;
    snprintf(text, sizeof text, "GET " PATH "polling%s%s HTTP/1.1\r\nHost: h\r\nX-K: v\r\n\r\n",
             c->sid[0] != '\0' ? "&sid=" : "", c->sid);
    if (peer_put_text(c->poll, text))
        peer_expect(c->poll, (struct peer_request){.number = 1, .body_len = SIZE_MAX});
}

static void put_websocket(struct client *c, struct peer *p, bool probes)
{
    char text[512];

    connect_to(p);
    if (p->request_count > 0 || p->websocket)
        p->orderly = false;
    snprintf(text, sizeof text, "GET " PATH "websocket%s%s" UPGRADE, probes ? "&sid=" : "",
             probes ? c->sid : "");
    if (peer_put_text(p, text))
        peer_expect(p, (struct peer_request){.upgrade = true, .body_len = SIZE_MAX});
}

static void put_post(struct client *c, const char *body, size_t len)
{
    char head[256];

    connect_to(c->other);
    c->odd = c->odd || c->other->request_count > 0 || c->probe != PROBE_NONE || c->sid[0] == '\0';
    if (c->other->websocket)
        c->other->orderly = false;
    snprintf(head, sizeof head,
             "POST " PATH "polling&sid=%s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
             c->sid, len);
    if (peer_put_text(c->other, head) && peer_put(c->other, body, len))
        peer_expect(c->other, (struct peer_request){.body_len = SIZE_MAX});
}

/* On whatever transport the client is. */
static void put_packet(struct client *c, const char *packet)
{
    struct peer *p = c->probe == PROBE_DONE ? c->other : c->poll;

    if (c->websocket || c->probe == PROBE_DONE)
        peer_put_frame(p, 0x81, packet, strlen(packet));
    else
        put_post(c, packet, strlen(packet));
}

/* Several events that come back, with a CONNECT before the first one. */
static void put_events(struct client *c, unsigned count)
{
    char text[600];
    size_t len = 0;

    if (c->sent == 0)
        len = (size_t)snprintf(text, sizeof text, "40");
    for (unsigned i = 0; i < count && len + 40 < sizeof text; i++) {
        if (c->websocket || c->probe == PROBE_DONE) {
            if (len > 0)
                put_packet(c, text);
            len = 0;
        }
        if (len > 0)
            text[len++] = SEPARATOR;
        len += (size_t)snprintf(text + len, sizeof text - len, "42[\"e\",%u]", ++c->sent);
    }
    put_packet(c, text);
}

/* The next step of an upgrade. */
static void step_upgrade(struct client *c)
{
    switch (c->probe) {
    case PROBE_NONE:
        if (c->sid[0] == '\0' || c->websocket || c->other->request_count > 0)
            return;
        peer_close(c->other);
        put_websocket(c, c->other, true);
        c->probe = PROBE_ASKED;
        break;
    case PROBE_ASKED:
        peer_put_frame(c->other, 0x81, "2probe", 6);
        c->probe = PROBE_SENT;
        break;
    case PROBE_ANSWERED:
        if (c->poll->request_count > 0)
            return; /* a client waits for its last poll, or events would overtake it */
        peer_put_frame(c->other, 0x81, "5", 1);
        c->probe = PROBE_DONE;
        break;
    case PROBE_SENT:
    case PROBE_DONE:
        break;
    }
}

static void put_odd(struct client *c, struct peer *p)
{
    static const char *const requests[] = {
        "OPTIONS " PATH "polling HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n",
        "GET " PATH "polling&no=1 HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n",
        "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT " PATH "polling HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    unsigned which = tape_byte(&tape);
    char text[256];

    connect_to(p);
    c->odd = true;
    p->orderly = p->websocket; /* frames may be odd without the reader getting lost */
    if (which % 8 < sizeof requests / sizeof *requests) {
        peer_put_text(p, requests[which % 8]);
    } else {
        snprintf(text, sizeof text,
                 "POST " PATH "polling&sid=%s HTTP/1.1\r\nHost: h\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n2\r\n40\r\n%s",
                 clients[which / 16 % CLIENTS].sid, (which & 8) != 0 ? "0\r\n\r\n" : "");
        peer_put_text(p, text);
    }
}

static void put_raw(struct client *c, struct peer *p)
{
    size_t len;
    const uint8_t *bytes = tape_bytes(&tape, tape_byte(&tape), &len);

    c->odd = true;
    p->orderly = p->orderly && p->websocket;
    peer_put(p, bytes, len);
}

/* --- the program ------------------------------------------------------------------------------ */

static void exchange(struct client *c)
{
    peer_push(c->poll, SIZE_MAX);
    peer_push(c->other, SIZE_MAX);
    turn(app.server, &app.stopped);
    while (peer_pull(c->poll, SIZE_MAX, &events) || peer_pull(c->other, SIZE_MAX, &events))
        continue;
}

static void choose_one_fault(void)
{
    static const enum call some[] = {CALL_MEMORY,    CALL_MEMORY,  CALL_MEMORY,        CALL_RECV,
                                     CALL_SEND,      CALL_SENDMSG, CALL_EPOLL_CTL,     CALL_READ,
                                     CALL_GETRANDOM, CALL_READV,   CALL_EVENTFD_WRITE, CALL_MEMORY};

    choose_fault(&tape, some, sizeof some / sizeof *some);
}

static void pass_time(unsigned n)
{
    calls_clock(calls_clock_us() + n * (uint64_t)10000, app.step_us);
}

static void hang_up(struct client *c, struct peer *p, unsigned how)
{
    c->odd = true;
    (how % 2 != 0 ? peer_half_close : peer_close)(p);
    if (how >= 128) { /* another client takes its place */
        peer_close(c->poll);
        peer_close(c->other);
        *c = (struct client){.poll = c->poll, .other = c->other};
    }
}

static void client_action(unsigned what, struct client *c, struct peer *p)
{
    switch (what) {
    case 0:
        put_poll(c);
        break;
    case 1:
        if (!c->polling && !c->websocket) {
            put_websocket(c, c->poll, false);
            c->websocket = true;
        }
        break;
    case 2:
    case 3:
        put_events(c, 1 + tape_byte(&tape) % 8);
        break;
    case 4:
    case 5:
        put_packet(c, any_packet(c, tape_byte(&tape)));
        break;
    case 6:
        peer_put_frame(p, 0x82, big_list, tape_byte(&tape) & 31);
        c->odd = true;
        break;
    case 7:
        step_upgrade(c);
        break;
    case 8:
        put_odd(c, p);
        break;
    default:
        put_raw(c, p);
        break;
    }
}

static void one_action(void)
{
    unsigned what = tape_byte(&tape);
    struct client *c = &clients[(what >> 4) % CLIENTS];
    struct peer *p = (what & 0x80) != 0 ? c->other : c->poll;

    switch (what & 15) {
    case 10:
        peer_push(p, choose_amount(&tape));
        break;
    case 11:
        peer_pull(p, choose_amount(&tape), &events);
        break;
    case 12:
        pass_time(tape_byte(&tape));
        turn(app.server, &app.stopped);
        break;
    case 13:
        act_now(&tape, act);
        break;
    case 14:
        if ((what & 0x40) != 0)
            script_choose(&app.script, &tape);
        else if ((what & 0x20) != 0)
            choose_one_fault();
        else
            hang_up(c, p, tape_byte(&tape));
        break;
    case 15:
        exchange(c);
        break;
    default:
        client_action(what & 15, c, p);
        break;
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Clients on polling fetch what there is: until a poll is held. */
static void fetch_all(void)
{
    bool some = true;

    for (int i = 0; some && !app.stopped; i++) {
        CHECK(i < QUIET_TURNS);
        some = false;
        for (size_t n = 0; n < CLIENTS; n++) {
            struct client *c = &clients[n];

            if (!c->polling || c->probe != PROBE_NONE || c->odd || c->over || c->sid[0] == '\0' ||
                c->poll->fd < 0 || c->poll->gone || c->poll->request_count > 0)
                continue;
            put_poll(c);
            some = true;
        }
        come_to_rest(app.server, &app.stopped, &events);
    }
}

static bool is_there(const struct peer *p)
{
    return p->fd >= 0 && p->orderly && !p->gone && !p->closing && !p->last_answer;
}

static void check_clients(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct client *c = &clients[i];
        bool settled = c->websocket || (c->polling && c->probe == PROBE_NONE);

        if (c->odd || c->over || !settled || c->sid[0] == '\0' || !is_there(c->poll) ||
            (c->polling && !is_there(c->other)))
            continue;
        CHECK(c->back == c->sent);
    }
}

/* Everybody goes; at last nothing is recoverable any more. */
static void end(size_t memory)
{
    for (size_t i = 0; i < PEERS; i++)
        peer_close(&peers[i]);
    for (int i = 0; i < 60 && !app.stopped; i++) {
        pass_time(100);
        come_to_rest(app.server, &app.stopped, &events);
    }
    if (app.stopped)
        return;
    CHECK(app.server->conns.count == 0);
    CHECK(app.io->engine->session_count == 0);
    CHECK(app.io->sockets.count == 0);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        CHECK(app.sockets[i].state == APP_NONE);
    for (size_t i = 0; i < ASKED_MAX; i++)
        CHECK(!app.asked[i]);
    CHECK(app.forgotten == app.data_set);
    CHECK(app.server->budget.all.used == memory);
}

static void finish(size_t memory)
{
    calls_work();
    app.script.len = 0;
    app.step_us = 0;
    pass_time(0);
    for (size_t i = 0; i < 4; i++)
        eio_decide(&app.decisions[i], NULL);
    come_to_rest(app.server, &app.stopped, &events);
    fetch_all();
    check_clients();
    end(memory);
    app.freeing = true;
    ws_server_free(app.server);
    sio_server_free(app.io);
    CHECK(app.forgotten == app.data_set);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        CHECK(app.sockets[i].state == APP_NONE);
}

static void serve(unsigned how)
{
    static const char *const origins[] = {"http://o", NULL};
    static const char *const headers[] = {"X-K", NULL};
    const struct sio_options options = {
        .engine = {.ping_interval_ms = 1000,
                   .ping_timeout_ms = 500,
                   .upgrade_timeout_ms = 400,
                   .max_payload = (how & 4) != 0 ? 200 : 5000,
                   .max_output = (how & 8) != 0 ? 3000 : 20000,
                   .high_water = (how & 16) != 0 ? 300 : 0,
                   .max_sessions = 12,
                   .origins = origins,
                   .cookie = (how & 32) != 0 ? "io" : NULL,
                   .cors_credentials = true},
        .connect_timeout_ms = 700,
        .recovery_ms = (how & 1) != 0 ? 900 : 0,
        .recovery_asks = (how & 64) != 0,
        .recovery_bytes = 4000,
        .max_binary = 500,
        .max_namespaces = 4,
        .max_rooms = 4,
        .max_acks = 3,
        .keep_headers = headers,
        .on_handshake = on_handshake,
    };
    struct sio_handlers h = {.on_auth = on_auth,
                             .on_abort = on_abort,
                             .on_connect = on_connect,
                             .on_event = on_event,
                             .on_drain = on_drain,
                             .on_disconnect = on_disconnect,
                             .on_forget = on_forget};

    app.io = sio_server_new(app.server, &options);
    CHECK(app.io != NULL && sio_namespace_new(app.io, "/adm", &h) != NULL &&
          sio_namespace_rule(app.io, match, &h) == 0);
    if ((how & 128) == 0)
        h.on_auth = NULL;
    CHECK(sio_namespace_new(app.io, "/", &h) != NULL);
}

static void begin(unsigned how)
{
    static const char *const nowhere[] = {NULL};
    const struct ws_options options = {
        .bind = nowhere,
        .log = on_log,
        .max_memory = (how & 2) != 0 ? 60000 : 2000000,
        .max_queue = (how & 8) != 0 ? 9000 : 200000,
        .high_water = (how & 16) != 0 ? 500 : 0,
        .handshake_timeout_ms = 500,
        .close_timeout_ms = 300,
        .ping_interval_ms = 4000,
        .ping_timeout_ms = 2000,
        .max_clients = 100,
    };

    memset(&app, 0, sizeof app);
    memset(big_list, '7', sizeof big_list - 1);
    peers_reset();
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.poll = &peers[2 * i], .other = &peers[2 * i + 1]};
    calls_reset();
    app.step_us = (how & 64) != 0 ? 100 : 0; /* so that shares of a turn are used up */
    calls_clock(START_US, app.step_us);
    calls_random(1);
    app.actions_left = APP_ACTIONS_MAX;
    app.server = ws_server_new(&options);
    CHECK(app.server != NULL);
    serve(how);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t memory;

    if (size > INPUT_MAX)
        return 0;
    tape = (struct tape){data, size};
    begin(tape_byte(&tape));
    memory = app.server->budget.all.used;
    for (int i = 0; i < ACTIONS_MAX && tape.left > 0 && !app.stopped; i++)
        one_action();
    finish(memory);
    calls_reset();
    return 0;
}
