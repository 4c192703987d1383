/* SPDX-License-Identifier: MIT
 *
 * The server and its sessions as data, for the files of Engine.IO and no others. Each of them calls
 * only those below it:
 *
 *   engineio.c      requests and connections in, sessions found or made
 *   eio_post.c      the POST of a session on polling
 *   eio_session.c   the life of a session: heartbeat, input, upgrade, the end
 *   eio_output.c    what leaves it, on either transport
 *   eio_server.c    the list of sessions, and which of them are marked
 *   eio_packet.c    messages for many sessions
 *   eio_queue.c     what has to be fetched on polling
 *   eio_http.c      the HTTP side, without sessions
 *   eio_codec.c     packets and payloads
 *   eio_host_sessions.c   how many sessions each host has
 *
 * A session is on one of two transports. On polling it has no connection of its own: it owns a
 * queue, and now and then a GET that is held until a packet is queued, and a POST, which is
 * under way from its head on. Its body is not read while the client leaves much of the queue
 * unread; and where its packets are too much work for one turn, some of them wait for the next. On
 * a WebSocket it has this connection, and the connection's queue is used. A client may move from
 * the first to the second:
 *
 *   polling --> probe       a WebSocket has asked for the session
 *           --> upgrading   it has sent "2probe": we hold no request any more
 *           --> WebSocket   it has sent "5"
 *
 * and is back on polling alone when the probe goes, or takes too long. Meanwhile a session lives:
 *
 *   open --> lingering --> over    eio_close() while something is queued, or no GET is held: it has
 *                                  `ended`, and is still `known` to a client that fetches what is
 *                                  queued, unless the queue `overflowed`
 *   open ----------------> over    any other end. Not `known` any more; freed after on_close
 *
 * Functions of the API never call back and never free: they mark the session, and so does
 * eio_session_end(). Marked sessions are settled when the outermost callback from ws.h returns
 * (eio_leave), or by a ws_post() when it all began outside: held requests are answered, on_close is
 * called, memory is freed. */
#ifndef SOCKETIO_EIO_SERVER_H
#define SOCKETIO_EIO_SERVER_H

#include "eio_host_sessions.h"
#include "eio_http.h"
#include "eio_queue.h"
#include "engineio.h"
#include "name_table.h"
#include "settle.h"

/* What a request or a message touches comes first. */
struct eio_session {
    struct name_entry entry; /* in server->sessions, while `known`; first, as the table wants it */
    struct eio_server *server;
    struct settle_item mark; /* in server->marked */
    char id[EIO_ID_SIZE];

    uint8_t reason;       /* enum eio_reason, once `ended` */
    bool known : 1;       /* requests find it by its id */
    bool ended : 1;       /* nothing goes in or out any more, but for what was queued */
    bool report_owed : 1; /* from on_open until on_close */

    bool on_websocket : 1;
    bool no_binary : 1; /* the WebSocket that carries it, or `probe`, takes base64 alone */
    bool upgrading : 1; /* from the answer to `probe` until it carries the session or is given up:
                           no request is held */

    bool uploading : 1; /* `post`: from its head until its body has come */
    bool waiting : 1;   /* and meanwhile its connection is paused */
    bool working : 1;   /* while its packets are handed over: until that returns the POST is not
                           answered and `rest` is not freed, whatever ends the session */

    bool drain_owed : 1; /* from a send that returned WS_QUEUED until on_drain */
    bool overflowed : 1; /* from a message that did not fit until the queue is dropped */

    bool pinged : 1;   /* from a ping until its pong */
    bool extended : 1; /* something else has come since that ping, so the pong got more time once */

    /* What carries it: */
    struct ws_conn *ws;    /* NULL on polling, and after the end */
    struct eio_asker get;  /* the GET that is held, until it is answered or abandoned */
    struct eio_asker post; /* the POST that is under way, from its head until the same */
    char *rest;            /* packets of it that wait for the next turn, until all are done */
    size_t rest_size;
    size_t rest_at;         /* as many bytes of them are done */
    struct eio_queue queue; /* on polling: the payload that waits */
    size_t backlog;         /* as much of it was there before the turn `turn` of the loop */
    uint64_t turn;
    struct ws_conn *probe; /* a WebSocket that wants to take over from polling */

    struct ws_timer *heartbeat; /* to the next ping; or to the last moment for the pong; or, while
                                   lingering, to the last moment for a poll */
    struct ws_timer *upgrade_timer;
    struct ws_timer *connect_timer;
    struct ws_timer *post_timer; /* to the next turn for `rest`; or to the end of a POST's wait */
    struct ws_account *account;  /* of what is kept for it, this too */
    struct eio_host *host;       /* that it counts for; NULL: for none */
    struct eio_session *next;    /* of all sessions, in order of opening */
    struct eio_session *previous;
    void *data; /* the application's */
};

struct eio_server {
    struct ws_server *ws;       /* NULL once it may be gone */
    struct eio_options options; /* every default filled in */
    struct eio_handlers handlers;
    struct name_table sessions; /* by their ids */
    size_t session_count;       /* in memory, whatever their state */
    size_t open_count;          /* on_open was called, on_close was not */
    size_t websocket_count;     /* sessions that get frames */
    size_t text_count;          /* sessions that get messages, or binary ones at least, as text */
    size_t queued_count;        /* messages that were ever queued on polling */
    struct ws_account *account; /* of what belongs to no single session */
    struct eio_session *first;
    struct eio_session *last;
    struct settle_list marked;        /* sessions to settle */
    void (*settle_posted)(void *arg); /* settles them, when ws_post() calls it with the server */
    struct eio_host_sessions host_sessions;
    bool closing;
};

/* List the session and make it findable. False, and neither is done, when out of memory. */
bool eio_server_add(struct eio_server *e, struct eio_session *s);
void eio_server_forget(struct eio_session *s); /* not findable any more; twice is once */
void eio_server_remove(struct eio_session *s); /* not listed any more; it is about to be freed */

struct eio_session *eio_server_find(const struct eio_server *e, const char *id); /* or NULL */

void eio_server_mark(struct eio_session *s); /* to be settled; twice is once */

#endif
