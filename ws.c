/* SPDX-License-Identifier: MIT
 *
 * The server: the epoll loop, endpoints, posts, timers, stopping. What happens on one connection is
 * in conn.c and the files below it (see server.h); the public API is ws.h.
 *
 * One turn of the loop: wait, read and handle each ready connection, fire timers, then settle every
 * connection that was touched: send what is queued, work on stashed input, free it if it is dead.
 *
 * Left out: TLS (put a proxy in front) and extensions (RFC 6455 §9: none is negotiated). */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "ws.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "accept.h"
#include "conn.h"
#include "conn_client.h"
#include "conn_end.h"
#include "listen.h"
#include "server.h"
#include "siphash.h"
#include "ws_services.h"

enum {
    EVENT_BATCH = 256,      /* events taken from epoll per turn */
    RESERVED_FDS = 32,      /* descriptors that are not for clients */
    STOP_LOOK_MS = 10,      /* while stopping, until the first conn_stop_waiting() of all; then
                               intervals double, */
    STOP_LOOK_MAX_MS = 640, /* up to this */
    WIDE_MEMORY = 16 << 20  /* bytes of max_memory for each connection that may be wide: its socket
                              holds 4 MiB at most (sysctl net.ipv4.tcp_wmem) */
};

struct watch {
    struct source source;
    struct watch *next;
    void (*fn)(void *arg, uint32_t ready); /* NULL once it has ended */
    void *arg;
};

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct ws_timer {
    struct timer timer;
    struct ws_server *server;
    struct ws_account *account; /* in which it counts; NULL: in none */
    struct ws_timer *next;      /* of the server's list */
    struct ws_timer **link;
    bool once; /* it ends when it fires */
    void (*fn)(void *arg);
    void *arg;
};

/* --- the clock and the log -------------------------------------------------------------------- */

bool ws_turn_over(struct ws_server *s, size_t deliveries)
{
    return server_share_used(s, SHARE_STEP + deliveries);
}

uint64_t ws_now_ms(struct ws_server *s)
{
    return server_now(s);
}

uint64_t ws_server_turn(const struct ws_server *s)
{
    return s->turn;
}

struct ws_conn *ws_conn_find(const struct ws_server *s, uint64_t id)
{
    struct ws_conn *c = conn_table_find(&s->conns, id);

    return c != NULL && c->state == CONN_OPEN ? c : NULL;
}

/* --- stopping --------------------------------------------------------------------------------- */

static void for_each_conn(struct ws_server *s, void (*fn)(struct ws_conn *c))
{
    for (size_t i = 0; i < s->conns.size; i++) {
        if (s->conns.entries[i].conn != NULL)
            fn(s->conns.entries[i].conn);
    }
}

static void stop_timer_fired(struct timer *t)
{
    for_each_conn(TIMER_OWNER(t, struct ws_server, stop_timer), conn_give_up);
}

/* At intervals that double, for there may be many connections. */
static void stop_look_fired(struct timer *t)
{
    struct ws_server *s = TIMER_OWNER(t, struct ws_server, stop_look_timer);

    for_each_conn(s, conn_stop_waiting);
    timer_set(&s->timers, t, s->now_ms + s->stop_look_ms);
    if (s->stop_look_ms < STOP_LOOK_MAX_MS)
        s->stop_look_ms *= 2;
}

static void stop_begin(struct ws_server *s)
{
    s->stopping = true;
    s->draining = true;
    accept_close(s);
    for_each_conn(s, conn_stop);
    s->stop_look_ms = STOP_LOOK_MS;
    timer_set(&s->timers, &s->stop_look_timer, s->now_ms + s->stop_look_ms);
    timer_set(&s->timers, &s->stop_timer, s->now_ms + s->options.close_timeout_ms);
}

static void stop_requested(struct ws_server *s, int calls)
{
    if (!s->stopping && calls > 0)
        stop_begin(s);
    if (calls > 1)
        for_each_conn(s, conn_give_up);
}

void ws_server_stop(struct ws_server *s)
{
    int saved = errno;

    atomic_fetch_add(&s->stop_calls, 1);
    server_wake(s);
    errno = saved;
}

