/* SPDX-License-Identifier: MIT
 *
 * One end of a socket pair between two processes of one machine: frames in both directions, each
 * of which may bring a descriptor along (SCM_RIGHTS of unix(7)). For bus_local.c and bus_hub.c.
 *
 * A frame is its length in 4 bytes, little-endian, its type in one, a byte that is 1 where a
 * descriptor comes along, and its content. The other end may be any process that has gone wrong: it
 * makes this end hold no more than one frame of `max_frame` bytes, as far as it has come, 64 KiB
 * behind it, and a few descriptors of frames that are being received. */
#ifndef CLUSTER_BUS_LINK_H
#define CLUSTER_BUS_LINK_H

#include "../ws.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bus_link;
struct bus_block;

/* Types of frames. What is in [brackets] is their content; numbers have 4 bytes, little-endian. */
enum bus_frame {
    BUS_FRAME_WELCOME = 1, /* to a worker: [its number] */
    BUS_FRAME_PEER,        /* to a worker: [number][1: there is such a worker, 0: no more] */
    BUS_FRAME_SUBSCRIBE,   /* to the hub: [kind, a byte][name] */
    BUS_FRAME_UNSUBSCRIBE, /* the same */
    BUS_FRAME_PUBLISH,     /* both ways: [kind, a byte][length of the channel][channel][data] */
    BUS_FRAME_COUNT,       /* to the hub: [kind, a byte][name] */
    BUS_FRAME_COUNTED,     /* to a worker, in the order of its questions: [count] */
    BUS_FRAME_HAND_OVER,   /* to the hub: [number of the worker that is to get it][bytes]; to a
                              worker: [number of the one that it comes from][bytes]; with the
                              descriptor */
    BUS_FRAME_OWN = 64     /* types from here on are the application's */
};

struct bus_link_events {
    /* A frame has come; `data` is valid until return. `fd` is -1, or the callee's now: -1 also
     * where the descriptor was lost, for this process has no place for one more. It may end the
     * link. Many frames that come at once are told over several turns. */
    void (*frame)(void *arg, unsigned type, const uint8_t *data, size_t len, int fd);
    /* The other end has closed, or has sent what is no frame. Called once, as the last; end the
     * link by bus_link_free(), now or later. */
    void (*over)(void *arg);
    void *arg;
};

struct bus_link_options {
    size_t max_frame; /* bytes of content; 0: 64 MiB */
    size_t
        max_queue; /* bytes of memory for unsent frames that may be dropped, and as many for those
                         that must not; 0: 16 MiB. One frame is taken whatever its size */
};

enum { BUS_LINK_FDS_MAX = 1024 /* descriptors that wait in one link */ };

/* Takes `fd`, a non-blocking SOCK_STREAM Unix socket, in any case. What waits counts in `a`, which
 * must live longer. NULL: out of memory, or epoll does not take it. */
struct bus_link *bus_link_new(struct ws_server *s, int fd, struct ws_account *a,
                              const struct bus_link_options *o,
                              const struct bus_link_events *events);

/* Whether a frame may be dropped where the other end does not read. */
enum bus_link_way { BUS_LINK_MAY_DROP, BUS_LINK_MUST };

/* Send a frame; it leaves in the next turn, or when the other end reads; with a descriptor at once.
 * All is copied, but `fd` (or -1) is taken, whatever is returned. Returns 0; WS_ERR_FULL for more
 * than max_frame, where too many descriptors wait, or for a frame that must not be dropped and has
 * no room; WS_ERR_NOMEM; WS_ERR_CLOSED. */
int bus_link_send(struct bus_link *l, unsigned type, enum bus_link_way way,
                  const struct ws_str *pieces, size_t count, int fd);

/* A frame without a descriptor for many links; each of them keeps it as long as it needs it. NULL
 * when out of memory. */
struct bus_block *bus_block_new(struct ws_account *a, unsigned type, const struct ws_str *pieces,
                                size_t count);
void bus_block_release(struct bus_block *b);
int bus_link_send_block(struct bus_link *l, enum bus_link_way way, struct bus_block *b);

/* Would bus_link_send() take a frame with a descriptor now, if there is memory? */
bool bus_link_takes_fd(const struct bus_link *l);
size_t bus_link_queued(const struct bus_link *l); /* bytes of memory for unsent frames */
unsigned long long bus_link_dropped(const struct bus_link *l); /* frames, since the start */
/* Try to send all that waits, now: before a process ends, say. False when something waits still. */
bool bus_link_flush(struct bus_link *l);
/* Take some of what has come, now; calls the callbacks, so it is not allowed in them. False when
 * there is nothing, or the link is over: `over` may have ended it. */
bool bus_link_read(struct bus_link *l);
/* Allowed in its own callbacks. Closes the socket and the descriptors that wait. */
void bus_link_free(struct bus_link *l);

/* Numbers in frames. */
void bus_put_u32(uint8_t out[4], uint32_t n);
uint32_t bus_get_u32(const uint8_t *data);

#ifdef __cplusplus
}
#endif

#endif
