/* SPDX-License-Identifier: MIT
 *
 * The cases of the conformance tables are named as in nst/JSONTestSuite ("y" must be accepted, "n"
 * must be rejected, "i" is left to the implementation); their inputs are written anew here. */
#include "../../tests/unit.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../../tests/oom.h"
#include "../json.h"

static struct ws_str text(const char *s)
{
    return (struct ws_str){s, strlen(s)};
}

/* --- what is JSON ----------------------------------------------------------------------------- */

struct input {
    const char *name;
    const char *data;
    size_t len;
};

#define INPUT(name, data)                                                                          \
    {                                                                                              \
        (name), (data), sizeof(data) - 1                                                           \
    }

static const struct input must_accept[] = {
    INPUT("array_arraysWithSpaces", "[[]   ]"),
    INPUT("array_empty-string", "[\"\"]"),
    INPUT("array_empty", "[]"),
    INPUT("array_ending_with_newline", "[\"z\"]\n"),
    INPUT("array_false", "[false]"),
    INPUT("array_heterogeneous", "[null, 1, \"1\", {}]"),
    INPUT("array_null", "[null]"),
    INPUT("array_with_1_and_newline", "[1\n]"),
    INPUT("array_with_leading_space", " [1]"),
    INPUT("array_with_several_null", "[1,null,null,null,2]"),
    INPUT("array_with_trailing_space", "[2] "),
    INPUT("number", "[123e65]"),
    INPUT("number_0e+1", "[0e+1]"),
    INPUT("number_0e1", "[0e1]"),
    INPUT("number_after_space", "[ 4]"),
    INPUT("number_double_close_to_zero", "[-0.000000000000000000000000000000000000000000000001]"),
    INPUT("number_int_with_exp", "[20e1]"),
    INPUT("number_minus_zero", "[-0]"),
    INPUT("number_negative_int", "[-123]"),
    INPUT("number_negative_one", "[-1]"),
    INPUT("number_negative_zero", "[-0]"),
    INPUT("number_real_capital_e", "[1E22]"),
    INPUT("number_real_capital_e_neg_exp", "[1E-2]"),
    INPUT("number_real_capital_e_pos_exp", "[1E+2]"),
    INPUT("number_real_exponent", "[123e45]"),
    INPUT("number_real_fraction_exponent", "[123.456e78]"),
    INPUT("number_real_neg_exp", "[1e-2]"),
    INPUT("number_real_pos_exponent", "[1e+2]"),
    INPUT("number_simple_int", "[123]"),
    INPUT("number_simple_real", "[123.456789]"),
    INPUT("object", "{\"k\":\"v\", \"l\":\"w\"}"),
    INPUT("object_basic", "{\"k\":\"v\"}"),
    INPUT("object_duplicated_key", "{\"a\":\"b\",\"a\":\"c\"}"),
    INPUT("object_duplicated_key_and_value", "{\"a\":\"b\",\"a\":\"b\"}"),
    INPUT("object_empty", "{}"),
    INPUT("object_empty_key", "{\"\":0}"),
    INPUT("object_escaped_null_in_key", "{\"a\\u0000b\": 42}"),
    INPUT("object_extreme_numbers", "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
    INPUT("object_long_strings",
          "{\"x\":[{\"id\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}], "
          "\"id\": \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}"),
    INPUT("object_simple", "{\"a\":[]}"),
    INPUT("object_string_unicode", "{\"t\":\"\\u041f\\u043e\\u043b\" }"),
    INPUT("object_with_newlines", "{\n\"a\": \"b\"\n}"),
    INPUT("string_1_2_3_bytes_UTF-8_sequences", "[\"\\u0060\\u012a\\u12AB\"]"),
    INPUT("string_accepted_surrogate_pair", "[\"\\uD801\\udc37\"]"),
    INPUT("string_accepted_surrogate_pairs", "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
    INPUT("string_allowed_escapes", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    INPUT("string_backslash_and_u_escaped_zero", "[\"\\\\u0000\"]"),
    INPUT("string_backslash_doublequotes", "[\"\\\"\"]"),
    INPUT("string_comments", "[\"a/*b*/c/*d//e\"]"),
    INPUT("string_double_escape_a", "[\"\\\\a\"]"),
    INPUT("string_double_escape_n", "[\"\\\\n\"]"),
    INPUT("string_escaped_control_character", "[\"\\u0012\"]"),
    INPUT("string_escaped_noncharacter", "[\"\\uFFFF\"]"),
    INPUT("string_in_array", "[\"xyz\"]"),
    INPUT("string_in_array_with_leading_space", "[ \"xyz\"]"),
    INPUT("string_last_surrogates_1_and_2", "[\"\\uDBFF\\uDFFF\"]"),
    INPUT("string_nbsp_uescaped", "[\"a\\u00A0b\"]"),
    INPUT("string_nonCharacterInUTF-8_U+10FFFF", "[\"\xf4\x8f\xbf\xbf\"]"),
    INPUT("string_nonCharacterInUTF-8_U+FFFF", "[\"\xef\xbf\xbf\"]"),
    INPUT("string_null_escape", "[\"\\u0000\"]"),
    INPUT("string_one-byte-utf-8", "[\"\\u002c\"]"),
    INPUT("string_pi", "[\"\xcf\x80\"]"),
    INPUT("string_reservedCharacterInUTF-8_U+1BFFF", "[\"\xf0\x9b\xbf\xbf\"]"),
    INPUT("string_simple_ascii", "[\"xyz \"]"),
    INPUT("string_space", "\" \""),
    INPUT("string_surrogates_U+1D11E_MUSICAL_SYMBOL_G_CLEF", "[\"\\uD834\\uDd1e\"]"),
    INPUT("string_three-byte-utf-8", "[\"\\u0821\"]"),
    INPUT("string_two-byte-utf-8", "[\"\\u0123\"]"),
    INPUT("string_u+2028_line_sep", "[\"\xe2\x80\xa8\"]"),
    INPUT("string_u+2029_par_sep", "[\"\xe2\x80\xa9\"]"),
    INPUT("string_uEscape", "[\"\\u0061\\u30af\\u30EA\\u30b9\"]"),
    INPUT("string_uescaped_newline", "[\"new\\u000Aline\"]"),
    INPUT("string_unescaped_char_delete", "[\"\x7f\"]"),
    INPUT("string_unicode", "[\"\\uA66D\"]"),
    INPUT("string_unicodeEscapedBackslash", "[\"\\u005C\"]"),
    INPUT("string_unicode_2", "[\"\xe2\x8d\x82\xe3\x88\xb4\"]"),
    INPUT("string_unicode_U+10FFFE_nonchar", "[\"\\uDBFF\\uDFFE\"]"),
    INPUT("string_unicode_U+1FFFE_nonchar", "[\"\\uD83F\\uDFFE\"]"),
    INPUT("string_unicode_U+200B_ZERO_WIDTH_SPACE", "[\"\\u200B\"]"),
    INPUT("string_unicode_U+2064_invisible_plus", "[\"\\u2064\"]"),
    INPUT("string_unicode_U+FDD0_nonchar", "[\"\\uFDD0\"]"),
    INPUT("string_unicode_U+FFFE_nonchar", "[\"\\uFFFE\"]"),
    INPUT("string_unicode_escaped_double_quote", "[\"\\u0022\"]"),
    INPUT("string_utf8", "[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"),
    INPUT("string_with_del_character", "[\"a\x7f\x61\"]"),
    INPUT("structure_lonely_false", "false"),
    INPUT("structure_lonely_int", "42"),
    INPUT("structure_lonely_negative_real", "-0.1"),
    INPUT("structure_lonely_null", "null"),
    INPUT("structure_lonely_string", "\"xyz\""),
    INPUT("structure_lonely_true", "true"),
    INPUT("structure_string_empty", "\"\""),
    INPUT("structure_trailing_newline", "[\"a\"]\n"),
    INPUT("structure_true_in_array", "[true]"),
    INPUT("structure_whitespace_array", " [] "),
};

static const struct input must_reject[] = {
    INPUT("array_1_true_without_comma", "[1 true]"),
    INPUT("array_a_invalid_utf8", "[a\xe5]"),
    INPUT("array_colon_instead_of_comma", "[\"\": 1]"),
    INPUT("array_comma_after_close", "[\"\"],"),
    INPUT("array_comma_and_number", "[,1]"),
    INPUT("array_double_comma", "[1,,2]"),
    INPUT("array_double_extra_comma", "[\"x\",,]"),
    INPUT("array_extra_close", "[\"x\"]]"),
    INPUT("array_extra_comma", "[\"\",]"),
    INPUT("array_incomplete", "[\"x\""),
    INPUT("array_incomplete_invalid_value", "[x"),
    INPUT("array_inner_array_no_comma", "[3[4]]"),
    INPUT("array_invalid_utf8", "[\xff]"),
    INPUT("array_items_separated_by_semicolon", "[1:2]"),
    INPUT("array_just_comma", "[,]"),
    INPUT("array_just_minus", "[-]"),
    INPUT("array_missing_value", "[   , \"\"]"),
    INPUT("array_newlines_unclosed", "[\"a\",\n4\n,1,"),
    INPUT("array_number_and_comma", "[1,]"),
    INPUT("array_number_and_several_commas", "[1,,]"),
    INPUT("array_spaces_vertical_tab_formfeed", "[\"\x0b\x61\"\\f]"),
    INPUT("array_star_inside", "[*]"),
    INPUT("array_unclosed", "[\"\""),
    INPUT("array_unclosed_trailing_comma", "[1,"),
    INPUT("array_unclosed_with_new_lines", "[1,\n1\n,1"),
    INPUT("array_unclosed_with_object_inside", "[{}"),
    INPUT("incomplete_false", "[fals]"),
    INPUT("incomplete_null", "[nul]"),
    INPUT("incomplete_true", "[tru]"),
    INPUT("multidigit_number_then_00", "123\0"),
    INPUT("number_++", "[++1234]"),
    INPUT("number_+1", "[+1]"),
    INPUT("number_+Inf", "[+Inf]"),
    INPUT("number_-01", "[-01]"),
    INPUT("number_-1.0.", "[-1.0.]"),
    INPUT("number_-2.", "[-2.]"),
    INPUT("number_-NaN", "[-NaN]"),
    INPUT("number_.-1", "[.-1]"),
    INPUT("number_.2e-3", "[.2e-3]"),
    INPUT("number_0.1.2", "[0.1.2]"),
    INPUT("number_0.3e+", "[0.3e+]"),
    INPUT("number_0.3e", "[0.3e]"),
    INPUT("number_0.e1", "[0.e1]"),
    INPUT("number_0_capital_E+", "[0E+]"),
    INPUT("number_0_capital_E", "[0E]"),
    INPUT("number_0e+", "[0e+]"),
    INPUT("number_0e", "[0e]"),
    INPUT("number_1.0e+", "[1.0e+]"),
    INPUT("number_1.0e-", "[1.0e-]"),
    INPUT("number_1.0e", "[1.0e]"),
    INPUT("number_1_000", "[1 000.0]"),
    INPUT("number_1eE2", "[1eE2]"),
    INPUT("number_2.e+3", "[2.e+3]"),
    INPUT("number_2.e-3", "[2.e-3]"),
    INPUT("number_2.e3", "[2.e3]"),
    INPUT("number_9.e+", "[9.e+]"),
    INPUT("number_Inf", "[Inf]"),
    INPUT("number_NaN", "[NaN]"),
    INPUT("number_U+FF11_fullwidth_digit_one", "[\xef\xbc\x91]"),
    INPUT("number_expression", "[1+2]"),
    INPUT("number_hex_1_digit", "[0x1]"),
    INPUT("number_hex_2_digits", "[0x42]"),
    INPUT("number_infinity", "[Infinity]"),
    INPUT("number_invalid+-", "[0e+-1]"),
    INPUT("number_invalid-negative-real", "[-123.123foo]"),
    INPUT("number_invalid-utf-8-in-bigger-int", "[123\xe5]"),
    INPUT("number_invalid-utf-8-in-exponent", "[1e1\xe5]"),
    INPUT("number_invalid-utf-8-in-int", "[0\xe5]\n"),
    INPUT("number_minus_infinity", "[-Infinity]"),
    INPUT("number_minus_sign_with_trailing_garbage", "[-foo]"),
    INPUT("number_minus_space_1", "[- 1]"),
    INPUT("number_neg_int_starting_with_zero", "[-012]"),
    INPUT("number_neg_real_without_int_part", "[-.123]"),
    INPUT("number_neg_with_garbage_at_end", "[-1x]"),
    INPUT("number_real_garbage_after_e", "[1ea]"),
    INPUT("number_real_with_invalid_utf8_after_e", "[1e\xe5]"),
    INPUT("number_real_without_fractional_part", "[1.]"),
    INPUT("number_starting_with_dot", "[.123]"),
    INPUT("number_with_alpha", "[1.2a-3]"),
    INPUT("number_with_alpha_char", "[1.8011670033376514H-308]"),
    INPUT("number_with_leading_zero", "[012]"),
    INPUT("object_bad_value", "[\"x\", truth]"),
    INPUT("object_bracket_key", "{[: \"x\"}\n"),
    INPUT("object_comma_instead_of_colon", "{\"x\", null}"),
    INPUT("object_double_colon", "{\"x\"::\"b\"}"),
    INPUT("object_emoji", "{\xf0\x9f\x87\xa8\xf0\x9f\x87\xad}"),
    INPUT("object_garbage_at_end", "{\"a\":\"a\" 123}"),
    INPUT("object_key_with_single_quotes", "{key: 'value'}"),
    INPUT("object_lone_continuation_byte_in_key_and_trailing_comma", "{\"\xb9\":\"0\",}"),
    INPUT("object_missing_colon", "{\"a\" b}"),
    INPUT("object_missing_key", "{:\"b\"}"),
    INPUT("object_missing_semicolon", "{\"a\" \"b\"}"),
    INPUT("object_missing_value", "{\"a\":"),
    INPUT("object_no-colon", "{\"a\""),
    INPUT("object_non_string_key", "{1:1}"),
    INPUT("object_non_string_key_but_huge_number_instead", "{9999E9999:1}"),
    INPUT("object_repeated_null_null", "{null:null,null:null}"),
    INPUT("object_several_trailing_commas", "{\"id\":0,,,,,}"),
    INPUT("object_single_quote", "{'a':0}"),
    INPUT("object_trailing_comma", "{\"id\":0,}"),
    INPUT("object_trailing_comment", "{\"a\":\"b\"}/**/"),
    INPUT("object_trailing_comment_open", "{\"a\":\"b\"}/**//"),
    INPUT("object_trailing_comment_slash_open", "{\"a\":\"b\"}//"),
    INPUT("object_trailing_comment_slash_open_incomplete", "{\"a\":\"b\"}/"),
    INPUT("object_two_commas_in_a_row", "{\"a\":\"b\",,\"c\":\"d\"}"),
    INPUT("object_unquoted_key", "{a: \"b\"}"),
    INPUT("object_unterminated-value", "{\"a\":\"a"),
    INPUT("object_with_single_string", "{ \"foo\" : \"bar\", \"a\" }"),
    INPUT("object_with_trailing_garbage", "{\"a\":\"b\"}#"),
    INPUT("single_space", " "),
    INPUT("string_1_surrogate_then_escape", "[\"\\uD800\\\"]"),
    INPUT("string_1_surrogate_then_escape_u", "[\"\\uD800\\u\"]"),
    INPUT("string_1_surrogate_then_escape_u1", "[\"\\uD800\\u1\"]"),
    INPUT("string_1_surrogate_then_escape_u1x", "[\"\\uD800\\u1x\"]"),
    INPUT("string_accentuated_char_no_quotes", "[\xc3\xa9]"),
    INPUT("string_backslash_00", "[\"\\\0\"]"),
    INPUT("string_escape_x", "[\"\\x00\"]"),
    INPUT("string_escaped_backslash_bad", "[\"\\\\\\\"]"),
    INPUT("string_escaped_ctrl_char_tab", "[\"\\\t\"]"),
    INPUT("string_escaped_emoji", "[\"\\\xf0\x9f\x8c\x80\"]"),
    INPUT("string_incomplete_escape", "[\"\\\"]"),
    INPUT("string_incomplete_escaped_character", "[\"\\u00A\"]"),
    INPUT("string_incomplete_surrogate", "[\"\\uD834\\uDd\"]"),
    INPUT("string_incomplete_surrogate_escape_invalid", "[\"\\uD800\\uD800\\x\"]"),
    INPUT("string_invalid-utf-8-in-escape", "[\"\\u\xe5\"]"),
    INPUT("string_invalid_backslash_esc", "[\"\\a\"]"),
    INPUT("string_invalid_unicode_escape", "[\"\\uqqqq\"]"),
    INPUT("string_invalid_utf8_after_escape", "[\"\\\xe5\"]"),
    INPUT("string_leading_uescaped_thinspace", "[\\u0020\"asd\"]"),
    INPUT("string_no_quotes_with_bad_escape", "[\\n]"),
    INPUT("string_single_doublequote", "\""),
    INPUT("string_single_quote", "['single quote']"),
    INPUT("string_single_string_no_double_quotes", "abc"),
    INPUT("string_start_escape_unclosed", "[\"\\"),
    INPUT("string_unescaped_ctrl_char", "[\"a\0a\"]"),
    INPUT("string_unescaped_newline", "[\"new\nline\"]"),
    INPUT("string_unescaped_tab", "[\"\t\"]"),
    INPUT("string_unicode_CapitalU", "\"\\UA66D\""),
    INPUT("string_with_trailing_garbage", "\"\"x"),
    INPUT("structure_U+2060_word_joined", "[\xe2\x81\xa0]"),
    INPUT("structure_UTF8_BOM_no_data", "\xef\xbb\xbf"),
    INPUT("structure_angle_bracket_.", "<.>"),
    INPUT("structure_angle_bracket_null", "[<null>]"),
    INPUT("structure_array_trailing_garbage", "[1]x"),
    INPUT("structure_array_with_extra_array_close", "[1]]"),
    INPUT("structure_array_with_unclosed_string", "[\"asd]"),
    INPUT("structure_ascii-unicode-identifier", "a\xc3\xa5"),
    INPUT("structure_capitalized_True", "[True]"),
    INPUT("structure_close_unopened_array", "1]"),
    INPUT("structure_comma_instead_of_closing_brace", "{\"x\": true,"),
    INPUT("structure_double_array", "[][]"),
    INPUT("structure_end_array", "]"),
    INPUT("structure_incomplete_UTF8_BOM", "\xef\xbb{}"),
    INPUT("structure_lone-invalid-utf-8", "\xe5"),
    INPUT("structure_lone-open-bracket", "["),
    INPUT("structure_no_data", ""),
    INPUT("structure_null-byte-outside-string", "[\0]"),
    INPUT("structure_number_with_trailing_garbage", "2@"),
    INPUT("structure_object_followed_by_closing_object", "{}}"),
    INPUT("structure_object_unclosed_no_value", "{\"\":"),
    INPUT("structure_object_with_comment", "{\"a\":/*comment*/\"b\"}"),
    INPUT("structure_object_with_trailing_garbage", "{\"a\": true} \"x\""),
    INPUT("structure_open_array_apostrophe", "['"),
    INPUT("structure_open_array_comma", "[,"),
    INPUT("structure_open_array_open_object", "[{"),
    INPUT("structure_open_array_open_string", "[\"a"),
    INPUT("structure_open_array_string", "[\"a\""),
    INPUT("structure_open_object", "{"),
    INPUT("structure_open_object_close_array", "{]"),
    INPUT("structure_open_object_comma", "{,"),
    INPUT("structure_open_object_open_array", "{["),
    INPUT("structure_open_object_open_string", "{\"a"),
    INPUT("structure_open_object_string_with_apostrophes", "{'a'"),
    INPUT("structure_open_open", "[\"\\{[\"\\{[\"\\{[\"\\{"),
    INPUT("structure_single_eacute", "\xe9"),
    INPUT("structure_single_star", "*"),
    INPUT("structure_trailing_#", "{\"a\":\"b\"}#{}"),
    INPUT("structure_uescaped_LF_before_string", "[\\u000A\"\"]"),
    INPUT("structure_unclosed_array", "[1"),
    INPUT("structure_unclosed_array_partial_null", "[ false, nul"),
    INPUT("structure_unclosed_array_unfinished_false", "[ true, fals"),
    INPUT("structure_unclosed_array_unfinished_true", "[ false, tru"),
    INPUT("structure_unclosed_object", "{\"asd\":\"asd\""),
    INPUT("structure_unicode-identifier", "\xc3\xa5"),
    INPUT("structure_whitespace_U+2060_word_joiner", "\xe2\x81\xa0"),
    INPUT("structure_whitespace_formfeed", "[\x0c]"),
    /* Left to the implementation: text that is not UTF-8 (§8.1). */
    INPUT("i_string_UTF-8_invalid_sequence", "[\"\xe6\x97\xa5\xd1\x88\xfa\"]"),
    INPUT("i_string_UTF8_surrogate_U+D800", "[\"\xed\xa0\x80\"]"),
    INPUT("i_string_invalid_utf-8", "[\"\xff\"]"),
    INPUT("i_string_iso_latin_1", "[\"\xe9\"]"),
    INPUT("i_string_lone_utf8_continuation_byte", "[\"\x81\"]"),
    INPUT("i_string_not_in_unicode_range", "[\"\xf4\xbf\xbf\xbf\"]"),
    INPUT("i_string_overlong_sequence_2_bytes", "[\"\xc0\xaf\"]"),
    INPUT("i_string_overlong_sequence_6_bytes", "[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"),
    INPUT("i_string_overlong_sequence_6_bytes_null", "[\"\xfc\x80\x80\x80\x80\x80\"]"),
    INPUT("i_string_truncated-utf-8", "[\"\xe0\xff\"]"),
    INPUT("i_string_UTF-16LE_with_BOM", "\xff\xfe[\0\"\0\xe9\0\"\0]\0"),
    INPUT("i_string_utf16BE_no_BOM", "\0[\0\"\0\xe9\0\"\0]"),
    INPUT("i_string_utf16LE_no_BOM", "[\0\"\0\xe9\0\"\0]\0"),
    INPUT("i_structure_UTF-8_BOM_empty_object", "\xef\xbb\xbf{}"),
};

static const struct input left_to_us_and_accepted[] = {
    INPUT("number_double_huge_neg_exp", "[123.456e-789]"),
    INPUT("number_huge_exp", "[0.4e00669999999999999999999999999999999999999999999999999999999]"),
    INPUT("number_neg_int_huge_exp", "[-1e+9999]"),
    INPUT("number_pos_double_huge_exp", "[1.5e+9999]"),
    INPUT("number_real_neg_overflow", "[-123123e100000]"),
    INPUT("number_real_pos_overflow", "[123123e100000]"),
    INPUT("number_real_underflow", "[123e-10000000]"),
    INPUT("number_too_big_neg_int", "[-123123123123123123123123123123]"),
    INPUT("number_too_big_pos_int", "[100000000000000000000]"),
    INPUT("number_very_big_negative_int", "[-237462374673276894279832749832423479823246327846]"),
    INPUT("object_key_lone_2nd_surrogate", "{\"\\uDFAA\":0}"),
    INPUT("string_1st_surrogate_but_2nd_missing", "[\"\\uDADA\"]"),
    INPUT("string_1st_valid_surrogate_2nd_invalid", "[\"\\uD888\\u1234\"]"),
    INPUT("string_incomplete_surrogate_and_escape_valid", "[\"\\uD800\\n\"]"),
    INPUT("string_incomplete_surrogate_pair", "[\"\\uDd1ea\"]"),
    INPUT("string_incomplete_surrogates_escape_valid", "[\"\\uD800\\uD800\\n\"]"),
    INPUT("string_invalid_lonely_surrogate", "[\"\\ud800\"]"),
    INPUT("string_invalid_surrogate", "[\"\\ud800abc\"]"),
    INPUT("string_inverted_surrogates_U+1D11E", "[\"\\uDd1e\\uD834\"]"),
    INPUT("string_lone_second_surrogate", "[\"\\uDFAA\"]"),
};

static bool accepted(const char *data, size_t len)
{
    char *copy = exact_copy(data, len);
    bool valid = json_parse((struct ws_str){copy, len}).data != NULL;

    free(copy);
    return valid;
}

#define COUNT(table) (sizeof(table) / sizeof *(table))

static void what_must_be_accepted_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(must_accept); i++)
        if (!accepted(must_accept[i].data, must_accept[i].len))
            fail_msg("y_%s was rejected", must_accept[i].name);
    for (size_t i = 0; i < COUNT(left_to_us_and_accepted); i++)
        if (!accepted(left_to_us_and_accepted[i].data, left_to_us_and_accepted[i].len))
            fail_msg("i_%s was rejected", left_to_us_and_accepted[i].name);
}

static void what_must_be_rejected_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(must_reject); i++)
        if (accepted(must_reject[i].data, must_reject[i].len))
            fail_msg("n_%s was accepted", must_reject[i].name);
}

