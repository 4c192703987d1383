/* SPDX-License-Identifier: MIT
 *
 * Deadlines: a hierarchical timer wheel with ticks of 1 ms (Varghese and Lauck, 1987, scheme 7).
 * Setting and cancelling cost O(1) whatever the number of timers, and a timer fires in exactly the
 * millisecond for which it was set. The caller passes the time; the wheel reads no clock. Pure.
 *
 * A timer lives inside the struct that it times, and the wheel only links it: no allocation. Times
 * are milliseconds below 2^63; only a deadline may be later, and then never comes. */
#ifndef TIMER_H
#define TIMER_H

#include <stddef.h>
#include <stdint.h>

enum {
    TIMER_SLOT_BITS = 6,
    TIMER_SLOTS = 1 << TIMER_SLOT_BITS,
    TIMER_LEVELS = 6 /* 64^6 ms: two years. A later deadline waits in the last slot */
};

struct timer {
    struct timer *next;
    struct timer **link; /* what points at this timer; NULL exactly when it is not set */
    uint64_t deadline;   /* ms */
    void (*fire)(struct timer *t);
};

/* The struct of that type whose `member` is the timer `t`: for fire(). */
#define TIMER_OWNER(t, type, member) ((type *)((char *)(t)-offsetof(type, member)))

struct timer_wheel {
    uint64_t now;                    /* ms; every deadline <= now has fired */
    uint64_t occupied[TIMER_LEVELS]; /* bit i: slot i holds at least one timer */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms);

/* Set `t` to fire at `deadline_ms`, moving it when it is set already. A deadline that has passed
 * fires at the next timer_wheel_advance() that moves the time on. The caller fills in t->fire. */
void timer_set(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms);

/* Cancel; a timer that is not set stays so. */
void timer_cancel(struct timer_wheel *w, struct timer *t);

/* Move the time on to `now_ms` (never backwards) and call t->fire of each timer whose deadline has
 * come, in order of deadlines. A timer is no longer set when it fires; fire() may set or cancel any
 * timer, itself too, and may free the one that fired. */
void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms);

/* Milliseconds from w->now until the wheel must be advanced: never too late, and too early at most
 * once for each level that a timer comes down and for each slot whose timers were cancelled. -1
 * when there is nothing to wait for. For epoll_wait. */
int timer_wheel_timeout_ms(const struct timer_wheel *w);

#endif
