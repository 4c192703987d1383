/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "timer.h"

static bool is_set(const struct timer *t)
{
    return t->link != NULL;
}

/* --- one timer at a time ---------------------------------------------------------------------- */

struct probe {
    struct timer timer; /* first: fire() gets the probe from it */
    struct timer_wheel *wheel;
    int fired;
    uint64_t fired_at;
};

static void probe_fired(struct timer *t)
{
    struct probe *p = (struct probe *)t;

    p->fired++;
    p->fired_at = p->wheel->now;
}

static void probe_init(struct probe *p, struct timer_wheel *w)
{
    *p = (struct probe){.wheel = w, .timer.fire = probe_fired};
}

/* Every distance that a server uses, and those around the borders of each level, from starts around
 * the borders of each level: first to the millisecond before, then to the deadline. */
static void a_timer_fires_in_the_millisecond_it_was_set_for(void **state)
{
    (void)state;
    for (int start_bit = 0; start_bit <= 48; start_bit += TIMER_SLOT_BITS) {
        for (int bit = 0; bit <= 48; bit++) {
            for (int shift = 0; shift < 9; shift++) {
                uint64_t start = (UINT64_C(1) << start_bit) - 1 + (uint64_t)(shift / 3);
                uint64_t deadline = start + (UINT64_C(1) << bit) + (uint64_t)(shift % 3);
                struct timer_wheel w;
                struct probe p;

                timer_wheel_init(&w, start);
                probe_init(&p, &w);
                timer_set(&w, &p.timer, deadline);
                timer_wheel_advance(&w, deadline - 1);
                assert_int_equal(p.fired, 0);
                timer_wheel_advance(&w, deadline);
                if (p.fired != 1 || p.fired_at != deadline)
                    fail_msg("from %llu to %llu: fired %d times, at %llu",
                             (unsigned long long)start, (unsigned long long)deadline, p.fired,
                             (unsigned long long)p.fired_at);
                assert_false(is_set(&p.timer));
            }
        }
    }
}

static void a_deadline_that_has_passed_fires_with_the_next_tick(void **state)
{
    struct timer_wheel w;
    struct probe p;

    (void)state;
    timer_wheel_init(&w, 1000);
    probe_init(&p, &w);
    timer_set(&w, &p.timer, 5);
    assert_true(is_set(&p.timer));
    assert_int_equal(timer_wheel_timeout_ms(&w), 1);
    timer_wheel_advance(&w, 1000);
    assert_int_equal(p.fired, 0);
    timer_wheel_advance(&w, 1001);
    assert_int_equal(p.fired, 1);
}

static void time_never_runs_backwards(void **state)
{
    struct timer_wheel w;
    struct probe p;

    (void)state;
    timer_wheel_init(&w, 1000);
    probe_init(&p, &w);
    timer_set(&w, &p.timer, 1010);
    timer_wheel_advance(&w, 10);
    assert_int_equal(w.now, 1000);
    timer_wheel_advance(&w, 1010);
    assert_int_equal(p.fired, 1);
}

static void a_cancelled_timer_does_not_fire(void **state)
{
    struct timer_wheel w;
    struct probe p[3];

    (void)state;
    timer_wheel_init(&w, 0);
    for (int i = 0; i < 3; i++) {
        probe_init(&p[i], &w);
        timer_set(&w, &p[i].timer, 100);
    }
    timer_cancel(&w, &p[1].timer);
    timer_cancel(&w, &p[1].timer);
    assert_false(is_set(&p[1].timer));
    timer_wheel_advance(&w, 1000);
    assert_int_equal(p[0].fired + 2 * p[1].fired + 4 * p[2].fired, 5);
}

static void a_timer_set_again_fires_once_at_the_later_setting(void **state)
{
    struct timer_wheel w;
    struct probe p;

    (void)state;
    timer_wheel_init(&w, 0);
    probe_init(&p, &w);
    timer_set(&w, &p.timer, 50);
    timer_set(&w, &p.timer, 5000);
    timer_set(&w, &p.timer, 500);
    timer_wheel_advance(&w, 100000);
    assert_int_equal(p.fired, 1);
    assert_int_equal(p.fired_at, 500);
}

