/* SPDX-License-Identifier: MIT
 *
 * Plays the cases of a suite against a server, many at once, in one thread on epoll. */
#ifndef CHECK_RUN_H
#define CHECK_RUN_H

#include <sys/socket.h>

#include "script.h"

enum verdict {
    VERDICT_PASS,
    VERDICT_FAIL, /* a MUST is broken */
    VERDICT_WARN, /* a SHOULD is not followed */
    VERDICT_SKIP, /* the server has a limit, which it may have, below what the case sends */
    VERDICTS
};

const char *verdict_name(enum verdict v);

/* Bytes that passed: a head, a frame, or what did not become one. */
struct event {
    bool sent;          /* else received */
    bool http;          /* text; else a frame */
    bool end;           /* the end of that direction; no bytes */
    struct bytes bytes; /* at most EVENT_KEPT of them, of a head HEAD_KEPT, */
    size_t total;       /* of so many */
};

enum { EVENT_KEPT = 160, HEAD_KEPT = 1024, EVENTS_KEPT = 40, REASON_SIZE = 256 };

struct result {
    const struct check_case *of;
    enum verdict verdict;
    char reason[REASON_SIZE]; /* what was seen instead; "" for VERDICT_PASS */
    unsigned ms;
    struct event events[EVENTS_KEPT];
    size_t event_count;
    size_t dropped; /* events before the last one, which is kept whatever their number */
};

struct target {
    struct sockaddr_storage address;
    socklen_t address_len;
    const char *host; /* as in the URL, with the port, for Host */
    const char *path;
};

struct run_options {
    unsigned jobs;                                          /* cases at once, at most JOBS_MAX */
    unsigned timeout_ms;                                    /* for each step */
    void (*progress)(void *arg, size_t done, size_t count); /* NULL: none */
    void *arg;
};

enum { JOBS_MAX = 256 };

/* Is anybody there? Returns 0, or the errno of a connection. */
int target_probe(const struct target *target, unsigned timeout_ms);

/* Play the `count` cases at `cases`; the result of each is at the same index of `results`, and how
 * long all took is in `*ms`. Returns 0, or an errno when the run could not go on. */
int run_cases(const struct target *target, const struct check_case *const *cases, size_t count,
              struct result *results, const struct run_options *options, unsigned *ms);

void result_release(struct result *r);

#endif
