/* SPDX-License-Identifier: MIT
 *
 * Frames over a socket pair; see bus_link.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "bus_link.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    HEADER = 6,            /* bytes in front of the content */
    READ_SIZE = 64 * 1024, /* bytes read per readiness */
    FDS_A_READ = 4,        /* descriptors that one read may bring; a frame has one */
    PIECES = 32,           /* frames sent in one call */
    SEND_AT = 256 * 1024   /* bytes that wait for the end of the turn, at most */
};

/* A frame as it is sent, header and all. */
struct bus_block {
    struct ws_account *account;
    size_t users;
    size_t len;
    uint8_t bytes[];
};

/* A place in the queue of a link. */
struct item {
    struct item *next;
    struct bus_block *block;
    int fd; /* -1: none */
    bool may_drop;
};

struct bus_link {
    struct ws_server *server;
    struct ws_account *account;
    struct bus_link_options options;
    struct bus_link_events events;
    int fd;
    bool watches_output;
    bool full;    /* the socket took no more; until it can take some */
    bool broken;  /* nothing is sent any more; the next read ends it */
    bool calling; /* bus_link_free() waits for the callback to return */
    bool ended;
    bool is_resting; /* frames that have come wait for the next turn */
    struct ws_timer *rest;

    struct item *first;
    struct item **last;
    size_t queued;    /* cost_of() all */
    size_t droppable; /* of them */
    size_t sent;      /* bytes of `first` */
    size_t fds;       /* that wait */
    unsigned long long dropped;

    uint8_t *in; /* an unfinished frame */
    size_t in_len, in_size;
    int fds_in[FDS_A_READ + 1]; /* came, and their frames did not yet; -1: lost on the way */
    size_t fds_in_count;
};

void bus_put_u32(uint8_t out[4], uint32_t n)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(n >> 8 * i);
}

uint32_t bus_get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static bool is_longer(const struct ws_str *pieces, size_t count, size_t max)
{
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > max)
            return true;
        max -= pieces[i].len;
    }
    return false;
}

static struct bus_block *block_of(struct ws_account *a, unsigned type, const struct ws_str *pieces,
                                  size_t count, bool with_fd)
{
    struct bus_block *b;
    size_t len = 0;
    uint8_t *at;

    if (is_longer(pieces, count, UINT32_MAX - HEADER))
        return NULL;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    b = ws_account_take(a, sizeof *b + HEADER + len);
    if (b == NULL)
        return NULL;
    *b = (struct bus_block){.account = a, .users = 1, .len = HEADER + len};
    bus_put_u32(b->bytes, (uint32_t)len);
    b->bytes[4] = (uint8_t)type;
    b->bytes[5] = with_fd;
    at = b->bytes + HEADER;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    return b;
}

struct bus_block *bus_block_new(struct ws_account *a, unsigned type, const struct ws_str *pieces,
                                size_t count)
{
    return block_of(a, type, pieces, count, false);
}

void bus_block_release(struct bus_block *b)
{
    if (b != NULL && --b->users == 0)
        ws_account_give(b->account, b, sizeof *b + b->len);
}

/* --- output ----------------------------------------------------------------------------------- */

/* What waits is bounded by the memory that it takes: most frames are smaller than an item. A block
 * of many links counts in each. */
static size_t cost_of(const struct bus_block *b)
{
    return sizeof(struct item) + sizeof *b + b->len;
}

/* Take the item at `*link` out of the queue; its descriptor is closed. */
static void remove_item(struct bus_link *l, struct item **link)
{
    struct item *item = *link;

    *link = item->next;
    if (item->next == NULL)
        l->last = link;
    l->queued -= cost_of(item->block);
    if (item->may_drop)
        l->droppable -= cost_of(item->block);
    if (item->fd >= 0) {
        close(item->fd);
        l->fds--;
    }
    bus_block_release(item->block);
    ws_account_give(l->account, item, sizeof *item);
}

static void drop_output(struct bus_link *l)
{
    while (l->first != NULL)
        remove_item(l, &l->first);
    l->sent = 0;
}

/* Make room for a frame of this cost that may be dropped: the oldest go first, but for one of which
 * a part is sent. */
