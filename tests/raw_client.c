/* SPDX-License-Identifier: MIT
 *
 * A client for tests that can send any bytes; see raw_client.h. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "raw_client.h"

/* The masking key of every frame: that of the RFC's examples, §5.7. */
static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

bool raw_has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

int64_t raw_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- failures --------------------------------------------------------------------------------- */

static void dump(const char *what, const struct raw_sample *s)
{
    char line[RAW_DUMP_MAX * 4 + 8];
    size_t n = 0;

    for (size_t i = 0; i < s->len; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%02x ", s->bytes[i]);
    line[n] = '\0';
    print_error("  %s, %llu bytes in all: %s\n", what, (unsigned long long)s->total, line);
    for (size_t i = 0; i < s->len; i++)
        line[i] = s->bytes[i] >= 0x20 && s->bytes[i] < 0x7f ? (char)s->bytes[i] : '.';
    line[s->len] = '\0';
    print_error("      \"%s\"\n", line);
}

void raw_fail(const struct raw_client *c, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("ERROR: %s%s%s\n", c->label != NULL ? c->label : "", c->label != NULL ? ": " : "",
                text);
    dump("last sent, its beginning", &c->sent);
    dump("came, its end", &c->came);
    fail();
    abort(); /* fail() jumps out of the test */
}

static void sample_sent(struct raw_client *c, const void *data, size_t len)
{
    c->sent.len = len < RAW_DUMP_MAX ? len : RAW_DUMP_MAX;
    if (len != 0)
        memcpy(c->sent.bytes, data, c->sent.len);
}

static void sample_came(struct raw_client *c, const uint8_t *data, size_t len)
{
    struct raw_sample *s = &c->came;
    size_t keep;

    s->total += len;
    if (len > RAW_DUMP_MAX) {
        data += len - RAW_DUMP_MAX;
        len = RAW_DUMP_MAX;
    }
    keep = s->len < RAW_DUMP_MAX - len ? s->len : RAW_DUMP_MAX - len;
    memmove(s->bytes, s->bytes + s->len - keep, keep);
    memcpy(s->bytes + keep, data, len);
    s->len = keep + len;
}

/* --- bytes to send ---------------------------------------------------------------------------- */

void raw_bytes_add(struct raw_bytes *b, const void *data, size_t len)
{
    if (len > b->cap - b->len) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
        assert_non_null(b->data);
    }
    if (len != 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

void raw_bytes_text(struct raw_bytes *b, const char *text)
{
    raw_bytes_add(b, text, strlen(text));
}

/* The key is that of the RFC's example, §1.3, so that the answer to it is known too. */
void raw_bytes_upgrade(struct raw_bytes *b, const char *path, const char *more)
{
    raw_bytes_text(b, "GET ");
    raw_bytes_text(b, path);
    raw_bytes_text(b, " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    raw_bytes_text(b, more);
    raw_bytes_text(b, "\r\n");
}

static void add_length(struct raw_bytes *b, uint64_t len, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;) {
        uint8_t byte = (uint8_t)(len >> (8 * i));

        raw_bytes_add(b, &byte, 1);
    }
}

void raw_bytes_header(struct raw_bytes *b, unsigned head, uint64_t len)
{
    uint8_t short_len = len < 126 ? (uint8_t)len : len <= 0xffff ? 126 : 127;

    add_length(b, head, 1);
    add_length(b, short_len | 0x80u, 1);
    if (short_len == 126)
        add_length(b, len, 2);
    if (short_len == 127)
        add_length(b, len, 8);
    raw_bytes_add(b, key, sizeof key);
}

void raw_bytes_payload(struct raw_bytes *b, const void *data, size_t len, uint64_t offset)
{
    uint8_t *at;

    raw_bytes_add(b, data, len);
    if (len == 0)
        return;
    at = b->data + b->len - len;
    for (size_t i = 0; i < len; i++)
        at[i] ^= key[(offset + i) % sizeof key];
}

void raw_bytes_frame(struct raw_bytes *b, unsigned head, const void *payload, size_t len)
{
    raw_bytes_header(b, head, len);
    raw_bytes_payload(b, payload, len, 0);
}

void raw_bytes_close(struct raw_bytes *b, unsigned code, const char *reason)
{
    char payload[128] = {(char)(code >> 8), (char)code};
    size_t len = strlen(reason);

    assert_true(len <= sizeof payload - 2);
    memcpy(payload + 2, reason, len);
    raw_bytes_frame(b, RAW_CLOSE, payload, len + 2);
}

void raw_bytes_release(struct raw_bytes *b)
{
    free(b->data);
    *b = (struct raw_bytes){0};
}

/* --- connection ------------------------------------------------------------------------------- */

void raw_init(struct raw_client *c)
{
    *c = (struct raw_client){.fd = -1};
}

void raw_connect_to(struct raw_client *c, const struct sockaddr *address, socklen_t len, int rcvbuf)
{
    int one = 1;

    raw_init(c);
    c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        raw_fail(c, "socket: %s", strerror(errno));
    if (rcvbuf != 0)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (address->sa_family != AF_UNIX)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, address, len) != 0)
        raw_fail(c, "connect: %s", strerror(errno));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void connect_loopback(struct raw_client *c, uint16_t port, int rcvbuf)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw_connect_to(c, (const struct sockaddr *)&a, sizeof a, rcvbuf);
}

