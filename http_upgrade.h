/* SPDX-License-Identifier: MIT
 *
 * The server's side of the opening handshake, RFC 6455 §4.2: it takes a parsed request and returns
 * 101 or the status of a refusal. Pure: the caller sends. */
#ifndef HTTP_UPGRADE_H
#define HTTP_UPGRADE_H

#include <stdbool.h>

#include "http.h"

enum { HTTP_UPGRADE_ACCEPT_SIZE = 28 }; /* base64 of a SHA-1 */

/* By which scheme browsers reach the server, as far as that is known: where a proxy ends TLS, the
 * connection does not show it. */
enum http_scheme { HTTP_SCHEME_UNKNOWN, HTTP_SCHEME_HTTP, HTTP_SCHEME_HTTPS };

/* What the server allows. Both lists end with NULL; a NULL list is empty. Borrowed. */
struct http_upgrade_policy {
    const char *const *origins;      /* as in http_origin_is_listed() */
    const char *const *subprotocols; /* in the server's order of preference */
    enum http_scheme scheme;         /* unknown: as the proxy says in the request, if it does */
    bool local_files;                /* "file://" is allowed, too */
    bool (*allow_origin)(void *arg, struct ws_str origin); /* asked last; NULL: none is allowed */
    void *allow_origin_arg;
};

struct http_upgrade {
    char accept[HTTP_UPGRADE_ACCEPT_SIZE]; /* Sec-WebSocket-Accept, §4.2.2; no NUL */
    const char *subprotocol;               /* one of the policy's list, or NULL */
    const char *why;                       /* of a refusal: one line for the log and the peer */
    const char *advice;                    /* what the operator may change, for the log; or NULL */
};

/* Does this request want to become a WebSocket? True when `Upgrade` lists "websocket". Everything
 * else about it may still be wrong. */
bool http_upgrade_wanted(const struct http_request *r);

/* Check the opening handshake `r`.
 *
 * Returns 101 with u->accept and u->subprotocol filled in, or a status to refuse with and u->why
 * set: 400 for a malformed handshake, 403 for an origin that is not allowed, 405 for a method other
 * than GET, 426 for a version other than 13. Refusals with 426 must carry `Sec-WebSocket-Version:
 * 13`, RFC 6455 §4.4. Unknown extensions are ignored (§9.1): none is ever accepted. */
int http_upgrade_check(const struct http_request *r, const struct http_upgrade_policy *policy,
                       struct http_upgrade *u);

/* Did the client offer subprotocol `name`? Case-sensitive, over repeated fields. §11.3.4 */
bool http_upgrade_offers(const struct http_request *r, const char *name);

/* "http" and "ws" are one scheme here, "https" and "wss" another, in any case; all else is
 * unknown. */
enum http_scheme http_scheme(struct ws_str name);

/* Is `origin` (the Origin field) a page of this server, which is reached by `scheme` at `host` (the
 * Host field)? Scheme, host and port must be the same. ws and wss count as http and https, for some
 * clients send the address of the WebSocket. Where Host has no port, that of the origin is not
 * compared; where the scheme is unknown, both match. RFC 6455 §10.2, RFC 6454 §5. */
bool http_origin_is_own(struct ws_str origin, struct ws_str host, enum http_scheme scheme);

/* Is `origin` on the list, which ends with NULL (a NULL list is empty)? An item is
 *
 *   http://, https://   a page: scheme, host and port are compared. A host that begins with "*."
 *                       stands for all hosts below the rest, at any depth, and not for the rest
 *   *                   any origin, also none (data NULL)
 *   any other text      an equal origin, ASCII case aside: "null", and what clients other than
 *                       browsers send, such as "localhost:8080", "file://" or nothing */
bool http_origin_is_listed(struct ws_str origin, const char *const *origins);

/* Why an item of such a list would match no origin that is ever sent, or other origins than
 * intended: a short text, or NULL for a correct item. A correct item without '*' matches itself. */
const char *http_origin_fault(struct ws_str item);

#endif
