/* SPDX-License-Identifier: MIT
 *
 * The program as its users meet it: the real binary, started with a command line, watched at its
 * streams, its exit status and its sockets. The command line is a contract, so texts are compared
 * to the letter where other programs may rely on them. */
#include "unit.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "forbid.h"
#include "process.h"
#include "raw_client.h"

enum { ARGS_MAX = 16, CLIENTS = 4 };

struct fixture {
    struct process process;
    uint16_t port;
    struct raw_client clients[CLIENTS];
    char directory[32]; /* for Unix sockets; "" until asked for */
    char socket_path[64];
    char socket_argument[80]; /* unix:PATH */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    process_init(&f->process);
    for (size_t i = 0; i < CLIENTS; i++)
        raw_init(&f->clients[i]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unsetenv("POSIXLY_CORRECT"); /* a test may have set it */
    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]);
    process_release(&f->process);
    if (f->directory[0] != '\0') {
        unlink(f->socket_path);
        rmdir(f->directory);
    }
    free(f);
    return 0;
}

/* Start minnow with these arguments, up to ARGS_MAX, the last one NULL. */
static void start(struct fixture *f, const char *const *args)
{
    const char *argv[ARGS_MAX + 2] = {"minnow"};

    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(i < ARGS_MAX);
        argv[i + 1] = args[i];
    }
    process_start(&f->process, "minnow", argv);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Start it on a free port and wait until it is there. */
static void serve(struct fixture *f, const char *const *args)
{
    const char *colon;

    start(f, args);
    colon = strstr(process_line(&f->process, &f->process.out), "127.0.0.1:");
    assert_non_null(colon);
    f->port = (uint16_t)atoi(colon + strlen("127.0.0.1:"));
    assert_int_not_equal(f->port, 0);
}

static struct raw_client *join(struct fixture *f, size_t index, const char *path)
{
    raw_connect(&f->clients[index], f->port);
    raw_upgrade(&f->clients[index], path);
    return &f->clients[index];
}

/* It ends with this status and one line on stderr. */
static void expect_failure(struct fixture *f, int status, const char *wanted)
{
    struct process *p = &f->process;
    const char *line = process_line(p, &p->err);

    if (strstr(line, wanted) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", wanted, line);
    assert_int_equal(process_wait(p), status);
    assert_int_equal(p->err.at, p->err.len);
    assert_int_equal(p->out.len, 0);
}

static void expect_clean_end(struct fixture *f)
{
    for (size_t i = 0; i < CLIENTS; i++)
        raw_close(&f->clients[i]); /* it would wait for their FIN */
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.at, f->process.err.len); /* nothing that was not asked for */
}

/* --- the command line ------------------------------------------------------------------------- */

static void help_goes_to_stdout_and_is_no_failure(void **state)
{
    static const char *const options[] = {"-h", "--help"};

    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = *state;

        start(f, ARGS(options[i]));
        assert_int_equal(process_wait(&f->process), 0);
        assert_int_equal(f->process.err.len, 0);
        assert_non_null(strstr(f->process.out.text, "usage: minnow [echo|chat] [options]"));
        assert_non_null(strstr(f->process.out.text, "--handshake-timeout S  10\n"));
        process_release(&f->process);
    }
}

static void help_is_what_the_readme_shows(void **state)
{
    static const char *const readmes[] = {"README.md", "README.zh-CN.md"};
    struct fixture *f = *state;
    char text[65536];

    if (access("README.md", R_OK) != 0)
        skip(); /* not run from the top of the tree */
    start(f, ARGS("--help"));
    assert_int_equal(process_wait(&f->process), 0);
    for (size_t i = 0; i < 2; i++) {
        FILE *file = fopen(readmes[i], "r");

        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        if (strstr(text, f->process.out.text) == NULL)
            fail_msg("%s does not show:\n%s", readmes[i], f->process.out.text);
    }
}

static void version_goes_to_stdout_and_is_no_failure(void **state)
{
    struct fixture *f = *state;

    start(f, ARGS("--version"));
    assert_int_equal(process_wait(&f->process), 0);
    assert_int_equal(f->process.err.len, 0);
    assert_int_equal(strncmp(f->process.out.text, "minnow ", 7), 0);
}

static const struct {
    const char *args[4];
    const char *named;
} bad_usages[] = {
    {{"--nope"}, "option '--nope'"},
    {{"--max", "1"}, "option '--max'"}, /* one of four */
    {{"-x"}, "option '-x'"},
    {{"-qx"}, "option '-x'"},
    {{"--trace", "-xq"}, "option '-x'"},
    {{"loud"}, "argument 'loud'"},
    {{""}, "argument ''"},
    {{"echo", "chat"}, "argument 'chat'"},
    {{"chat", "chat"}, "argument 'chat'"},
    {{"--quiet=yes"}, "option '--quiet=yes': takes no value"},
    {{"--trace=yes"}, "--trace 'yes': not 'hex', or nothing"},
    {{"--port"}, "option '--port': needs a value"},
    {{"-p"}, "option '-p': needs a value"},
    {{"-qp"}, "option '-qp': needs a value"},
    {{"echo", "-b"}, "option '-b': needs a value"},
    {{"echo", "--bind"}, "option '--bind': needs a value"},
    {{"-\xc3\xa9"}, "option '-\xc3\xa9': unknown"},
    {{"-q\x1b"}, "option '-q?': unknown"},
    {{"--quiet=yes", "chat"}, "option '--quiet=yes': takes no value"},
    {{"--port", "70000"}, "--port '70000'"},
    {{"--port", "65536"}, "--port '65536'"},
    {{"--port", "-1"}, "--port '-1'"},
    {{"--port", " 1"}, "--port ' 1'"},
    {{"--port", "http"}, "--port 'http'"},
    {{"--port", "0x50"}, "--port '0x50'"},
    {{"--port="}, "--port ''"},
    {{"--port", "18446744073709551616"}, "--port '18446744073709551616'"},
    {{"--port", "1\n2"}, "--port '1?2'"},
    {{"-p", "eighty"}, "--port 'eighty'"},
    {{"--bind", ""}, "--bind ''"},
    {{"--socket-mode", "0660"}, "--socket-mode '0660': without --bind unix:PATH"},
    {{"--socket-mode", "999"}, "--socket-mode '999': not an octal mode"},
    {{"--socket-mode", "1777"}, "--socket-mode '1777': not an octal mode"},
    {{"--socket-mode", "0"}, "--socket-mode '0': not an octal mode"},
    {{"--socket-mode", "0x1b0"}, "--socket-mode '0x1b0': not an octal mode"},
    {{"--socket-mode", "u=rw"}, "--socket-mode 'u=rw': not an octal mode"},
    {{"--socket-mode=0555"}, "--socket-mode '0555': lets nobody connect"},
    {{"--origin", "https://example.org/"}, "--origin 'https://example.org/': an origin is"},
    {{"--origin", "https://"}, "--origin 'https://': no host"},
    {{"--origin", "https://a.example,b.example"}, "--origin 'https://a.example,b.example': one"},
    {{"--origin", "*.example.org"}, "--origin '*.example.org': write the scheme, too"},
    {{"--origin", "https://m\xc3\xbcnchen.de"},
     "--origin 'https://m\xc3\xbcnchen.de': write the host"},
    {{"--host", "http://a.example"}, "--host 'http://a.example': no host has such a name"},
    {{"--host", "a.example:80"}, "--host 'a.example:80': a host without a port"},
    {{"--host", "::1"}, "--host '::1': write an IPv6 address in brackets"},
    {{"--host="}, "--host ''"},
    {{"--scheme", "ftp"}, "--scheme 'ftp': neither http nor https"},
    {{"--scheme", "HTTPS"}, "--scheme 'HTTPS'"},
    {{"--scheme="}, "--scheme ''"},
    {{"--subprotocol="}, "--subprotocol ''"},
    {{"--subprotocol", "a b"}, "--subprotocol 'a b'"},
    {{"--subprotocol", "chat,soap"}, "--subprotocol 'chat,soap'"},
    {{"--subprotocol", "chat/1"}, "--subprotocol 'chat/1'"},
    {{"--subprotocol", "caf\xc3\xa9"}, "--subprotocol 'caf\xc3\xa9'"},
    {{"--max-message", "0"}, "--max-message '0'"},
    {{"--max-message", "12X"}, "--max-message '12X'"},
    {{"--max-message", "16MB"}, "--max-message '16MB'"},
    {{"--max-message", "M"}, "--max-message 'M'"},
    {{"--max-message", "1.5M"}, "--max-message '1.5M'"},
    {{"--max-queue", "-1K"}, "--max-queue '-1K'"},
    {{"--max-queue", "18446744073709551616"}, "--max-queue '18446744073709551616'"},
    {{"--max-memory", "17179869184G"}, "--max-memory '17179869184G'"},
    {{"--max-clients", "0"}, "--max-clients '0'"},
    {{"--max-clients", "1K"}, "--max-clients '1K'"},
    {{"--trust-proxy", "proxy.example"}, "--trust-proxy 'proxy.example': neither an address"},
    {{"--trust-proxy", "10.0.0.0/33"}, "--trust-proxy '10.0.0.0/33'"},
    {{"--trust-proxy", "[::1]:80"}, "--trust-proxy '[::1]:80'"},
    {{"--trust-proxy="}, "--trust-proxy ''"},
    {{"--proxy-header", "x-real-ip"}, "--proxy-header 'x-real-ip': none of"},
    {{"--proxy-header", "forwarded"}, "--proxy-header 'forwarded': without --trust-proxy"},
    {{"--max-per-ip", "-1"}, "--max-per-ip '-1': not a number"},
    {{"--max-per-ip", "10%"}, "--max-per-ip '10%'"},
    {{"--handshake-rate", "1000001"}, "--handshake-rate '1000001': not a number from 0 to 1000000"},
    {{"--message-rate", "1/s"}, "--message-rate '1/s'"},
    {{"--message-rate", "0.5"}, "--message-rate '0.5'"},
    {{"--handshake-timeout", "0"}, "--handshake-timeout '0'"},
    {{"--handshake-timeout", "nan"}, "--handshake-timeout 'nan'"},
    {{"--close-timeout", "0x1"}, "--close-timeout '0x1'"},
    {{"--close-timeout", ""}, "--close-timeout ''"},
    {{"--ping-interval", "86401"}, "--ping-interval '86401'"},
    {{"--ping-interval", "1e3"}, "--ping-interval '1e3'"},
    {{"--ping-timeout", "-1"}, "--ping-timeout '-1'"},
    {{"--ping-timeout", "1.2.3"}, "--ping-timeout '1.2.3'"},
    {{"--ping-timeout", "5s"}, "--ping-timeout '5s'"},
    {{"--redis", "localhost:6379"}, "--redis 'localhost:6379': does not begin with redis://"},
    {{"--redis", "http://a"}, "--redis 'http://a': does not begin with redis://"},
    {{"--redis", "redis://"}, "--redis 'redis://': no host"},
    {{"--redis", "redis://:secret@a:x"}, "--redis 'a:x': not a port from 1 to 65535 behind"},
    {{"--redis="}, "--redis ''"},
    {{"--redis", "redis://host", "echo"}, "--redis 'host': echo mode has no rooms to share"},
    {{"--redis-optional"}, "--redis-optional: without --redis"},
    {{"--cluster", "a"}, "--cluster 'a': without --redis"},
    {{"--cluster="}, "--cluster '': not a name of 1 to 100 bytes"},
};

static void bad_usage_is_one_line_that_names_it_and_status_2(void **state)
{
    for (size_t i = 0; i < sizeof bad_usages / sizeof bad_usages[0]; i++) {
        struct fixture *f = *state;

        start(f, bad_usages[i].args);
        expect_failure(f, 2, bad_usages[i].named);
        assert_memory_equal(f->process.err.text, "minnow: ", 8);
        assert_non_null(strstr(f->process.err.text, " (try --help)"));
        process_release(&f->process);
    }
}

