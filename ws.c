/* SPDX-License-Identifier: MIT
 *
 * The server: sockets, the epoll loop, and the life of a connection. The only core file with system
 * calls; all it knows of formats it asks the pure files below (http, http_upgrade, ws_frame,
 * ws_message). The public side of it is ws.h.
 *
 * A connection goes through these states:
 *
 *   HTTP -> ANSWERING -> HTTP ...       plain requests, one at a time; pipelined ones wait in line
 *   HTTP -> UPGRADING -> OPEN           the opening handshake, RFC 6455 §4.2
 *   OPEN -> CLOSING                     we sent Close and wait for the peer's, §7.1.2
 *   any  -> DRAINING                    nothing more to say: flush, FIN, discard until EOF or deadline
 *   any  -> DEAD                        closed; the memory goes at the end of the turn
 *
 * One turn of the loop: wait, read and handle each ready connection, fire timers, then settle every
 * connection that was touched: send what has gathered, go on with input that had to wait, free the
 * dead. Functions of the API never call back and never free: they only mark and queue.
 *
 * Left out: TLS (put a proxy in front) and extensions (RFC 6455 §9: none is negotiated). */
#include "ws.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "http.h"
#include "http_upgrade.h"
#include "output.h"
#include "room.h"
#include "timer.h"
#include "ws_message.h"

enum {
    LISTEN_BACKLOG = 4096,
    ACCEPT_BATCH = 64,         /* connections accepted per turn and listener */
    ACCEPT_PAUSE_MS = 50,      /* after running out of descriptors */
    EVENT_BATCH = 256,         /* events taken from epoll per turn */
    RECEIVE_SIZE = 128 * 1024, /* bytes read per readiness */
    SPANS_MAX = 64,            /* slices sent in one system call */
    RESERVED_FDS = 32,         /* descriptors that are not for clients */
    HEAD_SIZE = 16 * 1024,     /* of a response that the application answers with */
    SENTENCE_SIZE = 512        /* of a log line */
};

/* What an epoll event points at begins with one of these. */
enum source_kind { SOURCE_CONN, SOURCE_LISTENER, SOURCE_WATCH, SOURCE_WAKE, SOURCE_CLOCK };

struct source {
    int fd;
    uint8_t kind; /* enum source_kind */
};

enum conn_state {
    CONN_HTTP,
    CONN_ANSWERING,
    CONN_UPGRADING,
    CONN_OPEN,
    CONN_CLOSING,
    CONN_DRAINING,
    CONN_DEAD
};

/* What has to survive a turn: there only while a request, a frame or a message is unfinished. */
struct input {
    struct buf stash; /* received and not yet consumed */

    /* HTTP: the head, then its decoded body. */
    struct http_scan scan;
    struct http_body body;
    struct buf request;
    size_t head_len; /* of the request whose body is coming; 0: the head is still coming */

    /* WebSocket: the message that is coming, and in it the frame. */
    struct ws_message message;
    struct ws_frame frame;
    uint64_t frame_got; /* payload bytes of `frame` that have come */
    bool in_frame;
    struct buf payload; /* of the message so far */
};

/* The unsent output, and the one pong that waits for it to leave. */
struct outbox {
    struct output queue;
    uint8_t pong_len;
    bool pong_waiting;
    uint8_t pong[WS_CONTROL_MAX];
};

/* Two cache lines, since there may be a million of them; what a message touches comes first. */
struct ws_conn {
    struct source source;
    uint8_t state;       /* enum conn_state */
    bool eof : 1;        /* the peer has shut down its side */
    bool blocked : 1;    /* the socket took less than all: wait for EPOLLOUT */
    bool paused : 1;     /* not read: over the high-water mark */
    bool drain_owed : 1; /* a send returned WS_QUEUED */
    bool fin_sent : 1;
    bool listed : 1;      /* on the server's list of touched connections */
    bool pinged : 1;      /* and nothing was heard since: the timer waits for a sign of life */
    bool opened : 1;      /* on_open was called and on_close was not */
    bool head_only : 1;   /* the request in hand is a HEAD */
    bool keep_alive : 1;  /* the request in hand allows another one */
    bool http_1_0 : 1;    /* the request in hand is of HTTP/1.0 */
    bool served : 1;      /* a request has been answered: this is not the first */
    uint16_t failed_code; /* the close code that we failed the connection with, or 0 */
    uint32_t interest;    /* what epoll watches for */
    struct ws_server *server;
    const struct endpoint *endpoint;
    struct input *input;
    struct outbox *outbox;
    uint64_t heard_ms; /* when the peer last took or gave bytes */
    struct ws_conn *next_touched;
    struct timer timer; /* its meaning follows from the state */
    struct room_seat *rooms;
    void *data;
    uint64_t id;
};

struct listener {
    struct source source;
    bool is_unix;
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* to unlink, or "" */
};

struct endpoint {
    struct endpoint *next; /* longest prefix first */
    struct ws_handlers handlers;
    size_t prefix_len;
    char prefix[];
};

struct watch {
    struct source source;
    struct watch *next;
    void (*fn)(void *arg, uint32_t ready);
    void *arg;
    bool ended;
};

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct ws_timer {
    struct timer timer;
    struct ws_server *server;
    struct ws_timer *next; /* of all that are set */
    struct ws_timer **link;
    void (*fn)(void *arg);
    void *arg;
};

struct ws_frozen {
    struct ws_server *server;
    struct output_slice slice;
};

struct ws_request {
    struct http_request http;
    struct ws_str body;
};

/* Connections by id, rising; ended ones leave holes that are closed up now and then. */
struct conn_entry {
    uint64_t id;
    struct ws_conn *conn; /* NULL: a hole */
};

struct ws_server {
    struct ws_options options; /* every default filled in */
    int epoll_fd;
    int spare_fd; /* given up to refuse a client when descriptors run out */
    struct source wake;
    struct source clock; /* a timerfd, armed only for a foreign loop */
    struct listener *listeners;
    size_t listener_count;
    bool in_turn; /* touched connections are settled at its end */
    bool stopping;
    bool stopped;
    uint64_t now_ms;
    struct timer_wheel timers;
    struct timer accept_timer;
    struct timer stop_timer;
    struct ws_timer *app_timers;
    struct watch *watches;
    struct endpoint *endpoints;
    struct buf_budget budget;
    struct output_pool pool;
    struct room_table rooms;
    struct ws_conn *touched;
    struct conn_entry *entries;
    size_t entry_count;
    size_t entry_cap;
    size_t conn_count;
    uint64_t last_id;
    _Atomic int stop_calls;
    _Atomic(struct post *) posts;         /* newest first */
    struct ws_request request;            /* the one being handled */
    const struct http_upgrade *upgrade;   /* in on_upgrade */
    char head[HEAD_SIZE];                 /* a response head being written */
    uint8_t received[RECEIVE_SIZE + 256]; /* shared by all: [kept from the last turn][new] */
};

static void conn_touch(struct ws_conn *c);

/* --- small things --------------------------------------------------------------------------------- */

const char *ws_strerror(int error)
{
    switch (error) {
    case WS_ERR_CLOSED:
        return "the connection is not open";
    case WS_ERR_FULL:
        return "a limit of buffered bytes would be passed";
    case WS_ERR_NOMEM:
        return "out of memory";
    case WS_ERR_INVALID:
        return "an argument that the protocol does not allow";
    case WS_ERR_SYSTEM:
        return "a system call failed";
    default:
        return error > 0 ? strerror(error) : "no error";
    }
}

struct ws_str ws_str(const char *text)
{
    return (struct ws_str){.data = text, .len = text == NULL ? 0 : strlen(text)};
}

bool ws_str_is(struct ws_str s, const char *text)
{
    return http_str_is((struct http_str){s.data, s.len}, text);
}

static struct ws_str to_ws_str(struct http_str s)
{
    return (struct ws_str){s.data, s.len};
}

/* The codecs say BUF_FULL and BUF_NOMEM; the API has its own names. */
static int to_ws_error(int buf_error)
{
    return buf_error == BUF_FULL ? WS_ERR_FULL : WS_ERR_NOMEM;
}

static uint64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* One line to the application. What a peer sent may be in it, so nothing but printable ASCII leaves. */
__attribute__((format(printf, 3, 4))) static void
server_log(const struct ws_server *s, enum ws_log_level level, const char *format, ...)
{
    char line[SENTENCE_SIZE];
    va_list args;

    if (s->options.log == NULL || level > s->options.log_level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *p = line; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~')
            *p = '?';
    }
    s->options.log(s->options.log_arg, level, line);
}

static bool tracing(const struct ws_server *s)
{
    return s->options.log_level >= WS_LOG_TRACE && s->options.log != NULL;
}

/* A frame's fields and the first bytes of its payload (which may be masked still). */
static void trace_frame(const struct ws_conn *c, const char *arrow, const struct ws_frame *f,
                        const uint8_t *payload, size_t len)
{
    char text[33];
    size_t n = len < sizeof text - 1 ? len : sizeof text - 1;

    for (size_t i = 0; i < n; i++) {
        uint8_t byte = arrow[0] == '<' ? payload[i] ^ f->mask[i & 3] : payload[i];

        text[i] = byte < ' ' || byte > '~' ? '.' : (char)byte;
    }
    text[n] = '\0';
    server_log(c->server, WS_LOG_TRACE, "#%llu %s %s fin=%d len=%llu \"%s\"%s",
               (unsigned long long)c->id, arrow, ws_opcode_name(f->opcode), f->fin,
               (unsigned long long)f->len, text, f->len > n ? "..." : "");
}

