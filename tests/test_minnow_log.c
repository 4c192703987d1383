/* SPDX-License-Identifier: MIT
 *
 * The log at streams that take nothing: pipes, terminals, sockets and files that are full, stopped
 * or gone. Whatever would wait here hangs the test. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "program/minnow_log.h"

enum { NOBODY = 65534, SILENCE_MS = 50, TEXT_MAX = 1024 * 1024 };

struct fixture {
    struct minnow_log log;
    int in;  /* where it is read */
    int out; /* what the log was given */
    size_t len;
    char text[TEXT_MAX]; /* what was read so far, and a NUL */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    f->in = f->out = -1;
    f->log.fd = -1;
    *state = f;
    return 0;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    minnow_log_release(&f->log);
    close_end(&f->in);
    close_end(&f->out);
    free(f);
    return 0;
}

/* --- streams ---------------------------------------------------------------------------------- */

static void use_pipe(struct fixture *f)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    f->in = ends[0];
    f->out = ends[1];
    fcntl(f->out, F_SETPIPE_SZ, PIPE_BUF);
    minnow_log_init(&f->log, f->out);
}

/* A pipe of somebody else, which cannot be opened once more. */
static void use_pipe_of_another_user(struct fixture *f)
{
    bool is_root = geteuid() == 0;

    use_pipe(f);
    minnow_log_release(&f->log);
    assert_int_equal(fchmod(f->out, 0), 0);
    if (is_root)
        assert_int_equal(seteuid(NOBODY), 0);
    minnow_log_init(&f->log, f->out);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(f->log.way, MINNOW_LOG_POLLED);
}

static void use_socket(struct fixture *f)
{
    int ends[2];
    int small = 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    f->in = ends[0];
    f->out = ends[1];
    setsockopt(f->out, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    minnow_log_init(&f->log, f->out);
}

static void use_terminal(struct fixture *f)
{
    struct termios raw;

    f->in = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (f->in < 0)
        skip(); /* /dev/pts is not mounted: a bare chroot has no terminals */
    assert_int_equal(grantpt(f->in), 0);
    assert_int_equal(unlockpt(f->in), 0);
    f->out = open(ptsname(f->in), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(f->out >= 0);
    assert_int_equal(tcgetattr(f->out, &raw), 0);
    cfmakeraw(&raw);
    tcsetattr(f->out, TCSANOW, &raw);
    minnow_log_init(&f->log, f->out);
}

static void (*const streams[])(struct fixture *) = {use_pipe, use_pipe_of_another_user, use_socket,
                                                    use_terminal};

/* Read what is there, without waiting. */
static void read_all(struct fixture *f)
{
    ssize_t n;

    fcntl(f->in, F_SETFL, O_NONBLOCK);
    while ((n = read(f->in, f->text + f->len, TEXT_MAX - 1 - f->len)) > 0)
        f->len += (size_t)n;
    f->text[f->len] = '\0';
}

/* Write all and read all. What is written to a terminal arrives a moment later. */
static void drain(struct fixture *f)
{
    struct pollfd come = {.fd = f->in, .events = POLLIN};

    while (minnow_log_flush(&f->log) != 0)
        read_all(f);
    while (poll(&come, 1, SILENCE_MS) > 0)
        read_all(f);
}

/* --- lines ------------------------------------------------------------------------------------ */

static int log_number(struct fixture *f, unsigned n)
{
    minnow_log_add(&f->log, "line %u ", n);
    minnow_log_add_text(&f->log, "with some text that fills it up", 31);
    minnow_log_end(&f->log);
    return minnow_log_flush(&f->log);
}

/* The next line of what was read; NULL at its end. */
static char *next_line(char **at)
{
    char *line = *at;
    char *end = strchr(line, '\n');

    if (end == NULL)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* What was read is lines from 0 to `count`, whole and in order, but for those that one line in
 * their place counts. Returns how many are missing. */
static unsigned check_lines(struct fixture *f, unsigned count)
{
    char *at = f->text;
    unsigned missing = 0;
    unsigned next = 0;
    char expected[128];
    unsigned n;
    char *line;

    while ((line = next_line(&at)) != NULL) {
        if (sscanf(line, "minnow: %u lines of", &n) == 1) {
            snprintf(expected, sizeof expected,
                     "minnow: %u lines of the log were dropped here: nobody read it", n);
            missing += n;
            next += n;
        } else {
            snprintf(expected, sizeof expected, "line %u with some text that fills it up", next++);
        }
        assert_string_equal(line, expected);
    }
    assert_int_equal(*at, '\0');
    assert_int_equal(next, count);
    return missing;
}

static void lines_come_out_whole_and_in_order(void **state)
{
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct fixture *f = *state;

        streams[i](f);
        for (unsigned n = 0; n < 20; n++)
            log_number(f, n);
        drain(f);
        assert_int_equal(check_lines(f, 20), 0);
        teardown(state);
        setup(state);
    }
}

static void lines_that_nobody_reads_are_kept_then_dropped_and_counted(void **state)
{
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct fixture *f = *state;
        unsigned count = 0;

        streams[i](f);
        while (count < 5000)
            log_number(f, count++);
        assert_int_equal(minnow_log_flush(&f->log), EAGAIN);
        assert_true(f->log.dropped > 0);
        drain(f);
        for (int more = 0; more < 3; more++)
            log_number(f, count++);
        drain(f);
        assert_true(check_lines(f, count) > 0);
        teardown(state);
        setup(state);
    }
}

/* Read in pieces of any size, a log that overflows again and again stays in order. */
static void each_gap_has_its_own_count(void **state)
{
    struct fixture *f = *state;
    unsigned count = 0;

    use_pipe(f);
    for (int gap = 0; gap < 4; gap++) {
        for (int n = 0; n < 3000; n++)
            log_number(f, count++);
        drain(f);
    }
    assert_true(check_lines(f, count) > 0);
}

static void the_callers_descriptor_keeps_its_flags(void **state)
{
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct fixture *f = *state;

        streams[i](f);
        while (log_number(f, 0) == 0)
            continue;
        assert_int_equal(fcntl(f->out, F_GETFL) & O_NONBLOCK, 0);
        teardown(state);
        setup(state);
    }
}

