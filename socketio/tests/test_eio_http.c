/* SPDX-License-Identifier: MIT
 *
 * The HTTP side of Engine.IO: query strings, headers of answers, CORS, cookie. */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"

/* --- query strings ---------------------------------------------------------------------------- */

/* Every parameter of `query` as "<name=value>". */
static const char *list(char out[256], const char *query)
{
    char *copy = exact_copy(query, strlen(query));
    struct ws_str rest = {copy, strlen(query)};
    struct ws_str name;
    struct ws_str value;
    size_t n = 0;

    out[0] = '\0';
    while (eio_query_next(&rest, &name, &value))
        n += (size_t)snprintf(out + n, 256 - n, "<%.*s=%.*s>", (int)name.len, name.data,
                              (int)value.len, value.data);
    free(copy);
    return out;
}

static void query_is_taken_apart(void **state)
{
    char out[256];
    (void)state;

    assert_string_equal(list(out, "EIO=4&transport=polling"), "<EIO=4><transport=polling>");
    assert_string_equal(list(out, ""), "");
    assert_string_equal(list(out, "a"), "<a=>");
    assert_string_equal(list(out, "a="), "<a=>");
    assert_string_equal(list(out, "=b"), "<=b>");
    assert_string_equal(list(out, "a=b=c"), "<a=b=c>");
    assert_string_equal(list(out, "&&a=1&&b=2&"), "<a=1><b=2>");
}

static void parameters_are_decoded(void **state)
{
    static const struct {
        const char *raw;
        const char *decoded;
    } cases[] = {
        {"a+b", "a b"}, {"%41%4a%4A", "AJJ"}, {"%", "%"}, {"%4", "%4"},     {"%4g", "%4g"},
        {"%%41", "%A"}, {"%e2%82%ac", "€"},   {"", ""},   {"a%2Bb", "a+b"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i].raw);
        char *raw = exact_copy(cases[i].raw, len);
        char *out = malloc(len);

        assert_int_equal(eio_query_decode(out, len, (struct ws_str){raw, len}),
                         strlen(cases[i].decoded));
        assert_memory_equal(out, cases[i].decoded, strlen(cases[i].decoded));
        free(out);
        free(raw);
    }
}

static void parameter_is_cut_to_its_place(void **state)
{
    char out[4];
    (void)state;

    assert_int_equal(eio_query_get(ws_str("a=12345"), "a", out, sizeof out), 5);
    assert_string_equal(out, "123");
    assert_int_equal(eio_query_get(ws_str("a=123"), "a", out, sizeof out), 3);
    assert_string_equal(out, "123");
    assert_int_equal(eio_query_get(ws_str("a=1"), "a", out, 1), 1);
    assert_string_equal(out, "");
}

static void last_parameter_of_a_name_wins(void **state)
{
    char out[8];
    (void)state;

    assert_int_equal(eio_query_get(ws_str("a=1&b=2&a=3&%61=4"), "a", out, sizeof out), 1);
    assert_string_equal(out, "4");
    assert_int_equal(eio_query_get(ws_str("a=1"), "c", out, sizeof out), -1);
    assert_int_equal(eio_query_get(ws_str("aa=1"), "a", out, sizeof out), -1);
    assert_int_equal(eio_query_get(ws_str("a"), "a", out, sizeof out), 0);
}

/* --- headers ---------------------------------------------------------------------------------- */

static const char *const any[] = {"*", NULL};
static const char *const friends[] = {"https://a.example", "https://b.example:8443", NULL};

static void expect_header(const struct raw_response *r, const char *name, const char *value)
{
    char found[256] = "(none)";

    if (raw_header(r, name, found, sizeof found) ? value != NULL && strcmp(found, value) == 0
                                                 : value == NULL)
        return;
    print_error("ERROR: %s is '%s', not '%s' in:\n%s", name, found,
                value != NULL ? value : "(none)", r->head);
    fail();
}

