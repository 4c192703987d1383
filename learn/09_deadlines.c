/* SPDX-License-Identifier: MIT
 *
 * Step 9: deadlines. A cable that is pulled sends no FIN, and a client may begin a request and
 * never end it: each connection has a moment by which something must have happened.
 *
 *     cc learn/09_deadlines.c -o chat && ./chat 8080 30      a Ping after 30 s of silence
 *     wscheck --level strict --jobs 1 ws://127.0.0.1:8080/    alone in its room */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    HEAD_MAX = 8192,
    HANDSHAKE_MS = 10000,      /* for the whole head */
    PONG_MS = 20000,           /* for anything to come after our Ping */
    CLOSE_MS = 5000,           /* for the client's FIN after our last byte was queued */
    OUT_HIGH = 64 * 1024,      /* bytes of output above which a client is not read */
    OUT_MAX = 4 * 1024 * 1024, /* and above which it is given up */
    IN_MAX = 128 * 1024,
    MESSAGE_MAX = 1024 * 1024,
    FRAME_MAX = IN_MAX - 14
};
enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

struct client {
    int fd;
    struct client *next; /* of all */
    char room[HEAD_MAX]; /* the path of its request */
    bool gone;           /* freed when the events of this turn have been handled */
    bool closing;        /* nothing is sent any more but `out`; what comes is thrown away */
    bool fin_sent;       /* and `out` has gone, too */
    uint8_t *out;        /* what the socket has not taken yet, */
    size_t out_len;      /* of so many bytes */
    size_t out_cap;
    uint32_t watched; /* the events that epoll is to report */
    int64_t due_ms;   /* when it is too late */
    bool pinged;      /* and until then something has to come */
    bool open;        /* the handshake is over */
    size_t len;
    char in[IN_MAX + 1]; /* what has come and was not handled yet */
    unsigned opcode;     /* of the message whose fragments come; 0: none is open */
    uint8_t *message;    /* its fragments so far, */
    size_t message_len;  /* of so many bytes, */
    size_t message_cap;
    size_t checked; /* of which so many are known to be UTF-8 */
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

/* --- frames ----------------------------------------------------------------------------------- */

struct frame {
    bool fin;
    unsigned rsv;
    unsigned opcode;
    bool masked;
    bool minimal; /* the length has its shortest form */
    uint64_t len;
    const uint8_t *key; /* the masking key */
    uint8_t *payload;
};

/* Read the header of a frame from the `len` bytes at `data`. Returns its length, or 0 when more has
 * to come. The length of the payload is one byte, or 126 and two more, or 127 and eight more, the
 * highest first. */
static size_t read_header(struct frame *f, uint8_t *data, size_t len)
{
    size_t at = 2, more;

    if (len < 2)
        return 0;
    f->fin = (data[0] & 0x80) != 0;
    f->rsv = data[0] & 0x70;
    f->opcode = data[0] & 0x0f;
    f->masked = (data[1] & 0x80) != 0;
    f->len = data[1] & 0x7f;
    more = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
    if (len < at + more + (f->masked ? 4 : 0))
        return 0;
    if (more > 0)
        f->len = 0;
    for (size_t i = 0; i < more; i++)
        f->len = f->len << 8 | data[at++];
    f->minimal = more == 0 || (more == 2 ? f->len > 125 : f->len > 0xffff && f->len >> 63 == 0);
    f->key = data + at;
    f->payload = data + at + 4;
    return at + (f->masked ? 4 : 0);
}

/* What is wrong with a header, as the status to close with; 0: nothing. `open`: a message is. */
static unsigned fault(const struct frame *f, bool open)
{
    if (f->rsv != 0 || !f->masked || !f->minimal)
        return 1002; /* the client breaks the protocol */
    if (f->opcode > BINARY && (f->opcode < CLOSE || f->opcode > PONG))
        return 1002; /* reserved */
    if (f->opcode >= CLOSE)
        return f->fin && f->len <= 125 ? 0 : 1002;
    if ((f->opcode == CONTINUATION) != open)
        return 1002; /* it continues nothing, or begins a second message */
    return f->len > FRAME_MAX ? 1009 : 0;
}

/* Byte i of the payload was combined with byte i mod 4 of the key; the same again undoes it. */
static void unmask(struct frame *f)
{
    for (size_t i = 0; i < f->len; i++)
        f->payload[i] ^= f->key[i % 4];
}

/* The header of a frame of ours: final, not masked. Returns its length. */
static size_t write_header(uint8_t out[10], unsigned opcode, uint64_t len)
{
    size_t more = len < 126 ? 0 : len <= 0xffff ? 2 : 8;

    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(more == 0 ? len : more == 2 ? 126 : 127);
    for (size_t i = 0; i < more; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (more - 1 - i)));
    return 2 + more;
}