static void without_timers_there_is_nothing_to_wait_for(void **state)
{
    struct timer_wheel w;
    struct probe p;

    (void)state;
    timer_wheel_init(&w, 12345);
    assert_int_equal(timer_wheel_timeout_ms(&w), -1);
    probe_init(&p, &w);
    timer_set(&w, &p.timer, 12400);
    timer_wheel_advance(&w, 12400);
    assert_int_equal(timer_wheel_timeout_ms(&w), -1);
}

/* "Never": a deadline that no time reaches neither fires nor stops the others. */
static void the_last_deadline_of_all_is_never(void **state)
{
    struct timer_wheel w;
    struct probe never, soon;

    (void)state;
    timer_wheel_init(&w, 7);
    probe_init(&never, &w);
    probe_init(&soon, &w);
    timer_set(&w, &never.timer, UINT64_MAX);
    timer_set(&w, &soon.timer, 2000);
    timer_wheel_advance(&w, UINT64_C(1) << 40);
    assert_int_equal(soon.fired_at, 2000);
    assert_int_equal(never.fired, 0);
    assert_true(is_set(&never.timer));
}

/* --- what fire() may do ----------------------------------------------------------------------- */

static void free_fired(struct timer *t)
{
    free(t);
}

static void fire_may_free_its_timer(void **state)
{
    struct timer_wheel w;

    (void)state;
    timer_wheel_init(&w, 0);
    for (uint64_t i = 0; i < 10; i++) {
        struct timer *t = calloc(1, sizeof *t);

        assert_non_null(t);
        t->fire = free_fired;
        timer_set(&w, t, 100 + i % 2);
    }
    timer_wheel_advance(&w, 1000);
    assert_int_equal(timer_wheel_timeout_ms(&w), -1);
}

struct killer {
    struct timer timer;
    struct timer_wheel *wheel;
    struct timer *others[4]; /* due in the same millisecond */
    int *fired;
};

static void killer_fired(struct timer *t)
{
    struct killer *k = (struct killer *)t;

    ++*k->fired;
    for (size_t i = 0; i < 4; i++)
        timer_cancel(k->wheel, k->others[i]);
}

static void fire_may_cancel_timers_of_the_same_millisecond(void **state)
{
    struct timer_wheel w;
    struct killer k[4];
    int fired = 0;

    (void)state;
    timer_wheel_init(&w, 0);
    for (size_t i = 0; i < 4; i++) {
        k[i] = (struct killer){.timer.fire = killer_fired, .wheel = &w, .fired = &fired};
        for (size_t j = 0; j < 4; j++)
            k[i].others[j] = &k[j].timer;
    }
    for (size_t i = 0; i < 4; i++)
        timer_set(&w, &k[i].timer, 77);
    timer_wheel_advance(&w, 100);
    assert_int_equal(fired, 1);
}

static void ticker_fired(struct timer *t)
{
    struct probe *p = (struct probe *)t;

    probe_fired(t);
    timer_set(p->wheel, t, p->wheel->now + 100);
}

/* The time jumps over all of them: a timer that sets itself again still fires at each its
 * deadline. */
static void fire_may_set_its_timer_again_within_one_advance(void **state)
{
    struct timer_wheel w;
    struct probe p;

    (void)state;
    timer_wheel_init(&w, 0);
    probe_init(&p, &w);
    p.timer.fire = ticker_fired;
    timer_set(&w, &p.timer, 100);
    timer_wheel_advance(&w, 100000);
    assert_int_equal(p.fired, 1000);
    assert_int_equal(p.fired_at, 100000);
}

/* --- against a naive model -------------------------------------------------------------------- */

enum { TIMERS = 24, ROUNDS = 3000 };

struct model {
    struct timer_wheel wheel;
    struct {
        struct timer timer; /* first */
        struct model *model;
        bool set;
        uint64_t deadline;
    } timers[TIMERS];
    uint64_t target; /* of the advance that runs */
    uint64_t last;   /* deadline that fired last in it */
    uint64_t random;
};

