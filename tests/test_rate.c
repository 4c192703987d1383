/* SPDX-License-Identifier: MIT
 *
 * rate.c: buckets and meters at any time, under any clock. */
#include "unit.h"

#include "../rate.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Times at which something might wrap: 2^32 us, 2^32 ms, 2^32 s, 2^53 ns, and 500 years. */
static const uint64_t starts[] = {0,          1,
                                  4294967,    4294967295,
                                  4294967296, 4294967296000,
                                  9007199254, 500ULL * 366 * 24 * 3600 * 1000};

static unsigned take_all(struct rate_bucket *b, const struct rate_limit *limit, uint64_t now_ms)
{
    unsigned n = 0;

    while (n < 1000 && rate_take(b, limit, now_ms))
        n++;
    return n;
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
    static const struct rate_limit limit = {.per_second = 10, .burst = 50};

    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct rate_bucket b = {0};
        uint64_t now = starts[i];

        assert_true(rate_is_full(&b, now));
        assert_int_equal(take_all(&b, &limit, now), 50);
        assert_false(rate_is_full(&b, now));
        assert_int_equal(take_all(&b, &limit, now + 99), 0);
        assert_int_equal(take_all(&b, &limit, now + 100), 1);
        assert_int_equal(take_all(&b, &limit, now + 1100), 10);
        assert_false(rate_is_full(&b, now + 6099));
        assert_true(rate_is_full(&b, now + 6100));
        assert_int_equal(take_all(&b, &limit, now + 7000), 50);
    }
}

/* However the calls are spread, no more than burst + rate * time pass. */
static void no_pattern_gets_more_than_the_rate(void **state)
{
    static const struct rate_limit limit = {.per_second = 7, .burst = 3};
    static const unsigned steps[] = {1, 3, 142, 143, 500, 1000, 3000};

    (void)state;
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct rate_bucket b = {0};
        unsigned taken = 0;

        for (uint64_t now = 0; now <= 60000; now += steps[i])
            taken += take_all(&b, &limit, now);
        assert_true(taken <= 3 + 60 * 7);
        if (steps[i] <= 143)
            assert_true(taken >= 60 * 7 - 3);
    }
}

static void an_idle_century_leaves_a_full_bucket(void **state)
{
    static const struct rate_limit limit = {.per_second = 1, .burst = 5};
    const uint64_t century = 100ULL * 365 * 24 * 3600 * 1000;
    struct rate_bucket b = {0};

    (void)state;
    assert_int_equal(take_all(&b, &limit, 12345), 5);
    assert_true(rate_is_full(&b, century));
    assert_int_equal(take_all(&b, &limit, century), 5);
    assert_int_equal(take_all(&b, &limit, century + 1000), 1);
}

static void a_clock_that_goes_back_empties_no_bucket_for_long(void **state)
{
    static const struct rate_limit limit = {.per_second = 10, .burst = 50};
    struct rate_bucket b = {0};

    (void)state;
    assert_int_equal(take_all(&b, &limit, 1000000000), 50);
    assert_int_equal(take_all(&b, &limit, 1000), 0);
    assert_int_equal(take_all(&b, &limit, 1100), 1);
    assert_true(rate_is_full(&b, 6100));
    assert_int_equal(take_all(&b, &limit, 7000), 50);
}

static void extreme_limits_hold(void **state)
{
    const struct rate_limit any = {UINT32_MAX, UINT32_MAX};
    const struct rate_limit least = {1, 1};
    const struct rate_limit slow = {1, UINT32_MAX};
    struct rate_bucket b = {0};

    (void)state;
    assert_int_equal(take_all(&b, &any, 5), 1000);
    b = (struct rate_bucket){0};
    assert_int_equal(take_all(&b, &least, 5), 1);
    assert_int_equal(take_all(&b, &least, 1004), 0);
    assert_int_equal(take_all(&b, &least, 1005), 1);
    b = (struct rate_bucket){0};
    assert_int_equal(take_all(&b, &slow, 5), 1000);
    b.full_ns = UINT64_MAX; /* from a clock far ahead */
    assert_false(rate_take(&b, &slow, 0));
    assert_true(rate_take(&b, &slow, 1000));
}

/* --- the meter -------------------------------------------------------------------------------- */

/* What a connection and its timer do with a meter. */
struct metered {
    struct rate_span span;
    struct rate_meter meter;
    unsigned left;
    unsigned timer_ms; /* until the timer fires; 0: it is not set */
    unsigned warnings;
};

static struct metered metered(unsigned per_second)
{
    struct metered m = {.span = rate_span_of(per_second)};

    m.left = m.span.allotment;
    return m;
}

