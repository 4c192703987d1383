/* SPDX-License-Identifier: MIT
 *
 * What all kinds of bus have in common: who subscribes to what, and who is to be told; see bus.h
 * and bus_carrier.h. It makes no system call. */
#include <assert.h>
#include <string.h>

#include "bus_carrier.h"

/* A channel or pattern that somebody subscribes to, or that others still believe is subscribed to.
 * It is among the changes as long as these two are not the same. */
struct bus_name {
    struct name_entry entry; /* first, so that an entry can be cast to its name */
    struct bus *bus;
    struct bus_name *next_change;
    struct bus_name *previous_change;
    struct bus_subscription *first; /* in their order; ended ones, too, while they are called */
    struct bus_subscription *last;
    size_t live; /* subscriptions that have not ended */
    enum bus_kind kind;
    bool told;       /* what others have been told: it is subscribed to */
    bool is_changed; /* it is in the list of changes */
    char text[];
};

struct bus_subscription {
    struct bus_name *name;
    struct bus_subscription *next;
    struct bus_subscription *previous;
    struct bus_subscription *next_ended;
    bus_message_fn *fn; /* NULL: ended */
    void *arg;
};

struct bus_listener {
    struct bus *bus;
    struct bus_listener *next;
    void (*fn)(void *arg, bool up); /* NULL: ended */
    void *arg;
};

/* --- names ------------------------------------------------------------------------------------ */

static struct bus_name *find_name(const struct bus *b, enum bus_kind kind, struct ws_str name)
{
    return (struct bus_name *)name_table_find(&b->names[kind], name);
}

static struct bus_name *name_new(struct bus *b, enum bus_kind kind, struct ws_str name)
{
    struct bus_name *n = ws_account_take(b->account, sizeof *n + name.len);

    if (n == NULL)
        return NULL;
    n->bus = b;
    n->kind = kind;
    if (name.len != 0)
        memcpy(n->text, name.data, name.len);
    if (name_table_add(&b->names[kind], &n->entry, (struct ws_str){n->text, name.len}))
        return n;
    ws_account_give(b->account, n, sizeof *n + name.len);
    return NULL;
}

static void name_free(struct bus_name *n)
{
    ws_account_give(n->bus->account, n, sizeof *n + n->entry.len);
}

static void add_change(struct bus_name *n)
{
    struct bus *b = n->bus;

    if (n->is_changed)
        return;
    n->is_changed = true;
    n->next_change = NULL;
    n->previous_change = b->last_change;
    if (b->last_change != NULL)
        b->last_change->next_change = n;
    else
        b->changes = n;
    b->last_change = n;
}

static void remove_change(struct bus_name *n)
{
    struct bus *b = n->bus;

    if (!n->is_changed)
        return;
    n->is_changed = false;
    if (n->previous_change != NULL)
        n->previous_change->next_change = n->next_change;
    else
        b->changes = n->next_change;
    if (n->next_change != NULL)
        n->next_change->previous_change = n->previous_change;
    else
        b->last_change = n->previous_change;
}

/* Its subscriptions have changed, or what others know: it joins the changes, or leaves them, and is
 * freed where nothing needs it. */
static void name_settle(struct bus_name *n)
{
    struct bus *b = n->bus;
    bool is_first = b->changes == NULL;

    if ((n->live > 0) != n->told) {
        add_change(n);
        if (is_first)
            b->carrier->changed(b);
        return;
    }
    remove_change(n);
    if (n->first != NULL || n->told || n == b->taken)
        return;
    name_table_remove(&b->names[n->kind], &n->entry);
    name_free(n);
}

static void give_back_taken(struct bus *b)
{
    struct bus_name *n = b->taken;

    b->taken = NULL;
    if (n != NULL)
        name_settle(n);
}

bool bus_change(struct bus *b, enum bus_kind *kind, struct ws_str *name, bool *wanted)
{
    struct bus_name *n;

    give_back_taken(b);
    n = b->changes;
    if (n == NULL)
        return false;
    remove_change(n);
    n->told = n->live > 0;
    b->taken = n;
    *kind = n->kind;
    *name = (struct ws_str){n->text, n->entry.len};
    *wanted = n->told;
    return true;
}

