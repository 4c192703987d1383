/* SPDX-License-Identifier: MIT
 *
 * A server and its connections as data, for the files of the core and no others. The functions here
 * are the log, the clock, the share of a turn, the list of touched connections, the timer of a
 * connection, endpoints by path.
 *
 * Calls go down this list, and `make lint` proves it from the objects; the Makefile has it whole:
 *
 *   ws           the server: the loop, endpoints, stopping
 *   accept       accepts clients
 *   conn         the life of a connection: bytes in, deadlines, settling
 *   conn_http    a connection while it speaks HTTP, up to the 101
 *   conn_ws      a connection that speaks WebSocket: frames, messages, rooms
 *   conn_end     how a connection ends
 *   conn_output  sends and queues bytes
 *   conn_trace   frames as events
 *   conn_client  the client of a connection, and the limits by its address
 *   server       this file
 *   listen, conn_socket, block and the pure files
 *
 * A connection goes through these states:
 *
 *   HTTP -> BODY -> ANSWERING -> HTTP   plain requests, one at a time; pipelined ones wait in line.
 *                                       An answer that comes in BODY ends the connection
 *   HTTP -> UPGRADING -> OPEN           the opening handshake, RFC 6455 §4.2
 *   OPEN -> CLOSING                     we sent Close and wait for the peer's, §7.1.2
 *   any  -> LINGERING                   no more output: flush, FIN, discard input until EOF
 *   any  -> DEAD                        closed; freed at the end of the turn
 *
 * Functions of the API never call back and never free: they mark, queue, and server_touch(). Each
 * touched connection is settled once at the end of the turn. */
#ifndef SERVER_H
#define SERVER_H

#include <stdatomic.h>

#include "account.h"
#include "address.h"
#include "conn_table.h"
#include "host.h"
#include "http.h"
#include "http_upgrade.h"
#include "input.h"
#include "log_limit.h"
#include "output.h"
#include "rate.h"
#include "room.h"
#include "timer.h"
#include "ws.h"

/* For functions that seldom run. The compiler puts them apart from the path of every message, which
 * saves 1/50 of a small echo's instructions, and cache. */
#define COLD __attribute__((cold))

enum {
    RECEIVE_SIZE = 256 * 1024,                              /* bytes read per readiness */
    FRAME_START_MAX = WS_FRAME_HEADER_MAX + WS_CONTROL_MAX, /* kept until more of the frame comes */
    REMAINING_READS = 32,   /* at a deadline, to empty the socket: more than the kernel holds */
    STAGE_SIZE = 96 * 1024, /* bytes staged for one connection: over the default high-water mark */
    SLOWEST = 64 * 1024, /* a peer that sends or acknowledges so many bytes gets another timeout */
    QUIET_MS = 50,       /* a stopping server does not wait for a peer that is silent this long */
    HEAD_SIZE = 16 * 1024, /* of a response head */
    SENTENCE_SIZE = 512    /* of a log line, or of why a request is refused */
};

/* An epoll event points at an object that begins with a struct source of one of these kinds. */
enum source_kind { SOURCE_CONN, SOURCE_LISTENER, SOURCE_WATCH, SOURCE_WAKE, SOURCE_CLOCK };

struct source {
    int fd;
    uint8_t kind; /* enum source_kind */
    /* The rest of 8 bytes is of connections alone, see count_message() in conn_ws.c: elsewhere it
     * would make each of them 8 bytes larger. */
    struct rate_meter meter;
    uint16_t allotment; /* messages until the meter is asked; 0: 65536 */
};

enum conn_state {
    CONN_HTTP,
    CONN_BODY,
    CONN_ANSWERING,
    CONN_UPGRADING,
    CONN_OPEN,
    CONN_CLOSING,
    CONN_LINGERING,
    CONN_DEAD
};

/* A frame that is sent after all that is queued; a newer one replaces it. */
struct deferred {
    uint8_t len;
    uint8_t data[WS_FRAME_SERVER_HEADER_MAX + WS_CONTROL_MAX];
};

/* Output that the socket has not taken, or that other connections have queued. */
struct outbox {
    struct output queue;
    size_t backlog; /* unsent bytes that were queued before the turn `turn` */
    uint64_t turn;
    uint64_t slow_ms; /* deadline for a queue over max_queue to fall to it; 0: it is not over */
    struct deferred *deferred; /* owned; NULL when there is none */
};

/* The small output of the connection that is being served, see conn_output.c. */
struct stage {
    struct ws_conn *owner; /* NULL: nothing is staged. The owner is touched, and has no queue */
    size_t len;
    uint8_t data[STAGE_SIZE];
};

/* The request that came last. Written by conn_http.c; valid from its head on until it is answered,
 * but for the last four, which are about the connection. */
struct conn_req {
    bool head_only : 1;  /* the method is HEAD */
    bool keep_alive : 1; /* after an answer now, another request may follow */
    bool http_1_0 : 1;   /* the version is HTTP/1.0 */
    bool served : 1;     /* a request has been answered before: this is not the first */
    bool refused : 1;    /* accept.c, for good: it came over max_clients, and got 503 */
    bool proxied : 1; /* conn_client.c, for good: the peer is a trusted proxy, see conn_proxied */
    bool checks_host : 1; /* accept.c, for good: ws_options.hosts holds on its listening socket */
};

