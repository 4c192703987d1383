/* SPDX-License-Identifier: MIT
 *
 * ws_detach(), ws_adopt(), and listening sockets that several servers have. Two servers in one
 * thread: `a` gives the connections of /away to `b`, turn by turn, so that each step is certain. */
#include "server_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "oom.h"

struct pair {
    struct fixture *a, *b;
    struct ws_conn *other; /* of `a`: for calls that must be refused */
    int detached[8];       /* what ws_detach() returned, in order */
    size_t calls;
    int adopted; /* what the last ws_adopt() returned */
};

static int setup_pair(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    void *f;

    setup(&f);
    p->a = f;
    setup(&f);
    p->b = f;
    *state = p;
    return 0;
}

static int teardown_pair(void **state)
{
    struct pair *p = *state;
    void *f = p->a;

    teardown(&f);
    f = p->b;
    teardown(&f);
    free(p);
    return 0;
}

/* --- callbacks -------------------------------------------------------------------------------- */

static int detach(struct pair *p, struct ws_conn *c, struct ws_str bytes[2])
{
    int fd = ws_detach(c, bytes);

    if (p->calls < COUNT(p->detached))
        p->detached[p->calls++] = fd;
    return fd;
}

static void give_away(struct ws_conn *c, const struct ws_request *req)
{
    struct pair *p = ws_user(c);
    struct ws_str bytes[2];
    int fd = detach(p, c, bytes);
    char all[4096];

    (void)req;
    if (fd < 0)
        return;
    memcpy(all, bytes[0].len > 0 ? bytes[0].data : "", bytes[0].len);
    memcpy(all + bytes[0].len, bytes[1].data, bytes[1].len);
    p->adopted = ws_adopt(p->b->server, fd, all, bytes[0].len + bytes[1].len);
}

/* "ADDRESS METHOD PATH [BODY]" */
static void tell(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str method = ws_request_method(req), path = ws_request_path(req);
    struct ws_str body = ws_request_body(req);
    char address[WS_ADDRESS_SIZE], text[512];

    ws_conn_address(c, address);
    if (strncmp(address, "127.0.0.1:", 10) == 0)
        address[9] = '\0'; /* the port is the system's choice */
    snprintf(text, sizeof text, "%s %.*s %.*s [%.*s]", address, (int)method.len, method.data,
             (int)path.len, path.data, (int)body.len, body.data != NULL ? body.data : "");
    ws_respond(c, 200, NULL, 0, text, strlen(text));
}

static void count_abort(struct ws_conn *c)
{
    struct pair *p = ws_user(c);

    p->a->seen.aborted++;
}

static void serve_pair(struct pair *p)
{
    const struct ws_handlers away = {.on_head = give_away,
                                     .on_request = tell,
                                     .on_upgrade = give_away,
                                     .on_message = echo,
                                     .on_abort = count_abort,
                                     .user = p};

    assert_int_equal(ws_server_handle(p->a->server, "/away", &away), 0);
    serve(p->b, "/away", (struct ws_handlers){.on_request = tell, .on_message = echo});
    serve(p->a, "/here", (struct ws_handlers){.on_request = tell});
}

static void create_pair(struct pair *p, struct ws_options options)
{
    create(p->a, options);
    create(p->b, options);
    serve_pair(p);
}

/* Turn after turn of both, until nothing is ready. */
static void let_both_serve(struct pair *p)
{
    for (int i = 0; i < 4; i++) {
        let_serve(p->a);
        let_serve(p->b);
    }
}

static struct raw_client *client_of(struct pair *p, const char *label)
{
    struct raw_client *c = client(p->a, label);

    let_both_serve(p);
    return c;
}

static void send_both_serve(struct pair *p, struct raw_client *c, const char *text)
{
    raw_send_text(c, text);
    let_both_serve(p);
}

/* --- what is handed over ---------------------------------------------------------------------- */

