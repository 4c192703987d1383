/* SPDX-License-Identifier: MIT
 *
 * The time of a response, RFC 9110 §5.6.7; see http_date.h. */
#define _GNU_SOURCE 1 /* gmtime_r, which -std=c11 hides; where this file is compiled alone */
/* The year 2038 on 32-bit machines with glibc. Not in headers: these change the size of structs. */
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS        64
#include "http_date.h"

#include <string.h>
#include <time.h>

static void put_digits(char *out, int n, int digits)
{
    while (digits-- > 0) {
        out[digits] = (char)('0' + n % 10);
        n /= 10;
    }
}

int64_t http_date_now(void)
{
    return (int64_t)time(NULL);
}

void http_date(char out[HTTP_DATE_SIZE], int64_t unix_seconds)
{
    /* The years with four digits: 0000-01-01 to 9999-12-31. Beyond: the nearest. */
    const int64_t first = -INT64_C(62167219200), last = INT64_C(253402300799);
    time_t t = (time_t)(unix_seconds < first ? first : unix_seconds > last ? last : unix_seconds);
    struct tm date;

    gmtime_r(&t, &date); /* fails for years beyond an int alone */
    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", HTTP_DATE_SIZE);
    memcpy(out, &"SunMonTueWedThuFriSat"[3 * date.tm_wday], 3);
    put_digits(out + 5, date.tm_mday, 2);
    memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * date.tm_mon], 3);
    put_digits(out + 12, date.tm_year + 1900, 4);
    put_digits(out + 17, date.tm_hour, 2);
    put_digits(out + 20, date.tm_min, 2);
    put_digits(out + 23, date.tm_sec, 2);
}
