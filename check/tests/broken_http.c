/* SPDX-License-Identifier: MIT
 *
 * One request after another on a connection, with their bodies; see broken.h. */
#include "broken.h"

#include <linux/tcp.h> /* netinet/tcp.h has too old a tcp_info */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { HEAD_MAX = 32 * 1024, TARGET_MAX = 8 * 1024 };

/* --- reading ---------------------------------------------------------------------------------- */

static uint8_t *find(const struct conn *c, const char *what)
{
    return conn_left(c) == 0 ? NULL : memmem(c->in.data + c->at, conn_left(c), what, strlen(what));
}

/* Empty lines before a request are ignored, RFC 9112 §2.2. */
static void skip_empty_lines(struct conn *c)
{
    while (conn_left(c) >= 2 && memcmp(c->in.data + c->at, "\r\n", 2) == 0 &&
           !fault_has(c->fault, "line", "no-empty-line-before"))
        conn_take(c, 2);
}

/* Of the head that comes, or has come whole: 0, or the status to refuse it with. */
static int too_long(const struct conn *c)
{
    const uint8_t *end = find(c, "\r\n\r\n");
    size_t len = end == NULL ? conn_left(c) : (size_t)(end - c->in.data) - c->at;
    long max = fault_number(c->fault, "long-head-dropped", HEAD_MAX);

    if (fault_is(c->fault, "head-unlimited"))
        return 0;
    if (len > TARGET_MAX && find(c, "\r\n") == NULL)
        return 414;
    return len > (size_t)fault_number(c->fault, "head-max", max) ? 431 : 0;
}

static int refuse_long(struct conn *c, int status)
{
    /* The mistake: the buffer is full, and no more is read, but what is missing is waited for. */
    if (fault_is(c->fault, "full-buffer-hangs"))
        while (conn_more(c, 3000) == MORE_CAME)
            c->in.len = c->at;
    return fault_is(c->fault, "long-head-dropped") ? -1 : status;
}

/* The mistake: one recv() is one head. A server that is quick enough sees the first segment alone;
 * a busy one finds all of them, and works by chance. So that this one is wrong each time it asks
 * how many there were. */
static bool came_in_pieces(const struct conn *c)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (!fault_is(c->fault, "head-in-one-recv"))
        return false;
    return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_data_segs_in > 1;
}

/* Wait for a whole head. Returns 0, a status to refuse it with, or -1 at the end of the input. */
static int read_head(struct conn *c, bool first)
{
    for (;;) {
        int status;

        skip_empty_lines(c);
        status = too_long(c);
        if (status != 0)
            return refuse_long(c, status);
        if (first && conn_left(c) > 0 && came_in_pieces(c))
            return 400;
        if (find(c, "\r\n\r\n") != NULL)
            return 0;
        if (conn_more(c, -1) == MORE_END)
            return -1;
    }
}

static bool wait_for(struct conn *c, unsigned long long len)
{
    while (conn_left(c) < len)
        if (conn_more(c, -1) == MORE_END)
            return false;
    return true;
}

/* The size line of a chunk. */
static int parse_size(const struct fault *f, const char *line, unsigned long long *size)
{
    size_t digits = strspn(line, "0123456789abcdefABCDEF");

    *size = strtoull(line, NULL, 16); /* ULLONG_MAX where it overflows */
    if (fault_has(f, "chunk", "strtoull") && (digits == 0 || digits > 16)) {
        *size = 0;
        return 0;
    }
    return digits == 0 || digits > 16 || line[digits] != '\0' ? 400 : 0;
}

