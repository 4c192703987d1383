#!/bin/sh
# Print the list of the tests that a file defines, in their order; see tests/unit.h.
# Usage: sh tests/list.sh tests/test_x.c
cat <<END
/* Made by tests/list.sh of $1. */
#ifndef TEST
#define TEST(name) cmocka_unit_test(name)
#endif

static const struct CMUnitTest tests[] = {
END
sed -n 's/^static void \([a-z0-9_]*\)(void \*\*state)$/    TEST(\1),/p' "$1"
echo '};'
