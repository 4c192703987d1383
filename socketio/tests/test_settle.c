/* SPDX-License-Identifier: MIT
 *
 * What is marked is settled once, in order, by the outermost callback. */
#include "../../tests/unit.h"

#include <stdlib.h>

#include "../settle.h"

enum { ITEMS = 5 };

/* A list inside its outermost callback, and items for it. */
struct bench {
    struct settle_list list;
    struct settle_item items[ITEMS];
};

static struct bench begin(void)
{
    struct bench b = {.list = {.depth = 0}};

    settle_enter(&b.list);
    return b;
}

static void marked_items_are_settled_in_order_and_once(void **state)
{
    struct bench b = begin();

    (void)state;
    assert_null(settle_next(&b.list));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ITEMS; i++)
            settle_mark(&b.list, &b.items[i]);
        for (size_t i = 0; i < ITEMS; i++)
            settle_mark(&b.list, &b.items[i]);
        for (size_t i = 0; i < ITEMS; i++)
            assert_ptr_equal(settle_next(&b.list), &b.items[i]);
        assert_null(settle_next(&b.list));
    }
}

/* Also the last item, which has no other behind it. */
static void item_is_marked_until_it_is_taken(void **state)
{
    struct bench b = begin();

    (void)state;
    assert_false(settle_is_marked(&b.items[0]));
    settle_mark(&b.list, &b.items[0]);
    settle_mark(&b.list, &b.items[1]);
    for (size_t i = 0; i < 2; i++) {
        assert_true(settle_is_marked(&b.items[i]));
        assert_ptr_equal(settle_next(&b.list), &b.items[i]);
        assert_false(settle_is_marked(&b.items[i]));
    }
}

/* Whoever settles an item may mark it and others, and may free an item that is not marked. */
static void item_may_be_marked_while_it_is_settled(void **state)
{
    struct bench b = begin();
    struct settle_item *freed = calloc(1, sizeof *freed);

    (void)state;
    assert_non_null(freed);
    settle_mark(&b.list, freed);
    settle_mark(&b.list, &b.items[0]);
    assert_ptr_equal(settle_next(&b.list), freed);
    settle_mark(&b.list, &b.items[1]);
    settle_mark(&b.list, freed);
    assert_ptr_equal(settle_next(&b.list), &b.items[0]);
    settle_mark(&b.list, &b.items[0]);
    assert_ptr_equal(settle_next(&b.list), &b.items[1]);
    assert_ptr_equal(settle_next(&b.list), freed);
    free(freed);
    assert_ptr_equal(settle_next(&b.list), &b.items[0]);
    assert_null(settle_next(&b.list));
}

static void only_the_outermost_callback_settles(void **state)
{
    struct bench b = begin();

    (void)state;
    settle_enter(&b.list);
    settle_mark(&b.list, &b.items[0]);
    assert_false(settle_is_due(&b.list));
    assert_null(settle_next(&b.list));
    settle_leave(&b.list);
    assert_true(settle_is_due(&b.list));
    assert_ptr_equal(settle_next(&b.list), &b.items[0]);
    assert_false(settle_is_due(&b.list));
    settle_leave(&b.list);
}

static void outside_of_callbacks_a_mark_asks_for_one_call(void **state)
{
    struct bench b = begin();

    (void)state;
    assert_false(settle_mark(&b.list, &b.items[0])); /* this callback will settle it */
    assert_ptr_equal(settle_next(&b.list), &b.items[0]);
    settle_leave(&b.list);

    assert_true(settle_mark(&b.list, &b.items[0]));
    assert_true(settle_mark(&b.list, &b.items[1])); /* the first request has failed */
    b.list.requested = true;
    assert_false(settle_mark(&b.list, &b.items[2]));
    assert_false(settle_mark(&b.list, &b.items[0]));
    assert_null(settle_next(&b.list));

    b.list.requested = false; /* here it is */
    settle_enter(&b.list);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(settle_next(&b.list), &b.items[i]);
    assert_null(settle_next(&b.list));
}

#include "socketio/tests/test_settle.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
