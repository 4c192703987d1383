/* SPDX-License-Identifier: MIT
 *
 * The address of a Redis, and how to log in, from one of
 *
 *     redis://[[user]:password@]host[:port][/db]
 *     redis+unix://[[user]:password@]/path
 *
 * User, password and path may be percent-encoded. An IPv6 address is in brackets. The number of a
 * database is allowed, but it has no meaning: channels are the same in all. Pure. */
#ifndef CLUSTER_REDIS_URL_H
#define CLUSTER_REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

enum { REDIS_URL_SECRET = 512, REDIS_URL_HOST = 254, REDIS_URL_PATH = 108 };

/* In place; all of it is copied. */
struct redis_url {
    char user[REDIS_URL_SECRET];
    char password[REDIS_URL_SECRET];
    char host[REDIS_URL_HOST]; /* without brackets; empty: a Unix socket */
    uint16_t port;
    char path[REDIS_URL_PATH];
    bool has_login;
    char shown[REDIS_URL_HOST + 16]; /* for the log: "127.0.0.1:6379", without the login */
};

/* Returns NULL, or why this is no such URL; the text is constant. */
const char *redis_url_parse(struct redis_url *url, const char *text);

/* Where a URL, or what should be one, goes on behind its last '@', or behind its scheme where it
 * has none: what may be shown, for no login is in it. */
const char *redis_url_shown(const char *text);

#endif
