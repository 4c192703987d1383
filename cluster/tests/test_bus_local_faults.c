/* SPDX-License-Identifier: MIT
 *
 * A hub and two workers, on one server: every call of the system and every allocation that they
 * make fails once, in each way. Messages may be lost then, and the bus may be down, but nothing is
 * leaked, closed twice or used after its end. */
#include "../../tests/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/calls.h"
#include "../bus_hub.h"
#include "../bus_local.h"

enum { TURNS = 30 };

static int messages;

static void message(void *arg, struct ws_str channel, struct ws_str data)
{
    (void)arg;
    (void)channel;
    (void)data;
    messages++;
}

static void counted(void *arg, ptrdiff_t count)
{
    (void)arg;
    (void)count;
}

static void hub_frame(void *arg, uint32_t worker, unsigned type, struct ws_str content)
{
    (void)arg;
    (void)worker;
    (void)type;
    (void)content;
}

static void worker_over(void *arg, uint32_t worker)
{
    (void)arg;
    (void)worker;
}

static void turns(struct ws_server *s)
{
    for (int i = 0; i < TURNS; i++)
        ws_server_step(s, i < 4 ? 1 : 0);
}

static struct bus *add(struct ws_server *s, struct bus_hub *hub, uint32_t number)
{
    int ends[2];
    int result;

    calls_watch(false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    calls_watch(true);
    result = bus_hub_add(hub, number, ends[0]);
    (void)result; /* the other end sees that it is closed */
    return bus_local_new(s, ends[1], NULL, NULL);
}

static void use(struct ws_server *s, struct bus *a, struct bus *b)
{
    struct bus_subscription *subscription = NULL;

    turns(s);
    if (b != NULL) {
        subscription = bus_subscribe(b, BUS_CHANNEL, ws_str("room"), message, NULL);
        bus_subscribe(b, BUS_PATTERN, ws_str("ro*"), message, NULL);
    }
    turns(s);
    if (a != NULL) {
        bus_publish(a, BUS_CHANNEL, ws_str("room"), ws_str("hello"));
        bus_count(a, BUS_CHANNEL, ws_str("room"), counted, NULL);
        bus_local_tell(a, BUS_FRAME_OWN, ws_str("mine"));
    }
    turns(s);
    bus_unsubscribe(subscription);
    turns(s);
}

static void session(void)
{
    const struct bus_hub_events events = {hub_frame, worker_over, NULL};
    struct ws_server *s = ws_server_new(NULL);
    struct bus *buses[2] = {NULL, NULL};
    struct bus_hub *hub;

    assert_non_null(s);
    calls_watch(true);
    hub = bus_hub_new(s, NULL, &events);
    for (uint32_t i = 0; hub != NULL && i < 2; i++)
        buses[i] = add(s, hub, i);
    use(s, buses[0], buses[1]);
    bus_free(buses[0]);
    turns(s);
    bus_free(buses[1]);
    bus_hub_free(hub);
    calls_watch(false);
    ws_server_free(s);
}

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* A call that is to be made again: it must cost nothing. */
static bool is_for_a_moment(enum call call, int error)
{
    return (call == CALL_SENDMSG &&
            (error == CALL_SHORT || error == EAGAIN || error == EINTR || error == ENOMEM)) ||
           (call == CALL_RECVMSG && (error == CALL_SHORT || error == EAGAIN || error == EINTR));
}

static void any_call_may_fail_once(void **state)
{
    static const enum call calls[] = {CALL_MEMORY, CALL_SENDMSG,   CALL_RECVMSG, CALL_EPOLL_CTL,
                                      CALL_CLOSE,  CALL_GETRANDOM, CALL_SHUTDOWN};
    static const int errors[] = {CALL_SHORT, EAGAIN, EINTR, ECONNRESET, ENOMEM, EPERM};
    unsigned long made[CALL_COUNT];
    int descriptors = open_descriptors();
    long blocks = calls_blocks();
    int failed = 0;

    (void)state;
    calls_reset();
    session();
    assert_int_equal(messages, 2);
    for (int call = 0; call < CALL_COUNT; call++)
        made[call] = calls_made((enum call)call);
    assert_true(made[CALL_SENDMSG] > 4 && made[CALL_RECVMSG] > 4 && made[CALL_MEMORY] > 10);
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
            if (errors[e] == CALL_SHORT && calls[c] != CALL_SENDMSG && calls[c] != CALL_RECVMSG)
                continue;
            for (unsigned long n = 0; n < made[calls[c]]; n++) {
                calls_reset();
                calls_fail(calls[c], n, errors[e]);
                messages = 0;
                session();
                if (is_for_a_moment(calls[c], errors[e]) && messages != 2)
                    fail_msg("call %d, number %lu, error %d: %d messages", calls[c], n, errors[e],
                             messages);
                failed += calls_failed();
                calls_work();
                if (calls_blocks() != blocks || open_descriptors() != descriptors)
                    fail_msg("call %d, number %lu, error %d: leaks", calls[c], n, errors[e]);
            }
        }
    }
    assert_true(failed > 100);
}