/* Several bytes of a string are looked at in one go: whatever stands out must do so at every
 * place. */
static void strings_end_alike_at_every_place(void **state)
{
    static const struct {
        const char *bytes;
        bool valid;
    } cases[] = {{"\\n", true},
                 {"\\\"", true},
                 {"\\u0041", true},
                 {"\x7f", true},
                 {"\xc3\xa4", true},
                 {" ", true},
                 {"\xf0\x9f\x98\x80", true},
                 {"\"", false},
                 {"\\", false},
                 {"\\x", false},
                 {"\x1f", false},
                 {"\x01", false},
                 {"\n", false},
                 {"\x80", false},
                 {"\xc3", false},
                 {"\xed\xa0\x80", false},
                 {"\xff", false}};
    char text[64];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].bytes);

        for (size_t len = n; len < 40; len++) {
            for (size_t at = 0; at + n <= len; at++) {
                memset(text, 'a', sizeof text);
                text[0] = text[len + 1] = '"';
                memcpy(text + 1 + at, cases[i].bytes, n);
                /* Behind it comes an 'a', which may not be escaped, or the quote at the end. */
                if (accepted(text, len + 2) != cases[i].valid)
                    fail_msg("case %zu at %zu of %zu", i, at, len);
            }
        }
    }
}

