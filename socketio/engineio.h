/* SPDX-License-Identifier: MIT
 *
 * Engine.IO, protocol 4, on ws.h: sessions, each of which may use several connections. A session
 * begins on HTTP long polling or on a WebSocket, and may upgrade from the first to the second. It
 * carries messages, text or binary, in order and without loss, until either side ends it or the
 * heartbeat fails. Socket.IO (sio.h) is built on it. It can also be used alone:
 *
 *     static void echo(struct eio_session *s, enum ws_opcode op, const void *data, size_t len)
 *     {
 *         eio_send(s, op, data, len, 0);
 *     }
 *
 *     struct ws_server *ws = ws_server_new(&(struct ws_options){.port = 8080});
 *     struct eio_server *e = eio_server_new(ws, "/engine.io/", &(struct eio_options){0},
 *                                           &(struct eio_handlers){.on_message = echo});
 *     ws_server_run(ws);
 *     ws_server_free(ws);
 *     eio_server_free(e);
 *
 * The rules of ws.h hold here too. Everything runs on the loop's thread. Any function may be called
 * from any callback; none of them calls back, and none frees a session: a `struct eio_session *` is
 * valid from on_open until on_close returns. Functions return 0 or more on success, a WS_ERR_ below
 * 0 on failure.
 *
 * Left out on purpose: protocol 3 (refused with code 5), JSONP, WebTransport, compression of
 * responses. */
#ifndef SOCKETIO_ENGINEIO_H
#define SOCKETIO_ENGINEIO_H

#include "../ws.h"

