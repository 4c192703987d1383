/* SPDX-License-Identifier: MIT
 *
 * Actions of the fuzzers of whole servers; see actions.h. */
#include "actions.h"

#include <poll.h>
#include <string.h>

static volatile unsigned sink;

void script_choose(struct script *s, struct tape *t)
{
    s->len = tape_byte(t) % SCRIPT_MAX;
    s->at = 0;
    for (size_t i = 0; i < s->len; i++)
        s->actions[i] = (uint8_t)tape_byte(t);
}

void script_next(struct script *s, act_fn *act)
{
    unsigned what;

    if (s->len == 0)
        return;
    what = s->actions[s->at++ % s->len];
    act(what, what >> 3, what >> 5 | what << 3);
}

void act_now(struct tape *t, act_fn *act)
{
    unsigned what = tape_byte(t);
    unsigned a = tape_byte(t);
    unsigned b = tape_byte(t);

    calls_watch(true);
    act(what, a, b);
    calls_watch(false);
}

void choose_fault(struct tape *t, const enum call *some, size_t count)
{
    unsigned which = tape_byte(t);
    enum call call = some[which % count];
    size_t errors = call_error_count(call);

    if (call == CALL_EPOLL_WAIT)
        errors = 2; /* with the last one the server cannot go on */
    calls_fail(call, tape_byte(t) & 31, call_errors(call)[which / 16 % errors]);
}

size_t choose_amount(struct tape *t)
{
    unsigned n = tape_byte(t);

    return n == 0 ? SIZE_MAX : n < 128 ? n : (n - 127) * (size_t)300;
}

void turn(struct ws_server *s, bool *stopped)
{
    int result;

    if (*stopped)
        return;
    calls_watch(true);
    result = ws_server_step(s, 0);
    calls_watch(false);
    CHECK(result >= 0 || calls_failed());
    *stopped = result <= 0;
}

static bool is_ready(const struct ws_server *s)
{
    struct pollfd p = {.fd = ws_server_fd(s), .events = POLLIN};

    return poll(&p, 1, 0) > 0 || s->touched != NULL || s->posts != NULL;
}

void come_to_rest(struct ws_server *s, bool *stopped, const struct peer_events *e)
{
    bool some = true;

    for (int i = 0; some; i++) {
        CHECK(i < QUIET_TURNS);
        some = !*stopped && is_ready(s);
        for (size_t n = 0; n < PEERS; n++)
            peer_push(&peers[n], SIZE_MAX);
        turn(s, stopped);
        for (size_t n = 0; n < PEERS; n++)
            while (peer_pull(&peers[n], SIZE_MAX, e))
                some = true;
    }
}

void on_log(void *arg, enum ws_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    CHECK(strchr(line, '\n') == NULL);
}

void touch(struct ws_str s)
{
    for (size_t i = 0; i < s.len; i++)
        sink += (unsigned char)s.data[i];
}
