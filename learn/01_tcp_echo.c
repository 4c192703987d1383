/* SPDX-License-Identifier: MIT
 *
 * Step 1: a TCP echo. One client after the other; each gets back what it sends.
 *
 *     cc learn/01_tcp_echo.c -o echo && ./echo 8080
 *     nc 127.0.0.1 8080 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A socket that listens on 127.0.0.1. */
static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* start again at once */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(fd, 128) != 0)
        fail("listen");
    return fd;
}

/* Send back what comes, until the client closes its side: then read() returns 0. */
static void serve(int fd)
{
    char data[4096];
    ssize_t n;

    while ((n = read(fd, data, sizeof data)) > 0)
        if (write(fd, data, (size_t)n) < 0)
            break;
}

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 8080);

    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            fail("accept");
        serve(fd);
        close(fd);
    }
}