/* One event at `now`. False: over the limit. */
static bool happen(struct metered *m, uint64_t now)
{
    enum rate_verdict verdict;

    if (--m->left > 0)
        return true;
    verdict = rate_meter_spent(&m->meter, &m->span, now);
    m->left = m->span.allotment;
    m->timer_ms = (unsigned)RATE_SPAN_UNITS * m->span.unit_ms;
    m->warnings += verdict == RATE_WARN;
    return verdict != RATE_OVER;
}

/* A millisecond has passed. */
static void tick(struct metered *m, uint64_t now)
{
    unsigned left_ms;

    if (m->timer_ms == 0 || --m->timer_ms > 0)
        return;
    if (rate_meter_passed(&m->meter, &m->span, now, &left_ms))
        m->left = m->span.allotment;
    m->timer_ms = left_ms;
}

/* Events at an even rate for `ms`. Returns when the limit was passed, or 0. */
static unsigned run(struct metered *m, uint64_t start, unsigned per_second, unsigned ms)
{
    uint64_t due = 0; /* thousandths of an event */

    for (unsigned t = 1; t <= ms; t++) {
        tick(m, start + t);
        for (due += per_second; due >= 1000; due -= 1000)
            if (!happen(m, start + t))
                return t;
    }
    return 0;
}

static void a_meter_lets_its_rate_pass_for_ever_and_no_more(void **state)
{
    static const unsigned rates[] = {1, 3, 10, 100, 9999, 20000};

    (void)state;
    for (size_t i = 0; i < COUNT(rates); i++) {
        for (size_t j = 0; j < COUNT(starts); j += 3) {
            struct metered m = metered(rates[i]);
            unsigned end;

            assert_int_equal(run(&m, starts[j], rates[i] - rates[i] / 20, 30000), 0);
            assert_int_equal(m.warnings, 0);
            m = metered(rates[i]);
            end = run(&m, starts[j], rates[i] + rates[i] / 4 + 1, 60000);
            assert_int_equal(m.warnings, 1);
            assert_in_range(end, 1000, 3 * RATE_SECONDS * 1000);
        }
    }
}

static void a_burst_now_and_then_is_no_fault(void **state)
{
    struct metered m = metered(100);

    (void)state;
    for (uint64_t at = 1000; at < 1000000; at += 20000) {
        for (unsigned i = 0; i < 500; i++)
            assert_true(happen(&m, at));
        for (unsigned t = 1; t < 20000; t++)
            tick(&m, at + t);
    }
    assert_int_equal(m.warnings, 0);
}

static void a_warning_is_forgotten_after_a_quiet_span(void **state)
{
    struct metered m = metered(100);

    (void)state;
    assert_int_equal(run(&m, 0, 200, 5100), 0);
    assert_int_equal(m.warnings, 1);
    assert_int_equal(run(&m, 5100, 10, 6000), 0);
    assert_int_equal(run(&m, 11100, 200, 5100), 0);
    assert_int_equal(m.warnings, 2);
}

/* Other deadlines of a connection fire the same timer. */
static void a_timer_that_fires_early_ends_no_span(void **state)
{
    struct rate_span span = rate_span_of(100);
    struct rate_meter m = {0};
    unsigned left_ms, length = (unsigned)RATE_SPAN_UNITS * span.unit_ms;

    (void)state;
    assert_false(rate_meter_passed(&m, &span, 7, &left_ms));
    assert_int_equal(left_ms, 0);
    assert_int_equal(rate_meter_spent(&m, &span, 4294967290), RATE_FINE);
    for (unsigned t = 0; t + span.unit_ms < length; t += 13) {
        assert_false(rate_meter_passed(&m, &span, 4294967290 + t, &left_ms));
        assert_in_range(left_ms, 1, length - t + span.unit_ms);
    }
    assert_int_equal(rate_meter_spent(&m, &span, 4294967290 + 1000), RATE_WARN);
    assert_int_equal(rate_meter_spent(&m, &span, 4294967290 + 2000), RATE_OVER);
    assert_true(rate_meter_passed(&m, &span, 4294967290 + 1000 + length, &left_ms));
    assert_false(rate_meter_passed(&m, &span, 4294967290 + 1000 + length, &left_ms));
}

static void no_limit_and_the_greatest_limit_have_spans(void **state)
{
    (void)state;
    assert_int_equal(rate_span_of(0).allotment, 0);
    assert_int_equal(rate_span_of(UINT32_MAX).allotment, 0);
    assert_int_equal(rate_span_of(RATE_PER_SECOND_MAX).allotment, UINT16_MAX);
    assert_in_range(rate_span_of(RATE_PER_SECOND_MAX).unit_ms, 1, 2);
    assert_int_equal(rate_span_of(1).allotment, RATE_SECONDS);
    assert_int_equal(sizeof(struct rate_meter), 1);
}

#include "tests/test_rate.list"

int main(void)
{
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
