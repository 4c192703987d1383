/* SPDX-License-Identifier: MIT
 *
 * Log-linear buckets; see hist.h. */
#include "hist.h"

enum { FINE = 1 << HIST_FINE_BITS };

/* With `shift` as the number of low bits that are dropped, value >> shift lies in [FINE, 2 FINE)
 * for all but the small values, which have shift 0 and lie in [0, 2 FINE). */
static size_t bucket_of(uint64_t value)
{
    unsigned bits = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
    unsigned shift = bits > HIST_FINE_BITS + 1 ? bits - HIST_FINE_BITS - 1 : 0;
    size_t bucket = ((size_t)shift << HIST_FINE_BITS) + (size_t)(value >> shift);

    return bucket < HIST_BUCKETS ? bucket : HIST_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(size_t bucket)
{
    unsigned shift = bucket < 2 * FINE ? 0 : (unsigned)(bucket >> HIST_FINE_BITS) - 1;
    uint64_t fine = bucket - ((size_t)shift << HIST_FINE_BITS);

    return ((fine + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t value, uint64_t times)
{
    h->total += times;
    h->counts[bucket_of(value)] += times;
    if (value > h->max)
        h->max = value;
}

uint64_t hist_at(const struct hist *h, double quantile)
{
    double wanted = quantile * (double)h->total;
    uint64_t seen = 0;

    for (size_t bucket = 0; bucket < HIST_BUCKETS; bucket++) {
        seen += h->counts[bucket];
        if (seen > 0 && (double)seen >= wanted)
            return bucket_end(bucket) < h->max ? bucket_end(bucket) : h->max;
    }
    return h->max;
}
