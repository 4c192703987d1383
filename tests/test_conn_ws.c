/* SPDX-License-Identifier: MIT
 *
 * The server speaking WebSocket: frames, messages, the closing handshake, rooms. RFC 6455 §5 to §8.
 * Each test is named by the behaviour that it shows; docs/rfc6455.md refers to them. */
#include "server_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- frames and messages, RFC 6455 §5, §6, §8 ------------------------------------------------- */

static void expect_echo_of_size(struct raw_client *c, struct raw_bytes *out, size_t len, bool text)
{
    unsigned head = text ? RAW_TEXT : RAW_BINARY;
    uint8_t *payload = make_payload(len, text);
    char label[64];

    snprintf(label, sizeof label, "%zu bytes of %s", len, text ? "text" : "binary");
    c->label = label;
    out->len = 0;
    raw_bytes_frame(out, head, payload, len);
    raw_send_bytes(c, out);
    raw_expect_frame(c, head, payload, len);
    c->label = NULL;
    free(payload);
}

static void messages_of_all_sizes_come_back(void **state)
{
    static const size_t sizes[] = {0,     1,      2,           124,     125,          126,
                                   127,   128,    1000,        65534,   65535,        65536,
                                   65537, 100000, 1 * MIB - 1, 1 * MIB, 16 * MIB - 1, 16 * MIB};
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    for (size_t i = 0; i < COUNT(sizes); i++) {
        expect_echo_of_size(c, &f->out, sizes[i], true);
        expect_echo_of_size(c, &f->out, sizes[i], false);
    }
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    raw_close(c);
    wait_connections(f, 0);
    assert_int_equal(stats(f).buffered, 0);
}

/* RFC 6455 §5.7 and §5.3: any masking key will do, also one of zeros. */
static void every_masking_key_is_applied(void **state)
{
    static const uint8_t zero_key[] = {0x81, 0x82, 0, 0, 0, 0, 'h', 'i'};
    static const uint8_t other_key[] = {0x81, 0x82, 0xff, 0x01, 0x80, 0x7f, 'h' ^ 0xff, 'i' ^ 0x01};
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_send(c, zero_key, sizeof zero_key);
    raw_expect_message(c, "hi");
    raw_send(c, other_key, sizeof other_key);
    raw_expect_message(c, "hi");
}

struct attack {
    const char *label;
    const char *bytes;
    size_t len;
    unsigned code; /* what the server must close with */
};

static const struct attack violations[] = {
    {"an unmasked frame", BYTES("\x81\x02hi"), 1002},
    {"an unmasked empty frame", BYTES("\x81\x00"), 1002},
    {"an unmasked ping", BYTES("\x89\x00"), 1002},
    {"an unmasked Close", BYTES("\x88\x02\x03\xe8"), 1002},
    {"RSV1", BYTES("\xc1\x80" MASK), 1002},
    {"RSV2", BYTES("\xa1\x80" MASK), 1002},
    {"RSV3", BYTES("\x91\x80" MASK), 1002},
    {"RSV1 on a ping", BYTES("\xc9\x80" MASK), 1002},
    {"opcode 3", BYTES("\x83\x80" MASK), 1002},
    {"opcode 4", BYTES("\x84\x80" MASK), 1002},
    {"opcode 5", BYTES("\x85\x80" MASK), 1002},
    {"opcode 6", BYTES("\x86\x80" MASK), 1002},
    {"opcode 7", BYTES("\x87\x80" MASK), 1002},
    {"opcode 11", BYTES("\x8b\x80" MASK), 1002},
    {"opcode 12", BYTES("\x8c\x80" MASK), 1002},
    {"opcode 13", BYTES("\x8d\x80" MASK), 1002},
    {"opcode 14", BYTES("\x8e\x80" MASK), 1002},
    {"opcode 15", BYTES("\x8f\x80" MASK), 1002},
    {"125 as 16 bits", BYTES("\x82\xfe\x00\x7d" MASK), 1002},
    {"0 as 16 bits", BYTES("\x82\xfe\x00\x00" MASK), 1002},
    {"65535 as 64 bits", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff" MASK), 1002},
    {"0 as 64 bits", BYTES("\x82\xff\0\0\0\0\0\0\0\0" MASK), 1002},
    {"bit 63", BYTES("\x82\xff\x80\0\0\0\0\0\0\x01" MASK), 1002},
    {"all bits", BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK), 1002},
    {"a ping of 126 bytes, 2 bytes of it sent", BYTES("\x89\xfe"), 1002},
    {"a pong of 126 bytes", BYTES("\x8a\xfe\x00\x7e" MASK), 1002},
    {"a Close of 126 bytes", BYTES("\x88\xfe\x00\x7e" MASK), 1002},
    {"a ping without FIN", BYTES("\x09\x80" MASK), 1002},
    {"a pong without FIN", BYTES("\x0a\x80" MASK), 1002},
    {"a Close without FIN", BYTES("\x08\x80" MASK), 1002},
    {"a continuation of nothing", BYTES("\x80\x80" MASK), 1002},
    {"a first part that continues nothing", BYTES("\x00\x80" MASK), 1002},
    {"a continuation after a whole message", BYTES("\x02\x80" MASK "\x80\x80" MASK "\x80\x80" MASK),
     1002},
    {"text inside a text", BYTES("\x01\x81" MASK "a\x81\x81" MASK "b"), 1002},
    {"binary inside a text", BYTES("\x01\x81" MASK "a\x82\x81" MASK "b"), 1002},
    {"text inside a binary", BYTES("\x02\x81" MASK "a\x01\x81" MASK "b"), 1002},
    {"a Close of one byte", BYTES("\x88\x81" MASK "\x03"), 1002},
    {"2^62 bytes", BYTES("\x82\xff\x40\0\0\0\0\0\0\0" MASK), 1009},
    {"2^63 - 1 bytes", BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK), 1009},
    {"16 MiB + 1", BYTES("\x82\xff\0\0\0\0\x01\0\0\x01" MASK), 1009},
    {"a sum that wraps", BYTES("\x02\x81" MASK "a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK),
     1009},
};

