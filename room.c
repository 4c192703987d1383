/* SPDX-License-Identifier: MIT
 *
 * Rooms: a hash table of arrays; see room.h. */
#include "room.h"

#include <string.h>

enum { SEATS_MIN = 4 };

void room_table_init(struct room_table *table, struct host_table *hosts,
                     const uint8_t key[SIPHASH_KEY_SIZE])
{
    table->hosts = hosts;
    table_init(&table->rooms, hosts->all, key);
}

void room_table_release(struct room_table *table)
{
    table_release(&table->rooms);
}

static bool is_named(const struct room *room, uint64_t hash, struct ws_str name)
{
    return room->entry.hash == hash && room->name_len == name.len &&
           (name.len == 0 || memcmp(room->name, name.data, name.len) == 0);
}

static struct room *find_hashed(const struct room_table *table, uint64_t hash, struct ws_str name)
{
    struct room *room = (struct room *)table_first(&table->rooms, hash);

    while (room != NULL && !is_named(room, hash, name))
        room = (struct room *)room->entry.next;
    return room;
}

struct room *room_find(const struct room_table *table, struct ws_str name)
{
    return find_hashed(table, table_hash(&table->rooms, name.data, name.len), name);
}

static size_t room_size(size_t name_len)
{
    return sizeof(struct room) + name_len;
}

/* The account of the room is inside the block that it counts, so use a copy. */
static void room_release(struct room_table *table, struct room *room)
{
    struct account account = room->account;
    struct host *host = room->host;
    size_t size = room_size(room->name_len);

    account_free(&account, room, size);
    host_release(table->hosts, host);
}

static struct room *room_alloc(struct room_table *table, struct host *host, size_t len, int *error)
{
    struct account account = {.above = host == NULL ? table->hosts->all : &host->account};
    struct room *room =
        account_new(&account, room_size(len), account_kind_of(room_size(len)), error);

    if (room != NULL)
        *room = (struct room){.account = account, .host = host_keep(host), .name_len = len};
    return room;
}

static struct ws_str room_name(const struct room *room)
{
    return (struct ws_str){room->name, room->name_len};
}

static bool may_begin(const struct room_notice *n, const struct room *room)
{
    return n->begins == NULL || n->begins(n->arg, room_name(room));
}

static void tell_end(const struct room_notice *n, const struct room *room)
{
    if (n->ends != NULL)
        n->ends(n->arg, room_name(room));
}

static struct room *room_new(struct room_table *table, struct host *host, uint64_t hash,
                             struct ws_str name, int *error)
{
    struct room *room = room_alloc(table, host, name.len, error);

    if (room == NULL)
        return NULL;
    if (name.len != 0)
        memcpy(room->name, name.data, name.len);
    *error = may_begin(&table->notice, room) ? 0 : ACCOUNT_NOMEM;
    if (*error == 0) {
        *error = table_add(&table->rooms, &room->entry, hash);
        if (*error == 0)
            return room;
        tell_end(&table->notice, room);
    }
    room_release(table, room);
    return NULL;
}

static void room_free(struct room_table *table, struct room *room)
{
    tell_end(&table->notice, room);
    table_remove(&table->rooms, &room->entry);
    account_free(&room->account, room->seats, room->cap * sizeof(struct room_seat *));
    room_release(table, room);
}

/* Tell of all rooms. Returns of how many, until one was refused. */
static size_t tell_begins(const struct room_table *table, const struct room_notice *n)
{
    size_t told = 0;

    for (size_t i = 0; i < table->rooms.size; i++) {
        for (struct table_entry *e = table->rooms.buckets[i]; e != NULL; e = e->next, told++) {
            if (!may_begin(n, (struct room *)e))
                return told;
        }
    }
    return told;
}

