/* SPDX-License-Identifier: MIT
 *
 * Rooms over many processes; see ws_cluster.h.
 *
 * The channel of a room is NAME#room#ROOM, that of broadcasts NAME#all. A message is the id of the
 * process, 16 random bytes, then 't' or 'b' for its opcode, and its payload. */
#include "ws_cluster.h"

#include <string.h>

enum { ID_SIZE = 16, HEAD_SIZE = ID_SIZE + 1 };

static const char default_name[] = "minnow";
static const char room_infix[] = "#room#";
static const char all_suffix[] = "#all";

struct ws_cluster {
    struct ws_server *server;
    struct bus *bus;
    struct ws_account *account;
    struct bus_subscription *all_subscription;
    char id[ID_SIZE];
    char *channel; /* of a room: the name is written behind the prefix for each call */
    size_t size;
    size_t prefix_len; /* "NAME#room#" */
    size_t all_len;
    char all[]; /* "NAME#all" */
};

/* --- messages of others ----------------------------------------------------------------------- */

/* Take the head off. False for a message of our own, and for what no process like this one has
 * sent: what is no text must not go to a client as one. */
static bool take_head(const struct ws_cluster *c, struct ws_str *data, enum ws_opcode *opcode)
{
    if (data->len < HEAD_SIZE || memcmp(data->data, c->id, ID_SIZE) == 0)
        return false;
    *opcode = data->data[ID_SIZE] == 't' ? WS_OP_TEXT : WS_OP_BINARY;
    if (*opcode == WS_OP_BINARY && data->data[ID_SIZE] != 'b')
        return false;
    data->data += HEAD_SIZE;
    data->len -= HEAD_SIZE;
    return *opcode == WS_OP_BINARY || ws_utf8_valid(data->data, data->len);
}

static void room_message(void *arg, struct ws_str channel, struct ws_str data)
{
    struct ws_cluster *c = arg;
    struct ws_str room = {channel.data + c->prefix_len, channel.len - c->prefix_len};
    enum ws_opcode opcode;

    if (take_head(c, &data, &opcode))
        ws_publish_local(c->server, room, NULL, opcode, data.data, data.len);
}

static void broadcast_message(void *arg, struct ws_str channel, struct ws_str data)
{
    struct ws_cluster *c = arg;
    enum ws_opcode opcode;

    (void)channel;
    if (take_head(c, &data, &opcode))
        ws_broadcast_local(c->server, NULL, opcode, data.data, data.len);
}

/* --- our own ---------------------------------------------------------------------------------- */

/* The channel of a room, valid until the next call; data is NULL when out of memory. */
static struct ws_str channel_of(struct ws_cluster *c, struct ws_str room)
{
    size_t len = c->prefix_len + room.len;

    if (len > c->size) {
        char *channel = ws_account_resize(c->account, c->channel, c->size, len);

        if (channel == NULL)
            return (struct ws_str){NULL, 0};
        c->channel = channel;
        c->size = len;
    }
    if (room.len != 0)
        memcpy(c->channel + c->prefix_len, room.data, room.len);
    return (struct ws_str){c->channel, len};
}

static struct ws_str all_channel(const struct ws_cluster *c)
{
    return (struct ws_str){c->all, c->all_len};
}

/* What the bus cannot take is lost for the others: nobody waits for it. */
static void publish(void *arg, const struct ws_str *room, enum ws_opcode opcode, const void *data,
                    size_t len)
{
    struct ws_cluster *c = arg;
    char head[HEAD_SIZE];
    const struct ws_str pieces[] = {{head, sizeof head}, {data, len}};
    struct ws_str channel = room == NULL ? all_channel(c) : channel_of(c, *room);

    memcpy(head, c->id, ID_SIZE);
    head[ID_SIZE] = opcode == WS_OP_TEXT ? 't' : 'b';
    if (channel.data != NULL)
        bus_publish_pieces(c->bus, BUS_CHANNEL, channel, pieces, 2);
}

static bool room_begins(void *arg, struct ws_str room)
{
    struct ws_cluster *c = arg;
    struct ws_str channel = channel_of(c, room);

    return channel.data != NULL &&
           bus_subscribe(c->bus, BUS_CHANNEL, channel, room_message, c) != NULL;
}

/* There is room for the channel since the room has begun. */
static void room_ends(void *arg, struct ws_str room)
{
    struct ws_cluster *c = arg;

    bus_unsubscribe(bus_find(c->bus, BUS_CHANNEL, channel_of(c, room), room_message, c));
}

/* --- begin and end ---------------------------------------------------------------------------- */

static bool begin(struct ws_cluster *c, const char *name)
{
    const struct ws_relay relay = {publish, room_begins, room_ends, c};

    c->prefix_len = strlen(name) + strlen(room_infix);
    c->channel = ws_account_take(c->account, c->prefix_len);
    if (c->channel == NULL || ws_random(c->id, sizeof c->id) != 0)
        return false;
    c->size = c->prefix_len;
    memcpy(c->channel, name, strlen(name));
    memcpy(c->channel + strlen(name), room_infix, strlen(room_infix));
    c->all_subscription = bus_subscribe(c->bus, BUS_CHANNEL, all_channel(c), broadcast_message, c);
    return c->all_subscription != NULL && ws_set_relay(c->server, &relay) == 0;
}

static void release(struct ws_cluster *c)
{
    struct ws_account *account = c->account;

    bus_unsubscribe(c->all_subscription);
    ws_account_give(account, c->channel, c->size);
    ws_account_give(account, c, sizeof *c + c->all_len);
    ws_account_release(account);
}

struct ws_cluster *ws_cluster_new(struct ws_server *s, struct bus *b, const char *name)
{
    size_t len = strlen(name == NULL ? default_name : name);
    struct ws_account *account = ws_account_new(s, NULL);
    struct ws_cluster *c =
        account == NULL ? NULL : ws_account_take(account, sizeof *c + len + strlen(all_suffix));

    if (c == NULL) {
        ws_account_release(account);
        return NULL;
    }
    c->server = s;
    c->bus = b;
    c->account = account;
    c->all_len = len + strlen(all_suffix);
    memcpy(c->all, name == NULL ? default_name : name, len);
    memcpy(c->all + len, all_suffix, strlen(all_suffix));
    if (begin(c, name == NULL ? default_name : name))
        return c;
    release(c);
    return NULL;
}

void ws_cluster_free(struct ws_cluster *c)
{
    if (c == NULL)
        return;
    ws_set_relay(c->server, NULL); /* which ends the subscriptions of all rooms */
    release(c);
}
