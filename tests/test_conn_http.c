/* SPDX-License-Identifier: MIT
 *
 * The server speaking HTTP, up to the 101: the opening handshake of RFC 6455 §4.2 with every
 * refusal, and plain requests. Each test is named by the behaviour that it shows; docs/rfc6455.md
 * refers to them. */
#include "server_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* --- opening handshake, RFC 6455 §4.2 --------------------------------------------------------- */

struct refusal {
    const char *label;
    const char *request; /* a whole head */
    int status;
};

static const struct refusal refusals[] = {
    {"no Connection", GET HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n", 400},
    {"Connection without upgrade",
     GET HOST "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY VERSION "\r\n", 400},
    {"no key", GET HOST UPGRADE VERSION "\r\n", 400},
    {"empty key", GET HOST UPGRADE VERSION "Sec-WebSocket-Key:\r\n\r\n", 400},
    {"key of 15 bytes", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n\r\n",
     400},
    {"key of 17 bytes",
     GET HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", 400},
    {"key that is not base64",
     GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n\r\n", 400},
    {"two keys", GET HOST UPGRADE VERSION KEY KEY "\r\n", 400},
    {"HTTP/1.0", "GET /echo HTTP/1.0\r\n" HOST UPGRADE KEY VERSION "\r\n", 400},
    {"a body", GET HOST UPGRADE KEY VERSION "Content-Length: 2\r\n\r\nab", 400},
    {"no Host", GET UPGRADE KEY VERSION "\r\n", 400},
    {"empty Host", GET "Host:\r\n" UPGRADE KEY VERSION "\r\n", 400},
    {"a list of Hosts", GET "Host: a, b\r\n" UPGRADE KEY VERSION "\r\n", 400},
    {"Upgrade to another protocol, Connection and key as they should be",
     GET HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n", 426},
    {"two Hosts", GET HOST HOST UPGRADE KEY VERSION "\r\n", 400},
    {"space before the colon", GET HOST UPGRADE KEY VERSION "A : b\r\n\r\n", 400},
    {"empty header name", GET HOST UPGRADE KEY VERSION ": b\r\n\r\n", 400},
    {"a folded line", GET HOST UPGRADE KEY VERSION "A: b\r\n c\r\n\r\n", 400},
    {"a bare LF", GET HOST UPGRADE KEY VERSION "A: b\n\r\n", 400},
    {"a bare CR", GET HOST UPGRADE KEY VERSION "A: b\rc\r\n\r\n", 400},
    {"a control character", GET HOST UPGRADE KEY VERSION "A: b\001c\r\n\r\n", 400},
    {"a CR in the subprotocol",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat\rX: y\r\n\r\n", 400},
    {"a subprotocol that is no token",
     "GET /chat HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: a b\r\n\r\n", 400},
    {"differing Content-Lengths",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
    {"negative Content-Length", "POST /http HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
    {"Content-Length and Transfer-Encoding",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"a chunk without size",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
    {"a path that no URI has", "GET /echo|x HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 400},
    {"a quote in the query", "GET /echo?\" HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 400},
    {"not HTTP at all", "hello, who is there?\r\n\r\n", 400},
    {"a TLS greeting", "\x16\x03\x01\x02\x01\x01", 400},
    {"no such path", "GET /nowhere HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404},
    {"POST", "POST /echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 405},
    {"OPTIONS", "OPTIONS /echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 405},
    {"version 8", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
    {"versions 13 and 8", GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Version: 8\r\n\r\n", 400},
    {"version 14", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 14\r\n\r\n", 426},
    {"version 0 through a proxy", /* a 101 here would be smuggled */
     GET HOST UPGRADE KEY "Sec-WebSocket-Version: 0\r\nX-Forwarded-For: ::1\r\n\r\n", 426},
    {"a body over the limit", "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413},
    {"a chunked body over the limit",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
    {"Transfer-Encoding in HTTP/1.0",
     "POST /http HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"Content-Length as a list", "POST /http HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc",
     400},
    {"Content-Length with a sign", "POST /http HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc",
     400},
    {"Content-Length over 2^64",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\nx", 400},
    {"a hidden Transfer-Encoding",
     "POST /http HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding : chunked\r\n\r\nabc",
     400},
    {"a chunk size with 0x",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
     400},
    {"a chunk size behind a space",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
     400},
    {"a chunk size with space behind",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
     400},
    {"a chunk extension with an unclosed quote",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;a=\"\r\nabc\r\n0\r\n\r\n",
     400},
    {"a trailer without a colon",
     "POST /http HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
     400},
    {"a chunk longer than it says",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
     400},
    {"a chunk that ends in LF",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400},
    {"chunked twice",
     "POST /http HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"chunked and something else",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
    {"an unknown transfer coding",
     "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"CONNECT", "CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n", 501},
    {"HTTP/2", "GET /echo HTTP/2.0\r\n" HOST UPGRADE KEY VERSION "\r\n", 505},
};

static void refused_handshake_gets_its_status_and_is_closed(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct raw_client *c = client(f, refusals[i].label);

        raw_send_text(c, refusals[i].request);
        raw_expect_status(c, &r, refusals[i].status);
        if (r.status == 426 && !raw_header_is(&r, "Sec-WebSocket-Version", "13"))
            raw_fail(c, "426 without Sec-WebSocket-Version: %s", r.head);
        if (r.status == 405 && !raw_header_is(&r, "Allow", "GET")) /* RFC 9110 §15.5.6 */
            raw_fail(c, "405 without Allow: %s", r.head);
        raw_expect_eof(c);
        raw_close(c);
    }
    assert_int_equal(f->seen.opened, 0);
    wait_connections(f, 0);
    expect_well(f);
}

/* Where a request is in doubt, so is where the next one begins: it must not be answered. */
static void nothing_behind_a_refused_request_is_answered(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct raw_client *c = client(f, refusals[i].label);

        f->out.len = 0;
        raw_bytes_text(&f->out, refusals[i].request);
        raw_bytes_text(&f->out, "GET /http HTTP/1.1\r\n" HOST "\r\n");
        raw_send_bytes(c, &f->out);
        expect_last_response(c, refusals[i].status);
        raw_close(c);
    }
    assert_int_equal(f->seen.requests, 0);
}

static void reset_of_a_refused_handshake_disturbs_nobody(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(refusals); i++) {
        struct raw_client *c = client(f, refusals[i].label);

        raw_send_text(c, refusals[i].request);
        if (i % 2 == 0) /* with and without the server knowing what came */
            stats(f);
        raw_reset(c);
    }
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
    assert_int_equal(f->seen.opened, 0);
    expect_well(f);
}

static void plain_get_of_a_websocket_path_gets_426(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "plain GET");

    raw_send_text(c, GET HOST "\r\n");
    raw_expect_status(c, &r, 426);
    assert_true(raw_header_is(&r, "Upgrade", "websocket"));
    assert_true(raw_header_is(&r, "Sec-WebSocket-Version", "13"));
    assert_true(raw_header_is(&r, "Connection", "Upgrade, close"));
    assert_true(raw_header_is(&r, "X-Content-Type-Options", "nosniff"));
    raw_close(c);

    c = client(f, "upgrade to something else");
    raw_send_text(c, GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
    raw_expect_status(c, &r, 426);
}

/* A request head of `len` bytes, about what does not fit: one field, the target, or many fields. */
static void heads_over_the_limits_are_refused(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    char *big = (char *)make_payload(20000, true);
    static const struct {
        const char *label, *before;
        size_t len;
        const char *after;
        int status;
    } rows[] = {
        {"a long field", GET HOST "A: ", 20000, "\r\n\r\n", 431},
        {"a field name without end", GET HOST, 20000, "", 431},
        {"a long target", "GET /echo?", 8200, " HTTP/1.1\r\n" HOST "\r\n", 414},
        {"a target without end", "GET /", 20000, "", 414},
    };

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(rows); i++) {
        f->out.len = 0;
        raw_bytes_text(&f->out, rows[i].before);
        raw_bytes_add(&f->out, big, rows[i].len);
        raw_bytes_text(&f->out, rows[i].after);
        c = client(f, rows[i].label);
        raw_send_bytes(c, &f->out);
        expect_last_response(c, rows[i].status);
        raw_close(c);
    }
    free(big);
    f->out.len = 0;
    raw_bytes_text(&f->out, GET HOST);
    for (int i = 0; i < 2000; i++)
        raw_bytes_text(&f->out, "A:b\r\n");
    raw_bytes_text(&f->out, UPGRADE KEY VERSION "\r\n");
    c = client(f, "2000 fields");
    raw_send_bytes(c, &f->out);
    expect_last_response(c, 431);
}

struct origin {
    const char *host, *origin;
    int status;
};

/* The second half is on the list of server_judges_the_origin. */
static const struct origin origins[] = {
    {"example.com", "http://example.com", 101},
    {"example.com", "https://example.com", 101},
    {"example.com:8080", "http://example.com:8080", 101},
    {"example.com", "http://example.com:80", 101},
    {"example.com", "http://EXAMPLE.com", 101},
    {"EXAMPLE.com", "HTTP://example.COM", 101},
    {"[::1]:8080", "http://[::1]:8080", 101},
    {"example.com", "http://example.com:8080", 101}, /* a proxy dropped the port of Host */
    {"example.com:443", "wss://example.com", 101},
    {"example.com", "null", 403},
    {"example.com:80", "http://example.com:8080", 403},
    {"example.com:8080", "http://example.com", 403},
    {"example.com:8080", "http://example.com:8081", 403},
    {"example.com", "http://example.com.evil", 403},
    {"example.com", "http://evil.example.com", 403},
    {"example.com", "http://evilexample.com", 403},
    {"example.com", "http://evil?example.com", 403},
    {"example.com", "http://evil#example.com", 403},
    {"example.com", "http://evil/example.com", 403},
    {"example.com", "http://example.com@evil", 403},
    {"example.com", "http://evil@example.com", 403},
    {"example.com", "evil", 403},
    {"example.com", "http://", 403},
    {"example.com", "https://friend.example", 101},
    {"example.com", "https://FRIEND.example:443", 101},
    {"example.com", "https://a.b.friends.example", 101},
    {"example.com", "https://friends.example", 403},
    {"example.com", "https://friend.example:444", 403},
    {"example.com", "http://friend.example", 403},
    {"example.com", "https://friend.example.evil", 403},
};

static const char *const any_host[] = {"*", NULL};

static void try_origin(struct fixture *f, const struct origin *o)
{
    struct raw_client *c = client(f, o->origin);
    struct raw_response r;

    f->out.len = 0;
    raw_bytes_text(&f->out, GET UPGRADE KEY VERSION "Host: ");
    raw_bytes_text(&f->out, o->host);
    raw_bytes_text(&f->out, "\r\nOrigin: ");
    raw_bytes_text(&f->out, o->origin);
    raw_bytes_text(&f->out, "\r\n\r\n");
    raw_send_bytes(c, &f->out);
    if (o->status == 101) {
        raw_expect_upgraded(c, &r);
    } else {
        raw_expect_status(c, &r, o->status);
        /* Which option decides is for the log, not for the peer. */
        assert_null(memmem(r.body, r.body_len, "ws_options", 10));
        raw_expect_eof(c);
    }
    raw_close(c);
}

static void origin_must_be_ours_or_listed(void **state)
{
    static const char *const friends[] = {"https://friend.example", "https://*.friends.example",
                                          NULL};
    struct fixture *f = *state;
    bool named;

    start(f, (struct ws_options){.origins = friends, .hosts = any_host});
    try_origin(f, &(struct origin){"example.com", "null", 403});
    lock(f);
    named = strstr(f->seen.log, "ws_options.origins") != NULL;
    unlock(f);
    if (!named)
        fail_msg("the log does not name the option: %s", f->seen.log);
    for (size_t i = 0; i < COUNT(origins); i++)
        try_origin(f, &origins[i]);
}

static void scheme_of_the_server_is_that_of_its_pages(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){.scheme = "https", .hosts = any_host});
    try_origin(f, &(struct origin){"example.com", "https://example.com", 101});
    try_origin(f, &(struct origin){"example.com", "http://example.com", 403});
    assert_non_null(strstr(f->seen.log, "ws_options.scheme"));
}

static void star_allows_any_origin(void **state)
{
    static const char *const any[] = {"*", NULL};
    struct fixture *f = *state;

    start(f, (struct ws_options){.origins = any, .hosts = any_host});
    try_origin(f, &(struct origin){"example.com", "null", 101});
    try_origin(f, &(struct origin){"example.com", "https://evil.example", 101});
}

static void endpoint_may_have_origins_of_its_own(void **state)
{
    static const char *const ours[] = {"https://friend.example", NULL};
    static const char *const its[] = {"https://other.example", NULL};
    struct fixture *f = *state;

    create(f, (struct ws_options){.origins = ours, .hosts = any_host});
    serve(f, "/echo", (struct ws_handlers){.origins = its});
    run(f);
    try_origin(f, &(struct origin){"example.com", "https://other.example", 101});
    try_origin(f, &(struct origin){"example.com", "https://friend.example", 403});
    try_origin(f, &(struct origin){"example.com", "file://", 403});
}

static void endpoint_may_let_local_files_in(void **state)
{
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){.hosts = any_host}, "/echo",
                  (struct ws_handlers){.local_files = true});
    try_origin(f, &(struct origin){"example.com", "file://", 101});
    try_origin(f, &(struct origin){"example.com", "null", 403});
}

/* Everything here is legal, if unusual: token lists, case, absolute-form, unknown extensions. */
static const struct {
    const char *label, *request;
} acceptable[] = {
    {"lists and case",
     GET HOST "UPGRADE: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY VERSION "\r\n"},
    {"repeated fields", GET HOST "Upgrade: websocket\r\nConnection: keep-alive\r\n"
                                 "Connection: Upgrade\r\n" KEY VERSION "\r\n"},
    {"a query", "GET /echo?a=b&c HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"},
    {"a query as browsers send it",
     "GET /echo?{a[\\]^`|}=100% HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"},
    {"absolute-form", "GET http://localhost/echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"},
    {"an unknown extension",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
    {"a strange extension",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: constructor, a; b=\"c, ;;\r\n\r\n"},
    {"a body of no bytes", GET HOST UPGRADE KEY VERSION "Content-Length: 0\r\n\r\n"},
    {"an empty line before", "\r\n" GET HOST UPGRADE KEY VERSION "\r\n"},
    {"an offered subprotocol that nobody asked for",
     GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat.v1\r\n\r\n"},
};

static void legal_handshakes_of_any_form_are_accepted(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    char value[8];

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(acceptable); i++) {
        struct raw_client *c = client(f, acceptable[i].label);

        raw_send_text(c, acceptable[i].request);
        raw_expect_upgraded(c, &r);
        if (raw_header(&r, "Sec-WebSocket-Extensions", value, sizeof value))
            raw_fail(c, "an extension was accepted: %s", r.head);
        if (raw_header(&r, "Sec-WebSocket-Protocol", value, sizeof value))
            raw_fail(c, "a subprotocol was chosen: %s", r.head);
        raw_expect_echo(c, "hi");
        raw_close(c);
    }
}

/* Fields that say nothing to us, as many and as odd as a head can hold. */
static void handshake_may_carry_anything_else(void **state)
{
    static const char *const pieces[] = {"a; b=c, ", "\"", "constructor; __proto__=\"\\\"\", ",
                                         ";=,"};
    struct fixture *f = *state;
    struct raw_response r;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i <= COUNT(pieces); i++) {
        struct raw_client *c = client(f, i < COUNT(pieces) ? pieces[i] : "90 fields");

        f->out.len = 0;
        raw_bytes_text(&f->out, GET HOST UPGRADE KEY VERSION);
        raw_bytes_text(&f->out, i < COUNT(pieces) ? "Sec-WebSocket-Extensions: " : "");
        for (size_t k = 0; i < COUNT(pieces) && k < 12000 / strlen(pieces[i]); k++)
            raw_bytes_text(&f->out, pieces[i]);
        raw_bytes_text(&f->out, i < COUNT(pieces) ? "\r\n" : "");
        for (int k = 0; k < 90; k++)
            raw_bytes_text(&f->out, "X-Unknown: \t \xff\xfe;,\"\r\n");
        raw_bytes_text(&f->out, "\r\n");
        raw_send_bytes(c, &f->out);
        raw_expect_upgraded(c, &r);
        raw_close(c);
    }
}

static void subprotocol_is_our_first_that_was_offered(void **state)
{
    static const struct {
        const char *offer, *choice; /* NULL: none */
    } rows[] = {
        {"", NULL},
        {"Sec-WebSocket-Protocol: chat.v1\r\n", "chat.v1"},
        {"Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", "chat.v2"},
        {"Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: chat.v2\r\n", "chat.v2"},
        {"Sec-WebSocket-Protocol: x, y\r\n", NULL},
        {"Sec-WebSocket-Protocol: CHAT.V2\r\n", NULL},
        {"Sec-WebSocket-Protocol: chat.v22, chat\r\n", NULL},
    };
    struct fixture *f = *state;
    struct raw_response r;
    char found[64];

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct raw_client *c = client(f, rows[i].offer);

        raw_send_upgrade(c, "/chat", rows[i].offer);
        raw_expect_upgraded(c, &r);
        if (!raw_header(&r, "Sec-WebSocket-Protocol", found, sizeof found))
            found[0] = '\0';
        if (strcmp(found, rows[i].choice != NULL ? rows[i].choice : "") != 0)
            raw_fail(c, "chose %s", found);
        raw_close(c);
    }
}

/* Must not take quadratic time either; 15,000 spaces still fit the head. */
static void subprotocol_with_many_spaces_is_cheap(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    char offer[15100];
    struct raw_client *c;
    int64_t before;

    snprintf(offer, sizeof offer, "Sec-WebSocket-Protocol: b%15000sx\r\n", "");
    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/chat", offer);
    c = client(f, "b<spaces>x");
    before = loop_cpu_ms(f);
    raw_send_bytes(c, &f->out);
    raw_expect_status(c, &r, 400);
    assert_in_range(loop_cpu_ms(f) - before, 0, 200);
}

static void frames_in_the_segment_of_the_handshake_are_served(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    raw_bytes_frame(&f->out, RAW_PING, "p", 1);
    c = client(f, "frames");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "early");
    raw_expect_frame(c, RAW_PONG, "p", 1);
    raw_close(c);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/echo", "");
    raw_bytes_add(&f->out, "\x83\x80", 2);
    c = client(f, "an illegal frame");
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_closed(c, 1002);
    raw_close(c);

    f->out.len = 0;
    raw_bytes_upgrade(&f->out, "/nowhere", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    c = client(f, "frames behind a refused handshake");
    raw_send_bytes(c, &f->out);
    expect_last_response(c, 404);
}

static void refuse_strangers(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_header challenge = {ws_str("WWW-Authenticate"), ws_str("Bearer")};
    struct ws_header mark = {ws_str("X-Mark"), ws_str("1")};
    struct ws_header broken = {ws_str("X-Mark"), ws_str("1\r\nX-Evil: 1")};

    if (ws_str_is(ws_request_query(req), "token=stranger"))
        ws_respond(c, 401, &challenge, 1, "who are you", 11);
    if (ws_str_is(ws_request_query(req), "token=friend")) {
        note_result(of(c), 0, ws_accept(c, "chat.v2", &broken, 1));
        note_result(of(c), 1, ws_accept(c, "not.offered", NULL, 0));
        note_result(of(c), 2, ws_accept(c, "chat.v1", &mark, 1));
    }
}

static void application_accepts_and_refuses_upgrades(void **state)
{
    struct fixture *f = *state;
    const char *offer = "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n";
    struct raw_response r;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/door",
                  (struct ws_handlers){.on_upgrade = refuse_strangers,
                                       .on_message = echo,
                                       .subprotocols = chat_versions});
    c = client(f, "a stranger");
    raw_send_upgrade(c, "/door?token=stranger", "");
    raw_expect_status(c, &r, 401);
    assert_true(raw_header_is(&r, "WWW-Authenticate", "Bearer"));
    assert_int_equal(r.body_len, 11);
    raw_expect_eof(c);

    c = client(f, "a friend");
    raw_send_upgrade(c, "/door?token=friend", offer);
    raw_expect_upgraded(c, &r);
    assert_true(raw_header_is(&r, "X-Mark", "1"));
    assert_true(raw_header_is(&r, "Sec-WebSocket-Protocol", "chat.v1"));
    assert_null(strstr(r.head, "Evil"));
    assert_int_equal(f->seen.result[0], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[1], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[2], 0);

    c = client(f, "on the server's terms");
    raw_send_upgrade(c, "/door", offer);
    raw_expect_upgraded(c, &r);
    assert_true(raw_header_is(&r, "Sec-WebSocket-Protocol", "chat.v2"));
}

static void refuse_badly(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_header broken = {ws_str("X-User"), ws_str("a\r\nb")};

    if (ws_str_is(ws_request_query(req), "header"))
        note_result(of(c), 0, ws_respond(c, 401, &broken, 1, "no", 2));
    else
        note_result(of(c), 0, ws_respond(c, 101, NULL, 0, "no", 2));
    if (ws_str_is(ws_request_query(req), "again"))
        note_result(of(c), 1, ws_respond(c, 401, NULL, 0, "no", 2));
}

/* An application that means to say no and makes a mistake has not said yes. */
static void refusal_with_a_mistake_is_still_a_refusal(void **state)
{
    static const struct {
        const char *target;
        int status;
    } rows[] = {{"/door?header", 500}, {"/door?status", 500}, {"/door?again", 401}};
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){0}, "/door",
                  (struct ws_handlers){.on_upgrade = refuse_badly});
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct raw_client *c = client(f, rows[i].target);

        raw_send_upgrade(c, rows[i].target, "");
        expect_last_response(c, rows[i].status);
        assert_int_equal(f->seen.result[0], WS_ERR_INVALID);
        raw_close(c);
    }
    assert_int_equal(f->seen.opened, 0);
}

static void accept_and_close(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    note_result(of(c), 0, ws_accept(c, NULL, NULL, 0));
    note_result(of(c), 1, ws_send(c, WS_OP_TEXT, "hello", 5));
    note_result(of(c), 2, ws_respond(c, 401, NULL, 0, "", 0));
    note_result(of(c), 3, ws_close(c, 4000, "goodbye"));
}

/* A connection that was over before it opened is none that closes. */
static void leave_no_memory(struct fixture *f, void *arg)
{
    use_up_memory(f, *(size_t *)arg, 0);
}

/* However little may be queued, an answer that the client takes is none that is queued. */
static void handshake_needs_no_queue(void **state)
{
    struct fixture *f = *state;
    size_t max_memory = 64 * KIB;
    struct raw_client *c;

    start(f, (struct ws_options){.max_queue = 10, .max_memory = max_memory});
    on_loop(f, leave_no_memory, &max_memory);
    c = upgraded(f, "/echo");
    raw_expect_echo(c, "more than ten bytes");
}

static void connection_may_be_closed_in_on_upgrade(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/brief",
                  (struct ws_handlers){.on_upgrade = accept_and_close});
    c = client(f, "brief");
    raw_bytes_upgrade(&f->out, "/brief", "");
    raw_bytes_frame(&f->out, RAW_TEXT, "early", 5);
    raw_send_bytes(c, &f->out);
    raw_expect_upgraded(c, &r);
    raw_expect_message(c, "hello");
    raw_expect_close(c, 4000);
    raw_send_close(c, 4000);
    raw_expect_eof(c);
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(f->seen.result[0], 0);
    assert_int_equal(f->seen.result[1], WS_SENT);
    assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[3], 0);
    assert_int_equal(f->seen.opened, 0);
    assert_int_equal(f->seen.closed, 0);
}

static void note_open(struct ws_conn *c, const struct ws_request *req)
{
    struct ws_str path = ws_request_path(req);
    struct ws_str query = ws_request_query(req);
    struct ws_str agent = ws_request_header(req, "user-agent");
    char address[WS_ADDRESS_SIZE];
    struct ws_header first;

    note_text(of(c), path.data, path.len);
    note_text(of(c), "|", 1);
    note_text(of(c), query.data, query.len);
    note_text(of(c), "|", 1);
    note_text(of(c), agent.data, agent.len);
    note_text(of(c), "|", 1);
    ws_conn_address(c, address);
    note_text(of(c), address, strlen("127.0.0.1:"));
    note_result(of(c), 0, ws_conn_find(ws_conn_server(c), ws_conn_id(c)) == c);
    note_result(of(c), 1, ws_request_header_at(req, 0, &first) && ws_str_is(first.name, "Host"));
    note_result(of(c), 2, ws_request_header_at(req, 100, &first));
    count(of(c), &of(c)->seen.opened);
}

static void open_sees_the_request_of_its_endpoint(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "/echo/deep", (struct ws_handlers){.on_open = note_open});
    assert_int_equal(ws_server_handle(f->server, "nowhere", &(struct ws_handlers){0}),
                     WS_ERR_INVALID);
    run(f);
    c = client(f, "the longest prefix");
    raw_send_upgrade(c, "/echo/deep/%20x?a=1&b", "User-Agent: me\r\n");
    raw_expect_upgraded(c, &r);
    wait_until(f, &f->seen.opened, 1, "calls of on_open");
    assert_string_equal(f->seen.text, "/echo/deep/%20x|a=1&b|me|127.0.0.1:");
    assert_int_equal(f->seen.result[0], true);
    assert_int_equal(f->seen.result[1], true);
    assert_int_equal(f->seen.result[2], false);
}

/* A head of 15 KiB byte by byte is not parsed again for every byte. */
static void long_head_byte_by_byte_is_cheap(void **state)
{
    struct fixture *f = *state;
    char *filler = (char *)make_payload(15 * KIB, true);
    struct raw_client *c;
    struct raw_response r;
    int64_t before;

    start(f, (struct ws_options){0});
    raw_bytes_text(&f->out, GET HOST UPGRADE KEY VERSION "X: ");
    raw_bytes_add(&f->out, filler, 15 * KIB);
    raw_bytes_text(&f->out, "\r\n\r\n");
    c = client(f, "15 KiB");
    before = loop_cpu_ms(f);
    raw_send_chunks(c, f->out.data, f->out.len, 1);
    raw_expect_upgraded(c, &r);
    assert_in_range(loop_cpu_ms(f) - before, 0, 2000);
    free(filler);
}

/* --- names of the server ---------------------------------------------------------------------- */

struct named {
    const char *host;
    int status;
};

/* A plain request and a handshake for `host`: they share the verdict. */
static void try_host(struct fixture *f, const struct sockaddr *address, socklen_t len,
                     const struct named *n)
{
    struct raw_client *c = unconnected(f);
    char request[512];
    struct raw_response r;

    c->label = n->host;
    for (int i = 0; i < 2; i++) {
        raw_connect_to(c, address, len, 0);
        snprintf(request, sizeof request,
                 i == 0 ? "GET /http HTTP/1.1\r\nHost: %s\r\n\r\n"
                        : GET UPGRADE KEY VERSION "Host: %s\r\n\r\n",
                 n->host);
        raw_send_text(c, request);
        raw_expect_status(c, &r, n->status == 200 && i == 1 ? 101 : n->status);
        if (n->status == 421)
            raw_expect_eof(c);
        raw_close(c);
    }
}

static struct sockaddr_in at_port(struct fixture *f)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(f->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void try_hosts(struct fixture *f, const struct named *list, size_t count)
{
    struct sockaddr_in v4 = at_port(f);

    for (size_t i = 0; i < count; i++)
        try_host(f, (struct sockaddr *)&v4, sizeof v4, &list[i]);
}

/* DNS rebinding: the name of a page of the internet points here, its Origin is equal to Host. */
static void names_of_others_are_misdirected_on_loopback(void **state)
{
    static const struct named list[] = {
        {"localhost", 200},         {"LOCALHOST.:9", 200},   {"a.localhost:80", 200},
        {"127.0.0.1", 200},         {"127.9.9.9:8080", 200}, {"[::1]:5", 200},
        {"rebound.example", 421},   {"192.168.0.1", 421},    {"localhost.rebound.example", 421},
        {"127.0.0.1.nip.io", 421},  {"0.0.0.0:8080", 421},   {"[::]", 421},
        {"notlocalhost:8080", 421},
    };
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    try_hosts(f, &(struct named){"first.example:8080", 421}, 1);
    assert_non_null(strstr(f->seen.log, "first.example:8080 (ws_options.hosts would allow it)"));
    try_hosts(f, list, COUNT(list));
    c = client(f, "the origin is equal");
    raw_send_text(c, GET UPGRADE KEY VERSION
                  "Host: rebound.example\r\nOrigin: http://rebound.example\r\n\r\n");
    raw_expect_status(c, &r, 421);
    assert_null(memmem(r.body, r.body_len, "ws_options", 10));
    raw_close(c);
}

static void names_of_others_are_misdirected_on_ipv6_loopback(void **state)
{
    static const char *const addresses[] = {"::1", NULL};
    struct fixture *f = *state;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct raw_client *c;
    struct raw_response r;

    if (!raw_has_ipv6())
        skip();
    start(f, (struct ws_options){.bind = addresses});
    to.sin6_port = htons(f->port);
    c = unconnected(f);
    raw_connect_to(c, (struct sockaddr *)&to, sizeof to, 0);
    raw_send_text(c, "GET /http HTTP/1.1\r\nHost: [::1]\r\n\r\n"
                     "GET /http HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    raw_expect_status(c, &r, 200);
    raw_expect_status(c, &r, 421);
}

static void names_that_were_given_are_answered_besides(void **state)
{
    static const char *const hosts[] = {"example.org", "*.example.net", "[2001:db8::1]", NULL};
    static const struct named list[] = {
        {"example.org", 200},        {"EXAMPLE.org.:443", 200}, {"a.b.example.net", 200},
        {"[2001:db8:0::1]:80", 200}, {"localhost", 200},        {"example.net", 421},
        {"www.example.org", 421},    {"example.org.evil", 421},
    };
    struct fixture *f = *state;

    start(f, (struct ws_options){.hosts = hosts});
    try_hosts(f, list, COUNT(list));
}

static void any_name_is_answered_where_others_connect(void **state)
{
    static const char *const bind[] = {"0.0.0.0", NULL};
    static const struct named list[] = {{"example.org", 200}, {"localhost", 200}};
    struct fixture *f = *state;

    start(f, (struct ws_options){.bind = bind});
    try_hosts(f, list, COUNT(list));
}

static void names_that_were_given_hold_where_others_connect(void **state)
{
    static const char *const bind[] = {"0.0.0.0", NULL};
    static const char *const hosts[] = {"example.org", NULL};
    static const struct named list[] = {{"example.org", 200}, {"localhost", 200}, {"a", 421}};
    struct fixture *f = *state;

    start(f, (struct ws_options){.bind = bind, .hosts = hosts});
    try_hosts(f, list, COUNT(list));
}

static void unix_sockets_answer_to_any_name(void **state)
{
    static const char *const hosts[] = {"example.org", NULL};
    struct fixture *f = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char bind_unix[64];
    const char *const addresses[] = {bind_unix, "127.0.0.1", NULL};

    snprintf(bind_unix, sizeof bind_unix, "unix:/tmp/minnow-hosts-%d.sock", (int)getpid());
    strcpy(un.sun_path, bind_unix + strlen("unix:"));
    start(f, (struct ws_options){.bind = addresses, .hosts = hosts});
    try_host(f, (struct sockaddr *)&un, sizeof un, &(struct named){"any.example", 200});
    try_hosts(f, &(struct named){"any.example", 421}, 1);
}

/* RFC 9112 §3.2.2: the authority of the target is what counts. Browsers never leave Host out. */
static void the_name_may_be_in_the_target_or_missing_in_http_1_0(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = client(f, "in the target");
    raw_send_text(c, "GET http://rebound.example/http HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 421);
    c = client(f, "in Host, which does not count");
    raw_send_text(c, "GET http://localhost/http HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    raw_expect_status(c, &r, 200);
    c = client(f, "HTTP/1.0");
    raw_send_text(c, "GET /http HTTP/1.0\r\n\r\n");
    raw_expect_status(c, &r, 200);
}

static void hosts_that_match_no_request_are_refused_at_the_start(void **state)
{
    static const char *const hosts[] = {"example.org", "example.org:80", NULL};
    struct fixture *f = *state;

    assert_null(ws_server_new(&(struct ws_options){.hosts = hosts, .log = keep_log, .log_arg = f}));
    assert_int_equal(errno, EINVAL);
    assert_string_equal(f->seen.log, "host 'example.org:80' matches no request: a host without a "
                                     "port: it is ignored (ws_options.hosts)");
}

/* --- plain requests --------------------------------------------------------------------------- */

/* A body is judged by what the endpoint allows, and not before it is over. */
static void request_body_up_to_the_limit_is_taken(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    uint8_t *body = make_payload(1000, true);
    struct raw_client *c = start_with_client(f, "a body of 1000 bytes");

    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    raw_send(c, body, 1000);
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, strlen("POST /http? []") + 1000);
    assert_memory_equal(r.body + strlen("POST /http? ["), body, 1000);
    free(body);
}

static void requests_share_a_connection(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "keep-alive");

    for (int i = 0; i < 3; i++) {
        raw_send_text(c, "GET /http/a?b=c HTTP/1.1\r\n" HOST "\r\n");
        expect_body(c, "GET /http/a?b=c []");
    }
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
    expect_body(c, "POST /http? [body]");
    raw_send_text(c, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 404);
    raw_bytes_upgrade(&f->out, "/echo", ""); /* and end in a WebSocket */
    c = client(f, "keep-alive, then upgrade");
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_send_bytes(c, &f->out);
    expect_body(c, "GET /http? []");
    raw_expect_upgraded(c, &r);
    raw_expect_echo(c, "hi");
}

/* RFC 9110 §9.3.7. A body that came with it is not taken for the next request. */
static void options_of_the_server_itself_get_204(void **state)
{
    static const char *const last[] = {
        "OPTIONS * HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "Content-Length: 33\r\n\r\nGET /http HTTP/1.1\r\n" HOST
        "\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "OPTIONS *, kept alive");

    raw_send_text(c, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"
                     "OPTIONS * HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"
                     "GET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 204);
    raw_expect_status(c, &r, 204);
    expect_body(c, "GET /http? []");
    for (size_t i = 0; i < COUNT(last); i++) {
        c = client(f, last[i]);
        raw_send_text(c, last[i]);
        raw_expect_status(c, &r, 204);
        assert_true(raw_header_is(&r, "Connection", "close"));
        raw_expect_eof(c);
    }
    assert_int_equal(f->seen.requests, 1);
}

static void endpoint_may_answer_for_the_server_itself(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    create(f, (struct ws_options){0});
    serve(f, "*", (struct ws_handlers){.on_request = mirror});
    assert_int_equal(ws_server_handle(f->server, "*x", &(struct ws_handlers){0}), WS_ERR_INVALID);
    assert_int_equal(ws_server_handle(f->server, "", &(struct ws_handlers){0}), WS_ERR_INVALID);
    run(f);
    c = client(f, "OPTIONS *");
    raw_send_text(c, "OPTIONS * HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
    expect_body(c, "OPTIONS *? [hi]");
}

static void head_gets_the_head_alone(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "HEAD");

    raw_send_text(c, "HEAD /http HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_read_response(c, &r, true);
    assert_int_equal(r.status, 200);
    assert_true(raw_header_is(&r, "Content-Length", "14"));
    expect_body(c, "GET /http? []");
}

static void connection_ends_when_the_client_says_so(void **state)
{
    static const char *const requests[] = {
        "GET /http HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
        "GET /http HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n",
        "GET /http HTTP/1.0\r\n\r\n",
    };
    struct fixture *f = *state;
    struct raw_response r;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct raw_client *c = client(f, requests[i]);

        raw_send_text(c, requests[i]);
        raw_expect_status(c, &r, 200);
        if (!raw_header_is(&r, "Connection", "close"))
            raw_fail(c, "no Connection: close in %s", r.head);
        raw_expect_eof(c);
        raw_close(c);
    }
    wait_connections(f, 0);
}

static void nothing_behind_connection_close_is_answered(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_with_client(f, "close, then another");

    raw_send_text(c, "GET /http?1 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
                     "GET /http?2 HTTP/1.1\r\n" HOST "\r\n");
    expect_last_response(c, 200);
    assert_int_equal(f->seen.requests, 1);
}

static void http_1_0_client_may_ask_for_keep_alive(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "HTTP/1.0");

    for (int i = 0; i < 3; i++) {
        raw_send_text(c, "GET /http HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        raw_expect_status(c, &r, 200);
        assert_true(raw_header_is(&r, "Connection", "keep-alive"));
    }
}

/* The body of a 408 is not left out for a HEAD before it. */
static void late_request_gets_408_whatever_came_before(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start(f, (struct ws_options){.handshake_timeout_ms = 500});
    c = client(f, "HEAD, then half a head");
    raw_send_text(c, "HEAD /http HTTP/1.1\r\n" HOST "\r\nGET /ht");
    raw_read_response(c, &r, true);
    assert_int_equal(r.status, 200);
    raw_expect_status(c, &r, 408);
    assert_true(r.body_len > 0);
    raw_expect_eof(c);
}

/* Wait, then send a request whose body comes after another wait. False when either took too
 * long. */
static bool dawdle(struct raw_client *c)
{
    int64_t begun = raw_now_ms(), asked;

    sleep_ms(600);
    asked = raw_now_ms();
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbo");
    sleep_ms(600);
    raw_send_text(c, "dy");
    return asked - begun < 900 && raw_now_ms() - asked < 900;
}

static void time_of_a_later_request_runs_from_its_first_byte(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.handshake_timeout_ms = 1000});
    c = client(f, "idle, then a slow body");
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "GET /http? []");
    if (dawdle(c))
        expect_body(c, "POST /http? [body]");
    else
        print_message("the machine is too slow to tell\n");
}

static void chunked_body_is_decoded_however_it_comes(void **state)
{
    static const char request[] =
        "POST /http HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "4\r\nWiki\r\n00000000000000000005 ;ext=\"1\\\"\"\r\npedia\r\n0\r\nTrailer: x\r\n\r\n"
        "GET /http HTTP/1.1\r\n" HOST "\r\n";
    static const size_t pieces[] = {1, 2, 5, sizeof request - 1};
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct raw_client *c = client(f, "chunked");

        raw_send_chunks(c, request, sizeof request - 1, pieces[i]);
        expect_body(c, "POST /http? [Wikipedia]");
        expect_body(c, "GET /http? []");
    }
}

/* A body that has come with its head is handed over where it lies; one that has not is put
 * together. */
static void body_of_known_length_is_the_same_however_it_comes(void **state)
{
    static const char request[] = "POST /http HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody"
                                  "POST /http HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"
                                  "POST /http HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nno"
                                  "GET /http HTTP/1.1\r\n" HOST "\r\n";
    struct fixture *f = *state;
    struct raw_client *c = start_with_client(f, "bodies");

    for (size_t piece = sizeof request - 1; piece != 0; piece--) {
        raw_send_chunks(c, request, sizeof request - 1, piece);
        expect_body(c, "POST /http? [body]");
        expect_body(c, "POST /http? []");
        expect_body(c, "POST /http? [no]");
        expect_body(c, "GET /http? []");
    }
}

static void whole_body_over_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *body = make_payload(5000, true);
    struct raw_client *c = start_with_client(f, "5000 bytes");

    raw_bytes_text(&f->out, "POST /http HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n");
    raw_bytes_add(&f->out, body, 5000);
    raw_send_bytes(c, &f->out);
    expect_last_response(c, 413);
    free(body);
}

static void expectation_gets_100_continue_or_a_refusal(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c = start_with_client(f, "Expect");

    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST
                     "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    raw_expect_status(c, &r, 100);
    raw_send_text(c, "body");
    expect_body(c, "POST /http? [body]");
    raw_send_text(c, "POST /http HTTP/1.1\r\n" HOST
                     "Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
    expect_last_response(c, 413);
}

/* /late answers after "?<milliseconds>". */
static void start_late(struct fixture *f, struct ws_options options)
{
    start_serving(f, options, "/late",
                  (struct ws_handlers){.on_request = take_late, .on_abort = abort_late});
}

static void pipelined_requests_are_answered_in_order_also_late_ones(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_late(f, (struct ws_options){0});
    c = client(f, "pipelined");
    raw_send_text(c, "GET /late?60 HTTP/1.1\r\n" HOST "\r\n"
                     "GET /http HTTP/1.1\r\n" HOST "\r\n"
                     "GET /late?1 HTTP/1.1\r\n" HOST "\r\n"
                     "GET /late?20 HTTP/1.1\r\n" HOST "\r\n"
                     "POST /http?x HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n!");
    expect_body(c, "60");
    expect_body(c, "GET /http? []");
    expect_body(c, "1");
    expect_body(c, "20");
    expect_body(c, "POST /http?x [!]");
    raw_send_text(c, "GET /late?30 HTTP/1.1\r\n" HOST "\r\n"); /* and the connection is as before */
    expect_body(c, "30");
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(f->seen.aborted, 0);
}

/* A long poll waits for the others: the list of those who wait goes through their data. The one
 * that asks for "?now" has all answered, and notes what their answers take of the budget. */
static void answer_all_at_once(struct ws_conn *c, const struct ws_request *req)
{
    struct fixture *f = of(c);

    ws_set_data(c, f->conn);
    f->conn = c;
    count(f, &f->seen.requests);
    if (!ws_str_is(ws_request_query(req), "now"))
        return;
    while (f->conn != NULL) {
        struct ws_conn *next = ws_data(f->conn);

        ws_respond(f->conn, 200, NULL, 0, "now", 3);
        f->conn = next;
    }
    note_result(f, 0, (int)ws_server_stats(f->server).buffered);
}

static void long_polls_answered_in_one_turn_need_no_queues(void **state)
{
    enum { POLLS = 5 };
    struct fixture *f = *state;
    struct raw_client *polls[POLLS];

    start_serving(f, (struct ws_options){0}, "/poll",
                  (struct ws_handlers){.on_request = answer_all_at_once});
    for (int i = 0; i < POLLS; i++) {
        polls[i] = client(f, "long poll");
        raw_send_text(polls[i], i < POLLS - 1 ? "GET /poll HTTP/1.1\r\n" HOST "\r\n"
                                              : "GET /poll?now HTTP/1.1\r\n" HOST "\r\n");
        wait_until(f, &f->seen.requests, i + 1, "requests");
    }
    for (int i = 0; i < POLLS; i++)
        expect_body(polls[i], "now");
    assert_int_equal(f->seen.result[0], 0);
}

/* Requests behind a late one wait where they are: in the socket, but for a few. */
static void requests_behind_a_late_one_are_not_piled_up(void **state)
{
    enum { REQUESTS = 20000 };
    struct fixture *f = *state;
    struct raw_client *c;
    size_t sent;

    start_late(f, (struct ws_options){.max_memory = 4 * MIB});
    c = client(f, "many behind a late one");
    raw_bytes_text(&f->out, "GET /late?500 HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < REQUESTS; i++)
        raw_bytes_text(&f->out, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    sent = raw_send_some(c, f->out.data, f->out.len, 50);
    assert_in_range(stats(f).buffered, 0, 512 * KIB);
    raw_exchange(c, f->out.data + sent, f->out.len - sent);
    expect_body(c, "500");
    for (int i = 0; i < REQUESTS; i++)
        expect_body(c, "GET /http? []");
    assert_int_equal(stats(f).buffered, 0);
}

/* What comes behind the last request is read, so that no RST overtakes the answer, and is not
 * kept. */
static void bytes_behind_the_last_request_are_not_piled_up(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *more = make_payload(8 * MIB, false);

    start_late(f, (struct ws_options){0});
    c = client(f, "goes on behind Connection: close");
    raw_send_text(c, "GET /late?50 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nand more");
    expect_body(c, "50");
    raw_send(c, more, 8 * MIB);
    assert_int_equal(stats(f).buffered, 0);
    raw_expect_eof(c);
    free(more);
}

/* The application had the body in on_request, and may think about it for long. */
static void body_of_a_late_request_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *body = make_payload(1 * MIB, false);

    start_late(f, (struct ws_options){0});
    c = client(f, "late, with a body");
    raw_send_text(c, "POST /late?60000 HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
    raw_send(c, body, 1 * MIB);
    wait_until(f, &f->seen.requests, 1, "requests");
    assert_int_equal(stats(f).buffered, 0);
    free(body);
}

static void late_answer_has_no_handshake_deadline(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_late(f, (struct ws_options){.handshake_timeout_ms = 500});
    c = client(f, "late");
    raw_send_text(c, "GET /late?700 HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "700");
}

static void client_that_leaves_a_late_request_aborts_it(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t before;

    start_late(f, (struct ws_options){0});
    for (int i = 1; i <= 3; i++) {
        c = client(f, "leaves");
        raw_send_text(c, "GET /late?60000 HTTP/1.1\r\n" HOST "\r\n");
        wait_until(f, &f->seen.requests, i, "requests");
        if (i == 1)
            raw_reset(c);
        else if (i == 2)
            raw_close(c);
        else
            raw_half_close(c);
        wait_until(f, &f->seen.aborted, i, "calls of on_abort");
    }
    wait_connections(f, 0);

    /* A client that pipelines more than is read meanwhile must not make the loop spin. */
    c = client(f, "pipelines behind a late request");
    raw_send_text(c, "GET /late?150 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 4, "requests");
    before = loop_cpu_ms(f);
    expect_body(c, "150");
    assert_in_range(loop_cpu_ms(f) - before, 0, 60);
    expect_body(c, "GET /http? []");
}

/* However the connection of a late request ends, the application hears of it: it must not answer on
 * what is freed. Here no memory is left when more comes in behind the request. */
static void request_dropped_for_lack_of_memory_is_aborted(void **state)
{
    struct fixture *f = *state;
    size_t max_memory = 256 * KIB;
    struct raw_client *late;
    struct raw_response r;
    uint8_t *payload = make_payload(100 * KIB, false);

    start_late(f, (struct ws_options){.max_memory = max_memory});
    late = client(f, "late");
    raw_send_text(late, "GET /late?100000 HTTP/1.1\r\n" HOST "\r\n");
    wait_until(f, &f->seen.requests, 1, "requests");
    on_loop(f, leave_no_memory, &max_memory);
    raw_send_some(late, payload, 100 * KIB, 50);
    free(payload);
    wait_until(f, &f->seen.aborted, 1, "calls of on_abort");
    raw_expect_status(late, &r, 503);
    raw_close(late);
    wait_connections(f, 0);
}

static void half_closed_client_gets_its_late_answer(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    int64_t before;

    start_serving(f, (struct ws_options){0}, "/late",
                  (struct ws_handlers){.on_request = take_late});
    c = client(f, "half-closed");
    raw_send_text(c, "GET /late?150 HTTP/1.1\r\n" HOST "\r\n");
    raw_half_close(c);
    wait_until(f, &f->seen.requests, 1, "requests");
    before = loop_cpu_ms(f);
    expect_body(c, "150");
    assert_in_range(loop_cpu_ms(f) - before, 0, 60);
    raw_expect_eof(c);
}

static void respond_with_injections(struct ws_conn *c, const struct ws_request *req)
{
    static const struct {
        const char *name, *value;
        size_t value_len;
    } bad[] = {
        {"X", "a\r\nEvil: 1", 10},
        {"X", "a\nb", 3},
        {"X", "a\rb", 3},
        {"X", "a\0b", 3},
        {"X\r\nEvil", "a", 1},
        {"X:", "a", 1},
        {"", "a", 1},
        {"X Y", "a", 1},
        {"content-length", "3", 1},
        {"Transfer-Encoding", "chunked", 7},
        {"Connection", "x", 1},
    };
    int refused = 0;

    (void)req;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct ws_header h = {ws_str(bad[i].name), {bad[i].value, bad[i].value_len}};

        refused += ws_respond(c, 200, &h, 1, "", 0) == WS_ERR_INVALID;
    }
    refused += ws_respond(c, 99, NULL, 0, "", 0) == WS_ERR_INVALID;
    refused += ws_respond(c, 1000, NULL, 0, "", 0) == WS_ERR_INVALID;
    note_result(of(c), 0, refused);
    ws_respond(c, 200, NULL, 0, "clean", 5);
    note_result(of(c), 1, ws_respond(c, 200, NULL, 0, "twice", 5));
    count(of(c), &of(c)->seen.requests);
}

static void response_headers_cannot_be_injected(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/inject",
                  (struct ws_handlers){.on_request = respond_with_injections});
    c = client(f, "inject");
    raw_send_text(c, "GET /inject HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "clean");
    wait_until(f, &f->seen.requests, 1, "requests");
    assert_int_equal(f->seen.result[0], 13);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    raw_send_text(c, "GET /http HTTP/1.1\r\n" HOST "\r\n");
    expect_body(c, "GET /http? []");
}

static void respond_not_modified(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_respond(c, 304, NULL, 0, NULL, 0);
}

static void not_modified_has_no_body(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/304",
                  (struct ws_handlers){.on_request = respond_not_modified});
    c = client(f, "304");
    raw_send_text(c, "GET /304 HTTP/1.1\r\n" HOST "\r\nGET /http HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 304);
    expect_body(c, "GET /http? []");
}

static void require_upgrade(struct ws_conn *c, const struct ws_request *req)
{
    const struct ws_header upgrade = {ws_str("Upgrade"), ws_str("chat")};

    (void)req;
    ws_respond(c, 426, &upgrade, 1, "", 0);
}

/* RFC 9110 §7.8: Upgrade counts only where Connection names it. */
static void upgrade_that_the_application_requires_is_named_in_connection(void **state)
{
    static const struct {
        const char *request, *connection;
    } rows[] = {
        {"GET /426 HTTP/1.1\r\n" HOST "\r\n", "Upgrade"},
        {"GET /426 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Upgrade, keep-alive"},
        {"GET /426 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "Upgrade, close"},
    };
    struct fixture *f = *state;
    struct raw_response r;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/426",
                  (struct ws_handlers){.on_request = require_upgrade});
    c = client(f, "426");
    for (size_t i = 0; i < COUNT(rows); i++) {
        raw_send_text(c, rows[i].request);
        raw_expect_status(c, &r, 426);
        if (!raw_header_is(&r, "Connection", rows[i].connection))
            raw_fail(c, "not %s: %s", rows[i].connection, r.head);
    }
    raw_expect_eof(c);
}

#include "tests/test_conn_http.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
