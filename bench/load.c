/* SPDX-License-Identifier: MIT
 *
 * A load generator for WebSocket servers: throughput, latency, and the processor time of the
 * server. One thread, epoll.
 *
 *     taskset -c 0 ./minnow echo -p 9000 -q & taskset -c 1 build/bench/load --port 9000 --pid $!
 *
 * It keeps `--depth` messages in flight on each connection and checks every byte that comes back
 * (client.c). With `--rate` messages are sent at fixed times instead. Latency then counts from the
 * time at which a message was due, so that a pause of the server counts in the latency of all
 * messages that had to wait (without "coordinated omission"). The server's cost is its processor
 * time while the messages were counted. Prints `key=value` lines; exits 1 when a wrong byte came
 * back. */
#include "client.h"
#include "hist.h"
#include "process.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENT_BATCH = 512,
    OPENING_MAX = 128, /* handshakes under way at once while the connections are set up */
    PATIENCE_S = 10,   /* without any reply: the server hangs */
    OTHERS_MAX = 64    /* processes of the server besides the first */
};

enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000 };

enum mode { MODE_ECHO, MODE_ROOM, MODE_IDLE, MODE_CONNECT };

static const char *const mode_names[] = {"echo", "room", "idle", "connect"};
static const char *const protocol_names[] = {"ws", "raw", "socketio", "polling"};
static const char *const kind_names[] = {"binary", "ascii", "chinese", "mixed"};

struct options {
    enum mode mode;
    enum stream_protocol protocol;
    enum stream_kind kind;
    const char *host;
    const char *path;
    unsigned port;
    unsigned
        sender_port; /* room: where the client that sends connects, if that is another server */
    unsigned connections;
    size_t size;
    unsigned depth;
    double rate; /* messages per second on all connections together; 0: as fast as replies come */
    double warmup_s;
    double duration_s;
    pid_t pid;                /* of the server; 0: not given */
    pid_t others[OTHERS_MAX]; /* more processes of it, whose processor time counts as well */
    unsigned other_count;
    bool spin; /* never sleep: the server then has no cost for waking this process */
};

enum phase { PHASE_OPENING, PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN };

struct load {
    struct options options;
    struct client_plan plan;
    struct stream stream;
    struct client *clients;
    uint64_t *ring;  /* started_ns of all clients */
    unsigned opened; /* connections begun */
    unsigned ready;  /* connections whose handshake is done */
    enum phase phase;
    uint64_t now_ns;
    uint64_t progress_ns; /* when the last reply came */
    uint64_t phase_end_ns;

    uint64_t rate_start_ns;
    uint64_t rate_next; /* number of the next message that has a fixed time */
    uint64_t burst_ns;  /* when the messages to the room were sent */
    uint64_t started;   /* messages sent, of all clients */
    uint64_t done;      /* replies and deliveries received, of all clients */

    /* What is measured. */
    uint64_t measure_start_ns;
    uint64_t measured_ns;
    uint64_t measured; /* messages */
    uint64_t cpu_start_ns;
    uint64_t cpu_ns;
    uint64_t own_cpu_ns;
    long switches;
    struct process_memory base; /* idle: with few connections */
    struct process_memory memory;
    struct hist latency;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t server_cpu_ns(const struct load *l)
{
    uint64_t ns = l->options.pid == 0 ? 0 : process_cpu_ns(l->options.pid);

