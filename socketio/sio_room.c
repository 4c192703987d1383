/* SPDX-License-Identifier: MIT
 *
 * Rooms of sockets, and targets made of them. A room lists its seats, a socket lists its own. */
#include <stdlib.h>
#include <string.h>

#include "sio_server.h"

struct sio_room {
    struct name_entry entry;    /* in nsp->rooms */
    struct ws_account *account; /* of whoever opened it, kept */
    struct sio_seat *first;
    char name[]; /* entry.len bytes and a NUL */
};

struct sio_seat {
    struct sio_room *room;
    struct sio_socket *socket;
    struct sio_seat *next_of_socket;
    struct sio_seat *next; /* of the room */
    struct sio_seat *previous;
};

/* --- joining and leaving ---------------------------------------------------------------------- */

static struct sio_room *room_named(const struct sio_namespace *n, const char *name)
{
    return (struct sio_room *)name_table_find(&n->rooms, ws_str(name));
}

static size_t room_size(size_t name_len)
{
    return sizeof(struct sio_room) + name_len + 1;
}

static void room_free(struct sio_room *room)
{
    struct ws_account *account = room->account;

    ws_account_give(account, room, room_size(room->entry.len));
    ws_account_release(account);
}

static struct sio_room *room_open(struct sio_namespace *n, struct ws_account *account,
                                  const char *name)
{
    size_t len = strlen(name);
    struct sio_room *room = ws_account_take(account, room_size(len));

    if (room == NULL)
        return NULL;
    room->account = ws_account_keep(account);
    room->entry.len = (uint32_t)len;
    memcpy(room->name, name, len);
    if (name_table_add(&n->rooms, &room->entry, (struct ws_str){room->name, len}))
        return room;
    room_free(room);
    return NULL;
}

static void room_check(struct sio_namespace *n, struct sio_room *room)
{
    if (room->first != NULL)
        return;
    name_table_remove(&n->rooms, &room->entry);
    room_free(room);
}

/* Where the seat of `s` in a room hangs in its list; *place is NULL when it has none. */
static struct sio_seat **seat_place(struct sio_socket *s, const char *name)
{
    struct sio_seat **place = &s->seats;

    while (*place != NULL && strcmp((*place)->room->name, name) != 0)
        place = &(*place)->next_of_socket;
    return place;
}

static void sit(struct sio_seat *seat, struct sio_room *room, struct sio_socket *s)
{
    seat->room = room;
    seat->socket = s;
    seat->next_of_socket = s->seats;
    s->seats = seat;
    s->seat_count++;
    seat->next = room->first;
    if (room->first != NULL)
        room->first->previous = seat;
    room->first = seat;
}

int sio_join(struct sio_socket *s, const char *name)
{
    struct sio_namespace *n = s->nsp;
    struct sio_room *room;
    struct sio_seat *seat;

    if (s->state == SIO_ENDED)
        return WS_ERR_CLOSED;
    if (strlen(name) > SIO_NAME_MAX)
        return WS_ERR_INVALID;
    if (*seat_place(s, name) != NULL || strcmp(name, s->id) == 0)
        return 0;
    if (s->seat_count >= n->server->options.max_rooms)
        return WS_ERR_FULL;
    seat = ws_account_take(s->conn->account, sizeof *seat);
    if (seat == NULL)
        return WS_ERR_NOMEM;
    room = room_named(n, name);
    if (room == NULL)
        room = room_open(n, s->conn->account, name);
    if (room == NULL) {
        ws_account_give(s->conn->account, seat, sizeof *seat);
        return WS_ERR_NOMEM;
    }
    sit(seat, room, s);
    return 0;
}

/* Take the seat off `*place`, where it hangs in its socket's list. */
static void stand_up(struct sio_seat **place)
{
    struct sio_seat *seat = *place;
    struct sio_socket *s = seat->socket;

    *place = seat->next_of_socket;
    s->seat_count--;
    *(seat->previous == NULL ? &seat->room->first : &seat->previous->next) = seat->next;
    if (seat->next != NULL)
        seat->next->previous = seat->previous;
    room_check(s->nsp, seat->room);
    ws_account_give(s->conn->account, seat, sizeof *seat);
}

