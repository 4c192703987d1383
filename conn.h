/* SPDX-License-Identifier: MIT
 *
 * A connection and the server it lives in: what the files with system calls share, and nobody else.
 *
 *   ws.c           the server: endpoints, the loop, stopping
 *   accept.c       where clients come in
 *   conn.c         the life of a connection and its input
 *   conn_http.c    a connection while it speaks HTTP, up to the 101
 *   conn_ws.c      a connection that speaks WebSocket: frames, messages, rooms
 *   conn_output.c  how bytes leave it
 *
 * A connection goes through these states:
 *
 *   HTTP -> BODY -> ANSWERING -> HTTP   plain requests, one at a time; pipelined ones wait in line.
 *                                       An answer that comes in BODY ends the connection
 *   HTTP -> UPGRADING -> OPEN           the opening handshake, RFC 6455 §4.2
 *   OPEN -> CLOSING                     we sent Close and wait for the peer's, §7.1.2
 *   any  -> DRAINING                    nothing more to say: flush, FIN, discard until EOF
 *   any  -> DEAD                        closed; the memory goes at the end of the turn
 *
 * Functions of the API never call back and never free: they mark, queue, and conn_touch(). What was
 * touched is settled once at the end of the turn. */
#ifndef CONN_H
#define CONN_H

#include <stdatomic.h>

#include "account.h"
#include "buf.h"
#include "host.h"
#include "http.h"
#include "http_upgrade.h"
#include "log_limit.h"
#include "output.h"
#include "room.h"
#include "timer.h"
#include "ws.h"
#include "ws_message.h"

/* What hardly ever runs. The compiler keeps it away from the path of every message: 1/50 of a small
 * echo's instructions, and less of the cache. */
#define COLD __attribute__((cold))

enum {
    RECEIVE_SIZE = 256 * 1024,                              /* bytes read per readiness */
    FRAME_START_MAX = WS_FRAME_HEADER_MAX + WS_CONTROL_MAX, /* kept until more of the frame comes */
    REST_READS = 32, /* at a deadline, of what lies in the socket: more than the kernel holds */
    STAGE_SIZE = 96 * 1024, /* bytes staged for one connection: the high-water mark and some */
    SLOWEST = 64 * 1024, /* bytes that a peer has to send or take per deadline to get another one */
    QUIET_MS = 50,       /* of silence, and a peer of a server that stops has nothing more to say */
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
    CONN_DRAINING,
    CONN_DEAD
};

/* What has to survive a turn: there only while a request, a frame or a message is unfinished. */
struct input {
    struct buf stash;   /* received and not yet consumed */
    uint64_t rest_turn; /* the turn in which its share was used up with work left; 0: it was not */

    /* What has begun must have come by then, or SLOWEST bytes more than there were before. */
    uint64_t due_ms; /* 0: no such deadline */
    size_t due_from; /* bytes of the message or body that were there when it was set */

    /* HTTP: the head, then its decoded body. */
    struct http_scan scan;
    struct http_body body;
    struct buf request;
    size_t head_len; /* of the request whose body is coming; 0: the head is still coming */

    /* WebSocket: the message that is coming, and in it the frame. */
    struct ws_message message;
    struct ws_frame frame;
    uint64_t frame_got; /* payload bytes of `frame` that have come */
    bool in_frame;      /* what came of it is in `payload`, and stashed where it had to wait */
    struct buf payload; /* of the message so far */
};

/* The newest ping's payload, which waits for the output before it to leave. */
struct pong {
    uint8_t len;
    uint8_t data[WS_CONTROL_MAX];
};

/* Output that the socket has not taken, or that others have queued. */
struct outbox {
    struct output queue;
    size_t backlog; /* bytes of the queue that were there before the turn `turn`, and are still */
    uint64_t turn;
    uint64_t slow_ms;  /* when a queue that is over max_queue must have fallen; 0: it is not over */
    struct pong *pong; /* owned; NULL when there is none */
};

/* The small output of the connection that is being served, see conn_output.c. */
struct stage {
    struct ws_conn *owner; /* NULL: nothing is staged. It is touched, and has no queue */
    size_t len;
    uint8_t data[STAGE_SIZE];
};