    for (unsigned i = 0; i < l->options.other_count; i++)
        ns += process_cpu_ns(l->options.others[i]);
    return ns;
}

/* --- one message ------------------------------------------------------------------------------ */

/* With a fixed rate: when message `number` of all connections is due. */
static uint64_t due_ns(const struct load *l, uint64_t number)
{
    return l->rate_start_ns + (uint64_t)((double)number * NS_PER_S / l->options.rate);
}

/* The time at which message `number` of a connection was, or should have been, sent. */
static uint64_t message_start_ns(const struct load *l, const struct client *c, uint64_t number)
{
    bool room = l->options.mode == MODE_ROOM;
    uint64_t all = room ? number : number * l->options.connections + c->index;

    if (l->options.rate > 0)
        return due_ns(l, all);
    return room ? l->burst_ns : c->started_ns[number % l->options.depth];
}

/* Begin `count` more messages on `c`. */
static void start_messages(struct load *l, struct client *c, uint64_t count)
{
    if (count == 0)
        return;
    for (uint64_t i = 0; i < count && l->options.rate == 0; i++)
        c->started_ns[(c->started + i) % l->options.depth] = l->now_ns;
    c->started += count;
    l->started += count;
    client_flush(c, &l->plan);
}

/* Messages that were started together have the same latency. */
static void count_latency(struct load *l, const struct client *c, uint64_t count)
{
    uint64_t first = c->done - count;
    uint64_t start_ns = message_start_ns(l, c, first);
    uint64_t same = 0;

    for (uint64_t i = first; i < c->done; i++) {
        uint64_t next_ns = message_start_ns(l, c, i);

        if (next_ns != start_ns) {
            hist_add(&l->latency, l->now_ns - start_ns, same);
            start_ns = next_ns;
            same = 0;
        }
        same++;
    }
    hist_add(&l->latency, l->now_ns - start_ns, same);
}

/* Replies number c->done - count to c->done have come. */
static void count_replies(struct load *l, const struct client *c, uint64_t count)
{
    uint64_t sent_to_it = l->options.mode == MODE_ROOM ? l->started : c->started;

    if (c->done > sent_to_it)
        errx(EXIT_FAILURE, "connection %u: a reply to nothing", c->index);
    l->done += count;
    l->progress_ns = l->now_ns;
    if (l->phase == PHASE_MEASURE)
        l->measured += count;
    /* At a fixed rate, messages that were due in time and come too late count as well. */
    if (l->phase == PHASE_MEASURE || (l->phase == PHASE_DRAIN && l->options.rate > 0))
        count_latency(l, c, count);
}

/* Send the next messages to the room at once, when the last ones have reached all members. */
static void next_burst(struct load *l)
{
    if (l->done != l->started * l->options.connections)
        return;
    l->burst_ns = l->now_ns;
    start_messages(l, &l->clients[0], l->options.depth);
}

/* Send all that is due by now at the fixed rate. */
static void send_due(struct load *l)
{
    while (l->phase != PHASE_DRAIN) {
        bool room = l->options.mode == MODE_ROOM;

        if (due_ns(l, l->rate_next) > l->now_ns)
            return;
        start_messages(l, &l->clients[room ? 0 : l->rate_next % l->options.connections], 1);
        l->rate_next++;
    }
}

static void client_event(struct load *l, struct client *c, uint32_t events)
{
    bool was_ready = c->state == CLIENT_READY;
    uint64_t count = client_ready(c, &l->plan, events);

    if (!was_ready && c->state == CLIENT_READY) {
        l->ready++;
        if (l->phase == PHASE_MEASURE && l->options.mode == MODE_CONNECT)
            hist_add(&l->latency, l->now_ns - c->opened_ns, 1);
    }
    if (count == 0)
        return;
    count_replies(l, c, count);
    if (l->options.rate > 0 || l->phase == PHASE_DRAIN)
        return;
    if (l->options.mode == MODE_ROOM)
        next_burst(l);
    else
        start_messages(l, c, l->options.depth - (c->started - c->done));
}

/* --- the loop --------------------------------------------------------------------------------- */

/* How long may we sleep? */
static struct timespec wait_time(const struct load *l)
{
    uint64_t until = l->now_ns + 20 * NS_PER_MS;