/* --- posts, timers, watches ------------------------------------------------------------------- */

int ws_post(struct ws_server *s, void (*fn)(void *arg), void *arg)
{
    struct post *post = malloc(sizeof *post);

    if (post == NULL)
        return WS_ERR_NOMEM;
    *post = (struct post){.fn = fn, .arg = arg, .next = atomic_load(&s->posts)};
    while (!atomic_compare_exchange_weak(&s->posts, &post->next, post))
        ;
    server_wake(s);
    return 0;
}

/* The list is newest first; run it oldest first. */
static void run_posts(struct ws_server *s)
{
    struct post *newest = atomic_exchange(&s->posts, NULL);
    struct post *oldest = NULL;

    while (newest != NULL) {
        struct post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct post *next = oldest->next;

        server_share_begin(s);
        oldest->fn(oldest->arg);
        free(oldest);
        oldest = next;
    }
}

static void app_timer_free(struct ws_timer *t)
{
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    if (t->account != NULL)
        ws_account_give(t->account, t, sizeof *t);
    else
        free(t);
}

static void app_timer_fired(struct timer *timer)
{
    struct ws_timer *t = TIMER_OWNER(timer, struct ws_timer, timer);
    void (*fn)(void *arg) = t->fn;
    void *arg = t->arg;

    server_share_begin(t->server);
    if (t->once)
        app_timer_free(t);
    fn(arg);
}

struct ws_timer *ws_timer_new(struct ws_server *s, struct ws_account *a, void (*fn)(void *arg),
                              void *arg)
{
    struct ws_timer *t = a != NULL ? ws_account_take(a, sizeof *t) : malloc(sizeof *t);

    if (t == NULL)
        return NULL;
    *t = (struct ws_timer){.server = s, .account = a, .fn = fn, .arg = arg, .next = s->app_timers};
    t->timer.fire = app_timer_fired;
    t->link = &s->app_timers;
    if (t->next != NULL)
        t->next->link = &t->next;
    s->app_timers = t;
    return t;
}

/* From the clock, not from the turn's time: a callback before this one may have taken long. */
void ws_timer_set(struct ws_timer *t, unsigned delay_ms)
{
    struct ws_server *s = t->server;

    timer_set(&s->timers, &t->timer, server_clock(s) + delay_ms);
    if (!s->in_turn)
        server_wake(s); /* after the turn the timerfd is set */
}

void ws_timer_stop(struct ws_timer *t)
{
    timer_cancel(&t->server->timers, &t->timer);
}

struct ws_timer *ws_timer_start(struct ws_server *s, unsigned delay_ms, void (*fn)(void *arg),
                                void *arg)
{
    struct ws_timer *t = ws_timer_new(s, NULL, fn, arg);

    if (t == NULL)
        return NULL;
    t->once = true;
    ws_timer_set(t, delay_ms);
    return t;
}

void ws_timer_cancel(struct ws_timer *t)
{
    if (t == NULL)
        return;
    ws_timer_stop(t);
    app_timer_free(t);
}

/* The pointer to the watch of `fd`, or the NULL pointer behind the last watch. */
static struct watch **find_watch(struct ws_server *s, int fd)
{
    struct watch **link = &s->watches;

    while (*link != NULL && (*link)->source.fd != fd)
        link = &(*link)->next;
    return link;
}

/* The watch is freed after the batch, whose events may still point at it. If EPOLL_CTL_DEL fails it
 * is freed with the server: the descriptor was closed before its watch ended, but while a duplicate
 * (dup, fork) keeps its file open, epoll still reports the watch. */
static int watch_end(struct ws_server *s, struct watch **link)
{
    struct watch *w = *link;
    bool forgotten = epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, w->source.fd, NULL) == 0;
    struct watch **ended = forgotten ? &s->ended_watches : &s->lost_watches;

    *link = w->next;
    w->next = *ended;
    w->fn = NULL;
    *ended = w;
    return forgotten ? 0 : WS_ERR_SYSTEM;
}

