/* SPDX-License-Identifier: MIT
 *
 * conn_client.c in a real server: who the client of a connection is, and what its address may do.
 * The machine has no other addresses than 127.0.0.0/8 for certain, so clients are told apart by
 * these; each of them is a host of its own. */
#include "server_fixture.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* A client that connects from this address of 127.0.0.0/8. */
static struct raw_client *client_from(struct fixture *f, const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(f->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct raw_client *c = unconnected(f);

    c->label = address;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_int_equal(bind(c->fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    return c;
}

static struct raw_client *upgraded_from(struct fixture *f, const char *address)
{
    struct raw_client *c = client_from(f, address);

    raw_upgrade(c, "/echo");
    return c;
}

static void expect_refused(struct raw_client *c, int status)
{
    struct raw_response r;

    raw_expect_status(c, &r, status);
    assert_true(raw_header_is(&r, "Retry-After", "5"));
    raw_expect_eof(c);
    raw_close(c);
}

static void expect_in_log(struct fixture *f, const char *text)
{
    bool found;

    lock(f);
    found = strstr(f->seen.log, text) != NULL;
    unlock(f);
    if (!found)
        fail_msg("no \"%s\" in the log: %s", text, f->seen.log);
}

/* --- connections of one address --------------------------------------------------------------- */

static void an_address_has_so_many_connections_and_others_have_theirs(void **state)
{
    struct fixture *f = *state;
    struct raw_client *first;

    start(f, (struct ws_options){.max_per_ip = 2});
    first = upgraded_from(f, "127.0.0.2");
    client_from(f, "127.0.0.2"); /* sends nothing, and counts */
    wait_connections(f, 2);
    expect_refused(client_from(f, "127.0.0.2"), 429);
    expect_in_log(f, "refused with 429 Too Many Requests: too many connections from this address "
                     "(ws_options.max_per_ip)");
    upgraded_from(f, "127.0.0.3");
    upgraded_from(f, "127.0.0.3");
    wait_connections(f, 4);
    raw_close(first);
    wait_connections(f, 3);
    upgraded_from(f, "127.0.0.2");
}

/* Those who are refused hold no place, however long they stay. */
static void refused_connections_of_an_address_do_not_count(void **state)
{
    struct fixture *f = *state;
    struct raw_client *first, *refused[4];
    struct raw_response r;

    start(f, (struct ws_options){.max_per_ip = 1, .close_timeout_ms = 3600 * 1000});
    first = upgraded_from(f, "127.0.0.2");
    for (size_t i = 0; i < COUNT(refused); i++) {
        refused[i] = client_from(f, "127.0.0.2");
        raw_expect_status(refused[i], &r, 429);
    }
    raw_close(first);
    wait_connections(f, 0);
    first = upgraded_from(f, "127.0.0.2");
    for (size_t i = 0; i < COUNT(refused); i++)
        raw_close(refused[i]);
    expect_refused(client_from(f, "127.0.0.2"), 429);
    raw_expect_echo(first, "still there");
}

/* Up to 16 refused connections stay until they end or time out. More are closed at once. */
static void a_flood_of_one_address_is_closed_at_once(void **state)
{
    enum { FLOOD = 100 };
    struct fixture *f = *state;
    int fds[FLOOD];
    struct raw_client *c;
    int open;

    start(f, (struct ws_options){.max_per_ip = 1, .close_timeout_ms = 3600 * 1000});
    c = client(f, "the one with a place");
    raw_upgrade(c, "/echo");
    upgraded_from(f, "127.0.0.2");
    open = count_descriptors();
    for (size_t i = 0; i < FLOOD; i++)
        fds[i] = dial(f->port);
    upgraded_from(f, "127.0.0.3");
    raw_expect_echo(c, "still there");
    assert_int_equal(stats(f).connections, 3);
    /* Those of the flood at this end, and at the other end the 16 that get a response. */
    assert_in_range(count_descriptors() - open, FLOOD + 2, FLOOD + 2 + 16);
    for (size_t i = 0; i < FLOOD; i++)
        close(fds[i]);
}

/* Limits that are not given do not hold for clients on this machine. */
static void default_limits_leave_this_machine_alone(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){.max_clients = 4});
    for (int i = 0; i < 4; i++)
        upgraded(f, "/echo");
    expect_refused(client(f, "the fifth"), 503);
}

static void no_limit_of_connections_is_a_limit_too(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){.max_clients = 3, .max_per_ip = SIZE_MAX});
    for (int i = 0; i < 3; i++)
        upgraded(f, "/echo");
    expect_refused(client(f, "the fourth"), 503);
}