static void good_values_in_all_their_forms_are_taken(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("--port=0", "--max-message=1K", "--max-queue", "65536", "--max-memory", "1G",
                  "--max-clients=10", "--handshake-timeout", ".5", "--close-timeout=1.25",
                  "--ping-interval", "86400", "--ping-timeout=0.001", "--no-socketio"));
    expect_clean_end(f);
    process_release(&f->process);

    serve(f, ARGS("-p0", "--message-timeout=2", "--scheme=https", "--bind=127.0.0.1", "--origin",
                  "https://a.example:8443", "--origin=null", "--origin=file://",
                  "--origin=", "--origin=*", "-q", "--", "echo"));
    expect_clean_end(f);
}

/* In an environment that asks for POSIX's ways, options may stand behind the mode all the same. */
static void the_environment_does_not_change_the_command_line(void **state)
{
    struct fixture *f = *state;

    setenv("POSIXLY_CORRECT", "1", 1);
    serve(f, ARGS("echo", "-q", "-p", "0"));
    expect_clean_end(f);
    process_release(&f->process);

    serve(f, ARGS("-q", "-p", "0", "--", "echo"));
    expect_clean_end(f);
    process_release(&f->process);

    start(f, ARGS("echo", "--", "-q"));
    expect_failure(f, 2, "argument '-q'");
}

static void a_port_in_use_is_named_with_status_1_even_when_quiet(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {0};
    char port[8];
    char named[64];

    serve(f, ARGS("-p", "0"));
    snprintf(port, sizeof port, "%u", f->port);
    snprintf(named, sizeof named, "127.0.0.1 port %s", port);
    process_init(&other.process);
    start(&other, ARGS("-p", port));
    expect_failure(&other, 1, named);
    process_release(&other.process);
    start(&other, ARGS("-q", "-p", port));
    expect_failure(&other, 1, named);
    process_release(&other.process);
    expect_clean_end(f);
}

static void use_stderr_without_reader(void)
{
    int ends[2];

    if (pipe(ends) != 0)
        _exit(127);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
}

/* As where the reader of the log has gone: nobody reads why, but the status still says it. */
static void failures_have_their_status_though_nobody_reads_stderr(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {0};
    char port[8];

    serve(f, ARGS("-p", "0"));
    snprintf(port, sizeof port, "%u", f->port);
    process_init(&other.process);
    other.process.in_child = use_stderr_without_reader;
    start(&other, ARGS("-p", port));
    assert_int_equal(process_wait(&other.process), 1);
    process_release(&other.process);
    other.process.in_child = use_stderr_without_reader;
    start(&other, ARGS("--nope"));
    assert_int_equal(process_wait(&other.process), 2);
    process_release(&other.process);
    expect_clean_end(f);
}

static void an_address_that_cannot_be_is_named_with_status_1(void **state)
{
    struct fixture *f = *state;
    char path[256];

    start(f, ARGS("-p", "0", "--bind", "256.1.1.1"));
    expect_failure(f, 1, "256.1.1.1");
    process_release(&f->process);

    start(f, ARGS("--bind", "unix:/nonexistent/directory/socket"));
    expect_failure(f, 1, "unix:/nonexistent/directory/socket");
    process_release(&f->process);

    memset(path, 'a', sizeof path);
    memcpy(path, "unix:/", 6);
    path[sizeof path - 1] = '\0';
    start(f, ARGS("--bind", path));
    expect_failure(f, 1, path);
}

static void a_list_that_is_too_long_is_bad_usage(void **state)
{
    static const char *const options[] = {"--bind=127.0.0.1", "--origin=null", "--subprotocol=a",
                                          "--host=a", "--trust-proxy=::1"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *argv[1 + 65 + 1] = {"minnow"};

        for (size_t k = 1; k <= 65; k++)
            argv[k] = options[i];
        process_start(&f->process, "minnow", argv);
        expect_failure(f, 2, "too many of these");
        process_release(&f->process);
    }
}

static void forbid_getrandom(void)
{
    forbid(SYS_getrandom);
}

static void forbid_signalfd(void)
{
    forbid(SYS_signalfd4);
}

static void forbid_socket(void)
{
    forbid(SYS_socket);
#ifdef SYS_socketcall /* glibc calls that on i386 */
    forbid(SYS_socketcall);
#endif
}

static void forbid_epoll_wait(void)
{
#ifdef SYS_epoll_wait
    forbid(SYS_epoll_wait);
#endif
    forbid(SYS_epoll_pwait);
}

