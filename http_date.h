/* SPDX-License-Identifier: MIT
 *
 * A time as HTTP writes it. Not in http.c, which is pure: the calendar is the C library's. */
#ifndef HTTP_DATE_H
#define HTTP_DATE_H

#include <stdint.h>

/* Write `unix_seconds` as IMF-fixdate, RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL.
 * The years are 0000 to 9999; for a time outside of them the nearest that is inside is written. */
enum { HTTP_DATE_SIZE = 30 };
void http_date(char out[HTTP_DATE_SIZE], int64_t unix_seconds);

/* The time now, in 64 bits on 32-bit machines, too. */
int64_t http_date_now(void);

#endif