/* Returns 0, a status, or -1 at the end of the input. */
static int read_chunks(struct conn *c)
{
    unsigned long long size;

    do {
        char line[32] = "";
        uint8_t *end;
        int status;

        while ((end = find(c, "\r\n")) == NULL)
            if (conn_left(c) >= sizeof line || conn_more(c, -1) == MORE_END)
                return -1;
        if ((size_t)(end - c->in.data) - c->at >= sizeof line)
            return 400;
        memcpy(line, c->in.data + c->at, (size_t)(end - c->in.data) - c->at);
        conn_take(c, strlen(line) + 2);
        status = parse_size(c->fault, line, &size);
        if (status != 0)
            return status;
        if (size > HEAD_MAX)
            return 413;
        if (!wait_for(c, size + 2))
            return -1;
        conn_take(c, (size_t)size + 2);
    } while (size > 0);
    return 0;
}

static int read_body(struct conn *c, const struct request *r)
{
    if (fault_is(c->fault, "body-unread"))
        return 0;
    if (r->chunked)
        return read_chunks(c);
    if (!wait_for(c, r->length))
        return -1;
    conn_take(c, (size_t)r->length);
    return 0;
}

/* --- answering -------------------------------------------------------------------------------- */

static bool asks_to_close(const struct request *r, const struct fault *f)
{
    const char *connection = request_field(r, f, "Connection");

    if (r->minor == 0)
        return !fault_is(f, "1.0-kept-open");
    if (fault_is(f, "close-ignored"))
        return false;
    return fault_is(f, "not-kept-open") ||
           (connection != NULL && strcasecmp(connection, "close") == 0);
}

static void answer(struct conn *c, int status, bool last)
{
    static const char body[] = "This is an echo server.\n";

    bytes_add_format(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n", status,
                     status == 200 ? "OK" : "Refused");
    if (status == 426 && !fault_is(c->fault, "426-without-version"))
        bytes_add_text(&c->out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (status == 400 && fault_is(c->fault, "version-400"))
        bytes_add_text(&c->out, "Sec-WebSocket-Version: 13\r\n");
    bytes_add_format(&c->out, "Content-Length: %zu\r\n%s\r\n%s", sizeof body - 1,
                     last ? "Connection: close\r\n" : "", body);
    conn_flush(c);
}

static bool is_known(const char *method)
{
    static const char *const known[] = {"GET", "POST", "PUT", "DELETE"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], method) == 0)
            return true;
    return false;
}

/* A request that is in order. Returns the status of the answer, or -1: there is none. */
static int handle(struct conn *c, const struct request *r, bool first)
{
    int status = read_body(c, r);

    if (status == 0 && (first || !fault_is(c->fault, "upgrade-first-only")))
        status = upgrade_check(r, c->fault);
    if (status != 0)
        return status;
    if (fault_is(c->fault, "no-page") || (r->minor == 0 && fault_is(c->fault, "no-1.0")))
        return -1;
    if (!is_known(r->method)) {
        if (fault_is(c->fault, "unknown-method-dropped"))
            return -1;
        return 501;
    }
    return 200;
}

/* Returns 200 when another request may follow, 101, or anything else. */
static int serve_one(struct conn *c, bool first)
{
    struct request r = {0};
    struct bytes head = {0};
    int status = read_head(c, first);
    bool last = true;

    if (status == 0) {
        size_t len = (size_t)(find(c, "\r\n\r\n") - c->in.data) - c->at + 4;

        bytes_add(&head, c->in.data + c->at, len);
        bytes_add(&head, "", 1);
        conn_take(c, len);
        status = request_parse(&r, c->fault, (char *)head.data, len);
        if (status == 0)
            status = handle(c, &r, first);
        last = status != 200 || asks_to_close(&r, c->fault);
    }
    if (status == 101)
        upgrade_answer(&c->out, &r, c->fault);
    else if (status > 0)
        answer(c, status, last);
    request_release(&r);
    bytes_release(&head);
    return status == 200 && last ? 0 : status;
}

bool http_serve(struct conn *c)
{
    int status = serve_one(c, true);

    while (status == 200) {
        if (fault_is(c->fault, "one-request-per-recv"))
            c->in.len = c->at;
        status = serve_one(c, false);
    }
    conn_flush(c);
    return status == 101;
}
