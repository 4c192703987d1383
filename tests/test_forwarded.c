/* SPDX-License-Identifier: MIT
 *
 * forwarded.c: the client behind proxies, and those who would like to be another. */
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../forwarded.h"
#include "exact.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const char *const proxies[] = {"10.0.0.0/8", "2001:db8:ffff::/48"};

/* The client of a request with these field lines, as text: "address port", or "none". */
static const char *client_of(const char *lines, enum forwarded_field field)
{
    static char text[80];
    struct address_range trusted[COUNT(proxies)];
    struct http_scan scan = {0};
    struct http_request r;
    struct address a;
    char host[INET6_ADDRSTRLEN];
    const char *why = "";
    size_t size = strlen(lines) + 64, len;
    char *head = malloc(size), *copy;

    for (size_t i = 0; i < COUNT(proxies); i++)
        assert_true(address_range_parse(&trusted[i], ws_str(proxies[i])));
    len = (size_t)snprintf(head, size, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    copy = exact_copy(head, len);
    free(head);
    assert_int_equal(http_head_scan(&scan, copy, len), len);
    if (http_request_parse(&r, copy, len, &why) != 0)
        fail_msg("%s: %s", lines, why);
    a = forwarded_client(&r, field, trusted, COUNT(trusted));
    free(copy);
    if (a.len == 0)
        return "none";
    inet_ntop(a.len == 4 ? AF_INET : AF_INET6, a.bytes, host, sizeof host);
    snprintf(text, sizeof text, "%s %u", host, a.port);
    return text;
}

struct row {
    const char *lines;
    const char *client;
};

static void expect_rows(const struct row *rows, size_t count, enum forwarded_field field)
{
    for (size_t i = 0; i < count; i++) {
        const char *client = client_of(rows[i].lines, field);

        if (strcmp(client, rows[i].client) != 0)
            fail_msg("%s: %s, not %s", rows[i].lines, client, rows[i].client);
    }
}

#define X "X-Forwarded-For: "

static void x_forwarded_for_is_read_from_its_end_to_the_first_who_is_not_trusted(void **state)
{
    static const struct row rows[] = {
        {"", "none"},
        {X "192.0.2.1\r\n", "192.0.2.1 0"},
        {"x-forwarded-FOR:192.0.2.1\r\n", "192.0.2.1 0"},
        {X "192.0.2.1:5000\r\n", "192.0.2.1 5000"},
        {X "2001:db8::1\r\n", "2001:db8::1 0"},
        {X "[2001:db8::1]:443\r\n", "2001:db8::1 443"},
        {X "[2001:db8::1]\r\n", "2001:db8::1 0"},
        {X "::ffff:192.0.2.1\r\n", "192.0.2.1 0"},
        {X "fe80::1%eth0\r\n", "fe80::1 0"},
        {X "192.0.2.1, 10.0.0.1, 10.0.0.2\r\n", "192.0.2.1 0"},
        {X "192.0.2.1 ,2001:db8:ffff::5,\t::ffff:10.1.1.1\r\n", "192.0.2.1 0"},
        {X "192.0.2.1,,10.0.0.1, ,\r\n", "192.0.2.1 0"},
        {X "10.0.0.3, 10.0.0.1\r\n", "10.0.0.3 0"}, /* all are trusted */
        {X "192.0.2.1\r\n" X "10.0.0.1\r\n", "192.0.2.1 0"},
        {X "192.0.2.1\r\nA: b\r\n" X "192.0.2.2\r\n" X "\r\n", "192.0.2.2 0"},
        {X "\r\n", "none"},
        {X ",\r\n", "none"},
        {"Forwarded: for=192.0.2.9\r\n" X "192.0.2.1\r\n", "192.0.2.1 0"},
        {"Forwarded: for=192.0.2.9\r\n", "none"}, /* the other field proves nothing */
    };

    (void)state;
    expect_rows(rows, COUNT(rows), FORWARDED_X_FOR);
}

static void what_a_client_invents_lies_before_its_own_address(void **state)
{
    static const struct row rows[] = {
        {X "203.0.113.9, 192.0.2.1\r\n", "192.0.2.1 0"},
        {X "127.0.0.1, 10.0.0.9, 192.0.2.1\r\n", "192.0.2.1 0"},
        {X "203.0.113.9\r\n" X "192.0.2.1\r\n", "192.0.2.1 0"},
        {X "\"203.0.113.9, 192.0.2.1\r\n", "192.0.2.1 0"}, /* a quote hides no comma */
        {X "\", 192.0.2.1\r\n" X "\\, 192.0.2.2\r\n", "192.0.2.2 0"},
        {X "unknown, 192.0.2.1\r\n", "192.0.2.1 0"},
        /* not an address: nobody knows what is before */
        {X "203.0.113.9, unknown\r\n", "none"},
        {X "203.0.113.9, unknown, 10.0.0.1\r\n", "10.0.0.1 0"},
        {X "203.0.113.9, 192.0.2.1 192.0.2.2, 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1 0"},
        {X "203.0.113.9, 127.1\r\n", "none"},
        {X "203.0.113.9, 192.0.2.1/32\r\n", "none"},
    };

    (void)state;
    expect_rows(rows, COUNT(rows), FORWARDED_X_FOR);
}

#define F "Forwarded: "

static void forwarded_is_read_by_rfc_7239(void **state)
{
    static const struct row rows[] = {
        {F "for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F "For=\"[2001:db8:cafe::17]:4711\"\r\n", "2001:db8:cafe::17 4711"},
        {F "for=192.0.2.60;proto=http;by=203.0.113.43\r\n", "192.0.2.60 0"},
        {F "proto=http; FOR=\"192.0.2.60:80\" ;by=203.0.113.43;\r\n", "192.0.2.60 80"},
        {F "for=192.0.2.60:80\r\n", "192.0.2.60 80"}, /* no token, and common */
        {F "for=\"192.0.2.60:_hidden\"\r\n", "192.0.2.60 0"},
        {F "for=192.0.2.43, for=\"[2001:db8:ffff::17]\", for=10.0.0.1\r\n", "192.0.2.43 0"},
        {F "for=192.0.2.43\r\n" F "for=10.0.0.1;host=\"a,b;c=\\\"d\"\r\n", "192.0.2.43 0"},
        {F "host=\"a, for=192.0.2.9\";for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F ";;for=192.0.2.43;;\r\n", "192.0.2.43 0"},
        {F "for=10.0.0.7\r\n", "10.0.0.7 0"},
        {X "192.0.2.9\r\n" F "for=192.0.2.43\r\n", "192.0.2.43 0"},
        {X "192.0.2.9\r\n", "none"},
    };

    (void)state;
    expect_rows(rows, COUNT(rows), FORWARDED_STANDARD);
}

static void no_quote_of_a_client_hides_what_a_proxy_added(void **state)
{
    static const struct row rows[] = {
        {F "for=203.0.113.9, for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F "for=\"203.0.113.9, for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F "for=\", for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F "for=x\\, for=192.0.2.43\r\n", "192.0.2.43 0"},
        {F "for=\"x\\, for=\"192.0.2.43:80\"\r\n", "192.0.2.43 80"},
        {F "for=\"[::1]\";x=\", for=\"[2001:db8::43]\"\r\n", "2001:db8::43 0"},
        {F "for=203.0.113.9, for=192.0.2.43;x=\\\\\"a,b\"\r\n", "192.0.2.43 0"},
        {F "for=\"203.0.113.9, for=10.0.0.1\r\n", "10.0.0.1 0"},
        {F "for=203.0.113.9, for=unknown\r\n", "none"},
        {F "for=203.0.113.9, for=_hidden, for=10.0.0.1\r\n", "10.0.0.1 0"},
        {F "for=203.0.113.9, by=10.0.0.2\r\n", "none"},
        {F "for=203.0.113.9;for=203.0.113.8\r\n", "none"}, /* RFC 7239 §4: once */
        {F "for=203.0.113.9 for=203.0.113.8\r\n", "none"},
        {F "for=\"203.0.113.9\"x\r\n", "none"},
        {F "for=\"203.0.113\\.9\"\r\n", "none"},
        {F "for\r\n", "none"},
        {F "for=\r\n", "none"},
        {F "=203.0.113.9\r\n", "none"},
        {F "f or=203.0.113.9\r\n", "none"},
        {F "for=\"203.0.113.9\\\"\r\n", "none"},
        {F "\"\r\n", "none"},
    };

    (void)state;
    expect_rows(rows, COUNT(rows), FORWARDED_STANDARD);
}

/* As many members as a head has room for: only the last ones are looked at, and the whole is
 * linear where all of them are trusted or quoted. 160 of them take some 40 ms with sanitizers, and
 * would take seconds if each member began at the front again. */
static void thousands_of_addresses_cost_little(void **state)
{
    enum { SIZE = 16000, TIMES = 40 };
    static const struct {
        const char *start, *member, *end, *client;
        enum forwarded_field field;
    } rows[] = {
        {X, "1,", "192.0.2.1\r\n", "192.0.2.1 0", FORWARDED_X_FOR},
        {X "10.0.0.5", ",10.0.0.1", "\r\n", "10.0.0.5 0", FORWARDED_X_FOR},
        {F "for=192.0.2.1", ",for=\"10.0.0.1\"", "\r\n", "192.0.2.1 0", FORWARDED_STANDARD},
        {F, "\\\"", "\r\n", "none", FORWARDED_STANDARD},
    };
    char *lines = malloc(SIZE + 64);
    clock_t before = clock();

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t at = (size_t)sprintf(lines, "%s", rows[i].start);

        while (at < SIZE)
            at += (size_t)sprintf(lines + at, "%s", rows[i].member);
        strcpy(lines + at, rows[i].end);
        for (int n = 0; n < TIMES; n++)
            assert_string_equal(client_of(lines, rows[i].field), rows[i].client);
    }
    assert_in_range((clock() - before) / (CLOCKS_PER_SEC / 1000), 0, 1500);
    free(lines);
}

#include "tests/test_forwarded.list"

int main(void)
{
    return cmocka_run_group_tests_name("forwarded", tests, NULL, NULL);
}
