/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "../input.h"
#include "oom.h"

static void input_is_made_once_and_empty(void **state)
{
    struct budget b;
    struct input *in = NULL;
    struct input *first;

    (void)state;
    budget_init(&b, 1 << 20);
    first = input_get(&in, &b.all);
    assert_non_null(first);
    assert_int_equal(in->stash.len, 0);
    assert_int_equal(in->message.state, MESSAGE_NONE);
    assert_false(in->in_frame);
    assert_ptr_equal(input_get(&in, &b.all), first);
    input_release(&in, &b.all);
    budget_release(&b);
}

static void all_of_it_counts_until_it_is_released(void **state)
{
    struct budget b;
    struct input *in = NULL;

    (void)state;
    budget_init(&b, 1 << 20);
    assert_non_null(input_get(&in, &b.all));
    assert_true(b.all.used >= sizeof *in);
    assert_int_equal(buf_append(&in->stash, &b.all, ACCOUNT_ORDINARY, "stash", 5), 0);
    assert_int_equal(buf_append(&in->request, &b.all, ACCOUNT_ORDINARY, "request", 7), 0);
    assert_int_equal(buf_append(&in->payload, &b.all, ACCOUNT_ORDINARY, "payload", 7), 0);
    input_release(&in, &b.all);
    assert_null(in);
    assert_int_equal(b.all.used, 0);
    input_release(&in, &b.all);
    budget_release(&b);
}

static void without_memory_there_is_none(void **state)
{
    struct budget b;
    struct input *in = NULL;

    (void)state;
    budget_init(&b, 1 << 20);
    oom_after(0);
    assert_null(input_get(&in, &b.all));
    oom_after(-1);
    assert_null(in);
    assert_int_equal(b.all.used, 0);
    budget_release(&b);
}

#include "tests/test_input.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