static void try_attack(struct fixture *f, const struct attack *a)
{
    struct raw_client *c = upgraded(f, "/sink");
    int closed = read_counter(f, &f->seen.closed);

    c->label = a->label;
    raw_send(c, a->bytes, a->len);
    raw_expect_closed(c, a->code);
    raw_close(c);
    expect_on_close(f, closed + 1, a->code);
}

static void protocol_violation_fails_the_connection(void **state)
{
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){0}, "/sink",
                  (struct ws_handlers){.on_message = count_message});
    for (size_t i = 0; i < COUNT(violations); i++)
        try_attack(f, &violations[i]);
    expect_well(f);
}

/* None of these waits for the rest of what its header announced. */
static const struct attack bad_texts[] = {
    {"a lone continuation byte", BYTES("\x81\x81" MASK "\x80"), 1007},
    {"0xff",
     BYTES("\x81\x83" MASK "a\xff"
           "b"),
     1007},
    {"overlong slash", BYTES("\x81\x82" MASK "\xc0\xaf"), 1007},
    {"overlong NUL", BYTES("\x81\x83" MASK "\xe0\x80\x80"), 1007},
    {"a surrogate", BYTES("\x81\x83" MASK "\xed\xa0\x80"), 1007},
    {"over U+10FFFF", BYTES("\x81\x84" MASK "\xf4\x90\x80\x80"), 1007},
    {"a character cut by the end of the message", BYTES("\x81\x82" MASK "\xe2\x82"), 1007},
    {"a character cut by the end of the last fragment",
     BYTES("\x01\x81" MASK "\xe2\x80\x81" MASK "\x82"), 1007},
    {"a bad byte in an unfinished frame", BYTES("\x81\xfe\x03\xe8" MASK "abc\xff"), 1007},
    {"a first byte that nothing can follow, frame unfinished",
     BYTES("\x81\xfe\x03\xe8" MASK "abc\xf5"), 1007},
    {"a second byte that cannot be, frame unfinished", BYTES("\x81\xfe\x03\xe8" MASK "\xed\xa0"),
     1007},
    {"a bad byte in a second fragment", BYTES("\x01\x81" MASK "a\x00\xfe\x03\xe8" MASK "\xc0"),
     1007},
    {"a bad byte behind a split character",
     BYTES("\x01\x82" MASK "\xe2\x82\x80\x82" MASK "\xac\xff"), 1007},
    {"a bad reason", BYTES("\x88\x84" MASK "\x03\xe8\xc3\x28"), 1007},
};

static void bad_utf8_fails_at_the_first_impossible_byte(void **state)
{
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){0}, "/sink",
                  (struct ws_handlers){.on_message = count_message});
    for (size_t i = 0; i < COUNT(bad_texts); i++)
        try_attack(f, &bad_texts[i]);
    assert_int_equal(f->seen.messages, 0);
}

/* No verdict may hang on how the bytes arrive. */
static void violations_are_seen_byte_by_byte(void **state)
{
    static const struct {
        const struct attack *rows;
        size_t count;
    } tables[] = {{violations, COUNT(violations)}, {bad_texts, COUNT(bad_texts)}};
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){0}, "/sink",
                  (struct ws_handlers){.on_message = count_message});
    for (size_t t = 0; t < COUNT(tables); t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct attack *a = &tables[t].rows[i];
            struct raw_client *c = upgraded(f, "/sink");

            c->label = a->label;
            raw_send_chunks(c, a->bytes, a->len, 1);
            raw_expect_closed(c, a->code);
            raw_close(c);
        }
    }
    assert_int_equal(f->seen.messages, 1); /* the whole one of "after a whole message" */
}

static void characters_may_be_split_between_fragments(void **state)
{
    static const char text[] = "\xce\xba\xe1\xbd\xb9\xf0\x9f\x90\x9f\xf4\x8f\xbf\xbf\xee\x80\x80";
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    for (size_t i = 0; i < sizeof text - 1; i++)
        raw_bytes_frame(&f->out, i == 0 ? RAW_TEXT_PART : RAW_CONTINUATION_PART, text + i, 1);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "", 0);
    raw_send_bytes(c, &f->out);
    raw_expect_message(c, text);
    raw_send_frame(c, RAW_BINARY, "\xff\xfe", 2); /* binary is not looked at */
    raw_expect_frame(c, RAW_BINARY, "\xff\xfe", 2);
}

static void message_over_the_limit_fails_by_its_header_alone(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    uint8_t *payload = make_payload(1000, true);

    start(f, (struct ws_options){0});
    c = upgraded(f, "/small");
    raw_send_frame(c, RAW_TEXT, payload, 1000);
    raw_expect_frame(c, RAW_TEXT, payload, 1000);
    raw_bytes_header(&f->out, RAW_TEXT, 1001);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);

    c = upgraded(f, "/small");
    raw_send_frame(c, RAW_TEXT_PART, payload, 600);
    raw_send_frame(c, RAW_CONTINUATION, payload + 600, 400);
    raw_expect_frame(c, RAW_TEXT, payload, 1000);
    raw_send_frame(c, RAW_TEXT_PART, payload, 600);
    f->out.len = 0;
    raw_bytes_header(&f->out, RAW_CONTINUATION_PART, 401);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);
    expect_on_close(f, 2, 1009);
    free(payload);
}

/* 100 headers of 16 MiB each hold nothing. */
static void announced_bytes_take_no_memory(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    raw_bytes_header(&f->out, RAW_BINARY, 16 * MIB);
    raw_bytes_payload(&f->out, "0123456789", 10, 0);
    for (int i = 0; i < 15; i++) {
        c = upgraded(f, "/echo");
        raw_send_bytes(c, &f->out);
    }
    expect_well(f);
    assert_in_range(stats(f).buffered, 0, 16 * 4 * KIB);
}

static void fragments_may_have_control_frames_between_them(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_bytes_frame(&f->out, RAW_TEXT_PART, "frag", 4);
    raw_bytes_frame(&f->out, RAW_PING, "one", 3);
    raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_bytes_frame(&f->out, RAW_PONG, "nobody asked", 12);
    raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "men", 3);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_PONG, "one", 3);
    f->out.len = 0;
    raw_bytes_frame(&f->out, RAW_PING, "two", 3);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "ts", 2);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_PONG, "two", 3);
    raw_expect_message(c, "fragments");
    assert_int_equal(f->seen.messages, 1);

    raw_send_frame(c, RAW_TEXT_PART, "unfinished", 10); /* a Close may stand there too */
    raw_send_close(c, 1001);
    raw_expect_closed(c, 1001);
    expect_on_close(f, 1, 1001);
    assert_int_equal(f->seen.messages, 1);
}

