/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "buf.h"
#include "oom.h"

/* What buf.h promises of every buffer at any time. */
static void check(const struct buf *b, const struct buf_budget *budget)
{
    assert_true(b->len <= b->cap);
    assert_int_equal(b->data == NULL, b->cap == 0);
    assert_int_equal(budget->used, b->cap);
    assert_true(budget->used <= budget->max);
}

/* A failed call leaves the buffer and the budget as they were. */
static void expect_refusal(struct buf *b, struct buf_budget *budget, size_t n, int error)
{
    struct buf before = *b;
    struct buf_budget budget_before = *budget;

    assert_int_equal(buf_reserve(b, budget, n), error);
    assert_memory_equal(b, &before, sizeof before);
    assert_memory_equal(budget, &budget_before, sizeof budget_before);
}

static void a_budget_gives_out_no_more_than_it_has(void **state)
{
    struct buf_budget budget = {.max = 100};

    (void)state;
    assert_true(buf_budget_take(&budget, 60));
    assert_false(buf_budget_take(&budget, 41));
    assert_false(buf_budget_take(&budget, SIZE_MAX));
    assert_int_equal(budget.used, 60);
    assert_true(buf_budget_take(&budget, 40));
    assert_true(buf_budget_take(&budget, 0));
    assert_false(buf_budget_take(&budget, 1));
    buf_budget_give(&budget, 100);
    assert_int_equal(budget.used, 0);
}

static void large_blocks_leave_some_of_the_budget_to_small_ones(void **state)
{
    struct buf_budget budget = {.max = 16 * BUF_LARGE};

    (void)state;
    assert_true(buf_budget_take_block(&budget, 15 * BUF_LARGE));
    assert_false(buf_budget_take_block(&budget, BUF_LARGE));
    assert_false(buf_budget_take_block(&budget, SIZE_MAX));
    assert_int_equal(budget.used, 15 * BUF_LARGE);
    assert_true(buf_budget_take_block(&budget, BUF_LARGE - 1));
    assert_false(buf_budget_take_block(&budget, 2));
    assert_true(buf_budget_take(&budget, 1));
}

static void an_empty_buffer_owns_nothing(void **state)
{
    struct buf b = {0};
    struct buf_budget budget = {.max = 0};

    (void)state;
    assert_int_equal(buf_append(&b, &budget, NULL, 0), 0);
    assert_int_equal(buf_reserve(&b, &budget, 0), 0);
    buf_consume(&b, 0);
    check(&b, &budget);
    assert_null(b.data);
    buf_release(&b, &budget);
    buf_release(&b, &budget);
    check(&b, &budget);
}

static void what_was_appended_is_there_in_order(void **state)
{
    struct buf b = {0};
    struct buf_budget budget = {.max = 1 << 20};

    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        const uint8_t piece[3] = {(uint8_t)i, (uint8_t)(i >> 8), 'x'};

        assert_int_equal(buf_append(&b, &budget, piece, i % 4), 0);
        check(&b, &budget);
        if (i % 4 == 0)
            continue;
        assert_memory_equal(b.data + b.len - i % 4, piece, i % 4);
    }
    assert_int_equal(b.len, 15000);
    for (size_t i = 1, at = 0; i < 10000; at += i % 4, i++)
        if (i % 4 != 0)
            assert_int_equal(b.data[at], (uint8_t)i);
    buf_release(&b, &budget);
    check(&b, &budget);
}

/* Doubling: a million single bytes must not move the content more than 20 times. */
static void appending_byte_by_byte_is_linear(void **state)
{
    struct buf b = {0};
    struct buf_budget budget = {.max = SIZE_MAX};
    size_t cap = 0;
    int grown = 0;

    (void)state;
    for (size_t i = 0; i < 1000000; i++) {
        assert_int_equal(buf_append(&b, &budget, "x", 1), 0);
        grown += b.cap != cap;
        cap = b.cap;
    }
    assert_true(grown <= 20);
    assert_true(b.cap <= 2 * b.len);
    buf_release(&b, &budget);
    buf_budget_release(&budget);
}

static void consuming_keeps_the_rest_and_the_memory(void **state)
{
    static const char text[] = "0123456789";

    (void)state;
    for (size_t n = 0; n <= 10; n++) {
        struct buf b = {0};
        struct buf_budget budget = {.max = 1000};
        size_t cap;

        assert_int_equal(buf_append(&b, &budget, text, 10), 0);
        cap = b.cap;
        buf_consume(&b, n);
        assert_int_equal(b.len, 10 - n);
        assert_memory_equal(b.data, text + n, 10 - n);
        assert_int_equal(b.cap, cap);
        check(&b, &budget);
        buf_release(&b, &budget);
    }
}

/* Doubling would pass the budget, but the exact size does not. */
static void a_buffer_takes_the_last_byte_of_the_budget(void **state)
{
    static const uint8_t zeros[1000];
    struct buf b = {0};
    struct buf_budget budget = {.max = 1000};

    (void)state;
    for (size_t i = 0; i < 1000; i += 100) {
        assert_int_equal(buf_append(&b, &budget, zeros, 100), 0);
        check(&b, &budget);
    }
    expect_refusal(&b, &budget, 1, BUF_FULL);
    assert_int_equal(b.len, 1000);
    buf_consume(&b, 1);
    assert_int_equal(buf_append(&b, &budget, zeros, 1), 0);
    buf_release(&b, &budget);
    check(&b, &budget);
}

