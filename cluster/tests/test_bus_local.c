/* SPDX-License-Identifier: MIT
 *
 * bus_hub.c and bus_local.c: a parent and three workers, each with a server of its own, in one
 * thread, turn by turn. */
#include "../../tests/server_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../tests/oom.h"
#include "../bus_carrier.h"
#include "../bus_hub.h"
#include "../bus_local.h"

enum { WORKERS = 3 };

struct worker {
    struct fixture *f;
    struct bus *bus;
    char text[512]; /* "channel=data;" of each message */
    int messages;
    ptrdiff_t counted;
    int counts;
    int frames, over;
    uint32_t target; /* of hand-overs */
    int handed_over; /* what the last one returned */
};

struct family {
    struct fixture *parent;
    struct bus_hub *hub;
    struct worker workers[WORKERS];
    char told[256];
    int over;
};

/* --- what it is told -------------------------------------------------------------------------- */

static void message(void *arg, struct ws_str channel, struct ws_str data)
{
    struct worker *w = arg;
    size_t at = strlen(w->text);

    w->messages++;
    if (at < sizeof w->text - 1)
        snprintf(w->text + at, sizeof w->text - at, "%.*s=%.*s;", (int)channel.len, channel.data,
                 (int)(data.len < 20 ? data.len : 20), data.data);
}

static void counted(void *arg, ptrdiff_t n)
{
    struct worker *w = arg;

    w->counted = n;
    w->counts++;
}

static void worker_frame(void *arg, unsigned type, struct ws_str content)
{
    struct worker *w = arg;

    w->frames++;
    snprintf(w->text, sizeof w->text, "%u:%.*s", type, (int)content.len, content.data);
}

static void parent_over(void *arg)
{
    ((struct worker *)arg)->over++;
}

static void hub_frame(void *arg, uint32_t number, unsigned type, struct ws_str content)
{
    struct family *family = arg;

    snprintf(family->told, sizeof family->told, "%u %u:%.*s", number, type, (int)content.len,
             content.data);
}

static void worker_over(void *arg, uint32_t number)
{
    struct family *family = arg;

    family->over++;
    snprintf(family->told, sizeof family->told, "%u is over", number);
}

/* --- the family ------------------------------------------------------------------------------- */

static void let_all_serve(struct family *family)
{
    for (int i = 0; i < 4; i++) {
        let_serve(family->parent);
        for (size_t w = 0; w < WORKERS; w++)
            let_serve(family->workers[w].f);
        sleep_ms(1); /* subscriptions are told by a timer */
    }
}

/* Worker `i`, whose number is 100 + i. `raw`: its end stays a descriptor, which is returned. */
static int add_worker(struct family *family, size_t i, bool raw_end)
{
    struct worker *w = &family->workers[i];
    const struct bus_local_events events = {worker_frame, parent_over, w};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(bus_hub_add(family->hub, 100 + (uint32_t)i, fds[0]), 0);
    if (raw_end)
        return fds[1];
    w->bus = bus_local_new(w->f->server, fds[1], NULL, &events);
    assert_non_null(w->bus);
    return -1;
}

static void start_family(struct family *family, size_t workers)
{
    for (size_t i = 0; i < workers; i++)
        add_worker(family, i, false);
    let_all_serve(family);
}

static int setup_family(void **state)
{
    struct family *family = calloc(1, sizeof *family);
    const struct bus_hub_events events = {hub_frame, worker_over, family};
    void *f;

    setup(&f);
    family->parent = f;
    create(family->parent, (struct ws_options){0});
    for (size_t i = 0; i < WORKERS; i++) {
        setup(&f);
        family->workers[i].f = f;
        create(family->workers[i].f, (struct ws_options){0});
    }
    family->hub = bus_hub_new(family->parent->server,
                              &(struct bus_hub_options){.max_names = 100 * KIB}, &events);
    assert_non_null(family->hub);
    *state = family;
    return 0;
}