#ifdef __cplusplus
extern "C" {
#endif

struct eio_server;
struct eio_session;
struct eio_packet;

/* --- server ----------------------------------------------------------------------------------- */

/* For eio_options.transports. */
enum eio_transport { EIO_POLLING = 1, EIO_WEBSOCKET = 2 };

/* All zero means the defaults of the reference. Borrowed until eio_server_new() returns, except the
 * lists and strings, which must live as long as the server. */
struct eio_options {
    unsigned ping_interval_ms;   /* from the open packet, or a pong, to the next ping; 0: 25 s */
    unsigned ping_timeout_ms;    /* for the pong to come; 0: 20 s */
    unsigned upgrade_timeout_ms; /* for a WebSocket to take over from polling; 0: 10 s */
    unsigned connect_timeout_ms; /* for the application to call eio_keep(); 0: no such limit */
    size_t max_payload;          /* bytes of one request body and of one message; 0: 1,000,000 */
    size_t max_output;           /* unsent bytes of one session, as ws_options.max_queue, which also
                                    holds on a WebSocket; see ws_send() about what is sent from
                                    one callback; 0: max_queue of the ws_server */
    size_t high_water;           /* unsent bytes on polling above which sends return WS_QUEUED, and
                                    the body of a POST is not read until the client has fetched
                                    half of it, for a second at most; 0: 64 KiB. On a WebSocket
                                    ws_options.high_water counts */
    size_t max_sessions;         /* on polling and WebSocket together; 0: twice the connections that
                                    the ws_server allows. Over it a handshake gets 503 */
    /* Sessions of one IPv4 address or IPv6 /64; 0: a third of those that are free under
     * max_sessions. Over it a handshake gets 503. Behind a proxy all clients have its address. */
    size_t max_sessions_per_host;
    unsigned transports; /* EIO_POLLING | EIO_WEBSOCKET; 0: both */
    bool no_upgrade;     /* sessions stay on the transport that they began with */

    /* CORS, and the browser origins that may open a WebSocket. NULL, and no function below: no CORS
     * headers; for WebSockets the origins of the ws_server hold, and "file://", which clients on
     * small devices send (see ws_handlers.local_files). A request from another origin is served,
     * but its page may not read the response. */
    const char *const *origins; /* as in ws_options, "https://example.org" or "*" for any */
    /* Asked about each origin that is not listed; with it CORS is on, also where `origins` is NULL.
     * For a WebSocket it is not asked about pages of the server's own host, which are allowed. It
     * may be called several times for a request, and answers at once. It may call no function that
     * takes a connection or a session. */
    bool (*allow_origin)(void *arg, struct ws_str origin);
    void *allow_origin_arg;
    const char *cors_methods;         /* NULL: "GET,HEAD,PUT,PATCH,POST,DELETE" */
    const char *cors_headers;         /* that a page may send; NULL: those that it asks for */
    const char *cors_exposed_headers; /* that a page may read; NULL: no others */
    bool cors_credentials;            /* pages may send cookies */
    unsigned cors_max_age_s;          /* of the response to a preflight; 0: left to the browser */

    /* Set-Cookie with the session id, in the answer to a handshake on polling. */
    const char *cookie;            /* its name; NULL: none */
    const char *cookie_attributes; /* NULL: "Path=/; HttpOnly; SameSite=Lax" */

    /* Where several processes serve one port, a request may land on another one than the one that
     * has its session. With this function ids say whose they are: `node` is the number of this
     * process, which no other one has. It is called for a request or an upgrade that names a
     * session of process `node`, and gives `c` to that one by ws_detach(). It returns 0; or
     * WS_ERR_CLOSED where there is no such process, and the client is told that there is no such
     * session; or another WS_ERR_, and the client gets 503. NULL: all sessions are here. */
    int (*hand_over)(void *arg, struct ws_conn *c, unsigned node);
    void *hand_over_arg;
    uint16_t node;

    void *user; /* for eio_user() */
};

/* The request that a session begins with. All of it is valid until the callback returns. */
struct eio_handshake {
    const struct ws_request *request; /* path, query, headers */
    const char *address;              /* of the peer, as ws_conn_address() writes it */
    struct ws_conn *conn;             /* that it came on */
};

/* Why a request was refused: the codes of the reference, which clients get, too. */
enum eio_error {
    EIO_OK = -1,
    EIO_UNKNOWN_TRANSPORT = 0,
    EIO_UNKNOWN_SID = 1,
    EIO_BAD_METHOD = 2, /* a handshake is a GET */
    EIO_BAD_REQUEST = 3,
    EIO_FORBIDDEN = 4, /* by on_handshake */
    EIO_UNSUPPORTED_PROTOCOL = 5
};

/* A request that is refused: the event "connection_error" of the reference. All of it is valid
 * until the callback returns. */
struct eio_connection_error {
    enum eio_error code;
    const char *message; /* of the code: "Session ID unknown" and so on */
    const char *name;    /* of a bad request: "TRANSPORT_MISMATCH" where the session has another
                            transport, "TRANSPORT_HANDSHAKE_ERROR" for a WebSocket that is none, or
                            where none is allowed, "PROTOCOL_MISMATCH"; else NULL */
    /* What is wrong, at most 256 bytes of it, any bytes: the transport (0, or 3 with a mismatch),
     * the sid (1), the method (2), the text of on_handshake (4), the protocol, which is EIO in the
     * query (5, or 3 with a mismatch); data NULL: there is none. */
    struct ws_str context;
    const struct ws_request *request;
    struct ws_conn *conn; /* for ws_conn_address() */
};

/* Why a session ended. The texts are those of the reference: applications show and compare them. */
enum eio_reason {
    EIO_TRANSPORT_CLOSE,     /* the client closed, or its connection was cut */
    EIO_TRANSPORT_ERROR,     /* it broke the rules of the transport */
    EIO_PING_TIMEOUT,        /* no pong in time */
    EIO_PARSE_ERROR,         /* not an Engine.IO packet */
    EIO_FORCED_CLOSE,        /* eio_close(), and the client could be told at once */
    EIO_FORCED_SERVER_CLOSE, /* eio_close() between two polls: the next poll tells the client */
    EIO_SHUTTING_DOWN        /* eio_server_close() */
};
const char *eio_reason_text(enum eio_reason reason); /* "transport close" and so on */

/* Callbacks. Each may be NULL. */
struct eio_handlers {
    /* May this client have a session? NULL accepts it; a text (UTF-8, valid until the next call)
     * refuses it: with 403 on polling, with 400 on a WebSocket. The text is the message of the
     * error, cut to 256 bytes on polling; "" means "Forbidden". To answer later, call
     * eio_decide_later(); then the result does not count. */
    const char *(*on_handshake)(struct eio_server *e, const struct eio_handshake *h);

    /* A request was refused with one of the codes. Not called where a limit is reached, which the
     * client learns by 503, nor where a WebSocket is refused for its Origin, which the log has. */
    void (*on_connection_error)(struct eio_server *e, const struct eio_connection_error *error);

    /* The open packet is sent. Messages that are sent from here come right after it. `h` is valid
     * until return. */
    void (*on_open)(struct eio_session *s, const struct eio_handshake *h);

    /* A message of `len` bytes, WS_OP_TEXT (already checked to be UTF-8) or WS_OP_BINARY. `data` is
     * valid until return. */
    void (*on_message)(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len);

    /* After a send returned WS_QUEUED: the output has fallen below half the high-water mark. */
    void (*on_drain)(struct eio_session *s);

    /* The session has ended, exactly once per on_open; `s` is freed after return. */
    void (*on_close)(struct eio_session *s, enum eio_reason reason);
};

/* Serve Engine.IO at paths that begin with `prefix`, which ends with '/' by custom ("/engine.io/").
 * The prefix and the two structs are copied. NULL when out of memory, or for a prefix or an origin
 * that ws_server_handle() does not take. eio_server_free() when done. */
struct eio_server *eio_server_new(struct ws_server *ws, const char *prefix,
                                  const struct eio_options *options,
                                  const struct eio_handlers *handlers);

/* End every session with EIO_SHUTTING_DOWN and accept no new ones. Unsent messages are discarded.
 * The clients are told at once; each on_close is called later. For a clean end call it before
 * ws_server_stop(). */
void eio_server_close(struct eio_server *e);

/* Call it after ws_server_free(), never before: until then connections may still call back. For
 * sessions that are left on_close is called from here; in it no function of ws.h may be called any
 * more. */
void eio_server_free(struct eio_server *e);

void *eio_user(const struct eio_server *e);
struct ws_server *eio_ws_server(const struct eio_server *e);
size_t eio_session_count(const struct eio_server *e); /* opened, and on_close still to come */

/* A handshake about which the application decides later. It may be copied. */
struct eio_decision {
    struct eio_server *server; /* NULL: it was decided, or there was no memory */
    uint64_t connection;
    uint64_t number;
};

/* In on_handshake: decide later by eio_decide(). Until then the client waits, without a time limit
 * but its own (20 s for clients of Socket.IO), so see to it that you decide. Without memory the
 * server of the result is NULL, and the client gets 503. */
struct eio_decision eio_decide_later(struct eio_server *e, const struct eio_handshake *h);

/* Decide, once, with what on_handshake would have returned; `refusal` is copied, and cut to 256
 * bytes. It sets d->server to NULL. Returns 0, or WS_ERR_CLOSED where it was decided or the client
 * has gone. Not after eio_server_free(). */
int eio_decide(struct eio_decision *d, const char *refusal);

/* --- sessions --------------------------------------------------------------------------------- */

enum {
    EIO_VOLATILE = 1, /* flag: drop it when it cannot leave at once, see eio_writable() */
    EIO_DROPPED = 2   /* result: a volatile message was dropped */
};

/* Send one message.
 *
 *   opcode      WS_OP_TEXT (UTF-8, which the caller must ensure; without the byte 0x1e, which
 *               separates packets on polling) or WS_OP_BINARY
 *   data, len   copied before return
 *   flags       0 or EIO_VOLATILE
 *
 * All messages sent to a session from one callback leave together. Returns WS_SENT, WS_QUEUED (over
 * the high-water mark: wait for on_drain), EIO_DROPPED; or an error, and nothing is sent:
 * WS_ERR_CLOSED, WS_ERR_FULL (max_output), WS_ERR_NOMEM (malloc or max_memory), WS_ERR_INVALID. */
int eio_send(struct eio_session *s, enum ws_opcode opcode, const void *data, size_t len,
             unsigned flags);

/* Would a volatile message be sent now? On polling: a GET is held and nothing is queued. On a
 * WebSocket: everything sent before has left. A message of several parts asks this once and then
 * sends all its parts without the flag. */
bool eio_writable(const struct eio_session *s);

/* End the session. Messages sent before are still delivered, except on polling to a client that has
 * read so little that a send failed. Input from the client is dropped from now on. The reason will
 * be EIO_FORCED_CLOSE, or EIO_FORCED_SERVER_CLOSE on polling while no GET is held. on_close is
 * called later, never from inside this call. A second call does nothing. */
void eio_close(struct eio_session *s);

/* The client has done what connect_timeout_ms waits for. */
void eio_keep(struct eio_session *s);

void eio_set_data(struct eio_session *s, void *data); /* yours; NULL at first; never freed */
void *eio_data(const struct eio_session *s);
struct eio_server *eio_session_server(const struct eio_session *s);
/* The account in which memory for this client is counted, see ws.h. For memory that may outlive the
 * session call ws_account_keep(). */
struct ws_account *eio_session_account(const struct eio_session *s);
bool eio_is_open(const struct eio_session *s); /* not closed by either side */
enum eio_transport eio_session_transport(const struct eio_session *s);
const char *eio_transport_name(enum eio_transport transport); /* "polling", "websocket" */
size_t eio_queued(const struct eio_session *s);               /* unsent bytes */

/* The session's id, NUL-terminated, valid as long as the session. It is a secret: a client that
 * sends it is treated as this session's client. */
const char *eio_session_id(const struct eio_session *s);

/* Walk the open sessions: eio_first(), then eio_next() until NULL. Sending and closing on the way
 * is allowed. */
struct eio_session *eio_first(const struct eio_server *e);
struct eio_session *eio_next(const struct eio_session *s);

/* --- broadcasts ------------------------------------------------------------------------------- */

/* A message for many sessions: encoded once for each transport, when the first session needs it.
 * `data` is copied. The caller has one reference, and must release it before ws_server_free(). NULL
 * when out of memory, or for a message for which eio_send() returns WS_ERR_INVALID. */
struct eio_packet *eio_packet_new(struct eio_server *e, enum ws_opcode opcode, const void *data,
                                  size_t len);

/* Encode it now for all transports that sessions use. False when out of memory: then send it to no
 * session, rather than to some. */
bool eio_packet_encode(struct eio_packet *p);

/* As eio_send(), results too. Many calls with one packet cost one encoding. The packet stays the
 * caller's. */
int eio_send_packet(struct eio_session *s, struct eio_packet *p, unsigned flags);

struct eio_packet *eio_packet_keep(struct eio_packet *p); /* one more reference; returns `p` */
void eio_packet_release(struct eio_packet *p);            /* one less; NULL is allowed */

/* --- services --------------------------------------------------------------------------------- */

/* A new id that cannot be guessed: 20 characters of base64url and a NUL. With
 * eio_options.hand_over the first two of its 15 bytes are the node, the others are random. False
 * when the system returns no random bytes. */
enum { EIO_ID_LEN = 20, EIO_ID_SIZE = EIO_ID_LEN + 1 };
bool eio_id_new(struct eio_server *e, char out[EIO_ID_SIZE]);

/* Take the next parameter off the query string `*rest`. Name and value are still encoded. False
 * when there is none left; empty ones ("&&") are passed over. */
bool eio_query_next(struct ws_str *rest, struct ws_str *name, struct ws_str *value);

/* Decode "%41" and '+'. A '%' without two hex digits is kept as it is. Returns the length, at most
 * raw.len; as much of it as fits into `size` is written. The result may contain any bytes, also NUL
 * and invalid UTF-8. */
size_t eio_query_decode(char *out, size_t size, struct ws_str raw);

/* Parameter `name`, the last one of that name, decoded. As much of it as fits `size` (at least 1)
 * is written, with a NUL. Returns its whole length, or -1 when there is none. */
ptrdiff_t eio_query_get(struct ws_str query, const char *name, char *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
