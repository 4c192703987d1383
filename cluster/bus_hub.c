/* SPDX-License-Identifier: MIT
 *
 * The bus between workers, seen from the parent; see bus_hub.h. */
#include "bus_hub.h"

#include <string.h>
#include <unistd.h>

#include "bus_carrier.h"
#include "name_table.h"

/* What one worker subscribes to. */
struct hub_name {
    struct name_entry entry; /* first, so that an entry can be cast */
    struct hub_name *next;   /* of the worker's patterns */
    struct hub_name **link;
    char name[];
};

struct hub_worker {
    struct hub_worker *next;
    struct bus_hub *hub;
    struct bus_link *link;
    uint32_t number;
    struct name_table names[BUS_KINDS];
    struct hub_name *patterns;
    size_t name_bytes;
};

struct bus_hub {
    struct ws_server *server;
    struct ws_account *account;
    struct bus_hub_options options;
    struct bus_hub_events events;
    uint8_t key[WS_SIPHASH_KEY_SIZE];
    struct hub_worker *workers;
    struct bus_hub_stats stats;
};

static struct hub_worker *find(const struct bus_hub *h, uint32_t number)
{
    struct hub_worker *w = h->workers;

    while (w != NULL && w->number != number)
        w = w->next;
    return w;
}

/* --- names ------------------------------------------------------------------------------------ */

static size_t size_of(const struct hub_name *n)
{
    return sizeof *n + n->entry.len;
}

static void name_free(struct hub_worker *w, struct hub_name *n)
{
    if (n->link != NULL) {
        *n->link = n->next;
        if (n->next != NULL)
            n->next->link = n->link;
    }
    w->name_bytes -= size_of(n);
    ws_account_give(w->hub->account, n, size_of(n));
}

static void names_release(struct hub_worker *w)
{
    for (size_t kind = 0; kind < BUS_KINDS; kind++) {
        struct name_entry *e;
        size_t from = 0;

        while ((e = name_table_pop(&w->names[kind], &from)) != NULL)
            name_free(w, (struct hub_name *)e);
        name_table_release(&w->names[kind]);
    }
}

static void link_pattern(struct hub_worker *w, struct hub_name *n)
{
    n->next = w->patterns;
    n->link = &w->patterns;
    if (n->next != NULL)
        n->next->link = &n->next;
    w->patterns = n;
}

/* False where it is more than the worker may, or there is no memory: then it would miss
 * messages. */
static bool subscribe(struct hub_worker *w, enum bus_kind kind, struct ws_str name)
{
    struct bus_hub *h = w->hub;
    struct hub_name *n;

    if (name_table_find(&w->names[kind], name) != NULL)
        return true;
    if (sizeof *n + name.len > h->options.max_names - w->name_bytes)
        return false;
    n = ws_account_take(h->account, sizeof *n + name.len);
    if (n == NULL)
        return false;
    if (name.len > 0)
        memcpy(n->name, name.data, name.len);
    if (!name_table_add(&w->names[kind], &n->entry, (struct ws_str){n->name, name.len})) {
        ws_account_give(h->account, n, sizeof *n + name.len);
        return false;
    }
    w->name_bytes += size_of(n);
    if (kind == BUS_PATTERN)
        link_pattern(w, n);
    return true;
}

static void unsubscribe(struct hub_worker *w, enum bus_kind kind, struct ws_str name)
{
    struct name_entry *e = name_table_find(&w->names[kind], name);

    if (e == NULL)
        return;
    name_table_remove(&w->names[kind], e);
    name_free(w, (struct hub_name *)e);
}

static bool is_subscribed(const struct hub_worker *w, enum bus_kind kind, struct ws_str channel)
{
    if (name_table_find(&w->names[kind], channel) != NULL)
        return true;
    for (const struct hub_name *n = kind == BUS_CHANNEL ? w->patterns : NULL; n != NULL;
         n = n->next) {
        if (bus_pattern_fits((struct ws_str){n->name, n->entry.len}, channel))
            return true;
    }
    return false;
}

/* --- frames of workers ------------------------------------------------------------------------ */

/* [kind][name] */
static bool name_of(const uint8_t *data, size_t len, enum bus_kind *kind, struct ws_str *name)
{
    if (len < 1 || data[0] >= BUS_KINDS)
        return false;
    *kind = (enum bus_kind)data[0];
    *name = (struct ws_str){(const char *)data + 1, len - 1};
    return true;
}

