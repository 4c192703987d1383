/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "oom.h"
#include "room.h"

enum { MEMBERS = 12, NAMES = 40 };

/* A table with some members. `in` is a naive model of who is in which room. */
struct fixture {
    struct room_table table;
    struct budget budget;
    struct host_table hosts;
    struct room_seat *seats[MEMBERS];
    bool in[MEMBERS][NAMES];
    uint64_t random;
};

/* Members whose accounts are the budget's own: no share bounds them. */
static struct room_member member_of(struct fixture *f, void *member)
{
    return (struct room_member){.member = member, .account = &f->budget.all};
}

static void setup(struct fixture *f, size_t max)
{
    *f = (struct fixture){.random = 88172645463325252};
    budget_init(&f->budget, max);
    host_table_init(&f->hosts, &f->budget.all, (const uint8_t *)"a secret of ours");
    room_table_init(&f->table, &f->hosts, (const uint8_t *)"a secret of ours");
}

/* Names of different lengths, the empty one and one with a NUL among them. */
static size_t name_of(int i, char out[32])
{
    static const char letters[33] = "room\0names-of-different-lengths-";

    memcpy(out, letters, 32);
    if (i < 32)
        return (size_t)i;
    out[0] = (char)i;
    return (size_t)i - 31;
}

static int join(struct fixture *f, int member, int name)
{
    char text[32];
    size_t len = name_of(name, text);
    struct room_member m = member_of(f, &f->seats[member]);
    int error = room_join(&f->table, &f->seats[member], &m, (struct ws_str){text, len});

    if (error == 0)
        f->in[member][name] = true;
    return error;
}

static void leave(struct fixture *f, int member, int name)
{
    char text[32];
    size_t len = name_of(name, text);

    room_leave(&f->table, &f->seats[member], (struct ws_str){text, len});
    f->in[member][name] = false;
}

static void leave_all(struct fixture *f, int member)
{
    room_leave_all(&f->table, &f->seats[member]);
    memset(f->in[member], 0, sizeof f->in[member]);
}

static size_t members_of(const struct fixture *f, int name)
{
    size_t n = 0;

    for (int i = 0; i < MEMBERS; i++)
        n += f->in[i][name];
    return n;
}

/* A room's array names its members, each once, each seat at its own place. */
static void check_room(const struct fixture *f, int name)
{
    char text[32];
    size_t len = name_of(name, text);
    const struct room *room = room_find(&f->table, (struct ws_str){text, len});
    bool seen[MEMBERS] = {false};

    if (members_of(f, name) == 0) {
        assert_null(room);
        return;
    }
    assert_non_null(room);
    assert_int_equal(room->count, members_of(f, name));
    assert_int_equal(room->name_len, len);
    assert_memory_equal(room->name, text, len);
    for (size_t i = 0; i < room->count; i++) {
        struct room_seat *const *member = room->seats[i]->member;

        assert_int_equal(room->seats[i]->index, i);
        assert_ptr_equal(room->seats[i]->room, room);
        assert_true(f->in[member - f->seats][name]);
        assert_false(seen[member - f->seats]);
        seen[member - f->seats] = true;
    }
}

/* Members know the rooms they are in. */
static void check_member(const struct fixture *f, int member)
{
    size_t rooms = 0, seats = 0;

    for (int name = 0; name < NAMES; name++)
        rooms += f->in[member][name];
    for (const struct room_seat *seat = f->seats[member]; seat != NULL; seat = seat->next) {
        assert_ptr_equal(*seat->link, seat);
        seats++;
    }
    assert_int_equal(seats, rooms);
}

static void check(const struct fixture *f)
{
    size_t rooms = 0;

    for (int name = 0; name < NAMES; name++) {
        check_room(f, name);
        rooms += members_of(f, name) != 0;
    }
    for (int member = 0; member < MEMBERS; member++)
        check_member(f, member);
    assert_int_equal(f->table.rooms.count, rooms);
    assert_true(f->budget.all.used <= f->budget.max);
}