    if (l->options.rate > 0 && (l->phase == PHASE_WARMUP || l->phase == PHASE_MEASURE) &&
        due_ns(l, l->rate_next) < until)
        until = due_ns(l, l->rate_next);
    if (l->options.spin || until <= l->now_ns)
        return (struct timespec){0};
    return (struct timespec){.tv_nsec = (long)(until - l->now_ns)};
}

static void turn(struct load *l)
{
    struct epoll_event events[EVENT_BATCH];
    struct timespec timeout = wait_time(l);
    int n = epoll_pwait2(l->plan.epoll_fd, events, EVENT_BATCH, &timeout, NULL);

    if (n < 0 && errno != EINTR)
        err(EXIT_FAILURE, "epoll_pwait2");
    for (int i = 0; i < n; i++) {
        l->now_ns = clock_ns(CLOCK_MONOTONIC);
        client_event(l, events[i].data.ptr, events[i].events);
    }
    l->now_ns = clock_ns(CLOCK_MONOTONIC);
    if (l->options.rate > 0 && l->phase != PHASE_OPENING)
        send_due(l);
    if (l->now_ns - l->progress_ns > (uint64_t)PATIENCE_S * NS_PER_S)
        errx(EXIT_FAILURE, "no reply for %d s: %llu messages sent, %llu came back, %u of %u open",
             PATIENCE_S, (unsigned long long)l->started, (unsigned long long)l->done, l->ready,
             l->options.connections);
}

static void patience_begins(struct load *l)
{
    l->now_ns = clock_ns(CLOCK_MONOTONIC);
    l->progress_ns = l->now_ns;
}

/* Have `count` connections open, at most `window` handshakes of them at a time. */
static void open_until(struct load *l, unsigned count, unsigned window)
{
    patience_begins(l);
    while (l->ready < count) {
        unsigned before = l->ready;

        while (l->opened < count && l->opened - l->ready < window) {
            struct client *c = &l->clients[l->opened];

            client_open(c, &l->plan, l->opened++);
            c->opened_ns = clock_ns(CLOCK_MONOTONIC);
        }
        turn(l);
        if (l->ready != before)
            l->progress_ns = l->now_ns;
    }
}

static void close_all(struct load *l)
{
    for (unsigned i = 0; i < l->opened; i++)
        client_close(&l->clients[i]);
    l->opened = 0;
    l->ready = 0;
}

/* Run the loop for so many seconds. */
static void linger(struct load *l, double seconds)
{
    uint64_t end;

    patience_begins(l);
    end = l->now_ns + (uint64_t)(seconds * NS_PER_S);
    while (l->now_ns < end) {
        turn(l);
        l->progress_ns = l->now_ns;
    }
}

/* Wait until the server has nothing left to do, that is, uses no more processor time. */
static void wait_until_quiet(struct load *l)
{
    uint64_t last = server_cpu_ns(l);

    for (int tries = 0; tries < 500; tries++) {
        uint64_t cpu;

        linger(l, 0.02);
        cpu = server_cpu_ns(l);
        if (cpu - last < 20000) /* a timer may still run now and then */
            return;
        last = cpu;
    }
}

/* --- the modes -------------------------------------------------------------------------------- */

static void measure_begins(struct load *l)
{
    l->phase = PHASE_MEASURE;
    l->cpu_start_ns = server_cpu_ns(l);
    l->switches = l->options.pid == 0 ? 0 : process_switches(l->options.pid);
    l->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    l->measure_start_ns = clock_ns(CLOCK_MONOTONIC);
    l->phase_end_ns = l->measure_start_ns + (uint64_t)(l->options.duration_s * NS_PER_S);
}

static void measure_ends(struct load *l)
{
    l->measured_ns = clock_ns(CLOCK_MONOTONIC) - l->measure_start_ns;
    l->cpu_ns = server_cpu_ns(l) - l->cpu_start_ns;
    l->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - l->own_cpu_ns;
    if (l->options.pid != 0) {
        l->switches = process_switches(l->options.pid) - l->switches;
        l->memory = process_memory(l->options.pid);
    }
    l->phase = PHASE_DRAIN;
}

static void first_messages(struct load *l)
{
    patience_begins(l);
    l->rate_start_ns = l->now_ns;
    if (l->options.rate > 0)
        return;
    if (l->options.mode == MODE_ROOM) {
        next_burst(l);
        return;
    }
    for (unsigned i = 0; i < l->options.connections; i++)
        start_messages(l, &l->clients[i], l->options.depth);
}

/* Echo and room: warm up, measure, then check that no reply is missing. */
static void run_messages(struct load *l)
{
    uint64_t copies = l->options.mode == MODE_ROOM ? l->options.connections : 1;

    open_until(l, l->options.connections, OPENING_MAX);
    wait_until_quiet(l);
    l->phase = PHASE_WARMUP;
    first_messages(l);
    l->phase_end_ns = l->now_ns + (uint64_t)(l->options.warmup_s * NS_PER_S);
    while (l->phase != PHASE_DRAIN || l->done < l->started * copies) {
        turn(l);
        if (l->phase == PHASE_WARMUP && l->now_ns >= l->phase_end_ns)
            measure_begins(l);
        else if (l->phase == PHASE_MEASURE && l->now_ns >= l->phase_end_ns)
            measure_ends(l);
    }
}

/* Idle: what do idle connections cost? The first few are not counted, because the server allocates
 * some memory only once, with them. */
static void run_idle(struct load *l)
{
    unsigned few = l->options.connections / 100 + 1;

    open_until(l, few, OPENING_MAX);
    wait_until_quiet(l);
    l->base = process_memory(l->options.pid);
    open_until(l, l->options.connections, OPENING_MAX);
    linger(l, l->options.duration_s);
    wait_until_quiet(l);
    l->memory = process_memory(l->options.pid);
    l->measured = l->options.connections - few;
}

/* Open all connections and count what that takes. */
static void count_opening(struct load *l)
{
    uint64_t cpu_ns = server_cpu_ns(l);
    uint64_t own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

    l->phase = PHASE_MEASURE;
    open_until(l, l->options.connections, l->options.depth);
    l->phase = PHASE_OPENING;
    l->measured_ns += clock_ns(CLOCK_MONOTONIC) - start_ns;
    l->own_cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own_cpu_ns;
    l->cpu_ns += server_cpu_ns(l) - cpu_ns;
    l->measured += l->options.connections;
}

/* Connect: open all and close all, repeatedly. The first time is the warm-up, and the time to close
 * is not counted. */
static void run_connect(struct load *l)
{
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) +
                      (uint64_t)((l->options.warmup_s + l->options.duration_s) * NS_PER_S);

