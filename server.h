/* SPDX-License-Identifier: MIT
 *
 * A server and its connections as data: what the files of the core share, and nobody else. The
 * functions here need nothing of what stands above: the log, the clock, the share of a turn, the
 * list of touched connections, the timer of a connection, endpoints by path.
 *
 * Calls go one way, and `make lint` proves it from the objects:
 *
 *   ws           the server: the loop, endpoints, stopping
 *   accept       where clients come in
 *   conn         the life of a connection: bytes in, deadlines, settling
 *   conn_http    a connection while it speaks HTTP, up to the 101
 *   conn_ws      a connection that speaks WebSocket: frames, messages, rooms
 *   conn_end     how a connection ends
 *   conn_output  how bytes leave it
 *   server       this
 *   ...          pure files
 *
 * A connection goes through these states:
 *
 *   HTTP -> BODY -> ANSWERING -> HTTP   plain requests, one at a time; pipelined ones wait in line.
 *                                       An answer that comes in BODY ends the connection
 *   HTTP -> UPGRADING -> OPEN           the opening handshake, RFC 6455 §4.2
 *   OPEN -> CLOSING                     we sent Close and wait for the peer's, §7.1.2
 *   any  -> LINGERING                   nothing more to say: flush, FIN, discard until EOF
 *   any  -> DEAD                        closed; the memory goes at the end of the turn
 *
 * Functions of the API never call back and never free: they mark, queue, and server_touch(). What
 * was touched is settled once at the end of the turn. */
#ifndef SERVER_H
#define SERVER_H

#include <stdatomic.h>

#include "account.h"
#include "conn_table.h"
#include "host.h"
#include "http.h"
#include "http_upgrade.h"
#include "input.h"
#include "log_limit.h"
#include "output.h"
#include "room.h"
#include "timer.h"
#include "ws.h"

/* For functions that seldom run. The compiler puts them apart from the path of every message, which
 * saves 1/50 of a small echo's instructions, and cache. */
#define COLD __attribute__((cold))

enum {
    RECEIVE_SIZE = 256 * 1024,                              /* bytes read per readiness */
    FRAME_START_MAX = WS_FRAME_HEADER_MAX + WS_CONTROL_MAX, /* kept until more of the frame comes */
    REST_READS = 32, /* at a deadline, of what lies in the socket: more than the kernel holds */
    STAGE_SIZE = 96 * 1024, /* bytes staged for one connection: the high-water mark and some */
    SLOWEST = 64 * 1024, /* a peer that sends or acknowledges so many bytes gets another timeout */
    QUIET_MS = 50,       /* of silence after which a stopping server does not wait for a peer */
    HEAD_SIZE = 16 * 1024, /* of a response head */
    SENTENCE_SIZE = 512    /* of a log line, or of why a request is refused */
};

/* What an epoll event points at begins with one of these. */
enum source_kind { SOURCE_CONN, SOURCE_LISTENER, SOURCE_WATCH, SOURCE_WAKE, SOURCE_CLOCK };

