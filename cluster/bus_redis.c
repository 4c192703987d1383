/* SPDX-License-Identifier: MIT
 *
 * A bus over Redis; see bus_redis.h.
 *
 * The two connections live and die together, so that both are at the same Redis:
 *
 *     OFF -> LOOKUP -> COMMANDS -> SUBSCRIBER -> TELLING -> UP
 *
 * look up the name, connect and greet the one, then the other, subscribe to all that there is. What
 * fails goes to OFF, and from there to the next address or URL; after the last one it waits for a
 * time that doubles, and begins with the first. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "bus_redis.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus_carrier.h"
#include "redis_conn.h"
#include "redis_lookup.h"

enum {
    RETRY_MAX_MS = 10000,
    FAULT_MAX = 600,       /* bytes of why all URLs have failed */
    TELL_AHEAD = 64 * 1024 /* bytes of subscriptions that are on their way at once */
};

enum state { OFF, LOOKUP, COMMANDS, SUBSCRIBER, TELLING, UP };

struct bus_redis {
    struct bus bus; /* first, so that it can be cast */
    struct bus_redis_options options;
    struct redis_url *urls;
    size_t url_count;
    size_t url; /* that is tried, or used */
    struct redis_addresses addresses;
    size_t address;
    enum state state;
    struct ws_timer *timer; /* of the state: when it ends, or in UP the next look at silence */

    struct redis_queue commands_queue; /* lives on while the bus is down */
    struct redis_queue subscriber_queue;
    struct redis_conn commands;
    struct redis_conn subscriber;
    size_t untold;              /* subscriptions and their ends that Redis has not acknowledged */
    uint64_t asked_commands_ms; /* whether it is there; 0: it has said something since */
    uint64_t asked_subscriber_ms;
    bool work_is_set;      /* `work` will fire */
    struct ws_timer *work; /* sends what was published and subscribed to in a turn */

    int lookup_fd; /* -1: none */
    bool owns_lookup;
    bool is_asked; /* and has not answered: for the name of `asked_url` */
    size_t asked_url;
    bool has_found; /* an answer that came too late, for the next try of `found_url` */
    size_t found_url;
    struct redis_addresses found;

    unsigned retry_ms; /* until the next round of tries */
    uint64_t up_since_ms;
    uint64_t down_since_ms;
    unsigned long long dropped_before; /* this outage */
    bool was_up;
    bool has_failed;              /* a whole round, since it was up */
    bool dropping_is_logged;      /* in this outage */
    bool refusal_is_logged;       /* on this connection */
    char fault[FAULT_MAX];        /* of this round of tries: what failed at each */
    char logged_fault[FAULT_MAX]; /* so that the same is logged once */
};

static struct bus_redis *of(struct bus *b)
{
    return (struct bus_redis *)b;
}