static void tell_ends(const struct room_table *table, const struct room_notice *n, size_t count)
{
    for (size_t i = 0; i < table->rooms.size; i++) {
        for (struct table_entry *e = table->rooms.buckets[i]; e != NULL; e = e->next) {
            if (count-- == 0)
                return;
            tell_end(n, (struct room *)e);
        }
    }
}

bool room_table_notify(struct room_table *table, const struct room_notice *n)
{
    const struct room_notice before = table->notice;
    size_t told = tell_begins(table, n);

    if (told < table->rooms.count) {
        tell_ends(table, n, told);
        return false;
    }
    table->notice = *n;
    tell_ends(table, &before, told);
    return true;
}

static int seats_reserve(struct room *room)
{
    size_t cap = room->cap == 0 ? SEATS_MIN : room->cap * 2;
    size_t size = cap * sizeof(struct room_seat *);
    struct room_seat **seats;
    int error;

    if (room->count < room->cap)
        return 0;
    seats = account_new(&room->account, size, account_kind_of(size), &error);
    if (seats == NULL)
        return error;
    if (room->count != 0)
        memcpy(seats, room->seats, room->count * sizeof(struct room_seat *));
    account_free(&room->account, room->seats, room->cap * sizeof(struct room_seat *));
    room->seats = seats;
    room->cap = cap;
    return 0;
}

static int seat_new(struct room *room, struct room_seat **seats, const struct room_member *m)
{
    struct room_seat *seat;
    int error = seats_reserve(room);

    if (error != 0)
        return error;
    seat = account_new(m->account, sizeof *seat, ACCOUNT_ESSENTIAL, &error);
    if (seat == NULL)
        return error;
    *seat = (struct room_seat){.next = *seats,
                               .link = seats,
                               .room = room,
                               .member = m->member,
                               .account = m->account,
                               .index = room->count};
    room->seats[room->count++] = seat;
    if (seat->next != NULL)
        seat->next->link = &seat->next;
    *seats = seat;
    return 0;
}

/* The seat in `room` among those of one member, or NULL. Looks through the member's seats and the
 * room's at the same time, so that neither many rooms nor many members alone make it slow. */
static struct room_seat *find_seat(struct room_seat *first, const struct room *room)
{
    struct room_seat *seat = first;

    for (size_t i = 0; seat != NULL && i < room->count; i++) {
        if (room->seats[i]->member == first->member)
            return room->seats[i];
        if (seat->room == room)
            return seat;
        seat = seat->next;
    }
    return NULL;
}

int room_join(struct room_table *table, struct room_seat **seats, const struct room_member *m,
              struct ws_str name)
{
    uint64_t hash = table_hash(&table->rooms, name.data, name.len);
    struct room *room = find_hashed(table, hash, name);
    int error;

    if (room != NULL && find_seat(*seats, room) != NULL)
        return 0;
    if (room == NULL)
        room = room_new(table, m->host, hash, name, &error);
    if (room == NULL)
        return error;
    error = seat_new(room, seats, m);
    if (error != 0 && room->count == 0)
        room_free(table, room);
    return error;
}

/* The last member takes the free place, so that the array has no holes. */
static void leave_seat(struct room_table *table, struct room_seat *seat)
{
    struct room *room = seat->room;
    struct room_seat *last = room->seats[--room->count];

    room->seats[seat->index] = last;
    last->index = seat->index;
    *seat->link = seat->next;
    if (seat->next != NULL)
        seat->next->link = seat->link;
    account_free(seat->account, seat, sizeof *seat);
    if (room->count == 0)
        room_free(table, room);
}

void room_leave(struct room_table *table, struct room_seat **seats, struct ws_str name)
{
    struct room *room = room_find(table, name);
    struct room_seat *seat = room == NULL ? NULL : find_seat(*seats, room);

    if (seat != NULL)
        leave_seat(table, seat);
}

void room_leave_all(struct room_table *table, struct room_seat **seats)
{
    while (*seats != NULL)
        leave_seat(table, *seats); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
}
