/* SPDX-License-Identifier: MIT
 *
 * Unit tests of redis_url.c. */
#include "tests/unit.h"

#include <string.h>

#include "../redis_url.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void urls_say_where_and_how_to_log_in(void **state)
{
    static const struct {
        const char *text, *host, *path, *user, *password, *shown;
        uint16_t port;
    } cases[] = {
        {"redis://127.0.0.1", "127.0.0.1", "", "", "", "127.0.0.1:6379", 6379},
        {"REDIS://redis.example.org:6380", "redis.example.org", "", "", "",
         "redis.example.org:6380", 6380},
        {"redis://host/", "host", "", "", "", "host:6379", 6379},
        {"redis://host:1/15", "host", "", "", "", "host:1", 1},
        {"redis://[::1]:65535", "::1", "", "", "", "[::1]:65535", 65535},
        {"redis://[2001:db8::1]", "2001:db8::1", "", "", "", "[2001:db8::1]:6379", 6379},
        {"redis://:secret@host", "host", "", "default", "secret", "host:6379", 6379},
        {"redis://me:secret@host:7/0", "host", "", "me", "secret", "host:7", 7},
        {"redis://me:@host", "host", "", "me", "", "host:6379", 6379},
        {"redis://a%3Ab:%40%2f%25c@host", "host", "", "a:b", "@/%c", "host:6379", 6379},
        {"redis://u:p@ss:w@host", "host", "", "u", "p@ss:w", "host:6379", 6379},
        {"redis+unix:///run/redis.sock", "", "/run/redis.sock", "", "", "unix:/run/redis.sock", 0},
        {"redis+unix://:s%20t@/tmp/a%20b", "", "/tmp/a b", "default", "s t", "unix:/tmp/a b", 0},
        {"redis+unix://here.sock", "", "here.sock", "", "", "unix:here.sock", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis_url url;
        const char *fault = redis_url_parse(&url, cases[i].text);

        if (fault != NULL)
            print_error("ERROR: %s: %s\n", cases[i].text, fault);
        assert_null(fault);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.path, cases[i].path);
        assert_string_equal(url.user, cases[i].user);
        assert_string_equal(url.password, cases[i].password);
        assert_string_equal(url.shown, cases[i].shown);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.has_login, cases[i].user[0] != '\0');
    }
}

static void what_is_no_url_is_refused_with_a_reason(void **state)
{
    static const char *const cases[][2] = {
        {"", "redis://"},
        {"localhost:6379", "redis://"},
        {"http://host", "redis://"},
        {"redis:/host", "redis://"},
        {"rediss://host", "TLS"},
        {"redis://", "no host"},
        {"redis:///0", "no host"},
        {"redis://:6379", "no host"},
        {"redis://user@host", ":PASSWORD@"},
        {"redis://host:", "port"},
        {"redis://host:0", "port"},
        {"redis://host:65536", "port"},
        {"redis://host:99999999999999999999", "port"},
        {"redis://host:6379a", "port"},
        {"redis://host/x", "database"},
        {"redis://host/-1", "database"},
        {"redis://host?a=b", "database"},
        {"redis://host/1?a=b", "database"},
        {"redis://ho st", "characters"},
        {"redis://ho%41st", "characters"},
        {"redis://[::1", "]"},
        {"redis://[]", "no host"},
        {"redis://[host]", "IPv6"},
        {"redis://[::1]6379", "port"},
        {"redis://:%zz@host", "%"},
        {"redis://:%4@host", "%"},
        {"redis://:%00@host", "%"},
        {"redis://" A64 A64 A64 A64, "too long"},
        {"redis://:" A64 A64 A64 A64 A64 A64 A64 A64 "@host", "too long"},
        {"redis+unix://", "no path"},
        {"redis+unix:///tmp/" A64 A64, "too long"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct redis_url url;
        const char *fault = redis_url_parse(&url, cases[i][0]);

        if (fault == NULL || strstr(fault, cases[i][1]) == NULL)
            print_error("ERROR: '%s': %s\n", cases[i][0], fault == NULL ? "no fault" : fault);
        assert_true(fault != NULL && strstr(fault, cases[i][1]) != NULL);
    }
}

/* The log must not have the password, also where the URL has a fault. */
static void what_is_shown_has_no_login(void **state)
{
    (void)state;
    assert_string_equal(redis_url_shown("redis://u:secret@host:x/1"), "host:x/1");
    assert_string_equal(redis_url_shown("redis://secret@host"), "host");
    assert_string_equal(redis_url_shown("redis://a@b:secret@host"), "host");
    assert_string_equal(redis_url_shown("host:6379"), "host:6379");
    assert_string_equal(redis_url_shown("u:secret@host"), "host");
    assert_string_equal(redis_url_shown("redis+unix://:secret@/run/redis"), "/run/redis");
    assert_string_equal(redis_url_shown("redis://:sec/ret@host:x"), "host:x");
    assert_string_equal(redis_url_shown("redis://:sec?#/@ret@host:x"), "host:x");
    assert_string_equal(redis_url_shown("redis+unix://:secret@/run/a@b"), "b");
}

#include "cluster/tests/test_redis_url.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
