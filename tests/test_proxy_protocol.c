/* SPDX-License-Identifier: MIT
 *
 * proxy_protocol.c: headers of both versions, at every split, and what is none. */
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proxy_protocol.h"
#include "exact.h"

#define COUNT(a)       (sizeof(a) / sizeof(a)[0])
#define BYTES(literal) literal, sizeof(literal) - 1
#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"

static int parse(struct proxy_protocol *p, const void *data, size_t len)
{
    uint8_t *copy = exact_copy(data, len);
    int result = proxy_protocol_parse(p, copy, len);

    free(copy);
    return result;
}

/* Parse it byte by byte: it needs more until it has a result, which more bytes do not change. */
static int parse_at_every_split(struct proxy_protocol *p, const void *data, size_t len)
{
    int result = 0;

    for (size_t n = 0; n <= len; n++) {
        int now = parse(p, data, n);

        if (result != 0 && now != result)
            fail_msg("%zu bytes: %d, and then %d", n, result, now);
        result = now;
        if (n < len && result > 0 && (size_t)result > n)
            fail_msg("%d of %zu bytes", result, n);
    }
    return result;
}

static const char *client(const struct proxy_protocol *p)
{
    static char text[80];
    char host[INET6_ADDRSTRLEN];

    if (p->client.len == 0)
        return "none";
    inet_ntop(p->client.len == 4 ? AF_INET : AF_INET6, p->client.bytes, host, sizeof host);
    snprintf(text, sizeof text, "%s %u", host, p->client.port);
    return text;
}

static void lines_of_version_1_are_read(void **state)
{
    static const char *const pairs[][2] = {
        {"PROXY TCP4 192.0.2.1 203.0.113.2 56324 443\r\n", "192.0.2.1 56324"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 65535"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0 0"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1 1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.2 5 6\r\n", "192.0.2.1 5"},
        {"PROXY UNKNOWN\r\n", "none"},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", /* 107 bytes */
         "none"},
        {"PROXY UNKNOWN whatever /\r\n", "none"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct proxy_protocol p = {.skip = 99};
        size_t len = strlen(pairs[i][0]);

        if (parse_at_every_split(&p, pairs[i][0], len) != (int)len)
            fail_msg("%s: not read", pairs[i][0]);
        assert_string_equal(client(&p), pairs[i][1]);
        assert_int_equal(p.skip, 0);
    }
}

static void lines_that_are_none_are_refused(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "proxy TCP4 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY\tTCP4 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY TCP4  192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY TCP5 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY tcp4 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY UDP4 192.0.2.1 203.0.113.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 56324 443 5\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 56324\r\n",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 0443 443\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 1 \r\n",
        "PROXY TCP4 192.0.2 203.0.113.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1:5 203.0.113.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1/8 203.0.113.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 203.0.113.2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 1 2\n",
        "PROXY TCP4 192.0.2.1 203.0.113.2 1 2\rx",
        "PROXY UNKNOWN \x01\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN \xc3\xa9\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct proxy_protocol p;

        if (parse_at_every_split(&p, lines[i], strlen(lines[i])) != -400)
            fail_msg("%s: not refused", lines[i]);
    }
}

/* §2.1: 107 bytes with CRLF. One more, and no peer can make the server wait for the rest. */
static void a_line_of_version_1_ends_within_107_bytes(void **state)
{
    char line[200];
    struct proxy_protocol p;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(&p, line, 105), PROXY_PROTOCOL_NEED_MORE);
    assert_int_equal(parse(&p, line, 106), -400);
    assert_int_equal(parse(&p, line, 107), -400);
    line[105] = '\r';
    assert_int_equal(parse(&p, line, 106), PROXY_PROTOCOL_NEED_MORE);
    line[106] = '\n';
    assert_int_equal(parse(&p, line, 107), 107);
    assert_int_equal(parse(&p, line, sizeof line), 107);
}

struct binary {
    const char *label;
    const char *bytes;
    size_t len;
    int consumed;
    uint32_t skip;
    const char *client;
};

#define IPV4 "\xc0\0\2\1\xcb\0\x71\2\x12\x34\1\xbb"
#define IPV6                                                                                       \
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"                                                       \
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x12\x34\1\xbb"
#define MAPPED                                                                                     \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"                                                       \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\2\x12\x34\1\xbb"

