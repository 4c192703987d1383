/* SPDX-License-Identifier: MIT
 *
 * minnow: a WebSocket server (RFC 6455) on one thread and raw epoll. This is the whole public API.
 *
 *     static void echo(struct ws_conn *c, enum ws_opcode op, const void *data, size_t len)
 *     {
 *         ws_send(c, op, data, len);
 *     }
 *
 *     struct ws_server *s = ws_server_new(&(struct ws_options){.port = 8080});
 *     ws_server_handle(s, "/", &(struct ws_handlers){.on_message = echo});
 *     ws_server_run(s);
 *
 * Everything runs on the thread that calls ws_server_run() or ws_server_step(), callbacks too. Only
 * ws_post() and ws_server_stop() may be called from other threads, and from log and trace. Any
 * function but ws_server_run(), ws_server_step() and ws_server_free() may be called from any
 * callback but the log, the trace and a relay. None of them calls a callback other than these, and
 * none frees what another callback still uses.
 *
 * A `struct ws_conn *` is valid in on_upgrade; from on_open until on_close returns; around a plain
 * request from on_head or on_request until ws_respond() or on_abort; and from ws_defer() until the
 * request comes again, or on_abort. Functions return 0 or
 * more on success, a WS_ERR_ below 0 on failure. The library neither prints, nor exits, nor touches
 * the process's signals. */
#ifndef WS_H
#define WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_protocol.h"
#include "ws_str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ws_server;
struct ws_conn;
struct ws_request;
struct ws_prepared;
struct ws_timer;
struct ws_account;

enum ws_result {
    WS_SENT = 0,         /* taken; the queue is below the high-water mark */
    WS_QUEUED = 1,       /* taken, but the peer reads slowly: better wait for on_drain */
    WS_ERR_CLOSED = -1,  /* not open, or its closing handshake has begun */
    WS_ERR_FULL = -2,    /* would pass max_queue or max_memory; nothing was queued */
    WS_ERR_NOMEM = -3,   /* malloc failed */
    WS_ERR_INVALID = -4, /* an argument that the protocol does not allow */
    WS_ERR_SYSTEM = -5,  /* a system call failed; errno says why */
};

/* Text for a WS_ERR_ value, or for an errno value (positive). Never NULL; valid until the next
 * call. */
const char *ws_strerror(int error);

/* --- server ----------------------------------------------------------------------------------- */

enum ws_log_level { WS_LOG_ERROR = 1, WS_LOG_INFO = 2 };

/* A frame as it passes, RFC 6455 §5.2: what the fields of its header say, and its bytes. All is
 * valid until ws_options.trace returns. */
struct ws_trace {
    const struct ws_conn *conn;
    bool received;     /* else it is sent, or queued to be */
    const char *fault; /* why the frame, from the peer, is refused; NULL: it is legal */
    bool fin;
    uint8_t rsv;    /* RSV1 is 4, RSV2 2, RSV3 1 */
    uint8_t opcode; /* as in enum ws_opcode, or a reserved one */
    bool masked;
    uint8_t mask[4];
    uint64_t len;          /* of the payload; 0 where there is a fault */
    const uint8_t *header; /* of header_len bytes; where there is a fault, as many as have come */
    size_t header_len;
    const uint8_t *payload; /* as on the wire, so masked where `masked` says so */
    size_t payload_len;     /* the part of it that has come: at most len */
};

/* How the proxies of ws_options.trust_proxy say who their client is. */
enum ws_proxy_header {
    WS_PROXY_X_FORWARDED_FOR = 0, /* the field X-Forwarded-For of each request */
    WS_PROXY_FORWARDED,           /* the field Forwarded of each request, RFC 7239 */
    WS_PROXY_PROTOCOL             /* in front of each connection, in version 1 or 2 of the PROXY
                                     protocol of HAProxy; required from those proxies */
};

/* All zero is a working, safe server: loopback, a free port, limits as noted. Borrowed until
 * ws_server_new() returns, except the lists and strings, which must live as long as the server.
 *
 * An item of `origins`, with which an Origin field is compared, is one of
 *
 *   http://, https://   a page, as browsers write it: "https://example.org", "http://[::1]:8080".
 *                       Scheme, host and port are compared, with 80 and 443 for a port that is left
 *                       out. A host that begins with "*." stands for all hosts below the rest, at
 *                       any depth, and not for the rest itself
 *   *                   any
 *   any other text      equal to the field, ASCII case aside: "null", and what clients send that
 *                       are no browsers, such as "localhost:8080", "file://" or ""
 *
 * ws_origin_fault() says what is wrong with an item. RFC 6454 §5, §6.2, RFC 6455 §10.2 */
