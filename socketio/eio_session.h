/* SPDX-License-Identifier: MIT
 *
 * A session and the server it lives in: what the files of Engine.IO share, and nobody else.
 *
 *   engineio.c     the server: requests and connections in, sessions found or made
 *   eio_session.c  the life of a session: heartbeat, input, upgrade, the end
 *   eio_post.c     the POST of a session on polling
 *   eio_output.c   what leaves it, on either transport
 *   eio_queue.c    what has to be fetched on polling
 *   eio_packet.c   messages for many sessions
 *   eio_http.c     the HTTP side, without sessions
 *   eio_codec.c    packets and payloads
 *   eio_host_sessions.c  how many sessions each host has
 *
 * A session is on one of two transports. On polling it has no connection of its own: it owns a
 * queue, and now and then a GET that is held until there is something to say, and a POST, which is
 * under way from its head on. Its body is not read while the client leaves much of the queue
 * unread; and where its packets are too much work for one turn, some of them wait for the next. On
 * a WebSocket it has that, and the queue is the connection's own. A client may move from the first
 * to the second:
 *
 *   polling --> probe       a WebSocket has asked for the session
 *           --> upgrading   it has sent "2probe": we hold no request any more
 *           --> WebSocket   it has sent "5"
 *
 * and is back on polling alone when the probe goes, or takes too long. Meanwhile a session lives:
 *
 *   open --> lingering --> over    eio_close() while something is queued, or no GET is held: it has
 *                                  `ended`, and is still `known` to those who fetch the last words,
 *                                  unless the queue `overflowed`
 *   open ----------------> over    any other end. Not `known` any more; freed after on_close
 *
 * Functions of the API never call back and never free: they mark the session, and so does
 * eio_session_end(). Marked sessions are settled when the outermost callback from ws.h returns
 * (eio_leave), or by a ws_post() when it all began outside: held requests are answered, on_close is
 * called, memory is freed. */
#ifndef SOCKETIO_EIO_SESSION_H
#define SOCKETIO_EIO_SESSION_H

#include "eio_codec.h"
#include "eio_host_sessions.h"
#include "eio_http.h"
#include "eio_packet.h"
#include "eio_queue.h"
#include "name_table.h"
#include "settle.h"

/* What a request or a message touches comes first. */
struct eio_session {
    struct name_entry entry; /* in the table of ids, while `known`; first, as the table wants it */
    struct eio_server *server;
    struct settle_item mark; /* in server->marked */
    char id[EIO_ID_SIZE];
    uint8_t reason;       /* enum eio_reason, once `ended` */
    bool known : 1;       /* requests find it by its id */
    bool ended : 1;       /* nothing goes in or out any more, but for what was queued */
    bool report_owed : 1; /* on_open was called and on_close was not */
    bool on_websocket : 1;
    bool upgrading : 1;  /* `probe` was answered: no request is held any more */
    bool uploading : 1;  /* the body of `post` is still to come */
    bool waiting : 1;    /* and is not read for now */
    bool working : 1;    /* a packet of it is being handed over */
    bool no_binary : 1;  /* the WebSocket that carries it, or `probe`, takes base64 alone */
    bool drain_owed : 1; /* a send returned WS_QUEUED */
    bool overflowed : 1; /* a message did not fit behind what is queued */
    bool pinged : 1;     /* a pong is awaited */
    bool extended : 1;   /* and something else has come, which bought it more time once */

    /* What carries it: */
    struct ws_conn *ws;    /* NULL on polling, and after the end */
    struct eio_asker get;  /* the GET that is held */
    struct eio_asker post; /* the POST that is under way */
    char *rest;            /* its packets that wait for the next turn */
    size_t rest_size;
    size_t rest_at;         /* as many bytes of them are done */
    struct eio_queue queue; /* on polling: the payload that waits */
    size_t backlog;         /* as much of it was there before the turn `turn` of the loop */
    uint64_t turn;
    struct ws_conn *probe; /* a WebSocket that wants to take over from polling */

    struct ws_timer *heartbeat; /* to the next ping; or to the last moment for the pong; or, after
                                   the end, to when nobody comes any more for the last words */
    struct ws_timer *upgrade_timer;
    struct ws_timer *connect_timer;
    struct ws_timer *post_timer; /* to the next turn for `rest`; or until a POST waits no more */
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
    struct ws_account *account; /* of what is kept for nobody in particular */
    struct eio_session *first;
    struct eio_session *last;
    struct settle_list marked; /* sessions to settle */
    struct eio_host_sessions host_sessions;
    bool closing;
};

