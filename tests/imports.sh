#!/bin/sh
# Can the campaign of faults make every call fail that the product makes of the system? Reads what objects
# import, with nm. What is neither on the list of calls that are wrapped (CALLS in tests/tests.mk) nor on the
# list below of functions that only compute is printed; silent when all is well.
# Usage: CALLS="recv send ..." sh tests/imports.sh OBJECT...
harmless='
    memcpy memmove memset strcpy stpcpy memcmp bcmp memchr memrchr memmem
    strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strstr strspn strcspn
    strtol strtoul strtoull strtod sprintf snprintf vsnprintf inet_ntop
    inet_pton pthread_detach pthread_sigmask sigfillset
    free freeaddrinfo gai_strerror strerror
    abort __assert_fail __errno_location __stack_chk_fail
    clock_gettime time gmtime_r tzset
'
# tzset and the first gmtime_r open the file of the time zone, and do without where they cannot.
# strerror takes memory for a number without a text alone.
mine=$(nm -g --defined-only --format=posix "$@" | awk 'NF >= 2 { print $1 }' | sort -u)
nm -u --format=posix "$@" | awk 'NF == 2 && $2 == "U" { print $1 }' | sort -u |
    sed 's/^__isoc99_//; s/^__isoc23_//; s/^__\(.*\)_chk$/\1/' | {
    wrong=0
    while read -r name; do
        case $name in _GLOBAL_OFFSET_TABLE_ | __asan_* | __ubsan_* | __cpu_model | __sanitizer_*) continue ;; esac
        for known in $CALLS $harmless $mine; do
            [ "$known" = "$name" ] && continue 2
        done
        echo "tests/imports.sh: $name() is neither among the CALLS that can fail nor harmless"
        wrong=1
    done
    exit $wrong
}
