/* SPDX-License-Identifier: MIT
 *
 * Many Socket.IO sessions on HTTP long polling, each request on a connection of its own, so that it
 * lands on any of the server's workers. The server echoes events. Each session numbers its events,
 * and each number must come back once and in order.
 *
 *     polling_load PORT SESSIONS ROUNDS      prints one line at the end; status 1 and one line on
 *                                            stderr for what went wrong */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT = 256, EVENTS_A_POST = 2, LIMIT_S = 100, EVENT_BATCH = 64, SEPARATOR = 0x1e };

/* What the next request of a session is. */
enum step {
    OPEN,    /* GET: the session's id */
    JOIN,    /* POST: into the namespace */
    JOINED,  /* GET: the answer to that */
    EMIT,    /* POST: events */
    RECEIVE, /* GET: the same events */
    DONE
};

struct session {
    unsigned number;
    enum step step;
    unsigned rounds;   /* that are left */
    unsigned emitted;  /* events */
    unsigned received; /* of them */
    bool owes_pong;
    bool is_sent; /* the request in hand */
    char id[64];
    int fd;
    size_t len;
    char in[2048]; /* the answer so far */
};

struct load {
    struct sockaddr_in server;
    int epoll_fd;
    struct session *sessions;
    unsigned count;
    unsigned *ready; /* sessions whose next request may leave */
    unsigned ready_count;
    unsigned in_flight;
    unsigned joined; /* all have joined before the first emits */
    unsigned done;
    unsigned long requests;
    uint64_t random;
};

__attribute__((format(printf, 2, 3))) static _Noreturn void fail(const struct session *s,
                                                                 const char *format, ...)
{
    va_list args;

    fprintf(stderr, "polling_load: session %u, step %d, %u of %u events: ", s->number, s->step,
            s->received, s->emitted);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(EXIT_FAILURE);
}

/* --- requests --------------------------------------------------------------------------------- */

static int body_of(struct session *s, char *out, size_t size)
{
    int len = 0;

    if (s->step == JOIN)
        return snprintf(out, size, "40");
    if (s->owes_pong)
        len = snprintf(out, size, "3%c", SEPARATOR);
    s->owes_pong = false;
    for (int i = 0; i < EVENTS_A_POST; i++)
        len += snprintf(out + len, size - (size_t)len, "%s42[\"event\",%u,%u]",
                        i == 0 ? "" : "\x1e", s->number, s->emitted++);
    return len;
}

