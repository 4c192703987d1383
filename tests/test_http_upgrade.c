/* SPDX-License-Identifier: MIT
 *
 * http_upgrade.c: RFC 6455 §4.2, and the origins of those who hijack WebSockets across sites. */
#include "unit.h"

#include <stdio.h>

#include "../http_upgrade.h"
#include "exact.h"

#define COUNT(a)   (sizeof(a) / sizeof(a)[0])
#define GET        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define KEY        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION    "Sec-WebSocket-Version: 13\r\n"
#define GOOD       GET UPGRADE CONNECTION KEY VERSION
#define OFFER      "Sec-WebSocket-Protocol: "
#define OURS       "Origin: http://server.example.com\r\n"
#define SECURE     "Origin: https://server.example.com\r\n"
#define PROTO      "X-Forwarded-Proto: "

static const char *const protocols[] = {"superchat", "chat", NULL};
static const struct http_upgrade_policy policy = {.subprotocols = protocols};

/* Judge a head of `len` bytes in an allocation of exactly that size. */
static int check_len(const char *text, size_t len, const struct http_upgrade_policy *p,
                     struct http_upgrade *u)
{
    char *copy = exact_copy(text, len);
    const char *why = "";
    struct http_scan scan = {0};
    struct http_request r;
    int status;

    assert_int_equal(http_head_scan(&scan, copy, len), (int)len);
    if (http_request_parse(&r, copy, len, &why) != 0)
        fail_msg("%s: %s", text, why);
    status = http_upgrade_check(&r, p, u);
    free(copy);
    return status;
}

static int check(const char *text, struct http_upgrade *u)
{
    return check_len(text, strlen(text), &policy, u);
}

/* RFC 6455 §1.3, with the fields of §1.2. */
static void the_handshake_of_the_rfc_is_accepted(void **state)
{
    struct http_upgrade u;
    (void)state;

    assert_int_equal(
        check(GOOD "Origin: http://server.example.com\r\n" OFFER "chat, superchat\r\n\r\n", &u),
        101);
    assert_memory_equal(u.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof u.accept);
    assert_string_equal(u.subprotocol, "superchat");
    assert_null(u.why);
}