/* One line on stderr says what cannot be, and the reason that the system gives. */
static void what_the_system_forbids_is_said_with_status_1(void **state)
{
    static const struct {
        void (*in_child)(void);
        const char *line;
    } rows[] = {
        {forbid_signalfd, "minnow: cannot start: Operation not permitted"},
        {forbid_socket, "minnow: cannot listen on 127.0.0.1 port 0: socket: Operation not "
                        "permitted"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        f->process.in_child = rows[i].in_child;
        start(f, ARGS("-p", "0"));
        expect_failure(f, 1, rows[i].line);
        process_release(&f->process);
    }
    f->process.in_child = forbid_epoll_wait;
    serve(f, ARGS("-q", "-p", "0"));
    process_expect_line(&f->process, &f->process.err,
                        "minnow: cannot go on: Operation not permitted");
    assert_int_equal(process_wait(&f->process), 1);
}

/* The first gmtime_r() of a process opens the file that TZ names. A server that is confined once it
 * has started could not: it must have happened before. */
static void no_file_is_opened_for_the_date_of_a_response(void **state)
{
    char zone[] = "/tmp/minnow-test-XXXXXX";
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    int watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    struct raw_response r;
    char date[64];
    char event[512];

    assert_true(watcher >= 0);
    close(mkstemp(zone));
    setenv("TZ", zone, 1);
    serve(f, ARGS("-p", "0"));
    unsetenv("TZ");
    assert_true(inotify_add_watch(watcher, zone, IN_OPEN) >= 0);
    raw_connect(c, f->port);
    raw_send_text(c, "GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 404);
    assert_true(raw_header(&r, "Date", date, sizeof date));
    assert_int_equal(read(watcher, event, sizeof event), -1);
    assert_int_equal(errno, EAGAIN);
    expect_clean_end(f);
    close(watcher);
    unlink(zone);
}

static void memory_that_is_too_little_for_socketio_is_said_with_status_1(void **state)
{
    struct fixture *f = *state;

    start(f, ARGS("-p", "0", "--max-memory", "1"));
    expect_failure(f, 1, "emory"); /* as libc has it */
    assert_memory_equal(f->process.err.text, "minnow: cannot start: ", 22);
}

/* Whether it can do without is not asked here (if so, stdout ends it), but whoever reads "out of
 * memory" looks in the wrong place. */
static void without_random_bytes_it_does_not_speak_of_memory(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;
    const char *line;

    p->in_child = forbid_getrandom;
    p->stdout_path = "/dev/full";
    start(f, ARGS("-p", "0"));
    line = process_line(p, &p->err);
    if (strstr(line, "memory") != NULL)
        fail_msg("it says: %s", line);
    assert_int_equal(process_wait(p), 1);
}

static void a_full_stdout_is_a_failure(void **state)
{
    static const char *const rows[][3] = {{"--help"}, {"--version"}, {"-p", "0"}};

    for (size_t i = 0; i < 3; i++) {
        struct fixture *f = *state;

        f->process.stdout_path = "/dev/full";
        start(f, rows[i]);
        expect_failure(f, 1, "stdout");
        process_release(&f->process);
    }
}

/* --- the first line --------------------------------------------------------------------------- */

static void the_first_line_names_the_mode_and_the_real_port(void **state)
{
    static const char *const rows[][4] = {
        {"-p", "0"}, {"-p", "0", "chat"}, {"echo", "-p", "0"}, {"-q", "-p", "0"}};
    static const char *const modes[] = {"chat", "chat", "echo", "chat"};

    for (size_t i = 0; i < 4; i++) {
        struct fixture *f = *state;
        unsigned port = 0;
        char expected[128];
        const char *line;

        start(f, rows[i]);
        line = process_line(&f->process, &f->process.out);
        sscanf(line, "minnow: %*4s on http://127.0.0.1:%u/", &port);
        snprintf(expected, sizeof expected,
                 "minnow: %s on http://127.0.0.1:%u/ (ws://127.0.0.1:%u/)", modes[i], port, port);
        assert_string_equal(line, expected);
        f->port = (uint16_t)port;
        join(f, 0, "/");
        raw_close(&f->clients[0]);
        process_release(&f->process);
    }
}

static const char *socket_argument(struct fixture *f)
{
    strcpy(f->directory, "/tmp/minnow-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->socket_path, sizeof f->socket_path, "%s/socket", f->directory);
    snprintf(f->socket_argument, sizeof f->socket_argument, "unix:%s", f->socket_path);
    return f->socket_argument;
}

static void connect_to_socket(struct fixture *f, size_t index)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    snprintf(un.sun_path, sizeof un.sun_path, "%s", f->socket_path);
    raw_connect_to(&f->clients[index], (const struct sockaddr *)&un, sizeof un, 0);
}

static void each_address_has_its_line_and_answers(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const char *argument = socket_argument(f);
    char expected[128];

    if (!raw_has_ipv6())
        skip();
    serve(f, ARGS("-p", "0", "-b", "127.0.0.1", "-b", "::1", "-b", argument));
    snprintf(expected, sizeof expected, "minnow: chat on http://[::1]:%u/ (ws://[::1]:%u/)",
             f->port, f->port);
    process_expect_line(p, &p->out, expected);
    snprintf(expected, sizeof expected, "minnow: chat on %s", argument);
    process_expect_line(p, &p->out, expected);

    join(f, 0, "/here");
    v6.sin6_port = htons(f->port);
    raw_connect_to(&f->clients[1], (const struct sockaddr *)&v6, sizeof v6, 0);
    raw_upgrade(&f->clients[1], "/here");
    connect_to_socket(f, 2);
    raw_upgrade(&f->clients[2], "/here");
    raw_send_message(&f->clients[2], "from the Unix socket");
    for (size_t i = 0; i < 3; i++)
        raw_expect_message(&f->clients[i], "from the Unix socket");
    process_signal(p, SIGTERM);
    for (size_t i = 0; i < 3; i++) {
        raw_expect_close(&f->clients[i], 1001);
        raw_close(&f->clients[i]);
    }
    assert_int_equal(process_wait(p), 0);
    assert_int_not_equal(access(f->socket_path, F_OK), 0); /* it leaves nothing behind */
}

static void the_mode_of_the_socket_is_the_umasks_or_the_one_given(void **state)
{
    static const struct {
        const char *option;
        unsigned mode;
    } rows[] = {{NULL, 0750}, {"--socket-mode=0660", 0660}, {"--socket-mode=666", 0666}};
    struct fixture *f = *state;
    mode_t before = umask(027);

    socket_argument(f);
    for (size_t i = 0; i < 3; i++) {
        struct stat st;

        start(f, ARGS("-b", f->socket_argument, rows[i].option));
        assert_non_null(strstr(process_line(&f->process, &f->process.out), f->socket_path));
        assert_int_equal(lstat(f->socket_path, &st), 0);
        assert_int_equal(st.st_mode & 07777, rows[i].mode);
        expect_clean_end(f);
        process_release(&f->process);
    }
    umask(before);
}

/* How many of them have ended. */
static size_t count_ended(struct process *processes, size_t count)
{
    size_t ended = 0;

    for (size_t i = 0; i < count; i++)
        ended += !process_is_running(&processes[i]);
    return ended;
}

static void of_several_started_at_once_on_a_stale_socket_one_serves(void **state)
{
    enum { ROUNDS = 10, RACERS = 4 };
    struct fixture *f = *state;
    const char *const argv[] = {"minnow", "-b", socket_argument(f), NULL};
    struct process racers[RACERS];

    for (int round = 0; round < ROUNDS; round++) {
        int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;

        for (size_t i = 0; i < RACERS; i++) {
            process_init(&racers[i]);
            process_start(&racers[i], "minnow", argv);
        }
        while (count_ended(racers, RACERS) < RACERS - 1 && raw_now_ms() < deadline)
            poll(NULL, 0, 10);
        assert_int_equal(count_ended(racers, RACERS), RACERS - 1);
        for (size_t i = 0; i < RACERS; i++) {
            if (process_is_running(&racers[i])) {
                process_line(&racers[i], &racers[i].out);
                process_signal(&racers[i], round % 2 == 0 ? SIGKILL : SIGTERM); /* stale, or none */
                assert_int_equal(process_wait(&racers[i]), round % 2 == 0 ? -SIGKILL : 0);
            } else {
                assert_non_null(strstr(process_line(&racers[i], &racers[i].err), argv[2]));
                assert_int_equal(process_wait(&racers[i]), 1);
            }
            process_release(&racers[i]);
        }
        assert_int_equal(access(f->socket_path, F_OK) == 0, round % 2 == 0);
    }
}

static void the_descriptor_limit_is_raised_and_the_clients_it_allows_are_said(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;

    p->files_soft = 64;
    p->files_hard = 256;
    serve(f, ARGS("-p", "0"));
    process_expect_line(p, &p->out, "minnow: up to 224 clients"); /* 32 are kept back */
    expect_clean_end(f);
    process_release(p);

    p->files_soft = 64;
    p->files_hard = 256;
    serve(f, ARGS("-p", "0", "--max-clients", "1000"));
    process_expect_line(p, &p->out, "minnow: up to 224 clients");
    expect_clean_end(f);
    process_release(p);

    serve(f, ARGS("-p", "0", "--max-clients", "7"));
    process_expect_line(p, &p->out, "minnow: up to 7 clients");
    expect_clean_end(f);
    process_release(p);

    serve(f, ARGS("-q", "-p", "0"));
    process_signal(p, SIGTERM);
    assert_int_equal(process_wait(p), 0);
    assert_int_equal(p->out.at, p->out.len); /* the first line was the only one */
}

/* --- echo and chat ---------------------------------------------------------------------------- */

static void echo_goes_back_to_its_sender_alone(void **state)
{
    static const uint8_t binary[] = {0x00, 0xff, 0x80};
    struct fixture *f = *state;

    serve(f, ARGS("echo", "-p", "0"));
    join(f, 0, "/same");
    join(f, 1, "/same");
    raw_send_message(&f->clients[0], "one");
    raw_send_frame(&f->clients[0], RAW_BINARY, binary, sizeof binary);
    raw_send_message(&f->clients[0], "");
    raw_expect_message(&f->clients[0], "one");
    raw_expect_frame(&f->clients[0], RAW_BINARY, binary, sizeof binary);
    raw_expect_message(&f->clients[0], "");
    raw_send_message(&f->clients[1], "two"); /* the first thing that this one gets is its own */
    raw_expect_message(&f->clients[1], "two");
    expect_clean_end(f);
}

static void chat_reaches_everybody_on_the_same_path_and_nobody_else(void **state)
{
    static const uint8_t binary[] = {0x00, 0xff, 0x80};
    struct fixture *f = *state;

    serve(f, ARGS("-p", "0"));
    join(f, 0, "/tea");
    join(f, 1, "/tea?name=x"); /* the query is not part of the path */
    join(f, 2, "/teapot");
    raw_expect_echo(&f->clients[0], "milk?");
    raw_expect_message(&f->clients[1], "milk?");
    raw_send_frame(&f->clients[1], RAW_BINARY, binary, sizeof binary);
    raw_expect_frame(&f->clients[0], RAW_BINARY, binary, sizeof binary);
    raw_expect_frame(&f->clients[1], RAW_BINARY, binary, sizeof binary);
    raw_expect_echo(&f->clients[2], "short and stout");
}

/* "/aaa...", which fills `size` bytes with its NUL. */
static void make_path(char *path, size_t size)
{
    memset(path, 'a', size);
    path[0] = '/';
    path[size - 1] = '\0';
}

static void rooms_with_the_longest_names_are_kept_apart(void **state)
{
    struct fixture *f = *state;
    char path[8192 + 1]; /* the longest target that HTTP accepts here */

    make_path(path, sizeof path);
    serve(f, ARGS("-p", "0"));
    join(f, 0, path);
    join(f, 1, path);
    path[sizeof path - 2] = 'b';
    join(f, 2, path);
    raw_expect_echo(&f->clients[0], "to a");
    raw_expect_message(&f->clients[1], "to a");
    raw_expect_echo(&f->clients[2], "to b");
}

/* --- the log ---------------------------------------------------------------------------------- */

static unsigned local_port(const struct raw_client *c)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof a;

    assert_int_equal(getsockname(c->fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

/* "minnow: #1 127.0.0.1:PORT opened /room", with "opened /room" given. */
static void expect_visit(struct fixture *f, unsigned id, unsigned port, const char *rest)
{
    char expected[512];

    snprintf(expected, sizeof expected, "minnow: #%u 127.0.0.1:%u %s", id, port, rest);
    process_expect_line(&f->process, &f->process.err, expected);
}

/* Connect a client, whose number is one more than its index, and expect its line. Returns its
 * port. */
static unsigned visit(struct fixture *f, size_t index, const char *path, const char *opened)
{
    unsigned port = local_port(join(f, index, path));

    expect_visit(f, (unsigned)index + 1, port, opened);
    return port;
}

static void send_close(struct raw_client *c, unsigned code, const char *reason)
{
    struct raw_bytes bye = {0};

    raw_bytes_close(&bye, code, reason);
    raw_send_bytes(c, &bye);
    raw_bytes_release(&bye);
}

static void verbose_logs_each_connection_at_both_ends(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    unsigned port;

    serve(f, ARGS("-v", "-p", "0"));
    port = visit(f, 0, "/room?name=x", "opened /room");
    raw_send_message(c, "four");
    raw_send_message(c, "five!");
    send_close(c, 1000, "that's all");
    expect_visit(f, 1, port, "closed /room: 1000 \"that's all\", 2 messages, 9 bytes received");

    c = &f->clients[1];
    port = visit(f, 1, "/", "opened /");
    raw_send_message(c, "1");
    raw_send_close(c, 0);
    expect_visit(f, 2, port, "closed /: 1005 \"\", 1 message, 1 byte received");
    expect_clean_end(f);
}

/* The system has forgotten the address of a peer that is lost; the log has not. */
static void verbose_logs_a_lost_connection_with_its_address(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    unsigned port;

    serve(f, ARGS("--verbose", "echo", "-p", "0"));
    port = visit(f, 0, "/lost", "opened /lost");
    raw_reset(c);
    expect_visit(f, 1, port, "closed /lost: 1006 \"\", 0 messages, 0 bytes received");
    expect_clean_end(f);
}

static void a_peer_cannot_drive_the_terminal_or_forge_a_line(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    unsigned port;

    serve(f, ARGS("-v", "-p", "0"));
    port = visit(f, 0, "/", "opened /");
    send_close(c, 3000, "\x1b[31m\nminnow: \x7f\xc2\x9b \xe9\xb1\xbc");
    expect_visit(f, 1, port,
                 "closed /: 3000 \"?[31m?minnow: ?? \xe9\xb1\xbc\", 0 messages, "
                 "0 bytes received");
}

static void a_long_path_is_cut_in_the_log(void **state)
{
    struct fixture *f = *state;
    char path[1001];
    char rest[256];

    make_path(path, sizeof path);
    serve(f, ARGS("-v", "-p", "0"));
    join(f, 0, path);
    snprintf(rest, sizeof rest, "opened %.200s...", path);
    expect_visit(f, 1, local_port(&f->clients[0]), rest);
    path[200] = '\0';
    join(f, 1, path);
    snprintf(rest, sizeof rest, "opened %.200s", path);
    expect_visit(f, 2, local_port(&f->clients[1]), rest);
}

static void without_verbose_an_orderly_connection_leaves_no_line(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    serve(f, ARGS("-p", "0"));
    c = join(f, 0, "/");
    raw_expect_echo(c, "hello");
    raw_send_close(c, 1000);
    raw_expect_closed(c, 1000);
    raw_reset(join(f, 1, "/"));
    expect_clean_end(f);
    assert_int_equal(f->process.err.len, 0);
}

/* What is no error of the server is its client's affair, and said only to who asks. */
static void verbose_says_why_a_connection_was_failed(void **state)
{
    static const uint8_t unmasked[] = {0x81, 0x01, 'x'};
    struct fixture *f = *state;
    unsigned port;

    serve(f, ARGS("-p", "0"));
    raw_send(join(f, 0, "/"), unmasked, sizeof unmasked);
    raw_expect_close(&f->clients[0], 1002);
    expect_clean_end(f);
    assert_int_equal(f->process.err.len, 0);
    process_release(&f->process);

    serve(f, ARGS("-v", "-p", "0"));
    port = visit(f, 0, "/", "opened /");
    raw_send(&f->clients[0], unmasked, sizeof unmasked);
    raw_expect_close(&f->clients[0], 1002);
    expect_visit(f, 1, port, "failed with 1002: a client's frame without a mask");
}

/* A handshake with one line in it that asks for this refusal. */
static void be_refused(struct fixture *f, const char *more, int status)
{
    struct raw_client *c = &f->clients[0];
    struct raw_bytes b = {0};
    struct raw_response r;

    raw_connect(c, f->port);
    raw_bytes_upgrade(&b, "/", more);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
    raw_expect_status(c, &r, status);
    raw_close(c);
}

static void a_refused_handshake_always_says_why(void **state)
{
    struct fixture *f = *state;
    const char *line;

    serve(f, ARGS("-p", "0"));
    be_refused(f, "Sec-WebSocket-Key: again\r\n", 400);
    line = process_line(&f->process, &f->process.err);
    assert_non_null(strstr(line, "minnow: #1 127.0.0.1:"));
    assert_non_null(strstr(line, "400"));
    assert_non_null(strstr(line, "Sec-WebSocket-Key"));
    be_refused(f, "Origin: http://elsewhere.example\r\n", 403);
    line = process_line(&f->process, &f->process.err);
    assert_non_null(strstr(line, "403"));
    assert_non_null(strstr(line, "--origin"));
    assert_non_null(strstr(line, "http://elsewhere.example"));
    expect_clean_end(f);
}

static void quiet_says_nothing_of_refusals_and_the_last_of_q_and_v_counts(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("-v", "-q", "-p", "0"));
    be_refused(f, "Origin: http://elsewhere.example\r\n", 403);
    join(f, 1, "/");
    expect_clean_end(f);
    assert_int_equal(f->process.err.len, 0);
    process_release(&f->process);

    serve(f, ARGS("-q", "-v", "-p", "0"));
    join(f, 1, "/");
    expect_visit(f, 1, local_port(&f->clients[1]), "opened /");
}

static void expect_log(struct fixture *f, const char *line)
{
    process_expect_line(&f->process, &f->process.err, line);
}

static void trace_shows_each_frame_in_both_directions_even_when_quiet(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;

    serve(f, ARGS("echo", "--trace", "-q", "-p", "0"));
    c = join(f, 0, "/");
    raw_send_message(c, "Hello");
    expect_log(f, "minnow: #1 <- TEXT fin=1 rsv=0 opcode=1 masked=1 len=5 \"Hello\"");
    expect_log(f, "minnow: #1 -> TEXT fin=1 rsv=0 opcode=1 masked=0 len=5 \"Hello\"");
    raw_send_frame(c, RAW_BINARY_PART, "a\nb\xff", 4);
    expect_log(f, "minnow: #1 <- BINARY fin=0 rsv=0 opcode=2 masked=1 len=4 \"a.b.\"");
    raw_send_frame(c, RAW_PING, "?", 1);
    expect_log(f, "minnow: #1 <- PING fin=1 rsv=0 opcode=9 masked=1 len=1 \"?\"");
    expect_log(f, "minnow: #1 -> PONG fin=1 rsv=0 opcode=10 masked=0 len=1 \"?\"");
    send_close(c, 3001, "bye");
    expect_log(f, "minnow: #1 <- CLOSE fin=1 rsv=0 opcode=8 masked=1 len=5 code=3001 \"bye\"");
    expect_log(f, "minnow: #1 -> CLOSE fin=1 rsv=0 opcode=8 masked=0 len=5 code=3001 \"bye\"");
    expect_clean_end(f);
}

static void trace_with_hex_shows_the_bytes_of_each_field(void **state)
{
    static const char *const lines[] = {
        "minnow: #1 <- TEXT fin=1 rsv=0 opcode=1 masked=1 len=5 \"Hello\"",
        "minnow: #1    81                                       fin=1 rsv=0 opcode=1",
        "minnow: #1    85                                       masked=1 len=5",
        "minnow: #1    37 fa 21 3d                              masking key",
        "minnow: #1    7f 9f 4d 51 58                           payload, masked",
        "minnow: #1    48 65 6c 6c 6f                           payload, unmasked",
        "minnow: #1 -> TEXT fin=1 rsv=0 opcode=1 masked=0 len=5 \"Hello\"",
        "minnow: #1    81                                       fin=1 rsv=0 opcode=1",
        "minnow: #1    05                                       masked=0 len=5",
        "minnow: #1    48 65 6c 6c 6f                           payload",
        "minnow: #1 <- BINARY fin=1 rsv=0 opcode=2 masked=1 len=200 ...",
        "minnow: #1    82                                       fin=1 rsv=0 opcode=2",
        "minnow: #1    fe 00 c8                                 masked=1 len=200",
        "minnow: #1    6d 61 73 6b                              masking key",
    };
    struct fixture *f = *state;

    serve(f, ARGS("echo", "--trace=hex", "-p", "0"));
    join(f, 0, "/");
    raw_send(&f->clients[0], "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    raw_expect_message(&f->clients[0], "Hello");
    raw_send(&f->clients[0], "\x82\xfe\x00\xc8mask", 8);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_log(f, lines[i]);
    expect_clean_end(f);
}

static void trace_shows_what_goes_to_a_room_and_cuts_what_is_long(void **state)
{
    struct fixture *f = *state;
    char text[301];

    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    serve(f, ARGS("--trace", "-p", "0"));
    join(f, 0, "/");
    raw_send_message(&f->clients[0], text);
    expect_log(f, "minnow: #1 <- TEXT fin=1 rsv=0 opcode=1 masked=1 len=300 "
                  "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"...");
    expect_log(f, "minnow: #1 -> TEXT fin=1 rsv=0 opcode=1 masked=0 len=300 "
                  "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"...");
    raw_send(&f->clients[0], "\x82\x85mask", 6); /* the payload may be long in coming */
    expect_log(f, "minnow: #1 <- BINARY fin=1 rsv=0 opcode=2 masked=1 len=5 ...");
    expect_clean_end(f);
}

static void trace_shows_the_bytes_of_an_illegal_frame(void **state)
{
    static const uint8_t unmasked_with_rsv1[] = {0xc1, 0x01, 'x'};
    struct fixture *f = *state;

    serve(f, ARGS("--trace", "-p", "0"));
    join(f, 0, "/");
    raw_send(&f->clients[0], unmasked_with_rsv1, sizeof unmasked_with_rsv1);
    raw_expect_close(&f->clients[0], 1002);
    expect_log(f, "minnow: #1 <- illegal fin=1 rsv=4 opcode=1, bytes c1 01 78");
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "-> CLOSE"));
    expect_clean_end(f);
}

/* Whoever reads the log may go; the server stays. */
static void a_log_that_nobody_reads_any_more_ends_nothing(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;

    serve(f, ARGS("echo", "-v", "-p", "0"));
    close(p->err.fd);
    p->err.fd = -1;
    join(f, 0, "/");
    raw_expect_echo(&f->clients[0], "still there?");
    raw_close(&f->clients[0]);
    process_signal(p, SIGTERM);
    assert_int_equal(process_wait(p), 0);
}

/* Each of these connections is two lines of about 250 bytes; all are more than a pipe of one page
 * and the 64 KiB that the program keeps. */
enum { LOUD_CONNECTIONS = 300 };

static void log_much(struct fixture *f)
{
    char path[300];

    make_path(path, sizeof path);
    for (int i = 0; i < LOUD_CONNECTIONS; i++) {
        join(f, 0, path);
        raw_close(&f->clients[0]);
    }
}

static void expect_answer(struct fixture *f, size_t index)
{
    struct raw_client *c = join(f, index, "/");

    raw_expect_echo(c, "still there?");
    raw_close(c);
}

/* It ends although nobody reads what it has to say. */
static void expect_end_unread(struct fixture *f)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;

    process_signal(&f->process, SIGTERM);
    while (process_is_running(&f->process) && raw_now_ms() < deadline)
        poll(NULL, 0, 10);
    assert_false(process_is_running(&f->process));
    assert_int_equal(process_wait(&f->process), 0);
}

static void serve_with_a_small_pipe(struct fixture *f)
{
    serve(f, ARGS("echo", "-v", "-p", "0"));
    assert_true(fcntl(f->process.err.fd, F_SETPIPE_SZ, 4096) > 0);
}

static void a_log_that_nobody_reads_stops_neither_the_service_nor_its_end(void **state)
{
    struct fixture *f = *state;

    serve_with_a_small_pipe(f);
    log_much(f);
    expect_answer(f, 1);
    expect_end_unread(f);
}

static void lines_that_were_dropped_are_counted_once_the_log_is_read(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;
    unsigned lines = 0;
    unsigned dropped = 0;

    serve_with_a_small_pipe(f);
    log_much(f);
    join(f, 1, "/last");
    while (lines + dropped < 2 * LOUD_CONNECTIONS + 1) {
        const char *line = process_line(p, &p->err);
        unsigned n;

        if (sscanf(line, "minnow: %u lines of the log were dropped here: nobody read it", &n) == 1)
            dropped += n;
        else if (sscanf(line, "minnow: #%u 127.0.0.1:", &n) == 1)
            lines++;
        else
            fail_msg("no whole line: %s", line);
    }
    assert_true(dropped > 0);
    assert_int_equal(lines + dropped, 2 * LOUD_CONNECTIONS + 1);
    raw_close(&f->clients[1]);
    assert_non_null(strstr(process_line(p, &p->err), "closed /last"));
    expect_clean_end(f);
}

/* As Ctrl-S does it. */
static void a_terminal_that_is_stopped_stops_neither_the_service_nor_its_end(void **state)
{
    struct fixture *f = *state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char path[64];
    int terminal;

    if (master < 0)
        skip(); /* /dev/pts is not mounted: a bare chroot has no terminals */
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(ptsname_r(master, path, sizeof path), 0);
    terminal = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    assert_int_equal(tcflow(terminal, TCOOFF), 0);
    f->process.stderr_path = path;
    serve(f, ARGS("echo", "-v", "-p", "0"));
    log_much(f);
    expect_answer(f, 1);
    expect_end_unread(f);
    close(terminal);
    close(master);
}

enum { LOG_FILE_MAX = 32768 };

static void limit_files(void)
{
    const struct rlimit limit = {.rlim_cur = LOG_FILE_MAX, .rlim_max = LOG_FILE_MAX};

    setrlimit(RLIMIT_FSIZE, &limit);
}

static off_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* `ulimit -f`, and then somebody makes room, as logrotate does with copytruncate. */
static void a_log_file_at_its_limit_ends_nothing_and_goes_on_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;
    char path[] = "/tmp/minnow-test-XXXXXX";
    char text[LOG_FILE_MAX + 1] = "";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    f->process.in_child = limit_files;
    f->process.stderr_path = path;
    serve(f, ARGS("echo", "-v", "-p", "0"));
    log_much(f);
    expect_answer(f, 1);
    assert_int_equal(size_of(path), LOG_FILE_MAX);
    while (strstr(text, " lines of the log were dropped here: File too large\n") == NULL &&
           raw_now_ms() < deadline) {
        if (size_of(path) == LOG_FILE_MAX)
            assert_int_equal(ftruncate(fd, 0), 0);
        poll(NULL, 0, 10);
        text[pread(fd, text, LOG_FILE_MAX, 0)] = '\0';
    }
    assert_true(raw_now_ms() < deadline);
    expect_clean_end(f);
    close(fd);
    unlink(path);
}

/* One pipe for both streams, which is full before the program writes to it. */
static void fill_stdout_and_use_it_twice(void)
{
    char page[4096];

    memset(page, 'x', sizeof page);
    page[sizeof page - 1] = '\n';
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    while (write(STDOUT_FILENO, page, sizeof page) > 0)
        continue;
    fcntl(STDOUT_FILENO, F_SETFL, 0);
    dup2(STDOUT_FILENO, STDERR_FILENO);
}

static void wait_for_socket(struct fixture *f)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int result;

    snprintf(un.sun_path, sizeof un.sun_path, "%s", f->socket_path);
    do {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        result = connect(fd, (const struct sockaddr *)&un, sizeof un);
        close(fd);
        poll(NULL, 0, 10);
    } while (result != 0 && raw_now_ms() < deadline);
    assert_int_equal(result, 0);
}

static void a_stdout_that_nobody_reads_yet_does_not_delay_the_service(void **state)
{
    struct fixture *f = *state;
    struct process *p = &f->process;
    struct raw_client *c = &f->clients[0];
    const char *line;

    f->process.in_child = fill_stdout_and_use_it_twice;
    start(f, ARGS("echo", "-v", "-b", socket_argument(f)));
    wait_for_socket(f);
    connect_to_socket(f, 0);
    raw_upgrade(c, "/here");
    raw_expect_echo(c, "still there?");
    do
        line = process_line(p, &p->out);
    while (line[0] == 'x');
    assert_memory_equal(line, "minnow: echo on unix:", 21);
    assert_memory_equal(process_line(p, &p->out), "minnow: up to ", 14);
    assert_memory_equal(process_line(p, &p->out), "minnow: sandbox: ", 17);
    assert_non_null(strstr(process_line(p, &p->out), " unix opened /here"));
    expect_clean_end(f);
}

static void close_all_but_stdout(void)
{
    close(STDIN_FILENO);
    close(STDERR_FILENO);
}

static void no_descriptor_of_the_server_gets_the_number_of_a_stream(void **state)
{
    struct fixture *f = *state;
    char path[64];
    char name[64] = "";

    f->process.in_child = close_all_but_stdout;
    serve(f, ARGS("echo", "-v", "-p", "0"));
    expect_answer(f, 0);
    for (int fd = 0; fd <= 2; fd += 2) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)f->process.pid, fd);
        assert_int_equal(readlink(path, name, sizeof name - 1), strlen("/dev/null"));
        assert_string_equal(name, "/dev/null");
    }
    expect_clean_end(f);
}

