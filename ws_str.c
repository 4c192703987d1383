/* SPDX-License-Identifier: MIT
 *
 * Slices of text; see ws_str.h. */
#include "ws_str.h"

#include <string.h>

struct ws_str ws_str(const char *text)
{
    return (struct ws_str){.data = text, .len = text == NULL ? 0 : strlen(text)};
}

bool ws_str_is(struct ws_str s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.data, text, s.len) == 0);
}

int ws_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