const char *ws_conn_address(const struct ws_conn *c, char out[WS_ADDRESS_SIZE])
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN];

    if (getpeername(c->source.fd, (struct sockaddr *)&address, &len) != 0) {
        snprintf(out, WS_ADDRESS_SIZE, "gone");
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, WS_ADDRESS_SIZE, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, WS_ADDRESS_SIZE, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, WS_ADDRESS_SIZE, "unix");
    }
    return out;
}

/* --- output --------------------------------------------------------------------------------------- */

static size_t conn_queued(const struct ws_conn *c)
{
    return c->outbox == NULL ? 0 : c->outbox->queue.queued;
}

/* The outbox, made when there is none; NULL when out of memory. */
static struct outbox *conn_outbox(struct ws_conn *c)
{
    if (c->outbox == NULL && (c->outbox = malloc(sizeof *c->outbox)) != NULL) {
        c->outbox->pong_waiting = false;
        output_init(&c->outbox->queue);
    }
    return c->outbox;
}

static void conn_drop_output(struct ws_conn *c)
{
    if (c->outbox == NULL)
        return;
    output_release(&c->server->pool, &c->outbox->queue);
    free(c->outbox);
    c->outbox = NULL;
}

/* Queue bytes within the limits of this connection and of the server. */
static int conn_append(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                       size_t body_len)
{
    struct outbox *outbox = conn_outbox(c);
    size_t room;
    int error;

    if (outbox == NULL)
        return WS_ERR_NOMEM;
    room = c->server->options.max_queue - outbox->queue.queued;
    if (outbox->queue.queued > c->server->options.max_queue || head_len > room ||
        body_len > room - head_len)
        return WS_ERR_FULL;
    error = output_append(&c->server->pool, &outbox->queue, head, head_len, body, body_len);
    if (error != 0)
        return to_ws_error(error);
    conn_touch(c);
    return 0;
}

static int send_result(struct ws_conn *c)
{
    if (conn_queued(c) <= c->server->options.high_water)
        return WS_SENT;
    c->drain_owed = true;
    return WS_QUEUED;
}

/* Queue one whole frame. */
static int conn_frame(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    size_t header_len = ws_frame_encode(header, opcode, len);

    if (tracing(c->server))
        trace_frame(c, "->", &(struct ws_frame){.len = len, .opcode = opcode, .fin = true}, data,
                    len);
    return conn_append(c, header, header_len, data, len);
}

/* A Close frame goes out even when the limits are used up: it is what tells the peer so. */
static int conn_close_frame(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len)
{
    uint8_t frame[WS_FRAME_SERVER_HEADER_MAX + WS_CONTROL_MAX];
    uint8_t payload[WS_CONTROL_MAX];
    size_t len = ws_close_encode(payload, code, reason, reason_len);
    size_t header_len = ws_frame_encode(frame, WS_OP_CLOSE, len);
    struct outbox *outbox = conn_outbox(c);

    if (outbox == NULL)
        return WS_ERR_NOMEM;
    memcpy(frame + header_len, payload, len);
    if (output_append_last(&outbox->queue, &c->server->pool, frame, header_len + len) != 0)
        return WS_ERR_NOMEM;
    if (tracing(c->server))
        trace_frame(c, "->", &(struct ws_frame){.len = len, .opcode = WS_OP_CLOSE, .fin = true},
                    payload, len);
    conn_touch(c);
    return 0;
}

/* While earlier output is stuck only the newest pong is kept, RFC 6455 §5.5.3. */
static void conn_pong(struct ws_conn *c, const uint8_t *data, size_t len)
{
    if (!c->blocked) {
        conn_frame(c, WS_OP_PONG, data, len);
        return;
    }
    if (len != 0)
        memcpy(c->outbox->pong, data, len);
    c->outbox->pong_len = (uint8_t)len;
    c->outbox->pong_waiting = true;
}

/* One system call for all that has gathered. Returns bytes sent, 0 when the socket is full, -1 when
 * the connection is broken. */
static ssize_t send_gathered(const struct ws_conn *c, const struct output *queue)
{
    struct output_span spans[SPANS_MAX];
    struct iovec iov[SPANS_MAX];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = output_peek(queue, spans, SPANS_MAX)};
    ssize_t n;

    for (size_t i = 0; i < message.msg_iovlen; i++)
        iov[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)spans[i].data, .iov_len = spans[i].len};
    do {
        n = message.msg_iovlen == 1 ? send(c->source.fd, spans[0].data, spans[0].len, MSG_NOSIGNAL)
                                    : sendmsg(c->source.fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return n;
}

/* Send until everything is out or the socket takes no more. A broken connection is not ended here:
 * its output is dropped, and the next read says what happened. */
static void conn_flush(struct ws_conn *c)
{
    struct outbox *outbox = c->outbox;

    while (outbox != NULL && outbox->queue.queued > 0) {
        size_t queued = outbox->queue.queued;
        ssize_t n = send_gathered(c, &outbox->queue);

        if (n < 0) {
            conn_drop_output(c);
            break;
        }
        c->blocked = n == 0;
        if (n == 0) {
            output_compact(&c->server->pool, &outbox->queue);
            return;
        }
        output_sent(&c->server->pool, &outbox->queue, (size_t)n);
        if (outbox->queue.queued == 0 && outbox->pong_waiting) {
            outbox->pong_waiting = false;
            c->blocked = false;
            conn_frame(c, WS_OP_PONG, outbox->pong, outbox->pong_len);
        } else if ((size_t)n < queued && outbox->queue.count < SPANS_MAX) {
            c->blocked = true; /* a short write: asking again would say EAGAIN */
            output_compact(&c->server->pool, &outbox->queue);
            return;
        }
    }
    c->blocked = false;
    conn_drop_output(c);
}

/* Tell epoll what to wait for, if that has changed. */
static void conn_watch(struct ws_conn *c)
{
    uint32_t want =
        (c->eof || c->paused ? 0u : (uint32_t)EPOLLIN) | (c->blocked ? (uint32_t)EPOLLOUT : 0u);
    struct epoll_event event = {.events = want, .data.ptr = c};

    if (want == c->interest)
        return;
    if (epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->source.fd, &event) == 0)
        c->interest = want;
}

/* --- the end of a connection ---------------------------------------------------------------------- */

static void entry_remove(struct ws_server *s, uint64_t id);

static void conn_drop_input(struct ws_conn *c)
{
    struct buf_budget *budget = &c->server->budget;

    if (c->input == NULL)
        return;
    buf_release(&c->input->stash, budget);
    buf_release(&c->input->request, budget);
    buf_release(&c->input->payload, budget);
    buf_budget_give(budget, sizeof *c->input);
    free(c->input);
    c->input = NULL;
}

/* Close the descriptor now; the memory goes when the turn ends, for the batch may name it still. */
static void conn_kill(struct ws_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    timer_cancel(&c->server->timers, &c->timer);
    close(c->source.fd);
    conn_drop_output(c);
    conn_touch(c);
}

static void conn_free(struct ws_conn *c)
{
    room_leave_all(&c->server->rooms, &c->rooms);
    conn_drop_input(c);
    conn_drop_output(c);
    entry_remove(c->server, c->id);
    free(c);
}

static void conn_deadline(struct ws_conn *c, unsigned ms)
{
    timer_set(&c->server->timers, &c->timer, c->server->now_ms + ms);
}

/* Nothing more to say: what is queued still goes out, then FIN, then we wait for the peer's, so that
 * no RST overtakes our last bytes. */
static void conn_drain(struct ws_conn *c)
{
    if (c->state >= CONN_DRAINING)
        return;
    c->state = CONN_DRAINING;
    conn_deadline(c, c->server->options.close_timeout_ms);
    conn_touch(c);
}

/* Tell the application, once, that an opened connection is over. */
static void conn_report_close(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    if (!c->opened)
        return;
    c->opened = false;
    if (c->endpoint->handlers.on_close != NULL)
        c->endpoint->handlers.on_close(c, code, reason, len);
    room_leave_all(&c->server->rooms, &c->rooms);
}

/* The WebSocket connection is over, in whatever way; only bytes remain to be moved. */
static void conn_ended(struct ws_conn *c, unsigned code, const char *reason, size_t len)
{
    conn_drain(c);
    conn_report_close(c, c->failed_code != 0 ? c->failed_code : code, reason, len);
}

/* Fail the connection, RFC 6455 §7.1.7. */
static void conn_fail(struct ws_conn *c, unsigned code, const char *why)
{
    char address[WS_ADDRESS_SIZE];

    server_log(c->server, WS_LOG_INFO, "#%llu %s failed with %u: %s", (unsigned long long)c->id,
               ws_conn_address(c, address), code, why);
    if (c->state == CONN_OPEN) {
        c->failed_code = (uint16_t)code;
        conn_close_frame(c, code, why, strlen(why));
    }
    conn_ended(c, code, why, strlen(why));
}

/* Begin the closing handshake, RFC 6455 §7.1.2. */
static int conn_start_close(struct ws_conn *c, unsigned code, const char *reason)
{
    int error = conn_close_frame(c, code, reason, reason == NULL ? 0 : strlen(reason));

    if (error != 0)
        return error;
    c->state = CONN_CLOSING;
    conn_deadline(c, c->server->options.close_timeout_ms);
    return 0;
}

