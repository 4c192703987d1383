/* SPDX-License-Identifier: MIT
 *
 * Bytes of the protocol; see wire.h. */
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- bytes ------------------------------------------------------------------------------------ */

static void make_room(struct bytes *b, size_t more)
{
    size_t cap = b->cap;

    if (b->cap - b->len >= more)
        return;
    if (cap == 0)
        cap = 64;
    while (cap - b->len < more)
        cap *= 2;
    b->data = realloc(b->data, cap);
    if (b->data == NULL) {
        fputs("wscheck: out of memory\n", stderr);
        exit(2);
    }
    b->cap = cap;
}

void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    make_room(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void bytes_add_text(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

void bytes_add_format(struct bytes *b, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    make_room(b, (size_t)len + 1);
    va_start(args, format);
    vsnprintf((char *)b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
}

void bytes_release(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* --- frames out ------------------------------------------------------------------------------- */

static void add_number(struct bytes *b, uint64_t value, int size)
{
    for (int i = size - 1; i >= 0; i--) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        bytes_add(b, &byte, 1);
    }
}

static void add_length(struct bytes *b, const struct out_frame *f)
{
    uint64_t len = f->claims ? f->claimed : f->len;
    uint8_t mask = f->unmasked ? 0 : 0x80;
    enum length_form form = f->form;

    if (form == LENGTH_MINIMAL)
        form = len > 0xffff ? LENGTH_64 : len > 125 ? LENGTH_16 : LENGTH_MINIMAL;
    if (form == LENGTH_64) {
        add_number(b, mask | 127, 1);
        add_number(b, len, 8);
    } else if (form == LENGTH_16) {
        add_number(b, mask | 126, 1);
        add_number(b, len, 2);
    } else {
        add_number(b, mask | len, 1);
    }
}

void frame_write(struct bytes *b, const struct out_frame *f)
{
    uint8_t key[4] = {0x37, 0xfa, 0x21, (uint8_t)(0x3d + b->len)};
    uint8_t first = (uint8_t)((f->fin ? 0x80 : 0) | (f->rsv & 7) << 4 | (f->opcode & 15));
    size_t start;

    if (f->has_key)
        memcpy(key, f->key, sizeof key);
    bytes_add(b, &first, 1);
    add_length(b, f);
    if (!f->unmasked)
        bytes_add(b, key, sizeof key);
    start = b->len;
    bytes_add(b, f->payload, f->len);
    for (size_t i = 0; !f->unmasked && i < f->len; i++)
        b->data[start + i] ^= key[i % 4];
}

/* --- frames in -------------------------------------------------------------------------------- */

static const char *first_byte_fault(const struct in_frame *f)
{
    if (f->rsv != 0)
        return "the server sets a reserved bit that no extension was negotiated for (RFC 6455 "
               "§5.2)";
    if ((f->opcode > OP_BINARY && f->opcode < OP_CLOSE) || f->opcode > OP_PONG)
        return "the server sends a reserved opcode (RFC 6455 §5.2)";
    if (f->opcode >= OP_CLOSE && !f->fin)
        return "the server fragments a control frame (RFC 6455 §5.5)";
    return NULL;
}

static const char *length_fault(const struct in_frame *f, unsigned size)
{
    if (f->masked)
        return "the server masks a frame (RFC 6455 §5.1)";
    if (f->opcode >= OP_CLOSE && f->len > 125)
        return "a control frame of the server has over 125 bytes (RFC 6455 §5.5)";
    if ((size == 2 && f->len < 126) || (size == 8 && f->len <= 0xffff) || f->len >> 63 != 0)
        return "the server does not write a length in its shortest form (RFC 6455 §5.2)";
    return NULL;
}

ptrdiff_t frame_read(struct in_frame *f, const uint8_t *data, size_t len, const char **fault)
{
    unsigned size;

    if (len < 2)
        return 0;
    *f = (struct in_frame){.fin = (data[0] & 0x80) != 0,
                           .rsv = data[0] >> 4 & 7,
                           .opcode = data[0] & 15,
                           .masked = (data[1] & 0x80) != 0,
                           .len = data[1] & 127};
    size = f->len == 127 ? 8 : f->len == 126 ? 2 : 0;
    f->header_len = 2 + size;
    if (len < f->header_len)
        return 0;
    if (size != 0)
        f->len = 0;
    for (unsigned i = 0; i < size; i++)
        f->len = f->len << 8 | data[2 + i];
    *fault = first_byte_fault(f);
    if (*fault == NULL)
        *fault = length_fault(f, size);
    if (*fault != NULL)
        return -1;
    if (len - f->header_len < f->len)
        return 0;
    f->payload = data + f->header_len;
    return (ptrdiff_t)(f->header_len + (size_t)f->len);
}

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* The bytes of one character, by the table of RFC 3629 §4; 0: there is none. */
static size_t character(const uint8_t *s, size_t len)
{
    static const struct {
        uint8_t first[2]; /* from, to */
        uint8_t second[2];
        uint8_t size;
    } rows[] = {
        {{0x00, 0x7f}, {0, 0}, 1},       {{0xc2, 0xdf}, {0x80, 0xbf}, 2},
        {{0xe0, 0xe0}, {0xa0, 0xbf}, 3}, {{0xe1, 0xec}, {0x80, 0xbf}, 3},
        {{0xed, 0xed}, {0x80, 0x9f}, 3}, {{0xee, 0xef}, {0x80, 0xbf}, 3},
        {{0xf0, 0xf0}, {0x90, 0xbf}, 4}, {{0xf1, 0xf3}, {0x80, 0xbf}, 4},
        {{0xf4, 0xf4}, {0x80, 0x8f}, 4},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (s[0] < rows[i].first[0] || s[0] > rows[i].first[1])
            continue;
        if (rows[i].size > len)
            return 0;
        if (rows[i].size > 1 && (s[1] < rows[i].second[0] || s[1] > rows[i].second[1]))
            return 0;
        for (size_t k = 2; k < rows[i].size; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return rows[i].size;
    }
    return 0;
}

bool is_utf8(const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t size = character(data, len);

        if (size == 0)
            return false;
        data += size;
        len -= size;
    }
    return true;
}

bool is_forbidden_status(unsigned code)
{
    return code < 1000 || code == 1005 || code == 1006 || code == 1015 || code > 4999;
}

/* --- Sec-WebSocket-Accept --------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

/* RFC 3174 §6.1. */
static void sha1_block(uint32_t h[5], const uint8_t block[64])
{
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    uint32_t w[80];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t next = rotate(a, 5) + f + e + k[i / 20] + w[i];

        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* Of a text that is short enough for two blocks. */
static void sha1_of_short(uint8_t out[20], const char *text)
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t block[128] = {0};
    size_t len = strlen(text);
    size_t size = len < 56 ? 64 : 128;

    memcpy(block, text, len);
    block[len] = 0x80;
    for (size_t i = 0; i < 8; i++)
        block[size - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    for (size_t at = 0; at < size; at += 64)
        sha1_block(h, block + at);
    for (size_t i = 0; i < 20; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void accept_of(char out[ACCEPT_SIZE], const char *key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[100];
    uint8_t hash[21] = {0}; /* a multiple of 3 */

    snprintf(text, sizeof text, "%.60s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1_of_short(hash, text);
    for (size_t i = 0; i < 7; i++) {
        uint32_t three =
            (uint32_t)hash[3 * i] << 16 | (uint32_t)hash[3 * i + 1] << 8 | hash[3 * i + 2];

        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}
