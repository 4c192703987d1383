/* SPDX-License-Identifier: MIT
 *
 * The structs of the server, shared by the files of Socket.IO and used by no others. Each file
 * calls only those below it:
 *
 *   socketio.c      the server: connections and the packets that come
 *   sio_cluster.c   other servers: their channels, and what they say
 *   sio_remote.c    questions of the application to all processes
 *   sio_socket.c    a socket, from on_auth to on_disconnect
 *   sio_emit.c      sends events; acknowledgements in both directions
 *   sio_namespace.c namespaces, and rules that open them
 *   sio_recovery.c  sockets and events kept for clients that reconnect
 *   sio_room.c      rooms, and the targets of broadcasts
 *   sio_conn.c      connections, and packets that wait for their attachments
 *   sio_server.c    begin and end of callbacks, sockets by their ids
 *   sio_packet.c    packets as text
 *   sio_msgpack.c   packets in MessagePack
 *
 * A connection (one Engine.IO session) has one socket for each namespace that its client is in.
 *
 * Functions of the API never call back and never free: they mark sockets. Marked sockets are
 * settled when the outermost callback returns (sio_callback_end), or by a ws_post() if no callback
 * runs: on_connect and on_disconnect are called, memory is freed. */
#ifndef SOCKETIO_SIO_SERVER_H
#define SOCKETIO_SIO_SERVER_H

#include "../cluster/name_table.h"
#include "settle.h"
#include "sio.h"
#include "sio_adapter.h"
#include "sio_packet.h"

struct sio_far;
struct sio_gather;
struct sio_node;
struct sio_pending;
struct sio_recovery;
struct sio_relay;
struct sio_request;
struct sio_rule;
struct sio_seat;
struct sio_wait;

/* Bytes that are kept for recovery. */
struct sio_usage {
    size_t log_bytes;  /* of events */
    size_t kept_bytes; /* of sockets that were cut off */
};

/* --- other processes -------------------------------------------------------------------------- */

/* What is done for sockets of a target in all processes, besides in this one. */
struct sio_call {
    enum sio_adapter_type type;
    const struct sio_target *target;
    const char *name;            /* of an event; NULL: the first of `args` */
    const struct sio_args *args; /* of an event */
    const char *room;            /* to join or leave */
    bool close;                  /* connections, too */
    unsigned timeout_ms;         /* for acknowledgements */
    struct sio_far *far;         /* where the answers go; NULL: none is wanted */
};

/* A question to the other processes. It belongs to who asks. */
struct sio_far {
    struct name_entry entry; /* in the table of the relay while `asked` */
    bool asked;
    ptrdiff_t others; /* processes that will answer; -1: not known yet */
    size_t reports;   /* that have answered */
    int error;        /* why the others could not be asked; 0: they could */
    char id[SIO_FAR_ID_SIZE];
    /* An answer has come, or, where `m` is NULL, `others` is known or `error` set. It may free the
     * question, after relay->forget(). */
    void (*heard)(struct sio_far *f, const struct sio_adapter_message *m);
};

/* The way to the other processes: sio_cluster.c. Functions here neither call back nor free. */
struct sio_relay {
    /* Tell all others. Returns 0, or WS_ERR_INVALID, WS_ERR_FULL, WS_ERR_NOMEM: nobody was told. */
    int (*tell)(struct sio_relay *r, const struct sio_call *call);
    void (*forget)(struct sio_relay *r, struct sio_far *f);
    int (*answer)(struct sio_relay *r, const struct sio_server_ack *ack,
                  const struct sio_args *args);
    bool (*opened)(struct sio_relay *r, struct sio_namespace *n); /* false: out of memory */
    void (*closing)(struct sio_relay *r, struct sio_namespace *n);
    /* A room is there now, or is going to end. False: out of memory. */
    bool (*room)(struct sio_relay *r, struct sio_namespace *n, const char *name, bool exists);
    void (*free)(struct sio_relay *r); /* at the end of the server */
};

/* The relay that is to be told about a target; NULL: there is none, or the target is local. */
#define SIO_RELAY(t) ((t)->is_local ? NULL : (t)->nsp->server->relay)

/* --- structs ---------------------------------------------------------------------------------- */

struct sio_server {
    struct ws_server *ws;       /* NULL once it may be gone: sio_server_free() */
    struct ws_account *account; /* memory that belongs to no single client */
    struct eio_server *engine;
    struct sio_options options;            /* every default filled in */
    struct name_table sockets;             /* by id, whatever their state */
    struct name_table namespaces;          /* by name */
    struct sio_rule *rules;                /* that open namespaces, oldest first */
    struct settle_list marked;             /* sockets to settle */
    void (*settle)(struct sio_server *io); /* settles them for sio_callback_end(), in a file
                                              above */
    struct ws_timer *settle_timer;         /* where there was no memory for a post */
    struct sio_gather *gathers;            /* broadcasts that wait for acknowledgements */
    struct sio_request *requests;          /* questions to all processes */
    struct sio_relay *relay;               /* NULL: this process is alone */
    struct json_writer scratch;  /* the packet that is being written: from sio_scratch() until it
                                   is sent, without a callback in between */
    size_t max_attachments;      /* of one packet */
    struct json_writer packed;   /* the same in MessagePack */
    struct json_writer unpacked; /* the payload of the packet that is handled, if it came so */
    const struct sio_event *in_hand;   /* while its on_event runs; NULL: no event is handled */
    uint64_t stamp;                    /* of the latest walk over a target's sockets */
    struct sio_usage recovery_by_rule; /* of all namespaces that rules have opened */
};