/* Only a number at the top may end early and still be JSON. */
static void no_value_ends_before_its_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(must_accept); i++) {
        const struct input *in = &must_accept[i];
        struct ws_str value = json_parse((struct ws_str){in->data, in->len});
        size_t need = (size_t)(value.data - in->data) + value.len;

        if (json_type(value) == JSON_NUMBER)
            continue;
        for (size_t n = 0; n < need; n++)
            if (accepted(in->data, n))
                fail_msg("y_%s was accepted at %zu of %zu bytes", in->name, n, in->len);
    }
}

static void white_space_around_a_value_is_cut_off(void **state)
{
    struct ws_str value = json_parse(text(" \t\r\n {\"a\" : 1}\n "));

    (void)state;
    assert_int_equal(value.len, 9);
    assert_memory_equal(value.data, "{\"a\" : 1}", 9);
    assert_null(json_parse((struct ws_str){NULL, 0}).data);
}

static void nesting_ends_at_the_limit(void **state)
{
    char deep[100000];

    (void)state;
    for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        assert_int_equal(accepted(deep, 2 * depth), depth <= JSON_DEPTH_MAX);
    }
    memset(deep, '[', sizeof deep); /* n_structure_100000_opening_arrays */
    assert_false(accepted(deep, sizeof deep));
    for (size_t i = 0; i + 5 <= sizeof deep; i += 5) /* n_structure_open_array_object */
        memcpy(deep + i, "[{\"\":", 5);
    assert_false(accepted(deep, sizeof deep));
}

