/* SPDX-License-Identifier: MIT
 *
 * Frame headers, RFC 6455 §5.2; see ws_frame.h. */
#include "ws_frame.h"

#include <string.h>

#include "avx2.h"

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASK = 0x80, LEN7 = 0x7f, LEN16 = 126, LEN64 = 127 };

static bool is_known(unsigned opcode)
{
    return opcode <= WS_OP_BINARY || (opcode >= WS_OP_CLOSE && opcode <= WS_OP_PONG);
}

/* What is wrong with the first two bytes, as far as they are there; NULL when nothing is. §5.1,
 * §5.2, §5.5. Inline, since each frame passes here: a call would cost 1/30 of the instructions of a
 * small echo. */
static inline const char *start_fault(const uint8_t *buf, size_t len, uint8_t rsv)
{
    bool control = ws_opcode_is_control((enum ws_opcode)(buf[0] & OPCODE));

    if ((buf[0] & RSV & ~(control ? 0 : rsv)) != 0)
        return "a reserved bit is set without an extension";
    if (!is_known(buf[0] & OPCODE))
        return "unknown opcode";
    if (control && (buf[0] & FIN) == 0)
        return "a control frame in fragments";
    if (len < 2)
        return NULL;
    if ((buf[1] & MASK) == 0)
        return "a client's frame without a mask";
    if (control && (buf[1] & LEN7) > WS_CONTROL_MAX)
        return "a control frame over 125 bytes";
    return NULL;
}

static uint64_t load_be(const uint8_t *p, size_t n)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

/* May a length of `size` bytes begin with these `n`? §5.2: the form must be the shortest, which the
 * first six of eight bytes show, and bit 63 must be 0. */
static bool extended_is_legal(const uint8_t *p, size_t n, size_t size)
{
    if (size == 2)
        return n < 2 || load_be(p, 2) >= LEN16;
    if (size == 8)
        return (n < 1 || p[0] < 0x80) && (n < 6 || load_be(p, 6) != 0);
    return true;
}

int ws_frame_decode(struct ws_frame *f, const uint8_t *buf, size_t len, uint8_t rsv)
{
    size_t extended;
    unsigned len7;

    if (len == 0)
        return WS_NEED_MORE;
    if (start_fault(buf, len, rsv) != NULL)
        return -WS_CLOSE_PROTOCOL;
    if (len < 2)
        return WS_NEED_MORE;
    len7 = buf[1] & LEN7;
    extended = len7 == LEN64 ? 8 : len7 == LEN16 ? 2 : 0;
    if (!extended_is_legal(buf + 2, len - 2, extended))
        return -WS_CLOSE_PROTOCOL;
    if (len < 2 + extended + 4)
        return WS_NEED_MORE;
    f->len = extended == 0 ? len7 : load_be(buf + 2, extended);
    memcpy(f->mask, buf + 2 + extended, 4);
    f->opcode = (enum ws_opcode)(buf[0] & OPCODE);
    f->rsv = buf[0] & RSV;
    f->fin = (buf[0] & FIN) != 0;
    return (int)(2 + extended + 4);
}

const char *ws_frame_fault(const uint8_t *buf, size_t len, uint8_t rsv)
{
    const char *fault = start_fault(buf, len, rsv);

    return fault != NULL ? fault : "a length over 2^63, or not in its shortest form";
}

size_t ws_frame_encode(uint8_t out[WS_FRAME_SERVER_HEADER_MAX], enum ws_opcode opcode, uint64_t len)
{
    size_t extended = len < LEN16 ? 0 : len <= 0xffff ? 2 : 8;

    out[0] = (uint8_t)(FIN | opcode);
    out[1] = (uint8_t)(extended == 0 ? len : extended == 2 ? LEN16 : LEN64);
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (extended - 1 - i)));
    return 2 + extended;
}

/* --- unmasking -------------------------------------------------------------------------------- */

/* Each of these unmasks `data[0..len)`, whose first byte has mask[0], and returns the bits that are
 * set in any of its words. */

/* Fewer than 16 bytes. */
static inline uint64_t unmask_short(uint8_t *data, size_t len, const uint8_t mask[4])
{
    uint32_t seen = 0, key, word;
    size_t i = 0;

    memcpy(&key, mask, sizeof key);
    for (; len - i >= 4; i += 4) {
        memcpy(&word, data + i, sizeof word);
        word ^= key;
        memcpy(data + i, &word, sizeof word);
        seen |= word;
    }
    for (; i < len; i++) {
        data[i] ^= mask[i % 4];
        seen |= data[i];
    }
    return seen;
}

/* A multiple of 4 bytes, 16 or more, in vectors that every 64-bit CPU has. The last 16 bytes are
 * read first, since the vector before them may overlap them. */
static inline uint64_t unmask_vectors(uint8_t *data, size_t len, const uint8_t mask[4])
{
    typedef uint32_t vector __attribute__((vector_size(16)));
    const size_t end = len - sizeof(vector);
    vector a, last, seen;
    uint64_t words[2];
    uint32_t key;

    memcpy(&key, mask, sizeof key);
    memcpy(&last, data + end, sizeof last);
    seen = last ^= key;
    for (size_t i = 0; i < end; i += sizeof a) {
        memcpy(&a, data + i, sizeof a);
        a ^= key;
        memcpy(data + i, &a, sizeof a);
        seen |= a;
    }
    memcpy(data + end, &last, sizeof last);
    memcpy(words, &seen, sizeof words);
    return words[0] | words[1];
}

/* A multiple of 64 bytes. Twice as fast from some 300 bytes on: `make bench-codecs`. */
USES_AVX2 static uint64_t unmask_wide(uint8_t *data, size_t len, const uint8_t mask[4])
{
    typedef uint32_t vector __attribute__((vector_size(32)));
    vector a, b, seen = {0};
    uint64_t words[4];
    uint32_t key;

    memcpy(&key, mask, sizeof key);
    for (size_t i = 0; i < len; i += 64) {
        memcpy(&a, data + i, 32);
        memcpy(&b, data + i + 32, 32);
        a ^= key;
        b ^= key;
        seen |= a | b;
        memcpy(data + i, &a, 32);
        memcpy(data + i + 32, &b, 32);
    }
    memcpy(words, &seen, sizeof words);
    return words[0] | words[1] | words[2] | words[3];
}

bool ws_frame_unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t offset)
{
    uint64_t seen = 0;
    size_t done = 0;

    /* Up to the next byte with mask[0]: no byte, unless the payload comes in pieces. */
    for (; len > 0 && offset % 4 != 0; offset++, len--, data++) {
        *data ^= mask[offset % 4];
        seen |= *data;
    }
    if (len >= 128 && has_avx2()) {
        done = (len - 16) / 64 * 64;
        seen |= unmask_wide(data, done, mask);
    }
    if (len >= 16) {
        seen |= unmask_vectors(data + done, (len - done) / 4 * 4, mask);
        done = len - len % 4;
    }
    if (done < len)
        seen |= unmask_short(data + done, len - done, mask);
    return (seen & 0x8080808080808080u) == 0;
}