    open_until(l, l->options.connections, l->options.depth);
    do {
        close_all(l);
        wait_until_quiet(l);
        count_opening(l);
    } while (clock_ns(CLOCK_MONOTONIC) < end_ns);
    if (l->options.pid != 0)
        l->memory = process_memory(l->options.pid);
}

/* --- the report ------------------------------------------------------------------------------- */

static void report_options(const struct options *o)
{
    printf("mode=%s\nprotocol=%s\nkind=%s\nconnections=%u\nsize=%zu\ndepth=%u\nrate=%.0f\n",
           mode_names[o->mode], protocol_names[o->protocol], kind_names[o->kind], o->connections,
           o->size, o->depth, o->rate);
}

static void report_latency(const struct hist *h)
{
    printf("p50_us=%.1f\np99_us=%.1f\np999_us=%.1f\nmax_us=%.1f\n", (double)hist_at(h, 0.5) / 1e3,
           (double)hist_at(h, 0.99) / 1e3, (double)hist_at(h, 0.999) / 1e3, (double)h->max / 1e3);
}

static void report_idle(const struct load *l)
{
    double n = (double)l->measured;

    printf("rss_bytes_per_connection=%.0f\n",
           (double)(l->memory.rss_kb - l->base.rss_kb) * 1024 / n);
    printf("user_bytes_per_connection=%.0f\n",
           (double)(l->memory.anonymous_kb - l->base.anonymous_kb) * 1024 / n);
}

static void report_messages(const struct load *l)
{
    double seconds = (double)l->measured_ns / NS_PER_S;
    double n = l->measured == 0 ? 1 : (double)l->measured;

    printf("messages=%llu\nseconds=%.3f\n", (unsigned long long)l->measured, seconds);
    printf("messages_per_s=%.0f\n", (double)l->measured / seconds);
    if (l->options.mode != MODE_CONNECT)
        printf("mb_per_s=%.1f\n", (double)l->measured * (double)l->options.size / 1e6 / seconds);
    report_latency(&l->latency);
    printf("client_busy=%.2f\n", (double)l->own_cpu_ns / (double)l->measured_ns);
    if (l->options.pid == 0)
        return;
    printf("server_busy=%.2f\n", (double)l->cpu_ns / (double)l->measured_ns);
    printf("cpu_us_per_message=%.4f\n", (double)l->cpu_ns / 1e3 / n);
    printf("sleeps_per_message=%.4f\n", (double)l->switches / n);
}

static void report(const struct load *l)
{
    report_options(&l->options);
    if (l->options.mode == MODE_IDLE)
        report_idle(l);
    else
        report_messages(l);
    if (l->options.pid != 0)
        printf("rss_kb=%ld\nanonymous_kb=%ld\n", l->memory.rss_kb, l->memory.anonymous_kb);
}

