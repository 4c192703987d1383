/* SPDX-License-Identifier: MIT
 *
 * The client of a request that came through proxies: X-Forwarded-For, or Forwarded of RFC 7239. To
 * be asked only where the peer is a proxy that is trusted; anybody can write these fields. Pure.
 *
 * Each proxy adds the address that it was connected from behind what it received. So the list is
 * read from its end: an address that a trusted proxy added is true; if that address is a trusted
 * proxy, too, so is the one before it; and all that lies before the first other address may be
 * invented. Nothing before that is even looked at, so that no quote or comma in it can change what
 * the end means. */
#ifndef FORWARDED_H
#define FORWARDED_H

#include "address.h"
#include "http.h"

/* Which field the trusted proxies write. They pass the other one on as it came, so that one may
 * be invented as a whole. */
enum forwarded_field { FORWARDED_X_FOR, FORWARDED_STANDARD };

/* The last address that is none of `trusted[0..count)`. Where all are: the first one. Where a
 * member is no address ("unknown", a hidden name such as "_gateway"), what is before it counts for
 * nothing: the trusted proxy that was told of it is the answer, with len 0 where that is the peer.
 * Also len 0 without such a field. */
struct address forwarded_client(const struct http_request *r, enum forwarded_field field,
                                const struct address_range *trusted, size_t count);

#endif