static void parameters_of_other_names_mean_nothing(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "");
    ask(c, "GET",
        "EIO=4&transport=polling&transporx=websocket&transport2=websocket&six=1&EIo=3&EI=3&x=y"
        "&transport-of-much-longer-name=websocket&=websocket",
        "", NULL, 0);
    raw_expect_status(c, &r, 200);
}

/* The answer to a handshake with more header lines. */
static void handshake(struct engine *e, const char *more, struct raw_response *r)
{
    struct raw_client *c = client(e->f, more);

    ask(c, "GET", "EIO=4&transport=polling", more, NULL, 0);
    raw_expect_status(c, r, 200);
}

static void answers_are_not_stored_and_say_their_type(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){0});
    handshake(e, "", &r);
    expect_header(&r, "Cache-Control", "no-store");
    expect_header(&r, "Content-Type", "text/plain; charset=UTF-8");
    expect_header(&r, "Set-Cookie", NULL);
    expect_header(&r, "X-XSS-Protection", NULL);
    expect_header(&r, "Access-Control-Allow-Origin", NULL);
    expect_header(&r, "Vary", NULL);
    c = open_polling(e, sid);
    post(c, sid, "4x");
    raw_expect_status(c, &r, 200);
    expect_header(&r, "Content-Type", "text/html");
    expect_header(&r, "Cache-Control", "no-store");
    get(c, sid);
    raw_expect_status(c, &r, 200);
    expect_header(&r, "Content-Type", "text/plain; charset=UTF-8");
    ask(c, "GET", "", "", NULL, 0);
    raw_expect_status(c, &r, 400);
    expect_header(&r, "Content-Type", "application/json");
    expect_header(&r, "Cache-Control", "no-store");
}

static void old_browsers_are_told_not_to_filter(void **state)
{
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    handshake(e, "User-Agent: Mozilla/4.0 (compatible;MSIE 8.0)\r\n", &r);
    expect_header(&r, "X-XSS-Protection", "0");
    handshake(e, "User-Agent: Mozilla/5.0 (Trident/7.0; rv:11.0)\r\n", &r);
    expect_header(&r, "X-XSS-Protection", "0");
    handshake(e, "User-Agent: Mozilla/5.0 (X11) Firefox/150.0\r\n", &r);
    expect_header(&r, "X-XSS-Protection", NULL);
}

static void cookie_holds_the_session_id(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;
    char expected[128];

    engine_echo(e, (struct eio_options){.cookie = "io"});
    handshake(e, "", &r);
    snprintf(expected, sizeof expected, "io=%.20s; Path=/; HttpOnly; SameSite=Lax",
             (const char *)r.body + 9);
    expect_header(&r, "Set-Cookie", expected);
    c = client(e->f, "websocket");
    ask(c, "GET", "EIO=4&transport=websocket", UPGRADE KEY VERSION, NULL, 0);
    raw_expect_upgraded(c, &r);
    expect_header(&r, "Set-Cookie", NULL);
}

static void cookie_may_have_other_attributes(void **state)
{
    struct engine *e = *state;
    struct raw_response r;
    char expected[128];

    engine_echo(e, (struct eio_options){.cookie = "id", .cookie_attributes = "Secure"});
    handshake(e, "", &r);
    snprintf(expected, sizeof expected, "id=%.20s; Secure", (const char *)r.body + 9);
    expect_header(&r, "Set-Cookie", expected);
}

/* A header that cannot be sent is the application's mistake; the client must not wait for it. */
static void illegal_header_of_the_application_is_a_500(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){.cookie = "io\r\nX: y"});
    c = client(e->f, "bad cookie");
    ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 500, "");
}

/* The text is in the fixture's scratch, which nobody touches while a client waits. */
static const char *refuse_with_text(struct eio_server *server, const struct eio_handshake *h)
{
    struct engine *e = eio_user(server);

    (void)h;
    return (const char *)e->f->out.data;
}