/* --- slices ----------------------------------------------------------------------------------- */

static void expect_slice(struct ws_str value, const char *expected)
{
    if (value.data == NULL || value.len != strlen(expected) ||
        memcmp(value.data, expected, value.len) != 0)
        fail_msg("'%.*s' instead of %s", (int)value.len, value.data == NULL ? "" : value.data,
                 expected);
}

static void a_list_gives_its_values_in_order(void **state)
{
    struct ws_str list = json_inside(text("[ 1 , \"a,]\" ,[2,[3]], {\"b\":[4]},null]"));
    struct ws_str value;

    (void)state;
    expect_slice(json_at(list, 0), "1");
    expect_slice(json_at(list, 1), "\"a,]\"");
    expect_slice(json_at(list, 2), "[2,[3]]");
    expect_slice(json_at(list, 3), "{\"b\":[4]}");
    expect_slice(json_at(list, 4), "null");
    assert_null(json_at(list, 5).data);
    for (int i = 0; i < 5; i++)
        assert_true(json_next(&list, &value));
    assert_false(json_next(&list, &value));
    assert_int_equal(list.len, 0);
}

/* Such a list cannot come of json_inside(), but nothing depends on that. */
static void a_list_that_is_cut_off_gives_nothing_more(void **state)
{
    static const char *const cut[] = {" ", "\"a", "tru", "\"a\\"};
    static const char *const cut_members[] = {" ", "\"a", "\"a\"", "\"a\":", "\"a\":[1", "1:2"};
    struct ws_str name;
    struct ws_str value;

    (void)state;
    for (size_t i = 0; i < COUNT(cut); i++) {
        struct ws_str list = text(cut[i]);

        assert_false(json_next(&list, &value));
        assert_false(json_token(&list, &value));
    }
    for (size_t i = 0; i < COUNT(cut_members); i++) {
        struct ws_str list = text(cut_members[i]);

        assert_false(json_next_member(&list, &name, &value));
    }
}