/* Forward it as it came; the copy is made once, for the first who wants it. */
static bool publish(struct hub_worker *from, const uint8_t *data, size_t len)
{
    struct bus_hub *h = from->hub;
    struct bus_block *block = NULL;
    const struct ws_str whole = {(const char *)data, len};
    struct ws_str channel;

    if (len < 5 || data[0] >= BUS_KINDS || data[0] == BUS_PATTERN ||
        bus_get_u32(data + 1) > len - 5)
        return false;
    channel = (struct ws_str){(const char *)data + 5, bus_get_u32(data + 1)};
    for (struct hub_worker *w = h->workers; w != NULL; w = w->next) {
        if (w == from || !is_subscribed(w, (enum bus_kind)data[0], channel))
            continue;
        if (block == NULL)
            block = bus_block_new(h->account, BUS_FRAME_PUBLISH, &whole, 1);
        if (block == NULL || bus_link_send_block(w->link, BUS_LINK_MAY_DROP, block) != 0)
            h->stats.dropped++;
        else
            h->stats.forwarded++;
    }
    bus_block_release(block);
    return true;
}

static bool send_number(struct hub_worker *w, unsigned type, uint32_t number, const char *more,
                        size_t more_len)
{
    uint8_t bytes[4];
    const struct ws_str pieces[] = {{(const char *)bytes, sizeof bytes}, {more, more_len}};

    bus_put_u32(bytes, number);
    return bus_link_send(w->link, type, BUS_LINK_MUST, pieces, 2, -1) == 0;
}

static bool count(struct hub_worker *from, enum bus_kind kind, struct ws_str name)
{
    uint32_t n = 0;

    for (const struct hub_worker *w = from->hub->workers; w != NULL; w = w->next)
        n += name_table_find(&w->names[kind], name) != NULL;
    return send_number(from, BUS_FRAME_COUNTED, n, NULL, 0);
}

static bool pass_on(struct hub_worker *to, uint32_t from, const uint8_t *data, size_t len, int fd)
{
    uint8_t bytes[4];
    const struct ws_str pieces[] = {{(const char *)bytes, sizeof bytes}, {(const char *)data, len}};

    bus_put_u32(bytes, from);
    return bus_link_send(to->link, BUS_FRAME_HAND_OVER, BUS_LINK_MUST, pieces, 2, fd) == 0;
}

/* [number][bytes]. Where there is no such worker any more it goes back: the one that it came from
 * has been told so before, and answers itself. */
static bool hand_over(struct hub_worker *from, const uint8_t *data, size_t len, int fd)
{
    struct bus_hub *h = from->hub;
    struct hub_worker *to;

    if (len < 4 || fd < 0) {
        h->stats.lost += fd < 0;
        if (fd >= 0)
            close(fd);
        return len >= 4;
    }
    to = find(h, bus_get_u32(data));
    h->stats.returned += to == NULL;
    if (pass_on(to == NULL ? from : to, from->number, data + 4, len - 4, fd))
        h->stats.handed_over++;
    else
        h->stats.lost++;
    return true;
}

static bool frame(struct hub_worker *w, unsigned type, const uint8_t *data, size_t len, int fd)
{
    enum bus_kind kind;
    struct ws_str name;

    if (type == BUS_FRAME_HAND_OVER)
        return hand_over(w, data, len, fd);
    if (fd >= 0) {
        close(fd);
        return false;
    }
    if (type == BUS_FRAME_PUBLISH)
        return publish(w, data, len);
    if (type >= BUS_FRAME_OWN) {
        w->hub->events.frame(w->hub->events.arg, w->number, type,
                             (struct ws_str){(const char *)data, len});
        return true;
    }
    if (!name_of(data, len, &kind, &name))
        return false;
    if (type == BUS_FRAME_UNSUBSCRIBE)
        unsubscribe(w, kind, name);
    else if (type == BUS_FRAME_COUNT)
        return count(w, kind, name);
    else
        return type == BUS_FRAME_SUBSCRIBE && subscribe(w, kind, name);
    return true;
}

/* --- workers ---------------------------------------------------------------------------------- */

static void tell_peer(struct bus_hub *h, const struct hub_worker *except, uint32_t number,
                      bool is_there)
{
    for (struct hub_worker *w = h->workers; w != NULL; w = w->next) {
        if (w != except)
            send_number(w, BUS_FRAME_PEER, number, is_there ? "\1" : "\0", 1);
    }
}