/* The answer is JSON, which must be UTF-8 (RFC 8259, §8.1): it is cut between two characters. */
static void text_of_a_refusal_is_cut_between_characters(void **state)
{
    static const struct {
        size_t before; /* bytes of ASCII in front */
        const char *character;
        bool kept;
    } cases[] = {
        {256, "", true},
        {255, "a", true},
        {256, "a", false},
        {254, "é", true},
        {255, "é", false},
        {256, "é", false},
        {253, "€", true},
        {254, "€", false},
        {255, "€", false},
        {252, "\xf0\x9f\x98\x80", true},
        {253, "\xf0\x9f\x98\x80", false},
        {255, "\xf0\x9f\x98\x80", false},
    };
    struct engine *e = *state;
    char filler[257];
    char body[400];

    memset(filler, 'x', sizeof filler);
    engine_handle(e, (struct eio_handlers){.on_handshake = refuse_with_text});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw_client *c = client(e->f, cases[i].character);
        int before = (int)cases[i].before;

        e->f->out.len = 0;
        raw_bytes_add(&e->f->out, filler, cases[i].before);
        raw_bytes_add(&e->f->out, cases[i].character, strlen(cases[i].character));
        raw_bytes_add(&e->f->out, "", 1);
        snprintf(body, sizeof body, "{\"code\":4,\"message\":\"%.*s%s\"}", before, filler,
                 cases[i].kept ? cases[i].character : "");
        ask(c, "GET", "EIO=4&transport=polling", "", NULL, 0);
        expect(c, 403, body);
        raw_close(c);
    }
}

/* --- CORS ------------------------------------------------------------------------------------- */

#define ORIGIN_A     "Origin: https://a.example\r\n"
#define ORIGIN_OTHER "Origin: https://other.example\r\n"

static void any_origin_is_a_star(void **state)
{
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = any});
    handshake(e, ORIGIN_OTHER, &r);
    expect_header(&r, "Access-Control-Allow-Origin", "*");
    expect_header(&r, "Vary", NULL);
    expect_header(&r, "Access-Control-Allow-Credentials", NULL);
    handshake(e, "", &r);
    expect_header(&r, "Access-Control-Allow-Origin", "*");
}

/* Whoever is not on the list is served all the same; only the page may not read it. */
static void listed_origins_are_echoed_and_others_get_nothing(void **state)
{
    static const struct {
        const char *origin;
        const char *allowed;
    } cases[] = {
        {ORIGIN_A, "https://a.example"},
        {"Origin: https://b.example:8443\r\n", "https://b.example:8443"},
        {ORIGIN_OTHER, NULL},
        {"Origin: https://a.example.evil\r\n", NULL},
        {"Origin: https://a.example:444\r\n", NULL},
        {"Origin: http://a.example\r\n", NULL},
        {"Origin: null\r\n", NULL},
        {"Origin: *\r\n", NULL},
        {"", NULL},
    };
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = friends, .cors_credentials = true});
    for (size_t i = 0; i < COUNT(cases); i++) {
        handshake(e, cases[i].origin, &r);
        expect_header(&r, "Access-Control-Allow-Origin", cases[i].allowed);
        expect_header(&r, "Access-Control-Allow-Credentials", "true");
        expect_header(&r, "Vary", "Origin");
    }
}

static char end_of_b[] = ".b.example";

/* A handshake from this origin gets that status. */
static void expect_websocket(struct engine *e, const char *origin, int status)
{
    struct raw_client *c = client(e->f, origin);
    struct raw_response r;
    char more[512];

    snprintf(more, sizeof more, "%s" UPGRADE KEY VERSION, origin);
    ask(c, "GET", "EIO=4&transport=websocket", more, NULL, 0);
    raw_expect_status(c, &r, status);
    raw_close(c);
}

static bool ends_with(void *arg, struct ws_str origin)
{
    const char *end = arg;
    size_t len = strlen(end);

    return origin.len > len && memcmp(origin.data + origin.len - len, end, len) == 0;
}