/* The request in hand will not be answered. */
static void conn_abort(struct ws_conn *c)
{
    const struct endpoint *e = c->endpoint;

    c->state = CONN_UPGRADING; /* no request is open for ws_respond() any more */
    if (e != NULL && e->handlers.on_abort != NULL)
        e->handlers.on_abort(c);
}

/* The peer is gone, RST or an error: nothing can be delivered. */
static void conn_lost(struct ws_conn *c)
{
    if (c->state == CONN_ANSWERING)
        conn_abort(c);
    conn_drain(c);
    conn_report_close(c, c->failed_code != 0 ? c->failed_code : (unsigned)WS_CLOSE_ABNORMAL, "", 0);
    conn_kill(c);
}

/* The peer has shut down its sending side. It still gets what it is owed. */
static void conn_eof(struct ws_conn *c)
{
    c->eof = true;
    conn_touch(c);
    switch ((enum conn_state)c->state) {
    case CONN_ANSWERING:
        if (c->endpoint != NULL && c->endpoint->handlers.on_abort != NULL) {
            conn_abort(c);
            conn_drain(c);
        }
        break;
    case CONN_OPEN:
    case CONN_CLOSING:
        conn_ended(c, WS_CLOSE_ABNORMAL, "", 0);
        break;
    case CONN_HTTP:
        conn_drain(c);
        break;
    case CONN_UPGRADING:
    case CONN_DRAINING:
    case CONN_DEAD:
        break;
    }
}

/* --- input: frames -------------------------------------------------------------------------------- */

/* The state that survives the turn, made when there is none; NULL when memory is out. */
static struct input *conn_input(struct ws_conn *c)
{
    if (c->input != NULL)
        return c->input;
    if (!buf_budget_take(&c->server->budget, sizeof *c->input))
        return NULL;
    c->input = calloc(1, sizeof *c->input);
    if (c->input == NULL)
        buf_budget_give(&c->server->budget, sizeof *c->input);
    return c->input;
}

/* Memory is out, the budget or the heap: this connection pays, with 1013. */
static void conn_overload(struct ws_conn *c)
{
    char address[WS_ADDRESS_SIZE];

    if (c->state == CONN_OPEN) {
        conn_fail(c, WS_CLOSE_TRY_LATER, "out of memory (--max-memory, ws_options.max_memory)");
        return;
    }
    server_log(c->server, WS_LOG_INFO, "#%llu %s dropped: out of memory (--max-memory)",
               (unsigned long long)c->id, ws_conn_address(c, address));
    conn_ended(c, WS_CLOSE_TRY_LATER, "", 0);
}

static const char *failure_text(int code)
{
    switch (code) {
    case WS_CLOSE_INVALID:
        return "text is not UTF-8";
    case WS_CLOSE_TOO_BIG:
        return "message too big";
    default:
        return "not a legal frame";
    }
}

static size_t conn_max_message(const struct ws_conn *c)
{
    size_t max = c->endpoint->handlers.max_message;

    return max != 0 ? max : c->server->options.max_message;
}

static void deliver(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    if (c->state == CONN_OPEN && c->endpoint->handlers.on_message != NULL)
        c->endpoint->handlers.on_message(c, opcode, data, len);
}

/* RFC 6455 §5.5.1: answer the first Close with the same code; with ours sent, the handshake is done. */
static void close_received(struct ws_conn *c, const uint8_t *payload, size_t len)
{
    struct ws_close_status status;
    int error = ws_close_decode(&status, payload, len);

    if (error != 0) {
        conn_fail(c, (unsigned)-error, "not a legal Close frame");
        return;
    }
    if (c->state == CONN_OPEN)
        conn_close_frame(c, status.code == WS_CLOSE_NO_STATUS ? WS_CLOSE_NONE : status.code, NULL,
                         0);
    conn_ended(c, status.code, status.reason, status.reason_len);
}

static void control_received(struct ws_conn *c, enum ws_opcode opcode, uint8_t *payload, size_t len)
{
    switch (opcode) {
    case WS_OP_CLOSE:
        close_received(c, payload, len);
        break;
    case WS_OP_PING:
        if (c->state == CONN_OPEN)
            conn_pong(c, payload, len);
        break;
    default: /* a pong: that the peer was heard is all there is to know */
        break;
    }
}

/* The frame in hand is complete. When it ends the message, hand the message over. */
static void frame_ended(struct ws_conn *c)
{
    struct input *in = c->input;
    int result = ws_message_frame_end(&in->message, &in->frame);
    struct buf payload = in->payload;

    in->in_frame = false;
    if (c->state != CONN_OPEN || result == 0)
        return;
    if (result < 0) {
        conn_fail(c, (unsigned)-result, failure_text(-result));
        return;
    }
    in->payload = (struct buf){0};
    deliver(c, (enum ws_opcode)result, payload.data, payload.len);
    buf_release(&payload, &c->server->budget);
}

/* More payload of the frame in hand. Once we are closing it is discarded. Returns bytes consumed. */
static size_t payload_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    struct input *in = c->input;
    uint64_t left = in->frame.len - in->frame_got;
    size_t n = len < left ? len : (size_t)left;
    int error = 0;

    if (c->state == CONN_OPEN) {
        ws_frame_unmask(data, n, in->frame.mask, in->frame_got);
        error = ws_message_payload(&in->message, data, n);
    }
    if (error != 0) {
        conn_fail(c, (unsigned)-error, failure_text(-error));
        return len;
    }
    if (c->state == CONN_OPEN && buf_append(&in->payload, &c->server->budget, data, n) != 0) {
        conn_overload(c);
        return len;
    }
    in->frame_got += n;
    if (in->frame_got == in->frame.len)
        frame_ended(c);
    return n;
}

/* A message that lies whole in the receive buffer: no copy, no allocation. */
static void whole_message(struct ws_conn *c, struct ws_message *m, const struct ws_frame *f,
                          uint8_t *payload)
{
    int result;

    ws_frame_unmask(payload, (size_t)f->len, f->mask, 0);
    result = ws_message_payload(m, payload, (size_t)f->len);
    if (result == 0)
        result = ws_message_frame_end(m, f);
    if (result < 0)
        conn_fail(c, (unsigned)-result, failure_text(-result));
    else
        deliver(c, (enum ws_opcode)result, payload, (size_t)f->len);
}

/* The header of a data frame has come, and `len` bytes behind it. Returns how many it consumed. */
static size_t data_frame(struct ws_conn *c, const struct ws_frame *f, uint8_t *payload, size_t len)
{
    struct ws_message fresh = {0};
    struct ws_message *m = c->input == NULL ? &fresh : &c->input->message;
    bool whole = f->fin && f->opcode != WS_OP_CONTINUATION && f->len <= len;
    int error = c->state == CONN_OPEN ? ws_message_admit(m, f, conn_max_message(c)) : 0;

    if (error != 0) {
        conn_fail(c, (unsigned)-error, failure_text(-error));
        return len;
    }
    if (whole && c->state == CONN_OPEN) {
        whole_message(c, m, f, payload);
        return (size_t)f->len;
    }
    if (conn_input(c) == NULL) {
        conn_overload(c);
        return len;
    }
    if (m == &fresh)
        c->input->message = fresh;
    c->input->frame = *f;
    c->input->frame_got = 0;
    c->input->in_frame = true;
    return payload_feed(c, payload, len);
}

/* One step into the frames in `data`: a frame, or a part of one. Returns bytes consumed, 0 for more. */
static size_t frames_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    struct ws_frame f;
    int header;

    if (c->input != NULL && c->input->in_frame)
        return payload_feed(c, data, len);
    header = ws_frame_decode(&f, data, len);
    if (header == WS_NEED_MORE)
        return 0;
    if (header < 0) {
        conn_fail(c, (unsigned)-header, "not a legal frame");
        return len;
    }
    data += header;
    len -= (size_t)header;
    if (ws_opcode_is_control(f.opcode) && f.len > len)
        return 0;
    if (tracing(c->server))
        trace_frame(c, "<-", &f, data, f.len < len ? (size_t)f.len : len);
    if (!ws_opcode_is_control(f.opcode))
        return (size_t)header + data_frame(c, &f, data, len);
    ws_frame_unmask(data, (size_t)f.len, f.mask, 0);
    control_received(c, f.opcode, data, (size_t)f.len);
    return (size_t)header + (size_t)f.len;
}

/* --- input: requests ------------------------------------------------------------------------------ */

/* The application's own fields. A name that does not fit fails the head like any illegal one. */
static void write_fields(struct http_writer *w, const struct ws_header *headers, size_t count)
{
    char name[128];

    for (size_t i = 0; i < count; i++) {
        size_t len = headers[i].name.len;

        if (len >= sizeof name || memchr(headers[i].name.data, '\0', len) != NULL) {
            w->failed = true;
            return;
        }
        memcpy(name, headers[i].name.data, len);
        name[len] = '\0';
        http_writer_field(w, name, headers[i].value.data, headers[i].value.len);
    }
}

