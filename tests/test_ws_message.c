/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "ws_message.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MAX = 1000, GOES_ON = 0 };
enum { PROTOCOL = -WS_CLOSE_PROTOCOL, INVALID = -WS_CLOSE_INVALID, TOO_BIG = -WS_CLOSE_TOO_BIG };

/* --- one frame -------------------------------------------------------------------------------- */

/* Take a piece that begins at `offset` of its frame's payload: masked and as it is, which must not
 * matter but for the mask. */
static int feed_piece(struct ws_message *m, const struct ws_frame *f, uint8_t *piece, size_t len,
                      uint64_t offset)
{
    static const struct ws_frame plain = {0};
    struct ws_message other = *m;
    uint8_t *masked = exact_copy(piece, len);
    int error = ws_message_unmask(m, &plain, piece, len, offset);

    for (size_t i = 0; i < len; i++)
        masked[i] ^= f->mask[(offset + i) % 4];
    assert_int_equal(ws_message_unmask(&other, f, masked, len, offset), error);
    if (error == 0) {
        assert_memory_equal(masked, piece, len);
        assert_int_equal(other.utf8.state, m->utf8.state);
    }
    free(masked);
    return error;
}

/* A message that begins and ends with `f` may be judged in one call as well, with this result. */
static void expect_whole(const struct ws_frame *f, const void *payload, int result)
{
    uint8_t *data = exact_copy(payload, (size_t)f->len);

    for (size_t i = 0; i < f->len; i++)
        data[i] ^= f->mask[i % 4];
    assert_int_equal(ws_message_whole(f, data, MAX), result);
    if (result > 0)
        assert_memory_equal(data, payload, (size_t)f->len);
    free(data);
}

/* What becomes of a whole data frame, its payload given in pieces of `step` bytes, each of exact
 * size. */
static int feed_steps(struct ws_message *m, enum ws_opcode opcode, bool fin, const void *payload,
                      size_t len, size_t step)
{
    struct ws_frame f = {
        .len = len, .mask = {0x37, 0xfa, 0x21, 0x3d}, .opcode = opcode, .fin = fin};
    bool alone = m->state == MESSAGE_NONE && fin && opcode != WS_OP_CONTINUATION;
    int error = ws_message_admit(m, &f, MAX);

    for (size_t at = 0; at < len && error == 0; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *piece = exact_copy((const uint8_t *)payload + at, n);

        error = feed_piece(m, &f, piece, n, at);
        free(piece);
    }
    error = error != 0 ? error : ws_message_frame_end(m, &f);
    if (alone)
        expect_whole(&f, payload, error);
    return error;
}

static int feed(struct ws_message *m, enum ws_opcode opcode, bool fin, const char *payload)
{
    return feed_steps(m, opcode, fin, payload, strlen(payload), MAX);
}

static int admit(struct ws_message *m, enum ws_opcode opcode, bool fin, uint64_t len, size_t max)
{
    struct ws_frame f = {.len = len, .opcode = opcode, .fin = fin};

    return ws_message_admit(m, &f, max);
}

static void expect_ready(const struct ws_message *m)
{
    assert_int_equal(m->state, MESSAGE_NONE);
    assert_int_equal(m->len, 0);
    assert_int_equal(m->empty_fragments, 0);
}

/* --- §5.4: which frame may follow which ------------------------------------------------------- */

static void a_message_in_one_frame_is_whole_at_once(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(feed(&m, WS_OP_TEXT, true, "Hello"), WS_OP_TEXT);
    expect_ready(&m);
    assert_int_equal(feed(&m, WS_OP_BINARY, true, "\xff\xfe"), WS_OP_BINARY);
    expect_ready(&m);
    assert_int_equal(feed(&m, WS_OP_TEXT, true, ""), WS_OP_TEXT);
    assert_int_equal(feed(&m, WS_OP_BINARY, true, ""), WS_OP_BINARY);
    expect_ready(&m);
}