static void expect_decisions(struct engine *e, bool with_list)
{
    static const struct {
        const char *origin;
        const char *alone, *with_list; /* what is echoed */
        int upgrade;                   /* status of a WebSocket without a list */
    } cases[] = {
        {ORIGIN_A, NULL, "https://a.example", 403},
        {"Origin: https://x.b.example\r\n", "https://x.b.example", "https://x.b.example", 101},
        {"Origin: app://.b.example\r\n", "app://.b.example", "app://.b.example", 101},
        {"Origin: http://localhost\r\n", NULL, NULL, 101}, /* its own host */
        {"Origin: file://\r\n", NULL, NULL, 403},
        {"Origin: null\r\n", NULL, NULL, 403},
        {"", NULL, NULL, 101},
    };
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = with_list ? friends : NULL,
                                        .allow_origin = ends_with,
                                        .allow_origin_arg = end_of_b});
    for (size_t i = 0; i < COUNT(cases); i++) {
        handshake(e, cases[i].origin, &r);
        expect_header(&r, "Access-Control-Allow-Origin",
                      with_list ? cases[i].with_list : cases[i].alone);
        expect_header(&r, "Vary", "Origin");
        if (!with_list)
            expect_websocket(e, cases[i].origin, cases[i].upgrade);
    }
}

static void the_application_may_decide_about_origins(void **state)
{
    expect_decisions(*state, false);
}

static void the_application_may_decide_about_origins_that_are_not_listed(void **state)
{
    expect_decisions(*state, true);
}

/* A rule of the list is compared as the server compares it for WebSockets; the browser compares the
 * answer with the text that it sent. */
static void origin_that_fits_a_rule_is_echoed_as_it_was_sent(void **state)
{
    static const char *const rules[] = {"https://*.a.example", "https://b.example:443", "file://",
                                        NULL};
    static const struct {
        const char *origin;
        const char *allowed;
    } cases[] = {
        {"Origin: https://x.y.a.example\r\n", "https://x.y.a.example"},
        {"Origin: https://b.example\r\n", "https://b.example"},
        {"Origin: https://b.example:443\r\n", "https://b.example:443"},
        {"Origin: HTTPS://B.example\r\n", "HTTPS://B.example"},
        {"Origin: file://\r\n", "file://"},
        {"Origin: https://a.example\r\n", NULL},
        {"Origin: https://evil/.a.example\r\n", NULL},
        {"Origin: https://*.a.example\r\n", "https://*.a.example"},
    };
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = rules});
    for (size_t i = 0; i < COUNT(cases); i++) {
        handshake(e, cases[i].origin, &r);
        expect_header(&r, "Access-Control-Allow-Origin", cases[i].allowed);
        expect_header(&r, "Vary", "Origin");
    }
}

static void star_anywhere_in_the_list_is_the_answer(void **state)
{
    static const char *const list[] = {"https://a.example", "*", NULL};
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = list});
    handshake(e, ORIGIN_A, &r);
    expect_header(&r, "Access-Control-Allow-Origin", "*");
    expect_header(&r, "Vary", NULL);
}

static void held_request_remembers_an_origin_that_fits_a_rule(void **state)
{
    static const char *const rules[] = {"https://*.a.example", NULL};
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *held;
    struct raw_response r;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.origins = rules});
    c = client(e->f, "posts");
    held = client(e->f, "held");
    open_polling_on(c, sid);
    for (int i = 0; i < 3; i++) {
        ask_session(held, "GET", sid, "Origin: https://one.a.example\r\n", NULL, 0);
        wait_for_get(e); /* the last POST ends the session */
        ask_session(c, "POST", sid, "Origin: https://two.two.a.example\r\n", i < 2 ? "4x" : "1",
                    i < 2 ? 2 : 1);
        raw_expect_status(c, &r, 200);
        expect_header(&r, "Access-Control-Allow-Origin", "https://two.two.a.example");
        raw_expect_status(held, &r, 200);
        expect_header(&r, "Access-Control-Allow-Origin", "https://one.a.example");
    }
    expect_reason(e, 1, EIO_TRANSPORT_CLOSE);
    expect_nothing_left(e);
}

