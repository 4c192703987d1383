/* SPDX-License-Identifier: MIT
 *
 * The fields of frames, of legal ones, wrong ones, and any bytes. Each event is an allocation of
 * its own size, so that AddressSanitizer sees a read past it. */
#include "tests/unit.h"

#include <string.h>

#include "check/annotate.h"
#include "check/report_escape.h"
#include "tests/exact.h"

/* What was seen of the events so far; the last one is in `a`. */
struct seen {
    struct annotator annotator;
    struct annotation a;
    uint8_t *bytes;
};

/* See an event of `total` bytes, of which `len` are kept. */
static void see_part(struct seen *s, bool sent, const void *data, size_t len, size_t total)
{
    struct event e = {.sent = sent, .total = total};

    free(s->bytes);
    s->bytes = exact_copy(data, len);
    e.bytes = (struct bytes){.data = s->bytes, .len = len, .cap = len};
    annotate(&s->a, &s->annotator, &e);
}

static void see(struct seen *s, bool sent, const void *data, size_t len)
{
    see_part(s, sent, data, len, len);
}

static void release(struct seen *s)
{
    free(s->bytes);
    s->bytes = NULL;
}

/* "name bits-or-bytes: meaning section", and "!" where it breaks a rule. */
static void add_line(struct bytes *out, const struct field *f)
{
    char bits[BITS_SIZE];

    bytes_add_format(out, "%s ", field_name(f->kind));
    field_bits(bits, f);
    if (f->bits != 0)
        bytes_add_text(out, bits);
    else
        add_hex(out, f->data, f->len);
    bytes_add_format(out, ": %s %s%s\n", f->meaning, f->section, f->odd ? " !" : "");
}

static void assert_text(struct bytes *b, const char *wanted)
{
    bytes_add(b, "", 1);
    assert_string_equal((const char *)b->data, wanted);
    bytes_release(b);
}

/* All frames and fields of the last event. */
static void assert_seen(const struct seen *s, const char *wanted)
{
    struct bytes b = {0};

    for (size_t i = 0; i < s->a.frame_count; i++) {
        const struct frame_note *frame = &s->a.frames[i];

        bytes_add_format(&b, "[%s]\n", frame->title);
        for (size_t k = 0; k < frame->count; k++)
            add_line(&b, &s->a.fields[frame->first + k]);
    }
    assert_text(&b, wanted);
}

/* The field of that kind in the last event, or NULL. */
static const struct field *find(const struct seen *s, enum field_kind kind)
{
    for (size_t i = 0; i < s->a.field_count; i++)
        if (s->a.fields[i].kind == kind)
            return &s->a.fields[i];
    return NULL;
}

/* RFC 6455 §5.7. */
static const uint8_t masked_hello[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                       0x7f, 0x9f, 0x4d, 0x51, 0x58};

static void a_masked_text_shows_each_field_and_what_the_mask_hides(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, true, masked_hello, sizeof masked_hello);
    assert_seen(&s, "[text, 5 bytes, masked]\n"
                    "FIN 1: FIN=1, last fragment §5.2\n"
                    "RSV 000: RSV=000, as without extensions §5.2\n"
                    "opcode 0001: opcode 1, text §5.2\n"
                    "MASK 1: MASK=1, a key follows and the payload is masked §5.2\n"
                    "length 0000101: length 5 §5.2\n"
                    "key 37 fa 21 3d: masking key §5.3\n"
                    "payload 7f 9f 4d 51 58: masked §5.3\n"
                    "unmasked 48 65 6c 6c 6f: text §5.6\n");
    release(&s);
}

static void a_frame_of_a_server_has_no_key(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, false, "\x02\x01\xff", 3);
    assert_seen(&s, "[binary, FIN=0, 1 byte]\n"
                    "FIN 0: FIN=0, more fragments follow §5.2\n"
                    "RSV 000: RSV=000, as without extensions §5.2\n"
                    "opcode 0010: opcode 2, binary §5.2\n"
                    "MASK 0: MASK=0, the payload is as it is §5.2\n"
                    "length 0000001: length 1 §5.2\n"
                    "payload ff: data §5.6\n");
    release(&s);
}

/* A frame that breaks one rule: which field is marked, by which section. */
struct breach {
    const char *bytes;
    size_t len;
    bool sent;
    enum field_kind kind;
    const char *section;
    const char *meaning;
};

