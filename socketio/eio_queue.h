/* SPDX-License-Identifier: MIT
 *
 * What a session on polling has yet to fetch: a payload as it will be on the wire, packets and the
 * separators between them. Packets for one session are written into it; a packet that many get is
 * written once, and each queue refers to it. It keeps nothing else and does no I/O. */
#ifndef SOCKETIO_EIO_QUEUE_H
#define SOCKETIO_EIO_QUEUE_H

#include "../ws.h"

/* The text form of a packet that many queues share. */
struct eio_text {
    struct ws_account *account; /* that this counts in */
    size_t references;
    size_t len;
    char data[];
};

/* Room for `len` characters, which are the caller's to write; one reference. NULL when out of
 * memory. */
struct eio_text *eio_text_new(struct ws_account *account, size_t len);
void eio_text_release(struct eio_text *t); /* one reference less; NULL is allowed */

/* A shared packet whose place is behind the first `at` bytes of the queue's own. */
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

/* All calls for one queue name the same account. */

/* The place for one more packet of `size` characters, which are the caller's to write at once; NULL
 * when out of memory, and then nothing has changed. */
char *eio_queue_add(struct eio_queue *q, struct ws_account *account, size_t size);

/* One more packet that is shared; a short one is copied. False when out of memory. */
bool eio_queue_refer(struct eio_queue *q, struct ws_account *account, struct eio_text *text);

/* Walk the pieces of the payload, from a cursor that is all zero: a shared packet, or all of its
 * own up to the next one. At most 2 * share_count + 1. */
struct eio_cursor {
    size_t at;    /* of its own bytes */
    size_t share; /* the next one */
    bool shared;  /* the piece is one */
};
bool eio_queue_next(const struct eio_queue *q, struct eio_cursor *cursor, struct ws_str *piece);

void eio_queue_release(struct eio_queue *q, struct ws_account *account); /* back to all zero */

#endif
