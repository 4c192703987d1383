/* SPDX-License-Identifier: MIT
 *
 * The client of a connection; see conn_client.h. Left out: who pays for memory, which account.h
 * decides. */
#include "conn_client.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "forwarded.h"
#include "proxy_protocol.h"

/* --- hosts ------------------------------------------------------------------------------------ */

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

/* --- which peers are proxies ------------------------------------------------------------------ */

bool conn_client_init(struct ws_server *s)
{
    const char *const *list = s->options.trust_proxy;
    size_t count = 0;

    s->host_timer.fire = host_timer_fired;
    while (list != NULL && list[count] != NULL)
        count++;
    s->proxies = calloc(count + 1, sizeof *s->proxies);
    if (s->proxies == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], "unix") == 0)
            s->trusts_unix = true;
        else if (address_range_parse(&s->proxies[s->proxy_count], ws_str(list[i])))
            s->proxy_count++;
    }
    return true;
}

void conn_client_release(struct ws_server *s)
{
    free(s->proxies);
}

bool conn_client_is_proxy(const struct ws_server *s, const struct address *peer)
{
    return peer->len == 0 ? s->trusts_unix : address_is_in_any(peer, s->proxies, s->proxy_count);
}

/* --- who a proxy names ------------------------------------------------------------------------ */

/* Count the connection for another host; NULL: for none. */
static void count_for(struct ws_conn *c, struct host *host)
{
    struct ws_server *s = c->server;
    struct host *before = server_host_of(c);

    if (host != NULL)
        host->connections++;
    if (before != NULL)
        before->connections--;
    account_move(&c->account, host == NULL ? &s->budget.all : &host->account);
    host_release(&s->hosts, before);
}

/* Note the client, which is NULL where its address is not known or is a proxy's. Without memory for
 * its host no limit by address holds for it. */
static bool note_client(struct ws_conn *c, const struct address *client)
{
    struct ws_server *s = c->server;
    struct host *host = NULL;
    bool fits;

    assert(!c->req.refused && server_host_of(c) == NULL);
    server_proxied(c)->client = *client;
    if (client->len != 0 && !conn_client_is_proxy(s, client))
        host = host_get(&s->hosts, host_key(client->bytes, client->len));
    fits = conn_client_fits(s, host);
    if (!fits)
        host_release(&s->hosts, host);
    count_for(c, fits ? host : NULL);
    return fits;
}

static bool names_by_request(const struct ws_conn *c)
{
    return c->req.proxied && c->server->options.proxy_header != WS_PROXY_PROTOCOL;
}

void conn_client_forget(struct ws_conn *c)
{
    if (names_by_request(c))
        server_proxied(c)->client = (struct address){0};
}

bool conn_client_named(struct ws_conn *c, const struct http_request *r)
{
    const struct ws_server *s = c->server;
    struct address client;

    if (!names_by_request(c))
        return true;
    client = forwarded_client(
        r, s->options.proxy_header == WS_PROXY_FORWARDED ? FORWARDED_STANDARD : FORWARDED_X_FOR,
        s->proxies, s->proxy_count);
    return note_client(c, &client);
}

void conn_client_answered(struct ws_conn *c)
{
    if (names_by_request(c))
        count_for(c, NULL);
}

bool conn_client_header_due(const struct ws_conn *c)
{
    return c->req.proxied && server_proxied(c)->header_due;
}

int conn_client_header(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct conn_proxied *p = server_proxied(c);
    struct proxy_protocol header;
    int used;

    if (p->skip > 0) {
        used = len < p->skip ? (int)len : (int)p->skip;
        p->skip -= (uint32_t)used;
        p->header_due = p->skip > 0;
        return used;
    }
    used = proxy_protocol_parse(&header, data, len);
    if (used <= 0)
        return used;
    p->skip = header.skip;
    p->header_due = p->skip > 0;
    return note_client(c, &header.client) ? used : -429;
}

struct ws_str conn_client_header_again(struct ws_conn *c)
{
    struct ws_server *s = c->server;
    size_t len;

    if (!c->req.proxied || s->options.proxy_header != WS_PROXY_PROTOCOL)
        return (struct ws_str){NULL, 0};
    len = proxy_protocol_write((uint8_t *)s->head, &server_proxied(c)->client);
    return (struct ws_str){s->head, len};
}

/* --- limits ----------------------------------------------------------------------------------- */

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
    if (c->req.proxied)
        server_proxied(c)->header_due = c->server->options.proxy_header == WS_PROXY_PROTOCOL;
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