/* --- the sandbox ------------------------------------------------------------------------------ */

enum { PROC_MAX = 8192 };

/* The file `name` of /proc/PID. */
static const char *read_proc(const struct process *p, const char *name, char text[PROC_MAX])
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)p->pid, name);
    file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, PROC_MAX - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* The number behind `name` in /proc/PID/status. */
static int process_status(const struct process *p, const char *name)
{
    char text[PROC_MAX];
    const char *found = strstr(read_proc(p, "status", text), name);

    assert_non_null(found);
    return atoi(found + strlen(name));
}

/* Such as 'S'; 'T': stopped, also by a tracer (which proc(5) writes as 't'). */
static char process_state(const struct process *p)
{
    char text[PROC_MAX];
    const char *found = strstr(read_proc(p, "stat", text), ") ");

    assert_non_null(found);
    return (char)toupper((unsigned char)found[2]);
}

static const char *sandbox_line(struct fixture *f)
{
    assert_non_null(strstr(process_line(&f->process, &f->process.out), "minnow: up to "));
    return process_line(&f->process, &f->process.out);
}

static const char *root_warning(void)
{
    return geteuid() == 0 ? "; warning: it runs as root, see --user" : "";
}

static int landlock_version(void)
{
    int version = (int)syscall(444 /* SYS_landlock_create_ruleset */, NULL, 0, 1);

    return version > 7 ? 7 : version;
}

/* Does program/minnow_seccomp.c know the calls of this machine? */
#if (defined(__x86_64__) && !defined(__ILP32__)) || defined(__AARCH64EL__)
enum { HAS_SECCOMP = 1 };
#else
enum { HAS_SECCOMP = 0 };
#endif

