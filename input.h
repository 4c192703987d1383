/* SPDX-License-Identifier: MIT
 *
 * What a connection keeps of its input from one turn to the next: there only while a request, a
 * frame or a message is unfinished, so that an idle connection owns no buffer. Pure. */
#ifndef INPUT_H
#define INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "buf.h"
#include "http.h"
#include "ws_frame.h"
#include "ws_message.h"

struct input {
    struct buf stash;   /* received and not yet consumed */
    uint64_t rest_turn; /* the turn in which the share was used up with work left; 0: none */

    /* By then the unfinished message or body must be complete, or have SLOWEST more bytes. */
    uint64_t due_ms; /* 0: no such deadline */
    size_t due_from; /* bytes of the message or body that had come when it was set */

    /* HTTP: the head, then its decoded body. */
    struct http_scan scan;
    struct http_body body;
    struct buf request;
    size_t head_len; /* of the request whose body is coming; 0: the head is still coming */

    /* WebSocket: the message that is coming, and in it the frame. */
    struct ws_message message;
    struct ws_frame frame;
    uint64_t frame_got; /* payload bytes of `frame` that have come */
    bool in_frame;      /* its bytes are in `payload`, or in `stash` where they had to wait */
    struct buf payload; /* of the message so far */
};

/* The input at `*in`, made when there is none and counted in `a`. NULL when out of memory. */
struct input *input_get(struct input **in, struct account *a);

/* Free it with all its buffers; nothing happens when there is none. */
void input_release(struct input **in, struct account *a);

#endif
