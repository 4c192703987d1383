/* SPDX-License-Identifier: MIT
 *
 * How often something may happen, in two forms. A bucket of tokens is exact and takes 8 bytes: for
 * an address. A meter takes 3 bytes: for a connection, of which there may be a million. Knows no
 * clock: the caller passes the time in ms, which may also jump. Pure. */
#ifndef RATE_H
#define RATE_H

#include <stdbool.h>
#include <stdint.h>

/* --- the bucket ------------------------------------------------------------------------------- */

struct rate_limit {
    unsigned per_second; /* tokens that come back, at least 1 */
    unsigned burst;      /* tokens in a full bucket, at least 1 */
};

/* All zero is a full bucket. The number of tokens is kept as the time at which the bucket will be
 * full again: nothing has to be added as time passes ("Generic Cell Rate Algorithm", ITU-T I.371).
 * It holds for 584 years, in ns. */
struct rate_bucket {
    uint64_t full_ns;
};

/* Take a token at `now_ms`. False: there is none. Where the clock went back, the bucket is full
 * again after burst / per_second seconds at the latest. */
bool rate_take(struct rate_bucket *b, const struct rate_limit *limit, uint64_t now_ms);

/* Is it as if nothing had ever been taken? */
bool rate_is_full(const struct rate_bucket *b, uint64_t now_ms);

/* --- the meter -------------------------------------------------------------------------------- */

/* The caller counts `allotment` events down, which costs one comparison for each, and asks
 * rate_meter_spent() when they are used up. Most peers take long for that, and no time is kept for
 * them. From then on the time is kept, and the next allotment must last for a span. The caller has
 * a timer call rate_meter_passed() at the end of the span: then the counting begins anew. */
enum {
    RATE_SPAN_UNITS = 16,         /* of a span */
    RATE_SECONDS = 5,             /* length of a span, and for how long a full bucket lasts */
    RATE_PER_SECOND_MAX = 4000000 /* of a meter: more is not measured */
};

struct rate_span {
    uint16_t allotment; /* events; 0: no limit */
    uint16_t unit_ms;   /* a span has RATE_SPAN_UNITS of these */
};

/* One byte; all zero: no span is measured. */
struct rate_meter {
    uint8_t begun : 6; /* when the span began, in units, modulo 64 */
    uint8_t stage : 2; /* enum rate_stage */
};

enum rate_stage { RATE_UNMEASURED, RATE_MEASURED, RATE_WARNED };

/* For `per_second` events, on average over RATE_SECONDS or, where 16 bits do not hold so many
 * events, over less. */
struct rate_span rate_span_of(unsigned per_second);

enum rate_verdict { RATE_FINE, RATE_WARN, RATE_OVER };

/* An allotment is used up; the next one begins, and with it a span, unless the verdict is
 * RATE_OVER. RATE_WARN: it was used up too fast, for the first time; RATE_OVER: and again right
 * after that. */
enum rate_verdict rate_meter_spent(struct rate_meter *m, const struct rate_span *span,
                                   uint64_t now_ms);

/* Is a span over that was measured? Then no span is measured any more, and the caller begins a new
 * allotment. Else `*left_ms` says how long it still lasts; 0: none is measured. */
bool rate_meter_passed(struct rate_meter *m, const struct rate_span *span, uint64_t now_ms,
                       unsigned *left_ms);

#endif