static void each_bad_handshake_is_refused_with_its_status(void **state)
{
    static const struct {
        const char *head;
        int status;
    } table[] = {
        {"POST / HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECTION KEY VERSION "\r\n", 405},
        {"HEAD / HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECTION KEY VERSION "\r\n", 405},
        {"get / HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECTION KEY VERSION "\r\n", 405},
        {"GET / HTTP/1.0\r\nHost: h\r\n" UPGRADE CONNECTION KEY VERSION "\r\n", 400},
        {GET CONNECTION KEY VERSION "\r\n", 400},
        {GET "Upgrade: h2c\r\n" CONNECTION KEY VERSION "\r\n", 400},
        {GET "Upgrade: websockets\r\n" CONNECTION KEY VERSION "\r\n", 400},
        {GET UPGRADE KEY VERSION "\r\n", 400},
        {GET UPGRADE "Connection: keep-alive\r\n" KEY VERSION "\r\n", 400},
        {GET UPGRADE CONNECTION KEY "\r\n", 400},
        {GET UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426},
        {GET UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 1\r\n\r\n", 426},
        {GET UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 013\r\n\r\n", 426},
        {GET UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 13, 8\r\n\r\n", 426},
        {GET UPGRADE CONNECTION KEY "Sec-WebSocket-Version:\r\n\r\n", 426},
        {GOOD VERSION "\r\n", 400},
        {GOOD "Sec-WebSocket-Version: 8\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "\r\n", 400},
        {GOOD KEY "\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key:\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-==\r\n\r\n", 400},
        {GET UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub24=\r\n\r\n", 400},
        {GOOD "Content-Length: 1\r\n\r\n", 400},
        {GOOD "Transfer-Encoding: chunked\r\n\r\n", 400},
        {GOOD "Origin: http://evil.example\r\n\r\n", 403},
        {GOOD "Origin: null\r\n\r\n", 403},
        {GOOD "Origin:\r\n\r\n", 403},
        {GOOD "Origin: http://server.example.com\r\nOrigin: http://server.example.com\r\n\r\n",
         400},
        {GOOD OFFER "\r\n\r\n", 400},
        {GOOD OFFER ",,\r\n\r\n", 400},
        {GOOD OFFER "chat, a b\r\n\r\n", 400},
        {GOOD OFFER "chat\r\n" OFFER "\"chat\"\r\n\r\n", 400},
        {GOOD OFFER "ch\xc3\xa4t\r\n\r\n", 400},
        {GOOD OFFER "chat;x=1\r\n\r\n", 400},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_upgrade u;
        int status = check(table[i].head, &u);

        if (status != table[i].status)
            fail_msg("%s: %d, not %d", table[i].head, status, table[i].status);
        assert_non_null(u.why);
        assert_null(u.subprotocol);
    }
}

static void unusual_but_correct_handshakes_are_accepted(void **state)
{
    static const char *const heads[] = {
        GOOD "\r\n",
        GET "upgrade: h2c, WebSocket\r\nCONNECTION: keep-alive, UPGRADE\r\n" KEY VERSION "\r\n",
        GET "Upgrade: x\r\n" UPGRADE "Connection: close\r\n" CONNECTION KEY VERSION "\r\n",
        GOOD "Origin: HTTPS://Server.Example.COM:443\r\n\r\n",
        GOOD OFFER "unknown\r\n\r\n",
        /* these extensions broke other servers; we never look */
        GOOD "Sec-WebSocket-Extensions: constructor\r\n\r\n",
        GOOD "Sec-WebSocket-Extensions: a; b=\"unclosed, permessage-deflate;;;=\r\n\r\n",
    };
    (void)state;

    for (size_t i = 0; i < COUNT(heads); i++) {
        struct http_upgrade u;

        if (check(heads[i], &u) != 101)
            fail_msg("%s: %s", heads[i], u.why);
    }
}

/* RFC 6455 §11.3: of these fields there is one. */
static void a_field_that_comes_twice_is_named(void **state)
{
    static const struct {
        const char *head, *why;
    } table[] = {
        {GOOD "Sec-WebSocket-Version: 8\r\n\r\n", "more than one Sec-WebSocket-Version field"},
        {GOOD KEY "\r\n", "more than one Sec-WebSocket-Key field"},
        {GOOD "Origin: null\r\nOrigin: null\r\n\r\n", "more than one Origin field"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct http_upgrade u;

        assert_int_equal(check(table[i].head, &u), 400);
        assert_string_equal(u.why, table[i].why);
    }
}

/* Where the option would take it; and where not, that is what is said. The peer hears nothing of
 * our options. */
static void the_log_of_a_refused_origin_names_the_option_that_allows_it(void **state)
{
    static const char allow[] = "origin is not this host";
    static const char scheme[] = "origin has another scheme than this host";
    static const char none[] = "origin is not this host, and none that can be allowed";
    static const struct {
        const char *fields, *why;
    } table[] = {
        {"Origin: http://evil.example", allow},
        {"Origin: localhost:1234", allow},
        {"Origin: file://", allow},
        {"Origin:", allow},
        {"Origin: null", allow},
        {PROTO "https\r\nOrigin: http://server.example.com", scheme},
        {PROTO "https\r\nOrigin: ws://server.example.com", scheme},
        {"Origin: http://evil.example/", none},
        {"Origin: http://server.example.com/", none},
        {"Origin: http://a http://b", none},
        {"Origin: http://evil\xc3\xa9", none},
        {"Origin: *", none}, /* which would allow far more */
        {"Origin: http://*.example", none},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        char head[1024] = GOOD;
        struct http_upgrade u;

        strcat(strcat(head, table[i].fields), "\r\n\r\n");
        assert_int_equal(check(head, &u), 403);
        assert_string_equal(u.why, table[i].why);
        if (table[i].why == none) {
            assert_null(u.advice);
            continue;
        }
        assert_non_null(strstr(u.advice, "ws_options.origins"));
        assert_int_equal(strstr(u.advice, "ws_options.scheme") != NULL, table[i].why == scheme);
    }
}

static void only_upgrade_websocket_wants_a_websocket(void **state)
{
    struct http_request r = {.field_count = 1, .fields = {{{"Upgrade", 7}, {"a, WEBSOCKET", 12}}}};
    (void)state;

    assert_true(http_upgrade_wanted(&r));
    r.fields[0].value.len--;
    assert_false(http_upgrade_wanted(&r));
    r.field_count = 0;
    assert_false(http_upgrade_wanted(&r));
}

static bool allowed(const char *origin, const char *host, const char *const *origins)
{
    char *o = exact_copy(origin, strlen(origin)), *h = exact_copy(host, strlen(host));
    struct ws_str text = {o, strlen(origin)};
    bool result = http_origin_is_listed(text, origins) ||
                  http_origin_is_own(text, (struct ws_str){h, strlen(host)}, HTTP_SCHEME_UNKNOWN);

    free(o);
    free(h);
    return result;
}

static const struct {
    const char *origin, *host;
    bool allowed;
} pages[] = {
    {"http://h", "h", true},
    {"HTTP://H", "h", true},
    {"http://h:80", "h", true},
    {"http://h", "h:80", true},
    {"http://h", "h:", true},
    {"https://h", "h:443", true},
    {"https://h:443", "h", true},
    {"https://h", "h", true}, /* a proxy ended TLS */
    {"http://h:8080", "h:8080", true},
    {"http://h:8080", "h:08080", true},
    {"http://h:443", "h:443", true},
    {"http://[::1]:8080", "[::1]:8080", true},
    {"https://[::1]", "[::1]:443", true},
    {"http://[::AB]", "[::ab]", true},
    /* the address of the WebSocket itself, from clients that are no browsers */
    {"ws://h:8080", "h:8080", true},
    {"wss://h", "h:443", true},
    {"WSS://h", "h", true},
    {"ws://h", "h:443", false},
    {"wss://h", "h:80", false},
    {"ws://evil", "h", false},
    /* a proxy dropped the port */
    {"http://h:8080", "h", true},
    {"https://h:8443", "h", true},
    {"http://[::1]:8080", "[::1]", true},
    {"http://h:8080", "h:", false},
    {"http://h", "h:443", false},
    {"https://h", "h:80", false},
    {"http://h", "h:8080", false},
    {"http://h:8080", "h:8081", false},
    {"http://h:8080", "h:80", false},
    {"http://h:65536", "h:65536", false},
    {"http://h:65616", "h:80", false}, /* 80 in 16 bits */
    {"http://h:", "h", false},
    {"http://h:x", "h", false},
    {"http://h:8080:8080", "h:8080", false},
    {"http://h:123456", "h", false},
    {"http://h.evil", "h", false},
    {"http://evil.h", "h", false},
    {"http://evilh", "h", false},
    {"http://evil?h", "h", false},
    {"http://h/", "h", false},
    {"http://h/", "h/", false},
    {"http://h?x", "h?x", false},
    {"http://h#x", "h#x", false},
    {"http://h\\x", "h\\x", false},
    {"http://u@h", "h", false},
    {"http://u@h", "u@h", false},
    {"http://u:80@h", "u", false},
    {"http://h,h", "h,h", false},
    {"http://h ", "h", false},
    {"http://h http://h", "h", false},
    {"http://[::1", "[::1", false},
    {"http://::1", "::1", false},
    {"http://", "", false},
    {"http://:80", "", false},
    {"http:/h", "h", false},
    {"http//h", "h", false},
    {"httpss://h", "h", false},
    {"file://h", "h", false},
    {"h", "h", false},
    {"", "", false},
    {"null", "h", false},
    {"null", "null", false},
};

static void a_page_may_talk_to_its_own_host_only(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT(pages); i++)
        if (allowed(pages[i].origin, pages[i].host, NULL) != pages[i].allowed)
            fail_msg("%s at %s", pages[i].origin, pages[i].host);
}

/* A page that somebody forged under http:// of a host that is reached by https alone. */
static void a_page_of_another_scheme_is_not_ours_where_the_scheme_is_known(void **state)
{
    static const struct {
        enum http_scheme scheme;
        const char *fields;
        int status;
    } table[] = {
        {HTTP_SCHEME_UNKNOWN, OURS, 101},
        {HTTP_SCHEME_UNKNOWN, SECURE, 101},
        {HTTP_SCHEME_HTTP, OURS, 101},
        {HTTP_SCHEME_HTTP, SECURE, 403},
        {HTTP_SCHEME_HTTPS, OURS, 403},
        {HTTP_SCHEME_HTTPS, SECURE, 101},
        {HTTP_SCHEME_HTTPS, "Origin: ws://server.example.com\r\n", 403},
        {HTTP_SCHEME_HTTPS, "Origin: wss://server.example.com\r\n", 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "https\r\n" OURS, 403},
        {HTTP_SCHEME_UNKNOWN, PROTO "https\r\n" SECURE, 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "http\r\n" SECURE, 403},
        {HTTP_SCHEME_UNKNOWN, PROTO "WSS\r\n" OURS, 403}, /* as Traefik has it */
        {HTTP_SCHEME_UNKNOWN, PROTO "ws\r\n" OURS, 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "http, https\r\n" OURS, 403}, /* the last is the nearest */
        {HTTP_SCHEME_UNKNOWN, PROTO "https, http\r\n" OURS, 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "http\r\n" PROTO "https,\r\n" OURS, 403},
        {HTTP_SCHEME_UNKNOWN, PROTO "gopher\r\n" OURS, 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "\r\n" OURS, 101},
        {HTTP_SCHEME_UNKNOWN, "Forwarded: for=x;proto=https\r\n" OURS, 403},
        {HTTP_SCHEME_UNKNOWN, "Forwarded: for=\"a;b,c\";Proto=\"https\";by=y\r\n" OURS, 403},
        {HTTP_SCHEME_UNKNOWN, "Forwarded: proto=http, for=x;proto=https\r\n" OURS, 403},
        {HTTP_SCHEME_UNKNOWN, "Forwarded: proto=https, for=x\r\n" OURS, 101},
        {HTTP_SCHEME_UNKNOWN, PROTO "http\r\nForwarded: proto=https\r\n" OURS, 101},
        {HTTP_SCHEME_HTTP, PROTO "https\r\n" OURS, 101}, /* the option knows better */
        {HTTP_SCHEME_HTTPS, PROTO "http\r\n" OURS, 403},
        {HTTP_SCHEME_HTTPS, "Origin: http://a.example\r\n", 101}, /* listed */
        {HTTP_SCHEME_HTTPS, "", 101},
    };
    static const char *const list[] = {"http://a.example", NULL};
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        const struct http_upgrade_policy p = {.origins = list, .scheme = table[i].scheme};
        char head[1024] = GOOD;
        struct http_upgrade u;

        strcat(strcat(head, table[i].fields), "\r\n");
        if (check_len(head, strlen(head), &p, &u) != table[i].status)
            fail_msg("scheme %d, %s: not %d", (int)table[i].scheme, head, table[i].status);
    }
}

static bool fits(const char *origin, const char *item)
{
    const char *const list[] = {"gopher://first", item, "last", NULL};
    char *copy = exact_copy(origin, strlen(origin));
    bool result = http_origin_is_listed((struct ws_str){copy, strlen(origin)}, list);

    free(copy);
    return result;
}

/* RFC 6454 §5: a page by its parts. */
static const struct {
    const char *origin, *item;
    bool fits;
} listed[] = {
    {"https://a.example", "https://a.example", true},
    {"HTTPS://A.example", "https://a.EXAMPLE", true},
    {"https://a.example", "https://a.example:443", true},
    {"https://a.example:443", "https://a.example", true},
    {"http://a.example", "http://a.example:80", true},
    {"http://a.example:8080", "http://a.example:8080", true},
    {"http://[::1]", "http://[::1]:80", true},
    {"http://a.example", "https://a.example", false},
    {"https://a.example:80", "http://a.example", false},
    {"https://a.example", "https://a.example:444", false},
    {"https://a.example:444", "https://a.example", false},
    {"https://a.example.evil", "https://a.example", false},
    {"https://a.exampl", "https://a.example", false},
    {"https://evil.a.example", "https://a.example", false},
    {"https://a.example/", "https://a.example", false},
    {"https://u@a.example", "https://a.example", false},
    {"https://a.example https://a.example", "https://a.example", false},
    {"wss://a.example", "https://a.example", false}, /* no page has it: by its own name */
    {"null", "https://a.example", false},
    /* all hosts below one */
    {"https://a.b.example", "https://*.b.example", true},
    {"https://c.a.b.example", "https://*.b.example", true},
    {"https://A.B.example:443", "https://*.b.EXAMPLE", true},
    {"https://a.b.example:8443", "https://*.b.example:8443", true},
    {"https://b.example", "https://*.b.example", false},
    {"https://.b.example", "https://*.b.example", false},
    {"https://ab.example", "https://*.b.example", false},
    {"https://evilb.example", "https://*.b.example", false},
    {"https://a.b.example.evil", "https://*.b.example", false},
    {"https://evil/a.b.example", "https://*.b.example", false},
    {"https://evil?.b.example", "https://*.b.example", false},
    {"https://evil#.b.example", "https://*.b.example", false},
    {"https://evil\\.b.example", "https://*.b.example", false},
    {"https://u@a.b.example", "https://*.b.example", false},
    {"https://evil,a.b.example", "https://*.b.example", false},
    {"https://evil:80.b.example", "https://*.b.example", false},
    {"http://a.b.example", "https://*.b.example", false},
    {"https://a.b.example:8443", "https://*.b.example", false},
    {"https://a.b.example", "https://*.b.example:8443", false},
    {"https://b", "https://*.", false},
    {"https://*.b.example", "https://a.b.example", false},
    /* anything */
    {"gopher://z", "*", true},
    {"", "*", true},
    {"*", "x", false},
    /* plain text, from sandboxed pages and clients that are no browsers */
    {"null", "null", true},
    {"localhost:12345", "localhost:12345", true},
    {"LocalHost:12345", "localhost:12345", true},
    {"localhost:12346", "localhost:12345", false},
    {"localhost", "localhost:80", false},
    {"file://", "file://", true},
    {"file:///", "file://", false},
    {"chrome-extension://abc", "chrome-extension://abc", true},
    {"chrome-extension://abcd", "chrome-extension://abc", false},
    {"capacitor://localhost", "capacitor://localhost", true},
    {"wss://a.example", "wss://a.example", true},
    {"", "", true},
    {"null", "", false},
    {"", "null", false},
};

static void an_item_of_a_list_fits_what_it_names(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT(listed); i++)
        if (fits(listed[i].origin, listed[i].item) != listed[i].fits)
            fail_msg("\"%s\" by \"%s\": not %d", listed[i].origin, listed[i].item, listed[i].fits);
}

/* Whoever keeps an origin that is allowed relies on it. */
static void no_host_is_longer_than_255_bytes(void **state)
{
    char origin[8 + 256 + 1] = "https://";
    (void)state;

    memset(origin + 8, 'a', 256);
    memcpy(origin + sizeof origin - sizeof ".b.example", ".b.example", sizeof ".b.example");
    assert_false(fits(origin, "https://*.b.example"));
    assert_false(allowed(origin, origin + 8, NULL));
    memmove(origin + 8, origin + 9, 256);
    assert_true(fits(origin, "https://*.b.example"));
    assert_true(allowed(origin, origin + 8, NULL));
}

static void without_a_field_only_a_star_will_do(void **state)
{
    static const char *const empty[] = {"", "null", NULL}, *const any[] = {"*", NULL};
    const struct ws_str none = {NULL, 0};
    (void)state;

    assert_false(http_origin_is_listed(none, NULL));
    assert_false(http_origin_is_listed(none, empty));
    assert_true(http_origin_is_listed(none, any));
}

#define XN    "write the host as browsers send it, xn--..."
#define ONE   "one origin at a time, without spaces and commas"
#define PARTS "an origin is scheme, host and port: no user, path, query or fragment"
#define STAR  "a * stands alone, or for all hosts below one, as in https://*.example.org"
#define NAME  "no host has such a name"
#define PORT  "not a port from 0 to 65535"

static const struct {
    const char *item, *why; /* NULL: nothing is wrong */
} items[] = {
    {"https://a.example", NULL},
    {"HTTP://A.example:8080", NULL},
    {"http://[::1]:65535", NULL},
    {"https://xn--mnchen-3ya.de", NULL},
    {"https://a_b.example", NULL},
    {"https://*.example.com", NULL},
    {"http://*.example.com:8080", NULL},
    {"*", NULL},
    {"null", NULL},
    {"", NULL},
    {"localhost:12345", NULL},
    {"example.org", NULL},
    {"file://", NULL},
    {"chrome-extension://abc", NULL},
    {"capacitor://localhost", NULL},
    {"ws://a.example/", NULL},
    {"https://m\xc3\xbcnchen.de", XN},
    {"m\xfcnchen.de:80", XN},
    {"https://a.example,https://b.example", ONE},
    {"https://a.example b", ONE},
    {" null", ONE},
    {"https://a.example\n", "a control character"},
    {"https://a.example\x7f", "a control character"},
    {"https://a.example/", PARTS},
    {"https://a.example/chat", PARTS},
    {"https://a.example?q", PARTS},
    {"https://a.example#f", PARTS},
    {"https://u@a.example", PARTS},
    {"https://u:p@a.example", PARTS},
    {"https://*.a.example/", PARTS},
    {"https://*", STAR},
    {"https://a.*", STAR},
    {"https://*a.example", STAR},
    {"https://a.*.example", STAR},
    {"https://*.*.example", STAR},
    {"https://a.example:*", STAR},
    {"chrome-extension://*", STAR},
    {"ws://*.example.com", STAR},
    {"**", STAR},
    {"localhost:*", STAR},
    {"*.example.com", "write the scheme, too, as in https://*.example.org"},
    {"https://", "no host"},
    {"http://:80", "no host"},
    {"https://*.", "no host"},
    {"https://*.:80", "no host"},
    {"https://[::1", NAME},
    {"https://::1", "no host"},
    {"https://[::1]x", NAME},
    {"https://*.[::1]", NAME},
    {"https://a\\b", NAME},
    {"https://a%4", NAME},
    {"https://<a>", NAME},
    {"https://a.example:", PORT},
    {"https://a.example:x", PORT},
    {"https://a.example:65536", PORT},
    {"https://a.example:123456", PORT},
    {"https://a.example:80:80", PORT},
};

static void an_item_that_can_fit_nothing_is_told_why(void **state)
{
    char longest[8 + 256 + 1] = "https://";
    (void)state;

    for (size_t i = 0; i < COUNT(items); i++) {
        size_t len = strlen(items[i].item);
        char *copy = exact_copy(items[i].item, len);
        const char *why = http_origin_fault((struct ws_str){copy, len});

        free(copy);
        if ((why == NULL) != (items[i].why == NULL) ||
            (why != NULL && strcmp(why, items[i].why) != 0))
            fail_msg("\"%s\": %s", items[i].item, why != NULL ? why : "fine");
    }
    memset(longest + 8, 'a', 256);
    assert_string_equal(http_origin_fault((struct ws_str){longest, 8 + 256}), NAME);
    assert_null(http_origin_fault((struct ws_str){longest, 8 + 255}));
}

static void an_item_without_a_fault_fits_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(items); i++)
        if (items[i].why == NULL && strchr(items[i].item, '*') == NULL)
            assert_true(fits(items[i].item, items[i].item));
}

static void file_is_let_in_where_local_files_are_allowed(void **state)
{
    static const struct {
        const char *head;
        int status; /* with local_files; without it always 403 */
    } table[] = {
        {GOOD "Origin: file://\r\n\r\n", 101},
        {GOOD "Origin: FILE://\r\n\r\n", 101},
        {GOOD "Origin: file:///\r\n\r\n", 403},
        {GOOD "Origin: file://evil\r\n\r\n", 403},
        {GOOD "Origin: file:\r\n\r\n", 403},
        {GOOD "Origin: null\r\n\r\n", 403},
        {GOOD "Origin: http://evil.example\r\n\r\n", 403},
    };
    static const struct http_upgrade_policy files = {.local_files = true};
    struct http_upgrade u;
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(check_len(table[i].head, strlen(table[i].head), &files, &u),
                         table[i].status);
        assert_int_equal(check(table[i].head, &u), 403);
    }
}

static bool ends_with_friend(void *arg, struct ws_str origin)
{
    ++*(int *)arg;
    return origin.len >= 6 && memcmp(origin.data + origin.len - 6, "friend", 6) == 0;
}

/* It is asked only about origins that nothing else allows. */
static void the_application_may_decide_about_origins(void **state)
{
    static const char *const one[] = {"https://listed.example", NULL};
    static const struct {
        const char *head;
        int status, asked;
    } table[] = {
        {GOOD "\r\n", 101, 0},
        {GOOD "Origin: https://listed.example\r\n\r\n", 101, 0},
        {GOOD "Origin: https://a.friend\r\n\r\n", 101, 1},
        {GOOD "Origin: friend\r\n\r\n", 101, 1},
        {GOOD "Origin: https://friend.example\r\n\r\n", 403, 1},
        {GOOD "Origin: \r\n\r\n", 403, 1},
        {GOOD "Origin: https://a.friend\r\nOrigin: https://a.friend\r\n\r\n", 400, 0},
    };
    int asked = 0;
    const struct http_upgrade_policy asking = {
        .origins = one, .allow_origin = ends_with_friend, .allow_origin_arg = &asked};
    struct http_upgrade u;
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        asked = 0;
        assert_int_equal(check_len(table[i].head, strlen(table[i].head), &asking, &u),
                         table[i].status);
        assert_int_equal(asked, table[i].asked);
    }
}

static void the_servers_order_of_subprotocols_decides(void **state)
{
    static const struct {
        const char *head, *chosen;
    } table[] = {
        {GOOD "\r\n", NULL},
        {GOOD OFFER "chat\r\n\r\n", "chat"},
        {GOOD OFFER "chat,superchat\r\n\r\n", "superchat"},
        {GOOD OFFER "chat\r\n" OFFER "x, superchat\r\n\r\n", "superchat"},
        {GOOD OFFER "CHAT\r\n\r\n", NULL},
        {GOOD OFFER "chat2, cha\r\n\r\n", NULL},
        {GOOD OFFER ", chat ,\r\n\r\n", "chat"},
    };
    static const struct http_upgrade_policy none = {0};
    struct http_upgrade u;
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(check(table[i].head, &u), 101);
        if (table[i].chosen == NULL)
            assert_null(u.subprotocol);
        else
            assert_string_equal(u.subprotocol, table[i].chosen);
    }
    assert_int_equal(
        check_len(GOOD OFFER "chat\r\n\r\n", strlen(GOOD OFFER "chat\r\n\r\n"), &none, &u), 101);
    assert_null(u.subprotocol);
}

static void a_giant_key_is_not_decoded(void **state)
{
    char head[HTTP_HEAD_MAX], zeros[10000];
    struct http_upgrade u;
    (void)state;

    memset(zeros, 'A', sizeof zeros);
    snprintf(head, sizeof head, "%sSec-WebSocket-Key: %.*s\r\n\r\n", GET UPGRADE CONNECTION VERSION,
             (int)sizeof zeros, zeros);
    assert_int_equal(check(head, &u), 400);
}

/* ws CVE-2021-32640: a value of spaces took quadratic time. 1000 times 15 KB, the suite has no
 * second to lose: quadratic would be 10^11 steps. */
static void a_value_of_spaces_takes_linear_time(void **state)
{
    char head[HTTP_HEAD_MAX];
    struct http_upgrade u;
    int len = snprintf(head, sizeof head, "%sb%15000sx\r\n\r\n", GOOD OFFER, "");
    (void)state;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(check_len(head, (size_t)len, &policy, &u), 400);
}

#include "tests/test_http_upgrade.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
