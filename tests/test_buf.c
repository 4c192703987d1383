/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <string.h>

#include "block.h"
#include "buf.h"
#include "oom.h"

enum { PAGE = BLOCK_PAGE, MIB = 1024 * 1024 };

/* One budget, whose own account the buffers use: no share bounds them. */
static int reserve(struct buf *b, struct budget *budget, size_t n)
{
    return buf_reserve(b, &budget->all, ACCOUNT_ESSENTIAL, n, SIZE_MAX);
}

static int append(struct buf *b, struct budget *budget, const void *data, size_t n)
{
    return buf_append(b, &budget->all, ACCOUNT_ESSENTIAL, data, n);
}

/* What buf.h promises of every buffer at any time. */
static void check(const struct buf *b, const struct budget *budget)
{
    assert_true(b->len <= b->cap);
    assert_int_equal(b->data == NULL, b->cap == 0);
    assert_int_equal(budget->all.used, b->cap == 0 ? 0 : block_size(b->cap));
    assert_true(budget->all.used <= budget->max);
}

/* A failed call leaves the buffer and the budget as they were. */
static void expect_refusal(struct buf *b, struct budget *budget, size_t n, int error)
{
    struct buf before = *b;
    struct budget budget_before = *budget;

    assert_int_equal(reserve(b, budget, n), error);
    assert_memory_equal(b, &before, sizeof before);
    assert_memory_equal(budget, &budget_before, sizeof budget_before);
}

static void an_empty_buffer_owns_nothing(void **state)
{
    struct buf b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, 0);
    assert_int_equal(append(&b, &budget, NULL, 0), 0);
    assert_int_equal(reserve(&b, &budget, 0), 0);
    buf_consume(&b, 0);
    check(&b, &budget);
    assert_null(b.data);
    buf_release(&b, &budget.all);
    buf_release(&b, &budget.all);
    check(&b, &budget);
}

static void what_was_appended_is_there_in_order(void **state)
{
    struct buf b = {0};
    struct budget budget;
    uint8_t next = 0;

    (void)state;
    budget_init(&budget, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        uint8_t piece[300];

        for (size_t i = 0; i < n; i++)
            piece[i] = next++;
        assert_int_equal(append(&b, &budget, piece, n), 0);
        check(&b, &budget);
    }
    assert_int_equal(b.len, 300 * 299 / 2);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    buf_release(&b, &budget.all);
    check(&b, &budget);
    budget_release(&budget);
}

/* Doubling: a million single bytes must not move the content more than 20 times. */
static void appending_byte_by_byte_is_linear(void **state)
{
    struct buf b = {0};
    struct budget budget;
    size_t cap = 0;
    int grown = 0;

    (void)state;
    budget_init(&budget, SIZE_MAX);
    for (size_t i = 0; i < 1000000; i++) {
        assert_int_equal(append(&b, &budget, "x", 1), 0);
        grown += b.cap != cap;
        cap = b.cap;
    }
    assert_true(grown <= 20);
    assert_true(b.cap <= 2 * b.len);
    buf_release(&b, &budget.all);
    budget_release(&budget);
}

/* A message whose length is announced byte by byte, in fragments, is linear too. */
static void growing_with_what_is_announced_is_linear(void **state)
{
    struct buf b = {0};
    struct budget budget;
    size_t cap = 0;
    int grown = 0;

    (void)state;
    budget_init(&budget, SIZE_MAX);
    for (size_t i = 0; i < 1000000; i++) {
        assert_int_equal(buf_reserve(&b, &budget.all, ACCOUNT_ORDINARY, 1, i + 1), 0);
        b.data[b.len++] = 'x';
        grown += b.cap != cap;
        cap = b.cap;
        assert_true(b.cap <= b.len + b.len / 4 + PAGE);
    }
    assert_true(grown <= 60);
    buf_release(&b, &budget.all);
    budget_release(&budget);
}

static void a_buffer_does_not_grow_past_what_is_announced(void **state)
{
    enum { ANNOUNCED = 9 * MIB + 123 };
    struct buf b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, (size_t)64 * MIB);
    while (b.len < ANNOUNCED) {
        size_t n = ANNOUNCED - b.len < 100000 ? ANNOUNCED - b.len : 100000;

        assert_int_equal(buf_reserve(&b, &budget.all, ACCOUNT_ORDINARY, n, ANNOUNCED), 0);
        b.len += n;
        assert_true(b.cap <= 2 * b.len + PAGE);
        assert_true(b.cap < ANNOUNCED + PAGE);
    }
    buf_release(&b, &budget.all);
    budget_release(&budget);
}

static void consuming_keeps_the_rest_and_the_memory(void **state)
{
    static const char text[] = "0123456789";

    (void)state;
    for (size_t n = 0; n <= 10; n++) {
        struct buf b = {0};
        struct budget budget;
        size_t cap;

        budget_init(&budget, 1000);
        assert_int_equal(append(&b, &budget, text, 10), 0);
        cap = b.cap;
        buf_consume(&b, n);
        assert_int_equal(b.len, 10 - n);
        assert_memory_equal(b.data, text + n, 10 - n);
        assert_int_equal(b.cap, cap);
        check(&b, &budget);
        buf_release(&b, &budget.all);
    }
}

