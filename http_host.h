/* SPDX-License-Identifier: MIT
 *
 * Which names a server answers to: the Host field of a request against a list. A page of the
 * internet can point its own name at 127.0.0.1 and is then of the same origin as a server there
 * (DNS rebinding); what it cannot choose is the Host that the browser sends, its own name. Pure. */
#ifndef HTTP_HOST_H
#define HTTP_HOST_H

#include <stdbool.h>

#include "ws_str.h"

/* In all of these `host` is the value of a Host field. Its port is ignored: it is that of the
 * address that the browser used, which a tunnel or a container may map. So is a dot at the end of a
 * name, RFC 3986 §3.2.2, and the case of letters. */

/* localhost, any name below it (RFC 6761 §6.3), 127.0.0.0/8, [::1]. */
bool http_host_is_local(struct ws_str host);

/* Is it on the list, which ends with NULL (a NULL list is empty)? An item is a name or an address,
 * "*.example.org" for all names below example.org, at any depth and without itself, or "*" for
 * any. */
bool http_host_is_listed(struct ws_str host, const char *const *hosts);

/* Why an item of such a list would match no Host: a short text, or NULL for a correct item. */
const char *http_host_fault(struct ws_str item);

/* "a.example.org" and "b.a.example.org" are below "example.org", "example.org" is not. */
bool http_host_is_below(struct ws_str host, struct ws_str domain);

/* Cut "*." off the front of `*host`. False, and nothing is cut, where there is none. */
bool http_host_cut_wildcard(struct ws_str *host);

#endif