static int watch_begin(struct ws_server *s, int fd, uint32_t events,
                       void (*fn)(void *arg, uint32_t ready), void *arg)
{
    struct watch *w = malloc(sizeof *w);
    struct epoll_event event = {.events = events, .data.ptr = w};

    if (w == NULL)
        return WS_ERR_NOMEM;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(w);
        return WS_ERR_SYSTEM;
    }
    *w = (struct watch){{.fd = fd, .kind = SOURCE_WATCH}, s->watches, fn, arg};
    s->watches = w;
    return 0;
}

int ws_watch(struct ws_server *s, int fd, uint32_t events, void (*fn)(void *arg, uint32_t ready),
             void *arg)
{
    struct watch **link = find_watch(s, fd);
    struct epoll_event event = {.events = events, .data.ptr = *link};

    if (*link == NULL)
        return events == 0 ? 0 : watch_begin(s, fd, events, fn, arg);
    if (events == 0)
        return watch_end(s, link);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0) {
        (*link)->fn = fn;
        (*link)->arg = arg;
        return 0;
    }
    if (errno != ENOENT)
        return WS_ERR_SYSTEM;
    /* The watched descriptor was closed, and this is another one with the same number. */
    watch_end(s, link);
    return watch_begin(s, fd, events, fn, arg);
}

