/* SPDX-License-Identifier: MIT
 *
 * The client of a connection; see conn_client.h. Left out: who pays for memory, which account.h
 * decides. */
#include "conn_client.h"

#include <assert.h>
#include <limits.h>

bool conn_client_is_limited(const struct host *host, bool given)
{
    return host != NULL && (given || !host_is_loopback(host));
}

bool conn_client_fits(const struct ws_server *s, const struct host *host)
{
    return !conn_client_is_limited(host, s->given.max_per_ip) ||
           host->connections < s->options.max_per_ip;
}

void conn_client_begin(struct ws_conn *c, struct host *host)
{
    c->account.above = host == NULL ? &c->server->budget.all : &host->account;
    if (host != NULL)
        host->connections++;
}

void conn_client_refused(struct ws_conn *c)
{
    struct host *host = server_host_of(c);

    assert(!c->req.refused);
    c->req.refused = true;
    c->server->refused_count++;
    if (host != NULL)
        host->connections--;
}

/* Forget the hosts that are only kept for their handshakes, a little later. */
static void sweep_later(struct ws_server *s)
{
    if (s->host_timer.link == NULL && s->hosts.recent_count > 0)
        timer_set(&s->timers, &s->host_timer, server_now(s) + RATE_SECONDS * 1000);
}

static void host_timer_fired(struct timer *t)
{
    struct ws_server *s = TIMER_OWNER(t, struct ws_server, host_timer);

    host_table_sweep(&s->hosts, s->now_ms);
    sweep_later(s);
}

void conn_client_init(struct ws_server *s)
{
    s->host_timer.fire = host_timer_fired;
}

void conn_client_end(struct ws_conn *c)
{
    struct ws_server *s = c->server;
    struct host *host = server_host_of(c);

    assert(c->account.used == 0); /* all that was counted has been given back */
    s->refused_count -= c->req.refused;
    if (host != NULL && !c->req.refused)
        host->connections--;
    host_release(&s->hosts, host);
    sweep_later(s);
}

bool conn_client_may_shake(struct ws_conn *c)
{
    const struct ws_server *s = c->server;
    struct host *host = server_host_of(c);

    return s->options.handshake_rate == UINT_MAX ||
           !conn_client_is_limited(host, s->given.handshake_rate) ||
           rate_take(&host->handshakes, &s->handshake_limit, s->now_ms);
}