static void the_line_at_the_start_says_what_the_sandbox_is_made_of(void **state)
{
    struct fixture *f = *state;
    int version = landlock_version();
    char expected[128];

    snprintf(expected, sizeof expected, "minnow: sandbox: %slandlock %d, no_new_privs%s%s",
             HAS_SECCOMP ? "seccomp, " : "", version,
             HAS_SECCOMP ? "" : "; no seccomp: Function not implemented", root_warning());
    if (version <= 0)
        skip(); /* a kernel without it */
    serve(f, ARGS("-p", "0"));
    assert_string_equal(sandbox_line(f), expected);
    assert_int_equal(process_status(&f->process, "\nNoNewPrivs:"), 1);
    if (HAS_SECCOMP)
        assert_int_equal(process_status(&f->process, "\nSeccomp:"), 2); /* a filter */
    expect_clean_end(f);
}

static void no_sandbox_keeps_all_rights_and_says_so(void **state)
{
    struct fixture *f = *state;
    char expected[128];

    if (prctl(PR_GET_SECCOMP) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L) != 0)
        skip(); /* a sandbox around the test is inherited */
    serve(f, ARGS("-p", "0", "--no-sandbox"));
    snprintf(expected, sizeof expected, "minnow: sandbox: none, as --no-sandbox asks%s",
             root_warning());
    assert_string_equal(sandbox_line(f), expected);
    assert_int_equal(process_status(&f->process, "\nNoNewPrivs:"), 0);
    assert_int_equal(process_status(&f->process, "\nSeccomp:"), 0);
    expect_clean_end(f);
}

static void forbid_seccomp(void)
{
    forbid(SYS_seccomp);
}

static void forbid_landlock(void)
{
    forbid(444 /* SYS_landlock_create_ruleset */);
}

/* forbid() has set no_new_privs, so the others do not need it. */
static void forbid_prctl(void)
{
    forbid(SYS_prctl);
}

static void forbid_all_of_the_sandbox(void)
{
    forbid_seccomp();
    forbid_landlock();
    forbid_prctl();
}

static void what_the_system_does_not_allow_is_left_out_and_said(void **state)
{
    struct fixture *f = *state;
    const char *line;

    if (!HAS_SECCOMP)
        skip();
    f->process.in_child = forbid_seccomp;
    serve(f, ARGS("-p", "0"));
    line = sandbox_line(f);
    assert_null(strstr(line, "sandbox: seccomp"));
    assert_non_null(strstr(line, "; no seccomp: Operation not permitted"));
    expect_answer(f, 0);
    expect_clean_end(f);
    process_release(&f->process);

    f->process.in_child = forbid_landlock;
    serve(f, ARGS("-p", "0"));
    assert_non_null(strstr(sandbox_line(f), "sandbox: seccomp, no_new_privs; no landlock: "
                                            "Operation not permitted"));
    expect_answer(f, 0);
    expect_clean_end(f);
    process_release(&f->process);

    f->process.in_child = forbid_prctl;
    serve(f, ARGS("-p", "0"));
    line = sandbox_line(f);
    assert_non_null(strstr(line, "sandbox: seccomp"));
    assert_non_null(strstr(line, "; no no_new_privs: Operation not permitted"));
    expect_answer(f, 0);
    expect_clean_end(f);
    process_release(&f->process);

    f->process.in_child = forbid_all_of_the_sandbox;
    serve(f, ARGS("-p", "0"));
    assert_non_null(strstr(sandbox_line(f), "sandbox: none; no seccomp: Operation not permitted; "
                                            "no landlock: Operation not permitted; "
                                            "no no_new_privs: Operation not permitted"));
    expect_answer(f, 0);
    expect_clean_end(f);
}

/* epoll_wait() ends when the process is stopped, and when it goes on. */
static void a_process_that_was_stopped_goes_on(void **state)
{
    int64_t deadline = raw_now_ms() + PROCESS_DEADLINE_MS;
    struct fixture *f = *state;

    serve(f, ARGS("echo", "-p", "0"));
    expect_answer(f, 0);
    process_signal(&f->process, SIGSTOP);
    while (process_state(&f->process) != 'T' && raw_now_ms() < deadline)
        poll(NULL, 0, 1);
    assert_true(raw_now_ms() < deadline);
    process_signal(&f->process, SIGCONT);
    expect_answer(f, 1);
    expect_clean_end(f);
}

/* A message of some MiB is received in its own buffer, and sent back to a socket that was made
 * wide for it. */
static void the_sandbox_allows_large_messages(void **state)
{
    enum { LARGE = 8 << 20, PART = 1 << 20 };
    struct fixture *f = *state;
    uint8_t *payload = calloc(1, LARGE);
    struct raw_bytes b = {0};
    struct raw_frame frame;

    assert_non_null(payload);
    serve(f, ARGS("echo", "-p", "0"));
    join(f, 0, "/");
    raw_bytes_frame(&b, RAW_BINARY, payload, LARGE);
    raw_send_chunks(&f->clients[0], b.data, b.len, PART);
    raw_expect_echo(join(f, 1, "/"), "hello"); /* meanwhile nobody reads the large one */
    raw_read_frame(&f->clients[0], &frame);
    assert_int_equal(frame.len, LARGE);
    expect_clean_end(f);
    raw_bytes_release(&b);
    free(payload);
}

/* --- a Redis ---------------------------------------------------------------------------------- */

/* What a Redis says to a client that comes, played by the test. */
struct redis {
    int listener;
    int commands;
    int subscriber;
    uint16_t port;
    char url[64];
};

static void redis_listen(struct redis *r, const char *host)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    socklen_t len = sizeof a;
    int on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(r->listener, 8), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&a, &len), 0);
    r->port = ntohs(a.sin_port);
    snprintf(r->url, sizeof r->url, "redis://%s:%u", host, r->port);
}

/* Read until this has come. */
static void redis_expect(int fd, const char *text)
{
    char got[4096];
    size_t len = 0;

    while (len < sizeof got - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, PROCESS_DEADLINE_MS) == 1 ? read(fd, got + len, 1) : 0;

        if (n <= 0)
            fail_msg("no \"%s\" in \"%.*s\"", text, (int)len, got);
        got[++len] = '\0';
        if (len >= strlen(text) && strcmp(got + len - strlen(text), text) == 0)
            return;
    }
    fail_msg("no \"%s\" in many bytes", text);
}

static void redis_say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static int redis_greet(const struct redis *r, const char *answer)
{
    struct pollfd p = {.fd = r->listener, .events = POLLIN};
    int fd;

    assert_int_equal(poll(&p, 1, PROCESS_DEADLINE_MS), 1);
    fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    redis_expect(fd, "minnow\r\n");
    redis_say(fd, answer);
    return fd;
}

/* Both connections, and the subscription to what is said to all. */
static void redis_accept(struct redis *r)
{
    static const char master[] = "%1\r\n+role\r\n+master\r\n";

    r->commands = redis_greet(r, master);
    r->subscriber = redis_greet(r, master);
    redis_expect(r->subscriber, "SUBSCRIBE\r\n$10\r\nminnow#all\r\n");
    redis_say(r->subscriber, ">3\r\n+subscribe\r\n+minnow#all\r\n:1\r\n");
}

static void redis_close(struct redis *r)
{
    close(r->commands);
    close(r->subscriber);
    close(r->listener);
}

/* Start it on a free port, while the test plays the Redis. */
static void serve_with(struct fixture *f, struct redis *r, const char *const *args)
{
    const char *colon;

    start(f, args);
    redis_accept(r);
    colon = strstr(process_line(&f->process, &f->process.out), "127.0.0.1:");
    assert_non_null(colon);
    f->port = (uint16_t)atoi(colon + strlen("127.0.0.1:"));
}

static void a_redis_that_nobody_answers_at_is_a_failure_to_start(void **state)
{
    struct fixture *f = *state;
    char url[64], line[128];
    int holder;

    snprintf(url, sizeof url, "redis://:secret@127.0.0.1:%u", process_reserve_port(&holder));
    snprintf(line, sizeof line, "minnow: --redis %s: Connection refused", strchr(url, '@') + 1);
    start(f, ARGS("-p", "0", "-q", "--redis", url));
    expect_failure(f, 1, line);
    close(holder);
}

static void a_redis_that_wants_another_password_is_a_failure_to_start(void **state)
{
    struct fixture *f = *state;
    struct redis r = {.port = 0};

    redis_listen(&r, "127.0.0.1");
    start(f, ARGS("-p", "0", "--redis", r.url));
    r.commands = redis_greet(&r, "-NOAUTH Authentication required.\r\n");
    expect_failure(f, 1, ": it wants a password: redis://:PASSWORD@HOST");
    close(r.commands);
    close(r.listener);
}

static void an_optional_redis_may_come_later(void **state)
{
    struct fixture *f = *state;
    struct redis r = {.port = 0};

    redis_listen(&r, "127.0.0.1");
    close(r.listener);
    serve(f, ARGS("-p", "0", "--redis", r.url, "--redis-optional", "--cluster", "minnow"));
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "Connection refused"));
    raw_expect_echo(join(f, 0, "/"), "alone");
    redis_listen(&r, "127.0.0.1");
    r.commands = redis_greet(&r, "%0\r\n");
    r.subscriber = redis_greet(&r, "%0\r\n");
    redis_expect(r.subscriber, "minnow#room#/\r\n");
    redis_expect(r.commands, "alone\r\n"); /* it was kept */
    process_signal(&f->process, SIGTERM);
    raw_close(&f->clients[0]);
    assert_int_equal(process_wait(&f->process), 0);
    redis_close(&r);
}

/* What is said in one process is heard in another, as the Redis passes it on; and in the sandbox a
 * lost connection is made anew. */
static void the_sandbox_allows_a_redis_that_comes_back(void **state)
{
    struct fixture *f = *state;
    struct redis r = {.port = 0};

    redis_listen(&r, "127.0.0.1");
    serve_with(f, &r, ARGS("-p", "0", "--redis", r.url));
    close(r.commands);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "minnow: redis: lost 127."));
    close(r.subscriber);
    redis_accept(&r);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "redis: connected to 127."));
    raw_expect_echo(join(f, 0, "/a"), "hello");
    redis_expect(r.commands, "PUBLISH\r\n$14\r\nminnow#room#/a\r\n$22\r\n");
    redis_expect(r.commands, "thello\r\n");
    redis_expect(r.subscriber, "SUBSCRIBE\r\n$14\r\nminnow#room#/a\r\n");
    redis_say(r.subscriber, ">3\r\n+subscribe\r\n+minnow#room#/a\r\n:2\r\n"
                            ">3\r\n+message\r\n+minnow#room#/a\r\n+0123456789abcdeftfar\r\n");
    raw_expect_message(&f->clients[0], "far");
    expect_clean_end(f);
    redis_close(&r);
}

static void the_sandbox_allows_names_and_unix_sockets_of_a_redis(void **state)
{
    struct fixture *f = *state;
    struct redis r = {.port = 0};

    redis_listen(&r, "localhost");
    serve_with(f, &r, ARGS("-p", "0", "--redis", r.url));
    close(r.commands);
    process_line(&f->process, &f->process.err);
    close(r.subscriber);
    redis_accept(&r); /* the name was looked up anew */
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "connected to localhost:"));
    expect_clean_end(f);
    redis_close(&r);
}

enum { MANY = 1500 };

static void the_sandbox_allows_many_clients(void **state)
{
    struct fixture *f = *state;
    struct raw_client *many = calloc(MANY, sizeof *many);

    assert_non_null(many);
    serve(f, ARGS("-p", "0"));
    for (size_t i = 0; i < MANY; i++) {
        raw_init(&many[i]);
        raw_connect(&many[i], f->port);
        raw_upgrade(&many[i], "/");
    }
    for (size_t i = 0; i < MANY; i++)
        raw_close(&many[i]);
    free(many);
    expect_clean_end(f);
}

