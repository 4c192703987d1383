/* SPDX-License-Identifier: MIT
 *
 * bus_link.c: frames with and without descriptors over a socket pair, at every split, to an end
 * that does not read, and from one that has gone wrong. */
#include "../../tests/server_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../tests/oom.h"
#include "../bus_link.h"

struct seen_frame {
    unsigned type;
    size_t len;
    unsigned sum;
    ino_t inode; /* of its descriptor; 0: none */
};

struct end {
    struct bus_link *link;
    struct seen_frame frames[64];
    size_t count;
    int over;
    size_t free_at; /* free the link in this frame's callback, counted from 1 */
    bool is_slow;   /* each frame takes long */
};

static struct ws_account *account;
static struct end ends[2];
static int raw[2];

static unsigned sum_of(const void *data, size_t len)
{
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + ((const uint8_t *)data)[i];
    return sum;
}

static void frame_came(void *arg, unsigned type, const uint8_t *data, size_t len, int fd)
{
    struct end *e = arg;
    struct stat st = {0};

    if (fd >= 0) {
        fstat(fd, &st);
        close(fd);
    }
    if (e->is_slow)
        nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL);
    if (e->count < COUNT(e->frames))
        e->frames[e->count] = (struct seen_frame){type, len, sum_of(data, len), st.st_ino};
    e->count++;
    if (e->count == e->free_at) {
        bus_link_free(e->link);
        e->link = NULL;
    }
}

static void link_over(void *arg)
{
    struct end *e = arg;

    e->over++;
    bus_link_free(e->link);
    e->link = NULL;
}

static struct bus_link *new_link(struct fixture *f, size_t i, int fd,
                                 const struct bus_link_options *o)
{
    const struct bus_link_events events = {frame_came, link_over, &ends[i]};

    ends[i].link = bus_link_new(f->server, fd, account, o, &events);
    return ends[i].link;
}

static int setup_links(void **state)
{
    setup(state);
    create(*state, (struct ws_options){.max_memory = 64 * MIB});
    account = ws_account_new(((struct fixture *)*state)->server, NULL);
    memset(ends, 0, sizeof ends);
    raw[0] = raw[1] = -1;
    return 0;
}

static int teardown_links(void **state)
{
    struct fixture *f = *state;

    oom_after(-1);
    for (size_t i = 0; i < 2; i++) {
        bus_link_free(ends[i].link);
        if (raw[i] >= 0)
            close(raw[i]);
    }
    let_serve(f);
    ws_account_release(account);
    return teardown(state);
}

/* Two links, or one whose other end is raw[1]. */
static void connect_both(struct fixture *f, const struct bus_link_options *o)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_non_null(new_link(f, 0, fds[0], o));
    assert_non_null(new_link(f, 1, fds[1], o));
}

static void connect_one(struct fixture *f, const struct bus_link_options *o)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_non_null(new_link(f, 0, fds[0], o));
    raw[1] = fds[1];
}

static const struct bus_link_options defaults;

static int send_text(size_t from, unsigned type, enum bus_link_way way, const char *text, int fd)
{
    const struct ws_str piece = ws_str(text);

    return bus_link_send(ends[from].link, type, way, &piece, 1, fd);
}

static ino_t inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

/* --- frames ----------------------------------------------------------------------------------- */

static void frames_of_all_sizes_arrive_in_order_in_both_directions(void **state)
{
    static const size_t sizes[] = {0, 1, 65530, 65531, 65536, 200000, 3 * MIB, 7};
    uint8_t *data = make_payload(3 * MIB, false);
    struct fixture *f = *state;

    connect_both(f, &defaults);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct ws_str pieces[] = {{(char *)data, sizes[i] / 3},
                                  {(char *)data + sizes[i] / 3, sizes[i] - sizes[i] / 3}};

        assert_int_equal(
            bus_link_send(ends[i & 1].link, (unsigned)i + 1, BUS_LINK_MUST, pieces, 2, -1), 0);
        assert_int_equal(bus_link_send(ends[1 - (i & 1)].link, (unsigned)i + 1, BUS_LINK_MAY_DROP,
                                       pieces, 2, -1),
                         0);
    }
    for (int i = 0; i < 200; i++)
        let_serve(f);
    for (size_t e = 0; e < 2; e++) {
        assert_int_equal(ends[e].count, COUNT(sizes));
        for (size_t i = 0; i < COUNT(sizes); i++) {
            assert_int_equal(ends[e].frames[i].type, i + 1);
            assert_int_equal(ends[e].frames[i].len, sizes[i]);
            assert_int_equal(ends[e].frames[i].sum, sum_of(data, sizes[i]));
        }
        assert_int_equal(bus_link_queued(ends[e].link), 0);
        assert_int_equal(bus_link_dropped(ends[e].link), 0);
    }
    free(data);
}