/* 136 bytes, since there may be a million of them; what a message touches comes first. */
struct ws_conn {
    struct source source;
    uint8_t state;         /* enum conn_state */
    bool eof : 1;          /* the peer has shut down its side */
    bool blocked : 1;      /* the socket took less than all: wait for EPOLLOUT */
    bool paused : 1;       /* not read: over the high-water mark, or one of these two: */
    bool held : 1;         /* by ws_pause() */
    bool sent_at_once : 1; /* a large body has left at once in this turn */
    bool drain_owed : 1;   /* a send returned WS_QUEUED */
    bool fin_sent : 1;
    bool broken : 1;      /* a send failed: nothing may follow it, and the next read ends it */
    bool listed : 1;      /* on the server's list of touched connections */
    bool pinged : 1;      /* and nothing was heard since: the timer waits for a sign of life */
    bool opened : 1;      /* on_open was called and on_close was not */
    bool abort_owed : 1;  /* killed while a request waited for its answer */
    bool head_only : 1;   /* the request in hand is a HEAD */
    bool keep_alive : 1;  /* the request in hand, if it were answered now, allows another one */
    bool http_1_0 : 1;    /* the request in hand is of HTTP/1.0 */
    bool served : 1;      /* a request has been answered: this is not the first */
    bool watched_in : 1;  /* what epoll watches for: EPOLLIN */
    bool watched_out : 1; /* EPOLLOUT */
    bool overrun : 1;     /* closed as a slow recipient: to be reported as 1013, not 1006 */
    bool behind : 1;      /* the socket held bytes for the peer when output was last marked */
    bool refused : 1;     /* over max_clients */
    bool wide : 1;        /* its socket takes as much as the kernel allows, see conn_output.c */
    uint32_t given;       /* those bytes, and what the socket got since; it may wrap */
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
    struct timer stop_look_timer; /* the next look at who is owed nothing */
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
    struct conn_entry *entries;
    size_t entry_count;
    size_t entry_cap;
    size_t conn_count;
    size_t refused_count; /* of them: over max_clients, and told so */
    uint64_t last_id;
    _Atomic int stop_calls;
    uint8_t *in_place; /* data in on_message, when the client's header lies in front of it */
    _Atomic(struct post *) posts;                     /* newest first */
    struct ws_request request;                        /* the one being handled */
    const struct http_upgrade *upgrade;               /* in on_upgrade */
    bool refusal_failed;                              /* the application tried to refuse it */
    char head[HEAD_SIZE];                             /* a response head being written */
    uint8_t received[FRAME_START_MAX + RECEIVE_SIZE]; /* shared by all: [kept][new] */
};

/* --- accept.c --------------------------------------------------------------------------------- */

/* Listen on all addresses, and have epoll watch. False with errno, perhaps also logged. */
bool accept_begin(struct ws_server *s);
void accept_ready(struct ws_server *s, struct listener *l);
void accept_close(struct ws_server *s);

/* --- ws.c ------------------------------------------------------------------------------------- */

/* One line to the application. What a peer sent may be in it, so nothing but printable ASCII
 * leaves; and any peer may cause it, so that of one kind only some a second do, see log_limit.h.
 * `format` is a literal. */
void server_log(struct ws_server *s, enum ws_log_level level, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));
bool server_tracing(const struct ws_server *s);
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
/* The endpoint of the longest prefix of `path`, or NULL. */
const struct endpoint *server_find_endpoint(const struct ws_server *s, struct http_str path);
/* Give `c` the next id and list it. False when out of memory. */
bool server_add(struct ws_server *s, struct ws_conn *c);
void server_remove(struct ws_server *s, uint64_t id);

/* --- conn.c ----------------------------------------------------------------------------------- */

/* Take over the accepted descriptor `fd`, whose peer is on `host` (NULL: on none that is known),
 * and one reference to that. NULL: it had to be closed. */
struct ws_conn *conn_new(struct ws_server *s, int fd, struct host *host);
struct host *conn_host(const struct ws_conn *c);
void conn_ready(struct ws_conn *c, uint32_t events);
/* Something is to be done for `c` before the loop sleeps. */
void conn_touch(struct ws_conn *c);
/* The end of a turn for `c`: send what has gathered, go on with input that had to wait. */
void conn_settle(struct ws_conn *c);
/* The state that survives the turn, made when there is none; NULL when memory is out. */
struct input *conn_input(struct ws_conn *c);
/* Memory is out, the budget or the heap: this connection pays, with 1013. */
COLD void conn_overload(struct ws_conn *c);
void conn_deadline(struct ws_conn *c, unsigned ms); /* from now */

/* Nothing more to say: what is queued still goes out, then FIN, then we wait for the peer's. */
void conn_drain(struct ws_conn *c);
/* Tell the application, once, that an opened connection is over; WS_CLOSE_ABNORMAL: without a Close
 * frame. RFC 6455 §7.1.5 */
void conn_report_close(struct ws_conn *c, unsigned code, const char *reason, size_t len);
/* Both: the WebSocket connection is over, in whatever way; only bytes remain to be moved. */
void conn_ended(struct ws_conn *c, unsigned code, const char *reason, size_t len);
/* The peer is gone, or we wait no longer for it: nothing can be delivered. */
void conn_lost(struct ws_conn *c);
/* Close the descriptor now; the memory goes when the turn ends. */
void conn_kill(struct ws_conn *c);
void conn_free(struct ws_conn *c);
void conn_stop(struct ws_conn *c); /* the server stops */
/* The server waits no longer. What came in time is heard before the connection is lost. */
void conn_give_up(struct ws_conn *c);
void conn_stop_waiting(struct ws_conn *c); /* if the peer has all that it is owed */

