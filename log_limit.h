/* SPDX-License-Identifier: MIT
 *
 * How often lines of one kind may be in the log: any peer can cause some of them, as often as it
 * likes. A kind is all lines from one format. Within a second a few of them are logged; when it is
 * over, one line gives the number of the others. Knows no clock and no descriptor. */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_KINDS = 32, /* kinds that are limited; further kinds are not */
    LOG_LAST = 160, /* bytes that are kept of the last line that was left out */
    LOG_SECOND_MS = 1000
};

struct log_kind {
    const char *format; /* NULL: no kind has this place yet */
    uint64_t since_ms;
    unsigned count; /* of lines since then */
    unsigned left_out;
    int level;
    char last[LOG_LAST];
};

/* All zero: no line has come. */
struct log_limit {
    struct log_kind kinds[LOG_KINDS];
};

/* May `line`, made from `format` at `now_ms`, be in the log? Else it is counted.
 *
 *   format      borrowed for ever; compared by its address
 *   level       given back by log_limit_sum()
 *   per_second  lines of this kind that are let through */
bool log_limit_admit(struct log_limit *l, const char *format, int level, unsigned per_second,
                     uint64_t now_ms, const char *line);

/* Write the line about the left-out lines of one kind whose second is over at `now_ms`, and its
 * level. To be called until it returns false: there are no more. UINT64_MAX: for all kinds. */
bool log_limit_sum(struct log_limit *l, uint64_t now_ms, char *out, size_t size, int *level);

/* Were lines left out that log_limit_sum() has not reported? */
bool log_limit_waits(const struct log_limit *l);

#endif