/* --- UTF-8 and statuses ----------------------------------------------------------------------- */

/* How many bytes at the start of `s` are whole characters, by the table of RFC 3629 §4: `len`, or
 * up to 3 fewer when the last one has not come whole. -1: this is not UTF-8. */
static ssize_t utf8(const uint8_t *s, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint8_t first = s[at];
        size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

        if (size == 0 || first > 0xf4)
            return -1;
        for (size_t i = 1; i < size && at + i < len; i++) {
            if (s[at + i] < low || s[at + i] > high)
                return -1;
            low = 0x80; /* only the second byte has a range of its own */
            high = 0xbf;
        }
        if (at + size > len)
            break;
        at += size;
    }
    return (ssize_t)at;
}

/* May a client close with it? RFC 6455 §7.4 */
static bool is_status(unsigned status)
{
    return (status >= 1000 && status <= 1014 && (status < 1004 || status > 1006)) ||
           (status >= 3000 && status <= 4999);
}

/* --- clients ---------------------------------------------------------------------------------- */

/* Of a clock that cannot be set. */
static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct server {
    int epoll;
    int64_t ping_ms; /* of silence before a Ping */
    struct client *clients;
};

static void client_new(struct server *s, int fd)
{
    struct client *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (c == NULL)
        fail("calloc");
    c->fd = fd;
    c->watched = EPOLLIN;
    c->due_ms = now_ms() + HANDSHAKE_MS;
    c->next = s->clients;
    s->clients = c;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

/* A client may go while a message is sent to its room, so what is gone is only marked: an event of
 * the same turn may point to it. */
static void free_those_that_are_gone(struct server *s)
{
    for (struct client **link = &s->clients; *link != NULL;) {
        struct client *c = *link;

        if (!c->gone) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        close(c->fd); /* epoll forgets a closed descriptor by itself */
        free(c->message);
        free(c->out);
        free(c);
    }
}

/* Room for `len` bytes in all. It doubles, so that bytes which come one by one are not copied each
 * time. */
static bool make_room(uint8_t **data, size_t *cap, size_t len)
{
    size_t size = *cap == 0 ? 1024 : *cap;
    uint8_t *grown;

    while (size < len)
        size *= 2;
    if (size == *cap)
        return true;
    grown = realloc(*data, size);
    if (grown == NULL)
        return false;
    *data = grown;
    *cap = size;
    return true;
}

/* Queue it; it leaves at the end of the turn. Returns false when the client is given up. */
static bool send_all(struct client *c, const void *data, size_t len)
{
    if (c->closing || c->gone)
        return false;
    if (len > OUT_MAX - c->out_len || !make_room(&c->out, &c->out_cap, c->out_len + len)) {
        c->gone = true; /* it does not read */
        return false;
    }
    if (len > 0)
        memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
    return true;
}

/* Give the socket what it takes. */
static void flush(struct client *c)
{
    ssize_t n = c->out_len == 0 ? 0 : send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        c->gone = true;
    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    if (c->closing && c->out_len == 0 && !c->fin_sent) {
        c->fin_sent = true;
        shutdown(c->fd, SHUT_WR);
    }
}

/* EPOLLIN while it may send, EPOLLOUT while something waits for it. */
static void watch(const struct server *s, struct client *c)
{
    struct epoll_event event = {.data.ptr = c};

    if (c->closing || c->out_len <= OUT_HIGH)
        event.events |= EPOLLIN;
    if (c->out_len > 0)
        event.events |= EPOLLOUT;
    if (event.events != c->watched && epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0)
        c->gone = true;
    c->watched = event.events;
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
    snprintf(c->room, sizeof c->room, "%.*s", (int)strcspn(c->in + 4, " "), c->in + 4);
    snprintf(head, sizeof head,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    c->open = true;
    return send_all(c, head, strlen(head));
}

/* The head, when it has come whole. Returns false when the connection is over. */
static bool handle_head(struct client *c)
{
    size_t len = c->len < HEAD_MAX ? c->len : HEAD_MAX; /* frames may follow it */
    char *end;
    bool ok;

    c->in[c->len] = '\0';
    end = memmem(c->in, len, "\r\n\r\n", 4);
    if (end == NULL)
        return len < HEAD_MAX; /* more of the head is to come */
    end[2] = '\0';
    ok = answer(c);
    c->len -= (size_t)(end + 4 - c->in);
    memmove(c->in, end + 4, c->len);
    return ok;
}

static bool send_frame(struct client *c, unsigned opcode, const void *payload, size_t len)
{
    uint8_t header[10];

    return send_all(c, header, write_header(header, opcode, len)) && send_all(c, payload, len);
}

/* To everybody in the room of `from`. */
static void publish(struct server *s, const struct client *from, unsigned opcode,
                    const void *payload, size_t len)
{
    for (struct client *c = s->clients; c != NULL; c = c->next)
        if (c->open && !c->gone && strcmp(c->room, from->room) == 0)
            send_frame(c, opcode, payload, len);
}

static bool send_close(struct client *c, unsigned status)
{
    uint8_t payload[2] = {(uint8_t)(status >> 8), (uint8_t)status};

    send_frame(c, CLOSE, payload, 2);
    return false; /* and with it the connection is over */
}

/* Is the message text, as far as it has come? A character may be cut by fragments. */
static bool is_text(struct client *c, bool whole)
{
    ssize_t n = utf8(c->message + c->checked, c->message_len - c->checked);

    if (n < 0)
        return false;
    c->checked += (size_t)n;
    return !whole || c->checked == c->message_len;
}

/* A fragment, or a whole message: the opcode is in the first frame, FIN in the last one. */
static bool handle_data(struct server *s, struct client *c, const struct frame *f)
{
    if (f->len > MESSAGE_MAX - c->message_len)
        return send_close(c, 1009); /* too big */
    if (!make_room(&c->message, &c->message_cap, c->message_len + (size_t)f->len))
        return false;
    memcpy(c->message + c->message_len, f->payload, (size_t)f->len);
    c->message_len += (size_t)f->len;
    if (f->opcode != CONTINUATION)
        c->opcode = f->opcode;
    if (c->opcode == TEXT && !is_text(c, f->fin))
        return send_close(c, 1007);
    if (f->fin) {
        publish(s, c, c->opcode, c->message, c->message_len);
        c->opcode = 0;
        c->message_len = c->checked = 0;
    }
    return !c->gone;
}

/* The answer to a Close is a Close with the same status, and then the TCP connection ends. */
static bool handle_close(struct client *c, const struct frame *f)
{
    if (f->len == 0)
        send_frame(c, CLOSE, NULL, 0);
    else if (f->len == 1 || !is_status((unsigned)f->payload[0] << 8 | f->payload[1]))
        send_close(c, 1002);
    else if (utf8(f->payload + 2, (size_t)f->len - 2) != (ssize_t)f->len - 2)
        send_close(c, 1007);
    else
        send_frame(c, CLOSE, f->payload, 2);
    return false;
}

/* The opcode decides. A control frame changes nothing in the message that is open. */
static bool handle_frame(struct server *s, struct client *c, const struct frame *f)
{
    switch (f->opcode) {
    case PING:
        return send_frame(c, PONG, f->payload, (size_t)f->len);
    case PONG:
        return true;
    case CLOSE:
        return handle_close(c, f);
    default:
        return handle_data(s, c, f);
    }
}

/* The frames that have come whole; the beginning of another one is kept. A header that is wrong is
 * refused before its payload has come. Returns false when the connection is over. */
static bool handle_frames(struct server *s, struct client *c)
{
    uint8_t *data = (uint8_t *)c->in;
    struct frame f;
    size_t at = 0, n;

    while ((n = read_header(&f, data + at, c->len - at)) > 0) {
        unsigned status = fault(&f, c->opcode != 0);

        if (status != 0)
            return send_close(c, status);
        if (c->len - at - n < f.len)
            break;
        unmask(&f);
        if (!handle_frame(s, c, &f))
            return false;
        at += n + (size_t)f.len;
    }
    c->len -= at;
    memmove(data, data + at, c->len);
    return true;
}

/* Returns false when the connection is over. */
static bool handle(struct server *s, struct client *c)
{
    if (!c->open && !handle_head(c))
        return false;
    return !c->open || handle_frames(s, c);
}

/* The client has sent something, or has closed its side: then read() returns 0. EPOLLOUT needs no
 * word here, for settle() sends whatever waits. */
static void client_ready(struct server *s, struct client *c)
{
    ssize_t n = read(c->fd, c->in + c->len, IN_MAX - c->len);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        c->gone = true;
    else if (!c->closing) { /* else it is thrown away */
        c->len += (size_t)n;
        c->closing = !handle(s, c);
        c->len = c->closing ? 0 : c->len;
        c->pinged = false; /* it lives */
        if (c->closing)
            c->due_ms = now_ms() + CLOSE_MS;
        else if (c->open) /* the head has one deadline, however slowly it comes */
            c->due_ms = now_ms() + s->ping_ms;
    }
}

/* Its moment has come. A client that is open and has been silent gets a Ping, once. */
static void too_late(struct client *c)
{
    if (!c->open || c->pinged || c->closing || !send_frame(c, PING, NULL, 0)) {
        c->gone = true;
        return;
    }
    c->pinged = true;
    c->due_ms = now_ms() + PONG_MS;
}

/* The end of a turn: all that was queued in it leaves in one call. */
static void settle(struct server *s)
{
    int64_t now = now_ms();

    for (struct client *c = s->clients; c != NULL; c = c->next) {
        size_t waiting;

        if (c->due_ms <= now)
            too_late(c);
        waiting = c->out_len;
        if (!c->gone)
            flush(c);
        if (!c->closing && waiting > OUT_HIGH && c->out_len < waiting) {
            c->pinged = false; /* it reads, and its Pong may wait, for we do not read it now */
            c->due_ms = now + s->ping_ms;
        }
        if (!c->gone)
            watch(s, c);
    }
    free_those_that_are_gone(s);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void accept_client(struct server *s, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd < 0)
        fail("accept");
    client_new(s, fd);
}

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 8080);
    struct server s = {.epoll = epoll_create1(0)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}; /* no client: the listener */
    struct epoll_event events[EVENTS];

    s.ping_ms = 1000 * (argc > 2 ? atoi(argv[2]) : 30);
    if (s.epoll < 0 || epoll_ctl(s.epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll");
    for (;;) {
        int n = epoll_wait(s.epoll, events, EVENTS, 1000); /* deadlines are seen within a second */

        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;

            if (c == NULL)
                accept_client(&s, listener);
            else if (!c->gone && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
                client_ready(&s, c);
        }
        settle(&s);
    }
}