static void make_room(struct bus_link *l, size_t cost)
{
    struct item **link = l->sent > 0 && l->first != NULL ? &l->first->next : &l->first;

    while (*link != NULL && l->droppable > 0 &&
           (cost > l->options.max_queue || l->droppable > l->options.max_queue - cost)) {
        if ((*link)->may_drop) {
            l->dropped++;
            remove_item(l, link);
        } else {
            link = &(*link)->next;
        }
    }
}

/* Up to PIECES frames for one call. A descriptor belongs to the first byte, so its frame comes
 * first. */
static size_t gather(const struct bus_link *l, struct iovec iov[PIECES])
{
    size_t skip = l->sent;
    size_t count = 0;

    for (const struct item *i = l->first; i != NULL && count < PIECES; i = i->next) {
        if (count > 0 && i->fd >= 0)
            break;
        iov[count++] = (struct iovec){i->block->bytes + skip, i->block->len - skip};
        skip = 0;
    }
    return count;
}

static void note_sent(struct bus_link *l, size_t n)
{
    if (l->first->fd >= 0) {
        close(l->first->fd);
        l->first->fd = -1;
        l->fds--;
    }
    l->sent += n;
    while (l->first != NULL && l->sent >= l->first->block->len) {
        l->sent -= l->first->block->len;
        remove_item(l, &l->first);
    }
}

/* One call. Returns what sendmsg() does. */
static ssize_t send_some(struct bus_link *l)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov[PIECES];
    struct msghdr message = {.msg_iov = iov};

    message.msg_iovlen = (uint8_t)gather(l, iov); /* a size_t in glibc, an int in musl */
    if (l->first->fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &l->first->fd, sizeof(int));
    }
    return sendmsg(l->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void link_ready(void *arg, uint32_t ready);

static void watch_output(struct bus_link *l, bool wanted)
{
    if (wanted == l->watches_output || l->ended)
        return;
    if (ws_watch(l->server, l->fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, link_ready, l) == 0)
        l->watches_output = wanted;
}

bool bus_link_flush(struct bus_link *l)
{
    while (l->first != NULL && !l->broken) {
        ssize_t n = send_some(l);

        if (n > 0) {
            note_sent(l, (size_t)n);
        } else if (n < 0 && errno == ETOOMANYREFS) {
            remove_item(l, &l->first); /* too many descriptors are on their way already */
            l->dropped++;
        } else if (n == 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ||
                   errno == ENOMEM) {
            l->full = true;
            break;
        } else if (errno != EINTR) {
            l->broken = true;
            shutdown(l->fd, SHUT_RDWR);
        }
    }
    if (l->broken)
        drop_output(l);
    watch_output(l, l->first != NULL);
    return l->first == NULL;
}

/* Is there room for a frame that must not be dropped? One with a descriptor may pass the bound by
 * its own cost: bus_link_takes_fd() has said so, and the connection would be lost. */
static bool has_room(const struct bus_link *l, size_t cost)
{
    size_t kept = l->queued - l->droppable;

    return kept == 0 || (kept <= l->options.max_queue && cost <= l->options.max_queue - kept);
}

/* Takes one use of the block, and the descriptor. */
static int append(struct bus_link *l, enum bus_link_way way, struct bus_block *b, int fd)
{
    struct item *item = NULL;
    int error = 0;

    if (l->broken || l->ended)
        error = WS_ERR_CLOSED;
    else if (b->len - HEADER > l->options.max_frame || (fd >= 0 && l->fds >= BUS_LINK_FDS_MAX) ||
             (way == BUS_LINK_MUST && !has_room(l, fd >= 0 ? 0 : cost_of(b))))
        error = WS_ERR_FULL;
    else if ((item = ws_account_take(l->account, sizeof *item)) == NULL)
        error = WS_ERR_NOMEM;
    if (error != 0) {
        bus_block_release(b);
        close_if_open(fd);
        return error;
    }
    if (way == BUS_LINK_MAY_DROP)
        make_room(l, cost_of(b));
    *item = (struct item){.block = b, .fd = fd, .may_drop = way == BUS_LINK_MAY_DROP};
    *l->last = item;
    l->last = &item->next;
    l->queued += cost_of(b);
    l->droppable += item->may_drop ? cost_of(b) : 0;
    l->fds += fd >= 0;
    if (l->full && l->watches_output)
        return 0;
    /* Small frames gather: the socket takes them in the next turn, which begins at once, while a
     * timer could be 1 ms late. A connection does not wait for that. */
    if (fd < 0 && l->queued < SEND_AT)
        watch_output(l, true);
    if (fd >= 0 || l->queued >= SEND_AT || !l->watches_output)
        bus_link_flush(l);
    return 0;
}

int bus_link_send(struct bus_link *l, unsigned type, enum bus_link_way way,
                  const struct ws_str *pieces, size_t count, int fd)
{
    bool is_too_long = is_longer(pieces, count, l->options.max_frame);
    struct bus_block *b = is_too_long ? NULL : block_of(l->account, type, pieces, count, fd >= 0);

    if (b == NULL) {
        close_if_open(fd);
        return is_too_long ? WS_ERR_FULL : WS_ERR_NOMEM;
    }
    return append(l, way, b, fd);
}

int bus_link_send_block(struct bus_link *l, enum bus_link_way way, struct bus_block *b)
{
    b->users++;
    return append(l, way, b, -1);
}

bool bus_link_takes_fd(const struct bus_link *l)
{
    return !l->broken && l->fds < BUS_LINK_FDS_MAX && has_room(l, 0);
}

size_t bus_link_queued(const struct bus_link *l)
{
    return l->queued;
}

unsigned long long bus_link_dropped(const struct bus_link *l)
{
    return l->dropped;
}

/* --- input ------------------------------------------------------------------------------------ */

/* The descriptors that came with a read. Where one could not be taken (EMFILE), its place is kept,
 * so that the next one does not go with its frame. */
static void keep_fds(struct bus_link *l, struct msghdr *message)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(message); /* all are in one, and nothing else was asked for */
    bool some = c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
    size_t count = some ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    bool lost = (message->msg_flags & MSG_CTRUNC) != 0;

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        if (l->fds_in_count < FDS_A_READ)
            l->fds_in[l->fds_in_count++] = fd;
        else
            close(fd); /* more than frames may bring */
    }
    if (lost && l->fds_in_count < FDS_A_READ + 1)
        l->fds_in[l->fds_in_count++] = -1;
}

