/* SPDX-License-Identifier: MIT
 *
 * http.c: RFC 9112. Each request of the tables arrives whole, cut at every place, and byte by
 * byte, in allocations of exactly its size. */
#include "unit.h"

#include "../http.h"
#include "exact.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define LINE     "GET / HTTP/1.1\r\n"
#define HOST     "Host: h\r\n"

struct text {
    const char *data;
    size_t len;
};
#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

/* --- helpers ---------------------------------------------------------------------------------- */

/* Show the scanner `len` bytes, each prefix in a buffer of its own that moves. */
static int scan_prefix(struct http_scan *scan, const char *data, size_t len)
{
    char *copy = exact_copy(data, len);
    int result = http_head_scan(scan, copy, len);

    free(copy);
    return result;
}

static int scan_whole(const char *data, size_t len)
{
    struct http_scan scan = {0};

    return scan_prefix(&scan, data, len);
}

static int scan_split(const char *data, size_t len, size_t at)
{
    struct http_scan scan = {0};
    int result = scan_prefix(&scan, data, at);

    return result != HTTP_NEED_MORE ? result : scan_prefix(&scan, data, len);
}

static int scan_bytewise(const char *data, size_t len)
{
    struct http_scan scan = {0};
    int result = HTTP_NEED_MORE;

    for (size_t n = 1; n <= len && result == HTTP_NEED_MORE; n++)
        result = scan_prefix(&scan, data, n);
    return result;
}

/* The verdict of scanner and parser on a head that arrives whole. */
static int judge(const char *data, size_t len, const char **why)
{
    struct http_request r;
    int n = scan_whole(data, len), status;
    char *copy;

    *why = "the scanner's verdict";
    if (n <= 0)
        return n;
    copy = exact_copy(data, (size_t)n);
    status = http_request_parse(&r, copy, (size_t)n, why);
    free(copy);
    return status;
}

static void expect_same_scan_however_it_arrives(const char *data, size_t len)
{
    int whole = scan_whole(data, len);

    assert_int_equal(scan_bytewise(data, len), whole);
    for (size_t at = 0; at <= len; at++)
        assert_int_equal(scan_split(data, len, at), whole);
}

static void parse(struct http_request *r, const char *text)
{
    const char *why = "";
    size_t len = strlen(text);

    assert_int_equal(scan_whole(text, len), (int)len);
    if (http_request_parse(r, text, len, &why) != 0)
        fail_msg("%s: %s", text, why);
}

static void expect_str(struct ws_str s, const char *text)
{
    if (!ws_str_is(s, text))
        fail_msg("expected \"%s\", got \"%.*s\"", text, (int)s.len, s.data ? s.data : "");
}

/* A request of `fields` fields, of `target` bytes of target, padded to `total` bytes if that is
 * more. To be freed. */
static char *make_head(size_t target, size_t fields, size_t total, size_t *len)
{
    char *head = malloc(target + fields * 8 + total + 128), *p = head;

    assert_non_null(head);
    p = (char *)memcpy(p, "GET /", 5) + 5;
    p = (char *)memset(p, 'a', target - 1) + (target - 1);
    p = (char *)memcpy(p, " HTTP/1.1\r\nHost: h\r\n", 20) + 20;
    for (size_t i = 1; i < fields; i++)
        p = (char *)memcpy(p, "a: b\r\n", 6) + 6;
    *len = (size_t)(p - head);
    if (total > *len + 2) {
        size_t pad = total - *len - 2 - 5;

        p = (char *)memcpy(p, "p: ", 3) + 3;
        p = (char *)memset(p, 'x', pad) + pad;
        p = (char *)memcpy(p, "\r\n", 2) + 2;
    }
    memcpy(p, "\r\n", 2);
    *len = (size_t)(p - head) + 2;
    return head;
}

static int judge_made(size_t target, size_t fields, size_t total)
{
    const char *why;
    size_t len;
    char *head = make_head(target, fields, total, &len);
    int status = judge(head, len, &why);

    assert_int_equal(scan_bytewise(head, len), scan_whole(head, len));
    free(head);
    return status;
}

/* --- refusals --------------------------------------------------------------------------------- */

