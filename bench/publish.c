/* SPDX-License-Identifier: MIT
 *
 * What a message costs that is published to a room without members on this process.
 *
 *     build/bench/publish --redis URL [--messages N] [--turn N] [--size BYTES]
 *                         [--interval MS] [--pid PID]
 *
 * Each turn of the loop publishes `--turn` messages; the next turn follows at once, or after
 * `--interval`. So that no queue grows, it waits for Redis after every WINDOW messages. What counts
 * is all the processor time of this process: with sending, the answers of Redis, and the turns.
 * With `--pid` (of Redis) also that of another process. Prints `key=value` lines. */
#include "../cluster/bus_redis.h"
#include "../cluster/ws_cluster.h"
#include "process.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 1024, SIZE_MAX_BYTES = 65536, NS_PER_S = 1000000000 };

struct options {
    const char *urls[2];
    unsigned long messages;
    unsigned long turn;
    unsigned long size;
    unsigned long interval_ms;
    pid_t pid; /* 0: not given */
};

struct publisher {
    struct options options;
    struct ws_server *server;
    struct bus *bus;
    struct ws_cluster *cluster;
    struct ws_timer *timer;
    unsigned long turns;
    ptrdiff_t subscribers;
    bool watches;
    int ready_fd;            /* always readable */
    unsigned long done;      /* messages published */
    unsigned long in_window; /* of them, since Redis has answered */
    char payload[SIZE_MAX_BYTES];
};

static const char room[] = "/bench";

static void publish_turn(struct publisher *p);

static void turn_begins(void *arg, uint32_t ready)
{
    (void)ready;
    publish_turn(arg);
}

static void pause_is_over(void *arg)
{
    publish_turn(arg);
}

/* The next turn: at once, since the descriptor is always readable, or after the pause. */
static void go_on(struct publisher *p)
{
    if (p->options.interval_ms != 0)
        ws_timer_set(p->timer, (unsigned)p->options.interval_ms);
    else if (!p->watches && ws_watch(p->server, p->ready_fd, EPOLLIN, turn_begins, p) != 0)
        err(EXIT_FAILURE, "ws_watch");
    p->watches = p->options.interval_ms == 0;
}

static void answered(void *arg, ptrdiff_t count)
{
    struct publisher *p = arg;

    if (count < 0)
        errx(EXIT_FAILURE, "Redis does not answer: %td", count);
    p->subscribers = count;
    p->in_window = 0;
    if (p->done >= p->options.messages)
        ws_server_stop(p->server);
    else
        go_on(p);
}

/* Redis answers in order: then all that was published before has been handled. */
static void wait_for_redis(struct publisher *p)
{
    if (p->watches)
        ws_watch(p->server, p->ready_fd, 0, NULL, NULL);
    p->watches = false;
    if (bus_count(p->bus, BUS_CHANNEL, ws_str("minnow#room#/bench"), answered, p) != 0)
        errx(EXIT_FAILURE, "bus_count");
}

static void publish_turn(struct publisher *p)
{
    for (unsigned long i = 0; i < p->options.turn; i++)
        ws_publish(p->server, ws_str(room), NULL, WS_OP_TEXT, p->payload, p->options.size);
    p->done += p->options.turn;
    p->in_window += p->options.turn;
    p->turns++;
    if (p->in_window >= WINDOW || p->done >= p->options.messages)
        wait_for_redis(p);
    else
        go_on(p);
}

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    (void)arg;
    if (level == WS_LOG_ERROR)
        errx(EXIT_FAILURE, "%s", line);
}

static void start(struct publisher *p)
{
    const struct bus_redis_options redis = {.urls = p->options.urls, .log = log_line};

    p->server = ws_server_new(&(struct ws_options){.no_accept = true});
    if (p->server == NULL)
        err(EXIT_FAILURE, "ws_server_new");
    p->bus = bus_redis_new(p->server, &redis);
    if (p->bus == NULL)
        err(EXIT_FAILURE, "bus_redis_new");
    p->cluster = ws_cluster_new(p->server, p->bus, NULL);
    p->timer = ws_timer_new(p->server, NULL, pause_is_over, p);
    p->ready_fd = eventfd(1, EFD_CLOEXEC);
    if (p->cluster == NULL || p->timer == NULL || p->ready_fd < 0)
        errx(EXIT_FAILURE, "out of memory");
    while (!bus_is_up(p->bus))
        ws_server_step(p->server, -1);
    memset(p->payload, 'x', sizeof p->payload);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void measure(struct publisher *p)
{
    uint64_t redis_ns = p->options.pid == 0 ? 0 : process_cpu_ns(p->options.pid);
    uint64_t own_ns = own_cpu_ns();
    double n = (double)p->options.messages;

    go_on(p);
    if (ws_server_run(p->server) != 0)
        err(EXIT_FAILURE, "ws_server_run");
    own_ns = own_cpu_ns() - own_ns;
    if (bus_dropped(p->bus) != 0)
        errx(EXIT_FAILURE, "%llu messages were dropped", bus_dropped(p->bus));
    printf("turns=%lu\nsubscribers=%td\n", p->turns, p->subscribers);
    printf("cpu_us=%.4f\n", (double)own_ns / 1e3 / n);
    if (p->options.pid != 0)
        printf("redis_us=%.4f\n", (double)(process_cpu_ns(p->options.pid) - redis_ns) / 1e3 / n);
}

static unsigned long number(const char *text, unsigned long max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n > max)
        errx(2, "%s: not a number up to %lu", text, max);
    return n;
}

static void parse_command_line(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"redis", required_argument, NULL, 'r'},
        {"messages", required_argument, NULL, 'm'},
        {"turn", required_argument, NULL, 't'},
        {"size", required_argument, NULL, 's'},
        {"pid", required_argument, NULL, 'p'},
        {"interval", required_argument, NULL, 'i'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'r')
            o->urls[0] = optarg;
        else if (option == 'm')
            o->messages = number(optarg, 1000000000);
        else if (option == 't')
            o->turn = number(optarg, 1000000);
        else if (option == 's')
            o->size = number(optarg, SIZE_MAX_BYTES);
        else if (option == 'i')
            o->interval_ms = number(optarg, 60000);
        else if (option == 'p')
            o->pid = (pid_t)number(optarg, 1 << 30);
        else
            exit(2);
    }
    if (o->urls[0] == NULL || o->turn == 0 || optind != argc)
        errx(2, "usage: publish --redis URL [--messages N] [--turn N] [--size BYTES] "
                "[--interval MS] [--pid PID]");
}

int main(int argc, char **argv)
{
    struct publisher *p = calloc(1, sizeof *p);

    if (p == NULL)
        err(EXIT_FAILURE, "start");
    p->options = (struct options){.messages = 200000, .turn = 1, .size = 32};
    parse_command_line(&p->options, argc, argv);
    start(p);
    measure(p);
    ws_cluster_free(p->cluster);
    bus_free(p->bus);
    ws_server_free(p->server);
    close(p->ready_fd);
    free(p);
    return EXIT_SUCCESS;
}