/* --- the command line ------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("usage: load --port N [options]\n"
          "  --host ADDR          127.0.0.1 (IPv4)\n"
          "  --path PATH          / (what is before a '?' is the room)\n"
          "  --pid PID            of the server: report its processor time and memory; with more\n"
          "                       processes once for each, processor time of all, the rest of the "
          "first\n"
          "  --mode MODE          echo | room | idle | connect\n"
          "                       room: connection 0 sends, everybody must get it\n"
          "  --sender-port N      room: connection 0 goes to another server of the cluster\n"
          "                       idle: memory per connection after --duration\n"
          "                       connect: handshakes, --depth at a time, in rounds\n"
          "  --protocol P         ws | raw (no framing, --raw for short) | socketio (on WebSocket) "
          "|\n"
          "                       polling (Socket.IO on HTTP, --text only)\n"
          "  --binary | --text[=ascii|chinese|mixed]\n"
          "  --connections N      50\n"
          "  --size BYTES         64, of the payload\n"
          "  --depth N            1, messages under way per connection; a room's per burst\n"
          "  --rate N             messages per second together, sent at fixed times\n"
          "  --warmup S           0.5\n"
          "  --duration S         2\n"
          "  --spin               poll instead of sleeping\n",
          stderr);
    exit(2);
}

static double parse_number(const char *text, double max)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= max))
        errx(2, "%s: not a number of 0 to %.0f", text, max);
    return value;
}

static int parse_name(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
    }
    errx(2, "%s: unknown", text);
}

enum {
    OPT_HOST = 256,
    OPT_PORT,
    OPT_SENDER_PORT,
    OPT_PATH,
    OPT_PID,
    OPT_MODE,
    OPT_PROTOCOL,
    OPT_RAW,
    OPT_BINARY,
    OPT_TEXT,
    OPT_CONNECTIONS,
    OPT_SIZE,
    OPT_DEPTH,
    OPT_RATE,
    OPT_WARMUP,
    OPT_DURATION,
    OPT_SPIN
};

static void apply_amount(struct options *o, int option, const char *value)
{
    switch (option) {
    case OPT_CONNECTIONS:
        o->connections = (unsigned)parse_number(value, 1e6);
        break;
    case OPT_SIZE:
        o->size = (size_t)parse_number(value, 1 << 30);
        break;
    case OPT_DEPTH:
        o->depth = (unsigned)parse_number(value, 1e6);
        break;
    case OPT_RATE:
        o->rate = parse_number(value, 1e9);
        break;
    case OPT_WARMUP:
        o->warmup_s = parse_number(value, 3600);
        break;
    case OPT_DURATION:
        o->duration_s = parse_number(value, 3600);
        break;
    default:
        usage();
    }
}

static void add_process(struct options *o, pid_t pid)
{
    if (o->pid == 0)
        o->pid = pid;
    else if (o->other_count < OTHERS_MAX)
        o->others[o->other_count++] = pid;
    else
        errx(2, "--pid: too many processes");
}

static void apply_option(struct options *o, int option, const char *value)
{
    switch (option) {
    case OPT_HOST:
        o->host = value;
        break;
    case OPT_PORT:
        o->port = (unsigned)parse_number(value, 65535);
        break;
    case OPT_PATH:
        o->path = value;
        break;
    case OPT_SENDER_PORT:
        o->sender_port = (unsigned)parse_number(value, 65535);
        break;
    case OPT_PID:
        add_process(o, (pid_t)parse_number(value, 1 << 30));
        break;
    case OPT_MODE:
        o->mode = (enum mode)parse_name(value, mode_names, 4);
        break;
    case OPT_PROTOCOL:
        o->protocol = (enum stream_protocol)parse_name(value, protocol_names, 4);
        break;
    case OPT_RAW:
        o->protocol = STREAM_RAW;
        break;
    case OPT_BINARY:
        o->kind = STREAM_BINARY;
        break;
    case OPT_TEXT:
        o->kind = value == NULL ? STREAM_ASCII : (enum stream_kind)parse_name(value, kind_names, 4);
        break;
    case OPT_SPIN:
        o->spin = true;
        break;
    default:
        apply_amount(o, option, value);
    }
}

static const char *default_path(enum stream_protocol protocol)
{
    switch (protocol) {
    case STREAM_SOCKETIO:
        return "/socket.io/?EIO=4&transport=websocket";
    case STREAM_POLLING:
        return "/socket.io/?EIO=4&transport=polling";
    case STREAM_WS:
    case STREAM_RAW:
        break;
    }
    return "/";
}

static void parse_command_line(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, OPT_HOST},
        {"port", required_argument, NULL, OPT_PORT},
        {"sender-port", required_argument, NULL, OPT_SENDER_PORT},
        {"path", required_argument, NULL, OPT_PATH},
        {"pid", required_argument, NULL, OPT_PID},
        {"mode", required_argument, NULL, OPT_MODE},
        {"protocol", required_argument, NULL, OPT_PROTOCOL},
        {"raw", no_argument, NULL, OPT_RAW},
        {"binary", no_argument, NULL, OPT_BINARY},
        {"text", optional_argument, NULL, OPT_TEXT},
        {"connections", required_argument, NULL, OPT_CONNECTIONS},
        {"size", required_argument, NULL, OPT_SIZE},
        {"depth", required_argument, NULL, OPT_DEPTH},
        {"rate", required_argument, NULL, OPT_RATE},
        {"warmup", required_argument, NULL, OPT_WARMUP},
        {"duration", required_argument, NULL, OPT_DURATION},
        {"spin", no_argument, NULL, OPT_SPIN},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        apply_option(o, option, optarg);
    if (optind != argc || o->port == 0 || o->connections == 0 || o->depth == 0 || o->size == 0)
        usage();
    if (o->mode == MODE_IDLE && o->pid == 0)
        errx(2, "--mode idle needs --pid");
    if (o->protocol == STREAM_POLLING && o->kind == STREAM_BINARY)
        errx(2, "--protocol polling needs --text");
    if (o->path == NULL)
        o->path = default_path(o->protocol);
}

/* --- start ------------------------------------------------------------------------------------ */

