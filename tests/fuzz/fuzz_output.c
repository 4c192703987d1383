/* SPDX-License-Identifier: MIT
 *
 * output.c: the input is a program of appending, publishing, sending and compacting for three
 * queues under a small budget. Each queue must hold the very bytes that were accepted for it, in
 * order. */
#include <stdlib.h>
#include <string.h>

#include "../../buf.h"
#include "../../output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUEUES = 3, FRAME_MAX = 1 + 255 * 79 };

struct machine {
    struct budget budget;
    struct output_pool pool;
    struct output queues[QUEUES];
    struct buf expected[QUEUES];
    size_t sent[QUEUES];
    struct budget model;
    uint8_t bytes[256 + FRAME_MAX]; /* frames are windows on it */
    uint8_t next;
    bool closed[QUEUES];
};

static void expect(struct machine *m, size_t q, const uint8_t *frame, size_t len)
{
    if (buf_append(&m->expected[q], &m->model.all, ACCOUNT_ORDINARY, frame, len) != 0)
        abort();
}

static void publish(struct machine *m, unsigned queues, const uint8_t *frame, size_t len)
{
    struct output_slice slice;

    if (output_slice_new(&m->pool, &slice, frame, 1, frame + 1, len - 1) != 0)
        return;
    for (size_t q = 0; q < QUEUES; q++)
        if ((queues >> q & 1) != 0 && output_refer(&m->queues[q], &slice) == 0)
            expect(m, q, frame, len);
    output_slice_release(&m->pool, &slice);
}

static void append_last(struct machine *m, size_t q, const uint8_t *frame)
{
    if (m->closed[q])
        return;
    if (output_append_last(&m->queues[q], frame, 4) != 0)
        abort(); /* it needs no budget */
    expect(m, q, frame, 4);
    m->closed[q] = true;
}

static void send_some(struct machine *m, size_t q, size_t n)
{
    if (n > m->queues[q].queued)
        n = m->queues[q].queued;
    output_sent(&m->pool, &m->queues[q], n);
    m->sent[q] += n;
}

static void check(const struct machine *m, size_t q)
{
    struct output_span spans[8];
    size_t at = m->sent[q];
    size_t n = output_peek(&m->queues[q], spans, 8);

    if (m->queues[q].queued != m->expected[q].len - at || m->budget.all.used > m->budget.max)
        abort();
    for (size_t i = 0; i < n; i++) {
        if (memcmp(spans[i].data, m->expected[q].data + at, spans[i].len) != 0)
            abort();
        at += spans[i].len;
    }
    if (n < 8 && at != m->expected[q].len)
        abort();
}

static void step(struct machine *m, uint8_t what, uint8_t size)
{
    size_t q = what / 64 % QUEUES;
    size_t len = 1 + (what % 2 == 0 ? size : size * (size_t)79);
    const uint8_t *frame = m->bytes + m->next++;

    switch (what / 2 % 8) {
    case 0:
    case 1:
        if (output_append(&m->queues[q], ACCOUNT_ESSENTIAL, frame, 0, frame, len) == 0)
            expect(m, q, frame, len);
        break;
    case 2:
        append_last(m, q, frame);
        break;
    case 3:
        output_compact(&m->pool, &m->queues[q]);
        break;
    case 4:
    case 5:
        send_some(m, q, len);
        break;
    default:
        publish(m, what / 32, frame, len);
        break;
    }
    check(m, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m = {.budget.max = 6 * OUTPUT_CHUNK_SIZE, .model.max = SIZE_MAX};

    for (size_t i = 0; i < sizeof m.bytes; i++)
        m.bytes[i] = (uint8_t)(i * 7 + i / 256);
    output_pool_init(&m.pool, &m.budget.all);
    for (size_t q = 0; q < QUEUES; q++)
        output_init(&m.queues[q], &m.budget.all);
    for (size_t i = 0; i + 1 < size && i < 400; i += 2)
        step(&m, data[i], data[i + 1]);
    for (size_t q = 0; q < QUEUES; q++) {
        check(&m, q);
        output_release(&m.pool, &m.queues[q]);
        buf_release(&m.expected[q], &m.model.all);
    }
    if (m.budget.all.used != 0)
        abort();
    budget_release(&m.budget);
    budget_release(&m.model);
    return 0;
}