/* §5.7: "Hel" and "lo". */
static void fragments_make_one_message_of_the_first_ones_type(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(feed(&m, WS_OP_TEXT, false, "Hel"), GOES_ON);
    assert_int_equal(feed(&m, WS_OP_CONTINUATION, true, "lo"), WS_OP_TEXT);
    expect_ready(&m);
    assert_int_equal(feed(&m, WS_OP_BINARY, false, "\x80"), GOES_ON);
    assert_int_equal(feed(&m, WS_OP_CONTINUATION, false, ""), GOES_ON);
    assert_int_equal(feed(&m, WS_OP_CONTINUATION, true, "\x80"), WS_OP_BINARY);
    expect_ready(&m);
}

static void a_continuation_of_nothing_is_refused(void **state)
{
    struct ws_message fresh = {0}, after = {0};

    (void)state;
    assert_int_equal(feed(&fresh, WS_OP_CONTINUATION, true, "x"), PROTOCOL);
    assert_int_equal(feed(&after, WS_OP_TEXT, false, "x"), GOES_ON);
    assert_int_equal(feed(&after, WS_OP_CONTINUATION, true, "x"), WS_OP_TEXT);
    assert_int_equal(feed(&after, WS_OP_CONTINUATION, false, "x"), PROTOCOL);
}

static void a_new_message_inside_another_is_refused(void **state)
{
    static const enum ws_opcode opcodes[] = {WS_OP_TEXT, WS_OP_BINARY};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct ws_message m = {0};

        assert_int_equal(feed(&m, opcodes[i / 2], false, "x"), GOES_ON);
        assert_int_equal(feed(&m, WS_OP_CONTINUATION, false, "x"), GOES_ON);
        assert_int_equal(feed(&m, opcodes[i % 2], i % 2 == 0, "x"), PROTOCOL);
    }
}

static void a_message_may_have_65536_fragments(void **state)
{
    (void)state;
    for (size_t len = 0; len < 2; len++) {
        struct ws_message m = {0};
        struct ws_frame f = {.len = len, .opcode = WS_OP_TEXT};
        uint8_t payload[] = "x";

        for (int n = 0; n < 65535; n++) {
            assert_int_equal(ws_message_admit(&m, &f, 65536), 0);
            assert_int_equal(ws_message_unmask(&m, &f, payload, len, 0), 0);
            assert_int_equal(ws_message_frame_end(&m, &f), GOES_ON);
            f.opcode = WS_OP_CONTINUATION;
        }
        f.fin = true;
        assert_int_equal(ws_message_admit(&m, &f, 65536), 0);
        assert_int_equal(ws_message_frame_end(&m, &f), WS_OP_TEXT);
        expect_ready(&m);
    }
}

static void empty_fragments_without_end_are_cut_off(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(admit(&m, WS_OP_BINARY, false, 0, MAX), 0);
    for (int n = 1; n < WS_MESSAGE_EMPTY_FRAGMENTS_MAX; n++)
        assert_int_equal(admit(&m, WS_OP_CONTINUATION, false, 0, MAX), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, false, 1, MAX), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, false, 0, MAX), TOO_BIG);
}

static void each_message_may_have_its_own_empty_fragments(void **state)
{
    struct ws_message m = {0};

    (void)state;
    for (int n = 0; n < WS_MESSAGE_EMPTY_FRAGMENTS_MAX + 1; n++) {
        assert_int_equal(feed(&m, WS_OP_TEXT, false, ""), GOES_ON);
        assert_int_equal(feed(&m, WS_OP_CONTINUATION, true, ""), WS_OP_TEXT);
    }
}

/* --- length ----------------------------------------------------------------------------------- */

static void the_limit_itself_is_allowed_and_one_more_is_not(void **state)
{
    static const size_t limits[] = {0, 1, 125, 126, 65535, 65536, SIZE_MAX / 2};

    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct ws_message exact = {0}, over = {0};

        assert_int_equal(admit(&exact, WS_OP_BINARY, true, limits[i], limits[i]), 0);
        assert_int_equal(admit(&over, WS_OP_BINARY, true, limits[i] + 1, limits[i]), TOO_BIG);
    }
}

/* With the announcement, before any of the payload. */
/* Also where it is judged in one call, see expect_whole(). */
static void a_message_in_one_frame_may_be_as_long_as_the_limit(void **state)
{
    static const char payload[MAX + 1];
    struct ws_message exact = {0}, over = {0};

    (void)state;
    assert_int_equal(feed_steps(&exact, WS_OP_BINARY, true, payload, MAX, MAX), WS_OP_BINARY);
    assert_int_equal(feed_steps(&over, WS_OP_BINARY, true, payload, MAX + 1, MAX), TOO_BIG);
}

