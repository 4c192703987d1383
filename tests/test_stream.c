/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "bench/stream.h"
#include "utf8.h"
#include "ws_frame.h"

static const size_t sizes[] = {1, 2, 3, 4, 64, 125, 126, 127, 65535, 65536, 1048576};

enum { SIZE_COUNT = sizeof sizes / sizeof sizes[0] };

static struct stream stream_of(enum stream_protocol protocol, enum stream_kind kind, size_t size)
{
    struct stream s;

    assert_true(stream_init(&s, protocol, kind, size));
    assert_true(s.count >= 3);
    return s;
}

/* The server's own decoder reads the request; what it unmasks is what the reply holds. */
static void assert_message(const struct stream *s, size_t index, enum ws_opcode opcode, size_t size)
{
    const uint8_t *request = s->requests + index * s->request_len;
    const uint8_t *reply = s->replies + index * s->reply_len;
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    size_t header_len = ws_frame_encode(header, opcode, size);
    uint8_t *payload = malloc(size);
    struct ws_frame f;
    int used = ws_frame_decode(&f, request, s->request_len, 0);

    assert_non_null(payload);
    assert_true(used > 0);
    assert_true(f.fin);
    assert_int_equal(f.opcode, opcode);
    assert_int_equal(f.len, size);
    assert_int_equal((size_t)used + size, s->request_len);
    memcpy(payload, request + used, size);
    ws_frame_unmask(payload, size, f.mask, 0);
    assert_int_equal(s->reply_len, header_len + size);
    assert_memory_equal(reply, header, header_len);
    assert_memory_equal(reply + header_len, payload, size);
    free(payload);
}

static void requests_are_masked_frames_of_the_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        struct stream binary = stream_of(STREAM_WS, STREAM_BINARY, sizes[i]);
        struct stream text = stream_of(STREAM_WS, STREAM_MIXED, sizes[i]);

        for (size_t n = 0; n < binary.count; n++)
            assert_message(&binary, n, WS_OP_BINARY, sizes[i]);
        for (size_t n = 0; n < text.count; n++)
            assert_message(&text, n, WS_OP_TEXT, sizes[i]);
        stream_release(&binary);
        stream_release(&text);
    }
}

static void texts_of_every_kind_and_size_are_utf8(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (int kind = STREAM_ASCII; kind <= STREAM_MIXED; kind++) {
        for (size_t size = 1; size < 300; size++) {
            uint8_t *text = malloc(size);
            struct utf8 u = {0};

            assert_non_null(text);
            stream_payload(text, size, (enum stream_kind)kind, &random);
            assert_true(utf8_feed(&u, text, size));
            assert_true(utf8_complete(&u));
            free(text);
        }
    }
}

static size_t count_high(const uint8_t *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] >= 0x80;
    return n;
}

static void kinds_of_text_are_what_they_say(void **state)
{
    uint8_t text[3000];
    uint64_t random = 1;
    size_t high;

    (void)state;
    stream_payload(text, sizeof text, STREAM_ASCII, &random);
    assert_int_equal(count_high(text, sizeof text), 0);
    stream_payload(text, sizeof text, STREAM_CHINESE, &random);
    assert_true(count_high(text, sizeof text) >= sizeof text - 3);
    stream_payload(text, sizeof text, STREAM_MIXED, &random);
    high = count_high(text, sizeof text);
    assert_in_range(high, sizeof text / 4, sizeof text * 3 / 4);
}

static void neighbours_in_the_cycle_differ(void **state)
{
    struct stream s = stream_of(STREAM_WS, STREAM_ASCII, 16);

    (void)state;
    for (size_t n = 0; n < s.count; n++) {
        size_t next = (n + 1) % s.count;

        assert_memory_not_equal(s.replies + n * s.reply_len, s.replies + next * s.reply_len,
                                s.reply_len);
    }
    stream_release(&s);
}

static void raw_messages_are_as_long_as_frames_and_come_back_unchanged(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        struct stream raw = stream_of(STREAM_RAW, STREAM_CHINESE, sizes[i]);
        struct stream ws = stream_of(STREAM_WS, STREAM_CHINESE, sizes[i]);

        assert_int_equal(raw.request_len, ws.request_len);
        assert_int_equal(raw.reply_len, raw.request_len);
        assert_memory_equal(raw.replies, raw.requests, raw.count * raw.request_len);
        stream_release(&raw);
        stream_release(&ws);
    }
}

static void socketio_text_is_an_event(void **state)
{
    struct stream s = stream_of(STREAM_SOCKETIO, STREAM_ASCII, 64);

    (void)state;
    assert_int_equal(s.reply_split, 0);
    assert_message(&s, 0, WS_OP_TEXT, 64 + strlen("42[\"m\",\"\"]"));
    assert_memory_equal(s.replies + 2, "42[\"m\",\"", 8);
    assert_memory_equal(s.replies + 2 + 8 + 64, "\"]", 2);
    stream_release(&s);
}

static void socketio_binary_is_an_event_and_its_attachment(void **state)
{
    static const char event[] = "451-[\"m\",{\"_placeholder\":true,\"num\":0}]";
    struct stream s = stream_of(STREAM_SOCKETIO, STREAM_BINARY, 64);

    (void)state;
    assert_int_equal(s.reply_split, 2 + strlen(event));
    assert_int_equal(s.reply_len, 2 + strlen(event) + 2 + 64);
    assert_memory_equal(s.replies + 2, event, strlen(event));
    assert_int_equal(s.replies[s.reply_split], 0x82);
    assert_int_equal(s.replies[s.reply_split + 1], 64);
    stream_release(&s);
}

static void polling_text_is_an_event_with_a_separator_behind_it(void **state)
{
    struct stream s = stream_of(STREAM_POLLING, STREAM_ASCII, 64);

    (void)state;
    assert_int_equal(s.request_len, strlen("42[\"m\",\"\"]") + 64 + 1);
    assert_int_equal(s.reply_len, s.request_len);
    assert_memory_equal(s.replies, s.requests, s.count * s.reply_len);
    for (size_t n = 0; n < s.count; n++) {
        const uint8_t *end = s.replies + (n + 1) * s.reply_len;

        assert_memory_equal(end - s.reply_len, "42[\"m\",\"", 8);
        assert_memory_equal(end - 3, "\"]\x1e", 3);
    }
    stream_release(&s);
}

#include "tests/test_stream.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