static void frames_may_be_split_anywhere(void **state)
{
    static const uint8_t wire[] = {3, 0, 0,  0, 70, 0, 'a', 'b', 'c', 0, 0,
                                   0, 0, 71, 0, 1,  0, 0,   0,   72,  0, 'x'};
    struct fixture *f = *state;

    connect_one(f, &defaults);
    for (size_t n = 0; n <= sizeof wire; n++) {
        ends[0].count = 0;
        assert_int_equal(write(raw[1], wire, n), n);
        let_serve(f);
        assert_int_equal(write(raw[1], wire + n, sizeof wire - n), sizeof wire - n);
        let_serve(f);
        assert_int_equal(ends[0].count, 3);
        assert_int_equal(ends[0].frames[0].sum, sum_of("abc", 3));
        assert_int_equal(ends[0].frames[1].len, 0);
        assert_int_equal(ends[0].frames[2].type, 72);
    }
}

/* Frames that came at once and take long do not make others wait until all are done; no frame and
 * not the end is missed, and the link may be freed meanwhile. */
static void frames_have_a_share_of_a_turn(void **state)
{
    static const size_t free_at[] = {0, 300};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(free_at); i++) {
        uint64_t first, last;
        size_t wanted = free_at[i] == 0 ? 400 : free_at[i];

        memset(ends, 0, sizeof ends);
        connect_both(f, &defaults);
        ends[1].is_slow = true;
        ends[1].free_at = free_at[i];
        for (unsigned n = 0; n < 400; n++)
            assert_int_equal(send_text(0, 100 + n % 50, BUS_LINK_MUST, "x", -1), 0);
        bus_link_flush(ends[0].link);
        bus_link_free(ends[0].link);
        ends[0].link = NULL;
        while (ends[1].count == 0)
            assert_int_equal(ws_server_step(f->server, 1), 1);
        first = ws_server_turn(f->server);
        for (int n = 0; n < 200 && ends[1].count < wanted; n++)
            assert_int_equal(ws_server_step(f->server, 1), 1);
        last = ws_server_turn(f->server);
        assert_int_equal(ends[1].count, wanted);
        assert_in_range(last - first, 2, 40);
        let_serve(f);
        assert_int_equal(ends[1].count, wanted);
        assert_int_equal(ends[1].over, free_at[i] == 0);
        for (unsigned n = 0; n < 50; n++)
            assert_int_equal(ends[1].frames[n].type, 100 + n);
    }
}

static void block_goes_to_many_and_is_freed_after_the_last(void **state)
{
    struct fixture *f = *state;
    const struct ws_str piece = ws_str("for all");
    size_t before;
    struct bus_block *b;

    connect_both(f, &defaults);
    before = ws_server_stats(f->server).buffered;
    b = bus_block_new(account, 80, &piece, 1);
    assert_int_equal(bus_link_send_block(ends[0].link, BUS_LINK_MUST, b), 0);
    assert_int_equal(bus_link_send_block(ends[1].link, BUS_LINK_MAY_DROP, b), 0);
    bus_block_release(b);
    let_serve(f);
    for (size_t e = 0; e < 2; e++) {
        assert_int_equal(ends[e].count, 1);
        assert_int_equal(ends[e].frames[0].sum, sum_of("for all", 7));
    }
    assert_int_equal(ws_server_stats(f->server).buffered, before);
}

/* The lowest number that no descriptor has. */
static int first_free(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void descriptors_come_with_their_frames(void **state)
{
    struct fixture *f = *state;
    ino_t inodes[6];
    int before;

    connect_both(f, &defaults);
    before = count_descriptors();
    for (size_t i = 0; i < 6; i++) {
        int fds[2] = {-1, -1};

        if (i != 2) {
            assert_int_equal(pipe(fds), 0);
            close(fds[1]);
        }
        inodes[i] = i != 2 ? inode_of(fds[0]) : 0;
        assert_int_equal(send_text(0, 90 + (unsigned)i, BUS_LINK_MUST, "with", fds[0]), 0);
        assert_int_equal(send_text(0, 80, BUS_LINK_MUST, "without", -1), 0);
    }
    let_serve(f);
    assert_int_equal(ends[1].count, 12);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(ends[1].frames[2 * i].type, 90 + i);
        assert_int_equal(ends[1].frames[2 * i].inode, inodes[i]);
        assert_int_equal(ends[1].frames[2 * i + 1].inode, 0);
    }
    assert_int_equal(count_descriptors(), before);
}