struct ws_options {
    const char *const *bind; /* "127.0.0.1", "::1", "localhost", "unix:/path"; ends with NULL. A
                                   name stands for all its addresses. NULL: 127.0.0.1 */
    uint16_t port;           /* of all TCP addresses; 0: a free one, see ws_server_port() */
    unsigned unix_mode;      /* rights of the files of Unix sockets, such as 0660; at no moment
                                   are they wider. Connecting takes the right to write. 0: 0777 less
                                   the umask */
    bool reuse_port;         /* TCP sockets get SO_REUSEPORT: other servers of the same user may
                                   listen on the same addresses, and the system spreads the clients
                                   over all of them. Then a server that was started twice by mistake
                                   gets no error, either */
    const int *sockets;      /* sockets that listen already, such as ws_server_socket() of another
                                   server; ends with -1; NULL: none. Then nothing is opened for
                                   `bind`. The server closes them at its end; they stay the caller's
                                   only where it cannot be made. Other processes may accept from the
                                   same sockets: servers with this option take turns. The file of a
                                   Unix socket is removed at the end only if `bind` names it, too */
    bool no_accept;          /* listen, but let others accept: for a process that only keeps the
                                   sockets */
    const char *const *origins; /* to allow besides the pages of the server's own host; ends with
                                   NULL */
    const char *const *hosts;   /* names in the Host field that are answered besides those of the
                                   machine itself (localhost, names below it, 127.0.0.0/8, [::1]):
                                   "example.org", "*.example.org" for all names below it, "*" for
                                   any; ends with NULL. Ports do not count. Others get 421. NULL or
                                   empty: none on sockets that are bound to a loopback address, any
                                   on others. Unix sockets answer to any. This ends DNS rebinding:
                                   a page of the internet that points its own name at this
                                   machine */
    const char *scheme;         /* "http" or "https": how browsers reach the server; pages of its
                                   own host under the other scheme are refused. NULL: as
                                   X-Forwarded-Proto or Forwarded in the request says, without these
                                   both are allowed */
    size_t max_message;         /* bytes of a message or request body where the endpoint sets no
                                   limit; 0: 16 MiB */
    size_t max_queue;           /* unsent bytes of one connection; 0: max_message + 1 MiB. What was
                                   sent in the current turn of the loop does not count, see
                                   ws_send() */
    size_t max_memory;          /* bytes buffered for all connections together; 0: 256 MiB */
    size_t high_water;          /* unsent bytes above which a connection is not read; 0: 64 KiB;
                                   never more than half of max_queue, so that one more answer
                                   fits */
    size_t max_clients;         /* 0: as many as RLIMIT_NOFILE allows */
    const char *const *trust_proxy;    /* peers that are proxies: "192.0.2.1", "10.0.0.0/8", "::1",
                                       "2001:db8::/32", or "unix" for all of Unix sockets; ends with
                                       NULL. For a request from one of them, ws_conn_address() and
                                       the limits by address are about the client that it names: the
                                       last address in the field that is not itself on this list.
                                       Other peers cannot name a client. NULL: none is */
    enum ws_proxy_header proxy_header; /* what those proxies send. They pass on what clients write
                                          into other fields, so nothing else is believed */
    size_t max_per_ip;       /* connections of one address (IPv4, or a /64 of IPv6); more get 429.
                                0: half of max_clients; SIZE_MAX: no limit */
    unsigned handshake_rate; /* opening handshakes of one address a second, on average over 5 s:
                                a burst of 5 times as many passes at once; more get 429. 0: 1000;
                                UINT_MAX: no limit */
    unsigned message_rate;   /* messages, pings and pongs of one connection a second, on average
                                over 5 s (over 65,535 of them, where they are more). The log gets
                                a line; if the peer goes on, the connection fails with 1008.
                                Bursts of up to three times as many pass where the peer pauses
                                after each. 0: 10,000; UINT_MAX: no limit. Like the two before,
                                the default does not hold for peers on this machine (127.0.0.0/8,
                                ::1, Unix sockets); a limit that is set does. There is none by
                                address for Unix sockets */
    unsigned handshake_timeout_ms; /* for the head of a request to come in, and for the next one on
                                      the same connection to begin; 0: 10 s */
    unsigned close_timeout_ms;     /* for a Close, unless the peer still takes output, and for a
                                      stop; 0: 5 s */
    unsigned ping_interval_ms;     /* of silence before a ping; 0: 30 s; UINT_MAX: never ping */
    unsigned ping_timeout_ms;      /* for anything to come after a ping; 0: 20 s */
    unsigned message_timeout_ms;   /* for a message or a request body to come in, from its first
                                      byte; if 64 KiB or more of it have come in that time, it gets
                                      as long again; 0: 30 s; UINT_MAX: no limit */
    enum ws_log_level log_level;   /* least important lines wanted; 0: WS_LOG_ERROR */
    void (*log)(void *arg, enum ws_log_level level,
                const char *line); /* no newline; NULL: no log. Of one kind at most 5 errors or 100
                                      other lines a second, then one line with the number of the
                                      rest */
    void *log_arg;
    void (*trace)(void *arg, const struct ws_trace *frame); /* every frame of each connection, in
                                                               the order in which they come and are
                                                               queued; may call nothing that takes
                                                               the server or a connection, but
                                                               ws_conn_id(), ws_post() and
                                                               ws_server_stop(). NULL: no trace */
    void *trace_arg;
};

