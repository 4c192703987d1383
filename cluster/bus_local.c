/* SPDX-License-Identifier: MIT
 *
 * The bus between workers, seen from a worker; see bus_local.h. */
#include "bus_local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus_carrier.h"

enum { QUEUED_CHANGES = 256 * 1024 /* bytes that wait, before more of bus_change() is told */ };

struct bus_local {
    struct bus bus;        /* first, so that a bus can be cast */
    struct bus_link *link; /* NULL: the parent is gone */
    struct bus_local_events events;
    struct ws_timer *change_timer;
    struct bus_question *questions; /* asked, and not answered, in order */
    struct bus_question **last_question;
    uint32_t *peers;
    size_t peer_count, peer_cap;
    struct ws_str *patterns; /* that the hub was told, copied */
    size_t pattern_count, pattern_cap;
    unsigned long long unsent; /* messages that were dropped, but for those of `link` */
};

static struct bus_local *local_of(struct bus *b)
{
    return (struct bus_local *)b;
}

/* Make room for one more of `size` bytes in an array. */
static void *grow(struct bus_local *l, void *array, size_t count, size_t *cap, size_t size)
{
    size_t more = *cap == 0 ? 8 : 2 * *cap;

    if (count < *cap)
        return array;
    array = ws_account_resize(l->bus.account, array, *cap * size, more * size);
    if (array != NULL)
        *cap = more;
    return array;
}

/* --- to the hub ------------------------------------------------------------------------------- */

static int send_frame(struct bus_local *l, unsigned type, enum bus_link_way way, enum bus_kind kind,
                      const struct ws_str *pieces, size_t count)
{
    struct ws_str all[8];
    const char first = (char)kind;

    assert(count < sizeof all / sizeof all[0]);
    all[0] = (struct ws_str){&first, 1};
    memcpy(all + 1, pieces, count * sizeof *pieces);
    return l->link == NULL ? WS_ERR_CLOSED : bus_link_send(l->link, type, way, all, count + 1, -1);
}