/* The descriptor belongs to the first byte of a frame that is far larger than the socket. */
static void descriptor_of_a_large_frame_is_sent_once(void **state)
{
    uint8_t *data = make_payload(2 * MIB, false);
    const struct ws_str piece = {(char *)data, 2 * MIB};
    struct fixture *f = *state;
    int fds[2], before;
    ino_t inode;

    connect_both(f, &defaults);
    before = count_descriptors();
    assert_int_equal(pipe(fds), 0);
    close(fds[1]);
    inode = inode_of(fds[0]);
    assert_int_equal(bus_link_send(ends[0].link, 90, BUS_LINK_MUST, &piece, 1, fds[0]), 0);
    for (int i = 0; i < 200; i++)
        let_serve(f);
    assert_int_equal(ends[1].count, 1);
    assert_int_equal(ends[1].frames[0].inode, inode);
    assert_int_equal(ends[1].frames[0].sum, sum_of(data, 2 * MIB));
    assert_int_equal(count_descriptors(), before);
    free(data);
}

static void descriptors_that_wait_are_bounded_and_closed_at_the_end(void **state)
{
    uint8_t *data = make_payload(MIB, false);
    const struct ws_str piece = {(char *)data, MIB};
    struct fixture *f = *state;
    int result = 0, before;
    size_t sent = 0;

    connect_one(f, &defaults);
    assert_int_equal(bus_link_send(ends[0].link, 90, BUS_LINK_MUST, &piece, 1, -1), 0);
    let_serve(f); /* the socket is full now */
    before = count_descriptors();
    while (result == 0 && sent <= BUS_LINK_FDS_MAX) {
        result = send_text(0, 90, BUS_LINK_MUST, "with", dup(raw[1]));
        sent += result == 0;
    }
    assert_int_equal(result, WS_ERR_FULL);
    assert_int_equal(sent, BUS_LINK_FDS_MAX);
    assert_false(bus_link_takes_fd(ends[0].link));
    bus_link_free(ends[0].link);
    ends[0].link = NULL;
    assert_int_equal(count_descriptors(), before - 1);
    free(data);
}

