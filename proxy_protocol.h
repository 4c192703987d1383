/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): what a proxy of TCP
 * sends in front of a connection's own bytes, to say who connected to it. Left out: the destination
 * and the TLVs of version 2, which are skipped. Pure. */
#ifndef PROXY_PROTOCOL_H
#define PROXY_PROTOCOL_H

#include "address.h"

enum {
    PROXY_PROTOCOL_NEED_MORE = 0,
    PROXY_PROTOCOL_WRITTEN_MAX = 52, /* 16, two IPv6 addresses and their ports */
    PROXY_PROTOCOL_MAX = 107         /* bytes that may be needed before there is a result: a line of
                                version 1 with its CRLF */
};

struct proxy_protocol {
    struct address client; /* len 0: not told, as for the proxy's own health checks */
    uint32_t skip;         /* bytes behind those that were consumed that belong to the header, up to
                              65,535; nothing in them matters */
};

/* Read the header at the front of `data[0..len)`; earlier calls saw a prefix of the same bytes.
 * Returns how many were consumed, with `*p` filled in; PROXY_PROTOCOL_NEED_MORE; or -400, as soon
 * as it is certain, for what is no such header. */
int proxy_protocol_parse(struct proxy_protocol *p, const uint8_t *data, size_t len);

/* Write a header of version 2 that names `client`, or none where its len is 0; the destination is
 * zeros. Returns its length. */
size_t proxy_protocol_write(uint8_t out[PROXY_PROTOCOL_WRITTEN_MAX], const struct address *client);

#endif
