/* SPDX-License-Identifier: MIT
 *
 * The library's words for an option and the program's. What the command line makes of good and bad
 * words is in test_minnow.c. */
#define _GNU_SOURCE 1 /* sched_getaffinity; where this file is compiled alone */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "program/minnow_options.h"
#include "program/minnow_user.h"

/* What becomes of `line` in a log. */
static void expect_said(const char *line, const char *said)
{
    struct minnow_log log;
    char text[512];
    int ends[2];
    ssize_t n;

    assert_int_equal(pipe(ends), 0);
    minnow_log_init(&log, ends[1]);
    minnow_options_say(&log, line);
    minnow_log_end(&log);
    minnow_log_release(&log);
    close(ends[1]);
    n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(n > 0);
    text[n - 1] = '\0'; /* the newline */
    assert_string_equal(text, said);
}

static void fields_are_said_as_the_options_that_set_them(void **state)
{
    static const char *const pairs[][2] = {
        {"nothing to name", "nothing to name"},
        {"", ""},
        {"ws_options.max_memory", "--max-memory"},
        {"#1 closed with 1013: full (ws_options.max_queue, ws_options.max_memory)",
         "#1 closed with 1013: full (--max-queue, --max-memory)"},
        {"late (ws_options.handshake_timeout_ms)", "late (--handshake-timeout)"},
        {"rights 01777 are more than 0777 (ws_options.unix_mode)",
         "rights 01777 are more than 0777 (--socket-mode)"},
        {"ws_options.origins would allow it", "--origin would allow it"},
        {"ws_options.hosts would allow it", "--host would allow it"},
        {"ws_options.trust_proxy, ws_options.proxy_header", "--trust-proxy, --proxy-header"},
        {"ws_options.max_per_ip, ws_options.handshake_rate, ws_options.message_rate",
         "--max-per-ip, --handshake-rate, --message-rate"},
        {"ws_options.bind, ws_options.port, ws_options.scheme", "--bind, --port, --scheme"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        expect_said(pairs[i][0], pairs[i][1]);
}

static void what_no_option_sets_is_said_as_it_is(void **state)
{
    static const char *const lines[] = {
        "ws_options.high_water",      "ws_options.", "ws_options.max_memory_of_all",
        "ws_handlers.max_message is", "ws_options",  "ws_options.maxwell and ws_options.log",
    };
    (void)state;

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_said(lines[i], lines[i]);
}

/* Only a socket of its own is given away: what is at the path by now may be another's. */
static void file_that_is_no_socket_is_given_to_nobody(void **state)
{
    static const char *const missing[] = {"127.0.0.1", "unix:/nonexistent/socket", NULL};
    static const char *const other[] = {"unix:/dev/null", NULL};
    const struct minnow_user user = {.uid = geteuid(), .gid = getegid()};
    (void)state;

    assert_null(minnow_user_own(&user, missing + 2));
    assert_ptr_equal(minnow_user_own(&user, missing), missing[1]);
    assert_int_equal(errno, ENOENT);
    assert_ptr_equal(minnow_user_own(&user, other), other[0]);
    assert_int_equal(errno, ENOTSOCK);
}

/* The first look-up of this process: the C library has no descriptor to read the lists with. */
static void list_of_users_that_cannot_be_read_is_no_lack_of_a_user(void **state)
{
    struct rlimit before, none;
    struct minnow_user user;
    const char *why;
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    why = minnow_user_find(&user, "no-such-user-here");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_string_equal(why, strerror(EMFILE));
    assert_string_equal(minnow_user_find(&user, "no-such-user-here"), "no such user");
}

/* The processors that this process may use, not those of the machine. */
static void auto_is_a_worker_for_each_processor_that_may_be_used(void **state)
{
    char name[] = "minnow", workers[] = "--workers", value[] = "auto";
    char *argv[] = {name, workers, value, NULL};
    struct minnow_options o;
    cpu_set_t before, one;
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    minnow_options_parse(&o, 3, argv, false);
    assert_int_equal(o.workers, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    minnow_options_parse(&o, 3, argv, false);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(o.workers, 1);
}

#include "tests/test_minnow_options.list"

int main(void)
{
    return cmocka_run_group_tests_name("minnow_options", tests, NULL, NULL);
}