static void fragments_are_refused_when_their_sum_passes_the_limit(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(admit(&m, WS_OP_TEXT, false, 60, 100), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, false, 40, 100), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, true, 0, 100), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, true, 1, 100), TOO_BIG);
}

/* The sum of these would come out small. */
static void lengths_that_would_wrap_are_refused(void **state)
{
    static const uint64_t huge[] = {INT64_MAX, UINT64_MAX, UINT64_MAX - 9, UINT64_C(1) << 32,
                                    (UINT64_C(1) << 32) + 1};

    (void)state;
    for (size_t i = 0; i < COUNT(huge); i++) {
        struct ws_message m = {0};

        assert_int_equal(admit(&m, WS_OP_BINARY, false, 10, 100), 0);
        assert_int_equal(admit(&m, WS_OP_CONTINUATION, true, huge[i], 100), TOO_BIG);
    }
}

static void a_limit_lowered_inside_a_message_is_kept(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(admit(&m, WS_OP_BINARY, false, 50, 100), 0);
    assert_int_equal(admit(&m, WS_OP_CONTINUATION, true, 1, 10), TOO_BIG);
}

static void the_length_counts_for_each_message_anew(void **state)
{
    struct ws_message m = {0};
    char payload[MAX];

    (void)state;
    memset(payload, 'x', sizeof payload);
    for (int n = 0; n < 3; n++)
        assert_int_equal(feed_steps(&m, WS_OP_TEXT, true, payload, MAX, MAX), WS_OP_TEXT);
    assert_int_equal(feed_steps(&m, WS_OP_TEXT, false, payload, MAX, MAX), GOES_ON);
    assert_int_equal(feed(&m, WS_OP_CONTINUATION, true, "x"), TOO_BIG);
}

/* --- §8.1: text is UTF-8 ---------------------------------------------------------------------- */

/* "κόσμε€𐍈": characters of two, three and four bytes. */
static const char greek[] = "\xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5\xe2\x82\xac\xf0\x90\x8d\x88";

static void a_character_may_be_split_anywhere(void **state)
{
    size_t len = strlen(greek);

    (void)state;
    for (size_t split = 0; split <= len; split++) {
        for (size_t step = 1; step <= 5; step++) {
            struct ws_message m = {0};

            assert_int_equal(feed_steps(&m, WS_OP_TEXT, false, greek, split, step), GOES_ON);
            assert_int_equal(
                feed_steps(&m, WS_OP_CONTINUATION, true, greek + split, len - split, step),
                WS_OP_TEXT);
        }
    }
}

static void a_text_that_ends_inside_a_character_is_refused(void **state)
{
    static const char *const cut[] = {"\xce", "a\xe2\x82", "\xf0", "\xf0\x90", "\xf0\x90\x8d"};

    (void)state;
    for (size_t i = 0; i < COUNT(cut); i++) {
        struct ws_message one = {0}, fragments = {0};

        assert_int_equal(feed(&one, WS_OP_TEXT, true, cut[i]), INVALID);
        assert_int_equal(feed(&fragments, WS_OP_TEXT, false, cut[i]), GOES_ON);
        assert_int_equal(feed(&fragments, WS_OP_CONTINUATION, true, ""), INVALID);
    }
}

/* Before the frame ends, and in the piece that holds the byte. */
static void text_is_refused_at_its_first_impossible_byte(void **state)
{
    static const struct ws_frame plain = {0};
    uint8_t text[] = "Hello-\xed\xa0\x80-rest";
    struct ws_message m = {0};
    int result = 0;
    size_t at = 0;

    (void)state;
    assert_int_equal(admit(&m, WS_OP_TEXT, true, sizeof text - 1, MAX), 0);
    while (result == 0) {
        assert_true(at < sizeof text - 1);
        result = ws_message_unmask(&m, &plain, text + at, 1, at);
        at++;
    }
    assert_int_equal(result, INVALID);
    assert_int_equal(at, 8);
}