static void forget_unwanted(struct bus *b)
{
    for (struct bus_name *n = b->changes, *next; n != NULL; n = next) {
        next = n->next_change;
        if (n->live > 0)
            continue;
        n->told = false;
        name_settle(n);
    }
}

void bus_forget_told(struct bus *b)
{
    give_back_taken(b);
    forget_unwanted(b); /* so no name is freed below, where its table is walked */
    for (int kind = 0; kind < BUS_KINDS; kind++) {
        for (size_t i = 0; i < b->names[kind].size; i++) {
            for (struct name_entry *e = b->names[kind].buckets[i]; e != NULL; e = e->next) {
                ((struct bus_name *)e)->told = false;
                add_change((struct bus_name *)e);
            }
        }
    }
}

/* --- subscriptions ---------------------------------------------------------------------------- */

static void link_last(struct bus_name *n, struct bus_subscription *s)
{
    s->previous = n->last;
    if (n->last != NULL)
        n->last->next = s;
    else
        n->first = s;
    n->last = s;
}

static void subscription_free(struct bus_subscription *s)
{
    struct bus_name *n = s->name;

    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        n->first = s->next;
    if (s->next != NULL)
        s->next->previous = s->previous;
    else
        n->last = s->previous;
    ws_account_give(n->bus->account, s, sizeof *s);
    name_settle(n);
}

struct bus_subscription *bus_subscribe(struct bus *b, enum bus_kind kind, struct ws_str name,
                                       bus_message_fn *fn, void *arg)
{
    struct bus_subscription *s = ws_account_take(b->account, sizeof *s);
    struct bus_name *n = find_name(b, kind, name);

    if (s != NULL && n == NULL)
        n = name_new(b, kind, name);
    if (s == NULL || n == NULL) {
        ws_account_give(b->account, s, sizeof *s);
        return NULL;
    }
    *s = (struct bus_subscription){.name = n, .fn = fn, .arg = arg};
    link_last(n, s);
    n->live++;
    name_settle(n);
    return s;
}

void bus_unsubscribe(struct bus_subscription *s)
{
    struct bus *b;

    if (s == NULL)
        return;
    b = s->name->bus;
    assert(s->fn != NULL); /* it has not ended before */
    s->fn = NULL;
    s->name->live--;
    if (!b->calling) {
        subscription_free(s);
        return;
    }
    name_settle(s->name);
    s->next_ended = b->ended;
    b->ended = s;
}

struct bus_subscription *bus_find(const struct bus *b, enum bus_kind kind, struct ws_str name,
                                  bus_message_fn *fn, const void *arg)
{
    struct bus_name *n = find_name(b, kind, name);
    struct bus_subscription *s = n == NULL ? NULL : n->first;

    while (s != NULL && (s->fn != fn || s->arg != arg))
        s = s->next;
    return s;
}

/* --- what the carrier reports ----------------------------------------------------------------- */

static void call_begin(struct bus *b)
{
    assert(!b->calling);
    b->calling = true;
}

static void call_end(struct bus *b)
{
    struct bus_listener **link = &b->listeners;

    b->calling = false;
    while (b->ended != NULL) {
        struct bus_subscription *s = b->ended;

        b->ended = s->next_ended;
        subscription_free(s);
    }
    while (b->listener_ended && *link != NULL) {
        struct bus_listener *l = *link;

        if (l->fn != NULL) {
            link = &l->next;
            continue;
        }
        *link = l->next;
        ws_account_give(b->account, l, sizeof *l);
    }
    b->listener_ended = false;
}

/* Subscriptions that are made meanwhile are not called: they are behind the last one. */
void bus_deliver(struct bus *b, enum bus_kind kind, struct ws_str name, struct ws_str channel,
                 struct ws_str data)
{
    const struct bus_name *n = find_name(b, kind, name);
    const struct bus_subscription *last = n == NULL ? NULL : n->last;

