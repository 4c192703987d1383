/* SPDX-License-Identifier: MIT
 *
 * Incremental UTF-8 validation, RFC 3629 (no overlong forms, no surrogates, nothing over U+10FFFF).
 * It fails at the first byte that cannot continue a valid text, wherever the input is split.
 * Pure. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The position inside a character. All zero: between characters, where a text starts. */
struct utf8 {
    uint8_t state;
};

/* Validate the next bytes `data[0..len)`, borrowed. Returns false at the first impossible byte; `u`
 * must then not be fed again. */
bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t len);

/* The same, byte by byte on any CPU: what utf8_feed() does with short pieces, and what its fast
 * path is tested against. */
bool utf8_feed_bytes(struct utf8 *u, const uint8_t *data, size_t len);

/* True when the text may end here, that is, not inside a character. */
static inline bool utf8_complete(const struct utf8 *u)
{
    return u->state == 0;
}

#endif
