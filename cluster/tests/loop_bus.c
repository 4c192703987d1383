/* SPDX-License-Identifier: MIT
 *
 * A bus within one process; see loop_bus.h. */
#include "loop_bus.h"

#include <stdlib.h>
#include <string.h>

#include "../bus_carrier.h"

/* A name that is subscribed to. */
struct told {
    struct told *next;
    enum bus_kind kind;
    size_t len;
    char name[];
};

/* A message, or the answer to a question, on its way to one bus. */
struct parcel {
    struct parcel *next;
    struct bus_question *question; /* NULL: it is a message */
    ptrdiff_t count;
    enum bus_kind kind;
    struct ws_str name;
    struct ws_str channel;
    struct ws_str data;
    char bytes[]; /* where these are */
};

struct loop_bus {
    struct bus bus;
    struct loop_net *net;
    struct loop_bus *next;
    struct ws_timer *timer;
    struct told *told;
    size_t tellings;
    struct parcel *first;
    struct parcel **last;
    int error;
    size_t max; /* bytes of a message; 0: any number */
};

static struct loop_bus *of(struct bus *b)
{
    return (struct loop_bus *)b;
}

static bool is_same(const struct told *t, enum bus_kind kind, struct ws_str name)
{
    return t->kind == kind && t->len == name.len &&
           (name.len == 0 || memcmp(t->name, name.data, name.len) == 0);
}

static void tell(struct loop_bus *l, enum bus_kind kind, struct ws_str name)
{
    struct told *t = malloc(sizeof *t + name.len);

    if (t == NULL)
        abort();
    *t = (struct told){.next = l->told, .kind = kind, .len = name.len};
    if (name.len != 0)
        memcpy(t->name, name.data, name.len);
    l->told = t;
}

static void untell(struct loop_bus *l, enum bus_kind kind, struct ws_str name)
{
    struct told **link = &l->told;
    struct told *t;

    while (*link != NULL && !is_same(*link, kind, name))
        link = &(*link)->next;
    t = *link;
    if (t == NULL)
        abort(); /* nobody was told of it */
    *link = t->next;
    free(t);
}

static void tell_changes(struct loop_bus *l)
{
    enum bus_kind kind;
    struct ws_str name;
    bool wanted;

    while (l->bus.is_up && bus_change(&l->bus, &kind, &name, &wanted)) {
        l->tellings++;
        if (wanted)
            tell(l, kind, name);
        else
            untell(l, kind, name);
    }
}

static void put(struct loop_bus *l, struct parcel *p)
{
    p->next = NULL;
    *l->last = p;
    l->last = &p->next;
    ws_timer_set(l->timer, 0);
}

static void fired(void *arg)
{
    struct loop_bus *l = arg;
    struct parcel *p = l->first;

    l->first = NULL;
    l->last = &l->first;
    while (p != NULL) {
        struct parcel *next = p->next;

        if (p->question != NULL)
            bus_answer(&l->bus, p->question, p->count);
        else
            bus_deliver(&l->bus, p->kind, p->name, p->channel, p->data);
        free(p);
        p = next;
    }
    tell_changes(l);
}

static char *copy(char *to, struct ws_str text, struct ws_str *at)
{
    if (text.len != 0)
        memcpy(to, text.data, text.len);
    *at = (struct ws_str){to, text.len};
    return to + text.len;
}

/* False: there is no memory. */
static bool send_to(struct loop_bus *l, const struct told *t, struct ws_str channel,
                    const struct ws_str *pieces, size_t count)
{
    size_t size = t->len + channel.len;
    struct parcel *p;
    char *end;

    for (size_t i = 0; i < count; i++)
        size += pieces[i].len;
    p = calloc(1, sizeof *p + size);
    if (p == NULL)
        return false;
    p->kind = t->kind;
    end = copy(p->bytes, (struct ws_str){t->name, t->len}, &p->name);
    end = copy(end, channel, &p->channel);
    p->data.data = end;
    for (size_t i = 0; i < count; i++) {
        struct ws_str at;

        end = copy(end, pieces[i], &at);
    }
    p->data.len = (size_t)(end - p->data.data);
    put(l, p);
    return true;
}

static bool is_for(const struct told *t, enum bus_kind kind, struct ws_str channel)
{
    if (t->kind == BUS_PATTERN)
        return kind == BUS_CHANNEL && bus_pattern_fits((struct ws_str){t->name, t->len}, channel);
    return is_same(t, kind, channel);
}

static int publish(struct bus *b, enum bus_kind kind, struct ws_str channel,
                   const struct ws_str *pieces, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    if (of(b)->error != 0)
        return of(b)->error;
    if (of(b)->max != 0 && len > of(b)->max)
        return WS_ERR_FULL;
    for (struct loop_bus *l = of(b)->net->first; b->is_up && l != NULL; l = l->next) {
        for (const struct told *t = l->told; t != NULL; t = t->next) {
            if (is_for(t, kind, channel) && !send_to(l, t, channel, pieces, count))
                return WS_ERR_NOMEM;
        }
    }
    return 0;
}

static int count_subscribers(struct bus *b, enum bus_kind kind, struct ws_str channel,
                             struct bus_question *q)
{
    struct parcel *p;

    if (of(b)->error != 0)
        return of(b)->error;
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return WS_ERR_NOMEM;
    p->question = q;
    for (const struct loop_bus *l = of(b)->net->first; l != NULL; l = l->next) {
        for (const struct told *t = l->told; t != NULL; t = t->next)
            p->count += t->kind != BUS_PATTERN && is_same(t, kind, channel);
    }
    put(of(b), p);
    return 0;
}

static void changed(struct bus *b)
{
    ws_timer_set(of(b)->timer, 0);
}

static void forget_told(struct loop_bus *l)
{
    while (l->told != NULL) {
        struct told *t = l->told;

        l->told = t->next;
        free(t);
    }
}

static void free_loop(struct bus *b)
{
    struct loop_bus *l = of(b);
    struct loop_bus **link = &l->net->first;

    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    while (l->first != NULL) {
        struct parcel *p = l->first;

        l->first = p->next;
        if (p->question != NULL)
            bus_forget(b, p->question);
        free(p);
    }
    forget_told(l);
    ws_timer_cancel(l->timer);
    bus_release(b);
    free(l);
}

struct bus *loop_bus_new(struct loop_net *net, struct ws_server *s)
{
    static const struct bus_carrier carrier = {publish, count_subscribers, changed, free_loop};
    struct loop_bus *l = calloc(1, sizeof *l);

    if (l == NULL || !bus_init(&l->bus, &carrier, s)) {
        free(l);
        return NULL;
    }
    l->last = &l->first;
    l->timer = ws_timer_new(s, NULL, fired, l);
    l->net = net;
    l->next = net->first;
    net->first = l;
    l->bus.is_up = true;
    return &l->bus;
}

void loop_bus_set_up(struct bus *b, bool up)
{
    if (!up) {
        forget_told(of(b));
        bus_forget_told(b);
    }
    bus_set_up(b, up);
    tell_changes(of(b));
}

size_t loop_bus_told(const struct bus *b)
{
    size_t n = 0;

    for (const struct told *t = ((const struct loop_bus *)b)->told; t != NULL; t = t->next)
        n++;
    return n;
}

size_t loop_bus_tellings(const struct bus *b)
{
    return ((const struct loop_bus *)b)->tellings;
}

void loop_bus_fail(struct bus *b, int error)
{
    of(b)->error = error;
}

void loop_bus_bound(struct bus *b, size_t max)
{
    of(b)->max = max;
}
