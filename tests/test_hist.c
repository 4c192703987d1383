/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "bench/hist.h"

static struct hist *empty(void)
{
    struct hist *h = calloc(1, sizeof *h);

    assert_non_null(h);
    return h;
}

static void an_empty_histogram_has_no_times(void **state)
{
    struct hist *h = empty();

    (void)state;
    assert_int_equal(hist_at(h, 0.5), 0);
    assert_int_equal(hist_at(h, 1), 0);
    free(h);
}

static void small_values_are_exact(void **state)
{
    struct hist *h = empty();

    (void)state;
    for (uint64_t value = 1; value <= 100; value++)
        hist_add(h, value, 1);
    assert_int_equal(h->total, 100);
    assert_int_equal(h->max, 100);
    assert_int_equal(hist_at(h, 0), 1);
    assert_int_equal(hist_at(h, 0.5), 50);
    assert_int_equal(hist_at(h, 0.99), 99);
    assert_int_equal(hist_at(h, 1), 100);
    free(h);
}

/* One value alone, beside a larger one so that the bucket's end is not cut at the maximum. */
static void any_value_is_kept_to_a_128th(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 47; bits++) {
        const uint64_t at = UINT64_C(1) << bits;
        const uint64_t values[] = {at, at + at / 3, at + at / 2 + 1, at * 2 - 1};

        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            struct hist *h = empty();

            hist_add(h, values[i], 1);
            hist_add(h, values[i] * 4 + 16, 1);
            assert_in_range(hist_at(h, 0.5), values[i], values[i] + values[i] / 128);
            free(h);
        }
    }
}

static void the_largest_value_is_exact_whatever_its_bucket(void **state)
{
    struct hist *h = empty();

    (void)state;
    hist_add(h, 1000003, 1);
    hist_add(h, 5, 1);
    assert_int_equal(hist_at(h, 1), 1000003);
    free(h);
}

static void many_of_one_value_weigh_as_many(void **state)
{
    struct hist *h = empty();

    (void)state;
    hist_add(h, 10, 989);
    hist_add(h, 20, 10);
    hist_add(h, 100, 1);
    assert_int_equal(h->total, 1000);
    assert_int_equal(hist_at(h, 0.5), 10);
    assert_int_equal(hist_at(h, 0.99), 20);
    assert_int_equal(hist_at(h, 0.999), 20);
    assert_int_equal(hist_at(h, 0.9999), 100);
    free(h);
}

static void a_time_out_of_range_is_counted_as_the_longest(void **state)
{
    struct hist *h = empty();

    (void)state;
    hist_add(h, UINT64_MAX, 1);
    hist_add(h, UINT64_C(1) << 48, 1);
    assert_int_equal(h->total, 2);
    assert_int_equal(h->max, UINT64_MAX);
    free(h);
}

#include "tests/test_hist.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
