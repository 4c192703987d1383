/* SPDX-License-Identifier: MIT
 *
 * bus_link.c: the other end of a link sends any bytes, in any pieces, with descriptors, and reads
 * or does not. The input is a program for both ends. What must hold:
 *
 *   - the frames that come are those in the bytes, in order, with their descriptors; what is no
 *     frame ends the link, and nothing comes behind it
 *   - what is sent arrives whole and in order, but for what was dropped and counted; what must not
 *     be dropped arrives
 *   - what waits stays below its bound
 *   - at the end no descriptor and no byte is left */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../bus_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 4096,
    HEADER = 6,
    MAX_FRAME = 1200,
    MAX_QUEUE = 16384,
    COST_MAX = 4096, /* of the largest frame that is sent here */
    CONTENT_MAX = 4 * 512,
    DESCRIPTORS = 64,
    FDS_KEPT = 4,    /* that a link keeps for frames that are not whole yet */
    FREES_LINK = 255 /* a type of frame whose callback ends the link */
};

/* What the link is to be told, and what it has told. */
static struct {
    struct ws_server *server;
    struct bus_link *link; /* NULL: it has ended */
    int raw;               /* the other end */

    uint8_t in[INPUT_MAX]; /* to the link, from the frame on that is the next to come */
    size_t in_len;
    size_t fds; /* that came to the link, and whose frames did not */
    bool was_told_over;

    uint32_t sent; /* frames by the link */
    uint32_t kept; /* of them: that must not be dropped */
    size_t out_len;
    size_t out_fds;
} now;

static uint8_t out[1 << 23]; /* what the other end has read */

