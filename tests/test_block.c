/* SPDX-License-Identifier: MIT
 *
 * Blocks that are mapped, also where the rest of the tests has them from malloc, see block.c. */
#define _GNU_SOURCE 1
#define BLOCK_MAPS  1
#include "unit.h"

#include "../block.c" /* NOLINT(bugprone-suspicious-include): with BLOCK_MAPS */

#include <stdio.h>

enum { PAGE = BLOCK_PAGE };

static void fill(uint8_t *p, size_t size, uint8_t from)
{
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(from + i * 7 + i / 251);
}

static void expect_filled(const uint8_t *p, size_t size, uint8_t from)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(p[i], (uint8_t)(from + i * 7 + i / 251));
}

static void sizes_are_those_of_the_heap_or_whole_pages(void **state)
{
    (void)state;
    assert_int_equal(block_size(1), 16);
    assert_int_equal(block_size(8), 16);
    assert_int_equal(block_size(9), 32);
    assert_int_equal(block_size(PAGE / 2 - 1), PAGE / 2 + 16);
    assert_int_equal(block_size(PAGE / 2), PAGE);
    assert_int_equal(block_size(PAGE), PAGE);
    assert_int_equal(block_size(PAGE + 1), 2 * PAGE);
    assert_int_equal(block_size(SIZE_MAX), SIZE_MAX);
    assert_int_equal(block_size(SIZE_MAX - PAGE), SIZE_MAX - PAGE + 1);
}

static void every_byte_of_a_block_can_be_used(void **state)
{
    static const size_t sizes[] = {1,    100,      PAGE / 2 - 1, PAGE / 2,
                                   PAGE, PAGE + 1, 3 * PAGE,     1 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *p = block_new(sizes[i]);

        assert_non_null(p);
        fill(p, sizes[i], (uint8_t)i);
        expect_filled(p, sizes[i], (uint8_t)i);
        block_free(p, sizes[i]);
    }
    block_free(NULL, 0);
    block_free(NULL, PAGE);
}

/* From the heap to the heap, into a mapping, to a larger one, and back. */
static void the_content_stays_whatever_the_size_becomes(void **state)
{
    static const size_t sizes[] = {10, 1000, PAGE / 2, PAGE, PAGE + 5, 40 * PAGE, 1 << 22};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < COUNT; k++) {
            uint8_t *p = block_new(sizes[i]);

            assert_non_null(p);
            fill(p, sizes[i], (uint8_t)(i + k));
            p = block_resize(p, sizes[i], sizes[k]);
            assert_non_null(p);
            expect_filled(p, sizes[i] < sizes[k] ? sizes[i] : sizes[k], (uint8_t)(i + k));
            block_free(p, sizes[k]);
        }
}

static void a_size_that_there_cannot_be_is_refused(void **state)
{
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - PAGE, SIZE_MAX / 4 * 3};
    uint8_t *p = block_new(2 * PAGE);
    uint8_t *small = block_new(10);

    (void)state;
    fill(p, 2 * PAGE, 1);
    fill(small, 10, 2);
    /* NOLINTBEGIN(clang-analyzer-unix.Malloc): what is refused is still there */
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        assert_null(block_new(huge[i]));
        assert_null(block_resize(p, 2 * PAGE, huge[i]));
        assert_null(block_resize(small, 10, huge[i]));
    }
    expect_filled(p, 2 * PAGE, 1);
    expect_filled(small, 10, 2);
    block_free(p, 2 * PAGE);
    block_free(small, 10);
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
}

/* In bytes, of /proc/self/statm. */
static size_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, ignored;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &ignored, &pages), 2);
    fclose(file);
    return pages * (size_t)PAGE;
}

/* A heap would keep all of it: what is in use lies between what was freed. */
static void memory_of_freed_blocks_goes_back_whatever_lies_between(void **state)
{
    enum { BLOCKS = 4096, SIZE = 8 * PAGE };
    uint8_t **blocks = calloc(BLOCKS, sizeof *blocks);
    size_t before = resident(), full, half;

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = block_new(SIZE);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, SIZE);
    }
    full = resident() - before;
    for (size_t i = 0; i < BLOCKS; i += 2)
        block_free(blocks[i], SIZE);
    half = resident() - before;
    assert_true(full >= (size_t)BLOCKS * SIZE);
    assert_true(half < full / 2 + (size_t)256 * PAGE);
    for (size_t i = 1; i < BLOCKS; i += 2)
        block_free(blocks[i], SIZE);
    free(blocks);
}

#include "tests/test_block.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