static void lists_are_told_from_what_is_none(void **state)
{
    static const char *const lists[] = {"", " ", "1", "1,2", " 1 , [2] ", "\"a\",{}"};
    static const char *const others[] = {",",     "1,",   "1, ",     ",1",    "1,,2", "1 2",
                                         "[1],]", "1]",   "1,2}",    "\"a",   "x",    "1,x",
                                         "[",     "1,[2", "1,2\x1e", "1,\xff"};

    (void)state;
    assert_true(json_is_list((struct ws_str){NULL, 0}));
    for (size_t i = 0; i < COUNT(lists); i++)
        assert_true(json_is_list(text(lists[i])));
    for (size_t i = 0; i < COUNT(others); i++)
        if (json_is_list(text(others[i])))
            fail_msg("%s was taken for a list", others[i]);
}

static void members_are_found_by_name_however_it_is_escaped(void **state)
{
    struct ws_str o =
        text("{ \"a\" : 1 ,\"p\\u0069d\":\"x\",\"\":{\"a\":2},\"a\":3, \"\\\"\\n\":4}");

    (void)state;
    expect_slice(json_member(o, "a"), "3"); /* the last one counts */
    expect_slice(json_member(o, "pid"), "\"x\"");
    expect_slice(json_member(o, ""), "{\"a\":2}");
    expect_slice(json_member(o, "\"\n"), "4");
    assert_null(json_member(o, "b").data);
    assert_null(json_member(o, "aa").data);
    assert_null(json_member(text("{}"), "a").data);
    assert_null(json_member(text("[\"a\",1]"), "a").data);
    assert_null(json_member(text("\"a\""), "a").data);
    assert_null(json_member((struct ws_str){NULL, 0}, "a").data);
}

