/* SPDX-License-Identifier: MIT
 *
 * Step 3: the opening handshake, RFC 6455 §4. A client sends the head of an HTTP request with a
 * key; the answer proves that we speak WebSocket. Then the browser calls onopen.
 *
 *     cc learn/03_handshake.c -o echo && ./echo 8080
 *     wscheck --level handshake ws://127.0.0.1:8080/ */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64, HEAD_MAX = 8192 };

struct client {
    int fd;
    bool open; /* the handshake is over */
    size_t len;
    char in[HEAD_MAX + 1]; /* what has come and was not handled yet */
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A socket that listens on 127.0.0.1. */
static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* start again at once */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(fd, 128) != 0)
        fail("listen");
    return fd;
}

/* --- SHA-1 and base64 ------------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

/* One block of 64 bytes, RFC 3174 §6.1. */
static void sha1_block(uint32_t h[5], const uint8_t *block)
{
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], w[80];

    for (int i = 0; i < 80; i++) {
        uint32_t f, next;

        if (i < 16)
            w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
        else
            w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        if (i < 20)
            f = ((b & c) | (~b & d)) + 0x5a827999;
        else if (i < 40)
            f = (b ^ c ^ d) + 0x6ed9eba1;
        else if (i < 60)
            f = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        else
            f = (b ^ c ^ d) + 0xca62c1d6;
        next = rotate(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* The SHA-1 of the 60 bytes of a key and the GUID: with their padding two blocks. */
static void sha1_of_60(uint8_t out[20], const char text[60])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[128] = {0};

    memcpy(blocks, text, 60);
    blocks[60] = 0x80;
    blocks[126] = 60 * 8 >> 8; /* the length in bits */
    blocks[127] = 60 * 8 & 0xff;
    sha1_block(h, blocks);
    sha1_block(h, blocks + 64);
    for (int i = 0; i < 20; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Sec-WebSocket-Accept for a key of 24 characters, RFC 6455 §4.2.2. */
static void accept_of(char out[29], const char *key)
{
    char text[61];
    uint8_t hash[21] = {0}; /* 20 bytes, and one for the last digit */

    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1_of_60(hash, text);
    for (int i = 0; i < 28; i++) {
        int three = hash[i / 4 * 3] << 16 | hash[i / 4 * 3 + 1] << 8 | hash[i / 4 * 3 + 2];

        out[i] = digits[three >> (18 - 6 * (i % 4)) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

/* Is it the base64 of 16 bytes: 22 digits, of which the last has 2 bits, and "=="? */
static bool is_key(const char *key)
{
    return strlen(key) == 24 && strspn(key, digits) == 22 && strchr("AQgw", key[21]) != NULL &&
           strcmp(key + 22, "==") == 0;
}

/* --- the request ------------------------------------------------------------------------------ */

/* Copy the value of a field of the head, all its lines as one list. Returns how many lines there
 * were. RFC 9110 §5 */
static int field(const char *head, const char *name, char *out, size_t size)
{
    size_t len = strlen(name), used = 0;
    int count = 0;

    out[0] = '\0';
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        const char *value, *end;

        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        value = line + len + 1 + strspn(line + len + 1, " \t");
        end = value + strcspn(value, "\r");
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        used += (size_t)snprintf(out + used, used < size ? size - used : 0, "%s%.*s",
                                 count > 0 ? "," : "", (int)(end - value), value);
        count++;
        if (used >= size)
            return -1;
    }
    return count;
}

/* Is `token` an item of the list? */
static bool has_token(const char *list, const char *token)
{
    size_t len = strlen(token);

    for (; *list != '\0'; list += strcspn(list, ",")) {
        list += strspn(list, ", \t");
        if (strncasecmp(list, token, len) == 0 && strchr(", \t", list[len]) != NULL)
            return true; /* strchr() finds the NUL at the end, too */
    }
    return false;
}

/* What to answer, RFC 6455 §4.2.1: 101, or why not. The key is left in `key`. */
static int judge(const char *head, char key[64])
{
    const char *line_end = strstr(head, "\r\n");
    char value[256];

    if (line_end - head < 14 || memcmp(line_end - 9, " HTTP/1.1", 9) != 0 ||
        strncmp(head, "GET /", 5) != 0)
        return 400;
    if (field(head, "Host", value, sizeof value) != 1)
        return 400;
    if (field(head, "Upgrade", value, sizeof value) != 1 || strcasecmp(value, "websocket") != 0)
        return 426;
    if (field(head, "Connection", value, sizeof value) < 1 || !has_token(value, "upgrade"))
        return 426;
    if (field(head, "Sec-WebSocket-Version", value, sizeof value) != 1 || strcmp(value, "13") != 0)
        return 426;
    if (field(head, "Sec-WebSocket-Key", key, 64) != 1 || !is_key(key))
        return 400;
    return 101;
}

/* --- clients ---------------------------------------------------------------------------------- */

/* epoll gives the pointer back with each event, so no table of clients is needed. */
static void client_new(int epoll, int fd)
{
    struct client *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (c == NULL)
        fail("calloc");
    c->fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
} /* NOLINT(clang-analyzer-unix.Malloc): epoll keeps the pointer */

static void client_free(struct client *c)
{
    close(c->fd); /* epoll forgets a closed descriptor by itself */
    free(c);
}

static bool send_all(struct client *c, const void *data, size_t len)
{
    return write(c->fd, data, len) == (ssize_t)len;
}

/* The whole head has come. Returns false when the connection is over. */
static bool answer(struct client *c)
{
    char key[64], accept[29], head[256];
    int status = judge(c->in, key);

    if (status != 101) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade, close\r\nContent-Length: 0\r\n\r\n",
                 status, status == 426 ? "Upgrade Required" : "Bad Request");
        send_all(c, head, strlen(head));
        return false;
    }
    accept_of(accept, key);
    snprintf(head, sizeof head,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    c->open = true;
    return send_all(c, head, strlen(head));
}

/* Handle what has come. Returns false when the connection is over. */
static bool handle(struct client *c)
{
    char *end;

    if (c->open) {
        c->len = 0; /* frames: the next step */
        return true;
    }
    c->in[c->len] = '\0';
    end = memmem(c->in, c->len, "\r\n\r\n", 4);
    if (end == NULL)
        return c->len < HEAD_MAX; /* more of the head is to come */
    c->len -= (size_t)(end + 4 - c->in);
    end[2] = '\0';
    return answer(c);
}

/* The client has sent something, or has closed its side: then read() returns 0. */
static void client_ready(struct client *c)
{
    ssize_t n = read(c->fd, c->in + c->len, HEAD_MAX - c->len);

    if (n > 0)
        c->len += (size_t)n;
    if (n <= 0 || !handle(c))
        client_free(c);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void accept_client(int epoll, int listener)
{
    int fd = accept(listener, NULL, NULL);

    if (fd < 0)
        fail("accept");
    client_new(epoll, fd);
}

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 8080);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* no client: the listener */
    struct epoll_event events[EVENTS];

    signal(SIGPIPE, SIG_IGN); /* a write to a client that has gone is an error, not our end */
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll");
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_client(epoll, listener);
            else
                client_ready(events[i].data.ptr);
        }
    }
}
