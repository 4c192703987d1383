/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "buf.h"
#include "oom.h"
#include "output.h"

enum { QUEUES = 5, SPANS = 4096 };

/* Queues of one pool, each with all the bytes that were queued and how many of them were sent. */
struct fixture {
    struct budget budget;
    struct output_pool pool;
    struct output queues[QUEUES];
    struct buf expected[QUEUES];
    size_t sent[QUEUES];
    struct budget model; /* of `expected` */
    uint64_t random;
    uint8_t next; /* every byte queued differs from its neighbours */
};

static void setup(struct fixture *f, size_t max)
{
    *f = (struct fixture){.budget.max = max, .model.max = SIZE_MAX, .random = 88172645463325252};
    output_pool_init(&f->pool, &f->budget.all);
    for (int i = 0; i < QUEUES; i++)
        output_init(&f->queues[i], &f->budget.all);
}

static size_t unsent(const struct fixture *f, int queue)
{
    return f->expected[queue].len - f->sent[queue];
}

/* What a queue would send is what was put into it, in order. */
static void check_queue(const struct fixture *f, int queue)
{
    const struct output *o = &f->queues[queue];
    struct output_span *spans = calloc(SPANS, sizeof *spans);
    size_t count = output_peek(o, spans, SPANS);
    size_t at = f->sent[queue];

    assert_int_equal(o->queued, unsent(f, queue));
    assert_int_equal(count, o->count);
    for (size_t i = 0; i < count; i++) {
        assert_true(spans[i].len > 0);
        assert_true(spans[i].len <= f->expected[queue].len - at);
        assert_memory_equal(spans[i].data, f->expected[queue].data + at, spans[i].len);
        at += spans[i].len;
    }
    assert_int_equal(at, f->expected[queue].len);
    free(spans);
}

static void check(const struct fixture *f)
{
    for (int i = 0; i < QUEUES; i++)
        check_queue(f, i);
    assert_true(f->budget.all.used <= f->budget.max);
}

static void teardown(struct fixture *f)
{
    for (int i = 0; i < QUEUES; i++) {
        output_release(&f->pool, &f->queues[i]);
        buf_release(&f->expected[i], &f->model.all);
    }
    assert_int_equal(f->budget.all.used, 0);
    assert_null(f->pool.shared);
    budget_release(&f->budget);
    budget_release(&f->model);
}

/* Fill `data` with bytes that have not been seen lately. */
static void fresh(struct fixture *f, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = f->next++;
}

static void expect_more(struct fixture *f, int queue, const uint8_t *data, size_t len)
{
    assert_int_equal(buf_append(&f->expected[queue], &f->model.all, ACCOUNT_ORDINARY, data, len),
                     0);
}

/* Append `len` new bytes, `head_len` of them as the head. */
static int append(struct fixture *f, int queue, size_t len, size_t head_len)
{
    uint8_t *data = malloc(len + 1);
    int error;

    fresh(f, data, len);
    error = output_append(&f->queues[queue], ACCOUNT_ESSENTIAL, data, head_len, data + head_len,
                          len - head_len);
    if (error == 0)
        expect_more(f, queue, data, len);
    free(data);
    return error;
}

static int append_last(struct fixture *f, int queue, size_t len)
{
    uint8_t data[127];
    int error;

    fresh(f, data, len);
    error = output_append_last(&f->queues[queue], data, len);
    if (error == 0)
        expect_more(f, queue, data, len);
    return error;
}

/* Publish `len` new bytes to the queues whose bits are set. */
static int publish(struct fixture *f, unsigned queues, size_t len)
{
    uint8_t *data = malloc(len + 1);
    struct output_slice slice;
    int error;

    fresh(f, data, len);
    error = output_slice_new(&f->pool, &slice, data, len / 2, data + len / 2, len - len / 2);
    for (int i = 0; i < QUEUES && error == 0; i++) {
        int refused;

        if ((queues >> i & 1) == 0)
            continue;
        refused = output_refer(&f->queues[i], &slice);
        assert_true(refused == 0 || refused == ACCOUNT_FULL || refused == ACCOUNT_NOMEM);
        if (refused == 0)
            expect_more(f, i, data, len);
    }
    if (error == 0)
        output_slice_release(&f->pool, &slice);
    free(data);
    return error;
}

static void send_some(struct fixture *f, int queue, size_t n)
{
    output_sent(&f->pool, &f->queues[queue], n);
    f->sent[queue] += n;
}

/* --- one queue -------------------------------------------------------------------------------- */

