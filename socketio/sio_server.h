/* SPDX-License-Identifier: MIT
 *
 * The server and what lives in it: what the files of Socket.IO share, and nobody else.
 *
 *   socketio.c      the server: connections and their packets, namespaces
 *   sio_socket.c    the life of a socket, from on_auth to on_disconnect
 *   sio_room.c      rooms, and targets made of them
 *   sio_emit.c      events out, acknowledgements both ways
 *   sio_recovery.c  what is kept for those who come back
 *   sio_packet.c    the text of packets
 *
 * A connection (one Engine.IO session) has sockets, one for each namespace that its client is in.
 *
 * Functions of the API never call back and never free: they mark. Marked sockets are settled when
 * the outermost callback returns (sio_callback_end), or by a ws_post() when it all began outside:
 * on_connect and on_disconnect are called, memory is freed. */
#ifndef SIO_SERVER_H
#define SIO_SERVER_H

#include "name_table.h"
#include "settle.h"
#include "sio.h"
#include "sio_packet.h"

struct sio_recovery;
struct sio_wait;
struct sio_gather;
struct sio_seat;

/* Bytes that are kept for recovery. */
struct sio_usage {
    size_t log_bytes;  /* of events */
    size_t kept_bytes; /* of sockets that were cut off */
};

struct sio_server {
    struct ws_server *ws;       /* NULL once it may be gone: sio_server_free() */
    struct ws_account *account; /* of what is kept for nobody in particular */
    struct eio_server *engine;
    struct sio_options options;        /* every default filled in */
    struct name_table sockets;         /* by id, whatever their state */
    struct name_table members;         /* those that have not ended, by namespace and connection */
    struct name_table namespaces;      /* by name */
    struct sio_rule *rules;            /* for more namespaces, in the order of their making */
    struct settle_list marked;         /* sockets to settle */
    struct sio_gather *gathers;        /* broadcasts that wait for acknowledgements */
    struct json_writer scratch;        /* for the packet that is being made */
    const struct sio_event *in_hand;   /* the event that the application handles; NULL: none */
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
    size_t connected;              /* how many are */
    int64_t next_ack;              /* ids of our requests: shared, so that a broadcast has one */
    struct sio_recovery *recovery; /* NULL: off */
    bool by_rule;                  /* ends with its last socket */
    char name[];                   /* entry.len bytes and a NUL */
};

/* A packet whose attachments are still to come, and the time by when they must. */
struct sio_pending {
    struct sio_conn *conn;
    struct sio_assembly assembly;
    struct ws_timer *deadline;
};

struct sio_conn {
    struct sio_server *server;
    struct eio_session *engine; /* NULL once it has ended */
    struct ws_account *account; /* of the session, kept: also of its sockets and their seats */
    struct sio_socket *sockets;
    struct sio_pending *pending; /* NULL: none */
    size_t socket_count;         /* that have not ended */
    size_t size;                 /* of this structure with what is behind it */
    uint64_t left_turn;          /* of the loop, in which its client left a namespace last */
    bool crossed;                /* packets for a socket that has ended may have been under way */
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
    struct name_entry member; /* in server->members */
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
    char *auth;         /* until on_connect, when on_auth is answered later; with a NUL */
    char *pid;          /* the secret by which it may be recovered; NULL: recovery is off */
    uint64_t stamp;     /* of the latest walk that saw it */
    uint64_t missed;    /* a recovered one gets what was emitted from this offset on */
    uint32_t seat_count;
    uint32_t wait_count;
    uint32_t turn; /* of the loop, in which it was let in; the low bits */
    uint8_t state; /* enum sio_state */
    bool recovered : 1;
    bool recoverable : 1;     /* it ended in a way that allows it */
    bool let_in_late : 1;     /* after on_auth had returned */
    bool heard : 1;           /* its client has spoken since it was let in, so it knows of it */
    bool abort_owed : 1;      /* on_auth was called and not answered */
    bool disconnect_owed : 1; /* on_connect was called */
    char id[EIO_ID_SIZE];
};

