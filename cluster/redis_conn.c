/* SPDX-License-Identifier: MIT
 *
 * One connection to a Redis; see redis_conn.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "redis_conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IN_SIZE = 16 * 1024, /* of the buffer for replies, when none is larger */
    BATCH = 64           /* commands that are sent at once */
};

/* --- the queue -------------------------------------------------------------------------------- */

static void append(struct redis_queue *q, struct redis_command *command)
{
    command->next = NULL;
    if (q->last != NULL)
        q->last->next = command;
    else
        q->first = command;
    q->last = command;
    q->bytes += command->size;
}

struct redis_command *redis_queue_add(struct redis_queue *q, const struct ws_str *arguments,
                                      size_t count, const struct ws_str *last, size_t pieces)
{
    size_t len = resp_command(NULL, arguments, count, last, pieces);
    size_t size = sizeof(struct redis_command) + len;
    struct redis_command *command = ws_account_resize(q->account, NULL, 0, size);

    if (command == NULL)
        return NULL;
    *command = (struct redis_command){.size = size, .len = len};
    resp_command(command->bytes, arguments, count, last, pieces);
    append(q, command);
    return command;
}

struct redis_command *redis_queue_take(struct redis_queue *q, struct redis_command *before)
{
    struct redis_command *command = before == NULL ? q->first : before->next;

    if (before == NULL)
        q->first = command->next;
    else
        before->next = command->next;
    if (command->next == NULL)
        q->last = before;
    q->bytes -= command->size;
    return command;
}

void redis_command_free(struct redis_queue *q, struct redis_command *command)
{
    ws_account_give(q->account, command, command->size);
}

void redis_queue_release(struct redis_queue *q)
{
    while (q->first != NULL)
        redis_command_free(q, redis_queue_take(q, NULL));
}

/* --- begin and end ---------------------------------------------------------------------------- */

static void rest_is_over(void *arg);

bool redis_conn_init(struct redis_conn *c, struct ws_server *s, struct redis_queue *queue,
                     size_t message_max, const struct redis_conn_events *events, void *arg)
{
    *c = (struct redis_conn){.fd = -1,
                             .server = s,
                             .account = queue->account,
                             .events = events,
                             .arg = arg,
                             .queue = queue,
                             .unanswered.account = queue->account,
                             .reader.max_bytes = message_max};
    c->rest = ws_timer_new(s, NULL, rest_is_over, c);
    return c->rest != NULL;
}

static void free_input(struct redis_conn *c)
{
    ws_account_give(c->account, c->in, c->in_size);
    c->in = NULL;
    c->in_len = c->in_size = 0;
    c->reader.at = 0;
}

void redis_conn_close(struct redis_conn *c)
{
    if (c->fd < 0)
        return;
    ws_watch(c->server, c->fd, 0, NULL, NULL);
    close(c->fd);
    c->fd = -1;
    c->generation++;
    c->state = REDIS_OFF;
    ws_timer_stop(c->rest);
    c->is_resting = false;
    free_input(c);
}

void redis_conn_release(struct redis_conn *c)
{
    if (c->rest == NULL)
        return;
    redis_conn_close(c);
    redis_queue_release(&c->unanswered);
    ws_timer_cancel(c->rest);
}

static void lose(struct redis_conn *c, const char *why)
{
    redis_conn_close(c);
    c->events->lost(c->arg, why);
}

static void lose_by_error(struct redis_conn *c)
{
    lose(c, ws_strerror(errno));
}

/* --- output ----------------------------------------------------------------------------------- */

static void ready(void *arg, uint32_t events);

/* False, and the connection is lost, where it cannot be watched. */
static bool watch(struct redis_conn *c, bool output)
{
    if (c->watches_output == output)
        return true;
    c->watches_output = output;
    if (ws_watch(c->server, c->fd, output ? EPOLLIN | EPOLLOUT : EPOLLIN, ready, c) == 0)
        return true;
    lose_by_error(c);
    return false;
}

