/* SPDX-License-Identifier: MIT
 *
 * http_host.c: the names that a server answers to, and those that attackers point at it. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "../http_host.h"
#include "exact.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static bool is_local(const char *host)
{
    size_t len = strlen(host);
    char *copy = exact_copy(host, len);
    bool result = http_host_is_local((struct ws_str){copy, len});

    free(copy);
    return result;
}

static void names_of_this_machine_are_local(void **state)
{
    static const char *const hosts[] = {
        "localhost",         "LOCALHOST",         "localhost:8080",  "localhost.",
        "localhost.:80",     "app.localhost",     "a.b.localhost:1", "a.Localhost.",
        "127.0.0.1",         "127.0.0.1:9000",    "127.255.0.9",     "[::1]",
        "[::1]:8080",        "[0:0:0:0:0:0:0:1]", "127.0.0.1.",      "[::ffff:127.0.0.1]:3",
        "[::ffff:7f00:0001]"};

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++)
        if (!is_local(hosts[i]))
            fail_msg("%s is local", hosts[i]);
}

static void names_that_only_look_so_are_not(void **state)
{
    static const char *const hosts[] = {"",
                                        "example.org",
                                        "localhost.example.org",
                                        "127.0.0.1.example.org",
                                        "127.0.0.1.nip.io",
                                        "notlocalhost",
                                        "local",
                                        ".localhost",
                                        "localhost..",
                                        "localhos",
                                        "128.0.0.1",
                                        "0.0.0.0",
                                        "127.1",
                                        "0127.0.0.1",
                                        "0x7f000001",
                                        "2130706433",
                                        "[::]",
                                        "[::2]",
                                        "[2001:db8::1]",
                                        "::1",
                                        "10.0.0.1"};

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++)
        if (is_local(hosts[i]))
            fail_msg("%s is not local", hosts[i]);
    assert_false(http_host_is_local((struct ws_str){NULL, 0}));
}

static void a_list_has_names_with_any_port_case_and_dot(void **state)
{
    static const char *const hosts[] = {"Example.org", "*.example.net.", "192.0.2.1",
                                        "[2001:db8::1]", NULL};
    static const char *const in[] = {"example.org",     "EXAMPLE.ORG:443",      "example.org.:80",
                                     "a.example.net",   "a.b.Example.net:8080", "192.0.2.1:80",
                                     "[2001:DB8:0::1]", "[2001:db8::1]:80"};
    static const char *const out[] = {
        "",          "a.example.org", "example.net",  "example.org.evil",
        "192.0.2.2", "[2001:db8::2]", "example.orgx", "xexample.net",
        "localhost", "evil"};

    (void)state;
    for (size_t i = 0; i < COUNT(in); i++)
        if (!http_host_is_listed(ws_str(in[i]), hosts))
            fail_msg("%s is on the list", in[i]);
    for (size_t i = 0; i < COUNT(out); i++)
        if (http_host_is_listed(ws_str(out[i]), hosts))
            fail_msg("%s is not on the list", out[i]);
}

static void a_star_is_any_and_no_list_is_none(void **state)
{
    static const char *const any[] = {"a", "*", NULL};
    static const char *const none[] = {NULL};

    (void)state;
    assert_true(http_host_is_listed(ws_str("example.org:80"), any));
    assert_false(http_host_is_listed(ws_str("example.org"), none));
    assert_false(http_host_is_listed(ws_str("example.org"), NULL));
}

static void items_that_match_no_host_have_a_fault(void **state)
{
    static const char *const good[] = {"*",          "example.org", "example.org.", "*.example.org",
                                       "192.0.2.1",  "[::1]",       "xn--nxasmq6b", "a_b",
                                       "*.localhost"};
    static const char *const bad[] = {"",
                                      "*.",
                                      "**",
                                      "a.*",
                                      "*.*.org",
                                      "http://example.org",
                                      "example.org:80",
                                      "192.0.2.1:80",
                                      "[::1]:80",
                                      "::1",
                                      "2001:db8::1",
                                      "[1]",
                                      "*.[::1]",
                                      "[::1",
                                      "example.org/",
                                      "a b",
                                      "a,b",
                                      "b\xc3\xbc.de",
                                      "user@a"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        const char *const list[] = {good[i], NULL};

        if (http_host_fault(ws_str(good[i])) != NULL)
            fail_msg("%s: %s", good[i], http_host_fault(ws_str(good[i])));
        assert_true(good[i][0] == '*' || http_host_is_listed(ws_str(good[i]), list));
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_host_fault(ws_str(bad[i])) == NULL)
            fail_msg("%s has no fault", bad[i]);
}

#include "tests/test_http_host.list"

int main(void)
{
    return cmocka_run_group_tests_name("http_host", tests, NULL, NULL);
}