    if (last == NULL)
        return;
    call_begin(b);
    for (const struct bus_subscription *s = n->first;; s = s->next) {
        if (s->fn != NULL)
            s->fn(s->arg, channel, data);
        if (s == last)
            break;
    }
    call_end(b);
}

void bus_set_up(struct bus *b, bool up)
{
    if (b->is_up == up)
        return;
    b->is_up = up;
    call_begin(b);
    for (const struct bus_listener *l = b->listeners; l != NULL; l = l->next) {
        if (l->fn != NULL)
            l->fn(l->arg, up);
    }
    call_end(b);
}

void bus_forget(struct bus *b, struct bus_question *q)
{
    ws_account_give(b->account, q, sizeof *q);
}

void bus_answer(struct bus *b, struct bus_question *q, ptrdiff_t count)
{
    const struct bus_question asked = *q;

    bus_forget(b, q);
    asked.fn(asked.arg, count);
}

/* --- publishing, counting, listening ---------------------------------------------------------- */

int bus_publish_pieces(struct bus *b, enum bus_kind kind, struct ws_str channel,
                       const struct ws_str *pieces, size_t count)
{
    if (kind == BUS_PATTERN)
        return WS_ERR_INVALID;
    return b->carrier->publish(b, kind, channel, pieces, count);
}

int bus_publish(struct bus *b, enum bus_kind kind, struct ws_str channel, struct ws_str data)
{
    return bus_publish_pieces(b, kind, channel, &data, 1);
}

/* Questions that were asked while the bus was down. Those that are asked meanwhile wait for the
 * next time. */
static void answer_unasked(void *arg)
{
    struct bus *b = arg;
    struct bus_question *q = b->unasked;

    b->unasked = NULL;
    b->last_unasked = &b->unasked;
    while (q != NULL) {
        struct bus_question *next = q->next;

        bus_answer(b, q, WS_ERR_CLOSED);
        q = next;
    }
}

static void answer_later(struct bus *b, struct bus_question *q)
{
    *b->last_unasked = q;
    b->last_unasked = &q->next;
    ws_timer_set(b->later, 0);
}

int bus_count(struct bus *b, enum bus_kind kind, struct ws_str channel,
              void (*fn)(void *arg, ptrdiff_t count), void *arg)
{
    struct bus_question *q;
    int error;

    if (kind == BUS_PATTERN)
        return WS_ERR_INVALID;
    q = ws_account_take(b->account, sizeof *q);
    if (q == NULL)
        return WS_ERR_NOMEM;
    *q = (struct bus_question){.fn = fn, .arg = arg};
    if (!b->is_up) {
        answer_later(b, q);
        return 0;
    }
    error = b->carrier->count(b, kind, channel, q);
    if (error != 0)
        bus_forget(b, q);
    return error;
}

bool bus_is_up(const struct bus *b)
{
    return b->is_up;
}

unsigned long long bus_dropped(const struct bus *b)
{
    return b->dropped;
}

struct bus_listener *bus_listen(struct bus *b, void (*fn)(void *arg, bool up), void *arg)
{
    struct bus_listener *l = ws_account_take(b->account, sizeof *l);

    if (l == NULL)
        return NULL;
    *l = (struct bus_listener){.bus = b, .next = b->listeners, .fn = fn, .arg = arg};
    b->listeners = l;
    return l;
}

void bus_unlisten(struct bus_listener *l)
{
    struct bus *b;

    if (l == NULL)
        return;
    b = l->bus;
    l->fn = NULL;
    b->listener_ended = true;
    if (!b->calling)
        call_end(b);
}

/* --- begin and end ---------------------------------------------------------------------------- */

bool bus_init(struct bus *b, const struct bus_carrier *carrier, struct ws_server *s)
{
    uint8_t key[WS_SIPHASH_KEY_SIZE];

    *b = (struct bus){.carrier = carrier, .server = s};
    b->last_unasked = &b->unasked;
    if (ws_random(key, sizeof key) != 0)
        return false;
    b->account = ws_account_new(s, NULL);
    b->later = b->account == NULL ? NULL : ws_timer_new(s, NULL, answer_unasked, b);
    if (b->later == NULL) {
        ws_account_release(b->account);
        return false;
    }
    for (int kind = 0; kind < BUS_KINDS; kind++)
        name_table_init(&b->names[kind], b->account, key);
    return true;
}