static void watches_free(struct watch **list)
{
    while (*list != NULL) {
        struct watch *w = *list;

        *list = w->next;
        free(w);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static void consume_counter(int fd)
{
    uint64_t count;

    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

static void settle(struct ws_conn *c)
{
    c->life.listed = false;
    if (c->state != CONN_DEAD) {
        conn_settle(c);
        return;
    }
    conn_free(c);
}

/* Settle each touched connection once. One that is touched again meanwhile, say by an on_drain that
 * sends more, waits for the next turn: else a client that reads as fast as the server writes would
 * keep this loop running for ever. */
static void settle_touched(struct ws_server *s)
{
    struct ws_conn *c = s->touched;

    s->touched = NULL;
    while (c != NULL) {
        struct ws_conn *next = c->next_touched;

        settle(c);
        c = next;
    }
    assert(s->stage.owner == NULL || s->stage.owner->life.listed);
}

static void source_ready(struct ws_server *s, struct source *source, uint32_t events)
{
    switch ((enum source_kind)source->kind) {
    case SOURCE_CONN: {
        struct ws_conn *c = (struct ws_conn *)source;

        conn_ready(c, events);
        /* Answer at once while everything is in the cache. Room members wait for the end of the
         * turn, so that what several senders publish reaches them in one system call. */
        if (s->touched == c && c->rooms == NULL && c->state != CONN_DEAD) {
            s->touched = c->next_touched;
            settle(c);
        }
        break;
    }
    case SOURCE_LISTENER:
        accept_ready(s, (struct listener *)source);
        break;
    case SOURCE_WATCH: {
        struct watch *w = (struct watch *)source;

        server_share_begin(s);
        if (w->fn != NULL)
            w->fn(w->arg, events);
        break;
    }
    case SOURCE_WAKE:
        consume_counter(source->fd);
        run_posts(s);
        break;
    case SOURCE_CLOCK:
        consume_counter(source->fd);
        break;
    }
}

static int wait_timeout(struct ws_server *s, int timeout_ms, uint64_t now_ms)
{
    int timer_ms = timer_wheel_timeout_ms(&s->timers);
    uint64_t late = now_ms - s->timers.now;

    if (s->touched != NULL || s->sweep_batches != 0)
        return 0;
    if (timer_ms < 0)
        return timeout_ms;
    timer_ms = late >= (uint64_t)timer_ms ? 0 : timer_ms - (int)late;
    return timeout_ms < 0 || timer_ms < timeout_ms ? timer_ms : timeout_ms;
}

/* Input comes before deadlines: after a pause of the process, input that came in time is still
 * unread. A sweep is a series of batches. It ends with the first that is not full, or after as many
 * as report every source once: by then all that was ready when it began has been read, and timers
 * up to that moment may fire. */
static bool sweep_ends(struct ws_server *s, int ready)
{
    if (ready < 0)
        return false; /* interrupted, perhaps by SIGCONT: nothing is known */
    s->sweep_batches++;
    if (ready == EVENT_BATCH && s->sweep_batches <= s->conns.count / EVENT_BATCH + 1)
        return false;
    s->sweep_batches = 0;
    return true;
}

/* When a wait took this much longer than its timeout, the process was stopped or the machine
 * suspended, nobody knows when. What peers sent meanwhile may still be on its way, so nothing of
 * the wait counts: if its timeout did, the next deadline would be due at once. */
enum { ABSENCE_MS = 1000 };

/* The time now, after a wait of at most `timeout_ms` that began at `before_ms`. */
static uint64_t time_after_wait(struct ws_server *s, int timeout_ms, uint64_t before_ms)
{
    uint64_t waited_ms = server_clock(s) - before_ms;
    uint64_t most_ms = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms;

    if (waited_ms < ABSENCE_MS || waited_ms - ABSENCE_MS < most_ms)
        return before_ms + waited_ms;
    server_clock_skip(s, waited_ms);
    return before_ms;
}

static int turn(struct ws_server *s, int timeout_ms)
{
    struct epoll_event events[EVENT_BATCH];
    uint64_t before_ms = server_clock(s);
    int n;

    if (s->stopped)
        return 0;
    if (s->sweep_batches == 0)
        s->sweep_ms = before_ms;
    timeout_ms = wait_timeout(s, timeout_ms, before_ms);
    n = epoll_wait(s->epoll_fd, events, EVENT_BATCH, timeout_ms);
    if (n < 0 && errno != EINTR)
        return WS_ERR_SYSTEM;
    /* These are in their callbacks alone. */
    assert(s->hand.in_place == NULL && s->hand.upgrade == NULL && s->hand.beginning == NULL);
    s->in_turn = true;
    s->turn++;
    s->now_ms = time_after_wait(s, timeout_ms, before_ms);
    s->turn_us = s->clock_us;
    for (int i = 0; i < n; i++)
        source_ready(s, events[i].data.ptr, events[i].events);
    if (sweep_ends(s, n)) {
        timer_wheel_advance(&s->timers, s->sweep_ms);
        stop_requested(s, atomic_load(&s->stop_calls));
    }
    settle_touched(s);
    watches_free(&s->ended_watches);
    s->in_turn = false;
    s->stopped = s->stopping && s->conns.count == 0;
    return s->stopped ? 0 : 1;
}

int ws_server_run(struct ws_server *s)
{
    int result;

    do
        result = turn(s, -1);
    while (result > 0);
    return result;
}

/* A foreign loop polls the server's epoll descriptor. A timeout does not make that readable; a
 * timerfd in it does. */
int ws_server_step(struct ws_server *s, int timeout_ms)
{
    int result = turn(s, timeout_ms);
    int ms = wait_timeout(s, -1, server_clock(s));
    struct itimerspec at = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}};

    if (ms == 0)
        at.it_value.tv_nsec = 1; /* zero would disarm it */
    if (ms < 0)
        at = (struct itimerspec){0};
    timerfd_settime(s->clock.fd, 0, &at, NULL);
    return result;
}

int ws_server_fd(const struct ws_server *s)
{
    return s->epoll_fd;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static void default_size(size_t *option, size_t value)
{
    if (*option == 0)
        *option = value;
}

static bool origins_make_sense(struct ws_server *s, const char *const *origins)
{
    for (; origins != NULL && *origins != NULL; origins++) {
        const char *fault = ws_origin_fault(*origins);

        if (fault != NULL) {
            server_log(s, WS_LOG_ERROR, "origin '%s' cannot be allowed: %s", *origins, fault);
            return false;
        }
    }
    return true;
}

/* A client's offer is a list of tokens, RFC 6455 §4.1: a name that is no token is never agreed
 * on. */
static bool subprotocols_make_sense(struct ws_server *s, const char *const *subprotocols)
{
    for (; subprotocols != NULL && *subprotocols != NULL; subprotocols++) {
        if (!http_is_token(ws_str(*subprotocols))) {
            server_log(s, WS_LOG_ERROR, "subprotocol '%s' cannot be agreed on: no token",
                       *subprotocols);
            return false;
        }
    }
    return true;
}

int ws_server_handle(struct ws_server *s, const char *prefix, const struct ws_handlers *handlers)
{
    struct endpoint **link = &s->endpoints;
    size_t len = strlen(prefix);
    struct endpoint *e;

    if ((prefix[0] != '/' && strcmp(prefix, "*") != 0) ||
        !origins_make_sense(s, handlers->origins) ||
        !subprotocols_make_sense(s, handlers->subprotocols))
        return WS_ERR_INVALID;
    e = malloc(sizeof *e + len);
    if (e == NULL)
        return WS_ERR_NOMEM;
    while (*link != NULL && (*link)->prefix_len > len)
        link = &(*link)->next;
    e->next = *link;
    e->handlers = *handlers;
    default_size(&e->handlers.max_message, s->options.max_message);
    e->prefix_len = len;
    memcpy(e->prefix, prefix, len);
    *link = e;
    return 0;
}

/* --- making and freeing a server -------------------------------------------------------------- */

struct ws_stats ws_server_stats(const struct ws_server *s)
{
    return (struct ws_stats){.connections = s->conns.count - s->refused_count,
                             .max_clients = s->options.max_clients,
                             .max_queue = s->options.max_queue,
                             .buffered = s->budget.all.used};
}

static void default_number(unsigned *option, unsigned value)
{
    if (*option == 0)
        *option = value;
}

static size_t descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur > 2 * RESERVED_FDS ? (size_t)limit.rlim_cur - RESERVED_FDS
                                             : (size_t)limit.rlim_cur / 2;
}

static void fill_in_defaults(struct ws_options *o)
{
    size_t descriptors = descriptor_limit();

    default_size(&o->max_message, 16u << 20);
    default_size(&o->max_queue,
                 o->max_message < SIZE_MAX - (1u << 20) ? o->max_message + (1u << 20) : SIZE_MAX);
    default_size(&o->max_memory, 256u << 20);
    default_size(&o->high_water, 64u << 10);
    if (o->high_water > o->max_queue / 2)
        o->high_water = o->max_queue / 2;
    if (o->max_clients == 0 || o->max_clients > descriptors)
        o->max_clients = descriptors;
    default_size(&o->max_per_ip, (o->max_clients + 1) / 2);
    default_number(&o->handshake_rate, 1000);
    default_number(&o->message_rate, 10000);
    default_number(&o->handshake_timeout_ms, 10000);
    default_number(&o->close_timeout_ms, 5000);
    default_number(&o->ping_interval_ms, 30000);
    default_number(&o->ping_timeout_ms, 20000);
    default_number(&o->message_timeout_ms, 30000);
    if (o->log_level == 0)
        o->log_level = WS_LOG_ERROR;
}

/* Which limits were given, and what they are in the form that rate.h needs. */
static void note_limits(struct ws_server *s)
{
    const struct ws_options *o = &s->options;

    s->given.max_per_ip = o->max_per_ip != 0;
    s->given.handshake_rate = o->handshake_rate != 0;
    s->given.message_rate = o->message_rate != 0;
    fill_in_defaults(&s->options);
    s->handshake_limit = (struct rate_limit){
        o->handshake_rate,
        o->handshake_rate <= UINT_MAX / RATE_SECONDS ? o->handshake_rate * RATE_SECONDS : UINT_MAX};
    s->message_span = rate_span_of(o->message_rate);
}

static bool watch_source(const struct ws_server *s, struct source *source, int fd,
                         enum source_kind kind)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

    *source = (struct source){.fd = fd, .kind = (uint8_t)kind};
    return fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool server_init(struct ws_server *s)
{
    uint8_t key[SIPHASH_KEY_SIZE];

    s->epoll_fd = s->wake.fd = s->clock.fd = s->spare_fd = -1; /* none to close after a failure */
    if (ws_random(key, sizeof key) != 0) {
        server_log(s, WS_LOG_ERROR, "no random bytes: %s", strerror(errno));
        return false;
    }
    budget_init(&s->budget, s->options.max_memory);
    host_table_init(&s->hosts, &s->budget.all, key);
    output_pool_init(&s->pool, &s->budget.all);
    s->wide_max = s->options.max_memory / WIDE_MEMORY + 1;
    room_table_init(&s->rooms, &s->hosts, key);
    s->accept_random = (uint32_t)siphash(key, "accept", strlen("accept"));
    tzset(); /* else the first gmtime_r() would open a file, see http_date.c */
    s->now_ms = server_clock(s);
    timer_wheel_init(&s->timers, s->now_ms);
    s->stop_timer.fire = stop_timer_fired;
    s->stop_look_timer.fire = stop_look_fired;
    server_log_begin(s);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return s->epoll_fd >= 0 && conn_client_init(s) &&
           watch_source(s, &s->wake, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), SOURCE_WAKE) &&
           watch_source(s, &s->clock, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                        SOURCE_CLOCK) &&
           accept_begin(s);
}