/* A listening server; ws_server_free() when done. `options` NULL: all zero. NULL with errno on
 * failure; where it is an address that cannot be listened on, or EINVAL for an option that makes no
 * sense, the log got a line that names it. */
struct ws_server *ws_server_new(const struct ws_options *options);

/* Serve until ws_server_stop() has done its work. Returns 0 or WS_ERR_SYSTEM. */
int ws_server_run(struct ws_server *s);

/* One turn of the loop: wait at most `timeout_ms` (-1: until something happens, 0: not at all),
 * then handle what is ready. Returns 1, or 0 once the server has stopped, or WS_ERR_SYSTEM. */
int ws_server_step(struct ws_server *s, int timeout_ms);

/* A descriptor that polls readable whenever ws_server_step(s, 0) has something to do, timers too.
 * It belongs to the server. */
int ws_server_fd(const struct ws_server *s);

/* Stop accepting, send Close 1001 to all open connections, wait at most close_timeout_ms for their
 * answers, and let run/step return 0. A second call ends the waiting. Allowed in any thread and
 * signal handler. */
void ws_server_stop(struct ws_server *s);

/* Accept nobody from now on: the listening sockets are closed. The connections are served on, and
 * so are those of ws_adopt(), but each answer to a plain request is the last of its connection. */
void ws_server_drain(struct ws_server *s);

/* Close what is still open (on_close is called) and free everything. Not from a callback. NULL is
 * allowed. */
void ws_server_free(struct ws_server *s);

uint16_t ws_server_port(const struct ws_server *s); /* the first TCP listener's; 0: none */
/* Number `index` of the listening sockets, to be duplicated for another process; -1 behind the last
 * one. It belongs to the server. */
int ws_server_socket(const struct ws_server *s, size_t index);

struct ws_stats {
    size_t connections; /* accepted and not yet closed, but for those over max_clients */
    size_t max_clients; /* the limits in force */
    size_t max_queue;
    size_t buffered; /* bytes in use of max_memory */
};
struct ws_stats ws_server_stats(const struct ws_server *s);

/* --- endpoints -------------------------------------------------------------------------------- */

/* What happens below one path prefix. Each callback may be NULL. */
struct ws_handlers {
    /* The head of a plain request is complete, and its body has not been read. Called for each one,
     * with a body or without. Return to get the request in on_request, or do without its body:
     * answer by ws_respond(), now or any time before on_request, which is not called then. After an
     * answer that does not wait for the body the connection closes, and what comes of the body is
     * discarded, unless there is none, or it has Content-Length, came whole together with the head
     * and is not held back by ws_pause(). 100 Continue is sent only when the head was not answered.
     * `req` is valid until return; ws_data() lasts until on_request. RFC 9110 §10.1.1, RFC 9112
     * §9.3, §9.6. */
    void (*on_head)(struct ws_conn *c, const struct ws_request *req);

    /* A plain request is complete, with its body. Answer it now or later by ws_respond(), once.
     * Without this callback plain requests get 426. `req` is valid until return. RFC 9112 §3,
     * §6. */
    void (*on_request)(struct ws_conn *c, const struct ws_request *req);

    /* on_request will not be called for a plain request whose head was in order, and the connection
     * will close: 413 for a body over max_message (at once where Content-Length says so), 400 or
     * 431 for malformed chunks, 408 for a body that took too long, 503 without memory or when the
     * server stops, 426 without on_request. Answer it by ws_respond() before you return, with this
     * status or another and headers of your own, or it gets a line of text. `req` is valid until
     * return. */
    void (*on_refuse)(struct ws_conn *c, const struct ws_request *req, int status);

