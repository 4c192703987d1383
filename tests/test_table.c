/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "oom.h"
#include "table.h"

enum { THINGS = 1000 };

struct thing {
    struct table_entry entry;
    char name[20];
};

struct fixture {
    struct budget budget;
    struct table table;
    struct thing things[THINGS];
};

static void setup(struct fixture *f)
{
    budget_init(&f->budget, 1 << 20);
    table_init(&f->table, &f->budget.all, (const uint8_t *)"a secret of ours");
    for (int i = 0; i < THINGS; i++)
        snprintf(f->things[i].name, sizeof f->things[i].name, "thing %d", i);
}

static uint64_t hash(const struct fixture *f, const char *name)
{
    return table_hash(&f->table, name, strlen(name));
}

static int add(struct fixture *f, int i)
{
    return table_add(&f->table, &f->things[i].entry, hash(f, f->things[i].name));
}

static const struct thing *find(const struct fixture *f, const char *name)
{
    uint64_t h = hash(f, name);
    struct thing *t = (struct thing *)table_first(&f->table, h);

    while (t != NULL && (t->entry.hash != h || strcmp(t->name, name) != 0))
        t = (struct thing *)t->entry.next;
    return t;
}

static void entries_are_found_while_they_are_in_the_table(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f);
    assert_null(find(&f, "thing 1"));
    for (int i = 0; i < THINGS; i++)
        assert_int_equal(add(&f, i), 0);
    for (int i = 0; i < THINGS; i += 2)
        table_remove(&f.table, &f.things[i].entry);
    assert_int_equal(f.table.count, THINGS / 2);
    for (int i = 0; i < THINGS; i++)
        assert_ptr_equal(find(&f, f.things[i].name), i % 2 == 0 ? NULL : &f.things[i]);
    table_release(&f.table);
    assert_int_equal(f.budget.all.used, 0);
    budget_release(&f.budget);
}

static void the_buckets_are_counted(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f);
    for (int i = 0; i < THINGS; i++)
        add(&f, i);
    assert_in_range(f.budget.all.used, THINGS * sizeof(void *), 2 * THINGS * sizeof(void *) + 4096);
    table_release(&f.table);
    budget_release(&f.budget);
}

/* It becomes slower, and goes on. */
static void a_table_that_cannot_grow_takes_more_entries(void **state)
{
    static struct fixture f;

    (void)state;
    setup(&f);
    oom_after(0);
    assert_int_equal(add(&f, 0), ACCOUNT_NOMEM);
    assert_int_equal(f.table.count, 0);
    oom_after(1);
    for (int i = 0; i < THINGS; i++)
        assert_int_equal(add(&f, i), 0);
    oom_after(-1);
    for (int i = 0; i < THINGS; i++)
        assert_ptr_equal(find(&f, f.things[i].name), &f.things[i]);
    table_release(&f.table);
    budget_release(&f.budget);
}

#include "tests/test_table.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
