/* SPDX-License-Identifier: MIT
 *
 * How bytes leave a connection: staged, at once, or queued. Does not depend on what they mean. A
 * connection whose output is broken is marked, and its socket is shut down; the next read ends
 * it. */
#ifndef CONN_OUTPUT_H
#define CONN_OUTPUT_H

#include <assert.h>

#include "server.h"

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
/* Make `c` the owner of the stage. False when another connection owns it, or when `c` has a queue
 * or cannot send. */
bool conn_begin_stage(struct ws_conn *c);
/* Where up to `max_len` bytes may be written, to be sent at the end of the turn; or NULL. The
 * caller then passes the number written to conn_staged(). */
static inline uint8_t *conn_stage(struct ws_conn *c, size_t max_len)
{
    struct stage *stage = &c->server->stage;

    if (stage->owner != c && (max_len > STAGE_SIZE || !conn_begin_stage(c)))
        return NULL;
    return max_len <= STAGE_SIZE - stage->len ? stage->data + stage->len : NULL;
}
static inline void conn_staged(struct ws_conn *c, size_t len)
{
    assert(c->server->stage.owner == c && c->outbox == NULL && c->life.listed);
    c->server->stage.len += len;
}
/* Send a few bytes after all that is queued; newer ones replace them: a Pong, RFC 6455 §5.5.3.
 * Without memory nothing happens. */
void conn_defer(struct ws_conn *c, const uint8_t *data, size_t len);
size_t conn_queued(const struct ws_conn *c); /* bytes */
/* Bytes of these that were queued before this turn: the peer has had time to take them. */
size_t conn_backlog(const struct ws_conn *c);
int conn_send_result(struct ws_conn *c); /* WS_SENT, or WS_QUEUED with on_drain owed */
int to_ws_error(int account_error);      /* ACCOUNT_FULL, ACCOUNT_NOMEM as WS_ERR_ values */
/* Send until everything is sent or the socket takes no more. Not to be called while out.blocked. */
void conn_flush(struct ws_conn *c);
bool conn_all_taken(const struct ws_conn *c); /* acknowledged, our FIN, too */
/* Mark the output: count from here what the peer acknowledges. */
void conn_mark_output(struct ws_conn *c);
/* Has the peer acknowledged `least` bytes or more since the mark? If so, mark again. */
bool conn_takes_output(struct ws_conn *c, int32_t least);
void conn_drop_output(struct ws_conn *c);
void conn_narrow(struct ws_conn *c);         /* end that the socket is wide, if it is */
void conn_give_up_output(struct ws_conn *c); /* the peer does not read: drop output, read on */

#endif
