/* SPDX-License-Identifier: MIT
 *
 * The limit on lines of one kind; see log_limit.h. */
#include "log_limit.h"

#include <stdio.h>

/* The place of this kind, or a free one; NULL when other kinds have all places. */
static struct log_kind *find(struct log_limit *l, const char *format)
{
    for (size_t i = 0; i < LOG_KINDS; i++) {
        struct log_kind *k = &l->kinds[i];

        if (k->format == format || k->format == NULL)
            return k;
    }
    return NULL;
}

static bool is_over(const struct log_kind *k, uint64_t now_ms)
{
    return now_ms - k->since_ms >= LOG_SECOND_MS;
}

/* A kind with left-out lines keeps its count until log_limit_sum() has reported them. */
bool log_limit_admit(struct log_limit *l, const char *format, int level, unsigned per_second,
                     uint64_t now_ms, const char *line)
{
    struct log_kind *k = find(l, format);

    if (k == NULL)
        return true;
    if (k->format == NULL || (is_over(k, now_ms) && k->left_out == 0))
        *k = (struct log_kind){.format = format, .since_ms = now_ms, .level = level};
    if (k->count < per_second) {
        k->count++;
        return true;
    }
    k->left_out++;
    snprintf(k->last, sizeof k->last, "%s", line);
    return false;
}

bool log_limit_sum(struct log_limit *l, uint64_t now_ms, char *out, size_t size, int *level)
{
    for (size_t i = 0; i < LOG_KINDS && l->kinds[i].format != NULL; i++) {
        struct log_kind *k = &l->kinds[i];

        if (k->left_out == 0 || !is_over(k, now_ms))
            continue;
        snprintf(out, size, "%u more like this %s left out: %s", k->left_out,
                 k->left_out == 1 ? "was" : "were", k->last);
        *level = k->level;
        k->left_out = k->count = 0;
        k->since_ms = now_ms;
        return true;
    }
    return false;
}

bool log_limit_waits(const struct log_limit *l)
{
    for (size_t i = 0; i < LOG_KINDS; i++) {
        if (l->kinds[i].left_out > 0)
            return true;
    }
    return false;
}
