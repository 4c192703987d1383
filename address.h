/* SPDX-License-Identifier: MIT
 *
 * IP addresses as bytes: read from text, compared with ranges such as 10.0.0.0/8. RFC 4291 §2.2,
 * §2.3, RFC 4632 §3.1. Left out: writing them, which listen.c does with inet_ntop(). Pure. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_str.h"

/* All zero is no address. An IPv4 address in IPv6 notation (::ffff:1.2.3.4) is never in here: it is
 * the IPv4 address. */
struct address {
    uint8_t bytes[16]; /* in network order; those behind `len` are 0 */
    uint8_t len;       /* 4 or 16; 0: no address */
    uint16_t port;     /* 0: not known */
};

/* All addresses whose first `bits` bits are those of `base`. */
struct address_range {
    struct address base;
    unsigned bits; /* at most base.len * 8 */
};

/* From `len` bytes in network order, 4 or 16. */
struct address address_from(const uint8_t *bytes, size_t len, uint16_t port);

/* Read an address as proxies write it: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]",
 * "[2001:db8::1]:80". The zone of an IPv6 address ("%eth0", RFC 4007 §11) is checked and dropped,
 * for it means something on the proxy alone. False for any other text, and then `*a` is not
 * changed. */
bool address_parse(struct address *a, struct ws_str text);

/* Read ADDRESS or ADDRESS/BITS, without a port or a zone. Bits of the address behind the first BITS
 * are ignored. */
bool address_range_parse(struct address_range *range, struct ws_str text);

bool address_is_in(const struct address *a, const struct address_range *range);
bool address_is_in_any(const struct address *a, const struct address_range *ranges, size_t count);
bool address_is_same(const struct address *a, const struct address *b); /* whatever the ports */
bool address_is_loopback(const struct address *a); /* 127.0.0.0/8, ::1; RFC 1122 §3.2.1.3 */

/* Decimal digits without a sign or leading zeros, at most `max`. False, and `*n` is not changed,
 * for any other text. */
bool address_number(unsigned *n, struct ws_str digits, unsigned max);

#endif
