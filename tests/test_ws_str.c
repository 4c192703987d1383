/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "../ws_str.h"

static void a_slice_of_a_string_is_all_of_it_but_the_nul(void **state)
{
    static const char text[] = "text";
    struct ws_str s = ws_str(text);
    (void)state;

    assert_ptr_equal(s.data, text);
    assert_int_equal(s.len, 4);
    assert_int_equal(ws_str("").len, 0);
    assert_non_null(ws_str("").data);
    assert_null(ws_str(NULL).data);
    assert_int_equal(ws_str(NULL).len, 0);
}

static void slices_are_equal_byte_by_byte(void **state)
{
    (void)state;
    assert_true(ws_str_is(ws_str("text"), "text"));
    assert_false(ws_str_is(ws_str("text"), "Text"));
    assert_false(ws_str_is(ws_str("text"), "tex"));
    assert_false(ws_str_is(ws_str("tex"), "text"));
    assert_true(ws_str_is((struct ws_str){"texture", 4}, "text"));
    assert_false(ws_str_is((struct ws_str){"a\0b", 3}, "a"));
    assert_true(ws_str_is((struct ws_str){NULL, 0}, ""));
    assert_false(ws_str_is((struct ws_str){NULL, 0}, "x"));
}

static void hexadecimal_digits_have_their_value_and_nothing_else_has(void **state)
{
    static const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";
    int found = 0;
    (void)state;

    for (int i = 0; i < 16; i++) {
        assert_int_equal(ws_hex_value(digits[i]), i);
        assert_int_equal(ws_hex_value(capitals[i]), i);
    }
    for (int c = -128; c < 128; c++)
        found += ws_hex_value((char)c) >= 0;
    assert_int_equal(found, 22);
}

#include "tests/test_ws_str.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