/* A GET that is held, and a POST whose body does not come. */
static void request_that_is_left_leaves_no_origin_behind(void **state)
{
    static const char *const rules[] = {"https://*.a.example", NULL};
    struct engine *e = *state;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.origins = rules});
    for (int i = 0; i < 2; i++) {
        struct raw_client *c = client(e->f, i == 0 ? "GET" : "POST");

        open_polling_on(c, sid);
        if (i == 0)
            ask_session(c, "GET", sid, "Origin: https://one.a.example\r\n", NULL, 0);
        else
            ask_session(c, "POST", sid, "Origin: https://one.a.example\r\nContent-Length: 9\r\n",
                        NULL, 0);
        raw_close(c);
        expect_reason(e, i + 1, EIO_TRANSPORT_ERROR);
    }
    expect_nothing_left(e);
}

static void every_answer_has_its_cors_headers(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *held;
    struct raw_response r;
    char sid[EIO_ID_SIZE];

    engine_echo(e, (struct eio_options){.origins = friends, .cors_exposed_headers = "X-One,X-Two"});
    c = open_polling(e, sid);
    ask(c, "GET", "transport=polling", ORIGIN_A, NULL, 0);
    raw_expect_status(c, &r, 400);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
    expect_header(&r, "Access-Control-Expose-Headers", "X-One,X-Two");
    ask_session(c, "PUT", sid, ORIGIN_A, NULL, 0);
    raw_expect_status(c, &r, 500);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
    /* A held GET is answered long after its request is gone. */
    held = client(e->f, "held");
    ask_session(held, "GET", sid, ORIGIN_A, NULL, 0);
    ask_session(c, "POST", sid, ORIGIN_A, "4x", 2);
    raw_expect_status(c, &r, 200);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
    raw_expect_status(held, &r, 200);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
}

/* Without its headers a page of another origin does not even learn the status. */
static void refusal_of_a_body_has_its_cors_headers(void **state)
{
    static const struct {
        const char *headers;
        const char *body;
        int status;
    } cases[] = {
        {"Content-Length: 1001\r\n", "", 413},
        {"Content-Length: 1001\r\nExpect: 100-continue\r\n", "", 413},
        {"Transfer-Encoding: chunked\r\n", "3e9\r\n", 413},
        {"Transfer-Encoding: chunked\r\n", "x\r\n", 400},
    };
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_client *refused;
    struct raw_response r;
    char sid[EIO_ID_SIZE];
    char headers[128];

    engine_echo(
        e, (struct eio_options){.origins = friends, .cors_credentials = true, .max_payload = 1000});
    c = client(e->f, "polling");
    for (size_t i = 0; i < COUNT(cases); i++) {
        open_polling_on(c, sid);
        refused = client(e->f, cases[i].headers);
        snprintf(headers, sizeof headers, ORIGIN_A "%s", cases[i].headers);
        ask_session(refused, "POST", sid, headers, NULL, 0);
        raw_send_text(refused, cases[i].body);
        raw_expect_status(refused, &r, cases[i].status);
        expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
        expect_header(&r, "Access-Control-Allow-Credentials", "true");
        expect_header(&r, "Vary", "Origin");
        expect_header(&r, "Connection", "close");
        assert_int_equal(r.body_len, 0);
        raw_expect_eof(refused);
        expect_reason(e, (int)i + 1, EIO_TRANSPORT_ERROR);
    }
    expect_nothing_left(e);
}

static void websocket_of_a_listed_origin_alone_is_accepted(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = friends});
    c = client(e->f, "friend");
    ask(c, "GET", "EIO=4&transport=websocket", ORIGIN_A UPGRADE KEY VERSION, NULL, 0);
    raw_expect_upgraded(c, &r);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
    c = client(e->f, "stranger");
    ask(c, "GET", "EIO=4&transport=websocket", ORIGIN_OTHER UPGRADE KEY VERSION, NULL, 0);
    raw_expect_status(c, &r, 403);
    c = client(e->f, "file");
    ask(c, "GET", "EIO=4&transport=websocket", "Origin: file://\r\n" UPGRADE KEY VERSION, NULL, 0);
    raw_expect_status(c, &r, 403);
}