static void every_type_is_told(void **state)
{
    (void)state;
    assert_int_equal(json_type((struct ws_str){NULL, 0}), JSON_INVALID);
    assert_int_equal(json_type(text("null")), JSON_NULL);
    assert_int_equal(json_type(text("true")), JSON_BOOL);
    assert_int_equal(json_type(text("false")), JSON_BOOL);
    assert_int_equal(json_type(text("-1")), JSON_NUMBER);
    assert_int_equal(json_type(text("\"\"")), JSON_STRING);
    assert_int_equal(json_type(text("[]")), JSON_ARRAY);
    assert_int_equal(json_type(text("{}")), JSON_OBJECT);
    assert_int_equal(json_inside(text("[]")).len, 0);
    assert_null(json_inside(text("\"ab\"")).data);
}

/* --- scalars ---------------------------------------------------------------------------------- */

static void bools_are_read(void **state)
{
    bool b = false;

    (void)state;
    assert_true(json_bool(text("true"), &b));
    assert_true(b);
    assert_true(json_bool(text("false"), &b));
    assert_false(b);
    assert_false(json_bool(text("null"), &b));
    assert_false(json_bool(text("1"), &b));
    assert_false(json_bool(text("\"true\""), &b));
    assert_false(json_bool((struct ws_str){NULL, 0}, &b));
}

static void expect_number(const char *written, double expected)
{
    double d = 12345;

    if (!json_number(text(written), &d) || d != expected || signbit(d) != signbit(expected))
        fail_msg("%.60s: %.17g instead of %.17g", written, d, expected);
}