static void an_empty_queue_holds_nothing(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 0);
    send_some(&f, 0, 0);
    output_compact(&f.pool, &f.queues[0]);
    assert_int_equal(append(&f, 0, 0, 0), 0);
    check(&f);
    teardown(&f);
}

static void frames_for_one_peer_gather_in_one_span(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(append(&f, 0, 2 + i, 2), 0);
    check(&f);
    assert_int_equal(f.queues[0].count, 1);
    assert_int_equal(f.budget.all.used, OUTPUT_CHUNK_SIZE);
    teardown(&f);
}

static void any_number_of_bytes_may_be_sent_at_once(void **state)
{
    static const size_t steps[] = {1, 2, 7, 100, 16383, 16384, 16385, 40000};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct fixture f;

        setup(&f, 1 << 20);
        for (size_t len = 1; len < 40000; len = len * 3 + 1)
            assert_int_equal(append(&f, 0, len, 1), 0);
        check(&f);
        while (unsent(&f, 0) > 0) {
            send_some(&f, 0, unsent(&f, 0) < steps[i] ? unsent(&f, 0) : steps[i]);
            if (steps[i] > 50)
                check_queue(&f, 0);
        }
        check(&f);
        assert_int_equal(f.budget.all.used, 0);
        teardown(&f);
    }
}

static void peeking_gives_the_first_spans_only(void **state)
{
    struct fixture f;
    struct output_span spans[2];

    (void)state;
    setup(&f, 1 << 20);
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(&f, 0, OUTPUT_CHUNK_SIZE, 0), 0);
    assert_int_equal(output_peek(&f.queues[0], spans, 2), 2);
    assert_int_equal(spans[0].len, OUTPUT_CHUNK_SIZE);
    assert_memory_equal(spans[1].data, f.expected[0].data + OUTPUT_CHUNK_SIZE, OUTPUT_CHUNK_SIZE);
    assert_int_equal(output_peek(&f.queues[0], spans, 0), 0);
    teardown(&f);
}

/* The peer has stopped reading: what is left in a chunk must not hold all of it. */
static void compacting_gives_a_nearly_empty_chunk_back(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_int_equal(append(&f, 0, 1000, 2), 0);
    send_some(&f, 0, 300);
    output_compact(&f.pool, &f.queues[0]);
    check(&f);
    assert_int_equal(f.budget.all.used, block_size(sizeof(struct output_chunk) + 700));
    assert_int_equal(append(&f, 0, 10, 2), 0);
    check(&f);
    send_some(&f, 0, 710);
    assert_int_equal(f.budget.all.used, 0);
    teardown(&f);
}

static void lengths_that_would_wrap_are_refused(void **state)
{
    static const struct {
        size_t head, body;
    } cases[] = {{SIZE_MAX, 1},
                 {1, SIZE_MAX},
                 {SIZE_MAX, SIZE_MAX},
                 {2, SIZE_MAX - 1},
                 {SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1},
                 {0, SIZE_MAX}};
    struct fixture f;
    struct output_slice slice;

    (void)state;
    setup(&f, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t head = cases[i].head, body = cases[i].body;

        assert_int_equal(output_append(&f.queues[0], ACCOUNT_ESSENTIAL, "", head, "", body),
                         ACCOUNT_FULL);
        assert_int_equal(output_slice_new(&f.pool, &slice, "", head, "", body), ACCOUNT_FULL);
        check(&f);
        assert_int_equal(f.budget.all.used, 0);
    }
    teardown(&f);
}

/* --- shared frames ---------------------------------------------------------------------------- */

static void a_frame_for_many_is_held_once(void **state)
{
    struct fixture f;
    struct output_span a, b;

    (void)state;
    setup(&f, 2 * OUTPUT_CHUNK_SIZE);
    assert_int_equal(publish(&f, 0x1f, 5000), 0);
    assert_int_equal(publish(&f, 0x1f, 5000), 0);
    check(&f);
    assert_int_equal(f.budget.all.used, OUTPUT_CHUNK_SIZE);
    assert_int_equal(output_peek(&f.queues[0], &a, 1), 1);
    assert_int_equal(output_peek(&f.queues[4], &b, 1), 1);
    assert_ptr_equal(a.data, b.data);
    teardown(&f);
}

/* One system call for a recipient, however many messages were published in a turn. */
static void frames_published_in_a_row_are_one_span(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    for (int i = 0; i < 100; i++)
        assert_int_equal(publish(&f, 3, 50), 0);
    check(&f);
    assert_int_equal(f.queues[0].count, 1);
    teardown(&f);
}