/* --- engineio.c ------------------------------------------------------------------------------- */

/* Around every callback from ws.h. The outermost eio_leave() settles what was marked. */
void eio_enter(struct eio_server *e);
void eio_leave(struct eio_server *e);

/* List the session and make it findable. False, and neither is done, when out of memory. */
bool eio_server_add(struct eio_server *e, struct eio_session *s);
void eio_server_forget(struct eio_session *s); /* not findable any more; twice is once */
void eio_server_remove(struct eio_session *s); /* not listed any more; it is about to be freed */

/* --- eio_session.c ---------------------------------------------------------------------------- */

/* A session of the peer of `c` with a new id, whose first ping is on its way. NULL: no room for
 * it. */
struct eio_session *eio_session_new(struct eio_server *e, const struct eio_request *r,
                                    const struct ws_conn *c);

/* Write the open packet; returns its length. */
enum { EIO_OPEN_PACKET_SIZE = 192 };
size_t eio_session_open_packet(const struct eio_session *s, char out[EIO_OPEN_PACKET_SIZE]);

/* The open packet has been sent: tell the application. */
void eio_session_opened(struct eio_session *s, const struct eio_handshake *h);

/* It is over, now. Whoever waits for an answer gets one, what is queued is dropped. */
void eio_session_end(struct eio_session *s, enum eio_reason reason);

void eio_session_mark(struct eio_session *s);   /* to be settled; twice is once */
void eio_session_settle(struct eio_session *s); /* may free it */
void eio_session_free(struct eio_session *s);
void eio_session_report(struct eio_session *s); /* on_close, when it is owed */

/* A packet has come. `checked`: its text is known to be UTF-8. */
void eio_session_packet(struct eio_session *s, struct ws_str packet, bool checked);
void eio_session_binary(struct eio_session *s, const void *data, size_t len);

/* A GET of this session has come. It is answered now or held. */
void eio_session_poll(struct eio_session *s, const struct eio_asker *to);

/* The client has left a request of this session. */
void eio_session_abandoned(struct eio_session *s, const struct ws_conn *c);

/* Keep `to` in `place`, for an answer later. */
void eio_session_hold(struct eio_session *s, struct eio_asker *place, const struct eio_asker *to);

/* A WebSocket carries the session from the start. */
void eio_session_carry(struct eio_session *s, struct ws_conn *c);

/* A WebSocket wants to take over; it has spoken; it has gone or is sent away. */
bool eio_session_probe(struct eio_session *s, struct ws_conn *c, const struct eio_request *r);
void eio_session_probed(struct eio_session *s, enum ws_opcode opcode, struct ws_str packet);
void eio_session_unprobe(struct eio_session *s);

/* --- eio_post.c ------------------------------------------------------------------------------- */

/* The head of a POST has come: it is under way from now on, or answered with 400. Then its body has
 * come. */
void eio_post_admit(struct eio_session *s, const struct eio_asker *to,
                    const struct ws_request *req);
void eio_post_come(struct eio_session *s, struct ws_str payload);
void eio_post_read(struct eio_session *s); /* its body, if it waits */
/* The client has left it. True: there is nothing of it that is still to be heard. */
bool eio_post_left(struct eio_session *s);
void eio_post_drop(struct eio_session *s); /* nothing more of it is heard */

/* --- eio_output.c ----------------------------------------------------------------------------- */

/* All that is queued, to the WebSocket, or to the GET that is held: there must be one. A failure
 * ends the session. Returns as ws_send(). */
int eio_output_flush(struct eio_session *s);
void eio_output_drop(struct eio_session *s); /* what is queued */
void eio_output_ping(struct eio_session *s);

/* Answer the request if there is one: the GET with `payload`, the POST whose body has come with
 * "ok". */
void eio_output_answer_get(struct eio_session *s, const char *payload);
void eio_output_answer_post(struct eio_session *s);

/* The POST whose body is coming will not be read: it gets `status`. Or the session ends: the POST
 * is answered in any case, and one that was not read cannot be "ok". */
void eio_output_refuse_post(struct eio_session *s, int status);
void eio_output_end_post(struct eio_session *s);

/* The end of a callback for a session on polling: what has gathered leaves, and if the client has
 * read enough of it, its POST is read. */
void eio_output_settle(struct eio_session *s);
/* The output has fallen low enough: call on_drain, if it is owed. */
void eio_output_drained(struct eio_session *s);

#endif
