/* SPDX-License-Identifier: MIT
 *
 * A histogram of times like HdrHistogram: buckets grow with the value, so that each value is kept
 * with an error of at most 1/128, from a nanosecond to a day, in constant memory and constant time.
 * Pure. */
#ifndef HIST_H
#define HIST_H

#include <stddef.h>
#include <stdint.h>

/* Values below 2^HIST_FINE_BITS have a bucket each; every power of two above shares that many. */
enum { HIST_FINE_BITS = 7, HIST_BUCKETS = (48 - HIST_FINE_BITS + 1) << HIST_FINE_BITS };

/* All zero is an empty histogram. */
struct hist {
    uint64_t total; /* values counted */
    uint64_t max;   /* the largest, exactly */
    uint64_t counts[HIST_BUCKETS];
};

/* Count `value` `times` times. Values of 2^48 and more go into the last bucket. */
void hist_add(struct hist *h, uint64_t value, uint64_t times);

/* The quantile: the smallest value that at least the share `quantile` (0 to 1) of all values does
 * not exceed, up to the bucket's width: never below the true one, and at most 1/128 above it. 0
 * when empty. */
uint64_t hist_at(const struct hist *h, double quantile);

#endif
