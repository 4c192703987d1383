/* SPDX-License-Identifier: MIT
 *
 * How long from starting a server to its first connection? Starts `command`, tries to connect to
 * 127.0.0.1:PORT until it succeeds, ends the server, and again; prints the median.
 *
 *     start PORT TIMES command... */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMES_MAX = 1000, PATIENCE_S = 20 };

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Closes with RST, so that the port is free for the next server. */
static int try_connect(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0)
        err(EXIT_FAILURE, "socket");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    result = connect(fd, (struct sockaddr *)&address, sizeof address);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    return result;
}

static pid_t start_server(char **command)
{
    pid_t pid = fork();

    if (pid < 0)
        err(EXIT_FAILURE, "fork");
    if (pid > 0)
        return pid;
    dup2(open("/dev/null", O_RDWR), STDOUT_FILENO);
    execvp(command[0], command);
    err(127, "%s", command[0]);
}

static double start_once(unsigned port, char **command)
{
    double start_ms = now_ms();
    pid_t pid = start_server(command);
    double took_ms;

    while (try_connect(port) != 0) {
        if (waitpid(pid, NULL, WNOHANG) == pid || now_ms() - start_ms > PATIENCE_S * 1e3)
            errx(EXIT_FAILURE, "%s: does not listen on port %u", command[0], port);
        sched_yield(); /* needed if both are on one core, or have real-time priority on it */
    }
    took_ms = now_ms() - start_ms;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    return took_ms;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    static double ms[TIMES_MAX];
    unsigned port = argc > 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    size_t times = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (times == 0 || times > TIMES_MAX || port == 0 || port > 65535)
        errx(2, "usage: start PORT TIMES command...");
    if (try_connect(port) == 0)
        errx(EXIT_FAILURE, "port %u is taken", port);
    for (size_t i = 0; i < times; i++)
        ms[i] = start_once(port, argv + 3);
    qsort(ms, times, sizeof ms[0], compare);
    printf("start_ms=%.2f\n", ms[times / 2]);
    return EXIT_SUCCESS;
}
