/* SPDX-License-Identifier: MIT
 *
 * address.c: what is an address and what is none, and which range it is in. The resolver of the
 * system is the judge where it knows the form. */
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "../address.h"
#include "exact.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Parse `text` in an allocation of exactly its size. */
static bool parse(struct address *a, const char *text)
{
    size_t len = strlen(text);
    char *copy = exact_copy(text, len);
    bool result = address_parse(a, (struct ws_str){copy, len});

    free(copy);
    return result;
}

/* The address as inet_ntop() writes it, and the port. */
static const char *written(const struct address *a)
{
    static char text[80];
    char host[INET6_ADDRSTRLEN];

    inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->bytes, host, sizeof host);
    snprintf(text, sizeof text, "%s %u", host, a->port);
    return text;
}

static void addresses_are_read_in_every_form_that_proxies_write(void **state)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1", "192.0.2.1 0"},
        {"0.0.0.0", "0.0.0.0 0"},
        {"255.255.255.255:65535", "255.255.255.255 65535"},
        {"192.0.2.1:80", "192.0.2.1 80"},
        {"::", ":: 0"},
        {"::1", "::1 0"},
        {"[::1]", "::1 0"},
        {"[2001:DB8::1]:443", "2001:db8::1 443"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6 0"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0 0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8 0"},
        {"1::8", "1::8 0"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221 0"},
        {"fe80::1%eth0", "fe80::1 0"},
        {"[fe80::1%25]:7", "fe80::1 7"},
        {"::ffff:192.0.2.1", "192.0.2.1 0"}, /* mapped */
        {"[::ffff:c000:201]:5", "192.0.2.1 5"},
    };
    struct address a;

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        if (!parse(&a, pairs[i][0]))
            fail_msg("%s: not read", pairs[i][0]);
        assert_string_equal(written(&a), pairs[i][1]);
    }
}

static const char *const no_addresses[] = {
    "",
    " ",
    "unknown",
    "_hidden",
    "localhost",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.04",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4:",
    "1.2.3.4:65536",
    "1.2.3.4:080",
    "1.2.3.4:-1",
    "1.2.3.4:+1",
    "1..3.4",
    ".1.2.3",
    "1.2.3.",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "1.2.3.4%eth0",
    "1.2.3.4/8",
    ":",
    ":::",
    "1:",
    ":1",
    "1:2",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "12345::",
    "g::",
    "::1.2.3",
    "::1.2.3.4.5",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "[",
    "[]",
    "[::1",
    "::1]",
    "[::1]]",
    "[[::1]]",
    "[::1]80",
    "[::1]:",
    "[::1]:65536",
    "[1.2.3.4]",
    "[::1]:80:",
    "fe80::1%",
    "fe80::1%a b",
    "fe80::1%a:1",
    "[fe80::1%]]",
    "::1%eth0%eth1",
};

static void all_else_is_no_address(void **state)
{
    struct address a = {.len = 99};

    (void)state;
    for (size_t i = 0; i < COUNT(no_addresses); i++) {
        if (parse(&a, no_addresses[i]))
            fail_msg("%s: read as %s", no_addresses[i], written(&a));
        assert_int_equal(a.len, 99);
    }
    assert_false(address_parse(&a, (struct ws_str){NULL, 0}));
}

/* Of every text of these characters up to 6 long the system says the same. */
static void short_texts_are_judged_as_by_the_system(void **state)
{
    static const char alphabet[] = "0:1.f%";
    char text[7];

    (void)state;
    for (unsigned n = 0; n < 6 * 6 * 6 * 6 * 6 * 6; n++) {
        uint8_t v4[4], v6[16];
        struct address a;
        size_t len = 0;
        bool known;

        for (unsigned rest = n; len < 6; rest /= 6)
            text[len++] = alphabet[rest % 6];
        text[1 + n % 6] = '\0';
        known = inet_pton(AF_INET, text, v4) == 1 || inet_pton(AF_INET6, text, v6) == 1;
        if (known && !parse(&a, text))
            fail_msg("%s: not read", text);
        if (!known && strchr(text, '%') == NULL && parse(&a, text))
            fail_msg("%s: read as %s", text, written(&a));
    }
}

static bool range_has(const char *range, const char *address)
{
    struct address_range r;
    struct address a;

    if (!address_range_parse(&r, ws_str(range)))
        fail_msg("%s: not read", range);
    assert_true(parse(&a, address));
    return address_is_in(&a, &r);
}

static void a_range_has_what_begins_with_its_bits(void **state)
{
    (void)state;
    assert_true(range_has("10.0.0.0/8", "10.255.0.1:5"));
    assert_false(range_has("10.0.0.0/8", "11.0.0.1"));
    assert_true(range_has("10.9.9.9/8", "10.1.1.1")); /* bits behind the prefix do not count */
    assert_true(range_has("192.0.2.128/25", "192.0.2.200"));
    assert_false(range_has("192.0.2.128/25", "192.0.2.100"));
    assert_true(range_has("192.0.2.254/31", "192.0.2.255"));
    assert_false(range_has("192.0.2.254/31", "192.0.2.253"));
    assert_true(range_has("192.0.2.1", "192.0.2.1"));
    assert_false(range_has("192.0.2.1/32", "192.0.2.2"));
    assert_true(range_has("0.0.0.0/0", "255.255.255.255"));
    assert_false(range_has("0.0.0.0/0", "::1")); /* the other family */
    assert_true(range_has("::/0", "2001:db8::"));
    assert_false(range_has("::/0", "1.2.3.4"));
    assert_true(range_has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(range_has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(range_has("::1", "[::1]:80"));
    assert_true(range_has("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(range_has("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_false(range_has("::ffff:10.0.0.0/104", "11.1.2.3"));
    assert_false(range_has("::ffff:10.0.0.1", "10.0.0.2"));
}

static void a_range_that_is_none_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/8 ",
        "10/8",
        "10.0.0.1:80",
        "[::1]",
        "[::1]/128",
        "::1/129",
        "fe80::1%eth0",
        "unix",
        "localhost",
        "::ffff:10.0.0.0/95",
        "::ffff:10.0.0.0/129",
        "0.0.0.0/4294967296",
    };
    struct address_range r;

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (address_range_parse(&r, ws_str(texts[i])))
            fail_msg("%s: read", texts[i]);
}

static void loopback_is_a_whole_network_in_ipv4_and_one_address_in_ipv6(void **state)
{
    struct address a;

    (void)state;
    assert_true(parse(&a, "127.0.0.1") && address_is_loopback(&a));
    assert_true(parse(&a, "127.255.255.255:1") && address_is_loopback(&a));
    assert_true(parse(&a, "::1") && address_is_loopback(&a));
    assert_true(parse(&a, "::ffff:127.0.0.1") && address_is_loopback(&a));
    assert_true(parse(&a, "128.0.0.1") && !address_is_loopback(&a));
    assert_true(parse(&a, "::2") && !address_is_loopback(&a));
    assert_true(parse(&a, "7f00::1") && !address_is_loopback(&a));
    assert_false(address_is_loopback(&(struct address){0}));
}

static void addresses_are_the_same_whatever_their_ports(void **state)
{
    struct address a, b;

    (void)state;
    assert_true(parse(&a, "1.2.3.4:5") && parse(&b, "1.2.3.4:6") && address_is_same(&a, &b));
    assert_true(parse(&b, "1.2.3.5:5") && !address_is_same(&a, &b));
    assert_true(parse(&b, "102:304::") && !address_is_same(&a, &b));
}

#include "tests/test_address.list"

int main(void)
{
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
