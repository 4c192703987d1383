/* SPDX-License-Identifier: MIT
 *
 * Unit tests of resp.c: each reply is read whole, byte by byte, and at every split. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "../../tests/exact.h"
#include "../resp.h"

enum { MAX_BYTES = 1 << 20 };
#define TEXT(literal) (literal), sizeof(literal) - 1

/* --- reading ---------------------------------------------------------------------------------- */

/* Read `wire[0..len)` in the parts [0..first), [first..len), each time from an allocation of its
 * own, so that a slice into the first would be noticed. `*copy` is to be freed. */
static ptrdiff_t read_split(struct resp_reader *r, const char *wire, size_t len, size_t first,
                            char **copy)
{
    ptrdiff_t result;

    *r = (struct resp_reader){.max_bytes = MAX_BYTES};
    *copy = exact_copy(wire, first);
    result = resp_read(r, *copy, first);
    if (result != 0 || first == len)
        return result;
    free(*copy);
    *copy = exact_copy(wire, len);
    return resp_read(r, *copy, len);
}

static ptrdiff_t read_bytewise(struct resp_reader *r, const char *wire, size_t len, char **copy)
{
    *r = (struct resp_reader){.max_bytes = MAX_BYTES};
    for (size_t n = 0;; n++) {
        ptrdiff_t result;

        *copy = exact_copy(wire, n);
        result = resp_read(r, *copy, n);
        if (result != 0 || n == len)
            return result;
        free(*copy);
    }
}

/* The values that are kept, as a text such as "0A2 1S:a 1I:7": depth, type, and how many are
 * inside, or its text. */
static void describe(const struct resp_reader *r, char *out, size_t size)
{
    static const char letters[] = "SEIDGBNAZMP";
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < r->count; i++) {
        const struct resp_value *v = &r->values[i];

        len += (size_t)snprintf(out + len, size - len, "%s%u%c", i == 0 ? "" : " ", v->depth,
                                letters[v->type]);
        if (v->type >= RESP_ARRAY)
            len += (size_t)snprintf(out + len, size - len, "%lld", (long long)v->number);
        else if (v->type != RESP_NULL)
            len += (size_t)snprintf(out + len, size - len, ":%.*s", (int)v->text.len, v->text.data);
    }
}

static void expect_values(const struct resp_reader *r, const char *values)
{
    char seen[1024];

    describe(r, seen, sizeof seen);
    assert_string_equal(seen, values);
}

/* One whole reply, and more behind it that is not to be touched. */
static void expect_reply(const char *wire, size_t len, const char *values)
{
    struct resp_reader r;
    char *copy;

    for (size_t first = 0; first <= len; first++) {
        assert_int_equal(read_split(&r, wire, len, first, &copy), len);
        expect_values(&r, values);
        free(copy);
    }
    assert_int_equal(read_bytewise(&r, wire, len, &copy), len);
    expect_values(&r, values);
    free(copy);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(read_split(&r, wire, n, n, &copy), 0);
        free(copy);
    }
}

static void expect_error(const char *wire, size_t len, ptrdiff_t error)
{
    struct resp_reader r;
    char *copy;

    for (size_t first = 0; first <= len; first++) {
        ptrdiff_t result = read_split(&r, wire, len, first, &copy);

        if (result != error)
            print_error("ERROR: %.40s: %td at split %zu\n", wire, result, first);
        assert_int_equal(result, error);
        free(copy);
    }
    assert_int_equal(read_bytewise(&r, wire, len, &copy), error);
    free(copy);
    assert_true(strlen(resp_strerror(error)) > 8);
}

static void replies_of_version_2_are_read(void **state)
{
    (void)state;
    expect_reply(TEXT("+OK\r\n"), "0S:OK");
    expect_reply(TEXT("+\r\n"), "0S:");
    expect_reply(TEXT("-ERR no such command\r\n"), "0E:ERR no such command");
    expect_reply(TEXT(":0\r\n"), "0I:0");
    expect_reply(TEXT(":+7\r\n"), "0I:+7");
    expect_reply(TEXT("$5\r\nhello\r\n"), "0S:hello");
    expect_reply(TEXT("$0\r\n\r\n"), "0S:");
    expect_reply(TEXT("$4\r\n\r\n\r\n\r\n"), "0S:\r\n\r\n");
    expect_reply(TEXT("$-1\r\n"), "0N");
    expect_reply(TEXT("*-1\r\n"), "0N");
    expect_reply(TEXT("*0\r\n"), "0A0");
    expect_reply(TEXT("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"),
                 "0A3 1S:message 1S:c 1S:hi");
    expect_reply(TEXT("*3\r\n*0\r\n*2\r\n:1\r\n*1\r\n$-1\r\n+x\r\n"),
                 "0A3 1A0 1A2 2I:1 2A1 3N 1S:x");
}

