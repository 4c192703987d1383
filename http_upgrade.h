/* SPDX-License-Identifier: MIT
 *
 * The server's side of the opening handshake, RFC 6455 §4.2: a parsed request in, 101 or the right
 * refusal out. Pure: it decides; the caller sends. */
#ifndef HTTP_UPGRADE_H
#define HTTP_UPGRADE_H

#include <stdbool.h>

#include "http.h"

enum { HTTP_UPGRADE_ACCEPT_SIZE = 28 }; /* base64 of a SHA-1 */

/* What the server allows. Both lists end with NULL; a NULL list is empty. Borrowed. */
struct http_upgrade_policy {
    const char *const *origins;      /* "https://example.org", "null", or "*" for any */
    const char *const *subprotocols; /* in the server's order of preference */
};

struct http_upgrade {
    char accept[HTTP_UPGRADE_ACCEPT_SIZE]; /* Sec-WebSocket-Accept, §4.2.2; no NUL */
    const char *subprotocol;               /* one of the policy's list, or NULL */
    const char *why;                       /* of a refusal: one line for the log and the body */
};

/* Does this request want to become a WebSocket? True when `Upgrade` lists "websocket". Everything
 * else about it may still be wrong. */
bool http_upgrade_wanted(const struct http_request *r);

/* Judge the opening handshake `r`.
 *
 * Returns 101 with u->accept and u->subprotocol filled in, or a status to refuse with and u->why
 * set: 400 for a malformed handshake, 403 for an origin that is not allowed, 405 for a method other
 * than GET, 426 for a version other than 13. Refusals with 426 must carry `Sec-WebSocket-Version:
 * 13`, RFC 6455 §4.4. Unknown extensions are ignored (§9.1): none is ever accepted. */
int http_upgrade_check(const struct http_request *r, const struct http_upgrade_policy *policy,
                       struct http_upgrade *u);

/* Did the client offer subprotocol `name`? Case-sensitive, over repeated fields. §11.3.4 */
bool http_upgrade_offers(const struct http_request *r, const char *name);

/* May a page of `origin` (the Origin field) talk to us at `host` (the Host field)? Allowed is our own
 * host, and what is on the list `origins`: named there, or "*". Our own host is the same host and
 * port under http or https; ws and wss count as these, for some clients send the address of the
 * WebSocket. Where Host has no port, that of the origin is not compared. RFC 6455 §10.2, RFC 6454
 * §5. */
bool http_upgrade_origin_allowed(struct http_str origin, struct http_str host,
                                 const char *const *origins);

#endif