void sio_leave(struct sio_socket *s, const char *name)
{
    struct sio_seat **place = seat_place(s, name);

    if (*place != NULL)
        stand_up(place);
}

void sio_leave_rooms(struct sio_socket *s)
{
    while (s->seats != NULL)
        stand_up(&s->seats);
}

bool sio_is_in(const struct sio_socket *s, const char *name)
{
    const struct sio_seat *seat = s->seats;

    while (seat != NULL && strcmp(seat->room->name, name) != 0)
        seat = seat->next_of_socket;
    return seat != NULL || strcmp(name, s->id) == 0;
}

const char *sio_socket_room(const struct sio_socket *s, size_t index)
{
    const struct sio_seat *seat = s->seats;

    while (seat != NULL && index-- != 0)
        seat = seat->next_of_socket;
    return seat == NULL ? NULL : seat->room->name;
}

/* --- targets ---------------------------------------------------------------------------------- */

struct walk {
    uint64_t stamp; /* of those that this walk has passed, or leaves out */
    void (*visit)(void *arg, struct sio_socket *s);
    void *arg;
};

static void pass(const struct walk *w, struct sio_socket *s)
{
    if (s->stamp == w->stamp || s->state != SIO_CONNECTED)
        return;
    s->stamp = w->stamp;
    if (w->visit != NULL)
        w->visit(w->arg, s);
}

/* Whoever is in the room, and whose own room it is. The visit may take the seat away. */
static void walk_room(const struct walk *w, const struct sio_namespace *n, const char *name)
{
    struct sio_room *room = room_named(n, name);
    struct sio_socket *owner = sio_find(n->server, name);
    struct sio_seat *seat = room == NULL ? NULL : room->first;

    while (seat != NULL) {
        struct sio_socket *s = seat->socket;

        seat = seat->next;
        pass(w, s);
    }
    if (owner != NULL && owner->nsp == n)
        pass(w, owner);
}

static void walk_rooms(const struct walk *w, const struct sio_namespace *n,
                       const char *const *names)
{
    for (; names != NULL && *names != NULL; names++)
        walk_room(w, n, *names);
}

void sio_visit(const struct sio_target *t, void (*visit)(void *arg, struct sio_socket *s),
               void *arg)
{
    struct walk w = {.stamp = ++t->nsp->server->stamp};

    walk_rooms(&w, t->nsp, t->except);
    if (t->sender != NULL)
        pass(&w, t->sender);
    w.visit = visit;
    w.arg = arg;
    if (t->to != NULL)
        walk_rooms(&w, t->nsp, t->to);
    else
        for (struct sio_socket *s = t->nsp->first; s != NULL; s = s->next)
            pass(&w, s);
}

struct selection {
    struct sio_socket **out;
    size_t max;
    size_t count;
};

static void select_one(void *arg, struct sio_socket *s)
{
    struct selection *selection = arg;

    if (selection->count < selection->max)
        selection->out[selection->count] = s;
    selection->count++;
}

size_t sio_select(const struct sio_target *t, struct sio_socket **out, size_t max)
{
    struct selection selection = {.out = out, .max = max};

    sio_visit(t, select_one, &selection);
    return selection.count;
}

struct joining {
    const char *room;
    int error;
};

static void join_one(void *arg, struct sio_socket *s)
{
    struct joining *joining = arg;

    if (joining->error == 0)
        joining->error = sio_join(s, joining->room);
}

int sio_join_all(const struct sio_target *t, const char *room)
{
    struct joining joining = {.room = room};

    sio_visit(t, join_one, &joining);
    return joining.error;
}

static void leave_one(void *arg, struct sio_socket *s)
{
    const struct joining *leaving = arg;

    sio_leave(s, leaving->room);
}

void sio_leave_all(const struct sio_target *t, const char *room)
{
    struct joining leaving = {.room = room};

    sio_visit(t, leave_one, &leaving);
}

static void disconnect_one(void *arg, struct sio_socket *s)
{
    sio_disconnect(s, *(const bool *)arg);
}

void sio_disconnect_all(const struct sio_target *t, bool close)
{
    sio_visit(t, disconnect_one, &close);
}