/* This process has no place for one more: the next descriptor must not go with its frame. */
static void descriptor_that_could_not_be_taken_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit, none;
    int fds[2];

    connect_both(f, &defaults);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)first_free();
    assert_int_equal(send_text(0, 90, BUS_LINK_MUST, "lost", dup(fds[0])), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    let_serve(f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(send_text(0, 91, BUS_LINK_MUST, "comes", dup(fds[0])), 0);
    let_serve(f);
    assert_int_equal(ends[1].count, 2);
    assert_int_equal(ends[1].frames[0].inode, 0);
    assert_int_equal(ends[1].frames[1].inode, inode_of(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

/* --- an end that does not read ---------------------------------------------------------------- */

static void the_oldest_are_dropped_where_nobody_reads(void **state)
{
    const struct bus_link_options small = {.max_queue = 64 * KIB};
    uint8_t *data = make_payload(16 * KIB, false);
    const struct ws_str piece = {(char *)data, 16 * KIB};
    struct fixture *f = *state;

    connect_one(f, &small);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(bus_link_send(ends[0].link, 100 + i, BUS_LINK_MAY_DROP, &piece, 1, -1), 0);
        let_serve(f);
        assert_true(bus_link_queued(ends[0].link) <= 64 * KIB + 16 * KIB + 100);
    }
    assert_true(bus_link_dropped(ends[0].link) > 8);
    assert_int_equal(send_text(0, 200, BUS_LINK_MUST, "stays", -1), 0);
    /* now it is read: what comes is whole, in order, and ends with the newest */
    assert_non_null(new_link(f, 1, raw[1], &small));
    raw[1] = -1;
    for (int i = 0; i < 50; i++)
        let_serve(f);
    assert_int_equal(ends[1].count + bus_link_dropped(ends[0].link), 65);
    for (size_t i = 0; i + 1 < ends[1].count; i++) {
        assert_int_equal(ends[1].frames[i].sum, sum_of(data, 16 * KIB));
        assert_true(ends[1].frames[i].type < ends[1].frames[i + 1].type);
    }
    assert_int_equal(ends[1].frames[ends[1].count - 1].type, 200);
    assert_int_equal(ends[1].frames[ends[1].count - 2].type, 163);
    free(data);
}

static void frames_that_must_stay_are_kept_among_those_that_go(void **state)
{
    const struct bus_link_options small = {.max_queue = 64 * KIB};
    uint8_t *data = make_payload(16 * KIB, false);
    const struct ws_str piece = {(char *)data, 16 * KIB};
    struct fixture *f = *state;
    size_t kept = 0;

    connect_one(f, &small);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(bus_link_send(ends[0].link, 100, BUS_LINK_MAY_DROP, &piece, 1, -1), 0);
        if (i % 3 == 0)
            assert_int_equal(send_text(0, 101, BUS_LINK_MUST, "stays", -1), 0);
        let_serve(f);
    }
    assert_true(bus_link_dropped(ends[0].link) > 8);
    assert_non_null(new_link(f, 1, raw[1], &small));
    raw[1] = -1;
    for (int i = 0; i < 50; i++)
        let_serve(f);
    for (size_t i = 0; i < ends[1].count; i++)
        kept += ends[1].frames[i].type == 101;
    assert_int_equal(kept, 20);
    assert_int_equal(ends[1].count + bus_link_dropped(ends[0].link), 80);
    free(data);
}

/* Not only the bytes to be sent: small frames take more memory than that. */
static void memory_of_what_waits_is_bounded(void **state)
{
    const struct bus_link_options small = {.max_queue = 64 * KIB};
    uint8_t *data = make_payload(MIB, false);
    const struct ws_str piece = {(char *)data, MIB};
    struct fixture *f = *state;
    size_t before;

    connect_one(f, &small);
    assert_int_equal(bus_link_send(ends[0].link, 100, BUS_LINK_MUST, &piece, 1, -1), 0);
    let_serve(f); /* the socket is full now */
    before = ws_server_stats(f->server).buffered;
    for (int i = 0; i < 20000; i++)
        assert_int_equal(send_text(0, 101, BUS_LINK_MAY_DROP, "", -1), 0);
    assert_in_range(ws_server_stats(f->server).buffered - before, 60 * KIB, 128 * KIB);
    free(data);
}

static void frames_that_must_not_be_dropped_are_refused_over_the_bound(void **state)
{
    const struct bus_link_options small = {.max_queue = 1000};
    char text[400];
    struct fixture *f = *state;
    int sent = 0;

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    connect_one(f, &small);
    while (send_text(0, 100, BUS_LINK_MUST, text, -1) == 0 && sent < 100)
        sent++;
    assert_int_equal(sent, 2);
    assert_int_equal(send_text(0, 100, BUS_LINK_MAY_DROP, text, -1), 0);
    let_serve(f);
    assert_int_equal(bus_link_queued(ends[0].link), 0);
    assert_int_equal(send_text(0, 100, BUS_LINK_MUST, text, -1), 0);
}

static void frame_over_the_limit_is_refused(void **state)
{
    const struct bus_link_options small = {.max_frame = 10};
    struct fixture *f = *state;

    connect_both(f, &small);
    assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "01234567890", -1), WS_ERR_FULL);
    assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "0123456789", -1), 0);
    let_serve(f);
    assert_int_equal(ends[1].count, 1);
}

/* --- an end that has gone wrong --------------------------------------------------------------- */

static void what_is_no_frame_ends_the_link(void **state)
{
    static const char *const wires[] = {"\xff\xff\xff\xff\x41", "\x01\x00\x00\x04\x41",
                                        "\x01\x00\x00\x00\x41\x02x"};
    static const size_t lengths[] = {6, 6, 7};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT(wires); i++) {
        connect_one(f, &defaults);
        assert_int_equal(write(raw[1], wires[i], lengths[i]), lengths[i]);
        let_serve(f);
        assert_int_equal(ends[0].over, i + 1);
        assert_null(ends[0].link);
        assert_int_equal(ends[0].count, 0);
        close(raw[1]);
        raw[1] = -1;
    }
}

static void announced_length_takes_no_memory(void **state)
{
    static const uint8_t header[] = {0, 0, 0, 3, 65, 0};
    struct fixture *f = *state;

    connect_one(f, &defaults);
    assert_int_equal(write(raw[1], header, sizeof header), sizeof header);
    let_serve(f);
    assert_int_equal(ends[0].over, 0);
    assert_true(ws_server_stats(f->server).buffered < 64 * KIB);
}