/* Two requests: the second one comes pipelined behind the body of the first. */
static void requests_are_answered_by_the_other_server_at_every_split(void **state)
{
    static const char wire[] =
        "POST /away/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
        "helloGET /away/2 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct pair *p = *state;

    create_pair(p, (struct ws_options){0});
    for (size_t n = 0; n < sizeof wire; n++) {
        struct raw_client *c = client_of(p, "split");

        if (n > 0)
            raw_send(c, wire, n);
        let_both_serve(p);
        if (n < sizeof wire - 1)
            raw_send(c, wire + n, sizeof wire - 1 - n);
        let_both_serve(p);
        expect_body(c, "127.0.0.1 POST /away/1 [hello]");
        expect_body(c, "127.0.0.1 GET /away/2 []");
        assert_int_equal(p->adopted, 0);
        assert_int_equal(ws_server_stats(p->a->server).connections, 0);
        assert_int_equal(ws_server_stats(p->b->server).connections, 1);
        raw_close(c);
        let_both_serve(p);
    }
    assert_int_equal(p->a->seen.aborted, 0);
    assert_int_equal(ws_server_stats(p->b->server).connections, 0);
    assert_int_equal(ws_server_stats(p->a->server).buffered, 0);
    assert_int_equal(ws_server_stats(p->b->server).buffered, 0);
}

static void chunked_body_that_has_begun_goes_along(void **state)
{
    static const char wire[] = "POST /away HTTP/1.1\r\nHost: localhost\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    struct pair *p = *state;

    create_pair(p, (struct ws_options){0});
    for (size_t n = 1; n < sizeof wire - 1; n++) {
        struct raw_client *c = client_of(p, "chunks");

        raw_send(c, wire, n);
        let_both_serve(p);
        raw_send(c, wire + n, sizeof wire - 1 - n);
        let_both_serve(p);
        expect_body(c, "127.0.0.1 POST /away [abcde]");
        raw_close(c);
        let_both_serve(p);
    }
}

static void handshake_is_accepted_by_the_other_server_at_every_split(void **state)
{
    struct pair *p = *state;
    struct raw_bytes wire = {0};

    create_pair(p, (struct ws_options){0});
    raw_bytes_upgrade(&wire, "/away", "");
    raw_bytes_frame(&wire, RAW_TEXT, "hello", 5);
    for (size_t n = 1; n < wire.len; n++) {
        struct raw_client *c = client_of(p, "split");
        struct raw_response r;

        raw_send(c, wire.data, n);
        let_both_serve(p);
        raw_send(c, wire.data + n, wire.len - n);
        let_both_serve(p);
        raw_expect_upgraded(c, &r);
        raw_expect_message(c, "hello");
        raw_send_message(c, "again");
        let_both_serve(p);
        raw_expect_message(c, "again");
        assert_int_equal(ws_server_stats(p->a->server).connections, 0);
        raw_close(c);
        let_both_serve(p);
    }
    raw_bytes_release(&wire);
}

static void client_that_a_proxy_named_stays_the_same(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    static const struct {
        const char *line, *address;
    } cases[] = {{"PROXY TCP4 192.0.2.7 203.0.113.2 56324 443\r\n", "192.0.2.7:56324"},
                 {"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324"},
                 {"PROXY UNKNOWN\r\n", "127.0.0.1"}};
    struct pair *p = *state;

    create_pair(p, (struct ws_options){.trust_proxy = proxies, .proxy_header = WS_PROXY_PROTOCOL});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = client_of(p, cases[i].line);
        char body[128];

        raw_send_text(c, cases[i].line);
        send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
        snprintf(body, sizeof body, "%s GET /away []", cases[i].address);
        expect_body(c, body);
        send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
        expect_body(c, body);
        raw_close(c);
        let_both_serve(p);
    }
}