/* Write the head of a response into s->head. Returns its length, or -1. */
static ptrdiff_t write_head(struct ws_conn *c, int status, const struct ws_header *headers,
                            size_t count, size_t body_len, bool last)
{
    struct ws_server *s = c->server;
    struct http_writer w;
    char date[HTTP_DATE_SIZE];

    http_writer_init(&w, s->head, sizeof s->head, status);
    http_date(date, (int64_t)time(NULL));
    http_writer_field(&w, "Date", date, strlen(date));
    write_fields(&w, headers, count);
    if (status != 204 && status != 304)
        http_writer_number(&w, "Content-Length", body_len);
    if (last)
        http_writer_field(&w, "Connection", "close", 5);
    else if (c->http_1_0)
        http_writer_field(&w, "Connection", "keep-alive", 10);
    return http_writer_end(&w);
}

/* Queue a response and move on to the next request, or to the end. */
static int conn_respond(struct ws_conn *c, int status, const struct ws_header *headers,
                        size_t count, const void *body, size_t len, bool last)
{
    ptrdiff_t head_len = write_head(c, status, headers, count, len, last);
    bool bodiless = c->head_only || status == 204 || status == 304;
    int error;

    if (head_len < 0)
        return WS_ERR_INVALID;
    error = conn_append(c, c->server->head, (size_t)head_len, body, bodiless ? 0 : len);
    if (last || error != 0) {
        conn_drain(c);
        return error;
    }
    c->state = CONN_HTTP;
    c->served = true;
    conn_deadline(c, c->server->options.handshake_timeout_ms);
    conn_touch(c);
    return send_result(c);
}

/* Refuse what came in with a line of text, and close: who sent it has lost the thread. */
static void conn_refuse(struct ws_conn *c, int status, const char *why)
{
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("Upgrade"), ws_str("websocket")},
        {ws_str("Sec-WebSocket-Version"), ws_str("13")},
    };
    char address[WS_ADDRESS_SIZE];
    char text[SENTENCE_SIZE];
    int len = snprintf(text, sizeof text, "%d %s: %s\n", status, http_status_phrase(status), why);

    server_log(c->server, WS_LOG_ERROR, "#%llu %s refused with %d %s: %s",
               (unsigned long long)c->id, ws_conn_address(c, address), status,
               http_status_phrase(status), why);
    conn_respond(c, status, headers, status == 426 ? 3 : 1, text, (size_t)len, true);
    conn_drain(c);
}

static const struct endpoint *find_endpoint(const struct ws_server *s, struct http_str path)
{
    const struct endpoint *e = s->endpoints;

    while (e != NULL &&
           (path.len < e->prefix_len || memcmp(path.data, e->prefix, e->prefix_len) != 0))
        e = e->next;
    return e;
}

/* RFC 6455 §4.2.2, the 101. */
static int conn_switch(struct ws_conn *c, const struct http_upgrade *u, const char *subprotocol,
                       const struct ws_header *headers, size_t count)
{
    struct ws_server *s = c->server;
    struct http_writer w;
    ptrdiff_t len;
    int error;

    http_writer_init(&w, s->head, sizeof s->head, 101);
    http_writer_field(&w, "Upgrade", "websocket", 9);
    http_writer_field(&w, "Connection", "Upgrade", 7);
    http_writer_field(&w, "Sec-WebSocket-Accept", u->accept, sizeof u->accept);
    if (subprotocol != NULL)
        http_writer_field(&w, "Sec-WebSocket-Protocol", subprotocol, strlen(subprotocol));
    write_fields(&w, headers, count);
    len = http_writer_end(&w);
    if (len < 0)
        return WS_ERR_INVALID;
    error = conn_append(c, s->head, (size_t)len, NULL, 0);
    if (error != 0)
        return error;
    c->state = CONN_OPEN;
    return 0;
}

static void conn_open(struct ws_conn *c, const struct ws_request *req)
{
    c->opened = true;
    c->pinged = false;
    c->heard_ms = c->server->now_ms;
    if (c->server->options.ping_interval_ms == UINT_MAX)
        timer_cancel(&c->server->timers, &c->timer);
    else
        conn_deadline(c, c->server->options.ping_interval_ms);
    if (c->endpoint->handlers.on_open != NULL)
        c->endpoint->handlers.on_open(c, req);
}

/* The handshake's request is parsed: 101 or a refusal, by us or by the application. */
static void conn_upgrade(struct ws_conn *c, const struct ws_request *req)
{
    const struct ws_handlers *h = &c->endpoint->handlers;
    struct http_upgrade_policy policy = {
        h->origins != NULL ? h->origins : c->server->options.origins, h->subprotocols};
    struct http_upgrade u;
    int status = http_upgrade_check(&req->http, &policy, &u);
    char why[SENTENCE_SIZE];

    if (status == 403) {
        struct http_str origin = http_request_field(&req->http, "Origin", NULL);

        snprintf(why, sizeof why, "%s (origin %.*s)", u.why,
                 (int)(origin.len < 200 ? origin.len : 200), origin.data);
        conn_refuse(c, status, why);
        return;
    }
    if (status != 101) {
        conn_refuse(c, status, u.why);
        return;
    }
    c->state = CONN_UPGRADING;
    c->server->upgrade = &u;
    if (c->endpoint->handlers.on_upgrade != NULL)
        c->endpoint->handlers.on_upgrade(c, req);
    if (c->state == CONN_UPGRADING && conn_switch(c, &u, u.subprotocol, NULL, 0) != 0)
        conn_drain(c);
    c->server->upgrade = NULL;
    if (c->state == CONN_OPEN)
        conn_open(c, req);
}

/* A plain request is there, body and all. */
static void conn_request(struct ws_conn *c, const struct ws_request *req)
{
    c->state = CONN_ANSWERING;
    timer_cancel(&c->server->timers, &c->timer);
    if (c->endpoint->handlers.on_request != NULL)
        c->endpoint->handlers.on_request(c, req);
    else
        conn_refuse(c, 426, "this path speaks WebSocket only");
}

static bool speaks_websocket(const struct ws_handlers *h)
{
    return h->on_message != NULL || h->on_open != NULL || h->on_upgrade != NULL;
}

/* A body is announced: keep the head, since the body may come much later. Returns false when the
 * request has been refused. */
static bool body_begin(struct ws_conn *c, const struct http_request *r, const uint8_t *head,
                       size_t head_len, bool more_is_here)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct input *in = conn_input(c);

    if (in == NULL || buf_append(&in->request, &c->server->budget, head, head_len) != 0) {
        conn_overload(c);
        return false;
    }
    if (http_body_begin(&in->body, r, conn_max_message(c)) != 0) {
        conn_refuse(c, 413, "request body over the limit (--max-message)");
        return false;
    }
    in->head_len = head_len;
    if (r->expect_continue && !more_is_here)
        conn_append(c, go_on, sizeof go_on - 1, NULL, 0);
    return true;
}

/* The head of a request is complete. */
static void head_received(struct ws_conn *c, uint8_t *head, size_t head_len, bool more_is_here)
{
    struct ws_request *req = &c->server->request;
    const char *why = "";
    int error = http_request_parse(&req->http, (const char *)head, head_len, &why);

    if (c->input != NULL)
        c->input->scan = (struct http_scan){0};
    c->head_only = false;
    c->endpoint = error == 0 ? find_endpoint(c->server, req->http.path) : NULL;
    if (error != 0) {
        conn_refuse(c, -error, why);
        return;
    }
    c->head_only = http_str_is(req->http.method, "HEAD");
    c->keep_alive = req->http.keep_alive;
    c->http_1_0 = req->http.minor == 0;
    req->body = (struct ws_str){"", 0};
    if (c->endpoint == NULL) {
        conn_refuse(c, 404, "no such path");
    } else if (http_upgrade_wanted(&req->http) && speaks_websocket(&c->endpoint->handlers)) {
        conn_upgrade(c, req);
    } else if (req->http.framing == HTTP_BODY_NONE ||
               (req->http.framing == HTTP_BODY_LENGTH && req->http.content_length == 0)) {
        conn_request(c, req);
    } else {
        body_begin(c, &req->http, head, head_len, more_is_here);
    }
}

/* More of a body. When it is whole, the head is parsed again, from where it was kept. */
static size_t body_feed(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct input *in = c->input;
    struct ws_request *req = &c->server->request;
    size_t used = 0;
    size_t step;
    size_t piece_len;
    const char *piece;
    const char *why;
    int result;

    do {
        result = http_body_decode(&in->body, (const char *)data + used, len - used, &step, &piece,
                                  &piece_len);
        used += step;
        if (result >= 0 && buf_append(&in->request, &c->server->budget, piece, piece_len) != 0) {
            conn_overload(c);
            return len;
        }
    } while (result == HTTP_NEED_MORE && used < len);
    if (result < 0) {
        conn_refuse(c, -result,
                    result == -413 ? "request body over the limit (--max-message)"
                                   : "malformed request body");
        return len;
    }
    if (result == HTTP_NEED_MORE)
        return used;
    http_request_parse(&req->http, (const char *)in->request.data, in->head_len, &why);
    req->body.data = (const char *)in->request.data + in->head_len;
    req->body.len = in->request.len - in->head_len;
    in->head_len = 0;
    conn_request(c, req);
    return used;
}