/* The state of output. Set by conn_output.c and cleared by it or by conn.c, but where another file
 * is named. */
struct conn_out {
    bool blocked : 1;      /* the socket took only a part; cleared at EPOLLOUT */
    bool broken : 1;       /* bytes are lost: none may follow, and the next read ends it */
    bool sent_at_once : 1; /* a large body was sent at once; cleared at the end of the turn */
    bool drain_owed : 1;   /* a send returned WS_QUEUED; cleared before on_drain */
    bool behind : 1;       /* bytes were unacknowledged when output was last marked */
    bool wide : 1;         /* the socket takes as much as the kernel allows */
    bool fin_sent : 1;     /* conn.c: our side is shut down */
    bool overrun : 1;      /* conn_end.c: closed as a slow recipient: 1006 is reported as 1013 */
};

/* The life of the connection; each flag is set by the file that is named. */
struct conn_life {
    bool listed : 1;      /* server.c: on the list of touched connections; cleared by ws.c */
    bool eof : 1;         /* conn.c: the peer has shut down its side */
    bool paused : 1;      /* conn.c: not read: over the high-water mark, resting, or held */
    bool held : 1;        /* conn.c: by ws_pause() */
    bool pinged : 1;      /* conn.c: nothing came since a ping: the timer waits for an answer */
    bool watched_in : 1;  /* conn.c: epoll watches for EPOLLIN */
    bool watched_out : 1; /* conn.c: epoll watches for EPOLLOUT */
    bool opened : 1;      /* conn_ws.c: before on_open; cleared by conn_end.c before on_close */
};

/* 136 bytes, since there may be a million of them: malloc() takes 144 for that, as it does for 128.
 * What a message touches is in the first cache line. */
struct ws_conn {
    struct source source;
    uint8_t state; /* enum conn_state */
    struct conn_req req;
    struct conn_out out;
    struct conn_life life;
    uint32_t unacked_base; /* bytes unacknowledged at the mark of output plus bytes sent since;
                              at most INT32_MAX */
    struct ws_server *server;
    const struct endpoint *endpoint;
    struct input *input;
    struct outbox *outbox;
    uint64_t heard_ms; /* when the peer last sent or took bytes; after a ping: the last moment for
                          its answer, minus ping_interval_ms */
    struct ws_conn *next_touched;
    struct timer timer;     /* its meaning follows from the state */
    struct account account; /* of the memory held for it; below that of its host */
    struct room_seat *rooms;
    void *data;
    uint64_t id;
};
_Static_assert(sizeof(struct ws_conn) <= 136, "a connection costs more than it needs to");

/* Behind the struct of a connection whose peer is a trusted proxy, in the same block of memory. */
struct conn_proxied {
    struct address client; /* of the request in hand; len 0: not told */
    uint32_t skip;         /* bytes of the PROXY protocol's header that are still to be skipped */
    bool header_due;       /* that header is still to come, or to be skipped to its end */
};

struct endpoint {
    struct endpoint *next;       /* longest prefix first */
    struct ws_handlers handlers; /* with max_message filled in */
    size_t prefix_len;
    char prefix[];
};

struct ws_request {
    struct http_request http;
    struct ws_str body;
};

/* What the callback that is running handles. One struct for all connections: callbacks come from
 * the loop alone and never from inside each other, so that one operation is in hand at a time. Each
 * field says from when to when it is valid. */
struct in_hand {
    /* The request whose head was parsed last: until the callback that it is handed to returns. It
     * points into the receive buffer, or into `input->request` of its connection. */
    struct ws_request request;
    /* The handshake that the application is to accept or refuse: in on_upgrade, else NULL. */
    const struct http_upgrade *upgrade;
    /* The connection that ws_detach() may take, and what was received of it from its request on: in
     * on_head and on_upgrade, else NULL. */
    struct ws_conn *detachable;
    struct ws_str received;
    /* In on_upgrade: ws_respond() was called and did not succeed. */
    bool refusal_failed;
    /* The message that is being handed over, when it lies where it was received, with the client's
     * header of `in_front` bytes before it: in on_message, else NULL. A send from exactly this
     * address sends the message as it came; then the server's header is written over the client's,
     * which is longer by the masking key (conn_ws.c, frame_append()). */
    uint8_t *in_place;
    size_t in_front;
};

