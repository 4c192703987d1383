/* SPDX-License-Identifier: MIT */
#include "../../tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "../../tests/oom.h"
#include "../eio_queue.h"
#include "counted.h"

enum { LONG = 1000, SHORT = 10 };

/* A queue, and the payload that it should be. */
struct fixture {
    struct counted counted;
    struct eio_queue queue;
    char expected[64 * 1024];
    size_t len;
};

static void setup(struct fixture *f)
{
    *f = (struct fixture){.len = 0};
    counted_begin(&f->counted, 0);
}

static void teardown(struct fixture *f)
{
    eio_queue_release(&f->queue, f->counted.account);
    assert_int_equal(f->queue.len, 0);
    counted_end(&f->counted);
}

/* A packet of `size` letters, different each time. */
static void next_packet(struct fixture *f, char *out, size_t size)
{
    memset(out, 'a' + (char)(f->len % 26), size);
}

static void expect_more(struct fixture *f, const char *packet, size_t size)
{
    if (f->len > 0)
        f->expected[f->len++] = '\x1e';
    memcpy(f->expected + f->len, packet, size);
    f->len += size;
}

static bool add(struct fixture *f, size_t size)
{
    char packet[LONG];
    char *place = eio_queue_add(&f->queue, f->counted.account, size);

    if (place == NULL)
        return false;
    next_packet(f, packet, size);
    memcpy(place, packet, size);
    expect_more(f, packet, size);
    return true;
}

static bool refer(struct fixture *f, struct eio_text *text)
{
    if (!eio_queue_refer(&f->queue, f->counted.account, text))
        return false;
    expect_more(f, text->data, text->len);
    return true;
}

static struct eio_text *make_text(struct fixture *f, size_t size)
{
    struct eio_text *text = eio_text_new(f->counted.account, size);

    assert_non_null(text);
    next_packet(f, text->data, size);
    return text;
}

static void check(const struct fixture *f)
{
    struct eio_cursor cursor = {0};
    struct ws_str piece;
    size_t at = 0, pieces = 0;

    assert_int_equal(f->queue.len, f->len);
    while (eio_queue_next(&f->queue, &cursor, &piece)) {
        assert_true(piece.len > 0);
        assert_true(piece.len <= f->len - at);
        assert_memory_equal(piece.data, f->expected + at, piece.len);
        at += piece.len;
        pieces++;
    }
    assert_int_equal(at, f->len);
    assert_true(pieces <= 2 * f->queue.share_count + 1);
}

static void an_empty_queue_has_no_piece(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f);
    check(&f);
    teardown(&f);
}

static void packets_lie_in_their_order_whatever_is_shared(void **state)
{
    static struct fixture f;
    struct eio_text *text, *small;

    (void)state;
    /* Each bit says whether a packet is shared. */
    for (unsigned kinds = 0; kinds < 64; kinds++) {
        setup(&f);
        text = make_text(&f, LONG);
        small = make_text(&f, SHORT);
        for (unsigned i = 0; i < 6; i++) {
            assert_true((kinds >> i & 1) != 0 ? refer(&f, i == 4 ? small : text) : add(&f, SHORT));
            check(&f);
        }
        eio_text_release(text);
        eio_text_release(small);
        check(&f);
        teardown(&f);
    }
}

static void a_shared_packet_is_held_once(void **state)
{
    enum { QUEUES = 100 };
    static struct fixture f;
    struct eio_queue queues[QUEUES] = {{0}};
    struct eio_text *text;
    size_t one;

    (void)state;
    setup(&f);
    text = make_text(&f, LONG);
    one = counted_used(&f.counted);
    for (size_t i = 0; i < QUEUES; i++)
        assert_true(eio_queue_refer(&queues[i], f.counted.account, text));
    eio_text_release(text);
    assert_true(counted_used(&f.counted) < one + (size_t)QUEUES * LONG / 2);
    for (size_t i = 0; i < QUEUES; i++)
        eio_queue_release(&queues[i], f.counted.account);
    teardown(&f);
}

/* A list of references would be longer than what they refer to. */
static void a_short_packet_is_copied(void **state)
{
    static struct fixture f;
    struct eio_text *text;

    (void)state;
    setup(&f);
    text = make_text(&f, SHORT);
    for (int i = 0; i < 1000; i++)
        assert_true(refer(&f, text));
    assert_int_equal(text->references, 1);
    check(&f);
    eio_text_release(text);
    assert_true(counted_used(&f.counted) <= 2 * f.len + 4096);
    teardown(&f);
}

static void a_queue_grows_by_what_is_needed_when_there_is_no_more(void **state)
{
    enum { MAX = 64 * 1024, PIECE = 920 };
    static struct fixture f;
    void *pieces[MAX / PIECE];
    size_t count = 0, left, last;

    (void)state;
    f = (struct fixture){.len = 0};
    counted_begin(&f.counted, MAX);
    assert_true(add(&f, 200)); /* 256 bytes are allocated */
    left = MAX - ws_server_stats(f.counted.ws).buffered;
    for (; left > 1100; left = MAX - ws_server_stats(f.counted.ws).buffered)
        pieces[count++] = ws_account_take(f.counted.account, PIECE);
    last = (left - 100) / 16 * 16 - 8;
    pieces[count] = ws_account_take(f.counted.account, last);
    assert_true(add(&f, 99));  /* by doubling it would be 256 bytes more */
    assert_false(add(&f, 99)); /* and this is too much */
    check(&f);
    ws_account_give(f.counted.account, pieces[count], last);
    while (count > 0)
        ws_account_give(f.counted.account, pieces[--count], PIECE);
    teardown(&f);
}

static void out_of_memory_changes_nothing(void **state)
{
    static struct fixture f;
    struct eio_text *text;

    (void)state;
    setup(&f);
    text = make_text(&f, LONG);
    for (long n = 0; n < 3; n++) {
        oom_after(n);
        for (int i = 0; i < 20; i++) {
            add(&f, 300);
            refer(&f, text);
        }
        assert_null(n == 0 ? eio_text_new(f.counted.account, 10) : NULL);
        oom_after(-1);
        check(&f);
        assert_true(refer(&f, text));
        assert_true(add(&f, SHORT));
        check(&f);
    }
    eio_text_release(text);
    teardown(&f);
}

#include "socketio/tests/test_eio_queue.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