/* One step into the requests in `data`. Returns bytes consumed, 0 for more. */
static size_t requests_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    struct http_scan fresh = {0};
    struct http_scan *scan = c->input == NULL ? &fresh : &c->input->scan;
    int head_len;

    if (c->input != NULL && c->input->head_len != 0)
        return body_feed(c, data, len);
    if (c->input != NULL)
        buf_release(&c->input->request, &c->server->budget); /* of the request before this one */
    head_len = http_head_scan(scan, (const char *)data, len);
    if (head_len < 0) {
        c->head_only = false;
        conn_refuse(c, -head_len, "not a legal request head");
        return len;
    }
    if (head_len == HTTP_NEED_MORE && scan == &fresh) {
        if (conn_input(c) == NULL) {
            conn_overload(c);
            return len;
        }
        c->input->scan = fresh;
        if (c->served) /* the first request's time runs from the accept, later ones' from here */
            conn_deadline(c, c->server->options.handshake_timeout_ms);
    }
    if (head_len != HTTP_NEED_MORE)
        head_received(c, data, (size_t)head_len, len > (size_t)head_len);
    return (size_t)head_len;
}

/* --- input ---------------------------------------------------------------------------------------- */

/* May this connection's input be worked on now? Its output comes first: what the peer does not read
 * is not piled up. */
static bool conn_may_feed(struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (c->state == CONN_ANSWERING)
        return false;
    if (conn_queued(c) > high && !c->blocked)
        conn_flush(c);
    return conn_queued(c) <= high || c->state >= CONN_CLOSING;
}

/* Work on `data[0..len)`. Returns how much of it was consumed. */
static size_t conn_feed(struct ws_conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;
    size_t step = 1;

    while (used < len && step != 0 && conn_may_feed(c)) {
        switch ((enum conn_state)c->state) {
        case CONN_HTTP:
            step = requests_feed(c, data + used, len - used);
            break;
        case CONN_OPEN:
        case CONN_CLOSING:
            step = frames_feed(c, data + used, len - used);
            break;
        case CONN_ANSWERING:
        case CONN_UPGRADING:
            step = 0;
            break;
        case CONN_DRAINING:
        case CONN_DEAD:
            step = len - used;
            break;
        }
        used += step;
    }
    return used;
}

/* Nothing is unfinished: an idle connection owns no buffers. */
static void conn_tidy_input(struct ws_conn *c)
{
    struct input *in = c->input;

    if (in == NULL || in->stash.len != 0 || c->state == CONN_ANSWERING)
        return;
    if (c->state >= CONN_DRAINING || (in->head_len == 0 && in->scan.at == 0 && !in->in_frame &&
                                      in->message.state == MESSAGE_NONE))
        conn_drop_input(c);
}

/* Go on with what had to wait. */
static void conn_feed_stash(struct ws_conn *c)
{
    struct buf *stash = &c->input->stash;
    size_t used = conn_feed(c, stash->data, stash->len);

    buf_consume(stash, used);
    if (stash->len == 0)
        buf_release(stash, &c->server->budget);
}

static void conn_stash(struct ws_conn *c, const uint8_t *data, size_t len)
{
    struct input *in = conn_input(c);

    if (in == NULL || buf_append(&in->stash, &c->server->budget, data, len) != 0)
        conn_overload(c);
}

/* New bytes, behind `kept` ones of the last turn that a frame header needs. */
static void conn_received(struct ws_conn *c, uint8_t *data, size_t len)
{
    size_t used;

    if (c->input != NULL && c->input->stash.len > 0) {
        conn_stash(c, data, len);
        if (c->input != NULL && c->state < CONN_DRAINING)
            conn_feed_stash(c);
        return;
    }
    used = conn_feed(c, data, len);
    if (used < len && c->state < CONN_DRAINING)
        conn_stash(c, data + used, len - used);
}

/* The start of a frame that was kept goes in front of the new bytes, so that the frame lies whole. */
static size_t take_frame_start(struct ws_conn *c, uint8_t *out)
{
    struct buf *stash = c->input == NULL ? NULL : &c->input->stash;
    size_t kept = stash == NULL ? 0 : stash->len;

    if (kept == 0 || kept > WS_FRAME_HEADER_MAX + WS_CONTROL_MAX ||
        (c->state != CONN_OPEN && c->state != CONN_CLOSING))
        return 0;
    memcpy(out, stash->data, kept);
    buf_release(stash, &c->server->budget);
    return kept;
}

/* One read per readiness, so that no connection starves another: epoll is level-triggered. */
static void conn_read(struct ws_conn *c)
{
    struct ws_server *s = c->server;
    size_t kept = take_frame_start(c, s->received);
    ssize_t n = recv(c->source.fd, s->received + kept, RECEIVE_SIZE, 0);

    if (n > 0) {
        c->heard_ms = s->now_ms;
        c->pinged = false;
        conn_touch(c);
        conn_received(c, s->received, kept + (size_t)n);
        return;
    }
    if (kept > 0 && n < 0 && (errno == EAGAIN || errno == EINTR))
        conn_stash(c, s->received, kept);
    else if (n == 0)
        conn_eof(c);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_lost(c);
}

/* One ready connection of a batch. The application may close any connection from a callback, even one
 * later in this batch, so closing only marks CONN_DEAD; the loop frees after the batch. */
static void conn_ready(struct ws_conn *c, uint32_t events)
{
    bool broken = (events & (EPOLLHUP | EPOLLERR)) != 0;

    if (c->state == CONN_DEAD)
        return;
    /* Not being read, and it is over on both sides or by RST: nobody is there to read our output. */
    if (broken && (c->eof || c->paused)) {
        conn_lost(c);
        return;
    }
    /* Read before write, so that a reply leaves in the same turn. On HUP or ERR recv() says why. */
    if (broken || (events & EPOLLIN) != 0)
        conn_read(c);
    if (c->state != CONN_DEAD && (events & EPOLLOUT) != 0) {
        c->blocked = false;
        c->heard_ms = c->server->now_ms; /* a slow reader is not a silent one */
        c->pinged = false;
        conn_touch(c);
    }
}

/* --- settling ------------------------------------------------------------------------------------- */

/* Something is to be done for `c` before the loop sleeps. Outside a turn there is no later. */
static void conn_touch(struct ws_conn *c)
{
    struct ws_server *s = c->server;

    if (c->listed)
        return;
    c->listed = true;
    c->next_touched = s->touched;
    s->touched = c;
    if (!s->in_turn)
        eventfd_write(s->wake.fd, 1); /* called from outside the loop: have a turn */
}

static bool conn_is_paused(const struct ws_conn *c)
{
    size_t high = c->server->options.high_water;

    if (c->state == CONN_ANSWERING)
        return c->input != NULL && c->input->stash.len >= HTTP_HEAD_MAX;
    if (c->state >= CONN_CLOSING)
        return false;
    return conn_queued(c) > (c->paused ? high / 2 : high);
}

static void conn_finish(struct ws_conn *c)
{
    if (c->state != CONN_DRAINING || conn_queued(c) > 0)
        return;
    if (c->eof) {
        conn_kill(c);
    } else if (!c->fin_sent) {
        c->fin_sent = true;
        shutdown(c->source.fd, SHUT_WR);
    }
}

static void conn_settle(struct ws_conn *c)
{
    if (!c->blocked)
        conn_flush(c);
    if (c->state == CONN_DEAD)
        return;
    c->paused = conn_is_paused(c);
    if (!c->paused && c->state < CONN_DRAINING && c->state != CONN_ANSWERING && c->input != NULL &&
        c->input->stash.len > 0)
        conn_feed_stash(c);
    if (c->eof && c->state == CONN_HTTP)
        conn_drain(c); /* what is left of its input can never become a request */
    if (c->drain_owed && conn_queued(c) <= c->server->options.high_water / 2) {
        c->drain_owed = false;
        if (c->state == CONN_OPEN && c->endpoint->handlers.on_drain != NULL)
            c->endpoint->handlers.on_drain(c);
    }
    conn_tidy_input(c);
    conn_finish(c);
    if (c->state != CONN_DEAD)
        conn_watch(c);
}

/* --- deadlines ------------------------------------------------------------------------------------ */

/* Silence for ping_interval brings a ping, silence for ping_timeout after it the end. The timer is not
 * moved when bytes come; it looks at heard_ms when it fires. RFC 6455 §5.5.2 */
static void conn_check_alive(struct ws_conn *c)
{
    const struct ws_options *o = &c->server->options;

    if (c->pinged) {
        conn_drain(c);
        conn_report_close(c, WS_CLOSE_ABNORMAL, "ping timeout", 12);
        conn_kill(c);
        return;
    }
    c->pinged = c->server->now_ms - c->heard_ms >= o->ping_interval_ms;
    if (c->pinged) {
        conn_frame(c, WS_OP_PING, NULL, 0);
        conn_deadline(c, o->ping_timeout_ms);
    } else {
        timer_set(&c->server->timers, &c->timer, c->heard_ms + o->ping_interval_ms);
    }
}

static void conn_timer_fired(struct timer *t)
{
    struct ws_conn *c = (struct ws_conn *)((char *)t - offsetof(struct ws_conn, timer));

    switch ((enum conn_state)c->state) {
    case CONN_HTTP:
        if (c->input != NULL)
            conn_refuse(c, 408, "the request took too long to come in");
        else
            conn_drain(c);
        break;
    case CONN_OPEN:
        conn_check_alive(c);
        break;
    case CONN_CLOSING:
        conn_ended(c, WS_CLOSE_ABNORMAL, "", 0);
        conn_kill(c);
        break;
    case CONN_DRAINING:
        conn_kill(c);
        break;
    case CONN_ANSWERING:
    case CONN_UPGRADING:
    case CONN_DEAD:
        break;
    }
}