/* --- one link --------------------------------------------------------------------------------- */

static void link_frame(void *arg, unsigned type, const uint8_t *data, size_t len, int fd)
{
    (void)arg;
    (void)type;
    (void)data;
    (void)len;
    (void)fd;
}

static void link_over(void *arg)
{
    (void)arg;
    fail_msg("the link is over");
}

static size_t read_all(int fd)
{
    static char bytes[64 * 1024];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    return len;
}

/* A frame of 1 MiB waits, of which epoll was not to tell when it can be sent. Then `next` bytes are
 * sent, in a frame, or the other end sends something; returns how many come in all. */
static size_t send_after_epoll_has_failed(const char *next)
{
    static char large[1 << 20];
    const struct ws_str pieces[] = {{large, sizeof large}, ws_str(next)};
    const struct bus_link_events events = {link_frame, link_over, NULL};
    const struct bus_link_options options = {0};
    struct ws_server *s = ws_server_new(NULL);
    struct ws_account *account = ws_account_new(s, NULL);
    struct bus_link *l;
    size_t len;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    l = bus_link_new(s, ends[0], account, &options, &events);
    assert_non_null(l);
    calls_reset();
    calls_fail(CALL_EPOLL_CTL, 0, ENOMEM);
    calls_watch(true);
    assert_int_equal(bus_link_send(l, 70, BUS_LINK_MUST, pieces, 1, -1), 0);
    calls_watch(false);
    assert_true(calls_failed());
    calls_work();
    len = read_all(ends[1]);
    if (pieces[1].len > 0)
        assert_int_equal(bus_link_send(l, 71, BUS_LINK_MUST, pieces + 1, 1, -1), 0);
    else
        assert_int_equal(write(ends[1], "\0\0\0\0\106\0", 6), 6);
    for (int i = 0; i < TURNS; i++) {
        ws_server_step(s, 0);
        len += read_all(ends[1]);
    }
    bus_link_free(l);
    close(ends[1]);
    ws_account_release(account);
    ws_server_free(s);
    return len;
}

/* The kernel limits how many descriptors of a user are on their way. */
static void a_descriptor_too_many_is_dropped_alone(void **state)
{
    const struct bus_link_events events = {link_frame, link_over, NULL};
    const struct bus_link_options options = {0};
    struct ws_server *s = ws_server_new(NULL);
    struct ws_account *account = ws_account_new(s, NULL);
    struct bus_link *l;
    int descriptors = open_descriptors();
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    l = bus_link_new(s, ends[0], account, &options, &events);
    calls_reset();
    calls_fail(CALL_SENDMSG, 0, ETOOMANYREFS);
    calls_watch(true);
    assert_int_equal(bus_link_send(l, 70, BUS_LINK_MUST, NULL, 0, dup(0)), 0);
    calls_watch(false);
    assert_true(calls_failed());
    calls_work();
    assert_int_equal(bus_link_dropped(l), 1);
    assert_int_equal(bus_link_send(l, 71, BUS_LINK_MUST, NULL, 0, dup(0)), 0);
    assert_int_equal(read_all(ends[1]), 6);
    bus_link_free(l);
    close(ends[1]);
    assert_int_equal(open_descriptors(), descriptors);
    ws_account_release(account);
    ws_server_free(s);
}

static void what_epoll_does_not_watch_is_sent_all_the_same(void **state)
{
    (void)state;
    assert_int_equal(send_after_epoll_has_failed("more"), (1 << 20) + 6 + 4 + 6);
    assert_int_equal(send_after_epoll_has_failed(""), (1 << 20) + 6);
}

#include "cluster/tests/test_bus_local_faults.list"

int main(void)
{
    return cmocka_run_group_tests_name("bus_local_faults", tests, NULL, NULL);
}