static void unix_sockets_have_no_limit_by_address(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char bind_unix[64];
    const char *const addresses[] = {bind_unix, "127.0.0.1", NULL};

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-limits-%d.sock", (int)getpid());
    strcpy(un.sun_path, bind_unix + strlen("unix:"));
    start(f, (struct ws_options){.bind = addresses, .max_per_ip = 1, .handshake_rate = 1});
    for (int i = 0; i < 8; i++) {
        struct raw_client *c = unconnected(f);

        raw_connect_to(c, (struct sockaddr *)&un, sizeof un, 0);
        raw_upgrade(c, "/echo");
    }
    wait_connections(f, 8);
}

/* --- handshakes of one address ---------------------------------------------------------------- */

/* A handshake, whose connection ends at once. Returns the status. */
static int shake(struct fixture *f, const char *address)
{
    struct raw_client *c = client_from(f, address);
    struct raw_response r;

    raw_send_upgrade(c, "/echo", "");
    raw_read_response(c, &r, false);
    raw_close(c);
    raw_init(c);
    return r.status;
}

static void an_address_may_make_so_many_handshakes_a_second(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;
    int passed = 0, refused = 0;
    int64_t start_ms = raw_now_ms();

    start(f, (struct ws_options){.handshake_rate = 1});
    for (int i = 0; i < 12; i++) {
        int status = shake(f, "127.0.0.2");

        passed += status == 101;
        refused += status == 429;
    }
    assert_int_equal(passed + refused, 12);
    assert_in_range(passed, 5, 5 + (raw_now_ms() - start_ms) / 1000 + 1);
    assert_int_equal(shake(f, "127.0.0.3"), 101); /* another address has tokens of its own */
    c = client_from(f, "127.0.0.2");
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 200); /* a plain request is no handshake */
}

static void the_log_names_the_option_that_limits_handshakes(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = NULL;

    start(f, (struct ws_options){.handshake_rate = 1});
    for (int i = 0; i < 10; i++) {
        if (shake(f, "127.0.0.2") != 429)
            continue;
        c = client_from(f, "127.0.0.2");
        raw_send_upgrade(c, "/echo", "");
        break;
    }
    assert_non_null(c);
    expect_refused(c, 429);
    expect_in_log(f, "too many handshakes from this address (ws_options.handshake_rate)");
}

/* --- messages of one connection --------------------------------------------------------------- */

/* Send `n` empty messages in one piece. */
static void send_messages(struct fixture *f, struct raw_client *c, size_t n, unsigned head)
{
    f->out.len = 0;
    for (size_t i = 0; i < n; i++)
        raw_bytes_frame(&f->out, head, "", 0);
    raw_send_bytes(c, &f->out);
}

static void too_many_messages_are_warned_of_and_then_closed_with_1008(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.message_rate = 10, .log_level = WS_LOG_INFO});
    c = upgraded(f, "/echo");
    send_messages(f, c, 99, RAW_TEXT);
    for (int i = 0; i < 99; i++)
        raw_expect_frame(c, RAW_TEXT, "", 0);
    assert_int_equal(read_counter(f, &f->seen.errors), 0);
    send_messages(f, c, 1, RAW_TEXT); /* the second 50 within 5 s */
    raw_expect_frame(c, RAW_TEXT, "", 0);
    expect_in_log(f, "sends over 10 messages a second, and is closed if it goes on "
                     "(ws_options.message_rate)");
    send_messages(f, c, 50, RAW_TEXT);
    for (int i = 0; i < 50; i++)
        raw_expect_frame(c, RAW_TEXT, "", 0);
    raw_expect_close(c, WS_CLOSE_POLICY);
    expect_on_close(f, 1, WS_CLOSE_POLICY);
    expect_well(f);
}