static void raise_descriptor_limit(const struct options *o)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < (rlim_t)o->connections * (o->protocol == STREAM_POLLING ? 2 : 1) + 16)
        errx(EXIT_FAILURE, "%u connections: only %llu descriptors (ulimit -Hn)", o->connections,
             (unsigned long long)limit.rlim_max);
}

static void load_init(struct load *l)
{
    const struct options *o = &l->options;
    struct client_plan *plan = &l->plan;

    plan->server =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (inet_pton(AF_INET, o->host, &plan->server.sin_addr) != 1)
        errx(2, "%s: not an IPv4 address", o->host);
    plan->first_server = plan->server;
    if (o->sender_port != 0)
        plan->first_server.sin_port = htons((uint16_t)o->sender_port);
    plan->protocol = o->protocol;
    plan->stream = &l->stream;
    plan->shared_start = o->mode == MODE_ROOM ? 0 : SIZE_MAX;
    plan->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client_plan_request(plan, o->path);
    l->clients = calloc(o->connections, sizeof *l->clients);
    l->ring = calloc((size_t)o->connections * o->depth, sizeof *l->ring);
    if (plan->epoll_fd < 0 || l->clients == NULL || l->ring == NULL ||
        !stream_init(&l->stream, o->protocol, o->kind, o->size))
        err(EXIT_FAILURE, "start");
    for (unsigned i = 0; i < o->connections; i++)
        l->clients[i].started_ns = l->ring + (size_t)i * o->depth;
}

static void run(struct load *l)
{
    switch (l->options.mode) {
    case MODE_ECHO:
    case MODE_ROOM:
        run_messages(l);
        break;
    case MODE_IDLE:
        run_idle(l);
        break;
    case MODE_CONNECT:
        run_connect(l);
        break;
    }
}

int main(int argc, char **argv)
{
    struct load *l = calloc(1, sizeof *l);

    if (l == NULL)
        err(EXIT_FAILURE, "start");
    l->options = (struct options){.host = "127.0.0.1",
                                  .connections = 50,
                                  .size = 64,
                                  .depth = 1,
                                  .warmup_s = 0.5,
                                  .duration_s = 2};
    parse_command_line(&l->options, argc, argv);
    raise_descriptor_limit(&l->options);
    load_init(l);
    run(l);
    report(l);
    close_all(l);
    close(l->plan.epoll_fd);
    stream_release(&l->stream);
    free(l->ring);
    free(l->clients);
    free(l);
    return EXIT_SUCCESS;
}
