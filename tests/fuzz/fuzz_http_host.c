/* SPDX-License-Identifier: MIT
 *
 * http_host.c: a name without a fault is answered once it is listed, whatever its port; and only
 * what ends in localhost, or is an address, is ever local. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../http_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_item(const char *item)
{
    const char *const list[] = {item, NULL};
    char *host = malloc(strlen(item) + sizeof ":65535");

    strcpy(host, item);
    strcat(host, ":65535");
    if (http_host_fault(ws_str(item)) == NULL && strchr(item, '*') == NULL &&
        (!http_host_is_listed(ws_str(item), list) || !http_host_is_listed(ws_str(host), list)))
        abort();
    free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_str host = {(const char *)data, size};
    char *text = calloc(1, size + 1);

    memcpy(text, data, size);
    if (http_host_is_local(host) && strcasestr(text, "localhost") == NULL &&
        strstr(text, "127.") == NULL && strchr(text, '[') == NULL)
        abort();
    if (size > 0 && strlen(text) == size)
        check_item(text);
    free(text);
    return 0;
}