/* As Ctrl-S does it. */
static void terminal_that_is_stopped_gets_its_lines_later(void **state)
{
    struct fixture *f = *state;

    use_terminal(f);
    assert_int_equal(tcflow(f->out, TCOOFF), 0);
    assert_int_equal(log_number(f, 0), EAGAIN);
    assert_int_equal(log_number(f, 1), EAGAIN);
    read_all(f);
    assert_int_equal(f->len, 0);
    assert_int_equal(tcflow(f->out, TCOON), 0);
    drain(f);
    assert_int_equal(check_lines(f, 2), 0);
}

static void reader_that_is_gone_is_an_error_and_no_more(void **state)
{
    static const int errors[] = {EPIPE, EPIPE, EPIPE, EIO};

    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct fixture *f = *state;

        streams[i](f);
        close_end(&f->in);
        for (unsigned n = 0; n < 5000; n++)
            assert_int_equal(log_number(f, n), errors[i]);
        teardown(state);
        setup(state);
    }
}

static void closed_descriptor_is_an_error_and_no_more(void **state)
{
    struct fixture *f = *state;

    minnow_log_init(&f->log, 987);
    for (unsigned n = 0; n < 5000; n++)
        assert_int_equal(log_number(f, n), EBADF);
}

/* --- files ------------------------------------------------------------------------------------ */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The line that the limit cuts is finished before another begins. */
static void file_at_its_limit_goes_on_when_it_may_grow(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/minnow-log-XXXXXX";
    unsigned count = 0;

    f->out = mkstemp(path);
    assert_true(f->out >= 0);
    unlink(path);
    minnow_log_init(&f->log, f->out);
    limit_files(1000);
    while (log_number(f, count++) == 0)
        continue;
    while (count < 5000)
        assert_int_equal(log_number(f, count++), EFBIG);
    limit_files(RLIM_INFINITY);
    assert_int_equal(log_number(f, count), 0); /* one more that is dropped, and then the count */
    f->len = (size_t)pread(f->out, f->text, TEXT_MAX - 1, 0);
    assert_int_equal(f->text[f->len - 1], '\n');
    assert_non_null(strstr(f->text, " lines of the log were dropped here: File too large\n"));
}

static void full_disk_is_an_error_and_no_more(void **state)
{
    struct fixture *f = *state;

    f->out = open("/dev/full", O_WRONLY | O_CLOEXEC);
    minnow_log_init(&f->log, f->out);
    for (unsigned n = 0; n < 5000; n++)
        assert_int_equal(log_number(f, n), ENOSPC);
}

/* --- one line --------------------------------------------------------------------------------- */

static void expect_text(struct fixture *f, const char *text)
{
    minnow_log_end(&f->log);
    assert_int_equal(minnow_log_flush(&f->log), 0);
    read_all(f);
    assert_string_equal(f->text, text);
    f->len = 0;
}

static void text_of_a_peer_cannot_drive_the_terminal(void **state)
{
    static const char bad[] = "a\nb\r\x1b[2J\x7f\xc2\x9b"
                              "1m\tz";
    static const char good[] = "caf\xc3\xa9 \xc2\xa0 \xe4\xbd\xa0";
    struct fixture *f = *state;

    use_pipe(f);
    minnow_log_add_text(&f->log, bad, sizeof bad - 1);
    expect_text(f, "a?b??[2J??1m?z\n");
    minnow_log_add_text(&f->log, good, sizeof good - 1);
    expect_text(f, "caf\xc3\xa9 \xc2\xa0 \xe4\xbd\xa0\n");
}

static void line_that_is_too_long_is_cut(void **state)
{
    struct fixture *f = *state;
    char text[MINNOW_LOG_LINE + 100];

    use_pipe(f);
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            minnow_log_add(&f->log, "%s", text);
        else
            minnow_log_add_text(&f->log, text, sizeof text);
        minnow_log_add(&f->log, "behind");
        minnow_log_end(&f->log);
        assert_int_equal(minnow_log_flush(&f->log), 0);
        read_all(f);
        assert_int_equal(f->len, MINNOW_LOG_LINE);
        assert_string_equal(f->text + f->len - 5, "a...\n");
        f->len = 0;
    }
    minnow_log_add(&f->log, "short");
    expect_text(f, "short\n");
}

static void one_line_dropped_is_said_in_the_singular(void **state)
{
    struct fixture *f = *state;

    use_pipe(f);
    while (f->log.dropped == 0)
        log_number(f, 0);
    drain(f);
    assert_non_null(strstr(f->text, "\nminnow: 1 line of the log was dropped here: nobody read"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#include "tests/test_minnow_log.list"

int main(void)
{
    return cmocka_run_group_tests_name("minnow_log", tests, NULL, NULL);
}