/* A long payload is unmasked and judged 4096 bytes at a time: a character may lie across. */
static void a_character_may_lie_anywhere_in_a_long_text(void **state)
{
    enum { LEN = 3 * 4096 };
    static uint8_t text[LEN];
    const struct ws_frame f = {.len = LEN, .mask = {1, 2, 3, 4}, .opcode = WS_OP_TEXT, .fin = true};

    (void)state;
    for (size_t at = 2 * 4096 - 8; at < 2 * 4096 + 4; at++) {
        struct ws_message m = {0};

        memset(text, 'x', LEN);
        memcpy(text + at, "\xf0\x90\x8d\x88", 4);
        assert_int_equal(ws_message_admit(&m, &f, LEN), 0);
        assert_int_equal(feed_piece(&m, &f, text, LEN, 0), 0);
        for (size_t bad = at; bad < at + 4; bad++) {
            uint8_t was = text[bad];

            text[bad] = 'x';
            assert_int_equal(feed_piece(&m, &f, text, LEN, 0), INVALID);
            m.utf8 = (struct utf8){0};
            text[bad] = was;
        }
    }
}

static void a_continuation_of_a_text_is_text(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(feed(&m, WS_OP_TEXT, false, "a"), GOES_ON);
    assert_int_equal(feed(&m, WS_OP_CONTINUATION, false, "\xff"), INVALID);
}

static void binary_messages_may_hold_anything(void **state)
{
    uint8_t all[256];
    struct ws_message m = {0};

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    assert_int_equal(feed_steps(&m, WS_OP_BINARY, false, all, sizeof all, 7), GOES_ON);
    assert_int_equal(feed_steps(&m, WS_OP_CONTINUATION, true, all, sizeof all, 7), WS_OP_BINARY);
}

/* What was left of the last message must not leak into the next. */
static void the_next_text_starts_between_characters(void **state)
{
    struct ws_message m = {0};

    (void)state;
    assert_int_equal(feed(&m, WS_OP_TEXT, true, greek), WS_OP_TEXT);
    assert_int_equal(feed(&m, WS_OP_TEXT, true, "\x82\xac"), INVALID);
}

/* --- §5.5.1 and §7.4: Close ------------------------------------------------------------------- */

static int decode_close(struct ws_close_status *status, const void *payload, size_t len)
{
    uint8_t *copy = exact_copy(payload, len);
    int result = ws_close_decode(status, copy, len);

    if (result == 0 && status->reason_len != 0)
        assert_memory_equal(status->reason, (const uint8_t *)payload + 2, status->reason_len);
    free(copy);
    return result;
}

static void a_close_without_a_payload_has_no_status(void **state)
{
    struct ws_close_status status;

    (void)state;
    assert_int_equal(ws_close_decode(&status, NULL, 0), 0);
    assert_int_equal(status.code, WS_CLOSE_NO_STATUS);
    assert_int_equal(status.reason_len, 0);
    assert_non_null(status.reason);
}

static void a_close_of_one_byte_is_refused(void **state)
{
    struct ws_close_status status;

    (void)state;
    assert_int_equal(decode_close(&status, "\x03", 1), PROTOCOL);
}

static bool may_be_sent(unsigned code)
{
    static const unsigned registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                          1009, 1010, 1011, 1012, 1013, 1014};

    for (size_t i = 0; i < COUNT(registered); i++)
        if (code == registered[i])
            return true;
    return code >= 3000 && code <= 4999;
}

static void every_close_code_is_judged(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= 0xffff; code++) {
        const uint8_t payload[] = {(uint8_t)(code >> 8), (uint8_t)code, 'b', 'y', 'e'};
        struct ws_close_status status;
        int expected = may_be_sent(code) ? 0 : PROTOCOL;

        assert_int_equal(ws_close_code_valid(code), may_be_sent(code));
        assert_int_equal(ws_close_decode(&status, payload, 2), expected);
        assert_int_equal(ws_close_decode(&status, payload, 5), expected);
        assert_int_equal(status.code, code);
        assert_int_equal(status.reason_len, 3);
    }
    assert_false(ws_close_code_valid(0x10000 + 1000));
}