/* ESP32 and ESP8266 send it, and the reference asks for no origin at all. */
static void websocket_of_a_local_file_is_accepted_until_origins_are_named(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "file");
    ask(c, "GET", "EIO=4&transport=websocket", "Origin: file://\r\n" UPGRADE KEY VERSION, NULL, 0);
    raw_expect_upgraded(c, &r);
    c = client(e->f, "null");
    ask(c, "GET", "EIO=4&transport=websocket", "Origin: null\r\n" UPGRADE KEY VERSION, NULL, 0);
    raw_expect_status(c, &r, 403);
}

static void preflight(struct engine *e, const char *query, const char *more, struct raw_response *r)
{
    struct raw_client *c = client(e->f, "preflight");

    ask(c, "OPTIONS", query, more, NULL, 0);
    raw_expect_status(c, r, 204);
    assert_int_equal(r->body_len, 0);
}

/* It is answered before any check, so that the page hears of the error that the request gets. */
static void preflight_is_answered_whatever_it_asks_for(void **state)
{
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = any});
    preflight(e, "", "", &r);
    expect_header(&r, "Access-Control-Allow-Origin", "*");
    expect_header(&r, "Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE");
    expect_header(&r, "Content-Length", NULL); /* RFC 9110 §8.6, though the reference has 0 */
    expect_header(&r, "Access-Control-Allow-Headers", NULL);
    expect_header(&r, "Vary", "Access-Control-Request-Headers");
    preflight(e, "EIO=4&transport=polling&sid=none",
              ORIGIN_A "Access-Control-Request-Headers: x-a, x-b\r\n", &r);
    expect_header(&r, "Access-Control-Allow-Headers", "x-a, x-b");
    expect_header(&r, "Access-Control-Max-Age", NULL);
}

static void preflight_tells_what_is_configured(void **state)
{
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){.origins = friends,
                                        .cors_methods = "GET,POST",
                                        .cors_headers = "my-custom-header",
                                        .cors_exposed_headers = "x-seen",
                                        .cors_credentials = true,
                                        .cors_max_age_s = 600});
    preflight(e, "EIO=4", ORIGIN_A "Access-Control-Request-Headers: x-other\r\n", &r);
    expect_header(&r, "Access-Control-Allow-Origin", "https://a.example");
    expect_header(&r, "Access-Control-Allow-Credentials", "true");
    expect_header(&r, "Access-Control-Allow-Methods", "GET,POST");
    expect_header(&r, "Access-Control-Allow-Headers", "my-custom-header");
    expect_header(&r, "Access-Control-Expose-Headers", "x-seen");
    expect_header(&r, "Access-Control-Max-Age", "600");
    expect_header(&r, "Vary", "Origin");
    preflight(e, "EIO=4", ORIGIN_OTHER, &r);
    expect_header(&r, "Access-Control-Allow-Origin", NULL);
}

/* CVE-2020-28481: every origin was allowed unless one said otherwise. */
static void no_origin_is_allowed_until_one_is_named(void **state)
{
    struct engine *e = *state;
    struct raw_response r;

    engine_echo(e, (struct eio_options){0});
    handshake(e, ORIGIN_OTHER, &r);
    expect_header(&r, "Access-Control-Allow-Origin", NULL);
    expect_header(&r, "Access-Control-Allow-Credentials", NULL);
}

static void options_without_cors_is_a_bad_method(void **state)
{
    struct engine *e = *state;
    struct raw_client *c;

    engine_echo(e, (struct eio_options){0});
    c = client(e->f, "OPTIONS");
    ask(c, "OPTIONS", "EIO=4&transport=polling", "", NULL, 0);
    expect(c, 400, "{\"code\":2,\"message\":\"Bad handshake method\"}");
}

#include "socketio/tests/test_eio_http.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
