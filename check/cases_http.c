/* SPDX-License-Identifier: MIT
 *
 * The syntax of requests, RFC 9112 and RFC 9110: what a server that browsers and proxies talk to
 * has to refuse, since two readings of one request are how requests are smuggled (RFC 9112 §11.2).
 * Each request goes to the path of the WebSocket endpoint. */
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define HTTP "RFC 9112 "

#define HANDSHAKE                                                                                  \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY                         \
    "\r\nSec-WebSocket-Version: 13\r\n"
#define GET "GET %1$s HTTP/1.1\r\nHost: %2$s\r\n"

enum want {
    WANT_101,     /* the handshake is in order */
    WANT_ANSWER,  /* any status but 101 */
    WANT_REFUSAL, /* a status from 400 on, or the end of the connection */
    WANT_SHOULD   /* the same, where the standard only recommends it */
};

struct request {
    const char *name;
    enum want want;
    const char *section;
    const char *demand;
    const char *hint;
    const char *head; /* %1$s: the path, %2$s: the host; whole, with its empty line */
};

static const struct request requests[] = {
    /* the request line */
    {"line/plain", WANT_ANSWER, "RFC 9110 §9.3.1", "A plain GET gets a response.", NULL,
     GET "Connection: close\r\n\r\n"},
    {"line/lower-case-version", WANT_REFUSAL, HTTP "§2.3",
     "The name of the protocol is \"HTTP\", with regard to case.", NULL,
     "GET %1$s http/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/no-version", WANT_SHOULD, HTTP "§3", "A request line has a version.", NULL,
     "GET %1$s\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/version-2", WANT_REFUSAL, "RFC 9110 §15.6.6",
     "A major version that the server does not speak gets 505.", NULL,
     "GET %1$s HTTP/2.0\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/version-1.10", WANT_SHOULD, HTTP "§2.3", "Each number of a version is one digit.", NULL,
     "GET %1$s HTTP/1.10\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/version-11", WANT_SHOULD, HTTP "§2.3", "Each number of a version is one digit.", NULL,
     "GET %1$s HTTP/11.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/two-spaces", WANT_SHOULD, HTTP "§3", "One space stands between the parts.", NULL,
     "GET  %1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/tab", WANT_SHOULD, HTTP "§3", "One space stands between the parts, no tab.", NULL,
     "GET\t%1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/space-in-target", WANT_SHOULD, HTTP "§3.2", "No white space is allowed in the target.",
     NULL, "GET %1$s with space HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/space-at-end", WANT_SHOULD, HTTP "§3", "Nothing stands behind the version.", NULL,
     "GET %1$s HTTP/1.1 \r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/space-before", WANT_SHOULD, HTTP "§3", "Nothing stands before the method.", NULL,
     " GET %1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/method-not-a-token", WANT_REFUSAL, "RFC 9110 §9.1", "A method is a token.", NULL,
     "G@T %1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/no-method", WANT_SHOULD, HTTP "§3", "A request line begins with a method.", NULL,
     "%1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/no-target", WANT_SHOULD, HTTP "§3", "A request line has a target.", NULL,
     "GET HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/target-without-slash", WANT_REFUSAL, HTTP "§3.2",
     "A target is a path, a whole URL, or *.", NULL,
     "GET chat HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/control-in-target", WANT_REFUSAL, "RFC 3986 §3.3", "A path holds no control characters.",
     NULL, "GET %1$s\x01 HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/empty-line-before", WANT_101, HTTP "§2.2",
     "At least one empty line before the request line is ignored.", NULL,
     "\r\nGET %1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/absolute-form", WANT_101, HTTP "§3.2.2",
     "A server accepts the absolute form of the target.", NULL,
     "GET http://%2$s%1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/absolute-form-upper-case", WANT_101, "RFC 3986 §3.1", "Schemes have no case.", NULL,
     "GET HTTP://%2$s%1$s HTTP/1.1\r\nHost: %2$s\r\n" HANDSHAKE "\r\n"},
    {"line/unknown-method", WANT_ANSWER, "RFC 9110 §9.1", "An unknown method gets a response.",
     NULL, "BREW %1$s HTTP/1.1\r\nHost: %2$s\r\nConnection: close\r\n\r\n"},
    {"line/http-1.0", WANT_ANSWER, HTTP "§2.3", "A client of HTTP/1.0 gets a response.", NULL,
     "GET %1$s HTTP/1.0\r\n\r\n"},

    /* Host */
    {"host/missing", WANT_REFUSAL, HTTP "§3.2", "A request of HTTP/1.1 without Host gets 400.",
     NULL, "GET %1$s HTTP/1.1\r\nConnection: close\r\n\r\n"},
    {"host/two", WANT_REFUSAL, HTTP "§3.2", "Two fields Host get 400.", NULL,
     GET "Host: example.org\r\n" HANDSHAKE "\r\n"},
    {"host/two-alike", WANT_REFUSAL, HTTP "§3.2", "Two fields Host get 400, though they be alike.",
     NULL, GET "Host: %2$s\r\n" HANDSHAKE "\r\n"},
    {"host/with-space", WANT_REFUSAL, HTTP "§3.2", "A Host that is no host gets 400.", NULL,
     "GET %1$s HTTP/1.1\r\nHost: exa mple.org\r\n" HANDSHAKE "\r\n"},
    {"host/with-path", WANT_REFUSAL, HTTP "§3.2", "A Host that is no host gets 400.", NULL,
     "GET %1$s HTTP/1.1\r\nHost: example.org/path\r\n" HANDSHAKE "\r\n"},
    {"host/with-user", WANT_REFUSAL, "RFC 9110 §7.2", "Host has no user name.", NULL,
     "GET %1$s HTTP/1.1\r\nHost: user@example.org\r\n" HANDSHAKE "\r\n"},
    {"host/list", WANT_SHOULD, HTTP "§3.2", "Host is not a list.", NULL,
     "GET %1$s HTTP/1.1\r\nHost: a.example, b.example\r\n" HANDSHAKE "\r\n"},
    {"host/bad-port", WANT_REFUSAL, "RFC 9110 §7.2", "The port of Host is a number.", NULL,
     "GET %1$s HTTP/1.1\r\nHost: example.org:http\r\n" HANDSHAKE "\r\n"},

    /* fields */
    {"field/space-before-colon", WANT_REFUSAL, HTTP "§5.1",
     "White space between a name and its colon gets 400.", "It is how a field is hidden.",
     GET "X-Field : 1\r\n" HANDSHAKE "\r\n"},
    {"field/tab-before-colon", WANT_REFUSAL, HTTP "§5.1",
     "White space between a name and its colon gets 400.", NULL,
     GET "X-Field\t: 1\r\n" HANDSHAKE "\r\n"},
    {"field/folded", WANT_SHOULD, HTTP "§5.2",
     "A line that begins with white space is refused, or joined to the one before.", NULL,
     GET "X-Field: 1\r\n and more\r\n" HANDSHAKE "\r\n"},
    {"field/first-folded", WANT_REFUSAL, HTTP "§2.2",
     "White space before the first field is refused.", NULL,
     "GET %1$s HTTP/1.1\r\n Host: %2$s\r\n" HANDSHAKE "\r\n"},
    {"field/no-colon", WANT_SHOULD, HTTP "§5", "Each field has a colon.", NULL,
     GET "X-Field\r\n" HANDSHAKE "\r\n"},
    {"field/empty-name", WANT_SHOULD, HTTP "§5", "A field has a name.", NULL,
     GET ": 1\r\n" HANDSHAKE "\r\n"},
    {"field/space-in-name", WANT_REFUSAL, "RFC 9110 §5.1", "The name of a field is a token.", NULL,
     GET "X Field: 1\r\n" HANDSHAKE "\r\n"},
    {"field/bracket-in-name", WANT_SHOULD, "RFC 9110 §5.1", "The name of a field is a token.", NULL,
     GET "X[0]: 1\r\n" HANDSHAKE "\r\n"},
    {"field/non-ascii-name", WANT_SHOULD, "RFC 9110 §5.1", "The name of a field is a token.", NULL,
     GET "X-\xc3\xa9: 1\r\n" HANDSHAKE "\r\n"},
    {"field/control-in-value", WANT_SHOULD, "RFC 9110 §5.5",
     "A value with control characters is refused, or cleaned.", NULL,
     GET "X-Field: a\x01z\r\n" HANDSHAKE "\r\n"},
    {"field/bare-cr-in-value", WANT_SHOULD, "RFC 9110 §5.5, RFC 9112 §2.2",
     "A CR that stands alone is refused, or becomes a space.",
     "Some proxies end a line there; others do not.", GET "X-Field: a\rz\r\n" HANDSHAKE "\r\n"},
    {"field/bare-cr-at-end", WANT_SHOULD, HTTP "§2.2", "A line ends with CR and LF.", NULL,
     GET "X-Field: a\r\r\n" HANDSHAKE "\r\n"},
    {"field/empty-list-items", WANT_101, "RFC 9110 §5.6.1.2",
     "A server skips a reasonable number of empty items of a list.",
     "Programs that join lists leave commas behind.",
     "GET %1$s HTTP/1.1\r\nHost: %2$s\r\nUpgrade: websocket\r\n"
     "Connection: , ,Upgrade ,,\r\nSec-WebSocket-Key: " KEY
     "\r\nSec-WebSocket-Version: 13\r\n\r\n"},

    /* where the body ends */
    {"body/length-not-a-number", WANT_REFUSAL, HTTP "§6.3", "Content-Length is digits alone.", NULL,
     GET "Content-Length: five\r\n" HANDSHAKE "\r\n"},
    {"body/length-with-plus", WANT_REFUSAL, HTTP "§6.3", "Content-Length is digits alone.",
     "strtol() takes signs and spaces.", GET "Content-Length: +5\r\n" HANDSHAKE "\r\nhello"},
    {"body/length-negative", WANT_REFUSAL, HTTP "§6.3", "Content-Length is digits alone.", NULL,
     GET "Content-Length: -1\r\n" HANDSHAKE "\r\n"},
    {"body/length-hexadecimal", WANT_REFUSAL, HTTP "§6.3", "Content-Length is digits alone.", NULL,
     GET "Content-Length: 0x5\r\n" HANDSHAKE "\r\nhello"},
    {"body/length-empty", WANT_REFUSAL, HTTP "§6.3", "Content-Length has at least one digit.", NULL,
     GET "Content-Length:\r\n" HANDSHAKE "\r\n"},
    {"body/length-with-space", WANT_REFUSAL, HTTP "§6.3", "Content-Length is digits alone.", NULL,
     GET "Content-Length: 5 0\r\n" HANDSHAKE "\r\nhello"},
    {"body/length-huge", WANT_REFUSAL, HTTP "§6.3",
     "A Content-Length that no number can hold is refused.", "20 digits overflow 64 bits.",
     GET "Content-Length: 99999999999999999999\r\n" HANDSHAKE "\r\n"},
    {"body/two-lengths", WANT_REFUSAL, HTTP "§6.3",
     "Two values of Content-Length that differ get 400.", NULL,
     GET "Content-Length: 5\r\nContent-Length: 6\r\n" HANDSHAKE "\r\nhello!"},
    {"body/length-list", WANT_REFUSAL, HTTP "§6.3",
     "Two values of Content-Length that differ get 400, in one field, too.", NULL,
     GET "Content-Length: 5, 6\r\n" HANDSHAKE "\r\nhello!"},
    {"body/length-and-chunked", WANT_SHOULD, HTTP "§6.1",
     "A request with both Content-Length and Transfer-Encoding may be an attack.", NULL,
     GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" HANDSHAKE "\r\n0\r\n\r\n"},
    {"body/unknown-coding", WANT_REFUSAL, HTTP "§6.1",
     "A transfer coding that is not known gets 501.", NULL,
     GET "Transfer-Encoding: x-unknown\r\n" HANDSHAKE "\r\n"},
    {"body/chunked-not-last", WANT_REFUSAL, HTTP "§6.3",
     "If chunked is not the last coding of a request, it gets 400.", NULL,
     GET "Transfer-Encoding: chunked, identity\r\n" HANDSHAKE "\r\n0\r\n\r\n"},
    {"body/chunked-twice", WANT_REFUSAL, HTTP "§6.1", "Chunked must not be applied twice.", NULL,
     GET "Transfer-Encoding: chunked, chunked\r\n" HANDSHAKE "\r\n0\r\n\r\n"},
    {"body/chunked-in-1.0", WANT_REFUSAL, HTTP "§6.1",
     "A request of HTTP/1.0 with Transfer-Encoding is faulty.", NULL,
     "POST %1$s HTTP/1.0\r\nHost: %2$s\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {"body/chunked-quoted", WANT_REFUSAL, HTTP "§6.1", "\"xchunked\" is another coding.", NULL,
     GET "Transfer-Encoding: xchunked\r\n" HANDSHAKE "\r\n0\r\n\r\n"},
    {"body/chunk-size-not-a-number", WANT_REFUSAL, HTTP "§7.1", "A chunk begins with its size.",
     NULL,
     "POST %1$s HTTP/1.1\r\nHost: %2$s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"
     "0\r\n\r\n"},
    {"body/chunk-size-negative", WANT_REFUSAL, HTTP "§7.1", "A chunk's size is hexadecimal digits.",
     NULL,
     "POST %1$s HTTP/1.1\r\nHost: %2$s\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"
     "0\r\n\r\n"},
    {"body/chunk-size-huge", WANT_REFUSAL, HTTP "§7.1",
     "A chunk's size that no number can hold is refused.", NULL,
     "POST %1$s HTTP/1.1\r\nHost: %2$s\r\nTransfer-Encoding: chunked\r\n\r\n"
     "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
};

static void build_request(struct script *s, const struct check_case *c)
{
    const struct request *r = c->p;
    struct step *step;

    send_template(s, r->head);
    if (r->want == WANT_101) {
        expect_status(s, 101, 101);
        return;
    }
    step = expect_status(s, r->want == WANT_ANSWER ? 200 : 400, 599);
    step->or_end = r->want != WANT_ANSWER;
    step->should = r->want == WANT_SHOULD;
}

static void add_requests(struct suite *suite)
{
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        const struct request *r = &requests[i];

        suite_add(suite,
                  &(struct check_case){.level = LEVEL_HTTP,
                                       .section = r->section,
                                       .demand = r->demand,
                                       .hint = r->hint,
                                       .build = build_request,
                                       .p = r},
                  "http/%s", r->name);
    }
}

/* --- a NUL ------------------------------------------------------------------------------------ */

/* p: what stands before the NUL. */
static void build_nul(struct script *s, const struct check_case *c)
{
    struct step *step;

    send_template(s, c->p);
    send_bytes(s, "", 1);
    send_line(s, "z: z\r\n" HANDSHAKE);
    step = expect_status(s, 400, 599);
    step->or_end = step->should = true;
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* a: bytes of the path. */
static void build_long_target(struct script *s, const struct check_case *c)
{
    struct bytes head = {0};

    bytes_add_text(&head, "GET /");
    for (long i = 0; i < c->a; i++)
        bytes_add(&head, "a", 1);
    bytes_add_format(&head, " HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s->host);
    send_bytes(s, head.data, head.len);
    expect_status(s, c->b != 0 ? 400 : 200, 599)->or_end = c->b != 0;
    bytes_release(&head);
}

/* a: fields, b: bytes of each. */
static void build_long_head(struct script *s, const struct check_case *c)
{
    struct bytes head = {0};

    bytes_add_format(&head, "GET %s HTTP/1.1\r\nHost: %s\r\n" HANDSHAKE, s->path, s->host);
    for (long i = 0; i < c->a; i++) {
        bytes_add_format(&head, "X-Field-%ld: ", i);
        for (long k = 0; k < c->b; k++)
            bytes_add(&head, "v", 1);
        bytes_add_text(&head, "\r\n");
    }
    bytes_add_text(&head, "\r\n");
    send_bytes(s, head.data, head.len);
    expect_status(s, 400, 599)->or_end = true;
    bytes_release(&head);
}

static void add_sizes(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_HTTP,
                              .section = HTTP "§3",
                              .demand = "A target of 4,000 bytes gets a response.",
                              .build = build_long_target};

    like.a = 4000;
    suite_add(suite, &like, "http/size/target-4000");
    like.a = 200000;
    like.b = 1;
    like.demand = "A target of 200,000 bytes is refused, at best with 414.";
    suite_add(suite, &like, "http/size/target-200000");
    like.section = "RFC 6585 §5";
    like.demand = "A head of 1 MiB is refused, at best with 431.";
    like.hint = "Without a limit one client can take all memory.";
    like.build = build_long_head;
    like.a = 1;
    like.b = 1024 * 1024;
    suite_add(suite, &like, "http/size/field-1-mib");
    like.a = 100000;
    like.b = 1;
    like.demand = "100,000 fields are refused, at best with 431.";
    suite_add(suite, &like, "http/size/100000-fields");
    like.section = "RFC 9110 §5.5";
    like.demand = "A value with a NUL is refused, or cleaned.";
    like.hint = NULL;
    like.build = build_nul;
    like.p = GET "X-Field: a";
    suite_add(suite, &like, "http/field/nul-in-value");
    like.section = "RFC 9110 §5.1";
    like.demand = "The name of a field is a token.";
    like.hint = "For functions of strings the line is empty, so it looks like the end of the head.";
    like.p = GET "X-Field: a\r\n";
    suite_add(suite, &like, "http/field/nul-at-start");
}

/* --- one request after another ---------------------------------------------------------------- */

static void build_keep_alive(struct script *s, const struct check_case *c)
{
    (void)c;
    send_template(s, GET "\r\n");
    expect_status(s, 200, 599);
    send_template(s, GET "\r\n");
    expect_status(s, 200, 599)->should = true;
}

static void build_pipeline(struct script *s, const struct check_case *c)
{
    struct bytes all = {0};

    for (long i = 0; i < c->a; i++)
        bytes_add_format(&all, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", s->path, s->host);
    send_bytes(s, all.data, all.len);
    for (long i = 0; i < c->a; i++)
        expect_status(s, 200, 599)->should = i > 0;
    bytes_release(&all);
}

static void build_upgrade_after(struct script *s, const struct check_case *c)
{
    (void)c;
    send_template(s, GET "\r\n");
    expect_status(s, 200, 599);
    send_template(s, GET HANDSHAKE "\r\n");
    expect_status(s, 101, 101)->should = true;
}

static void build_close(struct script *s, const struct check_case *c)
{
    send_template(s, c->p);
    expect_status(s, 200, 599);
    expect_end(s);
}

/* A body that looks like a request must not be taken for one: one response is for the POST, one for
 * the GET behind it, and no third one comes. */
static void build_smuggled(struct script *s, const struct check_case *c)
{
    static const char inner[] = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    struct bytes all = {0};

    bytes_add_format(&all, "POST %s HTTP/1.1\r\nHost: %s\r\n", s->path, s->host);
    if (c->a != 0)
        bytes_add_format(&all, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
                         sizeof inner - 1, inner);
    else
        bytes_add_format(&all, "Content-Length: %zu\r\n\r\n%s", sizeof inner - 1, inner);
    bytes_add_format(&all, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s->path,
                     s->host);
    send_bytes(s, all.data, all.len);
    expect_status(s, 200, 599);
    expect_status(s, 200, 599)->or_end = true; /* it may close after the first one */
    expect_end(s);
    bytes_release(&all);
}

static void add_sequences(struct suite *suite)
{
    struct check_case like = {.level = LEVEL_HTTP,
                              .section = HTTP "§9.3",
                              .demand =
                                  "A connection of HTTP/1.1 is there for more than one request.",
                              .build = build_keep_alive};

    suite_add(suite, &like, "http/sequence/keep-alive");
    like.build = build_upgrade_after;
    like.demand = "A handshake may follow a plain request on the same connection.";
    suite_add(suite, &like, "http/sequence/upgrade-after-get");
    like.section = HTTP "§9.3.2";
    like.build = build_pipeline;
    like.demand = "Requests may be sent before the last one was answered; the responses come in "
                  "order.";
    like.a = 2;
    suite_add(suite, &like, "http/sequence/pipeline-2");
    like.a = 20;
    suite_add(suite, &like, "http/sequence/pipeline-20");
    like.section = HTTP "§9.6";
    like.build = build_close;
    like.demand = "After \"Connection: close\" the server ends the connection.";
    like.p = GET "Connection: close\r\n\r\n";
    suite_add(suite, &like, "http/sequence/close");
    like.demand = "After a request of HTTP/1.0 the server ends the connection.";
    like.section = HTTP "§9.3";
    like.p = "GET %1$s HTTP/1.0\r\nHost: %2$s\r\n\r\n";
    suite_add(suite, &like, "http/sequence/http-1.0");
    like.section = HTTP "§6.3, §11.2";
    like.demand =
        "A body with Content-Length is no request, though it looks like one: one response "
        "comes, and the connection ends as asked.";
    like.build = build_smuggled;
    like.a = 0;
    suite_add(suite, &like, "http/sequence/body-looks-like-a-request");
    like.demand = "A chunked body is no request, though it looks like one.";
    like.a = 1;
    suite_add(suite, &like, "http/sequence/chunks-look-like-a-request");
}

void add_http_cases(struct suite *suite)
{
    add_requests(suite);
    add_sizes(suite);
    add_sequences(suite);
}
