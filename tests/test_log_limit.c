/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "../log_limit.h"

static const char refused[] = "%d was refused";
static const char lost[] = "%d was lost";

enum { LEVEL = 7, MAX = 5 };

static bool admit(struct log_limit *l, const char *format, uint64_t now_ms, int n)
{
    char line[64];

    snprintf(line, sizeof line, format == refused ? refused : lost, n);
    return log_limit_admit(l, format, LEVEL, MAX, now_ms, line);
}

static void expect_sum(struct log_limit *l, uint64_t now_ms, const char *text)
{
    char line[256];
    int level = 0;

    assert_true(log_limit_sum(l, now_ms, line, sizeof line, &level));
    assert_string_equal(line, text);
    assert_int_equal(level, LEVEL);
}

static void expect_no_sum(struct log_limit *l, uint64_t now_ms)
{
    char line[256];
    int level;

    assert_false(log_limit_sum(l, now_ms, line, sizeof line, &level));
}

static void few_lines_a_second_are_let_through(void **state)
{
    struct log_limit l = {0};
    (void)state;

    for (uint64_t second = 0; second < 10; second++) {
        for (int i = 0; i < MAX; i++)
            assert_true(admit(&l, refused, 1000 * second + (uint64_t)i, i));
        expect_no_sum(&l, 1000 * second + 999);
    }
}

static void what_is_left_out_is_one_line_a_second(void **state)
{
    struct log_limit l = {0};
    (void)state;

    for (uint64_t second = 1; second < 10; second++) {
        for (int i = 0; i < 1000; i++)
            assert_int_equal(admit(&l, refused, 1000 * second + (uint64_t)i, i), i < MAX);
        expect_no_sum(&l, 1000 * second + 999);
        expect_sum(&l, 1000 * second + 1000, "995 more like this were left out: 999 was refused");
        expect_no_sum(&l, 1000 * second + 1000);
    }
}

static void kinds_are_counted_apart(void **state)
{
    struct log_limit l = {0};
    (void)state;

    for (int i = 0; i < 100; i++)
        admit(&l, refused, 0, i);
    for (int i = 0; i < MAX; i++)
        assert_true(admit(&l, lost, 500, i));
    assert_false(admit(&l, lost, 500, 5));
    expect_sum(&l, 1000, "95 more like this were left out: 99 was refused");
    expect_no_sum(&l, 1000);
    assert_true(log_limit_waits(&l));
    expect_sum(&l, 1500, "1 more like this was left out: 5 was lost");
    assert_false(log_limit_waits(&l));
}

/* The line about them would come behind newer ones. */
static void nothing_is_let_through_before_what_was_left_out_is_told(void **state)
{
    struct log_limit l = {0};
    (void)state;

    for (int i = 0; i < 6; i++)
        admit(&l, refused, 0, i);
    assert_false(admit(&l, refused, 5000, 6));
    expect_sum(&l, 5000, "2 more like this were left out: 6 was refused");
    assert_true(admit(&l, refused, 5000, 7));
}

static void at_the_end_all_is_told(void **state)
{
    struct log_limit l = {0};
    (void)state;

    for (int i = 0; i < 7; i++) {
        admit(&l, refused, 0, i);
        admit(&l, lost, 0, i);
    }
    expect_sum(&l, UINT64_MAX, "2 more like this were left out: 6 was refused");
    expect_sum(&l, UINT64_MAX, "2 more like this were left out: 6 was lost");
    expect_no_sum(&l, UINT64_MAX);
}

static void more_kinds_than_places_are_let_through(void **state)
{
    static const char formats[2 * LOG_KINDS];
    struct log_limit l = {0};
    (void)state;

    for (size_t kind = 0; kind < sizeof formats; kind++)
        for (int i = 0; i < 10; i++)
            assert_int_equal(log_limit_admit(&l, &formats[kind], LEVEL, MAX, 0, "line"),
                             i < MAX || kind >= LOG_KINDS);
}

static void long_line_is_cut(void **state)
{
    struct log_limit l = {0};
    char line[2 * LOG_LAST];
    char sum[4 * LOG_LAST];
    int level;
    (void)state;

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    assert_false(log_limit_admit(&l, refused, LEVEL, 0, 0, line));
    assert_true(log_limit_sum(&l, 1000, sum, sizeof sum, &level));
    assert_int_equal(strlen(strchr(sum, 'x')), LOG_LAST - 1);
}

#include "tests/test_log_limit.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