/* The first command has been sent. */
static void command_is_sent(struct redis_conn *c)
{
    struct redis_command *command = redis_queue_take(c->queue, NULL);

    c->commands++;
    if (command->tag == NULL) {
        redis_command_free(c->queue, command);
        return;
    }
    command->number = c->commands;
    append(&c->unanswered, command);
}

static void note_sent(struct redis_conn *c, size_t n)
{
    while (n > 0) {
        size_t left = c->queue->first->len - c->sent;

        if (n < left) {
            c->sent += n;
            return;
        }
        n -= left;
        c->sent = 0;
        command_is_sent(c);
    }
}

/* Send as many commands as fit into one call. Returns as sendmsg(). */
static ssize_t send_batch(struct redis_conn *c)
{
    struct iovec pieces[BATCH];
    struct msghdr message = {.msg_iov = pieces};
    size_t skip = c->sent;
    ssize_t n;

    for (struct redis_command *i = c->queue->first; i != NULL && message.msg_iovlen < BATCH;
         i = i->next) {
        pieces[message.msg_iovlen++] = (struct iovec){i->bytes + skip, i->len - skip};
        skip = 0;
    }
    do
        n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

void redis_conn_flush(struct redis_conn *c)
{
    if (c->state != REDIS_READY || c->queue->first == NULL)
        return;
    while (c->queue->first != NULL) {
        ssize_t n = send_batch(c);

        if (n < 0 && errno == EAGAIN) {
            watch(c, true);
            return;
        }
        if (n < 0) {
            lose_by_error(c);
            return;
        }
        note_sent(c, (size_t)n);
    }
    if (watch(c, false))
        c->events->sent(c->arg);
}

void redis_conn_send_last(struct redis_conn *c)
{
    ssize_t n = 1;

    while (c->state == REDIS_READY && c->queue->first != NULL && n > 0) {
        n = send_batch(c);
        if (n > 0)
            note_sent(c, (size_t)n);
    }
}

/* --- the greeting ----------------------------------------------------------------------------- */

/* A few bytes on a connection that has nothing to send yet: its socket takes all of them. */
static bool send_now(struct redis_conn *c, const struct ws_str *arguments, size_t count)
{
    char out[2 * REDIS_URL_SECRET + 256];
    size_t len = resp_command(NULL, arguments, count, NULL, 0);
    ssize_t n;

    assert(len <= sizeof out);
    resp_command(out, arguments, count, NULL, 0);
    n = send(c->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)len)
        return true;
    if (n < 0)
        lose_by_error(c);
    else
        lose(c, "its socket takes no greeting");
    return false;
}

/* https://redis.io/docs/latest/commands/hello/ */
static bool send_hello(struct redis_conn *c)
{
    struct ws_str arguments[] = {ws_str("HELLO"),         ws_str("3"),    ws_str("SETNAME"),
                                 ws_str("minnow"),        ws_str("AUTH"), ws_str(c->url->user),
                                 ws_str(c->url->password)};

    c->state = REDIS_GREETING;
    return send_now(c, arguments, c->url->has_login ? 7 : 4);
}

/* Version 2. A PING shows whether the login was enough. */
static void send_old_greeting(struct redis_conn *c)
{
    bool is_default = strcmp(c->url->user, "default") == 0;
    const struct ws_str auth[] = {ws_str("AUTH"), ws_str(c->url->user), ws_str(c->url->password)};
    const struct ws_str old_auth[] = {auth[0], auth[2]};
    const struct ws_str ping = ws_str("PING");

    c->state = REDIS_GREETING_OLD;
    if (c->url->has_login && !send_now(c, is_default ? old_auth : auth, is_default ? 2 : 3))
        return; /* uncovered: mostly epoll tells of the loss before */
    send_now(c, &ping, 1);
}

static bool begins_with(struct ws_str s, const char *text)
{
    return s.len >= strlen(text) && memcmp(s.data, text, strlen(text)) == 0;
}