static void pings_and_pongs_count_as_messages(void **state)
{
    static const unsigned heads[] = {RAW_PING, RAW_PONG};
    struct fixture *f = *state;

    start(f, (struct ws_options){.message_rate = 1});
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct raw_client *c = upgraded(f, "/echo");

        send_messages(f, c, 15, heads[i]);
        if (!raw_gone_within(c, PATIENCE_MS))
            fail_msg("no limit for %#x", heads[i]);
        expect_on_close(f, (int)i + 1, WS_CLOSE_POLICY);
    }
}

/* A message in many pieces is one. */
static void fragments_do_not_count_as_messages(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.message_rate = 1});
    c = upgraded(f, "/echo");
    raw_send_frame(c, RAW_TEXT_PART, "a", 1);
    for (int i = 0; i < 50; i++)
        raw_send_frame(c, RAW_CONTINUATION_PART, "a", 1);
    raw_send_frame(c, RAW_CONTINUATION, "a", 1);
    raw_expect_frame(c, RAW_TEXT, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 52);
}

/* The span of 5 s ends by a timer, with whatever other deadlines there are; nobody is closed who
 * sends at most at the rate. */
static void a_peer_at_the_rate_is_never_warned(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.message_rate = 40, .ping_interval_ms = 300});
    c = upgraded(f, "/echo");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++) { /* the allotment, and in round 2 it is spent again */
            raw_send_frame(c, RAW_TEXT, "", 0);
            raw_expect_frame(c, RAW_TEXT, "", 0);
        }
        sleep_ms(5300);
        while (raw_readable_within(c, 0))
            raw_expect_frame(c, RAW_PING, "", 0);
    }
    assert_int_equal(read_counter(f, &f->seen.errors), 0);
    raw_expect_echo(c, "still there");
}

static void without_a_limit_messages_pass_at_any_rate(void **state)
{
    static const unsigned rates[] = {0, UINT_MAX}; /* the default is not for this machine */
    enum { MANY = 200000 };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(rates); i++) {
        struct raw_client *c;

        start(f, (struct ws_options){.message_rate = rates[i]});
        c = upgraded(f, "/echo");
        send_messages(f, c, MANY, RAW_PONG);
        raw_expect_echo(c, "still there");
        raw_close(c);
        stop_and_join(f);
        ws_server_free(f->server);
        f->server = NULL;
    }
}

/* --- clients of a trusted proxy --------------------------------------------------------------- */

#define PROXY "127.0.0.2"

static const char *const trusted[] = {PROXY, "10.0.0.0/8", NULL};

/* Answer with the client's address, and the number of its host. */
static void say_who(struct ws_conn *c, const struct ws_request *req)
{
    char text[WS_ADDRESS_SIZE + 32], address[WS_ADDRESS_SIZE];
    uint64_t host = 0;
    bool known = ws_conn_host(c, &host);

    (void)req;
    snprintf(text, sizeof text, "%s %s%llx", ws_conn_address(c, address), known ? "" : "no host ",
             (unsigned long long)host);
    ws_respond(c, 200, NULL, 0, text, strlen(text));
}

static void say_who_opened(struct ws_conn *c, const struct ws_request *req)
{
    char address[WS_ADDRESS_SIZE];

    (void)req;
    ws_conn_address(c, address);
    ws_send(c, WS_OP_TEXT, address, strlen(address));
}

