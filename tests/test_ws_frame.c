/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "ws_frame.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { PROTOCOL = -WS_CLOSE_PROTOCOL };

/* Decode an exact-size copy. */
static int decode(struct ws_frame *f, const uint8_t *wire, size_t len)
{
    uint8_t *copy = exact_copy(wire, len);
    int result = ws_frame_decode(f, copy, len, 0);

    free(copy);
    return result;
}

/* A client's header: `length_bytes` of length behind the first two bytes (0, 2 or 8), whether or
 * not that is the shortest form, and the masking key of the RFC's examples. Returns its length. */
static size_t header(uint8_t out[WS_FRAME_HEADER_MAX], unsigned first, uint64_t len,
                     size_t length_bytes)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

    out[0] = (uint8_t)first;
    out[1] = (uint8_t)(0x80 | (length_bytes == 0 ? len : length_bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < length_bytes; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (length_bytes - 1 - i)));
    memcpy(out + 2 + length_bytes, key, sizeof key);
    return 2 + length_bytes + sizeof key;
}

/* A good header: every prefix needs more, and bytes behind it do not matter. */
static void expect_header(const uint8_t *wire, size_t wire_len, enum ws_opcode opcode, bool fin,
                          uint64_t len)
{
    uint8_t longer[WS_FRAME_HEADER_MAX + 3];
    struct ws_frame f;

    for (size_t n = 0; n < wire_len; n++)
        assert_int_equal(decode(&f, wire, n), WS_NEED_MORE);
    memset(longer, 0xff, sizeof longer);
    memcpy(longer, wire, wire_len);
    for (size_t n = wire_len; n <= wire_len + 3; n++) {
        memset(&f, 0xaa, sizeof f);
        assert_int_equal(decode(&f, longer, n), wire_len);
        assert_int_equal(f.opcode, opcode);
        assert_int_equal(f.fin, fin);
        assert_int_equal(f.len, len);
        assert_memory_equal(f.mask, wire + wire_len - 4, 4);
    }
}

/* A header that goes wrong with its byte number `bad`: before it more is needed, from there on all
 * that follows is refused. */
static void expect_refusal(const uint8_t *wire, size_t wire_len, size_t bad)
{
    struct ws_frame f;

    for (size_t n = 0; n <= wire_len; n++)
        if (decode(&f, wire, n) != (n <= bad ? WS_NEED_MORE : PROTOCOL))
            fail_msg("%02x %02x %02x ..: %d after %zu bytes", wire[0], wire[1], wire[2],
                     decode(&f, wire, n), n);
}

/* --- decoding --------------------------------------------------------------------------------- */

static void the_masked_frames_of_the_rfc_are_decoded(void **state)
{
    static const uint8_t hello[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                    0x7f, 0x9f, 0x4d, 0x51, 0x58};
    static const uint8_t pong[] = {0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                   0x7f, 0x9f, 0x4d, 0x51, 0x58};
    uint8_t payload[5];

    (void)state;
    expect_header(hello, 6, WS_OP_TEXT, true, 5);
    expect_header(pong, 6, WS_OP_PONG, true, 5);
    memcpy(payload, hello + 6, 5);
    ws_frame_unmask(payload, 5, hello + 2, 0);
    assert_memory_equal(payload, "Hello", 5);
}

static void every_length_form_is_decoded_at_every_split(void **state)
{
    static const struct {
        uint64_t len;
        size_t length_bytes;
    } cases[] = {
        {0, 0},
        {1, 0},
        {124, 0},
        {125, 0},
        {126, 2},
        {127, 2},
        {255, 2},
        {256, 2},
        {65534, 2},
        {65535, 2},
        {65536, 8},
        {65537, 8},
        {1u << 24, 8},
        {UINT32_MAX, 8},
        {UINT64_C(1) << 32, 8},
        {INT64_MAX - 1, 8},
        {INT64_MAX, 8},
    };
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = header(wire, 0x82, cases[i].len, cases[i].length_bytes);

        expect_header(wire, n, WS_OP_BINARY, true, cases[i].len);
    }
}

/* §5.2: the minimal number of bytes MUST be used. Known with the last byte of 16 bits, with the
 * sixth of 64. */
static void lengths_that_are_not_minimal_are_refused(void **state)
{
    static const uint64_t lens[] = {0, 1, 125, 126, 127, 256, 65535};
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(lens); i++) {
        size_t n = header(wire, 0x82, lens[i], 8);

        expect_refusal(wire, n, 7);
    }
    for (uint64_t len = 0; len < 126; len++) {
        size_t n = header(wire, 0x82, len, 2);

        expect_refusal(wire, n, 3);
    }
}