static void message_of_65536_fragments_comes_back(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(65536, false);
    struct raw_client *c = start_echo(f);

    raw_bytes_frame(&f->out, RAW_BINARY_PART, payload, 1);
    for (size_t i = 1; i < 65535; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, payload + i, 1);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, payload + 65535, 1);
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_BINARY, payload, 65536);
    free(payload);
}

static void note_whether_there_is_data(struct ws_conn *c, enum ws_opcode op, const void *data,
                                       size_t len)
{
    (void)op;
    note_result(of(c), 0, data != NULL && len == 0);
    count(of(c), &of(c)->seen.messages);
}

static void empty_message_has_data_also_in_fragments(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/empty",
                  (struct ws_handlers){.on_message = note_whether_there_is_data});
    c = upgraded(f, "/empty");
    raw_send_frame(c, RAW_TEXT_PART, "", 0);
    raw_send_frame(c, RAW_CONTINUATION, "", 0);
    wait_until(f, &f->seen.messages, 1, "messages");
    assert_int_equal(f->seen.result[0], true);
}

static void empty_fragments_without_end_are_cut_off(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_bytes_frame(&f->out, RAW_TEXT_PART, "", 0);
    for (int i = 0; i < 60000; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_send_bytes(c, &f->out);
    raw_send_frame(c, RAW_PING, "", 0);
    raw_expect_frame(c, RAW_PONG, "", 0);
    assert_in_range(stats(f).buffered, 0, 64 * KIB);
    f->out.len = 0;
    for (int i = 0; i < 10000; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "", 0);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);
}

static void fragments_of_one_byte_end_at_the_limit(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    c = upgraded(f, "/small");
    raw_bytes_frame(&f->out, RAW_TEXT_PART, "x", 1);
    for (int i = 0; i < 5000; i++)
        raw_bytes_frame(&f->out, RAW_CONTINUATION_PART, "x", 1);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1009);
    assert_in_range(stats(f).buffered, 0, 64 * KIB);
}

/* The same stream in pieces of 1, 2, 3, 7 and 1000 bytes. */
static void delivery_in_pieces_changes_nothing(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1000};
    struct fixture *f = *state;
    uint8_t *payload = make_payload(300, true);

    start(f, (struct ws_options){0});
    raw_bytes_upgrade(&f->out, "/echo", "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    raw_bytes_frame(&f->out, RAW_TEXT, "hello", 5);
    raw_bytes_frame(&f->out, RAW_TEXT_PART, "\xe2", 1);
    raw_bytes_frame(&f->out, RAW_PING, "ping", 4);
    raw_bytes_frame(&f->out, RAW_CONTINUATION, "\x82\xac", 2);
    raw_bytes_frame(&f->out, RAW_TEXT, payload, 300);
    raw_bytes_frame(&f->out, RAW_BINARY, "", 0);
    raw_bytes_close(&f->out, 1000, "bye");
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct raw_client *c = client(f, "in pieces");
        struct raw_response r;

        raw_send_chunks(c, f->out.data, f->out.len, pieces[i]);
        raw_expect_upgraded(c, &r);
        raw_expect_message(c, "hello");
        raw_expect_frame(c, RAW_PONG, "ping", 4);
        raw_expect_message(c, "\xe2\x82\xac");
        raw_expect_frame(c, RAW_TEXT, payload, 300);
        raw_expect_frame(c, RAW_BINARY, "", 0);
        raw_expect_closed(c, 1000);
        raw_close(c);
    }
    free(payload);
}

static void close_at_a_message(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    (void)op;
    (void)data;
    ws_close(c, len == 4 ? 4004 : 4000, "");
}

/* Send `len` bytes of a text, the rest only when the server has the beginning, and a short one
 * behind it. */
static void send_text_in_two(struct fixture *f, struct raw_client *c, const uint8_t *text,
                             size_t len, size_t first)
{
    int64_t begun = raw_now_ms();

    f->out.len = 0;
    raw_bytes_header(&f->out, RAW_TEXT, len);
    raw_bytes_payload(&f->out, text, len, 0);
    raw_bytes_frame(&f->out, RAW_TEXT, "next", 4);
    first += 14;
    raw_send(c, f->out.data, first);
    while (stats(f).buffered < first - 14)
        if (raw_now_ms() - begun > PATIENCE_MS)
            raw_fail(c, "the server does not read");
    raw_exchange(c, f->out.data + first, f->out.len - first);
}

/* The end of a long message is received where it is assembled, what is behind it elsewhere. */
static void message_may_end_anywhere_in_the_space_it_is_received_into(void **state)
{
    static const size_t lengths[] = {256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 400000, 1 * MIB};
    struct fixture *f = *state;
    uint8_t *text = make_payload(1 * MIB, true);

    start_serving(f, (struct ws_options){0}, "/close",
                  (struct ws_handlers){.on_message = close_at_a_message});
    for (size_t i = 0; i < 3 * COUNT(lengths); i++) {
        size_t len = lengths[i / 3];
        size_t first =
            len / 2 + i % 3 - 1; /* the space doubles, and may be full with the message */
        struct raw_client *c = upgraded(f, "/echo");
        uint8_t last = text[len - 1];

        send_text_in_two(f, c, text, len, first);
        raw_expect_frame(c, RAW_TEXT, text, len);
        raw_expect_message(c, "next");
        text[len - 1] = 0xff;
        send_text_in_two(f, c, text, len, first);
        raw_expect_closed(c, 1007);
        text[len - 1] = last;
        raw_close(c);
        c = upgraded(f, "/close");
        send_text_in_two(f, c, text, len, first);
        raw_expect_close(c, 4000);
        raw_close(c);
        wait_connections(f, 0);
        assert_int_equal(stats(f).buffered, 0);
    }
    free(text);
}

