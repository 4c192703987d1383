/* SPDX-License-Identifier: MIT
 *
 * address.c: what the system's parser reads, this reads as the same bytes; what it refuses is
 * refused here, but for the forms with a port, brackets or a zone. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "../../address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_bare(const char *text)
{
    return strpbrk(text, "[]%") == NULL &&
           (strchr(text, ':') == NULL || strchr(text, ':') != strrchr(text, ':'));
}

static void compare(const char *text, size_t len)
{
    struct address a;
    struct address_range r;
    uint8_t v4[4], v6[16];
    bool is4 = inet_pton(AF_INET, text, v4) == 1, is6 = inet_pton(AF_INET6, text, v6) == 1;
    bool read = address_parse(&a, (struct ws_str){text, len});

    if (((is4 || is6) && !read) || (is_bare(text) && read && !is4 && !is6))
        abort();
    if ((is4 && (a.len != 4 || memcmp(a.bytes, v4, 4) != 0)) ||
        (is6 && a.len == 16 && memcmp(a.bytes, v6, 16) != 0) ||
        (is6 && a.len == 4 && memcmp(a.bytes, v6 + 12, 4) != 0))
        abort();
    if (read && is_bare(text) &&
        (!address_range_parse(&r, (struct ws_str){text, len}) || !address_is_in(&a, &r)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address a = {.len = 99};
    struct address_range r;
    char *text;

    if (!address_parse(&a, (struct ws_str){(const char *)data, size}) && a.len != 99)
        abort();
    if (address_range_parse(&r, (struct ws_str){(const char *)data, size}) &&
        (r.bits > r.base.len * 8U || !address_is_in(&r.base, &r)))
        abort();
    text = calloc(1, size + 1);
    memcpy(text, data, size);
    if (size > 0 && strlen(text) == size)
        compare(text, size);
    free(text);
    return 0;
}