static int teardown_family(void **state)
{
    struct family *family = *state;
    void *f = family->parent;

    oom_after(-1);
    for (size_t i = 0; i < WORKERS; i++)
        bus_free(family->workers[i].bus);
    bus_hub_free(family->hub);
    let_serve(family->parent);
    assert_int_equal(ws_server_stats(family->parent->server).buffered, 0);
    teardown(&f);
    for (size_t i = 0; i < WORKERS; i++) {
        f = family->workers[i].f;
        teardown(&f);
    }
    free(family);
    return 0;
}

static struct bus_subscription *subscribe(struct worker *w, enum bus_kind kind, const char *name)
{
    struct bus_subscription *s = bus_subscribe(w->bus, kind, ws_str(name), message, w);

    assert_non_null(s);
    return s;
}

static void publish(struct worker *w, enum bus_kind kind, const char *channel, const char *data)
{
    assert_int_equal(bus_publish(w->bus, kind, ws_str(channel), ws_str(data)), 0);
}

/* --- messages --------------------------------------------------------------------------------- */

static void messages_reach_the_others_that_subscribe_and_in_order(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(bus_is_up(w[i].bus));
    subscribe(&w[0], BUS_CHANNEL, "a");
    subscribe(&w[1], BUS_CHANNEL, "a");
    subscribe(&w[2], BUS_CHANNEL, "b");
    subscribe(&w[2], BUS_SHARD, "a");
    let_all_serve(family);
    publish(&w[0], BUS_CHANNEL, "a", "1");
    publish(&w[0], BUS_CHANNEL, "b", "2");
    publish(&w[0], BUS_CHANNEL, "a", "3");
    publish(&w[0], BUS_SHARD, "a", "4");
    let_all_serve(family);
    assert_string_equal(w[0].text, ""); /* its own do not come back */
    assert_string_equal(w[1].text, "a=1;a=3;");
    assert_string_equal(w[2].text, "b=2;a=4;");
    assert_int_equal(bus_hub_stats(family->hub).forwarded, 4);
}

static void patterns_are_matched_and_told_once_each(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    struct bus_subscription *s;

    start_family(family, 2);
    subscribe(&w[1], BUS_PATTERN, "socket.io#/#*");
    s = subscribe(&w[1], BUS_PATTERN, "socket.io#*");
    subscribe(&w[1], BUS_CHANNEL, "socket.io#/#room#");
    let_all_serve(family);
    publish(&w[0], BUS_CHANNEL, "socket.io#/#room#", "x");
    publish(&w[0], BUS_CHANNEL, "socket.io#", "y");
    publish(&w[0], BUS_CHANNEL, "other", "z");
    publish(&w[0], BUS_SHARD, "socket.io#/#room#", "no pattern is for shards");
    let_all_serve(family);
    assert_string_equal(w[1].text, "socket.io#/#room#=x;socket.io#/#room#=x;socket.io#/#room#=x;"
                                   "socket.io#=y;");
    bus_unsubscribe(s);
    let_all_serve(family);
    w[1].text[0] = '\0';
    publish(&w[0], BUS_CHANNEL, "socket.io#", "y");
    publish(&w[0], BUS_CHANNEL, "socket.io#/#", "w");
    let_all_serve(family);
    assert_string_equal(w[1].text, "socket.io#/#=w;");
}

static void message_in_many_pieces_arrives_as_one(void **state)
{
    const struct ws_str pieces[] = {ws_str("a"), ws_str("b"), {NULL, 0},
                                    ws_str("c"), ws_str("d"), ws_str("e")};
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 2);
    subscribe(&w[1], BUS_CHANNEL, "x");
    let_all_serve(family);
    oom_once(0);
    assert_int_equal(bus_publish_pieces(w[0].bus, BUS_CHANNEL, ws_str("x"), pieces, 6),
                     WS_ERR_NOMEM);
    oom_after(-1);
    for (size_t n = 0; n <= 6; n++)
        assert_int_equal(bus_publish_pieces(w[0].bus, BUS_CHANNEL, ws_str("x"), pieces, n), 0);
    let_all_serve(family);
    assert_string_equal(w[1].text, "x=;x=a;x=ab;x=ab;x=abc;x=abcd;x=abcde;");
}