static void pipelined_messages_come_back_in_order(void **state)
{
    struct fixture *f = *state;
    char text[32];
    struct raw_client *c = start_echo(f);

    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "message %d", i);
        raw_bytes_frame(&f->out, RAW_TEXT, text, strlen(text));
    }
    raw_send_bytes(c, &f->out);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "message %d", i);
        raw_expect_message(c, text);
    }
}

static void send_in_parts(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    ws_send(c, op, data, len);
    ws_send(c, op, data, len / 100);
    ws_send(c, op, data, len);
    ws_send(c, op, (const char *)data + 1, len - 1);
    ws_send(c, op, data, len);
}

/* Our header may be written where the client's was. Nothing of the message, nor of the one behind
 * it, may be lost by that. */
static void data_of_a_message_may_be_sent_again_and_in_parts(void **state)
{
    static const size_t sizes[] = {100, 1500, 10000, 70000, 200000};
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){0});
    serve(f, "/parts", (struct ws_handlers){.on_message = send_in_parts});
    c = upgraded(f, "/parts");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t len = sizes[i];
        uint8_t *payload = make_payload(len, false);

        f->out.len = 0;
        raw_bytes_frame(&f->out, RAW_BINARY, payload, len);
        raw_bytes_frame(&f->out, RAW_BINARY, payload, len / 2);
        raw_exchange(c, f->out.data, f->out.len);
        for (size_t of = 1; of <= 2; of++) {
            size_t n = len / of;

            raw_expect_frame(c, RAW_BINARY, payload, n);
            raw_expect_frame(c, RAW_BINARY, payload, n / 100);
            raw_expect_frame(c, RAW_BINARY, payload, n);
            raw_expect_frame(c, RAW_BINARY, payload + 1, n - 1);
            raw_expect_frame(c, RAW_BINARY, payload, n);
        }
        free(payload);
    }
}

enum { BURST = 1000, BURST_SIZE = 3000 };

/* Numbered messages, all from one callback; the last one alone is larger than the queue. */
static void send_burst(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    static uint8_t text[10 * BURST_SIZE];
    int failed = 0;

    (void)data;
    for (int i = 0; i < BURST; i++) {
        memset(text, 'a' + i % 26, sizeof text);
        if (len == 1)
            failed += ws_publish(of(c)->server, ws_str("room"), NULL, op, text, BURST_SIZE) != 1;
        else
            failed += ws_send(c, op, text, BURST_SIZE) < 0;
    }
    failed += ws_send(c, op, text, sizeof text) < 0;
    note_result(of(c), 0, failed);
    count(of(c), &of(c)->seen.messages);
}

/* Nothing leaves before a callback returns: a burst that is larger than the queue says nothing
 * about who reads it. */
static void burst_of_one_callback_is_no_sign_of_a_slow_reader(void **state)
{
    static const char *const ways[] = {"p", "send"};
    struct fixture *f = *state;
    uint8_t text[BURST_SIZE];

    start_serving(f, (struct ws_options){.max_queue = 10000}, "/burst",
                  (struct ws_handlers){.on_open = join_room, .on_message = send_burst});
    for (size_t way = 0; way < COUNT(ways); way++) {
        struct raw_client *c = upgraded(f, "/burst");
        struct raw_frame last;

        raw_send_message(c, ways[way]);
        for (int i = 0; i < BURST; i++) {
            memset(text, 'a' + i % 26, sizeof text);
            raw_expect_frame(c, RAW_TEXT, text, sizeof text);
        }
        raw_read_frame(c, &last);
        assert_int_equal(last.len, 10 * BURST_SIZE);
        wait_until(f, &f->seen.messages, (int)way + 1, "bursts");
        assert_int_equal(f->seen.result[0], 0);
        raw_close(c);
        wait_connections(f, 0);
    }
}

static void send_block(struct fixture *f, void *arg)
{
    static const char block[4000];

    (void)arg;
    note_result(f, 0, ws_send(f->conn, WS_OP_BINARY, block, sizeof block));
    note_result(f, 1, (int)ws_conn_backlog(f->conn));
    note_result(f, 2, (int)ws_conn_queued(f->conn));
}

/* What earlier turns have sent is held against a peer that does not read. */
static void backlog_of_earlier_turns_heeds_max_queue(void **state)
{
    struct fixture *f = *state;
    int64_t begun = raw_now_ms();

    start(f, (struct ws_options){.max_queue = 10000});
    slow_upgraded(f, "/echo");
    wait_until(f, &f->seen.opened, 1, "opened connections");
    do
        on_loop(f, send_block, NULL);
    while (f->seen.result[0] >= 0 && raw_now_ms() - begun < PATIENCE_MS);
    assert_int_equal(f->seen.result[0], WS_ERR_FULL);
    assert_in_range(f->seen.result[1], 6001, 10000);
    assert_int_equal(f->seen.result[2], f->seen.result[1]);
}

static void burst_to_nobody(struct fixture *f, void *arg)
{
    static const char block[64 * KIB];

    (void)arg;
    for (int i = 0; i < 100; i++)
        ws_send(f->conn, WS_OP_BINARY, block, sizeof block);
    note_result(f, 0, ws_conn_queued(f->conn) > 1 * MIB);
}

/* Nobody sends any more, but the burst is not kept for ever. */
static void burst_that_nobody_reads_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    start(f, (struct ws_options){.max_queue = 1 * MIB, .close_timeout_ms = 200});
    c = slow_upgraded(f, "/echo");
    wait_until(f, &f->seen.opened, 1, "opened connections");
    on_loop(f, burst_to_nobody, NULL);
    assert_true(f->seen.result[0]);
    expect_on_close(f, 1, 1013);
    raw_close(c);
}

static void ping_is_answered_with_its_own_payload(void **state)
{
    static const size_t sizes[] = {0, 1, 124, 125};
    struct fixture *f = *state;
    uint8_t *payload = make_payload(125, false);
    struct raw_client *c = start_echo(f);

    for (size_t i = 0; i < COUNT(sizes); i++) {
        raw_send_frame(c, RAW_PING, payload, sizes[i]);
        raw_expect_frame(c, RAW_PONG, payload, sizes[i]);
    }
    free(payload);
    raw_send_frame(c, RAW_PONG, "unsolicited", 11);
    raw_expect_echo(c, "fine");
}

