/* SPDX-License-Identifier: MIT
 *
 * Inputs that broke other servers, as their advisories publish them, sent to the real program. Each
 * row has the number of its advisory, the bytes, and the answer that minnow owes; after each of
 * them another client is served. docs/security.md lists these attacks and the tests of the others,
 * which take more than one input.
 *
 * The program runs with a small --max-message, so that a message over the limit is short. */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "process.h"
#include "raw_client.h"

#define COUNT(array)   (sizeof(array) / sizeof *(array))
#define BYTES(literal) .bytes = (literal), .len = sizeof(literal) - 1
#define MASK           "\0\0\0\0"

#define HOST    "Host: localhost\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
#define GET     "GET / HTTP/1.1\r\n" HOST
#define POST    "POST / HTTP/1.1\r\n" HOST
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define NEXT    "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"

#define SOCKETIO "/socket.io/?EIO=4&transport="

enum { PATIENCE_MS = 20000, ID_LEN = 20 };

struct fixture {
    struct process process;
    uint16_t port;
    struct raw_client attacker;
    struct raw_client other;
    struct raw_bytes out;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    process_init(&f->process);
    raw_init(&f->attacker);
    raw_init(&f->other);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    raw_close(&f->attacker);
    raw_close(&f->other);
    raw_bytes_release(&f->out);
    process_release(&f->process);
    free(f);
    return 0;
}

/* Start it with these options, and wait until it is there. */
static void serve(struct fixture *f, const char *const *argv)
{
    const char *colon;

    process_start(&f->process, "minnow", argv);
    colon = strstr(process_line(&f->process, &f->process.out), "127.0.0.1:");
    assert_non_null(colon);
    f->port = (uint16_t)atoi(colon + strlen("127.0.0.1:"));
}

#define MINNOW(...) ((const char *const[]){"minnow", "echo", "-q", "-p", "0", __VA_ARGS__, NULL})

static void expect_other_served(struct fixture *f)
{
    raw_connect(&f->other, f->port);
    raw_upgrade(&f->other, "/other");
    raw_expect_echo(&f->other, "served");
    raw_close(&f->other);
}

/* No sanitizer has found anything either: it would have ended the program and written to stderr. */
static void expect_clean_end(struct fixture *f)
{
    raw_close(&f->attacker);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.len, 0);
}

/* --- the inputs ------------------------------------------------------------------------------- */

enum way {
    REQUEST, /* bytes of HTTP; `answer` is the status, and the last thing that comes */
    UPLOAD,  /* what follows "Host" in a POST to a session of Engine.IO; `answer` as for REQUEST */
    FIELD,   /* one more line of a handshake that is accepted; then an echo */
    FRAMES,  /* behind a handshake; `answer` is the close code */
    IO_FRAMES, /* the same behind a handshake of Engine.IO */
    PACKET,    /* a message of a client that is in "/" of Socket.IO, which ends the connection */
    EVENT,     /* the same, but it comes back */
    RESET      /* bytes of HTTP, and a RST right behind them */
};

struct attack {
    const char *label; /* where it was published, and what it is */
    enum way way;
    int answer;
    const char *bytes;
    size_t len;
    void (*build)(struct raw_bytes *b); /* in place of the bytes */
    bool stays;                         /* the connection is not closed behind the answer */
};

static void repeat(struct raw_bytes *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        raw_bytes_text(b, text);
}

static void two_thousand_fields(struct raw_bytes *b)
{
    raw_bytes_text(b, GET);
    repeat(b, "A:x\r\n", 2000);
    raw_bytes_text(b, UPGRADE KEY "\r\n");
}

static void giant_field(struct raw_bytes *b)
{
    raw_bytes_text(b, GET UPGRADE KEY "X: ");
    repeat(b, "0123456789abcdef", 65536);
}

static void long_target(struct raw_bytes *b)
{
    raw_bytes_text(b, "GET /");
    repeat(b, "a", 60000);
    raw_bytes_text(b, " HTTP/1.1\r\n" HOST "\r\n");
}

static void subprotocol_of_spaces(struct raw_bytes *b)
{
    raw_bytes_text(b, GET UPGRADE KEY "Sec-WebSocket-Protocol: b");
    repeat(b, " ", 15000);
    raw_bytes_text(b, "x\r\n\r\n");
}

static void unclosed_quote(struct raw_bytes *b)
{
    raw_bytes_text(b, "Sec-WebSocket-Extensions: a; b=\"");
    repeat(b, "\\c", 7000);
    raw_bytes_text(b, "\r\n");
}