static void teardown(struct fixture *f)
{
    for (int member = 0; member < MEMBERS; member++)
        leave_all(f, member);
    check(f);
    room_table_release(&f->table);
    host_table_release(&f->hosts);
    assert_int_equal(f->budget.all.used, 0);
    budget_release(&f->budget);
}

static void a_room_is_there_while_it_has_members(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_null(room_find(&f.table, (struct ws_str){"room", 4}));
    assert_int_equal(join(&f, 0, 4), 0);
    assert_int_equal(join(&f, 1, 4), 0);
    check(&f);
    leave(&f, 0, 4);
    check(&f);
    leave(&f, 1, 4);
    check(&f);
    teardown(&f);
}

static void joining_twice_is_joining_once(void **state)
{
    struct fixture f;
    size_t used;

    (void)state;
    setup(&f, 1 << 20);
    assert_int_equal(join(&f, 0, 4), 0);
    used = f.budget.all.used;
    assert_int_equal(join(&f, 0, 4), 0);
    assert_int_equal(f.budget.all.used, used);
    check(&f);
    teardown(&f);
}

static void leaving_where_one_is_not_does_nothing(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    leave(&f, 0, 4);
    assert_int_equal(join(&f, 1, 4), 0);
    leave(&f, 0, 4);
    check(&f);
    room_leave_all(&f.table, &f.seats[0]);
    check(&f);
    teardown(&f);
}

/* "a", "ab", "", and what differs only behind a NUL. */
static void names_are_compared_by_all_their_bytes(void **state)
{
    static const struct {
        const char *name;
        size_t len;
    } names[] = {{"", 0}, {"a", 1}, {"ab", 2}, {"a\0b", 3}, {"a\0c", 3}, {"A", 1}};
    struct fixture f;
    struct room_member m;

    (void)state;
    setup(&f, 1 << 20);
    m = member_of(&f, &f);
    for (size_t i = 0; i < 6; i++) {
        assert_null(room_find(&f.table, (struct ws_str){names[i].name, names[i].len}));
        assert_int_equal(
            room_join(&f.table, &f.seats[i], &m, (struct ws_str){names[i].name, names[i].len}), 0);
    }
    for (size_t i = 0; i < 6; i++)
        assert_ptr_equal(room_find(&f.table, (struct ws_str){names[i].name, names[i].len}),
                         f.seats[i]->room);
    assert_int_equal(f.table.rooms.count, 6);
    teardown(&f);
}

/* Far more rooms than buckets at the start. */
static void many_rooms_are_all_found(void **state)
{
    enum { MANY = 5000 };
    struct fixture f;
    struct room_member m;
    char name[16];

    (void)state;
    setup(&f, 1 << 24);
    m = member_of(&f, &f);
    for (int i = 0; i < MANY; i++) {
        size_t len = (size_t)snprintf(name, sizeof name, "%d", i);

        assert_int_equal(room_join(&f.table, &f.seats[i % 2], &m, (struct ws_str){name, len}), 0);
    }
    assert_int_equal(f.table.rooms.count, MANY);
    assert_true(f.table.rooms.size >= MANY);
    for (int i = 0; i < MANY; i++) {
        size_t len = (size_t)snprintf(name, sizeof name, "%d", i);
        const struct room *room = room_find(&f.table, (struct ws_str){name, len});

        assert_non_null(room);
        assert_memory_equal(room->name, name, len);
    }
    teardown(&f);
}

/* Either half again and again makes names that all have one hash in FNV-1a, wherever it starts with
 * a lowest byte of 0: 2^k of them, of 19 k bytes. */
static const char colliding[2][20] = {"Mff!JWCxB~!LZLEuBZ7", "Q!$f:KA5Dk&uYGNTGQ7"};