static void replies_of_version_3_are_read(void **state)
{
    (void)state;
    expect_reply(TEXT("_\r\n"), "0N");
    expect_reply(TEXT("#t\r\n"), "0B:t");
    expect_reply(TEXT(",-1.5e+3\r\n"), "0D:-1.5e+3");
    expect_reply(TEXT(",10.\r\n"), "0D:10.");
    expect_reply(TEXT(",-inf\r\n"), "0D:-inf");
    expect_reply(TEXT(",nan\r\n"), "0D:nan");
    expect_reply(TEXT("(-3492890328409238509324850943850943825024385\r\n"),
                 "0G:-3492890328409238509324850943850943825024385");
    expect_reply(TEXT("!21\r\nSYNTAX invalid syntax\r\n"), "0E:SYNTAX invalid syntax");
    expect_reply(TEXT("=15\r\ntxt:Some string\r\n"), "0S:Some string");
    expect_reply(TEXT("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n+c\r\n"), "0M4 1S:a 1I:1 1S:b 1A1 2S:c");
    expect_reply(TEXT("~2\r\n+a\r\n#f\r\n"), "0Z2 1S:a 1B:f");
    expect_reply(TEXT(">2\r\n+invalidate\r\n_\r\n"), "0P2 1S:invalidate 1N");
}

static void numbers_are_exact_up_to_their_ends(void **state)
{
    static const struct {
        const char *wire;
        int64_t number;
    } cases[] = {{":9223372036854775807\r\n", INT64_MAX},
                 {":-9223372036854775808\r\n", INT64_MIN},
                 {":-0\r\n", 0},
                 {":-12\r\n", -12},
                 {"#t\r\n", 1},
                 {"#f\r\n", 0}};
    struct resp_reader r;
    char *copy;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].wire);

        assert_int_equal(read_split(&r, cases[i].wire, len, 0, &copy), len);
        assert_true(r.values[0].number == cases[i].number);
        free(copy);
    }
}

static void attributes_are_left_out(void **state)
{
    (void)state;
    expect_reply(TEXT("|1\r\n+ttl\r\n:3600\r\n+value\r\n"), "0S:value");
    expect_reply(TEXT("|0\r\n|1\r\n+a\r\n*2\r\n+b\r\n%1\r\n+c\r\n+d\r\n:1\r\n"), "0I:1");
    expect_reply(TEXT("*2\r\n|1\r\n+a\r\n|0\r\n+b\r\n:1\r\n|1\r\n+a\r\n*0\r\n*1\r\n+x\r\n"),
                 "0A2 1I:1 1A1 2S:x");
}

static void replies_follow_one_another_with_pushes_between(void **state)
{
    static const char wire[] = ":1\r\n>3\r\n+message\r\n+c\r\n$2\r\nhi\r\n*2\r\n+c\r\n:5\r\n";
    static const char *const values[] = {"0I:1", "0P3 1S:message 1S:c 1S:hi", "0A2 1S:c 1I:5"};
    size_t total = sizeof wire - 1;

    (void)state;
    for (size_t chunk = 1; chunk <= total; chunk++) {
        struct resp_reader r = {.max_bytes = MAX_BYTES};
        size_t begin = 0;
        size_t seen = 0;

        for (size_t there = chunk < total ? chunk : total; begin < total;) {
            ptrdiff_t n = resp_read(&r, wire + begin, there - begin);

            assert_true(n >= 0);
            if (n == 0) {
                assert_true(there < total);
                there = there + chunk < total ? there + chunk : total;
                continue;
            }
            assert_in_range(seen, 0, 2);
            expect_values(&r, values[seen < 3 ? seen++ : 0]);
            begin += (size_t)n;
        }
        assert_int_equal(seen, 3);
    }
}

