/* SPDX-License-Identifier: MIT
 *
 * cmocka, and what has to be included before it. Include this first.
 *
 * A test is a function `static void its_name(void **state)`, on one line; nothing else has this
 * form, and a test that misses it the compiler reports as unused. The list of a file's tests is
 * made of these when the file is built (tests/list.sh): the array `tests`, by
 * `#include "tests/test_x.list"` in front of main(). They have no fixture, unless TEST(name) was
 * defined before that, say as cmocka_unit_test_setup_teardown(name, setup, teardown). */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* behind these four */

/* How many times slower than on the machine itself the tests are, under valgrind or an emulator. It
 * makes those deadlines longer that only bound how long a broken program keeps a test waiting. */
#ifndef SLOWER
#define SLOWER 1
#endif
/* clang-format on */

#endif