static void echo_or_close(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    if (len == 0)
        ws_close(c, 1000, "");
    else
        ws_send(c, op, data, len);
}

/* RFC 6455 §1.4: after a Close nothing comes, not even a pong that had to wait. */
static void pong_that_waits_leaves_before_a_close(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = make_payload(8 * MIB, false);
    struct raw_client *c;

    start_serving(f, (struct ws_options){.high_water = 16 * MIB}, "/till",
                  (struct ws_handlers){.on_message = echo_or_close});
    c = slow_upgraded(f, "/till");
    raw_send_frame(c, RAW_BINARY, payload, 8 * MIB);
    raw_send_frame(c, RAW_PING, "still there?", 12);
    raw_send_frame(c, RAW_BINARY, "", 0);
    raw_expect_frame(c, RAW_BINARY, payload, 8 * MIB);
    raw_expect_frame(c, RAW_PONG, "still there?", 12);
    raw_expect_close(c, 1000);
    raw_send_close(c, 1000);
    raw_expect_eof(c);
    free(payload);
}

/* --- closing, RFC 6455 §5.5.1 and §7 ---------------------------------------------------------- */

static const struct {
    unsigned sent, answer;
} close_codes[] = {
    {1000, 1000}, {1001, 1001}, {1002, 1002}, {1003, 1003},  {1007, 1007}, {1008, 1008},
    {1009, 1009}, {1010, 1010}, {1011, 1011}, {1012, 1012},  {1013, 1013}, {1014, 1014},
    {3000, 3000}, {3999, 3999}, {4000, 4000}, {4999, 4999},  {1, 1002},    {999, 1002},
    {1004, 1002}, {1005, 1002}, {1006, 1002}, {1015, 1002},  {1016, 1002}, {1100, 1002},
    {2000, 1002}, {2999, 1002}, {5000, 1002}, {65535, 1002},
};

static void close_code_is_echoed_when_it_is_valid(void **state)
{
    struct fixture *f = *state;

    start(f, (struct ws_options){0});
    for (size_t i = 0; i < COUNT(close_codes); i++) {
        struct raw_client *c = upgraded(f, "/echo");

        raw_send_close(c, close_codes[i].sent);
        raw_expect_closed(c, close_codes[i].answer);
        raw_close(c);
        expect_on_close(f, (int)i + 1, close_codes[i].answer);
    }
}

/* Code 0 cannot be sent by raw_send_close(), where it means none. */
static void close_of_code_zero_is_a_violation(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_send_frame(c, RAW_CLOSE, "\0\0", 2);
    raw_expect_closed(c, 1002);
}

static void empty_close_is_answered_by_an_empty_close(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_send_close(c, 0);
    raw_expect_closed(c, 0);
    expect_on_close(f, 1, WS_CLOSE_NO_STATUS);
}

/* Browsers show the page the reason that they receive, also where the page closed. */
static void close_reason_reaches_the_application_and_is_echoed(void **state)
{
    static const char euro[] = "\x0f\xa1"
                               "enough \xe2\x82\xac"; /* 4001 */
    struct fixture *f = *state;
    char longest[126] = "\x03\xe8"; /* 1000 */
    struct raw_client *c = start_echo(f);

    raw_send_frame(c, RAW_CLOSE, euro, sizeof euro - 1);
    raw_expect_frame(c, RAW_CLOSE, euro, sizeof euro - 1);
    raw_expect_eof(c);
    expect_on_close(f, 1, 4001);
    assert_string_equal(f->seen.reason, euro + 2);

    memset(longest + 2, 'r', 123);
    longest[125] = '\0';
    c = upgraded(f, "/echo");
    raw_send_frame(c, RAW_CLOSE, longest, 125);
    raw_expect_frame(c, RAW_CLOSE, longest, 125);
    raw_expect_eof(c);
    expect_on_close(f, 2, 1000);
    assert_string_equal(f->seen.reason, longest + 2);
}

static void data_after_close_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_bytes_frame(&f->out, RAW_TEXT, "before", 6);
    raw_bytes_close(&f->out, 1000, "");
    raw_bytes_frame(&f->out, RAW_TEXT, "after", 5);
    raw_bytes_frame(&f->out, RAW_PING, "after", 5);
    raw_bytes_add(&f->out, "\xff\xff\xff", 3); /* not even judged */
    raw_send_bytes(c, &f->out);
    raw_expect_message(c, "before");
    raw_expect_closed(c, 1000);
    raw_close(c);
    expect_on_close(f, 1, 1000);
    assert_int_equal(f->seen.messages, 1);
}

static void data_after_a_violation_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = start_echo(f);

    raw_bytes_add(&f->out, "\x83\x80" MASK, 6);
    for (int i = 0; i < 1000; i++)
        raw_bytes_frame(&f->out, RAW_TEXT, "after", 5);
    raw_send_bytes(c, &f->out);
    raw_expect_closed(c, 1002);
    raw_send_bytes(c, &f->out); /* nobody is disturbed, and no RST eats the Close */
    raw_close(c);
    expect_on_close(f, 1, 1002);
    assert_int_equal(f->seen.messages, 0);
}

static void close_by_order(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    char reason[201];
    char order[16];

    (void)op;
    memset(reason, 'x', 200);
    reason[200] = '\0';
    snprintf(order, sizeof order, "%.*s", (int)len, (const char *)data);
    note_result(of(c), 0, ws_close(c, (unsigned)atoi(order), len > 4 ? reason : "why"));
    note_result(of(c), 1, ws_close(c, 1000, ""));
    note_result(of(c), 2, ws_send(c, WS_OP_TEXT, "x", 1));
    count(of(c), &of(c)->seen.messages);
}