/* Doubling would pass the budget, but the exact size does not. */
static void a_buffer_takes_the_last_byte_of_the_budget(void **state)
{
    static const uint8_t zeros[1000];
    struct buf b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, block_size(1000));
    for (size_t i = 0; i < 1000; i += 100) {
        assert_int_equal(append(&b, &budget, zeros, 100), 0);
        check(&b, &budget);
    }
    expect_refusal(&b, &budget, 1 + b.cap - b.len, ACCOUNT_FULL);
    assert_int_equal(b.len, 1000);
    buf_consume(&b, 1);
    assert_int_equal(append(&b, &budget, zeros, 1), 0);
    buf_release(&b, &budget.all);
    check(&b, &budget);
}

static void buffers_share_their_budget(void **state)
{
    struct buf a = {0}, b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, block_size(900) + block_size(100));
    assert_int_equal(reserve(&a, &budget, 900), 0);
    assert_int_equal(reserve(&b, &budget, 200), ACCOUNT_FULL);
    assert_null(b.data);
    assert_int_equal(reserve(&b, &budget, 100), 0);
    buf_release(&a, &budget.all);
    assert_int_equal(budget.all.used, block_size(b.cap));
    assert_int_equal(reserve(&b, &budget, 900), 0);
    buf_release(&b, &budget.all);
    assert_int_equal(budget.all.used, 0);
}

static void sizes_that_would_wrap_are_refused(void **state)
{
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 9, SIZE_MAX / 2 + 1};
    struct buf b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, SIZE_MAX / 2);
    assert_int_equal(append(&b, &budget, "0123456789", 10), 0);
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
        expect_refusal(&b, &budget, huge[i], ACCOUNT_FULL);
    buf_release(&b, &budget.all);
}

static void out_of_memory_changes_nothing(void **state)
{
    struct buf b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, 1 << 20);
    oom_after(0);
    expect_refusal(&b, &budget, 1, ACCOUNT_NOMEM);
    oom_after(1);
    assert_int_equal(append(&b, &budget, "kept", 4), 0);
    expect_refusal(&b, &budget, 1000, ACCOUNT_NOMEM);
    assert_int_equal(append(&b, &budget, "!", 1), 0);
    oom_after(-1);
    assert_int_equal(reserve(&b, &budget, 1000), 0);
    assert_memory_equal(b.data, "kept!", 5);
    buf_release(&b, &budget.all);
    check(&b, &budget);
}

/* --- spares ----------------------------------------------------------------------------------- */

/* Have a block of `n` bytes used and freed; returns where it lies. */
static const uint8_t *make_spare(struct budget *budget, size_t n)
{
    struct buf b = {0};
    const uint8_t *block;

    assert_int_equal(reserve(&b, budget, n), 0);
    block = b.data;
    buf_release(&b, &budget->all);
    return block;
}

static void a_buffer_moves_into_a_spare_block(void **state)
{
    struct buf b = {0};
    struct budget budget;
    const uint8_t *block;

    (void)state;
    budget_init(&budget, MIB);
    block = make_spare(&budget, 16 * PAGE);
    assert_int_equal(append(&b, &budget, "small", 5), 0);
    assert_ptr_not_equal(b.data, block);
    assert_int_equal(reserve(&b, &budget, 16 * PAGE - 5), 0);
    assert_ptr_equal(b.data, block);
    assert_memory_equal(b.data, "small", 5);
    check(&b, &budget);
    buf_release(&b, &budget.all);
    budget_release(&budget);
}

/* It counts whole, so that it must not be much larger than what is asked for. */
static void a_spare_block_that_is_much_larger_is_left(void **state)
{
    struct buf b = {0};
    struct budget budget;
    const uint8_t *block;

    (void)state;
    budget_init(&budget, MIB);
    block = make_spare(&budget, 16 * PAGE);
    assert_int_equal(reserve(&b, &budget, 12 * PAGE), 0);
    assert_ptr_not_equal(b.data, block);
    buf_release(&b, &budget.all);
    assert_int_equal(reserve(&b, &budget, 13 * PAGE), 0);
    assert_ptr_equal(b.data, block);
    buf_release(&b, &budget.all);
    budget_release(&budget);
}

static void an_expected_message_begins_with_a_spare_or_with_nothing(void **state)
{
    struct buf a = {0}, b = {0};
    struct budget budget;

    (void)state;
    budget_init(&budget, MIB);
    buf_expect(&a, &budget.all, ACCOUNT_ORDINARY, 16 * PAGE);
    check(&a, &budget);
    assert_null(a.data);
    make_spare(&budget, 8 * PAGE);
    buf_expect(&a, &budget.all, ACCOUNT_ORDINARY, 16 * PAGE); /* the spare is too small */
    assert_null(a.data);
    buf_expect(&a, &budget.all, ACCOUNT_ORDINARY, 8 * PAGE);
    assert_int_equal(a.cap, 8 * PAGE);
    assert_int_equal(a.len, 0);
    buf_expect(&b, &budget.all, ACCOUNT_ORDINARY, SIZE_MAX);
    assert_null(b.data);
    check(&a, &budget);
    buf_release(&a, &budget.all);
    budget_release(&budget);
}

#include "tests/test_buf.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