static const struct {
    struct text in;
    int status;
} refusals[] = {
    /* the request line */
    {TEXT("GET /\r\n" HOST "\r\n"), -400},
    {TEXT("GET\r\n\r\n"), -400},
    {TEXT(" GET / HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET  / HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /  HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1.1 \r\n" HOST "\r\n"), -400},
    {TEXT("GET / x HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("G(T / HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("G\xc3\x89T / HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567 / HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /\t HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /#a HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET a HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET * HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http:/// HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http://h%/ HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http://h#/ HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http://h/a|b HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET http://h?\"a HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /% HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /%4 HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /%4g HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /%%41 HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /%g1?a HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /%4?1 HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET /?a#b HTTP/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n"), -501},
    {TEXT("CONNECT / HTTP/1.1\r\n" HOST "\r\n"), -501},
    {TEXT("connect h:80 HTTP/1.1\r\n" HOST "\r\n"), -400},
    /* the version */
    {TEXT("GET / http/1.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1.10\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1,1\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/x.1\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1.x\r\n" HOST "\r\n"), -400},
    {TEXT("GET / HTTP/2.0\r\n" HOST "\r\n"), -505},
    {TEXT("GET / HTTP/0.9\r\n" HOST "\r\n"), -505},
    {TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), -505},
    /* line ends and control characters */
    {TEXT("GET / HTTP/1.1\n" HOST "\r\n"), -400},
    {TEXT(LINE "Host: h\n\r\n"), -400},
    {TEXT(LINE HOST "\n"), -400},
    {TEXT(LINE "Host: h\rX: y\r\n\r\n"), -400},
    {TEXT(LINE HOST "a: b\r\r\n\r\n"), -400},
    {TEXT("\r\r\n" LINE HOST "\r\n"), -400},
    {TEXT("\n" LINE HOST "\r\n"), -400},
    {TEXT(LINE HOST "a: \0\r\n\r\n"), -400},
    {TEXT(LINE HOST "a\0: b\r\n\r\n"), -400},
    {TEXT(LINE HOST "a: \x01\r\n\r\n"), -400},
    {TEXT(LINE HOST "a: \x7f\r\n\r\n"), -400},
    {TEXT("\x16\x03\x01\x02"), -400}, /* a TLS client */
    /* fields */
    {TEXT(LINE HOST "a : b\r\n\r\n"), -400},
    {TEXT(LINE HOST "a\t: b\r\n\r\n"), -400},
    {TEXT(LINE "Host : h\r\n\r\n"), -400},
    {TEXT(LINE " Host: h\r\n\r\n"), -400},
    {TEXT(LINE HOST " folded\r\n\r\n"), -400},
    {TEXT(LINE HOST "\tfolded: x\r\n\r\n"), -400},
    {TEXT(LINE HOST "nocolon\r\n\r\n"), -400},
    {TEXT(LINE HOST ": empty\r\n\r\n"), -400},
    {TEXT(LINE HOST "a b: c\r\n\r\n"), -400},
    {TEXT(LINE HOST "a(: c\r\n\r\n"), -400},
    {TEXT(LINE HOST "\xc3\xa9: c\r\n\r\n"), -400},
    /* Host */
    {TEXT(LINE "\r\n"), -400},
    {TEXT(LINE HOST HOST "\r\n"), -400},
    {TEXT("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), -400},
    {TEXT("GET http://h/ HTTP/1.1\r\n\r\n"), -400},
    {TEXT(LINE "Host:\r\n\r\n"), -400},
    {TEXT(LINE "Host: \t\r\n\r\n"), -400},
    {TEXT("GET / HTTP/1.0\r\nHost:\r\n\r\n"), -400},
    {TEXT(LINE "Host: a,b\r\n\r\n"), -400},
    {TEXT(LINE "Host: a b\r\n\r\n"), -400},
    {TEXT(LINE "Host: u@h\r\n\r\n"), -400},
    {TEXT(LINE "Host: h/p\r\n\r\n"), -400},
    {TEXT(LINE "Host: h?q\r\n\r\n"), -400},
    {TEXT(LINE "Host: h#f\r\n\r\n"), -400},
    {TEXT(LINE "Host: <b>\r\n\r\n"), -400},
    {TEXT(LINE "Host: %\r\n\r\n"), -400},
    {TEXT(LINE "Host: h%4\r\n\r\n"), -400},
    {TEXT(LINE "Host: h%4g:80\r\n\r\n"), -400},
    {TEXT(LINE "Host: h\\p\r\n\r\n"), -400},
    {TEXT(LINE "Host: h:x\r\n\r\n"), -400},
    {TEXT(LINE "Host: h:80:80\r\n\r\n"), -400},
    {TEXT(LINE "Host: h:123456\r\n\r\n"), -400},
    {TEXT(LINE "Host: :80\r\n\r\n"), -400},
    {TEXT(LINE "Host: ::1\r\n\r\n"), -400},
    {TEXT(LINE "Host: [::1\r\n\r\n"), -400},
    {TEXT(LINE "Host: []\r\n\r\n"), -400},
    {TEXT(LINE "Host: [::1]x\r\n\r\n"), -400},
    {TEXT(LINE "Host: [g::1]\r\n\r\n"), -400},
    /* where the body ends */
    {TEXT(LINE HOST "Content-Length: -1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: +1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length:\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 1 2\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 0x1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 5, 5\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 5\r\nContent-Length: 05\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 5\r\nContent-Length: 55\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 18446744073709551616\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 99999999999999999999\r\n\r\n"), -400},
    {TEXT(LINE HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n"), -400},
    {TEXT("GET / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"), -501},
    {TEXT(LINE HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"), -501},
    {TEXT(LINE HOST "Transfer-Encoding: x;a=\", chunked\", chunked\r\n\r\n"), -501},
    {TEXT(LINE HOST "Transfer-Encoding: gzip\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked, gzip\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked;x=1, chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked;x=1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked ;\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked/1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: xchunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: x chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: \"x, chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding:\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: ,\t,\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding:\r\nContent-Length: 1\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked,\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked ,\t\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked,,\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: ,chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: , ,\tCHUNKED ,,\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding:\r\ntransfer-encoding: chunked\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: ,\r\n\r\n"), -400},
    {TEXT(LINE HOST "Transfer-Encoding: gzip,, chunked\r\n\r\n"), -501},
};

static void each_ambiguous_or_malformed_head_is_refused_with_its_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++) {
        const char *why;
        int status = judge(refusals[i].in.data, refusals[i].in.len, &why);

        if (status != refusals[i].status)
            fail_msg("%s: %d, not %d", refusals[i].in.data, status, refusals[i].status);
        assert_non_null(why);
    }
}

static void a_refusal_is_the_same_however_the_head_arrives(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++)
        expect_same_scan_however_it_arrives(refusals[i].in.data, refusals[i].in.len);
}

/* RFC 9110 §5.5. Most of a field is looked at 8 bytes at a time: each byte at each place of it. */
static void a_control_character_is_refused_anywhere_in_a_field(void **state)
{
    enum { PLACES = 25 };
    static const char value[] = LINE HOST "X: 0123456789abcdefghijklmno\r\n\r\n";
    const size_t start = sizeof LINE HOST "X: " - 1, len = sizeof value - 1;

    (void)state;
    for (size_t i = 0; i < PLACES * 256; i++) {
        unsigned c = (unsigned)i % 256;
        int expected = c == '\t' || (c >= 0x20 && c != 0x7f) ? 0 : -400;
        struct http_request r;
        char text[sizeof value];
        const char *why;

        memcpy(text, value, sizeof value);
        text[start + i / 256] = (char)c;
        if (judge(text, len, &why) != expected)
            fail_msg("0x%02x at %zu: not %d", c, i / 256, expected);
        assert_int_equal(scan_bytewise(text, len), expected == 0 ? (int)len : expected);
        assert_int_equal(http_request_parse(&r, text, len, &why), expected);
    }
}

static void a_refusal_says_why(void **state)
{
    static const struct {
        const char *in, *why;
    } table[] = {
        {LINE HOST "a : b\r\n\r\n", "space before the colon in a field"},
        {LINE HOST " a: b\r\n\r\n", "folded field, or space before its name"},
        {LINE HOST ": b\r\n\r\n", "field without a name"},
        {LINE HOST "ab\r\n\r\n", "field without a colon"},
        {LINE HOST HOST "\r\n", "more than one Host field"},
        {LINE "\r\n", "no Host field"},
        {"CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n",
         "CONNECT is for proxies, and this server is none"},
        {"GET /a|b HTTP/1.1\r\n" HOST "\r\n", "forbidden character in the path"},
        {"GET /%4g HTTP/1.1\r\n" HOST "\r\n", "% without two hex digits in the path"},
        {"GET /?a<b HTTP/1.1\r\n" HOST "\r\n", "forbidden character in the query"},
        {LINE HOST "Transfer-Encoding: ,\r\n\r\n", "Transfer-Encoding without a coding"},
        {LINE HOST "Transfer-Encoding: chunked, gzip\r\n\r\n",
         "the last transfer coding is not chunked"},
        {LINE HOST "Transfer-Encoding: chunked;x=1\r\n\r\n", "chunked has no parameters"},
        {LINE HOST "Transfer-Encoding: chunked, chunked\r\n\r\n",
         "more than one chunked in Transfer-Encoding"},
        {LINE HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
         "transfer coding other than chunked"},
        {LINE HOST "Transfer-Encoding: chunked,\r\n\r\n", "empty member in Transfer-Encoding"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        const char *why;

        judge(table[i].in, strlen(table[i].in), &why);
        assert_string_equal(why, table[i].why);
    }
}

/* RFC 3986 §3.3, §3.4; in a query also what browsers do not encode there. By the parser alone: the
 * scanner refuses some of these earlier. */
static void each_character_of_a_target_is_judged_by_its_place(void **state)
{
    static const char in_path[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "-._~!$&'()*+,;=:@/"
                                  "?"; /* which ends it */
    static const char unencoded[] = "[\\]^`{|}%";
    static const struct {
        const char *before;
        bool query;
    } places[] = {
        {"GET /a", false},         {"GET /?a", true},         {"GET /a?", true},
        {"GET http://h/a", false}, {"GET http://h/?a", true}, {"GET http://h?a", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(places) * 256; i++) {
        const char *before = places[i / 256].before, *why;
        char c = (char)(i % 256), head[128] = "";
        bool legal = c != '\0' && (strchr(in_path, c) != NULL ||
                                   (places[i / 256].query && strchr(unencoded, c) != NULL));
        size_t at = strlen(before);
        struct http_request r;

        strcat(strcat(head, before), "_z HTTP/1.1\r\n" HOST "\r\n");
        head[at] = c;
        if (http_request_parse(&r, head, strlen(before) + sizeof "_z HTTP/1.1\r\n" HOST "\r\n" - 1,
                               &why) != (legal ? 0 : -400))
            fail_msg("0x%02x behind \"%s\": not %s", (unsigned)i % 256, before,
                     legal ? "legal" : "illegal");
    }
}

/* conn_http.c parses only what was scanned; the parser must not depend on it for memory safety. */
static void the_parser_survives_a_head_that_was_not_scanned(void **state)
{
    static const char head[] = LINE HOST "Content-Length: 5\r\n\r\n";
    static const char *const others[] = {
        LINE HOST "\r\nx",
        LINE HOST "a: b\n\r\n",
        LINE HOST "a: \x01\r\n\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567 / HTTP/1.1\r\n" HOST "\r\n",
    };
    struct http_request r;
    const char *why;
    (void)state;

    for (size_t n = 1; n < sizeof head - 1; n++) {
        char *copy = exact_copy(head, n);

        assert_int_equal(http_request_parse(&r, copy, n, &why), -400);
        free(copy);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        assert_int_equal(http_request_parse(&r, others[i], strlen(others[i]), &why), -400);
}

/* --- heads ------------------------------------------------------------------------------------ */

static void a_head_ends_at_the_same_byte_however_it_arrives(void **state)
{
    static const char *const heads[] = {
        LINE HOST "\r\n",
        "\r\n\r\n" LINE HOST "\r\n",
        "POST /a?b=c HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        LINE HOST "a:b\r\nc:\t d \t\r\ne:\r\n\xc3\xbc: \xc3\xbc\r\n\r\n",
    };
    (void)state;

    for (size_t i = 0; i < COUNT(heads); i++) {
        size_t len = strlen(heads[i]);

        assert_int_equal(scan_whole(heads[i], len), (int)len);
        expect_same_scan_however_it_arrives(heads[i], len);
        for (size_t n = 0; n < len; n++)
            assert_int_equal(scan_whole(heads[i], n), HTTP_NEED_MORE);
    }
}

static void pipelined_heads_are_cut_apart(void **state)
{
    static const char two[] = LINE HOST "\r\n\r\nGET /b HTTP/1.1\r\n" HOST "\r\n";
    int first = scan_whole(two, sizeof two - 1);
    struct http_request r;
    const char *why;
    (void)state;

    assert_int_equal(first, (int)strlen(LINE HOST "\r\n"));
    assert_int_equal(scan_whole(two + first, sizeof two - 1 - (size_t)first),
                     (int)sizeof two - 1 - first);
    assert_int_equal(http_request_parse(&r, two + first, sizeof two - 1 - (size_t)first, &why), 0);
    expect_str(r.path, "/b");
}

/* RFC 9112 §5.1: white space around a value is not part of it; that inside is. */
static void the_parts_of_a_head_are_found(void **state)
{
    struct http_request r;
    size_t count;
    (void)state;

    parse(&r, "\r\nPOST /a%20b?c?d HTTP/1.1\r\nhOsT:h:80\r\nX: \t a b\t \r\nx:2\r\nE:\r\n"
              "content-length: 18446744073709551615\r\n\r\n");
    expect_str(r.method, "POST");
    expect_str(r.target, "/a%20b?c?d");
    expect_str(r.path, "/a%20b");
    expect_str(r.query, "c?d");
    expect_str(r.host, "h:80");
    assert_int_equal(r.minor, 1);
    assert_int_equal(r.framing, HTTP_BODY_LENGTH);
    assert_true(r.content_length == UINT64_MAX);
    assert_int_equal(r.field_count, 5);
    expect_str(http_request_field(&r, "x", &count), "a b");
    assert_int_equal(count, 2);
    expect_str(http_request_field(&r, "e", NULL), "");
    assert_null(http_request_field(&r, "absent", &count).data);
    assert_int_equal(count, 0);
}

static void the_first_value_of_that_name_is_found_in_a_query(void **state)
{
    static const struct {
        const char *query, *value; /* of "name"; NULL: none */
    } table[] = {
        {"name=x", "x"},  {"a=1&name=x&b=2", "x"}, {"name=x&name=y", "x"}, {"name=", ""},
        {"name", ""},     {"&&name=x&&", "x"},     {"name=a=b", "a=b"},    {"name=%20+", "%20+"},
        {"", NULL},       {"a=name&b", NULL},      {"names=x", NULL},      {"nam=x", NULL},
        {"Name=x", NULL}, {"n%61me=x", NULL},      {"=name", NULL},        {"&", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        size_t len = strlen(table[i].query);
        char *query = exact_copy(table[i].query, len);
        struct ws_str value = http_query_value((struct ws_str){query, len}, "name");

        assert_int_equal(value.data != NULL, table[i].value != NULL);
        expect_str(value, table[i].value != NULL ? table[i].value : "");
        free(query);
    }
    assert_null(http_query_value((struct ws_str){NULL, 0}, "name").data);
}

static void each_form_of_target_gives_path_query_and_host(void **state)
{
    static const struct {
        const char *line, *path, *query, *host;
    } table[] = {
        {"GET / HTTP/1.1\r\n", "/", "", "h"},
        {"GET /? HTTP/1.1\r\n", "/", "", "h"},
        {"GET //x/http://y HTTP/1.1\r\n", "//x/http://y", "", "h"},
        {"OPTIONS * HTTP/1.1\r\n", "*", "", "h"},
        {"GET http://o:1/p?q HTTP/1.1\r\n", "/p", "q", "o:1"},
        {"GET HTTPS://[::1] HTTP/1.1\r\n", "/", "", "[::1]"},
        {"GET http://o?q/r HTTP/1.1\r\n", "/", "q/r", "o"},
        {"GET /%41%2f%aF?%&%4 HTTP/1.1\r\n", "/%41%2f%aF", "%&%4", "h"},
        {"GET http://o/a:@b?{[\\]|^`} HTTP/1.1\r\n", "/a:@b", "{[\\]|^`}", "o"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_request r;
        char head[128] = "";

        strcat(strcat(head, table[i].line), HOST "\r\n");
        parse(&r, head);
        expect_str(r.path, table[i].path);
        expect_str(r.query, table[i].query);
        expect_str(r.host, table[i].host);
        assert_true(r.path.data >= head && r.path.data < head + sizeof head);
    }
}

static void ordinary_hosts_are_accepted(void **state)
{
    static const char *const hosts[] = {
        "h",     "127.0.0.1", "a.example:8080", "[::1]",   "[::1]:80",
        "a_b-c", "h:",        "%41~;=",         "h:65535", "[::ffff:1.2.3.4]"};
    (void)state;

    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct http_request r;
        char head[128] = LINE "Host: ";

        strcat(strcat(head, hosts[i]), "\r\n\r\n");
        parse(&r, head);
        expect_str(r.host, hosts[i]);
    }
}

/* RFC 9112 §9.3. */
static void keep_alive_follows_version_and_connection(void **state)
{
    static const struct {
        const char *head;
        bool keep_alive;
    } table[] = {
        {LINE HOST "\r\n", true},
        {LINE HOST "Connection: close\r\n\r\n", false},
        {LINE HOST "Connection: x, CLOSE\r\n\r\n", false},
        {LINE HOST "Connection: closed\r\n\r\n", true},
        {LINE HOST "Connection: x\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.9\r\n" HOST "\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_request r;

        parse(&r, table[i].head);
        assert_int_equal(r.keep_alive, table[i].keep_alive);
    }
}

/* RFC 9110 §10.1.1: a list, too. */
static void expect_continue_counts_on_1_1_only(void **state)
{
    static const struct {
        const char *head;
        bool expected;
    } table[] = {
        {LINE HOST "Expect: 100-Continue\r\n\r\n", true},
        {LINE HOST "Expect: 100-continue,\r\n\r\n", true},
        {LINE HOST "Expect: x=\"a,b\", 100-continue\r\n\r\n", true},
        {LINE HOST "Expect: x\r\nExpect: 100-continue\r\n\r\n", true},
        {LINE HOST "Expect: 200-ok\r\n\r\n", false},
        {LINE HOST "Expect: x=\"100-continue\"\r\n\r\n", false},
        {LINE HOST "\r\n", false},
        {"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_request r;

        parse(&r, table[i].head);
        assert_int_equal(r.expect_continue, table[i].expected);
    }
}

static void framing_follows_the_fields(void **state)
{
    struct http_request r;
    (void)state;

    parse(&r, LINE HOST "\r\n");
    assert_int_equal(r.framing, HTTP_BODY_NONE);
    parse(&r, LINE HOST "Transfer-Encoding: Chunked\r\n\r\n");
    assert_int_equal(r.framing, HTTP_BODY_CHUNKED);
    parse(&r, LINE HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(r.framing, HTTP_BODY_LENGTH);
    assert_int_equal(r.content_length, 5);
}

/* RFC 9110 §5.6.1.2: in lists that do not say where a message ends, empty members do not count. */
static void empty_members_of_other_lists_do_not_count(void **state)
{
    struct http_request r;
    (void)state;

    parse(&r, LINE HOST "Connection: ,, close ,\r\nUpgrade:\r\nUpgrade: ,websocket,\r\n\r\n");
    assert_false(r.keep_alive);
    assert_true(http_request_has_token(&r, "Upgrade", "websocket"));
    parse(&r, LINE HOST "Connection: ,\r\n\r\n");
    assert_true(r.keep_alive);
    assert_false(http_request_has_token(&r, "Connection", ""));
}

/* --- limits ----------------------------------------------------------------------------------- */

static void a_head_may_have_exactly_16384_bytes(void **state)
{
    (void)state;
    assert_int_equal(judge_made(1, 1, HTTP_HEAD_MAX), 0);
    assert_int_equal(judge_made(1, 1, HTTP_HEAD_MAX + 1), -431);
}

static void a_head_may_have_exactly_100_fields(void **state)
{
    struct http_request r;
    const char *why;
    size_t len;
    char *head = make_head(1, HTTP_FIELDS_MAX + 1, 0, &len);
    (void)state;

    assert_int_equal(http_request_parse(&r, head, len, &why), -431);
    assert_int_equal(scan_whole(head, len - 8), HTTP_NEED_MORE); /* before the 101st */
    assert_int_equal(scan_whole(head, len - 7), -431);
    free(head);
    assert_int_equal(judge_made(1, HTTP_FIELDS_MAX, 0), 0);
    assert_int_equal(judge_made(1, HTTP_FIELDS_MAX + 1, 0), -431);
    assert_int_equal(judge_made(1, 2000, 0), -431);
}

static void a_target_may_have_exactly_8192_bytes(void **state)
{
    struct http_request r;
    const char *why;
    size_t len;
    char *head = make_head(HTTP_TARGET_MAX + 1, 1, 0, &len);
    (void)state;

    assert_int_equal(http_request_parse(&r, head, len, &why), -414);
    free(head);
    assert_int_equal(judge_made(HTTP_TARGET_MAX, 1, 0), 0);
    assert_int_equal(judge_made(HTTP_TARGET_MAX + 1, 1, 0), -414);
    assert_int_equal(judge_made(20000, 1, 0), -414);
}

static void a_method_may_have_exactly_32_bytes(void **state)
{
    struct http_request r;
    (void)state;

    parse(&r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456 / HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r.method.len, HTTP_METHOD_MAX);
    parse(&r, "\r\n\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ123456 / HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r.method.len, HTTP_METHOD_MAX);
}

/* The verdict comes with the byte that makes it certain, and stays when asked again. */
static void a_verdict_comes_as_early_as_it_is_certain(void **state)
{
    static const struct {
        struct text in;
        int status;
    } table[] = {
        {TEXT("GET / HTTP/1.1\n"), -400},
        {TEXT(LINE "a: \rx"), -400},
        {TEXT(LINE "a: \0"), -400},
        {TEXT("GET / HTTP/1.1x"), -400},
        {TEXT("GET / HTTP/1.1 "), -400},
        {TEXT("\x16"), -400},
        {TEXT("ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567"), -400},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_scan scan = {0};
        const char *in = table[i].in.data;
        size_t len = table[i].in.len;

        assert_int_equal(http_head_scan(&scan, in, len - 1), HTTP_NEED_MORE);
        assert_int_equal(http_head_scan(&scan, in, len), table[i].status);
        assert_int_equal(http_head_scan(&scan, in, len), table[i].status);
    }
}

static void empty_lines_without_end_are_cut_off(void **state)
{
    char crlf[HTTP_HEAD_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof crlf; i++)
        crlf[i] = i % 2 == 0 ? '\r' : '\n';
    assert_int_equal(scan_whole(crlf, sizeof crlf - 1), HTTP_NEED_MORE);
    assert_int_equal(scan_whole(crlf, sizeof crlf), -431);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void a_list_is_walked_member_by_member(void **state)
{
    static const char text[] = ", a ,,\tb;c=\"x,\\\"y\" , \"d,";
    char *copy = exact_copy(text, sizeof text - 1);
    struct ws_str rest = {copy, sizeof text - 1}, member;
    (void)state;

    assert_true(http_list_next(&rest, &member));
    expect_str(member, "a");
    assert_true(http_list_next(&rest, &member));
    expect_str(member, "b;c=\"x,\\\"y\"");
    assert_true(http_list_next(&rest, &member));
    expect_str(member, "\"d,"); /* unclosed: to the end */
    assert_false(http_list_next(&rest, &member));
    free(copy);
}

static void the_last_member_is_found_in_all_fields_of_a_name(void **state)
{
    static const struct {
        const char *head, *last; /* NULL: none */
    } table[] = {
        {LINE HOST "P: https\r\n\r\n", "https"},
        {LINE HOST "P: https, http\r\n\r\n", "http"},
        {LINE HOST "P: a\r\nX: b\r\np: c ,\td , ,\r\n\r\n", "d"},
        {LINE HOST "P: a\r\nP:\r\nP: ,\r\n\r\n", "a"},
        {LINE HOST "P: a, \"b, c\"\r\n\r\n", "\"b, c\""},
        {LINE HOST "P: ,\r\n\r\n", NULL},
        {LINE HOST "Q: a\r\n\r\n", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_request r;
        struct ws_str last;

        parse(&r, table[i].head);
        last = http_request_last_member(&r, "P");
        assert_int_equal(last.data != NULL, table[i].last != NULL);
        expect_str(last, table[i].last != NULL ? table[i].last : "");
    }
}

/* RFC 7239 §4 */
static void a_parameter_is_found_in_its_member(void **state)
{
    static const struct {
        const char *member, *value; /* of "proto"; NULL: none */
    } table[] = {
        {"proto=https", "https"},
        {"for=\"[::1]:80\";Proto=https;by=x", "https"},
        {"for=\";proto=a;\\\"\" ; proto=\"b;c\"", "b;c"},
        {"proto=a;proto=b", "a"},
        {"proto=\"\"", ""},
        {"proto=", ""},
        {"proto=\"", "\""},
        {"proto", NULL},
        {"xproto=a", NULL},
        {"proto =a", NULL},
        {"for=\"proto=a", NULL},
        {";;", NULL},
        {"", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        size_t len = strlen(table[i].member);
        char *member = exact_copy(table[i].member, len);
        struct ws_str value = http_member_parameter((struct ws_str){member, len}, "proto");

        if ((value.data != NULL) != (table[i].value != NULL))
            fail_msg("%s", table[i].member);
        expect_str(value, table[i].value != NULL ? table[i].value : "");
        free(member);
    }
    assert_null(http_member_parameter((struct ws_str){NULL, 0}, "proto").data);
}

static void an_unfinished_quoted_pair_is_not_read_past(void **state)
{
    char *copy = exact_copy("\"\\", 2);
    struct ws_str rest = {copy, 2}, member;
    (void)state;

    assert_true(http_list_next(&rest, &member));
    assert_int_equal(member.len, 2);
    assert_false(http_list_next(&rest, &member));
    free(copy);
}

static void tokens_are_found_in_all_fields_of_a_name(void **state)
{
    struct http_request r;
    (void)state;

    parse(&r, LINE HOST "Upgrade: h2c, WebSocket/13 ;q=1\r\nupgrade: third;q=1\r\n\r\n");
    assert_true(http_request_has_token(&r, "Upgrade", "websocket"));
    assert_true(http_request_has_token(&r, "Upgrade", "h2c"));
    assert_true(http_request_has_token(&r, "Upgrade", "third"));
    assert_false(http_request_has_token(&r, "Upgrade", "web"));
    assert_false(http_request_has_token(&r, "Upgrade", "websockets"));
    assert_false(http_request_has_token(&r, "Connection", "h2c"));
}

static void a_token_is_not_empty_and_has_no_separators(void **state)
{
    (void)state;
    assert_true(http_is_token((struct ws_str){"aZ9!#$%&'*+-.^_`|~", 18}));
    assert_false(http_is_token((struct ws_str){"", 0}));
    for (int c = 0; c < 256; c++) {
        char ch = (char)c;
        bool bad = c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL;

        assert_int_equal(http_is_token((struct ws_str){&ch, 1}), !bad);
    }
}

/* --- bodies ----------------------------------------------------------------------------------- */

struct outcome {
    int status; /* 1, HTTP_NEED_MORE or a refusal */
    size_t used;
    size_t len;
    char data[64];
};

/* Feed `in[0..len)` from an exact copy until the decoder wants more, ends or refuses. */
static void feed(struct http_body *b, const char *in, size_t len, struct outcome *o)
{
    char *copy = exact_copy(in, len);
    size_t at = 0;

    do {
        size_t used, n;
        const char *data;

        o->status = http_body_decode(b, copy + at, len - at, &used, &data, &n);
        if (n > 0) {
            assert_true(n <= sizeof o->data - o->len);
            memcpy(o->data + o->len, data, n);
        }
        o->len += n;
        o->used += used;
        at += used;
    } while (o->status == HTTP_NEED_MORE && at < len);
    free(copy);
}

static struct http_body begin(enum http_framing framing, uint64_t length, uint64_t max)
{
    struct http_request r = {.framing = framing, .content_length = length};
    struct http_body b;

    assert_int_equal(http_body_begin(&b, &r, max), 0);
    return b;
}

static const struct {
    struct text in;
    int status;
    const char *data;
    size_t behind; /* bytes that belong to the next request */
} chunked[] = {
    {TEXT("0\r\n\r\n"), 1, "", 0},
    {TEXT("5\r\nhello\r\n0\r\n\r\n"), 1, "hello", 0},
    {TEXT("5\r\nhello\r\n6\r\n world\r\n00\r\n\r\nGET"), 1, "hello world", 3},
    {TEXT("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), 1, "01234567890123456789", 0},
    {TEXT("0000000000000001;a=b;c=\"d\"\r\nx\r\n0;e\r\nT: u\r\nV: w\r\n\r\n"), 1, "x", 0},
    {TEXT("2\r\n\r\n\r\n0\r\n\r\n"), 1, "\r\n", 0},
    {TEXT("14\r\n01234567890123456789\r\n0\r\n\r\n"), 1, "01234567890123456789", 0},
    {TEXT("5\r\nhel"), 0, "hel", 0},
    {TEXT("00000000000000000000000001\r\nx\r\n00000000000000000\r\n\r\n"), 1, "x", 0},
    /* extensions: every form that is legal, and one step beside each */
    {TEXT("1;a\r\nx\r\n0;a;b\r\n\r\n"), 1, "x", 0},
    {TEXT("1 \t;\ta \t= \tb \t;c\r\nx\r\n0 ; a\r\n\r\n"), 1, "x", 0},
    {TEXT("1 ;a=\"\" ;b\r\nx\r\n0\r\n\r\n"), 1, "x", 0},
    {TEXT("1;a=\" \t;=\\\"\\\\\xff\";b=!\r\nx\r\n0\r\n\r\n"), 1, "x", 0},
    {TEXT("1;\r\n"), -400, "", 2},
    {TEXT("1;;a\r\n"), -400, "", 4},
    {TEXT("1; \r\n"), -400, "", 2},
    {TEXT("1 \r\n"), -400, "", 2},
    {TEXT("1\t\r\n"), -400, "", 2},
    {TEXT("1 a\r\n"), -400, "", 3},
    {TEXT("1 2\r\n"), -400, "", 3},
    {TEXT("1;=x\r\n"), -400, "", 4},
    {TEXT("1;a \r\n"), -400, "", 2},
    {TEXT("1;a b\r\n"), -400, "", 3},
    {TEXT("1;a[=x\r\n"), -400, "", 5},
    {TEXT("1;a=\r\n"), -400, "", 2},
    {TEXT("1;a= \r\n"), -400, "", 2},
    {TEXT("1;a=;b\r\n"), -400, "", 4},
    {TEXT("1;a==b\r\n"), -400, "", 4},
    {TEXT("1;a=b \r\n"), -400, "", 2},
    {TEXT("1;a=b=c\r\n"), -400, "", 4},
    {TEXT("1;a=b c\r\n"), -400, "", 3},
    {TEXT("1;a=b\"c\"\r\n"), -400, "", 5},
    {TEXT("1;a=\"b\r\n"), -400, "", 2},
    {TEXT("1;a=\"b\\\r\n"), -400, "", 2},
    {TEXT("1;a=\"\x7f\"\r\n"), -400, "", 4},
    {TEXT("1;a=\"b\"c\r\n"), -400, "", 3},
    {TEXT("1;a=\"b\" \r\n"), -400, "", 2},
    {TEXT("1;a=\"b\"=\r\n"), -400, "", 3},
    {TEXT("1;\xc3\xa9\r\n"), -400, "", 4},
    /* trailers: the fields of the head */
    {TEXT("0\r\nT:\r\nt: \t \xff:\t\r\n\r\n"), 1, "", 0},
    {TEXT("0\r\nT\r\n\r\n"), -400, "", 4},
    {TEXT("0\r\n: u\r\n\r\n"), -400, "", 7},
    {TEXT("0\r\nT : u\r\n\r\n"), -400, "", 8},
    {TEXT("0\r\nT\t: u\r\n\r\n"), -400, "", 8},
    {TEXT("0\r\n T: u\r\n\r\n"), -400, "", 9},
    {TEXT("0\r\nT: u\r\n\tv\r\n\r\n"), -400, "", 6},
    {TEXT("0\r\nT(: u\r\n\r\n"), -400, "", 8},
    {TEXT("0\r\nT: \x7f\r\n\r\n"), -400, "", 5},
    {TEXT("0\r\nT: \0\r\n\r\n"), -400, "", 5},
    /* the rest */
    {TEXT("\r\n"), -400, "", 2},
    {TEXT(";x\r\n"), -400, "", 3 + 1},
    {TEXT("g\r\n"), -400, "", 3},
    {TEXT("-1\r\n"), -400, "", 4},
    {TEXT(" 1\r\n"), -400, "", 4},
    {TEXT("0x1\r\n"), -400, "", 4},
    {TEXT("1\nx"), -400, "", 2},
    {TEXT("1\rx"), -400, "", 1},
    {TEXT("1;a\nb\r\nx"), -400, "", 5},
    {TEXT("1;a\rb"), -400, "", 1},
    {TEXT("1;\0\r\n"), -400, "", 3},
    {TEXT("1\r\nxy\r\n"), -400, "x", 3},
    {TEXT("1\r\nx\n0"), -400, "x", 2},
    {TEXT("1\r\nx\r0"), -400, "x", 1},
    {TEXT("0\r\n\n"), -400, "", 1},
    {TEXT("0\r\n\rx"), -400, "", 1},
    {TEXT("0\r\nT: u\n\r\n"), -400, "", 3},
    {TEXT("0\r\nT: u\rx"), -400, "", 1},
    {TEXT("0\r\nT: \x01"), -400, "", 1},
    {TEXT("fffffffffffffffff\r\n"), -400, "", 3},
    {TEXT("10000000000000000\r\n"), -400, "", 3},
    {TEXT("000010000000000000000\r\n"), -400, "", 3},
    {TEXT("0000ffffffffffffffff\r\n"), -413, "", 2},
    {TEXT("ffffffffffffffff\r\n"), -413, "", 2},
    {TEXT("15\r\n"), -413, "", 2},
    {TEXT("1\r\nx\r\n14\r\n"), -413, "x", 2},
    {TEXT("1\r\nx\r\nffffffffffffffff\r\n"), -413, "x", 2},
};

static void expect_outcome(size_t i, const struct outcome *o)
{
    if (o->status != chunked[i].status || o->used != chunked[i].in.len - chunked[i].behind)
        fail_msg("%s: %d after %zu bytes", chunked[i].in.data, o->status, o->used);
    assert_int_equal(o->len, strlen(chunked[i].data));
    assert_memory_equal(o->data, chunked[i].data, o->len);
}

static void chunks_are_decoded_or_refused_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(chunked); i++)
        for (size_t at = 0; at <= chunked[i].in.len; at++) {
            struct http_body b = begin(HTTP_BODY_CHUNKED, 0, 20);
            struct outcome o = {0};

            feed(&b, chunked[i].in.data, at, &o);
            if (o.status == HTTP_NEED_MORE)
                feed(&b, chunked[i].in.data + at, chunked[i].in.len - at, &o);
            expect_outcome(i, &o);
        }
}

static void chunks_are_decoded_or_refused_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(chunked); i++) {
        struct http_body b = begin(HTTP_BODY_CHUNKED, 0, 20);
        struct outcome o = {0};

        for (size_t n = 0; n < chunked[i].in.len && o.status == HTTP_NEED_MORE; n++)
            feed(&b, chunked[i].in.data + n, 1, &o);
        expect_outcome(i, &o);
    }
}

static void an_honest_client_may_send_chunks_of_one_byte(void **state)
{
    struct http_body b = begin(HTTP_BODY_CHUNKED, 0, 100000);
    struct outcome o = {0};
    (void)state;

    for (size_t i = 0; i < 100000; i++) {
        o.len = 0;
        feed(&b, "1\r\nx\r\n", 6, &o);
        assert_int_equal(o.status, HTTP_NEED_MORE);
    }
    feed(&b, "1\r\n", 3, &o);
    assert_int_equal(o.status, -413);
}

static size_t skipped_before_431(const char *start, const char *filler)
{
    struct http_body b = begin(HTTP_BODY_CHUNKED, 0, 20);
    struct outcome o = {0};
    size_t n = 0;

    feed(&b, start, strlen(start), &o);
    for (; o.status == HTTP_NEED_MORE && n < 1000000; n++)
        feed(&b, filler, strlen(filler), &o);
    assert_int_equal(o.status, -431);
    return n - 1;
}

static void what_tells_nothing_of_the_payload_ends_at_16384_bytes(void **state)
{
    (void)state;
    assert_int_equal(skipped_before_431("1", " "), 16384);
    assert_int_equal(skipped_before_431("1", ";a"), 8192);
    assert_int_equal(skipped_before_431("1;a=\"", "\\\""), 8190);
    assert_int_equal(skipped_before_431("0\r\n", "a"), 16384);
    assert_int_equal(skipped_before_431("0\r\n", "a:bc\r\n"), 4096);
    assert_int_equal(skipped_before_431("", "0"), 16384 + 16); /* 64 bits have 16 digits */
}

/* Some write each size with the same number of digits. */
static void leading_zeros_of_an_ordinary_size_are_free(void **state)
{
    struct http_body b = begin(HTTP_BODY_CHUNKED, 0, 100000);
    struct outcome o = {0};
    (void)state;

    for (size_t i = 0; i < 100000; i++) {
        o.len = 0;
        feed(&b, "0000000000000001\r\nx\r\n", 21, &o);
        assert_int_equal(o.status, HTTP_NEED_MORE);
    }
}

static void a_body_of_known_length_ends_there(void **state)
{
    struct http_body b = begin(HTTP_BODY_LENGTH, 5, 5);
    struct outcome o = {0};
    (void)state;

    feed(&b, "hel", 3, &o);
    assert_int_equal(o.status, HTTP_NEED_MORE);
    feed(&b, "loGET", 5, &o);
    assert_int_equal(o.status, 1);
    assert_int_equal(o.used, 5);
    assert_int_equal(o.len, 5);
    assert_memory_equal(o.data, "hello", 5);
}

static void no_body_ends_at_once(void **state)
{
    struct http_body none = begin(HTTP_BODY_NONE, 0, 0), empty = begin(HTTP_BODY_LENGTH, 0, 0);
    struct outcome o = {0};
    (void)state;

    feed(&none, "GET", 3, &o);
    assert_int_equal(o.status, 1);
    feed(&empty, "", 0, &o);
    assert_int_equal(o.status, 1);
    assert_int_equal(o.used, 0);
}

static void an_announced_body_over_the_limit_is_refused_at_once(void **state)
{
    struct http_request r = {.framing = HTTP_BODY_LENGTH, .content_length = UINT64_MAX};
    struct http_body b;
    (void)state;

    assert_int_equal(http_body_begin(&b, &r, 1000), -413);
    r.content_length = 1001;
    assert_int_equal(http_body_begin(&b, &r, 1000), -413);
    r.content_length = 1000;
    assert_int_equal(http_body_begin(&b, &r, 1000), 0);
}

/* --- responses -------------------------------------------------------------------------------- */

static ptrdiff_t write_response(char *out, size_t cap)
{
    struct http_writer w;

    http_writer_init(&w, out, cap, 404);
    http_writer_field(&w, ws_str("X-A"), ws_str("b\tc"));
    http_writer_field(&w, ws_str("Empty"), ws_str(NULL));
    http_writer_number(&w, "Content-Length", UINT64_MAX);
    http_writer_number(&w, "Age", 0);
    return http_writer_end(&w);
}

static void a_response_head_is_written_or_fails_whole(void **state)
{
    static const char expected[] = "HTTP/1.1 404 Not Found\r\nX-A: b\tc\r\nEmpty: \r\n"
                                   "Content-Length: 18446744073709551615\r\nAge: 0\r\n\r\n";
    const size_t len = sizeof expected - 1;
    (void)state;

    for (size_t cap = 0; cap <= len; cap++) {
        char *out = malloc(cap);

        assert_int_equal(write_response(out, cap), cap < len ? -1 : (ptrdiff_t)len);
        if (cap == len)
            assert_memory_equal(out, expected, len);
        free(out);
    }
}

static void no_value_breaks_out_of_its_line(void **state)
{
    static const struct {
        struct text name, value;
    } table[] = {
        {TEXT("A"), TEXT("b\r\nSet-Cookie: c")},
        {TEXT("A"), TEXT("b\rc")},
        {TEXT("A"), TEXT("b\nc")},
        {TEXT("A"), TEXT("b\0c")},
        {TEXT("A"), TEXT("\x1b[")},
        {TEXT("A"), TEXT("\x7f")},
        {TEXT("A\r\nB"), TEXT("c")},
        {TEXT("A\0"), TEXT("c")},
        {TEXT("A: b"), TEXT("c")},
        {TEXT("A "), TEXT("c")},
        {TEXT(""), TEXT("c")},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct ws_str name = {table[i].name.data, table[i].name.len};
        struct ws_str value = {table[i].value.data, table[i].value.len};
        struct http_writer w;
        char out[256];

        http_writer_init(&w, out, sizeof out, 200);
        http_writer_field(&w, name, value);
        http_writer_field(&w, ws_str("Fine"), ws_str("x")); /* does not heal it */
        assert_int_equal(http_writer_end(&w), -1);
    }
}

static void a_status_of_other_than_three_digits_fails(void **state)
{
    static const int bad[] = {-1, 0, 99, 1000};
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct http_writer w;
        char out[256];

        http_writer_init(&w, out, sizeof out, bad[i]);
        assert_int_equal(http_writer_end(&w), -1);
    }
}

static void statuses_have_their_registered_phrases(void **state)
{
    (void)state;
    assert_string_equal(http_status_phrase(101), "Switching Protocols");
    assert_string_equal(http_status_phrase(426), "Upgrade Required");
    assert_string_equal(http_status_phrase(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_phrase(299), "Status");
}

#include "tests/test_http.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