/* §5.2: the most significant bit MUST be 0. */
static void bit_63_of_a_length_is_refused_with_its_byte(void **state)
{
    static const uint64_t lens[] = {UINT64_C(1) << 63, (UINT64_C(1) << 63) + 65536, UINT64_MAX};
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(lens); i++) {
        size_t n = header(wire, 0x82, lens[i], 8);

        expect_refusal(wire, n, 2);
    }
}

/* All 256 first bytes: FIN, RSV1 to RSV3 and the opcode decide alone. */
static void every_first_byte_is_judged_at_once(void **state)
{
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        unsigned opcode = first & 15;
        bool fin = (first & 0x80) != 0;
        bool control = opcode >= 8;
        bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        size_t n = header(wire, first, 5, 0);

        if (known && (first & 0x70) == 0 && (fin || !control))
            expect_header(wire, n, (enum ws_opcode)opcode, fin, 5);
        else
            expect_refusal(wire, n, 0);
    }
}

/* §5.1: a server MUST close on a frame that is not masked. All 256 second bytes. */
static void frames_without_a_mask_are_refused(void **state)
{
    static const unsigned firsts[] = {0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a};
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(firsts); i++) {
        for (unsigned second = 0; second < 128; second++) {
            header(wire, firsts[i], 0, 0);
            wire[1] = (uint8_t)second;
            expect_refusal(wire, sizeof wire, 1);
        }
    }
}

/* §5.5: a control frame's payload is 125 bytes or less, so the long forms are never legal. */
static void long_control_frames_are_refused_with_the_second_byte(void **state)
{
    uint8_t wire[WS_FRAME_HEADER_MAX];

    (void)state;
    for (unsigned opcode = 8; opcode <= 10; opcode++) {
        size_t n = header(wire, 0x80 | opcode, 125, 0);

        expect_header(wire, n, (enum ws_opcode)opcode, true, 125);
        n = header(wire, 0x80 | opcode, 126, 2);
        expect_refusal(wire, n, 1);
        n = header(wire, 0x80 | opcode, 65536, 8);
        expect_refusal(wire, n, 1);
    }
}

/* --- encoding --------------------------------------------------------------------------------- */

static void expect_encoded(enum ws_opcode opcode, uint64_t len, const void *wire, size_t wire_len)
{
    uint8_t out[WS_FRAME_SERVER_HEADER_MAX];

    assert_int_equal(ws_frame_encode(out, opcode, len), wire_len);
    assert_memory_equal(out, wire, wire_len);
}

/* §5.7's unmasked frames, and the borders of each form of length. */
static void headers_are_encoded_in_the_shortest_form(void **state)
{
    (void)state;
    expect_encoded(WS_OP_TEXT, 5, "\x81\x05", 2);
    expect_encoded(WS_OP_PING, 5, "\x89\x05", 2);
    expect_encoded(WS_OP_BINARY, 256, "\x82\x7e\x01\x00", 4);
    expect_encoded(WS_OP_BINARY, 65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    expect_encoded(WS_OP_CLOSE, 0, "\x88\x00", 2);
    expect_encoded(WS_OP_PONG, 125, "\x8a\x7d", 2);
    expect_encoded(WS_OP_TEXT, 125, "\x81\x7d", 2);
    expect_encoded(WS_OP_TEXT, 126, "\x81\x7e\x00\x7e", 4);
    expect_encoded(WS_OP_TEXT, 65535, "\x81\x7e\xff\xff", 4);
    expect_encoded(WS_OP_TEXT, INT64_MAX, "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
}

/* --- masking ---------------------------------------------------------------------------------- */

static const uint8_t key[4] = {0x01, 0x20, 0x00, 0xff};

/* §5.3, literally. */
static void mask_naively(uint8_t *data, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i++)
        data[i] ^= key[(i + offset) % 4];
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + 1);
}

/* The payload may begin anywhere in memory, and in the middle of the frame. The room around it must
 * stay as it was. */
static void unmasking_is_right_at_every_alignment_length_and_offset(void **state)
{
    enum { ROOM = 300 }; /* from 128 bytes on wide vectors may do the most of it */
    static const uint64_t offsets[] = {0, 1, 2, 3, 4, 5, 31, 33, 1000002, UINT64_MAX / 2};
    uint8_t got[ROOM], expected[ROOM];

    (void)state;
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; start + len < ROOM; len++) {
            for (size_t i = 0; i < COUNT(offsets); i++) {
                fill(got, sizeof got);
                fill(expected, sizeof expected);
                mask_naively(expected + start, len, offsets[i]);
                ws_frame_unmask(got + start, len, key, offsets[i]);
                assert_memory_equal(got, expected, ROOM);
            }
        }
    }
}

