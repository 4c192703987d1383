/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

#include "check/wire.h"

/* RFC 6455 §1.3, and a key whose hash needs both blocks. */
static void accept_value_is_that_of_the_rfc(void **state)
{
    char out[ACCEPT_SIZE];

    (void)state;
    accept_of(out, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    accept_of(out, "x3JJHMbDL1EzLkh9GBhXDw==");
    assert_string_equal(out, "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

static void expect_written(const struct out_frame *f, const char *wire, size_t len)
{
    struct bytes b = {0};

    frame_write(&b, f);
    assert_int_equal(b.len, len);
    assert_memory_equal(b.data, wire, len);
    bytes_release(&b);
}

#define EXPECT_WRITTEN(wire, ...)                                                                  \
    expect_written(&(struct out_frame){__VA_ARGS__}, wire, sizeof wire - 1)

/* RFC 6455 §5.7 has the first one. */
static void frames_are_written_legal_or_not(void **state)
{
    (void)state;
    EXPECT_WRITTEN("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", .opcode = OP_TEXT, .fin = true,
                   .payload = "Hello", .len = 5);
    EXPECT_WRITTEN("\x81\x05Hello", .opcode = OP_TEXT, .fin = true, .unmasked = true,
                   .payload = "Hello", .len = 5);
    EXPECT_WRITTEN("\x43\x80\1\2\3\4", .opcode = 3, .rsv = 4, .has_key = true, .key = {1, 2, 3, 4});
    EXPECT_WRITTEN("\x82\xfe\0\1\1\1\1\1\x60", .opcode = OP_BINARY, .fin = true, .form = LENGTH_16,
                   .has_key = true, .key = {1, 1, 1, 1}, .payload = "a", .len = 1);
    EXPECT_WRITTEN("\x89\x7f\0\0\0\0\0\0\0\1?", .opcode = OP_PING, .fin = true, .unmasked = true,
                   .form = LENGTH_64, .payload = "?", .len = 1);
    EXPECT_WRITTEN("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", .opcode = OP_BINARY, .fin = true,
                   .claims = true, .claimed = UINT64_C(1) << 63, .has_key = true);
}

/* A copy of exactly `len` bytes, so that a sanitizer sees each byte that is read too much. */
static ptrdiff_t read_copy(struct in_frame *f, const void *wire, size_t len, const char **fault)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    ptrdiff_t n;

    memcpy(copy, wire, len);
    n = frame_read(f, copy, len, fault);
    free(copy);
    return n;
}

static void frame_is_read_when_its_last_byte_has_come(void **state)
{
    static const char *const heads[] = {"\x81\x05", "\x82\x7e\x01\x00", "\x01\x7f\0\0\0\0\0\1\0\0"};
    static const size_t head_lens[] = {2, 4, 10}, lens[] = {5, 256, 65536};
    const char *fault = NULL;
    struct in_frame f;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t len = head_lens[i] + lens[i];
        uint8_t *wire = calloc(1, len);

        memcpy(wire, heads[i], head_lens[i]);
        for (size_t n = 0; n < len; n += n < 20 || n > len - 20 ? 1 : 1000)
            assert_int_equal(read_copy(&f, wire, n < len ? n : len - 1, &fault), 0);
        assert_int_equal(read_copy(&f, wire, len, &fault), len);
        assert_int_equal(f.len, lens[i]);
        assert_int_equal(f.header_len, head_lens[i]);
        assert_int_equal(f.fin, i != 2);
        assert_int_equal(f.opcode, i == 1 ? OP_BINARY : OP_TEXT);
        free(wire);
    }
}

/* What no server may send is a fault by its header alone. */
static void faults_of_a_server_are_named(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
        const char *word;
    } rows[] = {
        {"\xc1\x00", 2, "reserved bit"},
        {"\x83\x00", 2, "reserved opcode"},
        {"\x8b\x00", 2, "reserved opcode"},
        {"\x09\x00", 2, "fragments a control frame"},
        {"\x81\x80", 2, "masks"},
        {"\x89\x7e\0\x7e", 4, "over 125"},
        {"\x81\x7e\0\x7d", 4, "shortest"},
        {"\x81\x7f\0\0\0\0\0\0\xff\xff", 10, "shortest"},
        {"\x81\x7f\x80\0\0\0\0\1\0\0", 10, "shortest"},
    };
    struct in_frame f;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *fault = NULL;

        for (size_t n = 0; n < rows[i].len; n++)
            assert_int_equal(read_copy(&f, rows[i].wire, n, &fault), 0);
        assert_int_equal(read_copy(&f, rows[i].wire, rows[i].len, &fault), -1);
        assert_non_null(strstr(fault, rows[i].word));
    }
}

/* Each sequence of up to four bytes, by its first two and one choice for the others: a model that
 * decodes to a number and encodes again. */
static bool model(const uint8_t *s, size_t len)
{
    uint32_t code = s[0];
    size_t size = s[0] < 0x80       ? 1
                  : s[0] >> 5 == 6  ? 2
                  : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4
                                    : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    if (size != len)
        return false;
    if (size > 1)
        code &= 0xffu >> (size + 1);
    for (size_t i = 1; i < size; i++) {
        if (s[i] >> 6 != 2)
            return false;
        code = code << 6 | (s[i] & 0x3f);
    }
    return code >= least[size] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static void utf8_is_what_decodes_to_a_character(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (unsigned rest = 0; rest < 4; rest++) {
                const uint8_t s[4] = {(uint8_t)first, (uint8_t)second, rest & 1 ? 0xbf : 0xc0,
                                      rest & 2 ? 0x80 : 0x7f};

                for (size_t len = 3; len <= 4; len++)
                    if (model(s, len) && !is_utf8(s, len))
                        fail_msg("%02x %02x %02x of %zu is UTF-8", s[0], s[1], s[2], len);
                if (first >= 0x80)
                    assert_int_equal(is_utf8(s, 4),
                                     model(s, 4) || (model(s, 2) && model(s + 2, 2)) ||
                                         (model(s, 3) && s[3] < 0x80) ||
                                         (model(s, 2) && s[2] < 0x80 && s[3] < 0x80));
            }
}

static void forbidden_statuses_are_those_of_the_rfc(void **state)
{
    static const unsigned forbidden[] = {0, 1, 999, 1005, 1006, 1015, 5000, 65535};
    static const unsigned legal[] = {1000, 1001, 1003, 1004, 1007, 1014, 1016, 2999, 3000, 4999};

    (void)state;
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        assert_true(is_forbidden_status(forbidden[i]));
    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++)
        assert_false(is_forbidden_status(legal[i]));
}

#include "check/tests/test_wire.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
