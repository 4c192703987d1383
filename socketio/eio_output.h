/* SPDX-License-Identifier: MIT
 *
 * Output of a session; see eio_output.c. No function here ends a session: those that can fail
 * return a result, and the caller ends it. */
#ifndef SOCKETIO_EIO_OUTPUT_H
#define SOCKETIO_EIO_OUTPUT_H

#include "eio_server.h"

/* Send all that is queued, on the WebSocket or as the response to the held GET; one of them must be
 * there. The queue is empty afterwards. Returns as ws_send(); after a failure messages are lost. */
int eio_output_flush(struct eio_session *s);
void eio_output_drop(struct eio_session *s); /* what is queued */
void eio_output_ping(struct eio_session *s);

/* The queue is short enough: call on_drain, if it is owed. */
void eio_output_drained(struct eio_session *s);

/* Answer the GET with `payload`, if one is held. */
void eio_output_answer_get(struct eio_session *s, const char *payload);

/* Answer the POST with "ok", if its body has come and none of its packets is being handled. */
void eio_output_answer_post(struct eio_session *s);

/* If the POST is paused, read its body from now on. */
void eio_output_resume_post(struct eio_session *s);

/* Refuse the POST with `status`; the rest of its body is not read. */
void eio_output_refuse_post(struct eio_session *s, int status);

/* The session ends: answer the POST. One whose body has not come gets 400, since it cannot be
 * "ok". */
void eio_output_end_post(struct eio_session *s);

#endif
