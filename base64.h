/* SPDX-License-Identifier: MIT
 *
 * Base64 with padding, RFC 4648 §4. Decoding is strict: no white space, no missing padding, and the
 * unused bits of the last digit are zero (§3.5), so that each value has one form. Pure. */
#ifndef BASE64_H
#define BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters that `n` bytes encode to. The caller keeps n under SIZE_MAX / 4 * 3 - 2. */
#define BASE64_ENCODED_SIZE(n) (((n) + 2) / 3 * 4)

/* Encode `data[0..len)` into `out`, which has room for BASE64_ENCODED_SIZE(len) characters. No NUL
 * is written. Returns the number of characters. */
size_t base64_encode(char *out, const uint8_t *data, size_t len);

/* Decode `text[0..len)` into `out`, which has room for len / 4 * 3 bytes; `out` may be `text`
 * itself.
 * Returns the number of bytes, or -1 when the text is not the one form of some value. */
ptrdiff_t base64_decode(uint8_t *out, const char *text, size_t len);

#endif