    /* A request that on_head or on_request was called for, or that was deferred by ws_defer(), is
     * void: it will not be answered, for the client went away or the server refuses it; `c` ends
     * here. Set this callback when you answer
     * late, or keep something between on_head and on_request: nothing else tells you that
     * ws_respond() must not be called any more. Without it a client that only shut down its sending
     * side behind a whole request still gets its answer. */
    void (*on_abort)(struct ws_conn *c);

    /* An opening handshake is in order. Refuse it with ws_respond(), or accept it with ws_accept()
     * and your own subprotocol and headers, or do neither to accept it with the first subprotocol
     * that fits. Where ws_respond() fails and nothing else follows, it is refused with 500. `req`
     * is valid until return. To do it later, see ws_defer(). RFC 6455 §4.2.2. */
    void (*on_upgrade)(struct ws_conn *c, const struct ws_request *req);

    /* The connection is open: the 101 is on its way, and what is sent from here comes right after
     * it. `req` is the handshake's, valid until return. */
    void (*on_open)(struct ws_conn *c, const struct ws_request *req);

    /* A whole message of `len` bytes, WS_OP_TEXT (already checked to be UTF-8) or WS_OP_BINARY.
     * `data` is valid until return, and never NULL. RFC 6455 §6.2. */
    void (*on_message)(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len);

    /* After a send returned WS_QUEUED: the queue has fallen to half the high-water mark. */
    void (*on_drain)(struct ws_conn *c);

    /* The connection has ended, exactly once per on_open; no more can be sent, and `c` is freed
     * after return. `code` is the one of the peer's Close frame, else the one that we failed the
     * connection with, else 1006; 1005 for a Close without status. `reason` is UTF-8 without a NUL,
     * valid until return. RFC 6455 §7.1.5, §7.1.6. */
    void (*on_close)(struct ws_conn *c, unsigned code, const char *reason, size_t reason_len);

    size_t max_message;              /* bytes of a message or request body; 0: the server's */
    const char *const *subprotocols; /* in order of preference, ends with NULL; borrowed for good */
    const char *const *origins;      /* as in ws_options, which holds where this is NULL */
    bool local_files;                /* allow "Origin: file://", too. Clients on small devices send
                                        it, and WebViews of old Androids for pages of their app. But
                                        there a page that was saved to a file sends it as well, with
                                        the user's cookies; today's browsers send null */
    /* Asked about the origin of a handshake that is neither listed nor the server's own host:
     * `origin` is what the client sent, any printable text. It may call no function that takes a
     * connection. NULL: such a handshake is refused. RFC 6455 §10.2 */
    bool (*allow_origin)(void *user, struct ws_str origin);
    void *user; /* for ws_user(), and for the function above */
};

/* Serve paths that begin with `prefix` (plain comparison; the longest prefix wins, of equal ones
 * the later one). Both arguments are copied. Connections keep the handlers they began with. Paths
 * without an endpoint get 404.
 *
 * The prefix "*" is for the request OPTIONS *, which asks about the server as a whole and has "*"
 * as its path; without such an endpoint it gets 204. RFC 9110 §9.3.7, RFC 9112 §3.2.4
 *
 * Returns 0, WS_ERR_NOMEM, or WS_ERR_INVALID for any other prefix that does not begin with '/', and
 * for an origin that has a fault or a subprotocol that is no token (RFC 9110 §5.6.2), which the log
 * names. */
int ws_server_handle(struct ws_server *s, const char *prefix, const struct ws_handlers *handlers);

/* --- requests --------------------------------------------------------------------------------- */

/* One header field, RFC 9110 §5: a token, and a value without white space around it. */
struct ws_header {
    struct ws_str name;
    struct ws_str value;
};

/* All that these return is valid as long as `req`. RFC 9112 §3.2, RFC 3986 §3.3, §3.4. */

struct ws_str ws_request_method(const struct ws_request *req);
/* Percent-encoded, without the query. */
struct ws_str ws_request_path(const struct ws_request *req);
struct ws_str ws_request_query(const struct ws_request *req); /* behind the '?', else empty */
/* The value of `name` in a query such as "a=1&name=x", still percent-encoded; the first one. data
 * is NULL when there is none. */
struct ws_str ws_request_query_value(const struct ws_request *req, const char *name);
struct ws_str ws_request_body(const struct ws_request *req); /* decoded; in on_request alone */
/* The first field of that name in any case; data is NULL when there is none. */
struct ws_str ws_request_header(const struct ws_request *req, const char *name);
/* Field number `index`; false behind the last one. */
bool ws_request_header_at(const struct ws_request *req, size_t index, struct ws_header *header);