static void what_is_no_reply_is_refused(void **state)
{
    (void)state;
    expect_error(TEXT("HTTP/1.1 400 Bad Request\r\n"), RESP_ERR_TYPE);
    expect_error(TEXT("\r\n"), RESP_ERR_TYPE);
    expect_error(TEXT("\0\r\n"), RESP_ERR_TYPE);
    expect_error(TEXT("*1\r\n\n"), RESP_ERR_TYPE);
    expect_error(TEXT("+OK\n"), RESP_ERR_LINE);
    expect_error(TEXT("+O\nK\r\n"), RESP_ERR_LINE);
    expect_error(TEXT("+O\rK\r\n"), RESP_ERR_LINE);
    expect_error(TEXT("+O\r\r\n"), RESP_ERR_LINE);
    expect_error(TEXT("$2\r\nabc\r\n"), RESP_ERR_TEXT);
    expect_error(TEXT("$2\r\nab\n\n"), RESP_ERR_TEXT);
    expect_error(TEXT("=3\r\ntxt\r\n"), RESP_ERR_TEXT);
    expect_error(TEXT("=4\r\ntext\r\n"), RESP_ERR_TEXT);
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const lines[] = {":",
                                        ":a",
                                        ":1a",
                                        ": 1",
                                        ":1 ",
                                        ":--1",
                                        ":+",
                                        ":9223372036854775808",
                                        "$",
                                        "$a",
                                        "$-2",
                                        "$+1",
                                        "$1 ",
                                        "$0x1",
                                        "*",
                                        ":-9223372036854775809",
                                        "*-2",
                                        "%-1",
                                        "~-1",
                                        ">-1",
                                        "!-1",
                                        "=-1",
                                        "|-1",
                                        "$18446744073709551616",
                                        "#",
                                        "#x",
                                        "#tt",
                                        "_x",
                                        ",",
                                        ",x",
                                        ",1.5x",
                                        "*9223372036854775808",
                                        ",.5",
                                        ",1e",
                                        ",1e+",
                                        ",+inf",
                                        "(",
                                        "(1.5",
                                        "(-",
                                        "$9223372036854775808",
                                        ":18446744073709551617"};
    char wire[64];

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        int len = snprintf(wire, sizeof wire, "%s\r\n", lines[i]);

        expect_error(wire, (size_t)len, RESP_ERR_NUMBER);
    }
}

static void values_of_unknown_length_are_refused(void **state)
{
    (void)state;
    expect_error(TEXT("$?\r\n"), RESP_ERR_STREAMED);
    expect_error(TEXT("*?\r\n"), RESP_ERR_STREAMED);
    expect_error(TEXT("~?\r\n"), RESP_ERR_STREAMED);
    expect_error(TEXT("%?\r\n"), RESP_ERR_STREAMED);
    expect_error(TEXT("*1\r\n;4\r\n"), RESP_ERR_STREAMED);
    expect_error(TEXT(".\r\n"), RESP_ERR_STREAMED);
}