static void server_closes_with_the_code_of_the_application(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_frame frame;

    start_serving(f, (struct ws_options){0}, "/close",
                  (struct ws_handlers){.on_message = close_by_order});
    c = upgraded(f, "/close");
    raw_bytes_frame(&f->out, RAW_TEXT, "4000", 4);
    raw_bytes_frame(&f->out, RAW_TEXT, "4000", 4); /* discarded: the close has begun */
    raw_send_bytes(c, &f->out);
    raw_expect_frame(c, RAW_CLOSE, "\x0f\xa0why", 5);
    raw_send_close(c, 4000);
    raw_expect_eof(c);
    raw_close(c);
    expect_on_close(f, 1, 4000);
    assert_int_equal(f->seen.messages, 1);
    assert_int_equal(f->seen.result[0], 0);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[2], WS_ERR_CLOSED);

    c = upgraded(f, "/close");
    raw_send_message(c, "0");
    raw_expect_close(c, 0);
    raw_send_close(c, 0);
    raw_expect_eof(c);

    c = upgraded(f, "/close");
    raw_send_message(c, "1000 and a long reason"); /* cut, not refused */
    raw_read_frame(c, &frame);
    assert_int_equal(frame.head, RAW_CLOSE);
    assert_int_equal(frame.len, 125);
}

static void try_bad_arguments(struct ws_conn *c, const struct ws_request *req)
{
    static const unsigned bad[] = {1, 999, 1004, 1005, 1006, 1015, 5000, 70000};
    static const char zeros[126];
    int refused = 0;

    (void)req;
    for (size_t i = 0; i < COUNT(bad); i++)
        refused += ws_close(c, bad[i], NULL) == WS_ERR_INVALID;
    note_result(of(c), 0, refused);
    note_result(of(c), 1, ws_send(c, WS_OP_PING, "x", 1));
    note_result(of(c), 2, ws_send(c, (enum ws_opcode)3, "x", 1));
    note_result(of(c), 3, ws_ping(c, zeros, 126));
    note_result(of(c), 4, ws_ping(c, zeros, 125));
    note_result(of(c), 5, ws_respond(c, 200, NULL, 0, "x", 1));
    note_result(of(c), 6, ws_accept(c, NULL, NULL, 0));
    note_result(of(c), 7, ws_send(c, WS_OP_TEXT, NULL, 0));
    count(of(c), &of(c)->seen.opened);
}

static void illegal_arguments_are_refused(void **state)
{
    static const char zeros[125];
    struct fixture *f = *state;
    struct raw_client *c;

    start_serving(f, (struct ws_options){0}, "/bad",
                  (struct ws_handlers){.on_open = try_bad_arguments});
    c = upgraded(f, "/bad");
    raw_expect_frame(c, RAW_PING, zeros, 125);
    raw_expect_message(c, "");
    wait_until(f, &f->seen.opened, 1, "calls of on_open");
    assert_int_equal(f->seen.result[0], 8);
    assert_int_equal(f->seen.result[1], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[2], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[3], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[4], 0);
    assert_int_equal(f->seen.result[5], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[6], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[7], 0);
}

/* --- rooms ------------------------------------------------------------------------------------ */

/* "join X", "leave X", "say X", "all": what a room is to its members. */
static void room_orders(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct fixture *f = of(c);
    const char *order = data;
    struct ws_str room = {order + 1, len - 1};

    switch (order[0]) {
    case 'j':
        note_result(f, 0, ws_join(c, room));
        break;
    case 'l':
        ws_leave(c, room);
        break;
    case 's':
        note_result(f, 0, (int)ws_publish(f->server, room, NULL, op, data, len));
        break;
    case 'o': /* all but the sender */
        note_result(f, 0, (int)ws_publish(f->server, room, c, op, data, len));
        break;
    default:
        note_result(f, 0, (int)ws_broadcast(f->server, c, op, data, len));
        break;
    }
    count(f, &f->seen.messages);
}

static int order(struct fixture *f, struct raw_client *c, const char *text)
{
    int before = read_counter(f, &f->seen.messages);

    raw_send_message(c, text);
    wait_until(f, &f->seen.messages, before + 1, "messages");
    return f->seen.result[0];
}

static void rooms_reach_their_members_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b, *c;

    start_serving(f, (struct ws_options){0}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    a = upgraded(f, "/rooms");
    b = upgraded(f, "/rooms");
    c = upgraded(f, "/echo"); /* another endpoint, the same server */
    assert_int_equal(order(f, a, "sred"), 0);
    assert_int_equal(order(f, a, "jred"), 0);
    assert_int_equal(order(f, b, "jred"), 0);
    assert_int_equal(order(f, b, "jblue"), 0);
    assert_int_equal(order(f, a, "sred"), 2);
    assert_int_equal(order(f, a, "ored"), 1);
    assert_int_equal(order(f, a, "sblue"), 1);
    order(f, b, "lred");
    assert_int_equal(order(f, a, "sred"), 1);
    assert_int_equal(order(f, a, "*"), 2);
    raw_expect_message(a, "sred");
    raw_expect_message(a, "sred");
    raw_expect_message(b, "sred");
    raw_expect_message(b, "ored");
    raw_expect_message(b, "sblue");
    raw_expect_message(b, "*");
    raw_expect_message(c, "*");
    raw_reset(b);
    wait_connections(f, 2);
    assert_int_equal(order(f, a, "sblue"), 0);
    if (raw_readable_within(a, 20) || raw_readable_within(c, 20))
        fail_msg("somebody got a message too many");
}

/* --- relays ----------------------------------------------------------------------------------- */

static void relay_publish(void *arg, const struct ws_str *room, enum ws_opcode opcode,
                          const void *data, size_t len)
{
    char text[64];

    snprintf(text, sizeof text, "%s%.*s=%.*s ", opcode == WS_OP_TEXT ? "" : "binary ",
             room == NULL ? 1 : (int)room->len, room == NULL ? "*" : room->data, (int)len,
             (const char *)data);
    note_text(arg, text, strlen(text));
}

static bool relay_room_begins(void *arg, struct ws_str room)
{
    if (room.len == 9)
        return false;
    note_text(arg, "+", 1);
    note_text(arg, room.data, room.len);
    note_text(arg, " ", 1);
    return true;
}

static void relay_room_ends(void *arg, struct ws_str room)
{
    note_text(arg, "-", 1);
    note_text(arg, room.data, room.len);
    note_text(arg, " ", 1);
}

static void set_relay(struct fixture *f, void *arg)
{
    struct ws_relay relay = {relay_publish, relay_room_begins, relay_room_ends, f};

    note_result(f, 1, ws_set_relay(f->server, arg == NULL ? NULL : &relay));
}