void raw_connect(struct raw_client *c, uint16_t port)
{
    connect_loopback(c, port, 0);
}

void raw_connect_slow(struct raw_client *c, uint16_t port)
{
    connect_loopback(c, port, 4096);
}

void raw_close(struct raw_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    raw_init(c);
}

void raw_reset(struct raw_client *c)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    raw_close(c);
}

void raw_half_close(struct raw_client *c)
{
    if (shutdown(c->fd, SHUT_WR) != 0)
        raw_fail(c, "shutdown: %s", strerror(errno));
}

static short wait_for(const struct raw_client *c, short events, int timeout_ms)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    int n;

    do
        n = poll(&p, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 ? p.revents : 0;
}

static int left_until(int64_t deadline)
{
    int64_t left = deadline - raw_now_ms();

    return left > 0 ? (int)left : 0;
}

bool raw_readable_within(const struct raw_client *c, int timeout_ms)
{
    return c->at < c->len || wait_for(c, POLLIN, timeout_ms) != 0;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* What the socket takes at once; 0 when it is full. */
static size_t send_now(struct raw_client *c, const uint8_t *data, size_t len)
{
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

    if (n >= 0) {
        c->sent.total += (uint64_t)n;
        return (size_t)n;
    }
    if (errno != EAGAIN && errno != EINTR)
        raw_fail(c, "send: %s", strerror(errno));
    return 0;
}

size_t raw_send_some(struct raw_client *c, const void *data, size_t len, int stall_ms)
{
    size_t done = 0;

    sample_sent(c, data, len);
    while (done < len && wait_for(c, POLLOUT, stall_ms) != 0)
        done += send_now(c, (const uint8_t *)data + done, len - done);
    return done;
}

void raw_send(struct raw_client *c, const void *data, size_t len)
{
    size_t done = raw_send_some(c, data, len, RAW_DEADLINE_MS);

    if (done < len)
        raw_fail(c, "the server takes no more after %zu of %zu bytes", done, len);
}

void raw_send_text(struct raw_client *c, const char *text)
{
    raw_send(c, text, strlen(text));
}

void raw_send_bytes(struct raw_client *c, const struct raw_bytes *b)
{
    raw_send(c, b->data, b->len);
}

void raw_send_chunks(struct raw_client *c, const void *data, size_t len, size_t chunk)
{
    for (size_t at = 0; at < len; at += chunk)
        raw_send(c, (const uint8_t *)data + at, len - at < chunk ? len - at : chunk);
}

void raw_send_frame(struct raw_client *c, unsigned head, const void *payload, size_t len)
{
    struct raw_bytes b = {0};

    raw_bytes_frame(&b, head, payload, len);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
}

void raw_send_message(struct raw_client *c, const char *text)
{
    raw_send_frame(c, RAW_TEXT, text, strlen(text));
}

void raw_send_close(struct raw_client *c, unsigned code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    raw_send_frame(c, RAW_CLOSE, payload, code == 0 ? 0 : 2);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void make_room(struct raw_client *c)
{
    if (c->at == c->len)
        c->at = c->len = 0;
    if (c->at > c->cap / 2) {
        memmove(c->in, c->in + c->at, c->len - c->at);
        c->len -= c->at;
        c->at = 0;
    }
    if (c->cap - c->len < 2048) {
        c->cap = c->cap == 0 ? 4096 : c->cap * 2;
        c->in = realloc(c->in, c->cap);
        assert_non_null(c->in);
    }
}

/* One recv. Returns false on a reset. */
static bool receive(struct raw_client *c)
{
    ssize_t n;

    make_room(c);
    n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->eof = n == 0;
    sample_came(c, c->in + c->len, (size_t)n);
    c->len += (size_t)n;
    return true;
}

/* Have `n` bytes that were not taken yet, or fewer at EOF. */
static void fill(struct raw_client *c, size_t n)
{
    int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;

    while (c->len - c->at < n && !c->eof) {
        if (wait_for(c, POLLIN, left_until(deadline)) == 0)
            raw_fail(c, "nothing came in time: %zu of %zu bytes", c->len - c->at, n);
        if (!receive(c))
            raw_fail(c, "connection reset: %zu of %zu bytes came", c->len - c->at, n);
    }
}

static void need(struct raw_client *c, size_t n, const char *what)
{
    fill(c, n);
    if (c->len - c->at < n)
        raw_fail(c, "EOF in %s: %zu of %zu bytes", what, c->len - c->at, n);
}

void raw_exchange(struct raw_client *c, const void *data, size_t len)
{
    int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;
    size_t done = 0;

    sample_sent(c, data, len);
    while (done < len) {
        short ready = wait_for(c, POLLIN | POLLOUT, left_until(deadline));

        if (ready == 0)
            raw_fail(c, "stuck after %zu of %zu bytes", done, len);
        if ((ready & POLLIN) != 0 && !receive(c))
            raw_fail(c, "connection reset after %zu of %zu bytes", done, len);
        if ((ready & POLLOUT) != 0)
            done += send_now(c, (const uint8_t *)data + done, len - done);
    }
}

void raw_expect_eof(struct raw_client *c)
{
    fill(c, 1);
    if (c->at < c->len)
        raw_fail(c, "expected EOF, came %zu bytes, first %02x", c->len - c->at, c->in[c->at]);
}

bool raw_gone_within(struct raw_client *c, int timeout_ms)
{
    int64_t deadline = raw_now_ms() + timeout_ms;

    while (!c->eof) {
        if (wait_for(c, POLLIN, left_until(deadline)) == 0)
            return false;
        if (!receive(c))
            return true;
        c->at = c->len;
    }
    return true;
}

/* --- HTTP ------------------------------------------------------------------------------------- */

bool raw_header(const struct raw_response *r, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);

    for (const char *at = strstr(r->head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n")) {
        const char *value = at + 2 + name_len;

        if (strncasecmp(at + 2, name, name_len) != 0 || *value != ':')
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
        return true;
    }
    return false;
}

bool raw_header_is(const struct raw_response *r, const char *name, const char *value)
{
    char found[256];

    return raw_header(r, name, found, sizeof found) && strcasecmp(found, value) == 0;
}

static void read_head(struct raw_client *c, struct raw_response *r)
{
    size_t n = 0;

    do {
        if (n == sizeof r->head - 1)
            raw_fail(c, "a response head without end");
        need(c, n + 1, "a response head");
        r->head[n] = (char)c->in[c->at + n];
        if (r->head[n] == '\0')
            raw_fail(c, "NUL in a response head");
        r->head[++n] = '\0';
    } while (n < 4 || strcmp(r->head + n - 4, "\r\n\r\n") != 0);
    c->at += n;
}

void raw_read_response(struct raw_client *c, struct raw_response *r, bool head_only)
{
    char length[32];

    read_head(c, r);
    if (strncmp(r->head, "HTTP/1.1 ", 9) != 0)
        raw_fail(c, "not a status line: %.40s", r->head);
    r->status = atoi(r->head + 9);
    r->body_len = 0;
    r->body = NULL;
    if (head_only || r->status < 200 || r->status == 204 || r->status == 304)
        return;
    if (!raw_header(r, "Content-Length", length, sizeof length))
        raw_fail(c, "no Content-Length in: %s", r->head);
    r->body_len = strtoul(length, NULL, 10);
    need(c, r->body_len, "a response body");
    r->body = c->in + c->at;
    c->at += r->body_len;
}

void raw_expect_status(struct raw_client *c, struct raw_response *r, int status)
{
    raw_read_response(c, r, false);
    if (r->status != status)
        raw_fail(c, "expected status %d, came %d: %.*s", status, r->status, (int)r->body_len,
                 r->body != NULL ? (const char *)r->body : "");
}

void raw_expect_upgraded(struct raw_client *c, struct raw_response *r)
{
    raw_expect_status(c, r, 101);
    if (!raw_header_is(r, "Upgrade", "websocket") || !raw_header_is(r, "Connection", "Upgrade"))
        raw_fail(c, "101 without Upgrade and Connection: %s", r->head);
    if (strstr(r->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") == NULL ||
        !raw_header_is(r, "Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        raw_fail(c, "wrong Sec-WebSocket-Accept: %s", r->head);
}

void raw_send_upgrade(struct raw_client *c, const char *path, const char *more)
{
    struct raw_bytes b = {0};

    raw_bytes_upgrade(&b, path, more);
    raw_send_bytes(c, &b);
    raw_bytes_release(&b);
}

void raw_upgrade(struct raw_client *c, const char *path)
{
    struct raw_response r;

    raw_send_upgrade(c, path, "");
    raw_expect_upgraded(c, &r);
}

/* --- frames ----------------------------------------------------------------------------------- */

/* The length and its own size in bytes; a length not in its shortest form fails, §5.2. */
static uint64_t frame_length(struct raw_client *c, size_t *extra)
{
    uint8_t first = c->in[c->at + 1];
    uint64_t len = 0;

    if ((first & 0x80) != 0)
        raw_fail(c, "the server masked a frame");
    *extra = first == 127 ? 8 : first == 126 ? 2 : 0;
    if (*extra == 0)
        return first;
    need(c, 2 + *extra, "a frame header");
    for (size_t i = 0; i < *extra; i++)
        len = len << 8 | c->in[c->at + 2 + i];
    if (len <= (*extra == 2 ? 125u : 65535u))
        raw_fail(c, "length %llu in %zu bytes", (unsigned long long)len, *extra);
    return len;
}

void raw_read_frame(struct raw_client *c, struct raw_frame *f)
{
    size_t extra;

    need(c, 2, "a frame header");
    f->head = c->in[c->at];
    if ((f->head & 0x70) != 0)
        raw_fail(c, "the server set RSV: %02x", f->head);
    f->len = (size_t)frame_length(c, &extra);
    if ((f->head & 0x08) != 0 && (f->len > 125 || (f->head & 0x80) == 0))
        raw_fail(c, "a control frame of %zu bytes, head %02x", f->len, f->head);
    need(c, 2 + extra + f->len, "a frame");
    f->payload = c->in + c->at + 2 + extra;
    c->at += 2 + extra + f->len;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;

    while (i < len && a[i] == b[i])
        i++;
    return i;
}

void raw_expect_frame(struct raw_client *c, unsigned head, const void *payload, size_t len)
{
    struct raw_frame f;

    raw_read_frame(c, &f);
    if (f.head != head || f.len != len)
        raw_fail(c, "expected frame %02x of %zu bytes, came %02x of %zu", head, len, f.head, f.len);
    if (len != 0 && memcmp(f.payload, payload, len) != 0)
        raw_fail(c, "payload differs at byte %zu of %zu", first_difference(f.payload, payload, len),
                 len);
}

void raw_expect_message(struct raw_client *c, const char *text)
{
    raw_expect_frame(c, RAW_TEXT, text, strlen(text));
}

void raw_expect_echo(struct raw_client *c, const char *text)
{
    raw_send_message(c, text);
    raw_expect_message(c, text);
}

void raw_expect_close(struct raw_client *c, unsigned code)
{
    struct raw_frame f;
    unsigned came;

    raw_read_frame(c, &f);
    if (f.head != RAW_CLOSE)
        raw_fail(c, "expected Close %u, came frame %02x of %zu bytes", code, f.head, f.len);
    if (f.len == 1)
        raw_fail(c, "a Close of one byte");
    came = f.len == 0 ? 0 : (unsigned)f.payload[0] << 8 | f.payload[1];
    if (came != code)
        raw_fail(c, "expected Close %u, came Close %u", code, came);
}

void raw_expect_closed(struct raw_client *c, unsigned code)
{
    raw_expect_close(c, code);
    raw_expect_eof(c);
}