/* Answer the request of `c`, or refuse its upgrade. Content-Length, Date and Connection are added;
 * everything is copied. Responses leave in the order of their requests.
 *
 *   status          200 to 599; 204 and 304 are sent without a body
 *   headers, count  more fields, or NULL and 0
 *   body, len       bytes; left out where the method is HEAD
 *
 * Returns WS_SENT or WS_QUEUED, else nothing was sent: WS_ERR_CLOSED when no request is open, and
 * then on_abort does not follow; WS_ERR_INVALID, after which another try is allowed, for a status
 * or a header that is not legal, for a header that says where the response ends (Content-Length,
 * Transfer-Encoding, Connection), or for more than 16 KiB of head; WS_ERR_FULL or WS_ERR_NOMEM,
 * with which the connection ends.
 * RFC 9110 §15, RFC 9112 §4 to §6. */
int ws_respond(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
               const void *body, size_t len);

/* The same with a body in `pieces` pieces, which is sent as if they lay behind one another. */
int ws_respond_pieces(struct ws_conn *c, int status, const struct ws_header *headers, size_t count,
                      const struct ws_str *body, size_t pieces);

/* In on_head and on_upgrade: decide about this request later. It is kept, and comes again to the
 * same callback when ws_retry() has been called, as if it had just come, with ws_data() as it was;
 * meanwhile no time runs out for the client. Each costs a connection of max_clients until then, so
 * see to it that an answer comes. on_abort tells that `c` ends before that, or that the server
 * refuses the request now, as when it stops. Returns 0, or WS_ERR_CLOSED outside these callbacks or
 * after an answer. */
int ws_defer(struct ws_conn *c);
/* The callback follows, never from inside this call. WS_ERR_CLOSED for a connection that does not
 * wait for it. */
int ws_retry(struct ws_conn *c);

/* In on_upgrade: accept, with `subprotocol` (one that the client offered, or NULL for none) and
 * more headers in the 101; copied before return. Returns 0, WS_ERR_INVALID for a subprotocol that
 * was not offered or for a header as in ws_respond(), WS_ERR_CLOSED outside on_upgrade,
 * WS_ERR_FULL, WS_ERR_NOMEM. RFC 6455 §4.2.2 */
int ws_accept(struct ws_conn *c, const char *subprotocol, const struct ws_header *headers,
              size_t count);

/* --- hand-over -------------------------------------------------------------------------------- */

/* In on_head and on_upgrade of `c`: take the connection out of this server, to give it to another
 * one, which may be in another process (SCM_RIGHTS of unix(7)). The request is not answered here;
 * `c` ends when the callback returns, without another callback for it.
 *
 *   bytes   filled in: what was received of the connection, in two pieces of which the first may be
 *           empty: a header of the PROXY protocol, where the peer has to send one; then the head of
 *           the request in hand and all that came behind it. Valid until the callback returns
 *
 * Returns the descriptor, which is the caller's: non-blocking, close-on-exec, in no epoll. Else the
 * request is still to be answered here: WS_ERR_CLOSED for another connection or callback, after an
 * answer, or when the connection is lost; WS_ERR_FULL while the peer has not read the responses to
 * requests that it sent in front of this one. */
int ws_detach(struct ws_conn *c, struct ws_str bytes[2]);

/* Serve `fd`, a connected stream socket, as if it had been accepted here and `bytes[0..len)` had
 * been received of it. `fd` is the server's from now on, whatever is returned; `bytes` is copied,
 * and counts in max_memory. All limits hold as for a client that was accepted; the names that are
 * answered (ws_options.hosts) are those of the listening socket of this server that has its local
 * address. No callback is called inside this one.
 *
 * Returns 0; WS_ERR_FULL, then the client gets 503 or 429 for max_clients or max_per_ip;
 * WS_ERR_NOMEM, WS_ERR_CLOSED when the server has stopped, or WS_ERR_SYSTEM with errno, as when the
 * client has gone: then it is closed. */
int ws_adopt(struct ws_server *s, int fd, const void *bytes, size_t len);

/* --- connections ------------------------------------------------------------------------------ */

/* Bytes over max_queue that may be sent to one peer in one turn. */
enum { WS_BURST_MAX = 16 * 1024 * 1024 };

