/* SPDX-License-Identifier: MIT
 *
 * A session: heartbeat, input, upgrade, the end. engineio.c and eio_post.c pass it what the client
 * sends; it sends with eio_output.h. The states of a session are described in eio_server.h. */
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

/* Make a session with a new id for the peer of `c`, and start its heartbeat. NULL: a limit is
 * reached, or out of memory. */
struct eio_session *eio_session_new(struct eio_server *e, const struct eio_request *r,
                                    const struct ws_conn *c);

/* Write the open packet; returns its length. */
enum { EIO_OPEN_PACKET_SIZE = 192 };
size_t eio_session_open_packet(const struct eio_session *s, char out[EIO_OPEN_PACKET_SIZE]);

/* The open packet has been sent: tell the application. */
void eio_session_opened(struct eio_session *s, const struct eio_handshake *h);

/* End the session now: held requests are answered, queued messages are dropped. */
void eio_session_end(struct eio_session *s, enum eio_reason reason);

void eio_session_report(struct eio_session *s); /* on_close, when it is owed */
void eio_session_free(struct eio_session *s);

/* Handle a packet. `checked`: its text is known to be UTF-8. */
void eio_session_packet(struct eio_session *s, struct ws_str packet, bool checked);
void eio_session_binary(struct eio_session *s, const void *data, size_t len);

/* Answer a GET of this session, now or later. */
void eio_session_poll(struct eio_session *s, const struct eio_asker *to);

/* Keep the request `to` for a later response. `place` is `get` or `post` of the session. */
void eio_session_hold(struct eio_session *s, struct eio_asker *place, const struct eio_asker *to);

/* Drop the rest of the POST: its packets and its timer. Does nothing while a packet of it is being
 * handled; the function that handles it drops the rest afterwards. */
void eio_session_drop_post(struct eio_session *s);

/* A session that starts on a WebSocket: `c` is its connection. */
void eio_session_carry(struct eio_session *s, struct ws_conn *c);

/* An upgrade to a WebSocket: eio_session_probe() when its request has come (false when out of
 * memory), eio_session_probed() for each message on it, eio_session_unprobe() when it has closed or
 * must not be used. */
bool eio_session_probe(struct eio_session *s, struct ws_conn *c, const struct eio_request *r);
void eio_session_probed(struct eio_session *s, enum ws_opcode opcode, struct ws_str packet);
void eio_session_unprobe(struct eio_session *s);

#endif