/* --- accepting ------------------------------------------------------------------------------------ */

/* The place of the first entry with an id of at least `id`. */
static size_t entry_position(const struct ws_server *s, uint64_t id)
{
    size_t low = 0;
    size_t high = s->entry_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void entries_close_up(struct ws_server *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->entry_count; i++) {
        if (s->entries[i].conn != NULL)
            s->entries[kept++] = s->entries[i];
    }
    s->entry_count = kept;
}

static bool entry_add(struct ws_server *s, struct ws_conn *c)
{
    if (s->entry_count == s->entry_cap) {
        size_t cap = s->entry_cap == 0 ? 64 : s->entry_cap * 2;
        struct conn_entry *entries = realloc(s->entries, cap * sizeof *entries);

        if (entries == NULL)
            return false;
        s->entries = entries;
        s->entry_cap = cap;
    }
    c->id = ++s->last_id;
    s->entries[s->entry_count++] = (struct conn_entry){.id = c->id, .conn = c};
    s->conn_count++;
    return true;
}

/* Closing up is put off until half the entries are holes, so that it costs O(1) a connection. Not in a
 * turn's middle: somebody may be walking the entries. */
static void entry_remove(struct ws_server *s, uint64_t id)
{
    s->entries[entry_position(s, id)].conn = NULL;
    s->conn_count--;
    if (s->entry_count > 64 && s->conn_count < s->entry_count / 2)
        entries_close_up(s);
}

/* Take over the accepted descriptor `fd`. */
static void conn_new(struct ws_server *s, int fd, bool is_unix)
{
    struct ws_conn *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    if (c == NULL || !entry_add(s, c)) {
        free(c);
        close(fd);
        return;
    }
    if (!is_unix)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->source = (struct source){.fd = fd, .kind = SOURCE_CONN};
    c->server = s;
    c->state = CONN_HTTP;
    c->interest = EPOLLIN;
    c->timer.fire = conn_timer_fired;
    conn_deadline(c, s->options.handshake_timeout_ms);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        conn_kill(c);
}

static void listeners_watch(struct ws_server *s, uint32_t events)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        struct epoll_event event = {.events = events, .data.ptr = &s->listeners[i]};

        epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->listeners[i].source.fd, &event);
    }
}

static void accept_resume(struct timer *t)
{
    struct ws_server *s =
        (struct ws_server *)((char *)t - offsetof(struct ws_server, accept_timer));

    if (s->spare_fd < 0)
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!s->stopping)
        listeners_watch(s, EPOLLIN);
}

/* Out of descriptors: give up the spare one to refuse one client, so that it does not hang, and look
 * again a little later, so that the loop does not spin. */