static void send_request(struct session *s)
{
    bool is_post = s->step == JOIN || s->step == EMIT;
    char body[512] = "", text[1024];
    int body_len = is_post ? body_of(s, body, sizeof body) : 0;
    int len =
        snprintf(text, sizeof text,
                 "%s /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: localhost\r\n"
                 "Connection: close\r\nContent-Length: %d\r\n\r\n%s",
                 is_post ? "POST" : "GET", s->step == OPEN ? "" : "&sid=", s->id, body_len, body);

    if (send(s->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        fail(s, "send: %s", strerror(errno));
    s->is_sent = true;
}

static void begin(struct load *l, struct session *s)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = s};

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->len = 0;
    s->is_sent = false;
    if (s->fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0)
        fail(s, "socket: %s", strerror(errno));
    if (connect(s->fd, (const struct sockaddr *)&l->server, sizeof l->server) != 0 &&
        errno != EINPROGRESS)
        fail(s, "connect: %s", strerror(errno));
    l->in_flight++;
    l->requests++;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void read_id(struct session *s, const char *body)
{
    if (sscanf(body, "0{\"sid\":\"%63[^\"]\"", s->id) != 1)
        fail(s, "no id: %s", body);
    s->step = JOIN;
}

static void read_packet(struct session *s, const char *packet)
{
    unsigned number, n;

    if (strcmp(packet, "2") == 0)
        s->owes_pong = true;
    else if (sscanf(packet, "42[\"event\",%u,%u]", &number, &n) != 2 || number != s->number ||
             n != s->received++)
        fail(s, "came: %s", packet);
}

static void read_events(struct session *s, char *body)
{
    char *packet = body;

    while (packet != NULL) {
        char *end = strchr(packet, SEPARATOR);

        if (end != NULL)
            *end++ = '\0';
        read_packet(s, packet);
        packet = end;
    }
    if (s->received == s->emitted)
        s->step = --s->rounds == 0 ? DONE : EMIT;
}

static void read_answer(struct session *s)
{
    char *body = strstr(s->in, "\r\n\r\n");

    if (body == NULL || strncmp(s->in, "HTTP/1.1 200 ", 13) != 0)
        fail(s, "came: '%s'", s->in);
    body += 4;
    if ((s->step == JOIN || s->step == EMIT) && strcmp(body, "ok") != 0)
        fail(s, "came: %s", body);
    if (s->step == JOINED && strncmp(body, "40{", 3) != 0)
        fail(s, "came: %s", body);
    if (s->step == OPEN)
        read_id(s, body);
    else if (s->step == RECEIVE)
        read_events(s, body);
    else
        s->step++;
}

static void put_ready(struct load *l, const struct session *s)
{
    l->ready[l->ready_count++] = s->number;
}

/* The connection is over, and with it the request. */
static void end(struct load *l, struct session *s)
{
    bool had_joined = s->step >= EMIT;

    close(s->fd);
    l->in_flight--;
    read_answer(s);
    if (s->step == DONE) {
        l->done++;
    } else if (had_joined || s->step < EMIT) {
        put_ready(l, s);
    } else if (++l->joined == l->count) {
        for (unsigned i = 0; i < l->count; i++)
            put_ready(l, &l->sessions[i]);
    }
}

/* Returns false when the connection is over. */
static bool receive(struct session *s)
{
    ssize_t n = recv(s->fd, s->in + s->len, sizeof s->in - 1 - s->len, 0);

    if (n < 0 && errno == EAGAIN)
        return true;
    if (n < 0)
        fail(s, "recv: %s", strerror(errno));
    s->len += (size_t)n;
    s->in[s->len] = '\0';
    if (s->len == sizeof s->in - 1)
        fail(s, "too long: %s", s->in);
    return n != 0;
}

static void session_ready(struct load *l, struct session *s)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};

    if (s->is_sent) {
        if (!receive(s))
            end(l, s);
        return;
    }
    send_request(s);
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, s->fd, &event);
}

/* --- the load --------------------------------------------------------------------------------- */

/* Any of those that wait, and the same ones in each run. */
static struct session *take_any(struct load *l)
{
    unsigned at, number;

    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    at = (unsigned)(l->random >> 33) % l->ready_count;
    number = l->ready[at];
    l->ready[at] = l->ready[--l->ready_count];
    return &l->sessions[number];
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct load *l)
{
    double start_s = now_s();

    while (l->done < l->count) {
        struct epoll_event events[EVENT_BATCH];
        int n;

        while (l->ready_count > 0 && l->in_flight < IN_FLIGHT)
            begin(l, take_any(l));
        n = epoll_wait(l->epoll_fd, events, EVENT_BATCH, 1000);
        for (int i = 0; i < n; i++)
            session_ready(l, events[i].data.ptr);
        if (now_s() - start_s > LIMIT_S) {
            fprintf(stderr, "polling_load: %u of %u sessions are done after %d s\n", l->done,
                    l->count, LIMIT_S);
            exit(EXIT_FAILURE);
        }
    }
    printf("%u sessions, %lu requests in %.1f s\n", l->count, l->requests, now_s() - start_s);
}

static unsigned number_of(const char *text)
{
    unsigned long n = strtoul(text, NULL, 10);

    if (n == 0 || n > 1000000) {
        fprintf(stderr, "polling_load: '%s': not a number\n", text);
        exit(2);
    }
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    struct load l = {.random = 1};

    if (argc != 4) {
        fprintf(stderr, "usage: polling_load PORT SESSIONS ROUNDS\n");
        return 2;
    }
    l.server.sin_family = AF_INET;
    l.server.sin_port = htons((uint16_t)number_of(argv[1]));
    l.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l.count = number_of(argv[2]);
    l.sessions = calloc(l.count, sizeof *l.sessions);
    l.ready = calloc(l.count, sizeof *l.ready);
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l.sessions == NULL || l.ready == NULL || l.epoll_fd < 0) {
        perror("polling_load");
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < l.count; i++) {
        l.sessions[i].number = i;
        l.sessions[i].rounds = number_of(argv[3]);
        put_ready(&l, &l.sessions[i]);
    }
    run(&l);
    free(l.sessions);
    free(l.ready);
    close(l.epoll_fd);
    return EXIT_SUCCESS;
}
