/* SPDX-License-Identifier: MIT
 *
 * Rooms of sockets, and the targets of broadcasts. A room has a list of its seats, and a socket has
 * a list of its own seats. The seat of a socket in a room is found by a table of the namespace: a
 * socket may be in a thousand rooms, and a room may have all sockets, so neither list is
 * searched. */
#include "sio_room.h"

#include <stddef.h>
#include <string.h>

#include "sio_packet.h"

struct sio_room {
    struct name_entry entry;    /* in nsp->rooms */
    struct ws_account *account; /* of the client that opened it, kept */
    struct sio_seat *first;
    char name[]; /* entry.len bytes and a NUL */
};

/* The key of a seat. The bytes of the two pointers are its name in the table. */
struct place {
    struct sio_room *room;
    struct sio_socket *socket;
};

struct sio_seat {
    struct name_entry entry; /* in nsp->seats, by `place` */
    struct place place;
    struct sio_seat *next_of_socket; /* older */
    struct sio_seat *previous_of_socket;
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

/* Other processes may send to it now, or not any more. */
static bool tell_room(struct sio_namespace *n, const char *name, bool exists)
{
    struct sio_relay *relay = n->server->relay;

    return relay == NULL || relay->room(relay, n, name, exists);
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
    if (name_table_add(&n->rooms, &room->entry, (struct ws_str){room->name, len})) {
        if (tell_room(n, room->name, true))
            return room;
        name_table_remove(&n->rooms, &room->entry);
    }
    room_free(room);
    return NULL;
}

static void room_check(struct sio_namespace *n, struct sio_room *room)
{
    if (room->first != NULL)
        return;
    tell_room(n, room->name, false);
    name_table_remove(&n->rooms, &room->entry);
    room_free(room);
}

static struct ws_str place_name(const struct place *place)
{
    return (struct ws_str){(const char *)place, sizeof *place};
}

/* NULL when `s` is not in the room, or there is none: `room` may be NULL. */
static struct sio_seat *seat_in(const struct sio_socket *s, const struct sio_room *room)
{
    const struct place place = {(struct sio_room *)room, (struct sio_socket *)s};

    return room == NULL ? NULL
                        : (struct sio_seat *)name_table_find(&s->nsp->seats, place_name(&place));
}

static struct sio_seat *seat_new(struct sio_socket *s, struct sio_room *room)
{
    struct sio_seat *seat = ws_account_take(s->conn->account, sizeof *seat);

    if (seat == NULL)
        return NULL;
    seat->place = (struct place){room, s};
    if (name_table_add(&s->nsp->seats, &seat->entry, place_name(&seat->place)))
        return seat;
    ws_account_give(s->conn->account, seat, sizeof *seat);
    return NULL;
}

static void seat_link(struct sio_seat *seat)
{
    struct sio_socket *s = seat->place.socket;
    struct sio_room *room = seat->place.room;

    seat->next_of_socket = s->seats;
    if (s->seats != NULL)
        s->seats->previous_of_socket = seat;
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
    room = room_named(n, name);
    if (seat_in(s, room) != NULL || strcmp(name, s->id) == 0)
        return 0;
    if (s->seat_count >= n->server->options.max_rooms)
        return WS_ERR_FULL;
    if (room == NULL)
        room = room_open(n, s->conn->account, name);
    if (room == NULL)
        return WS_ERR_NOMEM;
    seat = seat_new(s, room);
    if (seat == NULL) {
        room_check(n, room);
        return WS_ERR_NOMEM;
    }
    seat_link(seat);
    return 0;
}

static void seat_free(struct sio_seat *seat)
{
    struct sio_socket *s = seat->place.socket;
    struct sio_room *room = seat->place.room;

    name_table_remove(&s->nsp->seats, &seat->entry);
    *(seat->previous_of_socket == NULL ? &s->seats : &seat->previous_of_socket->next_of_socket) =
        seat->next_of_socket;
    if (seat->next_of_socket != NULL)
        seat->next_of_socket->previous_of_socket = seat->previous_of_socket;
    s->seat_count--;
    *(seat->previous == NULL ? &room->first : &seat->previous->next) = seat->next;
    if (seat->next != NULL)
        seat->next->previous = seat->previous;
    room_check(s->nsp, room);
    ws_account_give(s->conn->account, seat, sizeof *seat);
}

void sio_leave(struct sio_socket *s, const char *name)
{
    struct sio_seat *seat = seat_in(s, room_named(s->nsp, name));

    if (seat != NULL)
        seat_free(seat);
}

void sio_leave_rooms(struct sio_socket *s)
{
    while (s->seats != NULL)
        seat_free(s->seats);
}

bool sio_is_in(const struct sio_socket *s, const char *name)
{
    return seat_in(s, room_named(s->nsp, name)) != NULL || strcmp(name, s->id) == 0;
}

bool sio_room_exists(const struct sio_namespace *n, struct ws_str name)
{
    const struct name_entry *e;

    if (name_table_find(&n->rooms, name) != NULL)
        return true;
    e = name_table_find(&n->server->sockets, name);
    return e != NULL && ((const struct sio_socket *)e)->nsp == n;
}

const char *sio_next_room(const struct sio_namespace *n, const char *room)
{
    const struct name_entry *e = NULL;

    if (room != NULL)
        e = (const struct name_entry *)(room - offsetof(struct sio_room, name));
    e = name_table_next(&n->rooms, e);
    return e == NULL ? NULL : ((const struct sio_room *)e)->name;
}

const char *sio_room_of(const struct sio_seat *seat)
{
    return seat->place.room->name;
}

const struct sio_seat *sio_next_seat(const struct sio_seat *seat)
{
    return seat->next_of_socket;
}

const char *sio_socket_room(const struct sio_socket *s, size_t index)
{
    const struct sio_seat *seat = s->seats;

    while (seat != NULL && index-- != 0)
        seat = seat->next_of_socket;
    return seat == NULL ? NULL : sio_room_of(seat);
}

/* --- targets ---------------------------------------------------------------------------------- */

struct walk {
    uint64_t stamp; /* of the sockets that this walk has visited or leaves out */
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

/* Visit the members of the room, and the socket whose own room it is. The visit may free the
 * seat. */
static void walk_room(const struct walk *w, const struct sio_namespace *n, const char *name)
{
    struct sio_room *room = room_named(n, name);
    struct sio_socket *owner = sio_find(n->server, name);
    struct sio_seat *seat = room == NULL ? NULL : room->first;

    while (seat != NULL) {
        struct sio_socket *s = seat->place.socket;

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

static int tell(const struct sio_target *t, enum sio_adapter_type type, const char *room)
{
    struct sio_relay *relay = SIO_RELAY(t);

    if (strlen(room) > SIO_NAME_MAX)
        return WS_ERR_INVALID;
    if (relay == NULL)
        return 0;
    return relay->tell(relay, &(struct sio_call){.type = type, .target = t, .room = room});
}

int sio_join_all(const struct sio_target *t, const char *room)
{
    struct joining joining = {.room = room, .error = tell(t, SIO_JOIN, room)};

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

    tell(t, SIO_LEAVE, room);
    sio_visit(t, leave_one, &leaving);
}