static void header_of_a_proxy_may_be_split_anywhere(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    static const char wire[] = "PROXY TCP4 192.0.2.7 203.0.113.2 56324 443\r\n"
                               "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct pair *p = *state;

    create_pair(p, (struct ws_options){.trust_proxy = proxies, .proxy_header = WS_PROXY_PROTOCOL});
    for (size_t n = 1; n < sizeof wire - 1; n++) {
        struct raw_client *c = client_of(p, "split");

        raw_send(c, wire, n);
        let_both_serve(p);
        raw_send(c, wire + n, sizeof wire - 1 - n);
        let_both_serve(p);
        expect_body(c, "192.0.2.7:56324 GET /away []");
        raw_close(c);
        let_both_serve(p);
    }
}

static void client_of_a_field_is_read_from_the_head_again(void **state)
{
    static const char *const proxies[] = {"127.0.0.1", NULL};
    struct pair *p = *state;
    struct raw_client *c;

    create_pair(p, (struct ws_options){.trust_proxy = proxies});
    c = client_of(p, "field");
    send_both_serve(p, c,
                    "GET /away HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n");
    expect_body(c, "192.0.2.9 GET /away []");
}

static void later_request_of_a_connection_is_handed_over(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;

    create_pair(p, (struct ws_options){0});
    c = client_of(p, "keep-alive");
    send_both_serve(p, c, "GET /here HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /here []");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /away []");
    assert_int_equal(ws_server_stats(p->a->server).connections, 0);
    /* pipelined: the first answer is still staged when the second request is handed over */
    raw_close(c);
    c = client_of(p, "pipelined");
    send_both_serve(p, c,
                    "GET /here HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /here []");
    expect_body(c, "127.0.0.1 GET /away []");
}

/* --- when it is not possible ------------------------------------------------------------------ */

static void respond_large(struct ws_conn *c, const struct ws_request *req)
{
    uint8_t *data = make_payload(8 * MIB, true);

    (void)req;
    ws_respond(c, 200, NULL, 0, data, 8 * MIB);
    free(data);
}