/* --- conn_output.c ---------------------------------------------------------------------------- */

/* Send bytes within the limits of this connection and of the server; copied. 0, WS_ERR_CLOSED,
 * WS_ERR_FULL, WS_ERR_NOMEM. */
int conn_append(struct ws_conn *c, const void *head, size_t head_len, const void *body,
                size_t body_len);
/* The same for a response, whose body is in `count` pieces. */
int conn_append_response(struct ws_conn *c, const void *head, size_t head_len,
                         const struct ws_str *body, size_t count);
/* The same for a few bytes that must go out even when the limits are used up: a Close frame. */
int conn_append_last(struct ws_conn *c, const void *data, size_t len);
/* The same for bytes that many connections share. */
int conn_refer(struct ws_conn *c, const struct output_slice *slice);
/* Let `c` have the stage; false when it is another's, or what it would hold must wait. */
bool conn_begin_stage(struct ws_conn *c);
/* Where `max_len` bytes may be written that will leave at the end of the turn, or NULL. Then
 * conn_staged() must say how many have been. */
static inline uint8_t *conn_stage(struct ws_conn *c, size_t max_len)
{
    struct stage *stage = &c->server->stage;

    if (stage->owner != c && (max_len > STAGE_SIZE || !conn_begin_stage(c)))
        return NULL;
    return max_len <= STAGE_SIZE - stage->len ? stage->data + stage->len : NULL;
}
static inline void conn_staged(struct ws_conn *c, size_t len)
{
    c->server->stage.len += len;
}
/* Answer a ping when all that is queued has left, unless a newer one comes. RFC 6455 §5.5.3 */
void conn_keep_pong(struct ws_conn *c, const uint8_t *data, size_t len);
void conn_send_pong(struct ws_conn *c);      /* queue it now, if there is one */
size_t conn_queued(const struct ws_conn *c); /* bytes */
/* As many of them were queued before this turn: the peer has had time to take them. */
size_t conn_backlog(const struct ws_conn *c);
int conn_send_result(struct ws_conn *c); /* WS_SENT, or WS_QUEUED with on_drain owed */
int to_ws_error(int account_error);      /* ACCOUNT_FULL and ACCOUNT_NOMEM in the API's words */
/* Send until everything is out or the socket takes no more. The socket is not known to be full. */
void conn_flush(struct ws_conn *c);
bool conn_all_taken(const struct ws_conn *c); /* by the peer's system, our FIN, too */
/* From here on it counts what the peer takes. */
void conn_mark_output(struct ws_conn *c);
/* Has the peer taken `least` bytes or more since then? If so, it counts from here on. */
bool conn_takes_output(struct ws_conn *c, int32_t least);
void conn_drop_output(struct ws_conn *c);
void conn_narrow(struct ws_conn *c);         /* give up a wide socket; nothing happens to another */
void conn_give_up_output(struct ws_conn *c); /* nobody is there to read it: read on without it */
void conn_watch(struct ws_conn *c);          /* tell epoll what to wait for, if that has changed */

/* --- conn_http.c ------------------------------------------------------------------------------ */

/* One step into the requests in `data`. Returns bytes consumed, 0 for more. */
size_t conn_requests_feed(struct ws_conn *c, uint8_t *data, size_t len);
/* More of the body that the last of them announced. Returns bytes consumed. */
size_t conn_body_feed(struct ws_conn *c, const uint8_t *data, size_t len);
/* Refuse what came in, and close: who sent it has lost the thread. In on_refuse the application may
 * say it in its own words, else it is a line of text. Where the application was to answer it, that
 * is told. */
COLD void conn_refuse(struct ws_conn *c, int status, const char *why);
/* Does the application know of a request that it has not answered? */
bool conn_owes_answer(const struct ws_conn *c);
/* And will not: tell it so. */
void conn_abort(struct ws_conn *c);

/* --- conn_ws.c -------------------------------------------------------------------------------- */

/* The 101 is queued: the WebSocket connection is open. */
void conn_open(struct ws_conn *c, const struct ws_request *req);
/* One step into the frames in `data`: a frame, or a part of one. Returns bytes consumed, 0 for
 * more. */
size_t conn_frames_feed(struct ws_conn *c, uint8_t *data, size_t len);
/* Where payload may be received without a copy, behind what the message has so far: its size, or 0.
 * Then conn_payload_came() says how much of it has been filled. */
size_t conn_payload_space(struct ws_conn *c, uint8_t **space);
void conn_payload_came(struct ws_conn *c, size_t n);
/* Queue one whole frame. */
int conn_frame(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len);
/* Begin the closing handshake, RFC 6455 §7.1.2. */
int conn_start_close(struct ws_conn *c, unsigned code, const char *reason);
/* Close it as a recipient that reads too slowly. */
COLD void conn_overrun(struct ws_conn *c, const char *why);
/* Fail the connection, RFC 6455 §7.1.7. */
COLD void conn_fail(struct ws_conn *c, unsigned code, const char *why);

#endif