static void worker_free(struct hub_worker *w)
{
    w->hub->stats.dropped += bus_link_dropped(w->link);
    bus_link_free(w->link);
    names_release(w);
    ws_account_give(w->hub->account, w, sizeof *w);
}

void bus_hub_remove(struct bus_hub *h, uint32_t worker)
{
    struct hub_worker **link = &h->workers;
    struct hub_worker *w;

    while (*link != NULL && (*link)->number != worker)
        link = &(*link)->next;
    w = *link;
    if (w == NULL)
        return;
    *link = w->next;
    h->stats.workers--;
    worker_free(w);
    tell_peer(h, NULL, worker, false);
}

static void worker_over(void *arg)
{
    struct hub_worker *w = arg;
    struct bus_hub *h = w->hub;
    uint32_t number = w->number;

    bus_hub_remove(h, number);
    h->events.over(h->events.arg, number);
}

static void frame_came(void *arg, unsigned type, const uint8_t *data, size_t len, int fd)
{
    struct hub_worker *w = arg;

    if (!frame(w, type, data, len, fd))
        worker_over(w);
}

/* Tell a new worker who is there. False without memory. */
static bool welcome(struct hub_worker *w)
{
    bool told = send_number(w, BUS_FRAME_WELCOME, w->number, NULL, 0);

    for (const struct hub_worker *peer = w->hub->workers; told && peer != NULL; peer = peer->next)
        told = send_number(w, BUS_FRAME_PEER, peer->number, "\1", 1);
    return told;
}

int bus_hub_add(struct bus_hub *h, uint32_t worker, int fd)
{
    struct hub_worker *w = ws_account_take(h->account, sizeof *w);
    const struct bus_link_events events = {.frame = frame_came, .over = worker_over, .arg = w};

    if (w == NULL) {
        close(fd);
        return WS_ERR_NOMEM;
    }
    *w = (struct hub_worker){.hub = h, .number = worker, .next = h->workers};
    for (size_t kind = 0; kind < BUS_KINDS; kind++)
        name_table_init(&w->names[kind], h->account, h->key);
    w->link = bus_link_new(h->server, fd, h->account, &h->options.link, &events);
    if (w->link == NULL) {
        ws_account_give(h->account, w, sizeof *w);
        return WS_ERR_NOMEM;
    }
    h->workers = w;
    h->stats.workers++;
    if (!welcome(w)) {
        bus_hub_remove(h, worker);
        return WS_ERR_NOMEM;
    }
    tell_peer(h, w, worker, true);
    return 0;
}

int bus_hub_tell(struct bus_hub *h, uint32_t worker, unsigned type, struct ws_str content)
{
    struct hub_worker *w = find(h, worker);

    return w == NULL ? WS_ERR_CLOSED : bus_link_send(w->link, type, BUS_LINK_MUST, &content, 1, -1);
}

/* --- the hub ---------------------------------------------------------------------------------- */

struct bus_hub *bus_hub_new(struct ws_server *s, const struct bus_hub_options *o,
                            const struct bus_hub_events *events)
{
    struct ws_account *account = ws_account_new(s, NULL);
    struct bus_hub *h = account == NULL ? NULL : ws_account_take(account, sizeof *h);

    if (h == NULL) {
        ws_account_release(account);
        return NULL;
    }
    *h = (struct bus_hub){.server = s, .account = account, .events = *events};
    if (o != NULL)
        h->options = *o;
    if (h->options.max_names == 0)
        h->options.max_names = 256u << 20;
    if (ws_random(h->key, sizeof h->key) == 0)
        return h;
    ws_account_give(account, h, sizeof *h);
    ws_account_release(account);
    return NULL;
}

struct bus_hub_stats bus_hub_stats(const struct bus_hub *h)
{
    struct bus_hub_stats stats = h->stats;

    for (const struct hub_worker *w = h->workers; w != NULL; w = w->next)
        stats.dropped += bus_link_dropped(w->link);
    return stats;
}

void bus_hub_free(struct bus_hub *h)
{
    struct ws_account *account;

    if (h == NULL)
        return;
    while (h->workers != NULL) {
        struct hub_worker *w = h->workers;

        h->workers = w->next;
        worker_free(w);
    }
    account = h->account;
    ws_account_give(account, h, sizeof *h);
    ws_account_release(account);
}