static void names_that_collide_in_other_hashes_are_spread(void **state)
{
    enum { HALVES = 10, MANY = 1 << HALVES };
    struct fixture f;
    struct room_member m;
    size_t longest = 0;

    (void)state;
    setup(&f, 1 << 24);
    m = member_of(&f, &f);
    for (int i = 0; i < MANY; i++) {
        char name[HALVES * 19];

        for (int k = 0; k < HALVES; k++)
            memcpy(name + k * 19, colliding[i >> k & 1], 19);
        assert_int_equal(room_join(&f.table, &f.seats[0], &m, (struct ws_str){name, sizeof name}),
                         0);
    }
    assert_int_equal(f.table.rooms.count, MANY);
    for (size_t i = 0; i < f.table.rooms.size; i++) {
        size_t chain = 0;

        for (const struct table_entry *e = f.table.rooms.buckets[i]; e != NULL; e = e->next)
            chain++;
        longest = chain > longest ? chain : longest;
    }
    assert_in_range(longest, 1, 12);
    teardown(&f);
}

/* xorshift64: the same numbers on every machine. */
static int next_random(struct fixture *f, int below)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return (int)(f->random % (uint64_t)below);
}

static void rooms_agree_with_a_naive_model(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    for (int i = 0; i < 5000; i++) {
        int member = next_random(&f, MEMBERS);
        int what = next_random(&f, 40);

        if (what == 0)
            leave_all(&f, member);
        else if (what < 15)
            leave(&f, member, next_random(&f, NAMES));
        else
            assert_int_equal(join(&f, member, next_random(&f, NAMES)), 0);
        check(&f);
    }
    teardown(&f);
}

/* At each budget, from none to enough: what is refused has changed nothing that can be seen. */
static void a_full_budget_refuses_and_changes_nothing(void **state)
{
    (void)state;
    for (size_t max = 0; max < 4000; max += 8) {
        struct fixture f;
        int refused = 0;

        setup(&f, max);
        for (int i = 0; i < 30; i++) {
            int error = join(&f, i % 6, 3 + i % 4);

            assert_true(error == 0 || error == ACCOUNT_FULL);
            refused += error != 0;
        }
        assert_true(max > 0 || refused == 30);
        assert_true(max < 3000 || refused == 0);
        check(&f);
        teardown(&f);
    }
}

/* The n-th allocation fails, and all after it; then there is memory again. */
static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    for (long n = 0; n < 24; n++) {
        struct fixture f;

        setup(&f, 1 << 20);
        oom_after(n);
        for (int i = 0; i < 24; i++) {
            size_t used = f.budget.all.used;
            int error = join(&f, i % 6, 3 + i % 4);

            assert_true(error == 0 || error == ACCOUNT_NOMEM);
            assert_true(error == 0 || f.budget.all.used >= used);
        }
        oom_after(-1);
        check(&f);
        for (int i = 0; i < 24; i++)
            assert_int_equal(join(&f, i % 6, 3 + i % 4), 0);
        check(&f);
        teardown(&f);
    }
}

/* Join and leave `count` rooms, the names of which are numbers. */
static void pass_through_rooms(struct fixture *f, int member, unsigned count)
{
    struct room_member m = member_of(f, &f->seats[member]);

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(room_join(&f->table, &f->seats[member], &m,
                                   (struct ws_str){(const char *)&i, sizeof i}),
                         0);
    for (unsigned i = 0; i < count; i++)
        room_leave(&f->table, &f->seats[member], (struct ws_str){(const char *)&i, sizeof i});
}

/* Half a minute of work when each room is looked for among all, a fraction of a second when not. */
static void member_of_many_rooms_costs_no_more_for_each(void **state)
{
    enum { ROOMS = 200000, SECONDS_MAX = 5 };
    struct fixture f;
    clock_t begun = clock();

    (void)state;
    setup(&f, SIZE_MAX);
    pass_through_rooms(&f, 0, ROOMS);
    assert_in_range((clock() - begun) / CLOCKS_PER_SEC, 0, SECONDS_MAX);
    check(&f);
    teardown(&f);
}