static const struct breach breaches[] = {
    {"\xc1\x80\0\0\0\0", 6, true, FIELD_RSV, "§5.2",
     "RSV=100, but no extension is agreed on that sets these bits"},
    {"\x83\x80\0\0\0\0", 6, true, FIELD_OPCODE, "§5.2", "opcode 3, reserved"},
    {"\x8f\x80\0\0\0\0", 6, true, FIELD_OPCODE, "§5.2", "opcode 15, reserved"},
    {"\x09\x80\0\0\0\0", 6, true, FIELD_FIN, "§5.5",
     "FIN=0, but a control frame is never fragmented"},
    {"\x81\x00", 2, true, FIELD_MASK, "§5.1", "MASK=0, but a client has to mask"},
    {"\x81\x80\0\0\0\0", 6, false, FIELD_MASK, "§5.1", "MASK=1, but a server must not mask"},
    {"\x89\x7e", 2, false, FIELD_LENGTH, "§5.5",
     "length 126, but a control frame has at most 125 bytes"},
    {"\x81\x7e\x00\x7d", 4, false, FIELD_EXTENDED_LENGTH, "§5.2",
     "length 125, but not in its shortest form"},
    {"\x81\x7f\0\0\0\0\0\0\xff\xff", 10, false, FIELD_EXTENDED_LENGTH, "§5.2",
     "length 65535, but not in its shortest form"},
    {"\x81\x7f\xff\0\0\0\0\0\0\0", 10, false, FIELD_EXTENDED_LENGTH, "§5.2",
     "length 18374686479671623680, but the first bit has to be 0"},
    {"\x88\x01\x03", 3, false, FIELD_STATUS, "§5.5.1", "half a status; it has 2 bytes"},
    {"\x88\x02\x03\xed", 4, false, FIELD_STATUS, "§7.4",
     "status 1005, means that no status came, must not be sent"},
    {"\x88\x02\x27\x0f", 4, false, FIELD_STATUS, "§7.4",
     "status 9999, undefined, must not be sent"},
    {"\x88\x03\x03\xe8\xff", 5, false, FIELD_REASON, "§8.1", "the reason is not UTF-8"},
    {"\x81\x02\xc3\x28", 4, false, FIELD_PAYLOAD, "§8.1", "the text is not UTF-8"},
};

static void what_breaks_a_rule_is_marked_with_its_section(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof breaches / sizeof breaches[0]; i++) {
        const struct breach *b = &breaches[i];
        struct seen s = {0};
        const struct field *f;

        see(&s, b->sent, b->bytes, b->len);
        f = find(&s, b->kind);
        assert_non_null(f);
        assert_true(f->odd);
        assert_true(s.a.frames[0].odd);
        assert_string_equal(f->section, b->section);
        assert_string_equal(f->meaning, b->meaning);
        for (size_t k = 0; k < s.a.field_count; k++)
            assert_true(&s.a.fields[k] == f || !s.a.fields[k].odd);
        release(&s);
    }
}

static void a_length_says_how_many_bytes_follow_it(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, false, "\x82\x7e\x01\x00", 4);
    assert_string_equal(find(&s, FIELD_LENGTH)->meaning, "length 126: the next 2 bytes");
    assert_string_equal(find(&s, FIELD_EXTENDED_LENGTH)->meaning, "length 256");
    see(&s, false, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
    assert_string_equal(find(&s, FIELD_LENGTH)->meaning, "length 127: the next 8 bytes");
    assert_string_equal(find(&s, FIELD_EXTENDED_LENGTH)->meaning, "length 65536");
    see(&s, false, "\x82\x7f\0\0\0", 5);
    assert_string_equal(find(&s, FIELD_EXTENDED_LENGTH)->meaning, "3 of 8 bytes");
    assert_string_equal(s.a.frames[0].title, "binary, part of the header");
    release(&s);
}

static void a_close_frame_shows_status_and_reason(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, false,
        "\x88\x05\x03\xea"
        "bye",
        7);
    assert_string_equal(s.a.frames[0].title, "Close 1002, 5 bytes");
    assert_string_equal(find(&s, FIELD_STATUS)->meaning, "status 1002, protocol error");
    assert_memory_equal(find(&s, FIELD_REASON)->data, "bye", 3);
    assert_null(find(&s, FIELD_PAYLOAD));
    see(&s, true, "\x88\x82\x01\x02\x03\x04\x02\xea", 8);
    assert_string_equal(find(&s, FIELD_PAYLOAD)->meaning, "masked");
    assert_string_equal(find(&s, FIELD_STATUS)->meaning, "status 1000, normal closure");
    assert_true(find(&s, FIELD_STATUS)->derived);
    release(&s);
}

static void each_frame_of_an_event_has_its_own_fields(void **state)
{
    struct seen s = {0};
    uint8_t two[2 * sizeof masked_hello];
    (void)state;

    memcpy(two, masked_hello, sizeof masked_hello);
    memcpy(two + sizeof masked_hello, masked_hello, sizeof masked_hello);
    see(&s, true, two, sizeof two);
    assert_int_equal(s.a.frame_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct frame_note *frame = &s.a.frames[i];

        assert_int_equal(frame->len, sizeof masked_hello);
        assert_ptr_equal(frame->data, s.bytes + i * sizeof masked_hello);
        assert_int_equal(frame->count, 8);
        assert_memory_equal(s.a.fields[frame->first + 7].data, "Hello", 5);
    }
    release(&s);
}

