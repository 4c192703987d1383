/* SPDX-License-Identifier: MIT
 *
 * Base64, RFC 4648 §4. */
#include "base64.h"

#include <stdbool.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *out, const uint8_t *data, size_t len)
{
    char *p = out;

    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i;
        uint32_t bits = (uint32_t)data[i] << 16;

        if (n > 1)
            bits |= (uint32_t)data[i + 1] << 8;
        if (n > 2)
            bits |= data[i + 2];
        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        *p++ = n > 1 ? digits[bits >> 6 & 63] : '=';
        *p++ = n > 2 ? digits[bits & 63] : '=';
    }
    return (size_t)(p - out);
}

/* The value of a digit, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four digits to `n` bytes (1 to 3). Returns false for a bad digit or unused bits that are not
 * zero. */
static bool decode_group(uint8_t *out, const char *text, size_t n)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        int value = i <= n ? value_of(text[i]) : 0;

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
    }
    if ((bits & ((1u << (8 * (3 - n))) - 1)) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
    return true;
}

ptrdiff_t base64_decode(uint8_t *out, const char *text, size_t len)
{
    uint8_t *p = out;

    if (len % 4 != 0)
        return -1;
    for (size_t i = 0; i < len; i += 4) {
        size_t n = 3;

        /* Padding may stand at the very end only. */
        if (i + 4 == len && text[i + 3] == '=')
            n = text[i + 2] == '=' ? 1 : 2;
        if (!decode_group(p, text + i, n))
            return -1;
        p += n;
    }
    return p - out;
}
