/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "account.h"
#include "block.h"
#include "oom.h"

enum { KIB = 1024, MIB = 1024 * KIB };

/* A host with an account, and a peer on it. */
struct peer {
    struct account host;
    struct account account;
};

static void on_host(struct peer *p, struct budget *b)
{
    p->host = (struct account){.above = &b->all};
    p->account = (struct account){.above = &p->host};
}

/* Take pieces of `n` bytes until there are no more; returns the bytes. */
static size_t take_all(struct account *a, size_t n, enum account_kind kind)
{
    size_t before = a->used;

    while (account_take(a, n, kind))
        continue;
    return a->used - before;
}

static void a_budget_gives_out_no_more_than_it_has(void **state)
{
    struct budget b;

    (void)state;
    budget_init(&b, 100);
    assert_true(account_take(&b.all, 60, ACCOUNT_ESSENTIAL));
    assert_false(account_take(&b.all, 41, ACCOUNT_ESSENTIAL));
    assert_false(account_take(&b.all, SIZE_MAX, ACCOUNT_ESSENTIAL));
    assert_int_equal(b.all.used, 60);
    assert_true(account_take(&b.all, 40, ACCOUNT_ESSENTIAL));
    assert_true(account_take(&b.all, 0, ACCOUNT_ESSENTIAL));
    assert_false(account_take(&b.all, 1, ACCOUNT_ESSENTIAL));
    account_give(&b.all, 100);
    assert_int_equal(b.all.used, 0);
}

static void the_reserve_is_for_what_is_essential(void **state)
{
    struct budget b;

    (void)state;
    budget_init(&b, 16 * MIB);
    assert_int_equal(take_all(&b.all, MIB, ACCOUNT_ORDINARY), 15 * MIB);
    assert_false(account_take(&b.all, 1, ACCOUNT_ORDINARY));
    assert_true(account_take(&b.all, MIB, ACCOUNT_ESSENTIAL));
    assert_false(account_take(&b.all, 1, ACCOUNT_ESSENTIAL));
}

/* One that holds much is not essential any more: it would use up the reserve. */
static void whoever_holds_much_gets_nothing_of_the_reserve(void **state)
{
    struct budget b;
    struct account small, large;

    (void)state;
    budget_init(&b, 16 * MIB);
    small = large = (struct account){.above = &b.all};
    assert_true(account_take(&large, ACCOUNT_ESSENTIAL_MAX, ACCOUNT_ORDINARY));
    assert_true(account_take(&b.all, 15 * MIB - b.all.used, ACCOUNT_ORDINARY));
    assert_false(account_take(&large, 1, ACCOUNT_ESSENTIAL));
    assert_true(account_take(&small, ACCOUNT_ESSENTIAL_MAX, ACCOUNT_ESSENTIAL));
    assert_false(account_take(&small, 1, ACCOUNT_ESSENTIAL));
}

static void what_is_held_counts_all_the_way_up(void **state)
{
    struct budget b;
    struct peer p, q;

    (void)state;
    budget_init(&b, MIB);
    on_host(&p, &b);
    on_host(&q, &b);
    q.account.above = &p.host; /* another connection of that host */
    assert_true(account_take(&p.account, 100, ACCOUNT_ORDINARY));
    assert_true(account_take(&q.account, 20, ACCOUNT_ORDINARY));
    assert_int_equal(p.account.used, 100);
    assert_int_equal(p.host.used, 120);
    assert_int_equal(b.all.used, 120);
    account_give(&p.account, 100);
    assert_int_equal(p.host.used, 20);
    assert_int_equal(b.all.used, 20);
}

/* Whatever one account holds, twice as much is left to all. */
static void an_account_holds_half_of_what_is_left(void **state)
{
    struct budget b;
    struct account a, c;

    (void)state;
    budget_init(&b, 16 * MIB);
    a = c = (struct account){.above = &b.all};
    assert_int_equal(take_all(&a, KIB, ACCOUNT_ORDINARY), 5 * MIB);
    assert_in_range(take_all(&c, KIB, ACCOUNT_ORDINARY), 10 * MIB / 3 - KIB, 10 * MIB / 3);
    assert_false(account_take(&a, 1, ACCOUNT_ORDINARY));
    account_give(&c, c.used);
    assert_false(account_take(&a, KIB, ACCOUNT_ORDINARY));
    account_give(&a, 2 * MIB);
    assert_true(account_take(&a, MIB, ACCOUNT_ORDINARY));
    assert_false(account_take(&a, SIZE_MAX, ACCOUNT_ORDINARY));
    assert_false(account_take(&a, SIZE_MAX - a.used + 1, ACCOUNT_ORDINARY));
}