/* The unmasked payload of both halves, whichever byte is the last of the first event. */
static void a_frame_goes_on_in_the_next_event_at_every_split(void **state)
{
    (void)state;

    for (size_t n = 1; n < sizeof masked_hello; n++) {
        struct seen s = {0};
        struct bytes text = {0};
        const struct field *f;

        see(&s, true, masked_hello, n);
        f = find(&s, FIELD_UNMASKED);
        if (f != NULL)
            bytes_add(&text, f->data, f->len);
        see(&s, true, masked_hello + n, sizeof masked_hello - n);
        assert_int_equal(s.a.frame_count, 1);
        assert_string_equal(s.a.frames[0].title, "text, goes on");
        f = find(&s, FIELD_UNMASKED);
        bytes_add(&text, f->data, f->len);
        assert_text(&text, "Hello");
        see(&s, true, masked_hello, sizeof masked_hello);
        assert_string_equal(s.a.frames[0].title, "text, 5 bytes, masked");
        release(&s);
    }
}

static void a_part_of_a_payload_says_which_bytes_it_has(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, true, masked_hello, 8);
    assert_string_equal(find(&s, FIELD_PAYLOAD)->meaning, "masked, bytes 1 to 2 of 5");
    see(&s, true, masked_hello + 8, 3);
    assert_string_equal(find(&s, FIELD_UNMASKED)->meaning, "text, bytes 3 to 5 of 5");
    release(&s);
}

static void bytes_that_are_not_kept_belong_to_the_payload(void **state)
{
    static const uint8_t start[EVENT_KEPT] = {0x82, 0xfe, 0x10, 0x00};
    struct seen s = {0};
    (void)state;

    see_part(&s, true, start, sizeof start, 8 + 4000);
    assert_int_equal(s.a.more, 8 + 4000 - EVENT_KEPT);
    assert_string_equal(find(&s, FIELD_PAYLOAD)->meaning, "masked, bytes 1 to 152 of 4096");
    see_part(&s, true, "rest", 4, 96);
    assert_string_equal(find(&s, FIELD_PAYLOAD)->meaning, "masked, bytes 4001 to 4004 of 4096");
    see(&s, true, masked_hello, sizeof masked_hello);
    assert_string_equal(s.a.frames[0].title, "text, 5 bytes, masked");
    release(&s);
}

static void where_frames_are_not_kept_the_next_event_begins_one(void **state)
{
    static const uint8_t start[EVENT_KEPT] = {0x82, 0xfe, 0x10, 0x00};
    struct seen s = {0};
    (void)state;

    see_part(&s, true, start, sizeof start, 5000); /* 4104 of them are this frame */
    see(&s, true, masked_hello, sizeof masked_hello);
    assert_string_equal(s.a.frames[0].title, "text, 5 bytes, masked");
    see_part(&s, true, "\x81", 1, 7);
    see(&s, true, masked_hello, sizeof masked_hello);
    assert_string_equal(s.a.frames[0].title, "text, 5 bytes, masked");
    release(&s);
}

static void a_frame_of_the_server_does_not_go_on_in_a_frame_of_the_client(void **state)
{
    struct seen s = {0};
    (void)state;

    see(&s, true, masked_hello, 7);
    see(&s, false, "\x89\x00", 2);
    assert_string_equal(s.a.frames[0].title, "Ping, 0 bytes");
    see(&s, true, masked_hello + 7, 4);
    assert_string_equal(s.a.frames[0].title, "text, goes on");
    release(&s);
}

static void an_end_and_a_head_have_no_frames(void **state)
{
    struct event end = {.end = true};
    struct event head = {.http = true};
    struct annotator annotator = {0};
    struct annotation a;
    (void)state;

    annotate(&a, &annotator, &end);
    assert_int_equal(a.frame_count, 0);
    bytes_add_text(&head.bytes, "GET / HTTP/1.1\r\n");
    head.total = head.bytes.len;
    annotate(&a, &annotator, &head);
    assert_int_equal(a.frame_count, 0);
    bytes_release(&head.bytes);
}

/* Every byte of an event is in one frame, and in fields of that frame that are in the event. */
static void assert_sound(const struct seen *s, size_t len)
{
    size_t covered = 0;

    for (size_t i = 0; i < s->a.frame_count; i++) {
        const struct frame_note *frame = &s->a.frames[i];

        assert_ptr_equal(frame->data, s->bytes + covered);
        covered += frame->len;
        for (size_t k = 0; k < frame->count; k++) {
            const struct field *f = &s->a.fields[frame->first + k];
            const uint8_t *start = f->derived ? s->a.unmasked : frame->data;
            const uint8_t *end = f->derived ? s->a.unmasked + EVENT_KEPT : frame->data + frame->len;

            assert_true(f->data >= start && f->data + f->len <= end);
            assert_true(is_utf8((const uint8_t *)f->meaning, strlen(f->meaning)));
        }
    }
    assert_int_equal(covered, len);
}

