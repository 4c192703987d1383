/* SPDX-License-Identifier: MIT
 *
 * Socket.IO on HTTP long polling; see polling.h. Engine.IO 4: a body is packets with the byte 0x1e
 * between them. The cycle of messages has that byte behind each packet, so the end of a body is
 * treated as that byte. */
#include "polling.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SEPARATOR = 0x1e, HEAD_MAX = 4096, SID_MAX = 63 };

/* One of the two connections. The head of a response is handled when it is complete, its body as it
 * comes. */
struct channel {
    int fd;
    bool waiting;     /* a request is sent */
    bool in_body;     /* and the head of its response has come */
    size_t body_left; /* of that response */
    uint8_t *kept;    /* received and not handled yet, HEAD_MAX of room; or NULL */
    size_t kept_len;
    uint8_t *unsent; /* the rest of a request that the socket did not take, or NULL */
    size_t unsent_len;
};

struct polling {
    struct channel get;
    struct channel post;
    bool joined;    /* the namespace has answered */
    bool pong_owed; /* to a ping of Engine.IO */
    char sid[SID_MAX + 1];
    char get_request[512];
    size_t get_request_len;
    char host[64];
};

/* --- requests --------------------------------------------------------------------------------- */

static void keep_unsent(struct client *c, struct channel *ch, const struct iovec *iov, int count,
                        size_t sent)
{
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (sent == total)
        return;
    ch->unsent = malloc(total - sent);
    if (ch->unsent == NULL)
        client_fail(c, "out of memory");
    for (int i = 0; i < count; i++) {
        size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

        memcpy(ch->unsent + ch->unsent_len, (char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
        ch->unsent_len += iov[i].iov_len - skip;
        sent -= skip;
    }
}

/* Returns bytes sent. */
static size_t send_some(struct client *c, const struct channel *ch, struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    ssize_t n = sendmsg(ch->fd, &message, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        client_fail(c, strerror(errno));
    return n < 0 ? 0 : (size_t)n;
}

static void request(struct client *c, struct channel *ch, struct iovec *iov, int count)
{
    ch->waiting = true;
    keep_unsent(c, ch, iov, count, send_some(c, ch, iov, count));
}

static void go_on_sending(struct client *c, struct channel *ch)
{
    struct iovec rest = {ch->unsent, ch->unsent_len};
    size_t sent;

    if (ch->unsent == NULL)
        return;
    sent = send_some(c, ch, &rest, 1);
    ch->unsent_len -= sent;
    memmove(ch->unsent, ch->unsent + sent, ch->unsent_len);
    if (ch->unsent_len == 0) {
        free(ch->unsent);
        ch->unsent = NULL;
    }
}

static void get(struct client *c)
{
    struct polling *p = c->polling;
    struct iovec iov = {p->get_request, p->get_request_len};

    request(c, &p->get, &iov, 1);
}

/* The body is in iov[1] and later; iov[0] is for the head. */
static void post(struct client *c, struct iovec *iov, int count, size_t body_len)
{
    struct polling *p = c->polling;
    char head[512];
    int n = snprintf(head, sizeof head,
                     "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "Accept: */*\r\n"
                     "Content-Type: text/plain;charset=UTF-8\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     p->sid, p->host, body_len);

    iov[0] = (struct iovec){head, (size_t)n};
    request(c, &p->post, iov, count);
}

static void post_text(struct client *c, const char *text)
{
    struct iovec iov[2] = {[1] = {(void *)(uintptr_t)text, strlen(text)}};

    post(c, iov, 2, strlen(text));
}

/* Send all messages that are due in one body, at most the whole cycle. The last separator is not
 * sent. */
void polling_flush(struct client *c, const struct client_plan *plan)
{
    const struct stream *s = plan->stream;
    struct polling *p = c->polling;
    size_t cycle = s->count * s->request_len;
    size_t at = (c->start * s->request_len + (size_t)(c->sent % cycle)) % cycle;
    uint64_t due = c->started * s->request_len - c->sent;
    size_t len = due < cycle ? (size_t)due : cycle;
    size_t first = len < cycle - at ? len : cycle - at;
    struct iovec iov[3] = {[1] = {s->requests + at, first}, [2] = {s->requests, len - first}};

    if (p->post.waiting || c->state != CLIENT_READY)
        return;
    if (p->pong_owed) {
        p->pong_owed = false;
        post_text(c, "3");
        return;
    }
    if (len == 0)
        return;
    c->sent += len;
    iov[len == first ? 1 : 2].iov_len--;
    post(c, iov, len == first ? 2 : 3, len - 1);
}

/* --- responses -------------------------------------------------------------------------------- */

/* The length that a head announces. */
static size_t content_length(const struct client *c, const char *head, size_t len)
{
    static const char name[] = "\r\ncontent-length:";

    for (size_t i = 0; i + sizeof name - 1 < len; i++)
        if (strncasecmp(head + i, name, sizeof name - 1) == 0)
            return strtoul(head + i + sizeof name - 1, NULL, 10);
    client_fail(c, "a response without Content-Length");
}

static size_t take_head(struct client *c, struct channel *ch, const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    size_t head_len;

    if (!ch->waiting)
        client_fail(c, "a response to nothing");
    if (end == NULL)
        return 0;
    head_len = (size_t)(end - data) + 4;
    if (memcmp(data, "HTTP/1.1 200", 12) != 0)
        errx(EXIT_FAILURE, "connection %u: refused: %.*s", c->index, (int)len, (const char *)data);
    ch->body_left = content_length(c, (const char *)data, head_len);
    if (ch->body_left == 0)
        client_fail(c, "a response without a body");
    ch->in_body = true;
    return head_len;
}

/* The open packet: 0{"sid":"...",...}. */
static void opened(struct client *c, const uint8_t *data, size_t len)
{
    static const char name[] = "\"sid\":\"";
    struct polling *p = c->polling;
    const char *at = memmem(data, len, name, sizeof name - 1);
    const char *start = at == NULL ? NULL : at + sizeof name - 1;
    const char *end =
        start == NULL ? NULL : memchr(start, '"', len - (size_t)(start - (const char *)data));
    size_t sid_len = end == NULL ? 0 : (size_t)(end - start);

    if (data[0] != '0' || sid_len == 0 || sid_len > SID_MAX)
        client_fail(c, "not an Engine.IO server");
    memcpy(p->sid, start, sid_len);
    p->get_request_len =
        (size_t)snprintf(p->get_request, sizeof p->get_request,
                         "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\n"
                         "Host: %s\r\n"
                         "Accept: */*\r\n\r\n",
                         p->sid, p->host);
    c->state = CLIENT_JOINING;
    post_text(c, "40");
}

/* Before the first message, bodies are handled whole: the open packet, then the answer of the
 * namespace. */
static size_t take_greeting(struct client *c, const struct channel *ch, const uint8_t *data,
                            size_t len)
{
    if (len < ch->body_left)
        return 0;
    if (c->state == CLIENT_UPGRADING)
        opened(c, data, ch->body_left);
    else if (ch->body_left >= 2 && memcmp(data, "40", 2) == 0)
        c->polling->joined = true;
    else
        client_fail(c, "not a Socket.IO server");
    return ch->body_left;
}

/* A packet that is no reply must be a ping. Returns bytes used, 0 for more. */
static size_t take_ping(struct client *c, const struct stream *s, const uint8_t *data, size_t len,
                        size_t body_left)
{
    if (data[0] != '2' || c->got % s->reply_len != 0)
        client_wrong_byte(c, s, data[0]);
    if (body_left > 1 && len == 1)
        return 0;
    if (body_left > 1 && data[1] != SEPARATOR)
        client_wrong_byte(c, s, data[1]);
    c->polling->pong_owed = true;
    return body_left > 1 ? 2 : 1;
}

/* Handle bytes of a body with replies. Returns how many were used. */
static size_t take_replies(struct client *c, const struct stream *s, const uint8_t *data,
                           size_t len, size_t body_left)
{
    size_t cycle = s->count * s->reply_len;
    size_t at = (c->start * s->reply_len + (size_t)(c->got % cycle)) % cycle;
    size_t n = len < cycle - at ? len : cycle - at;

    if (memcmp(data, s->replies + at, n) != 0) {
        size_t equal = 0;

        while (data[equal] == s->replies[at + equal])
            equal++;
        n = equal;
    }
    c->got += n;
    return n != 0 ? n : take_ping(c, s, data, len, body_left);
}

/* The end of a body counts as the separator behind its last packet, unless that packet is a
 * ping. */
static void replies_end(struct client *c, const struct stream *s)
{
    if (c->got % s->reply_len == s->reply_len - 1)
        c->got++;
    else if (c->got % s->reply_len != 0)
        client_fail(c, "a body ends inside a packet");
}

static size_t take_ok(const struct client *c, const struct channel *ch, const uint8_t *data,
                      size_t len)
{
    if (len < ch->body_left)
        return 0;
    if (ch->body_left != 2 || memcmp(data, "ok", 2) != 0)
        client_fail(c, "a POST was not answered with ok");
    return 2;
}

/* Returns bytes used, 0 for more. */
static size_t take_body(struct client *c, const struct client_plan *plan, struct channel *ch,
                        const uint8_t *data, size_t len)
{
    size_t n = len < ch->body_left ? len : ch->body_left;

    if (ch == &c->polling->post)
        return take_ok(c, ch, data, n);
    if (c->state != CLIENT_READY)
        return take_greeting(c, ch, data, n);
    return take_replies(c, plan->stream, data, n, ch->body_left);
}

static void body_ended(struct client *c, const struct client_plan *plan, struct channel *ch)
{
    struct polling *p = c->polling;

    ch->in_body = false;
    ch->waiting = false;
    if (ch == &p->get && c->state == CLIENT_READY)
        replies_end(c, plan->stream);
    if (ch == &p->get)
        get(c);
    if (c->state == CLIENT_JOINING && p->joined && !p->post.waiting)
        c->state = CLIENT_READY;
}

static size_t take_some(struct client *c, const struct client_plan *plan, struct channel *ch,
                        const uint8_t *data, size_t len)
{
    size_t n;

    if (!ch->in_body)
        return take_head(c, ch, data, len);
    n = take_body(c, plan, ch, data, len);
    ch->body_left -= n;
    if (ch->body_left == 0)
        body_ended(c, plan, ch);
    return n;
}

static void keep(struct client *c, struct channel *ch, const uint8_t *data, size_t len)
{
    ch->kept_len = len;
    if (len == 0)
        return;
    if (len > HEAD_MAX)
        client_fail(c, "too long a head");
    if (ch->kept == NULL && (ch->kept = malloc(HEAD_MAX)) == NULL)
        client_fail(c, "out of memory");
    memcpy(ch->kept, data, len);
}

static void take_all(struct client *c, struct client_plan *plan, struct channel *ch, size_t len)
{
    size_t used = 0;
    size_t n = 1;

    while (n > 0 && used < len) {
        n = take_some(c, plan, ch, plan->buffer + used, len - used);
        used += n;
    }
    keep(c, ch, plan->buffer + used, len - used);
}

/* Read until the socket is empty: epoll reports only new bytes, and does not say on which
 * connection. */
static void receive(struct client *c, struct client_plan *plan, struct channel *ch)
{
    size_t kept;
    ssize_t n;

    do {
        kept = ch->kept_len;
        if (kept > 0)
            memcpy(plan->buffer, ch->kept, kept);
        n = recv(ch->fd, plan->buffer + kept, sizeof plan->buffer - kept, 0);
        if (n == 0)
            client_fail(c, "the server has closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            client_fail(c, strerror(errno));
        if (n > 0)
            take_all(c, plan, ch, kept + (size_t)n);
    } while (n == (ssize_t)(sizeof plan->buffer - kept) || (n < 0 && errno == EINTR));
}

/* --- the client ------------------------------------------------------------------------------- */

void polling_begin(struct client *c, struct client_plan *plan)
{
    struct polling *p = calloc(1, sizeof *p);
    struct iovec iov = {plan->request, plan->request_len};

    if (p == NULL)
        err(EXIT_FAILURE, "connection %u", c->index);
    c->polling = p;
    snprintf(p->host, sizeof p->host, "127.0.0.1:%u", (unsigned)ntohs(plan->server.sin_port));
    p->get.fd = c->fd;
    p->post.fd = client_socket(c, plan, true);
    c->state = CLIENT_UPGRADING;
    request(c, &p->get, &iov, 1);
}

void polling_ready(struct client *c, struct client_plan *plan)
{
    struct polling *p = c->polling;

    go_on_sending(c, &p->get);
    go_on_sending(c, &p->post);
    if (p->post.waiting)
        receive(c, plan, &p->post);
    receive(c, plan, &p->get);
    polling_flush(c, plan);
}

static void channel_release(struct channel *ch)
{
    free(ch->kept);
    free(ch->unsent);
}

void polling_close(struct client *c)
{
    struct polling *p = c->polling;

    if (p == NULL)
        return;
    client_reset(p->post.fd);
    channel_release(&p->get);
    channel_release(&p->post);
    free(p);
    c->polling = NULL;
}