struct source {
    int fd;
    uint8_t kind; /* enum source_kind */
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

/* A frame that leaves behind all that is queued, unless a newer one takes its place. */
struct deferred {
    uint8_t len;
    uint8_t data[WS_FRAME_SERVER_HEADER_MAX + WS_CONTROL_MAX];
};

/* Output that the socket has not taken, or that others have queued. */
struct outbox {
    struct output queue;
    size_t backlog; /* bytes of the queue that were there before the turn `turn`, and are still */
    uint64_t turn;
    uint64_t slow_ms; /* when a queue that is over max_queue must have fallen; 0: it is not over */
    struct deferred *deferred; /* owned; NULL when there is none */
};

/* The small output of the connection that is being served, see conn_output.c. */
struct stage {
    struct ws_conn *owner; /* NULL: nothing is staged. It is touched, and has no queue */
    size_t len;
    uint8_t data[STAGE_SIZE];
};

/* The request in hand. Written by conn_http.c; valid from its head on until it is answered. */
struct conn_req {
    bool head_only : 1;  /* it is a HEAD */
    bool keep_alive : 1; /* if it were answered now, another one may follow */
    bool http_1_0 : 1;   /* it is of HTTP/1.0 */
    bool served : 1;     /* a request has been answered before: this is not the first */
};

/* How output goes. Written by conn_output.c, and cleared by conn.c as said here. */
struct conn_out {
    bool blocked : 1;      /* the socket took less than all; cleared at EPOLLOUT */
    bool broken : 1;       /* something is lost: nothing may follow it, and the next read ends it */
    bool sent_at_once : 1; /* a large body has left at once; cleared at the end of the turn */
    bool drain_owed : 1;   /* a send returned WS_QUEUED; cleared before on_drain */
    bool behind : 1;       /* the socket held bytes for the peer when output was last marked */
    bool wide : 1;         /* the socket takes as much as the kernel allows */
};

/* How the connection lives and ends. */
struct conn_life {
    bool listed : 1;      /* server.c: on the list of touched connections */
    bool eof : 1;         /* conn.c: the peer has shut down its side */
    bool paused : 1;      /* conn.c: not read: over the high-water mark, resting, or held */
    bool held : 1;        /* conn.c: by ws_pause() */
    bool pinged : 1;      /* conn.c: and nothing was heard since: the timer waits for an answer */
    bool watched_in : 1;  /* conn.c: what epoll watches for: EPOLLIN */
    bool watched_out : 1; /* conn.c: EPOLLOUT */
    bool fin_sent : 1;    /* conn.c */
    bool opened : 1;      /* conn_ws.c: on_open was called; conn_end.c: and on_close was not */
    bool overrun : 1;     /* conn_end.c: closed as a slow recipient: to be reported as 1013 */
    bool refused : 1;     /* accept.c: over max_clients */
};

/* 136 bytes, since there may be a million of them; what a message touches comes first. */
struct ws_conn {
    struct source source;
    uint8_t state; /* enum conn_state */
    struct conn_req req;
    struct conn_out out;
    struct conn_life life;
    uint32_t
        unacked_base; /* bytes that the peer had yet to acknowledge when output was last marked,
                              plus bytes sent since, modulo 2^32 */
    struct ws_server *server;
    const struct endpoint *endpoint;
    struct input *input;
    struct outbox *outbox;
    uint64_t heard_ms; /* when the peer last took or gave bytes; while a ping is out, so that
                          ping_interval_ms later is the last moment for its answer */
    struct ws_conn *next_touched;
    struct timer timer;     /* its meaning follows from the state */
    struct account account; /* of what is held for it; below that of its host */
    struct room_seat *rooms;
    void *data;
    uint64_t id;
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

/* What the callback that is running is about. One struct for all connections: callbacks come from
 * the loop alone and never from inside each other, so that one operation is in hand at a time. Each
 * field says from when to when it is valid. */
struct in_hand {
    /* The request whose head was parsed last: until the callback that it is handed to returns. It
     * points into the receive buffer, or into `input->request` of its connection. */
    struct ws_request request;
    /* The handshake that is being judged by the application: in on_upgrade, else NULL. */
    const struct http_upgrade *upgrade;
    /* In on_upgrade: ws_respond() was called and did not succeed. */
    bool refusal_failed;
    /* The message that is being handed over, when it lies where it was received, with the client's
     * header of `in_front` bytes before it: in on_message, else NULL. Whoever sends from this very
     * address sends the message as it came, and then our header may be written over the client's,
     * which is longer by the masking key (conn_ws.c, frame_append()). */
    uint8_t *in_place;
    size_t in_front;
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
    uint64_t turn;        /* how many there have been */
    uint64_t turn_us;     /* when it began */
    uint64_t share_us;    /* when the share began that is being used; 0: not looked at yet */
    unsigned share_units; /* of work since the clock was looked at */
    uint64_t now_ms;
    uint64_t clock_us;     /* what it said last, as it is */
    uint64_t clock_last;   /* what was read last of the clock, */
    uint64_t clock_offset; /* with this added: how far it has gone back */
    uint64_t sweep_ms;     /* when the sweep began, see ws.c */
    size_t sweep_batches;  /* of it so far */
    struct timer_wheel timers;
    struct timer accept_timer;    /* to when clients are let in again */
    unsigned accept_pause_ms;     /* how long it would run, */
    int accept_error;             /* and the errno that was logged; 0: clients come in */
    struct timer stop_timer;      /* the last moment of a stop */
    struct timer stop_look_timer; /* to the next look for connections that need no waiting */
    unsigned stop_look_ms;
    struct timer log_timer; /* to when what the log left out is told */
    struct log_limit log_limit;
    struct ws_timer *app_timers;
    struct watch *watches;
    struct watch *ended_watches; /* in this turn, whose batch may name them still */
    struct watch *lost_watches;  /* ended, but epoll may still report them */
    struct endpoint *endpoints;
    struct budget budget; /* of max_memory */
    struct host_table hosts;
    struct ws_account *accounts; /* the application's, the latest first */
    struct output_pool pool;
    size_t wide_count; /* connections that are wide, */
    size_t wide_max;   /* and how many may be */
    struct stage stage;
    struct room_table rooms;
    struct ws_conn *touched;
    struct conn_table conns;
    size_t refused_count; /* of them: over max_clients, and told so */
    _Atomic int stop_calls;
    _Atomic(struct post *) posts; /* newest first */
    struct in_hand hand;
    char head[HEAD_SIZE];                             /* a response head being written */
    uint8_t received[FRAME_START_MAX + RECEIVE_SIZE]; /* shared by all: [kept][new] */
};

/* --- the log ---------------------------------------------------------------------------------- */

void server_log_begin(struct ws_server *s);
void server_log_end(struct ws_server *s); /* tell what was left out */
/* One line to the application. What a peer sent may be in it, so nothing but printable ASCII
 * leaves; and any peer may cause it, so that of one kind only some a second do, see log_limit.h.
 * `format` is a literal. */
void server_log(struct ws_server *s, enum ws_log_level level, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));
bool server_tracing(const struct ws_server *s);

/* --- the clock -------------------------------------------------------------------------------- */

/* Read the clock: ms that never go back. */
uint64_t server_clock(struct ws_server *s);
/* The time of the turn in ms; outside of one, where that is long past, the time. */
uint64_t server_now(struct ws_server *s);
/* Each connection has a share of a turn, so that none keeps the others waiting: what is left to do
 * for it when that is used up waits for the next turn. Work is counted in units, so that the clock
 * is not looked at for every message. */
enum {
    SHARE_STEP = 16, /* units of a message or request, besides one for each recipient, */
    SHARE_BYTES = 64 /* and for so many of its bytes */
};
void server_share_begin(struct ws_server *s);
bool server_share_used(struct ws_server *s, size_t units);

/* --- connections ------------------------------------------------------------------------------ */

/* Something is to be done for `c` before the loop sleeps: conn_settle(). */
void server_touch(struct ws_conn *c);
/* Let the timer of `c` fire `ms` from now, and not at the time that it was set to. */
void server_deadline(struct ws_conn *c, unsigned ms);
/* Let it fire at `at_ms` at the latest. */
void server_deadline_by(struct ws_conn *c, uint64_t at_ms);
/* The host of the peer; NULL when it has none. */
struct host *server_host_of(const struct ws_conn *c);
/* The endpoint of the longest prefix of `path`, or NULL. */
const struct endpoint *server_find_endpoint(const struct ws_server *s, struct ws_str path);

#endif