static void large_messages_are_forwarded_whole(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    uint8_t *data = make_payload(3 * MIB, false);

    start_family(family, 3);
    subscribe(&w[1], BUS_CHANNEL, "x");
    subscribe(&w[2], BUS_CHANNEL, "x");
    let_all_serve(family);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            bus_publish(w[0].bus, BUS_CHANNEL, ws_str("x"), (struct ws_str){(char *)data, 3 * MIB}),
            0);
    for (int i = 0; i < 60; i++)
        let_all_serve(family);
    assert_int_equal(w[1].messages, 3);
    assert_int_equal(w[2].messages, 3);
    free(data);
}

static void what_is_longer_than_a_frame_is_refused(void **state)
{
    const struct ws_str huge = {"", SIZE_MAX};
    const struct ws_str halves[] = {{"", SIZE_MAX / 2 + 1}, {"", SIZE_MAX / 2 + 1}};
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 1);
    assert_int_equal(bus_publish(w[0].bus, BUS_CHANNEL, huge, ws_str("x")), WS_ERR_FULL);
    assert_int_equal(bus_publish(w[0].bus, BUS_CHANNEL, ws_str("x"), huge), WS_ERR_FULL);
    assert_int_equal(bus_publish_pieces(w[0].bus, BUS_CHANNEL, ws_str("x"), halves, 2),
                     WS_ERR_FULL);
    assert_null(bus_block_new(w[0].bus->account, BUS_FRAME_PUBLISH, halves, 2));
}

static void subscribers_are_counted_over_all_workers(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 3);
    subscribe(&w[0], BUS_CHANNEL, "a");
    subscribe(&w[2], BUS_CHANNEL, "a");
    subscribe(&w[2], BUS_CHANNEL, "a");
    subscribe(&w[1], BUS_PATTERN, "*");
    let_all_serve(family);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("a"), counted, &w[0]), 0);
    let_all_serve(family);
    assert_int_equal(w[0].counts, 1);
    assert_int_equal(w[0].counted, 2);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("none"), counted, &w[0]), 0);
    let_all_serve(family);
    assert_int_equal(w[0].counted, 0);
}

static void many_subscriptions_are_all_told(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    char name[32];

    start_family(family, 2);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "room-%d", i);
        subscribe(&w[0], BUS_CHANNEL, name);
    }
    let_all_serve(family);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "room-%d", i);
        publish(&w[1], BUS_CHANNEL, name, "x");
    }
    let_all_serve(family);
    assert_int_equal(w[0].messages, 1000);
}

/* --- workers that end, or have gone wrong ----------------------------------------------------- */

/* More than may wait for the parent at once. */
static void long_subscriptions_are_told_in_portions(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    static char name[60 * KIB];
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    w[0].bus = bus_local_new(w[0].f->server, fds[0], NULL, NULL);
    assert_non_null(w[0].bus);
    for (int i = 0; i < 40; i++) {
        memset(name, 'a' + i, sizeof name);
        assert_non_null(bus_subscribe(w[0].bus, BUS_CHANNEL, (struct ws_str){name, sizeof name},
                                      message, &w[0]));
    }
    let_all_serve(family);
    assert_true(ws_server_stats(w[0].f->server).buffered < 40 * sizeof name + 600 * KIB);
    for (size_t left = 40 * (6 + 1 + sizeof name); left > 0;) {
        ssize_t n = recv(fds[1], name, left < sizeof name ? left : sizeof name, MSG_DONTWAIT);

        if (n > 0)
            left -= (size_t)n;
        else
            let_all_serve(family);
    }
    close(fds[1]);
}

static void question_that_is_open_ends_with_the_bus(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 1);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("a"), counted, &w[0]), 0);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("b"), counted, &w[0]), 0);
    bus_free(w[0].bus);
    w[0].bus = NULL;
    let_all_serve(family);
    assert_int_equal(w[0].counts, 0);
}

static void worker_that_ends_is_told_to_all(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 3);
    subscribe(&w[1], BUS_CHANNEL, "a");
    let_all_serve(family);
    for (size_t i = 0; i < 3; i++)
        for (uint32_t n = 100; n < 103; n++)
            assert_true(bus_local_has(w[i].bus, n));
    bus_free(w[1].bus);
    w[1].bus = NULL;
    let_all_serve(family);
    assert_string_equal(family->told, "101 is over");
    assert_false(bus_local_has(w[0].bus, 101));
    assert_true(bus_local_has(w[0].bus, 102));
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("a"), counted, &w[0]), 0);
    let_all_serve(family);
    assert_int_equal(w[0].counted, 0);
    add_worker(family, 1, false);
    let_all_serve(family);
    assert_true(bus_local_has(w[0].bus, 101));
    assert_true(bus_local_has(w[1].bus, 102));
}

