/* SPDX-License-Identifier: MIT
 *
 * Sessions by host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../eio_census.h"

static void address_without_its_port_is_the_host(void **state)
{
    static const struct {
        const char *address;
        uint64_t key;
    } cases[] = {
        {"127.0.0.1:80", 0x7f000001},
        {"255.255.255.255:65535", 0xffffffff},
        {"0.0.0.0:0", 0},
        {"[2001:db8:1:2:3:4:5:6]:80", 0x20010db800010002},
        {"[2001:db8:1:2::]:443", 0x20010db800010002},
        {"[::ffff:10.0.0.1]:80", 0x0a000001},
        {"[::1]:80", 0},
    };
    uint64_t key;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(eio_host_key(cases[i].address, &key));
        assert_true(key == cases[i].key);
    }
}

static void what_is_no_address_has_no_host(void **state)
{
    static const char *const bad[] = {"unix",   "gone",         "",         ":80",
                                      "[]:80",  "[::1",         "1.2.3:80", "[1.2.3.4]:80",
                                      "::1:80", "[2001:db8:]:1"};
    uint64_t key;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(eio_host_key(bad[i], &key));
}

static void host_may_have_so_many_and_no_more(void **state)
{
    struct eio_census c = {0};
    struct eio_host *a = eio_census_add(&c, 1, 2);
    struct eio_host *other = eio_census_add(&c, 2, 2);
    (void)state;

    assert_non_null(a);
    assert_non_null(other);
    assert_ptr_equal(eio_census_add(&c, 1, 2), a);
    assert_null(eio_census_add(&c, 1, 2));
    eio_census_remove(&c, a);
    assert_ptr_equal(eio_census_add(&c, 1, 2), a);
    assert_null(eio_census_add(&c, 1, 2));
    eio_census_remove(&c, NULL);
    eio_census_release(&c);
    eio_census_release(&c);
}

static void host_without_sessions_is_forgotten(void **state)
{
    enum { HOSTS = 1000 };
    struct eio_census c = {.hosts.key = "12345"};
    struct eio_host *hosts[HOSTS];
    (void)state;

    assert_null(eio_census_add(&c, 7, 0));
    for (uint64_t i = 0; i < HOSTS; i++) {
        hosts[i] = eio_census_add(&c, i << 32, 1);
        assert_non_null(hosts[i]);
    }
    for (uint64_t i = 0; i < HOSTS; i++)
        assert_null(eio_census_add(&c, i << 32, 1));
    assert_int_equal(c.hosts.count, HOSTS);
    for (size_t i = 0; i < HOSTS; i++)
        eio_census_remove(&c, hosts[i]);
    assert_int_equal(c.hosts.count, 0);
    eio_census_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_without_its_port_is_the_host),
        cmocka_unit_test(what_is_no_address_has_no_host),
        cmocka_unit_test(host_may_have_so_many_and_no_more),
        cmocka_unit_test(host_without_sessions_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