/* Descriptors that a careless parent has left open count in the limit. */
static void leave_descriptors_open(void)
{
    for (int fd = 16; fd < 60; fd++)
        dup2(STDIN_FILENO, fd);
}

/* The spare descriptor is closed and opened again. */
static void the_sandbox_allows_the_end_of_descriptors(void **state)
{
    enum { PLACES = 10 }; /* of 13, of which the server needs 8 for itself */
    struct fixture *f = *state;
    struct raw_client more[PLACES];
    const char *line;

    f->process.files_soft = 60;
    f->process.files_hard = 60;
    f->process.in_child = leave_descriptors_open;
    serve(f, ARGS("-p", "0"));
    for (size_t i = 0; i < PLACES; i++) {
        raw_init(&more[i]);
        raw_connect(&more[i], f->port);
    }
    line = process_line(&f->process, &f->process.err);
    assert_non_null(strstr(line, "cannot let clients in"));
    for (size_t i = 0; i < PLACES; i++)
        raw_close(&more[i]);
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0);
}

/* With 4 descriptors stderr cannot be opened once more. So minnow asks poll() before it writes. */
static void the_sandbox_allows_a_log_that_is_polled(void **state)
{
    struct fixture *f = *state;

    f->process.files_soft = 4;
    f->process.files_hard = 256;
    serve(f, ARGS("echo", "-v", "-p", "0"));
    visit(f, 0, "/", "opened /");
    raw_close(&f->clients[0]);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "closed /"));
    expect_clean_end(f);
}

/* --- another user ----------------------------------------------------------------------------- */

enum { NOBODY = 65534 };

static void bad_users_are_named(void **state)
{
    static const char *const rows[][2] = {
        {"", "--user '': no such user"},
        {"no-such-name", "--user 'no-such-name': no such user"},
        {"nobody:no-such-name", "--user 'nobody:no-such-name': no such group"},
        {"nobody:", "--user 'nobody:': no such group"},
        {":nogroup", "--user ':nogroup': no such user"},
        {"4294967295:1", "--user '4294967295:1': no such user"},
        {"4294967296:1", "--user '4294967296:1': no such user"},
        {"3999999999", "--user '3999999999': no such user; a number without a name needs :GROUP"},
        {"root", "--user 'root': is root"},
        {"0:1", "--user '0:1': is root"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start(f, ARGS("-p", "0", "--user", rows[i][0]));
        expect_failure(f, 2, rows[i][1]);
        process_release(&f->process);
    }
}

static void become_nobody(void)
{
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        _exit(126);
}

/* Keep the right to come back to root, as a parent may leave it with capabilities. */
static void keep_capabilities(void)
{
    prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0L, 0L, 0L);
}

static void a_user_that_it_cannot_become_for_good_is_a_failure(void **state)
{
    struct fixture *f = *state;

    if (geteuid() != 0)
        skip();
    f->process.in_child = become_nobody;
    start(f, ARGS("-p", "0", "--user", "12345:12345"));
    expect_failure(f, 1, "minnow: cannot become --user '12345:12345': Operation not permitted");
    process_release(&f->process);

    f->process.in_child = keep_capabilities;
    start(f, ARGS("-p", "0", "--user", "nobody"));
    expect_failure(f, 1, "minnow: cannot become --user 'nobody': it could become root again");
}

static void forbid_chown(void)
{
    forbid(SYS_fchownat);
}

static void a_socket_that_it_cannot_give_away_is_a_failure(void **state)
{
    struct fixture *f = *state;
    char expected[256];

    if (geteuid() != 0)
        skip();
    socket_argument(f);
    f->process.in_child = forbid_chown;
    start(f, ARGS("-b", f->socket_argument, "--user", "nobody"));
    snprintf(expected, sizeof expected,
             "minnow: cannot give %s to --user 'nobody': Operation not permitted",
             f->socket_argument);
    expect_failure(f, 1, expected);
    assert_int_not_equal(access(f->socket_path, F_OK), 0);
}

static void expect_ids(const struct process *p, int uid, int gid)
{
    char text[PROC_MAX];
    char wanted[128];

    read_proc(p, "status", text);
    snprintf(wanted, sizeof wanted, "\nUid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\n", uid, uid, uid,
             uid, gid, gid, gid, gid);
    assert_non_null(strstr(text, wanted));
    assert_non_null(strstr(text, "\nGroups:\t \n"));
    assert_non_null(strstr(text, "\nCapPrm:\t0000000000000000\n"));
}

static void be_in_a_group(void)
{
    const gid_t group = 7;

    if (setgroups(1, &group) != 0)
        _exit(126);
}

static void it_becomes_the_user_given_once_it_listens(void **state)
{
    static const struct {
        const char *option;
        int uid, gid;
    } rows[] = {{"--user=nobody", NOBODY, NOBODY},
                {"--user=nobody:12345", NOBODY, 12345},
                {"--user=65534", NOBODY, NOBODY},
                {"--user=12345:daemon", 12345, 1}};
    struct fixture *f = *state;
    struct stat st;
    const char *line;

    if (geteuid() != 0)
        skip();
    socket_argument(f);
    assert_int_equal(chmod(f->directory, 01777), 0); /* as /tmp: who owns a file may remove it */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->process.in_child = be_in_a_group;
        serve(f, ARGS("-v", "-p", "0", "-b", "127.0.0.1", "-b", f->socket_argument, rows[i].option,
                      "--socket-mode=0660"));
        process_line(&f->process, &f->process.out);
        line = sandbox_line(f);
        assert_non_null(strstr(line, "; user "));
        assert_string_equal(strstr(line, "; user ") + 7, rows[i].option + 7);
        expect_ids(&f->process, rows[i].uid, rows[i].gid);
        assert_int_equal(lstat(f->socket_path, &st), 0);
        assert_int_equal(st.st_uid, rows[i].uid);
        assert_int_equal(st.st_gid, rows[i].gid);
        assert_int_equal(st.st_mode & 07777, 0660);
        visit(f, 0, "/", "opened /"); /* the log can still be written */
        raw_close(&f->clients[0]);
        assert_non_null(strstr(process_line(&f->process, &f->process.err), "closed /"));
        expect_clean_end(f);
        assert_int_not_equal(access(f->socket_path, F_OK), 0);
        process_release(&f->process);
    }
}

static void without_the_sandbox_it_becomes_the_user_too(void **state)
{
    struct fixture *f = *state;

    if (geteuid() != 0)
        skip();
    serve(f, ARGS("-p", "0", "--no-sandbox", "--user", "nobody"));
    expect_ids(&f->process, NOBODY, NOBODY);
    expect_clean_end(f);
}

/* --- options at work -------------------------------------------------------------------------- */

static void try_origin(struct fixture *f, const char *fields, int status)
{
    struct raw_client *c = &f->clients[0];
    struct raw_bytes b = {0};
    struct raw_response r;

    if (status != 101) {
        be_refused(f, fields, status);
        return;
    }
    c->label = fields;
    raw_connect(c, f->port);
    raw_bytes_upgrade(&b, "/", fields);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
    raw_expect_upgraded(c, &r);
    raw_close(c);
}

static void origins_given_by_name_or_star_are_allowed(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("-p", "0", "--origin", "https://a.example", "--origin", "https://b.example"));
    try_origin(f, "Origin: https://b.example\r\n", 101);
    try_origin(f, "Origin: https://c.example\r\n", 403);
    process_release(&f->process);

    serve(f,
          ARGS("-p", "0", "--origin", "https://a.example:443", "--origin", "https://*.b.example"));
    try_origin(f, "Origin: https://a.example\r\n", 101);
    try_origin(f, "Origin: https://x.y.b.example\r\n", 101);
    try_origin(f, "Origin: https://b.example\r\n", 403);
    process_release(&f->process);

    serve(f, ARGS("-p", "0", "--origin", "*"));
    try_origin(f, "Origin: https://b.example\r\n", 101);
}

/* What the log says of a refusal, "... --origin ... (origin VALUE)", is true: VALUE is taken, and
 * lets that client in. */
static void a_refused_origin_can_be_given_as_the_log_has_it(void **state)
{
    static const char *const origins[] = {"https://a.example",      "http://a.example:8080",
                                          "localhost:12345",        "file://",
                                          "chrome-extension://abc", "null",
                                          "HTTPS://A.example:443",  ""};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        const char *line, *value, *end;
        char fields[128], option[128];

        snprintf(fields, sizeof fields, "Origin: %s\r\n", origins[i]);
        serve(f, ARGS("-p", "0"));
        try_origin(f, fields, 403);
        line = process_line(&f->process, &f->process.err);
        assert_non_null(strstr(line, "--origin would allow it"));
        value = strstr(line, "(origin ") + strlen("(origin ");
        end = strstr(value, ") (--origin");
        assert_non_null(end);
        snprintf(option, sizeof option, "--origin=%.*s", (int)(end - value), value);
        process_release(&f->process);

        serve(f, ARGS("-p", "0", option));
        try_origin(f, fields, 101);
        process_release(&f->process);
    }
}

/* Behind a proxy that ends TLS: by option, or by the proxy's word. The host is localhost. */
static void a_page_of_the_own_host_needs_its_scheme_where_that_is_known(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("-p", "0"));
    try_origin(f, "Origin: http://localhost\r\n", 101);
    try_origin(f, "Origin: https://localhost\r\n", 101);
    try_origin(f, "X-Forwarded-Proto: https\r\nOrigin: https://localhost\r\n", 101);
    try_origin(f, "X-Forwarded-Proto: https\r\nOrigin: http://localhost\r\n", 403);
    process_release(&f->process);

    serve(f, ARGS("-p", "0", "--scheme", "https"));
    try_origin(f, "Origin: https://localhost\r\n", 101);
    try_origin(f, "Origin: http://localhost\r\n", 403);
    process_release(&f->process);

    serve(f, ARGS("-p", "0", "--scheme=http", "--origin", "https://localhost"));
    try_origin(f, "X-Forwarded-Proto: https\r\nOrigin: http://localhost\r\n", 101);
    try_origin(f, "Origin: https://localhost\r\n", 101);
}