static void parent_that_is_gone_takes_the_bus_down(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 2);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("a"), counted, &w[0]), 0);
    bus_hub_free(family->hub);
    family->hub = NULL;
    let_all_serve(family);
    assert_int_equal(w[0].over, 1);
    assert_false(bus_is_up(w[0].bus));
    assert_int_equal(w[0].counts, 1);
    assert_int_equal(w[0].counted, WS_ERR_CLOSED);
    assert_false(bus_local_has(w[0].bus, 101));
    publish(&w[0], BUS_CHANNEL, "a", "to nobody");
    assert_int_equal(bus_dropped(w[0].bus), 1);
    assert_int_equal(bus_local_tell(w[0].bus, 70, ws_str("x")), WS_ERR_CLOSED);
    subscribe(&w[0], BUS_CHANNEL, "a");
    let_all_serve(family);
}

static void ask_again(void *arg, ptrdiff_t n)
{
    struct worker *w = arg;

    assert_int_equal(n, WS_ERR_CLOSED);
    assert_int_equal(bus_count(w->bus, BUS_CHANNEL, ws_str("a"), counted, w), 0);
    assert_int_equal(w->counts, 0); /* not inside the call */
}

static void question_that_is_asked_when_the_parent_goes_is_answered(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 1);
    assert_int_equal(bus_count(w[0].bus, BUS_CHANNEL, ws_str("a"), ask_again, &w[0]), 0);
    bus_hub_free(family->hub);
    family->hub = NULL;
    let_all_serve(family);
    assert_int_equal(w[0].counts, 1);
    assert_int_equal(w[0].counted, WS_ERR_CLOSED);
}

static void what_was_published_last_leaves_with_the_bus(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 2);
    subscribe(&w[1], BUS_CHANNEL, "a");
    let_all_serve(family);
    publish(&w[0], BUS_CHANNEL, "a", "1");
    publish(&w[0], BUS_CHANNEL, "a", "2");
    bus_free(w[0].bus);
    w[0].bus = NULL;
    let_all_serve(family);
    assert_string_equal(w[1].text, "a=1;a=2;");
}

/* One of another version, say. */
static void frames_that_no_hub_sends_are_left_out(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
    } bad[] = {
        {BYTES("\0\0\0\0\2\0")},            /* a peer without a number */
        {BYTES("\5\0\0\0\2\0\1\0\0\0\0")},  /* a peer that was never there is no more */
        {BYTES("\1\0\0\0\5\0\0")},          /* a message without a channel */
        {BYTES("\6\0\0\0\5\0\0\2\0\0\0a")}, /* a channel that is longer than all */
        {BYTES("\6\0\0\0\5\0\1\1\0\0\0a")}, /* to a pattern */
        {BYTES("\6\0\0\0\5\0\3\1\0\0\0a")}, /* a kind that there is not */
        {BYTES("\6\0\0\0\5\0\xff\1\0\0\0a")},
        {BYTES("\4\0\0\0\7\0\1\0\0\0")}, /* an answer that nobody waits for */
        {BYTES("\1\0\0\0\7\0\1")},
        {BYTES("\4\0\0\0\x8\0\1\0\0\0")}, /* a connection without its descriptor */
        {BYTES("\0\0\0\0\x9\0")},         /* a type that there is not */
    };
    static const char good[] = "\6\0\0\0\5\0\0\1\0\0\0a";
    struct family *family = *state;
    struct worker *w = family->workers;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    w[0].bus = bus_local_new(w[0].f->server, fds[0], NULL, NULL);
    assert_non_null(w[0].bus);
    subscribe(&w[0], BUS_CHANNEL, "a");
    subscribe(&w[0], BUS_PATTERN, "a");
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(write(fds[1], bad[i].wire, bad[i].len), bad[i].len);
    let_all_serve(family);
    assert_int_equal(w[0].messages, 0);
    assert_int_equal(write(fds[1], BYTES(good)), sizeof good - 1);
    let_all_serve(family);
    assert_string_equal(w[0].text, "a=;a=;");
    close(fds[1]);
}