/* Large blocks are kept, up to a limit, and serve the next buffer that needs as much. */
static void a_large_block_serves_again(void **state)
{
    enum { MIB = 1024 * 1024 };
    struct buf b = {0}, small = {0};
    struct buf_budget budget = {.max = 64 * MIB};
    uint8_t *block;

    (void)state;
    assert_int_equal(buf_append(&b, &budget, "kept", 4), 0);
    assert_int_equal(buf_reserve(&b, &budget, MIB), 0);
    block = b.data;
    buf_release(&b, &budget);
    assert_int_equal(budget.used, 0);

    buf_expect(&b, &budget, BUF_SPARE_MIN - 1);
    assert_null(b.data); /* too few bytes for such a block */
    buf_expect(&b, &budget, 2 * MIB);
    assert_null(b.data); /* nothing is allocated for what is only expected */
    buf_expect(&b, &budget, MIB);
    assert_ptr_equal(b.data, block);
    assert_int_equal(budget.used, b.cap);
    buf_release(&b, &budget);

    assert_int_equal(buf_append(&small, &budget, "moves", 5), 0);
    assert_int_equal(buf_reserve(&small, &budget, BUF_SPARE_MIN), 0);
    assert_ptr_equal(small.data, block);
    assert_memory_equal(small.data, "moves", 5);
    buf_release(&small, &budget);
    assert_int_equal(budget.used, 0);

    for (size_t i = 0; i < 10; i++) {
        struct buf many[10] = {0};

        for (size_t k = 0; k < 10; k++)
            assert_int_equal(buf_reserve(&many[k], &budget, MIB), 0);
        for (size_t k = 0; k < 10; k++)
            buf_release(&many[k], &budget);
        assert_in_range(budget.spare_bytes, BUF_SPARE_TOTAL - 2 * MIB, BUF_SPARE_TOTAL);
    }
    buf_budget_release(&budget);
    assert_int_equal(budget.spare_bytes, 0);
}

static void large_buffers_leave_some_of_the_budget_to_small_ones(void **state)
{
    enum { MAX = 16 * BUF_LARGE };
    struct buf large = {0}, small = {0};
    struct buf_budget budget = {.max = MAX};

    (void)state;
    assert_int_equal(buf_reserve(&large, &budget, MAX - BUF_LARGE), 0);
    assert_int_equal(buf_reserve(&large, &budget, MAX - BUF_LARGE + 1), BUF_FULL);
    assert_int_equal(buf_reserve(&small, &budget, BUF_LARGE - 1), 0);
    buf_release(&large, &budget);
    buf_release(&small, &budget);
    buf_budget_release(&budget);
}

static void buffers_share_their_budget(void **state)
{
    struct buf a = {0}, b = {0};
    struct buf_budget budget = {.max = 1000};

    (void)state;
    assert_int_equal(buf_reserve(&a, &budget, 900), 0);
    assert_int_equal(buf_reserve(&b, &budget, 101), BUF_FULL);
    assert_null(b.data);
    assert_int_equal(buf_reserve(&b, &budget, 100), 0);
    buf_release(&a, &budget);
    assert_int_equal(budget.used, b.cap);
    assert_int_equal(buf_reserve(&b, &budget, 1000), 0);
    buf_release(&b, &budget);
    assert_int_equal(budget.used, 0);
}

static void sizes_that_would_wrap_are_refused(void **state)
{
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 9, SIZE_MAX / 2 + 1};
    struct buf b = {0};
    struct buf_budget budget = {.max = SIZE_MAX / 2};

    (void)state;
    assert_int_equal(buf_append(&b, &budget, "0123456789", 10), 0);
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
        expect_refusal(&b, &budget, huge[i], BUF_FULL);
    buf_release(&b, &budget);
}

static void out_of_memory_changes_nothing(void **state)
{
    struct buf b = {0};
    struct buf_budget budget = {.max = 1 << 20};

    (void)state;
    oom_after(0);
    expect_refusal(&b, &budget, 1, BUF_NOMEM);
    oom_after(1);
    assert_int_equal(buf_append(&b, &budget, "kept", 4), 0);
    expect_refusal(&b, &budget, 1000, BUF_NOMEM);
    assert_int_equal(buf_append(&b, &budget, "!", 1), 0);
    oom_after(-1);
    assert_int_equal(buf_reserve(&b, &budget, 1000), 0);
    assert_memory_equal(b.data, "kept!", 5);
    buf_release(&b, &budget);
    check(&b, &budget);
}

/* --- spares ----------------------------------------------------------------------------------- */

enum { LARGE = BUF_SPARE_MIN };

/* Fill a buffer, so that it owns a block of `n` bytes. */
static void fill(struct buf *b, struct buf_budget *budget, size_t n)
{
    assert_int_equal(buf_reserve(b, budget, n), 0);
    memset(b->data, 'x', n);
    b->len = n;
}

