/* SPDX-License-Identifier: MIT
 *
 * Buckets of tokens, and meters; see rate.h. */
#include "rate.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000, BEGUN_MASK = 63 };

bool rate_take(struct rate_bucket *b, const struct rate_limit *limit, uint64_t now_ms)
{
    uint64_t now_ns = now_ms * NS_PER_MS;
    uint64_t cost = NS_PER_S / limit->per_second; /* of a token */
    uint64_t most = cost * limit->burst;          /* at most 2^62 */
    uint64_t used = b->full_ns > now_ns ? b->full_ns - now_ns : 0;
    bool some;

    if (used > most)
        used = most; /* the clock went back */
    some = cost <= most - used;
    b->full_ns = now_ns + used + (some ? cost : 0);
    return some;
}

bool rate_is_full(const struct rate_bucket *b, uint64_t now_ms)
{
    return b->full_ns <= now_ms * NS_PER_MS;
}

struct rate_span rate_span_of(unsigned per_second)
{
    uint64_t events = (uint64_t)per_second * RATE_SECONDS;

    if (per_second == 0 || per_second > RATE_PER_SECOND_MAX)
        return (struct rate_span){0, 1};
    if (events > UINT16_MAX)
        events = UINT16_MAX;
    return (struct rate_span){(uint16_t)events,
                              (uint16_t)(events * 1000 / per_second / RATE_SPAN_UNITS)};
}

/* Units since the span began. A timer ends it long before 64 of them have passed. */
static unsigned units_since(const struct rate_meter *m, const struct rate_span *span,
                            uint64_t now_ms)
{
    return (unsigned)(now_ms / span->unit_ms - m->begun) & BEGUN_MASK;
}

static void span_begin(struct rate_meter *m, const struct rate_span *span, uint64_t now_ms,
                       enum rate_stage stage)
{
    m->begun = (uint8_t)(now_ms / span->unit_ms & BEGUN_MASK);
    m->stage = (uint8_t)((unsigned)stage & 3);
}

enum rate_verdict rate_meter_spent(struct rate_meter *m, const struct rate_span *span,
                                   uint64_t now_ms)
{
    if (m->stage == RATE_UNMEASURED || units_since(m, span, now_ms) >= RATE_SPAN_UNITS) {
        span_begin(m, span, now_ms, RATE_MEASURED);
        return RATE_FINE;
    }
    if (m->stage == RATE_WARNED)
        return RATE_OVER;
    span_begin(m, span, now_ms, RATE_WARNED);
    return RATE_WARN;
}

bool rate_meter_passed(struct rate_meter *m, const struct rate_span *span, uint64_t now_ms,
                       unsigned *left_ms)
{
    unsigned units = units_since(m, span, now_ms);

    *left_ms = 0;
    if (m->stage == RATE_UNMEASURED)
        return false;
    if (units < RATE_SPAN_UNITS) {
        *left_ms = (RATE_SPAN_UNITS - units) * span->unit_ms;
        return false;
    }
    *m = (struct rate_meter){0};
    return true;
}
