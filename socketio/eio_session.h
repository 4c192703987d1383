/* SPDX-License-Identifier: MIT
 *
 * The life of a session. engineio.c and eio_post.c call it with what comes in; it calls
 * eio_output.h with what goes out. What a session is, and what states it has, is in
 * eio_server.h. */
#ifndef SOCKETIO_EIO_SESSION_H
#define SOCKETIO_EIO_SESSION_H

#include "eio_server.h"

/* Around every callback from ws.h, and around every timer of a session. Calls may be nested: only
 * the outermost eio_leave() settles, all sessions that are marked, also those that are marked
 * meanwhile. For each of them, in this order:
 *
 *   1. on polling, what is queued answers the GET that is held
 *   2. on polling, a POST that was paused goes on, if little is queued; it calls on_message later
 *   3. on_drain, if it is owed and little is queued
 *   4. on_close, if the session has ended
 *   5. the session is freed, if it has ended, no request can find it, and it was not marked again
 *
 * So no pointer to a session is valid after eio_leave(), unless the session is known to be open.
 * What is marked while no callback runs is settled by a ws_post() that does the same. */
void eio_enter(struct eio_server *e);
void eio_leave(struct eio_server *e);

/* A session of the peer of `c` with a new id, whose first ping is on its way. NULL: no room for
 * it. */
struct eio_session *eio_session_new(struct eio_server *e, const struct eio_request *r,
                                    const struct ws_conn *c);

/* Write the open packet; returns its length. */
enum { EIO_OPEN_PACKET_SIZE = 192 };
size_t eio_session_open_packet(const struct eio_session *s, char out[EIO_OPEN_PACKET_SIZE]);

/* The open packet has been sent: tell the application. */
void eio_session_opened(struct eio_session *s, const struct eio_handshake *h);

/* End it now: requests that are held are answered, what is queued is dropped. */
void eio_session_end(struct eio_session *s, enum eio_reason reason);

void eio_session_report(struct eio_session *s); /* on_close, when it is owed */
void eio_session_free(struct eio_session *s);

/* A packet has come. `checked`: its text is known to be UTF-8. */
void eio_session_packet(struct eio_session *s, struct ws_str packet, bool checked);
void eio_session_binary(struct eio_session *s, const void *data, size_t len);

/* A GET of this session has come. It is answered now or held. */
void eio_session_poll(struct eio_session *s, const struct eio_asker *to);

/* Keep `to` in `place`, `get` or `post` of the session, for an answer later. */
void eio_session_hold(struct eio_session *s, struct eio_asker *place, const struct eio_asker *to);

/* Give up what is left of the POST: its packets and its timer. While a packet of it is handed over
 * this does nothing, and eio_post.c, which hands it over, calls it again afterwards. */
void eio_session_drop_post(struct eio_session *s);

/* A WebSocket carries the session from the start. */
void eio_session_carry(struct eio_session *s, struct ws_conn *c);

/* The three steps of a WebSocket that is to take over from polling: it has connected (false when
 * out of memory); a message of it has come; it has closed, or must not take over. */
bool eio_session_probe(struct eio_session *s, struct ws_conn *c, const struct eio_request *r);
void eio_session_probed(struct eio_session *s, enum ws_opcode opcode, struct ws_str packet);
void eio_session_unprobe(struct eio_session *s);

#endif