/* Many connections of one host are one host. */
static void a_host_leaves_half_to_others(void **state)
{
    enum { CONNECTIONS = 1000 };
    static struct account connections[CONNECTIONS];
    struct budget b;
    struct peer p, other;

    (void)state;
    budget_init(&b, 16 * MIB);
    on_host(&p, &b);
    on_host(&other, &b);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        connections[i] = (struct account){.above = &p.host};
        take_all(&connections[i], 2 * KIB, ACCOUNT_ORDINARY);
    }
    assert_in_range(p.host.used, 15 * MIB / 2 - 4 * KIB, 15 * MIB / 2);
    assert_true(take_all(&other.account, KIB, ACCOUNT_ORDINARY) >= 15 * MIB / 6 - KIB);
    account_give(&other.account, other.account.used);
    for (size_t i = 0; i < CONNECTIONS; i++)
        take_all(&connections[i], 512, ACCOUNT_ESSENTIAL);
    assert_in_range(p.host.used, 15 * MIB / 2, 16 * MIB / 2);
    assert_true(account_take(&other.account, 16 * KIB, ACCOUNT_ESSENTIAL));
}

/* Each takes as much as it gets, and keeps it. */
static void a_newcomer_finds_room_behind_some_greedy_hosts(void **state)
{
    enum { HOSTS = 8 };
    struct peer hosts[HOSTS];
    struct budget b;
    struct peer newcomer;

    (void)state;
    budget_init(&b, 256 * MIB);
    for (size_t i = 0; i < HOSTS; i++) {
        struct account second;

        on_host(&hosts[i], &b);
        second = (struct account){.above = &hosts[i].host};
        take_all(&hosts[i].account, 4 * KIB, ACCOUNT_ORDINARY);
        take_all(&second, 4 * KIB, ACCOUNT_ORDINARY);
        take_all(&second, 512, ACCOUNT_ESSENTIAL);
    }
    on_host(&newcomer, &b);
    for (size_t i = 0; i < 40; i++)
        assert_true(account_take(&newcomer.account, 1000, ACCOUNT_ESSENTIAL));
    assert_true(b.all.used <= b.max);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void blocks_count_as_what_they_take(void **state)
{
    struct budget b;
    int error;
    void *small, *large;

    (void)state;
    budget_init(&b, MIB);
    small = account_new(&b.all, 100, ACCOUNT_ORDINARY, &error);
    large = account_new(&b.all, BLOCK_PAGE + 1, ACCOUNT_ORDINARY, &error);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal(b.all.used, block_size(100) + 2 * BLOCK_PAGE);
    small = account_resize(&b.all, small, 100, 3 * BLOCK_PAGE, ACCOUNT_ORDINARY, &error);
    assert_int_equal(b.all.used, 5 * BLOCK_PAGE);
    large = account_resize(&b.all, large, BLOCK_PAGE + 1, 10, ACCOUNT_ORDINARY, &error);
    assert_int_equal(b.all.used, 3 * BLOCK_PAGE + block_size(10));
    account_free(&b.all, small, 3 * BLOCK_PAGE);
    account_free(&b.all, large, 10);
    account_free(&b.all, NULL, 0);
    assert_int_equal(b.all.used, 0);
    budget_release(&b);
}

static void what_is_refused_changes_nothing(void **state)
{
    struct budget b;
    int error = 0;
    char *p;

    (void)state;
    budget_init(&b, 16 * BLOCK_PAGE);
    assert_null(account_new(&b.all, 16 * BLOCK_PAGE, ACCOUNT_ORDINARY, &error));
    assert_int_equal(error, ACCOUNT_FULL);
    p = account_new(&b.all, 10, ACCOUNT_ORDINARY, &error);
    memcpy(p, "unchanged", 10);
    assert_null(account_resize(&b.all, p, 10, 16 * BLOCK_PAGE, ACCOUNT_ORDINARY, &error));
    assert_int_equal(error, ACCOUNT_FULL);
    oom_after(0);
    assert_null(account_new(&b.all, 10, ACCOUNT_ORDINARY, &error));
    assert_int_equal(error, ACCOUNT_NOMEM);
    assert_null(account_resize(&b.all, p, 10, 1000, ACCOUNT_ORDINARY, &error));
    assert_int_equal(error, ACCOUNT_NOMEM);
    oom_after(-1);
    assert_string_equal(p, "unchanged");
    assert_int_equal(b.all.used, block_size(10));
    account_free(&b.all, p, 10);
    assert_int_equal(b.all.used, 0);
}

/* --- spares ----------------------------------------------------------------------------------- */

/* Make a spare of `pages`; returns where it lies. */
static void *make_spare(struct budget *b, size_t pages)
{
    int error;
    void *p = account_new(&b->all, pages * BLOCK_PAGE, ACCOUNT_ORDINARY, &error);

    assert_non_null(p);
    account_free(&b->all, p, pages * BLOCK_PAGE);
    return p;
}

static void a_freed_block_of_pages_serves_again(void **state)
{
    struct budget b;
    int error;
    size_t size = 0;
    void *spare, *p;

    (void)state;
    budget_init(&b, MIB);
    spare = make_spare(&b, 5);
    assert_int_equal(b.all.used, 0);
    assert_int_equal(b.spare_bytes, 5 * BLOCK_PAGE);
    assert_null(account_spare(&b.all, 100, MIB, ACCOUNT_ORDINARY, &size)); /* a waste */
    assert_null(account_spare(&b.all, 3 * BLOCK_PAGE, 4 * BLOCK_PAGE, ACCOUNT_ORDINARY, &size));
    p = account_spare(&b.all, 3 * BLOCK_PAGE, 6 * BLOCK_PAGE, ACCOUNT_ORDINARY, &size);
    assert_ptr_equal(p, spare);
    assert_int_equal(size, 5 * BLOCK_PAGE);
    assert_int_equal(b.all.used, 5 * BLOCK_PAGE);
    assert_int_equal(b.spare_bytes, 0);
    account_free(&b.all, p, size);
    p = account_new(&b.all, 4 * BLOCK_PAGE + 1, ACCOUNT_ORDINARY, &error); /* takes 5 pages */
    assert_ptr_equal(p, spare);
    account_free(&b.all, p, 4 * BLOCK_PAGE + 1);
    budget_release(&b);
    assert_int_equal(b.spare_bytes, 0);
}

/* A spare counts from when it is taken. */
static void a_spare_does_not_pass_the_budget(void **state)
{
    struct budget b;
    size_t size;

    (void)state;
    budget_init(&b, 16 * BLOCK_PAGE);
    make_spare(&b, 5);
    assert_true(account_take(&b.all, 11 * BLOCK_PAGE, ACCOUNT_ORDINARY));
    assert_null(account_spare(&b.all, 5 * BLOCK_PAGE, 5 * BLOCK_PAGE, ACCOUNT_ORDINARY, &size));
    assert_int_equal(b.spare_bytes, 5 * BLOCK_PAGE);
    assert_int_equal(b.all.used, 11 * BLOCK_PAGE);
    budget_release(&b);
}

/* Or a server that has given much back would hold more than its budget when others take it. */
static void spares_make_room_for_what_is_used(void **state)
{
    struct budget b;

    (void)state;
    budget_init(&b, 100 * BLOCK_PAGE);
    make_spare(&b, 40);
    make_spare(&b, 20);
    make_spare(&b, 3);
    assert_true(account_take(&b.all, 50 * BLOCK_PAGE, ACCOUNT_ORDINARY));
    assert_int_equal(b.spare_bytes, 23 * BLOCK_PAGE);
    assert_true(account_take(&b.all, 40 * BLOCK_PAGE, ACCOUNT_ORDINARY));
    assert_int_equal(b.spare_bytes, 3 * BLOCK_PAGE);
    budget_release(&b);
}

static void what_is_kept_has_a_limit(void **state)
{
    enum { BLOCKS = 40, SIZE = BUDGET_SPARE_TOTAL / 20 / BLOCK_PAGE * BLOCK_PAGE };
    struct budget b;
    void *blocks[BLOCKS];
    int error;

    (void)state;
    budget_init(&b, (size_t)4 * BLOCKS * SIZE);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = account_new(&b.all, SIZE, ACCOUNT_ORDINARY, &error);
    for (size_t i = 0; i < BLOCKS; i++) {
        account_free(&b.all, blocks[i], SIZE);
        assert_true(b.spare_bytes <= BUDGET_SPARE_TOTAL);
    }
    assert_true(b.spare_bytes > BUDGET_SPARE_TOTAL - SIZE);
    assert_int_equal(b.all.used, 0);
    budget_release(&b);
}

#include "tests/test_account.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
