/* SPDX-License-Identifier: MIT
 *
 * Peers of a whole server; see peers.h. */
#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../conn.h"
#include "../conn_client.h"
#include "../conn_http.h"

enum { SERVER_BUFFER = 4608 /* of the socket, so that output queues soon */ };

struct peer peers[PEERS];
char check_note[128];

void check_report(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s %s\n", file, line, condition, check_note);
}

unsigned tape_byte(struct tape *t)
{
    if (t->left == 0)
        return 0;
    t->left--;
    return *t->data++;
}

const uint8_t *tape_bytes(struct tape *t, size_t n, size_t *got)
{
    const uint8_t *from = t->data;

    *got = n < t->left ? n : t->left;
    t->data += *got;
    t->left -= *got;
    return from;
}

/* --- connections ------------------------------------------------------------------------------ */

static void forget(struct peer *p)
{
    p->fd = -1;
    p->orderly = p->websocket = p->closing = p->sent_close = p->gone = false;
    p->last_answer = p->last_head = false;
    p->out_at = p->out_len = p->in_len = p->request_count = p->message_len = 0;
    p->opcode = 0;
}

void peers_reset(void)
{
    for (size_t i = 0; i < PEERS; i++) {
        forget(&peers[i]);
        peers[i].turn = 0;
    }
}