/* It would wait for ever, for its bus would not be up. */
static void worker_that_cannot_be_welcomed_is_cut_off(void **state)
{
    struct family *family = *state;
    int failed = 0;

    add_worker(family, 0, false);
    for (int n = 0; n < 20; n++) {
        int fds[2];
        int result;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
                         0);
        oom_once(n);
        result = bus_hub_add(family->hub, 101, fds[0]);
        failed += oom_came();
        oom_after(-1);
        let_all_serve(family);
        if (result == 0) {
            char bytes[64]; /* the welcome, itself and the other one */

            assert_int_equal(recv(fds[1], bytes, sizeof bytes, MSG_DONTWAIT), 6 + 4 + 2 * (6 + 5));
            bus_hub_remove(family->hub, 101);
        }
        close(fds[1]);
        assert_int_equal(bus_hub_stats(family->hub).workers, 1);
    }
    assert_in_range(failed, 4, 19);
}

static void worker_that_sends_nonsense_is_cut_off_and_the_others_serve_on(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
    } bad[] = {
        {BYTES("\1\0\0\0\5\0\0")},            /* a message without a channel */
        {BYTES("\6\0\0\0\5\0\0\xff\0\0\0x")}, /* a channel that is longer than all */
        {BYTES("\5\0\0\0\5\0\1\0\0\0\0")},    /* to a pattern */
        {BYTES("\1\0\0\0\3\0\7")},            /* a kind that there is not */
        {BYTES("\0\0\0\0\3\0")},              /* no kind */
        {BYTES("\1\0\0\0\1\0\0")},            /* what only the hub sends */
        {BYTES("\0\0\0\0\x8\0")},             /* a hand-over of nothing to nobody */
        {BYTES("\1\0\0\0\6\0\3")},            /* a question about a kind that there is not */
    };
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 2);
    subscribe(&w[1], BUS_CHANNEL, "a");
    for (size_t i = 0; i < COUNT(bad); i++) {
        int fd = add_worker(family, 2, true);

        assert_int_equal(write(fd, bad[i].wire, bad[i].len), bad[i].len);
        let_all_serve(family);
        assert_int_equal(family->over, i + 1);
        close(fd);
    }
    publish(&w[0], BUS_CHANNEL, "a", "still there");
    let_all_serve(family);
    assert_string_equal(w[1].text, "a=still there;");
    assert_int_equal(bus_hub_stats(family->hub).workers, 2);
}

static void worker_may_say_twice_what_it_subscribes_to(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    char bytes[256];
    int fd;

    start_family(family, 1);
    fd = add_worker(family, 2, true);
    let_all_serve(family);
    assert_true(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0); /* the welcome */
    assert_int_equal(write(fd, BYTES("\2\0\0\0\4\0\0b"            /* it ends what did not begin */
                                     "\2\0\0\0\3\0\0a\2\0\0\0\3\0\0a\1\0\0\0\3\0\0")),
                     31);
    let_all_serve(family);
    publish(&w[0], BUS_CHANNEL, "a", "1");
    publish(&w[0], BUS_CHANNEL, "", "2");
    publish(&w[0], BUS_CHANNEL, "b", "3");
    let_all_serve(family);
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 6 + 6 + 1 + 6 + 6);
    assert_int_equal(write(fd, BYTES("\2\0\0\0\4\0\0a")), 8);
    let_all_serve(family);
    publish(&w[0], BUS_CHANNEL, "a", "4");
    let_all_serve(family);
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), -1);
    bus_hub_remove(family->hub, 55); /* there is no such worker */
    assert_int_equal(bus_hub_stats(family->hub).workers, 2);
    close(fd);
}

static void send_fd(int to, const char *wire, size_t len, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov = {(void *)(uintptr_t)wire, len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.space};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    assert_int_equal(sendmsg(to, &message, 0), len);
}

