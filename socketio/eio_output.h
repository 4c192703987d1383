/* SPDX-License-Identifier: MIT
 *
 * What leaves a session; see eio_output.c. No function here ends a session: those that can fail
 * return a result, and the caller ends it. */
#ifndef SOCKETIO_EIO_OUTPUT_H
#define SOCKETIO_EIO_OUTPUT_H

#include "eio_server.h"

/* All that is queued, to the WebSocket, or to the GET that is held: there must be one. The queue is
 * empty afterwards. Returns as ws_send(); after a failure something is lost. */
int eio_output_flush(struct eio_session *s);
void eio_output_drop(struct eio_session *s); /* what is queued */
void eio_output_ping(struct eio_session *s);

/* The output has fallen low enough: call on_drain, if it is owed. */
void eio_output_drained(struct eio_session *s);

/* Answer the GET with `payload`, if one is held. */
void eio_output_answer_get(struct eio_session *s, const char *payload);

/* Answer the POST with "ok", if its body has come and no packet of it is being handed over. */
void eio_output_answer_post(struct eio_session *s);

/* Read the body of the POST from now on, if it waits. */
void eio_output_resume_post(struct eio_session *s);

/* The POST whose body is coming will not be read: it gets `status`. */
void eio_output_refuse_post(struct eio_session *s, int status);

/* The session ends: the POST is answered in any case, and one that was not read cannot be "ok". */
void eio_output_end_post(struct eio_session *s);

#endif