static void any_two_bytes_are_taken_apart(void **state)
{
    uint8_t bytes[16] = {0};
    (void)state;

    for (unsigned n = 0; n < 65536; n++) {
        struct seen s = {0};
        size_t len = 2 + n % 15;

        bytes[0] = (uint8_t)(n >> 8);
        bytes[1] = (uint8_t)n;
        see(&s, n % 3 != 0, bytes, len);
        assert_sound(&s, len);
        release(&s);
    }
}

static void any_bytes_in_any_pieces_are_taken_apart(void **state)
{
    uint32_t random = 1;
    struct seen s = {0};
    (void)state;

    for (unsigned n = 0; n < 20000; n++) {
        uint8_t bytes[EVENT_KEPT];
        size_t len = 0;

        random = random * 1664525 + 1013904223;
        len = (random >> 8) % (EVENT_KEPT + 1);
        for (size_t i = 0; i < len; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = (uint8_t)(random >> 24 & (n % 2 == 0 ? 0xff : 0x8f));
        }
        see_part(&s, n % 4 != 0, bytes, len, len == EVENT_KEPT ? len + random % 1000 : len);
        assert_sound(&s, len);
    }
    release(&s);
}

static void an_event_has_room_for_the_shortest_frames(void **state)
{
    uint8_t empty[EVENT_KEPT], half_status[EVENT_KEPT];
    struct seen s = {0};
    (void)state;

    for (size_t i = 0; i < EVENT_KEPT; i++) {
        empty[i] = i % 2 == 0 ? 0x81 : 0;
        half_status[i] = i % 3 == 0 ? 0x88 : i % 3 == 1;
    }
    see(&s, false, empty, sizeof empty);
    assert_int_equal(s.a.frame_count, EVENT_KEPT / 2);
    assert_sound(&s, sizeof empty);
    see(&s, true, "\x81", 1);
    see(&s, true, empty + 1, sizeof empty - 1);
    assert_sound(&s, sizeof empty - 1);
    see(&s, false, half_status, sizeof half_status);
    assert_sound(&s, sizeof half_status);
    release(&s);
}

/* --- heads ------------------------------------------------------------------------------------ */

static void assert_head(const char *head, size_t len, size_t total, const char *wanted)
{
    uint8_t *copy = exact_copy(head, len);
    struct event e = {.http = true, .bytes = {.data = copy, .len = len}, .total = total};
    struct bytes out = {0};

    add_head_lines(&out, &e, "> ");
    free(copy);
    assert_text(&out, wanted);
}

#define ASSERT_HEAD(head, wanted) assert_head(head, sizeof(head) - 1, sizeof(head) - 1, wanted)

static void a_line_hides_the_end_that_it_should_have(void **state)
{
    (void)state;

    ASSERT_HEAD("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "> GET / HTTP/1.1\n> Host: a\n> \\r\\n\n");
}

static void a_line_shows_any_other_end(void **state)
{
    (void)state;

    ASSERT_HEAD("Host: a\n", "> Host: a\\n\n");
    ASSERT_HEAD("Host: a\r\r\n", "> Host: a\\r\n");
    ASSERT_HEAD("Host: a\rb: c\r\n", "> Host: a\\rb: c\n");
    ASSERT_HEAD("Host: a", "> Host: a (no line end)\n");
    ASSERT_HEAD("\n", "> \\n\n");
    ASSERT_HEAD("\r", "> \\r (no line end)\n");
    ASSERT_HEAD("", "");
}

static void a_head_escapes_what_a_terminal_obeys(void **state)
{
    (void)state;

    ASSERT_HEAD("a\x1b[2J\0\x7f\xc2\x9b\xff\\\"<\xc3\xa4\r\n",
                "> a\\x1b[2J\\x00\\x7f\\xc2\\x9b\\xff\\\\\"<\xc3\xa4\n");
    ASSERT_HEAD("\xe2\x80\xae\xef\xbb\xbf\xed\xa0\x80\xe2\x82\r\n",
                "> \\xe2\\x80\\xae\\xef\\xbb\\xbf\\xed\\xa0\\x80\\xe2\\x82\n");
}

static void a_head_that_is_cut_says_how_much_is_left_out(void **state)
{
    (void)state;

    assert_head("GET / HT", 8, 100, "> GET / HT\n> ... and 92 more bytes\n");
}

#include "check/tests/test_annotate.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