const char *redis_shown(char out[REDIS_SHOWN], struct ws_str text)
{
    size_t len = text.len < REDIS_SHOWN - 1 ? text.len : REDIS_SHOWN - 1;

    for (size_t i = 0; i < len; i++)
        out[i] = text.data[i] < ' ' || text.data[i] > '~' ? '?' : text.data[i];
    out[len] = '\0';
    return out;
}

static void lose_by_reply(struct redis_conn *c, struct ws_str reply)
{
    char shown[REDIS_SHOWN];
    char why[REDIS_SHOWN + 16];

    snprintf(why, sizeof why, "it says %s", redis_shown(shown, reply));
    lose(c, why);
}

static void greeted(struct redis_conn *c)
{
    if (c->is_replica && c->refuses_replica) {
        lose(c, "it is a replica");
        return;
    }
    c->state = REDIS_READY;
    c->events->ready(c->arg);
}

/* The answer to HELLO is a map with the role of the Redis in it. */
static void note_role(struct redis_conn *c)
{
    const struct resp_reader *r = &c->reader;
    bool is_role = false;

    c->is_replica = false;
    for (size_t i = 1; i < r->count; i++) {
        if (r->values[i].depth != 1)
            continue;
        c->is_replica |= is_role && ws_str_is(r->values[i].text, "replica");
        is_role = r->values[i].type == RESP_STRING && ws_str_is(r->values[i].text, "role");
    }
}

/* A Redis before 6 does not know HELLO, and one that wants a password says so before anything. */
static void hello_answered(struct redis_conn *c)
{
    const struct resp_value *value = &c->reader.values[0];
    bool wants_login = value->type == RESP_ERROR && begins_with(value->text, "NOAUTH");

    if (value->type == RESP_MAP || value->type == RESP_ARRAY) {
        note_role(c);
        greeted(c);
    } else if (value->type != RESP_ERROR) {
        lose(c, "it does not answer HELLO as a Redis does");
    } else if (wants_login && !c->url->has_login) {
        lose(c, "it wants a password: redis://:PASSWORD@HOST");
    } else if (wants_login || begins_with(value->text, "ERR unknown command") ||
               begins_with(value->text, "NOPROTO")) {
        send_old_greeting(c);
    } else {
        lose_by_reply(c, value->text);
    }
}

/* OK to AUTH, then PONG to PING. */
static void old_greeting_answered(struct redis_conn *c)
{
    const struct resp_value *value = &c->reader.values[0];

    if (value->type == RESP_ERROR && begins_with(value->text, "NOAUTH") && !c->url->has_login)
        lose(c, "it wants a password: redis://:PASSWORD@HOST");
    else if (value->type == RESP_ERROR)
        lose_by_reply(c, value->text);
    else if (value->type == RESP_STRING && ws_str_is(value->text, "PONG"))
        greeted(c);
    else if (value->type != RESP_STRING || !ws_str_is(value->text, "OK") || !c->url->has_login)
        lose(c, "it does not answer AUTH and PING as a Redis does");
}

/* --- input ------------------------------------------------------------------------------------ */

static const char unasked[] = "it sent a reply that nobody asked for";

/* The reply to a command, which is the first of `unanswered` or had no tag. */
static void command_answered(struct redis_conn *c)
{
    struct redis_command *command = c->unanswered.first;

    if (c->reader.values[0].type == RESP_PUSH || c->is_subscriber) {
        c->events->reply(c->arg, &c->reader, NULL);
        return;
    }
    if (c->replies == c->commands) {
        lose(c, unasked);
        return;
    }
    c->replies++;
    if (command == NULL || command->number != c->replies) {
        c->events->reply(c->arg, &c->reader, NULL);
        return;
    }
    redis_queue_take(&c->unanswered, NULL);
    c->events->reply(c->arg, &c->reader, command);
    redis_command_free(c->queue, command);
}

static void reply_came(struct redis_conn *c)
{
    switch (c->state) {
    case REDIS_GREETING:
        hello_answered(c);
        break;
    case REDIS_GREETING_OLD:
        old_greeting_answered(c);
        break;
    case REDIS_READY:
        command_answered(c);
        break;
    case REDIS_CONNECTING: /* it refuses a client before it has heard of it */
        if (c->reader.values[0].type == RESP_ERROR)
            lose_by_reply(c, c->reader.values[0].text);
        else
            lose(c, unasked);
        break;
    case REDIS_OFF:
        assert(false);
    }
}