static void unmasking_stays_inside_an_exact_buffer(void **state)
{
    (void)state;
    for (size_t len = 1; len < 300; len++) {
        uint8_t expected[300];
        uint8_t *got;

        fill(expected, len);
        got = exact_copy(expected, len);
        mask_naively(expected, len, 3);
        ws_frame_unmask(got, len, key, 3);
        assert_memory_equal(got, expected, len);
        free(got);
    }
}

static void a_payload_may_be_unmasked_in_two_pieces_at_every_split(void **state)
{
    uint8_t whole[277], pieces[277];

    (void)state;
    for (size_t split = 0; split <= sizeof whole; split++) {
        fill(whole, sizeof whole);
        fill(pieces, sizeof pieces);
        ws_frame_unmask(whole, sizeof whole, key, 0);
        ws_frame_unmask(pieces, split, key, 0);
        ws_frame_unmask(pieces + split, sizeof pieces - split, key, split);
        assert_memory_equal(whole, pieces, sizeof whole);
    }
}

/* Unmask an exact-size copy, at offset `len`. */
static void expect_ascii(const uint8_t *data, size_t len, bool ascii)
{
    uint8_t *copy = exact_copy(data, len);

    assert_int_equal(ws_frame_unmask(copy, len, key, len), ascii);
    free(copy);
}

/* Whether all is ASCII is said of the unmasked bytes. One byte that is not must show anywhere, and
 * bytes around the payload must not. */
static void unmasking_tells_whether_all_is_ascii(void **state)
{
    enum { ROOM = 300 };

    (void)state;
    for (size_t len = 0; len <= ROOM; len++) {
        uint8_t text[ROOM];

        memset(text, 0x7f, len);
        mask_naively(text, len, len);
        expect_ascii(text, len, true);
        for (size_t bad = 0; bad < len; bad++) {
            text[bad] ^= 0x80;
            expect_ascii(text, len, false);
            text[bad] ^= 0x80;
        }
    }
}

/* --- kinds ------------------------------------------------------------------------------------ */

static void control_frames_are_those_from_8_on(void **state)
{
    (void)state;
    for (unsigned opcode = 0; opcode < 16; opcode++)
        assert_int_equal(ws_opcode_is_control((enum ws_opcode)opcode), opcode >= 8);
}

/* The text names the rule that was broken, also where only the first byte is there. */
static void only_data_frames_may_have_the_reserved_bits_that_were_agreed_on(void **state)
{
    static const uint8_t bits[] = {0x40, 0x20, 0x10};
    struct ws_frame f;
    (void)state;

    for (unsigned agreed = 0; agreed < 8; agreed++) {
        for (unsigned set = 0; set < 8; set++) {
            uint8_t rsv = (uint8_t)(agreed << 4);
            uint8_t wire[6] = {(uint8_t)(0x82 | set << 4), 0x80};

            assert_int_equal(ws_frame_decode(&f, wire, sizeof wire, rsv),
                             (set & ~agreed) == 0 ? 6 : -WS_CLOSE_PROTOCOL);
            if ((set & ~agreed) == 0)
                assert_int_equal(f.rsv, set << 4);
        }
    }
    for (size_t i = 0; i < sizeof bits; i++) {
        uint8_t ping[6] = {(uint8_t)(0x89 | bits[i]), 0x80};

        assert_int_equal(ws_frame_decode(&f, ping, sizeof ping, 0x70), -WS_CLOSE_PROTOCOL);
        assert_non_null(strstr(ws_frame_fault(ping, sizeof ping, 0x70), "reserved bit"));
    }
}

static void fault_names_the_rule(void **state)
{
    static const struct {
        uint8_t wire[4];
        size_t len;
        const char *word;
    } faults[] = {
        {{0xc1}, 1, "reserved bit"},     {{0x83}, 1, "opcode"},
        {{0x09}, 1, "fragments"},        {{0x81, 0x05}, 2, "mask"},
        {{0x89, 0xfe}, 2, "125"},        {{0x82, 0xfe, 0x00, 0x7d}, 4, "shortest"},
        {{0x82, 0xff, 0x80}, 3, "2^63"},
    };
    struct ws_frame f;
    (void)state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_int_equal(ws_frame_decode(&f, faults[i].wire, faults[i].len, 0), -WS_CLOSE_PROTOCOL);
        if (strstr(ws_frame_fault(faults[i].wire, faults[i].len, 0), faults[i].word) == NULL)
            fail_msg("no \"%s\" in: %s", faults[i].word,
                     ws_frame_fault(faults[i].wire, faults[i].len, 0));
    }
}

#include "tests/test_ws_frame.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
