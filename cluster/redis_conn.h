/* SPDX-License-Identifier: MIT
 *
 * One connection to a Redis: connects, logs in, sends commands from a queue, reads replies. Nothing
 * of it waits. What the replies mean is known above, in bus_redis.c. */
#ifndef CLUSTER_REDIS_CONN_H
#define CLUSTER_REDIS_CONN_H

#include <sys/socket.h>

#include "../ws.h"
#include "redis_url.h"
#include "resp.h"

/* A command, written already. */
struct redis_command {
    struct redis_command *next;
    size_t size;     /* of the whole block */
    size_t len;      /* of `bytes` */
    uint64_t number; /* once it is being sent: how many commands were sent before it, and 1 */
    void *tag;       /* the owner's; NULL: it is freed when it has been sent, and its reply has no
                        command */
    char bytes[];
};

/* In order. The owner of a connection owns its queue, too, which may outlive it. All zero but
 * `account` is empty. */
struct redis_queue {
    struct redis_command *first;
    struct redis_command *last;
    size_t bytes; /* of all blocks */
    struct ws_account *account;
};

/* Put a command behind all others; its last argument is in `pieces` pieces, as for resp_command().
 * NULL when out of memory. */
struct redis_command *redis_queue_add(struct redis_queue *q, const struct ws_str *arguments,
                                      size_t count, const struct ws_str *last, size_t pieces);
/* Take the command behind `before` out, or the first one where that is NULL; it is the caller's. */
struct redis_command *redis_queue_take(struct redis_queue *q, struct redis_command *before);
void redis_command_free(struct redis_queue *q, struct redis_command *command);
void redis_queue_release(struct redis_queue *q);

enum redis_state {
    REDIS_OFF,
    REDIS_CONNECTING,
    REDIS_GREETING,     /* HELLO is sent */
    REDIS_GREETING_OLD, /* to a Redis before 6: AUTH and PING */
    REDIS_READY
};

/* What is told to the owner, from the loop. Each of them may call redis_conn_close(). */
struct redis_conn_events {
    void (*ready)(void *arg);
    /* A reply, or a push, has come. `command` is one with a tag that it answers; it is freed after
     * return. NULL: it answers one without, or it is a push. */
    void (*reply)(void *arg, const struct resp_reader *r, const struct redis_command *command);
    /* All of the queue has been sent. */
    void (*sent)(void *arg);
    /* The connection is lost, and closed already. `why` is valid until return. */
    void (*lost)(void *arg, const char *why);
};

/* In place. */
struct redis_conn {
    enum redis_state state;
    int fd;             /* -1: OFF */
    bool is_subscriber; /* replies to SUBSCRIBE and the like are not counted against commands */
    bool is_replica;    /* the Redis said so */
    bool refuses_replica;
    bool watches_output;
    unsigned generation; /* how often it was closed: another connection may have the same number */
    struct ws_server *server;
    struct ws_account *account;
    const struct redis_url *url;
    const struct redis_conn_events *events;
    void *arg;

    struct redis_queue *queue;
    size_t sent;       /* bytes of its first command */
    uint64_t commands; /* that were sent */
    uint64_t replies;
    struct redis_queue unanswered; /* commands with a tag that were sent */

    uint64_t heard_ms; /* when something came last, or the connection began */
    struct resp_reader reader;
    char *in;
    size_t in_len;
    size_t in_size;
    struct ws_timer *rest; /* goes on with what is in it, in the next turn */
    bool is_resting;
};

/* Set up, without connecting. All that is passed is borrowed for good. `message_max`: bytes of one
 * reply. False when out of memory. */
bool redis_conn_init(struct redis_conn *c, struct ws_server *s, struct redis_queue *queue,
                     size_t message_max, const struct redis_conn_events *events, void *arg);

/* Begin to connect. NULL, and then `ready` or `lost` will be called; or why it failed at once. */
const char *redis_conn_open(struct redis_conn *c, const struct redis_url *url,
                            const struct sockaddr *address, socklen_t len);

/* Send what is in the queue, as far as the socket takes it. May call `sent` or `lost`. */
void redis_conn_flush(struct redis_conn *c);

/* Send what the socket still takes, before the connection is given up. Tells the owner nothing. */
void redis_conn_send_last(struct redis_conn *c);

/* Give it up, without a word to the owner. The queue keeps what it has; a command that was sent in
 * part is its first one, and `sent` says how much of it. Commands in `unanswered` are the
 * caller's. */
void redis_conn_close(struct redis_conn *c);

/* What a Redis says, for the log: its first bytes, with '?' for each that is no printable ASCII.
 * Returns `out`. */
enum { REDIS_SHOWN = 151 };
const char *redis_shown(char out[REDIS_SHOWN], struct ws_str text);

/* Close it, and free what it has. Allowed also where redis_conn_init() has failed, or was not
 * called and all is zero. */
void redis_conn_release(struct redis_conn *c);

#endif
