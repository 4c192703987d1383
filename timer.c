/* SPDX-License-Identifier: MIT
 *
 * A hierarchical timer wheel; see timer.h. Level k has 64 slots of 64^k ms. A timer stands on the
 * level of the highest digit (base 64) in which its deadline differs from now, in the slot of that
 * digit, and comes down a level whenever the time reaches its slot. On level 0 a slot is one ms. */
#include "timer.h"

#include <limits.h>

enum { SLOT_MASK = TIMER_SLOTS - 1, TOP_SHIFT = (TIMER_LEVELS - 1) * TIMER_SLOT_BITS };

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms)
{
    *w = (struct timer_wheel){.now = now_ms};
}

static unsigned digit(uint64_t time, int level)
{
    return (unsigned)(time >> (level * TIMER_SLOT_BITS)) & SLOT_MASK;
}

/* The level of the highest digit in which two times differ; TIMER_LEVELS when it is beyond them
 * all. */
static int level_of(uint64_t a, uint64_t b)
{
    uint64_t differ = a ^ b;
    int level = 0;

    while (level < TIMER_LEVELS && differ >> ((level + 1) * TIMER_SLOT_BITS) != 0)
        level++;
    return level;
}

/* The slot of the top level for a time beyond all levels. The level is a ring: a time up to 63
 * slots ahead has a slot there. A later one waits in the last slot of the ring, and is placed again
 * when the time reaches that. */
static unsigned turned_slot(const struct timer_wheel *w, uint64_t deadline)
{
    uint64_t ahead = (deadline >> TOP_SHIFT) - (w->now >> TOP_SHIFT);

    if (ahead > SLOT_MASK)
        ahead = SLOT_MASK;
    return (digit(w->now, TIMER_LEVELS - 1) + (unsigned)ahead) & SLOT_MASK;
}

/* Link `t` where its deadline belongs. */
static void place(struct timer_wheel *w, struct timer *t)
{
    int level = level_of(t->deadline, w->now);
    unsigned slot = digit(t->deadline, level);
    struct timer **head;

    if (level == TIMER_LEVELS) {
        level = TIMER_LEVELS - 1;
        slot = turned_slot(w, t->deadline);
    }
    head = &w->slots[level][slot];
    t->next = *head;
    if (t->next != NULL)
        t->next->link = &t->next;
    t->link = head;
    *head = t;
    w->occupied[level] |= UINT64_C(1) << slot;
}

void timer_set(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms)
{
    timer_cancel(w, t);
    t->deadline = deadline_ms > w->now ? deadline_ms : w->now + 1;
    place(w, t);
}

/* The occupied bit of a slot that becomes empty is cleared when the time enters the slot. */
void timer_cancel(struct timer_wheel *w, struct timer *t)
{
    (void)w;
    if (t->link == NULL)
        return;
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    t->link = NULL;
}

/* The next time, after now, at which an occupied slot of `level` begins; UINT64_MAX for none. */
static uint64_t next_slot(const struct timer_wheel *w, int level)
{
    unsigned here = digit(w->now, level);
    int shift = level * TIMER_SLOT_BITS;
    uint64_t base = w->now >> shift;
    uint64_t bits = w->occupied[level];
    uint64_t turned;

    if (bits == 0)
        return UINT64_MAX;
    /* Turn the bits so that the slot after `here` is bit 0. */
    here = (here + 1) & SLOT_MASK;
    turned = here == 0 ? bits : bits >> here | bits << (TIMER_SLOTS - here);
    return (base + 1 + (uint64_t)__builtin_ctzll(turned)) << shift;
}

static uint64_t next_stop(const struct timer_wheel *w)
{
    uint64_t first = UINT64_MAX;

    for (int level = 0; level < TIMER_LEVELS; level++) {
        uint64_t at = next_slot(w, level);

        if (at < first)
            first = at;
    }
    return first;
}

/* Move the timers of a slot to `*list`; they stay linked. */
static void take_slot(struct timer_wheel *w, int level, struct timer **list)
{
    unsigned slot = digit(w->now, level);

    *list = w->slots[level][slot];
    if (*list != NULL)
        (*list)->link = list;
    w->slots[level][slot] = NULL;
    w->occupied[level] &= ~(UINT64_C(1) << slot);
}

/* The time has reached a slot: bring its timers down, or fire them on level 0. */
static void enter_slot(struct timer_wheel *w, int level)
{
    struct timer *list;

    take_slot(w, level, &list);
    while (list != NULL) {
        struct timer *t = list;

        timer_cancel(w, t);
        if (t->deadline <= w->now)
            t->fire(t);
        else
            place(w, t);
    }
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms)
{
    uint64_t stop;

    while ((stop = next_stop(w)) <= now_ms) {
        w->now = stop;
        /* From the top level, so that timers that come down are found on the lower levels. */
        for (int level = TIMER_LEVELS - 1; level >= 0; level--) {
            if (level == 0 || (stop & ((UINT64_C(1) << (level * TIMER_SLOT_BITS)) - 1)) == 0)
                enter_slot(w, level);
        }
    }
    if (now_ms > w->now)
        w->now = now_ms;
}

int timer_wheel_timeout_ms(const struct timer_wheel *w)
{
    uint64_t stop = next_stop(w);

    if (stop == UINT64_MAX)
        return -1;
    return stop - w->now < INT_MAX ? (int)(stop - w->now) : INT_MAX;
}
