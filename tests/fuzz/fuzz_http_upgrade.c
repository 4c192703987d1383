/* SPDX-License-Identifier: MIT
 *
 * http_upgrade.c: whatever the request, there is a verdict with its reason; and one verdict,
 * whether the head came whole or byte by byte. Whatever the origin, it is allowed once it is
 * listed, unless the list cannot have it. */
#include <stdlib.h>
#include <string.h>

#include "../../http_upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int scan_bytewise(const char *in, size_t len)
{
    struct http_scan scan = {0};
    int result = HTTP_NEED_MORE;

    for (size_t n = 1; n <= len && result == HTTP_NEED_MORE; n++)
        result = http_head_scan(&scan, in, n);
    return result;
}

static void check_origin(const char *in, size_t size)
{
    char *item = calloc(1, size + 1);
    const char *const list[] = {item, NULL};

    memcpy(item, in, size);
    if (strlen(item) == size && http_origin_fault(ws_str(item)) == NULL &&
        memchr(in, '*', size) == NULL && !http_origin_is_listed((struct ws_str){in, size}, list))
        abort();
    http_origin_is_own((struct ws_str){in, size}, (struct ws_str){in, size / 2},
                       HTTP_SCHEME_UNKNOWN);
    free(item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const origins[] = {"https://a.example", "http://*.b.example", "file://",
                                          NULL};
    static const char *const subprotocols[] = {"chat", "superchat", NULL};
    const struct http_upgrade_policy policy = {.origins = origins, .subprotocols = subprotocols};
    const char *in = (const char *)data, *why = NULL;
    struct http_scan scan = {0};
    struct http_request r;
    struct http_upgrade u;
    int head = http_head_scan(&scan, in, size), status;

    if (size > 0)
        check_origin(in, size);
    if (head != scan_bytewise(in, size))
        abort();
    if (head <= 0)
        return 0;
    if (http_request_parse(&r, in, (size_t)head, &why) != 0) {
        if (why == NULL)
            abort();
        return 0;
    }
    status = http_upgrade_check(&r, &policy, &u);
    if ((status == 101) != (u.why == NULL) || (u.subprotocol != NULL && status != 101) ||
        (u.subprotocol != NULL && !http_upgrade_offers(&r, u.subprotocol)))
        abort();
    return 0;
}