static void accept_exhausted(struct ws_server *s, const struct listener *l)
{
    server_log(s, WS_LOG_ERROR, "out of descriptors: refusing clients (%zu connections)",
               s->conn_count);
    if (s->spare_fd >= 0) {
        int fd;

        close(s->spare_fd);
        fd = accept4(l->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    listeners_watch(s, 0);
    timer_set(&s->timers, &s->accept_timer, s->now_ms + ACCEPT_PAUSE_MS);
}

/* Over max_clients: say so and close. */
static void accept_refuse(struct ws_server *s, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Retry-After: 5\r\nConnection: close\r\n\r\n";

    server_log(s, WS_LOG_ERROR, "refused a client: %zu are connected (--max-clients)",
               s->conn_count);
    if (send(fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0)
        server_log(s, WS_LOG_INFO, "could not tell it: %s", strerror(errno));
    close(fd);
}

static void listener_ready(struct ws_server *s, struct listener *l)
{
    for (int i = 0; i < ACCEPT_BATCH && !s->stopping; i++) {
        int fd = accept4(l->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0 && s->conn_count >= s->options.max_clients) {
            accept_refuse(s, fd);
        } else if (fd >= 0) {
            conn_new(s, fd, l->is_unix);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_exhausted(s, l);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* else: that client has gone again (ECONNABORTED and the like), or EINTR */
    }
}

/* --- stopping ------------------------------------------------------------------------------------- */

static void listeners_close(struct ws_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        close(s->listeners[i].source.fd);
        if (s->listeners[i].path[0] != '\0')
            unlink(s->listeners[i].path);
    }
    s->listener_count = 0;
    timer_cancel(&s->timers, &s->accept_timer);
}

static void conn_stop(struct ws_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_OPEN:
        if (conn_start_close(c, WS_CLOSE_GOING_AWAY, "the server stops") != 0)
            conn_lost(c);
        break;
    case CONN_ANSWERING:
        conn_abort(c);
        conn_refuse(c, 503, "the server stops");
        break;
    case CONN_HTTP:
        conn_drain(c);
        break;
    case CONN_UPGRADING:
    case CONN_CLOSING:
    case CONN_DRAINING:
    case CONN_DEAD:
        break;
    }
}

static void stop_now(struct ws_server *s)
{
    for (size_t i = 0; i < s->entry_count; i++) {
        if (s->entries[i].conn != NULL && s->entries[i].conn->state != CONN_DEAD)
            conn_lost(s->entries[i].conn);
    }
}

static void stop_timer_fired(struct timer *t)
{
    stop_now((struct ws_server *)((char *)t - offsetof(struct ws_server, stop_timer)));
}

static void stop_begin(struct ws_server *s)
{
    s->stopping = true;
    listeners_close(s);
    for (size_t i = 0; i < s->entry_count; i++) {
        if (s->entries[i].conn != NULL)
            conn_stop(s->entries[i].conn);
    }
    timer_set(&s->timers, &s->stop_timer, s->now_ms + s->options.close_timeout_ms);
}

static void stop_requested(struct ws_server *s, int calls)
{
    if (!s->stopping && calls > 0)
        stop_begin(s);
    if (calls > 1)
        stop_now(s);
}

void ws_server_stop(struct ws_server *s)
{
    int saved = errno;

    atomic_fetch_add(&s->stop_calls, 1);
    eventfd_write(s->wake.fd, 1);
    errno = saved;
}

/* --- the loop ------------------------------------------------------------------------------------- */

int ws_post(struct ws_server *s, void (*fn)(void *arg), void *arg)
{
    struct post *post = malloc(sizeof *post);

    if (post == NULL)
        return WS_ERR_NOMEM;
    *post = (struct post){.fn = fn, .arg = arg, .next = atomic_load(&s->posts)};
    while (!atomic_compare_exchange_weak(&s->posts, &post->next, post))
        ;
    eventfd_write(s->wake.fd, 1);
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

        oldest->fn(oldest->arg);
        free(oldest);
        oldest = next;
    }
}

static void app_timer_unlink(struct ws_timer *t)
{
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
}

static void app_timer_fired(struct timer *timer)
{
    struct ws_timer *t = (struct ws_timer *)((char *)timer - offsetof(struct ws_timer, timer));
    void (*fn)(void *arg) = t->fn;
    void *arg = t->arg;

    app_timer_unlink(t);
    free(t);
    fn(arg);
}

struct ws_timer *ws_timer_start(struct ws_server *s, unsigned delay_ms, void (*fn)(void *arg),
                                void *arg)
{
    struct ws_timer *t = malloc(sizeof *t);

    if (t == NULL)
        return NULL;
    *t = (struct ws_timer){.server = s, .fn = fn, .arg = arg, .next = s->app_timers};
    t->timer.fire = app_timer_fired;
    t->link = &s->app_timers;
    if (t->next != NULL)
        t->next->link = &t->next;
    s->app_timers = t;
    if (!s->in_turn)
        eventfd_write(s->wake.fd, 1); /* have a turn, which arms the clock */
    timer_set(&s->timers, &t->timer, (s->in_turn ? s->now_ms : clock_ms()) + delay_ms);
    return t;
}

void ws_timer_cancel(struct ws_timer *t)
{
    if (t == NULL)
        return;
    timer_cancel(&t->server->timers, &t->timer);
    app_timer_unlink(t);
    free(t);
}

static struct watch *find_watch(const struct ws_server *s, int fd)
{
    struct watch *w = s->watches;

    while (w != NULL && (w->source.fd != fd || w->ended))
        w = w->next;
    return w;
}

int ws_watch(struct ws_server *s, int fd, uint32_t events, void (*fn)(void *arg, uint32_t ready),
             void *arg)
{
    struct watch *w = find_watch(s, fd);
    struct epoll_event event = {.events = events};
    bool is_new = w == NULL;

    if (events == 0) {
        if (w != NULL)
            w->ended = true; /* freed after the batch, which may name it still */
        return w == NULL || epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0 ? 0
                                                                                 : WS_ERR_SYSTEM;
    }
    if (is_new && (w = calloc(1, sizeof *w)) == NULL)
        return WS_ERR_NOMEM;
    event.data.ptr = w;
    if (epoll_ctl(s->epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0) {
        if (is_new)
            free(w);
        return WS_ERR_SYSTEM;
    }
    if (is_new) {
        w->source = (struct source){.fd = fd, .kind = SOURCE_WATCH};
        w->next = s->watches;
        s->watches = w;
    }
    w->fn = fn;
    w->arg = arg;
    return 0;
}

static void watches_free_ended(struct ws_server *s)
{
    struct watch **link = &s->watches;

    while (*link != NULL) {
        struct watch *w = *link;

        if (w->ended) {
            *link = w->next;
            free(w);
        } else {
            link = &w->next;
        }
    }
}

static void drain_counter(int fd)
{
    uint64_t count;

    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

static void settle_next(struct ws_server *s)
{
    struct ws_conn *c = s->touched;

    s->touched = c->next_touched;
    c->listed = false;
    if (c->state != CONN_DEAD) {
        conn_settle(c);
        return;
    }
    conn_report_close(c, c->failed_code != 0 ? c->failed_code : (unsigned)WS_CLOSE_ABNORMAL, "", 0);
    conn_free(c);
}

static void source_ready(struct ws_server *s, struct source *source, uint32_t events)
{
    switch ((enum source_kind)source->kind) {
    case SOURCE_CONN: {
        struct ws_conn *c = (struct ws_conn *)source;

        conn_ready(c, events);
        /* Answer at once while everything is in the cache. Room members wait for the end of the turn,
         * so that what several senders publish reaches them in one system call. */
        if (s->touched == c && c->rooms == NULL && c->state != CONN_DEAD)
            settle_next(s);
        break;
    }
    case SOURCE_LISTENER:
        listener_ready(s, (struct listener *)source);
        break;
    case SOURCE_WATCH: {
        struct watch *w = (struct watch *)source;

        if (!w->ended)
            w->fn(w->arg, events);
        break;
    }
    case SOURCE_WAKE:
        drain_counter(source->fd);
        run_posts(s);
        break;
    case SOURCE_CLOCK:
        drain_counter(source->fd);
        break;
    }
}

static int wait_timeout(struct ws_server *s, int timeout_ms)
{
    int timer_ms = timer_wheel_timeout_ms(&s->timers);
    uint64_t late = clock_ms() - s->timers.now;

    if (timer_ms < 0)
        return timeout_ms;
    timer_ms = late >= (uint64_t)timer_ms ? 0 : timer_ms - (int)late;
    return timeout_ms < 0 || timer_ms < timeout_ms ? timer_ms : timeout_ms;
}

static int turn(struct ws_server *s, int timeout_ms)
{
    struct epoll_event events[EVENT_BATCH];
    int n;

    if (s->stopped)
        return 0;
    n = epoll_wait(s->epoll_fd, events, EVENT_BATCH, wait_timeout(s, timeout_ms));
    if (n < 0 && errno != EINTR)
        return WS_ERR_SYSTEM;
    s->in_turn = true;
    s->now_ms = clock_ms();
    for (int i = 0; i < n; i++)
        source_ready(s, events[i].data.ptr, events[i].events);
    timer_wheel_advance(&s->timers, s->now_ms);
    stop_requested(s, atomic_load(&s->stop_calls));
    while (s->touched != NULL)
        settle_next(s);
    watches_free_ended(s);
    s->in_turn = false;
    s->stopped = s->stopping && s->conn_count == 0;
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

/* The foreign loop polls our epoll descriptor, which a timeout does not make readable: a timerfd in it
 * does. */
int ws_server_step(struct ws_server *s, int timeout_ms)
{
    int result = turn(s, timeout_ms);
    int ms = wait_timeout(s, -1);
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

/* --- the API of connections ----------------------------------------------------------------------- */

int ws_send(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len)
{
    int error;

    if (opcode != WS_OP_TEXT && opcode != WS_OP_BINARY)
        return WS_ERR_INVALID;
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = conn_frame(c, opcode, data, len);
    return error != 0 ? error : send_result(c);
}

int ws_ping(struct ws_conn *c, const void *data, size_t len)
{
    int error;

    if (len > WS_CONTROL_MAX)
        return WS_ERR_INVALID;
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = conn_frame(c, WS_OP_PING, data, len);
    return error != 0 ? error : send_result(c);
}

int ws_close(struct ws_conn *c, unsigned code, const char *reason)
{
    if (code != WS_CLOSE_NONE && !ws_close_code_valid(code))
        return WS_ERR_INVALID;
    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    return conn_start_close(c, code, reason);
}

int ws_respond(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
               const void *body, size_t len)
{
    bool refusing = c->state == CONN_UPGRADING && c->server->upgrade != NULL;

    if (status < 200 || status > 599)
        return WS_ERR_INVALID;
    if (c->state != CONN_ANSWERING && !refusing)
        return WS_ERR_CLOSED;
    if (refusing) {
        char address[WS_ADDRESS_SIZE];

        server_log(c->server, WS_LOG_ERROR, "#%llu %s refused with %d by the application",
                   (unsigned long long)c->id, ws_conn_address(c, address), status);
    }
    return conn_respond(c, status, headers, count, body, len,
                        refusing || !c->keep_alive || c->server->stopping);
}

int ws_accept(struct ws_conn *c, const char *subprotocol, const struct ws_header *headers,
              size_t count)
{
    if (c->state != CONN_UPGRADING || c->server->upgrade == NULL)
        return WS_ERR_CLOSED;
    if (subprotocol != NULL && !http_upgrade_offers(&c->server->request.http, subprotocol))
        return WS_ERR_INVALID;
    return conn_switch(c, c->server->upgrade, subprotocol, headers, count);
}

void ws_set_data(struct ws_conn *c, void *data)
{
    c->data = data;
}

void *ws_data(const struct ws_conn *c)
{
    return c->data;
}

void *ws_user(const struct ws_conn *c)
{
    return c->endpoint->handlers.user;
}

struct ws_server *ws_conn_server(const struct ws_conn *c)
{
    return c->server;
}

uint64_t ws_conn_id(const struct ws_conn *c)
{
    return c->id;
}

struct ws_conn *ws_conn_find(const struct ws_server *s, uint64_t id)
{
    size_t i = entry_position(s, id);
    struct ws_conn *c = i < s->entry_count && s->entries[i].id == id ? s->entries[i].conn : NULL;

    return c != NULL && c->state == CONN_OPEN ? c : NULL;
}

size_t ws_conn_queued(const struct ws_conn *c)
{
    return conn_queued(c);
}

/* --- the API of rooms ----------------------------------------------------------------------------- */

int ws_join(struct ws_conn *c, struct ws_str room)
{
    int error;

    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = room_join(&c->server->rooms, &c->rooms, c, room.data, room.len);
    return error != 0 ? to_ws_error(error) : 0;
}

void ws_leave(struct ws_conn *c, struct ws_str room)
{
    room_leave(&c->server->rooms, &c->rooms, room.data, room.len);
}

struct ws_str ws_conn_room(const struct ws_conn *c, size_t index)
{
    const struct room_seat *seat = c->rooms;

    while (seat != NULL && index-- > 0)
        seat = seat->next;
    return seat == NULL ? (struct ws_str){NULL, 0}
                        : (struct ws_str){seat->room->name, seat->room->name_len};
}

/* Queue a shared frame within the limits of this connection and of the server. */
static int conn_refer(struct ws_conn *c, const struct output_slice *slice)
{
    size_t max_queue = c->server->options.max_queue;
    struct outbox *outbox = conn_outbox(c);
    int error;

    if (outbox == NULL)
        return WS_ERR_NOMEM;
    if (outbox->queue.queued > max_queue ||
        slice->end - slice->start > max_queue - outbox->queue.queued)
        return WS_ERR_FULL;
    error = output_refer(&c->server->pool, &outbox->queue, slice);
    if (error != 0)
        return to_ws_error(error);
    conn_touch(c);
    return 0;
}

/* One recipient of a broadcast. One that reads too slowly, or for whom memory is out, pays with 1013;
 * the sender and the others do not. */
static bool publish_to(struct ws_conn *c, const struct output_slice *slice)
{
    char address[WS_ADDRESS_SIZE];

    if (c->state != CONN_OPEN)
        return false;
    if (conn_refer(c, slice) == 0)
        return true;
    server_log(c->server, WS_LOG_ERROR, "#%llu %s closed with 1013: reads too slowly (--max-queue)",
               (unsigned long long)c->id, ws_conn_address(c, address));
    c->failed_code = WS_CLOSE_TRY_LATER;
    if (conn_start_close(c, WS_CLOSE_TRY_LATER, "reads too slowly") != 0)
        conn_kill(c);
    return false;
}

static int encode_once(struct ws_server *s, struct output_slice *slice, enum ws_opcode opcode,
                       const void *data, size_t len)
{
    uint8_t header[WS_FRAME_SERVER_HEADER_MAX];
    int error;

    if (opcode != WS_OP_TEXT && opcode != WS_OP_BINARY)
        return WS_ERR_INVALID;
    error =
        output_slice_new(&s->pool, slice, header, ws_frame_encode(header, opcode, len), data, len);
    return error != 0 ? to_ws_error(error) : 0;
}

ptrdiff_t ws_publish(struct ws_server *s, struct ws_str name, const struct ws_conn *except,
                     enum ws_opcode opcode, const void *data, size_t len)
{
    const struct room *room = room_find(&s->rooms, name.data, name.len);
    struct output_slice slice;
    ptrdiff_t sent = 0;
    int error = encode_once(s, &slice, opcode, data, len);

    if (error != 0)
        return error;
    for (size_t i = 0; room != NULL && i < room->count; i++) {
        struct ws_conn *c = room->seats[i]->member;

        if (c != except)
            sent += publish_to(c, &slice);
    }
    output_slice_release(&s->pool, &slice);
    return sent;
}

ptrdiff_t ws_broadcast(struct ws_server *s, const struct ws_conn *except, enum ws_opcode opcode,
                       const void *data, size_t len)
{
    struct output_slice slice;
    ptrdiff_t sent = 0;
    int error = encode_once(s, &slice, opcode, data, len);

    if (error != 0)
        return error;
    for (size_t i = 0; i < s->entry_count; i++) {
        struct ws_conn *c = s->entries[i].conn;

        if (c != NULL && c != except)
            sent += publish_to(c, &slice);
    }
    output_slice_release(&s->pool, &slice);
    return sent;
}

struct ws_frozen *ws_freeze(struct ws_server *s, enum ws_opcode opcode, const void *data,
                            size_t len)
{
    struct ws_frozen *m = malloc(sizeof *m);

    if (m == NULL)
        return NULL;
    m->server = s;
    if (encode_once(s, &m->slice, opcode, data, len) == 0)
        return m;
    free(m);
    return NULL;
}

int ws_send_frozen(struct ws_conn *c, const struct ws_frozen *m)
{
    int error;

    if (c->state != CONN_OPEN)
        return WS_ERR_CLOSED;
    error = conn_refer(c, &m->slice);
    return error != 0 ? error : send_result(c);
}

void ws_thaw(struct ws_frozen *m)
{
    if (m == NULL)
        return;
    output_slice_release(&m->server->pool, &m->slice);
    free(m);
}

/* --- the API of requests -------------------------------------------------------------------------- */

struct ws_str ws_request_method(const struct ws_request *req)
{
    return to_ws_str(req->http.method);
}

struct ws_str ws_request_path(const struct ws_request *req)
{
    return to_ws_str(req->http.path);
}

struct ws_str ws_request_query(const struct ws_request *req)
{
    return to_ws_str(req->http.query);
}

struct ws_str ws_request_body(const struct ws_request *req)
{
    return req->body;
}

struct ws_str ws_request_header(const struct ws_request *req, const char *name)
{
    return to_ws_str(http_request_field(&req->http, name, NULL));
}

bool ws_request_header_at(const struct ws_request *req, size_t index, struct ws_header *header)
{
    if (index >= req->http.field_count)
        return false;
    header->name = to_ws_str(req->http.fields[index].name);
    header->value = to_ws_str(req->http.fields[index].value);
    return true;
}

/* --- making and freeing a server ------------------------------------------------------------------ */

int ws_server_handle(struct ws_server *s, const char *prefix, const struct ws_handlers *handlers)
{
    struct endpoint **link = &s->endpoints;
    size_t len = strlen(prefix);
    struct endpoint *e;

    if (prefix[0] != '/')
        return WS_ERR_INVALID;
    e = malloc(sizeof *e + len);
    if (e == NULL)
        return WS_ERR_NOMEM;
    while (*link != NULL && (*link)->prefix_len > len)
        link = &(*link)->next;
    e->next = *link;
    e->handlers = *handlers;
    e->prefix_len = len;
    memcpy(e->prefix, prefix, len);
    *link = e;
    return 0;
}

static bool listen_error(const struct ws_server *s, const char *address, const char *what, int fd)
{
    int error = errno;

    server_log(s, WS_LOG_ERROR, "cannot listen on %s: %s: %s", address, what, strerror(error));
    if (fd >= 0)
        close(fd);
    errno = error;
    return false;
}

/* Add a bound socket to the listeners. */
static bool listener_add(struct ws_server *s, int fd, const char *address, const char *path)
{
    struct listener *l = &s->listeners[s->listener_count];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};

    if (listen(fd, LISTEN_BACKLOG) != 0)
        return listen_error(s, address, "listen", fd);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return listen_error(s, address, "epoll_ctl", fd);
    *l = (struct listener){.source = {.fd = fd, .kind = SOURCE_LISTENER}, .is_unix = path != NULL};
    if (path != NULL)
        snprintf(l->path, sizeof l->path, "%s", path);
    s->listener_count++;
    return true;
}

/* A socket that a dead server has left behind is in the way, and nobody answers on it. */
static void remove_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED)
        unlink(address->sun_path);
    if (fd >= 0)
        close(fd);
}

static bool listen_unix(struct ws_server *s, const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = address + strlen("unix:");
    int fd;

    if (path[0] == '\0' || strlen(path) >= sizeof un.sun_path) {
        errno = path[0] == '\0' ? EINVAL : ENAMETOOLONG;
        return listen_error(s, address, "path", -1);
    }
    strcpy(un.sun_path, path);
    remove_stale(&un);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&un, sizeof un) != 0)
        return listen_error(s, address, fd < 0 ? "socket" : "bind", fd);
    return listener_add(s, fd, address, path);
}

