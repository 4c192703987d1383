/* SPDX-License-Identifier: MIT
 *
 * For those who write a bus, such as bus_redis.c: what all kinds of bus have in common. bus.c has
 * the registry of subscriptions, and what to do with a message that has come; a carrier moves
 * messages, tells others what is subscribed to, and says when it is up. It is a struct whose first
 * member is a `struct bus`, and a table of functions. */
#ifndef CLUSTER_BUS_CARRIER_H
#define CLUSTER_BUS_CARRIER_H

#include <stdint.h>

#include "bus.h"
#include "name_table.h"

enum { BUS_KINDS = 3 };

/* A call of bus_count() that waits for its answer. */
struct bus_question {
    struct bus_question *next; /* the carrier's */
    void (*fn)(void *arg, ptrdiff_t count);
    void *arg;
};

/* None of these may call a function below that calls back: bus_deliver(), bus_answer(),
 * bus_set_up(). */
struct bus_carrier {
    /* As bus_publish_pieces(); `kind` has been checked. */
    int (*publish)(struct bus *b, enum bus_kind kind, struct ws_str channel,
                   const struct ws_str *pieces, size_t count);
    /* Ask for a count, while the bus is up, and call bus_answer() with `q` later, also when the
     * bus is lost. Returns 0; or WS_ERR_FULL or WS_ERR_NOMEM, and then `q` is not kept. */
    int (*count)(struct bus *b, enum bus_kind kind, struct ws_str channel, struct bus_question *q);
    /* bus_change() has something to tell, and had nothing before. */
    void (*changed)(struct bus *b);
    /* Free all, but the questions by bus_answer(): those are given back by bus_forget(). It calls
     * bus_release() last. */
    void (*free)(struct bus *b);
};

struct bus_name;

struct bus {
    const struct bus_carrier *carrier;
    struct ws_server *server;
    struct ws_account *account; /* what the bus keeps counts in max_memory, in no peer's share */
    struct name_table names[BUS_KINDS]; /* of struct bus_name */
    struct bus_name *changes;           /* names whose state others do not know, in order */
    struct bus_name *last_change;
    struct bus_name *taken; /* that bus_change() returned last; NULL: none */
    struct bus_listener *listeners;
    struct bus_subscription *ended; /* while `calling`: to be freed when the call is over */
    struct bus_question *unasked;   /* asked while the bus is down, in order */
    struct bus_question **last_unasked;
    struct ws_timer *later;     /* answers these */
    unsigned long long dropped; /* the carrier counts */
    bool is_up;
    bool calling;        /* subscribers or listeners: none of them is freed before that is over */
    bool listener_ended; /* and this: one of the listeners is to be freed */
};

/* Begin and end the part that is common. bus_init() returns false without memory or random bytes,
 * and then nothing is to be released. */
bool bus_init(struct bus *b, const struct bus_carrier *carrier, struct ws_server *s);
void bus_release(struct bus *b);

/* The next name whose subscription others do not know yet: true, with `*wanted` whether there is a
 * subscription now. The carrier must tell others of each one that it takes. The name is valid until
 * the next call of a function of the bus. A name that came and went since is not among them: so
 * however slow the carrier is, those that wait are not more than the subscriptions there are and
 * those it has told of. */
bool bus_change(struct bus *b, enum bus_kind *kind, struct ws_str *name, bool *wanted);

/* The carrier has lost its connection: others know of no subscription any more. bus_change() begins
 * with all that there are; `changed` is not called for them. */
void bus_forget_told(struct bus *b);

/* A message has come for subscriptions of this name, which is the channel's own unless `kind` is
 * BUS_PATTERN. Calls back. */
void bus_deliver(struct bus *b, enum bus_kind kind, struct ws_str name, struct ws_str channel,
                 struct ws_str data);

/* The answer to a question, which ends by it. Calls back. */
void bus_answer(struct bus *b, struct bus_question *q, ptrdiff_t count);
/* It ends without an answer, for the bus is freed. */
void bus_forget(struct bus *b, struct bus_question *q);

/* The state has changed. Calls back. */
void bus_set_up(struct bus *b, bool up);

/* Does `name` fit the pattern, as described for bus_subscribe()? Takes a time in proportion to the
 * product of the lengths at most. */
bool bus_pattern_fits(struct ws_str pattern, struct ws_str name);

#endif