static void commas_of_extensions(struct raw_bytes *b)
{
    raw_bytes_text(b, "Sec-WebSocket-Extensions: ");
    repeat(b, "permessage-deflate;a=b, ", 600);
    raw_bytes_text(b, "x\r\n");
}

static void endless_extension(struct raw_bytes *b)
{
    raw_bytes_text(b, CHUNKED "1;");
    repeat(b, "a", 40000);
}

static void endless_trailer(struct raw_bytes *b)
{
    raw_bytes_text(b, CHUNKED "1\r\n4\r\n0\r\nX: ");
    repeat(b, "a", 20000);
    raw_bytes_text(b, "\r\n\r\n" NEXT);
}

static void small_fragments(struct raw_bytes *b)
{
    raw_bytes_frame(b, RAW_TEXT_PART, "x", 1);
    for (int i = 0; i < 131070; i++)
        raw_bytes_frame(b, RAW_CONTINUATION_PART, "x", 1);
}

static void all_digits(struct raw_bytes *b)
{
    raw_bytes_text(b, "45");
    repeat(b, "1", 60000);
}

static void deep_json(struct raw_bytes *b)
{
    raw_bytes_text(b, "42[\"a\",");
    repeat(b, "[", 60000);
}

static const struct attack attacks[] = {
    /* ws */
    {"CVE-2016-10542 ws: a giant payload is announced", FRAMES, 1009,
     BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK)},
    {"ws 3.3.1: an extension with the name of an object's member", FIELD, 101,
     BYTES("Sec-WebSocket-Extensions: constructor\r\n")},
    {"ws 3.3.1: the same behind an empty one", FIELD, 101,
     BYTES("Sec-WebSocket-Extensions: ,;constructor\r\n")},
    {"CVE-2021-32640 ws: a subprotocol of spaces", REQUEST, 400, .build = subprotocol_of_spaces},
    {"CVE-2024-37890 ws: 2000 fields before Upgrade", REQUEST, 431, .build = two_thousand_fields},
    {"CVE-2026-48779, CVE-2026-62389 ws: fragments of one byte", FRAMES, 1009,
     .build = small_fragments},
    {"CVE-2020-7662, CVE-2020-7663 websocket-extensions: a quote that is not closed", FIELD, 101,
     .build = unclosed_quote},
    {"the same: thousands of parameters", FIELD, 101, .build = commas_of_extensions},

    /* servers in C, C++, Go and Rust */
    {"CVE-2017-2921 Mongoose: a length near 2^64", FRAMES, 1002,
     BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xf0" MASK)},
    {"CVE-2023-34188 Mongoose: Content-Length is the negated length of the request", REQUEST, 400,
     BYTES("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -48\r\n\r\n")},
    {"Mongoose 7.11: an empty header name", REQUEST, 400, BYTES(GET ": x\r\n\r\n" NEXT)},
    {"CVE-2025-55763 CivetWeb: a long URI", REQUEST, 414, .build = long_target},
    {"NN-2025-0102 libwebsockets: an Upgrade of another value", REQUEST, 404,
     BYTES("GET /room HTTP/1.1\r\n" HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY
           "\r\n"),
     .stays = true},
    {"wsServer 117: two lengths whose sum wraps", FRAMES, 1009,
     BYTES("\x02\x81" MASK "a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK)},
    {"wsServer 120: a frame without a mask", FRAMES, 1002, BYTES("\x81\x00")},
    {"WebSocket++ 32: an illegal frame in the segment of the handshake", FRAMES, 1002,
     BYTES("\x83\x80" MASK)},
    {"CVE-2020-27813 Gorilla: a continuation whose length overflows", FRAMES, 1009,
     BYTES("\x01\x85" MASK "hello\x00\xff\x7f\xff\xff\xff\xff\xff\xff\xfb" MASK)},
    {"CVE-2023-43669 tungstenite: a head of a mebibyte", REQUEST, 431, .build = giant_field},
    {"CVE-2024-22019 Node.js: a chunk extension without end", UPLOAD, 431,
     .build = endless_extension},

    /* Tomcat */
    {"CVE-2020-13935 Tomcat: all bits of the length", FRAMES, 1002,
     BYTES("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK)},
    {"CVE-2023-45648 Tomcat: a trailer that is no field", UPLOAD, 400,
     BYTES(CHUNKED "1\r\n4\r\n0\r\nX\x01: y\r\n\r\n" NEXT)},
    {"CVE-2023-46589 Tomcat: a trailer over the limit", UPLOAD, 431, .build = endless_trailer},

    /* Netty */
    {"CVE-2019-16869 Netty: a space before the colon", REQUEST, 400,
     BYTES(POST "Content-Length: 3\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" NEXT)},
    {"CVE-2019-20444 Netty: a field without a colon", REQUEST, 400,
     BYTES(POST "Content-Length: 5\r\nContent-Length:\r\n6\r\n\r\n0123456")},
    {"CVE-2019-20445 Netty: Content-Length and Transfer-Encoding", REQUEST, 400,
     BYTES(POST
           "Content-Length: 1\r\nTransfer-Encoding: chunked, something\r\n\r\n0\r\n\r\n" NEXT)},
    {"CVE-2020-7238 Netty: a space before Transfer-Encoding", REQUEST, 400,
     BYTES("POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n" HOST
           "Content-Length: 5\r\n\r\n0\r\n\r\n" NEXT)},
    {"CVE-2025-58056 Netty: a chunk size that ends in LF", UPLOAD, 400,
     BYTES(CHUNKED "1;\n4\r\n0\r\n\r\n" NEXT)},
    {"CVE-2026-33870 Netty: a line break in a quoted chunk extension", UPLOAD, 400,
     BYTES(CHUNKED "1;a=\"\r\n4\r\n0\r\n\r\n" NEXT "\"\r\n4\r\n0\r\n\r\n")},
    {"CVE-2026-42581 Netty: Transfer-Encoding and Content-Length in HTTP/1.0", REQUEST, 400,
     BYTES("POST / HTTP/1.0\r\n" HOST "Content-Length: 3\r\n" CHUNKED "0\r\n\r\n" NEXT)},
    {"CVE-2026-50020 Netty: control characters before the request line", REQUEST, 400,
     BYTES("\0\x01\x02 \x7f" GET "\r\n")},
    {"CVE-2026-89044 Netty: chunked is not the last coding", REQUEST, 400,
     BYTES(POST "Transfer-Encoding: chunked, xchunked\r\n\r\n0\r\n\r\n" NEXT)},

    /* Mongoose, Gunicorn */
    {"Mongoose 2460, Gunicorn 3087: a comma before chunked", REQUEST, 400,
     BYTES(POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n" NEXT)},
    {"Gunicorn 3087: a comma behind chunked", REQUEST, 400,
     BYTES(POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n" NEXT)},

    /* Undertow */
    {"CVE-2020-10705 Undertow: 100-continue and a body over the limit", REQUEST, 413,
     BYTES(POST "Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n")},
    {"CVE-2026-28367 Undertow: a head that ends in CR CR CR", REQUEST, 400,
     BYTES("GET / HTTP/1.1\r\n" HOST "A: b\r\r\r" NEXT)},
    {"CVE-2026-28369 Undertow: spaces before the first field", REQUEST, 400,
     BYTES("GET / HTTP/1.1\r\n  " HOST "\r\n" NEXT)},

    /* engine.io */
    {"CVE-2020-36048 engine.io: a POST of 100 MB", UPLOAD, 413,
     BYTES("Content-Length: 100000000\r\n\r\n4\x1e"
           "4\x1e"
           "4\x1e")},
    {"CVE-2022-21676 engine.io: reserved bits right behind the handshake", IO_FRAMES, 1002,
     BYTES("\xb1\x80" MASK)},
    {"CVE-2022-41940 engine.io: RST while an upgrade is refused", RESET, 0,
     BYTES("GET /socket.io/?EIO=5&transport=websocket HTTP/1.1\r\n" HOST UPGRADE KEY "\r\n")},
    {"CVE-2023-31125 engine.io: a transport with the name of an object's member", REQUEST, 400,
     BYTES("GET " SOCKETIO "__proto__ HTTP/1.1\r\n" HOST "\r\n"), .stays = true},
    {"the same: an upgrade", REQUEST, 400,
     BYTES("GET " SOCKETIO "constructor HTTP/1.1\r\n" HOST UPGRADE KEY "\r\n")},
    {"CVE-2026-59725 engine.io: a POST that says it is binary", UPLOAD, 400,
     BYTES("Content-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\n4x"), .stays = true},

    /* socket.io-parser */
    {"CVE-2020-36049 socket.io-parser: a packet that is all digits", PACKET, 0,
     .build = all_digits},
    {"CVE-2022-2421 socket.io-parser: a placeholder that names a method", PACKET, 0,
     BYTES("451-[{\"_placeholder\":true,\"num\":\"splice\"}]")},
    {"CVE-2023-32695 socket.io-parser: an event named by an object", PACKET, 0,
     BYTES("42[{\"toString\":\"foo\"}]")},
    {"CVE-2024-38355 socket.io: an event named error", EVENT, 0, BYTES("42[\"error\",\"x\"]")},
    {"CVE-2026-33151 socket.io-parser: 99999999 attachments", PACKET, 0,
     BYTES("4599999999-[\"x\"]")},
    {"CVE-2026-69185 socket.io-parser: no attachments", PACKET, 0, BYTES("450-[\"x\"]")},
    {"deep JSON", PACKET, 0, .build = deep_json},
};

/* --- sending them ----------------------------------------------------------------------------- */

/* A session of Engine.IO on polling; f->out becomes the head of a POST to it, without its end. */
static void begin_upload(struct fixture *f)
{
    struct raw_client *c = &f->attacker;
    struct raw_response r;
    const char *sid;
    char head[256];

    raw_send_text(c, "GET " SOCKETIO "polling HTTP/1.1\r\n" HOST "\r\n");
    raw_expect_status(c, &r, 200);
    sid = memmem(r.body, r.body_len, "\"sid\":\"", 7);
    assert_non_null(sid);
    snprintf(head, sizeof head, "POST " SOCKETIO "polling&sid=%.*s HTTP/1.1\r\n" HOST, ID_LEN,
             sid + 7);
    raw_bytes_text(&f->out, head);
}

/* A WebSocket of Engine.IO, with its open packet taken. */
static void open_socketio(struct raw_client *c)
{
    struct raw_frame frame;

    raw_upgrade(c, SOCKETIO "websocket");
    raw_read_frame(c, &frame);
    assert_int_equal(frame.payload[0], '0');
}

/* ... and it is in "/". */
static void enter_socketio(struct raw_client *c)
{
    struct raw_frame frame;

    open_socketio(c);
    raw_send_message(c, "40");
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "40", 2);
}

/* What has to be said before the input, in f->out where it goes out together with it. */
static void prepare(struct fixture *f, const struct attack *a)
{
    f->out.len = 0;
    switch (a->way) {
    case UPLOAD:
        begin_upload(f);
        break;
    case FIELD:
        raw_bytes_text(&f->out, GET UPGRADE KEY);
        break;
    case FRAMES:
        raw_bytes_upgrade(&f->out, "/", "");
        break;
    case IO_FRAMES:
        raw_bytes_upgrade(&f->out, SOCKETIO "websocket", "");
        break;
    case PACKET:
    case EVENT:
        enter_socketio(&f->attacker);
        break;
    case REQUEST:
    case RESET:
        break;
    }
}

static void send_attack(struct fixture *f, const struct attack *a)
{
    struct raw_bytes input = {0};

    if (a->build != NULL)
        a->build(&input);
    else
        raw_bytes_add(&input, a->bytes, a->len);
    if (a->way == PACKET || a->way == EVENT)
        raw_bytes_frame(&f->out, RAW_TEXT, input.data, input.len);
    else
        raw_bytes_add(&f->out, input.data, input.len);
    if (a->way == FIELD)
        raw_bytes_text(&f->out, "\r\n");
    raw_bytes_release(&input);
    raw_exchange(&f->attacker, f->out.data, f->out.len);
}

static void expect_answer(struct raw_client *c, const struct attack *a)
{
    struct raw_response r;
    struct raw_frame frame;

    switch (a->way) {
    case REQUEST:
    case UPLOAD:
        raw_expect_status(c, &r, a->answer);
        if (!a->stays)
            raw_expect_eof(c);
        break;
    case FIELD:
        raw_expect_upgraded(c, &r);
        raw_expect_echo(c, "hi");
        break;
    case IO_FRAMES:
        raw_expect_upgraded(c, &r);
        raw_read_frame(c, &frame); /* the open packet */
        raw_expect_closed(c, (unsigned)a->answer);
        break;
    case FRAMES:
        raw_expect_upgraded(c, &r);
        raw_expect_closed(c, (unsigned)a->answer);
        break;
    case PACKET:
        raw_expect_close(c, 0);
        break;
    case EVENT:
        raw_expect_message(c, a->bytes);
        break;
    case RESET:
        raw_reset(c);
        break;
    }
}

/* --- the tests -------------------------------------------------------------------------------- */

static void published_inputs_get_their_answer_and_others_are_served(void **state)
{
    struct fixture *f = *state;

    serve(f, MINNOW("--max-message", "64K", "--subprotocol", "chat"));
    for (size_t i = 0; i < COUNT(attacks); i++) {
        raw_connect(&f->attacker, f->port);
        f->attacker.label = attacks[i].label;
        prepare(f, &attacks[i]);
        send_attack(f, &attacks[i]);
        expect_answer(&f->attacker, &attacks[i]);
        raw_close(&f->attacker);
        expect_other_served(f);
    }
    expect_clean_end(f);
}

static bool repeats_it(const struct raw_response *r)
{
    return strstr(r->head, "quirk") != NULL || memmem(r->body, r->body_len, "quirk", 5) != NULL;
}

/* A browser must not read as markup what somebody put into a link. Refusals of an origin or
 * a host quote it, as plain text. */
static void no_answer_repeats_a_request_as_markup(void **state)
{
    static const struct {
        int status;
        const char *request;
    } rows[] = {
        {404, "GET /quirk?quirk HTTP/1.1\r\nHost: quirk\r\n\r\n"},
        {405, "POST /?quirk HTTP/1.1\r\nHost: quirk\r\nContent-Length: 0\r\n\r\n"},
        {400, "GET /<quirk> HTTP/1.1\r\nHost: quirk\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: <quirk>\r\n\r\n"},
        {501, "CONNECT quirk:80 HTTP/1.1\r\nHost: quirk\r\n\r\n"},
        {421, "GET / HTTP/1.1\r\nHost: other.quirk\r\n\r\n"},
        {403, "GET / HTTP/1.1\r\n" HOST "Origin: http://quirk\r\n" UPGRADE KEY "\r\n"},
        {400, "GET " SOCKETIO "quirk HTTP/1.1\r\nHost: quirk\r\n\r\n"},
        {400, "GET " SOCKETIO "polling&sid=quirk HTTP/1.1\r\nHost: quirk\r\n\r\n"},
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->attacker;
    struct raw_response r;

    serve(f, MINNOW("--max-message", "64K", "--host", "quirk"));
    for (size_t i = 0; i < COUNT(rows); i++) {
        raw_connect(c, f->port);
        raw_send_text(c, rows[i].request);
        raw_expect_status(c, &r, rows[i].status);
        if (repeats_it(&r) && !(raw_header_is(&r, "Content-Type", "text/plain; charset=utf-8") &&
                                raw_header_is(&r, "X-Content-Type-Options", "nosniff")))
            raw_fail(c, "the answer to %s repeats it", rows[i].request);
        raw_close(c);
    }
    expect_clean_end(f);
}

/* There are no static files: a path is compared with "/" and with the prefix of Socket.IO. */
static void paths_that_climb_lead_to_no_file(void **state)
{
    static const char *const paths[] = {
        "/..",         "/../etc/passwd",        "/%2e%2e/%2e%2e/etc/passwd",
        "//",          "//etc/passwd",          "/./",
        "/%2f",        "/..%2f..%2fetc/passwd", "/socket.io/../../etc/passwd",
        "/index.html", "/%5c..%5cetc%5cpasswd", "/program/web/index.html",
        "/etc/passwd", "/proc/self/environ",
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->attacker;
    struct raw_response r;
    char head[256];

    serve(f, MINNOW("--max-message", "64K"));
    raw_connect(c, f->port);
    for (size_t i = 0; i < COUNT(paths); i++) {
        snprintf(head, sizeof head, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        raw_send_text(c, head);
        raw_read_response(c, &r, false);
        if (r.status != 404 && r.status != 400)
            raw_fail(c, "%s: status %d", paths[i], r.status);
        assert_null(memmem(r.body, r.body_len, "root:", 5));
        assert_null(memmem(r.body, r.body_len, "<html", 5));
    }
    expect_clean_end(f);
}

static int64_t cpu_ms(const struct fixture *f)
{
    struct timespec t;
    clockid_t clock;

    assert_int_equal(clock_getcpuclockid(f->process.pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &t), 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A loop that asks for more of a head that has ended would spin until the handshake timeout. */
static void head_cut_by_fin_ends_the_connection(void **state)
{
    static const char head[] = GET UPGRADE KEY;
    struct fixture *f = *state;
    struct raw_client *c = &f->attacker;
    int64_t before;

    serve(f, MINNOW("--max-message", "64K"));
    before = cpu_ms(f);
    for (size_t n = 0; n < sizeof head; n++) {
        raw_connect(c, f->port);
        raw_send(c, head, n);
        raw_half_close(c);
        if (!raw_gone_within(c, PATIENCE_MS / 4))
            raw_fail(c, "still open, %zu bytes of a head and FIN", n);
        raw_close(c);
    }
    assert_in_range(cpu_ms(f) - before, 0, 1000);
    expect_other_served(f);
    expect_clean_end(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#include "tests/test_attacks.list"

int main(void)
{
    return cmocka_run_group_tests_name("attacks", tests, NULL, NULL);
}