static void frame_that_comes_is_held_once(void **state)
{
    const struct bus_link_options options = {.max_frame = 4 * MIB};
    static const uint8_t header[] = {0, 0, 64, 0, 65, 0};
    uint8_t *data = make_payload(4 * MIB, false);
    struct fixture *f = *state;

    connect_one(f, &options);
    assert_int_equal(write(raw[1], header, sizeof header), sizeof header);
    for (size_t sent = 0; sent < 4 * MIB - 1;) {
        ssize_t n = write(raw[1], data + sent, 4 * MIB - 1 - sent);

        sent += n > 0 ? (size_t)n : 0;
        let_serve(f);
    }
    assert_int_equal(ends[0].count, 0);
    assert_true(ws_server_stats(f->server).buffered < 4 * MIB + 128 * KIB);
    assert_int_equal(write(raw[1], data + 4 * MIB - 1, 1), 1);
    let_serve(f);
    assert_int_equal(ends[0].count, 1);
    assert_int_equal(ends[0].frames[0].sum, sum_of(data, 4 * MIB));
    assert_true(ws_server_stats(f->server).buffered < 64 * KIB);
    free(data);
}

static void end_of_the_other_end_is_told_once_behind_its_frames(void **state)
{
    struct fixture *f = *state;

    connect_both(f, &defaults);
    assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "last", -1), 0);
    assert_true(bus_link_flush(ends[0].link));
    bus_link_free(ends[0].link);
    ends[0].link = NULL;
    let_serve(f);
    let_serve(f);
    assert_int_equal(ends[1].count, 1);
    assert_int_equal(ends[1].over, 1);
    assert_int_equal(ends[0].over, 0);
}

static void link_may_be_freed_in_its_callback(void **state)
{
    struct fixture *f = *state;

    connect_both(f, &defaults);
    ends[1].free_at = 2;
    for (int i = 0; i < 4; i++)
        assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "x", -1), 0);
    let_serve(f);
    assert_int_equal(ends[1].count, 2);
    assert_int_equal(ends[0].over, 1);
}

static void without_memory_a_frame_is_refused_and_its_descriptor_closed(void **state)
{
    struct fixture *f = *state;
    int before, fd;

    connect_both(f, &defaults);
    before = count_descriptors();
    for (int n = 0; n < 2; n++) {
        fd = dup(0);
        oom_once(n);
        assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "x", fd), WS_ERR_NOMEM);
        oom_after(-1);
        assert_int_equal(count_descriptors(), before);
    }
    assert_int_equal(send_text(0, 100, BUS_LINK_MUST, "x", -1), 0);
    let_serve(f);
    assert_int_equal(ends[1].count, 1);
}

static void without_memory_for_what_comes_the_link_ends(void **state)
{
    static const uint8_t wire[50] = {100, 0, 0, 0, 70};
    struct fixture *f = *state;

    for (size_t n = 0; n < 2; n++) { /* at the first part of a frame, and at the second */
        connect_one(f, &defaults);
        for (size_t i = 0; i <= n; i++) {
            if (i == n)
                oom_once(0);
            assert_int_equal(write(raw[1], wire, i == 0 ? 10 : 50), i == 0 ? 10 : 50);
            let_serve(f);
        }
        oom_after(-1);
        assert_int_equal(ends[0].over, n + 1);
        assert_null(ends[0].link);
        close(raw[1]);
        raw[1] = -1;
    }
}

static void nothing_is_sent_over_a_link_that_has_broken(void **state)
{
    struct fixture *f = *state;
    int before;

    connect_one(f, &defaults);
    before = count_descriptors();
    close(raw[1]);
    raw[1] = -1;
    assert_int_equal(send_text(0, 70, BUS_LINK_MUST, "x", dup(0)), 0); /* it is sent at once */
    assert_int_equal(send_text(0, 70, BUS_LINK_MUST, "x", dup(0)), WS_ERR_CLOSED);
    assert_false(bus_link_takes_fd(ends[0].link));
    assert_int_equal(bus_link_queued(ends[0].link), 0);
    assert_int_equal(ends[0].over, 0); /* not inside the call */
    let_serve(f);
    assert_int_equal(ends[0].over, 1);
    assert_int_equal(count_descriptors(), before - 2);
}

static void link_without_memory_is_none(void **state)
{
    struct fixture *f = *state;
    int before = count_descriptors();

    for (int n = 0; n < 3; n++) {
        int fd = dup(0);

        oom_once(n);
        assert_null(new_link(f, 0, fd, &defaults));
        oom_after(-1);
        assert_int_equal(count_descriptors(), before);
    }
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_links, teardown_links)

#include "cluster/tests/test_bus_link.list"

int main(void)
{
    return cmocka_run_group_tests_name("bus_link", tests, NULL, NULL);
}