static void headers_of_version_2_are_read(void **state)
{
    static const struct binary rows[] = {
        {"IPv4", BYTES(SIGNATURE "\x21\x11\0\x0c" IPV4), 28, 0, "192.0.2.1 4660"},
        {"IPv6", BYTES(SIGNATURE "\x21\x21\0\x24" IPV6), 52, 0, "2001:db8::1 4660"},
        {"mapped", BYTES(SIGNATURE "\x21\x21\0\x24" MAPPED), 52, 0, "192.0.2.1 4660"},
        {"IPv4 with TLVs", BYTES(SIGNATURE "\x21\x11\0\x10" IPV4 "\4\0\1\0"), 28, 4,
         "192.0.2.1 4660"},
        {"TLVs of 64 KiB", BYTES(SIGNATURE "\x21\x11\xff\xff" IPV4), 28, 65535 - 12,
         "192.0.2.1 4660"},
        {"LOCAL", BYTES(SIGNATURE "\x20\0\0\0"), 16, 0, "none"},
        {"LOCAL with addresses", BYTES(SIGNATURE "\x20\x11\0\x0c"), 16, 12, "none"},
        {"LOCAL of no family that is assigned", BYTES(SIGNATURE "\x20\xff\0\5"), 16, 5, "none"},
        {"AF_UNSPEC", BYTES(SIGNATURE "\x21\0\0\0"), 16, 0, "none"},
        {"AF_UNSPEC with TLVs", BYTES(SIGNATURE "\x21\0\1\2"), 16, 258, "none"},
        {"UDP", BYTES(SIGNATURE "\x21\x12\0\x0c"), 16, 12, "none"},
        {"AF_UNIX", BYTES(SIGNATURE "\x21\x31\0\xd8"), 16, 216, "none"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_protocol p;
        int result = parse_at_every_split(&p, rows[i].bytes, rows[i].len);

        if (result != rows[i].consumed || p.skip != rows[i].skip ||
            strcmp(client(&p), rows[i].client) != 0)
            fail_msg("%s: %d, skip %u, %s", rows[i].label, result, p.skip, client(&p));
    }
}

static void headers_that_are_none_are_refused(void **state)
{
    static const struct binary rows[] = {
        {.label = "another signature", BYTES("\r\n\r\n\0\r\nQUIX")},
        {.label = "version 1 in binary", BYTES(SIGNATURE "\x11\x11\0\x0c")},
        {.label = "version 3", BYTES(SIGNATURE "\x31\x11\0\x0c")},
        {.label = "an unknown command", BYTES(SIGNATURE "\x22\x11\0\x0c")},
        {.label = "family 4", BYTES(SIGNATURE "\x21\x41\0\x0c")},
        {.label = "transport 3", BYTES(SIGNATURE "\x21\x13\0\x0c")},
        {.label = "IPv4 over nothing", BYTES(SIGNATURE "\x21\x10\0\x0c")},
        {.label = "nothing over TCP", BYTES(SIGNATURE "\x21\1\0\x0c")},
        {.label = "too short for IPv4", BYTES(SIGNATURE "\x21\x11\0\x0b" IPV4)},
        {.label = "too short for IPv6", BYTES(SIGNATURE "\x21\x21\0\x23" IPV6)},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proxy_protocol p;

        if (parse_at_every_split(&p, rows[i].bytes, rows[i].len) != -400)
            fail_msg("%s: not refused", rows[i].label);
    }
}

static void what_is_written_names_the_same_client(void **state)
{
    static const char *const clients[] = {"192.0.2.1 56324", "2001:db8::1 65535", "none"};
    struct address a[3] = {
        {{192, 0, 2, 1}, 4, 56324}, {{0x20, 1, 0xd, 0xb8, [15] = 1}, 16, 65535}, {{0}, 0, 0}};
    static const size_t lengths[] = {28, 52, 16};
    (void)state;

    for (size_t i = 0; i < COUNT(clients); i++) {
        uint8_t out[PROXY_PROTOCOL_WRITTEN_MAX];
        size_t len = proxy_protocol_write(out, &a[i]);
        struct proxy_protocol p;

        assert_int_equal(len, lengths[i]);
        assert_int_equal(parse_at_every_split(&p, out, len), len);
        assert_int_equal(p.skip, 0);
        assert_string_equal(client(&p), clients[i]);
    }
}

#include "tests/test_proxy_protocol.list"

int main(void)
{
    return cmocka_run_group_tests_name("proxy_protocol", tests, NULL, NULL);
}
