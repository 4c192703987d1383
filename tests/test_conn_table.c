/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "../conn_table.h"
#include "oom.h"

enum { MANY = 1000 };

/* The table only keeps pointers, so any will do. */
static struct ws_conn *conn(size_t i)
{
    static char conns[MANY + 1];

    return (struct ws_conn *)&conns[i];
}

static void fill(struct conn_table *t, size_t count)
{
    for (size_t i = 1; i <= count; i++)
        assert_int_equal(conn_table_add(t, conn(i)), i);
}

static void connection_is_found_by_its_id(void **state)
{
    struct conn_table t = {0};

    (void)state;
    assert_null(conn_table_find(&t, 1));
    fill(&t, MANY);
    for (size_t i = 1; i <= MANY; i++)
        assert_ptr_equal(conn_table_find(&t, i), conn(i));
    assert_null(conn_table_find(&t, 0));
    assert_null(conn_table_find(&t, MANY + 1));
    assert_null(conn_table_find(&t, UINT64_MAX));
    conn_table_release(&t);
}

static void removed_connection_is_not_found_and_the_others_are(void **state)
{
    struct conn_table t = {0};

    (void)state;
    fill(&t, MANY);
    for (size_t i = 2; i <= MANY; i += 2)
        conn_table_remove(&t, i);
    assert_int_equal(t.count, MANY / 2);
    for (size_t i = 1; i <= MANY; i++)
        assert_ptr_equal(conn_table_find(&t, i), i % 2 == 0 ? NULL : conn(i));
    conn_table_release(&t);
}

static void id_is_never_given_twice(void **state)
{
    struct conn_table t = {0};

    (void)state;
    for (uint64_t i = 1; i <= MANY; i++) {
        assert_int_equal(conn_table_add(&t, conn(1)), i);
        conn_table_remove(&t, i);
    }
    assert_int_equal(t.count, 0);
    conn_table_release(&t);
}

static void holes_take_no_more_room_than_connections(void **state)
{
    struct conn_table t = {0};

    (void)state;
    fill(&t, MANY);
    for (size_t i = 1; i < MANY; i++)
        conn_table_remove(&t, i);
    assert_true(t.size <= 64);
    assert_ptr_equal(conn_table_find(&t, MANY), conn(MANY));
    conn_table_release(&t);
}

static void walk_meets_each_connection_once_in_the_order_of_ids(void **state)
{
    struct conn_table t = {0};
    uint64_t last = 0;
    size_t met = 0;

    (void)state;
    fill(&t, 10);
    conn_table_remove(&t, 4);
    for (size_t i = 0; i < t.size; i++) {
        if (t.entries[i].conn == NULL)
            continue;
        assert_true(t.entries[i].id > last);
        assert_ptr_equal(t.entries[i].conn, conn((size_t)t.entries[i].id));
        last = t.entries[i].id;
        met++;
    }
    assert_int_equal(met, 9);
    conn_table_release(&t);
}

static void without_memory_nothing_changes(void **state)
{
    struct conn_table t = {0};

    (void)state;
    oom_after(0);
    assert_int_equal(conn_table_add(&t, conn(1)), 0);
    oom_after(-1);
    fill(&t, 64);
    oom_after(0);
    assert_int_equal(conn_table_add(&t, conn(65)), 0);
    oom_after(-1);
    assert_int_equal(t.count, 64);
    assert_int_equal(conn_table_add(&t, conn(65)), 65);
    assert_ptr_equal(conn_table_find(&t, 64), conn(64));
    conn_table_release(&t);
}

#include "tests/test_conn_table.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
