/* SPDX-License-Identifier: MIT
 *
 * How the ways in which processes can share a port spread clients over them, and what each costs.
 * For docs/cluster.md:
 *
 *     spread [workers] [clients] [pairs]
 *
 * Each worker only accepts and holds. Clients come one at a time, as they do at a server with time
 * to spare, and then all at once while one worker is busy for 100 ms. "pairs": every second one is
 * not counted, as with browsers that have a connection for the page and one for a WebSocket. */
#define _GNU_SOURCE 1
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, BATCH = 64 };
enum way { HASH, RANDOM, PORT, EXCLUSIVE, STRICT, TURNS, WAYS };

static const char *const names[WAYS] = {
    [HASH] = "SO_REUSEPORT, the kernel's hash",      [RANDOM] = "SO_REUSEPORT, BPF: random",
    [PORT] = "SO_REUSEPORT, BPF: the client's port", [EXCLUSIVE] = "one socket, EPOLLEXCLUSIVE",
    [STRICT] = "one socket, strict turns",           [TURNS] = "one socket, turns, two at random"};

struct shared {
    _Atomic unsigned accepted[WORKERS_MAX];
    _Atomic unsigned counted[WORKERS_MAX]; /* of them */
    _Atomic bool counts;                   /* the next client */
    _Atomic int busy;                      /* the worker that is to sleep; -1: none */
    _Atomic unsigned long cpu_ns[WORKERS_MAX];
};

static struct shared *shared;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int open_listener(struct sockaddr_in *a, bool reuse)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof *a;
    int on = 1;

    if (reuse)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)a, sizeof *a) != 0 || listen(fd, 4096) != 0)
        fail("listen");
    getsockname(fd, (struct sockaddr *)a, &len);
    return fd;
}

/* Returns the number of the socket: a random number, or the client's port, modulo the workers. */
static void attach(int fd, enum way way, unsigned workers)
{
    struct sock_filter random[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)},
        {BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers},
        {BPF_RET | BPF_A, 0, 0, 0}};
    /* Ports that connect() picks are all even, or all odd. */
    struct sock_filter port[] = {{BPF_LD | BPF_H | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF + 20},
                                 {BPF_ALU | BPF_RSH | BPF_K, 0, 0, 1},
                                 {BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers},
                                 {BPF_RET | BPF_A, 0, 0, 0}};
    struct sock_fprog program = {way == RANDOM ? 3 : 4, way == RANDOM ? random : port};

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
        fail("SO_ATTACH_REUSEPORT_CBPF");
}

static void watch(int epoll_fd, int fd, bool exclusive)
{
    struct epoll_event e = {.events = exclusive ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN};

    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

/* As in accept.c. */
static bool takes_another(unsigned *turns)
{
    if (--*turns > 0)
        return false;
    *turns = 2 + (unsigned)random() % 5;
    return true;
}

static void work(unsigned index, int fd, enum way way)
{
    int epoll_fd = epoll_create1(0);
    int batch = way >= STRICT ? 1 : BATCH;
    bool exclusive = way >= EXCLUSIVE;
    unsigned turns;
    struct epoll_event e;

    srandom(index + 1);
    turns = 2 + (unsigned)random() % 5;
    watch(epoll_fd, fd, exclusive);
    for (;;) {
        struct timespec t;
        bool some = false;

        if (epoll_wait(epoll_fd, &e, 1, -1) <= 0)
            continue;
        if (shared->busy == (int)index) {
            shared->busy = -1;
            usleep(100000);
        }
        for (int i = 0; i < batch; i++) {
            if (accept4(fd, NULL, NULL, SOCK_NONBLOCK) < 0)
                break;
            some = true;
            shared->counted[index] += shared->counts;
            shared->accepted[index]++;
        }
        if (some && (way == STRICT || (way == TURNS && !takes_another(&turns)))) {
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
            watch(epoll_fd, fd, true);
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        shared->cpu_ns[index] = (unsigned long)t.tv_sec * 1000000000UL + (unsigned long)t.tv_nsec;
    }
}

static unsigned accepted(unsigned workers)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < workers; i++)
        sum += shared->accepted[i];
    return sum;
}

static void wait_for(unsigned workers, unsigned count)
{
    while (accepted(workers) < count)
        usleep(20);
}

static void report(enum way way, unsigned workers, unsigned clients, double burst_ms)
{
    unsigned least = clients, most = 0, all = 0;
    unsigned long cpu = 0;

    for (unsigned i = 0; i < workers; i++) {
        least = shared->counted[i] < least ? shared->counted[i] : least;
        most = shared->counted[i] > most ? shared->counted[i] : most;
        all += shared->counted[i];
        cpu += shared->cpu_ns[i];
    }
    printf("%-38s least %5.2f  most %5.2f of the share   %5.1f us CPU a client   burst %6.1f ms\n",
           names[way], (double)least * workers / all, (double)most * workers / all,
           (double)cpu / clients / 1e3, burst_ms);
    fflush(stdout);
}

static void measure(enum way way, unsigned workers, unsigned clients, bool pairs)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool reuse = way <= PORT;
    int fds[WORKERS_MAX];
    pid_t pids[WORKERS_MAX];
    int *sockets = calloc(clients * 2, sizeof *sockets);
    double began;

    memset(shared, 0, sizeof *shared);
    shared->busy = -1;
    for (unsigned i = 0; i < workers; i++)
        fds[i] = i == 0 || reuse ? open_listener(&a, reuse) : fds[0];
    if (way == RANDOM || way == PORT)
        attach(fds[0], way, workers);
    for (unsigned i = 0; i < workers; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            work(i, fds[i], way);
    }
    usleep(50000);
    for (unsigned i = 0; i < clients; i++) {
        shared->counts = !pairs || i % 2 == 1;
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(sockets[i], (struct sockaddr *)&a, sizeof a) != 0)
            fail("connect");
        wait_for(workers, i + 1);
        usleep(50); /* so that it waits again */
    }
    {
        struct shared before = *shared;

        shared->busy = 0;
        began = now_ms();
        for (unsigned i = clients; i < clients + clients / 10; i++) {
            sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(sockets[i], (struct sockaddr *)&a, sizeof a) != 0)
                fail("connect");
        }
        wait_for(workers, clients + clients / 10);
        began = now_ms() - began;
        *shared = before;
    }
    report(way, workers, clients, began);
    for (unsigned i = 0; i < workers; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    for (unsigned i = 0; i < workers; i++)
        close(fds[i]);
    for (unsigned i = 0; i < clients + clients / 10; i++)
        close(sockets[i]);
    free(sockets);
}

int main(int argc, char **argv)
{
    unsigned workers = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    unsigned clients = argc > 2 ? (unsigned)atoi(argv[2]) : 1000;
    bool pairs = argc > 3 && strcmp(argv[3], "pairs") == 0;
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int way = HASH; way < WAYS; way++)
        measure((enum way)way, workers, clients, pairs);
    return 0;
}