/* xorshift64: the same numbers on every machine. */
static uint64_t next_random(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

/* Any order of magnitude up to 2^bits is as likely as any other. */
static uint64_t random_span(struct model *m, unsigned bits)
{
    return next_random(m) & ((UINT64_C(1) << next_random(m) % (bits + 1)) - 1);
}

static void model_set(struct model *m, size_t i, uint64_t deadline)
{
    timer_set(&m->wheel, &m->timers[i].timer, deadline);
    m->timers[i].set = true;
    m->timers[i].deadline = deadline > m->wheel.now ? deadline : m->wheel.now + 1;
}

static void model_cancel(struct model *m, size_t i)
{
    timer_cancel(&m->wheel, &m->timers[i].timer);
    m->timers[i].set = false;
}

static void change_any(struct model *m)
{
    size_t i = (size_t)(next_random(m) % TIMERS);

    switch (next_random(m) % 8) {
    case 0:
        model_cancel(m, i);
        break;
    case 1:
        model_set(m, i, random_span(m, 63)); /* absolute: often long past */
        break;
    case 2:
        model_set(m, i, UINT64_MAX - random_span(m, 63));
        break;
    default:
        model_set(m, i, m->wheel.now + random_span(m, 42));
        break;
    }
}

static void model_fired(struct timer *t)
{
    struct model *m = *(struct model **)(void *)(t + 1);
    size_t i = 0;

    while (&m->timers[i].timer != t)
        i++;
    assert_true(m->timers[i].set);
    assert_false(is_set(t));
    assert_int_equal(m->wheel.now, m->timers[i].deadline);
    assert_true(m->wheel.now >= m->last && m->wheel.now <= m->target);
    m->last = m->wheel.now;
    m->timers[i].set = false;
    if (next_random(m) % 4 == 0)
        change_any(m);
}

/* Whatever should have fired has, nothing else, and the wheel would not sleep past the next one. */
static void model_check(const struct model *m)
{
    uint64_t first = UINT64_MAX;
    int timeout = timer_wheel_timeout_ms(&m->wheel);

    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(is_set(&m->timers[i].timer), m->timers[i].set);
        if (!m->timers[i].set)
            continue;
        assert_true(m->timers[i].deadline > m->wheel.now);
        if (m->timers[i].deadline < first)
            first = m->timers[i].deadline;
    }
    if (first == UINT64_MAX)
        return;
    assert_true(timeout > 0);
    assert_true((uint64_t)timeout <= first - m->wheel.now);
}

static void model_advance(struct model *m, uint64_t now_ms)
{
    m->target = now_ms;
    m->last = m->wheel.now;
    timer_wheel_advance(&m->wheel, now_ms);
    assert_int_equal(m->wheel.now, now_ms);
}

static void model_run(struct model *m, uint64_t start, unsigned jump_bits)
{
    timer_wheel_init(&m->wheel, start);
    for (size_t i = 0; i < TIMERS; i++) {
        m->timers[i].timer = (struct timer){.fire = model_fired};
        m->timers[i].model = m;
        m->timers[i].set = false;
    }
    for (int round = 0; round < ROUNDS; round++) {
        change_any(m);
        if (next_random(m) % 2 == 0)
            model_advance(m, m->wheel.now + random_span(m, jump_bits));
        model_check(m);
    }
}

/* Starts just before the borders of the levels; steps from a millisecond to many years. */
static void the_wheel_agrees_with_a_naive_model(void **state)
{
    struct model m = {.random = 88172645463325252};

    (void)state;
    for (int bit = TIMER_SLOT_BITS; bit <= 54; bit += TIMER_SLOT_BITS)
        for (unsigned jump_bits = 2; jump_bits <= 42; jump_bits += 8)
            model_run(&m, (UINT64_C(1) << bit) - 1 - random_span(&m, 1), jump_bits);
}

#include "tests/test_timer.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