static void numbers_are_read(void **state)
{
    char halfway[2000];
    size_t n;
    double d = 1;

    (void)state;
    expect_number("0", 0.0);
    expect_number("-0", -0.0);
    expect_number("-0.0e5", -0.0);
    expect_number("1", 1);
    expect_number("-17", -17);
    expect_number("100", 100);
    expect_number("0.1", 0.1);
    expect_number("0.001", 0.001);
    expect_number("10.010", 10.01);
    expect_number("123.456e2", 12345.6);
    expect_number("123456E-3", 123.456);
    expect_number("1e308", 1e308);
    expect_number("1e309", INFINITY);
    expect_number("-1e400000000000000000000", -INFINITY);
    expect_number("1e-400000000000000000000", 0);
    expect_number("5e-324", 5e-324);
    expect_number("9007199254740993", 9007199254740992.0);
    expect_number("2.2250738585072011e-308", 2.2250738585072011e-308);
    assert_false(json_number(text("1a"), &d));
    assert_false(json_number(text("01"), &d));
    assert_false(json_number(text(" 1"), &d));
    assert_false(json_number(text("\"1\""), &d));
    assert_false(json_number(text("null"), &d));
    assert_false(json_number((struct ws_str){NULL, 0}, &d));
    assert_true(d == 1);

    /* Halfway between two doubles, told apart by a digit behind a thousand others. */
    n = (size_t)snprintf(halfway, sizeof halfway, "9007199254740993.");
    memset(halfway + n, '0', 1000);
    memcpy(halfway + n + 1000, "1", 2);
    expect_number(halfway, 9007199254740994.0);
    halfway[n + 1000] = '0';
    expect_number(halfway, 9007199254740992.0);
    memcpy(halfway, "0.", 2); /* a long run of zeros that the exponent takes back */
    memset(halfway + 2, '0', 1500);
    memcpy(halfway + 1502, "25e1501", 8);
    expect_number(halfway, 2.5);
}

static void integers_are_read_where_doubles_are_exact(void **state)
{
    int64_t n = 7;

    (void)state;
    assert_true(json_integer(text("9007199254740991"), &n));
    assert_int_equal(n, 9007199254740991);
    assert_true(json_integer(text("-9007199254740991"), &n));
    assert_int_equal(n, -9007199254740991);
    assert_true(json_integer(text("1.5e1"), &n));
    assert_int_equal(n, 15);
    assert_true(json_integer(text("0"), &n));
    assert_int_equal(n, 0);
    assert_true(json_integer(text("-0"), &n));
    assert_int_equal(n, 0);
    assert_true(json_integer(text("999999999999999"), &n));
    assert_int_equal(n, 999999999999999);
    assert_true(json_integer(text("1000000000000000"), &n));
    assert_int_equal(n, 1000000000000000);
    assert_true(json_integer(text("15"), &n));
    assert_false(json_integer(text("01"), &n));
    assert_false(json_integer(text("1 "), &n));
    assert_false(json_integer((struct ws_str){NULL, 0}, &n));
    assert_false(json_integer(text("9007199254740992"), &n));
    assert_false(json_integer(text("0.5"), &n));
    assert_false(json_integer(text("1e999"), &n));
    assert_false(json_integer(text("\"1\""), &n));
    assert_int_equal(n, 15);
}