static void a_shared_frame_outlives_those_that_sent_it(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_int_equal(publish(&f, 7, 1000), 0);
    send_some(&f, 0, 1000);
    output_release(&f.pool, &f.queues[1]);
    buf_consume(&f.expected[1], 1000);
    check(&f);
    assert_int_equal(f.budget.all.used, OUTPUT_CHUNK_SIZE);
    send_some(&f, 2, 1000);
    assert_int_equal(f.budget.all.used, 0);
    teardown(&f);
}

static void a_frame_that_nobody_takes_costs_nothing(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_int_equal(publish(&f, 0, 1000), 0);
    assert_int_equal(f.budget.all.used, 0);
    assert_int_equal(publish(&f, 0, 100000), 0);
    assert_int_equal(f.budget.all.used, 0);
    teardown(&f);
}

/* Queue 0 is the last to use a chunk that others have had frames in, behind its own: what is
 * appended for it must not bring those frames along. */
static void frames_of_others_never_slip_in(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_int_equal(publish(&f, 1, 100), 0);
    assert_int_equal(publish(&f, 2, 100), 0);
    assert_int_equal(publish(&f, 4, OUTPUT_CHUNK_SIZE - 1), 0); /* now the pool uses another */
    send_some(&f, 1, 100);
    assert_int_equal(append(&f, 0, 10, 2), 0);
    check(&f);
    teardown(&f);
}

static void own_and_shared_frames_keep_their_order(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 24);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(publish(&f, 1 | 2u << i % 3, 20), 0);
        assert_int_equal(append(&f, 0, 5, 2), 0);
        check(&f);
    }
    send_some(&f, 0, unsent(&f, 0) / 2);
    check(&f);
    teardown(&f);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void what_passes_the_budget_is_refused_and_changes_nothing(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 16 * OUTPUT_CHUNK_SIZE);
    assert_int_equal(append(&f, 0, OUTPUT_CHUNK_SIZE, 2), 0);
    assert_int_equal(publish(&f, 6, 10), 0);
    f.budget.max = f.budget.all.used;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(&f, 0, 1, 0), ACCOUNT_FULL);
        assert_int_equal(append(&f, 1, 1, 0), ACCOUNT_FULL);
        assert_int_equal(publish(&f, 7, OUTPUT_CHUNK_SIZE), ACCOUNT_FULL);
        check(&f);
    }
    send_some(&f, 0, OUTPUT_CHUNK_SIZE);
    assert_int_equal(append(&f, 1, 1, 0), 0);
    check(&f);
    teardown(&f);
}

/* Where there is no room for a common chunk, there may be some for what is to be sent now. */
static void a_small_frame_needs_no_common_chunk(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1000);
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(&f, i % 2, 50, 2), 0);
    assert_int_equal(publish(&f, 4, 50), 0);
    assert_int_equal(append(&f, 0, 1000, 2), ACCOUNT_FULL);
    check(&f);
    teardown(&f);
}

/* The same where a queue has no place for one more slice. */
static void the_slices_themselves_are_counted(void **state)
{
    struct fixture f;
    int refused = 0;

    (void)state;
    setup(&f, OUTPUT_CHUNK_SIZE + 8 * sizeof(struct output_slice));
    for (int i = 0; i < 100; i++) {
        size_t before = unsent(&f, 0);

        assert_int_equal(publish(&f, 1, 10), 0);
        refused += unsent(&f, 0) == before;
        assert_int_equal(publish(&f, 2, 10), 0);
        check(&f);
    }
    assert_true(refused > 90);
    teardown(&f);
}

/* A closing frame goes out even then, whatever the queue looks like. */
static void the_last_frame_needs_no_budget(void **state)
{
    (void)state;
    for (int slices = 0; slices < 40; slices++) {
        struct fixture f;

        setup(&f, 1 << 20);
        for (int i = 0; i < slices; i++) {
            assert_int_equal(publish(&f, 1, 10), 0);
            assert_int_equal(publish(&f, 2, 10), 0);
        }
        f.budget.max = f.budget.all.used;
        assert_int_equal(append_last(&f, 0, 127), 0);
        check(&f);
        assert_int_equal(append_last(&f, 2, 4), 0);
        assert_int_equal(f.budget.all.used, f.budget.max);
        check(&f);
        f.budget.max = 1 << 20;
        teardown(&f);
    }
}

/* A last frame is at the end of the array, and what was in front of it has been sent. */
static void another_last_frame_finds_a_place_that_is_free_again(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    for (int i = 1; i < OUTPUT_INLINE; i++) {
        assert_int_equal(publish(&f, 1, 10), 0);
        assert_int_equal(publish(&f, 2, 10), 0);
    }
    assert_int_equal(append_last(&f, 0, 127), 0);
    send_some(&f, 0, 10);
    assert_int_equal(append_last(&f, 0, 127), 0);
    check(&f);
    teardown(&f);
}