static void require(bool holds)
{
    if (!holds)
        abort();
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < DESCRIPTORS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* --- from the other end to the link ----------------------------------------------------------- */

static bool is_header(const uint8_t *h)
{
    return bus_get_u32(h) <= MAX_FRAME && h[5] <= 1;
}

static void end_link(void)
{
    bus_link_free(now.link);
    now.link = NULL;
}

static void frame_came(void *arg, unsigned type, const uint8_t *data, size_t len, int fd)
{
    bool has_fd = now.in_len >= HEADER && now.in[5] == 1 && now.fds > 0;

    (void)arg;
    require(now.link != NULL && !now.was_told_over);
    require(now.in_len >= HEADER && is_header(now.in) && len == bus_get_u32(now.in));
    require(now.in_len - HEADER >= len && type == now.in[4]);
    require(memcmp(now.in + HEADER, data, len) == 0);
    require((fd >= 0) == has_fd);
    if (fd >= 0) {
        require(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        close(fd);
        now.fds--;
    }
    now.in_len -= HEADER + len;
    memmove(now.in, now.in + HEADER + len, now.in_len);
    if (type == FREES_LINK)
        end_link();
}

static void link_over(void *arg)
{
    (void)arg;
    require(!now.was_told_over && now.link != NULL);
    require(now.in_len >= HEADER && !is_header(now.in));
    now.was_told_over = true;
    end_link();
}

/* Is there a whole frame, or what is none, of which the link has not told? */
static bool frame_is_due(void)
{
    return now.link != NULL && now.in_len >= HEADER &&
           (!is_header(now.in) || now.in_len - HEADER >= bus_get_u32(now.in));
}

static void write_chunk(const uint8_t *data, size_t len, size_t fds)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    const int both[] = {now.raw, now.raw};

    if (fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(fds * sizeof(int));
        memcpy(CMSG_DATA(&control.header), both, fds * sizeof(int));
    }
    if (now.link == NULL)
        return;
    require(sendmsg(now.raw, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len);
    memcpy(now.in + now.in_len, data, len);
    now.in_len += len;
    now.fds = now.fds + fds < FDS_KEPT ? now.fds + fds : FDS_KEPT;
    ws_server_step(now.server, 0);
    for (int turn = 0; turn < 10 && frame_is_due(); turn++)
        ws_server_step(now.server, 10); /* a slow turn may leave some */
    require(!frame_is_due());
}

/* --- from the link to the other end ----------------------------------------------------------- */

/* A frame with its number, as often as there is room. By its type it may be dropped or not. */
static void send_frame(bool may_drop, bool with_fd, size_t len)
{
    uint8_t content[CONTENT_MAX];
    const struct ws_str pieces[] = {{(const char *)content, len / 2},
                                    {(const char *)content + len / 2, len - len / 2}};

    if (now.link == NULL)
        return;
    for (size_t at = 0; at < len; at += 4)
        bus_put_u32(content + at, now.sent);
    if (bus_link_send(now.link, may_drop ? 'd' : 'k', may_drop ? BUS_LINK_MAY_DROP : BUS_LINK_MUST,
                      pieces, 2, with_fd ? dup(now.raw) : -1) != 0)
        return;
    now.sent++;
    now.kept += !may_drop;
    require(bus_link_queued(now.link) <= 2 * (size_t)MAX_QUEUE + COST_MAX);
}

static void take_fds(struct msghdr *message)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    int fd;

    if (c == NULL)
        return;
    require(c->cmsg_len == CMSG_LEN(sizeof fd));
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    close(fd);
    now.out_fds++;
}

/* Read at most `len` bytes at the other end. Returns how many. */
static size_t read_chunk(size_t len)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {out + now.out_len, len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space};
    ssize_t n;

    require(len <= sizeof out - now.out_len);
    n = recvmsg(now.raw, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return 0;
    take_fds(&message);
    now.out_len += (size_t)n;
    return (size_t)n;
}

static void check_output(unsigned long long dropped)
{
    uint32_t frames = 0, kept = 0, next = 0;
    size_t fds = 0;

    for (size_t at = 0; at < now.out_len;) {
        const uint8_t *frame = out + at;
        size_t len;

        require(now.out_len - at >= HEADER + 4);
        len = bus_get_u32(frame);
        require(len >= 4 && len <= now.out_len - at - HEADER);
        require(bus_get_u32(frame + HEADER) >= next);
        for (size_t i = 4; i < len; i += 4)
            require(memcmp(frame + HEADER, frame + HEADER + i, 4) == 0);
        next = bus_get_u32(frame + HEADER) + 1;
        frames++;
        kept += frame[4] == 'k';
        fds += frame[5];
        at += HEADER + len;
    }
    require(frames + dropped == now.sent && kept == now.kept && fds == now.out_fds);
}

/* --- the program ------------------------------------------------------------------------------ */

/* One action; returns how many bytes of the program it takes. */
static size_t act(const uint8_t *data, size_t size)
{
    size_t len = (size_t)(data[0] & 0x3f) + 1;

    if (data[0] < 0xc0) { /* bytes of the other end, with 0 to 2 descriptors */
        len = len < size - 1 ? len : size - 1;
        if (len > 0)
            write_chunk(data + 1, len, data[0] >> 6);
        return 1 + len;
    }
    if (data[0] < 0xe0) { /* the other end reads */
        read_chunk(len * len);
        ws_server_step(now.server, 0);
        return 1;
    }
    if (size < 2)
        return 1;
    send_frame((data[0] & 1) != 0, (data[0] & 2) != 0,
               4 * ((size_t)data[1] << ((data[0] & 4) / 4) | 1));
    if ((data[0] & 8) != 0)
        ws_server_step(now.server, 0);
    return 2;
}

static void finish(void)
{
    bool whole = now.link != NULL;

    while (now.link != NULL && (!bus_link_flush(now.link) || read_chunk(4096) > 0))
        read_chunk(4096);
    if (whole)
        check_output(bus_link_dropped(now.link));
    bus_link_free(now.link);
    close(now.raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const nowhere[] = {NULL};
    const struct bus_link_options options = {.max_frame = MAX_FRAME, .max_queue = MAX_QUEUE};
    const struct bus_link_events events = {frame_came, link_over, NULL};
    int descriptors = count_descriptors();
    int least = 1; /* the system makes some 4 KiB of it: it is soon full */
    struct ws_account *account;
    int ends[2];

    if (size > INPUT_MAX)
        return 0;
    memset(&now, 0, sizeof now);
    now.server = ws_server_new(&(struct ws_options){.bind = nowhere});
    account = ws_account_new(now.server, NULL);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    now.raw = ends[1];
    now.link = bus_link_new(now.server, ends[0], account, &options, &events);
    require(now.link != NULL);
    while (size > 0) {
        size_t used = act(data, size);

        data += used;
        size -= used;
    }
    finish();
    ws_account_release(account);
    require(ws_server_stats(now.server).buffered == 0);
    ws_server_free(now.server);
    require(count_descriptors() == descriptors);
    return 0;
}