/* One piece after the other in a buffer, where they are more than a frame is sent in. */
static int publish_joined(struct bus_local *l, enum bus_kind kind, const struct ws_str *front,
                          const struct ws_str *pieces, size_t count)
{
    struct ws_str all[] = {front[0], front[1], {NULL, 0}};
    size_t len = 0, at = 0;
    char *joined;
    int error;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    joined = ws_account_take(l->bus.account, len + 1);
    if (joined == NULL)
        return WS_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(joined + at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    all[2] = (struct ws_str){joined, len};
    error = send_frame(l, BUS_FRAME_PUBLISH, BUS_LINK_MAY_DROP, kind, all, 3);
    ws_account_give(l->bus.account, joined, len + 1);
    return error;
}

static int publish(struct bus *b, enum bus_kind kind, struct ws_str channel,
                   const struct ws_str *pieces, size_t count)
{
    struct bus_local *l = local_of(b);
    uint8_t len[4];
    struct ws_str all[6] = {{(const char *)len, sizeof len}, channel};
    int error;

    if (channel.len > UINT32_MAX / 2)
        return WS_ERR_FULL;
    bus_put_u32(len, (uint32_t)channel.len);
    if (count > 4) {
        error = publish_joined(l, kind, all, pieces, count);
    } else {
        memcpy(all + 2, pieces, count * sizeof *pieces);
        error = send_frame(l, BUS_FRAME_PUBLISH, BUS_LINK_MAY_DROP, kind, all, count + 2);
    }
    if (error == WS_ERR_CLOSED) { /* nobody else is there any more */
        l->unsent++;
        error = 0;
    }
    b->dropped = l->unsent + (l->link == NULL ? 0 : bus_link_dropped(l->link));
    return error;
}

static int count(struct bus *b, enum bus_kind kind, struct ws_str channel, struct bus_question *q)
{
    struct bus_local *l = local_of(b);
    int error = send_frame(l, BUS_FRAME_COUNT, BUS_LINK_MUST, kind, &channel, 1);

    if (error != 0)
        return WS_ERR_NOMEM;
    q->next = NULL;
    *l->last_question = q;
    l->last_question = &q->next;
    return 0;
}

static void forget_pattern(struct bus_local *l, size_t i)
{
    ws_account_give(l->bus.account, (void *)(uintptr_t)l->patterns[i].data, l->patterns[i].len + 1);
    l->patterns[i] = l->patterns[--l->pattern_count];
}

/* Keep which patterns there are: bus_deliver() wants the name of the subscription. */
static bool note_pattern(struct bus_local *l, struct ws_str name, bool wanted)
{
    struct ws_str *patterns;
    char *copy;

    for (size_t i = 0; i < l->pattern_count; i++) {
        if (l->patterns[i].len == name.len &&
            memcmp(l->patterns[i].data, name.data, name.len) == 0) {
            if (!wanted)
                forget_pattern(l, i);
            return true;
        }
    }
    if (!wanted)
        return true; /* uncovered: nothing ends of which the beginning was not told */
    patterns = grow(l, l->patterns, l->pattern_count, &l->pattern_cap, sizeof(struct ws_str));
    if (patterns == NULL)
        return false;
    l->patterns = patterns;
    copy = ws_account_take(l->bus.account, name.len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, name.data, name.len);
    l->patterns[l->pattern_count++] = (struct ws_str){copy, name.len};
    return true;
}

static void link_over(void *arg);

/* Tell the hub what has changed, as much as there is room for. What cannot be told for want of
 * memory would never be told again: then the parent is given up, as if it had gone. */
static void tell_changes(void *arg)
{
    struct bus_local *l = arg;
    enum bus_kind kind;
    struct ws_str name;
    bool wanted;

    while (l->link != NULL && bus_link_queued(l->link) < QUEUED_CHANGES &&
           bus_change(&l->bus, &kind, &name, &wanted)) {
        if ((kind == BUS_PATTERN && !note_pattern(l, name, wanted)) ||
            send_frame(l, wanted ? BUS_FRAME_SUBSCRIBE : BUS_FRAME_UNSUBSCRIBE, BUS_LINK_MUST, kind,
                       &name, 1) != 0) {
            link_over(l);
            return;
        }
    }
    if (l->link != NULL && l->bus.changes != NULL)
        ws_timer_set(l->change_timer, 1);
}

static void changed(struct bus *b)
{
    ws_timer_set(local_of(b)->change_timer, 0);
}

/* --- from the hub ----------------------------------------------------------------------------- */

/* [kind][length of the channel][channel][data]; what is none is left out. */
static void deliver(struct bus_local *l, const uint8_t *data, size_t len)
{
    enum bus_kind kind;
    struct ws_str channel, message;

    if (len < 5 || (data[0] != BUS_CHANNEL && data[0] != BUS_SHARD) ||
        bus_get_u32(data + 1) > len - 5)
        return;
    kind = (enum bus_kind)data[0];
    channel = (struct ws_str){(const char *)data + 5, bus_get_u32(data + 1)};
    message = (struct ws_str){channel.data + channel.len, len - 5 - channel.len};
    bus_deliver(&l->bus, kind, channel, channel, message);
    for (size_t i = 0; kind == BUS_CHANNEL && i < l->pattern_count; i++) {
        if (bus_pattern_fits(l->patterns[i], channel))
            bus_deliver(&l->bus, BUS_PATTERN, l->patterns[i], channel, message);
    }
}

static void answer(struct bus_local *l, ptrdiff_t n)
{
    struct bus_question *q = l->questions;

    if (q == NULL)
        return;
    l->questions = q->next;
    if (l->questions == NULL)
        l->last_question = &l->questions;
    bus_answer(&l->bus, q, n);
}

bool bus_local_has(const struct bus *b, uint32_t worker)
{
    const struct bus_local *l = (const struct bus_local *)b;

    for (size_t i = 0; i < l->peer_count; i++) {
        if (l->peers[i] == worker)
            return true;
    }
    return false;
}

/* Without memory for it the worker is not known here, and its sessions are not found. */
static void note_peer(struct bus_local *l, uint32_t worker, bool is_there)
{
    uint32_t *peers;

    for (size_t i = 0; i < l->peer_count; i++) {
        if (l->peers[i] != worker)
            continue;
        if (!is_there)
            l->peers[i] = l->peers[--l->peer_count];
        return;
    }
    peers = is_there ? grow(l, l->peers, l->peer_count, &l->peer_cap, sizeof *peers) : NULL;
    if (peers == NULL)
        return;
    l->peers = peers;
    l->peers[l->peer_count++] = worker;
}

static void adopt(struct bus_local *l, const uint8_t *data, size_t len, int fd)
{
    if (fd >= 0 && len >= 4)
        ws_adopt(l->bus.server, fd, data + 4, len - 4);
    else if (fd >= 0)
        close(fd);
}

static void frame_came(void *arg, unsigned type, const uint8_t *data, size_t len, int fd)
{
    struct bus_local *l = arg;

    if (type == BUS_FRAME_HAND_OVER)
        adopt(l, data, len, fd);
    else if (fd >= 0)
        close(fd);
    else if (type == BUS_FRAME_WELCOME)
        bus_set_up(&l->bus, true);
    else if (type == BUS_FRAME_PEER && len == 5)
        note_peer(l, bus_get_u32(data), data[4] == 1);
    else if (type == BUS_FRAME_COUNTED && len == 4)
        answer(l, (ptrdiff_t)bus_get_u32(data));
    else if (type == BUS_FRAME_PUBLISH)
        deliver(l, data, len);
    else if (type >= BUS_FRAME_OWN && l->events.frame != NULL)
        l->events.frame(l->events.arg, type, (struct ws_str){(const char *)data, len});
}

static void link_over(void *arg)
{
    struct bus_local *l = arg;
    struct bus_link *link = l->link;

    l->link = NULL;
    l->peer_count = 0;
    l->unsent += bus_link_dropped(link);
    bus_link_free(link);
    bus_set_up(&l->bus, false); /* first, so that what is asked meanwhile is answered later */
    while (l->questions != NULL)
        answer(l, WS_ERR_CLOSED);
    if (l->events.over != NULL)
        l->events.over(l->events.arg);
}

/* --- connections, and frames of the application ----------------------------------------------- */

int bus_local_hand_over(struct bus *b, uint32_t worker, struct ws_conn *c)
{
    struct bus_local *l = local_of(b);
    struct ws_str pieces[3];
    uint8_t number[4];
    int fd;

    if (l->link == NULL || !bus_local_has(b, worker))
        return WS_ERR_CLOSED;
    if (!bus_link_takes_fd(l->link))
        return WS_ERR_FULL;
    fd = ws_detach(c, pieces + 1);
    if (fd < 0)
        return fd;
    bus_put_u32(number, worker);
    pieces[0] = (struct ws_str){(const char *)number, sizeof number};
    bus_link_send(l->link, BUS_FRAME_HAND_OVER, BUS_LINK_MUST, pieces, 3, fd);
    return 0; /* without memory it is closed */
}

int bus_local_tell(struct bus *b, unsigned type, struct ws_str content)
{
    struct bus_local *l = local_of(b);

    return l->link == NULL ? WS_ERR_CLOSED
                           : bus_link_send(l->link, type, BUS_LINK_MUST, &content, 1, -1);
}

bool bus_local_flush(struct bus *b)
{
    const struct bus_local *l = local_of(b);

    return l->link == NULL || bus_link_flush(l->link);
}

/* --- begin and end ---------------------------------------------------------------------------- */

/* What was published in the last turn, say when the last client left, leaves now. */
static void local_free(struct bus *b)
{
    struct bus_local *l = local_of(b);

    bus_local_flush(b);
    bus_link_free(l->link);
    ws_timer_cancel(l->change_timer);
    while (l->questions != NULL) {
        struct bus_question *q = l->questions;

        l->questions = q->next;
        bus_forget(b, q);
    }
    while (l->pattern_count > 0)
        forget_pattern(l, 0);
    ws_account_give(b->account, l->patterns, l->pattern_cap * sizeof *l->patterns);
    ws_account_give(b->account, l->peers, l->peer_cap * sizeof *l->peers);
    bus_release(b);
    free(l);
}

static const struct bus_carrier carrier = {publish, count, changed, local_free};

struct bus *bus_local_new(struct ws_server *s, int fd, const struct bus_link_options *o,
                          const struct bus_local_events *events)
{
    static const struct bus_link_options defaults;
    struct bus_local *l = calloc(1, sizeof *l);
    const struct bus_link_events link_events = {frame_came, link_over, l};

    if (l == NULL || !bus_init(&l->bus, &carrier, s)) {
        free(l);
        close(fd);
        return NULL;
    }
    l->last_question = &l->questions;
    if (events != NULL)
        l->events = *events;
    l->change_timer = ws_timer_new(s, NULL, tell_changes, l);
    if (l->change_timer == NULL)
        close(fd);
    else
        l->link = bus_link_new(s, fd, l->bus.account, o != NULL ? o : &defaults, &link_events);
    if (l->link != NULL)
        return &l->bus;
    local_free(&l->bus);
    return NULL;
}
