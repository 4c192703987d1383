/* SPDX-License-Identifier: MIT
 *
 * SHA-1 by RFC 3174, method 1 (§6.1). A ring of 16 words instead of 80 (method 2) takes a fifth
 * longer. */
#include "sha1.h"

#include <string.h>

enum { BLOCK = 64 };

static uint32_t rotate32(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_be32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* f(t;B,C,D) + K(t), RFC 3174 §5. */
static uint32_t mix(int t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void add_block(uint32_t h[5], const uint8_t *block)
{
    uint32_t w[80];
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (int t = 0; t < 16; t++)
        w[t] = load_be32(block + 4 * t);
    for (int t = 0; t < 80; t++) {
        uint32_t next;

        if (t >= 16)
            w[t] = rotate32(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        next = rotate32(a, 5) + mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = rotate32(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void sha1(uint8_t out[SHA1_SIZE], const void *data, size_t len)
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *p = data;
    uint8_t last[2 * BLOCK] = {0};
    size_t rest = len % BLOCK;
    size_t last_len = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)len * 8;

    for (size_t i = 0; i < len / BLOCK; i++)
        add_block(h, p + i * BLOCK);
    /* Padding, RFC 3174 §4: a 1 bit, zeros, the length in bits. */
    if (rest != 0)
        memcpy(last, p + len - rest, rest);
    last[rest] = 0x80;
    store_be32(last + last_len - 8, (uint32_t)(bits >> 32));
    store_be32(last + last_len - 4, (uint32_t)bits);
    for (size_t i = 0; i < last_len; i += BLOCK)
        add_block(h, last + i);
    for (int i = 0; i < 5; i++)
        store_be32(out + 4 * i, h[i]);
}