static void a_large_block_is_kept_for_the_next_buffer(void **state)
{
    struct buf a = {0}, b = {0};
    struct buf_budget budget = {.max = 16 * LARGE};
    const uint8_t *block;

    (void)state;
    fill(&a, &budget, LARGE);
    block = a.data;
    buf_release(&a, &budget);
    assert_int_equal(budget.used, 0);
    assert_int_equal(budget.spare_bytes, LARGE);
    assert_int_equal(buf_append(&b, &budget, "small", 5), 0);
    assert_ptr_not_equal(b.data, block);
    assert_int_equal(buf_reserve(&b, &budget, LARGE - 5), 0);
    assert_ptr_equal(b.data, block);
    assert_memory_equal(b.data, "small", 5);
    assert_int_equal(budget.spare_bytes, 0);
    check(&b, &budget);
    buf_release(&b, &budget);
    buf_budget_release(&budget);
    assert_int_equal(budget.spare_bytes, 0);
    assert_null(budget.spares);
}

static void a_small_block_is_not_kept(void **state)
{
    struct buf b = {0};
    struct buf_budget budget = {.max = 2 * LARGE};

    (void)state;
    fill(&b, &budget, LARGE - 1);
    buf_release(&b, &budget);
    assert_null(budget.spares);
    assert_int_equal(budget.spare_bytes, 0);
}

static void what_is_kept_has_a_limit(void **state)
{
    enum { BLOCK = 3 * LARGE, BLOCKS = BUF_SPARE_TOTAL / BLOCK + 5 };
    struct buf b[BLOCKS] = {{0}};
    struct buf_budget budget = {.max = (size_t)2 * BLOCKS * BLOCK};

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++)
        fill(&b[i], &budget, BLOCK);
    for (size_t i = 0; i < BLOCKS; i++) {
        buf_release(&b[i], &budget);
        assert_true(budget.spare_bytes <= BUF_SPARE_TOTAL);
    }
    assert_true(budget.spare_bytes > BUF_SPARE_TOTAL - BLOCK);
    assert_int_equal(budget.used, 0);
    buf_budget_release(&budget);
}

/* A spare counts from when it is taken: one that is too large for the rest of the budget is
 * left. */
static void a_spare_does_not_pass_the_budget(void **state)
{
    struct buf a = {0}, b = {0}, c = {0};
    struct buf_budget budget = {.max = 16 * LARGE};

    (void)state;
    fill(&a, &budget, 3 * LARGE);
    buf_release(&a, &budget);
    fill(&b, &budget, LARGE + 1);
    assert_int_equal(b.cap, 3 * LARGE);
    buf_release(&b, &budget);
    assert_true(buf_budget_take(&budget, 13 * LARGE)); /* 1/16 is not for large blocks */
    fill(&c, &budget, 2 * LARGE);
    assert_int_equal(c.cap, 2 * LARGE);
    assert_int_equal(budget.used, 15 * LARGE);
    buf_release(&c, &budget);
    buf_budget_release(&budget);
}

static void an_expected_message_begins_with_a_spare_or_with_nothing(void **state)
{
    struct buf a = {0}, b = {0};
    struct buf_budget budget = {.max = 16 * LARGE};

    (void)state;
    buf_expect(&a, &budget, 2 * LARGE);
    check(&a, &budget);
    assert_null(a.data);
    fill(&a, &budget, LARGE);
    buf_release(&a, &budget);
    buf_expect(&a, &budget, 2 * LARGE); /* the spare is too small */
    assert_null(a.data);
    buf_expect(&a, &budget, LARGE);
    assert_int_equal(a.cap, LARGE);
    assert_int_equal(a.len, 0);
    buf_expect(&b, &budget, SIZE_MAX);
    assert_null(b.data);
    check(&a, &budget);
    buf_release(&a, &budget);
    buf_budget_release(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_gives_out_no_more_than_it_has),
        cmocka_unit_test(large_blocks_leave_some_of_the_budget_to_small_ones),
        cmocka_unit_test(an_empty_buffer_owns_nothing),
        cmocka_unit_test(what_was_appended_is_there_in_order),
        cmocka_unit_test(appending_byte_by_byte_is_linear),
        cmocka_unit_test(consuming_keeps_the_rest_and_the_memory),
        cmocka_unit_test(a_buffer_takes_the_last_byte_of_the_budget),
        cmocka_unit_test(a_large_block_serves_again),
        cmocka_unit_test(large_buffers_leave_some_of_the_budget_to_small_ones),
        cmocka_unit_test(buffers_share_their_budget),
        cmocka_unit_test(sizes_that_would_wrap_are_refused),
        cmocka_unit_test(out_of_memory_changes_nothing),
        cmocka_unit_test(a_large_block_is_kept_for_the_next_buffer),
        cmocka_unit_test(a_small_block_is_not_kept),
        cmocka_unit_test(what_is_kept_has_a_limit),
        cmocka_unit_test(a_spare_does_not_pass_the_budget),
        cmocka_unit_test(an_expected_message_begins_with_a_spare_or_with_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