static void request_behind_an_unread_response_stays(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;

    create_pair(p, (struct ws_options){.high_water = 16 * MIB, .max_queue = 32 * MIB});
    serve(p->a, "/large", (struct ws_handlers){.on_request = respond_large});
    c = slow_client(p->a, "slow");
    let_both_serve(p);
    send_both_serve(p, c,
                    "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(p->calls, 1);
    assert_int_equal(p->detached[0], WS_ERR_FULL);
    assert_int_equal(ws_server_stats(p->a->server).connections, 1);
}

static void detach_other(struct ws_conn *c, const struct ws_request *req)
{
    struct pair *p = ws_user(c);
    struct ws_str bytes[2];

    (void)req;
    if (p->other == NULL) {
        p->other = c;
        return; /* its body is still to come */
    }
    detach(p, p->other, bytes);
    ws_respond(c, 200, NULL, 0, "ok", 2);
    detach(p, c, bytes); /* it is answered */
}

static void detach_late(struct ws_conn *c, const struct ws_request *req)
{
    struct pair *p = ws_user(c);
    struct ws_str bytes[2];

    detach(p, c, bytes);
    tell(c, req);
}

static void detach_refused(struct ws_conn *c, const struct ws_request *req, int status)
{
    struct pair *p = ws_user(c);
    struct ws_str bytes[2];

    (void)req;
    detach(p, c, bytes);
    ws_respond(c, status, NULL, 0, "no", 2);
}

static void only_the_request_in_hand_can_be_taken_and_before_its_answer(void **state)
{
    struct pair *p = *state;
    const struct ws_handlers late = {
        .on_request = detach_late, .on_refuse = detach_refused, .max_message = 4, .user = p};
    const struct ws_handlers other = {
        .on_head = detach_other, .on_request = detach_late, .user = p};
    struct raw_client *c;

    create_pair(p, (struct ws_options){0});
    assert_int_equal(ws_server_handle(p->a->server, "/late", &late), 0);
    assert_int_equal(ws_server_handle(p->a->server, "/other", &other), 0);
    c = client_of(p, "in on_request");
    send_both_serve(p, c, "GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /late []");
    send_both_serve(p, c, "POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    expect_last_response(c, 413);
    raw_close(c);
    c = client_of(p, "a body to come");
    send_both_serve(p, c, "POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    send_both_serve(p, client_of(p, "another"), "GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(p->calls, 4);
    for (size_t i = 0; i < p->calls; i++)
        assert_int_equal(p->detached[i], WS_ERR_CLOSED);
    send_both_serve(p, c, "hello");
    expect_body(c, "127.0.0.1 POST /other [hello]");
    assert_int_equal(p->detached[4], WS_ERR_CLOSED);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void limits_of_the_other_server_hold(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;
    struct raw_response r;

    create(p->a, (struct ws_options){0});
    ws_server_handle(p->a->server, "/away",
                     &(struct ws_handlers){.on_head = give_away, .on_request = tell, .user = p});
    create(p->b, (struct ws_options){.max_clients = 2, .max_per_ip = 1});
    serve(p->b, "/away", (struct ws_handlers){.on_request = tell});
    c = client_of(p, "first");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /away []");
    c = client_of(p, "second of its address");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(p->adopted, WS_ERR_FULL);
    raw_expect_status(c, &r, 429);
    raw_expect_eof(c);
    raw_close(c);
    let_both_serve(p);
}

static void over_max_clients_the_client_gets_503(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;
    struct raw_response r;

    create(p->a, (struct ws_options){0});
    ws_server_handle(p->a->server, "/away",
                     &(struct ws_handlers){.on_head = give_away, .on_request = tell, .user = p});
    create(p->b, (struct ws_options){.max_clients = 1});
    client(p->b, "takes the place");
    let_both_serve(p);
    c = client_of(p, "one too many");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(p->adopted, WS_ERR_FULL);
    raw_expect_status(c, &r, 503);
    raw_expect_eof(c);
}

static void without_memory_the_client_gets_503_or_is_closed(void **state)
{
    struct pair *p = *state;

    create_pair(p, (struct ws_options){.max_memory = MIB});
    for (int n = 1; n <= 8; n++) {
        struct raw_client *c = client_of(p, "out of memory");

        raw_send_text(c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
        p->calls = 0;
        oom_once(n - 1);
        let_both_serve(p);
        oom_after(-1);
        let_both_serve(p);
        assert_true(raw_readable_within(c, PATIENCE_MS)); /* an answer of any kind, or the end */
        raw_close(c);
        let_both_serve(p);
        assert_int_equal(ws_server_stats(p->a->server).connections, 0);
        assert_int_equal(ws_server_stats(p->b->server).connections, 0);
    }
}

static void client_that_has_gone_is_no_client(void **state)
{
    struct pair *p = *state;
    int sockets[2];

    create_pair(p, (struct ws_options){0});
    assert_int_equal(ws_adopt(p->b->server, -1, NULL, 0), WS_ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
    sockets[0] = socket(AF_INET, SOCK_STREAM, 0); /* not connected */
    assert_int_equal(ws_adopt(p->b->server, sockets[0], "x", 1), WS_ERR_SYSTEM);
    assert_int_equal(errno, ENOTCONN);
    assert_int_equal(fcntl(sockets[0], F_GETFD), -1); /* it was closed */
    assert_int_equal(ws_server_stats(p->b->server).connections, 0);
}

static void descriptor_that_blocks_is_adopted_and_does_not(void **state)
{
    struct pair *p = *state;
    int sockets[2];

    create_pair(p, (struct ws_options){0});
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_int_equal(ws_adopt(p->b->server, sockets[0], "GET /http HTTP/1.1\r\n", 20), 0);
    assert_true((fcntl(sockets[0], F_GETFL) & O_NONBLOCK) != 0);
    let_both_serve(p);
    assert_int_equal(ws_server_stats(p->b->server).connections, 1);
    close(sockets[1]);
    let_both_serve(p);
    assert_int_equal(ws_server_stats(p->b->server).connections, 0);
}

static void names_of_the_listening_socket_hold_for_what_is_adopted(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;
    struct raw_response r;

    create_pair(p, (struct ws_options){0});
    c = client_of(p, "rebinding");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /away []");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    raw_expect_status(c, &r, 421);
}

static void server_that_stops_closes_what_it_is_given(void **state)
{
    struct pair *p = *state;
    int sockets[2];

    create_pair(p, (struct ws_options){0});
    ws_server_stop(p->b->server);
    let_serve(p->b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_int_equal(ws_adopt(p->b->server, sockets[0], NULL, 0), WS_ERR_CLOSED);
    assert_int_equal(fcntl(sockets[0], F_GETFD), -1);
    close(sockets[1]);
}

static bool is_listening(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listening;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return listening;
}

/* --- draining --------------------------------------------------------------------------------- */

static void draining_server_serves_on_and_accepts_nobody(void **state)
{
    struct pair *p = *state;
    struct raw_client *c, *web, *late;
    struct raw_response r;

    create_pair(p, (struct ws_options){0});
    web = client(p->b, "a WebSocket");
    raw_send_upgrade(web, "/echo", "");
    let_both_serve(p);
    raw_expect_upgraded(web, &r);
    late = client(p->b, "a request that comes later");
    let_both_serve(p);
    ws_server_drain(p->b->server);
    let_both_serve(p);
    raw_send_message(web, "still there?");
    raw_send_text(late, "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let_both_serve(p);
    raw_expect_message(web, "still there?");
    expect_last_response(late, 200);
    c = client_of(p, "handed over");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_last_response(c, 200);
    assert_int_equal(ws_server_socket(p->b->server, 0), -1);
    raw_close(late);
    assert_false(is_listening(p->b->port));
}

/* --- listening sockets ------------------------------------------------------------------------ */

/* A second server on the sockets of `f`, which are duplicated. */
static void create_sharing(struct fixture *f, const struct fixture *from, struct ws_options options)
{
    int sockets[] = {dup(ws_server_socket(from->server, 0)), -1};

    options.sockets = sockets;
    create(f, options);
}

/* A proxy on the same machine as a server that listens on all addresses: the connection is to
 * loopback, where only names of this machine would be answered, but the listening socket is not. */
static void draining_server_answers_by_the_same_names(void **state)
{
    static const char *const all[] = {"0.0.0.0", NULL};
    struct pair *p = *state;

    create(p->a, (struct ws_options){.bind = all});
    create_sharing(p->b, p->a, (struct ws_options){.no_accept = true});
    serve_pair(p);
    for (int i = 0; i < 2; i++) {
        struct raw_client *c = client_of(p, i == 0 ? "before" : "draining");

        send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: chat.example\r\n\r\n");
        expect_body(c, "127.0.0.1 GET /away []");
        ws_server_drain(p->b->server);
    }
}

/* At least 10 clients came, and each of the servers has a third of them or more. */
static bool share_alike(struct pair *p)
{
    int a = read_counter(p->a, &p->a->seen.opened);
    int b = read_counter(p->b, &p->b->seen.opened);

    return a + b >= 10 && 3 * a >= a + b && 3 * b >= a + b;
}

/* Two servers run on the socket of a third one, which is returned. */
static struct fixture *run_sharing(struct pair *p)
{
    void *keeper_state;
    struct fixture *keeper;

    setup(&keeper_state);
    keeper = keeper_state;
    create(keeper, (struct ws_options){.no_accept = true});
    assert_int_equal(ws_server_socket(keeper->server, 1), -1);
    create_sharing(p->a, keeper, (struct ws_options){0});
    create_sharing(p->b, keeper, (struct ws_options){0});
    assert_int_equal(p->a->port, keeper->port);
    serve(p->a, "/counted", (struct ws_handlers){.on_open = count_open, .on_message = echo});
    serve(p->b, "/counted", (struct ws_handlers){.on_open = count_open, .on_message = echo});
    run(p->a);
    run(p->b);
    return keeper;
}

static void servers_that_share_a_socket_take_turns(void **state)
{
    struct pair *p = *state;
    struct fixture *keeper = run_sharing(p);
    void *keeper_state = keeper;

    /* Where the machine is slow one of them may not wait when its turn comes. Without turns one of
     * them gets all. */
    for (int i = 0; i < 1000 && !share_alike(p); i++) {
        struct raw_client *c = unconnected(keeper);

        raw_connect(c, keeper->port);
        raw_upgrade(c, "/counted");
        raw_expect_echo(c, "hello");
        raw_close(c);
    }
    assert_true(share_alike(p));
    teardown(&keeper_state);
}

/* A browser has one connection for the page and one for the WebSocket. */
static void turns_do_not_fall_in_step_with_connections_in_pairs(void **state)
{
    struct pair *p = *state;
    struct fixture *keeper = run_sharing(p);
    void *keeper_state = keeper;

    for (int i = 0; i < 8; i++) {
        struct raw_client *page = unconnected(keeper);
        struct raw_client *socket;
        struct raw_response r;

        raw_connect(page, keeper->port);
        raw_send_text(page, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw_read_response(page, &r, false);
        poll(NULL, 0, 2); /* until both servers wait again */
        socket = unconnected(keeper);
        raw_connect(socket, keeper->port);
        raw_upgrade(socket, "/counted");
        raw_expect_echo(socket, "hello");
        poll(NULL, 0, 2);
    }
    assert_true(read_counter(p->a, &p->a->seen.opened) > 0);
    assert_true(read_counter(p->b, &p->b->seen.opened) > 0);
    teardown(&keeper_state);
}

static void full_server_leaves_clients_to_the_others(void **state)
{
    struct pair *p = *state;
    void *keeper_state;
    struct fixture *keeper;

    setup(&keeper_state);
    keeper = keeper_state;
    create(keeper, (struct ws_options){.no_accept = true});
    create_sharing(p->a, keeper, (struct ws_options){.max_clients = 1});
    create_sharing(p->b, keeper, (struct ws_options){.max_clients = 5});
    run(p->a);
    run(p->b);
    for (int i = 0; i < 6; i++) {
        struct raw_client *c = unconnected(keeper);

        raw_connect(c, keeper->port);
        raw_upgrade(c, "/echo");
        raw_expect_echo(c, "there is a place");
    }
    for (int i = 0; i < 3; i++) {
        struct raw_client *c = unconnected(keeper);

        raw_connect(c, keeper->port);
        expect_last_response(c, 503);
        raw_close(c);
    }
    teardown(&keeper_state);
}

static void clients_wait_for_the_next_server_of_a_socket(void **state)
{
    struct pair *p = *state;
    struct raw_client *c;

    create(p->a, (struct ws_options){.no_accept = true});
    c = client(p->a, "waits in the backlog");
    raw_send_text(c, "GET /http HTTP/1.1\r\nHost: localhost\r\n\r\n");
    create_sharing(p->b, p->a, (struct ws_options){0});
    let_serve(p->b);
    expect_body(c, "GET /http? []");
    let_serve(p->a);
    assert_int_equal(ws_server_stats(p->a->server).connections, 0);
}

static void file_of_a_shared_unix_socket_goes_with_the_server_that_names_it(void **state)
{
    char directory[] = "/tmp/minnow-handover-XXXXXX", address[64];
    const char *bind_to[] = {address, NULL};
    struct pair *p = *state;
    struct ws_server *first, *other;
    int sockets[2] = {-1, -1};
    struct stat st;

    assert_non_null(mkdtemp(directory));
    snprintf(address, sizeof address, "unix:%s/socket", directory);
    first = ws_server_new(&(struct ws_options){.bind = bind_to, .no_accept = true});
    assert_non_null(first);
    sockets[0] = dup(ws_server_socket(first, 0));
    other = ws_server_new(&(struct ws_options){.sockets = sockets});
    assert_non_null(other);
    ws_server_free(other);
    assert_int_equal(stat(address + 5, &st), 0);
    sockets[0] = dup(ws_server_socket(first, 0));
    other = ws_server_new(&(struct ws_options){.bind = bind_to, .sockets = sockets});
    assert_non_null(other);
    ws_server_free(other);
    assert_int_equal(stat(address + 5, &st), -1);
    ws_server_free(first);
    rmdir(directory);
    (void)p;
}

static void sockets_stay_the_callers_where_no_server_is_made(void **state)
{
    static const char *const bad[] = {"http://", NULL};
    struct pair *p = *state;
    int sockets[2] = {-1, -1};

    create(p->a, (struct ws_options){.no_accept = true});
    sockets[0] = dup(ws_server_socket(p->a->server, 0));
    assert_null(ws_server_new(&(struct ws_options){.sockets = sockets, .origins = bad}));
    assert_true(fcntl(sockets[0], F_GETFD) >= 0);
    for (int n = 1; n < 5; n++) {
        struct ws_server *s;

        oom_once(n - 1);
        s = ws_server_new(&(struct ws_options){.sockets = sockets});
        oom_after(-1);
        if (s != NULL) {
            ws_server_free(s);
            break;
        }
        assert_true(fcntl(sockets[0], F_GETFD) >= 0);
    }
    assert_int_equal(fcntl(sockets[0], F_GETFD), -1);
}

/* Nor is the file of their socket removed, and nothing of it stays open. */
static void file_of_a_socket_stays_where_no_server_is_made(void **state)
{
    char directory[] = "/tmp/minnow-handover-XXXXXX", address[64];
    const char *bind_to[] = {address, NULL};
    struct ws_server *first;
    int sockets[3] = {-1, -1, -1};
    struct stat st;
    int before;
    (void)state;

    assert_non_null(mkdtemp(directory));
    snprintf(address, sizeof address, "unix:%s/socket", directory);
    first = ws_server_new(&(struct ws_options){.bind = bind_to, .no_accept = true});
    assert_non_null(first);
    sockets[0] = ws_server_socket(first, 0);
    sockets[1] = open("/dev/null", O_RDONLY | O_CLOEXEC); /* which epoll does not take */
    before = count_descriptors();
    assert_null(ws_server_new(&(struct ws_options){.bind = bind_to, .sockets = sockets}));
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(stat(address + 5, &st), 0);
    close(sockets[1]);
    ws_server_free(first);
    rmdir(directory);
}

static void servers_with_reuse_port_listen_on_one_port(void **state)
{
    struct pair *p = *state;
    struct ws_server *s;

    create(p->a, (struct ws_options){.reuse_port = true});
    create(p->b, (struct ws_options){.reuse_port = true, .port = p->a->port});
    assert_int_equal(p->b->port, p->a->port);
    s = ws_server_new(&(struct ws_options){.port = p->a->port});
    assert_null(s);
    assert_int_equal(errno, EADDRINUSE);
}

static void nothing_stays_open(void **state)
{
    struct pair *p = *state;
    int before = count_descriptors();
    struct raw_client *c;

    create_pair(p, (struct ws_options){0});
    c = client_of(p, "handed over");
    send_both_serve(p, c, "GET /away HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_body(c, "127.0.0.1 GET /away []");
    raw_close(c);
    let_both_serve(p);
    ws_server_free(p->a->server);
    ws_server_free(p->b->server);
    p->a->server = p->b->server = NULL;
    assert_int_equal(count_descriptors(), before);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_pair, teardown_pair)

#include "tests/test_handover.list"

int main(void)
{
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