struct sio_namespace {
    struct name_entry entry; /* in server->namespaces */
    struct sio_server *server;
    struct ws_account *account; /* of the client that asked for it, or the server's; with a
                                   reference */
    struct sio_handlers handlers;
    struct name_table rooms;
    struct name_table seats;  /* by room and socket */
    struct sio_socket *first; /* of its sockets, whatever their state */
    struct sio_socket *last;
    size_t connected;                /* number of connected sockets */
    int64_t next_ack;                /* next id of a request; of the namespace, so that a
                                        broadcast has one id */
    struct sio_recovery *recovery;   /* NULL: off */
    struct ws_timer *recovery_timer; /* for dropping what recovery keeps; NULL: off */
    struct sio_node *node;           /* its channels in the cluster; NULL: none */
    bool by_rule;                    /* opened by a rule: freed with its last socket */
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
    struct ws_account *account; /* of the session, with a reference; sockets and seats count in
                                   it, too */
    struct sio_socket *sockets;
    struct sio_socket *first;  /* one that has not ended, and is not in `members`: most clients
                                  have no other. NULL: none */
    struct name_table members; /* the others that have not ended, by the name of their namespace */
    struct sio_pending *pending; /* a packet, until its last attachment has come; NULL: none */
    size_t socket_count;         /* that have not ended */
    size_t size;                 /* of this struct with `handshake` */
    uint64_t left_turn;          /* turn of the loop in which the client last left a namespace */
    uint64_t began_ms;           /* ws_now_ms() of the handshake */
    bool crossed; /* from now on packets for a socket that has ended may be late, and are dropped */
    char handshake[]; /* texts with a NUL each: address, query, the headers that are kept */
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
    struct name_entry member; /* in conn->members, unless it is conn->first; until it has ended */
    struct sio_namespace *nsp;
    struct sio_conn *conn;
    struct sio_socket *next_of_conn;
    struct sio_socket *previous_of_conn;
    struct sio_socket *next; /* of the namespace */
    struct sio_socket *previous;
    struct settle_item mark; /* in server->marked */
    struct sio_seat *seats;  /* in rooms, the latest first */
    struct sio_wait *waits;  /* for acknowledgements that its client owes, the latest first */
    void *data;
    const char *reason; /* once it has ended */
    char *auth;         /* from on_auth until on_connect, when the answer comes later; in a cluster
                           until the end; with a NUL */
    char *pid;          /* the secret by which it may be recovered; NULL: recovery is off */
    uint64_t stamp;     /* of the latest walk that saw it */
    uint64_t missed;    /* offset of the first event that a recovered socket gets */
    uint32_t seat_count;
    uint32_t wait_count;
    uint32_t turn;            /* of the loop in which it was accepted; the low bits */
    uint8_t state;            /* enum sio_state */
    bool recovered : 1;       /* set by sio_recovery_begin(): it is the previous socket */
    bool recoverable : 1;     /* it ended in a way that allows recovery */
    bool let_in_late : 1;     /* accepted after on_auth had returned */
    bool heard : 1;           /* its client has sent a packet to it, so it knows the socket */
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

/* Settle the marked sockets by a ws_post(), or by io->settle_timer; both call the second one. */
void sio_server_post(struct sio_server *io);
void sio_settle_posted(void *arg);

/* Empty a writer for the next packet; much memory is not kept. */
void sio_writer_empty(struct json_writer *w);

/* The server's writer, empty. */
struct json_writer *sio_scratch(struct sio_server *io);

/* --- packets out ------------------------------------------------------------------------------ */

/* Begin packet `p`, of which only the JSON is still missing; the caller writes that. `p->type` is
 * not BINARY_EVENT or BINARY_ACK: these follow from p->attachments. */
struct json_writer *sio_message_begin(struct sio_server *io, const struct sio_packet *p);

/* The JSON is written: `*message` is the packet as its clients' parser reads it, valid until the
 * next one begins. Returns 0, WS_ERR_NOMEM, or WS_ERR_INVALID for what is nested too deep. */
int sio_message_end(struct sio_server *io, struct sio_packet *p, const struct ws_str *attachments,
                    struct ws_str *message);

/* What a packet is sent as, and how many messages follow it, which are its attachments. */
enum ws_opcode sio_message_opcode(const struct sio_server *io);
size_t sio_parts_behind(const struct sio_server *io, const struct sio_args *args);

#endif
