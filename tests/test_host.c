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

static const struct rate_limit limit = {.per_second = 10, .burst = 50};

/* A host that somebody was on, who made `handshakes` of them at 1000 ms. */
static void visit(struct fixture *f, uint64_t key, int handshakes)
{
    struct host *h = host_get(&f->hosts, key);

    assert_non_null(h);
    for (int i = 0; i < handshakes; i++)
        assert_true(rate_take(&h->handshakes, &limit, 1000));
    host_release(&f->hosts, h);
}

static void a_host_is_remembered_until_its_bucket_is_full(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    visit(&f, 1, 10);
    visit(&f, 2, 1);
    visit(&f, 3, 0);
    assert_int_equal(f.hosts.table.count, 2);
    visit(&f, 1, 40); /* the same bucket */
    host_table_sweep(&f.hosts, 1099);
    assert_int_equal(f.hosts.recent_count, 2);
    host_table_sweep(&f.hosts, 1100);
    assert_int_equal(f.hosts.recent_count, 1);
    host_table_sweep(&f.hosts, 5999);
    assert_int_equal(f.hosts.recent_count, 1);
    host_table_sweep(&f.hosts, 6000);
    assert_int_equal(f.hosts.recent_count, 0);
    visit(&f, 1, 50);
    visit(&f, 2, 50);
    visit(&f, 3, 50);
    visit(&f, 2, 0);
    host_release(&f.hosts, host_get(&f.hosts, 3));
    host_table_sweep(&f.hosts, 100000);
    teardown(&f);
}

static void a_host_that_is_kept_is_not_forgotten(void **state)
{
    struct fixture f;
    struct host *h;

    (void)state;
    setup(&f);
    visit(&f, 1, 50);
    h = host_get(&f.hosts, 1);
    host_table_sweep(&f.hosts, 100000);
    assert_int_equal(f.hosts.table.count, 1);
    assert_false(rate_take(&h->handshakes, &limit, 1000));
    host_release(&f.hosts, h);
    host_table_sweep(&f.hosts, 100000);
    teardown(&f);
}

static void hosts_without_end_push_out_the_oldest(void **state)
{
    struct fixture f;
    struct host *h;

    (void)state;
    setup(&f);
    for (uint64_t key = 1; key <= 3 * HOST_RECENT_MAX; key++)
        visit(&f, key << 32, 50);
    assert_int_equal(f.hosts.recent_count, HOST_RECENT_MAX);
    assert_int_equal(f.hosts.table.count, HOST_RECENT_MAX);
    h = host_get(&f.hosts, (uint64_t)3 * HOST_RECENT_MAX << 32); /* the last one is known */
    assert_false(rate_take(&h->handshakes, &limit, 1000));
    host_release(&f.hosts, h);
    host_table_release(&f.hosts); /* with all that are recent */
    assert_int_equal(f.hosts.recent_count, 0);
    teardown(&f);
}

static void loopback_is_known_by_its_key(void **state)
{
    static const uint8_t v4[4] = {127, 9, 8, 7}, v6[16] = {[15] = 1}, other[4] = {128, 0, 0, 1};
    static const uint8_t lookalike[16] = {0x7f};

    (void)state;
    assert_true(host_is_loopback(&(struct host){.key = host_key(v4, 4)}));
    assert_true(host_is_loopback(&(struct host){.key = host_key(v6, 16)}));
    assert_false(host_is_loopback(&(struct host){.key = host_key(other, 4)}));
    assert_false(host_is_loopback(&(struct host){.key = host_key(lookalike, 16)}));
}

#include "tests/test_host.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
