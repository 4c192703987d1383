/* SPDX-License-Identifier: MIT
 *
 * The messages that Socket.IO servers exchange over Redis, in two dialects: that of
 * @socket.io/redis-adapter 8 (and @socket.io/redis-emitter 5), and that of its sharded adapter. No
 * I/O: messages come in as bytes and go out as bytes.
 *
 *             a message is                                     goes to the channel
 *   classic   [uid, packet, opts] in MessagePack               prefix#nsp# or prefix#nsp#room#
 *             a request, in JSON; in MessagePack where         prefix-request#nsp#
 *             Node uses that, or binary values are inside
 *             an answer, likewise                              prefix-response#nsp#
 *   sharded   {type, data, uid, nsp}, in JSON; in MessagePack  prefix#nsp#, prefix#nsp#uid#,
 *             where binary values are inside                   prefix#nsp#room#
 *
 * In a struct all texts are slices of JSON: strings have their quotes, lists are as in json.h. In a
 * list of names, strings and numbers are names; other values are there, but name nothing. */
#ifndef SOCKETIO_SIO_ADAPTER_H
#define SOCKETIO_SIO_ADAPTER_H

#include "json.h"
#include "sio_packet.h"

enum sio_dialect { SIO_CLASSIC, SIO_SHARDED };

/* Where a message came from. */
enum sio_source {
    SIO_FROM_BROADCASTS,
    SIO_FROM_REQUESTS,
    SIO_FROM_ANSWERS,
    SIO_FROM_SHARDS /* any channel of the sharded adapter */
};

/* For each type, the fields that it has besides `uid` and `nsp`. An asterisk: it may be missing. */
enum sio_adapter_type {
    SIO_BROADCAST,      /* target, list; request_id*: acknowledgements are wanted, and timeout_ms */
    SIO_JOIN,           /* target, names; the old form of one socket: sid, names, request_id */
    SIO_LEAVE,          /* the same */
    SIO_DISCONNECT_ALL, /* target, close; the old form: sid, close, request_id */
    SIO_FETCH,          /* target, request_id: what sockets are there? */
    SIO_LIST_SOCKETS,   /* rooms, request_id: their ids? (classic) */
    SIO_LIST_ROOMS,     /* request_id: what rooms are there? (classic) */
    SIO_SERVER_EMIT,    /* list; request_id*: an answer is wanted */

    SIO_ANSWER_SOCKETS, /* request_id, names: strings, or objects if SIO_FETCH was asked */
    SIO_ANSWER_ROOMS,   /* request_id, names */
    SIO_ANSWER_SERVER,  /* request_id, list: one value or none */
    SIO_ANSWER_COUNT,   /* request_id, count: of clients that got the broadcast */
    SIO_ANSWER_CLIENT,  /* request_id, list: one value or none, of one client */
    SIO_ANSWER_DONE,    /* request_id: to the old forms (classic) */
    SIO_ADAPTER_OTHER   /* a type that needs nothing here: heartbeats, the end of a server */
};

struct sio_adapter_message {
    enum sio_adapter_type type;
    struct ws_str uid;        /* a string, of who sent it; data NULL: it is missing */
    struct ws_str nsp;        /* a string; data NULL: it is missing */
    struct ws_str request_id; /* a string; data NULL: it is missing */
    struct ws_str rooms;      /* target: a list of names; empty: all sockets, */
    struct ws_str except;     /* without those in these rooms */
    bool is_volatile;
    int64_t timeout_ms;  /* up to 1e15; 0: none, or no number */
    struct ws_str sid;   /* a string; data NULL: it is missing */
    struct ws_str names; /* a list */
    bool close;          /* the connections, too */
    int64_t count;       /* 0 or more */
    struct ws_str list;  /* values: an event with its name, or the argument of an answer */
    const struct ws_str *attachments; /* of `list` */
    size_t attachment_count;          /* at most SIO_ATTACHMENTS_MAX */
};

/* What a message that was read points into, besides its own bytes. All zero at first; released by
 * json_writer_release(&s->text). */
struct sio_adapter_space {
    struct json_writer text;
    struct ws_str attachments[SIO_ATTACHMENTS_MAX];
};

enum sio_adapter_error {
    SIO_ADAPTER_BAD = -1, /* no message, or not of the kind that its channel has */
    SIO_ADAPTER_NOMEM = -2
};

/* Read a message. It points into `bytes` and `space`, until either changes. What it says is of the
 * right type and within bounds, but not yet right: names may be too long, and the event reserved.
 * Binary values in SIO_ANSWER_SOCKETS are as Node writes them in JSON. Returns 0 or a
 * sio_adapter_error. */
int sio_adapter_read(struct sio_adapter_message *m, enum sio_source from, struct ws_str bytes,
                     struct sio_adapter_space *space);

/* Who sent a message of SIO_FROM_BROADCASTS, without reading all of it: the characters, without
 * quotes; data is NULL where it is no such message. */
struct ws_str sio_adapter_sender(struct ws_str bytes);

/* Write a message, whose lists have been checked, to `w`, which is empty; `text` is room for it as
 * JSON. Returns 0, or a sio_adapter_error: SIO_ADAPTER_BAD for what is nested too deep, or names no
 * attachment. */
int sio_adapter_write(struct json_writer *w, struct json_writer *text, enum sio_dialect dialect,
                      const struct sio_adapter_message *m);

#endif
