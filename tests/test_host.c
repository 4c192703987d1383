/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "host.h"
#include "oom.h"

struct fixture {
    struct budget budget;
    struct host_table hosts;
};

static void setup(struct fixture *f)
{
    budget_init(&f->budget, 1 << 20);
    host_table_init(&f->hosts, &f->budget.all, (const uint8_t *)"a secret of ours");
}

static void teardown(struct fixture *f)
{
    assert_int_equal(f->hosts.table.count, 0);
    host_table_release(&f->hosts);
    assert_int_equal(f->budget.all.used, 0);
    budget_release(&f->budget);
}

static void an_address_or_its_prefix_is_the_host(void **state)
{
    static const uint8_t v4[4] = {127, 0, 0, 1}, broadcast[4] = {255, 255, 255, 255};
    static const uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6};
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};
    static const uint8_t loopback[16] = {[15] = 1};

    (void)state;
    assert_int_equal(host_key(v4, 4), 0x7f000001);
    assert_int_equal(host_key(broadcast, 4), 0xffffffff);
    assert_int_equal(host_key(v6, 16), 0x20010db800010002);
    assert_int_equal(host_key(mapped, 16), 0x0a000001);
    assert_int_equal(host_key(loopback, 16), 0);
}

static void a_host_is_one_while_somebody_keeps_it(void **state)
{
    struct fixture f;
    struct host *a, *b;

    (void)state;
    setup(&f);
    a = host_get(&f.hosts, 7);
    b = host_get(&f.hosts, 8);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(host_get(&f.hosts, 7), a);
    assert_ptr_equal(host_keep(a), a);
    assert_null(host_keep(NULL));
    assert_int_equal(f.hosts.table.count, 2);
    host_release(&f.hosts, b);
    host_release(&f.hosts, a);
    host_release(&f.hosts, a);
    assert_int_equal(f.hosts.table.count, 1);
    host_release(&f.hosts, a);
    host_release(&f.hosts, NULL);
    teardown(&f);
}

static void what_is_held_for_a_host_counts_in_the_budget(void **state)
{
    struct fixture f;
    struct host *h;
    size_t before;

    (void)state;
    setup(&f);
    h = host_get(&f.hosts, 1);
    before = f.budget.all.used;
    assert_true(account_take(&h->account, 1000, ACCOUNT_ORDINARY));
    assert_int_equal(f.budget.all.used, before + 1000);
    account_give(&h->account, 1000);
    host_release(&f.hosts, h);
    teardown(&f);
}

static void out_of_memory_leaves_no_host_behind(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    for (long n = 0; n < 2; n++) {
        oom_after(n);
        assert_null(host_get(&f.hosts, 1));
        oom_after(-1);
        assert_int_equal(f.hosts.table.count, 0);
    }
    teardown(&f);
}

#include "tests/test_host.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