/* Of a worker and of a parent. */
static void descriptors_that_nobody_wants_are_closed(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
    } bad[] = {
        {BYTES("\2\0\0\0\3\1\0a")},     /* with a subscription */
        {BYTES("\0\0\0\0\x8\1")},       /* handed over to nobody */
        {BYTES("\3\0\0\0\x8\1\0\0\0")}, /* the same */
    };
    struct family *family = *state;
    struct worker *w = family->workers;
    int fds[2], before;

    for (size_t i = 0; i < COUNT(bad); i++) {
        int fd = add_worker(family, 0, true);

        let_all_serve(family);
        before = count_descriptors();
        send_fd(fd, bad[i].wire, bad[i].len, fds[0] = dup(0));
        close(fds[0]);
        let_all_serve(family);
        assert_int_equal(family->over, i + 1);
        assert_int_equal(count_descriptors(), before - 1);
        close(fd);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    w[0].bus = bus_local_new(w[0].f->server, fds[0], NULL, NULL);
    assert_non_null(w[0].bus);
    before = count_descriptors();
    for (size_t i = 0; i < COUNT(bad); i++)
        send_fd(fds[1], bad[i].wire, bad[i].len, 0);
    let_all_serve(family);
    assert_int_equal(count_descriptors(), before);
    assert_true(bus_local_tell(w[0].bus, 70, ws_str("x")) == 0); /* the link goes on */
    close(fds[1]);
}

static void worker_with_too_many_names_is_cut_off(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    char name[1000];

    start_family(family, 1);
    for (int i = 0; i < 120; i++) {
        memset(name, 'x', sizeof name);
        snprintf(name, sizeof name, "%d", i);
        assert_non_null(bus_subscribe(w[0].bus, BUS_CHANNEL, (struct ws_str){name, sizeof name},
                                      message, &w[0]));
    }
    let_all_serve(family);
    assert_int_equal(family->over, 1);
    assert_int_equal(w[0].over, 1);
}

static void worker_that_does_not_read_holds_up_nobody(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    uint8_t *data = make_payload(MIB, false);
    int fd;

    start_family(family, 2);
    fd = add_worker(family, 2, true);
    assert_int_equal(write(fd, BYTES("\2\0\0\0\3\0\0a")), 8); /* it subscribes to "a" */
    subscribe(&w[1], BUS_CHANNEL, "a");
    let_all_serve(family);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(
            bus_publish(w[0].bus, BUS_CHANNEL, ws_str("a"), (struct ws_str){(char *)data, MIB}), 0);
        for (int j = 0; j < 8; j++)
            let_all_serve(family);
    }
    assert_int_equal(w[1].messages, 40);
    assert_true(bus_hub_stats(family->hub).dropped >= 20);
    assert_true(ws_server_stats(family->parent->server).buffered < 20 * MIB);
    close(fd);
    free(data);
}

static void frames_of_the_application_pass_in_both_directions(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;

    start_family(family, 2);
    assert_int_equal(bus_local_tell(w[1].bus, 70, ws_str("ready")), 0);
    assert_int_equal(bus_hub_tell(family->hub, 100, 71, ws_str("stop")), 0);
    assert_int_equal(bus_hub_tell(family->hub, 7, 71, ws_str("stop")), WS_ERR_CLOSED);
    let_all_serve(family);
    assert_string_equal(family->told, "101 70:ready");
    assert_string_equal(w[0].text, "71:stop");
    assert_int_equal(w[1].frames, 0);
}

/* --- connections ------------------------------------------------------------------------------ */

static void hand_over(struct ws_conn *c, const struct ws_request *req)
{
    struct worker *w = ws_user(c);

    (void)req;
    w->handed_over = bus_local_hand_over(w->bus, w->target, c);
}

static void answer_here(struct ws_conn *c, const struct ws_request *req)
{
    (void)req;
    ws_respond(c, 200, NULL, 0, "by the first", 12);
}

static void late_hand_over(struct ws_conn *c, const struct ws_request *req)
{
    hand_over(c, req);
    answer_here(c, req);
}