static void a_push_inside_a_reply_is_refused(void **state)
{
    (void)state;
    expect_error(TEXT("*1\r\n>1\r\n"), RESP_ERR_PUSH);
    expect_error(TEXT("|1\r\n+a\r\n>1\r\n"), RESP_ERR_PUSH);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void lengths_over_the_limit_are_refused_at_once(void **state)
{
    (void)state;
    expect_error(TEXT("$1048577\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("$4294967296\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("$9223372036854775807\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("!9223372036854775807\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("*65537\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("%32769\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("*4294967296\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("%9223372036854775807\r\n"), RESP_ERR_SIZE);
    expect_error(TEXT("|9223372036854775807\r\n"), RESP_ERR_SIZE);
}

/* A reply of exactly the limit is whole; one of a byte more is not waited for. */
static void bytes_of_a_reply_are_bounded(void **state)
{
    struct resp_reader r = {.max_bytes = 20};

    (void)state;
    assert_int_equal(resp_read(&r, TEXT("$13\r\n0123456789abc\r\n")), 20);
    assert_int_equal(resp_read(&r, TEXT("$14\r\n")), RESP_ERR_SIZE);
    r = (struct resp_reader){.max_bytes = 20};
    assert_int_equal(resp_read(&r, TEXT("*9\r\n+1\r\n+2\r\n+3\r\n+44")), 0);
    assert_int_equal(resp_read(&r, TEXT("*9\r\n+1\r\n+2\r\n+3\r\n+44\r")), RESP_ERR_SIZE);
}

static void what_is_no_error_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(resp_strerror(0), "no error");
}

static void lines_are_bounded(void **state)
{
    static char line[RESP_LINE_MAX + 3];
    struct resp_reader r = {.max_bytes = MAX_BYTES};

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line + RESP_LINE_MAX - 2, "\r\n", 2);
    line[0] = '+';
    assert_int_equal(resp_read(&r, line, RESP_LINE_MAX), RESP_LINE_MAX);
    assert_int_equal(r.values[0].text.len, RESP_LINE_MAX - 3);
    memcpy(line + RESP_LINE_MAX - 2, "x\r\n", 3);
    assert_int_equal(resp_read(&r, line, RESP_LINE_MAX - 1), 0);
    assert_int_equal(resp_read(&r, line, RESP_LINE_MAX + 1), RESP_ERR_LINE);
}

static void nesting_is_bounded(void **state)
{
    static const char open[] = "*1\r\n";
    char wire[(RESP_DEPTH_MAX + 1) * 4 + 4];
    struct resp_reader r = {.max_bytes = MAX_BYTES};

    (void)state;
    for (size_t i = 0; i <= RESP_DEPTH_MAX; i++)
        memcpy(wire + 4 * i, open, 4);
    assert_int_equal(resp_read(&r, wire, 4 * (RESP_DEPTH_MAX + 1)), RESP_ERR_DEPTH);
    r = (struct resp_reader){.max_bytes = MAX_BYTES};
    memcpy(wire + 4 * (size_t)RESP_DEPTH_MAX, ":1\r\n", 4);
    assert_int_equal(resp_read(&r, wire, 4 * (RESP_DEPTH_MAX + 1)), 4 * (RESP_DEPTH_MAX + 1));
    assert_int_equal(r.count, RESP_DEPTH_MAX + 1);
}

/* However they are spread over arrays and attributes. */
static void values_of_a_reply_are_bounded(void **state)
{
    static const char *const pieces[] = {"*0\r\n", "|0\r\n", "|1\r\n+\r\n+\r\n", "+\r\n"};
    static char wire[RESP_ELEMENTS_MAX * 16];

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct resp_reader r = {.max_bytes = sizeof wire};
        size_t len = (size_t)sprintf(wire, "*%d\r\n*%d\r\n", 40000, 40000);

        while (len + 16 < sizeof wire)
            len += (size_t)sprintf(wire + len, "%s", pieces[i]);
        assert_int_equal(resp_read(&r, wire, len), RESP_ERR_SIZE);
        assert_true(r.elements <= RESP_ELEMENTS_MAX);
        assert_true(r.count <= RESP_VALUES);
    }
}

static void values_that_are_not_kept_are_still_checked(void **state)
{
    char wire[512];
    struct resp_reader r = {.max_bytes = MAX_BYTES};
    size_t len = (size_t)sprintf(wire, "*%d\r\n", RESP_VALUES + 8);

    (void)state;
    for (int i = 0; i < RESP_VALUES + 7; i++)
        len += (size_t)sprintf(wire + len, ":%d\r\n", i);
    assert_int_equal(resp_read(&r, wire, len), 0);
    memcpy(wire + len, ":x\r\n", 4);
    assert_int_equal(resp_read(&r, wire, len + 4), RESP_ERR_NUMBER);
    memcpy(wire + len, ":1\r\n", 4);
    r = (struct resp_reader){.max_bytes = MAX_BYTES};
    assert_int_equal(resp_read(&r, wire, len + 4), len + 4);
    assert_int_equal(r.count, RESP_VALUES);
    assert_int_equal(r.values[0].number, RESP_VALUES + 8);
    assert_int_equal(r.values[RESP_VALUES - 1].number, RESP_VALUES - 2);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void expect_command(const struct ws_str *arguments, size_t count, const struct ws_str *last,
                           size_t pieces, const char *wire)
{
    size_t size = resp_command(NULL, arguments, count, last, pieces);
    char *out = malloc(size);

    assert_non_null(out);
    assert_int_equal(size, strlen(wire));
    assert_int_equal(resp_command(out, arguments, count, last, pieces), size);
    assert_memory_equal(out, wire, size);
    free(out);
}

static void commands_are_arrays_of_strings(void **state)
{
    const struct ws_str ping = {TEXT("PING")};
    const struct ws_str publish[] = {{TEXT("PUBLISH")}, {TEXT("a b")}};
    const struct ws_str pieces[] = {{TEXT("head")}, {NULL, 0}, {TEXT(" and body")}};
    const struct ws_str nothing = {NULL, 0};

    (void)state;
    expect_command(&ping, 1, NULL, 0, "*1\r\n$4\r\nPING\r\n");
    expect_command(publish, 2, pieces, 3,
                   "*3\r\n$7\r\nPUBLISH\r\n$3\r\na b\r\n$13\r\nhead and body\r\n");
    expect_command(publish, 2, &nothing, 1, "*3\r\n$7\r\nPUBLISH\r\n$3\r\na b\r\n$0\r\n\r\n");
}

static void a_command_is_read_as_it_was_written(void **state)
{
    static char text[100000];
    const struct ws_str arguments[] = {{TEXT("\r\n\0")}, {text, sizeof text}};
    size_t size = resp_command(NULL, arguments, 2, NULL, 0);
    char *out = malloc(size);
    struct resp_reader r = {.max_bytes = size};

    (void)state;
    assert_non_null(out);
    resp_command(out, arguments, 2, NULL, 0);
    assert_int_equal(resp_read(&r, out, size), size);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.values[1].text.len, 3);
    assert_int_equal(r.values[2].text.len, sizeof text);
    free(out);
}

#include "cluster/tests/test_resp.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