/* RFC 6455 §4.2.2 item 4: the options' order decides, not the client's. */
static void a_subprotocol_given_is_agreed_on(void **state)
{
    static const struct {
        const char *offer, *choice; /* NULL: none */
    } rows[] = {
        {"Sec-WebSocket-Protocol: chat\r\n", "chat"},
        {"Sec-WebSocket-Protocol: soap, chat, v2.chat\r\n", "v2.chat"},
        {"Sec-WebSocket-Protocol: soap\r\n", NULL},
        {"", NULL},
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_bytes b = {0};
    struct raw_response r;
    char choice[32];

    serve(f, ARGS("echo", "-p", "0", "--subprotocol", "v2.chat", "--subprotocol=chat"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        b.len = 0;
        raw_bytes_upgrade(&b, "/", rows[i].offer);
        raw_connect(c, f->port);
        raw_send_bytes(c, &b);
        raw_expect_upgraded(c, &r);
        if (raw_header(&r, "Sec-WebSocket-Protocol", choice, sizeof choice))
            assert_string_equal(choice, rows[i].choice != NULL ? rows[i].choice : "none");
        else
            assert_null(rows[i].choice);
        raw_expect_echo(c, "still here");
        raw_close(c);
    }
    raw_bytes_release(&b);
    expect_clean_end(f);
}

static void a_message_over_max_message_is_closed_with_1009(void **state)
{
    struct fixture *f = *state;
    char text[1026];
    struct raw_client *c;

    memset(text, 'a', sizeof text);
    text[1024] = '\0';
    serve(f, ARGS("echo", "-p", "0", "--max-message", "1K"));
    c = join(f, 0, "/");
    raw_expect_echo(c, text);
    text[1024] = 'a';
    text[1025] = '\0';
    raw_send_message(c, text);
    raw_expect_close(c, 1009);
}

static void what_does_not_fit_the_memory_is_closed_with_1013(void **state)
{
    struct fixture *f = *state;
    char text[100001];
    struct raw_client *c;

    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    serve(f, ARGS("echo", "-p", "0", "--max-memory", "64K"));
    c = join(f, 0, "/");
    raw_send_frame(c, RAW_TEXT_PART, text, sizeof text - 1);
    raw_expect_close(c, 1013);
    expect_clean_end(f);
}

/* Send the message 300 times without reading what comes back, or less often where no more is
 * taken. */
static void flood(struct raw_client *c, const void *message, size_t len)
{
    struct raw_bytes b = {0};

    raw_bytes_frame(&b, RAW_TEXT, message, len);
    for (int i = 0; i < 300 && raw_send_some(c, b.data, b.len, 200) == b.len; i++)
        continue;
    raw_bytes_release(&b);
}

/* Flood it with 6 MB, and read all that comes back, up to the Close. */
static void expect_overload(struct raw_client *c)
{
    static uint8_t text[20000];
    struct raw_frame frame;

    memset(text, 'a', sizeof text);
    flood(c, text, sizeof text);
    do
        raw_read_frame(c, &frame);
    while (frame.head == RAW_TEXT && frame.len == sizeof text);
    assert_int_equal(frame.head, RAW_CLOSE);
    assert_int_equal(frame.payload[0] << 8 | frame.payload[1], 1013);
}

static void what_cannot_be_queued_for_its_sender_is_closed_with_1013(void **state)
{
    static const char *const modes[] = {"echo", "chat"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        serve(f, ARGS(modes[i], "-p", "0", "--max-memory", "32K"));
        raw_connect_slow(&f->clients[0], f->port);
        raw_upgrade(&f->clients[0], "/");
        expect_overload(&f->clients[0]);
        raw_close(&f->clients[0]);
        join(f, 1, "/");
        raw_expect_echo(&f->clients[1], "hello");
        process_signal(&f->process, SIGTERM);
        raw_close(&f->clients[1]);
        assert_int_equal(process_wait(&f->process), 0);
        process_release(&f->process);
    }
}

/* The path is the room, and its name is kept. */
static void a_room_whose_name_does_not_fit_the_memory_is_closed_with_1013(void **state)
{
    struct fixture *f = *state;
    char path[4096];

    make_path(path, sizeof path);
    serve(f, ARGS("-p", "0", "--max-memory", "8K"));
    join(f, 0, path);
    raw_expect_close(&f->clients[0], 1013);
    join(f, 1, "/short");
    raw_expect_echo(&f->clients[1], "hello");
    expect_clean_end(f);
}

static void a_message_larger_than_the_queue_comes_back_to_who_reads(void **state)
{
    struct fixture *f = *state;
    char text[100001];
    struct raw_client *c;

    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    serve(f, ARGS("echo", "-p", "0", "--max-queue", "64K"));
    c = join(f, 0, "/");
    raw_expect_echo(c, text);
}

static void a_client_over_max_clients_is_refused_and_logged(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;

    serve(f, ARGS("-p", "0", "--max-clients", "1"));
    join(f, 0, "/");
    raw_connect(&f->clients[1], f->port);
    raw_expect_status(&f->clients[1], &r, 503);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "--max-clients"));
}

static void the_times_given_are_kept(void **state)
{
    struct fixture *f = *state;
    struct raw_response r;

    serve(f, ARGS("-p", "0", "--handshake-timeout", "0.2", "--ping-interval", "0.1",
                  "--ping-timeout", "0.2", "--close-timeout", "0.2"));
    raw_connect(&f->clients[0], f->port);
    raw_send_text(&f->clients[0], "GET / HTTP/1.1\r\n");
    raw_expect_status(&f->clients[0], &r, 408);
    join(f, 1, "/");
    raw_expect_frame(&f->clients[1], RAW_PING, NULL, 0);
    raw_expect_eof(&f->clients[1]); /* not answered */
    join(f, 2, "/");
    process_signal(&f->process, SIGTERM);
    assert_int_equal(process_wait(&f->process), 0); /* the last one does not answer Close */
}

/* This message, perhaps behind pings. */
static void expect_message_behind_pings(struct raw_client *c, const char *text)
{
    struct raw_frame frame;

    do
        raw_read_frame(c, &frame);
    while (frame.head == RAW_PING);
    assert_int_equal(frame.len, strlen(text));
    assert_memory_equal(frame.payload, text, frame.len);
}

/* Stopped for longer than its timeouts, and continued. One answers its ping and finishes its
 * request meanwhile, the other afterwards: to both of them the server was late. */
static void clients_survive_that_the_process_is_stopped(void **state)
{
    static const char half[] = "GET / HTTP/1.1\r\nHost: localhost\r\n";
    struct fixture *f = *state;
    struct raw_client *c = f->clients;
    struct raw_response r;

    serve(f, ARGS("echo", "-p", "0", "--ping-interval", "0.2", "--ping-timeout", "4",
                  "--handshake-timeout", "4"));
    for (size_t i = 0; i < 2; i++) {
        raw_expect_frame(join(f, i, "/"), RAW_PING, NULL, 0);
        raw_connect(&c[2 + i], f->port);
        raw_send_text(&c[2 + i], half);
    }
    poll(NULL, 0, 100); /* until the process waits */
    process_signal(&f->process, SIGSTOP);
    poll(NULL, 0, 6000);
    for (size_t i = 0; i < 2; i++) {
        raw_send_frame(&c[i], RAW_PONG, NULL, 0);
        raw_send_text(&c[2 + i], "\r\n");
        if (i == 0) {
            process_signal(&f->process, SIGCONT);
            poll(NULL, 0, 500);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        raw_expect_status(&c[2 + i], &r, 200);
        raw_send_message(&c[i], "still here");
        expect_message_behind_pings(&c[i], "still here");
    }
}

/* --- the page --------------------------------------------------------------------------------- */

/* Connect, and ask for what is there. */
static void ask(struct fixture *f, struct raw_client *c, const char *request,
                struct raw_response *r)
{
    raw_connect(c, f->port);
    raw_send_text(c, request);
    raw_expect_status(c, r, 200);
}

/* With the limits, and with 0 for none of them. */
static void limits_by_address_are_set_and_turned_off(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = f->clients;
    struct raw_response r;

    serve(f, ARGS("-p", "0", "--max-per-ip", "2", "--handshake-rate=1000000", "--message-rate=1"));
    raw_connect(&c[0], f->port);
    raw_upgrade(&c[0], "/");
    raw_connect(&c[1], f->port);
    raw_upgrade(&c[1], "/");
    raw_connect(&c[2], f->port);
    raw_expect_status(&c[2], &r, 429);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "(--max-per-ip)"));
    for (int i = 0; i < 15; i++)
        raw_send_frame(&c[0], RAW_PONG, "", 0);
    raw_expect_closed(&c[0], 1008);
    assert_non_null(strstr(process_line(&f->process, &f->process.err), "(--message-rate)"));
    process_release(&f->process);
    for (int i = 0; i < 3; i++)
        raw_close(&c[i]);

    serve(f, ARGS("-p", "0", "--max-per-ip=0", "--handshake-rate=0", "--message-rate=0"));
    raw_connect(&c[0], f->port);
    raw_upgrade(&c[0], "/");
    raw_expect_echo(&c[0], "hello");
    expect_clean_end(f);
}

/* The log shows the client that a trusted proxy names, in each of the three ways. */
static void the_client_of_a_proxy_is_in_the_log(void **state)
{
    static const struct {
        const char *header;
        const char *first;
        const char *fields;
    } ways[] = {
        {"X-Forwarded-For", "", "X-Forwarded-For: 203.0.113.9, 192.0.2.1:5\r\n"},
        {"forwarded", "", "Forwarded: for=\"192.0.2.1:5\"\r\n"},
        {"proxy-protocol", "PROXY TCP4 192.0.2.1 203.0.113.2 5 6\r\n", ""},
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        serve(f, ARGS("-v", "-p", "0", "--trust-proxy", "10.0.0.0/8", "--trust-proxy=127.0.0.1",
                      "--proxy-header", ways[i].header));
        raw_connect(c, f->port);
        raw_send_text(c, ways[i].first);
        raw_send_upgrade(c, "/room", ways[i].fields);
        raw_expect_upgraded(c, &r);
        process_expect_line(&f->process, &f->process.err, "minnow: #1 192.0.2.1:5 opened /room");
        raw_close(c);
        process_release(&f->process);
    }
}

/* As the log says of a refusal: the Host that it names is taken when it is given. */
static void a_refused_host_can_be_given_as_the_log_says(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: Rebound.example:80\r\n\r\n";
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;
    const char *line;

    serve(f, ARGS("-p", "0"));
    raw_connect(c, f->port);
    raw_send_text(c, request);
    raw_expect_status(c, &r, 421);
    line = process_line(&f->process, &f->process.err);
    assert_non_null(strstr(line, "refused with 421 Misdirected Request: not a host of this server: "
                                 "Rebound.example:80 (--host would allow it)"));
    raw_close(c);
    process_release(&f->process);

    serve(f, ARGS("-p", "0", "--host", "other.example", "--host", "rebound.example"));
    ask(f, c, request, &r);
    expect_clean_end(f);
}

static void the_page_is_at_the_root_in_both_modes_and_nowhere_else(void **state)
{
    static const char *const modes[] = {"chat", "echo"};
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;

    for (size_t i = 0; i < 2; i++) {
        serve(f, ARGS(modes[i], "-p", "0"));
        ask(f, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &r);
        assert_true(raw_header_is(&r, "Content-Type", "text/html; charset=utf-8"));
        raw_send_text(c, "GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw_expect_status(c, &r, 404);
        expect_clean_end(f);
        process_release(&f->process);
    }
}

static void the_page_says_by_which_methods_it_is_had(void **state)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n", 204},
        {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405},
        {"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;

    serve(f, ARGS("-p", "0"));
    raw_connect(c, f->port);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        raw_send_text(c, rows[i].request);
        raw_expect_status(c, &r, rows[i].status);
        assert_true(raw_header_is(&r, "Allow", "GET, HEAD, OPTIONS"));
    }
    raw_send_text(c, "OPTIONS /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 404);
    raw_send_text(c, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_read_response(c, &r, true);
    assert_int_equal(r.status, 200);
    expect_clean_end(f);
}

/* RFC 9110 §13.1.2: a list, compared weakly, over all fields of the name. */
static void the_page_that_a_client_has_is_not_sent_again(void **state)
{
    static const struct {
        const char *fields; /* %s: the page's ETag */
        int status;
    } rows[] = {
        {"If-None-Match: %s\r\n", 304},
        {"if-none-match: W/%s\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"a,b\", \t, W/\"c\", %s\r\n", 304},
        {"If-None-Match: \"a\"\r\nIf-None-Match: %s\r\n", 304},
        {"If-None-Match: \"other\"\r\n", 200},
        {"If-None-Match: \"0123456789abcdef\"\r\n", 200}, /* as long as ours */
        {"If-None-Match: W/\r\n", 200},
        {"If-None-Match: \"open\r\n", 200},
        {"If-None-Match: bare, %s\r\n", 200}, /* no list of entity tags */
        {"If-None-Match:\r\n", 200},
        {"If-Match: %s\r\n", 200},
    };
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;
    char etag[64];

    serve(f, ARGS("-p", "0"));
    ask(f, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &r);
    assert_true(raw_header(&r, "ETag", etag, sizeof etag));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char fields[256];
        char request[512];

        c->label = rows[i].fields;
        snprintf(fields, sizeof fields, rows[i].fields, etag);
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n", fields);
        raw_send_text(c, request);
        raw_expect_status(c, &r, rows[i].status);
        assert_true(raw_header_is(&r, "ETag", etag));
        assert_int_equal(raw_header(&r, "Content-Type", fields, sizeof fields),
                         rows[i].status == 200);
    }
    expect_clean_end(f);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void a_signal_tells_the_clients_1001_and_is_no_failure(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};

    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = *state;

        serve(f, ARGS("-p", "0"));
        join(f, 0, "/a");
        join(f, 1, "/b");
        process_signal(&f->process, signals[i]);
        for (size_t k = 0; k < 2; k++) {
            raw_expect_close(&f->clients[k], 1001);
            raw_send_close(&f->clients[k], 1001);
            raw_expect_eof(&f->clients[k]);
            raw_close(&f->clients[k]);
        }
        assert_int_equal(process_wait(&f->process), 0);
        assert_int_equal(f->process.err.len, 0);
        process_release(&f->process);
    }
}