static void start_behind(struct fixture *f, struct ws_options options)
{
    options.trust_proxy = trusted;
    create(f, options);
    serve(f, "/who", (struct ws_handlers){.on_request = say_who, .on_open = say_who_opened});
    serve(f, "/late", (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
    run(f);
}

/* Send a request for /who with these field lines, and expect an answer that begins so. */
static void expect_who(struct raw_client *c, const char *lines, const char *who)
{
    char request[512];
    struct raw_response r;

    snprintf(request, sizeof request, "GET /who HTTP/1.1\r\n" HOST "%s\r\n", lines);
    raw_send_text(c, request);
    raw_expect_status(c, &r, 200);
    if (r.body_len < strlen(who) || memcmp(r.body, who, strlen(who)) != 0)
        raw_fail(c, "%.*s, not %s", (int)r.body_len, (const char *)r.body, who);
}

static void only_a_trusted_peer_can_name_a_client(void **state)
{
    struct fixture *f = *state;

    start_behind(f, (struct ws_options){0});
    expect_who(client_from(f, PROXY), "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1 c0000201");
    expect_who(client_from(f, "127.0.0.3"), "X-Forwarded-For: 192.0.2.1\r\n", "127.0.0.3:");
    expect_who(client_from(f, "127.0.0.3"), "Forwarded: for=192.0.2.1\r\n", "127.0.0.3:");
    expect_who(client_from(f, PROXY), "", PROXY ":");
}

static void no_proxy_is_trusted_unless_it_is_named(void **state)
{
    struct fixture *f = *state;

    create(f, (struct ws_options){0});
    serve(f, "/who", (struct ws_handlers){.on_request = say_who});
    run(f);
    expect_who(client_from(f, PROXY), "X-Forwarded-For: 192.0.2.1\r\n", PROXY ":");
}

/* A proxy keeps its connections, and uses one for whoever comes next. */
static void the_client_is_that_of_the_request_not_of_the_connection(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_behind(f, (struct ws_options){0});
    c = client_from(f, PROXY);
    expect_who(c, "X-Forwarded-For: 192.0.2.1:81\r\n", "192.0.2.1:81 c0000201");
    expect_who(c, "X-Forwarded-For: 2001:db8::5\r\n", "2001:db8::5 20010db800000000");
    expect_who(c, "X-Forwarded-For: [2001:db8::5]:9\r\n", "[2001:db8::5]:9 20010db800000000");
    expect_who(c, "", PROXY ":");
    expect_who(c, "X-Forwarded-For: 192.0.2.3, unknown, 10.1.2.3\r\n", "10.1.2.3 no host");
    expect_who(c, "X-Forwarded-For: 192.0.2.3\r\nX-Forwarded-For: 192.0.2.4, 10.0.0.1\r\n",
               "192.0.2.4 c0000204");
}

static void pipelined_requests_have_their_own_clients(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_behind(f, (struct ws_options){0});
    c = client_from(f, PROXY);
    raw_send_text(c, "GET /who HTTP/1.1\r\n" HOST "X-Forwarded-For: 192.0.2.1\r\n\r\n"
                     "GET /who HTTP/1.1\r\n" HOST "\r\n"
                     "GET /who HTTP/1.1\r\n" HOST "X-Forwarded-For: 192.0.2.2\r\n\r\n");
    expect_body(c, "192.0.2.1 c0000201");
    raw_expect_status(c, &r, 200);
    assert_memory_equal(r.body, PROXY ":", strlen(PROXY ":"));
    expect_body(c, "192.0.2.2 c0000202");
}

static void the_field_that_the_proxy_does_not_write_is_the_clients(void **state)
{
    struct fixture *f = *state;

    start_behind(f, (struct ws_options){.proxy_header = WS_PROXY_FORWARDED});
    expect_who(client_from(f, PROXY),
               "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=\"[2001:db8::1]:80\"\r\n",
               "[2001:db8::1]:80 20010db800000000");
    expect_who(client_from(f, PROXY), "X-Forwarded-For: 203.0.113.9\r\n", PROXY ":");
}

static void a_websocket_keeps_the_client_that_opened_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_behind(f, (struct ws_options){.log_level = WS_LOG_INFO});
    c = client_from(f, PROXY);
    raw_send_upgrade(c, "/who", "X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\n");
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "192.0.2.1");
    raw_send_frame(c, 0xff, "", 0); /* illegal, and so in the log */
    if (!raw_gone_within(c, PATIENCE_MS))
        fail_msg("an illegal frame ended nothing");
    expect_in_log(f, "#1 192.0.2.1 failed with 1002");
}

