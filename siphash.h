/* SPDX-License-Identifier: MIT
 *
 * SipHash-1-3 (Aumasson and Bernstein, 2012): a hash for tables whose names a peer chooses. Without
 * the key a peer can neither find names that collide, nor learn the key from the time of a lookup.
 * In a multiplying hash such as FNV-1a a secret start value does not help: some names collide for
 * every start value. Pure. */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <stddef.h>
#include <stdint.h>

enum { SIPHASH_KEY_SIZE = 16 };

/* The hash of `data[0..len)` under a key of random bytes, which is the caller's secret. */
uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len);

#endif