static void names_release(struct bus *b, struct name_table *t)
{
    size_t from = 0;
    struct name_entry *e;

    while ((e = name_table_pop(t, &from)) != NULL) {
        struct bus_name *n = (struct bus_name *)e;

        for (struct bus_subscription *s = n->first, *next; s != NULL; s = next) {
            next = s->next;
            ws_account_give(b->account, s, sizeof *s);
        }
        name_free(n);
    }
    name_table_release(t);
}

void bus_release(struct bus *b)
{
    assert(!b->calling);
    for (int kind = 0; kind < BUS_KINDS; kind++)
        names_release(b, &b->names[kind]);
    for (struct bus_listener *l = b->listeners, *next; l != NULL; l = next) {
        next = l->next;
        ws_account_give(b->account, l, sizeof *l);
    }
    for (struct bus_question *q = b->unasked, *next; q != NULL; q = next) {
        next = q->next;
        bus_forget(b, q);
    }
    ws_timer_cancel(b->later);
    ws_account_release(b->account);
}

void bus_free(struct bus *b)
{
    if (b == NULL)
        return;
    assert(!b->calling);
    b->carrier->free(b);
}

/* --- patterns --------------------------------------------------------------------------------- */

static bool is_between(char c, char from, char to)
{
    unsigned char low = (unsigned char)(from < to ? from : to);
    unsigned char high = (unsigned char)(from < to ? to : from);

    return (unsigned char)c >= low && (unsigned char)c <= high;
}

/* Does `c` fit the class whose `[` is at p.data[0]? `*len` is set to the length of the class. */
static bool fits_class(struct ws_str p, char c, size_t *len)
{
    bool is_not = p.len > 1 && p.data[1] == '^';
    size_t i = is_not ? 2 : 1;
    bool fits = false;

    while (i < p.len && p.data[i] != ']') {
        if (p.data[i] == '\\' && p.len - i >= 2) {
            fits |= p.data[i + 1] == c;
            i += 2;
        } else if (p.len - i >= 3 && p.data[i + 1] == '-') {
            fits |= is_between(c, p.data[i], p.data[i + 2]);
            i += 3;
        } else {
            fits |= p.data[i++] == c;
        }
    }
    *len = i < p.len ? i + 1 : i;
    return fits != is_not;
}

/* Does `c` fit the first item of a pattern that is not empty, and no star? */
static bool fits_item(struct ws_str p, char c, size_t *len)
{
    *len = 1;
    switch (p.data[0]) {
    case '?':
        return true;
    case '[':
        return fits_class(p, c, len);
    case '\\':
        if (p.len < 2)
            return c == '\\';
        *len = 2;
        return p.data[1] == c;
    default:
        return p.data[0] == c;
    }
}

/* When an item does not fit, the last star takes one byte more; earlier ones need not, for what
 * they could take the last one takes. */
bool bus_pattern_fits(struct ws_str pattern, struct ws_str name)
{
    size_t p = 0;
    size_t i = 0;
    size_t behind_star = SIZE_MAX; /* of the pattern; SIZE_MAX: there was none yet */
    size_t taken = 0;              /* of the name, up to the end of what that star takes */

    while (i < name.len || p < pattern.len) {
        size_t len;

        if (p < pattern.len && pattern.data[p] == '*') {
            behind_star = ++p;
            taken = i;
        } else if (p < pattern.len && i < name.len &&
                   fits_item((struct ws_str){pattern.data + p, pattern.len - p}, name.data[i],
                             &len)) {
            p += len;
            i++;
        } else if (behind_star != SIZE_MAX && taken < name.len) {
            p = behind_star;
            i = ++taken;
        } else {
            return false;
        }
    }
    return true;
}