static ssize_t receive(struct bus_link *l, uint8_t *data, size_t size)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_A_READ * sizeof(int))];
    } control;
    struct iovec iov = {data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_control = &control};
    ssize_t n;

    message.msg_iovlen = 1;
    message.msg_controllen = sizeof control.space;
    do
        n = recvmsg(l->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        keep_fds(l, &message);
    return n;
}

static int next_fd(struct bus_link *l)
{
    int fd;

    if (l->fds_in_count == 0)
        return -1;
    fd = l->fds_in[0];
    memmove(l->fds_in, l->fds_in + 1, --l->fds_in_count * sizeof *l->fds_in);
    return fd;
}

/* Hand over the whole frames in `data`, as far as the share of the turn goes. Returns how many
 * bytes they were; SIZE_MAX for what is no frame. */
static size_t take_frames(struct bus_link *l, const uint8_t *data, size_t len)
{
    size_t used = 0;

    while (len - used >= HEADER && !l->ended && !l->is_resting) {
        const uint8_t *frame = data + used;
        size_t size = bus_get_u32(frame);

        if (size > l->options.max_frame || frame[5] > 1)
            return SIZE_MAX;
        if (len - used - HEADER < size)
            break;
        used += HEADER + size;
        l->events.frame(l->events.arg, frame[4], frame + HEADER, size,
                        frame[5] == 1 ? next_fd(l) : -1);
        l->is_resting = !l->ended && used < len && ws_turn_over(l->server, 0);
    }
    return used;
}

/* Make room for twice as many bytes as have come, up to a frame and what one read may bring behind
 * it: never for what a header only announces. */
static bool keep(struct bus_link *l, const uint8_t *data, size_t len)
{
    size_t most = HEADER + l->options.max_frame + READ_SIZE;
    size_t needed = l->in_len + len;

    if (l->in_size < needed) {
        size_t size = most >= needed && most < 2 * needed ? most : 2 * needed;
        uint8_t *in = ws_account_resize(l->account, l->in, l->in_size, size);

        if (in == NULL)
            return false;
        l->in = in;
        l->in_size = size;
    }
    memcpy(l->in + l->in_len, data, len);
    l->in_len += len;
    return true;
}

