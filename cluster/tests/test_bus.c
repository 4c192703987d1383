/* SPDX-License-Identifier: MIT
 *
 * Unit tests of bus.c, over a bus that has no connection. */
#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tests/oom.h"
#include "../bus_carrier.h"
#include "loop_bus.h"

struct fixture {
    struct loop_net net;
    struct ws_server *server;
    struct bus *bus;
    struct bus *other; /* of the same server: it belongs to no process */
    char seen[512];    /* what was called, one after the other */
    struct bus_subscription *mine;
    struct bus_listener *listener;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->server = ws_server_new(NULL);
    f->bus = loop_bus_new(&f->net, f->server);
    f->other = loop_bus_new(&f->net, f->server);
    *state = f;
    return f->server != NULL && f->bus != NULL && f->other != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bus_free(f->bus);
    bus_free(f->other);
    assert_int_equal(ws_server_stats(f->server).buffered, 0);
    ws_server_free(f->server);
    free(f);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Turns enough for what was published to come. */
static void turns(struct fixture *f)
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(ws_server_step(f->server, 2), 1);
}

static void note(struct fixture *f, const char *text)
{
    strncat(f->seen, text, sizeof f->seen - strlen(f->seen) - 1);
}

static void expect_seen(struct fixture *f, const char *seen)
{
    turns(f);
    assert_string_equal(f->seen, seen);
    f->seen[0] = '\0';
}

static void note_message(void *arg, struct ws_str channel, struct ws_str data)
{
    char text[64];

    snprintf(text, sizeof text, "%.*s=%.*s ", (int)channel.len, channel.data, (int)data.len,
             data.data);
    note(arg, text);
}

static void note_other(void *arg, struct ws_str channel, struct ws_str data)
{
    note(arg, "other:");
    note_message(arg, channel, data);
}

static struct bus_subscription *subscribe(struct fixture *f, enum bus_kind kind, const char *name)
{
    struct bus_subscription *s = bus_subscribe(f->bus, kind, ws_str(name), note_message, f);

    assert_non_null(s);
    turns(f);
    return s;
}

static void publish(struct fixture *f, const char *channel, const char *data)
{
    assert_int_equal(bus_publish(f->other, BUS_CHANNEL, ws_str(channel), ws_str(data)), 0);
}

/* --- messages --------------------------------------------------------------------------------- */

static void a_message_comes_to_the_subscribers_of_its_channel(void **state)
{
    struct fixture *f = *state;

    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_SHARD, "s");
    publish(f, "a", "1");
    publish(f, "b", "2");
    publish(f, "s", "3");
    publish(f, "a", "");
    assert_int_equal(bus_publish(f->bus, BUS_SHARD, ws_str("s"), ws_str("4")), 0);
    assert_int_equal(bus_publish(f->bus, BUS_SHARD, ws_str("a"), ws_str("5")), 0);
    assert_string_equal(f->seen, ""); /* not inside the call */
    expect_seen(f, "a=1 a= s=4 ");
}

static void pieces_arrive_as_one_message(void **state)
{
    struct fixture *f = *state;
    const struct ws_str pieces[] = {{"he", 2}, {NULL, 0}, {"llo", 3}};

    subscribe(f, BUS_CHANNEL, "a");
    assert_int_equal(bus_publish_pieces(f->other, BUS_CHANNEL, ws_str("a"), pieces, 3), 0);
    expect_seen(f, "a=hello ");
}

static void a_pattern_gets_the_channels_that_fit(void **state)
{
    struct fixture *f = *state;

    subscribe(f, BUS_PATTERN, "room:*");
    publish(f, "room:a", "1");
    publish(f, "rooms", "2");
    assert_int_equal(bus_publish(f->other, BUS_SHARD, ws_str("room:a"), ws_str("3")), 0);
    expect_seen(f, "room:a=1 ");
}

static void names_are_any_bytes(void **state)
{
    struct fixture *f = *state;
    const struct ws_str name = {"a\0b", 3};
    const struct ws_str shorter = {"a\0", 2};
    const struct ws_str none = {NULL, 0};

    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, name, note_message, f));
    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, none, note_other, f));
    turns(f);
    bus_publish(f->other, BUS_CHANNEL, name, ws_str("1"));
    bus_publish(f->other, BUS_CHANNEL, shorter, ws_str("2"));
    bus_publish(f->other, BUS_CHANNEL, none, ws_str("3"));
    expect_seen(f, "a=1 other:=3 ");
}

