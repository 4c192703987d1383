/* SPDX-License-Identifier: MIT */
#include "../../tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../socketio/tests/counted.h"
#include "../../tests/exact.h"
#include "../name_table.h"

struct thing {
    struct name_entry entry;
    char name[32];
};

static struct ws_str text(const char *s)
{
    return (struct ws_str){s, strlen(s)};
}

/* A table whose memory is counted. */
static void setup(struct name_table *t, struct counted *counted)
{
    counted_begin(counted, 0);
    name_table_init(t, counted->account, (const uint8_t *)"a secret of ours");
}

static void teardown(struct name_table *t, struct counted *counted)
{
    name_table_release(t);
    counted_end(counted);
}

/* `count` new things in the table, "thing 0" and so on. The caller frees them. */
static struct thing *add_things(struct name_table *t, size_t count)
{
    struct thing *things = calloc(count, sizeof *things);

    assert_non_null(things);
    for (size_t i = 0; i < count; i++) {
        snprintf(things[i].name, sizeof things[i].name, "thing %zu", i);
        assert_true(name_table_add(t, &things[i].entry, text(things[i].name)));
    }
    return things;
}

static void an_empty_table_has_nothing(void **state)
{
    struct name_table t;
    struct counted counted;

    (void)state;
    setup(&t, &counted);
    assert_null(name_table_find(&t, text("a")));
    assert_null(name_table_find(&t, (struct ws_str){NULL, 0}));
    teardown(&t, &counted);
}

static void entries_are_found_while_they_are_in_the_table(void **state)
{
    enum { COUNT = 1000 };
    struct name_table t;
    struct counted counted;
    struct thing *things;

    (void)state;
    setup(&t, &counted);
    things = add_things(&t, COUNT);
    assert_int_equal(t.count, COUNT);
    for (size_t i = 0; i < COUNT; i += 2)
        name_table_remove(&t, &things[i].entry);
    assert_int_equal(t.count, COUNT / 2);
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(name_table_find(&t, text(things[i].name)),
                         i % 2 == 0 ? NULL : &things[i].entry);
    free(things);
    teardown(&t, &counted);
}

/* A peer could otherwise leave a large table behind for ever. */
static void a_table_shrinks_with_its_entries(void **state)
{
    enum { COUNT = 1000 };
    struct name_table t;
    struct counted counted;
    struct thing *things;

    (void)state;
    setup(&t, &counted);
    things = add_things(&t, COUNT);
    for (size_t i = 0; i < COUNT - 2; i++) {
        name_table_remove(&t, &things[i].entry);
        assert_true(t.size <= 4 * t.count || t.size == 8);
        assert_ptr_equal(name_table_find(&t, text(things[i + 1].name)), &things[i + 1].entry);
    }
    assert_ptr_equal(name_table_find(&t, text("thing 998")), &things[998].entry);
    assert_ptr_equal(name_table_find(&t, text("thing 999")), &things[999].entry);
    free(things);
    teardown(&t, &counted);
}

/* These halves, put together in any way, have one hash in FNV-1a, wherever it starts with a lowest
 * byte of 0. */
static void names_that_collide_in_other_hashes_are_spread(void **state)
{
    enum { HALVES = 10, COUNT = 1 << HALVES, LEN = HALVES * 19 };
    static const char halves[2][20] = {"Mff!JWCxB~!LZLEuBZ7", "Q!$f:KA5Dk&uYGNTGQ7"};
    static char names[COUNT][LEN];
    struct name_table t;
    struct counted counted;
    struct name_entry *entries = calloc(COUNT, sizeof *entries);
    size_t longest = 0;

    (void)state;
    setup(&t, &counted);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < HALVES; k++)
            memcpy(names[i] + k * 19, halves[i >> k & 1], 19);
        assert_true(name_table_add(&t, &entries[i], (struct ws_str){names[i], LEN}));
    }
    for (size_t i = 0; i < t.size; i++) {
        size_t chain = 0;

        for (const struct name_entry *e = t.buckets[i]; e != NULL; e = e->next)
            chain++;
        longest = chain > longest ? chain : longest;
    }
    assert_in_range(longest, 1, 12);
    free(entries);
    teardown(&t, &counted);
}

/* One scan of the buckets for each entry would take minutes. */
static void entries_are_taken_out_in_one_pass(void **state)
{
    enum { COUNT = 400000 };
    struct name_table t;
    struct counted counted;
    struct thing *things;
    clock_t begin;
    size_t from = 0;

    (void)state;
    setup(&t, &counted);
    things = add_things(&t, COUNT);
    begin = clock();
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(name_table_pop(&t, &from));
    assert_null(name_table_pop(&t, &from));
    assert_int_equal(t.count, 0);
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 8);
    free(things);
    teardown(&t, &counted);
}

static void a_walk_sees_each_entry_once(void **state)
{
    enum { COUNT = 1000 };
    struct name_table t;
    struct counted counted;
    struct thing *things;
    size_t seen = 0;

    (void)state;
    setup(&t, &counted);
    assert_null(name_table_next(&t, NULL));
    things = add_things(&t, COUNT);
    for (struct name_entry *e = NULL; (e = name_table_next(&t, e)) != NULL; seen++) {
        assert_true(e->len != UINT32_MAX);
        e->len = UINT32_MAX; /* marks it */
    }
    assert_int_equal(seen, COUNT);
    for (size_t from = 0; name_table_pop(&t, &from) != NULL;)
        continue;
    free(things);
    teardown(&t, &counted);
}

static void an_entry_may_get_another_name(void **state)
{
    struct name_table t;
    struct counted counted;
    struct thing a = {0};
    struct thing b = {0};

    (void)state;
    setup(&t, &counted);
    assert_true(name_table_add(&t, &a.entry, text("a")));
    assert_true(name_table_add(&t, &b.entry, text("b")));
    name_table_rename(&t, &a.entry, text("another name"));
    assert_null(name_table_find(&t, text("a")));
    assert_ptr_equal(name_table_find(&t, text("another name")), &a.entry);
    assert_ptr_equal(name_table_find(&t, text("b")), &b.entry);
    assert_int_equal(t.count, 2);
    name_table_remove(&t, &a.entry);
    assert_null(name_table_find(&t, text("another name")));
    teardown(&t, &counted);
}

static void names_are_compared_whole(void **state)
{
    struct name_table t;
    struct counted counted;
    struct thing empty = {0};
    struct thing ab = {0};
    char *name = exact_copy("ab", 2);
    char *other = exact_copy("a\0b", 3);

    (void)state;
    setup(&t, &counted);
    assert_true(name_table_add(&t, &empty.entry, (struct ws_str){"", 0}));
    assert_true(name_table_add(&t, &ab.entry, (struct ws_str){name, 2}));
    assert_ptr_equal(name_table_find(&t, (struct ws_str){NULL, 0}), &empty.entry);
    assert_ptr_equal(name_table_find(&t, text("ab")), &ab.entry);
    assert_null(name_table_find(&t, text("a")));
    assert_null(name_table_find(&t, text("abc")));
    assert_null(name_table_find(&t, (struct ws_str){other, 3}));
    teardown(&t, &counted);
    free(name);
    free(other);
}

#include "cluster/tests/test_name_table.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
