/* SPDX-License-Identifier: MIT
 *
 * UTF-8 by RFC 3629 §4. The state byte says how many continuation bytes are due (low 2 bits) and in
 * which range the next one must lie (the bits above): only the byte after E0, ED, F0 or F4 has a
 * narrower range than 80..BF, and that is where overlong forms, surrogates and numbers over U+10FFFF
 * show. */
#include "utf8.h"

#include <string.h>

enum range { RANGE_ANY, RANGE_E0, RANGE_ED, RANGE_F0, RANGE_F4 };

static uint8_t due(unsigned count, enum range range)
{
    return (uint8_t)(count | (unsigned)range << 2);
}

static const struct {
    uint8_t low;
    uint8_t high;
} ranges[] = {
    [RANGE_ANY] = {0x80, 0xbf}, [RANGE_E0] = {0xa0, 0xbf}, [RANGE_ED] = {0x80, 0x9f},
    [RANGE_F0] = {0x90, 0xbf},  [RANGE_F4] = {0x80, 0x8f},
};

/* The state after the first byte of a character that is not ASCII; 0 when there is no such byte. */
static uint8_t lead(uint8_t byte)
{
    if (byte < 0xc2 || byte > 0xf4)
        return 0;
    if (byte < 0xe0)
        return due(1, RANGE_ANY);
    if (byte < 0xf0)
        return due(2, byte == 0xe0 ? RANGE_E0 : byte == 0xed ? RANGE_ED : RANGE_ANY);
    return due(3, byte == 0xf0 ? RANGE_F0 : byte == 0xf4 ? RANGE_F4 : RANGE_ANY);
}

/* How many bytes from the start are ASCII for sure, in steps of 16. */
static size_t ascii_run(const uint8_t *data, size_t len)
{
    size_t n = 0;

    while (len - n >= 16) {
        uint64_t a;
        uint64_t b;

        memcpy(&a, data + n, 8);
        memcpy(&b, data + n + 8, 8);
        if (((a | b) & 0x8080808080808080u) != 0)
            break;
        n += 16;
    }
    return n;
}

/* Three-byte characters without a special second byte, one after the other, as in Chinese text. */
static size_t triple_run(const uint8_t *data, size_t len)
{
    size_t n = 0;

    while (len - n >= 3 && data[n] > 0xe0 && data[n] < 0xf0 && data[n] != 0xed &&
           (data[n + 1] & 0xc0) == 0x80 && (data[n + 2] & 0xc0) == 0x80)
        n += 3;
    return n;
}

bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t len)
{
    size_t i = 0;
    uint8_t state = u->state;

    while (i < len) {
        if (state == 0) {
            i += ascii_run(data + i, len - i);
            i += triple_run(data + i, len - i);
            if (i == len)
                break;
            if (data[i] >= 0x80 && (state = lead(data[i])) == 0)
                return false;
        } else {
            if (data[i] < ranges[state >> 2].low || data[i] > ranges[state >> 2].high)
                return false;
            state = due((state & 3u) - 1, RANGE_ANY);
        }
        i++;
    }
    u->state = state;
    return true;
}
