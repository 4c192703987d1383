/* SPDX-License-Identifier: MIT
 *
 * proxy_protocol.c: one result however the bytes come, and always after PROXY_PROTOCOL_MAX of
 * them. */
#include <stdlib.h>
#include <string.h>

#include "../../proxy_protocol.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_protocol whole = {0}, part = {0};
    int result = proxy_protocol_parse(&whole, data, size);

    if (result > (int)size || (result == PROXY_PROTOCOL_NEED_MORE && size >= PROXY_PROTOCOL_MAX) ||
        whole.skip > UINT16_MAX)
        abort();
    for (size_t n = 0; n < size && n <= PROXY_PROTOCOL_MAX; n++) {
        uint8_t *copy = exact_copy(data, n);
        int early = proxy_protocol_parse(&part, copy, n);

        free(copy);
        if (early == PROXY_PROTOCOL_NEED_MORE)
            continue;
        if (early != result ||
            (early > 0 && (part.skip != whole.skip || part.client.len != whole.client.len ||
                           part.client.port != whole.client.port ||
                           memcmp(part.client.bytes, whole.client.bytes, 16) != 0)))
            abort();
    }
    return 0;
}
