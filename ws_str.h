/* SPDX-License-Identifier: MIT
 *
 * A slice of text: the only type for it in the library, internally and in ws.h. Pure. */
#ifndef WS_STR_H
#define WS_STR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Text inside a buffer of another owner; no NUL behind it. */
struct ws_str {
    const char *data; /* NULL when there is no such text */
    size_t len;
};

struct ws_str ws_str(const char *text);            /* borrowed, without its NUL; NULL: no text */
bool ws_str_is(struct ws_str s, const char *text); /* equal, byte by byte */
int ws_hex_value(char c); /* of a hexadecimal digit; -1 for another character */

#ifdef __cplusplus
}
#endif

#endif
