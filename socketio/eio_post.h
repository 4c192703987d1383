/* SPDX-License-Identifier: MIT
 *
 * The POST of a session on polling, for engineio.c; see eio_post.c. */
#ifndef SOCKETIO_EIO_POST_H
#define SOCKETIO_EIO_POST_H

#include "eio_server.h"

/* The head of a POST has come: accept it, or answer 400 and end the session. */
void eio_post_admit(struct eio_session *s, const struct eio_asker *to,
                    const struct ws_request *req);

/* The body of the POST that was admitted has come. */
void eio_post_come(struct eio_session *s, struct ws_str payload);

/* The client has abandoned the POST. True: none of its packets is still to be handled. */
bool eio_post_left(struct eio_session *s);

#endif