static void a_close_reason_must_be_whole_utf8(void **state)
{
    static const char *const bad[] = {"\x03\xe8\xff", "\x03\xe8good\xc0\x80",
                                      "\x03\xe8\xed\xa0\x80", "\x03\xe8x\xe2\x82"};
    uint8_t longest[WS_CONTROL_MAX];
    struct ws_close_status status;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(decode_close(&status, bad[i], strlen(bad[i])), INVALID);
    memset(longest, 'r', sizeof longest);
    longest[0] = 0x03;
    longest[1] = 0xe8;
    assert_int_equal(decode_close(&status, longest, sizeof longest), 0);
    assert_int_equal(status.reason_len, WS_CLOSE_REASON_MAX);
    assert_int_equal(decode_close(&status, "\x03\xe8\xe2\x82\xac", 5), 0);
}

static void a_close_is_encoded_as_it_is_decoded(void **state)
{
    uint8_t out[WS_CONTROL_MAX];
    struct ws_close_status status;
    size_t len = ws_close_encode(out, 4321, greek, strlen(greek));

    (void)state;
    assert_int_equal(decode_close(&status, out, len), 0);
    assert_int_equal(status.code, 4321);
    assert_int_equal(status.reason_len, strlen(greek));
    assert_int_equal(ws_close_encode(out, WS_CLOSE_NORMAL, NULL, 0), 2);
    assert_memory_equal(out, "\x03\xe8", 2);
    assert_int_equal(ws_close_encode(out, WS_CLOSE_NONE, "ignored", 7), 0);
}

/* The reason behind `pad` letters is characters of `size` bytes: what is kept must be whole. */
static void expect_cut(size_t pad, const char *character, size_t size)
{
    char reason[300];
    uint8_t *out = malloc(WS_CONTROL_MAX);
    struct ws_close_status status;
    size_t len = pad;

    assert_non_null(out);
    memset(reason, 'x', pad);
    for (; len + size <= sizeof reason; len += size)
        memcpy(reason + len, character, size);
    assert_int_equal(
        ws_close_decode(&status, out, ws_close_encode(out, WS_CLOSE_POLICY, reason, len)), 0);
    assert_true(status.reason_len <= WS_CLOSE_REASON_MAX);
    assert_true(status.reason_len + size > WS_CLOSE_REASON_MAX);
    assert_memory_equal(status.reason, reason, status.reason_len);
    free(out);
}

static void a_reason_that_is_too_long_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 8; pad++) {
        expect_cut(pad, "y", 1);
        expect_cut(pad, "\xce\xba", 2);
        expect_cut(pad, "\xe2\x82\xac", 3);
        expect_cut(pad, "\xf0\x90\x8d\x88", 4);
    }
}

/* As when an extension has decoded the payload. */
static void content_may_be_judged_apart_from_the_payload(void **state)
{
    static const uint8_t euro[] = "\xe2\x82\xac", broken[] = "\xe2\x28";
    const struct ws_frame text = {.len = 3, .opcode = WS_OP_TEXT, .fin = true};
    const struct ws_frame binary = {.len = 3, .opcode = WS_OP_BINARY, .fin = true};
    struct ws_message m = {0};
    (void)state;

    for (size_t split = 0; split <= 3; split++) {
        assert_int_equal(ws_message_admit(&m, &text, 100), 0);
        assert_int_equal(ws_message_judge(&m, euro, split), 0);
        assert_int_equal(ws_message_judge(&m, euro + split, 3 - split), 0);
        assert_int_equal(ws_message_frame_end(&m, &text), WS_OP_TEXT);
    }
    assert_int_equal(ws_message_admit(&m, &text, 100), 0);
    assert_int_equal(ws_message_judge(&m, broken, 1), 0);
    assert_int_equal(ws_message_judge(&m, broken + 1, 1), -WS_CLOSE_INVALID);
    m = (struct ws_message){0};
    assert_int_equal(ws_message_admit(&m, &text, 100), 0);
    assert_int_equal(ws_message_judge(&m, euro, 2), 0);
    assert_int_equal(ws_message_frame_end(&m, &text), -WS_CLOSE_INVALID);
    m = (struct ws_message){0};
    assert_int_equal(ws_message_admit(&m, &binary, 100), 0);
    assert_int_equal(ws_message_judge(&m, broken, 2), 0);
    assert_int_equal(ws_message_frame_end(&m, &binary), WS_OP_BINARY);
}

#include "tests/test_ws_message.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