/* Send one message. All that is sent to a connection in one turn leaves in one system call.
 *
 *   opcode      WS_OP_TEXT (the caller guarantees UTF-8) or WS_OP_BINARY
 *   data, len   `len` bytes, copied before return; may be NULL and 0
 *
 * How much may be sent from one callback? What the socket takes, max_queue, and WS_BURST_MAX more;
 * or one message of any size. Memory must be there for it, see ws_account_new(). Whether the peer
 * is a slow reader is judged by what is still unsent of earlier turns of the loop: that and this
 * message must be within max_queue. To send more, wait for on_drain.
 *
 * Returns WS_SENT or WS_QUEUED, which is not yet delivered; else nothing was queued: WS_ERR_CLOSED,
 * WS_ERR_FULL, WS_ERR_NOMEM, or WS_ERR_INVALID for another opcode. RFC 6455 §5.6, §6.1 */
int ws_send(struct ws_conn *c, enum ws_opcode opcode, const void *data, size_t len);

/* Send a ping with `len` <= 125 bytes, copied. The server pings silent peers by itself. Returns as
 * ws_send(), WS_ERR_INVALID for more bytes. RFC 6455 §5.5.2 */
int ws_ping(struct ws_conn *c, const void *data, size_t len);

/* Begin the closing handshake: what was sent before is still delivered, what comes from now on is
 * discarded. `code` 0 sends a Close without status and reason; `reason` is UTF-8 or NULL, cut at
 * 123 bytes, copied. on_close follows, never from inside this call. Returns 0, WS_ERR_CLOSED,
 * WS_ERR_INVALID (a code that must not be sent), WS_ERR_NOMEM. RFC 6455 §7.1.2 */
int ws_close(struct ws_conn *c, unsigned code, const char *reason);

/* Read nothing more from the peer for now, and hand over nothing of what was read: no message, no
 * request, no body of a request whose head is there. For an application that works more slowly than
 * the peer sends: the peer has to wait. Meanwhile the peer is neither pinged nor late. When both
 * sides are shut down, or reset, this is noticed at once and ends the pause; the peer's FIN alone
 * is noticed when reading goes on. */
void ws_pause(struct ws_conn *c);
void ws_resume(struct ws_conn *c);

void ws_set_data(struct ws_conn *c, void *data); /* yours; NULL at first; never freed */
void *ws_data(const struct ws_conn *c);
void *ws_user(const struct ws_conn *c); /* the endpoint's user pointer */
struct ws_server *ws_conn_server(const struct ws_conn *c);
uint64_t ws_conn_id(const struct ws_conn *c);                         /* from 1, never reused */
struct ws_conn *ws_conn_find(const struct ws_server *s, uint64_t id); /* an open one, or NULL */
size_t ws_conn_queued(const struct ws_conn *c);                       /* unsent bytes */
/* Unsent bytes that were queued before this turn of the loop: the peer was slow to read them. */
size_t ws_conn_backlog(const struct ws_conn *c);

/* Write the address of the client, "127.0.0.1:5000", "[::1]:5000" or "unix", and a NUL; returns
 * `out`. It is the peer's; behind a trusted proxy it is the one that the proxy names for the
 * request that is being handled, "192.0.2.1" or "2001:db8::1" where it names no port. "gone" when
 * it has none any more. Costs a system call where it is the peer's. */
enum { WS_ADDRESS_SIZE = 64 };
const char *ws_conn_address(const struct ws_conn *c, char out[WS_ADDRESS_SIZE]);

/* The client's host as a number: its IPv4 address, or the first 64 bits of its IPv6 address, for a
 * user of one address of such a prefix commonly has all of them. False where there is no host, as
 * behind a Unix socket, or for a request that a trusted proxy names no client for. */
bool ws_conn_host(const struct ws_conn *c, uint64_t *host);

/* --- rooms ------------------------------------------------------------------------------------ */

/* A room exists while it has a member. Joining twice has the effect of joining once. In on_close
 * `c` is still in its rooms, and leaves them after it. Names are any bytes, copied. Returns 0,
 * WS_ERR_CLOSED, WS_ERR_FULL (max_memory) or WS_ERR_NOMEM. */
int ws_join(struct ws_conn *c, struct ws_str room);
void ws_leave(struct ws_conn *c, struct ws_str room); /* no effect when `c` is not in it */

/* Room number `index` of `c`, the latest first; data is NULL behind the last one. Valid until `c`
 * leaves it. */
struct ws_str ws_conn_room(const struct ws_conn *c, size_t index);

/* Send one message to all members of `room` except `except` (or NULL). It is encoded once. A
 * recipient whose queue would pass max_queue (see ws_send()) is closed with 1013; the others never
 * wait for it. Arguments as in ws_send(). Returns how many recipients it was queued for; or
 * WS_ERR_INVALID, WS_ERR_FULL, WS_ERR_NOMEM, and then nothing was sent. */