/* Returns the server's end of a new connection, or -1. */
static int make_ends(struct peer *p, const struct ws_server *s)
{
    int size = SERVER_BUFFER;
    int ends[2];

    if (p->fd >= 0 || s->stopping ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    forget(p);
    p->fd = ends[0];
    p->orderly = true;
    p->turn++;
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return ends[1];
}

void peer_connect(struct peer *p, struct ws_server *s, unsigned host)
{
    uint8_t address[4] = {10, 0, 0, (uint8_t)host};
    int fd = make_ends(p, s);

    if (fd >= 0)
        conn_new(s, fd, host == 0 ? NULL : host_get(&s->hosts, host_key(address, 4)), false);
}

void peer_arrive(struct peer *p, struct ws_server *s, const struct address *from)
{
    bool proxied = conn_client_is_proxy(s, from);
    int fd = make_ends(p, s);
    struct host *host;
    struct ws_conn *c;
    bool fits;

    if (fd < 0)
        return;
    host = proxied || from->len == 0 ? NULL : host_get(&s->hosts, host_key(from->bytes, from->len));
    fits = conn_client_fits(s, host);
    c = conn_new(s, fd, host, fits && proxied);
    if (c != NULL && fits) {
        c->req.checks_host = true;
    } else if (c != NULL) {
        conn_client_refused(c);
        conn_refuse(c, 429, "too many connections from this address", "ws_options.max_per_ip");
    }
}

bool peer_dial(struct peer *p, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    forget(p);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    p->orderly = true;
    if (p->fd >= 0 && connect(p->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    peer_close(p);
    return false;
}

void peer_half_close(struct peer *p)
{
    if (p->fd < 0)
        return;
    shutdown(p->fd, SHUT_WR);
    p->sent_close = true;
    p->out_at = p->out_len = 0;
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    forget(p);
}

/* --- output ----------------------------------------------------------------------------------- */

bool peer_put(struct peer *p, const void *data, size_t len)
{
    if (p->fd < 0)
        return false;
    if (p->out_at > 0) {
        memmove(p->out, p->out + p->out_at, p->out_len - p->out_at);
        p->out_len -= p->out_at;
        p->out_at = 0;
    }
    if (len > sizeof p->out - p->out_len)
        return false;
    if (len > 0)
        memcpy(p->out + p->out_len, data, len);
    p->out_len += len;
    return true;
}

bool peer_put_text(struct peer *p, const char *text)
{
    return peer_put(p, text, strlen(text));
}

bool peer_put_frame(struct peer *p, unsigned head, const void *payload, size_t len)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static uint8_t frame[14 + PEER_OUT_MAX];
    size_t n = 0;

    if (len > PEER_OUT_MAX - 14)
        return false;
    frame[n++] = (uint8_t)head;
    frame[n++] = (uint8_t)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127));
    for (int shift = len < 126 ? 0 : len < 65536 ? 16 : 64; shift > 0; shift -= 8)
        frame[n++] = (uint8_t)((uint64_t)len >> (shift - 8));
    memcpy(frame + n, key, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        frame[n + i] = ((const uint8_t *)payload)[i] ^ key[i % 4];
    return peer_put(p, frame, n + len);
}

void peer_expect(struct peer *p, struct peer_request r)
{
    if (p->request_count < PEER_REQUESTS_MAX)
        p->requests[p->request_count++] = r;
    else
        p->orderly = false;
}

void peer_push(struct peer *p, size_t n)
{
    size_t left = p->out_len - p->out_at;
    ssize_t sent;

    if (p->fd < 0 || left == 0 || n == 0)
        return;
    sent = send(p->fd, p->out + p->out_at, n < left ? n : left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        p->out_at += (size_t)sent;
    else if (sent < 0 && errno != EAGAIN)
        p->out_at = p->out_len; /* nobody takes it any more */
}

/* --- input ------------------------------------------------------------------------------------ */

static void drop_in(struct peer *p, size_t n)
{
    memmove(p->in, p->in + n, p->in_len - n);
    p->in_len -= n;
}

static void message_came(struct peer *p, bool fin, const struct peer_events *e)
{
    if (!fin)
        return;
    if (e->on_message != NULL)
        e->on_message(p, p->opcode, p->message, p->message_len);
    p->opcode = 0;
    p->message_len = 0;
}

static void frame_came(struct peer *p, uint8_t head, const uint8_t *payload, size_t len,
                       const struct peer_events *e)
{
    unsigned opcode = head & 15;
    bool fin = (head & 0x80) != 0;

    CHECK(!p->closing);        /* nothing behind a Close */
    CHECK((head & 0x70) == 0); /* no extension is agreed on */
    switch (opcode) {
    case WS_OP_TEXT:
    case WS_OP_BINARY:
    case WS_OP_CONTINUATION:
        CHECK((opcode == WS_OP_CONTINUATION) == (p->opcode != 0));
        if (opcode != WS_OP_CONTINUATION)
            p->opcode = opcode;
        CHECK(len <= sizeof p->message - p->message_len);
        memcpy(p->message + p->message_len, payload, len);
        p->message_len += len;
        message_came(p, fin, e);
        break;
    case WS_OP_CLOSE:
        CHECK(fin && len <= 125 && len != 1);
        p->closing = true;
        break;
    case WS_OP_PONG:
        CHECK(fin && len <= 125);
        if (e->on_pong != NULL)
            e->on_pong(p, payload, len);
        break;
    default:
        CHECK(opcode == WS_OP_PING && fin && len <= 125);
        break;
    }
}

/* A whole frame at the beginning of what has come; false: there is none yet. */
static bool read_frame(struct peer *p, const struct peer_events *e)
{
    size_t header = 2;
    uint64_t len;

    if (p->in_len < header)
        return false;
    CHECK((p->in[1] & 0x80) == 0); /* a server does not mask */
    len = p->in[1];
    if (len >= 126) {
        size_t size = len == 126 ? 2 : 8;

        header += size;
        if (p->in_len < header)
            return false;
        len = 0;
        for (size_t i = 0; i < size; i++)
            len = len << 8 | p->in[2 + i];
        CHECK(len >= (size == 2 ? 126 : 65536)); /* in the shortest form */
    }
    CHECK(len <= sizeof p->in - header);
    if (p->in_len < header + len)
        return false;
    frame_came(p, p->in[0], p->in + header, (size_t)len, e);
    drop_in(p, header + (size_t)len);
    return true;
}

/* The number behind `name` in a head; `missing` when there is none. */
static size_t head_number(const char *head, const char *name, size_t missing)
{
    const char *at = strstr(head, name);

    return at == NULL ? missing : (size_t)strtoul(at + strlen(name), NULL, 10);
}

static void response_came(struct peer *p, int status, const char *head, const uint8_t *body,
                          size_t len, const struct peer_events *e)
{
    struct peer_request r = {.body_len = SIZE_MAX};

    p->last_answer = strstr(head, "\r\nConnection: close\r\n") != NULL;
    p->last_head = p->last_answer && p->request_count > 0 && p->requests[0].head_only;
    if (p->request_count > 0) {
        r = p->requests[0];
        memmove(p->requests, p->requests + 1, --p->request_count * sizeof r);
    }
    if (status == 101) {
        CHECK(!p->orderly || r.upgrade);
        p->websocket = true;
    }
    if (p->orderly && e->on_response != NULL)
        e->on_response(p, status, head, body, len, &r);
}

/* A whole response at the beginning of what has come; false: there is none yet. Whether a body
 * follows is known of orderly peers only, for it depends on the request. */
static bool read_response(struct peer *p, const struct peer_events *e)
{
    uint8_t *end = memmem(p->in, p->in_len, "\r\n\r\n", 4);
    bool head_only = p->request_count > 0 && p->requests[0].head_only;
    size_t head_len, body_len;
    char head[1024];
    int status;

    if (end == NULL)
        return false;
    head_len = (size_t)(end - p->in) + 4;
    CHECK(head_len < sizeof head && memcmp(p->in, "HTTP/1.1 ", 9) == 0);
    memcpy(head, p->in, head_len);
    head[head_len] = '\0';
    status = (int)strtol(head + 9, NULL, 10);
    CHECK(status >= 100 && status <= 599);
    body_len = head_number(head, "\r\nContent-Length: ", SIZE_MAX);
    CHECK((body_len == SIZE_MAX) == (status < 200 || status == 204 || status == 304));
    if (body_len == SIZE_MAX || (head_only && p->orderly))
        body_len = 0;
    CHECK(body_len <= sizeof p->in - head_len);
    if (p->in_len < head_len + body_len)
        return false;
    if (status != 100)
        response_came(p, status, head, p->in + head_len, body_len, e);
    drop_in(p, head_len + body_len);
    return true;
}

/* Of a peer that is not orderly, responses may be to requests whose method is unknown. */
static void read_in(struct peer *p, const struct peer_events *e)
{
    if (!p->websocket && !p->orderly) {
        p->in_len = 0;
        return;
    }
    while (p->websocket ? read_frame(p, e) : !p->last_answer && read_response(p, e))
        continue;
    CHECK(!p->last_answer || p->last_head || p->in_len == 0);
}

bool peer_pull(struct peer *p, size_t n, const struct peer_events *e)
{
    size_t space = sizeof p->in - p->in_len;
    ssize_t came;

    if (p->fd < 0 || p->gone || n == 0)
        return false;
    CHECK(space > 0);
    came = recv(p->fd, p->in + p->in_len, n < space ? n : space, MSG_DONTWAIT);
    if (came < 0 && errno == EAGAIN)
        return false;
    if (came <= 0) {
        p->gone = true;
        return false;
    }
    p->in_len += (size_t)came;
    read_in(p, e);
    return true;
}
