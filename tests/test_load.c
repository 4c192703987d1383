/* SPDX-License-Identifier: MIT
 *
 * The load generator against the plain TCP server of the benchmark, which can be told to flip a bit
 * now and then: figures count only if the generator sees that. And, as a client of Socket.IO,
 * against minnow. All are programs in this test's own directory or below. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char program_dir[4096];

static const char *program(const char *name)
{
    static char path[4352];

    snprintf(path, sizeof path, "%s/%s", program_dir, name);
    return path;
}

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void wait_for_port(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int connected = -1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 1000 && connected != 0; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        connected = connect(fd, (struct sockaddr *)&address, sizeof address);
        close(fd);
        if (connected != 0)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_equal(connected, 0);
}

static pid_t start_raw(const char *mode, unsigned port, const char *flip)
{
    char port_text[16];
    pid_t pid;

    snprintf(port_text, sizeof port_text, "%u", port);
    pid = fork();
    if (pid == 0) {
        execl(program("bench/raw"), "raw", mode, port_text, "--flip", flip, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    wait_for_port(port);
    return pid;
}

static pid_t start_minnow(const char *mode, unsigned port)
{
    char port_text[16];
    pid_t pid;

    snprintf(port_text, sizeof port_text, "%u", port);
    pid = fork();
    if (pid == 0) {
        execl(program("minnow"), "minnow", mode, "-q", "-p", port_text, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    wait_for_port(port);
    return pid;
}

/* Run the generator; returns its status, with what it wrote in `out`. */
static int run_load(const char *protocol, const char *mode, unsigned port, char *out, size_t size)
{
    char command[8192];
    size_t len;
    FILE *f;

    snprintf(command, sizeof command,
             "%s --protocol %s --port %u --mode %s --connections 20 --depth 4 --warmup 0.05 "
             "--duration 0.2 2>&1",
             program("bench/load"), protocol, port, mode);
    f = popen(command, "r");
    assert_non_null(f);
    len = fread(out, 1, size - 1, f);
    out[len] = '\0';
    return WEXITSTATUS(pclose(f));
}

/* End the server; the generator must have ended with `status` and have said so. */
static void judge(pid_t server, int result, int status, const char *out, const char *said)
{
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    if (result != status || strstr(out, said) == NULL)
        fail_msg("status %d, output: %s", result, out);
}

static void run_both(const char *server_mode, const char *mode, const char *flip, int status,
                     const char *said)
{
    char out[4096];
    unsigned port = free_port();
    pid_t server = start_raw(server_mode, port, flip);
    int result = run_load("raw", mode, port, out, sizeof out);

    judge(server, result, status, out, said);
}

static void run_socketio(const char *protocol, const char *server_mode, const char *mode,
                         int status, const char *said)
{
    char out[4096];
    unsigned port = free_port();
    pid_t server = start_minnow(server_mode, port);
    int result = run_load(protocol, mode, port, out, sizeof out);

    judge(server, result, status, out, said);
}

static void right_replies_are_counted(void **state)
{
    (void)state;
    run_both("echo", "echo", "0", 0, "messages_per_s=");
    run_both("chat", "room", "0", 0, "messages_per_s=");
    run_both("echo", "connect", "0", 0, "messages_per_s=");
}

static void one_wrong_bit_in_an_echo_is_found(void **state)
{
    (void)state;
    run_both("echo", "echo", "777", 1, " came for 0x");
}

static void one_wrong_bit_in_a_broadcast_is_found(void **state)
{
    (void)state;
    run_both("chat", "room", "777", 1, " came for 0x");
}

static void bytes_of_others_are_found(void **state)
{
    (void)state;
    run_both("chat", "echo", "0", 1, "load: connection ");
}

static void events_of_socketio_come_back_on_both_transports(void **state)
{
    static const char *const protocols[] = {"socketio", "socketio --text", "polling --text=mixed",
                                            "polling --text --size 70000"};

    (void)state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        run_socketio(protocols[i], "echo", "echo", 0, "messages_per_s=");
        run_socketio(protocols[i], "chat", "room", 0, "messages_per_s=");
    }
}

static void events_for_others_are_found_on_both_transports(void **state)
{
    (void)state;
    run_socketio("socketio --text", "chat", "echo", 1, "load: connection ");
    run_socketio("polling --text", "chat", "echo", 1, " came for 0x");
}

#include "tests/test_load.list"

int main(int argc, char **argv)
{
    char *slash;

    (void)argc;
    snprintf(program_dir, sizeof program_dir, "%s", argv[0]);
    slash = strrchr(program_dir, '/');
    if (slash == NULL)
        return EXIT_FAILURE;
    *slash = '\0';
    return cmocka_run_group_tests(tests, NULL, NULL);
}
