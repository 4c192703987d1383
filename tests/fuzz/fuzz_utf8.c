/* SPDX-License-Identifier: MIT
 *
 * utf8.c against a decoder written from RFC 3629 §3 as plainly as can be; whole and in two
 * pieces. */
#include <stdlib.h>

#include "../../utf8.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Length of the character that begins here, 0 when it is none, -1 when the data ends inside it. */
static int character(const uint8_t *p, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0x7fu >> n);

    for (int i = 1; i < n; i++) {
        if ((size_t)i == len)
            return -1;
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 63u);
    }
    if (n == 0 || code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return n;
}

/* Is it a whole text? The unfinished end counts as not whole. */
static bool is_text(const uint8_t *data, size_t len)
{
    while (len > 0) {
        int n = character(data, len);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool feed(struct utf8 *u, const uint8_t *data, size_t len)
{
    uint8_t *copy = exact_copy(data, len);
    bool ok = utf8_feed(u, copy, len);

    free(copy);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct utf8 whole = {0}, pieces = {0};
    size_t split = size == 0 ? 0 : data[size / 2] * size / 256;
    bool ok = feed(&whole, data, size);
    bool ok_pieces = feed(&pieces, data, split) && feed(&pieces, data + split, size - split);

    if (ok != ok_pieces || (ok && whole.state != pieces.state))
        abort();
    if ((ok && utf8_complete(&whole)) != is_text(data, size))
        abort();
    return 0;
}