static const struct {
    const char *json;
    const char *plain;
    size_t len;
} strings[] = {
    {"\"\"", "", 0},
    {"\"abc\"", "abc", 3},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
    {"\"a\\u0062c\"", "abc", 3},
    {"\"\\u00e9\\u20aC\"", "\xc3\xa9\xe2\x82\xac", 5},
    {"\"\xc3\xa9\"", "\xc3\xa9", 2},
    {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!", 5},
    {"\"\\ud83d\"", "\xef\xbf\xbd", 3},
    {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
    {"\"\\ud83dx\"", "\xef\xbf\xbdx", 4},
    {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4},
    {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd\x41", 4},
    {"\"\\ud800\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
    {"\"a\\u0000b\"", "a\0b", 3},
    {"\"\\\\u0041\"", "\\u0041", 6},
};

static void strings_are_unescaped_into_exactly_enough_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(strings); i++) {
        size_t len = strlen(strings[i].json);
        char *json = exact_copy(strings[i].json, len);

        for (size_t size = 0; size <= strings[i].len + 1; size++) {
            char *out = malloc(size);
            ptrdiff_t n = json_string((struct ws_str){json, len}, out, size);

            if (size <= strings[i].len) {
                assert_int_equal(n, -1);
            } else {
                assert_int_equal(n, strings[i].len);
                assert_memory_equal(out, strings[i].plain, strings[i].len + 1);
            }
            free(out);
        }
        free(json);
    }
}

static void what_is_no_string_is_not_unescaped(void **state)
{
    static const char *const others[] = {"",        "1",        "\"a",      "a\"",     "\"\\u12\"",
                                         "\"\\x\"", "\"a\"b\"", "\"a\nb\"", "[\"a\"]", "\""};
    char out[16];

    (void)state;
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_int_equal(json_string(text(others[i]), out, sizeof out), -1);
        assert_false(json_string_is(text(others[i]), "a"));
    }
}

static void strings_are_compared_by_what_they_mean(void **state)
{
    (void)state;
    assert_true(json_string_is(text("\"message\""), "message"));
    assert_true(json_string_is(text("\"\\u006dessa\\u0067e\""), "message"));
    assert_true(json_string_is(text("\"\\n\""), "\n"));
    assert_true(json_string_is(text("\"\""), ""));
    assert_false(json_string_is(text("\"messag\""), "message"));
    assert_false(json_string_is(text("\"messages\""), "message"));
    assert_false(json_string_is(text("\"\\u0000\""), ""));
    assert_false(json_string_is(text("message"), "message"));
}

static void there_is_no_character_in_no_text(void **state)
{
    uint32_t character;

    (void)state;
    assert_int_equal(json_character(text(""), &character), 0);
    assert_int_equal(json_character((struct ws_str){NULL, 0}, &character), 0);
    assert_int_equal(json_character(text("a"), &character), 1);
    assert_int_equal(character, 'a');
}

/* --- writing ---------------------------------------------------------------------------------- */

static void expect_written(struct json_writer *w, const char *expected)
{
    expect_slice(json_written(w), expected);
    assert_true(json_is_list(json_written(w)));
    json_writer_release(w);
}

static void commas_come_by_themselves(void **state)
{
    struct json_writer w = {0};

    (void)state;
    expect_written(&w, "");
    json_write_string(&w, "a,", 2);
    json_write_string(&w, "[", 1);
    json_write_integer(&w, -5);
    json_begin_array(&w);
    json_write_null(&w);
    json_begin_array(&w);
    json_end_array(&w);
    json_write_bool(&w, true);
    json_end_array(&w);
    json_begin_object(&w);
    json_write_name(&w, "x:");
    json_write_bool(&w, false);
    json_write_name(&w, "y");
    json_begin_object(&w);
    json_end_object(&w);
    json_end_object(&w);
    json_write_raw(&w, (struct ws_str){NULL, 0});
    json_write_raw(&w, text(" \n"));
    json_write_raw(&w, text("7,8"));
    expect_written(&w, "\"a,\",\"[\",-5,[null,[],true],{\"x:\":false,\"y\":{}},7,8");
}

/* ECMA-262 §25.5.2.3 QuoteJSONString. */
/* At whichever growth it runs out, nothing that looks whole is left. */
static void a_writer_without_memory_says_so(void **state)
{
    char text[300];
    int failures = 0;

    (void)state;
    memset(text, 'x', sizeof text);
    for (int n = 0; n < 4; n++) {
        struct json_writer w = {0};

        oom_once(n);
        json_begin_array(&w);
        for (int i = 0; i < 3; i++)
            json_write_string(&w, text, sizeof text / 3 * (size_t)(i + 1));
        json_end_array(&w);
        oom_after(-1);
        assert_int_equal(json_written(&w).data == NULL, w.failed);
        failures += w.failed;
        json_writer_release(&w);
    }
    assert_in_range(failures, 2, 4);
}

/* No capacity can hold it, and no byte of it is read. */
static void a_text_of_any_length_fails_in_the_writer_alone(void **state)
{
    volatile size_t len = SIZE_MAX;
    struct json_writer w = {0};

    (void)state;
    json_write_integer(&w, 1);
    json_write_text(&w, "x", len);
    assert_true(w.failed);
    assert_null(json_written(&w).data);
    json_writer_release(&w);
}

static void strings_are_escaped_as_json_stringify_does(void **state)
{
    struct json_writer w = {0};
    char all[0x80];

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    json_write_string(&w, all, 0x20);
    json_write_string(&w, all + 0x20, 0x60);
    expect_written(
        &w,
        "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e"
        "\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a"
        "\\u001b\\u001c\\u001d\\u001e\\u001f\",\" !\\\"#$%&'()*+,-./0123456789:;<=>?@"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\x7f\"");
    json_write_string(&w, "\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80", 9);
    expect_written(&w, "\"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"");
}

static void lone_surrogates_are_escaped_and_broken_bytes_replaced(void **state)
{
    static const struct {
        const char *bytes;
        const char *json;
    } cases[] = {
        {"\xed\xa0\x80", "\"\\ud800\""},
        {"x\xed\xbf\xbf", "\"x\\udfff\""},
        {"\xed\x9f\xbf", "\"\xed\x9f\xbf\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"\xc3", "\"\xef\xbf\xbd\""},
        {"\xc3x", "\"\xef\xbf\xbdx\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i].bytes);
        char *copy = exact_copy(cases[i].bytes, len);
        struct json_writer w = {0};

        json_write_string(&w, copy, len);
        free(copy);
        expect_written(&w, cases[i].json);
    }
}

static void what_was_written_reads_back_the_same(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x3000; c++) {
        struct json_writer w = {0};
        char plain[4] = {(char)(c < 0x80 ? c : c < 0x800 ? 0xc0 | c >> 6 : 0xe0 | c >> 12)};
        size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
        char out[16];

        for (size_t i = 1; i < len; i++)
            plain[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3f));
        json_write_string(&w, plain, len);
        assert_int_equal(json_string(json_written(&w), out, sizeof out), len);
        assert_memory_equal(out, plain, len);
        json_writer_release(&w);
    }
}

static void numbers_are_written_as_javascript_does(void **state)
{
    static const struct {
        double number;
        const char *json;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-1, "-1"},
        {0.1, "0.1"},
        {0.30000000000000004, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {123.456, "123.456"},
        {-1.5, "-1.5"},
        {1e-6, "0.000001"},
        {1.5e-6, "0.0000015"},
        {1e-7, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {1e20, "100000000000000000000"},
        {1.25e20, "125000000000000000000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e21, "1e+21"},
        {1.5e300, "1.5e+300"},
        {9007199254740991.0, "9007199254740991"},
        {9007199254740992.0, "9007199254740992"},
        {-18014398509481984.0, "-18014398509481984"},
        {5e-324, "5e-324"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
        {NAN, "null"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_writer w = {0};

        json_write_number(&w, cases[i].number);
        expect_written(&w, cases[i].json);
    }
}

/* A program may have set a locale with a decimal comma; JSON has none. */
static void numbers_do_not_depend_on_the_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "ps_AF.UTF-8"};
    struct json_writer w = {0};
    double d = 0;
    bool found = false;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) != NULL;
    if (!found)
        skip();
    assert_true(json_number(text("12.5"), &d));
    json_write_number(&w, 12.5);
    setlocale(LC_NUMERIC, "C");
    assert_true(d == 12.5);
    expect_written(&w, "12.5");
}

static void doubles_read_back_as_they_were(void **state)
{
    uint64_t bits = 0x123456789abcdefu;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct json_writer w = {0};
        double d;
        double back;

        bits ^= bits << 13; /* xorshift64 */
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d))
            continue;
        json_write_number(&w, d);
        assert_true(json_number(json_written(&w), &back));
        assert_memory_equal(&d, &back, sizeof d);
        json_writer_release(&w);
    }
}

#include "socketio/tests/test_json.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
