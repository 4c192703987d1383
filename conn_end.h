/* SPDX-License-Identifier: MIT
 *
 * Every way in which a connection ends, and what the application is told and the peer gets.
 *
 *   function             state after it     the application gets           the peer gets
 *   ------------------   ----------------   ----------------------------   -----------------------
 *   conn_start_close()   CLOSING            nothing yet                    Close
 *   conn_overrun()       CLOSING            nothing yet; later 1013        Close 1013
 *   conn_fail()          LINGERING          on_close with the code         Close, FIN
 *   conn_closed()        LINGERING          on_close with the code         what is queued, FIN
 *   conn_linger()        LINGERING          nothing                        what is queued, FIN
 *   conn_refuse()        LINGERING          on_refuse, on_abort            a response, FIN
 *     (conn_http.h)
 *   conn_lost()          DEAD               on_abort or on_close 1006      nothing more
 *   conn_ping_timeout()  DEAD               on_close 1006 "ping timeout"   nothing more
 *   conn_kill()          DEAD               nothing                        nothing more
 *   conn_let_go()        DEAD               nothing, it asked for this     nothing from here
 *   conn_free()          none: freed        on_close, if it is owed        nothing
 *
 * on_close is called once for each connection whose on_open was called, and on_abort once for each
 * request that was handed over and is void: it will not be answered. LINGERING ends with the peer's
 * FIN, or at close_timeout_ms; see conn.c. */
#ifndef CONN_END_H
#define CONN_END_H

#include "server.h"

/* Begin the closing handshake, RFC 6455 §7.1.2. Returns what ws_close() does. */
int conn_start_close(struct ws_conn *c, unsigned code, const char *reason);
/* Answer the peer's Close in state OPEN; the caller goes on with conn_closed(). */
void conn_echo_close(struct ws_conn *c, unsigned code, const char *reason, size_t len);
/* Close it as a recipient that reads too slowly. */
COLD void conn_overrun(struct ws_conn *c, const char *why);
/* Fail the connection, RFC 6455 §7.1.7.
 *
 *   why      for the log, the application and the peer
 *   advice   which option sets the limit, for the log alone; or NULL */
COLD void conn_fail(struct ws_conn *c, unsigned code, const char *why, const char *advice);
/* The WebSocket connection is over, RFC 6455 §7.1.5; only bytes remain to be moved.
 * WS_CLOSE_ABNORMAL: without a Close frame. */
void conn_closed(struct ws_conn *c, unsigned code, const char *reason, size_t len);
/* No more output is added: send what is queued, then FIN, then wait for the peer's FIN, so that no
 * RST makes the peer lose the last bytes. */
void conn_linger(struct ws_conn *c);
/* The peer is gone, or the server waits no longer for it: nothing more can be delivered. */
void conn_lost(struct ws_conn *c);
/* The same for a peer that has not answered a Ping. */
void conn_ping_timeout(struct ws_conn *c);
/* Close the descriptor now; the memory is freed when the turn ends. No request waits for an
 * answer. */
void conn_kill(struct ws_conn *c);
/* The same, but the descriptor stays open: it is the application's now. Nothing is queued. */
void conn_let_go(struct ws_conn *c);
/* Free a dead connection, when no event of the batch can point to it any more. Calls on_close
 * first, if it is owed. */
void conn_free(struct ws_conn *c);

/* Does the application know of a request that it has not answered? */
bool conn_owes_answer(const struct ws_conn *c);
/* That request is void: call on_abort. */
void conn_void(struct ws_conn *c);

#endif