ptrdiff_t ws_publish(struct ws_server *s, struct ws_str room, const struct ws_conn *except,
                     enum ws_opcode opcode, const void *data, size_t len);

/* The same to every open connection of the server, whatever its endpoint. */
ptrdiff_t ws_broadcast(struct ws_server *s, const struct ws_conn *except, enum ws_opcode opcode,
                       const void *data, size_t len);

/* The same two, but no relay is told of it. */
ptrdiff_t ws_publish_local(struct ws_server *s, struct ws_str room, const struct ws_conn *except,
                           enum ws_opcode opcode, const void *data, size_t len);
ptrdiff_t ws_broadcast_local(struct ws_server *s, const struct ws_conn *except,
                             enum ws_opcode opcode, const void *data, size_t len);

/* What carries messages on to members on other servers, and theirs here by the two calls above:
 * cluster/ws_cluster.h is one. It is called from inside the calls that it is about, and may call no
 * function that takes a connection, joins or publishes. What it gets is valid until return. */
struct ws_relay {
    /* A message was published, `room` NULL: broadcast, to the members here. */
    void (*publish)(void *arg, const struct ws_str *room, enum ws_opcode opcode, const void *data,
                    size_t len);
    /* A room gets its first member here; false: it cannot, and ws_join() returns WS_ERR_NOMEM. */
    bool (*room_begins)(void *arg, struct ws_str room);
    void (*room_ends)(void *arg, struct ws_str room); /* the last one has left */
    void *arg;
};

/* From now on `relay`, which is copied, is called, first with the rooms that there are. For the one
 * before all rooms end. NULL: none. Returns 0, or WS_ERR_NOMEM where it refuses a room, and then
 * nothing has changed. */
int ws_set_relay(struct ws_server *s, const struct ws_relay *relay);

/* One message, encoded once, for many recipients that are not a room. Arguments as in ws_send().
 * NULL when out of memory (malloc or max_memory) or for an opcode that is not WS_OP_TEXT or
 * WS_OP_BINARY. Release it with ws_release_prepared(), before ws_server_free(). */
struct ws_prepared *ws_prepare(struct ws_server *s, enum ws_opcode opcode, const void *data,
                               size_t len);

/* Send it like ws_send(), but without a copy: `c` keeps the bytes as long as it needs them, also
 * after ws_release_prepared(). Returns as ws_send(). */
int ws_send_prepared(struct ws_conn *c, const struct ws_prepared *m);
void ws_release_prepared(struct ws_prepared *m); /* NULL is allowed */

/* --- services --------------------------------------------------------------------------------- */

/* "TEXT", "CLOSE", ... for an opcode of RFC 6455 §5.2, "?" for a reserved one. */
const char *ws_opcode_name(enum ws_opcode opcode);

/* Functions of the core that protocols on top of it need as well. Base64 is RFC 4648 §4: encoding
 * writes WS_BASE64_SIZE(len) characters and no NUL; decoding is strict, writes at most len / 4 * 3
 * bytes, allows `out` to be `text` itself, and returns their number, or WS_ERR_INVALID. */
#define WS_BASE64_SIZE(n) (((n) + 2) / 3 * 4)
size_t ws_base64_encode(char *out, const void *data, size_t len);
ptrdiff_t ws_base64_decode(void *out, const char *text, size_t len);

/* Is `origin`, the value of an Origin field, on this list, which is as in ws_options? NULL is an
 * empty list; without a field (data NULL) only "*" allows it. */
bool ws_origin_allowed(struct ws_str origin, const char *const *origins);

/* Why `origin` as an item of such a list would match no field that is ever sent, or other fields
 * than intended; NULL when it is fine. The text is constant. */
const char *ws_origin_fault(const char *origin);

/* The same for an item of ws_options.hosts. */
const char *ws_host_fault(const char *host);
/* And of ws_options.trust_proxy. */
const char *ws_proxy_fault(const char *proxy);

/* Is this a whole UTF-8 text? RFC 3629 */
bool ws_utf8_valid(const void *text, size_t len);

/* Fill `out[0..len)` with unpredictable bytes, for keys and ids. Does not wait once a server has
 * been made: ws_server_new() waits for the system to have such bytes. Returns 0, or WS_ERR_SYSTEM
 * where it has none, with errno. */
int ws_random(void *out, size_t len);

/* SipHash-1-3 of `data[0..len)`: the hash for a table whose names a peer chooses. `key` is the
 * table's secret, from ws_random(). */
