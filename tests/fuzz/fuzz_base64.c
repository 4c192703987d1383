/* SPDX-License-Identifier: MIT
 *
 * base64.c: whatever decodes is what its bytes encode to, in place too; and all that is encoded
 * decodes to itself. */
#include <stdlib.h>
#include <string.h>

#include "../../base64.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_then_encode(const uint8_t *data, size_t size)
{
    uint8_t *out = exact_copy(data, size / 4 * 3);
    uint8_t *in_place = exact_copy(data, size);
    ptrdiff_t n = base64_decode(out, (const char *)data, size);
    ptrdiff_t again = base64_decode(in_place, (const char *)in_place, size);

    if (n != again || (n > 0 && memcmp(out, in_place, (size_t)n) != 0))
        abort();
    if (n >= 0) {
        char *text = malloc(size);

        if (base64_encode(text, out, (size_t)n) != size ||
            (size != 0 && memcmp(text, data, size) != 0))
            abort();
        free(text);
    }
    free(out);
    free(in_place);
}

static void encode_then_decode(const uint8_t *data, size_t size)
{
    size_t len = BASE64_ENCODED_SIZE(size);
    char *text = malloc(len);
    uint8_t *out = malloc(len / 4 * 3);

    if (base64_encode(text, data, size) != len ||
        base64_decode(out, text, len) != (ptrdiff_t)size ||
        (size != 0 && memcmp(out, data, size) != 0))
        abort();
    free(text);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_then_encode(data, size);
    encode_then_decode(data, size);
    return 0;
}