static bool listen_tcp(struct ws_server *s, const char *address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *ai = NULL;
    uint16_t known = ws_server_port(s);
    char port[8];
    int on = 1;
    int fd;
    int error;

    snprintf(port, sizeof port, "%u", s->options.port != 0 ? s->options.port : known);
    error = getaddrinfo(address, port, &hints, &ai);
    if (error != 0) {
        server_log(s, WS_LOG_ERROR, "cannot listen on %s: %s", address, gai_strerror(error));
        errno = EADDRNOTAVAIL;
        return false;
    }
    fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    error = fd < 0 ? -1 : bind(fd, ai->ai_addr, ai->ai_addrlen);
    freeaddrinfo(ai);
    if (error != 0) {
        char name[128];

        snprintf(name, sizeof name, "%s port %s", address, port);
        return listen_error(s, name, fd < 0 ? "socket" : "bind", fd);
    }
    return listener_add(s, fd, address, NULL);
}

static bool listen_all(struct ws_server *s)
{
    static const char *const loopback[] = {"127.0.0.1", NULL};
    const char *const *bind_to = s->options.bind != NULL ? s->options.bind : loopback;
    size_t count = 0;

    while (bind_to[count] != NULL)
        count++;
    s->listeners = calloc(count + 1, sizeof *s->listeners);
    if (s->listeners == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        bool is_unix = strncmp(bind_to[i], "unix:", 5) == 0;

        if (!(is_unix ? listen_unix(s, bind_to[i]) : listen_tcp(s, bind_to[i])))
            return false;
    }
    return true;
}

uint16_t ws_server_port(const struct ws_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;

        if (getsockname(s->listeners[i].source.fd, (struct sockaddr *)&address, &len) != 0)
            continue;
        if (address.ss_family == AF_INET)
            return ntohs(((const struct sockaddr_in *)&address)->sin_port);
        if (address.ss_family == AF_INET6)
            return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    }
    return 0;
}

struct ws_stats ws_server_stats(const struct ws_server *s)
{
    return (struct ws_stats){.connections = s->conn_count,
                             .max_clients = s->options.max_clients,
                             .buffered = s->budget.used};
}

static void default_size(size_t *option, size_t value)
{
    if (*option == 0)
        *option = value;
}

static void default_ms(unsigned *option, unsigned value)
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
    if (o->high_water > o->max_queue)
        o->high_water = o->max_queue;
    if (o->max_clients == 0 || o->max_clients > descriptors)
        o->max_clients = descriptors;
    default_ms(&o->handshake_timeout_ms, 10000);
    default_ms(&o->close_timeout_ms, 5000);
    default_ms(&o->ping_interval_ms, 30000);
    default_ms(&o->ping_timeout_ms, 20000);
    if (o->log_level == 0)
        o->log_level = WS_LOG_ERROR;
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
    uint64_t seed = clock_ms();

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        server_log(s, WS_LOG_INFO, "no random seed yet");
    s->budget.max = s->options.max_memory;
    output_pool_init(&s->pool, &s->budget);
    room_table_init(&s->rooms, &s->budget, seed);
    s->now_ms = clock_ms();
    timer_wheel_init(&s->timers, s->now_ms);
    s->accept_timer.fire = accept_resume;
    s->stop_timer.fire = stop_timer_fired;
    s->wake.fd = s->clock.fd = -1;
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return s->epoll_fd >= 0 &&
           watch_source(s, &s->wake, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), SOURCE_WAKE) &&
           watch_source(s, &s->clock, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                        SOURCE_CLOCK) &&
           listen_all(s);
}

struct ws_server *ws_server_new(const struct ws_options *options)
{
    struct ws_server *s = calloc(1, sizeof *s);
    int error;

    if (s == NULL)
        return NULL;
    s->options = *options;
    fill_in_defaults(&s->options);
    if (server_init(s))
        return s;
    error = errno;
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
    listeners_close(s);
    stop_now(s);
    while (s->touched != NULL)
        settle_next(s);
    while (s->app_timers != NULL)
        ws_timer_cancel(s->app_timers);
    while (s->watches != NULL) {
        s->watches->ended = true;
        watches_free_ended(s);
    }
    for (struct post *p = atomic_exchange(&s->posts, NULL), *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    while (s->endpoints != NULL) {
        struct endpoint *e = s->endpoints;

        s->endpoints = e->next;
        free(e);
    }
    room_table_release(&s->rooms);
    output_pool_release(&s->pool);
    close_if_open(s->clock.fd);
    close_if_open(s->wake.fd);
    close_if_open(s->spare_fd);
    close_if_open(s->epoll_fd);
    free(s->entries);
    free(s->listeners);
    free(s);
}