static void none_may_end(void **state)
{
    (void)state;
    bus_unsubscribe(NULL);
    bus_unlisten(NULL);
    bus_free(NULL);
}

static void a_pattern_is_no_place_to_publish_to(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(bus_publish(f->bus, BUS_PATTERN, ws_str("a*"), ws_str("1")), WS_ERR_INVALID);
    assert_int_equal(bus_count(f->bus, BUS_PATTERN, ws_str("a*"), NULL, NULL), WS_ERR_INVALID);
}

/* --- what others are told --------------------------------------------------------------------- */

static void others_are_told_of_a_name_once(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *first = subscribe(f, BUS_CHANNEL, "a");
    struct bus_subscription *second = subscribe(f, BUS_CHANNEL, "a");

    assert_int_equal(loop_bus_tellings(f->bus), 1);
    publish(f, "a", "1");
    expect_seen(f, "a=1 a=1 ");
    bus_unsubscribe(first);
    publish(f, "a", "2");
    expect_seen(f, "a=2 ");
    assert_int_equal(loop_bus_tellings(f->bus), 1);
    bus_unsubscribe(second);
    turns(f);
    assert_int_equal(loop_bus_tellings(f->bus), 2);
    assert_int_equal(loop_bus_told(f->bus), 0);
}

static void what_came_and_went_since_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *stays = subscribe(f, BUS_CHANNEL, "stays");

    bus_unsubscribe(bus_subscribe(f->bus, BUS_CHANNEL, ws_str("short"), note_message, f));
    bus_unsubscribe(stays);
    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, ws_str("stays"), note_message, f));
    turns(f);
    assert_int_equal(loop_bus_tellings(f->bus), 1);
    publish(f, "stays", "1");
    expect_seen(f, "stays=1 ");
}

/* Rooms that open and close while the bus is down leave nothing behind. */
static void names_that_nobody_needs_are_freed_while_the_bus_is_down(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *before = subscribe(f, BUS_CHANNEL, "before");
    size_t buffered;

    loop_bus_set_up(f->bus, false);
    bus_unsubscribe(before);
    buffered = ws_server_stats(f->server).buffered;
    for (int i = 0; i < 1000; i++) {
        char name[16];

        snprintf(name, sizeof name, "room%d", i);
        bus_unsubscribe(bus_subscribe(f->bus, BUS_CHANNEL, ws_str(name), note_message, f));
        assert_int_equal(ws_server_stats(f->server).buffered, buffered);
    }
    loop_bus_set_up(f->bus, true);
    turns(f);
    assert_int_equal(loop_bus_told(f->bus), 0);
    assert_int_equal(loop_bus_tellings(f->bus), 1);
}

static void all_that_is_subscribed_to_is_told_again_after_a_loss(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *old;

    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_PATTERN, "p*");
    old = subscribe(f, BUS_CHANNEL, "old");
    assert_non_null(old);
    bus_unsubscribe(old); /* and others are not told in time */
    loop_bus_set_up(f->bus, false);
    bus_unsubscribe(subscribe(f, BUS_CHANNEL, "b"));
    subscribe(f, BUS_CHANNEL, "c");
    assert_int_equal(loop_bus_told(f->bus), 0);
    loop_bus_set_up(f->bus, true);
    turns(f);
    assert_int_equal(loop_bus_told(f->bus), 3);
    publish(f, "a", "1");
    publish(f, "p", "2");
    publish(f, "c", "3");
    publish(f, "old", "4");
    expect_seen(f, "a=1 p=2 c=3 ");
}

static void a_subscription_is_found_by_its_arguments(void **state)
{
    struct fixture *f = *state;
    struct bus_subscription *first = subscribe(f, BUS_CHANNEL, "a");
    struct bus_subscription *second =
        bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), note_other, f);

    assert_ptr_equal(bus_find(f->bus, BUS_CHANNEL, ws_str("a"), note_message, f), first);
    assert_ptr_equal(bus_find(f->bus, BUS_CHANNEL, ws_str("a"), note_other, f), second);
    assert_null(bus_find(f->bus, BUS_CHANNEL, ws_str("a"), note_other, NULL));
    assert_null(bus_find(f->bus, BUS_SHARD, ws_str("a"), note_other, f));
    assert_null(bus_find(f->bus, BUS_CHANNEL, ws_str("b"), note_other, f));
}

