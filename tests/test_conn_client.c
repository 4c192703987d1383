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

/* More than get a response in peace: the others get a short one, and none of them a place. */
static void a_flood_of_one_address_is_closed_at_once(void **state)
{
    enum { FLOOD = 100 };
    struct fixture *f = *state;
    int fds[FLOOD];
    struct raw_client *c;

    start(f, (struct ws_options){.max_per_ip = 1, .close_timeout_ms = 3600 * 1000});
    c = client(f, "the one with a place");
    raw_upgrade(c, "/echo");
    for (size_t i = 0; i < FLOOD; i++)
        fds[i] = dial(f->port);
    raw_expect_echo(c, "still there");
    upgraded_from(f, "127.0.0.2");
    assert_int_equal(stats(f).connections, 2);
    for (size_t i = 0; i < FLOOD; i++)
        close(fds[i]);
}

/* Not where the client is on this machine, and the limit is nobody's wish. */
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
    for (int i = 0; i < 49; i++)
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

#include "tests/test_conn_client.list"

int main(void)
{
    return cmocka_run_group_tests_name("conn_client", tests, NULL, NULL);
}