/* --- who is told of them ---------------------------------------------------------------------- */

/* Which rooms there are, by what was told. */
struct told {
    bool open[NAMES];
    int begins_left; /* before one is refused; negative: none is */
    int count;       /* of both kinds */
};

static int index_of(struct ws_str name)
{
    for (int i = 0; i < NAMES; i++) {
        char text[32];

        if (name_of(i, text) == name.len && memcmp(text, name.data, name.len) == 0)
            return i;
    }
    fail_msg("a room of another name");
    return 0;
}

static bool note_begin(void *arg, struct ws_str name)
{
    struct told *told = arg;

    if (told->begins_left == 0)
        return false;
    told->begins_left--;
    told->count++;
    assert_false(told->open[index_of(name)]);
    told->open[index_of(name)] = true;
    return true;
}

static void note_end(void *arg, struct ws_str name)
{
    struct told *told = arg;

    told->count++;
    assert_true(told->open[index_of(name)]);
    told->open[index_of(name)] = false;
}

static void each_beginning_and_end_of_a_room_is_told(void **state)
{
    struct told told = {.begins_left = -1};
    struct room_notice notice = {note_begin, note_end, &told};
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    join(&f, 0, 3);
    assert_true(room_table_notify(&f.table, &notice));
    for (int i = 0; i < 5000; i++) {
        int member = next_random(&f, MEMBERS);
        int name = next_random(&f, NAMES);

        if (next_random(&f, 10) == 0)
            leave_all(&f, member);
        else if (next_random(&f, 3) == 0)
            join(&f, member, name);
        else
            leave(&f, member, name);
        for (int n = 0; n < NAMES; n++)
            assert_int_equal(told.open[n], members_of(&f, n) != 0);
    }
    assert_true(told.count > 100);
    assert_true(room_table_notify(&f.table, &(struct room_notice){0}));
    for (int n = 0; n < NAMES; n++)
        assert_false(told.open[n]);
    teardown(&f);
}

static void a_room_that_is_refused_is_not_there(void **state)
{
    struct told told = {.begins_left = 0};
    struct room_notice notice = {note_begin, note_end, &told};
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    assert_true(room_table_notify(&f.table, &notice));
    assert_int_equal(join(&f, 0, 1), ACCOUNT_NOMEM);
    assert_int_equal(f.budget.all.used, 0);
    assert_int_equal(told.count, 0);
    check(&f);
    told.begins_left = 1;
    assert_int_equal(join(&f, 0, 1), 0);
    assert_int_equal(join(&f, 1, 1), 0); /* it is there already */
    check(&f);
    teardown(&f);
}

static void without_memory_for_a_room_its_end_is_told(void **state)
{
    struct told told = {.begins_left = -1};
    struct room_notice notice = {note_begin, note_end, &told};
    struct fixture f;
    bool failed = true;

    (void)state;
    for (long n = 0; failed; n++) {
        setup(&f, 1 << 20);
        assert_true(room_table_notify(&f.table, &notice));
        oom_once(n);
        failed = join(&f, 0, 1) != 0;
        oom_after(-1);
        assert_int_equal(told.open[1], !failed);
        teardown(&f);
    }
    assert_true(told.count >= 4);
}

static void who_refuses_a_room_that_is_there_hears_of_none(void **state)
{
    struct told told = {.begins_left = 2};
    struct room_notice notice = {note_begin, note_end, &told};
    struct fixture f;

    (void)state;
    setup(&f, 1 << 20);
    for (int name = 0; name < 5; name++)
        join(&f, 0, name);
    assert_false(room_table_notify(&f.table, &notice));
    for (int name = 0; name < 5; name++)
        assert_false(told.open[name]);
    assert_int_equal(told.count, 4);
    leave(&f, 0, 1);
    assert_int_equal(told.count, 4);
    teardown(&f);
}

#include "tests/test_room.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