/* --- calls from inside callbacks -------------------------------------------------------------- */

static void unsubscribe_myself(void *arg, struct ws_str channel, struct ws_str data)
{
    struct fixture *f = arg;

    note_message(arg, channel, data);
    bus_unsubscribe(f->mine);
    f->mine = NULL;
}

static void a_subscriber_may_end_its_own_subscription(void **state)
{
    struct fixture *f = *state;

    subscribe(f, BUS_CHANNEL, "a");
    f->mine = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), unsubscribe_myself, f);
    subscribe(f, BUS_CHANNEL, "a");
    publish(f, "a", "1");
    publish(f, "a", "2");
    expect_seen(f, "a=1 a=1 a=1 a=2 a=2 ");
}

static void a_subscriber_may_end_the_last_subscription_of_a_name(void **state)
{
    struct fixture *f = *state;

    f->mine = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), unsubscribe_myself, f);
    turns(f);
    publish(f, "a", "1");
    publish(f, "a", "2");
    expect_seen(f, "a=1 ");
    assert_int_equal(loop_bus_told(f->bus), 0);
}

static void unsubscribe_another(void *arg, struct ws_str channel, struct ws_str data)
{
    note_other(arg, channel, data);
    bus_unsubscribe(((struct fixture *)arg)->mine);
    ((struct fixture *)arg)->mine = NULL;
}

static void a_subscriber_may_end_one_that_is_still_to_be_called(void **state)
{
    struct fixture *f = *state;

    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), unsubscribe_another, f));
    f->mine = subscribe(f, BUS_CHANNEL, "a");
    publish(f, "a", "1");
    expect_seen(f, "other:a=1 ");
}

static void subscribe_again(void *arg, struct ws_str channel, struct ws_str data)
{
    struct fixture *f = arg;

    unsubscribe_myself(arg, channel, data);
    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, channel, note_other, f));
}

/* It is called from the next message on, and others are told nothing. */
static void a_subscriber_may_subscribe_to_the_same_name(void **state)
{
    struct fixture *f = *state;

    f->mine = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), subscribe_again, f);
    turns(f);
    publish(f, "a", "1");
    expect_seen(f, "a=1 ");
    publish(f, "a", "2");
    expect_seen(f, "other:a=2 ");
    assert_int_equal(loop_bus_tellings(f->bus), 1);
}

static void answer(void *arg, struct ws_str channel, struct ws_str data)
{
    struct fixture *f = arg;

    note_message(arg, channel, data);
    if (data.len < 3)
        bus_publish_pieces(f->bus, BUS_CHANNEL, channel, (struct ws_str[]){data, {"+", 1}}, 2);
}

static void a_subscriber_may_publish(void **state)
{
    struct fixture *f = *state;

    assert_non_null(bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), answer, f));
    turns(f);
    publish(f, "a", "1");
    turns(f);
    expect_seen(f, "a=1 a=1+ a=1++ ");
}

/* --- listeners -------------------------------------------------------------------------------- */

static void note_state(void *arg, bool up)
{
    note(arg, up ? "up " : "down ");
}

static void unlisten_myself(void *arg, bool up)
{
    struct fixture *f = arg;

    note(f, up ? "last up " : "last down ");
    bus_unlisten(f->listener);
}

static void listeners_hear_of_changes_only(void **state)
{
    struct fixture *f = *state;
    struct bus_listener *l = bus_listen(f->bus, note_state, f);

    assert_non_null(l);
    assert_true(bus_is_up(f->bus));
    loop_bus_set_up(f->bus, true);
    loop_bus_set_up(f->bus, false);
    assert_false(bus_is_up(f->bus));
    loop_bus_set_up(f->bus, false);
    loop_bus_set_up(f->bus, true);
    expect_seen(f, "down up ");
    bus_unlisten(l);
    loop_bus_set_up(f->bus, false);
    expect_seen(f, "");
}

static void a_listener_may_end_itself(void **state)
{
    struct fixture *f = *state;

    assert_non_null(bus_listen(f->bus, note_state, f));
    f->listener = bus_listen(f->bus, unlisten_myself, f);
    assert_non_null(bus_listen(f->bus, note_state, f));
    loop_bus_set_up(f->bus, false);
    expect_seen(f, "down last down down ");
    loop_bus_set_up(f->bus, true);
    expect_seen(f, "up up ");
}