static void say(const struct bus_redis *r, enum ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(const struct bus_redis *r, enum ws_log_level level, const char *format, ...)
{
    char line[FAULT_MAX + 100];
    va_list arguments;

    if (r->options.log == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    r->options.log(r->options.log_arg, level, line);
}

/* The URL that is tried or used, for the log. */
static const char *shown(const struct bus_redis *r)
{
    return r->urls[r->url].shown;
}

/* --- what is published ------------------------------------------------------------------------ */

/* All that is published leaves in one system call, when the timers next fire, about
 * 1 ms later. */
static void work_later(struct bus_redis *r)
{
    if (r->commands.state != REDIS_READY || r->work_is_set)
        return;
    r->work_is_set = true;
    ws_timer_set(r->work, 0);
}

static void note_dropped(struct bus_redis *r)
{
    r->bus.dropped++;
    if (r->dropping_is_logged)
        return;
    r->dropping_is_logged = true;
    say(r, WS_LOG_ERROR, "redis: %zu bytes wait to be sent to %s: the oldest messages are dropped",
        r->commands_queue.bytes, shown(r));
}

/* Drop the oldest message that has not been sent in part. False where there is none. */
static bool drop_oldest(struct bus_redis *r)
{
    struct redis_queue *q = &r->commands_queue;
    struct redis_command *before = r->commands.sent != 0 ? q->first : NULL;
    struct redis_command *command = before == NULL ? q->first : before->next;

    while (command != NULL && command->tag != NULL) {
        before = command;
        command = command->next;
    }
    if (command == NULL)
        return false;
    note_dropped(r);
    redis_command_free(q, redis_queue_take(q, before));
    return true;
}

static bool has_room(const struct bus_redis *r, size_t size)
{
    size_t max = r->options.queue_max;

    return size <= max && r->commands_queue.bytes <= max - size;
}

static int publish(struct bus *b, enum bus_kind kind, struct ws_str channel,
                   const struct ws_str *pieces, size_t count)
{
    struct bus_redis *r = of(b);
    const struct ws_str arguments[] = {ws_str(kind == BUS_SHARD ? "SPUBLISH" : "PUBLISH"), channel};
    const struct ws_str nothing = {NULL, 0};
    size_t size;

    if (count == 0)
        return publish(b, kind, channel, &nothing, 1);
    size = sizeof(struct redis_command) + resp_command(NULL, arguments, 2, pieces, count);
    if (size > r->options.queue_max)
        return WS_ERR_FULL;
    while (!has_room(r, size)) {
        if (!drop_oldest(r))
            return WS_ERR_FULL;
    }
    if (redis_queue_add(&r->commands_queue, arguments, 2, pieces, count) == NULL)
        return WS_ERR_NOMEM;
    work_later(r);
    return 0;
}

static int count_subscribers(struct bus *b, enum bus_kind kind, struct ws_str channel,
                             struct bus_question *q)
{
    struct bus_redis *r = of(b);
    const struct ws_str arguments[] = {
        ws_str("PUBSUB"), ws_str(kind == BUS_SHARD ? "SHARDNUMSUB" : "NUMSUB"), channel};
    size_t size = sizeof(struct redis_command) + resp_command(NULL, arguments, 3, NULL, 0);
    struct redis_command *command;

    if (!has_room(r, size))
        return WS_ERR_FULL;
    command = redis_queue_add(&r->commands_queue, arguments, 3, NULL, 0);
    if (command == NULL)
        return WS_ERR_NOMEM;
    command->tag = q;
    work_later(r);
    return 0;
}

/* --- the connection is lost ------------------------------------------------------------------- */

/* Move the questions of a queue behind `*end`; they will have no answer. */
static struct bus_question **take_questions(struct redis_queue *q, struct bus_question **end)
{
    struct redis_command *before = NULL;
    struct redis_command *next = q->first;

    while (next != NULL) {
        struct redis_command *command = next;

        next = command->next;
        if (command->tag == NULL) {
            before = command;
            continue;
        }
        *end = command->tag;
        end = &(*end)->next;
        *end = NULL;
        redis_command_free(q, redis_queue_take(q, before));
    }
    return end;
}

/* Nothing is sent any more, and what was sent has no answer. A message that was sent in part is
 * dropped, though Redis cannot have taken it: it may be what ended the connection, such as one over
 * proto-max-bulk-len, and would end the next ones, too. Returns the questions that have no answer,
 * for the caller to answer last. */
static struct bus_question *disconnect(struct bus_redis *r)
{
    struct bus_question *questions = NULL;
    struct bus_question **end = &questions;
    struct redis_command *cut = r->commands.sent != 0 ? r->commands_queue.first : NULL;

    redis_conn_close(&r->commands);
    redis_conn_close(&r->subscriber);
    r->commands.sent = r->subscriber.sent = 0;
    if (cut != NULL && cut->tag == NULL) {
        r->bus.dropped++;
        redis_command_free(&r->commands_queue, redis_queue_take(&r->commands_queue, NULL));
    }
    end = take_questions(&r->commands.unanswered, end);
    take_questions(&r->commands_queue, end);
    redis_queue_release(&r->subscriber_queue);
    r->untold = 0;
    bus_forget_told(&r->bus);
    return questions;
}

/* The milliseconds until the next try: half of `retry_ms`, and a random part of the other half, so
 * that many processes do not come all at once. */
static unsigned next_delay(struct bus_redis *r)
{
    unsigned half = r->retry_ms / 2;
    uint32_t random = 0;

    if (ws_random(&random, sizeof random) != 0)
        random = 0; /* uncovered: getrandom() would fail behind another call */
    r->retry_ms = r->retry_ms < RETRY_MAX_MS / 2 ? 2 * r->retry_ms : RETRY_MAX_MS;
    return half + random % (half + 1);
}

static void end_round(struct bus_redis *r)
{
    r->url = 0;
    r->has_failed = true;
    if (strcmp(r->fault, r->logged_fault) == 0)
        return;
    strcpy(r->logged_fault, r->fault);
    say(r, WS_LOG_ERROR, "redis: %s", r->fault);
}

/* What was tried has failed: go on with the next address, URL or round. */
static void go_on(struct bus_redis *r)
{
    unsigned delay_ms = 0;

    if (r->urls[r->url].host[0] != '\0' && r->address + 1 < r->addresses.count) {
        r->address++;
    } else {
        r->address = r->addresses.count = 0;
        if (++r->url == r->url_count) {
            end_round(r);
            delay_ms = next_delay(r);
        }
    }
    r->state = OFF;
    ws_timer_set(r->timer, delay_ms);
}

static void note_fault(struct bus_redis *r, const char *why)
{
    size_t len = r->url == 0 && r->address == 0 ? 0 : strlen(r->fault);
    char fault[REDIS_URL_HOST + 300];

    snprintf(fault, sizeof fault, "%s: %s", shown(r), why);
    r->fault[len] = '\0';
    if (strstr(r->fault, fault) == NULL) /* else it is another address of the same name */
        snprintf(r->fault + len, sizeof r->fault - len, "%s%s", len == 0 ? "" : "; ", fault);
}

/* The bus was up. Only where it was for a while, the next tries begin soon again: a Redis may
 * accept each connection and end it. */
static void go_down(struct bus_redis *r, const char *why)
{
    uint64_t now = ws_now_ms(r->bus.server);

    say(r, WS_LOG_ERROR, "redis: lost %s: %s", shown(r), why);
    if (now - r->up_since_ms >= RETRY_MAX_MS)
        r->retry_ms = r->options.retry_ms; /* uncovered: no test waits so long */
    r->down_since_ms = now;
    r->dropped_before = r->bus.dropped;
    r->url = r->address = r->addresses.count = 0;
    r->state = OFF;
    ws_timer_set(r->timer, next_delay(r));
}

/* Calls back last, for what is called may publish, subscribe and ask. */
static void lost(void *arg, const char *why)
{
    struct bus_redis *r = arg;
    struct bus_question *q;

    if (r->state == UP) {
        go_down(r, why);
    } else {
        note_fault(r, why);
        go_on(r);
    }
    q = disconnect(r);
    bus_set_up(&r->bus, false);
    while (q != NULL) {
        struct bus_question *next = q->next;

        bus_answer(&r->bus, q, WS_ERR_CLOSED);
        q = next;
    }
}

/* --- subscriptions ---------------------------------------------------------------------------- */

/* Tell Redis what has changed, no faster than it reads. */
static void tell_changes(struct bus_redis *r)
{
    static const char *const commands[BUS_KINDS][2] = {{"UNSUBSCRIBE", "SUBSCRIBE"},
                                                       {"PUNSUBSCRIBE", "PSUBSCRIBE"},
                                                       {"SUNSUBSCRIBE", "SSUBSCRIBE"}};
    enum bus_kind kind;
    struct ws_str name;
    bool wanted;

    if (r->subscriber.state != REDIS_READY)
        return;
    while (r->subscriber_queue.bytes < TELL_AHEAD && bus_change(&r->bus, &kind, &name, &wanted)) {
        const struct ws_str arguments[] = {ws_str(commands[kind][wanted]), name};

        if (redis_queue_add(&r->subscriber_queue, arguments, 2, NULL, 0) == NULL) {
            lost(r, "there is no memory to subscribe (ws_options.max_memory)");
            return;
        }
        r->untold++;
    }
    redis_conn_flush(&r->subscriber);
}

static void work_fired(void *arg)
{
    struct bus_redis *r = arg;

    r->work_is_set = false;
    redis_conn_flush(&r->commands);
    tell_changes(r);
}

static void changed(struct bus *b)
{
    work_later(of(b));
}

static void come_up(struct bus_redis *r)
{
    unsigned long long dropped = r->bus.dropped - r->dropped_before;

    if (r->was_up || r->has_failed)
        say(r, WS_LOG_ERROR, "redis: connected to %s after %.1f s; %llu message%s dropped",
            shown(r), (double)(ws_now_ms(r->bus.server) - r->down_since_ms) / 1000, dropped,
            dropped == 1 ? " was" : "s were");
    else
        say(r, WS_LOG_INFO, "redis: connected to %s", shown(r));
    r->state = UP;
    r->was_up = true;
    r->has_failed = r->dropping_is_logged = r->refusal_is_logged = r->has_found = false;
    r->fault[0] = r->logged_fault[0] = '\0';
    r->up_since_ms = ws_now_ms(r->bus.server);
    r->asked_commands_ms = r->asked_subscriber_ms = 0;
    ws_timer_set(r->timer, r->options.ping_ms);
    bus_set_up(&r->bus, true);
}

/* Come up if Redis has acknowledged all subscriptions. */
static void look_whether_told(struct bus_redis *r)
{
    if (r->state == TELLING && r->untold == 0 && r->bus.changes == NULL)
        come_up(r);
}

/* --- what Redis says -------------------------------------------------------------------------- */

/* The answer to PUBLISH, the number of its recipients, or to PING. Only an error is of interest. */
static void message_answered(struct bus_redis *r, const struct resp_value *value)
{
    char text[REDIS_SHOWN];

    if (value->type != RESP_ERROR)
        return;
    r->bus.dropped++;
    if (!r->refusal_is_logged)
        say(r, WS_LOG_ERROR, "redis: %s refuses messages: %s", shown(r),
            redis_shown(text, value->text));
    r->refusal_is_logged = true;
}

/* A channel and the number of its subscribers. */
static ptrdiff_t read_count(const struct resp_reader *reader)
{
    const struct resp_value *v = reader->values;

    if ((v[0].type != RESP_ARRAY && v[0].type != RESP_MAP) || reader->count != 3 ||
        v[2].type != RESP_INTEGER || v[2].number < 0 || v[2].number > PTRDIFF_MAX)
        return WS_ERR_INVALID;
    return (ptrdiff_t)v[2].number;
}

static void command_answered(void *arg, const struct resp_reader *reader,
                             const struct redis_command *command)
{
    struct bus_redis *r = arg;

    if (reader->values[0].type == RESP_PUSH)
        return;
    if (command == NULL)
        message_answered(r, &reader->values[0]);
    else
        bus_answer(&r->bus, command->tag, read_count(reader));
}

/* A message, as which kind of subscription? False: it is something else. */
static bool deliver(struct bus_redis *r, const struct resp_reader *reader)
{
    static const struct {
        const char *name;
        enum bus_kind kind;
        size_t count;
    } kinds[] = {
        {"message", BUS_CHANNEL, 4}, {"pmessage", BUS_PATTERN, 5}, {"smessage", BUS_SHARD, 4}};
    const struct resp_value *v = reader->values;

    for (size_t i = 0; i < BUS_KINDS; i++) {
        if (!ws_str_is(v[1].text, kinds[i].name))
            continue;
        if (reader->count != kinds[i].count || v[0].number + 1 != (int64_t)kinds[i].count)
            return false;
        for (size_t j = 2; j < reader->count; j++) {
            if (v[j].type != RESP_STRING)
                return false;
        }
        bus_deliver(&r->bus, kinds[i].kind, v[2].text, v[reader->count - 2].text,
                    v[reader->count - 1].text);
        return true;
    }
    return false;
}

/* "subscribe", "punsubscribe" and the like, with the name and the number of subscriptions. */
static bool acknowledges(const struct bus_redis *r, const struct resp_reader *reader)
{
    static const char end[] = "subscribe";
    struct ws_str what = reader->values[1].text;
    size_t len = sizeof end - 1;

    return r->untold > 0 && reader->count == 4 && reader->values[3].type == RESP_INTEGER &&
           what.len >= len && memcmp(what.data + what.len - len, end, len) == 0;
}

/* In RESP2 the answer to a PING is an array here. */
static bool is_pong(const struct resp_reader *reader)
{
    const struct resp_value *v = reader->values;

    return reader->count > 1 ? ws_str_is(v[1].text, "pong")
                             : v[0].type == RESP_STRING && ws_str_is(v[0].text, "PONG");
}

static void subscriber_was_told(void *arg, const struct resp_reader *reader,
                                const struct redis_command *command)
{
    struct bus_redis *r = arg;
    const struct resp_value *v = reader->values;
    bool is_list = (v[0].type == RESP_PUSH || v[0].type == RESP_ARRAY) && reader->count > 1 &&
                   v[1].type == RESP_STRING;
    char text[REDIS_SHOWN];
    char why[REDIS_SHOWN + 32];

    (void)command;
    if (is_list && deliver(r, reader))
        return;
    if (is_list && acknowledges(r, reader)) {
        r->untold--;
        look_whether_told(r);
    } else if (v[0].type == RESP_ERROR) {
        snprintf(why, sizeof why, "it refuses a subscription: %s", redis_shown(text, v[0].text));
        lost(r, why);
    } else if (!is_pong(reader)) {
        lost(r, "it sent what is neither a message nor an answer to a subscription");
    }
}

/* --- connecting ------------------------------------------------------------------------------- */

static void connect_to(struct bus_redis *r, struct redis_conn *c, enum state state)
{
    const struct redis_url *url = &r->urls[r->url];
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    const struct sockaddr *address = (const struct sockaddr *)&path;
    socklen_t len = sizeof path;
    const char *why;

    memcpy(path.sun_path, url->path, sizeof path.sun_path);
    if (url->host[0] != '\0') {
        bool is_ipv6 = r->addresses.items[r->address].any.sa_family == AF_INET6;

        if (is_ipv6)
            r->addresses.items[r->address].ipv6.sin6_port = htons(url->port);
        else
            r->addresses.items[r->address].ipv4.sin_port = htons(url->port);
        address = &r->addresses.items[r->address].any;
        len = is_ipv6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    }
    r->state = state;
    ws_timer_set(r->timer, r->options.timeout_ms);
    why = redis_conn_open(c, url, address, len);
    if (why != NULL)
        lost(r, why);
}

static void commands_ready(void *arg)
{
    struct bus_redis *r = arg;

    connect_to(r, &r->subscriber, SUBSCRIBER);
}

static void subscriber_ready(void *arg)
{
    struct bus_redis *r = arg;

    r->state = TELLING;
    ws_timer_set(r->timer, r->options.timeout_ms);
    work_later(r); /* messages that wait, too */
    look_whether_told(r);
}

static void all_sent(void *arg)
{
    struct bus_redis *r = arg;

    if (r->bus.changes != NULL)
        work_later(r);
}

static bool is_same_name(const struct bus_redis *r, size_t url, size_t other)
{
    return strcmp(r->urls[url].host, r->urls[other].host) == 0;
}

/* One question at a time: while an older one has no answer yet, that is waited for. */
static void ask_for_addresses(struct bus_redis *r)
{
    r->state = LOOKUP;
    ws_timer_set(r->timer, r->options.timeout_ms);
    if (r->lookup_fd < 0) {
        lost(r, "nobody looks up names any more");
    } else if (!r->is_asked && redis_lookup_ask(r->lookup_fd, r->urls[r->url].host) != 0) {
        lost(r, ws_strerror(errno));
    } else if (!r->is_asked) {
        r->is_asked = true;
        r->asked_url = r->url;
    }
}

/* The answer is not for the try in hand. But it may be that each look-up takes longer than a try
 * may, so it is kept for the next one. */
static void keep_addresses(struct bus_redis *r, const struct redis_addresses *a)
{
    if (a->error != 0 || r->state == UP)
        return;
    r->has_found = true;
    r->found_url = r->asked_url;
    r->found = *a;
}

static void addresses_came(void *arg, uint32_t ready)
{
    struct bus_redis *r = arg;
    struct redis_addresses a;

    (void)ready;
    if (!redis_lookup_take(r->lookup_fd, &a)) {
        ws_watch(r->bus.server, r->lookup_fd, 0, NULL, NULL);
        if (r->owns_lookup)
            close(r->lookup_fd); /* uncovered: the thread lives as long as the bus */
        r->lookup_fd = -1;
        r->is_asked = false;
        if (r->state == LOOKUP)
            lost(r, "nobody looks up names any more");
        return;
    }
    r->is_asked = false;
    if (r->state != LOOKUP || !is_same_name(r, r->asked_url, r->url)) {
        keep_addresses(r, &a);
        if (r->state == LOOKUP)
            ask_for_addresses(r);
        return;
    }
    r->addresses = a;
    if (a.error != 0)
        lost(r, gai_strerror(a.error));
    else
        connect_to(r, &r->commands, COMMANDS);
}

/* Are the addresses of the URL known already? */
static bool knows_addresses(struct bus_redis *r)
{
    const struct redis_url *url = &r->urls[r->url];

    if (r->address != 0 || url->host[0] == '\0' || redis_lookup_numeric(url->host, &r->addresses))
        return true;
    if (!r->has_found || !is_same_name(r, r->found_url, r->url))
        return false;
    r->addresses = r->found;
    r->has_found = false;
    return true;
}

/* An address of a name that was looked up, or the first one of a URL. */
static void try_next(struct bus_redis *r)
{
    if (knows_addresses(r))
        connect_to(r, &r->commands, COMMANDS);
    else
        ask_for_addresses(r);
}

/* --- the timer -------------------------------------------------------------------------------- */

/* Ask a connection that has been silent whether it is there. Returns how long it may still be
 * silent, in ms; 0: it is lost. */
static unsigned look_at_silence(struct bus_redis *r, struct redis_conn *c, uint64_t *asked_ms)
{
    const struct ws_str ping = ws_str("PING");
    uint64_t now_ms = ws_now_ms(r->bus.server);
    uint64_t silent_ms = now_ms - c->heard_ms;

    if (*asked_ms != 0 && c->heard_ms < *asked_ms) {
        uint64_t waited_ms = now_ms - *asked_ms;

        return waited_ms < r->options.timeout_ms ? r->options.timeout_ms - (unsigned)waited_ms : 0;
    }
    *asked_ms = 0;
    if (silent_ms < r->options.ping_ms)
        return r->options.ping_ms - (unsigned)silent_ms;
    if (c->queue->first != NULL) { /* that will be answered */
        *asked_ms = now_ms;
    } else if (redis_queue_add(c->queue, &ping, 1, NULL, 0) != NULL) {
        *asked_ms = now_ms;
        redis_conn_flush(c);
    }
    return r->options.timeout_ms; /* without memory it is asked then */
}

static void look_at_both(struct bus_redis *r)
{
    unsigned commands_ms = look_at_silence(r, &r->commands, &r->asked_commands_ms);
    unsigned subscriber_ms;

    if (r->state != UP)
        return; /* uncovered: sending has failed; mostly epoll tells of the loss before */
    subscriber_ms = look_at_silence(r, &r->subscriber, &r->asked_subscriber_ms);
    if (r->state != UP)
        return; /* uncovered: the same */
    if (commands_ms == 0 || subscriber_ms == 0)
        lost(r, "it does not answer any more");
    else
        ws_timer_set(r->timer, commands_ms < subscriber_ms ? commands_ms : subscriber_ms);
}

static void timer_fired(void *arg)
{
    struct bus_redis *r = arg;
    uint64_t silent_ms = ws_now_ms(r->bus.server) - r->subscriber.heard_ms;

    switch (r->state) {
    case OFF:
        try_next(r);
        break;
    case LOOKUP:
        lost(r, "looking up its name takes too long");
        break;
    case COMMANDS:
    case SUBSCRIBER:
        lost(r, "it does not answer");
        break;
    case TELLING: /* which may take long */
        if (silent_ms < r->options.timeout_ms)
            ws_timer_set(r->timer, r->options.timeout_ms - (unsigned)silent_ms);
        else
            lost(r, "it does not answer to subscriptions");
        break;
    case UP:
        look_at_both(r);
        break;
    }
}

/* --- begin and end ---------------------------------------------------------------------------- */

static void default_number(unsigned *number, unsigned value)
{
    if (*number == 0)
        *number = value;
}

static void fill_in_defaults(struct bus_redis_options *o)
{
    if (o->queue_max == 0)
        o->queue_max = 16u << 20;
    if (o->message_max == 0)
        o->message_max = 64u << 20;
    default_number(&o->ping_ms, 10000);
    default_number(&o->timeout_ms, 5000);
    default_number(&o->retry_ms, 100);
}

/* Returns whether all of them are URLs. */
static bool parse_urls(struct bus_redis *r)
{
    while (r->options.urls != NULL && r->options.urls[r->url_count] != NULL)
        r->url_count++;
    r->urls = calloc(r->url_count + 1, sizeof *r->urls);
    if (r->urls == NULL)
        return false;
    for (size_t i = 0; i < r->url_count; i++) {
        const char *fault = redis_url_parse(&r->urls[i], r->options.urls[i]);

        if (fault == NULL)
            continue;
        say(r, WS_LOG_ERROR, "redis: %s: %s", redis_url_shown(r->options.urls[i]), fault);
        errno = EINVAL;
        return false;
    }
    errno = EINVAL;
    return r->url_count != 0;
}

static bool has_names(const struct bus_redis *r)
{
    struct redis_addresses a;

    for (size_t i = 0; i < r->url_count; i++) {
        if (r->urls[i].host[0] != '\0' && !redis_lookup_numeric(r->urls[i].host, &a))
            return true;
    }
    return false;
}

static bool begin_lookup(struct bus_redis *r)
{
    r->lookup_fd = r->options.lookup_fd != 0 ? r->options.lookup_fd : -1;
    if (!has_names(r))
        return true;
    if (r->lookup_fd < 0) {
        r->owns_lookup = true;
        r->lookup_fd = redis_lookup_start();
    }
    return r->lookup_fd >= 0 &&
           ws_watch(r->bus.server, r->lookup_fd, EPOLLIN, addresses_came, r) == 0;
}

static bool init_connections(struct bus_redis *r)
{
    static const struct redis_conn_events commands = {commands_ready, command_answered, all_sent,
                                                      lost};
    static const struct redis_conn_events subscriber = {subscriber_ready, subscriber_was_told,
                                                        all_sent, lost};
    struct ws_server *s = r->bus.server;
    size_t max = r->options.message_max;

    r->commands_queue.account = r->subscriber_queue.account = r->bus.account;
    if (!redis_conn_init(&r->commands, s, &r->commands_queue, max, &commands, r) ||
        !redis_conn_init(&r->subscriber, s, &r->subscriber_queue, max, &subscriber, r))
        return false;
    r->subscriber.is_subscriber = true;
    r->commands.refuses_replica = r->subscriber.refuses_replica = r->url_count > 1;
    r->timer = ws_timer_new(s, NULL, timer_fired, r);
    r->work = ws_timer_new(s, NULL, work_fired, r);
    return r->timer != NULL && r->work != NULL;
}

/* What was published in the last turn, say when the last client left, leaves now. */
static void free_redis(struct bus *b)
{
    struct bus_redis *r = of(b);
    struct bus_question *q = NULL;

    redis_conn_send_last(&r->commands);
    if (r->commands.rest != NULL && r->subscriber.rest != NULL)
        q = disconnect(r);
    while (q != NULL) {
        struct bus_question *next = q->next;

        bus_forget(b, q);
        q = next;
    }
    redis_conn_release(&r->commands);
    redis_conn_release(&r->subscriber);
    redis_queue_release(&r->commands_queue);
    ws_timer_cancel(r->timer);
    ws_timer_cancel(r->work);
    if (r->lookup_fd >= 0)
        ws_watch(b->server, r->lookup_fd, 0, NULL, NULL);
    if (r->owns_lookup && r->lookup_fd >= 0)
        close(r->lookup_fd);
    bus_release(b);
    free(r->urls);
    free(r);
}

struct bus *bus_redis_new(struct ws_server *s, const struct bus_redis_options *options)
{
    static const struct bus_carrier carrier = {publish, count_subscribers, changed, free_redis};
    struct bus_redis *r = calloc(1, sizeof *r);
    int error;

    if (r == NULL)
        return NULL;
    r->options = *options;
    fill_in_defaults(&r->options);
    r->retry_ms = r->options.retry_ms;
    r->lookup_fd = -1;
    r->down_since_ms = ws_now_ms(s);
    if (!parse_urls(r) || !bus_init(&r->bus, &carrier, s)) {
        error = errno;
        free(r->urls);
        free(r);
        errno = error;
        return NULL;
    }
    errno = ENOMEM;
    if (init_connections(r) && begin_lookup(r)) {
        ws_timer_set(r->timer, 0);
        return &r->bus;
    }
    error = errno;
    free_redis(&r->bus);
    errno = error;
    return NULL;
}

const char *bus_redis_fault(const struct bus *b)
{
    const struct bus_redis *r = (const struct bus_redis *)b;

    return r->has_failed ? r->logged_fault : NULL;
}
