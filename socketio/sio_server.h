/* SPDX-License-Identifier: MIT
 *
 * The server, its connections and sockets as data, for the files of Socket.IO and no others. Each
 * of them calls only those below it:
 *
 *   socketio.c      the server: connections and their packets in
 *   sio_socket.c    the life of a socket, from on_auth to on_disconnect
 *   sio_emit.c      events out, acknowledgements both ways
 *   sio_namespace.c namespaces, and rules that open them
 *   sio_recovery.c  what is kept for clients that come back
 *   sio_room.c      rooms, and targets made of them
 *   sio_conn.c      connections, and packets whose attachments are still to come
 *   sio_server.c    callbacks begin and end, sockets by their ids
 *   sio_packet.c    the text of packets
 *
 * A connection (one Engine.IO session) has sockets, one for each namespace that its client is in.
 *
 * Functions of the API never call back and never free: they mark. Marked sockets are settled when
 * the outermost callback returns (sio_callback_end), or by a ws_post() when it all began outside:
 * on_connect and on_disconnect are called, memory is freed. */
#ifndef SOCKETIO_SIO_SERVER_H
#define SOCKETIO_SIO_SERVER_H

#include "name_table.h"
#include "settle.h"
#include "sio.h"

struct sio_gather;
struct sio_pending;
struct sio_recovery;
struct sio_rule;
struct sio_seat;
struct sio_wait;

/* Bytes that are kept for recovery. */
struct sio_usage {
    size_t log_bytes;  /* of events */
    size_t kept_bytes; /* of sockets that were cut off */
};

struct sio_server {
    struct ws_server *ws;       /* NULL once it may be gone: sio_server_free() */
    struct ws_account *account; /* of what belongs to no single client */
    struct eio_server *engine;
    struct sio_options options;   /* every default filled in */
    struct name_table sockets;    /* by id, whatever their state */
    struct name_table members;    /* those that have not ended, by namespace and connection */
    struct name_table namespaces; /* by name */
    struct sio_rule *rules;       /* for more namespaces, in the order of their making */
    struct settle_list marked;    /* sockets to settle */
    void (*settle)(struct sio_server *io); /* settles them, for sio_callback_end(): what ends a
                                              socket is above those whose callbacks end */
    struct sio_gather *gathers;            /* broadcasts that wait for acknowledgements */
    struct json_writer scratch; /* the packet that is being made: from sio_scratch() until it is
                                   sent, in which no callback runs */
    const struct sio_event *in_hand;   /* while its on_event runs; NULL: no event is handled */
    uint64_t stamp;                    /* of the latest walk over a target */
    struct sio_usage recovery_by_rule; /* of all namespaces that rules have opened */
};

struct sio_namespace {
    struct name_entry entry; /* in server->namespaces */
    struct sio_server *server;
    struct ws_account *account; /* of the client that asked for it, or the server's; kept */
    struct sio_handlers handlers;
    struct name_table rooms;
    struct name_table seats;  /* by room and socket */
    struct sio_socket *first; /* of its sockets, whatever their state */
    struct sio_socket *last;
    size_t connected;                /* how many are */
    int64_t next_ack;                /* ids of our requests: shared, so that a broadcast has one */
    struct sio_recovery *recovery;   /* NULL: off */
    struct ws_timer *recovery_timer; /* to when what recovery keeps is too old; NULL: off */
    bool by_rule;                    /* ends with its last socket */
    char name[];                     /* entry.len bytes and a NUL */
};

/* In bytes. */
static inline size_t sio_namespace_size(const struct sio_namespace *n)
{
    return sizeof *n + n->entry.len + 1;
}

struct sio_conn {
    struct sio_server *server;
    struct eio_session *engine; /* NULL once it has ended */
    struct ws_account *account; /* of the session, kept: also of its sockets and their seats */
    struct sio_socket *sockets;
    struct sio_pending *pending; /* a packet, until its last attachment has come; NULL: none */
    size_t socket_count;         /* that have not ended */
    size_t size;                 /* of this structure with what is behind it */
    uint64_t left_turn;          /* turn of the loop in which its client left a namespace last */
    bool crossed; /* from now on packets may come for a socket that had ended when they were sent */
    char handshake[]; /* texts that end with NUL: address, query, the headers that are kept */
};

enum sio_state {
    SIO_NEW,
    SIO_WAITING,  /* for the answer to on_auth */
    SIO_ACCEPTED, /* on_connect comes next */
    SIO_CONNECTED,
    SIO_ENDED /* about to be freed */
};

struct sio_socket {
    struct name_entry entry;  /* in server->sockets */
    struct name_entry member; /* in server->members, until it has ended */
    struct sio_namespace *nsp;
    struct sio_conn *conn; /* right behind `nsp`: the bytes of both are the name of `member` */
    struct sio_socket *next_of_conn;
    struct sio_socket *previous_of_conn;
    struct sio_socket *next; /* of the namespace */
    struct sio_socket *previous;
    struct settle_item mark; /* in server->marked */
    struct sio_seat *seats;  /* in rooms, the latest first */
    struct sio_wait *waits;  /* for acknowledgements of its client, the latest first */
    void *data;
    const char *reason; /* once it has ended */
    char *auth;         /* from on_auth until on_connect, when the answer comes later; with a NUL */
    char *pid;          /* the secret by which it may be recovered; NULL: recovery is off */
    uint64_t stamp;     /* of the latest walk that saw it */
    uint64_t missed;    /* a recovered one gets what was emitted from this offset on, when it is let
                           in */
    uint32_t seat_count;
    uint32_t wait_count;
    uint32_t turn;            /* of the loop in which it was let in; the low bits */
    uint8_t state;            /* enum sio_state */
    bool recovered : 1;       /* it is the one of before: from sio_recovery_begin() on */
    bool recoverable : 1;     /* it ended in a way that allows it */
    bool let_in_late : 1;     /* after on_auth had returned */
    bool heard : 1;           /* a packet of its client has come since it was let in */
    bool abort_owed : 1;      /* from on_auth until its answer */
    bool disconnect_owed : 1; /* from on_connect on */
    char id[EIO_ID_SIZE];
};

/* Around every callback from engineio.h, and around every timer. Calls may be nested: only the
 * outermost sio_callback_end() settles. It calls `settle`, which is sio_sockets_settle(), and that
 * takes the marked sockets one by one until the turn is used up; the rest waits for a ws_post().
 * For each socket, in this order:
 *
 *   1. on_connect, if on_auth has accepted it and it has not ended since
 *   2. if it has ended: the callbacks of its acknowledgements that will not come
 *   3. on_disconnect or on_abort, whichever is owed
 *   4. it is kept for recovery, or not; then it leaves its rooms and is freed, and with it its
 *      connection and its namespace, if nothing else needs them
 *
 * So no pointer to a socket is valid after it, unless the socket is known to be connected. */
void sio_callback_begin(struct sio_server *io);
void sio_callback_end(struct sio_server *io);

/* Have what is marked settled by a ws_post(). */
void sio_server_post(struct sio_server *io);

/* The server's writer, emptied. */
struct json_writer *sio_scratch(struct sio_server *io);

#endif