/* Queue 0 does not read. What it gets is small, and what others get and send between fills chunks:
 * it must not keep all of those alive. */
static void a_slow_peer_holds_memory_in_proportion_to_its_queue(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 24);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(publish(&f, 1, 10), 0);
        assert_int_equal(publish(&f, 2, OUTPUT_CHUNK_SIZE - 10), 0);
        send_some(&f, 1, OUTPUT_CHUNK_SIZE - 10);
    }
    check(&f);
    assert_int_equal(unsent(&f, 0), 5000);
    assert_true(f.budget.all.used < 12 * OUTPUT_CHUNK_SIZE);
    teardown(&f);
}

/* The same with replies of its own between the frames of a room. */
static void replies_between_shared_frames_do_not_cost_a_chunk_each(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 24);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(publish(&f, 1, 10), 0);
        assert_int_equal(append(&f, 0, 10, 2), 0);
    }
    check(&f);
    assert_true(f.budget.all.used < 12 * OUTPUT_CHUNK_SIZE);
    teardown(&f);
}

/* Allocations fail at once, after the first, or not at all. */
static void out_of_memory_changes_nothing(void **state)
{
    static const uint8_t frame[20000];
    struct fixture f;
    int refused = 0;

    (void)state;
    setup(&f, 1 << 24);
    for (int i = 0; i < 300; i++) {
        size_t len = i % 5 == 0 ? sizeof frame : 5;
        struct output_slice slice;
        int own, made, referred;

        oom_after(i % 3 - 1);
        own = output_append(&f.queues[0], ACCOUNT_ESSENTIAL, frame, 2, frame + 2, len - 2);
        made = output_slice_new(&f.pool, &slice, frame, 2, frame + 2, len - 2);
        referred = made != 0 ? made : output_refer(&f.queues[0], &slice);
        oom_after(-1);
        if (made == 0)
            output_slice_release(&f.pool, &slice);
        assert_true(own == 0 || own == ACCOUNT_NOMEM);
        assert_true(referred == 0 || referred == ACCOUNT_NOMEM);
        refused += (own != 0) + (referred != 0);
        expect_more(&f, 0, frame, own == 0 ? len : 0);
        expect_more(&f, 0, frame, referred == 0 ? len : 0);
        check(&f);
    }
    assert_true(refused > 0); /* few without AddressSanitizer: the large blocks are mappings then */
    teardown(&f);
}

/* --- anything --------------------------------------------------------------------------------- */

/* xorshift64: the same numbers on every machine. */
static size_t next_random(struct fixture *f, size_t below)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return (size_t)(f->random % below);
}

static void do_anything(struct fixture *f, bool *closed)
{
    int queue = (int)next_random(f, QUEUES);
    size_t len = next_random(f, 100) == 0 ? next_random(f, 60000) : 1 + next_random(f, 300);

    switch (next_random(f, 8)) {
    case 0:
    case 1:
        append(f, queue, len, len < 2 ? 0 : 2);
        break;
    case 2:
    case 3:
        publish(f, (unsigned)next_random(f, 1 << QUEUES), len);
        break;
    case 4:
        output_compact(&f->pool, &f->queues[queue]);
        break;
    case 5:
        if (next_random(f, 50) != 0 || closed[queue])
            break;
        closed[queue] = true;
        assert_int_equal(append_last(f, queue, 4), 0);
        break;
    default:
        send_some(f, queue, next_random(f, unsent(f, queue) + 1));
        break;
    }
}

static void random_use(size_t max)
{
    struct fixture f;
    bool closed[QUEUES] = {false};

    setup(&f, max);
    for (int i = 0; i < 4000; i++) {
        int queue = i % QUEUES;

        do_anything(&f, closed);
        check(&f);
        if (closed[queue] && i % 3 == 0) { /* a new connection takes its place */
            output_release(&f.pool, &f.queues[queue]);
            f.sent[queue] = f.expected[queue].len;
            closed[queue] = false;
        }
    }
    teardown(&f);
}

static void queues_agree_with_a_naive_model(void **state)
{
    (void)state;
    random_use(0);
    random_use(OUTPUT_CHUNK_SIZE);
    random_use(3 * OUTPUT_CHUNK_SIZE);
    random_use(10 * OUTPUT_CHUNK_SIZE);
    random_use(1 << 24);
}

#include "tests/test_output.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
