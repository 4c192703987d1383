/* SPDX-License-Identifier: MIT
 *
 * ws_frame.c: a header's verdict does not change once it is there, never needs more than 14 bytes,
 * and what was decoded encodes to the same bytes but for the mask; unmasking is §5.3 byte by byte,
 * in one piece and in two, and tells ASCII. */
#include <stdlib.h>
#include <string.h>

#include "../../ws_frame.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int decode_exact(struct ws_frame *f, const uint8_t *data, size_t len)
{
    uint8_t *copy = exact_copy(data, len);
    int result = ws_frame_decode(f, copy, len, 0);

    free(copy);
    return result;
}

static void check_header(const struct ws_frame *f, const uint8_t *data, size_t len)
{
    uint8_t out[WS_FRAME_SERVER_HEADER_MAX];
    size_t n = ws_frame_encode(out, f->opcode, f->len);

    out[0] = (uint8_t)(f->fin ? out[0] : out[0] & 0x7f);
    out[1] |= 0x80;
    if (n + 4 != len || memcmp(out, data, n) != 0 || memcmp(f->mask, data + n, 4) != 0)
        abort();
}

static void check_payload(const struct ws_frame *f, const uint8_t *data, size_t len)
{
    uint8_t *whole = exact_copy(data, len), *halves = exact_copy(data, len);
    size_t half = len / 2;
    uint8_t all = 0;
    bool ascii = ws_frame_unmask(whole, len, f->mask, f->len);

    ws_frame_unmask(halves, half, f->mask, f->len);
    ws_frame_unmask(halves + half, len - half, f->mask, f->len + half);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = data[i] ^ f->mask[(f->len + i) % 4];

        if (whole[i] != byte || halves[i] != byte)
            abort();
        all |= byte;
    }
    if (ascii != (all < 0x80))
        abort();
    free(whole);
    free(halves);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_frame f;
    int verdict = WS_NEED_MORE;

    for (size_t n = 0; n <= size && n <= WS_FRAME_HEADER_MAX; n++) {
        int result = decode_exact(&f, data, n);

        if ((verdict != WS_NEED_MORE && result != verdict) ||
            (result > 0 && verdict == WS_NEED_MORE && (size_t)result != n))
            abort();
        verdict = result;
    }
    if (verdict == WS_NEED_MORE && size >= WS_FRAME_HEADER_MAX)
        abort();
    if (verdict > 0) {
        check_header(&f, data, (size_t)verdict);
        check_payload(&f, data + verdict, size - (size_t)verdict);
    }
    return 0;
}