struct ws_server {
    struct ws_options options; /* every default filled in */
    int epoll_fd;
    int spare_fd; /* closed to accept and close a client when descriptors run out */
    struct source wake;
    struct source clock; /* a timerfd, armed only for a foreign loop */
    struct listener *listeners;
    size_t listener_count;
    size_t listeners_known; /* with those that are closed: connections of them may come yet */
    bool in_turn;           /* touched connections are settled at its end */
    bool draining;          /* accepts nobody; each answer is the last of its connection */
    bool stopping;
    bool stopped;
    uint64_t turn;        /* number of turns begun */
    uint64_t turn_us;     /* when it began */
    uint64_t share_us;    /* when the current share began; 0: clock not read yet */
    unsigned share_units; /* of work since the clock was read */
    uint64_t now_ms;
    uint64_t clock_us;     /* the last reading, in us, uncorrected */
    uint64_t clock_last;   /* the last time returned, in ms, with */
    uint64_t clock_offset; /* this added: ms by which it went back, less those not counted */
    uint64_t sweep_ms;     /* when the sweep began, see ws.c */
    size_t sweep_batches;  /* batches of it so far */
    struct timer_wheel timers;
    struct timer accept_timer;    /* until clients are accepted again */
    bool accept_full;             /* others may accept who waits now; then they are refused */
    unsigned accept_pause_ms;     /* length of the next pause, */
    int accept_error;             /* the errno that was logged; 0: clients are accepted */
    struct timer stop_timer;      /* the last moment of a stop */
    struct timer stop_look_timer; /* to the next conn_stop_waiting() of all */
    unsigned stop_look_ms;
    struct timer host_timer;       /* until recent hosts are forgotten */
    struct address_range *proxies; /* that are trusted */
    size_t proxy_count;
    bool trusts_unix;
    struct rate_limit handshake_limit; /* of a host */
    struct rate_span message_span;     /* of a connection */
    struct {
        bool max_per_ip : 1;
        bool handshake_rate : 1;
        bool message_rate : 1;
    } given; /* limits that are not the default: they hold for programs on this machine, too */
    struct timer log_timer; /* until the number of left-out lines is logged */
    struct log_limit log_limit;
    struct ws_timer *app_timers;
    struct watch *watches;
    struct watch *ended_watches; /* in this turn: its batch may still point at them */
    struct watch *lost_watches;  /* ended, but epoll may still report them */
    struct endpoint *endpoints;
    struct budget budget; /* of max_memory */
    struct host_table hosts;
    struct ws_account *accounts; /* the application's, the latest first */
    struct output_pool pool;
    size_t wide_count; /* connections that are wide, */
    size_t wide_max;   /* the most that may be */
    struct stage stage;
    struct room_table rooms;
    struct ws_relay relay; /* all zero: none */
    struct ws_conn *touched;
    struct conn_table conns;
    size_t refused_count; /* of them: over max_clients, refused with 503 */
    _Atomic int stop_calls;
    _Atomic(struct post *) posts; /* newest first */
    struct in_hand hand;
    char head[HEAD_SIZE];                             /* a response head being written */
    uint8_t received[FRAME_START_MAX + RECEIVE_SIZE]; /* shared by all: [kept][new] */
};

/* --- the log ---------------------------------------------------------------------------------- */

void server_log_begin(struct ws_server *s);
void server_log_end(struct ws_server *s); /* log how many lines were left out */
/* One line to the application. It may hold what a peer sent, so bytes that are not printable ASCII
 * become '?'. Any peer may cause it, so lines of one kind are limited to some a second, see
 * log_limit.h. `format` is a literal. */
void server_log(struct ws_server *s, enum ws_log_level level, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* --- the clock -------------------------------------------------------------------------------- */

/* Read the clock: ms that never go back. */
uint64_t server_clock(struct ws_server *s);

/* The last `ms` milliseconds do not count: the clock goes on from where it was before them. */
void server_clock_skip(struct ws_server *s, uint64_t ms);
/* In a turn: the time in ms when its events were received. Outside of a turn: the time now. */
uint64_t server_now(struct ws_server *s);
/* Cause a turn of the loop. Allowed in any thread and signal handler. */
void server_wake(const struct ws_server *s);
/* Each connection has a share of a turn, so that others do not wait for it: when its share is used
 * up, its remaining work waits for the next turn. Work is counted in units, so that the clock is
 * not read for every message. */
enum {
    SHARE_STEP = 16, /* units of a message or request; each recipient adds one, */
    SHARE_BYTES = 64 /* and so does each piece of this many bytes */
};
void server_share_begin(struct ws_server *s);
bool server_share_used(struct ws_server *s, size_t units);
static inline void server_share_add(struct ws_server *s, size_t units)
{
    s->share_units += (unsigned)units;
}

/* --- connections ------------------------------------------------------------------------------ */

/* Something is to be done for `c` before the loop sleeps: conn_settle(). */
void server_touch(struct ws_conn *c);
/* Set the timer of `c` to fire `ms` from now, instead of when it was set to. */
void server_deadline(struct ws_conn *c, unsigned ms);
/* Let it fire at `at_ms` at the latest. */
void server_deadline_by(struct ws_conn *c, uint64_t at_ms);
/* The host of the client; NULL when it has none. */
struct host *server_host_of(const struct ws_conn *c);
/* What is known of the client of a proxy; NULL where the peer is no trusted proxy. */
struct conn_proxied *server_proxied(const struct ws_conn *c);
/* The endpoint of the longest prefix of `path`, or NULL. */
const struct endpoint *server_find_endpoint(const struct ws_server *s, struct ws_str path);

#endif
