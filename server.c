/* SPDX-License-Identifier: MIT
 *
 * What the files of the core share; see server.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "server.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "listen.h"

enum {
    LOG_ERRORS = 5,      /* lines of one kind a second */
    LOG_LINES = 100,     /* the same for WS_LOG_INFO */
    SHARE_LOOK = 1024,   /* units of work between two readings of the clock */
    SHARE_US = 5000,     /* a connection's share of a turn */
    SHARE_LATE_US = 500, /* the same in a turn that is older than TURN_US */
    TURN_US = 20000
};

/* --- the clock -------------------------------------------------------------------------------- */

static uint64_t clock_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* If the clock goes back, as on some virtual machines that are moved, the time that is returned
 * goes on from its last value. */
uint64_t server_clock(struct ws_server *s)
{
    uint64_t now;

    s->clock_us = clock_us();
    now = s->clock_us / 1000 + s->clock_offset;

    if (now < s->clock_last) {
        s->clock_offset += s->clock_last - now;
        now = s->clock_last;
    }
    s->clock_last = now;
    return now;
}

void server_clock_skip(struct ws_server *s, uint64_t ms)
{
    assert(ms <= s->clock_last);
    s->clock_offset -= ms;
    s->clock_last -= ms;
}

void server_share_begin(struct ws_server *s)
{
    s->share_units = 0;
    s->share_us = 0;
}

/* The share is counted from the first reading of the clock; when the clock went back, it begins
 * again. Once it is used up, the next call reads the clock again: a callback may have called before
 * the connection does. */
static bool share_time_used(struct ws_server *s)
{
    uint64_t now = clock_us();
    bool used;

    if (s->share_us == 0 || s->share_us > now)
        s->share_us = now;
    used = now - s->share_us >= (now - s->turn_us >= TURN_US ? SHARE_LATE_US : SHARE_US);
    if (!used)
        s->share_units = 0;
    return used;
}

bool server_share_used(struct ws_server *s, size_t units)
{
    server_share_add(s, units);
    return s->share_units >= SHARE_LOOK && share_time_used(s);
}

/* Where the counter is full (EAGAIN), the descriptor is readable already. */
void server_wake(const struct ws_server *s)
{
    while (eventfd_write(s->wake.fd, 1) != 0 && errno == EINTR)
        ;
}

uint64_t server_now(struct ws_server *s)
{
    return s->in_turn ? s->now_ms : server_clock(s);
}

/* --- the log ---------------------------------------------------------------------------------- */

static void log_sums(struct ws_server *s, uint64_t now_ms)
{
    char line[SENTENCE_SIZE];
    int level;

    while (log_limit_sum(&s->log_limit, now_ms, line, sizeof line, &level))
        s->options.log(s->options.log_arg, (enum ws_log_level)level, line);
}

static void log_timer_fired(struct timer *t)
{
    struct ws_server *s = TIMER_OWNER(t, struct ws_server, log_timer);

    log_sums(s, s->now_ms);
    if (log_limit_waits(&s->log_limit))
        timer_set(&s->timers, t, s->now_ms + LOG_SECOND_MS);
}

static bool log_admits(struct ws_server *s, enum ws_log_level level, const char *format,
                       const char *line)
{
    unsigned max = level == WS_LOG_ERROR ? LOG_ERRORS : LOG_LINES;
    uint64_t now_ms = server_now(s);

    log_sums(s, now_ms);
    if (log_limit_admit(&s->log_limit, format, (int)level, max, now_ms, line))
        return true;
    if (s->log_timer.link == NULL) {
        timer_set(&s->timers, &s->log_timer, now_ms + LOG_SECOND_MS);
        if (!s->in_turn)
            server_wake(s); /* after the turn the timerfd is set */
    }
    return false;
}

void server_log_begin(struct ws_server *s)
{
    s->log_timer.fire = log_timer_fired;
}

void server_log_end(struct ws_server *s)
{
    if (s->options.log != NULL)
        log_sums(s, UINT64_MAX);
}

void server_log(struct ws_server *s, enum ws_log_level level, const char *format, ...)
{
    char line[SENTENCE_SIZE];
    va_list args;

    if (s->options.log == NULL || level > s->options.log_level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *p = line; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~')
            *p = '?';
    }
    if (log_admits(s, level, format, line))
        s->options.log(s->options.log_arg, level, line);
}

/* --- connections ------------------------------------------------------------------------------ */

void server_touch(struct ws_conn *c)
{
    struct ws_server *s = c->server;

    if (c->life.listed)
        return;
    c->life.listed = true;
    c->next_touched = s->touched;
    s->touched = c;
    if (!s->in_turn)
        server_wake(s); /* called from outside the loop */
}

void server_deadline(struct ws_conn *c, unsigned ms)
{
    timer_set(&c->server->timers, &c->timer, server_now(c->server) + ms);
}

void server_deadline_by(struct ws_conn *c, uint64_t at_ms)
{
    if (c->timer.link == NULL || c->timer.deadline > at_ms)
        timer_set(&c->server->timers, &c->timer, at_ms);
}

struct host *server_host_of(const struct ws_conn *c)
{
    struct account *above = c->account.above;

    return above == &c->server->budget.all
               ? NULL
               : (struct host *)((char *)above - offsetof(struct host, account));
}

struct conn_proxied *server_proxied(const struct ws_conn *c)
{
    return c->req.proxied ? (struct conn_proxied *)(c + 1) : NULL;
}

const char *ws_conn_address(const struct ws_conn *c, char out[WS_ADDRESS_SIZE])
{
    const struct conn_proxied *proxied = server_proxied(c);

    if (proxied != NULL && proxied->client.len != 0) {
        listen_write_address(&proxied->client, out, WS_ADDRESS_SIZE);
        return out;
    }
    /* The descriptor of a dead connection is closed: its number may be used again. */
    listen_peer(c->state == CONN_DEAD ? -1 : c->source.fd, out, WS_ADDRESS_SIZE);
    return out;
}

const struct endpoint *server_find_endpoint(const struct ws_server *s, struct ws_str path)
{
    const struct endpoint *e = s->endpoints;

    while (e != NULL &&
           (path.len < e->prefix_len || memcmp(path.data, e->prefix, e->prefix_len) != 0))
        e = e->next;
    return e;
}