static void a_second_signal_ends_the_waiting_at_once(void **state)
{
    struct fixture *f = *state;

    serve(f, ARGS("-p", "0", "--close-timeout", "86400"));
    join(f, 0, "/");
    process_signal(&f->process, SIGTERM);
    raw_expect_close(&f->clients[0], 1001); /* and we do not answer */
    assert_true(process_is_running(&f->process));
    process_signal(&f->process, SIGINT);
    assert_int_equal(process_wait(&f->process), 0);
}

static void ignore_sigint(void)
{
    signal(SIGINT, SIG_IGN);
}

static void ignore_sigterm(void)
{
    signal(SIGTERM, SIG_IGN);
}

/* A shell without job control starts what is in the background so: Ctrl-C is not meant for it. */
static void a_signal_that_was_ignored_at_the_start_stays_ignored(void **state)
{
    static const struct {
        void (*ignore)(void);
        int ignored;
        int heeded;
    } rows[] = {{ignore_sigint, SIGINT, SIGTERM}, {ignore_sigterm, SIGTERM, SIGINT}};

    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = *state;
        struct raw_client *c;

        f->process.in_child = rows[i].ignore;
        serve(f, ARGS("echo", "-p", "0"));
        c = join(f, 0, "/");
        process_signal(&f->process, rows[i].ignored);
        raw_expect_echo(c, "still there?"); /* by now the signal would have been heeded */
        join(f, 1, "/");
        process_signal(&f->process, rows[i].heeded);
        raw_expect_close(c, 1001);
        for (size_t k = 0; k < 2; k++)
            raw_close(&f->clients[k]);
        assert_int_equal(process_wait(&f->process), 0);
        process_release(&f->process);
    }
}

/* --- Socket.IO -------------------------------------------------------------------------------- */

/* A Socket.IO client on a WebSocket, in a namespace of any name. */
static void let_in(struct raw_client *c, const char *connect)
{
    struct raw_frame frame;

    raw_read_frame(c, &frame);
    assert_int_equal(frame.payload[0], '0');
    raw_send_message(c, connect);
    raw_read_frame(c, &frame);
    assert_memory_equal(frame.payload, "40", 2);
}

static struct raw_client *enter(struct fixture *f, size_t index, const char *connect)
{
    struct raw_client *c = join(f, index, "/socket.io/?EIO=4&transport=websocket");

    let_in(c, connect);
    return c;
}

static void socketio_events_come_back_in_echo_mode(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a;
    struct raw_client *b;

    serve(f, ARGS("echo", "-p", "0"));
    a = enter(f, 0, "40/any,");
    b = enter(f, 1, "40/any,");
    raw_send_message(a, "42/any,7[\"x\",{\"y\":1}]");
    raw_expect_message(a, "42/any,[\"x\",{\"y\":1}]");
    raw_expect_message(a, "43/any,7[{\"y\":1}]");
    raw_expect_echo(b, "42/any,[\"own\"]"); /* the first that it gets */
    expect_clean_end(f);
}

static void socketio_events_reach_the_namespace_in_chat_mode(void **state)
{
    struct fixture *f = *state;
    struct raw_client *a;
    struct raw_client *b;
    struct raw_client *c;

    serve(f, ARGS("-p", "0"));
    a = enter(f, 0, "40");
    b = enter(f, 1, "40");
    c = enter(f, 2, "40/other,");
    raw_send_message(a, "451-[\"x\",{\"_placeholder\":true,\"num\":0}]");
    raw_send_frame(a, RAW_BINARY, "\1\2", 2);
    raw_expect_message(a, "451-[\"x\",{\"_placeholder\":true,\"num\":0}]");
    raw_expect_frame(a, RAW_BINARY, "\1\2", 2);
    raw_expect_message(b, "451-[\"x\",{\"_placeholder\":true,\"num\":0}]");
    raw_expect_frame(b, RAW_BINARY, "\1\2", 2);
    raw_expect_echo(c, "42/other,[\"own\"]");
    expect_clean_end(f);
}

/* As expect_overload(), with events of Socket.IO. */
static void expect_socketio_overload(struct raw_client *c)
{
    static char event[20000];
    struct raw_frame frame;

    memset(event, 'a', sizeof event);
    memcpy(event, "421[\"x\",\"", 9);
    memcpy(event + sizeof event - 2, "\"]", 2);
    flood(c, event, sizeof event);
    do
        raw_read_frame(c, &frame);
    while (frame.head == RAW_TEXT);
    assert_int_equal(frame.head, RAW_CLOSE);
    assert_int_equal(frame.len, 0); /* as Socket.IO closes */
}

/* It would miss an event without knowing it. */
static void a_socketio_client_whose_event_cannot_be_queued_is_disconnected(void **state)
{
    static const char *const modes[] = {"echo", "chat"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        serve(f, ARGS(modes[i], "-p", "0", "--max-memory", "64K"));
        raw_connect_slow(&f->clients[0], f->port);
        raw_upgrade(&f->clients[0], "/socket.io/?EIO=4&transport=websocket");
        let_in(&f->clients[0], "40");
        expect_socketio_overload(&f->clients[0]);
        raw_close(&f->clients[0]);
        raw_expect_echo(enter(f, 1, "40"), "42[\"hello\"]");
        raw_close(&f->clients[1]);
        process_signal(&f->process, SIGTERM);
        assert_int_equal(process_wait(&f->process), 0);
        process_release(&f->process);
    }
}

static void socketio_is_served_to_the_origins_given(void **state)
{
    static const char get[] =
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n"
        "Origin: https://a.example\r\n\r\n";
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;
    char value[64];

    serve(f, ARGS("-p", "0"));
    ask(f, c, get, &r);
    assert_false(raw_header(&r, "Access-Control-Allow-Origin", value, sizeof value));
    raw_close(c);
    process_release(&f->process);

    serve(f, ARGS("-p", "0", "--origin", "https://a.example"));
    ask(f, c, get, &r);
    assert_true(raw_header_is(&r, "Access-Control-Allow-Origin", "https://a.example"));
}

/* And the chat's path does not. */
static void socketio_lets_the_origin_of_small_devices_in(void **state)
{
    struct fixture *f = *state;
    struct raw_bytes b = {0};
    struct raw_response r;

    serve(f, ARGS("-p", "0"));
    raw_bytes_upgrade(&b, "/socket.io/?EIO=4&transport=websocket", "Origin: file://\r\n");
    raw_connect(&f->clients[0], f->port);
    raw_send_bytes(&f->clients[0], &b);
    raw_bytes_release(&b);
    raw_expect_upgraded(&f->clients[0], &r);
    raw_close(&f->clients[0]);
    be_refused(f, "Origin: file://\r\n", 403);
}

/* --- the script of its clients ---------------------------------------------------------------- */

#define SCRIPT_REQUEST(method, more)                                                               \
    method " /socket.io/socket.io.js?v=1 HTTP/1.1\r\nHost: localhost\r\n" more "\r\n"

/* A file with this text, in a directory that teardown removes. */
static const char *script_file(struct fixture *f, const char *text)
{
    FILE *file;

    if (f->directory[0] == '\0')
        socket_argument(f);
    file = fopen(f->socket_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return f->socket_path;
}

static void expect_script(struct raw_client *c, const char *text, char etag[64])
{
    struct raw_response r;

    raw_send_text(c, SCRIPT_REQUEST("GET", ""));
    raw_expect_status(c, &r, 200);
    assert_int_equal(r.body_len, strlen(text));
    assert_memory_equal(r.body, text, r.body_len);
    assert_true(raw_header_is(&r, "Content-Type", "application/javascript; charset=utf-8"));
    assert_true(raw_header_is(&r, "Cache-Control", "public, max-age=0"));
    assert_true(raw_header_is(&r, "X-Content-Type-Options", "nosniff"));
    assert_true(raw_header_is(&r, "Access-Control-Allow-Origin", "*"));
    assert_true(raw_header(&r, "ETag", etag, 64));
}

/* It is what the file was at the start. */
static void script_of_the_client_is_served_from_a_file(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;
    char first[64], second[64], request[512];

    serve(f, ARGS("-p", "0", "--socketio-client", script_file(f, "window.io = 1;\n")));
    raw_connect(c, f->port);
    expect_script(c, "window.io = 1;\n", first);
    script_file(f, "another one");
    expect_script(c, "window.io = 1;\n", second);
    assert_string_equal(first, second);
    snprintf(request, sizeof request, SCRIPT_REQUEST("GET", "If-None-Match: %s\r\n"), first);
    raw_send_text(c, request);
    raw_expect_status(c, &r, 304);
    assert_true(raw_header_is(&r, "ETag", first));
    raw_send_text(c, SCRIPT_REQUEST("HEAD", ""));
    raw_read_response(c, &r, true);
    assert_int_equal(r.status, 200);
    raw_send_text(c, SCRIPT_REQUEST("DELETE", ""));
    raw_expect_status(c, &r, 405);
    expect_clean_end(f);
    process_release(&f->process);
    serve(f, ARGS("-p", "0", "--socketio-client", f->socket_path));
    raw_connect(c, f->port);
    expect_script(c, "another one", second);
    assert_string_not_equal(first, second);
    expect_clean_end(f);
}

/* Around it everything is as before. */
static void script_of_the_client_is_at_one_path(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[1];
    struct raw_response r;

    serve(f, ARGS("-p", "0", "--socketio-client", script_file(f, "x")));
    raw_send_message(enter(f, 0, "40"), "42[\"x\"]");
    raw_connect(c, f->port);
    raw_send_text(c, "GET /socket.io/socket.io.js.map HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 404);
    raw_send_text(c, "GET /socket.io/socket.io.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 400); /* Engine.IO's */
    raw_send_text(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 200);
    expect_clean_end(f);
}

static void without_the_option_there_is_no_script(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c = &f->clients[0];
    struct raw_response r;

    serve(f, ARGS("-p", "0"));
    raw_connect(c, f->port);
    raw_send_text(c, SCRIPT_REQUEST("GET", ""));
    raw_expect_status(c, &r, 400);
    expect_clean_end(f);
}

static void script_that_cannot_be_served_is_an_error_at_the_start(void **state)
{
    struct fixture *f = *state;
    static char large[(4 << 20) + 2];
    struct {
        const char *path;
        const char *error;
    } rows[] = {
        {"/nowhere/socket.io.js",
         "minnow: cannot serve --socketio-client '/nowhere/socket.io.js': No such file"},
        {"/tmp", "'/tmp': not a regular file"},
        {"/dev/null", "'/dev/null': not a regular file"},
        {script_file(f, ""), ": empty"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start(f, ARGS("-p", "0", "--socketio-client", rows[i].path));
        expect_failure(f, 1, rows[i].error);
        process_release(&f->process);
    }
    memset(large, ' ', sizeof large - 1);
    start(f, ARGS("-p", "0", "--socketio-client", script_file(f, large)));
    expect_failure(f, 1, ": over 4 MiB");
    process_release(&f->process);
    start(f, ARGS("--socketio-client", "x", "--no-socketio"));
    expect_failure(f, 2, "minnow: --socketio-client 'x': with --no-socketio (try --help)");
    process_release(&f->process);
    start(f, ARGS("--socketio-client="));
    expect_failure(f, 2, "minnow: --socketio-client '': empty (try --help)");
}

static void without_socketio_its_path_is_like_any_other(void **state)
{
    struct fixture *f = *state;
    struct raw_client *c;
    struct raw_response r;

    serve(f, ARGS("-p", "0", "--no-socketio"));
    c = join(f, 0, "/socket.io/?EIO=4&transport=websocket");
    raw_expect_echo(c, "hello");
    c = &f->clients[1];
    raw_connect(c, f->port);
    raw_send_text(c, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw_expect_status(c, &r, 404);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#include "tests/test_minnow.list"

int main(void)
{
    return cmocka_run_group_tests_name("minnow", tests, NULL, NULL);
}
