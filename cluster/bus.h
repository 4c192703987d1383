/* SPDX-License-Identifier: MIT
 *
 * A bus: what carries messages between processes. A process publishes to channels and subscribes to
 * channels and patterns, as with Redis; bus_redis.h and bus_local.h make the two kinds of bus.
 *
 * A bus belongs to one server, and to the thread of its loop: all functions are called there, from
 * any callback. None of them calls back; what is to be told is told later, by the loop.
 *
 * The promise is: at most once. Messages of one process to one channel come in the order in which
 * it published them. What is published while the bus is down waits in a queue of bounded size, then
 * the oldest is dropped. A process may get its own messages back (from Redis it does): users put an
 * id of their own into each message to tell them apart. docs/cluster.md */
#ifndef CLUSTER_BUS_H
#define CLUSTER_BUS_H

#include <stdbool.h>
#include <stddef.h>

#include "../ws.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bus;
struct bus_subscription;
struct bus_listener;

/* The commands of Redis for them: PUBLISH and SUBSCRIBE; PSUBSCRIBE; SPUBLISH and SSUBSCRIBE. */
enum bus_kind { BUS_CHANNEL, BUS_PATTERN, BUS_SHARD };

/* A message has come. `channel` is where it was published; both are valid until return. It may call
 * any function of the bus but bus_free(). */
typedef void bus_message_fn(void *arg, struct ws_str channel, struct ws_str data);

/* From now on call fn(arg, ...) for each message that is published to the channel `name`, or for
 * BUS_PATTERN to any channel (not shard) whose name fits: `*` stands for any text, `?` for one
 * byte, `[a-c]` for one of these, `\` takes the meaning from the next. The name, of less than 4
 * GiB, is copied. There may be several subscriptions of one name, which are called in their order.
 * NULL when out of memory. It ends by bus_unsubscribe() or with the bus. */
struct bus_subscription *bus_subscribe(struct bus *b, enum bus_kind kind, struct ws_str name,
                                       bus_message_fn *fn, void *arg);

/* End a subscription; NULL is allowed. `fn` is not called any more. Allowed in any callback: in
 * `fn` itself, and in that of another subscription to which the same message is told. */
void bus_unsubscribe(struct bus_subscription *s);

/* The first subscription that was made with these arguments, or NULL. */
struct bus_subscription *bus_find(const struct bus *b, enum bus_kind kind, struct ws_str name,
                                  bus_message_fn *fn, const void *arg);

/* Publish one message to a channel, BUS_CHANNEL or BUS_SHARD; all is copied. Returns 0 when it is
 * taken: it leaves within about 1 ms, or waits while the bus is down, and may be dropped. Else
 * nothing was published: WS_ERR_INVALID for BUS_PATTERN; WS_ERR_FULL for a message that is larger
 * than the queue of the bus (bus_redis_options.queue_max, bus_link_options.max_frame), or where the
 * queue is full of what must not be dropped; WS_ERR_NOMEM. */
int bus_publish(struct bus *b, enum bus_kind kind, struct ws_str channel, struct ws_str data);

/* The same with the message in `count` pieces, which arrive as one message, in this order; 0: an
 * empty one. */
int bus_publish_pieces(struct bus *b, enum bus_kind kind, struct ws_str channel,
                       const struct ws_str *pieces, size_t count);

/* Ask how many processes, over all, subscribe to a channel, BUS_CHANNEL or BUS_SHARD (patterns do
 * not count). fn(arg, count) is called once; with a WS_ERR_, below 0, where the bus is down, or is
 * lost before it answers; not at all where the bus is freed before. Returns 0; else `fn` is not
 * called: WS_ERR_INVALID for BUS_PATTERN; WS_ERR_FULL where too much waits to be sent;
 * WS_ERR_NOMEM. */
int bus_count(struct bus *b, enum bus_kind kind, struct ws_str channel,
              void (*fn)(void *arg, ptrdiff_t count), void *arg);

/* Is the bus connected, with all subscriptions that there were in force? */
bool bus_is_up(const struct bus *b);

/* Call fn(arg, up) each time this changes. After a time of being down, messages of others may have
 * been missed. NULL when out of memory. Ends by bus_unlisten() or with the bus. */
struct bus_listener *bus_listen(struct bus *b, void (*fn)(void *arg, bool up), void *arg);
void bus_unlisten(struct bus_listener *l); /* NULL is allowed */

/* Messages of this process that were dropped since the bus was made: those that were pushed out of
 * the queue, those of which a part was sent when the connection was lost, and those that Redis has
 * refused. What was lost on its way is not known. */
unsigned long long bus_dropped(const struct bus *b);

/* What was published is still sent, as far as the socket takes it at once. Its subscriptions and
 * listeners end, and questions that are open have no answer. Before ws_server_free(), and not from
 * a callback of the bus. NULL is allowed. */
void bus_free(struct bus *b);

#ifdef __cplusplus
}
#endif

#endif