/* Handle the replies that are whole, as far as the share of the turn goes; the rest moves to the
 * front. */
static void handle_input(struct redis_conn *c)
{
    size_t at = 0;
    unsigned generation = c->generation;

    while (at < c->in_len) {
        ptrdiff_t n = resp_read(&c->reader, c->in + at, c->in_len - at);

        if (n < 0) {
            char why[120];

            snprintf(why, sizeof why, "it sent what is not the protocol of Redis, %s",
                     resp_strerror(n));
            lose(c, why);
            return;
        }
        if (n == 0)
            break;
        reply_came(c);
        if (c->generation != generation)
            return; /* closed, and perhaps opened anew */
        at += (size_t)n;
        if (at < c->in_len && ws_turn_over(c->server, 0)) {
            c->is_resting = true;
            ws_timer_set(c->rest, 0);
            break;
        }
    }
    assert(c->in != NULL); /* else the connection was closed */
    if (at != 0)
        memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->in_len == 0 && c->in_size > IN_SIZE)
        free_input(c);
}

/* Room for more bytes. The buffer doubles as bytes come: what is announced reserves nothing. */
static bool make_room(struct redis_conn *c)
{
    size_t max = c->reader.max_bytes; /* a reply is found too large before `most` */
    size_t most = max < SIZE_MAX - IN_SIZE ? max + IN_SIZE : SIZE_MAX;
    size_t size = c->in_size == 0 ? IN_SIZE : c->in_size < most / 2 ? 2 * c->in_size : most;
    char *in;

    if (c->in_len < c->in_size)
        return true;
    in = ws_account_resize(c->account, c->in, c->in_size, size);
    if (in == NULL) {
        lose(c, "there is no memory for its reply (ws_options.max_memory)");
        return false;
    }
    c->in = in;
    c->in_size = size;
    return true;
}

/* False when nothing came, or the connection is lost. */
static bool receive(struct redis_conn *c)
{
    ssize_t n;

    if (!make_room(c))
        return false;
    do
        n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        lose_by_error(c);
    else if (n == 0)
        lose(c, "it closed the connection");
    if (n <= 0)
        return false;
    c->in_len += (size_t)n;
    c->heard_ms = ws_now_ms(c->server);
    return true;
}

static void rest_is_over(void *arg)
{
    struct redis_conn *c = arg;

    c->is_resting = false;
    handle_input(c);
}

/* Read before write: where connecting has failed, recv() says why. */
static void ready(void *arg, uint32_t events)
{
    struct redis_conn *c = arg;
    unsigned generation = c->generation;

    if (((events & ~(uint32_t)EPOLLOUT) != 0 || c->state == REDIS_CONNECTING) && !c->is_resting) {
        if (receive(c))
            handle_input(c);
    }
    if (c->generation != generation || (events & EPOLLOUT) == 0)
        return;
    if (c->state != REDIS_CONNECTING)
        redis_conn_flush(c);
    else if (watch(c, false))
        send_hello(c);
}

const char *redis_conn_open(struct redis_conn *c, const struct redis_url *url,
                            const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    assert(c->fd < 0 && c->unanswered.first == NULL);
    if (fd < 0)
        return ws_strerror(errno);
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if ((connect(fd, address, len) != 0 && errno != EINPROGRESS) ||
        ws_watch(c->server, fd, EPOLLIN | EPOLLOUT, ready, c) != 0) {
        const char *why = ws_strerror(errno);

        close(fd);
        return why;
    }
    c->fd = fd;
    c->url = url;
    c->state = REDIS_CONNECTING;
    c->watches_output = true;
    c->sent = 0;
    c->commands = c->replies = 0;
    c->heard_ms = ws_now_ms(c->server);
    return NULL;
}
