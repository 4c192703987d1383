/* SPDX-License-Identifier: MIT
 *
 * The part of cmocka that the tests call, for machines that we compile for but have no libcmocka
 * of (`make test-32 test-big-endian`). It prints what tests/run.sh counts. Where libcmocka is
 * installed, the tests are linked with that. */
#include "tests/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum outcome { RAN, FAILED, SKIPPED };

static jmp_buf escape; /* of the test that runs */

void vprint_error(const char *format, va_list args)
{
    vprintf(format, args);
}

void print_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void print_message(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void _fail(const char *file, int line)
{
    printf("[   LINE   ] --- %s:%d: error: Failure!\n", file, line);
    longjmp(escape, FAILED);
}

void _skip(const char *file, int line)
{
    (void)file;
    (void)line;
    longjmp(escape, SKIPPED);
}

void _assert_true(LargestIntegralType result, const char *expression, const char *file, int line)
{
    if (result == 0) {
        printf("%s\n", expression);
        _fail(file, line);
    }
}

static void compare(LargestIntegralType a, LargestIntegralType b, int wanted, const char *file,
                    int line)
{
    if ((a == b) != wanted) {
        printf("0x%" PRIxMAX " %s 0x%" PRIxMAX "\n", a, wanted ? "!=" : "==", b);
        _fail(file, line);
    }
}

void _assert_int_equal(LargestIntegralType a, LargestIntegralType b, const char *file, int line)
{
    compare(a, b, 1, file, line);
}

void _assert_int_not_equal(LargestIntegralType a, LargestIntegralType b, const char *file, int line)
{
    compare(a, b, 0, file, line);
}

static void compare_strings(const char *a, const char *b, int wanted, const char *file, int line)
{
    if ((strcmp(a, b) == 0) != wanted) {
        printf("\"%s\" %s \"%s\"\n", a, wanted ? "!=" : "==", b);
        _fail(file, line);
    }
}

void _assert_string_equal(const char *a, const char *b, const char *file, int line)
{
    compare_strings(a, b, 1, file, line);
}

void _assert_string_not_equal(const char *a, const char *b, const char *file, int line)
{
    compare_strings(a, b, 0, file, line);
}

void _assert_memory_equal(const void *a, const void *b, size_t size, const char *file, int line)
{
    if (memcmp(a, b, size) != 0)
        _fail(file, line);
}

void _assert_memory_not_equal(const void *a, const void *b, size_t size, const char *file, int line)
{
    if (memcmp(a, b, size) == 0)
        _fail(file, line);
}

void _assert_in_range(LargestIntegralType value, LargestIntegralType minimum,
                      LargestIntegralType maximum, const char *file, int line)
{
    if (value < minimum || value > maximum) {
        printf("%" PRIuMAX " is not within %" PRIuMAX "-%" PRIuMAX "\n", value, minimum, maximum);
        _fail(file, line);
    }
}

/* A fixture or test that returns other than 0 has failed. */
static enum outcome call(CMFixtureFunction fixture, CMUnitTestFunction test, void **state)
{
    enum outcome outcome = (enum outcome)setjmp(escape);

    if (outcome != RAN)
        return outcome;
    if (test != NULL)
        test(state);
    return fixture != NULL && fixture(state) != 0 ? FAILED : RAN;
}

static enum outcome run(const struct CMUnitTest *test, void *state)
{
    enum outcome outcome = call(test->setup_func, NULL, &state);

    if (outcome == RAN)
        outcome = call(NULL, test->test_func, &state);
    return call(test->teardown_func, NULL, &state) == RAN ? outcome : FAILED;
}

int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                            CMFixtureFunction setup, CMFixtureFunction teardown)
{
    static const char *const words[] = {"       OK", "  FAILED ", "  SKIPPED"};
    void *group = NULL;
    int sum[] = {0, 0, 0};

    (void)name;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (call(setup, NULL, &group) != RAN)
        return 1;
    for (size_t i = 0; i < count; i++) {
        void *state = tests[i].initial_state != NULL ? tests[i].initial_state : group;
        enum outcome outcome = run(&tests[i], state);

        printf("[%s ] %s\n", words[outcome], tests[i].name);
        sum[outcome]++;
    }
    sum[FAILED] += call(teardown, NULL, &group) != RAN;
    printf("[  PASSED  ] %d test(s).\n", sum[RAN]);
    if (sum[FAILED] > 0)
        printf("[  FAILED  ] %d test(s)\n", sum[FAILED]);
    return sum[FAILED];
}