static void drop_input(struct bus_link *l)
{
    if (l->in != NULL)
        ws_account_give(l->account, l->in, l->in_size);
    l->in = NULL;
    l->in_len = l->in_size = 0;
}

/* These bytes have come behind those that are kept; none where it has rested. Returns false when
 * the link cannot go on. */
static bool bytes_came(struct bus_link *l, const uint8_t *data, size_t len)
{
    bool behind = l->in_len > 0;
    size_t used;

    if (behind) {
        if (len > 0 && !keep(l, data, len))
            return false;
        data = l->in;
        len = l->in_len;
    }
    used = take_frames(l, data, len);
    if (used == SIZE_MAX || l->ended)
        return l->ended;
    if (!behind)
        return used == len || keep(l, data + used, len - used);
    if (used > 0 && used < len)
        memmove(l->in, l->in + used, len - used);
    l->in_len = len - used;
    if (l->in_len == 0)
        drop_input(l);
    return true;
}

static void release(struct bus_link *l)
{
    for (size_t i = 0; i < l->fds_in_count; i++)
        close_if_open(l->fds_in[i]);
    drop_input(l);
    drop_output(l);
    ws_timer_cancel(l->rest);
    ws_account_give(l->account, l, sizeof *l);
}

static void lose(struct bus_link *l)
{
    l->broken = true;
    l->is_resting = false;
    drop_output(l);
    ws_watch(l->server, l->fd, 0, NULL, NULL);
    l->events.over(l->events.arg);
}

/* Handle what has come. A callback may end the link. Returns false when no more will be handled. */
static bool handle(struct bus_link *l, const uint8_t *data, size_t len)
{
    if (!bytes_came(l, data, len)) {
        lose(l);
        return false;
    }
    if (l->is_resting && !l->ended)
        ws_timer_set(l->rest, 0);
    return !l->ended;
}

/* Returns false when there was nothing to read, or no more will be handled. */
static bool read_input(struct bus_link *l)
{
    uint8_t data[READ_SIZE];
    ssize_t n = receive(l, data, sizeof data);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n > 0)
        return handle(l, data, (size_t)n);
    lose(l);
    return false;
}

/* What waits for a turn comes first. */
bool bus_link_read(struct bus_link *l)
{
    bool rested = l->is_resting;
    bool some;

    assert(!l->calling);
    l->calling = true;
    l->is_resting = false;
    some = rested ? handle(l, NULL, 0) : read_input(l);
    l->calling = false;
    if (l->ended)
        release(l);
    return some;
}

static void rest_is_over(void *arg)
{
    struct bus_link *l = arg;

    if (l->is_resting) /* else bus_link_read() was called meanwhile */
        bus_link_read(l);
}

static void link_ready(void *arg, uint32_t ready)
{
    struct bus_link *l = arg;

    if ((ready & EPOLLOUT) != 0 || !l->watches_output) { /* which epoll may have refused */
        l->full = false;
        bus_link_flush(l);
    }
    if ((ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !l->is_resting)
        bus_link_read(l);
}

/* --- the beginning and the end ---------------------------------------------------------------- */

struct bus_link *bus_link_new(struct ws_server *s, int fd, struct ws_account *a,
                              const struct bus_link_options *o,
                              const struct bus_link_events *events)
{
    struct bus_link *l = ws_account_take(a, sizeof *l);

    if (l == NULL) {
        close(fd);
        return NULL;
    }
    *l = (struct bus_link){.server = s, .account = a, .options = *o, .events = *events, .fd = fd};
    l->last = &l->first;
    if (l->options.max_frame == 0)
        l->options.max_frame = 64u << 20;
    if (l->options.max_queue == 0)
        l->options.max_queue = 16u << 20;
    l->rest = ws_timer_new(s, a, rest_is_over, l);
    if (l->rest != NULL && ws_watch(s, fd, EPOLLIN, link_ready, l) == 0)
        return l;
    ws_timer_cancel(l->rest);
    ws_account_give(a, l, sizeof *l);
    close(fd);
    return NULL;
}

void bus_link_free(struct bus_link *l)
{
    if (l == NULL || l->ended)
        return;
    l->ended = true;
    ws_watch(l->server, l->fd, 0, NULL, NULL);
    close(l->fd);
    ws_timer_stop(l->rest);
    if (!l->calling)
        release(l);
}
