/* SPDX-License-Identifier: MIT
 *
 * Sessions by host. */
#include "../../tests/unit.h"

#include "../eio_host_sessions.h"
#include "counted.h"

static void begin(struct eio_host_sessions *t, struct counted *counted)
{
    counted_begin(counted, 0);
    name_table_init(&t->hosts, counted->account, (const uint8_t *)"a secret of ours");
}

static void host_may_have_so_many_and_no_more(void **state)
{
    struct counted counted;
    struct eio_host_sessions t;
    struct eio_host *a, *other;

    (void)state;
    begin(&t, &counted);
    a = eio_host_sessions_add(&t, 1, 2);
    other = eio_host_sessions_add(&t, 2, 2);
    assert_non_null(a);
    assert_non_null(other);
    assert_ptr_equal(eio_host_sessions_add(&t, 1, 2), a);
    assert_null(eio_host_sessions_add(&t, 1, 2));
    eio_host_sessions_remove(&t, a);
    assert_ptr_equal(eio_host_sessions_add(&t, 1, 2), a);
    assert_null(eio_host_sessions_add(&t, 1, 2));
    eio_host_sessions_remove(&t, NULL);
    eio_host_sessions_release(&t);
    eio_host_sessions_release(&t);
    counted_end(&counted);
}

static void host_without_sessions_is_forgotten(void **state)
{
    enum { HOSTS = 1000 };
    struct counted counted;
    struct eio_host_sessions t;
    struct eio_host *hosts[HOSTS];

    (void)state;
    begin(&t, &counted);
    assert_null(eio_host_sessions_add(&t, 7, 0));
    for (uint64_t i = 0; i < HOSTS; i++) {
        hosts[i] = eio_host_sessions_add(&t, i << 32, 1);
        assert_non_null(hosts[i]);
    }
    for (uint64_t i = 0; i < HOSTS; i++)
        assert_null(eio_host_sessions_add(&t, i << 32, 1));
    assert_int_equal(t.hosts.count, HOSTS);
    for (size_t i = 0; i < HOSTS; i++)
        eio_host_sessions_remove(&t, hosts[i]);
    assert_int_equal(t.hosts.count, 0);
    eio_host_sessions_release(&t);
    counted_end(&counted);
}

#include "socketio/tests/test_eio_host_sessions.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