static bool hosts_make_sense(struct ws_server *s)
{
    for (const char *const *h = s->options.hosts; h != NULL && *h != NULL; h++) {
        const char *fault = ws_host_fault(*h);

        if (fault != NULL) {
            server_log(s, WS_LOG_ERROR, "host '%s' matches no request: %s (ws_options.hosts)", *h,
                       fault);
            return false;
        }
    }
    return true;
}

static bool proxies_make_sense(struct ws_server *s)
{
    for (const char *const *p = s->options.trust_proxy; p != NULL && *p != NULL; p++) {
        const char *fault = ws_proxy_fault(*p);

        if (fault != NULL) {
            server_log(s, WS_LOG_ERROR, "proxy '%s' cannot be trusted: %s (ws_options.trust_proxy)",
                       *p, fault);
            return false;
        }
    }
    return true;
}

static bool options_make_sense(struct ws_server *s)
{
    const char *scheme = s->options.scheme;

    if (s->options.unix_mode > LISTEN_MODE_MAX) {
        server_log(s, WS_LOG_ERROR, "rights %#o are more than 0777 (ws_options.unix_mode)",
                   s->options.unix_mode);
        return false;
    }
    if (scheme == NULL || strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
        return origins_make_sense(s, s->options.origins) && hosts_make_sense(s) &&
               proxies_make_sense(s);
    server_log(s, WS_LOG_ERROR, "scheme '%s' is neither http nor https (ws_options.scheme)",
               scheme);
    return false;
}

struct ws_server *ws_server_new(const struct ws_options *options)
{
    struct ws_server *s = calloc(1, sizeof *s);
    int error;

    if (s == NULL)
        return NULL;
    if (options != NULL)
        s->options = *options;
    note_limits(s);
    if (!options_make_sense(s)) {
        free(s);
        errno = EINVAL;
        return NULL;
    }
    if (server_init(s))
        return s;
    error = errno;
    accept_give_back(s);
    ws_server_free(s);
    errno = error;
    return NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void ws_server_free(struct ws_server *s)
{
    if (s == NULL)
        return;
    s->in_turn = true; /* what is touched now is settled below */
    s->stopping = true;
    s->draining = true;
    accept_close(s);
    for_each_conn(s, conn_lost);
    while (s->touched != NULL)
        settle_touched(s);
    for (struct ws_timer *t = s->app_timers, *next; t != NULL; t = next) {
        next = t->next;
        ws_timer_cancel(t);
    }
    watches_free(&s->watches);
    watches_free(&s->ended_watches);
    watches_free(&s->lost_watches);
    for (struct post *p = atomic_exchange(&s->posts, NULL), *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    while (s->endpoints != NULL) {
        struct endpoint *e = s->endpoints;

        s->endpoints = e->next;
        free(e);
    }
    ws_accounts_leave(s);
    server_log_end(s);
    room_table_release(&s->rooms);
    host_table_release(&s->hosts);
    budget_release(&s->budget);
    close_if_open(s->clock.fd);
    close_if_open(s->wake.fd);
    close_if_open(s->spare_fd);
    close_if_open(s->epoll_fd);
    conn_table_release(&s->conns);
    conn_client_release(s);
    free(s->listeners);
    free(s);
}