/* --- socketio.c ------------------------------------------------------------------------------- */

/* Around every callback. The outermost sio_callback_end() settles what was marked. */
void sio_callback_begin(struct sio_server *io);
void sio_callback_end(struct sio_server *io);

/* The server's writer, emptied. */
struct json_writer *sio_scratch(struct sio_server *io);

size_t sio_namespace_size(const struct sio_namespace *n); /* in bytes */
struct sio_namespace *sio_namespace_named(const struct sio_server *io, struct ws_str name);
/* Free it, if it is one that ends with its last socket, and nothing is left in it. */
void sio_namespace_check(struct sio_namespace *n);

/* The client breaks the rules: its connection ends. */
void sio_conn_fail(struct sio_conn *c);
/* Send a packet that is there for the protocol; a connection that cannot take it ends. */
void sio_conn_send(struct sio_conn *c, struct ws_str text);
void sio_conn_check(struct sio_conn *c); /* free it, if it has ended and has no sockets */

/* --- sio_socket.c ----------------------------------------------------------------------------- */

struct sio_socket *sio_socket_new(struct sio_conn *c, struct sio_namespace *n);
/* The client's socket in the namespace that has not ended, or NULL. */
struct sio_socket *sio_socket_of(const struct sio_conn *c, const struct sio_namespace *n);
void sio_socket_connect(struct sio_socket *s, struct ws_str auth); /* ask on_auth, or let it in */
void sio_socket_end(struct sio_socket *s, const char *reason);
void sio_socket_mark(struct sio_socket *s);
void sio_socket_settle(struct sio_socket *s);
void sio_forget(struct sio_namespace *n, void *data);
void sio_refuse_namespace(struct sio_conn *c, struct ws_str nsp, const char *message,
                          struct ws_str data);

/* --- sio_room.c ------------------------------------------------------------------------------- */

void sio_leave_rooms(struct sio_socket *s);

/* Walk the rooms of a socket from s->seats on, the latest first, until NULL. */
const char *sio_room_of(const struct sio_seat *seat);
const struct sio_seat *sio_next_seat(const struct sio_seat *seat);

/* Call visit(arg, s) for each connected socket of a target. It may end `s` and change its rooms. */
void sio_visit(const struct sio_target *t, void (*visit)(void *arg, struct sio_socket *s),
               void *arg);

/* --- sio_emit.c ------------------------------------------------------------------------------- */

void sio_acked(struct sio_socket *s, int64_t id, const struct sio_args *args);
void sio_waits_end(struct sio_socket *s); /* nobody will answer any more */
void sio_gathers_end(struct sio_server *io);

/* --- sio_recovery.c --------------------------------------------------------------------------- */

bool sio_recovery_init(struct sio_namespace *n); /* false when out of memory */

/* Give the socket a pid: its own of before, with id, rooms and data, when its client names it and
 * an offset that is still known; else a new one. False when out of memory. */
bool sio_recovery_begin(struct sio_socket *s, struct ws_str auth);

/* Send what it missed. False when some of that has fallen out of the log since it came back, which
 * it may while on_auth is not answered. */
bool sio_recovery_replay(struct sio_socket *s);
void sio_recovery_keep(struct sio_socket *s); /* it has ended, and may come back: takes its data */

/* The offset of the packet that is emitted next, as text; false when recovery is off. */
enum { SIO_OFFSET_SIZE = 24 };
bool sio_recovery_offset(struct sio_namespace *n, char out[SIO_OFFSET_SIZE]);

/* Remember an encoded packet for those who miss it. */
void sio_recovery_log(const struct sio_target *t, struct ws_str text, const struct sio_args *args);

/* Nobody may come back: without sockets the log is of use to nobody. */
bool sio_recovery_is_idle(const struct sio_namespace *n);
void sio_recovery_free(struct sio_namespace *n);

#endif
