/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <time.h>

#include "http_date.h"

static void dates_are_civil_dates(void **state)
{
    static const struct {
        int64_t seconds;
        const char *date;
    } table[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 §5.6.7 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {68169600, "Tue, 29 Feb 1972 00:00:00 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868799, "Tue, 29 Feb 2000 23:59:59 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, /* 2100 has no leap day */
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *out = malloc(HTTP_DATE_SIZE);

        http_date(out, table[i].seconds);
        assert_string_equal(out, table[i].date);
        free(out);
    }
}

static void now_is_the_time_of_the_clock(void **state)
{
    struct timespec before, after;
    int64_t now;
    (void)state;

    clock_gettime(CLOCK_REALTIME_COARSE, &before);
    now = http_date_now();
    clock_gettime(CLOCK_REALTIME, &after);
    assert_in_range(now, before.tv_sec, after.tv_sec);
}

#include "tests/test_http_date.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
