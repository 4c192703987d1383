/* SPDX-License-Identifier: MIT
 *
 * The output queue of a session on polling, kept as the payload that will be sent: packets with
 * separators between them. Packets for one session are written into it; a packet for many sessions
 * is written once, and each queue refers to it. No I/O. */
#ifndef SOCKETIO_EIO_QUEUE_H
#define SOCKETIO_EIO_QUEUE_H

#include "../ws.h"

/* The text form of a packet that many queues share. */
struct eio_text {
    struct ws_account *account; /* in which this text is counted */
    size_t references;
    size_t len;
    char data[];
};

/* A text of `len` characters, which the caller must write, with one reference. NULL when out of
 * memory. */
struct eio_text *eio_text_new(struct ws_account *account, size_t len);
void eio_text_release(struct eio_text *t); /* one reference less; NULL is allowed */

/* A shared packet that comes after the first `at` bytes of the queue's own. */
struct eio_share {
    size_t at;
    struct eio_text *text; /* one reference */
};

/* All zero is empty. */
struct eio_queue {
    char *own; /* packets, and all separators */
    size_t own_len;
    size_t own_cap;
    struct eio_share *shares;
    size_t share_count;
    size_t share_cap;
    size_t len; /* of all together */
};

/* All calls for one queue must pass the same account. */

/* Add a packet of `size` characters. Returns where the caller must write it at once; NULL when out
 * of memory, and then nothing has changed. */
char *eio_queue_add(struct eio_queue *q, struct ws_account *account, size_t size);

/* Add a shared packet; a short one is copied. False when out of memory. */
bool eio_queue_refer(struct eio_queue *q, struct ws_account *account, struct eio_text *text);

/* Walk the pieces of the payload; the cursor starts as all zero. A piece is a shared packet, or all
 * of the queue's own bytes up to the next one. There are at most 2 * share_count + 1. */
struct eio_cursor {
    size_t at;    /* of its own bytes */
    size_t share; /* the next one */
    bool shared;  /* the piece is a shared packet */
};
bool eio_queue_next(const struct eio_queue *q, struct eio_cursor *cursor, struct ws_str *piece);

void eio_queue_release(struct eio_queue *q, struct ws_account *account); /* back to all zero */

#endif
