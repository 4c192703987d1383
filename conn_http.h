/* SPDX-License-Identifier: MIT
 *
 * A connection while it speaks HTTP: requests in, responses out, and the opening handshake. */
#ifndef CONN_HTTP_H
#define CONN_HTTP_H

#include "server.h"

/* One step into the requests in `data`. Returns bytes consumed, 0 when it needs more. Not inlined:
 * all of HTTP would be in the function that feeds frames, which then has fewer registers for them
 * (1/20 of a small echo's instructions). */
__attribute__((noinline)) size_t conn_requests_feed(struct ws_conn *c, uint8_t *data, size_t len);
/* More of the body that the last request head announced. Returns bytes consumed. */
size_t conn_body_feed(struct ws_conn *c, const uint8_t *data, size_t len);
/* Refuse what came in with `status`, and close: after a malformed request we cannot know where the
 * next one starts. The application may write the response itself in on_refuse, else it is a line of
 * text. Where the application was to answer the request, on_abort follows.
 *
 *   why      for the log and the peer
 *   advice   which option decides, for the log alone; or NULL */
COLD void conn_refuse(struct ws_conn *c, int status, const char *why, const char *advice);
/* Refuse a request for lack of memory. */
COLD void conn_refuse_overload(struct ws_conn *c);

#endif