/* --- questions -------------------------------------------------------------------------------- */

static void note_count(void *arg, ptrdiff_t count)
{
    char text[32];

    snprintf(text, sizeof text, "count %td ", count);
    note(arg, text);
}

static void subscribers_are_counted_by_process(void **state)
{
    struct fixture *f = *state;

    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_CHANNEL, "a");
    subscribe(f, BUS_PATTERN, "a*");
    assert_int_equal(bus_count(f->other, BUS_CHANNEL, ws_str("a"), note_count, f), 0);
    assert_int_equal(bus_count(f->other, BUS_SHARD, ws_str("a"), note_count, f), 0);
    assert_string_equal(f->seen, "");
    expect_seen(f, "count 1 count 0 ");
}

static void a_question_while_the_bus_is_down_is_answered_with_an_error(void **state)
{
    struct fixture *f = *state;

    loop_bus_set_up(f->bus, false);
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f), 0);
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("b"), note_count, f), 0);
    assert_string_equal(f->seen, "");
    expect_seen(f, "count -1 count -1 ");
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f), 0);
    /* and with the bus the question ends */
}

static void a_question_that_cannot_be_asked_ends(void **state)
{
    struct fixture *f = *state;

    loop_bus_fail(f->bus, WS_ERR_NOMEM);
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f), WS_ERR_NOMEM);
    expect_seen(f, "");
}

/* --- memory ----------------------------------------------------------------------------------- */

static void without_memory_nothing_changes(void **state)
{
    struct fixture *f = *state;
    size_t buffered = ws_server_stats(f->server).buffered;
    bool failed = true;

    for (long n = 0; failed; n++) {
        struct bus_subscription *s;

        oom_once(n);
        s = bus_subscribe(f->bus, BUS_CHANNEL, ws_str("a"), note_message, f);
        failed = oom_came();
        oom_after(-1);
        assert_int_equal(s == NULL, failed);
        bus_unsubscribe(s);
        turns(f);
        assert_int_equal(ws_server_stats(f->server).buffered, buffered);
    }
    oom_once(0);
    assert_null(bus_listen(f->bus, note_state, f));
    oom_once(0);
    assert_int_equal(bus_count(f->bus, BUS_CHANNEL, ws_str("a"), note_count, f), WS_ERR_NOMEM);
    oom_after(-1);
}

/* --- patterns --------------------------------------------------------------------------------- */

static void patterns_fit_as_with_redis(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool fits;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"**", "abc", true},
        {"abc", "abc", true},
        {"abc", "ab", false},
        {"abc", "abcd", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"?", "", false},
        {"a*c", "ac", true},
        {"a*c", "abcbc", true},
        {"a*c", "abcb", false},
        {"*a*b", "xxaxxab", true},
        {"*a*b", "xxaxxba", false},
        {"socket.io#/#*", "socket.io#/#room#", true},
        {"socket.io#/#*", "socket.io#/admin#", false},
        {"h[ae]llo", "hello", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"h[a-b]llo", "hbllo", true},
        {"h[b-a]llo", "hbllo", true},
        {"h[a-b]llo", "hcllo", false},
        {"h[a-", "ha", true},
        {"h[\\]]", "h]", true},
        {"h[]", "h", false},
        {"h[abc", "hb", true},
        {"h[abc", "hd", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"a\\", "ab", false},
        {"[", "a", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (bus_pattern_fits(ws_str(cases[i].pattern), ws_str(cases[i].name)) != cases[i].fits) {
            print_error("ERROR: '%s' and '%s'\n", cases[i].pattern, cases[i].name);
            fail();
        }
    }
}

/* CVE-2022-36021: with many stars each byte took twice as long as the one before. */
static void many_stars_take_no_time_without_end(void **state)
{
    static char pattern[4001], name[4000];

    (void)state;
    for (size_t i = 0; i < 4000; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[4000] = 'b';
    memset(name, 'a', sizeof name);
    assert_false(bus_pattern_fits((struct ws_str){pattern, sizeof pattern},
                                  (struct ws_str){name, sizeof name}));
}

#include "cluster/tests/test_bus.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
