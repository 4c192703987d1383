/* SPDX-License-Identifier: MIT
 *
 * The structs of the server and its sessions, shared by the files of Engine.IO and used by no
 * others. Each file calls only those below it:
 *
 *   engineio.c      takes requests and connections, finds or makes their sessions
 *   eio_post.c      the POST of a session on polling
 *   eio_session.c   a session: heartbeat, input, upgrade, the end
 *   eio_output.c    its output, on either transport
 *   eio_waits.c     handshakes about which the application decides later
 *   eio_server.c    the list of sessions, and which of them are marked
 *   eio_packet.c    messages for many sessions
 *   eio_queue.c     the output queue on polling
 *   eio_http.c      the HTTP side, without sessions
 *   eio_codec.c     packets and payloads
 *   eio_host_sessions.c   how many sessions each host has
 *
 * A session uses one of two transports. On polling it has a queue, and at times two requests: a GET
 * that is held until there is something to send, and a POST from its head on. The body of the POST
 * is not read while much of the queue is unread; and if its packets are too much work for one turn,
 * the rest waits for the next turn. On a WebSocket it has the WebSocket, whose connection has the
 * queue. A client may upgrade from the first to the second:
 *
 *   polling --> probe       a WebSocket has asked for the session
 *           --> upgrading   it has sent "2probe": no request is held any more
 *           --> WebSocket   it has sent "5"
 *
 * It is back on polling alone if the probe closes or takes too long. A session ends in one of two
 * ways:
 *
 *   open --> lingering --> over    eio_close() while something is queued, or no GET is held: it has
 *                                  `ended`, and is still `known` to a client that fetches what is
 *                                  queued, unless the queue `overflowed`
 *   open ----------------> over    any other end. Not `known` any more; freed after on_close
 *
 * Functions of the API never call back and never free: they mark the session, and so does
 * eio_session_end(). Marked sessions are settled when the outermost callback from ws.h returns
 * (eio_leave), or by a ws_post() if no callback runs: held requests are answered, on_close is
 * called, memory is freed. */
#ifndef SOCKETIO_EIO_SERVER_H
#define SOCKETIO_EIO_SERVER_H

#include "../cluster/name_table.h"
#include "eio_host_sessions.h"
#include "eio_http.h"
#include "eio_queue.h"
#include "engineio.h"
#include "settle.h"

/* The fields that each request or message uses come first. */
struct eio_session {
    struct name_entry entry; /* in server->sessions, while `known`; first member, so that an
                                entry can be cast to its session */
    struct eio_server *server;
    struct settle_item mark; /* in server->marked */
    char id[EIO_ID_SIZE];

    uint8_t reason;       /* enum eio_reason, once `ended` */
    bool known : 1;       /* requests find it by its id */
    bool ended : 1;       /* no input or output any more, except what was queued */
    bool report_owed : 1; /* from on_open until on_close */

    bool on_websocket : 1;
    bool no_binary : 1; /* the WebSocket (`ws` or `probe`) takes only base64 */
    bool upgrading : 1; /* from the answer to `probe` until it becomes `ws` or is closed: no
                           request is held */

    bool uploading : 1; /* `post`, from its head until its body has come */
    bool waiting : 1;   /* and its connection is paused meanwhile */
    bool working : 1;   /* while its packets are handled: meanwhile the POST is not answered and
                           `rest` is not freed, even if the session ends */

    bool drain_owed : 1; /* from a send that returned WS_QUEUED until on_drain */
    bool overflowed : 1; /* from a message that did not fit until the queue is dropped */

    bool pinged : 1;   /* from a ping until its pong */
    bool extended : 1; /* another packet has come since that ping, so the ping timeout was
                          started again, once */

    /* Its connections and requests: */
    struct ws_conn *ws;    /* NULL on polling, and after the end */
    struct eio_asker get;  /* the GET that is held, until it is answered or abandoned */
    struct eio_asker post; /* the POST, from its head until it is answered or abandoned */
    char *rest;            /* its packets that wait for the next turn, until all are handled */
    size_t rest_size;
    size_t rest_at;         /* bytes of `rest` that are handled */
    struct eio_queue queue; /* on polling: the payload that waits */
    size_t backlog;         /* bytes of it that were queued before the turn `turn` */
    uint64_t turn;
    struct ws_conn *probe; /* a WebSocket that wants to take over from polling */

    struct ws_timer *heartbeat; /* to the next ping; or to the ping timeout; or, while lingering,
                                   to the last moment for a poll */
    struct ws_timer *upgrade_timer;
    struct ws_timer *connect_timer;
    struct ws_timer *post_timer; /* to the next turn for `rest`; or to the end of the pause of a
                                    POST */
    struct ws_account *account;  /* memory kept for it, and this struct */
    struct eio_host *host;       /* for which it is counted; NULL: none */
    struct eio_session *next;    /* of all sessions, in order of opening */
    struct eio_session *previous;
    void *data; /* the application's */
};

enum { EIO_ID_BYTES = EIO_ID_LEN / 4 * 3 };

struct eio_server {
    struct ws_server *ws;       /* NULL once it may be gone */
    struct eio_options options; /* every default filled in */
    struct eio_handlers handlers;
    struct name_table sessions; /* by their ids */
    struct name_table waits;    /* handshakes that are not decided yet, by their connections */
    uint64_t last_wait;         /* number of the latest */
    bool wait_failed;           /* there was no memory for it */
    size_t session_count;       /* in memory, whatever their state */
    size_t open_count;          /* on_open was called, on_close was not */
    size_t websocket_count;     /* sessions that get frames */
    size_t text_count;          /* sessions that get all messages, or binary ones, as text */
    size_t queued_count;        /* messages that were queued on polling, since the start */
    struct ws_account *account; /* memory that belongs to no single session */
    struct eio_session *first;
    struct eio_session *last;
    struct settle_list marked;        /* sessions to settle */
    void (*settle_posted)(void *arg); /* settles them, when ws_post() calls it with the server, */
    struct ws_timer *settle_timer;    /* or this, where there was no memory for the post */
    struct eio_host_sessions host_sessions;
    unsigned char random[16 * EIO_ID_BYTES]; /* for ids, from the kernel */
    size_t random_left; /* of them, a multiple of EIO_ID_BYTES: random[0..left) */
    bool closing;
};

/* Add the session to the list and to the table of ids. False, and neither is done, when out of
 * memory. */
bool eio_server_add(struct eio_server *e, struct eio_session *s);
void eio_server_forget(
    struct eio_session *s); /* out of the table of ids; twice is the same as once */
void eio_server_remove(struct eio_session *s); /* out of the list, before it is freed */

/* Does the id say that its session is in another process, `*node`? */
bool eio_id_is_foreign(const struct eio_server *e, const char *id, unsigned *node);
struct eio_session *eio_server_find(const struct eio_server *e, const char *id); /* or NULL */

void eio_server_mark(struct eio_session *s); /* for settling; twice is the same as once */

#endif