static void publish_locally(struct fixture *f, void *arg)
{
    (void)arg;
    note_result(f, 1,
                (int)ws_publish_local(f->server, ws_str("red"), NULL, WS_OP_TEXT, "1", 1) +
                    (int)ws_broadcast_local(f->server, NULL, WS_OP_TEXT, "2", 1));
    note_result(f, 2, (int)ws_publish(f->server, ws_str("red"), NULL, WS_OP_PING, "3", 1));
    note_result(f, 3, (int)ws_broadcast(f->server, NULL, WS_OP_PING, "4", 1));
}

/* All but what fails, and what was for the members here alone. */
static void a_relay_is_told_of_messages_and_rooms(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a, *b;

    start_serving(f, (struct ws_options){0}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    a = upgraded(f, "/rooms");
    b = upgraded(f, "/rooms");
    order(f, a, "jold");
    on_loop(f, set_relay, f);
    assert_int_equal(order(f, a, "jred"), 0);
    assert_int_equal(order(f, b, "jred"), 0);
    assert_int_equal(order(f, a, "sred"), 2);
    assert_int_equal(order(f, a, "ored"), 1);
    assert_int_equal(order(f, a, "snone"), 0);
    assert_int_equal(order(f, a, "*"), 1);
    on_loop(f, publish_locally, NULL);
    assert_int_equal(f->seen.result[1], 2 + 2);
    assert_int_equal(f->seen.result[2], WS_ERR_INVALID);
    assert_int_equal(f->seen.result[3], WS_ERR_INVALID);
    assert_int_equal(order(f, a, "jforbidden"), WS_ERR_NOMEM);
    order(f, a, "lred");
    raw_reset(b);
    wait_connections(f, 1);
    on_loop(f, set_relay, NULL);
    order(f, a, "jblue");
    order(f, a, "lold");
    order(f, a, "sred");
    assert_string_equal(f->seen.text, "+old +red red=sred red=ored none=snone *=* -red -old ");
}

/* One that refuses a room that is there already is not taken. */
static void a_relay_that_refuses_a_room_is_not_set(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a;

    start_serving(f, (struct ws_options){0}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    a = upgraded(f, "/rooms");
    order(f, a, "jforbidden");
    on_loop(f, set_relay, f);
    assert_int_equal(f->seen.result[1], WS_ERR_NOMEM);
    order(f, a, "sforbidden");
    assert_string_equal(f->seen.text, "");
}

/* A client that has an application join without end meets max_memory. */
static void rooms_without_end_are_refused(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    char name[201];
    int i = 0;

    start_serving(f, (struct ws_options){.max_memory = 512 * KIB}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    c = upgraded(f, "/rooms");
    do
        snprintf(name, sizeof name, "j%0199d", i++);
    while (order(f, c, name) == 0 && i < 10000);
    assert_int_equal(f->seen.result[0], WS_ERR_FULL);
    assert_in_range(stats(f).buffered, 1, 512 * KIB);
    snprintf(name, sizeof name, "l%0199d", 0);
    for (int k = 0; k < 100; k++) { /* what is left can be joined again */
        snprintf(name, sizeof name, "l%0199d", k);
        order(f, c, name);
    }
    assert_int_equal(order(f, c, "jagain"), 0);
    raw_reset(c);
    wait_connections(f, 0);
    assert_in_range(stats(f).buffered, 0, 64 * KIB); /* the table of buckets */
    expect_well(f);
}

struct publication {
    const char *room;
    const void *data;
    size_t len;
};

static void publish(struct fixture *f, void *arg)
{
    struct publication *p = arg;

    note_result(f, 0,
                (int)ws_publish(f->server, ws_str(p->room), NULL, WS_OP_BINARY, p->data, p->len));
}

static void close_first(struct fixture *f, void *arg)
{
    (void)arg;
    note_result(f, 0, ws_close(ws_conn_find(f->server, 1), 4000, ""));
}

/* RFC 6455 §5.5.1: no data behind our Close, whoever sends it. */
static void closing_member_gets_no_more_of_its_room(void **state)
{
    struct fixture *f = *state;
    struct raw_client *closing, *other;

    start_serving(f, (struct ws_options){0}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    closing = upgraded(f, "/rooms");
    other = upgraded(f, "/rooms");
    order(f, closing, "jroom");
    order(f, other, "jroom");
    on_loop(f, close_first, NULL);
    on_loop(f, publish, &(struct publication){"room", "late", 4});
    assert_int_equal(f->seen.result[0], 1);
    raw_expect_frame(other, RAW_BINARY, "late", 4);
    raw_expect_close(closing, 4000);
    raw_send_close(closing, 4000);
    raw_expect_eof(closing);
}

static void send_to_first(struct fixture *f, void *arg)
{
    note_result(f, 0, ws_send(ws_conn_find(f->server, 1), WS_OP_BINARY, arg, strlen(arg)));
}

/* Frames of several rooms lie in one chunk. The slow member of one of them must not get, with a
 * message of its own, what lies behind its last frame. */
static void slow_member_sees_nothing_of_another_room(void **state)
{
    enum { BIG = 8 * MIB, CHUNK_AND_MORE = 17000 };
    struct fixture *f = *state;
    struct raw_client *slow, *other;
    uint8_t *big = make_payload(BIG, false);

    start_serving(f, (struct ws_options){0}, "/rooms",
                  (struct ws_handlers){.on_message = room_orders});
    slow = slow_upgraded(f, "/rooms");
    other = upgraded(f, "/rooms");
    order(f, slow, "jslow");
    order(f, other, "jother");
    on_loop(f, publish, &(struct publication){"slow", big, BIG});
    on_loop(f, publish, &(struct publication){"slow", "mine", 4});
    on_loop(f, publish, &(struct publication){"other", "secret", 6});
    on_loop(f, publish, &(struct publication){"other", big, CHUNK_AND_MORE});
    raw_expect_frame(other, RAW_BINARY, "secret", 6);
    raw_expect_frame(other, RAW_BINARY, big, CHUNK_AND_MORE);
    on_loop(f, send_to_first, "end");
    raw_expect_frame(slow, RAW_BINARY, big, BIG);
    raw_expect_frame(slow, RAW_BINARY, "mine", 4);
    raw_expect_frame(slow, RAW_BINARY, "end", 3);
    free(big);
}

/* Prepares what came, sends it twice to everybody who is open, and releases it before it has
 * left. */
static void prepare_and_send(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
{
    struct ws_server *s = ws_conn_server(c);
    struct ws_prepared *m = ws_prepare(s, op, data, len);
    struct ws_conn *to;

    for (uint64_t id = 1; m != NULL && id <= ws_conn_id(of(c)->conn); id++) {
        if ((to = ws_conn_find(s, id)) == NULL)
            continue;
        ws_send_prepared(to, m);
        note_result(of(c), 0, ws_send_prepared(to, m));
    }
    ws_release_prepared(m);
    ws_close(c, WS_CLOSE_NORMAL, "");
    m = ws_prepare(s, op, data, len);
    note_result(of(c), 1, ws_send_prepared(c, m));
    ws_release_prepared(m);
    note_result(of(c), 2, ws_prepare(s, WS_OP_PING, data, len) == NULL);
    count(of(c), &of(c)->seen.messages);
}

static void prepared_message_reaches_each_it_is_sent_to(void **state)
{
    static const size_t sizes[] = {0, 5, 20000};
    struct fixture *f = *state;

    start_serving(f, (struct ws_options){0}, "/prepared",
                  (struct ws_handlers){.on_message = prepare_and_send});
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct raw_client *a = upgraded(f, "/prepared");
        struct raw_client *b = upgraded(f, "/prepared");
        uint8_t *data = calloc(1, sizes[i] + 1);

        assert_non_null(data);
        raw_send_frame(a, RAW_BINARY, data, sizes[i]);
        for (int k = 0; k < 2; k++) {
            raw_expect_frame(a, RAW_BINARY, data, sizes[i]);
            raw_expect_frame(b, RAW_BINARY, data, sizes[i]);
        }
        raw_expect_close(a, 1000);
        free(data);
    }
    wait_until(f, &f->seen.messages, COUNT(sizes), "messages");
    assert_int_equal(f->seen.result[0], WS_SENT);
    assert_int_equal(f->seen.result[1], WS_ERR_CLOSED);
    assert_int_equal(f->seen.result[2], true);
}

/* --- the trace -------------------------------------------------------------------------------- */

struct traced {
    struct raw_bytes wire[2]; /* sent, received: header and payload of each frame */
    char text[256];           /* a word for each frame */
    char fault[64];
};

static void note_frame(void *arg, const struct ws_trace *t)
{
    struct traced *traced = arg;
    size_t used = strlen(traced->text);

    raw_bytes_add(&traced->wire[t->received], t->header, t->header_len);
    raw_bytes_add(&traced->wire[t->received], t->payload, t->payload_len);
    snprintf(traced->text + used, sizeof traced->text - used, "%s#%u %s%s%s%u/%llu ",
             t->received ? "<" : ">", (unsigned)ws_conn_id(t->conn),
             ws_opcode_name((enum ws_opcode)t->opcode), t->fin ? "" : "...", t->masked ? "*" : "",
             t->rsv, (unsigned long long)t->len);
    if (t->fault != NULL)
        snprintf(traced->fault, sizeof traced->fault, "%s", t->fault);
}

static void join_and_greet(struct ws_conn *c, const struct ws_request *req)
{
    join_room(c, req);
    ws_publish(ws_conn_server(c), ws_str("room"), NULL, WS_OP_TEXT, "room", 4);
}

static void expect_wire(const struct raw_bytes *wire, const void *wanted, size_t len)
{
    assert_int_equal(wire->len, len);
    assert_memory_equal(wire->data, wanted, len);
}

/* Each frame is one event, whose bytes are those of the wire, whether it goes to one client or to a
 * room, and also where it is illegal. */
static void trace_gets_each_frame_with_its_bytes(void **state)
{
    static const uint8_t in[] = "\x01\x82\1\2\3\4\x69\x6b" /* "hi", not the last fragment */
                                "\x89\x81\1\2\3\4\x3e"     /* a Ping, "?" */
                                "\x80\x81\1\2\3\4\x20"     /* "!", the last fragment */
                                "\xc1\x80\1\2\3\4";        /* RSV1 */
    static const uint8_t out[] = "\x81\x04room"
                                 "\x8a\x01?"
                                 "\x81\x03hi!"
                                 "\x88\x2c\x03\xea"; /* and the fault, of 42 bytes */
    struct fixture *f = *state;
    struct traced traced = {0};
    struct raw_client *c;

    create(f, (struct ws_options){.trace = note_frame, .trace_arg = &traced});
    serve(f, "/room", (struct ws_handlers){.on_open = join_and_greet, .on_message = echo});
    run(f);
    c = upgraded(f, "/room");
    raw_expect_message(c, "room");
    raw_send(c, in, sizeof in - 1);
    raw_expect_frame(c, RAW_PONG, "?", 1);
    raw_expect_message(c, "hi!");
    raw_expect_closed(c, 1002);
    expect_on_close(f, 1, 1002);
    stop_and_join(f);
    assert_string_equal(traced.text, ">#1 TEXT0/4 <#1 TEXT...*0/2 <#1 PING*0/1 >#1 PONG0/1 "
                                     "<#1 CONTINUATION*0/1 >#1 TEXT0/3 <#1 TEXT*4/0 "
                                     ">#1 CLOSE0/44 ");
    f->out.len = 0;
    raw_bytes_add(&f->out, out, sizeof out - 1);
    raw_bytes_text(&f->out, traced.fault);
    expect_wire(&traced.wire[0], f->out.data, f->out.len);
    expect_wire(&traced.wire[1], in, sizeof in - 1);
    raw_bytes_release(&traced.wire[0]);
    raw_bytes_release(&traced.wire[1]);
}

static void opcodes_have_names(void **state)
{
    static const char *const names[16] = {
        "CONTINUATION", "TEXT", "BINARY", [8] = "CLOSE", "PING", "PONG"};

    (void)state;
    for (unsigned opcode = 0; opcode < 16; opcode++)
        assert_string_equal(ws_opcode_name((enum ws_opcode)opcode),
                            names[opcode] != NULL ? names[opcode] : "?");
}

#include "tests/test_conn_ws.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