/* The next request on the connection may be of another client. */
static void a_malformed_request_is_blamed_on_no_earlier_client(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_behind(f, (struct ws_options){0});
    c = client_from(f, PROXY);
    expect_who(c, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1");
    raw_send_text(c, "nonsense of another\r\n\r\n");
    raw_expect_status(c, &r, 400);
    expect_in_log(f, "#1 " PROXY ":");
}

/* --- limits behind a proxy -------------------------------------------------------------------- */

/* A handshake through the proxy. Returns the client, which got this status. */
static struct raw_client *proxied(struct fixture *f, const char *client, int status)
{
    struct raw_client *c = client_from(f, PROXY);
    struct raw_response r;
    char field[128];

    c->label = client;
    snprintf(field, sizeof field, "X-Forwarded-For: %s\r\n", client);
    raw_send_upgrade(c, "/echo", field);
    raw_expect_status(c, &r, status);
    return c;
}

static void limits_count_the_clients_and_not_their_proxy(void **state)
{
    struct fixture *f = *state;
    struct raw_client *first;

    start_behind(f, (struct ws_options){.max_per_ip = 1});
    client_from(f, PROXY); /* no request has named a client */
    client_from(f, PROXY);
    wait_connections(f, 2);
    first = proxied(f, "192.0.2.1", 101);
    proxied(f, "192.0.2.1", 429);
    expect_in_log(f, "192.0.2.1 refused with 429");
    proxied(f, "::ffff:192.0.2.1", 429);
    proxied(f, "192.0.2.2", 101);
    proxied(f, "2001:db8::1", 101);
    proxied(f, "2001:db8::2", 429); /* the same /64 */
    proxied(f, "2001:db8:0:1::2", 101);
    for (int i = 0; i < 3; i++)
        proxied(f, "unknown", 101); /* without an address, so no limit */
    raw_close(first);
    wait_connections(f, 8);
    proxied(f, "192.0.2.1", 101);
}

/* The default limits are for clients of a proxy on this machine, too. */
static void default_limits_hold_for_clients_behind_a_proxy(void **state)
{
    struct fixture *f = *state;

    start_behind(f, (struct ws_options){.max_clients = 6});
    for (int i = 0; i < 3; i++)
        proxied(f, "192.0.2.1", 101);
    proxied(f, "192.0.2.1", 429);
    proxied(f, "192.0.2.2", 101);
}

static void a_connection_counts_for_a_client_while_it_serves_it(void **state)
{
    static const char late[] =
        "GET /late?200 HTTP/1.1\r\n" HOST "X-Forwarded-For: 192.0.2.1\r\n\r\n";
    struct fixture *f = *state;
    struct raw_client *first, *second;
    struct raw_response r;

    start_behind(f, (struct ws_options){.max_per_ip = 1});
    first = client_from(f, PROXY);
    raw_send_text(first, late);
    wait_until(f, &f->seen.requests, 1, "requests");
    proxied(f, "192.0.2.1", 429);
    raw_expect_status(first, &r, 200);
    second = client_from(f, PROXY);
    for (int i = 0; i < 3; i++) { /* both are kept alive, and idle in between */
        expect_who(first, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1");
        expect_who(second, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1");
    }
    proxied(f, "192.0.2.1", 101);
}

static void handshakes_are_counted_for_the_client(void **state)
{
    struct fixture *f = *state;
    int refused = 0;

    start_behind(f, (struct ws_options){.handshake_rate = 1});
    for (int i = 0; i < 12; i++) {
        struct raw_client *c = client_from(f, PROXY);
        struct raw_response r;

        raw_send_upgrade(c, "/echo", "X-Forwarded-For: 192.0.2.1\r\n");
        raw_read_response(c, &r, false);
        refused += r.status == 429;
        raw_close(c);
        raw_init(c);
    }
    assert_in_range(refused, 1, 7);
    proxied(f, "192.0.2.2", 101);
}

/* What was counted for nobody yet, the pieces of a head, is the client's from then on. The
 * assertions of accounts and hosts see whether it is given back there. */
static void memory_moves_to_the_client_with_the_head(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;
    static const char head[] = "POST /http HTTP/1.1\r\n" HOST "X-Forwarded-For: 192.0.2.1\r\n"
                               "Content-Length: 3\r\n\r\n";

    start_behind(f, (struct ws_options){0});
    c = client_from(f, PROXY);
    raw_send_chunks(c, head, sizeof head - 1, 7);
    raw_send_text(c, "ab");
    sleep_ms(20);
    raw_send_text(c, "c");
    raw_expect_status(c, &r, 200);
    expect_who(c, "X-Forwarded-For: 192.0.2.2\r\n", "192.0.2.2");
    raw_send_text(c, "GET / HTT");
    sleep_ms(20);
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

static void a_proxy_may_come_by_a_unix_socket(void **state)
{
    static const char *const unix_proxy[] = {"unix", NULL};
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char bind_unix[64];
    const char *const addresses[] = {bind_unix, "127.0.0.1", NULL};
    struct raw_client *c;

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-proxy-%d.sock", (int)getpid());
    strcpy(un.sun_path, bind_unix + strlen("unix:"));
    create(f, (struct ws_options){.bind = addresses, .trust_proxy = unix_proxy});
    serve(f, "/who", (struct ws_handlers){.on_request = say_who});
    run(f);
    c = unconnected(f);
    raw_connect_to(c, (struct sockaddr *)&un, sizeof un, 0);
    expect_who(c, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1 c0000201");
    expect_who(c, "", "unix no host");
    expect_who(client_from(f, "127.0.0.1"), "X-Forwarded-For: 192.0.2.1\r\n", "127.0.0.1:");
}

static void a_proxy_that_is_no_address_is_refused_at_the_start(void **state)
{
    static const char *const bad[] = {"10.0.0.0/8", "proxy.example", NULL};
    struct fixture *f = *state;

    assert_null(
        ws_server_new(&(struct ws_options){.trust_proxy = bad, .log = keep_log, .log_arg = f}));
    expect_in_log(f, "proxy 'proxy.example' cannot be trusted: neither an address");
    expect_in_log(f, "(ws_options.trust_proxy)");
}

/* --- the PROXY protocol ----------------------------------------------------------------------- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TO_IPV4   "\xc0\0\2\1\xcb\0\x71\2\x12\x34\1\xbb"

static struct raw_client *start_proxy_protocol(struct fixture *f, struct ws_options options)
{
    options.proxy_header = WS_PROXY_PROTOCOL;
    start_behind(f, options);
    return client_from(f, PROXY);
}

static void a_header_in_front_of_the_connection_names_the_client(void **state)
{
    static const char line[] = "PROXY TCP4 192.0.2.1 203.0.113.2 4660 443\r\n";
    struct fixture *f = *state;
    struct raw_client *c = start_proxy_protocol(f, (struct ws_options){0});

    raw_send_chunks(c, line, sizeof line - 1, 1);
    expect_who(c, "", "192.0.2.1:4660 c0000201");
    /* for all requests, whatever the client writes */
    expect_who(c, "X-Forwarded-For: 203.0.113.9\r\n", "192.0.2.1:4660 c0000201");
    c = client_from(f, PROXY);
    raw_send(c, BYTES(SIGNATURE "\x21\x11\0\x0c" TO_IPV4));
    expect_who(c, "", "192.0.2.1:4660");
    c = client_from(f, PROXY);
    raw_send_text(c, "PROXY TCP6 2001:db8::1 ::1 5 6\r\n");
    raw_upgrade(c, "/who");
    raw_expect_message(c, "[2001:db8::1]:5");
}

static void tlvs_of_64_kib_are_skipped_without_memory(void **state)
{
    enum { ANNOUNCED = 65535, ADDRESSES = 12 };
    struct fixture *f = *state;
    struct raw_client *c = start_proxy_protocol(f, (struct ws_options){0});
    char *tlvs = calloc(1, ANNOUNCED);

    raw_send(c, BYTES(SIGNATURE "\x21\x11\xff\xff" TO_IPV4));
    raw_send_chunks(c, tlvs, ANNOUNCED - ADDRESSES - 5000, 5000);
    assert_in_range(stats(f).buffered, 0, 1024);
    raw_send(c, tlvs, 5000);
    free(tlvs);
    expect_who(c, "", "192.0.2.1:4660");
}

static void a_connection_of_the_proxy_itself_has_no_client(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_proxy_protocol(f, (struct ws_options){.max_per_ip = 1});

    raw_send(c, BYTES(SIGNATURE "\x20\x11\0\x0c" TO_IPV4)); /* LOCAL */
    expect_who(c, "", PROXY ":");
    c = client_from(f, PROXY);
    raw_send(c, BYTES(SIGNATURE "\x21\0\0\3abc")); /* AF_UNSPEC */
    expect_who(c, "", PROXY ":");
    c = client_from(f, PROXY);
    raw_send_text(c, "PROXY UNKNOWN\r\n");
    expect_who(c, "", PROXY ":");
}

static void a_proxy_that_sends_no_header_is_refused(void **state)
{
    static const char *const beginnings[] = {
        "GET /who HTTP/1.1\r\n" HOST "\r\n", "PROXY TCP4 192.0.2.1 203.0.113.2 4660\r\n",
        "PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "\r\n\r\nGET /who HTTP/1.1\r\n" HOST "\r\n"};
    struct fixture *f = *state;
    struct raw_client *c = start_proxy_protocol(f, (struct ws_options){0});
    struct raw_response r;

    for (size_t i = 0; i < COUNT(beginnings); i++) {
        raw_send_text(c, beginnings[i]);
        raw_expect_status(c, &r, 400);
        raw_expect_eof(c);
        raw_close(c);
        expect_in_log(f, "not a PROXY protocol header, which this proxy has to send "
                         "(ws_options.proxy_header)");
        raw_init(c);
        c = client_from(f, PROXY);
    }
}

static void others_cannot_send_that_header(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    start_behind(f, (struct ws_options){.proxy_header = WS_PROXY_PROTOCOL});
    expect_who(client_from(f, "127.0.0.3"), "X-Forwarded-For: 192.0.2.1\r\n", "127.0.0.3:");
    c = client_from(f, "127.0.0.3");
    raw_send_text(c,
                  "PROXY TCP4 192.0.2.1 203.0.113.2 4660 443\r\nGET /who HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 400);
    c = client_from(f, "127.0.0.3");
    raw_send(c, BYTES(SIGNATURE "\x21\x11\0\x0c" TO_IPV4));
    raw_expect_status(c, &r, 400);
}

static void limits_count_the_client_of_the_header_at_once(void **state)
{
    static const char line[] = "PROXY TCP4 192.0.2.1 203.0.113.2 1 2\r\n";
    struct fixture *f = *state;
    struct raw_client *c = start_proxy_protocol(f, (struct ws_options){.max_per_ip = 1});

    raw_send_text(c, line);
    expect_who(c, "", "192.0.2.1:1"); /* and idle from now on, but it is the client's */
    c = client_from(f, PROXY);
    raw_send_text(c, line);
    expect_refused(c, 429);
}

#include "tests/test_conn_client.list"

int main(void)
{
    return cmocka_run_group_tests_name("conn_client", tests, NULL, NULL);
}