static void serve_hand_overs(struct family *family)
{
    const struct ws_handlers h = {
        .on_head = hand_over, .on_request = answer_here, .user = &family->workers[0]};

    assert_int_equal(ws_server_handle(family->workers[0].f->server, "/x", &h), 0);
    serve(family->workers[1].f, "/x", (struct ws_handlers){.on_request = mirror});
}

/* Once a worker is welcome it serves, and then requests for it may come to the others. */
static void others_know_a_worker_before_it_is_welcome(void **state)
{
    struct family *family = *state;
    uint8_t frame[64];
    int first = add_worker(family, 0, true), second;

    let_serve(family->parent);
    assert_int_equal(recv(first, frame, sizeof frame, 0), 6 + 4 + 6 + 5);
    second = add_worker(family, 1, true);
    assert_int_equal(recv(second, frame, sizeof frame, 0), -1);
    assert_int_equal(recv(first, frame, sizeof frame, 0), 6 + 5);
    assert_int_equal(frame[4], BUS_FRAME_PEER);
    assert_int_equal(bus_get_u32(frame + 6), 101);
    close(first);
    close(second);
}

/* The parent may hear of the end of a process before it has read all of that. */
static void what_a_worker_sent_before_it_ended_is_passed_on(void **state)
{
    enum { FRAMES = 20, FRAME = 6 + 6 + 5000 };
    uint8_t frame[FRAME] = {(FRAME - 6) & 255,
                            (FRAME - 6) >> 8,
                            0,
                            0,
                            BUS_FRAME_PUBLISH,
                            0,
                            BUS_CHANNEL,
                            1,
                            0,
                            0,
                            0,
                            'c'};
    struct family *family = *state;
    struct worker *w = &family->workers[1];
    int end = add_worker(family, 0, true);

    add_worker(family, 1, false);
    bus_subscribe(w->bus, BUS_CHANNEL, ws_str("c"), message, w);
    let_all_serve(family);
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(send(end, frame, sizeof frame, 0), sizeof frame);
    close(end);
    bus_hub_ended(family->hub, 100);
    assert_int_equal(bus_hub_stats(family->hub).workers, 1);
    let_all_serve(family);
    assert_int_equal(w->messages, FRAMES);
    assert_string_equal(family->told, "100 is over");
    bus_hub_ended(family->hub, 100);
}

static void what_waits_leaves_when_a_bus_is_freed(void **state)
{
    struct family *family = *state;
    struct worker *w = &family->workers[1];

    start_family(family, 2);
    bus_subscribe(w->bus, BUS_CHANNEL, ws_str("c"), message, w);
    let_all_serve(family);
    assert_int_equal(
        bus_publish(family->workers[0].bus, BUS_CHANNEL, ws_str("c"), ws_str("last words")), 0);
    bus_free(family->workers[0].bus);
    family->workers[0].bus = NULL;
    let_all_serve(family);
    assert_string_equal(w->text, "c=last words;");
}