enum { WS_SIPHASH_KEY_SIZE = 16 };
uint64_t ws_siphash(const uint8_t key[WS_SIPHASH_KEY_SIZE], const void *data, size_t len);

/* --- memory ----------------------------------------------------------------------------------- */

/* Whatever an application keeps because a peer asked for it should count in max_memory, for nothing
 * else bounds it. An account counts what is kept for one peer, or for one thing that peers open: it
 * may hold half as much as is left of max_memory to all, and the accounts of one address (IPv4, or
 * a /64 of IPv6) together as much. The last 1/16 of max_memory is for blocks under 1 KiB.
 *
 * A new account for the peer of `c`, valid also when `c` has ended; or, where `c` is NULL, for
 * memory of no single peer, such as a message for many: there is no share for that. One reference
 * is the caller's. NULL when out of memory. */
struct ws_account *ws_account_new(struct ws_server *s, const struct ws_conn *c);
struct ws_account *ws_account_keep(struct ws_account *a); /* one reference more; returns `a` */
void ws_account_release(struct ws_account *a); /* one less; before the last one is released all of
                                                  its memory must have been freed; NULL is
                                                  allowed */

/* A block of `size` bytes (not 0), all zero, that counts in `a`; NULL when there is no memory, as
 * for any block after ws_server_free(). It is freed by ws_account_give(), also then. */
void *ws_account_take(struct ws_account *a, size_t size);
/* Make the block `p` of `size` bytes (NULL and 0: a new one) one of `new_size`. Its content stays,
 * what is new is not cleared. NULL when there is no memory, and then nothing has changed. */
void *ws_account_resize(struct ws_account *a, void *p, size_t size, size_t new_size);
void ws_account_give(struct ws_account *a, void *p, size_t size); /* NULL is allowed for `p` */

/* --- the loop --------------------------------------------------------------------------------- */

/* Milliseconds that rise, from an unknown start (CLOCK_MONOTONIC); the same throughout one turn of
 * the loop. */
uint64_t ws_now_ms(struct ws_server *s);

/* How many turns the loop has begun. */
uint64_t ws_server_turn(const struct ws_server *s);

/* A turn serves many connections, so each has a share of it, some milliseconds: where one message
 * or request after another of the same peer uses that up, the others of the peer wait for the next
 * turn. Code that does many things in one callback can ask whether its share is used up, and go on
 * in a ws_timer_start() of 0 ms. `deliveries`: messages that it has queued since it asked last,
 * except those of ws_publish(), ws_broadcast() and ws_send_prepared(), which count by
 * themselves. */
bool ws_turn_over(struct ws_server *s, size_t deliveries);

/* Run fn(arg) on the loop, never inside this call. Allowed in any thread. Posts run in the order
 * they were made; those that have not run when the server is freed are dropped. Returns 0 or
 * WS_ERR_NOMEM. */
int ws_post(struct ws_server *s, void (*fn)(void *arg), void *arg);

/* Call fn(arg) once, `delay_ms` from now, never inside this call. The handle ends when fn is
 * called, by ws_timer_cancel(), or with the server, which then does not call fn. NULL when out of
 * memory. */
struct ws_timer *ws_timer_start(struct ws_server *s, unsigned delay_ms, void (*fn)(void *arg),
                                void *arg);
void ws_timer_cancel(struct ws_timer *t); /* NULL is allowed */

/* A timer for more than one time, which ends by ws_timer_cancel() or with the server. Its memory
 * counts in `a`, which must live longer; NULL: in no account. NULL when out of memory; setting it
 * never fails. Setting one that is set moves it. */
struct ws_timer *ws_timer_new(struct ws_server *s, struct ws_account *a, void (*fn)(void *arg),
                              void *arg);
void ws_timer_set(struct ws_timer *t, unsigned delay_ms); /* from now, to call fn(arg) once */
void ws_timer_stop(struct ws_timer *t);

/* Call fn(arg, ready) whenever `fd` has one of `events` (EPOLLIN, EPOLLOUT of <sys/epoll.h>), or
 * EPOLLERR or EPOLLHUP. `fd` stays yours. A second call for the same fd changes it; events 0 ends
 * it, which must come before close(fd): else it returns WS_ERR_SYSTEM, and where a duplicate of the
 * descriptor is open the loop cannot sleep while that is ready. Returns 0, WS_ERR_NOMEM or
 * WS_ERR_SYSTEM. */
int ws_watch(struct ws_server *s, int fd, uint32_t events, void (*fn)(void *arg, uint32_t ready),
             void *arg);

#ifdef __cplusplus
}
#endif

#endif