static void connections_are_handed_over_with_their_bytes(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    struct raw_client *c;
    int before;

    start_family(family, 2);
    serve_hand_overs(family);
    w[0].target = 101;
    before = count_descriptors();
    for (int i = 0; i < 3; i++) {
        c = client(w[0].f, "handed over");
        let_all_serve(family);
        raw_send_text(c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
        let_all_serve(family);
        assert_int_equal(w[0].handed_over, 0);
        expect_body(c, "POST /x? [ok]");
        assert_int_equal(ws_server_stats(w[0].f->server).connections, 0);
        assert_int_equal(ws_server_stats(w[1].f->server).connections, 1);
        raw_close(c);
        let_all_serve(family);
    }
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(bus_hub_stats(family->hub).handed_over, 3);
    assert_int_equal(bus_hub_stats(family->hub).returned, 0);
}

static void connection_for_nobody_is_answered_here(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    struct raw_client *c;

    start_family(family, 1);
    serve_hand_overs(family);
    w[0].target = 999;
    c = client(w[0].f, "for nobody");
    let_all_serve(family);
    raw_send_text(c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let_all_serve(family);
    assert_int_equal(w[0].handed_over, WS_ERR_CLOSED);
    expect_body(c, "by the first");
}

/* The parent has no memory for it. */
static void connection_that_is_lost_on_the_way_is_counted(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    struct raw_client *c;
    int before;

    start_family(family, 2);
    serve_hand_overs(family);
    before = count_descriptors();
    w[0].target = 101;
    c = client(w[0].f, "lost");
    let_all_serve(family);
    raw_send_text(c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let_serve(w[0].f);
    assert_int_equal(w[0].handed_over, 0);
    oom_once(0);
    let_serve(family->parent);
    oom_after(-1);
    raw_expect_eof(c);
    assert_int_equal(bus_hub_stats(family->hub).lost, 1);
    raw_close(c);
    assert_int_equal(count_descriptors(), before);
}

/* What bus_local_hand_over() takes from this server must get to the parent. */
static void connections_are_not_taken_where_the_parent_reads_nothing(void **state)
{
    const struct bus_link_options small = {.max_queue = 500};
    struct family *family = *state;
    struct worker *w = family->workers;
    static char filling[300 * KIB];
    struct raw_client *c[2];
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    w[0].bus = bus_local_new(w[0].f->server, fds[0], &small, NULL);
    assert_non_null(w[0].bus);
    assert_int_equal(write(fds[1], BYTES("\5\0\0\0\2\0\x65\0\0\0\1")), 11); /* 101 is there */
    let_all_serve(family);
    serve_hand_overs(family);
    w[0].target = 101;
    while (send(fds[0], filling, sizeof filling, MSG_DONTWAIT) > 0)
        continue; /* the socket is full */
    while (bus_local_tell(w[0].bus, 70, ws_str("")) == 0)
        continue;
    for (int i = 0; i < 2; i++) {
        c[i] = client(w[0].f, i == 0 ? "taken" : "not taken");
        let_all_serve(family);
        raw_send_text(c[i], "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let_all_serve(family);
        assert_int_equal(w[0].handed_over, i == 0 ? 0 : WS_ERR_FULL);
    }
    expect_body(c[1], "by the first");
    assert_false(raw_readable_within(c[0], 0)); /* it waits for the parent */
    close(fds[1]);
}

static void only_the_request_in_hand_is_handed_over(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    const struct ws_handlers h = {.on_request = late_hand_over, .user = &w[0]};
    struct raw_client *c;

    start_family(family, 2);
    assert_int_equal(ws_server_handle(w[0].f->server, "/x", &h), 0);
    w[0].target = 101;
    c = client(w[0].f, "too late");
    let_all_serve(family);
    raw_send_text(c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let_all_serve(family);
    assert_int_equal(w[0].handed_over, WS_ERR_CLOSED);
    expect_body(c, "by the first");
}

static void connection_for_a_worker_that_has_just_ended_comes_back(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    struct raw_client *c;

    start_family(family, 2);
    serve_hand_overs(family);
    w[0].target = 101;
    c = client(w[0].f, "comes back");
    let_all_serve(family);
    raw_send_text(c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    bus_free(w[1].bus); /* the first does not know yet */
    w[1].bus = NULL;
    let_serve(w[0].f);
    assert_int_equal(w[0].handed_over, 0);
    let_all_serve(family);
    assert_int_equal(w[0].handed_over, WS_ERR_CLOSED);
    expect_body(c, "by the first");
    assert_int_equal(bus_hub_stats(family->hub).returned, 1);
}

static void out_of_memory_leaks_nothing(void **state)
{
    struct family *family = *state;
    struct worker *w = family->workers;
    int before = count_descriptors();

    for (int n = 0; n < 12; n++) {
        const struct bus_local_events events = {worker_frame, parent_over, &w[0]};
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
                         0);
        oom_once(n);
        if (bus_hub_add(family->hub, 100, fds[0]) == 0)
            bus_hub_remove(family->hub, 100);
        w[0].bus = bus_local_new(w[0].f->server, fds[1], NULL, &events);
        oom_after(-1);
        bus_free(w[0].bus);
        w[0].bus = NULL;
        let_all_serve(family);
        assert_int_equal(count_descriptors(), before);
    }
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_family, teardown_family)

#include "cluster/tests/test_bus_local.list"

int main(void)
{
    return cmocka_run_group_tests_name("bus_local", tests, NULL, NULL);
}
